"""What is seldom meant is said in one line, once; what is usual is not."""

import warnings

import numpy as np
import pytest
from PIL import Image

from CNN import CNN
from Datasets import Dataset, Digits, Scaling, from_arrays, from_csv, from_folder
from glassbox.data import suspicions
from glassbox.data.suspicions import DataWarning, check_training
from MLP import Dense

RANDOM = np.random.default_rng(0)
IMAGES = RANDOM.integers(0, 256, (90, 1, 6, 6), np.uint8)
LABELS = np.arange(90) % 3


@pytest.fixture(autouse=True)
def forget():
    suspicions._shown.clear()


def told(call):
    """The warnings about data that a call gives."""
    with warnings.catch_warnings(record=True) as found:
        warnings.simplefilter("default")
        call()
        call()  # and nothing twice
    texts = [str(each.message) for each in found if each.category is DataWarning]
    assert not any("\n" in text for text in texts)
    assert all(len(text) < 300 for text in texts)
    return [text.removeprefix("check the data: ") for text in texts]


def data(images=IMAGES, labels=LABELS, classes="abc"):
    return Dataset(images, labels, tuple(classes), Scaling("unit"))


def fit(train, validation=None):
    units = len(train.classes)
    return lambda: CNN(Dense(units), kernels="numpy").fit(train, validation, 1, progress=False)


def test_sound_data_give_no_warning():
    assert told(fit(data(IMAGES[:60], LABELS[:60]), data(IMAGES[60:], LABELS[60:]))) == []
    digits = Digits()
    assert told(fit(digits.train, digits.validation)) == []


def test_as_many_classes_as_images():
    (text,) = told(fit(data(labels=np.arange(90), classes=map(str, range(90)))))
    assert "all 90 training images have different labels" in text


def test_a_class_without_training_images():
    (text,) = told(fit(data(classes="abcde")))
    assert text == "no training images of 'd', 'e' (of 5 classes)"
    many = data(labels=LABELS * 1000, classes=map(str, range(3000)))
    (text,) = told(lambda: check_training(many, None))
    assert text == "no training images of '1', '2', '3', '4', '5' and 2,992 more (of 3,000 classes)"


def test_all_images_equal():
    (text,) = told(fit(data(images=np.full_like(IMAGES, 7))))
    assert text == "all 90 training images are equal"
    almost = np.full_like(IMAGES, 7)
    almost[-1, 0, 5, 5] = 8
    assert told(fit(data(images=almost))) == []


@pytest.mark.parametrize("kind", [np.uint8, np.float32])
def test_validation_images_that_are_training_images(kind):
    images = IMAGES.astype(kind)
    train = data(images)
    for shared in (train, data(images[30:50], LABELS[30:50]), data(images.copy())):
        suspicions._shown.clear()
        (text,) = told(fit(train, shared))
        assert text.startswith("100% of the validation images are training images")
    mixed = np.concatenate([images[:20], 255 - images[20:40]])
    suspicions._shown.clear()
    (text,) = told(fit(train, data(mixed, LABELS[:40])))
    assert text.startswith("50% of")
    suspicions._shown.clear()
    alike = images.copy()
    alike[:, 0, 0, 0] += 1  # one pixel differs
    assert told(fit(train, data(alike))) == []


def test_a_label_far_beyond_the_others():
    labels = LABELS.copy()
    labels[7] = 2000
    (text,) = told(lambda: from_arrays(IMAGES, labels))
    assert "label 2000 at index 7, where all others are 2 or less: is it a mistake?" in text
    assert told(lambda: from_arrays(IMAGES, LABELS + 40)) == []


def test_files_that_are_skipped_are_counted(tmp_path):
    for name in "ab":
        (tmp_path / name).mkdir()
        for k in range(5):
            Image.fromarray(IMAGES[k, 0]).save(tmp_path / name / f"{k}.png")
        (tmp_path / name / "one.gif").write_bytes(b"GIF")
        (tmp_path / name / ".hidden").write_bytes(b"")
    assert told(lambda: from_folder(tmp_path))[0].startswith("2 files in ")
    (tmp_path / "a" / "notes.TXT").write_text("no picture")
    (text,) = told(lambda: from_folder(tmp_path))
    assert "3 files in" in text
    assert "(2 .gif, 1 .txt): only .png" in text


def table(rows, header=None):
    lines = [] if header is None else [",".join(map(str, header))]
    return "\n".join(lines + [",".join(map(str, row)) for row in np.asarray(rows).tolist()])


ROWS = np.column_stack([LABELS, IMAGES.reshape(90, -1)])


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (table(ROWS), None),
        (table(ROWS, ["label", *range(36)]), None),
        (table(np.column_stack([LABELS, ROWS[:, 1:] // 128])), None),  # pixels of 0 and 1
        (table(ROWS, range(37)), "the first line counts 0, 1, ...: if it is a header"),
        (table(np.column_stack([np.arange(90), IMAGES.reshape(90, -1)])), "counts the lines"),
        (table(np.roll(ROWS, -1, axis=1)), "the last column looks like the label (3 classes"),
    ],
)
def test_tables(text, expected, tmp_path):
    (tmp_path / "t.csv").write_text(text)
    found = told(lambda: from_csv(tmp_path / "t.csv", shape=(1, 6, 6)))
    assert [expected in each for each in found] == ([True] if expected else [])


def test_the_checks_are_cheap():
    """They look at each image at most once, and at few of its bytes."""
    images = np.zeros((20_000, 1, 28, 28), np.uint8)
    images[:, 0, 14, 14] = np.arange(20_000) % 251
    looked = []

    class Counting(np.ndarray):
        def __array_ufunc__(self, function, method, *inputs, **options):
            looked.append(max(np.size(each) for each in inputs))
            inputs = [each.view(np.ndarray) if isinstance(each, Counting) else each
                      for each in inputs]  # fmt: skip
            return getattr(function, method)(*inputs, **options)

    train = data(images, np.arange(20_000) % 3)
    object.__setattr__(train, "images", images.view(Counting))
    check_training(train, data(255 - images[:5000], np.arange(5000) % 3))
    assert sum(looked) < images.size / 10
