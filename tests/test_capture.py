"""Captured steps: the same training as layer by layer, only faster.

Every comparison is with the same network run eagerly, which the other test files check against
loops, differences and PyTorch.
"""

import gc
import os
import subprocess
import sys
import threading
import warnings
import weakref
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("numba")

from CNN import CNN
from Datasets import Augmentation, Dataset, Scaling
from Filters import AvgPool2D, Conv2D, GlobalAvgPool2D, MaxPool2D, Residual
from glassbox.engine.capture.captured import Capture, CapturePool
from glassbox.engine.losses import MSE
from glassbox.engine.more_layers import LogSoftmax
from glassbox.kernels import BACKENDS, choose
from glassbox.kernels.recorder import (
    call,
    record,
    recording,
    redirect,
    replay,
    replay_program,
    stretches,
)
from glassbox.kernels.shapes import ShardPolicy
from MLP import (
    SGD,
    Activation,
    Adam,
    BatchNorm,
    Dense,
    Dropout,
    Flatten,
    Identity,
    LeakyReLU,
    ReLU,
    RMSprop,
    Sigmoid,
    Tanh,
)

ROOT = Path(__file__).resolve().parent.parent
CLASSES = tuple("abcd")


# --- the capture itself -------------------------------------------------------------------------


def test_a_call_is_made_and_noted_only_inside():
    seen, calls = [], []
    call(seen.append, "before")
    with recording(calls):
        call(seen.append, "inside")
        call(seen.extend, ["one", "two"])
    call(seen.append, "behind")
    assert seen == ["before", "inside", "one", "two", "behind"]
    assert len(calls) == 2
    seen.clear()
    replay(calls)
    replay(calls)
    assert seen == ["inside", "one", "two"] * 2


def test_a_program_is_recorded_with_its_pauses():
    """What it yields goes out again at the same places, and the sum comes back."""
    x, doubled, shifted = np.ones(2), np.empty(2), np.empty(2)

    def program():
        call(np.multiply, x, 2.0, doubled)
        total = yield doubled
        call(np.add, total, 1.0, shifted)
        return "done"

    calls = []
    assert record(program(), calls) == "done"
    assert shifted.tolist() == [3, 3]  # the only shard: its own array is the sum
    x[:] = 5, 7
    again = replay_program(stretches(calls))
    assert next(again).tolist() == [10, 14]
    with pytest.raises(StopIteration):
        again.send(np.array([100.0, 200.0]))
    assert shifted.tolist() == [101, 201]


def test_playing_is_not_recorded_as_more_calls():
    """A capture that grew while it is played would never end."""
    seen, calls, other = [], [], []
    with recording(calls):
        call(seen.append, 1)
    with recording(other):
        replay(calls)
    assert seen == [1, 1]
    assert other == []


def in_another_thread(task):
    """task() on a thread of its own, waited for."""
    thread = threading.Thread(target=task)
    thread.start()
    thread.join(60)
    assert not thread.is_alive()


def test_every_thread_has_a_capture_of_its_own():
    """Two threads record different shards at the same time."""
    seen, here, there = [], [], []

    def task():
        call(seen.append, "not recorded")
        with recording(there):
            call(seen.append, "there")
            call(seen.append, "there too")

    with recording(here):
        call(seen.append, "here")
        in_another_thread(task)
        call(seen.append, "here again")
    assert seen == ["here", "not recorded", "there", "there too", "here again"]
    assert [noted.args for noted in here] == [("here",), ("here again",)]
    assert [noted.args for noted in there] == [("there",), ("there too",)]


def test_an_error_ends_the_recording():
    """Else a later, innocent call would be noted, its arrays kept for ever."""
    calls, seen = [], []

    def fails():
        raise RuntimeError("out of memory")

    with pytest.raises(RuntimeError, match="out of memory"), recording(calls):
        call(fails)
    call(seen.append, "later")
    assert seen == ["later"]
    assert calls == []


def test_redirected_calls_work_on_other_memory():
    """Views of what was moved, with an offset and strides of their own; nothing else moves."""
    old, new, apart = np.zeros((3, 4)), np.zeros((3, 4)), np.zeros(4)
    calls = []
    with recording(calls):
        call(np.copyto, old[1:, ::2], 1.0)
        call(np.copyto, old.reshape(-1)[:1], 2.0)
        call(np.add, old[0], 5.0, apart)
    old[...] = 0
    replay(redirect(calls, [(old, new)]))
    assert not old.any()
    assert new.tolist() == [[2, 0, 0, 0], [1, 0, 1, 0], [1, 0, 1, 0]]
    assert apart.tolist() == [7, 5, 5, 5]


