"""Convolution as one product over the pixels where they lie: nothing is unfolded.

For one place in the output and one tap (a channel, a row and a column of the kernel), the pixels
that all samples need are neighbours in memory, and so are those of the next place to the right.
So the product of im2col, filters x taps times taps x places, can read its second factor straight
from the padded image: tap k of a run of outputs begins at taps[k] + the run's own start.
"""

from __future__ import annotations

import math
from functools import lru_cache
from itertools import product
from typing import NamedTuple

import numpy as np

from glassbox.kernels.compiled.build import compiled
from glassbox.kernels.compiled.processor import COLUMNS, PROCESSOR, ROWS
from glassbox.kernels.compiled.team import begin, finish
from glassbox.kernels.compiled.vectors import (
    add_sums,
    inner,
    kept,
    lanes,
    leaky,
    loaded,
    outer,
    started,
    store,
)
from glassbox.kernels.recorder import call, call_divided
from glassbox.kernels.shapes import Shape, Window

Array = np.ndarray

CHUNK = 1024  # outputs whose pixels stay in the innermost cache while all taps meet them

# Outputs that are neighbours both where they are read and where they are written:
# (count, per_row, length, row_step, column_step).  Run r has `length` outputs; it starts at
# (r // per_row) row_step + (r % per_row) column_step in x and at r length in y.
Runs = tuple[int, int, int, int, int]


class Plan(NamedTuple):
    """Where a convolution reads: taps[k], the offset of each tap, and the runs of outputs."""

    taps: Array
    runs: Runs


@lru_cache(maxsize=4096)
def plan(window: Window, channels: int, height: int, width: int, samples: int) -> Plan:
    """The plan of a window over padded images of (channels, height, width)."""
    (kh, kw), (sh, sw), (dh, dw), (oh, ow) = (
        window.kernel, window.stride, window.dilation, window.output,
    )  # fmt: skip
    row = width * samples
    c, i, j = np.ix_(np.arange(channels), np.arange(kh), np.arange(kw))
    taps = (c * height * row + i * dh * row + j * dw * samples).reshape(-1)
    if sw == 1:
        return Plan(taps, (oh, 1, ow * samples, sh * row, 0))
    return Plan(taps, (oh * ow, ow, samples, sh * row, sw * samples))


# --- forward ---------------------------------------------------------------------------------


