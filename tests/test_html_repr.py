"""What a notebook shows: HTML that is well formed, true to the object, harmless and small."""

import base64
import io
import re
import subprocess
import sys
from html.parser import HTMLParser
from xml.etree import ElementTree

import numpy as np
import pytest
from PIL import Image

from CNN import CNN
from Datasets import Digits, Splits
from Filters import Conv2D, MaxPool2D, Residual
from glassbox import html_repr
from glassbox.data.dataset import Dataset, Scaling
from glassbox.engine.edits import EditableType
from glassbox.engine.evaluation import Evaluation
from glassbox.engine.gradient_check import GradientError, GradientReport
from glassbox.engine.history import History
from glassbox.engine.sanity import SanityReport
from MLP import BatchNorm, Dense

RANDOM = np.random.default_rng(0)
DATA = RANDOM.random((30, 1, 6, 6), np.float32), np.arange(30) % 3
SVG = "{http://www.w3.org/2000/svg}"
EVIL = "\"'><script>alert(1)</script><img src=x onerror=alert(1)>&lt;\ud800"
# What JupyterLab leaves of a notebook that it does not trust, and `role` and `aria-label`.
TAGS = {"div", "table", "tr", "th", "td", "img"}
ATTRIBUTES = {"style", "title", "alt", "src", "colspan", "role", "aria-label"}


class Shown(HTMLParser):
    """The HTML of an object: its rows as texts, its pictures, its bars."""

    def __init__(self, thing):
        super().__init__()
        self.html = thing._repr_html_()
        self.open, self.rows, self.words, self.images, self.bars = [], [], [], [], []
        self.feed(self.html)
        self.close()
        assert not self.open, "elements are left open"
        assert len(self.html.encode("utf-8")) < 200_000

    def handle_starttag(self, name, attributes):
        assert name in TAGS
        given = dict(attributes)
        assert given.keys() <= ATTRIBUTES
        assert "url(" not in given.get("style", "")
        if name == "img":
            assert given["alt"]
            kind, data = re.fullmatch(r"data:image/(\S+);base64,(\S+)", given["src"]).groups()
            self.images.append((given["alt"], kind, base64.b64decode(data, validate=True)))
            return
        self.open.append(name)
        if name == "tr":
            self.rows.append([])
        elif name in ("td", "th"):
            self.rows[-1].append("")
        elif "role" in given:
            assert given["aria-label"] == given["title"]
        elif filled := re.search(r"width:([\d.]+)%;height", given.get("style", "")):
            self.bars.append(float(filled[1]))

    def handle_endtag(self, name):
        assert self.open.pop() == name

    def handle_data(self, text):
        self.words.append(text)
        if self.rows and {"td", "th"} & set(self.open):
            self.rows[-1][-1] += text

    @property
    def text(self):
        return " ".join(self.words)

    def pixels(self, place=0):
        """A PNG, as another library reads it."""
        assert self.images[place][1] == "png"
        return np.asarray(Image.open(io.BytesIO(self.images[place][2])))

    def svg(self):
        assert self.images[0][1] == "svg+xml"
        root = ElementTree.fromstring(self.images[0][2])
        assert root.get("aria-label") == root.find(f"{SVG}title").text == self.images[0][0]
        return root


def points(root, color):
    """The vertices of the lines of a color, for loss and for accuracy."""
    paths = [p.get("d") for p in root.iter(f"{SVG}path") if p.get("stroke") == color]
    return [np.array(re.findall(r"[ML]([\d.-]+) ([\d.-]+)", path), float) for path in paths]


def trained(*layers, epochs=2):
    network = CNN(*layers)
    return network, network.fit(DATA, DATA, epochs=epochs, progress=False)


# --- a network -------------------------------------------------------------------------------


