"""How long a training step takes beside that of another commit.

    python -m benchmarks.against_commit --commit 4b950e9

Processor time of the median step, on one thread, in fresh processes, the two commits in turns; the
other one is checked out into a temporary folder.  Above 1 this commit is slower.  The median leaves
out the steps 1, 2, 4, 8, ..., in which recorded calls are compared with the layers as written: so
short a measurement has far too many of them.  Last comes what they take of a run of five epochs of
50,000 images.
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
found = {}
for name in names:
    for size in batches:
        ours, parts = network(name, kernels=kernels, threads=1), np.arange(1024).reshape(-1, size)
        workers, data = ours.workers, random_images(1024, ours.input_shape)
        around = next(getattr(workers, n) for n in ("training", "ready") if hasattr(workers, n))
        with around():
            times = []
            while len(times) < 18 or begun < stop:
                begun = time.process_time()
                if len(times) == 9:  # the first step may have loaded the compiled code
                    stop = begun + seconds
                ours.train_step(data, parts[len(times) % len(parts)])
                times.append(time.process_time() - begun)
        step, compared = np.median(times[9:]), times[15]
        steps = 5 * 50_000 / size
        share = (compared - step) * np.log2(steps) / (steps * step)
        found[f"{name}, {size}"] = 1e6 * step, 100 * share
print(json.dumps(found))
"""

Times = dict[str, tuple[float, float]]


def step_times(root: str, told: Any) -> Times:
    """Microseconds of a step of every network by the code in `root`, and percent for comparisons.

    In a fresh process.
    """
    task = json.dumps([told.networks, BATCHES, told.kernels, told.seconds])
    found: Times = json.loads(run_python("-c", CHILD, task, folder=root))
    return found


def compare(told: Any) -> dict[str, dict[str, list[float]]]:
    """What every round found: {network and batch: {"before": [...], "now": [...], "share": [...]}}.

    "share": percent of five epochs that this commit spends on comparisons.
    """
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
    found = {key: {way: [times[key][0] for times in rounds[way]] for way in rounds} for key in keys}
    for key, ways in found.items():
        ways["share"] = [times[key][1] for times in rounds["now"]]
    return found


def main() -> None:
    told = options(
        __doc__, commit="HEAD", networks=list(NETWORKS), rounds=7, seconds=0.3, kernels="compiled"
    )
    found = compare(told)
    print(f"{'microseconds a step':<20}{'before':>10}{'now':>10}{'':4}{'ratio':<24}comparisons")
    for key, ways in found.items():
        medians = "".join(f"{median(ways[way]):10.0f}" for way in ("before", "now"))
        ratio = spread(ratios(ways["now"], ways["before"]))
        print(f"{key:<20}{medians}{'':4}{ratio:<24}{median(ways['share']):.2f} %")
    write_json(told.json, {"commit": told.commit, "kernels": told.kernels, "times": found})


if __name__ == "__main__":
    main()
