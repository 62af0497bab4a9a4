"""Reading a file's bytes whatever wraps them, IDX files, and the checks every reader shares.

The IDX format: two zero bytes, one byte for the type, one byte for the number of axes, each
axis' size as four bytes (big-endian), then the values in C order.

A file may come from anywhere, so nothing it says of itself is believed: no array is made before
the bytes for it are there, and what is compressed may unpack to so many bytes only (see `room`).
"""

from __future__ import annotations

import gzip
import io
import math
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from glassbox.data.suspicions import check_highest

GZIP_MAGIC = b"\x1f\x8b"
HTML = (b"<!doctype", b"<html", b"<head", b"<?xml")
MOST_CLASSES = 2**16  # a larger label is more likely a mistake
MOST_AXES = 8
LARGEST_PIXEL = 1e15  # the squares of larger ones, added up over an image, overflow float32
FREE, RATIO = 32 * 2**20, 200  # see `room`
MISSING = ("None", "nan", "<NA>", "NaT")  # labels that a table does not have
SAMPLE = 64  # bytes that a sample takes besides its image while a set is split
PIECE = 2**20  # bytes unpacked at a time
IDX_TYPES: dict[int, np.dtype[Any]] = {
    code: np.dtype(kind)
    for code, kind in ((8, "u1"), (9, "i1"), (11, ">i2"), (12, ">i4"), (13, ">f4"), (14, ">f8"))
}


def room(packed: int) -> int:
    """Give the number of bytes that a compressed file of `packed` bytes may unpack to.

    200 times its own size, and 32 MiB in any case: real images never shrink as far, and a file
    made to fill the memory is stopped in time.

    >>> room(1000), room(10**6)
    (33554432, 200000000)
    """
    return max(FREE, RATIO * packed)


def check_room(arrays: Sequence[NDArray[Any]], packed: int, source: str) -> None:
    """Raise ValueError where images and labels, in turn, need more memory than files can mean.

    packed : bytes of their files; what is made of them may take twice the `room` of these

    Pixels other than bytes become float32; a sample has a label and several places in orders.
    """
    needed = 0
    for images, labels in zip(arrays[::2], arrays[1::2], strict=True):
        needed += images.size * (1 if images.dtype == np.uint8 else 4)
        needed += labels.nbytes * (4 if labels.dtype.kind in "SU" else 1) + SAMPLE * len(labels)
    if needed > 2 * room(packed):
        raise ValueError(
            f"{source}: {packed:,} bytes of files would take {needed:,} bytes of memory, which is "
            "too many for them; unpack or convert the files yourself if you trust them"
        )


def read_bytes(path: str | Path) -> bytes:
    """Read a file and unpack it if it is gzip, whatever its name; raises as `unpack` does."""
    path = existing(path)
    return unpack(path.read_bytes(), str(path))


def existing(path: str | Path, folder: bool = False) -> Path:
    """Give the path with ~ expanded.

    Raises FileNotFoundError, and ValueError for a file where a folder is expected, a folder where
    a file is expected, and a pipe or a device, which may never end.
    """
    path = Path(path).expanduser()
    wanted, found = ("folder" if is_folder else "file" for is_folder in (folder, path.is_dir()))
    if not path.exists():
        raise FileNotFoundError(f"there is no {wanted} {str(path)!r}")
    if found != wanted:
        raise ValueError(f"{str(path)!r} is a {found}, not a {wanted}")
    if not folder and not path.is_file():
        raise ValueError(f"{str(path)!r} is a pipe or a device, not a file; copy it to a file")
    return path


def unpack(content: bytes, source: str, limit: int | None = None) -> bytes:
    """Undo gzip compression where there is any; `source` names the content in errors.

    limit : of the unpacked bytes; by default the `room` of the content

    Raises ValueError for a damaged gzip file, one that unpacks to too much, and a saved web page.
    """
    if content[:200].removeprefix(b"\xef\xbb\xbf").lstrip().lower().startswith(HTML):
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


def read_idx(path: str | Path) -> NDArray[Any]:
    """Read an IDX file, plain or gzip; raises as `read_bytes` and `parse_idx` do."""
    return parse_idx(read_bytes(path), str(path))


