"""ONNX: write a network for other programs, and open other programs' networks.

`export` writes what a built network computes at inference; `import_model` makes a network of a
file.  Both need the package `onnx`.  What is supported: `docs/bridges.md`.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from typing import Any

import numpy as np

from CNN import CNN
from Filters import AvgPool2D, Conv2D, GlobalAvgPool2D, MaxPool2D, Pooling, Residual
from glassbox.atomic import write_atomically
from glassbox.data.dataset import Scaling
from glassbox.engine.layer import Layer, LeakyReLU, Sigmoid
from glassbox.engine.more_layers import Identity, LogSoftmax, ReLU, ReLU6, Softmax, Tanh
from glassbox.files.model_file import array_refs
from glassbox.kernels.shapes import paddings
from MLP import BatchNorm, Dense, Dropout, Flatten

try:
    import onnx
    from onnx import TensorProto, helper, numpy_helper
except ImportError as error:
    raise ImportError("glassbox.bridges.onnx needs the package onnx: pip install onnx") from error

from glassbox.bridges.onnx_reader import import_model

__all__ = ["export", "import_model"]

OPSET, IR_VERSION = 18, 8  # old enough for most programs
OPSETS = range(13, onnx.defs.onnx_opset_version() + 1)  # that can be asked for
AXES_AS_INPUT = 18  # from this version on, of "ReduceMean" and the like
INPUT, OUTPUT = "images", "scores"
PADS = (0, 2, 1, 3)  # where ONNX's top, left, bottom, right are in (top, bottom, left, right)


def export(
    network: CNN,
    path: str | os.PathLike[str] | None = None,
    *,
    raw: bool | None = None,
    opset: int = OPSET,
) -> onnx.ModelProto:
    """Return a network as an ONNX model, and write it to a file if a path is given.

    The input "images" is (samples, channels, height, width) in float32, for any number of samples;
    the output "scores" equals `network.scores`, (samples, classes), softmax included.  Weights have
    their names in PyTorch ("conv1.weight").  Class names and scaling are in the metadata.

    Parameters
    ----------
    network : CNN
        A built network; one of float64 is written as float32 too.
    path : str or path, optional
        Where the file goes, all of it or nothing.
    raw : bool, optional
        True: the input is pixels as they are stored, as for `predict`, and the first nodes scale
        them as the network was trained (to 0..1 if it was not trained).  False: the input is scaled
        images.  By default True for a network of images that has a scaling.
    opset : int
        The version of ONNX's operators, 13 or later.

    Returns
    -------
    onnx.ModelProto
        The model, which has passed ONNX's own checker and shape inference.

    Raises
    ------
    ValueError
        If the network is not built, has a layer without a counterpart, or for an unknown opset.  A
        layer of your own needs a method `to_onnx(graph, x, name)`; see `Graph.layer`.

    Examples
    --------
    >>> from Filters import Conv2D, MaxPool2D
    >>> from MLP import Dense
    >>> network = CNN(Conv2D(4, 3), MaxPool2D(2), Dense(10)).build((1, 8, 8))
    >>> model = export(network)
    >>> [node.op_type for node in model.graph.node]
    ['Conv', 'LeakyRelu', 'MaxPool', 'Flatten', 'Gemm', 'Sigmoid']
    >>> [weight.name for weight in model.graph.initializer]
    ['conv1.weight', 'conv1.bias', 'dense1.weight', 'dense1.bias']
    """
    if network.parameters is None:
        raise ValueError(
            "export: the network is not built yet: call fit, or build((channels, height, width))"
        )
    if opset not in OPSETS:
        raise ValueError(f"opset: expected {OPSETS[0]} to {OPSETS[-1]}, got {opset!r}")
    if raw is None:
        raw = network.scaling is not None and len(network.input_shape) == 3
    if raw and len(network.input_shape) != 3:
        raise ValueError(
            f"export: raw=True is for images, but the network takes rows {network.input_shape}; "
            "pass raw=False"
        )
    graph, x = Graph(opset), INPUT
    if raw:
        x = _scaled(graph, network.scaling or Scaling("unit"), x, network.input_shape[0])
    for layer in network.layers:
        x = graph.layer(layer, x, layer.name)
    if network.output_activation is not None:  # cross-entropy took the softmax out of the layers
        x = graph.layer(network.output_activation, x, "head")
    model = graph.model(x, network)
    if path is not None:
        write_atomically(path, model.SerializeToString(deterministic=True))
    return model


class Graph:
    """The nodes and weights of a graph that is being written; a value is known by its name."""

    def __init__(self, opset: int = OPSET) -> None:
        self.opset = opset
        self.nodes: list[onnx.NodeProto] = []
        self.weights: list[onnx.TensorProto] = []
        self._taken = {INPUT, OUTPUT}

    def _unused(self, name: str) -> str:
        while name in self._taken:  # two values may not share a name
            name += "_"
        self._taken.add(name)
        return name

    def add(self, operator: str, inputs: list[str], name: str, **attributes: Any) -> str:
        """Append a node; returns the name of its output, which is the node's own."""
        name = self._unused(name)
        self.nodes.append(helper.make_node(operator, inputs, [name], name=name, **attributes))
        return name

    def keep(self, name: str, values: Any) -> str:
        """Append a constant, numbers with a point in float32; returns its name."""
        array = np.asarray(values)
        array = np.asarray(array, np.float32 if array.dtype.kind == "f" else np.int64, "C")
        self.weights.append(numpy_helper.from_array(array, self._unused(name)))
        return self.weights[-1].name

    def keep_arrays(self, layer: Layer, name: str) -> list[str]:
        """Append the arrays of a layer under their names in PyTorch, in the order of ONNX."""
        return [
            self.keep(f"{name}.{ref.name.rpartition('.')[2]}", ref.arrays[ref.key])
            for ref in array_refs([layer])
        ]

    def layer(self, layer: Any, x: str, name: str) -> str:
        """Append the nodes of a layer that takes the value x; returns its output.

        They come from the table `WRITERS`, or from the method `to_onnx(graph, x, name)` of the
        layer's own class: one that is derived from ours may compute something else.
        """
        if type(layer) in WRITERS:
            return WRITERS[type(layer)](self, layer, x, name)
        if "to_onnx" in vars(type(layer)):
            return str(layer.to_onnx(self, x, name))
        raise ValueError(
            f"export: {layer.label} has no counterpart in ONNX; give its class a method "
            "to_onnx(graph, x, name) -> the name of its output, or replace it by one of "
            + ", ".join(sorted(kind.__name__ for kind in WRITERS))
        )

    def model(self, x: str, network: CNN) -> onnx.ModelProto:
        """Return all of it as a checked model whose output is the value x."""
        if self.nodes and self.nodes[-1].output[0] == x:
            self.nodes[-1].output[0] = OUTPUT
        else:  # no layer does anything, as where there is only Identity()
            self.nodes.append(helper.make_node("Identity", [x], [OUTPUT], name=OUTPUT))
        ends = [
            helper.make_tensor_value_info(name, TensorProto.FLOAT, ["samples", *shape])
            for name, shape in ((INPUT, network.input_shape), (OUTPUT, network.output_shape))
        ]
        model = helper.make_model(
            helper.make_graph(self.nodes, "network", ends[:1], ends[1:], self.weights),
            producer_name="glassbox",
            opset_imports=(opsets := [helper.make_opsetid("", self.opset)]),
            ir_version=max(IR_VERSION, helper.find_min_ir_version_for(opsets)),
        )
        facts: dict[str, Any] = {"glassbox.classes": list(network.classes)}
        if network.scaling is not None:
            facts["glassbox.scaling"] = network.scaling.to_json()
        facts = {key: json.dumps(value, ensure_ascii=False) for key, value in facts.items()}
        helper.set_model_props(model, facts)
        onnx.checker.check_model(model, full_check=True)
        return model


