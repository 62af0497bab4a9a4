"""find_rate: the copy it works on, the rates it tries, when it stops, what it suggests."""

from itertools import pairwise

import numpy as np
import pytest

from CNN import CNN
from Datasets import Digits
from Filters import Conv2D, MaxPool2D
from glassbox.find_rate import KEEP
from MLP import SGD, Adam, BatchNorm, Dense, Dropout


@pytest.fixture(scope="module")
def digits():
    return Digits().train


def network(optimizer, **settings):
    layers = Conv2D(4), BatchNorm(), MaxPool2D(2), Dropout(0.2), Dense(10, activation=None)
    return CNN(*layers, loss="cross_entropy", optimizer=optimizer, **settings)


def state(net):
    groups = [group.state for group in net.parameters.groups]
    arrays = [net.parameters.values, *net.parameters.buffers]
    arrays += [value for own in groups for value in own.values() if isinstance(value, np.ndarray)]
    return [array.tobytes() for array in arrays], [own["steps"] for own in groups], net.steps_done


@pytest.mark.parametrize("eager", [False, True])
@pytest.mark.parametrize("backend", ["numpy", "compiled"])
def test_a_built_network_goes_on_as_if_nothing_had_been(digits, backend, eager):
    nets = [network(Adam(1e-3), kernels=backend, eager=eager) for _ in range(2)]
    for net in nets:
        net.fit(digits, epochs=1, batch_size=100, progress=False)
    before, rate, history = state(nets[0]), nets[0].optimizer.learning_rate, nets[0].history
    nets[0].find_rate(digits, steps=20, quiet=True)
    assert state(nets[0]) == before
    assert (nets[0].optimizer.learning_rate, nets[0].history) == (rate, history)
    for net in nets:
        net.fit(digits, epochs=1, batch_size=100, progress=False)
    assert state(nets[0]) == state(nets[1])


def test_a_network_that_is_not_built_stays_so_and_begins_with_its_own_weights(digits):
    net, twin = network(SGD(0.1)), network(SGD(0.1))
    report = net.find_rate(digits, steps=5, batch_size=32, quiet=True)
    assert net.assembly is None and net.scaling is None
    order = np.arange(len(digits))
    np.random.default_rng([0, 0, len(order)]).shuffle(order)
    loss, _ = twin.train_step(digits, order[:32])
    assert report.losses[0] == loss / 32


def test_rates_and_losses_are_those_of_the_steps(digits):
    """The same steps taken by hand, each with the rate that the report names."""
    report = network(SGD(0.1)).find_rate(digits, 1e-3, 0.1, steps=6, batch_size=50, quiet=True)
    assert np.allclose(report.rates, np.geomspace(1e-3, 0.1, 6), rtol=1e-12)
    net, order = network(SGD(0.1)), np.arange(len(digits))
    np.random.default_rng([0, 0, len(order)]).shuffle(order)
    mean = 0.0
    for k, (rate, loss, smoothed) in enumerate(
        zip(report.rates, report.losses, report.smoothed, strict=True)
    ):
        net.optimizer.learning_rate = rate
        assert net.train_step(digits, order[50 * k : 50 * k + 50])[0] / 50 == loss
        mean = KEEP * mean + (1 - KEEP) * loss
        assert smoothed == pytest.approx(mean / (1 - KEEP ** (k + 1)), rel=1e-12)


def test_the_suggestion_learns_and_the_end_is_told(digits, capsys):
    net = network(SGD(0.1))
    report = net.find_rate(digits)
    printed = capsys.readouterr().out
    assert printed == f"{report}\n"
    assert max(map(len, printed.splitlines())) <= 60
    assert report.ended.startswith("Stopped at ")
    falls = [before - after for before, after in pairwise(report.smoothed)]
    assert report.suggestion == report.rates[falls.index(max(falls))]
    net.optimizer.learning_rate = report.suggestion
    assert net.fit(digits, epochs=3, progress=False).records[-1]["accuracy"] > 0.85


def test_saturated_sigmoids_do_not_mislead_it():
    """Their loss stays low at rates far too high: it would be lowest at 6."""
    data = Digits()
    layers = Conv2D(8), MaxPool2D(2), Dense(32), Dense(10)
    net = CNN(*layers, optimizer=Adam(1e-3))
    net.optimizer.learning_rate = net.find_rate(data.train, quiet=True).suggestion
    net.fit(data.train, epochs=5, progress=False)
    assert net.evaluate(data.validation).accuracy > 0.6  # 0.72; 0.12 at a tenth of the lowest


def test_nothing_is_suggested_where_nothing_is_learnt(digits):
    report = network(SGD(0.1)).find_rate(digits, 1e-12, 1e-11, steps=20, quiet=True)
    assert report.suggestion is None
    assert "hardly fell" in str(report)
    assert repr(report) == "<RateReport: 20 steps, suggestion none>"


def test_numbers_that_overflow_end_it_in_words(digits):
    net = CNN(Dense(10, activation=None), optimizer=SGD(0.1))
    report = net.find_rate(digits, 1.0, 1e38, steps=4, quiet=True)
    assert report.ended.startswith("Stopped at ")
    assert len(report.rates) < 4


def test_a_set_smaller_than_the_steps_is_used_again(digits):
    report = network(SGD(0.1)).find_rate(digits.take(20), 1e-4, 1e-3, 10, 8, quiet=True)
    assert len(report.rates) == 10


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ({"lowest": 0}, "lowest: expected"),
        ({"lowest": 1, "highest": 0.5}, "highest must be above lowest=1, got 0.5"),
        ({"steps": 1}, "steps: expected"),
        ({"batch_size": 0}, "batch_size: expected"),
    ],
)
def test_what_cannot_be_is_refused(digits, wrong, told):
    with pytest.raises(ValueError, match=told):
        network(SGD(0.1)).find_rate(digits, **wrong)
