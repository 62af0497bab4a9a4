"""CNNClassifier by scikit-learn's own suite, and in the company it is made for."""

from __future__ import annotations

import warnings
from itertools import chain

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.datasets import load_digits
from sklearn.exceptions import NotFittedError, SkipTestWarning
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MinMaxScaler
from sklearn.utils.class_weight import compute_sample_weight
from sklearn.utils.estimator_checks import check_estimator, parametrize_with_checks

from Datasets import Augmentation
from Filters import Conv2D, MaxPool2D
from glassbox.bridges.sklearn import CNNClassifier
from MLP import SGD, BatchNorm, Dense, Dropout

CLASSIFIERS = [
    CNNClassifier(),
    CNNClassifier(kernels="numpy"),
    CNNClassifier([BatchNorm(), Dense(32, "relu")], normalize="center", threads=1),
]
# What scikit-learn leaves out where it has no pandas, or was not told to use other arrays.
MAY_SKIP = {
    "check_array_api_input", "check_classifier_data_not_an_array",
    "check_sample_weights_pandas_series",
}  # fmt: skip
# As for scikit-learn's own MLPClassifier: other images in an epoch are other mini-batches.
FAILS = {"check_sample_weight_equivalence_on_dense_data": "mini-batches are drawn from all images"}


@parametrize_with_checks(CLASSIFIERS[:1], expected_failed_checks=lambda classifier: FAILS)
def test_scikit_learns_own_checks(estimator, check):
    """One by one, of the usual classifier; the next test asks all of them."""
    check(estimator)


@pytest.mark.slow
def test_no_check_is_left_out_without_a_reason(trust):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SkipTestWarning)
        results = [
            check_estimator(each, on_fail=None, expected_failed_checks=FAILS)
            for each in CLASSIFIERS
        ]
    by_status = {status: [] for status in ("passed", "failed", "xfail", "skipped")}
    for result in chain(*results):
        by_status[result["status"]].append(result["check_name"])
    assert by_status["failed"] == []
    assert set(by_status["xfail"]) == set(FAILS)
    assert set(by_status["skipped"]) <= MAY_SKIP
    assert len(by_status["passed"]) >= 50 * len(CLASSIFIERS)
    trust.record(
        "sklearn_checks", passed=len(by_status["passed"]), failed=0,
        skipped=len(by_status["skipped"]), classifiers=len(CLASSIFIERS),
    )  # fmt: skip


@pytest.fixture(scope="module")
def digits():
    return load_digits(return_X_y=True)


def small(**settings):
    """Quick, and good enough for the digits."""
    usual = {
        "layers": [Conv2D(8), MaxPool2D(2), Dense(32, "leaky_relu")], "image_shape": (1, 8, 8),
        "epochs": 6, "learning_rate": 0.01, "random_state": 0,
    }  # fmt: skip
    return CNNClassifier(**{**usual, **settings})


def test_cross_validation_and_pipeline(digits):
    X, y = digits
    pipeline = make_pipeline(MinMaxScaler(), small(normalize="none"))
    scores = cross_val_score(pipeline, X[:900], y[:900], cv=3)
    assert scores.min() > 0.85


def test_grid_search_over_layers_and_rates(digits):
    """A rate that cannot learn, and layers that can: the search finds the right ones."""
    X, y = digits
    layers = [[Dense(16, "relu")], [Conv2D(8), MaxPool2D(2), Dense(32, "relu")]]
    search = GridSearchCV(
        small(epochs=10),
        {"learning_rate": [1e-6, 0.01], "layers": layers},
        cv=2,
        error_score="raise",
    )
    search.fit(X[:600], y[:600])
    assert search.best_params_["learning_rate"] == 0.01
    assert search.best_score_ > 0.8
    assert search.best_estimator_.score(X[600:900], y[600:900]) > 0.8


def test_images_of_any_rank_and_flat_rows_are_the_same_to_it(digits):
    X, y = digits
    rows, gray, full = X[:300], X[:300].reshape(-1, 8, 8), X[:300].reshape(-1, 1, 8, 8)
    expected = small().fit(rows, y[:300]).predict_proba(rows)
    for given in (gray, full):
        model = small(image_shape=None).fit(given, y[:300])
        assert model.image_shape_ == (1, 8, 8) and model.n_features_in_ == 64
        for asked in (rows, gray, full):
            assert (model.predict_proba(asked) == expected).all()


def test_an_image_has_the_same_probabilities_in_any_company(digits):
    X, y = digits
    model = small(epochs=1).fit(X[:200], y[:200])
    together = model.predict_proba(X[:77])
    alone = np.concatenate([model.predict_proba(X[k : k + 1]) for k in range(77)])
    assert (together == alone).all()
    assert (model.predict_proba(X[:77][::-1])[::-1] == together).all()


def test_bytes_and_floats_of_the_same_pixels_give_the_same(digits):
    X, y = digits
    model = small().fit(X[:200].astype(np.uint8), y[:200])
    assert (model.predict_proba(X[:50]) == model.predict_proba(X[:50].astype(np.uint8))).all()


def test_labels_may_be_words(digits):
    X, y = digits
    words = np.array(["even", "odd"])[y % 2]
    model = small().fit(X[:600], words[:600])
    assert set(model.predict(X[600:700])) == {"even", "odd"}
    assert model.network_.classes == ("even", "odd")
    assert model.score(X[600:900], words[600:900]) > 0.85


