"""Segments: runs of recorded units, replayed, and compared with the layers that they stand for."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from glassbox.engine.blocks import Residual
from glassbox.engine.capture.fused import Unit
from glassbox.engine.layer import Array, Context, Gradients, Layer
from glassbox.engine.synced import backward_program, forward_program, resume, synced_of
from glassbox.kernels.recorder import (
    Call,
    Program,
    call,
    record,
    recording,
    redirect,
    replay,
    replay_program,
    root,
    stretches,
)
from glassbox.kernels.shapes import Shape

# A recorded result may differ from the layer's by rounding: so large a share of the largest number,
# and in a sum over all places (a bias) so large a share of what was added up.
TOLERANCE = {np.dtype(np.float32): (1e-4, 1e-5), np.dtype(np.float64): (1e-11, 1e-13)}


Fault = tuple[Unit | None, str]  # what was wrong, and of which unit; None: of the loss


class RecordedContext(Context):
    """A `Context` whose random numbers are drawn again in every replay."""

    __slots__ = ()

    def draw(self, stream: int, shape: Shape) -> Array:
        """As `Context.draw`, recorded."""
        bits = np.empty(shape, np.uint16)
        call(self._fill, stream, bits)
        return bits

    def _fill(self, stream: int, bits: Array) -> None:
        np.copyto(bits, Context.draw(self, stream, bits.shape))


class Comparison:
    """One unit beside its layers: runs them on the same numbers, and keeps their results.

    Where the unit's result differs beyond rounding, the layers' takes its place, and `faults` is
    told.
    """

    def __init__(self, unit: Unit, faults: list[Fault]) -> None:
        self.unit, self._faults = unit, faults
        self._layers = list(unit.layers)

    def forward(self, x: Array, context: Context) -> None:
        """Run the layers forward on x, which is copied, as far as they come without a sum."""
        self._x, self._training = x.copy(), context.training
        own = Context(context.training, context.seed, context.step, context.shard, context.batch)
        self._program = forward_program(self._layers, self._x, own)
        self._go_on(None)

    def _go_on(self, total: Array | None) -> None:
        _, self._found = resume((self._program, total))

    def beside(self, calls: Sequence[Call]) -> Program:
        """Replay the unit's calls; at each pause its array and the layers' are compared."""
        for part, own, total in stretches(calls):
            replay(part)
            if own is not None and total is not None:
                self._settle("sum over all shards", own, self._found, 0.0)
                np.copyto(total, (yield own))
                self._go_on(total.copy())

    def judge_forward(self, y: Array, caches: Sequence[Any]) -> None:
        """Compare the unit's output with the layers'; correct it where it is wrong.

        So in training with the caches of layers that do something with them after the step.
        """
        self._y, self._caches = self._found
        self._settle("output", y, self._y, 0.0)
        if not self._training:
            self.release()
            return
        found, expected = (_kept(self._layers, each) for each in (caches, self._caches))
        for pair in zip(found, expected, strict=True):
            self._settle("cache", *pair, 0.0)

    def backward(self, x: Array, y: Array, dy: Array) -> None:
        """Run the layers backward on dy, with x and y as they are now, as `forward` does."""
        np.copyto(self._x, x)
        np.copyto(self._y, y)
        self._added = float(np.abs(dy).sum())
        self._program = backward_program(self._layers, dy.copy(), self._caches)
        self._go_on(None)

    def judge_backward(self, dx: Array | None, gradients: Sequence[Gradients]) -> None:
        """Compare the gradients; correct them where they are wrong."""
        expected, its_gradients = self._found
        if dx is not None and expected is not None:
            self._settle("gradient of the input", dx, expected, 0.0)
        for own, its in zip(gradients, its_gradients, strict=True):
            for name, value in own.items():
                self._settle(f"gradient of {name}", value, its[name], self._added)
        self.release()

    def release(self) -> None:
        """Let go of the copies."""
        del self._x, self._y, self._caches, self._program, self._found

    def _settle(self, what: str, found: Array, expected: Array, added: float) -> None:
        if not close(found, expected, added, self._x.dtype):
            self._faults.append((self.unit, what))
            np.copyto(found, expected)


def _kept(layers: Sequence[Layer], caches: Sequence[Any]) -> Iterator[Array]:
    """The arrays of numbers in what those layers keep, of some, that use it after the step."""
    for layer, cache in synced_of(layers, caches):
        if isinstance(layer, Residual):
            yield from _kept(layer.layers, cache[2])
        else:
            yield from _numbers(cache)


def _numbers(cache: Any) -> Iterator[Array]:
    """The arrays of floating-point numbers in what a layer keeps."""
    if isinstance(cache, np.ndarray) and cache.dtype in TOLERANCE:
        yield cache
    elif isinstance(cache, tuple | list):
        for part in cache:
            yield from _numbers(part)


def close(found: Array, expected: Array, added: float = 0.0, dtype: Any = None) -> bool:
    """Whether two results differ by rounding alone; numbers that are not finite are not judged.

    dtype : what they were computed in, where it is not their own.
    """
    if found.shape != expected.shape:
        return False
    share, of_sum = TOLERANCE[dtype or found.dtype]
    with np.errstate(all="ignore"):
        most = np.abs(expected).max(initial=0.0)
        apart = np.abs(found - expected).max(initial=0.0)
        return not np.isfinite(most + apart) or bool(apart <= share * most + of_sum * added)


class Segment:
    """Recorded units one after the other, with arrays of their own, as programs.

    Parameters
    ----------
    units : what to record.
    x : the array for the input; forward copies its argument there, unless it is this very array.
    batch : the number of samples of the whole mini-batch; 0 for a pass that does not train.
    faults : appended to where a replay is not what the layers compute.
    """

    def __init__(self, units: Sequence[Unit], x: Array, batch: int, faults: list[Fault]) -> None:
        self.units, self.x = units, x
        self.checking = False
        self._context = RecordedContext(training=batch > 0, batch=batch)
        self._forward: list[tuple[list[Call], Array, Array, list[Any]]] = []
        self._backward: list[tuple[list[Call], Array, Array | None, Sequence[Gradients]]] = []
        self._comparisons = [Comparison(unit, faults) for unit in units]
        for unit in units:
            calls: list[Call] = []
            y, caches = record(unit.forward_program(x, self._context), calls)
            self._forward.append((calls, x, y, caches))
            x = y
        self.caches = [cache for *_, caches in self._forward for cache in caches]  # of each layer
        self.y = x
        self.all_forward = [one for calls, *_ in self._forward for one in calls]
        self._forward_parts = stretches(self.all_forward)

    def record_backward(self, dy: Array, places: Sequence[Sequence[Gradients]]) -> None:
        """Record the way back from dy; the gradients of each unit's layers go to their places."""
        self.dy = dy
        dx: Array | None = dy
        for unit, (*_, caches), its_places in zip(
            reversed(self.units), reversed(self._forward), reversed(places), strict=True
        ):
            if dx is None:  # nothing before this unit learns
                break
            calls: list[Call] = []
            dy = dx
            dx, gradients = record(unit.backward_program(dy, caches), calls)
            pairs = [
                (value, place[name])
                for own, place in zip(gradients, its_places, strict=True)
                for name, value in own.items()
            ]
            moves = [(value, target) for value, target in pairs if _owns_all(value)]
            with recording(calls):
                for value, target in pairs:
                    if not _owns_all(value):
                        call(np.copyto, target, value)
            self._backward.append((redirect(calls, moves), dy, dx, its_places))
        self.dx = dx
        self.all_backward = [one for calls, *_ in self._backward for one in calls]
        self._backward_parts = stretches(self.all_backward)

    def take(self, context: Context) -> Context:
        """Draw the random numbers of the next replay from those of a context."""
        own = self._context
        own.seed, own.step = context.seed, context.step
        own.shard, own.batch = context.shard, context.batch
        return own

    def forward_program(self, x: Array, context: Context) -> Program:
        """Replay the way forward."""
        if x is not self.x:
            np.copyto(self.x, x)
        own = self.take(context)
        if not self.checking:
            yield from replay_program(self._forward_parts)
            return self.y, self.caches
        compared = zip(self._forward, self._comparisons, strict=True)
        for (calls, x, y, caches), comparison in compared:
            comparison.forward(x, own)
            yield from comparison.beside(calls)
            comparison.judge_forward(y, caches)
        return self.y, self.caches

    def backward_program(self, dy: Array, cache: Any) -> Program:
        """Replay the way back; the gradients are in their places, so none are returned."""
        if dy is not self.dy:
            np.copyto(self.dy, dy)
        if not self.checking:
            yield from replay_program(self._backward_parts)
            return self.dx, {}
        for k, (calls, dy, dx, places) in enumerate(self._backward, start=1):
            comparison, (_, x, y, _) = self._comparisons[-k], self._forward[-k]
            comparison.backward(x, y, dy)
            yield from comparison.beside(calls)
            comparison.judge_backward(dx, places)
        return self.dx, {}

    def arrays(self) -> list[Array]:
        """All arrays that its calls work on."""
        recorded = [one for calls, *_ in self._forward for one in calls]
        recorded += [one for calls, *_ in self._backward for one in calls]
        arguments = [a for one in recorded for a in getattr(one, "args", ())]
        return [argument for argument in arguments if isinstance(argument, np.ndarray)]


