"""The networks that are measured, and how a process that holds PyTorch alone is told them.

They are those of the five published systems in examples/ and main.py's, which a test compares, and
four with batch normalization, as users train them.  Importing examples/ would bring matplotlib into
every process whose memory is measured.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from CNN import CNN
from Datasets import Dataset, Scaling
from Filters import AvgPool2D, Conv2D, GlobalAvgPool2D, MaxPool2D, Residual
from glassbox.engine.layer import Activation, Array, Layer, LeakyReLU, Sigmoid
from glassbox.engine.more_layers import Identity, Softmax, Tanh
from MLP import SGD, BatchNorm, Dense, Dropout, ReLU

IMAGE = (1, 28, 28)
RATES = (1e-3, 0.9)  # of SGD: the learning rate and the momentum
Recipe = list[list[Any]]  # modules in torch.nn with their arguments: [["Conv2d", {...}], ...]
relu = partial(Conv2D, padding="valid", activation="relu")
leaky = partial(Conv2D, kernel_size=3, padding="valid")
leaky_dense = partial(Dense, activation="leaky_relu")
end = partial(Dense, 10, "softmax")


def default(filters: int, units: int) -> list[Layer]:
    """Two convolutions of 8 and `filters` filters, two dense layers with sigmoids."""
    return [Conv2D(8, 3), MaxPool2D(2), Conv2D(filters, 3), MaxPool2D(2), Dense(units), Dense(10)]


def normalized(filters: int, stride: int = 1, activation: type[Activation] = ReLU) -> list[Layer]:
    """A 3 x 3 convolution, batch normalization (which makes a bias idle), an activation."""
    conv = Conv2D(filters, 3, stride=stride, activation=None, bias=False)
    return [conv, BatchNorm(), activation()]


def block(filters: int, stride: int = 1) -> Residual:
    """Two normalized convolutions with a shortcut around them."""
    return Residual(*normalized(filters, stride), *normalized(filters)[:2], activation="relu")


lean = partial(normalized, activation=LeakyReLU)
# name -> (what it is, its layers, its loss)
NETWORKS: dict[str, tuple[str, Callable[[], list[Layer]], str]] = {
    "A": ("lab, 2 and 3 filters", lambda: [
        relu(2, 3), AvgPool2D(2), relu(3, 3), AvgPool2D(2), Dense(32, "relu"), end(),
    ], "cross_entropy"),
    "B": ("Keras pipeline, 32 and 64 filters", lambda: [
        relu(32, 3), relu(64, 3), MaxPool2D(2), Dense(128, "relu"), end(),
    ], "cross_entropy"),
    "C": ("two convolutions of 2 filters", lambda: [relu(2, 3), relu(2, 2), end()],
          "cross_entropy"),
    "D": ("sigmoid and MSE, 8 and 2 filters", lambda: default(2, 98), "mse"),
    "D 8/16": ("main.py's, 8 and 16 filters", lambda: default(16, 72), "mse"),
    "E CNN": ("32, 64 and 128 filters", lambda: [
        leaky(32), leaky(64), MaxPool2D(2), Dropout(0.25), leaky(128), MaxPool2D(2), Dropout(0.25),
        leaky_dense(512), Dropout(0.5), end(),
    ], "cross_entropy"),
    "E MLP": ("784-128-64-10", lambda: [leaky_dense(128), leaky_dense(64), end()],
              "cross_entropy"),
    "small": ("a record's, under 20,000 parameters", lambda: [
        *lean(12), *lean(16), MaxPool2D(2), *lean(24), *lean(24), MaxPool2D(2), *lean(32),
        GlobalAvgPool2D(), end(),
    ], "cross_entropy"),
    "residual": ("three residual blocks", lambda: [
        relu(16, 3, padding="same"), block(16), block(32, 2), block(64, 2), GlobalAvgPool2D(),
        end(),
    ], "cross_entropy"),
    "color": ("32, 64 and 128 filters on 3 x 32 x 32", lambda: [
        *normalized(32), *normalized(32), MaxPool2D(2), *normalized(64), *normalized(64),
        MaxPool2D(2), *normalized(128), GlobalAvgPool2D(), end(),
    ], "cross_entropy"),
    "normalized": ("8 and 16 filters, batch normalization, ReLU", lambda: [
        *normalized(8), MaxPool2D(2), *normalized(16), MaxPool2D(2), Dense(72, "relu"), end(),
    ], "cross_entropy"),
}  # fmt: skip
SHAPES = dict.fromkeys(NETWORKS, IMAGE) | {"color": (3, 32, 32)}


def network(name: str, dropout: bool = True, **settings: Any) -> CNN:
    """The network of that name, built for its images, with SGD and momentum.

    `dropout` of False leaves its dropout layers out; `settings` are those of `CNN`.
    """
    _, layers, loss = NETWORKS[name]
    kept = [layer for layer in layers() if dropout or not isinstance(layer, Dropout)]
    optimizer = SGD(RATES[0], momentum=RATES[1])
    return CNN(*kept, loss=loss, optimizer=optimizer, **settings).build(SHAPES[name])


def random_images(count: int, shape: tuple[int, ...] = IMAGE) -> Dataset:
    """Random bytes with labels of ten classes: time does not depend on what a picture shows."""
    pixels = np.random.default_rng(0).integers(0, 256, size=(count, *shape), dtype=np.uint8)
    return Dataset(pixels, np.arange(count) % 10, tuple("0123456789"), Scaling("unit"))


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
        alike = (top, left) == (bottom, right)  # a convolution of PyTorch pads both sides alike
        convolution = {
            "in_channels": channels, "out_channels": out, "kernel_size": kernel,
            "stride": list(window.stride), "padding": [top, left] if alike else [0, 0],
            "dilation": list(window.dilation), "bias": layer.bias,
        }  # fmt: skip
        border: Recipe = [["ZeroPad2d", {"padding": [left, right, top, bottom]}]]
        return [*border[alike:], ["Conv2d", convolution], *_activation(layer.activation)]
    if isinstance(layer, Dense):
        out, inputs = layer.parameters["weight"].shape
        flatten: Recipe = [["Flatten", {}]] if len(layer.input_shape) > 1 else []
        linear = ["Linear", {"in_features": inputs, "out_features": out}]
        return [*flatten, linear, *_activation(layer.activation)]
    if isinstance(layer, MaxPool2D | AvgPool2D) and not any(layer.window.padding):
        pooling = {"kernel_size": list(layer.kernel_size), "stride": list(layer.stride)}
        return [["MaxPool2d" if isinstance(layer, MaxPool2D) else "AvgPool2d", pooling]]
    if isinstance(layer, BatchNorm):
        settings = {"eps": layer.epsilon, "momentum": layer.momentum}
        name = "BatchNorm2d" if len(layer.input_shape) > 1 else "BatchNorm1d"
        return [[name, {"num_features": layer.input_shape[0], **settings}]]
    if isinstance(layer, Residual):
        inner = [module for each in layer.layers for module in _modules(each)]
        around = [] if layer.shortcut is None else _modules(layer.shortcut)
        last = _activation(layer.activation)
        return [["Residual", {"inner": inner, "shortcut": around, "last": last}]]
    if isinstance(layer, GlobalAvgPool2D):
        return [["AdaptiveAvgPool2d", {"output_size": 1}], ["Flatten", {}]]
    if isinstance(layer, Activation):
        return _activation(layer)
    if isinstance(layer, Dropout):
        return [["Dropout", {"p": layer.rate}]]
    raise TypeError(f"{layer.label} has no counterpart in the benchmarks' twins")


def _activation(activation: Activation) -> Recipe:
    if isinstance(activation, Identity):
        return []
    if isinstance(activation, LeakyReLU):
        slope = activation.slope
        return [["LeakyReLU", {"negative_slope": slope}] if slope else ["ReLU", {}]]
    if isinstance(activation, Softmax):
        return [["Softmax", {"dim": 1}]]
    if isinstance(activation, Sigmoid | Tanh):
        return [[type(activation).__name__, {}]]
    raise TypeError(f"{activation.word!r} has no counterpart in the benchmarks' twins")


def weights(network: CNN) -> list[Array]:
    """Weights and bias of every layer that learns, in order; copies, (out, in, ...)."""
    return [np.array(array) for layer in network.layers for array in layer.parameters.values()]
