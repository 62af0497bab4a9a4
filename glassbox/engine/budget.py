"""The budget of memory for a network that a file describes."""

from __future__ import annotations

import math

from glassbox.kernels.shapes import Shape


class AllocationBudget:
    """How many numbers a network from a file may ask memory for: those in the file, and some more.

    A file of 1 kB that says "a layer of a thousand million units" is refused, not believed.

    Examples
    --------
    >>> AllocationBudget(1000).reserve("Dense", (10, 20))
    """

    ALLOWANCE = 16_000_000  # numbers: 64 MB of float32

    def __init__(self, numbers: int) -> None:
        self.left = numbers + self.ALLOWANCE

    def reserve(self, who: str, shape: Shape) -> None:
        """Raise ValueError where no room for an array of this shape is left."""
        self.left -= math.prod(shape)
        if self.left < 0:
            raise ValueError(
                f"{who} asks for an array of {shape}, far more than the file holds; it is damaged "
                "or was not made by this program"
            )
