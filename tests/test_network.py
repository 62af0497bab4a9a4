"""CNN as a user meets it: building, summary, the two passes, prediction, checks, errors."""

from __future__ import annotations

import re
import sys

import numpy as np
import pytest

from CNN import CNN
from Datasets import Dataset, Scaling
from Filters import AvgPool2D, Conv2D, GlobalAvgPool2D, MaxPool2D, Residual
from glassbox.engine.losses import CrossEntropy
from glassbox.errors import Diverged
from MLP import SGD, Adam, BatchNorm, Dense, Dropout, Flatten, Identity, Softmax

RNG = np.random.default_rng(7)


def small(**settings):
    """A network of every common layer, for 1 x 9 x 8 images and three classes."""
    return CNN(
        Conv2D(4, kernel_size=(3, 2)), MaxPool2D(2), BatchNorm(), Conv2D(3, 3, stride=2),
        Dense(6, "tanh"), Dropout(0.25), Dense(3),
        **{"seed": 3, "threads": 1, **settings},
    )  # fmt: skip


def images(count, shape=(1, 9, 8), seed=0):
    return np.random.default_rng(seed).normal(size=(count, *shape)).astype(np.float32)


def test_summary_tells_shapes_parameters_cost_and_field(capsys):
    network = CNN(Conv2D(8, 3), MaxPool2D(2), Conv2D(16, 5, padding="valid"), Dense(10))
    table = network.summary((1, 28, 28))
    assert capsys.readouterr().out == table + "\n"
    rows = {}  # what a layer is in the first table, and what it costs in the second
    for line in table.splitlines():
        if line and line[0] != "-":
            name, *rest = line.split(maxsplit=1)
            rows[name] = f"{rows[name]} {rest[0]}" if name in rows else line
    # 8 x (1 x 3 x 3 + 1) parameters; 28 x 28 x 8 x 9 multiply-adds; 28 x 28 x 8 x 4 bytes
    assert re.search(r"8 x 28 x 28 +80 +56,448 +3 x 3 +24\.5$", rows["conv1"])
    assert re.search(r"8 x 14 x 14 +0 +0 +4 x 4 +6\.1$", rows["pool1"])
    # the field grows by (5 - 1) x 2 pixels; 16 x (8 x 25 + 1); 10 x 10 x 16 x 200
    assert re.search(r"16 x 10 x 10 +3,216 +320,000 +12 x 12 +6\.2$", rows["conv2"])
    assert re.search(r"10 +16,010 +16,000 +all", rows["dense1"])
    assert "Conv2D 5 x 5" in rows["conv2"]
    assert max(map(len, table.splitlines())) <= 60
    assert re.search(r"^total +19,306 +392,448", rows["total"])
    assert network.parameter_count == 80 + 3216 + 16010


def test_a_summary_fits_60_columns_whatever_is_in_it(capsys):
    inside = [Conv2D(300), BatchNorm(), Conv2D(300), BatchNorm(), Conv2D(300)]
    name = "features.0.a_block_with_a_long_name"
    network = CNN(
        Conv2D(256, 11, stride=4, name="the_first_of_all_convolutions"),
        Residual(*inside, name=name),
        GlobalAvgPool2D(), Dense(2000), Dense(1000), dtype=np.float64,
    )  # fmt: skip
    table = network.summary((3, 160, 160))
    assert max(map(len, table.splitlines())) <= 60
    rows = table.splitlines()
    names, kinds = (
        re.sub(r"\s", "", "".join(row[a:b] for row in rows)) for a, b in ((0, 22), (22, 36))
    )
    assert names.count(name) == 1  # broken over lines, but whole
    assert kinds.count("ResidualConv2D+BatchNorm+Conv2D+BatchNorm+Conv2D,projected") == 1
    assert f"{network.parameter_count:,}" in table


def test_how_steps_run_is_said_once(capsys):
    data = images(8), np.arange(8) % 2
    network = CNN(Conv2D(2), Dense(2))
    network.summary((1, 9, 8))
    network.fit(data, epochs=1)
    network.fit(data, epochs=1)
    assert capsys.readouterr().out.count("captured: ") == 1
    network.eager = True
    network.fit(data, epochs=1)
    assert capsys.readouterr().out.count("eager: ") == 1
    CNN(Conv2D(2), Dense(2)).fit(data, epochs=1)
    assert capsys.readouterr().out.count("captured: ") == 1


