"""Data sets: MNIST, Fashion-MNIST, scikit-learn's digits, and your own files.

    from Datasets import MNIST

    data = MNIST()                                      # 50,000 / 10,000 / 10,000
    x, labels = data.train.batch(range(64))             # (64, 1, 28, 28), scaled

What reads data returns a `Splits`: data.train, data.validation and data.test.  All take

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
the size of its file (32 MiB in any case) and take twice that as a data set; more is refused with a
ValueError.  Pixels beyond 1e15,
and labels from 65,536 on, are taken for mistakes.  Links inside a folder must not lead out of it.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, ClassVar, TypedDict, TypeVar, Unpack

import numpy as np
from numpy.typing import ArrayLike

from glassbox.data import archives, folders, published, readers, tables
from glassbox.data.augment import Augmentation
from glassbox.data.dataset import (
    NORMALIZATIONS,
    UNLABELED,
    Dataset,
    Scaling,
    Splits,
    check_counts,
    divide,
)
from glassbox.data.download import DataUnavailable
from glassbox.data.prepare import digit_steps, prepare_digits
from glassbox.errors import unknown_name
from glassbox.spelling import spelled

__all__ = [
    "MNIST", "NORMALIZATIONS", "Augmentation", "DataUnavailable", "Dataset", "Digits",
    "FashionMNIST", "Scaling", "Splits", "digit_steps", "from_arrays", "from_csv", "from_folder",
    "from_idx", "from_npz", "load", "prepare_digits",
]  # fmt: skip

Sizes = Sequence[float]
Function = TypeVar("Function", bound=Callable[..., Any])


class SplitOptions(TypedDict, total=False):
    """The arguments that everything here takes; the top of this file describes them."""

    sizes: Sizes | None
    normalize: str
    stratify: bool | None
    seed: int


DEFAULTS = {"sizes": None, "normalize": "center", "stratify": None, "seed": 0}


def with_split_options(function: Function) -> Function:
    """Show the `SplitOptions` in a function's signature, and answer arguments it does not have."""
    signature = inspect.signature(function)
    own = [each for each in signature.parameters.values() if each.kind is not each.VAR_KEYWORD]
    kind = inspect.Parameter.KEYWORD_ONLY
    shared = [inspect.Parameter(name, kind, default=value) for name, value in DEFAULTS.items()]
    vars(function)["__signature__"] = signature.replace(parameters=own + shared)
    answered: Function = spelled(function)
    return answered


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
        self, folder: str | Path | None = None, sizes: Sizes = (50_000, 10_000, 10_000),
        normalize: str = "center", stratify: bool | None = None, seed: int = 0,
        download: bool = True,
    ) -> None:  # fmt: skip
        contents = published.obtain(self.set_name, folder, download)
        arrays = {file: readers.parse_idx(content, file) for file, content in contents.items()}
        labels = [arrays[published.TRAIN_LABELS], arrays[published.TEST_LABELS]]
        images = [arrays[published.TRAIN_IMAGES], arrays[published.TEST_IMAGES]]
        parts = divide(
            np.concatenate(images)[:, None], np.concatenate(labels), self.class_names,
            sizes, normalize, stratify, seed, official=len(labels[0]),
        )  # fmt: skip
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
        "T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag",
        "Ankle boot",
    )  # fmt: skip


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
        self, sizes: Sizes = (0.7, 0.15, 0.15), normalize: str = "center",
        stratify: bool | None = None, seed: int = 0,
    ) -> None:  # fmt: skip
        from sklearn.datasets import load_digits  # slow to import, so only when asked for

        raw = load_digits()
        options = SplitOptions(sizes=sizes, normalize=normalize, stratify=stratify, seed=seed)
        data = from_arrays(raw.images.astype(np.uint8), raw.target, pixel_range=(0, 16), **options)
        super().__init__("Digits", data.train, data.validation, data.test)


@with_split_options
def from_arrays(
    images: ArrayLike, labels: ArrayLike, *, classes: Sequence[str] | None = None,
    pixel_range: tuple[float, float] | None = None, name: str = "arrays",
    **options: Unpack[SplitOptions],
) -> Splits:  # fmt: skip
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
    return _splits(name, [images, labels], options, classes, pixel_range)


def _splits(
    name: str, arrays: Sequence[Any], options: SplitOptions, classes: Sequence[str] | None = None,
    pixel_range: tuple[float, float] | None = None, files: Sequence[str | Path] = (),
) -> Splits:  # fmt: skip
    """Splits of images and labels, and of those of a test file where there are four arrays.

    files : where the arrays come from; they may take so much memory only
    """
    if files:
        packed = sum(Path(file).expanduser().stat().st_size for file in files)
        readers.check_room(arrays, packed, " and ".join(repr(str(file)) for file in files[:2]))
    images = [readers.as_images(array, name) for array in arrays[::2]]
    labels, official = arrays[1], None
    if len(images) == 2:
        official, (train, test) = len(images[0]), (each.shape[1:] for each in images)
        if train != test:
            raise ValueError(f"{name}: images to train have shape {train}, those to test {test}")
        parts = [array.reshape(-1) for array in arrays[1::2]]
        for pictures, part in zip(images, parts, strict=True):
            check_counts(pictures, part, name)
        labels, images = np.concatenate(parts), [np.concatenate(images)]
    numbers, names = readers.as_labels(labels, name, classes)
    check_counts(images[0], numbers, name)
    options["stratify"] = options.get("stratify") is not False
    more: Any = {"official": official, "pixel_range": pixel_range}
    return Splits(name, *divide(images[0], numbers, names, **more, **options))


