"""Draw the pictures of performance.md: python docs/draw_performance.py [folder].

The pen and the colors are those of draw_pictures.py.  What is computed (where a layer stands under
the roofline, Winograd's numbers, the lines of a cache) comes from the engine's own shapes and
matrices; the two time lines are sketches, and say so.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from math import prod
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
sys.path.insert(0, str(Path(__file__).resolve().parent))

from draw_pictures import (
    BLUE,
    DPI,
    FOUR,
    GREEN,
    INK,
    LINE,
    ORANGE,
    PALE,
    PAPER,
    PURPLE,
    RED,
    SOFT,
    Fills,
    arrow,
    box,
    matrix,
    sheet,
    title,
    write,
)

from benchmarks.networks import network
from glassbox.kernels.compiled.convolution import plan
from glassbox.kernels.compiled.vectors import IN, OUT, WEIGHTS
from glassbox.kernels.shapes import resolve_window

TIMES = "\N{MULTIPLICATION SIGN}"

# --- the roofline ----------------------------------------------------------------------------

# Round figures for one core of a processor with AVX-512, per cycle.
LANES = 16  # float32 numbers in a vector: as many multiply-adds
BYTES = {"first cache": 64, "second cache": 32, "memory": 4}
SHARD = 32  # samples


def intensity(name: str, layer: str, samples: int = SHARD) -> float:
    """Multiply-adds per byte, if a layer's input, weights and output are each moved once."""
    (found,) = (one for one in network(name, kernels="numpy").layers if one.name == layer)
    moved = samples * (prod(found.input_shape) + prod(found.output_shape))
    moved += sum(array.size for array in found.parameters.values())
    return samples * found.multiply_adds() / (4 * moved)


def winograd_work(channels: int, filters: int) -> float:
    """Operations for 16 outputs, one channel and one filter, where the definition has 144."""
    into, back = (sum(a != 0 for row in M for a in row) - len(M) for M in (IN, OUT))
    return 36 + 12 * into / filters + 10 * back / channels


SLOPE = 39.8  # degrees, of a line in the picture along which both axes double


def roofline() -> Figure:
    """Where each kind of layer stands: under the slope of memory, or under the flat roof."""
    figure = Figure(figsize=(8, 5.2), dpi=DPI, facecolor=PAPER)
    axes = figure.add_axes((0.085, 0.115, 0.885, 0.80))
    axes.set_title(
        "Who waits for memory, and who for arithmetic",
        loc="left", size=12, color=INK, weight="bold", x=-0.06, pad=10,
    )  # fmt: skip
    low, high = 2.0**-5, 2.0**7
    for axis, limits, name in (
        (axes.xaxis, (low, high), "arithmetic intensity: multiply-adds or comparisons per byte"),
        (axes.yaxis, (2.0**-2, 2.0**6.4), "multiply-adds or comparisons per cycle of one core"),
    ):
        axis.axes.set(**{f"{axis.axis_name}scale": "log", f"{axis.axis_name}lim": limits})
        powers = [2.0**k for k in range(-5, 8) if limits[0] <= 2.0**k <= limits[1]]
        axis.set_ticks(powers, [f"{x:g}" if x >= 1 else f"1/{1 / x:g}" for x in powers])
        axis.set_ticks([], minor=True)
        axis.set_label_text(name, size=10, color=SOFT)
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color(LINE)
    axes.tick_params(colors=SOFT, labelsize=9.5)
    axes.grid(color="#E4E7EB", linewidth=0.7)
    axes.set_axisbelow(True)
    for (name, bytes_), color, style in zip(
        BYTES.items(), (GREEN, BLUE, RED), (":", "--", "-"), strict=True
    ):
        ridge = LANES / bytes_
        axes.plot([low, ridge], [low * bytes_, LANES], style, color=color, linewidth=2.2)
        below = name == "memory"
        start = 2**-1.35 if below else low * 1.1
        axes.text(
            start, start * bytes_ * (0.86 if below else 1.14), f"{name}: {bytes_} bytes a cycle",
            size=9, color=color, rotation=SLOPE, rotation_mode="anchor",
            va="top" if below else "bottom",
        )  # fmt: skip
    axes.plot([LANES / BYTES["first cache"], high], [LANES, LANES], color=INK, linewidth=2.4)
    axes.text(2**-1.9, 2**4.15, "one vector of 16 each cycle", size=9, va="bottom")
    _layers_under_the_roof(axes)
    return figure


