"""The readers: what they accept, and what they say about what they do not."""

import gzip
import re

import numpy as np
import pytest
from PIL import Image

from CNN import CNN
from Datasets import from_arrays, from_csv, from_folder, from_idx, from_npz, load
from glassbox.data.archives import parse_npy
from glassbox.data.readers import parse_idx, read_bytes, read_idx
from glassbox.data.tables import channels_first, read_csv
from MLP import Dense

SHAPES = {"|u1": 0x08, "|i1": 0x09, ">i2": 0x0B, ">i4": 0x0C, ">f4": 0x0D, ">f8": 0x0E}


def idx(array, dtype="|u1"):
    array = np.asarray(array).astype(dtype)
    sizes = b"".join(n.to_bytes(4, "big") for n in array.shape)
    return bytes([0, 0, SHAPES[dtype], array.ndim]) + sizes + array.tobytes()


PIXELS = np.random.default_rng(0).integers(0, 256, (20, 4, 6), dtype=np.uint8)
LABELS = np.arange(20) % 3


# IDX ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", SHAPES)
def test_idx_of_every_type_is_read(dtype):
    array = np.array([[1, -2, 3], [100, 0, 7]]) if dtype != "|u1" else np.array([[1, 250, 3]])
    read = parse_idx(idx(array, dtype))
    assert np.array_equal(read, array)
    assert read.dtype == np.dtype(dtype).newbyteorder("=")


@pytest.mark.parametrize("name", ["images", "images.gz"])
@pytest.mark.parametrize("packed", [True, False])
def test_compression_is_told_by_content_not_by_name(tmp_path, name, packed):
    content = idx(PIXELS)
    (tmp_path / name).write_bytes(gzip.compress(content) if packed else content)
    assert np.array_equal(read_idx(tmp_path / name), PIXELS)


def test_gzip_of_two_members_is_read_whole(tmp_path):
    content = idx(PIXELS)
    (tmp_path / "f").write_bytes(gzip.compress(content[:50]) + gzip.compress(content[50:]))
    assert read_bytes(tmp_path / "f") == content


HUGE = bytes([0, 0, 8, 3]) + b"\xff\xff\xff\xff" * 3 + b"ab"


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"", "4 bytes of header, this one has 0"),
        (b"\0\0", "this one has 2"),
        (b"PK\3\4" + bytes(20), "bytes 0 and 1 of an IDX file are 00 00, got 50 4b"),
        (bytes([0, 1, 8, 1, 0, 0, 0, 0]), "got 00 01"),
        (bytes([0, 0, 7, 1, 0, 0, 0, 0]), r"byte 2 gives the type as 07, expected 08 \(uint8\)"),
        (bytes([0, 0, 8, 0]), "byte 3 gives the number of axes, expected 1 to 8, got 0"),
        (bytes([0, 0, 8, 3, 0, 0]), "promises 3 axes, so a header of 16 bytes.*only 6"),
        (idx(PIXELS)[:-1], "480 bytes from byte 16 on, but 479 follow; the file is cut short"),
        (idx(PIXELS) + b"xy", "480 bytes from byte 16 on, but 482 follow.*trailing"),
        (HUGE, "79,228,162,458,924,105,385,300,197,375 bytes.*but 2 follow"),
    ],
)
def test_wrong_byte_of_an_idx_file_is_named(content, told):
    with pytest.raises(ValueError, match=f"^given: .*{told}"):
        parse_idx(content, "given")


def test_damaged_gzip_is_named(tmp_path):
    packed = gzip.compress(idx(PIXELS))
    (tmp_path / "short").write_bytes(packed[:-20])
    with pytest.raises(ValueError, match="short: truncated gzip"):
        read_idx(tmp_path / "short")
    (tmp_path / "bad").write_bytes(packed[:40] + b"\xff\xff\xff" + packed[43:])
    with pytest.raises(ValueError, match="bad: damaged gzip"):
        read_idx(tmp_path / "bad")


