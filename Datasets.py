"""Data sets: MNIST, Fashion-MNIST, scikit-learn's digits, and your own files.

    from Datasets import MNIST

    data = MNIST()                                      # 50,000 / 10,000 / 10,000
    x, labels = data.train.batch(range(64))             # (64, 1, 28, 28), scaled

Everything here returns a `Splits`: data.train, data.validation and data.test.  All take

Parameters
----------
sizes : sequence of numbers
    (train, validation, test) or (train, test), as counts such as (50_000, 10_000, 10_000), or as
    fractions of the whole such as (0.7, 0.15, 0.15).
normalize : str, default "center"
    "center" (0..1 minus the training mean of each channel), "unit" (0..1), "standard" (0..1, minus
    the mean, over the standard deviation), "per-image" (each image by its own mean and deviation),
    "min-max" (each image to 0..1) or "none".  Fitted to the training part alone.
stratify : bool, optional
    True gives every part the class proportions of the whole.  False keeps the order of the file if
    sizes are counts, and shuffles regardless of class if they are fractions.
seed : int, default 0
    Seed of the shuffling; the same seed gives the same parts.

Notes
-----
MNIST and Fashion-MNIST are searched for in the data folder (the argument `folder`, else the
environment variable GLASSBOX_DATA, else a cache folder in the user's home) and downloaded into it
if they are missing.  All code behind this file is in `glassbox/data/`.

Your own files may come from anywhere.  Nothing in them is executed or trusted: no memory is
allocated for what a header promises before it is there, and compressed data may unpack to 200 times
the size of its file (32 MiB in any case); more is refused with a ValueError.  Pixels beyond 1e15,
and labels from 65,536 on, are taken for mistakes.  Links inside a folder must not lead out of it.
"""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from glassbox.data import archives, folders, published, readers, tables
from glassbox.data.augment import Augmentation
from glassbox.data.dataset import Dataset, Splits, check_counts, divide
from glassbox.data.download import DataUnavailable
from glassbox.data.scaling import NORMALIZATIONS, Scaling

__all__ = [
    "MNIST",
    "NORMALIZATIONS",
    "Augmentation",
    "DataUnavailable",
    "Dataset",
    "Digits",
    "FashionMNIST",
    "Scaling",
    "Splits",
    "from_arrays",
    "from_csv",
    "from_folder",
    "from_idx",
    "from_npz",
    "load",
]

Sizes = Sequence[float]


class MNIST(Splits):
    """70,000 handwritten digits of 28 x 28 pixels, 60,000 of them meant for training.

    Parameters
    ----------
    folder : path-like, optional
        The data folder, instead of GLASSBOX_DATA or the cache folder.
    sizes : sequence of numbers, default (50_000, 10_000, 10_000)
        Counts: the first `train` of the 60,000, the `validation` after them, and the first `test`
        of the 10,000, in the published order.  Fractions: all 70,000 are pooled, shuffled and
        stratified.
    normalize : str, default "center"
        See the top of this module.
    stratify : bool, optional
        With counts, None keeps the published order; True draws training and validation from the
        60,000 by `seed`, in the class proportions.
    seed : int, default 0
        See the top of this module.
    download : bool, default True
        False never opens a connection.

    Raises
    ------
    DataUnavailable
        If files are neither found nor downloaded.
    ValueError
        If a file is damaged, or an argument does not fit.

    Examples
    --------
    >>> data = MNIST()                                         # doctest: +SKIP
    >>> data.train.labels[:5].tolist()                         # doctest: +SKIP
    [5, 0, 4, 1, 9]
    """

    set_name: ClassVar[str] = "mnist"
    class_names: ClassVar[tuple[str, ...]] = tuple("0123456789")

    def __init__(
        self,
        folder: str | Path | None = None,
        sizes: Sizes = (50_000, 10_000, 10_000),
        normalize: str = "center",
        stratify: bool | None = None,
        seed: int = 0,
        download: bool = True,
    ) -> None:
        contents = published.obtain(self.set_name, folder, download)
        arrays = {file: readers.parse_idx(content, file) for file, content in contents.items()}
        labels = [arrays[published.TRAIN_LABELS], arrays[published.TEST_LABELS]]
        images = [arrays[published.TRAIN_IMAGES], arrays[published.TEST_IMAGES]]
        parts = divide(
            np.concatenate(images)[:, None],
            np.concatenate(labels),
            self.class_names,
            sizes=sizes,
            normalize=normalize,
            stratify=stratify,
            seed=seed,
            official=len(labels[0]),
        )
        super().__init__(published.TITLES[self.set_name], *parts)


