"""Edits at runtime: layers, losses and optimizers count every change of an attribute or a method.

A built network compares the count at each step, and looks closer where it went up.
"""

from __future__ import annotations

from typing import Any

from glassbox.spelling import SWITCHES, Spelled, unknown_switch


class EditableType(Spelled):
    """The type of classes that count what is assigned to them, such as a method replaced."""

    edits = 0

    def __setattr__(self, name: str, value: Any) -> None:
        super().__setattr__(name, value)
        EditableType.edits += 1  # of this class, not of one of its instances: no recursion

    def __delattr__(self, name: str) -> None:
        super().__delattr__(name)
        EditableType.edits += 1


class Editable(metaclass=EditableType):
    """Objects that count what is assigned to them.

    Examples
    --------
    >>> before = EditableType.edits
    >>> Editable().rate = 0.5
    >>> EditableType.edits - before
    1
    """

    def __repr__(self) -> str:
        settings = (f"{name}={value!r}" for name, value in vars(self).items())
        return f"{type(self).__name__}({', '.join(settings)})"

    def __setattr__(self, name: str, value: Any) -> None:
        if value is False and name in SWITCHES:
            raise unknown_switch(type(self).__name__, name)
        super().__setattr__(name, value)
        EditableType.edits += 1

    def __delattr__(self, name: str) -> None:
        super().__delattr__(name)
        EditableType.edits += 1