def _layers_under_the_roof(axes: Axes) -> None:
    """Each layer at its intensity: hollow with its arrays in memory, full in the second cache."""
    pool = 4 / (4 * 4 + 4 + 1)  # four comparisons; four pixels read, one and its place written
    layers = [
        ("leaky ReLU\nby itself", 1 / 8, (-3.12, 0.05), "right"),
        ("max pooling\n2 x 2", pool, (-2.3, -1.25), "left"),
        ("dense 784 to 72,\none image", intensity("D 8/16", "dense1", 1), (-1.85, 2.35), "left"),
        ("convolution\n1 to 8 channels", intensity("D 8/16", "conv1"), (1.2, 2.45), "left"),
        ("dense 784 to 72,\n32 images", intensity("D 8/16", "dense1"), (2.43, 4.65), "center"),
        ("convolution\n8 to 16", intensity("D 8/16", "conv2"), (3.57, 3.35), "center"),
        ("convolution\n32 to 64", intensity("B", "conv2"), (5.5, 3.35), "center"),
    ]
    for name, x, (right, up), side in layers:
        slow, fast = (min(LANES, x * BYTES[where]) for where in ("memory", "second cache"))
        if fast > slow:
            arrow(axes, (x, slow * 1.12), (x, fast * 0.9), mutation_scale=9, linewidth=1.1)
        axes.plot(x, slow, "o", color=RED, markerfacecolor=PAPER, markersize=10, zorder=4)
        axes.plot(x, fast, "o", color=BLUE, markersize=6, zorder=4)
        axes.text(2.0**right, 2.0**up, name, size=9, ha=side, va="center")
    x, work = intensity("B", "conv2"), winograd_work(32, 64)
    top = LANES * 144 / work
    arrow(axes, (x, LANES * 1.2), (x, top * 0.92), PURPLE)
    axes.plot(x, top, "D", color=PURPLE, markersize=7.5)
    words = f"Winograd: {144 / work:.1f} times fewer operations,\nso it may pass the roof"
    axes.text(x * 0.88, top, words, size=9, ha="right", va="center")
    for place, words, size, fill in (
        (5.95, "arrays in the second cache", 6, BLUE), (5.45, "arrays in memory", 10, PAPER),
    ):  # fmt: skip
        color = BLUE if fill == BLUE else RED
        axes.plot(2**-4.7, 2**place, "o", color=color, markerfacecolor=fill, markersize=size)
        axes.text(2**-4.5, 2**place, words, size=9, va="center")


# --- batch last ------------------------------------------------------------------------------


