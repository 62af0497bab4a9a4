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
from glassbox.bridges.onnx_decode import KINDS, Budget, Graph, Node
from glassbox.bridges.onnx_normalize import MOST_ARITHMETIC, SAMPLES, Context
from glassbox.engine.layer import Activation, Array
from glassbox.engine.more_layers import LogSoftmax, ReLU6
from glassbox.errors import short
from glassbox.kernels.shapes import Shape, Window, pair, resolve_window

OPSETS = range(6, onnx.defs.onnx_opset_version() + 1)
MOST_NUMBERS = 2**24  # of one image in one layer: 4,096 x 4,096
COPIES = 6  # of a weight in a network, with those of an optimizer
SHOWN = 20  # of the problems of a file
SLIDING = ("AveragePool", "Conv", "MaxPool")  # which take a border over
STATISTICS = ("weight", "bias", "running_mean", "running_var")  # of a BatchNorm


@dataclass(frozen=True)
class View:
    """The shape of a value, without the samples, in the file and in the network.

    The two differ in four ways.  A mean over the image keeps two axes of length 1 in the file.
    Rows may stand for images.  Behind a Transpose channels come last (`channels_last`); where that
    is flattened, `order` is the shape it had, until the next dense weights are reordered.  Behind a
    Pad, `border` is (top, left, bottom, right) and what it holds, until a window slides over it.
    """

    file: Shape
    network: Shape
    channels_last: bool = False
    order: Shape | None = None
    border: tuple[tuple[int, int, int, int], float] | None = None

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
    before: Made  # what the layer before it was made of; empty in front
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

    def number(self, name: str, place: int, default: float) -> float:
        """Return a number that is an attribute in old files and an input in new ones."""
        if not self.has(place):
            return self.node.get(name, default)
        array = self.context.array(self.node.inputs[place])
        if array.size != 1:
            raise ValueError(f"{name} should be one number")
        return float(array.item())

    def integers(self, attribute: str, place: int) -> list[int]:
        """Return axes or a shape, which are an attribute in old files and an input in new ones."""
        if not self.has(place):
            return list(self.node.get(attribute, ()))
        array = self.context.array(self.node.inputs[place])
        if array.dtype.kind != "i" or array.ndim != 1 or array.size > MOST_ARITHMETIC:
            raise ValueError(f"{attribute} should be a list of at most {MOST_ARITHMETIC} integers")
        return array.tolist()


def along(array: Array, shape: Shape, axis: int = 1) -> Array:
    """Return one number for each unit along an axis of (samples, *shape)."""
    sizes, units = (1,) * (len(shape) + 1 - array.ndim) + array.shape, (1, *shape)[axis]
    if len(sizes) > len(shape) + 1 or array.size != sizes[axis] or array.size not in (1, units):
        raise ValueError(f"its bias has the shape {array.shape}; expected ({units},)")
    return np.broadcast_to(array.reshape(-1), units)


def check_size(shape: Shape) -> None:
    """Raise ValueError where an image would become too large."""
    if math.prod(shape) > MOST_NUMBERS:
        raise ValueError(f"an image becomes {short(shape)}, more than {MOST_NUMBERS:,} numbers")


def conv(op: Op) -> Made:
    """Make a `Conv2D`."""
    channels = slid(op)[0][0]
    weights = op.weights(1, "filters", channels, "height", "width")
    filters, size = weights.shape[0], weights.shape[2:]
    window, border = slide(op, op.node.get("kernel_shape", size))
    if window.kernel != size:
        raise ValueError(f"kernel_shape={window.kernel}, but its weights are {size}")
    layer = Conv2D(filters, size, window.stride, border, window.dilation, None, op.has(2))
    arrays = {"weight": weights, "bias": op.weights(2, filters) if op.has(2) else None}
    return Made(layer, arrays, View.plain(filters, *window.output))


