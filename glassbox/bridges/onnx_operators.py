"""ONNX import, pass 3: a table of operators, and a function that makes a layer of each.

To add an operator, write its function and enter it into `OPERATORS`; attributes that must have one
certain value are listed in `FIXED`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx

import MLP
from Filters import AvgPool2D, Conv2D, GlobalAvgPool2D, MaxPool2D, Residual
from glassbox.bridges.onnx_decode import Graph, Node
from glassbox.bridges.onnx_normalize import MOST_ARITHMETIC, SAMPLES, Context
from glassbox.engine.layer import Activation, Array
from glassbox.errors import short
from glassbox.kernels.shapes import Shape, Window, pair, resolve_window

OPSETS = range(6, onnx.defs.onnx_opset_version() + 1)
MOST_NUMBERS = 2**24  # of one image in one layer: 4,096 x 4,096
COPIES = 6  # of a weight in a network, with those of an optimizer
SHOWN = 20  # of the problems of a file


@dataclass(frozen=True)
class View:
    """The shape of a value, without the samples, in the file and in the network.

    The two differ in three ways.  A mean over the image keeps two axes of length 1 in the file.
    Rows may stand for images.  Behind a Transpose channels come last (`channels_last`); where that
    is flattened, `order` is the shape it had, until the next dense weights are reordered.
    """

    file: Shape
    network: Shape
    channels_last: bool = False
    order: Shape | None = None

    @classmethod
    def plain(cls, *shape: int) -> View:
        """Return a view that is the same in both."""
        return cls(shape, shape)

    def agreed(self, axes: int | None = None) -> Shape:
        """Return the shape; ValueError unless it is the same in both and has so many axes."""
        if self != View.plain(*self.network) or axes not in (None, len(self.file)):
            last = ", channels last" if self.channels_last or self.order else ""
            raise ValueError(f"it gets {self.file}{last}; expected (channels, height, width)")
        return self.network


@dataclass(frozen=True)
class Made:
    """What becomes of an operator."""

    layer: Any = None  # None where the network needs none
    arrays: dict[str, Array | None] = field(default_factory=dict)  # by their names in PyTorch
    view: View | None = None  # of the output; None where it is that of the input


@dataclass(frozen=True)
class Op:
    """An operator where it stands: its node and what comes to it."""

    node: Node
    view: View
    before: Any  # the layer before it, None in front
    first: bool  # whether nothing has been made of the images yet
    context: Context

    def has(self, place: int) -> bool:
        """Return whether an optional input is there."""
        return len(self.node.inputs) > place and self.node.inputs[place] != ""

    def weights(self, place: int, *axes: int | str) -> Array:
        """Return an input with weights: finite numbers.  `axes`: its lengths, words for any."""
        name = self.node.inputs[place]
        array = self.context.array(name)
        if array.dtype.kind != "f":
            raise ValueError(f"{short(name)} holds {array.dtype} numbers; expected FLOAT or DOUBLE")
        expected = [n if isinstance(n, int) else m for n, m in zip(axes, array.shape, strict=False)]
        if axes and (array.ndim != len(axes) or list(array.shape) != expected):
            raise ValueError(f"{short(name)} has the shape {array.shape}; expected {axes}")
        self.context.budget.charge(COPIES * array.nbytes, f"the weights {short(name)}")
        if not np.isfinite(array).all():
            raise ValueError(
                f"{short(name)} holds NaN or infinity; export a checkpoint with finite weights"
            )
        return array

    def bias(self, place: int, shape: Shape, axis: int = 1) -> Array:
        """Return one number for each unit along an axis of (samples, *shape)."""
        array, units = self.weights(place), (1, *shape)[axis]
        sizes = (1,) * (len(shape) + 1 - array.ndim) + array.shape
        if len(sizes) > len(shape) + 1 or array.size != sizes[axis] or array.size not in (1, units):
            raise ValueError(f"its bias has the shape {array.shape}; expected ({units},)")
        return np.broadcast_to(array.reshape(-1), units)

    def integers(self, attribute: str, place: int) -> list[int]:
        """Return axes or a shape, which are an attribute in old files and an input in new ones."""
        if not self.has(place):
            return list(self.node.get(attribute, ()))
        array = self.context.array(self.node.inputs[place])
        if array.dtype.kind != "i" or array.ndim != 1 or array.size > MOST_ARITHMETIC:
            raise ValueError(f"{attribute} should be a list of at most {MOST_ARITHMETIC} integers")
        return array.tolist()


def check_size(shape: Shape) -> None:
    """Raise ValueError where an image would become too large."""
    if math.prod(shape) > MOST_NUMBERS:
        raise ValueError(f"an image becomes {short(shape)}, more than {MOST_NUMBERS:,} numbers")


def conv(op: Op) -> Made:
    """Make a `Conv2D`."""
    channels, _, _ = op.view.agreed(3)
    weights = op.weights(1, "filters", channels, "height", "width")
    filters, size = weights.shape[0], weights.shape[2:]
    window, border = slide(op, op.node.get("kernel_shape", size))
    if window.kernel != size:
        raise ValueError(f"kernel_shape={window.kernel}, but its weights are {size}")
    layer = Conv2D(filters, size, window.stride, border, window.dilation, None, op.has(2))
    arrays = {"weight": weights, "bias": op.weights(2, filters) if op.has(2) else None}
    return Made(layer, arrays, View.plain(filters, *window.output))


def pool(op: Op) -> Made:
    """Make a `MaxPool2D`, or an `AvgPool2D`, which keeps the pixel count of each window."""
    window, border = slide(op, op.node.get("kernel_shape", ()))
    ceil, counts = bool(op.node.get("ceil_mode", 0)), bool(op.node.get("count_include_pad", 0))
    view = View.plain(op.view.network[0], *window.output)
    if op.node.operator == "MaxPool":
        return Made(
            MaxPool2D(window.kernel, window.stride, border, ceil, dilation=window.dilation),
            view=view,
        )
    op.context.budget.charge(8 * math.prod(window.output), "the pixel counts of this pool")
    return Made(AvgPool2D(window.kernel, window.stride, border, ceil, counts), view=view)


def slide(op: Op, size: Shape) -> tuple[Window, Any]:
    """Return the window of a convolution or a pool over its input, and the layer's padding."""
    channels, height, width = shape = op.view.agreed(3)
    kernel = pair("kernel_shape", size)
    stride = pair("strides", op.node.get("strides", (1, 1)))
    dilation = pair("dilations", op.node.get("dilations", (1, 1)))
    pads, word = op.node.get("pads", (0, 0, 0, 0)), op.node.get("auto_pad", b"NOTSET")
    top, bottom, left, right = resolve_window("", shape, kernel, stride, "same", dilation).padding
    borders = {  # in ONNX's order; "same" puts an odd pixel behind
        b"NOTSET": pads,
        b"VALID": (0, 0, 0, 0),
        b"SAME_UPPER": (top, left, bottom, right),
        b"SAME_LOWER": (bottom, right, top, left),
    }
    if len(pads) != 4 or word not in borders:
        raise ValueError(f"unknown border: pads={short(pads)}, auto_pad={short(word)}")
    top, left, bottom, right = borders[word]
    even = (top, left) == (bottom, right)
    border = (top, left) if even else ((top, bottom), (left, right))
    ceil = bool(op.node.get("ceil_mode", 0))
    window = resolve_window(op.node.operator, shape, kernel, stride, border, dilation, ceil)
    top, bottom, left, right = window.padding
    check_size((channels, height + top + bottom, width + left + right))
    return window, border


