"""Reading .csv tables."""

from __future__ import annotations

import io
import math
import warnings
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any, TextIO

import numpy as np
from numpy.typing import NDArray

from glassbox.data.readers import LARGEST_PIXEL, MOST_CLASSES, SAMPLE, existing, read_bytes, room
from glassbox.data.suspicions import check_columns
from glassbox.errors import require_count, short

LINES, FIELDS = 2000, 4096  # looked at together in the search for what is wrong


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
    _check_room(content, source, existing(path).stat().st_size)
    with _text(content) as file, warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # of an empty file; an error follows
        first = file.readline()
        header = bool(first.strip()) and not _is_number(first.partition(",")[0])
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
    check_columns(table, source)
    if pixels.min() >= 0 and 1 < pixels.max() <= 255 and (pixels == np.rint(pixels)).all():
        pixels = pixels.astype(np.uint8)
    return pixels.reshape(len(table), *picture), labels.astype(np.int64)


def _check_room(content: bytes, source: str, packed: int) -> None:
    """Raise ValueError where a table would take more memory than a file of `packed` bytes can mean.

    Each value is kept in 4 bytes; while its line is read it takes 40.
    """
    lines = content.count(b"\n") + content.count(b"\r") + 1
    needed = 4 * (content.count(b",") + lines) + SAMPLE * lines
    if needed <= 2 * room(packed):
        needed += 20 * max(map(len, io.BytesIO(content)), default=0)
    if needed > 2 * room(packed):
        raise ValueError(
            f"{source}: {packed:,} bytes of file would take {needed:,} bytes of memory, which is "
            "too many for them; unpack it yourself (gunzip) if you trust it"
        )


def _text(content: bytes) -> TextIO:
    return io.TextIOWrapper(io.BytesIO(content), encoding="utf-8-sig", errors="replace")


def _is_number(text: str) -> bool:
    try:
        float(text.strip().strip('"'))
    except ValueError:
        return False
    return "_" not in text  # Python's float would let 1_000 pass


def _fault(content: bytes, source: str, header: bool) -> str | None:
    """Find the first line that is wrong, and describe it."""
    columns, done = 0, 0
    with _text(content) as file:
        while lines := list(islice(file, LINES)):
            if not columns or not _sound(lines, columns):  # most of a file is soon passed over
                for number, line in enumerate(lines, start=done + 1):
                    if line.strip() and not (header and number == 1):
                        columns = columns or line.count(",") + 1
                        if fault := _fault_of_line(line, columns):
                            return f"{source}, line {number}: {fault}"
            done += len(lines)
    return None


def _sound(lines: list[str], columns: int) -> bool:
    """Whether NumPy reads these lines, and finds in them what an image and a label can be."""
    try:
        table = np.loadtxt(lines, np.float32, delimiter=",", comments=None, quotechar='"', ndmin=2)
    except ValueError:
        return False
    labels = table[:, 0] if table.size else np.zeros(1)
    fit = table.shape[1] == columns and bool((np.abs(table) <= LARGEST_PIXEL).all())
    whole = bool((labels == np.rint(labels)).all())
    return fit and whole and labels.min() >= 0 and labels.max() < MOST_CLASSES


def _fault_of_line(line: str, columns: int) -> str | None:
    """Describe what is wrong with a line of so many values, if anything is."""
    found = line.count(",") + 1
    if found != columns:
        return f"{found} values, but the lines before have {columns}"
    fields = _fields(line)
    position = 1
    while block := list(islice(fields, FIELDS)):
        if not _all_numbers(block):
            for place, text in enumerate(block, start=position):
                if not _is_number(text) or not abs(float(text)) <= LARGEST_PIXEL:
                    return f"value {place} is {text[:40]!r}, expected a number"
        position += len(block)
    text = next(_fields(line))
    if not float(text).is_integer() or not 0 <= float(text) < MOST_CLASSES:
        return (
            f"the label is {text[:40]!r}, expected a whole number from 0 on, below {MOST_CLASSES:,}"
        )
    return None


def _fields(line: str) -> Iterator[str]:
    """Yield the values of a line one by one: a list of millions of them would take gigabytes."""
    start = 0
    while start >= 0:
        stop = line.find(",", start)
        yield (line[start:] if stop < 0 else line[start:stop]).strip().strip('"')
        start = stop + 1 if stop >= 0 else -1


def _all_numbers(texts: list[str]) -> bool:
    try:
        numbers = np.array(list(map(float, texts)))
    except ValueError:
        return False
    return bool((np.abs(numbers) <= LARGEST_PIXEL).all()) and not any("_" in text for text in texts)


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
    if not isinstance(shape, tuple | list):
        raise TypeError(f"{source}: shape must be (height, width), got {short(shape)}")
    for number in shape:
        require_count(f"{source}: shape", number)
    if len(shape) not in (2, 3) or math.prod(shape) != pixels:
        raise ValueError(f"{source}: shape={short(shape)} does not fit {pixels} pixels a line")
    return (1, *shape) if len(shape) == 2 else tuple(shape)


def channels_first(images: NDArray[Any]) -> NDArray[Any]:
    """Turn Keras' (samples, height, width, channels) into (samples, channels, height, width).

    Other shapes are left as they are: three axes, or few channels on the second.
    """
    if images.ndim == 4 and images.shape[3] in (1, 3, 4) and images.shape[1] not in (1, 3, 4):
        return images.transpose(0, 3, 1, 2)
    return images
