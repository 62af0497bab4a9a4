"""The size arithmetic against numbers worked out by hand, and against windows that are walked."""

import itertools

import naive
import numpy as np
import pytest

from glassbox.kernels.shapes import (
    Window,
    extent,
    output_length,
    pair,
    resolve_window,
    window_counts,
)


@pytest.mark.parametrize(
    ("length", "kernel", "stride", "dilation", "before", "after", "ceil", "expected"),
    [
        (28, 3, 1, 1, 0, 0, False, 26),  # 28 - 3 + 1
        (28, 3, 1, 1, 1, 1, False, 28),  # a border of 1 gives the two back
        (28, 5, 1, 1, 2, 2, False, 28),
        (28, 2, 2, 1, 0, 0, False, 14),
        (7, 2, 2, 1, 0, 0, False, 3),  # the last pixel is left over
        (7, 2, 2, 1, 0, 0, True, 4),  # ... and counts with ceil
        (7, 3, 2, 2, 0, 0, False, 2),  # a kernel of 3 dilated by 2 spans 5: starts 0 and 2
        (7, 3, 2, 1, 1, 0, False, 3),  # starts -1, 1, 3
        (7, 3, 2, 1, 1, 2, False, 4),  # one more at 5
        (5, 5, 1, 1, 0, 0, False, 1),
        (5, 6, 1, 1, 0, 0, False, 0),  # too large
        (5, 6, 1, 1, 0, 0, True, 0),
        (5, 6, 2, 1, 0, 0, True, 1),  # sticks out by less than a stride
        (5, 7, 2, 1, 0, 0, True, 0),
        (4, 2, 3, 1, 0, 0, True, 2),  # starts 0 and 3; the second sticks out by one
        (3, 1, 3, 1, 1, 1, True, 2),  # starts -1 and 2: no third one, ceil or not
        (3, 2, 2, 1, 1, 1, True, 2),  # starts -1 and 1; 3 would lie wholly in the padding
        (1, 1, 1, 1, 0, 0, False, 1),
    ],
)
def test_output_length(length, kernel, stride, dilation, before, after, ceil, expected):
    assert output_length(length, kernel, stride, dilation, before, after, ceil) == expected


def test_output_length_equals_windows_counted_one_by_one():
    """Every small combination, beside a loop that walks over the image."""
    grid = itertools.product(range(1, 9), (1, 2, 3), (1, 2, 3), (1, 2), (0, 1), (0, 2), (0, 1))
    for length, kernel, stride, dilation, before, after, ceil in grid:
        if ceil and after >= extent(kernel, dilation):
            continue  # layers refuse such a border: whole windows of padding
        walked = naive.starts(length, kernel, stride, before, after, bool(ceil), dilation)
        counted = output_length(length, kernel, stride, dilation, before, after, bool(ceil))
        assert counted == len(walked), (length, kernel, stride, dilation, before, after, ceil)


@pytest.mark.parametrize(
    ("kernel", "dilation", "pixels"), [(1, 1, 1), (1, 5, 1), (3, 1, 3), (3, 2, 5), (2, 4, 5)]
)
def test_extent(kernel, dilation, pixels):
    assert extent(kernel, dilation) == pixels


# --- pair ------------------------------------------------------------------------------------


def test_pair_takes_one_number_or_two():
    assert pair("size", 3) == (3, 3)
    assert pair("size", (3, 5)) == (3, 5)
    assert pair("size", [3, 5]) == (3, 5)
    assert pair("size", np.int64(4)) == (4, 4)
    assert pair("padding", 0, least=0) == (0, 0)
    assert all(type(number) is int for number in pair("size", (np.int32(2), 3)))


@pytest.mark.parametrize(
    ("value", "error", "message"),
    [
        ((1, 2, 3), ValueError, r"size: expected a number or a pair .*got \(1, 2, 3\)"),
        ((), ValueError, "size: expected a number or a pair"),
        (0, ValueError, "size: expected at least 1, got 0"),
        ((3, -1), ValueError, "size: expected at least 1, got -1"),
        (2.0, TypeError, r"size: expected a whole number of at least 1, got 2\.0"),
        ("3", TypeError, "size: expected a whole number of at least 1, got '3'"),
        (None, TypeError, "size: expected a whole number"),
        (True, TypeError, "size: expected a whole number of at least 1, got True"),
    ],
)
def test_pair_says_what_is_wrong(value, error, message):
    with pytest.raises(error, match=message):
        pair("size", value)


