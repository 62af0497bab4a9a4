"""A network as a file holds it: its arrays under PyTorch's names, its settings as a JSON record."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Mapping, MutableMapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from glassbox.data.dataset import Scaling
from glassbox.engine.blocks import check_count
from glassbox.engine.budget import AllocationBudget
from glassbox.engine.layer import Activation, Array, Layer
from glassbox.engine.losses import Loss
from glassbox.engine.more_layers import Softmax
from glassbox.engine.more_optimizers import Frozen
from glassbox.engine.names import ACTIVATIONS, LOSSES, OPTIMIZERS
from glassbox.engine.optimizers import Optimizer
from glassbox.files import arrays_file, records
from glassbox.files.arrays_file import ModelState
from glassbox.files.config import Config, from_config, to_config
from glassbox.files.keras_file import arrays_of_keras, is_keras
from glassbox.regular_file import read_file

WRAPPERS = ("module.", "_orig_mod.")  # what PyTorch puts in front of names, parallel or compiled


class ArrayRef(NamedTuple):
    """Where an array of a layer lives: its name in a file, the layer's mapping, the key there."""

    name: str
    arrays: MutableMapping[str, Array]
    key: str


def array_refs(layers: Iterable[Layer]) -> Iterator[ArrayRef]:
    """Yield every trained or running array of built layers, in the order of PyTorch's `state_dict`.

    Such as "conv1.weight", "norm1.running_var"; of a layer in a block "block.layer.weight".
    """
    for layer in layers:
        own = [(arrays, key) for arrays in (layer.parameters, layer.buffers) for key in arrays]
        owners = list(dict.fromkeys(key.rpartition(".")[0] for _, key in own))
        own.sort(key=lambda ref: owners.index(ref[1].rpartition(".")[0]))
        yield from (ArrayRef(f"{layer.name}.{key}", arrays, key) for arrays, key in own)


def arrays_of(layers: Iterable[Layer]) -> dict[str, Array]:
    """Return the arrays of built layers by their names in a file; ValueError for a name twice."""
    arrays: dict[str, Array] = {}
    for name, own, key in array_refs(layers):
        if name in arrays:
            raise ValueError(f"two arrays would be called {name!r} in a file; rename a layer")
        arrays[name] = own[key]
    return arrays


def fill(layers: Iterable[Layer], arrays: Mapping[str, Array], where: str) -> None:
    """Copy arrays from a file into built layers: all of them, or none and a ValueError."""
    targets = arrays_of(layers)
    missing = [name for name in targets if name not in arrays]
    odd = [name for name in arrays if name not in targets]
    lists = ((missing, "missing"), (odd, "not in the network"))
    problems = [f"{len(names)} {what}, such as {names[0]!r}" for names, what in lists if names]
    if problems:
        raise ValueError(f"{where}: its arrays are not those of the network; {'; '.join(problems)}")
    found = {}
    for name, target in targets.items():
        if arrays[name].shape != target.shape:
            raise ValueError(
                f"{where}: {name} has the shape {arrays[name].shape}, the network has "
                f"{target.shape}"
            )
        with np.errstate(over="ignore"):
            found[name] = arrays[name].astype(target.dtype, copy=False)
        if not np.isfinite(found[name]).all():
            raise ValueError(
                f"{where}: {name} holds NaN, infinity or numbers beyond {target.dtype}"
            )
    for name, target in targets.items():
        target[...] = found[name]


def names_in_order(layers: Iterable[Layer], arrays: Iterable[str], where: str) -> dict[str, str]:
    """Return {layer here: module there} for a PyTorch `Sequential`, whose modules are numbers.

    The n-th module of the file is the n-th layer that has arrays.  Raises ValueError where a name
    is not a number (the order is then unknown) or where there are more or fewer modules.
    """
    places = {}
    for name in arrays:
        module = name.rpartition(".")[0]
        if not re.fullmatch(r"\d+(\.\d+)*", module):
            raise ValueError(
                f"{where}: {name!r} matches no layer name and is not a Sequential index; pass "
                "names={'conv1': 'its name in the file', ...}"
            )
        places[module] = tuple(map(int, module.split(".")))
    owners = list(dict.fromkeys(ref.name.rpartition(".")[0] for ref in array_refs(layers)))
    if len(owners) != len(places):
        raise ValueError(
            f"{where}: {len(places)} modules with arrays, but the network has {len(owners)}: "
            f"{', '.join(owners)}"
        )
    return dict(zip(owners, sorted(places, key=places.__getitem__), strict=True))


def renamed(arrays: Mapping[str, Array], names: Mapping[str, str], where: str) -> dict[str, Array]:
    """Return the arrays by the names here, given {layer here: module there}."""
    layer_of = {theirs: ours for ours, theirs in names.items()}
    if len(layer_of) < len(names):
        raise ValueError(f"names gives one module to several layers: {dict(names)}")
    found: dict[str, Array] = {}
    lost = set(layer_of)
    for name, array in arrays.items():
        module, _, last = name.rpartition(".")
        lost.discard(module)
        ours = f"{layer_of.get(module, module)}.{last}"
        if ours in found:
            raise ValueError(f"{where}: by names, two of its arrays are {ours!r}")
        found[ours] = array
    if lost:
        raise ValueError(f"{where}: names gives {min(lost)!r}, but the file has no such module")
    return found


# --- the whole network ---------------------------------------------------------------------------

SCHEMA: dict[str, Any] = {
    "input_shape": [int], "layers": [dict], "loss": dict, "optimizer": dict, "l2": float,
    "seed": int, "dtype": str, "classes": [str], "scaling": {dict, None}, "steps_done": int,
}  # fmt: skip
SCALING = {"name": str, "low": float, "high": float, "mean": [float], "std": [float]}
MOST_STEPS = 2**62  # steps are counted in 64 bits