def test_the_same_random_state_gives_the_same_bits(digits):
    X, y = digits
    first, second, other = (
        small(random_state=state, epochs=1).fit(X[:99], y[:99]).predict_proba(X)
        for state in (3, 3, 4)
    )
    assert (first == second).all()
    assert not (first == other).all()


def test_every_setting_reaches_the_network(digits):
    X, y = digits
    model = small(
        epochs=3, batch_size=50, optimizer=SGD(0.05, momentum=0.9), augment=Augmentation(shift=1),
        validation_fraction=0.25, threads=1, kernels="numpy", normalize="unit",
    ).fit(X[:200], y[:200])  # fmt: skip
    network = model.network_
    assert len(model.history_.records) == 3
    assert model.history_.records[0]["images"] == 150  # the rest validates
    assert "validation_accuracy" in model.history_.records[0]
    assert repr(network.optimizer) == "SGD(0.05, momentum=0.9)"
    assert network.workers.threads == 1 and "numpy" in network.kernels.__name__
    assert network.scaling.name == "unit"


def test_fitting_again_starts_anew_and_leaves_the_given_layers_alone(digits):
    X, y = digits
    layers = [Dense(16, "relu"), Dropout(0.1)]
    model = small(layers=layers, epochs=2)
    first = model.fit(X[:200], y[:200]).predict_proba(X[:50])
    assert not layers[0].parameters
    assert (model.fit(X[:200], y[:200]).predict_proba(X[:50]) == first).all()
    assert (clone(model).fit(X[:200], y[:200]).predict_proba(X[:50]) == first).all()


@pytest.mark.parametrize(
    ("settings", "given", "message"),
    [
        ({"image_shape": (1, 8, 9)}, (20, 64), r"\(1, 8, 9\) .* does not fit images of 64"),
        ({"image_shape": (1, 4, 16)}, (20, 1, 8, 8), r"does not fit images of \(1, 8, 8\)"),
        ({"image_shape": None}, (20, 3, 2, 8, 8), "Found array with dim"),
        ({"epochs": 0}, (20, 64), "epochs: expected at least 1"),
        ({"normalize": "magic"}, (20, 64), "unknown normalize 'magic'"),
    ],
)  # fmt: skip
def test_mistakes_are_told(settings, given, message):
    with pytest.raises(ValueError, match=message):
        small(**settings).fit(np.ones(given), np.arange(20) % 2)


def test_numbers_too_large_and_images_of_another_size_are_refused(digits):
    X, y = digits
    with pytest.raises(ValueError, match="too large for float32"):
        small().fit(np.full((20, 64), 1e39), np.arange(20) % 2)
    with pytest.raises(NotFittedError):
        small().predict(X)
    model = small(epochs=1).fit(X[:100], y[:100])
    with pytest.raises(ValueError, match=r"expected images of \(1, 8, 8\), got \(1, 4, 16\)"):
        model.predict(X[:5].reshape(-1, 4, 16))


def one_batch(**settings):
    """All images in every mini-batch, scaled by nothing: then weights are repetitions."""
    return small(normalize="none", batch_size=1000, epochs=3, **settings)


def test_sample_weight_is_repetition_where_a_batch_holds_all(digits):
    X, y = digits[0][:120] / 16, digits[1][:120]
    weights = np.random.default_rng(0).integers(0, 3, 120)
    repeated = np.repeat(np.arange(120), weights)
    one = one_batch().fit(X, y, sample_weight=weights)
    two = one_batch().fit(X[repeated], y[repeated])
    np.testing.assert_allclose(one.predict_proba(X), two.predict_proba(X), atol=2e-4)
    none = one_batch().fit(X, y)
    assert np.abs(none.predict_proba(X) - two.predict_proba(X)).max() > 2e-3
    expected = ((one.predict(X) == y) * weights).sum() / weights.sum()
    assert one.score(X, y, sample_weight=weights) == pytest.approx(expected)


@pytest.mark.parametrize("given", ["balanced", {"nine": 5.0, "one": 0.5}])
def test_class_weight_is_a_weight_of_each_image(digits, given):
    X, y = digits[0][:90] / 16, np.array([*"abcdefgh", "one", "nine"])[digits[1][:90]]
    one = one_batch(class_weight=given).fit(X, y)
    two = one_batch().fit(X, y, sample_weight=compute_sample_weight(given, y))
    assert one.network_.parameters.values.tobytes() == two.network_.parameters.values.tobytes()
    none = one_batch().fit(X, y)
    assert none.network_.parameters.values.tobytes() != one.network_.parameters.values.tobytes()


def test_partial_fit_goes_on_and_knows_all_classes(digits):
    X, y = digits
    model = small()
    with pytest.raises(ValueError, match="classes: the first partial_fit needs all labels"):
        model.partial_fit(X[:10], y[:10])
    few = y[:1000] < 5  # the first images show half of the classes
    model.partial_fit(X[:1000][few], y[:1000][few], classes=range(10))
    assert model.predict_proba(X[:3]).shape == (3, 10)
    network, scaling = model.network_, model.scaling_
    for start in [*range(0, 1000, 250)] * 3:
        model.partial_fit(X[start : start + 250], y[start : start + 250])
    assert model.network_ is network and model.scaling_ is scaling
    assert model.score(X[1000:], y[1000:]) > 0.85
    with pytest.raises(ValueError, match="y: expected labels of"):
        model.partial_fit(X[:10], y[:10] + 7)
    with pytest.raises(ValueError, match="classes: expected those of the first call"):
        model.partial_fit(X[:10], y[:10], classes=range(9))
