"""Draw the pictures of how-it-works.md: python docs/draw_pictures.py [folder].

Every number in a picture is computed by the engine itself, so a picture cannot contradict the code.
"""

# isort: skip_file

from __future__ import annotations

import ast
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import FancyBboxPatch

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
sys.path.insert(0, str(Path(__file__).resolve().parent))

import pen
from pen import (
    BLUE, DPI, FOUR, GREEN, INK, LINE, MINUS, PALE, PAPER, PURPLE, RED, SOFT, TIMES, Fills, Sheet,
    number, plot_axes,
)  # fmt: skip

from Filters import Conv2D, MaxPool2D, Sliding
from glassbox.engine.layer import LeakyReLU, Sigmoid
from glassbox.engine.more_layers import Tanh
from glassbox.engine.names import activation_named
from glassbox.engine.receptive_field import ReceptiveField
from glassbox.engine.schedules import (
    Constant, Cosine, OneCycle, Progress, Schedule, StepDecay, WarmUp,
)  # fmt: skip
from glassbox.kernels import pure_numpy as kernels
from glassbox.kernels.shapes import resolve_window

ROOT = Path(__file__).resolve().parent.parent

# The worked example of the text: an image, a kernel, and a gradient that comes from above.
IMAGE = np.array([[1.0, 2, 0], [3, 1, 2], [0, 1, 4]])
KERNEL = np.array([[1.0, 2], [3, 4]])
ABOVE = np.array([[1.0, 0], [2, -1]])
WINDOW = resolve_window("Conv2D", (1, 3, 3), (2, 2), (1, 1), "valid")
FOURS: Fills = {(i, j): PALE[FOUR[2 * i + j]] for i in (0, 1) for j in (0, 1)}


def batch_last(matrix: np.ndarray) -> np.ndarray:
    """A matrix as the engine sees one image of one channel: (1, height, width, 1)."""
    return matrix[None, :, :, None].copy()


def flat(volume: np.ndarray) -> np.ndarray:
    """The way back."""
    return volume[0, :, :, 0]


def convolution() -> Figure:
    """Windows on a padded image with stride 2, their outputs, and a dilated kernel."""
    sheet = Sheet(80, 35, "Kernel 3, stride 2, padding 1")
    window = resolve_window("Conv2D", (1, 5, 5), (3, 3), (2, 2), 1)
    cell, x, y = 3.4, 2.0, 6.5
    for i, j in np.ndindex(7, 7):
        inside = 0 < i < 6 and 0 < j < 6
        fill, words = (PAPER, "") if inside else (PALE[LINE], "0")
        sheet.box(x + j * cell, y + i * cell, cell, cell, fill, LINE, words, 9, SOFT)
    sheet.box(x + cell, y + cell, 5 * cell, 5 * cell, linewidth=1.8)
    sheet.soft(x + 3.5 * cell, y + 7 * cell + 2.2, "image 5 x 5, padded with zeros")
    out_x, side = 34.5, 4.6
    out_y = y + 3.5 * cell - 1.5 * side
    places = {(0, 0): BLUE, (0, 1): RED, (1, 2): GREEN}
    for (i, j), color in places.items():
        left, top, wide = x + 2 * j * cell + 0.15, y + 2 * i * cell + 0.15, 3 * cell - 0.3
        sheet.box(left, top, wide, wide, edge=color, linewidth=2.6)
        sheet.tint(out_x + j * side, out_y + i * side, side, side, color, linewidth=2.2)
    for i, j in np.ndindex(*window.output):
        left, top = out_x + j * side, out_y + i * side
        if (i, j) not in places:
            sheet.box(left, top, side, side, edge=LINE, zorder=0.5)
        sheet.write(left + side / 2, top + side / 2, f"{i}, {j}", 9.5)
    sheet.arrow(27.3, y + 3.5 * cell, 33, y + 3.5 * cell)
    sheet.soft(out_x + 1.5 * side, out_y - 1.6, "output 3 x 3")
    sheet.write(out_x + 1.5 * side, out_y + 3 * side + 2.2, f"(5 + 2 {MINUS} 3) / 2 + 1 = 3")

    sheet.title("Dilation 2", 57)
    x = 58.0
    for i, j in np.ndindex(5, 5):
        fill, words = (PAPER, "") if i % 2 or j % 2 else (PALE[BLUE], f"{i // 2}, {j // 2}")
        sheet.box(x + j * cell, y + i * cell, cell, cell, fill, LINE, words, 9.5)
    sheet.box(x, y, 5 * cell, 5 * cell, edge=BLUE, linewidth=2.6)
    sheet.soft(x + 2.5 * cell, y + 5 * cell + 2.2, "nine taps span 5 pixels")
    sheet.write(x + 2.5 * cell, y + 5 * cell + 4.6, f"2 (3 {MINUS} 1) + 1 = 5")
    return sheet.figure


