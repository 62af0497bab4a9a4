"""What a run or a figure was measured on."""

from __future__ import annotations

import platform
from pathlib import Path
from typing import Any

import numpy as np

from glassbox.engine.parallel import Workers


def machine() -> dict[str, Any]:
    """Processor, cores that may be used, system and versions.

    >>> sorted(machine())
    ['cores', 'numpy', 'processor', 'python', 'system']
    """
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
