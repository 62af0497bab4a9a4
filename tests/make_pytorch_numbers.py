"""Makes pytorch_numbers.json: what PyTorch says, so that the tests need no PyTorch.

The file in the repository was made with PyTorch 2.13 on a CPU, in float64.  To make it again:
`python tests/make_pytorch_numbers.py` in an environment that has torch and numpy.  Inputs are
short decimals (exact multiples of 1/16 where images are), so both sides start from the same bits.
"""

from __future__ import annotations

import itertools
import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional

torch.set_default_dtype(torch.float64)
torch.manual_seed(0)
RANDOM = np.random.default_rng(0)


def draw(*shape: int) -> torch.Tensor:
    """Multiples of 1/16 between -2 and 2: exact in every float format."""
    return torch.tensor(RANDOM.integers(-32, 33, shape) / 16.0)


def weights(*shape: int) -> torch.Tensor:
    """Small weights of three decimals."""
    return torch.tensor(np.round(RANDOM.normal(0, 0.4, shape), 3), requires_grad=True)


def plain(value: Any) -> Any:
    """Tensors as nested lists of short numbers."""
    if isinstance(value, dict):
        return {key: plain(inner) for key, inner in value.items()}
    if isinstance(value, torch.Tensor):
        value = value.detach().tolist()
    if isinstance(value, (list, tuple)):
        return [plain(inner) for inner in value]
    return float(f"{value:.14g}") if isinstance(value, float) else value


def pooling() -> dict[str, Any]:
    """Ties of max-pooling, and everything that an average may be divided by."""
    largest = [
        ((4, 6), {"kernel_size": 2, "stride": 2}),
        ((5, 7), {"kernel_size": 3, "stride": 2, "padding": 1}),
        ((6, 5), {"kernel_size": (3, 2), "stride": (2, 2), "ceil_mode": True}),
        ((6, 6), {"kernel_size": 3, "stride": 2, "padding": 1, "ceil_mode": True}),
        ((5, 5), {"kernel_size": 2, "stride": 1}),
        ((5, 5), {"kernel_size": 2, "stride": 2, "padding": 1, "ceil_mode": True}),
    ]
    mean = [
        ((5, 7), {"kernel_size": 2, "stride": 2}),
        ((5, 7), {"kernel_size": 2, "stride": 2, "ceil_mode": True}),
        ((6, 6), {"kernel_size": 3, "stride": 2, "padding": 1}),
        ((6, 6), {"kernel_size": 3, "stride": 2, "padding": 1, "ceil_mode": True}),
        ((5, 5), {"kernel_size": 2, "stride": 2, "padding": 1, "ceil_mode": True}),
        ((7, 5), {"kernel_size": (3, 2), "stride": (3, 1), "padding": (1, 0), "ceil_mode": True}),
    ]
    return pooled(largest, mean)


def pooled(largest: list[Any], mean: list[Any]) -> dict[str, Any]:
    """What both poolings make of windows: (size of the image, settings) of each."""
    found: dict[str, Any] = {"max": [], "average": []}
    for size, settings in largest:
        x = torch.tensor(RANDOM.integers(0, 3, (2, 2, *size)) * 1.0, requires_grad=True)
        y = functional.max_pool2d(x, **settings)
        found["max"].append({"settings": settings, **backward(x, y)})
    for counted, (size, settings) in itertools.product((True, False), mean):
        x = draw(1, 2, *size).requires_grad_()
        given = {**settings, "count_include_pad": counted}
        y = functional.avg_pool2d(x, **given)
        found["average"].append({"settings": given, **backward(x, y)})
    return found


def backward(x: torch.Tensor, y: torch.Tensor) -> dict[str, Any]:
    """x, y, a gradient drawn for y, and that of x."""
    dy = draw(*y.shape)
    y.backward(dy)
    return {"x": x, "y": y, "dy": dy, "dx": x.grad}


def odd_pooling() -> dict[str, Any]:
    """Dilated windows, and windows larger than their padded image."""
    largest = [
        ((6, 7), {"kernel_size": 2, "stride": 2, "dilation": 2}),
        ((8, 9), {"kernel_size": (3, 2), "stride": (1, 2), "padding": 1, "dilation": (2, 3)}),
        ((7, 7), {"kernel_size": 3, "stride": 2, "padding": 1, "dilation": 2, "ceil_mode": True}),
        ((2, 1), {"kernel_size": 3, "stride": 3, "ceil_mode": True}),
        ((3, 3), {"kernel_size": 2, "stride": 4, "dilation": 3, "ceil_mode": True}),
    ]
    mean = [
        ((2, 1), {"kernel_size": 3, "stride": 3, "ceil_mode": True}),
        ((1, 3), {"kernel_size": 6, "stride": 5, "padding": 1, "ceil_mode": True}),
    ]
    return pooled(largest, mean)


