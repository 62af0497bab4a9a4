"""The files around the code: licence, changelog, citation, hooks, workflow; and their commands."""

import re
import subprocess
import sys
import tomllib

import numpy as np
import pytest
from pages import ROOT

import glassbox
from Datasets import Splits, from_arrays

HOOKS = ".pre-commit-config.yaml"
WORKFLOW = ".github/workflows/test.yml"
PAGES = ["README.md", "CONTRIBUTING.md", "SECURITY.md", "results/README.md"]


def text_of(name):
    return (ROOT / name).read_text("utf-8")


PROJECT = tomllib.loads(text_of("pyproject.toml"))["project"]
MAKEFILE = text_of("Makefile").replace("\\\n", "")


def variables():
    """{name: value} of the Makefile's variables, as they are written."""
    return dict(re.findall(r"^([A-Z]+) [:?]?= (.*)$", MAKEFILE, re.M))


def commands(target):
    """What a target of the Makefile runs, with variables filled in, without the folder."""
    recipe = re.search(rf"^{target}:.*\n((?:\t.*\n)+)", MAKEFILE, re.M)[1]
    known = variables() | {"BIN": "", "ARGS": ""}
    while "$(" in recipe:
        recipe = re.sub(r"\$\((\w+)\)", lambda match: known[match[1]], recipe)
    lines = (line.strip() for line in recipe.replace("&&", "\n").splitlines())
    return [line.removeprefix("/").strip() for line in lines if line]


# --- words -----------------------------------------------------------------------------------


def test_the_license_is_mits():
    text = text_of("LICENSE")
    assert text.startswith("MIT License\n\nCopyright (c) 2026 the Glassbox authors\n")
    assert "WITHOUT WARRANTY OF ANY KIND" in text


def test_the_changelog_has_the_versions_in_order_and_what_is_not_released_on_top():
    versions = re.findall(r"^## \[(.+?)\](?: - (\d{4}-\d\d-\d\d))?$", text_of("CHANGELOG.md"), re.M)
    assert len(versions) == len(re.findall("^## ", text_of("CHANGELOG.md"), re.M))
    assert versions[0] == ("Unreleased", "")
    days = [day for _, day in versions[1:]]
    assert all(days)
    assert days == sorted(days, reverse=True)
    released = versions[1][0]
    assert glassbox.__version__ == released or re.fullmatch(
        r"\d+\.\d+\.\d+\.dev\d+", glassbox.__version__
    )


def test_the_citation_is_of_the_newest_version():
    found = dict(re.findall(r'^([a-z-]+): "?(.*?)"?$', text_of("CITATION.cff"), re.M))
    newest = re.search(r"^## \[(\d.+?)\] - (.+)$", text_of("CHANGELOG.md"), re.M)
    assert (found["version"], found["date-released"]) == newest.groups()
    assert found["license"] == "MIT"
    assert found["cff-version"] == "1.2.0"


# --- commands --------------------------------------------------------------------------------


def test_make_check_is_make_test_without_the_slow_tests():
    check, test = commands("check"), commands("test")
    assert test[:3] == ["ruff check .", "ruff format --check .", "mypy"]
    assert test[3].startswith("python -m pytest -q ")
    assert check == [*test[:3], test[3] + ' -m "not slow"']


def test_the_hooks_run_what_make_check_runs():
    assert re.findall("^ +entry: (.+)$", text_of(HOOKS), re.M) == commands("check")
    assert text_of(HOOKS).count("language: system") == 4
    assert text_of(HOOKS).count("pass_filenames: false") == 4


def test_the_workflow_runs_what_make_test_runs():
    runs = re.findall(r"^ +(?:- )?run: (.+)$", text_of(WORKFLOW), re.M)
    prepare = [run for run in runs if run.startswith("python -m pip ")]
    assert runs == prepare + commands("test")
    assert prepare[:3] == [
        "python -m pip install --require-hashes -r requirements-ci.txt",
        "python -m pip install --no-deps --no-build-isolation -e .",
        "python -m pip install -e .[dev]",
    ]


