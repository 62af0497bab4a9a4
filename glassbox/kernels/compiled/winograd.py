"""3 x 3 convolution with a quarter of the multiplications, for many channels and filters.

Of 4 x 4 outputs and the 6 x 6 pixels they look at, Winograd's minimal filtering makes 36 products
where the definition has 144: pixels and weights are changed into another basis by additions and a
few constants, multiplied there, and the sums over all channels changed back,

    y = OUT ((WEIGHTS w WEIGHTS^T) * (IN x IN^T)) OUT^T       (Lavin and Gray 2016, F(4x4, 3x3))

In each of the 36 places the sum over the channels is a matrix product, filters x channels times
channels x tiles.  The gradient of the weights is the same formula read backwards.
Rounding: the constants cost about a decimal digit.  In float32 results differ from the definition
by some 4e-6 of the largest with 32 channels, 1.5e-5 with 256 and 3.4e-5 with 1,024.
"""

from __future__ import annotations

import numpy as np

from glassbox.kernels.compiled.build import compiled
from glassbox.kernels.compiled.convolution import flat, vector_lanes
from glassbox.kernels.compiled.processor import COLUMNS, PAIR_ROWS, ROWS
from glassbox.kernels.compiled.vectors import (
    between,
    kept,
    lanes,
    leaky,
    loaded,
    outer,
    patch,
    put,
    raised,
    started,
    turn_square,
)
from glassbox.kernels.recorder import call
from glassbox.kernels.shapes import Window

Array = np.ndarray

PLACES = 36
# Slots go `COLUMNS` at a time: as many vectors in each product, and their pixels fit in cache.


def _by_place(rows: int, dtype: np.dtype) -> Array:
    """Scratch of rows x `COLUMNS` vectors for each of the 36 places.

    One more vector behind each: at a distance of a power of two they would all want the same few
    lines of the cache.
    """
    return np.empty(PLACES * (rows * COLUMNS + 1) * vector_lanes(dtype), dtype)


