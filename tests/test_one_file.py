"""examples/one_file.py: the library's weights, sound gradients, and one readable file."""

import ast
import re
import sys
from pathlib import Path

import numpy as np
import pytest

import Filters
import main
import MLP
from CNN import CNN
from Datasets import Digits
from examples import one_file
from glassbox.cli import Options

FILE = Path(one_file.__file__)
WEIGHT, BIAS = "weight", "bias"  # what the library calls a layer's parameters
SHAPE = (1, 8, 8)
# How far weights may be from the library's, as a share of each.  The library cuts a batch into
# shards and sums in another order, so no two sums need to have the same last bits.
TOLERANCE = {np.float32: 1e-4, np.float64: 1e-9}


@pytest.fixture(scope="module")
def digits():
    """Images (n, 1, 8, 8), scaled, with their labels."""
    train = Digits().train
    return train.batch(np.arange(len(train)))


def part(data, start, stop):
    images, labels = data
    return images[start:stop], labels[start:stop]


def main_pair(rate, dtype, seed=3):
    """main.py's network at a constant rate: the library's, and that of the one file."""
    theirs = CNN(
        Filters.Conv2D(8, kernel_size=3, padding="same"),
        Filters.MaxPool2D(2),
        Filters.Conv2D(16, kernel_size=3, padding="same"),
        Filters.MaxPool2D(2),
        MLP.Dense(72),
        MLP.Dense(10),
        loss="mse",
        optimizer=MLP.Adam(rate),
        seed=seed,
        kernels="numpy",
        dtype=dtype,
    )
    return theirs.build(SHAPE), one_file.network_of_main(SHAPE, 10, seed, dtype)


def softmax_pair(rate, dtype, seed=4):
    """Softmax and cross-entropy with SGD; no padding, an even kernel, a row left out of a pool."""
    theirs = CNN(
        Filters.Conv2D(5, kernel_size=3, padding=0),  # 8 -> 6
        Filters.Conv2D(6, kernel_size=2, padding="same"),
        Filters.MaxPool2D(4),  # -> 1
        MLP.Dense(12),
        MLP.Dense(10, activation="softmax"),
        loss="cross_entropy",
        optimizer=MLP.SGD(rate),
        seed=seed,
        kernels="numpy",
        dtype=dtype,
    )
    layers = [
        one_file.Conv2D(5, kernel_size=3, padding=0),
        one_file.Conv2D(6, kernel_size=2, padding="same"),
        one_file.MaxPool2D(4),
        one_file.Dense(12),
        one_file.Dense(10, activation=None),
    ]
    loss, optimizer = one_file.softmax_cross_entropy, one_file.SGD()
    return theirs.build(SHAPE), one_file.Network(layers, SHAPE, loss, optimizer, seed, dtype)


PAIRS = [pytest.param(main_pair, 0.01, id="main"), pytest.param(softmax_pair, 0.2, id="softmax")]
DTYPES = [pytest.param(dtype, id=dtype.__name__) for dtype in TOLERANCE]


def parameters(theirs):
    """The library's parameters, in the order of the one file's."""
    own = [layer.parameters for layer in theirs.layers]
    return [layer[name] for layer in own for name in (WEIGHT, BIAS) if name in layer]


def assert_same_weights(ours, theirs, tolerance):
    """Every weight alike; the smallest ones as far as a hundredth of the largest asks for."""
    for mine, library in zip(ours.parameters, parameters(theirs), strict=True):
        assert mine.dtype == library.dtype
        least = tolerance * np.abs(library).max() / 100
        np.testing.assert_allclose(mine, library, rtol=tolerance, atol=least)


# --- the same as the library ---------------------------------------------------------------------


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("pair", "rate"), PAIRS)
def test_first_weights(pair, rate, dtype):
    """The same seed draws the same weights, but for a last bit of their standard deviation."""
    theirs, ours = pair(rate, dtype)
    assert len(ours.parameters) == len(parameters(theirs)) >= 8
    for mine, library in zip(ours.parameters, parameters(theirs), strict=True):
        np.testing.assert_allclose(mine, library, rtol=4 * np.finfo(dtype).eps)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("pair", "rate"), PAIRS)
