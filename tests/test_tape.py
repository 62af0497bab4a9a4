"""Steps that are played from a tape: the same training as layer by layer, only faster.

Every comparison is with the same network going layer by layer, which the other test files check
against loops, differences and PyTorch.
"""

import copy
import os
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("numba")

from CNN import CNN
from Datasets import Augmentation, Dataset, Scaling
from engine.kernels import DIALECTS, choose
from engine.losses import MSE
from engine.parameters import Parameters
from engine.shapes import Sharing
from engine.step import Recorded, Tapes
from engine.tape import call, play, recording
from Filters import AvgPool2D, Conv2D, GlobalAvgPool2D, MaxPool2D
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


# --- the tape itself -------------------------------------------------------------------------


def test_a_call_is_made_and_noted_only_inside():
    seen, tape = [], []
    call(seen.append, "before")
    with recording(tape):
        call(seen.append, "inside")
        call(seen.extend, ["one", "two"])
    call(seen.append, "behind")
    assert seen == ["before", "inside", "one", "two", "behind"]
    assert len(tape) == 2
    seen.clear()
    play(tape)
    play(tape)
    assert seen == ["inside", "one", "two"] * 2


def test_playing_is_not_recorded_as_more_calls():
    """A tape that grew while it is played would never end."""
    seen, tape, other = [], [], []
    with recording(tape):
        call(seen.append, 1)
    with recording(other):
        play(tape)
    assert seen == [1, 1]
    assert other == []


def in_another_thread(task):
    """task() on a thread of its own, waited for."""
    thread = threading.Thread(target=task)
    thread.start()
    thread.join(60)
    assert not thread.is_alive()


def test_every_thread_has_a_tape_of_its_own():
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
    tape, seen = [], []

    def fails():
        raise RuntimeError("out of memory")

    with pytest.raises(RuntimeError, match="out of memory"), recording(tape):
        call(fails)
    call(seen.append, "later")
    assert seen == ["later"]
    assert tape == []


# --- which tape ------------------------------------------------------------------------------


def test_a_tape_is_lent_to_one_at_a_time():
    tapes, made = Tapes(), []

    def record():
        made.append(object())
        return made[-1]

    with tapes.borrow(4, 8, record) as one:
        with tapes.borrow(4, 8, record) as two:
            assert two is not one
        with tapes.borrow(4, 8, record) as again:
            assert again is two
        with tapes.borrow(4, 7, record) as other_batch, tapes.borrow(3, 8, record) as other_shard:
            assert len({id(tape) for tape in (one, two, other_batch, other_shard)}) == 4
    with tapes.borrow(4, 8, record) as left, tapes.borrow(4, 8, record) as right:
        assert {id(left), id(right)} == {id(one), id(two)}
    assert len(made) == 4
    with pytest.raises(RuntimeError, match="wrong"), tapes.borrow(4, 8, record) as last:
        raise RuntimeError("wrong")
    with tapes.borrow(4, 8, record) as back:
        assert back is last, "an error must not lose a tape"


def test_tapes_of_many_sizes_are_not_kept_for_ever():
    tapes = Tapes()
    for size in range(3 * Tapes.MOST):
        with tapes.borrow(size, size, object):
            pass
    assert len(tapes._idle) <= Tapes.MOST + 1


def test_a_copy_begins_without_tapes():
    """A tape holds the weights that it was recorded with, those of the original."""
    tapes = Tapes()
    with tapes.borrow(4, 8, object):
        tapes.gradient(0, Parameters([], SGD(0.1), 0.0, np.float32))
    twin = copy.deepcopy(tapes)
    assert not twin._idle
    assert not twin._gradients
    assert tapes._idle


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
        Conv2D(3, 3, dilation=2, padding=2, activation=None), AvgPool2D(2, 1, count_padding=False),
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


NETS = pytest.mark.parametrize(
    "net", [squared, entropy, averages, own_optimizers, winograd, dropouts]
)


def toy(count=50, normalise="centre", channels=1, size=(8, 9)):
    """Images of four classes that can be told apart, labels in an order without a pattern."""
    random = np.random.default_rng(count)
    labels = random.integers(0, 4, count)
    images = random.integers(0, 120, (count, channels, *size), np.uint8)
    for label in range(4):
        images[labels == label, :, 2 * label : 2 * label + 2] += 90
    return Dataset(images, labels, CLASSES, Scaling.fit(normalise, images))


def layer_by_layer(network, shape):
    """The same network, kept from tapes."""
    network.build(shape).replays = False
    return network


def steps(network, data, sizes, augment=None):
    """[(loss, right)] of one step for each batch size, on images drawn with a fixed seed."""
    random = np.random.default_rng(1)
    return [
        network.train_step(data, random.permutation(len(data))[:size], augment=augment)
        for size in sizes
    ]


