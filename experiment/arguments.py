"""The command line of main.py: what can be set without editing it."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from engine.kernels import DEFAULT, DIALECTS

DESCRIPTION = "Train the network in main.py and leave what it learnt in a folder under results/."
EPILOG = (
    "Data folder: --data-dir, else the environment variable GLASSBOX_DATA, else a cache folder in "
    "your home; MNIST and Fashion-MNIST are downloaded into it once."
)


@dataclass(frozen=True)
class Options:
    """What the command line says; `classes` is known once the data set is loaded."""

    dataset: str = "mnist"
    data_dir: str | None = None
    epochs: int = 6
    epochs_given: bool = False  # on the command line: then a small data set changes nothing
    batch_size: int = 32
    learning_rate: float = 0.004
    seed: int = 0
    threads: int | None = None
    kernels: str | None = None
    sanity_check: bool = False
    preview: float | None = None
    output: str = "results"
    classes: int = 10


def _whole(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"expected a whole number of at least 1, got {text}")
    return number


def _seed(text: str) -> int:
    number = int(text)
    if number < 0:
        raise argparse.ArgumentTypeError(f"expected a whole number of at least 0, got {text}")
    return number


def _rate(text: str) -> float:
    number = float(text)
    if not 0 < number < float("inf"):
        raise argparse.ArgumentTypeError(f"expected a number above 0, got {text}")
    return number


def _percent(text: str) -> float:
    number = float(text.removesuffix("%"))
    if not 0 < number <= 100:
        raise argparse.ArgumentTypeError(f"expected per cent above 0 and up to 100, got {text}")
    return number / 100


# argparse names the type in its own message ("invalid whole number value: 'many'")
_whole.__name__ = _seed.__name__ = "whole number"
_rate.__name__ = "number"
_percent.__name__ = "per cent"


def parse(arguments: Sequence[str] | None, **defaults: Any) -> Options:
    """The options of a command line; `defaults` replaces those of `Options`.

    Exits with status 2 and a message where an argument does not fit, as programs do.

    >>> parse(["--epochs", "3", "--preview", "25"]).preview
    0.25
    """
    start = Options(**defaults)
    parser = argparse.ArgumentParser(
        description=DESCRIPTION,
        epilog=EPILOG,
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
        allow_abbrev=False,
    )
    add = parser.add_argument
    add(
        "--dataset", default=start.dataset,
        help="mnist, fashion-mnist, digits, or the path of your own: .npz, .csv, a folder of "
        "images by class, or a folder of IDX files",
    )  # fmt: skip
    add("--data-dir", metavar="FOLDER", help="where the data files are, or are to be put")
    add(
        "--epochs",
        type=_whole,
        default=argparse.SUPPRESS,
        help=f"passes over the training images (default: {start.epochs}; more for small sets)",
    )
    add("--batch-size", type=_whole, default=start.batch_size, help="images to a step")
    add("--learning-rate", type=_rate, default=start.learning_rate, help="the highest rate")
    add("--seed", type=_seed, default=start.seed, help="the same seed gives the same bits")
    add("--threads", type=_whole, help="how many compute (default: all cores)")
    add("--kernels", choices=sorted(DIALECTS), default=DEFAULT, help="what computes the layers")
    add(
        "--sanity-check", action="store_true",
        help="only overfit a few images and say whether the network can learn",
    )  # fmt: skip
    add(
        "--preview", type=_percent, metavar="PERCENT",
        help="draw the feature maps each time so many per cent of the images are through",
    )  # fmt: skip
    add("--output", metavar="FOLDER", default=start.output, help="where results go")
    given = vars(parser.parse_args(arguments))
    return replace(start, **given, epochs_given="epochs" in given)
