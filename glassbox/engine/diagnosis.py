"""Diagnosis: where numbers first stop being finite, and what to try."""

from __future__ import annotations

from typing import Any

import numpy as np

from glassbox.engine.layer import Array, Context
from glassbox.errors import Diverged


def diverged(
    executor: Any, data: Any, indices: Array, step: int, what: str, training: bool = True
) -> Diverged:
    """The error for numbers that are not finite: which layer they first show in, and advice.

    Parameters
    ----------
    executor : of the network.
    data, indices : the images of the step.
    what : what happened, such as "the loss is not a finite number".
    """
    images = data.batch(indices, executor.dtype)[0]
    context = Context(training, executor.seed, step, 0, len(indices))
    where = "the images" if not np.isfinite(images).all() else "the loss"
    y = np.ascontiguousarray(np.moveaxis(images, 0, -1))
    with np.errstate(all="ignore"):
        for layer in executor.layers if where == "the loss" else []:
            arrays = {**layer.parameters, **layer.buffers}
            wrong = [k for k, array in arrays.items() if not np.isfinite(array).all()]
            y, _ = layer.forward(y, context)
            if wrong or not np.isfinite(y).all():
                part = f"the {wrong[0]}" if wrong else "the output"
                where = f"{part} of {layer.label}"
                break
    return Diverged(
        f"step {step + 1}: {what}; it first shows in {where}. "
        f"Try a learning rate ten times smaller (now {executor.parameters.optimizer!r}), images "
        "scaled to about -1..1, and gradient_check()"
    )


def missing_gradient(layer: Any, gradients: dict[str, Array]) -> ValueError:
    """Make the error for a layer whose backward has left out the gradient of a parameter."""
    missing = next(name for name in layer.parameters if name not in gradients)
    return ValueError(
        f"{layer.label}: backward gives no gradient for its parameter {missing!r}; return zeros "
        "where it is not to move"
    )
