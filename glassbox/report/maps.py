"""Pictures made of pictures: feature maps, filters and mistakes.

All raise ValueError, naming the argument, for arrays that do not fit together.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure, SubFigure
from numpy.typing import ArrayLike, NDArray

from glassbox.report import style
from glassbox.report.canvas import house_style
from glassbox.report.charts import class_scores, running_panels
from glassbox.report.metrics import most_confused, pair_counts
from glassbox.report.names import short_names
from glassbox.report.style import COLOR, SIZE, array_of, class_labels, font, new_figure, plain

COLUMNS = 8  # feature maps in one row
TILE = 0.86  # inches, a feature map's side
GAP = 0.17  # inches between rows
MARGIN = 1.55  # inches at the left, for a layer's name and shape
WIDTH = MARGIN + COLUMNS * TILE + 0.15  # inches of all feature maps
BARS = 128  # features up to which a vector is drawn as bars; beyond, as rows of colored cells

Activations = Sequence[tuple[str, ArrayLike]]
Layers = list[tuple[str, NDArray[Any]]]


@house_style
def feature_maps(
    image: ArrayLike, activations: Activations, title: str = "", limit: int = 16
) -> Figure:
    """Draw what every layer makes of one image, one row per layer, zero in white.

    image        (channels, height, width)
    activations  (layer name, array) pairs; the array is (channels, height, width) or (features,)
    limit        the most maps drawn for a layer; a layer with more says "16 of 64 maps"

    The maps of a layer share one scale, red above zero and blue below, whose end is written at
    the left. Vectors are bars on that scale or, beyond 128 features, rows of colored cells.
    """
    layers = _checked(activations)
    height = sum(_heights(layers, limit)) + 0.05
    figure = new_figure(WIDTH, height, constrained=False)
    _draw_maps(figure, image, layers, limit, title or "What each layer makes of one image")
    return figure


@house_style
def filters(weights: ArrayLike, name: str, limit: int = 16) -> Figure:
    """Draw the kernels of a convolution on one scale about zero: red above, blue below.

    weights     (out channels, in channels, kernel height, kernel width)
    name        the layer's, for the title
    limit       the most output and the most input channels drawn; more are counted in the title

    A filter that reads several channels is a row with one kernel per channel; filters that read
    one channel are laid out in rows of eight.
    """
    array = array_of(weights, (4,), "filters", "(out, in, kernel height, kernel width)")
    out, into, *shape = array.shape
    kept = array[: limit if into > 1 else 4 * limit, :limit]
    scale = style.diverging(kept)
    columns = kept.shape[1] if into > 1 else min(COLUMNS if len(kept) > 8 else 4, len(kept))
    sheet = style.mosaic(style.paint(kept, scale).reshape(-1, *shape, 3), columns, sharp=60)
    rows = -(-kept.shape[0] * kept.shape[1] // columns)
    side = 0.5 if into > 1 else 0.75
    tall = side * rows * shape[0] / shape[1]
    figure = new_figure(max(4.6, side * columns + 1.9), max(2.2, tall + 1.2))
    axes = style.bare(figure.subplots())
    axes.imshow(sheet)
    title = f"{name}: {_of(len(kept), out, 'filter')} of {style.by(shape)}"
    if into > 1:
        title += f"\nrows: filters, columns: {_of(kept.shape[1], into, 'input channel')}"
        axes.set_yticks(_centers(len(sheet), rows), map(str, range(rows)))
        axes.set_xticks(_centers(sheet.shape[1], columns), map(str, range(columns)))
    style.headline(figure, plain(title))
    style.color_bar(axes, scale, "weight", shrink=0.8, aspect=24)
    return figure


@house_style
def preview(
    image: ArrayLike, activations: Activations, scores: ArrayLike, classes: Sequence[str],
    truth: int | None, running: tuple[ArrayLike, ArrayLike, ArrayLike], title: str = "",
    limit: int = 8,
) -> Figure:  # fmt: skip
    """Draw one picture of a network in training: what it sees, what it says, how it fares.

    image, activations, limit   as for `feature_maps`
    scores, classes, truth      as for `class_scores`
    running                     (images seen, losses, accuracies), as for `running`
    title                       where training stands: "epoch 1, 25 % of the data"
    """
    layers, right = _checked(activations), 5.4
    wide, height = WIDTH + right, max(sum(_heights(layers, limit)) + 0.05, 7.2)
    figure = new_figure(wide, height, constrained=False)
    look: dict[str, Any] = {"fontsize": SIZE["title"] + 2, "color": COLOR["ink"]}
    place = {"x": 0.15 / wide, "y": 1 - 0.1 / height}
    figure.suptitle(plain(title), ha="left", va="top", fontweight="bold", **place, **look)
    halves = figure.add_gridspec(
        1, 2, left=0, right=1, bottom=0, top=1, wspace=0, width_ratios=[WIDTH, right]
    )
    maps, charts = (figure.add_subfigure(halves[0, side]) for side in (0, 1))
    _draw_maps(maps, image, layers, limit, "")
    ratios, edge = [max(1.4, 0.13 * len(classes)), 1, 1], 0.55 / height
    grid = charts.add_gridspec(
        3, 1, left=0.2, right=0.96, top=1 - edge, bottom=edge, hspace=0.5, height_ratios=ratios
    )
    bars, *panels = (charts.add_subplot(grid[row, 0]) for row in range(3))
    class_scores(scores, classes, truth, axes=bars)
    running_panels(panels, *running)
    panels[0].set_xlabel("")
    return figure


@house_style
def mistakes(
    images: ArrayLike, truth: ArrayLike, predicted: ArrayLike, confidence: ArrayLike,
    classes: Sequence[str], limit: int = 24,
) -> Figure:  # fmt: skip
    """Draw the mistakes made with the most confidence, worst first.

    images             (samples, channels, height, width)
    truth, predicted   (samples,) labels; samples where they agree are left out
    confidence         (samples,) the score of the prediction, by which they are ordered

    The number below each is its place in these arrays.
    """
    pictures, right, said, sure = _of_equal_length("mistakes", images, truth, predicted, confidence)
    wrong = np.flatnonzero(right != said)
    worst = wrong[np.argsort(-sure[wrong], kind="stable")][:limit]
    rows, columns = max(1, -(-len(worst) // COLUMNS)), min(COLUMNS, max(len(worst), 4))
    figure = new_figure(1.32 * columns + 0.2, 1.85 * rows + 0.75)
    names = class_labels(classes, 12)
    title = f"No mistakes among {len(pictures):,} images"
    if len(wrong):
        title = f"{_of(len(worst), len(wrong), 'mistake')}, the most confident first\n"
        title += "in color: the prediction and its score"
    style.headline(figure, title, x=0.01)
    for cell, axes in enumerate(figure.subplots(rows, columns, squeeze=False).flat):
        style.bare(axes).set_visible(cell < len(worst))
        if cell < len(worst):
            i = worst[cell]
            axes.imshow(style.photograph(pictures[i]), interpolation="nearest")
            prediction, true = f"{names[said[i]]} ({sure[i]:.2f})", f"is {names[right[i]]}"
            axes.set_title(prediction, pad=3, fontweight="bold", **font("small", "wrong"))
            axes.set_xlabel(f"{true}\nno. {i}", labelpad=3, **font("small", "ink"))
    return figure


@house_style
def confused(
    images: ArrayLike, truth: ArrayLike, predicted: ArrayLike, confidence: ArrayLike,
    classes: Sequence[str], pairs: int = 8, each: int = 8,
) -> Figure:  # fmt: skip
    """Draw the most frequent confusions, one row for each, with the surest examples first.

    images, truth, predicted, confidence   as for `mistakes`
    pairs, each        the most rows, and the most examples in a row
    """
    pictures, right, said, sure = _of_equal_length("confused", images, truth, predicted, confidence)
    names = class_labels(classes, 18)
    counts = pair_counts(right, said, len(classes))
    worst = most_confused(counts, pairs)
    tiles, labels = np.full((max(len(worst), 1), each, *pictures.shape[2:], 3), np.nan), []
    for row, (is_, taken, count) in enumerate(worst):
        where = np.flatnonzero((right == is_) & (said == taken))
        for column, i in enumerate(where[np.argsort(-sure[where], kind="stable")][:each]):
            tiles[row, column] = style.photograph(pictures[i])
        there = int(np.count_nonzero(right == is_))
        share = f"{count:,} of {there:,} ({100 * count / there:.1f} %)"
        labels.append(f"{names[is_]},\ntaken for {names[taken]}:\n{share}")
    tall = 0.74 * len(tiles) * tiles.shape[2] / tiles.shape[3]
    figure = new_figure(0.74 * each + 2.1, max(tall, 0.58 * len(tiles)) + 0.7)
    axes = style.bare(figure.subplots())
    title = f"No mistakes among {len(pictures):,} images"
    if worst:
        there = int(np.count_nonzero(counts[:, 0] != counts[:, 1]))
        title = f"{_of(len(worst), there, 'confusion')}, the most frequent first"
        # Photographs make large files once their pixels are blended, not as they are.
        sheet = style.mosaic(tiles.reshape(-1, *tiles.shape[2:]), each, sharp=1)
        axes.imshow(sheet, interpolation="nearest")
        axes.set_yticks(_centers(len(sheet), len(worst)), labels)
        axes.tick_params(length=0)
    style.headline(figure, title)
    return figure


def _checked(activations: Activations) -> Layers:
    layers = []
    for name, value in activations:
        what = f"feature_maps: layer {name!r}"
        array = array_of(value, (1, 3), what, "(channels, height, width) or (features,)")
        # After a global pooling a map is one number, and a bar shows it better than a tile.
        layers.append((name, array.ravel() if array.shape[1:] == (1, 1) else array))
    return layers


def _heights(layers: Layers, limit: int) -> list[float]:
    """Inches for the title, for the input and for every layer, the gap below included."""
    heights = [0.45, 1.14 + GAP]
    for _, array in layers:
        tall = 0.0 if len(array) <= BARS else 0.11 * len(_wrapped(array))
        if array.ndim == 3:
            rows = -(-min(len(array), limit) // COLUMNS)
            tall = rows * TILE * min(max(array.shape[1] / array.shape[2], 0.5), 1.5)
        heights.append(max(tall, 0.62) + GAP)
    return heights


def _draw_maps(
    figure: Figure | SubFigure, image: ArrayLike, layers: Layers, limit: int, title: str
) -> None:
    picture = array_of(image, (3,), "feature_maps: image", "(channels, height, width)")
    wide, high = figure.bbox.width / figure.dpi, figure.bbox.height / figure.dpi
    at = {"x": 0.12 / wide, "y": 1 - 0.12 / high}
    figure.suptitle(plain(title), ha="left", va="top", **at, **font("title", "ink"))

    def place(left: float, top: float, width: float, height: float) -> Axes:
        # By hand, in inches from the top left: every tile then has the same size on every layer.
        box = (left / wide, 1 - (top + height) / high, width / wide, height / high)
        return style.bare(figure.add_axes(box))

    heights = _heights(layers, limit)
    tops = np.cumsum([0.0, *heights])[1:-1]
    axes = place(MARGIN, tops[0], COLUMNS * TILE, heights[1] - GAP)
    axes.imshow(style.photograph(picture), interpolation="nearest")
    axes.set_anchor("NW")
    _caption(axes, "input", style.by(picture.shape))
    key = place(MARGIN + COLUMNS * TILE - 2.6, tops[0] + 0.42, 2.4, 0.13)
    scale = style.diverging(np.ones(1))
    bar = style.color_bar(key, scale, into=key, orientation="horizontal", ticks=[-1, 0, 1])
    bar.ax.set_xticklabels(["below 0", "0", "above 0"])
    bar.ax.tick_params(length=0)
    words = "activation; each layer has its own scale"
    bar.ax.set_title(words, loc="center", pad=5, **font("small", "soft"))
    for (name, array), top, height in zip(layers, tops[1:], heights[2:], strict=True):
        _draw_layer(place(MARGIN, top, COLUMNS * TILE, height - GAP), name, array, limit)


def _draw_layer(axes: Axes, name: str, array: NDArray[Any], limit: int) -> None:
    # The scale is the whole layer's, so that it does not depend on how many maps are drawn.
    scale, n = style.diverging(array), len(array)
    lines = [style.by(array.shape)] if array.ndim == 3 else []
    if array.ndim == 3:
        axes.imshow(style.mosaic(style.paint(array[:limit], scale), COLUMNS))
        lines += [_of(limit, n, "map")] if n > limit else []
    elif n <= BARS:
        lines.append(_of(n, n, "feature"))
        heights = np.nan_to_num(array.astype(np.float64), nan=0.0, posinf=0.0, neginf=0.0)
        colors = [COLOR["above" if height > 0 else "below"] for height in heights]
        axes.bar(range(n), heights, width=0.8, color=colors, linewidth=0)
        axes.axhline(0, color=COLOR["soft"], linewidth=0.6)
        axes.set_xlim(-0.6, n - 0.4)
        axes.set_ylim(min(heights.min(), 0.0), max(heights.max(), 0.0) or 1.0)
    else:
        wrapped = _wrapped(array)
        axes.imshow(style.paint(wrapped, scale), interpolation="nearest")
        lines.append(_of(wrapped.size, n, "feature"))
    if axes.images:
        axes.set_anchor("NW")
    _caption(axes, name, *lines, f"scale \u00b1{scale.get_clim()[1]:.3g}")


def _wrapped(array: NDArray[Any]) -> NDArray[Any]:
    """A vector as rows of BARS cells, at most eight; the last row is filled up with zeros."""
    kept = array[: 8 * BARS]
    return np.append(kept, np.zeros(-len(kept) % BARS, array.dtype)).reshape(-1, BARS)


def _caption(axes: Axes, name: str, *lines: str) -> None:
    """Write a layer's name, and lines below it, at the left of its row."""
    figure: Any = axes.figure
    at: dict[str, Any] = {"xy": (0, axes.get_position(original=True).y1), "va": "top"}
    at |= {"xycoords": figure.transSubfigure, "textcoords": "offset points"}
    for text, down, look in (
        (plain(short_names([name], 18)[0]), 0, font("text", "ink") | {"fontweight": "bold"}),
        ("\n".join(lines), -14, font("small", "soft") | {"fontweight": "normal"}),
    ):
        axes.annotate(text, xytext=(9, down), annotation_clip=False, **at, **look)


def _of(drawn: int, there: int, noun: str) -> str:
    """Say "16 of 64 maps" where some are left out, else "64 maps"."""
    count = f"{drawn:,} of {there:,}" if drawn < there else f"{there:,}"
    return f"{count} {noun}{'s' if there != 1 else ''}"


def _centers(pixels: int, tiles: int) -> NDArray[np.float64]:
    return (np.arange(tiles) + 0.5) * pixels / tiles - 0.5


def _of_equal_length(what: str, images: ArrayLike, *arrays: ArrayLike) -> list[NDArray[Any]]:
    """Give images and the arrays beside them after checking that there is one entry per image."""
    pictures = array_of(images, (4,), what, "(samples, channels, height, width)")
    given = [np.asarray(array) for array in arrays]
    for array in given:
        if array.shape != (len(pictures),):
            raise ValueError(
                f"{what}: got an array of shape {array.shape} for {len(pictures)} images, expected "
                f"({len(pictures)},); pass one entry per image"
            )
    return [pictures, *given]