@compiled
def _slots(samples, output, size):
    """How many slots there are: a slot is a tile of 4 x 4 outputs and a vector of samples."""
    return ((output[0] + 3) // 4) * ((output[1] + 3) // 4) * ((samples + size - 1) // size)


@compiled
def _slot(slot, samples, output, size):
    """A slot's first output row and column, first sample, and how many samples; none: no slot."""
    vectors, across = (samples + size - 1) // size, (output[1] + 3) // 4
    tile, at = slot // vectors, (slot % vectors) * size
    if slot >= _slots(samples, output, size):
        return 0, 0, 0, 0
    return (tile // across) * 4, (tile % across) * 4, at, min(size, samples - at)


@compiled
def _pixels(x, shape, output, top, left, first, v, rows):
    """v[place, channel] = IN x IN^T for the slots from `first` on; a place has so many rows."""
    channels, height, width, samples = shape
    size = lanes(x)
    for s in range(COLUMNS):
        i, j, at, count = _slot(first + s, samples, output, size)
        i, j = i - top, j - left
        whole = i >= 0 and j >= 0 and i + 6 <= height and j + 6 <= width and count == size
        for c in range(channels):
            start = ((c * height + i) * width + j) * samples + at
            target = (c * COLUMNS + s) * size
            step = (rows * COLUMNS + 1) * size
            if whole:
                tile = patch(x, start, width * samples, samples, 6, None)
            else:
                limits = (i, height, j, width, count)
                tile = patch(x, start, width * samples, samples, 6, limits)
            put(between(tile, "in"), v, target, 6 * step, step, None)


@compiled
def _convolve(x, shape, output, top, left, u, filters, bias, slope, v, m, y):
    """y = OUT (u * v) OUT^T + bias, some slots at a time; u: the weights in the new basis."""
    channels, _, _, samples = shape
    oh, ow = output
    size = lanes(x)
    columns = COLUMNS * size
    for first in range(0, _slots(samples, output, size), COLUMNS):
        _pixels(x, shape, output, top, left, first, v, channels)
        for f in range(0, filters, ROWS):
            o = min(f, filters - ROWS)
            for place in range(36):
                block = started(bias, filters, ROWS, COLUMNS)  # zeros
                weights = (place * filters + o) * channels
                pixels = place * (channels * columns + size)
                for c in range(channels):
                    block = outer(block, u, weights + c, channels, v, pixels + c * columns, None)
                kept(block, m, place * (ROWS * columns + size), columns)
            for s in range(COLUMNS):
                i, j, at, count = _slot(first + s, samples, output, size)
                if count == 0:
                    continue
                whole = i + 4 <= oh and j + 4 <= ow and count == size
                for r in range(ROWS):
                    step = ROWS * columns + size
                    sums = patch(m, r * columns + s * size, 6 * step, step, 6, None)
                    tile = leaky(raised(between(sums, "out"), bias[o + r]), slope)
                    start = (((o + r) * oh + i) * ow + j) * samples + at
                    if whole:
                        put(tile, y, start, ow * samples, samples, None)
                    else:
                        put(tile, y, start, ow * samples, samples, (i, oh, j, ow, count))


@compiled
def _weights(w, pairs, u):
    """u[place, pair] = WEIGHTS w WEIGHTS^T; w[tap, pair], a pair is a filter and a channel."""
    size = lanes(w)
    for at in range(0, pairs, size):
        limits = (0, 6, 0, 6, min(size, pairs - at))
        tile = between(patch(w, at, 3 * pairs, pairs, 3, limits), "weights")
        put(tile, u, at, 6 * pairs, pairs, limits)


def conv2d(x: Array, weights: Array, bias: Array | None, window: Window, slope: float) -> Array:
    """As `convolution.conv2d`; the padding may be negative."""
    (filters, channels), samples = weights.shape[:2], x.shape[3]
    taps = np.empty((9, filters, channels), x.dtype)
    call(np.copyto, taps.reshape(3, 3, filters, channels), weights.transpose(2, 3, 0, 1))
    u = np.empty(PLACES * filters * channels, x.dtype)
    call(_weights, taps.reshape(-1), filters * channels, u)
    b = np.zeros(filters + ROWS, x.dtype)  # and a block's zeros behind
    if bias is not None:
        call(np.copyto, b[:filters], bias)
    y = np.empty((filters, *window.output, samples), x.dtype)
    call(
        _convolve, flat(x), x.shape, window.output, window.padding[0], window.padding[2], u,
        filters, b, x.dtype.type(slope), _by_place(channels, x.dtype),
        _by_place(ROWS, x.dtype), y.reshape(-1),
    )  # fmt: skip
    return y


# --- gradient of the weights -----------------------------------------------------------------


@compiled
def _correlate(x, shape, output, top, left, dy, filters, v, d, rows, across, turned, sums):
    """sums[place] = (OUT^T dy OUT) (IN x IN^T)^T: rows x across, summed over all tiles.

    rows and across are the filters and channels in whole blocks; what is more stays 0.
    """
    samples = shape[3]
    oh, ow = output
    size = lanes(x)
    columns, pairs = COLUMNS * size, rows * across
    sums[:] = 0
    for first in range(0, _slots(samples, output, size), COLUMNS):
        _pixels(x, shape, output, top, left, first, v, across)
        for s in range(COLUMNS):
            i, j, at, count = _slot(first + s, samples, output, size)
            whole = i + 4 <= oh and j + 4 <= ow and count == size
            for f in range(filters):
                start = ((f * oh + i) * ow + j) * samples + at
                step = rows * columns + size
                if whole:
                    tile = patch(dy, start, ow * samples, samples, 4, None)
                else:
                    tile = patch(dy, start, ow * samples, samples, 4, (i, oh, j, ow, count))
                put(between(tile, "out turned"), d, f * columns + s * size, 6 * step, step, None)
        for place in range(36):
            for c in range(0, across, size):
                for k in range(0, columns, size):
                    turn_square(
                        v, place * (across * columns + size) + c * columns + k, columns, turned,
                        k * across + c, across,
                    )  # fmt: skip
            for f in range(0, rows, PAIR_ROWS):
                outputs = place * (rows * columns + size) + f * columns
                for c in range(0, across - size, 2 * size):
                    at = place * pairs + f * across + c
                    block = loaded(sums, at, across, PAIR_ROWS, 2)
                    for k in range(columns):
                        block = outer(block, d, outputs + k, columns, turned, k * across + c, None)
                    kept(block, sums, at, across)
                if across % (2 * size):  # a single vector is left
                    c = across - size
                    at = place * pairs + f * across + c
                    last = loaded(sums, at, across, PAIR_ROWS, 1)
                    for k in range(columns):
                        last = outer(last, d, outputs + k, columns, turned, k * across + c, None)
                    kept(last, sums, at, across)


@compiled
def _weights_back(sums, pairs, dw):
    """dw[tap, pair] = WEIGHTS^T sums WEIGHTS."""
    size = lanes(sums)
    for at in range(0, pairs, size):
        limits = (0, 6, 0, 6, min(size, pairs - at))
        tile = between(patch(sums, at, 6 * pairs, pairs, 6, limits), "weights turned")
        put(tile, dw, at, 3 * pairs, pairs, limits)


def conv2d_weight_gradient(x: Array, dy: Array, window: Window) -> Array:
    """As `convolution.conv2d_weight_gradient`."""
    filters, channels, size = len(dy), len(x), vector_lanes(x.dtype)
    rows, across = -(-filters // PAIR_ROWS) * PAIR_ROWS, -(-channels // size) * size
    v, d = _by_place(across, x.dtype), _by_place(rows, x.dtype)
    v[:], d[:] = 0, 0
    sums, taps = np.empty(PLACES * rows * across, x.dtype), np.empty((9, rows, across), x.dtype)
    call(
        _correlate, flat(x), x.shape, window.output, window.padding[0], window.padding[2],
        flat(dy), filters, v, d, rows, across,
        np.empty(COLUMNS * size * across, x.dtype), sums,
    )  # fmt: skip
    call(_weights_back, sums, rows * across, taps.reshape(-1))
    dw = np.empty((filters, channels, 3, 3), x.dtype)
    inside = taps[:, :filters, :channels].transpose(1, 2, 0)
    call(np.copyto, dw.reshape(filters, channels, 9), inside)
    return dw
