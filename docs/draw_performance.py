"""Draw the pictures of performance.md: python docs/draw_performance.py [folder].

What is computed (where a layer stands under the roofline, Winograd's numbers, the lines of a cache)
comes from the engine's own shapes and matrices; the two time lines are sketches, and say so.
"""
# isort: skip_file

from __future__ import annotations

import sys
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
sys.path.insert(0, str(Path(__file__).resolve().parent))

import pen
from pen import (
    BLUE, DPI, FOUR, GREEN, INK, LINE, ORANGE, PALE, PAPER, PURPLE, RED, SOFT, TIMES, Fills, Sheet,
)  # fmt: skip

from benchmarks.networks import network
from glassbox.kernels.compiled.convolution import plan
from glassbox.kernels.compiled.vectors import IN, OUT, WEIGHTS
from glassbox.kernels.shapes import resolve_window

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
    words = "Who waits for memory, and who for arithmetic"
    axes = pen.plot_axes(figure, (0.085, 0.115, 0.885, 0.80), words, 0.7, x=-0.06, pad=10)
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
    for (name, bytes_), look in zip(BYTES.items(), ((GREEN, ":"), (BLUE, "--"), (RED, "-")),
                                    strict=True):  # fmt: skip
        ridge, below = LANES / bytes_, name == "memory"
        axes.plot([low, ridge], [low * bytes_, LANES], look[1], color=look[0], linewidth=2.2)
        start, off, side = (2**-1.35, 0.86, "top") if below else (low * 1.1, 1.14, "bottom")
        words = f"{name}: {bytes_} bytes a cycle"
        axes.text(start, start * bytes_ * off, words, size=9, color=look[0], rotation=SLOPE,
                  rotation_mode="anchor", va=side)  # fmt: skip
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
            pen.arrow(axes, (x, slow * 1.12), (x, fast * 0.9), head=9, linewidth=1.1)
        axes.plot(x, slow, "o", color=RED, markerfacecolor=PAPER, markersize=10, zorder=4)
        axes.plot(x, fast, "o", color=BLUE, markersize=6, zorder=4)
        axes.text(2.0**right, 2.0**up, name, size=9, ha=side, va="center")
    x, work = intensity("B", "conv2"), winograd_work(32, 64)
    top = LANES * 144 / work
    pen.arrow(axes, (x, LANES * 1.2), (x, top * 0.92), PURPLE)
    axes.plot(x, top, "D", color=PURPLE, markersize=7.5)
    words = f"Winograd: {144 / work:.1f} times fewer operations,\nso it may pass the roof"
    axes.text(x * 0.88, top, words, size=9, ha="right", va="center")
    for place, words, size, color, fill in (
        (5.95, "arrays in the second cache", 6, BLUE, BLUE),
        (5.45, "arrays in memory", 10, RED, PAPER),
    ):
        axes.plot(2**-4.7, 2**place, "o", color=color, markerfacecolor=fill, markersize=size)
        axes.text(2**-4.5, 2**place, words, size=9, va="center")


