"""MLP: the layers that do not slide, the activations, and the optimizers that train them.

Inside the network a row is (features, samples), so a dense layer is the textbook Y = W X + b with
one column per sample.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np  # noqa: F401  (for the layers that you write here)

from glassbox.engine.initializers import check_initializer, first_parameters
from glassbox.engine.layer import (
    Activation,
    Array,
    BuildContext,
    Context,
    Gradients,
    Layer,
    LeakyReLU,
    Sigmoid,
)
from glassbox.engine.more_layers import Dropout, Flatten, Identity, ReLU, Softmax, Tanh
from glassbox.engine.more_optimizers import Adadelta, AdamW, RMSprop
from glassbox.engine.names import activation_named
from glassbox.engine.optimizers import SGD, Adam
from glassbox.engine.schedules import (
    Constant,
    Cosine,
    Exponential,
    InverseTime,
    OneCycle,
    StepDecay,
    WarmUp,
)
from glassbox.engine.synced import BatchNorm
from glassbox.errors import require_count
from glassbox.kernels.shapes import Shape
from glassbox.spelling import missing_name

__all__ = [
    "SGD", "Activation", "Adadelta", "Adam", "AdamW", "BatchNorm", "Constant", "Cosine", "Dense",
    "Dropout", "Exponential", "Flatten", "Identity", "InverseTime", "LeakyReLU", "OneCycle",
    "RMSprop", "ReLU", "Sigmoid", "Softmax", "StepDecay", "Tanh", "WarmUp",
]  # fmt: skip


class Dense(Layer):
    """A fully connected layer: Y = f(W X + b).

    Input (features,) or a volume, which it flattens in the order channel, row, column; output
    (units,).  Parameters: weight (units, features), bias (units,).  Keeps its input and output.
    Raises ValueError for units below 1 and unknown names.
    Source: Rumelhart, Hinton and Williams 1986.

    Parameters
    ----------
    units : number of outputs.
    activation : a name or an Activation; sigmoid by default, None for none.
    bias : whether each unit has one.
    initializer : "auto", "he_normal", "he_uniform", "xavier_normal" or "xavier_uniform".
    optimizer : this layer's own, where it differs from the network's.
    l2 : this layer's own L2 factor on the weights; None takes the network's.
    name : how summaries and errors call it.

    Examples
    --------
    >>> from CNN import CNN
    >>> CNN(Dense(10)).build((3, 4, 4)).parameter_count
    490
    """

    stem = "dense"
    sees_all = True

    def __init__(
        self,
        units: int,
        activation: str | Activation | None = "sigmoid",
        bias: bool = True,
        initializer: str = "auto",
        optimizer: Any = None,
        l2: float | None = None,
        name: str | None = None,
    ) -> None:
        super().__init__(name=name, optimizer=optimizer, l2=l2)
        require_count("Dense: units", units)
        self.units = int(units)
        self.activation = activation_named(activation)
        self.bias = bias
        self.initializer = check_initializer(initializer)

    def _build(self, input_shape: Shape, context: BuildContext) -> Shape:
        shape = (self.units, math.prod(input_shape))
        self.parameters = first_parameters(self, shape, context)
        return (self.units,)

    def forward(self, x: Array, context: Context) -> tuple[Array, Any]:
        """Y = f(W X + b); keeps X and Y."""
        rows = x.reshape(-1, x.shape[-1])  # (channels, height, width, n) -> (features, n), free
        weights, bias = self.parameters["weight"], self.parameters.get("bias")
        y = self.activation.apply(self.kernels.dense(rows, weights, bias))
        return y, (x, y)

    def backward(self, dy: Array, cache: Any) -> tuple[Array | None, Gradients]:
        """dZ = dY f'(Z); dW = dZ X^T, db = sum over the samples of dZ, dX = W^T dZ."""
        x, y = cache
        dz = self.activation.gradient(dy, y)
        rows = x.reshape(-1, x.shape[-1])
        gradients = {"weight": self.kernels.dense_weight_gradient(rows, dz)}
        if self.bias:
            gradients["bias"] = self.kernels.bias_gradient(dz)
        if not self.needs_input_gradient:
            return None, gradients
        dx = self.kernels.dense_input_gradient(dz, self.parameters["weight"])
        return dx.reshape(x.shape), gradients

    def multiply_adds(self) -> int:
        """units x features."""
        return self.units * math.prod(self.input_shape)


def __getattr__(name: str) -> Any:
    raise missing_name("MLP", name)
