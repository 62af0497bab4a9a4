"""Looking inside a network: all maps, filters switched off, and that nothing of it changes."""

import copy

import numpy as np
import pytest

from CNN import CNN
from Datasets import Digits
from Filters import AvgPool2D, Conv2D, GlobalAvgPool2D, MaxPool2D, Residual
from glassbox.engine.context import Context
from glassbox.explain import (
    accuracy_without,
    activations_with,
    gradients_with,
    nodes,
    predict_with,
)
from MLP import BatchNorm, Dense, Dropout, Flatten, LeakyReLU, Softmax

RNG = np.random.default_rng


def blocks(**settings):
    """A network with a block inside a block, a projection, and every kind of layer around them."""
    inner = Residual(Conv2D(4, 3, activation="tanh"), activation=None)
    return CNN(
        Conv2D(4, 3, stride=2), BatchNorm(), Residual(inner, BatchNorm(), LeakyReLU(0.2)),
        Residual(Conv2D(6, 3, stride=2), Dropout(0.5), Conv2D(6, 1, activation=None)),
        AvgPool2D(2, padding=1), MaxPool2D(2), Flatten(), Dense(5, activation="softmax"),
        **settings,
    )  # fmt: skip


def trained(network, shape=(2, 13, 11), classes=5, seed=0):
    """Built, with a few steps behind it, so that nothing is 0 or 1 by chance."""
    rng = RNG(seed)
    images = rng.integers(0, 256, (12, *shape), np.uint8)
    for _ in range(2):
        network.train_step((images, np.arange(12) % classes))
    return network, images


def state(network):
    """Everything that training and answers depend on."""
    arrays = [network.parameters.values, *network.parameters.buffers]
    groups = [group.state for group in network.parameters.groups]
    arrays += [value for own in groups for value in own.values() if isinstance(value, np.ndarray)]
    flags = [each.layer.needs_input_gradient for each in nodes(network)]
    return [array.tobytes() for array in arrays], flags, network.steps_done, network.mode


def test_the_last_map_of_one_image_stays_what_the_loss_sees():
    """The softmax that the loss takes over works in place."""
    network, images = trained(blocks(loss="cross_entropy"))
    found = activations_with(network, images[0])
    assert np.array_equal(found.maps["7"], network.activations(images[:1])[-1][1])
    assert np.array_equal(found.scores, network.scores(images[:1]))


# --- layers and their addresses ----------------------------------------------------------------


def test_blocks_stand_behind_their_layers():
    network = blocks().build((2, 13, 11))
    found = {node.address: (node.source, *node.adds) for node in nodes(network)}
    assert found == {
        "0": ("input",), "1": ("0",), "2.0.0": ("1",), "2.0": ("2.0.0", "2.0.0", "1"),
        "2.1": ("2.0",), "2.2": ("2.1",), "2": ("2.2", "2.2", "1"), "3.0": ("2",),
        "3.1": ("3.0",), "3.2": ("3.1",), "3.shortcut": ("2",),
        "3": ("3.2", "3.2", "3.shortcut"), "4": ("3",), "5": ("4",), "6": ("5",), "7": ("6",),
    }  # fmt: skip
    assert list(found)[2:4] == ["2.0.0", "2.0"]
    names = {node.address: node.name for node in nodes(network)}
    assert names["2.0.0"] == "residual1.residual1.conv1"
    assert names["3.shortcut"] == "residual2.shortcut"


@pytest.mark.parametrize("eager", [False, True])
def test_all_maps_are_those_of_the_network(backend, eager):
    network, images = trained(blocks(kernels=backend, eager=eager))
    found = activations_with(network, images)
    own = dict(zip((str(k) for k in range(8)), network.activations(images), strict=True))
    for address, (_, values) in own.items():
        assert np.array_equal(found.maps[address], values), address
    assert list(found.maps) == [node.address for node in nodes(network)]
    assert np.array_equal(found.scores, found.maps["7"])
    assert np.allclose(found.probabilities, network.predict_proba(images), rtol=1e-5)


def test_inner_maps_are_what_the_layers_make_one_by_one(backend):
    """The oracle calls the layers of the blocks by hand."""
    network, images = trained(blocks(kernels=backend))
    maps = activations_with(network, images).maps

    def by_hand(layer, address):
        x = np.ascontiguousarray(np.moveaxis(maps[address], 0, -1))
        return np.moveaxis(layer.forward(x, Context())[0], -1, 0)

    block = network.layers[3]
    assert np.array_equal(by_hand(block.layers[0], "2"), maps["3.0"])
    assert np.array_equal(maps["3.0"], maps["3.1"])  # dropout passes everything on
    assert np.array_equal(by_hand(block.layers[2], "3.1"), maps["3.2"])
    assert np.array_equal(by_hand(block.shortcut, "2"), maps["3.shortcut"])
    total = maps["3.2"] + maps["3.shortcut"]
    assert np.array_equal(np.maximum(total, total * np.float32(0.01)), maps["3"])