def pool(op: Op) -> Made:
    """Make a `MaxPool2D`, or an `AvgPool2D`, which keeps how many pixels its windows have."""
    window, border = slide(op, op.node.get("kernel_shape", ()))
    ceil, counts = bool(op.node.get("ceil_mode", 0)), bool(op.node.get("count_include_pad", 0))
    counts = counts or (any(slid(op)[1]) and not any(op.node.get("pads", ())))
    view = View.plain(op.view.network[0], *window.output)
    if op.node.operator == "MaxPool":
        return Made(
            MaxPool2D(window.kernel, window.stride, border, ceil, dilation=window.dilation),
            view=view,
        )
    op.context.budget.charge(8 * sum(window.output), "the pixel counts of this pool")
    return Made(AvgPool2D(window.kernel, window.stride, border, ceil, counts), view=view)


def slide(op: Op, size: Shape) -> tuple[Window, Any]:
    """Return the window of a convolution or a pool over its input, and the layer's padding."""
    shape, around = slid(op)
    channels, height, width = shape
    kernel = pair("kernel_shape", size)
    stride = pair("strides", op.node.get("strides", (1, 1)))
    dilation = pair("dilations", op.node.get("dilations", (1, 1)))
    pads, word = op.node.get("pads", (0, 0, 0, 0)), op.node.get("auto_pad", b"NOTSET")
    top, bottom, left, right = resolve_window(
        op.node.operator, shape, kernel, stride, "same", dilation
    ).padding
    borders = {  # in ONNX's order; "same" puts an odd pixel behind
        b"NOTSET": pads,
        b"VALID": (0, 0, 0, 0),
        b"SAME_UPPER": (top, left, bottom, right),
        b"SAME_LOWER": (bottom, right, top, left),
    }
    if len(pads) != 4 or word not in borders or (any(around) and word != b"NOTSET"):
        raise ValueError(f"unknown border: pads={short(pads)}, auto_pad={short(word)}")
    top, left, bottom, right = (a + b for a, b in zip(borders[word], around, strict=True))
    even = (top, left) == (bottom, right)
    border = (top, left) if even else ((top, bottom), (left, right))
    ceil = bool(op.node.get("ceil_mode", 0))
    window = resolve_window(op.node.operator, shape, kernel, stride, border, dilation, ceil)
    top, bottom, left, right = window.padding
    check_size((channels, height + top + bottom, width + left + right))
    return window, border


def slid(op: Op) -> tuple[Shape, tuple[int, int, int, int]]:
    """Return the shape that a window slides over, and the border that a Pad has put around it."""
    if op.view.border is None:
        return op.view.agreed(3), (0, 0, 0, 0)
    around, value = op.view.border
    expected = -math.inf if op.node.operator == "MaxPool" else 0.0
    partly = op.node.operator == "AveragePool" and any(op.node.get("pads", ()))
    same = value == expected or (math.isnan(value) and op.node.operator == "MaxPool")
    if not same or (partly and not op.node.get("count_include_pad", 0)):
        what = "its edge repeated" if math.isnan(value) else f"{value:g}"
        raise ValueError(f"it gets a border of {what}; pad in the layer itself")
    return op.view.network, around


def pad(op: Op) -> Made:
    """Note a border, which the convolution or the pool behind it takes over."""
    shape, mode = op.view.agreed(3), op.node.get("mode", b"constant")
    sizes, value = op.integers("pads", 1), op.number("value", 2, 0.0)
    ends = len(sizes) == 8 and not any(sizes[:2] + sizes[4:6]) and min(sizes) >= 0
    if mode not in (b"constant", b"edge") or not ends or op.has(3):
        raise ValueError(
            f"pads={short(sizes)}, mode={short(mode)}; expected a border of one number"
        )
    if mode == b"edge":  # which changes no maximum: each window has a pixel of the edge
        value = math.nan
    top, left, bottom, right = around = (sizes[2], sizes[3], sizes[6], sizes[7])
    file = (shape[0], shape[1] + top + bottom, shape[2] + left + right)
    return Made(view=View(file, shape, border=(around, value)) if any(sizes) else None)


