"""Make tests/golden/: a model file of today, which every later version must read.  Run once.

    python -m tests.make_golden_model

Do not run it again to mend a failing test: the file stands for those that users have.
"""

from pathlib import Path

import numpy as np

from CNN import CNN
from Datasets import Dataset, Scaling
from Filters import AvgPool2D, Conv2D, GlobalAvgPool2D, MaxPool2D, Residual
from MLP import SGD, Adam, BatchNorm, Dense, Dropout, LeakyReLU, OneCycle, Tanh

FOLDER = Path(__file__).with_name("golden")
CLASSES = ("bag", "boot", "coat")


def network() -> CNN:
    """One of each kind of layer; every setting unlike its default somewhere."""
    made = CNN(
        Conv2D(4, (3, 5), stride=(2, 1), padding=(1, 2), activation=LeakyReLU(0.2)),
        AvgPool2D(2, stride=1, padding=1, ceil_mode=True, count_include_pad=False),
        BatchNorm(momentum=0.3, epsilon=1e-3),
        Residual(
            Conv2D(6, bias=False, dilation=2), Conv2D(6, 1, activation=None), activation="relu"
        ),
        MaxPool2D(3, 2, "same"),
        Tanh(),
        Dropout(0.3),
        Conv2D(5, 2, padding="valid", activation="sigmoid", optimizer=SGD(0.1, momentum=0.9)),
        GlobalAvgPool2D(),
        Dense(7, "identity", l2=0.01, name="hidden"),
        Dense(3, "softmax"),
        loss="cross_entropy", optimizer=Adam(OneCycle(0.01)), l2=1e-4, label_smoothing=0.1, seed=5,
    )  # fmt: skip
    made.classes, made.scaling = CLASSES, Scaling("standard", 0.0, 255.0, (0.3, 0.4), (0.2, 0.5))
    return made


def images() -> np.ndarray:
    """Eight two-channel images of 11 x 9 pixels."""
    return np.random.default_rng(0).integers(0, 256, (8, 2, 11, 9)).astype(np.uint8)


def main() -> None:
    """Train a few steps, so that no array is what it began as, and write."""
    FOLDER.mkdir(exist_ok=True)
    model = network()
    data = Dataset(images(), np.arange(8) % 3, CLASSES, model.scaling)
    for _ in range(4):
        model.train_step(data)
    model.save(FOLDER / "model_v1.safetensors")
    np.save(FOLDER / "model_v1_probabilities.npy", model.predict_proba(images()))


if __name__ == "__main__":
    main()
