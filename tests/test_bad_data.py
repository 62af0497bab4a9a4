"""Training on what breaks it: refused before the first step, or stopped with step, layer, advice.

Afterwards the network is as sound as before: no weight, statistic or optimizer holds NaN.
"""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from installed import BACKENDS

from CNN import CNN
from Datasets import Dataset, Scaling, from_arrays
from Filters import Conv2D, MaxPool2D, Residual
from glassbox.data.dataset import NORMALIZATIONS
from glassbox.engine.layer import Context
from glassbox.engine.losses import MSE
from glassbox.engine.step import all_finite
from glassbox.errors import Diverged
from glassbox.kernels.shapes import ShardPolicy
from MLP import SGD, Adam, AdamW, BatchNorm, Dense, Dropout, Identity, OneCycle, RMSprop

ADVICE = r"Try a learning rate ten times smaller \(now .*gradient_check\(\)"


def images(count=24, shape=(1, 6, 5), seed=0):
    return np.random.default_rng(seed).standard_normal((count, *shape)).astype(np.float32)


def labels(count=24, classes=3):
    return np.arange(count) % classes


def dataset(x, y=None, classes=3):
    y = labels(len(x)) if y is None else y
    return Dataset(x, y, tuple(map(str, range(classes))), Scaling("none"))


def network(*layers, **settings):
    layers = layers or (Conv2D(3, 3), MaxPool2D(2), Dense(3, None))
    return CNN(*layers, **{"loss": "cross_entropy", "seed": 1, **settings})


def everything(net):
    """All numbers that a network has, those of its optimizers included."""
    states = [
        group.state[slot] for group in net.parameters.groups for slot in group.optimizer.state_names
    ]
    return [*net.parameters.snapshot(), *states]


def bits(net):
    return [array.tobytes() for array in net.parameters.snapshot()]


def assert_usable(net, data):
    """It answers in finite numbers, and goes on to learn with a sensible rate."""
    assert all(np.isfinite(array).all() for array in everything(net))
    assert np.isfinite(net.predict_proba(data)).all()
    for group in net.parameters.groups:
        group.optimizer = SGD(0.01)
        group.state = group.optimizer.new_state(net.parameters.values[group.where])
    history = net.fit(data, epochs=1, progress=False)
    assert np.isfinite(history.records[0]["loss"])
    assert all(np.isfinite(array).all() for array in everything(net))


# --- pixels ----------------------------------------------------------------------------------


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("role", ["training", "validation"])
@pytest.mark.parametrize("kind", ["pair", "Dataset"])
def test_a_pixel_that_is_no_number_is_told_before_the_first_step(bad, role, kind):
    x = images()
    x[17, 0, 2, 3] = bad
    given = (x, labels()) if kind == "pair" else dataset(x)
    sound = dataset(images())
    net = network().build((1, 6, 5))
    before = bits(net)
    train, checks = (given, sound) if role == "training" else (sound, given)
    with pytest.raises(ValueError, match=r"1 of 24 images hold NaN .* image 17; clean or drop"):
        net.fit(train, checks, epochs=1, progress=False)
    assert bits(net) == before
    assert not net.history.records


def test_a_step_on_a_pixel_that_is_no_number_tells_of_the_images():
    """`train_step` does not look at all images first; the loss tells."""
    x = images()
    x[17, 0, 2, 3] = np.nan
    net = network().build((1, 6, 5))
    before = bits(net)
    with pytest.raises(Diverged, match=r"step 1: the loss .* first shows in the images"):
        net.train_step(dataset(x))
    assert bits(net) == before
    net.train_step(dataset(x), np.arange(10))  # without that image


@pytest.mark.parametrize("bad", [1e39, 1e300, -1e300])
def test_pixels_beyond_float32_are_refused_in_words(bad):
    x = images().astype(np.float64)
    x[3, 0, 0, 0] = bad
    for call in (
        lambda: from_arrays(x, labels()),
        lambda: network().fit((x, labels()), progress=False),
        lambda: network().predict(x),
    ):
        with pytest.raises(ValueError, match=r"NaN,? (or )?infinite"):
            call()


