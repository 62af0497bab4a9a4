"""What a result says it was measured on: processor, its features, versions, commit, day."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import time
from importlib.metadata import version

import numpy as np
import pytest

from glassbox.engine import machine as module
from glassbox.engine.machine import commit_of, in_words, machine

INTEL = """\
processor\t: 0
model name\t: Some CPU @ 2.40GHz
flags\t\t: fpu sse2 sse4_2 avx avx2 {more}

processor\t: 1
model name\t: Another CPU
flags\t\t: fpu
"""
ARM = "processor\t: 0\nBogoMIPS\t: 50.00\nFeatures\t: fp {more} crc32\n"


@pytest.fixture
def cpuinfo(tmp_path, monkeypatch):
    """A function that puts a text in the place of /proc/cpuinfo."""
    monkeypatch.setattr(module, "CPUINFO", tmp_path / "cpuinfo")
    return lambda text: (tmp_path / "cpuinfo").write_text(text)


# --- machine and versions --------------------------------------------------------------------


def test_a_record_names_all_that_a_figure_depends_on():
    found = machine("torch", "surely-not-installed")
    assert found["surely-not-installed"] == "none"
    assert found["numpy"] == np.__version__
    for package in ("scikit-learn", "matplotlib"):
        assert found[package] == version(package)
    assert found["cores"] >= 1
    assert found["date"] == time.strftime("%Y-%m-%d")
    assert all(found[key] for key in ("processor", "features", "system", "python"))
    assert json.loads(json.dumps(found)) == found


def test_old_records_keys_are_kept():
    """Files of earlier versions hold these, and tables are made from both."""
    assert {"processor", "cores", "system", "python", "numpy"} < set(machine())


@pytest.mark.parametrize(
    ("text", "name", "features"),
    [
        (INTEL.format(more="avx512f avx512bw"), "Some CPU @ 2.40GHz", "AVX-512"),
        (INTEL.format(more="fma hypervisor"), "Some CPU @ 2.40GHz", "AVX2, virtual"),
        (INTEL.format(more="avx512_bf16"), "Some CPU @ 2.40GHz", "AVX2"),
        (ARM.format(more="asimd sve"), None, "SVE"),
        (ARM.format(more="asimd"), None, "NEON"),
        ("processor : 0\n", None, "unknown"),
        ("", None, "unknown"),
    ],
)
def test_linux_tells_the_processor_in_a_file(cpuinfo, text, name, features):
    cpuinfo(text)
    found = machine()
    assert found["features"] == features
    assert found["processor"] == name if name else found["processor"]


def test_the_features_are_those_that_the_compiler_finds():
    """LLVM asks the processor itself, not the system's list."""
    binding = pytest.importorskip("llvmlite.binding")
    flags = binding.get_host_cpu_features()
    words = {"avx512f": "AVX-512", "avx2": "AVX2", "avx": "AVX"}
    widest = next((name for flag, name in words.items() if flags.get(flag)), None)
    if widest is None or not module.CPUINFO.exists():
        pytest.skip("this processor has no vectors that both name alike")
    assert machine()["features"].split(", ")[0] == widest


@pytest.mark.parametrize(
    ("facts", "features"),
    [
        (
            {"machdep.cpu.features": "FPU SSE4.2 AVX1.0", "machdep.cpu.leaf7_features": "AVX2"},
            "AVX2",
        ),
        ({"machdep.cpu.features": "FPU SSE4.2 AVX1.0"}, "AVX"),
        ({"hw.optional.neon": "1"}, "NEON"),
        ({}, "unknown"),
    ],
)
def test_macos_is_asked_by_sysctl(cpuinfo, monkeypatch, facts, features):
    facts = facts | {"machdep.cpu.brand_string": "Apple M9"}
    monkeypatch.setattr(module.platform, "system", lambda: "Darwin")
    monkeypatch.setattr(module, "_ask", lambda *words, **_: facts.get(words[-1]))
    found = machine()
    assert (found["processor"], found["features"]) == ("Apple M9", features)


def test_other_systems_are_asked_for_nothing_that_they_lack(cpuinfo, monkeypatch):
    monkeypatch.setattr(module.platform, "system", lambda: "Windows")
    monkeypatch.setattr(module.platform, "processor", lambda: "Some CPU")
    monkeypatch.setattr(module, "_ask", lambda *words, **_: pytest.fail(f"started {words}"))
    monkeypatch.setattr(module, "_own_commit", lambda: None)
    found = machine()
    assert (found["processor"], found["features"]) == ("Some CPU", "unknown")


