"""ROC curves, calibration and the other scores are scikit-learn's, whatever the input."""

import json
import warnings

import numpy as np
import pytest
from sklearn import metrics as sk
from sklearn.calibration import calibration_curve

from glassbox.report.embedding import sample_places, tsne
from glassbox.report.evaluation import score
from glassbox.report.metrics import evaluate_predictions, most_confused
from glassbox.report.scores import calibration, roc


def predictions(classes, samples=300, seed=0, decimals=None):
    """Labels and probabilities that are right more often than not; decimals make ties."""
    rng = np.random.default_rng(seed)
    truth = rng.integers(0, classes, samples)
    logits = rng.normal(size=(samples, classes)) + 1.5 * np.eye(classes)[truth]
    table = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    return truth, table if decimals is None else table.round(decimals)


def cases():
    """name -> (truth, probabilities): random, two classes, ties, absent and never predicted."""
    found = {f"{n} classes": predictions(n) for n in (2, 3, 10)}
    found["ties"] = predictions(4, decimals=1)
    found["float32"] = (found["3 classes"][0], found["3 classes"][1].astype(np.float32))
    truth, table = predictions(4)
    found["class 2 absent from the truth"] = (np.where(truth == 2, 1, truth), table)
    table = table.copy()
    table[:, 1] = 0
    found["class 1 never predicted"] = (truth, table)
    found["all equal"] = (truth, np.full((len(truth), 4), 0.25))
    found["one sample"] = ([1], [[0.2, 0.8]])
    return found


CASES = cases()


@pytest.fixture(params=CASES)
def case(request):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        truth, table = CASES[request.param]
        yield np.asarray(truth), np.asarray(table), [f"class {k}" for k in range(len(table[0]))]


def test_precision_recall_and_f_measure_equal_scikit_learns(case):
    truth, table, names = case
    said, every = table.argmax(axis=1), range(len(names))
    metrics = evaluate_predictions(truth, said, names)
    matrix = sk.confusion_matrix(truth, said, labels=every)
    assert np.array_equal(metrics.confusion, matrix)
    rows = matrix / np.maximum(matrix.sum(axis=1, keepdims=True), 1)
    assert np.array_equal(metrics.shares, rows)
    assert metrics.accuracy == sk.accuracy_score(truth, said)
    for key, function in (
        ("precision", sk.precision_score),
        ("recall", sk.recall_score),
        ("f_measure", sk.f1_score),
    ):
        for average in (None, "macro", "weighted"):
            wanted = function(truth, said, labels=every, average=average, zero_division=0)
            given = getattr(metrics, average)[key] if average else getattr(metrics, key)
            assert given == pytest.approx(wanted, abs=1e-15)


def test_roc_curves_and_areas_equal_scikit_learns(case):
    truth, table, names = case
    curves = roc(truth, table, names)
    for label in range(len(names)):
        of_class = truth == label
        if of_class.all() or not of_class.any():
            assert np.isnan(curves.auc[label])
            assert not len(curves.curves[label][0]) and not len(curves.curves[label][1])
            continue
        assert curves.auc[label] == pytest.approx(sk.roc_auc_score(of_class, table[:, label]))
        false, true, _ = sk.roc_curve(of_class, table[:, label])
        assert np.array_equal(curves.curves[label], (false, true))


def test_mean_area_equals_scikit_learns_one_against_the_rest():
    truth, table = predictions(5)
    wanted = sk.roc_auc_score(truth, table, multi_class="ovr", average="macro")
    assert roc(truth, table, "abcde").macro == pytest.approx(wanted)


def test_areas_that_are_undefined_are_left_out_of_the_mean_and_are_null_in_json():
    truth, table = CASES["class 2 absent from the truth"]
    curves = roc(truth, table, "abcd")
    assert np.isnan(curves.auc).tolist() == [False, False, True, False]
    assert curves.macro == pytest.approx(np.mean(curves.auc[[0, 1, 3]]))
    plain = json.loads(json.dumps(curves.to_json(), allow_nan=False))
    assert [row["auc"] is None for row in plain["classes"]] == [False, False, True, False]
    nothing = roc([0, 0], [[1.0, 0.0], [1.0, 0.0]], "ab")
    assert np.isnan(nothing.macro) and nothing.to_json()["macro"] is None


@pytest.mark.parametrize("bins", [1, 5, 10, 15])
def test_reliability_equals_scikit_learns(case, bins):
    truth, table, _ = case
    given = calibration(truth, table, bins)
    sure, hit = table.max(axis=1).astype(np.float64), table.argmax(axis=1) == truth
    right, mean = calibration_curve(hit, sure, n_bins=bins)
    filled = given.images > 0
    assert given.accuracy[filled] == pytest.approx(right)
    assert given.confidence[filled] == pytest.approx(mean)
    assert np.isnan(given.accuracy[~filled]).all() and np.isnan(given.confidence[~filled]).all()
    assert given.images.sum() == len(truth)
    weights = given.images[filled] / len(truth)
    assert given.error == pytest.approx(np.abs(right - mean) @ weights)


