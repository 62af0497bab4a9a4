"""The networks that are measured: those of the five published systems, and main.py's."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from CNN import CNN
from Datasets import Dataset, Scaling
from Filters import AvgPool2D, Conv2D, MaxPool2D
from glassbox.engine.layer import Layer
from MLP import SGD, Dense, Dropout

IMAGE = (1, 28, 28)
LEARNING_RATE, MOMENTUM = 1e-3, 0.9


def _a() -> list[Layer]:
    return [
        Conv2D(2, 3, padding="valid", activation="relu"), AvgPool2D(2),
        Conv2D(3, 3, padding="valid", activation="relu"), AvgPool2D(2),
        Dense(32, "relu"), Dense(10, "softmax"),
    ]  # fmt: skip


def _b() -> list[Layer]:
    return [
        Conv2D(32, 3, padding="valid", activation="relu"),
        Conv2D(64, 3, padding="valid", activation="relu"), MaxPool2D(2),
        Dense(128, "relu"), Dense(10, "softmax"),
    ]  # fmt: skip


def _c() -> list[Layer]:
    return [
        Conv2D(2, 3, padding="valid", activation="relu"),
        Conv2D(2, 2, padding="valid", activation="relu"), Dense(10, "softmax"),
    ]  # fmt: skip


def _d() -> list[Layer]:
    return [Conv2D(8, 3), MaxPool2D(2), Conv2D(2, 3), MaxPool2D(2), Dense(98), Dense(10)]


def _default() -> list[Layer]:
    return [Conv2D(8, 3), MaxPool2D(2), Conv2D(16, 3), MaxPool2D(2), Dense(72), Dense(10)]


def _e() -> list[Layer]:
    return [
        Conv2D(32, 3, padding="valid"), Conv2D(64, 3, padding="valid"), MaxPool2D(2), Dropout(0.25),
        Conv2D(128, 3, padding="valid"), MaxPool2D(2), Dropout(0.25),
        Dense(512, "leaky_relu"), Dropout(0.5), Dense(10, "softmax"),
    ]  # fmt: skip


def _mlp() -> list[Layer]:
    return [Dense(128, "leaky_relu"), Dense(64, "leaky_relu"), Dense(10, "softmax")]


# name -> (what it is, its layers, its loss)
NETWORKS: dict[str, tuple[str, Callable[[], list[Layer]], str]] = {
    "A": ("lab, 2 and 3 filters", _a, "cross_entropy"),
    "B": ("Keras pipeline, 32 and 64 filters", _b, "cross_entropy"),
    "C": ("two convolutions of 2 filters", _c, "cross_entropy"),
    "D": ("sigmoid and MSE, 8 and 2 filters", _d, "mse"),
    "D 8/16": ("main.py's, 8 and 16 filters", _default, "mse"),
    "E CNN": ("32, 64 and 128 filters", _e, "cross_entropy"),
    "E MLP": ("784-128-64-10", _mlp, "cross_entropy"),
}


def network(name: str, dropout: bool = True, **settings: Any) -> CNN:
    """The network of that name, built for 28 x 28 images, with SGD and momentum.

    `dropout` of False leaves its dropout layers out; `settings` are those of `CNN`.
    """
    _, layers, loss = NETWORKS[name]
    kept = [layer for layer in layers() if dropout or not isinstance(layer, Dropout)]
    optimizer = SGD(LEARNING_RATE, momentum=MOMENTUM)
    return CNN(*kept, loss=loss, optimizer=optimizer, **settings).build(IMAGE)


def random_images(count: int, shape: tuple[int, int, int] = IMAGE) -> Dataset:
    """Random bytes with labels of ten classes: time does not depend on what a picture shows."""
    pixels = np.random.default_rng(0).integers(0, 256, size=(count, *shape), dtype=np.uint8)
    return Dataset(pixels, np.arange(count) % 10, tuple("0123456789"), Scaling("unit"))