def is_from_tape(network):
    return bool(network._tapes._idle)


def agree(network, other, found, expected):
    """Losses, right answers and weights, but for last digits; one from tapes, one not."""
    assert is_from_tape(network)
    assert not is_from_tape(other)
    np.testing.assert_allclose([f[0] for f in found], [e[0] for e in expected], rtol=1e-6)
    assert [f[1] for f in found] == [e[1] for e in expected]
    assert all(isinstance(right, int) and isinstance(loss, float) for loss, right in found)
    values, wanted = network.parameters.values, other.parameters.values
    np.testing.assert_allclose(values, wanted, rtol=0, atol=2e-6 * np.abs(wanted).max())


USUAL = (16, 16, 16, 2) * 2 + (16, 16)  # ten steps, the last batch of each epoch partial


@NETS
def test_ten_steps_are_those_of_layer_by_layer(net):
    data = toy()
    one, two = net(threads=1), layer_by_layer(net(threads=1), data.shape)
    start = two.parameters.values.copy()
    agree(one, two, steps(one, data, USUAL), steps(two, data, USUAL))
    moved = np.abs(two.parameters.values - start).max()
    assert moved > 0.02, "the comparison means nothing where nothing was learnt"


@NETS
@pytest.mark.parametrize("threads", [1, 2])
def test_steps_of_several_shards_are_those_of_layer_by_layer(net, threads, monkeypatch):
    """Shards of 18 to 20 images; batches of 74 and 73 have shards of both 18 and 19."""
    monkeypatch.setattr(choose("compiled"), "SHARING", Sharing(2**20, 20, 20, 0))
    data, sizes = toy(80), (80, 74, 73, 80, 74, 73)
    one, two = net(threads=threads), layer_by_layer(net(threads=1), data.shape)
    agree(one, two, steps(one, data, sizes), steps(two, data, sizes))
    assert {key for key in one._tapes._idle if key[0] == 18} == {(18, 74), (18, 73)}


@pytest.mark.parametrize("normalise", ["unit", "standard", "none", "per-image", "min-max"])
@pytest.mark.parametrize("channels", [1, 3])
def test_every_normalisation_reaches_the_tape(normalise, channels):
    """Those that a kernel computes, and those that look at each image."""
    data = toy(40, normalise, channels)
    one, two = entropy(threads=1), layer_by_layer(entropy(threads=1), data.shape)
    agree(one, two, steps(one, data, (16, 5, 16)), steps(two, data, (16, 5, 16)))


def test_a_tape_serves_several_data_sets():
    """Bytes scaled in two ways and numbers scaled already, in turn, through the same tapes."""
    random = np.random.default_rng(5)
    floats = random.standard_normal((40, 1, 8, 9)).astype(np.float32)
    sets = [
        toy(40, "unit"), toy(40, "standard"),
        Dataset(floats, np.arange(40) % 4, CLASSES, Scaling("none")), toy(40, "unit"),
    ]  # fmt: skip
    one, two = squared(threads=1), layer_by_layer(squared(threads=1), sets[0].shape)
    found, expected = [
        [step for data in sets for step in steps(network, data, (16, 16))] for network in (one, two)
    ]
    agree(one, two, found, expected)
    assert list(one._tapes._idle) == [(16, 16)]


def test_augmented_images_are_the_same_from_tape():
    """The random numbers belong to the step and the shard, whichever way the step is done."""
    data, augment = toy(), Augmentation(shift=1, rotation=10, erase=0.5)
    one, two = squared(threads=1), layer_by_layer(squared(threads=1), data.shape)
    agree(one, two, steps(one, data, USUAL, augment), steps(two, data, USUAL, augment))
    plain = squared(threads=1)
    assert steps(plain, data, USUAL) != steps(squared(threads=1), data, USUAL, augment)


def test_indices_from_the_end_and_lists():
    """What NumPy takes as places of images."""
    data = toy()
    one, two = squared(threads=1), layer_by_layer(squared(threads=1), data.shape)
    chosen = [[3, -1, -50], np.array([7, 7, -2], np.int32), range(3)]
    found, expected = [[n.train_step(data, where) for where in chosen] for n in (one, two)]
    agree(one, two, found, expected)


def test_the_batch_is_that_of_all_shards(monkeypatch):
    """4 images of 8 and 4 of 7: the same shard, but a gradient over another number of images."""
    monkeypatch.setattr(choose("compiled"), "SHARING", Sharing(2**20, 4, 4, 0))
    data = toy()
    one, two = squared(threads=1), layer_by_layer(squared(threads=1), data.shape)
    for batch in (8, 7, 8):
        agree(one, two, steps(one, data, [batch]), steps(two, data, [batch]))
    assert set(one._tapes._idle) == {(4, 8), (4, 7), (3, 7)}


