"""How the explorer's messages say things in JSON."""

from __future__ import annotations

import base64
import binascii
import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from glassbox.errors import require_count, short, unknown_name

MOST_PIXELS = 2**22  # of an image
MOST_TEXT = 400  # of an error

Request = dict[str, Any]
Answer = dict[str, Any]


# --- from JSON -------------------------------------------------------------------------------


def count_of(request: Request, key: str, most: int, default: int | None = None) -> int:
    """A whole number of a request, from 0 to `most`."""
    number: Any = request.get(key, default)
    require_count(key, number, least=0, most=most)
    return int(number)


def array_of(given: Any) -> NDArray[Any]:
    """The array of {"shape", "type", "data"}.

    >>> array_of({"shape": [2], "type": "uint8", "data": "AQI="}).tolist()
    [1, 2]
    """
    if not isinstance(given, dict):
        raise TypeError(f'image: expected {{"shape", "type", "data"}}, got {short(given)}')
    shape, kind, data = (given.get(key) for key in ("shape", "type", "data"))
    if not isinstance(shape, list) or not 0 < len(shape) <= 3:
        raise ValueError(f"image: shape: expected [channels, height, width], got {short(shape)}")
    for number in shape:
        require_count("image: shape", number, most=MOST_PIXELS)
    if kind not in ("uint8", "float32"):
        raise unknown_name("type of an image", kind, ("uint8", "float32"))
    try:
        content = base64.b64decode(data, validate=True) if isinstance(data, str) else b""
    except (binascii.Error, ValueError):
        content = b""
    kind = np.dtype(kind).newbyteorder("<")
    if len(content) != math.prod(shape) * kind.itemsize or math.prod(shape) > MOST_PIXELS:
        raise ValueError(f"image: data: expected base64 of {shape} numbers {kind}")
    found = np.frombuffer(content, kind).astype(kind.newbyteorder("=")).reshape(shape)
    if not np.isfinite(found).all():
        raise ValueError("image: expected finite numbers, got NaN or infinity")
    return found


# --- to JSON ---------------------------------------------------------------------------------


def array(found: NDArray[Any]) -> Answer:
    """An array as JSON: bytes stay bytes, all else becomes float32.

    >>> array(np.array([1, 2], np.uint8))
    {'shape': [2], 'type': 'uint8', 'data': 'AQI='}
    """
    kind = "uint8" if found.dtype == np.uint8 else "float32"
    content = np.ascontiguousarray(found, np.dtype(kind).newbyteorder("<"))
    data = base64.b64encode(content.tobytes()).decode()
    return {"shape": list(found.shape), "type": kind, "data": data}


def rows(**columns: NDArray[Any]) -> list[Answer]:
    """Columns as a list of objects.

    >>> rows(place=np.array([[0, 1]]), value=np.array([0.5]))
    [{'place': [0, 1], 'value': 0.5}]
    """
    lists = [column.tolist() for column in columns.values()]
    return [dict(zip(columns, row, strict=True)) for row in zip(*lists, strict=True)]


def terms(found: Any, names: dict[str, str]) -> Answer:
    """The terms of a sum as objects, and what was left out; {name: the column's attribute}."""
    columns = {name: getattr(found, attribute) for name, attribute in names.items()}
    rest = {"left_out": found.left_out, "left_out_sum": found.left_out_sum}
    return {"terms": rows(**columns), **rest}


def plain(found: Any) -> Any:
    """Tuples and arrays as lists, NumPy's numbers as Python's; None for NaN and infinity.

    >>> plain({"a": (np.float32(0.5), math.nan)})
    {'a': [0.5, None]}
    """
    if isinstance(found, dict):
        return {key: plain(value) for key, value in found.items()}
    if isinstance(found, np.ndarray | np.generic):
        found = found.tolist()
    if isinstance(found, list | tuple):
        return [plain(each) for each in found]
    return None if isinstance(found, float) and not math.isfinite(found) else found


def told(error: Exception) -> str:
    """An error as a sentence; what nobody meant to raise is named, too."""
    meant = isinstance(error, ValueError | TypeError)
    text = " ".join(str(error).split()) or "it failed"
    text = text if meant else f"{type(error).__name__}: {text}"
    return text if len(text) <= MOST_TEXT else f"{text[: MOST_TEXT - 3]}..."
