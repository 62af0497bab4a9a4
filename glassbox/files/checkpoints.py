"""Checkpoints: everything a training run needs to go on as if it had never been stopped.

A checkpoint is a model file (see `model_file.py`) with more in it: the optimizers' state,
the best weights so far, the running mean of the weights, the history and the position in the run.
Random generators have no state to keep: order, dropout and augmentation follow from the seed and
the step.
"""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Iterable, Mapping
from functools import partial
from typing import Any

import numpy as np

from glassbox.atomic import write_atomically
from glassbox.engine.history import History, MovingMetrics, Position
from glassbox.engine.layer import Array
from glassbox.engine.parameters import Parameters
from glassbox.engine.trainer import Trainer
from glassbox.files import arrays_file, records
from glassbox.files.arrays_file import ModelState
from glassbox.files.config import kinds_in
from glassbox.files.model_file import checked, fill, network_of, own_arrays, state_of
from glassbox.kernels import backend_name

SAME = ("input_shape", "loss", "l2", "seed", "dtype", "classes", "scaling")
# What may differ between a run and its continuation, if the user allows it.  All else (the layers,
# the seed, the images, the batch size) would make it another run.
CHANGEABLE = (
    "optimizer", "l2", "epochs", "patience", "ema_decay", "augment", "kernels", "execution",
)  # fmt: skip
# Of the record of the training.
SCHEMA: dict[str, Any] = {
    "position": {
        "epoch": int, "step": int, "seen": int, "loss": float, "right": int, "seconds": float,
    },
    "running": {"window": int, "steps": [(int, float, int)], "loss": float},
    "waited": int,
    "best_rank": [float],
    "average_steps": int,
    "history": {
        "ended": str,
        "best_epoch": {int, None},
        "epochs": [{"epoch": int, ...: {float, None}}],
        "running": [{"images": int, "loss": float, "accuracy": float}],
        "changes": [
            {"epoch": int, "step": int, "what": str, ...: {float, str, bool, dict, list, None}}
        ],
    },
    "fit": dict,
    "optimizer_steps": [(int, int, int)],
}  # fmt: skip


def optimizer_state(parameters: Parameters) -> tuple[dict[str, Array], list[list[int]]]:
    """Return the optimizers' arrays, and [start, stop, steps] of each group of weights.

    Each array is as long as all weights, with zeros where an optimizer has no such array.
    """
    arrays: dict[str, Array] = {}
    steps = []
    for group in parameters.groups:
        for slot in group.optimizer.state_names:
            whole = arrays.setdefault(f"optimizer/{slot}", np.zeros_like(parameters.values))
            whole[group.where] = group.state[slot]
        steps.append([group.where.start, group.where.stop, group.state["steps"]])
    return arrays, steps


def restore_optimizer(
    parameters: Parameters, arrays: Mapping[str, Array], steps: list[list[int]], where: str
) -> None:
    """Give the optimizers back what `optimizer_state` took: all of it, or nothing.

    Raises ValueError where an array that an optimizer needs is missing.
    """
    targets = []
    for group in parameters.groups:
        for slot in group.optimizer.state_names:
            found = arrays.get(f"optimizer/{slot}")
            if found is None or found.shape != parameters.values.shape:
                raise ValueError(
                    f"{where}: has no {slot} of {group.optimizer!r}; resume with the kind of "
                    "optimizer that the run was begun with"
                )
            targets.append((group.state[slot], found[group.where]))
    for target, found in targets:
        target[...] = found
    for group in parameters.groups:
        done = [n for start, stop, n in steps if start <= group.where.start < stop]
        group.state["steps"] = done[0] if done else 0


def fit_record(trainer: Trainer, network: Any) -> dict[str, Any]:
    """Return the arguments of `fit`, fingerprints of its images, and how steps run, as JSON."""
    settings, augment = trainer.settings, trainer.settings.augment
    names = ("epochs", "batch_size", "shuffle", "patience", "ema_decay")
    checks = trainer.validation
    plain = augment is None or dataclasses.is_dataclass(augment)
    return {
        "images": fingerprint(trainer.data),
        "validation images": None if checks is None else fingerprint(checks),
        **{name: getattr(settings, name) for name in names},
        "augment": repr(augment) if plain else getattr(augment, "__qualname__", "a function"),
        "kernels": backend_name(network.kernels),
        "execution": network.assembly.execution,
    }


