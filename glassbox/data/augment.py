"""Augmentation: altering training images a little, so that a network sees many forms of each."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from glassbox.errors import short

ASPECT = (0.3, 3.3)  # height over width of an erased rectangle, as in the published method


@dataclass(frozen=True)
class Augmentation:
    """Random shifts, rotations, zooms, mirror images and erased patches.

    Every image gets one affine map of its own, sampled bilinearly; pixels from outside repeat the
    border, which suits any normalization.  Maps of whole pixels (shift and flip without rotation
    and zoom) move pixels without blurring them.

    Parameters
    ----------
    shift : int, default 0
        Whole pixels; each image moves by -shift..shift along both axes.
    rotation : float, default 0.0
        Degrees; each image turns by -rotation..rotation about its center.
    zoom : float, default 0.0
        Below 1; each image is scaled by 1-zoom..1+zoom about its center.
    flip : bool, default False
        Mirror half of the images, left to right.
    erase : float, default 0.0
        Probability that a rectangle of the image is replaced by the mean of the image.
    erase_share : pair of float, default (0.02, 0.2)
        Smallest and largest fraction of the area of the image that is erased.

    Raises
    ------
    TypeError
        If an argument is not a number.
    ValueError
        If an argument is outside its range.

    Examples
    --------
    >>> augment = Augmentation(shift=1)
    >>> x = np.arange(9.0).reshape(1, 1, 3, 3)
    >>> augment(x, np.random.default_rng(4))[0, 0].astype(int).tolist()
    [[0, 0, 1], [0, 0, 1], [3, 3, 4]]
    """

    shift: int = 0
    rotation: float = 0.0
    zoom: float = 0.0
    flip: bool = False
    erase: float = 0.0
    erase_share: tuple[float, float] = (0.02, 0.2)

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            for number in value if isinstance(value, tuple | list) else (value,):
                if not isinstance(number, int | float | np.integer | np.floating):
                    raise TypeError(f"Augmentation: {name} must be a number, got {short(value)}")
        for name, high in (("shift", 2**31), ("rotation", 180), ("zoom", 0.99), ("erase", 1)):
            value = getattr(self, name)
            if not 0 <= value <= high:
                raise ValueError(f"Augmentation: {name} must lie in 0..{high}, got {short(value)}")
        if self.shift != int(self.shift):
            raise ValueError(f"Augmentation: shift must be whole pixels, got {self.shift!r}")
        object.__setattr__(self, "shift", int(self.shift))
        shares = self.erase_share
        if (
            not isinstance(shares, tuple | list)
            or len(shares) != 2
            or not 0 < shares[0] <= shares[1] <= 1
        ):
            raise ValueError(
                f"Augmentation: erase_share must be (least, greatest) in 0..1, got {short(shares)}"
            )

    def __call__(self, x: NDArray[Any], generator: np.random.Generator) -> NDArray[Any]:
        """Return a new array of altered images; `x` itself is left as it is.

        Parameters
        ----------
        x : array of floats
            (samples, channels, height, width).
        generator : numpy.random.Generator
            Source of every random number, so that equal generators give equal images.

        Returns
        -------
        array
            The same shape and dtype, in memory laid out as (channels, height, width, n), like that
            of `Dataset.batch`.

        Raises
        ------
        TypeError
            If images are not floats, or `generator` is not a Generator.
        ValueError
            If the number of axes is wrong.
        """
        if x.dtype.kind != "f":
            raise TypeError(f"Augmentation: expected images of floats, got {x.dtype}")
        if x.ndim != 4:
            expected = "expected images (samples, channels, height, width)"
            raise ValueError(f"Augmentation: {expected}, got shape {x.shape}")
        if not isinstance(generator, np.random.Generator):
            raise TypeError(
                "Augmentation: generator must be a numpy.random.Generator, such as "
                f"numpy.random.default_rng(0), got {type(generator).__name__}"
            )
        images = np.ascontiguousarray(x.transpose(1, 2, 3, 0))
        if self.rotation or self.zoom:
            images = self._warp(images, generator)
        elif self.shift or self.flip:
            images = self._move(images, generator)
        elif np.shares_memory(images, x):
            images = images.copy()
        if self.erase:
            self._erase(images, generator)
        return images.transpose(3, 0, 1, 2)

    def _draw_moves(
        self, n: int, generator: np.random.Generator
    ) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any]]:
        """Draw (rows down, columns right, -1 where mirrored and else 1) for each image."""
        down, right = generator.integers(-self.shift, self.shift, size=(2, n), endpoint=True)
        mirror = np.where(generator.random(n) < 0.5, -1, 1) if self.flip else np.ones(n, int)
        return down, right, mirror

    def _move(self, images: NDArray[Any], generator: np.random.Generator) -> NDArray[Any]:
        """Shift and mirror by whole pixels: each output pixel copies one input pixel."""
        _, height, width, n = images.shape
        down, right, mirror = self._draw_moves(n, generator)
        row = np.arange(height)[:, None] - down
        column = (np.arange(width)[:, None] - right) * mirror
        column += np.where(mirror < 0, width - 1, 0)
        row = row.clip(0, height - 1)[:, None]
        column = column.clip(0, width - 1)[None]
        return _gather(images, [0], (row * width + column) * n + np.arange(n))[0]

    def _warp(self, images: NDArray[Any], generator: np.random.Generator) -> NDArray[Any]:
        """Sample one affine map for each image bilinearly.

        The map goes backwards, from an output pixel p to the point in the input that it shows:
        center + turn back (p - center - shift) / zoom.
        """
        _, height, width, n = images.shape
        row, column = self._source_points(height, width, n, generator, images.dtype)
        # The upper left of the four neighbours; never the last row or column, so that the other
        # three exist (a picture of one row or column is its own neighbour).
        top = np.minimum(np.floor(row), max(height - 2, 0))
        left = np.minimum(np.floor(column), max(width - 2, 0))
        row -= top  # from here on the shares of the lower and of the right neighbours
        column -= left
        index = top.astype(np.intp)
        index *= width
        index += left.astype(np.intp)
        index *= n
        index += np.arange(n)
        below, beside = width * n if height > 1 else 0, n if width > 1 else 0
        a, b, c, d = _gather(images, [0, beside, below, below + beside], index)
        return _between(_between(a, b, column), _between(c, d, column), row)

    def _source_points(
        self, height: int, width: int, n: int, generator: np.random.Generator, dtype: Any
    ) -> tuple[NDArray[Any], NDArray[Any]]:
        """Give the point (row, column) each output pixel shows, each (height, width, n)."""
        down, right, mirror = self._draw_moves(n, generator)
        angle = np.deg2rad(generator.uniform(-self.rotation, self.rotation, n))
        zoom = generator.uniform(1 - self.zoom, 1 + self.zoom, n)
        cos, sin = np.cos(angle) / zoom, np.sin(angle) / zoom
        middle_row, middle_column = (height - 1) / 2, (width - 1) / 2
        y = np.arange(height)[:, None] - middle_row - down
        x = np.arange(width)[:, None] - middle_column - right
        row, column = (  # (height, n) and (width, n) -> (height, width, n)
            by_row.astype(dtype)[:, None] + by_column.astype(dtype)[None]
            for by_row, by_column in (
                (cos * y + middle_row, sin * x),
                (-sin * y * mirror + middle_column, cos * x * mirror),
            )
        )
        return row.clip(0, height - 1, out=row), column.clip(0, width - 1, out=column)

    def _erase(self, images: NDArray[Any], generator: np.random.Generator) -> None:
        """Replace a random rectangle of some images by the image's mean, in place."""
        _, height, width, n = images.shape
        chosen = generator.random(n) < self.erase
        area = generator.uniform(*self.erase_share, n) * height * width
        aspect = np.exp(generator.uniform(np.log(ASPECT[0]), np.log(ASPECT[1]), n))
        tall = np.sqrt(area * aspect).round().clip(1, height)
        wide = (area / tall).round().clip(1, width)
        first_row = np.floor(generator.random(n) * (height - tall + 1))
        first_column = np.floor(generator.random(n) * (width - wide + 1))
        y, x = np.arange(height)[:, None], np.arange(width)[:, None]
        rows = (y >= first_row) & (y < first_row + tall) & chosen
        columns = (x >= first_column) & (x < first_column + wide)
        mean = images.mean(axis=(1, 2), keepdims=True)
        np.copyto(images, mean, where=rows[:, None] & columns[None])


def _gather(images: NDArray[Any], offsets: list[int], index: NDArray[Any]) -> list[NDArray[Any]]:
    """For each offset, the pixels of every channel at `index + offset`, shaped like the images.

    `index` (height, width, n) counts within one channel's (height, width, n) block.
    """
    results = [np.empty_like(images) for _ in offsets]
    for offset, out in zip(offsets, results, strict=True):
        for channel, place in zip(images.reshape(len(images), -1), out, strict=True):
            # "clip" only spares the search for bad indices; there are none
            channel[offset:].take(index, out=place, mode="clip")
    return results


def _between(first: NDArray[Any], second: NDArray[Any], share: NDArray[Any]) -> NDArray[Any]:
    """first + share * (second - first), reusing the memory of `second`."""
    second -= first
    second *= share
    second += first
    return second
