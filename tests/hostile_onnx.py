"""ONNX files of valid protobuf that ask for what no honest file asks.

Opened by hostile.py, which limits and measures memory.
"""

from __future__ import annotations

import functools
import math
import os
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from google.protobuf.message import Message
from hostile import SIZES
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper

from CNN import CNN
from Filters import AvgPool2D, Conv2D, GlobalAvgPool2D, MaxPool2D, Residual
from glassbox.bridges.onnx import export, import_model
from glassbox.bridges.onnx_decode import Budget
from glassbox.bridges.onnx_operators import OPERATORS
from MLP import BatchNorm, Dense, Dropout

NAME = "hostile.onnx"
FOLDER = Path(tempfile.mkdtemp(prefix="hostile"))
BESIDE = 40_000  # bytes of a file beside the model
MOST = 1_000_000  # bytes that a part grows to when some of it is repeated
SMALL = 100_000  # numbers in all layers: such a network is also used
COUNTS = (1, 3, 20, 300, 2000, 5000)  # of nodes
SHAPES = ((1, 8, 8), (1, 4096, 4096), (2**24, 1, 1), (1, 1, 2**24), (2**10, 2**7, 2**7), (2**24,),
          (1, 1000, 1000), (64, 512, 512))  # fmt: skip
MORE_SHAPES = ((0, 8, 8), (1, 2**31, 2**31), (3,), (1, 0, 0), (2, 2**20, 3), (2**25, 1, 1))
FLOATS = (0.0, -1.0, 1e-45, 1e38, math.inf, -math.inf, math.nan)
WORDS = ("", "x", "y", "../x", "/dev/zero", "beside", "pipe", "link", "\0", "é" * 300, "a" * 6000,
         "[" * 3000, '{"name":' * 500, "NaN", "1e999", "-1", str(2**70), "Gemm", "If")  # fmt: skip
# For a chain of one operator: its further inputs, its attributes.  These leave an image its shape.
Kinds = tuple[tuple[str, tuple[str, ...], dict[str, Any]], ...]
KEEPING: Kinds = (
    ("AveragePool", (), {"kernel_shape": [1, 1]}), ("MaxPool", (), {"kernel_shape": [1, 1]}),
    ("AveragePool", (), {"kernel_shape": [3, 3], "auto_pad": "SAME_UPPER"}), ("Relu", (), {}),
    ("MaxPool", (), {"kernel_shape": [3, 3], "pads": [1, 1, 1, 1]}), ("Mul", ("one",), {}),
    ("Conv", ("kernel",), {}), ("Tanh", (), {}), ("Identity", (), {}), ("Dropout", (), {}),
    ("Add", ("one",), {}), ("Softmax", (), {"axis": 1}), ("LogSoftmax", (), {}),
    ("Transpose", (), {"perm": [0, 1, 2, 3]}), ("Reshape", ("same",), {}), ("Sub", ("zero",), {}),
)  # fmt: skip
# These change it, or cannot be.
CHANGING: Kinds = (
    ("MaxPool", (), {"kernel_shape": [2, 2], "pads": [1, 1, 1, 1], "ceil_mode": 1}),
    ("MaxPool", (), {"kernel_shape": [2, 2], "dilations": [2**20, 2**20]}), ("Flatten", (), {}),
    ("Conv", ("kernel",), {"pads": [2000, 2000, 2000, 2000]}), ("Pad", ("pads",), {}),
    ("Conv", ("kernel",), {"strides": [2**31, 1]}), ("Pad", ("huge",), {}), ("LSTM", (), {}),
    ("Div", ("zero",), {}), ("Sub", ("nan",), {}), ("Mul", ("column",), {}),
    ("Transpose", (), {"perm": [0, 2, 3, 1]}), ("Transpose", (), {"perm": [0, 3, 1, 2]}),
    ("Reshape", ("shape",), {}), ("Reshape", ("odd",), {}), ("GlobalAveragePool", (), {}),
    ("BatchNormalization", ("row", "row", "row", "row"), {}), ("Clip", ("zero", "one"), {}),
    ("Gemm", ("column",), {"alpha": 1e30}), ("MatMul", ("row",), {}), ("Squeeze", ("odd",), {}),
    ("ReduceMean", (), {"axes": [2, 3]}), ("Concat", (), {"axis": 1}), ("Cast", (), {"to": 11}),
    ("Scaler", (), {"offset": [0.0] * 5000, "scale": [1.0] * 5000}),
)  # fmt: skip
# The same on constants.
ON_CONSTANTS: Kinds = (
    ("Transpose", (), {}), ("Transpose", (), {"perm": [1, 0]}), ("Mul", ("row",), {}),
    ("Add", ("column",), {}), ("Sub", ("row",), {}), ("Div", ("zero",), {}), ("Sqrt", (), {}),
    ("Neg", (), {}), ("Reciprocal", (), {}), ("Reshape", ("shape",), {}), ("Cast", (), {"to": 11}),
    ("Cast", (), {"to": 7}), ("Reshape", ("odd",), {}), ("Unsqueeze", ("zeros",), {}),
    ("Squeeze", (), {}), ("Identity", (), {}), ("Expand", ("huge",), {}), ("Tile", ("huge",), {}),
    ("ConstantOfShape", (), {}), ("Shape", (), {}), ("Range", ("zeros", "one"), {}),
)  # fmt: skip