def test_the_table_of_a_network_is_its_summary(capsys):
    network, _ = trained(Conv2D(4, 3), MaxPool2D(2), Dense(5), Dense(3))
    shown = Shown(network)
    words = network.summary()
    cells = [row for row in shown.rows if len(row) == 7]
    assert [row[0] for row in cells] == ["layer", "conv1", "pool1", "dense1", "dense2", "total"]
    for name, kind, *numbers in cells[1:]:
        assert name in words
        assert kind in words
        assert all(number in words for number in numbers)
    assert [row[3] for row in cells[1:]] == ["40", "0", "185", "18", "243"]
    assert network._built().describe() in shown.text
    assert repr(network)[1:-1] in shown.text


def test_filters_are_drawn_as_they_are():
    """Each weight is a square, white at 0 and red or blue at the largest of its layer."""
    network, _ = trained(Conv2D(4, 3), Dense(3))
    weights = network.layers[0].parameters["weight"]
    pixels = Shown(network).pixels().astype(float)
    assert pixels.shape == (30 + 2, 4 * (30 + 2), 3)
    centers = pixels[1 + 5 : -1 : 10].reshape(3, 4, 32, 3)[:, :, 1 + 5 : -1 : 10]
    end = np.abs(weights).max()
    share = (weights[:, 0] / end).transpose(1, 0, 2)
    for channel, (below, above) in enumerate(((33, 178), (102, 24), (172, 43))):
        expected = np.interp(share, (-1, 0, 1), (below, 255, above))
        np.testing.assert_allclose(centers[..., channel], expected, atol=1)
    assert f"to {end:.2g}" in Shown(network).images[0][0]


def test_of_many_filters_sixteen_are_drawn_each_by_its_strongest_channel():
    network = CNN(Conv2D(512, 3), Dense(2)).build((3, 6, 6))
    weights = network.layers[0].parameters["weight"]
    weights[...] = 0.0
    weights[:, 2] = 1.0
    shown = Shown(network)
    title = shown.images[0][0]
    assert title.startswith(
        "conv1: weights of 16 of 512 outputs, 3 x 3 each, each by the strongest"
    )
    assert shown.pixels().shape == (32, 16 * 32, 3)
    assert shown.pixels()[16, 16].tolist() == [178, 24, 43]


