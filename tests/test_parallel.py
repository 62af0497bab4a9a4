"""Shards and one tree: the same bits on any number of threads, and sums in one fixed order."""

import itertools
import os
import signal
import threading

import numpy as np
import pytest
from installed import BACKENDS
from threadpoolctl import ThreadpoolController

from CNN import CNN
from Datasets import Augmentation, from_arrays
from Filters import Conv2D, MaxPool2D
from glassbox.engine.layer import BuildContext, Context
from glassbox.engine.parallel import (
    MOST_AT_INFERENCE,
    VECTOR,
    Workers,
    inference_slices,
    shard_slices,
    tree_sum,
)
from glassbox.engine.synced import backward_program, forward_program, run_programs
from glassbox.kernels import choose
from glassbox.kernels.shapes import ShardPolicy
from MLP import BatchNorm, Dense, Dropout, Identity

# --- the tree --------------------------------------------------------------------------------


def vectors(*numbers):
    return [np.array([number], np.float32) for number in numbers]


def test_tree_sum_adds_in_pairs():
    """In float32, 1e8 swallows a 3: so every order of adding gives another sum.

    In pairs: (1e8 + 3) + (-1e8 + 3) = 1e8 + -1e8 = 0 (a step at 1e8 is 8 wide, 3 is less than
    half).  One by one: ((1e8 + 3) - 1e8) + 3 = 3.
    """
    assert tree_sum(vectors(1e8, 3, -1e8, 3)).item() == 0
    assert tree_sum(vectors(1e8, -1e8, 3, 3)).item() == 6


@pytest.mark.parametrize("count", [1, 2, 3, 4, 5, 6, 7, 8, 16, 33])
def test_tree_sum_equals_the_tree_written_out(count):
    """Numbers of very different sizes; compared bit by bit with a tree that halves from the top."""
    random = np.random.default_rng(count)
    numbers = random.standard_normal((count, 5)) * 10.0 ** random.integers(-4, 5, (count, 1))
    numbers = numbers.astype(np.float32)

    def tree(low, high):
        if high - low == 1:
            return numbers[low]
        half = 1
        while 2 * half < high - low:
            half *= 2  # the left side is always a whole power of two
        return tree(low, low + half) + tree(low + half, high)

    expected = tree(0, count)
    assert tree_sum(list(numbers.copy())).tobytes() == expected.tobytes()


def test_tree_sum_of_four_is_not_the_running_sum():
    """So that the test above is known to tell one order from another."""
    random = np.random.default_rng(4)
    arrays = [random.standard_normal(1000).astype(np.float32) for _ in range(8)]
    running = arrays[0].copy()
    for array in arrays[1:]:
        running += array
    assert tree_sum([array.copy() for array in arrays]).tobytes() != running.tobytes()


# --- shards ----------------------------------------------------------------------------------

SHARD_POLICY = ShardPolicy(cache_bytes=2**20, smallest=32, largest=64, least_work=0)


@pytest.mark.parametrize("sample_bytes", [1, 2**10, 2**16, 2**18, 2**24])
def test_shards_cover_the_batch_in_a_power_of_two(sample_bytes):
    for batch in [*range(1, 140), 1000, 1024, 4097]:
        cuts = shard_slices(batch, sample_bytes, SHARD_POLICY)
        assert [k for cut in cuts for k in range(batch)[cut]] == list(range(batch))
        assert len(cuts) & (len(cuts) - 1) == 0
        sizes = [cut.stop - cut.start for cut in cuts]
        assert min(sizes) >= 1
        assert max(sizes) - min(sizes) <= 1
        assert max(sizes) <= SHARD_POLICY.largest


def test_shards_by_hand():
    """1 MiB holds 64 samples of 16 KiB and 32 of 32 KiB; never fewer than 32, or more than 64."""
    assert SHARD_POLICY.cache_bytes == 2**20
    assert len(shard_slices(128, 2**14, SHARD_POLICY)) == 2
    assert len(shard_slices(128, 2**15, SHARD_POLICY)) == 4
    assert len(shard_slices(128, 2**16, SHARD_POLICY)) == 4
    assert len(shard_slices(128, 2**24, SHARD_POLICY)) == 4
    assert len(shard_slices(256, 1, SHARD_POLICY)) == 4
    assert shard_slices(3, 2**24, SHARD_POLICY) == (slice(0, 3),)
    assert shard_slices(65, 1, SHARD_POLICY) == (slice(0, 32), slice(32, 65))


