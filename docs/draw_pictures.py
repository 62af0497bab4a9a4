"""Draw the pictures of how-it-works.md: python docs/draw_pictures.py [folder].

Every number in a picture is computed by the engine itself, so a picture cannot contradict the code.
Lengths are in tenths of an inch, y runs downwards as in a matrix; nothing global is touched.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch, Rectangle

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from Filters import Conv2D, MaxPool2D, Sliding
from glassbox.engine.layer import LeakyReLU, Sigmoid
from glassbox.engine.more_layers import Tanh
from glassbox.engine.names import activation_named
from glassbox.engine.receptive_field import ReceptiveField
from glassbox.engine.schedules import (
    Constant,
    Cosine,
    OneCycle,
    Progress,
    Schedule,
    StepDecay,
    WarmUp,
)
from glassbox.kernels import pure_numpy as kernels
from glassbox.kernels.shapes import resolve_window

ROOT = Path(__file__).resolve().parent.parent
DPI = 150
INK, SOFT, LINE, PAPER = "#1F2933", "#52606D", "#9AA5B1", "#FFFFFF"
# Okabe and Ito's hues, which stay apart for the color-blind; the pale ones fill cells.
BLUE, ORANGE, GREEN, RED, PURPLE = "#0072B2", "#E69F00", "#009E73", "#D55E00", "#CC79A7"
PALE = {
    BLUE: "#CCE3F0",
    ORANGE: "#FAECCC",
    GREEN: "#CCECE3",
    RED: "#F7DFCC",
    PURPLE: "#F5E4ED",
    LINE: "#EEF1F4",
}
FOUR = (BLUE, ORANGE, GREEN, PURPLE)

# The worked example of the text: an image, a kernel, and a gradient that comes from above.
IMAGE = np.array([[1.0, 2, 0], [3, 1, 2], [0, 1, 4]])
KERNEL = np.array([[1.0, 2], [3, 4]])
ABOVE = np.array([[1.0, 0], [2, -1]])
WINDOW = resolve_window("Conv2D", (1, 3, 3), (2, 2), (1, 1), "valid")

Fills = dict[tuple[int, int], str]


# --- the pen ---------------------------------------------------------------------------------


def sheet(width: float, height: float) -> tuple[Figure, Axes]:
    """A white figure of so many tenths of an inch, and axes that cover it in those units."""
    figure = Figure(figsize=(width / 10, height / 10), dpi=DPI, facecolor=PAPER)
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set_xlim(0, width)
    axes.set_ylim(height, 0)
    axes.set_axis_off()
    return figure, axes


def write(axes: Axes, x: float, y: float, words: str, size: float = 10.5, **more: Any) -> None:
    """Text whose middle is at (x, y) unless `ha`, `va` say otherwise."""
    look: dict[str, Any] = {"size": size, "color": INK, "ha": "center", "va": "center"} | more
    axes.text(x, y, words, **look)


def box(
    axes: Axes, x: float, y: float, w: float, h: float, fill: str = "none", **more: Any
) -> None:
    """A rectangle whose top left corner is at (x, y)."""
    look: dict[str, Any] = {"facecolor": fill, "edgecolor": INK, "linewidth": 1.0} | more
    axes.add_patch(Rectangle((x, y), w, h, **look))


def number(value: float) -> str:
    """As short as it can be said; a true minus sign."""
    return f"{value + 0:g}".replace("-", "\N{MINUS SIGN}")


def matrix(
    axes: Axes,
    x: float,
    y: float,
    values: np.ndarray,
    cell: float,
    fills: Fills | None = None,
    size: float = 10.5,
    bold: bool = False,
) -> None:
    """A grid of numbers, its top left corner at (x, y); `fills` colors single cells."""
    for (i, j), value in np.ndenumerate(values):
        fill = (fills or {}).get((i, j), PAPER)
        box(axes, x + j * cell, y + i * cell, cell, cell, fill, edgecolor=LINE)
        weight = "bold" if bold else "normal"
        write(axes, x + (j + 0.5) * cell, y + (i + 0.5) * cell, number(value), size, weight=weight)
    rows, columns = values.shape
    box(axes, x, y, columns * cell, rows * cell, linewidth=1.2)


def arrow(
    axes: Axes,
    start: tuple[float, float],
    stop: tuple[float, float],
    color: str = SOFT,
    **more: Any,
) -> None:
    """An arrow from start to stop."""
    look: dict[str, Any] = {
        "arrowstyle": "-|>",
        "mutation_scale": 12,
        "linewidth": 1.4,
        "shrinkA": 0,
        "shrinkB": 0,
    }
    axes.add_patch(FancyArrowPatch(start, stop, color=color, **(look | more)))


def title(axes: Axes, words: str, x: float = 2, y: float = 2.4) -> None:
    """A bold line at the top left."""
    write(axes, x, y, words, 12, ha="left", weight="bold")


def batch_last(matrix_: np.ndarray) -> np.ndarray:
    """A matrix as the engine sees one image of one channel: (1, height, width, 1)."""
    return matrix_[None, :, :, None].copy()


def flat(volume: np.ndarray) -> np.ndarray:
    """The way back."""
    return volume[0, :, :, 0]


# --- convolution -----------------------------------------------------------------------------


def convolution() -> Figure:
    """Windows on a padded image with stride 2, their outputs, and a dilated kernel."""
    figure, axes = sheet(80, 35)
    window = resolve_window("Conv2D", (1, 5, 5), (3, 3), (2, 2), 1)
    cell = 3.4
    title(axes, "Kernel 3, stride 2, padding 1")
    x, y = 2.0, 6.5
    for i in range(7):
        for j in range(7):
            border = not (0 < i < 6 and 0 < j < 6)
            fill = PALE[LINE] if border else PAPER
            box(axes, x + j * cell, y + i * cell, cell, cell, fill, edgecolor=LINE)
            if border:
                write(axes, x + (j + 0.5) * cell, y + (i + 0.5) * cell, "0", 9, color=SOFT)
    box(axes, x + cell, y + cell, 5 * cell, 5 * cell, linewidth=1.8)
    write(axes, x + 3.5 * cell, y + 7 * cell + 2.2, "image 5 x 5, padded with zeros", color=SOFT)
    out_x, out_cell = 34.5, 4.6
    out_y = y + 3.5 * cell - 1.5 * out_cell
    places = [((0, 0), BLUE), ((0, 1), RED), ((1, 2), GREEN)]
    for (i, j), color in places:
        left, top = x + 2 * j * cell, y + 2 * i * cell
        box(
            axes,
            left + 0.15,
            top + 0.15,
            3 * cell - 0.3,
            3 * cell - 0.3,
            edgecolor=color,
            linewidth=2.6,
        )
        box(
            axes,
            out_x + j * out_cell,
            out_y + i * out_cell,
            out_cell,
            out_cell,
            PALE[color],
            edgecolor=color,
            linewidth=2.2,
        )
    taken = {place for place, _ in places}
    for i in range(window.output[0]):
        for j in range(window.output[1]):
            if (i, j) not in taken:
                box(
                    axes,
                    out_x + j * out_cell,
                    out_y + i * out_cell,
                    out_cell,
                    out_cell,
                    edgecolor=LINE,
                    zorder=0.5,
                )
            write(
                axes, out_x + (j + 0.5) * out_cell, out_y + (i + 0.5) * out_cell, f"{i}, {j}", 9.5
            )
    arrow(axes, (27.3, y + 3.5 * cell), (33, y + 3.5 * cell))
    write(axes, out_x + 1.5 * out_cell, out_y - 1.6, "output 3 x 3", color=SOFT)
    write(
        axes,
        out_x + 1.5 * out_cell,
        out_y + 3 * out_cell + 2.2,
        "(5 + 2 \N{MINUS SIGN} 3) / 2 + 1 = 3",
    )

    title(axes, "Dilation 2", 57)
    x, cell = 58.0, 3.4
    for i in range(5):
        for j in range(5):
            tap = i % 2 == 0 and j % 2 == 0
            box(
                axes,
                x + j * cell,
                y + i * cell,
                cell,
                cell,
                PALE[BLUE] if tap else PAPER,
                edgecolor=LINE,
            )
            if tap:
                write(axes, x + (j + 0.5) * cell, y + (i + 0.5) * cell, f"{i // 2}, {j // 2}", 9.5)
    box(axes, x, y, 5 * cell, 5 * cell, edgecolor=BLUE, linewidth=2.6)
    write(axes, x + 2.5 * cell, y + 5 * cell + 2.2, "nine taps span 5 pixels", color=SOFT)
    write(axes, x + 2.5 * cell, y + 5 * cell + 4.6, "2 (3 \N{MINUS SIGN} 1) + 1 = 5")
    return figure


def unfolding() -> Figure:
    """The four windows of the worked example as columns of one matrix product."""
    figure, axes = sheet(80, 29)
    columns = kernels.unfold(batch_last(IMAGE), WINDOW, slice(0, 2)).reshape(4, 4)
    y = kernels.conv2d(batch_last(IMAGE), batch_last(KERNEL).transpose(0, 3, 1, 2), None, WINDOW)
    cell = 3.8
    title(axes, "Each window becomes a column; the convolution becomes one matrix product")
    top = 9.0
    write(axes, 2 + 1.5 * cell, top - 1.8, "image", color=SOFT)
    matrix(axes, 2, top, IMAGE, cell)
    inset = 0.3
    for k, color in enumerate(FOUR):
        i, j = divmod(k, 2)
        shift = inset * (1 + 0.9 * k)
        box(
            axes,
            2 + j * cell + shift,
            top + i * cell + shift,
            2 * cell - 2 * shift,
            2 * cell - 2 * shift,
            edgecolor=color,
            linewidth=2.2,
        )
    arrow(axes, (14.6, top + 1.5 * cell), (18.4, top + 1.5 * cell))
    write(axes, 16.4, top + 1.5 * cell - 1.6, "unfold", 9.5, color=SOFT)

    row = top + 1.5 * cell  # the bank stands beside the columns, as in a product on paper
    write(axes, 20 + 2 * cell, row - 0.5 * cell - 1.8, "kernel as a row", color=SOFT)
    matrix(axes, 20, row - 0.5 * cell, KERNEL.reshape(1, 4), cell)
    write(axes, 36.9, row, "\N{MULTIPLICATION SIGN}", 15)
    left, high = 38.6, row - 2 * cell
    fills = {(i, j): PALE[FOUR[j]] for i in range(4) for j in range(4)}
    write(axes, left + 2 * cell, high - 1.8, "columns (taps, places)", color=SOFT)
    matrix(axes, left, high, columns, cell, fills)
    write(axes, 55.3, row, "=", 15)
    matrix(
        axes,
        57,
        row - 0.5 * cell,
        y.reshape(1, 4),
        cell,
        {(0, j): PALE[FOUR[j]] for j in range(4)},
        bold=True,
    )
    arrow(axes, (57 + 2 * cell, row + 0.5 * cell + 0.4), (57 + 2 * cell, row + 0.5 * cell + 2.6))
    matrix(
        axes,
        57 + cell,
        row + 0.5 * cell + 3,
        flat(y),
        cell,
        {(i, j): PALE[FOUR[2 * i + j]] for i in (0, 1) for j in (0, 1)},
        bold=True,
    )
    write(axes, 57 + 3.2 * cell, row + 1.5 * cell + 3, "output", color=SOFT, ha="left")
    return figure


def turned_kernel() -> Figure:
    """The input gradient of the worked example in both ways: gathered and scattered."""
    figure, axes = sheet(80, 52)
    cell = 3.6
    weights = batch_last(KERNEL).transpose(0, 3, 1, 2).copy()
    dx = flat(kernels.conv2d_input_gradient(batch_last(ABOVE), weights, WINDOW, (1, 3, 3, 1)))
    title(axes, "Gathered: convolve the padded dy with the kernel turned by 180\N{DEGREE SIGN}")
    top = 8.0
    write(axes, 2 + cell, top - 1.7, "kernel", color=SOFT)
    fours = {(i, j): PALE[FOUR[2 * i + j]] for i in (0, 1) for j in (0, 1)}
    matrix(axes, 2, top + cell, KERNEL, cell, fours)
    arrow(axes, (10.2, top + 2 * cell), (13.8, top + 2 * cell), connectionstyle="arc3,rad=-0.6")
    turned = {(1 - i, 1 - j): fill for (i, j), fill in fours.items()}
    write(axes, 15 + cell, top - 1.7, "turned", color=SOFT)
    matrix(axes, 15, top + cell, KERNEL[::-1, ::-1], cell, turned)
    write(axes, 24.3, top + 2 * cell, "*", 18)
    padded = np.pad(ABOVE, 1)
    left = 27.0
    fills = {(i, j): PALE[LINE] for i in range(4) for j in range(4) if padded[i, j] == 0}
    fills.pop((1, 2))  # a true 0 of dy
    write(axes, left + 2 * cell, top - 1.7, "dy, padded by 1", color=SOFT)
    matrix(axes, left, top, padded, cell, fills)
    box(
        axes,
        left + cell + 0.25,
        top + cell + 0.25,
        2 * cell - 0.5,
        2 * cell - 0.5,
        edgecolor=RED,
        linewidth=2.4,
    )
    write(axes, 44.0, top + 2 * cell, "=", 15)
    write(axes, 47 + 1.5 * cell, top - 1.7, "dx", color=SOFT)
    matrix(axes, 47, top + 0.5 * cell, dx, cell, {(1, 1): PALE[RED]}, bold=True)
    products = [
        f"{number(a)}\N{MULTIPLICATION SIGN}{number(b) if b >= 0 else f'({number(b)})'}"
        for a, b in zip(KERNEL[::-1, ::-1].ravel(), ABOVE.ravel(), strict=True)
    ]
    lines = [
        "the framed window gives",
        " + ".join(products[:2]),
        "+ " + " + ".join(products[2:]),
        f"= {number(dx[1, 1])}",
    ]
    for k, line in enumerate(lines):
        color = INK if k else SOFT
        write(axes, 60.5, top + 1.1 * cell + 2.3 * k, line, 10, ha="left", color=color)

    axes.plot([2, 78], [26.2, 26.2], color=LINE, linewidth=0.8)
    title(
        axes,
        "Scattered: each entry of dy lays its multiple of the kernel over its own window",
        2,
        29,
    )
    top, left = 36.0, 2.0
    for k, (value, color) in enumerate(zip(ABOVE.ravel(), FOUR, strict=True)):
        i, j = divmod(k, 2)
        laid = np.zeros((3, 3))
        laid[i : i + 2, j : j + 2] = value * KERNEL
        inside = {(i + a, j + b): PALE[color] for a in (0, 1) for b in (0, 1)}
        write(axes, left + 1.5 * cell, top - 1.9, f"dy[{i}, {j}] = {number(value)}", 10, color=SOFT)
        matrix(axes, left, top, laid, cell, inside)
        write(axes, left + 3 * cell + 2.15, top + 1.5 * cell, "=" if k == 3 else "+", 15)
        left += 3 * cell + 4.3
    write(axes, left + 1.5 * cell, top - 1.9, "dx", color=SOFT)
    matrix(axes, left, top, dx, cell, bold=True)
    return figure


def receptive_field() -> Figure:
    """One output and the pixels it sees, layer by layer, along one direction."""
    figure, axes = sheet(80, 36)
    steps: list[tuple[str, Sliding]] = [
        ("Conv2D, kernel 3", Conv2D(1, 3)),
        ("MaxPool2D, size 2", MaxPool2D(2)),
        ("Conv2D, kernel 3", Conv2D(1, 3)),
    ]
    receptive_fields = [ReceptiveField()]
    for _, layer in steps:
        receptive_fields.append(receptive_fields[-1].behind(layer))
    title(axes, "The receptive field grows with every layer (one direction shown)")
    pitch, first, bottom, rise = 4.4, 6.0, 29.5, 7.4
    pixels = 11
    counts = [pixels, pixels - 2, (pixels - 2) // 2, (pixels - 2) // 2 - 2]
    centers = []
    for level, receptive_field in enumerate(receptive_fields):
        start = (receptive_field.size[0] - 1) / 2
        centers.append(
            [first + (start + k * receptive_field.jump[0]) * pitch for k in range(counts[level])]
        )
    seen: set[int] = {0}
    marked = [seen]
    for _, layer in reversed(steps):
        seen = {k * layer.stride[0] + a for k in seen for a in range(layer.kernel_size[0])}
        marked.insert(0, seen)
    for level, (_, layer) in enumerate(steps):
        for k in range(counts[level + 1]):
            for a in range(layer.kernel_size[0]):
                on = k in marked[level + 1]
                ends = centers[level + 1][k], centers[level][k * layer.stride[0] + a]
                heights = bottom - (level + 1) * rise + 1.4, bottom - level * rise - 1.4
                axes.plot(
                    ends,
                    heights,
                    color=BLUE if on else "#D5DBE1",
                    linewidth=1.6 if on else 0.8,
                    zorder=1.2 if on else 1,
                )
    names = ["image", *(name for name, _ in steps)]
    for level, receptive_field in enumerate(receptive_fields):
        y = bottom - level * rise
        for k, x in enumerate(centers[level]):
            on = k in marked[level]
            box(
                axes,
                x - 1.4,
                y - 1.4,
                2.8,
                2.8,
                PALE[BLUE] if on else PAPER,
                edgecolor=BLUE if on else LINE,
                linewidth=1.8 if on else 1.0,
            )
        write(axes, 56.5, y - 0.9, names[level], ha="left", weight="bold")
        pixel = "pixel" if receptive_field.size[0] == 1 else "pixels"
        write(
            axes,
            56.5,
            y + 1.3,
            f"sees {receptive_field.size[0]} {pixel}, jump {receptive_field.jump[0]}",
            10,
            ha="left",
            color=SOFT,
        )
    return figure


# --- pooling ---------------------------------------------------------------------------------


def pooling() -> Figure:
    """Max and average pooling of one image: forward, and where the gradient goes."""
    figure, axes = sheet(80, 53)
    x = np.array([[1.0, 3, 2, 2], [0, 2, 2, 1], [4, 1, 0, 1], [2, 1, 3, 2]])
    dy = np.array([[4.0, 8], [6, 2]])
    window = resolve_window("pool", (1, 4, 4), (2, 2), (2, 2), 0)
    y, winner = kernels.max_pool(batch_last(x), window)
    shape = (1, 4, 4, 1)
    by_max = kernels.max_pool_gradient(batch_last(dy), winner, window, shape)
    counts = np.full((2, 2), 4)
    mean = kernels.average_pool(batch_last(x), counts, window)
    by_mean = kernels.average_pool_gradient(batch_last(dy), counts, window, shape)
    four = {(i, j): PALE[FOUR[2 * i + j]] for i in (0, 1) for j in (0, 1)}
    quarters = {(i, j): four[i // 2, j // 2] for i in range(4) for j in range(4)}
    won = {place: four[place[0] // 2, place[1] // 2] for place in _winners(winner[0, :, :, 0])}
    rows = [
        (6.5, "Max pooling: the winner of a window gets its whole gradient", y, by_max, won),
        (
            33.5,
            "Average pooling: every pixel of a window gets an equal share",
            mean,
            by_mean,
            quarters,
        ),
    ]
    cell = 3.6
    for top, words, out, back, fills in rows:
        title(axes, words, 2, top - 4.1)
        top += 2.0
        middle = top + 2 * cell
        for left, name, values, colors in (
            (2.0, "x", x, fills),
            (23.8, "y", flat(out), four),
            (38.4, "dy", dy, four),
            (53.4, "dx", flat(back), fills),
        ):
            size = values.shape[0]
            high = middle - size / 2 * cell
            write(axes, left + size / 2 * cell, high - 1.6, name, color=SOFT, style="italic")
            matrix(axes, left, high, values, cell, colors)
            if size == 4:
                box(axes, left, high, 2 * cell, 4 * cell, linewidth=1.2)
                box(axes, left, high, 4 * cell, 2 * cell, linewidth=1.2)
        arrow(axes, (17.1, middle), (23.1, middle))
        arrow(axes, (46.3, middle), (52.7, middle))
        write(axes, 20.0, middle - 1.6, "forward", 9, color=SOFT)
        write(axes, 49.4, middle - 1.6, "backward", 9, color=SOFT)
    write(
        axes, 69.4, 14.2, "a tie:\nthe first\nof the equal\npixels wins", 9.5, ha="left", color=SOFT
    )
    arrow(axes, (71.0, 9.6), (62.4, 8.2), connectionstyle="arc3,rad=0.4", mutation_scale=9)
    write(axes, 69.4, 39.0, "8 / 4 = 2", 9.5, ha="left", color=SOFT)
    return figure


def _winners(winner: np.ndarray) -> list[tuple[int, int]]:
    """Where in the image the winner of each 2 x 2 window stands."""
    return [
        (2 * i + int(place) // 2, 2 * j + int(place) % 2)
        for (i, j), place in np.ndenumerate(winner)
    ]


# --- curves ----------------------------------------------------------------------------------


def _plot_axes(figure: Figure, where: tuple[float, float, float, float], words: str) -> Axes:
    axes = figure.add_axes(where)
    axes.set_title(words, loc="left", size=12, color=INK, weight="bold")
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color(LINE)
    axes.tick_params(colors=SOFT, labelsize=9.5)
    axes.grid(color="#E4E7EB", linewidth=0.8)
    axes.set_axisbelow(True)
    return axes


def activations() -> Figure:
    """Sigmoid, tanh and leaky ReLU beside their derivatives."""
    figure = Figure(figsize=(8, 3.5), dpi=DPI, facecolor=PAPER)
    z = np.linspace(-4, 4, 801)
    kinds = [
        (Sigmoid(), "sigmoid", BLUE, "-", (3.0, 0.72), (0.0, 0.36)),
        (Tanh(), "tanh", RED, "--", (-2.6, -0.80), (1.05, 0.68)),
        (LeakyReLU(0.1), "leaky ReLU, slope 0.1", GREEN, "-.", (1.25, 1.75), (2.0, 1.08)),
    ]
    left = _plot_axes(figure, (0.06, 0.12, 0.42, 0.76), "y = f(z)")
    right = _plot_axes(figure, (0.56, 0.12, 0.42, 0.76), "dy/dz, told from y alone")
    for kind, name, color, style, at_left, at_right in kinds:
        layer = activation_named(kind)
        y = layer.apply(z.copy())
        slope = layer.gradient(np.ones_like(z), y)
        jump = np.flatnonzero(np.abs(np.diff(slope)) > 0.5)
        slope[jump] = np.nan if len(jump) else slope[jump]  # no line across a jump
        left.plot(z, y, style, color=color, linewidth=2.2)
        right.plot(z, slope, style, color=color, linewidth=2.2)
        look: dict[str, Any] = {"color": color, "size": 10.5, "weight": "bold"}
        left.text(*at_left, name, ha="right" if name[0] == "l" else "center", **look)
        right.text(*at_right, name.split(",")[0], ha="left" if name == "tanh" else "center", **look)
    left.set_ylim(-1.3, 2.3)
    right.set_ylim(-0.05, 1.2)
    return figure


def schedules() -> Figure:
    """The rate over a run of ten epochs, for some schedules."""
    figure = Figure(figsize=(8, 3.8), dpi=DPI, facecolor=PAPER)
    axes = _plot_axes(figure, (0.08, 0.14, 0.89, 0.75), "Learning rate over a run of ten epochs")
    kinds: list[tuple[Schedule, str, str, str, tuple[float, float]]] = [
        (OneCycle(0.1, pct_start=0.3), "one-cycle", BLUE, "-", (2.0, 0.0945)),
        (Cosine(0.07), "cosine", RED, "--", (0.15, 0.0745)),
        (StepDecay(0.05, step_size=3, gamma=0.4), "step decay", GREEN, "-.", (3.2, 0.0155)),
        (WarmUp(Constant(0.03), steps=150), "warm-up, constant", PURPLE, ":", (7.7, 0.0338)),
    ]
    per_epoch = 100
    steps = np.arange(10 * per_epoch)
    for schedule, name, color, style, (x, y) in kinds:
        rates = [schedule.at(Progress(int(step), len(steps), per_epoch)) for step in steps]
        axes.plot(steps / per_epoch, rates, style, color=color, linewidth=2.4)
        side = "right" if name == "one-cycle" else "left"
        axes.text(x, y, name, color=color, size=10.5, weight="bold", ha=side, va="center")
    axes.set_xlabel("epoch", size=10.5, color=SOFT)
    axes.set_xlim(0, 10)
    axes.set_ylim(0, 0.105)
    axes.set_xticks(range(11))
    return figure


# --- how it is computed ----------------------------------------------------------------------


def shard_tree() -> Figure:
    """Eight shards, their fixed tree of sums, and two ways to share the work."""
    figure, axes = sheet(80, 47)
    title(axes, "One mini-batch, eight shards, one tree of sums")
    left, pitch, width, bottom, rise = 16.5, 7.8, 6.4, 29.0, 7.0
    centers = [left + pitch * k + width / 2 for k in range(8)]
    level, y = centers, bottom
    words = [f"g{k}" for k in range(8)]
    while len(level) > 1:
        above = [(a + b) / 2 for a, b in zip(level[::2], level[1::2], strict=True)]
        for k, x in enumerate(level):
            axes.plot([x, above[k // 2]], [y - 1.6, y - rise + 1.6], color=SOFT, linewidth=1.4)
        for x, word in zip(level, words, strict=True):
            _node(axes, x, y, word)
        words = ["+"] * len(above)
        level, y = above, y - rise
    _node(axes, level[0], y, "+")
    write(axes, level[0] + 3.2, y, "the gradient: one optimizer step", ha="left")
    write(axes, 2, bottom, "gradients", ha="left", color=SOFT)
    write(axes, 2, bottom + 4.6, "shards", ha="left", color=SOFT)
    for k, x in enumerate(centers):
        box(axes, x - width / 2, bottom + 3.2, width, 2.8, PALE[LINE], edgecolor=SOFT)
        write(axes, x, bottom + 4.6, f"shard {k}", 9)
        arrow(axes, (x, bottom + 3.1), (x, bottom + 1.7), mutation_scale=9, linewidth=1.1)
    names = {"A": BLUE, "B": RED, "C": GREEN}
    for row, (words_, plan) in enumerate([("1 thread", "AAAAAAAA"), ("3 threads", "ABCBACAB")]):
        y = bottom + 9.3 + 3.4 * row
        write(axes, 2, y, words_, ha="left", color=SOFT)
        for x, who in zip(centers, plan, strict=True):
            box(axes, x - width / 2, y - 1.3, width, 2.6, PALE[names[who]], edgecolor=names[who])
            write(axes, x, y, f"thread {who}", 9)
    write(
        axes,
        centers[0] - width / 2,
        bottom + 16.2,
        "Who computes a shard may change. What is added to what never does: the same bits.",
        10,
        ha="left",
    )
    return figure


def _node(axes: Axes, x: float, y: float, word: str) -> None:
    axes.add_patch(
        FancyBboxPatch(
            (x - 1.4, y - 1.1),
            2.8,
            2.2,
            boxstyle="round,pad=0.4",
            facecolor=PAPER,
            edgecolor=INK,
            linewidth=1.2,
        )
    )
    write(axes, x, y, word, 10.5 if len(word) > 1 else 13)


def memory_layout() -> Figure:
    """Four small images in memory: batch first and batch last."""
    figure, axes = sheet(80, 43)
    title(axes, "Four images of 2 x 3 pixels, one color each, as they lie in memory")
    letters = "abcdef"
    cell = 3.0
    for n, color in enumerate(FOUR):
        x = 6.5 + n * 19
        for k, letter in enumerate(letters):
            i, j = divmod(k, 3)
            box(axes, x + j * cell, 5.6 + i * cell, cell, cell, PALE[color], edgecolor=color)
            write(axes, x + (j + 0.5) * cell, 5.6 + (i + 0.5) * cell, letter, 10.5)
        write(axes, x + 1.5 * cell, 13.2, f"sample {n}", 9.5, color=SOFT)
    first = [(n, k) for n in range(4) for k in range(6)]
    last = [(n, k) for k in range(6) for n in range(4)]
    for y, words, order in (
        (
            19.8,
            "Batch first (samples, channels, height, width): pixels a and b lie in four runs",
            first,
        ),
        (
            32.0,
            "Batch last (channels, height, width, samples): the same pixels lie in one run",
            last,
        ),
    ):
        write(axes, 2, y - 2.0, words, 10.5, ha="left")
        width = 76 / 24
        for place, (n, k) in enumerate(order):
            x = 2 + place * width
            box(axes, x, y, width, 3.0, PALE[FOUR[n]], edgecolor=FOUR[n])
            write(axes, x + width / 2, y + 1.5, letters[k], 10.5)
        _mark_runs(axes, order, y, width)
    write(
        axes,
        2,
        40.8,
        "A tap of a window is a slice x[:, i, j:j+w]: long runs feed the vector units.",
        10.5,
        ha="left",
        color=SOFT,
    )
    return figure


def _mark_runs(axes: Axes, order: Sequence[tuple[int, int]], y: float, width: float) -> None:
    """A bracket under every unbroken run of the pixels a and b."""
    start = None
    for place, (_, k) in enumerate([*order, (0, 9)]):
        if k < 2 and start is None:
            start = place
        if k >= 2 and start is not None:
            left, right = 2 + start * width + 0.3, 2 + place * width - 0.3
            axes.plot(
                [left, left, right, right],
                [y + 3.4, y + 4.3, y + 4.3, y + 3.4],
                color=INK,
                linewidth=1.6,
            )
            start = None


PURPOSES = {
    "main.py": "what a user edits and runs",
    "glassbox/cli": "the command line, one run from settings to results",
    "glassbox/bridges": "ONNX, scikit-learn",
    "CNN.py": "the chain of layers and its training",
    "Filters.py": "layers that slide over an image",
    "MLP.py": "layers that do not, optimizers",
    "Datasets.py": "where images come from",
    "glassbox/files": "models and checkpoints",
    "glassbox/engine": "losses, optimizers, steps, captures",
    "glassbox/data": "reading, splitting, scaling",
    "glassbox/report": "metrics, figures, the report",
    "glassbox/kernels": "arithmetic on arrays",
}


def import_levels() -> list[list[str]]:
    """The files and folders by how far they stand above the ground, computed from the imports."""
    below: dict[str, set[str]] = {room: set() for room in PURPOSES}
    for room in PURPOSES:
        for path in [ROOT / room] if room.endswith(".py") else (ROOT / room).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text("utf-8"))):
                if isinstance(node, ast.ImportFrom):
                    word = str(node.module).replace(".", "/")
                    names = {"/".join(word.split("/")[:2]), f"{word.split('/')[0]}.py"}
                    below[room] |= (names & set(PURPOSES)) - {room}
    levels: list[list[str]] = []
    while below:
        level = [room for room in below if not below[room] & set(below)]
        assert level, f"imports go in a circle among {sorted(below)}"
        levels.append(level)
        below = {room: rooms for room, rooms in below.items() if room not in level}
    return levels


def stairs() -> Figure:
    """Who stands above whom: imports run downward only."""
    levels = import_levels()[::-1]
    figure, axes = sheet(80, 8 + 7.2 * len(levels))
    title(axes, "Imports run down the stairs, never up")
    for k, level in enumerate(levels):
        y, width = 6.0 + 7.2 * k, (76 - 1.5 * (len(level) - 1)) / len(level)
        for n, room in enumerate(level):
            x = 2 + n * (width + 1.5)
            color = GREEN if room.startswith("glassbox") else RED
            box(axes, x, y, width, 5.6, PALE[color], edgecolor=color, linewidth=1.6)
            write(axes, x + 1.0, y + 1.9, room, 10.5, ha="left", weight="bold")
            write(axes, x + 1.0, y + 4.1, PURPOSES[room], 8.5, ha="left", color=SOFT)
        if k:
            arrow(axes, (40, y - 1.5), (40, y - 0.1))
    return figure


PICTURES: dict[str, Callable[[], Figure]] = {
    "convolution": convolution,
    "unfolding": unfolding,
    "turned_kernel": turned_kernel,
    "receptive_field": receptive_field,
    "pooling": pooling,
    "activations": activations,
    "schedules": schedules,
    "shard_tree": shard_tree,
    "memory_layout": memory_layout,
    "stairs": stairs,
}


def draw(folder: Path) -> list[Path]:
    """Write every picture into `folder`; the same bytes every time for one matplotlib."""
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    for name, picture in PICTURES.items():
        path = folder / f"{name}.png"
        picture().savefig(path, format="png", metadata={"Software": None})
        written.append(path)
    return written


if __name__ == "__main__":
    target = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent / "pictures"
    for path in draw(target):
        print(f"{path.name}: {path.stat().st_size / 1024:.0f} kB")
