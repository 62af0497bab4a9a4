"""A tape: the kernel calls of one training pass, noted once and played back in every later step.

A step of a small network is spent in Python, not in arithmetic: layers ask, kernels allocate and
look up, threads wait for each other's turn at Python's lock.  None of that changes from step to
step; only the numbers in the arrays do.  So a shard's first pass is noted down, kernel by kernel
with the arrays it was given, and later passes put new images into the first of these arrays and
play the calls again: the same kernels in the same order, and no allocation.

Kernels take part by making their calls through `call`, and by leaving every number that depends on
the images to such calls.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

Call = Callable[[], Any]

_here = threading.local()


def call(function: Callable[..., Any], *arguments: Any) -> None:
    """function(*arguments) for what it does to its arrays; noted where a tape is running."""
    function(*arguments)
    tape = getattr(_here, "tape", None)
    if tape is not None:
        tape.append(partial(function, *arguments))


@contextmanager
def recording(tape: list[Call]) -> Iterator[None]:
    """Note this thread's calls on `tape` inside."""
    _here.tape = tape
    try:
        yield
    finally:
        _here.tape = None


def play(tape: list[Call]) -> None:
    """All calls again, in order."""
    for noted in tape:
        noted()