@with_split_options
def from_idx(
    images_path: str | Path, labels_path: str | Path, test_images_path: str | Path | None = None,
    test_labels_path: str | Path | None = None, **options: Unpack[SplitOptions],
) -> Splits:  # fmt: skip
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
    paths = [images_path, labels_path, test_images_path, test_labels_path]
    given = [path for path in paths if path is not None]
    if len(given) == 3:
        raise ValueError("from_idx: a test file needs both test_images_path and test_labels_path")
    arrays = [readers.read_idx(path) for path in given]
    return _splits(Path(images_path).name, arrays, options, files=given)


@with_split_options
def from_npz(path: str | Path, **options: Unpack[SplitOptions]) -> Splits:
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
    if len(arrays) == 4:
        arrays[::2] = map(tables.channels_first, arrays[::2])
    return _splits(Path(path).name, arrays, options, files=[path])


@with_split_options
def from_csv(
    path: str | Path, shape: tuple[int, ...] | None = None, **options: Unpack[SplitOptions]
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
    return _splits(Path(path).name, tables.read_csv(path, shape), options, files=[path])


@with_split_options
def from_folder(
    path: str | Path, size: int | tuple[int, int] | None = None, gray: bool = True,
    **options: Unpack[SplitOptions],
) -> Splits:  # fmt: skip
    """Return the splits of PNG and JPEG pictures that lie in one subfolder per class.

    Pictures in a folder without subfolders have no labels: all of them are the test part, which
    `network.predict(data.test)` takes.

    Parameters
    ----------
    path : path-like
        The folder; its subfolders, in sorted order, are the classes.  Links must not lead out of
        it.
    size : int or pair of int, optional
        (height, width), or one number for both, to which pictures are resized; those of another
        shape are not squashed but get a margin in the color of their border.  By default all
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
    if classes == UNLABELED:
        data = Dataset(images, labels, classes, Scaling("unit"))
        return Splits(Path(path).name, data.take(0), data.take(0), data)
    return _splits(Path(path).name, [images, labels], options, classes)


@with_split_options
def load(
    name_or_path: str | Path, folder: str | Path | None = None, *, download: bool = True,
    size: int | tuple[int, int] | None = None, **options: Unpack[SplitOptions],
) -> Splits:  # fmt: skip
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
    size : int or pair of int, optional
        For a folder of pictures: see `from_folder`.

    Returns
    -------
    Splits
        Its three parts.

    Raises
    ------
    ValueError
        If the name is unknown; the message has the nearest known one.  If `size` is given for what
        is not a folder of pictures.
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
    given: Any = {key: value for key, value in options.items() if (key, value) != ("sizes", None)}
    name = str(name_or_path).lower().replace("_", "-").replace(" ", "-")
    name = "fashion-mnist" if name == "fashionmnist" else name
    named = name in ("digits", MNIST.set_name, FashionMNIST.set_name)
    if named and size is not None:
        raise ValueError(f"size: only pictures in a folder are resized, got {name_or_path!r}")
    if name == "digits":
        return Digits(**given)
    for published_set in (MNIST, FashionMNIST):
        if name == published_set.set_name:
            return published_set(folder, download=download, **given)
    path = Path(folder or "").expanduser() / Path(name_or_path).expanduser()
    kind = path.name.lower().removesuffix(".gz")
    if not path.exists():
        if path.suffix or path.name != str(name_or_path):
            raise FileNotFoundError(f"there is no file or folder {str(path)!r}")
        error = unknown_name("data set", name_or_path, ("mnist", "fashion-mnist", "digits"))
        known = str(error).replace("Known:", "Choose from")
        raise ValueError(f"{known}, or give the path of a file or folder")
    if path.is_dir():
        idx_files = folders.find_idx_files(path)
        if not idx_files:
            return from_folder(path, size, **given)
    if size is not None:
        raise ValueError(f"size: only pictures in a folder are resized, got {name_or_path!r}")
    if path.is_dir():
        return from_idx(*idx_files, **given)
    if not kind.endswith((".npz", ".csv")):
        raise ValueError(
            f"{str(path)!r}: expected a .npz or .csv file or a folder; pass a pair of IDX files to "
            "from_idx"
        )
    return from_npz(path, **given) if kind.endswith(".npz") else from_csv(path, **given)
