"""Filters: the layers that slide over an image.

Inside the network a volume is (channels, height, width, samples); shapes in errors and summaries
leave the samples out.  The arithmetic is in `glassbox/kernels`, the sizes in its `shapes.py`.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np  # noqa: F401  (for the layers that you write here)

from glassbox.engine.blocks import Residual
from glassbox.engine.initializers import check_initializer, first_parameters
from glassbox.engine.layer import Activation, Array, BuildContext, Context, Gradients, Layer
from glassbox.engine.more_layers import GlobalAvgPool2D
from glassbox.engine.names import activation_named
from glassbox.errors import require_count
from glassbox.kernels import shapes
from glassbox.kernels.shapes import Pair, Shape, Window, pair, resolve_window
from glassbox.spelling import missing_name

__all__ = ["AvgPool2D", "Conv2D", "GlobalAvgPool2D", "MaxPool2D", "Residual"]


class Sliding(Layer):
    """What convolution and pooling share: a window and where it lands."""

    kernel_size: Pair
    stride: Pair
    dilation: Pair = (1, 1)
    padding: Any = 0
    ceil_mode = False
    window: Window

    def _resolve(self, input_shape: Shape) -> Window:
        """The window for this input, or an error in the layer's name."""
        self.expects_volume(input_shape)
        return resolve_window(
            self.label, input_shape, self.kernel_size, self.stride, self.padding, self.dilation,
            self.ceil_mode,
        )  # fmt: skip

    def describe(self) -> str:
        """The window, and the stride where it is not the usual one."""
        text = "{} x {}".format(*self.kernel_size)
        usual = self.kernel_size if isinstance(self, Pooling) else (1, 1)
        return text if self.stride == usual else text + " / {} x {}".format(*self.stride)


class Conv2D(Sliding):
    """A bank of filters, each sliding over all channels of the image.

    y[o, i, j] = f(bias[o] + sum over c, a, b of w[o, c, a, b] x[c, i s + a d - p, j s + b d - p])

    Input (channels, height, width), output (filters, oh, ow) with
    oh = floor((height + p - d (kh - 1) - 1) / s) + 1, p the padding of both sides together.
    Parameters: weight (filters, channels, kh, kw), bias (filters,).  Keeps its input and output.
    Raises ValueError for sizes that do not fit, TypeError for what is not a number.
    Source: Dumoulin and Visin 2016, "A guide to convolution arithmetic for deep learning".

    Parameters
    ----------
    filters : number of output channels.
    kernel_size : height and width in pixels, a number or a pair.
    stride : pixels between neighbouring windows, a number or a pair.
    padding : "same" (ceil(input / stride) outputs), "valid" (none), a number or a pair of pixels,
        or ((top, bottom), (left, right)).
    dilation : distance between neighbouring taps of the kernel, a number or a pair.
    activation : a name or an Activation; leaky ReLU by default, None for none.
    bias : whether each filter has one.
    initializer : "auto", "he_normal", "he_uniform", "xavier_normal" or "xavier_uniform".
    optimizer : this layer's own, where it differs from the network's.
    l2 : this layer's own L2 factor on the weights; None takes the network's.
    name : how summaries and errors call it.

    Examples
    --------
    >>> from CNN import CNN
    >>> CNN(Conv2D(6, kernel_size=(3, 5), padding="same")).build((1, 8, 8)).output_shape
    (6, 8, 8)
    """

    stem = "conv"

    def __init__(
        self,
        filters: int,
        kernel_size: int | Pair = 3,
        stride: int | Pair = 1,
        padding: str | int | Pair = "same",
        dilation: int | Pair = 1,
        activation: str | Activation | None = "leaky_relu",
        bias: bool = True,
        initializer: str = "auto",
        optimizer: Any = None,
        l2: float | None = None,
        name: str | None = None,
    ) -> None:
        super().__init__(name=name, optimizer=optimizer, l2=l2)
        require_count("Conv2D: filters", filters)
        self.filters = int(filters)
        self.kernel_size = pair("Conv2D: kernel_size", kernel_size)
        self.stride = pair("Conv2D: stride", stride)
        self.dilation = pair("Conv2D: dilation", dilation)
        self.padding = padding
        self.activation = activation_named(activation)
        self.bias = bias
        self.initializer = check_initializer(initializer)

    def _build(self, input_shape: Shape, context: BuildContext) -> Shape:
        self.window = self._resolve(input_shape)
        shape = (self.filters, input_shape[0], *self.kernel_size)
        self.parameters = first_parameters(self, shape, context)
        return (self.filters, *self.window.output)

    def forward(self, x: Array, context: Context) -> tuple[Array, Any]:
        """y = f(w * x + bias); keeps x and y."""
        weights, bias = self.parameters["weight"], self.parameters.get("bias")
        y = self.activation.apply(self.kernels.conv2d(x, weights, bias, self.window))
        return y, (x, y)

    def backward(self, dy: Array, cache: Any) -> tuple[Array | None, Gradients]:
        """dz = dy f'(z); dw and dbias sum it over all places, dx hands it back to the pixels."""
        x, y = cache
        dz = self.activation.gradient(dy, y)
        gradients = {"weight": self.kernels.conv2d_weight_gradient(x, dz, self.window)}
        if self.bias:
            gradients["bias"] = self.kernels.bias_gradient(dz)
        if not self.needs_input_gradient:
            return None, gradients
        weights = self.parameters["weight"]
        return self.kernels.conv2d_input_gradient(dz, weights, self.window, x.shape), gradients

    def describe(self) -> str:
        """The window, and once built the algorithm that computes it."""
        if not self.output_shape:
            return super().describe()
        algorithm = self.kernels.algorithm(self.window, self.input_shape[0], self.filters)
        return f"{super().describe()} {algorithm}"

    def multiply_adds(self) -> int:
        """filters x channels x kh x kw for each output pixel."""
        return math.prod(self.output_shape) * self.input_shape[0] * math.prod(self.kernel_size)


