"""From a trained network's answers to a folder of numbers and pictures, and a page of all."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from glassbox.report.embedding import sample_places, tsne
from glassbox.report.metrics import Metrics, evaluate_predictions
from glassbox.report.report import (
    Link,
    Listing,
    Part,
    Picture,
    Switch,
    Table,
    facts,
    page,
    readable,
)
from glassbox.report.results import Results, as_json, encode
from glassbox.report.scores import Calibration, Roc, calibration, roc
from glassbox.report.style import array_of

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Hidden = ArrayLike | Callable[[NDArray[np.int64]], ArrayLike]
NAMES = {"precision": "precision", "recall": "recall", "f_measure": "F-measure"}
MAP_NOTE = (
    "t-SNE lays images beside each other whose numbers are similar; the ringed ones are mistaken. "
    "Clear heaps mean that the classes are told apart. Distances between heaps, and the axes, "
    "mean nothing."
)


@dataclass(frozen=True, eq=False)
class Run:
    """All that is known of a finished run; everything behind the classes may be left out."""

    images: ArrayLike  # (samples, channels, height, width), of any range
    truth: ArrayLike  # (samples,) integer labels, 0 to len(classes) - 1
    probabilities: ArrayLike  # (samples, classes), 0 to 1; the largest is the prediction
    classes: Sequence[str]  # the name of each label
    title: str = "A run"  # the page's heading
    part: str = "test"  # which part of the data this is; the name of its numbers in metrics.json
    # activations of the last hidden layer, (samples, ...), or a function from places among the
    # samples to the rows for them, called with at most 1,000; and what that layer is called
    hidden: Hidden | None = None
    hidden_name: str = "last hidden layer"
    loss: float | None = None  # mean of these samples
    history: Sequence[Mapping[str, Any]] = ()  # one record per epoch, as for `figures.curves`
    running: Sequence[Mapping[str, Any]] = ()  # dicts of images (seen so far), loss and accuracy
    settings: Mapping[str, Any] = field(default_factory=dict)  # what decided the run; may be nested
    summary: str = ""  # the network as a text table
    machine: Mapping[str, Any] = field(default_factory=dict)  # what it ran on
    seconds: Mapping[str, float] = field(default_factory=dict)  # what took how long
    begun: float | None = None  # `time.perf_counter()` at the start; then "total" is measured, too
    numbers: Mapping[str, Any] = field(default_factory=dict)  # more for metrics.json
    # more pictures: file name -> (title, figure)
    figures: Mapping[str, "tuple[str, Figure]"] = field(default_factory=dict)
    explorer: str = ""  # a file beside the page that shows the network at work


@dataclass(frozen=True, eq=False)
class Scores:
    """Every score of a run: what it called right, how well it ranked, whether it kept its word."""

    metrics: Metrics
    roc: Roc
    calibration: Calibration

    def to_json(self) -> dict[str, Any]:
        """Give all numbers, and the chief ones once more as texts for people."""
        more = {"roc": self.roc.to_json(), "calibration": self.calibration.to_json()}
        return self.metrics.to_json() | more | {"readable": self.readable()}

    def readable(self) -> dict[str, str]:
        """Give the chief scores as short texts."""
        return {
            "accuracy": f"{100 * self.metrics.accuracy:.2f} %",
            **{f"mean {NAMES[key]}": f"{mean:.3f}" for key, mean in self.metrics.macro.items()},
            "mean area under the ROC curve": _area(self.roc.macro),
            "expected calibration error": f"{100 * self.calibration.error:.2f} %",
        }


def score(truth: ArrayLike, probabilities: ArrayLike, classes: Sequence[str]) -> Scores:
    """Compute every score of `metrics.py` and `scores.py`; the arguments are those of a `Run`.

    >>> scores = score([0, 1, 1], [[0.9, 0.1], [0.6, 0.4], [0.2, 0.8]], ["cat", "dog"])
    >>> scores.readable()["accuracy"], scores.readable()["mean area under the ROC curve"]
    ('66.67 %', '1.0000')

    Raises TypeError and ValueError as `roc` and `calibration` do.
    """
    curves = roc(truth, probabilities, classes)  # first, since it checks the shapes
    metrics = evaluate_predictions(truth, np.asarray(probabilities).argmax(axis=1), classes)
    return Scores(metrics, curves, calibration(truth, probabilities))


def write_evaluation(results: Results, run: Run) -> Scores:
    """Write metrics.json, every picture and report.html of a run into its folder.

    Everything is computed before the first file is written, so a mistake in the arguments leaves
    the folder as it was. With 1,000 images the two t-SNE maps take most of the time, a few seconds.

    Raises TypeError and ValueError for arrays that do not fit together, and OSError where the
    folder cannot be written.
    """
    begun = time.perf_counter()
    scores = score(run.truth, run.probabilities, run.classes)
    pictures = _pictures(run, scores)
    now = time.perf_counter()
    seconds = dict(run.seconds) | {"evaluation": now - begun}
    if run.begun is not None:
        seconds["total"] = now - run.begun
    own = {"loss": run.loss} if run.loss is not None else {}
    numbers = {run.part: own | scores.to_json(), **run.numbers, "seconds": seconds}
    accuracy, images = 100 * scores.metrics.accuracy, int(scores.metrics.support.sum())
    right = f"{scores.metrics.right:,} of {images:,} {run.part} images right"
    lead = f"{right}: accuracy {accuracy:.2f} %."
    text = page(run.title, lead, _sections(run, scores, pictures, seconds))
    results.write_json("metrics", numbers)  # first: of all that is left, only this can raise
    for picture in pictures.values():
        results.write_bytes(f"{picture.name}.png", picture.png)
    results.write_text("report.html", text)
    return scores


def _pictures(run: Run, scores: Scores) -> dict[str, Picture]:
    """Draw every picture; by file name, in the order of the page."""
    # Only who asks for pictures waits for matplotlib to load.
    from glassbox.report import figures

    images = array_of(run.images, (4,), "images", "(samples, channels, height, width)")
    right, table = np.asarray(run.truth), np.asarray(run.probabilities)
    if len(images) != len(right):
        raise ValueError(
            f"write_evaluation: got {len(images)} images and {len(right)} true labels, expected "
            "as many of one as of the other; pass both for the same samples"
        )
    said, sure, classes = table.argmax(axis=1), table.max(axis=1), run.classes
    worst, totals = scores.metrics.worst(), scores.metrics.support
    matrix, names = scores.metrics.confusion_of(worst), [classes[label] for label in worst]
    part = f" Of {len(classes):,} classes, the {len(worst)} with the most errors."
    part = part if len(worst) < len(classes) else ""
    places = sample_places(len(images))
    maps = [("The images: t-SNE of the pixels", tsne(images[places]))]
    if run.hidden is not None:
        maps.append((f"{run.hidden_name}: t-SNE of the activations", tsne(_rows(run, places))))
    beside = figures.embedding(maps, right[places], said[places], classes)
    samples = (images, right, said, sure, classes)
    drawn: dict[str, tuple[str, str, Any]] = {
        "confusion": (
            "Confusion matrix: images", "Rows are the truth, columns the prediction." + part,
            figures.confusion(matrix, names, totals=totals[worst])),
        "confusion_shares": (
            "Confusion matrix: shares", "Each row in per cent of the images of its class." + part,
            figures.confusion(matrix, names, normalized=True, totals=totals[worst])),
        "roc": (
            "ROC curves", "How many of a class are found, against how many others are taken for "
            "it, as the threshold on its score falls.", figures.roc(scores.roc)),
        "reliability": (
            "Reliability", "Whether the network is right as often as its confidence says.",
            figures.reliability(scores.calibration)),
        "confused": (
            "The most confused pairs", "The examples it was surest of come first.",
            figures.confused(*samples)),
        "mistakes": (
            "The worst mistakes", "The number is the image's place in this part of the data.",
            figures.mistakes(*samples)),
        "embedding": ("What lies beside what", MAP_NOTE, beside),
    }  # fmt: skip
    if run.history:
        drawn["curves"] = ("Loss and accuracy by epoch", "", figures.curves(run.history))
    if run.running:
        columns = ([p[key] for p in run.running] for key in ("images", "loss", "accuracy"))
        drawn["running"] = ("Loss and accuracy, image by image", "", figures.running(*columns))
    for name, (title, figure) in run.figures.items():
        if name in drawn or Path(name).name != name:
            raise ValueError(
                f"write_evaluation: got a figure named {name!r}, expected a plain file name "
                f"other than {', '.join(drawn)}; rename it"
            )
        drawn[name] = (title, "", figure)
    items = drawn.items()
    return {name: Picture(name, title, note, encode(fig)) for name, (title, note, fig) in items}


def _rows(run: Run, places: NDArray[np.int64]) -> NDArray[Any]:
    """Give the hidden activations at some places, from an array of all or from a function."""
    hidden = run.hidden
    rows = np.asarray(hidden(places) if callable(hidden) else hidden)
    expected = len(places) if callable(hidden) else len(np.asarray(run.truth))
    if rows.ndim < 2 or len(rows) != expected:
        raise ValueError(
            f"write_evaluation: got hidden activations of shape {rows.shape}, expected "
            f"({expected}, ...), one row per image"
        )
    return rows if callable(hidden) else rows[places]


def _sections(
    run: Run, scores: Scores, pictures: Mapping[str, Picture], seconds: Mapping[str, float]
) -> dict[str, list[Part]]:
    def some(*names: str) -> list[Part]:
        return [pictures[name] for name in names if name in pictures]

    chief = {**scores.readable(), **({} if run.loss is None else {"loss": f"{run.loss:.4g}"})}
    spent = {name: f"{value:,.1f} s" for name, value in seconds.items()}
    matrix = {"images": pictures["confusion"], "shares": pictures["confusion_shares"]}
    draw = "Draw an image and see every layer of this network, every number and its sum"
    opened = [Link(draw, run.explorer)] if run.explorer else []
    wrong = _most_confused(scores.metrics.confusion, run.classes)
    return {
        "Learning": [_learning(run.history), *some("curves")] if run.history else [],
        "Results": [facts(chief)],
        "Mistakes": [wrong, Switch("matrix", matrix), *some("confused", "mistakes")],
        "Classes": [_by_class(scores)],
        "Scores": some("roc", "reliability"),
        "What it sees": [*opened, *some("embedding", *run.figures)],
        "Training": some("running") + ([_epochs(run.history)] if run.history else []),
        "Network": [Listing(run.summary)] if run.summary else [],
        "Settings": [facts(run.settings)] if run.settings else [],
        "Time": [facts(spent)],
        "Machine": [facts(run.machine)] if run.machine else [],
    }


def _learning(history: Sequence[Mapping[str, Any]]) -> str:
    """Whether it learned, in a sentence."""
    part = "validation_" if history[-1].get("validation_accuracy") is not None else ""
    where = "validation" if part else "training"
    first, last = history[0], history[-1]
    accuracy = f"{part}accuracy"
    if any(record.get(key) is None for record in history for key in ("loss", accuracy)):
        return "Not every epoch has its loss and accuracy."
    best = max(history, key=lambda record: (record[accuracy], -(record.get(f"{part}loss") or 0)))
    epochs = f"{len(history)} epoch{'s' if len(history) > 1 else ''}"
    return (
        f"In {epochs} the training loss went from {readable(as_json(first['loss']))} to "
        f"{readable(as_json(last['loss']))}, and the accuracy on {where} images from "
        f"{100 * first[accuracy]:.2f} % to {100 * last[accuracy]:.2f} %; the best was "
        f"{100 * best[accuracy]:.2f} % in epoch {best['epoch']}."
    )


def _most_confused(matrix: NDArray[Any], classes: Sequence[str], most: int = 3) -> str:
    """Where it errs most often, in a sentence."""
    wrong = np.array(matrix)
    np.fill_diagonal(wrong, 0)
    order = np.argsort(-wrong, axis=None, kind="stable")[:most]
    pairs = [(int(k) // len(wrong), int(k) % len(wrong)) for k in order]
    told = [
        f"{classes[t]} taken for {classes[p]} ({wrong[t, p]:,})" for t, p in pairs if wrong[t, p]
    ]
    return f"Most often: {', '.join(told)}." if told else "There are no mistakes."


def _by_class(scores: Scores) -> Table:
    m, areas = scores.metrics, map(_area, scores.roc.auc)
    total = int(m.support.sum())
    rows = [[*row[:4], area, row[4]] for row, area in zip(m.rows(), areas, strict=True)]
    rows.append(["mean", *m.macro.values(), _area(scores.roc.macro), total])
    rows.append(["weighted mean", *m.weighted.values(), "-", total])
    texts = [[n, f"{p:.3f}", f"{r:.3f}", f"{f:.3f}", a, f"{s:,}"] for n, p, r, f, a, s in rows]
    return Table(("class", *NAMES.values(), "ROC area", "images"), texts)


def _area(area: float) -> str:
    return "undefined" if np.isnan(area) else f"{area:.4f}"


def _epochs(history: Sequence[Mapping[str, Any]]) -> Table:
    """Give the records as rows; accuracies in per cent."""
    records = [as_json(record) for record in history]
    keys = list(dict.fromkeys(key for record in records for key in record))

    def cell(key: str, value: Any) -> str:
        share = key.endswith("accuracy") and isinstance(value, int | float)
        return f"{100 * value:.2f} %" if share else readable(value)

    rows = [[cell(key, record.get(key)) for key in keys] for record in records]
    return Table([key.replace("_", " ") for key in keys], rows)
