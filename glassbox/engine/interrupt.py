"""Ctrl-C once: the step is finished and what was learnt is kept.  Twice: stop at once.

The same for SIGTERM in a program that lets it end like Ctrl-C, as the command line does.
"""

from __future__ import annotations

import signal
import threading
from types import FrameType
from typing import Any


class StopSignal:
    """While it is open, the first Ctrl-C only raises the flag `asked`.

    Examples
    --------
    >>> with StopSignal() as stop_signal:
    ...     stop_signal.requested
    False
    """

    def __init__(self) -> None:
        self.requested = False
        self._before: dict[int, Any] = {}

    def __enter__(self) -> StopSignal:
        if threading.current_thread() is threading.main_thread():
            self._before = {signal.SIGINT: signal.signal(signal.SIGINT, self._first)}
            if signal.getsignal(signal.SIGTERM) is signal.default_int_handler:
                self._before[signal.SIGTERM] = signal.signal(signal.SIGTERM, self._first)
        return self

    def _first(self, number: int, frame: FrameType | None) -> None:
        self.requested = True
        for each in self._before:
            signal.signal(each, signal.default_int_handler)

    def __exit__(self, *error: object) -> None:
        for each, handler in self._before.items():
            signal.signal(each, handler)
