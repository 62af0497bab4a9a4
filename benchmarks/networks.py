"""The networks that are measured: those of the five published systems, and main.py's.

They are those of examples/ and main.py, which a test compares.  Importing those here would bring
matplotlib into every process whose memory is measured.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from CNN import CNN
from Datasets import Dataset, Scaling
from Filters import AvgPool2D, Conv2D, MaxPool2D
from glassbox.engine.layer import Layer
from MLP import SGD, Dense, Dropout

IMAGE = (1, 28, 28)
LEARNING_RATE, MOMENTUM = 1e-3, 0.9
relu = partial(Conv2D, padding="valid", activation="relu")
leaky = partial(Conv2D, kernel_size=3, padding="valid")
leaky_dense = partial(Dense, activation="leaky_relu")


def end() -> Dense:
    """Ten classes."""
    return Dense(10, "softmax")


def default(filters: int, units: int) -> list[Layer]:
    """Two convolutions of 8 and `filters` filters, two dense layers with sigmoids."""
    return [Conv2D(8, 3), MaxPool2D(2), Conv2D(filters, 3), MaxPool2D(2), Dense(units), Dense(10)]


# name -> (what it is, its layers, its loss)
NETWORKS: dict[str, tuple[str, Callable[[], list[Layer]], str]] = {
    "A": ("lab, 2 and 3 filters", lambda: [
        relu(2, 3), AvgPool2D(2), relu(3, 3), AvgPool2D(2), Dense(32, "relu"), end(),
    ], "cross_entropy"),
    "B": ("Keras pipeline, 32 and 64 filters", lambda: [
        relu(32, 3), relu(64, 3), MaxPool2D(2), Dense(128, "relu"), end(),
    ], "cross_entropy"),
    "C": ("two convolutions of 2 filters", lambda: [relu(2, 3), relu(2, 2), end()],
          "cross_entropy"),
    "D": ("sigmoid and MSE, 8 and 2 filters", lambda: default(2, 98), "mse"),
    "D 8/16": ("main.py's, 8 and 16 filters", lambda: default(16, 72), "mse"),
    "E CNN": ("32, 64 and 128 filters", lambda: [
        leaky(32), leaky(64), MaxPool2D(2), Dropout(0.25), leaky(128), MaxPool2D(2), Dropout(0.25),
        leaky_dense(512), Dropout(0.5), end(),
    ], "cross_entropy"),
    "E MLP": ("784-128-64-10", lambda: [leaky_dense(128), leaky_dense(64), end()],
              "cross_entropy"),
}  # fmt: skip


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
