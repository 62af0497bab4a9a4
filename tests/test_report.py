"""A run's page and folder: whole, self-contained, safe from what it shows, or not there at all."""

import base64
import json
import re
import subprocess
import sys
from dataclasses import replace
from html.parser import HTMLParser
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from matplotlib.figure import Figure
from matplotlib.image import imread

from CNN import CNN
from Datasets import Digits
from Filters import Conv2D, MaxPool2D
from glassbox.cli.run import activations_of, hidden_layer
from glassbox.report import evaluation
from glassbox.report.evaluation import Run, write_evaluation
from glassbox.report.report import Listing, Picture, Table, facts, page, readable
from glassbox.report.results import Results
from MLP import Dense, Dropout, Flatten

RNG = np.random.default_rng(5)
NAMES = ["T-shirt/top", 'say "<b>cheese</b>" & $5', "<script>alert(1)</script>"]
TRUTH = RNG.integers(0, 3, 60)
TABLE = RNG.dirichlet(np.ones(3), 60)
HISTORY = [
    {"epoch": 1, "loss": 0.5, "accuracy": 0.8125, "seconds": 1.5},
    {"epoch": 2, "loss": float("nan"), "accuracy": 0.9, "seconds": 1.25},
]
RUN = Run(
    images=RNG.random((60, 1, 8, 6)),
    truth=TRUTH,
    probabilities=TABLE,
    classes=NAMES,
    title="<i>System</i> & co",
    part="<u>test</u>",
    hidden=RNG.random((60, 5)),
    hidden_name="dense1",
    loss=0.25,
    history=HISTORY,
    running=[{"images": 10, "loss": 0.7, "accuracy": 0.5}],
    settings={"options": {"epochs": 2, "</td>": "<hr>"}, "optimizer": "Adam(0.001)"},
    summary="layer  kind <Conv2D> & so on",
    machine={"processor": "a <quick> one", "cores": 2},
    seconds={"training": 2.75},
    numbers={"parameters": 1234},
    figures={"extra": ('An <em>"extra"</em>', Figure())},
)
PICTURES = {
    "confusion", "confusion_shares", "roc", "reliability", "confused", "mistakes", "embedding",
    "curves", "running", "extra",
}  # fmt: skip
VOID = {"meta", "img", "input"}


class Page(HTMLParser):
    """The page as a browser sees it: its tags, attributes and text."""

    def __init__(self, text):
        super().__init__(convert_charrefs=True)
        self.open, self.tags, self.attributes, self.said = [], [], [], []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open and self.open[-1] == tag, f"</{tag}> closes {self.open[-1:]}"
        self.open.pop()

    def handle_data(self, data):
        if "style" not in self.open:
            self.said.append(data)


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """The folder of one run, looked at by several tests, and its page."""
    results = Results.create(tmp_path_factory.mktemp("results"), "run")
    write_evaluation(results, RUN)
    text = (results.path / "report.html").read_text(encoding="utf-8")
    return results.path, Page(text), text


@pytest.fixture
def no_pictures(monkeypatch):
    """For tests that look at none: what takes most of the time, maps and drawing, is left out."""
    monkeypatch.setattr(evaluation, "tsne", lambda vectors: np.eye(len(vectors), 2))
    monkeypatch.setattr(evaluation, "encode", lambda figure: b"a picture")


def test_a_run_leaves_its_numbers_pictures_and_page_and_nothing_else(written):
    folder, _, _ = written
    names = {path.name for path in folder.iterdir()}
    assert names == {"metrics.json", "report.html"} | {f"{name}.png" for name in PICTURES}
    for path in folder.glob("*.png"):
        assert path.stat().st_size < 500_000


def test_every_tag_is_closed_in_its_turn(written):
    assert written[1].open == []


def test_every_picture_is_in_the_page_as_a_png_that_can_be_read(written):
    folder, seen, _ = written
    sources = [attributes["src"] for tag, attributes in seen.attributes if tag == "img"]
    assert len(sources) == len(PICTURES)
    pictures = set()
    for source in sources:
        head, data = source.split(",", 1)
        assert head == "data:image/png;base64"
        pictures.add(base64.b64decode(data, validate=True))
        assert imread(BytesIO(base64.b64decode(data))).ndim == 3
    assert pictures == {path.read_bytes() for path in folder.glob("*.png")}
    told = [attributes["alt"] for tag, attributes in seen.attributes if tag == "img"]
    assert all(told) and 'An <em>"extra"</em>' in told