def test_a_network_of_rows_alone_has_larger_shards():
    """Threads divide its products; a network with volumes is cut by samples."""
    policy = SHARD_POLICY._replace(largest_of_rows=128)
    assert policy.of([(128,), (10,)]).largest == 128
    assert policy.of([(8, 26, 26), (10,)]).largest == SHARD_POLICY.of([(10,)]).largest == 64


def test_shards_of_a_network_do_not_depend_on_its_threads(monkeypatch):
    seen = []
    original = shard_slices

    def spy(*arguments):
        seen.append(arguments)
        return original(*arguments)

    monkeypatch.setattr("glassbox.engine.step.shard_slices", spy)
    for threads in (1, 2, 3):
        network = CNN(Dense(2), threads=threads)
        network.train_step((np.zeros((70, 1, 4, 4), np.float32), np.arange(70) % 2))
    assert len(seen) == 3
    assert len(set(seen)) == 1


# --- threads ---------------------------------------------------------------------------------


class Witness(Identity):
    """Passes everything on and writes down which threads came by."""

    def __init__(self):
        super().__init__(name="witness")
        self.seen = set()

    def forward(self, x, context):
        if context.training:
            self.seen.add(threading.current_thread().name)
        return super().forward(x, context)


@pytest.fixture
def busy(monkeypatch):
    """Shards of few images that go to threads however little work they are."""
    for name in BACKENDS:
        monkeypatch.setattr(choose(name), "SHARD_POLICY", ShardPolicy(2**20, 4, 4, 0))


def toy(count=50):
    random = np.random.default_rng(0)
    images = random.integers(0, 256, (count, 1, 8, 9), np.uint8)
    labels = np.arange(count) % 3
    return from_arrays(images, labels, sizes=(count - 10, 5, 5)).train


def train(threads, augment=None, seed=3, synced=True, epochs=2):
    """The bytes of everything that a small network has learnt, and the threads that taught it."""
    witness = Witness()
    layers = [
        Conv2D(3, 3), *([BatchNorm()] if synced else []), witness, MaxPool2D(2), Dropout(0.3),
        Dense(8, activation="tanh"), Dense(3),
    ]  # fmt: skip
    network = CNN(*layers, threads=threads, seed=seed)
    history = network.fit(toy(), epochs=epochs, batch_size=16, augment=augment, progress=False)
    learnt = [array.tobytes() for array in network.parameters.snapshot()]
    return learnt, [record["loss"] for record in history.records], witness.seen


@pytest.mark.parametrize("synced", [True, False], ids=["batch norm", "no batch norm"])
@pytest.mark.parametrize(
    "augment", [None, Augmentation(shift=1, rotation=10, erase=0.5)], ids=["plain", "augmented"]
)
def test_same_bits_with_one_two_and_three_threads(busy, augment, synced):
    """40 images in batches of 16, 16 and 8: four or two shards each, the last one partial."""
    learnt, losses, seen = train(1, augment, synced=synced)
    assert seen == {threading.main_thread().name}
    for threads in (2, 3):
        others, other_losses, others_seen = train(threads, augment, synced=synced)
        assert any(name.startswith("shard") for name in others_seen)
        assert 2 <= len(others_seen) <= threads
        assert others == learnt
        assert other_losses == losses


def test_threads_work_side_by_side(busy):
    """Two shards that wait for each other only end where two threads are inside at once."""
    barrier = threading.Barrier(2, timeout=60)

    class Meeting(Identity):
        def forward(self, x, context):
            barrier.wait()
            return super().forward(x, context)

    network = CNN(Meeting(), Dense(2), threads=2)
    network.train_step((np.zeros((8, 1, 2, 2), np.float32), np.arange(8) % 2))


def test_other_seeds_and_augmentation_give_other_bits(busy):
    """So that equal bits mean something."""
    augment = Augmentation(shift=1)
    runs = [train(2), train(2, seed=4), train(2, augment), train(2, augment, seed=4)]
    assert len({context[0][0] for context in runs}) == 4
    assert train(2, augment)[0] == runs[2][0]


