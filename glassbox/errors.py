"""Small helpers that word errors alike: what was given, what was expected, how to mend it."""

from __future__ import annotations

import difflib
import math
from collections.abc import Callable, Iterable, Mapping
from numbers import Real
from typing import Any

MOST = 2**63 - 1  # of whole numbers: NumPy counts in 64 bits


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
    try:
        text = repr(value)
    except ValueError:  # Python writes whole numbers of 4,300 digits at most
        return f"{type(value).__name__} of thousands of digits"
    return text if len(text) <= 60 else f"{text[:57]}..."


def as_float(what: str, value: Any, expected: str = "a number") -> float:
    """The number as a float, infinity where it is too large for one; TypeError for what is none.

    True, None and text are no numbers here.

    >>> as_float("slope", -(10**400))
    -inf
    """
    if isinstance(value, bool) or not isinstance(value, Real):
        raise TypeError(f"{what}: expected {expected}, got {short(value)}")
    number: Any = value
    try:
        return float(number)
    except OverflowError:
        return math.inf if number > 0 else -math.inf


def require_positive(what: str, value: Any, *, zero: bool = False) -> None:
    """Raise unless `value` is a finite number above zero (or zero, where `zero`)."""
    bound = "of 0 or more" if zero else "above 0"
    number = as_float(what, value, f"a number {bound}")
    if not (0 < number < math.inf or (zero and number == 0)):
        raise ValueError(f"{what}: expected a finite number {bound}, got {short(value)}")


def require_share(what: str, value: Any, *, closed: bool = False) -> None:
    """Raise unless 0 <= `value` < 1 (or <= 1 where `closed`)."""
    number = as_float(what, value, "a number from 0 to 1")
    if not (0 <= number < 1 or (closed and number == 1)):
        bound = "0 <= value <= 1" if closed else "0 <= value < 1"
        raise ValueError(f"{what}: expected {bound}, got {short(value)}")


def require_count(what: str, value: Any, *, least: int = 1, most: int = MOST) -> None:
    """Raise unless `value` is a whole number from `least` to `most`."""
    if isinstance(value, bool) or not hasattr(value, "__index__"):
        raise TypeError(f"{what}: expected a whole number of at least {least}, got {short(value)}")
    if value < least:
        raise ValueError(f"{what}: expected at least {least}, got {short(value)}")
    if value > most:
        raise ValueError(f"{what}: expected at most {most}, got {short(value)}")
