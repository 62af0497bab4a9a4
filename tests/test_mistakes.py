"""How errors are told: a sentence for those raised on purpose, else the user's own lines."""

import os
import warnings
from pathlib import Path

import numpy as np
import pytest

from CNN import CNN
from Filters import Conv2D
from glassbox.engine.layer import Layer
from MLP import Dense

ROOT = Path(__file__).parent.parent
WORDS = ["--dataset", "digits", "--epochs", "1", "--kernels", "numpy"]
OWN_LAYER = """
from glassbox.engine.layer import Layer


class Odd(Layer):
    stem = "odd"

    def forward(self, x, context):
        channels, height = x.shape
        return x, None

    def backward(self, dy, cache):
        return dy, {}
"""


@pytest.fixture
def edited(tmp_path, main_here):
    """A function that runs a copy of main.py with some texts replaced."""

    def run(replaced, top=""):
        text = (ROOT / "main.py").read_text("utf-8")
        for old, new in replaced.items():
            assert old in text
            text = text.replace(old, new)
        text = text.replace("def network", f"{top}\n\ndef network", 1)
        (tmp_path / "main.py").write_text(text)
        return main_here(*WORDS, program=tmp_path / "main.py")

    return run


def line_of(tmp_path, words):
    lines = (tmp_path / "main.py").read_text().splitlines()
    return 1 + next(k for k, line in enumerate(lines) if words in line)


def test_a_layer_of_ones_own_that_fails_is_shown_from_the_users_file_on(edited, tmp_path):
    done = edited({"        MaxPool2D(2),  # -> 8 x 14 x 14": "        Odd(),"}, OWN_LAYER)
    assert done.returncode == 2
    number = line_of(tmp_path, "channels, height = x.shape")
    lines = done.stderr.splitlines()
    assert lines[0] == "Traceback (most recent call last):"
    assert f'main.py", line {number}, in forward' in lines[1]  # the first of the calls
    assert "ValueError: too many values to unpack (expected 2)" in done.stderr
    assert "in the forward pass of Odd 'odd1', given (8, 8, 8, " in done.stderr
    assert not list(tmp_path.glob("results/*"))


@pytest.mark.parametrize(
    ("line", "error"),
    [
        ('int("eight")', "ValueError: invalid literal for int()"),
        ("len(8)", "TypeError: object of type 'int' has no len()"),
        ('open("nowhere.txt").read()', "FileNotFoundError:"),
        ("missing + 1", "NameError: name 'missing' is not defined"),
    ],
)
def test_an_error_of_the_users_own_lines_names_file_and_line(edited, tmp_path, line, error):
    done = edited({"    return CNN(": f"    {line}\n    return CNN("})
    assert done.returncode == 2
    assert f'main.py", line {line_of(tmp_path, line)}, in network' in done.stderr.splitlines()[1]
    assert error in done.stderr
    assert "cli" not in done.stderr  # nothing of what lies above


def test_an_error_raised_on_purpose_is_one_line_and_says_which_of_the_users(edited, tmp_path):
    done = edited({"Conv2D(8, kernel_size=3": "Conv2D(8, strides=2, kernel_size=3"})
    number = line_of(tmp_path, "strides=2")
    assert done.returncode == 2
    assert done.stderr == (
        "error: Conv2D has no argument 'strides'; it is called stride here "
        f"(main.py, line {number})\n"
    )


def test_an_error_within_an_edited_file_of_the_library_is_not_one_line(edited, monkeypatch):
    """`Filters.py` invites edits; what goes wrong in one is not said on purpose."""

    def broken(self, x, context):
        _channels, _height = x.shape

    own = Conv2D.forward.__code__
    broken.__code__ = broken.__code__.replace(co_filename=own.co_filename, co_name="forward")
    monkeypatch.setattr(Conv2D, "forward", broken)
    done = edited({})
    assert done.stderr.startswith("Traceback (most recent call last):")
    assert "in the forward pass of Conv2D 'conv1', given (1, 8, 8, " in done.stderr


def test_an_error_of_the_operating_system_is_one_line(main_here, monkeypatch):
    def full(*given, **named):
        raise OSError(28, "No space left on device", "results")

    monkeypatch.setattr("pathlib.Path.mkdir", full)
    full.__code__ = full.__code__.replace(co_filename=Path.mkdir.__code__.co_filename)
    done = main_here("--dataset", "digits")
    assert done.returncode == 2
    assert "No space left on device" in done.stderr
    assert "Traceback" not in done.stderr


# --- in a script or a notebook ---------------------------------------------------------------


