"""First weights: the spread that each law promises, measured on many draws."""

import math

import numpy as np
import pytest

from CNN import CNN
from Filters import Conv2D
from glassbox.engine.initializers import check_initializer, draw_weights
from glassbox.engine.names import activation_named
from MLP import Dense, LeakyReLU

DENSE, CONV = (300, 200), (40, 30, 5, 3)  # fans 200 and 300; 30 * 15 = 450 and 40 * 15 = 600
HE_200, HE_450 = math.sqrt(2 / 200), math.sqrt(2 / 450)
XAVIER_500, XAVIER_1050 = math.sqrt(2 / 500), math.sqrt(2 / 1050)

LAWS = [
    # He behind a ReLU: gain sqrt 2 over the root of fan_in
    ("he_normal", DENSE, "relu", HE_200),
    ("he_uniform", DENSE, "relu", HE_200),
    ("he_normal", CONV, "relu", HE_450),
    ("he_uniform", CONV, "relu", HE_450),
    # a slope lets more through: gain sqrt(2 / (1 + slope^2))
    ("he_normal", DENSE, LeakyReLU(1 / 2), math.sqrt(2 / 1.25 / 200)),
    ("he_normal", CONV, "leaky_relu", math.sqrt(2 / (1 + 0.01**2) / 450)),
    # Xavier: sqrt(2 / (fan_in + fan_out)) times the gain of the activation
    ("xavier_normal", DENSE, "sigmoid", XAVIER_500),
    ("xavier_uniform", DENSE, "sigmoid", XAVIER_500),
    ("xavier_normal", CONV, None, XAVIER_1050),
    ("xavier_uniform", CONV, "softmax", XAVIER_1050),
    ("xavier_normal", DENSE, "tanh", 5 / 3 * XAVIER_500),
    # "auto": He behind ReLU and its kin, Xavier behind all others
    ("auto", DENSE, "relu", HE_200),
    ("auto", CONV, "leaky_relu", math.sqrt(2 / (1 + 0.01**2) / 450)),
    ("auto", DENSE, "sigmoid", XAVIER_500),
    ("auto", CONV, "tanh", 5 / 3 * XAVIER_1050),
]


@pytest.mark.parametrize(("name", "shape", "activation", "std"), LAWS)
def test_spread(name, shape, activation, std):
    """The measured deviation of n numbers is off by about std / sqrt(2 n): below 1 % here."""
    rng = np.random.default_rng(0)
    drawn = draw_weights(name, shape, activation_named(activation), rng, np.dtype(np.float64))
    assert drawn.shape == shape
    assert drawn.std() == pytest.approx(std, rel=0.02)
    assert abs(drawn.mean()) < 4 * std / math.sqrt(drawn.size)
    if name.endswith("uniform"):  # flat between the bounds, which it nearly reaches
        bound = math.sqrt(3) * std
        assert 0.99 * bound < np.abs(drawn).max() <= bound
        assert np.mean(np.abs(drawn) < bound / 2) == pytest.approx(0.5, abs=0.02)
    else:  # 68 % within one deviation, some beyond three
        assert np.mean(np.abs(drawn) < std) == pytest.approx(0.6827, abs=0.02)
        assert np.abs(drawn).max() > 3 * std


def test_signal_keeps_its_variance_through_ten_layers():
    """What the laws are for: neither dies nor explodes (He's second moment behind ReLU)."""
    random = np.random.default_rng(1)
    y = random.standard_normal((256, 64))
    relu = activation_named("relu")
    for _ in range(10):
        y = relu.apply(draw_weights("auto", (256, 256), relu, random, np.dtype("f8")) @ y)
    assert 0.5 < np.mean(y**2) < 2


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_dtype_and_seed(dtype):
    def draw(seed):
        rng = np.random.default_rng(seed)
        return draw_weights("auto", (4, 3), activation_named("relu"), rng, np.dtype(dtype))

    assert draw(0).dtype == dtype
    assert np.array_equal(draw(0), draw(0))
    assert not np.array_equal(draw(0), draw(1))


def test_layers_pass_their_initializer_on():
    """A uniform law has no weight beyond sqrt(3) deviations; biases start at 0."""
    network = CNN(
        Conv2D(20, 5, initializer="he_uniform"), Dense(50, initializer="xavier_uniform"), Dense(3)
    ).build((3, 6, 6))
    conv, dense, plain = (layer.parameters for layer in network.layers)
    conv_bound = math.sqrt(3 * 2 / (1 + 0.01**2) / 75)
    dense_bound = math.sqrt(3 * 2 / (720 + 50))
    assert 0.98 * conv_bound < np.abs(conv["weight"]).max() <= conv_bound * (1 + 1e-6)
    assert 0.98 * dense_bound < np.abs(dense["weight"]).max() <= dense_bound * (1 + 1e-6)
    assert not any(own["bias"].any() for own in (conv, dense, plain))


@pytest.mark.parametrize(
    "make",
    [
        lambda name: Conv2D(2, initializer=name),
        lambda name: Dense(2, initializer=name),
        check_initializer,
    ],
)
def test_unknown_initializer(make):
    with pytest.raises(ValueError, match="unknown initializer 'he_norm': did you mean 'he_normal'"):
        make("he_norm")
