"""The kernels in plain NumPy: complete, readable, the reference for every other dialect.

Arrays are batch-last and C-contiguous: x (channels, height, width, samples), rows (features,
samples).  Weights are (out, in, kh, kw) and (out, in).  No kernel changes its input unless its
name ends in `_` (then it works in place).  Every result has the dtype of x.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.lib.stride_tricks import as_strided

from engine.shapes import Shape, Window

Array = np.ndarray

# Matrix products up to this many multiply-adds run in OpenBLAS without packing their operands:
# measured 95 against 35 to 65 GFLOP/s for a 16 x 72 filter bank.  Blocks are cut to stay below.
SMALL_PRODUCT = 1_000_000
# Where the filter bank is too large for that, a block of unfolded pixels stays within L2 cache.
BLOCK_ENTRIES = 262_144


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


def _blocks(filters: int, taps_in_all: int, window: Window, samples: int) -> Iterator[slice]:
    """Output rows in blocks whose unfolded pixels suit the matrix product (constants above)."""
    row = window.output[1] * samples
    columns = SMALL_PRODUCT // (filters * taps_in_all)
    if columns < row:
        columns = BLOCK_ENTRIES // taps_in_all
    rows = max(1, columns // row)
    for start in range(0, window.output[0], rows):
        yield slice(start, min(start + rows, window.output[0]))


def unfold(x: Array, window: Window, rows: slice) -> Array:
    """im2col for some output rows of padded x: (c * kh * kw, rows * ow * n).

    One column holds the pixels that one output value of one sample looks at.
    """
    channels, samples = x.shape[0], x.shape[3]
    (kh, kw), (sh, sw), (dh, dw) = window.kernel, window.stride, window.dilation
    count, ow = rows.stop - rows.start, window.output[1]
    if (kh, kw, sh, sw) == (1, 1, 1, 1):
        return x[:, rows].reshape(channels, -1)
    c, h, w, n = x.strides
    view = as_strided(
        x[:, rows.start * sh :],
        (channels, kh, kw, count, ow, samples),
        (c, dh * h, dw * w, sh * h, sw * w, n),
        writeable=False,
    )
    columns = np.empty(view.shape, x.dtype)
    np.copyto(columns, view)
    return columns.reshape(channels * kh * kw, count * ow * samples)


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


def conv2d(x: Array, weights: Array, bias: Array | None, window: Window) -> Array:
    """y[o, i, j] = sum over c, a, b of w[o, c, a, b] x[c, i s + a d, j s + b d] + bias[o]."""
    filters, samples = weights.shape[0], x.shape[3]
    oh, ow = window.output
    bank = weights.reshape(filters, -1)
    padded = pad(x, window.padding)
    y = np.empty((filters, oh, ow * samples), x.dtype)
    for rows in _blocks(filters, bank.shape[1], window, samples):
        part = y[:, rows].reshape(filters, -1)  # rows of one filter lie together: still a view
        np.matmul(bank, unfold(padded, window, rows), out=part)
        if bias is not None:
            part += bias[:, None]
    return y.reshape(filters, oh, ow, samples)


def conv2d_input_gradient(dy: Array, weights: Array, window: Window, shape: Shape) -> Array:
    """dx: each output hands its gradient back to the pixels it looked at, times their weights."""
    filters, channels = weights.shape[:2]
    samples = dy.shape[3]
    (kh, kw), (sh, sw), (dh, dw) = window.kernel, window.stride, window.dilation
    ow = window.output[1]
    bank = weights.reshape(filters, -1).T
    padded = _padded_zeros(shape, window, dy.dtype)
    for rows in _blocks(filters, bank.shape[0], window, samples):
        columns = bank @ dy[:, rows].reshape(filters, -1)
        parts = columns.reshape(channels, kh, kw, rows.stop - rows.start, ow, samples)
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
    kh, kw = window.kernel
    padded = pad(x, window.padding)
    total = np.zeros((channels * kh * kw, filters), x.dtype)
    for rows in _blocks(filters, total.shape[0], window, samples):
        # (taps, filters) rather than (filters, taps): the product runs a fifth faster this way
        total += unfold(padded, window, rows) @ dy[:, rows].reshape(filters, -1).T
    return np.ascontiguousarray(total.T).reshape(filters, channels, kh, kw)


def bias_gradient(dy: Array) -> Array:
    """db[o] = sum of dy[o] over all places and samples."""
    return dy.reshape(dy.shape[0], -1).sum(axis=1)


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
    for view in views[1:]:  # adding 1 for each place that is not yet the one: no branches
        winner += undecided
        undecided &= y != view
    return y, winner


def max_pool_gradient(dy: Array, winner: Array, window: Window, shape: Shape) -> Array:
    """dx: the whole gradient of a window goes to the pixel that won it."""
    padded = _padded_zeros(shape, window, dy.dtype)
    apart = all(s >= k for s, k in zip(window.stride, window.kernel, strict=True))
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
    return np.maximum(z, z * z.dtype.type(slope), out=z)


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


# --- optimizer updates, in place on flat vectors ----------------------------------------------


def sgd_(w: Array, g: Array, v: Array | None, lr: float, momentum: float, nesterov: bool) -> None:
    """v = momentum v + g; w -= lr v (with Nesterov: w -= lr (g + momentum v))."""
    if v is None:
        w -= w.dtype.type(lr) * g
        return
    v *= w.dtype.type(momentum)
    v += g
    step = g + w.dtype.type(momentum) * v if nesterov else v
    w -= w.dtype.type(lr) * step


def adam_(
    w: Array, g: Array, m: Array, v: Array, lr: float, betas: tuple[float, float],
    epsilon: float, step: int,
) -> None:  # fmt: skip
    """m, v: running means of g and g^2; w -= lr (m / c1) / (sqrt(v / c2) + epsilon).

    c1 = 1 - beta1^step and c2 = 1 - beta2^step undo the start from zero; step counts from 1.
    """
    kind = w.dtype.type
    beta1, beta2 = betas
    m *= kind(beta1)
    m += kind(1 - beta1) * g
    v *= kind(beta2)
    squared = g * g
    squared *= kind(1 - beta2)
    v += squared
    root = np.sqrt(v, out=squared)
    root *= kind((1 - beta2**step) ** -0.5)
    root += kind(epsilon)
    np.divide(m, root, out=root)
    root *= kind(lr / (1 - beta1**step))
    w -= root


def rmsprop_(
    w: Array, g: Array, s: Array, v: Array | None, lr: float, rho: float, momentum: float,
    epsilon: float,
) -> None:  # fmt: skip
    """s = rho s + (1 - rho) g^2; w -= lr g / (sqrt(s) + epsilon), with momentum through v."""
    kind = w.dtype.type
    s *= kind(rho)
    s += kind(1 - rho) * g * g
    root = np.sqrt(s)
    root += kind(epsilon)
    step = np.divide(g, root, out=root)
    if v is not None:
        v *= kind(momentum)
        v += step
        step = v
    w -= kind(lr) * step


def adadelta_(
    w: Array, g: Array, s: Array, u: Array, lr: float, rho: float, epsilon: float
) -> None:
    """s, u: running means of g^2 and of the steps squared; step = g sqrt(u + e) / sqrt(s + e)."""
    kind = w.dtype.type
    s *= kind(rho)
    s += kind(1 - rho) * g * g
    step = np.sqrt((u + kind(epsilon)) / (s + kind(epsilon)))
    step *= g
    u *= kind(rho)
    u += kind(1 - rho) * step * step
    w -= kind(lr) * step