# --- layers ----------------------------------------------------------------------------------


def _conv(graph: Graph, conv: Conv2D, x: str, name: str) -> str:
    x = graph.add(
        "Conv", [x, *graph.keep_arrays(conv, name)], name, kernel_shape=conv.kernel_size,
        strides=conv.stride, dilations=conv.dilation, pads=[conv.window.padding[k] for k in PADS],
    )  # fmt: skip
    return graph.layer(conv.activation, x, f"{name}.activation")


def _pooling(graph: Graph, pool: Pooling, x: str, name: str) -> str:
    """Write the border that the windows touch, so that the ceil mode of a program has no effect.

    Only a mean that counts its padding must tell it from the pixels that ceil mode adds.
    """
    border, operator = pool.window.padding, "MaxPool"
    attributes: dict[str, Any] = {"dilations": pool.dilation}
    if isinstance(pool, AvgPool2D):
        operator, attributes = "AveragePool", {"count_include_pad": int(pool.count_include_pad)}
        size = (pool.input_shape[1], pool.input_shape[2])
        rows, columns = paddings(pool.padding, size, pool.kernel_size, pool.stride, pool.dilation)
        if pool.count_include_pad and (*rows, *columns) != border:
            border, attributes["ceil_mode"] = (*rows, *columns), 1
    attributes |= {"kernel_shape": pool.kernel_size, "strides": pool.stride}
    return graph.add(operator, [x], name, pads=[border[k] for k in PADS], **attributes)


def _global_pool(graph: Graph, layer: GlobalAvgPool2D, x: str, name: str) -> str:
    x = graph.add("GlobalAveragePool", [x], name)
    return graph.add("Flatten", [x], f"{name}.flatten", axis=1)


def _dense(graph: Graph, dense: Dense, x: str, name: str) -> str:
    if len(dense.input_shape) > 1:
        x = graph.add("Flatten", [x], f"{name}.flatten", axis=1)
    x = graph.add("Gemm", [x, *graph.keep_arrays(dense, name)], name, transB=1)
    return graph.layer(dense.activation, x, f"{name}.activation")