def test_the_page_refers_to_nothing_outside_and_runs_nothing(written):
    _, seen, text = written
    assert not {"script", "link", "iframe", "object", "base", "form"} & set(seen.tags)
    here = {attributes["id"] for _, attributes in seen.attributes if "id" in attributes}
    for _, attributes in seen.attributes:
        assert not [key for key in attributes if key.startswith("on") or key == "style"]
        for key in ("src", "href", "srcset", "poster", "background", "action"):
            link = attributes.get(key, "")
            assert not link or link.startswith("data:") or link.removeprefix("#") in here, link
    style = text.split("<style>")[1].split("</style>")[0]
    assert not re.search(r"url\(|@import|//", style)
    policy = [a["content"] for _, a in seen.attributes if "http-equiv" in a]
    assert policy == ["default-src 'none'; img-src data:; style-src 'unsafe-inline'"]


def test_texts_from_outside_are_shown_and_not_obeyed(written):
    _, seen, text = written
    said = "".join(seen.said)
    texts = [*NAMES, RUN.title, RUN.part, RUN.summary, "a <quick> one", 'An <em>"extra"</em>']
    for outside in [*texts, "options: </td>", "<hr>"]:
        assert outside in said
    assert not {"i", "u", "em", "hr", "conv2d", "quick", "script"} & set(seen.tags)
    assert "<script" not in text


def test_the_page_holds_settings_history_scores_time_and_machine(written):
    said = written[1].said
    for text in ("options: epochs", "Adam(0.001)", "81.25 %", "precision", "weighted mean",
                 "training", "2.8 s", "cores", "expected calibration error"):  # fmt: skip
        assert text in said


def test_the_same_numbers_are_in_the_json_and_some_readable(written):
    folder, seen, _ = written
    numbers = json.loads((folder / "metrics.json").read_text(encoding="utf-8"))
    part = numbers["<u>test</u>"]
    accuracy = np.mean(TABLE.argmax(axis=1) == TRUTH)
    assert part["accuracy"] == accuracy and part["loss"] == 0.25
    assert part["readable"]["accuracy"] == f"{100 * accuracy:.2f} %"
    assert part["readable"]["accuracy"] in seen.said
    assert [row["name"] for row in part["roc"]["classes"]] == NAMES
    assert sum(row["images"] for row in part["calibration"]["bins"]) == 60
    assert numbers["parameters"] == 1234
    assert numbers["seconds"]["training"] == 2.75 and numbers["seconds"]["evaluation"] > 0
    assert "total" not in numbers["seconds"]


def test_hidden_activations_may_come_from_a_function_that_is_asked_for_the_sample(
    tmp_path, no_pictures
):
    asked = []

    def hidden(places):
        asked.append(places)
        return np.asarray(RUN.hidden)[places]

    results = Results.create(tmp_path, "run")
    write_evaluation(results, replace(RUN, hidden=hidden, begun=0.0))
    assert [places.tolist() for places in asked] == [list(range(60))]
    assert json.loads((results.path / "metrics.json").read_text())["seconds"]["total"] > 0


@pytest.mark.parametrize("how", ["array", "function"])
def test_of_many_images_the_map_takes_the_same_sample_of_both(
    tmp_path, monkeypatch, no_pictures, how
):
    mapped = []
    monkeypatch.setattr(evaluation, "sample_places", lambda count: np.arange(3, count, 7))
    monkeypatch.setattr(
        evaluation, "tsne", lambda vectors: mapped.append(vectors) or np.eye(len(vectors), 2)
    )
    hidden = np.asarray(RUN.hidden)
    given = hidden if how == "array" else lambda places: hidden[places]
    write_evaluation(Results.create(tmp_path, "run"), replace(RUN, hidden=given))
    assert np.array_equal(mapped[0], RUN.images[3::7])
    assert np.array_equal(mapped[1], hidden[3::7])


