"""What a sanity check found, and its verdict in words."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
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
