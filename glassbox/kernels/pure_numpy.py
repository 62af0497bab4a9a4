"""The kernels in plain NumPy: complete, readable, the reference for every other backend.

Arrays are batch-last and C-contiguous: x (channels, height, width, samples), rows (features,
samples).  Weights are (out, in, kh, kw) and (out, in).  No kernel changes its input unless its
name ends in `_` (then it works in place).  Every result has the dtype of x.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from glassbox.kernels.pure_numpy_norm import *  # noqa: F403  (kernels, too)
from glassbox.kernels.shapes import Shape, ShardPolicy, Window

Array = np.ndarray

# A shard's largest array should stay in cache and below the size from which the system clears
# fresh pages for it; very small shards only cost Python calls.  Measured: 32 samples are best for
# wide networks, 64 for D's, 128 for the thinnest and for dense ones.  Python hands its lock from
# thread to thread at every NumPy call: with less work in a shard one thread is faster than two.
SHARD_POLICY = ShardPolicy(cache_bytes=2**21, smallest=32, largest=128, least_work=4_000_000)
# A matrix product of at most this many multiply-adds runs in OpenBLAS without packing its operands:
# measured 95 against 35 to 65 GFLOP/s for a 16 x 72 filter bank.  So an image's rows are cut
# into products below that size, and NumPy's matmul runs the stack in one call.
SMALL_PRODUCT = 1_000_000
FEW_FILTERS = 16  # up to so many, turning the kernels beats scattering
LEAST_COLUMNS = 128  # smaller products are not worth their call
# Unfolded pixels are made block by block, so many numbers each: a block stays in a core's cache.
BLOCK_ENTRIES = 2**18


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


def _plan(filters: int, taps_in_all: int, window: Window, samples: int) -> tuple[int, int]:
    """Columns in one matrix product, and output rows in one block of unfolded pixels."""
    (rows, width), row = window.output, window.output[1] * samples
    block = min(max(1, BLOCK_ENTRIES // (taps_in_all * row)), rows)
    small = SMALL_PRODUCT // (filters * taps_in_all)
    if small >= row:  # whole rows, as many as divide the image evenly
        product = max(r for r in range(1, min(small // row, rows) + 1) if rows % r == 0)
        return product * row, min(max(block // product, 1) * product, rows)
    part = max(
        k for k in range(1, width + 1) if width % k == 0 and (k == 1 or k * samples <= small)
    )
    if LEAST_COLUMNS <= part * samples <= small:  # even parts of one row
        return part * samples, block
    return 0, block  # too large a filter bank: one product for the whole block


def _blocks(window: Window, rows_in_block: int) -> Iterator[slice]:
    """All output rows, block by block."""
    for start in range(0, window.output[0], rows_in_block):
        yield slice(start, min(start + rows_in_block, window.output[0]))


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
    if not window.padded:
        return padded
    top, _, left, _ = window.padding
    return np.ascontiguousarray(padded[:, top : top + shape[1], left : left + shape[2]])


def _padded_zeros(shape: Shape, window: Window, dtype: np.dtype) -> Array:
    """Zeros for the gradient of a padded input; `shape` is that of the input itself."""
    channels, height, width, samples = shape
    top, bottom, left, right = window.padding
    return np.zeros((channels, height + top + bottom, width + left + right, samples), dtype)


# --- convolution -----------------------------------------------------------------------------


def algorithm(window: Window, channels: int, filters: int) -> str:
    """The name of the algorithm that a layer's batches are computed with, for summaries."""
    return "im2col"


