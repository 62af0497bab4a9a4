"""Pooling: each window's pixels are compared, or added up, for all samples next to each other.

Windows are read as a convolution's are: tap k of the window of run r begins at taps[k] + the run's
own start (see `convolution.plan`), channel by channel.
"""

from __future__ import annotations

import numpy as np

from glassbox.kernels.compiled.build import compiled
from glassbox.kernels.compiled.convolution import Plan, flat, pad, plan, vector_lanes
from glassbox.kernels.compiled.team import begin, finish
from glassbox.kernels.compiled.vectors import (
    contest,
    hand_back,
    lanes,
    started,
    store,
    store_places,
)
from glassbox.kernels.recorder import call, call_divided
from glassbox.kernels.shapes import Shape, Window

Array = np.ndarray

FEW = 4  # windows' pixels side by side in memory, below which vectors do not pay


def _plan(window: Window, shape: Shape) -> tuple[Plan, Shape]:
    """The plan for one channel, and the shape of the padded images."""
    channels, height, width, samples = shape
    top, bottom, left, right = window.padding
    padded = (channels, height + top + bottom, width + left + right, samples)
    return plan(window, 1, padded[1], padded[2], samples), padded


# --- the largest -----------------------------------------------------------------------------


@compiled
def _max_pool(turn, x, plane, channels, taps, runs, least, y, winner):
    """`least`: minus infinity in a row of its own, then 0, what the contest starts with."""
    width = lanes(x)
    count, per_row, length, row_step, column_step = runs
    first, end = begin(turn, channels)
    out = first * count * length
    for c in range(first, end):
        for row in range(count // per_row):
            for column in range(per_row):
                source = c * plane + row * row_step + column * column_step
                for at in range(0, length, width):
                    block = started(least, 0, 2, 1)
                    if at + width <= length:
                        for k in range(len(taps)):
                            block = contest(block, x, taps[k] + source + at, k, None)
                        store(block, y, out + at, 0, 1, None)
                        store_places(block, winner, out + at, None)
                    else:
                        left = length - at
                        for k in range(len(taps)):
                            block = contest(block, x, taps[k] + source + at, k, left)
                        store(block, y, out + at, 0, 1, left)
                        store_places(block, winner, out + at, left)
                out += length
    finish(turn)


def max_pool(x: Array, window: Window) -> tuple[Array, Array]:
    """The largest pixel of each window, and which one it was (its place in the kernel).

    Of equal pixels the first wins, as in PyTorch.  Padding is minus infinity, so it never wins.
    """
    (taps, runs), padded = _plan(window, x.shape)
    kind = np.uint8 if len(taps) < 256 else np.int32
    shape = (x.shape[0], *window.output, x.shape[3])
    y, winner = np.empty(shape, x.dtype), np.empty(shape, kind)
    pixels = flat(pad(x, window.padding, -np.inf))
    least = np.array([-np.inf, 0], x.dtype)
    work = y.size * len(taps) * max(1, vector_lanes(x.dtype) // runs[2])
    call_divided(
        _max_pool, work, pixels, pixels.size // padded[0], padded[0], taps, runs, least,
        y.reshape(-1), winner.reshape(-1),
    )  # fmt: skip
    return y, winner


@compiled
def _max_pool_gradient(dy, winner, dx, plane, channels, taps, runs, apart, cover):
    """apart: no pixel is in two windows.  cover: every pixel is in one."""
    if not cover:
        dx[:] = 0
    width = lanes(dy)
    count, per_row, length, row_step, column_step = runs
    out = 0
    for c in range(channels):
        for row in range(count // per_row):
            for column in range(per_row):
                source = c * plane + row * row_step + column * column_step
                for at in range(0, length, width):
                    left = min(width, length - at)
                    for k in range(len(taps)):
                        target = taps[k] + source + at
                        if not apart:
                            hand_back(dy, winner, out + at, k, dx, target, 1, left)
                        elif left == width:
                            hand_back(dy, winner, out + at, k, dx, target, 0, None)
                        else:
                            hand_back(dy, winner, out + at, k, dx, target, 0, left)
                out += length


@compiled
def _max_pool_gradient_few(dy, winner, dx, plane, channels, taps, runs, apart, cover):
    """The same number by number, for runs so short that a vector would be almost empty."""
    dx[:] = 0
    count, per_row, length, row_step, column_step = runs
    out = 0
    for c in range(channels):
        for row in range(count // per_row):
            for column in range(per_row):
                source = c * plane + row * row_step + column * column_step
                for n in range(source, source + length):
                    dx[taps[winner[out]] + n] += dy[out]
                    out += 1


def max_pool_gradient(dy: Array, winner: Array, window: Window, shape: Shape) -> Array:
    """dx: the whole gradient of a window goes to the pixel that won it."""
    (taps, runs), padded = _plan(window, shape)
    dx = np.empty(padded, dy.dtype)
    call(
        _max_pool_gradient_few if runs[2] < FEW else _max_pool_gradient, flat(dy),
        winner.reshape(-1), dx.reshape(-1), dx.size // len(dx), len(dx), taps, runs,
        *_overlap(window, padded),
    )  # fmt: skip
    return _crop(dx, window, shape)


def _overlap(window: Window, padded: Shape) -> tuple[bool, bool]:
    """Whether no pixel is in two windows, and whether every pixel is in exactly one."""
    apart = all(
        s >= k * d for s, k, d in zip(window.stride, window.kernel, window.dilation, strict=True)
    )
    reached = [o * k for o, k in zip(window.output, window.kernel, strict=True)]
    tiles = window.stride == window.kernel and window.dilation == (1, 1)
    return apart, tiles and reached == list(padded[1:3])


def _crop(padded: Array, window: Window, shape: Shape) -> Array:
    """The part of a padded gradient that belongs to the input itself."""
    if not any(window.padding):
        return padded
    top, _, left, _ = window.padding
    dx = np.empty(shape, padded.dtype)
    call(np.copyto, dx, padded[:, top : top + shape[1], left : left + shape[2]])
    return dx


# --- the mean --------------------------------------------------------------------------------


@compiled
def _average_pool(x, plane, channels, taps, runs, down, across, y):
    """The window of row i and column j averages over down[i] across[j] pixels."""
    count, per_row, length, row_step, column_step = runs
    out = 0
    for c in range(channels):
        for row in range(count // per_row):
            for column in range(per_row):
                source = c * plane + row * row_step + column * column_step
                mean = y[out : out + length]
                mean[:] = 0
                for k in range(len(taps)):
                    values = x[taps[k] + source : taps[k] + source + length]
                    for n in range(length):
                        mean[n] += values[n]
                pixels = across[column * length : (column + 1) * length]
                for n in range(length):
                    mean[n] /= down[row] * pixels[n]
                out += length


def _each(counts: tuple[Array, Array], like: Array) -> tuple[Array, Array]:
    """The counts as numbers of the same type as `like`, those across once for every sample."""
    down, across = counts
    return down.astype(like.dtype), np.repeat(across.astype(like.dtype), like.shape[-1])


def average_pool(x: Array, counts: tuple[Array, Array], window: Window) -> Array:
    """The mean of each window; `counts`: its pixels down (oh,) and across (ow,)."""
    (taps, runs), _ = _plan(window, x.shape)
    y = np.empty((x.shape[0], *window.output, x.shape[3]), x.dtype)
    pixels = flat(pad(x, window.padding))
    call(
        _average_pool, pixels, pixels.size // len(x), len(x), taps, runs, *_each(counts, x),
        y.reshape(-1),
    )  # fmt: skip
    return y


@compiled
def _average_pool_gradient(dy, down, across, share, dx, plane, channels, taps, runs, apart, cover):
    """`share`: scratch for the gradient of one run over its counts."""
    if not cover:
        dx[:] = 0
    count, per_row, length, row_step, column_step = runs
    out = 0
    for c in range(channels):
        for row in range(count // per_row):
            for column in range(per_row):
                source = c * plane + row * row_step + column * column_step
                given = dy[out : out + length]
                pixels = across[column * length : (column + 1) * length]
                for n in range(length):
                    share[n] = given[n] / (down[row] * pixels[n])
                for k in range(len(taps)):
                    target = dx[taps[k] + source : taps[k] + source + length]
                    if apart:
                        target[:] = share
                    else:
                        for n in range(length):
                            target[n] += share[n]
                out += length


def average_pool_gradient(
    dy: Array, counts: tuple[Array, Array], window: Window, shape: Shape
) -> Array:
    """dx: the gradient of a window in equal shares to its pixels."""
    (taps, runs), padded = _plan(window, shape)
    dx = np.empty(padded, dy.dtype)
    call(
        _average_pool_gradient, flat(dy), *_each(counts, dy),
        np.empty(runs[2], dy.dtype), dx.reshape(-1), dx.size // len(dx), len(dx), taps, runs,
        *_overlap(window, padded),
    )  # fmt: skip
    return _crop(dx, window, shape)


def global_average_pool(x: Array) -> Array:
    """The mean of each channel: (channels, samples)."""
    channels, height, width, samples = x.shape
    y = np.empty((channels, samples), x.dtype)
    call(np.add.reduce, x.reshape(channels, height * width, samples), 1, None, y)
    call(np.divide, y, x.dtype.type(height * width), y)
    return y


def global_average_pool_gradient(dy: Array, shape: Shape) -> Array:
    """dx: the gradient of a channel in equal shares to its pixels."""
    share, dx = np.empty(dy.shape, dy.dtype), np.empty(shape, dy.dtype)
    call(np.divide, dy, dy.dtype.type(shape[1] * shape[2]), share)
    call(np.copyto, dx, share[:, None, None])
    return dx
