"""Executors that run what can be captured, and the choice of an executor for a network."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import nullcontext
from typing import Any

import numpy as np

from glassbox.engine.capture import shipped
from glassbox.engine.capture.captured import CapturedNetwork
from glassbox.engine.capture.segment import close
from glassbox.engine.layer import Array
from glassbox.engine.optimizers import Optimizer, State
from glassbox.engine.parallel import MOST_TOGETHER, Workers, cores
from glassbox.engine.schedules import Progress
from glassbox.engine.step import Executor, Shard, ShardResult
from glassbox.engine.synced import SyncExecutor, SyncLayer
from glassbox.kernels.recorder import Program


class FusedUpdate:
    """An optimizer's move by one kernel of the backend, compared with its code again and again."""

    def __init__(self, optimizer: Optimizer, kernel: Callable[..., None]) -> None:
        self._optimizer, self._kernel = optimizer, kernel
        self.checking, self.wrong = False, False

    def __call__(self, w: Array, g: Array, state: State, rate: float) -> None:
        """Move the weights w in place, as `Optimizer.move` does."""
        given = self._copy(w, g, state) if self.checking else None
        if self._optimizer.weight_decay:
            self._optimizer.decay(w, g, rate)
        self._kernel(self._optimizer, w, g, state, rate)
        if given is None:
            return
        expected, gradient, its_state = given
        self._optimizer.move(expected, gradient, its_state, rate)
        pairs = [(w, expected)]
        pairs += [(state[name], its_state[name]) for name in self._optimizer.state_names]
        if not all(close(ours, theirs) for ours, theirs in pairs):
            self.wrong = True
            for ours, theirs in pairs:
                np.copyto(ours, theirs)

    def _copy(self, w: Array, g: Array, state: State) -> tuple[Array, Array, State]:
        arrays = {name: state[name].copy() for name in self._optimizer.state_names}
        return w.copy(), g.copy(), {**state, **arrays}


def fused_kernel(optimizer: Optimizer, kernels: Any) -> Callable[..., None] | None:
    """The backend's kernel for an optimizer as shipped, such as `adam_`; None if there is none."""
    if shipped.replaced(optimizer) or shipped.edited(type(optimizer)):
        return None
    owner = next(kind for kind in type(optimizer).__mro__ if "update" in vars(kind))
    kernel: Callable[..., None] | None = getattr(kernels, f"{owner.__name__.lower()}_", None)
    return kernel


class CapturedExecutor(SyncExecutor):
    """Runs recorded and fused kernel calls in the layers' place, as far as they agree with them."""

    def __init__(self, network: CapturedNetwork, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.captured, self._steps = network, 0
        if network.records:
            network.threads = min(self.workers.threads, cores(), MOST_TOGETHER)
        self._alone, self._helped = Workers(1), False
        self._moves: dict[int, tuple[Optimizer, FusedUpdate | None]] = {}

    def train_program(self, shard: Shard) -> Program:
        """As `SyncExecutor.train_program`, replayed between the pauses."""
        return self.captured.train_program(shard)

    def train_shards(self, shards: Sequence[Shard], serial: bool) -> list[Any]:
        """As `SyncExecutor.train_shards`; what was found to be wrong then runs as written."""
        asked = self._asked()
        results = super().train_shards(shards, serial)
        self._helped = self._asked() > asked
        self.captured.settle()
        return results

    def _asked(self) -> int:
        """How often helpers were asked for help within calls."""
        asked: int = self.kernels.team.Team.asked if self.captured.threads > 1 else 0
        return asked

    def infer_shard(self, data: Any, indices: Array, outputs: Array) -> None:
        """As `Executor.infer_shard`, replayed."""
        self.captured.infer(data, indices, outputs)

    def map(self, task: Callable[[Any], Any], shards: Sequence[Any], serial: bool) -> list[Any]:
        """As `Executor.map`, with the same care."""
        results = super().map(task, shards, serial)
        self.captured.settle()
        return results

    def update(self, results: Sequence[ShardResult], progress: Progress) -> None:
        """As `Executor.update`, with a fused kernel where the backend has one."""
        gradients = [result.gradient for result in results]
        self._steps += 1
        checking = self._steps & (self._steps - 1) == 0  # steps 1, 2, 4, 8, ...
        threads = self.captured.threads if self._helped else 1  # waking them would take longer
        for group in self.parameters.groups:
            move, size = self._move(group.optimizer), group.where.stop - group.where.start
            if move is None or threads == 1:
                workers, share, size = self.workers, nullcontext(), 0  # pieces as usual
            else:  # those who helped with the only shard still spin: one call for all
                workers, share = self._alone, self.kernels.team.together(threads)
            if move is not None:
                move.checking = checking
            with share:
                group.update(self.parameters, gradients, progress, workers, move, size)
            if move is not None and move.wrong:
                self._moves[id(group.optimizer)] = group.optimizer, None
                kind = type(group.optimizer).__name__
                self.captured.warn([f"{kind}: the fused update is not what the code computes"])
        self.after_step(results)

    def _move(self, optimizer: Optimizer) -> FusedUpdate | None:
        if id(optimizer) not in self._moves:
            kernel = fused_kernel(optimizer, self.kernels)
            move = None if kernel is None else FusedUpdate(optimizer, kernel)
            self._moves[id(optimizer)] = optimizer, move  # kept, so that no other has its id
        return self._moves[id(optimizer)][1]

    def refresh(self) -> None:
        """Notice what was changed by hand since the last step."""
        self._moves.clear()
        self.captured.refresh()


def executor_for(eager: bool, *built: Any) -> tuple[Executor, str]:
    """The executor of built layers, captured where it can be and may be; and else why not.

    `built`: the arguments of `Executor`.
    """
    layers, loss, parameters, input_shape = built[:4]
    reason = "as asked" if eager else shipped.edited_module("glassbox.engine.step")
    if not reason:
        network = CapturedNetwork(layers, loss, parameters, input_shape)
        if network.active:
            return CapturedExecutor(network, *built), ""
        reason = "nothing to record or fuse"
    synced = any(isinstance(layer, SyncLayer) for layer in layers)
    return (SyncExecutor if synced else Executor)(*built), reason