@pytest.mark.parametrize("start", [b"<!DOCTYPE html>", b"\n <HTML>", b"\xef\xbb\xbf<html>"])
def test_web_page_is_recognised(tmp_path, start):
    (tmp_path / "images.gz").write_bytes(start + b"<p>Log in</p>")
    with pytest.raises(ValueError, match="HTML page"):
        read_idx(tmp_path / "images.gz")


def test_missing_files_and_folders_in_their_place(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no file .*nothing"):
        read_idx(tmp_path / "nothing")
    with pytest.raises(ValueError, match="is a folder, not a file"):
        read_idx(tmp_path)
    (tmp_path / "file").write_text("x")
    with pytest.raises(ValueError, match="is a file, not a folder"):
        from_folder(tmp_path / "file")


def test_from_idx_pools_a_single_pair(tmp_path):
    (tmp_path / "i").write_bytes(idx(PIXELS))
    (tmp_path / "l").write_bytes(idx(LABELS))
    data = from_idx(tmp_path / "i", tmp_path / "l", sizes=(10, 4, 6), stratify=False)
    assert data.shape == (1, 4, 6) and data.classes == ("0", "1", "2")
    assert np.array_equal(data.test.images[:, 0], PIXELS[14:])
    assert np.array_equal(data.validation.labels, LABELS[10:14])


def test_from_idx_with_a_test_file_takes_the_test_part_from_it(tmp_path):
    for name, array in (("i", PIXELS[:12]), ("l", LABELS[:12]), ("ti", PIXELS[12:])):
        (tmp_path / name).write_bytes(idx(array))
    (tmp_path / "tl").write_bytes(idx(LABELS[12:]))
    files = [tmp_path / name for name in ("i", "l", "ti", "tl")]
    data = from_idx(*files)
    assert (len(data.train), len(data.validation), len(data.test)) == (10, 2, 8)
    assert np.array_equal(data.test.images[:, 0], PIXELS[12:])
    with pytest.raises(ValueError, match="needs both"):
        from_idx(*files[:3])


def test_differing_counts_are_told(tmp_path):
    (tmp_path / "i").write_bytes(idx(PIXELS))
    (tmp_path / "l").write_bytes(idx(LABELS[:19]))
    with pytest.raises(ValueError, match=r"20 images need as many labels, got .*\(19,\)"):
        from_idx(tmp_path / "i", tmp_path / "l")
    # the sums agree, the files do not
    (tmp_path / "tl").write_bytes(idx(LABELS[:2]))
    (tmp_path / "ti").write_bytes(idx(PIXELS[:1]))
    with pytest.raises(ValueError, match="20 images need as many labels"):
        from_idx(*(tmp_path / name for name in ("i", "l", "ti", "tl")))


# arrays -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("dtype", "stored", "range_"),
    [
        (np.uint8, np.uint8, (0, 255)),
        (np.int64, np.uint8, (0, 255)),
        (np.float64, np.float32, (0, 200)),
        (np.bool_, np.float32, (0, 1)),
    ],
)
def test_types_of_images_and_their_range(dtype, stored, range_):
    images = np.zeros((10, 2, 2), dtype)
    images[:, 0, 0] = 200
    data = from_arrays(images, np.zeros(10, int), normalize="unit")
    assert data.train.images.dtype == stored
    assert (data.scaling.low, data.scaling.high) == range_


def test_whole_numbers_of_two_values_are_black_and_white():
    data = from_arrays(np.ones((10, 2, 2), np.int64), np.zeros(10, int), normalize="unit")
    assert (data.train.batch([0])[0] == 1).all()


def test_whole_numbers_beyond_a_byte_become_floats():
    images = np.arange(40).reshape(10, 2, 2) * 100
    data = from_arrays(images, np.zeros(10, int), sizes=(10, 0), stratify=False)
    assert data.train.images.dtype == np.float32
    assert data.train.images.max() == 3900


