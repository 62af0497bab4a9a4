"""What the benchmarks share: the command line, how fast a function runs, on what, the file."""

from __future__ import annotations

import argparse
import json
import math
import os
import re
import subprocess
import sys
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from pathlib import Path
from statistics import fmean, median
from typing import Any

from benchmarks.networks import NETWORKS
from glassbox.engine.assembly import UntrainedWarning
from glassbox.engine.machine import in_words, machine
from glassbox.kernels import BACKENDS
from glassbox.report.results import write_atomically

ROOT = Path(__file__).parent.parent
Step = Callable[[], object]
CHOICES: dict[str, Sequence[str]] = {
    "networks": list(NETWORKS), "kernels": list(BACKENDS), "half": ("held-out", "development"),
    "processor": ("own", "avx2"),
}  # fmt: skip
HELP = {
    "seconds": "for each timing", "seeds": "of system D's network", "rounds": "of every timing",
    "first_runs": "with an empty folder", "picture": "draw the sweeps there (PNG)",
    "half": "of the digits", "json": "write everything there", "commit": "to compare with",
    "processor": "that everybody has to do with",
}  # fmt: skip


def options(description: str | None, *packages: str, **defaults: Any) -> argparse.Namespace:
    """Read the command line: --json, and an option for each default; a list takes several words.

    Then print what it will be measured on, with the versions of these packages besides.
    """
    parser = argparse.ArgumentParser(description=(description or "").split("\n")[0])
    for name, default in {**defaults, "json": ""}.items():
        several = isinstance(default, list)
        more: dict[str, Any] = {"nargs": "+"} if several else {"type": type(default)}
        if name in CHOICES or several:
            more["choices"] = CHOICES.get(name, default)
        elif default == "":
            more["metavar"] = "FILE"
        flag = f"--{name.replace('_', '-')}"
        parser.add_argument(flag, default=default, help=HELP.get(name), **more)
    found = parser.parse_args()
    for name, value in vars(found).items():
        if isinstance(value, int) and value < 1:
            parser.error(f"--{name.replace('_', '-')}: got {value}, expected at least 1")
    warnings.simplefilter("ignore", UntrainedWarning)  # time does not depend on the answers
    print(describe(*packages))
    return found


def describe(*packages: str) -> str:
    """Describe the machine, the versions of its packages and of some more, and the commit."""
    return in_words([machine(*packages)])


def rate(step: Step, amount: float, seconds: float) -> float:
    """Amount per second of a step that handles `amount`, repeated for about `seconds`."""
    begun, count = time.perf_counter(), 0
    while (passed := time.perf_counter() - begun) < seconds:
        step()
        count += 1
    return amount * count / passed


def timed(
    step: Step, amount: float, seconds: float, around: Callable[[], Any] = nullcontext
) -> Callable[[], float]:
    """What gives the rate of a step, within what is entered once around the repetitions.

    The first step is not timed, for the caches are still another's.
    """

    def measure() -> float:
        with around():
            step()
            return rate(step, amount, seconds)

    return measure


def alternate(
    contestants: Mapping[str, Callable[[], float]], rounds: int
) -> dict[str, list[float]]:
    """What each contestant gives in every round, all in turn; a first round warms up.

    What disturbs the machine for a while then disturbs all of them.

    >>> alternate({"a": lambda: 1.0, "b": lambda: 2.0}, rounds=2)
    {'a': [1.0, 1.0], 'b': [2.0, 2.0]}
    """
    every = [{name: run() for name, run in contestants.items()} for _ in range(rounds + 1)]
    return {name: [found[name] for found in every[1:]] for name in contestants}


def ratios(ours: Sequence[float], theirs: Sequence[float]) -> list[float]:
    """The ratio of every round."""
    return [a / b for a, b in zip(ours, theirs, strict=True)]


def spread(values: Sequence[float]) -> str:
    """Median, and smallest to largest: "1.05 (0.98 to 1.11)".

    >>> spread([1.11, 0.98, 1.05])
    '1.05 (0.98 to 1.11)'
    """
    return f"{median(values):.2f} ({min(values):.2f} to {max(values):.2f})"


def geometric_mean(values: Sequence[float]) -> float:
    """The mean that suits ratios: twice as fast here and half as fast there make 1.

    >>> geometric_mean([2.0, 0.5])
    1.0
    """
    return math.exp(fmean(math.log(value) for value in values))


def run_python(
    *words: str, given: str | None = None, folder: str | Path = ROOT, **variables: str
) -> str:
    """Run Python with these words in a process of its own, in `folder`; give what it prints."""
    done = subprocess.run(
        [sys.executable, *words], cwd=folder, env={**os.environ, **variables}, input=given,
        stdout=subprocess.PIPE, text=True, check=True,
    )  # fmt: skip
    return done.stdout


def write_json(path: str, found: Mapping[str, Any], *packages: str) -> None:
    """Write what was found, and on what machine, if a file is named."""
    if path:
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        text = json.dumps({"machine": machine(*packages), **found}, indent=2) + "\n"
        text = re.sub(r"\[[^][{}]*\]", lambda rounds: " ".join(rounds[0].split()), text)
        write_atomically(path, text.encode("utf-8"))
