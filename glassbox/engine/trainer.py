"""The trainer of one training run: order of the images, the steps, and what is the best so far.

`CNN.fit` checks what it is given and hands it to a `Trainer`, which calls back the network's
`train_step` and `evaluate`.
"""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any, Protocol

import numpy as np

from glassbox.engine.averaging import Average
from glassbox.engine.history import History, MovingMetrics
from glassbox.engine.interrupt import StopSignal
from glassbox.engine.layer import Array
from glassbox.engine.optimizers import Optimizer
from glassbox.engine.parameters import Parameters
from glassbox.engine.progress_bar import epoch_bar, epoch_line
from glassbox.engine.schedules import Progress
from glassbox.engine.step import Augment
from glassbox.errors import Diverged

AfterStep = Callable[[int, int, int], None]


@dataclass
class Position:
    """Where a run stands: the epoch (from 0), its steps so far, and what they gave."""

    epoch: int = 0
    step: int = 0
    seen: int = 0
    loss: float = 0.0
    right: int = 0
    seconds: float = 0.0


class Trainable(Protocol):
    """What a trainer needs of a network."""

    seed: int
    optimizer: Optimizer

    def train_step(
        self, data: Any, indices: Array, progress: Progress, augment: Augment | None
    ) -> tuple[float, int]: ...

    def evaluate(self, data: Any) -> Any: ...

    def check_validation(self, data: Any, loss: float) -> None: ...


def batches(seed: int, epoch: int, count: int, size: int, shuffle: bool) -> Iterator[Array]:
    """The indices of every mini-batch; their order follows from seed and epoch alone.

    >>> [batch.tolist() for batch in batches(0, 0, 5, 2, shuffle=False)]
    [[0, 1], [2, 3], [4]]
    """
    order = np.arange(count)
    if shuffle:
        np.random.default_rng([seed, epoch, count]).shuffle(order)
    for start in range(0, count, size):
        yield order[start : start + size]