def test_little_work_stays_on_the_calling_thread():
    """The threshold itself: the small network above is not worth a second thread."""
    _, _, seen = train(2, epochs=1)
    assert seen == {threading.main_thread().name}


def test_prediction_is_the_same_on_any_number_of_threads(busy):
    data = toy()
    found = []
    for threads in (1, 2, 3):
        network = CNN(Conv2D(3), BatchNorm(), Dense(3), threads=threads, seed=1)
        found.append(network.scores(data, batch_size=7).tobytes())
    assert len(set(found)) == 1


# --- the threads of BLAS, which belong to the process ----------------------------------------


BLAS = ThreadpoolController().select(user_api="blas")  # NumPy's; others are loaded later


def blas_threads():
    return [each["num_threads"] for each in BLAS.info()]


@pytest.mark.skipif(not blas_threads(), reason="threadpoolctl does not know this BLAS")
def test_overlapping_uses_leave_blas_as_it_was():
    """One of two enters first and leaves first: the other is still limited, then nobody is."""
    with BLAS.limit(limits=3):
        before = blas_threads()
        assert max(before) > 1
        one, two = Workers().serial_blas(), Workers().serial_blas()
        one.__enter__()
        two.__enter__()
        one.__exit__(None, None, None)
        assert max(blas_threads()) == 1
        two.__exit__(None, None, None)
        assert blas_threads() == before


@pytest.mark.skipif(not blas_threads(), reason="threadpoolctl does not know this BLAS")
def test_two_threads_in_one_network_are_both_limited():
    """Each in turn, by events: the first leaves while the second is inside."""
    workers, entered, left, seen = Workers(), threading.Event(), threading.Event(), []

    def second():
        with workers.serial_blas():
            entered.set()
            left.wait(60)
            seen.extend(blas_threads())

    with BLAS.limit(limits=3):
        thread = threading.Thread(target=second)
        with workers.serial_blas():
            thread.start()
            assert entered.wait(60)
        left.set()
        thread.join(60)
        assert max(seen) == 1
        assert max(blas_threads()) == 3


# --- forked processes ------------------------------------------------------------------------

needs_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="only where processes fork")


def in_a_fork(task):
    """What task() returns, as text, in a forked process that has 20 seconds."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            signal.alarm(20)  # what hangs dies
            os.write(writing, str(task()).encode())
        finally:
            os._exit(0)
    os.close(writing)
    with open(reading, "rb") as pipe:
        said = pipe.read().decode()
    assert os.waitpid(child, 0)[1] == 0, "it hung"
    return said


@needs_fork
def test_a_network_works_in_a_process_forked_after_use(busy):
    """The pool's threads do not exist there: the fork makes its own, and takes the same step."""
    network = CNN(Conv2D(3), Dense(3), threads=3, seed=1)
    network.train_step(toy())
    forked = in_a_fork(lambda: network.train_step(toy()))
    assert forked == str(network.train_step(toy()))


@needs_fork
@pytest.mark.skipif(not blas_threads(), reason="threadpoolctl does not know this BLAS")
def test_a_fork_does_not_wait_for_the_other_threads_of_its_parent():
    """A thread that is inside while the process forks is not in the fork, and limits nothing."""
    entered, done = threading.Event(), threading.Event()

    def other():
        with Workers().serial_blas():
            entered.set()
            done.wait(60)

    def limited():
        with Workers().serial_blas():
            during = blas_threads()
        return max(during), max(blas_threads())

    with BLAS.limit(limits=3):
        thread = threading.Thread(target=other)
        thread.start()
        assert entered.wait(60)
        said = in_a_fork(limited)
        done.set()
        thread.join(60)
    assert said == "(1, 3)"


# --- mistakes inside a shard -----------------------------------------------------------------


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("where", ["forward", "backward"])
@pytest.mark.parametrize("synced", [True, False])
def test_exception_inside_a_shard_reaches_the_caller(busy, threads, where, synced):
    """From whichever shard, before or behind a layer that waits for all of them."""

    class Faulty(Identity):
        def forward(self, x, context):
            if where == "forward" and context.shard == 1:
                raise RuntimeError("the wheel came off")
            y, _ = super().forward(x, context)
            return y, context.shard

        def backward(self, dy, cache):
            if where == "backward" and cache == 1:
                raise RuntimeError("the wheel came off")
            return dy, {}

    data = np.zeros((8, 1, 2, 2), np.float32), np.arange(8) % 2
    norms = [BatchNorm()] if synced else []
    network = CNN(Dense(3), *norms, Faulty(), Dense(2), threads=threads).build((1, 2, 2))
    before = network.parameters.values.copy()
    with pytest.raises(RuntimeError, match="the wheel came off"):
        network.train_step(data)
    assert np.array_equal(network.parameters.values, before), "half a step was taken"


