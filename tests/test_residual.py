"""Blocks with a shortcut, and the running mean of the weights."""

import copy

import numpy as np
import pytest

from CNN import CNN
from Filters import Conv2D, GlobalAvgPool2D, MaxPool2D, Residual
from glassbox.engine.averaging import Average
from glassbox.engine.layer import BuildContext, Context
from glassbox.engine.optimizers import SGD, Adam
from glassbox.kernels import choose
from MLP import BatchNorm, Dense, Dropout, Flatten, ReLU


def built(block, shape, backend=None, seed=0):
    block.build(
        shape, BuildContext(np.random.default_rng(seed), np.dtype(np.float64), choose(backend))
    )
    return block


def test_it_adds_what_its_layers_make_to_the_input(backend):
    """By hand: two layers and a sum, then the activation."""
    conv, more = Conv2D(2, 3), Conv2D(2, 3, activation=None)
    block = built(Residual(conv, more, activation="relu"), (2, 4, 5), backend)
    x = np.random.default_rng(1).standard_normal((2, 4, 5, 3))
    inner, _ = conv.forward(x, Context())
    outer, _ = more.forward(inner, Context())
    np.testing.assert_allclose(block.forward(x, Context())[0], np.maximum(outer + x, 0))


def test_the_shortcut_is_a_projection_where_shapes_differ():
    block = built(
        Residual(Conv2D(5, 3, stride=(2, 1), activation=None), activation=None), (2, 5, 4)
    )
    assert block.output_shape == (5, 3, 4)
    assert block.shortcut.stride == (2, 1)
    assert block.parameters["shortcut.weight"].shape == (5, 2, 1, 1)
    x = np.random.default_rng(2).standard_normal((2, 5, 4, 2))
    inner, _ = block.layers[0].forward(x, Context())
    picked = np.einsum("oc,chwn->ohwn", block.parameters["shortcut.weight"][..., 0, 0], x[:, ::2])
    np.testing.assert_allclose(block.forward(x, Context())[0], inner + picked)
    assert "projected" in block.describe()


def test_a_network_trains_what_is_inside():
    """Weights, statistics, optimizers and L2 of the inner layers are the network's business."""
    own = SGD(0.5)
    network = CNN(
        Residual(Conv2D(4, 3, stride=2, optimizer=own), BatchNorm(), Conv2D(4, 3, l2=0.5)),
        GlobalAvgPool2D(), Dense(2), optimizer=Adam(0.01), l2=0.1, seed=3,
    ).build((1, 8, 8))  # fmt: skip
    block = network.layers[0]
    first = {name: array.copy() for name, array in block.parameters.items()}
    mean = block.buffers["norm1.running_mean"].copy()
    assert network.parameters.groups[0].optimizer is own
    assert network.parameters.groups[1].optimizer is network.optimizer
    decay = network.parameters.split(network.parameters.l2)[0]
    assert (decay["conv1.weight"] == np.float32(0.1)).all()
    assert (decay["conv2.weight"] == np.float32(0.5)).all()
    assert not decay["conv1.bias"].any()
    assert not decay["norm1.weight"].any()
    images = np.random.default_rng(0).random((16, 1, 8, 8), np.float32)
    network.train_step((images, np.arange(16) % 2))
    for name, array in block.parameters.items():
        assert not np.array_equal(array, first[name]), name
    assert not np.array_equal(block.buffers["norm1.running_mean"], mean)
    snapshot = network.parameters.snapshot()
    network.train_step((images, np.arange(16) % 2))
    network.parameters.restore(snapshot)
    assert np.array_equal(block.buffers["norm1.running_mean"], snapshot[1])


def test_its_layers_draw_numbers_of_their_own():
    """Two dropouts of one block, and those of two blocks, must not throw the same dice."""
    network = CNN(
        Residual(Dropout(0.5), Dropout(0.5)), Residual(Dropout(0.5)), Dropout(0.5), Flatten(),
        Dense(2),
    ).build((1, 2, 2))  # fmt: skip
    one, two = (block.layers for block in network.layers[:2])
    assert len({layer.number for layer in [*one, *two, *network.layers]}) == 8


@pytest.mark.parametrize("threads", [1, 3])
def test_bits_do_not_depend_on_threads(threads):
    def trained(threads):
        network = CNN(
            Conv2D(8), Residual(Conv2D(8), BatchNorm(), ReLU(), Conv2D(8, activation=None)),
            GlobalAvgPool2D(), Dense(3, "softmax"), loss="cross_entropy", seed=1, threads=threads,
        )  # fmt: skip
        images = np.random.default_rng(5).random((96, 1, 12, 12), np.float32)
        network.fit((images, np.arange(96) % 3), epochs=2, batch_size=96, progress=False)
        return network.parameters.values.tobytes()

    assert trained(threads) == trained(2)


