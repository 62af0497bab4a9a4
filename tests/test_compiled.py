"""The compiled kernels from close by: odd sizes, full and part-full vectors, and what lies around.

`test_kernels.py` asks whether every backend means the same; here is what only this one can get
wrong: an algorithm for some shapes, the last vector of a run, memory that is not its own, another
type, a copy in every step.
"""

import itertools
import math
import runpy
import tracemalloc
from functools import partial

import naive
import numpy as np
import pytest

pytest.importorskip("numba")

import glassbox.kernels
from CNN import CNN
from Datasets import Dataset, Scaling
from Filters import AvgPool2D, Conv2D, MaxPool2D
from glassbox.engine.capture.captured import LOSSES
from glassbox.engine.capture.executor import fused_kernel
from glassbox.engine.layer import Context
from glassbox.engine.losses import MSE, CrossEntropy
from glassbox.engine.step import backward, forward, to_batch_last
from glassbox.kernels import choose, recorder
from glassbox.kernels.compiled import (
    choice,
    convolution,
    ends,
    fully_connected,
    pointwise,
    pooling,
    processor,
    winograd,
)
from glassbox.kernels.compiled.processor import PAIR_ROWS
from glassbox.kernels.compiled.team import Replay
from glassbox.kernels.recorder import recording
from glassbox.kernels.shapes import Window
from MLP import SGD, Adadelta, Adam, Dense, LeakyReLU, RMSprop

KERNELS = choose("compiled")
SAMPLES = (1, 2, 15, 16, 17, 33, 64, 70)  # beside a vector of 4, 8 or 16 numbers


def draw(seed, *shape):
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def within(found, exact, bound):
    """No number is off by more than `bound` times the largest exact one; NaN is always off."""
    assert found.shape == exact.shape
    worst, largest = np.abs(found - exact).max(), np.abs(exact).max()
    assert worst <= bound * largest, f"off by {worst:.1e}, the largest number is {largest:.1e}"


# --- memory with fences ----------------------------------------------------------------------


class Fenced:
    """NumPy whose new arrays lie between fences, filled with bytes of ones: NaN, 255 or -1.

    Memory that is used before it is written makes NaN, and a number written beside an array shows
    in a fence.
    """

    WIDTH = 256  # bytes: four of the longest vectors

    def __init__(self):
        self._given = []

    def __getattr__(self, name):
        return getattr(np, name)

    def empty(self, shape, dtype=float):
        size = int(np.prod(shape)) * np.dtype(dtype).itemsize
        cache = np.full(size + 2 * self.WIDTH, 255, np.uint8)
        self._given.append(cache)
        return cache[self.WIDTH : self.WIDTH + size].view(dtype).reshape(shape)

    def zeros(self, shape, dtype=float):
        array = self.empty(shape, dtype)
        array[...] = 0
        return array

    def put(self, array):
        """The same numbers, NaN on both sides of them."""
        inside = self.empty(array.shape, array.dtype)
        inside[...] = array
        return inside

    def check(self):
        for cache in self._given:
            assert (cache[: self.WIDTH] == 255).all(), "written before an array"
            assert (cache[-self.WIDTH :] == 255).all(), "written behind an array"
        self._given.clear()


@pytest.fixture
def fenced(monkeypatch):
    """Everything that these kernels allocate is fenced in; looked at once more at the end."""
    fence = Fenced()
    for module in (convolution, winograd, fully_connected, pooling, pointwise, ends):
        monkeypatch.setattr(module, "np", fence)
    convolution.zeros.cache_clear()
    yield fence
    fence.check()
    convolution.zeros.cache_clear()


# --- convolution: the exact result in float64 ------------------------------------------------


def columns(x, window):
    """im2col of x (c, h, w, n) in float64: (taps, oh * ow * n)."""
    (kh, kw), (sh, sw), (dh, dw), (oh, ow) = (
        window.kernel, window.stride, window.dilation, window.output,
    )  # fmt: skip
    top, bottom, left, right = window.padding
    padded = np.pad(x.astype(np.float64), ((0, 0), (top, bottom), (left, right), (0, 0)))
    rows = np.arange(kh)[:, None] * dh + np.arange(oh) * sh
    places = np.arange(kw)[:, None] * dw + np.arange(ow) * sw
    met = padded[:, rows][:, :, :, places]  # c, kh, oh, kw, ow, n
    return met.transpose(0, 1, 3, 2, 4, 5).reshape(x.shape[0] * kh * kw, -1)


def exact(x, w, bias, window):
    """y of the definition."""
    y = w.reshape(len(w), -1).astype(np.float64) @ columns(x, window)
    y += 0 if bias is None else bias[:, None]
    return y.reshape(len(w), *window.output, x.shape[3])


