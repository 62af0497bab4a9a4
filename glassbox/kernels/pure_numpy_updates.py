"""The kernels in plain NumPy that go over whole vectors: normalization, optimizers' updates.

`pure_numpy` has the others and gives these on.
"""

from __future__ import annotations

import numpy as np

__all__ = [
    "adadelta_",
    "adam_",
    "normalize_",
    "normalize_gradient",
    "rmsprop_",
    "row_products",
    "sgd_",
]

Array = np.ndarray


# --- normalization: rows (channels, everything else) -------------------------------------------


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


# --- optimizer updates: in place on flat vectors; the gradient g is used up as scratch ---------


def sgd_(w: Array, g: Array, v: Array | None, lr: float, momentum: float, nesterov: bool) -> None:
    """v = momentum v + g; w -= lr v (with Nesterov: w -= lr (g + momentum v))."""
    kind = w.dtype.type
    if v is not None:
        v *= kind(momentum)
        v += g
        if nesterov:
            g += kind(momentum) * v
        else:
            g = np.multiply(v, kind(lr), out=g)
            w -= g
            return
    g *= kind(lr)
    w -= g


def adam_(
    w: Array,
    g: Array,
    m: Array,
    v: Array,
    lr: float,
    betas: tuple[float, float],
    epsilon: float,
    step: int,
) -> None:
    """m, v: running means of g and g^2; w -= lr (m / c1) / (sqrt(v / c2) + epsilon).

    c1 = 1 - beta1^step and c2 = 1 - beta2^step undo the start from zero; step counts from 1.
    """
    kind = w.dtype.type
    beta1, beta2 = betas
    squared = g * g
    squared *= kind(1 - beta2)
    v *= kind(beta2)
    v += squared
    g *= kind(1 - beta1)
    m *= kind(beta1)
    m += g
    root = np.sqrt(v, out=squared)
    root *= kind((1 - beta2**step) ** -0.5)
    root += kind(epsilon)
    np.divide(m, root, out=g)
    g *= kind(lr / (1 - beta1**step))
    w -= g


def rmsprop_(
    w: Array,
    g: Array,
    s: Array,
    v: Array | None,
    lr: float,
    rho: float,
    momentum: float,
    epsilon: float,
) -> None:
    """s = rho s + (1 - rho) g^2; w -= lr g / (sqrt(s) + epsilon), with momentum through v."""
    kind = w.dtype.type
    s *= kind(rho)
    s += kind(1 - rho) * g * g
    root = np.sqrt(s)
    root += kind(epsilon)
    g /= root
    if v is not None:
        v *= kind(momentum)
        v += g
        np.copyto(g, v)
    g *= kind(lr)
    w -= g


def adadelta_(
    w: Array, g: Array, s: Array, u: Array, lr: float, rho: float, epsilon: float
) -> None:
    """s, u: running means of g^2 and of the steps squared; step = g sqrt(u + e) / sqrt(s + e)."""
    kind = w.dtype.type
    s *= kind(rho)
    s += kind(1 - rho) * g * g
    g *= np.sqrt((u + kind(epsilon)) / (s + kind(epsilon)))
    u *= kind(rho)
    u += kind(1 - rho) * g * g
    g *= kind(lr)
    w -= g