def unfolding() -> Figure:
    """The four windows of the worked example as columns of one matrix product."""
    words = "Each window becomes a column; the convolution becomes one matrix product"
    sheet = Sheet(80, 29, words)
    columns = kernels.unfold(batch_last(IMAGE), WINDOW, slice(0, 2)).reshape(4, 4)
    y = kernels.conv2d(batch_last(IMAGE), batch_last(KERNEL).transpose(0, 3, 1, 2), None, WINDOW)
    cell, top = 3.8, 9.0
    sheet.matrix(2, top, IMAGE, cell, caption="image")
    for k, color in enumerate(FOUR):
        shift = 0.3 * (1 + 0.9 * k)
        left, high = 2 + k % 2 * cell + shift, top + k // 2 * cell + shift
        sheet.box(left, high, *(2 * cell - 2 * shift,) * 2, edge=color, linewidth=2.2)
    sheet.arrow(14.6, top + 1.5 * cell, 18.4, top + 1.5 * cell)
    sheet.soft(16.4, top + 1.5 * cell - 1.6, "unfold", 9.5)

    row = top + 1.5 * cell  # the bank stands beside the columns, as in a product on paper
    sheet.matrix(20, row - 0.5 * cell, KERNEL.reshape(1, 4), cell, caption="kernel as a row")
    sheet.write(36.9, row, TIMES, 15)
    left, high = 38.6, row - 2 * cell
    fills: Fills = {(i, j): PALE[FOUR[j]] for i in range(4) for j in range(4)}
    sheet.matrix(left, high, columns, cell, fills, caption="columns (taps, places)")
    sheet.write(55.3, row, "=", 15)
    sheet.matrix(57, row - 0.5 * cell, y.reshape(1, 4), cell, fills, bold=True)
    middle, low = 57 + 2 * cell, row + 0.5 * cell
    sheet.arrow(middle, low + 0.4, middle, low + 2.6)
    sheet.matrix(57 + cell, low + 3, flat(y), cell, FOURS, bold=True)
    sheet.note(57 + 3.2 * cell, low + cell + 3, "output", 10.5)
    return sheet.figure


def turned_kernel() -> Figure:
    """The input gradient of the worked example in both ways: gathered and scattered."""
    words = "Gathered: convolve the padded dy with the kernel turned by 180\N{DEGREE SIGN}"
    sheet, cell, top = Sheet(80, 52, words), 3.6, 8.0
    weights = batch_last(KERNEL).transpose(0, 3, 1, 2).copy()
    dx = flat(kernels.conv2d_input_gradient(batch_last(ABOVE), weights, WINDOW, (1, 3, 3, 1)))
    middle = top + 2 * cell
    sheet.matrix(2, top + cell, KERNEL, cell, FOURS, caption="kernel", gap=cell + 1.7)
    sheet.arrow(10.2, middle, 13.8, middle, bend=-0.6)
    turned = {(1 - i, 1 - j): fill for (i, j), fill in FOURS.items()}
    over: dict[str, Any] = {"caption": "turned", "gap": cell + 1.7}
    sheet.matrix(15, top + cell, KERNEL[::-1, ::-1], cell, turned, **over)
    sheet.write(24.3, middle, "*", 18)
    padded, left = np.pad(ABOVE, 1), 27.0
    fills: Fills = {(i, j): PALE[LINE] for i in range(4) for j in range(4) if padded[i, j] == 0}
    fills.pop((1, 2))  # a true 0 of dy
    sheet.matrix(left, top, padded, cell, fills, caption="dy, padded by 1", gap=1.7)
    framed = left + cell + 0.25, top + cell + 0.25, 2 * cell - 0.5, 2 * cell - 0.5
    sheet.box(*framed, edge=RED, linewidth=2.4)
    sheet.write(44.0, middle, "=", 15)
    over = {"caption": "dx", "gap": cell / 2 + 1.7}
    sheet.matrix(47, top + 0.5 * cell, dx, cell, {(1, 1): PALE[RED]}, bold=True, **over)
    products = [
        f"{number(a)}{TIMES}{number(b) if b >= 0 else f'({number(b)})'}"
        for a, b in zip(KERNEL[::-1, ::-1].ravel(), ABOVE.ravel(), strict=True)
    ]
    lines = ["the framed window gives", " + ".join(products[:2])]
    lines += ["+ " + " + ".join(products[2:]), f"= {number(dx[1, 1])}"]
    for k, line in enumerate(lines):
        sheet.note(60.5, top + 1.1 * cell + 2.3 * k, line, 10, color=INK if k else SOFT)

    sheet.line([2, 78], [26.2, 26.2])
    words = "Scattered: each entry of dy lays its multiple of the kernel over its own window"
    sheet.title(words, y=29)
    top, left = 36.0, 2.0
    for k, (value, color) in enumerate(zip(ABOVE.ravel(), FOUR, strict=True)):
        i, j = divmod(k, 2)
        laid = np.zeros((3, 3))
        laid[i : i + 2, j : j + 2] = value * KERNEL
        inside = {(i + a, j + b): PALE[color] for a in (0, 1) for b in (0, 1)}
        sheet.soft(left + 1.5 * cell, top - 1.9, f"dy[{i}, {j}] = {number(value)}", 10)
        sheet.matrix(left, top, laid, cell, inside)
        sheet.write(left + 3 * cell + 2.15, top + 1.5 * cell, "=" if k == 3 else "+", 15)
        left += 3 * cell + 4.3
    sheet.matrix(left, top, dx, cell, bold=True, caption="dx", gap=1.9)
    return sheet.figure


