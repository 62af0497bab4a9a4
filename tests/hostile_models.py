"""Model files that are whole, with a right hash, and ask for what no honest file asks.

Opened by hostile.py, which limits and measures memory.
"""

from __future__ import annotations

import copy
import json
from typing import Any

import numpy as np
from hostile import SIZES

from CNN import CNN
from Filters import AvgPool2D, Conv2D, GlobalAvgPool2D, MaxPool2D, Residual
from glassbox.engine.budget import AllocationBudget
from glassbox.files import arrays_file, model_file
from glassbox.files.config import to_config
from MLP import Adam, BatchNorm, Dense, Dropout, Flatten, OneCycle, Softmax

NAME = "m"  # what errors begin with
ODD: tuple[Any, ...] = (-1, -(2**40), 0.5, 1e308, float("nan"), True, None, "", "same", [], [3, 3],
                        [2**20, 1], {}, {"kind": "Dense"}, [[1]], "x" * 5000)  # fmt: skip


def layers() -> list[Any]:
    """One layer of each kind."""
    return [
        Conv2D(2), Conv2D(3, 1, stride=2, activation="relu"), MaxPool2D(2), AvgPool2D(2),
        AvgPool2D(1), GlobalAvgPool2D(), BatchNorm(), Dropout(0.1), Flatten(), Dense(3), Dense(8),
        Softmax(), Residual(Conv2D(2, activation=None)),
    ]  # fmt: skip


def spoil(config: Any, random: np.random.Generator) -> None:
    """Replace one setting, perhaps of a part of a part."""
    keys = list(config) if isinstance(config, dict) else list(range(len(config)))
    if not keys:
        return
    key = keys[random.integers(len(keys))]
    if isinstance(config[key], dict | list) and config[key] and random.random() < 0.7:
        spoil(config[key], random)
    elif random.random() < 0.7:
        config[key] = int(SIZES[random.integers(len(SIZES))])
    else:
        config[key] = copy.deepcopy(ODD[random.integers(len(ODD))])


def case(seed: int) -> tuple[bytes, int]:
    """A file, and how many bytes of memory it may take."""
    random = np.random.default_rng([77, seed])
    data, numbers = nearly_honest(random) if seed % 3 == 0 else drawn(random, seed)
    return data, AllocationBudget(numbers, 8).left + 20 * len(data)


def drawn(random: np.random.Generator, seed: int) -> tuple[bytes, int]:
    """Layers and sizes drawn at random; a file, and how many numbers are in it."""
    known = layers()
    count = int(random.choice([1, 2, 3, 5, 12, 60]))
    chosen = [known[k] for k in random.integers(len(known), size=count)]
    configs = json.loads(json.dumps([to_config(layer) for layer in chosen]))
    for number, config in enumerate(configs):
        config["name"] = f"layer{number}"
    record: dict[str, Any] = model_file.state_of(CNN(Dense(3))).records["network"]
    shape = [int(random.choice(SIZES[1:12])) for _ in range(random.choice([1, 3], p=[0.2, 0.8]))]
    record |= {
        "layers": configs, "input_shape": shape, "dtype": ["float32", "float64"][seed % 2],
        "optimizer": to_config(Adam(OneCycle(0.01))), "l2": float(random.random() < 0.5) / 10,
    }  # fmt: skip
    record = json.loads(json.dumps(record))
    for _ in range(random.integers(4)):
        part = record if random.random() < 0.4 else record.get("layers")
        spoil(part if isinstance(part, dict | list) else record, random)
    arrays = {}
    for number in range(int(random.integers(3))):
        size = tuple(int(n) for n in random.integers(0, 40, size=random.integers(0, 5)))
        arrays[f"layer{number}.weight"] = np.zeros(size, random.choice([np.float16, np.float64]))
    state = arrays_file.ModelState(arrays, {"network": record})
    return arrays_file.encode(state), sum(array.size for array in arrays.values())


def nearly_honest(random: np.random.Generator) -> tuple[bytes, int]:
    """A network that loads, but for a setting or two."""
    network = CNN(
        Conv2D(2, bias=False), BatchNorm(), Residual(Conv2D(2, activation=None)), AvgPool2D(2),
        Dropout(0.1), Dense(3, "softmax"), loss="cross_entropy", kernels="numpy",
    ).build((1, 8, 8))  # fmt: skip
    state = model_file.state_of(network)
    record = json.loads(json.dumps(state.records["network"]))
    for _ in range(random.integers(3)):
        spoil(record, random)
    sizes = sum(array.size for array in state.arrays.values())
    return arrays_file.encode(arrays_file.ModelState(state.arrays, {"network": record})), sizes


def open_file(data: bytes) -> None:
    """Open it as `CNN.load` does."""
    with np.errstate(all="ignore"):
        model_file.network_of(arrays_file.decode(data, f"{NAME}.safetensors"), NAME, CNN.kinds, CNN)