# --- windows ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("size", "kernel", "stride", "padding", "dilation", "borders", "output"),
    [
        # "valid": no border; (8 - 3) / 1 + 1 and (10 - 5) / 1 + 1
        ((8, 10), (3, 5), (1, 1), "valid", (1, 1), (0, 0, 0, 0), (6, 6)),
        # "same": the kernel's extent less one, split in two
        ((8, 10), (3, 5), (1, 1), "same", (1, 1), (1, 1, 2, 2), (8, 10)),
        # an even kernel: the odd pixel goes below and to the right
        ((8, 10), (2, 4), (1, 1), "same", (1, 1), (0, 1, 1, 2), (8, 10)),
        # ceil(7 / 2) = 4 rows need 3 * 2 + 3 = 9 pixels, two more than 7; ceil(10 / 3) = 4 columns
        # need 3 * 3 + 3 = 12, two more than 10
        ((7, 10), (3, 3), (2, 3), "same", (1, 1), (1, 1, 1, 1), (4, 4)),
        # stride beyond the kernel: ceil(7 / 4) = 2 windows need 5 pixels; nothing to add
        ((7, 7), (1, 1), (4, 4), "same", (1, 1), (0, 0, 0, 0), (2, 2)),
        # dilated by 2 a kernel of 3 spans 5
        ((8, 9), (3, 3), (1, 1), "same", (2, 2), (2, 2, 2, 2), (8, 9)),
        ((8, 9), (3, 2), (1, 1), "same", (3, 2), (3, 3, 1, 1), (8, 9)),
        # a number for all four sides, a pair for (above and below, left and right)
        ((8, 9), (3, 3), (1, 1), 1, (1, 1), (1, 1, 1, 1), (8, 9)),
        ((8, 9), (3, 3), (1, 1), (2, 0), (1, 1), (2, 2, 0, 0), (10, 7)),
        # each side its own: (8 + 1 - 3) + 1 and (9 + 2 + 3 - 3) + 1
        ((8, 9), (3, 3), (1, 1), ((1, 0), (2, 3)), (1, 1), (1, 0, 2, 3), (7, 12)),
        # stride that does not divide: (8 - 3) // 2 + 1 and (9 - 3) // 4 + 1
        ((8, 9), (3, 3), (2, 4), 0, (1, 1), (0, 0, 0, 0), (3, 2)),
    ],
)
def test_resolve_window(size, kernel, stride, padding, dilation, borders, output):
    window = resolve_window("layer", (3, *size), kernel, stride, padding, dilation)
    assert window == Window(kernel, stride, dilation, borders, output)
    walked = naive.output_size(size, kernel, stride, window.padding, dilation)
    assert walked == output


