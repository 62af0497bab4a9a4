"""Reading a file's bytes whatever wraps them, IDX files, and the checks every reader shares.

The IDX format: two zero bytes, one byte for the type, one byte for the number of axes, each
axis' size as four bytes (big-endian), then the values in C order.

A file may come from anywhere, so nothing it says of itself is believed: no array is made before
the bytes for it are there, and what is compressed may unpack to so many bytes only (see `room`).
"""

from __future__ import annotations

import gzip
import io
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

GZIP_MAGIC = b"\x1f\x8b"
MOST_CLASSES = 2**16  # a larger label is more likely a mistake
MOST_AXES = 8
LARGEST_PIXEL = 1e15  # the squares of larger ones, added up over an image, overflow float32
FREE, RATIO = 32 * 2**20, 200  # see `room`
PIECE = 2**20  # bytes unpacked at a time
IDX_TYPES: dict[int, np.dtype[Any]] = {
    0x08: np.dtype("u1"),
    0x09: np.dtype("i1"),
    0x0B: np.dtype(">i2"),
    0x0C: np.dtype(">i4"),
    0x0D: np.dtype(">f4"),
    0x0E: np.dtype(">f8"),
}


def room(packed: int) -> int:
    """How many bytes a compressed file of so many may unpack to.

    200 times its own size, and 32 MiB in any case: real images never shrink as far, and a file
    made to fill the memory is stopped in time.

    >>> room(1000), room(10**6)
    (33554432, 200000000)
    """
    return max(FREE, RATIO * packed)


def read_bytes(path: str | Path) -> bytes:
    """The content of a file, unpacked when it is gzip, whatever its name says.

    Raises FileNotFoundError, and ValueError for a damaged gzip file, one that unpacks to more than
    its `room`, and a saved web page.
    """
    path = existing(path)
    return unpack(path.read_bytes(), str(path))


def existing(path: str | Path, folder: bool = False) -> Path:
    """The path with ~ expanded.

    Raises FileNotFoundError, and ValueError for a file where a folder is due, the other way round,
    and for a pipe or a device, which may never end.

    >>> existing("no such file")
    Traceback (most recent call last):
        ...
    FileNotFoundError: there is no file 'no such file'
    """
    path = Path(path).expanduser()
    kind = "folder" if folder else "file"
    if not path.exists():
        raise FileNotFoundError(f"there is no {kind} {str(path)!r}")
    if path.is_dir() != folder:
        raise ValueError(
            f"{str(path)!r} is a {'folder' if path.is_dir() else 'file'}, not a {kind}"
        )
    if not folder and not path.is_file():
        raise ValueError(
            f"{str(path)!r} is no plain file but a pipe or a device; copy it to a file"
        )
    return path


def unpack(content: bytes, source: str, limit: int | None = None) -> bytes:
    """Undo gzip compression where there is any; ``source`` names the content in messages.

    ``limit`` bounds the unpacked bytes; by default it is the `room` of so much content. Raises
    ValueError.
    """
    if is_web_page(content):
        raise ValueError(
            f"{source}: this is an HTML page, not data (a login or an error page, saved under "
            "the name of the file); download it again from another place"
        )
    if not content.startswith(GZIP_MAGIC):
        return content
    limit = room(len(content)) if limit is None else limit
    data = io.BytesIO()
    try:
        with gzip.GzipFile(fileobj=io.BytesIO(content)) as file:
            while data.tell() <= limit and data.write(file.read(PIECE)):
                pass
    except EOFError as error:
        raise ValueError(
            f"{source}: truncated gzip file, {len(content):,} bytes long, which ends after "
            f"{data.tell():,} unpacked bytes; replace the file"
        ) from error
    except (zlib.error, gzip.BadGzipFile) as error:
        raise ValueError(f"{source}: damaged gzip file ({error}); replace the file") from error
    if data.tell() > limit:
        raise ValueError(
            f"{source}: unpacks to more than {limit:,} bytes, which is too many for "
            f"{len(content):,} packed ones; unpack it yourself (gunzip) if you trust it"
        )
    return data.getvalue()


