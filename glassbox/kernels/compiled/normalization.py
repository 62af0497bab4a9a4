"""Batch normalization: sums over rows (channels, everything else), and lines through their numbers.

A pass reads and writes each number once.  What belongs to a channel (mean, 1 / std, sums) is kept
in float64: a mean far from 0 then has digits enough to be taken from its numbers, in two steps,
and the squares of float32 numbers are exact.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from glassbox.kernels.compiled.build import compiled
from glassbox.kernels.compiled.convolution import flat, zeros
from glassbox.kernels.compiled.pointwise import bent
from glassbox.kernels.compiled.vectors import graded, lanes, started, tally, total
from glassbox.kernels.recorder import call

Array = np.ndarray
Leaky = tuple[Array, Array, float]  # scale and shift of a normalization, slope of what follows it


@compiled
def _moments(rows, count, length, zero, sums):
    width = lanes(zero)
    for c in range(count):
        at, end = c * length, (c + 1) * length
        block = started(zero, 0, 2, 4)
        while at + 4 * width <= end:
            block = tally(block, rows, at, None)
            at += 4 * width
        while at < end:
            left = end - at
            block = tally(block, rows, at, (min(left, width), 0, 0, 0))
            at += width
        sums[0, c], sums[1, c] = total(block, 0), total(block, 1)


def moments(rows: Array) -> Array:
    """The sums of each row's numbers and of their squares, (2, channels), in float64."""
    sums = np.empty((2, len(rows)))
    call(_moments, flat(rows), len(rows), rows.size // len(rows), zeros(2, sums.dtype), sums)
    return sums


@compiled
def _statistics(sums, count, mean, variance):
    for c in range(len(mean)):
        mean[c] = sums[0, c] / count
        v = sums[1, c] / count - mean[c] * mean[c]
        variance[c] = 0.0 if v < 0 else v  # what is not a number stays that


def statistics(sums: Array, count: int) -> tuple[Array, Array]:
    """Mean and variance from the `moments` of so many numbers."""
    mean, variance = np.empty(sums.shape[1]), np.empty(sums.shape[1])
    call(_statistics, sums, count, mean, variance)
    return mean, variance


@compiled
def _lines(mean, inverse, scale, shift, lines):
    """y = (x - lines[0]) lines[1] + lines[2], in x's precision; the mean's rest is in the last."""
    for c in range(len(mean)):
        lines[0, c] = mean[c]
        factor = scale[c] * inverse[c]
        lines[1, c] = factor
        lines[2, c] = shift[c] - (mean[c] - lines[0, c]) * factor


@compiled
def _normalize(rows, mean, variance, epsilon, scale, shift, slope, straight, inverse, lines, y):
    length = len(rows) // len(mean)
    for c in range(len(mean)):
        inverse[c] = 1 / math.sqrt(variance[c] + epsilon)
    _lines(mean, inverse, scale, shift, lines)
    for c in range(len(mean)):
        m, f, s = lines[0, c], lines[1, c], lines[2, c]
        given, out = rows[c * length : (c + 1) * length], y[c * length : (c + 1) * length]
        if straight is None:
            for k in range(length):
                out[k] = bent((given[k] - m) * f + s, slope)
        else:
            more = straight[c * length : (c + 1) * length]
            for k in range(length):
                out[k] = bent((given[k] - m) * f + s + more[k], slope)


def normalize(
    rows: Array, mean: Array, variance: Array, epsilon: float, scale: Array, shift: Array,
    slope: float = 1.0, straight: Array | None = None,
) -> tuple[Array, Array]:  # fmt: skip
    """y = leaky(scale (rows - mean) / std + shift + straight), and 1 / std.

    std = sqrt(variance + epsilon); straight: none, or numbers in the shape of rows.
    """
    y, inverse = np.empty(rows.shape, rows.dtype), np.empty(len(rows), rows.dtype)
    beside = None if straight is None else flat(straight)
    call(
        _normalize, flat(rows), _wide(mean), _wide(variance), float(epsilon), scale, shift,
        rows.dtype.type(slope), beside, inverse, _three(rows), y.reshape(-1),
    )  # fmt: skip
    return y, inverse


def _wide(array: Array) -> Array:
    """The same numbers in float64."""
    if array.dtype == np.float64:
        return array
    wide = np.empty(array.shape)
    call(np.copyto, wide, array)
    return wide


def _three(rows: Array) -> Array:
    """Memory for three numbers of each channel."""
    return np.empty((3, len(rows)), rows.dtype)


@compiled
def _normalize_sums(dy, x, mean, inverse, scale, shift, slope, zero, lines, sums):
    width, length = lanes(x), len(x) // len(mean)
    _lines(mean, inverse, scale, shift, lines)
    for c in range(len(mean)):
        at, end = c * length, (c + 1) * length
        line = lines[0, c], lines[1, c], lines[2, c]
        block = started(zero, 0, 2, 4)
        while at + 4 * width <= end:
            block = graded(block, dy, x, at, line, slope, None)
            at += 4 * width
        while at < end:
            block = graded(block, dy, x, at, line, slope, (min(end - at, width), 0, 0, 0))
            at += width
        shifts = total(block, 0)
        sums[0, c] = shifts
        sums[1, c] = (total(block, 1) - (mean[c] - lines[0, c]) * shifts) * inverse[c]


def normalize_sums(
    dy: Array, x: Array, mean: Array, inverse: Array, leaky: Leaky | None = None
) -> Array:
    """The sums of each row of dz, and of dz xhat: (2, channels).

    dz = dy f'(y), where f is the leaky ReLU behind the normalization; none: dz = dy.
    """
    sums = np.empty((2, len(x)), x.dtype)
    line = mean, inverse, *_leaky(x, leaky)
    call(_normalize_sums, flat(dy), flat(x), *line, zeros(2, x.dtype), _three(x), sums)
    return sums


def _leaky(x: Array, leaky: Leaky | None) -> tuple[Array, Array, Any]:
    """Scale, shift and slope; the slope 1 of no leaky ReLU is the same on both sides of 0."""
    scale, shift, slope = leaky or (zeros(len(x), x.dtype), zeros(len(x), x.dtype), 1.0)
    return scale, shift, x.dtype.type(slope)


@compiled
def _normalize_gradient(
    dy, x, mean, inverse, scale, shift, slope, sums, count, weight, lines, back, dx
):
    length = len(dy) // len(mean)
    _lines(mean, inverse, scale, shift, lines)
    for c in range(len(mean)):
        product = sums[1, c] / count * inverse[c]
        factor = weight[c] * inverse[c]
        back[0, c], back[1, c] = factor, factor * product
        back[2, c] = factor * ((mean[c] - lines[0, c]) * product - sums[0, c] / count)
    for c in range(len(mean)):
        m, f, s = lines[0, c], lines[1, c], lines[2, c]
        factor, share, rest = back[0, c], back[1, c], back[2, c]
        given, numbers = dy[c * length : (c + 1) * length], x[c * length : (c + 1) * length]
        out = dx[c * length : (c + 1) * length]
        for k in range(length):
            h = numbers[k] - m
            dz = given[k] if h * f + s > 0 else slope * given[k]
            out[k] = dz * factor - h * share + rest


def normalize_gradient(
    dy: Array, x: Array, mean: Array, inverse: Array, sums: Array, count: int, scale: Array,
    leaky: Leaky | None = None,
) -> Array:  # fmt: skip
    """dx = scale / std (dz - mean of dz - xhat mean of (dz xhat)), channel by channel.

    sums : those of dz and of dz xhat, over so many numbers as `count` says; dz as above.
    """
    dx = np.empty(dy.shape, dy.dtype)
    line = mean, inverse, *_leaky(x, leaky)
    memory = _three(x), _three(x), dx.reshape(-1)
    call(_normalize_gradient, flat(dy), flat(x), *line, sums, float(count), scale, *memory)
    return dx


@compiled
def _normalized_bank(weights, bias, mean, variance, epsilon, scale, shift, w, b):
    size = len(weights) // len(mean)
    for o in range(len(mean)):
        factor = scale[o] / math.sqrt(variance[o] + epsilon)
        b[o] = (bias[o] - mean[o]) * factor + shift[o]
        for k in range(o * size, (o + 1) * size):
            w[k] = weights[k] * factor


def normalized_bank(
    weights: Array, bias: Array | None, mean: Array, variance: Array, epsilon: float,
    scale: Array, shift: Array,
) -> tuple[Array, Array]:  # fmt: skip
    """Weights and bias whose products are what normalizing those of the given ones leads to."""
    w, b = np.empty(weights.shape, weights.dtype), np.empty(mean.shape, mean.dtype)
    bias = zeros(len(mean), mean.dtype) if bias is None else bias
    given = flat(weights), bias, mean, variance, mean.dtype.type(epsilon), scale, shift
    call(_normalized_bank, *given, w.reshape(-1), b)
    return w, b
