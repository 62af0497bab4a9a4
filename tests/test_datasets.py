"""Dataset, Scaling, Splits and the way a set is divided."""

import inspect
import json
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

import Datasets
from Datasets import NORMALIZATIONS, Dataset, Digits, Scaling, from_arrays, load
from glassbox.data.splitting import split


def pixels(n=12, channels=2, height=5, width=7, dtype=np.uint8):
    values = np.random.default_rng(1).integers(0, 256, (n, channels, height, width))
    return values.astype(dtype)


def dataset(name="center", n=12, dtype=np.uint8):
    images = pixels(n, dtype=dtype)
    return Dataset(images, np.arange(n) % 3, ("a", "b", "c"), Scaling.fit(name, images[:8]))


def expected(name, images, training):
    """What each normalization means, image by image, in float64."""
    images, training = images.astype(np.float64), training.astype(np.float64)
    if name == "none":
        return images
    if name in ("per-image", "min-max"):
        out = []
        for image in images:
            if name == "per-image":
                out.append((image - image.mean()) / (image.std() or 1))
            else:
                out.append((image - image.min()) / ((image.max() - image.min()) or 1))
        return np.stack(out)
    mean = training.mean(axis=(0, 2, 3), keepdims=True) / 255
    std = training.std(axis=(0, 2, 3), keepdims=True) / 255
    unit = images / 255
    return {"unit": unit, "center": unit - mean, "standard": (unit - mean) / std}[name]


# batches ------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", NORMALIZATIONS)
@pytest.mark.parametrize(("dtype", "tolerance"), [(np.float32, 2e-5), (np.float64, 1e-12)])
def test_batch_is_scaled_as_its_name_says(name, dtype, tolerance):
    data = dataset(name)
    x, labels = data.batch([3, 0, 11], dtype)
    assert x.dtype == dtype
    wanted = expected(name, data.images[[3, 0, 11]], data.images[:8])
    assert np.abs(x - wanted).max() < tolerance * max(1, np.abs(wanted).max())
    assert labels.tolist() == [0, 0, 2]


@pytest.mark.parametrize("name", NORMALIZATIONS)
@pytest.mark.parametrize("n", [1, 5])
def test_memory_of_a_batch_has_samples_last(name, n):
    x, _ = dataset(name).batch(range(n))
    assert x.shape == (n, 2, 5, 7)
    assert x.transpose(1, 2, 3, 0).flags.c_contiguous


@pytest.mark.parametrize("name", NORMALIZATIONS)
@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
def test_an_image_is_the_same_in_any_company(name, dtype):
    data = dataset(name, dtype=dtype)
    together, _ = data.batch(range(12))
    for i in range(12):
        assert np.array_equal(data.batch([i])[0][0], together[i])


@pytest.mark.parametrize("name", ["per-image", "min-max", "standard"])
@pytest.mark.parametrize("value", [0, 7, 255, 0.1])
def test_image_without_contrast_becomes_zero(name, value):
    dtype = np.uint8 if isinstance(value, int) else np.float32
    images = np.full((3, 1, 9, 9), value, dtype)
    data = Dataset(images, np.zeros(3, int), ("a",), Scaling.fit(name, images))
    x, _ = data.batch([0, 1])
    assert (x == 0).all() if name != "standard" else np.abs(x).max() < 1e-6


def test_white_is_exactly_one():
    images = np.full((1, 1, 2, 2), 255, np.uint8)
    assert (Scaling.fit("unit", images).apply(images) == 1).all()


@pytest.mark.parametrize(
    ("indices", "chosen"),
    [
        ([], []),
        ([2, 2], [2, 2]),
        (range(3), [0, 1, 2]),
        (np.array([11]), [11]),
        (4, [4]),
        (np.arange(12) > 9, [10, 11]),
    ],
)
def test_kinds_of_indices(indices, chosen):
    data = dataset("none")
    x, labels = data.batch(indices)
    assert len(x) == len(labels) == len(chosen)
    for image, label, i in zip(x, labels, chosen, strict=True):
        assert np.array_equal(image, data.images[i])
        assert label == data.labels[i]


def test_batch_refuses_wrong_types_and_indices():
    with pytest.raises(TypeError, match=r"floating type.*int32"):
        dataset().batch([0], np.int32)
    with pytest.raises(IndexError, match="12"):
        dataset().batch([12])


