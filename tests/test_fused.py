"""Layers that are computed in one go: the same numbers as one after the other."""

from types import SimpleNamespace

import numpy as np
import pytest

import glassbox.engine.optimizers
from CNN import CNN
from Filters import AvgPool2D, Conv2D, MaxPool2D, Residual
from glassbox.engine.capture.executor import FusedUpdate, fused_kernel
from glassbox.engine.capture.fused import ConvPool, LeakyUnit, NormUnit, Unit, fuse
from glassbox.engine.layer import BuildContext, Context
from glassbox.engine.losses import MSE
from glassbox.engine.optimizers import ParameterGroup
from glassbox.engine.parallel import Workers
from glassbox.engine.parameters import Parameters
from glassbox.engine.schedules import Progress
from glassbox.engine.step import Executor
from glassbox.engine.synced import alone
from glassbox.kernels import choose
from glassbox.kernels.recorder import record, replay
from MLP import SGD, Adadelta, Adam, AdamW, BatchNorm, Dense, Dropout, LeakyReLU, ReLU, RMSprop


def built(layers, shape, backend, dtype=np.float32):
    rng = np.random.default_rng(3)
    for layer in layers:
        shape = layer.build(shape, BuildContext(rng, np.dtype(dtype), choose(backend)))
        if "bias" in layer.parameters:
            layer.parameters["bias"][:] = rng.normal(0, 0.3, layer.parameters["bias"].shape)
    return layers


def there_and_back(units, x):
    """The output, dx, and the gradients of the first layer."""
    (unit,) = units
    y, caches = alone(unit.forward_program(x, Context(training=True)))
    dy = np.random.default_rng(5).standard_normal(y.shape).astype(x.dtype)
    dx, gradients = alone(unit.backward_program(dy, caches))
    return y, dx, gradients[0]


POOLS = [
    (lambda: Conv2D(5, 3), lambda: MaxPool2D(2)),
    (lambda: Conv2D(5, 3, activation="relu"), lambda: MaxPool2D(2)),
    (lambda: Conv2D(4, (2, 3), stride=(2, 1), padding=1), lambda: MaxPool2D(3, stride=2)),
    (lambda: Conv2D(3, 3, activation=LeakyReLU(0.3)), lambda: MaxPool2D(3, stride=2, padding=1)),
    (lambda: Conv2D(16, 3, bias=False), lambda: MaxPool2D((2, 3), ceil_mode=True)),
]


@pytest.mark.parametrize("case", POOLS)
@pytest.mark.parametrize("samples", [1, 20])
def test_joined_is_the_same_as_one_after_the_other(case, samples, backend):
    """Outputs, dx and dw to the last bit; the bias adds fewer numbers, so it may round."""
    layers = built([make() for make in case], (16, 9, 8), backend)
    joined = fuse(layers, {}, backend == "compiled")
    assert [type(unit) for unit in joined] == [ConvPool]
    x = np.random.default_rng(4).standard_normal((16, 9, 8, samples)).astype(np.float32)
    y, dx, own = there_and_back([Unit(*layers)], x)
    y2, dx2, own2 = there_and_back(joined, x)
    assert np.array_equal(y, y2)
    assert np.array_equal(dx, dx2)
    assert list(own) == list(own2)
    assert np.array_equal(own["weight"], own2["weight"])
    if "bias" in own:
        np.testing.assert_allclose(own2["bias"], own["bias"], rtol=1e-4, atol=1e-4)


class MyConv(Conv2D):
    """A convolution that may do anything."""


@pytest.mark.parametrize(
    "layers",
    [
        lambda: [Conv2D(2, activation="sigmoid"), MaxPool2D()],  # equal when saturated
        lambda: [Conv2D(2, activation=None), MaxPool2D()],
        lambda: [Conv2D(2), AvgPool2D()],
        lambda: [MyConv(2), MaxPool2D()],
        lambda: [Conv2D(2), Dropout(0.5), MaxPool2D()],
        lambda: [MaxPool2D(), Conv2D(2)],
    ],
)
def test_nothing_else_is_joined(layers):
    kept = built(layers(), (1, 8, 8), "numpy")
    units = fuse(kept, {}, in_kernel=False)
    assert [(type(unit), unit.layers) for unit in units] == [(Unit, (layer,)) for layer in kept]


def test_what_must_run_as_written_is_not_fused():
    conv, pool = layers = built([Conv2D(2), MaxPool2D()], (1, 8, 8), None)
    assert [type(unit) for unit in fuse(layers, {conv: "edited"}, True)] == [Unit, Unit]
    assert [type(unit) for unit in fuse(layers, {pool: "edited"}, True)] == [LeakyUnit, Unit]


