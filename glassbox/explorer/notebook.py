"""The notebook host: a session below a cell of Jupyter, VS Code, Colab or marimo."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import anywidget

from glassbox.explorer.session import Session

FRONT = Path(__file__).parent / "front"


def widget(session: Session) -> anywidget.AnyWidget:
    """Give the widget whose front end asks this session."""

    class Explorer(anywidget.AnyWidget):
        """The explorer's front end in a cell."""

        _esm = FRONT / "explorer.js"
        _css = FRONT / "style.css"

    def answer(made: anywidget.AnyWidget, message: Any, _: Any) -> None:
        made.send(session.answer(message))

    made = Explorer()
    made.on_msg(answer)
    return made
