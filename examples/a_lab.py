"""System A, a university's lab course: two small convolutions, and everything its task asks for.

    python -m examples.a_lab

Published: tereshinda/Neural-Networks-Trainer, Lab_2.  The task: train on 70 % of MNIST, test on the
rest; confusion matrix, precision, recall and F-measure, a ROC curve for each class, t-SNE, and why
images are mistaken.  The printed report has the standard 60,000 / 10,000 instead; both are here.

Recipe: cross-entropy, plain SGD, batches of one image, 3 epochs; convolutions without biases.  Its
learning rate is not published; ours was chosen on validation images (see `RATE`).
"""

from functools import partial

from CNN import CNN
from examples.common import Claim, attempt, images, parse
from Filters import AvgPool2D, Conv2D
from MLP import SGD, Dense, InverseTime

RATE = 0.01
SPLITS = {  # of 70,000 images: to train, to validate (within what the lab trains on), to test
    "a-lab-70-30": (0.63, 0.07, 0.30),
    "a-lab-standard": (54_000, 6_000, 10_000),
}


def network(**settings) -> CNN:
    """2,834 parameters."""
    return CNN(
        Conv2D(2, 3, padding="valid", activation="relu", bias=False),  # 28 -> 26
        AvgPool2D(2),  # -> 13
        Conv2D(3, 3, padding="valid", activation="relu", bias=False),  # -> 11
        AvgPool2D(2),  # -> 5, the last row and column are left over
        Dense(32, "relu"),  # 75 -> 32
        Dense(10, "softmax"),
        loss="cross_entropy", optimizer=SGD(InverseTime(RATE, 0.5)), **settings,
    )  # fmt: skip


def main(arguments=None) -> dict[str, float]:
    """Both splits; returns the test accuracy of each in per cent."""
    options, found = parse(__doc__, arguments), {}
    for name, sizes in SPLITS.items():
        split = "70 / 30 %" if "70" in name else "60,000 / 10,000"
        claim = Claim(name, "A", f"lab, 3 epochs, batch 1, {split}", 81.93, 95.0)
        found |= attempt(
            claim, options, partial(images, "mnist", sizes=sizes, normalize="standard"), network,
            quick={"epochs": 20}, told={"split": split}, epochs=3, batch_size=1,
        )  # fmt: skip
    return found


if __name__ == "__main__":
    main()
