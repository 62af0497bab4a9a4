"""Shards and one tree: who computes what cannot change a bit of the result.

A mini-batch is cut into a power-of-two number of shards whose size depends on the network and the
batch alone.  What the shards give is summed in a fixed binary tree.  Threads only decide who
computes a shard, and when.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import contextmanager
from functools import cache, lru_cache, wraps
from itertools import pairwise
from threading import RLock, get_ident
from typing import Any, TypeVar, cast

import numpy as np
from threadpoolctl import OpenBLASController, ThreadpoolController

from glassbox.engine.edits import EditableType
from glassbox.engine.layer import Array
from glassbox.engine.memory import keep_freed_memory
from glassbox.errors import require_count
from glassbox.kernels.shapes import ShardPolicy

MOST_THREADS = 1024
MOST_TOGETHER = 8  # threads within one kernel call: they spin, each on a core of its own
MOST_AT_INFERENCE, VECTOR = 128, 16  # samples in a piece that is not trained on, and in one vector
# Numbers that overflow end in a loss that is not finite, and that stops the run with an
# explanation; NumPy's own warnings would only come before it.
IGNORE_FP_WARNINGS: Any = {"over": "ignore", "invalid": "ignore", "divide": "ignore"}


Method = TypeVar("Method", bound=Callable[..., Any])


@lru_cache
def shard_slices(batch: int, sample_bytes: int, policy: ShardPolicy) -> Sequence[slice]:
    """Cut `batch` samples into a power-of-two number of shards of about equal size.

    `sample_bytes` is the size of the network's largest array for one sample, `policy` what the
    kernels like.

    Examples
    --------
    >>> from glassbox.kernels.pure_numpy import SHARD_POLICY
    >>> shard_slices(100, 2**16, SHARD_POLICY)
    (slice(0, 25, None), slice(25, 50, None), slice(50, 75, None), slice(75, 100, None))
    """
    wanted = policy.cache_bytes // max(sample_bytes, 1)
    size = min(max(wanted, policy.smallest), policy.largest)
    count = 1
    while count * size < batch:
        count *= 2
    edges = [batch * k // count for k in range(count + 1)]
    return tuple(slice(*edge) for edge in pairwise(edges))


def inference_slices(count: int, sample_bytes: int, policy: ShardPolicy) -> list[slice]:
    """Cut `count` samples into pieces for use: about equal, and whole vectors but for the last.

    Nothing is summed over them, so there may be any number, and they may be larger than shards.

    Examples
    --------
    >>> from glassbox.kernels.pure_numpy import SHARD_POLICY
    >>> inference_slices(100, 2**16, SHARD_POLICY)
    [slice(0, 32, None), slice(32, 64, None), slice(64, 96, None), slice(96, 100, None)]
    """
    most = min(max(policy.cache_bytes // max(sample_bytes, 1), policy.smallest), MOST_AT_INFERENCE)
    pieces = -(-count // most)
    size = -(-count // max(pieces, 1) // VECTOR) * VECTOR or VECTOR
    return [slice(start, min(start + size, count)) for start in range(0, count, size)]


def tree_sum(arrays: Sequence[Array]) -> Array:
    """The sum in a fixed binary tree: ((a0 + a1) + (a2 + a3)) + ...; adds into the first ones.

    Examples
    --------
    >>> tree_sum([np.array([1.0]), np.array([2.0]), np.array([3.0]), np.array([4.0])]).tolist()
    [10.0]
    """
    step = 1
    while step < len(arrays):
        for left in range(0, len(arrays) - step, 2 * step):
            np.add(arrays[left], arrays[left + step], out=arrays[left])
        step *= 2
    return arrays[0]


def cores() -> int:
    """How many cores this process may use."""
    available = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else None
    return available or os.cpu_count() or 1


@cache
def _blas() -> ThreadpoolController:
    return ThreadpoolController()


def _take_control() -> None:
    """Let this thread set OpenBLAS: threadpoolctl ignores all but the thread that was first."""
    if hasattr(OpenBLASController, "clear_controlling_thread"):  # not in all versions
        OpenBLASController.clear_controlling_thread(force=True)


class _SerialBlas:
    """BLAS on one thread while any thread of the process is inside, as before when all have left.

    The number of BLAS threads belongs to the process: of two uses that overlap, only the last to
    leave may restore it.
    """

    def __init__(self) -> None:
        self.lock = RLock()
        self._inside: list[int] = []  # an identifier for each entry of a thread
        self._limit: Any = None
        if hasattr(os, "register_at_fork"):  # nobody is between the two lines of `enter`
            os.register_at_fork(
                before=self.lock.acquire,
                after_in_parent=self.lock.release,
                after_in_child=self._forget_others,
            )

    def _forget_others(self) -> None:
        """Count only this thread: a forked process has no other."""
        self._inside = [thread for thread in self._inside if thread == get_ident()]
        self.lock.release()

    def enter(self) -> int:
        """Begin; returns what `leave` takes."""
        with self.lock:
            if self._limit is None:
                _take_control()
                self._limit = _blas().limit(limits=1, user_api="blas")
            self._inside.append(get_ident())
            return self._inside[-1]

    def leave(self, thread: int) -> None:
        """End."""
        with self.lock:
            self._inside.remove(thread)
            if not self._inside:
                _take_control()
                self._limit.restore_original_limits()
                self._limit = None
                _take_control()  # whoever comes next may


_SERIAL_BLAS = _SerialBlas()


class Workers:
    """The threads that compute shards; `threads` of None takes one per core.

    `replaying` says whether they replay recorded calls, so that edits have to be looked for.
    Raises ValueError for less than one thread, and for more than MOST_THREADS.
    """

    def __init__(self, threads: int | None = None) -> None:
        self.threads = cores()
        if threads is not None:
            require_count("threads", threads, most=MOST_THREADS)
            self.threads = int(threads)
        self.replaying = False
        self._pool: tuple[int, ThreadPoolExecutor] | None = None  # with its process
        self._trainer: tuple[int, int] | None = None  # process and thread that train

    @contextmanager
    def serial_blas(self) -> Iterator[None]:
        """Matrix products single-threaded inside: the shards are the parallel work."""
        keep_freed_memory()
        thread = _SERIAL_BLAS.enter()
        try:
            yield
        except Exception as error:
            from glassbox.engine.failing import name_layer  # needed now, and never before

            name_layer(error)
            raise
        finally:
            _SERIAL_BLAS.leave(thread)
            if self.replaying:  # until the next use, code may be exchanged uncounted
                EditableType.edits += 1

    def is_training(self) -> bool:
        """Whether this thread is inside `training`."""
        return self._trainer == (os.getpid(), get_ident())

    @contextmanager
    def training(self) -> Iterator[None]:
        """`serial_blas`, for one thread at a time."""
        me = os.getpid(), get_ident()
        with _SERIAL_BLAS.lock:
            before = self._trainer
            if before is not None and before[0] == me[0] and before != me:
                raise RuntimeError(
                    "another thread is training this network; wait for it, or train a copy "
                    "(copy.deepcopy)"
                )
            self._trainer = me
        try:
            with self.serial_blas():
                yield
        finally:
            self._trainer = before

    def _threads(self) -> ThreadPoolExecutor:
        """The pool; its threads live in the process that made it, not in one forked from it."""
        if self._pool is None or self._pool[0] != os.getpid():
            pool = ThreadPoolExecutor(self.threads - 1, thread_name_prefix="shard")
            self._pool = os.getpid(), pool
        return self._pool[1]

    def map(self, task: Callable[[Any], Any], items: Sequence[Any]) -> list[Any]:
        """task(item) of every item, in order; on the calling thread where one is enough."""
        if self.threads == 1 or len(items) == 1:
            return _map_here(task, items)
        pool = self._threads()
        # each thread takes a run of neighbours, the calling thread the last one
        edges = [len(items) * k // self.threads for k in range(self.threads + 1)]
        parts = [items[start:stop] for start, stop in pairwise(edges)]
        waiting = [pool.submit(_map_here, task, part) for part in parts[:-1] if part]
        try:
            last = _map_here(task, parts[-1])
        finally:
            wait(waiting)  # no thread is left at work behind an error
        return [result for part in waiting for result in part.result()] + last


def exclusive(method: Method) -> Method:
    """A network's method as one that only one thread at a time may be in."""

    @wraps(method)
    def alone(network: Any, *arguments: Any, **named: Any) -> Any:
        if network.workers.is_training():  # a step of `fit`
            return method(network, *arguments, **named)
        with network.workers.training():
            return method(network, *arguments, **named)

    return cast(Method, alone)


def _map_here(task: Callable[[Any], Any], items: Sequence[Any]) -> list[Any]:
    with np.errstate(**IGNORE_FP_WARNINGS):
        return [task(item) for item in items]