def test_weights_after_20_steps(pair, rate, dtype, digits):
    """Batches of 32, the last of each epoch of 4; losses and right answers of each step too."""
    theirs, ours = pair(rate, dtype)
    data = images, labels = part(digits, 0, 100)
    first = [w.copy() for w in ours.parameters]
    for step in range(20):
        start = 32 * (step % 4)
        places = np.arange(start, min(start + 32, 100))
        loss, right = theirs.train_step(data, places)
        my_loss, my_right = ours.train_step(images[places], labels[places], rate)
        assert my_loss == pytest.approx(loss, rel=TOLERANCE[dtype])
        assert my_right == right
    for before, after in zip(first, ours.parameters, strict=True):
        assert np.abs(after - before).mean() > 1e-3, "these steps moved nothing worth comparing"
    assert_same_weights(ours, theirs, TOLERANCE[dtype])


def test_fit_as_the_library(digits):
    """The same order of the images, learning rates and choice of the best epoch."""
    train, validation = part(digits, 0, 300), part(digits, 300, 500)
    theirs, ours = main_pair(MLP.OneCycle(0.03), np.float64)
    history = theirs.fit(train, validation, epochs=8, batch_size=32, progress=False)
    assert 1 < history.best_epoch < 8, "the last epoch is the best: the choice is not tested"
    one_file.fit(ours, train, validation, epochs=8, rate=0.03)
    assert_same_weights(ours, theirs, 1e-9)


def test_network_of_main_py(digits):
    """The network in main.py, trained for an epoch as main.py does, gives the same weights."""
    train, validation = part(digits, 0, 500), part(digits, 500, 600)
    theirs = main.network(Options(learning_rate=0.004, kernels="numpy", seed=5))
    theirs.fit(train, validation, epochs=1, batch_size=32, progress=False)
    ours = one_file.network_of_main(SHAPE, 10, 5)
    one_file.fit(ours, train, validation, epochs=1)
    assert_same_weights(ours, theirs, 1e-4)


@pytest.mark.parametrize(("pair", "rate"), PAIRS)
def test_evaluation(pair, rate, digits):
    """Loss and accuracy agree, also where the images are more than one part of them."""
    theirs, ours = pair(rate, np.float32)
    for start in range(0, 1024, 32):
        images, labels = part(digits, start, start + 32)
        ours.train_step(images, labels, rate)
        theirs.train_step((images, labels))
    for images, labels in (digits, part(digits, 0, 7)):
        expected = theirs.evaluate((images, labels))
        loss, accuracy = ours.evaluate(images, labels)
        assert loss == pytest.approx(expected.loss, rel=1e-4)
        assert accuracy == pytest.approx(expected.accuracy, abs=0)


# --- gradients -----------------------------------------------------------------------------------


@pytest.mark.parametrize("loss", [one_file.mean_squared_error, one_file.softmax_cross_entropy])
def test_gradients_agree_with_finite_differences(loss):
    """Of every parameter, through "same" and no padding, odd and even kernels, a pool, both f."""
    rng = np.random.default_rng(0)
    layers = [
        one_file.Conv2D(2, kernel_size=3, padding=0),  # 9 x 8 -> 7 x 6
        one_file.Conv2D(3, kernel_size=3, padding="same"),
        one_file.MaxPool2D(2),  # -> 3 x 3, a row is left out
        one_file.Conv2D(2, kernel_size=2, padding="same"),
        one_file.Conv2D(2, kernel_size=2, padding=0),  # -> 2 x 2
        one_file.Dense(5),
        one_file.Dense(4, activation=None if loss is one_file.softmax_cross_entropy else "sigmoid"),
    ]
    network = one_file.Network(layers, (2, 9, 8), loss, one_file.SGD(), 0, np.float64)
    for w in network.parameters:
        w += rng.normal(0, 0.1, w.shape)  # no bias stays 0
    images, labels = rng.normal(size=(3, 2, 9, 8)), np.array([3, 0, 2])

    def mean_loss():
        return loss(network.forward(images)[0], labels)[0].mean()

    outputs, caches = network.forward(images)
    gradients = network.backward(loss(outputs, labels)[1], caches)
    for w, gradient in zip(network.parameters, gradients, strict=True):
        numeric = np.empty_like(w)
        for place in np.ndindex(w.shape):
            kept, losses = w[place], []
            for w[place] in (kept + 1e-6, kept - 1e-6):
                losses.append(mean_loss())
            w[place] = kept
            numeric[place] = (losses[0] - losses[1]) / 2e-6
        np.testing.assert_allclose(gradient, numeric, rtol=1e-5, atol=1e-9)


