"""Data frames and series: what they hold is understood as the same arrays would be."""

import re

import numpy as np
import pytest
from sklearn.datasets import load_digits

from CNN import CNN
from Datasets import from_arrays
from glassbox.bridges.sklearn import CNNClassifier
from MLP import Dense

pandas = pytest.importorskip("pandas", reason="pandas is not installed")

ROWS, LABELS = (array[:120] for array in load_digits(return_X_y=True))
WHOLE = ROWS.astype(np.uint8)
NAMES = np.array([f"digit {label}" for label in LABELS])
# An index in another order than the rows: only the order of the rows counts.
INDEX = np.random.default_rng(0).permutation(120)
FRAME = pandas.DataFrame(ROWS, INDEX, [f"pixel {n}" for n in range(64)])
SERIES, WORDS = pandas.Series(LABELS, INDEX), pandas.Series(NAMES, INDEX)


def trained(images, labels, **given):
    network = CNN(Dense(8, "relu"), Dense(10, "softmax"), loss="cross_entropy", kernels="numpy")
    network.fit(images, labels, epochs=2, progress=False, **given)
    return network


IMAGES = {
    "floats": (FRAME, ROWS),
    "bytes": (FRAME.astype("uint8"), WHOLE),
    "UInt8": (FRAME.astype("UInt8"), WHOLE),
    "Float32": (FRAME.astype("Float32"), ROWS.astype(np.float32)),
    "objects": (FRAME.astype("uint8").astype(object), WHOLE),
    "whole numbers and truths": (
        pandas.concat([FRAME.iloc[:, :1] > 0, FRAME.iloc[:, 1:].astype("uint8")], axis=1),
        np.column_stack([WHOLE[:, :1] > 0, WHOLE[:, 1:]]),
    ),
}


@pytest.mark.parametrize("kind", IMAGES)
def test_a_frame_of_pixels_is_its_array(kind):
    frame, array = IMAGES[kind]
    network, twin = trained(frame, SERIES), trained(array, LABELS)
    assert (network.parameters.values == twin.parameters.values).all()
    assert (network.predict_proba(frame) == twin.predict_proba(array)).all()
    assert (network.predict(frame.iloc[:3]) == twin.predict(array[:3])).all()
    assert network.evaluate((frame, SERIES)).loss == twin.evaluate((array, LABELS)).loss


KINDS = {
    "Int64": (SERIES.astype("Int64"), LABELS),
    "a column": (SERIES.to_frame(), LABELS),
    "one-hot": (pandas.get_dummies(SERIES), LABELS),
    "words": (WORDS, NAMES),
    "string": (WORDS.astype("string"), NAMES),
    "category": (WORDS.astype("category"), NAMES),
    "objects": (WORDS.astype(object), NAMES),
}


@pytest.mark.parametrize("kind", KINDS)
def test_a_series_of_labels_is_its_array(kind):
    series, array = KINDS[kind]
    network, twin = trained(FRAME, series), trained(ROWS, array)
    assert network.classes == twin.classes
    assert (network.parameters.values == twin.parameters.values).all()


def test_weights_may_be_a_series():
    weights = pandas.Series(np.arange(120.0), INDEX)
    network = trained(FRAME, SERIES, sample_weight=weights)
    twin = trained(ROWS, LABELS, sample_weight=weights.to_numpy())
    assert (network.parameters.values == twin.parameters.values).all()


@pytest.mark.parametrize("kind", ["Int64", "words", "string", "category"])
def test_from_arrays_takes_a_series_of_labels(kind):
    series, array = KINDS[kind]
    images = WHOLE.reshape(-1, 1, 8, 8)
    data, same = (from_arrays(images, labels) for labels in (series, array))
    assert data.classes == same.classes
    assert (data.train.labels == same.train.labels).all()
    assert (data.train.images == same.train.images).all()


@pytest.mark.parametrize("kind", ["words", "category", "string"])
def test_the_classifier_takes_frames(kind):
    model, twin = (
        CNNClassifier(image_shape=(1, 8, 8), epochs=2, random_state=0, kernels="numpy").fit(*given)
        for given in ((FRAME, KINDS[kind][0]), (ROWS, NAMES))
    )
    assert model.classes_.tolist() == twin.classes_.tolist()
    assert model.feature_names_in_.tolist() == FRAME.columns.tolist()
    assert (model.predict_proba(FRAME) == twin.predict_proba(ROWS)).all()
    assert model.score(FRAME, KINDS[kind][0]) == twin.score(ROWS, NAMES)


ODD = {
    "text": (
        lambda: trained(FRAME.assign(place="left"), SERIES),
        r"column 'place' holds 'left', expected numbers; .*frame\.drop\(columns=\['place'\]\)",
    ),
    "a missing pixel": (
        lambda: trained(FRAME.astype("UInt8").mask(FRAME == 15.0), SERIES),
        r"data frame: column 'pixel \d+' holds '<NA>', expected numbers",
    ),
    "NaN": (lambda: trained(FRAME.mask(FRAME == 15.0), SERIES), "images hold NaN or infinite"),
    "a missing name": (
        lambda: trained(FRAME, WORDS.mask(SERIES == 1)), "13 of 120 labels are missing, the first"
    ),
    "a missing number": (
        lambda: trained(FRAME, SERIES.mask(SERIES == 1)), "labels are missing, .* that of image 1;"
    ),
    "a missing Int64": (
        lambda: from_arrays(ROWS.reshape(-1, 8, 8), SERIES.astype("Int64").mask(SERIES == 1)),
        "arrays: 13 of 120 labels are missing",
    ),
    "rows": (
        lambda: from_arrays(FRAME, SERIES),
        re.escape("got shape (120, 64); write numpy.asarray(images).reshape(-1, 1, 8, 8)"),
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", ODD)
def test_what_is_no_number_or_label_is_named(case):
    ask, words = ODD[case]
    with pytest.raises((TypeError, ValueError), match=words):
        ask()