def global_pool(op: Op) -> Made:
    """Make a `GlobalAvgPool2D`; the file keeps two axes of length 1."""
    channels, _, _ = op.view.agreed(3)
    return Made(GlobalAvgPool2D(), view=View((channels, 1, 1), (channels,)))


def gemm(op: Op) -> Made:
    """Make a `Dense` layer: alpha A B + beta C."""
    turned = op.node.get("transB", 0)
    weights = op.weights(1, "units", "features") if turned else op.weights(1, "features", "units").T
    bias = op.bias(2, weights.shape[:1]) if op.has(2) else None
    with np.errstate(all="ignore"):  # what overflows is refused when the network is filled
        alpha, beta = op.node.get("alpha", 1.0), op.node.get("beta", 1.0)
        return dense(op, weights * alpha, None if bias is None else bias * beta)


def dense(op: Op, weights: Array, bias: Array | None = None) -> Made:
    """Make a `Dense` layer, with weights (units, features) in the feature order used here."""
    units, features = weights.shape
    if op.view.file != (features,):
        raise ValueError(f"its weights are for rows of {features}, it gets {op.view.file}; flatten")
    if op.view.order is not None:  # the rows were made with channels last
        channels, *size = op.view.order
        weights = np.moveaxis(weights.reshape(units, *size, channels), -1, 1)
    arrays = {"weight": weights.reshape(units, features), "bias": bias}
    return Made(MLP.Dense(units, None, bias is not None), arrays, View.plain(units))


