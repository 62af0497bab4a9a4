"""The core stays small, and the walk through it short: both may only get better."""

from __future__ import annotations

import importlib

import numpy as np
import pytest

from benchmarks import core, walk

FILES, RETURNS = 10, 23  # of one eager step


def test_the_core_grows_no_longer():
    counts = core.line_counts()
    assert len(counts) == 10
    assert sum(counts.values()) <= core.MOST
    assert counts["CNN.py"] <= 500


def test_a_step_enters_few_files_and_returns_seldom():
    entered, files, returns = walk.walk()
    names = [function for _, _, function in entered]
    assert {"Conv2D.forward", "MaxPool2D.backward", "Dense.forward", "Adam.update"} <= set(names)
    assert files <= FILES
    assert returns <= RETURNS


def test_the_readme_says_how_long_the_walk_is():
    _, files, returns = walk.walk()
    text = " ".join((core.ROOT / "README.md").read_text("utf-8").split())
    assert f"enters {files} files, and returns {returns} times" in text


@pytest.mark.parametrize("name", ["Filters", "MLP"])
def test_numpy_is_at_hand_where_readers_add_layers(name):
    """A line of plain NumPy in a layer needs no import."""
    assert vars(importlib.import_module(name))["np"] is np
