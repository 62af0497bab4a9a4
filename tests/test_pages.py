"""What the pages promise: links, contents, examples, formulas, pictures, plain words."""

import ast
import re

import pytest
from matplotlib.image import imread
from matplotlib.mathtext import MathTextParser
from pages import GLOSSARY, HOW, PERFORMANCE, ROOT, Page, anchor, definitions

from glassbox.spelling import argument_hint

PAGES = pytest.mark.parametrize("page", [HOW, PERFORMANCE], ids=repr)
LINKED = [
    *sorted(path.relative_to(ROOT).as_posix() for path in ROOT.glob("docs/*.md")),
    *("README.md", "CONTRIBUTING.md", "CHANGELOG.md", "SECURITY.md", "results/README.md"),
]
EXAMPLES = {HOW: 60, PERFORMANCE: 50}  # at least
# Folders and files whose words are plain; to be extended, until it is the whole project.
PLAIN = [
    *LINKED,
    *("docs", "benchmarks", "examples", "glassbox"),
    *("main.py", "CNN.py", "Filters.py", "MLP.py", "Datasets.py"),
]
NOT_PLAIN = re.compile(r"\blest\b|(?<!there )\bis no (?!longer)|\bunless told\b", re.I)
LARGEST = {HOW: 100_000, PERFORMANCE: 200_000}  # bytes of a picture


def for_each(what):
    """A test of every one of a page's names, formulas or pictures."""
    cases = [(page, one) for page in (HOW, PERFORMANCE, GLOSSARY) for one in what(page)]
    return pytest.mark.parametrize(("page", "one"), cases, ids=repr)


def settable(page):
    """Matplotlib has no matrices; those of the page are compared with the code's."""
    return sorted({*page.inline, *(each for each in page.formulas if "pmatrix" not in each)})


@for_each(lambda page: page.named)
def test_every_name_is_defined_where_its_link_points(page, one):
    name, link = one
    path = (page.path.parent / link).resolve()
    assert name in definitions(path), f"{name} is not in {path.name}"


def test_errors_name_the_new_argument_where_the_glossary_says_so():
    rows = re.findall(r"^\| `(\w+)`.*\| `(\w+)` \|.*the error names it", GLOSSARY.text, re.M)
    assert len(rows) == 3
    for old, new in rows:
        assert argument_hint(old, [new]) == f"it is called {new} here"


def test_every_word_of_the_glossary_has_a_place_and_they_are_in_order():
    rows = re.findall("^\\| [a-z].*", GLOSSARY.text.split("\n## ")[0], re.M)
    assert all(re.search(r"\[`[\w.]+`\]\(\S+\.py\) \|$", row) for row in rows)
    words = [row.split(" | ")[0] for row in rows]
    assert words == sorted(words)


@pytest.mark.parametrize("name", LINKED)
def test_every_link_leads_somewhere(name):
    page = Page(name)
    assert page.links
    assert page.broken_links() == []


def test_a_link_that_leads_nowhere_is_noticed(tmp_path):
    (tmp_path / "page.md").write_text(
        "# A page\n\n## Good\n\n[a](#good) [b](#bad) [c](page.md#a-page) [d](page.md#bad)\n"
        "[e](none.md) [arXiv:1](https://arxiv.org/abs/1) [arXiv:1](https://arxiv.org/abs/2)\n"
    )
    page = Page(tmp_path / "page.md")
    assert page.broken_links() == ["#bad", "page.md#bad", "none.md", "https://arxiv.org/abs/2"]


@PAGES
def test_the_table_of_contents_is_complete(page):
    titles = [title for title in page.sections if title != "Contents"]
    assert page.contents == [(title, anchor(title)) for title in titles]


@PAGES
def test_every_example_gives_what_it_says(page):
    if "kernels.compiled" in page.text:
        pytest.importorskip("numba")
    count, said = page.examples()
    assert count > EXAMPLES[page]
    assert not said, said


@for_each(settable)
def test_every_formula_can_be_set(page, one):
    MathTextParser("path").parse(f"${one}$")


@PAGES
def test_no_dollar_sign_is_left_over(page):
    assert "$" not in page.unset
    # Between single dollars GitHub still reads Markdown, which swallows the backslash of \\, or \;
    assert not [formula for formula in page.inline if re.search(r"\\[^A-Za-z]|[*|]", formula)]


@for_each(lambda page: page.pictures)
def test_pictures_are_small_and_wide_enough(page, one):
    path = page.path.parent / one
    assert path.stat().st_size < LARGEST[page]
    pixels = imread(path)
    assert pixels.shape[1] >= 800
    assert (pixels[0, 0, :3] == 1).all()  # white


@PAGES
def test_every_picture_says_in_words_what_it_shows(page):
    for words, _ in re.findall(r"!\[(.*?)\]\((.+?)\)", page.text):
        assert len(words) > 30


def not_plain(path):
    """The refused words of a page, or of a module's docstrings and messages, with their context."""
    text = path.read_text("utf-8")
    if path.suffix == ".py":
        constants = [node for node in ast.walk(ast.parse(text)) if isinstance(node, ast.Constant)]
        text = "\n".join(node.value for node in constants if isinstance(node.value, str))
    text = re.sub(r"\s+", " ", text)
    return [
        text[max(match.start() - 20, 0) : match.end() + 20] for match in NOT_PLAIN.finditer(text)
    ]


@pytest.mark.parametrize("name", PLAIN)
def test_words_are_plain(name):
    paths = [path for path in (ROOT / name).rglob("*") if path.suffix in (".py", ".md")]
    paths = paths or [ROOT / name]
    assert {path.name: not_plain(path) for path in paths if not_plain(path)} == {}


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ('"""Lest it err."""', 1),
        ('raise ValueError(f"{name} is "\n    "no file")', 1),
        ('x = "1 unless told otherwise"', 1),
        ('x = "there is no file, and it is no longer here"', 0),
        ("y = 0  # is no comment read? no", 0),
    ],
)
def test_words_that_are_not_plain_are_noticed(tmp_path, text, count):
    (tmp_path / "module.py").write_text(text)
    assert len(not_plain(tmp_path / "module.py")) == count
