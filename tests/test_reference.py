"""The API reference that `make docs` writes, and the docstrings that it is made from."""

import inspect
import re
import subprocess
import sys
from html.parser import HTMLParser

import pytest
from pages import ROOT

import Filters
import MLP


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
    pytest.importorskip("pdoc")
    pytest.importorskip("onnx")
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
