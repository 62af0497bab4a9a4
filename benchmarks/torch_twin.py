"""A network's twin in PyTorch: the same operators, the same weights, the same loss.

Imports nothing of this framework, so that a process can be measured that holds PyTorch alone.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
import torch._dynamo
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
        wanted = functional.one_hot(labels, outputs.shape[1]).to(outputs.dtype)
        return functional.mse_loss(outputs, wanted)
    return functional.cross_entropy(outputs, labels)


def sgd(twin: nn.Sequential, rate: float, momentum: float) -> torch.optim.Optimizer:
    """SGD as PyTorch sets it up by default."""
    return torch.optim.SGD(twin.parameters(), lr=rate, momentum=momentum)


def step(
    twin: nn.Sequential, optimizer: torch.optim.Optimizer, word: str, images: Any, labels: Any
) -> torch.Tensor:
    """One training step, as PyTorch's own examples write it; returns the loss before it."""
    return _step(lambda x, y: loss_of(word, twin(x), y), optimizer, images, labels)


def _step(loss_of_batch: Any, optimizer: Any, images: Any, labels: Any) -> torch.Tensor:
    optimizer.zero_grad()
    loss: torch.Tensor = loss_of_batch(images, labels)
    loss.backward()
    optimizer.step()
    return loss


class Trainer:
    """Trains a twin, eager or with torch.compile, which makes the loss and its gradients.

    Numbers are of the type of the weights; `layout` is the name of a memory format.
    """

    def __init__(
        self, recipe: Any, word: str, rates: tuple[float, float], weights: Sequence[np.ndarray],
        layout: str = "contiguous_format", compiled: bool = False,
    ) -> None:  # fmt: skip
        self._layout = getattr(torch, layout)
        twin = build(recipe).to(torch.from_numpy(weights[0]).dtype)
        self._twin = load(twin.to(memory_format=self._layout), weights).train()
        self._optimizer = sgd(self._twin, *rates)

        def loss(images: Any, labels: Any) -> torch.Tensor:
            return loss_of(word, self._twin(images), labels)

        self._loss = _compiled(loss) if compiled else loss

    def place(self, images: np.ndarray, labels: np.ndarray) -> tuple[Any, Any]:
        """A batch as `step` takes it."""
        x = torch.from_numpy(np.ascontiguousarray(images)).to(memory_format=self._layout)
        return x, torch.from_numpy(labels.copy())

    def step(self, images: Any, labels: Any) -> torch.Tensor:
        """One step; returns the loss before it."""
        return _step(self._loss, self._optimizer, images, labels)

    def load(self, weights: Sequence[np.ndarray]) -> None:
        """Go back to these weights."""
        load(self._twin, weights)

    def weights(self) -> list[np.ndarray]:
        """The weights as they are now; copies."""
        return [parameter.detach().numpy().copy() for parameter in self._twin.parameters()]

    def gradients(self) -> list[np.ndarray]:
        """Those of the last step, if it was the first since the weights were loaded."""
        return [parameter.grad.numpy().copy() for parameter in self._twin.parameters()]


def scores(
    recipe: Any, weights: Sequence[np.ndarray], images: np.ndarray,
    layout: str = "contiguous_format", compiled: bool = False,
) -> Callable[[], torch.Tensor]:  # fmt: skip
    """A function of nothing that gives the outputs for these images.

    torch.compile is told to freeze the weights, which PyTorch advises for inference.
    """
    batch = torch.from_numpy(images).to(memory_format=getattr(torch, layout))
    twin: Any = load(build(recipe).to(batch.dtype), weights).to(
        memory_format=getattr(torch, layout)
    )
    run = _compiled(twin.eval(), options={"freezing": True}) if compiled else twin.eval()

    def outputs() -> torch.Tensor:
        with torch.inference_mode():
            return run(batch)

    return outputs


def _compiled(function: Any, **settings: Any) -> Any:
    return torch.compile(function, dynamic=False, **settings)


def forget() -> None:
    """Forget what was compiled: of a function PyTorch keeps eight forms, others run eager."""
    torch.compiler.reset()


def ready(threads: int, compiled: bool) -> str:
    """Set PyTorch up; "" or, of torch.compile, why it does not run here."""
    torch.set_num_threads(threads)
    torch._dynamo.config.fail_on_recompile_limit_hit = True  # rather than run eager
    if compiled:
        try:
            _compiled(lambda x: x + 1)(torch.ones(1))
        except RuntimeError as error:  # it needs a C++ compiler
            return str(error).strip().split("\n")[0]
    return ""