def batch_last() -> Figure:
    """A vector of four lanes filled from memory in either order."""
    figure, axes = sheet(80, 50)
    title(axes, "Filling a vector of four lanes: pixel b of four samples, one color each")
    letters, width, high = "abcdef", 76 / 24, 3.0
    orders = (
        (7.6, "Batch first: four loads, each for one number",
         [(n, k) for n in range(4) for k in range(6)]),
        (26.4, "Batch last: one load",
         [(n, k) for k in range(6) for n in range(4)]),
    )  # fmt: skip
    lane, left = 3.6, 31.0
    for y, words, order in orders:
        write(axes, 2, y - 1.9, words, 10.5, ha="left")
        low = y + 8.4
        for place, (n, k) in enumerate(order):
            x = 2 + place * width
            wanted = letters[k] == "b"
            fill = PALE[FOUR[n]] if wanted else PAPER
            box(axes, x, y, width, high, fill, edgecolor=FOUR[n] if wanted else LINE,
                zorder=2 if wanted else 1)  # fmt: skip
            write(axes, x + width / 2, y + high / 2, letters[k], 10.5,
                  color=INK if wanted else LINE)  # fmt: skip
            if wanted and y < 20:
                arrow(axes, (x + width / 2, y + high + 0.2), (left + (n + 0.5) * lane, low - 0.2),
                      FOUR[n], mutation_scale=9)  # fmt: skip
        if y > 20:
            start = 2 + 4 * width
            axes.plot([start + 0.2, start + 0.2, start + 4 * width - 0.2, start + 4 * width - 0.2],
                      [y + 3.4, y + 4.3, y + 4.3, y + 3.4], color=INK, linewidth=1.6)  # fmt: skip
            arrow(axes, (start + 2 * width, y + 4.5), (left + 2 * lane, low - 0.2), INK)
        for n in range(4):
            box(axes, left + n * lane, low, lane, 3.2, PALE[FOUR[n]], edgecolor=FOUR[n])
            write(axes, left + (n + 0.5) * lane, low + 1.6, "b", 10.5)
        write(axes, left + 4 * lane + 1.2, low + 1.6, "a register", 9.5, ha="left", color=SOFT)
    low, gap = 34.8, 5.2
    for row, (sign, words) in enumerate(
        (
            (TIMES, "one weight, in all lanes"),
            ("+", "the sums of four samples, in another register"),
        )
    ):
        y = low + gap * (row + 1)
        write(axes, left - 2.2, y + 1.6, sign, 14)
        for n in range(4):
            x = left + n * lane
            if row == 0:
                box(axes, x, y, lane, 3.2, PALE[LINE], edgecolor=SOFT)
                write(axes, x + lane / 2, y + 1.6, "w", 10.5)
            else:
                box(axes, x, y, lane, 3.2, PALE[FOUR[n]], edgecolor=FOUR[n])
                write(axes, x + lane / 2, y + 1.6, "z", 10.5, style="italic")
        write(axes, left + 4 * lane + 1.2, y + 1.6, words, 9.5, ha="left", color=SOFT)
    write(axes, 2, low + 1.6 + gap, "one instruction:", 9.5, ha="left", color=SOFT)
    write(axes, 2, low + 1.6 + gap + 2.2, "four multiply-adds", 9.5, ha="left", color=SOFT)
    return figure


# --- the register block ----------------------------------------------------------------------