# --- which capture ---------------------------------------------------------------------------


class Item:
    """In a capture's place."""

    def __init__(self, size=0):
        self.size = size

    def bytes(self):
        return self.size


def test_a_capture_is_lent_to_one_at_a_time():
    pool, made = CapturePool(), []

    def make(samples, batch):
        made.append(Item())
        return made[-1]

    with pool.acquire(4, 8, make) as one:
        with pool.acquire(4, 8, make) as two:
            assert two is not one
        with pool.acquire(4, 8, make) as again:
            assert again is two
        with pool.acquire(4, 7, make) as other_batch, pool.acquire(3, 8, make) as other_shard:
            assert len({id(item) for item in (one, two, other_batch, other_shard)}) == 4
    with pool.acquire(4, 8, make) as left, pool.acquire(4, 8, make) as right:
        assert {id(left), id(right)} == {id(one), id(two)}
    assert len(made) == 4
    with pytest.raises(RuntimeError, match="wrong"), pool.acquire(4, 8, make) as last:
        raise RuntimeError("wrong")
    with pool.acquire(4, 8, make) as back:
        assert back is last, "an error must not lose a capture"


def test_captures_of_many_sizes_are_not_kept_for_ever():
    pool = CapturePool()
    for size in range(3 * CapturePool.MOST):
        with pool.acquire(size, size, lambda samples, batch: Item()):
            pass
    assert len(pool._idle) <= CapturePool.MOST + 1