# --- bits ------------------------------------------------------------------------------------


def learnt(net, dialect, threads):
    """The bytes of the weights and the losses after two epochs, 130 images of 140 in a batch."""
    network = net(threads=threads, kernels=dialect, seed=5)
    history = network.fit(toy(140), epochs=2, batch_size=130, progress=False)
    assert is_from_tape(network) is (dialect == "compiled")
    return network.parameters.values.tobytes(), [record["loss"] for record in history.records]


@pytest.mark.parametrize("dialect", list(DIALECTS))
@pytest.mark.parametrize("net", [squared, own_optimizers, winograd])
def test_same_bits_with_one_two_and_three_threads(net, dialect, monkeypatch):
    """Shards of 32 and 33 images, each of which any thread may take, and a batch of one shard."""
    monkeypatch.setattr(choose(dialect), "SHARING", Sharing(2**20, 32, 64, 0))
    busy, train = set(), Recorded.train

    def spy(tape, *arguments):
        busy.add(threading.current_thread().name)
        return train(tape, *arguments)

    monkeypatch.setattr(Recorded, "train", spy)
    alone = learnt(net, dialect, 1)
    assert busy <= {threading.main_thread().name}
    for threads in (2, 3):
        busy.clear()
        assert learnt(net, dialect, threads) == alone
        assert dialect == "numpy" or any(name.startswith("shard") for name in busy)


def test_a_tape_played_again_gives_the_same_bits():
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


# --- what is not replayed --------------------------------------------------------------------


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


class MyLoss(MSE):
    pass


EAGER = {
    "subclass of dropout": lambda: CNN(MyDropout(0.3), Dense(4)),
    "batch norm": lambda: CNN(BatchNorm(), Dense(4)),
    "global average": lambda: CNN(Conv2D(4), GlobalAvgPool2D()),
    "tanh": lambda: CNN(Dense(4, "tanh")),
    "tanh as a layer": lambda: CNN(Dense(4, None), Tanh()),
    "subclass of Dense": lambda: CNN(Conv2D(2), MyDense(4)),
    "subclass of Conv2D": lambda: CNN(MyConv(2), Dense(4)),
    "subclass of a pool": lambda: CNN(MyPool(2), Dense(4)),
    "subclass of an activation": lambda: CNN(MyReLU(), Dense(4)),
    "carried subclass": lambda: CNN(Conv2D(2, activation=MyReLU()), Dense(4)),
    "activation of one's own": lambda: CNN(Dense(4, Square())),
    "subclass of a loss": lambda: CNN(Dense(4), loss=MyLoss()),
    "numpy": lambda: CNN(Dense(4), kernels="numpy"),
}


@pytest.mark.parametrize("name", EAGER)
def test_what_may_do_more_than_call_kernels_is_not_replayed(name):
    network = EAGER[name]()
    steps(network, toy(), (16, 16))
    assert not network.replays
    assert not is_from_tape(network)


@pytest.mark.parametrize("kind", [Dense, Conv2D, MaxPool2D, ReLU])
def test_a_subclass_is_asked_in_every_step(kind):
    """A layer of one's own may count, print or draw: it must run whenever the network does."""
    seen = []

    class Mine(kind):
        def forward(self, x, run):
            seen.append((run.training, run.step))
            return super().forward(x, run)

    layer = Mine() if kind is ReLU else Mine(4)
    network = CNN(layer, Dense(4), threads=1)
    steps(network, toy(), (16, 16, 16))
    assert seen == [(True, 0), (True, 1), (True, 2)]


def test_usual_networks_are_replayed():
    """So that the test above cannot pass because nothing ever is."""
    for net in (squared, entropy, averages, own_optimizers, winograd, dropouts):
        network = net().build((1, 8, 9))
        assert network.replays


def test_a_large_shard_is_not_recorded(monkeypatch):
    """Its memory is better shared with the other shards."""
    data = toy()
    network = squared(threads=1).build(data.shape)
    work = network._multiply_adds * 16
    monkeypatch.setattr("CNN.MOST_WORK", work - 1)
    steps(network, data, (16,))
    assert not is_from_tape(network)
    monkeypatch.setattr("CNN.MOST_WORK", work)
    steps(network, data, (16,))
    assert is_from_tape(network)


# --- data that asks to be asked --------------------------------------------------------------


class Inverted(Dataset):
    """A data set of one's own, whose batches are not what its bytes say."""

    def batch(self, indices, dtype=np.float32):
        x, labels = super().batch(indices, dtype)
        return 1 - x, labels