def global_pool(op: Op) -> Made:
    """Make a `GlobalAvgPool2D`; the file keeps two axes of length 1."""
    channels, _, _ = op.view.agreed(3)
    return Made(GlobalAvgPool2D(), view=View((channels, 1, 1), (channels,)))


def mean(op: Op) -> Made:
    """Make a `GlobalAvgPool2D` of a mean over height and width."""
    axes, rank, last = op.integers("axes", 1), len(op.view.file) + 1, op.view.channels_last
    places = sorted(axis + rank if axis < 0 else axis for axis in axes)
    if rank != 4 or len(op.view.network) != 3 or places != ([1, 2] if last else [2, 3]):
        raise ValueError(f"it is over the axes {short(axes)}; expected height and width")
    channels = op.view.network[0]
    if not op.node.get("keepdims", 1):
        return Made(GlobalAvgPool2D(), view=View.plain(channels))
    file = (1, 1, channels) if last else (channels, 1, 1)
    return Made(GlobalAvgPool2D(), view=View(file, (channels,)))


def gemm(op: Op) -> Made:
    """Make a `Dense` layer: alpha A B + beta C."""
    turned = op.node.get("transB", 0)
    weights = op.weights(1, "units", "features") if turned else op.weights(1, "features", "units").T
    bias = along(op.weights(2), weights.shape[:1]) if op.has(2) else None
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
    """Add a constant, such as a bias; the end of a shortcut does not come here."""
    return affine(op, np.ones(1), op.weights(1))


def subtract(op: Op) -> Made:
    """Subtract a constant, such as the mean of the images."""
    return affine(op, np.ones(1), -op.weights(1))


def multiply(op: Op) -> Made:
    """Multiply by a constant."""
    return affine(op, op.weights(1), np.zeros(1))


def divide(op: Op) -> Made:
    """Divide by a constant, such as 255 or the standard deviation of the images."""
    return affine(op, 1 / op.weights(1).astype(np.float64), np.zeros(1))


def scaler(op: Op) -> Made:
    """Subtract an offset and multiply, as scikit-learn's `StandardScaler` does."""
    scale, offset = (np.array(op.node.get(name, list[float]())) for name in ("scale", "offset"))
    return affine(op, scale, -offset * scale)


def affine(op: Op, factor: Array, shift: Array) -> Made:
    """Multiply by one number for each channel and add one.

    What is done to the images in front of the first layer is noted.  Else it goes into the weights
    of the layer before it, or becomes a `BatchNorm`.
    """
    shape, last = op.view.file, op.view.channels_last
    if not (np.isfinite(factor).all() and np.isfinite(shift).all()):
        raise ValueError("it makes NaN or infinity of everything")
    if op.view.order is not None:
        raise ValueError("it comes between a flatten of channels last and a dense layer")
    if op.first:
        a, b = (in_front(array, op.view) for array in (factor, shift))
        before, added = op.context.in_front or (np.float64(1), np.float64(0))
        op.context.in_front = before * a, added * a + b
        if sum(n > 1 for n in op.context.in_front[1].shape) > 1:
            raise ValueError("the images are scaled by more than one number for each channel")
        return Made()
    a, b = (along(array, shape, -1 if last else 1) for array in (factor, shift))
    arrays = changed(op.before, a, b, op.context.budget)
    return normalization(a, b, op.context.budget) if arrays is None else Made(arrays=arrays)


def normalization(factor: Array, shift: Array, budget: Budget, name: str = "") -> Made:
    """Make a `BatchNorm` that multiplies each channel by a number and adds one."""
    budget.charge(COPIES * len(STATISTICS) * factor.nbytes, "a factor for each channel")
    layer = MLP.BatchNorm(name=name)
    arrays = (factor, shift, 0 * factor, 0 * factor + 1 - layer.epsilon)
    return Made(layer, dict(zip(STATISTICS, arrays, strict=True)))


