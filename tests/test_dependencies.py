"""What the project needs: every requirement bounded on both sides, every version of CI within."""

import ast
import re
import sys
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

ROOT = Path(__file__).parent.parent


def lines(name):
    text = (ROOT / name).read_text("utf-8")
    found = [line.split("#")[0].strip() for line in text.splitlines()]
    return [line for line in found if line and not line.startswith("-r")]


PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
REQUIRED = [
    requirement
    for listed in (PROJECT["dependencies"], *PROJECT["optional-dependencies"].values())
    for requirement in map(Requirement, listed)
    if requirement.name != PROJECT["name"]
]


@pytest.mark.parametrize("requirement", REQUIRED, ids=str)
def test_every_requirement_has_a_lower_and_an_upper_bound(requirement):
    assert {clause.operator for clause in requirement.specifier} == {">=", "<"}
    assert not requirement.url


def test_constraints_are_names_and_exact_versions_alone():
    for line in lines("constraints.txt"):
        assert re.fullmatch(r"[a-z0-9-]+==[0-9][0-9a-z.+]*", line), line


def test_the_file_with_hashes_has_the_same_versions():
    form = r"([a-z0-9-]+==[0-9][0-9a-z.+]*) --hash=sha256:[0-9a-f]{64}"
    found = [re.fullmatch(form, line) for line in lines("requirements-ci.txt")]
    assert all(found)
    assert [line[1] for line in found] == sorted(lines("constraints.txt")), "run make lock"


@pytest.mark.parametrize("requirement", REQUIRED, ids=str)
def test_continuous_integration_installs_a_version_within_the_bounds(requirement):
    versions = dict(line.split("==") for line in lines("constraints.txt"))
    assert requirement.specifier.contains(Version(versions[canonicalize_name(requirement.name)]))


def imported(path):
    """The first word of everything that a file imports."""
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            yield from (name.name.split(".")[0] for name in node.names)
        elif isinstance(node, ast.ImportFrom) and not node.level:
            yield node.module.split(".")[0]


def test_every_import_of_the_library_is_required():
    """It is the standard library's, the project's own, or required; benchmarks have their own."""
    rooms = {path.parent.name for path in ROOT.glob("*/__init__.py")}
    ours = rooms | {path.stem for path in ROOT.glob("*.py")}
    known = {canonicalize_name(requirement.name) for requirement in REQUIRED}
    known |= {"sklearn"}  # scikit-learn's name
    known |= {"scipy", "pil", "llvmlite"}  # scikit-learn, matplotlib and Numba bring these
    known |= {"tensorboardx"}  # examples/tensorboard_log.py says how to install it
    files = [*ROOT.glob("*.py"), *(p for room in rooms for p in (ROOT / room).rglob("*.py"))]
    for path in files:
        words = set() if "benchmarks" in path.parts else set(imported(path))
        odd = words - set(sys.stdlib_module_names) - ours
        assert {canonicalize_name(word) for word in odd} <= known, path