def batch_norm() -> dict[str, Any]:
    """Two training batches and then use, for volumes and for rows."""
    found = {}
    for name, kind, shape in [
        ("volume", nn.BatchNorm2d, (4, 3, 2, 3)),
        ("row", nn.BatchNorm1d, (5, 3)),
    ]:
        layer = kind(3, momentum=0.3, eps=1e-3)
        scale, shift = weights(3), weights(3)
        layer.weight.data, layer.bias.data = scale.data, shift.data
        batches = []
        for _ in range(2):
            x = draw(*shape).requires_grad_()
            layer.zero_grad()
            y = layer(x)
            dy = draw(*shape)
            y.backward(dy)
            batches.append(
                {
                    "x": x, "y": y, "dy": dy, "dx": x.grad,
                    "weight": layer.weight.grad.clone(), "bias": layer.bias.grad.clone(),
                    "running_mean": layer.running_mean.clone(),
                    "running_var": layer.running_var.clone(),
                }
            )  # fmt: skip
        layer.eval()
        x = draw(*shape)
        found[name] = {
            "weight": scale, "bias": shift, "batches": batches, "x": x, "y": layer(x),
        }  # fmt: skip
    return found


def losses() -> list[dict[str, Any]]:
    """Mean losses and their gradients, with and without label smoothing."""
    found = []
    labels = torch.tensor([2, 0, 4, 2])
    for name in ("mse", "cross_entropy"):
        for smoothing in (0.0, 0.1):
            outputs = draw(4, 5).requires_grad_()
            if name == "mse":
                targets = functional.one_hot(labels, 5) * (1 - smoothing) + smoothing / 5
                loss = functional.mse_loss(outputs, targets)
            else:
                loss = functional.cross_entropy(outputs, labels, label_smoothing=smoothing)
            loss.backward()
            found.append(
                {
                    "name": name, "smoothing": smoothing, "outputs": outputs, "labels": labels,
                    "loss": loss, "gradient": outputs.grad,
                }
            )  # fmt: skip
    return found


OPTIMIZERS: list[tuple[str, type[torch.optim.Optimizer], dict[str, Any]]] = [
    ("SGD", torch.optim.SGD, {"lr": 0.05}),
    ("SGD", torch.optim.SGD, {"lr": 0.05, "weight_decay": 0.1}),
    ("SGD", torch.optim.SGD, {"lr": 0.05, "momentum": 0.9}),
    ("SGD", torch.optim.SGD, {"lr": 0.05, "momentum": 0.9, "nesterov": True}),
    (
        "SGD", torch.optim.SGD,
        {"lr": 0.05, "momentum": 0.8, "nesterov": True, "weight_decay": 0.1},
    ),
    ("Adam", torch.optim.Adam, {"lr": 0.1}),
    ("Adam", torch.optim.Adam, {"lr": 0.1, "betas": (0.8, 0.95), "eps": 0.01}),
    ("Adam", torch.optim.Adam, {"lr": 0.1, "weight_decay": 0.1}),
    ("AdamW", torch.optim.AdamW, {"lr": 0.1}),
    ("AdamW", torch.optim.AdamW, {"lr": 0.1, "betas": (0.8, 0.95), "weight_decay": 0.3}),
    ("RMSprop", torch.optim.RMSprop, {"lr": 0.05}),
    ("RMSprop", torch.optim.RMSprop, {"lr": 0.05, "alpha": 0.8, "eps": 0.01}),
    ("RMSprop", torch.optim.RMSprop, {"lr": 0.02, "momentum": 0.9, "weight_decay": 0.1}),
    ("Adadelta", torch.optim.Adadelta, {}),
    ("Adadelta", torch.optim.Adadelta, {"lr": 2.0, "rho": 0.8, "eps": 1e-3, "weight_decay": 0.1}),
]  # fmt: skip


def optimizers() -> dict[str, Any]:
    """20 steps down a bowl: gradient = matrix w - target."""
    root = np.round(RANDOM.normal(0, 1, (6, 6)), 2)
    matrix = torch.tensor(np.round(root @ root.T / 6 + 0.1 * np.eye(6), 3))
    target, start = draw(6), draw(6)
    runs = []
    for name, kind, settings in OPTIMIZERS:
        w = start.clone().requires_grad_()
        optimizer = kind([w], **settings)
        path = []
        for _ in range(20):
            w.grad = (matrix @ w - target).detach()
            optimizer.step()
            path.append(w.detach().clone())
        kept = {str(k): path[k - 1] for k in (1, 2, 20)}
        runs.append({"name": name, "settings": settings, "after": kept})
    return {"matrix": matrix, "target": target, "start": start, "runs": runs}


