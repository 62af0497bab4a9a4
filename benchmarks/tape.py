"""What tapes save: training with batches of one image, layer by layer and from the tape.

    python -m benchmarks.tape

The same kernels in the same order either way; the rest is Python.  Microseconds a step, in
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
from engine.machine import machine

WAYS = {"layer by layer": False, "from the tape": True}


def microseconds(name: str, taped: bool, seconds: float) -> Callable[[], float]:
    """How to time a step of that network."""
    ours, data = network(name, threads=1), random_images(1024)
    ours.replays = taped
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
    print(f"{'microseconds a step':<20}{'layer by layer':>16}{'from the tape':>16}{'':4}ratio")
    everything = {"machine": machine()}
    for name in options.networks:
        found = alternate(
            {way: microseconds(name, taped, options.seconds) for way, taped in WAYS.items()},
            options.rounds,
        )
        plain, taped = (found[way] for way in WAYS)
        medians = "".join(f"{statistics.median(times):16.0f}" for times in (plain, taped))
        print(f"{name:<20}{medians}{'':4}{spread(ratios(plain, taped))}", flush=True)
        everything[name] = found
    write_json(options.json, everything)


if __name__ == "__main__":
    main()