def test_batches_from_many_threads_are_those_from_one():
    data = dataset("per-image", n=200)
    shards = [np.arange(i, 200, 8) for i in range(8)] * 5
    alone = [data.batch(shard)[0] for shard in shards]
    with ThreadPoolExecutor(8) as pool:
        together = list(pool.map(lambda shard: data.batch(shard)[0], shards))
    assert all(np.array_equal(a, b) for a, b in zip(alone, together, strict=True))


def test_batch_and_subset_leave_the_stored_images_alone():
    data = dataset()
    before = data.images.copy()
    x, _ = data.batch(range(12))
    x[:] = 0
    assert np.array_equal(data.images, before)
    with pytest.raises(ValueError, match="read-only"):
        data.images[0] = 0


# Dataset ------------------------------------------------------------------------------------


def test_take_and_subset_share_scaling_and_classes():
    data = dataset()
    first, some = data.take(4), data.subset([5, 1])
    assert len(first) == 4 and len(some) == 2
    assert first.scaling is some.scaling is data.scaling
    assert first.classes == some.classes == data.classes
    assert np.shares_memory(first.images, data.images)
    assert np.array_equal(some.batch([0])[0], data.batch([5])[0])
    assert some.labels.tolist() == [2, 1]
    assert len(data.subset([])) == 0
    with pytest.raises(ValueError, match=r"13.*12 samples"):
        data.take(13)


def test_user_array_stays_writable():
    images = pixels()
    Dataset(images, np.zeros(12, int), ("a",), Scaling())
    assert images.flags.writeable


@pytest.mark.parametrize(
    ("change", "error", "told"),
    [
        ({"images": pixels()[:, 0]}, ValueError, r"got shape \(12, 5, 7\)"),
        ({"images": pixels().astype(int)}, TypeError, "got int64; from_arrays converts"),
        ({"labels": np.zeros(12)}, TypeError, "labels must be whole numbers, got float64"),
        ({"labels": np.zeros(11, int)}, ValueError, "12 images need as many labels"),
        ({"labels": np.arange(12)}, ValueError, r"0\.\.2, but 9 do not; the first is 3 at index 3"),
        ({"labels": np.arange(12) - 1}, ValueError, "the first is -1 at index 0"),
    ],
)
def test_dataset_refuses_what_does_not_fit(change, error, told):
    arguments = {"images": pixels(), "labels": np.zeros(12, int), **change}
    with pytest.raises(error, match=told):
        Dataset(**arguments, classes=("a", "b", "c"), scaling=Scaling())


# Scaling ------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", NORMALIZATIONS)
def test_scaling_survives_json(name):
    scaling = Scaling.fit(name, pixels())
    assert Scaling.from_json(json.loads(json.dumps(scaling.to_json()))) == scaling


def test_scaling_is_fitted_to_the_training_part_alone():
    images = np.zeros((20, 1, 2, 2), np.uint8)
    images[:10] = 51
    images[10:] = 255
    data = from_arrays(images, np.zeros(20, int), sizes=(10, 5, 5), stratify=False)
    assert data.scaling.mean == (0.2,)
    assert data.validation.scaling is data.test.scaling is data.train.scaling
    assert data.test.batch([0])[0][0, 0, 0, 0] == pytest.approx(0.8)


def test_fit_agrees_with_numpy_over_several_blocks(monkeypatch):
    monkeypatch.setattr("glassbox.data.dataset.IMAGES_AT_ONCE", 5)
    images = pixels(12)
    scaling = Scaling.fit("standard", images)
    assert scaling.mean == pytest.approx(images.mean(axis=(0, 2, 3)) / 255)
    assert scaling.std == pytest.approx(images.std(axis=(0, 2, 3)) / 255)


@pytest.mark.parametrize(
    ("values", "low", "high"),
    [
        ((0, 0.5), 0, 1),
        ((-0.5, 0.5), -0.5, 0.5),
        ((-1, 3), -1, 3),
        ((5, 5), 5, 6),
        ((0, 16), 0, 16),
    ],
)
def test_range_of_floats(values, low, high):
    images = np.array(values, np.float32).reshape(2, 1, 1, 1)
    scaling = Scaling.fit("unit", images)
    assert (scaling.low, scaling.high) == (low, high)
    assert scaling.apply(images).ravel().tolist() == [(v - low) / (high - low) for v in values]


