"""Whether the arguments of `CNN.fit` fit together."""

from __future__ import annotations

from typing import Any

from glassbox.errors import require_count, require_positive, require_share


def check_fit(
    epochs: Any,
    batch_size: Any,
    patience: Any,
    ema_decay: Any,
    preview: Any,
    checkpoint_every: Any,
    *,
    has_validation: bool,
    has_file: bool,
) -> None:
    """Raise ValueError or TypeError unless the arguments of `CNN.fit` fit together."""
    require_count("epochs", epochs)
    require_count("batch_size", batch_size)
    if patience is not None:
        require_count("patience", patience)
        if not has_validation:
            raise ValueError("patience needs validation data to judge by; pass validation=...")
    require_share("ema_decay", ema_decay)
    if checkpoint_every is not None:
        require_count("checkpoint_every", checkpoint_every)
        if not has_file:
            raise ValueError("checkpoint_every needs a file; pass checkpoint=...")
    if preview is not None:
        require_positive("preview", preview)
        require_share("preview", preview, closed=True)