def exact_gradients(x, w, dy, window):
    """dx and dw of the definition; dx by the transpose of im2col, a number at a time."""
    rows = dy.reshape(len(dy), -1).astype(np.float64)
    dw = (rows @ columns(x, window).T).reshape(w.shape)
    top, bottom, left, right = window.padding
    shape = (x.shape[0], x.shape[1] + top + bottom, x.shape[2] + left + right, x.shape[3])
    number = np.arange(np.prod(shape)).reshape(shape)  # which pixel each tap meets
    met = columns(number, window._replace(padding=(0, 0, 0, 0))).astype(np.int64)
    share = w.reshape(len(w), -1).T.astype(np.float64) @ rows
    dx = np.bincount(met.ravel(), share.ravel(), number.size).reshape(shape)
    return dx[:, top : top + x.shape[1], left : left + x.shape[2]], dw


def a_window(size, kernel=(3, 3), stride=(1, 1), padding=(0, 0, 0, 0), dilation=(1, 1)):
    output = naive.output_size(size, kernel, stride, padding, dilation)
    return Window(kernel, stride, dilation, padding, output)


@pytest.mark.parametrize(
    ("kernel", "stride", "padding", "dilation"),
    [((3, 3), (1, 1), (4, 0, 1, 2), (1, 1)), ((2, 3), (2, 3), (1, 0, 2, 1), (3, 2))],
)
def test_the_exact_results_are_those_of_the_loops(kernel, stride, padding, dilation):
    """What the kernels below are compared with is itself compared, with loops one can follow."""
    window = a_window((7, 6), kernel, stride, padding, dilation)
    x, w = draw(1, 2, 7, 6, 3), draw(2, 4, 2, *kernel)
    dy = draw(3, 4, *window.output, 3)
    first = [np.moveaxis(array, -1, 0).astype(np.float64) for array in (x, dy)]
    y = naive.conv2d(first[0], w, None, stride, padding, dilation)
    dx, dw, _ = naive.conv2d_gradients(first[0], w, first[1], stride, padding, dilation)
    found_dx, found_dw = exact_gradients(x, w, dy, window)
    within(exact(x, w, None, window), np.moveaxis(y, 0, -1), 1e-14)
    within(found_dx, np.moveaxis(dx, 0, -1), 1e-14)
    within(found_dw, dw, 1e-14)


# --- Winograd --------------------------------------------------------------------------------

# channels, filters, (height, width), samples, padding, slope of the leaky ReLU, bias
WINOGRAD = [
    (16, 16, (6, 6), 16, (0, 0, 0, 0), 1.0, False),  # 4 x 4 outputs: one tile
    (16, 18, (5, 9), 20, (0, 0, 0, 0), 0.0, True),  # 3 x 7: a tile is never whole
    (32, 24, (8, 5), 32, (1, 1, 1, 1), 0.01, True),  # 8 x 5: one column left over
    (12, 35, (6, 7), 40, (1, 1, 1, 1), 1.0, True),  # 6 x 7, a part of a vector of channels
    (64, 16, (5, 3), 64, (1, 0, 2, 1), 0.01, False),  # 4 x 4, asymmetric
    (16, 64, (3, 4), 20, (4, 3, 3, 5), 0.0, True),  # 8 x 10, and a negative border on the way back
    (32, 32, (7, 6), 16, (2, 2, 2, 2), 1.0, True),  # 9 x 8, full: no border on the way back
    (20, 16, (3, 3), 33, (0, 0, 0, 0), 0.01, True),  # a single output
    (64, 40, (9, 8), 40, (0, 2, 0, 1), 1.0, False),  # 9 x 7
    (13, 16, (6, 6), 20, (0, 0, 0, 0), 1.0, True),  # a part of a vector also where it has 4 lanes
    (13, 18, (6, 6), 20, (0, 0, 0, 0), 1.0, True),
    (32, 16, (6, 10), 20, (0, 0, 0, 0), 1.0, True),  # 4 x 8: whole tiles of part-full vectors
]
# Relative to the largest number.  The constants of F(4x4, 3x3) cost about a digit: measured up to
# 9e-6 forward and for the input (1e-6 directly), and up to 4e-5 where a gradient of the weights is
# summed over all tiles and samples in a row.  In float64 the same is 5e-14.
BOUNDS = {np.float32: (1e-5, 1e-5, 5e-5), np.float64: (1e-12, 1e-12, 1e-12)}


@pytest.fixture
def only_winograd(monkeypatch):
    """The direct way is closed, so that no test of the other one can pass through it."""

    def closed(*arguments):
        raise AssertionError("the direct way was taken")

    for name in ("conv2d", "conv2d_input_gradient", "conv2d_weight_gradient"):
        monkeypatch.setattr(convolution, name, closed)
    monkeypatch.setattr(choice, "SHARE", 0)  # a matter of speed alone