def test_two_threads_may_not_train_one_network_at_once():
    """The second is refused in words, and changes nothing; afterwards it may."""
    entered, done, said = threading.Event(), threading.Event(), []

    class Waiting(Identity):
        def forward(self, x, context):
            if context.training and not entered.is_set():
                entered.set()
                assert done.wait(60)
            return super().forward(x, context)

    network, other = CNN(Waiting(), Dense(3), seed=1), CNN(Waiting(), Dense(3), seed=1)
    first = threading.Thread(target=lambda: network.train_step(toy()))
    first.start()
    assert entered.wait(60)
    for train in (network.train_step, lambda data: network.fit(data, epochs=1, progress=False)):
        try:
            train(toy())
        except RuntimeError as error:
            said.append(str(error))
    predicted = network.predict(toy())
    done.set()
    first.join(60)
    assert ["another thread is training" in words for words in said] == [True, True]
    assert len(predicted) == len(toy())
    other.train_step(toy())
    assert network.parameters.values.tobytes() == other.parameters.values.tobytes()
    network.fit(toy(), epochs=1, progress=False)


@pytest.mark.parametrize("threads", [1025, 10**9, 10**400])
def test_threads_have_a_largest_number(threads):
    """A list as long as a billion, or a thousand million threads, would end the machine first."""
    with pytest.raises(ValueError, match="threads: expected at most 1024, got 10") as caught:
        Workers(threads)
    assert len(str(caught.value)) < 200


@pytest.mark.parametrize(
    ("threads", "error"), [(0, ValueError), (-1, ValueError), (1.5, TypeError)]
)
def test_threads_must_be_a_number(threads, error):
    with pytest.raises(error, match="threads: expected"):
        Workers(threads)


def test_threads_by_default_are_those_of_the_machine():
    assert Workers().threads >= 1
    assert Workers(3).threads == 3


# --- layers that couple the shards -----------------------------------------------------------


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("cuts", [[0, 12], [0, 6, 12], [0, 5, 12], [0, 3, 6, 9, 12], [0, 1, 12]])
@pytest.mark.parametrize("shape", [(3,), (3, 2, 4)])
def test_statistics_of_a_batch_in_shards_are_those_of_the_whole(shape, cuts, threads):
    """Two normalizations in a row: outputs, running averages and all gradients agree."""
    random = np.random.default_rng(8)
    x, dy = 2 + 3 * random.standard_normal((2, *shape, 12))
    context = BuildContext(random, np.dtype(np.float64), choose())
    layers = [BatchNorm(name="one"), BatchNorm(name="two", epsilon=0.5)]
    for layer in layers:
        layer.build(shape, context)
        layer.parameters["weight"][...] = random.normal(1, 0.3, 3)

    def program(part, shard):
        y, caches = yield from forward_program(
            layers, x[..., part], Context(True, shard=shard, batch=12)
        )
        dx, gradients = yield from backward_program(layers, dy[..., part], caches)
        return y, dx, gradients, caches

    def results(edges):
        parts = [slice(a, b) for a, b in itertools.pairwise(edges)]
        programs = [program(part, k) for k, part in enumerate(parts)]
        found = run_programs(Workers(threads).map, programs)
        outputs = [np.concatenate([each[k] for each in found], axis=-1) for k in (0, 1)]
        for k in range(2):
            for name in ("weight", "bias"):
                outputs.append(sum(each[2][k][name] for each in found))
            for layer_memory in [each[3][k] for each in found]:
                assert np.array_equal(layer_memory[1], found[0][3][k][1])  # one mean for all shards
            outputs += [found[0][3][k][1], found[0][3][k][2]]
        return outputs

    for one, two in zip(results([0, 12]), results(cuts), strict=True):
        np.testing.assert_allclose(two, one, rtol=1e-10, atol=1e-12)
    rows = x.reshape(3, -1)
    mean, variance = results(cuts)[4:6]
    np.testing.assert_allclose(mean, rows.mean(axis=1), rtol=1e-12)
    np.testing.assert_allclose(variance, rows.var(axis=1), rtol=1e-12)


