"""What the records share: five seeds, the mean that counts, and the figure beside it."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from CNN import CNN
from Datasets import Augmentation, Dataset
from examples.common import Claim, finish, folder_of, images, parse, seeds
from Filters import Conv2D
from MLP import BatchNorm, LeakyReLU

SHIFTS = [(0, 0), (0, 1), (0, -1), (1, 0), (-1, 0)]  # of test-time augmentation, in pixels


@dataclass(frozen=True)
class Recipe:
    """How a record is trained; `sizes` are the images to train, to validate and to test with."""

    epochs: int
    batch_size: int
    augment: Augmentation | None = None
    ema_decay: float = 0.0
    sizes: tuple[int, int, int] = (55_000, 5_000, 10_000)


def normalized(filters: int) -> list:
    """A 3 x 3 convolution, batch normalization, leaky ReLU."""
    return [Conv2D(filters, 3, activation=None, bias=False), BatchNorm(), LeakyReLU()]


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


def attempt(
    description: str | None,
    arguments: Sequence[str] | None,
    claim: Claim,
    recipe: Recipe,
    network: Callable[..., CNN],
) -> dict[str, float]:
    """A record with five seeds (one in a quick run); returns the mean accuracy in per cent.

    network : makes it, from a seed and settings of `CNN`.
    """
    options = parse(description, arguments)
    results = folder_of(claim, options)
    if results is None:
        return {}
    data = images("mnist", options, sizes=recipe.sizes, normalize="standard")
    epochs = 5 if options.quick else recipe.epochs
    tested, with_shifts, validated, seconds = [], [], [], []
    for seed in seeds(options):
        begun = time.perf_counter()
        model = network(seed, threads=options.threads)
        model.fit(
            data.train, data.validation, epochs=epochs, batch_size=recipe.batch_size,
            augment=recipe.augment, ema_decay=0.9 if options.quick else recipe.ema_decay,
        )  # fmt: skip
        tested.append(100 * model.evaluate(data.test).accuracy)
        validated.append(100 * model.evaluate(data.validation).accuracy)
        with_shifts.append(accuracy_over_shifts(model, data.test))
        seconds.append(model.history.seconds)
        print(
            f"{claim.name}, seed {seed}: {tested[-1]:.2f} % test ({with_shifts[-1]:.2f} % with "
            f"test-time augmentation), {validated[-1]:.2f} % validation, {seconds[-1]:.1f} s",
            flush=True,
        )
    told = {
        "epochs": epochs, "batch_size": recipe.batch_size, "augment": repr(recipe.augment),
        "ema_decay": recipe.ema_decay,
    }  # fmt: skip
    accuracy = finish(
        claim, model, data, told, results, begun, tested, our_seconds=statistics.mean(seconds),
        seconds_of_each=seconds, validation=validated, test_time=with_shifts,
    )  # fmt: skip
    return {claim.name: accuracy}
