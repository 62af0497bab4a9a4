"""How good are the predictions? The counting is scikit-learn's, the presentation is ours."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from glassbox.report.names import short_names

SCORES = ("precision", "recall", "f_measure")
MOST_SHOWN = 50  # classes up to which all are shown; of more, a matrix would be dust and gigabytes


@dataclass(frozen=True, eq=False)
class Metrics:
    """The scores of one evaluation; `classes` gives the order of every row and column below."""

    classes: tuple[str, ...]
    # (pairs that occur, 3): truth, prediction and how many images, in the order of the first two
    counts: NDArray[np.int64]
    accuracy: float  # share of right predictions, 0 to 1
    # (classes,) of all that were called this class, the share that is
    precision: NDArray[np.float64]
    recall: NDArray[np.float64]  # (classes,) of all that are this class, the share that was found
    f_measure: NDArray[np.float64]  # (classes,) harmonic mean of precision and recall
    support: NDArray[np.int64]  # (classes,) samples that truly are of this class

    @property
    def confusion(self) -> NDArray[np.int64]:
        """(classes, classes) counts, rows the truth, columns the prediction, as a whole matrix."""
        return self.confusion_of(np.arange(len(self.classes)))

    @property
    def right(self) -> int:
        """How many predictions are right."""
        return int(self.counts[self.counts[:, 0] == self.counts[:, 1], 2].sum())

    def worst(self, limit: int = MOST_SHOWN) -> NDArray[np.int64]:
        """All classes if there are no more than `limit`, else those with the most errors, in order.

        An error counts for the class that it is and for the one that it was taken for.
        """
        wrong = self.counts[self.counts[:, 0] != self.counts[:, 1]]
        errors = np.zeros(len(self.classes), np.int64)
        for column in (0, 1):
            np.add.at(errors, wrong[:, column], wrong[:, 2])
        return np.sort(np.argsort(-errors, kind="stable")[:limit])

    def confusion_of(self, chosen: NDArray[np.int64]) -> NDArray[np.int64]:
        """Give the rows and columns of some classes, in rising order, of the confusion matrix."""
        place = np.full(len(self.classes), -1)
        place[chosen] = np.arange(len(chosen))
        rows, columns = place[self.counts[:, 0]], place[self.counts[:, 1]]
        kept = (rows >= 0) & (columns >= 0)
        matrix = np.zeros((len(chosen), len(chosen)), np.int64)
        matrix[rows[kept], columns[kept]] = self.counts[kept, 2]
        return matrix

    @property
    def macro(self) -> dict[str, float]:
        """The plain means over all classes; a class never seen counts as 0."""
        return {name: float(getattr(self, name).mean()) for name in SCORES}

    @property
    def weighted(self) -> dict[str, float]:
        """The means over all classes, each counted by its support."""
        means = (np.average(getattr(self, name), weights=self.support) for name in SCORES)
        return dict(zip(SCORES, map(float, means), strict=True))

    @property
    def shares(self) -> NDArray[np.float64]:
        """The confusion matrix with every row divided by its sum; an empty row stays zero."""
        return self.confusion / np.maximum(self.support, 1)[:, None]

    def rows(self) -> list[list[Any]]:
        """Give [class, precision, recall, F-measure, images] for every class."""
        columns = [getattr(self, name).tolist() for name in (*SCORES, "support")]
        return [list(row) for row in zip(self.classes, *columns, strict=True)]

    def to_json(self) -> dict[str, Any]:
        """Give the same as plain dicts, lists, strings and numbers, ready for `json.dump`.

        >>> record = evaluate_predictions([0, 0, 0, 1], [1, 1, 0, 0], ["cat", "dog"]).to_json()
        >>> record["confused_pairs"][0]
        {'truth': 'cat', 'predicted': 'dog', 'images': 2}
        """
        matrices = {"confusion_counts": self.counts.tolist()}  # of many classes, only these
        if len(self.classes) <= MOST_SHOWN:
            matrices = {"confusion": self.confusion.tolist()}
            matrices["confusion_shares"] = self.shares.tolist()
        return {
            "samples": int(self.support.sum()),
            "accuracy": self.accuracy,
            "macro": self.macro,
            "weighted": self.weighted,
            "classes": [
                dict(zip(("name", *SCORES, "support"), row, strict=True)) for row in self.rows()
            ],
            **matrices,
            "confused_pairs": [
                {"truth": self.classes[truth], "predicted": self.classes[said], "images": images}
                for truth, said, images in most_confused(self.counts)
            ],
        }

    def table(self, width: int = 60) -> str:
        r"""Lay the scores out as plain text, no line longer than `width` (at least 44) characters.

        The confusion matrix follows where it fits; a full stop stands for a zero in it. Of more
        than 50 classes those with the most errors are shown.

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
        rows, worst = self.rows(), self.worst()
        names = short_names([self.classes[label] for label in worst], width - 38)
        room, right = max(map(len, [*names, "class"])), self.right
        mean = ["mean", *self.macro.values(), int(self.support.sum())]
        named = [[name, *rows[label][1:]] for name, label in zip(names, worst, strict=True)]
        scores = [f"{'class':<{room}}  precision  recall  F-measure  images"]
        for n, p, r, f, s in [*named, mean]:
            scores.append(f"{n:<{room}}  {p:9.3f}  {r:6.3f}  {f:9.3f}  {s:6d}")
        summary = f"{right:,} of {mean[-1]:,} right: accuracy {self.accuracy:.4f}"
        if len(worst) < len(rows):
            summary += f"\n(above, the {len(worst)} of {len(rows):,} classes with the most errors)"
        return "\n".join([*scores, "", summary, "", self._matrix(width)])

    def _matrix(self, width: int) -> str:
        n, longest = len(self.classes), max(map(len, self.classes))
        too_wide = f"(the {n} x {n} confusion matrix needs more than {width} columns)"
        if n > MOST_SHOWN:
            return too_wide
        cell = max(len(str(self.confusion.max())), 3)
        # Wider columns say more of the names above them, while the names at the left have room.
        while cell < longest and width - n * (cell + 2) >= min(longest, 10):
            cell += 1
        room = width - n * (cell + 1)
        if room < 3:
            return too_wide
        names = short_names(self.classes, room)
        room = max(map(len, names))
        lines = ["truth \\ predicted as"]
        heads = ["", *short_names(self.classes, cell)]
        counts = [
            [str(count) if count else "." for count in row] for row in self.confusion.tolist()
        ]
        for first, *texts in [heads, *([n, *row] for n, row in zip(names, counts, strict=True))]:
            lines.append(f"{first:<{room}}" + "".join(f" {text:>{cell}}" for text in texts))
        return "\n".join(lines)


