"""What people write from habit is understood, or answered with the name used here."""

import importlib

import numpy as np
import pytest

from CNN import CNN
from Datasets import from_arrays
from Filters import AvgPool2D, Conv2D, MaxPool2D
from glassbox import spelling
from glassbox.engine.losses import MSE
from MLP import SGD, Adam, BatchNorm, Dense, Dropout, Flatten, LeakyReLU, ReLU

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
        exec("from Filters import Conv2d")


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


# --- what people hand to fit -----------------------------------------------------------------

X = np.random.default_rng(0).random((24, 1, 6, 6), np.float32)
Y = np.arange(24) % 3
NAMES = np.array(["cat", "dog", "eel"])


def trained(*given, layers=None, **named):
    """A network, and the bits of its weights after fit(*given, **named)."""
    network = CNN(*(layers or (Conv2D(2), Dense(3))), kernels="numpy", optimizer="sgd")
    network.fit(*given, epochs=2, progress=False, **named)
    return network, network.parameters.values.tobytes()


class Frame:
    """What a data frame or a series is to NumPy: something that becomes an array."""

    def __init__(self, values):
        self.values = values

    def __array__(self, dtype=None, copy=None):
        return np.array(self.values, dtype)

    def __len__(self):
        return len(self.values)


UNDERSTOOD = {
    "fit(x, y)": lambda: trained(X, Y),
    "fit(x, y) and a validation pair": lambda: trained(X, Y, validation=(X, Y)),
    "fit(x=x, y=y)": lambda: trained(x=X, y=Y),
    "fit(x, y=y)": lambda: trained(X, y=Y),
    "a list of labels": lambda: trained(X, Y.tolist()),
    "a column of labels": lambda: trained((X, Y[:, None])),
    "one-hot rows": lambda: trained((X, np.eye(3)[Y])),
    "one-hot rows of whole numbers": lambda: trained((X, np.eye(3, dtype=int)[Y])),
    "names": lambda: trained((X, NAMES[Y])),
    "names in a list": lambda: trained((X, NAMES[Y].tolist())),
    "names of numbers": lambda: trained((X, Y.astype(str))),
    "series": lambda: trained(Frame(X), Frame(Y)),
    "a series of names": lambda: trained(Frame(X), Frame(NAMES[Y].astype(object))),
    "a list of layers": lambda: trained((X, Y), layers=([Conv2D(2), Dense(3)],)),
}


@pytest.mark.parametrize("case", UNDERSTOOD)
def test_what_is_handed_to_fit_is_understood(case):
    plain, (network, bits) = trained((X, Y))[1], UNDERSTOOD[case]()
    if "validation" not in case:  # with which the best epoch is kept
        assert bits == plain
    assert len(network.history.records) == 2
    assert ("validation_loss" in network.history.records[0]) == ("validation" in case)
    if "names" in case and "numbers" not in case:
        assert network.classes == ("cat", "dog", "eel")
        assert network.evaluate((X[:2], ["dog", "dog"])).images == 2
        with pytest.raises(ValueError, match=r"'fox'.* not among .*'cat'"):
            network.evaluate((X[:2], ["dog", "fox"]))


def test_all_of_a_splits_is_its_training_and_validation():
    data = from_arrays(X, Y, sizes=(16, 4, 4))
    network, bits = trained(data)
    assert bits == trained(data.train, data.validation)[1]
    for method in (network.evaluate, network.predict, network.train_step):
        with pytest.raises(TypeError, match=r"got (a )?Splits; take a part of it.*data\.test"):
            method(data)


def test_names_of_validation_are_those_of_training():
    """Sorted by themselves, "dog" and "eel" would be classes 0 and 1."""
    network, _ = trained((X, NAMES[Y]), (X[1:3], NAMES[Y[1:3]]))
    assert network.classes == ("cat", "dog", "eel")
    numbers, _ = trained((X, Y), (X[1:3], Y[1:3]))
    assert (
        network.history.records[0]["validation_loss"]
        == (numbers.history.records[0]["validation_loss"])
    )


def test_an_array_alone_is_answered():
    network = CNN(Dense(3))
    for call in (network.fit, network.evaluate, network.train_step):
        with pytest.raises(TypeError, match=r"got ndarray; write \(images, labels\)"):
            call(X)
    with pytest.raises(TypeError, match=r"labels go with their images: fit\(\(images, labels\)\)"):
        network.fit(y=Y)
    with pytest.raises(TypeError, match=r"from_arrays\(images, labels, sizes=\(0\.8, 0\.2, 0\)\)"):
        network.fit(X, Y, validation_split=0.2)
    assert len(from_arrays(X, Y, sizes=(0.8, 0.2, 0)).validation) == 5  # as the answer has it


def test_one_hot_rows_of_other_classes_are_answered():
    with pytest.raises(ValueError, match="one-hot rows of 4 columns, but there are 3 classes"):
        trained((X, np.eye(4)[Y]))


def test_one_hot_rows_and_names_for_from_arrays():
    plain = from_arrays(X, Y).train.labels
    assert np.array_equal(from_arrays(X, np.eye(3)[Y]).train.labels, plain)
    named = from_arrays(X, NAMES[Y].astype(object))
    assert np.array_equal(named.train.labels, plain)
    assert named.classes == ("cat", "dog", "eel")
    assert from_arrays(X, np.eye(5)[Y]).classes == tuple("01234")


@pytest.mark.parametrize("layers", [(Dense(3),), (Flatten(), Dense(3)), (Dropout(0.1), Dense(3))])
def test_flat_rows_are_understood_before_a_dense(layers):
    rows = X.reshape(24, 36)
    network, _ = trained((Frame(rows), Y), layers=layers)
    assert network.predict(rows).shape == (24,)
    with pytest.raises(ValueError, match="got rows of 35 numbers, expected images"):
        network.predict(rows[:, :35])


def test_flat_rows_take_the_shape_of_a_built_network():
    network, _ = trained((X, Y))
    assert np.array_equal(network.scores(X.reshape(24, 36)), network.scores(X))


@pytest.mark.parametrize("layer", [Conv2D(2), MaxPool2D(2)])
def test_flat_rows_before_a_layer_that_slides_are_answered(layer):
    with pytest.raises(ValueError, match=r"asarray\(images\)\.reshape\(-1, 1, 6, 6\)"):
        trained((X.reshape(24, 36), Y), layers=(layer, Dense(3)))


@pytest.mark.parametrize("kind", [SGD, Adam])
def test_the_class_of_an_optimizer_a_loss_an_activation_stands_for_one(kind):
    network = CNN(Dense(2, ReLU), optimizer=kind, loss=MSE)
    assert type(network.optimizer) is kind
    assert type(network.loss) is MSE
    assert type(network.layers[0].activation) is ReLU
    with pytest.raises(TypeError, match="expected a name or an Optimizer"):
        CNN(Dense(2), optimizer=Dense)
