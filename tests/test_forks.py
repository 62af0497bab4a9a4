"""Processes that are made of one in use: each way in computes the same there, and nothing hangs.

The short form tries some, `make trust` every way in with every way to make a process.
"""

import contextlib
import copy
import hashlib
import io
import json
import multiprocessing
import os
import pickle
import tempfile
import threading
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from test_parallel import busy as busy  # a fixture
from test_parallel import in_a_fork, needs_fork, toy

from CNN import CNN
from Filters import Conv2D, MaxPool2D
from glassbox.cli.command import main
from glassbox.kernels import BACKENDS, choose
from glassbox.kernels.shapes import ShardPolicy
from MLP import BatchNorm, Dense, Dropout

SECONDS = 120  # for a pool of processes; one that hangs fails
pytestmark = [
    needs_fork,
    pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning"),
]


def network(kernels):
    """A trained one with everything that waits for other shards."""
    made = CNN(
        Conv2D(3), BatchNorm(), MaxPool2D(2), Dropout(0.1), Dense(3, "softmax"),
        loss="cross_entropy", seed=1, threads=3, kernels=kernels,
    )  # fmt: skip
    made.fit(toy(), epochs=1, batch_size=16, progress=False)
    return made


def digest(*found):
    parts = [
        part.tobytes() if isinstance(part, np.ndarray) else repr(part).encode() for part in found
    ]
    return hashlib.sha256(b"\0".join(parts)).hexdigest()


def fit(made):
    history = made.fit(toy(), epochs=2, batch_size=16, progress=False)
    return made.parameters.values, [record["loss"] for record in history.records]


def save_and_load(made):
    with tempfile.TemporaryDirectory() as folder:
        return [CNN.load(made.save(Path(folder) / "m.safetensors")).scores(toy())]


def onnx(made):
    from glassbox.bridges.onnx import export, import_model

    return [import_model(export(made), kernels=made.kernels.__name__.rpartition(".")[2]
                         .replace("pure_", "")).scores(toy())]  # fmt: skip


def scikit_learn(made):
    from glassbox.bridges.sklearn import CNNClassifier

    found = CNNClassifier(epochs=1, random_state=0).fit(toy().images, toy().labels)
    return [found.predict_proba(toy().images)]


def command_line(made):
    with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(io.StringIO()):
        main(["train", "--dataset", "digits", "--epochs", "1", "--output", folder])
        (run,) = Path(folder).iterdir()
        return [json.loads((run / "metrics.json").read_text())["test"]["accuracy"]]


# A way in: what it gives, of a copy of a trained network.
WAYS = {
    "fit": fit,
    "train_step": lambda made: [made.train_step(toy()), made.parameters.values],
    "predict": lambda made: [made.predict(toy())],
    "predict_proba": lambda made: [made.predict_proba(toy())],
    "scores": lambda made: [made.scores(toy())],
    "evaluate": lambda made: [str(made.evaluate(toy()))],
    "forward": lambda made: [made.forward(np.ones((9, 1, 8, 9)))[0]],
    "activations": lambda made: [array for _, array in made.activations(toy().take(2))],
    "gradient_check": lambda made: [str(made.gradient_check(toy(), quiet=True))],
    "sanity_check": lambda made: [str(made.sanity_check(toy(), 20, 3, quiet=True))],
    "save and load": save_and_load,
    "pickle": lambda made: [pickle.loads(pickle.dumps(made)).scores(toy())],
    "ONNX": onnx,
    "scikit-learn": scikit_learn,
    "command line": command_line,
}
SHORT = ("fit", "predict", "save and load")


def taken(name, made):
    """What a way in gives, in short."""
    return digest(*WAYS[name](made))


def of_a_copy(name, made):
    """The same, which leaves the network as it was."""
    return taken(name, copy.deepcopy(made))


def ways(trust):
    """Those to try."""
    return [*WAYS] if trust.long else SHORT


@pytest.fixture(scope="module")
def tally():
    return Counter()


@pytest.fixture
def count(trust, tally):
    """Adds up over all tests: count(after_use=3)."""

    def add(**numbers):
        tally.update(numbers)
        trust.record("forks", ways=len(WAYS), **tally)

    return add


def test_every_way_in_works_in_a_fork_made_after_use(busy, backend, trust, count):
    made, names = network(backend), ways(trust)
    for name in names:
        expected = of_a_copy(name, made)
        assert in_a_fork(lambda name=name: taken(name, made)) == expected, name
    count(after_use=len(names))


def test_every_way_in_works_in_a_fork_made_during_use(busy, backend, trust, count):
    """Two threads train and predict without a pause while the process forks."""
    made, names, times = network(backend), ways(trust), trust.cases(1, 8)
    expected = {name: of_a_copy(name, made) for name in names}
    done, begun, faults = threading.Event(), threading.Barrier(3), []

    def keep_on(name, take):
        begun.wait(60)
        while not done.is_set():
            if take(name, made) != expected[name]:
                faults.append(name)

    uses = [("fit", of_a_copy), ("predict", taken)]
    threads = [threading.Thread(target=keep_on, args=use) for use in uses]
    for thread in threads:
        thread.start()
    begun.wait(60)
    try:
        for name in names * times:
            assert in_a_fork(lambda name=name: taken(name, made)) == expected[name], name
    finally:
        done.set()
        for thread in threads:
            thread.join(60)
    assert not faults
    count(during_use=len(names) * times)


def small_shards():
    """What `busy` does, in a process of its own."""
    for name in BACKENDS:
        choose(name).SHARD_POLICY = ShardPolicy(2**20, 4, 4, 0)


@pytest.mark.slow
@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_every_way_in_works_in_a_pool_of_processes(
    busy, backend, method, trust, count, monkeypatch
):
    """Whose two workers get the network by pickle, or have it from their parent."""
    monkeypatch.setenv(
        "PYTHONPATH", os.pathsep.join(str(Path(__file__).parents[k]) for k in (0, 1))
    )
    made, names = network(backend), ways(trust)
    expected = {name: of_a_copy(name, made) for name in names}
    pool = multiprocessing.get_context(method).Pool(2, small_shards)
    try:
        found = pool.starmap_async(of_a_copy, [(name, made) for name in names]).get(SECONDS)
    finally:
        pool.terminate()
        pool.join()
    assert dict(zip(names, found, strict=True)) == expected
    count(in_pools=len(names))


class Noted:
    """A lock that tells when a thread comes for it."""

    def __init__(self, lock):
        self.lock, self.wanted, self.release = lock, threading.Event(), lock.release

    def acquire(self):
        self.wanted.set()
        self.lock.acquire()


def test_a_fork_waits_for_a_thread_that_compiles(monkeypatch):
    """Which would hold the compiler's lock in the fork, where it does not exist, for ever."""
    compiler = pytest.importorskip("numba.core.compiler_lock").global_compiler_lock
    network("compiled")
    lock = Noted(compiler._lock)
    entered, done = threading.Event(), threading.Event()
    monkeypatch.setattr(compiler, "_lock", lock)

    def compiles():
        with compiler:
            lock.wanted.clear()
            entered.set()
            lock.wanted.wait(60)  # until the process is about to fork
        done.wait(60)

    def locks():
        with compiler:
            return "free"

    thread = threading.Thread(target=compiles)
    thread.start()
    assert entered.wait(60)
    try:
        assert in_a_fork(locks) == "free"
    finally:
        lock.wanted.set()
        done.set()
        thread.join(60)
