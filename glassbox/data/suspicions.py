"""Warnings about data: each in one line, shown once, for what is allowed and seldom meant."""

from __future__ import annotations

import math
import warnings
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:  # what reads data imports this module
    from glassbox.data.dataset import Dataset, Scaling

OWN = ("none", "per-image", "min-max")  # these look at no number but those of the image itself
SQUEEZED = 50  # floats that use less than this part of the range of a scaling are not of it
LOOKED_AT = 100  # validation images that are searched for among those to train on
KEY = 16  # pixels of an image that are compared first
FEW = 8  # images, or columns, below which there is nothing to suspect
_shown: set[str] = set()  # not Python's record, which every change of filters empties


class DataWarning(UserWarning):
    """Data are odd in a way that is seldom meant; `warnings.filterwarnings` can silence it."""


def suspect(text: str) -> None:
    """Warn in one line, once for the same text."""
    if text not in _shown:
        _shown.add(text)
        text = f"check the data: {text}"
        warnings.warn_explicit(text, DataWarning, "<glassbox>", 0, "glassbox")


def check_scaling(data: Dataset, scaling: Scaling | None) -> Dataset:
    """Warn where a Dataset is scaled otherwise than those that a network was trained on.

    Floats with the scaling "none" are those of somebody who scaled them. Returns the data.
    """
    if scaling is None or data.scaling is scaling or data.scaling == scaling:
        return data
    mine, name = data.scaling.name, scaling.name
    if (mine == name and name in OWN) or (mine == "none" and data.images.dtype != np.uint8):
        return data
    suspect(
        f"it is scaled by {_words(data.scaling)}, but the network was trained with "
        f"{_words(scaling)}; use the parts of one data set, or hand in the raw images"
    )
    return data


def check_pixels(pixels: NDArray[Any], scaling: Scaling, kind: str) -> None:
    """Warn where raw images cannot be of the range that a scaling expects.

    kind : of the numbers as they were given, as in `dtype.kind`
    """
    if scaling.name in OWN or not pixels.size or (pixels.dtype == np.uint8 and scaling.high > 127):
        return
    low, high, span = float(pixels.min()), float(pixels.max()), scaling.high - scaling.low
    outside = high > scaling.high + span / 2 or low < scaling.low - span / 2
    reach = max(abs(low - scaling.low), abs(high - scaling.low))
    if outside or (kind == "f" and 0 < reach < span / SQUEEZED):
        suspect(
            f"pixels of {low:.4g}..{high:.4g} for a network that expects raw ones of "
            f"{scaling.low:.4g}..{scaling.high:.4g}; if they are scaled already, say scaled=True"
        )


# --- before training -----------------------------------------------------------------------------


def check_training(train: Dataset, validation: Dataset | None) -> None:
    """Warn of training data from which little can be learnt, and of a validation that is none."""
    images, labels = train.images, train.labels
    counts = np.bincount(labels, minlength=len(train.classes))
    if len(labels) >= FEW and counts.max() == 1:
        suspect(
            f"all {len(labels):,} training images have different labels; are these numbers of the "
            "images instead of classes?"
        )
    elif not counts.all():
        empty = np.flatnonzero(counts == 0)
        some = ", ".join(repr(train.classes[label][:40]) for label in empty[:5])
        more = f" and {len(empty) - 5:,} more" if len(empty) > 5 else ""
        suspect(f"no training images of {some}{more} (of {len(counts):,} classes)")
    if len(images) >= FEW and all(np.array_equal(image, images[0]) for image in images[1:]):
        suspect(f"all {len(images):,} training images are equal")
    if validation is not None and (share := _shared(train, validation)) > 0.1:
        suspect(
            f"{share:.0%} of the validation images are training images: their accuracy says "
            "nothing about other images"
        )


def _shared(train: Dataset, validation: Dataset) -> float:
    """The share of the validation images, of a sample of them, that are training images, too."""
    if validation.images is train.images or validation is train:
        return 1.0
    if validation.images.dtype != train.images.dtype or validation.shape != train.shape:
        return 0.0
    sample = np.unique(np.linspace(0, len(validation) - 1, LOOKED_AT).astype(int))
    asked = validation.images[sample]
    keys, among = _keys(asked), _keys(train.images)
    places = np.flatnonzero(np.isin(among, keys))[: 20 * LOOKED_AT]
    alike = train.images[places].reshape(len(places), math.prod(train.shape))
    found = 0
    for key, image in zip(keys, asked.reshape(len(asked), -1), strict=True):
        found += bool((alike[among[places] == key] == image).all(axis=1).any())
    return found / len(sample)


def _keys(images: NDArray[Any]) -> NDArray[Any]:
    """A number for each image, of some of its pixels: equal for equal images, seldom for others."""
    size, random = math.prod(images.shape[1:]), np.random.default_rng(0)
    flat = random.integers(size // 4, max(size * 3 // 4, size // 4 + 1), KEY)
    channel, row, column = np.unravel_index(flat, images.shape[1:])
    pixels = images[:, channel, row, column]  # no copy of all of it
    parts = np.ascontiguousarray(pixels).view(np.uint64)
    odd = random.integers(2**62, 2**64, parts.shape[1], np.uint64) | np.uint64(1)
    keys: NDArray[Any] = parts @ odd
    return keys


# --- while reading -------------------------------------------------------------------------------


def check_highest(labels: NDArray[np.int64], source: str) -> None:
    """Warn of one label far beyond all others: each number up to it becomes a class."""
    highest = int(labels.max())
    others = labels[labels < highest]
    if len(others) and highest > 2 * int(others.max()) + 50:
        suspect(
            f"{source}: label {highest} at index {int(labels.argmax())}, where all others are "
            f"{int(others.max())} or less: is it a mistake? It makes {highest + 1:,} classes"
        )


def check_skipped(skipped: Iterable[Path], folder: Path) -> None:
    """Warn of files among pictures that are not read."""
    kinds = Counter(path.suffix.lower()[:20] or "no ending" for path in skipped)
    if kinds:
        some = ", ".join(f"{count:,} {kind}" for kind, count in kinds.most_common(5))
        suspect(
            f"{kinds.total():,} files in {str(folder)!r} skipped ({some}): only .png, .jpg and "
            ".jpeg are pictures here"
        )


def check_columns(table: NDArray[Any], source: str) -> None:
    """Warn of a table whose first line or first column is not what it is taken for."""
    if min(table.shape) < FEW:
        return
    if (np.diff(table[0]) == 1).all():
        suspect(
            f"{source}: the first line counts {table[0, 0]:g}, {table[0, 1]:g}, ...: if it is a "
            "header, let it begin with a word; it is read as an image"
        )
    labels, last = (np.unique(table[1:, column]) for column in (0, -1))
    if len(labels) == len(table) - 1 and (np.abs(np.diff(table[1:, 0])) == 1).all():
        suspect(
            f"{source}: the first column, which is read as the label, counts the lines; take the "
            "index away"
        )
    elif _look_like_labels(last) and not _look_like_labels(labels):
        suspect(
            f"{source}: the last column looks like the label ({len(last)} classes from 0 on), "
            "but the first is read as it; put the label first"
        )


def _look_like_labels(values: NDArray[Any]) -> bool:
    """Whether different values, in order, are 0, 1, 2, ... of a few classes."""
    return 2 <= len(values) <= 100 and bool((values == np.arange(len(values))).all())


def _words(scaling: Scaling) -> str:
    numbers = f", mean {scaling.mean[0]:.4g}" if scaling.mean else ""
    return f"{scaling.name!r} of {scaling.low:.4g}..{scaling.high:.4g}{numbers}"
