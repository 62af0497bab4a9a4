"""Pictures made of pictures: feature maps, filters, samples and mistakes."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure, SubFigure
from numpy.typing import ArrayLike, NDArray

from glassbox.report.charts import class_scores, running_panels
from glassbox.report.metrics import confused_pairs
from glassbox.report.names import short_names
from glassbox.report.style import (
    COLOR,
    SIZE,
    array_of,
    bare,
    by,
    class_labels,
    color_bar,
    diverging,
    font,
    mosaic,
    new_figure,
    paint,
    photograph,
    plain,
)

COLUMNS = 8  # feature maps in one row
TILE = 0.86  # inches, a feature map's side
GAP = 0.17  # inches between rows
MARGIN = 1.55  # inches at the left, for a layer's name and shape
BARS = 128  # features up to which a vector is drawn as bars; beyond, as rows of colored cells

Activations = Sequence[tuple[str, ArrayLike]]


def feature_maps(
    image: ArrayLike, activations: Activations, title: str = "", limit: int = 16
) -> Figure:
    """Draw what every layer makes of one image, one row per layer, zero in white.

    image        (channels, height, width)
    activations  (layer name, array) pairs; the array is (channels, height, width) or (features,)
    limit        the most maps drawn for a layer; a layer with more says "16 of 64 maps"

    The maps of a layer share one scale, red above zero and blue below, whose end is written at
    the left. Vectors are bars on that scale or, beyond 128 features, rows of colored cells.

    Raises ValueError for an image or activations of other shapes.
    """
    layers = _checked(activations)
    height = sum(_heights(layers, limit)) + 0.05
    figure = new_figure(MARGIN + COLUMNS * TILE + 0.15, height, constrained=False)
    _draw_maps(figure, image, layers, limit, title or "What each layer makes of one image")
    return figure


def filters(weights: ArrayLike, name: str, limit: int = 16) -> Figure:
    """Draw the kernels of a convolution on one scale about zero: red above, blue below.

    weights     (out channels, in channels, kernel height, kernel width)
    name        the layer's, for the title
    limit       the most output and the most input channels drawn; more are counted in the title

    A filter that reads several channels is a row with one kernel per channel; filters that read
    one channel are laid out in rows of eight.

    Raises ValueError for weights of another number of dimensions.
    """
    array = array_of(weights, (4,), "filters", "(out, in, kernel height, kernel width)")
    out, into = array.shape[:2]
    kept = array[: limit if into > 1 else 4 * limit, :limit]
    scale = diverging(kept)
    tiles = paint(kept, scale)
    columns = kept.shape[1] if into > 1 else min(COLUMNS if len(kept) > 8 else 4, len(kept))
    sheet = mosaic(tiles.reshape(-1, *tiles.shape[2:]), columns, sharp=60)
    rows = -(-kept.shape[0] * kept.shape[1] // columns)
    side = 0.5 if into > 1 else 0.75
    tall = side * rows * array.shape[2] / array.shape[3]
    figure = new_figure(max(4.6, side * columns + 1.9), max(2.2, tall + 1.2))
    axes = bare(figure.subplots())
    axes.imshow(sheet)
    shape = by(array.shape[2:])
    title = f"{name}: {_of(len(kept), out, 'filter')} of {shape}"
    if into > 1:
        title += f"\nrows: filters, columns: {_of(kept.shape[1], into, 'input channel')}"
        axes.set_yticks(_centers(len(sheet), rows), map(str, range(rows)))
        axes.set_xticks(_centers(sheet.shape[1], columns), map(str, range(columns)))
    figure.suptitle(plain(title), x=0.02, ha="left", **font("title", "ink"))
    color_bar(axes, scale, "weight", shrink=0.8, aspect=24)
    return figure


def preview(
    image: ArrayLike,
    activations: Activations,
    scores: ArrayLike,
    classes: Sequence[str],
    truth: int | None,
    running: tuple[ArrayLike, ArrayLike, ArrayLike],
    title: str = "",
    limit: int = 8,
) -> Figure:
    """Draw one picture of a network in training: what it sees, what it says, how it fares.

    image, activations, limit   as for `feature_maps`
    scores, classes, truth      as for `class_scores`
    running                     (images seen, losses, accuracies), as for `running`
    title                       where training stands: "epoch 1, 25 % of the data"

    Raises ValueError as those three do.
    """
    layers = _checked(activations)
    left, right = MARGIN + COLUMNS * TILE + 0.15, 5.4
    height = max(sum(_heights(layers, limit)) + 0.05, 7.2)
    figure = new_figure(left + right, height, constrained=False)
    figure.suptitle(
        plain(title),
        x=0.15 / (left + right),
        ha="left",
        y=1 - 0.1 / height,
        va="top",
        fontsize=SIZE["title"] + 2,
        color=COLOR["ink"],
        fontweight="bold",
    )
    halves = figure.add_gridspec(
        1, 2, left=0, right=1, bottom=0, top=1, wspace=0, width_ratios=[left, right]
    )
    maps, charts = (figure.add_subfigure(halves[0, side]) for side in (0, 1))
    _draw_maps(maps, image, layers, limit, "")
    grid = charts.add_gridspec(
        3,
        1,
        left=0.2,
        right=0.96,
        top=1 - 0.55 / height,
        bottom=0.55 / height,
        hspace=0.5,
        height_ratios=[max(1.4, 0.13 * len(classes)), 1, 1],
    )
    bars, *panels = (charts.add_subplot(grid[row, 0]) for row in range(3))
    class_scores(scores, classes, truth, axes=bars)
    running_panels(panels, *running)
    panels[0].set_xlabel("")
    return figure


def mistakes(
    images: ArrayLike,
    truth: ArrayLike,
    predicted: ArrayLike,
    confidence: ArrayLike,
    classes: Sequence[str],
    indices: ArrayLike | None = None,
    limit: int = 24,
) -> Figure:
    """Draw the mistakes made with the most confidence, worst first.

    images             (samples, channels, height, width)
    truth, predicted   (samples,) labels; samples where they agree are left out
    confidence         (samples,) the score of the prediction, by which they are ordered
    indices            (samples,) the number to print for each, such as its place in the test
                       set; by default its place in these arrays

    Raises ValueError where the arrays are not equally long.
    """
    pictures = array_of(images, (4,), "mistakes", "(samples, channels, height, width)")
    right, said, sure = (np.asarray(v) for v in (truth, predicted, confidence))
    numbers = np.arange(len(pictures)) if indices is None else np.asarray(indices)
    _same_length("mistakes", len(pictures), right, said, sure, numbers)
    wrong = np.flatnonzero(right != said)
    worst = wrong[np.argsort(-sure[wrong], kind="stable")][:limit]
    rows, columns = max(1, -(-len(worst) // COLUMNS)), min(COLUMNS, max(len(worst), 4))
    figure = new_figure(1.32 * columns + 0.2, 1.85 * rows + 0.75)
    names = class_labels(classes, 12)
    title = f"No mistakes among {len(pictures):,} images"
    if len(wrong):
        title = f"{_of(len(worst), len(wrong), 'mistake')}, the most confident first\n"
        title += "in color: the prediction and its score"
    figure.suptitle(title, x=0.01, ha="left", **font("title", "ink"))
    for cell, axes in enumerate(figure.subplots(rows, columns, squeeze=False).flat):
        bare(axes)
        if cell >= len(worst):
            axes.set_visible(False)
            continue
        i = worst[cell]
        axes.imshow(photograph(pictures[i]), interpolation="nearest")
        said_text = f"{names[said[i]]} ({sure[i]:.2f})"
        axes.set_title(said_text, pad=3, fontweight="bold", **font("small", "wrong"))
        truth_text = f"is {names[right[i]]}\nno. {numbers[i]}"
        axes.set_xlabel(truth_text, labelpad=3, **font("small", "ink"))
    return figure


def confused(
    images: ArrayLike,
    truth: ArrayLike,
    predicted: ArrayLike,
    confidence: ArrayLike,
    classes: Sequence[str],
    pairs: int = 8,
    each: int = 8,
) -> Figure:
    """Draw the most frequent confusions, one row for each, with the surest examples first.

    images             (samples, channels, height, width)
    truth, predicted   (samples,) labels; samples where they agree are left out
    confidence         (samples,) the score of the prediction
    pairs, each        the most rows, and the most examples in a row

    Raises ValueError where the arrays are not equally long.
    """
    pictures = array_of(images, (4,), "confused", "(samples, channels, height, width)")
    right, said, sure = (np.asarray(v) for v in (truth, predicted, confidence))
    _same_length("confused", len(pictures), right, said, sure)
    n = len(classes)
    counts = np.bincount(n * right + said, minlength=n * n).reshape(n, n)
    worst = confused_pairs(counts, pairs)
    height, width = pictures.shape[2:]
    tiles = np.full((max(len(worst), 1), each, height, width, 3), np.nan)
    names, labels = class_labels(classes, 18), []
    for row, (is_, taken, count) in enumerate(worst):
        where = np.flatnonzero((right == is_) & (said == taken))
        for column, i in enumerate(where[np.argsort(-sure[where], kind="stable")][:each]):
            tiles[row, column] = photograph(pictures[i])
        there = int(counts[is_].sum())
        share = f"{count:,} of {there:,} ({100 * count / there:.1f} %)"
        labels.append(f"{names[is_]},\ntaken for {names[taken]}:\n{share}")
    tall = 0.74 * len(tiles) * height / width
    figure = new_figure(0.74 * each + 2.1, max(tall, 0.58 * len(tiles)) + 0.7)
    axes = bare(figure.subplots())
    there = int((counts * ~np.eye(n, dtype=bool) > 0).sum())
    title = f"No mistakes among {len(pictures):,} images"
    if worst:
        sheet = mosaic(tiles.reshape(-1, height, width, 3), each, sharp=1)
        axes.imshow(sheet, interpolation="nearest")
        title = f"{_of(len(worst), there, 'confusion')}, the most frequent first"
        axes.set_yticks(_centers(len(sheet), len(worst)), labels)
        axes.tick_params(length=0)
    figure.suptitle(title, x=0.02, ha="left", **font("title", "ink"))
    return figure


def samples(
    images: ArrayLike, labels: ArrayLike, classes: Sequence[str], each: int = 10, limit: int = 20
) -> Figure:
    """Draw the first examples of every class, one row per class.

    images      (samples, channels, height, width)
    labels      (samples,)
    each        examples per class; a class with fewer leaves its row unfinished
    limit       the most classes drawn

    Raises ValueError where images and labels are not equally long.
    """
    pictures = array_of(images, (4,), "samples", "(samples, channels, height, width)")
    known = np.asarray(labels)
    _same_length("samples", len(pictures), known)
    rows = min(len(classes), limit)
    height, width = pictures.shape[2:]
    tiles = np.full((rows, each, height, width, 3), np.nan)
    for row in range(rows):
        for column, i in enumerate(np.flatnonzero(known == row)[:each]):
            tiles[row, column] = photograph(pictures[i])
    # Photographs are large files once their pixels are blended; enlarged as they are, they are not.
    sheet = mosaic(tiles.reshape(-1, height, width, 3), each, sharp=1)
    figure = new_figure(0.7 * each + 1.4, 0.7 * rows * height / width + 0.6)
    axes = bare(figure.subplots())
    axes.imshow(sheet, interpolation="nearest")
    title = f"{_of(rows, len(classes), 'class', 'es')}, the first examples of each"
    axes.set_title(title, loc="left", **font("title", "ink"))
    axes.set_yticks(_centers(sheet.shape[0], rows), class_labels(classes)[:rows])
    return figure


def _checked(activations: Activations) -> list[tuple[str, NDArray[Any]]]:
    layers = []
    for name, value in activations:
        what = f"feature_maps: layer {name!r}"
        array = array_of(value, (1, 3), what, "(channels, height, width) or (features,)")
        # After a global pooling a map is one number, and a bar shows it better than a tile.
        layers.append((name, array.ravel() if array.shape[1:] == (1, 1) else array))
    return layers


def _heights(layers: list[tuple[str, NDArray[Any]]], limit: int) -> list[float]:
    """Inches for the title, for the input and for every layer, the gap below included."""
    heights = [0.45, 1.14 + GAP]
    for _, array in layers:
        if array.ndim == 3:
            rows = -(-min(len(array), limit) // COLUMNS)
            tall = min(max(array.shape[1] / array.shape[2], 0.5), 1.5)
            heights.append(max(rows * TILE * tall, 0.62) + GAP)
        else:
            cells = 0.11 * len(_wrapped(array))
            heights.append((0.62 if len(array) <= BARS else max(cells, 0.62)) + GAP)
    return heights


def _draw_maps(
    figure: Figure | SubFigure,
    image: ArrayLike,
    layers: list[tuple[str, NDArray[Any]]],
    limit: int,
    title: str,
) -> None:
    picture = array_of(image, (3,), "feature_maps: image", "(channels, height, width)")
    wide, high = figure.bbox.width / figure.dpi, figure.bbox.height / figure.dpi
    figure.suptitle(
        plain(title),
        x=0.12 / wide,
        y=1 - 0.12 / high,
        ha="left",
        va="top",
        fontsize=SIZE["title"],
        color=COLOR["ink"],
    )

    def place(left: float, top: float, width: float, height: float) -> Axes:
        # By hand, in inches from the top left: every tile then has the same size on every layer.
        box = (left / wide, 1 - (top + height) / high, width / wide, height / high)
        return bare(figure.add_axes(box))

    heights = _heights(layers, limit)
    tops = np.cumsum([0.0, *heights])[1:-1]
    axes = place(MARGIN, tops[0], COLUMNS * TILE, heights[1] - GAP)
    axes.imshow(photograph(picture), interpolation="nearest")
    axes.set_anchor("NW")
    _caption(axes, "input", by(picture.shape))
    bar = place(MARGIN + COLUMNS * TILE - 2.6, tops[0] + 0.42, 2.4, 0.13)
    _color_key(bar)
    for (name, array), top, height in zip(layers, tops[1:], heights[2:], strict=True):
        _draw_layer(place(MARGIN, top, COLUMNS * TILE, height - GAP), name, array, limit)


def _color_key(axes: Axes) -> None:
    scale = diverging(np.ones(1))
    bar = color_bar(axes, scale, into=axes, orientation="horizontal", ticks=[-1, 0, 1])
    bar.ax.set_xticklabels(["below 0", "0", "above 0"])
    bar.ax.tick_params(length=0)
    bar.ax.set_title(
        "activation; each layer has its own scale",
        loc="center",
        fontsize=SIZE["small"],
        color=COLOR["soft"],
        pad=5,
    )


def _draw_layer(axes: Axes, name: str, array: NDArray[Any], limit: int) -> None:
    # The scale is the whole layer's, so that it does not depend on how many maps are drawn.
    scale = diverging(array)
    end = scale.get_clim()[1]
    lines = [by(array.shape)] if array.ndim == 3 else []
    if array.ndim == 3:
        axes.imshow(mosaic(paint(array[:limit], scale), COLUMNS))
        axes.set_anchor("NW")
        if len(array) > limit:
            lines.append(_of(limit, len(array), "map"))
    elif len(array) <= BARS:
        lines.append(_of(len(array), len(array), "feature"))
        _draw_bars(axes, array)
    else:
        wrapped = _wrapped(array)
        axes.imshow(paint(wrapped, scale), interpolation="nearest")
        axes.set_anchor("NW")
        lines.append(_of(wrapped.size, len(array), "feature"))
    _caption(axes, name, *lines, f"scale \u00b1{end:.3g}")


def _draw_bars(axes: Axes, array: NDArray[Any]) -> None:
    heights = np.nan_to_num(array.astype(np.float64), nan=0.0, posinf=0.0, neginf=0.0)
    colors = [COLOR["above" if height > 0 else "below"] for height in heights]
    axes.bar(range(len(array)), heights, width=0.8, color=colors, linewidth=0)
    axes.axhline(0, color=COLOR["soft"], linewidth=0.6)
    axes.set_xlim(-0.6, len(array) - 0.4)
    axes.set_ylim(min(heights.min(), 0.0), max(heights.max(), 0.0) or 1.0)


def _wrapped(array: NDArray[Any]) -> NDArray[Any]:
    """A vector as rows of BARS cells, at most eight; the last row is filled up with zeros."""
    kept = array[: 8 * BARS]
    return np.append(kept, np.zeros(-len(kept) % BARS, array.dtype)).reshape(-1, BARS)


def _caption(axes: Axes, name: str, *lines: str) -> None:
    """A layer's name and what is to be said of it, at the left of its row."""
    figure: Any = axes.figure
    top = axes.get_position(original=True).y1
    for text, down, size, color, weight in (
        (plain(short_names([name], 18)[0]), 0, "text", "ink", "bold"),
        ("\n".join(lines), -14, "small", "soft", "normal"),
    ):
        axes.annotate(
            text,
            (0, top),
            (9, down),
            xycoords=figure.transSubfigure,
            textcoords="offset points",
            va="top",
            fontsize=SIZE[size],
            fontweight=weight,
            color=COLOR[color],
            annotation_clip=False,
        )


def _of(drawn: int, there: int, noun: str, plural: str = "s") -> str:
    """Say "16 of 64 maps" where some are left out, else "64 maps"."""
    count = f"{drawn:,} of {there:,}" if drawn < there else f"{there:,}"
    return f"{count} {noun}{plural if there != 1 else ''}"


def _centers(pixels: int, tiles: int) -> NDArray[np.float64]:
    return (np.arange(tiles) + 0.5) * pixels / tiles - 0.5


def _same_length(what: str, samples: int, *arrays: NDArray[Any]) -> None:
    for array in arrays:
        if array.shape != (samples,):
            raise ValueError(
                f"{what}: got an array of shape {array.shape} for {samples} images, expected "
                f"({samples},); pass one entry per image"
            )
