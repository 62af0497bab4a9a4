"""Checkpoints: everything a training run needs to go on as if it had never been stopped.

A checkpoint is a model file (see `model_file.py`) with more in it: the optimizers' state,
the best weights so far, the running mean of the weights, the history and where the run stands.
Random numbers need no room: order, dropout and augmentation follow from the seed and the step.
"""

from __future__ import annotations

import dataclasses
import hashlib
import os
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from glassbox.atomic import write_atomically
from glassbox.engine.history import History, MovingMetrics, Position
from glassbox.engine.layer import Array
from glassbox.engine.parameters import Parameters
from glassbox.engine.trainer import Trainer
from glassbox.files import arrays_file, records
from glassbox.files.arrays_file import Contents
from glassbox.files.model_file import checked, contents_of, fill, network_of, own_arrays
from glassbox.kernels import backend_name

SAME = ("input_shape", "loss", "l2", "seed", "dtype", "classes", "scaling")
# What may differ between a run and its continuation, if the user says so.  All else (the layers,
# the seed, the images, the batch size) would make it another run.
CHANGEABLE = (
    "optimizer", "l2", "epochs", "patience", "ema_decay", "augment", "kernels", "execution",
)  # fmt: skip

OBJECTS = {int, float, str, bool, dict, list, None}
# The form of the record of the training.
FORM: dict[str, Any] = {
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
        "changes": [{"epoch": int, "step": int, "what": str, ...: OBJECTS}],
    },
    "fit": dict,
    "optimizer_steps": [(int, int, int)],
}  # fmt: skip


def optimizer_state(parameters: Parameters) -> tuple[dict[str, Array], list[list[int]]]:
    """The optimizers' arrays, each as long as all weights, and [start, stop, steps] of each group.

    Where an optimizer has no such array there are zeros.
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
    """Give the optimizers back what `optimizer_state` took; all or nothing.

    Raises ValueError where an optimizer wants an array that is not there.
    """
    for group in parameters.groups:
        for slot in group.optimizer.state_names:
            found = arrays.get(f"optimizer/{slot}")
            if found is None or found.shape != parameters.values.shape:
                raise ValueError(
                    f"{where}: has no {slot} of {group.optimizer!r}; go on with the kind of "
                    "optimizer it was written with"
                )
    for group in parameters.groups:
        for slot in group.optimizer.state_names:
            group.state[slot][...] = arrays[f"optimizer/{slot}"][group.where]
        done = [n for start, stop, n in steps if start <= group.where.start < stop]
        group.state["steps"] = done[0] if done else 0


def fit_record(trainer: Trainer, assembly: Any) -> dict[str, Any]:
    """What `fit` was told, and on which images, as plain JSON."""
    augment = trainer.settings.augment
    plain = augment is None or dataclasses.is_dataclass(augment)
    return {
        "images": fingerprint(trainer.data),
        "validation images": None
        if trainer.validation is None
        else fingerprint(trainer.validation),
        "epochs": trainer.settings.epochs,
        "batch_size": trainer.settings.batch_size,
        "shuffle": trainer.settings.shuffle,
        "patience": trainer.settings.patience,
        "ema_decay": trainer.settings.ema_decay,
        "augment": repr(augment) if plain else getattr(augment, "__qualname__", "a function"),
        "kernels": backend_name(assembly.kernels),
        "execution": assembly.execution,
    }


def decisions(network: Mapping[str, Any], fit: Mapping[str, Any]) -> dict[str, Any]:
    """What decides a run, by name: what the network is, what it learns from, and how.

    network : the network's record, as model files have it; fit : see `fit_record`.
    """
    same = {key: network[key] for key in SAME}
    parts = {layer["name"]: _without_optimizer(layer) for layer in network["layers"]}
    return {
        **same,
        "layers": {name: bare for name, (bare, _) in parts.items()},
        "optimizer": {"network": network["optimizer"]} | {n: own for n, (_, own) in parts.items()},
        **fit,
    }


def _without_optimizer(layer: dict[str, Any]) -> tuple[dict[str, Any], Any]:
    """A layer's record without what may change, and that."""
    inner = [_without_optimizer(one) for one in layer.get("layers", [])]
    bare = {key: value for key, value in layer.items() if key not in ("optimizer", "l2", "layers")}
    moved = [layer.get("optimizer"), layer.get("l2"), *(own for _, own in inner)]
    return {**bare, "layers": [one for one, _ in inner]}, moved


def fingerprint(data: Any) -> str:
    """Of a data set: how many images, and a hash over them and their labels."""
    digest = hashlib.blake2b(digest_size=16)
    for array in (data.images, data.labels):
        digest.update(np.ascontiguousarray(array).data)
    return f"{len(data)} images, {digest.hexdigest()}"


def differences(was: Any, now: Any, what: str = "") -> list[dict[str, Any]]:
    """What is decided otherwise, as {"what", "was", "now"}, down to the single number or word.

    >>> differences({"epochs": 3, "a": [1, 2]}, {"epochs": 4, "a": [1, 5]})
    [{'what': 'epochs', 'was': 3, 'now': 4}, {'what': 'a.1', 'was': 2, 'now': 5}]
    """
    if isinstance(was, dict) and isinstance(now, dict) and was.keys() == now.keys():
        pairs = [(name, was[name], now[name]) for name in now]
    elif isinstance(was, list) and isinstance(now, list) and len(was) == len(now):
        pairs = [(str(k), was[k], now[k]) for k in range(len(now))]
    else:
        return [] if was == now else [{"what": what, "was": was, "now": now}]
    dot = "." if what else ""
    return [change for name, a, b in pairs for change in differences(a, b, f"{what}{dot}{name}")]


