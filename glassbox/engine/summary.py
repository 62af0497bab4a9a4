"""The table that `CNN.summary` prints: what each layer makes, holds and costs."""

from __future__ import annotations

import math
from collections.abc import Sequence

from glassbox.engine.layer import Layer
from glassbox.engine.receptive_field import ReceptiveField


def _cells(layer: Layer, field: ReceptiveField, item_bytes: int) -> list[str]:
    count = sum(array.size for array in layer.parameters.values())
    seen = "all" if field.whole else "{} x {}".format(*field.size)
    kind = type(layer).__name__
    detail = layer.describe()
    return [
        layer.name,
        f"{kind} {detail}".strip(),
        " x ".join(str(n) for n in layer.output_shape),
        f"{count:,}",
        f"{layer.multiply_adds():,}",
        seen,
        f"{math.prod(layer.output_shape) * item_bytes / 1024:,.1f}",
    ]


HEADS = ["layer", "kind", "output", "parameters", "multiply-adds", "sees", "KiB"]


def summary_table(layers: Sequence[Layer], item_bytes: int) -> str:
    """One line for each layer and a total.

    "sees" is the receptive field in pixels; "KiB" what its output takes for one image.
    """
    rows, field = [], ReceptiveField()
    for layer in layers:
        field = field.behind(layer)
        rows.append(_cells(layer, field, item_bytes))
    parameters = sum(array.size for layer in layers for array in layer.parameters.values())
    adds = sum(layer.multiply_adds() for layer in layers)
    memory = sum(math.prod(layer.output_shape) for layer in layers) * item_bytes / 1024
    total = ["total", "", "", f"{parameters:,}", f"{adds:,}", "", f"{memory:,.1f}"]
    widths = [max(len(row[k]) for row in [HEADS, *rows, total]) for k in range(len(HEADS))]

    def line(cells: list[str]) -> str:
        left = [cell.ljust(w) for cell, w in zip(cells[:3], widths[:3], strict=True)]
        right = [cell.rjust(w) for cell, w in zip(cells[3:], widths[3:], strict=True)]
        return "  ".join(left + right).rstrip()

    rule = "-" * len(line(HEADS))
    return "\n".join([line(HEADS), rule, *(line(row) for row in rows), rule, line(total)])
