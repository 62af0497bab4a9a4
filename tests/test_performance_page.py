"""The page docs/performance.md keeps its word: matrices, commands, sources, pictures.

What it has in common with other pages is in test_pages.py.
"""

from __future__ import annotations

import importlib
import json
import re
import statistics
from fractions import Fraction

import numpy as np
import pytest
from matplotlib.image import imread
from pages import PERFORMANCE, ROOT, module_of

FOLDER = PERFORMANCE.path.parent / "pictures_performance"
MATRIX = re.compile(r"\\mathrm\{(\w+)\} =\s*\\begin\{pmatrix\}(.*?)\\end\{pmatrix\}", re.S)


@pytest.fixture(scope="module")
def compiled():
    pytest.importorskip("numba")
    return importlib.import_module("glassbox.kernels.compiled")


@pytest.fixture(scope="module")
def drawing(compiled):
    return module_of("draw_performance.py")


# --- words -----------------------------------------------------------------------------------


def test_every_command_can_be_run():
    commands = re.findall(r"python -m ([\w.]+)", PERFORMANCE.text)
    assert len(set(commands)) == 10
    for module in commands:
        assert (ROOT / (module.replace(".", "/") + ".py")).exists(), module


def test_every_cited_work_is_in_the_sources():
    prose, sources = " ".join(PERFORMANCE.prose.split()).split("## Sources")
    works = set(re.findall(r"- (\w+)[^.]*? (\d{4})\.", sources))
    authors = r"([A-Z]\w+)(?:(?:, [A-Z]\w+)* and (?:van de )?[A-Z]\w+)? ((?:19|20)\d\d)\b"
    assert works == set(re.findall(authors, prose))


# --- numbers ---------------------------------------------------------------------------------


def test_the_matrices_are_those_of_the_code(compiled):
    found = {
        name: [[Fraction(entry) for entry in row.split("&")] for row in body.split(r"\\")]
        for formula in PERFORMANCE.formulas
        for name, body in MATRIX.findall(re.sub(r"\s", " ", formula))
    }
    assert sorted(found) == ["IN", "OUT", "WEIGHTS"]
    for name, matrix in found.items():
        assert (
            np.array(matrix, float).tolist() == np.array(getattr(compiled.vectors, name)).tolist()
        )


def test_the_extra_vector_behind_each_place_is_the_codes(drawing, compiled):
    convolution, winograd = compiled.convolution, compiled.winograd
    for rows in (4, 32):
        vectors_of_a_place = winograd._by_place(rows, np.dtype(np.float32)).size / (
            winograd.PLACES * convolution.vector_lanes(np.dtype(np.float32))
        )
        assert vectors_of_a_place == rows * compiled.processor.COLUMNS + 1
        assert drawing.lines_used(rows, behind=0).max() > drawing.WAYS
        assert drawing.lines_used(rows, behind=1).tolist().count(1) == winograd.PLACES


def test_pictures_and_page_tell_the_same(drawing):
    text = PERFORMANCE.text
    assert f"{1e6 / drawing.BY_LAYERS:.0f} microseconds" in text
    assert f"and {1e6 / drawing.CAPTURED:.0f} captured" in text
    for layer in ("conv1", "conv2", "dense1"):
        both = (f"{drawing.intensity('D 8/16', layer, samples):.2f}" for samples in (32, 1))
        assert f"{layer}: {' '.join(both)}" in text
    assert round(drawing.winograd_work(16, 16)) == 57
    for where, count in drawing.BYTES.items():
        assert re.search(rf"\b{count} (bytes a cycle )?from\s+(the )?{where.split()[0]}", text)


def test_the_picture_of_captures_is_near_to_what_was_measured_last(drawing):
    """It shows one run, the table the last one; they need not agree to the last digit."""
    path = ROOT / "results" / "benchmarks" / "capture.json"
    if not path.exists():
        pytest.skip("no capture.json is committed")
    found = json.loads(path.read_text("utf-8"))["D"]
    measured = [statistics.median(times) for times in found.values()]
    shown = [1e6 / drawing.BY_LAYERS, 1e6 / drawing.CAPTURED]
    np.testing.assert_allclose(shown, measured, rtol=0.2)


# --- pictures --------------------------------------------------------------------------------


@pytest.mark.slow
def test_pictures_are_all_shown_and_all_drawn(drawing, tmp_path):
    names = sorted(f"{FOLDER.name}/{name}.png" for name in drawing.PICTURES)
    assert names == PERFORMANCE.pictures
    assert names == sorted(f"{FOLDER.name}/{path.name}" for path in FOLDER.iterdir())
    for path in drawing.pen.draw(drawing.PICTURES, tmp_path):
        old = imread(FOLDER / path.name)
        assert imread(path).shape == old.shape, f"run docs/draw_performance.py again: {path.name}"
