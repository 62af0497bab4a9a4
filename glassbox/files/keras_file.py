"""Weights that Keras 3 wrote, `.weights.h5` and `.keras`, under the names and layouts used here.

Both are HDF5 (the second in a zip archive), read by h5py.  A layer's arrays are there as
`layers/conv2d_1/vars/0`: its class and how many of that class are before it, then their number.
Only plain float arrays that lie in the file as they are get read: no links, no filters, no objects.
"""

from __future__ import annotations

import io
import json
import math
import re
import zipfile
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from glassbox.data.archives import DAMAGE
from glassbox.data.readers import room
from glassbox.engine.layer import Array, Layer

MAGIC = b"\x89HDF\r\n\x1a\n"
WEIGHTS, CONFIG = "model.weights.h5", "config.json"  # in a .keras archive
MOST_ENTRIES, DEEPEST = 100_000, 32  # names in a file, and folders in folders
VARIABLE = re.compile(r"(?:layers/)?(.+)/vars/(\d{1,3})")
# What training and dropout remember; no layer computes with them.
UNREAD = re.compile(r"(optimizer|metrics|compile_metrics|.*seed_generator)(/.*)?")
NORM = ("weight", "bias", "running_mean", "running_var")  # Keras: gamma, beta, moving_*


def is_keras(data: bytes) -> bool:
    """Whether these are the bytes of an HDF5 file, or of an archive that holds one of Keras."""
    return data[:8] == MAGIC or (data[:4] == b"PK\x03\x04" and WEIGHTS.encode() in data[-(2**16) :])


def arrays_of_keras(
    data: bytes, layers: Sequence[Layer], own: Mapping[str, Array], names: Mapping[str, str] | None,
    where: str,
) -> dict[str, Array]:  # fmt: skip
    """Return the arrays of a Keras file by the names that built `layers` have for them.

    Parameters
    ----------
    own : the arrays of the layers by name.
    names : {layer here: "conv2d_1" there}; those not named are matched in order, class by class.

    Raises ValueError, naming `where`, for a file of another kind, for layers that have no
    counterpart, and where a number of another type stands; ImportError without h5py.
    """
    try:
        import h5py
    except ImportError as error:
        why = "Keras files need the package h5py: pip install h5py"
        raise ImportError(f"{where}: {why}") from error
    wanted: dict[str, list[str]] = {}
    for name in own:
        owner, _, key = name.rpartition(".")
        wanted.setdefault(owner, []).append(key)
    kinds = {owner: _kind(owner, keys, own) for owner, keys in wanted.items()}
    try:
        weights, config = (data, None) if data[:8] == MAGIC else _unpacked(data)
        with h5py.File(io.BytesIO(weights), "r") as file:
            modules = _modules(h5py, file)
            matched = _matched(kinds, modules, names)
            _check_epsilon(config, layers, matched)
            found, volumes, left = {}, _volumes(layers), len(weights)
            for owner, module in matched.items():
                keys, given = sorted(wanted[owner], key=NORM.index), modules[module]
                if sorted(given) != list(range(len(keys))):
                    raise _Refused(
                        f"{module!r} holds {len(given)} arrays, expected {len(keys)} for {owner}: "
                        f"{', '.join(keys)}"
                    )
                for number, key in enumerate(keys):
                    array = _read(h5py, given[number], f"{module}/vars/{number}", left)
                    left -= array.nbytes
                    rows = key == "weight" or kinds[owner] == "batch_normalization"
                    found[f"{owner}.{key}"] = _ours(array, volumes.get(owner) if rows else None)
    except _Refused as refusal:
        raise ValueError(f"{where}: {refusal}") from None
    except (*DAMAGE, KeyError, TypeError, AttributeError, MemoryError, RecursionError) as error:
        raise ValueError(f"{where}: not a complete Keras file ({str(error)[:200]})") from error
    return found


class _Refused(Exception):
    """What is wrong; not a ValueError, since h5py raises those."""


def _unpacked(data: bytes) -> tuple[bytes, Any]:
    """Return the weights and the parsed config.json of a .keras archive, no larger than claimed."""
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        parts, left = [], room(len(data))
        for name in (WEIGHTS, CONFIG):
            info = archive.getinfo(name)
            left -= info.file_size
            if left < 0 or info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
                raise _Refused(f"{name} unpacks to {info.file_size:,} bytes, which is too many")
            with archive.open(info) as file:  # without a number, it would unpack without end
                parts.append(file.read(info.file_size))
    return parts[0], json.loads(parts[1])


def _modules(h5py: Any, file: Any) -> dict[str, dict[int, Any]]:
    """Return {"conv2d_1": {0: its first array, ...}} of an open file, without reading any."""
    modules: dict[str, dict[int, Any]] = {}
    waiting, count = [("", file, 0)], 0
    while waiting:
        path, group, depth = waiting.pop()
        for name in group:
            inner, count = f"{path}/{name}" if path else name, count + 1
            if count > MOST_ENTRIES or depth > DEEPEST:
                raise _Refused("it holds too many names, or groups in groups in groups")
            if UNREAD.fullmatch(inner):
                continue
            if not isinstance(group.get(name, getlink=True), h5py.HardLink):
                raise _Refused(f"{inner[:80]!r} is a link, expected an array; save the model again")
            entry = group[name]
            if isinstance(entry, h5py.Group):
                waiting.append((inner, entry, depth + 1))
            elif match := VARIABLE.fullmatch(inner):
                modules.setdefault(match[1].replace("/layers/", "/"), {})[int(match[2])] = entry
    if not modules:
        raise _Refused(
            "it holds no weights as Keras 3 saves them; in Keras, write "
            "model.save_weights('model.weights.h5')"
        )
    return modules


