"""Blocks: layers inside a layer, with a shortcut around them."""

from __future__ import annotations

import copy
from collections import Counter
from collections.abc import Iterator, MutableMapping
from typing import Any

from glassbox.engine.layer import Activation, Array, BuildContext, Context, Gradients, Layer
from glassbox.engine.names import activation_named
from glassbox.engine.synced import Program, SyncLayer, backward_program, forward_program
from glassbox.kernels.shapes import Pair, Shape

MOST_LAYERS = 10_000  # in a row; building and saving take time in proportion
NUMBERS_IN_BLOCK = 1000  # keys of random numbers for the layers of one block


class Residual(SyncLayer):
    """Layers with a shortcut around them: they only learn what is to be added to their input.

    y = f(F(x) + S(x)),  F the layers one after the other, S the shortcut

    S is x itself where F keeps its shape; else a projection, a 1 x 1 convolution without bias whose
    stride is what F shrinks the image by.

    Input (channels, height, width), output that of F.
    Parameters: those of its layers, such as "conv1.weight", and "shortcut.weight".
    Keeps what its layers keep, and y.
    Raises ValueError where no stride leads from the input's size to F's, TypeError for anything
    that is not a layer.
    Source: He, Zhang, Ren and Sun 2016, "Deep residual learning for image recognition".

    Parameters
    ----------
    layers : the layers of F, in order.  The last one usually has no activation of its own.
    activation : f, a name or an Activation; leaky ReLU by default, None for none.
    optimizer, l2 : for the block's layers that have none of their own.
    name : how summaries and errors call it.

    Examples
    --------
    >>> from CNN import CNN
    >>> from Filters import Conv2D
    >>> block = Residual(Conv2D(8, stride=2), Conv2D(8, activation=None))
    >>> CNN(block).build((3, 16, 16)).output_shape, sorted(block.parameters)[-1]
    ((8, 8, 8), 'shortcut.weight')
    """

    stem = "residual"
    projection: Any = None  # the class of the shortcut that changes a shape: `Filters.Conv2D`

    def __init__(
        self,
        *layers: Layer,
        activation: str | Activation | None = "leaky_relu",
        optimizer: Any = None,
        l2: float | None = None,
        name: str | None = None,
    ) -> None:
        super().__init__(name=name, optimizer=optimizer, l2=l2)
        for layer in layers:
            if not isinstance(layer, Layer):
                raise TypeError(
                    f"{type(self).__name__}: expected layers such as Conv2D(8), got {layer!r}"
                )
        if not layers:
            raise ValueError(f"{self.label}: expected at least one layer, got none")
        self.layers = list(layers)
        self.activation = activation_named(activation)
        self.shortcut: Layer | None = None

    def _build(self, input_shape: Shape, context: BuildContext) -> Shape:
        self.expects_volume(input_shape)
        self.activation.use(context.kernels)
        give_names(self.layers)
        if any("." in layer.name for layer in self.layers):
            raise ValueError(f"{self.label}: names of layers inside a block may have no dot")
        shape = input_shape
        for number, layer in enumerate(self.layers):
            layer.number = (self.number + 1) * NUMBERS_IN_BLOCK + number
            shape = layer.build(shape, context)
        if shape != input_shape:
            self.shortcut = self.projection(
                shape[0], 1, self._stride(input_shape, shape), activation=None, bias=False,
                name="shortcut",
            )  # fmt: skip
        if self.shortcut is not None and self.shortcut.build(input_shape, context) != shape:
            raise ValueError(
                f"{self.label}: its layers make {shape} of {input_shape}, but a strided shortcut "
                f"makes {self.shortcut.output_shape}; use strides and padding='same' inside"
            )
        self.parameters = Inner(self._named(), "parameters")
        self.buffers = Inner(self._named(), "buffers")
        return shape

    def _named(self) -> dict[str, Layer]:
        """Every layer of the block by its name, the shortcut last."""
        return {layer.name: layer for layer in [*self.layers, self.shortcut] if layer is not None}

    def leaves(self) -> list[Layer]:
        """The layers inside that own arrays, the shortcut last."""
        return [leaf for layer in self._named().values() for leaf in layer.leaves()]

    def settings_of(self, name: str) -> tuple[Any, float | None]:
        """The optimizer and L2 factor of the layer that owns a parameter, else the block's."""
        layer = self._named()[name.split(".")[0]]
        return layer.optimizer or self.optimizer, self.l2 if layer.l2 is None else layer.l2

    def forward_program(self, x: Array, context: Context) -> Program:
        """y = f(F(x) + S(x))."""
        y, caches = yield from forward_program(self.layers, x, context)
        straight = x if self.shortcut is None else self.shortcut.forward(x, context)[0]
        y = self.activation.apply(self.kernels.add(y, straight))
        return y, (x, y, caches)

    def backward_program(self, dy: Array, cache: Any) -> Program:
        """dz = dy f'(z); dx is what F and S hand back, added up."""
        x, y, caches = cache
        dz = self.activation.gradient(dy, y)
        dx, gradients = yield from backward_program(self.layers, dz, caches)
        return self.joined(dx, dz, x, gradients)

    def joined(
        self, dx: Array, dz: Array, x: Array, gradients: list[Gradients]
    ) -> tuple[Array, Gradients]:
        """The way back's last steps: what F handed back with what S does, and all gradients."""
        if self.shortcut is None:
            dx = self.kernels.add(dx, dz)
        else:
            straight, own = self.shortcut.backward(dz, (x, dz))
            dx, gradients = self.kernels.add(dx, straight), [*gradients, own]
        owners = zip(self._named(), gradients, strict=True)
        return dx, {f"{name}.{key}": value for name, own in owners for key, value in own.items()}

    def after_step(self, cache: Any) -> None:
        """Hand each synced layer its memory (running statistics live there)."""
        for layer, own in zip(self.layers, cache[2], strict=True):
            if isinstance(layer, SyncLayer):
                layer.after_step(own)

    def clone_unbuilt(self) -> Layer:
        """A copy with copies of its layers."""
        twin: Any = super().clone_unbuilt()
        twin.layers = [layer.clone_unbuilt() for layer in self.layers]
        return twin

    def __copy__(self) -> Residual:
        twin = object.__new__(type(self))
        vars(twin).update(vars(self), layers=[copy.copy(layer) for layer in self.layers])
        twin.shortcut = copy.copy(self.shortcut)
        twin.parameters, twin.buffers = (
            Inner(twin._named(), kind) for kind in ("parameters", "buffers")
        )
        return twin

    def describe(self) -> str:
        """What is inside, and whether the shortcut is a projection."""
        inside = " + ".join(type(layer).__name__ for layer in self.layers)
        return f"{inside}{', projected' if self.shortcut is not None else ''}"

    def multiply_adds(self) -> int:
        """Those of its layers and of the shortcut."""
        return sum(layer.multiply_adds() for layer in self._named().values())

    def _stride(self, before: Shape, after: Shape) -> Pair:
        """How far a projection moves to make F's output of its input."""
        if len(after) != 3:
            raise ValueError(
                f"{self.label}: its layers give {after}, expected (channels, height, width); "
                "put Dense and Flatten behind the block"
            )
        return -(-before[1] // after[1]), -(-before[2] // after[2])


def with_inner(layer: Layer) -> list[Layer]:
    """A layer and those inside it."""
    inner = [*getattr(layer, "layers", ()), getattr(layer, "shortcut", None)]
    return [layer, *(leaf for each in inner if each is not None for leaf in with_inner(each))]


class Inner(MutableMapping[str, Array]):
    """The arrays of some layers as one mapping, "layer.array": what is set here is set there."""

    def __init__(self, layers: dict[str, Layer], kind: str) -> None:
        self._layers, self._kind = layers, kind

    def _of(self, layer: str) -> MutableMapping[str, Array]:
        arrays: MutableMapping[str, Array] = getattr(self._layers[layer], self._kind)
        return arrays

    def __getitem__(self, name: str) -> Array:
        layer, _, key = name.partition(".")
        return self._of(layer)[key]

    def __setitem__(self, name: str, array: Array) -> None:
        layer, _, key = name.partition(".")
        self._of(layer)[key] = array

    def __delitem__(self, name: str) -> None:
        raise TypeError("the arrays of a layer inside a block cannot be removed")

    def __iter__(self) -> Iterator[str]:
        for layer in self._layers:
            for key in self._of(layer):
                yield f"{layer}.{key}"

    def __len__(self) -> int:
        return sum(len(self._of(layer)) for layer in self._layers)


def check_count(count: int, where: str = "layers") -> None:
    """Raise ValueError for more layers than a network may have."""
    if count > MOST_LAYERS:
        raise ValueError(
            f"{where}: got {count:,} layers, expected at most {MOST_LAYERS:,} in a row"
        )


def give_names(layers: list[Layer]) -> None:
    """Names such as conv1, conv2 for layers without one.

    Raises ValueError where two are called alike, and for more than MOST_LAYERS.
    """
    check_count(len(layers))
    counts: dict[str, int] = {}
    for layer in layers:
        counts[layer.stem] = counts.get(layer.stem, 0) + 1
        layer.name = layer.name or f"{layer.stem}{counts[layer.stem]}"
    names = [layer.name for layer in layers]
    double = sorted(name for name, count in Counter(names).items() if count > 1)
    if double:
        raise ValueError(f"two layers are called {double[0]!r}; give each its own name")
