"""Every kernel of every backend against loops (naive.py): values, types, layout, input kept."""

import math
from dataclasses import dataclass
from functools import cache

import naive
import numpy as np
import pytest

from CNN import CNN
from Filters import Conv2D
from glassbox.kernels import choose
from glassbox.kernels.pure_numpy import blocking, essential
from glassbox.kernels.shapes import Window, mirrored_window
from MLP import Dense

DTYPES = [np.float32, np.float64]
TOLERANCE = {np.float32: 1e-4, np.float64: 1e-10}


def last(array):
    """Samples last, C-contiguous: what kernels take."""
    return np.ascontiguousarray(np.moveaxis(array, 0, -1))


def first(array):
    """Samples first: what the loops take."""
    return np.moveaxis(array, -1, 0)


def strided(array):
    """The same numbers with gaps between them, and in another order in memory."""
    gaps = np.full((*array.shape[:-1], 2 * array.shape[-1]), np.nan, array.dtype)
    gaps[..., ::2] = array
    return gaps[..., ::2]


def close(found, expected, dtype):
    """Equal but for rounding; differences count against the largest number of the array."""
    scale = max(np.abs(expected).max(), 1.0) if expected.size else 1.0
    np.testing.assert_allclose(
        found, expected, rtol=TOLERANCE[dtype], atol=TOLERANCE[dtype] * scale
    )


def sound(results, inputs, copies, dtype):
    """What holds for every kernel: results of the input's dtype in C order, inputs untouched."""
    for result in results:
        assert result.dtype == dtype
        assert result.flags.c_contiguous
    for given, copy in zip(inputs, copies, strict=True):
        assert np.array_equal(given, copy), "a kernel changed its input"


# --- convolution -----------------------------------------------------------------------------


@dataclass(frozen=True)
class Conv:
    """One convolution: x (n, c, h, w), filters, and the geometry."""

    n: int
    c: int
    h: int
    w: int
    filters: int
    kernel: tuple[int, int]
    stride: tuple[int, int] = (1, 1)
    padding: tuple[int, int, int, int] = (0, 0, 0, 0)
    dilation: tuple[int, int] = (1, 1)

    @property
    def window(self) -> Window:
        size = naive.output_size(
            (self.h, self.w), self.kernel, self.stride, self.padding, self.dilation
        )
        return Window(self.kernel, self.stride, self.dilation, self.padding, size)


CONVS = [
    Conv(1, 1, 5, 5, 1, (3, 3)),
    Conv(2, 3, 5, 7, 4, (3, 3)),  # H != W
    Conv(3, 2, 7, 5, 3, (2, 4)),  # kh != kw, an odd batch
    Conv(3, 2, 6, 5, 4, (1, 3)),
    Conv(1, 4, 6, 4, 2, (3, 1)),
    Conv(5, 3, 4, 5, 2, (1, 1)),  # 1 x 1
    Conv(3, 3, 5, 4, 2, (1, 1), stride=(2, 3)),
    Conv(2, 2, 4, 4, 3, (1, 1), padding=(1, 0, 2, 1)),
    Conv(3, 2, 6, 5, 3, (3, 3), padding=(1, 1, 1, 1)),  # same
    Conv(3, 2, 6, 5, 3, (5, 3), padding=(2, 2, 1, 1)),  # same, kh != kw
    Conv(2, 2, 5, 6, 3, (2, 4), padding=(0, 1, 1, 2)),  # same, even: asymmetric
    Conv(2, 2, 5, 6, 3, (3, 3), padding=(1, 0, 2, 0)),  # asymmetric, before
    Conv(2, 3, 4, 5, 2, (3, 3), padding=(0, 2, 0, 1)),  # asymmetric, behind
    Conv(2, 2, 4, 5, 2, (3, 3), padding=(2, 2, 2, 2)),  # full: every overlap once
    Conv(2, 2, 4, 5, 2, (3, 3), padding=(4, 3, 3, 5)),  # more than full: windows of padding
    Conv(3, 2, 7, 6, 3, (3, 3), stride=(2, 2)),  # 7 leaves nothing over, 6 a pixel
    Conv(1, 2, 8, 9, 3, (3, 2), stride=(3, 2)),
    Conv(3, 2, 7, 8, 3, (3, 3), stride=(2, 3), padding=(1, 1, 0, 2)),
    Conv(2, 2, 7, 7, 2, (2, 2), stride=(3, 4)),  # strides beyond the kernel: pixels unseen
    Conv(2, 2, 9, 8, 3, (3, 3), dilation=(2, 2)),
    Conv(3, 2, 8, 9, 2, (2, 3), dilation=(3, 2), padding=(1, 2, 2, 2)),
    Conv(1, 2, 9, 8, 3, (3, 2), stride=(2, 1), dilation=(2, 3), padding=(2, 1, 0, 3)),
    Conv(3, 1, 6, 5, 7, (3, 3), padding=(1, 1, 1, 1)),  # many more filters than channels
    Conv(3, 6, 5, 4, 2, (3, 3), padding=(1, 1, 1, 1)),  # many more channels than filters
    Conv(2, 3, 3, 4, 2, (3, 4)),  # the kernel is the image: one output
]  # fmt: skip


