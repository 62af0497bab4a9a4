"""The sums behind gradients: of numbers of an output, and of weights."""

import math

import numpy as np
import pytest
from test_explain import RNG, blocks, state, trained
from test_explain_sums import Halved, alone, drawn_networks, some_places, unlike
from test_layers import every_layer
from test_properties import for_all

from CNN import CNN
from Filters import Conv2D
from glassbox.engine.losses import Loss
from glassbox.explain import back_behind, gradient_behind, gradients_with, nodes, sum_behind
from MLP import Dense, Flatten

CLOSE = 2e-5  # of the sum of all terms without their sign, in float32


def close(found, expected, products):
    scale = math.fsum(np.abs(products).tolist())
    assert abs(found - expected) <= CLOSE * scale + 1e-12


def total(found):
    return math.fsum(found.products.tolist()) + found.left_out_sum


def classes_behind(network):
    """The same layers with an end that a loss takes."""
    ends = [Flatten()] if len(network.output_shape) > 1 else []
    layers = [layer.clone_unbuilt() for layer in network.layers]
    return unlike(CNN(*layers, *ends, Dense(3, "tanh"), seed=5).build(network.input_shape))


def check_back(network, image, address, place):
    maps, known = gradients_with(network, image, 1).maps, [n.address for n in nodes(network)]
    found = back_behind(network, image, 1, address, place)
    assert found.result == maps[address][(0, *place)]
    if not found.next:
        return found
    close(total(found), found.result, found.products)
    assert np.array_equal(found.products, found.weights * found.gradients)
    layers = [known.index(each) for each in found.layers.tolist()]
    order = list(zip(layers, found.places.tolist(), strict=True))
    assert order == sorted(order)
    for k in range(min(len(found.places), 4)):
        layer, at = found.layers[k], found.places[k].tolist()
        forward = sum_behind(network, image, layer, at)
        assert found.next == layer or layer.startswith(found.next.split(".")[0])
        if forward.kind == "formula":
            continue
        (same,) = np.flatnonzero((forward.places == place).all(axis=1))
        assert forward.weights[same] == found.weights[k]
    return found


@every_layer
def test_behind_every_layer(make, shape, backend):
    network, image = alone(make, shape, kernels=backend)
    network = classes_behind(network)
    for address in ["input", *(node.address for node in nodes(network))]:
        size = (
            network.input_shape
            if address == "input"
            else {node.address: node.layer.output_shape for node in nodes(network)}[address]
        )
        for place in some_places(size, 3):
            found = check_back(network, image, address, place)
            assert "as written" not in found.formula


@pytest.mark.slow
def test_random_networks():
    def gradients(case):
        network, image, seed = case
        network = classes_behind(network)
        before, known = state(network), nodes(network)
        exact = gradients_with(network, image, 1)
        for node in known:
            (place,) = some_places(node.layer.output_shape, 1, seed)
            check_back(network, image, node.address, place)
            for name, array in ({} if node.adds else node.layer.parameters).items():
                (index,) = some_places(array.shape, 1, seed)
                found = gradient_behind(network, image, 1, node.address, name, index)
                assert found.gradient == exact.parameters[node.address][name][index]
                assert found.value == array[index]
                assert "as written" not in found.formula
                close(total(found), found.gradient, found.products)
        assert state(network) == before

    for_all(40, drawn_networks(), gradients)


def test_the_gradient_in_front_of_a_block_comes_from_both_paths():
    network, images = trained(blocks())
    plain = back_behind(network, images[0], 1, "norm1", (1, 2, 3))
    assert plain.next == "2.0.0"
    assert set(plain.layers) == {"2.0.0", "2.0", "2"}  # a block inside the block begins there, too
    projected = back_behind(network, images[0], 1, "residual1", (1, 2, 2))
    assert set(projected.layers) == {"3.0", "3.shortcut"}
    close(total(projected), projected.result, projected.products)
    text = projected.as_text().splitlines()
    assert text[0] == f"d loss / d residual1 [1, 2, 2] = {projected.result:.6g}"
    assert text[2].startswith("place in 3.0 and 3.s")
    assert max(map(len, text)) <= 60


@pytest.mark.parametrize("loss", ["mse", "cross_entropy"])
def test_the_end_is_the_formula_of_the_loss(loss):
    network, images = trained(blocks(loss=loss))
    found = [back_behind(network, images[0], 3, "dense1", unit) for unit in range(5)]
    outputs = network.activations(images[:1])[-1][1][0].astype(np.float64)
    if loss == "mse":
        expected = 2 * (outputs - np.eye(5)[3]) / 5
    else:
        expected = np.exp(outputs) / np.exp(outputs).sum() - np.eye(5)[3]
    assert np.allclose([each.result for each in found], expected, rtol=1e-5)
    assert found[3].next == ""
    assert found[3].formula.startswith("2 (y - t) / o" if loss == "mse" else "softmax(y) - t = ")
    assert len(found[3].products) == 0


