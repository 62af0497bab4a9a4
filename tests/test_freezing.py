"""Freezing layers, and new last layers for other classes."""

import numpy as np
import pytest

from CNN import CNN
from Filters import Conv2D, MaxPool2D, Residual
from glassbox.engine.more_optimizers import Frozen
from MLP import SGD, Adam, BatchNorm, Dense

LABELS = np.arange(40) % 4
IMAGES = np.random.default_rng(0).integers(0, 256, (40, 1, 8, 8), np.uint8)


def network(**settings):
    block = Residual(Conv2D(6, stride=2), BatchNorm())
    layers = Conv2D(4, optimizer=SGD(0.1)), BatchNorm(), block, MaxPool2D(2), Dense(4, "softmax")
    return CNN(*layers, loss="cross_entropy", **settings)


def fit(net, labels=LABELS, **settings):
    return net.fit((IMAGES, labels), epochs=2, batch_size=16, progress=False, **settings)


def arrays(layer):
    return {name: a.copy() for name, a in [*layer.parameters.items(), *layer.buffers.items()]}


def unchanged(before, layer):
    return all((before[name] == a).all() for name, a in arrays(layer).items())


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("eager", [False, True])
@pytest.mark.parametrize("settings", [{}, {"ema_decay": 0.9}])
def test_frozen_layers_keep_every_bit_and_the_others_learn(eager, threads, settings):
    net = network(eager=eager, l2=1e-3, threads=threads)
    fit(net)
    before = [arrays(layer) for layer in net.layers]
    net.freeze("conv1", 1, -3)
    assert "40 frozen" in str(net.summary())
    fit(net, **settings)
    assert [unchanged(*pair) for pair in zip(before, net.layers, strict=True)] == [
        True, True, True, True, False,
    ]  # fmt: skip
    net.unfreeze()
    fit(net)
    assert not any(unchanged(before[k], net.layers[k]) for k in (0, 1, 2))


def test_a_frozen_normalization_uses_its_running_averages():
    net = network().build((1, 8, 8))
    x = IMAGES.astype(np.float32) / 255
    net.layers[1].buffers["running_mean"] = np.full(4, 0.5, np.float32)
    net.freeze(1, 2)
    assert (net.forward(x, training=True)[0] == net.forward(x)[0]).all()
    net.unfreeze(1, 2)
    assert (net.forward(x, training=True)[0] != net.forward(x)[0]).any()


def test_unfrozen_layers_get_their_optimizer_back():
    net = network().build((1, 8, 8))
    own = net.layers[0].optimizer
    net.freeze().freeze()
    assert repr(net.layers[0].optimizer) == "Frozen(SGD(0.1))"
    inner = [*net.layers[2].layers, net.layers[2].shortcut]
    assert all(isinstance(layer.optimizer, Frozen) for layer in (*net.layers, *inner))
    assert net.unfreeze() is net
    assert net.layers[0].optimizer is own
    assert {layer.optimizer for layer in (*net.layers[1:], *inner)} == {None}


@pytest.mark.parametrize("change", ["freeze", "unfreeze"])
def test_what_is_frozen_or_unfrozen_during_a_run_counts_in_the_running_mean(change):
    """Against the mean computed from the weights after each step."""
    net, seen = network().build((1, 8, 8)), []
    if change == "unfreeze":
        net.freeze(0)
    mean = net.parameters.values.astype(np.float64)

    class Steps:
        def after_step(self, record):
            seen.append(net.parameters.values.copy())

        def after_epoch(self, record):
            getattr(net, change)(0)

    fit(net, ema_decay=0.8, callbacks=Steps())
    for number, values in enumerate(seen, 1):
        keep = min(0.8, number / (number + 10))
        mean = keep * mean + (1 - keep) * values
    assert np.abs(mean - values)[: net.layers[0].parameters["weight"].size].max() > 1e-4
    np.testing.assert_allclose(net.parameters.values, mean, rtol=1e-5, atol=1e-6)


def test_files_and_checkpoints_keep_what_is_frozen(tmp_path):
    net = network()
    fit(net)
    net.freeze(0, 2)
    net.save(tmp_path / "net.safetensors")
    loaded = CNN.load(tmp_path / "net.safetensors")
    assert isinstance(loaded.layers[0].optimizer.former, SGD)
    before = [arrays(layer) for layer in loaded.layers]
    fit(loaded)
    assert [unchanged(before[k], loaded.layers[k]) for k in (0, 1, 2)] == [True, False, True]

    whole, half = network().freeze(0), network().freeze(0)
    file = tmp_path / "run.safetensors"
    fit(whole)
    half.fit((IMAGES, LABELS), epochs=2, batch_size=16, progress=False, checkpoint=file,
             callbacks=lambda record: record.epoch == 1)  # fmt: skip
    resumed = network().freeze(0)
    fit(resumed, resume=file)
    assert (resumed.parameters.values == whole.parameters.values).all()


def test_fine_tuning_to_other_classes():
    net = network()
    fit(net)
    before = [arrays(layer) for layer in net.layers]
    net.freeze().replace(-1, Dense(2, "softmax"))
    assert net.classes == ()  # until `fit` brings them
    fit(net, LABELS % 2)
    assert net.classes == ("0", "1")
    assert net.predict(IMAGES).max() <= 1
    assert all(unchanged(before[k], net.layers[k]) for k in range(4))


def test_nothing_to_learn_is_refused_before_the_first_step():
    net = network().freeze()
    with pytest.raises(ValueError, match=r"all layers are frozen, .* see network\.unfreeze"):
        fit(net)
    assert net.steps_done == 0


@pytest.mark.parametrize(
    ("which", "error", "told"),
    [
        ("conv9", KeyError, "no layer is called 'conv9'; there are conv1, norm1, residual1"),
        (5, IndexError, "no layer 5; there are 5, from 0 on"),
        (1.0, TypeError, "expected indices or names of layers, got 1.0"),
    ],
)
def test_what_is_no_layer_is_refused_and_nothing_is_frozen(which, error, told):
    net = network().build((1, 8, 8))
    with pytest.raises(error, match=told):
        net.freeze(0, which)
    assert isinstance(net.layers[0].optimizer, SGD)


@pytest.mark.parametrize("name", ["trainable", "requires_grad"])
def test_switches_of_other_libraries_are_answered(name):
    layer = Dense(3)
    with pytest.raises(AttributeError, match=r"Dense has no .* write network\.freeze"):
        setattr(layer, name, False)
    with pytest.raises(TypeError, match="Frozen: expected an optimizer"):
        Frozen(Adam)
