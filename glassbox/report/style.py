"""One look for every picture, given to each object itself.

A user's own style is neither changed nor followed (see canvas.py), and figures can be drawn in
several threads, with or without a screen.
"""

from collections.abc import Sequence
from typing import Any, Literal

import glassbox.report.canvas  # noqa: F401  (before any other import of matplotlib)

# isort: split
import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colorbar import Colorbar
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.legend import Legend
from numpy.typing import NDArray

from glassbox.report.names import short_names

# The hues are Okabe and Ito's, which stay apart for the color-blind.
COLOR = {
    "ink": "#1F2933", "soft": "#667281", "grid": "#E4E7EB", "paper": "#FFFFFF",
    "training": "#0072B2", "validation": "#D55E00", "right": "#00875F", "wrong": "#D55E00",
    "truth": "#0072B2", "other": "#B4BCC6", "above": "#B2182B", "below": "#2166AC",
    "diagonal": "#DCEBF5",
}  # fmt: skip
# Ten classes apart: Okabe and Ito's again, yellow and black (the mistakes' ink) replaced.
CLASS_HUES = ["#0072B2", "#E69F00", "#009E73", "#CC79A7", "#C1272D"]
CLASS_HUES += ["#56B4E9", "#6A3D9A", "#8C510A", "#A3A500", "#7F7F7F"]
SIZE = {"title": 12.0, "text": 10.0, "small": 8.5}
Grid = Literal["", "x", "y"]
DIVERGING = "RdBu_r"  # blue below zero, white at it, red above
THOUSANDS = "{x:,.0f}"  # the ticks of an axis; so is `percent`


def new_figure(width: float, height: float, constrained: bool = True) -> Figure:
    """Make a figure of `width` x `height` inches that no global state knows of."""
    figure = Figure(figsize=(width, height), facecolor=COLOR["paper"])
    if constrained:
        figure.set_layout_engine(ConstrainedLayoutEngine(w_pad=0.1, h_pad=0.1))
    return figure


def dress(axes: Axes, title: str = "", x: str = "", y: str = "", grid: Grid = "") -> Axes:
    """Give axes the house style: a title at the left, quiet spines, a grid along "x" or "y"."""
    axes.set_facecolor(COLOR["paper"])
    axes.set_title(title, loc="left", pad=8, **font("title", "ink"))
    axes.set_xlabel(x, **font("text", "soft"))
    axes.set_ylabel(y, **font("text", "soft"))
    axes.tick_params(
        colors=COLOR["soft"], labelcolor=COLOR["ink"], labelsize=SIZE["small"], which="both"
    )
    axes.spines[:].set(color=COLOR["soft"], linewidth=0.8)
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(False, which="both")
    if grid:
        axes.grid(True, axis=grid, color=COLOR["grid"], linewidth=0.8, linestyle="-")
        axes.set_axisbelow(True)
    return axes


def bare(axes: Axes, title: str = "") -> Axes:
    """Give axes the house style without ticks and spines, as a picture wants them."""
    dress(axes, title)
    axes.set(xticks=[], yticks=[])
    axes.spines[:].set_visible(False)
    return axes


def headline(figure: Figure, text: str, x: float = 0.02) -> None:
    """Write a title at the top left of a figure."""
    figure.suptitle(text, x=x, ha="left", **font("title", "ink"))


def legend(
    figure: Figure, handles: Any, texts: Any, place: Any, size: float, title: str = "", **more: Any
) -> Legend:
    """Put a legend beside the axes of a figure; `place` is an "outside ..." of matplotlib."""
    look: dict[str, Any] = {"frameon": False, "fontsize": size, "labelcolor": COLOR["ink"]}
    look |= {"title": title or None, "title_fontsize": SIZE["text"]} | more
    drawn = figure.legend(handles, texts, loc=place, **look)
    drawn.get_title().set_color(COLOR["soft"])
    return drawn


def font(size: str, color: str) -> dict[str, Any]:
    """Give matplotlib's keywords for a text of a size and a color, both by name."""
    return {"fontsize": SIZE[size], "color": COLOR[color]}


def percent(share: float, _: Any = None) -> str:
    """Format a tick of an axis of shares."""
    return f"{100 * share:g} %"


def write(axes: Axes, x: float, y: float, text: str, **options: Any) -> None:
    """Write `text` at data coordinates in the house's font; `options` are those of `Axes.text`."""
    axes.text(x, y, plain(text), **(font("text", "ink") | {"va": "center"} | options))


