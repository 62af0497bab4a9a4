"""Units: what the fast form computes in one go, a layer or several fused ones.

A unit means what its layers mean one after the other; `segment` and `captured` compare the two.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from glassbox.engine.blocks import with_inner
from glassbox.engine.capture import shipped
from glassbox.engine.layer import Array, Context, Gradients, Layer

CONV, DENSE, MAX_POOL = "Filters.Conv2D", "MLP.Dense", "Filters.MaxPool2D"
LEAKY = {"glassbox.engine.layer.LeakyReLU", "glassbox.engine.more_layers.ReLU"}
MORE = (
    "Dropout", "Flatten", "GlobalAvgPool2D", "Identity", "LogSoftmax", "ReLU", "ReLU6", "Softmax",
    "Tanh",
)  # fmt: skip
# Layers whose passes are kernel calls and nothing else, as far as numbers go.
RECORDABLE = {
    CONV, DENSE, MAX_POOL, "Filters.AvgPool2D", "glassbox.engine.layer.LeakyReLU",
    "glassbox.engine.layer.Sigmoid", "glassbox.engine.synced.BatchNorm",
    "glassbox.engine.blocks.Residual", *(f"glassbox.engine.more_layers.{name}" for name in MORE),
}  # fmt: skip


def name_of(thing: Any) -> str:
    """The full name of an object's class, such as "Filters.Conv2D"."""
    return f"{type(thing).__module__}.{type(thing).__qualname__}"


def parts_of(layer: Layer) -> list[Layer]:
    """A layer, those inside it, and the activations that they carry."""
    every = with_inner(layer)
    carried = [getattr(each, "activation", None) for each in every]
    return [*every, *(activation for activation in carried if activation is not None)]


def why_as_written(layer: Layer, edited: Callable[[type], str] = shipped.edited) -> str:
    """Why a layer can only run as written; "" where it can be recorded or fused.

    edited : `shipped.edited`, or one that remembers what it has found out about a class.
    """
    for part in parts_of(layer):
        method = shipped.replaced(part)
        reason = f"its {method} was replaced" if method else edited(type(part))
        if reason or name_of(part) not in RECORDABLE:
            return reason or f"{type(part).__name__} is never recorded"
        if part.kernels is not layer.kernels:
            return f"{type(part).__name__} was not built with it"
    return ""


class Unit:
    """One layer as the fast form computes it: as the layer itself does."""

    def __init__(self, *layers: Layer) -> None:
        self.layers = layers

    def forward(self, x: Array, context: Context) -> tuple[Array, Any]:
        """As `Layer.forward`."""
        return self.layers[0].forward(x, context)

    def backward(self, dy: Array, cache: Any) -> tuple[Array | None, Gradients]:
        """As `Layer.backward`; the gradients are those of the first layer."""
        return self.layers[0].backward(dy, cache)


class LeakyUnit(Unit):
    """A convolution or dense layer whose kernel applies the leaky ReLU while it writes."""

    def forward(self, x: Array, context: Context) -> tuple[Array, Any]:
        """y = leaky(w * x + bias)."""
        layer: Any = self.layers[0]
        slope, kernels = layer.activation.slope, layer.kernels
        weights, bias = layer.parameters["weight"], layer.parameters.get("bias")
        if name_of(layer) == CONV:
            y = kernels.conv2d(x, weights, bias, layer.window, slope)
        else:
            y = kernels.dense(x.reshape(-1, x.shape[-1]), weights, bias, slope)
        return y, (x, y)


class ConvPool(Unit):
    """A `Conv2D` with leaky ReLU and the `MaxPool2D` behind it.

    The gradient of a leaky ReLU is 1 or its slope, told by the sign of its output, and a winner's
    output is the window's: so on the way back f' is applied to the pooled gradient, a quarter of
    the numbers, before each goes to its winner.  The bias adds up these alone (the others are 0),
    which may round otherwise; all else is the same to the last bit.

    On the way forward the two change places only where no gradient follows: f rounds, two different
    z may become equal, and another pixel would win.
    """

    def __init__(self, conv: Layer, pool: Layer, in_kernel: bool) -> None:
        super().__init__(conv, pool)
        self._in_kernel = in_kernel
        self._first = (LeakyUnit if in_kernel else Unit)(conv)

    def forward(self, x: Array, context: Context) -> tuple[Array, Any]:
        """y = max of f(w * x + bias); keeps x, y and the winners' places."""
        conv: Any = self.layers[0]
        pool: Any = self.layers[1]
        if not (context.training or self._in_kernel):
            weights, bias = conv.parameters["weight"], conv.parameters.get("bias")
            z, _ = conv.kernels.max_pool(
                conv.kernels.conv2d(x, weights, bias, conv.window), pool.window
            )
            return conv.activation.apply(z), None
        full, _ = self._first.forward(x, context)
        y, winner = conv.kernels.max_pool(full, pool.window)
        return y, (x, y, winner, full.shape)

    def backward(self, dy: Array, cache: Any) -> tuple[Array | None, Gradients]:
        """The gradient of each window times f' goes to its winner, and from there as in Conv2D."""
        conv: Any = self.layers[0]
        pool: Any = self.layers[1]
        kernels, (x, y, winner, shape) = conv.kernels, cache
        pooled = conv.activation.gradient(dy, y)
        dz = kernels.max_pool_gradient(pooled, winner, pool.window, shape)
        gradients = {"weight": kernels.conv2d_weight_gradient(x, dz, conv.window)}
        if conv.bias:
            gradients["bias"] = kernels.bias_gradient(pooled)
        if not conv.needs_input_gradient:
            return None, gradients
        weights = conv.parameters["weight"]
        return kernels.conv2d_input_gradient(dz, weights, conv.window, x.shape), gradients


def fuse(layers: Sequence[Layer], as_written: Mapping[Layer, str], in_kernel: bool) -> list[Unit]:
    """The built layers as units, as few as the rules allow.

    Parameters
    ----------
    as_written : the layers that no rule may touch.
    in_kernel : whether the backend's kernels take the slope of a leaky ReLU.
    """
    units: list[Unit] = []
    for layer in layers:
        before: Any = units[-1].layers[-1] if units else None
        if layer in as_written:
            units.append(Unit(layer))
        elif name_of(layer) == MAX_POOL and before not in as_written and _leaky(before, (CONV,)):
            units[-1] = ConvPool(before, layer, in_kernel)
        elif in_kernel and _leaky(layer, (CONV, DENSE)):
            units.append(LeakyUnit(layer))
        else:
            units.append(Unit(layer))
    return units


def _leaky(layer: Any, kinds: tuple[str, ...]) -> bool:
    return name_of(layer) in kinds and name_of(layer.activation) in LEAKY
