"""Weights of images and classes, labels that are ignored, and probabilities in place of labels."""

import numpy as np
import pytest
from sklearn.utils.class_weight import compute_sample_weight

from CNN import CNN
from Datasets import Dataset, Scaling
from Filters import Conv2D, MaxPool2D
from glassbox.data.given import class_numbers
from glassbox.engine.gradient_check import STEPS
from glassbox.engine.losses import MSE, CrossEntropy
from glassbox.kernels import choose
from glassbox.kernels.shapes import ShardPolicy
from MLP import SGD, BatchNorm, Dense

RANDOM = np.random.default_rng(4)
X = RANDOM.random((40, 1, 6, 6)).astype(np.float32)
Y = RANDOM.integers(0, 3, 40)
W = RANDOM.integers(0, 4, 40)


def net(backend="numpy", norm=False, loss="cross_entropy", **settings):
    layers = [Conv2D(3), *([BatchNorm()] if norm else []), MaxPool2D(2), Dense(3, None)]
    if loss == "mse":
        layers[-1] = Dense(3)
    settings = {"dtype": np.float64, **settings}
    return CNN(*layers, loss=loss, optimizer=SGD(0.1), kernels=backend, **settings)


def trained(network, *arguments, **named):
    for _ in range(3):
        network.train_step(*arguments, **named)
    return network.parameters.values


@pytest.mark.parametrize("loss", ["mse", "cross_entropy"])
@pytest.mark.parametrize("eager", [True, False])
def test_weights_are_repetitions(backend, loss, eager):
    repeated = np.repeat(np.arange(40), W)
    one = net(backend, loss=loss, eager=eager)
    two = net(backend, loss=loss, eager=eager)
    found = trained(one, (X, Y), sample_weight=W)
    expected = trained(two, (X[repeated], Y[repeated]))
    np.testing.assert_allclose(found, expected, rtol=1e-10, atol=1e-12)
    unweighted = trained(net(backend, loss=loss, eager=eager), (X, Y))
    assert np.abs(found - unweighted).max() > 1e-4
    found, expected = one.evaluate((X, Y, W)), two.evaluate((X[repeated], Y[repeated]))
    assert found.loss == pytest.approx(expected.loss)
    assert found.accuracy == pytest.approx(expected.accuracy)
    assert found.loss == pytest.approx(one.evaluate((X, Y), sample_weight=W).loss)


@pytest.mark.parametrize("norm", [False, True])
@pytest.mark.parametrize("soft", [False, True])
def test_captured_is_eager_is_sharded(backend, norm, soft, monkeypatch):
    labels = RANDOM.dirichlet(np.ones(3), 40) if soft else Y
    eager = trained(net(backend, norm, eager=True, threads=1), (X, labels, W))
    captured = net(backend, norm)
    np.testing.assert_allclose(trained(captured, (X, labels, W)), eager, rtol=1e-9, atol=1e-11)
    policy = ShardPolicy(cache_bytes=2**13, smallest=1, largest=8, least_work=1)
    monkeypatch.setattr(choose(backend), "SHARD_POLICY", policy)
    one, two = (trained(net(backend, norm, threads=n), (X, labels, W)) for n in (1, 2))
    assert one.tobytes() == two.tobytes()
    np.testing.assert_allclose(one, eager, rtol=1e-9, atol=1e-11)


def test_a_captured_step_without_weights_follows_one_with_weights(backend):
    networks = net(backend), net(backend, eager=True)
    for network in networks:
        network.train_step((X, Y, W))
        network.train_step((X, Y))
        network.train_step((X, Y), sample_weight=W)
    one, two = (network.parameters.values for network in networks)
    np.testing.assert_allclose(one, two, rtol=1e-10, atol=1e-12)


def test_weighted_loss_by_hand():
    """As torch.nn.functional.cross_entropy(weight=c) has it: sum of c[y] l over sum of c[y]."""
    network, c = net().build((1, 6, 6)), np.array([0.5, 2.0, 1.0])
    p = network.scores(X)
    losses = -np.log(p[np.arange(40), Y])
    expected = (c[Y] * losses).sum() / c[Y].sum()
    data = Dataset(X, Y, ("a", "b", "c"), Scaling("none")).weighted(class_weight=c)
    assert network.evaluate(data).loss == pytest.approx(expected)
    right = p.argmax(axis=1) == Y
    assert network.evaluate(data).accuracy == pytest.approx((c[Y] * right).sum() / c[Y].sum())
    loss, hits = network.train_step(data)
    assert loss / 40 == pytest.approx(expected)
    assert hits == round(40 * (c[Y] * right).sum() / c[Y].sum())


