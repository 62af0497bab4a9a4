"""Every gradient against central differences, and the check that users have on broken layers."""

import numpy as np
import pytest
from test_layers import build, every_layer, some

from CNN import CNN
from Filters import AvgPool2D, Conv2D, GlobalAvgPool2D, MaxPool2D
from glassbox.engine.gradient_check import TOLERANCE, GradientReport
from glassbox.engine.layer import Context
from MLP import (
    BatchNorm,
    Dense,
    Dropout,
    Flatten,
    Identity,
    LeakyReLU,
    ReLU,
    Sigmoid,
    Softmax,
    Tanh,
)

STEP = 1e-6


def slope(value, array, direction):
    """(value at array + h d - value at array - h d) / 2h; the array is put back."""
    kept = array.copy()
    array[...] = kept + STEP * direction
    above = value()
    array[...] = kept - STEP * direction
    below = value()
    array[...] = kept
    return (above - below) / (2 * STEP)


def claims_of(layer, shape, context):
    """A scalar that depends on all outputs; every array it depends on; the gradients claimed."""
    x, weight = some(shape, seed=3), some(layer.output_shape, seed=4)
    _, cache = layer.forward(x, context)
    dx, gradients = layer.backward(weight, cache)
    arrays = {"input": x, **layer.parameters}
    claims = {"input": dx, **gradients}
    return lambda: float((layer.forward(x, context)[0] * weight).sum()), arrays, claims


RUNS = [Context(True, seed=1, batch=3), Context(False)]


@pytest.mark.parametrize("context", RUNS, ids=["training", "inference"])
@every_layer
def test_along_random_directions(make, shape, context):
    """A direction sees every entry at once."""
    value, arrays, claims = claims_of(build(make, shape), shape, context)
    random = np.random.default_rng(5)
    for name, array in arrays.items():
        for _ in range(3):
            direction = random.standard_normal(array.shape)
            claimed = (claims[name] * direction).sum()
            assert slope(value, array, direction) == pytest.approx(claimed, rel=1e-5, abs=1e-6), (
                name
            )


@pytest.mark.parametrize("context", RUNS, ids=["training", "inference"])
@every_layer
def test_entry_by_entry(make, shape, context):
    """Every single number of the input and of each parameter."""
    value, arrays, claims = claims_of(build(make, shape), shape, context)
    for name, array in arrays.items():
        found = np.zeros(array.shape)
        for place in np.ndindex(array.shape):
            one = np.zeros(array.shape)
            one[place] = 1
            found[place] = slope(value, array, one)
        np.testing.assert_allclose(claims[name], found, rtol=1e-5, atol=1e-7, err_msg=name)


# --- whole networks --------------------------------------------------------------------------


def everything(last="softmax", **settings):
    """A network with every kind of layer there is."""
    return CNN(
        Conv2D(4, 3), BatchNorm(), LeakyReLU(0.1), MaxPool2D(2), Dropout(0.2),
        Conv2D(3, (2, 3), stride=(1, 2), padding=1, activation=None), Tanh(),
        AvgPool2D(2, stride=1), Identity(), Sigmoid(), GlobalAvgPool2D(), Flatten(),
        Dense(5, activation="tanh"), ReLU(),
        BatchNorm(), Dense(3, activation=None), Softmax(), Dense(3, activation=last), **settings,
    )  # fmt: skip


def images(count=4, shape=(2, 7, 8), seed=0):
    return np.random.default_rng(seed).standard_normal((count, *shape)).astype(np.float32)


@pytest.mark.parametrize(("loss", "last"), [("mse", "sigmoid"), ("cross_entropy", "softmax")])
def test_loss_gradient_of_a_whole_network(loss, last):
    """The chain from the loss down to the first weight: along random directions of all weights."""
    network = everything(last, loss=loss, dtype=np.float64).build((2, 7, 8))
    x, labels = images(5), np.array([0, 2, 1, 1, 0])

    def losses():
        outputs, caches = network.forward(x, training=True)
        each, cache = network.loss.forward(np.ascontiguousarray(outputs.T), labels)
        return each.mean(), cache, caches

    _, cache, caches = losses()
    gradients = network.backward(network.loss.backward(cache, 5).T, caches)
    each = [gradients.get(layer.name, {}) for layer in network.layers]
    claimed = network.executor.gather(each, 0)
    random = np.random.default_rng(2)
    for _ in range(5):
        direction = random.standard_normal(claimed.shape)
        found = slope(lambda: losses()[0], network.parameters.values, direction)
        assert found == pytest.approx(claimed @ direction, rel=1e-4, abs=1e-8)


