"""What convolution, pooling and dense layers mean, written as loops that a person can follow.

An oracle for the kernels, so it shares no code with `glassbox/`: sizes are found by walking, pixels
are met one by one.  Border layout: images (samples, channels, height, width), weights (out, in,
kh, kw); padding is (top, bottom, left, right).  Slow, and always in float64.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

Array = np.ndarray
Pair = tuple[int, int]
Borders = tuple[int, int, int, int]


# --- where windows land ------------------------------------------------------------------------


def starts(
    length: int,
    kernel: int,
    stride: int,
    before: int,
    after: int,
    ceil: bool = False,
    dilation: int = 1,
) -> list[int]:
    """The first pixel of every window along one direction; pixel 0 is the image's own."""
    span = (kernel - 1) * dilation + 1
    found, at = [], -before
    while at + span <= length + after:
        found.append(at)
        at += stride
    if ceil and not found and span - (length + before + after) < stride:
        return [-before]  # the only one, and it sticks out by less than a stride
    # One window more, that sticks out: only if pixels are left over, and only if it begins inside
    # the image (PyTorch drops a window that would begin in the padding behind it).
    if ceil and found and found[-1] + span < length + after and at < length:
        found.append(at)
    return found


def output_size(
    size: Pair,
    kernel: Pair,
    stride: Pair,
    padding: Borders,
    dilation: Pair = (1, 1),
    ceil: bool = False,
) -> Pair:
    """(rows, columns) of windows."""
    down = starts(size[0], kernel[0], stride[0], padding[0], padding[1], ceil, dilation[0])
    across = starts(size[1], kernel[1], stride[1], padding[2], padding[3], ceil, dilation[1])
    return len(down), len(across)


def meetings(
    size: Pair,
    kernel: Pair,
    stride: Pair,
    padding: Borders,
    dilation: Pair = (1, 1),
    ceil: bool = False,
) -> Iterator[tuple[int, int, int, int, int, int]]:
    """(i, j, a, b, row, column): output (i, j) meets pixel (row, column) with its tap (a, b).

    Pixels of the padding are left out: they are 0, or never win.
    """
    down = starts(size[0], kernel[0], stride[0], padding[0], padding[1], ceil, dilation[0])
    across = starts(size[1], kernel[1], stride[1], padding[2], padding[3], ceil, dilation[1])
    for i, top in enumerate(down):
        for j, left in enumerate(across):
            for a in range(kernel[0]):
                for b in range(kernel[1]):
                    row, column = top + a * dilation[0], left + b * dilation[1]
                    if 0 <= row < size[0] and 0 <= column < size[1]:
                        yield i, j, a, b, row, column


# --- convolution -------------------------------------------------------------------------------


def conv2d(
    x: Array, w: Array, bias: Array | None, stride: Pair, padding: Borders, dilation: Pair = (1, 1)
) -> Array:
    """y[n, o, i, j] = bias[o] + sum of w[o, c, a, b] x[n, c, row, column]."""
    size, kernel = x.shape[2:], w.shape[2:]
    y = np.zeros((len(x), len(w), *output_size(size, kernel, stride, padding, dilation)))
    for i, j, a, b, row, column in meetings(size, kernel, stride, padding, dilation):
        for o in range(len(w)):
            for c in range(x.shape[1]):
                y[:, o, i, j] += w[o, c, a, b] * x[:, c, row, column]
    if bias is not None:
        for o in range(len(w)):
            y[:, o] += bias[o]
    return y


def conv2d_gradients(
    x: Array, w: Array, dy: Array, stride: Pair, padding: Borders, dilation: Pair = (1, 1)
) -> tuple[Array, Array, Array]:
    """dx, dw and dbias of sum(dy * y)."""
    dx, dw, dbias = np.zeros(x.shape), np.zeros(w.shape), np.zeros(len(w))
    for i, j, a, b, row, column in meetings(x.shape[2:], w.shape[2:], stride, padding, dilation):
        for o in range(len(w)):
            for c in range(x.shape[1]):
                dx[:, c, row, column] += w[o, c, a, b] * dy[:, o, i, j]
                dw[o, c, a, b] += (x[:, c, row, column] * dy[:, o, i, j]).sum()
    for o in range(len(w)):
        dbias[o] = dy[:, o].sum()
    return dx, dw, dbias


# --- pooling -----------------------------------------------------------------------------------