def constants(random: np.random.Generator) -> list[TensorProto]:
    """What the nodes of a bomb name: some numbers, some of them large."""
    many = int(random.choice([3, 100, 700, 3000]))
    made = {
        "one": np.float32(1), "zero": np.float32(0), "nan": np.float32(math.nan),
        "row": np.ones((1, many), np.float32), "column": np.ones((many, 1), np.float32),
        "kernel": np.ones((1, 1, 1, 1), np.float32), "c": np.ones((many, 1), np.float32),
        "shape": np.array([0, -1]), "same": np.array([0, 0, 0, 0]),
        "odd": random.choice([-1, 0, 1, 2, 2**40], 4),
        "pads": np.array([0, 0, 1, 1, 0, 0, 1, 1]), "huge": random.choice([0, 1, 2**20], 8),
        "zeros": np.zeros(1, np.int64),
    }  # fmt: skip
    return [numpy_helper.from_array(np.asarray(array), name) for name, array in made.items()]


def chain(
    random: np.random.Generator, start: str, table: Kinds, count: int, prefix: str
) -> list[NodeProto]:
    """One to three operators, again and again."""
    kinds = [table[k] for k in random.integers(len(table), size=random.integers(1, 4))]
    nodes, x = [], start
    for number in range(count):
        operator, more, attributes = kinds[number % len(kinds)]
        inputs = [x, x] if operator == "Concat" else [x, *more]
        x = f"{prefix}{number}"
        domain = "ai.onnx.ml" if operator == "Scaler" else None
        nodes.append(helper.make_node(operator, inputs, [x], domain=domain, **attributes))
    return nodes


def on_images(random: np.random.Generator, count: int) -> list[NodeProto]:
    table = KEEPING if random.random() < 0.7 else KEEPING + CHANGING
    return chain(random, "images", table, count, "x")


def on_constants(random: np.random.Generator, count: int) -> list[NodeProto]:
    """Weights or a shape that take long to work out, and a layer of them."""
    nodes = chain(random, "c", ON_CONSTANTS, count, "w")
    last = nodes[-1].output[0]
    operator = str(random.choice(["Gemm", "Mul", "Add", "Conv", "Reshape", "Pad"]))
    return [*nodes, helper.make_node(operator, ["images", last], ["x"])]


def of_shapes(random: np.random.Generator, count: int) -> list[NodeProto]:
    """A shape that doubles with each step."""
    operator = str(random.choice(["Concat", "Mul", "Add", "Gather"]))
    attributes = {"axis": 0} if operator in ("Concat", "Gather") else {}
    nodes, x = [helper.make_node("Shape", ["images"], ["s"])], "s"
    for number in range(count):
        nodes.append(helper.make_node(operator, [x, x], [x := f"s{number}"], **attributes))
    return [*nodes, helper.make_node("Reshape", ["images", x], ["x"])]