def batch_last() -> Figure:
    """A vector of four lanes filled from memory in either order."""
    words = "Filling a vector of four lanes: pixel b of four samples, one color each"
    sheet, letters, width, lane, left = Sheet(80, 50, words), "abcdef", 76 / 24, 3.6, 31.0

    def register(y: float, letter: str, words: str, color: str = "", **more: Any) -> None:
        for n, own in enumerate(FOUR):
            colors = (PALE[color], SOFT) if color else (PALE[own], own)
            sheet.box(left + n * lane, y, lane, 3.2, *colors)
            sheet.write(left + (n + 0.5) * lane, y + 1.6, letter, **more)
        sheet.note(left + 4 * lane + 1.2, y + 1.6, words)

    first = [(n, k) for n in range(4) for k in range(6)]
    for y, words, order in (
        (7.6, "Batch first: four loads, each for one number", first),
        (26.4, "Batch last: one load", sorted(first, key=lambda place: place[1])),
    ):
        sheet.write(2, y - 1.9, words, ha="left")
        low = y + 8.4
        for place, (n, k) in enumerate(order):
            x, wanted = 2 + place * width, letters[k] == "b"
            colors = (PALE[FOUR[n]], FOUR[n]) if wanted else (PAPER, LINE)
            sheet.box(x, y, width, 3.0, *colors, letters[k], ink=INK if wanted else LINE,
                      zorder=2 if wanted else 1)  # fmt: skip
            if wanted and y < 20:
                to = left + (n + 0.5) * lane, low - 0.2
                sheet.arrow(x + width / 2, y + 3.2, *to, FOUR[n], head=9)
        if y > 20:
            start = 2 + 4 * width
            sheet.bracket(start + 0.2, start + 4 * width - 0.2, y)
            sheet.arrow(start + 2 * width, y + 4.5, left + 2 * lane, low - 0.2, INK)
        register(low, "b", "a register")
    low, gap = 34.8, 5.2
    sheet.write(left - 2.2, low + gap + 1.6, TIMES, 14)
    register(low + gap, "w", "one weight, in all lanes", LINE)
    sheet.write(left - 2.2, low + 2 * gap + 1.6, "+", 14)
    words = "the sums of four samples, in another register"
    register(low + 2 * gap, "z", words, style="italic")
    sheet.note(2, low + 1.6 + gap, "one instruction:")
    sheet.note(2, low + 1.6 + gap + 2.2, "four multiply-adds")
    return sheet.figure


def register_block() -> Figure:
    """4 x 4 vectors of sums, the pixels and weights of one tap, and where the block goes next."""
    words = "One tap of a 3 x 3 kernel: 4 vectors of pixels, 4 weights, 16 multiply-adds"
    sheet, across, tap, cell, left, top = Sheet(80, 54, words), 8, 5, 3.1, 2.0, 9.6
    window = resolve_window("Conv2D", (1, 5, across), (3, 3), (1, 1), "valid")
    offsets = [int(offset) for offset in plan(window, 1, 5, across, 1).taps]
    sheet.note(left, top - 3.1, "one channel of the padded image,")
    sheet.note(left, top - 1.2, "a square is one pixel of 16 samples")
    for here in range(5 * across):
        i, j = divmod(here, across)
        inside = offsets[tap] <= here < offsets[tap] + 4
        colors = (PALE[BLUE], BLUE) if inside else (PAPER, LINE)
        box = left + j * cell, top + i * cell, cell, cell
        sheet.box(*box, *colors, zorder=2 if inside else 1)
    for k, offset in enumerate(offsets):
        i, j = divmod(offset, across)
        middle = left + (j + 0.5) * cell, top + (i + 0.5) * cell
        sheet.write(*middle, f"{k}", 9, color=INK if k == tap else SOFT)
    sheet.box(left, top, 3 * cell, 3 * cell, edge=ORANGE, linewidth=2.2, zorder=3)
    words = "taps[k] + run: where the four vectors of tap k begin"
    sheet.note(left, top + 5 * cell + 1.8, words)

    # the product: weights beside, pixels above, sums in between
    x, y, wide, size = 46.5, 12.6, 5.2, 4.2
    sheet.arrow(left + 6 * cell + 0.3, top + 1.5 * cell, x - 0.6, y - 3.0, BLUE, bend=-0.12)
    sheet.soft(x + 2 * wide, y - 6.0, f"4 loads: pixels of tap {tap}", 9.5)
    for c in range(4):
        sheet.tint(x + c * wide, y - 4.6, wide, 3.4, BLUE, f"x{c}", 10)
    for r in range(4):
        sheet.tint(x - 5.2, y + r * size, 3.6, size, ORANGE, f"w{r}", 10)
        for c in range(4):
            sheet.tint(x + c * wide, y + r * size, wide, size, GREEN, f"+w{r} x{c}", 8)
    sheet.note(x - 6.2, y + 2 * size, "4 filters:\ntheir weight\nof this tap", ha="right")
    sheet.note(x + 4 * wide + 1.2, y + 2 * size, "16 sums,\na register\neach")

    # what the block becomes: outputs, and the next block
    low, width = 39.6, 3.1
    sheet.line([2, 78], [low - 5.0, low - 5.0])
    words = "After the last tap of the last channel the block is stored, and the "
    words += "next one begins four vectors further on."
    sheet.write(2, low - 2.6, words, 10, ha="left")
    for r in range(4):
        sheet.note(2, low + (r + 0.5) * 2.4, f"filter {r}", 9)
        for c in range(16):
            fill = PALE[GREEN] if c < 4 else PAPER
            sheet.box(9.5 + c * width, low + r * 2.4, width, 2.4, fill, LINE)
    look: dict[str, Any] = {"edge": GREEN, "zorder": 3}
    sheet.box(9.5 + 4 * width, low, 4 * width, 9.6, **look, linewidth=1.8, linestyle="--")
    sheet.box(9.5, low, 4 * width, 9.6, **look, linewidth=2.2)
    sheet.arrow(9.5 + 2 * width, low + 11.0, 9.5 + 6 * width, low + 11.0, GREEN, bend=0.25)
    sheet.note(9.5 + 8 * width, low + 11.6, "outputs, as they lie in memory")
    return sheet.figure


