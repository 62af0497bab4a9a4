"""Train a network on handwritten digits and show what it learnt:  python main.py

This file is yours to edit.  The network stands below in plain sight: change a layer, run again.
`python main.py --help` lists what can be set without editing.
"""

import glassbox.interrupt  # noqa: F401  (Ctrl-C while the next lines load)
from CNN import CNN
from Filters import Conv2D, MaxPool2D
from glassbox.cli import Options, start
from MLP import Adam, Dense, OneCycle


def network(options: Options) -> CNN:
    """The network.  Sizes on the right are for MNIST's 28 x 28 pixels."""
    return CNN(
        Conv2D(8, kernel_size=3, padding="same"),  # 1 x 28 x 28 -> 8 x 28 x 28, leaky ReLU
        MaxPool2D(2),  # -> 8 x 14 x 14
        Conv2D(16, kernel_size=3, padding="same"),  # -> 16 x 14 x 14, leaky ReLU
        MaxPool2D(2),  # -> 16 x 7 x 7
        Dense(72),  # 784 -> 72, sigmoid
        Dense(options.classes),  # 72 -> 10, sigmoid
        loss="mse",
        optimizer=Adam(OneCycle(options.learning_rate)),
        seed=options.seed,
        threads=options.threads,
        kernels=options.kernels,
        eager=options.eager,
    )


if __name__ == "__main__":
    start(network, epochs=6, batch_size=32, learning_rate=0.004)
