"""Train the small networks that come with the explorer:  python -m glassbox.explorer.make_networks

A minute of work.  Weights go to networks/, and to networks.json there how good they are.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from CNN import CNN
from Datasets import MNIST, Augmentation, Digits, FashionMNIST, Splits
from Filters import Conv2D, MaxPool2D, Residual
from glassbox.atomic import write_atomically
from glassbox.engine.machine import machine
from MLP import Adam, Dense, OneCycle

FOLDER = Path(__file__).parent / "networks"


def mnist() -> CNN:
    """main.py's network with fewer dense units."""
    return CNN(
        Conv2D(8, 3), MaxPool2D(2), Conv2D(16, 3), MaxPool2D(2), Dense(24, "leaky_relu"),
        Dense(10, "softmax"), loss="cross_entropy", optimizer=Adam(OneCycle(0.004)),
    )  # fmt: skip


def fashion_mnist() -> CNN:
    """A residual block, and a third convolution instead of most dense weights."""
    return CNN(
        Conv2D(16, 3), MaxPool2D(2), Residual(Conv2D(16, 3), Conv2D(16, 3, activation=None)),
        MaxPool2D(2), Conv2D(32, 3), MaxPool2D(2), Dense(32, "leaky_relu"),
        Dense(10, "softmax"), loss="cross_entropy", optimizer=Adam(OneCycle(0.004)),
    )  # fmt: skip


def digits() -> CNN:
    """Two convolutions for images of 8 x 8."""
    return CNN(
        Conv2D(8, 3), MaxPool2D(2), Conv2D(16, 3), Dense(10, "softmax"),
        loss="cross_entropy", optimizer=Adam(OneCycle(0.004)),
    )  # fmt: skip


def made(name: str, network: CNN, data: Splits, epochs: int, **how: Any) -> dict[str, Any]:
    """Train a network and write it; returns how good it is."""
    network.fit(data.train, data.validation, epochs, **how)
    path = network.save(FOLDER / f"{name}.safetensors")
    tested = network.evaluate(data.test)
    return {
        "data": data.name, "parameters": network.parameter_count, "bytes": path.stat().st_size,
        "test_accuracy": tested.accuracy, "test_loss": tested.loss, "test_images": tested.images,
    }  # fmt: skip


def main() -> None:
    """Make all of them."""
    FOLDER.mkdir(exist_ok=True)
    shifted = {"augment": Augmentation(shift=2)}
    found = {
        "digits": made("digits", digits(), Digits(), 60),
        "fashion-mnist": made("fashion-mnist", fashion_mnist(), FashionMNIST(), 8),
        "mnist": made("mnist", mnist(), MNIST(), 8, **shifted),
        "machine": machine(),
    }
    text = json.dumps(found, indent=2) + "\n"
    write_atomically(FOLDER / "networks.json", text.encode())
    print(text)


if __name__ == "__main__":
    main()
