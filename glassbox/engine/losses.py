"""Losses: how wrong the outputs are, and which way the outputs should move.

`forward(outputs, labels) -> (loss of each sample, cache)`; `backward(cache, batch) -> gradient
of the mean over the whole batch`.  Outputs are (classes, samples), labels (samples,) integers or
(samples, classes) probabilities.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from glassbox.engine.edits import Editable
from glassbox.engine.layer import Array
from glassbox.errors import require_share


class Loss(Editable):
    """What all losses share: targets with label smoothing.

    Smoothing e moves a share e of each target evenly to all classes: t = (1 - e) onehot + e / K
    (Szegedy et al. 2016).
    """

    word = ""
    on_logits = False  # True: takes the logits of a softmax, which stays out of the layers

    def __init__(self, label_smoothing: float = 0.0) -> None:
        require_share("label_smoothing", label_smoothing)
        self.label_smoothing = float(label_smoothing)

    def targets(self, labels: Array, classes: int, dtype: Any) -> Array:
        """The smoothed targets, one-hot or as given, (samples, classes): (classes, samples)."""
        if labels.ndim == 2:
            targets = labels.T.astype(dtype, order="C")
        else:
            targets = np.zeros((classes, len(labels)), dtype)
            targets[labels, np.arange(len(labels))] = 1
        if self.label_smoothing:
            targets *= targets.dtype.type(1 - self.label_smoothing)
            targets += targets.dtype.type(self.label_smoothing / classes)
        return targets

    def forward(self, outputs: Array, labels: Array) -> tuple[Array, Any]:
        """The loss of each sample, (samples,), and what backward needs."""
        raise TypeError(f"{type(self).__name__} must define forward(outputs, labels)")

    def backward(self, cache: Any, batch: int) -> Array:
        """The gradient of (sum of the losses) / batch: (classes, samples)."""
        raise TypeError(f"{type(self).__name__} must define backward(cache, batch)")


class MSE(Loss):
    """Mean squared error: the mean over the outputs of (y - t)^2; t is 1 for the label, else 0.

    Divided by the number of outputs, as PyTorch's `mse_loss` is.

    Examples
    --------
    >>> MSE().forward(np.array([[1.0], [1.0]]), np.array([0]))[0].tolist()
    [0.5]
    """

    word = "mse"

    def forward(self, outputs: Array, labels: Array) -> tuple[Array, Any]:
        """mean of (y - t)^2 over the outputs of each sample."""
        error = outputs - self.targets(labels, outputs.shape[0], outputs.dtype)
        return np.einsum("kn,kn->n", error, error) / outputs.shape[0], error

    def backward(self, cache: Any, batch: int) -> Array:
        """2 (y - t) / (outputs x batch)."""
        return cache * cache.dtype.type(2.0 / (cache.shape[0] * batch))


class CrossEntropy(Loss):
    """Softmax and cross-entropy as one: -sum of t log p, with p = softmax(z).

    On logits z: log p = z - max z - log sum exp(z - max z) never takes the log of 0, and the
    gradient is simply p - t.

    Examples
    --------
    >>> round(float(CrossEntropy().forward(np.zeros((10, 1)), np.array([3]))[0][0]), 6)
    2.302585
    """

    word = "cross_entropy"
    on_logits = True

    def forward(self, outputs: Array, labels: Array) -> tuple[Array, Any]:
        """-sum of t log softmax(z) of each sample."""
        log_p = outputs - outputs.max(axis=0)
        log_p -= np.log(np.exp(log_p).sum(axis=0))
        targets = self.targets(labels, outputs.shape[0], outputs.dtype)
        return -np.einsum("kn,kn->n", targets, log_p), (log_p, targets)

    def backward(self, cache: Any, batch: int) -> Array:
        """(softmax(z) - t) / batch."""
        log_p, targets = cache
        dz = np.exp(log_p)
        dz -= targets
        dz *= dz.dtype.type(1.0 / batch)
        return dz
