"""The command line of main.py: what can be set without editing it."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any, get_args, get_type_hints

from glassbox.errors import MOST
from glassbox.kernels import BACKENDS, DEFAULT
from glassbox.regular_file import read_file, refuse_links_out

DESCRIPTION = "Train the network in main.py and write the results to a folder under results/."
EPILOG = (
    "Data folder: --data-dir, else the environment variable GLASSBOX_DATA, else a cache folder in "
    "your home; MNIST and Fashion-MNIST are downloaded into it once."
)


def _number_of(kind: type, least: float, expected: str) -> Any:
    """A type for argparse: a number above 0 (or from `least` on, if that is a whole number)."""

    def convert(text: str) -> Any:
        number = kind(text)
        fits = least <= number <= MOST if kind is int else 0 < number < float("inf")
        if not fits:
            more = f" and at most {MOST}" if number > MOST else ""
            raise argparse.ArgumentTypeError(f"expected {expected}{more}, got {text}")
        return number

    # argparse names the type in its own message ("invalid whole number value: 'many'")
    convert.__name__ = "whole number" if kind is int else "number"
    return convert


def _share(text: str) -> float:
    per_cent = text.endswith("%")
    number = float(text.removesuffix("%"))
    if per_cent or not 0 < number <= 1:
        hint = f"; for {number:g} per cent write {number / 100:g}" if 0 < number <= 100 else ""
        raise argparse.ArgumentTypeError(f"expected a share above 0 and up to 1, got {text}{hint}")
    return number


_whole = _number_of(int, 1, "a whole number of at least 1")
_seed = _number_of(int, 0, "a whole number of at least 0")
_rate = _number_of(float, 0, "a number above 0")
_share.__name__ = "share"


def _option(default: Any, text: str, **settings: Any) -> Any:
    """A field that the command line can set; `settings` are those of `add_argument`."""
    return field(default=default, metadata={"help": text, **settings})


@dataclass(frozen=True)
class Options:
    """The options of a run; `classes` is known once the data set is loaded."""

    # fmt: off
    dataset: str = _option(
        "mnist", "mnist, fashion-mnist, digits, or the path of your own data: .npz, .csv, a folder "
        "of images by class, or a folder of IDX files (default: {default})")
    size: int | None = _option(
        None, "side in pixels to which the pictures of a folder are resized, with a margin where "
        "they are not square", metavar="PIXELS", type=_whole)
    data_dir: str | None = _option(
        None, "folder of the data files; downloads go there too", metavar="FOLDER")
    epochs: int = _option(
        6, "passes over the training images (default: {default}; more for small data sets)",
        type=_whole)
    batch_size: int = _option(32, "images per step (default: {default})", type=_whole)
    learning_rate: float = _option(0.004, "highest learning rate (default: {default})", type=_rate)
    seed: int = _option(
        0, "random seed; equal seeds give equal bits (default: {default})", type=_seed)
    threads: int | None = _option(None, "number of threads (default: all cores)", type=_whole)
    kernels: str | None = _option(
        None, "what computes the layers (default: {default})", choices=sorted(BACKENDS))
    eager: bool = _option(
        False, "run every layer as written in every step (slower; a print in a layer then prints)",
        action="store_true")
    sanity_check: bool = _option(
        False, "overfit a few images, report whether the network can learn, and stop",
        action="store_true")
    preview: float | None = _option(
        None, "draw the feature maps each time this share of an epoch is done, such as 0.25",
        metavar="SHARE", type=_share)
    keep_epochs: bool = _option(
        False, "save the network after every epoch too, in the folder epochs/ of the results",
        action="store_true")
    output: str = _option("results", "folder of all results (default: {default})", metavar="FOLDER")
    checkpoint_every: int | None = _option(
        None, "write a checkpoint every so many steps, in addition to after each epoch",
        metavar="STEPS", type=_whole)
    resume: str | None = _option(
        None, "resume the run in this folder from its checkpoint, with its saved options. Options "
        "given together with --resume override the saved ones and are logged.", metavar="RUN")
    # fmt: on
    epochs_given: bool = False  # on the command line: then a small data set changes nothing
    changed: tuple[str, ...] = ()  # given on the command line together with --resume
    classes: int = 10


def parse(arguments: Sequence[str] | None, **defaults: Any) -> Options:
    """Parse a command line; `defaults` replaces those of `Options`.

    With --resume the options are those of the saved run, unless given.

    Exits with status 2 and a message where an argument does not fit, as programs do.

    >>> parse(["--epochs", "3", "--preview", "0.25"]).preview
    0.25
    """
    start = Options(**defaults)
    parser = argparse.ArgumentParser(
        description=DESCRIPTION,
        epilog=EPILOG,
        argument_default=argparse.SUPPRESS,  # only what is given is in the result
        allow_abbrev=False,
    )
    for each in fields(Options):
        if each.metadata:
            default = getattr(start, each.name) or (DEFAULT if each.name == "kernels" else 0)
            text = each.metadata["help"].format(default=default)
            settings = {**each.metadata, "help": text}
            parser.add_argument(f"--{each.name.replace('_', '-')}", **settings)
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


def latest_runs(folder: Path, most: int = 3) -> str:
    """Name the latest runs in a folder, or else in results/, that can be resumed, in words."""
    for place in dict.fromkeys((folder, Path("results"))):
        found = list(place.glob("*/checkpoint.safetensors"))
        if found:
            found.sort(key=lambda path: (path.stat().st_mtime, path.parent.name), reverse=True)
            names = ", ".join(str(path.parent) for path in found[:most])
            return f"the latest runs are {names}"
    return "there are no runs to resume in results either; start one without --resume"


def options_of(run: str) -> Options:
    """Read the options of the run in a folder from its settings.json.

    Raises OSError where there is no such file, ValueError where it holds something else.
    """
    refuse_links_out(run)
    path = Path(run) / "settings.json"
    if not path.exists():
        raise FileNotFoundError(f"there is no run in {run!r}; {latest_runs(Path(run).parent)}")
    hints = get_type_hints(Options)
    known = set(hints) - {"resume", "changed", "output"}
    try:
        saved = json.loads(read_file(path).decode())["options"]
        options = Options(**{name: value for name, value in saved.items() if name in known})
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise ValueError(f"{path} holds no options of a run ({error!r})") from error
    for name in known:
        value, kinds = getattr(options, name), get_args(hints[name]) or (hints[name],)
        allowed = (*kinds, int) if float in kinds else kinds  # a number may need no decimals
        if not isinstance(value, allowed) or (isinstance(value, bool) and bool not in allowed):
            raise ValueError(f"{path}: {name} is {value!r}, expected {allowed[0].__name__}")
    return replace(options, output=str(Path(run).parent))