@pytest.mark.parametrize(
    ("images", "labels", "told"),
    [
        (np.zeros((4, 3)), [0] * 4, r"got shape \(4, 3\)"),
        (np.zeros((4, 8, 8, 3)), [0] * 4, r"write images.transpose\(0, 3, 1, 2\)"),
        (np.zeros((0, 8, 8)), [], "no images"),
        (np.zeros((4, 8, 8)), [[1, 1]] * 4, r"one-hot rows, got shape \(4, 2\)"),
        (np.zeros((4, 8, 8)), [], "no labels"),
        (np.zeros((4, 8, 8)), [0, 1, -2, 0], "got -2 at index 2"),
        (np.zeros((4, 8, 8)), [0, 1, 99999, 0], "got 99999 at index 2"),
        (np.zeros((4, 8, 8)), [0, 1, 0], "4 images need as many labels"),
    ],
)
def test_arrays_that_do_not_fit_are_refused(images, labels, told):
    with pytest.raises(ValueError, match=told):
        from_arrays(images, np.array(labels, dtype=int))


def test_nan_and_infinity_are_counted_and_the_first_is_named():
    images = np.zeros((5, 1, 3, 4))
    images[2, 0, 1, 3] = np.nan
    images[4, 0, 0, 0] = -np.inf
    with pytest.raises(ValueError, match=r"2 pixels are NaN.*nan at index \(2, 0, 1, 3\)"):
        from_arrays(images, np.zeros(5, int))


def test_types_that_are_no_numbers_are_refused():
    with pytest.raises(TypeError, match="expected images of numbers"):
        from_arrays(np.full((2, 2, 2), "a"), [0, 1])
    with pytest.raises(TypeError, match="labels must be whole numbers"):
        from_arrays(np.zeros((2, 2, 2)), [0.5, 1])


def test_labels_may_be_names_in_any_order():
    names = ["dog", "cat", "dog", "cow"]
    images = np.zeros((4, 2, 2), np.uint8)
    data = from_arrays(images, names, sizes=(4, 0), stratify=False)
    assert data.classes == ("cat", "cow", "dog")
    assert data.train.labels.tolist() == [2, 0, 2, 1]
    given = from_arrays(
        images, names, sizes=(4, 0), stratify=False, classes=("dog", "owl", "cow", "cat")
    )
    assert given.train.labels.tolist() == [0, 3, 0, 2]
    assert given.classes == ("dog", "owl", "cow", "cat")
    with pytest.raises(ValueError, match=r"\['cow'\] among the labels"):
        from_arrays(images, names, classes=("dog", "cat"))


def test_labels_outside_the_named_classes_are_refused():
    with pytest.raises(ValueError, match=r"0\.\.1, got 2 at index 3"):
        from_arrays(np.zeros((4, 2, 2)), [0, 1, 1, 2], classes=("a", "b"))


# npz ----------------------------------------------------------------------------------------


def test_npz_as_keras_writes_it(tmp_path):
    np.savez(
        tmp_path / "k.npz",
        x_train=PIXELS[:12],
        y_train=LABELS[:12, None],  # a column, as with CIFAR
        x_test=PIXELS[12:],
        y_test=LABELS[12:, None],
    )
    data = from_npz(tmp_path / "k.npz", sizes=(6, 4, 8), stratify=False)
    assert np.array_equal(data.train.images[:, 0], PIXELS[:6])
    assert np.array_equal(data.validation.labels, LABELS[6:10])
    assert np.array_equal(data.test.images[:, 0], PIXELS[12:])


def test_npz_with_images_and_labels(tmp_path):
    np.savez_compressed(tmp_path / "p.npz", images=PIXELS, labels=LABELS)
    data = from_npz(tmp_path / "p.npz")
    assert (len(data.train), len(data.validation), len(data.test)) == (14, 3, 3)


def test_colors_last_of_keras_come_first(tmp_path):
    images = np.random.default_rng(0).integers(0, 256, (6, 8, 9, 3), dtype=np.uint8)
    labels = np.zeros(6, int)
    np.savez(tmp_path / "c.npz", x_train=images, y_train=labels, x_test=images, y_test=labels)
    data = from_npz(tmp_path / "c.npz", sizes=(6, 0, 6), stratify=False)
    assert data.shape == (3, 8, 9)
    assert np.array_equal(data.train.images[2, 1], images[2, :, :, 1])
    first = np.zeros((6, 3, 8, 9))
    assert channels_first(first) is first


