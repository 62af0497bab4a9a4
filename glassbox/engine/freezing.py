"""Freezing: layers that keep their weights while the others learn."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from glassbox.engine.blocks import with_inner
from glassbox.engine.layer import Layer
from glassbox.engine.more_optimizers import Frozen
from glassbox.engine.names import optimizer_named
from glassbox.errors import short


def freeze(network: Any, *which: int | str) -> Any:
    """Have layers keep their weights in training, by index or name; all without an argument.

    Returns the network.  Such a layer has the optimizer `Frozen`; the layers inside a block are
    frozen with it.  A frozen BatchNorm normalizes by its running averages and leaves them as they
    are.  Files and checkpoints keep what is frozen.  Gradients pass through frozen layers, so
    freezing saves next to no time; it keeps what was learnt.

    Raises KeyError for a name and IndexError for an index that the network does not have; nothing
    is frozen then.

    Examples
    --------
    >>> from CNN import CNN
    >>> from Filters import Conv2D
    >>> from MLP import Dense
    >>> network = CNN(Conv2D(4), Dense(10)).build((1, 8, 8))
    >>> network.freeze("conv1").layers[0].optimizer
    Frozen()
    >>> print(network.unfreeze().layers[0].optimizer)
    None
    """
    for layer in _chosen(network, which, "freeze"):
        if not is_frozen(layer):
            own = layer.optimizer
            layer.optimizer = Frozen(None if own is None else optimizer_named(own))
    return network


def unfreeze(network: Any, *which: int | str) -> Any:
    """Let frozen layers learn again, by index or name; all without an argument.

    Returns the network.  Each layer gets the optimizer back that it had before.
    Raises as `freeze` does.
    """
    for layer in _chosen(network, which, "unfreeze"):
        if is_frozen(layer):
            layer.optimizer = layer.optimizer.former
    return network


def is_frozen(layer: Layer) -> bool:
    """Whether a layer keeps its weights in training."""
    return isinstance(layer.optimizer, Frozen)


def check_some_learn(parameters: Any) -> None:
    """Raise ValueError where all of a network's parameters are frozen."""
    frozen = [isinstance(group.optimizer, Frozen) for group in parameters.groups]
    if frozen and all(frozen):
        raise ValueError("all layers are frozen, so nothing would be learnt; see network.unfreeze")


def _chosen(network: Any, which: Sequence[int | str], verb: str) -> list[Layer]:
    """The layers of these indices and names, and those inside them."""
    names = [layer.name for layer in network.layers]
    found: list[Layer] = []
    for each in which or range(len(names)):
        if isinstance(each, str) and each not in names:
            known = ", ".join(filter(None, names)) or "no names before build"
            raise KeyError(f"{verb}: no layer is called {each!r}; there are {known}")
        index = names.index(each) if isinstance(each, str) else each
        if not isinstance(index, int) or isinstance(index, bool):
            raise TypeError(f"{verb}: expected indices or names of layers, got {short(each)}")
        if not -len(names) <= index < len(names):
            raise IndexError(f"{verb}: no layer {index}; there are {len(names)}, from 0 on")
        found += with_inner(network.layers[index])
    return found
