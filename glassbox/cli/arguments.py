"""The command line of main.py: what can be set without editing it."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

from glassbox.kernels import BACKENDS, DEFAULT

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
    eager: bool = False
    sanity_check: bool = False
    preview: float | None = None
    output: str = "results"
    checkpoint_every: int | None = None
    resume: str | None = None
    changed: tuple[str, ...] = ()  # said on the command line beside --resume
    classes: int = 10


NOTHING = type(None)
# Options that may also be left out, and numbers that need no decimals.
NUMBERS_OR_WORDS: dict[str, tuple[type, ...]] = {
    "data_dir": (str, NOTHING),
    "threads": (int, NOTHING),
    "kernels": (str, NOTHING),
    "preview": (float, int, NOTHING),
    "learning_rate": (float, int),
    "checkpoint_every": (int, NOTHING),
}


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

    With --resume they are those of the run that goes on, but for what is said anew.

    Exits with status 2 and a message where an argument does not fit, as programs do.

    >>> parse(["--epochs", "3", "--preview", "25"]).preview
    0.25
    """
    start = Options(**defaults)
    parser = _parser(start)
    given = vars(parser.parse_args(arguments))
    changed: tuple[str, ...] = ()
    if "resume" in given:
        try:
            start = options_of(given["resume"])
        except (OSError, ValueError, TypeError) as error:
            parser.error(f"--resume: {error}")
        changed = tuple(name for name in given if name != "resume")
    epochs_given = start.epochs_given or "epochs" in given
    return replace(start, **given, epochs_given=epochs_given, changed=changed)


def _parser(start: Options) -> argparse.ArgumentParser:
    """A parser that gives what was said and nothing else."""
    parser = argparse.ArgumentParser(
        description=DESCRIPTION,
        epilog=EPILOG,
        argument_default=argparse.SUPPRESS,
        allow_abbrev=False,
    )
    add = parser.add_argument
    add(
        "--dataset",
        help="mnist, fashion-mnist, digits, or the path of your own: .npz, .csv, a folder of "
        f"images by class, or a folder of IDX files (default: {start.dataset})",
    )
    add("--data-dir", metavar="FOLDER", help="where the data files are, or are to be put")
    add(
        "--epochs", type=_whole,
        help=f"passes over the training images (default: {start.epochs}; more for small sets)",
    )  # fmt: skip
    add("--batch-size", type=_whole, help=f"images to a step (default: {start.batch_size})")
    add(
        "--learning-rate", type=_rate, help=f"the highest rate (default: {start.learning_rate})"
    )  # fmt: skip
    add("--seed", type=_seed, help=f"the same seed gives the same bits (default: {start.seed})")
    add("--threads", type=_whole, help="how many compute (default: all cores)")
    add(
        "--kernels", choices=sorted(BACKENDS),
        help=f"what computes the layers (default: {start.kernels or DEFAULT})",
    )  # fmt: skip
    add(
        "--eager", action="store_true",
        help="run every layer as written in every step (slower; a print in a layer then prints)",
    )  # fmt: skip
    add(
        "--sanity-check", action="store_true",
        help="only overfit a few images and say whether the network can learn",
    )  # fmt: skip
    add(
        "--preview", type=_percent, metavar="PERCENT",
        help="draw the feature maps each time so many per cent of the images are through",
    )  # fmt: skip
    add("--output", metavar="FOLDER", help=f"where results go (default: {start.output})")
    add(
        "--checkpoint-every", type=_whole, metavar="STEPS",
        help="write the checkpoint not only after each epoch but each time so many steps are done",
    )  # fmt: skip
    add(
        "--resume", metavar="RUN",
        help="go on with the run in this folder from its checkpoint, with the settings it had; "
        "what is said beside it changes them from here on, and is recorded",
    )  # fmt: skip
    return parser


def options_of(run: str) -> Options:
    """The options that the run in a folder was begun with, from its settings.json.

    Raises OSError where there is no such file, ValueError where it holds something else.
    """
    path = Path(run) / "settings.json"
    try:
        saved = json.loads(path.read_text("utf-8"))["options"]
        known = {field.name for field in fields(Options)} - {"resume", "changed", "output"}
        options = Options(**{name: value for name, value in saved.items() if name in known})
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise ValueError(f"{path} holds no options of a run ({error!r})") from error
    for name in known:
        value, usual = getattr(options, name), getattr(Options, name)
        allowed = NUMBERS_OR_WORDS.get(name, (type(usual),))
        if not isinstance(value, allowed) or (isinstance(value, bool) and bool not in allowed):
            raise ValueError(f"{path}: {name} is {value!r}, expected {allowed[0].__name__}")
    return replace(options, output=str(Path(run).parent))
