"""Learning-rate schedules: the rate at a moment of training, a formula and nothing else."""

from __future__ import annotations

import math
from dataclasses import dataclass

from glassbox.errors import require_count, require_positive, require_share, unknown_name


@dataclass(frozen=True, slots=True)
class Moment:
    """Where training stands: `step` of `steps` in all (from 0), `per_epoch` steps to an epoch."""

    step: int = 0
    steps: int = 1
    per_epoch: int = 1

    def count(self, unit: str) -> int:
        """Whole epochs (or steps) done so far."""
        return self.step // self.per_epoch if unit == "epoch" else self.step

    @property
    def share(self) -> float:
        """How much of the whole run lies behind: 0 at the first step, 1 at the last."""
        return self.step / max(self.steps - 1, 1)


class Schedule:
    """A learning rate that changes: `at(moment) -> rate`.

    `unit` says whether t counts "epoch"s or "step"s.
    """

    def __init__(self, rate: float, unit: str = "epoch") -> None:
        require_positive("learning_rate", rate)
        if unit not in ("epoch", "step"):
            raise unknown_name("unit of a schedule", unit, ("epoch", "step"))
        self.rate = float(rate)
        self.unit = unit

    def at(self, moment: Moment) -> float:
        """The learning rate at this moment."""
        raise TypeError(f"{type(self).__name__} must define at(moment) -> rate")

    def __repr__(self) -> str:
        inside = ", ".join(f"{key}={value!r}" for key, value in vars(self).items())
        return f"{type(self).__name__}({inside})"


class Constant(Schedule):
    """rate.

    >>> Constant(0.1).at(Moment(step=7))
    0.1
    """

    def at(self, moment: Moment) -> float:
        """The same rate always."""
        return self.rate


class StepDecay(Schedule):
    """rate factor^floor(t / every).

    >>> StepDecay(0.1, every=2, factor=0.5).at(Moment(step=40, per_epoch=10))
    0.025
    """

    def __init__(self, rate: float, every: int, factor: float = 0.1, unit: str = "epoch") -> None:
        super().__init__(rate, unit)
        require_count("every", every)
        require_positive("factor", factor)
        self.every, self.factor = every, factor

    def at(self, moment: Moment) -> float:
        """rate factor^floor(t / every)."""
        return self.rate * self.factor ** (moment.count(self.unit) // self.every)


class Exponential(Schedule):
    """rate factor^t.

    >>> Exponential(0.1, factor=0.5).at(Moment(step=20, per_epoch=10))
    0.025
    """

    def __init__(self, rate: float, factor: float, unit: str = "epoch") -> None:
        super().__init__(rate, unit)
        require_positive("factor", factor)
        self.factor = factor

    def at(self, moment: Moment) -> float:
        """rate factor^t."""
        return self.rate * self.factor ** moment.count(self.unit)


class InverseTime(Schedule):
    """rate / (1 + decay t).

    >>> InverseTime(0.1, decay=1.0).at(Moment(step=30, per_epoch=10))
    0.025
    """

    def __init__(self, rate: float, decay: float, unit: str = "epoch") -> None:
        super().__init__(rate, unit)
        require_positive("decay", decay)
        self.decay = decay

    def at(self, moment: Moment) -> float:
        """rate / (1 + decay t)."""
        return self.rate / (1 + self.decay * moment.count(self.unit))


class Cosine(Schedule):
    """final + (rate - final) (1 + cos(pi share)) / 2 over the whole run (Loshchilov, Hutter 2017).

    >>> round(Cosine(0.1).at(Moment(step=50, steps=101)), 3)
    0.05
    """

    def __init__(self, rate: float, final: float = 0.0) -> None:
        super().__init__(rate)
        if final < 0 or final > rate:
            raise ValueError(f"Cosine: expected 0 <= final <= rate = {rate}, got {final}")
        self.final = final

    def at(self, moment: Moment) -> float:
        """From rate down to final along half a cosine."""
        return self.final + (self.rate - self.final) * (1 + math.cos(math.pi * moment.share)) / 2


class OneCycle(Schedule):
    """Up from rate / start_divisor to rate over `warm` of the run, down to rate / end_divisor.

    Both legs are half cosines (Smith and Topin 2018).  `end_divisor` divides the highest
    rate, where PyTorch's `final_div_factor` divides the starting one.

    >>> OneCycle(0.1, warm=0.25).at(Moment(step=25, steps=101))
    0.1
    """

    def __init__(
        self,
        rate: float,
        warm: float = 0.3,
        start_divisor: float = 25.0,
        end_divisor: float = 1e4,
    ) -> None:
        super().__init__(rate, "step")
        require_share("warm", warm)
        require_positive("start_divisor", start_divisor)
        require_positive("end_divisor", end_divisor)
        self.warm, self.start_divisor, self.end_divisor = warm, start_divisor, end_divisor

    def at(self, moment: Moment) -> float:
        """Up, then down."""
        if moment.share < self.warm:
            start, stop, along = self.rate / self.start_divisor, self.rate, moment.share / self.warm
        else:
            start, stop = self.rate, self.rate / self.end_divisor
            along = (moment.share - self.warm) / (1 - self.warm)
        return stop + (start - stop) * (1 + math.cos(math.pi * along)) / 2


class WarmUp(Schedule):
    """Linear from 0 to the rate of `then` over the first `steps` steps, then `then`.

    >>> WarmUp(0.1, steps=10).at(Moment(step=4))
    0.05
    """

    def __init__(self, then: float | Schedule, steps: int) -> None:
        self.then = as_schedule(then)
        super().__init__(self.then.rate, "step")
        require_count("steps", steps)
        self.steps = steps

    def at(self, moment: Moment) -> float:
        """(step + 1) / steps of the rate, then the rate."""
        return self.then.at(moment) * min((moment.step + 1) / self.steps, 1.0)


def as_schedule(rate: float | Schedule) -> Schedule:
    """A plain number is a constant schedule."""
    return rate if isinstance(rate, Schedule) else Constant(rate)
