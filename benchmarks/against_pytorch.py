"""Training and inference beside PyTorch and ONNX Runtime, on the networks of the five systems.

    python -m benchmarks.against_pytorch            # everything: about a quarter of an hour
    python -m benchmarks.against_pytorch --networks A "D 8/16" --modes train-128 --rounds 3

In one run and in alternation: PyTorch in both memory formats (the better one counts), ONNX Runtime
where it is inference, then both backends here.  Before any timing all get the same weights, and
loss, gradients, 20 steps of training and outputs must agree (`benchmarks.agreement`).

train-128, train-1: steps of SGD with momentum on batches of 128 images and of 1.  All go through
    the same 4,096 images.  Ours are bytes and are scaled in every step; PyTorch's are floats, laid
    out in batches beforehand, which is the easier task.
inference: class scores of 1,000 images.  All get floats in memory, samples first, and give the
    scores with their softmax (or sigmoid); ours also brings the images into its own order and looks
    for NaN among them, as `network.scores` always does.

All use all cores in every mode, which is the default of all; PyTorch is eager, its default too.
Needs: pip install -r benchmarks/requirements.txt
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from itertools import cycle
from statistics import median
from typing import Any

import numpy as np
import torch

from benchmarks import torch_twin
from benchmarks.agreement import check_agreement, pair_of, runtime_of, tensors
from benchmarks.machine import Step, alternate, options, ratios, timed, write_json
from benchmarks.networks import LEARNING_RATE, MOMENTUM, NETWORKS, network, random_images
from benchmarks.report import heading, means, row
from Datasets import Dataset
from glassbox.bridges.onnx import INPUT
from glassbox.engine.machine import machine
from glassbox.kernels import BACKENDS

MODES = {"train-128": 128, "train-1": 1, "inference": 1000}  # and the images of one step
FORMATS = {"contiguous": torch.contiguous_format, "channels_last": torch.channels_last}
PACKAGES = ("torch", "onnxruntime")
Contestant = tuple[Step, Callable[[], Any]]  # what is repeated, and what is entered around it


def train_ours(name: str, backend: str, data: Dataset, batch: int) -> Contestant:
    """`train_step` as `fit` calls it."""
    ours = network(name, kernels=backend)
    batches = cycle(np.arange(len(data)).reshape(-1, batch))
    return lambda: ours.train_step(data, next(batches)), ours.workers.ready


def train_theirs(name: str, layout: Any, data: Dataset, batch: int) -> Contestant:
    """A training step of PyTorch."""
    ours, theirs = pair_of(name)
    theirs = theirs.to(memory_format=layout).train()
    images, labels = tensors(data, np.arange(len(data)))
    pieces = images.to(memory_format=layout).split(batch)
    batches = cycle(list(zip(pieces, labels.split(batch), strict=True)))
    more = theirs, torch_twin.sgd(theirs, LEARNING_RATE, MOMENTUM), ours.loss.word
    return lambda: torch_twin.step(*more, *next(batches)), nullcontext


def use_ours(name: str, backend: str, images: np.ndarray) -> Contestant:
    """`network.scores` of float images."""
    ours = network(name, kernels=backend)
    return lambda: ours.scores(images), ours.workers.ready


def use_theirs(name: str, layout: Any, images: np.ndarray) -> Contestant:
    """PyTorch in inference mode."""
    theirs = pair_of(name, scores=True)[1].to(memory_format=layout).eval()
    batch = torch.from_numpy(images).to(memory_format=layout)
    return lambda: theirs(batch), torch.inference_mode


def use_runtime(name: str, images: np.ndarray) -> Contestant:
    """ONNX Runtime on all cores."""
    session = runtime_of(network(name), machine()["cores"])
    return lambda: session.run(None, {INPUT: images}), nullcontext


def contestants(name: str, mode: str, data: Dataset) -> dict[str, Contestant]:
    """All of a mode, in the order in which they are timed."""
    count = MODES[mode]
    if mode == "inference":
        images = np.ascontiguousarray(data.batch(np.arange(count))[0])
        theirs = {key: use_theirs(name, layout, images) for key, layout in FORMATS.items()}
        ours = {backend: use_ours(name, backend, images) for backend in BACKENDS}
        return {**theirs, "onnxruntime": use_runtime(name, images), **ours}
    theirs = {key: train_theirs(name, layout, data, count) for key, layout in FORMATS.items()}
    return theirs | {backend: train_ours(name, backend, data, count) for backend in BACKENDS}


def measure(name: str, mode: str, data: Dataset, rounds: int, seconds: float) -> dict[str, Any]:
    """Images per second of all contestants in alternation, and the ratios of every round."""
    every = contestants(name, mode, data).items()
    ways = {key: timed(step, MODES[mode], seconds, around) for key, (step, around) in every}
    found = alternate(ways, rounds)
    better = max(FORMATS, key=lambda key: median(found[key]))
    rivals = {"pytorch": found[better]}
    if mode == "inference":
        rivals["onnxruntime"] = found["onnxruntime"]
    beside = {
        f"{backend} / {rival}": ratios(found[backend], theirs)
        for rival, theirs in rivals.items()
        for backend in BACKENDS
    }
    return {"images_per_second": found, "better_format": better, "ratios": beside}


def check_all(names: list[str], data: Dataset) -> dict[str, dict[str, float]]:
    """Agreement of every network in every backend; prints the largest differences."""
    pairs = [(name, backend) for name in names for backend in BACKENDS]
    found = {", ".join(pair): check_agreement(*pair, data) for pair in pairs}
    kinds = next(iter(found.values()))
    worst = {kind: max(errors[kind] for errors in found.values()) for kind in kinds}
    print("agree to: " + ", ".join(f"{kind} {error:.0e}" for kind, error in worst.items()))
    return found


def main() -> None:
    told = options(
        __doc__, *PACKAGES, networks=list(NETWORKS), modes=list(MODES), rounds=7, seconds=1.0
    )
    torch.set_num_threads(machine()["cores"])
    data = random_images(4096)
    everything: dict[str, Any] = {"rounds": told.rounds, "seconds": told.seconds}
    everything["agreement"] = check_all(told.networks, data)
    for mode in told.modes:
        print(f"\n{mode}: images per second, median of {told.rounds} alternations")
        print(heading(mode), flush=True)
        results: dict[str, dict[str, Any]] = {}
        for name in told.networks:
            results[name] = measure(name, mode, data, told.rounds, told.seconds)
            print(row(name, results[name]), flush=True)
        summary = means(results)
        for kind, value in summary.items():
            print(f"geometric mean of {kind}: {value:.2f}")
        everything[mode] = {"networks": results, "geometric_mean": summary}
        write_json(told.json, everything, *PACKAGES)  # after each mode: what is measured is kept


if __name__ == "__main__":
    main()