def fingerprint(data: Any) -> str:
    """Return how many images a data set has, and a hash over them, labels, weights and targets."""
    digest = hashlib.blake2b(digest_size=16)
    extra = [getattr(data, name, None) for name in ("weights", "targets")]
    for array in (data.images, data.labels, *(each for each in extra if each is not None)):
        digest.update(np.ascontiguousarray(array).data)
    return f"{len(data)} images, {digest.hexdigest()}"


def decisions(network: Mapping[str, Any], fit: Mapping[str, Any]) -> dict[str, Any]:
    """Return what decides a run, by name: what the network is, what it learns from, and how.

    network : the network's record, as model files have it.
    fit : see `fit_record`.
    """
    parts = {layer["name"]: _without_optimizer(layer) for layer in network["layers"]}
    return {
        **{key: network[key] for key in SAME},
        "layers": {name: bare for name, (bare, _) in parts.items()},
        "optimizer": {"network": network["optimizer"]} | {n: own for n, (_, own) in parts.items()},
        **fit,
    }


def _without_optimizer(layer: dict[str, Any]) -> tuple[dict[str, Any], Any]:
    """Return a layer's record without what may change, and that."""
    inner = [_without_optimizer(one) for one in layer.get("layers", [])]
    bare = {key: value for key, value in layer.items() if key not in ("optimizer", "l2", "layers")}
    changeable = [layer.get("optimizer"), layer.get("l2"), *(own for _, own in inner)]
    return {**bare, "layers": [one for one, _ in inner]}, changeable


def differences(was: Any, now: Any, what: str = "") -> list[dict[str, Any]]:
    """Return what differs, as {"what", "was", "now"}, down to the single number or word.

    >>> differences({"epochs": 3, "a": [1, 2]}, {"epochs": 4, "a": [1, 5]})
    [{'what': 'epochs', 'was': 3, 'now': 4}, {'what': 'a.1', 'was': 2, 'now': 5}]
    """
    was, now = _rate(was), _rate(now)
    if isinstance(was, dict) and isinstance(now, dict) and was.keys() == now.keys():
        pairs = [(name, was[name], now[name]) for name in now]
    elif isinstance(was, list) and isinstance(now, list) and len(was) == len(now):
        pairs = [(str(k), was[k], now[k]) for k in range(len(now))]
    else:
        return [] if was == now else [{"what": what, "was": was, "now": now}]
    dot = "." if what else ""
    return [change for name, a, b in pairs for change in differences(a, b, f"{what}{dot}{name}")]


def _rate(value: Any) -> Any:
    """Return the rate of a constant schedule, which may be written as a number; else the value."""
    constant = isinstance(value, dict) and value.get("kind") == "Constant" and "rate" in value
    return value["rate"] if constant else value


def accept(changes: list[dict[str, Any]], allowed: bool, where: str) -> None:
    """Raise ValueError unless a run may go on with these changes."""
    told = ["{what} was {was!r} and is {now!r}".format(**change) for change in changes]
    for change, words in zip(changes, told, strict=True):
        if change["what"].split(".")[0] not in CHANGEABLE:
            raise ValueError(
                f"{where}: belongs to another run, where {words}; start anew, or make them the same"
            )
    if changes and not allowed:
        raise ValueError(
            f"{where}: the run was begun with other settings: {'; '.join(told)}. To go on with the "
            "new ones, and have them recorded in the history, pass allow_changes=True (on the "
            "command line: give the options that change beside --resume)"
        )


def checkpoint_of(trainer: Trainer, network: ModelState, fit: Mapping[str, Any]) -> ModelState:
    """Return a checkpoint of a run: the network's state, and what else its continuation needs."""
    arrays, steps = optimizer_state(trainer.parameters)
    arrays |= {f"best/{k:04}": array for k, array in enumerate(trainer.best)}
    if trainer.average.decay:
        arrays["average/mean"] = trainer.average.mean
    training = {
        "position": dataclasses.asdict(trainer.at),
        "running": trainer.running.to_json(),
        "waited": trainer.waited,
        "best_rank": list(trainer.best_rank or ()),
        "average_steps": trainer.average.steps,
        "history": trainer.history.to_json(),
        "fit": dict(fit),
        "optimizer_steps": steps,
    }
    return ModelState({**network.arrays, **arrays}, {**network.records, "training": training})