def test_what_is_not_known_is_left_out(tmp_path, no_pictures):
    results = Results.create(tmp_path, "run")
    write_evaluation(results, Run(RUN.images, TRUTH, TABLE, NAMES))
    seen = Page((results.path / "report.html").read_text(encoding="utf-8"))
    said = "".join(seen.said)
    assert "Results" in said
    for heading in ("Training", "Network", "Settings", "Machine"):
        assert heading not in seen.said
    assert not (results.path / "curves.png").exists()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("truth", "table", "classes"),
    [
        ([0, 0, 0, 0], np.eye(2)[[0, 0, 1, 0]], ["there", "absent"]),
        ([0, 1, 1, 0], np.eye(2)[[0, 1, 1, 0]], ["no", "mistakes"]),
        ([0], [[1.0]], ["only one"]),
    ],
)
def test_degenerate_runs_have_a_page_too(tmp_path, truth, table, classes):
    results = Results.create(tmp_path, "run")
    images = np.zeros((len(truth), 3, 4, 4), np.uint8)
    write_evaluation(results, Run(images, truth, table, classes))
    assert Page((results.path / "report.html").read_text(encoding="utf-8")).open == []


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"truth": TRUTH[:9]}, ValueError, "truth holds 9 labels for 60 samples"),
        ({"images": RUN.images[:9]}, ValueError, "got 9 images and 60 true labels"),
        ({"images": RUN.images[:, 0]}, ValueError, r"images: got an array of shape \(60, 8, 6\)"),
        ({"probabilities": 3 * TABLE}, ValueError, "expected 0 to 1"),
        ({"classes": NAMES[:2]}, ValueError, r"expected \(samples, 2\), one column per class"),
        ({"hidden": np.ones((9, 5))}, ValueError, r"activations of shape \(9, 5\).*\(60, ...\)"),
        ({"hidden": lambda places: np.ones(5)}, ValueError, r"activations of shape \(5,\)"),
        ({"figures": {"roc": ("mine", Figure())}}, ValueError, "figure named 'roc'.*rename"),
        ({"figures": {"../up": ("mine", Figure())}}, ValueError, r"figure named '\.\./up'"),
        ({"numbers": {"odd": object()}}, TypeError, "as_json: got object"),
        ({"settings": {"odd": object()}}, TypeError, "as_json: got object"),
    ],
)
def test_bad_input_is_explained_and_leaves_nothing(tmp_path, no_pictures, change, error, message):
    results = Results.create(tmp_path, "run")
    with pytest.raises(error, match=message):
        write_evaluation(results, replace(RUN, **change))
    assert list(results.path.iterdir()) == []


def test_what_a_person_asks_first_is_on_top(written):
    """Did it learn, how good is it, where does it err; and all the rest below."""
    _, seen, text = written
    headings = re.findall(r"<h2 [^>]*>(.*?)</h2>", text)
    assert headings[:3] == ["Learning", "Results", "Mistakes"]
    said = "".join(seen.said)
    assert "training loss went from 0.5 to -, and the accuracy on training images from " in said
    assert "81.25 % to 90.00 %; the best was 90.00 % in epoch 2." in said
    matrix = confusion_of(TRUTH, TABLE.argmax(axis=1))
    np.fill_diagonal(matrix, 0)
    true, taken = np.unravel_index(matrix.argmax(), matrix.shape)
    assert f"Most often: {NAMES[true]} taken for {NAMES[taken]} ({matrix.max()})" in said


def confusion_of(truth, said):
    matrix = np.zeros((3, 3), int)
    np.add.at(matrix, (truth, said), 1)
    return matrix


def test_one_confusion_matrix_with_a_switch(written):
    """Without a script: radio buttons, of which the style sheet shows the chosen one's figure."""
    _, seen, text = written
    buttons = [a for tag, a in seen.attributes if tag == "input"]
    assert [a["type"] for a in buttons] == ["radio", "radio"]
    assert len({a["name"] for a in buttons}) == 1
    assert ["checked" in a for a in buttons] == [True, False]
    switch = text.split('<div class="switch">')[1].split("</div>")[0]
    assert re.findall('<figure id="(.*?)"', switch) == ["confusion", "confusion_shares"]
    labels = [a["for"] for tag, a in seen.attributes if tag == "label"]
    assert labels == [a["id"] for a in buttons]
    assert ".switch figure { display: none" in text
    assert "input:nth-of-type(2):checked ~ figure:nth-of-type(2)" in text


