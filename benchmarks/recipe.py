"""A network as a list of plain operators: what its twins in PyTorch and ONNX are made from.

Each operator is a dictionary of words and numbers, so that another process can be told it.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from CNN import CNN
from Filters import AvgPool2D, Conv2D, MaxPool2D, Pooling
from glassbox.engine.layer import Activation, Array, Layer, LeakyReLU, Sigmoid
from glassbox.engine.more_layers import Identity, Softmax
from MLP import Dense, Dropout

Recipe = list[dict[str, Any]]


def recipe(network: CNN, scores: bool = False) -> Recipe:
    """The operators of a built network; with `scores` the softmax that its loss else contains.

    Raises TypeError for a layer that the benchmarks have no use for.
    """
    operators = [operator for layer in network.layers for operator in _operators(layer)]
    if scores and network.output_activation is not None:
        operators.append({"operator": "softmax"})
    return operators


def _operators(layer: Layer) -> Recipe:
    if isinstance(layer, Conv2D):
        window = layer.window
        convolution = {
            "operator": "conv", "weight": list(layer.parameters["weight"].shape),
            "stride": list(window.stride), "dilation": list(window.dilation),
            "padding": list(window.padding),
        }  # fmt: skip
        return [convolution, *_activation(layer.activation)]
    if isinstance(layer, Dense):
        flatten = [{"operator": "flatten"}] if len(layer.input_shape) > 1 else []
        product = {"operator": "dense", "weight": list(layer.parameters["weight"].shape)}
        return [*flatten, product, *_activation(layer.activation)]
    if isinstance(layer, MaxPool2D | AvgPool2D) and not any(layer.window.padding):
        return [_pooling(layer)]
    if isinstance(layer, Dropout):
        return [{"operator": "dropout", "rate": layer.rate}]
    raise TypeError(f"{layer.label} has no counterpart in the benchmarks' twins")


def _pooling(layer: Pooling) -> dict[str, Any]:
    word = "max_pool" if isinstance(layer, MaxPool2D) else "average_pool"
    return {"operator": word, "kernel": list(layer.kernel_size), "stride": list(layer.stride)}


def _activation(activation: Activation) -> Recipe:
    if isinstance(activation, Identity):
        return []
    if isinstance(activation, LeakyReLU):
        slope = activation.slope
        return [{"operator": "leaky_relu", "slope": slope} if slope else {"operator": "relu"}]
    if isinstance(activation, Sigmoid | Softmax):
        return [{"operator": activation.word}]
    raise TypeError(f"{activation.word!r} has no counterpart in the benchmarks' twins")


def weights(network: CNN) -> list[tuple[Array, Array]]:
    """(weights, bias) of every layer that learns, in order; copies, (out, in, ...)."""
    learning = [layer.parameters for layer in network.layers if layer.parameters]
    return [(np.array(own["weight"]), np.array(own["bias"])) for own in learning]
