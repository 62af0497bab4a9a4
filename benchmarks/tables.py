"""How against_pytorch.py tells what it found: a table of at most 100 columns for each mode.

A result is {"images_per_second": {contestant: [each round]}, "better_format": PyTorch's,
"ratios": {"compiled / pytorch": [each round], ...}}.
"""

from __future__ import annotations

import statistics
from typing import Any

from benchmarks.machine import geometric_mean, spread


def heading(mode: str) -> str:
    """The columns of a mode's table."""
    runtime = f"{'ONNX Runtime':>13}" if mode == "inference" else ""
    return (
        f"{'network':<9}{'PyTorch':>10}{runtime}{'compiled':>11}{'numpy':>11}"
        f"{'compiled / PyTorch':>23}{'numpy / PyTorch':>22}"
    )


def row(name: str, result: dict[str, Any]) -> str:
    """Medians, and ratios with their spread: at most 99 characters."""
    speeds = {key: statistics.median(all_) for key, all_ in result["images_per_second"].items()}
    runtime = f"{speeds['onnxruntime']:13,.0f}" if "onnxruntime" in speeds else ""
    beside = result["ratios"]
    return (
        f"{name:<9}{speeds[result['better_format']]:10,.0f}{runtime}"
        f"{speeds['compiled']:11,.0f}{speeds['numpy']:11,.0f}"
        f"{spread(beside['compiled / pytorch']):>23}{spread(beside['numpy / pytorch']):>22}"
    )


def means(results: dict[str, dict[str, Any]]) -> dict[str, float]:
    """The geometric mean, over the networks, of the median ratios."""
    kinds = next(iter(results.values()))["ratios"]
    return {
        kind: geometric_mean([statistics.median(r["ratios"][kind]) for r in results.values()])
        for kind in kinds
    }
