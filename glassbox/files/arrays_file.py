"""Named arrays and JSON records in one safetensors file: data, and nothing that could be run.

Such a file is a JSON header that names arrays, and their bytes.  The header's metadata hold the
records, and a hash over everything: a flipped bit is an error, not a slightly different network.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load as read_tensors
from safetensors.numpy import save as write_tensors

from glassbox.engine.layer import Array
from glassbox.files.foreign import kind_of
from glassbox.regular_file import read_file

KEY = "glassbox"  # of the metadata
VERSION = 1  # of what stands there; a file of a later one is refused
# What PyTorch counts and nothing here reads.
UNREAD = re.compile(r"(^|\.)num_batches_tracked$")
TYPES = ("F64", "F32", "F16", "BF16")


@dataclass
class ModelState:
    """What a file holds: arrays by name, and records (JSON objects) by name."""

    arrays: dict[str, Array]
    records: dict[str, Any]


def read(path: Any) -> ModelState:
    """Return what the file at `path` holds; see `decode`."""
    return decode(read_file(path), str(path))


def encode(state: ModelState) -> bytes:
    """Return the bytes of a safetensors file; equal states give equal bytes."""
    arrays = {name: np.ascontiguousarray(array) for name, array in state.arrays.items()}
    digest = _digest(arrays, state.records)
    record = json.dumps({"version": VERSION, "sha256": digest, **state.records})
    # One entry, for the library writes several in an order that differs from run to run.
    return bytes(write_tensors(arrays, {KEY: record}))


def decode(data: bytes, where: str) -> ModelState:
    """Return what `encode` wrote, or the arrays alone of a file that others wrote.

    Raises ValueError, naming `where`, unless it is a complete safetensors file of float arrays
    with the right hash and a version that is known.
    """
    arrays, metadata = _read(data, where)
    if KEY not in metadata:
        return ModelState(arrays, {})
    try:
        records = json.loads(metadata[KEY])
        version, digest = records.pop("version"), records.pop("sha256")
    except (ValueError, KeyError, AttributeError, TypeError, RecursionError) as error:
        raise ValueError(f"{where}: its settings are not a JSON record ({error!r})") from error
    if type(version) is not int or not 1 <= version <= VERSION:
        raise ValueError(
            f"{where}: written in version {version!r} of the format, this program reads up to "
            f"{VERSION}; install a newer version of glassbox"
        )
    if digest != _digest(arrays, records):
        raise ValueError(f"{where}: damaged (its hash does not match); download or save it again")
    return ModelState(arrays, records)


def _read(data: bytes, where: str) -> tuple[dict[str, Array], dict[str, str]]:
    """Return the arrays and the metadata, once the safetensors library has accepted the file."""
    try:
        size = int.from_bytes(data[:8], "little")
        if len(data) < 8 or size > len(data) - 8:
            raise ValueError(f"its header promises {size:,} bytes, it has {len(data):,}")
        header = json.loads(data[8 : 8 + size])
        metadata = header.pop("__metadata__", None) or {}
        for name, entry in header.items():
            if not UNREAD.search(name) and entry["dtype"] not in TYPES:
                raise ValueError(f"{name} is of type {entry['dtype']}, expected one of {TYPES}")
        bfloats = [name for name, entry in header.items() if entry["dtype"] == "BF16"]
        if bfloats:  # NumPy has no such type: the upper half of a float32
            for name in bfloats:
                header[name]["dtype"] = "U16"
            text = json.dumps(header).encode()
            data = len(text).to_bytes(8, "little") + text + data[8 + size :]
        # In an order of our own: the library's differs from run to run, and messages with it.
        arrays = {n: a for n, a in sorted(read_tensors(data).items()) if not UNREAD.search(n)}
    except (SafetensorError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as e:
        kind = kind_of(data)
        what = str(e) if not kind or "safetensors file;" in kind else kind
        raise ValueError(f"{where}: not a complete safetensors file ({what})") from e
    for name in arrays.keys() & set(bfloats):
        arrays[name] = (arrays[name].astype(np.uint32) << 16).view(np.float32)
    return arrays, metadata


def _digest(arrays: Mapping[str, Array], records: Mapping[str, Any]) -> str:
    """Return a hash over every setting, and every array's name, type, shape and numbers."""
    digest = hashlib.sha256(json.dumps(records, sort_keys=True).encode())
    for name in sorted(arrays):
        array = arrays[name]
        digest.update(json.dumps([name, array.dtype.str, array.shape]).encode())
        digest.update(array.tobytes())
    return digest.hexdigest()
