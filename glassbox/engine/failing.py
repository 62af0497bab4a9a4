"""Failing: which layer was being run when an error was raised.  Nothing here runs before one is."""

from __future__ import annotations

from collections.abc import Iterator
from types import TracebackType
from typing import Any

from glassbox.engine.layer import Layer

PASSES = {
    "_build": "while building",
    "forward": "in the forward pass of", "forward_program": "in the forward pass of",
    "backward": "in the backward pass of", "backward_program": "in the backward pass of",
}  # fmt: skip


def frames(error: BaseException) -> Iterator[TracebackType]:
    """The calls that an error came through, outermost first."""
    link = error.__traceback__
    while link is not None:
        yield link
        link = link.tb_next


def name_layer(error: BaseException) -> None:
    """Add a note to an error that came through a layer, naming it; once, and not if it names it."""
    for link in reversed(list(frames(error))):
        code, known = link.tb_frame.f_code, link.tb_frame.f_locals
        layer: Any = known.get("self")
        if code.co_name in PASSES and isinstance(layer, Layer):
            note = f"{PASSES[code.co_name]} {layer.label}{_input(code.co_varnames[1:2], known)}"
            if layer.label not in str(error) and note not in getattr(error, "__notes__", ()):
                error.add_note(note)
            return


def _input(names: tuple[str, ...], known: dict[str, Any]) -> str:
    """The shape of what the layer was given, in words; "" where there is none."""
    given = known.get(names[0]) if names else None
    shape = tuple(given) if isinstance(given, tuple) else getattr(given, "shape", None)
    return f", given {shape}" if shape else ""