PIXELS = np.array([
    [0.0, 0, 1, 2, 1, 0], [0, 1, 3, 3, 1, 0], [0, 0, 1, 3, 2, 0],
    [0, 0, 2, 3, 1, 0], [0, 1, 3, 2, 0, 0], [0, 2, 3, 3, 3, 1],
])  # fmt: skip
KERNEL = np.array([[1.0, 0, -1], [2, 1, -2], [1, 0, -1]])


def winograd() -> Figure:
    """One tile: pixels and weights into the other basis, 36 products, and back."""
    words = "F(4 x 4, 3 x 3): 36 products for 16 outputs, where the definition has 144"
    sheet = Sheet(80, 56, words)
    into, weights, back = (np.array(M, float) for M in (IN, WEIGHTS, OUT))
    v, u = into @ PIXELS @ into.T, weights @ KERNEL @ weights.T
    m = u * v
    cell, top, low, left, middle, right = 3.4, 8.8, 32.2, 2.0, 31.0, 57.6
    six, half = 6 * 3.4, 6 * 3.4 / 2

    def grid(x: float, y: float, a: np.ndarray, color: str, size: float, words: str = "") -> None:
        shown = np.round(a, 2 if np.abs(a).max() < 10 else 1)
        fills: Fills = {place: PALE[color] for place in np.ndindex(a.shape)}
        sheet.matrix(x, y, shown, cell, fills, size)
        sheet.soft(x + len(a) * cell / 2, y - 1.5, words, 9.5)

    grid(left, top, PIXELS, BLUE, 9, "6 x 6 pixels x")
    sheet.arrow(left + six + 0.8, top + half, middle - 0.8, top + half)
    sheet.write((left + six + middle) / 2, top + half - 1.7, "IN x IN\u1d40", 8.5)
    grid(middle, top, v, BLUE, 8, "pixels in the new basis")

    third = low + half - 1.5 * cell
    grid(left, third, KERNEL, ORANGE, 9, "3 x 3 weights w")
    sheet.arrow(left + 3 * cell + 0.8, low + half, middle - 0.8, low + half)
    words = "WEIGHTS w WEIGHTS\u1d40"
    sheet.write((left + 3 * cell + middle) / 2, low + half - 1.7, words, 8.5)
    grid(middle, low, u, ORANGE, 6.5)
    sheet.soft(middle + half, low + six + 1.5, "weights in the new basis", 9.5)

    between, end = (top + six + low) / 2, right + half
    sheet.write(middle + half, between, f"{TIMES} place by place", 10)
    sheet.arrow(middle + six + 0.8, between, right - 0.4, top + six + 0.6, bend=0.15)
    sheet.soft(end, top - 3.2, "36 products; summed over all", 9.5)
    sheet.soft(end, top - 1.4, "channels before they go back", 9.5)
    grid(right, top, m, GREEN, 6.5)
    fourth = low + half - 1.2 * cell
    sheet.arrow(end, top + six + 0.6, end, fourth - 0.6)
    sheet.write(end + 1.0, (top + six + fourth) / 2, "OUT m OUT\u1d40", 8.5, ha="left")
    grid(right + cell, fourth, back @ m @ back.T, PURPLE, 9)
    sheet.soft(end, fourth + 4 * cell + 1.5, "4 x 4 outputs", 9.5)
    return sheet.figure


