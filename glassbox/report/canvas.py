"""How every picture is drawn: under matplotlib's own defaults, whatever the user has set up."""

import os
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from functools import wraps
from typing import Any, ParamSpec, TypeVar

first, backend = "matplotlib" not in sys.modules, os.environ.pop("MPLBACKEND", None)
import matplotlib  # noqa: E402  (it could not be loaded with a backend that it does not know)

if backend is not None:
    os.environ["MPLBACKEND"] = backend
    if first:
        with suppress(ValueError):
            matplotlib.rcParams["backend"] = backend

P = ParamSpec("P")
R = TypeVar("R")
DEFAULTS: Any = {
    key: value for key, value in matplotlib.rcParamsDefault.items() if key != "backend"
}
_LOCK = threading.RLock()  # the settings are those of the whole process


def house_style(draw: Callable[P, R]) -> Callable[P, R]:
    """Have a function run under matplotlib's defaults, one thread at a time.

    A matplotlibrc, styles and fonts that are not installed then change nothing; afterwards all
    settings are the user's again.
    """

    @wraps(draw)
    def drawn(*arguments: P.args, **named: P.kwargs) -> R:
        with _LOCK, matplotlib.rc_context(DEFAULTS):
            return draw(*arguments, **named)

    return drawn