# --- in words --------------------------------------------------------------------------------


def test_a_sentence_names_versions_and_groups_commits_by_machine():
    one = {
        "processor": "A",
        "features": "AVX2",
        "cores": 2,
        "system": "Linux 6.1",
        "python": "3.11",
        "numpy": "2.4",
        "numba": "none",
        "torch": "2.13",
    }
    other = {"processor": "B", "features": "unknown", "cores": 4}
    assert in_words([one, one]) == "A (AVX2), 2 cores, Linux, Python 3.11, NumPy 2.4, PyTorch 2.13"
    words = in_words([other | {"commit": commit * 10} for commit in "bab"] + [one])
    assert words.endswith("; B, 4 cores; commits aaaaaaa and bbbbbbb")
    assert in_words([other | {"commit": None}]) == "B, 4 cores"


# --- commit ----------------------------------------------------------------------------------


@pytest.fixture
def checkout(tmp_path):
    """A repository with one commit, of a file in a folder and of a result."""
    if shutil.which("git") is None:
        pytest.skip("git is not installed")
    (tmp_path / "engine").mkdir()
    (tmp_path / "results").mkdir()
    (tmp_path / "engine" / "code.py").write_text("first\n")
    (tmp_path / "main.py").write_text("first\n")
    (tmp_path / "results" / "result.json").write_text("first\n")
    git(tmp_path, "init", "--quiet")
    git(tmp_path, "add", ".")
    git(tmp_path, "-c", "user.name=a", "-c", "user.email=a@example.org", "commit", "-qm", "one")
    return tmp_path


def git(folder, *words):
    around = {key: value for key, value in os.environ.items() if not key.startswith("GIT_")}
    done = subprocess.run(
        ["git", *words], cwd=folder, env=around, check=True, capture_output=True, text=True
    )
    return done.stdout.strip()


def test_the_commit_is_named_in_full(checkout):
    assert commit_of(checkout / "engine" / "code.py") == git(checkout, "rev-parse", "HEAD")


@pytest.mark.parametrize("staged", [False, True])
def test_a_change_anywhere_in_the_code_makes_it_dirty(checkout, staged):
    (checkout / "main.py").write_text("second\n")
    if staged:
        git(checkout, "add", "main.py")
    head = git(checkout, "rev-parse", "HEAD")
    assert commit_of(checkout / "engine" / "code.py") == f"{head}-dirty"


def test_what_runs_leave_does_not_make_it_dirty(checkout):
    """The first example's result must not mark all later ones."""
    (checkout / "results" / "result.json").write_text("second\n")
    (checkout / "results" / "new.json").write_text("new\n")
    assert commit_of(checkout / "engine" / "code.py") == git(checkout, "rev-parse", "HEAD")


def test_the_repository_around_an_installed_copy_is_not_its_own(checkout):
    (checkout / "engine" / "installed.py").write_text("untracked\n")
    assert commit_of(checkout / "engine" / "installed.py") is None


def test_outside_a_checkout_there_is_no_commit(tmp_path):
    (tmp_path / "code.py").write_text("")
    assert commit_of(tmp_path / "code.py") is None
    assert commit_of(tmp_path / "no such folder" / "code.py") is None


def test_without_git_there_is_no_commit(checkout, monkeypatch):
    monkeypatch.setenv("PATH", str(checkout))
    assert commit_of(checkout / "engine" / "code.py") is None


def test_a_git_that_never_answers_is_not_waited_for(checkout, monkeypatch, tmp_path):
    program = tmp_path / "slow" / "git"
    program.parent.mkdir()
    program.write_text("#!/bin/sh\nexec sleep 60\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setattr(module, "PATIENCE", 0.2)
    begun = time.perf_counter()
    assert commit_of(checkout / "engine" / "code.py") is None
    assert time.perf_counter() - begun < 30


def test_a_hook_of_another_repository_does_not_mislead(checkout, monkeypatch, tmp_path):
    """Git starts its hooks with GIT_DIR and GIT_INDEX_FILE set."""
    other = tmp_path / "other"
    other.mkdir()
    git(other, "init", "--quiet")
    monkeypatch.setenv("GIT_DIR", str(other / ".git"))
    monkeypatch.setenv("GIT_INDEX_FILE", str(other / ".git" / "index"))
    assert commit_of(checkout / "engine" / "code.py") == git(checkout, "rev-parse", "HEAD")