@pytest.mark.parametrize("loss", [MSE(), CrossEntropy(), CrossEntropy(0.1), MSE(0.2)])
def test_gradient_of_soft_labels(loss):
    random = np.random.default_rng(0)
    z, t = random.standard_normal((4, 5)), random.dirichlet(np.ones(4), 5)
    kept = t.copy()
    _, cache = loss.forward(z, t)
    dz = loss.backward(cache, 5)
    direction, h = random.standard_normal(z.shape), STEPS[0]
    above, below = (loss.forward(z + s * direction, t)[0].sum() / 5 for s in (h, -h))
    assert (above - below) / (2 * h) == pytest.approx((dz * direction).sum(), rel=1e-6)
    assert np.array_equal(t, kept)


def test_soft_labels_that_are_one_hot_are_the_labels(backend):
    one_hot = np.eye(3)[Y]
    hard, soft = trained(net(backend), (X, Y)), trained(net(backend), (X, one_hot))
    np.testing.assert_allclose(soft, hard, rtol=1e-10, atol=1e-12)
    assert net().evaluate((X, one_hot)).accuracy == net().evaluate((X, Y)).accuracy


def test_ignored_labels_count_nothing(backend):
    hidden = np.where(W == 0, -1, Y)
    one, two = net(backend), net(backend)
    settings = {"epochs": 1, "batch_size": 40, "shuffle": False, "progress": False}
    one.fit((X, hidden), class_weight={-1: 0}, **settings)
    two.fit((X[W > 0], Y[W > 0]), **settings)
    np.testing.assert_allclose(one.parameters.values, two.parameters.values, rtol=1e-10, atol=1e-12)
    with pytest.raises(ValueError, match="labels must lie in 0"):
        net(backend).fit((X, hidden), **settings)
    before = one.parameters.values.copy()
    one.train_step((X, Y), sample_weight=np.zeros(40))
    assert np.array_equal(one.parameters.values, before)


def test_balanced_is_scikit_learns():
    data = Dataset(X, Y, ("a", "b", "c"), Scaling("none"))
    found = data.weighted(class_weight="balanced").weights
    np.testing.assert_allclose(found, compute_sample_weight("balanced", Y))
    again = data.weighted(W, {"b": 3, 2: 0.5}).subset([3, 1, 2]).weights
    each = np.array([1, 3, 0.5])
    np.testing.assert_allclose(again, (W * each[Y])[[3, 1, 2]])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (([1, 2],), "sample_weight: expected numbers of shape"),
        ((-np.ones(40),), "sample_weight: expected finite numbers of 0 or more"),
        ((np.full(40, np.nan),), "sample_weight: expected finite"),
        ((None, {"d": 1}), "class_weight: 'd' is not a class"),
        ((None, {7: 1}), "class_weight: 7 is not a class"),
        ((None, [1, 2]), "class_weight: expected numbers of shape"),
    ],
)
def test_weights_that_do_not_fit(arguments, message):
    with pytest.raises(ValueError, match=message):
        Dataset(X, Y, ("a", "b", "c"), Scaling("none")).weighted(*arguments)


def test_soft_labels_that_do_not_fit():
    with pytest.raises(ValueError, match="targets: expected the probabilities of each image"):
        net().evaluate((X, np.ones((40, 3))))
    with pytest.raises(ValueError, match="every image has the weight 0"):
        net().evaluate((X, Y, np.zeros(40)))


def test_resume_is_the_same_run_and_other_weights_are_another(tmp_path):
    settings = {"batch_size": 16, "progress": False, "sample_weight": W}
    whole = net()
    history = whole.fit((X, Y), epochs=4, **settings)
    file = tmp_path / "run.safetensors"
    net().fit((X, Y), epochs=2, checkpoint=file, **settings)
    with pytest.raises(ValueError, match="belongs to another run, where images was"):
        net().fit((X, Y), epochs=4, resume=file, **{**settings, "sample_weight": W + 1})
    again = net()
    resumed = again.fit((X, Y), epochs=4, resume=file, allow_changes=True, **settings)
    assert again.parameters.values.tobytes() == whole.parameters.values.tobytes()
    assert resumed.running == history.running


def test_the_image_without_probabilities_is_named():
    soft = np.full((6, 4), 0.25)
    soft[3, 1] = soft[5, 0] = np.nan
    with pytest.raises(ValueError, match=r"2 of 24 labels are missing, .* of image 3;"):
        class_numbers(soft, (), 4)
