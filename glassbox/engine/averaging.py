"""A running mean of the weights."""

from __future__ import annotations

from glassbox.engine.layer import Array


class Average:
    """A running mean of the weights, which wanders less than they do (Polyak and Juditsky 1992).

    After step t: mean = mean + (1 - d) (weights - mean), d the smaller of `decay` and t / (t + 10),
    so that the first weights are soon forgotten.  Where both are equal, as those of frozen layers
    are, no rounding moves the mean.  A decay of 0 does nothing.

    Examples
    --------
    >>> import numpy as np
    >>> weights = np.array([0.0])
    >>> average = Average(0.5, weights)
    >>> for weights[0] in (11.0, 2.0):
    ...     average.add()
    >>> average.swap()
    >>> weights.round(3).tolist()
    [3.333]
    """

    def __init__(self, decay: float, weights: Array) -> None:
        self.decay, self.weights = decay, weights
        self.mean = weights.copy() if decay else weights[:0]
        self.steps = 0

    def add(self) -> None:
        """The weights after another step."""
        if not self.decay:
            return
        self.steps += 1
        keep = min(self.decay, self.steps / (self.steps + 10))
        self.mean += float(1 - keep) * (self.weights - self.mean)

    def swap(self) -> None:
        """The mean in the weights' place and the weights in the mean's."""
        if not self.decay:
            return
        last = self.weights.copy()
        self.weights[...], self.mean = self.mean, last