def test_figures_can_be_enlarged_and_there_is_a_dark_form(written):
    _, seen, text = written
    assert seen.tags.count("details") == seen.tags.count("summary") == len(PICTURES)
    assert "details[open] img { width: max(150%, 66rem); max-width: none }" in text
    assert "@media (prefers-color-scheme: dark)" in text
    style = text.split("<style>")[1].split("</style>")[0]
    colors = set(re.findall(r"var\((--\w+)\)", style))
    light, dark = style.split("@media (prefers-color-scheme: dark)")[:2]
    for color in colors:  # each has a light and a dark value
        assert f"{color}:" in light
        assert f"{color}:" in dark.split("body {")[0]
    assert "width=device-width" in text


def test_numbers_stand_at_the_right_and_words_at_the_left():
    text = page("t", "", {"a": [Table(("name", "share"), [("x", "12.5 %"), ("y", "-")])]})
    assert '<th>name</th><th class="number">share</th>' in text
    assert '<td>x</td><td class="number">12.5 %</td>' in text
    assert page("t", "", {"a": [Table(("name",), [])]}).count("<th") == 2  # thead, and its cell


def test_a_page_of_every_part():
    parts = ["a < b", Listing("  c\n d"), Picture("e", "f", "g", b"h"), facts({"i": [1, 2]})]
    seen = Page(page("title", "lead", {"first": parts, "left out": []}))
    assert "a < b" in seen.said and "  c\n d" in seen.said and "1, 2" in seen.said
    assert "left out" not in seen.said


def test_readable_takes_nested_values():
    assert readable([{"name": "conv1", "output": [8, 28, 28]}]) == "name conv1; output 8, 28, 28"
    assert facts({"layers": [{"a": 1}, {"a": 2}]}).rows == [
        ("layers 1", "a 1"),
        ("layers 2", "a 2"),
    ]


# What a network gives to it


@pytest.mark.parametrize(
    ("layers", "name"),
    [
        (lambda: [Conv2D(2, 3), Dense(6), Dense(10)], "dense1"),
        (lambda: [Conv2D(2, 3), Dense(6), Dropout(0.5), Dense(10, activation=None)], "dropout1"),
        (lambda: [Conv2D(2, 3), MaxPool2D(2), Flatten(), Dense(10)], "flatten1"),
        (lambda: [Dense(10)], None),
    ],
)
def test_the_last_hidden_layer_is_the_one_before_the_scores(layers, name):
    assert hidden_layer(CNN(*layers()).build((1, 8, 8))) == name


def test_activations_of_a_sample_are_the_same_in_small_batches():
    data = Digits().test
    network = CNN(Conv2D(2, 3), Dense(6), Dense(10), seed=1).build(data.shape)
    places = np.array([7, 0, 100, 31, 5])
    found = activations_of(network, "dense1", data, places, batch_size=2)
    whole = dict(network.activations(data))["dense1"][places]
    assert found == pytest.approx(whole, abs=1e-6)


MANY = """
import resource, sys
import numpy as np
from glassbox.report.evaluation import Run, write_evaluation
from glassbox.report.results import Results
random, classes, count = np.random.default_rng(0), 1200, 1500
truth = np.arange(count) % classes
table = random.random((count, classes)).astype(np.float32)
table[np.arange(count), truth] += 0.7
names = [str(k) for k in range(classes)]
Run_ = Run(random.random((count, 1, 4, 4)).astype(np.float32), truth, table / 2, names)
sys.modules["matplotlib.pyplot"] = None
resource.setrlimit(resource.RLIMIT_AS, (2 * 2**30, 2 * 2**30))
scores = write_evaluation(Results.create(sys.argv[1]), Run_)
print(scores.metrics.table().splitlines()[-4:])
print(next(line.split()[1] for line in open("/proc/self/status") if "VmHWM" in line))
"""


@pytest.mark.slow
def test_a_thousand_classes_have_a_page_in_little_memory(tmp_path):
    if not Path("/proc/self/status").exists():  # ru_maxrss would count the parent's memory too
        pytest.skip("only Linux tells the peak of one process")
    done = subprocess.run(
        [sys.executable, "-c", MANY, str(tmp_path)], capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert "the 50 of 1,200 classes with the most errors" in done.stdout
    assert int(done.stdout.split()[-1]) < 500_000  # kB; the square of the classes took gigabytes
    (page,) = tmp_path.rglob("report.html")
    assert "Of 1,200 classes, the 50 with the most errors." in page.read_text("utf-8")
    (numbers,) = tmp_path.rglob("metrics.json")
    assert len(json.loads(numbers.read_text())["test"]["confusion_counts"]) <= 1500
