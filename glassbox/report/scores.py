"""How good are the scores behind the predictions: do they rank well, and do they keep their word?

metrics.py looks at the class that won; here it is how far the others were behind.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from glassbox.report.metrics import checked_labels
from glassbox.report.results import as_json

BINS = 10  # of the reliability curve
ROUNDING = 1e-4  # by so much a float16 or a sum of float32 may miss 0 or 1


@dataclass(frozen=True, eq=False)
class Roc:
    """The one-versus-rest ROC curve of every class; `classes` gives the order of all below.

    A curve is undefined where no image, or every image, is of its class.
    """

    classes: tuple[str, ...]
    # (false positive rate, true positive rate) of each class, (points,) each; empty if undefined
    curves: tuple[tuple[NDArray[np.float64], NDArray[np.float64]], ...]
    # (classes,) the area under each curve, NaN if undefined: how likely an image of the class gets
    # a higher score for it than an image of another
    auc: NDArray[np.float64]
    macro: float  # plain mean of the areas that are defined; NaN where none is

    def to_json(self) -> dict[str, Any]:
        """Give the areas alone, since the curves are for pictures; an undefined one is None."""
        areas = zip(self.classes, self.auc.tolist(), strict=True)
        classes = [{"name": name, "auc": area} for name, area in areas]
        return dict(as_json({"macro": self.macro, "classes": classes}))


@dataclass(frozen=True, eq=False)
class Calibration:
    """Does a confidence of 0.8 mean that 8 of 10 are right? Bins of equal width from 0 to 1."""

    confidence: NDArray[np.float64]  # (bins,) mean of the predictions in each bin; NaN without any
    accuracy: NDArray[np.float64]  # (bins,) share of them that is right; NaN without any
    images: NDArray[np.int64]  # (bins,) how many there are
    error: float  # expected calibration error: mean |accuracy - confidence|, by images

    def to_json(self) -> dict[str, Any]:
        """Give the same as plain lists; a bin without images has None."""
        columns = {name: getattr(self, name) for name in ("confidence", "accuracy", "images")}
        rows = zip(*(column.tolist() for column in columns.values()), strict=True)
        bins = [dict(zip(columns, row, strict=True)) for row in rows]
        return dict(as_json({"expected_calibration_error": self.error, "bins": bins}))


def roc(truth: ArrayLike, probabilities: ArrayLike, classes: Sequence[str]) -> Roc:
    """Draw a threshold through the scores of each class and count what lies above it.

    For class k and threshold t, among the images whose score for k is at least t:

        true positive rate  = images of k    / all images of k
        false positive rate = images of others / all images of others

    probabilities   (samples, classes) scores; higher means more likely. Equal scores pass the
                    threshold together and make a slanted piece of the curve.

    >>> curves = roc([0, 1, 1], [[0.9, 0.1], [0.6, 0.4], [0.2, 0.8]], ["cat", "dog"])
    >>> curves.auc.tolist(), curves.macro
    ([1.0, 1.0], 1.0)

    Raises TypeError and ValueError for labels as `evaluate_predictions` does, and ValueError for
    other scores. The curves are scikit-learn's (Fawcett 2006, An introduction to ROC analysis).
    """
    names = tuple(str(name) for name in classes)
    right, scores = _checked("roc", truth, probabilities, len(names))
    # Only who evaluates waits the second that scikit-learn takes to load.
    from sklearn.metrics import auc, roc_curve

    curves, areas = [(np.empty(0), np.empty(0))] * len(names), np.full(len(names), np.nan)
    for label in range(len(names)):
        of_class = right == label
        if of_class.any() and not of_class.all():  # of others scikit-learn warns
            curves[label] = roc_curve(of_class, scores[:, label])[:2]
            areas[label] = auc(*curves[label])
    defined = areas[~np.isnan(areas)]
    macro = float(defined.mean()) if len(defined) else float("nan")
    return Roc(names, tuple(curves), areas, macro)


def calibration(truth: ArrayLike, probabilities: ArrayLike, bins: int = BINS) -> Calibration:
    """Compare how sure the predictions are with how often they are right.

        error = sum over bins of  images in bin / all images * |accuracy - mean confidence|

    The largest of the probabilities (samples, classes), each from 0 to 1, is the prediction, its
    value the confidence; one on the edge of two of the `bins` belongs to the lower one.

    >>> sure = calibration([0, 1, 1, 1], [[0.9, 0.1], [0.1, 0.9], [0.9, 0.1], [0.1, 0.9]])
    >>> print(sure.accuracy[-2], round(sure.error, 3))
    0.75 0.15

    Raises ValueError for fewer than one bin, for probabilities of another shape or outside 0 to 1;
    TypeError and ValueError for labels as `evaluate_predictions` does. The curve is that of
    scikit-learn's `calibration_curve`, the error that of Naeini et al. 2015.
    """
    if bins < 1:
        raise ValueError(f"calibration: got {bins} bins, expected one or more; 10 are usual")
    table = np.asarray(probabilities)
    right, scores = _checked("calibration", truth, table, table.shape[1] if table.ndim == 2 else 0)
    if scores.min() < -ROUNDING or scores.max() > 1 + ROUNDING:
        raise ValueError(
            f"calibration: got probabilities from {scores.min():.4g} to {scores.max():.4g}, "
            "expected 0 to 1; pass what predict_proba gives"
        )
    sure = scores.max(axis=1).clip(0, 1)
    hit = scores.argmax(axis=1) == right
    # Counted here, since calibration_curve does not tell how many images a bin holds.
    inner = np.linspace(0.0, 1.0, bins + 1)[1:-1]
    bin_of = np.searchsorted(inner, sure)
    images = np.bincount(bin_of, minlength=bins)
    mean = np.full((2, bins), np.nan)
    for row, values in enumerate((sure, hit)):
        sums = np.bincount(bin_of, weights=values, minlength=bins)
        np.divide(sums, images, out=mean[row], where=images > 0)
    gap = np.abs(np.nan_to_num(mean[1] - mean[0]))
    return Calibration(mean[0], mean[1], images, float(gap @ images / len(sure)))


def _checked(
    what: str, truth: ArrayLike, probabilities: ArrayLike, classes: int
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Give labels and scores after checking that they belong together."""
    scores = np.asarray(probabilities)
    if scores.ndim != 2 or scores.shape[1] != classes or not classes:
        raise ValueError(
            f"{what}: got probabilities of shape {scores.shape}, expected (samples, "
            f"{classes or 'classes'}), one column per class; pass what predict_proba gives"
        )
    right = checked_labels(truth, f"{what}: truth", classes, len(scores))
    wild = np.flatnonzero(~np.isfinite(scores).all(axis=1))
    if wild.size:
        raise ValueError(
            f"{what}: the probabilities of sample {wild[0]} are {scores[wild[0]]}, expected finite "
            "numbers; the network has diverged: train with a smaller learning rate"
        )
    return right, scores.astype(np.float64)