def _dropout(graph: Graph, dropout: Dropout, x: str, name: str) -> str:
    """Write a Dropout, which passes everything on at inference but tells what was trained."""
    return graph.add("Dropout", [x, graph.keep(f"{name}.ratio", dropout.rate)], name)


def _batch_norm(graph: Graph, norm: BatchNorm, x: str, name: str) -> str:
    inputs, momentum = [x, *graph.keep_arrays(norm, name)], 1 - norm.momentum  # of the old average
    return graph.add("BatchNormalization", inputs, name, epsilon=norm.epsilon, momentum=momentum)


def _relu6(graph: Graph, layer: ReLU6, x: str, name: str) -> str:
    ends = [graph.keep(f"{name}.{word}", value) for word, value in (("min", 0.0), ("max", 6.0))]
    return graph.add("Clip", [x, *ends], name)


def _residual(graph: Graph, block: Residual, x: str, name: str) -> str:
    y, straight = x, x
    for layer in block.layers:
        y = graph.layer(layer, y, f"{name}.{layer.name}")
    if block.shortcut is not None:
        straight = graph.layer(block.shortcut, x, f"{name}.{block.shortcut.name}")
    x = graph.add("Add", [y, straight], name)
    return graph.layer(block.activation, x, f"{name}.activation")


Writer = Callable[[Graph, Any, str, str], str]


def _node(operator: str, **attributes: Any) -> Writer:
    """Return a writer of a single node."""
    return lambda graph, layer, x, name: graph.add(operator, [x], name, **attributes)


WRITERS: dict[type[Layer], Writer] = {
    AvgPool2D: _pooling,
    BatchNorm: _batch_norm,
    Conv2D: _conv,
    Dense: _dense,
    Dropout: _dropout,
    Flatten: _node("Flatten", axis=1),
    GlobalAvgPool2D: _global_pool,
    Identity: lambda graph, layer, x, name: x,
    LeakyReLU: lambda graph, f, x, name: graph.add("LeakyRelu", [x], name, alpha=f.slope),
    LogSoftmax: _node("LogSoftmax", axis=1),
    MaxPool2D: _pooling,
    ReLU: _node("Relu"),
    ReLU6: _relu6,
    Residual: _residual,
    Sigmoid: _node("Sigmoid"),
    Softmax: _node("Softmax", axis=1),
    Tanh: _node("Tanh"),
}


# --- raw pixels ------------------------------------------------------------------------------


def _scaled(graph: Graph, scaling: Scaling, x: str, channels: int) -> str:
    """Append the nodes that do what `Scaling.apply` does."""
    numbers = scaling.constants(channels)
    if scaling.name == "none":
        return x
    if numbers is not None:
        low, span, *channelwise = numbers
        values = [low, span, *(array.reshape(1, -1, 1, 1) for array in channelwise)]
        names = [
            graph.keep(f"scaling.{key}", value)
            for key, value in zip(("low", "span", "mean", "std"), values, strict=True)
        ]
        return _minus_over(graph, _minus_over(graph, x, *names[:2]), *names[2:])
    if scaling.name == "min-max":
        minus, spread, constant = _low_and_spread(graph, x)
    else:  # each image minus its mean over its standard deviation; one without contrast becomes 0
        minus = _over_image(graph, "ReduceMean", x)
        centered = graph.add("Sub", [x, minus], "scaling.centered")
        square = graph.add("Mul", [centered, centered], "scaling.square")
        spread = graph.add("Sqrt", [_over_image(graph, "ReduceMean", square)], "scaling.std")
        _, _, constant = _low_and_spread(graph, x)
    one = graph.keep("scaling.one", 1.0)
    divisor = graph.add("Where", [constant, one, spread], "scaling.divisor")
    return _minus_over(graph, x, minus, divisor)


def _minus_over(graph: Graph, x: str, low: str, divisor: str) -> str:
    x = graph.add("Sub", [x, low], "scaling.minus")
    return graph.add("Div", [x, divisor], "scaling.over")


def _over_image(graph: Graph, operator: str, x: str) -> str:
    """Append one number for each image: its mean, smallest or largest pixel."""
    if graph.opset < AXES_AS_INPUT:
        return graph.add(operator, [x], f"scaling.{operator}", keepdims=1, axes=[1, 2, 3])
    axes = graph.keep("scaling.axes", [1, 2, 3])
    return graph.add(operator, [x, axes], f"scaling.{operator}", keepdims=1)


def _low_and_spread(graph: Graph, x: str) -> tuple[str, str, str]:
    """Append the smallest pixel of each image, the largest less that, and whether that is 0."""
    low, high = (_over_image(graph, f"Reduce{which}", x) for which in ("Min", "Max"))
    spread = graph.add("Sub", [high, low], "scaling.spread")
    zero = graph.keep("scaling.zero", 0.0)
    return low, spread, graph.add("Equal", [spread, zero], "scaling.constant")