LEAKY = [
    (lambda: Conv2D(5, 3), (2, 6, 7)),
    (lambda: Conv2D(16, 3, activation="relu", bias=False), (16, 6, 7)),
    (lambda: Dense(5, "leaky_relu"), (9,)),
    (lambda: Dense(20, "relu"), (4, 3, 3)),
]


@pytest.mark.parametrize("case", LEAKY)
@pytest.mark.parametrize("samples", [1, 20])
def test_leaky_relu_in_the_kernel_is_the_same_to_the_last_bit(case, samples):
    make, shape = case
    layers = built([make()], shape, "compiled")
    fused = fuse(layers, {}, in_kernel=True)
    assert [type(unit) for unit in fused] == [LeakyUnit]
    x = np.random.default_rng(4).standard_normal((*shape, samples)).astype(np.float32)
    y, dx, own = there_and_back([Unit(*layers)], x)
    y2, dx2, own2 = there_and_back(fused, x)
    assert np.array_equal(y, y2)
    assert np.array_equal(dx, dx2)
    assert all(np.array_equal(own[name], own2[name]) for name in layers[0].parameters)


NORMS = [
    (lambda: [Conv2D(5, 3, activation=None), BatchNorm(), ReLU()], (2, 6, 7)),
    (lambda: [Conv2D(16, activation=None, bias=False), BatchNorm(epsilon=0.1)], (16, 6, 7)),
    (lambda: [Conv2D(3, 1, 2, activation=None), BatchNorm(), LeakyReLU(0.3)], (2, 6, 7)),
    (lambda: [Dense(20, None), BatchNorm(), ReLU()], (4, 3, 3)),
    (lambda: [Dense(5, None, bias=False), BatchNorm()], (9,)),
]


@pytest.mark.parametrize("case", NORMS)
@pytest.mark.parametrize("samples", [1, 20])
def test_running_averages_go_into_the_weights(case, samples):
    """One product for all layers; in every replay with weights and averages as they are then."""
    make, shape = case
    layers = built(make(), shape, "compiled")
    (unit,) = fuse(layers, {}, in_kernel=True)
    assert (type(unit), unit.layers) == (NormUnit, tuple(layers))
    random = np.random.default_rng(4)
    x = random.standard_normal((*shape, samples)).astype(np.float32)
    calls = []
    y, _ = record(unit.forward_program(x, Context()), calls)
    for _ in range(2):
        expected, _ = alone(Unit(*layers).forward_program(x, Context()))
        replay(calls)
        np.testing.assert_allclose(y, expected, rtol=1e-4, atol=1e-4)
        for layer in layers:
            for array in (*layer.parameters.values(), *layer.buffers.values()):
                array += random.uniform(0.1, 1, array.shape).astype(np.float32)


@pytest.mark.parametrize(
    "layers",
    [
        lambda: [Conv2D(2), BatchNorm()],  # it normalizes what the leaky ReLU leaves
        lambda: [Conv2D(2, activation=None), MaxPool2D(), BatchNorm()],
        lambda: [BatchNorm(), Conv2D(2, activation=None)],
        lambda: [MyConv(2, activation=None), BatchNorm(), ReLU()],
        lambda: [Conv2D(2, activation=None), ReLU(), BatchNorm()],
    ],
)
def test_no_other_normalization_goes_into_weights(layers):
    units = fuse(built(layers(), (1, 8, 8), "compiled"), {}, in_kernel=True)
    assert NormUnit not in [type(unit) for unit in units]


def test_what_must_run_as_written_is_not_normalized_in_its_weights():
    conv, norm, relu = layers = built(
        [Conv2D(2, activation=None), BatchNorm(), ReLU()], (1, 8, 8), "compiled"
    )
    for edited, kinds in ((conv, [Unit] * 3), (norm, [Unit] * 3), (relu, [NormUnit, Unit])):
        assert [type(unit) for unit in fuse(layers, {edited: "edited"}, True)] == kinds


def test_the_layers_of_a_block_are_fused_too():
    inside = [Conv2D(4, activation=None), BatchNorm(), ReLU(), Conv2D(4, activation=None)]
    (block,) = built([Residual(*inside, BatchNorm())], (4, 8, 8), "compiled")
    (unit,) = fuse([block], {}, in_kernel=True)
    assert [type(each) for each in unit.units] == [NormUnit, NormUnit]


def test_a_second_pool_stays():
    layers = built([Conv2D(2), MaxPool2D(), MaxPool2D(), Conv2D(2), MaxPool2D()], (1, 8, 8), None)
    assert [type(unit) for unit in fuse(layers, {}, True)] == [ConvPool, Unit, ConvPool]


