"""First weights: drawn so that the variance of a signal neither dies nor explodes with depth."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from glassbox.engine.layer import Activation, Array, BuildContext
from glassbox.errors import unknown_name
from glassbox.kernels.shapes import Shape

INITIALIZERS = ("auto", "he_normal", "he_uniform", "xavier_normal", "xavier_uniform")


def check_initializer(name: str) -> str:
    """`name` itself, or ValueError where nobody knows it."""
    if name not in INITIALIZERS:
        raise unknown_name("initializer", name, INITIALIZERS)
    return name


def first_parameters(layer: Any, shape: Shape, context: BuildContext) -> dict[str, Array]:
    """The weight, of this shape, and the bias (zeros) of a Conv2D or Dense that is being built."""
    layer.activation.use(context.kernels)
    context.reserve(layer.label, shape)
    rng, dtype = context.rng, context.dtype
    parameters = {"weight": draw_weights(layer.initializer, shape, layer.activation, rng, dtype)}
    if layer.bias:
        parameters["bias"] = np.zeros(shape[0], dtype)
    return parameters


def draw_weights(
    name: str, shape: Shape, activation: Activation, rng: np.random.Generator | None,
    dtype: np.dtype,
) -> Array:  # fmt: skip
    """Weights of `shape` (out, in) or (out, in, kh, kw).

    He: std = gain / sqrt(fan_in) (He et al. 2015).  Xavier: std = gain sqrt(2 / (fan_in +
    fan_out)) (Glorot and Bengio 2010).  A uniform law has the same std: bound = sqrt(3) std.
    "auto" is the normal law that suits the activation: He behind ReLU and its kin, else Xavier.
    Without `rng` they are zeros, to be filled from a file.
    """
    if rng is None:
        return np.zeros(shape, dtype)
    field = math.prod(shape[2:])
    fan_in, fan_out = shape[1] * field, shape[0] * field
    scheme, law = (activation.scheme, "normal") if name == "auto" else name.split("_")
    spread = 1 / fan_in if scheme == "he" else 2 / (fan_in + fan_out)
    std = activation.gain * math.sqrt(spread)
    if law == "normal":
        weights = rng.normal(0.0, std, shape)
    else:
        weights = rng.uniform(-math.sqrt(3) * std, math.sqrt(3) * std, shape)
    return weights.astype(dtype)