def check_three(x, w, bias, window, slope, bounds, put=np.asarray):
    """y, dx and dw of the compiled backend against the exact ones."""
    dy = put(draw(4, len(w), *window.output, x.shape[3]).astype(x.dtype))
    z = exact(x, w, bias, window)
    dx, dw = exact_gradients(x, w, dy, window)
    within(KERNELS.conv2d(x, w, bias, window, slope), np.where(z > 0, z, slope * z), bounds[0])
    within(KERNELS.conv2d_input_gradient(dy, w, window, x.shape), dx, bounds[1])
    within(KERNELS.conv2d_weight_gradient(x, dy, window), dw, bounds[2])


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("case", WINOGRAD, ids=str)
def test_winograd(fenced, only_winograd, case, dtype):
    """Tiles whole and cut off, vectors full and part full, borders of every sort."""
    channels, filters, size, samples, padding, slope, has_bias = case
    x = fenced.put(draw(1, channels, *size, samples).astype(dtype))
    w = fenced.put(draw(2, filters, channels, 3, 3).astype(dtype))
    bias = fenced.put(draw(3, filters).astype(dtype)) if has_bias else None
    check_three(x, w, bias, a_window(size, padding=padding), slope, BOUNDS[dtype], fenced.put)


def test_winograd_cases_leave_every_rest():
    """0, 1, 2 and 3 rows and columns beyond whole tiles, so that the list above stays complete."""
    outputs = [a_window(size, padding=padding).output for _, _, size, _, padding, _, _ in WINOGRAD]
    for axis in (0, 1):
        assert {output[axis] % 4 for output in outputs} == {0, 1, 2, 3}


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(
    ("channels", "filters", "side"),
    [pytest.param(32, 64, 26, marks=pytest.mark.slow), (64, 128, 12)],
)
def test_winograd_on_the_wide_networks(only_winograd, channels, filters, side, dtype):
    """The layers that it is there for: rounding stays below the bounds."""
    x = draw(1, channels, side, side, 32).astype(dtype)
    w = draw(2, filters, channels, 3, 3).astype(dtype)
    check_three(x, w, None, a_window((side, side)), 1.0, BOUNDS[dtype])


