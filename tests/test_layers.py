"""One contract for every layer, values worked out by hand, and what a wrong call is told."""

import copy
import inspect
import threading
from collections.abc import Callable

import numpy as np
import pytest

import Filters
import MLP
from CNN import CNN
from Filters import AvgPool2D, Conv2D, GlobalAvgPool2D, MaxPool2D, Residual
from glassbox.engine.layer import Activation, BuildContext, Context, Layer
from glassbox.engine.more_layers import LogSoftmax, ReLU6
from glassbox.engine.names import ACTIVATIONS
from glassbox.engine.receptive_field import ReceptiveField
from glassbox.engine.synced import SyncLayer
from glassbox.kernels import BACKENDS, choose
from glassbox.kernels.shapes import Shape
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

# Every layer with several settings: how to make one, and the shape of its input.  test_gradients.py
# takes the same list, so a layer added here is checked by all of it.
CASES: list[tuple[Callable[[], Layer], Shape]] = [
    (lambda: Conv2D(4, 3), (3, 5, 7)),
    (lambda: Conv2D(2, (2, 3), padding="valid", activation="tanh"), (3, 6, 5)),
    (lambda: Conv2D(3, (3, 2), stride=(2, 3), padding=1, activation="sigmoid"), (2, 7, 6)),
    (lambda: Conv2D(5, 3, dilation=2, activation=None, bias=False), (1, 6, 7)),
    (lambda: Conv2D(2, 1, activation="relu"), (3, 4, 5)),
    (lambda: Conv2D(2, (2, 4), padding="same", activation="softmax"), (2, 5, 6)),
    (lambda: Conv2D(2, 3, padding=(3, 4), activation=LeakyReLU(0.2)), (2, 4, 3)),
    (lambda: Conv2D(2, (2, 3), stride=2, padding=((0, 2), (3, 1))), (2, 5, 4)),
    (lambda: MaxPool2D(2), (3, 6, 8)),
    (lambda: MaxPool2D((3, 2), stride=2, padding=1, ceil_mode=True), (2, 7, 6)),
    (lambda: MaxPool2D(3, stride=1, padding="same"), (1, 4, 5)),
    (lambda: MaxPool2D(2, dilation=(2, 3), padding=1), (2, 5, 7)),
    (lambda: MaxPool2D((5, 4), 4, ceil_mode=True), (2, 2, 3)),
    (lambda: AvgPool2D(2), (3, 6, 8)),
    (lambda: AvgPool2D((5, 4), 4, ceil_mode=True), (2, 2, 3)),
    (lambda: AvgPool2D((3, 2), stride=2, padding=1, ceil_mode=True), (2, 7, 6)),
    (lambda: AvgPool2D(3, stride=2, padding=1, count_include_pad=False), (2, 5, 6)),
    (lambda: AvgPool2D(3, stride=2, padding=((0, 2), (1, 0)), ceil_mode=True), (2, 5, 7)),
    (lambda: GlobalAvgPool2D(), (3, 4, 5)),
    (lambda: Dense(4), (6,)),
    (lambda: Dense(3, activation="softmax"), (2, 3, 4)),
    (lambda: Dense(5, activation=None, bias=False), (7,)),
    (lambda: Dense(1, activation="leaky_relu"), (1,)),
    (lambda: Flatten(), (3, 4, 5)),
    (lambda: Flatten(), (6,)),
    (lambda: Dropout(0.4), (3, 4, 5)),
    (lambda: Dropout(0.0), (6,)),
    (lambda: BatchNorm(), (3, 4, 5)),
    (lambda: BatchNorm(momentum=0.5, epsilon=1e-2), (6,)),
    (lambda: Residual(Conv2D(3, 3), Dropout(0.3), Conv2D(3, 3, activation=None)), (3, 4, 5)),
    (lambda: Residual(Conv2D(4, 3, stride=2), BatchNorm(), Conv2D(4, 3)), (3, 5, 6)),
    (lambda: Residual(Residual(Conv2D(2, 3)), BatchNorm(), activation="tanh"), (1, 4, 3)),
    (lambda: LeakyReLU(0.1), (3, 4, 5)),
    (lambda: ReLU(), (6,)),
    (lambda: Sigmoid(), (3, 4, 5)),
    (lambda: Tanh(), (6,)),
    (lambda: Softmax(), (6,)),
    (lambda: Softmax(), (3, 4, 5)),
    (lambda: Identity(), (3, 4, 5)),
]
LISTED = {type(make()) for make, _ in CASES}
CASES += [(kind, (3, 4, 5)) for kind in ACTIVATIONS.values() if kind not in LISTED]
every_layer = pytest.mark.parametrize(
    ("make", "shape"),
    CASES,
    ids=[f"{k}-{type(make()).__name__}" for k, (make, _) in enumerate(CASES)],
)
both_ways = pytest.mark.parametrize("training", [True, False], ids=["training", "inference"])
BATCH = 3


