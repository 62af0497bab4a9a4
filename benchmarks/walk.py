"""The walk of one image through one eager training step: which files it enters, and how often.

    python -m benchmarks.walk          # a line for every function entered
    python -m benchmarks.walk --short  # the counts alone

A reader who follows a step goes from file to file as functions are entered.  Counted are the files
and the returns: entries into a file that was left before.  One layer of each kind (a convolution, a
pool, a dense layer), NumPy kernels, no validation, no capture.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

import numpy as np

from CNN import CNN
from Datasets import Dataset, Scaling
from Filters import Conv2D, MaxPool2D
from MLP import Dense

ROOT = Path(__file__).resolve().parent.parent
HIDDEN = ("<listcomp>", "<genexpr>", "<lambda>", "<dictcomp>", "<module>")


Entry = tuple[int, str, str]  # depth, file, function


def followed(action: Callable[[], Any]) -> list[Entry]:
    """Every function of this project that a call enters, in order."""
    entered: list[Entry] = []
    depth = 0

    def look(frame: FrameType, event: str, argument: Any) -> None:
        nonlocal depth
        path = Path(frame.f_code.co_filename)
        ours = path.is_relative_to(ROOT) and ".venv" not in path.parts and path.name != "walk.py"
        if not ours or frame.f_code.co_name in HIDDEN or event not in ("call", "return"):
            return
        if event == "call":
            entered.append((depth, path.relative_to(ROOT).as_posix(), frame.f_code.co_qualname))
        depth += 1 if event == "call" else -1

    sys.setprofile(look)
    try:
        action()
    finally:
        sys.setprofile(None)
    return entered


def counts(files: list[str]) -> tuple[int, int]:
    """(files entered, returns to a file that was left before) of a sequence of files.

    >>> counts(["a", "b", "b", "a", "c", "a"])
    (3, 2)
    """
    path = [file for k, file in enumerate(files) if not k or files[k - 1] != file]
    return len(set(path)), len(path) - len(set(path))


def walk() -> tuple[list[Entry], int, int]:
    """The functions of one step of `fit`'s loop, the files, the returns."""
    random = np.random.default_rng(0)
    images = random.integers(0, 256, (4, 1, 8, 8), np.uint8)
    data = Dataset(images, np.arange(4) % 3, tuple("abc"), Scaling("unit"))
    network = CNN(Conv2D(2), MaxPool2D(2), Dense(3), kernels="numpy", eager=True, threads=1)
    network.train_step(data)  # builds
    entered = followed(lambda: network.train_step(data))
    return entered, *counts([file for _, file, _ in entered])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--short", action="store_true", help="the counts alone")
    options = parser.parse_args()
    entered, files, returns = walk()
    if not options.short:
        for depth, name, function in entered:
            print(f"{'  ' * depth}{name}  {function}")
    print(f"{len(entered)} functions, {files} files, {returns} returns to a file left before")


if __name__ == "__main__":
    main()