def kinds_of(*modules: Any) -> list[type]:
    """Return the classes that files may name: those of the modules, and all that have a name."""
    listed = [getattr(module, name) for module in modules for name in module.__all__]
    named = [*LOSSES.values(), *OPTIMIZERS.values(), Frozen, *ACTIVATIONS.values()]
    return list(dict.fromkeys([*(kind for kind in listed if kind is not Activation), *named]))


def state_of(network: Any) -> ModelState:
    """Return the arrays and the record of a network."""
    layers = [to_config(layer) for layer in network.layers]
    if network.assembly is not None and network.assembly.softmax_in_loss:
        # in the record it is where the user put it
        softmax = to_config(Softmax(name=network.layers[-1].name))
        if layers[-1]["kind"] == "Identity":
            layers[-1] = softmax
        else:
            layers[-1]["activation"] = {**softmax, "name": ""}
    record = {
        "input_shape": list(network.input_shape),
        "layers": layers,
        "loss": to_config(network.loss),
        "optimizer": to_config(network.optimizer),
        "l2": network.l2,
        "seed": network.seed,
        "dtype": network.dtype.name,
        "classes": list(network.classes),
        "scaling": network.scaling.to_json() if network.scaling else None,
        "steps_done": network.steps_done,
    }
    arrays = arrays_of(network.layers) if network.parameters else {}
    return ModelState(arrays, {"network": record})


def load_weights(
    layers: Sequence[Layer], path: str | os.PathLike[str], names: Mapping[str, str] | None
) -> None:
    """Fill built layers from a file, under the network's names, `names`, or in order."""
    where, data = str(path), read_file(path)
    if is_keras(data):
        fill(layers, arrays_of_keras(data, layers, arrays_of(layers), names, where), where)
        return
    arrays = own_arrays(arrays_file.decode(data, where))
    for wrapper in WRAPPERS * 2:
        wrapped = all(name.startswith(wrapper) for name in arrays)
        if arrays and wrapped and arrays.keys().isdisjoint(arrays_of(layers)):
            arrays = {name.removeprefix(wrapper): array for name, array in arrays.items()}
            names = names and {ours: name.removeprefix(wrapper) for ours, name in names.items()}
    if not names and arrays.keys().isdisjoint(arrays_of(layers)):
        names = names_in_order(layers, arrays, where)
    fill(layers, renamed(arrays, names, where) if names else arrays, where)


def network_of(saved: ModelState, where: str, kinds: Iterable[type], make: Any) -> Any:
    """Return the network that a file holds.

    kinds : the classes that it may name.
    make : the class to call, with layers and settings, such as `CNN`.

    Raises ValueError, naming `where`, for a record that is not one of a network.
    """
    if "network" not in saved.records:
        raise ValueError(
            f"{where}: holds arrays but no network; make one of the same layers, build it, and "
            "call load_weights"
        )
    record = checked(saved.records["network"], where)
    registry = {kind.__name__: kind for kind in kinds}
    shape = record["input_shape"]
    try:
        check_count(len(record["layers"]))
        loss = from_config(record["loss"], registry, Loss, "loss")
        optimizer = from_config(record["optimizer"], registry, Optimizer, "optimizer")
        layers = [
            from_config(config, registry, Layer, f"layer {number}")
            for number, config in enumerate(record["layers"], 1)
        ]
        settings = {key: record[key] for key in ("l2", "seed", "dtype")}
        network = make(*layers, loss=loss, optimizer=optimizer, **settings)
        network.steps_done = record["steps_done"]
        if shape:
            numbers = sum(array.size for array in saved.arrays.values())
            budget = AllocationBudget(numbers, network.dtype.itemsize)
            network.build(tuple(shape), budget)
        label(network, record["classes"], record["scaling"])
    except RecursionError as error:
        raise ValueError(f"{where}: blocks or schedules are nested too deep") from error
    except (ValueError, TypeError, KeyError, OverflowError) as error:
        text = str(error)  # which may quote what stands in the file
        raise ValueError(f"{where}: {text[:500]}{'...' * (len(text) > 500)}") from error
    if shape:
        fill(network.layers, own_arrays(saved), where)
    return network


def label(network: Any, classes: Any, scaling: Any) -> None:
    """Set the class names and the scaling from a file; ValueError where they are not of `network`.

    Either may be None.
    """
    if classes is not None:
        records.check(classes, [str], "classes")
        if classes and network.input_shape and network.output_shape != (len(classes),):
            raise ValueError(
                f"{len(classes)} names of classes, but the last layer gives "
                f"{' x '.join(map(str, network.output_shape))} outputs"
            )
        network.classes = tuple(classes)
    if scaling is not None:
        records.check(scaling, SCALING, "scaling")
        network.scaling = Scaling.from_json(scaling)


def own_arrays(saved: ModelState) -> dict[str, Array]:
    """Return the network's arrays, without what a checkpoint adds (their names have a slash)."""
    return {name: array for name, array in saved.arrays.items() if "/" not in name}


def checked(record: Any, where: str) -> Config:
    """Return the record itself; raise ValueError where it is not one of a network."""
    records.check(record, SCHEMA, where)
    shape = record["input_shape"]
    if len(shape) not in (0, 1, 3) or 0 in shape:
        raise ValueError(f"{where}: input_shape: expected (channels, height, width), got {shape}")
    if record["steps_done"] > MOST_STEPS:
        raise ValueError(f"{where}: steps_done is {record['steps_done']}, more than can be counted")
    return dict(record)