def receptive_field() -> Figure:
    """One output and the pixels it sees, layer by layer, along one direction."""
    sheet = Sheet(80, 36, "The receptive field grows with every layer (one direction shown)")
    steps: dict[str, Sliding] = {
        "Conv2D, kernel 3": Conv2D(1, 3), "MaxPool2D, size 2": MaxPool2D(2),
        "Conv2D, kernel 3 ": Conv2D(1, 3),
    }  # fmt: skip
    layers, fields = list(steps.values()), [ReceptiveField()]
    for layer in layers:
        fields.append(fields[-1].behind(layer))
    pitch, first, bottom, rise = 4.4, 6.0, 29.5, 7.4
    centers = [
        [first + ((field.size[0] - 1) / 2 + k * field.jump[0]) * pitch for k in range(count)]
        for field, count in zip(fields, (11, 9, 4, 2), strict=True)
    ]
    marked: list[set[int]] = [{0}]
    for layer in reversed(layers):
        reach = range(layer.kernel_size[0])
        marked.insert(0, {k * layer.stride[0] + a for k in marked[0] for a in reach})
    for level, layer in enumerate(layers):
        heights = [bottom - (level + 1) * rise + 1.4, bottom - level * rise - 1.4]
        for k, center in enumerate(centers[level + 1]):
            look = (BLUE, 1.6) if k in marked[level + 1] else ("#D5DBE1", 0.8)
            for a in range(layer.kernel_size[0]):
                ends = [center, centers[level][k * layer.stride[0] + a]]
                sheet.line(ends, heights, *look, zorder=1.2 if look[0] == BLUE else 1)
    for level, (name, field) in enumerate(zip(["image", *steps], fields, strict=True)):
        y = bottom - level * rise
        for k, x in enumerate(centers[level]):
            on = k in marked[level]
            colors = (PALE[BLUE], BLUE) if on else (PAPER, LINE)
            sheet.box(x - 1.4, y - 1.4, 2.8, 2.8, *colors, linewidth=1.8 if on else 1.0)
        size, pixel = field.size[0], "pixel" if field.size[0] == 1 else "pixels"
        sheet.write(56.5, y - 0.9, name.strip(), ha="left", weight="bold")
        sheet.note(56.5, y + 1.3, f"sees {size} {pixel}, jump {field.jump[0]}", 10)
    return sheet.figure


