"""What capturing saves: training with batches of one image, eager and captured.

    python -m benchmarks.capture

The same kernels either way; the rest is Python.  Microseconds a step, in alternation, one thread.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import cycle
from statistics import median

import numpy as np

from benchmarks.machine import alternate, options, ratios, spread, timed, write_json
from benchmarks.networks import network, random_images

WAYS = {"eager": True, "captured": False}


def steps_per_second(name: str, eager: bool, seconds: float) -> Callable[[], float]:
    """How to time a step of that network."""
    ours = network(name, threads=1, eager=eager)
    data = random_images(1024, ours.input_shape)
    images = cycle(np.arange(len(data)).reshape(-1, 1))
    return timed(lambda: ours.train_step(data, next(images)), 1, seconds, ours.workers.training)


def main() -> None:
    told = options(__doc__, networks=["A", "D", "D 8/16"], rounds=7, seconds=0.5)
    print(f"{'microseconds a step':<20}{'eager':>16}{'captured':>16}{'':4}ratio")
    everything = {}
    for name in told.networks:
        ways = {way: steps_per_second(name, eager, told.seconds) for way, eager in WAYS.items()}
        speeds = alternate(ways, told.rounds).items()
        found = everything[name] = {way: [1e6 / one for one in every] for way, every in speeds}
        medians = "".join(f"{median(times):16.0f}" for times in found.values())
        print(f"{name:<20}{medians}{'':4}{spread(ratios(*found.values()))}", flush=True)
    write_json(told.json, everything)


if __name__ == "__main__":
    main()
