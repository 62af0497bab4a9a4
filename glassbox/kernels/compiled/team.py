"""Threads within one call: a kernel is divided among threads that wait for each other by spinning.

A batch of one image cannot be cut into shards.  Its large kernel calls are shared instead: every
thread makes the same call and computes a part of the output; each number is computed whole, by one
thread, in the same order as ever, so that no number of threads changes a bit.

Such a kernel begins with `first, end = begin(turn, count)`, which says what part of `count` is
this thread's, and ends with `finish(turn)`.  `turn` is the address of the thread's line in memory,
or 0 if it is alone.  Waking a thread takes 50 microseconds, longer than many calls, so helpers
spin: the leader opens a call in its line, the helpers report in theirs.  A helper goes back into
Python only while the leader is computing, so that neither waits for Python's lock.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from queue import SimpleQueue

import llvmlite.binding
import numpy as np
from llvmlite import ir
from numba.core import cgutils, types
from numba.extending import intrinsic

from glassbox.kernels.compiled.build import compiled
from glassbox.kernels.recorder import Call, Divided, Program, replay_program, sharing, stretches

LINE = 128  # bytes, two lines of the cache: what processors fetch together
# A line's numbers: calls begun (the leader's) or done (a helper's), which thread, of how many.
# And of the leader's, for how many helpers it has waited long.
COUNT, WHO, THREADS, LATE = 0, 8, 16, 24
SPINS = 4000  # looks of a helper for the next call, some 100 microseconds
FOREVER = 2**62
RESTS = 128  # programs that go without help after one that had to wait long: others need the cores
LEADER = 0
X86 = llvmlite.binding.get_default_triple().startswith(("x86", "i686"))
YIELDS = hasattr(os, "sched_yield")


@intrinsic
def _seen(typing, address):
    """The number at an address, which another thread may write."""

    def generate(context, builder, signature, values):
        place = builder.inttoptr(values[0], ir.IntType(64).as_pointer())
        return builder.load_atomic(place, "acquire", 8)

    return types.int64(types.int64), generate


@intrinsic(prefer_literal=True)
def _rest(typing, name):
    """Call a function that lets others run: LLVM's for a moment, or the C library's."""

    def generate(context, builder, signature, values):
        kind = ir.FunctionType(ir.VoidType(), [])
        builder.call(cgutils.get_or_insert_function(builder.module, kind, name.literal_value), [])
        return context.get_dummy_value()

    return types.void(name), generate


@intrinsic
def _show(typing, address, number):
    """Write a number that another thread may look for, after all that was written before."""

    def generate(context, builder, signature, values):
        place = builder.inttoptr(values[0], ir.IntType(64).as_pointer())
        builder.store_atomic(values[1], place, "release", 8)
        return context.get_dummy_value()

    return types.void(types.int64, types.int64), generate


@compiled
def _look(address, number, looks):
    """Wait until what stands at an address is larger than `number`, for so many looks at most.

    A long wait means that the other thread has no core: ours is offered to it.  Returns whether it
    was long.
    """
    for look in range(looks):
        if _seen(address) > number:
            return look > SPINS
        if X86:
            _rest("llvm.x86.sse2.pause")
        if YIELDS and look > SPINS:
            _rest("sched_yield")
    return True


@compiled
def begin(turn, count):
    """The part of `count` that is this thread's: (first, end), as of a range."""
    if turn == 0:
        return 0, count
    who, threads = _seen(turn + WHO), _seen(turn + THREADS)
    if who == LEADER:
        _show(turn, _seen(turn) + 1)
    else:
        _look(turn - who * LINE, _seen(turn), FOREVER)
    return count * who // threads, count * (who + 1) // threads


@compiled
def finish(turn):
    """Wait: the leader for the helpers, a helper (for a while) for the next call."""
    if turn == 0:
        return
    who, threads = _seen(turn + WHO), _seen(turn + THREADS)
    if who == LEADER:
        _wait(turn, threads)
        return
    done = _seen(turn) + 1
    _show(turn, done)
    _look(turn - who * LINE, done, SPINS)


