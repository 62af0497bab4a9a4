"""ONNX read: from the nodes of a file to the layers of a network (see `glassbox.bridges.onnx`).

A file is data from outside.  Nothing in it is run, nothing beside it is opened, and no size in it
is believed before it is compared with the numbers that are really there.
"""

from __future__ import annotations

import json
import math
import os
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import NodeProto, TensorProto, helper, numpy_helper

from CNN import CNN
from Filters import AvgPool2D, Conv2D, GlobalAvgPool2D, MaxPool2D, Pooling, Residual
from glassbox.data.scaling import Scaling
from glassbox.engine.layer import (
    Activation,
    Array,
    Identity,
    Layer,
    LeakyReLU,
    ReLU,
    Sigmoid,
    Softmax,
    Tanh,
    activation_named,
)
from glassbox.kernels.shapes import Pair, Shape, resolve_window
from MLP import BatchNorm, Dense, Dropout, Flatten

OURS = ("", "ai.onnx")  # the operators of ONNX itself
OLDEST_OPSET = 6
MOST_NUMBERS = 2**24  # of one image in one layer: 4,096 x 4,096
SAMPLES = -(2**62)  # stands for the number of samples, which is open, in the shape of a value
DEEPEST_BLOCK = 8  # blocks within blocks
MOST_ARITHMETIC = 64  # numbers in a shape, and steps to work it out
SHOWN = 20  # of the things that cannot be taken

FLOATS = {TensorProto.FLOAT: np.float32, TensorProto.DOUBLE: np.float64}
# Where a tensor keeps its numbers if not as raw bytes, and how many bytes each takes there.
FIELDS: dict[int, tuple[str, int]] = {
    TensorProto.FLOAT: ("float_data", 4), TensorProto.DOUBLE: ("double_data", 8),
    TensorProto.INT64: ("int64_data", 8), TensorProto.INT32: ("int32_data", 4),
    TensorProto.BOOL: ("int32_data", 1),
}  # fmt: skip
# Attributes that must have this value, and what any other one asks for.
FIXED: dict[str, dict[str, tuple[int, str]]] = {
    "Conv": {"group": (1, "convolution in groups; train with one group")},
    "MaxPool": {"dilations": (1, "a dilated pool; pool without dilation")},
    "AveragePool": {"dilations": (1, "a dilated pool; pool without dilation")},
    "Gemm": {"transA": (0, "images as columns; export it with transA=0")},
    "BatchNormalization": {
        "training_mode": (0, "statistics of the batch; export the model for inference"),
        "spatial": (1, "statistics for each pixel; use those of each channel"),
        "is_test": (1, "statistics of the batch; export the model for inference"),
    },
    "Dropout": {"is_test": (1, "dropout while it is used; export the model for inference")},
    "Reshape": {"allowzero": (0, "axes of length 0; export it with allowzero=0")},
}
ARITHMETIC = ("Gather", "Unsqueeze", "Concat", "Cast")  # what exporters do with a Shape


# What a file that lies can raise in the layers and in NumPy.
WRONG = (ValueError, TypeError, KeyError, IndexError, OverflowError)


class Refused(ValueError):
    """Something that cannot be taken; the message needs the node's name in front."""


def open_model(
    source: str | os.PathLike[str] | onnx.ModelProto,
    shape: tuple[int, int, int] | None,
    settings: dict[str, Any],
) -> CNN:
    """See `glassbox.bridges.onnx.import_model`."""
    if isinstance(source, onnx.ModelProto):
        return _opened(source, "the model", source.ByteSize(), shape, settings)
    data = Path(source).read_bytes()
    try:
        model = onnx.load_model_from_string(data)
    except Exception as error:  # protobuf's own kinds of errors differ from version to version
        raise ValueError(
            f"{source}: expected an ONNX model, got bytes that are none ({_short(error)})"
        ) from error
    return _opened(model, str(source), len(data), shape, settings)


def _opened(
    model: onnx.ModelProto, name: str, size: int, shape: Any, settings: dict[str, Any]
) -> CNN:
    with _naming(name):
        _refuse_other_files(model)
        onnx.checker.check_model(model)
        reader = _Reader(model, size)
        kind, loss = reader.read(shape)
    network = CNN(**{"dtype": kind, "loss": loss, **settings})  # these errors are the caller's
    with _naming(name):
        return reader.fill(network)


@contextmanager
def _naming(name: str) -> Iterator[None]:
    """Whatever is wrong inside is wrong with the file of this name."""
    try:
        yield
    except (onnx.checker.ValidationError, *WRONG) as error:
        raise ValueError(f"{name} cannot be taken: {error}") from error


def _refuse_other_files(model: onnx.ModelProto) -> None:
    """Paths in a file could lead anywhere, so tensors in other files are not followed at all."""
    inside = [a.t for n in model.graph.node for a in n.attribute if a.HasField("t")]
    for tensor in [*model.graph.initializer, *inside]:
        if tensor.external_data or tensor.data_location == TensorProto.EXTERNAL:
            raise Refused(
                f"the numbers of {tensor.name!r} are in another file, and only this one is read; "
                "save the model as one file (onnx.save with save_as_external_data=False)"
            )
    if model.graph.sparse_initializer:
        raise Refused("it has sparse weights; save them dense")


