"""Layers whose samples see each other, across all shards of a batch: batch normalization.

Such a layer's passes are programs: generators that `yield` an array of their own shard and are sent
back its sum over all shards (the same fixed tree as the gradients').  Only networks that hold such
a layer come here.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from glassbox.engine.diagnosis import missing_gradient
from glassbox.engine.layer import Array, BuildContext, Context, Gradients, Layer
from glassbox.engine.more_optimizers import Frozen
from glassbox.engine.parallel import tree_sum
from glassbox.engine.schedules import Progress
from glassbox.engine.step import (
    Executor,
    Shard,
    ShardResult,
    count_right,
    load_images,
    to_batch_last,
)
from glassbox.errors import require_positive, require_share
from glassbox.kernels.recorder import Program
from glassbox.kernels.shapes import Shape


class SyncLayer(Layer):
    """A layer whose samples see each other: its passes are programs that pause for a sum.

    `forward_program` and `backward_program` are generators: they `yield` an array of their own
    shard and are sent back its sum over all shards (the same fixed tree as the gradients).
    """

    def forward_program(self, x: Array, context: Context) -> Program:
        """Like `forward`, pausing at every `yield partial` for the sum over all shards."""
        raise TypeError(f"{type(self).__name__} must define forward_program(x, context)")

    def backward_program(self, dy: Array, cache: Any) -> Program:
        """Like `backward`, pausing at every `yield partial` for the sum over all shards."""
        raise TypeError(f"{type(self).__name__} must define backward_program(dy, cache)")

    def after_step(self, cache: Any) -> None:
        """Called after each training step with the first shard's cache, for running statistics."""

    def forward(self, x: Array, context: Context) -> tuple[Array, Any]:
        """The pass of a batch that is one shard."""
        return alone(self.forward_program(x, context))

    def backward(self, dy: Array, cache: Any) -> tuple[Array | None, Gradients]:
        """The pass of a batch that is one shard."""
        return alone(self.backward_program(dy, cache))


def alone(program: Program) -> Any:
    """Run a program as the only shard: every partial sum is already the whole."""
    total = None
    while True:
        paused, answer = resume((program, total))
        if not paused:
            return answer
        total = np.array(answer)


def forward_program(layers: Sequence[Any], x: Array, context: Context) -> Program:
    """Forward through `layers`; returns (output, the memories in order)."""
    caches = []
    for layer in layers:
        if hasattr(layer, "forward_program"):
            x, cache = yield from layer.forward_program(x, context)
        else:
            x, cache = layer.forward(x, context)
        caches.append(cache)
    return x, caches


def backward_program(layers: Sequence[Any], dy: Array, caches: Sequence[Any]) -> Program:
    """Backward through `layers`; returns (gradient of the input, the gradients in layer order)."""
    gradients: list[Gradients] = []
    dx: Array | None = dy
    for layer, cache in zip(reversed(layers), reversed(caches), strict=True):
        own: Gradients = {}
        layer_was_asked = dx is not None  # else nothing before this layer learns
        if dx is None:
            pass
        elif hasattr(layer, "backward_program"):
            dx, own = yield from layer.backward_program(dx, cache)
        else:
            dx, own = layer.backward(dx, cache)
        if layer_was_asked and getattr(layer, "parameters", own).keys() - own.keys():
            raise missing_gradient(layer, own)
        gradients.append(own)
    return dx, gradients[::-1]


@dataclass(slots=True)
class SyncResult(ShardResult):
    """What a shard gives, and the layers that do something after the step with their caches."""

    synced: list[tuple[Layer, Any]]


class SyncExecutor(Executor):
    """Runs layers as written whose samples see each other: the shards wait for each other's sums.

    The shards are programs, which pause wherever a layer needs a sum over all of them.
    """

    def train_program(self, shard: Shard) -> Program:
        """`Executor.train_shard` as a program."""
        x, labels = load_images(shard, self.dtype)
        outputs, caches = yield from forward_program(self.layers, to_batch_last(x), shard.context)
        losses, cache = self.loss.forward(outputs, labels)
        dy = self.loss.backward(cache, shard.context.batch)
        if shard.weights is not None:
            losses, dy = losses * shard.weights, dy * shard.weights
        _, gradients = yield from backward_program(self.layers, dy, caches)
        flat = self.gather(gradients, shard.context.shard)
        right = count_right(outputs, labels, shard.weights)
        synced = synced_of(self.layers, caches)
        return SyncResult(math.fsum(losses.tolist()), right, flat, synced)

    def train_shards(self, shards: Sequence[Shard], serial: bool) -> list[Any]:
        """Train on every shard, all of them pausing together; one alone waits for nobody."""
        if len(shards) == 1:
            return [alone(self.train_program(shards[0]))]
        run = partial(Executor.map, self, serial=serial)
        return run_programs(run, [self.train_program(shard) for shard in shards])

    def update(self, results: Sequence[Any], progress: Progress) -> None:
        """Move the weights, then the running statistics of the layers."""
        super().update(results, progress)
        self.after_step(results)

    def after_step(self, results: Sequence[Any]) -> None:
        """Move the running statistics of the layers."""
        for layer, cache in results[0].synced:
            layer.after_step(cache)


def synced_of(layers: Sequence[Layer], caches: Sequence[Any]) -> list[tuple[Layer, Any]]:
    """The layers that do something after the step, with a shard's memory of them."""
    pairs = zip(layers, caches, strict=True)
    return [(layer, cache) for layer, cache in pairs if isinstance(layer, SyncLayer)]


