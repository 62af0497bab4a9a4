"""ONNX import, pass 1: a file as plain nodes and constants, validated.

Nothing in a file is run, and beside it only weights in its own folder are opened.  No size in it is
trusted before it is compared with the numbers that are there, and memory is charged to a `Budget`
before it is taken.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import onnx
from onnx import AttributeProto, GraphProto, ModelProto, NodeProto, TensorProto, helper
from onnx.numpy_helper import from_array

from glassbox.engine.layer import Array
from glassbox.errors import short
from glassbox.files.foreign import kind_of
from glassbox.kernels.shapes import Shape

T = TypeVar("T")

OWN_DOMAINS = ("", "ai.onnx")  # of the operators that ONNX itself defines
KNOWN_DOMAINS = (*OWN_DOMAINS, "ai.onnx.ml")
MOST_AXES = 8  # of an array
NODE_BYTES = 8192  # of a node with its layer, and so that no file has tens of thousands
MOST_WORDS = 300  # characters of what ONNX's checker says
ITEM_BYTES = 100  # of a name or a number in a node
KINDS = {number: name for name, number in TensorProto.DataType.items()}  # of tensors
# The types of tensors that are read, and where a "Constant" keeps a value that is not a tensor.
TYPES = {"FLOAT": "<f4", "DOUBLE": "<f8", "INT64": "<i8", "INT32": "<i4", "BOOL": "?"}
VALUES = {"value_float": "f4", "value_floats": "f4", "value_int": "i8", "value_ints": "i8"}
# The types of attributes that are read; `Node.get` refuses others where an operator asks for them.
ATTRIBUTES = {"INT": int, "FLOAT": float, "STRING": bytes, "INTS": tuple, "FLOATS": list}
# What inconsistent files can raise in the layers and in NumPy.
WRONG = (
    onnx.checker.ValidationError, ValueError, TypeError, LookupError, ArithmeticError,
    RecursionError,
)  # fmt: skip


@contextmanager
def blame(name: str) -> Iterator[None]:
    """Put `name` in front of the message of any error inside, which becomes a ValueError."""
    try:
        yield
    except WRONG as error:
        raise ValueError(f"{name}: {error}") from error


class Budget:
    """Limit on the memory that importing one file may take, in bytes.

    >>> Budget(1000).charge(20_000, "a small array")
    """

    ALLOWANCE = 64 * 2**20  # for any file, however small
    FACTOR = 25  # for each byte of it: a weight, and its 6 copies in each of 4 layers

    def __init__(self, size: int) -> None:
        self.limit, self.spent = self.ALLOWANCE + self.FACTOR * size, 0

    def charge(self, size: int, what: str) -> None:
        """Add `size` bytes; raise ValueError above the limit, before anything is allocated."""
        self.spent += size
        if self.spent > self.limit:
            raise ValueError(
                f"{what} would take memory to {self.spent:,} bytes, above the {self.limit:,} for a "
                "file of this size; use smaller images, or share weights among fewer nodes"
            )


@dataclass(frozen=True, eq=False)
class Node:
    """One operator of a graph; one that ONNX does not define has its domain in front."""

    operator: str
    name: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: Mapping[str, Any]

    @property
    def label(self) -> str:
        """Return the operator and the name of the node, or of its output."""
        return f"{' '.join(self.operator.split())[:60]} {short(self.name or self.outputs[0])}"

    def get(self, name: str, default: T) -> T:
        """Return an attribute; ValueError where its type is not that of the default."""
        value = self.attributes.get(name, default)
        if type(value) is not type(default):
            raise ValueError(f"attribute {name}={short(value)}; expected a value like {default!r}")
        return value


@dataclass(frozen=True)
class Graph:
    """A model as plain values."""

    opset: int
    input: str
    dims: Shape  # of the input, samples first, 0 where open
    dtype: np.dtype
    outputs: tuple[str, ...]
    nodes: tuple[Node, ...]
    constants: Mapping[str, Array]
    budget: Budget
    arithmetic: Mapping[str, Node] = field(default_factory=dict)  # on shapes; `fold` fills it


def parse(data: bytes) -> ModelProto:
    """Return the model in the bytes of a file; ValueError where they are not one."""
    try:
        return onnx.load_model_from_string(data)
    except Exception as error:  # protobuf's own kinds of errors differ from version to version
        raise ValueError(f"not an ONNX model ({kind_of(data) or short(str(error))})") from error


def decode(model: ModelProto, budget: Budget) -> Graph:
    """Check a model and return it as plain values; raises ValueError where it is inconsistent."""
    graph = model.graph
    _check_complete(graph)
    try:
        onnx.checker.check_model(model)
    except onnx.checker.ValidationError as error:  # which quotes names of any length
        raise ValueError(" ".join(str(error).split())[:MOST_WORDS]) from error
    nodes = [_node(node, budget) for node in graph.node]
    tensors = dict(_tensors(graph))
    readable = {name: t for name, t in tensors.items() if KINDS.get(t.data_type) in TYPES}
    inputs = [value for value in graph.input if value.name not in tensors]
    names = [name for node in nodes for name in node.outputs if name]
    names += [thing.name for thing in (*graph.initializer, *inputs)]
    if len(set(names)) < len(names):
        raise ValueError("two of its values have the same name")
    if len(inputs) != 1:
        raise ValueError(f"it has {len(inputs)} inputs; expected one: the images")
    tensor = inputs[0].type.tensor_type
    kind = KINDS.get(tensor.elem_type, "unknown")
    dims = tuple(max(0, size.dim_value) for size in tensor.shape.dim[: MOST_AXES + 1])
    if kind not in ("FLOAT", "DOUBLE") or not 2 <= len(dims) <= MOST_AXES:
        raise ValueError(
            f"its input has the type {kind} and the shape {dims}; expected FLOAT or DOUBLE, and "
            "(samples, channels, height, width)"
        )
    return Graph(
        next((o.version for o in model.opset_import if o.domain in OWN_DOMAINS), 0),
        inputs[0].name,
        dims,
        np.dtype(TYPES[kind]),
        tuple(value.name for value in graph.output),
        tuple(node for node in nodes if node.operator != "Constant"),
        {name: read_tensor(name, t, budget) for name, t in readable.items()},
        budget,
    )


def read_beside(model: ModelProto, folder: Path, budget: Budget) -> None:
    """Move weights in files beside a model into it; ValueError where they are not what it says.

    Such a file is a plain one in the folder of the model, which its name cannot leave.
    """
    sizes = dict[str, int]()
    for tensor in _outside(model.graph):
        facts = {entry.key: entry.value for entry in tensor.external_data}
        name = facts.get("location", "")
        whose = f"the numbers of {short(tensor.name)} in {short(name)}"
        plain = Path(name).name == name not in ("", "..") and not set(name) & set("/\\:\0")
        path = folder / name
        if not plain or os.path.islink(path) or not os.path.isfile(path):
            raise ValueError(f"{whose}: no plain file of that name in the folder of the model")
        with path.open("rb") as file:
            if name not in sizes:
                sizes[name] = os.fstat(file.fileno()).st_size
                budget.limit += (Budget.FACTOR + 1) * sizes[name]
            start = int(facts.get("offset", 0))
            length = int(facts.get("length", sizes[name] - start))
            dims, kind = tensor.dims[: MOST_AXES + 1], KINDS.get(tensor.data_type, "unknown")
            item = np.dtype(TYPES.get(kind, "V0")).itemsize
            if min(start, length, *dims, 0) < 0 or start + length > sizes[name]:
                raise ValueError(f"{whose}: {length:,} bytes from {start:,} of {sizes[name]:,}")
            if len(dims) > MOST_AXES or length != math.prod(dims) * item:
                raise ValueError(f"{whose}: {length:,} bytes for {kind} {tuple(dims)}")
            budget.charge(length, whose)
            file.seek(start)
            tensor.raw_data = file.read(length)
        del tensor.external_data[:]
        tensor.data_location = TensorProto.DEFAULT


def _outside(graph: GraphProto) -> list[TensorProto]:
    """Return the tensors whose numbers are in other files."""
    inside = [given.t for node in graph.node for given in node.attribute if given.HasField("t")]
    return [
        tensor
        for tensor in (*graph.initializer, *inside)
        if tensor.external_data or tensor.data_location == TensorProto.EXTERNAL
    ]


def _check_complete(graph: GraphProto) -> None:
    """Refuse tensors in other files (those of a model's folder are read before), sparse ones."""
    for tensor in _outside(graph):
        raise ValueError(
            f"the numbers of {short(tensor.name)} are in another file; pass the path of the model, "
            "or save it as one file (onnx.save with save_as_external_data=False)"
        )
    if graph.sparse_initializer:
        raise ValueError("it has sparse weights; save them dense")


def _node(node: NodeProto, budget: Budget) -> Node:
    numbers = sum(len(given.ints) + len(given.floats) for given in node.attribute)
    items = len(node.input) + len(node.output) + numbers
    budget.charge(NODE_BYTES + ITEM_BYTES * items, f"the node {short(node.name or node.op_type)}")
    if not node.output or not node.output[0]:
        raise ValueError(f"a node {short(node.op_type)} has no output")
    operator = node.op_type if node.domain in KNOWN_DOMAINS else f"{node.domain}.{node.op_type}"
    attributes: dict[str, Any] = {}
    for given in node.attribute:
        kind = ATTRIBUTES.get(AttributeProto.AttributeType.Name(given.type))
        attributes[given.name] = kind and kind(helper.get_attribute_value(given))
        if node.op_type == "ConstantOfShape" and KINDS.get(given.t.data_type) in TYPES:
            attributes[given.name] = read_tensor("value", given.t, budget)
    return Node(operator, node.name, tuple(node.input), tuple(node.output), attributes)


def _tensors(graph: GraphProto) -> Iterator[tuple[str, TensorProto]]:
    """Yield every constant by its name: the initializers, then the values of "Constant" nodes."""
    yield from ((tensor.name, tensor) for tensor in graph.initializer)
    for node in graph.node:
        if node.op_type == "Constant":
            for given in node.attribute:
                if given.name in VALUES:
                    numbers = np.asarray(helper.get_attribute_value(given), VALUES[given.name])
                    yield node.output[0], from_array(numbers)
                else:  # "value"; an attribute of another kind has a tensor without a type
                    yield node.output[0], given.t


def read_tensor(name: str, tensor: TensorProto, budget: Budget) -> Array:
    """Return the numbers of a tensor, once its shape is known to promise as many as there are."""
    dtype, dims = np.dtype(TYPES[KINDS[tensor.data_type]]), tuple(tensor.dims[: MOST_AXES + 1])
    raw, values = tensor.raw_data, getattr(tensor, helper.tensor_dtype_to_field(tensor.data_type))
    held = len(raw) / dtype.itemsize if tensor.HasField("raw_data") else len(values)
    if len(dims) > MOST_AXES or min(dims, default=0) < 0 or math.prod(dims) != held:
        raise ValueError(f"{short(name)} has the shape {dims} but holds {held:g} numbers")
    budget.charge(ITEM_BYTES + math.prod(dims) * dtype.itemsize, f"the constant {short(name)}")
    array = np.frombuffer(raw, dtype) if raw else np.fromiter(values, dtype, len(values))
    return array.reshape(dims)
