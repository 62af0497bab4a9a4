"""Watching a training: a callback that shows it in the explorer while it runs."""

from __future__ import annotations

import math
import threading
import time
from dataclasses import asdict
from typing import Any

from glassbox.callbacks import EpochRecord, RunRecord, StepRecord, Verdict
from glassbox.engine.copies import clone_built
from glassbox.explorer import show
from glassbox.explorer.page import Page
from glassbox.explorer.session import Session

EVERY = 1.0  # seconds between two messages at least
SHARE = 0.01  # of one core's time, at most, that goes into answering what is asked after a message
POINTS = 200  # of the curve of the loss
BEAT = 0.1  # seconds between two looks at Ctrl-C while paused


class Curve:
    """The losses of a run as at most POINTS means, each over as many steps.

    >>> curve = Curve()
    >>> for step in range(1, 402):
    ...     curve.add(step, step % 2)
    >>> len(curve.points), curve.points[0], curve.points[-1]
    (100, [4, 0.5], [400, 0.5])
    """

    def __init__(self) -> None:
        self.points: list[list[float]] = []  # [last step, mean loss]
        self._size, self._sum, self._count = 1, 0.0, 0

    def add(self, step: int, loss: float) -> None:
        """The loss of one more step."""
        self._sum, self._count = self._sum + loss, self._count + 1
        if self._count < self._size:
            return
        self.points.append([step, self._sum / self._size])
        self._sum, self._count = 0.0, 0
        if len(self.points) == POINTS:
            pairs = zip(self.points[::2], self.points[1::2], strict=True)
            self.points = [[late, (one + two) / 2] for (_, one), (late, two) in pairs]
            self._size *= 2


class Watch:
    """Show the training of a network in the explorer: pause it, do a step at a time, stop it.

    The page sees copies of the weights, made between two steps, about once a second and only
    while a page is open; less often where answering the page takes more than 1 % of a core's time.
    The training never waits for it, except where a person pauses.

    Parameters
    ----------
    network : the one that is trained.
    samples : images to look at and to score.
    browser : whether the page is opened; its address is printed in any case.

    Attributes
    ----------
    page : where it is seen.
    state : what the page is told: "running", "paused" or how it ended; step, epoch, losses.
    """

    title, epoch = "in training", None

    def __init__(self, network: Any, samples: Any, browser: bool = True) -> None:
        self.trained = network
        self._browser = browser
        self._changed = threading.Condition()
        self._paused, self._one, self._stopped = False, False, False
        self._weights: list[Any] = []
        self._twin: tuple[Any, Any] = None, None  # weights, and the network that has them
        self._curve = Curve()
        self._last: StepRecord | None = None
        self._told, self._taken = -math.inf, 0.0
        self.state: dict[str, Any] = {}
        self.page = Page(Session([self], samples, self))

    # --- what the training calls -------------------------------------------------------------

    def before_training(self, run: RunRecord) -> None:
        """Open the page, on the weights at the beginning."""
        with self._changed:
            self._paused, self._one, self._stopped = False, False, False
        self._stopping = run.stopping
        self._curve, self._last = Curve(), None
        self.state = {
            "state": "running", "step": 0, "epoch": len(run.done) + 1, "epochs": run.epochs,
            "loss": None, "accuracy": None, "history": [_entry(each) for each in run.done],
            "recent": [],
        }  # fmt: skip
        self._weights = self.trained.parameters.snapshot()
        show(self.page.start(), self._browser)

    def after_step(self, record: StepRecord) -> Verdict:
        """Tell the page now and then; wait while paused."""
        self._curve.add(record.step, record.loss)
        self._last = record
        waits = self._paused
        if waits or (self.page.readers and time.perf_counter() >= self._due()):
            self._tell("paused" if waits else "running")
        if not waits:
            return "the stop button of the explorer" if self._stopped else None
        with self._changed:
            while self._paused and not (self._one or self._stopping()):
                self._changed.wait(BEAT)
            self._one = False  # what is pressed from here on is one more
        return "the stop button of the explorer" if self._stopped else None

    def after_epoch(self, record: EpochRecord) -> Verdict:
        """Remember how the epoch went."""
        self.state = self.state | {"history": [*self.state["history"], _entry(record)]}

    def after_training(self, ended: str) -> None:
        """Show the weights that were kept, and how it ended."""
        self._tell(f"ended: {ended}")

    def _due(self) -> float:
        """When the next message is sent."""
        taken = self.page.session.seconds - self._taken
        return self._told + max(EVERY, taken / SHARE)

    def _tell(self, state: str) -> None:
        """Send a message, with a copy of the weights for who then looks."""
        self._told, self._taken = time.perf_counter(), self.page.session.seconds
        self._weights = self.trained.parameters.snapshot()
        names = ("step", "epoch", "loss", "accuracy")
        now = {name: getattr(self._last, name) for name in names if self._last is not None}
        self.state = self.state | {"state": state, "recent": list(self._curve.points), **now}
        self.page.send({"event": "training", **self.state})

    # --- what the page asks, from threads of its own -----------------------------------------

    def network(self) -> Any:
        """A copy of the network as the page was last told."""
        with self._changed:
            weights, twin = self._twin
            if weights is not self._weights:
                weights = self._weights
                twin = clone_built(self.trained, self.trained.dtype, weights)
                self._twin = weights, twin
            return twin

    def do(self, word: str) -> None:
        """ "pause", "go on", "step" (one, then pause) or "stop"."""
        with self._changed:
            self._paused = word in ("pause", "step")
            self._one = word == "step"
            self._stopped = self._stopped or word == "stop"
            self._changed.notify_all()


def _entry(record: EpochRecord) -> dict[str, Any]:
    names = ("epoch", "loss", "accuracy", "validation_loss", "validation_accuracy")
    return {name: asdict(record)[name] for name in names}
