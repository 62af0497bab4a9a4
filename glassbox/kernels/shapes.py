"""Size arithmetic: it stands here once, and convolution, pooling, summary and tests share it.

A shape never counts the samples: a volume is (channels, height, width), a row is (features,).
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np

from glassbox.errors import require_count, short

Shape = tuple[int, ...]
Pair = tuple[int, int]

MOST_PIXELS = 2**31  # of a padded image: far more than memory holds


class Window(NamedTuple):
    """The geometry of a sliding window, every number resolved for one input size.

    Fields: kernel (kh, kw), stride (sh, sw), dilation (dh, dw), padding (top, bottom, left, right)
    and the output size (oh, ow) that follows from them.  Lengths are in pixels.
    """

    kernel: Pair
    stride: Pair
    dilation: Pair
    padding: tuple[int, int, int, int]
    output: Pair


class ShardPolicy(NamedTuple):
    """How a backend of kernels likes a mini-batch cut into shards.

    cache_bytes: what a shard's largest array may take; smallest, largest: samples in a shard;
    least_work: multiply-adds of a shard from which a second thread helps; largest_of_rows: samples
    in a shard where all layers give rows, if more: their products can be divided among threads.
    """

    cache_bytes: int
    smallest: int
    largest: int
    least_work: int
    largest_of_rows: int = 0

    def of(self, shapes: Iterable[Shape]) -> ShardPolicy:
        """The policy for a network whose layers give these shapes."""
        rows = all(len(shape) == 1 for shape in shapes)
        return self._replace(largest=max(self.largest, self.largest_of_rows)) if rows else self


def pair(what: str, value: Any, *, least: int = 1) -> Pair:
    """One whole number for both directions, or (vertical, horizontal).

    Examples
    --------
    >>> pair("kernel_size", 3), pair("kernel_size", (3, 5))
    ((3, 3), (3, 5))
    """
    both = tuple(value) if isinstance(value, (tuple, list)) else (value, value)
    if len(both) != 2:
        raise ValueError(f"{what}: expected a number or a pair (height, width), got {short(value)}")
    for number in both:
        require_count(what, number, least=least, most=MOST_PIXELS)
    return int(both[0]), int(both[1])


def extent(kernel: int, dilation: int) -> int:
    """Pixels that a dilated kernel spans: d(k - 1) + 1.

    Examples
    --------
    >>> extent(3, 1), extent(3, 2)
    (3, 5)
    """
    return dilation * (kernel - 1) + 1


def output_length(
    length: int, kernel: int, stride: int, dilation: int, before: int, after: int, ceil: bool
) -> int:
    """Windows that fit along one direction: floor((n + p - d(k - 1) - 1) / s) + 1.

    With `ceil` a last, partial window counts too, if it starts inside the input or the padding
    before it (PyTorch's rules: a window wholly in the padding after the input is dropped, and the
    only window may be partial if the kernel sticks out by less than the stride).

    Examples
    --------
    >>> output_length(28, 3, 1, 1, 0, 0, ceil=False), output_length(5, 2, 2, 1, 0, 0, ceil=True)
    (26, 3)
    >>> output_length(2, 3, 3, 1, 0, 0, ceil=True), output_length(2, 3, 1, 1, 0, 0, ceil=True)
    (1, 0)
    """
    room = length + before + after - extent(kernel, dilation)
    if not ceil:
        return room // stride + 1 if room >= 0 else 0
    count = max(-(-room // stride) + 1, 0)  # room above -stride: a single, partial window
    return count - 1 if (count - 1) * stride >= length + before else count


def paddings(padding: Any, length: Pair, kernel: Pair, stride: Pair, dilation: Pair) -> list[Pair]:
    """(before, after) for height and width, whatever way `padding` was said."""
    if padding == "valid":
        return [(0, 0), (0, 0)]
    if padding == "same":  # as many outputs as ceil(input / stride); an odd pixel goes after
        total = [
            max((math.ceil(n / s) - 1) * s + extent(k, d) - n, 0)
            for n, k, s, d in zip(length, kernel, stride, dilation, strict=True)
        ]
        return [(t // 2, t - t // 2) for t in total]
    if isinstance(padding, str):
        raise ValueError(
            "padding: expected 'same', 'valid', a number, a pair (height, width) or "
            f"((top, bottom), (left, right)), got {short(padding)}"
        )
    if isinstance(padding, (tuple, list)) and any(isinstance(p, (tuple, list)) for p in padding):
        if len(padding) != 2:
            raise ValueError(
                f"padding: expected ((top, bottom), (left, right)), got {short(padding)}"
            )
        return [pair("padding", side, least=0) for side in padding]
    vertical, horizontal = pair("padding", padding, least=0)
    return [(vertical, vertical), (horizontal, horizontal)]


def resolve_window(
    who: str, input_shape: Shape, kernel: Pair, stride: Pair, padding: Any,
    dilation: Pair = (1, 1), ceil: bool = False,
) -> Window:  # fmt: skip
    """The `Window` of a layer for one input size (channels, height, width).

    Raises ValueError, in the name of `who`, where the kernel is larger than its padded input.

    Examples
    --------
    >>> resolve_window("MaxPool2D", (8, 28, 28), (2, 2), (2, 2), 0).output
    (14, 14)
    >>> resolve_window("Conv2D", (1, 5, 5), (2, 2), (1, 1), ((1, 0), (0, 2))).padding
    (1, 0, 0, 2)
    """
    size = (input_shape[1], input_shape[2])
    borders = paddings(padding, size, kernel, stride, dilation)
    counts = [
        output_length(n, k, s, d, *border, ceil)
        for n, k, s, d, border in zip(size, kernel, stride, dilation, borders, strict=True)
    ]
    if min(counts) < 1:
        spans = tuple(extent(k, d) for k, d in zip(kernel, dilation, strict=True))
        padded = tuple(n + sum(border) for n, border in zip(size, borders, strict=True))
        raise ValueError(
            f"{who}: the kernel spans {spans} pixels but its padded input has only {padded}; "
            f"use a smaller kernel, more padding or fewer poolings before it (input {input_shape})"
        )
    # The border that the windows really touch: more than was asked for under `ceil`.
    reach = [
        max(after, (count - 1) * s + extent(k, d) - n - before)
        for count, n, k, s, d, (before, after) in zip(
            counts, size, kernel, stride, dilation, borders, strict=True
        )
    ]
    padding_all = (borders[0][0], reach[0], borders[1][0], reach[1])
    padded = tuple(n + b[0] + r for n, b, r in zip(size, borders, reach, strict=True))
    if math.prod(padded) > MOST_PIXELS:
        raise ValueError(
            f"{who}: kernel_size {kernel}, dilation {dilation} and padding ask for a padded input "
            f"of {padded} pixels, more than can be computed; use smaller ones"
        )
    return Window(kernel, stride, dilation, padding_all, (counts[0], counts[1]))


@lru_cache(maxsize=4096)
def mirrored_window(window: Window, size: Pair) -> Window:
    """The window of the convolution that takes dy, spread out to a step of one pixel, back to dx.

    Its padding may be negative: rows or columns of dy that only ever met padding.
    """
    borders = []
    for axis in (0, 1):
        span = extent(window.kernel[axis], window.dilation[axis]) - 1
        before = span - window.padding[2 * axis]
        length = (window.output[axis] - 1) * window.stride[axis] + 1
        borders += [before, size[axis] + span - length - before]
    top, bottom, left, right = borders
    return Window(window.kernel, (1, 1), window.dilation, (top, bottom, left, right), size)


def require_pixels(who: str, input_shape: Shape, window: Window, padding: Any) -> None:
    """Raise ValueError, in the name of `who`, where a window sees no pixel of its input.

    It then lies in the padding, or its dilation steps over all pixels.
    """
    for axis, length in enumerate(input_shape[1:]):
        kernel, stride, step = window.kernel[axis], window.stride[axis], window.dilation[axis]
        border, last = window.padding[2 * axis], window.output[axis] - 1
        sees = last * stride - border < length and -(-border // step) < kernel
        if sees and step > length:  # a window that begins in the border may step over the image
            begun = min(last + 1, -(-border // stride))
            first = (np.arange(min(begun, 2**20)) * stride - border) % step  # its first pixel
            sees = begun <= 2**20 and bool((first < length).all())
        if not sees:
            raise ValueError(
                f"{who}: padding {padding} must be smaller than kernel_size {window.kernel}, or a "
                "window would lie wholly outside the image"
                + (f" or step over it by dilation {window.dilation}" * (window.dilation != (1, 1)))
            )


def pool_counts(input_shape: Shape, window: Window, padding: Any) -> tuple[np.ndarray, np.ndarray]:
    """The `window_counts` of an average pool whose `padding` counts as pixels; None: it does not.

    Examples
    --------
    >>> w = resolve_window("pool", (1, 2, 2), (3, 3), (3, 3), 0, ceil=True)
    >>> np.outer(*pool_counts((1, 2, 2), w, 0)).tolist()
    [[4]]
    """
    size, after = (input_shape[1], input_shape[2]), None
    if padding is not None:  # what `ceil` adds behind it never counts
        asked = paddings(padding, size, window.kernel, window.stride, window.dilation)
        after = asked[0][1], asked[1][1]
    return window_counts(size, window, after)


def window_counts(size: Pair, window: Window, after: Pair | None) -> tuple[np.ndarray, np.ndarray]:
    """How many pixels each window of an average pool averages over: (oh,) down, (ow,) across.

    A window averages over their product; one number for each window would take far more memory.
    `after` is the padding (below, to the right) that was asked for and counts as pixels, or None
    where no padding counts.  What `ceil` adds behind it never counts.

    Examples
    --------
    >>> w = resolve_window("pool", (1, 3, 3), (2, 2), (2, 2), 0, ceil=True)
    >>> np.outer(*window_counts((3, 3), w, None)).tolist()
    [[4, 2], [2, 1]]
    """
    along = []
    for axis in (0, 1):
        starts = np.arange(window.output[axis]) * window.stride[axis] - window.padding[2 * axis]
        stops = np.minimum(starts + window.kernel[axis], size[axis] + (after[axis] if after else 0))
        along.append(stops - (starts if after else np.maximum(starts, 0)))
    return along[0], along[1]