def test_calibration_error_by_hand():
    # Of two at 0.7 one is right, of two at 0.95 both are: |0.5 - 0.7| / 2 + |1 - 0.95| / 2.
    table = [[0.7, 0.3], [0.3, 0.7], [0.95, 0.05], [0.05, 0.95]]
    assert calibration([0, 0, 0, 1], table).error == pytest.approx(0.125)


def test_a_confidence_on_an_edge_belongs_to_the_bin_below():
    given = calibration([0, 0, 0], [[0.5, 0.2], [0.25, 0.1], [1.0, 0.0]], bins=4)
    assert given.images.tolist() == [1, 1, 0, 1]


def test_calibration_json_has_null_for_empty_bins():
    plain = calibration([0], [[1.0, 0.0]]).to_json()
    assert plain["bins"][0] == {"confidence": None, "accuracy": None, "images": 0}
    assert plain["bins"][-1] == {"confidence": 1.0, "accuracy": 1.0, "images": 1}


@pytest.mark.parametrize(
    ("truth", "table", "error", "message"),
    [
        ([0, 1], [0.5, 0.5], ValueError, r"shape \(2,\), expected \(samples, 2\)"),
        ([0, 1], [[1, 0, 0], [0, 1, 0]], ValueError, r"shape \(2, 3\), expected \(samples, 2\)"),
        ([0], [[1, 0], [0, 1]], ValueError, "truth holds 1 labels for 2 samples"),
        ([0, 2], [[1, 0], [0, 1]], ValueError, r"truth holds label 2 \(sample 1\)"),
        ([0.0, 1.0], [[1, 0], [0, 1]], TypeError, "truth holds float64, expected integer"),
        ([0, 1], [[1, 0], [np.nan, 1]], ValueError, "of sample 1 are .*nan.*diverged"),
        ([0, 1], [[1, 0], [-3, 7]], ValueError, "from -3 to 7, expected 0 to 1"),
    ],
)
def test_bad_probabilities_are_refused_with_numbers(truth, table, error, message):
    with pytest.raises(error, match=message):
        score(truth, table, ["a", "b"])


def test_calibration_needs_a_bin():
    with pytest.raises(ValueError, match="got 0 bins, expected one or more"):
        calibration([0], [[1.0, 0.0]], bins=0)


def confused_pairs(matrix, limit=10):
    matrix = np.array(matrix)
    counts = [(*place, matrix[place]) for place in zip(*np.nonzero(matrix), strict=True)]
    return most_confused(np.array(counts), limit)


def test_confused_pairs_come_by_size_and_leave_right_answers_out():
    matrix = np.array([[50, 3, 0], [7, 60, 3], [0, 0, 70]])
    assert confused_pairs(matrix) == [(1, 0, 7), (0, 1, 3), (1, 2, 3)]
    assert confused_pairs(matrix, limit=1) == [(1, 0, 7)]
    assert confused_pairs(np.diag([5, 5])) == []


def test_the_sample_is_the_same_every_time_and_holds_no_place_twice():
    places = sample_places(10_000, 1_000)
    assert np.array_equal(places, sample_places(10_000, 1_000))
    assert len(np.unique(places)) == 1_000 and 0 <= places.min() < places.max() < 10_000
    # Labels in turn are the trap for every tenth image: all classes must be there.
    assert len(np.unique(places % 10)) == 10


def test_tsne_keeps_heaps_apart_and_gives_the_same_map_again():
    rng = np.random.default_rng(0)
    labels = np.arange(90) % 3
    vectors = 8 * np.eye(3, 20)[labels] + rng.normal(size=(90, 20))
    places = tsne(vectors)
    assert np.array_equal(places, tsne(vectors))
    distance = np.linalg.norm(places[:, None] - places[None], axis=2) + 1e9 * np.eye(90)
    assert (labels[distance.argmin(axis=1)] == labels).all()


@pytest.mark.parametrize(
    "vectors",
    [
        np.ones((10, 3)),
        np.eye(4),
        np.arange(30.0)[:, None],
        np.zeros((1, 5)),
        np.ones((2, 1, 2, 2)),
    ],
)
def test_tsne_lays_out_whatever_is_there(vectors):
    places = tsne(vectors)
    assert places.shape == (len(vectors), 2) and np.isfinite(places).all()


@pytest.mark.parametrize(
    ("vectors", "message"),
    [
        (np.ones(5), r"got shape \(5,\), expected \(samples, ...\)"),
        (np.ones((0, 5)), r"shape \(0, 5\)"),
        (np.array([[1.0], [np.inf]]), "not finite"),
    ],
)
def test_tsne_refuses_what_is_no_table_of_numbers(vectors, message):
    with pytest.raises(ValueError, match=message):
        tsne(vectors)
