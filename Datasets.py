"""Data sets: MNIST, Fashion-MNIST, scikit-learn's digits, and your own files.

    from Datasets import MNIST

    data = MNIST()                                      # 50,000 / 10,000 / 10,000
    x, labels = data.train.batch(range(64))             # (64, 1, 28, 28), scaled

Everything here gives a ``Splits``: data.train, data.validation and data.test. All of them take

sizes : (train, validation, test) or (train, test), as counts such as (50_000, 10_000, 10_000),
    or as shares of everything such as (0.7, 0.15, 0.15)
normalize : "center" (0..1 minus the training mean, channel by channel), "unit" (0..1),
    "standard" (0..1, minus mean, over standard deviation), "per-image" (each image by its own mean
    and deviation), "min-max" (each image to 0..1) or "none"; fitted to the training part alone
stratify : give every part the classes' proportions of the whole; False keeps the file's order
    with counts, and shuffles regardless of class with shares
seed : of the shuffling; the same seed gives the same parts

MNIST and Fashion-MNIST are looked for in the data folder (the argument ``folder``, else the
environment variable GLASSBOX_DATA, else a cache folder in the user's home) and downloaded into it
when they are missing. Everything behind this file lives in ``glassbox/data/``.

Files of your own may come from anywhere. Nothing in them is run or believed: no memory is taken
for what a header promises before it is there, and what is compressed may unpack to 200 times the
size of its file (32 MiB in any case), else it is refused with a ValueError. Pixels beyond 1e15, and
labels from 65,536 on, are taken for mistakes. Links inside a folder must not lead out of it.
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
    folder : the data folder, instead of GLASSBOX_DATA or the cache folder
    sizes : as counts, the first ``train`` of the 60,000, the ``validation`` after them, and the
        first ``test`` of the 10,000, in the published order; as shares, all 70,000 are pooled
        and shuffled, stratified by class
    normalize, seed : see the top of this file
    stratify : with counts, None keeps the published order; True draws training and validation
        from the 60,000 by ``seed``, in the classes' proportions
    download : False never opens a connection

    Raises
    ------
    DataUnavailable : files are neither found nor downloaded
    ValueError : a file is damaged, or an argument does not fit

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
    """70,000 pictures of clothes in ten classes, in the form of MNIST and with its arguments.

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

    The arguments are described at the top of this file; without ``stratify=False`` the parts are
    stratified.

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
    """Splits of your own arrays.

    Parameters
    ----------
    images : (samples, height, width) or (samples, channels, height, width), any type of number
    labels : (samples,) whole numbers from 0 on, or names
    sizes : by default (0.7, 0.15, 0.15); counts are drawn by ``seed`` as well, as a file may be
        sorted by class, unless ``stratify=False``
    normalize, stratify, seed : see the top of this file
    classes : names in the order of the labels; by default the labels themselves
    pixel_range : the values of black and white; by default 0 and 255 for whole numbers up to 255,
        0 and 1 for floats within, else the smallest and largest pixel of the training part
    name : of the result

    Raises
    ------
    TypeError : images or labels of a type that is neither number nor name
    ValueError : shapes or counts that do not fit, labels outside the classes, no image at all,
        NaN, infinity or a pixel beyond 1e15, more than 65,536 classes

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
    """Splits of IDX files, the format of MNIST, plain or gzip whatever their names say.

    Parameters
    ----------
    images_path, labels_path : the files
    test_images_path, test_labels_path : a test file, where the set has one. Counts then take the
        test part from it; by default all of it, and a sixth of the other one to validate
    sizes, normalize, stratify, seed : see the top of this file

    Raises
    ------
    FileNotFoundError, and ValueError that says which byte of a file is wrong, that the counts of
    images and labels differ, or that a file unpacks to too much (see the top of this file)
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
    """Splits of a .npz archive with x_train, y_train, x_test, y_test, or with images, labels.

    The first four are what Keras writes. Counts then take the test part from x_test, by default
    all of it, and a sixth of x_train to validate; colors may come last, as in Keras. Pickled
    objects are refused, and so is an archive that unpacks to too much (see the top of this file).

    Raises FileNotFoundError, ValueError and TypeError, as ``from_arrays`` does.
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
    """Splits of a table with one image a line: the label, then the pixels, 0..255.

    Parameters
    ----------
    path : the file, plain or gzip; a first line that begins with a word is taken as header
    shape : (height, width) or (channels, height, width); by default one square channel
    sizes, normalize, stratify, seed : see the top of this file

    Raises FileNotFoundError, and ValueError that names the line that is wrong.
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
    """Splits of PNG and JPEG pictures that lie in one subfolder for each class.

    Parameters
    ----------
    path : the folder; its subfolders, in sorted order, are the classes; links must not lead out
        of it
    size : (height, width) or one number, to which pictures are resized; by default all pictures
        must have the same size
    gray : one channel; False keeps red, green and blue
    sizes, normalize, stratify, seed : see the top of this file

    Raises FileNotFoundError, and ValueError that names the file or folder that is wrong, or that
    unpacks to too much (see the top of this file).
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
    """Splits of a set named or of a file, for programs that get the choice as text.

    Parameters
    ----------
    name_or_path : "mnist", "fashion-mnist", "digits", or the path of a .npz or .csv file, of a
        folder with IDX files, or of a folder with one subfolder of pictures for each class
    folder : the data folder; a relative path is looked for below it
    sizes : None for what each kind of source does by default
    normalize, stratify, seed : see the top of this file
    download : for MNIST and Fashion-MNIST, see there

    Raises
    ------
    ValueError : an unknown name, with the nearest known one
    FileNotFoundError : a path with nothing there

    >>> load("digits", sizes=(100, 20, 30)).test.shape
    (1, 8, 8)
    >>> load("mnits")
    Traceback (most recent call last):
        ...
    ValueError: 'mnits' is no known data set; did you mean 'mnist'? Choose from mnist, \
fashion-mnist, digits, or give the path of a file or folder
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