def threads() -> Figure:
    """Two threads: kernels that keep Python's lock, that let it go, and shards too small."""
    sheet = Sheet(80, 47, "Two threads, two shards (a sketch)")
    sheet.legend(
        (39.0, BLUE, "a kernel"), (51, ORANGE, "Python, one at a time"), (69.5, LINE, "waiting")
    )
    python, kernel, short, turn = (ORANGE, 1.2), (BLUE, 8.0), (BLUE, 1.4), (LINE, 9.2)
    held, free, small = [python, kernel, turn] * 3, [python, kernel] * 3, [python, short] * 3
    pictures = {
        "Kernels keep Python's lock: the threads take turns, and two are no faster than one.":
            {"thread A": held[:-1], "thread B": [turn, *held[:-1]]},
        "Kernels let it go (nogil): only the slivers between them exclude each other.":
            {"thread A": free, "thread B": [(LINE, 1.2), *free]},
        "Small shards: waking a second thread costs more than it saves.":
            {"thread A": small, "thread B": [(LINE, 12.0), *small], "A alone": small + small},
    }  # fmt: skip
    for row, (words, lanes) in enumerate(pictures.items()):
        y = 9.6 + 12.8 * row
        sheet.write(2, y - 2.2, words, 10, ha="left")
        for n, (name, lane) in enumerate(lanes.items()):
            at, x = y + 3.7 * n, 11.0
            sheet.note(2, at + 1.3, name)
            for color, length in lane:
                sheet.tint(x, at, length, 2.6, color)
                x += length
    sheet.soft(17, y + 3.7 + 1.3, "waking: 50 \u00b5s", 9)
    sheet.note(x + 1.2, at + 1.3, "both shards, and done sooner", 9)
    return sheet.figure


# Steps per second of one image, system D's network: python -m benchmarks.capture
BY_LAYERS, CAPTURED = 1e6 / 202, 1e6 / 84


def capture() -> Figure:
    """One step of one image, eager and captured."""
    sheet, count, left, fill = Sheet(80, 35.5, "One training step on one image"), 12, 2.0, 2.2
    sheet.legend(
        (36.0, BLUE, "kernels"), (47, ORANGE, "Python around them"), (64, GREEN, "the new image")
    )
    scale, y, low = 76 / (1e6 / BY_LAYERS), 9.0, 22.6
    whole, short = (1e6 / rate * scale for rate in (BY_LAYERS, CAPTURED))
    kernel, sliver = (short - fill) / count * 0.85, (short - fill) / count * 0.15
    walk = (whole - count * kernel) / count
    words = f"Eager: {1e6 / BY_LAYERS:.0f} \u00b5s. Layers ask, arrays are allocated, "
    sheet.write(left, y - 2.0, f"{words}tables are looked up.", 10, ha="left")

    def lane(x: float, at: float, python: float, **look: float) -> list[float]:
        middles = []
        for _ in range(count):
            sheet.tint(x, at, python, 4.0, ORANGE, **look)
            sheet.tint(x + python, at, kernel, 4.0, BLUE)
            middles.append(x + python + kernel / 2)
            x += python + kernel
        return middles

    upper = lane(left, y, walk)
    sheet.tint(left, low, fill, 4.0, GREEN)
    lower = lane(left + fill, low, sliver, linewidth=0.6)
    for a, b in zip(upper, lower, strict=True):
        sheet.line([a, b], [y + 4.2, low - 0.2], BLUE, 0.7, alpha=0.6)
    words = f"Captured: {1e6 / CAPTURED:.0f} \u00b5s. The same kernels,\nthe same arrays, "
    sheet.write(left + short + 1.5, low + 2.0, f"{words}nothing else.", 10, ha="left")
    words = "The lengths of the two steps are as measured (system D's network, "
    sheet.note(left, low + 8.2, f"{words}some 40 kernel calls).")
    sheet.note(left, low + 10.4, "How a step divides into its parts is a sketch.")
    return sheet.figure


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
    words = f"36 vectors for a cache of {SETS} sets, each with room for {WAYS} lines"
    sheet, cell, left = Sheet(80, 56, words), 2.5, 27.0
    sheet.write(left + 4 * cell, 5.8, "32 channels of pixels", 10)
    sheet.write(left + 26 + 4 * cell, 5.8, "4 filters of products", 10)
    near = "one place right\nbehind the other:\nat distances of\na power of two"
    for behind, words in enumerate((near, "one more vector\nbehind each place")):
        top = 7.6 + 25.0 * behind
        sheet.write(2, top + 4 * cell, words, ha="left")
        for column, rows in enumerate((32, 4)):
            x, used = left + 26 * column, lines_used(rows, behind)
            for place, count in enumerate(used):
                i, j, full = *divmod(place, 8), count > WAYS
                fill = PALE[RED if full else GREEN] if count else PAPER
                at, high = x + j * cell, top + i * cell
                sheet.box(at, high, cell, cell, fill, LINE, linewidth=0.8)
                look: dict[str, Any] = {"weight": "bold" if full else "normal"}
                if count:
                    sheet.write(at + cell / 2, high + cell / 2, f"{count}", 8.5, **look)
            worst, sets = used.max(), np.count_nonzero(used)
            fits, color = ("do not fit", RED) if worst > WAYS else ("room for all", GREEN)
            words = f"in {sets} {'set' if sets == 1 else 'sets'}: {fits}"
            low = top + 8 * cell + 1.3
            sheet.write(x + 4 * cell, low, words, 9.5, color=color, weight="bold")
    return sheet.figure


