"""The real digits, where the data folder holds them: sizes, scaling, and a floor of accuracy."""

from __future__ import annotations

import os

import numpy as np
import pytest

from Datasets import MNIST, prepare_digits
from glassbox.cli import Options
from main import network

FOLDER = os.environ.get("GLASSBOX_DATA", "")


@pytest.fixture(scope="module")
def mnist():
    if not os.path.isdir(os.path.join(FOLDER, "mnist")):
        pytest.skip("GLASSBOX_DATA names no folder with MNIST")
    return MNIST(FOLDER, download=False)


def test_the_official_division_in_file_order(mnist):
    assert (len(mnist.train), len(mnist.validation), len(mnist.test)) == (50_000, 10_000, 10_000)
    assert mnist.train.labels[:10].tolist() == [5, 0, 4, 1, 9, 2, 1, 3, 1, 4]
    assert mnist.test.labels[:5].tolist() == [7, 2, 1, 0, 4]
    # class counts of the published test file
    assert np.bincount(mnist.test.labels).tolist() == [
        980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009,
    ]  # fmt: skip


def test_pixels_are_centerd_by_the_training_mean(mnist):
    x, _ = mnist.train.batch(np.arange(50_000))
    assert x.mean() == pytest.approx(0, abs=1e-4)
    assert x.max() - x.min() == pytest.approx(1, abs=1e-5)


@pytest.mark.slow
def test_prepared_digits_come_back_as_they_were(mnist):
    """Dark on a page that is lit from above, three times as large; a pixel off is no match."""
    before = mnist.test.images[:100, 0]
    light = np.linspace(240, 140, 120)[:, None]
    pages = [light * (1 - 0.8 * np.pad(np.kron(i, np.ones((3, 3))), 18) / 255) for i in before]
    after = prepare_digits(page.astype(np.uint8) for page in pages)[:, 0]
    pairs = zip(after.reshape(100, -1), before.reshape(100, -1), strict=True)
    found = [np.corrcoef(*pair)[0, 1] for pair in pairs]
    assert np.median(found) > 0.95


@pytest.mark.slow
def test_main_network_learns_from_a_third_of_an_epoch(mnist):
    """About 95 % after 16,000 images; a broken gradient stays far below the floor."""
    model = network(Options(learning_rate=0.004))
    model.fit(mnist.train.take(16_000), epochs=1, batch_size=32, progress=False)
    assert model.evaluate(mnist.test).accuracy > 0.85