def is_web_page(content: bytes) -> bool:
    """Whether the content begins as HTML does.

    >>> is_web_page(b"<!DOCTYPE html><html>Please log in")
    True
    """
    start = content[:200].removeprefix(b"\xef\xbb\xbf").lstrip().lower()
    return start.startswith((b"<!doctype", b"<html", b"<head", b"<?xml"))


def read_idx(path: str | Path) -> NDArray[Any]:
    """The array in an IDX file, plain or gzip. Raises as ``read_bytes`` and ``parse_idx`` do."""
    return parse_idx(read_bytes(path), str(path))


def parse_idx(content: bytes, source: str = "IDX content") -> NDArray[Any]:
    """The array in the content of an IDX file, in the machine's byte order.

    Raises ValueError that says which byte is wrong and what was expected there. A header that
    promises more than there is, is refused before anything is allocated.

    >>> parse_idx(bytes([0, 0, 8, 1, 0, 0, 0, 2, 7, 9])).tolist()
    [7, 9]
    """
    if len(content) < 4:
        raise ValueError(
            f"{source}: an IDX file begins with 4 bytes of header, this one has {len(content)}"
        )
    if content[:2] != b"\0\0":
        raise ValueError(
            f"{source}: bytes 0 and 1 of an IDX file are 00 00, got {content[:2].hex(' ')}; "
            "this is no IDX file"
        )
    if content[2] not in IDX_TYPES:
        known = ", ".join(f"{code:02x} ({dtype.name})" for code, dtype in IDX_TYPES.items())
        raise ValueError(f"{source}: byte 2 gives the type as {content[2]:02x}, expected {known}")
    axes = content[3]
    if not 1 <= axes <= MOST_AXES:
        raise ValueError(
            f"{source}: byte 3 gives the number of axes, expected 1 to {MOST_AXES}, got {axes}"
        )
    begin = 4 + 4 * axes
    if len(content) < begin:
        raise ValueError(
            f"{source}: byte 3 promises {axes} axes, so a header of {begin} bytes, "
            f"but the file has only {len(content)}"
        )
    shape = tuple(int.from_bytes(content[i : i + 4], "big") for i in range(4, begin, 4))
    return array_of(content, begin, shape, IDX_TYPES[content[2]], source)


def array_of(
    content: bytes,
    begin: int,
    shape: tuple[int, ...],
    dtype: np.dtype[Any],
    source: str,
    fortran: bool = False,
) -> NDArray[Any]:
    """The array whose values are all that follows byte ``begin``, in the machine's byte order.

    Raises ValueError unless exactly so many bytes follow as the header's shape and type promise.
    """
    expected = dtype.itemsize
    for size in shape:
        expected *= size  # whole numbers of Python: no product is too large
    found = len(content) - begin
    if found != expected:
        fault = "is cut short" if found < expected else "has trailing bytes"
        raise ValueError(
            f"{source}: the header gives shape {shape} of {dtype.name}, "
            f"so {expected:,} bytes from byte {begin} on, but {found:,} follow; the file {fault}"
        )
    if expected == 0:
        raise ValueError(f"{source}: the header gives shape {shape}, so there is nothing in it")
    values = np.frombuffer(content, dtype, offset=begin)
    values = values.reshape(shape, order="F" if fortran else "C")
    return values.astype(dtype.newbyteorder("="), copy=False)


