"""The page docs/performance.md keeps its word: names, matrices, examples, pictures, commands."""

from __future__ import annotations

import ast
import doctest
import importlib.util
import re
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from matplotlib.image import imread
from matplotlib.mathtext import MathTextParser

from glassbox.kernels.compiled import vectors, winograd

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "performance.md"
FOLDER = PAGE.parent / "pictures_performance"
TEXT = PAGE.read_text(encoding="utf-8")
FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.M | re.S)
BLOCKS = FENCE.findall(TEXT)
PROSE = FENCE.sub("", TEXT)
LINKS = re.findall(r"\[([^\]]+?)\]\((.+?)\)", PROSE)
NAMED = sorted(
    {(words.strip("`"), to) for words, to in LINKS if re.fullmatch(r"`(?!\S+\.py`)[\w.]+`", words)}
)
FORMULAS = [body.strip() for language, body in BLOCKS if language == "math"]
INLINE = re.findall(r"(?<![\w$])\$([^$\n]+)\$(?!\w)", re.sub(r"`[^`]*`", "", PROSE))
SECTIONS = re.findall(r"^## (.+)$", TEXT, re.M)
PICTURES = sorted({link for _, link in LINKS if link.endswith(".png")})
MATRIX = re.compile(r"\\mathrm\{(\w+)\} =\s*\\begin\{pmatrix\}(.*?)\\end\{pmatrix\}", re.S)


def definitions(path):
    """Every function, class, Class.method and constant of a file."""
    names = set()

    def visit(body, prefix):
        for node in body:
            if isinstance(node, ast.FunctionDef | ast.ClassDef):
                names.add(prefix + node.name)
            if isinstance(node, ast.ClassDef):
                visit(node.body, f"{prefix}{node.name}.")
            if isinstance(node, ast.Assign):
                names.update(target.id for target in node.targets if isinstance(target, ast.Name))

    visit(ast.parse(path.read_text(encoding="utf-8")).body, "")
    return names


def anchor(title):
    """The address that GitHub gives a heading."""
    return re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-")


def headings(path):
    return {anchor(title) for title in re.findall(r"^#+ (.+)$", path.read_text("utf-8"), re.M)}


