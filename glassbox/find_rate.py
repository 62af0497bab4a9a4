"""The learning-rate finder: one short run on a copy, in which the rate grows from step to step."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from itertools import chain, count, islice
from typing import Any

import numpy as np

from glassbox.data import given
from glassbox.engine.schedules import Progress, Schedule
from glassbox.engine.trainer import batches
from glassbox.errors import Diverged, require_count, require_positive

KEEP = 0.9  # of the running mean of the loss that a step leaves
TOO_HIGH = 4.0  # times the lowest loss, from which no later rate can be meant
GAIN = 0.98  # of the first loss: a run that never falls below has learnt nothing
ROWS, BAR = 12, 32  # of the printed table


class Growing(Schedule):
    """From one rate to another by the same factor in every step.

    Examples
    --------
    >>> Growing(0.01, 1.0).at(Progress(step=1, steps=3))
    0.1
    """

    def __init__(self, rate: float, highest: float) -> None:
        super().__init__(rate, "step")
        require_positive("highest", highest)
        if not highest > rate:
            raise ValueError(f"find_rate: highest must be above lowest={rate:g}, got {highest:g}")
        self.highest = float(highest)

    def at(self, progress: Progress) -> float:
        """rate (highest / rate)^fraction."""
        return float(self.rate * (self.highest / self.rate) ** progress.fraction)


@dataclass(frozen=True, repr=False)
class RateReport:
    """What `find_rate` saw.

    Attributes
    ----------
    rates, losses : of every step: its learning rate, and the mean loss of its images before it.
    smoothed : the losses as a running mean.
    suggestion : the rate at which the running mean fell fastest; None where it hardly fell.  (A
        share of the rate where it was lowest, which others take, misleads with sigmoids and
        squared errors: the loss of saturated outputs stays low.)
    ended : why the run stopped.
    """

    rates: tuple[float, ...]
    losses: tuple[float, ...]
    smoothed: tuple[float, ...]
    suggestion: float | None
    ended: str

    def __repr__(self) -> str:
        found = "none" if self.suggestion is None else f"{self.suggestion:.2g}"
        return f"<RateReport: {len(self.rates)} steps, suggestion {found}>"

    def __str__(self) -> str:
        highest = max(self.smoothed)
        rows = [f"{'rate':>8}  {'loss':>8}"]
        for k in (
            np.linspace(0, len(self.rates) - 1, min(ROWS, len(self.rates))).round().astype(int)
        ):
            bar = "#" * max(1, round(BAR * self.smoothed[k] / highest)) if highest > 0 else ""
            rows.append(f"{self.rates[k]:8.1e}  {self.smoothed[k]:8.4f}  {bar}")
        rows.append(self.ended)
        if self.suggestion is None:
            rows.append("No suggestion: the loss hardly fell at any of these rates.")
        else:
            rows.append(
                f"Suggested learning rate: {self.suggestion:.2g}, where the loss fell fastest."
            )
        return "\n".join(rows)


def find_rate(
    network: Any,
    data: Any,
    lowest: float = 1e-6,
    highest: float = 10.0,
    steps: int = 100,
    batch_size: int = 64,
    quiet: bool = False,
) -> RateReport:
    """Try growing learning rates on a copy of this network, and suggest one.

    The rate of step k is lowest (highest / lowest)^(k / (steps - 1)).  The network, its optimizer
    and its random numbers stay as they are; layers with an optimizer of their own keep its rate.
    Stops early where the running mean of the loss is four times its lowest, or no longer finite.
    Prints the report unless `quiet`, and returns it.

    Parameters
    ----------
    data : a Dataset, or a pair (images, labels).
    lowest, highest : the rates to try.
    steps : how many mini-batches to train on; small sets are shuffled and used again.
    batch_size : images of a step, as you will train.

    Raises ValueError for rates and counts that cannot be; see `fit` for those of data.
    Source: Smith 2017, "Cyclical learning rates for training neural networks".

    Examples
    --------
    >>> from glassbox import CNN, SGD, Dense, Digits
    >>> network = CNN(Dense(10), optimizer=SGD(0.1))
    >>> report = network.find_rate(Digits().train, quiet=True)
    >>> 0.01 < report.suggestion < 10
    True
    """
    require_positive("lowest", lowest)
    require_count("steps", steps, least=2)
    require_count("batch_size", batch_size)
    growing = Growing(lowest, highest)
    source = given.as_dataset(data, network, fitting=True)
    if network.assembly is None:
        trial = network.clone_unbuilt(network.dtype).build(source.shape)
    else:
        trial = copy.deepcopy(network)
    trial.optimizer = copy.copy(trial.optimizer)
    trial.optimizer.learning_rate = growing
    order = chain.from_iterable(
        batches(trial.seed, epoch, len(source), batch_size, True) for epoch in count()
    )
    rates: list[float] = []
    losses: list[float] = []
    smoothed: list[float] = []
    mean, ended = 0.0, f"All {steps} steps done."
    for step, indices in enumerate(islice(order, steps)):
        progress = Progress(step, steps)
        try:
            loss = trial.train_step(source, indices, progress)[0] / len(indices)
        except Diverged:
            ended = f"Stopped at {growing.at(progress):.2g}: numbers were no longer finite."
            break
        mean = KEEP * mean + (1 - KEEP) * loss
        rates.append(growing.at(progress))
        losses.append(loss)
        smoothed.append(mean / (1 - KEEP ** (step + 1)))
        if smoothed[-1] > TOO_HIGH * min(smoothed):
            ended = f"Stopped at {rates[-1]:.2g}: the loss was four times its lowest."
            break
    if not rates:
        raise ValueError(f"find_rate: the very first step, at {lowest:g}, diverged; begin lower")
    fell = min(smoothed) < GAIN * smoothed[0]
    suggestion = rates[int(np.argmin(np.diff(smoothed)))] if fell else None
    report = RateReport(tuple(rates), tuple(losses), tuple(smoothed), suggestion, ended)
    if not quiet:
        print(report)
    return report
