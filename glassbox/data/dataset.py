"""Dataset: one part of a data set.  Splits: the three parts that a user works with."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np
from numpy.typing import ArrayLike, DTypeLike, NDArray

from glassbox.data.scaling import Scaling
from glassbox.data.splitting import split
from glassbox.spelling import Spelled


@dataclass(frozen=True, eq=False)
class Dataset:
    """Images with labels; the images stay as they were stored until a batch is taken.

    Both arrays are kept as read-only views, so that threads may share them without a lock.

    Parameters
    ----------
    images : array of uint8 or float32
        (samples, channels, height, width).
    labels : array of int
        (samples,) whole numbers 0..classes-1; kept as int64.
    classes : tuple of str
        The names of the classes, in the order of their labels.
    scaling : Scaling
        How stored pixels become network input.

    Raises
    ------
    TypeError
        If images are neither uint8 nor float32, or labels are not whole numbers.
    ValueError
        If the number of axes is wrong, counts differ, or a label is outside the classes.

    Examples
    --------
    >>> images = np.arange(8, dtype=np.uint8).reshape(2, 1, 2, 2)
    >>> data = Dataset(images, np.array([1, 0]), ("cat", "dog"), Scaling("none"))
    >>> len(data), data.shape
    (2, (1, 2, 2))
    >>> x, labels = data.batch([1])
    >>> x.tolist(), labels.tolist()
    ([[[[4.0, 5.0], [6.0, 7.0]]]], [0])
    """

    plain: ClassVar[bool] = True  # a batch is its images, scaled, and nothing else

    images: NDArray[Any] = field(repr=False)
    labels: NDArray[np.int64] = field(repr=False)
    classes: tuple[str, ...]
    scaling: Scaling

    def __post_init__(self) -> None:
        images, labels = np.asarray(self.images), np.asarray(self.labels)
        if images.ndim != 4:
            expected = "expected images (samples, channels, height, width)"
            raise ValueError(f"Dataset: {expected}, got shape {images.shape}")
        if images.dtype not in (np.uint8, np.float32):
            expected = "expected images of uint8 or float32"
            raise TypeError(f"Dataset: {expected}, got {images.dtype}; from_arrays converts others")
        check_counts(images, labels, "Dataset")
        if labels.dtype.kind not in "iu":
            raise TypeError(
                f"Dataset: labels must be whole numbers, got {labels.dtype}; write "
                "labels.astype(int), or hand names to from_arrays"
            )
        check_labels(labels, len(self.classes), "Dataset")
        kept = {"images": images.view(), "labels": labels.astype(np.int64, copy=False).view()}
        for name, view in kept.items():
            view.flags.writeable = False
            object.__setattr__(self, name, view)
        object.__setattr__(self, "classes", tuple(self.classes))

    @property
    def shape(self) -> tuple[int, int, int]:
        """(channels, height, width) of one image."""
        channels, height, width = self.images.shape[1:]
        return channels, height, width

    def __len__(self) -> int:
        return len(self.images)

    def batch(
        self, indices: ArrayLike, dtype: DTypeLike = np.float32
    ) -> tuple[NDArray[Any], NDArray[np.int64]]:
        """Return the images at `indices`, scaled, and their labels.

        Parameters
        ----------
        indices : array_like of int
            Which samples, in this order.
        dtype : dtype, default float32
            A floating type.

        Returns
        -------
        x : array
            (n, channels, height, width), a view of memory laid out as (channels, height, width, n):
            the network computes with samples last, and `x.transpose(1, 2, 3, 0)` gives it that
            memory without another copy.
        labels : array of int64
            (n,)

        Raises
        ------
        IndexError
            If an index is outside the data.
        TypeError
            If `dtype` is not a floating type.
        """
        chosen = np.atleast_1d(_whole(indices))
        return self.scaling.apply(self.images[chosen], dtype), self.labels[chosen]

    def take(self, n: int) -> Dataset:
        """Return the first `n` samples, without copying; ValueError if there are fewer."""
        if not 0 <= n <= len(self):
            raise ValueError(f"take({n}): this part has {len(self):,} samples")
        return self.subset(slice(0, n))

    def subset(self, indices: ArrayLike | slice) -> Dataset:
        """Return the samples at `indices` as a Dataset of the same classes and scaling.

        Parameters
        ----------
        indices : slice or array_like of int
            A slice shares the memory of the images; a list or an array of indices copies them.

        Examples
        --------
        >>> images = np.zeros((3, 1, 2, 2), dtype=np.uint8)
        >>> data = Dataset(images, np.array([0, 1, 1]), ("cat", "dog"), Scaling("unit"))
        >>> data.subset([2, 0]).labels.tolist()
        [1, 0]
        """
        indices = indices if isinstance(indices, slice) else _whole(indices)
        return Dataset(self.images[indices], self.labels[indices], self.classes, self.scaling)


class Splits(metaclass=Spelled):
    """A data set in three parts that share classes and scaling.

    Parameters
    ----------
    name : str
        Name of the data set.
    train, validation, test : Dataset
        The parts; validation and test may be empty.

    Attributes
    ----------
    shape : tuple of int
        (channels, height, width) of one image.
    classes : tuple of str
        The names of the classes, in the order of their labels.
    scaling : Scaling
        How pixels are scaled in every part; fitted to the training part.
    """

    def __init__(self, name: str, train: Dataset, validation: Dataset, test: Dataset) -> None:
        self.name = name
        self.train, self.validation, self.test = train, validation, test
        self.shape, self.classes, self.scaling = train.shape, train.classes, train.scaling

    def __repr__(self) -> str:
        parts = (self.train, self.validation, self.test)
        counts = " / ".join(f"{len(part):,}" for part in parts)
        shape = "x".join(map(str, self.shape))
        return (
            f"{self.name}: {counts} images to train / validate / test, {shape}, "
            f"{len(self.classes)} classes, normalized by {self.scaling.name!r}"
        )


def divide(
    images: NDArray[Any], labels: NDArray[Any], classes: tuple[str, ...],
    sizes: Sequence[float] | None = None, normalize: str = "center", stratify: bool | None = None,
    seed: int = 0, official: int | None = None, pixel_range: tuple[float, float] | None = None,
) -> tuple[Dataset, Dataset, Dataset]:  # fmt: skip
    """Split a set, fit the scaling to the training part alone, and make the three Datasets.

    `official`: how many samples, from the first on, the training file has (see `split`).
    """
    train, *others = split(labels, sizes, official, stratify, seed)
    training_images = images[train]
    scaling = Scaling.fit(normalize, training_images, pixel_range)
    first = Dataset(training_images, labels[train], classes, scaling)
    second, third = (Dataset(images[i], labels[i], classes, scaling) for i in others)
    return first, second, third


def _whole(indices: ArrayLike) -> NDArray[Any]:
    """Give indices as an array; an empty list would arrive as floats."""
    chosen = np.asarray(indices)
    return chosen if chosen.size else chosen.astype(np.intp)


def check_counts(images: NDArray[Any], labels: NDArray[Any], source: str) -> None:
    """Raise ValueError unless there is one label for each image."""
    if labels.ndim != 1 or len(images) != len(labels):
        hint = "; of one-hot rows take labels.argmax(axis=1)" if labels.ndim == 2 else ""
        raise ValueError(
            f"{source}: {len(images):,} images need as many labels, "
            f"got labels of shape {labels.shape}{hint}"
        )


def check_labels(labels: NDArray[Any], classes: int, source: str) -> None:
    """Raise ValueError unless every label lies in 0..classes-1."""
    outside = np.flatnonzero((labels < 0) | (labels >= classes))
    if outside.size:
        first = outside[0]
        raise ValueError(
            f"{source}: labels must lie in 0..{classes - 1}, but {outside.size:,} do not; "
            f"the first is {labels[first]} at index {first}"
        )
