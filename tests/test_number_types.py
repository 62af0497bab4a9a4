"""The same images are the same, whatever type of number they come in and through whatever door."""

import re
import warnings

import numpy as np
import onnxruntime
import pytest

from CNN import CNN
from Datasets import Dataset, Scaling, from_arrays, from_npz
from Filters import Conv2D, MaxPool2D
from glassbox.data import suspicions
from glassbox.data.suspicions import DataWarning
from MLP import Adam, Dense

LABELS = np.arange(60) % 3
PIXELS = np.random.default_rng(5).integers(0, 100, (60, 1, 8, 8)).astype(np.uint8)
PIXELS[np.arange(60), 0, LABELS * 2] = 255
PIXELS[:, :, 7, 7] = 0  # 0 and 255 are there: from_arrays finds the same range in all types
DARK = (PIXELS > 128).astype(np.uint8)

TYPES = {
    "uint8": lambda x: x.astype(np.uint8),
    "uint16": lambda x: x.astype(np.uint16),
    "int64": lambda x: x.astype(np.int64),
    "float32": lambda x: x.astype(np.float32),
    "float64": lambda x: x.astype(np.float64),
    "list": lambda x: x.tolist(),
}


@pytest.fixture(autouse=True)
def forget():
    suspicions._shown.clear()


def network(seed=0):
    return CNN(
        Conv2D(4, 3), MaxPool2D(2), Dense(3, "softmax"), loss="cross_entropy",
        optimizer=Adam(0.01), seed=seed, kernels="numpy",
    )  # fmt: skip


