"""From a command to the end of the first training step of main.py's network, imports included.

    python -m benchmarks.startup

Each time in a fresh process: with compiled kernels and an empty folder for them (they are compiled
then, once), with that folder filled, and with the kernels in pure NumPy.
"""

from __future__ import annotations

import tempfile
import time
from functools import partial
from pathlib import Path
from statistics import median

from benchmarks.machine import alternate, options, run_python, write_json

# What main.py does until its first step is done, on images that need no files.
PROGRAM = """
import sys
import time
import numpy as np
from glassbox.cli import Options
from main import network
pixels = np.random.default_rng(0).integers(0, 256, size=(32, 1, 28, 28), dtype=np.uint8)
network(Options(kernels=sys.argv[1])).train_step((pixels, np.arange(32) % 10))
print(time.time())
"""


def seconds_to_first_step(backend: str, folder: str) -> float:
    """Of a fresh process that keeps compiled code in `folder`."""
    begun = time.time()  # which is the same in both processes
    return float(run_python("-c", PROGRAM, backend, GLASSBOX_KERNELS=folder)) - begun


def measure(rounds: int, first_runs: int) -> dict[str, list[float]]:
    """Seconds of every run; the two later kinds in alternation."""
    with tempfile.TemporaryDirectory() as base:
        folders = [str(Path(base) / str(number)) for number in range(first_runs)]
        first = [seconds_to_first_step("compiled", folder) for folder in folders]
        later = {
            "compiled, later runs": partial(seconds_to_first_step, "compiled", folders[-1]),
            "numpy": partial(seconds_to_first_step, "numpy", folders[-1]),
        }
        return {"compiled, first run": first, **alternate(later, rounds)}


def main() -> None:
    told = options(__doc__, rounds=7, first_runs=1)
    found = measure(told.rounds, told.first_runs)
    print(f"\n{'seconds to the end of the first step':<40}  median    lowest   highest")
    for kind, seconds in found.items():
        print(f"{kind:<40}{median(seconds):8.2f}{min(seconds):10.2f}{max(seconds):10.2f}")
    write_json(told.json, {"seconds": found})


if __name__ == "__main__":
    main()
