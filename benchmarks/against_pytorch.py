"""Training speed in pure NumPy beside PyTorch's, on the networks of the five systems.

    python -m benchmarks.against_pytorch            # all networks, batches of 128
    python -m benchmarks.against_pytorch --networks A "D 8/16" --batch 1

In one run and in alternation: PyTorch in both memory formats (the better one counts), then ours.
Before any timing both get the same weights, and loss and gradients must agree to 1e-4 relative.
Both train on arrays in memory.  Ours takes bytes and scales them in every step; PyTorch's images
are floats already, which is the easier task.
Needs PyTorch: pip install -r benchmarks/requirements.txt
"""

from __future__ import annotations

import argparse
import json
import statistics
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from benchmarks.machine import describe, rate, spread
from benchmarks.networks import IMAGE, NETWORKS, network
from CNN import CNN
from Datasets import Dataset, Scaling
from engine.machine import machine
from Filters import AvgPool2D, Conv2D, MaxPool2D
from MLP import Dense, Dropout, LeakyReLU, Sigmoid

Step = Callable[[], object]


def _activation(layer: Conv2D | Dense) -> list[nn.Module]:
    """PyTorch's counterpart of the activation a layer carries (softmax is in the loss)."""
    if isinstance(layer.activation, LeakyReLU):
        slope = layer.activation.slope
        return [nn.LeakyReLU(slope) if slope else nn.ReLU()]
    return [nn.Sigmoid()] if isinstance(layer.activation, Sigmoid) else []


def _copy(target: nn.Module, layer: Conv2D | Dense) -> nn.Module:
    """The same weights: both keep them as (out, in, ...)."""
    with torch.no_grad():
        target.weight.copy_(torch.from_numpy(layer.parameters["weights"].copy()))
        target.bias.copy_(torch.from_numpy(layer.parameters["bias"].copy()))
    return target


def twin(ours: CNN) -> nn.Sequential:
    """The same network with the same weights in PyTorch."""
    modules: list[nn.Module] = []
    flat = False
    for layer in ours.layers:
        if isinstance(layer, Conv2D):
            top, bottom, left, right = layer.window.padding
            assert top == bottom == left == right, "PyTorch pads both sides alike"
            made = nn.Conv2d(layer.input_shape[0], layer.filters, layer.kernel, padding=top)
            modules += [_copy(made, layer), *_activation(layer)]
        elif isinstance(layer, MaxPool2D):
            modules.append(nn.MaxPool2d(layer.kernel))
        elif isinstance(layer, AvgPool2D):
            modules.append(nn.AvgPool2d(layer.kernel))
        elif isinstance(layer, Dropout):
            modules.append(nn.Dropout(layer.rate))
        elif isinstance(layer, Dense):
            modules += [] if flat else [nn.Flatten()]
            flat = True
            made_dense = nn.Linear(int(np.prod(layer.input_shape)), layer.units)
            modules += [_copy(made_dense, layer), *_activation(layer)]
    return nn.Sequential(*modules)