def test_a_data_set_of_ones_own_is_asked_for_its_batches():
    given = toy(normalise="unit")
    data = Inverted(given.images, given.labels, given.classes, given.scaling)
    one, two = squared(threads=1), layer_by_layer(squared(threads=1), data.shape)
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
    """As layer by layer; a tape compares labels one by one and would not meet it."""
    data = toy()
    network = CNN(Dense(3), threads=1)
    with pytest.raises((IndexError, ValueError)):
        network.train_step(data, np.arange(16))


@pytest.mark.parametrize("kind", [bool, np.int32, np.uint8])
def test_a_mask_or_other_whole_numbers_choose_images_too(dialect, kind):
    """The batch is what the mask takes, not what it is long; int32 compiles nothing anew."""
    data = toy()
    mask = data.labels < 3
    chosen = mask if kind is bool else np.flatnonzero(mask).astype(kind)
    one, two = [CNN(Dense(10), threads=1, kernels=dialect) for _ in range(2)]
    assert one.train_step(data, chosen) == two.train_step(data, np.flatnonzero(mask))
    assert one.parameters.values.tobytes() == two.parameters.values.tobytes()


# --- twins and restored weights --------------------------------------------------------------


def test_a_twin_does_not_share_tapes():
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


def test_two_networks_of_the_same_recipe_have_their_own_tapes():
    data = toy()
    one, two = squared(threads=1, seed=1), squared(threads=1, seed=2)
    alone = squared(threads=1, seed=2)
    steps(one, data, (16, 16))
    assert steps(two, data, (16, 16)) == steps(alone, data, (16, 16))
    assert two.parameters.values.tobytes() == alone.parameters.values.tobytes()


def test_a_tape_sees_weights_that_were_put_back():
    """`fit` restores the best weights in place; the next step starts from them."""
    data = toy(60)
    random = np.random.default_rng(3)
    checks = Dataset(data.images, random.permutation(data.labels), CLASSES, data.scaling)
    network = squared(threads=1)
    history = network.fit(data, checks, epochs=6, batch_size=20, progress=False)
    assert history.best_epoch < 6, "choose another seed: nothing was restored"
    assert is_from_tape(network)
    shares = [record["validation_accuracy"] for record in history.records]
    assert network.evaluate(checks).accuracy == shares[history.best_epoch - 1] != shares[-1]
    expected = network.evaluate(data.take(20))
    loss, right = network.train_step(data, range(20))
    assert loss / 20 == pytest.approx(expected.loss, rel=1e-5)
    assert right / 20 == expected.accuracy


def test_a_tape_sees_weights_that_were_set_by_hand():
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
def test_use_from_a_tape_is_layer_by_layer_to_the_last_bit(net, images):
    """Also when the weights have moved since the tape was recorded, and in another order."""
    data = toy(count=300)
    if images == "floats":
        data = Dataset(data.batch(np.arange(300))[0].copy(), data.labels, data.classes, NONE)
    if images == "min-max":
        data = Dataset(data.images, data.labels, data.classes, Scaling("min-max"))
    if images == "backwards":  # not in C order: no kernel fetches them
        data = Dataset(data.images[:, :, ::-1], data.labels, data.classes, data.scaling)
    taped, plain = net(threads=2), net(threads=1)
    plain.build(data.shape).replays_use = False
    for _ in range(2):
        assert taped.scores(data).tobytes() == plain.scores(data).tobytes()
        for network in (taped, plain):
            network.parameters.values *= np.float32(1.1)
    assert taped._use_tapes._idle
    assert not plain._use_tapes._idle


def test_float32_images_in_a_float64_network_are_not_left_to_a_kernel():
    data = toy(count=40)
    floats = Dataset(data.batch(np.arange(40))[0].copy(), data.labels, data.classes, NONE)
    network = squared(threads=1, dtype=np.float64)
    assert network.scores(floats).dtype == np.float64
    assert network._use_tapes._idle
    assert not next(iter(network._use_tapes._idle.values()))[0].intake.takes(floats)


NONE = Scaling("none")


def test_a_tape_in_use_gives_answers_of_their_own():
    """Its memory is used again at once: the caller must never hold it."""
    network, data = squared(threads=1), toy(count=100)
    first = network.scores(data.subset(slice(0, 50)))
    kept = first.copy()
    network.scores(data.subset(slice(50, 100)))
    assert np.array_equal(first, kept)


def test_large_networks_use_no_tape(monkeypatch):
    network, data = squared(threads=1), toy(count=40)
    monkeypatch.setattr("CNN.MOST_WORK", 10)
    network.scores(data)
    assert not network._use_tapes._idle