Residual.projection = Conv2D


class Pooling(Sliding):
    """What both poolings share: a window without weights, side by side by default."""

    def __init__(
        self,
        kernel_size: int | Pair = 2,
        stride: int | Pair | None = None,
        padding: str | int | Pair = 0,
        ceil_mode: bool = False,
        name: str | None = None,
        dilation: int | Pair = 1,
    ) -> None:
        super().__init__(name=name)
        who = type(self).__name__
        self.kernel_size = pair(f"{who}: kernel_size", kernel_size)
        self.stride = self.kernel_size if stride is None else pair(f"{who}: stride", stride)
        self.dilation = pair(f"{who}: dilation", dilation)
        self.padding, self.ceil_mode = padding, ceil_mode

    def _build(self, input_shape: Shape, context: BuildContext) -> Shape:
        self.window = self._resolve(input_shape)
        shapes.require_pixels(self.label, input_shape, self.window, self.padding)
        return (input_shape[0], *self.window.output)


class MaxPool2D(Pooling):
    """The largest pixel of each window.

    y[c, i, j] = max over a, b of x[c, i s + a d - p, j s + b d - p]

    Input (channels, height, width), output (channels, oh, ow).  Keeps which pixel won each window;
    of equal ones the first, and it gets the whole gradient, as in PyTorch.
    Raises ValueError for sizes that do not fit.

    Parameters
    ----------
    kernel_size : height and width of the window in pixels, a number or a pair.
    stride : pixels between windows; as large as the window by default.
    padding : as for Conv2D, but 0 by default; it is minus infinity, so it never wins.
    ceil_mode : whether a last, partial window counts.
    name : how summaries and errors call it.
    dilation : distance between neighbouring pixels of the window, a number or a pair.

    Examples
    --------
    >>> from CNN import CNN
    >>> CNN(MaxPool2D(2)).build((6, 8, 8)).output_shape
    (6, 4, 4)
    """

    stem = "pool"

    def forward(self, x: Array, context: Context) -> tuple[Array, Any]:
        """The maxima; keeps the winners' places."""
        y, winner = self.kernels.max_pool(x, self.window)
        return y, (winner, x.shape)

    def backward(self, dy: Array, cache: Any) -> tuple[Array | None, Gradients]:
        """The gradient of a window goes to its winner."""
        winner, shape = cache
        return self.kernels.max_pool_gradient(dy, winner, self.window, shape), {}


class AvgPool2D(Pooling):
    """The mean of each window.

    y[c, i, j] = (sum over a, b of x[c, i s + a - p, j s + b - p]) / count

    Input (channels, height, width), output (channels, oh, ow).  Keeps nothing but the shape.
    Raises ValueError for sizes that do not fit.

    Parameters
    ----------
    kernel_size, stride, padding, ceil_mode, name : as for MaxPool2D; padding is 0.
    count_include_pad : whether padding counts as pixels (PyTorch's default, too) or the mean is
        over the image's own pixels alone.

    Examples
    --------
    >>> from CNN import CNN
    >>> CNN(AvgPool2D(2, ceil_mode=True)).build((6, 7, 7)).output_shape
    (6, 4, 4)
    """

    stem = "pool"

    def __init__(
        self,
        kernel_size: int | Pair = 2,
        stride: int | Pair | None = None,
        padding: str | int | Pair = 0,
        ceil_mode: bool = False,
        count_include_pad: bool = True,
        name: str | None = None,
    ) -> None:
        super().__init__(kernel_size, stride, padding, ceil_mode, name)
        self.count_include_pad = count_include_pad

    def _build(self, input_shape: Shape, context: BuildContext) -> Shape:
        output = super()._build(input_shape, context)
        context.reserve(self.label, (sum(self.window.output),), 8)
        counted = self.padding if self.count_include_pad else None
        self.counts = shapes.pool_counts(input_shape, self.window, counted)
        return output

    def forward(self, x: Array, context: Context) -> tuple[Array, Any]:
        """The means; keeps the input's shape."""
        return self.kernels.average_pool(x, self.counts, self.window), x.shape

    def backward(self, dy: Array, cache: Any) -> tuple[Array | None, Gradients]:
        """The gradient of a window in equal shares to its pixels."""
        return self.kernels.average_pool_gradient(dy, self.counts, self.window, cache), {}


def __getattr__(name: str) -> Any:
    raise missing_name("Filters", name)
