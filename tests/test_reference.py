"""The API reference that `make docs` writes, and the docstrings that it is made from."""

import importlib
import inspect
import re
import subprocess
import sys
from html.parser import HTMLParser
from itertools import pairwise

import pytest
from pages import ROOT

import Datasets
import Filters
import MLP
from glassbox import explain
from glassbox.data.augment import Augmentation
from glassbox.data.dataset import Dataset, Scaling, Splits
from glassbox.engine.schedules import Constant, Progress, Schedule

# What is documented as numpydoc asks: every argument under Parameters.  To be extended: what has no
# arguments of its own, such as Constant, needs no Parameters.
DOCUMENTED = [
    *(Datasets.MNIST, Datasets.FashionMNIST, Datasets.Digits, Datasets.load),
    *(getattr(Datasets, name) for name in Datasets.__all__ if name.startswith("from_")),
    *(Datasets.prepare_digits, Datasets.digit_steps),
    *(Dataset, Dataset.batch, Dataset.subset, Splits, Scaling, Scaling.fit, Scaling.apply),
    *(Augmentation, Augmentation.__call__, Progress, Schedule, Constant),
    *(MLP.StepDecay, MLP.Exponential, MLP.InverseTime, MLP.Cosine, MLP.OneCycle, MLP.WarmUp),
]
EXPLAIN = [name for name in explain.__all__ if inspect.isfunction(getattr(explain, name))]
BRIDGES = ["onnx.export", "onnx.import_model", "sklearn.CNNClassifier", "sklearn.CNNClassifier.fit"]
SECTIONS = (
    *("Parameters", "Attributes", "Returns", "Yields", "Raises", "Warns", "See Also", "Notes"),
    *("References", "Examples"),
)
ENTRIES = {  # the form of the lines that are not indented
    "Parameters": r"(\w+(, \w+)*) : .+|(\*{1,2}\w+)( : .+)?",
    "Attributes": r"\w+(, \w+)* : .+",
    "Returns": r"\w+ : .+|[\w. ]+",
    "Raises": r"[\w.]+(, [\w.]+)*",
}


class Html(HTMLParser):
    """What a page loads, where it links to, its anchors, and the text behind each anchor."""

    def __init__(self, path):
        super().__init__()
        self.loaded, self.links, self.texts, self._at = [], [], {"": ""}, ""
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag, attrs):
        attrs = dict(attrs)
        if "id" in attrs:
            self.texts[attrs["id"]] = ""
            self._at = self._at if tag == "input" else attrs["id"]
        if tag == "a" and "href" in attrs:
            self.links.append(attrs["href"])
        elif tag in ("link", "script", "img"):
            self.loaded += [attrs[key] for key in ("href", "src") if key in attrs]

    def handle_data(self, data):
        self.texts[self._at] += data