def build(make, shape, dtype=np.float64, backend=None, seed=0) -> Layer:
    """The layer, built, with biases and scales that are not all alike."""
    layer = make()
    rng = np.random.default_rng(seed)
    layer.number = 1
    layer.build(shape, BuildContext(rng, np.dtype(dtype), choose(backend)))
    for name, array in layer.parameters.items():
        if name != "weight":
            array += rng.normal(0, 0.3, array.shape).astype(dtype)
    return layer


def some(shape, batch=BATCH, dtype=np.float64, seed=1):
    """Images or rows (..., samples)."""
    return np.random.default_rng(seed).standard_normal((*shape, batch)).astype(dtype)


def arrays_in(value) -> list[np.ndarray]:
    """All arrays somewhere inside what a layer remembers."""
    if isinstance(value, np.ndarray):
        return [value]
    if isinstance(value, (tuple, list)):
        return [array for inner in value for array in arrays_in(inner)]
    return arrays_in(list(value.values())) if isinstance(value, dict) else []


def picture(value):
    """Everything on a layer, the activation in it included, in a form that == can compare."""
    if isinstance(value, Layer):
        return {key: picture(inner) for key, inner in vars(value).items() if key != "kernels"}
    if isinstance(value, dict):
        return {key: picture(inner) for key, inner in value.items()}
    if isinstance(value, np.ndarray):
        return value.dtype, value.shape, value.tobytes()
    return value


def test_every_layer_class_is_among_the_cases():
    """A layer that is added to the framework must be added here."""
    public = {
        kind
        for module in (Filters, MLP)
        for kind in vars(module).values()
        if inspect.isclass(kind) and issubclass(kind, Layer) and kind.__name__ in module.__all__
    }
    assert LISTED | set(ACTIVATIONS.values()) == public - {Activation} | set(ACTIVATIONS.values())


# --- the contract ----------------------------------------------------------------------------


@both_ways
@every_layer
@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_shapes_and_types(make, shape, training, dtype, backend):
    """What build promises is what forward gives; float32 stays float32, in every array."""
    layer = build(make, shape, dtype, backend)
    context = Context(training, seed=5, step=2, batch=BATCH)
    x = some(shape, dtype=dtype)
    y, cache = layer.forward(x, context)
    assert layer.input_shape == shape
    assert y.shape == (*layer.output_shape, BATCH)
    dy = some(layer.output_shape, dtype=dtype)
    dx, gradients = layer.backward(dy, cache)
    assert dx.shape == x.shape
    assert list(gradients) == list(layer.parameters)
    for name, array in layer.parameters.items():
        assert gradients[name].shape == array.shape
    if training:
        getattr(layer, "after_step", lambda cache: None)(cache)
    found = [y, dx, *gradients.values(), *layer.parameters.values(), *layer.buffers.values()]
    assert {array.dtype for array in found} == {np.dtype(dtype)}
    large = [a for a in arrays_in(cache) if a.ndim > 1]  # not one number for each channel
    floats = [a.dtype for a in large if np.issubdtype(a.dtype, np.floating)]
    assert set(floats) <= {np.dtype(dtype)}, "memory holds another float type"
    assert y.flags.c_contiguous
    assert dx.flags.c_contiguous


