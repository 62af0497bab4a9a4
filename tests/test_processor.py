"""Vectors narrower than the processor's: asked for by a variable, in a process of its own each."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("numba")

import llvmlite.binding

from glassbox.engine.machine import machine
from glassbox.kernels import VECTOR_VARIABLE
from glassbox.kernels.compiled import processor
from glassbox.kernels.compiled.processor import PROCESSOR

ROOT = Path(__file__).resolve().parent.parent
WIDTHS = [width for width in (64, 32, 16) if width <= PROCESSOR.vector_bytes]
# What the code of a width may use on x86, and what it may not.
REGISTERS = {64: "zmm", 32: "ymm", 16: "xmm"}
X86 = llvmlite.binding.get_default_triple().startswith("x86")

# The machine code of a dense layer's product, then how it and a convolution's gradient come out.
PROGRAM = """
import hashlib, re, numba, numpy as np
from glassbox.kernels import choose
from glassbox.kernels.shapes import Window
kernels = choose("compiled")
from glassbox.kernels.compiled import build
from glassbox.kernels.compiled.fully_connected import product
x = np.random.default_rng(0).standard_normal((40, 6, 6, 40), np.float32)
rows = x.reshape(-1, 40)
y = kernels.dense(rows, rows.T.copy(), None)
window = Window((3, 3), (1, 1), (1, 1), (0, 0, 0, 0), (4, 4))
dw = kernels.conv2d_weight_gradient(x, x[:, 2:, 2:].copy(), window)
fresh = numba.njit(product.py_func, nogil=True, error_model="numpy")
fresh.compile(product.signatures[0])
(code,) = fresh.inspect_asm().values()
print(*sorted(set(re.findall(r"[xyz]mm[0-9]+", code))))
print(build.FOLDER.name)
print(hashlib.sha256(y.tobytes() + dw.tobytes()).hexdigest())
"""


def run(width, *words):
    around = {**os.environ, "PYTHONPATH": str(ROOT), VECTOR_VARIABLE: str(width)}
    return subprocess.run(
        [sys.executable, *words], env=around, cwd=ROOT, capture_output=True, text=True,
        timeout=600, check=False,
    )  # fmt: skip


@pytest.fixture(scope="module")
def made():
    """Of each width: the registers in use, the folder of the code, a hash of what it computes."""
    runs = {width: run(width, "-c", PROGRAM) for width in WIDTHS}
    assert all(done.returncode == 0 for done in runs.values()), runs
    return {width: done.stdout.splitlines() for width, done in runs.items()}


@pytest.mark.slow
@pytest.mark.skipif(not X86, reason="names of registers on x86")
def test_the_code_of_a_width_uses_the_registers_of_such_a_processor(made):
    for width, (registers, *_) in made.items():
        used = registers.split()
        kinds = {name[:3] for name in used}
        assert REGISTERS[width] in kinds
        assert not kinds & {name for other, name in REGISTERS.items() if other > width}
        assert width == 64 or all(int(name[3:]) < 16 for name in used)


@pytest.mark.slow
def test_code_of_one_width_is_never_loaded_for_another(made):
    folders = [folder for _, folder, _ in made.values()]
    assert len(set(folders)) == len(WIDTHS)


@pytest.mark.slow
def test_the_same_width_gives_the_same_bits_again(made):
    width = WIDTHS[-1]
    assert run(width, "-c", PROGRAM).stdout.splitlines() == made[width]


@pytest.mark.slow
@pytest.mark.parametrize("width", WIDTHS[1:])
def test_kernels_are_right_at_every_width(width):
    """The tests of the kernels against naive loops, once more for narrower vectors."""
    files = ["tests/test_compiled.py", "tests/test_kernels.py"]
    done = run(width, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", *files)
    assert done.returncode == 0, done.stdout[-3000:]


@pytest.mark.parametrize("bad", ["48", "0", "-16", "wide", "32.0", "128"])
def test_another_width_is_an_error_of_one_line(monkeypatch, bad):
    monkeypatch.setenv(VECTOR_VARIABLE, bad)
    with pytest.raises(ValueError, match=f"{VECTOR_VARIABLE} is '{bad}', expected") as told:
        processor._processor()
    assert "\n" not in str(told.value)
    assert str(PROCESSOR.vector_bytes) in str(told.value)


@pytest.mark.parametrize(
    ("features", "expected"),
    [
        ("+avx,+avx2,+avx512f,+fma", (64, 32, True)),
        ("+avx,+avx2,-avx512f,+fma", (32, 16, True)),
        ("+avx,-avx2,-fma", (32, 16, False)),  # of 2011: products are rounded before they are added
        ("+sse2,-avx", (16, 16, False)),
    ],
)
@pytest.mark.skipif(not X86, reason="features of x86")
def test_blocks_follow_the_features(monkeypatch, features, expected):
    monkeypatch.delenv(VECTOR_VARIABLE, raising=False)
    monkeypatch.setattr(processor.config, "CPU_FEATURES", features)
    assert tuple(processor._processor()) == expected


def test_records_name_the_width_that_was_asked_for(monkeypatch):
    monkeypatch.delenv(VECTOR_VARIABLE, raising=False)
    assert "bytes" not in machine()["features"]
    monkeypatch.setenv(VECTOR_VARIABLE, "16")
    assert machine()["features"].endswith("vectors of 16 bytes")


def test_blocks_fit_the_registers():
    """Sums, a vector of each column, and the number of the moment."""
    for rows, columns in (
        (processor.ROWS, processor.COLUMNS), (processor.DENSE_ROWS, 2), (processor.PAIR_ROWS, 2),
    ):  # fmt: skip
        assert rows * columns + columns + 1 <= PROCESSOR.registers
