"""Pictures of one image's feature maps, now or every so often during training."""

from __future__ import annotations

import os
from typing import Any

import numpy as np

from glassbox.callbacks import RunRecord, StepRecord
from glassbox.data.dataset import Dataset
from glassbox.data.given import as_images
from glassbox.report.results import save


def write_preview(
    network: Any,
    image: Any,
    path: str | os.PathLike[str],
    truth: int | None = None,
    title: str = "",
    scaled: bool = False,
) -> None:
    """Write a picture of what one image becomes: feature maps by layer, class scores as bars.

    `image`: (channels, height, width), or a Dataset of one.
    """
    # Only who asks for a picture waits for matplotlib to load.
    from glassbox.report import figures

    images = image if isinstance(image, Dataset) else np.asarray(image)[None]
    one = as_images(images, network, scaled)
    figure = figures.preview(
        one.batch([0])[0][0],
        [(name, maps[0]) for name, maps in network.activations(one)],
        network.scores(one)[0],
        network.classes or [str(k) for k in range(network.output_shape[0])],
        truth,
        network.history.curves(),
        title,
    )
    save(figure, path)


class Previews:
    """A callback that writes a picture whenever another share of an epoch is done.

    share : of an epoch, between two pictures.
    """

    def __init__(
        self, network: Any, data: Any, share: float, folder: str | os.PathLike[str]
    ) -> None:
        self.network, self.image, self.share, self.folder = network, data.take(1), share, folder
        self._shown = 0

    def before_training(self, run: RunRecord) -> None:
        """Make the folder; a resumed run has drawn some already."""
        self._shown = int((len(run.done) + run.seen / run.images) / self.share + 1e-9)
        os.makedirs(self.folder, exist_ok=True)

    def after_step(self, record: StepRecord) -> None:
        """Draw if it is time."""
        part = record.seen / record.images
        due = int((record.epoch - 1 + part) / self.share + 1e-9)
        if due <= self._shown:
            return
        self._shown = due
        percent = round(100 * part)
        self.network.preview(
            self.image,
            os.path.join(self.folder, f"epoch_{record.epoch:02d}_{percent:03d}_percent.png"),
            int(self.image.labels[0]),
            f"epoch {record.epoch}, {percent} % of the data",
        )
