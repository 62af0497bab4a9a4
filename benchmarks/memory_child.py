"""Trains one network in this process and says how much memory that took: memory.py's other half.

Reads a job from the standard input and imports only what that job's contestant needs, so that
PyTorch's process holds nothing of this framework and ours nothing of PyTorch.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from typing import Any

import numpy as np

from benchmarks.resident import forget_peak, peak_megabytes, resident_megabytes

SHAPE, IMAGES = (1, 28, 28), 4096


def indices(step: int, batch: int) -> np.ndarray:
    """The images of a step: round and round through all of them."""
    return (np.arange(batch) + step * batch) % IMAGES


def ours(job: dict[str, Any]) -> Callable[[], Callable[[int], object]]:
    """Imports and data are done when this returns; the function it returns builds the network."""
    from benchmarks.networks import network, random_images
    from glassbox.kernels import choose

    choose(job["kernels"])  # imports Numba, where it is the backend that needs it
    data = random_images(IMAGES)

    def build() -> Callable[[int], object]:
        built = network(job["network"], kernels=job["kernels"])
        return lambda step: built.train_step(data, indices(step, job["batch"]))

    return build


def theirs(job: dict[str, Any]) -> Callable[[], Callable[[int], object]]:
    """The same for PyTorch; the images are bytes here too and scaled in every step."""
    import torch

    from benchmarks import torch_twin

    rng = np.random.default_rng(0)
    pixels = torch.from_numpy(rng.integers(0, 256, size=(IMAGES, *SHAPE), dtype=np.uint8))
    labels = torch.arange(IMAGES) % 10

    def build() -> Callable[[int], object]:
        twin = torch_twin.build(job["recipe"]).train()
        optimizer = torch_twin.sgd(twin, job["rate"], job["momentum"])

        def step(number: int) -> None:
            where = torch.from_numpy(indices(number, job["batch"]))
            torch_twin.step(twin, optimizer, job["loss"], pixels[where] / 255, labels[where])

        return step

    return build


def main() -> None:
    job = json.load(sys.stdin)
    build = (theirs if "recipe" in job else ours)(job)
    importing, before = peak_megabytes(), resident_megabytes()
    forget_peak()
    step = build()
    for number in range(job["steps"]):
        step(number)
    peak = peak_megabytes()
    json.dump({"total": max(importing, peak), "training": peak - before}, sys.stdout)


if __name__ == "__main__":
    main()
