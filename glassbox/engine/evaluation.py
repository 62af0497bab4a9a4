"""How a network does on a data set."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

import numpy as np

from glassbox.engine.executor import Executor
from glassbox.engine.parallel import IGNORE_FP_WARNINGS
from glassbox.engine.step import count_right


@dataclass(frozen=True)
class Evaluation:
    """How a network does on a data set: mean loss, share of right answers, images, seconds."""

    loss: float
    accuracy: float
    images: int
    seconds: float

    def __str__(self) -> str:
        return f"accuracy {self.accuracy:.2%}, loss {self.loss:.4f} ({self.images:,} images)"


def evaluate(executor: Executor, data: Any, batch_size: int) -> Evaluation:
    """Mean loss, with the L2 penalty, and share of right answers on a Dataset."""
    if not len(data):
        raise ValueError("evaluate: the data set is empty")
    start, loss, correct = time.perf_counter(), 0.0, 0
    with np.errstate(**IGNORE_FP_WARNINGS):
        for indices, outputs in executor.outputs(data, batch_size):
            labels = data.labels[indices]
            losses, _ = executor.loss.forward(outputs, labels)
            loss += float(losses.sum(dtype=np.float64))
            correct += count_right(outputs, labels)
        penalty = executor.parameters.penalty()
    seconds, count = time.perf_counter() - start, len(data)
    return Evaluation(loss / count + penalty, correct / count, count, seconds)
