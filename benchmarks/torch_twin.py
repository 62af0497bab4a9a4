"""A network's twin in PyTorch: the same operators, the same weights, the same loss.

Imports nothing of this framework, so that a process can be measured that holds PyTorch alone.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional


def torch_twin(recipe: Sequence[dict[str, Any]]) -> nn.Sequential:
    """The modules of a recipe (see `benchmarks.recipe`), with PyTorch's own first weights."""
    return nn.Sequential(*(_module(**operator) for operator in recipe))


def _module(operator: str, **settings: Any) -> nn.Module:
    makers: dict[str, Callable[..., nn.Module]] = {
        "conv": _convolution,
        "dense": lambda weights: nn.Linear(weights[1], weights[0]),
        "max_pool": lambda kernel, stride: nn.MaxPool2d(kernel, stride),
        "average_pool": lambda kernel, stride: nn.AvgPool2d(kernel, stride),
        "dropout": lambda rate: nn.Dropout(rate),
        "flatten": nn.Flatten,
        "relu": nn.ReLU,
        "leaky_relu": lambda slope: nn.LeakyReLU(slope),
        "sigmoid": nn.Sigmoid,
        "softmax": lambda: nn.Softmax(dim=1),
    }
    return makers[operator](**settings)


def _convolution(
    weights: Sequence[int], stride: Sequence[int], dilation: Sequence[int], padding: Sequence[int]
) -> nn.Module:
    top, bottom, left, right = padding
    if (top, left) != (bottom, right):
        raise ValueError(f"PyTorch pads both sides alike; got {padding}")
    out, channels, *kernel = weights
    return nn.Conv2d(channels, out, kernel, tuple(stride), (top, left), tuple(dilation))


def learning(twin: nn.Sequential) -> list[nn.Module]:
    """The modules that have weights, in order."""
    return [module for module in twin if hasattr(module, "weight")]


def load_weights(
    twin: nn.Sequential, weights: Sequence[tuple[np.ndarray, np.ndarray]]
) -> nn.Sequential:
    """Copy (weights, bias) of each layer into the twin; both keep them as (out, in, ...)."""
    with torch.no_grad():
        for module, (matrix, bias) in zip(learning(twin), weights, strict=True):
            module.weight.copy_(torch.from_numpy(matrix))
            module.bias.copy_(torch.from_numpy(bias))
    return twin


def torch_loss(word: str, outputs: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """The loss of that name, mean over the batch."""
    if word == "mse":
        return functional.mse_loss(outputs, functional.one_hot(labels, outputs.shape[1]).float())
    return functional.cross_entropy(outputs, labels)


def torch_sgd(twin: nn.Sequential, rate: float, momentum: float) -> torch.optim.Optimizer:
    """SGD as PyTorch sets it up by default."""
    return torch.optim.SGD(twin.parameters(), lr=rate, momentum=momentum)


def torch_step(
    twin: nn.Sequential,
    optimizer: torch.optim.Optimizer,
    word: str,
    images: torch.Tensor,
    labels: torch.Tensor,
) -> torch.Tensor:
    """One training step, as PyTorch's own examples write it; returns the loss before it."""
    optimizer.zero_grad()
    loss = torch_loss(word, twin(images), labels)
    loss.backward()
    optimizer.step()
    return loss