def quiet(call, *arguments, **options):
    """Whatever is called; any warning is an error."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        return call(*arguments, **options)


def answers(net, x, folder):
    """What each public entrance says of the same images."""
    path = folder / "preview.png"
    quiet(net.preview, x[0], path)
    return {
        "predict": quiet(net.predict, x),
        "predict_proba": quiet(net.predict_proba, x),
        "scores": quiet(net.scores, x),
        "evaluate": np.array(quiet(net.evaluate, (x, LABELS)).loss),
        "activations": quiet(net.activations, x)[0][1],
        "gradient_check": np.array([str(quiet(net.gradient_check, x, quiet=True))]),
        "preview": np.frombuffer(path.read_bytes(), np.uint8),
    }


def same(found, expected):
    assert found.keys() == expected.keys()
    for name, array in found.items():
        assert np.array_equal(array, expected[name]), name


@pytest.fixture(scope="module")
def trained_network(tmp_path_factory):
    """A network, and its answers to bytes."""
    net = network()
    data = from_arrays(PIXELS, LABELS, sizes=(60, 0, 0), stratify=False)
    net.fit(data.train, epochs=2, progress=False)
    return net, answers(net, PIXELS, tmp_path_factory.mktemp("bytes"))


@pytest.mark.parametrize("asked", TYPES)
def test_raw_images_of_any_type_get_the_same_answers(trained_network, asked, tmp_path):
    net, expected = trained_network
    same(answers(net, TYPES[asked](PIXELS), tmp_path), expected)


@pytest.mark.parametrize("trained", TYPES)
@pytest.mark.parametrize("normalize", ["center", "standard", "unit", "per-image", "min-max"])
def test_trained_through_from_arrays_on_any_type(trained, normalize, tmp_path):
    x = TYPES[trained](PIXELS)
    options = {"sizes": (60, 0, 0), "stratify": False, "normalize": normalize}
    net = network()
    net.fit(from_arrays(x, LABELS, **options).train, epochs=3, progress=False)
    expected = network()
    expected.fit(from_arrays(PIXELS, LABELS, **options).train, epochs=3, progress=False)
    again = CNN.load(net.save(tmp_path / "model.safetensors"), kernels="numpy")
    for asked in ("uint8", "float64", "list"):
        found = quiet(again.predict_proba, TYPES[asked](PIXELS))
        np.testing.assert_allclose(found, expected.predict_proba(PIXELS), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("trained", TYPES)
def test_a_pair_of_any_type_trains_the_same_network(trained):
    net, expected = network(), network()
    x = TYPES[trained](PIXELS)
    parts = slice(0, 40), slice(40, 60)
    quiet(net.fit, *((x[part], LABELS[part]) for part in parts), epochs=3, progress=False)
    expected.fit(*((PIXELS[part], LABELS[part]) for part in parts), epochs=3, progress=False)
    assert net.scaling == expected.scaling == Scaling("unit")
    assert net.parameters.values.tobytes() == expected.parameters.values.tobytes()
    assert [r["validation_loss"] for r in net.history.records] == [
        r["validation_loss"] for r in expected.history.records
    ]
    again = network()
    again.train_step((x, LABELS))
    assert again.scaling == Scaling("unit")


@pytest.mark.parametrize("trained", [bool, np.int64, np.float32])
def test_black_and_white(trained):
    net = network()
    net.fit((DARK.astype(trained), LABELS), epochs=2, progress=False)
    assert (net.scaling.low, net.scaling.high) == (0, 1)
    expected = net.scores(DARK)
    for asked in (bool, np.uint8, np.int64, np.float64):
        assert (quiet(net.scores, DARK.astype(asked)) == expected).all()


def test_validation_is_scaled_by_what_was_fitted_to_the_training_images():
    data = from_arrays(PIXELS, LABELS, sizes=(60, 0, 0), normalize="standard").train
    net, expected = network(), network()
    net.fit(data, (PIXELS, LABELS), epochs=1, progress=False)
    expected.fit(data, Dataset(PIXELS, LABELS, data.classes, data.scaling), 1, progress=False)
    assert (
        net.history.records[0]["validation_loss"]
        == (expected.history.records[0]["validation_loss"])
    )


def test_scaled_images_are_named_so():
    net = network()
    net.fit((PIXELS, LABELS), epochs=1, progress=False)
    scaled = PIXELS / np.float32(255)
    for call in (net.predict_proba, net.scores):
        assert (quiet(call, scaled, scaled=True) == call(PIXELS)).all()
    assert quiet(net.evaluate, (scaled, LABELS), scaled=True).loss == (
        net.evaluate((PIXELS, LABELS)).loss
    )
    found = quiet(net.activations, scaled, scaled=True)[0][1]
    assert (found == net.activations(PIXELS)[0][1]).all()
    with pytest.raises(TypeError, match=r"scaled=True: expected floats, got uint8"):
        net.predict(PIXELS, scaled=True)


@pytest.mark.parametrize(
    ("trained", "asked"),
    [
        (PIXELS, PIXELS / 255.0),
        (PIXELS, PIXELS / 255.0 - 0.5),
        (PIXELS / 255.0, PIXELS),
        (PIXELS / 255.0, PIXELS * 1.0),
        (PIXELS, PIXELS.astype(np.uint16) * 200),
    ],
)
def test_another_range_is_said_once_in_one_line(trained, asked):
    net = network()
    net.fit((trained, LABELS), epochs=1, progress=False)
    with pytest.warns(DataWarning, match="pixels of .* for a network that expects raw ones") as got:
        net.predict(asked)
    assert len(got) == 1
    assert "\n" not in str(got[0].message)
    with warnings.catch_warnings(record=True) as found:
        warnings.simplefilter("default")
        suspicions._shown.clear()
        for _ in range(3):
            net.predict(asked)
    assert len(found) == 1


def test_data_of_another_scaling():
    one, two = (from_arrays(x, LABELS).train for x in (PIXELS, PIXELS // 2))
    net = network()
    net.fit(one, epochs=1, progress=False)
    quiet(net.evaluate, one)
    with pytest.warns(DataWarning, match="scaled by 'center' of 0..255, mean .* trained with 'cen"):
        net.evaluate(two)


def test_floats_that_are_scaled_already_train_as_they_are():
    x = np.random.default_rng(0).normal(size=(60, 1, 8, 8)).astype(np.float32)
    net = network()
    net.fit((x, LABELS), epochs=1, progress=False)
    assert net.scaling == Scaling("none")
    assert (quiet(net.scores, x) == net.scores(x, scaled=True)).all()


def test_without_a_scaling_floats_are_taken_as_they_are():
    net = network().build((1, 8, 8))
    x = PIXELS.astype(np.float32)
    np.testing.assert_allclose(net.activations(x)[-1][1], net.forward(x)[0], rtol=1e-5)
    assert (net.scores(PIXELS) == net.scores(PIXELS.astype(int))).all()


@pytest.mark.parametrize("trained", TYPES)
def test_onnx_takes_raw_images(trained):
    from glassbox.bridges.onnx import export

    net = network()
    net.fit((TYPES[trained](PIXELS), LABELS), epochs=1, progress=False)
    session = onnxruntime.InferenceSession(export(net, raw=True).SerializeToString())
    (found,) = session.run(None, {"images": PIXELS.astype(np.float32)})
    np.testing.assert_allclose(found, net.scores(PIXELS), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("trained", TYPES)
def test_the_classifier_of_scikit_learn(trained):
    from glassbox.bridges.sklearn import CNNClassifier

    options = {"epochs": 2, "random_state": 0, "kernels": "numpy"}
    expected = CNNClassifier(**options).fit(PIXELS, LABELS).predict_proba(PIXELS)
    model = CNNClassifier(**options).fit(np.array(TYPES[trained](PIXELS)), LABELS)
    np.testing.assert_allclose(model.predict_proba(PIXELS), expected, rtol=1e-4, atol=1e-6)
    for asked in TYPES.values():
        found = quiet(model.predict_proba, np.array(asked(PIXELS)))
        assert (found == model.predict_proba(PIXELS)).all()
    with pytest.warns(DataWarning, match="expects raw ones of 0..255"):
        model.predict(PIXELS / 255.0)


@pytest.mark.slow
@pytest.mark.parametrize("trained", ["uint8", "int64", "float64"])
def test_the_command_line(trained, tmp_path, capsys):
    from glassbox.cli.run import start

    np.savez(tmp_path / "set.npz", images=TYPES[trained](PIXELS), labels=LABELS)
    arguments = ["--dataset", str(tmp_path / "set.npz"), "--epochs", "2", "--output", str(tmp_path)]
    start(lambda options: network(), arguments)
    (folder,) = tmp_path.glob("*_set")
    net = CNN.load(folder / "model.safetensors", kernels="numpy")
    test = from_npz(tmp_path / "set.npz").test
    right = float(np.mean(net.predict(test.images.astype(np.int64)) == test.labels))
    assert f"accuracy {right:.2%}" in re.sub(r"\s+", " ", capsys.readouterr().out)


# --- channels last -------------------------------------------------------------------------------

LAST = [(60, 32, 32, 3), (60, 20, 30, 3), (60, 28, 28, 1), (60, 20, 30, 4)]


@pytest.mark.parametrize("shape", LAST)
@pytest.mark.parametrize("kind", [np.uint8, np.float32])
def test_channels_last_are_named_everywhere(shape, kind):
    x, labels = np.zeros(shape, kind), np.arange(60) % 2
    calls = (
        lambda: network().fit((x, labels)),
        lambda: network().predict(x),
        lambda: network().evaluate((x, labels)),
        lambda: network().activations(x),
        lambda: network().forward(x),
        lambda: network().train_step((x, labels)),
        lambda: network().sanity_check((x, labels)),
        lambda: network().gradient_check(x),
        lambda: CNN(Dense(2)).build(shape[1:]).preview(x[0], "nowhere.png"),
        lambda: from_arrays(x, labels),
        lambda: Dataset(x, labels, ("a", "b"), Scaling("unit")),
    )
    for call in calls:
        with pytest.raises(ValueError, match=r"channels last.*images\.transpose\(0, 3, 1, 2\)"):
            call()


def test_few_channels_of_narrow_images_are_no_channels_last():
    for shape in ((6, 3, 8, 3), (6, 4, 4, 4), (6, 16, 50, 1), (6, 1, 1, 64)):
        assert from_arrays(np.zeros(shape), [0, 1] * 3).shape == shape[1:]