def test_forward_and_backward_agree_with_finite_differences():
    """The two public passes together: d(sum of outputs times R) / dw for one weight a layer."""
    network = small(dtype=np.float64).build((1, 9, 8))
    x, weight = images(5).astype(np.float64), RNG.normal(size=(5, 3))
    y, memories = network.forward(x, training=True)
    assert y.shape == (5, 3)
    gradients = network.backward(weight, memories)
    assert list(gradients) == ["conv1", "norm1", "conv2", "dense1", "dense2"]
    for layer in network.layers:
        for name, array in layer.parameters.items():
            place = tuple(RNG.integers(n) for n in array.shape)
            kept, slopes = array[place], []
            for h in (1e-6, -1e-6):
                array[place] = kept + h
                slopes.append((network.forward(x, training=True)[0] * weight).sum())
            array[place] = kept
            slope = (slopes[0] - slopes[1]) / 2e-6
            assert gradients[layer.name][name][place] == pytest.approx(slope, rel=1e-5, abs=1e-7)


def test_the_batch_size_of_prediction_changes_nothing():
    network = small().build((1, 9, 8))
    x = images(70)
    whole = network.predict_proba(x)
    assert whole.shape == (70, 3)
    np.testing.assert_allclose(whole.sum(axis=1), 1, rtol=1e-6)
    np.testing.assert_allclose(network.predict_proba(x, batch_size=7), whole, rtol=1e-4)
    assert (network.predict(x) == whole.argmax(axis=1)).all()
    assert network.predict(x[:0]).shape == (0,)


class Halved(Softmax):
    """A softmax of one's own."""

    def apply(self, z):
        return super().apply(z / 2)


@pytest.mark.parametrize("own", [Halved(), Softmax()])
@pytest.mark.parametrize("as_layer", [True, False])
def test_a_softmax_of_ones_own_is_not_left_out_in_silence(own, as_layer):
    """Cross-entropy takes logits; only that of the library means the same."""
    if type(own) is Softmax:
        own.apply = lambda z: z
    layers = [Dense(3, None), own] if as_layer else [Dense(3, own)]
    with pytest.raises(ValueError, match="cross_entropy computes the softmax itself, so that"):
        CNN(*layers, loss="cross_entropy").build((1, 2, 2))
    assert CNN(*layers, loss="mse").build((1, 2, 2)).output_activation is None


@pytest.mark.parametrize("end", [Dense(3, "softmax"), Dense(3, None), Softmax()])
def test_cross_entropy_takes_logits_and_predictions_are_softmax(end):
    layers = [Flatten(), Dense(3, None), end] if isinstance(end, Softmax) else [Flatten(), end]
    network = CNN(*layers, loss="cross_entropy").build((1, 4, 4))
    weights = network.layers[1].parameters["weight"]
    x = images(6, (1, 4, 4))
    logits = x.reshape(6, 16) @ weights.T
    np.testing.assert_allclose(network.forward(x)[0], logits, rtol=1e-4, atol=1e-6)
    shares = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    np.testing.assert_allclose(network.predict_proba(x), shares, rtol=1e-4)
    labels = np.array([0, 1, 2, 0, 1, 2])
    expected = -np.log(shares[np.arange(6), labels]).mean()
    assert network.evaluate((x, labels)).loss == pytest.approx(expected, rel=1e-5)


def test_logits_of_a_thousand_stay_finite():
    network = CNN(Dense(3, "softmax"), loss="cross_entropy", optimizer=SGD(1e-3)).build((1, 2, 2))
    network.layers[0].parameters["weight"][...] = 0
    network.layers[0].parameters["bias"][...] = [1000, -1000, 0]
    x, labels = np.zeros((2, 1, 2, 2), np.float32), np.array([0, 1])
    assert network.evaluate((x, labels)).loss == pytest.approx(1000)  # (0 + 2000) / 2
    network.train_step((x, labels))
    assert np.isfinite(network.parameters.values).all()