def in_front(array: Array, view: View) -> Array:
    """Return what an image is multiplied by or what is added, in the order of the network."""
    sizes = (1,) * (len(view.file) + 1 - array.ndim) + array.shape
    fits = len(sizes) == len(view.file) + 1 and all(map(fits_in, sizes, (1, *view.file)))
    if not fits or sum(n > 1 for n in sizes) > 1:
        raise ValueError(f"{array.shape} numbers for {view.file}; expected one for each channel")
    array = array.astype(np.float64).reshape(sizes[1:])
    return np.moveaxis(array, -1, 0) if view.channels_last else array


def fits_in(length: int, wanted: int) -> bool:
    """Return whether an axis can be stretched to a length."""
    return length in (1, wanted)


def changed(
    part: Made, factor: Array, shift: Array, budget: Budget
) -> dict[str, Array | None] | None:
    """Return the arrays of a layer whose output is multiplied and shifted; None if it has none."""
    layer, arrays = part.layer, {key: part.arrays.get(key) for key in STATISTICS[:2]}
    if isinstance(layer, Conv2D | MLP.Dense) and type(layer.activation) is MLP.Identity:
        layer.bias = layer.bias or bool(shift.any())
    elif not isinstance(layer, MLP.BatchNorm):
        return None
    weights, bias = arrays["weight"], arrays["bias"]
    if weights is not None and (factor != 1).any():
        budget.charge(weights.nbytes, "the weights times a factor")
        arrays["weight"] = weights * factor.reshape(-1, *[1] * (weights.ndim - 1))
        bias = None if bias is None else bias * factor
    if layer.bias if not isinstance(layer, MLP.BatchNorm) else True:
        bias = shift if bias is None else bias + shift
    return {**arrays, "bias": bias}


def both_classes(op: Op) -> Made:
    """Make a `Dense` of two units and a softmax of the scores 1 - p and p, p being a sigmoid."""
    layer = op.before.layer
    one = isinstance(layer, MLP.Dense) and (layer.units, op.view.file) == (1, (1,))
    if len(op.node.inputs) > 1 or not one or not isinstance(layer.activation, MLP.Sigmoid):
        raise ValueError("it joins values; only the scores 1 - p and p of one sigmoid can be")
    layer.units, layer.activation = 2, MLP.Softmax()
    arrays = {
        key: a if a is None else np.concatenate([0 * a, a]) for key, a in op.before.arrays.items()
    }
    return Made(arrays=arrays, view=View.plain(2))


def cast(op: Op) -> Made:
    """Refuse to round: what only changes between FLOAT and DOUBLE does not come here."""
    kind = KINDS.get(op.node.get("to", 0), "unknown")
    raise ValueError(f"it makes {kind} of the images; expected FLOAT or DOUBLE")


def clip(op: Op) -> Made:
    """Make a `ReLU`, or a `ReLU6`, which ends at 6."""
    ends = op.number("min", 1, -math.inf), op.number("max", 2, math.inf)
    kinds: dict[tuple[float, float], type[Activation]] = {(0, math.inf): MLP.ReLU, (0, 6): ReLU6}
    if ends not in kinds:
        raise ValueError(f"it keeps numbers from {ends[0]:g} to {ends[1]:g}; expected 0 to 6")
    return activated(op, kinds[ends]())


def decimal(number: float) -> float:
    """Return the shortest decimal that is this float32: 0.1, not 0.10000000149."""
    return float(str(np.float32(number)))


def batch_norm(op: Op) -> Made:
    """Make a `BatchNorm`; momentum is the old average's share there, the new batch's here."""
    channels = op.view.agreed()[0]
    momentum = decimal(1 - decimal(op.node.get("momentum", 0.9)))
    layer = MLP.BatchNorm(momentum, decimal(op.node.get("epsilon", 1e-5)))
    arrays = {name: op.weights(k, channels) for k, name in enumerate(STATISTICS, 1)}
    if (arrays["running_var"] < 0).any():
        raise ValueError(
            f"its variance {short(op.node.inputs[4])} is negative; the file is damaged"
        )
    return Made(layer, dict(arrays))


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
    layer = op.before.layer
    if isinstance(layer, Conv2D | MLP.Dense | Residual) and type(layer.activation) is MLP.Identity:
        layer.activation = activation
        return Made()
    return Made(activation)


