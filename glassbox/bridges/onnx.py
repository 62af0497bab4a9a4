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
from glassbox.data.scaling import Scaling
from glassbox.engine.layer import Array, Layer, LeakyReLU, Sigmoid
from glassbox.engine.more_layers import Identity, ReLU, Softmax, Tanh
from glassbox.files.model_file import places
from glassbox.kernels.shapes import resolve_window
from MLP import BatchNorm, Dense, Dropout, Flatten

try:
    import onnx
    from onnx import TensorProto, helper, numpy_helper
except ImportError as error:
    raise ImportError("glassbox.bridges.onnx needs the package onnx: pip install onnx") from error

from glassbox.bridges.onnx_reader import open_model

__all__ = ["export", "import_model"]

OPSET, IR_VERSION = 18, 8  # old enough for most programs
INPUT, OUTPUT = "images", "scores"


def export(
    network: CNN, path: str | os.PathLike[str] | None = None, *, raw: bool = False
) -> onnx.ModelProto:
    """Return a network as an ONNX model, and write it to a file if a path is given.

    The input "images" is (samples, channels, height, width) in float32, for any number of samples;
    the output "scores" equals `network.scores`, (samples, classes), softmax included.  Weights have
    their names in PyTorch ("conv1.weight").  Class names and scaling are in the metadata.

    Parameters
    ----------
    network : CNN
        A built network.  One of float64 is written as float32 too.
    path : path-like, optional
        Where the file goes, all of it or nothing.
    raw : bool, default False
        False: the input is scaled images.  True: the input is pixels as they are stored, and the
        first nodes scale them as the network was trained (to 0..1 if it was not trained).

    Returns
    -------
    onnx.ModelProto
        The model, which has passed ONNX's own checker and shape inference.

    Raises
    ------
    ValueError
        If the network is not built, or has a layer without a counterpart, such as one of your own.

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
    graph = _Graph()
    x = INPUT
    if raw and len(network.input_shape) != 3:
        raise ValueError(
            f"export: raw=True is for images, but the network takes rows {network.input_shape}; "
            "pass raw=False"
        )
    if raw:
        x = _scaled(graph, network.scaling or Scaling("unit"), x, network.input_shape[0])
    for layer in network.layers:
        x = graph.layer(layer, x, layer.name)
    if network.output_activation is not None:  # cross-entropy took the softmax out of the layers
        x = graph.activated(x, network.output_activation, "head")
    model = graph.model(x, network)
    if path is not None:
        write_atomically(path, model.SerializeToString(deterministic=True))
    return model


def import_model(
    source: str | os.PathLike[str] | onnx.ModelProto,
    shape: tuple[int, int, int] | None = None,
    **settings: Any,
) -> CNN:
    """Return the network in an ONNX file, ready for inference and further training.

    `network.scores` equals the output of the file.  To train logits further, pass
    loss="cross_entropy"; the scores are then their softmax.  Images are (samples, channels, height,
    width), even if the file begins with a Transpose from channels-last; floats are not scaled.

    Parameters
    ----------
    source : path-like or onnx.ModelProto
        A file, or a model that is open already.
    shape : tuple of int, optional
        (channels, height, width) of an image, if the file leaves them open (in the order of the
        file), or if it takes images as rows of numbers.
    **settings
        For `CNN`, such as optimizer or kernels.  Unless set, the loss is cross-entropy if the file
        ends with a softmax, else the mean squared error, and dtype is that of the file.

    Returns
    -------
    CNN
        A built network.

    Raises
    ------
    ValueError
        If something in the file cannot be imported; the message names the file and every problem.
    OSError
        If the file cannot be read.

    Examples
    --------
    >>> from MLP import Dense
    >>> first = CNN(Dense(3, "tanh"), Dense(2, "softmax"), loss="cross_entropy").build((1, 2, 2))
    >>> again = import_model(export(first))
    >>> images = np.linspace(-1, 1, 8).reshape(2, 1, 2, 2)
    >>> again.layers, bool((again.scores(images) == first.scores(images)).all())
    ([<Flatten 'dense1.flatten': (1, 2, 2) -> (4,)>, <Dense 'dense1': (4,) -> (3,)>, \
<Dense 'dense2': (3,) -> (2,)>], True)
    """
    return open_model(source, shape, settings)


class _Graph:
    """The nodes and weights of a graph that is being written."""

    def __init__(self) -> None:
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
            self.keep(f"{name}.{place.name.rpartition('.')[2]}", place.arrays[place.key])
            for place in places([layer])
        ]

    def layer(self, layer: Layer, x: str, name: str) -> str:
        """Append what a layer does to the value x; returns its output."""
        if type(layer) in ACTIVATIONS:
            return self.activated(x, layer, name)
        if type(layer) not in LAYERS:  # one derived from ours may compute something else
            known = ", ".join(sorted(kind.__name__ for kind in [*LAYERS, *ACTIVATIONS]))
            raise ValueError(
                f"export: {layer.label} has no counterpart in ONNX; replace it by one of {known}"
            )
        return LAYERS[type(layer)](self, layer, x, name)

    def activated(self, x: str, activation: Layer, name: str) -> str:
        """Append an activation; identity needs no node."""
        if type(activation) not in ACTIVATIONS:
            raise ValueError(
                f"export: the activation {activation!r} of {name!r} has no counterpart in ONNX; "
                "use a leaky ReLU, ReLU, sigmoid, tanh, softmax or none"
            )
        operator = ACTIVATIONS[type(activation)]
        if not operator:
            return x
        attributes: dict[str, Any] = {"axis": 1} if isinstance(activation, Softmax) else {}
        if isinstance(activation, LeakyReLU) and operator == "LeakyRelu":
            attributes["alpha"] = activation.slope
        return self.add(operator, [x], name, **attributes)

    def model(self, x: str, network: CNN) -> onnx.ModelProto:
        """Return all of it as a checked model whose output is the value x."""
        if self.nodes and self.nodes[-1].output[0] == x:
            self.nodes[-1].output[0] = OUTPUT
        else:  # no layer does anything, as where there is only Identity()
            self.nodes.append(helper.make_node("Identity", [x], [OUTPUT], name=OUTPUT))
        graph = helper.make_graph(
            self.nodes,
            "network",
            [_value(INPUT, network.input_shape)],
            [_value(OUTPUT, network.output_shape)],
            self.weights,
        )
        model = helper.make_model(
            graph,
            producer_name="glassbox",
            opset_imports=[helper.make_opsetid("", OPSET)],
            ir_version=IR_VERSION,
        )
        helper.set_model_props(model, _facts(network))
        onnx.checker.check_model(model, full_check=True)
        return model


def _value(name: str, shape: tuple[int, ...]) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, TensorProto.FLOAT, ["samples", *shape])


def _facts(network: CNN) -> dict[str, str]:
    """Return what the nodes of a graph do not tell, as JSON."""
    facts: dict[str, Any] = {"glassbox.classes": list(network.classes)}
    if network.scaling is not None:
        facts["glassbox.scaling"] = network.scaling.to_json()
    return {key: json.dumps(value, ensure_ascii=False) for key, value in facts.items()}


# --- layers ----------------------------------------------------------------------------------


def _conv(graph: _Graph, conv: Conv2D, x: str, name: str) -> str:
    top, bottom, left, right = conv.window.padding
    x = graph.add(
        "Conv", [x, *graph.keep_arrays(conv, name)], name, kernel_shape=conv.kernel_size,
        strides=conv.stride, dilations=conv.dilation, pads=[top, left, bottom, right],
    )  # fmt: skip
    return graph.activated(x, conv.activation, f"{name}.activation")


def _pooling(graph: _Graph, pool: Pooling, x: str, name: str) -> str:
    """Write the border that the windows touch, so that the ceil mode of a program has no effect.

    Only a mean that counts its padding must tell it from the pixels that ceil mode adds.
    """
    border, operator = pool.window.padding, "MaxPool"
    attributes: dict[str, Any] = {}
    if isinstance(pool, AvgPool2D):
        operator, attributes = "AveragePool", {"count_include_pad": int(pool.count_include_pad)}
        geometry = (pool.label, pool.input_shape, pool.kernel_size, pool.stride, pool.padding)
        asked = resolve_window(*geometry).padding
        if pool.count_include_pad and asked != border:
            border, attributes["ceil_mode"] = asked, 1
    top, bottom, left, right = border
    return graph.add(
        operator, [x], name, kernel_shape=pool.kernel_size, strides=pool.stride,
        pads=[top, left, bottom, right], **attributes,
    )  # fmt: skip


def _global_pool(graph: _Graph, layer: GlobalAvgPool2D, x: str, name: str) -> str:
    x = graph.add("GlobalAveragePool", [x], name)
    return graph.add("Flatten", [x], f"{name}.flatten", axis=1)


def _flatten(graph: _Graph, layer: Flatten, x: str, name: str) -> str:
    return graph.add("Flatten", [x], name, axis=1)


def _dense(graph: _Graph, dense: Dense, x: str, name: str) -> str:
    if len(dense.input_shape) > 1:
        x = graph.add("Flatten", [x], f"{name}.flatten", axis=1)
    x = graph.add("Gemm", [x, *graph.keep_arrays(dense, name)], name, transB=1)
    return graph.activated(x, dense.activation, f"{name}.activation")


def _dropout(graph: _Graph, dropout: Dropout, x: str, name: str) -> str:
    """Write a Dropout, which passes everything on at inference but tells what was trained."""
    return graph.add("Dropout", [x, graph.keep(f"{name}.ratio", dropout.rate)], name)


def _batch_norm(graph: _Graph, norm: BatchNorm, x: str, name: str) -> str:
    arrays, momentum = graph.keep_arrays(norm, name), 1 - norm.momentum  # of the old average
    return graph.add(
        "BatchNormalization", [x, *arrays], name, epsilon=norm.epsilon, momentum=momentum
    )


def _residual(graph: _Graph, block: Residual, x: str, name: str) -> str:
    y, straight = x, x
    for layer in block.layers:
        y = graph.layer(layer, y, f"{name}.{layer.name}")
    if block.shortcut is not None:
        straight = graph.layer(block.shortcut, x, f"{name}.{block.shortcut.name}")
    return graph.activated(
        graph.add("Add", [y, straight], name), block.activation, f"{name}.activation"
    )


LAYERS: dict[type[Layer], Callable[[_Graph, Any, str, str], str]] = {
    Conv2D: _conv, MaxPool2D: _pooling, AvgPool2D: _pooling, GlobalAvgPool2D: _global_pool,
    Flatten: _flatten, Dense: _dense, Dropout: _dropout, BatchNorm: _batch_norm,
    Residual: _residual,
}  # fmt: skip
ACTIVATIONS: dict[type[Layer], str] = {
    Identity: "", LeakyReLU: "LeakyRelu", ReLU: "Relu", Sigmoid: "Sigmoid", Tanh: "Tanh",
    Softmax: "Softmax",
}  # fmt: skip


# --- raw pixels ------------------------------------------------------------------------------


def _scaled(graph: _Graph, scaling: Scaling, x: str, channels: int) -> str:
    """Append the nodes that do what `Scaling.apply` does."""
    if scaling.name == "per-image":
        return _standardized(graph, x)
    if scaling.name == "min-max":
        low, spread, constant = _low_and_spread(graph, x)
        one = graph.keep("scaling.one", 1.0)
        spread = graph.add("Where", [constant, one, spread], "scaling.divisor")
        return _minus_over(graph, x, low, spread)
    numbers = scaling.constants(channels)
    if scaling.name == "none" or numbers is None:
        return x
    low_value, span, mean, std = numbers
    kept = {
        "low": low_value, "span": span, "mean": _upright(mean), "std": _upright(std)
    }  # fmt: skip
    names = {key: graph.keep(f"scaling.{key}", value) for key, value in kept.items()}
    x = _minus_over(graph, x, names["low"], names["span"])
    return _minus_over(graph, x, names["mean"], names["std"])


def _upright(values: Array) -> Array:
    """One number for each channel, to go with (samples, channels, height, width)."""
    return values.reshape(1, -1, 1, 1)


def _minus_over(graph: _Graph, x: str, low: str, divisor: str) -> str:
    x = graph.add("Sub", [x, low], "scaling.minus")
    return graph.add("Div", [x, divisor], "scaling.over")


def _over_image(graph: _Graph, operator: str, x: str) -> str:
    """One number for each image: its mean, smallest or largest pixel."""
    axes = graph.keep("scaling.axes", [1, 2, 3])
    return graph.add(operator, [x, axes], f"scaling.{operator}", keepdims=1)


def _low_and_spread(graph: _Graph, x: str) -> tuple[str, str, str]:
    """The smallest pixel of each image, how far the largest lies above, and whether that is 0."""
    low, high = (_over_image(graph, f"Reduce{which}", x) for which in ("Min", "Max"))
    spread = graph.add("Sub", [high, low], "scaling.spread")
    zero = graph.keep("scaling.zero", 0.0)
    return low, spread, graph.add("Equal", [spread, zero], "scaling.constant")


def _standardized(graph: _Graph, x: str) -> str:
    """Each image minus its mean over its standard deviation; one without contrast becomes 0."""
    mean = _over_image(graph, "ReduceMean", x)
    centered = graph.add("Sub", [x, mean], "scaling.centered")
    square = graph.add("Mul", [centered, centered], "scaling.square")
    std = graph.add("Sqrt", [_over_image(graph, "ReduceMean", square)], "scaling.std")
    _, _, constant = _low_and_spread(graph, x)
    one = graph.keep("scaling.one", 1.0)
    std = graph.add("Where", [constant, one, std], "scaling.divisor")
    return _minus_over(graph, x, mean, std)