def run_programs(run: Callable[..., Any], programs: Sequence[Program]) -> list[Any]:
    """Run the programs of all shards side by side; returns what each returned.

    Where they pause with a partial array, all wait, and each gets the tree's sum.
    `run`: `map`, or `Workers.map` for threads.
    """
    total = None
    while True:
        paused, answers = zip(*run(resume, [(program, total) for program in programs]), strict=True)
        if not any(paused):
            return list(answers)
        total = tree_sum([np.array(partial) for partial in answers])


def resume(pair: tuple[Any, Array | None]) -> tuple[bool, Any]:
    """(True, partial) where the program pauses, (False, result) where it ends; None begins it."""
    program, total = pair
    try:
        return True, program.send(total)
    except StopIteration as end:
        return False, end.value


class BatchNorm(SyncLayer):
    """Each channel (or feature) to mean 0 and variance 1 over the batch, then scaled and shifted.

    xhat = (x - mean) / sqrt(var + epsilon); y = weight xhat + bias

    One class for rows and volumes: batch-last makes them the same, the first axis is the channel.
    In training mean and variance are those of the whole mini-batch (summed over its shards); in
    use, and where the layer is frozen, they are running averages: running = (1 - momentum) running
    + momentum batch, with the unbiased variance, as in PyTorch.

    Input and output any shape.  Parameters: weight and bias, (channels,).  Keeps x, mean and 1/std.
    Raises ValueError in training where a channel has a single value in the whole batch.
    Source: Ioffe and Szegedy 2015.

    Parameters
    ----------
    momentum : share of the newest batch in the running averages.
    epsilon : added to the variance.
    optimizer, name : as for Dense.

    Examples
    --------
    >>> from CNN import CNN
    >>> CNN(BatchNorm()).build((3, 4, 4)).parameter_count
    6
    """

    stem = "norm"

    def __init__(
        self,
        momentum: float = 0.1,
        epsilon: float = 1e-5,
        optimizer: Any = None,
        name: str | None = None,
    ) -> None:
        super().__init__(name=name, optimizer=optimizer)
        require_share("BatchNorm: momentum", momentum, closed=True)
        require_positive("BatchNorm: epsilon", epsilon)
        self.momentum, self.epsilon = float(momentum), float(epsilon)

    def _build(self, input_shape: Shape, context: BuildContext) -> Shape:
        channels = input_shape[0]
        context.reserve(self.label, (4, channels))
        self.parameters = {
            "weight": np.ones(channels, context.dtype),
            "bias": np.zeros(channels, context.dtype),
        }
        self.buffers = {
            "running_mean": np.zeros(channels, context.dtype),
            "running_var": np.ones(channels, context.dtype),
        }
        return input_shape

    def forward_program(self, x: Array, context: Context) -> Program:
        """y; one pause in training, for the sums of x and of its squares."""
        rows = np.ascontiguousarray(x.reshape(x.shape[0], -1))  # (channels, everything else)
        mean, variance, count = yield from self.statistics(rows, x.shape, context)
        y, inverse = self.kernels.normalize(
            rows, mean, variance, self.epsilon, *self.parameters.values()
        )
        return y.reshape(x.shape), (rows, mean, variance, inverse, count)

    def statistics(self, rows: Array, shape: Shape, context: Context) -> Program:
        """(mean, variance, count) of the whole mini-batch; a count of 0: of the running averages.

        The sums are in float64, so that a mean far from 0 leaves digits for the variance.
        """
        if not context.training or isinstance(self.optimizer, Frozen):
            return self.buffers["running_mean"], self.buffers["running_var"], 0
        count = (context.batch or shape[-1]) * math.prod(shape[1:-1])
        if count < 2:
            raise ValueError(
                f"{self.label}: cannot normalize over one value per channel (a batch of 1, "
                "perhaps the last of the epoch, with no height and width); choose a "
                "batch_size of at least 2 that leaves no single image over"
            )
        mean, variance = self.kernels.statistics((yield self.kernels.moments(rows)), count)
        return mean, variance, count

    def backward_program(self, dy: Array, cache: Any) -> Program:
        """dx = scale / std (dy - mean of dy - xhat mean of (dy xhat)); one pause for both sums."""
        x, mean, _, inverse, count = cache
        rows, scale = np.ascontiguousarray(dy.reshape(x.shape)), self.parameters["weight"]
        sums = self.kernels.normalize_sums(rows, x, mean, inverse)
        gradients = {"weight": sums[1], "bias": sums[0]}
        if not count:  # running statistics do not depend on x
            factor = self.kernels.multiply(scale, inverse)
            return self.kernels.multiply(rows, factor[:, None]).reshape(dy.shape), gradients
        sums = yield sums
        dx = self.kernels.normalize_gradient(rows, x, mean, inverse, sums, count, scale)
        return dx.reshape(dy.shape), gradients

    def after_step(self, cache: Any) -> None:
        """Move the running averages towards the batch's."""
        _, mean, variance, _, count = cache
        if not count:  # frozen
            return
        for name, value in (
            ("running_mean", mean),
            ("running_var", variance * (count / (count - 1))),
        ):
            running = self.buffers[name]
            running *= running.dtype.type(1 - self.momentum)
            running += running.dtype.type(self.momentum) * value.astype(running.dtype)
