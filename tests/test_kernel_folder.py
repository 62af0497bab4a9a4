"""The folder in which compiled kernels are kept: made, damaged in every way, not to be had."""

import itertools
import os
import random
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("numba")

from glassbox.kernels.compiled import build

ROOT = Path(__file__).resolve().parent.parent
# Two functions, each for two types, and one that both of them call.
PROGRAM = """
import numpy as np
from glassbox.kernels import choose
kernels = choose("compiled")
for dtype in (np.float32, np.float64):
    x = kernels.leaky_relu_(np.array([-1, 2], dtype), 0.5)
    print(kernels.leaky_relu_gradient(x, x, 0.5).tolist())
"""


def run_tiny(folder):
    """What a process that uses two kernels says on stderr; its numbers are right."""
    around = {**os.environ, "GLASSBOX_KERNELS": str(folder), "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], env=around, cwd=ROOT / "tests",
        capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout == "[-0.25, 2.0]\n" * 2
    return done.stderr


@pytest.fixture(scope="module")
def kept(tmp_path_factory):
    """A folder of compiled kernels, which the first run says once."""
    folder = tmp_path_factory.mktemp("kept") / "here"
    notice = run_tiny(folder)
    assert notice.count("Compiling") == notice.count("\n") == 1
    assert str(folder) in notice
    assert len(list(folder.rglob("*.nbc"))) == 6
    return folder


# --- damaged -----------------------------------------------------------------------------------


def flip(path, other, chance):
    data = bytearray(path.read_bytes())
    data[chance.randrange(len(data))] ^= 1 << chance.randrange(8)
    path.write_bytes(data)


def swap(path, other, chance):
    data = path.read_bytes()
    path.write_bytes(other.read_bytes())
    other.write_bytes(data)


def put(make):
    """Put something else in place of a file."""

    def damage(path, other, chance):
        path.unlink()
        make(path)

    return damage


DAMAGES = {
    "emptied": lambda path, other, chance: path.write_bytes(b""),
    "cut": lambda path, other, chance: os.truncate(path, chance.randrange(path.stat().st_size)),
    "longer": lambda path, other, chance: path.write_bytes(path.read_bytes() + b"."),
    "a bit flipped": flip,
    "zeros": lambda path, other, chance: path.write_bytes(bytes(path.stat().st_size)),
    "swapped": swap,
    "another's": lambda path, other, chance: shutil.copy(other, path),
    "text": lambda path, other, chance: path.write_text("404: not found"),
    "removed": lambda path, other, chance: path.unlink(),
    "a folder": put(lambda path: path.mkdir()),
    "a full folder": put(lambda path: (path / "inside").mkdir(parents=True)),
    "a pipe": put(lambda path: os.mkfifo(path)),
    "a link to nothing": put(lambda path: path.symlink_to("nothing")),
    "a link to itself": put(lambda path: path.symlink_to(path.name)),
    "a device": put(lambda path: path.symlink_to("/dev/zero")),
    "left by a killed run": lambda path, other, chance: path.rename(f"{path}.tmp.0123"),
}


@pytest.mark.slow
@pytest.mark.skipif(os.name != "posix", reason="pipes and links")
def test_every_run_behind_a_damaged_folder_works(kept, tmp_path, trust):
    """With one sentence where something is compiled again, and none the next time."""
    kinds = [*DAMAGES] * 4 if trust.long else ["swapped", "a pipe"]
    for number, kind in enumerate(kinds):
        chance, folder = random.Random(number), tmp_path / str(number)
        shutil.copytree(kept, folder)
        files = sorted(folder.rglob("*.nbc"))
        chance.shuffle(files)
        for path, other in itertools.pairwise(files):
            DAMAGES[kind](path, other, chance)
        first, second = run_tiny(folder), run_tiny(folder)
        lasting = "folder" in kind  # nothing can be put in its place
        assert first.count("\n") == 1 + lasting, (kind, first)
        assert ("cannot be kept" in second) if lasting else second == "", (kind, second)
    trust.record("kernel_folder", damages=len(kinds), kinds=len(DAMAGES))


def test_a_damaged_file_of_compiled_code_is_never_unpickled(tmp_path, monkeypatch):
    """Each kind of damage: emptied, cut, flipped, that of another function, a folder."""
    monkeypatch.setattr(build, "FOLDER", tmp_path)
    files = build._CheckedFiles("function")
    files.save("key", ["machine code"])
    assert files.load("key") == ["machine code"]
    (path,) = tmp_path.iterdir()
    data = path.read_bytes()
    files.save("another key", ["other code"])
    (other,) = set(tmp_path.iterdir()) - {path}
    damaged = [b"", data[:40], data[:-1], data + b".", data[:50] + b"!" + data[51:]]
    for bad in [*damaged, other.read_bytes()]:
        path.write_bytes(bad)
        monkeypatch.setattr(build.NOTICE, "damaged", False)
        assert files.load("key") is None
        assert build.NOTICE.damaged
    path.unlink()
    assert files.load("key") is None
    path.mkdir()
    assert files.load("key") is None
    path.rmdir()
    files.save("key", ["again"])
    assert files.load("key") == ["again"]
    assert build._CheckedFiles("later").load("key") is None


# --- not to be had -----------------------------------------------------------------------------


@pytest.mark.slow
def test_without_a_place_to_keep_code_it_is_compiled_in_every_run(tmp_path):
    """A file stands where the folder would be: not even root can write there."""
    blocked = tmp_path / "a file"
    blocked.write_text("")
    notice = run_tiny(blocked / "kernels")
    assert notice.count("\n") == 1
    assert "in every run" in notice
    assert str(blocked) in notice
    assert "GLASSBOX_KERNELS" in notice


def test_code_is_kept_beside_the_sources_of_a_user_without_a_home(tmp_path, monkeypatch):
    def no_home():
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.delenv(build.FOLDER_VARIABLE, raising=False)
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setattr(build, "__file__", str(tmp_path / "build.py"))
    monkeypatch.setattr(build.Path, "home", no_home)
    folder, problem = build._folder()
    assert folder.parent == tmp_path / "__pycache__"
    assert not problem
    (tmp_path / "a file").write_text("")
    monkeypatch.setattr(build, "__file__", str(tmp_path / "a file" / "build.py"))
    folder, problem = build._folder()
    assert problem


def test_the_folder_is_called_after_the_sources(tmp_path, monkeypatch):
    """Numba looks at one file at a time: what is compiled from older ones must not be found."""
    monkeypatch.delenv(build.FOLDER_VARIABLE, raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(build, "__file__", str(tmp_path / "build.py"))
    (tmp_path / "build.py").write_text("one = 1\n")
    (tmp_path / "vectors.py").write_text("two = 2\n")
    before = build._folder()
    assert before[0].parent == tmp_path / "cache" / "glassbox"
    assert build._folder() == before
    (tmp_path / "vectors.py").write_text("two = 3\n")
    assert build._folder() != before
    monkeypatch.setenv(build.FOLDER_VARIABLE, str(tmp_path / "mine"))
    named = build._folder()
    assert named[0].parent == tmp_path / "mine"
    (tmp_path / "vectors.py").write_text("two = 4\n")
    assert build._folder() != named