def test_winograd_cases_leave_every_rest_of_vectors():
    """Channels and filters of whole blocks and others, one vector of channels left and none."""
    lanes = convolution.vector_lanes(np.dtype(np.float32))
    vectors = {-(-channels // lanes) % 2 for channels, *_ in WINOGRAD}
    rests = {(c % lanes == 0, o % PAIR_ROWS == 0) for c, o, *_ in WINOGRAD}
    assert vectors == {0, 1}
    assert rests == {(True, True), (True, False), (False, True), (False, False)}


def test_too_few_samples_for_a_vector_go_the_direct_way(monkeypatch):
    """The right channels and filters, but the vectors would not be full."""
    lanes = convolution.vector_lanes(np.dtype(np.float32))
    window = a_window((7, 6), padding=(1, 1, 1, 1))
    w = draw(2, 16, 16, 3, 3)
    for samples, expected in ((lanes - 1, False), (lanes, True)):
        x = draw(1, 16, 7, 6, samples)
        assert choice._by_winograd(window, 16, 16, x) is expected
    for name in ("conv2d", "conv2d_weight_gradient"):
        monkeypatch.setattr(winograd, name, None)
    x = draw(1, 16, 7, 6, lanes - 1)
    check_three(x, w, None, window, 1.0, (5e-6, 5e-6, 5e-6))


# --- which algorithm -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kernel", "stride", "dilation", "channels", "filters", "expected"),
    [
        ((3, 3), (1, 1), (1, 1), 16, 16, "winograd"),
        ((3, 3), (1, 1), (1, 1), 12, 12, "winograd"),
        ((3, 3), (1, 1), (1, 1), 11, 16, "direct"),
        ((3, 3), (1, 1), (1, 1), 16, 11, "direct"),
        ((3, 3), (1, 1), (1, 1), 1, 64, "direct"),
        ((3, 3), (1, 1), (1, 1), 128, 128, "winograd"),
        ((3, 3), (2, 1), (1, 1), 64, 64, "direct"),
        ((3, 3), (1, 2), (1, 1), 64, 64, "direct"),
        ((3, 3), (1, 1), (2, 1), 64, 64, "direct"),
        ((3, 3), (1, 1), (2, 2), 64, 64, "direct"),
        ((3, 3), (2, 2), (2, 2), 64, 64, "direct"),
        ((1, 1), (1, 1), (1, 1), 64, 64, "direct"),
        ((3, 5), (1, 1), (1, 1), 64, 64, "direct"),
        ((5, 5), (1, 1), (1, 1), 64, 64, "direct"),
    ],
)
def test_the_algorithm_follows_from_shapes(kernel, stride, dilation, channels, filters, expected):
    window = a_window((16, 15), kernel, stride, (1, 1, 1, 1), dilation)
    assert KERNELS.algorithm(window, channels, filters) == expected
    assert choose("numpy").algorithm(window, channels, filters) == "im2col"


@pytest.mark.parametrize(
    ("size", "expected"), [((2, 2), "direct"), ((4, 2), "winograd"), ((5, 6), "direct")]
)
def test_the_outputs_fill_half_of_the_tiles(size, expected):
    assert KERNELS.algorithm(a_window(size, padding=(1, 1, 1, 1)), 16, 16) == expected


@pytest.mark.parametrize(
    ("backend", "names"),
    [("compiled", ["winograd", "direct", "direct"]), ("numpy", ["im2col", "im2col", "im2col"])],
)
def test_summary_names_the_algorithm_of_every_convolution(backend, names, capsys):
    layers = [Conv2D(16, 3), Conv2D(16, 3, stride=2), Conv2D(4, 5), MaxPool2D(2), Dense(3)]
    table = CNN(*layers, kernels=backend).summary((16, 12, 12))
    assert capsys.readouterr().out.strip() == table
    lines = [line for line in table.splitlines() if "Conv2D" in line]
    kinds = ["Conv2D 3 x 3 ", "Conv2D 3 x 3 / 2 x 2 ", "Conv2D 5 x 5 "]
    for line, kind, name in zip(lines, kinds, names, strict=True):
        assert kind + name + " " in line


# --- the direct way --------------------------------------------------------------------------

DIRECT = [
    ((1, 1), (1, 1), (0, 0, 0, 0), (1, 1)),
    ((1, 1), (2, 3), (0, 1, 0, 0), (1, 1)),
    ((3, 3), (1, 1), (0, 0, 0, 0), (1, 1)),
    ((3, 3), (1, 1), (1, 1, 1, 1), (1, 1)),
    ((3, 3), (1, 1), (3, 4, 5, 3), (1, 1)),  # a negative border on the way back
    ((3, 3), (2, 2), (1, 0, 0, 1), (1, 1)),  # runs of one place: as long as the samples
    ((3, 3), (1, 1), (2, 2, 2, 2), (2, 2)),
    ((5, 3), (1, 1), (2, 2, 1, 1), (1, 1)),
    ((5, 3), (3, 2), (0, 2, 1, 0), (1, 2)),
]


@pytest.mark.parametrize(("kernel", "stride", "padding", "dilation"), DIRECT)
def test_direct_convolution(fenced, kernel, stride, padding, dilation):
    """Samples beside whole vectors and filters beside whole blocks, each with each."""
    window = a_window((6, 5), kernel, stride, padding, dilation)
    for samples, filters in itertools.product(SAMPLES, range(1, 10)):
        channels = 1 + filters % 3
        x = fenced.put(draw(1, channels, 6, 5, samples))
        w = fenced.put(draw(2, filters, channels, *kernel))
        bias = fenced.put(draw(3, filters)) if filters % 2 else None
        slope = (1.0, 0.0, 0.01)[filters % 3]
        check_three(x, w, bias, window, slope, (5e-6, 5e-6, 5e-6), fenced.put)
        fenced.check()


def test_direct_weight_gradient_in_many_chunks():
    """More outputs than are summed in one go, and a last chunk that is shorter."""
    window = a_window((40, 9), padding=(1, 1, 1, 1))
    x, w = draw(1, 2, 40, 9, 17), draw(2, 3, 2, 3, 3)
    check_three(x, w, None, window, 1.0, (5e-6, 5e-6, 5e-6))


def test_convolution_of_read_only_arrays():
    """A data set's images are read-only."""
    window = a_window((5, 6))
    x, w, dy = draw(1, 3, 5, 6, 17), draw(2, 4, 3, 3, 3), draw(4, 4, *window.output, 17)
    dx, dw = exact_gradients(x, w, dy, window)
    for array in (x, dy):
        array.flags.writeable = False
    within(KERNELS.conv2d(x, w, None, window), exact(x, w, None, window), 5e-6)
    within(KERNELS.conv2d_weight_gradient(x, dy, window), dw, 5e-6)
    within(KERNELS.conv2d_input_gradient(dy, w, window, x.shape), dx, 5e-6)


@pytest.mark.parametrize(("channels", "filters"), [(3, 5), (32, 16)])
def test_convolution_of_arrays_with_gaps(channels, filters):
    """Every second sample, axes in another order: by both ways as the same numbers in a row."""
    window = a_window((5, 6))
    x, w = draw(1, channels, 5, 6, 40), draw(2, channels, filters, 3, 3).transpose(1, 0, 2, 3)
    check_three(x[..., ::2], w, None, window, 1.0, BOUNDS[np.float32])
    check_three(np.asfortranarray(x), w, None, window, 1.0, BOUNDS[np.float32])


# --- dense -----------------------------------------------------------------------------------

SIZES = (1, 2, 7, 8, 9, 15, 16, 17, 31, 33, 64, 70)


def check_dense(fenced, units, features, samples):
    x, w = fenced.put(draw(1, features, samples)), fenced.put(draw(2, units, features))
    dy, bias = fenced.put(draw(3, units, samples)), fenced.put(draw(4, units))
    z, slope = w.astype(np.float64) @ x, (1.0, 0.0, 0.01)[units % 3]
    within(KERNELS.dense(x, w, None, slope), np.where(z > 0, z, slope * z) + 0.0, 5e-6)
    z += bias[:, None]
    within(KERNELS.dense(x, w, bias, 0.5), np.where(z > 0, z, 0.5 * z), 5e-6)
    within(KERNELS.dense_input_gradient(dy, w), w.astype(np.float64).T @ dy, 5e-6)
    within(KERNELS.dense_weight_gradient(x, dy), dy.astype(np.float64) @ x.T, 5e-6)
    fenced.check()


@pytest.mark.parametrize("units", SIZES)
def test_dense(fenced, units):
    """Rows, columns and samples beside whole blocks, each with each; the smallest go to BLAS."""
    for features, samples in itertools.product(SIZES, SIZES):
        check_dense(fenced, units, features, samples)


def test_dense_of_every_size_up_to_70(fenced):
    for size in range(1, 71):
        check_dense(fenced, size, 71 - size, 9 + size // 2)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_large_products_are_packed_and_give_the_same_bits(fenced, monkeypatch, dtype):
    """Depths beside whole cuts, rows and columns beside whole blocks."""
    whole = processor.DEPTH
    for rows, depth, columns in itertools.product((8, 13), (1, whole, 2 * whole + 3), (16, 33, 70)):
        x = fenced.put(draw(1, depth, columns).astype(dtype))
        w = fenced.put(draw(2, rows, depth).astype(dtype))
        bias = fenced.put(draw(3, rows).astype(dtype))
        with monkeypatch.context() as now:
            now.setattr(fully_connected, "PACK_FROM", math.inf)
            in_place = KERNELS.dense(x, w, bias, 0.5)
            now.setattr(fully_connected, "PACK_FROM", 0)
            now.setattr(fully_connected, "product", None)
            packed = KERNELS.dense(x, w, bias, 0.5)
        assert packed.tobytes() == in_place.tobytes()
        z = w.astype(np.float64) @ x + bias[:, None]
        within(packed, np.where(z > 0, z, 0.5 * z), 5e-6)
        fenced.check()


@pytest.mark.parametrize("pack_from", [0, math.inf])
def test_dense_layers_that_threads_divide_give_the_same_bits(monkeypatch, pack_from):
    """Rows beside whole blocks: every row is somebody's."""
    monkeypatch.setattr(recorder, "LEAST_DIVIDED", 0)
    monkeypatch.setattr(fully_connected, "PACK_FROM", pack_from)
    for units, features, samples in ((37, 75, 33), (8, 100, 70), (64, 9, 16)):
        x, w, dy = draw(1, features, samples), draw(2, units, features), draw(3, units, samples)
        calls = []
        with recording(calls):
            found = [
                KERNELS.dense(x, w, draw(4, units), 0.5),
                KERNELS.dense_input_gradient(dy, w),
                KERNELS.dense_weight_gradient(x, dy),
            ]
        alone = [array.copy() for array in found]
        for array in found:
            array.fill(np.nan)
        assert list(Replay(calls, threads=2).program()) == []
        assert [array.tobytes() for array in found] == [array.tobytes() for array in alone]


def test_transpose(fenced):
    """Squares in registers, the edges one by one: no number is changed on the way."""
    for rows, count in itertools.product((*range(1, 20), 31, 32, 33, 50), repeat=2):
        x = fenced.put(draw(1, rows, count))
        turned = fenced.empty((count, rows), np.float32)
        fully_connected.transpose(x.reshape(-1), rows, count, turned.reshape(-1))
        assert turned.tobytes() == x.T.tobytes()
        fenced.check()


def test_bias_gradient(fenced):
    """Rows that end anywhere in their four vectors; the next row's numbers do not count."""
    for length in range(1, 201):
        dy = fenced.put(draw(1, 3, length))
        found, total = KERNELS.bias_gradient(dy), dy.sum(axis=1, dtype=np.float64)
        assert (np.abs(found - total) <= 1e-6 * np.abs(dy).sum(axis=1)).all(), length
        fenced.check()
    volume = draw(2, 3, 4, 5, 7)
    within(KERNELS.bias_gradient(volume), volume.sum(axis=(1, 2, 3), dtype=np.float64), 1e-6)


# --- pooling ---------------------------------------------------------------------------------


@pytest.mark.parametrize("place", range(6))
def test_nan_is_not_lost_in_a_max_pool(place):
    """Wherever in its window it stands: what is wrong must show at the end of the network."""
    for samples in (1, 16, 17):
        x = draw(1, 2, 2, 3, samples)
        x[1, place // 3, place % 3, -1] = np.nan
        y, _ = KERNELS.max_pool(x, Window((2, 3), (2, 3), (1, 1), (0, 0, 0, 0), (1, 1)))
        assert np.isnan(y[1, 0, 0, -1]), "NaN was lost"
        assert np.count_nonzero(np.isnan(y)) == 1


POOLS = [  # kernel, stride, padding
    ((2, 2), (2, 2), (0, 0, 0, 0)),  # covers all, or leaves a row and a column
    ((2, 3), (2, 2), (0, 0, 0, 0)),  # windows share columns
    ((3, 3), (2, 2), (1, 1, 1, 1)),
    ((2, 2), (3, 3), (0, 0, 0, 0)),  # pixels between the windows are in none
    ((3, 2), (1, 1), (2, 1, 0, 1)),
]


@pytest.mark.parametrize(("kernel", "stride", "padding"), POOLS)
def test_pooling(fenced, kernel, stride, padding):
    """Ties go to the first and padding never wins, in full and in part-full vectors alike."""
    for samples in SAMPLES:
        window = a_window((6, 7), kernel, stride, padding)
        tied = np.random.default_rng(5).integers(-9, -6, (2, 6, 7, samples)).astype(np.float32)
        x, dy = fenced.put(tied), fenced.put(draw(6, 2, *window.output, samples))
        first = [np.moveaxis(array, -1, 0).astype(np.float64) for array in (x, dy)]
        y, winner = KERNELS.max_pool(x, window)
        dx = KERNELS.max_pool_gradient(dy, winner, window, x.shape)
        y_true, dx_true = naive.max_pool(*first, kernel, stride, padding)
        assert np.array_equal(np.moveaxis(y, -1, 0), y_true)
        within(np.moveaxis(dx, -1, 0), dx_true, 1e-6)
        counts = naive.separate(naive.average_counts((6, 7), kernel, stride, padding, False, True))
        mean, back = naive.average_pool(*first, kernel, stride, padding)
        within(np.moveaxis(KERNELS.average_pool(x, counts, window), -1, 0), mean, 1e-6)
        dx = KERNELS.average_pool_gradient(dy, counts, window, x.shape)
        within(np.moveaxis(dx, -1, 0), back, 1e-6)
        fenced.check()


@pytest.mark.parametrize(("kernel", "kind"), [((15, 17), np.uint8), ((17, 16), np.int32)])
def test_winners_are_bytes_while_a_byte_can_count_them(kernel, kind):
    """255 and 272 places: the last one wins, whose number does not fit a signed byte."""
    window = a_window((17, 17), kernel)
    x = np.zeros((1, 17, 17, 3), np.float32)
    x[0, kernel[0] - 1, kernel[1] - 1] = 1
    y, winner = KERNELS.max_pool(x, window)
    assert winner.dtype == kind
    assert winner[0, 0, 0].tolist() == [kernel[0] * kernel[1] - 1] * 3
    dx = KERNELS.max_pool_gradient(np.ones_like(y), winner, window, x.shape)
    assert (dx[0, kernel[0] - 1, kernel[1] - 1] >= 1).all()
    assert dx.sum() == y.size


# --- the two ends of a step ------------------------------------------------------------------


def images(count, channels, size=(5, 7)):
    return np.random.default_rng(8).integers(0, 256, (count, channels, *size), np.uint8)


@pytest.mark.parametrize("samples", [1, 5, 16, 33])
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("name", ["unit", "center", "standard", "none", "by hand"])
def test_images_are_taken_bit_by_bit_as_a_batch(fenced, name, channels, samples):
    """A captured step must see the very numbers that every other step sees."""
    pixels = images(40, channels)
    if name == "by hand":  # a mean of 0 alone and a deviation of 1 alone: nothing to be skipped
        means, stds = (0.0, 0.3, 0.0)[:channels], (0.7, 1.0, 1.0)[:channels]
        scaling = Scaling("standard", 3, 250, means, stds)
    else:
        scaling = Scaling.fit(name, pixels, (3, 250))
    data = Dataset(pixels, np.zeros(40, int), ("?",), scaling)
    indices = np.random.default_rng(samples).permutation(40)[:samples]
    indices[-1] -= 40  # counted from the end, as NumPy allows
    out = fenced.empty((channels, 5, 7, samples), np.float32)
    constants = data.scaling.constants(channels, np.float32)
    rows = fenced.put(data.images.reshape(40, -1))
    ends.take_images(rows, indices, *constants, out.reshape(-1))
    assert out.tobytes() == to_batch_last(data.batch(indices)[0]).tobytes()


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("kind", [MSE, CrossEntropy])
def test_losses_are_those_of_the_layer_by_layer_step(fenced, kind, smoothing):
    """The loss of each sample and the gradient for the outputs, to the rounding of float32."""
    loss = kind(smoothing)
    for samples in (1, 5, 16, 33):
        y, labels = fenced.put(4 * draw(1, 6, samples)), np.arange(samples) % 6
        losses, cache = loss.forward(y, labels)
        kernel, factor = LOSSES[f"glassbox.engine.losses.{kind.__name__}"]
        found, difference = getattr(ends, kernel)(y, labels, 1 - smoothing * 5 / 6, smoothing / 6)
        dz = ends.scaled(difference, factor(6, 100))
        np.testing.assert_allclose(found, losses, rtol=2e-6, atol=1e-6)  # of logits of about 10
        np.testing.assert_allclose(dz, loss.backward(cache, 100), rtol=2e-6, atol=1e-8)
        assert found.dtype == dz.dtype == np.float32


def test_cross_entropy_of_huge_logits_is_finite():
    """A right answer costs nothing, a wrong one what it is off by."""
    z = np.array([[1000.0, -1000.0], [-1000.0, 1000.0]], np.float32)
    losses, difference = ends.cross_entropy(z, np.array([0, 0]), 1.0, 0.0)
    assert losses.tolist() == [0.0, 2000.0]
    assert difference.tolist() == [[0.0, -1.0], [0.0, 1.0]]


@pytest.mark.parametrize("classes", [1, 2, 10])
def test_right_answers_are_counted_as_numpy_does(classes):
    """Scores of 0, 1 and 2 only: of equal scores the first is the answer."""
    random = np.random.default_rng(classes)
    for samples in (1, 16, 33, 70):
        y = random.integers(0, 3, (classes, samples)).astype(np.float32)
        labels = random.integers(0, classes, samples)
        expected = np.count_nonzero(y.argmax(axis=0) == labels)
        assert ends.count_right(y, labels).tolist() == [expected]


# --- updates ---------------------------------------------------------------------------------

UPDATES = [
    SGD(0.1), SGD(0.1, 0.9), SGD(0.1, 0.9, nesterov=True), Adam(0.01), RMSprop(0.01),
    RMSprop(0.01, momentum=0.9), Adadelta(),
]  # fmt: skip


@pytest.mark.parametrize("optimizer", UPDATES, ids=repr)
def test_fused_updates_agree_with_the_optimizers(optimizer):
    """Weights and states after five steps, to the rounding of float32."""

    def run(move):
        weights = draw(1, 1003)
        state = optimizer.new_state(weights)
        for step in range(1, 6):
            state["steps"] = step
            move(weights, draw(10 + step, 1003), state, 0.1)
        return [weights, *(state[name] for name in optimizer.state_names)]

    fused = partial(fused_kernel(optimizer, KERNELS), optimizer)
    for found, expected in zip(run(fused), run(optimizer.move), strict=True):
        assert found.dtype == np.float32
        np.testing.assert_allclose(found, expected, rtol=2e-6, atol=1e-6 * np.abs(expected).max())


@pytest.mark.parametrize("optimizer", UPDATES, ids=repr)
def test_updates_are_given_float32_alone(optimizer, monkeypatch):
    """A rate that stays Python's own number would turn the whole update into float64, unseen."""
    seen = []

    def watched(function):
        def call(turn, *arguments):
            seen.extend(np.asarray(argument).dtype for argument in arguments)
            function(turn, *arguments)

        return call

    for word, function in list(vars(pointwise).items()):
        if hasattr(function, "py_func"):
            monkeypatch.setattr(pointwise, word, watched(function))
    weights = np.ones(9, np.float32)
    state = optimizer.new_state(weights) | {"steps": 1}
    fused_kernel(optimizer, KERNELS)(optimizer, weights, np.ones(9, np.float32), state, 0.1)
    assert len(seen) >= 3
    assert set(seen) <= {np.dtype(np.float32), np.dtype(bool)}


# --- nothing in another type, nothing copied -------------------------------------------------


def sigmoid_net(**settings):
    layers = [Conv2D(8, 3), MaxPool2D(2), Conv2D(16, 3), MaxPool2D(2), Dense(24), Dense(10)]
    return CNN(*layers, **settings)


def relu_net(**settings):
    return CNN(
        Conv2D(3, (2, 3), padding="valid", activation="relu"), AvgPool2D(2), LeakyReLU(0.1),
        Conv2D(5, 3, stride=2, dilation=2, padding=3, bias=False), MaxPool2D(3, 2, padding=1),
        Dense(12, "relu"), Dense(10, "softmax"),
        loss="cross_entropy", label_smoothing=0.1, l2=0.01, **settings,
    )  # fmt: skip


def winograd_net(**settings):
    return CNN(Conv2D(32, 1), Conv2D(32, 3), MaxPool2D(2), Dense(10), **settings)


NETS = pytest.mark.parametrize("net", [sigmoid_net, relu_net, winograd_net])


def pictures(channels=1, count=140, size=(14, 13)):
    pixels = images(count, channels, size)
    names = tuple("0123456789")
    return Dataset(pixels, np.arange(count) % 10, names, Scaling.fit("standard", pixels))


def numbers(value):
    """All arrays and numbers in the arguments of a call."""
    if isinstance(value, tuple | list):
        return [number for each in value for number in numbers(each)]
    return [value]


def recorded(network):
    pool = network.executor.captured.training
    return [capture for idle in pool._idle.values() for capture in idle]


@NETS
def test_a_capture_holds_float32_and_whole_numbers_only(net):
    """One number of another type, and a kernel would be compiled for float64 unseen."""
    network = net(threads=1)
    network.train_step(pictures())
    captures = recorded(network)
    assert captures
    for capture in captures:
        (segment,), loss = capture._parts, capture._loss
        for call in [*segment.all_forward, *segment.all_backward, *loss.calls]:
            for number in numbers(call.args):
                kind = np.asarray(number).dtype
                assert kind == np.float32 or kind.kind in "iub", (call.func, number)
        for array in (capture.input.x, loss.dz, capture.gradient):
            assert array.dtype == np.float32


@NETS
def test_layer_by_layer_everything_is_float32(net):
    """Outputs, all that layers keep for the way back, and gradients."""
    network, data = net(threads=1), pictures()
    network.build(data.shape)
    x = to_batch_last(data.batch(np.arange(33))[0])
    y, caches = forward(network.layers, x, Context(True, batch=33))
    losses, cache = network.loss.forward(y, data.labels[:33])
    dz = network.loss.backward(cache, 33)
    _, gradients = backward(network.layers, dz, caches)
    kept = numbers([caches, [list(own.values()) for own in gradients]])
    for array in (x, y, losses, dz, *kept):
        if isinstance(array, np.ndarray) and array.dtype.kind == "f":
            assert array.dtype == np.float32


def bytes_of_a_step(network, data, indices):
    """The most that steps 5 to 7 have at once, in bytes (NumPy tells tracemalloc).

    Steps 1, 2, 4 and 8 are compared with the layers, which allocate.
    """
    for _ in range(4):
        network.train_step(data, indices)
    tracemalloc.start()
    try:
        for _ in range(3):
            network.train_step(data, indices)
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_a_captured_step_allocates_nothing_large():
    """No output of a layer (the largest is 1.6 MB), no copy of the weights (80 kB).

    On one thread: of two, chance says in which step both first need a capture at the same time.
    """
    network, data = sigmoid_net(threads=1), pictures(size=(28, 28))
    assert bytes_of_a_step(network, data, np.arange(64)) < 40_000
    assert recorded(network)
    assert network.parameters.values.nbytes > 80_000


def test_a_step_does_not_copy_images_that_lie_in_another_order():
    """Color pictures as Keras stores them, channels last; all are 0.9 MB, a batch is 49 kB."""
    stored = np.random.default_rng(1).integers(0, 256, (300, 32, 32, 3), np.uint8)
    data = Dataset(
        np.moveaxis(stored, -1, 1), np.arange(300) % 10, tuple("0123456789"), Scaling("unit")
    )
    network = sigmoid_net(threads=1)
    few = np.arange(16)
    assert bytes_of_a_step(network, data, few) < 8 * stored[few].nbytes  # floats take 4
    whole = Dataset(np.ascontiguousarray(data.images), data.labels, data.classes, data.scaling)
    twin = sigmoid_net(threads=1)
    for _ in range(7):
        twin.train_step(whole, few)
    assert network.parameters.values.tobytes() == twin.parameters.values.tobytes()


# --- without Numba ---------------------------------------------------------------------------


@pytest.fixture
def no_numba(monkeypatch):
    """Python does not find Numba."""
    find_spec = glassbox.kernels.find_spec

    def missing(name, *arguments):
        return None if name == "numba" else find_spec(name, *arguments)

    monkeypatch.setattr("importlib.util.find_spec", missing)
    monkeypatch.setattr(glassbox.kernels, "find_spec", missing)


def test_compiled_without_numba_says_how_to_install_it(no_numba):
    with pytest.raises(ModuleNotFoundError, match="pip install numba"):
        choose.__wrapped__("compiled")


def test_a_numba_that_cannot_be_imported_or_compile_is_told_in_a_sentence(monkeypatch):
    """What variables such as NUMBA_NUM_THREADS=0 and NUMBA_DISABLE_JIT=1 do to it."""

    def broken(name):
        raise ValueError("Number of threads specified must be > 0.")

    monkeypatch.setattr("numba.config.DISABLE_JIT", 1)
    with pytest.raises(
        RuntimeError, match="NUMBA_DISABLE_JIT turns the compiler off; remove it, or"
    ):
        choose.__wrapped__("compiled")
    monkeypatch.setattr(glassbox.kernels, "import_module", broken)
    with pytest.raises(ImportError, match=r"imported \(ValueError: Number of threads .*; mend"):
        choose.__wrapped__("compiled")


def test_the_default_without_numba_is_numpy(no_numba):
    """The default is decided where the module is loaded, so it is loaded once more."""
    loaded = runpy.run_path(glassbox.kernels.__file__)
    assert loaded["DEFAULT"] == "numpy"
    assert loaded["choose"]().__name__ == "glassbox.kernels.pure_numpy"


def test_the_default_with_numba_is_compiled():
    assert glassbox.kernels.DEFAULT == "compiled"
    assert choose() is KERNELS
