"""The pen that draws the pictures of docs/: lengths in tenths of an inch, y runs downwards.

Nothing global is touched.  Okabe and Ito's hues stay apart for the color-blind; pale ones fill
cells.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch, Rectangle

DPI = 150
INK, SOFT, LINE, GRID, PAPER = "#1F2933", "#52606D", "#9AA5B1", "#E4E7EB", "#FFFFFF"
BLUE, ORANGE, GREEN, RED, PURPLE = "#0072B2", "#E69F00", "#009E73", "#D55E00", "#CC79A7"
PALE = {
    BLUE: "#CCE3F0", ORANGE: "#FAECCC", GREEN: "#CCECE3", RED: "#F7DFCC", PURPLE: "#F5E4ED",
    LINE: "#EEF1F4",
}  # fmt: skip
FOUR = (BLUE, ORANGE, GREEN, PURPLE)
TIMES, MINUS = "\N{MULTIPLICATION SIGN}", "\N{MINUS SIGN}"
Fills = dict[tuple[int, int], str]
Look = dict[str, Any]
Ends = list[float]
Pictures = Mapping[str, Callable[[], Figure]]


class Sheet:
    """A white figure of so many tenths of an inch, and axes that cover it in those units."""

    def __init__(self, width: float, height: float, title: str) -> None:
        self.figure = Figure(figsize=(width / 10, height / 10), dpi=DPI, facecolor=PAPER)
        self.axes = self.figure.add_axes((0, 0, 1, 1))
        self.axes.set(xlim=(0, width), ylim=(height, 0))
        self.axes.set_axis_off()
        self.title(title)

    def title(self, words: str, x: float = 2, y: float = 2.4) -> None:
        """Write a bold line at the top left."""
        self.write(x, y, words, 12, ha="left", weight="bold")

    def write(self, x: float, y: float, words: str, size: float = 10.5, **more: Any) -> None:
        """Write text whose middle is at (x, y) unless `ha`, `va` say otherwise."""
        look: Look = {"size": size, "color": INK, "ha": "center", "va": "center"}
        self.axes.text(x, y, words, **look | more)

    def soft(self, x: float, y: float, words: str, size: float = 10.5, **more: Any) -> None:
        """Write it in gray."""
        self.write(x, y, words, size, **{"color": SOFT} | more)

    def note(self, x: float, y: float, words: str, size: float = 9.5, **more: Any) -> None:
        """Write it in gray to the right of x."""
        self.soft(x, y, words, size, **{"ha": "left"} | more)

    def line(self, x: Ends, y: Ends, color: str = LINE, width: float = 0.8, **more: Any) -> None:
        """Draw a line through points."""
        self.axes.plot(x, y, color=color, linewidth=width, **more)

    def box(
        self, x: float, y: float, w: float, h: float, fill: str = "none", edge: str = INK,
        words: str = "", size: float = 10.5, ink: str = INK, **more: Any,
    ) -> None:  # fmt: skip
        """Draw a rectangle whose top left corner is at (x, y), with words in its middle."""
        look: Look = {"facecolor": fill, "edgecolor": edge, "linewidth": 1.0}
        self.axes.add_patch(Rectangle((x, y), w, h, **look | more))
        if words:
            self.write(x + w / 2, y + h / 2, words, size, color=ink)

    def tint(
        self, x: float, y: float, w: float, h: float, color: str, *words: Any, **more: Any
    ) -> None:
        """Draw a box in a color's pale shade, framed by the color."""
        self.box(x, y, w, h, PALE[color], color, *words, **more)

    def matrix(
        self, x: float, y: float, values: np.ndarray, cell: float, fills: Fills | None = None,
        size: float = 10.5, bold: bool = False, caption: str = "", gap: float = 1.8, **more: Any,
    ) -> None:  # fmt: skip
        """Draw a grid of numbers, its top left corner at (x, y); `fills` colors single cells.

        The caption stands in gray above its middle, at a distance of `gap`.
        """
        weight, (rows, columns) = "bold" if bold else "normal", values.shape
        for (i, j), value in np.ndenumerate(values):
            left, top, fill = x + j * cell, y + i * cell, (fills or {}).get((i, j), PAPER)
            self.box(left, top, cell, cell, fill, LINE)
            self.write(left + cell / 2, top + cell / 2, number(value), size, weight=weight)
        self.box(x, y, columns * cell, rows * cell, linewidth=1.2)
        if caption:
            self.soft(x + columns * cell / 2, y - gap, caption, **more)

    def arrow(
        self, x: float, y: float, to_x: float, to_y: float, color: str = SOFT, **more: Any
    ) -> None:
        """Draw an arrow from (x, y); with `bend` it is an arc."""
        arrow(self.axes, (x, y), (to_x, to_y), color, **more)

    def bracket(self, left: float, right: float, y: float) -> None:
        """Draw a bracket under what begins at y."""
        self.line([left, left, right, right], [y + 3.4, y + 4.3, y + 4.3, y + 3.4], INK, 1.6)

    def legend(self, *entries: tuple[float, str, str]) -> None:
        """Say at the top, from each x on, what a color means."""
        for x, color, words in entries:
            self.tint(x, 1.6, 2.0, 1.6, color)
            self.note(x + 2.6, 2.4, words, 9)


def arrow(
    axes: Axes, start: tuple[float, float], stop: tuple[float, float], color: str = SOFT,
    head: float = 12, bend: float = 0.0, **more: Any,
) -> None:  # fmt: skip
    """Draw an arrow in any axes."""
    look: Look = {"mutation_scale": head, "linewidth": 1.4, "shrinkA": 0, "shrinkB": 0} | more
    style, arc = "-|>", f"arc3,rad={bend}"
    patch = FancyArrowPatch(start, stop, arrowstyle=style, connectionstyle=arc, color=color, **look)
    axes.add_patch(patch)


def number(value: float) -> str:
    """Write a number as short as it can be said, with a true minus sign."""
    return f"{value + 0:g}".replace("-", MINUS)


def plot_axes(
    figure: Figure, where: tuple[float, float, float, float], title: str, width: float = 0.8,
    **more: Any,
) -> Axes:  # fmt: skip
    """Add axes for curves, with a title, quiet spines and a grid."""
    axes = figure.add_axes(where)
    axes.set_title(title, loc="left", size=12, color=INK, weight="bold", **more)
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color(LINE)
    axes.tick_params(colors=SOFT, labelsize=9.5)
    axes.grid(color=GRID, linewidth=width)
    axes.set_axisbelow(True)
    return axes


def draw(pictures: Pictures, folder: Path) -> list[Path]:
    """Write every picture into `folder`; the same bytes every time for one matplotlib."""
    folder.mkdir(parents=True, exist_ok=True)
    written = [folder / f"{name}.png" for name in pictures]
    for path in written:
        pictures[path.stem]().savefig(path, format="png", metadata={"Software": None})
    return written


def main(pictures: Pictures, folder: Path) -> None:
    """Write them where the command line says, or into `folder`, and say how large they are."""
    for path in draw(pictures, Path(sys.argv[1]) if len(sys.argv) > 1 else folder):
        print(f"{path.name}: {path.stat().st_size / 1024:.0f} kB")