@pytest.fixture(scope="module")
def drawing():
    """The module docs/draw_performance.py (docs is no package)."""
    path = ROOT / "docs" / "draw_performance.py"
    spec = importlib.util.spec_from_file_location("draw_performance", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


# --- words -----------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "link"), NAMED)
def test_every_name_is_defined_where_its_link_points(name, link):
    path = (PAGE.parent / link).resolve()
    assert name in definitions(path), f"{name} is not in {path.name}"


def test_every_link_leads_somewhere():
    for words, link in LINKS:
        if link.startswith("https://arxiv.org/abs/"):
            assert words == f"arXiv:{link.rsplit('/', 1)[1]}"
            continue
        file, _, place = link.partition("#")
        path = PAGE.parent / file if file else PAGE
        assert path.exists(), link
        assert not place or place in headings(path), link


def test_the_table_of_contents_is_complete():
    entries = re.findall(r"^\d+\. \[(.+)\]\(#(.+)\)$", TEXT, re.M)
    assert entries == [(title, anchor(title)) for title in SECTIONS if title != "Contents"]


def test_every_command_can_be_run():
    commands = re.findall(r"python -m ([\w.]+)", TEXT)
    assert len(set(commands)) == 6
    for module in commands:
        assert (ROOT / (module.replace(".", "/") + ".py")).exists(), module


def test_every_cited_work_is_in_the_sources():
    prose, sources = " ".join(PROSE.split()).split("## Sources")
    works = set(re.findall(r"- (\w+)[^.]*? (\d{4})\.", sources))
    authors = r"([A-Z]\w+)(?:(?:, [A-Z]\w+)* and (?:van de )?[A-Z]\w+)? ((?:19|20)\d\d)\b"
    assert works == set(re.findall(authors, prose))


# --- numbers ---------------------------------------------------------------------------------


def test_every_example_gives_what_it_says():
    # One after the other in one namespace, as a reader would type them.  All else is blanked, so
    # that doctest can say in which line of the page an example failed.
    quiet = FENCE.sub(lambda m: m[0] if ">>>" in m[2] else re.sub(r"[^\n]+", "", m[0]), TEXT)
    plain = "\n".join("" if line.startswith("```") else line for line in quiet.splitlines())
    test = doctest.DocTestParser().get_doctest(plain + "\n", {}, PAGE.name, str(PAGE), 0)
    assert len(test.examples) > 50
    said = []
    result = doctest.DocTestRunner().run(test, out=said.append)
    assert result.failed == 0, "".join(said)


def test_the_matrices_are_those_of_the_code():
    found = {
        name: [[Fraction(entry) for entry in row.split("&")] for row in body.split(r"\\")]
        for formula in FORMULAS
        for name, body in MATRIX.findall(re.sub(r"\s", " ", formula))
    }
    assert sorted(found) == ["IN", "OUT", "WEIGHTS"]
    for name, matrix in found.items():
        assert np.array(matrix, float).tolist() == np.array(getattr(vectors, name)).tolist()


@pytest.mark.parametrize(
    "formula", sorted({*INLINE, *(each for each in FORMULAS if "pmatrix" not in each)})
)
def test_every_formula_can_be_set(formula):
    MathTextParser("path").parse(f"${formula}$")


def test_no_dollar_sign_is_left_over():
    # GitHub sets $...$ where a blank or punctuation stands outside and none inside.
    prose = re.sub(r"`[^`]*`", "", PROSE)
    assert "$" not in re.sub(r"(?<![\w$])\$(?! )([^$\n]+)(?<! )\$(?!\w)", "", prose)
    # Between single dollars GitHub still reads Markdown, which swallows the backslash of \\, or \\;
    assert not [formula for formula in INLINE if re.search(r"\\[^A-Za-z]|[*|]", formula)]


def test_the_extra_vector_behind_each_place_is_the_codes(drawing):
    for rows in (4, 32):
        vectors_of_a_place = winograd._by_place(rows, np.dtype(np.float32)).size / (
            winograd.PLACES * vectors.VECTOR_BYTES // 4
        )
        assert vectors_of_a_place == rows * 4 + 1
        assert drawing.lines_used(rows, behind=0).max() > drawing.WAYS
        assert drawing.lines_used(rows, behind=1).tolist().count(1) == winograd.PLACES


def test_pictures_and_page_tell_the_same(drawing):
    times = f"D {1e6 / drawing.BY_LAYERS:.0f} and {1e6 / drawing.CAPTURED:.0f}, "
    assert times in TEXT
    assert f"{1e6 / drawing.BY_LAYERS:.0f} microseconds" in TEXT
    assert f"and {1e6 / drawing.CAPTURED:.0f} captured" in TEXT
    for layer in ("conv1", "conv2", "dense1"):
        both = (f"{drawing.intensity('D 8/16', layer, samples):.2f}" for samples in (32, 1))
        assert f"{layer}: {' '.join(both)}" in TEXT
    assert round(drawing.winograd_work(16, 16)) == 57
    for where, count in drawing.BYTES.items():
        assert re.search(rf"\b{count} (bytes a cycle )?from\s+(the )?{where.split()[0]}", TEXT)


# --- pictures --------------------------------------------------------------------------------


def test_pictures_are_all_shown_and_all_drawn(drawing, tmp_path):
    names = sorted(f"{FOLDER.name}/{name}.png" for name in drawing.PICTURES)
    assert names == PICTURES
    assert names == sorted(f"{FOLDER.name}/{path.name}" for path in FOLDER.iterdir())
    for path in drawing.draw(tmp_path):
        old = imread(FOLDER / path.name)
        assert imread(path).shape == old.shape, f"run docs/draw_performance.py again: {path.name}"


@pytest.mark.parametrize("link", PICTURES)
def test_pictures_are_small_and_wide_enough(link):
    path = PAGE.parent / link
    assert path.stat().st_size < 200_000
    pixels = imread(path)
    assert pixels.shape[1] >= 800
    assert (pixels[0, 0, :3] == 1).all()  # white


def test_every_picture_says_in_words_what_it_shows():
    for words, _ in re.findall(r"!\[(.*?)\]\((.+?)\)", TEXT):
        assert len(words) > 30