@pytest.fixture(scope="module")
def reference(tmp_path_factory):
    folder = tmp_path_factory.mktemp("reference")
    command = [sys.executable, "-W", "error", "docs/make_reference.py", str(folder)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return {path.relative_to(folder).as_posix(): Html(path) for path in folder.rglob("*.html")}


def broken_links(pages):
    """The links of pages, by their relative paths, that lead to no page or no anchor."""
    broken = []
    for path, page in pages.items():
        for link in page.links:
            file, _, anchor = link.partition("#")
            if not re.match("https?:", link):
                parts = path.split("/")[:-1] if file else path.split("/")
                for part in file.split("/") if file else []:
                    parts = parts[:-1] if part == ".." else [*parts, part] if part != "." else parts
                target = pages.get("/".join(parts))
                if target is None or anchor not in target.texts:
                    broken.append((path, link))
    return broken


def test_a_broken_link_is_noticed(tmp_path):
    (tmp_path / "a.html").write_text('<p id="x"><a href="#x"><a href="#y"><a href="b/c.html#z">')
    (tmp_path / "c.html").write_text('<p id="z"><a href="../a.html#x"><a href="../d.html">')
    pages = {"a.html": Html(tmp_path / "a.html"), "b/c.html": Html(tmp_path / "c.html")}
    assert broken_links(pages) == [("a.html", "#y"), ("b/c.html", "../d.html")]


@pytest.mark.slow
def test_every_link_of_the_reference_leads_somewhere_and_nothing_is_loaded(reference):
    assert sum(len(page.links) for page in reference.values()) > 500
    assert broken_links(reference) == []
    loaded = [link for page in reference.values() for link in page.loaded]
    assert [link for link in loaded if not re.match(r"data:|[.\w/]+\.js$", link)] == []


@pytest.mark.slow
@pytest.mark.parametrize("module", [Filters, MLP], ids=["Filters", "MLP"])
def test_every_layer_and_optimizer_is_there_with_its_parameters(reference, module):
    assert len(module.__all__) >= 5
    for name in module.__all__:
        text = reference[f"{module.__name__}.html"].texts[name]
        shown = re.search(rf"class\s+{name}\((.*?)\)\s*View Source", text, re.S)[1]
        given = re.findall(r"(?:^|,)\s*\*{0,2}(\w+):", shown)
        assert given == list(inspect.signature(getattr(module, name)).parameters), name


@pytest.mark.slow
def test_private_names_are_left_out(reference):
    anchors = {anchor for page in reference.values() for anchor in page.texts}
    assert "CNN.fit" in anchors
    assert not [name for name in anchors if re.search(r"(^|\.)_(?!_call__)|KINDS", name)]


# --- docstrings ------------------------------------------------------------------------------


def faults(docstring, arguments):
    """What numpydoc would not accept in a docstring."""
    lead, *rest = re.split(r"^([A-Z][A-Za-z ]+)\n(-{3,})\n", docstring, flags=re.M)
    found = dict(zip(rest[::3], rest[2::3], strict=True))
    if list(found) != [name for name in SECTIONS if name in found]:
        yield f"sections: {list(found)}"
    if any(len(name) != len(line) for name, line in zip(rest[::3], rest[1::3], strict=True)):
        yield "a line under a heading that is not as long as the heading"
    if not re.match(r"[A-Z0-9(].*[.:]\n*(\n\n|$)", lead):
        yield "the first line is not a sentence of its own"
    if "``" in docstring:
        yield "double backticks"
    if any(">>>" in text for name, text in [("", lead), *found.items()] if name != "Examples"):
        yield "an example outside Examples"
    for name, form in ENTRIES.items():
        lines = found.get(name, "").splitlines()
        for line, after in pairwise([*lines, ""]):
            if line[:1].strip() and not re.fullmatch(form, line):
                yield f"{name}: {line}"
            if line[:1].strip() and not after.startswith("    "):
                yield f"{name}: nothing is said of {line}"
    heads = [line for line in found.get("Parameters", "").splitlines() if line[:1].strip()]
    named = {word for head in heads for word in re.findall(r"\w+", head.split(" : ")[0])}
    if named != set(arguments):
        yield f"Parameters: {sorted(named ^ set(arguments))}"


def arguments_of(thing):
    """The names of the arguments of a function, or of a constructor that is the class's own."""
    if isinstance(thing, type) and "__init__" not in vars(thing):
        return []
    return [name for name in inspect.signature(thing).parameters if name != "self"]


@pytest.mark.parametrize("thing", DOCUMENTED, ids=lambda thing: thing.__qualname__)
def test_docstrings_are_numpydoc(thing):
    assert list(faults(inspect.getdoc(thing), arguments_of(thing))) == []


@pytest.mark.parametrize("name", EXPLAIN)
def test_docstrings_of_explain_are_numpydoc(name):
    thing = getattr(explain, name)
    assert list(faults(inspect.getdoc(thing), arguments_of(thing))) == []


@pytest.mark.parametrize("name", BRIDGES)
def test_docstrings_of_bridges_are_numpydoc(name):
    module, *path = name.split(".")
    thing = importlib.import_module(f"glassbox.bridges.{module}")
    for step in path:
        thing = getattr(thing, step)
    assert list(faults(inspect.getdoc(thing), arguments_of(thing))) == []


GOOD = """Do it.

Parameters
----------
a, b : int
    Two.
**others
    More.

Returns
-------
float
    One.

Examples
--------
>>> 1
1"""


@pytest.mark.parametrize(
    ("part", "instead", "fault"),
    [
        ("Do it.", "Do it", "first line"),
        ("Two.", "``Two``.", "double backticks"),
        ("a, b : int", "a, b", "Parameters: a, b"),
        ("a, b : int", "a, b, c : int", "Parameters: ['c']"),
        ("    Two.\n", "", "nothing is said of a, b : int"),
        ("More.", "More.\n\nRead on.", "Parameters: Read on."),
        ("float", "float, as one", "Returns: float, as one"),
        ("Examples\n--------\n", "", "outside Examples"),
        ("Examples\n--------\n", "Examples\n---\n", "not as long"),
        ("Returns\n-------", "Raises\n------\nValueError\n    No.\n\nReturns\n-------", "sections"),
    ],
)
def test_a_fault_of_a_docstring_is_noticed(part, instead, fault):
    arguments = ["a", "b", "others"]
    assert list(faults(GOOD, arguments)) == []
    assert part in GOOD
    assert any(fault in said for said in faults(GOOD.replace(part, instead), arguments))
