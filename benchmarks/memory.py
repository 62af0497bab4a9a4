"""Peak memory of training each network, here and in PyTorch, each in a process of its own.

    python -m benchmarks.memory
    python -m benchmarks.memory --networks B --rounds 1 --json memory.json

Every process holds 4,096 images as bytes and trains some steps on batches of 128.  Told are the
most memory it ever held (resident), and of that what came on top once imports and data were in
place: weights, gradients, momentum, activations, and what the libraries set up at first use.
PyTorch is in its default memory format.  Compiled code is on disk before anything is measured.
Needs: pip install -r benchmarks/requirements.txt
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
from pathlib import Path
from typing import Any

from benchmarks.machine import describe, ratios, spread, write_json
from benchmarks.networks import LEARNING_RATE, MOMENTUM, NETWORKS, network
from benchmarks.recipe import recipe
from glassbox.engine.machine import machine
from glassbox.kernels import BACKENDS

ROOT = Path(__file__).parent.parent
PACKAGES = ("torch",)
KINDS = {"total": "peak of the whole process", "training": "on top of imports and data"}

Found = dict[str, dict[str, list[float]]]


def jobs(name: str, steps: int, batch: int) -> dict[str, dict[str, Any]]:
    """What each contestant's process is told."""
    built = network(name)
    common = {"steps": steps, "batch": batch}
    ours = {
        backend: {"contestant": "ours", "network": name, "kernels": backend} for backend in BACKENDS
    }
    theirs = {
        "pytorch": {
            "contestant": "pytorch", "recipe": recipe(built), "loss": built.loss.word,
            "rate": LEARNING_RATE, "momentum": MOMENTUM,
        }
    }  # fmt: skip
    return {who: common | own for who, own in (theirs | ours).items()}


def measure_in_child(job: dict[str, Any]) -> dict[str, float]:
    """Megabytes, "total" and "training", of a fresh process that does this job."""
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.memory_child"],
        cwd=ROOT, input=json.dumps(job), text=True, check=True, stdout=subprocess.PIPE,
    )  # fmt: skip
    found: dict[str, float] = json.loads(done.stdout)
    return found


def measure(name: str, steps: int, batch: int, rounds: int) -> Found:
    """{contestant: {kind: megabytes of every round}}, the contestants in turn."""
    told = jobs(name, steps, batch)
    measure_in_child(told["compiled"] | {"steps": 1})  # compiled code is then on disk
    found: Found = {who: {kind: [] for kind in KINDS} for who in told}
    for _ in range(rounds):
        for who, job in told.items():
            for kind, megabytes in measure_in_child(job).items():
                found[who][kind].append(megabytes)
    return found


def row(name: str, kind: str, found: Found) -> str:
    """Medians in MB, and the ratio to PyTorch with its spread."""
    cells = "".join(f"{statistics.median(found[who][kind]):10.0f}" for who in found)
    beside = [spread(ratios(found[backend][kind], found["pytorch"][kind])) for backend in BACKENDS]
    return f"{name:<9}{cells}" + "".join(f"{text:>24}" for text in beside)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--networks", nargs="+", choices=NETWORKS, default=list(NETWORKS))
    parser.add_argument("--steps", type=int, default=30)
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", metavar="FILE", help="write everything there")
    options = parser.parse_args()
    print(describe(*PACKAGES))
    results = {
        name: measure(name, options.steps, options.batch, options.rounds)
        for name in options.networks
    }
    for kind, words in KINDS.items():
        print(f"\n{options.steps} steps of {options.batch} images, {words}: MB (median)")
        titles = "".join(f"{who:>10}" for who in ("PyTorch", *BACKENDS))
        print(f"{'network':<9}{titles}" + "".join(f"{f'{d} / PyTorch':>24}" for d in BACKENDS))
        for name, found in results.items():
            print(row(name, kind, found))
    write_json(options.json, {"machine": machine(*PACKAGES), "megabytes": results})


if __name__ == "__main__":
    main()