def test_the_workflow_pins_versions_on_the_oldest_python_alone():
    text = text_of(WORKFLOW)
    pythons = re.search(r"python: \[(.+)\]", text)[1].replace('"', "").split(", ")
    oldest = PROJECT["requires-python"].removeprefix(">=")
    assert pythons[0] == oldest
    assert len(pythons) == 2
    for condition, command in (
        ("==", "--require-hashes"),
        ("==", "--no-deps"),
        ("!=", "-e .[dev]"),
    ):
        asked = f"- if: matrix.python {condition} '{oldest}'\n"
        assert f"{asked}        run: python -m pip install {command}" in text
    assert "numba: [with, without]" in text


def test_files_of_other_programs_are_yaml():
    yaml = pytest.importorskip("yaml")
    hooks, workflow, citation = (
        yaml.safe_load(text_of(name)) for name in (HOOKS, WORKFLOW, "CITATION.cff")
    )
    assert len(hooks["repos"][0]["hooks"]) == 4
    assert list(workflow["jobs"]) == ["test"]
    assert re.fullmatch(r"\d+\.\d+\.\d+", citation["version"])


@pytest.mark.parametrize(
    "name", ["README.md", "CONTRIBUTING.md", "SECURITY.md", "results/README.md"]
)
def test_every_target_that_a_page_names_is_in_the_makefile(name):
    targets = set(re.search(r"^\.PHONY: (.+)$", MAKEFILE, re.M)[1].split())
    named = set(re.findall(r"(?:^    |`|=~/data |txt )make ([a-z]+)", text_of(name), re.M))
    assert named
    assert named <= targets
    assert all(re.search(f"^{target}:", MAKEFILE, re.M) for target in targets)


def test_trust_is_not_counted_in_several_processes():
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "--trust", "-n", "2", "tests/test_schedules.py"],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert done.returncode == pytest.ExitCode.USAGE_ERROR
    assert "--trust adds up figures in one process" in done.stderr


# --- the README, as it is pasted -------------------------------------------------------------


class SmallMNIST(Splits):
    """A few images in the shape of MNIST's; a test needs no network."""

    def __init__(self):
        random = np.random.default_rng(0)
        images = random.integers(0, 256, (80, 1, 28, 28), np.uint8)
        data = from_arrays(images, np.arange(80) % 10, sizes=(50, 10, 20))
        super().__init__("mnist", data.train, data.validation, data.test)


@pytest.mark.slow
def test_the_readmes_python_runs_as_pasted(tmp_path, monkeypatch):
    """All of it, one block after the other, in one session and an empty folder."""
    blocks = re.findall(r"^```python\n(.*?)^```", text_of("README.md"), re.M | re.S)
    assert len(blocks) >= 2
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(glassbox, "MNIST", SmallMNIST, raising=False)
    session = {}
    for block in blocks:
        exec(compile(block, "README.md", "exec"), session)
    assert len(session["network"].history.records) == 5 + 9
    assert (tmp_path / "digits.safetensors").exists()


SHELL = re.findall(
    r"^ {4}(?:\w+=\S+ )?((?:python|make|pip|source) ?.*)$", text_of("README.md"), re.M
)
COMMANDS = sorted({re.split(r"\s+#", line)[0].strip() for line in SHELL})


def test_the_readmes_commands_are_found():
    assert {"make run", "make test", "python main.py", "python main.py --help"} <= set(COMMANDS)


@pytest.mark.parametrize("command", [line for line in COMMANDS if line.startswith("make ")])
def test_the_readmes_targets_are_the_makefiles(command):
    assert re.search(rf"^{command.split()[1]}:", MAKEFILE, re.M)


@pytest.mark.slow
@pytest.mark.parametrize("command", [line for line in COMMANDS if line.startswith("python ")])
def test_the_help_of_the_readmes_commands_has_their_options(command):
    program, *words = re.fullmatch(r"python ((?:-m )?\S+) ?(.*)", command).groups()
    options = {word for word in " ".join(words).split() if word.startswith("-")}
    if program in ("-m venv", "-m pytest"):
        return  # of others
    done = subprocess.run(
        [sys.executable, *program.split(), "--help"],
        cwd=ROOT, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert options <= set(re.findall(r"--?[a-z-]+", done.stdout)), command
