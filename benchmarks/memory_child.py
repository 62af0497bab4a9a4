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

IMAGES = 4096
Train = Callable[[np.ndarray], object]  # one step on the images of these numbers


def ours(job: dict[str, Any]) -> Callable[[], Train]:
    """Imports and data are done when this returns; the function it returns builds the network."""
    from benchmarks.networks import network, random_images
    from glassbox.kernels import choose

    choose(job["kernels"])  # imports Numba, where it is the backend that needs it
    data = random_images(IMAGES, tuple(job["shape"]))

    def build() -> Train:
        built = network(job["network"], kernels=job["kernels"])
        return lambda where: built.train_step(data, where)

    return build


def theirs(job: dict[str, Any]) -> Callable[[], Train]:
    """The same for PyTorch; the images are bytes here too and scaled in every step."""
    import torch

    from benchmarks import torch_twin

    pixels = np.random.default_rng(0).integers(0, 256, size=(IMAGES, *job["shape"]), dtype=np.uint8)
    images, labels = torch.from_numpy(pixels), torch.arange(IMAGES) % 10

    def build() -> Train:
        twin = torch_twin.build(job["recipe"]).train()
        more = twin, torch_twin.sgd(twin, *job["rates"]), job["loss"]
        return lambda where: torch_twin.step(*more, images[where] / 255, labels[where])

    return build


def main() -> None:
    if "--help" in sys.argv:
        print(__doc__.strip())
        return
    job = json.load(sys.stdin)
    build = (theirs if "recipe" in job else ours)(job)
    importing, before = peak_megabytes(), resident_megabytes()
    forget_peak()
    train = build()
    for number in range(job["steps"]):  # round and round through all images
        train((np.arange(job["batch"]) + number * job["batch"]) % IMAGES)
    peak = peak_megabytes()
    json.dump({"total": max(importing, peak), "training": peak - before}, sys.stdout)


if __name__ == "__main__":
    main()
