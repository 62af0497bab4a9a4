"""What main.py and system D's network reach on the 10,000 test digits, in what time and memory.

    python -m benchmarks.accuracy

Runs `python main.py` as shipped in a process of its own (seconds and memory are the whole
process's), then one epoch of system D's network with batches of one image.  Needs MNIST.
"""

from __future__ import annotations

import json
import math
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.machine import describe
from benchmarks.resident import peak_megabytes
from CNN import CNN
from Datasets import MNIST
from Filters import Conv2D, MaxPool2D
from MLP import Adam, Dense, OneCycle

ROOT = Path(__file__).parent.parent


def main_as_shipped() -> str:
    """`python main.py` without arguments."""
    with tempfile.TemporaryDirectory() as folder:
        begun = time.perf_counter()
        subprocess.run(
            [sys.executable, str(ROOT / "main.py"), "--output", folder],
            cwd=ROOT, check=True, stdout=subprocess.DEVNULL,
        )  # fmt: skip
        seconds = time.perf_counter() - begun
        (run,) = Path(folder).iterdir()
        metrics = json.loads((run / "metrics.json").read_text())
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024 / 1e6
    return (
        f"python main.py: {metrics['test']['accuracy']:.2%} test, "
        f"{metrics['validation']['accuracy']:.2%} validation, {seconds:.1f} s in all, "
        f"peak {peak:.0f} MB"
    )


def system_d_batch_one(seed: int) -> float:
    """One epoch of 50,000 images, one at a time; rates and scales chosen on validation images.

    Every step counts when each image is seen once.  So the first weights are scaled for images of
    unit variance: filters halved, lest the sigmoids start saturated; dense layers twice and four
    times as large, as the sigmoid's slope of 1/4 wants (Glorot and Bengio 2010); and the outputs
    begin at the share of a class, 1/10, instead of 1/2.
    """
    data = MNIST(normalise="per-image")
    filters = Adam(OneCycle(0.0015, warm=0.02))
    network = CNN(
        Conv2D(8, 3, optimizer=filters), MaxPool2D(2),
        Conv2D(2, 3, optimizer=filters), MaxPool2D(2), Dense(98), Dense(10),
        loss="mse", optimizer=Adam(OneCycle(0.0025, warm=0.02)), seed=seed,
    ).build(data.shape)  # fmt: skip
    learning = [layer for layer in network.layers if layer.parameters]
    for layer, factor in zip(learning, (0.5, 0.5, 2, 4), strict=True):
        layer.parameters["weights"] *= factor
    learning[-1].parameters["bias"][...] = math.log(1 / 9)  # sigmoid of it is 1/10
    history = network.fit(data.train, data.validation, epochs=1, batch_size=1, progress=False)
    tested = network.evaluate(data.test)
    print(
        f"system D, batch 1, 1 epoch, seed {seed}: {tested.accuracy:.2%} test, "
        f"{history.records[0]['validation_accuracy']:.2%} validation, {history.seconds:.1f} s",
        flush=True,
    )
    return tested.accuracy


if __name__ == "__main__":
    print(describe())
    print(main_as_shipped(), flush=True)
    found = [system_d_batch_one(seed) for seed in range(3)]
    print(f"mean of {len(found)} seeds: {statistics.mean(found):.2%} test")
    print(f"peak of the runs in this process: {peak_megabytes():.0f} MB")