@cache
def conv_truth(case):
    """x, w, bias, dy and what the loops make of them."""
    random = np.random.default_rng(7)
    x = random.standard_normal((case.n, case.c, case.h, case.w))
    w = random.standard_normal((case.filters, case.c, *case.kernel))
    bias = random.standard_normal(case.filters)
    y = naive.conv2d(x, w, bias, case.stride, case.padding, case.dilation)
    dy = random.standard_normal(y.shape)
    gradients = naive.conv2d_gradients(x, w, dy, case.stride, case.padding, case.dilation)
    return (x, w, bias, dy), y, gradients


def check_convolution(kernels, case, dtype, spread=lambda array: array):
    (x, w, bias, dy), y_true, (dx_true, dw_true, db_true) = conv_truth(case)
    x, dy = spread(last(x).astype(dtype)), spread(last(dy).astype(dtype))
    w, bias = w.astype(dtype), bias.astype(dtype)
    inputs, copies = (x, w, bias, dy), [a.copy() for a in (x, w, bias, dy)]
    window, shape = case.window, x.shape
    y = kernels.conv2d(x, w, bias, window)
    plain = kernels.conv2d(x, w, None, window)
    dx = kernels.conv2d_input_gradient(dy, w, window, shape)
    dw = kernels.conv2d_weight_gradient(x, dy, window)
    db = kernels.bias_gradient(dy)
    sound((y, plain, dx, dw, db), inputs, copies, dtype)
    close(first(y), y_true, dtype)
    close(first(plain), y_true - copies[2][None, :, None, None].astype(np.float64), dtype)
    close(first(dx), dx_true, dtype)
    close(dw, dw_true, dtype)
    close(db, db_true, dtype)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("case", CONVS, ids=str)
def test_convolution(kernels, case, dtype):
    check_convolution(kernels, case, dtype)


@pytest.mark.parametrize("case", CONVS, ids=str)
def test_convolution_of_arrays_with_gaps(kernels, case):
    """Not contiguous in memory: slower perhaps, never another result."""
    check_convolution(kernels, case, np.float64, strided)


@pytest.mark.parametrize("block", [1, 40, 200])
@pytest.mark.parametrize("product", [1, 150, 400])
@pytest.mark.parametrize("case", CONVS[1:5] + CONVS[8:11] + CONVS[15:18] + CONVS[19:24], ids=str)
def test_convolution_in_many_blocks(kernels, case, product, block, monkeypatch):
    """Limits so low that an image is cut into rows and parts of rows: it must not show."""
    limits = {"SMALL_PRODUCT": product, "BLOCK_ENTRIES": block, "LEAST_COLUMNS": 1}
    for name, value in limits.items():
        monkeypatch.setattr(blocking, name, value)
    blocking.plan_products.cache_clear()
    try:
        check_convolution(kernels, case, np.float64)
    finally:
        blocking.plan_products.cache_clear()


@pytest.mark.parametrize("few", [0, 1000])
@pytest.mark.parametrize("case", CONVS, ids=str)
def test_convolution_whichever_way_back_is_preferred(kernels, case, few, monkeypatch):
    """From how many filters on the gradient is scattered is a matter of speed alone."""
    monkeypatch.setattr(essential, "FEW_FILTERS", few)
    check_convolution(kernels, case, np.float64)


