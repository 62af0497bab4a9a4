"""Replacing layers of a built network: trained weights are never drawn anew in silence."""

import copy
import warnings

import numpy as np
import pytest

from CNN import CNN
from Filters import Conv2D, MaxPool2D, Residual
from glassbox.engine.replacing import ReplacedWarning
from MLP import BatchNorm, Dense

X = np.random.default_rng(0).random((30, 1, 8, 8), np.float32)
DATA = X, np.arange(30) % 3


def trained(**settings):
    layers = [Conv2D(4), BatchNorm(), Residual(Conv2D(4)), MaxPool2D(2), Dense(6), Dense(3)]
    network = CNN(*layers, kernels="numpy", **settings)
    network.fit(DATA, epochs=2, batch_size=10, progress=False)
    return network


def bits(layers):
    return [
        array.tobytes()
        for layer in layers
        for leaf in layer.leaves()
        for array in (*leaf.parameters.values(), *leaf.buffers.values())
    ]


@pytest.mark.parametrize("which", [-2, 4, "dense1"])
def test_replace_draws_the_new_layer_and_keeps_the_others(which):
    network = trained()
    before = bits(network.layers[:4]), bits(network.layers[5:])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert network.replace(which, Dense(6, "relu")) is network
    assert (bits(network.layers[:4]), bits(network.layers[5:])) == before
    assert network.layers[4].activation.word == "relu"
    network.train_step(DATA)
    assert bits(network.layers[:1]) != before[0][:2]  # all of it trains


def test_replace_before_the_network_is_built():
    network = CNN(Conv2D(4), Dense(3))
    network.replace(0, Conv2D(2)).build((1, 8, 8))
    assert [layer.output_shape for layer in network.layers] == [(2, 8, 8), (3,)]


@pytest.mark.parametrize(
    ("which", "layer", "error", "words"),
    [
        ("dense9", Dense(6), KeyError, "no layer is called 'dense9'; there are conv1, "),
        (9, Dense(6), IndexError, "out of range"),
        (0, "dense", TypeError, "expected a layer such as Dense"),
        (4, Dense(7), ValueError, "dense2' was built for"),
    ],
)
def test_a_replacement_that_does_not_fit_leaves_the_network_as_it_was(which, layer, error, words):
    network = trained()
    before, scores = list(network.layers), network.scores(X)
    with pytest.raises(error, match=words):
        network.replace(which, layer)
    assert network.layers == before
    assert np.array_equal(network.scores(X), scores)
    with pytest.raises(ValueError, match="in the network already"):
        network.replace(0, network.layers[1])


def test_a_swap_in_the_list_says_once_what_becomes_of_the_weights():
    network = trained()
    before = bits(network.layers[:4])
    network.layers[4] = Dense(6)
    with pytest.warns(
        ReplacedWarning, match=r"draws its weights, all others keep.*network.replace"
    ):
        network.predict(X)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        network.predict(X)
    assert bits(network.layers[:4]) == before


@pytest.mark.parametrize("way", ["CNN", "add", "list", "replace", "deepcopy"])
def test_layers_of_a_trained_network_bring_their_weights_into_another(way):
    """As copies: what is trained in one network does not change the other."""
    old = trained()
    kept, scores = bits(old.layers[:5]), old.scores(X)
    front = old.layers[:5]
    if way == "CNN":
        network = CNN(*front, Dense(2))
    elif way == "deepcopy":
        network = CNN(*map(copy.deepcopy, front), Dense(2))
    elif way == "add":
        network = CNN()
        for layer in [*front, Dense(2)]:
            network.add(layer)
    else:
        network = CNN(Conv2D(4), BatchNorm(), Residual(Conv2D(4)), MaxPool2D(2), Dense(6), Dense(2))
        network.build((1, 8, 8))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ReplacedWarning)
            for index, layer in enumerate(front):
                if way == "replace":
                    network.replace(index, layer)
                else:
                    network.layers[index] = layer
            network.build((1, 8, 8))
    network.build((1, 8, 8))
    assert bits(network.layers[:5]) == kept
    network.fit((X, np.arange(30) % 2), epochs=1, progress=False)
    assert bits(network.layers[:5]) != kept
    assert bits(old.layers[:5]) == kept
    assert np.array_equal(old.scores(X), scores)


def test_trained_weights_that_do_not_fit_are_an_error():
    with pytest.raises(ValueError, match=r"'conv1': its weight has the shape \(4, 1, 3, 3\)"):
        CNN(*trained().layers[:1], Dense(2)).build((3, 8, 8))


def test_a_build_that_failed_leaves_nothing_to_keep():
    first = Conv2D(4)
    with pytest.raises(ValueError, match="conv2"):
        CNN(first, Dense(3), Conv2D(2)).build((1, 8, 8))
    CNN(first, Dense(3)).build((3, 8, 8))
    assert first.parameters["weight"].shape == (4, 3, 3, 3)


def test_a_copy_to_be_built_anew_keeps_nothing():
    network = trained()
    twin = network.clone_unbuilt(np.float32).build((1, 8, 8))
    fresh = CNN(Conv2D(4), BatchNorm(), Residual(Conv2D(4)), MaxPool2D(2), Dense(6), Dense(3))
    fresh.build((1, 8, 8))
    assert bits(twin.layers) == bits(fresh.layers)
