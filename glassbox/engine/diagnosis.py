"""Diagnosis: where numbers first stop being finite, and what to try."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from glassbox.engine.layer import Array, Context, Layer
from glassbox.engine.optimizers import Optimizer
from glassbox.engine.step import to_batch_last
from glassbox.errors import Diverged


def diverged(
    layers: Sequence[Layer], images: Array, context: Context, optimizer: Optimizer, what: str
) -> Diverged:
    """The error for numbers that are not finite: which layer they first show in, and advice.

    Parameters
    ----------
    images : the scaled images of the step, samples first.
    what : what happened, such as "the loss is not a finite number".
    """
    where = "the images" if not np.isfinite(images).all() else "the loss"
    y = to_batch_last(images)
    with np.errstate(all="ignore"):
        for layer in layers if where == "the loss" else []:
            arrays = {**layer.parameters, **layer.buffers}
            wrong = [k for k, array in arrays.items() if not np.isfinite(array).all()]
            y, _ = layer.forward(y, context)
            if wrong or not np.isfinite(y).all():
                part = f"the {wrong[0]}" if wrong else "the output"
                where = f"{part} of {layer.label}"
                break
    return Diverged(
        f"step {context.step + 1}: {what}; it first shows in {where}. "
        f"Try a learning rate ten times smaller (now {optimizer!r}), images scaled to "
        "about -1..1, and gradient_check()"
    )