def test_input_gradient_is_right_on_both_its_ways(kernels):
    """As a mirrored convolution and scattered tap by tap, both for every shape that allows it."""
    if kernels.__name__ != "glassbox.kernels.pure_numpy":
        return  # a backend with a single way is covered by test_convolution
    mirrored = 0
    for case in CONVS:
        (_, w, _, dy), _, (dx_true, _, _) = conv_truth(case)
        dy, shape = last(dy), (case.c, case.h, case.w, case.n)
        scattered = essential._scatter(dy, w, case.window, shape)
        close(first(scattered), dx_true, np.float64)
        turned_window = mirrored_window(case.window, (case.h, case.w))
        if case.window.stride == (1, 1) and min(turned_window.padding) >= 0:
            mirrored += 1
            turned = np.ascontiguousarray(w[:, :, ::-1, ::-1].transpose(1, 0, 2, 3))
            close(first(kernels.conv2d(dy, turned, None, turned_window)), dx_true, np.float64)
    assert mirrored >= 8, "the cases no longer reach the mirrored way"


# --- pooling ---------------------------------------------------------------------------------


@dataclass(frozen=True)
class Pool:
    """One pooling of x (n, c, h, w)."""

    n: int
    c: int
    h: int
    w: int
    kernel: tuple[int, int]
    stride: tuple[int, int]
    padding: tuple[int, int, int, int] = (0, 0, 0, 0)
    ceil: bool = False
    dilation: tuple[int, int] = (1, 1)

    @property
    def window(self) -> Window:
        """With ceil, the border also holds what sticks out, as `resolve_window` promises."""
        oh, ow = naive.output_size(
            (self.h, self.w), self.kernel, self.stride, self.padding, self.dilation, self.ceil
        )
        top, bottom, left, right = self.padding
        spans = [(k - 1) * d + 1 for k, d in zip(self.kernel, self.dilation, strict=True)]
        bottom = max(bottom, (oh - 1) * self.stride[0] + spans[0] - self.h - top)
        right = max(right, (ow - 1) * self.stride[1] + spans[1] - self.w - left)
        return Window(self.kernel, self.stride, self.dilation, (top, bottom, left, right), (oh, ow))


POOLS = [
    Pool(1, 1, 4, 4, (2, 2), (2, 2)),
    Pool(3, 2, 6, 4, (2, 2), (2, 2)),  # H != W, an odd batch
    Pool(2, 3, 7, 5, (2, 2), (2, 2)),  # a row and a column left over
    Pool(2, 3, 7, 5, (2, 2), (2, 2), ceil=True),
    Pool(3, 2, 7, 8, (3, 2), (2, 3)),  # kh != kw; rows overlap, columns leave gaps
    Pool(3, 2, 7, 8, (3, 2), (2, 3), ceil=True),
    Pool(1, 2, 6, 5, (3, 3), (1, 1)),
    Pool(3, 1, 6, 5, (3, 3), (1, 1), (1, 1, 1, 1)),
    Pool(2, 2, 5, 6, (3, 3), (2, 2), (1, 1, 1, 1)),
    Pool(2, 2, 6, 6, (3, 3), (2, 2), (1, 1, 1, 1), ceil=True),
    Pool(2, 2, 5, 5, (2, 2), (2, 2), (0, 1, 0, 1)),  # "same" of an odd image: asymmetric
    Pool(2, 2, 5, 4, (2, 3), (3, 2), (1, 0, 0, 2)),
    Pool(2, 2, 4, 5, (4, 5), (4, 5)),  # one window
    Pool(2, 2, 4, 5, (1, 1), (1, 1)),
    Pool(1, 2, 17, 16, (17, 16), (1, 1)),  # 272 places: more than a byte can count
    Pool(2, 2, 2, 1, (3, 3), (3, 3), ceil=True),  # one window, larger than the image
    Pool(2, 1, 3, 2, (6, 4), (2, 3), (1, 1, 0, 0), ceil=True),  # and than its border
]
DILATED_POOLS = [
    Pool(2, 2, 6, 7, (2, 2), (2, 2), dilation=(2, 2)),  # windows as far apart as if side by side
    Pool(2, 2, 4, 4, (2, 2), (2, 2), dilation=(2, 2)),  # ... and as if they tiled the image
    Pool(3, 2, 8, 9, (3, 2), (1, 2), (2, 2, 1, 1), dilation=(2, 3)),
    Pool(2, 1, 9, 8, (2, 3), (3, 5), dilation=(2, 2)),  # no pixel is in two windows
    Pool(2, 2, 7, 7, (3, 3), (2, 2), (1, 1, 1, 1), ceil=True, dilation=(2, 2)),
    Pool(5, 1, 3, 3, (2, 2), (4, 4), ceil=True, dilation=(3, 3)),  # larger than the image
]


