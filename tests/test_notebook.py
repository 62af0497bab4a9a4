"""In a notebook: a bar of its own, nothing shown twice, short words for objects."""

import sys
import warnings
from types import ModuleType

import numpy as np
import pytest
import tqdm

from CNN import CNN
from Datasets import Digits
from Filters import Conv2D
from glassbox.engine import progress_bar
from glassbox.engine.history import History
from glassbox.engine.progress_bar import epoch_line
from MLP import Dense

DATA = np.random.default_rng(0).random((30, 1, 6, 6), np.float32), np.arange(30) % 3


class Notebook(tqdm.tqdm):
    """Stands for the bar of notebooks, which needs one to be drawn."""

    made = ()

    def __init__(self, *given, **named):
        Notebook.made += (named["disable"],)
        super().__init__(*given, **named | {"disable": True})


Notebook.__name__ = "tqdm_notebook"  # by which the real one is known


@pytest.mark.parametrize(("shown", "disable"), [(True, False), (False, True)])
def test_the_bar_of_a_notebook_is_shown_there(monkeypatch, shown, disable):
    """Its output is no terminal, which would hide the usual bar."""
    auto = ModuleType("tqdm.auto")
    auto.tqdm = Notebook
    monkeypatch.setitem(sys.modules, "tqdm.auto", auto)
    monkeypatch.setitem(sys.modules, "IPython", ModuleType("IPython"))
    monkeypatch.setattr(Notebook, "made", ())
    CNN(Dense(3)).fit(DATA, epochs=2, progress=shown)
    assert Notebook.made == (disable, disable)


def test_a_notebook_without_a_bar_is_not_told_so_at_every_fit(monkeypatch):
    """tqdm warns where ipywidgets is not installed; the lines of the epochs are enough."""

    def imported(name):
        warnings.warn("IProgress not found", stacklevel=2)
        return tqdm

    monkeypatch.setitem(sys.modules, "IPython", ModuleType("IPython"))
    monkeypatch.setattr(progress_bar, "import_module", imported)
    CNN(Dense(3)).fit(DATA, epochs=1)  # a warning is an error in tests


def test_no_notebook_is_looked_for_elsewhere(monkeypatch):
    monkeypatch.delitem(sys.modules, "IPython", raising=False)
    monkeypatch.setitem(sys.modules, "tqdm.auto", None)  # importing it would raise
    CNN(Dense(3)).fit(DATA, epochs=1, progress=False)


def test_what_was_printed_is_not_shown_again(capsys):
    """The value of a cell that only calls `summary` would be its table once more."""
    table = CNN(Dense(3)).summary((1, 6, 6))
    assert capsys.readouterr().out == f"{table}\n"
    table._ipython_display_()
    assert capsys.readouterr().out == ""
    network = CNN(Dense(3))
    assert repr(network.sanity_check(DATA, epochs=2)) == "<SanityReport: failed>"
    assert repr(network.gradient_check(DATA)) == "<GradientReport: passed>"


def test_words_for_objects_are_short():
    network = CNN(Conv2D(2), Dense(3))
    assert repr(network) == "<CNN: 2 layers, not built yet>"
    history = network.fit(DATA, DATA, epochs=2, progress=False)
    assert repr(network) == "<CNN: 2 layers, images 1 x 6 x 6 -> 3 outputs, 239 parameters>"
    accuracy = history.records[history.best_epoch - 1]["validation_accuracy"]
    assert repr(history) == (
        f"<History: 2 epochs, best is {history.best_epoch} with validation accuracy "
        f"{accuracy:.2%}; all 2 epochs done>"
    )
    assert repr(History()) == "<History: no epochs>"
    alone = network.fit(DATA, epochs=1, progress=False)
    assert "1 epochs, last is 1 with accuracy" in repr(alone)
    assert repr(network.evaluate(DATA)).startswith("<Evaluation: accuracy ")
    assert repr(network.loss) == "MSE(label_smoothing=0.0)"
    assert repr(Conv2D(2)) == "<Conv2D: not built yet>"
    assert repr(network.layers[0].activation) == "<LeakyReLU: leaky_relu>"
    history.ended = ""
    assert repr(history).endswith("; ended early>")
    data = Digits()
    assert repr(data.train) == ("<Dataset: 1,258 images 1x8x8, 10 classes, normalized by 'center'>")
    assert len(repr(data)) < 120


def test_the_line_of_an_epoch_fits_80_columns():
    record = {"epoch": 10, "loss": 0.1517, "accuracy": 1.0, "validation_accuracy": 1.0}
    record |= {"seconds": 0.01, "images_per_second": 56199.0}
    long = epoch_line(record, 239)
    assert len(long) <= 80
    assert long.endswith("validation 100.00%  0.0 s")
    assert epoch_line(record | {"accuracy": 0.5}, 9).endswith("56,199 img/s")
