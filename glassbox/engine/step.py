"""The eager training step of one shard: images in, forward, loss, backward, gradient out.

This is what a step means; `engine.capture` does the same faster, and compares itself with it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from glassbox.engine.layer import (
    Array,
    Coupled,
    CoupledLayer,
    Layer,
    Pass,
    backward_chain,
    forward_chain,
)
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
    coupled: list[tuple[CoupledLayer, Any]]


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
    data: Source, indices: Array, run: Pass, augment: Augment | None, dtype: Any
) -> tuple[Array, Array]:
    """The scaled images at `indices`, samples first, and their labels."""
    x, labels = data.batch(indices, dtype)
    if augment is not None:
        x = augment(x, run.generator(AUGMENTATION_STREAM))
    return x, labels


def train_shard(
    layers: list[Layer],
    loss: Loss,
    parameters: Parameters,
    data: Source,
    indices: Array,
    run: Pass,
    gradient: Array,
    augment: Augment | None = None,
) -> Coupled:
    """Return the `ShardResult` of the images at `indices`; its gradient is written to `gradient`.

    A program for `Workers.run`: it pauses wherever a layer couples the shards.
    """
    x, labels = augmented(data, indices, run, augment, gradient.dtype)
    outputs, memories = yield from forward_chain(layers, to_batch_last(x), run)
    losses, memory = loss.forward(outputs, labels)
    dz = loss.backward(memory, run.batch)
    _, gradients = yield from backward_chain(layers, dz, memories)
    parameters.gather(gradients, gradient)
    correct = count_right(outputs, labels)
    coupled = coupled_of(layers, memories, run)
    return ShardResult(math.fsum(losses.tolist()), correct, gradient, coupled)


def coupled_of(
    layers: Sequence[Layer], memories: Sequence[Any], run: Pass
) -> list[tuple[CoupledLayer, Any]]:
    """The layers that do something after the step, with the first shard's memory of them."""
    return [
        (layer, memory)
        for layer, memory in zip(layers, memories, strict=True)
        if isinstance(layer, CoupledLayer) and run.shard == 0
    ]