def test_scores_are_behind_a_softmax_that_the_loss_took():
    network, images = trained(blocks(loss="cross_entropy"))
    found = activations_with(network, images)
    assert np.allclose(found.scores, network.scores(images), rtol=1e-5)
    assert np.allclose(found.scores.sum(axis=1), 1)
    assert not np.allclose(found.maps["7"].sum(axis=1), 1)
    one = activations_with(network, images[0])
    assert np.array_equal(one.maps["7"], network.activations(images[:1])[-1][1])
    assert np.allclose(one.scores, found.scores[:1], rtol=1e-5)


# --- gradients -----------------------------------------------------------------------------------


@pytest.mark.parametrize("loss", ["mse", "cross_entropy"])
def test_gradients_of_parameters_are_those_of_the_network(backend, loss):
    network, images = trained(blocks(kernels=backend, loss=loss))
    labels = np.arange(12) % 5
    found = gradients_with(network, images, labels)
    scaled = network.scaling.apply(images)
    outputs, caches = network.forward(scaled)
    losses, cache = network.loss.forward(outputs.T.copy(), labels)
    own = network.backward(network.loss.backward(cache, 12).T, caches)
    assert found.loss == pytest.approx(float(losses.mean()), rel=1e-6)
    inside = {"2": "residual1", "3": "residual2"}
    tops = {str(k): layer.name for k, layer in enumerate(network.layers)}
    for address, name in tops.items():
        for parameter, gradient in own.get(name, {}).items():
            assert np.array_equal(found.parameters[address][parameter], gradient)
    for address, name in inside.items():
        assert own[name].keys() == found.parameters[address].keys()
    weight = own["residual2"]["shortcut.weight"]
    assert np.array_equal(found.parameters["3.shortcut"]["weight"], weight)
    weight = own["residual1"]["residual1.conv1.weight"]
    assert np.array_equal(found.parameters["2.0.0"]["weight"], weight)


def test_gradients_of_outputs_agree_with_finite_differences():
    """In float64: each output is moved by hand where a layer behind it takes it."""
    network = blocks(dtype=np.float64, kernels="numpy")
    network, images = trained(network)
    image = images[:1]
    found = gradients_with(network, image, 3)

    def loss_behind(address, direction):
        """The loss where this layer's output is moved: by an edit of a copy of the layer."""
        twin = copy.deepcopy(network)
        layer = next(each.layer for each in nodes(twin) if each.address == address)
        own = type(layer).forward

        def moved(x, context):
            y, cache = own(layer, x, context)
            return y + direction[0, ..., None], cache

        layer.forward = moved
        outputs = twin.activations(image)[-1][1]
        return float(twin.loss.forward(outputs.T.copy(), np.array([3]))[0][0])

    for address in ("0", "1", "3.0", "3.1", "4", "6"):
        direction = RNG(1).standard_normal(found.maps[address].shape) * 1e-6
        slope = loss_behind(address, direction) - loss_behind(address, -direction)
        claimed = 2 * float((found.maps[address] * direction).sum())
        assert slope == pytest.approx(claimed, rel=1e-4), address


# --- filters switched off ------------------------------------------------------------------------


def test_a_filter_that_is_off_is_one_whose_weights_are_0(backend):
    network, images = trained(blocks(kernels=backend))
    found = activations_with(network, images, {"conv1": [1, 3], "3.0": [2], 7: [0]})
    twin = copy.deepcopy(network)
    conv, inner = twin.layers[0], twin.layers[3].layers[0]
    for layer, filters in ((conv, [1, 3]), (inner, [2])):
        layer.parameters["weight"][filters] = 0
        layer.parameters["bias"][filters] = 0
    expected = activations_with(twin, images).maps
    for address in list(found.maps)[:-1]:
        assert np.array_equal(found.maps[address], expected[address]), address
    assert found.maps["0"][:, [0, 2]].any(axis=(0, 2, 3)).all()
    assert not found.maps["7"][:, 0].any()
    assert np.array_equal(found.maps["7"][:, 1:], expected["7"][:, 1:])


