"""Replacing layers of a built network, and moving trained layers from one network to another."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Sequence
from typing import Any

from glassbox.engine.layer import Layer


class ReplacedWarning(UserWarning):
    """A layer of a built network was swapped in the list of its layers."""


def replace(network: Any, which: int | str, layer: Layer) -> Any:
    """Put a layer in the place of another, by index or name; returns the network.

    A new layer draws its weights; one of another network comes as a copy with its weights.  All
    other layers keep theirs.  In a built network the optimizers begin anew.  A last layer with
    another number of outputs makes a network for other classes, whose names `fit` brings.

    Raises KeyError for a name and IndexError for an index that the network does not have, TypeError
    for what is not a layer, ValueError where the layer does not fit; the network is then unchanged.
    """
    names = [each.name for each in network.layers]
    if isinstance(which, str) and which not in names:
        raise KeyError(f"replace: no layer is called {which!r}; there are {', '.join(names)}")
    index = names.index(which) if isinstance(which, str) else which
    if not isinstance(layer, Layer):
        raise TypeError(f"replace: expected a layer such as Dense(10), got {layer!r}")
    if any(layer is other for other in network.layers):
        raise ValueError(f"replace: {layer.label} is in the network already; make a second one")
    before = network.layers[index]
    network.layers[index] = layer
    if network.assembly is not None:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", ReplacedWarning)  # it was asked for
                network.build(network.input_shape)
        except Exception:
            network.layers[index] = before
            raise
        if len(network.classes) != network.output_shape[0]:
            network.classes = ()
    return network


def warn_of(swapped: Sequence[Layer]) -> None:
    """Say what becomes of layers that were swapped in the list of a built network's layers."""
    if swapped:
        labels = ", ".join(layer.label for layer in swapped)
        warnings.warn(
            f"{labels}: put into a built network; a new layer draws its weights, all others keep "
            "theirs, and the optimizers begin anew. network.replace(index or name, layer) does the "
            "same without this warning",
            ReplacedWarning,
            stacklevel=2,
        )


def is_built(layer: Layer) -> bool:
    """Whether a layer was built before, and so may bring weights along."""
    return any(leaf.input_shape for leaf in layer.leaves())


def take_along(layer: Layer) -> Layer:
    """A copy of a layer that another network built; `keep` gives it the weights again."""
    return copy.deepcopy(layer) if is_built(layer) else layer


def arrays_of(layer: Layer) -> list[dict[str, Any]]:
    """The arrays that a layer has before it is built: none, or those of its former network."""
    if not is_built(layer):
        return []
    return [dict(arrays) for leaf in layer.leaves() for arrays in (leaf.parameters, leaf.buffers)]


def keep(layer: Layer, arrays: Sequence[dict[str, Any]]) -> None:
    """Put the arrays of `arrays_of` back into a layer that was built anew.

    Raises ValueError where they do not fit: trained weights are never drawn anew in silence.
    """
    targets = [target for leaf in layer.leaves() for target in (leaf.parameters, leaf.buffers)]
    for target, kept in zip(targets, arrays, strict=bool(arrays)):
        for name, array in kept.items():
            if target[name].shape != array.shape:
                raise ValueError(
                    f"{layer.label}: its {name} has the shape {array.shape} from the network that "
                    f"it was built in, expected {target[name].shape} here; make a new layer"
                )
            target[name][...] = array
