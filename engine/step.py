"""One shard of one step: take the images, forward, loss, backward.

`train_shard` says what is done, a program for `Workers.run`.  `Recorded` does the same from a tape,
for networks so small that Python would take longer than the arithmetic.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeVar

import numpy as np

from engine.layer import (
    Array,
    Coupled,
    CoupledLayer,
    Gradients,
    Layer,
    Pass,
    alone,
    backward_chain,
    forward_chain,
    says,
)
from engine.losses import Loss
from engine.parameters import Parameters
from engine.shapes import Shape
from engine.tape import Call, call, play, recording

AUGMENTATION_STREAM = 2**32  # beyond the number of any layer

Augment = Callable[[Array, np.random.Generator], Array]


class Source(Protocol):
    """Where images come from: `Datasets.Dataset` is one."""

    def batch(self, indices: Any, dtype: Any = np.float32) -> tuple[Array, Array]: ...


@dataclass(slots=True)
class Part:
    """What one shard gives: sum of its losses, right answers, its share of the flat gradient."""

    loss: float
    correct: int
    gradient: Array
    coupled: list[tuple[CoupledLayer, Any]]


def to_batch_last(x: Array) -> Array:
    """(n, channels, height, width) or (n, features), the samples moved last, C-contiguous.

    The one place where the outside world's order becomes the network's.
    """
    return np.ascontiguousarray(np.moveaxis(x, 0, -1))


def to_batch_first(x: Array) -> Array:
    """The way back: samples first, C-contiguous, memory of its own."""
    return np.moveaxis(x, -1, 0).copy(order="C")  # never a view: the caller may change it


def count_right(outputs: Array, labels: Array) -> int:
    """How many columns have their largest entry at the label."""
    return int(np.count_nonzero(outputs.argmax(axis=0) == labels))


def train_shard(
    layers: list[Layer],
    loss: Loss,
    parameters: Parameters,
    data: Source,
    indices: Array,
    run: Pass,
    gradient: tuple[Array, list[Gradients]],
    augment: Augment | None = None,
) -> Coupled:
    """The `Part` of the images at `indices`; pauses wherever a layer couples the shards.

    `gradient` is the memory for the shard's flat gradient, and the same layer by layer.
    """
    x, labels = data.batch(indices, parameters.values.dtype)
    if augment is not None:
        x = augment(x, run.generator(AUGMENTATION_STREAM))
    outputs, memories = yield from forward_chain(layers, to_batch_last(x), run)
    losses, memory = loss.forward(outputs, labels)
    dz = loss.backward(memory, run.batch)
    flat, places = gradient
    _, gradients = yield from backward_chain(layers, dz, memories, places)
    parameters.gather(gradients, places)
    coupled = [
        (layer, memory)
        for layer, memory in zip(layers, memories, strict=True)
        if isinstance(layer, CoupledLayer) and run.shard == 0
    ]
    return Part(math.fsum(losses.tolist()), count_right(outputs, labels), flat, coupled)


# --- from a tape -----------------------------------------------------------------------------

# Multiply-adds of a shard going forward, up to which it is recorded.  Above, a kernel runs so long
# that Python between the kernels does not matter, and memory is better shared by all shards.
MOST_WORK = 100_000_000


class Intake:
    """Where a tape finds its images: `x`, batch-last, filled anew before every replay."""

    def __init__(self, shape: Shape, samples: int, dtype: Any, kernels: Any) -> None:
        self.x = np.zeros((*shape, samples), dtype)
        self._take = kernels.ends.take_images
        self._some = np.empty(0, np.uint8)  # scratch
        self._scaling: Any = None
        self._constants: Any = None

    def takes(self, data: Any) -> bool:
        """Whether a kernel can fetch the images: in C order, of a type it knows, all scaled alike.

        The class itself must say that its batches are nothing else (`plain`), as `Dataset` does.
        """
        if not says(data, "plain") or not data.images.flags.c_contiguous:
            return False
        if data.images.dtype not in (np.uint8, self.x.dtype):
            return False
        if data.scaling is not self._scaling:
            self._scaling = data.scaling
            self._constants = data.scaling.constants(self.x.shape[0], self.x.dtype)
        return bool(self._constants)

    def fetch(self, data: Any, indices: Array) -> None:
        """The images at `indices`, which must lie within data that it `takes`."""
        if self._some.dtype != data.images.dtype or not self._some.size:
            self._some = np.empty(self.x.size, data.images.dtype)
        images = data.images.reshape(len(data.images), -1)
        self._take(images, indices, *self._constants, self._some, self.x.reshape(-1))

    def put(self, x: Array) -> None:
        """Scaled images, samples first."""
        np.copyto(self.x, np.moveaxis(x, 0, -1))


class RecordedUse:
    """The forward pass of so many samples on a tape (see `engine.tape`); layers `replayable`."""

    def __init__(self, layers: list[Layer], shape: Shape, samples: int, dtype: Any) -> None:
        self.intake = Intake(shape, samples, dtype, layers[0].kernels)
        self.tape: list[Call] = []
        with recording(self.tape):
            self.outputs, _ = alone(forward_chain(layers, self.intake.x, Pass()))

    def use(self, data: Any, indices: Array) -> Array:
        """The outputs, in memory that the next use overwrites."""
        if self.intake.takes(data):
            self.intake.fetch(data, indices)
        else:
            self.intake.put(data.batch(indices, self.intake.x.dtype)[0])
        play(self.tape)
        return self.outputs


class Recorded:
    """The pass of one shard on a tape, with memory of its own (see `engine.tape`).

    `layers` and `loss` must be `replayable`; `shape` is that of one image, `samples` of them are in
    the shard and `batch` in the whole mini-batch.
    """

    def __init__(
        self,
        layers: list[Layer],
        loss: Loss,
        parameters: Parameters,
        shape: Shape,
        samples: int,
        batch: int,
    ) -> None:
        kernels = layers[0].kernels.ends
        self.intake = Intake(shape, samples, parameters.values.dtype, layers[0].kernels)
        self.labels = np.zeros(samples, np.int64)
        self.tape: list[Call] = []
        self.run = Pass(training=True)  # layers draw by it: it becomes each step's own
        with recording(self.tape):
            outputs, memories = alone(forward_chain(layers, self.intake.x, self.run))
            self.classes = classes = len(outputs)
            self.losses, difference = getattr(kernels, loss.kernel)(
                outputs, self.labels, *loss.levels(classes)
            )
            self.right = kernels.count_right(outputs, self.labels)
            dz = kernels.scaled(difference, loss.factor(classes, batch))
            self.gradient = np.zeros_like(parameters.values)
            places = parameters.split(self.gradient)
            _, gradients = alone(backward_chain(layers, dz, memories, places))
            for own, into in zip(gradients, places, strict=True):
                for name, value in own.items():
                    if value is not into[name]:
                        call(np.copyto, into[name], value)

    def train(
        self, data: Source, indices: Array, run: Pass, gradient: Array, augment: Augment | None
    ) -> Part:
        """What `train_shard` returns, but for last digits; the gradient in an array given.

        The only shard of a batch gives the tape's own array: nobody else will write in it before
        the step is over.
        """
        self._fill(data, indices, run, augment)
        self.run.seed, self.run.step, self.run.shard = run.seed, run.step, run.shard
        play(self.tape)
        if self.right[0] < 0:
            raise IndexError(
                f"labels from {self.labels.min()} to {self.labels.max()}, but the last layer has "
                f"{self.classes} outputs"
            )
        if len(indices) == run.batch:
            gradient = self.gradient
        else:
            np.copyto(gradient, self.gradient)
        return Part(math.fsum(self.losses.tolist()), int(self.right[0]), gradient, [])

    def _fill(self, data: Any, indices: Array, run: Pass, augment: Augment | None) -> None:
        """The images and labels where the tape looks for them."""
        if augment is None and self.intake.takes(data):
            np.take(data.labels, indices, out=self.labels)  # raises for an index outside
            self.intake.fetch(data, indices)
            return
        x, labels = data.batch(indices, self.intake.x.dtype)
        if augment is not None:
            x = augment(x, run.generator(AUGMENTATION_STREAM))
        self.intake.put(x)
        np.copyto(self.labels, labels)


Tape = TypeVar("Tape")


class Tapes(Generic[Tape]):
    """The tapes of one network, each used by one thread at a time, and a gradient for each shard.

    A thread takes the tape that was put back last: its arrays are still in the cache.
    """

    MOST = 64  # sizes of shards and batches; a training run has two, the usual and the last batch

    def __init__(self) -> None:
        self._idle: dict[tuple[int, int], list[Tape]] = {}
        self._gradients: dict[int, tuple[Array, list[Gradients]]] = {}

    def __deepcopy__(self, memo: Any) -> Tapes[Tape]:
        return Tapes()  # a copied network records its own

    @contextmanager
    def borrow(self, samples: int, batch: int, record: Callable[[], Tape]) -> Iterator[Tape]:
        """A tape for so many samples of a batch; `record` makes one where none is idle."""
        if len(self._idle) > self.MOST:
            self._idle.clear()
        idle = self._idle.setdefault((samples, batch), [])
        try:
            tape = idle.pop()  # one operation: no other thread can take the same
        except IndexError:
            tape = record()
        try:
            yield tape
        finally:
            idle.append(tape)

    def gradient(self, shard: int, parameters: Parameters) -> tuple[Array, list[Gradients]]:
        """The memory for the flat gradient of a shard, and the same memory layer by layer."""
        if shard not in self._gradients:
            flat = np.zeros_like(parameters.values)
            self._gradients[shard] = flat, parameters.split(flat)
        return self._gradients[shard]


def replayable(layers: list[Layer]) -> bool:
    """Whether all that these layers do is calls of kernels that can be recorded.

    A class must say so itself (`replayable = True`): what is derived from it may do more.
    """

    def all_in_kernels(layer: Any) -> bool:
        carried = getattr(layer, "activation", None)
        return says(layer, "replayable") and (carried is None or all_in_kernels(carried))

    recording_kernels = all(hasattr(layer.kernels, "ends") for layer in layers)
    return recording_kernels and all(map(all_in_kernels, layers))