class FashionMNIST(MNIST):
    """70,000 pictures of clothes in ten classes, in the form of `MNIST` and with its parameters.

    Examples
    --------
    >>> FashionMNIST.class_names[0], FashionMNIST.class_names[9]
    ('T-shirt/top', 'Ankle boot')
    """

    set_name = "fashion-mnist"
    class_names = (
        "T-shirt/top",
        "Trouser",
        "Pullover",
        "Dress",
        "Coat",
        "Sandal",
        "Shirt",
        "Sneaker",
        "Bag",
        "Ankle boot",
    )


class Digits(Splits):
    """1,797 handwritten digits of 8 x 8 pixels, 0..16, that come with scikit-learn: no download.

    Parameters
    ----------
    sizes : sequence of numbers, default (0.7, 0.15, 0.15)
        See the top of this module, as for the next three.
    normalize, stratify, seed : optional
        The parts are stratified unless `stratify` is False.

    Examples
    --------
    >>> data = Digits(seed=1)
    >>> data
    Digits: 1,258 / 269 / 270 images to train / validate / test, 1x8x8, 10 classes, \
normalized by 'center'
    >>> x, labels = data.train.batch([0, 1, 2])
    >>> x.shape, x.dtype.name, labels.shape
    ((3, 1, 8, 8), 'float32', (3,))
    """

    def __init__(
        self,
        sizes: Sizes = (0.7, 0.15, 0.15),
        normalize: str = "center",
        stratify: bool | None = None,
        seed: int = 0,
    ) -> None:
        from sklearn.datasets import load_digits  # slow to import, so only when asked for

        raw = load_digits()
        data = from_arrays(
            raw.images.astype(np.uint8),
            raw.target,
            sizes=sizes,
            normalize=normalize,
            stratify=stratify,
            seed=seed,
            pixel_range=(0, 16),
        )
        super().__init__("Digits", data.train, data.validation, data.test)


def from_arrays(
    images: ArrayLike,
    labels: ArrayLike,
    *,
    sizes: Sizes | None = None,
    normalize: str = "center",
    stratify: bool | None = None,
    seed: int = 0,
    classes: Sequence[str] | None = None,
    pixel_range: tuple[float, float] | None = None,
    name: str = "arrays",
) -> Splits:
    """Return the splits of your own arrays.

    Parameters
    ----------
    images : array_like
        (samples, height, width) or (samples, channels, height, width), any type of number.
    labels : array_like
        (samples,) whole numbers from 0 on, or names.
    sizes : sequence of numbers, default (0.7, 0.15, 0.15)
        Counts are drawn by `seed` as well, because a file may be sorted by class; set `stratify` to
        False to keep the order.
    normalize, stratify, seed : optional
        See the top of this module.
    classes : sequence of str, optional
        Names in the order of the labels; by default the labels themselves.
    pixel_range : pair of float, optional
        The values of black and white; by default 0 and 255 for whole numbers up to 255, 0 and 1 for
        floats within, else the smallest and largest pixel of the training part.
    name : str, default "arrays"
        Name of the result.

    Returns
    -------
    Splits
        Its three parts.

    Raises
    ------
    TypeError
        If images or labels have a type that is neither number nor name.
    ValueError
        If shapes or counts do not fit, a label is outside the classes, there is no image at all, a
        pixel is NaN, infinite or beyond 1e15, or there are more than 65,536 classes.

    Examples
    --------
    >>> images = np.zeros((10, 4, 6))
    >>> data = from_arrays(images, np.arange(10) % 2, sizes=(6, 2, 2), classes=["cat", "dog"])
    >>> data
    arrays: 6 / 2 / 2 images to train / validate / test, 1x4x6, 2 classes, normalized by 'center'
    """
    pixels = readers.as_images(images, name)
    numbers, names = readers.as_labels(labels, name, classes)
    check_counts(pixels, numbers, name)
    parts = divide(
        pixels,
        numbers,
        names,
        sizes=sizes,
        normalize=normalize,
        stratify=stratify is not False,
        seed=seed,
        pixel_range=pixel_range,
    )
    return Splits(name, *parts)


