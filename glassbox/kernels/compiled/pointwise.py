"""Functions of each number alone, and the optimizers' updates in one pass each.

Exponentials are NumPy's: they run on whole vectors; compiled, they would go number by number.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from glassbox.kernels.compiled.build import compiled
from glassbox.kernels.compiled.convolution import flat
from glassbox.kernels.compiled.team import begin, finish
from glassbox.kernels.recorder import call, call_divided

Array = np.ndarray
State = dict[str, Any]


@compiled
def bent(z, slope):
    """z where z > 0, else slope z; 0 where that is infinity times 0."""
    if z > 0:
        return z
    return slope if slope == 0 and z == -math.inf else slope * z


@compiled
def _leaky_relu(z, slope):
    for k in range(len(z)):
        z[k] = bent(z[k], slope)


def leaky_relu_(z: Array, slope: float) -> Array:
    """y = z where z > 0, else slope z; slope 0 is ReLU.  In place."""
    call(_leaky_relu, z.reshape(-1), z.dtype.type(slope))
    return z


@compiled
def _leaky_relu_gradient(dy, y, slope, dz):
    for k in range(len(y)):
        dz[k] = dy[k] if y[k] > 0 else slope * dy[k]


def leaky_relu_gradient(dy: Array, y: Array, slope: float) -> Array:
    """dz = dy where y > 0, else slope dy (y has the sign of z)."""
    dz = np.empty(y.shape, y.dtype)
    call(_leaky_relu_gradient, flat(dy), flat(y), y.dtype.type(slope), dz.reshape(-1))
    return dz


@compiled
def _sigmoid(z, e, one):
    """z = 1 / (1 + exp(-z)), in place, from e = exp(-|z|)."""
    for k in range(len(z)):
        z[k] = (one if z[k] >= 0 else e[k]) / (one + e[k])


def sigmoid_(z: Array) -> Array:
    """y = 1 / (1 + exp(-z)), from exp(-|z|): nothing overflows, no small y is lost.  In place."""
    e = np.empty(z.shape, z.dtype)
    call(np.abs, z, e)
    call(np.negative, e, e)
    call(np.exp, e, e)
    call(_sigmoid, z.reshape(-1), e.reshape(-1), z.dtype.type(1))
    return z


@compiled
def _sigmoid_gradient(dy, y, dz):
    for k in range(len(y)):
        dz[k] = (1 - y[k]) * y[k] * dy[k]


def sigmoid_gradient(dy: Array, y: Array) -> Array:
    """dz = dy y (1 - y)."""
    dz = np.empty(y.shape, y.dtype)
    call(_sigmoid_gradient, flat(dy), flat(y), dz.reshape(-1))
    return dz


def tanh_(z: Array) -> Array:
    """y = tanh z.  In place."""
    call(np.tanh, z, z)
    return z


@compiled
def _tanh_gradient(dy, y, dz):
    for k in range(len(y)):
        dz[k] = (1 - y[k] * y[k]) * dy[k]


def tanh_gradient(dy: Array, y: Array) -> Array:
    """dz = dy (1 - y^2)."""
    dz = np.empty(y.shape, y.dtype)
    call(_tanh_gradient, flat(dy), flat(y), dz.reshape(-1))
    return dz


def relu6_(z: Array) -> Array:
    """y = min(max(z, 0), 6).  In place."""
    call(np.clip, z, z.dtype.type(0), z.dtype.type(6), z)
    return z


@compiled
def _relu6_gradient(dy, y, dz):
    for k in range(len(y)):
        dz[k] = dy[k] if 0 < y[k] < 6 else 0 * dy[k]


def relu6_gradient(dy: Array, y: Array) -> Array:
    """dz = dy where 0 < y < 6, else 0."""
    dz = np.empty(y.shape, y.dtype)
    call(_relu6_gradient, flat(dy), flat(y), dz.reshape(-1))
    return dz


def softmax_(z: Array) -> Array:
    """y = exp(z - max z) / sum, over the first axis.  In place; logits of 1,000 are fine."""
    each = np.empty(z.shape[1:], z.dtype)
    call(np.maximum.reduce, z, 0, None, each)
    call(np.subtract, z, each, z)
    call(np.exp, z, z)
    call(np.add.reduce, z, 0, None, each)
    call(np.divide, z, each, z)
    return z


def softmax_gradient(dy: Array, y: Array) -> Array:
    """dz = y (dy - sum of y dy)."""
    dz, each = np.empty(y.shape, y.dtype), np.empty(y.shape[1:], y.dtype)
    call(np.multiply, y, dy, dz)
    call(np.add.reduce, dz, 0, None, each)
    call(np.subtract, dy, each, dz)
    call(np.multiply, y, dz, dz)
    return dz


def log_softmax_(z: Array) -> Array:
    """y = (z - max z) - log of the sum of exp(z - max z), over the first axis.  In place."""
    e, each = np.empty(z.shape, z.dtype), np.empty(z.shape[1:], z.dtype)
    call(np.maximum.reduce, z, 0, None, each)
    call(np.subtract, z, each, z)
    call(np.exp, z, e)
    call(np.add.reduce, e, 0, None, each)
    call(np.log, each, each)
    call(np.subtract, z, each, z)
    return z


def log_softmax_gradient(dy: Array, y: Array) -> Array:
    """dz = dy - exp y times the sum of dy."""
    dz, each = np.empty(y.shape, y.dtype), np.empty(y.shape[1:], y.dtype)
    call(np.exp, y, dz)
    call(np.add.reduce, dy, 0, None, each)
    call(np.multiply, dz, each, dz)
    call(np.subtract, dy, dz, dz)
    return dz


@compiled
def _add(a, b, slope, y):
    for k in range(len(y)):
        y[k] = bent(a[k] + b[k], slope)


def add(a: Array, b: Array, slope: float = 1.0) -> Array:
    """leaky(a + b): z where z > 0, else slope z."""
    y = np.empty(a.shape, a.dtype)
    call(_add, flat(a), flat(b), y.dtype.type(slope), y.reshape(-1))
    return y


def multiply(a: Array, b: Array) -> Array:
    """a b, in the shape of a."""
    y = np.empty(a.shape, a.dtype)
    call(np.multiply, a, b, y)
    return y


def copy(x: Array) -> Array:
    """The same numbers in memory of their own, for kernels that work in place."""
    y = np.empty(x.shape, x.dtype)
    call(np.copyto, y, x)
    return y


@compiled
def _drop(x, bits, dropped, scale, y):
    for k in range(len(x)):
        y[k] = scale * x[k] if bits[k] >= dropped else 0 * x[k]


def drop(x: Array, bits: Array, dropped: int) -> Array:
    """y = x / (1 - p) where bits >= dropped, else 0; p = dropped / 65,536."""
    y = np.empty(x.shape, x.dtype)
    scale = x.dtype.type(2**16 / (2**16 - dropped))
    call(_drop, flat(x), bits.reshape(-1), np.uint16(dropped), scale, y.reshape(-1))
    return y


# --- optimizer updates: in place on flat vectors -----------------------------------------------

MOVED = 5  # numbers read or written for each weight, by SGD with momentum


@compiled
def _descend(turn, w, g, lr):
    first, end = begin(turn, len(w))
    w, g = w[first:end], g[first:end]
    for k in range(len(w)):
        w[k] -= lr * g[k]
    finish(turn)


@compiled
def _sgd(turn, w, g, v, lr, momentum, nesterov):
    first, end = begin(turn, len(w))
    w, g, v = w[first:end], g[first:end], v[first:end]
    for k in range(len(w)):
        v[k] = momentum * v[k] + g[k]
        w[k] -= lr * (g[k] + momentum * v[k] if nesterov else v[k])
    finish(turn)


def sgd_(sgd: Any, w: Array, g: Array, state: State, rate: float) -> None:
    """`SGD.update` in one pass."""
    kind, v = w.dtype.type, state.get("velocity")
    if v is None:
        call_divided(_descend, MOVED * w.size, w, g, kind(rate))
    else:
        given = w, g, v, kind(rate), kind(sgd.momentum), sgd.nesterov
        call_divided(_sgd, MOVED * w.size, *given)


@compiled
def _adam(turn, w, g, m, v, rate, beta1, beta2, rest1, rest2, epsilon, root_correction):
    first, end = begin(turn, len(w))
    w, g, m, v = w[first:end], g[first:end], m[first:end], v[first:end]
    for k in range(len(w)):
        m[k] = beta1 * m[k] + rest1 * g[k]
        v[k] = beta2 * v[k] + rest2 * g[k] * g[k]
        w[k] -= rate * (m[k] / (math.sqrt(v[k]) * root_correction + epsilon))
    finish(turn)


def adam_(adam: Any, w: Array, g: Array, state: State, rate: float) -> None:
    """`Adam.update` in one pass."""
    kind, step = w.dtype.type, state["steps"]
    beta1, beta2 = adam.betas
    call_divided(
        _adam, MOVED * w.size, w, g, state["mean"], state["square"],
        kind(rate / (1 - beta1**step)), kind(beta1), kind(beta2), kind(1 - beta1),
        kind(1 - beta2), kind(adam.epsilon), kind((1 - beta2**step) ** -0.5),
    )  # fmt: skip


@compiled
def _rmsprop(turn, w, g, s, lr, rho, rest, epsilon):
    first, end = begin(turn, len(w))
    w, g, s = w[first:end], g[first:end], s[first:end]
    for k in range(len(w)):
        s[k] = rho * s[k] + rest * g[k] * g[k]
        w[k] -= lr * (g[k] / (math.sqrt(s[k]) + epsilon))
    finish(turn)


@compiled
def _rmsprop_momentum(turn, w, g, s, v, lr, rho, rest, momentum, epsilon):
    first, end = begin(turn, len(w))
    w, g, s, v = w[first:end], g[first:end], s[first:end], v[first:end]
    for k in range(len(w)):
        s[k] = rho * s[k] + rest * g[k] * g[k]
        v[k] = momentum * v[k] + g[k] / (math.sqrt(s[k]) + epsilon)
        w[k] -= lr * v[k]
    finish(turn)


def rmsprop_(rmsprop: Any, w: Array, g: Array, state: State, rate: float) -> None:
    """`RMSprop.update` in one pass."""
    kind, rho, v = w.dtype.type, rmsprop.rho, state.get("velocity")
    rates = kind(rate), kind(rho), kind(1 - rho)
    if v is None:
        given: Any = w, g, state["square"], *rates, kind(rmsprop.epsilon)
        call_divided(_rmsprop, MOVED * w.size, *given)
    else:
        momentum, epsilon = kind(rmsprop.momentum), kind(rmsprop.epsilon)
        given = w, g, state["square"], v, *rates, momentum, epsilon
        call_divided(_rmsprop_momentum, MOVED * w.size, *given)


@compiled
def _adadelta(turn, w, g, s, u, lr, rho, rest, epsilon):
    first, end = begin(turn, len(w))
    w, g, s, u = w[first:end], g[first:end], s[first:end], u[first:end]
    for k in range(len(w)):
        s[k] = rho * s[k] + rest * g[k] * g[k]
        step = g[k] * math.sqrt((u[k] + epsilon) / (s[k] + epsilon))
        u[k] = rho * u[k] + rest * step * step
        w[k] -= lr * step
    finish(turn)


def adadelta_(adadelta: Any, w: Array, g: Array, state: State, rate: float) -> None:
    """`Adadelta.update` in one pass."""
    kind, rho = w.dtype.type, adadelta.rho
    settings = kind(rate), kind(rho), kind(1 - rho), kind(adadelta.epsilon)
    given = w, g, state["square"], state["step_square"], *settings
    call_divided(_adadelta, MOVED * w.size, *given)
