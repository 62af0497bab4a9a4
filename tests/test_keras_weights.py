"""Weights that Keras saved: the same outputs as Keras had with them; hostile files are refused."""

import json
import re
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
from pages import Page

from CNN import CNN
from Filters import Conv2D, GlobalAvgPool2D, MaxPool2D, Residual
from MLP import BatchNorm, Dense, Dropout, Flatten

h5py = pytest.importorskip("h5py", reason="h5py is not installed")

FOLDER = Path(__file__).with_name("keras_weights")  # made by make_keras_weights.py
ORDER = {"residual1.conv1": "conv2d", "residual1.shortcut": "conv2d_2"}


def layers_of(name, epsilon=1e-3):
    """The layers of `make_keras_weights.networks`."""
    if name == "cnn":
        return [
            Conv2D(4, (3, 2), padding="valid", activation="relu"), BatchNorm(epsilon=epsilon),
            MaxPool2D(2), Dropout(0.2), Conv2D(5, 2, padding="valid", activation=None, bias=False),
            Dense(7, "relu"), Dense(3, "softmax"),
        ]  # fmt: skip
    if name == "rows":
        return [
            Flatten(), BatchNorm(epsilon=epsilon), Dropout(), Dense(24, "tanh"), Dense(3, None),
        ]  # fmt: skip
    if name == "many":
        return [Dense(2, None) for _ in range(12)]
    first = Conv2D(4, 3, stride=2, activation="relu", bias=False)
    inside = [first, BatchNorm(epsilon=1e-5), Conv2D(4, 3, activation=None)]
    return [Residual(*inside, activation="relu"), GlobalAvgPool2D(), Dense(3, None)]


def built(name, **given):
    with np.load(FOLDER / f"{name}.npz") as held:
        images, outputs = held["images"], held["outputs"]
    network = CNN(*layers_of(name, **given), kernels="numpy").build(images.shape[1:])
    return network, images, outputs


@pytest.mark.parametrize(
    "file", ["cnn.weights.h5", "cnn.keras", "rows.weights.h5", "many.weights.h5"]
)
def test_outputs_are_those_of_keras(file):
    network, images, outputs = built(file.split(".")[0])
    found, _ = network.load_weights(FOLDER / file).forward(images)
    np.testing.assert_allclose(found, outputs, rtol=1e-5, atol=1e-6)


def test_the_example_of_the_page_runs(monkeypatch):
    monkeypatch.chdir(FOLDER)
    blocks = [text for _, text in Page("docs/models.md").blocks if "cnn.keras" in text]
    assert len(blocks) == 1
    names = {}
    exec(blocks[0], names)
    _, images, outputs = built("cnn")
    np.testing.assert_allclose(names["network"].forward(images)[0], outputs, rtol=1e-5, atol=1e-6)


def test_the_shortcut_of_a_block_is_matched_in_order_or_by_name():
    for names in (None, ORDER, {"dense1": "dense"}):
        network, images, outputs = built("residual")
        found, _ = network.load_weights(FOLDER / "residual.weights.h5", names).forward(images)
        np.testing.assert_allclose(found, outputs, rtol=1e-5, atol=1e-6)
    with pytest.raises(ValueError, match=r"residual1\.conv1\.weight has the shape \(4, 2, 1, 1\)"):
        network.load_weights(
            FOLDER / "residual.weights.h5",
            {"residual1.conv1": "conv2d_2", "residual1.shortcut": "conv2d"},
        )


@pytest.mark.parametrize(
    ("names", "words"),
    [
        ({"conv9": "conv2d"}, "names gives 'conv9', but the network has only 'conv1', 'conv2'"),
        ({"conv1": "stem"}, "names gives 'stem', but the file has only 'batch_normalization'"),
    ],
)
def test_a_name_that_is_not_there_is_refused(names, words):
    with pytest.raises(ValueError, match=words):
        built("cnn")[0].load_weights(FOLDER / "cnn.weights.h5", names)


