"""Activations: layers without parameters that any other layer may also carry inside.

Each is `apply(z) -> y`, in place, beside `gradient(dy, y) -> dz`: every derivative here can be
told from the output y alone, so nothing else is kept.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from glassbox.engine.layer import Array, Gradients, Layer, Pass, Setup
from glassbox.errors import unknown_name
from glassbox.kernels.shapes import Shape


class Activation(Layer):
    """A function of each number alone (softmax: of each sample's row).

    As a layer of its own: input and output any shape; keeps its output for backward.
    """

    stem = "activation"
    gain = 1.0  # what an initialiser multiplies by, so that the variance survives (He et al. 2015)
    scheme = "xavier"  # the initialiser that suits it
    word = ""  # how a user names it

    def apply(self, z: Array) -> Array:
        """y from z, in place."""
        raise TypeError(f"{type(self).__name__} must define apply(z) -> y")

    def gradient(self, dy: Array, y: Array) -> Array:
        """dz from dy and the output y."""
        raise TypeError(f"{type(self).__name__} must define gradient(dy, y) -> dz")

    def use(self, kernels: Any) -> Activation:
        """Compute with this kernel module (the layer that carries an activation calls it)."""
        self.kernels = kernels
        return self

    def _build(self, input_shape: Shape, setup: Setup) -> Shape:
        self.use(setup.kernels)
        return input_shape

    def forward(self, x: Array, run: Pass) -> tuple[Array, Any]:
        """y = f(x); keeps y."""
        y = self.apply(self.kernels.copy(x))
        return y, y

    def backward(self, dy: Array, memory: Any) -> tuple[Array | None, Gradients]:
        """dx = dy f'(x)."""
        return self.gradient(dy, memory), {}

    def describe(self) -> str:
        """Its name."""
        return self.word


class Identity(Activation):
    """y = z.

    >>> Identity().apply(np.array([-1.0, 2.0])).tolist()
    [-1.0, 2.0]
    """

    stem = word = "identity"

    def apply(self, z: Array) -> Array:
        """y = z."""
        return z

    def gradient(self, dy: Array, y: Array) -> Array:
        """dz = dy."""
        return dy


class LeakyReLU(Activation):
    """y = z where z > 0, else slope z (Maas et al. 2013).

    At z = 0 the derivative is `slope`, as in PyTorch.  Raises ValueError for a slope outside 0..1.

    >>> layer = activation_named(LeakyReLU(0.1))
    >>> layer.apply(np.array([-1.0, 2.0])).tolist()
    [-0.1, 2.0]
    """

    stem = "relu"
    word = "leaky_relu"
    scheme = "he"

    def __init__(self, slope: float = 0.01, *, name: str | None = None) -> None:
        super().__init__(name=name)
        if not 0 <= slope < 1:
            raise ValueError(f"LeakyReLU: expected a slope from 0 to below 1, got {slope}")
        self.slope = float(slope)
        self.gain = float(np.sqrt(2.0 / (1.0 + slope**2)))

    def apply(self, z: Array) -> Array:
        """max(z, slope z)."""
        return self.kernels.leaky_relu_(z, self.slope)

    def gradient(self, dy: Array, y: Array) -> Array:
        """dy where y > 0, else slope dy."""
        return self.kernels.leaky_relu_gradient(dy, y, self.slope)

    def describe(self) -> str:
        """Its name and slope."""
        return f"{self.word} {self.slope:g}" if self.slope else "relu"


class ReLU(LeakyReLU):
    """y = max(z, 0).

    >>> activation_named("relu").apply(np.array([-1.0, 2.0])).tolist()
    [-0.0, 2.0]
    """

    word = "relu"

    def __init__(self, *, name: str | None = None) -> None:
        super().__init__(0.0, name=name)


class Sigmoid(Activation):
    """y = 1 / (1 + exp(-z)); derivative y (1 - y).

    >>> activation_named("sigmoid").apply(np.array([0.0, 1000.0, -1000.0])).tolist()
    [0.5, 1.0, 0.0]
    """

    stem = word = "sigmoid"

    def apply(self, z: Array) -> Array:
        """1 / (1 + exp(-z))."""
        return self.kernels.sigmoid_(z)

    def gradient(self, dy: Array, y: Array) -> Array:
        """dy y (1 - y)."""
        return self.kernels.sigmoid_gradient(dy, y)


class Tanh(Activation):
    """y = tanh z; derivative 1 - y^2.

    >>> activation_named("tanh").apply(np.array([0.0, 1000.0])).tolist()
    [0.0, 1.0]
    """

    stem = word = "tanh"
    gain = 5.0 / 3.0

    def apply(self, z: Array) -> Array:
        """tanh z."""
        return self.kernels.tanh_(z)

    def gradient(self, dy: Array, y: Array) -> Array:
        """dy (1 - y^2)."""
        return self.kernels.tanh_gradient(dy, y)


class Softmax(Activation):
    """y = exp z / sum of exp z over the features (or channels) of each sample.

    The largest z is taken off first, so logits of 1,000 are no trouble.

    >>> activation_named("softmax").apply(np.array([[1000.0], [1000.0]])).tolist()
    [[0.5], [0.5]]
    """

    stem = word = "softmax"

    def apply(self, z: Array) -> Array:
        """exp(z - max) / sum."""
        return self.kernels.softmax_(z)

    def gradient(self, dy: Array, y: Array) -> Array:
        """y (dy - sum of y dy)."""
        return self.kernels.softmax_gradient(dy, y)


ACTIVATIONS: dict[str, type[Activation]] = {
    kind.word: kind for kind in (LeakyReLU, ReLU, Sigmoid, Tanh, Softmax, Identity)
}


def activation_named(given: str | Activation | None) -> Activation:
    """The activation of a name ("leaky_relu", "sigmoid", ...), or the one given; None: identity.

    It computes with NumPy until the layer that carries it is built with other kernels.

    Raises ValueError for an unknown name and TypeError for anything else.

    >>> type(activation_named("tanh")).__name__
    'Tanh'
    """
    if given is None:
        return Identity()
    if isinstance(given, Activation):
        return given
    if not isinstance(given, str):
        raise TypeError(f"activation: expected a name or an Activation, got {given!r}")
    if given not in ACTIVATIONS:
        raise unknown_name("activation", given, ACTIVATIONS)
    return ACTIVATIONS[given]()