def test_gradient_check_passes_for_every_kind_of_layer(capsys):
    network = everything()
    report = network.gradient_check(images())
    assert report.passed, str(report)
    printed = capsys.readouterr().out
    assert "All gradients agree with central differences" in printed
    for layer in network.layers:
        named = {error.array for error in report.errors if error.layer == layer.name}
        assert named == {"its input", *layer.parameters}
        assert layer.name in printed


def test_gradient_check_leaves_the_network_alone():
    network = everything().build((2, 7, 8))
    before = [array.copy() for array in network.parameters.snapshot()]
    arrays = [array for layer in network.layers for array in layer.parameters.values()]
    network.gradient_check(images(), quiet=True)
    for now, then in zip(network.parameters.snapshot(), before, strict=True):
        assert now.tobytes() == then.tobytes()
    after = [array for layer in network.layers for array in layer.parameters.values()]
    assert all(one is two for one, two in zip(arrays, after, strict=True))


def test_gradient_check_of_flat_images():
    """Whole areas of one color tie in every window; a maximum of equals has no derivative."""
    flat = np.zeros((3, 1, 8, 8), np.uint8)
    flat[:, :, 2:6] = 255
    network = CNN(Conv2D(3), MaxPool2D(2), MaxPool2D(2), Dense(2))
    assert network.gradient_check(flat, quiet=True).passed


# --- broken on purpose -----------------------------------------------------------------------


def broken(kind, array, change):
    """A layer of this kind whose backward is wrong in one array."""

    class Broken(kind):
        def backward(self, dy, cache):
            dx, gradients = super().backward(dy, cache)
            if array == "its input":
                return change(dx), gradients
            return dx, {**gradients, array: change(gradients[array])}

    return Broken


def one_off(gradient):
    """Only one number is wrong: the largest."""
    wrong = gradient.copy()
    wrong.flat[np.abs(wrong).argmax()] *= 1.5
    return wrong


@pytest.mark.parametrize(
    ("kind", "arguments", "array", "change"),
    [
        (Dense, (5,), "weight", lambda g: -g),
        (Dense, (5,), "weight", lambda g: g * 1.0001),  # ten times the tolerance
        (Dense, (5,), "bias", lambda g: g / 2),
        (Dense, (5,), "bias", one_off),
        (Dense, (5,), "its input", lambda g: g[::-1].copy()),
        (Conv2D, (3, 3), "weight", lambda g: np.ascontiguousarray(g[:, :, ::-1, ::-1])),
        (Conv2D, (3, 3), "weight", one_off),
        (Conv2D, (3, 3), "its input", lambda g: np.roll(g, 1, axis=1)),
        (Conv2D, (3, 3), "bias", lambda g: g[:2]),  # a wrong shape
        (MaxPool2D, (2,), "its input", lambda g: g * 0.99),
        (AvgPool2D, (2,), "its input", lambda g: g * 4),
        (Tanh, (), "its input", lambda g: g * 1.01),
    ],
)  # fmt: skip
def test_broken_backward_is_found_and_named(kind, arguments, array, change):
    wrong = broken(kind, array, change)(*arguments, name="culprit")
    sound = Conv2D(3, (3, 2), activation="tanh")
    report = CNN(sound, wrong, Dense(4), Dense(2)).gradient_check(images(), quiet=True)
    assert [(e.layer, e.array) for e in report.errors if not e.passed] == [("culprit", array)]
    assert not report.passed
    assert f"Off by more than {TOLERANCE:g}: culprit {array}." in str(report)
    assert "WRONG" in str(report)


def test_forgotten_batch_statistics_are_found():
    """The classic mistake: to treat mean and variance as constants."""

    class Forgetful(BatchNorm):
        def backward_program(self, dy, cache):
            return super().backward_program(dy, (*cache[:4], 0))

    network = CNN(Conv2D(3), Forgetful(name="culprit"), Dense(2))
    report = network.gradient_check(images(), quiet=True)
    assert [(e.layer, e.array) for e in report.errors if not e.passed] == [("culprit", "its input")]


def test_missing_input_gradient_is_found():
    class Stop(Identity):
        def backward(self, dy, cache):
            return None, {}

    report = CNN(Conv2D(3), Stop(name="culprit"), Dense(2)).gradient_check(images(), quiet=True)
    assert "culprit its input" in str(report)


def test_report_without_errors_passes():
    assert GradientReport().passed
