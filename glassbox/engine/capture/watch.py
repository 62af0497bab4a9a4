"""Watch: notices when an attribute of an object, or the code of a method of its class, changes."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

# What a pass calls of a layer, an activation or a loss.
METHODS = (
    "forward", "backward", "forward_program", "backward_program", "apply", "gradient", "targets",
    "joined", "statistics", "batch", "move", "decay", "update", "rate_at",
)  # fmt: skip


class Watch:
    """Remembers the attributes of some objects, and the methods of their classes.

    Examples
    --------
    >>> class Thing: pass
    >>> thing = Thing()
    >>> watch = Watch([thing])
    >>> watch.changed()
    False
    >>> thing.rate = 0.5
    >>> watch.changed()
    True
    """

    def __init__(self, things: Iterable[Any]) -> None:
        things = list({id(thing): thing for thing in things}.values())
        self._mappings: list[dict[str, Any]] = [getattr(thing, "__dict__", {}) for thing in things]
        kinds = {type(thing): None for thing in things}
        self._methods = [(kind, name) for kind in kinds for name in METHODS if hasattr(kind, name)]
        self._values = self._now()

    def _now(self) -> list[Any]:
        now = [
            [value[:] if type(value) is list else value for value in mapping.values()]
            for mapping in self._mappings
        ]
        methods = [getattr(kind, name, None) for kind, name in self._methods]
        # the code, for a notebook's autoreload exchanges that and leaves the function in place
        now.append([getattr(method, "__code__", method) for method in methods])
        return now

    def changed(self) -> bool:
        """Whether an attribute was set, replaced or removed since."""
        try:
            return self._now() != self._values  # the same object counts as equal, unasked
        except ValueError:  # another array in an array's place
            return True