def softmax(op: Op) -> Made:
    """Make a `Softmax` or a `LogSoftmax` over the channels, or over a row."""
    file, last, newer = op.view.file, op.view.channels_last, op.context.graph.opset >= 13
    axis = op.node.get("axis", -1 if newer else 1)
    axis += len(file) + 1 if axis < 0 else 0
    channels = len(file) if last else 1
    rows = last or file == op.view.network or len(op.view.network) == 1
    alone = newer or file[0] == math.prod(file)  # it went over all the axes from `axis` on
    if axis != channels or not rows or not alone:
        raise ValueError(f"it goes over axis {axis} of (samples, {str(file)[1:]}, not the channels")
    return activated(op, MLP.Softmax() if op.node.operator == "Softmax" else LogSoftmax())


def flatten(op: Op) -> Made:
    """Make a `Flatten`, unless the network has rows already."""
    axis = op.node.get("axis", 1)
    if axis not in (1, -len(op.view.file)):
        raise ValueError(f"attribute axis={axis} mixes samples and pixels; flatten from axis 1")
    return reshaped(op, (math.prod(op.view.file),))


def squeeze(op: Op) -> Made:
    """Remove axes of length 1 that a global pool leaves in the file, one or both."""
    view, axes = op.view, op.integers("axes", 1)
    places = {axis + (len(view.file) + 1 if axis < 0 else 0) for axis in axes}
    kept = tuple(n for k, n in enumerate(view.file, 1) if k not in places)
    pooled = len(view.network) == 1 and math.prod(kept) == view.network[0] == math.prod(view.file)
    if not pooled or not kept or len(kept) + len(places) != len(view.file):
        raise ValueError(f"it takes axes {short(axes)} off {view.file}; only behind a global pool")
    return Made(view=View(kept, view.network, order=view.order))


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
    scaled = op.context.in_front is not None and op.context.in_front[1].size > 1
    plain = view == View.plain(*view.file) and not scaled
    if op.first and plain and (len(view.file) == 1 or long[0] == long[1]):
        if op.context.in_front is not None:
            op.context.in_front = (
                op.context.in_front[0].reshape(()),
                op.context.in_front[1].reshape(()),
            )
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
        if op.context.in_front is not None and op.context.in_front[1].ndim == 3:
            a, b = op.context.in_front
            op.context.in_front = np.moveaxis(a, -1, 0), np.moveaxis(b, -1, 0)
        return Made(view=View.plain(view.file[2], *view.file[:2]))
    raise ValueError(f"perm={short(perm)}; expected (0, 2, 3, 1), or (0, 3, 1, 2) at the input")


OPERATORS: dict[str, Callable[[Op], Made]] = {
    "Add": add,
    "AveragePool": pool,
    "BatchNormalization": batch_norm,
    "Cast": cast,
    "Clip": clip,
    "Concat": both_classes,
    "Conv": conv,
    "Div": divide,
    "Dropout": dropout,
    "Flatten": flatten,
    "Gemm": gemm,
    "GlobalAveragePool": global_pool,
    "Identity": lambda op: Made(),
    "LeakyRelu": lambda op: activated(op, MLP.LeakyReLU(decimal(op.node.get("alpha", 0.01)))),
    "LogSoftmax": softmax,
    "MatMul": lambda op: dense(op, op.weights(1, "features", "units").T),
    "MaxPool": pool,
    "Mul": multiply,
    "Pad": pad,
    "ReduceMean": mean,
    "Relu": lambda op: activated(op, MLP.ReLU()),
    "Reshape": reshape,
    "Scaler": scaler,
    "Sigmoid": lambda op: activated(op, MLP.Sigmoid()),
    "Softmax": softmax,
    "Squeeze": squeeze,
    "Sub": subtract,
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
