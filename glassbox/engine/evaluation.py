"""Inference: the outputs of a data set, and how good they are."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from glassbox.engine.diagnosis import diverged
from glassbox.engine.layer import Array, Layer, Sigmoid
from glassbox.engine.more_layers import Softmax
from glassbox.engine.parallel import IGNORE_FP_WARNINGS, inference_slices
from glassbox.engine.step import Executor, count_right, to_batch_first
from glassbox.errors import require_count


@dataclass(frozen=True)
class Evaluation:
    """How a network does on a data set: mean loss, share of right answers, images, seconds."""

    loss: float
    accuracy: float
    images: int
    seconds: float

    def __str__(self) -> str:
        return f"accuracy {self.accuracy:.2%}, loss {self.loss:.4f} ({self.images:,} images)"

    def __repr__(self) -> str:
        return f"<Evaluation: {self}>"

    def _repr_html_(self) -> str:
        from glassbox import html_repr

        return html_repr.evaluation(self)


def check_labels(data: Any, outputs: tuple[int, ...]) -> None:
    """Raise ValueError unless a network with these outputs has one for every class."""
    if len(outputs) != 1:
        raise ValueError(
            f"the last layer gives {outputs}, expected (classes,); end with Dense or Flatten"
        )
    if data.classes == ("?",) and outputs != (1,):
        raise ValueError("these images have no labels to train on or test with; predict takes them")
    if len(data.classes) != outputs[0]:
        raise ValueError(
            f"the data has {len(data.classes)} classes but the last layer gives {outputs[0]} "
            f"outputs; end the network with Dense({len(data.classes)})"
        )


def evaluate(executor: Executor, data: Any, batch_size: int) -> Evaluation:
    """Mean loss, with the L2 penalty, and share of right answers on a Dataset."""
    if not len(data):
        raise ValueError("evaluate: the data set is empty")
    check_labels(data, executor.output_shape)
    targets, weights = getattr(data, "targets", None), getattr(data, "weights", None)
    total = len(data) if weights is None else float(weights.sum())
    if not total:
        raise ValueError("evaluate: every image has the weight 0; expected at least one above 0")
    start, loss, correct = time.perf_counter(), 0.0, 0.0
    with np.errstate(**IGNORE_FP_WARNINGS):
        for indices, outputs in infer(executor, data, batch_size):
            labels = (data.labels if targets is None else targets)[indices]
            losses, _ = executor.loss.forward(outputs, labels)
            own = None if weights is None else weights[indices]
            loss += float(losses.sum(dtype=np.float64) if own is None else own @ losses)
            correct += count_right(outputs, labels, own)
        penalty = executor.parameters.penalty()
    seconds = time.perf_counter() - start
    return Evaluation(loss / total + penalty, correct / total, len(data), seconds)


def infer(executor: Executor, data: Any, batch_size: int) -> Iterator[tuple[Array, Array]]:
    """(indices, outputs batch-last) of every batch of a data set, its shards side by side."""
    require_count("batch_size", batch_size)
    with executor.workers.serial_blas():
        for start in range(0, len(data), batch_size):
            indices = np.arange(start, min(start + batch_size, len(data)))
            outputs = np.empty((*executor.output_shape, len(indices)), executor.dtype)

            def task(cut: slice, indices: Array = indices, outputs: Array = outputs) -> None:
                executor.infer_shard(data, indices[cut], outputs[..., cut])

            policy = executor.kernels.SHARD_POLICY
            cuts = inference_slices(len(indices), executor.sample_bytes, policy)
            executor.map(task, cuts, serial=False)
            yield indices, outputs


def check_validation(network: Any, data: Any, loss: float) -> None:
    """Raise Diverged unless the loss on validation data is finite."""
    if not math.isfinite(loss):
        parts = infer(network.executor, data, 1024)
        first = next((k for k, y in parts if not np.isfinite(y).all()), np.arange(1))
        what = "the validation loss is not a finite number"
        raise diverged(network.executor, data, first, network.steps_done, what, training=False)


def class_scores(
    executor: Executor, data: Any, batch_size: int, output_activation: Any = None
) -> Array:
    """The outputs of a data set, samples first, through the activation that the loss left out."""
    parts = []
    for _, outputs in infer(executor, data, batch_size):
        y = outputs if output_activation is None else output_activation.apply(outputs)
        parts.append(to_batch_first(y))
    empty = np.empty((0, *executor.output_shape), executor.dtype)
    return np.concatenate(parts) if parts else empty


def probabilities(scores: Array, last: Layer) -> Array:
    """Scores behind a last layer as rows that sum to 1; see `CNN.predict_proba`."""
    activation = getattr(last, "activation", last)
    if isinstance(activation, Softmax):
        return scores
    if isinstance(activation, Sigmoid):
        total = scores.sum(axis=1, keepdims=True)
        nothing = total == 0  # all sigmoids are too small for their type: equal shares
        return np.where(nothing, 1, scores) / np.where(nothing, scores.shape[1], total)
    softmax = Softmax().use(activation.kernels)
    return np.ascontiguousarray(softmax.apply(scores.T.copy()).T)
