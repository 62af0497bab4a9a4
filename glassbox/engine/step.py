"""One training step, layer by layer as written: this is what a step means.

A mini-batch is cut into shards.  Each goes forward, through the loss and backward by itself; their
gradients are summed in a fixed tree and the optimizers move the weights.  `capture` runs the same
step faster and compares itself with this one; `synced` runs layers that need all shards at once.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from glassbox.engine.diagnosis import diverged, missing_gradient
from glassbox.engine.layer import Array, Context, Gradients, Layer
from glassbox.engine.losses import Loss
from glassbox.engine.parallel import IGNORE_FP_WARNINGS, Workers, shard_slices
from glassbox.engine.parameters import Parameters
from glassbox.engine.schedules import Progress
from glassbox.engine.weighting import weighted_shards
from glassbox.kernels.shapes import Shape, ShardPolicy

AUGMENTATION_STREAM = 2**32  # beyond the number of any layer

Augment = Callable[[Array, np.random.Generator], Array]


class Shard(NamedTuple):
    """A part of a mini-batch: which images, and what its layers may know."""

    data: Any
    indices: Array
    context: Context
    augment: Augment | None
    weights: Array | None = None  # of the images, 1 on average; None: all are 1


@dataclass(slots=True)
class ShardResult:
    """What a shard gives: the sum of its losses, right answers, its part of the flat gradient."""

    loss: float
    correct: float
    gradient: Array


def to_batch_last(x: Array) -> Array:
    """(n, channels, height, width) or (n, features) with the samples moved last, C-contiguous."""
    return np.ascontiguousarray(np.moveaxis(x, 0, -1))


def to_batch_first(x: Array) -> Array:
    """The way back, never a view: the caller may change it."""
    return np.moveaxis(x, -1, 0).copy(order="C")


def count_right(outputs: Array, labels: Array, weights: Array | None = None) -> float:
    """Count the columns whose largest entry is at the label (or likeliest class), or weigh them."""
    right = outputs.argmax(axis=0) == (labels if labels.ndim == 1 else labels.argmax(axis=1))
    return int(np.count_nonzero(right)) if weights is None else float(weights @ right)


def load_images(shard: Shard, dtype: Any) -> tuple[Array, Array]:
    """The scaled and augmented images of a shard, samples first, and their labels."""
    x, labels = shard.data.batch(shard.indices, dtype)
    if shard.augment is not None:
        x = shard.augment(x, shard.context.generator(AUGMENTATION_STREAM))
    return x, labels


def forward(layers: Sequence[Any], x: Array, context: Context) -> tuple[Array, list[Any]]:
    """Run x forward through `layers`; returns the output and each layer's cache, in order."""
    caches = []
    for layer in layers:
        x, cache = layer.forward(x, context)
        caches.append(cache)
    return x, caches


def backward(
    layers: Sequence[Any], dy: Array, caches: Sequence[Any]
) -> tuple[Array | None, list[Gradients]]:
    """Run dy backward through `layers`; returns dx and each layer's gradients, in order."""
    gradients: list[Gradients] = []
    dx: Array | None = dy
    for layer, cache in zip(reversed(layers), reversed(caches), strict=True):
        own: Gradients = {}
        if dx is not None:  # else nothing before this layer learns
            dx, own = layer.backward(dx, cache)
            if getattr(layer, "parameters", own).keys() - own.keys():
                raise missing_gradient(layer, own)
        gradients.append(own)
    return dx, gradients[::-1]