def conv2d(x: Array, weights: Array, bias: Array | None, window: Window) -> Array:
    """y[o, i, j] = sum over c, a, b of w[o, c, a, b] x[c, i s + a d, j s + b d] + bias[o]."""
    filters, samples = weights.shape[0], x.shape[3]
    oh, ow = window.output
    bank = weights.reshape(filters, -1)
    if bias is not None:  # the weight of a pixel that is always 1: no pass of its own
        bank = np.column_stack([bank, bias])
    padded = pad(np.ascontiguousarray(x), window.padding)
    y = np.empty((filters, oh, ow * samples), x.dtype)
    in_product, in_block = _plan(filters, bank.shape[1], window, samples)
    for rows in _blocks(window, in_block):
        columns = unfold(padded, window, rows, with_ones=bias is not None)
        np.matmul(bank, _stack(columns, in_product), out=_stack(y[:, rows], in_product))
    return y.reshape(filters, oh, ow, samples)


def conv2d_input_gradient(dy: Array, weights: Array, window: Window, shape: Shape) -> Array:
    """dx: each output hands its gradient back to the pixels it looked at, times their weights.

    Where windows move pixel by pixel, that is again a convolution: of dy, with every kernel turned
    by 180 degrees and the channels' roles exchanged.  Else, and where the filters are many (it
    then unfolds more than it would scatter), W^T dy is scattered back, tap by tap.
    """
    mirrored = _mirrored_window(window, shape)
    filters, channels = weights.shape[:2]
    if mirrored is not None and filters <= max(channels, FEW_FILTERS):
        turned = np.ascontiguousarray(weights[:, :, ::-1, ::-1].transpose(1, 0, 2, 3))
        return conv2d(dy, turned, None, mirrored)
    return _scatter(dy, weights, window, shape)


def _mirrored_window(window: Window, shape: Shape) -> Window | None:
    """The window of the convolution that takes dy back to dx; None where there is none."""
    spans = [d * (k - 1) for d, k in zip(window.dilation, window.kernel, strict=True)]
    size, top, left = (shape[1], shape[2]), window.padding[0], window.padding[2]
    if window.stride != (1, 1) or top > spans[0] or left > spans[1]:
        return None
    before = (spans[0] - top, spans[1] - left)
    after = [
        n + span - out - b
        for n, span, out, b in zip(size, spans, window.output, before, strict=True)
    ]
    if min(after) < 0:
        return None
    borders = (before[0], after[0], before[1], after[1])
    return Window(window.kernel, (1, 1), window.dilation, borders, size)


def _scatter(dy: Array, weights: Array, window: Window, shape: Shape) -> Array:
    """col2im: the columns W^T dy, each tap added to the pixels that it met."""
    filters, channels = weights.shape[:2]
    samples = dy.shape[3]
    (kh, kw), (sh, sw), (dh, dw) = window.kernel, window.stride, window.dilation
    oh, ow = window.output
    bank = weights.reshape(filters, -1).T
    padded = _padded_zeros(shape, window, dy.dtype)
    flat = dy.reshape(filters, oh, ow * samples)
    in_product, in_block = _plan(filters, bank.shape[0], window, samples)
    for rows in _blocks(window, in_block):
        count = rows.stop - rows.start
        columns = np.empty((bank.shape[0], count, ow * samples), dy.dtype)
        np.matmul(bank, _stack(flat[:, rows], in_product), out=_stack(columns, in_product))
        parts = columns.reshape(channels, kh, kw, count, ow, samples)
        for i in range(kh):
            first = rows.start * sh + i * dh
            last = (rows.stop - 1) * sh + i * dh
            for j in range(kw):
                left = j * dw
                target = padded[:, first : last + 1 : sh, left : left + (ow - 1) * sw + 1 : sw]
                target += parts[:, i, j]
    return _crop(padded, window, shape)