def test_sigmoid_scores_become_shares():
    network = CNN(Dense(3)).build((1, 2, 2))
    x = images(4, (1, 2, 2))
    scores = network.scores(x)
    np.testing.assert_allclose(network.predict_proba(x), scores / scores.sum(1, keepdims=True))


def test_activations_are_named_and_samples_come_first():
    network = small().build((1, 9, 8))
    found = network.activations(images(2))
    assert [(name, maps.shape) for name, maps in found] == [
        ("conv1", (2, 4, 9, 8)), ("pool1", (2, 4, 4, 4)), ("norm1", (2, 4, 4, 4)),
        ("conv2", (2, 3, 2, 2)), ("dense1", (2, 6)), ("dropout1", (2, 6)), ("dense2", (2, 3)),
    ]  # fmt: skip
    np.testing.assert_allclose(found[-1][1], network.forward(images(2))[0], rtol=1e-6)


def test_raw_images_are_scaled_as_in_training_and_scaled_ones_on_request_are_not():
    pixels = RNG.integers(0, 256, size=(40, 1, 9, 8), dtype=np.uint8)
    labels = np.arange(40) % 3
    scaling = Scaling.fit("standard", pixels)
    data = Dataset(pixels, labels, ("a", "b", "c"), scaling)
    network = small()
    network.fit(data, epochs=1, progress=False)
    scaled = data.batch(np.arange(40))[0]
    np.testing.assert_allclose(network.scores(pixels), network.scores(data), rtol=1e-6)
    np.testing.assert_allclose(network.scores(scaled, scaled=True), network.scores(data), rtol=1e-4)


def test_l2_enters_loss_and_gradient_of_weights_alone():
    x, labels = images(8, (1, 3, 3)), np.arange(8) % 3
    plain = CNN(Dense(3), optimizer=SGD(0.1), seed=1).build((1, 3, 3))
    decayed = CNN(Dense(3), optimizer=SGD(0.1), seed=1, l2=0.5).build((1, 3, 3))
    weights = plain.layers[0].parameters["weight"].copy()
    penalty = 0.25 * float((weights**2).sum())
    losses = [net.evaluate((x, labels)).loss for net in (plain, decayed)]
    assert losses[1] - losses[0] == pytest.approx(penalty, rel=1e-5)
    for net in (plain, decayed):
        net.train_step((x, labels))
    difference = plain.layers[0].parameters["weight"] - decayed.layers[0].parameters["weight"]
    np.testing.assert_allclose(difference, 0.1 * 0.5 * weights, rtol=1e-4, atol=1e-7)
    bias = [net.layers[0].parameters["bias"] for net in (plain, decayed)]
    np.testing.assert_array_equal(*bias)


def test_a_layers_own_l2_and_optimizer_replace_the_networks():
    network = CNN(
        Conv2D(2, 3, optimizer=SGD(0.5), l2=0.0), Dense(3), optimizer=SGD(1e-9), l2=0.1
    ).build((1, 5, 5))
    conv, dense = (layer.parameters["weight"] for layer in network.layers)
    before = conv.copy(), dense.copy()
    network.train_step((images(6, (1, 5, 5)), np.arange(6) % 3))
    assert np.abs(conv - before[0]).max() > 1e-5
    assert np.abs(dense - before[1]).max() < 1e-7
    assert network.parameters.penalty() == pytest.approx(0.05 * (dense**2).sum(), rel=1e-5)


def test_a_custom_training_loop_can_call_train_step():
    x, labels = images(30, (1, 6, 6)), np.arange(30) % 3
    network = CNN(Flatten(), Dense(16, "relu"), Dense(3), optimizer=Adam(0.01))
    first, _ = network.train_step((x, labels))
    for _ in range(150):
        last, right = network.train_step((x, labels))
    assert right == 30
    assert last < first / 10


@pytest.mark.parametrize("pair", [True, False])
def test_gradient_check_takes_a_pair_or_images_alone(pair):
    x = images(4)
    assert small().gradient_check((x, np.arange(4) % 3) if pair else x, quiet=True).passed


