"""A captured network: its passes as segments, for every size of shard, and a pool of them."""

from __future__ import annotations

import itertools
import math
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from typing import Any, Generic, TypeVar

import numpy as np

from glassbox.engine.capture import shipped
from glassbox.engine.capture.fused import Unit, fuse, name_of, parts_of, why_as_written
from glassbox.engine.capture.segment import AsWritten, CheckedUnit, Fault, Segment, close
from glassbox.engine.capture.watch import Watch
from glassbox.engine.layer import Array, Context, Gradients, Layer
from glassbox.engine.losses import Loss
from glassbox.engine.parameters import Parameters
from glassbox.engine.step import Shard, count_right, load_images, to_batch_last
from glassbox.engine.synced import (
    SyncResult,
    alone,
    backward_program,
    forward_program,
    synced_of,
)
from glassbox.kernels.recorder import (
    Call,
    Program,
    recording,
    redirect,
    replay,
    root,
)
from glassbox.kernels.shapes import Shape

# The kernel of each loss that can be recorded, and what its difference is multiplied by.
LOSSES: dict[str, tuple[str, Callable[[int, int], float]]] = {
    "glassbox.engine.losses.MSE": ("squared_error", lambda classes, batch: 2.0 / (classes * batch)),
    "glassbox.engine.losses.CrossEntropy": ("cross_entropy", lambda classes, batch: 1.0 / batch),
}
DATASET = "glassbox.data.dataset.Dataset"
OFTEN = 8  # changes of a layer's attributes during training, from which it runs as written


class CaptureWarning(UserWarning):
    """A recorded layer did not compute what its code says; it runs as written from now on."""


class Fetch:
    """How a kernel fetches the images of a data set, for all input buffers of a network."""

    def __init__(self, channels: int, dtype: Any) -> None:
        self._channels, self._dtype = channels, dtype
        # data, its methods and the answer in one tuple, so that threads see all of it or nothing
        self._last: tuple[Any, Any, Any] = (None, None, None)

    def constants(self, data: Any) -> Any:
        """What `take_images` scales by; None where the data set must be asked for its batches.

        That is any but a `Dataset` in C order, of a type that the kernel knows, all scaled alike,
        with `Dataset` and `Scaling` as they were shipped.
        """
        methods = (type(data).batch, getattr(type(getattr(data, "scaling", None)), "apply", None))
        known, its_methods, found = self._last
        if data is not known or methods != its_methods:
            found = self._judge(data)
            self._last = data, methods, found
        return found

    def _judge(self, data: Any) -> Any:
        if name_of(data) != DATASET or shipped.edited(type(data)):
            return None
        same = data.images.dtype in (np.uint8, self._dtype) and data.images.flags.c_contiguous
        if not same or data.targets is not None or shipped.edited(type(data.scaling)):
            return None
        return data.scaling.constants(self._channels, self._dtype)


class InputBuffer:
    """The array where a capture finds its images, batch-last; filled anew before every replay."""

    def __init__(self, shape: Shape, samples: int, dtype: Any, kernels: Any, fetch: Fetch) -> None:
        self.x = np.zeros((*shape, samples), dtype)
        self._take, self._fetch = kernels.ends.take_images, fetch

    def fill(self, shard: Shard) -> tuple[Array, Array]:
        """The images and labels of a shard, as `Dataset.batch` gives them, batch-last."""
        data: Any = shard.data
        indices = shard.indices
        constants = self._fetch.constants(data) if shard.augment is None else None
        if constants is not None:
            labels = data.labels[indices]  # raises for an index outside
            images = data.images.reshape(len(data.images), -1)
            self._take(images, indices, *constants, self.x.reshape(-1))
            return self.x, labels
        x, labels = load_images(shard, self.x.dtype)
        np.copyto(self.x, np.moveaxis(x, 0, -1))
        return self.x, labels