def restore_position(
    trainer: Trainer, arrays: Mapping[str, Array], record: Mapping[str, Any], where: str
) -> None:
    """Put a trainer where another was when `checkpoint_of` was called.

    Raises ValueError, naming `where`, for a position that no run comes to.
    """
    at = Position(**record["position"])
    best = [array for name, array in sorted(arrays.items()) if name.startswith("best/")]
    mean = arrays.get("average/mean", trainer.parameters.values)
    now = trainer.parameters.snapshot()
    if (
        at.step >= trainer.per_epoch
        or at.seen != at.step * trainer.settings.batch_size
        or len(record["best_rank"]) != (2 if best else 0)
        or (best and [array.shape for array in best] != [array.shape for array in now])
        or mean.shape != trainer.parameters.values.shape
    ):
        raise ValueError(f"{where}: incomplete checkpoint: {at} does not fit the run")
    trainer.at, trainer.best, trainer.sound = at, best, now
    trainer.running = MovingMetrics.from_json(record["running"])
    trainer.waited = record["waited"]
    trainer.best_rank = tuple(record["best_rank"]) or None
    trainer.history = History.from_json(record["history"])
    if trainer.average.decay:
        trainer.average.mean[...], trainer.average.steps = mean, record["average_steps"]


def attach(trainer: Trainer, network: Any, checkpoint: Any, resume: Any, allowed: bool) -> None:
    """Have the trainer of a network continue from the file `resume`, and write to `checkpoint`.

    Either may be None; without `checkpoint` it writes to `resume`.
    """
    target = resume if checkpoint is None else checkpoint
    fit = fit_record(trainer, network)
    if resume is not None:
        saved = arrays_file.read(resume)
        now = decisions(state_of(network).records["network"], fit)
        restore(trainer, saved, now, allowed, str(resume))
        network.steps_done = saved.records["network"]["steps_done"]

    def keep(trainer: Trainer) -> None:
        execution = network.assembly.execution  # what turns out to need it runs as written since
        state = checkpoint_of(trainer, state_of(network), {**fit, "execution": execution})
        write_atomically(target, arrays_file.encode(state))

    trainer.on_checkpoint = keep


def restore(
    trainer: Trainer, saved: ModelState, now: Mapping[str, Any], allowed: bool, where: str
) -> None:
    """Put a trainer and its network where a checkpoint was written.

    now : the `decisions` of today.

    Raises ValueError unless it is a checkpoint of the same run, and for one that differs in what
    may change unless that is `allowed`; the changes are then recorded in the history.
    """
    if "training" not in saved.records:
        raise ValueError(
            f"{where}: not a checkpoint; resume takes a file that fit(checkpoint=...) wrote"
        )
    training = saved.records["training"]
    network = checked(saved.records.get("network"), where)
    records.check(training, SCHEMA, f"{where}: incomplete checkpoint")
    then = {"execution": now["execution"], **training["fit"]}  # version 0.1 did not record it
    try:
        changes = differences(decisions(network, then), now)
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"{where}: its list of layers cannot be read ({error!r})") from error
    accept(changes, allowed, where)
    # First what is likely to fail: another kind of optimizer must leave the weights as they are.
    restore_optimizer(trainer.parameters, saved.arrays, training["optimizer_steps"], where)
    fill(trainer.parameters.layers, own_arrays(saved), where)
    restore_position(trainer, saved.arrays, training, where)
    place = {"epoch": trainer.at.epoch + 1, "step": trainer.at.step}
    trainer.history.changes += [{**place, **change} for change in changes]


def packed(network: Any, kinds: Iterable[type]) -> tuple[Any, ...]:
    """Return what `unpacked` makes a copy of: the network as a file would hold it, and more.

    kinds : the classes that every file may name; its own are added.
    """
    state = state_of(network)
    if network.parameters is not None:
        arrays, state.records["optimizer_steps"] = optimizer_state(network.parameters)
        state.arrays |= arrays
    own = kinds_in([*network.layers, network.loss, network.optimizer])
    kind: Any = type(network)
    settings = {"threads": network.workers.threads, "eager": network.eager}
    make = partial(kind, kernels=backend_name(network.kernels), **settings)
    return arrays_file.encode(state), make, [*kinds, *own], network.history


def unpacked(data: bytes, make: Any, kinds: Iterable[type], history: Any) -> Any:
    """Return the network that `packed` took apart."""
    where = "a copied network"
    saved = arrays_file.decode(data, where)
    network = network_of(saved, where, kinds, make)
    if network.parameters is not None:
        steps = saved.records["optimizer_steps"]
        restore_optimizer(network.parameters, saved.arrays, steps, where)
    network.history = history
    return network
