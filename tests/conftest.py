"""What several test files share."""

import gc
import json
import runpy
import sys
import time
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from browser import browser, page  # noqa: F401  (fixtures for all)

from glassbox.engine.machine import machine
from glassbox.kernels import BACKENDS, choose
from glassbox.report import evaluation
from glassbox.report.results import write_atomically

# Programs, not tests: two need PyTorch, which the tests do without.
collect_ignore = [
    "make_pytorch_numbers.py", "make_onnx_file.py", "make_state_dict.py", "make_golden_model.py",
    "make_keras_weights.py", "killed_run.py", "hostile.py", "hostile_models.py",
    "hostile_onnx.py",
]  # fmt: skip
TRUST = Path(__file__).parent.parent / "results" / "trust.json"
FIGURES = pytest.StashKey()
NO_PARAMETERS = SimpleNamespace(params={})
gc.disable()  # until the tests are collected: they are many objects, none of which goes away


def pytest_collection_modifyitems(items):
    """Without Numba there are no compiled kernels: their half of the contract tests is skipped."""
    if find_spec("numba") is None:
        for item in items:
            given = getattr(item, "callspec", NO_PARAMETERS).params.values()
            if "compiled" in [value for value in given if isinstance(value, str)]:
                item.add_marker(pytest.mark.skip(reason="Numba is not installed"))


def pytest_collection_finish():
    """From now on the collector looks at what the tests make, and no longer at the tests."""
    gc.enable()
    gc.freeze()


class Trust:
    """How far a test of trust goes, and where its figures are kept."""

    def __init__(self, long, figures):
        self.long, self._figures = long, figures

    def cases(self, short, long):
        """How many to try: `long` under `make trust`, else `short`."""
        return long if self.long else short

    def record(self, what, **figures):
        """Figures for results/trust.json, such as record("kills", survived=20, of=20)."""
        self._figures.setdefault(what, {}).update(figures)


def pytest_addoption(parser):
    parser.addoption(
        "--trust", action="store_true",
        help="the long forms of the tests of trust; their figures go to results/trust.json",
    )  # fmt: skip


def pytest_configure(config):
    config.stash[FIGURES] = {}
    if config.getoption("--trust"):
        if config.getoption("numprocesses", None):
            raise pytest.UsageError("--trust adds up figures in one process: leave out -n")
        machine()  # the commit that it names is that of now, not of the end


@pytest.fixture(scope="session")
def trust(request):
    """See `Trust`."""
    return Trust(request.config.getoption("--trust"), request.config.stash[FIGURES])


def pytest_sessionfinish(session, exitstatus):
    """Under --trust, and only if every test passed, the figures replace those of their name."""
    figures = session.config.stash[FIGURES]
    if not session.config.getoption("--trust") or exitstatus or not figures:
        return
    before = json.loads(TRUST.read_text("utf-8")) if TRUST.exists() else {}
    now = {"machine": machine(), "date": time.strftime("%Y-%m-%d")}
    merged = before | {name: {**own, **now} for name, own in figures.items()}
    write_atomically(TRUST, (json.dumps(merged, indent=2, sort_keys=True) + "\n").encode())


@pytest.fixture(params=list(BACKENDS))
def kernels(request):
    """Each backend in turn: every kernel must mean the same in all of them."""
    return choose(request.param)


@pytest.fixture(params=list(BACKENDS))
def backend(request):
    """The name of each backend in turn, to build networks with."""
    return request.param


@pytest.fixture
def main_here(tmp_path, monkeypatch, capsys):
    """A function that runs `python main.py words...` in tmp_path, but in this process.

    A process of its own, as `test_command_line.type_in` has, takes most of a second to start.
    Pictures are made, but not drawn. Returned are returncode, stdout and stderr.
    """
    ours = Path(__file__).parent.parent / "main.py"

    def run(*words, program=ours):
        monkeypatch.setattr(sys, "argv", [str(program), *words])
        try:
            runpy.run_path(str(program), run_name="__main__")
            code = 0
        except SystemExit as stopped:
            code = stopped.code or 0
        said = capsys.readouterr()
        return SimpleNamespace(returncode=code, stdout=said.out, stderr=said.err)

    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.delenv("GLASSBOX_DATA", raising=False)
    monkeypatch.setattr(evaluation, "encode", lambda figure: b"a picture")
    return run


@pytest.fixture(scope="session")
def pytorch():
    """Numbers that PyTorch computed once (make_pytorch_numbers.py), as float64 arrays by name."""
    text = Path(__file__).with_name("pytorch_numbers.json").read_text("utf-8")

    def arrays(value):
        if isinstance(value, dict):
            return {
                key: inner if key == "settings" else arrays(inner) for key, inner in value.items()
            }
        if isinstance(value, list):
            records = value and isinstance(value[0], dict)
            return [arrays(inner) for inner in value] if records else np.array(value, np.float64)
        return value

    return arrays(json.loads(text))
