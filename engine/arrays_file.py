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
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load as read_tensors
from safetensors.numpy import save as write_tensors

from engine.layer import Array

FORMAT = "glassbox"
VERSION = 1  # of what stands in the metadata; a file of a later one is refused
# What PyTorch counts and nothing here reads.
UNREAD = re.compile(r"(^|\.)num_batches_tracked$")
TYPES = ("F64", "F32", "F16")


@dataclass
class Contents:
    """What a file holds: arrays by name, and records (JSON objects) by name."""

    arrays: dict[str, Array]
    records: dict[str, Any]


def read(path: Any) -> Contents:
    """The contents of the file at `path`; see `decode`."""
    return decode(Path(path).read_bytes(), str(path))


def encode(contents: Contents) -> bytes:
    """The bytes of a safetensors file."""
    arrays = {name: np.ascontiguousarray(array) for name, array in contents.arrays.items()}
    texts = {name: json.dumps(record) for name, record in contents.records.items()}
    metadata = {"format": FORMAT, "version": str(VERSION), **texts}
    metadata["sha256"] = _digest(arrays, texts)
    return bytes(write_tensors(arrays, metadata))


def decode(data: bytes, where: str) -> Contents:
    """What `encode` wrote, or the arrays alone of a file that others wrote.

    Raises ValueError, naming `where`, for anything that is no whole safetensors file of float
    arrays, for a hash that does not fit, and for a version that is not known yet.
    """
    arrays, metadata = _read(data, where)
    if metadata.get("format") != FORMAT:
        return Contents(arrays, {})
    version = str(metadata.get("version", ""))
    if not re.fullmatch(r"\d{1,9}", version) or int(version) > VERSION:
        raise ValueError(
            f"{where}: written in version {version!r} of the format, this program reads up to "
            f"{VERSION}; use a newer one"
        )
    texts = {n: t for n, t in metadata.items() if n not in ("format", "version", "sha256")}
    if metadata.get("sha256") != _digest(arrays, texts):
        raise ValueError(f"{where}: damaged (its hash does not fit); fetch or save it again")
    try:
        return Contents(arrays, {name: json.loads(text) for name, text in texts.items()})
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{where}: its settings are no JSON ({error})") from error


def _read(data: bytes, where: str) -> tuple[dict[str, Array], dict[str, str]]:
    """The arrays and the metadata, once the safetensors library has found the file whole."""
    try:
        size = int.from_bytes(data[:8], "little")
        if len(data) < 8 or size > len(data) - 8:
            raise ValueError(f"its header promises {size:,} bytes, it has {len(data):,}")
        header = json.loads(data[8 : 8 + size])
        metadata = header.pop("__metadata__", None) or {}
        for name, entry in header.items():
            if not UNREAD.search(name) and entry["dtype"] not in TYPES:
                raise ValueError(f"{name} is of type {entry['dtype']}, expected one of {TYPES}")
        arrays = {n: a for n, a in read_tensors(data).items() if not UNREAD.search(n)}
    except (SafetensorError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as e:
        raise ValueError(f"{where}: no whole safetensors file ({e})") from e
    return arrays, metadata


def _digest(arrays: Mapping[str, Array], texts: Mapping[str, str]) -> str:
    """A hash over every name, type, shape, number and setting."""
    digest = hashlib.sha256()
    for name in sorted(texts):
        digest.update(json.dumps([name, texts[name]]).encode())
    for name in sorted(arrays):
        array = arrays[name]
        digest.update(json.dumps([name, array.dtype.str, array.shape]).encode())
        digest.update(array.tobytes())
    return digest.hexdigest()
