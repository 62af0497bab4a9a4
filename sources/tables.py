"""Reading .npz archives and .csv tables."""

from __future__ import annotations

import gzip
import math
import warnings
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TextIO

import numpy as np
from numpy.typing import NDArray

from sources.readers import GZIP_MAGIC, existing

KERAS_NAMES = ("x_train", "y_train", "x_test", "y_test")
PLAIN_NAMES = ("images", "labels")


def read_npz(path: str | Path) -> list[NDArray[Any]]:
    """The arrays of an archive: [images, labels], and the test file's two where it has them.

    Understood are the names x_train, y_train, x_test, y_test (as Keras writes them) and
    images, labels. Pickled objects are never loaded.

    Raises FileNotFoundError, and ValueError for any other content.
    """
    path = existing(path)
    if not zipfile.is_zipfile(path):
        raise ValueError(
            f"{str(path)!r} is no .npz archive (it is not a zip file, or is cut short)"
        )
    try:
        with np.load(path, allow_pickle=False) as archive:
            for names in (KERAS_NAMES, PLAIN_NAMES):
                if set(names) <= set(archive.files):
                    return [_entry(archive, name, path) for name in names]
            found = ", ".join(archive.files) or "nothing"
    except (zipfile.BadZipFile, zlib.error, EOFError) as error:
        raise ValueError(f"{str(path)!r} is damaged ({error}); replace the file") from error
    raise ValueError(
        f"{str(path)!r} holds {found}; expected the arrays {', '.join(KERAS_NAMES)} "
        f"or {', '.join(PLAIN_NAMES)}"
    )


def _entry(archive: Any, name: str, path: Path) -> NDArray[Any]:
    try:
        array: NDArray[Any] = archive[name]
    except ValueError as error:
        raise ValueError(
            f"{str(path)!r}: the array {name!r} cannot be read ({error}); save it as plain "
            "numbers, e.g. numpy.savez(path, images=numpy.asarray(images, 'uint8'), labels=...)"
        ) from error
    return array


def read_csv(
    path: str | Path, shape: tuple[int, ...] | None = None
) -> tuple[NDArray[Any], NDArray[np.int64]]:
    """Images (samples, channels, height, width) and labels from lines ``label,pixel,pixel,...``.

    Parameters
    ----------
    path : the file, plain or gzip; a first line that begins with a word is a header
    shape : (height, width) or (channels, height, width); by default a square of one channel

    Whole pixels up to 255 become uint8, all others float32.

    Raises FileNotFoundError, and ValueError that names the line of anything that is not a number
    and of a line of another length.
    """
    path = existing(path)
    with _open(path) as file, warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # of an empty file; an error follows
        header = _skip_header(file)
        try:
            table = np.loadtxt(
                file, dtype=np.float32, delimiter=",", comments=None, quotechar='"', ndmin=2
            )
        except ValueError as error:
            raise ValueError(_fault(path, header) or f"{str(path)!r}: {error}") from error
    if table.size == 0:
        raise ValueError(f"{str(path)!r}: no images in this file")
    labels, pixels = table[:, 0], table[:, 1:]
    if not np.isfinite(table).all() or (labels < 0).any() or (labels != np.rint(labels)).any():
        raise ValueError(_fault(path, header) or f"{str(path)!r}: not all values are numbers")
    picture = _picture(pixels.shape[1], shape, path)
    if pixels.min() >= 0 and 1 < pixels.max() <= 255 and (pixels == np.rint(pixels)).all():
        pixels = pixels.astype(np.uint8)
    return pixels.reshape(len(table), *picture), labels.astype(np.int64)


def _open(path: Path) -> TextIO:
    with path.open("rb") as file:
        packed = file.read(2) == GZIP_MAGIC
    opener: Any = gzip.open if packed else open
    stream: TextIO = opener(path, "rt", encoding="utf-8-sig", errors="replace")
    return stream


def _skip_header(file: TextIO) -> bool:
    """Read past the first line if it is a header, and say whether it was one."""
    first = file.readline()
    if first.strip() and not _is_number(first.split(",")[0]):
        return True
    file.seek(0)
    return False


def _is_number(text: str) -> bool:
    try:
        float(text.strip().strip('"'))
    except ValueError:
        return False
    return True


def _fault(path: Path, header: bool) -> str | None:
    """Go through the file line by line for the first one that is wrong, and describe it."""
    columns = None
    with _open(path) as file:
        for number, fields in _lines(file, header):
            where = f"{str(path)!r}, line {number}"
            columns = columns or len(fields)
            if len(fields) != columns:
                return f"{where}: {len(fields)} values, but the lines before have {columns}"
            for position, text in enumerate(fields, start=1):
                if not _is_number(text) or not math.isfinite(float(text)):
                    return f"{where}: value {position} is {text[:40]!r}, expected a number"
            if not (float(fields[0]).is_integer() and float(fields[0]) >= 0):
                return f"{where}: the label is {fields[0]!r}, expected a whole number from 0 on"
    return None


def _lines(file: TextIO, header: bool) -> Iterator[tuple[int, list[str]]]:
    for number, line in enumerate(file, start=1):
        if line.strip() and not (header and number == 1):
            yield number, [text.strip().strip('"') for text in line.split(",")]


def _picture(pixels: int, shape: tuple[int, ...] | None, path: Path) -> tuple[int, ...]:
    """(channels, height, width) for so many pixels a line."""
    if shape is None:
        side = math.isqrt(pixels)
        if side * side != pixels or pixels == 0:
            raise ValueError(
                f"{str(path)!r}: {pixels} pixels a line make no square; say shape=(height, width) "
                "or shape=(channels, height, width)"
            )
        return 1, side, side
    if len(shape) not in (2, 3) or math.prod(shape) != pixels:
        raise ValueError(f"{str(path)!r}: shape={tuple(shape)} does not fit {pixels} pixels a line")
    return (1, *shape) if len(shape) == 2 else tuple(shape)


def channels_first(images: NDArray[Any]) -> NDArray[Any]:
    """Keras' (samples, height, width, channels) as (samples, channels, height, width).

    Other shapes are left as they are: three axes, or few channels on the second.

    >>> channels_first(np.zeros((5, 32, 32, 3))).shape
    (5, 3, 32, 32)
    """
    if images.ndim == 4 and images.shape[3] in (1, 3, 4) and images.shape[1] not in (1, 3, 4):
        return images.transpose(0, 3, 1, 2)
    return images