def add(op: Op) -> Made:
    """Give the layer before it a bias; the end of a shortcut does not come here."""
    layer = op.before
    bare = isinstance(layer, Conv2D | MLP.Dense) and type(layer.activation) is MLP.Identity
    if not bare or layer.bias:
        raise ValueError("it can only be the bias of a Conv, Gemm or MatMul straight before it")
    layer.bias = True
    return Made(arrays={"bias": op.bias(1, op.view.file, -1 if op.view.channels_last else 1)})


def decimal(number: float) -> float:
    """Return the shortest decimal that is this float32: 0.1, not 0.10000000149."""
    return float(str(np.float32(number)))


def batch_norm(op: Op) -> Made:
    """Make a `BatchNorm`; momentum is the old average's share there, the new batch's here."""
    channels = op.view.agreed()[0]
    momentum = decimal(1 - decimal(op.node.get("momentum", 0.9)))
    layer = MLP.BatchNorm(momentum, decimal(op.node.get("epsilon", 1e-5)))
    names = ("weight", "bias", "running_mean", "running_var")
    return Made(layer, {name: op.weights(k, channels) for k, name in enumerate(names, 1)})


def dropout(op: Op) -> Made:
    """Make a `Dropout`, which does nothing at inference."""
    given = {k: op.context.array(op.node.inputs[k]) for k in (1, 2) if op.has(k)}
    if any(array.size != 1 for array in given.values()):
        raise ValueError("its ratio and training_mode should be one number each")
    if 2 in given and given[2].item():
        raise ValueError("training_mode is on; export the model for inference")
    return Made(MLP.Dropout(decimal(given[1].item() if 1 in given else op.node.get("ratio", 0.5))))


def activated(op: Op, activation: Activation) -> Made:
    """Give the layer before it an activation; if it has one, make a layer."""
    layer = op.before
    if isinstance(layer, Conv2D | MLP.Dense | Residual) and type(layer.activation) is MLP.Identity:
        layer.activation = activation
        return Made()
    return Made(activation)


def softmax(op: Op) -> Made:
    """Make a `Softmax` over the channels, or over a row."""
    file, last, newer = op.view.file, op.view.channels_last, op.context.graph.opset >= 13
    axis = op.node.get("axis", -1 if newer else 1)
    axis += len(file) + 1 if axis < 0 else 0
    channels = len(file) if last else 1
    rows = last or file == op.view.network or len(op.view.network) == 1
    alone = newer or file[0] == math.prod(file)  # it went over all the axes from `axis` on
    if axis != channels or not rows or not alone:
        raise ValueError(f"it goes over axis {axis} of (samples, {str(file)[1:]}, not the channels")
    return activated(op, MLP.Softmax())


def flatten(op: Op) -> Made:
    """Make a `Flatten`, unless the network has rows already."""
    axis = op.node.get("axis", 1)
    if axis not in (1, -len(op.view.file)):
        raise ValueError(f"attribute axis={axis} mixes samples and pixels; flatten from axis 1")
    return reshaped(op, (math.prod(op.view.file),))


def squeeze(op: Op) -> Made:
    """Remove the two axes of length 1 that a global pool leaves in the file."""
    view, axes = op.view, op.integers("axes", 1)
    places = {axis + (len(view.file) + 1 if axis < 0 else 0) for axis in axes}
    kept = tuple(n for k, n in enumerate(view.file, 1) if k not in places)
    if kept != view.network or 0 in places:
        raise ValueError(f"it takes axes {short(axes)} off {view.file}; only behind a global pool")
    return reshaped(op, kept)


def reshape(op: Op) -> Made:
    """Make a `Flatten`; at the input, note in what shape images come."""
    shape, wanted = op.view.file, op.integers("shape", 1)
    if not wanted or (op.node.get("allowzero", 0) and 0 in wanted):
        raise ValueError(f"it makes {short(wanted)}; expected a shape without axes of length 0")
    axes = [SAMPLES, *shape]
    samples, *rest = [axes[k] if n == 0 and k < len(axes) else n for k, n in enumerate(wanted)]
    if samples not in (-1, SAMPLES) and samples != op.context.graph.dims[0]:
        raise ValueError(f"it mixes the samples: {short(wanted)} of {shape} each")
    if samples != -1 and rest.count(-1) == 1:
        rest[rest.index(-1)] = math.prod(shape) // max(1, -math.prod(rest))
    if min(rest, default=0) < 1 or math.prod(rest) != math.prod(shape):
        raise ValueError(f"it cannot make {short(wanted)} of {shape} for each sample")
    return reshaped(op, tuple(rest))