def shortcuts(random: np.random.Generator, count: int) -> list[NodeProto]:
    """Blocks beside each other, within each other, and around nothing."""
    nodes, values = [], ["images"]
    reach = int(random.choice([1, 2, count + 1]))
    for number in range(count):
        other = values[-min(len(values), int(random.integers(1, reach + 1)))]
        values += [f"r{number}", f"a{number}"]
        nodes.append(helper.make_node("Relu", [values[-3]], [values[-2]]))
        nodes.append(helper.make_node("Add", [values[-2], other], [values[-1]]))
    return nodes


def drawn(random: np.random.Generator, count: int) -> list[NodeProto]:
    """Any operators on any values, which may come later, or be their own."""
    names = ["images", "c", "one", "row", "odd", *(f"x{k}" for k in range(min(count, 50)))]
    operators, sizes = [*OPERATORS, "Shape", "If", "Loop", "Gather"], SIZES[:-2]
    nodes = []
    for number in range(min(count, 50)):
        inputs = [str(name) for name in random.choice(names, random.integers(0, 5))]
        node = helper.make_node(str(random.choice(operators)), inputs, [f"x{number}"])
        for name in random.choice(["axis", "pads", "kernel_shape", "strides", "to", "perm"], 2):
            node.attribute.append(
                helper.make_attribute(str(name), random.choice(sizes, 2).tolist())
            )
        nodes.append(node)
    return nodes


BOMBS = (on_images, on_images, on_constants, of_shapes, shortcuts, drawn)


def bomb(random: np.random.Generator) -> ModelProto:
    """A graph that grows: a chain of many nodes, on images that may be large."""
    shapes = SHAPES if random.random() < 0.8 else MORE_SHAPES
    shape = shapes[random.integers(len(shapes))]
    nodes = BOMBS[random.integers(len(BOMBS))](random, int(random.choice(COUNTS)))
    if random.random() < 0.3:  # another chain, on what this one made
        count = int(random.choice(COUNTS[:4]))
        more = chain(random, nodes[-1].output[0], KEEPING + CHANGING, count, "y")
        nodes = [*nodes, *more]
    ends = [
        helper.make_tensor_value_info("images", 1 + 10 * (random.random() < 0.1), ["n", *shape])
    ]
    out = [helper.make_tensor_value_info(nodes[-1].output[0], 1, [])]
    graph = helper.make_graph(nodes, "bomb", ends, out, constants(random))
    opset = int(random.choice([6, 13, 18]))
    opsets = [helper.make_opsetid("", opset), helper.make_opsetid("ai.onnx.ml", 3)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=8)


@functools.cache
def honest() -> list[ModelProto]:
    """Networks as they are exported."""
    deep = CNN(
        Conv2D(2, bias=False), BatchNorm(), Residual(Conv2D(2, activation=None)), AvgPool2D(2),
        Dropout(0.1), Dense(3, "softmax"), loss="cross_entropy",
    )  # fmt: skip
    pooled = CNN(
        Conv2D(4, 3, padding="same"), MaxPool2D(2), Conv2D(6, 1), GlobalAvgPool2D(), Dense(3)
    )
    networks = [deep.build((1, 8, 8)), pooled.build((3, 8, 8)), CNN(Dense(5), Dense(3)).build((9,))]
    return [export(network) for network in networks]


def outside(model: ModelProto, random: np.random.Generator) -> None:
    """Say that weights are in other files, rightly or not."""
    weights = model.graph.initializer
    if len(weights) and random.random() < 0.2:  # many that are all of one file
        weights.extend([weights[0]] * int(random.choice(COUNTS)))
    for number, tensor in enumerate(weights):
        if random.random() < 0.5:
            continue
        length = len(tensor.raw_data)
        tensor.ClearField("raw_data")
        tensor.name = tensor.name if random.random() < 0.9 else f"w{number}"
        tensor.data_location = TensorProto.EXTERNAL
        facts: dict[str, Any] = {"location": "beside", "offset": 0, "length": length}
        if random.random() < 0.1:
            facts[str(random.choice([*facts, "checksum"]))] = random.choice([*WORDS, *SIZES])
        for key, value in facts.items():
            tensor.external_data.add(key=key, value=str(value))
        if random.random() < 0.1:
            tensor.dims[:] = [abs(int(n)) for n in random.choice(SIZES[:-1], random.integers(6))]


