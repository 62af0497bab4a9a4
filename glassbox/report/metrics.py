"""How good are the predictions? The counting is scikit-learn's, the presentation is ours."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from glassbox.report.names import short_names


@dataclass(frozen=True, eq=False)
class Metrics:
    """The scores of one evaluation; `classes` gives the order of every row and column below.

    confusion           (classes, classes) counts; rows are the truth, columns the prediction
    accuracy            share of right predictions, 0 to 1
    precision           (classes,) of all that were called this class, the share that is
    recall              (classes,) of all that are this class, the share that was found
    f_measure           (classes,) harmonic mean of precision and recall
    support             (classes,) samples that truly are of this class
    macro_...           plain mean over all classes; a class never seen counts as 0
    weighted_...        mean over all classes, each counted by its support
    """

    classes: tuple[str, ...]
    confusion: NDArray[np.int64]
    accuracy: float
    precision: NDArray[np.float64]
    recall: NDArray[np.float64]
    f_measure: NDArray[np.float64]
    support: NDArray[np.int64]
    macro_precision: float
    macro_recall: float
    macro_f_measure: float
    weighted_precision: float
    weighted_recall: float
    weighted_f_measure: float

    @property
    def shares(self) -> NDArray[np.float64]:
        """The confusion matrix with every row divided by its sum; an empty row stays zero."""
        return self.confusion / np.maximum(self.support, 1)[:, None]

    def confused_pairs(self, limit: int = 10) -> list[tuple[int, int, int]]:
        """Name the most frequent confusions: (truth, prediction, images), the most first.

        >>> evaluate_predictions([0, 0, 0, 1], [1, 1, 0, 0], ["cat", "dog"]).confused_pairs()
        [(0, 1, 2), (1, 0, 1)]
        """
        return confused_pairs(self.confusion, limit)

    def to_json(self) -> dict[str, Any]:
        """Give the same as plain dicts, lists, strings and numbers, ready for `json.dump`."""
        columns = (self.precision, self.recall, self.f_measure, self.support)
        keys = ("precision", "recall", "f_measure", "support")
        rows = zip(*(column.tolist() for column in columns), strict=True)
        return {
            "samples": int(self.confusion.sum()),
            "accuracy": self.accuracy,
            "macro": {
                "precision": self.macro_precision,
                "recall": self.macro_recall,
                "f_measure": self.macro_f_measure,
            },
            "weighted": {
                "precision": self.weighted_precision,
                "recall": self.weighted_recall,
                "f_measure": self.weighted_f_measure,
            },
            "classes": [
                {"name": name, **dict(zip(keys, row, strict=True))}
                for name, row in zip(self.classes, rows, strict=True)
            ],
            "confusion": self.confusion.tolist(),
            "confusion_shares": self.shares.tolist(),
            "confused_pairs": [
                {"truth": self.classes[truth], "predicted": self.classes[said], "images": images}
                for truth, said, images in self.confused_pairs()
            ],
        }

    def table(self, width: int = 60) -> str:
        r"""Lay the scores out as plain text, no line longer than `width` (at least 44) characters.

        The confusion matrix follows where it fits; a full stop stands for a zero in it.

        >>> print(evaluate_predictions([0, 0, 1, 1], [0, 1, 1, 1], ["cat", "dog"]).table())
        class  precision  recall  F-measure  images
        cat        1.000   0.500      0.667       2
        dog        0.667   1.000      0.800       2
        mean       0.833   0.750      0.733       4
        <BLANKLINE>
        3 of 4 right: accuracy 0.7500
        <BLANKLINE>
        truth \ predicted as
            cat dog
        cat   1   1
        dog   .   2
        """
        if width < 44:
            raise ValueError(f"table: got width {width}, expected 44 or more columns")
        return f"{self._scores(width)}\n\n{self._summary()}\n\n{self._matrix(width)}"

    def _scores(self, width: int) -> str:
        names = short_names(self.classes, width - 38)
        room = max(map(len, [*names, "class"]))
        means = (self.macro_precision, self.macro_recall, self.macro_f_measure, self.support.sum())
        columns = (self.precision, self.recall, self.f_measure, self.support)
        rows = zip([*names, "mean"], [*zip(*columns, strict=True), means], strict=True)
        return "\n".join(
            [f"{'class':<{room}}  precision  recall  F-measure  images"]
            + [f"{n:<{room}}  {p:9.3f}  {r:6.3f}  {f:9.3f}  {s:6d}" for n, (p, r, f, s) in rows]
        )

    def _summary(self) -> str:
        right, samples = int(np.trace(self.confusion)), int(self.confusion.sum())
        return f"{right:,} of {samples:,} right: accuracy {self.accuracy:.4f}"

    def _matrix(self, width: int) -> str:
        n, longest = len(self.classes), max(map(len, self.classes))
        cell = max(len(str(self.confusion.max())), 3)
        # Wider columns say more of the names above them, while the names at the left have room.
        while cell < longest and width - n * (cell + 2) >= min(longest, 10):
            cell += 1
        room = width - n * (cell + 1)
        if room < 3:
            return f"(the {n} x {n} confusion matrix needs more than {width} columns)"
        names = short_names(self.classes, room)
        room = max(map(len, names))
        lines = [["", *short_names(self.classes, cell)]]
        for name, counts in zip(names, self.confusion.tolist(), strict=True):
            lines.append([name, *(str(count) if count else "." for count in counts)])
        return "truth \\ predicted as\n" + "\n".join(
            f"{line[0]:<{room}}" + "".join(f" {text:>{cell}}" for text in line[1:])
            for line in lines
        )


def evaluate_predictions(truth: ArrayLike, predicted: ArrayLike, classes: Sequence[str]) -> Metrics:
    """Count the confusions between true and predicted labels and score every class.

    truth, predicted    (samples,) integer labels, 0 to len(classes) - 1
    classes             the name of each label; all of them are reported, seen or not

    A score that would divide by zero is 0: the precision of a class never predicted, the recall
    of a class that does not occur.

    >>> metrics = evaluate_predictions([0, 1, 2, 2], [0, 2, 2, 2], ["cat", "dog", "emu"])
    >>> metrics.accuracy
    0.75
    >>> metrics.confusion.tolist()
    [[1, 0, 0], [0, 0, 1], [0, 0, 2]]
    >>> metrics.precision.round(3).tolist()
    [1.0, 0.0, 0.667]

    Raises TypeError for labels that are not integers; ValueError for labels of the wrong shape,
    of different lengths, out of range, or none at all.
    """
    names = tuple(str(name) for name in classes)
    right, said = (
        checked_labels(labels, f"evaluate_predictions: {what}", len(names))
        for labels, what in ((truth, "truth"), (predicted, "predicted"))
    )
    if len(right) != len(said):
        raise ValueError(
            f"evaluate_predictions: got {len(right)} true and {len(said)} predicted labels, "
            "expected as many of one as of the other; pass both for the same samples"
        )
    # Only who evaluates waits the second that scikit-learn takes to load.
    from sklearn.metrics import precision_recall_fscore_support

    n = len(names)
    every = np.arange(n)
    scores = precision_recall_fscore_support(right, said, labels=every, zero_division=0)
    precision, recall, f_measure, support = (np.asarray(score) for score in scores)
    return Metrics(
        classes=names,
        # Not scikit-learn's confusion_matrix, which warns of a single class.
        confusion=np.bincount(n * right + said, minlength=n * n).reshape(n, n),
        accuracy=float(np.mean(right == said)),
        precision=precision,
        recall=recall,
        f_measure=f_measure,
        support=support.astype(np.int64),
        macro_precision=float(precision.mean()),
        macro_recall=float(recall.mean()),
        macro_f_measure=float(f_measure.mean()),
        weighted_precision=float(np.average(precision, weights=support)),
        weighted_recall=float(np.average(recall, weights=support)),
        weighted_f_measure=float(np.average(f_measure, weights=support)),
    )


def confused_pairs(confusion: NDArray[Any], limit: int = 10) -> list[tuple[int, int, int]]:
    """List the largest counts off the diagonal: (row, column, count), the largest first.

    Equal counts stay in the order of the classes; a count of zero is not a confusion.
    """
    errors = np.where(np.eye(len(confusion), dtype=bool), 0, confusion)
    ranked = np.argsort(-errors, axis=None, kind="stable")[:limit]
    rows, columns = np.unravel_index(ranked, errors.shape)
    return [
        (int(row), int(column), int(errors[row, column]))
        for row, column in zip(rows, columns, strict=True)
        if errors[row, column] > 0
    ]


def checked_labels(labels: ArrayLike, who: str, classes: int) -> NDArray[np.int64]:
    """Give labels as integers, or raise in the name of `who` where they are none of the classes."""
    array = np.asarray(labels)
    if array.ndim != 1:
        raise ValueError(
            f"{who} has shape {array.shape}, expected one label per sample, (samples,); "
            "from scores of shape (samples, classes) take scores.argmax(axis=1)"
        )
    if array.size == 0:
        raise ValueError(f"{who} is empty, expected at least one label; check the split's size")
    if not np.issubdtype(array.dtype, np.integer):
        raise TypeError(f"{who} holds {array.dtype}, expected integer labels; use astype(int)")
    outside = np.flatnonzero((array < 0) | (array >= classes))
    if outside.size:
        raise ValueError(
            f"{who} holds label {array[outside[0]]} (sample {outside[0]}), expected "
            f"0 to {classes - 1} for {classes} classes; name every class or mend the labels"
        )
    return array.astype(np.int64)
