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


def moments(rows: Array) -> Array:
    """The sums of each row's numbers and of their squares, (2, channels), in float64."""
    wide = rows.astype(np.float64)
    return np.stack([wide.sum(axis=1), np.einsum("ci,ci->c", wide, wide)])


def statistics(sums: Array, count: int) -> tuple[Array, Array]:
    """Mean and variance from the `moments` of so many numbers."""
    mean, square = sums / count
    return mean, np.maximum(square - mean * mean, 0)


def _xhat(x: Array, mean: Array, inverse: Array) -> Array:
    """(x - mean) / std; a mean with more digits than x is taken off in two steps."""
    near = mean.astype(x.dtype)
    xhat = x - near[:, None]
    xhat -= (mean - near).astype(x.dtype)[:, None]
    xhat *= inverse[:, None]
    return xhat


def normalize(
    rows: Array, mean: Array, variance: Array, epsilon: float, scale: Array, shift: Array
) -> tuple[Array, Array]:
    """y = scale (rows - mean) / std + shift, and 1 / std; std = sqrt(variance + epsilon)."""
    inverse = (1 / np.sqrt(variance + epsilon)).astype(rows.dtype)
    y = _xhat(rows, mean, inverse)
    y *= scale[:, None]
    y += shift[:, None]
    return y, inverse


def normalize_sums(dy: Array, x: Array, mean: Array, inverse: Array) -> Array:
    """The sums of each row of dy, and of dy xhat: (2, channels)."""
    return np.stack([dy.sum(axis=1), np.einsum("ci,ci->c", dy, _xhat(x, mean, inverse))])


def normalize_gradient(
    dy: Array, x: Array, mean: Array, inverse: Array, sums: Array, count: int, scale: Array
) -> Array:
    """dx = scale / std (dy - mean of dy - xhat mean of (dy xhat)), channel by channel.

    sums : those of dy and of dy xhat, over so many numbers as `count` says.
    """
    shift, product = sums / x.dtype.type(count)
    dx = _xhat(x, mean, inverse)
    dx *= -product[:, None]
    dx += dy
    dx -= shift[:, None]
    dx *= (scale * inverse)[:, None]
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
