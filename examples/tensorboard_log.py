"""Log a training to TensorBoard: a callback of a few lines.

    pip install tensorboardX tensorboard
    python -m examples.tensorboard_log           # writes to runs/
    tensorboard --logdir runs

tensorboardX only writes the files, so the training needs neither TensorFlow nor PyTorch.
"""

from __future__ import annotations

import argparse
from typing import Any

from CNN import CNN
from Datasets import Digits
from Filters import Conv2D, MaxPool2D
from MLP import Dense


class TensorBoardLog:
    """Writes the loss of every step, and what every epoch gave.

    folder : for the files; TensorBoard shows the runs in all folders under the one it is given.
    """

    def __init__(self, folder: str) -> None:
        try:
            from tensorboardX import SummaryWriter
        except ImportError as error:
            raise ImportError("TensorBoardLog: pip install tensorboardX") from error
        self.writer = SummaryWriter(folder)

    def after_step(self, record: Any) -> None:
        """One point of the loss."""
        self.writer.add_scalar("step/loss", record.loss, record.step)

    def after_epoch(self, record: Any) -> None:
        """One point of every number that there is."""
        for name in ("loss", "accuracy", "validation_loss", "validation_accuracy"):
            value = getattr(record, name)
            if value is not None:
                self.writer.add_scalar(f"epoch/{name}", value, record.epoch)

    def after_training(self, ended: str) -> None:
        """Close the file, also where an error ended the training."""
        self.writer.close()


def main() -> None:
    """Train on small digits, with a log."""
    parser = argparse.ArgumentParser(description="Log a training to TensorBoard.")
    parser.add_argument("--folder", default="runs/digits", help="default: %(default)s")
    folder = parser.parse_args().folder
    data = Digits()
    network = CNN(Conv2D(8), MaxPool2D(2), Dense(10), seed=0)
    network.fit(data.train, data.validation, epochs=10, callbacks=TensorBoardLog(folder))


if __name__ == "__main__":
    main()
