"""The walk of one image through one eager training step: which files it enters, and how often.

    python -m benchmarks.walk          # a line for every function entered
    python -m benchmarks.walk --short  # the counts alone

A reader who follows a step goes from file to file as the calls do.  Counted are the files entered
and the returns: moves to a file that was left before.  One layer of each kind (a convolution, a
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


def followed(action: Callable[[], Any]) -> list[tuple[int, str, str]]:
    """(depth, file, function) of every function of this project that a call enters."""
    entered: list[tuple[int, str, str]] = []
    moves: list[str] = []
    stack: list[str] = []

    def look(frame: FrameType, event: str, argument: Any) -> None:
        path = Path(frame.f_code.co_filename)
        ours = path.is_relative_to(ROOT) and ".venv" not in path.parts and path.name != "walk.py"
        if not ours or frame.f_code.co_name in HIDDEN:
            return
        name = path.relative_to(ROOT).as_posix()
        if event == "call":
            entered.append((len(stack), name, frame.f_code.co_qualname))
            stack.append(name)
            moves.append(name)
        elif event == "return" and stack:
            stack.pop()
            if stack:
                moves.append(stack[-1])

    sys.setprofile(look)
    try:
        action()
    finally:
        sys.setprofile(None)
    followed.moves = moves  # type: ignore[attr-defined]
    return entered


def counts(moves: list[str]) -> tuple[int, int]:
    """(files entered, returns to a file that was left before) of a sequence of files.

    >>> counts(["a", "b", "b", "a", "c", "a"])
    (3, 2)
    """
    path = [file for k, file in enumerate(moves) if not k or moves[k - 1] != file]
    returns = sum(file in path[:k] for k, file in enumerate(path))
    return len(set(path)), returns


def walk() -> tuple[list[tuple[int, str, str]], int, int]:
    """The functions of one step of `fit`'s loop, the files, the returns."""
    random = np.random.default_rng(0)
    images = random.integers(0, 256, (4, 1, 8, 8), np.uint8)
    data = Dataset(images, np.arange(4) % 3, tuple("abc"), Scaling("unit"))
    network = CNN(Conv2D(2), MaxPool2D(2), Dense(3), kernels="numpy", eager=True, threads=1)
    network.train_step(data)  # builds
    entered = followed(lambda: network.train_step(data))
    return entered, *counts(followed.moves)  # type: ignore[attr-defined]


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
