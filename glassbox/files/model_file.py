"""A network as a file holds it: its arrays under PyTorch's names, its settings as a JSON record."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Mapping, MutableMapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from glassbox.data.scaling import Scaling
from glassbox.engine.budget import AllocationBudget
from glassbox.engine.layer import Activation, Array, Layer
from glassbox.engine.losses import Loss
from glassbox.engine.more_layers import Softmax
from glassbox.engine.names import LOSSES
from glassbox.engine.optimizers import Optimizer
from glassbox.files import arrays_file, blueprint, records
from glassbox.files.arrays_file import Contents
from glassbox.files.blueprint import Kinds


class Place(NamedTuple):
    """Where an array of a layer lives: its name in a file, the layer's mapping, the key there."""

    name: str
    arrays: MutableMapping[str, Array]
    key: str


def places(layers: Iterable[Layer]) -> Iterator[Place]:
    """Every trained or running array of built layers, in the order of PyTorch's `state_dict`.

    Such as "conv1.weight", "norm1.running_var"; of a layer in a block "block.layer.weight".
    """
    for layer in layers:
        own = [(arrays, key) for arrays in (layer.parameters, layer.buffers) for key in arrays]
        owners = list(dict.fromkeys(key.rpartition(".")[0] for _, key in own))
        own.sort(key=lambda place: owners.index(place[1].rpartition(".")[0]))
        for arrays, key in own:
            yield Place(f"{layer.name}.{key}", arrays, key)


def arrays_of(layers: Iterable[Layer]) -> dict[str, Array]:
    """The arrays of built layers by their names in a file; ValueError where two share a name."""
    arrays: dict[str, Array] = {}
    for name, own, key in places(layers):
        if name in arrays:
            raise ValueError(
                f"two arrays would be called {name!r} in a file; call one of the layers otherwise"
            )
        arrays[name] = own[key]
    return arrays


def fill(layers: Iterable[Layer], arrays: Mapping[str, Array], where: str) -> None:
    """Copy arrays from a file into built layers: all of them, or none and a ValueError."""
    targets = arrays_of(layers)
    missing = [name for name in targets if name not in arrays]
    odd = [name for name in arrays if name not in targets]
    if missing or odd:
        raise ValueError(
            f"{where}: its arrays are not those of the network; "
            + "; ".join(
                f"{len(names)} {what}, such as {names[0]!r}"
                for names, what in ((missing, "missing"), (odd, "without a place"))
                if names
            )
        )
    found = {name: _fitting(arrays[name], target, name, where) for name, target in targets.items()}
    for name, target in targets.items():
        target[...] = found[name]


def _fitting(array: Array, target: Array, name: str, where: str) -> Array:
    """The array in the target's type; ValueError unless it has its shape and finite numbers."""
    if array.shape != target.shape:
        raise ValueError(
            f"{where}: {name} has the shape {array.shape}, the network has {target.shape}"
        )
    with np.errstate(over="ignore"):
        cast = array.astype(target.dtype, copy=False)
    if not np.isfinite(cast).all():
        raise ValueError(f"{where}: {name} holds NaN, infinity or numbers beyond {cast.dtype}")
    return cast


def in_order(layers: Iterable[Layer], arrays: Mapping[str, Array], where: str) -> dict[str, Array]:
    """The arrays of a PyTorch `Sequential`, whose names are numbers, under the network's names.

    The n-th module of the file is the n-th layer that has arrays.  Raises ValueError where a name
    is no number (then nobody knows the order) or where there are more or fewer modules.
    """
    modules: dict[tuple[int, ...], dict[str, Array]] = {}
    for name, array in arrays.items():
        module, _, last = name.rpartition(".")
        if not re.fullmatch(r"\d+(\.\d+)*", module):
            raise ValueError(
                f"{where}: {name!r} is no name of this network's, and no number that tells its "
                "place; pass names={'conv1': 'their name for it', ...}"
            )
        modules.setdefault(tuple(map(int, module.split("."))), {})[last] = array
    owners = list(dict.fromkeys(place.name.rpartition(".")[0] for place in places(layers)))
    if len(owners) != len(modules):
        raise ValueError(
            f"{where}: {len(modules)} modules with arrays, but the network has {len(owners)}: "
            f"{', '.join(owners)}"
        )
    return {
        f"{owner}.{last}": array
        for owner, number in zip(owners, sorted(modules), strict=True)
        for last, array in modules[number].items()
    }


def renamed(arrays: Mapping[str, Array], names: Mapping[str, str], where: str) -> dict[str, Array]:
    """The arrays under the network's names, told by {layer here: module there}."""
    theirs = {theirs: ours for ours, theirs in names.items()}
    if len(theirs) < len(names):
        raise ValueError(f"names gives one module to several layers: {dict(names)}")
    found: dict[str, Array] = {}
    used = set()
    for name, array in arrays.items():
        module, _, last = name.rpartition(".")
        used.add(module)
        ours = f"{theirs.get(module, module)}.{last}"
        if ours in found:
            raise ValueError(f"{where}: by names, two of its arrays are {ours!r}")
        found[ours] = array
    if set(theirs) - used:
        lost = sorted(set(theirs) - used)[0]
        raise ValueError(f"{where}: names gives {lost!r}, but the file has no such module")
    return found


# --- the whole network ---------------------------------------------------------------------------