class RecordedLoss:
    """A loss and its gradient, from kernels, on recorded outputs."""

    def __init__(self, network: CapturedNetwork, outputs: Array, batch: int) -> None:
        self._loss, self.checking = network.loss, False
        self._faults = network.faults
        kernel, factor = LOSSES[name_of(network.loss)]
        ends, self._classes = network.kernels.ends, len(outputs)
        off = network.loss.label_smoothing / self._classes
        self.labels = np.zeros(outputs.shape[-1], np.int64)
        self.calls: list[Call] = []
        with recording(self.calls):
            self._losses, difference = getattr(ends, kernel)(
                outputs, self.labels, 1 - network.loss.label_smoothing + off, off
            )
            self._right = ends.count_right(outputs, self.labels)
            self.dz = ends.scaled(difference, factor(self._classes, batch))

    def run(self, outputs: Array, labels: Array, batch: int) -> tuple[float, int, Array]:
        """The sum of the losses, how many outputs are right, and the gradient of the outputs."""
        np.copyto(self.labels, labels)
        replay(self.calls)
        loss, right = self.sums()
        if self.checking:
            losses, cache = self._loss.forward(outputs.copy(), labels)
            dz = self._loss.backward(cache, batch)
            size = max(1.0, float(np.abs(outputs).max(initial=0.0)))  # a small loss is a difference
            if not (close(self._losses, losses, size) and close(self.dz, dz, size / batch)):
                self._faults.append((None, "loss"))
                np.copyto(self._losses, losses)
                np.copyto(self.dz, dz)
                loss = math.fsum(losses.tolist())
        return loss, right, self.dz

    def sums(self) -> tuple[float, int]:
        """What the last replay gave: the sum of the losses, and how many outputs are right."""
        right = int(self._right[0])
        if right < 0:
            raise IndexError(
                f"labels from {self.labels.min()} to {self.labels.max()}, but the last layer has "
                f"{self._classes} outputs"
            )
        return math.fsum(self._losses.tolist()), right


class LossAsWritten:
    """A loss that is not recorded."""

    def __init__(self, loss: Loss) -> None:
        self._loss = loss

    def run(
        self, outputs: Array, labels: Array, batch: int, weights: Array | None = None
    ) -> tuple[float, float, Array]:
        """The sum of the losses, how many outputs are right, and the gradient of the outputs."""
        own = outputs.copy()  # which a loss of one's own may keep, or change in place
        losses, cache = self._loss.forward(own, labels)
        np.copyto(outputs, own)
        dz = self._loss.backward(cache, batch)
        if weights is not None:
            losses, dz = losses * weights, dz * weights
        return math.fsum(losses.tolist()), count_right(outputs, labels, weights), dz


