"""What capturing saves: training with batches of one image, eager and captured.

    python -m benchmarks.capture

The same kernels either way; the rest is Python.  Microseconds a step, in
alternation, one thread.
"""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Callable
from itertools import cycle

import numpy as np

from benchmarks.machine import alternate, describe, rate, ratios, spread, write_json
from benchmarks.networks import NETWORKS, network, random_images
from glassbox.engine.machine import machine

WAYS = {"eager": True, "captured": False}


def microseconds(name: str, eager: bool, seconds: float) -> Callable[[], float]:
    """How to time a step of that network."""
    ours, data = network(name, threads=1, eager=eager), random_images(1024)
    images = cycle(np.arange(len(data)).reshape(-1, 1))

    def measure() -> float:
        with ours.workers.ready():
            return 1e6 / rate(lambda: ours.train_step(data, next(images)), 1, seconds)

    return measure


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--networks", nargs="+", choices=NETWORKS, default=["A", "D", "D 8/16"])
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--seconds", type=float, default=0.5, help="for each timing")
    parser.add_argument("--json", metavar="FILE", help="write everything there")
    options = parser.parse_args()
    print(describe())
    print(f"{'microseconds a step':<20}{'eager':>16}{'captured':>16}{'':4}ratio")
    everything = {"machine": machine()}
    for name in options.networks:
        found = alternate(
            {way: microseconds(name, eager, options.seconds) for way, eager in WAYS.items()},
            options.rounds,
        )
        eager, captured = (found[way] for way in WAYS)
        medians = "".join(f"{statistics.median(times):16.0f}" for times in (eager, captured))
        print(f"{name:<20}{medians}{'':4}{spread(ratios(eager, captured))}", flush=True)
        everything[name] = found
    write_json(options.json, everything)


if __name__ == "__main__":
    main()
