"""Warnings about data: each in one line, shown once, for what is allowed and seldom meant."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
from numpy.typing import NDArray

from glassbox.data.dataset import Dataset, Scaling

OWN = ("none", "per-image", "min-max")  # these look at no number but those of the image itself
SQUEEZED = 50  # floats that use less than this part of the range of a scaling are not of it
_shown: dict[Any, Any] = {}


class DataWarning(UserWarning):
    """Data are odd in a way that is seldom meant; `warnings.filterwarnings` can silence it."""


def suspect(text: str) -> None:
    """Warn in one line, once for the same text."""
    text = f"check the data: {text}"
    warnings.warn_explicit(text, DataWarning, "<glassbox>", 0, "glassbox", _shown)


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


def _words(scaling: Scaling) -> str:
    numbers = f", mean {scaling.mean[0]:.4g}" if scaling.mean else ""
    return f"{scaling.name!r} of {scaling.low:.4g}..{scaling.high:.4g}{numbers}"