class Capture:
    """One pass of so many samples, with arrays of its own; one thread at a time uses it.

    Parameters
    ----------
    batch : the number of samples of the whole mini-batch; 0 for a pass that does not train.
    """

    def __init__(self, network: CapturedNetwork, samples: int, batch: int) -> None:
        self._dtype, self._replays, self._checked = network.dtype, 0, False
        self._layers = [
            [layer for unit in units for layer in unit.layers] for units in network.parts
        ]
        layers, kernels = network.layers, network.kernels
        self.input: InputBuffer | None = None
        if network.records:
            shape, fetch = network.input_shape, network.fetch
            self.input = InputBuffer(shape, samples, network.dtype, kernels, fetch)
        self._parts = self._forward_parts(network, samples, batch)
        self._loss: RecordedLoss | LossAsWritten = LossAsWritten(network.loss)
        self._written = LossAsWritten(network.loss)
        # of a step that is nothing but one segment and its loss: all of its calls
        self._whole: tuple[Segment, RecordedLoss, list[Call], Any] | None = None
        self._into: dict[int, tuple[Array, Any]] = {}  # the same, by where gradients go
        # A shard that is all of the batch may have all threads to itself.
        self._kernels, self._threads = kernels, network.threads if samples == batch else 1
        if not batch:
            return
        self.gradient = np.zeros_like(network.parameters.values)
        by_layer = network.parameters.split(self.gradient)
        place = dict(zip(layers, by_layer, strict=True))
        by_part = [
            [[place[layer] for layer in unit.layers] for unit in units] for units in network.parts
        ]
        # where the gradients belong that no segment writes there by itself
        self._places = [
            (k, places[0][0])
            for k, (part, places) in enumerate(zip(self._parts, by_part, strict=True))
            if not isinstance(part, Segment)
        ]
        last = self._parts[-1]
        if isinstance(last, Segment) and network.loss_is_recorded:
            self._loss = RecordedLoss(network, last.y, batch)
        dy = self._loss.dz if isinstance(self._loss, RecordedLoss) else None
        for part, places in zip(reversed(self._parts), reversed(by_part), strict=True):
            if isinstance(part, Segment):
                part.record_backward(np.zeros_like(part.y) if dy is None else dy, places)
            dy = None  # between segments are layers that give new arrays
        if len(self._parts) == 1 and isinstance(self._loss, RecordedLoss):
            calls = [*last.all_forward, *self._loss.calls, *last.all_backward]
            self._whole = last, self._loss, calls, self._synced([last.caches])

    def _forward_parts(self, network: CapturedNetwork, samples: int, batch: int) -> list[Any]:
        """The network's parts, the recorded ones with arrays of their own."""
        parts: list[Any] = []
        x = self.input.x if self.input else None
        for units in network.parts:
            layer: Any = units[0].layers[0]
            if network.records and layer in network.recorded:
                if x is None:
                    x = np.zeros((*layer.input_shape, samples), network.dtype)
                parts.append(Segment(units, x, batch, network.faults))
            elif type(units[0]) is not Unit:
                parts.append(CheckedUnit(units[0], network.faults))
            else:
                parts.append(AsWritten(layer) if network.records else layer)
            x = None
        return parts

    def _begin(self) -> None:
        """Count the replays; those numbered 1, 2, 4, 8, ... are compared with the layers."""
        self._replays += 1
        checking = self._replays & (self._replays - 1) == 0
        if checking or self._checked:
            self._checked = checking
            for part in [*self._parts, self._loss]:
                if isinstance(part, Segment | CheckedUnit | RecordedLoss):
                    part.checking = checking

    def _images(self, shard: Shard) -> tuple[Array, Array]:
        if self.input is not None:
            return self.input.fill(shard)
        x, labels = load_images(shard, self._dtype)
        return to_batch_last(x), labels

    def _judge(self, outputs: Array, labels: Array, shard: Shard) -> tuple[float, float, Array]:
        """What the loss's `run` returns; with weights or probabilities it runs as written."""
        if shard.weights is None and labels.ndim == 1:
            return self._loss.run(outputs, labels, shard.context.batch)
        loss, right, dz = self._written.run(outputs, labels, shard.context.batch, shard.weights)
        return loss, right, dz

    def train_program(self, shard: Shard, gradient: Array) -> Program:
        """What `SyncExecutor.train_program` does, but for rounding.

        The gradient is in the array given, or, if the batch has no other shard, perhaps in this
        capture's own: nobody else will write in it before the step is over.
        """
        self._begin()
        x, labels = self._images(shard)
        plain = shard.weights is None and labels.ndim == 1
        if self._whole is not None and plain and not self._checked:
            segment, recorded, calls, synced = self._whole
            segment.take(shard.context)
            np.copyto(recorded.labels, labels)
            if id(gradient) not in self._into:  # kept, so that no other array has its id
                moved = redirect(calls, [(self.gradient, gradient)])
                replay = self._kernels.team.Replay(moved, self._threads)
                self._into[id(gradient)] = gradient, replay
            yield from self._into[id(gradient)][1].program()
            return SyncResult(*recorded.sums(), gradient, synced)
        outputs, caches = yield from forward_program(self._parts, x, shard.context)
        loss, right, dz = self._judge(outputs, labels, shard)
        _, gradients = yield from backward_program(self._parts, dz, caches)
        flat = self._gathered(gradients, gradient, shard)
        return SyncResult(loss, right, flat, self._synced(caches))

    def _synced(self, caches: Sequence[Any]) -> list[tuple[Layer, Any]]:
        """`synced_of` the layers of all parts."""
        found = []
        for part, layers, own in zip(self._parts, self._layers, caches, strict=True):
            found += (
                synced_of(layers, own)
                if isinstance(part, Segment)
                else synced_of(layers[:1], [own])
            )
        return found

    def _gathered(self, gradients: Sequence[Gradients], gradient: Array, shard: Shard) -> Array:
        """The flat gradient; segments have written theirs already."""
        for k, places in self._places:
            for name, place in places.items():
                place[...] = gradients[k].get(name, 0)
        if len(shard.indices) == shard.context.batch:
            return self.gradient
        np.copyto(gradient, self.gradient)
        return gradient

    def infer(self, data: Any, indices: Array) -> Array:
        """The outputs of a pass that does not train, in memory that the next one overwrites."""
        self._begin()
        shard = Shard(data, indices, Context(), None)
        x, _ = self._images(shard)
        outputs: Array = alone(forward_program(self._parts, x, shard.context))[0]
        return outputs

    def bytes(self) -> int:
        """How much memory its arrays take."""
        roots = {
            id(root(array)): root(array).nbytes
            for part in self._parts
            if isinstance(part, Segment)
            for array in part.arrays()
        }
        return sum(roots.values())


