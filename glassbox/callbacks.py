"""Callbacks: what `fit` calls after every step and every epoch, and what may stop it."""

from __future__ import annotations

import csv
import io
import math
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import Any

from glassbox.atomic import write_atomically
from glassbox.errors import require_count, require_positive, short


@dataclass(frozen=True, slots=True)
class StepRecord:
    """What a callback is told after a training step.

    Attributes
    ----------
    step : steps done in this run, this one included.
    epoch : from 1.
    seen, images : images of this epoch so far, and in all.
    loss, accuracy : of this step's images, before the step; the loss without its L2 term.
    learning_rate : of this step.
    """

    step: int
    epoch: int
    seen: int
    images: int
    loss: float
    accuracy: float
    learning_rate: float


@dataclass(frozen=True, slots=True)
class EpochRecord:
    """What a callback is told after an epoch: that epoch's entry in `history.records`.

    Attributes
    ----------
    epoch : from 1.
    images : in it.
    loss, accuracy : of the training images, each before its step; the loss with its L2 term.
    learning_rate : of the last step.
    images_per_second, seconds : of training; of training and validation.
    validation_loss, validation_accuracy : None without validation images.
    """

    epoch: int
    images: int
    loss: float
    accuracy: float
    learning_rate: float
    images_per_second: float
    seconds: float
    validation_loss: float | None = None
    validation_accuracy: float | None = None


@dataclass(frozen=True, slots=True)
class RunRecord:
    """What a callback is told before the first step.

    Attributes
    ----------
    epochs : at which the run ends.
    images : to train on in each.
    validated : whether there are validation images.
    done : the epochs that a resumed run has behind it.
    seen : images that it has behind it of the epoch in which it goes on.
    stopping : a function that tells whether Ctrl-C was pressed, for callbacks that wait.
    """

    epochs: int
    images: int
    validated: bool
    done: tuple[EpochRecord, ...] = ()
    seen: int = 0
    stopping: Callable[[], bool] = bool


HOOKS = ("before_training", "after_step", "after_epoch", "after_training")
Verdict = Any  # None or False: go on; True, or a reason as text: stop


class EarlyStopping:
    """Stop where a number of the epoch's record has not become better for some epochs.

    `fit(patience=...)` does the same by validation accuracy.

    Parameters
    ----------
    monitor : a name of EpochRecord.  Better is higher for an accuracy, lower for all else.
    patience : epochs in a row without a better one, after which to stop.
    least : by how much an epoch must be better to count.

    Examples
    --------
    >>> stop = EarlyStopping("loss", patience=2)
    >>> said = [stop.after_epoch(EpochRecord(1, 9, x, 0, 1, 1, 1)) for x in (0.3, 0.2, 0.4, 0.2)]
    >>> said[-1]
    'loss was not better than 0.2 for 2 epochs'
    """

    def __init__(
        self, monitor: str = "validation_loss", patience: int = 3, least: float = 0.0
    ) -> None:
        names = [name for name in EpochRecord.__slots__ if name != "epoch"]
        if monitor not in names:
            raise ValueError(f"monitor: expected one of {', '.join(names)}, got {short(monitor)}")
        require_count("patience", patience)
        require_positive("least", least, zero=True)
        self.monitor, self.patience, self.least = monitor, patience, least
        self._best, self._waited = math.inf, 0

    def before_training(self, run: RunRecord) -> None:
        """Begin anew, with what a resumed run has behind it."""
        if self.monitor.startswith("validation") and not run.validated:
            raise self._unwatchable()
        self._best, self._waited = math.inf, 0
        for record in run.done:
            if getattr(record, self.monitor) is not None:  # it may have had no validation
                self.after_epoch(record)

    def after_epoch(self, record: EpochRecord) -> Verdict:
        """The reason to stop, if it is time."""
        value = getattr(record, self.monitor)
        if value is None:
            raise self._unwatchable()
        sign = -1 if self.monitor.endswith("accuracy") else 1
        if sign * value < self._best - self.least:
            self._best, self._waited = sign * value, 0
            return None
        self._waited += 1
        if self._waited < self.patience:
            return None
        best = f"{sign * self._best:.4g}"
        return f"{self.monitor} was not better than {best} for {self.patience} epochs"

    def _unwatchable(self) -> ValueError:
        return ValueError(f"EarlyStopping watches {self.monitor}: pass validation=... to fit")


