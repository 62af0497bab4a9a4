"""A page of the documentation as its tests see it: names, links, formulas, examples, pictures."""

import ast
import doctest
import importlib.util
import re
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.M | re.S)
IS_NAME = re.compile(r"`(?!\S+\.py`)[\w.]+`")


class Page:
    """A page by its path from the root of the project."""

    def __init__(self, name):
        self.path = ROOT / name
        self.text = self.path.read_text(encoding="utf-8")
        self.blocks = FENCE.findall(self.text)
        self.prose = FENCE.sub("", self.text)
        self.links = re.findall(r"\[([^\]]+?)\]\((.+?)\)", self.prose)
        named = {(words, to) for words, to in self.links if IS_NAME.fullmatch(words)}
        self.named = sorted((words.strip("`"), to) for words, to in named if to.endswith(".py"))
        self.formulas = [body.strip() for language, body in self.blocks if language == "math"]
        plain = re.sub(r"`[^`]*`", "", self.prose)
        self.inline = re.findall(r"(?<![\w$])\$([^$\n]+)\$(?!\w)", plain)
        # GitHub sets $...$ where a blank or punctuation stands outside and none inside.
        self.unset = re.sub(r"(?<![\w$])\$(?! )([^$\n]+)(?<! )\$(?!\w)", "", plain)
        self.sections = re.findall(r"^## (.+)$", self.text, re.M)
        self.contents = re.findall(r"^\d+\. \[(.+)\]\(#(.+)\)$", self.text, re.M)
        self.pictures = sorted({link for _, link in self.links if link.endswith(".png")})

    def __repr__(self):
        return self.path.stem

    def section(self, title):
        return self.text.split(f"\n## {title}\n", 1)[1].split("\n## ", 1)[0]

    def examples(self):
        """Run all examples; returns how many there are, and what doctest says of those that fail.

        One after the other in one namespace, as a reader would type them. All else is blanked, so
        that doctest can say in which line of the page an example failed.
        """
        quiet = FENCE.sub(
            lambda m: m[0] if ">>>" in m[2] else re.sub(r"[^\n]+", "", m[0]), self.text
        )
        plain = "\n".join("" if line.startswith("```") else line for line in quiet.splitlines())
        parser, where = doctest.DocTestParser(), (self.path.name, str(self.path), 0)
        test = parser.get_doctest(plain + "\n", {}, *where)
        said = []
        doctest.DocTestRunner().run(test, out=said.append)
        return len(test.examples), "".join(said)

    def broken_links(self):
        """The links that lead nowhere; those to papers must name them."""
        return [link for words, link in self.links if not self._leads(words, link)]

    def _leads(self, words, link):
        if link.startswith("https://arxiv.org/abs/"):
            return words == f"arXiv:{link.rsplit('/', 1)[1]}"
        if link.startswith("https://"):  # nobody is asked: tests need no network
            return True
        file, _, place = link.partition("#")
        path = self.path.parent / file if file else self.path
        return path.exists() and (not place or place in headings(path))


@cache
def definitions(path):
    """{function, class, Class.method or constant: its source lines} of a file."""
    source = path.read_text(encoding="utf-8")
    lines, found = source.splitlines(), {}

    def visit(body, prefix):
        for node in body:
            names = []
            if isinstance(node, ast.FunctionDef | ast.ClassDef):
                names = [prefix + node.name]
            elif isinstance(node, ast.Assign):
                names = [target.id for target in node.targets if isinstance(target, ast.Name)]
            for name in names:
                found[name] = lines[node.lineno - 1 : node.end_lineno]
            if isinstance(node, ast.ClassDef):
                visit(node.body, f"{prefix}{node.name}.")

    visit(ast.parse(source).body, "")
    return found


def anchor(title):
    """The address that GitHub gives a heading."""
    return re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-")


@cache
def headings(path):
    return {anchor(title) for title in re.findall(r"^#+ (.+)$", path.read_text("utf-8"), re.M)}


def module_of(name):
    """The module in a file of docs/, which is no package."""
    path = ROOT / "docs" / name
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


HOW = Page("docs/how-it-works.md")
PERFORMANCE = Page("docs/performance.md")
GLOSSARY = Page("docs/glossary.md")
