"""From a command to the end of the first training step of main.py's network, imports included.

    python -m benchmarks.startup

Each time in a fresh process: with compiled kernels and an empty folder for them (they are compiled
then, once), with that folder filled, and with the kernels in pure NumPy.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from functools import partial
from pathlib import Path

from benchmarks.machine import alternate, describe, write_json
from glassbox.engine.machine import machine

ROOT = Path(__file__).parent.parent
FOLDER_VARIABLE = "GLASSBOX_KERNELS"  # names the folder where compiled code is kept
# What main.py does until its first step is done, on images that need no files.
PROGRAM = """
import sys
import numpy as np
from glassbox.cli import Options
from main import network
pixels = np.random.default_rng(0).integers(0, 256, size=(32, 1, 28, 28), dtype=np.uint8)
network(Options(kernels=sys.argv[1])).train_step((pixels, np.arange(32) % 10))
print("trained", flush=True)
"""


def seconds_to_first_step(backend: str, folder: str) -> float:
    """Of a fresh process that keeps compiled code in `folder`."""
    surroundings = {**os.environ, FOLDER_VARIABLE: folder}
    begun = time.perf_counter()
    with subprocess.Popen(
        [sys.executable, "-c", PROGRAM, backend],
        cwd=ROOT, env=surroundings, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    ) as child:  # fmt: skip
        assert child.stdout is not None
        said = child.stdout.readline()
        seconds = time.perf_counter() - begun
        _, complaints = child.communicate()
    if said.strip() != "trained":
        raise SystemExit(f"the first step was not reached:\n{complaints}")
    return seconds


def measure(rounds: int, first_runs: int) -> dict[str, list[float]]:
    """Seconds of every run; the two later kinds in alternation."""
    found: dict[str, list[float]] = {"compiled, first run": []}
    with tempfile.TemporaryDirectory() as base:
        folder = ""
        for number in range(first_runs):
            folder = str(Path(base) / str(number))
            found["compiled, first run"].append(seconds_to_first_step("compiled", folder))
        later = {
            "compiled, later runs": partial(seconds_to_first_step, "compiled", folder),
            "numpy": partial(seconds_to_first_step, "numpy", folder),
        }
        return found | alternate(later, rounds)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--rounds", type=int, default=7, help="later runs")
    parser.add_argument("--first-runs", type=int, default=1, help="with an empty folder")
    parser.add_argument("--json", metavar="FILE", help="write everything there")
    options = parser.parse_args()
    if min(options.rounds, options.first_runs) < 1:
        parser.error("at least one run of each kind")
    print(describe())
    found = measure(options.rounds, options.first_runs)
    print(
        f"\n{'seconds to the end of the first step':<40}{'median':>8}{'lowest':>10}{'highest':>10}"
    )
    for kind, seconds in found.items():
        print(
            f"{kind:<40}{statistics.median(seconds):8.2f}{min(seconds):10.2f}{max(seconds):10.2f}"
        )
    write_json(options.json, {"machine": machine(), "seconds": found})


if __name__ == "__main__":
    main()
