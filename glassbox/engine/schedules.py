"""Learning-rate schedules: each is a formula for the rate at a given progress, and nothing else."""

from __future__ import annotations

import math
from dataclasses import dataclass

from glassbox.errors import require_count, require_positive, require_share, short, unknown_name


@dataclass(frozen=True, slots=True)
class Progress:
    """Where training stands.

    Parameters
    ----------
    step : int, default 0
        Steps done in this run.
    steps : int, default 1
        Steps of the whole run.
    per_epoch : int, default 1
        Steps per epoch.
    """

    step: int = 0
    steps: int = 1
    per_epoch: int = 1

    def count(self, unit: str) -> int:
        """Return the number of whole epochs (or steps) done so far."""
        return self.step // self.per_epoch if unit == "epoch" else self.step

    @property
    def fraction(self) -> float:
        """How much of the run is done: 0 at the first step, 1 at the last."""
        return self.step / max(self.steps - 1, 1)


class Schedule:
    """Base class of learning rates that change: subclasses define `at(progress) -> rate`.

    Parameters
    ----------
    rate : float
        The learning rate that the formula starts from.
    unit : {"epoch", "step"}, default "epoch"
        What t counts in the formula.
    """

    def __init__(self, rate: float, unit: str = "epoch") -> None:
        require_positive("learning_rate", rate)
        if unit not in ("epoch", "step"):
            raise unknown_name("unit of a schedule", unit, ("epoch", "step"))
        self.rate = float(rate)
        self.unit = unit

    def at(self, progress: Progress) -> float:
        """Return the learning rate at this progress."""
        raise TypeError(f"{type(self).__name__} must define at(progress) -> rate")

    def __repr__(self) -> str:
        inside = ", ".join(f"{key}={value!r}" for key, value in vars(self).items())
        return f"{type(self).__name__}({inside})"


class Constant(Schedule):
    """Keep the same rate always.

    Examples
    --------
    >>> Constant(0.1).at(Progress(step=7))
    0.1
    """

    def at(self, progress: Progress) -> float:
        """The same rate always."""
        return self.rate


