"""The receptive field: how many pixels one output sees."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from glassbox.engine.more_layers import LogSoftmax, Softmax
from glassbox.kernels.shapes import Shape, extent

Region = tuple[int, int, int, int]  # (top, bottom, left, right), bottom and right not in it


@dataclass(frozen=True, slots=True)
class ReceptiveField:
    """Pixels seen by one output (`size`), and pixels between two outputs (`jump`).

    `whole`: one output sees the whole image, as behind a dense layer.
    """

    size: tuple[int, int] = (1, 1)
    jump: tuple[int, int] = (1, 1)
    whole: bool = False

    def behind(self, layer: Any) -> ReceptiveField:
        """That of a layer's outputs, if this is that of its inputs.

        For a window: size + (extent - 1) jump pixels; jump times stride (Araujo et al. 2019).

        Examples
        --------
        >>> from Filters import Conv2D
        >>> ReceptiveField((3, 3), (2, 2)).behind(Conv2D(8, 3)).size
        (7, 7)
        """
        field = self
        for inner in getattr(layer, "layers", ()):
            field = field.behind(inner)
        if getattr(layer, "sees_all", False):
            return replace(field, whole=True)
        if not hasattr(layer, "kernel_size"):
            return field
        spans = [extent(k, d) - 1 for k, d in zip(layer.kernel_size, layer.dilation, strict=True)]
        (height, width), (down, right) = field.size, field.jump
        size = height + spans[0] * down, width + spans[1] * right
        return replace(field, size=size, jump=(down * layer.stride[0], right * layer.stride[1]))


def region_before(layer: Any, region: Region) -> Region:
    """The region of a layer's input that a region of its output is made of, padding left out.

    A window at row i meets the rows i s - p to i s - p + extent (Araujo et al. 2019).  A row of
    features is an image of one column.  Not for blocks, whose paths differ.

    Examples
    --------
    >>> from CNN import CNN
    >>> from Filters import Conv2D
    >>> network = CNN(Conv2D(8, 3, stride=2, padding=1)).build((1, 9, 9))
    >>> region_before(network.layers[0], (0, 1, 2, 4))
    (0, 2, 3, 8)
    """
    shape = layer.input_shape
    size = _size(shape)
    whole = (0, size[0], 0, size[1])
    mixes = isinstance(layer, Softmax | LogSoftmax) and len(shape) == 1
    if not region[1] > region[0] or not region[3] > region[2]:
        return 0, 0, 0, 0
    if getattr(layer, "sees_all", False) or mixes:
        return whole
    if hasattr(layer, "window"):
        top, bottom = _met(layer.window, 0, region[:2], size[0])
        return (top, bottom, *_met(layer.window, 1, region[2:], size[1]))
    if _size(layer.output_shape) == size:
        return region
    if math.prod(shape) == math.prod(layer.output_shape) and region[1] - region[0] == 1:
        _, row, column = np.unravel_index(region[0], shape)  # of a flattened volume
        return int(row), int(row) + 1, int(column), int(column) + 1
    return whole


def _size(shape: Shape) -> tuple[int, int]:
    return (shape[1], shape[2]) if len(shape) == 3 else (shape[0], 1)


def _met(window: Any, axis: int, outputs: tuple[int, int], length: int) -> tuple[int, int]:
    """The pixels along one axis, from the first to behind the last, that these outputs meet."""
    starts = np.arange(*outputs) * window.stride[axis] - window.padding[2 * axis]
    pixels = np.add.outer(starts, np.arange(window.kernel[axis]) * window.dilation[axis])
    inside = pixels[(pixels >= 0) & (pixels < length)]
    return (int(inside.min()), int(inside.max()) + 1) if inside.size else (0, 0)