def as_images(array: ArrayLike, source: str) -> NDArray[Any]:
    """Images (samples, channels, height, width) of uint8 or float32 out of what a user has.

    (samples, height, width) gets one channel. Whole numbers up to 255 become uint8; whole
    numbers beyond, booleans and other floats become float32.

    Raises TypeError for what is not numbers; ValueError for other shapes, for an empty set, and
    for NaN, infinity and pixels beyond 1e15, with their number and the first place.
    """
    images = np.asarray(array)
    if images.dtype.kind not in "buif":
        raise TypeError(f"{source}: images must be numbers, got an array of {images.dtype}")
    if images.ndim == 3:
        images = images[:, None]
    if images.ndim != 4:
        raise ValueError(
            f"{source}: expected images (samples, height, width) or (samples, channels, height, "
            f"width), got shape {images.shape}"
        )
    if images.size == 0:
        raise ValueError(f"{source}: no images, got shape {images.shape}")
    if images.shape[3] in (3, 4) and min(images.shape[1:3]) > 4:
        raise ValueError(
            f"{source}: shape {images.shape} seems to have its colors last; expected "
            "(samples, channels, height, width): use images.transpose(0, 3, 1, 2)"
        )
    if images.dtype == np.uint8:
        return images
    if images.dtype.kind in "iu" and images.min() >= 0 and 1 < images.max() <= 255:
        return images.astype(np.uint8)
    with np.errstate(over="ignore"):  # what becomes infinite here is told of below
        images = images.astype(np.float32, copy=False)
    bad = ~(np.abs(images) <= LARGEST_PIXEL)
    if bad.any():
        first = tuple(int(i) for i in np.argwhere(bad)[0])
        raise ValueError(
            f"{source}: {np.count_nonzero(bad):,} pixels are NaN, infinite or beyond "
            f"{LARGEST_PIXEL:g}; the first is {images[first]} at index {first} (sample, channel, "
            "row, column); mend or drop these images"
        )
    return images


def as_labels(
    array: ArrayLike, source: str, classes: Sequence[str] | None = None
) -> tuple[NDArray[np.int64], tuple[str, ...]]:
    """Labels 0..classes-1 and the classes' names, out of whole numbers or of names.

    Without ``classes`` numbers are named by themselves, and names are sorted.

    Raises TypeError for other types; ValueError for the wrong shape and for labels that are
    negative or not among the classes.

    >>> as_labels(["dog", "cat", "dog"], "example")
    (array([1, 0, 1]), ('cat', 'dog'))
    """
    labels = np.asarray(array)
    if labels.ndim == 2 and labels.shape[1] == 1:
        labels = labels[:, 0]  # a column, as Keras keeps the labels of CIFAR
    if labels.ndim != 1:
        hint = "; of one-hot rows take labels.argmax(axis=1)" if labels.ndim == 2 else ""
        raise ValueError(f"{source}: expected labels (samples,), got shape {labels.shape}{hint}")
    if labels.size == 0:
        raise ValueError(f"{source}: no labels")
    if labels.dtype.kind in "US":
        return _named(labels, source, classes)
    if labels.dtype.kind == "f" and np.all((np.abs(labels) < 2**53) & (labels == np.rint(labels))):
        labels = labels.astype(np.int64)
    if labels.dtype.kind not in "iu":
        raise TypeError(
            f"{source}: labels must be whole numbers 0, 1, 2 ... or names, got {labels.dtype}"
        )
    if labels.min() < 0:
        raise ValueError(
            f"{source}: labels must lie in 0..classes-1, got {labels.min()} at index "
            f"{int(labels.argmin())}"
        )
    highest = int(labels.max())
    limit = len(classes) if classes is not None else MOST_CLASSES
    if highest >= limit:
        raise ValueError(
            f"{source}: labels must lie in 0..{limit - 1}, got {highest} at index "
            f"{int(labels.argmax())}"
        )
    return labels.astype(np.int64), tuple(classes or map(str, range(highest + 1)))


def _named(
    labels: NDArray[Any], source: str, classes: Sequence[str] | None
) -> tuple[NDArray[np.int64], tuple[str, ...]]:
    try:
        unique, positions = np.unique(labels.astype(str), return_inverse=True)
        names: list[str] = unique.tolist()
    except (ValueError, SystemError) as error:  # bytes beyond ASCII, numbers of no character
        raise ValueError(f"{source}: the labels are no names that can be read ({error})") from error
    classes = tuple(names) if classes is None else tuple(classes)
    if len(classes) > MOST_CLASSES:
        raise ValueError(
            f"{source}: {len(classes):,} different names among the labels, expected at most "
            f"{MOST_CLASSES:,} classes"
        )
    place = {name: label for label, name in enumerate(classes)}
    unknown = sorted(set(names) - set(place))
    if unknown:
        raise ValueError(f"{source}: {unknown[:10]} among the labels, not among {classes[:10]}")
    order = np.array([place[name] for name in names])
    return order[positions].astype(np.int64), classes