def test_another_epsilon_than_in_training_is_refused():
    """Which only a .keras file tells."""
    network, *_ = built("cnn", epsilon=1e-5)
    words = re.escape("epsilon=0.001, BatchNorm 'norm1' has 1e-05; write BatchNorm(epsilon=0.001)")
    with pytest.raises(ValueError, match=words):
        network.load_weights(FOLDER / "cnn.keras")


def test_other_layers_are_refused_in_plain_words():
    other = CNN(Dense(3), kernels="numpy").build((4,))
    words = "its layers are not those of the network: 'dense', 'dense_1' there, 'dense1' here"
    with pytest.raises(ValueError, match=words):
        other.load_weights(FOLDER / "cnn.weights.h5")
    with pytest.raises(ValueError, match=r"none there, 'conv1' here; use the same layers, or"):
        CNN(Conv2D(2), kernels="numpy").build((1, 4, 4)).load_weights(small(lambda file: None))


def test_without_h5py_the_error_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "h5py", None)
    with pytest.raises(ImportError, match=r"need the package h5py: pip install h5py"):
        built("cnn")[0].load_weights(FOLDER / "cnn.keras")


# --- files that are not what they should be ------------------------------------------------------

DIGITS = np.arange(6, dtype=np.float32).reshape(2, 3)


@pytest.fixture(autouse=True)
def _folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def small(change):
    """The path of a file of one Dense(3) for rows of 2, once `change` has had its way with it."""
    with h5py.File("small.weights.h5", "w") as file:
        file["layers/dense/vars/0"], file["layers/dense/vars/1"] = DIGITS, DIGITS[0]
        change(file)
    return Path("small.weights.h5")


def put(path, make):
    """Replace what is at a path."""

    def change(file):
        if path in file:
            del file[path]
        make(file)

    return change


def create(**given):
    return lambda file: file.create_dataset("layers/dense/vars/0", **given)


def assign(path, value):
    return put(path, lambda file: file.__setitem__(path, value))


def stitched(file):
    layout = h5py.VirtualLayout(shape=(2, 3), dtype="f4")
    layout[:] = h5py.VirtualSource("other.h5", "x", shape=(2, 3))
    file.create_virtual_dataset("layers/dense/vars/0", layout)


def ring(file):
    for number in range(10):
        file[f"layers/{number}"] = file["layers"]


def nested(file):
    for number in range(40):
        file = file.create_group(f"g{number}")


FIRST = "layers/dense/vars/0"
HOSTILE = {
    "external link": (
        assign(FIRST, h5py.ExternalLink("/etc/hostname", "/x")), "'layers/dense/vars/0' is a link"
    ),
    "soft link": (assign(FIRST, h5py.SoftLink("/layers/dense/vars/1")), "is a link, expected"),
    "linked group": (assign("layers/dense", h5py.ExternalLink("o.h5", "/")), "is a link, expected"),
    "ring": (ring, "it holds too many names, or groups in groups"),
    "deep": (nested, "it holds too many names, or groups in groups"),
    "objects": (
        put(FIRST, create(shape=(2, 3), dtype=h5py.string_dtype())), "0 is not of float16, float32"
    ),
    "lists": (put(FIRST, create(shape=(2,), dtype=h5py.vlen_dtype("f4"))), "is not of float16"),
    "records": (put(FIRST, create(shape=(2,), dtype=[("a", "f4")])), "is not of float16"),
    "whole numbers": (assign(FIRST, DIGITS.astype(np.int32)), "is not of float16, float32 or"),
    "bomb": (
        put(FIRST, create(shape=(2**13, 2**13), dtype="f4", chunks=(2**13, 2**13),
                          compression="gzip", fillvalue=1)),
        "dense/vars/0 is in pieces, packed, or in another file",
    ),
    "grows": (put(FIRST, create(shape=(2, 3), dtype="f4", maxshape=(None, 3))), "is in pieces"),
    "virtual": (put(FIRST, stitched), "is in pieces, packed, or in another file"),
    "other file": (
        put(FIRST, create(shape=(2, 3), dtype="f4", external=[("/etc/hostname", 0, 24)])),
        "is in pieces, packed, or in another file",
    ),
    "huge": (put(FIRST, create(shape=(2**20, 2**20), dtype="f8")), "more than the file holds"),
    "empty": (put(FIRST, create(shape=(2, 3), dtype="f4")), "more than the file holds"),
    "no bias": (put("layers/dense/vars/1", lambda file: None), "holds 1 arrays, expected 2 for"),
    "a gap": (assign("layers/dense/vars/7", DIGITS), "'dense' holds 3 arrays, expected 2 for"),
    "a group": (
        put(FIRST, lambda file: file.create_group(FIRST)), "'dense' holds 1 arrays, expected 2"
    ),
    "another layer": (assign("layers/normalization/vars/0", DIGITS), "'normalization' there, none"),
    "another shape": (assign(FIRST, DIGITS.T), r"dense1\.weight has the shape \(2, 3\), the netw"),
    "not a number": (assign(FIRST, DIGITS * np.nan), r"dense1\.weight holds NaN, infinity or"),
    "no weights": (put("layers", lambda file: None), "it holds no weights as Keras 3 saves them"),
}  # fmt: skip


