"""Whether a JSON record from a file has the form that it must have."""

from __future__ import annotations

from typing import Any

from glassbox.errors import short


def check(value: Any, form: Any, where: str) -> None:
    """Raise ValueError, naming the place, unless `value` has this form.

    form : int (a whole number of at least 0), float (any number), str, bool, dict or list; None; a
        dict of forms by key, `...` standing for all other keys; [form], any number of these; a
        tuple of forms, a list of just so many; a set of types, any of which will do.

    >>> check({"step": 3, "best": None}, {"step": int, "best": {float, None}}, "run")
    >>> check({"steps": [[1, 2], [3]]}, {"steps": [(int, int)]}, "run")
    Traceback (most recent call last):
    ValueError: run: steps.1 is [3], expected a list of 2
    """
    _check(value, form, where, "")


def _check(value: Any, form: Any, where: str, path: str) -> None:
    if isinstance(form, dict):
        _check_object(value, form, where, path)
    elif isinstance(form, list):
        _expect(isinstance(value, list), value, "a list", where, path)
        for number, one in enumerate(value):
            _check(one, form[0], where, f"{path}.{number}")
    elif isinstance(form, tuple):
        fits = isinstance(value, list) and len(value) == len(form)
        _expect(fits, value, f"a list of {len(form)}", where, path)
        for number, (one, own) in enumerate(zip(value, form, strict=True)):
            _check(one, own, where, f"{path}.{number}")
    else:
        kinds = form if isinstance(form, set) else {form}
        words = " or ".join(sorted(WORDS[kind] for kind in kinds))
        _expect(any(_is(value, kind) for kind in kinds), value, words, where, path)


WORDS = {
    int: "a whole number", float: "a number", str: "a word", bool: "true or false",
    dict: "an object", list: "a list", None: "null",
}  # fmt: skip


def _is(value: Any, kind: type | None) -> bool:
    if kind is None or isinstance(value, bool):
        return value is None if kind is None else kind is bool
    if kind is int:
        return isinstance(value, int) and value >= 0
    return isinstance(value, (int, float) if kind is float else kind)


def _check_object(value: Any, form: dict[Any, Any], where: str, path: str) -> None:
    _expect(isinstance(value, dict), value, "an object", where, path)
    missing = [key for key in form if key is not ... and key not in value]
    odd = [key for key in value if key not in form and ... not in form]
    if missing or odd:
        raise ValueError(
            f"{where}: {path.lstrip('.') or 'the record'} has the keys {sorted(value)}, expected "
            f"{sorted(key for key in form if key is not ...)}"
        )
    for key, one in value.items():
        _check(one, form[key] if key in form else form[...], where, f"{path}.{key}")


def _expect(fits: bool, value: Any, words: str, where: str, path: str) -> None:
    if not fits:
        name = path.lstrip(".") or "it"
        raise ValueError(f"{where}: {name} is {short(value)}, expected {words}")
