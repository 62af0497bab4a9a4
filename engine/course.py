"""The course of one training run: order of the images, the steps, and what is the best so far.

`CNN.fit` checks what it is given and hands it to a `Course`, which calls back the network's
`train_step` and `evaluate`.
"""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any, Protocol

import numpy as np
from tqdm import tqdm

from engine.errors import Diverged
from engine.history import History, Running
from engine.interrupt import Interruption
from engine.layer import Array
from engine.optimizers import Optimizer
from engine.parameters import Parameters
from engine.schedules import Moment
from engine.step import Augment

AfterStep = Callable[[int, int, int], None]


class Trainable(Protocol):
    """What a course needs of a network."""

    seed: int
    optimizer: Optimizer

    def train_step(
        self, data: Any, indices: Array, moment: Moment, augment: Augment | None
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


class Average:
    """A running mean of the weights, which wanders less than they do (Polyak and Juditsky 1992).

    After step t: mean = d mean + (1 - d) weights, d the smaller of `decay` and t / (t + 10), so
    that the first weights are soon forgotten.

    >>> weights = np.array([0.0])
    >>> average = Average(0.5, weights)
    >>> for weights[0] in (11.0, 2.0):
    ...     average.add()
    >>> average.swap()
    >>> weights.round(3).tolist()
    [3.333]
    """

    def __init__(self, decay: float, weights: Array) -> None:
        self.decay, self.weights, self.mean = decay, weights, weights.copy()
        self.steps = 0

    def add(self) -> None:
        """The weights after another step."""
        self.steps += 1
        keep = min(self.decay, self.steps / (self.steps + 10))
        self.mean *= self.mean.dtype.type(keep)
        self.mean += self.mean.dtype.type(1 - keep) * self.weights

    def swap(self) -> None:
        """The mean in the weights' place and the weights in the mean's."""
        last = self.weights.copy()
        self.weights[...], self.mean = self.mean, last


class Course:
    """Trains `network` on `data`, validates on `checks` after each epoch, remembers the best.

    `after_step(epoch, images seen, images in all)` is called after every step, if given.
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
        average: float = 0.0,
        after_step: AfterStep | None = None,
        progress: bool = True,
        history: History | None = None,
    ) -> None:
        self.network, self.parameters = network, parameters
        self.data, self.checks = data, checks
        self.epochs, self.batch_size = epochs, batch_size
        self.augment, self.shuffle, self.patience = augment, shuffle, patience
        self.after_step, self.progress = after_step, progress
        self.history = history or History()
        self.average = Average(average, parameters.values) if average else None
        self.per_epoch = math.ceil(len(data) / batch_size)
        self._waited = 0
        self._best_rank: tuple[float, float] | None = None
        self._best: list[Array] = []
        # without validation, what to go back to: the end of the epoch with the lowest loss
        self._sound = parameters.snapshot()
        self._lowest = math.inf

    def run(self, interruption: Interruption) -> History:
        """All epochs, or as many as there are reasons for; the best weights come back however."""
        try:
            for epoch in range(self.epochs):
                self._epoch(epoch, interruption)
                self.history.ended = self._reason_to_stop(epoch, interruption)
                if self.history.ended:
                    break
            else:
                self.history.ended = f"all {self.epochs} epochs done"
        except Diverged:
            self.history.ended = f"diverged in epoch {epoch + 1}"
            self._best = self._best or self._sound
            self.parameters.forget()
            raise
        finally:
            if self._best:
                self.parameters.restore(self._best)
            elif self.average is not None:
                self.average.swap()
        if self.progress and epoch + 1 < self.epochs:
            print(f"Stopped: {self.history.ended}.", file=sys.stderr)
        return self.history

    def _reason_to_stop(self, epoch: int, interruption: Interruption) -> str:
        if interruption.asked:
            return f"interrupted in epoch {epoch + 1}"
        if self.patience is not None and self._waited >= self.patience:
            return f"no better epoch for {self.patience} epochs"
        return ""

    def _epoch(self, epoch: int, interruption: Interruption) -> None:
        """All batches once, then validation and a record."""
        begun, seen, loss, right = time.perf_counter(), 0, 0.0, 0
        count, running = len(self.data), Running(max(1000, 10 * self.batch_size))
        note_every = max(1, self.per_epoch // 100)
        order = batches(self.network.seed, epoch, count, self.batch_size, self.shuffle)
        with self._bar(epoch) as bar:
            for number, indices in enumerate(order):
                moment = Moment(
                    epoch * self.per_epoch + number, self.epochs * self.per_epoch, self.per_epoch
                )
                step_loss, step_right = self.network.train_step(
                    self.data, indices, moment, self.augment
                )
                if self.average is not None:
                    self.average.add()
                if moment.step == 0:  # an epoch worse than the first weights is no progress
                    self._lowest = step_loss / len(indices)
                seen, loss, right = seen + len(indices), loss + step_loss, right + step_right
                running.add(len(indices), step_loss, step_right)
                if bar.update(len(indices)):
                    bar.set_postfix_str(f"loss {running.loss:.4f}, {running.accuracy:.1%} right")
                if (number + 1) % note_every == 0 or seen == count:
                    self.history.note(epoch * count + seen, running)
                if self.after_step is not None:
                    self.after_step(epoch, seen, count)
                if interruption.asked:
                    break
        trained = time.perf_counter() - begun
        record = {
            "epoch": epoch + 1,
            "images": seen,
            "loss": loss / seen + self.parameters.penalty(),
            "accuracy": right / seen,
            "learning_rate": self.network.optimizer.schedule.at(moment),
            "images_per_second": seen / trained,
        }
        if self.checks is not None:
            record |= self._validate(epoch)
        elif loss / seen < self._lowest:
            self._lowest, self._sound = loss / seen, self.parameters.snapshot()
        record["seconds"] = time.perf_counter() - begun
        self.history.records.append(record)
        if self.progress:
            print(self._line(record), flush=True)

    def _bar(self, epoch: int) -> Any:
        """A progress bar; none where output goes to a file."""
        return tqdm(
            total=len(self.data), desc=f"epoch {epoch + 1}/{self.epochs}", unit=" img",
            bar_format="{desc} {percentage:3.0f}%|{bar}| {rate_fmt}{postfix}",  # fits 60 columns
            unit_scale=True, leave=False, mininterval=0.2, dynamic_ncols=True,
            disable=None if self.progress else True,
        )  # fmt: skip

    def _validate(self, epoch: int) -> dict[str, float]:
        """Validation loss and accuracy; keeps the weights if no epoch was better."""
        if self.average is not None:
            self.average.swap()
        result = self.network.evaluate(self.checks)
        self.network.check_validation(self.checks, result.loss)
        rank = (result.accuracy, -result.loss)
        if self._best_rank is None or rank > self._best_rank:
            self._best_rank, self._best = rank, self.parameters.snapshot()
            self.history.best_epoch, self._waited = epoch + 1, 0
        else:
            self._waited += 1
        if self.average is not None:
            self.average.swap()
        return {"validation_loss": result.loss, "validation_accuracy": result.accuracy}

    def _line(self, record: dict[str, Any]) -> str:
        """An epoch in one line."""
        parts = [
            f"epoch {record['epoch']:>{len(str(self.epochs))}}/{self.epochs}",
            f"loss {record['loss']:.4f}",
            f"train {record['accuracy']:.2%}",
        ]
        if "validation_accuracy" in record:
            parts.append(f"validation {record['validation_accuracy']:.2%}")
        parts.append(f"{record['seconds']:.1f} s  {record['images_per_second']:,.0f} img/s")
        return "  ".join(parts)
