"""More kernels in plain NumPy: average pooling, normalization, dropout, tanh, softmax.

What a backend records must be made by kernels, so some of them are a line of NumPy.
"""

from __future__ import annotations

import numpy as np

from glassbox.kernels.pure_numpy.essential import _crop, _padded_zeros, pad, taps
from glassbox.kernels.shapes import Shape, Window

Array = np.ndarray


def add(a: Array, b: Array) -> Array:
    """a + b."""
    return a + b


def multiply(a: Array, b: Array) -> Array:
    """a b, in the shape of a."""
    return a * b


def stack(a: Array, b: Array) -> Array:
    """a and b as one array, (2, ...)."""
    return np.stack([a, b])


def pairwise_sums(rows: Array) -> Array:
    """The sum of each row, by pairs: it loses almost nothing even of equal numbers."""
    return rows.sum(axis=1)


def row_products(a: Array, b: Array) -> Array:
    """s[c] = sum over k of a[c, k] b[c, k]."""
    return np.einsum("ci,ci->c", a, b)


def center(rows: Array, total: Array, count: int) -> tuple[Array, Array]:
    """rows - mean, channel by channel, and the mean: total / count."""
    mean = total / count
    return rows - mean[:, None], mean


def statistics(mean: Array, moments: Array, count: int) -> tuple[Array, Array, Array]:
    """How far a mean is off, the right one, and the variance.

    moments : the sums of what was left when the mean was taken away, and of its squares.
    """
    off, variance = moments / count
    return off, mean + off, np.maximum(variance - off * off, 0)


def normalize(
    rows: Array, mean: Array, variance: Array, epsilon: float, scale: Array, shift: Array,
    xhat: Array,
) -> tuple[Array, Array]:  # fmt: skip
    """y = scale xhat + shift, channel by channel, and 1 / sqrt(variance + epsilon).

    xhat : where (rows - mean) / sqrt(variance + epsilon) is put; may be `rows` itself.
    """
    inverse = 1 / np.sqrt(variance + rows.dtype.type(epsilon))
    np.subtract(rows, mean[:, None], out=xhat)
    xhat *= inverse[:, None]
    y = xhat * scale[:, None]
    y += shift[:, None]
    return y, inverse


def normalize_gradient(dy: Array, xhat: Array, sums: Array, count: int, factor: Array) -> Array:
    """dx = factor (dy - mean of dy - xhat mean of (dy xhat)), channel by channel.

    sums : those of dy and of dy xhat, over so many numbers as `count` says.
    """
    mean, product = sums / count
    dx = dy - mean[:, None]
    dx -= xhat * product[:, None]
    dx *= factor[:, None]
    return dx


def global_average_pool(x: Array) -> Array:
    """The mean of each channel: (channels, samples)."""
    channels, height, width, samples = x.shape
    return x.reshape(channels, height * width, samples).mean(axis=1)


def global_average_pool_gradient(dy: Array, shape: Shape) -> Array:
    """dx: the gradient of a channel in equal shares to its pixels."""
    share = dy / dy.dtype.type(shape[1] * shape[2])
    return np.broadcast_to(share[:, None, None], shape).copy()


def tanh_(z: Array) -> Array:
    """y = tanh z.  In place."""
    return np.tanh(z, out=z)


def tanh_gradient(dy: Array, y: Array) -> Array:
    """dz = dy (1 - y^2)."""
    dz = 1 - y * y
    dz *= dy
    return dz


def relu6_(z: Array) -> Array:
    """y = min(max(z, 0), 6).  In place."""
    return np.clip(z, 0, 6, out=z)


def relu6_gradient(dy: Array, y: Array) -> Array:
    """dz = dy where 0 < y < 6, else 0."""
    return dy * ((y > 0) & (y < 6))


def softmax_(z: Array) -> Array:
    """y = exp(z - max z) / sum, over the first axis.  In place; logits of 1,000 are fine."""
    z -= z.max(axis=0)
    np.exp(z, out=z)
    z /= z.sum(axis=0)
    return z


def softmax_gradient(dy: Array, y: Array) -> Array:
    """dz = y (dy - sum of y dy)."""
    return y * (dy - (y * dy).sum(axis=0))


def log_softmax_(z: Array) -> Array:
    """y = (z - max z) - log of the sum of exp(z - max z), over the first axis.  In place."""
    z -= z.max(axis=0)
    z -= np.log(np.exp(z).sum(axis=0))
    return z


def log_softmax_gradient(dy: Array, y: Array) -> Array:
    """dz = dy - exp y times the sum of dy."""
    return dy - np.exp(y) * dy.sum(axis=0)


def drop(x: Array, bits: Array, dropped: int) -> Array:
    """y = x / (1 - p) where bits >= dropped, else 0; p = dropped / 65,536."""
    y = x * (bits >= dropped)
    y *= x.dtype.type(2**16 / (2**16 - dropped))
    return y


def algorithm(window: Window, channels: int, filters: int) -> str:
    """The name of the algorithm that a layer's batches are computed with, for summaries."""
    return "im2col"


def _sizes(counts: tuple[Array, Array], dtype: np.dtype) -> Array:
    """How many pixels each window averages over: (oh, ow, 1)."""
    down, across = counts
    return down.astype(dtype)[:, None, None] * across.astype(dtype)[:, None]


def average_pool(x: Array, counts: tuple[Array, Array], window: Window) -> Array:
    """The mean of each window; `counts`: its pixels down (oh,) and across (ow,)."""
    views = list(taps(pad(x, window.padding), window))
    y = views[0].copy()
    for view in views[1:]:
        y += view
    y /= _sizes(counts, x.dtype)
    return y


def average_pool_gradient(
    dy: Array, counts: tuple[Array, Array], window: Window, shape: Shape
) -> Array:
    """dx: the gradient of a window in equal shares to its pixels."""
    padded = _padded_zeros(shape, window, dy.dtype)
    share = dy / _sizes(counts, dy.dtype)
    for target in taps(padded, window):
        target += share
    return _crop(padded, window, shape)


def copy(x: Array) -> Array:
    """The same numbers in memory of their own, for kernels that work in place."""
    return x.copy()
