"""Small helpers that word errors alike: what was given, what was expected, how to mend it."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable, Mapping
from numbers import Real
from typing import Any


class Diverged(ArithmeticError):
    """Raised when a loss, a weight or a running statistic stops being a finite number.

    The message names the step and the layer.
    """


def unknown_name(what: str, given: object, known: Iterable[str]) -> ValueError:
    """The error for a name that nobody knows, with the nearest known one.

    >>> print(unknown_name("activation", "relo", ["relu", "tanh"]))
    unknown activation 'relo': did you mean 'relu'? Known: relu, tanh
    """
    names = list(known)
    near = difflib.get_close_matches(str(given).lower(), names, n=1)
    hint = f"did you mean {near[0]!r}? " if near else ""
    return ValueError(f"unknown {what} {short(given)}: {hint}Known: {', '.join(names)}")


def named(what: str, given: Any, base: type, known: Mapping[str, Callable[..., Any]]) -> Any:
    """The object of a name in `known`, or `given` itself where it is a `base` already.

    A class instead of an object is called without arguments.

    Raises ValueError for an unknown name, TypeError for anything else.

    >>> named("number", "one", int, {"one": lambda: 1}), named("number", 2, int, {})
    (1, 2)
    """
    if isinstance(given, base):
        return given
    if isinstance(given, type) and issubclass(given, base):
        return given()
    if not isinstance(given, str):
        article = "an" if base.__name__[0] in "AEIO" else "a"
        raise TypeError(f"{what}: expected a name or {article} {base.__name__}, got {short(given)}")
    if given.lower() not in known:
        raise unknown_name(what, given, known)
    return known[given.lower()]()


def short(value: object) -> str:
    """A value as an error quotes it: 60 characters at most.

    >>> len(short(list(range(1000))))
    60
    """
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def require_positive(what: str, value: Any) -> None:
    """Raise unless `value` is a number above zero (True, None and text are no numbers here)."""
    if isinstance(value, bool) or not isinstance(value, Real):
        raise TypeError(f"{what}: expected a number above 0, got {short(value)}")
    if not 0 < float(value) < float("inf"):
        raise ValueError(f"{what}: expected a finite number above 0, got {short(value)}")


def require_share(what: str, value: Any, *, closed: bool = False) -> None:
    """Raise unless 0 <= `value` < 1 (or <= 1 where `closed`)."""
    if isinstance(value, bool) or not isinstance(value, Real):
        raise TypeError(f"{what}: expected a number from 0 to 1, got {short(value)}")
    if not (0 <= float(value) < 1 or (closed and value == 1)):
        bound = "0 <= value <= 1" if closed else "0 <= value < 1"
        raise ValueError(f"{what}: expected {bound}, got {short(value)}")


def require_count(what: str, value: Any, *, least: int = 1) -> None:
    """Raise unless `value` is a whole number of at least `least`."""
    if isinstance(value, bool) or not hasattr(value, "__index__"):
        raise TypeError(f"{what}: expected a whole number of at least {least}, got {short(value)}")
    if value < least:
        raise ValueError(f"{what}: expected at least {least}, got {short(value)}")
