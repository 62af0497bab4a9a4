"""Make tests/keras_weights: weights that Keras 3 saved, images, and the outputs that Keras gives.

    python tests/make_keras_weights.py     # needs keras, a backend of it, and h5py; run once

The tests load the weights and compare the outputs with these, without Keras.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras
import numpy as np
from keras import layers as kl

FOLDER = Path(__file__).with_name("keras_weights")


def residual() -> Any:
    """A block with a projected shortcut, whose convolutions Keras counts in an order of its own."""
    x = kl.Input((8, 6, 2))
    y = kl.Conv2D(4, 3, strides=2, padding="same", activation="relu", use_bias=False)(x)
    y = kl.BatchNormalization(epsilon=1e-5)(y)
    y = kl.Conv2D(4, 3, padding="same")(y)
    shortcut = kl.Conv2D(4, 1, strides=2, use_bias=False)(x)
    y = kl.ReLU()(kl.Add()([y, shortcut]))
    return keras.Model(x, kl.Dense(3)(kl.GlobalAveragePooling2D()(y)))


def networks() -> dict[str, Any]:
    """Return the networks by the names of their files."""

    def chain(*layers: Any, shape: tuple[int, ...]) -> Any:
        return keras.Sequential([kl.Input(shape), *layers])

    return {
        "cnn": chain(
            kl.Conv2D(4, (3, 2), activation="relu"), kl.BatchNormalization(), kl.MaxPooling2D(2),
            kl.Dropout(0.2), kl.Conv2D(5, 2, use_bias=False), kl.Flatten(),
            kl.Dense(7, activation="relu"), kl.Dense(3, activation="softmax"), shape=(8, 7, 3),
        ),
        # as many units as pixels: their order must not be taken for the pixels'
        "rows": chain(
            kl.Flatten(), kl.BatchNormalization(), kl.Dropout(0.5),
            kl.Dense(24, activation="tanh"), kl.Dense(3), shape=(4, 3, 2),
        ),
        "many": chain(*(kl.Dense(2) for _ in range(12)), shape=(2,)),
        "residual": residual(),
    }  # fmt: skip


def main() -> None:
    """Give every array random numbers, and write."""
    keras.utils.set_random_seed(0)
    rng = np.random.default_rng(0)
    for name, network in networks().items():
        for layer in network.layers:
            if layer.weights and not isinstance(layer, kl.Dropout):
                layer.set_weights([rng.random(w.shape) + 0.2 for w in layer.get_weights()])
            if isinstance(layer, kl.Conv2D | kl.Dense):
                layer.set_weights([2 * w - 1.4 for w in layer.get_weights()])
        images = rng.random((4, *network.input_shape[1:])).astype(np.float32)
        if name == "cnn":  # files of trained networks hold the optimizer, too
            network.compile("adam", "mse")
            network.fit(images, np.zeros((4, network.output_shape[1])), verbose=0)
        outputs = np.asarray(network.predict(images, verbose=0))
        first = images.transpose(0, 3, 1, 2) if images.ndim == 4 else images
        network.save_weights(FOLDER / f"{name}.weights.h5")
        if name == "cnn":
            network.save(FOLDER / f"{name}.keras")
        np.savez(FOLDER / f"{name}.npz", images=first, outputs=outputs)


if __name__ == "__main__":
    main()