def test_units_that_see_an_image_are_drawn_as_images():
    shown = Shown(CNN(Dense(4), Dense(3)).build((1, 6, 6)))
    assert [title.split(";")[0] for title, _, _ in shown.images] == [
        "dense1: weights of 4 outputs, 6 x 6 each"
    ]


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 0.0, 3e38])
@pytest.mark.parametrize("size", [3, 40])
def test_weights_that_are_no_numbers_are_black(value, size):
    network = CNN(Conv2D(2, size), Dense(3)).build((1, 50, 50))
    weights = network.layers[0].parameters["weight"]
    weights[0] = value
    weights[0, 0, 0, 0] = -value
    pixels = Shown(network).pixels()
    middle = {0.0: [255, 255, 255], 3e38: [178, 24, 43]}.get(value, [0, 0, 0])
    assert pixels[len(pixels) // 2, 16].tolist() == middle


def test_blocks_and_normalizations_have_a_row():
    network = CNN(Residual(Conv2D(4), Conv2D(4)), BatchNorm(), Conv2D(4, 1), Dense(3)).build(
        (3, 8, 8)
    )
    shown = Shown(network)
    assert [title.split(":")[0] for title, _, _ in shown.images] == ["residual1", "dense1"]
    assert network.mode in shown.text


def test_a_network_that_is_not_built_stays_so():
    network = CNN(Conv2D(4, 3, name="first"), Dense(3))
    shown = Shown(network)
    assert shown.rows == [["layer", "kind"], ["first", "Conv2D 3 x 3"], ["[1]", "Dense "]]
    assert "Not built yet" in shown.text
    assert network.assembly is None
    assert not network.layers[0].parameters
    assert "no layers" not in Shown(CNN()).text


def test_showing_changes_nothing(capsys):
    """Neither weights, random numbers nor what is noticed and announced."""
    network, _ = trained(Conv2D(4, 3), Dense(3))
    network.layers[0].l2 = 0.5  # by hand, and not yet taken over
    before = EditableType.edits, network._seen, network.parameters.values.tobytes()
    state, factors = np.random.get_state()[1].tobytes(), network.parameters.groups
    assert "Changed by hand since" in Shown(network).text
    assert before == (EditableType.edits, network._seen, network.parameters.values.tobytes())
    assert np.random.get_state()[1].tobytes() == state
    assert network.parameters.groups is factors
    assert capsys.readouterr().out == ""
    network.fit(DATA, epochs=1)
    assert "captured" in capsys.readouterr().out
    assert "Changed by hand" not in Shown(network).text


def test_edited_layers_are_named_as_the_summary_names_them(capsys):
    network, _ = trained(Conv2D(4, 3), Dense(3))
    layer = network.layers[1]
    layer.forward = lambda x, context: type(layer).forward(layer, x, context)
    assert "as written" not in Shown(network).text
    assert "Changed by hand" in Shown(network).text
    network.summary()
    assert "dense1 as written" in Shown(network).text
    network.layers[1] = Dense(3)  # is built by the next step
    assert "Changed by hand" in Shown(network).text


# --- a training run --------------------------------------------------------------------------


def test_the_curves_are_those_of_the_records():
    records = [
        {"epoch": k + 1, "loss": loss, "accuracy": right, "validation_loss": loss + 1,
         "validation_accuracy": right - 0.1, "seconds": 2.0}
        for k, (loss, right) in enumerate([(4.0, 0.2), (1.0, 0.5), (2.0, 0.6)])
    ]  # fmt: skip
    shown = Shown(History(records, [], "all 3 epochs done", 2))
    root = shown.svg()
    for color, places in ((html_repr.BLUE, (4, 1, 2)), (html_repr.ORANGE, (5, 2, 3))):
        loss, accuracy = points(root, color)
        assert np.ptp(np.diff(loss[:, 0])) < 0.2  # epochs lie equally far apart
        # downward: the higher the loss, the smaller y; in proportion
        np.testing.assert_allclose(np.diff(loss[:, 1]) / np.diff(places), -25.0, atol=0.2)
        slopes = np.diff(accuracy[:, 1]) / [0.3, 0.1]
        assert slopes[0] == pytest.approx(slopes[1], rel=0.02)
        assert slopes[0] < 0
        ring = [c for c in root.iter(f"{SVG}circle") if c.get("stroke") == color]
        assert [float(ring[0].get(k)) for k in ("cx", "cy")] == loss[1].tolist()
    assert shown.rows == [
        ["", "epoch", "loss", "accuracy", "validation loss", "validation accuracy", "seconds"],
        ["best", "2", "1", "50.00%", "2", "40.00%", "2.0"],
        ["last", "3", "2", "60.00%", "3", "50.00%", "2.0"],
    ]


def test_a_real_run_has_its_numbers():
    _, history = trained(Dense(3), epochs=3)
    shown = Shown(history)
    last = history.records[-1]
    assert shown.rows[-1][2:5] == [
        f"{last['loss']:.4g}", f"{last['accuracy']:.2%}", f"{last['validation_loss']:.4g}"
    ]  # fmt: skip
    assert len(points(shown.svg(), html_repr.BLUE)[0]) == 3


@pytest.mark.parametrize(
    "losses",
    [[0.5], [0.0, 0.0], [np.nan] * 3, [1, np.nan, np.inf, 2, 3], [1e308, -1e308, 1], [5e-324, 0],
     [1e-300, 1e290], [None, 1.0], [-3.0, -2.0], [7.0] * 5],
    ids=str,
)  # fmt: skip
def test_any_numbers_can_be_drawn(losses):
    records = [{"epoch": k + 1, "loss": v, "accuracy": 1.0} for k, v in enumerate(losses)]
    root = Shown(History(records)).svg()
    assert b"nan" not in ElementTree.tostring(root)
    numbers = np.concatenate([np.zeros((0, 2)), *points(root, html_repr.BLUE)])
    assert ((numbers >= 0) & (numbers <= (html_repr.WIDE, html_repr.HIGH))).all()


def test_a_line_has_a_gap_where_there_is_no_number():
    records = [{"epoch": k + 1, "loss": v} for k, v in enumerate([1, 2, np.nan, 2, 1])]
    root = Shown(History(records)).svg()
    assert next(root.iter(f"{SVG}path")).get("d").count("M") == 2
    assert "Accuracy: not one finite number" in "".join(root.itertext())


def test_losses_of_many_sizes_have_a_logarithmic_axis():
    records = [{"epoch": k + 1, "loss": 10.0**-k} for k in range(4)]
    root = Shown(History(records)).svg()
    assert "Loss, logarithmic" in "".join(root.itertext())
    assert np.ptp(np.diff(points(root, html_repr.BLUE)[0][:, 1])) < 0.2  # equal factors, steps


def test_a_history_without_epochs_is_a_line():
    shown = Shown(History())
    assert shown.text == "History: no epochs"
    assert not shown.images


def test_of_a_long_run_the_ends_are_drawn():
    records = [
        {"epoch": k + 1, "loss": 1 / (k + 1), "accuracy": 0.5, "validation_loss": 0.1 + k % 7,
         "validation_accuracy": k / 1000, "seconds": 1.0}
        for k in range(1000)
    ]  # fmt: skip
    shown = Shown(History(records, best_epoch=1000))
    loss = points(shown.svg(), html_repr.BLUE)[0]
    assert len(loss) == html_repr.POINTS
    ring = next(c for c in shown.svg().iter(f"{SVG}circle") if c.get("stroke") == html_repr.BLUE)
    assert float(ring.get("cx")) == loss[-1, 0]
    assert len(shown.html) < 50_000


# --- results and checks ----------------------------------------------------------------------


def test_an_evaluation_shows_its_numbers():
    shown = Shown(Evaluation(0.25, 0.875, 1234, 0.5))
    assert [row[1] for row in shown.rows] == ["87.50%", "0.2500", "1,234", "0.50"]
    assert shown.bars == [87.5]
    assert Shown(Evaluation(np.nan, np.nan, 1, 0.0)).bars == [0.0]


def test_a_sanity_check_shows_its_losses_and_its_verdict():
    report = SanityReport(30, 12, chance_loss=0.2, first_loss=0.25, loss=0.001, accuracy=1.0)
    shown = Shown(report)
    assert [row[1] for row in shown.rows] == ["0.2000", "0.2500", "0.0010", "100.0%"]
    assert shown.bars == [80.0, 100.0, 0.4, 100.0]
    assert report.verdict in shown.text
    assert html_repr.ORANGE not in shown.html
    failed = Shown(SanityReport(30, 12, 0.2, np.inf, np.nan, 0.5))
    assert failed.html.count(html_repr.ORANGE) == 3
    assert "FAILED" in failed.text


def test_a_gradient_check_shows_what_is_wrong_first():
    errors = [GradientError(f"conv{k}", "weight", 0.0, 1e-8) for k in range(100)]
    errors.append(GradientError("mine", "bias", np.inf))
    shown = Shown(GradientReport(errors))
    assert shown.rows[1][:3] == ["mine", "bias", "inf WRONG"]
    assert shown.rows[2][:3] == ["conv0", "weight", "1.0e-08 ok"]
    assert shown.bars[:2] == [100.0, 50.0]
    assert len(shown.rows) == 1 + html_repr.ROWS
    assert "and 41 more" in shown.text
    assert "Off by more than 1e-05: mine bias." in shown.text
    assert "All gradients agree" in Shown(GradientReport(errors[:3])).text


# --- data ------------------------------------------------------------------------------------


def test_images_are_drawn_as_they_are_by_class():
    images = RANDOM.integers(0, 256, (30, 1, 28, 28), np.uint8)
    data = Dataset(images, np.arange(30) % 3, ("cat", "dog", "owl"), Scaling("unit"))
    shown = Shown(data)
    assert [title for title, _, _ in shown.images] == ["8 of 10 images"] * 3
    for k in range(3):
        tiles = np.pad(images[k::3, 0][:8], ((0, 0), (1, 1), (1, 1)), constant_values=128)
        np.testing.assert_array_equal(shown.pixels(k), np.concatenate([*tiles], axis=1))
    assert shown.words[1:] == ["cat: 10", "dog: 10", "owl: 10"]


def test_small_images_are_enlarged_and_large_ones_are_means():
    def first(images):
        data = Dataset(images, np.zeros(len(images), int), ("a",), Scaling("unit"))
        return Shown(data).pixels()

    images = RANDOM.integers(0, 256, (1, 3, 8, 8), np.uint8)
    np.testing.assert_array_equal(first(images)[1:-1:4, 1:-1:4], images[0].transpose(1, 2, 0))
    large = RANDOM.integers(0, 256, (1, 3, 160, 160), np.uint8)
    means = large[0].reshape(3, 32, 5, 32, 5).mean(axis=(2, 4)).round().transpose(1, 2, 0)
    np.testing.assert_array_equal(first(large)[1:-1, 1:-1], means)


def test_large_images_are_fewer_not_blurred():
    assert Shown(noise(32, 3, 10, "class")).pixels().shape == (34, 3 * 34, 3)


def test_floats_are_stretched_and_what_is_no_number_is_black():
    images = np.array([[[[-1.0, 0.0, 3.0, np.nan]]]], np.float32)
    pixels = Shown(Dataset(images, np.array([0]), ("a",), Scaling("unit"))).pixels()
    middle = len(pixels) // 2
    assert [pixels[middle, 1 + 4 + 8 * k] for k in range(4)] == [0, 64, 255, 0]
    two = np.array([[[[0.0, 4.0]], [[2.0, 0.0]]]], np.float32)  # two channels: their mean
    pixels = Shown(Dataset(two, np.array([0]), ("a",), Scaling("unit"))).pixels()
    assert [pixels[len(pixels) // 2, k] for k in (8, 24)] == [0, 255]


def test_splits_show_the_counts_of_all_parts():
    data = Digits()
    shown = Shown(data)
    parts = (data.train, data.validation, data.test)
    assert [row[1] for row in shown.rows] == [f"{len(part):,}" for part in parts]
    np.testing.assert_allclose(shown.bars, [100 * len(p) / 1797 for p in parts], atol=0.05)
    for k, name in enumerate(data.classes):
        counts = " / ".join(str(np.count_nonzero(part.labels == k)) for part in parts)
        assert f"{name}: {counts}" in shown.words
    assert len(shown.images) == 10


@pytest.mark.parametrize("shape", [(1, 1, 1), (3, 1, 1), (1, 1, 500), (2, 300, 1), (3, 33, 70)])
def test_images_of_any_shape_can_be_seen(shape):
    data = Dataset(np.ones((4, *shape), np.float32), np.arange(4) % 2, ("a", "b"), Scaling("none"))
    height, width = Shown(data).pixels().shape[:2]
    assert height >= 8
    assert width >= 2 * 8


def test_classes_without_images_and_sets_without_any():
    images = np.zeros((2, 1, 4, 4), np.uint8)
    data = Dataset(images, np.array([2, 2]), ("a", "b", "c"), Scaling("unit"))
    shown = Shown(data)
    assert len(shown.images) == 1
    assert shown.words[1:] == ["a: 0", "b: 0", "c: 2"]
    assert not Shown(data.take(0)).images
    assert not Shown(Dataset(images[:0], np.zeros(0, int), (), Scaling("unit"))).images


# --- harmless and small ----------------------------------------------------------------------


def of_class(word, kind, *arguments, **options):
    """A layer of a class that is called so."""
    return type(kind)(word, (kind,), {})(*arguments, **options)


def evil_things():
    labels = np.arange(4) % 2
    data = Dataset(np.zeros((4, 1, 3, 3), np.uint8), labels, (EVIL, f"{EVIL}2"), Scaling("unit"))
    layer = of_class(EVIL.replace("\ud800", ""), Dense, 2, name=EVIL.replace("/", ""))
    history = History([{"epoch": 1, "loss": 1.0, "accuracy": 1.0}], ended=EVIL)
    report = GradientReport([GradientError(EVIL, EVIL, 1.0)])
    splits = Splits(EVIL, data, data, data)
    unbuilt = CNN(layer.clone_unbuilt())
    built = CNN(layer).build((1, 3, 3))
    return {"dataset": data, "splits": splits, "unbuilt": unbuilt, "built": built,
            "history": history, "gradients": report}  # fmt: skip


@pytest.mark.parametrize("what", ["dataset", "splits", "unbuilt", "built", "history", "gradients"])
def test_names_are_texts(what):
    """`Shown` fails for elements and attributes of others; what UTF-8 cannot hold is replaced."""
    shown = Shown(evil_things()[what])
    assert "\"'><script>alert(1)<" in shown.text


def noise(side, channels, classes, name):
    images = RANDOM.integers(0, 256, (max(300, classes), channels, side, side), np.uint8)
    names = tuple(f"{name}{k}" for k in range(classes))
    data = Dataset(images, np.arange(len(images)) % classes, names, Scaling("unit"))
    return Splits("noise", data, data, data)


@pytest.mark.parametrize(
    ("side", "channels", "classes"),
    [
        (18, 3, 100),
        (16, 3, 100),
        (28, 1, 100),
        (32, 3, 100),
        (36, 3, 150),
        (32, 3, 10),
        (20, 3, 10),
    ],
)
def test_the_worst_images_stay_small(side, channels, classes):
    """`Shown` measures; noise cannot be compressed, and quotes take six characters."""
    shown = Shown(noise(side, channels, classes, '"' * 40))
    assert len(shown.images) == min(classes, html_repr.CLASSES)
    assert ("and 50 more classes" in shown.text) == (classes == 150)


def test_the_worst_network_stays_small():
    layers = [
        of_class('"' * 99, Conv2D, 16, 5, padding="same", name=f"{k}{'&' * 99}") for k in range(70)
    ]
    network = CNN(*layers).build((3, 8, 8))
    shown = Shown(network)
    assert "and 10 more layers" in shown.text
    assert 10 < len(shown.images) < 60
    assert [row[0] for row in shown.rows if len(row) == 7][-2:] == ["59" + "&" * 57 + "…", "total"]
    wide = CNN(Conv2D(512, 30, stride=16), Dense(100)).build((3, 64, 64))
    assert len(Shown(wide).images) >= 1
    assert "and 10 more layers" in Shown(CNN(*[Dense(2) for _ in range(70)])).text


def test_the_worst_reports_stay_small():
    errors = [GradientError(f"{'<' * 99}{k}", '"' * 99, 1.0) for k in range(500)]
    Shown(GradientReport(errors))
    Shown(History([{"epoch": 1, "loss": 1.0}], ended='"' * 99999))
    long = [{"epoch": k + 1, "loss": k % 5, "accuracy": 0.1} for k in range(20_000)]
    assert Shown(History(long)).rows[1][:2] == ["last", "20,000"]


@pytest.mark.slow
def test_a_notebook_shows_html_and_loads_no_matplotlib():
    """In a process of its own: IPython, once loaded, would change the bars of other tests."""
    pytest.importorskip("IPython", reason="a notebook needs IPython")
    code = """
import sys
from glassbox import CNN, Dense, Digits
from IPython.core.interactiveshell import InteractiveShell
assert "glassbox.html_repr" not in sys.modules
shell = InteractiveShell.instance()
shell.user_ns.update(CNN=CNN, Dense=Dense, Digits=Digits)
cells = ["data = Digits(); data", "data.train", "network = CNN(Dense(10)); network",
         "history = network.fit(data, epochs=2, progress=False); history", "network",
         "network.evaluate(data.test)", "network.sanity_check(data.train, epochs=2, quiet=True)",
         "network.gradient_check(data.train, quiet=True)"]
for cell in cells:
    done = shell.run_cell(cell)
    done.raise_error()
    kinds, _ = shell.display_formatter.format(done.result)
    assert len(kinds["text/plain"]) < 120
    print(kinds["text/html"][:4])
assert "matplotlib" not in sys.modules
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert re.findall("^<div$", done.stdout, re.M) == ["<div"] * 8