@both_ways
@every_layer
def test_nothing_is_changed_and_nothing_kept(make, shape, training):
    """Not the input, not dy, not the memory, not the parameters, nothing on the layer itself."""
    layer = build(make, shape)
    x, dy = some(shape), some(layer.output_shape)
    inside = picture(layer)
    x_copy, dy_copy = x.copy(), dy.copy()
    y, cache = layer.forward(x, Context(training, batch=BATCH))
    held = copy.deepcopy(cache)
    y_copy = y.copy()
    first = layer.backward(dy, cache)
    second = layer.backward(dy, cache)
    assert np.array_equal(x, x_copy)
    assert np.array_equal(dy, dy_copy)
    assert np.array_equal(y, y_copy)
    for now, before in zip(arrays_in(cache), arrays_in(held), strict=True):
        assert np.array_equal(now, before)
    for one, two in zip(arrays_in(first), arrays_in(second), strict=True):
        assert np.array_equal(one, two)
    assert picture(layer) == inside, "something on the layer has changed"


@every_layer
def test_batch_equals_its_images_one_by_one(make, shape):
    """In inference no sample knows of another."""
    layer = build(make, shape)
    for name, buffer in layer.buffers.items():
        buffer += 0.1 if name == "running_mean" else 0.7
    x = some(shape, 5)
    together, _ = layer.forward(x, Context(False))
    for k in range(5):
        alone, _ = layer.forward(np.ascontiguousarray(x[..., k : k + 1]), Context(False))
        np.testing.assert_allclose(together[..., k], alone[..., 0], rtol=1e-12, atol=1e-14)


@every_layer
def test_gaps_in_memory_do_not_matter(make, shape):
    """Arrays that are views of something larger, or samples-first in memory."""
    layer = build(make, shape)
    x, dy = some(shape), some(layer.output_shape)

    def elsewhere(array):
        return np.moveaxis(np.ascontiguousarray(np.moveaxis(array, -1, 0)), 0, -1)

    context = Context(True, batch=BATCH)
    y, cache = layer.forward(x, context)
    y_gaps, memory_gaps = layer.forward(elsewhere(x), context)
    results = layer.backward(dy, cache)
    results_gaps = layer.backward(elsewhere(dy), memory_gaps)
    np.testing.assert_allclose(y_gaps, y, rtol=1e-12, atol=1e-13)
    for one, two in zip(arrays_in(results_gaps), arrays_in(results), strict=True):
        np.testing.assert_allclose(one, two, rtol=1e-11, atol=1e-13)