FORM: dict[str, Any] = {
    "input_shape": [int],
    "layers": [dict],
    "loss": dict,
    "optimizer": dict,
    "l2": float,
    "seed": int,
    "dtype": str,
    "classes": [str],
    "scaling": {dict, None},
    "steps_done": int,
}
SCALING_FORM = {"name": str, "low": float, "high": float, "mean": [float], "std": [float]}
MOST_STEPS = 2**62  # steps are counted in 64 bits


def kinds_of(*modules: Any) -> list[type]:
    """The classes that files may name: what the modules list in `__all__`, and the losses."""
    named = [getattr(module, name) for module in modules for name in module.__all__]
    return [*(kind for kind in named if kind is not Activation), *LOSSES.values()]


def contents_of(network: Any) -> Contents:
    """The arrays and the record of a network."""
    record = {
        "input_shape": list(network.input_shape),
        "layers": _layers_as_written(network),
        "loss": blueprint.describe(network.loss),
        "optimizer": blueprint.describe(network.optimizer),
        "l2": network.l2,
        "seed": network.seed,
        "dtype": network.dtype.name,
        "classes": list(network.classes),
        "scaling": network.scaling.to_json() if network.scaling else None,
        "steps_done": network.steps_done,
    }
    arrays = arrays_of(network.layers) if network.parameters else {}
    return Contents(arrays, {"network": record})


def _layers_as_written(network: Any) -> list[dict[str, Any]]:
    """The layers' records; a softmax that the loss has taken over stands where the user put it."""
    written = [blueprint.describe(layer) for layer in network.layers]
    if network.assembly is not None and network.assembly.softmax_in_loss:
        last, softmax = written[-1], blueprint.describe(Softmax(name=network.layers[-1].name))
        if last["kind"] == "Identity":
            written[-1] = softmax
        else:
            last["activation"] = {**softmax, "name": ""}
    return written


def load(path: str | os.PathLike[str], kinds: Iterable[type], make: Any) -> Any:
    """Return the network of a file; see `network_of`."""
    saved = arrays_file.read(path)
    if "network" not in saved.records:
        raise ValueError(
            f"{path}: holds arrays but no network; make one of the same layers, build it, and "
            "call load_weights"
        )
    return network_of(saved, str(path), {kind.__name__: kind for kind in kinds}, make)


def load_weights(
    layers: Sequence[Layer], path: str | os.PathLike[str], names: Mapping[str, str] | None
) -> None:
    """Fill built layers from a file, under the network's names, `names`, or in order."""
    where = str(path)
    arrays = own_arrays(arrays_file.read(path))
    if names:
        arrays = renamed(arrays, names, where)
    elif arrays.keys().isdisjoint(arrays_of(layers)):
        arrays = in_order(layers, arrays, where)
    fill(layers, arrays, where)


def network_of(saved: Contents, where: str, kinds: Kinds, make: Any) -> Any:
    """The network of a file's contents.

    make : the class to call, with layers and settings, such as `CNN`.

    Raises ValueError, naming `where`, for a record that is not one of a network.
    """
    record = checked(saved.records["network"], where)
    loss = blueprint.make(record["loss"], kinds, Loss, f"{where}: loss")
    optimizer = blueprint.make(record["optimizer"], kinds, Optimizer, f"{where}: optimizer")
    try:
        layers = blueprint.make_layers(record["layers"], kinds, where)
    except RecursionError as error:
        raise ValueError(f"{where}: blocks within blocks, too many to follow") from error
    try:
        network = make(
            *layers, loss=loss, optimizer=optimizer,
            **{key: record[key] for key in ("l2", "seed", "dtype")},
        )  # fmt: skip
        network.classes = tuple(record["classes"])
        network.scaling = Scaling.from_json(record["scaling"]) if record["scaling"] else None
        network.steps_done = record["steps_done"]
        if record["input_shape"]:
            budget = AllocationBudget(sum(array.size for array in saved.arrays.values()))
            network.build(tuple(record["input_shape"]), budget)
            _check_classes(network)
    except (ValueError, TypeError, KeyError, OverflowError) as error:
        raise ValueError(f"{where}: {error}") from error
    if record["input_shape"]:
        fill(network.layers, own_arrays(saved), where)
    return network


def _check_classes(network: Any) -> None:
    if network.classes and network.output_shape != (len(network.classes),):
        raise ValueError(
            f"{len(network.classes)} names of classes, but the last layer gives "
            f"{' x '.join(map(str, network.output_shape))} outputs"
        )


def own_arrays(saved: Contents) -> dict[str, Array]:
    """The network's arrays, without what a checkpoint adds (their names have a slash)."""
    return {name: array for name, array in saved.arrays.items() if "/" not in name}


def checked(record: Any, where: str) -> dict[str, Any]:
    """The record itself, or ValueError where it is not one of a network."""
    records.check(record, FORM, where)
    if record["scaling"] is not None:
        records.check(record["scaling"], SCALING_FORM, f"{where}: scaling")
    shape = record["input_shape"]
    if len(shape) not in (0, 1, 3) or 0 in shape:
        raise ValueError(f"{where}: input_shape {shape} is no (channels, height, width)")
    if record["steps_done"] > MOST_STEPS:
        raise ValueError(f"{where}: steps_done is {record['steps_done']}, more than can be counted")
    return dict(record)
