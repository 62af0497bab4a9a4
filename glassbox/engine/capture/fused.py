"""Units: what the fast form computes in one go, a layer or several fused ones.

A unit means what its layers mean one after the other; `segment` and `captured` compare the two.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, cast

from glassbox.engine.blocks import Residual, with_inner
from glassbox.engine.capture import shipped
from glassbox.engine.layer import Array, Context, Gradients, Layer
from glassbox.engine.synced import backward_program, forward_program
from glassbox.kernels.recorder import Program

CONV, DENSE, MAX_POOL = "Filters.Conv2D", "MLP.Dense", "Filters.MaxPool2D"
NORM, BLOCK = "glassbox.engine.synced.BatchNorm", "glassbox.engine.blocks.Residual"
IDENTITY = "glassbox.engine.more_layers.Identity"
LEAKY = {"glassbox.engine.layer.LeakyReLU", "glassbox.engine.more_layers.ReLU"}
MORE = (
    "Dropout", "Flatten", "GlobalAvgPool2D", "Identity", "LogSoftmax", "ReLU", "ReLU6", "Softmax",
    "Tanh",
)  # fmt: skip
# Layers whose passes are kernel calls and nothing else, as far as numbers go.
RECORDABLE = {
    CONV, DENSE, MAX_POOL, "Filters.AvgPool2D", "glassbox.engine.layer.LeakyReLU",
    "glassbox.engine.layer.Sigmoid", NORM, BLOCK,
    *(f"glassbox.engine.more_layers.{name}" for name in MORE),
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
    """Layers as the fast form computes them: here as they do themselves, one after the other.

    Its programs return what `synced.forward_program` and `synced.backward_program` of its layers
    do: the memory of each of them, and the gradients of each.
    """

    def __init__(self, *layers: Layer) -> None:
        self.layers = layers

    def forward_program(self, x: Array, context: Context) -> Program:
        """(y, the memories)."""
        return forward_program(self.layers, x, context)

    def backward_program(self, dy: Array, caches: Sequence[Any]) -> Program:
        """(dx, the gradients)."""
        return backward_program(self.layers, dy, caches)


class LeakyUnit(Unit):
    """A convolution or dense layer whose kernel applies the leaky ReLU while it writes."""

    def forward_program(self, x: Array, context: Context) -> Program:
        """y = leaky(w * x + bias)."""
        yield from ()  # it never pauses
        layer: Any = self.layers[0]
        bias, slope = layer.parameters.get("bias"), layer.activation.slope
        y = _product(layer, x, layer.parameters["weight"], bias, slope)
        return y, [(x, y)]


class NormUnit(Unit):
    """A convolution or dense layer, the `BatchNorm` behind it and, if there is one, a leaky ReLU.

    In training, normalizing applies the leaky ReLU, and its gradient is told by x again.

    Where no gradient follows, the running averages make the normalization a factor and a summand
    for each filter, which go into its weights and bias: one product computes all.  They are
    multiplied anew in every replay.
    """

    def __init__(self, *layers: Any) -> None:
        super().__init__(*layers)
        self.slope: float = layers[2].slope if len(layers) > 2 else 1.0

    def forward_program(
        self, x: Array, context: Context, straight: Array | None = None, slope: float | None = None
    ) -> Program:
        """y = leaky(normalized(w * x + bias) + straight); slope: another one than the layers'."""
        layer: Any = self.layers[0]
        norm: Any = self.layers[1]
        kernels, slope = norm.kernels, self.slope if slope is None else slope
        if not context.training:
            weights, bias = kernels.normalized_bank(
                layer.parameters["weight"], layer.parameters.get("bias"),
                norm.buffers["running_mean"], norm.buffers["running_var"], norm.epsilon,
                *norm.parameters.values(),
            )  # fmt: skip
            y = _product(layer, x, weights, bias, slope if straight is None else 1.0)
            y = y if straight is None else kernels.add(y, straight, slope)
            return y, [None] * len(self.layers)
        z, caches = yield from forward_program([layer], x, context)
        rows = z.reshape(len(z), -1)
        mean, variance, count = yield from norm.statistics(rows, z.shape, context)
        y, inverse = kernels.normalize(
            rows, mean, variance, norm.epsilon, *norm.parameters.values(), slope, straight
        )
        y = y.reshape(z.shape)
        return y, [*caches, (rows, mean, variance, inverse, count), y][: len(self.layers)]

    def backward_program(self, dy: Array, caches: Sequence[Any]) -> Program:
        """As `BatchNorm.backward_program`, where dy is first multiplied by f'."""
        norm: Any = self.layers[1]
        rows, mean, _, inverse, count = caches[1]
        if not count:  # frozen
            return (yield from super().backward_program(dy, caches))
        scale, shift = norm.parameters.values()
        given = dy.reshape(rows.shape), rows, mean, inverse
        sums = norm.kernels.normalize_sums(*given, (scale, shift, self.slope))
        gradients = {"weight": sums[1], "bias": sums[0]}
        total = yield sums
        dz = norm.kernels.normalize_gradient(
            *given, total, count, scale, (scale, shift, self.slope)
        )
        dx, (own,) = yield from backward_program(self.layers[:1], dz.reshape(dy.shape), caches[:1])
        return dx, [own, gradients, {}][: len(self.layers)]


