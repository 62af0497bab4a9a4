"""The configuration of layers, optimizers, schedules and losses as plain JSON, and back.

A configuration is {"kind": name of the class, argument: value, ...}.  Nothing in it is code: the
reader brings the classes, and their own checks look at the values as if a person had typed them.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Mapping
from typing import Any

from glassbox.engine.blocks import check_count
from glassbox.engine.layer import Activation, Layer
from glassbox.engine.losses import Loss
from glassbox.engine.optimizers import Optimizer
from glassbox.engine.schedules import Schedule
from glassbox.errors import short, unknown_name

Config = dict[str, Any]
Registry = Mapping[str, type]  # the classes that a configuration may name
BASES = (Activation, Layer, Loss, Optimizer, Schedule)  # of all that has a configuration
# Arguments that version 0.1 called otherwise.
RENAMED = {
    "initialiser": "initializer", "size": "kernel_size", "count_padding": "count_include_pad",
    "every": "step_size", "factor": "gamma", "warm": "pct_start", "start_divisor": "div_factor",
}  # fmt: skip


def to_config(thing: Any) -> Config:
    """Return the kind of an object and the arguments that it was made with.

    Raises TypeError where an argument is not kept, or where its value cannot be written.

    >>> from glassbox.engine.schedules import Exponential
    >>> to_config(Exponential(0.1, gamma=0.5))
    {'kind': 'Exponential', 'rate': 0.1, 'gamma': 0.5, 'unit': 'epoch'}
    """
    kind = type(thing).__name__
    arguments = _arguments(thing).items()
    return {"kind": kind, **{name: _to_json(value, f"{kind}: {name}") for name, value in arguments}}


def from_config(config: Any, registry: Registry, base: Any, what: str) -> Any:
    """Return the object that `to_config` described.

    Parameters
    ----------
    base : what the class must be derived from: a class, or a tuple of them.
    what : how errors call the object.

    Raises ValueError where the configuration is not one of such an object.

    >>> from glassbox.engine.schedules import Constant
    >>> from_config({"kind": "Constant", "rate": 0.1}, {"Constant": Constant}, Schedule, "it").rate
    0.1
    """
    if not isinstance(config, dict) or not isinstance(config.get("kind"), str):
        raise ValueError(f"{what}: expected an object with a kind, got {short(config)}")
    known = {name: kind for name, kind in registry.items() if issubclass(kind, base)}
    if config["kind"] not in known:
        word = base.__name__.lower() if isinstance(base, type) else "object"
        raise unknown_name(f"kind of {word} in {what}", config["kind"], known)
    kind, given = known[config["kind"]], {**config}
    allowed = inspect.signature(kind).parameters
    del given["kind"]
    given = {name if name in allowed else RENAMED.get(name, name): given[name] for name in given}
    try:
        if "end_divisor" in given and "final_div_factor" in allowed:  # it divided the highest rate
            given["final_div_factor"] = given.pop("end_divisor") / given["div_factor"]
        if odd := sorted(set(given) - set(allowed)):
            raise ValueError(f"{config['kind']} takes {list(allowed)}, got also {odd}")
        values = {name: _from_json(v, allowed[name], registry, name) for name, v in given.items()}
        several = [p.name for p in allowed.values() if p.kind is p.VAR_POSITIONAL]
        several = [thing for name in several for thing in values.pop(name, ())]
        return kind(*several, **values)
    except (TypeError, ValueError, KeyError, ArithmeticError) as error:
        raise ValueError(f"{what}: {error}") from error


def kinds_in(thing: Any) -> set[type]:
    """Return the classes of an object, or of a list of them, and of what they were made with."""
    inside = thing if isinstance(thing, list | tuple) else []
    kinds = set[type]()
    if isinstance(thing, BASES):
        kinds, inside = {type(thing)}, list(_arguments(thing).values())
    return kinds.union(*map(kinds_in, inside))


def _arguments(thing: Any) -> dict[str, Any]:
    """Return the constructor's arguments, each from the attribute of its name."""
    found = {}
    for name in inspect.signature(type(thing)).parameters:
        if not hasattr(thing, name):
            raise TypeError(
                f"{type(thing).__name__} cannot be saved: its argument {name!r} is not kept; "
                f"store it as self.{name} in __init__"
            )
        found[name] = getattr(thing, name)
    return found


def _to_json(value: Any, where: str) -> Any:
    if value is None or isinstance(value, bool | str | int | float):
        return value
    if isinstance(value, list | tuple):
        return [_to_json(inner, where) for inner in value]
    if isinstance(value, BASES):
        return to_config(value)
    if hasattr(value, "item") and getattr(value, "ndim", 1) == 0:  # a NumPy number
        return value.item()
    raise TypeError(
        f"{where} cannot be saved: expected a number, a word or one of the library's own objects, "
        f"got {value!r}"
    )


def _from_json(value: Any, argument: inspect.Parameter, registry: Registry, what: str) -> Any:
    """Return an argument's value; the objects that it may hold are those that it is annotated with.

    An annotation of Any, or none at all, leaves it to the class to refuse what does not fit.
    """
    if isinstance(value, list):
        check_count(len(value), what)
        return tuple(_from_json(inner, argument, registry, what) for inner in value)
    if not isinstance(value, dict):
        return value
    words = set(re.findall(r"\w+", str(argument.annotation)))
    named = tuple({kind for kind in (*BASES, *registry.values()) if kind.__name__ in words})
    if not named and not words & {"Any", "_empty"}:
        raise ValueError(f"{what} must be a number or a word, got {short(value)}")
    return from_config(value, registry, named[0] if len(named) == 1 else named or object, what)
