"""Scaling: how stored pixels become what a network sees.  Dataset: images with labels.  Splits."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any, ClassVar

import numpy as np
from numpy.typing import ArrayLike, DTypeLike, NDArray

from glassbox.data.readers import refuse_channels_last
from glassbox.data.splitting import split
from glassbox.errors import as_float, require_count, short, unknown_name
from glassbox.spelling import Spelled

NORMALIZATIONS = {
    "center": "0..1, minus the mean of the training part, channel by channel",
    "unit": "0..1",
    "standard": "0..1, minus the mean, over the standard deviation of the training part",
    "per-image": "each image minus its own mean, over its own standard deviation",
    "min-max": "each image stretched to 0..1 by its own smallest and largest pixel",
    "none": "the stored values",
}

UNLABELED = ("?",)  # the classes of images without labels, which can only be predicted on
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
        low, high = (as_float(f"Scaling: {key}", getattr(self, key)) for key in ("low", "high"))
        if not 0 < high - low < math.inf:
            given = f"low={short(self.low)}, got {short(self.high)}"
            raise ValueError(f"Scaling: high must be above {given}, by a finite number")
        object.__setattr__(self, "low", low)
        object.__setattr__(self, "high", high)
        for key in ("mean", "std"):
            numbers = getattr(self, key)
            if not isinstance(numbers, tuple | list):
                raise TypeError(f"Scaling: {key} must be a tuple of numbers, got {short(numbers)}")
            floats = tuple(as_float(f"Scaling: {key}", number) for number in numbers)
            if not all(map(math.isfinite, floats)):
                raise ValueError(f"Scaling: every {key} must be finite, got {short(numbers)}")
            object.__setattr__(self, key, floats)
        if any(not value > 0 for value in self.std):
            raise ValueError(f"Scaling: every std must be positive, got {short(self.std)}")

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
        if pixel_range is not None and not (
            isinstance(pixel_range, tuple | list)
            and len(pixel_range) == 2
            and 0 < _span(pixel_range) < math.inf
        ):
            raise ValueError(f"pixel_range must be (black, white), got {short(pixel_range)}")
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
        fitted = len(self.mean or self.std)
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


def _span(ends: Sequence[float]) -> float:
    low, high = (as_float("pixel_range", end) for end in ends)
    return high - low


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


@dataclass(frozen=True, eq=False, repr=False)
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
    weights : array, optional
        (samples,) numbers of 0 or more: how much each image counts in the loss and in the accuracy.
        By default all alike; `weighted` makes them.
    targets : array, optional
        (samples, classes) probabilities that the loss takes in place of the labels.

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
    weights: NDArray[np.float64] | None = field(default=None, repr=False)
    targets: NDArray[np.float64] | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        images, labels = np.asarray(self.images), np.asarray(self.labels)
        if images.ndim != 4:
            expected = "expected images (samples, channels, height, width)"
            raise ValueError(f"Dataset: {expected}, got shape {images.shape}")
        refuse_channels_last(images.shape, "Dataset: images")
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
        shapes = {"weights": (len(images),), "targets": (len(images), len(self.classes))}
        for name, shape in shapes.items():
            if getattr(self, name) is not None:
                numbers = _shares(name, getattr(self, name), shape)
                numbers.flags.writeable = False
                object.__setattr__(self, name, numbers)

    def __repr__(self) -> str:
        shape, kinds = "x".join(map(str, self.shape)), len(self.classes)
        name = self.scaling.name
        return f"<Dataset: {len(self):,} images {shape}, {kinds} classes, normalized by {name!r}>"

    def _repr_html_(self) -> str:
        from glassbox import html_repr

        return html_repr.dataset(self)

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
        indices : array_like
            Whole numbers, or a mask.
        dtype : dtype
            Of the images: float32 or float64.

        Returns
        -------
        x : array
            (n, channels, height, width), a view of memory laid out as (channels, height, width, n):
            the network computes with samples last, and `x.transpose(1, 2, 3, 0)` gives it that
            memory without another copy.
        labels : array of int64
            (n,), or where there are targets these, (n, classes).

        Raises
        ------
        IndexError
            If an index is outside the data.
        TypeError
            If `dtype` is not a floating type.
        """
        chosen = np.atleast_1d(_whole(indices))
        labels: Any = self.labels if self.targets is None else self.targets
        return self.scaling.apply(self.images[chosen], dtype), labels[chosen]

    def take(self, n: int) -> Dataset:
        """Return the first `n` samples, without copying; ValueError if there are fewer."""
        require_count("take", n, least=0)
        if n > len(self):
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
        weights = None if self.weights is None else self.weights[indices]
        targets = None if self.targets is None else self.targets[indices]
        images, labels = self.images[indices], self.labels[indices]
        return Dataset(images, labels, self.classes, self.scaling, weights, targets)

    def weighted(self, sample_weight: Any = None, class_weight: Any = None) -> Dataset:
        """Return the same images, each with a weight: its own times that of its class.

        The weight of an image means as much as if it were there so many times; 0 ignores it.

        Parameters
        ----------
        sample_weight : array, optional
            (samples,) numbers of 0 or more.
        class_weight : dict, array or "balanced", optional
            {label or name of a class: weight}, where those not named count 1; a weight for each
            class in order; or "balanced", samples / (classes x samples of the class).

        Examples
        --------
        >>> images = np.zeros((3, 1, 2, 2), dtype=np.uint8)
        >>> data = Dataset(images, np.array([0, 1, 1]), ("cat", "dog"), Scaling("unit"))
        >>> data.weighted([1, 2, 0], {"dog": 3}).weights.tolist()
        [1.0, 6.0, 0.0]
        """
        weights = np.ones(len(self)) if self.weights is None else self.weights
        if sample_weight is not None:
            weights = weights * _shares("sample_weight", sample_weight, (len(self),))
        if class_weight is not None:
            weights = weights * self._class_weights(class_weight)[self.labels]
        return replace(self, weights=weights)

    def _class_weights(self, given: Any) -> NDArray[np.float64]:
        """The weight of each class."""
        count = len(self.classes)
        if isinstance(given, str) and given == "balanced":
            found = np.bincount(self.labels, minlength=count)
            return len(self) / (max(np.count_nonzero(found), 1) * np.maximum(found, 1))
        if not isinstance(given, dict):
            return _shares("class_weight", given, (count,))
        weights: list[Any] = [1.0] * count
        for key, weight in given.items():
            place = self.classes.index(key) if key in self.classes else key
            if isinstance(place, str) or not 0 <= place < count:
                raise ValueError(
                    f"class_weight: {key!r} is not a class; expected one of {list(self.classes)}, "
                    f"or a label from 0 to {count - 1}"
                )
            weights[place] = weight
        return _shares("class_weight", weights, (count,))


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

    def _repr_html_(self) -> str:
        from glassbox import html_repr

        return html_repr.splits(self)


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


def _shares(name: str, given: Any, shape: tuple[int, ...]) -> NDArray[np.float64]:
    """Numbers of 0 or more in this shape, and in rows that sum to 1 if it has two axes."""
    try:
        numbers = np.array(given, np.float64)
    except (TypeError, ValueError, OverflowError) as error:
        raise ValueError(f"{name}: expected finite numbers, got {short(given)}") from error
    if numbers.shape != shape:
        raise ValueError(f"{name}: expected numbers of shape {shape}, got {numbers.shape}")
    if not (np.isfinite(numbers).all() and (numbers >= 0).all()):
        raise ValueError(f"{name}: expected finite numbers of 0 or more, got {numbers.min()}")
    if len(shape) == 2 and not np.allclose(numbers.sum(axis=1), 1, atol=1e-3):
        raise ValueError(f"{name}: expected the probabilities of each image to sum to 1")
    return numbers
