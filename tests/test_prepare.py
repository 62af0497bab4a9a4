"""Photographed and drawn digits come out as MNIST's are, whatever paper, ink, size and place."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw

import benchmarks.drawn_digits as drawn_digits
from Datasets import digit_steps, prepare_digits
from glassbox.data.prepare import WORKING, stroke_width


def written(pen=24, side=300):
    """A dark 7 on light paper, as an array (height, width)."""
    page = Image.new("L", (side, side + 100), 230)
    ImageDraw.Draw(page).line([(80, 80), (220, 80), (130, 320)], 30, pen)
    return np.asarray(page)


def as_mnist(side=20):
    """Digits as MNIST has them: ink of 20 x 20 at most around their center of mass, in 28 x 28."""
    rng = np.random.default_rng(5)
    images = []
    for row in drawn_digits.WAYS["development"].strip().split("\n"):
        ink = drawn_digits.drawn(row.split(maxsplit=1)[1].split(";")[0], 24, rng)
        ink = ink.crop(ink.getbbox())
        scale = side / max(ink.size)
        small = np.asarray(ink.resize([max(1, round(scale * n)) for n in ink.size]))
        middles = [
            small.sum(1 - axis) @ np.arange(n) / small.sum() for axis, n in enumerate(small.shape)
        ]
        top, left = (round(14 - middle) for middle in middles)
        image = np.zeros((28, 28), np.uint8)
        image[top : top + small.shape[0], left : left + small.shape[1]] = small
        images.append(image)
    return np.stack(images)


def alike(ours, theirs):
    """The correlation of each pair of images."""
    pairs = zip(ours.reshape(len(ours), -1), theirs.reshape(len(theirs), -1), strict=True)
    return np.array([np.corrcoef(one, other)[0, 1] for one, other in pairs])


def enlarged(image, factor=9):
    side = factor * 28
    return np.asarray(Image.fromarray(image).resize((side, side), Image.Resampling.BICUBIC))


def shifted(image):
    page = np.zeros((400, 520), np.uint8)
    page[130:382, 250:502] = enlarged(image)
    return page


def colored(image):
    ink = enlarged(image)[:, :, None] / 255
    return (ink * (180, 30, 40) + (1 - ink) * (230, 220, 150)).astype(np.uint8)


def shaded(image):
    y, x = np.mgrid[0:252, 0:252] / 252
    light = (1 - 0.5 * y) * np.where(x + y < 0.7, 0.6, 1)  # falls off, and has a shadow
    return ((230 - 190 * (enlarged(image) / 255)) * light).astype(np.uint8)


CHANGES = {
    "as it is": lambda image: image, "inverted": lambda image: 255 - image, "large": enlarged,
    "shifted": shifted, "in color": colored, "with a shadow": shaded,
    "transparent": lambda image: np.stack([np.zeros_like(image), image], axis=2),
    "in 16 bits": lambda image: image.astype(np.uint16) * 257,
    "scaled and centered": lambda image: image / 255 - 0.13,
}  # fmt: skip


@pytest.mark.parametrize("change", CHANGES)
def test_what_was_prepared_already_comes_back_as_it_was(change):
    before = as_mnist()
    after = prepare_digits([CHANGES[change](image) for image in before])
    assert (after.shape, after.dtype) == ((len(before), 1, 28, 28), np.uint8)
    found = alike(after, before)
    assert np.median(found) > 0.96
    assert found.min() > 0.45  # a narrow digit may be off by a pixel


@pytest.mark.parametrize("background", [0, 255])
def test_ink_may_be_light_or_dark_in_pictures_with_transparency(background):
    """The color below what is transparent does not count, not even where it is that of the ink."""
    ink = np.where(written() < 100, 255, 0).astype(np.uint8)
    picture = np.stack([np.full_like(ink, background)] * 3 + [ink], axis=2)
    assert alike(prepare_digits([picture]), prepare_digits([written()]))[0] > 0.99


@pytest.mark.parametrize("kind", [np.int16, np.uint16, np.int64, np.uint64])
def test_bytes_may_be_numbers_of_any_type(kind):
    """Lists of lists, and most tables, become whole numbers of 64 bits."""
    same = prepare_digits([written().astype(kind)])
    np.testing.assert_array_equal(same, prepare_digits([written()]))


def test_an_inverted_picture_gives_the_same():
    assert (
        np.abs(prepare_digits([255 - written()]) - prepare_digits([written()]).astype(int)).max()
        <= 1
    )


def test_ink_of_another_color_and_the_same_brightness_is_found():
    ink = written()[:, :, None] < 100
    picture = np.where(ink, (200, 60, 60), (60, 200, 60)).astype(np.uint8)
    assert alike(prepare_digits([picture]), prepare_digits([written()]))[0] > 0.98


def test_a_large_zero_is_not_taken_for_light_ink():
    """Its inside is as narrow as a stroke, and light as its outside."""
    page = Image.new("L", (100, 100), 255)
    ImageDraw.Draw(page).ellipse((30, 20, 70, 80), None, 0, 8)
    result = prepare_digits([page])[0, 0]
    assert result[14, 14] == 0
    assert result[:, 14].max() == 255


@pytest.mark.parametrize("size", [28, 14, 56])
def test_the_ink_fills_20_of_28_pixels_and_its_mass_is_in_the_middle(size):
    image = prepare_digits([written()], size)[0, 0].astype(float)
    rows, columns = (np.flatnonzero(image.sum(axis)) for axis in (1, 0))
    assert np.ptp(rows) + 1 == round(size * 20 / 28)
    assert np.ptp(columns) < np.ptp(rows)  # the aspect is kept
    for axis in (0, 1):
        middle = image.sum(1 - axis) @ np.arange(size) / image.sum()
        assert abs(middle - size / 2) <= 0.5


def test_specks_and_what_the_border_cuts_are_left_out():
    dirty = written().copy()
    dirty[10:14, 20:24] = dirty[380:384, 280:284] = 0
    dirty[:, :12] = 0  # the edge of the paper
    dirty[330:, 260:280] = 0  # part of another digit
    assert alike(prepare_digits([dirty]), prepare_digits([written()]))[0] > 0.99


def test_a_bar_apart_from_its_digit_is_kept():
    page = np.full((300, 200), 255, np.uint8)
    page[60:75, 60:140], page[100:240, 60:75] = 0, 0
    rows = np.flatnonzero(digit_steps(page)["ink"].max(1) > 0.5)
    assert (rows[0], rows[-1]) == (60, 239)


def test_thin_strokes_are_made_as_thick_as_those_of_mnist():
    for pen in (2, 6):
        strokes = digit_steps(written(pen))["cropped"] > 0.5
        assert 0.085 < stroke_width(strokes) / max(strokes.shape) < 0.11


def test_every_step_can_be_seen():
    steps = digit_steps(written())
    assert list(steps) == ["gray", "even", "ink", "cropped", "fitted", "centered"]
    assert steps["even"].shape == steps["ink"].shape == steps["gray"].shape == (384, 288)
    assert steps["gray"][0, 0] > steps["gray"].min()  # dark on light still
    assert steps["even"][0, 0] < 0.01 < 0.5 < steps["even"].max()
    assert max(steps["fitted"].shape) == 20
    np.testing.assert_array_equal(prepare_digits([written()])[0, 0], steps["centered"])


def test_files_and_arrays_of_any_order_give_the_same(tmp_path):
    color = colored(as_mnist()[3])
    Image.fromarray(color).save(tmp_path / "seven.png")
    given = [color, color.transpose(2, 0, 1), tmp_path / "seven.png", str(tmp_path / "seven.png"),
             Image.fromarray(color)]  # fmt: skip
    first, *rest = prepare_digits(given)
    for other in rest:
        np.testing.assert_array_equal(other, first)
    assert prepare_digits(iter([])).shape == (0, 1, 28, 28)


def test_a_huge_picture_is_made_smaller_before_anything_else():
    page = np.full((4096, 4096), 240, np.uint8)
    page[1000:3000, 2000:2300] = 20
    steps = digit_steps(page)
    assert steps["gray"].shape == (WORKING, WORKING)
    assert steps["centered"].any()
    assert digit_steps(np.tile(page[:1], (1, 10)) + page[2000:2001].repeat(10).reshape(1, -1))


BLANK = {
    "one pixel": np.zeros((1, 1)), "even": np.full((40, 30), 200, np.uint8),
    "noise": np.random.default_rng(0).normal(200, 8, (200, 200)).clip(0, 255).astype(np.uint8),
    "strong noise": np.random.default_rng(0).integers(0, 256, (200, 200), np.uint8),
    "a gradient": np.linspace(0, 255, 160 * 120).reshape(160, 120).astype(np.uint8),
    "transparent": np.zeros((30, 30, 4), np.uint8),
    "faint": np.where(written() < 100, 226, 230).astype(np.uint8),
}  # fmt: skip


@pytest.mark.parametrize("what", BLANK)
def test_a_blank_picture_is_named(what):
    with pytest.raises(ValueError, match=r"images\[1\]: it is blank"):
        prepare_digits([written(), BLANK[what]])


@pytest.mark.parametrize("wrong", [np.nan, np.inf, 1e300])
def test_pixels_that_are_not_finite_are_refused(wrong):
    page = written().astype(float)
    page[3, 3] = wrong
    with pytest.raises(ValueError, match="pixels must be finite"):
        digit_steps(page)


@pytest.mark.parametrize("shape", [(), (5,), (2, 3, 4, 5), (0, 5), (9, 9, 7), (9, 9, 0)])
def test_what_is_no_picture_is_named_by_its_shape(shape):
    with pytest.raises(ValueError, match="expected a picture"):
        digit_steps(np.ones(shape))


@pytest.mark.parametrize("wrong", [None, {"a": 1}, np.array([["a"]])])
def test_what_is_no_array_of_numbers_is_refused(wrong):
    with pytest.raises(TypeError, match=r"images\[0\]: expected a picture as an array of numbers"):
        prepare_digits([wrong])


@pytest.mark.parametrize("size", [6, 385, 28.0, None])
def test_sizes_of_no_picture_of_a_digit_are_refused(size):
    for images in ([written()], []):
        with pytest.raises(ValueError, match=r"^size must be a whole number from 7 to 384, got"):
            prepare_digits(images, size)


@pytest.mark.parametrize("one", ["seven.png", Path("seven.png"), Image.new("L", (9, 9))])
def test_a_single_picture_is_no_list(one):
    with pytest.raises(TypeError, match="images: expected a list of pictures, got one: "):
        prepare_digits(one)


def test_the_halves_of_the_benchmark_have_nothing_in_common():
    first, second = (drawn_digits.FONTS[half] for half in drawn_digits.HALVES)
    assert not set(first) & set(second)
    ways = [
        {way.strip() for row in drawn_digits.WAYS[half].strip().split("\n")
         for way in row.split(maxsplit=1)[1].split(";")} for half in drawn_digits.HALVES
    ]  # fmt: skip
    assert len(ways[0]) == len(ways[1]) == 30
    assert not ways[0] & ways[1]