def conv2d_weight_gradient(x: Array, dy: Array, window: Window) -> Array:
    """dw[o, c, a, b] = sum over all outputs of dy[o, i, j] x[c, i s + a d, j s + b d]."""
    filters, channels, samples = dy.shape[0], x.shape[0], x.shape[3]
    (oh, ow), (kh, kw) = window.output, window.kernel
    padded = pad(np.ascontiguousarray(x), window.padding)
    flat = dy.reshape(filters, oh, ow * samples)
    total = np.zeros((channels * kh * kw, filters), x.dtype)
    in_product, in_block = _plan(filters, total.shape[0], window, samples)
    for rows in _blocks(window, in_block):
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
    apart = all(s >= k for s, k in zip(window.stride, window.kernel, strict=True))
    tiled = [o * k for o, k in zip(window.output, window.kernel, strict=True)]
    if window.stride == window.kernel and tiled == list(shape[1:3]) and not window.padded:
        padded = np.empty(shape, dy.dtype)  # the windows tile the image: every pixel is written
    else:
        padded = _padded_zeros(shape, window, dy.dtype)
    for place, target in enumerate(taps(padded, window)):
        if apart:  # no pixel belongs to two windows: nothing to add to
            np.multiply(dy, winner == place, out=target)
        else:
            target += dy * (winner == place)
    return _crop(padded, window, shape)


def average_pool(x: Array, counts: Array, window: Window) -> Array:
    """The mean of each window; `counts` (oh, ow) says how many pixels each one averages over."""
    views = list(taps(pad(x, window.padding), window))
    y = views[0].copy()
    for view in views[1:]:
        y += view
    y /= counts[:, :, None].astype(x.dtype)
    return y


def average_pool_gradient(dy: Array, counts: Array, window: Window, shape: Shape) -> Array:
    """dx: the gradient of a window in equal shares to its pixels."""
    padded = _padded_zeros(shape, window, dy.dtype)
    share = dy / counts[:, :, None].astype(dy.dtype)
    for target in taps(padded, window):
        target += share
    return _crop(padded, window, shape)


def global_average_pool(x: Array) -> Array:
    """The mean of each channel: (channels, samples)."""
    channels, height, width, samples = x.shape
    return x.reshape(channels, height * width, samples).mean(axis=1)


def global_average_pool_gradient(dy: Array, shape: Shape) -> Array:
    """dx: the gradient of a channel in equal shares to its pixels."""
    share = dy / dy.dtype.type(shape[1] * shape[2])
    return np.broadcast_to(share[:, None, None], shape).copy()


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


def copy(x: Array) -> Array:
    """The same numbers in memory of their own, for kernels that work in place."""
    return x.copy()


def leaky_relu_(z: Array, slope: float) -> Array:
    """y = z where z > 0, else slope z; slope 0 is ReLU.  In place."""
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
    """y = 1 / (1 + exp(-z)), written with tanh so that nothing overflows.  In place."""
    z *= z.dtype.type(0.5)
    np.tanh(z, out=z)
    z *= z.dtype.type(0.5)
    z += z.dtype.type(0.5)
    return z


def sigmoid_gradient(dy: Array, y: Array) -> Array:
    """dz = dy y (1 - y)."""
    dz = 1 - y
    dz *= y
    dz *= dy
    return dz


def tanh_(z: Array) -> Array:
    """y = tanh z.  In place."""
    return np.tanh(z, out=z)


def tanh_gradient(dy: Array, y: Array) -> Array:
    """dz = dy (1 - y^2)."""
    dz = 1 - y * y
    dz *= dy
    return dz


def softmax_(z: Array) -> Array:
    """y = exp(z - max z) / sum, over the first axis.  In place; logits of 1,000 are fine."""
    z -= z.max(axis=0)
    np.exp(z, out=z)
    z /= z.sum(axis=0)
    return z


def softmax_gradient(dy: Array, y: Array) -> Array:
    """dz = y (dy - sum of y dy)."""
    return y * (dy - (y * dy).sum(axis=0))


def drop(x: Array, bits: Array, dropped: int) -> Array:
    """y = x / (1 - p) where bits >= dropped, else 0; p = dropped / 65,536."""
    y = x * (bits >= dropped)
    y *= x.dtype.type(2**16 / (2**16 - dropped))
    return y
