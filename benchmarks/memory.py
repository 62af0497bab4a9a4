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

import json
from statistics import median
from typing import Any

from benchmarks.machine import options, ratios, run_python, spread, write_json
from benchmarks.networks import NETWORKS, RATES, network, recipe
from glassbox.kernels import BACKENDS

KINDS = {"total": "peak of the whole process", "training": "on top of imports and data"}

Found = dict[str, dict[str, list[float]]]


def jobs(name: str, steps: int, batch: int) -> dict[str, dict[str, Any]]:
    """What each contestant's process is told."""
    built = network(name)
    common = {"steps": steps, "batch": batch, "shape": list(built.input_shape)}
    theirs = {"recipe": recipe(built), "loss": built.loss.word, "rates": list(RATES)}
    ours = {backend: common | {"network": name, "kernels": backend} for backend in BACKENDS}
    return {"pytorch": common | theirs, **ours}


def measure_in_child(job: dict[str, Any]) -> dict[str, float]:
    """Megabytes, "total" and "training", of a fresh process that does this job."""
    return dict(json.loads(run_python("-m", "benchmarks.memory_child", given=json.dumps(job))))


def measure(name: str, steps: int, batch: int, rounds: int) -> Found:
    """{contestant: {kind: megabytes of every round}}, the contestants in turn."""
    told = jobs(name, steps, batch)
    measure_in_child(told["compiled"] | {"steps": 1})  # compiled code is then on disk
    every = [{who: measure_in_child(job) for who, job in told.items()} for _ in range(rounds)]
    return {who: {kind: [found[who][kind] for found in every] for kind in KINDS} for who in told}


def row(name: str, kind: str, found: Found) -> str:
    """Medians in MB, and the ratio to PyTorch with its spread."""
    cells = "".join(f"{median(found[who][kind]):10.0f}" for who in found)
    beside = [spread(ratios(found[backend][kind], found["pytorch"][kind])) for backend in BACKENDS]
    return f"{name:<9}{cells}" + "".join(f"{text:>24}" for text in beside)


def main() -> None:
    told = options(__doc__, "torch", networks=list(NETWORKS), steps=30, batch=128, rounds=3)
    results = {name: measure(name, told.steps, told.batch, told.rounds) for name in told.networks}
    for kind, words in KINDS.items():
        print(f"\n{told.steps} steps of {told.batch} images, {words}: MB (median)")
        titles = "".join(f"{who:>10}" for who in ("PyTorch", *BACKENDS))
        print(f"{'network':<9}{titles}" + "".join(f"{f'{d} / PyTorch':>24}" for d in BACKENDS))
        for name, found in results.items():
            print(row(name, kind, found))
    write_json(told.json, {"megabytes": results}, "torch")


if __name__ == "__main__":
    main()