@pytest.mark.parametrize(
    "x",
    [
        images().astype(object),
        images().astype(complex),
        np.full((24, 6, 5), "7"),
        np.full((24, 6, 5), b"7"),
        np.zeros((24, 6, 5), "M8[D]"),
    ],
    ids=["object", "complex", "text", "bytes", "dates"],
)
def test_images_of_a_type_that_is_no_number_are_refused(x):
    with pytest.raises(TypeError, match="expected images of numbers"):
        from_arrays(x, labels())
    with pytest.raises(TypeError, match="expected images of numbers"):
        network().fit((x, labels()), progress=False)


@pytest.mark.parametrize("kind", [bool, np.int8, np.int64, np.uint64, np.float16, np.longdouble])
def test_images_of_any_type_of_number_train(kind):
    x = np.abs(images() * 40).astype(kind)
    history = network().fit(from_arrays(x, labels()).train, epochs=1, progress=False)
    assert np.isfinite(history.records[0]["loss"])


@pytest.mark.parametrize("value", [2**62, -(2**62)])
def test_whole_numbers_far_beyond_any_image_are_refused(value):
    x = np.zeros((24, 6, 5), np.int64)
    x[5, 1, 2] = value
    with pytest.raises(ValueError, match=r"1 pixels are .*beyond 1e\+15.* index \(5, 0, 1, 2\)"):
        from_arrays(x, labels())


@pytest.mark.parametrize("name", NORMALIZATIONS)
@pytest.mark.parametrize("value", [0, 255, 0.1, -7.3, 1e6])
def test_constant_images_train(name, value):
    """There is nothing to learn in them, and no contrast to divide by."""
    kind = np.uint8 if isinstance(value, int) else np.float32
    data = from_arrays(np.full((24, 6, 5), value, kind), labels(), normalize=name)
    x, _ = data.train.batch(np.arange(len(data.train)))
    assert np.isfinite(x).all()
    if name == "none":
        return  # a million is what was asked for
    net = network()
    history = net.fit(data.train, data.validation, epochs=2, progress=False)
    assert all(np.isfinite(record["loss"]) for record in history.records)
    assert_usable(net, data.train)