def test_global_average_pool_and_average_pool_train():
    network = CNN(
        Conv2D(8, 3), AvgPool2D(2), Conv2D(3, 3, activation=None), GlobalAvgPool2D(),
        loss="cross_entropy", optimizer=Adam(0.02),
    )  # fmt: skip
    x = images(30, (1, 8, 8))
    labels = np.arange(30) % 3
    x += labels[:, None, None, None]  # brightness tells the class
    for _ in range(60):
        _, right = network.train_step((x, labels))
    assert right == 30


class TestSanityCheck:
    def data(self, count=60):
        return images(count, (1, 8, 8)), np.arange(count) % 3

    def test_a_sound_network_passes_and_stays_as_it_was(self, capsys):
        network = CNN(Conv2D(8, 3), MaxPool2D(2), Dense(3), optimizer=Adam(3e-3))
        network.build((1, 8, 8))
        before = network.parameters.values.copy()
        report = network.sanity_check(self.data(), images=24, epochs=300)
        assert report.passed
        assert report.accuracy == 1
        assert report.loss < 0.05 * report.chance_loss
        np.testing.assert_array_equal(network.parameters.values, before)
        assert "Verdict: passed" in capsys.readouterr().out

    def test_a_network_that_cannot_learn_fails_with_advice(self):
        network = CNN(Dense(3), optimizer=SGD(1e-9))
        report = network.sanity_check(self.data(), epochs=3, quiet=True)
        assert not report.passed
        assert "FAILED" in report.verdict
        assert "learning rate" in report.verdict

    def test_a_first_loss_far_from_chance_is_suspicious(self):
        """Images a thousand times too large: the logits are huge before any training."""
        x, labels = self.data()
        network = CNN(Dense(32, "relu"), Dense(3, None), loss="cross_entropy", optimizer=Adam(0.1))
        report = network.sanity_check((1000 * x, labels), epochs=300, quiet=True)
        assert not report.starts_at_chance
        assert not report.passed
        assert "suspicious" in report.verdict

    def test_it_takes_20_to_50_images(self):
        with pytest.raises(ValueError, match="20 to 50, got 10"):
            CNN(Dense(3)).sanity_check(self.data(), images=10)


