"""What a person hands to a network, as a Dataset: a Dataset, a pair of arrays, or images alone."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from glassbox.data.dataset import UNLABELED, Dataset, Scaling, Splits
from glassbox.data.readers import (
    MOST_CLASSES,
    as_labels,
    bytes_of,
    is_one_hot,
    names_as_text,
    numbers_of,
    refuse_channels_last,
    reshaped,
    with_channels,
)
from glassbox.data.suspicions import check_pixels, check_scaling, check_training

UNSCALED = 16  # floats from 0 up that go beyond this have not been scaled
FLAT = ("Dense", "Flatten")  # layers from which on images are rows


def training_data(
    train: Any, validation: Any, network: Any, sample_weight: Any = None, class_weight: Any = None
) -> tuple[Dataset, Dataset | None]:
    """Give the data to train on, and those to validate on if there are any, as Datasets.

    train : what `as_dataset` takes, or a Splits: then its train and validation parts.

    Raises as `as_dataset` does.
    """
    if isinstance(train, Splits):
        train, validation = train.train, train.validation if validation is None else validation
    weights = {"sample_weight": sample_weight, "class_weight": class_weight}
    data = as_dataset(train, network, fitting=True, **weights)
    checks = None if validation is None else as_dataset(validation, network, like=data)
    checks = checks if checks is not None and len(checks) else None
    check_training(data, checks)
    return data, checks


def as_dataset(
    given: Any, network: Any, *, fitting: bool = False, scaled: bool = False,
    like: Dataset | None = None, sample_weight: Any = None, class_weight: Any = None,
) -> Dataset:  # fmt: skip
    """Give a Dataset as it is, or make one of a pair (images, labels).

    Images are arrays, data frames, or flat rows before a Dense; labels are whole numbers, names,
    one-hot rows, or probabilities (samples, classes); a third array is sample_weight.

    Parameters
    ----------
    network : its classes, scaling and layers decide; without classes there are as many as it has
        outputs, or as there are labels.
    fitting : whether a network without a scaling is about to be trained on these images; one is
        then fitted to them by `fitted`.
    scaled : the images are scaled already.
    like : a Dataset whose scaling is taken, and whose classes where the network has none.
    sample_weight, class_weight : see `Dataset.weighted`; a label outside the classes may have the
        class weight 0: {-1: 0} ignores all images labelled -1.

    Raises TypeError for anything else, ValueError for wrong shapes, an empty set, labels that do
    not fit, and NaN or infinity in the images.

    >>> from CNN import CNN
    >>> len(as_dataset((np.zeros((3, 8, 8)), [0, 1, 0]), CNN()))
    3
    """
    weighted = sample_weight is not None or class_weight is not None
    scaling = network.scaling if like is None else like.scaling
    if isinstance(given, Dataset):
        check_scaling(given, scaling)
        return given.weighted(sample_weight, class_weight) if weighted else given
    if isinstance(given, tuple) and len(given) == 3 and sample_weight is None:
        *given, sample_weight = given
    if not isinstance(given, tuple | list) or len(given) != 2:
        hint = ""
        if isinstance(given, Splits):
            hint = "; take a part of it: data.train, data.validation or data.test"
        elif hasattr(given, "__array__"):
            hint = "; write (images, labels)"
        raise TypeError(
            "expected a Dataset such as MNIST().train, or a pair (images, labels), got "
            f"{type(given).__name__}{hint}"
        )
    raw, labels = numbers_of(given[0]), np.asarray(given[1])
    images = _pixels(raw, network)
    if not len(images):
        raise ValueError("the data set is empty; it needs at least one image with its label")
    classes = network.classes or (like.classes if like else ())
    outputs = getattr(network.layers[-1], "units", 0) if network.layers else 0
    targets = None
    rows = labels.ndim == 2 and labels.dtype.kind == "f" and labels.shape[1] > 1
    if rows and len(labels) == len(images) and not is_one_hot(labels):
        targets, labels = labels, labels.argmax(axis=1)
        classes = classes or tuple(map(str, range(targets.shape[1])))
    labels, class_weight, ignored = _without_ignored(labels, class_weight, len(classes) or outputs)
    numbers, names = class_numbers(labels, classes, outputs)
    if fitting and scaling is None and not scaled:
        scaling = fitted(raw, images)
    else:
        scaling = _scaling(raw, images, scaling, scaled)
    data = Dataset(images, numbers, names, scaling, targets=targets)
    data = data if ignored is None else data.weighted(~ignored)
    if sample_weight is None and class_weight is None:
        return data
    return data.weighted(sample_weight, class_weight)


def _without_ignored(
    labels: NDArray[Any], class_weight: Any, count: int
) -> tuple[NDArray[Any], Any, NDArray[np.bool_] | None]:
    """Labels, 0 where one outside the classes has weight 0; the other weights; where those are."""
    if not isinstance(class_weight, dict) or labels.ndim != 1:
        return labels, class_weight, None
    outside = [
        label
        for label, weight in class_weight.items()
        if weight == 0 and not isinstance(label, str) and not 0 <= label < (count or np.inf)
    ]
    ignored = np.isin(labels, outside)
    rest = {label: weight for label, weight in class_weight.items() if label not in outside}
    return np.where(ignored, 0, labels) if outside else labels, rest or None, ignored


def as_images(given: Any, network: Any, scaled: bool = False) -> Dataset:
    """Give a Dataset as it is, or make one of an array of images, with labels that nobody reads."""
    if isinstance(given, Dataset):
        if given.classes == UNLABELED and network.scaling:  # they are scaled as the network's are
            return Dataset(given.images, given.labels, UNLABELED, network.scaling)
        return check_scaling(given, network.scaling)
    if isinstance(given, Splits):
        raise TypeError("images: got a Splits; take a part of it, such as data.test")
    raw = numbers_of(given)
    images = _pixels(raw, network)
    scaling = _scaling(raw, images, network.scaling, scaled)
    return Dataset(images, np.zeros(len(images), int), UNLABELED, scaling)


def fitted(images: NDArray[Any], pixels: NDArray[Any]) -> Scaling:
    """Give the scaling of a network that is trained on arrays which come without one.

    images : as they were given
    pixels : the same as uint8 or float32

    Whole numbers and booleans are scaled to 0..1 from the range that `from_arrays` finds, and so
    are floats from 0 up that go beyond 16 (0..255, or 0 to the largest). Other floats are taken
    to be scaled already.

    >>> fitted(np.array([0.0, 128.0]), np.array([0, 128], np.float32)).high
    255.0
    """
    if images.dtype.kind != "f":
        return Scaling.fit("unit", pixels)
    low, high = float(pixels.min()), float(pixels.max())
    if low >= 0 and high <= 1:
        return Scaling("unit", 0.0, 1.0)  # the same numbers, and later images can be compared
    if low < 0 or high <= UNSCALED:
        return Scaling("none")
    return Scaling("unit", 0.0, max(255.0, high))


def class_numbers(
    given: Any, classes: tuple[str, ...], outputs: int
) -> tuple[NDArray[Any], tuple[str, ...]]:
    """Give labels as whole numbers, and the names of the classes.

    A column, as Keras has it, is taken for its numbers; rows of zeros and a single one for the
    place of the one; names are looked up in `classes`, or sorted where these are not known.

    Raises ValueError for a name that is not among the classes, and for too high a number.

    >>> class_numbers([[0, 1], [1, 0]], (), 0), class_numbers(["b", "a"], (), 2)
    ((array([1, 0]), ('0', '1')), (array([1, 0]), ('a', 'b')))
    """
    labels = np.asarray(given)
    numbered = tuple(map(str, range(outputs)))
    if labels.ndim == 2 and labels.shape[1] == 1:
        labels = labels[:, 0]
    elif is_one_hot(labels):
        numbered = numbered or tuple(map(str, range(labels.shape[1])))
        if labels.shape[1] != len(classes or numbered):
            raise ValueError(
                f"labels: one-hot rows of {labels.shape[1]} columns, but there are "
                f"{len(classes or numbered)} classes"
            )
        labels = labels.argmax(axis=1)
    labels = names_as_text(labels, "labels")
    if labels.ndim == 1 and labels.size and labels.dtype.kind == "U":
        known = classes or (numbered if set(labels.tolist()) <= set(numbered) else None)
        return as_labels(labels, "labels", known)
    classes = classes or numbered
    if not classes and labels.size and labels.dtype.kind in "iu":
        highest = int(labels.max())
        if highest >= MOST_CLASSES:
            raise ValueError(f"labels must lie in 0..{MOST_CLASSES - 1}, got {highest}")
        classes = tuple(map(str, range(highest + 1)))
    return labels, classes


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


def scaled_images(images: Any, network: Any) -> NDArray[Any]:
    """Give images that are scaled already in the number type of a network, with a channel axis.

    Raises ValueError where there are none, and where channels are last and the network is not
    built for such a shape.
    """
    x = np.asarray(images, network.dtype)
    x = x[:, None] if x.ndim == 3 else x
    if x.ndim == 4 and network.assembly is None:
        refuse_channels_last(x.shape, "forward: images")
    return at_least_one(x)


def check_finite(images: NDArray[Any]) -> None:
    """Raise ValueError where an image holds NaN or infinity."""
    if images.dtype == np.uint8 or math.isfinite(np.vdot(images, images)):
        return  # a sum of squares is the quickest look; only large numbers call for a second one
    bad = np.flatnonzero(~np.isfinite(images).all(axis=(1, 2, 3)))
    if bad.size:
        raise ValueError(
            f"{len(bad):,} of {len(images):,} images hold NaN or infinite pixels, the first is "
            f"image {bad[0]}; clean or drop them"
        )


def _rows_as_images(rows: NDArray[Any], network: Any) -> NDArray[Any]:
    """Flat rows in the shape that a built network expects, or that its first Dense can take."""
    count, numbers = rows.shape
    if network.input_shape and math.prod(network.input_shape) == numbers:
        return rows.reshape(count, *network.input_shape)
    kinds = (type(layer) for layer in network.layers)
    first = next(
        (kind for kind in kinds if kind.__module__ == "Filters" or kind.__name__ in FLAT), None
    )
    if network.input_shape or (first and first.__name__ not in FLAT):
        expected = network.input_shape or "(samples, channels, height, width)"
        raise ValueError(
            f"images: got rows of {numbers} numbers, expected images {expected}; "
            f"{reshaped(numbers)}"
        )
    return rows.reshape(count, numbers, 1, 1)


def _pixels(array: NDArray[Any], network: Any) -> NDArray[Any]:
    """Images as (n, channels, height, width): whole numbers of 0..255 as uint8, else float32."""
    if array.ndim == 2 and array.dtype.kind in "buif" and array.size:
        array = _rows_as_images(array, network)
    array = bytes_of(with_channels(array, "expected images"))
    if array.dtype != np.uint8:
        with np.errstate(over="ignore"):  # what becomes infinite here is reported below
            array = np.asarray(array, np.float32)
        check_finite(array)
    return array


def _scaling(
    images: NDArray[Any], pixels: NDArray[Any], scaling: Scaling | None, scaled: bool
) -> Scaling:
    """The scaling of images for a network that has this one, or none yet."""
    if scaled:
        if images.dtype.kind != "f":
            raise TypeError(
                f"scaled=True: expected floats, got {images.dtype}; whole numbers and booleans "
                "are always raw: leave scaled out"
            )
        return Scaling("none")
    if scaling is not None:
        check_pixels(pixels, scaling, images.dtype.kind)
        return scaling
    return Scaling("unit") if pixels.dtype == np.uint8 else Scaling("none")
