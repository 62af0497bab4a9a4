"""System D: sigmoids and squared error, 50,000 images one at a time, once.

    python -m examples.d_batch_of_one

Published: sentomarco, "Convolutional Neural Network from scratch", the default of main.py there.
Recipe: each image scaled by itself, batches of one image, one epoch in file order; dense layers
with Adam at 0.01 (or SGD at 0.5), convolutions with SGD at 0.01 that decays.  It reports 90.5 % of
the test images (91.06 on its page; with SGD 89.2) after 55 minutes.

Ours has the very same network: 10,918 parameters.  Every step counts when each image is seen once,
so the first weights are scaled for images of variance 1: filters halved, so that the sigmoids do
not start saturated; dense layers twice and four times as large, as the sigmoid's slope of 1/4 wants
(Glorot and Bengio 2010); and the outputs begin at the share of a class, 1/10, instead of 1/2.
After one epoch single runs lie some tenths of a per cent apart, so the figure is the mean of five
seeds.
"""

import math
from collections.abc import Sequence
from functools import partial
from typing import Any

from CNN import CNN
from Datasets import Splits
from examples.common import Claim, attempt, fit, images, parse
from Filters import Conv2D, MaxPool2D
from glassbox.engine.optimizers import Optimizer
from glassbox.report.results import Results
from MLP import SGD, Adam, Dense, OneCycle

SCALES = (0.5, 0.5, 2, 4)  # of the first weights
CLAIMS = {
    "d-adam": Claim("d-adam", "D", "dense layers with Adam, batch 1, 1 epoch", 91.06, 97.0,
                    seconds="55 min"),
    "d-sgd": Claim("d-sgd", "D", "dense layers with SGD, batch 1, 1 epoch", 89.20, 95.0),
}  # fmt: skip


def optimizers(name: str) -> tuple[Optimizer, Optimizer]:
    """One for the filters, one for the dense layers.

    Adam's rates were chosen on validation images; SGD's are the published 0.5 and a first choice.
    """
    if name == "d-adam":
        return Adam(OneCycle(0.0015, pct_start=0.02)), Adam(OneCycle(0.0025, pct_start=0.02))
    return SGD(OneCycle(0.05, pct_start=0.02)), SGD(OneCycle(0.5, pct_start=0.02))


def network(name: str = "d-adam", **settings: Any) -> CNN:
    """The network, built for MNIST, its first weights scaled."""
    filters, dense = optimizers(name)
    made = CNN(
        Conv2D(8, 3, optimizer=filters),  # 28 x 28, padded, leaky ReLU
        MaxPool2D(2),  # -> 14
        Conv2D(2, 3, optimizer=filters),
        MaxPool2D(2),  # -> 7
        Dense(98),  # 98 -> 98, sigmoid
        Dense(10),  # sigmoid
        loss="mse", optimizer=dense, **settings,
    ).build((1, 28, 28))  # fmt: skip
    learning = [layer for layer in made.layers if layer.parameters]
    for layer, factor in zip(learning, SCALES, strict=True):
        layer.parameters["weight"] *= factor
    learning[-1].parameters["bias"][...] = math.log(1 / 9)  # sigmoid of it is 1/10
    return made


def train(model: CNN, data: Splits, recipe: dict[str, Any], results: Results) -> None:
    """A sanity check and previews of the network that is shown, one of several."""
    shown: dict[str, Any] = {}
    if model.seed == 0:
        model.sanity_check(data.train, images=30, epochs=100)
        every = 0.25 if recipe["epochs"] == 1 else 1.0
        shown = {"preview": every, "preview_folder": results.path / "previews"}
    fit(model, data, recipe | shown, results)


def main(arguments: Sequence[str] | None = None) -> dict[str, float]:
    """A sanity check, then both ways to train; returns the test accuracy of each in per cent."""
    options = parse(__doc__, arguments)
    found: dict[str, float] = {}
    data_of = partial(images, "mnist", normalize="per-image")
    for name, claim in CLAIMS.items():
        found |= attempt(
            claim, options, data_of, partial(network, name), several=True, train=train,
            quick={"epochs": 10}, epochs=1, batch_size=1,
        )  # fmt: skip
    return found


if __name__ == "__main__":
    main()