def _from_two_files(
    train: Sequence[NDArray[Any]],
    test: Sequence[NDArray[Any]],
    name: str,
    sizes: Sizes | None,
    normalize: str,
    stratify: bool | None,
    seed: int,
) -> Splits:
    """Splits of a set that is divided into [images, labels] to train and to test."""
    images = [readers.as_images(part[0], name) for part in (train, test)]
    if images[0].shape[1:] != images[1].shape[1:]:
        raise ValueError(
            f"{name}: images to train have shape {images[0].shape[1:]}, "
            f"those to test {images[1].shape[1:]}"
        )
    for pictures, (_, labels) in zip(images, (train, test), strict=True):
        check_counts(pictures, labels.reshape(-1), name)
    numbers, names = readers.as_labels(
        np.concatenate([train[1].reshape(-1), test[1].reshape(-1)]), name
    )
    parts = divide(
        np.concatenate(images),
        numbers,
        names,
        sizes=sizes,
        normalize=normalize,
        stratify=stratify is not False,
        seed=seed,
        official=len(images[0]),
    )
    return Splits(name, *parts)


def from_idx(
    images_path: str | Path,
    labels_path: str | Path,
    test_images_path: str | Path | None = None,
    test_labels_path: str | Path | None = None,
    *,
    sizes: Sizes | None = None,
    normalize: str = "center",
    stratify: bool | None = None,
    seed: int = 0,
) -> Splits:
    """Return the splits of IDX files, the format of MNIST, plain or gzip whatever their names say.

    Parameters
    ----------
    images_path, labels_path : path-like
        The files.
    test_images_path, test_labels_path : path-like, optional
        A test file, if the set has one.  Counts then take the test part from it; by default all of
        it, and a sixth of the other file for validation.
    sizes, normalize, stratify, seed : optional
        See the top of this module.

    Returns
    -------
    Splits
        Its three parts.

    Raises
    ------
    FileNotFoundError
        If a file is missing.
    ValueError
        If a file is damaged (the message says at which byte), the counts of images and labels
        differ, or a file unpacks to too much (see the top of this module).
    """
    train = [readers.read_idx(images_path), readers.read_idx(labels_path)]
    name = Path(images_path).name
    if test_images_path is None and test_labels_path is None:
        return from_arrays(
            *train, sizes=sizes, normalize=normalize, stratify=stratify, seed=seed, name=name
        )
    if test_images_path is None or test_labels_path is None:
        raise ValueError("from_idx: a test file needs both test_images_path and test_labels_path")
    test = [readers.read_idx(test_images_path), readers.read_idx(test_labels_path)]
    return _from_two_files(train, test, name, sizes, normalize, stratify, seed)


def from_npz(
    path: str | Path,
    *,
    sizes: Sizes | None = None,
    normalize: str = "center",
    stratify: bool | None = None,
    seed: int = 0,
) -> Splits:
    """Return the splits of a .npz archive: x_train, y_train, x_test, y_test, or images, labels.

    The first four are what Keras writes.  Counts then take the test part from x_test, by default
    all of it, and a sixth of x_train for validation; colors may come last, as in Keras.  Pickled
    objects are refused, and so is an archive that unpacks to too much (see the top of this module).

    Parameters
    ----------
    path : path-like
        The .npz file.
    sizes, normalize, stratify, seed : optional
        See the top of this module.

    Returns
    -------
    Splits
        Its three parts.

    Raises
    ------
    FileNotFoundError, ValueError, TypeError
        As `from_arrays` does.
    """
    arrays = archives.read_npz(path)
    name = Path(path).name
    if len(arrays) == 2:
        return from_arrays(
            *arrays, sizes=sizes, normalize=normalize, stratify=stratify, seed=seed, name=name
        )
    x_train, y_train, x_test, y_test = arrays
    x_train, x_test = (tables.channels_first(x) for x in (x_train, x_test))
    return _from_two_files(
        [x_train, y_train], [x_test, y_test], name, sizes, normalize, stratify, seed
    )


def from_csv(
    path: str | Path,
    shape: tuple[int, ...] | None = None,
    *,
    sizes: Sizes | None = None,
    normalize: str = "center",
    stratify: bool | None = None,
    seed: int = 0,
) -> Splits:
    """Return the splits of a table with one image per line: the label, then the pixels, 0..255.

    Parameters
    ----------
    path : path-like
        The file, plain or gzip.  A first line that begins with a word is taken for a header.
    shape : tuple of int, optional
        (height, width) or (channels, height, width); by default one square channel.
    sizes, normalize, stratify, seed : optional
        See the top of this module.

    Returns
    -------
    Splits
        Its three parts.

    Raises
    ------
    FileNotFoundError, ValueError
        The message of a ValueError names the line that is wrong.
    """
    images, labels = tables.read_csv(path, shape)
    return from_arrays(
        images,
        labels,
        sizes=sizes,
        normalize=normalize,
        stratify=stratify,
        seed=seed,
        name=Path(path).name,
    )


