"""A network's layers and settings as plain JSON, and back: what a model file is built from.

Nothing in a blueprint is code.  A name stands for one of the classes that the reader brings along;
the rest are numbers and words, which the classes' own checks look at as if a person had typed them.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

from glassbox.engine.layer import Activation, Layer
from glassbox.engine.optimizers import Optimizer
from glassbox.engine.schedules import Schedule
from glassbox.errors import short, unknown_name

Record = dict[str, Any]
Kinds = Mapping[str, type]

# Arguments whose values have a kind of their own.
NESTED: dict[str, type] = {
    "activation": Activation,
    "optimizer": Optimizer,
    "learning_rate": Schedule,
    "then": Schedule,
}
# Arguments that version 0.1 called otherwise.
RENAMED = {
    "initialiser": "initializer", "size": "kernel_size", "count_padding": "count_include_pad",
    "every": "step_size", "factor": "gamma", "warm": "pct_start", "start_divisor": "div_factor",
}  # fmt: skip


def describe(thing: Any) -> Record:
    """The kind of a layer, activation, optimizer, schedule or loss, and its arguments.

    An argument is read from the attribute of its name, as scikit-learn's `get_params` does.
    Raises TypeError where there is none, or where its value is not plain.

    >>> from glassbox.engine.schedules import Exponential
    >>> describe(Exponential(0.1, gamma=0.5))
    {'kind': 'Exponential', 'rate': 0.1, 'factor': 0.5, 'unit': 'epoch'}
    """
    record: Record = {"kind": type(thing).__name__}
    for name in _arguments(type(thing)):
        if not hasattr(thing, name):
            raise TypeError(
                f"{type(thing).__name__} cannot be saved: its argument {name!r} is not kept; "
                f"store it as self.{name} in __init__"
            )
        record[name] = _plain(getattr(thing, name), f"{type(thing).__name__}: {name}")
    return record


def make(record: Any, kinds: Kinds, base: type, what: str) -> Any:
    """What `describe` described: an object of a kind that is known and derived from `base`.

    Raises ValueError, naming `what`, for anything else.

    >>> from glassbox.engine.schedules import Constant
    >>> make({"kind": "Constant", "rate": 0.1}, {"Constant": Constant}, Schedule, "rate").rate
    0.1
    """
    if not isinstance(record, dict) or not isinstance(record.get("kind"), str):
        raise ValueError(f"{what}: expected an object with a kind, got {short(record)}")
    known = {name: kind for name, kind in kinds.items() if issubclass(kind, base)}
    if record["kind"] not in known:
        raise unknown_name(f"kind of {base.__name__.lower()} in {what}", record["kind"], known)
    kind = known[record["kind"]]
    given = {name: value for name, value in record.items() if name != "kind"}
    allowed = _arguments(kind)
    given = {name if name in allowed else RENAMED.get(name, name): given[name] for name in given}
    if "end_divisor" in given and "final_div_factor" in allowed:  # it divided the highest rate
        given["final_div_factor"] = given.pop("end_divisor") / given["div_factor"]
    if set(given) - set(allowed):
        odd = sorted(set(given) - set(allowed))
        raise ValueError(f"{what}: {record['kind']} takes {allowed}, got also {odd}")
    layers = make_layers(given.pop("layers", []), kinds, what)
    values = {name: _value(value, name, kinds, what) for name, value in given.items()}
    try:
        return kind(*layers, **values)
    except (TypeError, ValueError, OverflowError) as error:
        raise ValueError(f"{what}: {error}") from error


def make_layers(records: Any, kinds: Kinds, what: str) -> list[Any]:
    """The layers of a list of records; see `make`."""
    if not isinstance(records, list):
        raise ValueError(f"{what}: expected a list of layers, got {short(records)}")
    return [make(one, kinds, Layer, f"{what}: layer {k + 1}") for k, one in enumerate(records)]


def _arguments(kind: type) -> list[str]:
    """The names of a class's arguments, without `self`."""
    return list(inspect.signature(kind).parameters)


def _plain(value: Any, where: str) -> Any:
    """A value as JSON knows it."""
    if value is None or isinstance(value, bool | str):
        return value
    if isinstance(value, int | float):
        return value
    if isinstance(value, list | tuple):
        return [_plain(inner, where) for inner in value]
    if isinstance(value, (Layer, *NESTED.values())):
        return describe(value)
    if hasattr(value, "item") and getattr(value, "ndim", 1) == 0:  # a NumPy number
        return value.item()
    raise TypeError(
        f"{where} cannot be saved: expected a number, a word or one of the library's own objects, "
        f"got {value!r}"
    )


def _value(value: Any, name: str, kinds: Kinds, what: str) -> Any:
    """An argument's value: a nested object made, a list as the tuple it was."""
    if name in NESTED:
        if value is None or (name in ("learning_rate", "then") and not isinstance(value, dict)):
            return value  # a plain number, which the class itself checks
        return make(value, kinds, NESTED[name], f"{what}: {name}")
    if isinstance(value, dict):
        raise ValueError(f"{what}: {name} must be a number or a word, got {short(value)}")
    return tuple(value) if isinstance(value, list) else value
