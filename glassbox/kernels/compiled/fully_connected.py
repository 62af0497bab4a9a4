"""Dense layers: products of matrices, some rows by two vectors of columns at a time."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy import empty  # what kernels allocate

from glassbox.kernels.compiled.build import compiled
from glassbox.kernels.compiled.convolution import flat, vector_lanes, zeros
from glassbox.kernels.compiled.pointwise import bent
from glassbox.kernels.compiled.processor import DENSE_ROWS as ROWS
from glassbox.kernels.compiled.processor import DEPTH, PACK_FROM
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
    taken,
    total,
    turn_square,
)
from glassbox.kernels.recorder import call, call_divided

Array = np.ndarray

# A sum of rows: so many numbers of it stay in the first cache while so many rows are added.
STRETCH, TOGETHER = 1024, 8


@compiled
def product(turn, w, w_row, w_step, bias, slope, x, depth, y, rows, columns):
    """y[r, c] = leaky(bias[r] + sum over k < depth of w[r w_row + k w_step] x[k, c]).

    At least `ROWS` rows; the last block begins early enough to be whole.
    """
    width = lanes(x)
    own, end = begin(turn, (rows + ROWS - 1) // ROWS)
    for at in range(0, columns, 2 * width):
        left = columns - at
        for first in range(own, end):
            r = min(first * ROWS, rows - ROWS)
            block = started(bias, r, ROWS, 2)
            if left >= 2 * width:
                for k in range(depth):
                    block = outer(
                        block, w, r * w_row + k * w_step, w_row, x, k * columns + at, None
                    )
                store(leaky(block, slope), y, r * columns + at, columns, ROWS, None)
            else:
                counts = (min(left, width), max(left - width, 0))
                for k in range(depth):
                    place = k * columns + at
                    block = outer(
                        block, w, r * w_row + k * w_step, w_row, x, (place, place + width), counts
                    )
                place = r * columns + at
                store(leaky(block, slope), y, (place, place + width), columns, ROWS, counts)
    finish(turn)


@compiled
def packed_product(turn, w, w_row, w_step, bias, slope, x, depth, y, rows, columns, sums):
    """The same, to the bit, for large arrays: `DEPTH` rows of x at a time meet all rows of w.

    Two vectors of each of them lie one pair behind the other in a panel; `sums` keeps every block
    until the next rows come.
    """
    width, blocks = lanes(x), (rows + ROWS - 1) // ROWS
    own, end = begin(turn, blocks)
    panel = empty(DEPTH * 2 * width, x.dtype)  # every thread has one of its own
    for start in range(0, depth, DEPTH):
        here = min(DEPTH, depth - start)
        for at in range(0, columns, 2 * width):
            left = columns - at
            counts = (min(left, width), min(max(left - width, 0), width))
            for k in range(here):
                place = (start + k) * columns + at
                if left >= 2 * width:
                    pair = loaded(x, place, 0, 1, 2)
                else:
                    pair = taken(x, (place, place + width), counts)
                kept(pair, panel, k * 2 * width, 0)
            for first in range(own, end):
                r = min(first * ROWS, rows - ROWS)
                block_at = (at * blocks + 2 * width * first) * ROWS
                if start == 0:
                    block = started(bias, r, ROWS, 2)
                else:
                    block = loaded(sums, block_at, 2 * width, ROWS, 2)
                weights = r * w_row + start * w_step
                for k in range(here):
                    block = outer(block, w, weights + k * w_step, w_row, panel, k * 2 * width, None)
                place = r * columns + at
                if start + here < depth:
                    kept(block, sums, block_at, 2 * width)
                elif left >= 2 * width:
                    store(leaky(block, slope), y, place, columns, ROWS, None)
                else:
                    store(leaky(block, slope), y, (place, place + width), columns, ROWS, counts)
    finish(turn)


def _by_blas(rows: int, columns: int, dtype: np.dtype) -> bool:
    """Too small for blocks."""
    return rows < ROWS or columns < vector_lanes(dtype)


def _multiply(
    w: Array, w_row: int, w_step: int, bias: Array, slope: float, x: Array, y: Array
) -> None:
    """`product` of whole arrays, or `packed_product`."""
    depth, (rows, columns), pair = len(x), y.shape, 2 * vector_lanes(x.dtype)
    given = w_row, w_step, bias, x.dtype.type(slope), flat(x), depth, y.reshape(-1), rows, columns
    work = rows * depth * columns
    if work < PACK_FROM:
        call_divided(product, work, flat(w), *given)
        return
    blocks = -(-rows // ROWS) * -(-columns // pair) if depth > DEPTH else 0
    sums = np.empty(blocks * ROWS * pair, x.dtype)
    call_divided(packed_product, work, flat(w), *given, sums)


def dense(x: Array, weights: Array, bias: Array | None, slope: float = 1.0) -> Array:
    """Y = leaky(W X + b), one column per sample."""
    (units, features), samples = weights.shape, x.shape[1]
    y = np.empty((units, samples), x.dtype)
    b = zeros(units, x.dtype) if bias is None else bias
    if samples == 1:
        given = flat(weights), b, zeros(4, x.dtype), x.dtype.type(slope), flat(x), y.reshape(-1)
        call_divided(_products_of_rows, weights.size, *given)
    elif _by_blas(units, samples, x.dtype):
        call(np.matmul, weights, x, y)
        call(_add_bias, y.reshape(-1), b, samples, x.dtype.type(slope))
    else:
        _multiply(weights, features, 1, b, slope, x, y)
    return y


def dense_input_gradient(dy: Array, weights: Array) -> Array:
    """dX = W^T dY."""
    features, samples = weights.shape[1], dy.shape[1]
    if samples == 1:
        block = 4 * vector_lanes(dy.dtype)
        room = np.empty(-(-features // block) * block, dy.dtype)
        call_divided(_sum_of_rows, weights.size, flat(weights), flat(dy), features, room)
        return room[:features].reshape(features, 1)
    dx = np.empty((features, samples), dy.dtype)
    if _by_blas(features, samples, dy.dtype):
        call(np.matmul, weights.T, dy, dx)
    else:
        _multiply(weights, 1, features, zeros(features, dy.dtype), 1, dy, dx)
    return dx


def dense_weight_gradient(x: Array, dy: Array) -> Array:
    """dW = dY X^T."""
    (features, samples), units = x.shape, len(dy)
    dw = np.empty((units, features), x.dtype)
    if samples == 1:
        call_divided(_outer_product, dw.size, flat(dy), flat(x), dw.reshape(-1))
    elif _by_blas(units, features, x.dtype):
        call(np.matmul, dy, x.T, dw)
    else:
        turned = np.empty((samples, features), x.dtype)
        call(transpose, flat(x), features, samples, turned.reshape(-1))
        _multiply(dy, samples, 1, zeros(units, x.dtype), 1, turned, dw)
    return dw


@compiled
def _add_bias(y, bias, samples, slope):
    """y = leaky(y + bias), in place."""
    for k in range(len(y)):
        y[k] = bent(y[k] + bias[k // samples], slope)


# Of a single sample: each weight is read once, so memory decides; threads share rows or columns.


@compiled
def _products_of_rows(turn, w, bias, zero, slope, x, y):
    """y[u] = leaky(bias[u] + sum over k of w[u, k] x[k]), four rows at a time; zero: four zeros."""
    width, depth, units = lanes(x), len(x), len(y)
    first, end = begin(turn, (units + 3) // 4)
    for u in range(4 * first, min(4 * end, units), 4):
        w0, w1 = u * depth, min(u + 1, units - 1) * depth
        w2, w3 = min(u + 2, units - 1) * depth, min(u + 3, units - 1) * depth
        block = started(zero, 0, 4, 1)
        y[u : u + 4] = bias[u : u + 4]
        whole = depth - depth % width
        for k in range(0, whole, width):
            block = inner(block, w, (w0 + k, w1 + k, w2 + k, w3 + k), x, (k,), None)
        if whole < depth:
            places = w0 + whole, w1 + whole, w2 + whole, w3 + whole
            block = inner(block, w, places, x, (whole,), depth - whole)
        add_sums(block, y, u, 1, units - u, 1)
        for k in range(u, min(u + 4, units)):
            y[k] = bent(y[k], slope)
    finish(turn)


@compiled
def _sum_of_rows(turn, w, dy, features, dx):
    """dx[k] = sum over u of w[u, k] dy[u]: some rows at a time meet a stretch of dx.

    dx has room for whole blocks of four vectors.
    """
    width = lanes(dx)
    block_size = 4 * width
    first, end = begin(turn, len(dx) // block_size)
    stretch = max(1, STRETCH // block_size)
    dx[first * block_size : end * block_size] = 0
    for start in range(first, end, stretch):
        for u in range(0, len(dy), TOGETHER):
            rows = range(u, min(u + TOGETHER, len(dy)))
            for k in range(start, min(start + stretch, end)):
                at = k * block_size
                block = loaded(dx, at, 0, 1, 4)
                if at + block_size <= features:
                    for row in rows:
                        block = outer(block, dy, row, 0, w, row * features + at, None)
                else:
                    counts = (
                        min(features - at, width), min(max(features - at - width, 0), width),
                        min(max(features - at - 2 * width, 0), width),
                        max(features - at - 3 * width, 0),
                    )  # fmt: skip
                    for row in rows:
                        p = row * features + at
                        places = (p, p + width, p + 2 * width, p + 3 * width)
                        block = outer(block, dy, row, 0, w, places, counts)
                kept(block, dx, at, 0)
    finish(turn)


@compiled
def _outer_product(turn, dy, x, dw):
    """dw[u, k] = dy[u] x[k]."""
    first, end = begin(turn, len(dy))
    for u in range(first, end):
        factor, row = dy[u], dw[u * len(x) : (u + 1) * len(x)]
        for k in range(len(x)):
            row[k] = factor * x[k]
    finish(turn)


@compiled
def transpose(x, rows, columns, turned):
    """turned[j, i] = x[i, j], square by square; what is left at the edges one by one."""
    side = lanes(x)
    whole_rows, whole_columns = rows - rows % side, columns - columns % side
    for i in range(0, whole_rows, side):
        for j in range(0, whole_columns, side):
            turn_square(x, i * columns + j, columns, turned, j * rows + i, rows)
    for i in range(rows):
        for j in range(whole_columns if i < whole_rows else 0, columns):
            turned[j * rows + i] = x[i * columns + j]


@compiled
def _row_sums(rows, count, length, one, sums):
    """sums[r] = the sum of row r: four vectors of partial sums, then the rest."""
    width = lanes(rows)
    for r in range(count):
        at, end = r * length, (r + 1) * length
        block = started(one, 1, 1, 4)  # zeros
        while at + 4 * width <= end:
            block = outer(block, one, 0, 0, rows, at, None)
            at += 4 * width
        left = end - at
        counts = (
            min(left, width), min(max(left - width, 0), width),
            min(max(left - 2 * width, 0), width), max(left - 3 * width, 0),
        )  # fmt: skip
        places = (at, at + width, at + 2 * width, at + 3 * width)
        block = outer(block, one, 0, 0, rows, places, counts)
        sums[r] = total(block, 0)


def bias_gradient(dy: Array) -> Array:
    """db[o] = sum of dy[o] over all places and samples."""
    sums = np.empty(len(dy), dy.dtype)
    if dy.size == len(dy):
        call(np.copyto, sums, dy.reshape(-1))
        return sums
    call(_row_sums, flat(dy), len(dy), dy.size // len(dy), _one_and_zero(dy.dtype), sums)
    return sums


@lru_cache
def _one_and_zero(dtype: np.dtype) -> Array:
    return np.array([1, 0], dtype)
