"""Reading .csv tables."""

from __future__ import annotations

import io
import math
import warnings
from pathlib import Path
from typing import Any, TextIO

import numpy as np
from numpy.typing import NDArray

from glassbox.data.readers import LARGEST_PIXEL, MOST_CLASSES, read_bytes


def read_csv(
    path: str | Path, shape: tuple[int, ...] | None = None
) -> tuple[NDArray[Any], NDArray[np.int64]]:
    """Read images (samples, channels, height, width) and labels from lines ``label,pixel,...``.

    path : the file, plain or gzip; a first line that begins with a word is a header
    shape : (height, width) or (channels, height, width); by default a square of one channel

    Whole pixels up to 255 become uint8, all others float32.

    Raises FileNotFoundError, and ValueError that names the line of anything that is not a number
    and of a line of another length; for gzip as `readers.read_bytes`.
    """
    content, source = read_bytes(path), repr(str(path))
    with _text(content) as file, warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # of an empty file; an error follows
        first = file.readline()
        header = bool(first.strip()) and not _is_number(first.split(",")[0])
        if not header:
            file.seek(0)
        try:
            table = np.loadtxt(
                file, dtype=np.float32, delimiter=",", comments=None, quotechar='"', ndmin=2
            )
        except ValueError as error:
            raise ValueError(_fault(content, source, header) or f"{source}: {error}") from error
    if table.size == 0:
        raise ValueError(f"{source}: no images in this file")
    labels, pixels = table[:, 0], table[:, 1:]
    sound = (np.abs(table) <= LARGEST_PIXEL).all() and (labels == np.rint(labels)).all()
    if not sound or labels.min() < 0 or labels.max() >= MOST_CLASSES:
        fault = _fault(content, source, header)
        raise ValueError(fault or f"{source}: not all values are numbers that an image can have")
    picture = _picture(pixels.shape[1], shape, source)
    if pixels.min() >= 0 and 1 < pixels.max() <= 255 and (pixels == np.rint(pixels)).all():
        pixels = pixels.astype(np.uint8)
    return pixels.reshape(len(table), *picture), labels.astype(np.int64)


def _text(content: bytes) -> TextIO:
    return io.TextIOWrapper(io.BytesIO(content), encoding="utf-8-sig", errors="replace")


def _is_number(text: str) -> bool:
    try:
        float(text.strip().strip('"'))
    except ValueError:
        return False
    return "_" not in text  # Python's float would let 1_000 pass


def _fault(content: bytes, source: str, header: bool) -> str | None:
    """Go through the file line by line for the first one that is wrong, and describe it."""
    columns = None
    with _text(content) as file:
        for number, line in enumerate(file, start=1):
            if not line.strip() or (header and number == 1):
                continue
            fields = [text.strip().strip('"') for text in line.split(",")]
            where = f"{source}, line {number}"
            columns = columns or len(fields)
            if len(fields) != columns:
                return f"{where}: {len(fields)} values, but the lines before have {columns}"
            for position, text in enumerate(fields, start=1):
                if not _is_number(text) or not abs(float(text)) <= LARGEST_PIXEL:
                    return f"{where}: value {position} is {text[:40]!r}, expected a number"
            label = float(fields[0])
            if not label.is_integer() or not 0 <= label < MOST_CLASSES:
                return (
                    f"{where}: the label is {fields[0][:40]!r}, expected a whole number from 0 on, "
                    f"below {MOST_CLASSES:,}"
                )
    return None


def _picture(pixels: int, shape: tuple[int, ...] | None, source: str) -> tuple[int, ...]:
    """Give (channels, height, width) for so many pixels a line."""
    if shape is None:
        side = math.isqrt(pixels)
        if side * side != pixels or pixels == 0:
            raise ValueError(
                f"{source}: {pixels} pixels a line do not make a square; give "
                "shape=(height, width) or shape=(channels, height, width)"
            )
        return 1, side, side
    if len(shape) not in (2, 3) or math.prod(shape) != pixels:
        raise ValueError(f"{source}: shape={tuple(shape)} does not fit {pixels} pixels a line")
    return (1, *shape) if len(shape) == 2 else tuple(shape)


def channels_first(images: NDArray[Any]) -> NDArray[Any]:
    """Turn Keras' (samples, height, width, channels) into (samples, channels, height, width).

    Other shapes are left as they are: three axes, or few channels on the second.
    """
    if images.ndim == 4 and images.shape[3] in (1, 3, 4) and images.shape[1] not in (1, 3, 4):
        return images.transpose(0, 3, 1, 2)
    return images
