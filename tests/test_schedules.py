"""Schedules: rates worked out by hand, and PyTorch's where it means the same."""

import math

import numpy as np
import pytest

from glassbox.engine.schedules import (
    Constant,
    Cosine,
    Exponential,
    InverseTime,
    OneCycle,
    Progress,
    Schedule,
    StepDecay,
    WarmUp,
    as_schedule,
)


def rates(schedule, steps, per_epoch=1):
    """The rate at every step of a run."""
    return [schedule.at(Progress(step, steps, per_epoch)) for step in range(steps)]


def test_moment():
    """Step 25 of 101 with 10 to an epoch: two epochs done, a quarter of the way."""
    progress = Progress(25, 101, 10)
    assert progress.count("epoch") == 2
    assert progress.count("step") == 25
    assert progress.fraction == 0.25
    assert Progress(0, 1, 1).fraction == 0  # a run of one step
    assert Progress(100, 101, 10).fraction == 1


@pytest.mark.parametrize(
    ("schedule", "expected"),  # six steps, two to an epoch
    [
        (Constant(0.4), [0.4, 0.4, 0.4, 0.4, 0.4, 0.4]),
        (StepDecay(0.4, step_size=2, gamma=0.5), [0.4, 0.4, 0.4, 0.4, 0.2, 0.2]),
        (StepDecay(0.4, step_size=2), [0.4, 0.4, 0.4, 0.4, 0.04, 0.04]),
        (StepDecay(0.4, 2, 0.5, unit="step"), [0.4, 0.4, 0.2, 0.2, 0.1, 0.1]),
        (Exponential(0.4, gamma=0.5), [0.4, 0.4, 0.2, 0.2, 0.1, 0.1]),
        (Exponential(0.4, 0.5, unit="step"), [0.4, 0.2, 0.1, 0.05, 0.025, 0.0125]),
        (InverseTime(0.4, decay=1.0), [0.4, 0.4, 0.2, 0.2, 0.4 / 3, 0.4 / 3]),
        (InverseTime(0.4, 2.0, unit="step"), [0.4, 0.4 / 3, 0.4 / 5, 0.4 / 7, 0.4 / 9, 0.4 / 11]),
        # (1 + cos(pi k / 5)) / 2 between 0.1 and 0.5
        (Cosine(0.5, 0.1), [0.1 + 0.2 * (1 + math.cos(math.pi * k / 5)) for k in range(6)]),
        (WarmUp(0.4, steps=4), [0.1, 0.2, 0.3, 0.4, 0.4, 0.4]),
        # a warm-up before a schedule: both factors at once
        (WarmUp(Exponential(0.4, 0.5), steps=4), [0.1, 0.2, 0.15, 0.2, 0.1, 0.1]),
        # the top at share 0.4 = step 2; half way up and down lie half way between
        (
            OneCycle(0.4, pct_start=0.4, div_factor=4, final_div_factor=10),
            [0.1, 0.25, 0.4, 0.01 + 0.39 * 0.75, 0.01 + 0.39 * 0.25, 0.01],
        ),
        (OneCycle(0.4, pct_start=0.0, div_factor=1, final_div_factor=4),
         [0.1 + 0.15 * (1 + math.cos(math.pi * k / 5)) for k in range(6)]),
    ],
    ids=repr,
)  # fmt: skip
def test_rates_by_hand(schedule, expected):
    assert rates(schedule, 6, per_epoch=2) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize(
    ("name", "schedule"),
    [
        # PyTorch peaks at step pct_start * 21 - 1 = 6, which is share 0.3 of steps 0 to 20; its
        # last rate is the first one over 50, ours the peak over 500
        ("one_cycle", OneCycle(0.4, pct_start=0.3, div_factor=10, final_div_factor=50)),
        ("cosine", Cosine(0.4, final=0.05)),
        ("step", StepDecay(0.4, step_size=6, gamma=0.5, unit="step")),
        ("exponential", Exponential(0.4, gamma=0.9, unit="step")),
    ],
)
def test_rates_of_pytorch(pytorch, name, schedule):
    np.testing.assert_allclose(rates(schedule, 21), pytorch["schedules"][name], rtol=1e-12)


def test_every_rate_of_a_long_run_is_above_zero_and_at_most_the_peak():
    schedules = [
        OneCycle(0.1), Cosine(0.1, 0.001), StepDecay(0.1, 3), Exponential(0.1, 0.9),
        InverseTime(0.1, 0.5), WarmUp(Cosine(0.1, 0.001), 20),
    ]  # fmt: skip
    for schedule in schedules:
        found = rates(schedule, 200, per_epoch=10)
        assert min(found) > 0
        assert max(found) <= 0.1 + 1e-15


def test_number_is_a_constant():
    assert as_schedule(0.2).at(Progress(5, 9)) == 0.2
    given = Cosine(0.1)
    assert as_schedule(given) is given
    assert repr(StepDecay(0.1, 3)) == "StepDecay(rate=0.1, unit='epoch', step_size=3, gamma=0.1)"


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: Constant(0), ValueError, "learning_rate: expected a finite number above 0, got 0"),
        (lambda: Constant("1"), TypeError, "learning_rate: expected a number above 0, got '1'"),
        (lambda: Constant(True), TypeError, "learning_rate: expected a number above 0, got True"),
        (lambda: Constant(float("inf")), ValueError, "learning_rate: expected a finite number"),
        (lambda: StepDecay(0.1, 0), ValueError, "step_size: expected at least 1, got 0"),
        (lambda: StepDecay(0.1, 1.5), TypeError, r"step_size: expected a whole number .*got 1\.5"),
        (lambda: StepDecay(0.1, 1, -2), ValueError, "gamma: expected a finite number above 0"),
        (lambda: StepDecay(0.1, 1, unit="epochs"), ValueError, "did you mean 'epoch'"),
        (lambda: Exponential(0.1, 0), ValueError, "gamma: expected a finite number above 0"),
        (lambda: InverseTime(0.1, 0), ValueError, "decay: expected a finite number above 0"),
        (lambda: Cosine(0.1, 0.2), ValueError, r"Cosine: expected 0 <= final <= rate.*got 0\.2"),
        (lambda: Cosine(0.1, -1), ValueError, "Cosine: final: expected a finite number of 0"),
        (lambda: OneCycle(0.1, pct_start=1.0), ValueError, "pct_start: expected 0 <= value < 1"),
        (lambda: OneCycle(0.1, div_factor=0), ValueError, "div_factor: expected a finite"),
        (lambda: OneCycle(0.1, 0.3, 25, -1), ValueError, "final_div_factor: expected a finite"),
        (lambda: WarmUp(0.1, 0), ValueError, "steps: expected at least 1, got 0"),
        (lambda: Schedule(0.1).at(Progress()), TypeError, r"Schedule must define at\(progress\)"),
    ],
)
def test_errors(make, error, message):
    with pytest.raises(error, match=message):
        make()
