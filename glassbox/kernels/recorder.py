"""Kernel calls, recorded once and replayed.

A step of a small network is spent in Python, not in arithmetic: layers ask, kernels allocate and
look up, threads wait for each other at Python's lock.  None of that changes from step to step; only
the numbers in the arrays do.  So the kernel calls of a pass are recorded with the arrays they were
given, and later passes put new numbers into the first of these arrays and make the calls again: the
same kernels in the same order, and no allocation.

Kernels take part by making their calls through `call`, and by leaving every number that depends on
the images to such calls.

A pass that needs sums over all shards is a program: a generator that yields an array of its own and
is sent back the sum.  Its recording has a `pause` at each of these places.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

import numpy as np

Array = np.ndarray
Call = Callable[[], Any]
Program = Generator[Array, Array, Any]
Stretch = tuple[list[Call], Array | None, Array | None]

_here = threading.local()


def call(function: Callable[..., Any], *arguments: Any) -> None:
    """Call function(*arguments) for what it does to its arrays; record it inside `recording`."""
    function(*arguments)
    calls = getattr(_here, "calls", None)
    if calls is not None:
        calls.append(partial(function, *arguments))


class Divided(partial[Any]):
    """A recorded call that threads can share; its first argument is the turn, 0 for all of it."""


LEAST_DIVIDED = 2**19  # multiply-adds, or numbers moved, from which a second thread helps


def call_divided(function: Callable[..., Any], work: int, *arguments: Any) -> None:
    """As `call`, for a kernel function(turn, *arguments) that threads can share if work is large.

    It is shared at once inside `sharing`, and when it is replayed.

    work : its multiply-adds, or the numbers that it moves.
    """
    kind = Divided if work >= LEAST_DIVIDED else partial
    made, share = kind(function, 0, *arguments), getattr(_here, "share", None)
    if share is not None and kind is Divided:
        share(made)
    else:
        made()
    calls = getattr(_here, "calls", None)
    if calls is not None:
        calls.append(made)


@contextmanager
def sharing(share: Callable[[Divided], None]) -> Iterator[None]:
    """Let share(call) make this thread's divided calls inside."""
    _here.share = share
    try:
        yield
    finally:
        _here.share = None


@contextmanager
def recording(calls: list[Call]) -> Iterator[None]:
    """Append this thread's calls to `calls` inside."""
    _here.calls = calls
    try:
        yield
    finally:
        _here.calls = None


def replay(calls: list[Call]) -> None:
    """Make all calls again, in order."""
    for recorded in calls:
        recorded()


def pause(own: Array, total: Array) -> None:
    """Stand among recorded calls where a program yields `own` and goes on with `total`."""


def record(program: Program, calls: list[Call]) -> Any:
    """Run a program as that of the only shard, and record it; returns what it returns."""
    total: Any = None
    while True:
        try:
            with recording(calls):
                own = program.send(total)
        except StopIteration as end:
            return end.value
        total = own.copy()
        calls.append(partial(pause, own, total))


def stretches(calls: Sequence[Call]) -> list[Stretch]:
    """The calls up to each pause, with its two arrays, and those behind the last with None."""
    found: list[Stretch] = []
    here: list[Call] = []
    for one in calls:
        if isinstance(one, partial) and one.func is pause:
            found.append((here, *one.args))
            here = []
        else:
            here.append(one)
    return [*found, (here, None, None)]


def replay_program(parts: Sequence[Stretch]) -> Program:
    """Make all calls again, and pause where they were recorded with a pause."""
    for calls, own, total in parts:
        replay(calls)
        if own is not None and total is not None:
            np.copyto(total, (yield own))


def root(array: Array) -> Array:
    """The array whose memory this one is a view of."""
    while isinstance(array.base, np.ndarray):
        array = array.base
    return array


def redirect(calls: list[Call], moves: Sequence[tuple[Array, Array]]) -> list[Call]:
    """The same calls, with the memory of some arrays replaced by that of others.

    Parameters
    ----------
    moves : (old, new): `new` has the shape of `old`, and both are C-contiguous.  Every view of
        old's memory among the arguments becomes the same view of new's.
    """
    targets = {id(root(old)): (root(old), new) for old, new in moves}

    def moved(argument: Any) -> Any:
        if not isinstance(argument, np.ndarray) or id(root(argument)) not in targets:
            return argument
        old, new = targets[id(root(argument))]
        offset = argument.__array_interface__["data"][0] - old.__array_interface__["data"][0]
        buffer: Any = new.reshape(-1)
        return np.ndarray(argument.shape, argument.dtype, buffer, offset, argument.strides)

    return [type(c)(c.func, *map(moved, c.args)) for c in calls if isinstance(c, partial)]
