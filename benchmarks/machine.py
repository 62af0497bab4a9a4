"""How long a function takes, and on what."""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Callable

from engine.machine import machine


def describe() -> str:
    """The machine in one line."""
    found = machine()
    return (
        f"{found['processor']}, {found['cores']} cores, {found['system']}, "
        f"Python {found['python']}, NumPy {found['numpy']}"
    )


def rate(step: Callable[[], object], images: int, seconds: float) -> float:
    """Images per second of a step that handles `images`, repeated for about `seconds`."""
    begun, count = time.perf_counter(), 0
    while (passed := time.perf_counter() - begun) < seconds:
        step()
        count += 1
    return images * count / passed


def spread(values: list[float]) -> str:
    """Median, and smallest to largest: "1.05 (0.98 to 1.11)"."""
    return f"{statistics.median(values):.2f} ({min(values):.2f} to {max(values):.2f})"


def peak_megabytes() -> float:
    """The most memory this process ever held (resident), in MB of a million bytes."""
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak * (1 if os.uname().sysname == "Darwin" else 1024) / 1e6