@every_layer
def test_two_threads_inside_the_same_layer(make, shape):
    """Forward and backward of other batches at the same time: the same bits as one by one."""
    layer = build(make, shape)
    batches = [(some(shape, seed=k), some(layer.output_shape, seed=k + 50)) for k in range(6)]

    def work(k):
        x, dy = batches[k]
        y, cache = layer.forward(x, Context(True, step=k, batch=BATCH))
        barrier.wait()  # the other thread is between its forward and its backward, too
        return arrays_in([y, layer.backward(dy, cache)])

    barrier = threading.Barrier(1)
    alone = [work(k) for k in range(6)]
    barrier = threading.Barrier(2, timeout=60)
    together: dict[int, list[np.ndarray]] = {}

    def several(numbers):
        for k in numbers:
            together[k] = work(k)

    threads = [threading.Thread(target=several, args=(range(s, 6, 2),)) for s in (0, 1)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for k in range(6):
        for one, two in zip(alone[k], together[k], strict=True):
            assert one.tobytes() == two.tobytes()


@every_layer
def test_input_gradient_is_left_out_only_where_told(make, shape):
    """The first layer that learns may skip dx; its own gradients must not change for it."""
    layer = build(make, shape)
    x, dy = some(shape), some(layer.output_shape)
    _, cache = layer.forward(x, Context(True, batch=BATCH))
    _, full = layer.backward(dy, cache)
    layer.needs_input_gradient = False
    dx, short = layer.backward(dy, cache)
    for name, gradient in full.items():
        assert np.array_equal(gradient, short[name])
    assert dx is None or dx.shape == x.shape


@every_layer
def test_copy_of_a_layer_is_independent(make, shape):
    """What sanity_check and gradient_check rely on: a copy that is built anew shares no array."""
    layer = build(make, shape)
    before = copy.deepcopy(layer.parameters)
    twin = copy.copy(layer)
    twin.build(shape, BuildContext(np.random.default_rng(9), np.dtype(np.float64), choose()))
    for array in [*twin.parameters.values(), *twin.buffers.values()]:
        array += 1
    for name, array in layer.parameters.items():
        assert np.array_equal(array, before[name])


def learning(network):
    return [layer.parameters["weight"] for layer in network.layers if "weight" in layer.parameters]


def test_same_seed_same_weights_and_no_two_layers_alike():
    def network(seed):
        return CNN(Conv2D(3), Conv2D(3), Dense(27), Dense(27), Dense(27), seed=seed).build(
            (3, 3, 3)
        )

    first, again, other = network(0), network(0), network(1)
    assert first.parameters.values.tobytes() == again.parameters.values.tobytes()
    for one, two in zip(learning(first), learning(other), strict=True):
        assert not np.array_equal(one, two)
    layers = learning(first)
    for k, one in enumerate(layers):
        for two in layers[k + 1 :]:
            assert one.shape != two.shape or not np.array_equal(one, two)


# --- values by hand --------------------------------------------------------------------------


def only(layer, x, parameters=None, training=False):
    """y and memory of one image (or row), samples left out; parameters given as lists."""
    x = np.array(x, np.float64)[..., None]
    layer.build(x.shape[:-1], BuildContext(np.random.default_rng(0), x.dtype, choose()))
    for name, value in (parameters or {}).items():
        layer.parameters[name] = np.array(value, np.float64)
    y, cache = layer.forward(x, Context(training, batch=1))
    return y[..., 0].tolist(), cache


def back(layer, cache, dy):
    """dx of the one image, and the gradients as lists."""
    dx, gradients = layer.backward(np.array(dy, np.float64)[..., None], cache)
    return dx[..., 0].tolist(), {name: array.tolist() for name, array in gradients.items()}


NINE = [[[1, 2, 3], [4, 5, 6], [7, 8, 9]]]  # one channel, 3 x 3


def test_convolution_by_hand():
    layer = Conv2D(1, 2, padding="valid", activation=None)
    y, cache = only(layer, NINE, {"weight": [[[[1, 10], [100, 1000]]]], "bias": [0.5]})
    # 1 + 20 + 400 + 5000 and so on: the kernel is not turned (a cross-correlation)
    assert y == [[[5421.5, 6532.5], [8754.5, 9865.5]]]
    dx, gradients = back(layer, cache, [[[1, 0], [0, 2]]])
    # the kernel laid down at the top left once, at the bottom right twice; 1000 + 2 in the middle
    assert dx == [[[1, 10, 0], [100, 1002, 20], [0, 200, 2000]]]
    # dw: the window at the top left once and that at the bottom right twice: 1 + 2 * 5, ...
    assert gradients == {"weight": [[[[11, 14], [20, 23]]]], "bias": [3]}


def test_convolution_adds_channels_and_steps():
    """Two channels, stride 2, a border of one: each window sees one or two pixels of each row."""
    layer = Conv2D(1, (1, 2), stride=2, padding=(0, 1), activation=None)
    x = [[[1, 2, 3]], [[10, 20, 30]]]
    y, _ = only(layer, x, {"weight": [[[[1, 2]], [[3, 4]]]], "bias": [0]})
    # (0, 1) and (2, 3): 2 * 1 + 4 * 10; then 2 + 2 * 3 + 3 * 20 + 4 * 30
    assert y == [[[42, 188]]]


def test_convolution_dilated_with_leaky_relu():
    layer = Conv2D(1, (1, 2), padding="valid", dilation=(1, 2), activation=LeakyReLU(0.5))
    y, cache = only(layer, NINE, {"weight": [[[[2, -1]]]], "bias": [-2]})
    # 2 * 1 - 3 - 2 = -3, halved; 2 * 4 - 6 - 2 = 0; 2 * 7 - 9 - 2 = 3
    assert y == [[[-1.5], [0], [3]]]
    dx, gradients = back(layer, cache, [[[1], [1], [1]]])
    assert dx == [[[1, 0, -0.5], [1, 0, -0.5], [2, 0, -1]]]
    # 0.5 * 1 + 0.5 * 4 + 7 and 0.5 * 3 + 0.5 * 6 + 9
    assert gradients == {"weight": [[[[9.5, 13.5]]]], "bias": [2]}


def test_max_pooling_by_hand():
    layer = MaxPool2D(2, stride=1)
    y, cache = only(layer, [[[1, 5, 2], [5, 3, 9]]])
    assert y == [[[5, 9]]]
    # the first window has two fives: the first of them gets it
    assert back(layer, cache, [[[10, 20]]])[0] == [[[0, 10, 0], [0, 0, 20]]]


def test_max_pooling_adds_what_two_windows_give():
    layer = MaxPool2D(2, stride=1)
    y, cache = only(layer, [[[1, 9, 2], [5, 3, 4]]])
    assert y == [[[9, 9]]]
    assert back(layer, cache, [[[10, 20]]])[0] == [[[0, 30, 0], [0, 0, 0]]]


def test_average_pooling_by_hand():
    layer = AvgPool2D(2)
    y, cache = only(layer, [[[1, 2, 9], [3, 6, 9]]])  # the last column is left over
    assert y == [[[3]]]
    assert back(layer, cache, [[[8]]])[0] == [[[2, 2, 0], [2, 2, 0]]]


def test_average_pooling_with_border_and_ceil():
    """Windows of 2 at -1 and 1; with padding counted the corner is divided by 4, else by 1."""
    y, _ = only(AvgPool2D(2, padding=1), NINE)
    assert y == [[[1 / 4, 5 / 4], [11 / 4, 28 / 4]]]
    y, _ = only(AvgPool2D(2, padding=1, count_include_pad=False), NINE)
    assert y == [[[1, 5 / 2], [11 / 2, 28 / 4]]]
    # windows at 0 and 2; what sticks out never counts
    y, _ = only(AvgPool2D(2, ceil_mode=True), NINE)
    assert y == [[[12 / 4, 9 / 2], [15 / 2, 9]]]


def test_global_average_by_hand():
    layer = GlobalAvgPool2D()
    y, cache = only(layer, [[[1, 2, 3]], [[4, 4, 10]]])
    assert y == [2, 6]
    assert back(layer, cache, [3, 6])[0] == [[[1, 1, 1]], [[2, 2, 2]]]


def test_dense_by_hand():
    layer = Dense(2, activation=None)
    y, cache = only(layer, [1, 2, 3], {"weight": [[1, 0, -1], [2, 1, 0]], "bias": [10, 20]})
    assert y == [8, 24]
    dx, gradients = back(layer, cache, [1, 10])
    assert dx == [1 + 20, 10, -1]
    assert gradients == {"weight": [[1, 2, 3], [10, 20, 30]], "bias": [1, 10]}


def test_dense_takes_a_volume_channel_by_channel():
    layer = Dense(1, activation=None, bias=False)
    y, _ = only(layer, [[[1, 2]], [[3, 4]]], {"weight": [[1, 10, 100, 1000]]})
    assert y == [4321]


def test_flatten_by_hand():
    layer = Flatten()
    y, cache = only(layer, [[[1, 2], [3, 4]], [[5, 6], [7, 8]]])
    assert y == [1, 2, 3, 4, 5, 6, 7, 8]
    assert back(layer, cache, y)[0] == [[[1, 2], [3, 4]], [[5, 6], [7, 8]]]


def test_activations_by_hand():
    assert only(LeakyReLU(0.5), [-2, 0, 3])[0] == [-1, 0, 3]
    assert only(ReLU(), [-2, 0, 3])[0] == [0, 0, 3]
    assert only(Identity(), [-2, 0, 3])[0] == [-2, 0, 3]
    # 1 / (1 + e^-log 3) = 1 / (1 + 1/3)
    assert only(Sigmoid(), [0, np.log(3)])[0] == pytest.approx([0.5, 0.75])
    # tanh(log 2) = (2 - 1/2) / (2 + 1/2)
    assert only(Tanh(), [0, np.log(2)])[0] == pytest.approx([0, 0.6])
    assert only(Softmax(), np.log([1, 2, 5]))[0] == pytest.approx([1 / 8, 2 / 8, 5 / 8])
    assert only(LogSoftmax(), np.log([1, 2, 5]))[0] == pytest.approx(np.log([1 / 8, 2 / 8, 5 / 8]))
    assert only(ReLU6(), [-2, 3, 9])[0] == [0, 3, 6]


def test_activation_gradients_by_hand():
    for layer, x, dy, expected in [
        (LeakyReLU(0.5), [-2, 0, 3], [4, 4, 4], [2, 2, 4]),
        (ReLU(), [-2, 0, 3], [4, 4, 4], [0, 0, 4]),
        (Identity(), [-2, 0, 3], [4, 5, 6], [4, 5, 6]),
        (Sigmoid(), [0, np.log(3)], [4, 16], [4 / 4, 16 * 3 / 16]),  # y (1 - y)
        (Tanh(), [0, np.log(2)], [1, 1], [1, 0.64]),  # 1 - 0.6^2
        # y (dy - sum y dy), the sum being 8 / 8 = 1
        (Softmax(), np.log([1, 2, 5]), [8, 0, 0], [7 / 8, -2 / 8, -5 / 8]),
        (LogSoftmax(), np.log([1, 2, 5]), [8, 0, 0], [7, -2, -5]),  # dy - e^y sum dy
        (ReLU6(), [-2, 3, 9], [4, 4, 4], [0, 4, 0]),
    ]:
        _, cache = only(layer, x)
        assert back(layer, cache, dy)[0] == pytest.approx(expected), type(layer).__name__


def test_batch_norm_by_hand():
    """Values 1 and 5: mean 3, variance 4 (unbiased 8); epsilon 0.41 makes 4.41, the root 2.1."""
    layer = BatchNorm(momentum=0.25, epsilon=0.41)
    layer.build((1,), BuildContext(np.random.default_rng(0), np.dtype(np.float64), choose()))
    layer.parameters = {"weight": np.array([2.1]), "bias": np.array([10.0])}
    y, cache = layer.forward(np.array([[1.0, 5.0]]), Context(True, batch=2))
    assert y[0].tolist() == pytest.approx([10 - 2, 10 + 2])
    layer.after_step(cache)
    assert layer.buffers["running_mean"].tolist() == pytest.approx([0.25 * 3])
    assert layer.buffers["running_var"].tolist() == pytest.approx([0.75 * 1 + 0.25 * 8])
    dx, gradients = layer.backward(np.array([[1.0, 0.0]]), cache)
    # xhat = -2 / 2.1 and 2 / 2.1; mean of dy 1/2, of dy xhat -1 / 2.1
    assert gradients["bias"].tolist() == [1]
    assert gradients["weight"].tolist() == pytest.approx([-2 / 2.1])
    left = 1 - 0.5 - (-2 / 2.1) * (-1 / 2.1)
    assert dx[0].tolist() == pytest.approx([left, -left])
    # in use: (3 - 0.75) / sqrt(2.75 + 0.41) 2.1 + 10
    y, _ = layer.forward(np.array([[3.0]]), Context(False))
    assert y.item() == pytest.approx(10 + 2.1 * 2.25 / np.sqrt(3.16))


# --- dropout ---------------------------------------------------------------------------------


def dropped(context, rate=0.3, shape=(4, 5, 6), number=1, x=None):
    layer = build(lambda: Dropout(rate), shape)
    layer.number = number
    return layer.forward(np.ones((*shape, 50)) if x is None else x, context)


def test_dropout_keeps_the_mean_and_scales_what_stays():
    y, cache = dropped(Context(True))
    assert np.unique(y).tolist() == pytest.approx([0, 1 / 0.7], abs=2e-5)  # in 65,536ths
    assert np.mean(y == 0) == pytest.approx(0.3, abs=0.02)
    assert y.mean() == pytest.approx(1, abs=0.03)
    layer = build(lambda: Dropout(0.3), (4, 5, 6))
    dx, _ = layer.backward(np.ones_like(y), cache)
    assert np.array_equal(dx, y)  # the same places, the same factor


def test_dropout_does_nothing_in_use_or_at_rate_zero():
    assert (dropped(Context(False))[0] == 1).all()
    assert (dropped(Context(True), rate=0.0)[0] == 1).all()


def test_dropout_follows_seed_step_shard_and_place_alone():
    def mask(number=1, **key):
        return dropped(Context(True, **key), number=number)[0]

    base = mask(seed=1, step=2, shard=3)
    assert np.array_equal(base, mask(seed=1, step=2, shard=3, batch=99))
    others = [
        mask(seed=0, step=2, shard=3), mask(seed=1, step=3, shard=3),
        mask(seed=1, step=2, shard=2), mask(seed=1, step=2, shard=3, number=2),
    ]  # fmt: skip
    for other in others:
        assert np.mean(base == other) == pytest.approx(0.7**2 + 0.3**2, abs=0.03)


# --- what users are told ---------------------------------------------------------------------


def build_in_network(layer, shape=(3, 6, 6)):
    return lambda: CNN(layer()).build(shape)


VOLUME = r"expected input \(channels, height, width\), got \(7,\); put it before the first Dense"
ERRORS = [
    (build_in_network(lambda: Conv2D(2), (7,)), ValueError, "Conv2D 'conv1': " + VOLUME),
    (build_in_network(lambda: MaxPool2D(2), (7,)), ValueError, "MaxPool2D 'pool1': " + VOLUME),
    (build_in_network(lambda: AvgPool2D(2), (7,)), ValueError, "AvgPool2D 'pool1': " + VOLUME),
    (build_in_network(GlobalAvgPool2D, (7,)), ValueError, "GlobalAvgPool2D 'pool1': " + VOLUME),
    (
        build_in_network(lambda: Conv2D(2, 7, padding="valid", name="eye")),
        ValueError,
        r"Conv2D 'eye': the kernel spans \(7, 7\) pixels but its padded input has only \(6, 6\)",
    ),
    (
        build_in_network(lambda: Conv2D(2, 3, dilation=3, padding="valid")),
        ValueError,
        r"the kernel spans \(7, 7\) pixels",
    ),
    (build_in_network(lambda: MaxPool2D(7)), ValueError, r"MaxPool2D 'pool1': the kernel spans"),
    (
        build_in_network(lambda: MaxPool2D(2, padding=2)),
        ValueError,
        r"MaxPool2D 'pool1': padding 2 must be smaller than kernel_size .*, or a window",
    ),
    (
        build_in_network(lambda: MaxPool2D(2, padding=((0, 2), (0, 0)))),
        ValueError,
        r"MaxPool2D 'pool1': padding \(\(0, 2\), \(0, 0\)\) must be smaller than kernel_size",
    ),
    (
        build_in_network(lambda: AvgPool2D((3, 2), padding=(1, 2))),
        ValueError,
        r"AvgPool2D 'pool1': padding \(1, 2\) must be smaller than kernel_size \(3, 2\)",
    ),
    (build_in_network(lambda: Conv2D(2, padding="smae")), ValueError, "expected 'same', 'valid'"),
    (build_in_network(lambda: Conv2D(2, padding=-1)), ValueError, "padding: expected at least 0"),
    (build_in_network(lambda: MaxPool2D(2, padding=0.5)), TypeError, "padding: expected a whole"),
    (lambda: Conv2D(0), ValueError, "Conv2D: filters: expected at least 1, got 0"),
    (lambda: Conv2D(2.5), TypeError, r"Conv2D: filters: expected a whole number .*got 2\.5"),
    (lambda: Conv2D(2, 0), ValueError, "Conv2D: kernel_size: expected at least 1, got 0"),
    (lambda: Conv2D(2, (3, 3, 3)), ValueError, "kernel_size: expected a number or a pair"),
    (lambda: Conv2D(2, "3"), TypeError, "kernel_size: expected a whole number .*got '3'"),
    (lambda: Conv2D(2, stride=0), ValueError, "Conv2D: stride: expected at least 1, got 0"),
    (lambda: Conv2D(2, dilation=(1, 0)), ValueError, "Conv2D: dilation: expected at least 1"),
    (lambda: MaxPool2D(0), ValueError, "MaxPool2D: kernel_size: expected at least 1, got 0"),
    (lambda: AvgPool2D(2, stride=-1), ValueError, "AvgPool2D: stride: expected at least 1, got -1"),
    (lambda: Dense(-3), ValueError, "Dense: units: expected at least 1, got -3"),
    (lambda: Dense("ten"), TypeError, "Dense: units: expected a whole number .*got 'ten'"),
    (lambda: Dense(True), TypeError, "Dense: units: expected a whole number .*got True"),
    (
        lambda: Dense(3, activation="sigmiod"),
        ValueError,
        "unknown activation 'sigmiod': did you mean 'sigmoid'. Known: leaky_relu, relu",
    ),
    (lambda: Conv2D(3, activation=max), TypeError, "activation: expected a name or an Activation"),
    (lambda: LeakyReLU(1.0), ValueError, "LeakyReLU: slope: expected 0 <= value < 1, got 1"),
    (lambda: LeakyReLU(-0.1), ValueError, "LeakyReLU: slope: expected 0 <= value < 1"),
    (lambda: Dropout(1.0), ValueError, r"Dropout: rate: expected 0 <= value < 1, got 1\.0"),
    (lambda: Dropout(-0.1), ValueError, "Dropout: rate: expected 0 <= value < 1"),
    (lambda: Dropout("half"), TypeError, "Dropout: rate: expected a number from 0 to 1"),
    (lambda: BatchNorm(momentum=1.5), ValueError, "BatchNorm: momentum: expected 0 <= value <= 1"),
    (lambda: BatchNorm(epsilon=0), ValueError, "BatchNorm: epsilon: expected a finite number"),
    (
        lambda: build(BatchNorm, (4,)).forward(some((4,), 1), Context(True, batch=1)),
        ValueError,
        r"BatchNorm: cannot normalize over one value per channel.*batch_size of at least 2",
    ),
    (lambda: choose("numpi"), ValueError, "unknown kernels 'numpi': did you mean 'numpy'"),
    (lambda: Layer().forward(some((1,)), Context()), TypeError, "Layer must define forward"),
    (lambda: Layer().backward(some((1,)), None), TypeError, "Layer must define backward"),
    (lambda: Activation().apply(some((1,))), TypeError, "Activation must define apply"),
    (lambda: Activation().gradient(some((1,)), None), TypeError, "Activation must define gradient"),
    (lambda: SyncLayer().forward(some((1,)), Context()), TypeError, "must define forward_program"),
    (lambda: SyncLayer().backward(some((1,)), None), TypeError, "must define backward_program"),
]


@pytest.mark.parametrize(("wrong", "error", "message"), ERRORS, ids=[text for _, _, text in ERRORS])
def test_errors(wrong, error, message):
    with pytest.raises(error, match=message):
        wrong()


def test_batch_norm_of_one_image_has_values_enough():
    """One image of 2 x 2 pixels has four values a channel."""
    y, _ = build(BatchNorm, (3, 2, 2)).forward(some((3, 2, 2), 1), Context(True, batch=1))
    assert np.isfinite(y).all()


# --- what summaries say ----------------------------------------------------------------------


def test_multiply_adds_and_receptive_field():
    """conv 3 x 3, pool 2, conv 3 x 3 dilated by 2: 3; 3 + 1; 4 + (5 - 1) * 2 pixels."""
    network = CNN(
        Conv2D(4, 3), MaxPool2D(2), Conv2D(5, 3, dilation=2), GlobalAvgPool2D(), Dense(2)
    ).build((3, 8, 6))
    conv, pool, dilated, mean, dense = network.layers
    # filters x channels x kh x kw for every output pixel; units x features
    assert conv.multiply_adds() == 4 * 3 * 9 * 48
    assert dilated.multiply_adds() == 5 * 4 * 9 * 12
    assert dense.multiply_adds() == 10
    assert pool.multiply_adds() == 0
    receptive_fields = []
    receptive_field = ReceptiveField()
    for layer in (conv, pool, dilated):
        receptive_field = receptive_field.behind(layer)
        receptive_fields.append((receptive_field.size, receptive_field.jump))
    assert receptive_fields == [((3, 3), (1, 1)), ((4, 4), (2, 2)), ((12, 12), (2, 2))]
    assert not receptive_field.whole
    assert receptive_field.behind(mean).whole
    assert receptive_field.behind(dense).whole