def from_folder(
    path: str | Path,
    size: int | tuple[int, int] | None = None,
    gray: bool = True,
    *,
    sizes: Sizes | None = None,
    normalize: str = "center",
    stratify: bool | None = None,
    seed: int = 0,
) -> Splits:
    """Return the splits of PNG and JPEG pictures that lie in one subfolder per class.

    Parameters
    ----------
    path : path-like
        The folder; its subfolders, in sorted order, are the classes.  Links must not lead out of
        it.
    size : int or pair of int, optional
        (height, width), or one number for both, to which pictures are resized.  By default all
        pictures must have the same size.
    gray : bool, default True
        One channel; False keeps red, green and blue.
    sizes, normalize, stratify, seed : optional
        See the top of this module.

    Returns
    -------
    Splits
        Its three parts.

    Raises
    ------
    FileNotFoundError, ValueError
        The message names the file or folder that is wrong, or that unpacks to too much (see the top
        of this module).
    """
    images, labels, classes = folders.read_folder(path, size, gray)
    return from_arrays(
        images,
        labels,
        sizes=sizes,
        normalize=normalize,
        stratify=stratify,
        seed=seed,
        classes=classes,
        name=Path(path).name,
    )


def load(
    name_or_path: str | Path,
    folder: str | Path | None = None,
    *,
    sizes: Sizes | None = None,
    normalize: str = "center",
    stratify: bool | None = None,
    seed: int = 0,
    download: bool = True,
) -> Splits:
    """Return the splits of a named set or of a file, for programs that get the choice as text.

    Parameters
    ----------
    name_or_path : str or path-like
        "mnist", "fashion-mnist", "digits", or the path of a .npz or .csv file, of a folder with IDX
        files, or of a folder with one subfolder of pictures per class.
    folder : path-like, optional
        The data folder; a relative path starts from it.
    sizes : sequence of numbers, optional
        By default what the kind of source has by default.
    normalize, stratify, seed : optional
        See the top of this module.
    download : bool, default True
        For MNIST and Fashion-MNIST: False never opens a connection.

    Returns
    -------
    Splits
        Its three parts.

    Raises
    ------
    ValueError
        If the name is unknown; the message has the nearest known one.
    FileNotFoundError
        If nothing is at the path.

    Examples
    --------
    >>> load("digits", sizes=(100, 20, 30)).test.shape
    (1, 8, 8)
    >>> load("mnits")  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    ValueError: ...did you mean 'mnist'? Choose from mnist, fashion-mnist, digits, or ...
    """
    options: dict[str, Any] = {"normalize": normalize, "stratify": stratify, "seed": seed}
    if sizes is not None:
        options["sizes"] = sizes
    name = str(name_or_path).lower().replace("_", "-").replace(" ", "-")
    if name == "mnist":
        return MNIST(folder, download=download, **options)
    if name in ("fashion-mnist", "fashionmnist"):
        return FashionMNIST(folder, download=download, **options)
    if name == "digits":
        return Digits(**options)
    path = Path(folder or "").expanduser() / Path(name_or_path).expanduser()
    if not path.exists():
        raise _unknown(str(name_or_path), name, path)
    return _load_path(path, options)


def _unknown(given: str, name: str, path: Path) -> Exception:
    if path.suffix or path.name != given:
        return FileNotFoundError(f"there is no file or folder {str(path)!r}")
    known = ["mnist", "fashion-mnist", "digits"]
    close = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    hint = f"did you mean {close[0]!r}? " if close else ""
    return ValueError(
        f"{given!r} is no known data set; {hint}Choose from {', '.join(known)}, "
        "or give the path of a file or folder"
    )


def _load_path(path: Path, options: dict[str, Any]) -> Splits:
    if path.is_dir():
        idx_files = folders.find_idx_files(path)
        return from_idx(*idx_files, **options) if idx_files else from_folder(path, **options)
    kind = path.name.lower().removesuffix(".gz")
    if kind.endswith(".npz"):
        return from_npz(path, **options)
    if kind.endswith(".csv"):
        return from_csv(path, **options)
    raise ValueError(
        f"{str(path)!r}: expected a .npz or .csv file or a folder; for a pair of IDX files, name "
        "both by from_idx"
    )
