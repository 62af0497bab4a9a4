"""MNIST three ways: quickly, with few numbers, and as well as one network can.

    python -m examples.records              # or some of them: --only fast small

On two cores a seed takes 10 seconds (fast: 99 % of the test images within 15), 7 minutes (small:
under 20,000 parameters) and 8 minutes (best).  The settings are a first choice, compared with no
others.

The table has the mean of five seeds, 0 to 4, of the epoch that was best on validation images; the
pictures in the folder are those of seed 0.  Test-time augmentation (the mean of the class scores
over copies of an image shifted by a pixel) is a second figure beside the first.
"""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np

from CNN import CNN
from Datasets import Augmentation, Dataset, Splits
from examples.common import Claim, attempt, images, parse
from Filters import Conv2D, GlobalAvgPool2D, MaxPool2D
from MLP import Adam, BatchNorm, Dense, Dropout, LeakyReLU, OneCycle

SHIFTS = [(0, 0), (0, 1), (0, -1), (1, 0), (-1, 0)]  # of test-time augmentation, in pixels
SHAKEN = Augmentation(shift=2, rotation=10, zoom=0.1)
USUAL: dict[str, Any] = {"batch_size": 128, "augment": SHAKEN, "ema_decay": 0.998}
QUICKLY: dict[str, Any] = {"batch_size": 64, "augment": None, "ema_decay": 0.0}


def normalized(filters: int) -> list:
    """A 3 x 3 convolution, batch normalization, leaky ReLU."""
    return [Conv2D(filters, 3, activation=None, bias=False), BatchNorm(), LeakyReLU()]


def fast() -> list:
    """105,866 parameters."""
    return [
        Conv2D(16, 3), MaxPool2D(2),  # leaky ReLU
        Conv2D(32, 3), MaxPool2D(2),
        Dense(64, "leaky_relu"),
    ]  # fmt: skip


def small() -> list:
    """17,934 parameters."""
    return [
        *normalized(12), *normalized(16), MaxPool2D(2),
        *normalized(24), *normalized(24), MaxPool2D(2),
        *normalized(32), GlobalAvgPool2D(),
    ]  # fmt: skip


def best() -> list:
    """140,458 parameters."""
    return [
        *normalized(32), *normalized(32), MaxPool2D(2), Dropout(0.1),
        *normalized(64), *normalized(64), MaxPool2D(2), Dropout(0.2),
        *normalized(128), GlobalAvgPool2D(),
    ]  # fmt: skip


# name -> (its claim, layers, highest rate, images to train, validate and test with, training)
RECORDS = {
    "fast": (Claim("record-fast", "record", "99 % within 15 s of training", None, 99.0), fast,
             0.005, (50_000, 10_000, 10_000), {"epochs": 4, **QUICKLY}),
    "small": (Claim("record-small", "record", "under 20,000 parameters", None, 99.4), small,
              0.01, (55_000, 5_000, 10_000), {"epochs": 30, **USUAL}),
    "best": (Claim("record-best", "record", "one network", None, 99.6), best,
             0.005, (55_000, 5_000, 10_000), {"epochs": 16, **USUAL}),
}  # fmt: skip


def network(name: str, **settings: Any) -> CNN:
    """The network of a record."""
    _, layers, rate, *_ = RECORDS[name]
    return CNN(
        *layers(),
        Dense(10, "softmax"),
        loss="cross_entropy", optimizer=Adam(OneCycle(rate)), **settings,
    )  # fmt: skip


def shifted(data: Dataset, down: int, right: int) -> Dataset:
    """The images moved by whole pixels; what comes in at the border repeats its pixels."""
    _, _, height, width = data.images.shape
    rows = np.clip(np.arange(height) - down, 0, height - 1)
    columns = np.clip(np.arange(width) - right, 0, width - 1)
    moved = data.images[:, :, rows][:, :, :, columns]
    return Dataset(moved, data.labels, data.classes, data.scaling)


def accuracy_over_shifts(model: CNN, data: Dataset) -> float:
    """Right answers in per cent, by the mean of the class scores over `SHIFTS`."""
    scores = sum(model.predict_proba(shifted(data, *shift)) for shift in SHIFTS)
    return 100 * float(np.mean(scores.argmax(axis=1) == data.labels))


def beside(each: dict[str, list[float]], model: CNN, data: Splits) -> dict[str, Any]:
    """Add a seed's seconds and second figures to the lists of all seeds, and print them."""
    validated = 100 * model.evaluate(data.validation).accuracy
    shifts, seconds = accuracy_over_shifts(model, data.test), model.history.seconds
    found = {"seconds_of_each": seconds, "validation": validated, "test_time": shifts}
    for name, value in found.items():
        each.setdefault(name, []).append(value)
    print(
        f"    {shifts:.2f} % with test-time augmentation, {validated:.2f} % validation, "
        f"{seconds:.1f} s", flush=True,
    )  # fmt: skip
    return {"our_seconds": statistics.mean(each["seconds_of_each"]), **each}


def main(arguments: Sequence[str] | None = None) -> dict[str, float]:
    """Returns the mean test accuracy of five seeds (one in a quick run) of each, in per cent."""
    options, found = parse(__doc__, arguments, list(RECORDS)), {}
    for name in options.only:
        claim, _, _, sizes, recipe = RECORDS[name]
        found |= attempt(
            claim, options, partial(images, "mnist", sizes=sizes, normalize="standard"),
            partial(network, name), several=True, after=partial(beside, {}),
            quick={"epochs": 5, "ema_decay": 0.9}, **recipe,
        )  # fmt: skip
    return found


if __name__ == "__main__":
    main()
