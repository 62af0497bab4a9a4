"""How much memory this process holds and has ever held; the standard library alone.

A measured process imports this before anything large, so it must itself weigh nothing.
"""

from __future__ import annotations

import sys
from contextlib import suppress
from pathlib import Path

STATUS = Path("/proc/self/status")


def _kernel_says(field: str) -> float | None:
    """A field of Linux's account of this process, in MB of a million bytes."""
    lines = STATUS.read_text().splitlines() if STATUS.exists() else []
    found = [int(line.split()[1]) * 1024 / 1e6 for line in lines if line.startswith(field)]
    return found[0] if found else None


def peak_megabytes() -> float:
    """The most memory this process ever held (resident), in MB of a million bytes.

    Not from `getrusage` on Linux: a process that another one started begins there with the
    other's size.
    """
    if (peak := _kernel_says("VmHWM")) is not None:
        return peak
    import resource  # not on every system

    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e6


def resident_megabytes() -> float:
    """The memory this process holds now; where only the peak is known, that."""
    return _kernel_says("VmRSS") or peak_megabytes()


def forget_peak() -> None:
    """Let the peak begin anew at what is held now, where the system allows it."""
    with suppress(OSError):  # then the peak of the imports counts too
        Path("/proc/self/clear_refs").write_text("5")