def test_same_gives_ceil_of_length_over_stride():
    for length, kernel, stride in itertools.product(range(1, 12), range(1, 6), range(1, 5)):
        window = resolve_window("layer", (1, length, 5), (kernel, 1), (stride, 1), "same", (1, 1))
        assert window.output[0] == -(-length // stride)
        assert 0 <= window.padding[1] - window.padding[0] <= 1


@pytest.mark.parametrize(
    ("size", "kernel", "stride", "padding", "borders", "output"),
    [
        # windows at 0, 2, 4; the last sticks out by one pixel
        ((5, 5), (2, 2), (2, 2), 0, (0, 1, 0, 1), (3, 3)),
        ((5, 6), (2, 2), (2, 2), 0, (0, 1, 0, 0), (3, 3)),
        # windows at -1, 1, 3, 5 of size 3 end at pixel 7 of 6 + 1: one beyond the padding
        ((6, 6), (3, 3), (2, 2), 1, (1, 2, 1, 2), (4, 4)),
        # a fourth window would begin at 5 = behind a picture of 5 pixels: dropped
        ((5, 5), (2, 2), (2, 2), 1, (1, 1, 1, 1), (3, 3)),
    ],
)
def test_ceil_counts_a_partial_window(size, kernel, stride, padding, borders, output):
    window = resolve_window("layer", (1, *size), kernel, stride, padding, ceil=True)
    assert (window.padding, window.output) == (borders, output)


def test_windows_never_reach_beyond_their_borders():
    """What kernels rely on: the last window ends inside the padded image."""
    for length, kernel, stride, padding, ceil in itertools.product(
        range(2, 9), (1, 2, 3), (1, 2, 3, 4), (0, 1, "same"), (False, True)
    ):
        if padding == 1 and kernel == 1:
            continue
        shape = (1, length, length)
        if length + 2 * (padding == 1) < kernel:
            continue
        window = resolve_window("w", shape, (kernel,) * 2, (stride,) * 2, padding, ceil=ceil)
        end = (window.output[0] - 1) * stride + kernel
        assert end <= length + window.padding[0] + window.padding[1]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (
            ((3, 4, 9), (5, 3), (1, 1), 0, (1, 1)),
            r"pool1: the kernel spans \(5, 3\) pixels but its padded input has only \(4, 9\); "
            r"use a smaller kernel.*input \(3, 4, 9\)",
        ),
        (
            ((3, 9, 6), (3, 3), (1, 1), (0, 1), (1, 4)),
            r"the kernel spans \(3, 9\) pixels but its padded input has only \(9, 8\)",
        ),
        (((3, 9, 6), (3, 3), (1, 1), "smae", (1, 1)), "padding: expected 'same', 'valid'.*'smae'"),
        (((3, 9, 6), (3, 3), (1, 1), -1, (1, 1)), "padding: expected at least 0, got -1"),
        (((3, 9, 6), (3, 3), (1, 1), (1, 2, 3), (1, 1)), r"padding: expected .*got \(1, 2, 3\)"),
        (
            ((3, 9, 6), (3, 3), (1, 1), ((1, 2), (3, 4), (5, 6)), (1, 1)),
            r"padding: expected \(\(top, bottom\), \(left, right\)\), got \(\(1, 2\), \(3, 4\)",
        ),
        (((3, 9, 6), (3, 3), (1, 1), ((1, 2), (0, -1)), (1, 1)), "expected at least 0, got -1"),
    ],
)
def test_windows_that_do_not_fit(given, message):
    with pytest.raises(ValueError, match=message):
        resolve_window("pool1", *given)


def test_padding_of_a_wrong_type():
    with pytest.raises(
        TypeError, match=r"padding: expected a whole number of at least 0, got 1\.5"
    ):
        resolve_window("pool1", (1, 5, 5), (2, 2), (2, 2), 1.5)


# --- what an average divides by --------------------------------------------------------------


def test_window_counts_by_hand():
    """3 x 3 pixels, windows of 2 x 2 at -1 and 1: one pixel of the image, or four with padding."""
    window = resolve_window("pool", (1, 3, 3), (2, 2), (2, 2), 1)
    assert np.outer(*window_counts((3, 3), window, None)).tolist() == [[1, 2], [2, 4]]
    assert np.outer(*window_counts((3, 3), window, (1, 1))).tolist() == [[4, 4], [4, 4]]


def test_window_counts_leave_out_what_ceil_adds():
    """6 pixels, size 3, stride 2, padding 1: the window at 5 has pixel 5 and one of padding."""
    window = resolve_window("pool", (1, 6, 6), (3, 3), (2, 2), 1, ceil=True)
    assert window_counts((6, 6), window, (1, 1))[1].tolist() == [3, 3, 3, 2]
    assert window_counts((6, 6), window, None)[1].tolist() == [2, 3, 3, 1]


def test_window_counts_equal_pixels_counted_one_by_one():
    for height, width, kernel, stride, border in itertools.product(
        (4, 5), (6, 7), (2, 3), (1, 2, 3), (0, 1)
    ):
        for ceil, counted in itertools.product((False, True), (False, True)):
            both = ((kernel, 2), (stride, 2))
            window = resolve_window("pool", (1, height, width), *both, border, ceil=ceil)
            after = (border, border) if counted else None
            expected = naive.average_counts((height, width), *both, (border,) * 4, ceil, counted)
            found = np.outer(*window_counts((height, width), window, after))
            assert np.array_equal(found, expected)
