"""The table that `CNN.summary` prints: what each layer makes, holds and costs."""

from __future__ import annotations

import itertools
import math
import textwrap
from collections.abc import Sequence
from typing import Any

from glassbox.engine.freezing import is_frozen
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
        f"{count:,} frozen" if is_frozen(layer) and count else f"{count:,}",
        f"{layer.multiply_adds():,}",
        seen,
        f"{math.prod(layer.output_shape) * item_bytes / 1024:,.1f}",
    ]


WIDTH = 60  # columns of a table; longer kinds and names take several lines
LEAST = (8, 12)  # columns that names and kinds keep
WHAT = ["layer", "kind", "output", "params"]
COST = ["layer", "multiply-adds", "sees", "KiB"]


def summary_table(layers: Sequence[Layer], item_bytes: int) -> str:
    """Two tables with a line for each layer and a total: what a layer is, and what it costs.

    "sees" is the receptive field in pixels; "KiB" what its output takes for one image.
    """
    rows, field = [], ReceptiveField()
    for layer in layers:
        field = field.behind(layer)
        rows.append(_cells(layer, field, item_bytes))
    parameters = sum(array.size for layer in layers for array in layer.parameters.values())
    adds = sum(layer.multiply_adds() for layer in layers)
    memory = sum(math.prod(layer.output_shape) for layer in layers) * item_bytes / 1024
    what = [*(row[:4] for row in rows), ["total", "", "", f"{parameters:,}"]]
    cost = [*([row[0], *row[4:]] for row in rows), ["total", f"{adds:,}", "", f"{memory:,.1f}"]]
    return f"{_table(WHAT, what, texts=3)}\n\n{_table(COST, cost, texts=1)}"


def _table(heads: list[str], rows: list[list[str]], texts: int) -> str:
    """Rows under heads and above a total; the first `texts` columns are aligned at the left."""
    widths = [max(map(len, column)) for column in zip(heads, *rows, strict=True)]
    for column in (1, 0) if texts > 1 else (0,):  # kinds give way first, then names
        over = sum(widths) + 2 * (len(widths) - 1) - WIDTH
        widths[column] = max(widths[column] - max(over, 0), min(widths[column], LEAST[column]))

    def lines(cells: list[str]) -> list[str]:
        parts = [textwrap.wrap(cell, width) for cell, width in zip(cells, widths, strict=True)]
        found = []
        for line in itertools.zip_longest(*parts, fillvalue=""):
            sides = [str.ljust if k < texts else str.rjust for k in range(len(line))]
            aligned = [to(c, w) for to, c, w in zip(sides, line, widths, strict=True)]
            found.append("  ".join(aligned).rstrip())
        return found

    head, *body, total = ("\n".join(lines(row)) for row in [heads, *rows])
    rule = "-" * (sum(widths) + 2 * (len(widths) - 1))
    return "\n".join([head, rule, *body, rule, total])


class Printed(str):
    """Text that was printed already: a notebook does not show it once more as a cell's value."""

    def _ipython_display_(self) -> None:
        pass


def in_words(network: Any) -> str:
    """A network in a line."""
    count, shape = len(network.layers), " x ".join(map(str, network.input_shape))
    if network.assembly is None:
        return f"<CNN: {count} layers, not built yet>"
    outputs, numbers = math.prod(network.output_shape), network.parameter_count
    return f"<CNN: {count} layers, images {shape} -> {outputs} outputs, {numbers:,} parameters>"