def test_gradient_of_the_first_layers_input():
    """dx of a convolution at the border of the image, which no parameter's gradient shows."""
    rng = np.random.default_rng(1)
    layer = one_file.Conv2D(2, kernel_size=3, padding="same")
    layer.build((2, 4, 5), rng, np.float64)
    x, dy = rng.normal(size=(2, 4, 5, 2)), rng.normal(size=(2, 4, 5, 2))
    dx, _ = layer.backward(dy, layer.forward(x)[1])
    numeric = np.empty_like(x)
    for place in np.ndindex(x.shape):
        step = np.zeros_like(x)
        step[place] = 1e-6
        difference = layer.forward(x + step)[0] - layer.forward(x - step)[0]
        numeric[place] = (difference * dy).sum() / 2e-6
    np.testing.assert_allclose(dx, numeric, rtol=1e-5, atol=1e-8)


def test_of_equal_pixels_the_first_wins():
    """As in PyTorch: it gets the whole gradient of its window."""
    pool = one_file.MaxPool2D(2)
    x = np.array([[1.0, 1, 0, 5], [1, 1, 5, 5]])[None, :, :, None]
    y, cache = pool.forward(x)
    dx, _ = pool.backward(np.array([3.0, 7.0]).reshape(1, 1, 2, 1), cache)
    assert y.ravel().tolist() == [1, 5]
    assert dx[0, :, :, 0].tolist() == [[3, 0, 0, 7], [0, 0, 0, 0]]


@pytest.mark.parametrize("dtype", DTYPES)
def test_it_computes_in_its_own_type(dtype):
    """Whatever the type of the images; 12th digits count in float64 and are gone in float32."""
    network = one_file.network_of_main(SHAPE, dtype=dtype)
    images = np.random.default_rng(2).normal(size=(3, *SHAPE))
    outputs, _ = network.forward(images)
    others, _ = network.forward(images * (1 + 1e-12))
    assert outputs.dtype == dtype
    assert np.array_equal(outputs, others) == (dtype is np.float32)


# --- one file ------------------------------------------------------------------------------------


def imported(nodes):
    """The packages that the import statements among these nodes name."""
    for node in nodes:
        if isinstance(node, ast.Import):
            yield from (alias.name.split(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield "." * node.level or node.module.split(".")[0]


def test_it_is_one_file_of_plain_numpy():
    """At most 280 lines; the library is imported for its data sets alone, inside main()."""
    text = FILE.read_text("utf-8")
    assert len(text.splitlines()) <= 280
    tree = ast.parse(text)
    [entry] = [n for n in tree.body if isinstance(n, ast.FunctionDef) and n.name == "main"]
    inside = set(ast.walk(entry))
    outside = set(imported(node for node in ast.walk(tree) if node not in inside))
    assert outside <= {"numpy", *sys.stdlib_module_names}, "it imports more than NumPy"
    assert set(imported(inside)) == {"Datasets"}
    assert "import_module" not in text and "__import__" not in text


def test_main_on_digits(capsys):
    """An epoch ends well, and every line fits 60 columns."""
    one_file.main(["--epochs", "1"])
    printed = capsys.readouterr()
    assert printed.err == ""
    check, epoch, test = printed.out.splitlines()
    assert re.fullmatch(r"sanity check: loss 0\.\d{4} -> 0\.\d{4}, 100% right", check)
    number = r"\d+\.\d\d%"
    assert re.fullmatch(rf"epoch  1/1  loss 0\.\d{{4}}  train {number}  validation {number}", epoch)
    assert re.fullmatch(rf"test accuracy {number}, loss 0\.\d{{4}}, \d+\.\d s", test)
    assert max(map(len, (check, epoch, test))) <= 60


@pytest.mark.slow
def test_it_learns_the_digits(capsys):
    """The floor is far above chance (10 %) and below what 12 epochs reach (about 95 %)."""
    one_file.main(["--epochs", "12", "--seed", "1"])
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 14
    assert float(re.search(r"test accuracy (\d+\.\d+)%", lines[-1])[1]) > 90


def test_the_sanity_check_fails_for_a_network_that_cannot_learn(digits, capsys):
    """Here its optimizer leaves the weights where they are."""
    network = one_file.network_of_main(SHAPE)
    network.optimizer.step = lambda parameters, gradients, rate: None
    with pytest.raises(SystemExit, match="cannot learn 30 images"):
        one_file.sanity_check(network, digits)
    assert "sanity check: loss" in capsys.readouterr().out