def test_a_sanity_check_leaves_the_block_alone(capsys):
    """Its twin must not share the inner layers."""
    network = CNN(Residual(Conv2D(3), BatchNorm()), MaxPool2D(2), Dense(2), seed=1).build((3, 6, 6))
    before = copy.deepcopy(network.parameters.snapshot())
    data = np.random.default_rng(0).random((20, 3, 6, 6), np.float32), np.arange(20) % 2
    scores = network.scores(data[0])
    network.sanity_check(data, images=20, epochs=2, quiet=True)
    for one, two in zip(network.parameters.snapshot(), before, strict=True):
        assert np.array_equal(one, two)
    network.gradient_check(data, quiet=True)
    assert np.array_equal(network.scores(data[0]), scores)
    inner = network.layers[0].layers[0]
    assert inner.parameters["weight"].base is network.parameters.values


def test_the_summary_shows_what_is_inside(capsys):
    network = CNN(Residual(Conv2D(4, stride=2), Conv2D(4)), Dense(2)).build((1, 8, 8))
    text = network.summary()
    lines = [line[:40] for line in text.splitlines()]
    (place,) = [k for k, line in enumerate(lines) if "Residual Conv2D + Conv2D," in line]
    assert "projected" in " ".join(lines[place : place + 2])
    multiply_adds = 4 * 9 * 16 + 4 * 4 * 9 * 16 + 4 * 16
    assert f"{multiply_adds:,}" in text


@pytest.mark.parametrize(
    ("make", "kind", "message"),
    [
        (lambda: Residual(), ValueError, "at least one layer"),
        (lambda: Residual("conv"), TypeError, "expected layers such as Conv2D"),
        (lambda: built(Residual(Conv2D(2)), (6,)), ValueError, "expected input"),
        (lambda: built(Residual(Dense(2)), (1, 4, 4)), ValueError, "behind the block"),
        (
            lambda: built(Residual(Conv2D(2, 3, padding="valid")), (1, 7, 7)),
            ValueError,
            "use strides and padding='same' inside",
        ),
        (
            lambda: built(Residual(Conv2D(2, name="a"), Conv2D(2, name="a")), (1, 7, 7)),
            ValueError,
            "two layers are called 'a'",
        ),
        (
            lambda: built(Residual(Conv2D(2, name="a.b")), (1, 7, 7)),
            ValueError,
            "no dot",
        ),
    ],
)
def test_errors(make, kind, message):
    with pytest.raises(kind, match=message):
        make()


def test_arrays_of_a_block_cannot_be_removed():
    with pytest.raises(TypeError, match="cannot be removed"):
        del built(Residual(Conv2D(2)), (2, 4, 4)).parameters["conv1.bias"]


# --- the running mean of the weights -----------------------------------------------------------


def test_fit_gives_back_the_running_mean():
    """Against the mean computed from the weights after each step."""
    images = np.random.default_rng(1).random((40, 1, 6, 6), np.float32)
    data = images, np.arange(40) % 2

    def network():
        return CNN(Conv2D(2), Dense(2), seed=4, optimizer=SGD(0.3))

    one, two = network(), network().build((1, 6, 6))
    one.fit(data, epochs=2, batch_size=8, ema_decay=0.8, progress=False)
    seen = []
    step = two.train_step
    two.train_step = lambda *given: (step(*given), seen.append(two.parameters.values.copy()))[0]
    start = two.parameters.values.copy()
    two.fit(data, epochs=2, batch_size=8, progress=False)
    mean = start.astype(np.float64)
    for number, values in enumerate(seen, 1):
        keep = min(0.8, number / (number + 10))
        mean = keep * mean + (1 - keep) * values
    np.testing.assert_allclose(one.parameters.values, mean, rtol=1e-5, atol=1e-6)
    assert not np.allclose(one.parameters.values, two.parameters.values, rtol=1e-5, atol=1e-6)


def test_the_mean_is_what_is_validated_and_training_goes_on_from_the_weights():
    images = np.random.default_rng(1).random((40, 1, 6, 6), np.float32)
    data = images, np.arange(40) % 2
    network = CNN(Conv2D(2), Dense(2), seed=4, optimizer=SGD(0.3)).build((1, 6, 6))
    plain = CNN(Conv2D(2), Dense(2), seed=4, optimizer=SGD(0.3))
    history = network.fit(data, data, epochs=3, batch_size=8, ema_decay=0.9, progress=False)
    best = history.records[history.best_epoch - 1]
    assert network.evaluate(data).loss == pytest.approx(best["validation_loss"])
    others = plain.fit(data, data, epochs=3, batch_size=8, progress=False)
    assert [r["loss"] for r in others.records] == [r["loss"] for r in history.records]
    assert [r["validation_loss"] for r in others.records] != [
        r["validation_loss"] for r in history.records
    ]


def test_average_must_be_a_share():
    with pytest.raises(ValueError, match="ema_decay: expected 0 <= value < 1"):
        CNN(Dense(2)).fit((np.zeros((4, 1, 2, 2)), np.arange(4) % 2), ema_decay=1.0)


def test_swapping_twice_changes_nothing():
    weights = np.array([1.0, 2.0])
    average = Average(0.5, weights)
    weights += 3
    average.add()
    now = weights.copy()
    average.swap()
    assert not np.array_equal(weights, now)
    average.swap()
    assert np.array_equal(weights, now)
