"""The executor: runs training steps and predictions of built layers, eagerly or captured."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np

from glassbox.engine.capture import shipped
from glassbox.engine.capture.captured import CapturedNetwork
from glassbox.engine.diagnosis import diverged
from glassbox.engine.layer import Array, Context, Layer
from glassbox.engine.losses import Loss
from glassbox.engine.optimizers import Optimizer
from glassbox.engine.parallel import IGNORE_FP_WARNINGS, Workers, inference_slices, shard_slices
from glassbox.engine.parameters import Parameters
from glassbox.engine.schedules import Progress
from glassbox.engine.step import Augment, ShardResult, Source, forward, to_batch_last, train_shard
from glassbox.engine.synced import SyncLayer, run_programs, train_program
from glassbox.errors import Diverged, require_count
from glassbox.kernels.shapes import Shape


class Executor:
    """Runs the layers of a network on shards, side by side.

    Parameters
    ----------
    layers, loss, parameters : built.
    optimizer : the network's own, for messages.
    input_shape : of one image.
    workers : the threads.
    seed : of the network's random numbers.
    eager : whether every layer runs as written, always; else what can be captured is.
    """

    def __init__(
        self,
        layers: list[Layer],
        loss: Loss,
        parameters: Parameters,
        optimizer: Optimizer,
        input_shape: Shape,
        workers: Workers,
        seed: int,
        eager: bool,
    ) -> None:
        self.layers, self.loss, self.parameters = layers, loss, parameters
        self.workers, self.seed, self.optimizer = workers, seed, optimizer
        self.kernels = layers[0].kernels
        self.dtype = parameters.values.dtype
        self.output_shape = layers[-1].output_shape
        shapes = [input_shape, *(layer.output_shape for layer in layers)]
        # of the largest array for one sample: shards are cut by it
        self.sample_bytes = max(map(math.prod, shapes)) * self.dtype.itemsize
        self.multiply_adds = sum(layer.multiply_adds() for layer in layers)
        self._gradients: dict[int, Array] = {}
        self._has_sync_layers = any(isinstance(layer, SyncLayer) for layer in layers)
        self.captured: CapturedNetwork | None = None
        self.why_eager = "as asked" if eager else shipped.edited_module("glassbox.engine.step")
        if not self.why_eager:
            captured = CapturedNetwork(layers, loss, parameters, input_shape)
            if captured.active:
                self.captured = captured
            else:
                self.why_eager = "nothing to record or fuse"

    @property
    def mode(self) -> str:
        """ "captured" or "eager"."""
        return "eager" if self.captured is None else "captured"

    @property
    def execution(self) -> str:
        """What decides the last bits of a step: the mode, and the layers as written."""
        slow = [] if self.captured is None else [layer.name for layer in self.captured.as_written]
        return f"{self.mode}, as written: {', '.join(slow)}" if slow else self.mode

    def describe(self) -> str:
        """How steps are run, in one line."""
        if self.captured is not None:
            return self.captured.describe()
        return f"eager: layer by layer ({self.why_eager})"

    def refresh(self) -> None:
        """Notice what was changed by hand since the last step."""
        if self.captured is not None:
            self.captured.refresh()

    def train_step(
        self,
        data: Source,
        indices: Array,
        progress: Progress,
        step: int,
        augment: Augment | None,
    ) -> tuple[float, int]:
        """One step; returns the sum of the losses and how many were right, before the step.

        Raises Diverged where a number is no longer finite.
        """
        cuts = shard_slices(len(indices), self.sample_bytes, self.kernels.SHARD_POLICY)
        work = self.multiply_adds * len(indices) // len(cuts)
        alone = work < self.kernels.SHARD_POLICY.least_work  # too little to wake another thread for
        shards = [
            (indices[cut], Context(True, self.seed, step, shard, len(indices)))
            for shard, cut in enumerate(cuts)
        ]
        captured = self.captured
        results: list[ShardResult]
        if self._has_sync_layers:
            program = self._program if captured is None else captured.train_program
            programs = [program(data, cut, context, augment) for cut, context in shards]
            results = run_programs(self.workers, programs, alone)
        else:
            train = self._train_eagerly if captured is None else captured.train
            results = self.workers.map(lambda s: train(data, s[0], s[1], augment), shards, alone)
        if captured is not None:
            captured.settle()
        loss = sum(result.loss for result in results)
        if not math.isfinite(loss):
            raise self._diverged(data, indices, step, "the loss is not a finite number")
        gradients = [result.gradient for result in results]
        self.parameters.update(gradients, progress, self.kernels, self.workers)
        with np.errstate(**IGNORE_FP_WARNINGS):
            for layer, cache in results[0].synced:
                layer.after_step(cache)
            if not self.parameters.finite():
                raise self._diverged(data, indices, step, "it left numbers that are not finite")
        return loss, sum(result.correct for result in results)

    def _gradient(self, shard: int) -> Array:
        """The memory for the flat gradient of a shard."""
        if shard not in self._gradients:
            self._gradients[shard] = np.zeros_like(self.parameters.values)
        return self._gradients[shard]

    def _train_eagerly(
        self, data: Source, indices: Array, context: Context, augment: Augment | None
    ) -> ShardResult:
        flat = self._gradient(context.shard)
        return train_shard(
            self.layers, self.loss, self.parameters, data, indices, context, flat, augment
        )

    def _program(
        self, data: Source, indices: Array, context: Context, augment: Augment | None
    ) -> Any:
        flat = self._gradient(context.shard)
        return train_program(
            self.layers, self.loss, self.parameters, data, indices, context, flat, augment
        )

    def _diverged(
        self, data: Source, indices: Array, step: int, what: str, training: bool = True
    ) -> Diverged:
        images, _ = data.batch(indices, self.dtype)
        context = Context(training, self.seed, step, 0, len(indices))
        return diverged(self.layers, images, context, self.optimizer, what)

    def check_validation(self, data: Any, loss: float, step: int) -> None:
        """Raise Diverged unless the loss on validation data is finite."""
        if math.isfinite(loss):
            return
        parts = self.outputs(data, 1024)
        first = next((where for where, y in parts if not np.isfinite(y).all()), np.arange(1))
        raise self._diverged(data, first, step, "the validation loss is not a finite number", False)

    def outputs(self, data: Any, batch_size: int) -> Iterator[tuple[Array, Array]]:
        """(indices, outputs batch-last) of every batch in turn, the shards side by side."""
        require_count("batch_size", batch_size)
        with self.workers.ready():
            for start in range(0, len(data), batch_size):
                indices = np.arange(start, min(start + batch_size, len(data)))
                outputs = np.empty((*self.output_shape, len(indices)), self.dtype)

                def use(cut: slice, indices: Array = indices, outputs: Array = outputs) -> None:
                    self._use(data, indices[cut], outputs[..., cut])

                cuts = inference_slices(len(indices), self.sample_bytes, self.kernels.SHARD_POLICY)
                self.workers.map(use, cuts)
                if self.captured is not None:
                    self.captured.settle()
                yield indices, outputs

    def _use(self, data: Any, indices: Array, outputs: Array) -> None:
        if self.captured is not None:
            self.captured.use(data, indices, outputs)
        else:
            x = to_batch_last(data.batch(indices, self.dtype)[0])
            outputs[...] = forward(self.layers, x, Context())[0]