def pool_truth(case, gradient_of):
    random = np.random.default_rng(11)
    x = random.standard_normal((case.n, case.c, case.h, case.w))
    size = naive.output_size(
        (case.h, case.w), case.kernel, case.stride, case.padding, case.dilation, case.ceil
    )
    dy = random.standard_normal((case.n, case.c, *size))
    return x, dy, *gradient_of(x, dy)


@pytest.mark.parametrize("spread", [lambda a: a, strided], ids=["contiguous", "with gaps"])
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("case", POOLS + DILATED_POOLS, ids=str)
def test_max_pool(kernels, case, dtype, spread):
    def loops(x, dy):
        return naive.max_pool(
            x, dy, case.kernel, case.stride, case.padding, case.ceil, case.dilation
        )

    x, dy, y_true, dx_true = pool_truth(case, loops)
    x, dy = spread(last(x).astype(dtype)), spread(last(dy).astype(dtype))
    copies = [x.copy(), dy.copy()]
    y, winner = kernels.max_pool(x, case.window)
    dx = kernels.max_pool_gradient(dy, winner, case.window, x.shape)
    sound((y, dx), (x, dy), copies, dtype)
    assert np.issubdtype(winner.dtype, np.integer)
    close(first(y), y_true, dtype)
    close(first(dx), dx_true, dtype)


@pytest.mark.parametrize("case", POOLS + DILATED_POOLS, ids=str)
def test_max_pool_gives_a_tie_to_the_first(kernels, case):
    """Pixels of 0, 1 and 2 only, so most windows have several equal maxima."""
    random = np.random.default_rng(3)
    x = random.integers(0, 3, (case.n, case.c, case.h, case.w)).astype(np.float64)
    dy = random.standard_normal((case.n, case.c, *case.window.output))
    y_true, dx_true = naive.max_pool(
        x, dy, case.kernel, case.stride, case.padding, case.ceil, case.dilation
    )
    y, winner = kernels.max_pool(last(x), case.window)
    assert np.array_equal(first(y), y_true)
    dx = kernels.max_pool_gradient(last(dy), winner, case.window, last(x).shape)
    close(first(dx), dx_true, np.float64)


def test_max_pool_padding_never_wins(kernels):
    """Pixels far below 0: a border of zeros would win."""
    window = Window((3, 3), (2, 2), (1, 1), (1, 1, 1, 1), (2, 2))
    x = np.full((1, 3, 3, 1), -1e30, np.float32)
    y, winner = kernels.max_pool(x, window)
    assert (y == np.float32(-1e30)).all()
    dx = kernels.max_pool_gradient(np.ones_like(y), winner, window, x.shape)
    assert dx.sum() == 4  # nothing is lost in the border


def test_max_pool_finds_a_winner_beyond_the_256th_place(kernels):
    """One byte cannot count the places of a window of 17 x 16."""
    window = Window((17, 16), (1, 1), (1, 1), (0, 0, 0, 0), (1, 1))
    x = np.arange(272.0).reshape(1, 17, 16, 1)  # the last pixel, number 271, is the largest
    y, winner = kernels.max_pool(x, window)
    assert y.item() == 271
    dx = kernels.max_pool_gradient(np.ones_like(y), winner, window, x.shape)
    assert np.flatnonzero(dx).tolist() == [271]


@pytest.mark.parametrize("spread", [lambda a: a, strided], ids=["contiguous", "with gaps"])
@pytest.mark.parametrize("count_include_pad", [True, False])
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("case", POOLS, ids=str)
def test_average_pool(kernels, case, dtype, count_include_pad, spread):
    def loops(x, dy):
        return naive.average_pool(
            x, dy, case.kernel, case.stride, case.padding, case.ceil, count_include_pad
        )

    x, dy, y_true, dx_true = pool_truth(case, loops)
    counts = naive.average_counts(
        (case.h, case.w), case.kernel, case.stride, case.padding, case.ceil, count_include_pad
    )
    x, dy = spread(last(x).astype(dtype)), spread(last(dy).astype(dtype))
    counts = naive.separate(counts)
    inputs = (x, dy, *counts)
    copies = [each.copy() for each in inputs]
    y = kernels.average_pool(x, counts, case.window)
    dx = kernels.average_pool_gradient(dy, counts, case.window, x.shape)
    sound((y, dx), inputs, copies, dtype)
    close(first(y), y_true, dtype)
    close(first(dx), dx_true, dtype)


