"""The budget of memory for a network that a file describes."""

from __future__ import annotations

import math

from glassbox.kernels.shapes import Shape


class AllocationBudget:
    """How many bytes a network from a file may ask for: for the numbers in the file, and some more.

    A file of 1 kB that says "a layer of a thousand million units" is refused, not believed. What
    is counted is what building takes: a parameter is made, copied into the vector of all, and has
    a place in the L2 factors, the gradient and the state of an optimizer.

    Parameters
    ----------
    numbers : in the file.
    itemsize : bytes of a number in the network.

    Examples
    --------
    >>> AllocationBudget(1000).reserve("Dense", (10, 20))
    """

    ALLOWANCE = 64_000_000  # bytes
    COPIES = 6  # of a parameter, measured while networks are built

    def __init__(self, numbers: int, itemsize: int = 4) -> None:
        self.each = itemsize * self.COPIES
        self.left = numbers * self.each + self.ALLOWANCE

    def reserve(self, who: str, shape: Shape, each: int | None = None) -> None:
        """Raise ValueError where no memory for an array of this shape is left.

        `each`: bytes for each of its numbers; by default those of a parameter and its copies.
        """
        self.left -= math.prod(shape) * (each or self.each)
        if self.left < 0:
            raise ValueError(
                f"{who} asks for an array of {shape}, far more than the file holds; it is damaged "
                "or was not made by this program"
            )