def test_pixel_range_goes_before_the_type():
    data = from_arrays(
        np.full((10, 2, 2), 4, np.uint8), [0] * 10, normalize="unit", pixel_range=(0, 16)
    )
    assert (data.train.batch([0])[0] == 0.25).all()


def test_scaling_refuses_what_does_not_fit():
    with pytest.raises(ValueError, match=r"unknown normalize 'centered': did you mean 'center'"):
        Digits(normalize="centered")
    with pytest.raises(ValueError, match="high must be above low"):
        Scaling("unit", 3, 3)
    with pytest.raises(ValueError, match="std must be positive"):
        Scaling("standard", 0, 1, (0.0,), (0.0,))
    with pytest.raises(ValueError, match="expected the keys"):
        Scaling.from_json({"name": "unit"})
    with pytest.raises(ValueError, match="fitted to 2 channels, got images of 1"):
        Scaling.fit("center", pixels()).apply(pixels(channels=1))
    with pytest.raises(ValueError, match=r"got shape \(2, 2\)"):
        Scaling().apply(np.zeros((2, 2), np.uint8))


# splitting ----------------------------------------------------------------------------------

LABELS = np.repeat(np.arange(4), [50, 30, 15, 5])


def indices(part, total):
    return np.arange(total)[part]


@pytest.mark.parametrize("stratify", [True, False])
@pytest.mark.parametrize("sizes", [(0.7, 0.15, 0.15), (0.7, 0.3), (60, 20, 20), (10, 5)])
def test_parts_never_share_a_sample(sizes, stratify):
    parts = [indices(p, 100) for p in split(LABELS, sizes, stratify=stratify)]
    together = np.concatenate(parts)
    assert len(np.unique(together)) == len(together)


@pytest.mark.parametrize("sizes", [(0.7, 0.15, 0.15), (0.5, 0.2, 0.1), (61, 20, 19), (37, 5)])
def test_stratified_parts_keep_the_proportions(sizes):
    for part in split(LABELS, sizes, stratify=True):
        counts = np.bincount(LABELS[part], minlength=4)
        fair = np.array([50, 30, 15, 5]) / 100 * len(part)
        assert np.abs(counts - fair).max() <= 1.5


def test_shares_use_every_image_and_round_the_running_sum():
    counts = [len(part) for part in split(np.zeros(1797, int), (0.7, 0.15, 0.15))]
    assert counts == [1258, 269, 270]
    assert [len(part) for part in split(LABELS, (0.7, 0.3))] == [70, 0, 30]
    assert [len(part) for part in split(LABELS, (0.5, 0.1, 0.2))] == [50, 10, 20]


def test_same_seed_same_parts_and_another_seed_others():
    for sizes in ((0.7, 0.15, 0.15), (50, 20, 30)):
        first, again = (split(LABELS, sizes, stratify=True, seed=4) for _ in range(2))
        other = split(LABELS, sizes, stratify=True, seed=5)
        assert all(np.array_equal(a, b) for a, b in zip(first, again, strict=True))
        assert not np.array_equal(first[0], other[0])


def test_parts_are_shuffled_not_sorted_by_class():
    train = split(np.repeat([0, 1], 100), (0.8, 0.1, 0.1))[0]
    labels = np.repeat([0, 1], 100)[train]
    changes = np.count_nonzero(np.diff(labels))
    assert 50 < changes < 110  # 1 if sorted, 159 if the classes alternated strictly


def test_counts_keep_the_order_of_the_file_and_the_official_division():
    train, validation, test = split(LABELS, (50, 10, 5), official=80)
    assert np.array_equal(indices(train, 100), np.arange(50))
    assert np.array_equal(indices(validation, 100), np.arange(50, 60))
    assert np.array_equal(indices(test, 100), np.arange(80, 85))


def test_stratified_counts_stay_within_the_training_file():
    train, validation, test = (
        indices(part, 100) for part in split(LABELS, (50, 30, 20), official=80, stratify=True)
    )
    assert np.array_equal(np.sort(np.concatenate([train, validation])), np.arange(80))
    assert np.array_equal(test, np.arange(80, 100))
    assert not np.array_equal(train, np.arange(50))


def test_shares_pool_both_files():
    _, _, test = split(LABELS, (0.5, 0.2, 0.3), official=80)
    assert (test < 80).any() and (test >= 80).any()


