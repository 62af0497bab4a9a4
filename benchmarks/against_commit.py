"""How long a training step takes beside that of another commit.

    python -m benchmarks.against_commit --commit 4b950e9

Processor time on one thread, in fresh processes, the two commits in turns; the other one is checked
out into a temporary folder.  Above 1 this commit is slower.
"""

from __future__ import annotations

import json
import subprocess
import tempfile
from collections.abc import Callable
from functools import partial
from statistics import median
from typing import Any

from benchmarks.machine import ROOT, alternate, options, ratios, run_python, spread, write_json
from benchmarks.networks import NETWORKS

BATCHES = (1, 128)
# Of the networks named, at each size of batch; only what both commits have is used.
CHILD = """
import json, sys, time
import numpy as np
from benchmarks.networks import network, random_images
names, batches, kernels, seconds = json.loads(sys.argv[1])
data, found = random_images(1024), {}
for name in names:
    for size in batches:
        ours, parts = network(name, kernels=kernels, threads=1), np.arange(1024).reshape(-1, size)
        workers = ours.workers
        around = next(getattr(workers, n) for n in ("training", "ready") if hasattr(workers, n))
        with around():
            for warm in range(9):
                ours.train_step(data, parts[warm % len(parts)])
            begun, steps = time.process_time(), 0
            while (passed := time.process_time() - begun) < seconds:
                ours.train_step(data, parts[steps % len(parts)])
                steps += 1
        found[f"{name}, {size}"] = 1e6 * passed / steps
print(json.dumps(found))
"""

Times = dict[str, float]


def step_times(root: str, told: Any) -> Times:
    """Microseconds of a step of every network, by the code in `root`, in a fresh process."""
    task = json.dumps([told.networks, BATCHES, told.kernels, told.seconds])
    found: Times = json.loads(run_python("-c", CHILD, task, folder=root))
    return found


def compare(told: Any) -> dict[str, dict[str, list[float]]]:
    """The times of every round: {network and batch: {"before": [...], "now": [...]}}."""
    with tempfile.TemporaryDirectory() as folder:
        git: Callable[..., Any] = partial(subprocess.run, cwd=ROOT, check=True)
        git(["git", "worktree", "add", "--quiet", "--detach", folder, told.commit])
        try:
            roots = {"before": folder, "now": str(ROOT)}
            ways: Any = {name: partial(step_times, root, told) for name, root in roots.items()}
            rounds: Any = alternate(ways, told.rounds)
        finally:
            git(["git", "worktree", "remove", "--force", folder])
    keys = rounds["now"][0]
    return {key: {way: [times[key] for times in rounds[way]] for way in rounds} for key in keys}


def main() -> None:
    told = options(
        __doc__, commit="HEAD", networks=list(NETWORKS), rounds=7, seconds=0.3, kernels="compiled"
    )
    found = compare(told)
    print(f"{'microseconds a step':<20}{'before':>10}{'now':>10}{'':4}ratio")
    for key, ways in found.items():
        medians = "".join(f"{median(times):10.0f}" for times in ways.values())
        print(f"{key:<20}{medians}{'':4}{spread(ratios(ways['now'], ways['before']))}")
    write_json(told.json, {"commit": told.commit, "kernels": told.kernels, "times": found})


if __name__ == "__main__":
    main()
