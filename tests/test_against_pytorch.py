"""Layers and whole networks against numbers that PyTorch computed (make_pytorch_numbers.py)."""

import numpy as np
import pytest

from CNN import CNN
from Filters import AvgPool2D, Conv2D, MaxPool2D
from glassbox.engine.layer import BuildContext, Context
from glassbox.engine.names import loss_named
from glassbox.kernels import choose
from glassbox.kernels.shapes import ShardPolicy
from MLP import SGD, BatchNorm, Dense, ReLU


def close(found, expected):
    np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-11)


def last(array):
    return np.ascontiguousarray(np.moveaxis(array, 0, -1))


def first(array):
    return np.moveaxis(array, -1, 0)


def built(layer, images, backend):
    """The layer, built in float64 for images (samples, ...)."""
    context = BuildContext(np.random.default_rng(0), np.dtype(np.float64), choose(backend))
    layer.build(images.shape[1:], context)
    return layer


def pair(value):
    return tuple(value) if isinstance(value, list) else value


# --- pooling ---------------------------------------------------------------------------------


@pytest.mark.parametrize("number", range(6))
def test_max_pooling_and_its_ties(pytorch, backend, number):
    """Pixels are 0, 1 or 2, so nearly every window has a tie: the first of them gets all."""
    case = pytorch["pooling"]["max"][number]
    given = case["settings"]
    layer = MaxPool2D(
        pair(given["kernel_size"]), pair(given["stride"]), given.get("padding", 0),
        given.get("ceil_mode", False),
    )  # fmt: skip
    check_pooling(built(layer, case["x"], backend), case)


@pytest.mark.parametrize("number", range(5))
def test_max_pooling_dilated_or_larger_than_the_image(pytorch, backend, number):
    case = pytorch["odd_pooling"]["max"][number]
    layer = MaxPool2D(**{name: pair(value) for name, value in case["settings"].items()})
    check_pooling(built(layer, case["x"], backend), case)


@pytest.mark.parametrize("number", range(4))
def test_average_pooling_larger_than_the_image(pytorch, backend, number):
    case = pytorch["odd_pooling"]["average"][number]
    layer = AvgPool2D(**{name: pair(value) for name, value in case["settings"].items()})
    check_pooling(built(layer, case["x"], backend), case)


@pytest.mark.parametrize("number", range(12))
def test_average_pooling_and_what_it_divides_by(pytorch, backend, number):
    case = pytorch["pooling"]["average"][number]
    given = case["settings"]
    layer = AvgPool2D(
        pair(given["kernel_size"]), pair(given["stride"]), pair(given.get("padding", 0)),
        given.get("ceil_mode", False), given["count_include_pad"],
    )  # fmt: skip
    check_pooling(built(layer, case["x"], backend), case)


def check_pooling(layer, case):
    y, cache = layer.forward(last(case["x"]), Context(True))
    close(first(y), case["y"])
    dx, _ = layer.backward(last(case["dy"]), cache)
    close(first(dx), case["dx"])


# --- batch normalization ---------------------------------------------------------------------


@pytest.mark.parametrize("form", ["volume", "row"])
def test_batch_norm_in_training_and_in_use(pytorch, backend, form):
    """Two batches, so that the running averages have moved twice; then the averages are used."""
    case = pytorch["batch_norm"][form]
    layer = built(BatchNorm(momentum=0.3, epsilon=1e-3), case["x"], backend)
    layer.parameters = {"weight": case["weight"], "bias": case["bias"]}
    for batch in case["batches"]:
        y, cache = layer.forward(last(batch["x"]), Context(True, batch=len(batch["x"])))
        close(first(y), batch["y"])
        dx, gradients = layer.backward(last(batch["dy"]), cache)
        close(first(dx), batch["dx"])
        close(gradients["weight"], batch["weight"])
        close(gradients["bias"], batch["bias"])
        layer.after_step(cache)
        close(layer.buffers["running_mean"], batch["running_mean"])
        close(layer.buffers["running_var"], batch["running_var"])
    y, _ = layer.forward(last(case["x"]), Context(False))
    close(first(y), case["y"])


# --- networks --------------------------------------------------------------------------------


@pytest.mark.parametrize("loss", ["mse", "cross_entropy"])
def test_network_forward_loss_and_every_gradient(pytorch, backend, loss):
    case = pytorch["network"]
    network = CNN(
        Conv2D(4, 3, padding=1),
        MaxPool2D(2, ceil_mode=True),
        Conv2D(3, (3, 2), stride=(2, 1), padding=(1, 0), activation="sigmoid"),
        AvgPool2D(2, ceil_mode=True),
        Dense(6, activation="tanh"),
        Dense(5, activation="sigmoid" if loss == "mse" else "softmax"),
        loss=loss, dtype=np.float64, kernels=backend,
    ).build((2, 9, 8))  # fmt: skip
    give(network, case["parameters"])
    expected = case["runs"][loss]
    outputs, caches = network.forward(case["x"], training=True)
    close(outputs, expected["outputs"])
    losses, cache = network.loss.forward(last(outputs), case["labels"].astype(int))
    close(losses.mean(), expected["loss"])
    dy = network.loss.backward(cache, len(case["x"]))
    gradients = network.backward(first(dy), caches)
    assert gradients.keys() == expected["gradients"].keys()
    for layer, own in expected["gradients"].items():
        assert gradients[layer].keys() == own.keys()
        for name, value in own.items():
            close(gradients[layer][name], value)


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("shard", [8, 64])
def test_step_with_batch_norm_whole_and_in_shards(pytorch, backend, monkeypatch, shard, threads):
    """40 images as one shard, and as eight of five: the statistics are the whole batch's."""
    monkeypatch.setattr(choose(backend), "SHARD_POLICY", ShardPolicy(2**20, shard, shard, 0))
    case = pytorch["one_step"]
    network = CNN(
        Conv2D(2, 3, activation=None, bias=False),
        BatchNorm(),
        ReLU(),
        MaxPool2D(2),
        Dense(3, activation=None),
        loss="cross_entropy", optimizer=SGD(0.5, momentum=0.9), threads=threads,
        dtype=np.float64, kernels=backend,
    ).build((1, 5, 6))  # fmt: skip
    give(network, case["before"])
    images, labels = case["x"].astype(np.float32), case["labels"].astype(int)
    loss, _ = network.train_step((images, labels))
    close(loss / 40, case["loss"])
    for layer in network.layers:
        for name, array in layer.parameters.items():
            close(array, case["after"][layer.name][name])
    norm = network.layers[1]
    close(norm.buffers["running_mean"], case["running_mean"])
    close(norm.buffers["running_var"], case["running_var"])


def give(network, parameters):
    """Put these arrays into the network's own."""
    for layer in network.layers:
        for name, array in layer.parameters.items():
            array[...] = parameters[layer.name][name]


# --- losses ----------------------------------------------------------------------------------


@pytest.mark.parametrize("number", range(4))
def test_loss_and_gradient(pytorch, number):
    case = pytorch["losses"][number]
    loss = loss_named(case["name"], case["smoothing"])
    losses, cache = loss.forward(last(case["outputs"]), case["labels"].astype(int))
    close(losses.mean(), case["loss"])
    close(first(loss.backward(cache, len(losses))), case["gradient"])