# --- dense -----------------------------------------------------------------------------------


@pytest.mark.parametrize("spread", [lambda a: a, strided], ids=["contiguous", "with gaps"])
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("n", "features", "units"), [(1, 1, 1), (1, 6, 4), (3, 5, 2), (7, 2, 9)])
def test_dense(kernels, n, features, units, dtype, spread):
    random = np.random.default_rng(5)
    x, dy = random.standard_normal((n, features)), random.standard_normal((n, units))
    w, bias = random.standard_normal((units, features)), random.standard_normal(units)
    y_true = naive.dense(x, w, bias)
    dx_true, dw_true, db_true = naive.dense_gradients(x, w, dy)
    x, dy = spread(last(x).astype(dtype)), spread(last(dy).astype(dtype))
    w, bias = w.astype(dtype), bias.astype(dtype)
    inputs, copies = (x, dy, w, bias), [a.copy() for a in (x, dy, w, bias)]
    y, plain = kernels.dense(x, w, bias), kernels.dense(x, w, None)
    dx = kernels.dense_input_gradient(dy, w)
    dw = kernels.dense_weight_gradient(x, dy)
    db = kernels.bias_gradient(dy)
    sound((y, plain, dx, dw, db), inputs, copies, dtype)
    close(first(y), y_true, dtype)
    close(first(plain), y_true - bias, dtype)
    close(first(dx), dx_true, dtype)
    close(dw, dw_true, dtype)
    close(db, db_true, dtype)


# --- activations -----------------------------------------------------------------------------

# name, further arguments, y of one number (or of one sample's row) by the textbook
ACTIVATIONS = [
    ("leaky_relu", (0.01,), lambda z: np.array([v if v > 0 else 0.01 * v for v in z])),
    ("leaky_relu", (0.3,), lambda z: np.array([v if v > 0 else 0.3 * v for v in z])),
    ("leaky_relu", (0.0,), lambda z: np.array([max(v, 0.0) for v in z])),
    ("sigmoid", (), lambda z: np.array([1 / (1 + np.exp(-v)) for v in z])),
    ("tanh", (), lambda z: np.array([1 - 2 / (np.exp(2 * v) + 1) for v in z])),
    ("softmax", (), lambda z: np.array([np.exp(v) / sum(np.exp(u) for u in z) for v in z])),
]


@pytest.mark.parametrize("shape", [(4, 3), (5, 1), (3, 2, 4, 5)])
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("name", "arguments", "textbook"), ACTIVATIONS)
def test_activation(kernels, name, arguments, textbook, dtype, shape):
    """In place and equal to the textbook; the gradient equals differences of the textbook."""
    random = np.random.default_rng(9)
    z, dy = random.standard_normal(shape), random.standard_normal(shape)
    columns = z.reshape(shape[0], -1).T

    def values(columns):
        return np.array([textbook(column) for column in columns]).T.reshape(shape)

    given = z.astype(dtype)
    y = getattr(kernels, f"{name}_")(given, *arguments)
    assert y is given, "an underscore promises to work in place"
    copies = [y.copy(), dy.astype(dtype)]
    inputs = (y, copies[1].copy())
    dz = getattr(kernels, f"{name}_gradient")(inputs[1], y, *arguments)
    sound((y, dz), inputs, [copies[0], copies[1]], dtype)
    close(y, values(columns), dtype)
    h = 1e-6
    expected = np.zeros_like(columns)
    for k in range(columns.shape[1]):
        step = np.zeros_like(columns)
        step[:, k] = h
        slope = (values(columns + step) - values(columns - step)) / (2 * h)
        expected[:, k] = (slope * dy).reshape(shape[0], -1).sum(axis=0)
    np.testing.assert_allclose(
        dz, expected.T.reshape(shape), rtol=1e-4, atol=1e-6 if dtype is np.float32 else 1e-8
    )


