"""Pictures of scores: ROC curves, reliability, and maps of what lies beside what.

All raise ValueError, naming the argument, for arrays that do not fit together.
"""

from collections.abc import Sequence
from typing import Any

import matplotlib
import numpy as np
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import NullLocator
from numpy.typing import ArrayLike

from glassbox.report import style
from glassbox.report.canvas import house_style
from glassbox.report.scores import Calibration, Roc
from glassbox.report.style import CLASS_HUES, COLOR, SIZE, dress, font, new_figure, write

NAMED = 20  # classes that a legend has room for
DOTTED: dict[str, Any] = {"color": COLOR["other"], "linewidth": 1, "linestyle": ":"}
RATES = ("of the others, taken for it", "of the class, found")


@house_style
def roc(curves: Roc, limit: int = NAMED) -> Figure:
    """Draw the ROC curve of every class twice: as usual, and with the corner drawn apart.

    curves     what `glassbox.report.scores.roc` gives
    limit      of more classes than this only those with the smallest areas are drawn

    The curves of a good network all hug the top left corner. The right panel has a logarithmic
    axis of false positives and begins where the lowest curve does, so that they come apart there.
    The legend gives the area under each curve, or "undefined" where no image, or every image,
    is of that class.
    """
    n = len(curves.classes)
    # Undefined areas come last when few may be drawn, yet all stay in the order of the classes.
    kept = np.sort(np.argsort(np.nan_to_num(curves.auc, nan=2.0), kind="stable")[:limit])
    figure = new_figure(12.2, 4.9)
    whole, corner = figure.subplots(1, 2)
    # A logarithm knows no zero: what has no false positive stands at the left edge, at half of the
    # smallest rate above zero.
    rates = np.concatenate([np.ones(1), *(false for false, _ in curves.curves)])
    least = float(rates[rates > 0].min()) / 2
    lines, texts, names = [], [], style.class_labels(curves.classes, 20)
    for label in kept:
        false, true = curves.curves[label]
        look: dict[str, Any] = {"color": class_colors(n)[label], "linewidth": 1.6}
        look["linestyle"] = "--" if label % 2 and n > len(CLASS_HUES) else "-"  # hues are near
        lines += whole.plot(false, true, **look)
        corner.plot(np.maximum(false, least), true, **look)
        area = curves.auc[label]
        texts.append(f"{'undefined' if np.isnan(area) else format(area, '.4f')}  {names[label]}")
    whole.plot([0, 1], [0, 1], **DOTTED)
    write(whole, 0.62, 0.55, "a coin's throw", **font("small", "soft"))
    title = "no class has a curve" if np.isnan(curves.macro) else f"mean area {curves.macro:.4f}"
    dress(whole, f"ROC, each class against the rest: {title}", *RATES, grid="y")
    dress(corner, "The same, the corner drawn apart", *RATES, grid="y")
    whole.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.02))
    # What is found before the first false alarm, in the worst of the classes.
    starts = [true[false == 0].max() for false, true in curves.curves if len(true)]
    height = 1.02 - min(starts, default=0.0)
    corner.set(
        xscale="log", xlim=(least * 0.9, 1.1), ylim=(1.0 - 1.1 * height, 1.0 + 0.05 * height)
    )
    corner.xaxis.set_minor_locator(NullLocator())
    for axis in (whole.xaxis, whole.yaxis, corner.xaxis, corner.yaxis):
        axis.set_major_formatter(style.percent)
    heading = "area under the curve" if len(kept) == n else f"the {len(kept)} smallest of {n} areas"
    style.legend(figure, lines, texts, "outside right upper", SIZE["small"] + 0.5, heading)
    return figure


