"""Pictures of scores: ROC curves, reliability, and maps of what lies beside what."""

from collections.abc import Sequence
from typing import Any

import matplotlib
import numpy as np
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from matplotlib.legend import Legend
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, NullLocator
from numpy.typing import ArrayLike

from glassbox.report.scores import Calibration, Roc
from glassbox.report.style import (
    CLASS_HUES,
    COLOR,
    SIZE,
    array_of,
    class_labels,
    dress,
    font,
    new_figure,
    write,
)

NAMED = 20  # classes that a legend has room for


def roc(curves: Roc, limit: int = NAMED) -> Figure:
    """Draw the ROC curve of every class twice: as usual, and with the corner drawn apart.

    curves     what `glassbox.report.scores.roc` gives
    limit      of more classes than this only those with the smallest areas are drawn

    The curves of a good network all hug the top left corner. The right panel has a logarithmic
    axis of false positives and begins where the lowest curve does, so that they come apart there.
    The legend gives the area under each curve, or "undefined" where no image, or every image,
    is of that class.

    >>> from glassbox.report.scores import roc as roc_of
    >>> figure = roc(roc_of([0, 1], [[0.9, 0.1], [0.2, 0.8]], ["cat", "dog"]))
    >>> [text.get_text() for text in figure.legends[0].get_texts()]
    ['1.0000  cat', '1.0000  dog']
    """
    n = len(curves.classes)
    # Undefined areas come last when few may be drawn, yet all stay in the order of the classes.
    kept = np.sort(np.argsort(np.nan_to_num(curves.auc, nan=2.0), kind="stable")[:limit])
    figure = new_figure(12.2, 4.9)
    whole, corner = figure.subplots(1, 2)
    least = _least_rate(curves)
    lines, names = [], class_labels(curves.classes, 20)
    for label in kept:
        false, true = curves.curves[label]
        style: dict[str, Any] = {"color": class_colors(n)[label], "linewidth": 1.6}
        style["linestyle"] = "--" if label % 2 and n > len(CLASS_HUES) else "-"  # hues are near
        lines += whole.plot(false, true, **style)
        # A logarithm knows no zero: what has no false positive stands at the left edge.
        corner.plot(np.maximum(false, least), true, **style)
    whole.plot([0, 1], [0, 1], color=COLOR["other"], linewidth=1, linestyle=":")
    write(whole, 0.62, 0.55, "a coin's throw", **font("small", "soft"))
    title = "no class has a curve" if np.isnan(curves.macro) else f"mean area {curves.macro:.4f}"
    dress(whole, f"ROC, each class against the rest: {title}", *_RATES, grid="y")
    dress(corner, "The same, the corner drawn apart", *_RATES, grid="y")
    whole.set_xlim(-0.02, 1.02)
    whole.set_ylim(-0.02, 1.02)
    corner.set_xscale("log")
    corner.set_xlim(least * 0.9, 1.1)
    corner.xaxis.set_minor_locator(NullLocator())
    # What is found before the first false alarm, in the worst of the classes.
    starts = [true[false == 0].max() for false, true in curves.curves if len(true)]
    height = 1.02 - min(starts, default=0.0)
    corner.set_ylim(1.0 - 1.1 * height, 1.0 + 0.05 * height)
    for axis in (whole.xaxis, whole.yaxis, corner.xaxis, corner.yaxis):
        axis.set_major_formatter(FuncFormatter(_percent))
    areas = ["undefined" if np.isnan(a) else f"{a:.4f}" for a in curves.auc]
    heading = "area under the curve" if len(kept) == n else f"the {len(kept)} smallest of {n} areas"
    texts = [f"{areas[label]}  {names[label]}" for label in kept]
    _legend(figure, lines, texts, heading, "outside right upper")
    return figure


def reliability(calibration: Calibration) -> Figure:
    """Draw how often the predictions are right against how sure the network was of them.

    calibration    what `glassbox.report.scores.calibration` gives

    A network that keeps its word lies on the diagonal; below it, it is too sure. The bars beneath
    count the images of each bin, on a logarithmic axis since most are in the last one.

    >>> from glassbox.report.scores import calibration
    >>> figure = reliability(calibration([0, 1], [[0.9, 0.1], [0.2, 0.8]]))
    >>> figure.axes[0].get_title(loc="left")
    'Expected calibration error 15.00 %'
    """
    figure = new_figure(6.6, 6.6)
    above, below = figure.subplots(2, 1, sharex=True, height_ratios=[3, 1])
    above.plot([0, 1], [0, 1], color=COLOR["other"], linewidth=1, linestyle=":")
    filled = calibration.images > 0
    sure, right = calibration.confidence[filled], calibration.accuracy[filled]
    # A gap is drawn as a bar from the diagonal, so that it can be seen how far off a bin is.
    above.vlines(sure, sure, right, color=COLOR["wrong"], linewidth=5, alpha=0.35)
    style: dict[str, Any] = {"marker": "o", "markersize": 5, "linewidth": 1.6}
    above.plot(sure, right, color=COLOR["truth"], clip_on=False, zorder=3, **style)
    title = f"Expected calibration error {100 * calibration.error:.2f} %"
    dress(above, title, y="of these, right", grid="y")
    above.set_ylim(0, 1.02)
    above.set_xlim(0, 1)
    write(above, 0.03, 0.95, "above the diagonal: too modest", **font("small", "soft"))
    write(above, 0.97, 0.05, "below: too sure", ha="right", **font("small", "soft"))
    edges = np.linspace(0, 1, len(calibration.images) + 1)
    below.bar(
        (edges[:-1] + edges[1:]) / 2,
        calibration.images,
        width=0.92 / len(calibration.images),
        color=COLOR["other"],
        linewidth=0,
    )
    dress(below, "", "confidence: the score of the prediction", "images")
    below.set_yscale("log")
    below.set_ylim(0.7, 4.0 * calibration.images.max())
    below.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
    below.yaxis.set_minor_locator(NullLocator())
    if len(calibration.images) <= 15:
        for place, count in zip((edges[:-1] + edges[1:]) / 2, calibration.images, strict=True):
            if count:
                text: dict[str, Any] = font("small", "ink") | {"ha": "center", "va": "bottom"}
                write(below, place, count * 1.1, f"{count:,}", **text)
    for axis in (above.xaxis, above.yaxis, below.xaxis):
        axis.set_major_formatter(FuncFormatter(_percent))
    return figure