def register_block() -> Figure:
    """4 x 4 vectors of sums, the pixels and weights of one tap, and where the block goes next."""
    figure, axes = sheet(80, 54)
    title(axes, "One tap of a 3 x 3 kernel: 4 vectors of pixels, 4 weights, 16 multiply-adds")
    across = 8
    window = resolve_window("Conv2D", (1, 5, across), (3, 3), (1, 1), "valid")
    offsets = plan(window, 1, 5, across, 1).taps
    tap, cell, left, top = 5, 3.1, 2.0, 9.6
    write(axes, left, top - 3.1, "one channel of the padded image,", 9.5, ha="left", color=SOFT)
    write(axes, left, top - 1.2, "a square is one pixel of 16 samples", 9.5, ha="left", color=SOFT)
    first = int(offsets[tap])
    for i in range(5):
        for j in range(across):
            here = i * across + j
            inside = first <= here < first + 4
            box(axes, left + j * cell, top + i * cell, cell, cell, PALE[BLUE] if inside else PAPER,
                edgecolor=BLUE if inside else LINE, zorder=2 if inside else 1)  # fmt: skip
    for k, offset in enumerate(offsets):
        i, j = divmod(int(offset), across)
        write(axes, left + (j + 0.5) * cell, top + (i + 0.5) * cell, f"{k}", 9,
              color=INK if k == tap else SOFT)  # fmt: skip
    box(axes, left, top, 3 * cell, 3 * cell, edgecolor=ORANGE, linewidth=2.2, zorder=3)
    write(axes, left, top + 5 * cell + 1.8, "taps[k] + run: where the four vectors of tap k begin",
          9.5, ha="left", color=SOFT)  # fmt: skip

    # the product: weights beside, pixels above, sums in between
    x, y, wide, size = 46.5, 12.6, 5.2, 4.2
    arrow(axes, (left + 6 * cell + 0.3, top + 1.5 * cell), (x - 0.6, y - 3.0), BLUE,
          connectionstyle="arc3,rad=-0.12")  # fmt: skip
    write(axes, x + 2 * wide, y - 6.0, f"4 loads: pixels of tap {tap}", 9.5, color=SOFT)
    for c in range(4):
        box(axes, x + c * wide, y - 4.6, wide, 3.4, PALE[BLUE], edgecolor=BLUE)
        write(axes, x + (c + 0.5) * wide, y - 2.9, f"x{c}", 10)
    for r in range(4):
        box(axes, x - 5.2, y + r * size, 3.6, size, PALE[ORANGE], edgecolor=ORANGE)
        write(axes, x - 3.4, y + (r + 0.5) * size, f"w{r}", 10)
        for c in range(4):
            box(axes, x + c * wide, y + r * size, wide, size, PALE[GREEN], edgecolor=GREEN)
            write(axes, x + (c + 0.5) * wide, y + (r + 0.5) * size, f"+w{r} x{c}", 8)
    write(axes, x - 6.2, y + 2 * size, "4 filters:\ntheir weight\nof this tap", 9.5, ha="right",
          color=SOFT)  # fmt: skip
    write(axes, x + 4 * wide + 1.2, y + 2 * size, "16 sums,\na register\neach", 9.5, ha="left",
          color=SOFT)  # fmt: skip

    # what the block becomes: outputs, and the next block
    low, width = 39.6, 3.1
    axes.plot([2, 78], [low - 5.0, low - 5.0], color=LINE, linewidth=0.8)
    write(axes, 2, low - 2.6, "After the last tap of the last channel the block is stored, and the "
          "next one begins four vectors further on.", 10, ha="left")  # fmt: skip
    for r in range(4):
        write(axes, 2, low + (r + 0.5) * 2.4, f"filter {r}", 9, ha="left", color=SOFT)
        for c in range(16):
            inside, after = c < 4, 4 <= c < 8
            fill = PALE[GREEN] if inside else PAPER
            box(axes, 9.5 + c * width, low + r * 2.4, width, 2.4, fill, edgecolor=LINE)
            if after and r == 0 and c == 4:
                box(axes, 9.5 + 4 * width, low, 4 * width, 9.6, edgecolor=GREEN, linewidth=1.8,
                    linestyle="--", zorder=3)  # fmt: skip
    box(axes, 9.5, low, 4 * width, 9.6, edgecolor=GREEN, linewidth=2.2, zorder=3)
    arrow(axes, (9.5 + 2 * width, low + 11.0), (9.5 + 6 * width, low + 11.0), GREEN,
          connectionstyle="arc3,rad=0.25")  # fmt: skip
    write(axes, 9.5 + 8 * width, low + 11.6, "outputs, as they lie in memory", 9.5, ha="left",
          color=SOFT)  # fmt: skip
    return figure


# --- Winograd --------------------------------------------------------------------------------

PIXELS = np.array([
    [0.0, 0, 1, 2, 1, 0], [0, 1, 3, 3, 1, 0], [0, 0, 1, 3, 2, 0],
    [0, 0, 2, 3, 1, 0], [0, 1, 3, 2, 0, 0], [0, 2, 3, 3, 3, 1],
])  # fmt: skip
KERNEL = np.array([[1.0, 0, -1], [2, 1, -2], [1, 0, -1]])