def test_activations_of_huge_numbers_stay_finite(kernels):
    with np.errstate(over="raise", invalid="raise", divide="raise"):
        z = np.array([[1000.0], [-1000.0], [0.0]], np.float32)
        assert kernels.sigmoid_(z.copy())[:, 0].tolist() == [1.0, 0.0, 0.5]
        assert kernels.tanh_(z.copy())[:, 0].tolist() == [1.0, -1.0, 0.0]
        assert kernels.softmax_(z.copy())[:, 0].tolist() == [1.0, 0.0, 0.0]
        assert kernels.leaky_relu_(z.copy(), 0.5)[:, 0].tolist() == [1000.0, -500.0, 0.0]


@pytest.mark.parametrize("dtype", DTYPES)
def test_sigmoid_keeps_its_digits_far_below_zero(kernels, dtype):
    """(1 + tanh(z / 2)) / 2 is 44 % off at -17 in float32, and 0 from -20 on."""
    z = np.array([-700.0, -80.0, -20.0, -17.0, -1.0, 0.0, 3.0, 90.0])
    z = z[1:] if dtype is np.float32 else z
    expected = [math.exp(v) / (1 + math.exp(v)) for v in z]
    found = kernels.sigmoid_(z.astype(dtype)[:, None])[:, 0]
    np.testing.assert_allclose(found, expected, rtol=8 * np.finfo(dtype).eps)
    assert np.isnan(kernels.sigmoid_(np.array([[np.nan]], dtype)))


@pytest.mark.parametrize("size", [3, 70])  # rest of a vector, and whole ones
@pytest.mark.parametrize("slope", [0.0, 0.25])
@pytest.mark.parametrize("dtype", DTYPES)
def test_leaky_relu_of_infinity(kernels, dtype, slope, size):
    z = np.resize(np.array([-np.inf, np.inf, np.nan], dtype), (1, size))
    with np.errstate(invalid="raise"):
        y = kernels.leaky_relu_(z.copy(), slope)
        dz = kernels.leaky_relu_gradient(np.ones_like(y), y, slope)
    np.testing.assert_array_equal(y, np.where(z == -np.inf, -np.inf if slope else 0, z))
    assert (dz[z == np.inf] == 1).all()
    assert (dz[z == -np.inf] == slope).all()


@pytest.mark.parametrize("samples", [1, 40])
def test_layers_that_apply_relu_while_they_write_know_infinity(backend, samples):
    """Recorded networks apply it inside the kernels of convolutions and dense layers."""
    x = np.zeros((samples, 16, 8, 8), np.float32)
    for layer in (Conv2D(16, activation="relu"), Conv2D(3, activation="relu"), Dense(9, "relu")):
        network = CNN(layer, kernels=backend).build((16, 8, 8))
        layer.parameters["bias"][:2] = -np.inf, np.inf
        y = network.scores(x)
        assert (y[:, 0] == 0).all() and (y[:, 1] == np.inf).all() and (y[:, 2] == 0).all()


def test_leaky_relu_at_zero_has_the_slope_of_the_left(kernels):
    """As in PyTorch: the derivative at 0 is the slope, so 0 for ReLU."""
    zero, dy = np.zeros((1, 1)), np.full((1, 1), 3.0)
    assert kernels.leaky_relu_gradient(dy, zero, 0.5).item() == 1.5
    assert kernels.leaky_relu_gradient(dy, zero, 0.0).item() == 0.0


def test_drop_compares_and_scales(kernels, dtype=np.float32):
    """Below, at and above the limit; the highest 16-bit number is never dropped."""
    x = np.array([1.0, -2.0, 3.0, -4.0, 5.0], dtype)
    bits = np.array([0, 16383, 16384, 16385, 65535], np.uint16)
    y = kernels.drop(x, bits, 16384)
    np.testing.assert_allclose(y, [0, 0, 4, -16 / 3, 20 / 3], rtol=1e-6)
    assert y.dtype == dtype
    assert kernels.drop(x, bits, 65535).tolist() == [0, 0, 0, 0, 5 * 65536]
    assert np.isnan(kernels.drop(np.array([np.nan], dtype), bits[:1], 1)).all()  # not hidden


def rows_of(random, *shape):
    return random.standard_normal(shape).astype(np.float32)


