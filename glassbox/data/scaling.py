"""Scaling: how stored pixels become the numbers that a network sees."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import asdict, dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from glassbox.errors import unknown_name

NORMALIZATIONS = {
    "center": "0..1, minus the mean of the training part, channel by channel",
    "unit": "0..1",
    "standard": "0..1, minus the mean, over the standard deviation of the training part",
    "per-image": "each image minus its own mean, over its own standard deviation",
    "min-max": "each image stretched to 0..1 by its own smallest and largest pixel",
    "none": "the stored values",
}

FAINT = 1e-18  # a smaller deviation is none: its square is about the least that float32 holds
IMAGES_AT_ONCE = 2048  # while fitting, so that 50,000 images are never all held as float64


@dataclass(frozen=True)
class Scaling:
    """A normalization together with the numbers that it was fitted to.

    A network that was trained on scaled images must see every later image scaled by the same
    numbers.  They come from the training part alone and can be saved with the model.

    Parameters
    ----------
    name : str, default "unit"
        One of `NORMALIZATIONS`.
    low, high : float, default 0.0 and 255.0
        The stored values that become 0 and 1.
    mean, std : tuple of float, optional
        For each channel, in units of the 0..1 scale; empty for zero and one.

    Raises
    ------
    ValueError
        If the name is unknown, `high` is not above `low`, or a `std` is not positive.

    Examples
    --------
    >>> pixels = np.array([0, 51, 204, 255], dtype=np.uint8).reshape(1, 1, 2, 2)
    >>> scaling = Scaling.fit("center", pixels)
    >>> scaling.mean
    (0.5,)
    >>> scaling.apply(pixels).round(2).ravel().tolist()
    [-0.5, -0.30000001192092896, 0.30000001192092896, 0.5]
    >>> Scaling.from_json(scaling.to_json()) == scaling
    True
    """

    name: str = "unit"
    low: float = 0.0
    high: float = 255.0
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "name", check_name(self.name))
        if not self.high > self.low:
            raise ValueError(f"Scaling: high must be above low={self.low!r}, got {self.high!r}")
        if any(not value > 0 for value in self.std):
            raise ValueError(f"Scaling: every std must be positive, got {self.std}")

    @classmethod
    def fit(
        cls, name: str, images: NDArray[Any], pixel_range: tuple[float, float] | None = None
    ) -> Scaling:
        """Fit a normalization to training images.

        Parameters
        ----------
        name : str
            One of `NORMALIZATIONS`.
        images : array
            (samples, channels, height, width).
        pixel_range : pair of float, optional
            The stored values of black and white.  By default 0 and 255 for uint8, 0 and 1 for
            floats that lie within, else the smallest and the largest training pixel.

        Returns
        -------
        Scaling
            The normalization with its numbers.
        """
        check_name(name)
        if name in ("none", "per-image", "min-max"):
            return cls(name, 0.0, 1.0)  # these look at no other image, or at nothing at all
        low, high = pixel_range or _pixel_range(images)
        if name == "unit":
            return cls(name, low, high)
        mean = _channel_means(images, lambda block: block)
        scale = high - low
        centered = tuple(((mean - low) / scale).tolist())
        if name == "center":
            return cls(name, low, high, centered)
        column = mean[:, None, None]
        std = np.sqrt(_channel_means(images, lambda block: (block - column) ** 2)) / scale
        std[std < FAINT] = 1.0  # a channel without contrast stays zero instead of becoming NaN
        return cls(name, low, high, centered, tuple(std.tolist()))

    def apply(self, images: NDArray[Any], dtype: DTypeLike = np.float32) -> NDArray[Any]:
        """Scale images into a new array of the same shape.

        Parameters
        ----------
        images : array
            (n, channels, height, width).
        dtype : dtype, default float32
            A floating type.

        Returns
        -------
        array
            A view of memory laid out as (channels, height, width, n), the order in which the
            network computes; see `Dataset.batch`.

        Raises
        ------
        TypeError
            If `dtype` is not a floating type.
        ValueError
            If the number of axes or channels is wrong.
        """
        dtype = np.dtype(dtype)
        if dtype.kind != "f":
            raise TypeError(f"Scaling: dtype must be a floating type such as float32, got {dtype}")
        if images.ndim != 4:
            expected = "expected images (samples, channels, height, width)"
            raise ValueError(f"Scaling: {expected}, got shape {images.shape}")
        n, *picture = images.shape
        fitted = len(self.mean)
        if fitted not in (0, picture[0]):
            raise ValueError(f"Scaling: fitted to {fitted} channels, got images of {picture[0]}")
        out = np.empty((*picture, n), dtype)
        out[...] = images.transpose(1, 2, 3, 0)  # one pass: copy, cast and reorder
        if self.name == "per-image":
            self._standardize_each(images, out)
        elif self.name == "min-max":
            smallest, spread = _low_and_spread(images)
            out -= smallest.astype(dtype)
            out /= np.where(spread == 0, 1, spread).astype(dtype)
        elif self.name != "none":
            self._scale_all(out)
        return out.transpose(3, 0, 1, 2)

    def constants(
        self, channels: int, dtype: DTypeLike = np.float32
    ) -> tuple[Any, Any, NDArray[Any], NDArray[Any]] | None:
        """Return low, span, means, stds of ((pixel - low) / span - mean) / std, channel by channel.

        None if each image is scaled by numbers of its own.
        """
        if self.name in ("per-image", "min-max"):
            return None
        kind: Any = np.dtype(dtype).type
        low, span = (0.0, 1.0) if self.name == "none" else (self.low, self.high - self.low)
        mean = np.array(self.mean or [0.0] * channels, dtype)
        return kind(low), kind(span), mean, np.array(self.std or [1.0] * channels, dtype)

    def _scale_all(self, out: NDArray[Any]) -> None:
        """Compute ((pixel - low) / (high - low) - mean) / std in place, without needless steps."""
        if self.low != 0:
            out -= self.low
        out /= self.high - self.low
        if self.mean:
            out -= np.asarray(self.mean, out.dtype)[:, None, None, None]
        if self.std:
            out /= np.asarray(self.std, out.dtype)[:, None, None, None]

    @staticmethod
    def _standardize_each(images: NDArray[Any], out: NDArray[Any]) -> None:
        # Summed along each image's own row: the same bits in whatever company an image comes.
        rows = _rows(images).astype(out.dtype)
        mean = rows.mean(axis=1)
        rows -= mean[:, None]
        std = np.sqrt(np.square(rows, out=rows).mean(axis=1))
        low, spread = _low_and_spread(images)
        # asked of the pixels, since a rounded std is rarely exactly zero
        constant = (spread == 0) | (std < FAINT)
        mean[constant] = low[constant]
        std[constant] = 1.0
        out -= mean
        out /= std

    def to_json(self) -> dict[str, Any]:
        """Return the fields as a dict of strings, numbers and lists, ready for `json.dumps`."""
        return asdict(self) | {"mean": list(self.mean), "std": list(self.std)}

    @classmethod
    def from_json(cls, record: dict[str, Any]) -> Scaling:
        """Return the Scaling that `to_json` described; ValueError if keys differ."""
        expected = {field.name for field in fields(cls)}
        if set(record) != expected:
            raise ValueError(f"Scaling: expected the keys {sorted(expected)}, got {sorted(record)}")
        numbers = {key: tuple(map(float, record[key])) for key in ("mean", "std")}
        return cls(record["name"], float(record["low"]), float(record["high"]), **numbers)


def check_name(name: str) -> str:
    """Return the name of a normalization ("centre" is understood too); ValueError if unknown."""
    name = "center" if name == "centre" else name
    if name not in NORMALIZATIONS:
        raise unknown_name("normalize", name, NORMALIZATIONS)
    return name


def _pixel_range(images: NDArray[Any]) -> tuple[float, float]:
    if images.dtype == np.uint8:
        return 0.0, 255.0
    low, high = float(images.min()), float(images.max())
    if low >= 0 and high <= 1:
        return 0.0, 1.0
    return (low, high) if high > low else (low, low + 1.0)


def _channel_means(
    images: NDArray[Any], of: Callable[[NDArray[Any]], NDArray[Any]]
) -> NDArray[np.float64]:
    """The mean of `of(pixels)` for each channel, in float64, some images at a time."""
    total = np.zeros(images.shape[1])
    for start in range(0, len(images), IMAGES_AT_ONCE):
        block = images[start : start + IMAGES_AT_ONCE].astype(np.float64)
        total += of(block).sum(axis=(0, 2, 3))
    return total / (len(images) * images.shape[2] * images.shape[3])


def _low_and_spread(images: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any]]:
    """The smallest pixel of each image, and how far the largest lies above it."""
    rows = _rows(images)
    low = rows.min(axis=1)
    return low, rows.max(axis=1) - low


def _rows(images: NDArray[Any]) -> NDArray[Any]:
    return images.reshape(len(images), math.prod(images.shape[1:]))  # of no images, too