def test_pickled_objects_in_an_npz_are_refused(tmp_path):
    np.savez(tmp_path / "o.npz", images=PIXELS, labels=np.array([{}] * 20, dtype=object))
    with pytest.raises(ValueError, match="the array 'labels' cannot be read"):
        from_npz(tmp_path / "o.npz")


@pytest.mark.parametrize("pack", [np.savez, np.savez_compressed])
@pytest.mark.parametrize(
    ("images", "labels"),
    [
        (np.asfortranarray(PIXELS), LABELS.astype(">i2")),
        (PIXELS.astype(">f8"), LABELS.astype(float)),
        (PIXELS.astype(np.float16), LABELS.astype(str)),
        (PIXELS > 100, LABELS.astype("S1")),
        (PIXELS.astype(np.int64)[:, None], LABELS[:, None]),
    ],
)
def test_npz_of_every_order_and_type(tmp_path, pack, images, labels):
    pack(tmp_path / "a.npz", images=images, labels=labels)
    data = from_npz(tmp_path / "a.npz", sizes=(20, 0), stratify=False)
    assert np.array_equal(data.train.images[:, 0], images.reshape(20, 4, 6))
    assert np.array_equal(data.train.labels, LABELS)


def test_npy_headers_of_other_versions_and_hands():
    """Version 2, keys in another order, numbers as Python 2 wrote them."""
    for version, width in ((b"\1\0", 2), (b"\2\0", 4), (b"\3\0", 4)):
        text = b"{'shape': (2L, 3L), 'fortran_order': True, 'descr': '<i2'}          \n"
        content = b"\x93NUMPY" + version + len(text).to_bytes(width, "little") + text
        values = np.arange(6, dtype="<i2")
        assert parse_npy(content + values.tobytes()).tolist() == [[0, 2, 4], [1, 3, 5]]


def test_npz_with_other_names_or_of_another_kind(tmp_path):
    np.savez(tmp_path / "n.npz", data=PIXELS)
    with pytest.raises(ValueError, match="holds data; expected the arrays x_train"):
        from_npz(tmp_path / "n.npz")
    (tmp_path / "t.npz").write_text("no archive")
    with pytest.raises(ValueError, match=r"is not a .npz archive"):
        from_npz(tmp_path / "t.npz")
    np.savez(tmp_path / "d.npz", images=PIXELS, labels=LABELS)
    content = bytearray((tmp_path / "d.npz").read_bytes())
    content[300] ^= 255  # within the pixels
    (tmp_path / "d.npz").write_bytes(content)
    with pytest.raises(ValueError, match=r"is damaged.*replace"):
        from_npz(tmp_path / "d.npz")


def test_npz_with_two_shapes_is_refused(tmp_path):
    np.savez(
        tmp_path / "s.npz",
        x_train=PIXELS,
        y_train=LABELS,
        x_test=PIXELS[:, :3],
        y_test=LABELS,
    )
    with pytest.raises(ValueError, match=r"\(1, 4, 6\), those to test \(1, 3, 6\)"):
        from_npz(tmp_path / "s.npz")


# csv ----------------------------------------------------------------------------------------

ROWS = ["1,0,10,20,255", "0,4,5,6,7", "2,9,9,9,9"]


def csv(tmp_path, *lines, packed=False):
    path = tmp_path / "t.csv"
    content = ("\n".join(lines) + "\n").encode()
    path.write_bytes(gzip.compress(content) if packed else content)
    return path


@pytest.mark.parametrize("header", [[], ["label,1x1,1x2,2x1,2x2"], ["\ufefflabel,a,b,c,d"]])
@pytest.mark.parametrize("packed", [True, False])
def test_csv_with_and_without_header(tmp_path, header, packed):
    images, labels = read_csv(csv(tmp_path, *header, *ROWS, packed=packed))
    assert labels.tolist() == [1, 0, 2]
    assert images.dtype == np.uint8
    assert images.tolist()[0] == [[[0, 10], [20, 255]]]


def test_csv_with_a_byte_order_mark_keeps_its_first_line(tmp_path):
    assert read_csv(csv(tmp_path, "\ufeff" + ROWS[0], *ROWS[1:]))[1].tolist() == [1, 0, 2]