class CapturedNetwork:
    """The fast form of built layers and a loss.

    Attributes
    ----------
    records : whether the backend's kernels can be recorded; else layers are only fused.
    as_written : each layer that runs as written, and why.
    parts : lists of units; a part is recorded as one segment, or is one layer as written.
    threads : how many may be within one kernel call, where a batch is a single shard.
    """

    def __init__(
        self, layers: Sequence[Layer], loss: Loss, parameters: Parameters, input_shape: Shape
    ) -> None:
        self.layers, self.loss, self.parameters = list(layers), loss, parameters
        self.input_shape, self.dtype = input_shape, parameters.values.dtype
        self.kernels: Any = layers[0].kernels
        self.records = hasattr(self.kernels, "ends")
        self.fetch = Fetch(input_shape[0], self.dtype)
        self._distrusted: dict[Layer, str] = {}
        self._loss_is_distrusted = False
        self.faults: list[Fault] = []  # what captures found to be wrong
        self._changes: dict[Layer, int] = {}
        self.threads = 1
        self._arrange()

    def _arrange(self) -> None:
        """Decide what is recorded and fused, and forget all captures."""
        reasons = {layer: self._distrusted.get(layer, "") for layer in self.layers}
        edited = cache(shipped.edited)  # while this goes on, no class is edited
        reasons = {
            layer: known or why_as_written(layer, edited) for layer, known in reasons.items()
        }
        self.as_written = {layer: reason for layer, reason in reasons.items() if reason}
        units = fuse(self.layers, self.as_written, self.records)
        self.fused = [unit for unit in units if type(unit) is not Unit]
        self.recorded = {unit.layers[0] for unit in units if unit.layers[0] not in self.as_written}
        grouped = itertools.groupby(
            units, lambda unit: self.records and unit.layers[0] in self.recorded
        )
        self.parts = [
            part
            for recorded, stretch in grouped
            for part in ([list(stretch)] if recorded else [[unit] for unit in stretch])
        ]
        known = not (shipped.replaced(self.loss) or shipped.edited(type(self.loss)))
        known = known and name_of(self.loss) in LOSSES and not self._loss_is_distrusted
        self.loss_is_recorded = self.records and known
        watched = {layer: parts_of(layer) for layer in self.layers if layer not in self.as_written}
        self._watches = {layer: Watch(parts) for layer, parts in watched.items()}
        self._watch = Watch([*itertools.chain(*watched.values()), self.loss])
        self.training = CapturePool[Capture]()
        self.inference = CapturePool[Capture]()

    @property
    def active(self) -> bool:
        """Whether anything at all is recorded or fused."""
        return bool(self.fused) or (self.records and bool(self.recorded))

    def refresh(self) -> None:
        """Start anew where a layer, an activation or the loss was changed since."""
        if not self._watch.changed():
            return
        for layer, watch in self._watches.items():
            if watch.changed():
                self._changes[layer] = self._changes.get(layer, 0) + 1
                if self._changes[layer] >= OFTEN:
                    self._distrusted[layer] = "its attributes change again and again"
        self._arrange()

    def train_program(self, shard: Shard) -> Program:
        """Train on one shard; the program pauses for sums over all shards."""
        context = shard.context
        gradient = self.training.gradient(context.shard, self.parameters)
        with self.training.acquire(len(shard.indices), context.batch, self._new) as capture:
            result = yield from capture.train_program(shard, gradient)
        return result

    def _new(self, samples: int, batch: int) -> Capture:
        return Capture(self, samples, batch)

    def infer(self, data: Any, indices: Array, outputs: Array) -> None:
        """The outputs of some images, into the array given."""
        with self.inference.acquire(len(indices), 0, self._new) as capture:
            np.copyto(outputs, capture.infer(data, indices))

    def settle(self) -> None:
        """Warn of what captures found to be wrong, and run it as written from now on."""
        if not self.faults:
            return
        told = []
        for unit, what in self.faults:
            if unit is None:
                self._loss_is_distrusted = True
                label = type(self.loss).__name__
            else:
                label = " and ".join(layer.label for layer in unit.layers)
                for layer in unit.layers:
                    self._distrusted[layer] = f"its recorded {what} was not what its code computes"
            told.append(f"{label}: the recorded {what} is not what the code computes")
        self.faults.clear()
        self._arrange()
        self.warn(told)

    def warn(self, told: list[str]) -> None:
        """Warn of faults."""
        warnings.warn(
            f"{'; '.join(dict.fromkeys(told))}. It runs as written from now on, which is slower "
            "but right.",
            CaptureWarning,
            stacklevel=5,
        )

    def describe(self) -> str:
        """In one line: what is recorded, and what runs as written and why."""
        how = "kernel calls recorded and replayed" if self.records else "fused, not recorded"
        slow = [f"{layer.name} as written ({why})" for layer, why in self.as_written.items()]
        if self.records and not self.loss_is_recorded:
            slow.append(f"the loss as written ({type(self.loss).__name__})")
        return "; ".join([f"captured: {how}", *slow])