@house_style
def reliability(calibration: Calibration) -> Figure:
    """Draw how often the predictions are right against how sure the network was of them.

    calibration    what `glassbox.report.scores.calibration` gives

    A network that keeps its word lies on the diagonal; below it, it is too sure. The bars beneath
    count the images of each bin, on a logarithmic axis since most are in the last one.
    """
    figure, soft = new_figure(6.6, 6.6), font("small", "soft")
    above, below = figure.subplots(2, 1, sharex=True, height_ratios=[3, 1])
    above.plot([0, 1], [0, 1], **DOTTED)
    counts = calibration.images
    sure, right = calibration.confidence[counts > 0], calibration.accuracy[counts > 0]
    # A gap is drawn as a bar from the diagonal, so that it can be seen how far off a bin is.
    above.vlines(sure, sure, right, color=COLOR["wrong"], linewidth=5, alpha=0.35)
    look: dict[str, Any] = {"marker": "o", "markersize": 5, "linewidth": 1.6}
    above.plot(sure, right, color=COLOR["truth"], clip_on=False, zorder=3, **look)
    title = f"Expected calibration error {100 * calibration.error:.2f} %"
    dress(above, title, y="of these, right", grid="y").set(ylim=(0, 1.02), xlim=(0, 1))
    write(above, 0.03, 0.95, "above the diagonal: too modest", **soft)
    write(above, 0.97, 0.05, "below: too sure", ha="right", **soft)
    edges = np.linspace(0, 1, len(counts) + 1)
    centers = (edges[:-1] + edges[1:]) / 2
    below.bar(centers, counts, width=0.92 / len(counts), color=COLOR["other"], linewidth=0)
    dress(below, "", "confidence: the score of the prediction", "images")
    below.set(yscale="log", ylim=(0.7, 4.0 * counts.max()))
    below.yaxis.set_major_formatter(style.THOUSANDS)
    below.yaxis.set_minor_locator(NullLocator())
    for place, count in zip(centers, counts, strict=True):
        if count and len(counts) <= 15:
            text: dict[str, Any] = font("small", "ink") | {"ha": "center", "va": "bottom"}
            write(below, place, count * 1.1, f"{count:,}", **text)
    for axis in (above.xaxis, above.yaxis, below.xaxis):
        axis.set_major_formatter(style.percent)
    return figure


@house_style
def embedding(
    panels: Sequence[tuple[str, ArrayLike]], truth: ArrayLike, predicted: ArrayLike,
    classes: Sequence[str],
) -> Figure:  # fmt: skip
    """Draw images as points in the plane, colored by their class, the mistakes ringed.

    panels             (title, (samples, 2) places) pairs, drawn side by side
    truth, predicted   (samples,) labels
    classes            the name of each label; more than 20 are colored but not named
    """
    right, said = (np.asarray(v) for v in (truth, predicted))
    figure = new_figure(max(5.3 * len(panels), 6.4), 6.1)
    wrong, colors = np.flatnonzero(right != said), np.array(class_colors(len(classes)))
    grid = figure.subplots(1, len(panels), squeeze=False).flat
    for axes, (title, given) in zip(grid, panels, strict=True):
        places = style.array_of(given, (2,), "embedding", "(samples, 2)")
        if places.shape != (len(right), 2) or right.shape != said.shape:
            raise ValueError(
                f"embedding: got places of shape {places.shape} for {len(right)} true and "
                f"{len(said)} predicted labels, expected ({len(right)}, 2); "
                "pass one place, one label and one prediction per image"
            )
        axes.scatter(*places.T, s=12, c=list(colors[right]), linewidths=0)
        ring: dict[str, Any] = {"s": 34, "edgecolors": COLOR["ink"], "linewidths": 1.3}
        axes.scatter(*places[wrong].T, c=list(colors[right[wrong]]), **ring)
        dress(axes, title).set(xticks=[], yticks=[])
        axes.spines[:].set(visible=True, color=COLOR["grid"])
    mark: dict[str, Any] = {"marker": "o", "linestyle": "none"}
    named = len(classes) <= NAMED
    lines = [Line2D([], [], color=color, **mark) for color in colors[: NAMED * named]]
    ringed: dict[str, Any] = {"markeredgecolor": COLOR["ink"], "markersize": 7}
    lines.append(Line2D([], [], color=COLOR["paper"], **mark, **ringed))
    names = [*(style.class_labels(classes) if named else ()), f"mistaken ({len(wrong):,})"]
    room = 0.7 + 0.085 * max(map(len, names))  # inches for a name and its mark
    columns = max(1, min(len(names), 6, int(figure.get_figwidth() / room)))
    place, size = "outside lower center", SIZE["small"] + 0.5
    style.legend(figure, lines, names, place, size, ncols=columns)
    return figure


def class_colors(count: int) -> list[str]:
    """Give a color to each of `count` classes; up to ten are told apart at a glance."""
    if count <= len(CLASS_HUES):
        return CLASS_HUES[:count]
    return [to_hex(c) for c in matplotlib.colormaps["turbo"](np.linspace(0.03, 0.97, count))]