@pytest.mark.parametrize("offset", [0.0, 1e3, 1e4])
def test_a_mean_far_from_0_costs_no_digits(offset, backend):
    """float32 in three shards beside the formula in float64; the last channel is constant."""
    random = np.random.default_rng(8)
    x = (offset + random.standard_normal((3, 4, 4, 60))).astype(np.float32)
    x[2], dy = offset, random.standard_normal(x.shape).astype(np.float32)
    layer = BatchNorm()
    layer.build(x.shape[:-1], BuildContext(random, np.dtype(np.float32), choose(backend)))

    def program(part):
        y, cache = yield from layer.forward_program(x[..., part], Context(True, batch=60))
        dx, gradients = yield from layer.backward_program(dy[..., part], cache)
        return y, dx, gradients["weight"]

    parts = run_programs(map, [program(slice(at, at + 20)) for at in (0, 20, 40)])
    y, dx, scales = zip(*parts, strict=True)
    rows, given = x.reshape(3, -1).astype(np.float64), dy.reshape(3, -1).astype(np.float64)
    std = np.sqrt(rows.var(axis=1, keepdims=True) + layer.epsilon)
    xhat = (rows - rows.mean(axis=1, keepdims=True)) / std
    share = xhat * (given * xhat).mean(axis=1, keepdims=True)
    expected = (given - given.mean(axis=1, keepdims=True) - share) / std
    for found, exact in ((y, xhat), (dx, expected)):
        found = np.concatenate(found, axis=-1).reshape(3, -1)
        size = np.abs(exact).max(axis=1, keepdims=True).clip(1)
        assert np.abs((found - exact) / size).max() < 1e-5
    np.testing.assert_allclose(sum(scales), (given * xhat).sum(axis=1), rtol=1e-4, atol=1e-3)


# A whole step with batch normalization in shards against PyTorch: test_against_pytorch.py.


@pytest.mark.parametrize("threads", [1, 2])
def test_gradient_of_shards_is_that_of_the_whole_batch(monkeypatch, threads):
    """Losses and gradients of four shards add up to those of one."""
    random = np.random.default_rng(9)
    data = random.standard_normal((16, 2, 5, 6)).astype(np.float32), np.arange(16) % 3

    def step(shard):
        monkeypatch.setattr(choose(), "SHARD_POLICY", ShardPolicy(2**20, shard, shard, 0))
        network = CNN(
            Conv2D(3, 3), MaxPool2D(2), Dense(3), threads=threads, dtype=np.float64, optimizer="sgd"
        )
        return network.train_step(data), network.parameters.values

    (whole, right), values = step(16)
    (parts, right_too), values_too = step(4)
    assert parts == pytest.approx(whole, rel=1e-12)
    assert right == right_too
    np.testing.assert_allclose(values_too, values, rtol=1e-10, atol=1e-13)


def test_no_thread_is_left_at_work_behind_an_error():
    """The calling thread fails first; the other one's share is still waited for."""
    begun, failed, done = threading.Event(), threading.Event(), []

    def task(item):
        if item == "the caller's":
            begun.wait()
            failed.set()
            raise RuntimeError("the caller's share fails")
        begun.set()
        failed.wait()
        done.append(sum(range(1_000_000)))  # long enough to be overtaken, if nobody waited

    with pytest.raises(RuntimeError, match="share fails"):
        Workers(2).map(task, ["the other's", "the caller's"])
    assert done


@pytest.mark.parametrize("sample_bytes", [1, 2**13, 2**16, 2**24])
def test_pieces_in_use_cover_all_samples_in_whole_vectors(sample_bytes):
    for count in [*range(1, 140), 1000, 1024, 4097]:
        cuts = inference_slices(count, sample_bytes, SHARD_POLICY)
        assert [k for cut in cuts for k in range(count)[cut]] == list(range(count))
        assert all((cut.stop - cut.start) % VECTOR == 0 for cut in cuts[:-1])
        assert max(cut.stop - cut.start for cut in cuts) <= MOST_AT_INFERENCE
    assert inference_slices(0, sample_bytes, SHARD_POLICY) == []
