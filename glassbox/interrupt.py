"""Ctrl-C while libraries are loaded ends the program with code 130, and without a traceback.

main.py and the `glassbox` command import this before anything that takes long to import.
"""

from __future__ import annotations

import signal
import sys
import threading
from types import FrameType

CODE = 130  # what shells give a program that Ctrl-C has ended


def leave(number: int, frame: FrameType | None) -> None:
    """End the program."""
    sys.exit(CODE)


def release() -> None:
    """Give Ctrl-C back: from here on a run keeps what it has learned."""
    if signal.getsignal(signal.SIGINT) is leave:
        signal.signal(signal.SIGINT, signal.default_int_handler)


if (
    threading.current_thread() is threading.main_thread()
    and signal.getsignal(signal.SIGINT) is signal.default_int_handler
):
    signal.signal(signal.SIGINT, leave)
