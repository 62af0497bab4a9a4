"""Make tests/golden/pytorch_*.safetensors: a PyTorch model's weights, and what it makes of images.

    python tests/make_state_dict.py        # needs torch and safetensors; run once

The tests load the weights and compare outputs and gradients with these numbers, without PyTorch.
"""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import nn

GOLDEN = Path(__file__).with_name("golden")


def model() -> nn.Sequential:
    """A small network of the layers that have weights, in double precision."""
    return nn.Sequential(
        nn.Conv2d(2, 4, (3, 5), stride=(2, 1), padding=(1, 2), bias=False),
        nn.BatchNorm2d(4),
        nn.LeakyReLU(0.01),
        nn.MaxPool2d(2),
        nn.Conv2d(4, 5, 2),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(5 * 2 * 2, 6),
        nn.Sigmoid(),
        nn.Linear(6, 3),
    ).double()


def main() -> None:
    """Train a few steps, so that no number is what it began as; then write weights and numbers."""
    torch.manual_seed(3)
    net = model()
    images, labels = torch.rand(4, 2, 11, 6, dtype=torch.float64), torch.tensor([0, 2, 1, 2])
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    for _ in range(5):
        optimizer.zero_grad()
        nn.functional.cross_entropy(net(images), labels).backward()
        optimizer.step()
    save_file(net.state_dict(), GOLDEN / "pytorch_state.safetensors")
    net.eval()
    numbers = {"images": images, "labels": labels, "in_use": net(images).detach()}
    net.train()
    net.zero_grad()
    outputs = net(images)
    loss = nn.functional.cross_entropy(outputs, labels)
    loss.backward()
    numbers |= {"in_training": outputs.detach(), "loss": loss.detach().reshape(1)}
    numbers |= {f"gradient.{name}": value.grad for name, value in net.named_parameters()}
    save_file(numbers, GOLDEN / "pytorch_numbers.safetensors")


if __name__ == "__main__":
    main()