def refused(path, words):
    """The words stand in the error, and the network is as before."""
    network = CNN(Dense(3), kernels="numpy").build((2,))
    before = network.parameters.values.copy()
    with pytest.raises(ValueError, match=words) as caught:
        network.load_weights(path)
    assert str(caught.value).startswith(f"{path}: ")
    assert (network.parameters.values == before).all()


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_file_is_refused_in_plain_words(name):
    change, words = HOSTILE[name]
    refused(small(change), words)


def test_such_a_file_is_read_where_nobody_changed_it():
    network = CNN(Dense(3), kernels="numpy").build((2,)).load_weights(small(lambda file: None))
    assert (network.layers[0].parameters["weight"] == DIGITS.T).all()


def test_a_cut_file_is_refused():
    whole = (FOLDER / "cnn.keras").read_bytes(), small(lambda file: None).read_bytes()
    Path("cut.h5").write_bytes(whole[1][:-40])
    refused(Path("cut.h5"), r"not a complete Keras file \(")
    with zipfile.ZipFile("cut.keras", "w") as archive:
        archive.writestr("model.weights.h5", whole[1][:500])
        archive.writestr("config.json", "{}")
    refused(Path("cut.keras"), r"not a complete Keras file \(")
    Path("cut.keras").write_bytes(whole[0][:10_000] + whole[0][-400:])
    refused(Path("cut.keras"), r"not a complete Keras file \(")


@pytest.mark.parametrize(
    ("config", "words"),
    [
        (None, r"not a complete Keras file \(.*config\.json"),
        ("{", r"not a complete Keras file \("),
        ("[" * 100_000, "not a complete"),
        (json.dumps({"config": {"layers": [3]}}), "not a complete"),
    ],
)
def test_an_archive_without_a_sound_config_is_refused(config, words):
    with zipfile.ZipFile("odd.keras", "w") as archive:
        archive.write(small(lambda file: None), "model.weights.h5")
        if config is not None:
            archive.writestr("config.json", config)
    refused(Path("odd.keras"), words)


def test_an_archive_that_unpacks_to_too_much_is_refused():
    with zipfile.ZipFile("bomb.keras", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("model.weights.h5", bytes(40_000_000))
        archive.writestr("config.json", "{}")
    refused(Path("bomb.keras"), "unpacks to 40,000,000 bytes, which is too many")
    data = bytearray(Path("bomb.keras").read_bytes())
    claimed = (40_000_000).to_bytes(4, "little")
    while (place := data.find(claimed)) >= 0:  # the directory says less than there is
        data[place : place + 4] = (1000).to_bytes(4, "little")
    Path("bomb.keras").write_bytes(data)
    refused(Path("bomb.keras"), "not a complete Keras file")
