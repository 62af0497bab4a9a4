"""The layer protocol: what a layer owns, and what it may know of the pass it is in.

Activations stand below it: layers without parameters that any other layer may also carry inside.
Each is `apply(z) -> y`, in place, beside `gradient(dy, y) -> dz`: every derivative here can be
told from the output y alone, so nothing else is kept.
"""

from __future__ import annotations

from collections.abc import MutableMapping
from typing import Any

import numpy as np

from glassbox.engine.context import Array, BuildContext, Context
from glassbox.engine.copies import Copyable
from glassbox.errors import require_positive, require_share
from glassbox.kernels import choose
from glassbox.kernels.shapes import Shape

Gradients = dict[str, Array]


class Layer(Copyable):
    """One step of the network.

    `build(input_shape, context)` creates the parameters and returns the output shape.
    `forward(x, context) -> (y, cache)` and `backward(dy, cache) -> (dx, gradients)` keep nothing on
    the layer, so any number of threads may be inside the same one.  Arrays are batch-last:
    (channels, height, width, samples) or (features, samples).  `gradients` has the names of
    `parameters`.
    """

    stem = "layer"  # a layer without a name becomes stem1, stem2, ...

    def __init__(
        self, *, name: str | None = None, optimizer: Any = None, l2: float | None = None
    ) -> None:
        if name is not None and (not isinstance(name, str) or "/" in name):
            raise ValueError(
                f"{type(self).__name__}: name: expected a word without a slash, got {name!r}"
            )
        self.name = name or ""
        self.optimizer = optimizer
        require_positive("l2", 0.0 if l2 is None else l2, zero=True)
        self.l2 = l2  # None: the network's
        self.number = 0  # the place in the network; keys this layer's random numbers
        self.needs_input_gradient = True  # the network's first layer can do without
        self.parameters: MutableMapping[str, Array] = {}
        # state that training fills but no gradient moves
        self.buffers: MutableMapping[str, Array] = {}
        self.input_shape: Shape = ()
        self.output_shape: Shape = ()
        self.kernels: Any = choose("numpy")  # until it is built

    def build(self, input_shape: Shape, context: BuildContext) -> Shape:
        """Create parameters for `input_shape` and return the output shape."""
        self.input_shape = tuple(input_shape)
        self.kernels = context.kernels
        self.output_shape = self._build(self.input_shape, context)
        return self.output_shape

    def _build(self, input_shape: Shape, context: BuildContext) -> Shape:
        return input_shape

    def forward(self, x: Array, context: Context) -> tuple[Array, Any]:
        """The layer's output and whatever its backward needs."""
        raise TypeError(f"{type(self).__name__} must define forward(x, context) -> (y, cache)")

    def backward(self, dy: Array, cache: Any) -> tuple[Array | None, Gradients]:
        """The gradient for the input (None where nobody needs it) and for each parameter."""
        raise TypeError(f"{type(self).__name__} must define backward(dy, cache)")

    def multiply_adds(self) -> int:
        """Multiply-adds of one sample going forward."""
        return 0

    def describe(self) -> str:
        """The layer's settings in a few words, for the summary."""
        return ""

    def leaves(self) -> list[Layer]:
        """The layers that own arrays: itself, or those inside it."""
        return [self]

    def settings_of(self, name: str) -> tuple[Any, float | None]:
        """The optimizer and L2 factor of one of its parameters; None: the network's."""
        return self.optimizer, self.l2

    @property
    def label(self) -> str:
        """How messages name this layer: the class and the given name."""
        return f"{type(self).__name__} {self.name!r}" if self.name else type(self).__name__

    def expects_volume(self, input_shape: Shape) -> None:
        """Raise unless the input is (channels, height, width)."""
        if len(input_shape) != 3:
            raise ValueError(
                f"{self.label}: expected input (channels, height, width), got {input_shape}; "
                "put it before the first Dense or Flatten"
            )

    def __repr__(self) -> str:
        shapes = f"{self.input_shape} -> {self.output_shape}"
        state = getattr(self, "word", "not built yet")  # an activation in a layer never is
        return f"<{self.label}: {shapes if self.input_shape else state}>"


class Activation(Layer):
    """A function of each number alone (softmax: of each sample's row).

    As a layer of its own: input and output any shape; keeps its output for backward.
    """

    stem = "activation"
    gain = 1.0  # what an initializer multiplies by, so that the variance survives (He et al. 2015)
    scheme = "xavier"  # the initializer that suits it
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

    def forward(self, x: Array, context: Context) -> tuple[Array, Any]:
        """y = f(x); keeps y."""
        y = self.apply(self.kernels.copy(x))
        return y, y

    def backward(self, dy: Array, cache: Any) -> tuple[Array | None, Gradients]:
        """dx = dy f'(x)."""
        return self.gradient(dy, cache), {}

    def describe(self) -> str:
        """Its name."""
        return self.word


class LeakyReLU(Activation):
    """y = z where z > 0, else slope z (Maas et al. 2013).

    At z = 0 the derivative is `slope`, as in PyTorch.  Raises ValueError for a slope outside 0..1.

    >>> LeakyReLU(0.1).apply(np.array([-1.0, 2.0])).tolist()
    [-0.1, 2.0]
    """

    stem = "relu"
    word = "leaky_relu"
    scheme = "he"

    def __init__(self, slope: float = 0.01, *, name: str | None = None) -> None:
        super().__init__(name=name)
        require_share("LeakyReLU: slope", slope)
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


class Sigmoid(Activation):
    """y = 1 / (1 + exp(-z)); derivative y (1 - y).

    >>> Sigmoid().apply(np.array([0.0, 1000.0, -1000.0])).tolist()
    [0.5, 1.0, 0.0]
    """

    stem = word = "sigmoid"

    def apply(self, z: Array) -> Array:
        """1 / (1 + exp(-z))."""
        return self.kernels.sigmoid_(z)

    def gradient(self, dy: Array, y: Array) -> Array:
        """dy y (1 - y)."""
        return self.kernels.sigmoid_gradient(dy, y)
