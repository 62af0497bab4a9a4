"""The trainer: epochs of shuffled mini-batches, validation, and the best weights so far."""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Callable, Iterator
from itertools import islice
from typing import Any

import numpy as np

from glassbox.engine.averaging import Average
from glassbox.engine.evaluation import check_validation
from glassbox.engine.fit_settings import FitSettings
from glassbox.engine.freezing import check_some_learn
from glassbox.engine.history import History, MovingMetrics, Position
from glassbox.engine.interrupt import StopSignal
from glassbox.engine.layer import Array
from glassbox.engine.progress_bar import advance, epoch_bar, epoch_line
from glassbox.engine.schedules import Progress
from glassbox.errors import Diverged


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
    """Trains a built network on `data`; validates on `validation`, if any, after each epoch.

    `after_step(progress, loss, accuracy)` is called after every step, `after_epoch(record)` after
    every whole epoch, and may return why to stop; `on_checkpoint(trainer)` whenever the run can be
    resumed from here: after every epoch, after every `checkpoint_every` steps, and when the run is
    interrupted.
    """

    def __init__(self, network: Any, data: Any, validation: Any, settings: FitSettings) -> None:
        self.network, self.parameters = network, network.parameters
        self.data, self.validation, self.settings = data, validation, settings
        self.after_step: Callable[[Progress, float, float], str] = lambda *of_the_step: ""
        self.after_epoch: Callable[[dict[str, Any]], str] = lambda record: ""
        self.told_to_stop, self.stop_signal = "", StopSignal()
        self.on_checkpoint: Callable[[Trainer], None] = lambda trainer: None
        self.history, self.at = History(), Position()
        check_some_learn(self.parameters)
        self.average = Average(settings.ema_decay, self.parameters.values)
        self.per_epoch = math.ceil(len(data) / settings.batch_size)
        self.running = self._new_running()
        self.waited = 0
        self.best_rank: tuple[float, float] | None = None
        self.best: list[Array] = []
        # without validation, what to go back to: the end of the epoch with the lowest loss
        self.sound = self.parameters.snapshot()
        self._lowest = math.inf

    def run(self, stop_signal: StopSignal) -> History:
        """Train until done, stopped early or interrupted; always restores the best weights."""
        self.stop_signal = stop_signal
        self.history.ended = self._reason_to_stop()
        try:
            while not self.history.ended:
                self._epoch()
                self.history.ended = self._reason_to_stop()
        except Diverged:
            self.history.ended = f"diverged in epoch {self.at.epoch + 1}"
            self.best = self.best or self.sound
            self.parameters.reset_state()
            raise
        finally:
            if self.best:
                self.parameters.restore(self.best)
            else:
                self.average.swap()
        if self.settings.progress and self.at.epoch < self.settings.epochs:
            print(f"Stopped: {self.history.ended}.", file=sys.stderr)
        return self.history

    def _reason_to_stop(self) -> str:
        epochs, patience = self.settings.epochs, self.settings.patience
        if self.stop_signal.requested and self.history.records:
            return f"interrupted in epoch {self.history.records[-1]['epoch']}"
        if self.told_to_stop:
            return self.told_to_stop
        if self.at.epoch >= epochs:
            return f"all {epochs} epochs done"
        if patience is not None and self.waited >= patience:
            return f"no better epoch for {patience} epochs"
        return ""

    def _new_running(self) -> MovingMetrics:
        return MovingMetrics(max(1000, 10 * self.settings.batch_size))

    def _epoch(self) -> None:
        """Train on the batches of an epoch that are not done yet, then validate and record."""
        at, count, settings = self.at, len(self.data), self.settings
        begun = time.perf_counter() - at.seconds
        note_every = max(1, self.per_epoch // 100)
        order = batches(self.network.seed, at.epoch, count, settings.batch_size, settings.shuffle)
        with epoch_bar(count, at.seen, at.epoch, settings.epochs, settings.progress) as bar:
            for indices in islice(order, at.step, None):
                step = at.epoch * self.per_epoch + at.step
                progress = Progress(step, settings.epochs * self.per_epoch, self.per_epoch)
                loss, right = self.network.train_step(
                    self.data, indices, progress, settings.augment
                )
                self.average.add()
                if progress.step == 0:  # an epoch worse than the first weights is no progress
                    self._lowest = loss / len(indices)
                at.step, at.seen = at.step + 1, at.seen + len(indices)
                at.loss, at.right = at.loss + loss, at.right + right
                self.running.add(len(indices), loss, right)
                advance(bar, len(indices), self.running)
                if at.step % note_every == 0 or at.seen == count:
                    self.history.note(at.epoch * count + at.seen, self.running)
                size = len(indices)
                self.told_to_stop = self.after_step(progress, loss / size, right / size)
                stopping = self.stop_signal.requested or self.told_to_stop
                if at.seen < count:
                    at.seconds, every = time.perf_counter() - begun, settings.checkpoint_every
                    if stopping or (every and (step + 1) % every == 0):
                        self.on_checkpoint(self)
                if stopping:
                    break
        self._record(begun, progress)
        if at.seen == count:
            self.at, self.running = Position(at.epoch + 1), self._new_running()
            self.on_checkpoint(self)
            told = self.after_epoch(self.history.records[-1])
            self.told_to_stop = self.told_to_stop or told

    def _record(self, begun: float, progress: Progress) -> None:
        """Validate; remember and print what the epoch gave."""
        at, trained = self.at, time.perf_counter() - begun
        record = {
            "epoch": at.epoch + 1,
            "images": at.seen,
            "loss": at.loss / at.seen + self.parameters.penalty(),
            "accuracy": at.right / at.seen,
            "learning_rate": self.network.optimizer.rate_at(progress),
            "images_per_second": at.seen / trained,
        }
        if self.validation is not None:
            record |= self._validate(at.epoch)
        elif at.loss / at.seen < self._lowest:
            self._lowest, self.sound = at.loss / at.seen, self.parameters.snapshot()
        record["seconds"] = time.perf_counter() - begun
        self.history.records.append(record)
        if self.settings.progress:
            print(epoch_line(record, self.settings.epochs), flush=True)

    def _validate(self, epoch: int) -> dict[str, float]:
        """Validation loss and accuracy; keeps the weights if no epoch was better."""
        self.average.swap()
        result = self.network.evaluate(self.validation)
        check_validation(self.network, self.validation, result.loss)
        rank = (result.accuracy, -result.loss)
        if self.best_rank is None or rank > self.best_rank:
            self.best_rank, self.best = rank, self.parameters.snapshot()
            self.history.best_epoch, self.waited = epoch + 1, 0
        else:
            self.waited += 1
        self.average.swap()
        return {"validation_loss": result.loss, "validation_accuracy": result.accuracy}