def accept(changes: list[dict[str, Any]], allowed: bool, where: str) -> None:
    """Raise ValueError unless a run may go on with these changes."""
    for change in changes:
        if change["what"].split(".")[0] not in CHANGEABLE:
            raise ValueError(
                f"{where}: belongs to another run, where {_told(change)}; start anew, or make them "
                "the same"
            )
    if changes and not allowed:
        raise ValueError(
            f"{where}: the run was begun otherwise: {'; '.join(map(_told, changes))}. To go on "
            "with what is now, and have it recorded in the history, pass allow_changes=True (on "
            "the command line: say beside --resume what is to change)"
        )


def _told(change: Mapping[str, Any]) -> str:
    return "{what} was {was!r} and is {now!r}".format(**change)


def state_of(trainer: Trainer) -> tuple[dict[str, Array], dict[str, Any]]:
    """What another trainer needs besides the network, to go on as this one: arrays, a record.

    No generator has a state to keep: order, dropout and augmentation follow from the seed and
    the number of the epoch or step.
    """
    arrays = {f"best/{k:04}": array for k, array in enumerate(trainer.best)}
    if trainer.average.decay:
        arrays["average/mean"] = trainer.average.mean
    record = {
        "position": dataclasses.asdict(trainer.at),
        "running": trainer.running.to_json(),
        "waited": trainer.waited,
        "best_rank": list(trainer.best_rank or ()),
        "average_steps": trainer.average.steps,
        "history": trainer.history.to_json(),
    }
    return arrays, record


def put_back(
    trainer: Trainer, arrays: Mapping[str, Array], record: Mapping[str, Any], where: str
) -> None:
    """Be where another trainer was when `state_of` was asked.

    Raises ValueError, naming `where`, for a place that no run comes to.
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
        raise ValueError(f"{where}: is no whole checkpoint: it says that it stands at {at}")
    trainer.at, trainer.best, trainer.sound = at, best, now
    trainer.running = MovingMetrics.from_json(record["running"])
    trainer.waited = record["waited"]
    trainer.best_rank = tuple(record["best_rank"]) or None
    trainer.history = History.from_json(record["history"])
    if trainer.average.decay:
        trainer.average.mean[...], trainer.average.steps = mean, record["average_steps"]


def contents(trainer: Trainer, network: Contents, fit: Mapping[str, Any]) -> Contents:
    """A checkpoint of a run: the network's contents and everything else."""
    moving, steps = optimizer_state(trainer.parameters)
    arrays, record = state_of(trainer)
    training = {**record, "fit": dict(fit), "optimizer_steps": steps}
    return Contents(
        {**network.arrays, **moving, **arrays}, {**network.records, "training": training}
    )


def attach(
    trainer: Trainer,
    network: Any,
    checkpoint: str | os.PathLike[str] | None,
    resume: str | os.PathLike[str] | None,
    allowed: bool,
) -> None:
    """Have a trainer write checkpoints, and put it and its network where `resume` was left.

    It writes to `checkpoint`, or to `resume` where there is none.
    """
    fit = fit_record(trainer, network.assembly)
    if resume is not None:
        saved = arrays_file.read(resume)
        now = decisions(contents_of(network).records["network"], fit)
        go_on(trainer, saved, now, allowed, str(resume))
        network.steps_done = int(saved.records["network"]["steps_done"])
    target = checkpoint if checkpoint is not None else resume
    assert target is not None

    def write(trainer: Trainer) -> None:
        execution = {"execution": network.assembly.execution}
        whole = contents(trainer, contents_of(network), fit | execution)
        write_atomically(target, arrays_file.encode(whole))

    trainer.on_checkpoint = write


def packed(network: Contents, parameters: Parameters | None) -> bytes:
    """A network with its optimizers' state, as a file would hold it: for copies."""
    if parameters is not None:
        arrays, steps = optimizer_state(parameters)
        network.arrays |= arrays
        network.records["optimizer_steps"] = steps
    return arrays_file.encode(network)


def unpacked(data: bytes, make: Any, kinds: Iterable[type], history: Any) -> Any:
    """The network that `packed` took apart."""
    where = "a copied network"
    saved = arrays_file.decode(data, where)
    network = network_of(saved, where, {kind.__name__: kind for kind in kinds}, make)
    if network.parameters is not None:
        steps = saved.records["optimizer_steps"]
        restore_optimizer(network.parameters, saved.arrays, steps, where)
    network.history = history
    return network


def go_on(
    trainer: Trainer, saved: Contents, now: Mapping[str, Any], allowed: bool, where: str
) -> None:
    """Put a trainer and its network where they were.

    now : the `decisions` of today.

    Raises ValueError for what is no checkpoint, for one of another run, and for one that differs in
    what may change unless that is `allowed`; then it stands in the history.
    """
    if "training" not in saved.records:
        raise ValueError(
            f"{where}: is no checkpoint; resume takes a file that fit(checkpoint=...) wrote"
        )
    training = saved.records["training"]
    network = checked(saved.records.get("network"), where)
    records.check(training, FORM, f"{where}: is no whole checkpoint")
    then = {"execution": now["execution"], **training["fit"]}  # version 0.1 did not record it
    try:
        changes = differences(decisions(network, then), now)
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"{where}: its layers are none ({error!r})") from error
    accept(changes, allowed, where)
    # First what may well fail: another kind of optimizer must leave the weights as they are.
    restore_optimizer(trainer.parameters, saved.arrays, training["optimizer_steps"], where)
    fill(trainer.parameters.layers, own_arrays(saved), where)
    put_back(trainer, saved.arrays, training, where)
    place = {"epoch": trainer.at.epoch + 1, "step": trainer.at.step}
    trainer.history.changes += [{**place, **change} for change in changes]
