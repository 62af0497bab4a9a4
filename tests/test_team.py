"""Threads within one kernel call: the same bits on any number, and nobody waits for ever."""

import threading

import numpy as np
import pytest
from test_parallel import in_a_fork, needs_fork

from CNN import CNN
from Filters import Conv2D, MaxPool2D
from glassbox.engine.capture import executor
from glassbox.kernels import recorder
from MLP import SGD, Adadelta, Adam, Dense, Dropout, RMSprop

team = pytest.importorskip("glassbox.kernels.compiled.team", exc_type=ImportError)

OPTIMIZERS = [
    SGD(0.01), SGD(0.01, momentum=0.9), Adam(0.01), RMSprop(0.01), RMSprop(0.01, momentum=0.9),
    Adadelta(),
]  # fmt: skip


@pytest.fixture(autouse=True)
def everything_is_divided(monkeypatch):
    """However small, on as many threads as a test asks for, and however busy the cores are."""
    monkeypatch.setattr(recorder, "LEAST_DIVIDED", 0)
    monkeypatch.setattr(team, "RESTS", 0)
    team.team.cache_clear()
    monkeypatch.setattr(executor, "cores", lambda: 4)


def trained(threads, batch=1, optimizer=None, dtype="float32", steps=11):
    """The weights of a network with every kind of divided call, after some steps."""
    random = np.random.default_rng(0)
    data = random.random((80, 2, 9, 11), np.float32), np.arange(80) % 3
    network = CNN(
        Conv2D(7, 3, stride=2, padding="same", activation="relu"), Conv2D(18, 3), MaxPool2D(2),
        Dropout(0.2), Dense(13), Dense(3),
        seed=1, threads=threads, optimizer=optimizer or SGD(0.01, momentum=0.9), dtype=dtype,
    )  # fmt: skip
    for step in range(steps):
        network.train_step(data, np.arange(step, step + batch))
    return network.parameters.values


def shared_calls(monkeypatch):
    """The list of how many calls helpers were given, which grows."""
    given, helping = [], team.Team.helping

    def watched(self, shares):
        given.append(len(shares[0]))
        return helping(self, shares)

    monkeypatch.setattr(team.Team, "helping", watched)
    return given


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("batch", [1, 3, 16])
def test_threads_within_calls_do_not_change_a_bit(batch, dtype, monkeypatch):
    given = shared_calls(monkeypatch)
    alone = trained(1, batch, dtype=dtype)
    assert not given
    for threads in (2, 3, 4):
        assert trained(threads, batch, dtype=dtype).tobytes() == alone.tobytes()
    assert max(given) >= 6, "the step's convolutions and dense layers are not divided"


@pytest.mark.parametrize("optimizer", OPTIMIZERS, ids=repr)
def test_divided_updates_do_not_change_a_bit(optimizer, monkeypatch):
    given = shared_calls(monkeypatch)
    assert trained(3, optimizer=optimizer).tobytes() == trained(1, optimizer=optimizer).tobytes()
    assert given.count(1) == 7, "an update is one divided call, but in steps that are compared"


def test_small_networks_stay_on_one_thread(monkeypatch):
    monkeypatch.setattr(recorder, "LEAST_DIVIDED", 2**19)
    given = shared_calls(monkeypatch)
    trained(2)
    assert not given


def test_an_update_is_divided_only_where_helpers_are_awake(monkeypatch):
    """Waking one for the update alone would take longer than the update."""
    given = shared_calls(monkeypatch)
    monkeypatch.setattr(recorder, "LEAST_DIVIDED", 2**30)
    data = np.ones((1, 1, 9, 9), np.float32), [0]
    network = CNN(Dense(40, "relu"), Dense(3), seed=1, threads=2)
    network.train_step(data)  # recorded: nothing in it is large enough
    monkeypatch.setattr(recorder, "LEAST_DIVIDED", 0)
    network.train_step(data)
    assert not given


def test_batches_of_several_shards_are_cut_by_samples(monkeypatch):
    given = shared_calls(monkeypatch)
    trained(2, batch=65)
    assert not given


def test_while_another_thread_has_the_team_calls_are_made_alone(monkeypatch):
    alone, given = trained(1), shared_calls(monkeypatch)
    assert team.team(3).acquire()
    try:
        assert trained(3).tobytes() == alone.tobytes()
        assert not given
    finally:
        team.team(3).release()
    assert trained(3).tobytes() == alone.tobytes()
    assert given


def test_two_networks_trained_at_once_do_not_disturb_each_other():
    alone, found = trained(1, steps=40), {}

    def train(k):
        found[k] = trained(2, steps=40)

    threads = [threading.Thread(target=train, args=(k,)) for k in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [found[k].tobytes() == alone.tobytes() for k in range(3)] == [True] * 3


def test_after_an_error_between_calls_nobody_waits(monkeypatch):
    """The calls that were not made are opened to the helpers, and the next replay is whole."""
    alone = trained(1)
    calls, y = [], np.zeros(8, np.float32)
    failing = [False]

    def between():
        if failing[0]:
            raise KeyboardInterrupt

    with recorder.recording(calls):
        for word in (team_fill, None, team_fill):
            if word is None:
                recorder.call(between)
            else:
                recorder.call_divided(word, 1, y)
    replay = team.Replay(calls, 3)
    failing[0] = True
    with pytest.raises(KeyboardInterrupt):
        list(replay.program())
    failing[0], y[:] = False, 0
    list(replay.program())
    assert y.tolist() == [2.0] * 8
    assert trained(3).tobytes() == alone.tobytes()


@team.compiled
def team_fill(turn, y):
    """Add 1 everywhere."""
    first, end = team.begin(turn, len(y))
    for k in range(first, end):
        y[k] += 1
    team.finish(turn)


@needs_fork
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_a_forked_process_has_a_team_of_its_own():
    alone = trained(3)
    assert in_a_fork(lambda: trained(3).tobytes() == alone.tobytes()) == "True"


def test_a_usual_batch_of_a_network_of_rows_is_one_shard_that_threads_divide(monkeypatch):
    """Its weights, and the gradients of theirs, then stay in a core's cache; no bit changes."""
    given, found = shared_calls(monkeypatch), []
    data = np.random.default_rng(0).random((128, 1, 9, 9), np.float32), np.arange(128) % 5
    for threads in (1, 2, 3):
        network = CNN(Dense(37, "relu"), Dense(20, "relu"), Dense(5), seed=1, threads=threads)
        for _ in range(5):
            network.train_step(data)
        found.append(network.parameters.values.tobytes())
    assert found[0] == found[1] == found[2]
    assert max(given) >= 5, "its products are not divided"


def test_after_a_long_wait_the_team_rests(monkeypatch):
    """Others need the cores then: so many programs go alone before it is tried again."""
    monkeypatch.setattr(team, "RESTS", 5)
    own = team.Team(2)
    assert own.acquire()
    with own.helping([[]]):
        own._lines[team.LATE // 8] = 1  # as `_wait` counts it
    own.release()
    assert [own.acquire() for _ in range(team.RESTS)] == [False] * team.RESTS
    assert own.acquire()