Item = TypeVar("Item", bound=Any)


class CapturePool(Generic[Item]):
    """The captures of one network, and a flat gradient for each shard.

    A thread acquires the capture that was released last: its arrays are still in the cache.
    """

    MOST = 64  # sizes of shards and batches; a training run has two, the usual and the last batch
    MOST_BYTES = 2**30  # of captures kept beside those of the size in use

    def __init__(self) -> None:
        self._idle: dict[tuple[int, int], list[Item]] = {}
        self._bytes = 0
        self._gradients: dict[int, Array] = {}

    @contextmanager
    def acquire(self, samples: int, batch: int, make: Callable[[int, int], Item]) -> Iterator[Item]:
        """A capture for so many samples of a batch; `make` makes one where none is idle."""
        idle = self._idle.setdefault((samples, batch), [])
        try:
            item = idle.pop()  # one operation: no other thread can take the same
        except IndexError:
            item = make(samples, batch)
            self._make_room((samples, batch), item.bytes())
        try:
            yield item
        finally:
            idle.append(item)

    def _make_room(self, size: tuple[int, int], more: int) -> None:
        """Forget the captures of other sizes where there are too many, or too large ones."""
        self._bytes += more
        if len(self._idle) > self.MOST or self._bytes > self.MOST_BYTES:
            self._idle, self._bytes = {size: self._idle.get(size, [])}, more

    def gradient(self, shard: int, parameters: Parameters) -> Array:
        """The memory for the flat gradient of a shard."""
        if shard not in self._gradients:
            self._gradients[shard] = np.zeros_like(parameters.values)
        return self._gradients[shard]
