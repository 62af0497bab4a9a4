"""The kernels in plain NumPy: readable, and the reference for every other backend.

Arrays are batch-last and C-contiguous: x (channels, height, width, samples), rows (features,
samples).  Weights are (out, in, kh, kw) and (out, in).  No kernel changes its input unless its
name ends in `_` (then it works in place).  Every result has the dtype of x.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from glassbox.kernels.pure_numpy.blocking import BLOCK_ENTRIES, plan_products
from glassbox.kernels.shapes import Shape, Window, mirrored_window

Array = np.ndarray

FEW_FILTERS = 16  # up to so many, turning the kernels beats scattering


# --- unfolding -------------------------------------------------------------------------------


def pad(x: Array, padding: tuple[int, int, int, int], value: float = 0.0) -> Array:
    """x with a border of `value`: (top, bottom, left, right) pixels; x itself where all are 0."""
    top, bottom, left, right = padding
    if not any(padding):
        return x
    channels, height, width, samples = x.shape
    shape = (channels, height + top + bottom, width + left + right, samples)
    padded = np.empty(shape, x.dtype)
    padded[:, :top] = value
    padded[:, top + height :] = value
    padded[:, top : top + height, :left] = value
    padded[:, top : top + height, left + width :] = value
    padded[:, top : top + height, left : left + width] = x
    return padded


def taps(x: Array, window: Window) -> Iterator[Array]:
    """For each place in the kernel, row by row: the pixels it meets, a view (c, oh, ow, n)."""
    (sh, sw), (dh, dw), (oh, ow) = window.stride, window.dilation, window.output
    for i in range(window.kernel[0]):
        for j in range(window.kernel[1]):
            top, left = i * dh, j * dw
            yield x[:, top : top + (oh - 1) * sh + 1 : sh, left : left + (ow - 1) * sw + 1 : sw]


def _stack(columns: Array, in_product: int) -> Array:
    """(k, rows, row) as a stack of matrices (products, k, in_product): a view, nothing moves."""
    k, rows, row = columns.shape
    in_product = in_product or rows * row
    return columns.reshape(k, rows * row // in_product, in_product).transpose(1, 0, 2)


def unfold(x: Array, window: Window, rows: slice, with_ones: bool = False) -> Array:
    """im2col for some output rows of padded x: (c * kh * kw, rows, ow * n).

    For one place in the output and one sample, the first axis lists the pixels that it looks at,
    and a 1 behind them where `with_ones` (a bias meets it).
    """
    channels, samples = x.shape[0], x.shape[3]
    (kh, kw), (sh, sw), (dh, dw) = window.kernel, window.stride, window.dilation
    count, ow = rows.stop - rows.start, window.output[1]
    if (kh, kw, sh, sw) == (1, 1, 1, 1) and not with_ones:
        return x[:, rows].reshape(channels, count, ow * samples)
    c, h, w, n = x.strides
    view: Array = np.ndarray(  # all windows at once, overlapping: a way to read x, not a copy
        (channels, kh, kw, count, ow, samples),
        x.dtype,
        x,
        rows.start * sh * h,
        (c, dh * h, dw * w, sh * h, sw * w, n),
    )
    taps_in_all = channels * kh * kw
    columns = np.empty((taps_in_all + with_ones, count, ow * samples), x.dtype)
    columns[:taps_in_all].reshape(view.shape)[...] = view
    columns[taps_in_all:] = 1
    return columns


def _crop(padded: Array, window: Window, shape: Shape) -> Array:
    """The part of a padded gradient that belongs to the input itself."""
    top, _, left, _ = window.padding
    return np.ascontiguousarray(padded[:, top : top + shape[1], left : left + shape[2]])


def _padded_zeros(shape: Shape, window: Window, dtype: np.dtype) -> Array:
    """Zeros for the gradient of a padded input; `shape` is that of the input itself."""
    channels, height, width, samples = shape
    top, bottom, left, right = window.padding
    return np.zeros((channels, height + top + bottom, width + left + right, samples), dtype)


# --- convolution -----------------------------------------------------------------------------


def conv2d(x: Array, weights: Array, bias: Array | None, window: Window) -> Array:
    """y[o, i, j] = sum over c, a, b of w[o, c, a, b] x[c, i s + a d, j s + b d] + bias[o]."""
    filters, samples = weights.shape[0], x.shape[3]
    oh, ow = window.output
    bank = weights.reshape(filters, -1)
    if bias is not None:  # the weight of a pixel that is always 1: no pass of its own
        bank = np.column_stack([bank, bias])
    padded = pad(np.ascontiguousarray(x), window.padding)
    y = np.empty((filters, oh, ow * samples), x.dtype)
    in_product, blocks = plan_products(filters, bank.shape[1], window, samples)
    for rows in blocks:
        columns = unfold(padded, window, rows, with_ones=bias is not None)
        np.matmul(bank, _stack(columns, in_product), out=_stack(y[:, rows], in_product))
    return y.reshape(filters, oh, ow, samples)


def conv2d_input_gradient(dy: Array, weights: Array, window: Window, shape: Shape) -> Array:
    """dx: each output hands its gradient back to the pixels it looked at, times their weights.

    Where windows move pixel by pixel, that is again a convolution: of dy, with every kernel turned
    by 180 degrees and the channels' roles exchanged.  Else, and where the filters are many (it
    then unfolds more than it would scatter), W^T dy is scattered back, tap by tap.
    """
    mirrored = mirrored_window(window, (shape[1], shape[2]))
    filters, channels = weights.shape[:2]
    by_pixel = window.stride == (1, 1) and min(mirrored.padding) >= 0
    if by_pixel and filters <= max(channels, FEW_FILTERS):
        turned = np.ascontiguousarray(weights[:, :, ::-1, ::-1].transpose(1, 0, 2, 3))
        return conv2d(dy, turned, None, mirrored)
    return _scatter(dy, weights, window, shape)


def _scatter(dy: Array, weights: Array, window: Window, shape: Shape) -> Array:
    """col2im: the columns W^T dy, each tap added to the pixels that it met."""
    filters, channels = weights.shape[:2]
    samples = dy.shape[3]
    (oh, ow), (kh, kw) = window.output, window.kernel
    bank = weights.reshape(filters, -1).T
    padded = _padded_zeros(shape, window, dy.dtype)
    flat = dy.reshape(filters, oh, ow * samples)
    in_product, blocks = plan_products(filters, bank.shape[0], window, samples)
    for rows in blocks:
        count = rows.stop - rows.start
        columns = np.empty((bank.shape[0], count, ow * samples), dy.dtype)
        np.matmul(bank, _stack(flat[:, rows], in_product), out=_stack(columns, in_product))
        parts = columns.reshape(channels, kh * kw, count, ow, samples)
        for place, target in enumerate(taps(padded, window)):
            target[:, rows] += parts[:, place]
    return _crop(padded, window, shape)


def conv2d_weight_gradient(x: Array, dy: Array, window: Window) -> Array:
    """dw[o, c, a, b] = sum over all outputs of dy[o, i, j] x[c, i s + a d, j s + b d]."""
    filters, channels, samples = dy.shape[0], x.shape[0], x.shape[3]
    (oh, ow), (kh, kw) = window.output, window.kernel
    padded = pad(np.ascontiguousarray(x), window.padding)
    flat = dy.reshape(filters, oh, ow * samples)
    total = np.zeros((channels * kh * kw, filters), x.dtype)
    in_product, blocks = plan_products(filters, total.shape[0], window, samples)
    for rows in blocks:
        # (taps, filters) rather than (filters, taps): the product runs a fifth faster this way
        columns = _stack(unfold(padded, window, rows), in_product)
        total += np.matmul(columns, _stack(flat[:, rows], in_product).transpose(0, 2, 1)).sum(0)
    return np.ascontiguousarray(total.T).reshape(filters, channels, kh, kw)


def bias_gradient(dy: Array) -> Array:
    """db[o] = sum of dy[o] over all places and samples."""
    rows = dy.reshape(dy.shape[0], -1)
    ones = np.ones(rows.shape[1], dy.dtype)
    return np.matmul(rows, ones)  # as a product it takes half of sum's time


# --- pooling ---------------------------------------------------------------------------------


def max_pool(x: Array, window: Window) -> tuple[Array, Array]:
    """The largest pixel of each window, and which one it was (its place in the kernel).

    Of equal pixels the first wins, as in PyTorch.  Padding is minus infinity, so it never wins.
    """
    padded = pad(x, window.padding, -np.inf)
    views = list(taps(padded, window))
    y = views[0].copy()
    for view in views[1:]:
        np.maximum(y, view, out=y)
    kind = np.uint8 if len(views) < 256 else np.int32
    winner = np.zeros(y.shape, kind)
    undecided = y != views[0]
    for view in views[1:-1]:  # adding 1 for each place that is not yet the one: no branches
        winner += undecided
        undecided &= y != view
    winner += undecided if len(views) > 1 else 0
    return y, winner


def max_pool_gradient(dy: Array, winner: Array, window: Window, shape: Shape) -> Array:
    """dx: the whole gradient of a window goes to the pixel that won it."""
    spans = tuple(d * (k - 1) + 1 for k, d in zip(window.kernel, window.dilation, strict=True))
    apart = all(s >= span for s, span in zip(window.stride, spans, strict=True))
    tiled = [o * k for o, k in zip(window.output, window.kernel, strict=True)] == [*shape[1:3]]
    if window.stride == window.kernel == spans and tiled and not any(window.padding):
        padded = np.empty(shape, dy.dtype)  # the windows tile the image: every pixel is written
    else:
        padded = _padded_zeros(shape, window, dy.dtype)
    for place, target in enumerate(taps(padded, window)):
        if apart:  # no pixel belongs to two windows: nothing to add to
            np.multiply(dy, winner == place, out=target)
        else:
            target += dy * (winner == place)
    return _crop(padded, window, shape)


# --- dense -----------------------------------------------------------------------------------


def dense(x: Array, weights: Array, bias: Array | None) -> Array:
    """Y = W X + b, one column per sample."""
    y = weights @ x
    if bias is not None:
        y += bias[:, None]
    return y


def dense_input_gradient(dy: Array, weights: Array) -> Array:
    """dX = W^T dY."""
    return weights.T @ dy


def dense_weight_gradient(x: Array, dy: Array) -> Array:
    """dW = dY X^T."""
    return dy @ x.T


# --- activations -----------------------------------------------------------------------------


def leaky_relu_(z: Array, slope: float) -> Array:
    """y = z where z > 0, else slope z; slope 0 is ReLU.  In place."""
    if not slope:  # infinity times 0 is not a number
        return np.maximum(z, z.dtype.type(0), out=z)
    if not z.flags.c_contiguous:
        return np.maximum(z, z * z.dtype.type(slope), out=z)
    flat = z.reshape(-1)
    for start in range(0, flat.size, BLOCK_ENTRIES):  # the product stays in a core's cache
        block = flat[start : start + BLOCK_ENTRIES]
        np.maximum(block, block * z.dtype.type(slope), out=block)
    return z


def leaky_relu_gradient(dy: Array, y: Array, slope: float) -> Array:
    """dz = dy where y > 0, else slope dy (y has the sign of z)."""
    # Arithmetic instead of np.where: no branches, nine times faster; (1 - s) + s is exactly 1.
    factor = (y > 0).astype(y.dtype)
    factor *= y.dtype.type(1) - y.dtype.type(slope)
    factor += y.dtype.type(slope)
    factor *= dy
    return factor


def sigmoid_(z: Array) -> Array:
    """y = 1 / (1 + exp(-z)), from exp(-|z|): nothing overflows, no small y is lost.  In place."""
    e = np.exp(-np.abs(z))
    np.maximum(e, z >= 0, out=z)  # 1 where z >= 0, else e
    z /= 1 + e
    return z


def sigmoid_gradient(dy: Array, y: Array) -> Array:
    """dz = dy y (1 - y)."""
    dz = 1 - y
    dz *= y
    dz *= dy
    return dz