# --- labels ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("y", "error", "told"),
    [
        (labels() + 0.5, TypeError, r"whole numbers, got float64; write labels.astype\(int\)"),
        (labels().astype(float), TypeError, r"got float64; write labels.astype\(int\)"),
        (np.full(24, np.nan), ValueError, "24 of 24 labels are missing, the first"),
        (np.full(24, "cat"), ValueError, "the data has 1 classes|'cat'.* not among|lie in 0..0"),
        (np.array([*"ab", 2] * 8, object), TypeError, "or hand names to from_arrays"),
        (labels().astype(object), TypeError, "got object"),
        (labels() > 0, TypeError, "got bool"),
        (labels() - 1, ValueError, r"0\.\.2, but 8 do not; the first is -1 at index 0"),
        (labels() + 1, ValueError, r"0\.\.2, but 8 do not; the first is 3 at index 2"),
        (labels() + 2**62, ValueError, r"0\.\.2, but 24 do not"),
        (labels(23), ValueError, r"24 images need as many labels, got labels of shape \(23,\)"),
        (2 * np.eye(3, dtype=int)[labels()], ValueError, r"got labels of shape \(24, 3\)"),
        (np.zeros((24, 1, 1), int), ValueError, r"of shape \(24, 1, 1\)$"),
        (5, ValueError, r"of shape \(\)"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("role", ["training", "validation"])
def test_labels_that_are_none_are_refused_with_advice(y, error, told, role):
    net, sound = network(), (images(), labels())
    train, checks = ((images(), y), sound) if role == "training" else (sound, (images(), y))
    with pytest.raises(error, match=told):
        net.fit(train, checks, progress=False)
    assert not net.history.records


@pytest.mark.parametrize(
    ("y", "told"),
    [
        (labels() + 0.5, "labels must be whole numbers"),
        (2 * np.eye(3)[labels()], r"expected labels \(samples,\) or one-hot rows, got"),
        (labels() - 1, "got -1 at index 0"),
        (labels() * 40_000, "got 80000 at index 2"),
        (labels(23), "24 images need as many labels"),
    ],
)
def test_labels_for_from_arrays(y, told):
    with pytest.raises((TypeError, ValueError), match=told):
        from_arrays(images(), y)


@pytest.mark.parametrize("y", [labels().astype(float), labels().astype(str), labels()[:, None]])
def test_whole_floats_names_and_columns_are_labels_for_from_arrays(y):
    data = from_arrays(images(), y, sizes=(24, 0), stratify=False)
    assert np.bincount(data.train.labels).tolist() == [8, 8, 8]


def test_a_huge_label_is_refused_before_its_classes_are_counted():
    """Where the last layer does not say how many classes there are, the labels must."""
    net = CNN(Dense(3), Identity())
    with pytest.raises(ValueError, match=r"labels must lie in 0\.\.65535, got 1000000000000"):
        net.fit((images(), labels() * 0 + 10**12), progress=False)


@pytest.mark.parametrize("loss", ["mse", "cross_entropy"])
def test_one_class_only(loss):
    """Learnt at once, with an output for that class or for others too."""
    for units in (1, 3):
        last = Dense(units, "softmax" if loss == "cross_entropy" else "sigmoid")
        net = CNN(Dense(4), last, loss=loss, optimizer=Adam(0.01), seed=1)
        history = net.fit((images(), np.zeros(24, int)), epochs=20, progress=False)
        assert history.records[-1]["accuracy"] == 1.0
        assert history.records[-1]["loss"] <= history.records[0]["loss"]
        assert_usable(net, dataset(images(), np.zeros(24, int), units))
    data = from_arrays(images(), ["cat"] * 24)
    assert data.classes == ("cat",)


@pytest.mark.parametrize("y", [[], np.zeros(0, int), np.zeros((0, 3), int)])
def test_an_empty_set_is_told_of(y):
    with pytest.raises(ValueError, match="empty"):
        network().fit((images(0), y), progress=False)
    with pytest.raises(ValueError, match="no images"):
        from_arrays(images(0), y)
    with pytest.raises(ValueError, match="empty"):
        network().evaluate(dataset(images(0), np.zeros(0, int)))


def test_an_empty_validation_set_is_none():
    history = network().fit(
        dataset(images()), dataset(images(0), np.zeros(0, int)), epochs=1, progress=False
    )
    assert "validation_loss" not in history.records[0]


# --- rates that explode ----------------------------------------------------------------------

EXPLODING = [
    SGD(1e6),
    SGD(1e30),
    SGD(1e300),
    SGD(1e6, momentum=0.9),
    Adam(1e30),
    AdamW(1e20),
    RMSprop(1e30),
]
NETWORKS = {
    "cross-entropy": lambda: {"layers": [Conv2D(3, 3), MaxPool2D(2), Dense(3, None)]},
    "mse": lambda: {"layers": [Conv2D(3, 3), Dense(3, None)], "loss": "mse"},
    "batch normalization": lambda: {
        "layers": [Conv2D(3, activation=None), BatchNorm(), Conv2D(2), BatchNorm(), Dense(3, None)]
    },
    "residual": lambda: {"layers": [Residual(Conv2D(2), BatchNorm(), Conv2D(2)), Dense(3, None)]},
    "dropout": lambda: {"layers": [Dense(8, "relu"), Dropout(0.3), Dense(3, None)]},
}


@pytest.fixture
def busy(monkeypatch):
    """Shards of few images that go to threads however little work they are."""
    from glassbox.kernels import choose

    for name in BACKENDS:
        monkeypatch.setattr(choose(name), "SHARD_POLICY", ShardPolicy(2**20, 4, 4, 0))


@pytest.mark.parametrize("optimizer", EXPLODING, ids=repr)
@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("batch", [1, 12])
def test_a_rate_that_explodes_ends_in_words_or_in_finite_numbers(
    busy, backend, name, batch, optimizer
):
    """Never NaN that nobody mentions; with the same words on any number of threads."""
    told = set()
    for threads in (1, 2, 3) if batch > 1 else (1,):  # an image alone is one shard
        made = NETWORKS[name]()
        net = network(
            *made.pop("layers"), optimizer=optimizer, kernels=backend, threads=threads, **made
        )
        try:
            history = net.fit((images(), labels()), epochs=8, batch_size=batch, progress=False)
            assert all(np.isfinite(record["loss"]) for record in history.records)
            told.add("nothing")
        except Diverged as error:
            told.add(str(error))
            assert net.history.ended.startswith("diverged in epoch ")
        assert_usable(net, dataset(images()))
    assert len(told) == 1


@pytest.mark.parametrize("name", NETWORKS)
def test_the_words_name_step_layer_and_advice(backend, name):
    """At such a rate every one of them breaks, and some layer is the first."""
    made = NETWORKS[name]()
    net = network(*made.pop("layers"), optimizer=SGD(1e30), kernels=backend, **made)
    message = rf"^step \d+: .* not .*finite.*; it first shows in the \w+(\.\w+)? of \w+ '.*{ADVICE}"
    with pytest.raises(Diverged, match=message):
        net.fit((images(), labels()), epochs=20, batch_size=12, progress=False)
    assert_usable(net, dataset(images()))


def test_sigmoids_hide_large_weights_but_not_infinite_ones(backend):
    """MSE behind sigmoids is bounded: weights may be huge and useless, yet every number is finite.

    Where they overflow, sigmoid(inf) = 1 would keep the loss finite: the weights are looked at.
    """

    def layers():
        return [Dense(4, "sigmoid"), Dense(3, "sigmoid")]

    net = CNN(*layers(), loss="mse", optimizer=SGD(1e6), seed=1, kernels=backend)
    history = net.fit((images(), labels()), epochs=5, progress=False)
    assert all(np.isfinite(record["loss"]) for record in history.records)
    assert_usable(net, dataset(images()))
    net = CNN(*layers(), loss="mse", optimizer=SGD(3e38), l2=1.0, seed=1, kernels=backend)
    with pytest.raises(Diverged, match=r"it left numbers .*the weight of Dense 'dense1'"):
        net.fit((images(), labels()), epochs=5, progress=False)
    assert_usable(net, dataset(images()))


class Explode(OneCycle):
    """A usual rate for some epochs, then one that no network survives."""

    def __init__(self, epochs):
        super().__init__(0.1)
        self.epochs = epochs

    def at(self, moment):
        return 0.05 if moment.count("epoch") < self.epochs else 1e37


@pytest.mark.parametrize("validated", [True, False])
@pytest.mark.parametrize("ema_decay", [0.0, 0.9])
def test_what_was_learnt_before_comes_back(backend, validated, ema_decay):
    """The best epoch's weights; without validation those of the last whole one."""

    def trained(epochs, rate):
        net = network(
            Conv2D(3, 3), BatchNorm(), Dense(3, None), optimizer=SGD(rate, momentum=0.9),
            kernels=backend,
        )  # fmt: skip
        checks = dataset(images(12, seed=5)) if validated else None
        try:
            net.fit(
                dataset(images()), checks, epochs=epochs, batch_size=8, ema_decay=ema_decay,
                progress=False,
            )  # fmt: skip
        except Diverged:
            assert net.history.ended == "diverged in epoch 3"
            assert len(net.history.records) == 2
        return net

    broken = trained(6, Explode(2))
    if validated or not ema_decay:  # a mean is put in place at the end of a run that ends well
        assert bits(broken) == bits(trained(2, Explode(2)))
    assert_usable(broken, dataset(images()))


def test_the_first_weights_come_back_where_no_epoch_was_whole(backend):
    net = network(optimizer=SGD(1e37), kernels=backend).build((1, 6, 5))
    before = bits(net)
    with pytest.raises(Diverged):
        net.fit((images(), labels()), epochs=3, batch_size=4, progress=False)
    assert bits(net) == before
    assert_usable(net, dataset(images()))


@pytest.mark.parametrize("threads", [1, 3])
def test_weights_that_overflow_in_a_step_are_told_of_by_that_step(busy, backend, threads):
    """The loss of the step was finite: it is known before the weights move."""
    net = network(optimizer=SGD(3e38), kernels=backend, threads=threads).build((1, 6, 5))
    data = dataset(1e4 * images())
    with pytest.raises(Diverged, match=rf"step 1: it left numbers .*weight of Conv2D .*{ADVICE}"):
        net.train_step(data)
    assert np.isfinite(net.build((1, 6, 5)).loss.forward(np.zeros((3, 1)), np.array([0]))[0])


@pytest.mark.parametrize("slot", ["mean", "square"])
def test_an_optimizer_state_that_is_nan_is_told_of_and_forgotten(backend, slot):
    net = network(optimizer=Adam(0.01), kernels=backend).build((1, 6, 5))
    before = bits(net)
    net.parameters.groups[0].state[slot][3] = np.nan
    with pytest.raises(Diverged, match=r"step 1: it left numbers that are not finite.*the weight "):
        net.fit((images(), labels()), epochs=1, progress=False)
    assert bits(net) == before
    assert_usable(net, dataset(images()))


def test_weights_that_are_nan_from_the_start_are_named(backend):
    net = network(kernels=backend).build((1, 6, 5))
    net.layers[-1].parameters["bias"][1] = np.nan
    with pytest.raises(Diverged, match=r"step 1: the loss .*the bias of Dense 'dense1'"):
        net.train_step(dataset(images()))


def test_running_statistics_that_overflow_are_told_of(backend):
    """The variance of 1e20 is infinite in float32; dividing by it would hide the explosion."""
    net = network(Conv2D(2, 1, activation=None), BatchNorm(), Dense(3, None), kernels=backend)
    net.build((1, 6, 5)).layers[0].parameters["weight"][...] = 1e25
    before = bits(net)
    with pytest.raises(Diverged, match=r"step 1: .*running_var of BatchNorm 'norm1'"):
        net.fit((images(), labels()), epochs=1, progress=False)
    assert bits(net) == before


def test_a_validation_loss_that_is_not_finite_stops_the_run(backend):
    """Finite outputs on training images, and none on others a thousand billion times as bright."""
    net = network(Dense(4, None), Dense(3, None), loss="mse", kernels=backend).build((1, 6, 5))
    for layer in net.layers:
        layer.parameters["weight"] *= 1e5
    before = bits(net)
    message = r"the validation loss is not .*the output of Dense 'dense2'"
    with pytest.raises(Diverged, match=message):
        net.fit(dataset(images()), dataset(1e30 * images()), epochs=2, progress=False)
    assert bits(net) == before
    assert net.history.ended == "diverged in epoch 1"


def test_no_warning_of_numpy_comes_before_the_words(recwarn):
    warnings.simplefilter("always")
    for name, make in NETWORKS.items():
        made = make()
        net = network(*made.pop("layers"), optimizer=SGD(1e30), kernels="numpy", **made)
        with pytest.raises(Diverged):
            net.fit((images(), labels()), (images(), labels()), epochs=20, progress=False)
        assert not [each for each in recwarn if issubclass(each.category, RuntimeWarning)], name


def test_an_l2_factor_beyond_float32_is_told_of_by_the_first_step(backend):
    net = network(l2=1e300, kernels=backend)
    with pytest.raises(Diverged, match="step 1: it left numbers"):
        net.fit((images(), labels()), epochs=1, progress=False)
    assert all(np.isfinite(array).all() for array in everything(net))


def test_a_loss_of_ones_own_that_is_nan_is_told_of():
    class Broken(MSE):
        def forward(self, outputs, labels):
            losses, cache = super().forward(outputs, labels)
            return losses * np.nan, cache

    with pytest.raises(Diverged, match=r"step 1: the loss is not .* first shows in the loss"):
        network(loss=Broken()).fit((images(), labels()), progress=False)


def test_large_but_finite_weights_are_no_divergence():
    """Their squares overflow, which the quick look must not take for an end."""
    net = network(Dense(3, None)).build((1, 6, 5))
    net.parameters.values[...] = 1e30
    assert all_finite([net.parameters.values])
    net.parameters.values[7] = np.inf
    assert not all_finite([net.parameters.values])
    net.parameters.values[7] = np.nan
    assert not all_finite([net.parameters.values])
    assert net.layers[0].forward(np.ones((30, 1), np.float32), Context())[0].shape == (3, 1)