class Half(Loss):
    """A loss of one's own."""

    def forward(self, outputs, labels):
        return outputs.sum(axis=0) / 2, outputs

    def backward(self, cache, batch):
        return np.full_like(cache, 0.5 / batch)


def test_losses_and_layers_of_ones_own_are_run_but_not_explained():
    network, image = alone(Halved, (2, 4, 5))
    network = CNN(Halved(), Dense(3), loss=Half()).build((2, 4, 5))
    end = back_behind(network, image, 0, "dense1", 1)
    assert (end.formula, end.result) == ("Half.backward as written", 0.5)
    first = back_behind(network, image, 0, "input", (1, 2, 3))
    assert (first.formula, len(first.products)) == ("Halved.backward as written", 0)
    assert first.result == gradients_with(network, image, 0).maps["input"][0, 1, 2, 3] != 0


def test_an_edited_backward_is_not_explained_by_what_it_no_longer_does(monkeypatch):
    network, images = trained(blocks())
    own = Conv2D.backward

    def doubled(self, dy, cache):
        dx, gradients = own(self, dy, cache)
        return None if dx is None else 2 * dx, {key: 2 * value for key, value in gradients.items()}

    usual = gradient_behind(network, images[0], 1, "conv1", "bias", 1).gradient
    monkeypatch.setattr(Conv2D, "backward", doubled)
    found = gradient_behind(network, images[0], 1, "3.2", "weight", (1, 2, 0, 0))
    assert found.formula == "Conv2D.backward as written"
    assert len(found.products) == 0
    bias = gradient_behind(network, images[0], 1, "conv1", "bias", 1)
    assert abs(bias.gradient) > 3 * abs(usual)
    back = back_behind(network, images[0], 1, "residual1", (1, 2, 2))
    assert back.formula == "Conv2D.backward as written"


def test_terms_of_a_weight_are_where_it_is_used():
    """Stride, padding and dilation, pixel by pixel."""
    layer = Conv2D(2, (3, 2), stride=(2, 1), padding=1, dilation=(1, 2), activation="tanh")
    network = CNN(layer, Dense(2), seed=2).build((2, 7, 6))
    image = RNG(0).random((2, 7, 6), np.float32)
    found = gradient_behind(network, image, 0, 0, "weight", (1, 0, 2, 1))
    expected = [
        ([1, i, j], [0, 2 * i - 1 + 2, j - 1 + 2])
        for i in range(layer.output_shape[1]) for j in range(layer.output_shape[2])
        if 2 * i + 1 < 7 and j + 1 < 6
    ]  # fmt: skip
    assert list(zip(found.outputs.tolist(), found.inputs.tolist(), strict=True)) == expected
    assert np.array_equal(found.values, image[tuple(found.inputs.T)])
    bias = gradient_behind(network, image, 0, 0, "bias", 1)
    assert (bias.inputs.shape[1], set(bias.values)) == (0, {1.0})
    assert len(bias.products) == math.prod(layer.output_shape[1:])
    short = gradient_behind(network, image, 0, 0, "weight", (1, 0, 2, 1), most=5)
    assert (len(short.products), short.left_out) == (5, len(expected) - 5)
    assert total(short) == pytest.approx(total(found), abs=1e-9)
    text = found.as_text().splitlines()
    assert text[0] == f"conv1 weight [1, 0, 2, 1] = {found.value:.6g}"
    assert max(map(len, text)) <= 60


def test_nothing_comes_back_through_what_is_off():
    network, images = trained(blocks())
    off = {"3.0": [0]}
    found = back_behind(network, images[0], 1, "residual1", (1, 2, 2), off)
    through = found.gradients[(found.layers == "3.0") & (found.places[:, 0] == 0)]
    assert through.size
    assert not through.any()
    close(total(found), found.result, found.products)


@pytest.mark.parametrize(
    ("layer", "parameter", "index", "told"),
    [
        ("conv1", "weights", (0, 0, 0, 0), "unknown parameter of conv1 'weights': did you mean"),
        ("conv1", "weight", (0, 0, 3, 0), r"conv1: weight: index: expected whole numbers of \(0"),
        ("3", "conv1.weight", (0, 0, 0, 0), "residual2 is a block; name one of its layers: resid"),
        ("pool1", "weight", 0, "unknown parameter of pool1 'weight'"),
    ],
)
def test_weights_that_are_not_there(layer, parameter, index, told):
    network = blocks().build((2, 13, 11))
    with pytest.raises(ValueError, match=told):
        gradient_behind(network, np.zeros((2, 13, 11), np.uint8), 0, layer, parameter, index)