class CSVLog:
    """Write the record of every epoch to a CSV file, which is complete after each of them.

    Parameters
    ----------
    path : the file; one that is there is replaced when an epoch is done.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = path
        self._rows: list[dict[str, Any]] = []

    def before_training(self, run: RunRecord) -> None:
        """Begin with the epochs that a resumed run has behind it."""
        self._rows = [asdict(record) for record in run.done]

    def after_epoch(self, record: EpochRecord) -> Verdict:
        """Write all epochs so far."""
        self._rows.append(asdict(record))
        text = io.StringIO()
        table = csv.DictWriter(text, self._rows[0], lineterminator="\n")
        table.writeheader()
        table.writerows(self._rows)
        write_atomically(self.path, text.getvalue().encode())


class KeepEpochs:
    """Save the network after every epoch, as 001.safetensors and so on: what the explorer shows.

    The weights are those at the end of the epoch, without the running mean of `ema_decay`.

    Parameters
    ----------
    network : the one that is trained.
    folder : where to; it is made when it is needed.
    """

    def __init__(self, network: Any, folder: str | os.PathLike[str]) -> None:
        self.network, self.folder = network, folder

    def after_epoch(self, record: EpochRecord) -> Verdict:
        """Save it."""
        os.makedirs(self.folder, exist_ok=True)
        self.network.save(os.path.join(self.folder, f"{record.epoch:03d}.safetensors"))


def as_callbacks(given: Any) -> list[Any]:
    """A new list of callbacks, from one or several.

    Raises TypeError for what is neither a function nor an object with a method of HOOKS.
    """
    callbacks = list(given) if isinstance(given, list | tuple) else [given]
    for each in callbacks:
        own = _hooks(each)
        known = callable(each) if not own else all(callable(getattr(each, name)) for name in own)
        if isinstance(each, type) or not known:
            hint = f"; write {each.__name__}()" if isinstance(each, type) else ""
            raise TypeError(
                "callbacks: expected functions of an epoch's record, or objects with methods "
                f"{', '.join(HOOKS)} or some of them, got {short(each)}{hint}"
            )
    return callbacks


@contextmanager
def attached(trainer: Any, callbacks: Sequence[Any]) -> Iterator[None]:
    """Tell these what is to come, have a trainer call them, and tell them how it ended."""
    done = tuple(EpochRecord(**entry) for entry in trainer.history.records)
    validated = trainer.validation is not None
    run = RunRecord(
        trainer.settings.epochs, len(trainer.data), validated, done, trainer.at.seen,
        lambda: trainer.stop_signal.requested,
    )  # fmt: skip
    steps = [each for each in callbacks if hasattr(each, "after_step")]
    epochs = [each for each in callbacks if hasattr(each, "after_epoch") or not _hooks(each)]

    calls, images = [(each, each.after_step) for each in steps], len(trainer.data)

    def after_step(progress: Any, loss: float, accuracy: float) -> str:
        at, rate = trainer.at, trainer.network.optimizer.rate_at(progress)
        place = progress.step + 1, at.epoch + 1, at.seen, images
        return _stop(calls, StepRecord(*place, loss, accuracy, rate))

    def after_epoch(entry: dict[str, Any]) -> str:
        calls = [(each, getattr(each, "after_epoch", each)) for each in epochs]
        return _stop(calls, EpochRecord(**entry))

    if steps:
        trainer.after_step = after_step
    if epochs:
        trainer.after_epoch = after_epoch
    begun = []
    try:
        for each in callbacks:
            if hasattr(each, "before_training"):
                each.before_training(run)
            begun.append(each)
        yield
    finally:
        for each in begun:
            if hasattr(each, "after_training"):
                each.after_training(trainer.history.ended)


def _hooks(callback: Any) -> list[str]:
    """Which methods of HOOKS it has; none: it is a plain function, called after each epoch."""
    return [name for name in HOOKS if hasattr(callback, name)]


def _stop(calls: Sequence[tuple[Any, Callable[[Any], Verdict]]], record: Any) -> str:
    """Call all of them; why the first that wants to stop does, or ""."""
    reasons = []
    for owner, call in calls:
        try:
            verdict = call(record)
        except Exception as error:
            error.add_note(f"in the callback {_name(owner)}, epoch {record.epoch}")
            raise
        if verdict is None or verdict is False:
            continue
        if not isinstance(verdict, str | bool):
            raise TypeError(
                f"callback {_name(owner)}: expected None to go on, or True or a reason to stop, "
                f"got {short(verdict)}"
            )
        if verdict:
            reason = f": {verdict}" if isinstance(verdict, str) else ""
            reasons.append(f"stopped by {_name(owner)} in epoch {record.epoch}{reason}")
    return reasons[0] if reasons else ""


def _name(owner: Any) -> str:
    return str(getattr(owner, "__name__", type(owner).__name__))