def test_csv_with_blank_lines_quotes_and_windows_ends(tmp_path):
    images, labels = read_csv(csv(tmp_path, '"1","0","10","20","255"\r', "\r", ROWS[1] + "\r"))
    assert labels.tolist() == [1, 0]
    assert images.ravel().tolist() == [0, 10, 20, 255, 4, 5, 6, 7]


def test_csv_of_fractions_stays_float(tmp_path):
    images, _ = read_csv(csv(tmp_path, "0,0.5,0,1,1", "1,0,0,0,0.25"))
    assert images.dtype == np.float32
    assert images[0, 0, 0, 0] == 0.5


@pytest.mark.parametrize(
    ("lines", "told"),
    [
        ([*ROWS, "1,2,3"], "line 4: 3 values, but the lines before have 5"),
        ([ROWS[0], "", "1,2,x,4,5"], "line 3: value 3 is 'x'"),
        (["label,a,b,c,d", "1,2,nan,4,5"], "line 2: value 3 is 'nan'"),
        (["1,2,3,4,pixel", *ROWS], "line 1: value 5 is 'pixel'"),
        ([ROWS[0], "1,2,,4,5"], "line 2: value 3 is ''"),
        ([ROWS[0], "1.5,2,3,4,5"], "line 2: the label is '1.5'"),
        (["-1,2,3,4,5"], "line 1: the label is '-1'"),
        (["label,a,b"], "no images"),
        ([""], "no images"),
        (["1,2,3,4"], "3 pixels a line do not make a square"),
    ],
)
def test_wrong_line_of_a_csv_is_named(tmp_path, lines, told):
    with pytest.raises(ValueError, match=told):
        read_csv(csv(tmp_path, *lines))


def test_shape_of_csv_images(tmp_path):
    path = csv(tmp_path, *ROWS)
    assert read_csv(path, (1, 4))[0].shape == (3, 1, 1, 4)
    assert read_csv(path, (2, 1, 2))[0].shape == (3, 2, 1, 2)
    with pytest.raises(ValueError, match=r"shape=\(2, 3\) does not fit 4 pixels"):
        from_csv(path, (2, 3))
    assert from_csv(path, sizes=(1, 1, 1)).shape == (1, 2, 2)


# pictures -----------------------------------------------------------------------------------