def test_nothing_is_learnt_through_a_filter_that_is_off():
    network, images = trained(blocks())
    found = gradients_with(network, images, 1, {"conv1": [1]})
    assert not found.parameters["0"]["weight"][1].any()
    assert found.parameters["0"]["weight"][0].any()
    assert found.maps["0"][:, 1].any()  # it would matter if it were not 0


def test_what_it_costs_to_go_without_a_filter():
    data = Digits()
    network = CNN(Conv2D(4), MaxPool2D(2), Dense(10, activation=None), loss="cross_entropy")
    network.fit(data.train, epochs=3, progress=False)
    off = {"conv1": [0, 1, 2]}
    found = accuracy_without(network, data.test, off)
    assert found.images == len(data.test)
    assert found.before == pytest.approx(network.evaluate(data.test).accuracy)
    assert found.accuracy < found.before
    own, other = network.predict(data.test), predict_with(network, data.test, off, batch_size=7)
    assert np.array_equal(found.changed, np.flatnonzero(own != other))
    assert found.accuracy == np.mean(other == data.test.labels)
    heavy = data.test.weighted(np.where(other == data.test.labels, 3.0, 0.0))
    assert accuracy_without(network, heavy, off).accuracy == 1


# --- nothing changes -----------------------------------------------------------------------------


@pytest.mark.parametrize("eager", [False, True])
def test_training_goes_on_as_if_nobody_had_looked(eager):
    pair = [trained(blocks(eager=eager, seed=4)) for _ in range(2)]
    (network, images), (other, _) = pair
    before = state(network)
    activations_with(network, images, {"0": [1]})
    gradients_with(network, images, 2)
    assert state(network) == before
    for each in (network, other):
        each.train_step((images, np.arange(12) % 5))
    assert state(network) == state(other)


@pytest.mark.parametrize("where", ["class", "layer"])
def test_an_edited_layer_shows_its_edit(monkeypatch, where):
    network, images = trained(blocks())
    before = activations_with(network, images).maps
    owner = Conv2D if where == "class" else network.layers[3].layers[2]
    own = Conv2D.forward

    def doubled(*given):
        layer = given[0] if where == "class" else owner
        y, cache = own(layer, *given[-2:])
        return 2 * y, cache

    monkeypatch.setattr(owner, "forward", doubled)
    after = activations_with(network, images).maps
    assert np.array_equal(after["7"], network.activations(images)[-1][1])
    assert not np.array_equal(after["3.2"], before["3.2"])


# --- what cannot be ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("off", "told"),
    [
        ({"conv7": [0]}, "unknown layer 'conv7': did you mean 'conv1'"),
        ({9: [0]}, "layer: expected an index of 0..7, got 9"),
        ({"conv1": [4]}, r"off: conv1: expected whole numbers of 0..3, got \[4\]"),
        ({"conv1": [0.5]}, r"off: conv1: expected whole numbers of 0..3, got \[0.5\]"),
        ({"0": [-1]}, "off: conv1: expected"),
    ],
)
def test_filters_that_are_not_there(off, told):
    network = blocks().build((2, 13, 11))
    with pytest.raises(ValueError, match=told):
        activations_with(network, np.zeros((1, 2, 13, 11), np.uint8), off)


def test_wrong_networks_images_and_labels():
    with pytest.raises(ValueError, match="not built yet"):
        activations_with(blocks(), np.zeros((1, 2, 13, 11), np.uint8))
    network = blocks().build((2, 13, 11))
    with pytest.raises(ValueError, match=r"built for images \(2, 13, 11\), got \(2, 13, 12\)"):
        activations_with(network, np.zeros((1, 2, 13, 12), np.uint8))
    with pytest.raises(TypeError, match="layer: expected an index, an address or a name, got None"):
        activations_with(network, np.zeros((2, 13, 11), np.uint8), {None: [1]})
    with pytest.raises(TypeError, match="scaled=True: expected floats"):
        activations_with(network, np.zeros((2, 13, 11), np.uint8), scaled=True)
    image = np.zeros((2, 13, 11), np.uint8)
    for label, told in ((5, "0..4, got 5"), ("six", "unknown class 'six'"), ([0, 1], "of 1 im")):
        with pytest.raises(ValueError, match=told):
            gradients_with(network, image, label)


def test_one_image_needs_no_axis_of_samples():
    network, images = trained(CNN(Conv2D(2), GlobalAvgPool2D(), Softmax()), (1, 6, 5), 2)
    whole = activations_with(network, images[:1]).maps
    for image in (images[0], images[0, 0]):
        assert np.array_equal(activations_with(network, image).maps["2"], whole["2"])