def winograd() -> Figure:
    """One tile: pixels and weights into the other basis, 36 products, and back."""
    figure, axes = sheet(80, 56)
    into, weights, back = (np.array(M, float) for M in (IN, WEIGHTS, OUT))
    v, u = into @ PIXELS @ into.T, weights @ KERNEL @ weights.T
    m = u * v
    y = back @ m @ back.T
    cell, top, low = 3.4, 8.8, 32.2
    six, left, middle, right = 6 * 3.4, 2.0, 31.0, 57.6
    title(axes, "F(4 x 4, 3 x 3): 36 products for 16 outputs, where the definition has 144")

    def grid(x: float, high: float, values: np.ndarray, color: str, size: float) -> None:
        shown = np.round(values, 2 if np.abs(values).max() < 10 else 1)
        fills: Fills = {place: PALE[color] for place in np.ndindex(values.shape)}
        matrix(axes, x, high, shown, cell, fills, size)

    write(axes, left + six / 2, top - 1.5, "6 x 6 pixels x", 9.5, color=SOFT)
    grid(left, top, PIXELS, BLUE, 9)
    arrow(axes, (left + six + 0.8, top + six / 2), (middle - 0.8, top + six / 2))
    write(axes, (left + six + middle) / 2, top + six / 2 - 1.7, "IN x IN\u1d40", 8.5)
    write(axes, middle + six / 2, top - 1.5, "pixels in the new basis", 9.5, color=SOFT)
    grid(middle, top, v, BLUE, 8)

    third = low + six / 2 - 1.5 * cell
    write(axes, left + 1.5 * cell, third - 1.5, "3 x 3 weights w", 9.5, color=SOFT)
    grid(left, third, KERNEL, ORANGE, 9)
    arrow(axes, (left + 3 * cell + 0.8, low + six / 2), (middle - 0.8, low + six / 2))
    write(axes, (left + 3 * cell + middle) / 2, low + six / 2 - 1.7,
          "WEIGHTS w WEIGHTS\u1d40", 8.5)  # fmt: skip
    grid(middle, low, u, ORANGE, 6.5)
    write(axes, middle + six / 2, low + six + 1.5, "weights in the new basis", 9.5, color=SOFT)

    between = (top + six + low) / 2
    write(axes, middle + six / 2, between, f"{TIMES} place by place", 10)
    arrow(axes, (middle + six + 0.8, between), (right - 0.4, top + six + 0.6),
          connectionstyle="arc3,rad=0.15")  # fmt: skip
    write(axes, right + six / 2, top - 3.2, "36 products; summed over all", 9.5, color=SOFT)
    write(axes, right + six / 2, top - 1.4, "channels before they go back", 9.5, color=SOFT)
    grid(right, top, m, GREEN, 6.5)
    fourth = low + six / 2 - 1.2 * cell
    arrow(axes, (right + six / 2, top + six + 0.6), (right + six / 2, fourth - 0.6))
    write(axes, right + six / 2 + 1.0, (top + six + fourth) / 2, "OUT m OUT\u1d40", 8.5, ha="left")
    grid(right + cell, fourth, y, PURPLE, 9)
    write(axes, right + six / 2, fourth + 4 * cell + 1.5, "4 x 4 outputs", 9.5, color=SOFT)
    return figure


# --- threads ---------------------------------------------------------------------------------


def threads() -> Figure:
    """Two threads: kernels that keep Python's lock, that let it go, and shards too small."""
    figure, axes = sheet(80, 47)
    title(axes, "Two threads, two shards (a sketch)")
    for x, color, words in (
        (39.0, BLUE, "a kernel"), (51, ORANGE, "Python, one at a time"), (69.5, LINE, "waiting"),
    ):  # fmt: skip
        box(axes, x, 1.6, 2.0, 1.6, PALE[color], edgecolor=color)
        write(axes, x + 2.6, 2.4, words, 9, ha="left", color=SOFT)
    python, kernel, short, turn = (ORANGE, 1.2), (BLUE, 8.0), (BLUE, 1.4), (LINE, 9.2)
    held, free, small = [python, kernel, turn] * 3, [python, kernel] * 3, [python, short] * 3
    pictures = [
        (
            "Kernels keep Python's lock: the threads take turns, and two are no faster than one.",
            {"thread A": held[:-1], "thread B": [turn, *held[:-1]]},
        ),
        (
            "Kernels let it go (nogil): only the slivers between them exclude each other.",
            {"thread A": free, "thread B": [(LINE, 1.2), *free]},
        ),
        (
            "Small shards: waking a second thread costs more than it saves.",
            {"thread A": small, "thread B": [(LINE, 12.0), *small], "A alone": small + small},
        ),
    ]
    for row, (words, lanes) in enumerate(pictures):
        y = 9.6 + 12.8 * row
        write(axes, 2, y - 2.2, words, 10, ha="left")
        for n, (name, lane) in enumerate(lanes.items()):
            at, x = y + 3.7 * n, 11.0
            write(axes, 2, at + 1.3, name, 9.5, ha="left", color=SOFT)
            for color, length in lane:
                box(axes, x, at, length, 2.6, PALE[color], edgecolor=color)
                x += length
            if row == 2 and n == 1:
                write(axes, 17, at + 1.3, "waking: 50 \u00b5s", 9, color=SOFT)
            if row == 2 and n == 2:
                write(axes, x + 1.2, at + 1.3, "both shards, and done sooner", 9, ha="left",
                      color=SOFT)  # fmt: skip
    return figure


