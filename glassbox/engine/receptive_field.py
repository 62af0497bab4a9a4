"""The receptive field: how many pixels one output sees."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from glassbox.kernels.shapes import extent


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