class StepDecay(Schedule):
    """Multiply the rate by gamma again and again: rate gamma^floor(t / step_size).

    Parameters
    ----------
    rate : float
        The first learning rate.
    step_size : int
        Epochs (or steps) from one decay to the next.
    gamma : float, default 0.1
        Factor of each decay.
    unit : {"epoch", "step"}, default "epoch"
        What t counts.

    Examples
    --------
    >>> StepDecay(0.1, step_size=2, gamma=0.5).at(Progress(step=40, per_epoch=10))
    0.025
    """

    def __init__(
        self, rate: float, step_size: int, gamma: float = 0.1, unit: str = "epoch"
    ) -> None:
        super().__init__(rate, unit)
        require_count("step_size", step_size)
        require_positive("gamma", gamma)
        self.step_size, self.gamma = step_size, float(gamma)

    def at(self, progress: Progress) -> float:
        """rate gamma^floor(t / step_size)."""
        return self.rate * power(self.gamma, progress.count(self.unit) // self.step_size)


class Exponential(Schedule):
    """Multiply the rate by gamma after every epoch (or step): rate gamma^t.

    Parameters
    ----------
    rate : float
        The first learning rate.
    gamma : float
        Factor of each decay.
    unit : {"epoch", "step"}, default "epoch"
        What t counts.

    Examples
    --------
    >>> Exponential(0.1, gamma=0.5).at(Progress(step=20, per_epoch=10))
    0.025
    """

    def __init__(self, rate: float, gamma: float, unit: str = "epoch") -> None:
        super().__init__(rate, unit)
        require_positive("gamma", gamma)
        self.gamma = float(gamma)

    def at(self, progress: Progress) -> float:
        """rate gamma^t."""
        return self.rate * power(self.gamma, progress.count(self.unit))


class InverseTime(Schedule):
    """Let the rate fall as 1 / t: rate / (1 + decay t).

    Parameters
    ----------
    rate : float
        The first learning rate.
    decay : float
        How fast it falls: after 1 / decay it is halved.
    unit : {"epoch", "step"}, default "epoch"
        What t counts.

    Examples
    --------
    >>> InverseTime(0.1, decay=1.0).at(Progress(step=30, per_epoch=10))
    0.025
    """

    def __init__(self, rate: float, decay: float, unit: str = "epoch") -> None:
        super().__init__(rate, unit)
        require_positive("decay", decay)
        self.decay = float(decay)

    def at(self, progress: Progress) -> float:
        """rate / (1 + decay t)."""
        return self.rate / (1 + self.decay * progress.count(self.unit))


class Cosine(Schedule):
    """Follow half a cosine: final + (rate - final) (1 + cos(pi fraction)) / 2 over the whole run.

    Parameters
    ----------
    rate : float
        The first learning rate.
    final : float, default 0.0
        The last one.

    References
    ----------
    Loshchilov, Hutter 2017.

    Examples
    --------
    >>> round(Cosine(0.1).at(Progress(step=50, steps=101)), 3)
    0.05
    """

    def __init__(self, rate: float, final: float = 0.0) -> None:
        super().__init__(rate)
        require_positive("Cosine: final", final, zero=True)
        if final > rate:
            raise ValueError(f"Cosine: expected 0 <= final <= rate = {rate}, got {short(final)}")
        self.final = float(final)

    def at(self, progress: Progress) -> float:
        """From rate down to final along half a cosine."""
        share = (1 + math.cos(math.pi * progress.fraction)) / 2
        return self.final + (self.rate - self.final) * share


class OneCycle(Schedule):
    """Go up from rate / div_factor to rate in the first `pct_start` of the run, then down.

    Both legs are half cosines (Smith and Topin 2018).  Parameters as in PyTorch, where `rate` is
    called `max_lr`.

    Parameters
    ----------
    rate : float
        The highest learning rate.
    pct_start : float, default 0.3
        Fraction of the run in which the rate rises.
    div_factor : float, default 25.0
        The first rate is rate / div_factor.
    final_div_factor : float, default 400.0
        The last rate is the first one / final_div_factor.

    Examples
    --------
    >>> OneCycle(0.1, pct_start=0.25).at(Progress(step=25, steps=101))
    0.1
    """

    def __init__(
        self,
        rate: float,
        pct_start: float = 0.3,
        div_factor: float = 25.0,
        final_div_factor: float = 400.0,
    ) -> None:
        super().__init__(rate, "step")
        require_share("pct_start", pct_start)
        require_positive("div_factor", div_factor)
        require_positive("final_div_factor", final_div_factor)
        self.pct_start = float(pct_start)
        self.div_factor, self.final_div_factor = float(div_factor), float(final_div_factor)
        require_positive("div_factor final_div_factor", self.div_factor * self.final_div_factor)

    def at(self, progress: Progress) -> float:
        """Up, then down."""
        if progress.fraction < self.pct_start:
            start, stop = self.rate / self.div_factor, self.rate
            along = progress.fraction / self.pct_start
        else:
            start, stop = self.rate, self.rate / (self.div_factor * self.final_div_factor)
            along = (progress.fraction - self.pct_start) / (1 - self.pct_start)
        return stop + (start - stop) * (1 + math.cos(math.pi * along)) / 2


class WarmUp(Schedule):
    """Rise in a line from 0 to the rate of another schedule, then follow that schedule.

    Parameters
    ----------
    then : float or Schedule
        The rate or schedule to reach.
    steps : int
        Steps of the rise.

    Examples
    --------
    >>> WarmUp(0.1, steps=10).at(Progress(step=4))
    0.05
    """

    def __init__(self, then: float | Schedule, steps: int) -> None:
        self.then = as_schedule(then)
        super().__init__(self.then.rate, "step")
        require_count("steps", steps)
        self.steps = steps

    def at(self, progress: Progress) -> float:
        """(step + 1) / steps of the rate, then the rate."""
        return self.then.at(progress) * min((progress.step + 1) / self.steps, 1.0)


def power(gamma: float, t: int) -> float:
    """Return gamma^t; infinity, where training then diverges, if that is too large for a float.

    Examples
    --------
    >>> power(0.5, 2), power(10.0, 1000)
    (0.25, inf)
    """
    try:
        return gamma**t
    except OverflowError:
        return math.inf


def as_schedule(rate: float | Schedule) -> Schedule:
    """Return the schedule, or a constant one for a plain number."""
    return rate if isinstance(rate, Schedule) else Constant(rate)