def _owns_all(array: Array) -> bool:
    """Whether an array is all of the memory that it lies in, in order."""
    whole = root(array)
    return array.flags.c_contiguous and whole.flags.c_contiguous and whole.size == array.size


class CheckedUnit:
    """A unit of a backend that records nothing, compared with its layers when told to."""

    def __init__(self, unit: Unit, faults: list[Fault]) -> None:
        self._unit, self.checking = unit, False
        self._comparison = Comparison(unit, faults)

    def forward_program(self, x: Array, context: Context) -> Program:
        """(y, what its way back needs)."""
        if self.checking:
            self._comparison.forward(x, context)
        y, caches = yield from self._unit.forward_program(x, context)
        if self.checking:
            self._comparison.judge_forward(y, caches)
        return y, (x, y, caches)

    def backward_program(self, dy: Array, cache: Any) -> Program:
        """(dx, the gradients of its first layer)."""
        x, y, caches = cache
        if self.checking:
            self._comparison.backward(x, y, dy)
        dx, gradients = yield from self._unit.backward_program(dy, caches)
        if self.checking:
            self._comparison.judge_backward(dx, gradients)
        return dx, gradients[0]


class AsWritten:
    """A layer that is not recorded, between segments that are.

    Recorded arrays are written again in every step; what is handed to code that is not recorded
    may be kept by it, and changed in place.  So it gets a copy, which goes back.
    """

    def __init__(self, layer: Layer) -> None:
        self.layer = layer

    def forward_program(self, x: Array, context: Context) -> Program:
        """The layer's own."""
        own = x.copy()
        y, (cache,) = yield from forward_program([self.layer], own, context)
        np.copyto(x, own)
        return y, cache

    def backward_program(self, dy: Array, cache: Any) -> Program:
        """The layer's own."""
        own = dy.copy()
        dx, (gradients,) = yield from backward_program([self.layer], own, [cache])
        np.copyto(dy, own)
        return dx, gradients