class TestMistakesOfTheUser:
    def test_no_layers(self):
        with pytest.raises(ValueError, match="has no layers"):
            CNN().build((1, 8, 8))

    def test_not_a_layer(self):
        with pytest.raises(TypeError, match=r"expected a layer such as Conv2D\(8\)"):
            CNN(Conv2D)

    def test_the_same_layer_twice(self):
        layer = Dense(3)
        with pytest.raises(ValueError, match="in the network already"):
            CNN(layer, layer)

    def test_two_layers_of_one_name(self):
        with pytest.raises(ValueError, match="two layers are called 'a'"):
            CNN(Dense(3, name="a"), Dense(3, name="a")).build((4,))

    def test_adding_after_building(self):
        network = CNN(Dense(3)).build((1, 2, 2))
        with pytest.raises(ValueError, match="built already"):
            network.add(Dense(3))

    def test_another_image_size(self):
        network = CNN(Dense(3)).build((1, 2, 2))
        with pytest.raises(ValueError, match=r"built for images \(1, 2, 2\), got \(1, 3, 3\)"):
            network.predict(images(2, (1, 3, 3)))

    def test_a_kernel_larger_than_its_input_names_the_layer(self):
        network = CNN(Conv2D(2, 3), MaxPool2D(4), Conv2D(2, 5, padding="valid"), Dense(3))
        with pytest.raises(ValueError, match=r"Conv2D 'conv2'.*spans \(5, 5\).*only \(2, 2\)"):
            network.build((1, 8, 8))
        assert network.parameters is None

    def test_convolution_behind_a_dense_layer(self):
        message = r"Conv2D 'conv1': expected input \(channels, height, width\), got \(4,\)"
        with pytest.raises(ValueError, match=message):
            CNN(Dense(4), Conv2D(2)).build((1, 8, 8))

    def test_too_few_outputs(self):
        with pytest.raises(
            ValueError, match=r"data has 4 classes .* end the network with Dense\(4\)"
        ):
            data = Dataset(images(4), np.arange(4), tuple("abcd"), Scaling("none"))
            CNN(Dense(3)).fit(data, epochs=1)

    def test_validation_that_does_not_fit_is_said_before_any_training(self):
        network = CNN(Dense(3))
        train = images(6), np.arange(6) % 3
        with pytest.raises(ValueError, match=r"built for images \(1, 9, 8\), got \(1, 4, 4\)"):
            network.fit(train, (images(6, (1, 4, 4)), np.arange(6) % 3), progress=False)
        broken = images(6)
        broken[5] = np.nan
        other = Dataset(broken, np.arange(6) % 3, tuple("abc"), Scaling("none"))
        with pytest.raises(ValueError, match=r"1 of 6 images hold NaN"):
            network.fit(train, other, progress=False)
        assert not network.history.records

    def test_no_flat_end(self):
        with pytest.raises(ValueError, match=r"gives \(2, 9, 8\), expected \(classes,\)"):
            CNN(Conv2D(2)).fit((images(4), np.arange(4) % 2), epochs=1)

    @pytest.mark.parametrize(
        ("labels", "error", "message"),
        [
            ([0, 1, 3], ValueError, r"labels must lie in 0\.\.2.*first is 3 at index 2"),
            ([0, -1, 2], ValueError, r"first is -1 at index 1"),
            ([0, 1], ValueError, "3 images need as many labels"),
            ([0.0, 1.0, 2.0], TypeError, "labels must be whole numbers"),
            (["a", "b"], ValueError, "3 images need as many labels"),
        ],
    )
    def test_labels(self, labels, error, message):
        network = CNN(Dense(3))
        with pytest.raises(error, match=message):
            network.fit((images(3), labels), epochs=1)
        assert not network.history.records

    def test_nan_and_infinity_in_the_images(self):
        x = images(5)
        x[3, 0, 2, 2] = np.nan
        x[4, 0, 0, 0] = np.inf
        for call in (lambda: CNN(Dense(3)).fit((x, np.arange(5) % 3)),
                     lambda: CNN(Dense(3)).predict(x),
                     lambda: CNN(Dense(3)).fit(Dataset(x, np.arange(5) % 3, tuple("abc"),
                                                       Scaling("none")))):  # fmt: skip
            with pytest.raises(ValueError, match=r"2 of 5 images hold NaN .* first is image 3"):
                call()

    def test_an_empty_set(self):
        with pytest.raises(ValueError, match="data set is empty"):
            CNN(Dense(3)).fit((images(0), np.zeros(0, int)))

    def test_something_that_is_no_data(self):
        with pytest.raises(TypeError, match=r"expected a Dataset such as MNIST\(\)\.train"):
            CNN(Dense(3)).fit("mnist")

    def test_images_without_their_axes(self):
        with pytest.raises(
            ValueError, match=r"expected images \(samples, channels, height, width\)"
        ):
            CNN(Conv2D(3)).predict(np.zeros((4, 784)))
        with pytest.raises(ValueError, match=r"expected images \(samples, channels, height"):
            CNN(Dense(3)).predict(np.zeros(784))

    @pytest.mark.parametrize(
        ("settings", "error", "message"),
        [
            ({"loss": "mes"}, ValueError, "unknown loss 'mes': did you mean 'mse'"),
            ({"loss": 3}, TypeError, "loss: expected a name or a Loss"),
            ({"optimizer": "adm"}, ValueError, "unknown optimizer 'adm': did you mean 'adam'"),
            ({"kernels": "nunpy"}, ValueError, "unknown kernels 'nunpy': did you mean 'numpy'"),
            ({"threads": 0}, ValueError, "threads: expected at least 1, got 0"),
            ({"threads": 1.5}, TypeError, "threads: expected a whole number"),
            ({"seed": -1}, ValueError, "seed: expected at least 0"),
            ({"l2": -1.0}, ValueError, "l2: expected a finite number of 0 or more"),
            ({"dtype": np.int32}, ValueError, "dtype: expected float32 or float64"),
            (
                {"label_smoothing": 0.1, "loss": CrossEntropy()},
                ValueError,
                r"write CrossEntropy\(label_smoothing=0\.1\)",
            ),
            ({"label_smoothing": 1.0}, ValueError, "label_smoothing: expected 0 <= value < 1"),
        ],
    )
    def test_settings(self, settings, error, message):
        with pytest.raises(error, match=message):
            CNN(Dense(3), **settings)

    @pytest.mark.parametrize(
        ("settings", "message"),
        [
            ({"epochs": 0}, "epochs: expected at least 1"),
            ({"batch_size": 0}, "batch_size: expected at least 1"),
            ({"patience": 2}, "patience needs validation data"),
            (
                {"augment": 1},
                r"augment: expected a function .*Augmentation\(shift=2\), got 1",
            ),
            ({"preview": 0}, "preview: expected a finite number above 0"),
            ({"preview": 1.5}, "preview: expected 0 <= value <= 1"),
        ],
    )
    def test_arguments_of_fit(self, settings, message):
        with pytest.raises((ValueError, TypeError), match=message):
            CNN(Dense(3)).fit((images(6), np.arange(6) % 3), **settings)

    @pytest.mark.parametrize("rate", [0, -0.1, float("nan"), float("inf")])
    def test_a_learning_rate_that_is_none(self, rate):
        with pytest.raises(ValueError, match="learning_rate: expected a finite number above 0"):
            Adam(rate)

    def test_cross_entropy_behind_a_sigmoid(self):
        message = (
            "cross_entropy expects a last layer with activation 'softmax' or None, got 'sigmoid'"
        )
        with pytest.raises(ValueError, match=message):
            CNN(Dense(3), loss="cross_entropy").build((1, 2, 2))

    def test_not_built_yet(self):
        with pytest.raises(ValueError, match="not built yet"):
            CNN(Dense(3)).summary()


