"""The sanity check: overfit a few images, and say in words what that tells."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from tqdm import tqdm

from glassbox.engine.evaluation import check_labels, infer
from glassbox.engine.layer import Array
from glassbox.engine.losses import Loss
from glassbox.engine.schedules import Progress
from glassbox.engine.trainer import batches
from glassbox.errors import require_count


@dataclass(frozen=True, repr=False)
class SanityReport:
    """A network was made to overfit a few images: can it learn at all?

    first_loss: before training; chance_loss: of a network that gives every class the same score;
    loss and accuracy: at the end, on those same images.
    """

    images: int
    epochs: int
    chance_loss: float
    first_loss: float
    loss: float
    accuracy: float

    @property
    def starts_at_chance(self) -> bool:
        """Whether the untrained network was about as wrong as chance (within a half)."""
        return 0.5 * self.chance_loss <= self.first_loss <= 1.5 * self.chance_loss

    @property
    def overfits(self) -> bool:
        """Whether every image was learnt and the loss went to (almost) zero."""
        return self.accuracy == 1.0 and self.loss < 0.05 * self.chance_loss

    @property
    def passed(self) -> bool:
        """Whether both held."""
        return self.starts_at_chance and self.overfits

    def __repr__(self) -> str:
        return f"<SanityReport: {'passed' if self.passed else 'failed'}>"

    def _repr_html_(self) -> str:
        from glassbox import html_repr

        return html_repr.sanity(self)

    def __str__(self) -> str:
        start = "about what chance gives" if self.starts_at_chance else "far from chance"
        lines = [
            f"Sanity check: overfit {self.images} images for {self.epochs} epochs",
            f"  first loss  {self.first_loss:.4f}  ({start}: {self.chance_loss:.4f})",
            f"  last loss   {self.loss:.4f}",
            f"  accuracy    {self.accuracy:.1%}",
            f"Verdict: {self.verdict}",
        ]
        return "\n".join(lines)

    @property
    def verdict(self) -> str:
        """What it means, and where to look if it failed."""
        if self.passed:
            return "passed. The network can learn these images by heart, so its parts work."
        if not self.overfits and self.accuracy == 1.0:
            return (
                "not yet. Every image is right but the loss is not near zero: give it more epochs, "
                "or less dropout, L2 or label smoothing."
            )
        if not self.overfits:
            return (
                "FAILED. A sound network learns a few images by heart. Try a learning rate ten "
                "times smaller or larger, then gradient_check(), then the labels."
            )
        return (
            "suspicious. It learns, but its first loss is far from chance: look at the initial "
            "weights and at the scale of the images (they should lie around 0, within about 1)."
        )


def spread(labels: Array, count: int) -> Array:
    """The first `count` places, taken from the classes in turn.

    Examples
    --------
    >>> spread(np.array([0, 0, 0, 1, 0, 1]), 3).tolist()
    [0, 1, 3]
    """
    place_in_class = np.empty(len(labels), int)
    for label in np.unique(labels):
        where = np.flatnonzero(labels == label)
        place_in_class[where] = np.arange(len(where))
    return np.sort(np.argsort(place_in_class, kind="stable")[:count])


def sanity_check(network: Any, data: Any, images: int, epochs: int, quiet: bool) -> SanityReport:
    """Overfit a few images with an unbuilt copy of a network; see `CNN.sanity_check`."""
    require_count("epochs", epochs)
    require_count("images", images)
    if not 20 <= images <= 50:
        raise ValueError(f"images: a sanity check takes 20 to 50, got {images}")
    few = data.subset(spread(data.labels, images))
    clone = network.clone_unbuilt(network.dtype).build(data.shape)
    check_labels(data, clone.output_shape)
    _, outputs = next(infer(clone.executor, few, len(few)))
    report = overfit(clone, few, loss_at_chance(clone.loss, outputs), epochs, quiet)
    if not quiet:
        print(report)
    return report


def loss_at_chance(loss: Loss, outputs: Array) -> float:
    """The loss of a network that knows nothing yet and gives every class the same score.

    Examples
    --------
    >>> from glassbox.engine.losses import CrossEntropy
    >>> round(loss_at_chance(CrossEntropy(), np.zeros((10, 20))), 4)
    2.3026
    """
    level = outputs.mean(axis=0, keepdims=True) + np.zeros_like(outputs)
    labels = np.arange(outputs.shape[1]) % max(len(outputs), 1)
    return float(loss.forward(level, labels)[0].mean())


def overfit(network: Any, few: Any, chance: float, epochs: int, quiet: bool) -> SanityReport:
    """Train a fresh network on a few images, a tenth of them to a step, until it knows them.

    chance : the loss of a network that gives every class the same score.
    """
    first = network.evaluate(few)
    batch = max(1, len(few) // 10)
    per_epoch = math.ceil(len(few) / batch)
    bar = tqdm(range(epochs), "sanity check", leave=False, disable=quiet or None)
    with network.workers.serial_blas():
        for epoch in bar:
            order = batches(network.seed, epoch, len(few), batch, shuffle=True)
            for number, indices in enumerate(order):
                step = epoch * per_epoch + number
                network.train_step(few, indices, Progress(step, epochs * per_epoch, per_epoch))
            last = network.evaluate(few)
            bar.set_postfix(loss=f"{last.loss:.4f}", accuracy=f"{last.accuracy:.0%}")
            if last.accuracy == 1.0 and last.loss < 0.01 * chance:
                break
    bar.close()
    return SanityReport(len(few), epoch + 1, chance, first.loss, last.loss, last.accuracy)
