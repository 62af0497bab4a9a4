"""What a training run remembers: a record for each epoch, and the running loss within."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any


@dataclass
class Position:
    """Where a run stands: the epoch (from 0), its steps so far, and what they gave."""

    epoch: int = 0
    step: int = 0
    seen: int = 0
    loss: float = 0.0
    right: int = 0
    seconds: float = 0.0


@dataclass
class MovingMetrics:
    """Loss and accuracy of the images of late: means over a window of steps.

    `window` is in images; `add` takes what one step gave.

    Examples
    --------
    >>> running = MovingMetrics(4)
    >>> for right in (0, 2, 1):
    ...     running.add(2, 1.0, right)
    >>> running.accuracy, MovingMetrics.from_json(running.to_json()) == running
    (0.75, True)
    """

    window: int = 1000
    _steps: deque[tuple[int, float, int]] = field(default_factory=deque)
    _images: int = 0
    _loss: float = 0.0
    _correct: int = 0

    def add(self, images: int, loss_sum: float, correct: int) -> None:
        """One step: images in it, the sum of their losses, how many were right."""
        self._steps.append((images, loss_sum, correct))
        self._images += images
        self._loss += loss_sum
        self._correct += correct
        while len(self._steps) > 1 and self._images - self._steps[0][0] >= self.window:
            old = self._steps.popleft()
            self._images -= old[0]
            self._loss -= old[1]
            self._correct -= old[2]

    def to_json(self) -> dict[str, Any]:
        """Everything in it, so that another one goes on with the same bits."""
        return {
            "window": self.window,
            "steps": [list(step) for step in self._steps],
            "loss": self._loss,
        }

    @classmethod
    def from_json(cls, record: dict[str, Any]) -> MovingMetrics:
        """The one that `to_json` described."""
        steps = deque((int(n), float(loss), int(right)) for n, loss, right in record["steps"])
        images, right = sum(step[0] for step in steps), sum(step[2] for step in steps)
        return cls(int(record["window"]), steps, images, float(record["loss"]), right)

    @property
    def loss(self) -> float:
        """Mean loss of the window."""
        return self._loss / max(self._images, 1)

    @property
    def accuracy(self) -> float:
        """Share of the window that was right."""
        return self._correct / max(self._images, 1)


@dataclass(repr=False)
class History:
    """The course of a training run.

    `records`: one dict for each epoch (epoch, loss, accuracy, validation_loss,
    validation_accuracy, learning_rate, seconds, images_per_second); `running`: about a hundred
    points an epoch (images, loss, accuracy); `ended` says in words why it stopped, `best_epoch`
    whose weights the network now has (None: the last ones); `changes` what a resumed run was told
    to do otherwise (epoch, step, what, was, now).
    """

    records: list[dict[str, Any]] = field(default_factory=list)
    running: list[dict[str, float]] = field(default_factory=list)
    ended: str = ""
    best_epoch: int | None = None
    changes: list[dict[str, Any]] = field(default_factory=list)

    def __repr__(self) -> str:
        if not self.records:
            return "<History: no epochs>"
        best = self.records[(self.best_epoch or len(self.records)) - 1]
        part = "validation_" if "validation_accuracy" in best else ""
        accuracy, words = best.get(f"{part}accuracy", 0.0), part.replace("_", " ")
        return (
            f"<History: {len(self.records)} epochs, {'best' if self.best_epoch else 'last'} is "
            f"{best['epoch']} with {words}accuracy {accuracy:.2%}; {self.ended or 'ended early'}>"
        )

    def _repr_html_(self) -> str:
        from glassbox import html_repr

        return html_repr.history(self)

    def curves(self) -> tuple[list[float], list[float], list[float]]:
        """Images seen, running loss and running accuracy, as lists of the same length."""
        names = ("images", "loss", "accuracy")
        images, losses, accuracies = ([point[name] for point in self.running] for name in names)
        return images, losses, accuracies

    def note(self, images: int, running: MovingMetrics) -> None:
        """Add a point to the running curves: after so many images of the whole run."""
        self.running.append({"images": images, "loss": running.loss, "accuracy": running.accuracy})

    def followed_by(self, later: History) -> History:
        """Both as one: epochs and images of the later one are counted on.

        Examples
        --------
        >>> one = History([{"epoch": 1}], [{"images": 50}], "all 1 epochs done", 1)
        >>> two = one.followed_by(one)
        >>> two.records, two.running, two.best_epoch
        ([{'epoch': 1}, {'epoch': 2}], [{'images': 50}, {'images': 100}], 2)
        """
        if not self.records:
            return later
        epochs = self.records[-1]["epoch"]
        images = self.running[-1]["images"] if self.running else 0
        best = self.best_epoch if not later.records else None
        return History(
            [*self.records, *({**r, "epoch": r["epoch"] + epochs} for r in later.records)],
            [*self.running, *({**p, "images": p["images"] + images} for p in later.running)],
            later.ended,
            best if later.best_epoch is None else later.best_epoch + epochs,
            [*self.changes, *({**c, "epoch": c["epoch"] + epochs} for c in later.changes)],
        )

    @property
    def seconds(self) -> float:
        """Seconds of training and validation together."""
        return float(sum(record["seconds"] for record in self.records))

    def to_json(self) -> dict[str, Any]:
        """A dict of plain lists and numbers."""
        return {
            "ended": self.ended,
            "best_epoch": self.best_epoch,
            "epochs": self.records,
            "running": self.running,
            "changes": self.changes,
        }

    @classmethod
    def from_json(cls, record: dict[str, Any]) -> History:
        """The one that `to_json` described."""
        return cls(
            record["epochs"], record["running"], record["ended"], record["best_epoch"],
            record["changes"],
        )  # fmt: skip


@contextmanager
def continuing(network: Any, trainer: Any) -> Iterator[None]:
    """Have `network.history` go on with that of a training run, however this ends.

    A run that was resumed has its own history from the beginning.
    """
    before = History() if trainer.history.records else network.history
    network.history = trainer.history
    try:
        yield
    finally:
        network.history = before.followed_by(trainer.history)
