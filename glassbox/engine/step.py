"""The eager training step of one shard: images in, forward, loss, backward, gradient out.

This is what a step means; `capture` beside it does the same faster, and compares itself with it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np

from glassbox.engine.layer import Array, Context, Gradients, Layer
from glassbox.engine.losses import Loss
from glassbox.engine.parameters import Parameters

AUGMENTATION_STREAM = 2**32  # beyond the number of any layer

Augment = Callable[[Array, np.random.Generator], Array]


class Source(Protocol):
    """Where images come from: `Datasets.Dataset` is one."""

    def batch(self, indices: Any, dtype: Any = np.float32) -> tuple[Array, Array]: ...


@dataclass(slots=True)
class ShardResult:
    """What one shard gives: sum of its losses, right answers, its share of the flat gradient."""

    loss: float
    correct: int
    gradient: Array
    synced: list[tuple[Layer, Any]] = field(default_factory=list)  # see `synced`


def to_batch_last(x: Array) -> Array:
    """(n, channels, height, width) or (n, features), the samples moved last, C-contiguous."""
    return np.ascontiguousarray(np.moveaxis(x, 0, -1))


def to_batch_first(x: Array) -> Array:
    """The way back: samples first, C-contiguous, memory of its own."""
    return np.moveaxis(x, -1, 0).copy(order="C")  # never a view: the caller may change it


def count_right(outputs: Array, labels: Array) -> int:
    """How many columns have their largest entry at the label."""
    return int(np.count_nonzero(outputs.argmax(axis=0) == labels))


def augmented(
    data: Source, indices: Array, context: Context, augment: Augment | None, dtype: Any
) -> tuple[Array, Array]:
    """The scaled images at `indices`, samples first, and their labels."""
    x, labels = data.batch(indices, dtype)
    if augment is not None:
        x = augment(x, context.generator(AUGMENTATION_STREAM))
    return x, labels


def forward(layers: Sequence[Any], x: Array, context: Context) -> tuple[Array, list[Any]]:
    """Forward through `layers`; returns the output and what each keeps for backward, in order."""
    caches = []
    for layer in layers:
        x, cache = layer.forward(x, context)
        caches.append(cache)
    return x, caches


def backward(
    layers: Sequence[Any], dy: Array, caches: Sequence[Any]
) -> tuple[Array | None, list[Gradients]]:
    """Backward through `layers`; returns the gradient of the input, and of each layer, in order."""
    gradients: list[Gradients] = []
    dx: Array | None = dy
    for layer, cache in zip(reversed(layers), reversed(caches), strict=True):
        own: Gradients = {}
        if dx is not None:  # else nothing before this layer learns
            dx, own = layer.backward(dx, cache)
        gradients.append(own)
    return dx, gradients[::-1]


def train_shard(
    layers: Sequence[Layer],
    loss: Loss,
    parameters: Parameters,
    data: Source,
    indices: Array,
    context: Context,
    gradient: Array,
    augment: Augment | None = None,
) -> ShardResult:
    """Train on the images at `indices`; their gradient is written to `gradient`."""
    x, labels = augmented(data, indices, context, augment, gradient.dtype)
    outputs, caches = forward(layers, to_batch_last(x), context)
    losses, cache = loss.forward(outputs, labels)
    dz = loss.backward(cache, context.batch)
    _, gradients = backward(layers, dz, caches)
    parameters.gather(gradients, gradient)
    return ShardResult(math.fsum(losses.tolist()), count_right(outputs, labels), gradient)