def reshaped(op: Op, target: Shape) -> Made:
    """Make what turns a value into another shape of as many numbers."""
    view = op.view
    if target == view.file:
        return Made()
    if target == view.network and not view.channels_last:  # rows that were images, or a mean
        return Made(view=View.plain(*target))
    if len(target) == 1:
        order = view.network if view.channels_last else None
        return Made(MLP.Flatten(), view=View(target, target, order=order))
    long = [[n for n in shape if n > 1] for shape in (view.file, target)]
    if op.first and view == View.plain(*view.file) and (len(view.file) == 1 or long[0] == long[1]):
        return Made(view=View.plain(*target))
    raise ValueError(f"it makes {target} of {view.file}; behind the first layer, make only rows")


def transpose(op: Op) -> Made:
    """Note that channels are last, or no longer; at the input, that images come so."""
    view, straight = op.view, tuple(range(len(op.view.file) + 1))
    perm = op.node.get("perm", straight[::-1])
    same = view.file == view.network and len(straight) == 4
    if perm == straight:
        return Made()
    if perm == (0, 2, 3, 1) and same and not view.channels_last:
        return Made(view=View((*view.file[1:], view.file[0]), view.network, channels_last=True))
    if perm == (0, 3, 1, 2) and view.channels_last:
        return Made(view=View.plain(*view.network))
    if perm == (0, 3, 1, 2) and same and op.first:
        return Made(view=View.plain(view.file[2], *view.file[:2]))
    raise ValueError(f"perm={short(perm)}; expected (0, 2, 3, 1), or (0, 3, 1, 2) at the input")


OPERATORS: dict[str, Callable[[Op], Made]] = {
    "Add": add,
    "AveragePool": pool,
    "BatchNormalization": batch_norm,
    "Conv": conv,
    "Dropout": dropout,
    "Flatten": flatten,
    "Gemm": gemm,
    "GlobalAveragePool": global_pool,
    "Identity": lambda op: Made(),
    "LeakyRelu": lambda op: activated(op, MLP.LeakyReLU(decimal(op.node.get("alpha", 0.01)))),
    "MatMul": lambda op: dense(op, op.weights(1, "features", "units").T),
    "MaxPool": pool,
    "Relu": lambda op: activated(op, MLP.ReLU()),
    "Reshape": reshape,
    "Sigmoid": lambda op: activated(op, MLP.Sigmoid()),
    "Softmax": softmax,
    "Squeeze": squeeze,
    "Tanh": lambda op: activated(op, MLP.Tanh()),
    "Transpose": transpose,
}
# Attributes that must have one value, and what any other asks for.
BATCH = "statistics of the batch; export the model for inference"
FIXED: tuple[tuple[str, str, int, str], ...] = (
    ("AveragePool", "dilations", 1, "a dilated mean; pool without dilation"),
    ("BatchNormalization", "is_test", 1, BATCH),
    ("BatchNormalization", "spatial", 1, "statistics for each pixel; use those of each channel"),
    ("BatchNormalization", "training_mode", 0, BATCH),
    ("Conv", "group", 1, "convolution in groups; train with one group"),
    ("Dropout", "is_test", 1, "dropout at inference; export the model for inference"),
    ("Gemm", "transA", 0, "images as columns; export it with transA=0"),
)


def check_supported(graph: Graph) -> None:
    """Raise ValueError with all that can be said before the first step, in one message."""
    found = []
    if graph.opset not in OPSETS:
        found.append(f"opset {graph.opset}; expected {OPSETS[0]} to {OPSETS[-1]}")
    if len(graph.outputs) != 1:
        found.append(f"{len(graph.outputs)} outputs, {short(graph.outputs)}; expected one")
    used = {name for node in graph.nodes for name in node.inputs if name}.union(graph.outputs)
    for node in graph.nodes:
        found += [f"{node.label}: {problem}" for problem in _problems(node, graph.opset, used)]
    lines = [f"{len(found)} problem(s)", *found[:SHOWN]]
    lines += [f"and {len(found) - SHOWN} more"] if len(found) > SHOWN else []
    if any(node.operator not in OPERATORS for node in graph.nodes):
        lines.append(f"supported operators: {', '.join(OPERATORS)}")
    if found:
        raise ValueError("\n- ".join(lines))


def _problems(node: Node, opset: int, used: set[str]) -> Iterator[str]:
    """Yield what is wrong with a node, whatever its input."""
    if node.operator not in OPERATORS:
        yield "this operator is not supported; export the model without it"
    for operator, name, value, meaning in FIXED:
        given = node.attributes.get(name, 0 if name == "is_test" and opset < 7 else value)
        values = set(given if isinstance(given, tuple) else [given])
        if operator == node.operator and values - {value}:
            yield f"attribute {name}={short(given)} asks for {meaning}"
    for name in used.intersection(node.outputs[1:]):
        yield f"its further output {short(name)} is used; only the first one is supported"