def test_large_captures_of_other_sizes_are_forgotten():
    pool = CapturePool()
    for size in range(5):
        with pool.acquire(size, 1, lambda samples, batch: Item(CapturePool.MOST_BYTES // 2)):
            pass
        assert len(pool._idle) <= 2
    assert list(pool._idle)[-1] == (4, 1)


# --- networks --------------------------------------------------------------------------------


def squared(**settings):
    layers = [Conv2D(6, 3), MaxPool2D(2), Dense(12), Dense(4)]
    return CNN(*layers, optimizer=SGD(0.5, momentum=0.9), **settings)


def entropy(**settings):
    return CNN(
        Conv2D(5, 3, activation="relu"), MaxPool2D(3, 2, padding=1), Dense(12, "relu"),
        Dense(4, "softmax"), loss="cross_entropy", label_smoothing=0.1, l2=0.02,
        optimizer=SGD(0.05), **settings,
    )  # fmt: skip


def averages(**settings):
    return CNN(
        Conv2D(4, (2, 3), stride=(1, 2), padding="valid", activation="sigmoid", bias=False),
        AvgPool2D(2, padding=1), Identity(), LeakyReLU(0.2), Sigmoid(),
        Conv2D(3, 3, dilation=2, padding=2, activation=None), 
        AvgPool2D(2, 1, count_include_pad=False),
        Flatten(), ReLU(), Dense(4, None, bias=False),
        loss="cross_entropy", optimizer=SGD(0.5), **settings,
    )  # fmt: skip


def own_optimizers(**settings):
    """Epsilons so large that a gradient of nearly 0 is not blown up, rounding and all."""
    return CNN(
        Conv2D(6, 3, optimizer=Adam(0.01, epsilon=1e-2), l2=0.03), MaxPool2D(2),
        Dense(12, optimizer=RMSprop(0.01, epsilon=1e-2)), Dense(4), optimizer=SGD(0.1), **settings,
    )  # fmt: skip


def dropouts(**settings):
    return CNN(
        Dropout(0.1), Conv2D(5, 3), MaxPool2D(2), Dropout(0.3), Dense(12), Dropout(0.5), Dense(4),
        optimizer=SGD(0.2), **settings,
    )  # fmt: skip


def winograd(**settings):
    layers = [Conv2D(16, 3), Conv2D(32, 3), Conv2D(16, 3), MaxPool2D(2), Dense(4)]
    return CNN(*layers, optimizer=SGD(0.2), **settings)


def normalized(**settings):
    return CNN(
        BatchNorm(), Conv2D(6, 3, activation=None, bias=False), BatchNorm(0.3), ReLU(),
        Conv2D(4, 3), MaxPool2D(2), Dense(12, None), BatchNorm(epsilon=0.1), Tanh(),
        Dense(4, "softmax"),
        loss="cross_entropy", l2=0.02, optimizer=SGD(0.05, momentum=0.9), **settings,
    )  # fmt: skip


def frozen(**settings):
    """The normalization in the block goes by the batch, the others by their running averages."""
    return blocks(**settings).build((1, 8, 9)).freeze("norm1", 5)


def blocks(**settings):
    inside = Residual(Conv2D(8, activation="relu6"), Dropout(0.1), activation=None)
    return CNN(
        Conv2D(5, 3), MaxPool2D(2), BatchNorm(),
        Residual(Conv2D(8, stride=2, activation=None), BatchNorm(), ReLU(), inside, BatchNorm()),
        Residual(Conv2D(8), activation="tanh"), BatchNorm(), GlobalAvgPool2D(), Dense(6),
        LogSoftmax(), Dense(4), optimizer=SGD(0.2), **settings,
    )  # fmt: skip


ALL = [
    squared, entropy, averages, own_optimizers, winograd, dropouts, normalized, blocks, frozen
]  # fmt: skip
NETS = pytest.mark.parametrize("net", ALL)


def toy(count=50, normalize="center", channels=1, size=(8, 9)):
    """Images of four classes that can be told apart, labels in an order without a pattern."""
    random = np.random.default_rng(count)
    labels = random.integers(0, 4, count)
    images = random.integers(0, 120, (count, channels, *size), np.uint8)
    for label in range(4):
        images[labels == label, :, 2 * label : 2 * label + 2] += 90
    return Dataset(images, labels, CLASSES, Scaling.fit(normalize, images))


def eagerly(network, shape):
    """The same network, run as written."""
    network.eager = True
    return network.build(shape)


def steps(network, data, sizes, augment=None):
    """[(loss, right)] of one step for each batch size, on images drawn with a fixed seed."""
    random = np.random.default_rng(1)
    return [
        network.train_step(data, random.permutation(len(data))[:size], augment=augment)
        for size in sizes
    ]


def captures(network):
    """The captures of its training steps; none where it runs eagerly."""
    captured = getattr(network.executor, "captured", None)
    return captured.training._idle if captured is not None else {}


def is_captured(network):
    return bool(captures(network))


def agree(network, other, found, expected):
    """Losses, right answers and weights, but for last digits; one captured, one eager."""
    assert is_captured(network)
    assert not is_captured(other)
    np.testing.assert_allclose([f[0] for f in found], [e[0] for e in expected], rtol=1e-6)
    assert [f[1] for f in found] == [e[1] for e in expected]
    assert all(isinstance(right, int) and isinstance(loss, float) for loss, right in found)
    pairs = zip(network.parameters.snapshot(), other.parameters.snapshot(), strict=True)
    for values, wanted in pairs:
        np.testing.assert_allclose(values, wanted, rtol=0, atol=2e-6 * np.abs(wanted).max())


USUAL = (16, 16, 16, 2) * 2 + (16, 16)  # ten steps, the last batch of each epoch partial


@NETS
def test_ten_steps_are_those_of_eager(net):
    data = toy()
    one, two = net(threads=1), eagerly(net(threads=1), data.shape)
    start = two.parameters.values.copy()
    agree(one, two, steps(one, data, USUAL), steps(two, data, USUAL))
    moved = np.abs(two.parameters.values - start).max()
    assert moved > 0.02, "the comparison means nothing where nothing was learnt"


@NETS
@pytest.mark.parametrize("threads", [1, 2])
def test_steps_of_several_shards_are_those_of_eagerly(net, threads, monkeypatch):
    """Shards of 18 to 20 images; batches of 74 and 73 have shards of both 18 and 19."""
    monkeypatch.setattr(choose("compiled"), "SHARD_POLICY", ShardPolicy(2**20, 20, 20, 0))
    data, sizes = toy(80), (80, 74, 73, 80, 74, 73)
    one, two = net(threads=threads), eagerly(net(threads=1), data.shape)
    agree(one, two, steps(one, data, sizes), steps(two, data, sizes))
    assert {key for key in captures(one) if key[0] == 18} == {(18, 74), (18, 73)}


@pytest.mark.parametrize("normalize", ["unit", "standard", "none", "per-image", "min-max"])
@pytest.mark.parametrize("channels", [1, 3])
def test_every_normalization_reaches_the_capture(normalize, channels):
    """Those that a kernel computes, and those that look at each image."""
    data = toy(40, normalize, channels)
    one, two = entropy(threads=1), eagerly(entropy(threads=1), data.shape)
    agree(one, two, steps(one, data, (16, 5, 16)), steps(two, data, (16, 5, 16)))


def test_a_capture_serves_several_data_sets():
    """Bytes scaled in two ways and numbers scaled already, in turn, through the same captures."""
    random = np.random.default_rng(5)
    floats = random.standard_normal((40, 1, 8, 9)).astype(np.float32)
    sets = [
        toy(40, "unit"), toy(40, "standard"),
        Dataset(floats, np.arange(40) % 4, CLASSES, Scaling("none")), toy(40, "unit"),
    ]  # fmt: skip
    one, two = squared(threads=1), eagerly(squared(threads=1), sets[0].shape)
    found, expected = [
        [step for data in sets for step in steps(network, data, (16, 16))] for network in (one, two)
    ]
    agree(one, two, found, expected)
    assert list(captures(one)) == [(16, 16)]


def test_augmented_images_are_the_same_captured():
    """The random numbers belong to the step and the shard, whichever way the step is done."""
    data, augment = toy(), Augmentation(shift=1, rotation=10, erase=0.5)
    one, two = squared(threads=1), eagerly(squared(threads=1), data.shape)
    agree(one, two, steps(one, data, USUAL, augment), steps(two, data, USUAL, augment))
    plain = squared(threads=1)
    assert steps(plain, data, USUAL) != steps(squared(threads=1), data, USUAL, augment)


def test_indices_from_the_end_and_lists():
    """What NumPy takes as places of images."""
    data = toy()
    one, two = squared(threads=1), eagerly(squared(threads=1), data.shape)
    chosen = [[3, -1, -50], np.array([7, 7, -2], np.int32), range(3)]
    found, expected = [[n.train_step(data, where) for where in chosen] for n in (one, two)]
    agree(one, two, found, expected)


def test_the_batch_is_that_of_all_shards(monkeypatch):
    """4 images of 8 and 4 of 7: the same shard, but a gradient over another number of images."""
    monkeypatch.setattr(choose("compiled"), "SHARD_POLICY", ShardPolicy(2**20, 4, 4, 0))
    data = toy()
    one, two = squared(threads=1), eagerly(squared(threads=1), data.shape)
    for batch in (8, 7, 8):
        agree(one, two, steps(one, data, [batch]), steps(two, data, [batch]))
    assert set(captures(one)) == {(4, 8), (4, 7), (3, 7)}


# --- bits ------------------------------------------------------------------------------------


def learnt(net, backend, threads):
    """The bytes of all numbers and the losses after two epochs, 130 images of 140 in a batch."""
    network = net(threads=threads, kernels=backend, seed=5)
    history = network.fit(toy(140), epochs=2, batch_size=130, progress=False)
    assert is_captured(network)
    numbers = b"".join(array.tobytes() for array in network.parameters.snapshot())
    return numbers, [record["loss"] for record in history.records]


@pytest.mark.parametrize("backend", list(BACKENDS))
@pytest.mark.parametrize("net", [squared, own_optimizers, winograd, normalized, blocks, frozen])
def test_same_bits_with_one_two_and_three_threads(net, backend, monkeypatch):
    """Shards of 32 and 33 images, each of which any thread may take, and a batch of one shard."""
    monkeypatch.setattr(choose(backend), "SHARD_POLICY", ShardPolicy(2**20, 32, 64, 0))
    busy, train = set(), Capture.train_program

    def spy(capture, *arguments):
        busy.add(threading.current_thread().name)
        return train(capture, *arguments)

    monkeypatch.setattr(Capture, "train_program", spy)
    alone = learnt(net, backend, 1)
    assert busy <= {threading.main_thread().name}
    for threads in (2, 3):
        busy.clear()
        assert learnt(net, backend, threads) == alone
        assert backend == "numpy" or any(name.startswith("shard") for name in busy)


def test_a_capture_played_again_gives_the_same_bits():
    """Nothing of the last pass is left in its arrays."""
    data = toy()
    network = entropy(threads=1).build(data.shape)
    first = network.parameters.values.copy()
    results = []
    for indices in (range(16), range(16, 32), range(16)):
        network.parameters.values[...] = first
        results.append((*network.train_step(data, indices), network.parameters.values.tobytes()))
    assert results[0] == results[2]
    assert results[0] != results[1]


# --- what runs as written between recorded layers --------------------------------------------


class MyDense(Dense):
    """A subclass that changes nothing; nobody can know that."""


class MyConv(Conv2D):
    pass


class MyPool(MaxPool2D):
    pass


class MyReLU(ReLU):
    pass


class Square(Activation):
    word = "square"

    def apply(self, z):
        return np.abs(z, out=z)

    def gradient(self, dy, y):
        return dy * np.sign(y)


class MyDropout(Dropout):
    pass


class MyNorm(BatchNorm):
    pass


class MyBlock(Residual):
    pass


class MyLoss(MSE):
    pass


AS_WRITTEN = {
    "subclass of dropout": (lambda: CNN(MyDropout(0.3), Dense(4)), ["dropout1"]),
    "subclass of batch norm": (lambda: CNN(Dense(8), MyNorm(), Dense(4)), ["norm1"]),
    "subclass of a block": (lambda: CNN(MyBlock(Conv2D(2)), BatchNorm(), Dense(4)), ["residual1"]),
    "in a block": (lambda: CNN(Residual(Residual(MyConv(2))), Dense(4)), ["residual1"]),
    "carried in a block": (
        lambda: CNN(Residual(Conv2D(2), activation=MyReLU()), Dense(4)),
        ["residual1"],
    ),
    "subclass of Dense": (lambda: CNN(Conv2D(2), MyDense(4)), ["dense1"]),
    "subclass of Conv2D": (lambda: CNN(MyConv(2), Dense(4)), ["conv1"]),
    "subclass of a pool": (lambda: CNN(Conv2D(3), MyPool(2), Dense(4)), ["pool1"]),
    "subclass of an activation": (lambda: CNN(MyReLU(), Dense(4)), ["relu1"]),
    "carried subclass": (lambda: CNN(Conv2D(2, activation=MyReLU()), Dense(4)), ["conv1"]),
    "activation of one's own": (lambda: CNN(Conv2D(2), Dense(4, Square())), ["dense1"]),
    "subclass of a loss": (lambda: CNN(Conv2D(2), Dense(4), loss=MyLoss()), []),
    "two in a row": (lambda: CNN(MyConv(2), MyPool(2), Dense(4)), ["conv1", "pool1"]),
}


@pytest.mark.parametrize("name", AS_WRITTEN)
def test_only_what_is_not_shipped_runs_as_written(name, backend):
    make, as_written = AS_WRITTEN[name]
    one, two = make(), make()
    one.kernels = two.kernels = choose(backend)
    eagerly(two, (1, 8, 9))
    found, expected = (steps(network, toy(), (16, 16, 7, 16)) for network in (one, two))
    if one.mode == "captured":
        assert [layer.name for layer in one.executor.captured.as_written] == as_written
        agree(one, two, found, expected)
    else:
        assert backend == "numpy"
        assert found == expected


@pytest.mark.parametrize("kind", [Dense, Conv2D, MaxPool2D, ReLU])
def test_a_subclass_is_asked_in_every_step(kind):
    """A layer of one's own may count, print or draw: it must run whenever the network does."""
    seen = []

    class Mine(kind):
        def forward(self, x, context):
            seen.append((context.training, context.step))
            return super().forward(x, context)

    layer = Mine() if kind is ReLU else Mine(4)
    network = CNN(layer, Dense(4), threads=1)
    steps(network, toy(), (16, 16, 16))
    assert seen == [(True, 0), (True, 1), (True, 2)]


def test_what_a_layer_keeps_of_its_input_stays_as_it_was():
    """Recorded arrays are written again in each step; a layer of one's own gets copies."""

    class Keeps(Dense):
        def __init__(self):
            super().__init__(6)
            self.seen = []

        def forward(self, x, context):
            self.seen.append((x, x.copy()))
            return super().forward(x, context)

        def backward(self, dy, cache):
            self.seen.append((dy, dy.copy()))
            return super().backward(dy, cache)

    layer = Keeps()
    network = CNN(Dense(5), layer, Dense(4), threads=1)
    steps(network, toy(), (16, 16, 16))
    assert len(layer.seen) == 6
    assert all(np.array_equal(kept, then) for kept, then in layer.seen)


def test_usual_networks_are_recorded_whole():
    """So that the tests above cannot pass because nothing ever is."""
    for net in ALL:
        network = net().build((1, 8, 9))
        assert network.executor.captured.loss_is_recorded
        assert not network.executor.captured.as_written


# --- data that asks to be asked --------------------------------------------------------------


class Inverted(Dataset):
    """A data set of one's own, whose batches are not what its bytes say."""

    def batch(self, indices, dtype=np.float32):
        x, labels = super().batch(indices, dtype)
        return 1 - x, labels


def test_a_data_set_of_ones_own_is_asked_for_its_batches():
    given = toy(normalize="unit")
    data = Inverted(given.images, given.labels, given.classes, given.scaling)
    one, two = squared(threads=1), eagerly(squared(threads=1), data.shape)
    agree(one, two, steps(one, data, (16, 16)), steps(two, data, (16, 16)))


OUTSIDE = """
import numpy as np
from CNN import CNN
from MLP import Dense
data = np.zeros((9, 1, 4, 4), np.uint8), np.arange(9) % 3
network = CNN(Dense(3), threads=1)
for wrong in (9, -10, 10**12, -10**12):
    for indices in ([0, 1, 2], [0, 1, wrong]):
        try:
            network.train_step(data, indices)
        except IndexError:
            print(wrong)
"""


def test_an_index_outside_the_data_is_an_error(tmp_path):
    """And not a look into other memory, which ends the process: hence one of its own."""
    done = subprocess.run(
        [sys.executable, "-c", OUTSIDE], env={**os.environ, "PYTHONPATH": str(ROOT)}, cwd=tmp_path,
        capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == 0, f"ended by signal {-done.returncode}"
    assert done.stdout.split() == ["9", "-10", str(10**12), str(-(10**12))]


def test_a_label_without_an_output_is_an_error():
    """As layer by layer; a capture compares labels one by one and would not meet it."""
    data = toy()
    network = CNN(Dense(3), threads=1)
    with pytest.raises((IndexError, ValueError)):
        network.train_step(data, np.arange(16))


@pytest.mark.parametrize("kind", [bool, np.int32, np.uint8])
def test_a_mask_or_other_whole_numbers_choose_images_too(backend, kind):
    """The batch is what the mask takes, not what it is long; int32 compiles nothing anew."""
    data = toy()
    mask = data.labels < 3
    chosen = mask if kind is bool else np.flatnonzero(mask).astype(kind)
    one, two = [CNN(Dense(10), threads=1, kernels=backend) for _ in range(2)]
    assert one.train_step(data, chosen) == two.train_step(data, np.flatnonzero(mask))
    assert one.parameters.values.tobytes() == two.parameters.values.tobytes()


# --- twins and restored weights --------------------------------------------------------------


def test_a_twin_does_not_share_captures():
    """A sanity check in the middle of a training leaves no trace in it, and learns itself."""
    data = toy()
    one, two = squared(threads=1), squared(threads=1)
    for network in (one, two):
        steps(network, data, (3, 16))  # the check's batches are of 3, too
    before = one.parameters.values.tobytes()
    report = one.sanity_check(data, images=30, epochs=40, quiet=True)
    assert report.loss < 0.5 * report.first_loss
    assert one.parameters.values.tobytes() == before
    assert steps(one, data, USUAL) == steps(two, data, USUAL)
    assert one.parameters.values.tobytes() == two.parameters.values.tobytes()


def test_two_networks_of_the_same_recipe_have_their_own_captures():
    data = toy()
    one, two = squared(threads=1, seed=1), squared(threads=1, seed=2)
    alone = squared(threads=1, seed=2)
    steps(one, data, (16, 16))
    assert steps(two, data, (16, 16)) == steps(alone, data, (16, 16))
    assert two.parameters.values.tobytes() == alone.parameters.values.tobytes()


def test_a_capture_sees_weights_that_were_put_back():
    """`fit` restores the best weights in place; the next step starts from them."""
    data = toy(60)
    random = np.random.default_rng(3)
    checks = Dataset(data.images, random.permutation(data.labels), CLASSES, data.scaling)
    network = squared(threads=1)
    history = network.fit(data, checks, epochs=6, batch_size=20, progress=False)
    assert history.best_epoch < 6, "choose another seed: nothing was restored"
    assert is_captured(network)
    shares = [record["validation_accuracy"] for record in history.records]
    assert network.evaluate(checks).accuracy == shares[history.best_epoch - 1] != shares[-1]
    expected = network.evaluate(data.take(20))
    loss, right = network.train_step(data, range(20))
    assert loss / 20 == pytest.approx(expected.loss, rel=1e-5)
    assert right / 20 == expected.accuracy


def test_a_capture_sees_weights_that_were_set_by_hand():
    data = toy()
    network = entropy(threads=1)
    steps(network, data, (20,))
    network.parameters.values *= 0.5
    penalty = network.parameters.penalty()
    expected = network.evaluate(data.take(20)).loss - penalty
    assert network.train_step(data, range(20))[0] / 20 == pytest.approx(expected, rel=1e-5)


# --- in use ----------------------------------------------------------------------------------


@NETS
@pytest.mark.parametrize("images", ["bytes", "floats", "min-max", "backwards"])
def test_use_from_a_capture_is_layer_by_layer(net, images):
    """Also when the weights have moved since the capture was recorded, and in another order.

    To the last bit, unless a normalization is folded into the weights before it, which rounds.
    """
    data = toy(count=300)
    if images == "floats":
        data = Dataset(data.batch(np.arange(300))[0].copy(), data.labels, data.classes, NONE)
    if images == "min-max":
        data = Dataset(data.images, data.labels, data.classes, Scaling("min-max"))
    if images == "backwards":  # not in C order: no kernel fetches them
        data = Dataset(data.images[:, :, ::-1], data.labels, data.classes, data.scaling)
    fast, plain = net(threads=2), eagerly(net(threads=1), data.shape)
    for _ in range(2):
        found, expected = fast.scores(data), plain.scores(data)
        if net in (normalized, blocks, frozen):
            np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)
        else:
            assert found.tobytes() == expected.tobytes()
        for network in (fast, plain):
            network.parameters.values *= np.float32(1.1)
    assert fast.executor.captured.inference._idle
    assert plain.mode == "eager"


def test_float32_images_in_a_float64_network_are_not_left_to_a_kernel():
    data = toy(count=40)
    floats = Dataset(data.batch(np.arange(40))[0].copy(), data.labels, data.classes, NONE)
    network = squared(threads=1, dtype=np.float64)
    assert network.scores(floats).dtype == np.float64
    assert network.executor.captured.fetch.constants(floats) is None


NONE = Scaling("none")


def test_a_capture_in_use_gives_answers_of_their_own():
    """Its memory is used again at once: the caller must never hold it."""
    network, data = squared(threads=1), toy(count=100)
    first = network.scores(data.subset(slice(0, 50)))
    kept = first.copy()
    network.scores(data.subset(slice(50, 100)))
    assert np.array_equal(first, kept)


def test_a_network_that_is_let_go_is_freed_at_once():
    """No circle of references: the captures' arrays must not wait for the garbage collector."""
    network = squared(threads=1)
    steps(network, toy(), (16, 16))
    network.scores(toy())
    captured = weakref.ref(network.executor.captured)
    gc.disable()
    try:
        del network
        assert captured() is None
    finally:
        gc.enable()


@pytest.mark.parametrize("seed", range(3))
def test_a_loss_near_zero_is_no_fault(seed):
    """One image by heart: the loss is a small difference of large numbers, which were rounded."""
    network = CNN(
        Dense(10, None), loss="cross_entropy", optimizer=SGD(0.5), seed=seed, kernels="compiled"
    )
    image = np.random.default_rng(seed).random((1, 1, 8, 8), np.float32)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        losses = [network.train_step((image, np.array([3])))[0] for _ in range(70)]
    assert losses[-1] < 1e-3 * losses[0]
    assert network.assembly.captured.loss_is_recorded
