"""A running mean of the weights."""

from __future__ import annotations

from collections.abc import Sequence

from glassbox.engine.layer import Array


class Average:
    """A running mean of the weights, which wanders less than they do (Polyak and Juditsky 1992).

    After step t: mean = d mean + (1 - d) weights, d the smaller of `decay` and t / (t + 10), so
    that the first weights are soon forgotten.  A decay of 0 does nothing.  `still`: stretches of
    weights that never move, which rounding must not move either.

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

    def __init__(self, decay: float, weights: Array, still: Sequence[slice] = ()) -> None:
        self.decay, self.weights, self.still = decay, weights, still
        self.mean = weights.copy() if decay else weights[:0]
        self.steps = 0

    def add(self) -> None:
        """The weights after another step."""
        if not self.decay:
            return
        self.steps += 1
        keep = min(self.decay, self.steps / (self.steps + 10))
        self.mean *= self.mean.dtype.type(keep)
        self.mean += self.mean.dtype.type(1 - keep) * self.weights
        for part in self.still:
            self.mean[part] = self.weights[part]

    def swap(self) -> None:
        """The mean in the weights' place and the weights in the mean's."""
        if not self.decay:
            return
        last = self.weights.copy()
        self.weights[...], self.mean = self.mean, last