def embedding(
    panels: Sequence[tuple[str, ArrayLike]],
    truth: ArrayLike,
    predicted: ArrayLike,
    classes: Sequence[str],
) -> Figure:
    """Draw images as points in the plane, colored by their class, the mistakes ringed.

    panels             (title, (samples, 2) places) pairs, drawn side by side
    truth, predicted   (samples,) labels
    classes            the name of each label; more than 20 are colored but not named

    >>> figure = embedding([("pixels", [[0, 0], [1, 1]])], [0, 1], [0, 0], ["cat", "dog"])
    >>> [text.get_text() for text in figure.legends[0].get_texts()]
    ['cat', 'dog', 'mistaken (1)']

    Raises ValueError where places and labels do not fit together.
    """
    right, said = (np.asarray(v) for v in (truth, predicted))
    figure = new_figure(max(5.3 * len(panels), 6.4), 6.1)
    wrong = np.flatnonzero(right != said)
    colors = np.array(class_colors(len(classes)))
    for axes, (title, given) in zip(
        figure.subplots(1, len(panels), squeeze=False).flat, panels, strict=True
    ):
        places = array_of(given, (2,), "embedding", "(samples, 2)")
        if places.shape != (len(right), 2) or right.shape != said.shape:
            raise ValueError(
                f"embedding: got places of shape {places.shape} for {len(right)} true and "
                f"{len(said)} predicted labels, expected ({len(right)}, 2); "
                "pass one place, one label and one prediction per image"
            )
        axes.scatter(*places.T, s=12, c=list(colors[right]), linewidths=0)
        ring: dict[str, Any] = {"s": 34, "edgecolors": COLOR["ink"], "linewidths": 1.3}
        axes.scatter(*places[wrong].T, c=list(colors[right[wrong]]), **ring)
        dress(axes, title)
        axes.set_xticks([])
        axes.set_yticks([])
        for spine in axes.spines.values():
            spine.set_visible(True)
            spine.set_color(COLOR["grid"])
    lines, names = [], []
    if len(classes) <= NAMED:
        lines = [_mark(color) for color in colors]
        names = class_labels(classes)
    lines.append(_mark(COLOR["paper"], markeredgecolor=COLOR["ink"], markersize=7))
    names.append(f"mistaken ({len(wrong):,})")
    room = 0.7 + 0.085 * max(map(len, names))  # inches for a name and its mark
    columns = max(1, min(len(names), 6, int(figure.get_figwidth() / room)))
    _legend(figure, lines, names, "", "outside lower center", ncols=columns)
    return figure


def class_colors(count: int) -> list[str]:
    """Give a color to each of `count` classes; up to ten are told apart at a glance."""
    if count <= len(CLASS_HUES):
        return CLASS_HUES[:count]
    return [to_hex(c) for c in matplotlib.colormaps["turbo"](np.linspace(0.03, 0.97, count))]


_RATES = ("of the others, taken for it", "of the class, found")


def _percent(value: float, _: Any = None) -> str:
    return f"{100 * value:g} %"


def _least_rate(curves: Roc) -> float:
    """Half of the smallest false positive rate above zero: the left edge of a logarithmic axis."""
    rates = np.concatenate([np.ones(1), *(false for false, _ in curves.curves)])
    return float(rates[rates > 0].min()) / 2


def _mark(color: str, **look: Any) -> Line2D:
    return Line2D([], [], **({"color": color, "marker": "o", "linestyle": "none"} | look))


def _legend(
    figure: Figure,
    lines: Sequence[Line2D],
    texts: Sequence[str],
    title: str,
    place: Any,
    **more: Any,
) -> Legend:
    legend = figure.legend(
        lines,
        texts,
        loc=place,
        title=title or None,
        frameon=False,
        fontsize=SIZE["small"] + 0.5,
        labelcolor=COLOR["ink"],
        title_fontsize=SIZE["text"],
        **more,
    )
    legend.get_title().set_color(COLOR["soft"])
    return legend