def first_run() -> Figure:
    """From a kernel's source to machine code on disk, and every later run."""
    sheet = Sheet(80, 39, "A kernel is compiled once for a kind of processor")
    steps = [
        ("the kernel", "a Python function\nof arrays", BLUE),
        ("Numba", "finds the types\nfrom the arguments", GREEN),
        ("LLVM", "writes instructions\nof this processor", GREEN),
        ("machine code", "runs without\nPython's lock", PURPLE),
    ]
    width, high, top, pitch, low = 15.6, 7.6, 9.0, 20.2, 25.4
    sheet.write(2, top - 2.2, "First run (some seconds, and it says so)", 10, ha="left")
    for k, (name, words, color) in enumerate(steps):
        x = 2 + pitch * k
        sheet.tint(x, top, width, high, color, linewidth=1.6)
        sheet.write(x + width / 2, top + 1.7, name, weight="bold")
        sheet.soft(x + width / 2, top + 4.9, words, 9)
        if k:
            sheet.arrow(x - pitch + width + 0.3, top + high / 2, x - 0.3, top + high / 2)
    folder, below = x - 22.6, top + high
    sheet.tint(folder, low, 38.2, 5.6, ORANGE, linewidth=1.6)
    sheet.write(folder + 19.1, low + 1.7, "a folder on disk", weight="bold")
    sheet.soft(folder + 19.1, low + 3.9, "named after the text of all these sources", 9)
    sheet.arrow(x + 5.2, below + 0.3, x + 5.2, low - 0.3)
    sheet.note(x + 4.2, (below + low) / 2, "kept", 9, ha="right")
    sheet.arrow(x + 10.4, low - 0.3, x + 10.4, below + 0.3)
    sheet.note(x + 11.2, (below + low) / 2, "read", 9)
    sheet.write(2, low + 1.7, "Every later run reads it", 10, ha="left")
    sheet.note(2, low + 3.9, "(Numba itself takes half a second to import).")
    words = "Without Numba: the same layers with the kernels in pure NumPy."
    sheet.write(2, low + 11.2, words, 10, ha="left")
    return sheet.figure


PICTURES = {picture.__name__: picture for picture in (
    roofline, batch_last, register_block, winograd, threads, capture, cache_sets, first_run,
)}  # fmt: skip

if __name__ == "__main__":
    pen.main(PICTURES, Path(__file__).parent / "pictures_performance")
