"""Losses by hand, against scikit-learn, at the edges, and their gradients by differences."""

import math

import numpy as np
import pytest
from sklearn.metrics import log_loss

from CNN import CNN
from glassbox.engine.losses import MSE, CrossEntropy, Loss
from glassbox.engine.names import LOSSES, loss_named
from glassbox.engine.sanity import loss_at_chance
from MLP import Dense

# PyTorch's numbers for both losses, with and without smoothing, are in test_against_pytorch.py.


def column(*numbers):
    return np.array(numbers, np.float64)[:, None]


def test_one_hot():
    targets = Loss().targets(np.array([2, 0]), 3, np.float32)
    assert targets.tolist() == [[0, 1], [0, 0], [1, 0]]
    assert targets.dtype == np.float32


# --- by hand ---------------------------------------------------------------------------------


def test_mse_by_hand():
    """Outputs 0.5, 1, 0 and label 1: ((0.5)^2 + 0 + 0) / 3; gradient 2 (y - t) / 3 / batch."""
    losses, memory = MSE().forward(column(0.5, 1.0, 0.0), np.array([1]))
    assert losses.tolist() == pytest.approx([0.25 / 3])
    assert MSE().backward(memory, 1)[:, 0].tolist() == pytest.approx([1 / 3, 0, 0])
    assert MSE().backward(memory, 4)[:, 0].tolist() == pytest.approx([1 / 12, 0, 0])


def test_cross_entropy_by_hand():
    """Logits log 1, log 2, log 5: probabilities 1/8, 2/8, 5/8; label 1 costs log 4."""
    loss = CrossEntropy()
    losses, memory = loss.forward(column(0, math.log(2), math.log(5)), np.array([1]))
    assert losses.tolist() == pytest.approx([math.log(4)])
    assert loss.backward(memory, 2)[:, 0].tolist() == pytest.approx([1 / 16, -6 / 16, 5 / 16])


def test_label_smoothing_by_hand():
    """0.3 spread over three classes: targets 0.1, 0.8, 0.1."""
    loss = CrossEntropy(label_smoothing=0.3)
    targets = loss.targets(np.array([1]), 3, np.float64)
    assert targets[:, 0].tolist() == pytest.approx([0.1, 0.8, 0.1])
    losses, memory = loss.forward(column(0, math.log(2), math.log(5)), np.array([1]))
    expected = 0.1 * math.log(8) + 0.8 * math.log(4) + 0.1 * math.log(8 / 5)
    assert losses.tolist() == pytest.approx([expected])
    assert loss.backward(memory, 1)[:, 0].tolist() == pytest.approx([0.025, -0.55, 0.525])
    # mean squared error: (0.1^2 + 0.2^2 + 0.9^2) / 3 of the outputs 0, 1, 1
    losses, _ = MSE(label_smoothing=0.3).forward(column(0, 1, 1), np.array([1]))
    assert losses.tolist() == pytest.approx([(0.01 + 0.04 + 0.81) / 3])


def test_network_hands_smoothing_to_its_loss():
    network = CNN(Dense(3), loss="cross_entropy", label_smoothing=0.2)
    assert isinstance(network.loss, CrossEntropy)
    assert network.loss.label_smoothing == 0.2


# --- another oracle --------------------------------------------------------------------------


def test_cross_entropy_equals_scikit_learn():
    random = np.random.default_rng(1)
    logits, labels = random.normal(0, 3, (6, 50)), random.integers(0, 6, 50)
    powers = np.exp(logits)
    expected = log_loss(labels, (powers / powers.sum(axis=0)).T, labels=range(6))
    losses, _ = CrossEntropy().forward(logits, labels)
    assert losses.mean() == pytest.approx(expected, rel=1e-12)


# --- edges -----------------------------------------------------------------------------------


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_logits_of_a_thousand_stay_finite(dtype, smoothing):
    """exp(1000) overflows and log(0) is minus infinity; neither may happen on the way."""
    logits = np.array([[1000.0, -1000.0, 0.0], [-1000.0, 1000.0, 0.0]], dtype)
    loss = CrossEntropy(smoothing)
    with np.errstate(over="raise", invalid="raise", divide="raise"):
        losses, memory = loss.forward(logits, np.array([0, 0, 1]))
        gradient = loss.backward(memory, 3)
    s = smoothing / 2
    assert losses.tolist() == pytest.approx([2000 * s, 2000 * (1 - s), math.log(2)], rel=1e-5)
    expected = np.array([[s, s - 1, 0.5 - s], [-s, 1 - s, s - 0.5]]) / 3
    np.testing.assert_allclose(gradient, expected, atol=1e-6)