def _short(thing: Any) -> str:
    """At most 80 characters in one line, for what came with the file."""
    text = " ".join(str(thing).split())
    return text if len(text) <= 80 else text[:77] + "..."


def _label(node: NodeProto) -> str:
    return f"{_short(node.op_type)} {_short(node.name or ', '.join(node.output))!r}"


def _attributes(node: NodeProto) -> dict[str, Any]:
    return {a.name: helper.get_attribute_value(a) for a in node.attribute}


def _decimal(number: float) -> float:
    """The shortest decimal that is this float32: 0.1, not 0.10000000149."""
    return float(str(np.float32(number)))


def _numbers(tensor: TensorProto) -> Array:
    """A tensor's numbers, once its shape is known to promise no more than there are."""
    kind = tensor.data_type
    if kind not in FIELDS:
        raise Refused(
            f"the numbers of {_short(tensor.name)!r} are {_kind(kind)}; expected FLOAT or DOUBLE"
        )
    promised, (field, size) = math.prod(tensor.dims), FIELDS[kind]
    raw = tensor.HasField("raw_data")
    there = len(tensor.raw_data) / size if raw else len(getattr(tensor, field))
    if min(tensor.dims, default=0) < 0 or promised != there:
        raise Refused(
            f"{_short(tensor.name)!r} says it is {_short(list(tensor.dims))} but holds {there:g} "
            "numbers; the file is damaged"
        )
    return numpy_helper.to_array(tensor)


def _kind(number: int) -> str:
    names = TensorProto.DataType
    return names.Name(number) if number in names.values() else f"of unknown kind {number}"