def parse_idx(content: bytes, source: str = "IDX content") -> NDArray[Any]:
    """Give the array in the content of an IDX file, in the machine's byte order.

    Raises ValueError that says which byte is wrong and what was expected there, before anything is
    allocated for what the header promises.

    >>> parse_idx(bytes([0, 0, 8, 1, 0, 0, 0, 2, 7, 9])).tolist()
    [7, 9]
    """
    size, start = len(content), content[:2]
    kind, axes = content[2:4] if size >= 4 else (0, 0)
    begin = 4 + 4 * axes
    known = ", ".join(f"{code:02x} ({dtype.name})" for code, dtype in IDX_TYPES.items())
    faults = (
        (size < 4, f"an IDX file begins with 4 bytes of header, this one has {size}"),
        (start != b"\0\0", f"bytes 0 and 1 of an IDX file are 00 00, got {start.hex(' ')}"),
        (kind not in IDX_TYPES, f"byte 2 gives the type as {kind:02x}, expected {known}"),
        (not 1 <= axes <= MOST_AXES,
         f"byte 3 gives the number of axes, expected 1 to {MOST_AXES}, got {axes}"),
        (size < begin,
         f"byte 3 promises {axes} axes, so a header of {begin} bytes, but there are only {size}"),
    )  # fmt: skip
    for found, words in faults:
        if found:
            raise ValueError(f"{source}: {words}")
    shape = tuple(int.from_bytes(content[i : i + 4], "big") for i in range(4, begin, 4))
    return array_of(content, begin, shape, IDX_TYPES[kind], source)


def array_of(
    content: bytes, begin: int, shape: tuple[int, ...], dtype: np.dtype[Any], source: str,
    fortran: bool = False,
) -> NDArray[Any]:  # fmt: skip
    """Give the array whose values are all that follows byte `begin`, in the machine's byte order.

    Raises ValueError unless exactly so many bytes follow as the header's shape and type promise.
    """
    expected = math.prod((dtype.itemsize, *shape))  # Python's whole numbers: none is too large
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


def with_channels(array: ArrayLike, what: str) -> NDArray[Any]:
    """Give images as (samples, channels, height, width), one channel where there was no such axis.

    what : begins the message of the TypeError for what is not numbers, and of the ValueError for
        another number of axes
    """
    images = numbers_of(array)
    if images.dtype.kind not in "buif":
        raise TypeError(f"{what} of numbers, got an array of {images.dtype}")
    if images.ndim not in (3, 4):
        hint = f"; {reshaped(images.shape[1])}" if images.ndim == 2 else ""
        raise ValueError(
            f"{what} (samples, channels, height, width) or (samples, height, width), got shape "
            f"{images.shape}{hint}"
        )
    images = images[:, None] if images.ndim == 3 else images
    refuse_channels_last(images.shape, f"{what}: images".replace("expected images: ", ""))
    return images


def numbers_of(given: Any) -> NDArray[Any]:
    """Give an array of what a user has; of a data frame one of numbers, whatever its columns are.

    Raises TypeError, naming the column, where a frame holds something else than numbers.
    """
    array = np.asarray(given)
    if array.dtype.kind != "O" or array.ndim != 2 or not hasattr(given, "columns"):
        return array
    columns = [np.array(column.tolist()) for column in array.T]  # pandas' own kinds: UInt8, Float32
    for name, column, values in zip(given.columns, columns, array.T, strict=True):
        if column.dtype.kind not in "buif":
            odd = next(value for value in values if np.array(value).dtype.kind not in "buif")
            raise TypeError(
                f"data frame: column {name!r} holds {str(odd)[:40]!r}, expected numbers; leave the "
                f"column out, frame.drop(columns=[{name!r}]), or its row"
            )
    return np.stack(columns, axis=1)


def reshaped(numbers: int) -> str:
    """How to make images of rows of so many numbers, in words."""
    side = math.isqrt(numbers)
    picture = f"1, {side}, {side}" if side * side == numbers else "channels, height, width"
    return f"write numpy.asarray(images).reshape(-1, {picture})"


def bytes_of(array: NDArray[Any]) -> NDArray[Any]:
    """Give whole numbers of 0..255 as uint8, unless none is above 1, and others as they are."""
    if array.dtype.kind not in "iu" or array.dtype == np.uint8 or not array.size:
        return array
    small = array.min() >= 0 and 1 < array.max() <= 255
    return array.astype(np.uint8) if small else array


def refuse_channels_last(shape: tuple[int, ...], what: str) -> None:
    """Raise ValueError where images of this shape have their channels in the last axis.

    That is one of 3 or 4 behind two larger ones, or of 1 behind two larger ones that are equal.
    """
    height, width, channels = shape[1:]
    if min(height, width) > 4 and (channels in (3, 4) or (channels == 1 and height == width)):
        raise ValueError(
            f"{what} of shape {shape} have their channels last; here they are (samples, channels, "
            "height, width): write images.transpose(0, 3, 1, 2)"
        )


