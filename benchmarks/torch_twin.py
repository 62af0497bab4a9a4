"""A network's twin in PyTorch: the same operators, the same weights, the same loss.

Imports nothing of this framework, so that a process can be measured that holds PyTorch alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional


class Residual(nn.Module):
    """Modules with a shortcut around them, and what comes last, each as a recipe."""

    def __init__(self, inner: Any, shortcut: Any, last: Any) -> None:
        super().__init__()
        self.inner, self.shortcut, self.last = build(inner), build(shortcut), build(last)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """last(inner(x) + shortcut(x))."""
        y: torch.Tensor = self.last(self.inner(x) + self.shortcut(x))
        return y


def build(recipe: Sequence[Sequence[Any]]) -> nn.Sequential:
    """The modules of a recipe (see `benchmarks.networks`), with PyTorch's own first weights."""
    own = {"Residual": Residual}
    modules = ((own.get(name) or getattr(nn, name))(**settings) for name, settings in recipe)
    return nn.Sequential(*modules)


def load(twin: nn.Sequential, weights: Sequence[np.ndarray]) -> nn.Sequential:
    """Copy the weights and bias of each layer into the twin; both keep them as (out, in, ...)."""
    with torch.no_grad():
        for parameter, array in zip(twin.parameters(), weights, strict=True):
            parameter.copy_(torch.from_numpy(array))
    return twin


def loss_of(word: str, outputs: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """The loss of that name, mean over the batch."""
    if word == "mse":
        return functional.mse_loss(outputs, functional.one_hot(labels, outputs.shape[1]).float())
    return functional.cross_entropy(outputs, labels)


def sgd(twin: nn.Sequential, rate: float, momentum: float) -> torch.optim.Optimizer:
    """SGD as PyTorch sets it up by default."""
    return torch.optim.SGD(twin.parameters(), lr=rate, momentum=momentum)


def step(
    twin: nn.Sequential, optimizer: torch.optim.Optimizer, word: str, images: Any, labels: Any
) -> torch.Tensor:
    """One training step, as PyTorch's own examples write it; returns the loss before it."""
    optimizer.zero_grad()
    loss = loss_of(word, twin(images), labels)
    loss.backward()
    optimizer.step()
    return loss