def test_a_network_trains_its_joined_layers(backend):
    """The weights that move are the layers' own, with the layer's own optimizer and L2."""
    network = CNN(
        Conv2D(3, optimizer=SGD(0.5), l2=0.1), MaxPool2D(2), Dense(2), kernels=backend, seed=1
    ).build((1, 6, 6))
    before = network.layers[0].parameters["weight"].copy()
    group = network.parameters.groups[0]
    assert group.optimizer.learning_rate == 0.5
    assert network.parameters.l2[: before.size] == pytest.approx(0.1)
    images = np.random.default_rng(0).random((8, 1, 6, 6), np.float32)
    network.train_step((images, np.arange(8) % 2))
    assert not np.array_equal(network.layers[0].parameters["weight"], before)


# --- gradients in one vector -------------------------------------------------------------------


def test_a_gradient_that_is_not_given_is_zero(backend):
    layers = built([Dense(2), Dense(3)], (5,), backend)
    parameters = Parameters(layers, SGD(0.1), 0.0, np.float32)
    executor = Executor(layers, MSE(), parameters, (5,), Workers(1), seed=0)
    given = {"bias": np.array([1, 2, 3], np.float32), "weight": np.full((3, 2), 7, np.float32)}
    executor.gather([{}, given], 0)[...] = 9
    flat = executor.gather([{}, given], 0)
    assert flat.tolist() == [0] * 12 + [7] * 6 + [1, 2, 3]


# --- sum and update, piece by piece ----------------------------------------------------------


def update(parameters, gradients, progress, kernels, workers):
    """One step of every group, with fused kernels where there are any."""
    for group in parameters.groups:
        kernel = fused_kernel(group.optimizer, kernels)
        move = None if kernel is None else FusedUpdate(group.optimizer, kernel)
        group.update(parameters, gradients, progress, workers, move)


@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize(
    "kind", [SGD(0.1, 0.9), Adam(), AdamW(), RMSprop(momentum=0.5), Adadelta()]
)
def test_pieces_and_threads_change_no_bit_of_an_update(kind, threads, backend, monkeypatch):
    """Against the whole vector in one go; two groups, none of them a multiple of a piece."""
    random = np.random.default_rng(8)

    def network():
        layers = built([Dense(11, optimizer=kind), Dense(7)], (13,), backend)
        return Parameters(layers, SGD(0.01, momentum=0.5), 0.01, np.float32)

    whole, pieces = network(), network()
    workers = Workers(threads)
    for step in range(3):
        gradients = [random.standard_normal(len(whole)).astype(np.float32) for _ in range(4)]
        progress = Progress(step, 3)
        copies = [vector.copy() for vector in gradients]
        update(whole, copies, progress, choose(backend), Workers(1))
        with monkeypatch.context() as patch:
            patch.setattr(glassbox.engine.optimizers, "PIECE", 20)
            patch.setattr(glassbox.engine.optimizers, "LONG", 50)
            update(pieces, gradients, progress, choose(backend), workers)
        assert whole.values.tobytes() == pieces.values.tobytes()


@pytest.mark.parametrize("length", [1, 19, 20, 21, 49, 50, 51, 1000])
def test_pieces_cover_a_stretch_once(length, monkeypatch):
    monkeypatch.setattr(glassbox.engine.optimizers, "PIECE", 20)
    monkeypatch.setattr(glassbox.engine.optimizers, "LONG", 50)
    values = SimpleNamespace(values=np.zeros(length + 10), l2=None)

    def move(w, g, state, rate):
        assert len(w) <= 20
        w += g

    group = ParameterGroup(SGD(0.1), slice(5, 5 + length), {"steps": 0})
    group.update(values, [np.ones(length + 10)], Progress(), Workers(3), move)
    assert values.values.tolist() == [0] * 5 + [1] * length + [0] * 5


def test_an_overflow_in_a_thread_says_nothing_either(monkeypatch, recwarn):
    """Numbers that overflow are told of by the loss; NumPy's warnings would only come before."""
    monkeypatch.setattr(glassbox.engine.optimizers, "PIECE", 20)
    monkeypatch.setattr(glassbox.engine.optimizers, "LONG", 50)
    layers = built([Dense(20)], (20,), "numpy")
    parameters = Parameters(layers, SGD(1e30), 0.0, np.float32)
    huge = np.full_like(parameters.values, 1e30)
    update(parameters, [huge], Progress(0, 1), choose("numpy"), Workers(2))
    assert np.isinf(parameters.values).any()
    assert not recwarn.list


def test_batches_of_one_shard_and_of_several_in_turn(backend):
    """A capture's own gradient and those of the shards do not get into each other's way."""
    images = np.random.default_rng(9).random((64, 1, 8, 8), np.float32)
    data = (images, np.arange(64) % 3)
    steps = []
    for threads in (1, 2):
        network = CNN(Conv2D(4), MaxPool2D(), Dense(3), kernels=backend, seed=2, threads=threads)
        for where in (np.arange(64), np.arange(7), np.arange(64)):
            network.train_step(data, where)
        steps.append(network.parameters.values.tobytes())
    assert steps[0] == steps[1]
