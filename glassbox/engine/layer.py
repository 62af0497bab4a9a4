"""The layer protocol: what a layer owns, and what it may know of the pass it is in."""

from __future__ import annotations

import copy
import math
from collections.abc import Generator, MutableMapping
from dataclasses import dataclass
from importlib import import_module
from types import ModuleType
from typing import Any

import numpy as np

from glassbox.kernels import choose
from glassbox.kernels.shapes import Shape

Array = np.ndarray
Gradients = dict[str, Array]
# A program that may pause to have one array summed over all shards of the batch.
Coupled = Generator[Array, Array, Any]


@dataclass(slots=True)
class Pass:
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


class Room:
    """How many numbers a network from a file may ask memory for: those in the file, and some more.

    A file of 1 kB that says "a layer of a thousand million units" is refused, not believed.

    >>> Room(1000).claim("Dense", (10, 20))
    """

    ALLOWANCE = 16_000_000  # numbers: 64 MB of float32

    def __init__(self, numbers: int) -> None:
        self.left = numbers + self.ALLOWANCE

    def claim(self, who: str, shape: Shape) -> None:
        """Raise ValueError where no room for an array of this shape is left."""
        self.left -= math.prod(shape)
        if self.left < 0:
            raise ValueError(
                f"{who} asks for an array of {shape}, far more than the file holds; it is damaged "
                "or was not made by this program"
            )


@dataclass(frozen=True, slots=True)
class Setup:
    """What a layer needs to come to life: random numbers, the dtype, and the kernels to call.

    Where the weights come from a file there are no random numbers, and memory is claimed first.
    """

    rng: np.random.Generator | None
    dtype: np.dtype
    kernels: ModuleType
    room: Room | None = None

    def claim(self, who: str, shape: Shape) -> None:
        """Raise ValueError where a file asks for more memory than it can need."""
        if self.room is not None:
            self.room.claim(who, shape)


@dataclass(frozen=True, slots=True)
class Reach:
    """The receptive field: pixels seen by one output, and pixels between two outputs.

    `whole`: one output sees everything, as behind a dense layer.
    """

    size: tuple[int, int] = (1, 1)
    jump: tuple[int, int] = (1, 1)
    whole: bool = False


class Layer:
    """One step of the network.

    `build(input_shape, setup)` creates the parameters and returns the output shape.
    `forward(x, run) -> (y, memory)` and `backward(dy, memory) -> (dx, gradients)` keep nothing on
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

    def build(self, input_shape: Shape, setup: Setup) -> Shape:
        """Create parameters for `input_shape` and return the output shape."""
        self.input_shape = tuple(input_shape)
        self.kernels = setup.kernels
        self.output_shape = self._build(self.input_shape, setup)
        return self.output_shape

    def _build(self, input_shape: Shape, setup: Setup) -> Shape:
        return input_shape

    def forward(self, x: Array, run: Pass) -> tuple[Array, Any]:
        """The layer's output and whatever its backward needs."""
        raise TypeError(f"{type(self).__name__} must define forward(x, run) -> (y, memory)")

    def backward(self, dy: Array, memory: Any) -> tuple[Array | None, Gradients]:
        """The gradient for the input (None where nobody needs it) and for each parameter."""
        raise TypeError(f"{type(self).__name__} must define backward(dy, memory)")

    def multiply_adds(self) -> int:
        """Multiply-adds of one sample going forward."""
        return 0

    def describe(self) -> str:
        """The layer's settings in a few words, for the summary."""
        return ""

    def reach(self, before: Reach) -> Reach:
        """The receptive field behind this layer, given the one before it."""
        return before

    def leaves(self) -> list[Layer]:
        """The layers that own arrays: itself, or those inside it."""
        return [self]

    def settings_of(self, name: str) -> tuple[Any, float | None]:
        """The optimizer and L2 factor of one of its parameters; None: the network's."""
        return self.optimizer, self.l2

    def fresh(self) -> Layer:
        """A copy to build anew, which shares nothing that a build or a pass changes."""
        twin = copy.copy(self)
        carried = getattr(self, "activation", None)
        if carried is not None:
            twin.__dict__["activation"] = copy.copy(carried)
        return twin

    def after_step(self, memory: Any) -> None:
        """Called once a training step with one shard's memory (running statistics live here)."""

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


class CoupledLayer(Layer):
    """A layer whose samples see each other: its passes are programs that pause for a sum.

    `forward_program` and `backward_program` are generators: they `yield` an array of their own
    shard and are sent back its sum over all shards (the same fixed tree as the gradients).
    """

    def forward_program(self, x: Array, run: Pass) -> Coupled:
        """Like `forward`, pausing at every `yield partial` for the sum over all shards."""
        raise TypeError(f"{type(self).__name__} must define forward_program(x, run)")

    def backward_program(self, dy: Array, memory: Any) -> Coupled:
        """Like `backward`, pausing at every `yield partial` for the sum over all shards."""
        raise TypeError(f"{type(self).__name__} must define backward_program(dy, memory)")

    def forward(self, x: Array, run: Pass) -> tuple[Array, Any]:
        """The pass of a batch that is one shard."""
        return alone(self.forward_program(x, run))

    def backward(self, dy: Array, memory: Any) -> tuple[Array | None, Gradients]:
        """The pass of a batch that is one shard."""
        return alone(self.backward_program(dy, memory))


def give_names(layers: list[Layer]) -> None:
    """Names such as conv1, conv2 for layers without one; ValueError where two are called alike."""
    counts: dict[str, int] = {}
    for layer in layers:
        counts[layer.stem] = counts.get(layer.stem, 0) + 1
        layer.name = layer.name or f"{layer.stem}{counts[layer.stem]}"
    names = [layer.name for layer in layers]
    double = sorted({name for name in names if names.count(name) > 1})
    if double:
        raise ValueError(f"two layers are called {double[0]!r}; give each its own name")


def alone(program: Coupled) -> Any:
    """Run a program as the only shard: every partial sum is already the whole."""
    try:
        partial = next(program)
        while True:
            partial = program.send(partial)
    except StopIteration as end:
        return end.value


def forward_chain(layers: list[Layer], x: Array, run: Pass) -> Coupled:
    """Forward through `layers`; returns (output, the memories in order)."""
    memories = []
    for layer in layers:
        if isinstance(layer, CoupledLayer):
            x, memory = yield from layer.forward_program(x, run)
        else:
            x, memory = layer.forward(x, run)
        memories.append(memory)
    return x, memories


def backward_chain(layers: list[Layer], dy: Array, memories: list[Any]) -> Coupled:
    """Backward through `layers`; returns (gradient of the input, the gradients in layer order)."""
    gradients: list[Gradients] = []
    dx: Array | None = dy
    for layer, memory in zip(reversed(layers), reversed(memories), strict=True):
        own: Gradients = {}
        if dx is None:  # nothing before this layer learns
            pass
        elif isinstance(layer, CoupledLayer):
            dx, own = yield from layer.backward_program(dx, memory)
        else:
            dx, own = layer.backward(dx, memory)
        gradients.append(own)
    return dx, gradients[::-1]