def spoil(message: Message, random: np.random.Generator) -> None:
    """Replace, repeat, move or remove one field, perhaps of a part of a part."""
    given = [field for field, _ in message.ListFields()]
    fields = given if given and random.random() < 0.9 else message.DESCRIPTOR.fields
    field = fields[random.integers(len(fields))]
    value, deeper = getattr(message, field.name), random.random() < 0.8
    if not field.is_repeated:
        if field.cpp_type != field.CPPTYPE_MESSAGE:
            setattr(message, field.name, odd(field, random))
        elif deeper:
            spoil(value, random)
        else:
            message.ClearField(field.name)
    elif not len(value):
        value.add() if field.cpp_type == field.CPPTYPE_MESSAGE else value.append(odd(field, random))
    else:
        place, other = random.integers(len(value), size=2)
        if deeper and field.cpp_type == field.CPPTYPE_MESSAGE:
            spoil(value[place], random)
        elif deeper:
            value[place] = odd(field, random)
        elif random.random() < 0.3:
            most = MOST // max(1, message.ByteSize())
            value.extend([value[place]] * min(most, int(random.choice(COUNTS))))
        elif random.random() < 0.3:
            del value[place]
        elif field.cpp_type == field.CPPTYPE_MESSAGE:
            value[place].CopyFrom(value[other])
        else:
            value[place] = value[other]


def odd(field: Any, random: np.random.Generator) -> Any:
    """A value of the type of a field that no honest file has there."""
    if field.cpp_type == field.CPPTYPE_STRING:
        text = str(random.choice(WORDS))
        return text if field.type == field.TYPE_STRING else text.encode()
    if field.cpp_type in (field.CPPTYPE_FLOAT, field.CPPTYPE_DOUBLE):
        return float(random.choice(FLOATS))
    if field.cpp_type == field.CPPTYPE_ENUM:  # a closed one takes no other
        return int(random.choice([value.number for value in field.enum_type.values]))
    most = 2 ** (31 if field.cpp_type == field.CPPTYPE_INT32 else 63) - 1
    return min(int(random.choice(SIZES)), most) * (-1 if random.random() < 0.2 else 1)


def case(seed: int) -> tuple[bytes, int]:
    """A file, and how many bytes of memory it may take."""
    random, beside = np.random.default_rng([78, seed]), 0
    if seed % 2:
        model = bomb(random)
        changes = int(random.choice([0, 0, 1]))
    else:
        model = ModelProto()
        model.CopyFrom(honest()[random.integers(len(honest()))])
        changes = int(random.integers(5))
        if random.random() < 0.3:
            beside = BESIDE
            outside(model, random)
    for _ in range(changes):
        spoil(model, random)
    data = model.SerializeToString()
    return data, Budget(len(data) + beside).limit + 20 * len(data)


def open_file(data: bytes) -> None:
    """Import it from a folder with a few other things in it, and use it where it is small."""
    for name in ("beside", "pipe", "link"):
        if not os.path.lexists(FOLDER / name):
            (FOLDER / "beside").write_bytes(bytes(BESIDE))
            os.mkfifo(FOLDER / "pipe")
            (FOLDER / "link").symlink_to("beside")
    (FOLDER / NAME).write_bytes(data)
    network = import_model(FOLDER / NAME, kernels="numpy", threads=1)
    shapes = [network.input_shape, *(layer.output_shape for layer in network.layers)]
    if sum(map(math.prod, shapes)) < SMALL:
        network.forward(np.zeros((1, *network.input_shape), network.dtype))