def picture(path, values, **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(values).save(path, **options)


def test_folder_of_pictures(tmp_path):
    for number, label in enumerate(["dog", "cat", "cat"]):
        picture(tmp_path / label / f"{number}.png", PIXELS[number])
    (tmp_path / "cat" / "notes.txt").write_text("passed over")
    (tmp_path / ".hidden").mkdir()
    data = from_folder(tmp_path, sizes=(3, 0), stratify=False)
    assert data.classes == ("cat", "dog")
    assert data.train.labels.tolist() == [0, 0, 1]
    assert np.array_equal(data.train.images[:, 0], PIXELS[[1, 2, 0]])


def test_colors_and_size_of_pictures(tmp_path):
    colors = np.zeros((6, 8, 3), np.uint8)
    colors[..., 0] = 200
    picture(tmp_path / "a" / "1.png", colors)
    picture(tmp_path / "a" / "2.JPG", colors[:4], format="JPEG")
    data = from_folder(tmp_path, size=(3, 5), gray=False, sizes=(2, 0), stratify=False)
    assert data.shape == (3, 3, 5)
    assert abs(data.train.images.mean(axis=(0, 2, 3)) - [200, 0, 0]).max() < 3
    assert from_folder(tmp_path, size=7).shape == (1, 7, 7)
    with pytest.raises(ValueError, match=r"2.JPG' has 4 x 8 .*1.png' has 6 x 8 .*size="):
        from_folder(tmp_path)


def test_transparent_and_deep_pictures(tmp_path):
    drawn = np.zeros((2, 3, 4), np.uint8)
    drawn[0, 0, 3] = 255  # one black stroke on nothing
    picture(tmp_path / "a" / "1.png", drawn)
    deep = np.full((2, 3), 65535, np.uint16)
    deep[0, 0] = 257 * 100
    picture(tmp_path / "a" / "2.png", deep)
    images = from_folder(tmp_path, sizes=(2, 0), stratify=False).train.images
    assert images[0, 0].tolist() == [[0, 255, 255], [255, 255, 255]]
    assert images[1, 0].tolist() == [[100, 255, 255], [255, 255, 255]]


@pytest.mark.parametrize("wide", [True, False])
def test_a_picture_is_padded_and_not_squashed(tmp_path, wide):
    """A disc stays a disc; the margin has the color of the border, also in gray and turned."""
    y, x = np.mgrid[:40, :80]
    disc = (y - 19.5) ** 2 + (x - 39.5) ** 2 < 15**2
    colors = np.where(disc[..., None], (250, 10, 10), (10, 200, 90)).astype(np.uint8)
    picture(tmp_path / "a" / "1.png", colors if wide else colors.transpose(1, 0, 2))
    images = from_folder(tmp_path, size=40, gray=False, sizes=(1, 0)).train.images[0]
    found = images[0] > 130
    rows, columns = found.any(axis=1).sum(), found.any(axis=0).sum()
    assert abs(rows - columns) <= 1
    assert abs(rows - 15) <= 2
    for corner in (images[:, 0, 0], images[:, -1, -1]):
        assert corner.tolist() == [10, 200, 90]
    assert from_folder(tmp_path, size=(20, 40), sizes=(1, 0)).shape == (1, 20, 40)


def test_pictures_are_read_as_a_person_sees_them(tmp_path):
    """Palettes, turned cameras, grey with transparency, and 16 bits with a transparent value."""
    paint = Image.fromarray(np.array([[0, 1], [2, 1]], np.uint8), "P")
    paint.putpalette([255, 0, 0, 0, 255, 0, 0, 0, 255])
    turn = Image.Exif()
    turn[0x112] = 6  # the camera was held upright
    upright = np.zeros((8, 16), np.uint8)
    upright[:, :8] = 255
    deep = np.array([[0, 257 * 9], [257 * 100, 65535]], np.uint16)
    seen = {}
    for name, image, options in (
        ("palette", paint, {}),
        ("hole", paint, {"transparency": 1}),
        ("turned", Image.fromarray(upright), {"exif": turn}),
        ("deep", Image.fromarray(deep), {"transparency": 0}),
    ):
        (tmp_path / name / "a").mkdir(parents=True)
        image.save(tmp_path / name / "a" / "1.png", **options)
        data = from_folder(tmp_path / name, gray=name in ("turned", "deep"), sizes=(1, 0))
        seen[name] = data.train.images[0]
    assert seen["palette"][:, 0, 1].tolist() == [0, 255, 0]
    assert seen["hole"][:, 0, 1].tolist() == [255, 255, 255]
    assert seen["hole"][:, 1, 0].tolist() == [0, 0, 255]
    assert seen["turned"].shape == (1, 16, 8)
    assert seen["turned"][0, :, 0].tolist() == [255] * 8 + [0] * 8
    assert seen["deep"][0].tolist() == [[255, 9], [100, 255]]


def test_a_folder_without_class_folders_is_predicted_on(tmp_path):
    """Its pictures are scaled as the network's own were."""
    for number in range(6):
        picture(tmp_path / "new" / f"{number}.png", PIXELS[number])
        picture(tmp_path / "old" / "ab"[number % 2] / f"{number}.png", PIXELS[number])
    data = from_folder(tmp_path / "new")
    assert (len(data.train), len(data.validation), len(data.test)) == (0, 0, 6)
    known = from_folder(tmp_path / "old", sizes=(4, 1, 1), normalize="standard")
    network = CNN(Dense(2), kernels="numpy", seed=1)
    network.fit(known, epochs=1, progress=False)
    assert np.array_equal(network.scores(data.test), network.scores(data.test.images))
    for call in (network.evaluate, network.fit):
        with pytest.raises(ValueError, match="have no labels to train on or test with"):
            call(data.test)


def test_the_size_of_pictures_on_the_command_line(tmp_path, main_here):
    for number, shape in enumerate([(6, 8), (4, 8), (8, 8), (8, 6)]):
        picture(tmp_path / "photos" / "ab"[number % 2] / f"{number}.png", np.zeros(shape, np.uint8))
    done = main_here("--dataset", "photos", "--epochs", "1")
    assert done.returncode == 2
    assert "--size on the command line" in done.stderr
    done = main_here("--dataset", "photos", "--size", "12", "--sanity-check", "--epochs", "1")
    assert "1x12x12" in done.stdout
    done = main_here("--dataset", "digits", "--size", "12")
    assert "error: size: only pictures in a folder are resized, got 'digits'" in done.stderr
    done = main_here("--dataset", "photos/a", "--size", "12")
    assert done.returncode == 2
    assert "have no labels" in done.stderr
    assert "size=12).test)" in done.stderr


def test_folders_that_hold_no_pictures(tmp_path):
    with pytest.raises(ValueError, match="one subfolder of pictures for each class"):
        from_folder(tmp_path)
    (tmp_path / "cat").mkdir()
    with pytest.raises(ValueError, match="cat': no PNG or JPEG"):
        from_folder(tmp_path)
    (tmp_path / "cat" / "1.png").write_bytes(b"no picture")
    with pytest.raises(ValueError, match=r"1.png' cannot be read as a picture"):
        from_folder(tmp_path)
    with pytest.raises(ValueError, match="size must be"):
        from_folder(tmp_path, size=0)
    with pytest.raises(FileNotFoundError):
        from_folder(tmp_path / "nowhere")


def test_damaged_picture_is_named(tmp_path):
    noise = np.random.default_rng(0).integers(0, 256, (40, 40), dtype=np.uint8)
    picture(tmp_path / "a" / "1.png", noise)
    content = (tmp_path / "a" / "1.png").read_bytes()
    (tmp_path / "a" / "1.png").write_bytes(content[: len(content) // 2])
    with pytest.raises(ValueError, match=r"1.png' cannot be read as a picture"):
        from_folder(tmp_path)


# load ---------------------------------------------------------------------------------------


def test_load_takes_every_kind_of_path(tmp_path):
    np.savez(tmp_path / "a.npz", images=PIXELS, labels=LABELS)
    csv(tmp_path, *ROWS)
    picture(tmp_path / "pictures" / "cat" / "1.png", PIXELS[0])
    assert load(tmp_path / "a.npz", sizes=(5, 5)).name == "a.npz"
    assert load("t.csv", folder=tmp_path).shape == (1, 2, 2)
    assert load(str(tmp_path / "pictures")).classes == ("cat",)


def test_load_finds_idx_files_in_a_folder(tmp_path):
    (tmp_path / "emnist-train-images-idx3-ubyte.gz").write_bytes(gzip.compress(idx(PIXELS[:12])))
    with pytest.raises(ValueError, match="no labels beside it"):
        load(tmp_path)
    (tmp_path / "emnist-train-labels-idx1-ubyte").write_bytes(idx(LABELS[:12]))
    assert len(load(tmp_path, sizes=(10, 2)).test) == 2
    (tmp_path / "emnist-test-images-idx3-ubyte").write_bytes(idx(PIXELS[12:]))
    (tmp_path / "emnist-test-labels-idx1-ubyte").write_bytes(idx(LABELS[12:]))
    assert len(load(tmp_path).test) == 8
    (tmp_path / "other-images-idx3-ubyte").write_bytes(idx(PIXELS))
    with pytest.raises(ValueError, match="several sets"):
        load(tmp_path)


@pytest.mark.parametrize(
    ("name", "meant"), [("minst", "mnist"), ("Fashion Mnits", "fashion-mnist"), ("digit", "digits")]
)
def test_unknown_names_get_the_nearest_known_one(name, meant):
    with pytest.raises(ValueError, match=f"did you mean {re.escape(repr(meant))}"):
        load(name)


def test_unknown_paths_and_kinds(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"missing.csv"):
        load(tmp_path / "missing.csv")
    with pytest.raises(ValueError, match="Choose from mnist"):
        load("xyzzy")
    (tmp_path / "a.txt").write_text("x")
    with pytest.raises(ValueError, match=r"expected a .npz or .csv file or a folder"):
        load(tmp_path / "a.txt")
