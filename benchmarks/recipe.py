"""A network as a list of PyTorch's modules and their arguments, so that another process is told it.

A module is ["Conv2d", {"in_channels": 1, ...}]: plain words and numbers.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from CNN import CNN
from Filters import AvgPool2D, Conv2D, MaxPool2D
from glassbox.engine.layer import Activation, Array, Identity, Layer, LeakyReLU, Sigmoid, Softmax
from MLP import Dense, Dropout

Recipe = list[list[Any]]


def recipe(network: CNN, scores: bool = False) -> Recipe:
    """The modules of a built network; with `scores` the softmax that its loss else contains.

    Raises TypeError for a layer that the benchmarks have no use for.
    """
    modules = [module for layer in network.layers for module in _modules(layer)]
    if scores and network.output_activation is not None:
        modules += _activation(network.output_activation)
    return modules


def _modules(layer: Layer) -> Recipe:
    if isinstance(layer, Conv2D):
        (out, channels, *kernel), window = layer.parameters["weight"].shape, layer.window
        top, bottom, left, right = window.padding
        if (top, left) == (bottom, right):  # PyTorch pads both sides alike
            convolution = {
                "in_channels": channels, "out_channels": out, "kernel_size": kernel,
                "stride": list(window.stride), "padding": [top, left],
                "dilation": list(window.dilation),
            }  # fmt: skip
            return [["Conv2d", convolution], *_activation(layer.activation)]
    if isinstance(layer, Dense):
        out, inputs = layer.parameters["weight"].shape
        flatten: Recipe = [["Flatten", {}]] if len(layer.input_shape) > 1 else []
        linear = ["Linear", {"in_features": inputs, "out_features": out}]
        return [*flatten, linear, *_activation(layer.activation)]
    if isinstance(layer, MaxPool2D | AvgPool2D) and not layer.window.padded:
        pooling = {"kernel_size": list(layer.kernel_size), "stride": list(layer.stride)}
        return [["MaxPool2d" if isinstance(layer, MaxPool2D) else "AvgPool2d", pooling]]
    if isinstance(layer, Dropout):
        return [["Dropout", {"p": layer.rate}]]
    raise TypeError(f"{layer.label} has no counterpart in the benchmarks' twins")


def _activation(activation: Activation) -> Recipe:
    if isinstance(activation, Identity):
        return []
    if isinstance(activation, LeakyReLU):
        slope = activation.slope
        return [["LeakyReLU", {"negative_slope": slope}] if slope else ["ReLU", {}]]
    if isinstance(activation, Sigmoid | Softmax):
        return [["Sigmoid", {}] if isinstance(activation, Sigmoid) else ["Softmax", {"dim": 1}]]
    raise TypeError(f"{activation.word!r} has no counterpart in the benchmarks' twins")


def weights(network: CNN) -> list[Array]:
    """Weights and bias of every layer that learns, in order; copies, (out, in, ...)."""
    learning = [layer.parameters for layer in network.layers if layer.parameters]
    return [np.array(own[key]) for own in learning for key in ("weight", "bias")]
