"""Checks a JSON record from a file against its schema."""

from __future__ import annotations

from typing import Any

from glassbox.errors import MOST, short

WORDS = {
    int: "a whole number of 64 bits", float: "a number of 64 bits", str: "a word",
    bool: "true or false", dict: "an object", list: "a list", None: "null",
}  # fmt: skip


def check(value: Any, schema: Any, where: str, path: str = "") -> None:
    """Raise ValueError, naming `where` and the path in the record, unless `value` fits.

    schema : int (a whole number of at least 0), float (any number), str, bool, dict or list; None;
        a dict of schemas by key, `...` standing for all other keys; [schema], any number of these;
        a tuple of schemas, a list of exactly so many; a set of types, any of which will do.

    >>> check({"step": 3, "best": None}, {"step": int, "best": {float, None}}, "run")
    >>> check({"steps": [[1, 2], [3]]}, {"steps": [(int, int)]}, "run")
    Traceback (most recent call last):
    ValueError: run: steps.1 is [3], expected a list of 2
    """
    inner: list[tuple[Any, Any, Any]] = []  # (value, schema, key) of what is inside
    if isinstance(schema, dict):
        fits, words = isinstance(value, dict), "an object"
        if fits:
            keys = sorted(key for key in schema if key is not ...)
            if set(keys) - set(value) or (set(value) - set(keys) and ... not in schema):
                name = path.lstrip(".") or "the record"
                raise ValueError(f"{where}: {name} has the keys {sorted(value)}, expected {keys}")
            inner = [(one, schema.get(key, schema.get(...)), key) for key, one in value.items()]
    elif isinstance(schema, list | tuple):
        fits, words = isinstance(value, list), "a list"
        if isinstance(schema, tuple):
            fits, words = fits and len(value) == len(schema), f"a list of {len(schema)}"
        if fits:
            schemas = schema if isinstance(schema, tuple) else schema * len(value)
            inner = [*zip(value, schemas, range(len(schemas)), strict=True)]
    else:
        kinds = schema if isinstance(schema, set) else {schema}
        fits = any(_is(value, kind) for kind in kinds)
        words = " or ".join(sorted(WORDS[kind] for kind in kinds))
    if not fits:
        name = path.lstrip(".") or "it"
        raise ValueError(f"{where}: {name} is {short(value)}, expected {words}")
    for one, own, key in inner:
        check(one, own, where, f"{path}.{key}")


def _is(value: Any, kind: type | None) -> bool:
    if kind is None or isinstance(value, bool):
        return value is None if kind is None else kind is bool
    if isinstance(value, int) and abs(value) > MOST:
        return False
    if kind is int:
        return isinstance(value, int) and value >= 0
    return isinstance(value, (int, float) if kind is float else kind)