def evaluate_predictions(truth: ArrayLike, predicted: ArrayLike, classes: Sequence[str]) -> Metrics:
    """Count the confusions between true and predicted labels and score every class.

    All `classes` are reported, seen or not. A score that would divide by zero is 0: the precision
    of a class never predicted, the recall of a class that does not occur.

    >>> metrics = evaluate_predictions([0, 1, 2, 2], [0, 2, 2, 2], ["cat", "dog", "emu"])
    >>> metrics.accuracy, metrics.precision.round(3).tolist()
    (0.75, [1.0, 0.0, 0.667])

    Raises TypeError for labels that are not integers; ValueError for labels of the wrong shape,
    of different lengths, out of range, or none at all.
    """
    names = tuple(str(name) for name in classes)
    right = checked_labels(truth, "evaluate_predictions: truth", len(names))
    said = checked_labels(predicted, "evaluate_predictions: predicted", len(names), len(right))
    # Only who evaluates waits the second that scikit-learn takes to load.
    from sklearn.metrics import precision_recall_fscore_support

    n = len(names)
    scores = precision_recall_fscore_support(right, said, labels=np.arange(n), zero_division=0)
    precision, recall, f_measure, support = (np.asarray(score) for score in scores)
    # Not scikit-learn's confusion_matrix, which warns of a single class.
    counts = pair_counts(right, said, n)
    accuracy = float(np.mean(right == said))
    return Metrics(names, counts, accuracy, precision, recall, f_measure, support.astype(np.int64))


def most_confused(counts: NDArray[np.int64], limit: int = 10) -> list[tuple[int, int, int]]:
    """List the largest `pair_counts` of wrong predictions, the largest first.

    Equal counts stay in the order of the classes.
    """
    wrong = counts[counts[:, 0] != counts[:, 1]]
    ranked = wrong[np.argsort(-wrong[:, 2], kind="stable")[:limit]].tolist()
    return [(truth, said, images) for truth, said, images in ranked]


def pair_counts(
    truth: NDArray[np.int64], predicted: NDArray[np.int64], classes: int
) -> NDArray[np.int64]:
    """Count the pairs of labels that occur: (pairs, 3) of truth, prediction, images.

    Memory grows with the images and not with the square of the classes.

    >>> pair_counts(np.array([0, 2, 2]), np.array([0, 1, 1]), 3).tolist()
    [[0, 0, 1], [2, 1, 2]]
    """
    pairs, images = np.unique(classes * truth + predicted, return_counts=True)
    return np.stack([*np.divmod(pairs, classes), images], axis=1).astype(np.int64)


def checked_labels(
    labels: ArrayLike, who: str, classes: int, samples: int | None = None
) -> NDArray[np.int64]:
    """Give labels as integers; raise, naming `who`, unless all `samples` are of the classes."""
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
            f"0 to {classes - 1} for {classes} classes; name every class or correct the labels"
        )
    if samples not in (None, len(array)):
        raise ValueError(
            f"{who} holds {len(array)} labels for {samples} samples, expected one each"
        )
    return array.astype(np.int64)
