"""A network's twin in JAX: the same operators, the same weights, the same loss, one jit per step.

Arrays are (samples, channels, height, width), which on processors is as fast as channels last.
Pooling is `lax.reduce_window`, as in Flax.  Each call waits for its result.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import nullcontext
from functools import partial
from typing import Any

import jax
import numpy as np
from jax import lax
from jax import numpy as jnp

FORMAT = ("NCHW", "OIHW", "NCHW")
SIMPLE: dict[str, Callable[..., Any]] = {
    "Flatten": lambda x: x.reshape(len(x), -1),
    "ReLU": jax.nn.relu, "LeakyReLU": jax.nn.leaky_relu, "Sigmoid": jax.nn.sigmoid,
    "Softmax": lambda x, dim: jax.nn.softmax(x, axis=dim),
}  # fmt: skip


def outputs(recipe: Any, weights: Sequence[Any], x: Any, key: Any = None) -> Any:
    """What a recipe's network makes of images; dropout where there is a key."""
    own = iter(weights)
    for module, settings in recipe:
        if module == "Conv2d":
            padding = [(both, both) for both in settings["padding"]]
            x = lax.conv_general_dilated(
                x, next(own), settings["stride"], padding, rhs_dilation=settings["dilation"],
                dimension_numbers=FORMAT,
            )  # fmt: skip
            x = x + next(own)[:, None, None]
        elif module == "Linear":
            x = x @ next(own).T + next(own)
        elif module in ("MaxPool2d", "AvgPool2d"):
            x = _pooled(module, x, **settings)
        elif module != "Dropout":
            x = SIMPLE[module](x, **settings)
        elif key is not None:
            key, now = jax.random.split(key)
            kept = jax.random.bernoulli(now, 1 - settings["p"], x.shape)
            x = jnp.where(kept, x / (1 - settings["p"]), 0)
    return x


def _pooled(module: str, x: Any, kernel_size: Any, stride: Any) -> Any:
    first, combine = (-jnp.inf, lax.max) if module == "MaxPool2d" else (0.0, lax.add)
    y = lax.reduce_window(
        x, x.dtype.type(first), combine, (1, 1, *kernel_size), (1, 1, *stride), "VALID"
    )
    return y if module == "MaxPool2d" else y / (kernel_size[0] * kernel_size[1])


def loss_of(word: str, found: Any, labels: Any) -> Any:
    """The loss of that name, mean over the batch."""
    wanted = jax.nn.one_hot(labels, found.shape[1], dtype=found.dtype)
    if word == "mse":
        return ((found - wanted) ** 2).mean()
    return -(jax.nn.log_softmax(found) * wanted).sum(axis=1).mean()


def double(weights: Sequence[np.ndarray]) -> Any:
    """What is entered around everything: JAX has float64 only where it is asked for it."""
    return jax.enable_x64(True) if weights[0].dtype == np.float64 else nullcontext()


class Trainer:
    """Trains a twin by SGD with momentum, all of a step in one compiled function."""

    def __init__(
        self, recipe: Any, word: str, rates: tuple[float, float], weights: Sequence[np.ndarray]
    ) -> None:
        rate, momentum = rates

        def step(state: Any, images: Any, labels: Any) -> Any:
            own, speeds, key = state
            key, now = jax.random.split(key)

            def loss(own: Any) -> Any:
                return loss_of(word, outputs(recipe, own, images, now), labels)

            lost, gradients = jax.value_and_grad(loss)(own)
            speeds = [momentum * v + g for v, g in zip(speeds, gradients, strict=True)]
            own = [w - rate * v for w, v in zip(own, speeds, strict=True)]
            return (own, speeds, key), lost

        self._step = jax.jit(
            step, donate_argnums=0
        )  # the new weights may take the place of the old
        self._around = partial(double, weights)
        self._state: Any = None
        self.load(weights)

    def place(self, images: np.ndarray, labels: np.ndarray) -> tuple[Any, Any]:
        """A batch as `step` takes it."""
        with self._around():
            return jnp.array(images), jnp.array(labels)

    def step(self, images: Any, labels: Any) -> Any:
        """One step; returns the loss before it."""
        with self._around():
            self._state, lost = self._step(self._state, images, labels)
        return lost.block_until_ready()

    def load(self, weights: Sequence[np.ndarray]) -> None:
        """Go back to these weights, without a momentum."""
        with self._around():
            own = [jnp.array(array) for array in weights]
            self._state = own, [jnp.zeros_like(array) for array in own], jax.random.key(0)

    def weights(self) -> list[np.ndarray]:
        """The weights as they are now; copies."""
        return [np.array(array) for array in self._state[0]]

    def gradients(self) -> list[np.ndarray]:
        """Those of the last step, if it was the first since the weights were loaded."""
        return [np.array(array) for array in self._state[1]]


def scores(recipe: Any, weights: Sequence[np.ndarray], images: np.ndarray) -> Callable[[], Any]:
    """A function of nothing that gives the outputs for these images."""
    with double(weights):
        own, x = [jnp.array(array) for array in weights], jnp.array(images)
    run = jax.jit(partial(outputs, recipe))

    def scored() -> Any:
        with double(weights):
            return run(own, x).block_until_ready()

    return scored


def forget() -> None:
    """Forget what was compiled."""
    jax.clear_caches()


def ready(threads: int, compiled: bool = False) -> str:
    """Say nothing: JAX takes all cores by itself and needs nothing besides."""
    return ""
