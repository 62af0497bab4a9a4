"""What system C wishes for: a small residual network, on all of MNIST.

    python -m examples.c_resnet

A block learns only what is to be added to its input, so the gradient has a straight way back (He et
al. 2016).  The first block keeps its shape and adds the input itself; the other two halve the image
and double the channels, so that their shortcuts are 1 x 1 convolutions with a stride of two.
"""

from functools import partial

from CNN import CNN
from examples.common import Claim, attempt, images, parse
from Filters import Conv2D, GlobalAvgPool2D, Residual
from MLP import Adam, BatchNorm, Dense, OneCycle, ReLU

CLAIM = Claim("c-resnet", "C", "a small residual network, 5 epochs", None, 99.0)


def block(filters: int, stride: int = 1) -> Residual:
    """Two convolutions, each normalized, around which the input goes."""
    return Residual(
        Conv2D(filters, 3, stride=stride, activation=None, bias=False), BatchNorm(), ReLU(),
        Conv2D(filters, 3, activation=None, bias=False), BatchNorm(),
        activation="relu",
    )  # fmt: skip


def network(**settings) -> CNN:
    """Three blocks of 16, 32 and 64 filters."""
    return CNN(
        Conv2D(16, 3, activation="relu"),  # 28 x 28
        block(16),
        block(32, stride=2),  # -> 14 x 14
        block(64, stride=2),  # -> 7 x 7
        GlobalAvgPool2D(),  # -> 64 numbers
        Dense(10, "softmax"),
        loss="cross_entropy", optimizer=Adam(OneCycle(0.01)), **settings,
    )  # fmt: skip


def main(arguments=None) -> dict[str, float]:
    """Returns the test accuracy in per cent."""
    options, data_of = parse(__doc__, arguments), partial(images, "mnist", normalize="standard")
    return attempt(CLAIM, options, data_of, network, quick={"epochs": 3}, epochs=5, batch_size=128)


if __name__ == "__main__":
    main()
