"""How far small networks go on MNIST: quickly, with few parameters, and as far as they can.

    python -m examples.records            # all three, 5 seeds each
    python -m examples.records fast       # 99 % of the test images within 15 s of training
    python -m examples.records small      # under 20,000 parameters
    python -m examples.records best       # one network, 99.6 % and above

The settings are first choices, compared with no others; the epoch whose weights count is chosen on
validation images (10,000, and 5,000 for the two larger ones).  The table has the mean of five
seeds, 0 to 4; the pictures in the folder are those of seed 0.

What each trick gives is told apart in the output: augmentation, batch normalisation and the
one-cycle rate are part of the training; the running mean of the weights is what `fit` returns;
test-time augmentation (the mean of the class scores over shifted copies of an image) is a second
figure beside the first.
"""

import argparse
import statistics
import time
from dataclasses import dataclass

import numpy as np

from CNN import CNN
from Datasets import Augmentation, Dataset
from examples.common import Claim, finish, folder_of, images, parse, seeds
from Filters import Conv2D, GlobalAvgPool2D, MaxPool2D
from MLP import Adam, BatchNorm, Dense, Dropout, LeakyReLU, OneCycle

SHIFTS = [(0, 0), (0, 1), (0, -1), (1, 0), (-1, 0)]  # of test-time augmentation, in pixels


@dataclass(frozen=True)
class Record:
    """A record's recipe."""

    claim: Claim
    epochs: int
    batch_size: int
    rate: float
    augment: Augmentation | None = None
    average: float = 0.0
    sizes: tuple[int, int, int] = (55_000, 5_000, 10_000)  # train, validation, test


RECORDS = {
    "fast": Record(
        Claim("record-fast", "record", "99 % within 15 s of training", None, 99.0),
        epochs=4, batch_size=64, rate=0.005, sizes=(50_000, 10_000, 10_000),
    ),
    "small": Record(
        Claim("record-small", "record", "under 20,000 parameters", None, 99.4),
        epochs=30, batch_size=128, rate=0.01, average=0.998,
        augment=Augmentation(shift=2, rotation=10, zoom=0.1),
    ),
    "best": Record(
        Claim("record-best", "record", "one network", None, 99.6),
        epochs=16, batch_size=128, rate=0.005, average=0.998,
        augment=Augmentation(shift=2, rotation=10, zoom=0.1),
    ),
}  # fmt: skip


def normalised(filters: int) -> list:
    """A 3 x 3 convolution, batch normalisation, leaky ReLU."""
    return [Conv2D(filters, 3, activation=None, bias=False), BatchNorm(), LeakyReLU()]


def network(name: str, rate: float, seed: int = 0, **settings) -> CNN:
    """The layers of each record."""
    layers = {
        "fast": lambda: [
            Conv2D(16, 3), MaxPool2D(2), Conv2D(32, 3), MaxPool2D(2),
            Dense(64, "leaky_relu"), Dense(10, "softmax"),
        ],
        "small": lambda: [  # 17,934 parameters
            *normalised(12), *normalised(16), MaxPool2D(2),
            *normalised(24), *normalised(24), MaxPool2D(2), *normalised(32),
            GlobalAvgPool2D(), Dense(10, "softmax"),
        ],
        "best": lambda: [
            *normalised(32), *normalised(32), MaxPool2D(2), Dropout(0.1),
            *normalised(64), *normalised(64), MaxPool2D(2), Dropout(0.2), *normalised(128),
            GlobalAvgPool2D(), Dense(10, "softmax"),
        ],
    }  # fmt: skip
    return CNN(
        *layers[name](), loss="cross_entropy", optimizer=Adam(OneCycle(rate)), seed=seed, **settings
    )


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


def attempt(name: str, options: argparse.Namespace) -> float | None:
    """A record with five seeds (one in a quick run); returns the mean accuracy in per cent."""
    record = RECORDS[name]
    results = folder_of(record.claim, options)
    if results is None:
        return None
    data = images("mnist", options, sizes=record.sizes, normalise="standard")
    epochs = 5 if options.quick else record.epochs
    tested, with_shifts, validated, seconds = [], [], [], []
    for seed in seeds(options):
        begun = time.perf_counter()
        model = network(name, record.rate, seed, threads=options.threads)
        model.fit(
            data.train, data.validation, epochs=epochs, batch_size=record.batch_size,
            augment=record.augment, average=0.9 if options.quick else record.average,
        )  # fmt: skip
        tested.append(100 * model.evaluate(data.test).accuracy)
        validated.append(100 * model.evaluate(data.validation).accuracy)
        with_shifts.append(accuracy_over_shifts(model, data.test))
        seconds.append(model.history.seconds)
        print(
            f"{name}, seed {seed}: {tested[-1]:.2f} % test ({with_shifts[-1]:.2f} % with test-time "
            f"augmentation), {validated[-1]:.2f} % validation, {seconds[-1]:.1f} s", flush=True,
        )  # fmt: skip
    recipe = {
        "epochs": epochs, "batch_size": record.batch_size, "rate": record.rate,
        "augment": repr(record.augment), "average": record.average,
    }  # fmt: skip
    return finish(
        record.claim, model, data, recipe, results, begun, tested,
        our_seconds=statistics.mean(seconds), seconds_of_each=seconds, validation=validated,
        test_time=with_shifts,
    )  # fmt: skip


def main(arguments=None, names=tuple(RECORDS)) -> dict[str, float]:
    """The records named (all by default); returns the mean accuracy of each in per cent."""
    options = parse(__doc__, arguments)
    found = {RECORDS[name].claim.name: attempt(name, options) for name in names}
    return {name: accuracy for name, accuracy in found.items() if accuracy is not None}


if __name__ == "__main__":
    import sys

    words = [word for word in sys.argv[1:] if word in RECORDS]
    main([word for word in sys.argv[1:] if word not in RECORDS], words or tuple(RECORDS))
