"""The settings of one training run, checked together."""

from __future__ import annotations

from dataclasses import dataclass

from glassbox.engine.step import Augment
from glassbox.errors import require_count, require_positive, require_share, short


@dataclass(frozen=True)
class FitSettings:
    """What `CNN.fit` was told; its docstring explains each.

    Raises ValueError or TypeError unless they fit together.
    """

    epochs: int
    batch_size: int
    augment: Augment | None = None
    shuffle: bool = True
    patience: int | None = None
    ema_decay: float = 0.0
    preview: float | None = None
    checkpoint_every: int | None = None
    progress: bool = True

    def check(self, has_validation: bool, has_file: bool) -> FitSettings:
        """Raise unless all are sound; `patience` needs validation data, a checkpoint a file."""
        require_count("epochs", self.epochs)
        require_count("batch_size", self.batch_size)
        if self.augment is not None and not callable(self.augment):
            raise TypeError(
                "augment: expected a function (images, generator) -> images, such as "
                f"Augmentation(shift=2), got {short(self.augment)}"
            )
        if self.patience is not None:
            require_count("patience", self.patience)
            if not has_validation:
                raise ValueError("patience needs validation data to judge by; pass validation=...")
        require_share("ema_decay", self.ema_decay)
        if self.checkpoint_every is not None:
            require_count("checkpoint_every", self.checkpoint_every)
            if not has_file:
                raise ValueError("checkpoint_every needs a file; pass checkpoint=...")
        if self.preview is not None:
            require_positive("preview", self.preview)
            require_share("preview", self.preview, closed=True)
        return self
