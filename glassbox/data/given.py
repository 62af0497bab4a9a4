"""What a person hands to a network, as a Dataset: a Dataset, a pair of arrays, or images alone."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from glassbox.data.dataset import Dataset, Scaling
from glassbox.data.readers import MOST_CLASSES, channels_last, with_channels


def as_dataset(
    given: Any, classes: tuple[str, ...], scaling: Scaling | None, sample_weight: Any = None,
    class_weight: Any = None,
) -> Dataset:  # fmt: skip
    """Give a Dataset as it is, or make one of a pair (images, labels).

    Labels may be probabilities (samples, classes) in float, and a third array sample_weight. The
    weights are those of `Dataset.weighted`; a label outside the classes may have the class weight
    0: {-1: 0} ignores all images labelled -1.

    Without `classes` they are numbered from 0 to the largest label. Bytes are scaled by
    `scaling` (0..1 without one); floats are taken to be scaled already.

    Raises TypeError for anything else, ValueError for wrong shapes, an empty set, labels that do
    not fit, and NaN or infinity in the images.

    >>> len(as_dataset((np.zeros((3, 8, 8)), [0, 1, 0]), (), None))
    3
    """
    if isinstance(given, Dataset):
        plain = sample_weight is None and class_weight is None
        return given if plain else given.weighted(sample_weight, class_weight)
    if isinstance(given, tuple) and len(given) == 3 and sample_weight is None:
        *given, sample_weight = given
    if not isinstance(given, tuple | list) or len(given) != 2:
        raise TypeError(
            "expected a Dataset such as MNIST().train, or a pair (images, labels), got "
            f"{type(given).__name__}"
        )
    images, labels = _pixels(given[0]), np.asarray(given[1])
    if not len(images):
        raise ValueError("the data set is empty; it needs at least one image with its label")
    targets, ignored = None, np.zeros(len(images), bool)
    if labels.ndim == 2 and labels.dtype.kind == "f" and len(labels) == len(images):
        targets, labels = labels, labels.argmax(axis=1)
        classes = classes or tuple(str(k) for k in range(targets.shape[1]))
    elif isinstance(class_weight, dict) and labels.shape == ignored.shape:
        highest = len(classes) or np.inf
        outside = [k for k, w in class_weight.items() if w == 0 and _is_outside(k, highest)]
        ignored = np.isin(labels, outside)
        labels = np.where(ignored, 0, labels)
        class_weight = {k: w for k, w in class_weight.items() if k not in outside} or None
    if not classes and labels.size and labels.dtype.kind in "iu":
        highest = int(labels.max())
        if highest >= MOST_CLASSES:
            raise ValueError(f"labels must lie in 0..{MOST_CLASSES - 1}, got {highest}")
        classes = tuple(map(str, range(highest + 1)))
    data = Dataset(images, labels, classes, _scaling(images, scaling), targets=targets)
    if ignored.any():
        data = data.weighted(~ignored)
    if sample_weight is None and class_weight is None:
        return data
    return data.weighted(sample_weight, class_weight)


def _is_outside(label: Any, count: float) -> bool:
    """Whether a key of class_weight is a number that no class has."""
    return not isinstance(label, str) and not 0 <= label < count


def as_images(given: Any, scaling: Scaling | None) -> Dataset:
    """Give a Dataset as it is, or make one of an array of images, with labels that nobody reads."""
    if isinstance(given, Dataset):
        return given
    images = _pixels(given)
    return Dataset(images, np.zeros(len(images), int), ("?",), _scaling(images, scaling))


def places(indices: Any) -> NDArray[Any]:
    """Give indices as kernels take them, whatever kind of whole numbers or mask they are.

    Raises ValueError where there are none.
    """
    found = np.asarray(() if indices is None else indices)
    if found.dtype == bool:
        found = np.flatnonzero(found)
    if not found.size:
        raise ValueError("indices: expected at least one image to train on, got none")
    return found.astype(np.int64) if found.dtype.kind in "iu" else found


def at_least_one(images: NDArray[Any]) -> NDArray[Any]:
    """Images as they are; ValueError where there are none."""
    if not len(images):
        raise ValueError("images: expected at least one image, got none")
    return images


def check_finite(images: NDArray[Any]) -> None:
    """Raise ValueError where an image holds NaN or infinity."""
    if images.dtype == np.uint8:
        return
    if images.size and np.isfinite(images.max()) and np.isfinite(images.min()):
        return
    bad = np.flatnonzero(~np.isfinite(images).all(axis=(1, 2, 3)))
    if bad.size:
        raise ValueError(
            f"{len(bad):,} of {len(images):,} images hold NaN or infinite pixels, the first is "
            f"image {bad[0]}; clean or drop them"
        )


def _pixels(images: Any) -> NDArray[Any]:
    """Images as (n, channels, height, width), uint8 or finite float32."""
    array = with_channels(images, "expected images")
    if array.shape[3] in (1, 3, 4) and array.shape[1] == array.shape[2] > 4:
        raise channels_last("images", array.shape)
    if array.dtype != np.uint8:
        with np.errstate(over="ignore"):  # what becomes infinite here is reported below
            array = np.asarray(array, np.float32)
        check_finite(array)
    return array


def _scaling(images: NDArray[Any], scaling: Scaling | None) -> Scaling:
    return Scaling("none") if images.dtype != np.uint8 else scaling or Scaling("unit")
