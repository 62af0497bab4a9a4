"""The layer protocol: what a layer owns, and what it may know of the pass it is in.

Activations stand below it: layers without parameters that any other layer may also carry inside.
Each is `apply(z) -> y`, in place, beside `gradient(dy, y) -> dz`: every derivative here can be
told from the output y alone, so nothing else is kept.
"""

from __future__ import annotations

import copy
import math
from collections.abc import MutableMapping
from dataclasses import dataclass
from importlib import import_module
from types import ModuleType
from typing import Any

import numpy as np

from glassbox.engine.budget import AllocationBudget
from glassbox.engine.edits import Editable
from glassbox.errors import unknown_name
from glassbox.kernels import choose
from glassbox.kernels.shapes import Shape

Array = np.ndarray
Gradients = dict[str, Array]


@dataclass(slots=True)
class Context:
    """What a layer may know of the pass it is in: training or not, and the key of its randomness.

    `batch` is the number of samples of the whole mini-batch (not of this shard).
    """

    training: bool = False
    seed: int = 0
    step: int = 0
    shard: int = 0
    batch: int = 0

    def generator(self, stream: int) -> np.random.Generator:
        """Random numbers that depend on (seed, step, shard, stream) alone, never on who draws them.

        Philox is a counter-based generator (Salmon et al. 2011), so starting one at a given place
        costs nothing and no state is shared between threads.
        """
        key = (self.seed % 2**64, 0)
        counter = (0, stream, self.shard, self.step)
        bits = np.random.Philox(key=np.array(key, np.uint64), counter=np.array(counter, np.uint64))
        return np.random.Generator(bits)

    def draw(self, stream: int, shape: Shape) -> Array:
        """An array of 16-bit whole numbers, each equally likely, from `generator(stream)`."""
        count = math.prod(shape)
        words = self.generator(stream).integers(0, 2**64, -(-count // 4), np.uint64)
        return words.view(np.uint16)[:count].reshape(shape)


@dataclass(frozen=True, slots=True)
class BuildContext:
    """What a layer needs to come to life: random numbers, the dtype, and the kernels to call.

    Where the weights come from a file there are no random numbers, and memory is claimed first.
    """

    rng: np.random.Generator | None
    dtype: np.dtype
    kernels: ModuleType
    budget: AllocationBudget | None = None

    def reserve(self, who: str, shape: Shape) -> None:
        """Raise ValueError where a file asks for more memory than it can need."""
        if self.budget is not None:
            self.budget.reserve(who, shape)


class Layer(Editable):
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

    def clone_unbuilt(self) -> Layer:
        """A copy to build anew, which shares nothing that a build or a pass changes."""
        twin = copy.copy(self)
        carried = getattr(self, "activation", None)
        if carried is not None:
            twin.__dict__["activation"] = copy.copy(carried)
        return twin

    def __getstate__(self) -> dict[str, Any]:
        """What a copy takes over: the kernels' module by its name, for modules cannot be copied."""
        state = vars(self).copy()
        if isinstance(self.kernels, ModuleType):
            state["kernels"] = self.kernels.__name__
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        if isinstance(self.kernels, str):
            self.kernels = import_module(self.kernels)

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
        return f"<{self.label}: {self.input_shape} -> {self.output_shape}>"


# --- activations -----------------------------------------------------------------------------


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

    def _build(self, input_shape: Shape, context: BuildContext) -> Shape:
        self.use(context.kernels)
        return input_shape

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


ACTIVATIONS: dict[str, type[Activation]] = {
    kind.word: kind for kind in (LeakyReLU, ReLU, Sigmoid, Identity)
}


def activation_named(given: str | Activation | None) -> Activation:
    """The activation of a name ("leaky_relu", "sigmoid", ...), or the one given; None: identity.

    It computes with NumPy until the layer that carries it is built with other kernels.

    Raises ValueError for an unknown name and TypeError for anything else.

    >>> type(activation_named("relu")).__name__
    'ReLU'
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
