"""The scores, against numbers counted by hand and against a plain loop."""

import json
import warnings

import numpy as np
import pytest

from glassbox.report.metrics import evaluate_predictions
from glassbox.report.names import short_names

FASHION = ["T-shirt/top", "Trouser", "Pullover", "Dress", "Coat"]
FASHION += ["Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot"]


def some_predictions(classes=4, samples=200):
    rng = np.random.default_rng(3)
    truth = rng.integers(0, classes, samples)
    return truth, np.where(rng.random(samples) < 0.7, truth, rng.integers(0, classes, samples))


def test_confusion_has_truth_in_rows_and_prediction_in_columns():
    metrics = evaluate_predictions([0, 0, 0, 1], [1, 1, 0, 1], ["cat", "dog"])
    assert metrics.confusion.tolist() == [[1, 2], [0, 1]]


def test_scores_equal_a_count_by_hand():
    truth, predicted = some_predictions()
    metrics = evaluate_predictions(truth, predicted, "abcd")
    for c in range(4):
        hits = sum(t == c == p for t, p in zip(truth, predicted, strict=True))
        called, there = list(predicted).count(c), list(truth).count(c)
        assert metrics.support[c] == there
        assert metrics.precision[c] == pytest.approx(hits / called)
        assert metrics.recall[c] == pytest.approx(hits / there)
        assert metrics.f_measure[c] == pytest.approx(2 * hits / (called + there))
    assert metrics.accuracy == pytest.approx(np.mean(truth == predicted))
    assert metrics.macro["precision"] == pytest.approx(sum(metrics.precision) / 4)
    assert metrics.macro["recall"] == pytest.approx(sum(metrics.recall) / 4)
    assert metrics.macro["f_measure"] == pytest.approx(sum(metrics.f_measure) / 4)


def test_a_single_class_raises_no_warning():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        metrics = evaluate_predictions([0, 0], [0, 0], ["only"])
    assert metrics.confusion.tolist() == [[2]] and metrics.accuracy == 1


def test_classes_never_seen_are_reported_with_zeros_and_without_warnings():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        metrics = evaluate_predictions([0, 0, 2], [0, 0, 0], ["a", "b", "c", "d"])
    assert metrics.confusion.shape == (4, 4)
    assert metrics.precision.tolist() == [pytest.approx(2 / 3), 0, 0, 0]
    assert metrics.recall.tolist() == [1, 0, 0, 0]
    assert metrics.support.tolist() == [2, 0, 1, 0]
    assert metrics.macro["recall"] == 0.25


@pytest.mark.parametrize(
    ("truth", "predicted", "error", "message"),
    [
        ([0, 1], [0], ValueError, "predicted holds 1 labels for 2 samples, expected one each"),
        ([], [], ValueError, "truth is empty, expected at least one label"),
        ([0, 3], [0, 1], ValueError, r"truth holds label 3 \(sample 1\), expected 0 to 2"),
        ([0, 1], [-1, 1], ValueError, r"predicted holds label -1 \(sample 0\)"),
        ([0.0, 1.0], [0, 1], TypeError, "truth holds float64, expected integer labels"),
        ([0, 1], [[1, 0, 0], [0, 1, 0]], ValueError, r"shape \(2, 3\).*argmax"),
    ],
)
def test_bad_labels_are_refused_with_numbers(truth, predicted, error, message):
    with pytest.raises(error, match=message):
        evaluate_predictions(truth, predicted, ["a", "b", "c"])


def test_json_holds_everything_as_plain_values():
    truth, predicted = some_predictions()
    metrics = evaluate_predictions(truth, predicted, "abcd")
    plain = json.loads(json.dumps(metrics.to_json(), allow_nan=False))
    assert plain["samples"] == 200
    assert plain["accuracy"] == metrics.accuracy
    assert plain["macro"]["f_measure"] == metrics.macro["f_measure"]
    assert plain["confusion"] == metrics.confusion.tolist()
    assert [row["name"] for row in plain["classes"]] == list("abcd")
    assert [row["recall"] for row in plain["classes"]] == metrics.recall.tolist()
    assert [row["support"] for row in plain["classes"]] == metrics.support.tolist()


def test_table_of_ten_long_names_fits_a_narrow_terminal():
    truth, predicted = some_predictions(10, 60_000)
    table = evaluate_predictions(truth, predicted, FASHION).table()
    assert max(map(len, table.splitlines())) <= 60
    assert "T-shirt/top" in table and "Ankle boot" in table
    assert "needs more" not in table  # the confusion matrix is there
    assert f"{(truth == predicted).sum():,} of 60,000 right" in table


def test_table_leaves_out_a_matrix_that_does_not_fit():
    truth, predicted = some_predictions(30)
    table = evaluate_predictions(truth, predicted, [f"class {i}" for i in range(30)]).table()
    assert max(map(len, table.splitlines())) <= 60
    assert "the 30 x 30 confusion matrix needs more than 60 columns" in table


def test_table_refuses_a_width_it_cannot_keep():
    with pytest.raises(ValueError, match="got width 30, expected 44"):
        evaluate_predictions([0], [0], ["a"]).table(width=30)


@pytest.mark.parametrize("width", [2, 3, 4, 7, 20])
def test_short_names_fit_and_stay_apart(width):
    names = [*FASHION, "number one", "number two"]
    short = short_names(names, width)
    assert max(map(len, short)) <= width
    assert len(set(short)) == len(names)


def test_short_names_need_room():
    with pytest.raises(ValueError, match="got width 1"):
        short_names(["cat"], 1)


def test_of_many_classes_the_worst_are_shown_and_the_counts_are_sparse():
    truth = np.arange(600) % 300
    said = truth.copy()
    said[[7, 307, 8]] = [9, 9, 7]  # class 7: three errors, 9: two, 8: one
    metrics = evaluate_predictions(truth, said, [f"c{k}" for k in range(300)])
    assert metrics.worst(3).tolist() == [7, 8, 9]
    assert metrics.confusion_of(metrics.worst(3)).tolist() == [[0, 0, 2], [1, 1, 0], [0, 0, 2]]
    assert metrics.right == 597 == np.trace(metrics.confusion)
    assert len(metrics.counts) == 301
    plain = metrics.to_json()
    assert "confusion" not in plain
    assert [7, 9, 2] in plain["confusion_counts"]
    table = metrics.table()
    assert "(above, the 50 of 300 classes with the most errors)" in table
    assert len(table.splitlines()) < 70