def schedules() -> dict[str, Any]:
    """Rates of 21 steps.  OneCycleLR peaks at step pct_start * 21 - 1: 6 with pct_start = 1/3."""

    def rates(make: Any) -> list[float]:
        optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=0.4)
        schedule = make(optimizer)
        found = []
        for _ in range(21):
            found.append(optimizer.param_groups[0]["lr"])
            optimizer.step()
            if len(found) < 21:
                schedule.step()
        return found

    kinds = torch.optim.lr_scheduler
    return {
        "one_cycle": rates(
            lambda o: kinds.OneCycleLR(
                o, max_lr=0.4, total_steps=21, pct_start=1 / 3, div_factor=10,
                final_div_factor=50, cycle_momentum=False,
            )
        ),
        "cosine": rates(lambda o: kinds.CosineAnnealingLR(o, T_max=20, eta_min=0.05)),
        "step": rates(lambda o: kinds.StepLR(o, step_size=6, gamma=0.5)),
        "exponential": rates(lambda o: kinds.ExponentialLR(o, gamma=0.9)),
    }  # fmt: skip


def network() -> dict[str, Any]:
    """conv (leaky), max-pool, conv (sigmoid), average-pool, dense (tanh), dense; both losses."""
    parameters = {
        "conv1": {"weight": weights(4, 2, 3, 3), "bias": weights(4)},
        "conv2": {"weight": weights(3, 4, 3, 2), "bias": weights(3)},
        "dense1": {"weight": weights(6, 12), "bias": weights(6)},
        "dense2": {"weight": weights(5, 6), "bias": weights(5)},
    }
    x, labels = draw(3, 2, 9, 8), torch.tensor([3, 0, 3])

    def run(p: dict[str, dict[str, torch.Tensor]]) -> torch.Tensor:
        y = functional.leaky_relu(
            functional.conv2d(x, p["conv1"]["weight"], p["conv1"]["bias"], padding=1), 0.01
        )
        y = functional.max_pool2d(y, 2, ceil_mode=True)
        y = functional.conv2d(
            y, p["conv2"]["weight"], p["conv2"]["bias"], stride=(2, 1), padding=(1, 0)
        )
        y = functional.avg_pool2d(torch.sigmoid(y), 2, ceil_mode=True).flatten(1)
        y = torch.tanh(functional.linear(y, p["dense1"]["weight"], p["dense1"]["bias"]))
        return functional.linear(y, p["dense2"]["weight"], p["dense2"]["bias"])

    runs = {}
    for name in ("mse", "cross_entropy"):
        for layer in parameters.values():
            for array in layer.values():
                array.grad = None
        outputs = run(parameters)
        if name == "mse":
            outputs = torch.sigmoid(outputs)
            loss = functional.mse_loss(outputs, functional.one_hot(labels, 5) * 1.0)
        else:
            loss = functional.cross_entropy(outputs, labels)
        loss.backward()
        gradients = {
            layer: {key: array.grad.clone() for key, array in own.items()}
            for layer, own in parameters.items()
        }
        runs[name] = {"outputs": outputs, "loss": loss, "gradients": gradients}
    return {"parameters": parameters, "x": x, "labels": labels, "runs": runs}


def one_step() -> dict[str, Any]:
    """conv, batch norm, ReLU, max-pool, dense; one step of SGD with momentum on 40 images."""
    x, labels = draw(40, 1, 5, 6), torch.tensor(RANDOM.integers(0, 3, 40))
    p = {
        "conv1": {"weight": weights(2, 1, 3, 3)},
        "norm1": {"weight": weights(2), "bias": weights(2)},
        "dense1": {"weight": weights(3, 12), "bias": weights(3)},
    }
    before = {layer: {k: a.detach().clone() for k, a in own.items()} for layer, own in p.items()}
    mean, variance = torch.zeros(2), torch.ones(2)
    optimizer = torch.optim.SGD(
        [a for own in p.values() for a in own.values()], lr=0.5, momentum=0.9
    )
    y = functional.conv2d(x, p["conv1"]["weight"], padding=1)
    y = functional.batch_norm(
        y, mean, variance, p["norm1"]["weight"], p["norm1"]["bias"], training=True, momentum=0.1
    )
    y = functional.max_pool2d(functional.relu(y), 2, ceil_mode=False).flatten(1)
    loss = functional.cross_entropy(
        functional.linear(y, p["dense1"]["weight"], p["dense1"]["bias"]), labels
    )
    loss.backward()
    optimizer.step()
    return {
        "x": x, "labels": labels, "before": before, "after": p, "loss": loss,
        "running_mean": mean, "running_var": variance,
    }  # fmt: skip


if __name__ == "__main__":
    numbers = {
        "pytorch": torch.__version__,
        "pooling": pooling(),
        "batch_norm": batch_norm(),
        "losses": losses(),
        "optimizers": optimizers(),
        "schedules": schedules(),
        "network": network(),
        "one_step": one_step(),
        "odd_pooling": odd_pooling(),
    }
    target = Path(__file__).with_name("pytorch_numbers.json")
    target.write_text(json.dumps(plain(numbers), separators=(",", ":")) + "\n", "utf-8")
    print(f"{target.name}: {target.stat().st_size:,} bytes")
