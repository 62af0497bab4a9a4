"""A network's twin in ONNX, for inference: one node for each operator, written by hand."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper

from benchmarks.recipe import recipe, weights
from CNN import CNN

OPSET = 17
INPUT, OUTPUT = "images", "scores"


def onnx_twin(network: CNN) -> onnx.ModelProto:
    """A model from images (samples, channels, height, width) to what `network.scores` gives."""
    operators = [o for o in recipe(network, scores=True) if o["operator"] != "dropout"]
    learnt = weights(network)
    names = [INPUT, *(f"values{k}" for k in range(1, len(operators))), OUTPUT]
    number = iter(range(len(learnt)))
    nodes = [
        _node(operator, source, target, number)
        for operator, source, target in zip(operators, names[:-1], names[1:], strict=True)
    ]
    graph = helper.make_graph(
        nodes, "network",
        [_values(INPUT, network.input_shape)], [_values(OUTPUT, network.output_shape)],
        initializer=list(_initializers(learnt)),
    )  # fmt: skip
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)])
    model.ir_version = 8  # the one of that operator set: older runtimes can read it too
    onnx.checker.check_model(model, full_check=True)
    return model


def _node(operator: dict[str, Any], source: str, target: str, number: Iterator[int]) -> Any:
    """The node of one operator; those that learn take the next weights."""
    word, inputs = operator["operator"], [source]
    if "weight" in operator:
        k = next(number)
        inputs += [f"weights{k}", f"bias{k}"]
    kind, attributes = _said_in_onnx(word, operator)
    return helper.make_node(kind, inputs, [target], **attributes)


def _said_in_onnx(word: str, operator: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    """ONNX's name of an operator, and its attributes."""
    if word == "conv":
        top, bottom, left, right = operator["padding"]
        return "Conv", {
            "kernel_shape": operator["weight"][2:], "strides": operator["stride"],
            "dilations": operator["dilation"], "pads": [top, left, bottom, right],
        }  # fmt: skip
    if word in ("max_pool", "average_pool"):
        kind = "MaxPool" if word == "max_pool" else "AveragePool"
        return kind, {"kernel_shape": operator["kernel"], "strides": operator["stride"]}
    plain: dict[str, tuple[str, dict[str, Any]]] = {
        "dense": ("Gemm", {"transB": 1}),
        "flatten": ("Flatten", {"axis": 1}),
        "relu": ("Relu", {}),
        "leaky_relu": ("LeakyRelu", {"alpha": operator.get("slope")}),
        "sigmoid": ("Sigmoid", {}),
        "softmax": ("Softmax", {"axis": 1}),
    }
    return plain[word]


def _values(name: str, shape: tuple[int, ...]) -> Any:
    """The type of a batch of any size."""
    return helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, ["samples", *shape])


def _initializers(learnt: list[tuple[np.ndarray, np.ndarray]]) -> Iterator[Any]:
    for k, (matrix, bias) in enumerate(learnt):
        yield numpy_helper.from_array(matrix, f"weights{k}")
        yield numpy_helper.from_array(bias, f"bias{k}")
