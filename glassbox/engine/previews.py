"""Pictures of one image's feature maps, every so often during training."""

from __future__ import annotations

import os
from typing import Any


class Previews:
    """Called after every step; has the network draw where another share of the data is through.

    share : of an epoch, between two pictures
    done : epochs that lie behind a run that is resumed
    """

    def __init__(
        self, network: Any, data: Any, share: float, folder: str | os.PathLike[str], done: float
    ) -> None:
        self.network, self.image, self.share, self.folder = network, data.take(1), share, folder
        self._shown = int(done / share + 1e-9)
        os.makedirs(folder, exist_ok=True)

    def __call__(self, epoch: int, seen: int, images: int) -> None:
        """After `seen` of the epoch's images."""
        due = int((epoch + seen / images) / self.share + 1e-9)
        if due <= self._shown:
            return
        self._shown = due
        percent = round(100 * seen / images)
        self.network.preview(
            self.image,
            os.path.join(self.folder, f"epoch_{epoch + 1:02d}_{percent:03d}_percent.png"),
            int(self.image.labels[0]),
            f"epoch {epoch + 1}, {percent} % of the data",
        )