# --- capture ---------------------------------------------------------------------------------

# Steps per second of one image, system D's network: python -m benchmarks.capture
BY_LAYERS, CAPTURED = 1e6 / 202, 1e6 / 84


def capture() -> Figure:
    """One step of one image, eager and captured."""
    figure, axes = sheet(80, 35.5)
    title(axes, "One training step on one image")
    for x, color, words in ((36.0, BLUE, "kernels"), (47, ORANGE, "Python around them"),
                             (64, GREEN, "the new image")):  # fmt: skip
        box(axes, x, 1.6, 2.0, 1.6, PALE[color], edgecolor=color)
        write(axes, x + 2.6, 2.4, words, 9, ha="left", color=SOFT)
    count, scale, left = 12, 76 / (1e6 / BY_LAYERS), 2.0
    whole, short = (1e6 / rate * scale for rate in (BY_LAYERS, CAPTURED))
    fill = 2.2
    kernel, sliver = (short - fill) / count * 0.85, (short - fill) / count * 0.15
    walk = (whole - count * kernel) / count
    y, low = 9.0, 22.6
    write(axes, left, y - 2.0, f"Eager: {1e6 / BY_LAYERS:.0f} \u00b5s. Layers ask, arrays "
          "are allocated, tables are looked up.", 10, ha="left")  # fmt: skip
    upper, lower = [], []
    x = left
    for _ in range(count):
        box(axes, x, y, walk, 4.0, PALE[ORANGE], edgecolor=ORANGE)
        box(axes, x + walk, y, kernel, 4.0, PALE[BLUE], edgecolor=BLUE)
        upper.append(x + walk + kernel / 2)
        x += walk + kernel
    box(axes, left, low, fill, 4.0, PALE[GREEN], edgecolor=GREEN)
    x = left + fill
    for _ in range(count):
        box(axes, x, low, sliver, 4.0, PALE[ORANGE], edgecolor=ORANGE, linewidth=0.6)
        box(axes, x + sliver, low, kernel, 4.0, PALE[BLUE], edgecolor=BLUE)
        lower.append(x + sliver + kernel / 2)
        x += sliver + kernel
    for a, b in zip(upper, lower, strict=True):
        axes.plot([a, b], [y + 4.2, low - 0.2], color=BLUE, linewidth=0.7, alpha=0.6)
    write(axes, x + 1.5, low + 2.0, f"Captured: {1e6 / CAPTURED:.0f} \u00b5s. The same "
          "kernels,\nthe same arrays, nothing else.", 10, ha="left")  # fmt: skip
    write(axes, left, low + 8.2, "The lengths of the two steps are as measured (system D's network,"
          " some 40 kernel calls).", 9.5, ha="left", color=SOFT)  # fmt: skip
    write(axes, left, low + 10.4, "How a step divides into its parts is a sketch.", 9.5, ha="left",
          color=SOFT)  # fmt: skip
    return figure


# --- the lines of a cache --------------------------------------------------------------------

LINE_BYTES, SETS, WAYS = 64, 64, 8  # of a first cache of 32 kB
VECTOR = 64  # bytes, AVX-512


