"""What a figure was measured on, and how long a function takes."""

from __future__ import annotations

import os
import platform
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from engine.parallel import Workers


def machine() -> dict[str, Any]:
    """Processor, cores in use, system and versions."""
    return {
        "processor": _processor(),
        "cores": Workers().threads,
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        "numpy": np.__version__,
    }


def _processor() -> str:
    """The processor's own name where the system tells it."""
    listing = Path("/proc/cpuinfo")
    if listing.exists():
        for line in listing.read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()


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