def as_images(array: ArrayLike, source: str) -> NDArray[Any]:
    """Give images (samples, channels, height, width) of uint8 or float32 from what a user has.

    (samples, height, width) gets one channel. Whole numbers up to 255 become uint8; whole
    numbers beyond, booleans and other floats become float32.

    Raises TypeError for what is not numbers; ValueError for other shapes, for an empty set, and
    for NaN, infinity and pixels beyond 1e15, with their number and the first place.
    """
    images = with_channels(array, f"{source}: expected images")
    if images.size == 0:
        raise ValueError(f"{source}: no images, got shape {images.shape}")
    images = bytes_of(images)
    if images.dtype == np.uint8:
        return images
    with np.errstate(over="ignore"):  # what becomes infinite here is reported below
        images = images.astype(np.float32, copy=False)
    bad = ~(np.abs(images) <= LARGEST_PIXEL)
    if bad.any():
        first = tuple(int(i) for i in np.argwhere(bad)[0])
        raise ValueError(
            f"{source}: {np.count_nonzero(bad):,} pixels are NaN, infinite or beyond "
            f"{LARGEST_PIXEL:g}; the first is {images[first]} at index {first} (sample, channel, "
            "row, column); correct or drop these images"
        )
    return images


def as_labels(
    array: ArrayLike, source: str, classes: Sequence[str] | None = None
) -> tuple[NDArray[np.int64], tuple[str, ...]]:
    """Give labels 0..classes-1 and the classes' names, from whole numbers, names or one-hot rows.

    Without `classes` numbers are named by themselves, and names are sorted.

    Raises TypeError for other types; ValueError for the wrong shape and for labels that are
    negative or not among the classes.

    >>> as_labels(["dog", "cat", "dog"], "example")
    (array([1, 0, 1]), ('cat', 'dog'))
    """
    labels = np.asarray(array)
    if labels.ndim == 2 and labels.shape[1] == 1:
        labels = labels[:, 0]  # a column, as Keras keeps the labels of CIFAR
    if is_one_hot(labels):
        classes = tuple(map(str, range(labels.shape[1]))) if classes is None else classes
        labels = labels.argmax(axis=1)
    if labels.ndim != 1:
        raise ValueError(
            f"{source}: expected labels (samples,) or one-hot rows, got shape {labels.shape}"
        )
    if labels.size == 0:
        raise ValueError(f"{source}: no labels")
    labels = names_as_text(labels, source)
    if labels.dtype.kind in "US":
        return _named(labels, source, classes)
    if labels.dtype.kind == "f" and np.all((np.abs(labels) < 2**53) & (labels == np.rint(labels))):
        labels = labels.astype(np.int64)
    if labels.dtype.kind not in "iu":
        raise TypeError(f"{source}: labels must be whole numbers or names, got {labels.dtype}")
    limit = len(classes) if classes is not None else MOST_CLASSES
    for at in (int(labels.argmin()), int(labels.argmax())):
        if not 0 <= labels[at] < limit:
            raise ValueError(
                f"{source}: labels must lie in 0..{limit - 1}, got {labels[at]} at index {at}"
            )
    if classes is None:
        check_highest(labels, source)
    return labels.astype(np.int64), tuple(classes or map(str, range(int(labels.max()) + 1)))


def names_as_text(labels: NDArray[Any], source: str) -> NDArray[Any]:
    """Give names that are objects, as data frames keep them, as an array of text.

    Raises ValueError where labels are missing (None, NaN, <NA>).
    """
    absent: NDArray[Any] = np.zeros(0, bool)
    if labels.dtype.kind == "O":
        lacking = [not isinstance(each, str) and str(each) in MISSING for each in labels.flat]
        absent = np.array(lacking, bool).reshape(labels.shape)
    elif labels.dtype.kind == "f":
        absent = np.isnan(labels)
    if absent.any():
        raise ValueError(
            f"{source}: {np.count_nonzero(absent):,} of {labels.size:,} labels are missing, the "
            f"first is that of image {np.argwhere(absent)[0][0]}; drop these images"
        )
    named = labels.dtype.kind == "O" and all(isinstance(label, str) for label in labels.flat)
    return labels.astype(str) if named else labels


def is_one_hot(labels: NDArray[Any]) -> bool:
    """Whether every row of a table holds zeros and a single one."""
    if labels.ndim != 2 or labels.dtype.kind not in "buif" or not labels.size:
        return False
    return bool(((labels == 0) | (labels == 1)).all() and (labels.sum(axis=1) == 1).all())


def _named(
    labels: NDArray[Any], source: str, classes: Sequence[str] | None
) -> tuple[NDArray[np.int64], tuple[str, ...]]:
    try:
        unique, positions = np.unique(labels.astype(str), return_inverse=True)
        names: list[str] = unique.tolist()
    except (ValueError, SystemError) as error:  # bytes beyond ASCII, numbers of no character
        raise ValueError(f"{source}: the labels are not readable names ({error})") from error
    classes = tuple(names if classes is None else classes)
    if len(classes) > MOST_CLASSES:
        raise ValueError(
            f"{source}: {len(classes):,} different names among the labels, expected at most "
            f"{MOST_CLASSES:,} classes"
        )
    place = {name: label for label, name in enumerate(classes)}
    unknown = sorted(set(names) - set(place))
    if unknown:
        raise ValueError(f"{source}: {unknown[:10]} among the labels, not among {classes[:10]}")
    return np.array([place[name] for name in names])[positions].astype(np.int64), classes