def lines_used(rows: int, behind: int) -> np.ndarray:
    """How many of the 36 places of Winograd's scratch want each set of the first cache.

    A place has rows x 4 vectors, and `behind` more after them.
    """
    starts = np.arange(36) * (rows * 4 + behind) * VECTOR
    return np.bincount(starts // LINE_BYTES % SETS, minlength=SETS)


def cache_sets() -> Figure:
    """Where one vector of each of the 36 places goes, without and with a vector between them."""
    figure, axes = sheet(80, 56)
    title(axes, f"36 vectors for a cache of {SETS} sets, each with room for {WAYS} lines")
    cell, left = 2.5, 27.0
    write(axes, left + 4 * cell, 5.8, "32 channels of pixels", 10)
    write(axes, left + 26 + 4 * cell, 5.8, "4 filters of products", 10)
    for row, (behind, words) in enumerate((
        (0, "one place right\nbehind the other:\nat distances of\na power of two"),
        (1, "one more vector\nbehind each place"),
    )):  # fmt: skip
        top = 7.6 + 25.0 * row
        write(axes, 2, top + 4 * cell, words, 10.5, ha="left", va="center")
        for column, rows in enumerate((32, 4)):
            x = left + 26 * column
            used = lines_used(rows, behind)
            for place, count in enumerate(used):
                i, j = divmod(place, 8)
                color = RED if count > WAYS else GREEN
                box(axes, x + j * cell, top + i * cell, cell, cell,
                    PALE[color] if count else PAPER, edgecolor=LINE, linewidth=0.8)  # fmt: skip
                if count:
                    write(axes, x + (j + 0.5) * cell, top + (i + 0.5) * cell, f"{count}",
                          8.5, weight="bold" if count > WAYS else "normal")  # fmt: skip
            worst, sets = used.max(), np.count_nonzero(used)
            said = "set" if sets == 1 else "sets"
            fits = "do not fit" if worst > WAYS else "room for all"
            write(axes, x + 4 * cell, top + 8 * cell + 1.3, f"in {sets} {said}: {fits}", 9.5,
                  color=RED if worst > WAYS else GREEN, weight="bold")  # fmt: skip
    return figure


# --- the first run ---------------------------------------------------------------------------


def first_run() -> Figure:
    """From a kernel's source to machine code on disk, and every later run."""
    figure, axes = sheet(80, 39)
    title(axes, "A kernel is compiled once for a kind of processor")
    steps = [
        ("the kernel", "a Python function\nof arrays", BLUE),
        ("Numba", "finds the types\nfrom the arguments", GREEN),
        ("LLVM", "writes instructions\nof this processor", GREEN),
        ("machine code", "runs without\nPython's lock", PURPLE),
    ]
    width, high, top, pitch = 15.6, 7.6, 9.0, 20.2
    write(axes, 2, top - 2.2, "First run (some seconds, and it says so)", 10, ha="left")
    for k, (name, words, color) in enumerate(steps):
        x = 2 + pitch * k
        box(axes, x, top, width, high, PALE[color], edgecolor=color, linewidth=1.6)
        write(axes, x + width / 2, top + 1.7, name, 10.5, weight="bold")
        write(axes, x + width / 2, top + 4.9, words, 9, color=SOFT)
        if k:
            arrow(axes, (x - pitch + width + 0.3, top + high / 2), (x - 0.3, top + high / 2))
    low = 25.4
    x = 2 + pitch * 3
    folder = x - 22.6
    box(axes, folder, low, 38.2, 5.6, PALE[ORANGE], edgecolor=ORANGE, linewidth=1.6)
    write(axes, folder + 19.1, low + 1.7, "a folder on disk", 10.5, weight="bold")
    write(axes, folder + 19.1, low + 3.9, "named after the text of all these sources", 9,
          color=SOFT)  # fmt: skip
    arrow(axes, (x + 5.2, top + high + 0.3), (x + 5.2, low - 0.3))
    write(axes, x + 4.2, (top + high + low) / 2, "kept", 9, ha="right", color=SOFT)
    arrow(axes, (x + 10.4, low - 0.3), (x + 10.4, top + high + 0.3))
    write(axes, x + 11.2, (top + high + low) / 2, "read", 9, ha="left", color=SOFT)
    write(axes, 2, low + 1.7, "Every later run reads it", 10, ha="left")
    write(axes, 2, low + 3.9, "(Numba itself takes half a second to import).", 9.5, ha="left",
          color=SOFT)  # fmt: skip
    write(axes, 2, low + 11.2, "Without Numba: the same layers with the kernels in pure NumPy.", 10,
          ha="left")  # fmt: skip
    return figure


PICTURES: dict[str, Callable[[], Figure]] = {
    "roofline": roofline,
    "batch_last": batch_last,
    "register_block": register_block,
    "winograd": winograd,
    "threads": threads,
    "capture": capture,
    "cache_sets": cache_sets,
    "first_run": first_run,
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
    here = Path(__file__).parent / "pictures_performance"
    for path in draw(Path(sys.argv[1]) if len(sys.argv) > 1 else here):
        print(f"{path.name}: {path.stat().st_size / 1024:.0f} kB")