@compiled
def _wait(leader, threads):
    """Until all helpers have done what the leader has begun."""
    for who in range(1, threads):
        if _look(leader + who * LINE, _seen(leader) - 1, FOREVER):
            _show(leader + LATE, _seen(leader + LATE) + 1)


@compiled
def _close(leader, threads, count):
    """Open all calls up to `count` to the helpers, and wait for them."""
    _show(leader, count)
    _wait(leader, threads)


class Team:
    """The calling thread and helpers, which live as long as the process.

    `asked` counts how often helpers were asked for help.
    """

    asked = 0

    def __init__(self, threads: int) -> None:
        self.threads, self._lock, self._rests = threads, threading.Lock(), 0
        self._lines = np.zeros(threads * LINE // 8, np.int64)
        self.turns = [self._lines.ctypes.data + who * LINE for who in range(threads)]
        table = self._lines.reshape(threads, -1)
        table[:, WHO // 8], table[:, THREADS // 8] = np.arange(threads), threads
        self._queues: list[SimpleQueue[Sequence[Call]]] = [SimpleQueue() for _ in self.turns[1:]]
        for queue in self._queues:
            threading.Thread(target=_help, args=(queue,), name="helper", daemon=True).start()

    def acquire(self) -> bool:
        """Take the team; False if another thread has it, or if it rests since cores are busy."""
        if not self._lock.acquire(blocking=False):
            return False
        if not self._rests:
            return True
        self._rests -= 1
        self._lock.release()
        return False

    def release(self) -> None:
        """Let another thread have it."""
        self._lock.release()

    @contextmanager
    def helping(self, shares: Sequence[Sequence[Call]]) -> Iterator[None]:
        """Let helpers take part in the divided calls that are made inside.

        shares[k]: these calls with the turn of helper k + 1.
        """
        Team.asked += 1
        end = int(self._lines[0]) + len(shares[0])
        try:
            for queue, share in zip(self._queues, shares, strict=True):
                queue.put(share)
            yield
        finally:
            _close(self.turns[LEADER], self.threads, end)  # after an error some calls are left
            if self._lines[LATE // 8]:
                self._lines[LATE // 8], self._rests = 0, RESTS

    def share(self, call: Divided) -> None:
        """Make one divided call together."""
        leads, *helps = (_with_turn([call], turn) for turn in self.turns)
        with self.helping(helps):
            leads[0]()


def _help(queue: SimpleQueue[Sequence[Call]]) -> None:
    while True:
        for one in queue.get():
            one()


@cache
def team(threads: int) -> Team:
    """The process's team of so many threads."""
    return Team(threads)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=team.cache_clear)  # a forked process has no other thread


@contextmanager
def together(threads: int) -> Iterator[None]:
    """Large divided calls that are made inside are shared at once, if the team is free."""
    if threads == 1 or not team(threads).acquire():
        yield
        return
    try:
        with sharing(team(threads).share):
            yield
    finally:
        team(threads).release()


class Replay:
    """Recorded calls as a program, the divided ones made by so many threads together."""

    def __init__(self, calls: Sequence[Call], threads: int) -> None:
        self._alone = stretches(calls)
        self._team: Team | None = None
        self._threads = threads if any(isinstance(one, Divided) for one in calls) else 1
        self._calls = calls

    def program(self) -> Program:
        """As `recorder.replay_program`; alone while another thread has the team."""
        if self._threads == 1 or not team(self._threads).acquire():
            return replay_program(self._alone)
        return self._program(team(self._threads))

    def _program(self, team: Team) -> Program:
        if team is not self._team:
            by_thread = [_with_turn(self._calls, turn) for turn in team.turns]
            self._team, self._leads = team, stretches(by_thread[LEADER])
            self._helps = [[c for c in calls if isinstance(c, Divided)] for calls in by_thread[1:]]
        try:
            with team.helping(self._helps):
                yield from replay_program(self._leads)
        finally:
            team.release()


def _with_turn(calls: Sequence[Call], turn: int) -> list[Call]:
    """The same calls, the divided ones with this thread's turn."""
    return [
        Divided(one.func, turn, *one.args[1:]) if isinstance(one, Divided) else one for one in calls
    ]