def torch_loss(name: str, outputs: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """The same loss in PyTorch."""
    if NETWORKS[name][2] == "mse":
        return functional.mse_loss(outputs, functional.one_hot(labels, 10).float())
    return functional.cross_entropy(outputs, labels)


def check_agreement(name: str, data: Dataset) -> None:
    """Same weights, same images: loss and every gradient must agree to 1e-4 relative."""
    ours = network(name, seed=5)
    theirs = twin(ours).eval()  # without dropout, whose masks differ
    x, labels = data.batch(np.arange(32))
    outputs, memories = ours.forward(x)
    losses, memory = ours.loss.forward(np.ascontiguousarray(outputs.T), labels)
    gradients = ours.backward(ours.loss.backward(memory, len(x)).T, memories)
    loss = torch_loss(
        name, theirs(torch.from_numpy(np.ascontiguousarray(x))), torch.from_numpy(labels.copy())
    )
    loss.backward()
    _agree(f"{name}: loss", np.float64(losses.mean()), np.float64(loss.item()))
    modules = [m for m in theirs if isinstance(m, (nn.Conv2d, nn.Linear))]
    for (layer, own), module in zip(gradients.items(), modules, strict=True):
        _agree(f"{name}: {layer} weights", own["weights"], module.weight.grad.numpy())
        _agree(f"{name}: {layer} bias", own["bias"], module.bias.grad.numpy())


def _agree(what: str, ours: Any, theirs: Any) -> None:
    error = np.abs(ours - theirs).max() / max(float(np.abs(theirs).max()), 1e-12)
    if not error < 1e-4:
        raise SystemExit(f"{what}: ours and PyTorch's differ by {error:.1e} relative; no timing")


def our_step(name: str, data: Dataset, batch: int) -> Step:
    """A training step of ours on the next images of `data`."""
    ours, at = network(name), [0]

    def step() -> None:
        start = at[0] = (at[0] + batch) % (len(data) - batch)
        ours.train_step(data, np.arange(start, start + batch))

    return step


def their_step(name: str, data: Dataset, batch: int, layout: torch.memory_format) -> Step:
    """A training step of PyTorch's on images that are scaled and laid out beforehand."""
    theirs = twin(network(name)).to(memory_format=layout).train()
    optimizer = torch.optim.SGD(theirs.parameters(), lr=1e-3, momentum=0.9)
    x, labels = data.batch(np.arange(batch))
    images = torch.from_numpy(np.ascontiguousarray(x)).to(memory_format=layout)
    truth = torch.from_numpy(labels.copy())

    def step() -> None:
        optimizer.zero_grad()
        torch_loss(name, theirs(images), truth).backward()
        optimizer.step()

    return step


def measure(name: str, data: Dataset, batch: int, rounds: int, seconds: float) -> dict[str, Any]:
    """Images per second of all contestants in alternation, and the ratio of every round."""
    check_agreement(name, data)
    contestants = {
        "contiguous": their_step(name, data, batch, torch.contiguous_format),
        "channels_last": their_step(name, data, batch, torch.channels_last),
        "ours": our_step(name, data, batch),
    }
    for step in contestants.values():  # warm-up
        rate(step, batch, seconds / 4)
    found: dict[str, list[float]] = {key: [] for key in contestants}
    for _ in range(rounds):
        for key, step in contestants.items():
            found[key].append(rate(step, batch, seconds))
    better = max(("contiguous", "channels_last"), key=lambda key: statistics.median(found[key]))
    ratios = [o / t for o, t in zip(found["ours"], found[better], strict=True)]
    return {"images_per_second": found, "better_format": better, "ratios": ratios}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--networks", nargs="+", choices=NETWORKS, default=list(NETWORKS))
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--seconds", type=float, default=1.0, help="for each timing")
    parser.add_argument("--json", metavar="FILE", help="write everything there")
    options = parser.parse_args()

    torch.set_num_threads(machine()["cores"])
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, size=(4096, *IMAGE), dtype=np.uint8)
    data = Dataset(pixels, np.arange(4096) % 10, tuple("0123456789"), Scaling("unit"))
    print(f"{describe()}, PyTorch {torch.__version__}")
    print(f"training, batches of {options.batch}, median of {options.rounds} alternations\n")
    print("network   PyTorch images/s   ours images/s   ours / PyTorch (lowest to highest)")
    everything: dict[str, Any] = {"machine": machine() | {"torch": torch.__version__}}
    for name in options.networks:
        result = measure(name, data, options.batch, options.rounds, options.seconds)
        everything[name] = result
        speeds = result["images_per_second"]
        theirs = statistics.median(speeds[result["better_format"]])
        ours = statistics.median(speeds["ours"])
        print(f"{name:<8} {theirs:17,.0f} {ours:15,.0f}   {spread(result['ratios'])}", flush=True)
    if options.json:
        Path(options.json).write_text(json.dumps(everything, indent=2) + "\n")


if __name__ == "__main__":
    main()