@compiled
def slide(turn, w, bias, slope, x, taps, runs, y, filters):
    """y[o, run] = leaky(bias[o] + sum over k of w[o, k] x[taps[k] + run]).

    w and bias must have at least `ROWS` rows, however few the filters.
    """
    width = lanes(x)
    count, per_row, length, row_step, column_step = runs
    vectors = (length + width - 1) // width  # of one run; the last one may be part full
    full = length // width
    places, depth = count * length, len(taps)
    first_block, last_block = begin(turn, (count * vectors + COLUMNS - 1) // COLUMNS)
    for v in range(first_block * COLUMNS, last_block * COLUMNS, COLUMNS):
        run, part = v // vectors, v % vectors
        if part + COLUMNS <= full:
            at = part * width
            source = (run // per_row) * row_step + (run % per_row) * column_step
            for first in range(0, filters, ROWS):
                o = max(0, min(first, filters - ROWS))
                block = started(bias, o, ROWS, COLUMNS)
                for k in range(len(taps)):
                    block = outer(block, w, o * depth + k, depth, x, taps[k] + source + at, None)
                store(
                    leaky(block, slope), y, o * places + run * length + at, places,
                    filters, None,
                )  # fmt: skip
        else:
            x0, y0, n0 = _place(v, vectors, width, runs)
            x1, y1, n1 = _place(v + 1, vectors, width, runs)
            x2, y2, n2 = _place(v + 2, vectors, width, runs)
            x3, y3, n3 = _place(v + 3, vectors, width, runs)
            counts = (n0, n1, n2, n3)
            for first in range(0, filters, ROWS):
                o = max(0, min(first, filters - ROWS))
                block = started(bias, o, ROWS, COLUMNS)
                for k in range(len(taps)):
                    t = taps[k]
                    block = outer(
                        block, w, o * depth + k, depth, x,
                        (t + x0, t + x1, t + x2, t + x3), counts,
                    )  # fmt: skip
                up = o * places
                store(
                    leaky(block, slope), y, (up + y0, up + y1, up + y2, up + y3), places,
                    filters, counts,
                )  # fmt: skip
    finish(turn)


@compiled
def _place(v, vectors, width, runs):
    """Where vector v of all runs is read and written, and how many of its lanes are there."""
    count, per_row, length, row_step, column_step = runs
    run, at = v // vectors, (v % vectors) * width
    if run >= count:
        return 0, 0, 0
    source = (run // per_row) * row_step + (run % per_row) * column_step
    return source + at, run * length + at, min(width, length - at)


def conv2d(
    x: Array, weights: Array, bias: Array | None, window: Window, slope: float = 1.0
) -> Array:
    """y[o, i, j] = leaky(sum over c, a, b of w[o, c, a, b] x[c, i s + a d, j s + b d] + bias[o]).

    leaky(z) = z where z > 0, else slope z: 1 for none, 0 for ReLU.
    """
    filters, channels, samples = len(weights), x.shape[0], x.shape[3]
    padded = pad(x, window.padding)
    taps, runs = plan(window, channels, padded.shape[1], padded.shape[2], samples)
    y = np.empty((filters, *window.output, samples), x.dtype)
    w, b = filter_bank(weights, bias)
    call_divided(
        slide, y.size * len(taps), w, b, x.dtype.type(slope), padded.reshape(-1), taps, runs,
        y.reshape(-1), filters,
    )  # fmt: skip
    return y


def filter_bank(weights: Array, bias: Array | None) -> tuple[Array, Array]:
    """Flat weights and biases, with rows of zeros where there are fewer than a block's."""
    filters = len(weights)
    row = flat(weights)
    if bias is None:
        bias = zeros(max(filters, ROWS), weights.dtype)
    if filters < ROWS:
        more, extra = np.zeros(ROWS * (row.size // filters), row.dtype), np.zeros(ROWS, row.dtype)
        call(np.copyto, more[: row.size], row)
        call(np.copyto, extra[:filters], bias[:filters])
        return more, extra
    return row, bias


@lru_cache
def zeros(count: int, dtype: np.dtype) -> Array:
    return np.zeros(count, dtype)


# --- gradient of the input -------------------------------------------------------------------


class Phase(NamedTuple):
    """Every so many-th pixel of an image, the taps that meet it, and where these read dy."""

    pixels: tuple[slice, slice]
    met: tuple[slice, slice]
    plan: Plan


@lru_cache(maxsize=4096)
def phases(
    window: Window, shape: Shape, filters: int
) -> tuple[tuple[int, int, int, int], list[Phase]]:
    """The border that dy needs, and the phases of images (channels, height, width, samples).

    Along an axis, tap a of the window of output (u + p - a d) / s meets pixel u, if that is whole:
    so pixels that are s apart meet the same taps, each an output further; some meet none.
    """
    border: list[int] = []
    axes = []
    for axis, length in enumerate(shape[1:3]):
        kernel, step, apart = window.kernel[axis], window.stride[axis], window.dilation[axis]
        period, along = step // math.gcd(step, apart), []
        for r in range(min(step, length)):
            u = r + window.padding[2 * axis]
            first = next((a for a in range(period) if (u - a * apart) % step == 0), kernel)
            if first < kernel:
                met = slice(first, kernel, period)
                outputs = (u - np.arange(kernel)[met] * apart) // step
                along.append((slice(r, None, step), met, outputs, -(-(length - r) // step)))
        least = min((int(outputs.min()) for *_, outputs, _ in along), default=0)
        most = max((int(outputs.max()) + count for *_, outputs, count in along), default=0)
        border += [max(0, -least), max(0, most - window.output[axis])]
        axes.append(along)
    top, bottom, left, right = border
    row = (window.output[1] + left + right) * shape[3]
    every = np.arange(filters)[:, None, None] * (window.output[0] + top + bottom) * row
    found = []
    for (down, met, outputs, height), (across, met_across, outputs_across, width) in product(*axes):
        places = (outputs[:, None] + top) * row + (outputs_across + left) * shape[3]
        runs = height, 1, width * shape[3], row, 0
        plan = Plan((every + places).reshape(-1), runs)
        found.append(Phase((down, across), (met, met_across), plan))
    return (top, bottom, left, right), found


def conv2d_input_gradient(dy: Array, weights: Array, window: Window, shape: Shape) -> Array:
    """dx: again convolutions, of dy: one for each phase of the image, with the taps that meet it.

    Where windows move by one pixel there is one phase, and its kernel is turned by 180 degrees.
    """
    border, parts = phases(window, shape, len(dy))
    padded, one = pad(dy, border).reshape(-1), dy.dtype.type(1)
    dx = np.empty(shape, dy.dtype)
    if sum(dx[:, down, across].size for (down, across), *_ in parts) < dx.size:
        call(np.copyto, dx, 0)  # pixels that no tap meets
    for (down, across), (met, met_across), (taps, runs) in parts:
        pixels = dx[:, down, across]
        bank = contiguous(weights[:, :, met, met_across].transpose(1, 0, 2, 3))
        y = dx if pixels.shape == dx.shape else np.empty(pixels.shape, dy.dtype)
        call_divided(
            slide, y.size * len(taps), *filter_bank(bank, None), one, padded, taps, runs,
            y.reshape(-1), len(dx),
        )  # fmt: skip
        if y is not dx:
            call(np.copyto, pixels, y)
    return dx


def turned(weights: Array) -> Array:
    """Every kernel turned by 180 degrees, channels and filters in each other's place: a view."""
    return weights[:, :, ::-1, ::-1].transpose(1, 0, 2, 3)


# --- gradient of the weights -----------------------------------------------------------------


@compiled
def correlate(turn, dy, filters, x, taps, runs, zero, dw, sums):
    """dw[o, k] = sum over all runs of dy[o, run] x[taps[k] + run].

    Whole vectors are added up, a chunk of runs at a time; their lanes come last.  `sums` keeps
    the vectors until the next chunk; zero: `ROWS` zeros.
    """
    width = lanes(x)
    count, per_row, length, row_step, column_step = runs
    places = count * length
    last, across = len(taps) - 1, COLUMNS * width
    in_chunk = max(1, CHUNK // length)
    first, end = begin(turn, (filters + ROWS - 1) // ROWS)
    sums_at = first * (last // COLUMNS + 1) * ROWS * across
    first, end = first * ROWS, min(end * ROWS, filters)
    dw[first * len(taps) : end * len(taps)] = 0
    for chunk in range(0, count, in_chunk):
        block_at = sums_at
        for o in range(first, end, ROWS):
            d0 = o * places
            d1 = min(o + 1, filters - 1) * places
            d2 = min(o + 2, filters - 1) * places
            d3 = min(o + 3, filters - 1) * places
            for k in range(0, len(taps), COLUMNS):
                t0, t1 = taps[k], taps[min(k + 1, last)]
                t2, t3 = taps[min(k + 2, last)], taps[min(k + 3, last)]
                if chunk == 0:
                    block = started(zero, 0, ROWS, COLUMNS)
                else:
                    block = loaded(sums, block_at, across, ROWS, COLUMNS)
                for run in range(chunk, min(chunk + in_chunk, count)):
                    d = run * length
                    s = (run // per_row) * row_step + (run % per_row) * column_step
                    for _ in range(length // width):
                        block = inner(
                            block, dy, (d0 + d, d1 + d, d2 + d, d3 + d),
                            x, (t0 + s, t1 + s, t2 + s, t3 + s), None,
                        )  # fmt: skip
                        d += width
                        s += width
                    if length % width:
                        block = inner(
                            block, dy, (d0 + d, d1 + d, d2 + d, d3 + d),
                            x, (t0 + s, t1 + s, t2 + s, t3 + s), length % width,
                        )  # fmt: skip
                if chunk + in_chunk < count:
                    kept(block, sums, block_at, across)
                else:
                    add_sums(block, dw, o * len(taps) + k, len(taps), filters - o, len(taps) - k)
                block_at += ROWS * across
    finish(turn)


def conv2d_weight_gradient(x: Array, dy: Array, window: Window) -> Array:
    """dw[o, c, a, b] = sum over all outputs of dy[o, i, j] x[c, i s + a d, j s + b d]."""
    filters, channels, samples = len(dy), x.shape[0], x.shape[3]
    padded = pad(x, window.padding)
    taps, runs = plan(window, channels, padded.shape[1], padded.shape[2], samples)
    dw = np.empty((filters, channels, *window.kernel), x.dtype)
    blocks = -(-filters // ROWS) * -(-len(taps) // COLUMNS)
    sums = np.empty(blocks * ROWS * COLUMNS * vector_lanes(x.dtype), x.dtype)
    call_divided(
        correlate, dy.size * len(taps), flat(dy), filters, padded.reshape(-1), taps, runs,
        zeros(ROWS, x.dtype), dw.reshape(-1), sums,
    )  # fmt: skip
    return dw


# --- padding ---------------------------------------------------------------------------------


@compiled
def _put_inside(x, channels, height, row, padded, top, left, padded_height, padded_row, value):
    """x into the middle of `padded`, `value` around it; rows are counted in numbers."""
    for c in range(channels):
        plane = c * padded_height * padded_row
        padded[plane : plane + top * padded_row] = value
        for i in range(height):
            start = plane + (top + i) * padded_row
            source = (c * height + i) * row
            padded[start : start + left] = value
            padded[start + left : start + left + row] = x[source : source + row]
            padded[start + left + row : start + padded_row] = value
        padded[plane + (top + height) * padded_row : plane + padded_height * padded_row] = value


def pad(x: Array, padding: tuple[int, int, int, int], value: float = 0.0) -> Array:
    """x with a border of `value`: (top, bottom, left, right) pixels; contiguous."""
    if not any(padding):
        return contiguous(x)
    top, bottom, left, right = padding
    channels, height, width, samples = x.shape
    padded_height, padded_width = height + top + bottom, width + left + right
    padded = np.empty((channels, padded_height, padded_width, samples), x.dtype)
    call(
        _put_inside, flat(x), channels, height, width * samples, padded.reshape(-1), top,
        left * samples, padded_height, padded_width * samples, x.dtype.type(value),
    )  # fmt: skip
    return padded


# --- small things ----------------------------------------------------------------------------


def contiguous(array: Array) -> Array:
    """The same numbers without gaps, in C order: the array itself where it is so already."""
    if array.flags.c_contiguous:
        return array
    dense = np.empty(array.shape, array.dtype)
    call(np.copyto, dense, array)
    return dense


def flat(array: Array) -> Array:
    """All numbers of an array in a row, in C order."""
    return contiguous(array).reshape(-1)


def vector_lanes(dtype: np.dtype) -> int:
    """Numbers of this type in one vector."""
    return PROCESSOR.vector_bytes // dtype.itemsize