def _product(layer: Any, x: Array, weights: Array, bias: Array | None, slope: float) -> Array:
    """leaky(w * x + bias), by the kernel of a convolution or dense layer."""
    kernels = layer.kernels
    if name_of(layer) == CONV:
        y: Array = kernels.conv2d(x, weights, bias, layer.window, slope)
        return y
    y = kernels.dense(x.reshape(-1, x.shape[-1]), weights, bias, slope)
    return y


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

    def forward_program(self, x: Array, context: Context) -> Program:
        """y = max of f(w * x + bias); keeps x, y and the winners' places."""
        conv: Any = self.layers[0]
        pool: Any = self.layers[1]
        if not (context.training or self._in_kernel):
            weights, bias = conv.parameters["weight"], conv.parameters.get("bias")
            z, _ = conv.kernels.max_pool(
                conv.kernels.conv2d(x, weights, bias, conv.window), pool.window
            )
            return conv.activation.apply(z), [None, None]
        full, _ = yield from self._first.forward_program(x, context)
        y, winner = conv.kernels.max_pool(full, pool.window)
        return y, [(x, y), (winner, full.shape)]

    def backward_program(self, dy: Array, caches: Sequence[Any]) -> Program:
        """The gradient of each window times f' goes to its winner, and from there as in Conv2D."""
        yield from ()
        conv: Any = self.layers[0]
        pool: Any = self.layers[1]
        kernels, ((x, y), (winner, shape)) = conv.kernels, caches
        pooled = conv.activation.gradient(dy, y)
        dz = kernels.max_pool_gradient(pooled, winner, pool.window, shape)
        gradients = {"weight": kernels.conv2d_weight_gradient(x, dz, conv.window)}
        if conv.bias:
            gradients["bias"] = kernels.bias_gradient(pooled)
        if not conv.needs_input_gradient:
            return None, [gradients, {}]
        weights = conv.parameters["weight"]
        dx = kernels.conv2d_input_gradient(dz, weights, conv.window, x.shape)
        return dx, [gradients, {}]


class BlockUnit(Unit):
    """A `Residual` block with its layers as units.

    A leaky ReLU is applied in the pass that adds, and both where the last layer normalizes.
    """

    def __init__(self, block: Layer) -> None:
        super().__init__(block)
        self.units = fuse(cast(Residual, block).layers, {}, in_kernel=True)

    def forward_program(self, x: Array, context: Context) -> Program:
        """As `Residual.forward_program`."""
        block: Any = self.layers[0]
        straight = x if block.shortcut is None else block.shortcut.forward(x, context)[0]
        y, caches = x, []
        for unit in self.units[:-1]:
            y, own = yield from unit.forward_program(y, context)
            caches += own
        last, leaky = self.units[-1], name_of(block.activation) in LEAKY
        if type(last) is NormUnit and len(last.layers) == 2 and leaky:
            y, own = yield from last.forward_program(y, context, straight, block.activation.slope)
        else:
            y, own = yield from last.forward_program(y, context)
            slope = block.activation.slope if leaky else 1.0
            y = block.kernels.add(y, straight, slope)
            y = y if leaky else block.activation.apply(y)
        return y, [(x, y, caches + own)]

    def backward_program(self, dy: Array, caches: Sequence[Any]) -> Program:
        """As `Residual.backward_program`."""
        block: Any = self.layers[0]
        ((x, y, inner),) = caches
        dz = block.activation.gradient(dy, y)
        gradients: list[Gradients] = []
        dx, end = dz, len(inner)
        for unit in reversed(self.units):
            start = end - len(unit.layers)
            dx, own = yield from unit.backward_program(dx, inner[start:end])
            gradients, end = [*own, *gradients], start
        dx, own = block.joined(dx, dz, x, gradients)
        return dx, [own]


def fuse(layers: Sequence[Layer], as_written: Mapping[Layer, str], in_kernel: bool) -> list[Unit]:
    """The built layers as units, as few as the rules allow.

    Parameters
    ----------
    as_written : the layers that no rule may touch.
    in_kernel : whether the backend's kernels take the slope of a leaky ReLU.
    """
    units: list[Unit] = []
    for layer in layers:
        last = units[-1] if units else None
        before: Any = last.layers[-1] if last else None
        if layer in as_written:
            units.append(Unit(layer))
        elif name_of(layer) == MAX_POOL and before not in as_written and _leaky(before, (CONV,)):
            units[-1] = ConvPool(before, layer, in_kernel)
        elif not in_kernel:
            units.append(Unit(layer))
        elif name_of(layer) == NORM and before not in as_written and _plain(before):
            units[-1] = NormUnit(before, layer)
        elif name_of(layer) in LEAKY and type(last) is NormUnit and before is last.layers[1]:
            units[-1] = NormUnit(*last.layers, layer)
        elif _leaky(layer, (CONV, DENSE)):
            units.append(LeakyUnit(layer))
        elif name_of(layer) == BLOCK:
            units.append(BlockUnit(layer))
        else:
            units.append(Unit(layer))
    return units


def _leaky(layer: Any, kinds: tuple[str, ...]) -> bool:
    return name_of(layer) in kinds and name_of(layer.activation) in LEAKY


def _plain(layer: Any) -> bool:
    """Whether it is a convolution or dense layer without an activation."""
    return name_of(layer) in (CONV, DENSE) and name_of(layer.activation) == IDENTITY