class Trainer:
    """Trains `network` on `data`, validates on `checks` after each epoch, remembers the best.

    `after_step(epoch, images seen, images in all)` is called after every step, if given.
    `keep(trainer)` is called with the trainer in a state to go on from: after every epoch, after
    every `keep_every` steps, and when the run is interrupted.
    """

    def __init__(
        self,
        network: Trainable,
        parameters: Parameters,
        data: Any,
        checks: Any,
        epochs: int,
        batch_size: int,
        *,
        augment: Augment | None = None,
        shuffle: bool = True,
        patience: int | None = None,
        ema_decay: float = 0.0,
        after_step: AfterStep | None = None,
        keep: Callable[[Trainer], None] | None = None,
        keep_every: int | None = None,
        progress: bool = True,
    ) -> None:
        self.network, self.parameters = network, parameters
        self.data, self.checks = data, checks
        self.epochs, self.batch_size = epochs, batch_size
        self.augment, self.shuffle, self.patience = augment, shuffle, patience
        self.after_step, self.show_progress = after_step, progress
        self.keep, self.keep_every = keep, keep_every
        self.history = History()
        self.average = Average(ema_decay, parameters.values) if ema_decay else None
        self.per_epoch = math.ceil(len(data) / batch_size)
        self.at = Position()
        self.running = self._new_running()
        self.waited = 0
        self.best_rank: tuple[float, float] | None = None
        self.best: list[Array] = []
        # without validation, what to go back to: the end of the epoch with the lowest loss
        self.sound = parameters.snapshot()
        self._lowest = math.inf

    def run(self, stop_signal: StopSignal) -> History:
        """All epochs, or as many as there are reasons for; the best weights come back however."""
        self.history.ended = self._reason_to_stop()
        try:
            while not self.history.ended:
                self._epoch(stop_signal)
                self.history.ended = self._reason_to_stop(stop_signal)
        except Diverged:
            self.history.ended = f"diverged in epoch {self.at.epoch + 1}"
            self.best = self.best or self.sound
            self.parameters.reset_state()
            raise
        finally:
            if self.best:
                self.parameters.restore(self.best)
            elif self.average is not None:
                self.average.swap()
        if self.show_progress and self.at.epoch < self.epochs:
            print(f"Stopped: {self.history.ended}.", file=sys.stderr)
        return self.history

    def _reason_to_stop(self, stop_signal: StopSignal | None = None) -> str:
        if stop_signal is not None and stop_signal.requested:
            return f"interrupted in epoch {self.history.records[-1]['epoch']}"
        if self.at.epoch >= self.epochs:
            return f"all {self.epochs} epochs done"
        if self.patience is not None and self.waited >= self.patience:
            return f"no better epoch for {self.patience} epochs"
        return ""

    def _new_running(self) -> MovingMetrics:
        return MovingMetrics(max(1000, 10 * self.batch_size))

    def _epoch(self, stop_signal: StopSignal) -> None:
        """The batches of an epoch that are not done yet, then validation and a record."""
        at, count = self.at, len(self.data)
        begun = time.perf_counter() - at.seconds
        note_every = max(1, self.per_epoch // 100)
        order = batches(self.network.seed, at.epoch, count, self.batch_size, self.shuffle)
        with epoch_bar(len(self.data), at.seen, at.epoch, self.epochs, self.show_progress) as bar:
            for indices in islice(order, at.step, None):
                progress = self._progress()
                step_loss, step_right = self.network.train_step(
                    self.data, indices, progress, self.augment
                )
                if self.average is not None:
                    self.average.add()
                if progress.step == 0:  # an epoch worse than the first weights is no progress
                    self._lowest = step_loss / len(indices)
                at.step, at.seen = at.step + 1, at.seen + len(indices)
                at.loss, at.right = at.loss + step_loss, at.right + step_right
                self.running.add(len(indices), step_loss, step_right)
                if bar.update(len(indices)):
                    words = f"loss {self.running.loss:.4f}, {self.running.accuracy:.1%} right"
                    bar.set_postfix_str(words)
                if at.step % note_every == 0 or at.seen == count:
                    self.history.note(at.epoch * count + at.seen, self.running)
                if self.after_step is not None:
                    self.after_step(at.epoch, at.seen, count)
                if at.seen < count:
                    at.seconds = time.perf_counter() - begun
                    self._keep_within(stop_signal)
                if stop_signal.requested:
                    break
        self._record(begun, progress)
        if at.seen == count:
            self.at, self.running = Position(at.epoch + 1), self._new_running()
            if self.keep is not None:
                self.keep(self)

    def _progress(self) -> Progress:
        """Of the step that comes next."""
        step = self.at.epoch * self.per_epoch + self.at.step
        return Progress(step, self.epochs * self.per_epoch, self.per_epoch)

    def _keep_within(self, stop_signal: StopSignal) -> None:
        """A checkpoint within an epoch, where one is due."""
        done = self.at.epoch * self.per_epoch + self.at.step
        due = self.keep_every is not None and done % self.keep_every == 0
        if self.keep is not None and (due or stop_signal.requested):
            self.keep(self)

    def _record(self, begun: float, progress: Progress) -> None:
        """Validate, and remember and print what the epoch gave."""
        at = self.at
        trained = time.perf_counter() - begun
        record = {
            "epoch": at.epoch + 1,
            "images": at.seen,
            "loss": at.loss / at.seen + self.parameters.penalty(),
            "accuracy": at.right / at.seen,
            "learning_rate": self.network.optimizer.schedule.at(progress),
            "images_per_second": at.seen / trained,
        }
        if self.checks is not None:
            record |= self._validate(at.epoch)
        elif at.loss / at.seen < self._lowest:
            self._lowest, self.sound = at.loss / at.seen, self.parameters.snapshot()
        record["seconds"] = time.perf_counter() - begun
        self.history.records.append(record)
        if self.show_progress:
            print(epoch_line(record, self.epochs), flush=True)

    def _validate(self, epoch: int) -> dict[str, float]:
        """Validation loss and accuracy; keeps the weights if no epoch was better."""
        if self.average is not None:
            self.average.swap()
        result = self.network.evaluate(self.checks)
        self.network.check_validation(self.checks, result.loss)
        rank = (result.accuracy, -result.loss)
        if self.best_rank is None or rank > self.best_rank:
            self.best_rank, self.best = rank, self.parameters.snapshot()
            self.history.best_epoch, self.waited = epoch + 1, 0
        else:
            self.waited += 1
        if self.average is not None:
            self.average.swap()
        return {"validation_loss": result.loss, "validation_accuracy": result.accuracy}