def _windows(
    x: Array, kernel: Pair, stride: Pair, padding: Borders, ceil: bool, dilation: Pair = (1, 1)
) -> dict[Pair, list[Pair]]:
    """For each output (i, j) the pixels of the image in its window, row by row."""
    pixels: dict[Pair, list[Pair]] = {}
    for i, j, _, _, row, column in meetings(x.shape[2:], kernel, stride, padding, dilation, ceil):
        pixels.setdefault((i, j), []).append((row, column))
    return pixels


def max_pool(
    x: Array,
    dy: Array | None,
    kernel: Pair,
    stride: Pair,
    padding: Borders,
    ceil: bool = False,
    dilation: Pair = (1, 1),
) -> tuple[Array, Array]:
    """The largest pixel of each window, and dx of sum(dy * y): all to the first largest pixel."""
    size = output_size(x.shape[2:], kernel, stride, padding, dilation, ceil)
    y, dx = np.zeros((*x.shape[:2], *size)), np.zeros(x.shape)
    for (i, j), pixels in _windows(x, kernel, stride, padding, ceil, dilation).items():
        for n in range(x.shape[0]):
            for c in range(x.shape[1]):
                best = pixels[0]
                for pixel in pixels[1:]:
                    if x[n, c][pixel] > x[n, c][best]:
                        best = pixel
                y[n, c, i, j] = x[n, c][best]
                if dy is not None:
                    dx[n, c][best] += dy[n, c, i, j]
    return y, dx


def average_pool(
    x: Array,
    dy: Array | None,
    kernel: Pair,
    stride: Pair,
    padding: Borders,
    ceil: bool = False,
    count_include_pad: bool = True,
) -> tuple[Array, Array]:
    """The mean of each window, and dx of sum(dy * y): equal shares.

    A window is divided by its own pixels of the image, and those of the padding if it counts; what
    sticks out beyond the padding (`ceil`) is nothing and never counts.
    """
    height, width = x.shape[2:]
    y = np.zeros((*x.shape[:2], *output_size(x.shape[2:], kernel, stride, padding, ceil=ceil)))
    dx = np.zeros(x.shape)
    counts = average_counts((height, width), kernel, stride, padding, ceil, count_include_pad)
    for (i, j), pixels in _windows(x, kernel, stride, padding, ceil).items():
        for row, column in pixels:
            y[:, :, i, j] += x[:, :, row, column] / counts[i, j]
            if dy is not None:
                dx[:, :, row, column] += dy[:, :, i, j] / counts[i, j]
    return y, dx


def separate(counts: Array) -> tuple[Array, Array]:
    """The two vectors, of integers, whose outer product they are."""
    down = np.gcd.reduce(counts, axis=1)
    across = counts[0] // down[0]
    assert np.array_equal(np.outer(down, across), counts)
    return down, across


def average_counts(
    size: Pair, kernel: Pair, stride: Pair, padding: Borders, ceil: bool, count_include_pad: bool
) -> Array:
    """What the sum over each window is divided by, pixel by pixel."""
    down = starts(size[0], kernel[0], stride[0], padding[0], padding[1], ceil)
    across = starts(size[1], kernel[1], stride[1], padding[2], padding[3], ceil)
    counts = np.zeros((len(down), len(across)), int)
    for i, top in enumerate(down):
        for j, left in enumerate(across):
            for row in range(top, top + kernel[0]):
                for column in range(left, left + kernel[1]):
                    inside = 0 <= row < size[0] and 0 <= column < size[1]
                    bordered = row < size[0] + padding[1] and column < size[1] + padding[3]
                    counts[i, j] += inside or (count_include_pad and bordered)
    return counts


# --- dense -------------------------------------------------------------------------------------


def dense(x: Array, w: Array, bias: Array | None) -> Array:
    """y[n, o] = bias[o] + sum of w[o, k] x[n, k]."""
    y = np.zeros((len(x), len(w)))
    for n in range(len(x)):
        for o in range(len(w)):
            y[n, o] = 0.0 if bias is None else bias[o]
            for k in range(x.shape[1]):
                y[n, o] += w[o, k] * x[n, k]
    return y


def dense_gradients(x: Array, w: Array, dy: Array) -> tuple[Array, Array, Array]:
    """dx, dw and dbias of sum(dy * y)."""
    dx, dw, dbias = np.zeros(x.shape), np.zeros(w.shape), np.zeros(len(w))
    for n in range(len(x)):
        for o in range(len(w)):
            dbias[o] += dy[n, o]
            for k in range(x.shape[1]):
                dx[n, k] += w[o, k] * dy[n, o]
                dw[o, k] += x[n, k] * dy[n, o]
    return dx, dw, dbias
