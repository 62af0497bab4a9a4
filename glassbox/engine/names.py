"""Activations, losses and optimizers by name."""

from __future__ import annotations

from typing import TypeVar

import glassbox.engine.more_layers
import glassbox.engine.more_optimizers  # noqa: F401  (so that its classes are known)
from glassbox.engine.layer import Activation
from glassbox.engine.losses import Loss
from glassbox.engine.optimizers import Optimizer
from glassbox.errors import named
from glassbox.spelling import LOSSES as SPELLINGS

Kind = TypeVar("Kind")


def _by_name(base: type[Kind]) -> dict[str, type[Kind]]:
    """The library's classes derived from `base`, by `word` or by their name in small letters."""
    found: dict[str, type[Kind]] = {}
    for kind in base.__subclasses__():
        found |= {vars(kind).get("word", kind.__name__.lower()): kind} | _by_name(kind)
    return found


ACTIVATIONS = _by_name(Activation)
LOSSES = _by_name(Loss)
OPTIMIZERS = _by_name(Optimizer)
del OPTIMIZERS["frozen"]  # for single layers, and `CNN.freeze` makes it


def activation_named(given: str | Activation | None) -> Activation:
    """The activation of a name ("leaky_relu", "sigmoid", ...), or the one given; None: identity.

    It computes with NumPy until the layer that carries it is built with other kernels.

    Raises ValueError for an unknown name and TypeError for anything else.

    Examples
    --------
    >>> type(activation_named("tanh")).__name__
    'Tanh'
    """
    name = "identity" if given is None else given
    found: Activation = named("activation", name, Activation, ACTIVATIONS)
    return found


def optimizer_named(given: str | Optimizer) -> Optimizer:
    """The optimizer of a name ("adam", "sgd", ...) with its default rate, or the one given.

    Examples
    --------
    >>> optimizer_named("adam").learning_rate
    0.001
    """
    found: Optimizer = named("optimizer", given, Optimizer, OPTIMIZERS)
    return found


def loss_named(given: str | Loss, label_smoothing: float = 0.0) -> Loss:
    """The loss of a name ("mse", "cross_entropy"; Keras's names are understood), or the one given.

    Examples
    --------
    >>> loss_named("mse").word
    'mse'
    """
    if isinstance(given, Loss) and label_smoothing:
        raise ValueError(
            "label_smoothing: the loss brings its own; write "
            f"{type(given).__name__}(label_smoothing={label_smoothing})"
        )
    word = SPELLINGS.get(given, given) if isinstance(given, str) else given
    found: Loss = named("loss", word, Loss, LOSSES)
    return type(found)(label_smoothing) if label_smoothing else found
