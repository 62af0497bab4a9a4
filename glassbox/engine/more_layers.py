"""More layers: global average pooling, flattening, dropout; more activations."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from glassbox.engine.layer import (
    Activation,
    Array,
    BuildContext,
    Context,
    Gradients,
    Layer,
    LeakyReLU,
)
from glassbox.errors import require_share
from glassbox.kernels.shapes import Shape


class GlobalAvgPool2D(Layer):
    """The mean of each channel: y[c] = mean over i, j of x[c, i, j] (Lin et al. 2014).

    Input (channels, height, width), output (channels,).  Keeps nothing but the shape.

    Examples
    --------
    >>> from CNN import CNN
    >>> CNN(GlobalAvgPool2D()).build((6, 8, 8)).output_shape
    (6,)
    """

    stem = "pool"
    sees_all = True

    def __init__(self, name: str | None = None) -> None:
        super().__init__(name=name)

    def _build(self, input_shape: Shape, context: BuildContext) -> Shape:
        self.expects_volume(input_shape)
        return (input_shape[0],)

    def forward(self, x: Array, context: Context) -> tuple[Array, Any]:
        """The mean over height and width."""
        return self.kernels.global_average_pool(x), x.shape

    def backward(self, dy: Array, cache: Any) -> tuple[Array | None, Gradients]:
        """Equal shares to all pixels."""
        return self.kernels.global_average_pool_gradient(dy, cache), {}


class Flatten(Layer):
    """A volume as one row of features, in the order channel, row, column.

    Input any shape, output (features,).  Keeps nothing but the shape.

    Examples
    --------
    >>> from CNN import CNN
    >>> CNN(Flatten()).build((3, 4, 5)).output_shape
    (60,)
    """

    stem = "flatten"

    def __init__(self, name: str | None = None) -> None:
        super().__init__(name=name)

    def _build(self, input_shape: Shape, context: BuildContext) -> Shape:
        return (math.prod(input_shape),)

    def forward(self, x: Array, context: Context) -> tuple[Array, Any]:
        """The same numbers in another shape."""
        return x.reshape(-1, x.shape[-1]), x.shape

    def backward(self, dy: Array, cache: Any) -> tuple[Array | None, Gradients]:
        """The same numbers in the old shape."""
        return dy.reshape(cache), {}


class Dropout(Layer):
    """Training only: each number is 0 with probability `rate`, else x / (1 - rate).

    `rate` is rounded to a 65,536th, for it is compared with random numbers of 16 bits.  They follow
    from the seed, the step, the shard and the layer's place alone, so that runs repeat on any
    number of threads.  At inference the layer passes everything on unchanged.

    Input and output any shape.  Keeps the random numbers.
    Raises ValueError for a rate outside 0 <= p < 1.
    Source: Srivastava et al. 2014.

    Examples
    --------
    >>> Dropout(0.5).forward(np.ones((2, 3)), Context())[0].tolist()
    [[1.0, 1.0, 1.0], [1.0, 1.0, 1.0]]
    """

    stem = "dropout"

    def __init__(self, rate: float = 0.5, name: str | None = None) -> None:
        super().__init__(name=name)
        require_share("Dropout: rate", rate)
        self.rate = float(rate)

    def describe(self) -> str:
        """Its rate."""
        return f"{self.rate:g}"

    def forward(self, x: Array, context: Context) -> tuple[Array, Any]:
        """x where its random number is large enough; keeps these (None outside training)."""
        dropped = min(round(self.rate * 2**16), 2**16 - 1)  # of the 65,536 random numbers
        if not context.training or not dropped:
            return x, None
        bits = context.draw(self.number, x.shape)
        return self.kernels.drop(x, bits, dropped), (bits, dropped)

    def backward(self, dy: Array, cache: Any) -> tuple[Array | None, Gradients]:
        """dy where x was let through, as much larger as x was made."""
        return (dy if cache is None else self.kernels.drop(dy, *cache)), {}


class Identity(Activation):
    """y = z.

    Examples
    --------
    >>> Identity().apply(np.array([-1.0, 2.0])).tolist()
    [-1.0, 2.0]
    """

    stem = word = "identity"

    def apply(self, z: Array) -> Array:
        """y = z."""
        return z

    def gradient(self, dy: Array, y: Array) -> Array:
        """dz = dy."""
        return dy


class ReLU(LeakyReLU):
    """y = max(z, 0).

    Examples
    --------
    >>> ReLU().apply(np.array([-1.0, 2.0])).tolist()
    [0.0, 2.0]
    """

    word = "relu"

    def __init__(self, *, name: str | None = None) -> None:
        super().__init__(0.0, name=name)


class ReLU6(Activation):
    """y = min(max(z, 0), 6) (Krizhevsky 2010).

    Examples
    --------
    >>> ReLU6().apply(np.array([-1.0, 2.0, 7.0])).tolist()
    [0.0, 2.0, 6.0]
    """

    stem = word = "relu6"
    gain = float(np.sqrt(2.0))
    scheme = "he"

    def apply(self, z: Array) -> Array:
        """min(max(z, 0), 6)."""
        return self.kernels.relu6_(z)

    def gradient(self, dy: Array, y: Array) -> Array:
        """dy where 0 < y < 6, else 0."""
        return self.kernels.relu6_gradient(dy, y)


class Tanh(Activation):
    """y = tanh z; derivative 1 - y^2.

    Examples
    --------
    >>> Tanh().apply(np.array([0.0, 1000.0])).tolist()
    [0.0, 1.0]
    """

    stem = word = "tanh"
    gain = 5.0 / 3.0

    def apply(self, z: Array) -> Array:
        """tanh z."""
        return self.kernels.tanh_(z)

    def gradient(self, dy: Array, y: Array) -> Array:
        """dy (1 - y^2)."""
        return self.kernels.tanh_gradient(dy, y)


class Softmax(Activation):
    """y = exp z / sum of exp z over the features (or channels) of each sample.

    The largest z is taken off first, so logits of 1,000 are no trouble.

    Examples
    --------
    >>> Softmax().apply(np.array([[1000.0], [1000.0]])).tolist()
    [[0.5], [0.5]]
    """

    stem = word = "softmax"

    def apply(self, z: Array) -> Array:
        """exp(z - max) / sum."""
        return self.kernels.softmax_(z)

    def gradient(self, dy: Array, y: Array) -> Array:
        """y (dy - sum of y dy)."""
        return self.kernels.softmax_gradient(dy, y)


class LogSoftmax(Activation):
    """y = z - log of the sum of exp z over the features (or channels) of each sample.

    Cross-entropy takes a softmax instead, or logits.

    Examples
    --------
    >>> LogSoftmax().apply(np.array([[1000.0], [1000.0]])).round(4).tolist()
    [[-0.6931], [-0.6931]]
    """

    stem = word = "log_softmax"

    def apply(self, z: Array) -> Array:
        """(z - max) - log of the sum of exp(z - max)."""
        return self.kernels.log_softmax_(z)

    def gradient(self, dy: Array, y: Array) -> Array:
        """dy - exp y times the sum of dy."""
        return self.kernels.log_softmax_gradient(dy, y)