class Executor:
    """Runs the built layers of a network, in training and at inference."""

    def __init__(
        self, layers: list[Layer], loss: Loss, parameters: Parameters, input_shape: Shape,
        workers: Workers, seed: int,
    ) -> None:  # fmt: skip
        self.layers, self.loss, self.parameters = layers, loss, parameters
        self.workers, self.seed = workers, seed
        self.kernels, self.dtype = layers[0].kernels, parameters.values.dtype
        self.output_shape = layers[-1].output_shape
        shapes = [input_shape, *(layer.output_shape for layer in layers)]
        self.policy: ShardPolicy = self.kernels.SHARD_POLICY.of(shapes[1:])
        # of the largest array for one sample: shards are cut by it
        self.sample_bytes = max(map(math.prod, shapes)) * self.dtype.itemsize
        self.multiply_adds = sum(layer.multiply_adds() for layer in layers)
        self._gradients: dict[int, tuple[Array, list[Gradients]]] = {}

    def train_step(
        self, data: Any, indices: Array, progress: Progress, step: int, augment: Augment | None
    ) -> tuple[float, int]:
        """Train on the images at `indices`; returns the sum of their losses and the right answers.

        Raises Diverged where a number is no longer finite.
        """
        cuts = shard_slices(len(indices), self.sample_bytes, self.policy)
        work = self.multiply_adds * len(indices) // len(cuts)
        serial = work < self.policy.least_work  # too little to wake another thread for
        shards = [
            Shard(data, indices[cut], Context(True, self.seed, step, k, len(indices)), augment)
            for k, cut in enumerate(cuts)
        ]
        if getattr(data, "weights", None) is not None:
            shards = weighted_shards(shards, self.dtype)
        with np.errstate(**IGNORE_FP_WARNINGS):
            results = self.train_shards(shards, serial)
            loss = sum(result.loss for result in results)
            if not math.isfinite(loss):
                raise diverged(self, data, indices, step, "the loss is not a finite number")
            self.update(results, progress)
            if not all_finite([self.parameters.values, *self.parameters.buffers]):
                raise diverged(self, data, indices, step, "it left numbers that are not finite")
        return loss, round(sum(result.correct for result in results))

    def train_shards(self, shards: Sequence[Shard], serial: bool) -> list[Any]:
        """Train on every shard; returns their results in order."""
        return self.map(self.train_shard, shards, serial)

    def map(self, task: Callable[[Any], Any], shards: Sequence[Any], serial: bool) -> list[Any]:
        """task(shard) of every shard: side by side on the threads, or here one by one."""
        return list(map(task, shards)) if serial else self.workers.map(task, shards)

    def train_shard(self, shard: Shard) -> ShardResult:
        """One shard: images in, forward, loss, backward, gradient out."""
        x, labels = load_images(shard, self.dtype)
        outputs, caches = forward(self.layers, to_batch_last(x), shard.context)
        losses, cache = self.loss.forward(outputs, labels)
        dy = self.loss.backward(cache, shard.context.batch)
        if shard.weights is not None:
            losses, dy = losses * shard.weights, dy * shard.weights
        _, gradients = backward(self.layers, dy, caches)
        flat, right = self.gather(gradients, shard.context.shard), (outputs, labels, shard.weights)
        return ShardResult(math.fsum(losses.tolist()), count_right(*right), flat)

    def gather(self, gradients: Sequence[Gradients], shard: int) -> Array:
        """Copy the layers' gradients into the flat vector of a shard (0 where none came back)."""
        if shard not in self._gradients:
            flat = np.zeros_like(self.parameters.values)
            self._gradients[shard] = flat, self.parameters.split(flat)
        flat, views = self._gradients[shard]
        for own, places in zip(gradients, views, strict=True):
            for name, place in places.items():
                place[...] = own.get(name, 0)
        return flat

    def update(self, results: Sequence[ShardResult], progress: Progress) -> None:
        """Move the weights by the sum of the shards' gradients."""
        gradients = [result.gradient for result in results]
        for group in self.parameters.groups:
            group.update(self.parameters, gradients, progress, self.workers)

    def infer_shard(self, data: Any, indices: Array, outputs: Array) -> None:
        """Write the outputs of some images, in inference mode."""
        x = to_batch_last(data.batch(indices, self.dtype)[0])
        outputs[...] = forward(self.layers, x, Context())[0]


def all_finite(arrays: Iterable[Array]) -> bool:
    """Whether no number is NaN or infinite."""
    # A sum of squares is the quickest look; only large numbers call for a second one.
    return all(math.isfinite(np.vdot(a, a)) or np.isfinite(a).all() for a in arrays)
