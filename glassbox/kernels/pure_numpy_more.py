"""More kernels in plain NumPy; `pure_numpy` passes them on."""

from __future__ import annotations

import numpy as np

from glassbox.kernels.shapes import Shape

__all__ = [
    "drop", "global_average_pool", "global_average_pool_gradient", "normalize_",
    "normalize_gradient", "row_products", "softmax_", "softmax_gradient", "tanh_",
    "tanh_gradient",
]  # fmt: skip

Array = np.ndarray


def row_products(a: Array, b: Array) -> Array:
    """s[c] = sum over k of a[c, k] b[c, k]."""
    return np.einsum("ci,ci->c", a, b)


def normalize_(rows: Array, inverse: Array, scale: Array, shift: Array) -> Array:
    """rows *= inverse, in place: xhat; returns y = scale xhat + shift, channel by channel."""
    rows *= inverse[:, None]
    y = rows * scale[:, None]
    y += shift[:, None]
    return y


def normalize_gradient(dy: Array, xhat: Array, mean: Array, product: Array, factor: Array) -> Array:
    """dx = factor (dy - mean - xhat product), channel by channel."""
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