def _kind(owner: str, keys: Sequence[str], own: Mapping[str, Array]) -> str:
    """Return Keras's word for the class of a layer with these arrays; "" where it has none."""
    if set(keys) == set(NORM):
        return "batch_normalization"
    if "weight" not in keys or not set(keys) <= {"weight", "bias"}:
        return ""
    return {2: "dense", 4: "conv2d"}.get(own[f"{owner}.weight"].ndim, "")


def _matched(
    kinds: Mapping[str, str], modules: Mapping[str, Any], names: Mapping[str, str] | None
) -> dict[str, str]:
    """Return {layer here: module there}: those of `names`, the others in order."""
    matched = dict(names or {})
    for what, given, known in (
        ("the network", matched, kinds), ("the file", matched.values(), modules),
    ):  # fmt: skip
        odd = next((name for name in given if name not in known), None)
        if odd is not None:
            raise _Refused(f"names gives {odd!r}, but {what} has only {_listed(sorted(known))}")
    ours: dict[str, list[str]] = {}
    theirs: dict[str, list[str]] = {}
    for owner, kind in kinds.items():
        if owner not in matched:
            ours.setdefault(kind, []).append(owner)
    for module in sorted(modules, key=_place):
        if module not in matched.values():
            theirs.setdefault(re.sub(r"_\d+$", "", module), []).append(module)
    for kind in dict.fromkeys([*ours, *theirs]):
        here, there = ours.get(kind, []), theirs.get(kind, [])
        if len(here) != len(there) or not kind:
            raise _Refused(
                f"its layers are not those of the network: {_listed(there)} there, "
                f"{_listed(here)} here; use the same layers, or names={{'conv1': 'conv2d_3', ...}}"
            )
        matched |= dict(zip(here, there, strict=True))
    return matched


def _place(module: str) -> tuple[str, int]:
    """Return where a module stands: conv2d, conv2d_1, ..., conv2d_10."""
    stem, _, number = module.rpartition("_")
    return (stem, int(number)) if number.isdecimal() else (module, 0)


def _listed(names: Any) -> str:
    some = [repr(str(name)[:40]) for name in names]
    return ", ".join(some[:8]) + (f" and {len(some) - 8} more" if len(some) > 8 else "") or "none"


def _read(h5py: Any, data: Any, name: str, most: int) -> Array:
    """Return an array that lies in the file as it is, in `most` bytes or fewer."""
    kind, settings = data.id.get_type(), data.id.get_create_plist()
    if kind.get_class() != h5py.h5t.FLOAT or kind.get_size() not in (2, 4, 8):
        raise _Refused(f"{name} is not of float16, float32 or float64; save it so")
    plain = settings.get_layout() in (h5py.h5d.CONTIGUOUS, h5py.h5d.COMPACT)
    if not plain or settings.get_external_count():
        raise _Refused(f"{name} is in pieces, packed, or in another file; save the model again")
    size = math.prod(data.shape) * kind.get_size()
    if size > min(most, data.id.get_storage_size()):
        raise _Refused(f"{name} is said to have the shape {data.shape}, more than the file holds")
    return np.asarray(data[()])


def _ours(array: Array, volume: tuple[int, ...] | None) -> Array:
    """Return an array in the layout used here, outputs first and channels before pixels.

    `volume`: (channels, height, width) that became the rows of this array.
    """
    if array.ndim == 4:  # height, width, in, out
        return array.transpose(3, 2, 0, 1)
    if volume is not None and array.ndim in (1, 2) and len(array) == math.prod(volume):
        channels, height, width = volume
        rows = array.reshape(height, width, channels, -1).transpose(2, 0, 1, 3)
        array = rows.reshape(array.shape)
    return array.T


def _volumes(layers: Sequence[Layer]) -> dict[str, tuple[int, ...]]:
    """Return the shape before the flattening, for each layer whose rows are such pixels."""
    volume: tuple[int, ...] | None = None
    found: dict[str, tuple[int, ...]] = {}
    for layer in layers:
        if layer.stem in ("flatten", "dense") and len(layer.input_shape) == 3:
            volume = layer.input_shape
        if volume is not None:
            found[layer.name] = volume
        if layer.stem == "dense":
            volume = None
    return found


def _check_epsilon(config: Any, layers: Sequence[Layer], matched: Mapping[str, str]) -> None:
    """Refuse a batch normalization with another epsilon than in config.json, if there is one."""
    kind, listed = "BatchNormalization", (config or {}).get("config", {}).get("layers", [])
    theirs = [entry["config"]["epsilon"] for entry in listed if entry["class_name"] == kind]
    inner = [(f"{layer.name}.{leaf.name}", leaf) for layer in layers for leaf in layer.leaves()]
    for name, layer in [*((layer.name, layer) for layer in layers), *inner]:
        stem, number = _place(matched.get(name, ""))
        if stem == "batch_normalization" and number < len(theirs):
            there, here = theirs[number], getattr(layer, "epsilon", None)
            if here is not None and not math.isclose(there, here, rel_tol=1e-6):
                raise _Refused(
                    f"it was trained with epsilon={there}, {layer.label} has {here}; write "
                    f"BatchNorm(epsilon={there})"
                )