@pytest.mark.parametrize("smoothing", [0.0, 0.2])
@pytest.mark.parametrize("kind", LOSSES.values())
def test_types_and_untouched_input(kind, smoothing):
    loss = kind(smoothing)
    random = np.random.default_rng(2)
    outputs, labels = random.random((4, 7), np.float32), random.integers(0, 4, 7)
    copies = outputs.copy(), labels.copy()
    losses, memory = loss.forward(outputs, labels)
    first = loss.backward(memory, 7).copy()
    second = loss.backward(memory, 7)
    assert losses.shape == (7,)
    assert first.shape == outputs.shape
    assert losses.dtype == first.dtype == np.float32
    assert np.array_equal(first, second), "backward changed what forward kept"
    assert np.array_equal(outputs, copies[0])
    assert np.array_equal(labels, copies[1])


@pytest.mark.parametrize("smoothing", [0.0, 0.2])
@pytest.mark.parametrize("kind", LOSSES.values())
def test_gradient_equals_differences(kind, smoothing):
    """Every entry: (mean loss at z + h - at z - h) / 2h."""
    random = np.random.default_rng(3)
    outputs, labels = random.standard_normal((4, 5)), random.integers(0, 4, 5)
    loss, h = kind(smoothing), 1e-6
    gradient = loss.backward(loss.forward(outputs, labels)[1], 5)
    for place in np.ndindex(outputs.shape):
        step = np.zeros_like(outputs)
        step[place] = h
        above, below = (loss.forward(outputs + s, labels)[0].mean() for s in (step, -step))
        assert gradient[place] == pytest.approx((above - below) / (2 * h), rel=1e-6, abs=1e-9)


def test_gradient_of_a_part_adds_up_to_that_of_the_batch():
    """A shard divides by the whole batch: so gradients of shards are simply added."""
    random = np.random.default_rng(4)
    outputs, labels = random.standard_normal((3, 10)), random.integers(0, 3, 10)
    for kind in LOSSES.values():
        loss = kind()
        whole = loss.backward(loss.forward(outputs, labels)[1], 10)
        parts = [
            loss.backward(loss.forward(outputs[:, cut], labels[cut])[1], 10)
            for cut in (slice(0, 4), slice(4, 10))
        ]
        np.testing.assert_allclose(np.concatenate(parts, axis=1), whole, rtol=1e-12)


def test_loss_at_chance():
    """Ten classes: log 10.  Outputs of one half each: the mean square is a quarter."""
    outputs = np.full((10, 20), 0.5)
    assert loss_at_chance(CrossEntropy(), outputs) == pytest.approx(math.log(10))
    assert loss_at_chance(MSE(), outputs) == pytest.approx(0.25)


# --- names and errors ------------------------------------------------------------------------


def test_names():
    assert isinstance(loss_named("mse"), MSE)
    assert isinstance(loss_named("cross_entropy", 0.1), CrossEntropy)
    given = MSE()
    assert loss_named(given) is given


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: loss_named("cros_entropy"), ValueError, "did you mean 'cross_entropy'"),
        (lambda: loss_named("zzz"), ValueError, r"unknown loss 'zzz': Known: mse, cross_entropy"),
        (lambda: loss_named(7), TypeError, "loss: expected a name or a Loss, got 7"),
        (lambda: MSE(1.0), ValueError, r"label_smoothing: expected 0 <= value < 1, got 1\.0"),
        (lambda: CrossEntropy(-0.1), ValueError, "label_smoothing: expected 0 <= value < 1"),
        (lambda: MSE("some"), TypeError, "label_smoothing: expected a number from 0 to 1"),
        (lambda: Loss().forward(column(1), np.array([0])), TypeError, "must define forward"),
        (lambda: Loss().backward(None, 1), TypeError, "must define backward"),
        (
            lambda: CNN(Dense(3, activation="tanh"), loss="cross_entropy").build((1, 2, 2)),
            ValueError,
            "cross_entropy expects a last layer with activation 'softmax' or None, got 'tanh'",
        ),
    ],
)
def test_errors(make, error, message):
    with pytest.raises(error, match=message):
        make()
