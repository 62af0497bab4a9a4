"""The kernels of batch normalization in plain NumPy: rows (channels, everything else)."""

from __future__ import annotations

import numpy as np

__all__ = ["normalize_", "normalize_gradient", "row_products"]

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
