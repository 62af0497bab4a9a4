"""Numbers and batches at the edge: tiny sigmoids, constant channels, no images at all."""

import numpy as np
import pytest

from CNN import CNN
from Datasets import Dataset, Scaling
from Filters import Conv2D, MaxPool2D
from glassbox.engine.evaluation import probabilities
from glassbox.kernels import choose
from glassbox.kernels.shapes import ShardPolicy
from MLP import BatchNorm, Dense, Sigmoid


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_probabilities_sum_to_one_where_all_sigmoids_are_tiny(dtype):
    scores = np.array([[1e-30, 3e-30], [0, 0], [1e-45, 1e-45], [0.5, 0.5]], dtype)
    found = probabilities(scores, Sigmoid())
    np.testing.assert_allclose(found, [[0.25, 0.75], [0.5, 0.5], [0.5, 0.5], [0.5, 0.5]], 1e-6)
    assert found.dtype == dtype


def test_a_network_of_sigmoids_far_below_zero_knows_the_most_likely_class(backend):
    network = CNN(Dense(3), kernels=backend).build((1, 2, 2))
    network.layers[0].parameters["bias"][:] = -60, -50, -55
    found = network.predict_proba(np.zeros((2, 1, 2, 2), np.float32))
    assert found.argmax(axis=1).tolist() == [1, 1]
    np.testing.assert_allclose(found.sum(axis=1), 1, rtol=1e-6)
    network.layers[0].parameters["bias"][:] = -1000
    found = network.predict_proba(np.zeros((2, 1, 2, 2), np.float32))
    np.testing.assert_allclose(found, 1 / 3, rtol=1e-6)


@pytest.mark.parametrize("value", [1000.1, 255.3, 3.7])
def test_batch_norm_of_a_constant_channel(backend, value):
    """In float32, at once; PyTorch is off by 8e-6 at most."""
    x = np.full((256, 1, 64, 64), value, np.float32)
    y, _ = CNN(BatchNorm(), kernels=backend).forward(x, training=True)
    assert np.abs(y).max() < 8e-6


def test_batch_norm_of_a_constant_channel_over_shards(backend, monkeypatch):
    """The running mean tells what the mean of the whole batch was; threads change no bit."""
    policy = ShardPolicy(cache_bytes=2**14, smallest=1, largest=8, least_work=1)
    monkeypatch.setattr(choose(backend), "SHARD_POLICY", policy)
    x, labels = np.full((64, 1, 24, 24), 1000.1, np.float32), np.zeros(64, int)
    found = []
    for threads in (1, 2):
        norm = BatchNorm(momentum=1.0)
        network = CNN(norm, Dense(2), kernels=backend, threads=threads)
        network.classes = ("a", "b")
        network.train_step(Dataset(x, labels, ("a", "b"), Scaling("none")))
        np.testing.assert_allclose(norm.buffers["running_mean"], 1000.1, rtol=1e-7)
        assert norm.buffers["running_var"].item() < 1e-9
        found.append(network.parameters.values.tobytes())
    assert found[0] == found[1]


def empty(network, call):
    return {
        "forward": lambda: network.forward(np.zeros((0, 1, 8, 8))),
        "activations": lambda: network.activations(np.zeros((0, 1, 8, 8))),
        "gradient_check": lambda: network.gradient_check(np.zeros((0, 1, 8, 8))),
        "train_step": lambda: network.train_step((np.zeros((4, 1, 8, 8)), [0, 1, 2, 0]), []),
        "mask": lambda: network.train_step((np.zeros((2, 1, 8, 8)), [0, 1]), [False, False]),
        "evaluate": lambda: network.evaluate((np.zeros((0, 1, 8, 8)), np.zeros(0, int))),
    }[call]()


@pytest.mark.parametrize("last", [lambda: Dense(3), lambda: Dense(3, None)])
@pytest.mark.parametrize(
    "call", ["forward", "activations", "gradient_check", "train_step", "mask", "evaluate"]
)
def test_no_images_are_answered_in_plain_words(backend, call, last):
    network = CNN(Conv2D(2), MaxPool2D(2), last(), kernels=backend).build((1, 8, 8))
    with pytest.raises(ValueError, match="at least one image"):
        empty(network, call)
    assert network.scores(np.zeros((0, 1, 8, 8))).shape == (0, 3)
    assert network.predict_proba(np.zeros((0, 1, 8, 8))).shape == (0, 3)
    assert network.predict(np.zeros((0, 1, 8, 8))).shape == (0,)


class Forgetful(Dense):
    def backward(self, dy, cache):
        dx, gradients = super().backward(dy, cache)
        return dx, {name: gradients[name] for name in gradients if name != "bias"}


@pytest.mark.parametrize("others", [[], [BatchNorm()]], ids=["plain", "synchronized"])
@pytest.mark.parametrize("eager", [True, False])
def test_a_gradient_that_backward_leaves_out_is_an_error(backend, eager, others):
    layers = [Conv2D(2), *[layer.clone_unbuilt() for layer in others]]
    network = CNN(*layers, Forgetful(4, name="culprit"), Dense(3), kernels=backend, eager=eager)
    data = (np.ones((6, 1, 4, 4), np.float32), np.array([0, 1, 2, 0, 1, 2]))
    before = network.build((1, 4, 4)).parameters.snapshot()
    with pytest.raises(ValueError, match=r"'culprit': backward gives no gradient .* 'bias'"):
        network.train_step(data)
    assert all(map(np.array_equal, network.parameters.snapshot(), before))
    report = network.gradient_check(data, quiet=True)
    assert [e.array for e in report.errors if not e.passed] == ["bias"]


def test_gradient_check_prints_what_it_measured():
    network = CNN(Conv2D(2), MaxPool2D(2), Dense(3), seed=1)
    report = network.gradient_check(np.random.default_rng(0).random((4, 1, 8, 8)), quiet=True)
    assert report.passed
    assert all(0 < e.measured <= 2e-5 for e in report.errors if e.array == "weight")
    assert "0.0e+00" not in str(report)