def test_a_loss_that_is_not_finite_names_step_and_layer():
    x, labels = images(12, (1, 6, 6)), np.arange(12) % 3
    network = CNN(Conv2D(4, 3, name="first"), Dense(3, None, name="last"), optimizer=SGD(1e30))
    message = (
        r"step [2-9]: the loss is not .* Dense 'last'.*rate ten times smaller \(now SGD\(1e\+30"
    )
    with pytest.raises(Diverged, match=message):
        network.fit((x, labels), epochs=50, progress=False)


# --- many layers -----------------------------------------------------------------------------


class CountingName(str):
    """A name that counts how often it is compared."""

    compared = 0

    def __eq__(self, other):
        CountingName.compared += 1
        return str.__eq__(self, other)

    __hash__ = str.__hash__


def work_of(layers, path):
    """How many calls and comparisons of names it takes to make, save and load so many layers."""
    calls = 0

    def count(frame, event, argument):
        nonlocal calls
        calls += 1

    CountingName.compared = 0
    parts = [Identity(name=CountingName(f"part {k}")) for k in range(layers)]
    sys.setprofile(count)
    try:
        CNN(*parts, Dense(2), kernels="numpy").build((1, 2, 2)).save(path)
        CNN.load(path)
    finally:
        sys.setprofile(None)
    return calls + CountingName.compared


@pytest.mark.slow
def test_work_grows_with_the_number_of_layers_and_not_with_its_square(tmp_path):
    """With a square in it, the last 200 layers would take more than the 200 before them."""
    path = tmp_path / "many.safetensors"
    work_of(10, path)  # what is loaded and remembered once
    few, more, most = (work_of(count, path) for count in (50, 250, 450))
    assert most - more < 1.05 * (more - few)


def test_a_network_has_a_largest_number_of_layers(monkeypatch, tmp_path):
    monkeypatch.setattr("glassbox.engine.blocks.MOST_LAYERS", 3)
    CNN(Identity(), Identity(), Dense(2)).build((1, 2, 2)).save(tmp_path / "three.safetensors")
    with pytest.raises(ValueError, match="got 4 layers, expected at most 3"):
        CNN(Identity(), Identity(), Identity(), Dense(2)).build((1, 2, 2))
    monkeypatch.setattr("glassbox.engine.blocks.MOST_LAYERS", 2)
    with pytest.raises(
        ValueError, match=r"three\.safetensors: layers: got 3 layers, expected at most 2"
    ):
        CNN.load(tmp_path / "three.safetensors")