def pooling() -> Figure:
    """Max and average pooling of one image: forward, and where the gradient goes."""
    words = "Max pooling: the winner of a window gets its whole gradient"
    sheet = Sheet(80, 53, words)
    sheet.title("Average pooling: every pixel of a window gets an equal share", y=29.4)
    x = np.array([[1.0, 3, 2, 2], [0, 2, 2, 1], [4, 1, 0, 1], [2, 1, 3, 2]])
    dy, cell, shape = np.array([[4.0, 8], [6, 2]]), 3.6, (1, 4, 4, 1)
    window = resolve_window("pool", (1, 4, 4), (2, 2), (2, 2), 0)
    y, winner = kernels.max_pool(batch_last(x), window)
    by_max = kernels.max_pool_gradient(batch_last(dy), winner, window, shape)
    counts = np.full(2, 2), np.full(2, 2)
    mean = kernels.average_pool(batch_last(x), counts, window)
    by_mean = kernels.average_pool_gradient(batch_last(dy), counts, window, shape)
    quarters = {(i, j): FOURS[i // 2, j // 2] for i in range(4) for j in range(4)}
    won = {  # where in the image the winner of each 2 x 2 window stands
        (2 * i + int(k) // 2, 2 * j + int(k) % 2): FOURS[i, j]
        for (i, j), k in np.ndenumerate(flat(winner))
    }
    for top, out, back, fills in ((8.5, y, by_max, won), (35.5, mean, by_mean, quarters)):
        middle = top + 2 * cell
        for left, name, values, colors in (
            (2.0, "x", x, fills), (23.8, "y", flat(out), FOURS), (38.4, "dy", dy, FOURS),
            (53.4, "dx", flat(back), fills),
        ):  # fmt: skip
            size = values.shape[0]
            high = middle - size / 2 * cell
            look: dict[str, Any] = {"caption": name, "gap": 1.6, "style": "italic"}
            sheet.matrix(left, high, values, cell, colors, **look)
            if size == 4:
                sheet.box(left, high, 2 * cell, 4 * cell, linewidth=1.2)
                sheet.box(left, high, 4 * cell, 2 * cell, linewidth=1.2)
        sheet.arrow(17.1, middle, 23.1, middle)
        sheet.arrow(46.3, middle, 52.7, middle)
        sheet.soft(20.0, middle - 1.6, "forward", 9)
        sheet.soft(49.4, middle - 1.6, "backward", 9)
    sheet.note(69.4, 14.2, "a tie:\nthe first\nof the equal\npixels wins")
    sheet.arrow(71.0, 9.6, 62.4, 8.2, bend=0.4, head=9)
    sheet.note(69.4, 39.0, "8 / 4 = 2")
    return sheet.figure


def activations() -> Figure:
    """Sigmoid, tanh and leaky ReLU beside their derivatives."""
    figure, z = Figure(figsize=(8, 3.5), dpi=DPI, facecolor=PAPER), np.linspace(-4, 4, 801)
    kinds = [
        (Sigmoid(), "sigmoid", BLUE, "-", (3.0, 0.72), (0.0, 0.36)),
        (Tanh(), "tanh", RED, "--", (-2.6, -0.80), (1.05, 0.68)),
        (LeakyReLU(0.1), "leaky ReLU, slope 0.1", GREEN, "-.", (1.25, 1.75), (2.0, 1.08)),
    ]
    left = plot_axes(figure, (0.06, 0.12, 0.42, 0.76), "y = f(z)")
    right = plot_axes(figure, (0.56, 0.12, 0.42, 0.76), "dy/dz, told from y alone")
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
    axes = plot_axes(figure, (0.08, 0.14, 0.89, 0.75), "Learning rate over a run of ten epochs")
    kinds: list[tuple[Schedule, str, str, str, tuple[float, float]]] = [
        (OneCycle(0.1, pct_start=0.3), "one-cycle", BLUE, "-", (2.0, 0.0945)),
        (Cosine(0.07), "cosine", RED, "--", (0.15, 0.0745)),
        (StepDecay(0.05, step_size=3, gamma=0.4), "step decay", GREEN, "-.", (3.2, 0.0155)),
        (WarmUp(Constant(0.03), steps=150), "warm-up, constant", PURPLE, ":", (7.7, 0.0338)),
    ]
    per_epoch, steps = 100, np.arange(1000)
    for schedule, name, color, style, place in kinds:
        rates = [schedule.at(Progress(int(step), len(steps), per_epoch)) for step in steps]
        axes.plot(steps / per_epoch, rates, style, color=color, linewidth=2.4)
        look: dict[str, Any] = {"color": color, "size": 10.5, "weight": "bold", "va": "center"}
        axes.text(*place, name, ha="right" if name == "one-cycle" else "left", **look)
    axes.set_xlabel("epoch", size=10.5, color=SOFT)
    axes.set(xlim=(0, 10), ylim=(0, 0.105), xticks=range(11))
    return figure


def shard_tree() -> Figure:
    """Eight shards, their fixed tree of sums, and two ways to share the work."""
    sheet = Sheet(80, 47, "One mini-batch, eight shards, one tree of sums")
    left, pitch, width, bottom, rise = 16.5, 7.8, 6.4, 29.0, 7.0
    centers = [left + pitch * k + width / 2 for k in range(8)]

    def node(x: float, y: float, word: str) -> None:
        look: dict[str, Any] = {"facecolor": PAPER, "edgecolor": INK, "linewidth": 1.2}
        shape = FancyBboxPatch((x - 1.4, y - 1.1), 2.8, 2.2, boxstyle="round,pad=0.4", **look)
        sheet.axes.add_patch(shape)
        sheet.write(x, y, word, 10.5 if len(word) > 1 else 13)

    level, y = centers, bottom
    words = [f"g{k}" for k in range(8)]
    while len(level) > 1:
        above = [(a + b) / 2 for a, b in zip(level[::2], level[1::2], strict=True)]
        for k, x in enumerate(level):
            sheet.line([x, above[k // 2]], [y - 1.6, y - rise + 1.6], SOFT, 1.4)
        for x, word in zip(level, words, strict=True):
            node(x, y, word)
        words = ["+"] * len(above)
        level, y = above, y - rise
    node(level[0], y, "+")
    sheet.write(level[0] + 3.2, y, "the gradient: one optimizer step", ha="left")
    sheet.note(2, bottom, "gradients", 10.5)
    sheet.note(2, bottom + 4.6, "shards", 10.5)
    for k, x in enumerate(centers):
        low = bottom + 3.2
        sheet.box(x - width / 2, low, width, 2.8, PALE[LINE], SOFT, f"shard {k}", 9)
        sheet.arrow(x, bottom + 3.1, x, bottom + 1.7, head=9, linewidth=1.1)
    names = {"A": BLUE, "B": RED, "C": GREEN}
    for row, (threads, plan) in enumerate([("1 thread", "AAAAAAAA"), ("3 threads", "ABCBACAB")]):
        y = bottom + 9.3 + 3.4 * row
        sheet.note(2, y, threads, 10.5)
        for x, who in zip(centers, plan, strict=True):
            sheet.tint(x - width / 2, y - 1.3, width, 2.6, names[who], f"thread {who}", 9)
    said = "Who computes a shard may change. What is added to what never does: the same bits."
    sheet.write(centers[0] - width / 2, bottom + 16.2, said, 10, ha="left")
    return sheet.figure


def memory_layout() -> Figure:
    """Four small images in memory: batch first and batch last."""
    words = "Four images of 2 x 3 pixels, one color each, as they lie in memory"
    sheet, letters, cell, width = Sheet(80, 43, words), "abcdef", 3.0, 76 / 24
    for n, color in enumerate(FOUR):
        x = 6.5 + n * 19
        for k, letter in enumerate(letters):
            i, j = divmod(k, 3)
            sheet.tint(x + j * cell, 5.6 + i * cell, cell, cell, color, letter)
        sheet.soft(x + 1.5 * cell, 13.2, f"sample {n}", 9.5)
    first = [(n, k) for n in range(4) for k in range(6)]
    for y, words, order in (
        (19.8, "Batch first (samples, channels, height, width): pixels a and b lie in four runs",
         first),
        (32.0, "Batch last (channels, height, width, samples): the same pixels lie in one run",
         sorted(first, key=lambda place: place[1])),
    ):  # fmt: skip
        sheet.write(2, y - 2.0, words, ha="left")
        for place, (n, k) in enumerate(order):
            sheet.tint(2 + place * width, y, width, 3.0, FOUR[n], letters[k])
        for start, stop in _runs([k < 2 for _, k in order]):
            sheet.bracket(2 + start * width + 0.3, 2 + stop * width - 0.3, y)
    words = "A tap of a window is a slice x[:, i, j:j+w]: long runs feed the vector units."
    sheet.note(2, 40.8, words, 10.5)
    return sheet.figure


def _runs(wanted: Sequence[bool]) -> list[tuple[int, int]]:
    """The first place of every unbroken run, and the one behind it."""
    edges = np.flatnonzero(np.diff(np.array([0, *wanted, 0], int)))
    return [(int(a), int(b)) for a, b in edges.reshape(-1, 2)]


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
    sheet = Sheet(80, 8 + 7.2 * len(levels), "Imports run down the stairs, never up")
    for k, level in enumerate(levels):
        y, width = 6.0 + 7.2 * k, (76 - 1.5 * (len(level) - 1)) / len(level)
        for n, room in enumerate(level):
            x = 2 + n * (width + 1.5)
            color = GREEN if room.startswith("glassbox") else RED
            sheet.tint(x, y, width, 5.6, color, linewidth=1.6)
            sheet.write(x + 1.0, y + 1.9, room, ha="left", weight="bold")
            sheet.note(x + 1.0, y + 4.1, PURPOSES[room], 8.5)
        if k:
            sheet.arrow(40, y - 1.5, 40, y - 0.1)
    return sheet.figure


PICTURES = {picture.__name__: picture for picture in (
    convolution, unfolding, turned_kernel, receptive_field, pooling, activations, schedules,
    shard_tree, memory_layout, stairs,
)}  # fmt: skip

if __name__ == "__main__":
    pen.main(PICTURES, ROOT / "docs" / "pictures")
