"""What main.py and system D's network reach on the 10,000 test digits, in what time and memory.

    python -m benchmarks.accuracy

Runs `python main.py` as shipped in a process of its own (seconds and memory are the whole
process's), then one epoch of system D's network with batches of one image, as
`examples.d_batch_of_one` trains it.  Needs MNIST.
"""

from __future__ import annotations

import json
import tempfile
import time
from pathlib import Path
from statistics import mean
from typing import Any

from benchmarks.machine import ROOT, options, run_python, write_json
from benchmarks.resident import peak_megabytes
from Datasets import MNIST
from examples.d_batch_of_one import network

# Its own peak is asked of the process itself: to others it also tells that of whoever started it.
PROGRAM = """
import runpy
import sys
from benchmarks.resident import peak_megabytes
sys.argv[:] = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name="__main__")
print(peak_megabytes())
"""


def run_alone(script: Path, *words: str) -> tuple[float, float]:
    """Run a script in a process of its own; give its seconds and its peak memory in MB."""
    begun = time.perf_counter()
    said = run_python("-c", PROGRAM, str(script), *words)
    return time.perf_counter() - begun, float(said.split()[-1])


def main_as_shipped() -> dict[str, float]:
    """Measure `python main.py` without arguments."""
    # Compiled code is then on disk: that the first run takes longer is told by benchmarks.startup.
    run_alone(ROOT / "main.py", "--sanity-check")
    with tempfile.TemporaryDirectory() as folder:
        seconds, peak = run_alone(ROOT / "main.py", "--output", folder)
        (run,) = Path(folder).iterdir()
        metrics = json.loads((run / "metrics.json").read_text())
    accuracies = {f"{part}_accuracy": metrics[part]["accuracy"] for part in ("test", "validation")}
    return {**accuracies, "seconds": seconds, "peak_megabytes": peak}


def system_d_batch_one(seed: int) -> dict[str, Any]:
    """Train system D's network for one epoch of 50,000 images, one at a time, and test it."""
    data, ours = MNIST(normalize="per-image"), network("d-adam", seed=seed)
    history = ours.fit(data.train, data.validation, epochs=1, batch_size=1, progress=False)
    return {
        "seed": seed,
        "test_accuracy": ours.evaluate(data.test).accuracy,
        "validation_accuracy": history.records[0]["validation_accuracy"],
        "seconds": history.seconds,
    }


def said(what: str, found: dict[str, Any]) -> None:
    """Print accuracies and seconds in a line."""
    shares = f"{found['test_accuracy']:.2%} test, {found['validation_accuracy']:.2%} validation"
    print(f"{what}: {shares}, {found['seconds']:.1f} s", flush=True)


def main() -> None:
    told = options(__doc__, seeds=3)
    shipped = main_as_shipped()
    said("python main.py, everything included", shipped)
    seeds = []
    for seed in range(told.seeds):
        seeds.append(system_d_batch_one(seed))
        said(f"system D, batch 1, 1 epoch, seed {seed}", seeds[-1])
    print(f"mean of {told.seeds} seeds: {mean(one['test_accuracy'] for one in seeds):.2%} test")
    peak = peak_megabytes()
    print(f"peak of main.py: {shipped['peak_megabytes']:.0f} MB, of this process: {peak:.0f} MB")
    one_at_a_time = {"seeds": seeds, "peak_megabytes": peak}
    write_json(told.json, {"main.py": shipped, "one image at a time": one_at_a_time})


if __name__ == "__main__":
    main()
