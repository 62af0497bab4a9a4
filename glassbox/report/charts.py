"""Pictures made of lines, bars and tables: how training went, and where the network errs.

All raise ValueError, naming the argument, for arrays that do not fit together.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize, to_rgb
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator
from numpy.typing import ArrayLike, NDArray

from glassbox.report import style
from glassbox.report.canvas import house_style
from glassbox.report.style import COLOR, SIZE, class_labels, dress, font, new_figure, write

NUMBERED = 30  # classes up to which a confusion matrix has numbers; beyond they would be dust


@house_style
def curves(history: Sequence[Mapping[str, Any]]) -> Figure:
    """Draw loss and accuracy against epochs, training beside validation, the best epoch ringed.

    history     one record per epoch with "epoch", "loss", "accuracy" (0 to 1) and, where there
                was a validation, "validation_loss" and "validation_accuracy"; others are ignored

    Losses that span more than a factor of 100 get a logarithmic axis.
    """
    if not history:
        raise ValueError("curves: got an empty history, expected one record per epoch; train first")
    figure = new_figure(10.5, 4.2)
    lines: dict[str, Line2D] = {}
    for axes, key in zip(figure.subplots(1, 2), ("loss", "accuracy"), strict=True):
        watched = ""  # validation, where there is one
        for source, name in (("training", key), ("validation", f"validation_{key}")):
            epochs, values = _series(history, name)
            if len(epochs):
                lines[source] = _line(axes, epochs, values, source)
                watched = source
        title = _draw_best(axes, key, history, watched) if watched else f"No {key} recorded"
        dress(axes, title, "epoch", grid="y")
        _scale(axes, key)
        first, last = history[0]["epoch"], history[-1]["epoch"]
        axes.set_xlim(first - 0.5, last + max(0.5, 0.02 * (last - first)))
        axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    style.legend(figure, lines.values(), lines, "outside upper right", SIZE["text"], ncols=2)
    return figure


@house_style
def running(steps: ArrayLike, losses: ArrayLike, accuracies: ArrayLike) -> Figure:
    """Draw the running loss and accuracy within training against the images seen so far.

    steps               (points,) number of images seen
    losses, accuracies  (points,) running means; accuracies from 0 to 1
    """
    figure = new_figure(10.5, 3.8)
    running_panels(list(figure.subplots(1, 2)), steps, losses, accuracies)
    return figure


def running_panels(
    panels: Sequence[Axes], steps: ArrayLike, losses: ArrayLike, accuracies: ArrayLike
) -> None:
    """Draw what `running` shows into two given axes: loss into the first, accuracy the second."""
    seen, loss, accuracy = (np.asarray(v, np.float64) for v in (steps, losses, accuracies))
    if seen.ndim != 1 or not seen.shape == loss.shape == accuracy.shape:
        raise ValueError(
            f"running: got shapes {seen.shape}, {loss.shape} and {accuracy.shape}, expected one "
            "number of images, one loss and one accuracy per point, (points,) each"
        )
    for axes, key, values in zip(panels, ("loss", "accuracy"), (loss, accuracy), strict=True):
        _line(axes, seen, values, "training")
        now = f": now {_number(key, values[-1])}" if len(seen) else ": nothing yet"
        dress(axes, f"Running {key}{now}", "images seen", grid="y")
        axes.xaxis.set_major_formatter(style.THOUSANDS)
        axes.xaxis.set_major_locator(MaxNLocator(5, integer=True))
        _scale(axes, key)


@house_style
def confusion(
    matrix: ArrayLike, classes: Sequence[str], normalized: bool = False,
    totals: NDArray[Any] | None = None,
) -> Axes:  # fmt: skip
    """Draw a confusion matrix whose color shows the errors; right answers stay pale blue.

    matrix      (classes, classes) counts; rows are the truth, columns the prediction
    normalized  write, and color by, the share of each row in per cent instead of counts
    totals      images of each class, if the matrix is of some classes only

    Each row ends with its recall: the share of that class that was found.
    """
    counts, n = style.array_of(matrix, (2,), "confusion", "(classes, classes)"), len(classes)
    if counts.shape != (n, n):
        raise ValueError(
            f"confusion: got a matrix of shape {counts.shape}, expected ({n}, {n}) for the {n} "
            "classes; give one name per row"
        )
    totals = counts.sum(axis=1) if totals is None else totals
    diagonal = np.eye(n, dtype=bool)
    shares = counts / np.maximum(totals, 1)[:, None]
    shown = 100 * shares if normalized else counts
    errors = np.where(diagonal, 0, shown)
    side = (0.56 if n <= 12 else 0.46 if n <= NUMBERED else 0.2) * max(n, 5)
    axes = new_figure(side + 2.9, side + 1.6).subplots()
    scale = ScalarMappable(Normalize(0, max(errors.max(), 1)), matplotlib.colormaps["Oranges"])
    colors = np.asarray(scale.to_rgba(errors))[..., :3]
    colors[errors == 0] = 1.0
    colors[diagonal] = to_rgb(COLOR["diagonal"])
    axes.imshow(colors, aspect="equal", interpolation="nearest")
    if n <= NUMBERED:
        _write_cells(axes, shown, errors, scale, normalized)
    right, samples = int(np.trace(counts)), int(totals.sum())
    share = 100 * right / max(samples, 1)
    dress(axes, f"{right:,} of {samples:,} right ({share:.1f} %)", "predicted", "truth")
    _name_both_axes(axes, class_labels(classes))
    options = font("small", "soft") | {"ha": "left"}
    write(axes, n - 0.35, -0.75, "found", **options)
    for row, (recall, total) in enumerate(zip(np.diag(shares), totals, strict=True)):
        write(axes, n - 0.35, row, f"{100 * recall:.1f} %" if total else "none", **options)
    what, ticks = "errors, % of the row", MaxNLocator(5, integer=True)
    what = what if normalized else "wrong images"
    style.color_bar(axes, scale, what, shrink=0.6, aspect=25, pad=0.02, ticks=ticks)
    return axes


@house_style
def class_scores(
    scores: ArrayLike, classes: Sequence[str], truth: int | None = None, axes: Axes | None = None,
    limit: int = 20,
) -> Axes:  # fmt: skip
    """Draw one bar per class; the predicted and the true class are marked by color and words.

    scores      (classes,) what the network gives for one sample; the largest is its prediction
    truth       the sample's label, where it is known
    limit       of more classes than this only the highest scores are drawn, and the truth
    """
    values = style.array_of(scores, (1,), "class_scores", "(classes,)").astype(np.float64)
    if len(values) != len(classes) or (truth is not None and not 0 <= truth < len(classes)):
        raise ValueError(
            f"class_scores: got {len(values)} scores and truth {truth} for {len(classes)} classes, "
            "expected one score per class and a truth among them"
        )
    heights = np.nan_to_num(values, nan=0.0, posinf=0.0, neginf=0.0)
    best = int(np.argmax(np.where(np.isnan(values), -np.inf, values)))
    keep = np.sort(np.argsort(-heights, kind="stable")[:limit])
    if truth is not None and truth not in keep:
        keep = np.append(keep, truth)
    if axes is None:
        axes = new_figure(6.4, 0.9 + 0.29 * max(len(keep), 4)).subplots()
    names, rows = class_labels(classes), range(len(keep))
    roles = {} if truth is None else {truth: ("truth", "the truth")}
    roles[best] = ("wrong", "predicted")
    verdict = f"Predicted {names[best]}"
    if truth is None:
        roles[best] = ("truth", "predicted")
    elif truth == best:
        roles[best], verdict = ("right", "predicted, and true"), f"{verdict}, which is right"
    else:
        verdict += f", but it is {names[truth]}"
    colors, words = zip(*(roles.get(int(i), ("other", "")) for i in keep), strict=True)
    axes.barh(rows, heights[keep], color=[COLOR[c] for c in colors], height=0.72, linewidth=0)
    drawn = "" if len(keep) == len(classes) else f", {len(keep)} of {len(classes)} classes"
    dress(axes, verdict, f"score{drawn}", grid="x")
    axes.set_yticks(rows, [names[i] for i in keep])
    axes.invert_yaxis()
    axes.spines["left"].set_visible(False)
    axes.tick_params(axis="y", length=0)
    low, high = min(heights.min(), 0.0), max(heights.max(), 0.0)
    high = 1.0 if low >= 0 and high <= 1 else high
    span = high - low
    axes.set_xlim(low - (0.03 * span if low < 0 else 0), high + 0.68 * span)  # room for the words
    axes.set_xticks([tick for tick in MaxNLocator(5).tick_values(low, high) if low <= tick <= high])
    for row, i in enumerate(keep):
        text, place = f"{values[i]:.2f}  {words[row]}", max(heights[i], 0.0) + 0.02 * span
        look = font("small", colors[row] if words[row] else "soft")
        write(axes, place, row, text, fontweight="bold" if words[row] else "normal", **look)
    return axes


def _series(
    history: Sequence[Mapping[str, Any]], key: str
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    points = [(r["epoch"], r[key]) for r in history if r.get(key) is not None]
    table = np.array(points, np.float64).reshape(-1, 2)
    return table[:, 0], table[:, 1]


def _line(axes: Axes, x: NDArray[Any], y: NDArray[Any], source: str) -> Line2D:
    marker = "o" if len(x) <= 30 else ""  # a single point has no line to show it
    look: dict[str, Any] = {"linewidth": 1.8, "linestyle": "-", "marker": marker, "markersize": 4}
    return axes.plot(x, y, color=COLOR[source], **look)[0]


def _draw_best(axes: Axes, key: str, history: Sequence[Mapping[str, Any]], source: str) -> str:
    """Ring the best value and say in words which it is; of equal ones that of the lowest loss."""
    prefix = "validation_" if source == "validation" else ""
    (epochs, values), (_, losses) = (_series(history, prefix + name) for name in (key, "loss"))
    name = key.capitalize()
    if not np.isfinite(values).any():
        return f"{name}: not one finite value"
    ranked = np.where(np.isfinite(values), values if key == "accuracy" else -values, -np.inf)
    equal = np.flatnonzero(ranked == ranked.max())
    at = equal[losses[equal].argmin() if len(losses) == len(values) else 0]
    ring: dict[str, Any] = {"markerfacecolor": "none", "markeredgewidth": 1.6, "markersize": 11}
    axes.plot(epochs[at], values[at], "o", markeredgecolor=COLOR[source], clip_on=False, **ring)
    word, where = "lowest" if key == "loss" else "best", " on validation" if prefix else ""
    return f"{name}: {word}{where} {_number(key, values[at])} in epoch {epochs[at]:.0f}"


def _number(key: str, value: float) -> str:
    return f"{value:.3g}" if key == "loss" else f"{100 * value:.2f} %"


def _scale(axes: Axes, key: str) -> None:
    """Choose the y axis: per cent, logarithmic, or from zero with room above the highest."""
    drawn = np.concatenate([np.zeros(0), *(np.asarray(line.get_ydata()) for line in axes.lines)])
    drawn = drawn[np.isfinite(drawn)]
    low, high = (float(drawn.min()), float(drawn.max())) if drawn.size else (0.0, 1.0)
    if key == "accuracy":
        room = 0.06 * max(high - low, 0.05)
        axes.set_ylim(low - room, high + room)
        axes.yaxis.set_major_formatter(style.percent)
    elif low > 0 and high > 100 * low:
        axes.set_yscale("log")
        axes.yaxis.set_major_formatter(lambda value, _: f"{value:g}")
        axes.set_ylabel("logarithmic", **font("small", "soft"))
    else:
        axes.set_ylim(min(0.0, low), high + 0.08 * ((high - min(0.0, low)) or 1.0))


def _write_cells(
    axes: Axes, shown: NDArray[Any], errors: NDArray[Any], scale: ScalarMappable, normalized: bool
) -> None:
    n = len(shown)
    texts = {
        place: f"{v:.1f}" if normalized and v else f"{v:.0f}" for place, v in np.ndenumerate(shown)
    }
    longest = max(map(len, texts.values()))
    size = SIZE["text"] if longest <= 4 and n <= 12 else SIZE["small"] - (n > 16) - (longest > 5)
    # White ink where it has more contrast: where less than 22 % of the light comes back.
    light = np.asarray(scale.to_rgba(errors))[..., :3] ** 2.2 @ (0.2126, 0.7152, 0.0722)
    for (row, column), text in texts.items():
        right, empty = row == column, not shown[row, column]
        color = "paper" if light[row, column] < 0.22 else "ink"
        color = ("soft" if right else "grid") if empty else color
        look: dict[str, Any] = {"fontsize": size, "fontweight": "bold" if right else "normal"}
        write(axes, column, row, text, color=COLOR[color], ha="center", **look)


def _name_both_axes(axes: Axes, names: list[str]) -> None:
    places, end = range(len(names)), len(names) - 0.5
    turn = 0 if max(map(len, names)) <= 3 else 40 if len(names) <= 20 else 90
    anchor: dict[str, Any] = {"ha": "right" if turn else "center"}
    anchor["va"] = "center" if turn == 90 else "top"
    axes.set_xticks(places, names, rotation=turn, rotation_mode="anchor", **anchor)
    axes.set_yticks(places, names)
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    edges = np.arange(1, len(names)) - 0.5
    axes.hlines(edges, -0.5, end, color=COLOR["grid"], linewidth=0.8)
    axes.vlines(edges, -0.5, end, color=COLOR["grid"], linewidth=0.8)
