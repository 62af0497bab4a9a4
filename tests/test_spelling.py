"""What people write from habit is understood, or answered with the name used here."""

import importlib

import numpy as np
import pytest

from CNN import CNN
from Filters import AvgPool2D, Conv2D, MaxPool2D
from glassbox import spelling
from MLP import SGD, Adam, BatchNorm, Dense, Dropout, LeakyReLU

ANSWERED = [
    (lambda: Conv2D(8, strides=2), "Conv2D has no argument 'strides'; it is called stride here"),
    (lambda: Conv2D(out_channels=8), "'out_channels'; it is called filters here"),
    (lambda: Conv2D(8, kernel_initializer="he_normal"), "it is called initializer here"),
    (lambda: Conv2D(8, dilation_rate=2), "it is called dilation here"),
    (lambda: Conv2D(8, use_bias=False), "it is called bias here"),
    (lambda: Conv2D(8, in_channels=1), "leave it out: the channels of the input follow"),
    (lambda: Conv2D(8, input_shape=(1, 8, 8)), "leave it out: sizes follow from the data"),
    (lambda: MaxPool2D(pool_size=2), "it is called kernel_size here"),
    (lambda: MaxPool2D(size=2), "it is called kernel_size here"),
    (lambda: AvgPool2D(2, count_padding=True), "it is called count_include_pad here"),
    (lambda: Dense(out_features=10), "it is called units here"),
    (lambda: Dropout(p=0.5), "it is called rate here"),
    (lambda: BatchNorm(eps=1e-3), "it is called epsilon here"),
    (lambda: LeakyReLU(negative_slope=0.1), "it is called slope here"),
    (lambda: Adam(lr=1e-3), "Adam has no argument 'lr'; it is called learning_rate here"),
    (lambda: Adam(beta_1=0.9), "it is called betas here"),
    (lambda: SGD(lr=0.1), "it is called learning_rate here"),
    (lambda: CNN(Dense(2), criterion="mse"), "CNN has no argument 'criterion'; it is called loss"),
    (lambda: CNN(Dense(2), epochs=3), r"say it to fit: network\.fit\(train, epochs=\.\.\.\)"),
    (lambda: CNN(Dense(2), metrics=["accuracy"]), "loss and accuracy are always measured"),
    (lambda: CNN(Dense(2), n_jobs=2), "it is called threads here"),
    (
        lambda: CNN(Dense(2)).fit(None, validation_data=()),
        "fit has no .*called validation",
    ),
    (lambda: CNN(Dense(2)).fit(None, verbose=0), "it is called progress here"),
    (lambda: CNN(Dense(2)).fit(x=0), "it is called train here"),
    (lambda: CNN(Dense(2)).fit(None, callbacks=[]), r"around network\.train_step"),
    (lambda: Dense(2, color="red"), "Dense has no argument 'color'; it takes units, activation"),
]


@pytest.mark.parametrize("case", range(len(ANSWERED)))
def test_an_argument_from_elsewhere_is_answered(case):
    make, words = ANSWERED[case]
    with pytest.raises(TypeError, match=words):
        make()


@pytest.mark.parametrize("name", spelling.NAMES)
def test_a_class_from_elsewhere_is_answered(name):
    for module in ("Filters", "MLP", "glassbox"):
        with pytest.raises(AttributeError, match=f"no attribute '{name}'; write "):
            getattr(importlib.import_module(module), name)
    with pytest.raises(ImportError, match="cannot import name 'Conv2d'"):
        from Filters import Conv2d  # noqa: F401


def test_every_answer_names_something_that_is_here():
    import glassbox

    for ours in spelling.NAMES.values():
        assert ours.startswith("loss=") or hasattr(glassbox, ours), ours


@pytest.mark.parametrize("name", spelling.LOSSES)
def test_a_loss_of_keras_is_understood(name):
    assert CNN(Dense(2, "softmax"), loss=name).loss.word == spelling.LOSSES[name]


@pytest.mark.parametrize("name", spelling.METHODS)
def test_a_method_from_elsewhere_is_answered(name):
    network = CNN(Dense(2))
    with pytest.raises(AttributeError) as error:
        getattr(network, name)
    assert spelling.METHODS[name] in str(error.value)
    assert not hasattr(network, "no_such_thing")


@pytest.mark.parametrize("shape", [(6, 28, 28, 1), (6, 28, 28, 3), (6, 8, 8, 4)])
def test_channels_last_are_answered(shape):
    """Read as they stand they would be 28 channels of 28 x 1 pixels, silently."""
    with pytest.raises(ValueError, match=r"write images\.transpose\(0, 3, 1, 2\)"):
        CNN(Dense(2)).fit((np.zeros(shape), np.arange(6) % 2), epochs=1)
    CNN(Dense(2)).predict(np.zeros((6, 28, 28)))  # without channels they are gray
    CNN(Dense(2)).predict(np.zeros((6, 8, 100, 1)))  # eight signals of 100 numbers


def test_one_hot_labels_are_answered():
    with pytest.raises(ValueError, match=r"labels\.argmax\(axis=1\)"):
        CNN(Dense(2)).fit((np.zeros((4, 1, 8, 8)), np.eye(2, dtype=int)[[0, 1, 0, 1]]), epochs=1)
