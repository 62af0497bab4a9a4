"""What a training run prints: a bar within an epoch, a line behind it; both fit 60 columns."""

from __future__ import annotations

import sys
import warnings
from importlib import import_module
from typing import Any

from tqdm import tqdm

from glassbox.engine.history import MovingMetrics


def epoch_bar(images: int, seen: int, epoch: int, epochs: int, shown: bool) -> Any:
    """A progress bar, in a notebook one of its own; none where output goes to a file."""
    bar: Any = tqdm
    if "IPython" in sys.modules:
        with warnings.catch_warnings():  # that a notebook without ipywidgets has no bar
            warnings.simplefilter("ignore")
            bar = import_module("tqdm.auto").tqdm  # in a terminal the same one, but slow to import
    in_notebook = any(kind.__name__ == "tqdm_notebook" for kind in bar.__mro__)
    return bar(
        total=images, initial=seen, desc=f"epoch {epoch + 1}/{epochs}",
        unit=" img",
        bar_format="{desc} {percentage:3.0f}%|{bar}| {rate_fmt}{postfix}",
        unit_scale=True, leave=False, mininterval=0.2, dynamic_ncols=True,
        disable=(False if in_notebook else None) if shown else True,
    )  # fmt: skip


def advance(bar: Any, images: int, running: MovingMetrics) -> None:
    """Move the bar on; where it is drawn anew, with the latest loss and accuracy."""
    if bar.update(images):
        bar.set_postfix_str(f"loss {running.loss:.4f}, {running.accuracy:.1%} right")


def epoch_line(record: dict[str, Any], epochs: int) -> str:
    """An epoch in one line of at most 80 columns; the speed gives way."""
    parts = [
        f"epoch {record['epoch']:>{len(str(epochs))}}/{epochs}",
        f"loss {record['loss']:.4f}",
        f"train {record['accuracy']:.2%}",
    ]
    if "validation_accuracy" in record:
        parts.append(f"validation {record['validation_accuracy']:.2%}")
    parts.append(f"{record['seconds']:.1f} s")
    line, speed = "  ".join(parts), f"  {record['images_per_second']:,.0f} img/s"
    return line + speed if len(line + speed) <= 80 else line
