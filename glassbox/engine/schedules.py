"""Learning-rate schedules: the rate at a moment of training, a formula and nothing else."""

from __future__ import annotations

import math
from dataclasses import dataclass

from glassbox.errors import require_count, require_positive, require_share, unknown_name


@dataclass(frozen=True, slots=True)
class Progress:
    """Where training stands: `step` of `steps` in all (from 0), `per_epoch` steps to an epoch."""

    step: int = 0
    steps: int = 1
    per_epoch: int = 1

    def count(self, unit: str) -> int:
        """Whole epochs (or steps) done so far."""
        return self.step // self.per_epoch if unit == "epoch" else self.step

    @property
    def fraction(self) -> float:
        """How much of the whole run lies behind: 0 at the first step, 1 at the last."""
        return self.step / max(self.steps - 1, 1)


class Schedule:
    """A learning rate that changes: `at(progress) -> rate`.

    `unit` says whether t counts "epoch"s or "step"s.
    """

    def __init__(self, rate: float, unit: str = "epoch") -> None:
        require_positive("learning_rate", rate)
        if unit not in ("epoch", "step"):
            raise unknown_name("unit of a schedule", unit, ("epoch", "step"))
        self.rate = float(rate)
        self.unit = unit

    def at(self, progress: Progress) -> float:
        """The learning rate at this moment."""
        raise TypeError(f"{type(self).__name__} must define at(progress) -> rate")

    def __repr__(self) -> str:
        inside = ", ".join(f"{key}={value!r}" for key, value in vars(self).items())
        return f"{type(self).__name__}({inside})"


class Constant(Schedule):
    """rate.

    >>> Constant(0.1).at(Progress(step=7))
    0.1
    """

    def at(self, progress: Progress) -> float:
        """The same rate always."""
        return self.rate


class StepDecay(Schedule):
    """rate gamma^floor(t / step_size).

    >>> StepDecay(0.1, step_size=2, gamma=0.5).at(Progress(step=40, per_epoch=10))
    0.025
    """

    def __init__(
        self, rate: float, step_size: int, gamma: float = 0.1, unit: str = "epoch"
    ) -> None:
        super().__init__(rate, unit)
        require_count("step_size", step_size)
        require_positive("gamma", gamma)
        self.step_size, self.gamma = step_size, gamma

    def at(self, progress: Progress) -> float:
        """rate gamma^floor(t / step_size)."""
        return self.rate * self.gamma ** (progress.count(self.unit) // self.step_size)


class Exponential(Schedule):
    """rate gamma^t.

    >>> Exponential(0.1, gamma=0.5).at(Progress(step=20, per_epoch=10))
    0.025
    """

    def __init__(self, rate: float, gamma: float, unit: str = "epoch") -> None:
        super().__init__(rate, unit)
        require_positive("gamma", gamma)
        self.gamma = gamma

    def at(self, progress: Progress) -> float:
        """rate gamma^t."""
        return self.rate * self.gamma ** progress.count(self.unit)


class InverseTime(Schedule):
    """rate / (1 + decay t).

    >>> InverseTime(0.1, decay=1.0).at(Progress(step=30, per_epoch=10))
    0.025
    """

    def __init__(self, rate: float, decay: float, unit: str = "epoch") -> None:
        super().__init__(rate, unit)
        require_positive("decay", decay)
        self.decay = decay

    def at(self, progress: Progress) -> float:
        """rate / (1 + decay t)."""
        return self.rate / (1 + self.decay * progress.count(self.unit))


class Cosine(Schedule):
    """final + (rate - final) (1 + cos(pi share)) / 2 over the whole run (Loshchilov, Hutter 2017).

    >>> round(Cosine(0.1).at(Progress(step=50, steps=101)), 3)
    0.05
    """

    def __init__(self, rate: float, final: float = 0.0) -> None:
        super().__init__(rate)
        if final < 0 or final > rate:
            raise ValueError(f"Cosine: expected 0 <= final <= rate = {rate}, got {final}")
        self.final = final

    def at(self, progress: Progress) -> float:
        """From rate down to final along half a cosine."""
        share = (1 + math.cos(math.pi * progress.fraction)) / 2
        return self.final + (self.rate - self.final) * share


class OneCycle(Schedule):
    """Up from rate / div_factor to rate in the first `pct_start` of the run, then down.

    The last rate is the first one / final_div_factor.  Both legs are half cosines (Smith and Topin
    2018).  Arguments as in PyTorch, whose `max_lr` is `rate` here.

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
        self.pct_start = pct_start
        self.div_factor, self.final_div_factor = div_factor, final_div_factor

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
    """Linear from 0 to the rate of `then` over the first `steps` steps, then `then`.

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


def as_schedule(rate: float | Schedule) -> Schedule:
    """A plain number is a constant schedule."""
    return rate if isinstance(rate, Schedule) else Constant(rate)