def plain(text: str) -> str:
    """Keep matplotlib from reading dollar signs as mathematics.

    >>> print(plain("under $5"))
    under \\$5
    """
    return text.replace("$", r"\$")


def by(shape: Sequence[int]) -> str:
    """Write a shape with multiplication signs between its sizes."""
    return " \u00d7 ".join(map(str, shape))


def class_labels(classes: Sequence[str], width: int = 18) -> list[str]:
    """Shorten class names for a picture and keep dollar signs in them."""
    return [plain(name) for name in short_names(classes, width)]


def diverging(values: NDArray[Any]) -> ScalarMappable:
    """Give a color scale for `values` that is symmetric about zero, which is white.

    NaN and infinity do not widen the scale; they are drawn black, unlike any number.
    """
    finite = np.abs(values[np.isfinite(values)])
    end = float(finite.max()) if finite.size and finite.max() > 0 else 1.0
    colors = matplotlib.colormaps[DIVERGING].with_extremes(bad="black")
    return ScalarMappable(Normalize(-end, end), colors)


def paint(values: NDArray[Any], scale: ScalarMappable) -> NDArray[np.float64]:
    """Color `values` (any shape) on a scale of `diverging`: RGB (..., 3) from 0 to 1."""
    tame = np.where(np.isfinite(values), values, np.nan).astype(np.float64)
    # Not to_rgba: it would take maps three pixels wide for colors already.
    return np.asarray(scale.get_cmap()(scale.norm(np.ma.masked_invalid(tame))))[..., :3]


def color_bar(
    axes: Axes, scale: ScalarMappable, label: str = "", into: Axes | None = None, **options: Any
) -> Colorbar:
    """Add a color bar beside `axes` (or fill the axes `into` with it) in the house's style."""
    bar = axes.figure.colorbar(scale, ax=None if into else axes, cax=into, **options)
    dress(bar.ax)
    bar.ax.spines[:].set_visible(False)
    bar.set_label(label, **font("small", "soft"))
    return bar


def photograph(image: NDArray[Any]) -> NDArray[np.float64]:
    """Turn an image (channels, height, width) of any range into RGB (height, width, 3), 0 to 1.

    Three channels are taken as red, green, blue; any other number is shown as the mean in gray.
    Each image is stretched from its own minimum (black) to its own maximum (white).
    """
    values = np.asarray(image, np.float64)
    picture = values if len(values) == 3 else np.repeat(values.mean(0, keepdims=True), 3, axis=0)
    finite = picture[np.isfinite(picture)]
    low, high = (finite.min(), finite.max()) if finite.size else (0.0, 1.0)
    stretched = (picture - low) / (high - low if high > low else 1.0)
    return np.nan_to_num(np.moveaxis(stretched, 0, -1), nan=0.0, posinf=1.0, neginf=0.0).clip(0, 1)


def mosaic(tiles: NDArray[Any], columns: int, sharp: int = 84) -> NDArray[np.float64]:
    """Lay RGB tiles (n, height, width, 3) out in rows of `columns`, thinly framed, on white.

    One picture draws far faster than a hundred axes. Small tiles are enlarged to about `sharp`
    pixels first, so that frames are thin and pixels have hard edges. A tile of NaN stays empty.
    """
    factor = max(1, round(sharp / max(tiles.shape[1:3])))
    large = tiles.repeat(factor, axis=1).repeat(factor, axis=2)
    n, height, width, _ = large.shape
    gap = max(3, round(0.06 * max(height, width)))
    rows = -(-n // columns)
    sheet = np.ones((rows * (height + gap) - gap + 2, columns * (width + gap) - gap + 2, 3))
    for i in range(n):
        if np.isnan(large[i]).all():
            continue
        top, left = i // columns * (height + gap) + 1, i % columns * (width + gap) + 1
        sheet[top - 1 : top + height + 1, left - 1 : left + width + 1] = 0.72  # the frame
        sheet[top : top + height, left : left + width] = large[i]
    return sheet


def array_of(value: Any, dimensions: Sequence[int], what: str, expected: str) -> NDArray[Any]:
    """Give `value` as an array; ValueError in the name of `what` for other `dimensions` or none."""
    array = np.asarray(value)
    if array.ndim not in dimensions or array.size == 0:
        raise ValueError(
            f"{what}: got an array of shape {array.shape}, expected {expected}; "
            "reshape it, or take one sample of the batch"
        )
    return array