class _Reader:
    """The walk along the graph, from its input to its output.

    `shape` is what a value of the file looks like, samples left out, and `ours` what it is in the
    network.  The two differ in three ways: a mean over the image keeps two axes of length 1 in
    the file; rows may stand for images; after a Transpose channels come last (`channels_last`),
    and if that is flattened, the next dense weights must be put in our order (`order`).
    """

    def __init__(self, model: onnx.ModelProto, size: int) -> None:
        self.graph = graph = model.graph
        self.facts = {entry.key: entry.value for entry in model.metadata_props}
        versions = [o.version for o in model.opset_import if o.domain in OURS]
        self.opset = versions[0] if versions else 0
        self.budget = size + 2**20  # numbers that weights may have, though nodes share them
        self.constants: dict[str, TensorProto | Array] = {t.name: t for t in graph.initializer}
        self.arithmetic: dict[str, NodeProto] = {}  # values that follow from a shape
        self.shapes: dict[str, Shape] = {}
        self.users: dict[str, list[NodeProto]] = {}
        self.main: list[NodeProto] = []
        self.walked: set[str] = set()
        self.layers: list[Layer] = []
        self.loads: list[tuple[Layer, dict[str, Array]]] = []
        self.shape: Shape = ()
        self.ours: Shape = ()
        self.images: Shape = ()  # what the network is built for
        self.channels_last = False
        self.order: Shape | None = None
        self.value = ""
        self.depth = 0
        self.places: dict[str, int] = {}
        for place, node in enumerate(graph.node):
            if not node.output:
                raise Refused(f"{_label(node)} has no output")
            self.places[node.output[0]] = place
            try:
                self._sort_in(node)
            except WRONG as error:
                raise Refused(f"{_label(node)}: {error}") from error

    def _sort_in(self, node: NodeProto) -> None:
        """A constant, arithmetic on shapes, or a node that images go through."""
        known = all(name in self.constants for name in node.input)
        if node.domain not in OURS:
            self.main.append(node)  # `_look_over` will name it
        elif node.op_type == "Constant":
            self.constants[node.output[0]] = _constant(node)
        elif node.op_type == "Identity" and known:
            self.constants[node.output[0]] = self.constants[node.input[0]]
        elif node.op_type == "Transpose" and known:
            perm = _attributes(node).get("perm")
            self.constants[node.output[0]] = np.transpose(self._array(node.input[0]), perm)
        elif node.op_type == "Shape" or (
            node.op_type in ARITHMETIC
            and all(name in self.constants or name in self.arithmetic for name in node.input)
        ):
            self.arithmetic[node.output[0]] = node
        else:
            self.main.append(node)
            for name in node.input:
                if name and name not in self.constants and name not in self.arithmetic:
                    self.users.setdefault(name, []).append(node)

    # --- the whole ---------------------------------------------------------------------------

    def read(self, shape: Any) -> tuple[Any, str]:
        """Walk the graph once; returns the dtype and the loss that suit it."""
        self._look_over()
        kind = self._enter(shape)
        self._walk(self.value)
        missed = [node for node in self.main if node.output[0] not in self.walked]
        if missed:
            raise Refused(
                f"{_label(missed[0])} is not on the way from the input to the output; only graphs "
                "that are a chain, with shortcuts as in Residual, can be taken"
            )
        if self.channels_last or self.order:
            raise Refused("the output has its channels last; end with a dense layer or transpose")
        if not self.layers:
            self.layers.append(Identity())
        if len(self.shape) < len(self.ours):  # rows that stood for images until the end
            self.layers.append(Flatten())
        last = self.layers[-1]
        softmax = isinstance(getattr(last, "activation", last), Softmax)
        return kind, "cross_entropy" if softmax else "mse"

    def fill(self, network: CNN) -> CNN:
        """Build an empty network with the layers and the weights that were read."""
        _name(self.layers)
        for layer in self.layers:
            network.add(layer)
        network.build(self.images)
        for layer, arrays in self.loads:
            for name, array in arrays.items():
                (layer.parameters if name in layer.parameters else layer.buffers)[name][...] = array
        self._recall(network)
        return network

    def _look_over(self) -> None:
        """Everything that can be said before the first step, all of it at once."""
        found = []
        newest = onnx.defs.onnx_opset_version()
        if not OLDEST_OPSET <= self.opset <= newest:
            found.append(f"opset {self.opset}; expected {OLDEST_OPSET} to {newest}")
        if len(self.graph.output) != 1:
            names = _short([value.name for value in self.graph.output])
            found.append(f"{len(self.graph.output)} outputs, {names}; expected one")
        for node in self.main:
            found += [f"{_label(node)}: {problem}" for problem in self._problems(node)]
        if found:
            more = [f"and {len(found) - SHOWN} more"] if len(found) > SHOWN else []
            raise Refused("\n- ".join([f"{len(found)} problem(s)", *found[:SHOWN], *more]))

    def _problems(self, node: NodeProto) -> list[str]:
        """What is wrong with a node, whatever comes to it."""
        if node.domain not in OURS or node.op_type not in TAKEN:
            known = ", ".join(sorted(TAKEN))
            return [f"this operator has no layer here; export the model without it, with {known}"]
        found = []
        given = _attributes(node)
        if self.opset < 7 and node.op_type in ("BatchNormalization", "Dropout"):
            given.setdefault("is_test", 0)  # what it was in those days
        for name, (value, meaning) in FIXED.get(node.op_type, {}).items():
            values = given.get(name, value)
            if set(values if isinstance(values, list) else [values]) - {value}:
                found.append(f"attribute {name}={values} asks for {meaning}")
        ends = {value.name for value in self.graph.output}
        used = [name for name in node.output[1:] if name in self.users or name in ends]
        if used:
            found.append(f"its further output {_short(used[0])!r} is used; only the first is known")
        return found

    def _enter(self, asked: Any) -> Any:
        """Set out at the input; returns its dtype."""
        inputs = [value for value in self.graph.input if value.name not in self.constants]
        if len(inputs) != 1:
            names = _short([value.name for value in inputs])
            raise Refused(f"it has {len(inputs)} inputs, {names}; expected one: the images")
        self.value = inputs[0].name
        tensor = inputs[0].type.tensor_type
        if tensor.elem_type not in FLOATS:
            raise Refused(
                f"its input is {_kind(tensor.elem_type)}; expected numbers, FLOAT or DOUBLE"
            )
        dims = [d.dim_value if d.HasField("dim_value") else 0 for d in tensor.shape.dim]
        if len(dims) < 2:
            raise Refused(
                f"its input has the shape {dims}; expected (samples, channels, height, width)"
            )
        self._start(tuple(dims[1:]), asked)
        return FLOATS[tensor.elem_type]

    def _start(self, file: Shape, asked: Any) -> None:
        """Compare the file's shape (0: open) with the one asked for."""
        asked = None if asked is None else tuple(int(n) for n in asked)
        rows = asked is not None and len(file) == 1 and file[0] in (0, math.prod(asked))
        if asked is not None and not rows:
            sizes = zip(file, asked, strict=False)
            if len(file) != len(asked) or any(n not in (0, m) for n, m in sizes):
                raise Refused(f"it takes images {file} (0: open), but shape={asked} was asked for")
            file = asked
        if asked is not None and rows:
            file = (math.prod(asked),)
        if min(file) < 1:
            raise Refused(
                f"it leaves the size of its images open, {file}; say shape=(channels, height, "
                "width)"
            )
        self._check_size(file)
        self.shape, self.ours = file, asked or file
        self.images = self.ours

    def _only_user(self, value: str) -> NodeProto | None:
        users = self.users.get(value, [])
        return users[0] if len(users) == 1 else None

    def _recall(self, network: CNN) -> None:
        """Class names and scaling, if `export` left them in the file."""
        try:
            classes = json.loads(self.facts.get("glassbox.classes", "[]"))
            scaling = self.facts.get("glassbox.scaling")
            if scaling is not None:
                network.scaling = Scaling.from_json(json.loads(scaling))
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
            raise Refused(f"its metadata cannot be read: {_short(error)}") from error
        if not isinstance(classes, list) or not all(isinstance(name, str) for name in classes):
            raise Refused(f"its metadata should list class names, got {_short(classes)}")
        if classes and network.output_shape != (len(classes),):
            raise Refused(f"it names {len(classes)} classes for outputs {network.output_shape}")
        network.classes = tuple(classes)

    # --- the walk ----------------------------------------------------------------------------

    def _walk(self, value: str, until: NodeProto | None = None) -> None:
        """From `value` to the output, or to the input of the node `until`."""
        end = self.graph.output[0].name
        self.value = value
        while True:
            self.shapes[self.value] = self.shape
            users = self.users.get(self.value, [])
            if self.value == end and not users and until is None:
                return
            if until is not None and len(users) == 1 and users[0] is until:
                return
            if not users or self.value == end:
                raise Refused(
                    f"the value {_short(self.value)!r} goes {len(users)} ways"
                    f"{' and is the output' if self.value == end else ''}; expected a chain, with "
                    "shortcuts as in Residual"
                )
            self._go_on(users)

    def _go_on(self, users: list[NodeProto]) -> None:
        """One step: a node, or the block that begins where a value goes several ways."""
        if len(users) == 1:
            self._take(users[0])
        else:
            self._block(users)

    def _take(self, node: NodeProto) -> None:
        """One node: its layer, and the shapes behind it."""
        try:
            if node.input[0] != self.value and node.op_type != "Add":
                raise Refused(f"the images come as input {list(node.input).index(self.value)}")
            TAKEN[node.op_type](self, node)
            self._check_size(self.shape)
        except WRONG as error:
            raise Refused(f"{_label(node)}: {error}") from error
        self._passed(node)

    def _passed(self, node: NodeProto) -> None:
        self.walked.add(node.output[0])
        self.value = node.output[0]

    def _check_size(self, shape: Shape) -> None:
        if min(shape, default=0) < 1 or math.prod(shape) > MOST_NUMBERS:
            raise Refused(
                f"an image would become {_short(shape)}; expected 1 to {MOST_NUMBERS:,} numbers"
            )

    def _block(self, users: list[NodeProto]) -> None:
        """A value that goes several ways which meet in an Add: a `Residual`."""
        self._expects_step("a shortcut")
        self.depth += 1
        if self.depth > DEEPEST_BLOCK:
            raise Refused(f"blocks lie within blocks more than {DEEPEST_BLOCK} deep")
        add, user, ways = self._ends_of_block(users)
        start, before, outer, self.layers = self.value, self.shape, self.layers, []
        projection = None if user is add else self._projection(user)
        self.value, self.shape, self.ours = start, before, before
        self._go_on(ways)
        self._walk(self.value, until=add)
        inner, self.layers = self.layers, outer
        self.depth -= 1
        self._expects_step("the end of a shortcut")
        self._add_block(add, inner, projection, before)

    def _ends_of_block(
        self, users: list[NodeProto]
    ) -> tuple[NodeProto, NodeProto, list[NodeProto]]:
        """The Add where the ways meet, the user on the shortcut (perhaps that Add), the others.

        Where blocks begin at the same value, the outermost comes first: the one that ends last.
        """
        ends = []
        for user in users if len(users) <= DEEPEST_BLOCK + 1 else []:
            meeting = user if user.op_type == "Add" else self._only_user(user.output[0])
            twice = sum(other is user for other in users) > 1  # x + x
            if meeting is None or meeting.op_type != "Add" or twice:
                continue
            if user is meeting or self._is_projection(user):
                ends.append((self.places[meeting.output[0]], meeting, user))
        if not ends:
            ways = " and ".join(_label(user) for user in users[:3])
            raise Refused(
                f"the value {_short(self.value)!r} goes {len(users)} ways, {ways}, which are no "
                "shortcut as in Residual: the value itself, or a 1 x 1 convolution of it without "
                "bias, added to what its layers make"
            )
        _, add, user = max(ends, key=lambda end: end[0])
        return add, user, [other for other in users if other is not user]

    def _is_projection(self, node: NodeProto) -> bool:
        """Whether a node can be the convolution of a shortcut: 1 x 1 and without bias."""
        weights = self.constants.get(node.input[1]) if len(node.input) == 2 else None
        if node.op_type != "Conv" or weights is None:
            return False
        shape = weights.shape if isinstance(weights, np.ndarray) else tuple(weights.dims)
        return shape[2:] == (1, 1)

    def _projection(self, node: NodeProto) -> Conv2D:
        """The convolution of a shortcut; its weights are loaded with the block's."""
        self._take(node)
        conv = self.layers.pop()
        if not isinstance(conv, Conv2D) or conv.padding != (0, 0):
            raise Refused(f"{_label(node)}: a shortcut's convolution must not be padded")
        return conv

    def _add_block(
        self, add: NodeProto, inner: list[Layer], projection: Conv2D | None, before: Shape
    ) -> None:
        if (projection is None) != (self.ours == before):
            raise Refused(
                f"{_label(add)}: a shortcut leads from {before} to {self.ours}; it must be the "
                "value itself where the shape stays, else a convolution"
            )
        if not inner:
            raise Refused(f"{_label(add)}: there is no layer beside the shortcut")
        _name(inner)
        block = Residual(*inner, activation=None)
        if projection is not None:
            strides = tuple(-(-n // m) for n, m in zip(before[1:], self.ours[1:], strict=True))
            arrays = next(arrays for layer, arrays in self.loads if layer is projection)
            self.loads = [pair for pair in self.loads if pair[0] is not projection]
            if projection.stride != strides or projection.filters != self.ours[0]:
                raise Refused(
                    f"{_label(add)}: the shortcut's stride {projection.stride} and filters "
                    f"{projection.filters} do not lead from {before} to {self.ours}"
                )
            self.loads.append((block, {"shortcut.weight": arrays["weight"]}))
        self._append(block, add)
        self._passed(add)

    # --- help for the operators --------------------------------------------------------------

    def _expects_step(self, what: str) -> None:
        """Raise where the file's axes are not those of the network."""
        if self.shape != self.ours or self.channels_last or self.order:
            raise Refused(
                f"{what} would see {self.shape}{', channels last' if self.channels_last else ''}; "
                "expected (channels, height, width) or a row straight from such"
            )

    def _append(self, layer: Layer, node: NodeProto, weight: str = "") -> None:
        """One more layer, called as its weights are, else as its node."""
        name = weight.removesuffix(".weight") if weight.endswith(".weight") else node.name
        if self.depth:
            name = name.rsplit(".", 1)[-1]
        plain = re.fullmatch(r"[A-Za-z_][\w.]{0,59}", name) and not name.endswith(".")
        taken = self.depth and name == "shortcut"  # a block calls its projection so
        layer.name = name if plain and not taken else ""
        self.layers.append(layer)

    def _array(self, name: str) -> Array:
        kept = self.constants.get(name)
        if kept is None:
            raise Refused(f"its input {_short(name)!r} is not a constant of the file")
        return kept if isinstance(kept, np.ndarray) else _numbers(kept)

    def _weights(self, name: str) -> Array:
        """A constant that goes into the network."""
        array = self._array(name)
        if array.dtype.kind != "f":
            raise Refused(f"{_short(name)!r} holds whole numbers; expected FLOAT or DOUBLE")
        self.budget -= array.size
        if self.budget < 0:
            raise Refused("its nodes share weights so often that they would not fit in memory")
        return array

    def _optional(self, node: NodeProto, place: int) -> str:
        return node.input[place] if len(node.input) > place else ""

    def _whole_numbers(self, node: NodeProto, attribute: str, place: int) -> list[int] | None:
        """Axes or a shape, given as an attribute in old files and as an input in new ones."""
        given = _attributes(node).get(attribute)
        name = self._optional(node, place)
        if given is None and name:
            array = self._worked_out(name)
            if array.dtype.kind != "i" or array.ndim != 1:
                raise Refused(f"{attribute} should be a list of whole numbers")
            given = array.tolist()
        return given

    def _worked_out(self, name: str, steps: int = 0) -> Array:
        """A constant, or what follows from the shape of a value."""
        if name not in self.arithmetic:
            return self._array(name)
        node = self.arithmetic[name]
        if steps > MOST_ARITHMETIC:
            raise Refused("its shape takes too many steps to work out; give it as a constant")
        if node.op_type == "Shape":
            if node.input[0] not in self.shapes:
                raise Refused("its shape follows from a value that comes later")
            given = _attributes(node)
            dims = np.array([SAMPLES, *self.shapes[node.input[0]]], np.int64)
            found = dims[slice(given.get("start", 0), given.get("end"))]
        else:
            parts = [self._worked_out(part, steps + 1) for part in node.input]
            if sum(part.size for part in parts) > MOST_ARITHMETIC:
                raise Refused("its shape is too long; give it as a constant")
            if node.op_type == "Gather":
                found = np.take(parts[0], parts[1], axis=0)
            elif node.op_type == "Concat":
                found = np.concatenate([part.reshape(-1) for part in parts])
            else:  # Unsqueeze, and Cast of whole numbers
                found = parts[0].reshape(-1) if node.op_type == "Unsqueeze" else parts[0]
        self.constants[name] = found  # worked out once, however many ask
        del self.arithmetic[name]
        return found

    def _target(self, node: NodeProto) -> Shape:
        """What a Reshape makes of each sample."""
        wanted = self._whole_numbers(node, "shape", 1)
        if not wanted or len(wanted) > MOST_ARITHMETIC:
            raise Refused(f"it should say its shape, got {_short(wanted)}")
        axes = [SAMPLES, *self.shape]
        found = [axes[k] if n == 0 and k < len(axes) else n for k, n in enumerate(wanted)]
        samples, rest = found[0], found[1:]
        if samples not in (-1, SAMPLES) and samples != self._fixed_samples():
            raise Refused(f"it mixes the samples: {_short(wanted)} of {self.shape} each")
        if samples != -1 and rest.count(-1) == 1:
            rest[rest.index(-1)] = math.prod(self.shape) // max(1, -math.prod(rest))
        if min(rest, default=0) < 1 or math.prod(rest) != math.prod(self.shape):
            raise Refused(f"it cannot make {_short(wanted)} of {self.shape} for each sample")
        return tuple(rest)

    def _fixed_samples(self) -> int:
        """The number of samples that the file was made for, 0 where it is open."""
        inputs = [value for value in self.graph.input if value.name not in self.constants]
        return inputs[0].type.tensor_type.shape.dim[0].dim_value

    def _vector(self, name: str, length: int) -> Array:
        """A constant with one number for each channel."""
        array = self._weights(name)
        if array.shape != (length,):
            raise Refused(f"{_short(name)!r} is {array.shape}; expected ({length},)")
        return array

    def _bias(self, name: str, shape: Shape, axis: int = 0) -> Array:
        """A constant that adds one number to each unit along `axis`, or one to all of them."""
        array, units = self._weights(name), shape[axis]
        sizes = list(array.shape)
        if len(sizes) == len(shape) + 1 and sizes[0] == 1:
            sizes = sizes[1:]
        sizes = [1] * (len(shape) - len(sizes)) + sizes
        if len(sizes) != len(shape) or array.size != sizes[axis] or array.size not in (1, units):
            raise Refused(
                f"its bias is {array.shape}; expected one number for each of {units} channels"
            )
        return np.broadcast_to(array.reshape(-1), units)

    # --- operators ---------------------------------------------------------------------------

    def conv(self, node: NodeProto) -> None:
        """A `Conv2D`."""
        self._expects_step("a convolution")
        given, weights = _attributes(node), self._weights(node.input[1])
        if weights.ndim != 4 or len(self.shape) != 3:
            raise Refused(
                f"it slides over {self.shape} with weights {weights.shape}; expected (channels, "
                "height, width) and (filters, channels, kernel height, kernel width)"
            )
        filters, channels, *kernel = weights.shape
        if channels != self.shape[0]:
            raise Refused(f"its weights are for {channels} channels, it gets {self.shape[0]}")
        if list(given.get("kernel_shape", kernel)) != kernel:
            raise Refused(f"kernel_shape={given['kernel_shape']}, but its weights are {kernel}")
        layer = Conv2D(
            filters, _pair(kernel), _pair(given.get("strides", [1, 1])),
            dilation=_pair(given.get("dilations", [1, 1])), activation=None, bias=False,
        )  # fmt: skip
        self.shape = self.ours = (filters, *self._slide(layer, given))
        bias = self._optional(node, 2)
        self._load(layer, node, weights, self._vector(bias, filters) if bias else None)

    def pool(self, node: NodeProto) -> None:
        """A `MaxPool2D` or an `AvgPool2D`."""
        self._expects_step("a pool")
        given = _attributes(node)
        if len(self.shape) != 3:
            raise Refused(f"it slides over {self.shape}; expected (channels, height, width)")
        size, stride = _pair(given["kernel_shape"]), _pair(given.get("strides", [1, 1]))
        ceil = bool(given.get("ceil_mode", 0))
        layer: Pooling = MaxPool2D(size, stride, ceil_mode=ceil)
        if node.op_type == "AveragePool":
            counts = bool(given.get("count_include_pad", 0))
            layer = AvgPool2D(size, stride, ceil_mode=ceil, count_padding=counts)
        self.shape = self.ours = (self.shape[0], *self._slide(layer, given))
        self._append(layer, node)

    def _slide(self, layer: Conv2D | Pooling, given: dict[str, Any]) -> Pair:
        """Give a window its border; returns the height and width of what it makes."""
        geometry = (layer.label, self.ours, layer.kernel, layer.stride)
        pads, word = given.get("pads", [0, 0, 0, 0]), given.get("auto_pad", b"NOTSET")
        if len(pads) != 4:
            raise Refused(f"pads={pads}; expected top, left, bottom and right")
        top, left, bottom, right = pads
        if word == b"VALID":
            top = left = bottom = right = 0
        elif word == b"SAME_LOWER":  # as "same", but an odd pixel goes before
            bottom, top, right, left = resolve_window(*geometry, "same", layer.dilation).padding
        elif word not in (b"NOTSET", b"SAME_UPPER"):
            raise Refused(f"attribute auto_pad={word!r} is unknown")
        layer.padding = ((top, bottom), (left, right))
        if (top, left) == (bottom, right):
            layer.padding = (top, left)
        if word == b"SAME_UPPER":
            layer.padding = "same"
        window = resolve_window(*geometry, layer.padding, layer.dilation, layer.ceil_mode)
        channels, height, width = self.ours
        top, bottom, left, right = window.padding
        self._check_size((channels, height + top + bottom, width + left + right))
        self._check_size((channels, *window.output))
        return window.output

    def global_pool(self, node: NodeProto) -> None:
        """A `GlobalAvgPool2D`; the file keeps two axes of length 1."""
        self._expects_step("a global pool")
        if len(self.shape) != 3:
            raise Refused(f"it gets {self.shape}; expected (channels, height, width)")
        self.shape, self.ours = (self.shape[0], 1, 1), self.shape[:1]
        self._append(GlobalAvgPool2D(), node)

    def gemm(self, node: NodeProto) -> None:
        """A `Dense` layer: alpha A B + beta C."""
        given = _attributes(node)
        weights, bias = self._weights(node.input[1]), self._optional(node, 2)
        if weights.ndim != 2:
            raise Refused(f"its weights are {weights.shape}; expected a matrix")
        weights = weights if given.get("transB", 0) else weights.T
        shift = None
        if bias:
            shift = self._bias(bias, (len(weights),)) * given.get("beta", 1.0)
        self._dense(node, weights * given.get("alpha", 1.0), shift)

    def matmul(self, node: NodeProto) -> None:
        """A `Dense` layer without a bias; an Add behind it may bring one."""
        weights = self._weights(node.input[1])
        if weights.ndim != 2:
            raise Refused(f"its weights are {weights.shape}; expected a matrix")
        self._dense(node, weights.T, None)

    def _dense(self, node: NodeProto, weights: Array, bias: Array | None) -> None:
        units, features = weights.shape
        if self.shape != (features,):
            raise Refused(
                f"its weights are for rows of {features}, it gets {self.shape}; a Flatten before "
                "it makes rows"
            )
        if self.order is not None:  # rows were made with channels last
            channels, height, width = self.order
            upright = weights.reshape(units, height, width, channels)
            weights = upright.transpose(0, 3, 1, 2).reshape(units, features)
        self.shape = self.ours = (units,)
        self.order = None
        self._load(Dense(units, activation=None, bias=False), node, weights, bias)

    def _load(
        self, layer: Conv2D | Dense, node: NodeProto, weights: Array, bias: Array | None
    ) -> None:
        self.loads.append((layer, {"weight": weights}))
        if bias is not None:
            layer.has_bias = True
            self.loads[-1][1]["bias"] = bias
        self._append(layer, node, node.input[1])

    def add(self, node: NodeProto) -> None:
        """The bias of the layer before it."""
        layer = self.layers[-1] if self.layers else None
        if (
            not isinstance(layer, (Conv2D, Dense))
            or layer.has_bias
            or type(layer.activation) is not Identity
        ):
            raise Refused(
                "it can only be the bias of a Conv, Gemm or MatMul straight before it, or the end "
                "of a shortcut"
            )
        other = node.input[1] if node.input[0] == self.value else node.input[0]
        bias = self._bias(other, self.shape, -1 if self.channels_last else 0)
        layer.has_bias = True
        self.loads[-1][1]["bias"] = bias

    def batch_norm(self, node: NodeProto) -> None:
        """A `BatchNorm`; momentum there is the share of the old average, here of the new batch."""
        self._expects_step("batch normalisation")
        given = _attributes(node)
        layer = BatchNorm(
            momentum=_decimal(1 - _decimal(given.get("momentum", 0.9))),
            epsilon=_decimal(given.get("epsilon", 1e-5)),
        )
        keys = ("weight", "bias", "running_mean", "running_var")
        arrays = [self._vector(name, self.shape[0]) for name in node.input[1:5]]
        self.loads.append((layer, dict(zip(keys, arrays, strict=True))))
        self._append(layer, node, node.input[1])

    def dropout(self, node: NodeProto) -> None:
        """A `Dropout`, which does nothing in use."""
        rate = _decimal(_attributes(node).get("ratio", 0.5))
        for place, what in ((1, "ratio"), (2, "training_mode")):
            name = self._optional(node, place)
            if not name:
                continue
            value = self._array(name)
            if value.size != 1:
                raise Refused(f"its {what} has {value.size} numbers; expected one")
            if what == "ratio":
                rate = _decimal(value.item())
            elif value.item():
                raise Refused("training_mode is on; export the model for inference")
        self._append(Dropout(rate), node)

    def activation(self, node: NodeProto) -> None:
        """An activation: carried by the layer before it, if that has none, else of its own."""
        kind = ACTIVATIONS[node.op_type]
        found: Activation = kind()
        if node.op_type == "LeakyRelu":
            found = LeakyReLU(_decimal(_attributes(node).get("alpha", 0.01)))
        if node.op_type == "Softmax":
            self._expects_channels(_attributes(node))
        layer = self.layers[-1] if self.layers else None
        if isinstance(layer, (Conv2D, Dense, Residual)) and type(layer.activation) is Identity:
            layer.activation = activation_named(found)
        else:
            self._append(found, node)

    def _expects_channels(self, given: dict[str, Any]) -> None:
        """Raise unless a softmax goes over the channels, or over a row."""
        axes = len(self.shape) + 1
        axis = given.get("axis", -1 if self.opset >= 13 else 1)
        axis += axes if axis < 0 else 0
        channels = axes - 1 if self.channels_last else 1
        rows = len(self.ours) == 1 or self.shape == self.ours or self.channels_last
        # before opset 13 it went over everything from its axis on
        alone = self.opset >= 13 or self.shape[0] == math.prod(self.shape)
        if axis != channels or not rows or not alone:
            raise Refused(
                f"it goes over axis {axis} of (samples, {str(self.shape)[1:]}; expected the "
                f"channels, axis {channels}, or rows"
            )

    def flatten(self, node: NodeProto) -> None:
        """A `Flatten`, where the network has no row yet."""
        axis = _attributes(node).get("axis", 1)
        if axis not in (1, -len(self.shape)):
            raise Refused(f"attribute axis={axis} mixes samples and pixels; flatten from axis 1")
        self._flattened(node)

    def _flattened(self, node: NodeProto) -> None:
        if len(self.shape) == 1:
            return
        self.shape = (math.prod(self.shape),)
        if len(self.ours) == 1:  # behind a global pool it is a row already
            return
        self.order = self.ours if self.channels_last else None
        self.channels_last, self.ours = False, self.shape
        self._append(Flatten(), node)

    def reshape(self, node: NodeProto) -> None:
        """A `Flatten`; at the input it says in what shape images come."""
        target = self._target(node)
        if target == self.shape:
            return
        if len(target) == 1:
            self._flattened(node)
        elif len(self.shape) == 1 and target == self.ours:  # rows that stood for images
            self.shape = target
        elif not self.layers and not self.depth and self._same_order(target):
            self.shape = self.ours = self.images = target
        else:
            raise Refused(
                f"it makes {target} of {self.shape}; only rows, (features,), can be made behind "
                "the first layer"
            )

    def _same_order(self, target: Shape) -> bool:
        """Whether it only makes images of rows, or adds and drops axes of length 1."""
        kept = [tuple(n for n in shape if n > 1) for shape in (self.shape, target)]
        return self.shape == self.ours and (len(self.shape) == 1 or kept[0] == kept[1])

    def squeeze(self, node: NodeProto) -> None:
        """The two axes of length 1 that a global pool leaves in the file."""
        axes = self._whole_numbers(node, "axes", 1) or []
        places = {axis + (len(self.shape) + 1 if axis < 0 else 0) for axis in axes}
        kept = tuple(n for k, n in enumerate(self.shape, 1) if k not in places)
        if kept != self.ours or math.prod(kept) != math.prod(self.shape) or 0 in places:
            raise Refused(f"it takes axes {axes} off {self.shape}; only behind a global pool")
        self.shape = kept

    def transpose(self, node: NodeProto) -> None:
        """From channels last and back; at the input it says that images come with them last."""
        perm = list(_attributes(node).get("perm", range(len(self.shape), -1, -1)))
        if perm == list(range(len(self.shape) + 1)):
            return
        if perm == [0, 2, 3, 1] and not self.channels_last and self.shape == self.ours:
            channels, height, width = self.shape
            self.shape, self.channels_last = (height, width, channels), True
        elif perm == [0, 3, 1, 2] and self.channels_last:
            self.shape, self.channels_last = self.ours, False
        elif perm == [0, 3, 1, 2] and not self.layers and self.shape == self.images:
            height, width, channels = self.shape
            self.shape = self.ours = self.images = (channels, height, width)
        else:
            raise Refused(
                f"attribute perm={perm}; expected [0, 3, 1, 2] at the input, or [0, 2, 3, 1] "
                "before a Flatten"
            )

    def identity(self, node: NodeProto) -> None:
        """Nothing."""


def _constant(node: NodeProto) -> TensorProto | Array:
    given = _attributes(node)
    if "value" in given:
        return given["value"]
    for name in ("value_float", "value_floats", "value_int", "value_ints"):
        if name in given:
            return np.asarray(given[name], np.float32 if "float" in name else np.int64)
    raise Refused("its value is neither a tensor nor numbers")


def _pair(numbers: Sequence[int]) -> Pair:
    if len(numbers) != 2:
        raise Refused(f"it slides along {len(numbers)} axes; expected height and width")
    return int(numbers[0]), int(numbers[1])


def _name(layers: list[Layer]) -> None:
    """A name of its own for each layer; what the file says where it can be had."""
    taken: set[str] = {""}
    for layer in layers:
        layer.name = "" if layer.name in taken else layer.name
        taken.add(layer.name)
    counts: dict[str, int] = {}
    for layer in layers:
        while not layer.name:
            counts[layer.stem] = counts.get(layer.stem, 0) + 1
            name = f"{layer.stem}{counts[layer.stem]}"
            layer.name = "" if name in taken else name
        taken.add(layer.name)


ACTIVATIONS: dict[str, type[Activation]] = {
    "LeakyRelu": LeakyReLU, "Relu": ReLU, "Sigmoid": Sigmoid, "Softmax": Softmax, "Tanh": Tanh,
}  # fmt: skip
TAKEN: dict[str, Callable[[_Reader, NodeProto], None]] = {
    "Conv": _Reader.conv, "MaxPool": _Reader.pool, "AveragePool": _Reader.pool,
    "GlobalAveragePool": _Reader.global_pool, "Gemm": _Reader.gemm, "MatMul": _Reader.matmul,
    "Add": _Reader.add, "BatchNormalization": _Reader.batch_norm, "Dropout": _Reader.dropout,
    "Flatten": _Reader.flatten, "Reshape": _Reader.reshape, "Squeeze": _Reader.squeeze,
    "Transpose": _Reader.transpose, "Identity": _Reader.identity,
    **dict.fromkeys(ACTIVATIONS, _Reader.activation),
}  # fmt: skip