LENGTHS = pytest.mark.parametrize("length", [1, 7, 15, 16, 17, 63, 64, 100, 200])


@LENGTHS
@pytest.mark.parametrize("dtype", DTYPES)
def test_moments(kernels, length, dtype):
    """Whole vectors and what is left over, in float64: exact where the squares are."""
    rows = np.random.default_rng(length).integers(-999, 999, (3, length)).astype(dtype)
    found = kernels.moments(rows)
    assert found.dtype == np.float64
    assert found.tolist() == [[sum(int(x) ** k for x in row) for row in rows] for k in (1, 2)]


def test_the_statistics_of_a_batch(kernels):
    """The variance is never below 0, and what is not a number is not hidden."""
    sums = np.array([[40.0, 8, 80], [400, 80, 159.9]])
    mean, variance = kernels.statistics(sums, 40)
    np.testing.assert_allclose(mean, [1, 0.2, 2])
    np.testing.assert_allclose(variance, [9, 1.96, 0])
    sums[1, 0] = np.nan
    assert np.isnan(kernels.statistics(sums, 40)[1]).tolist() == [True, False, False]


@LENGTHS
@pytest.mark.parametrize("offset", [0, 1e3, 1e4])
def test_normalize_and_its_gradient(kernels, length, offset):
    """Against float64; the mean has more digits than the numbers."""
    random = np.random.default_rng(3)
    rows, dy = rows_of(random, 3, length) + np.float32(offset), rows_of(random, 3, length)
    mean = offset + random.standard_normal(3)
    scale, shift = rows_of(random, 3), rows_of(random, 3)
    variance, sums = random.random(3), rows_of(random, 2, 3)
    y, inverse = kernels.normalize(rows, mean, variance, 0.1, scale, shift)
    std = np.sqrt(variance + 0.1)
    xhat = (rows.astype(np.float64) - mean[:, None]) / std[:, None]
    near = {"rtol": 1e-5, "atol": 2e-5}
    np.testing.assert_allclose(inverse, 1 / std, rtol=1e-6)
    np.testing.assert_allclose(y, xhat * scale[:, None] + shift[:, None], **near)
    found = kernels.normalize_sums(dy, rows, mean, inverse)
    np.testing.assert_allclose(found, [dy.sum(axis=1), (dy * xhat).sum(axis=1)], **near)
    dx = kernels.normalize_gradient(dy, rows, mean, inverse, sums, 50, scale)
    expected = dy - sums[0][:, None] / 50 - xhat * sums[1][:, None] / 50
    np.testing.assert_allclose(dx, expected * (scale / std)[:, None], **near)
    assert {a.dtype for a in (y, inverse, found, dx)} == {np.dtype(np.float32)}


@LENGTHS
@pytest.mark.parametrize("beside", [True, False])
def test_a_leaky_relu_behind_a_normalization(length, beside):
    """In the same pass as one after the other, to the last bit."""
    pytest.importorskip("numba")
    kernels, random = choose("compiled"), np.random.default_rng(5)
    rows, dy, straight = (rows_of(random, 3, length) for _ in range(3))
    mean, scale, shift = (rows_of(random, 3) for _ in range(3))
    given = rows, mean.astype(np.float64), np.abs(mean), 0.1, scale, shift
    y, inverse = kernels.normalize(*given)
    if beside:
        y = kernels.add(y, straight)
    z = kernels.leaky_relu_(y.copy(), 0.1)
    assert np.array_equal(z, kernels.normalize(*given, 0.1, straight if beside else None)[0])
    if not beside:
        dz = kernels.leaky_relu_gradient(dy, z, 0.1)
        leaky = scale, shift, 0.1
        sums = kernels.normalize_sums(dz, *given[:2], inverse)
        assert np.array_equal(sums, kernels.normalize_sums(dy, *given[:2], inverse, leaky))
        dx = kernels.normalize_gradient(dz, *given[:2], inverse, sums, 50, scale)
        again = kernels.normalize_gradient(dy, *given[:2], inverse, sums, 50, scale, leaky)
        assert np.array_equal(dx, again)


def test_sums_and_products_of_arrays(kernels):
    a, b = rows_of(np.random.default_rng(6), 2, 3, 5)
    assert np.array_equal(kernels.add(a, b), a + b)
    assert np.array_equal(kernels.multiply(a, b[:, :1]), a * b[:, :1])
