"""How fast a function runs, on what, and how to say so."""

from __future__ import annotations

import json
import math
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from glassbox.engine.machine import in_words, machine
from glassbox.report.results import write_atomically

Step = Callable[[], object]


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


def alternate(
    contestants: Mapping[str, Callable[[], float]], rounds: int
) -> dict[str, list[float]]:
    """What each contestant gives in every round, all in turn; a first round warms up.

    What disturbs the machine for a while then disturbs all of them.

    >>> alternate({"a": lambda: 1.0, "b": lambda: 2.0}, rounds=2)
    {'a': [1.0, 1.0], 'b': [2.0, 2.0]}
    """
    for measure in contestants.values():
        measure()
    found: dict[str, list[float]] = {name: [] for name in contestants}
    for _ in range(rounds):
        for name, measure in contestants.items():
            found[name].append(measure())
    return found


def ratios(ours: Sequence[float], theirs: Sequence[float]) -> list[float]:
    """The ratio of every round."""
    return [a / b for a, b in zip(ours, theirs, strict=True)]


def spread(values: Sequence[float]) -> str:
    """Median, and smallest to largest: "1.05 (0.98 to 1.11)".

    >>> spread([1.11, 0.98, 1.05])
    '1.05 (0.98 to 1.11)'
    """
    return f"{statistics.median(values):.2f} ({min(values):.2f} to {max(values):.2f})"


def geometric_mean(values: Sequence[float]) -> float:
    """The mean that suits ratios: twice as fast here and half as fast there make 1.

    >>> geometric_mean([2.0, 0.5])
    1.0
    """
    return math.exp(statistics.fmean(math.log(value) for value in values))


def write_json(path: str | None, found: Mapping[str, Any]) -> None:
    """Write what was found, if a file is named."""
    if path:
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, (json.dumps(found, indent=2) + "\n").encode("utf-8"))
