"""The core: the files in which all happens between a pixel and a changed weight.

    python -m benchmarks.core        # the files in reading order, and their lines

`make table` writes the same table to the README; a test keeps the sum below MOST.
"""

from __future__ import annotations

import argparse
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
MOST = 2_000  # lines
# In reading order: from what a user edits down to the arithmetic, then what moves the weights.
CORE = {
    "main.py": "the network, in plain sight",
    "CNN.py": "the chain of layers: forward, backward, fit, evaluate, predict, checks, files",
    "Filters.py": "the layers that slide over an image",
    "MLP.py": "the layers that do not, and the names of optimizers and schedules",
    "glassbox/engine/layer.py": "what a layer is; the activations",
    "glassbox/kernels/pure_numpy/essential.py": "the arithmetic: convolution, pooling, dense",
    "glassbox/engine/losses.py": "how wrong the outputs are",
    "glassbox/engine/optimizers.py": "how gradients move weights",
    "glassbox/engine/step.py": "one training step: images in, gradient out",
    "glassbox/engine/trainer.py": "epochs, validation, the best weights",
}


def line_counts() -> dict[str, int]:
    """The number of lines of each file of the core."""
    return {name: len((ROOT / name).read_text("utf-8").splitlines()) for name in CORE}


def core_text(_: object = None) -> str:
    """Render the table of the core for the README."""
    counts = line_counts()
    rows = [f"| [`{name}`]({name}) | {CORE[name]} | {counts[name]} |" for name in CORE]
    head = ["| file, in reading order | what it is | lines |", "| --- | --- | --- |"]
    return "\n".join([*head, *rows, f"| | in all | {sum(counts.values()):,} |"]) + "\n"


if __name__ == "__main__":
    argparse.ArgumentParser(description=__doc__.splitlines()[0]).parse_args()
    print(core_text(), end="")