class Broken(Layer):
    """Fails in one of its methods."""

    stem = "broken"

    def __init__(self, where):
        super().__init__()
        self.where = where

    def _build(self, input_shape, context):
        if self.where == "build":
            raise KeyError("size")
        return input_shape

    def forward(self, x, context):
        if self.where == "forward":
            x[:, 3, 0]
            np.zeros(3) + np.zeros(4)
        return x, None

    def backward(self, dy, cache):
        np.zeros(3) + np.zeros(4)
        return dy, {}


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("where", ["forward", "backward"])
def test_an_error_in_a_layer_names_it(where, threads, backend):
    data = np.zeros((300, 1, 8, 8), np.float32), np.arange(300) % 3
    network = CNN(Conv2D(2), Broken(where), Dense(3), threads=threads, kernels=backend)
    with pytest.raises(ValueError, match="could not be broadcast") as caught:
        network.fit(data, epochs=1, batch_size=300, progress=False)
    (note,) = caught.value.__notes__
    assert note.startswith(f"in the {where} pass of Broken 'broken1', given (2, 8, 8, ")


def test_an_error_that_names_the_layer_gets_no_note():
    with pytest.raises(ValueError, match="Conv2D 'conv1'") as caught:
        CNN(Dense(3), Conv2D(2, name="conv1")).build((1, 8, 8))
    assert not getattr(caught.value, "__notes__", ())


# --- predictions of an untrained network -----------------------------------------------------

PIXELS = np.random.default_rng(0).random((12, 1, 8, 8), np.float32)
DATA = PIXELS, np.arange(12) % 3


def asked(network, way="predict"):
    """How many warnings `network` gives when it is asked twice."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for _ in range(2):
            getattr(network, way)(PIXELS)
    assert all("is not trained yet: its answers are those of" in str(w.message) for w in caught)
    return len(caught)


@pytest.mark.parametrize("way", ["predict", "predict_proba"])
def test_predict_before_fit_warns_once(way):
    assert asked(CNN(Conv2D(2), Dense(3)), way) == 1
    assert asked(CNN(Conv2D(2), Dense(3, None), loss="cross_entropy").build((1, 8, 8)), way) == 1


def test_predict_after_anything_that_gives_weights_does_not_warn(tmp_path):
    trained = CNN(Conv2D(2), Dense(3))
    trained.fit(DATA, epochs=1, progress=False)
    assert asked(trained) == 0
    stepped = CNN(Conv2D(2), Dense(3))
    stepped.train_step(DATA)
    assert asked(stepped) == 0
    assert asked(CNN.load(trained.save(tmp_path / "model.safetensors"))) == 0
    filled = CNN(Conv2D(2), Dense(3)).build((1, 8, 8))
    filled.layers[0].parameters["weight"] = np.ones((2, 1, 3, 3))
    assert asked(filled) == 0
    assert asked(CNN(*trained.layers[:1], Dense(3))) == 0


# --- a second fit ----------------------------------------------------------------------------


def test_a_second_fit_continues_the_history(tmp_path):
    network = CNN(Conv2D(2), Dense(3))
    first = network.fit(DATA, DATA, epochs=2, batch_size=4, progress=False)
    assert network.history is first
    second = network.fit(DATA, DATA, epochs=3, batch_size=4, progress=False)
    assert [record["epoch"] for record in second.records] == [1, 2, 3]
    whole = network.history
    assert [record["epoch"] for record in whole.records] == [1, 2, 3, 4, 5]
    assert [record["loss"] for record in whole.records] == [
        record["loss"] for record in first.records + second.records
    ]
    images = whole.curves()[0]
    assert images == sorted(images)
    assert images[-1] == 5 * 12
    assert whole.best_epoch == second.best_epoch + 2
    assert whole.ended == second.ended


def test_a_resumed_run_has_its_own_history(tmp_path):
    network, path = CNN(Conv2D(2), Dense(3)), tmp_path / "run.safetensors"
    network.fit(DATA, epochs=2, progress=False, checkpoint=path)
    network.fit(DATA, epochs=4, progress=False, resume=path, allow_changes=True)
    assert [record["epoch"] for record in network.history.records] == [1, 2, 3, 4]


# --- the command line ------------------------------------------------------------------------


def test_resuming_a_run_that_is_not_there_names_the_latest(main_here, tmp_path):
    done = main_here("--resume", "results/2026")
    assert done.returncode == 2
    assert "there is no run in 'results/2026'; there are no runs to resume" in done.stderr
    for number, name in enumerate(("b", "a", "d", "c")):
        path = tmp_path / "results" / name / "checkpoint.safetensors"
        path.parent.mkdir(parents=True)
        path.write_bytes(b"")
        os.utime(path, (number, number))
    (tmp_path / "results" / "none").mkdir()
    for given in ("results/2026", "elsewhere/2026", "results/none"):
        done = main_here("--resume", given)
        assert "the latest runs are results/c, results/d, results/a\n" in done.stderr
