"""Reading .npz archives: zip files with a .npy file for each array.

The .npy format: 93 and NUMPY, two bytes for the version, the header's length as two bytes (four
from version 2 on; little-endian), the header as the text of a Python dict with the type, the order
and the shape, then the values. NumPy's own reader makes the array that a header promises before it
looks for the values, and evaluates the header as Python; here it is only searched for the three.
"""

from __future__ import annotations

import re
import struct
import zipfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from glassbox.data.readers import MOST_AXES, array_of, existing, room

KERAS_NAMES = ("x_train", "y_train", "x_test", "y_test")
PLAIN_NAMES = ("images", "labels")

NPY_MAGIC = b"\x93NUMPY"
LONGEST_HEADER = 10_000  # bytes; NumPy writes about a hundred
TYPE = re.compile(r"'descr': *'([<>|=]?)(b1|[iu][1248]|f[248]|[SU][1-9]\d{0,3})'")
ORDER = re.compile(r"'fortran_order': *(True|False)")
SHAPE = re.compile(r"'shape': *\(([\dL, ]{0,200})\)")  # 28L: as Python 2 wrote it

# What zipfile lets through when it trips over a damaged archive.
DAMAGE = (
    zipfile.BadZipFile, zlib.error, struct.error, EOFError, OSError, ValueError,
    RuntimeError, OverflowError,
)  # fmt: skip


def read_npz(path: str | Path) -> list[NDArray[Any]]:
    """Read [images, labels] of an archive, or Keras' [x_train, y_train, x_test, y_test].

    Only arrays of plain numbers or text are read; pickled objects are never loaded. All that is
    read together may unpack to 200 times the archive's size, and to 32 MiB in any case.

    Raises FileNotFoundError, and ValueError for any other content.
    """
    path = existing(path)
    if not zipfile.is_zipfile(path):
        raise ValueError(f"{str(path)!r} is not a .npz archive (not a zip file, or cut short)")
    try:
        with zipfile.ZipFile(path) as archive:
            names, contents = _wanted(archive, path), []
            for name in names:
                info = archive.getinfo(f"{name}.npy")
                with archive.open(info) as file:  # without a number, it would unpack without end
                    contents.append(file.read(info.file_size))
    except _Refused as refusal:
        raise ValueError(f"{str(path)!r} {refusal}") from None
    except DAMAGE as error:
        raise ValueError(f"{str(path)!r} is damaged ({error}); replace the file") from error
    return [
        parse_npy(content, f"{str(path)!r}: the array {name!r} cannot be read")
        for name, content in zip(names, contents, strict=True)
    ]


class _Refused(Exception):
    """What is wrong with a whole archive; not a ValueError, since zipfile raises those."""


def _wanted(archive: zipfile.ZipFile, path: Path) -> tuple[str, ...]:
    """Give the names of the arrays to read after checking that they do not unpack to too much."""
    members = {info.filename: info for info in archive.infolist()}
    kinds = (KERAS_NAMES, PLAIN_NAMES)
    names = next((k for k in kinds if all(f"{name}.npy" in members for name in k)), None)
    if names is None:
        held = [name.removesuffix(".npy")[:40] for name in members]
        some = ", ".join(held[:10]) + (f" and {len(held) - 10:,} more" if len(held) > 10 else "")
        raise _Refused(
            f"holds {some or 'nothing'}; expected the arrays {', '.join(KERAS_NAMES)} "
            f"or {', '.join(PLAIN_NAMES)}"
        )
    size, total = path.stat().st_size, 0
    for name in names:
        info = members[f"{name}.npy"]
        if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise _Refused(f"is packed in a way that NumPy does not use; save {name!r} again")
        if info.compress_size > size:
            raise _Refused(f"is damaged ({name!r} is said to be longer than the whole file)")
        total += info.file_size
    if total > room(size):
        raise _Refused(
            f"unpacks from {size:,} to {total:,} bytes, which is too many; if you trust it, save "
            "the arrays again with numpy.savez, which does not compress"
        )
    return names


def parse_npy(content: bytes, source: str = "npy content") -> NDArray[Any]:
    """Give the array in the content of a .npy file, in the machine's byte order.

    Raises ValueError for anything but plain numbers and text, and for a header that promises more
    or less than there is.
    """
    if not content.startswith(NPY_MAGIC):
        raise ValueError(f"{source} (it does not begin as a .npy file does); save it again")
    first = 10 if content[6:7] == b"\1" else 12
    begin = first + int.from_bytes(content[8:first], "little")
    if begin > min(len(content), LONGEST_HEADER):
        raise ValueError(
            f"{source} (its header is said to end at byte {begin:,}, of {len(content):,} in all); "
            "save it again"
        )
    header = content[first:begin].decode("latin-1")
    kind, order, shape = (pattern.search(header) for pattern in (TYPE, ORDER, SHAPE))
    if kind is None:
        raise ValueError(
            f"{source} (its type is neither plain numbers nor text); save it so, e.g. "
            "numpy.savez(path, images=numpy.asarray(images, 'uint8'), labels=...)"
        )
    if order is None or shape is None:
        raise ValueError(f"{source} (its header names no order or shape); save it again")
    sizes = [size.strip(" L") for size in shape[1].split(",") if size.strip()]
    if not 1 <= len(sizes) <= MOST_AXES or not all(n.isdigit() and len(n) < 19 for n in sizes):
        raise ValueError(
            f"{source} (its header gives the shape as ({shape[1][:60]})); save it again"
        )
    dtype, fortran = np.dtype(kind[1] + kind[2]), order[1] == "True"
    return array_of(content, begin, tuple(map(int, sizes)), dtype, source, fortran)