def test_default_sizes():
    assert [len(part) for part in split(LABELS, None)] == [70, 15, 15]
    parts = split(LABELS, None, official=60)
    assert [len(indices(part, 100)) for part in parts] == [50, 10, 40]


@pytest.mark.parametrize(
    ("sizes", "official", "told"),
    [
        ((0.7, 0.4), None, "sum to 1 at most, got 1.1"),
        ((0.7, 20, 10), None, "mixes shares and counts"),
        ((-0.1, 0.5), None, "must not be negative, got -0.1"),
        ((float("nan"), 0.5), None, "must not be negative, got nan"),
        ((50, -1, 10), None, "must not be negative, got -1"),
        ((50, 30, 30), None, "asks for 110 images, but there are 100"),
        ((70, 11, 10), 80, r"70 \+ 11 images of the training file, which has 80"),
        ((50, 10, 21), 80, "21 images of the test file, which has 20"),
        ((0, 10, 10), None, "no image to train on"),
        ((0.001, 0.5), None, "of 100 images leaves none to train on"),
        ((100,), None, "must be .train, validation, test."),
        ("abc", None, "must be .train, validation, test."),
        (100, None, "must be .train, validation, test."),
    ],
)
def test_sizes_that_cannot_be_are_told_with_numbers(sizes, official, told):
    with pytest.raises(ValueError, match=told):
        split(LABELS, sizes, official)


def test_sizes_must_be_numbers():
    with pytest.raises(TypeError, match="'10'"):
        split(LABELS, (50, "10", 10))


# Splits -------------------------------------------------------------------------------------


def test_digits():
    data = Digits()
    assert data.shape == (1, 8, 8) and len(data.classes) == 10
    assert data.train.images.max() == 16 and data.train.images.dtype == np.uint8
    assert data.scaling.high == 16
    x, _ = data.train.batch(np.arange(len(data.train)), np.float64)
    assert abs(x.mean()) < 1e-12 and x.max() - x.min() == pytest.approx(1)
    assert np.bincount(data.test.labels).min() >= 25


def test_digits_take_the_common_arguments():
    data = Digits(sizes=(100, 20), normalize="none", stratify=False)
    assert (len(data.train), len(data.validation), len(data.test)) == (100, 0, 20)
    assert data.train.labels[:10].tolist() == list(range(10))
    assert data.train.batch([0])[0].max() > 9
    assert not np.array_equal(Digits(seed=1).train.labels, Digits(seed=2).train.labels)


def test_an_empty_validation_part_still_gives_batches():
    x, labels = Digits(sizes=(0.7, 0.3)).validation.batch([])
    assert x.shape == (0, 1, 8, 8) and labels.shape == (0,)


def test_summary_line():
    assert repr(load("digits", sizes=(1000, 200, 50))) == (
        "Digits: 1,000 / 200 / 50 images to train / validate / test, 1x8x8, 10 classes, "
        "normalized by 'center'"
    )


def test_load_hands_its_arguments_on():
    data = load("Digits", sizes=(0.5, 0.5), normalize="min-max", seed=3, stratify=True)
    same = Digits((0.5, 0.5), "min-max", True, 3)
    assert np.array_equal(data.train.images, same.train.images)
    assert data.scaling == same.scaling


def test_sorted_user_data_is_shuffled_unless_told_otherwise():
    images, labels = np.zeros((40, 3, 3)), np.repeat([0, 1], 20)
    assert np.bincount(from_arrays(images, labels, sizes=(20, 10, 10)).train.labels).tolist() == [
        10,
        10,
    ]
    kept = from_arrays(images, labels, sizes=(20, 10, 10), stratify=False)
    assert kept.train.labels.tolist() == [0] * 20


@pytest.mark.parametrize(
    "call",
    [
        lambda: Digits(normalise="unit"),
        lambda: from_arrays(np.zeros((4, 8, 8)), [0, 1, 0, 1], normalise="unit"),
        lambda: load("digits", normalise="unit"),
    ],
)
def test_a_misspelled_option_is_answered(call):
    with pytest.raises(TypeError, match="no argument 'normalise'; it is called normalize here"):
        call()


def test_the_shared_options_stand_in_every_signature():
    for function in (Datasets.MNIST, Digits, from_arrays, load, Datasets.from_folder):
        names = set(inspect.signature(function).parameters)
        assert {"sizes", "normalize", "stratify", "seed"} <= names
        assert "options" not in names
