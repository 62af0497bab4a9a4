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
    "AdaptiveAvgPool2d": lambda x, output_size: x.mean((2, 3), keepdims=True),
    "ReLU": jax.nn.relu, "LeakyReLU": jax.nn.leaky_relu,
    "Sigmoid": jax.nn.sigmoid, "Tanh": jnp.tanh,
    "Softmax": lambda x, dim: jax.nn.softmax(x, axis=dim),
}  # fmt: skip


class Pass:
    """What a pass takes and leaves: weights and running averages in order, a key for dropout.

    It trains if it has a key: batch normalization then takes the batch's own mean and variance, and
    moves the averages, which come to stand in `moved`.
    """

    def __init__(self, weights: Sequence[Any], averages: Sequence[Any], key: Any = None) -> None:
        self._weights, self._averages, self._key = iter(weights), iter(averages), key
        self.moved: list[Any] = []

    def run(self, recipe: Any, x: Any) -> Any:
        """What a recipe's network makes of x."""
        for module, settings in recipe:
            if module in SIMPLE:
                x = SIMPLE[module](x, **settings)
            else:
                x = getattr(self, f"_{module.lower()}")(x, **settings)
        return x

    def _conv2d(
        self,
        x: Any,
        kernel_size: Any,
        stride: Any,
        padding: Any,
        dilation: Any,
        bias: bool,
        **_: Any,
    ) -> Any:
        borders = [(both, both) for both in padding]
        y = lax.conv_general_dilated(
            x, next(self._weights), stride, borders, rhs_dilation=dilation, dimension_numbers=FORMAT
        )
        return y + next(self._weights)[:, None, None] if bias else y

    def _zeropad2d(self, x: Any, padding: Any) -> Any:
        left, right, top, bottom = padding
        return jnp.pad(x, ((0, 0), (0, 0), (top, bottom), (left, right)))

    def _linear(self, x: Any, **_: Any) -> Any:
        return x @ next(self._weights).T + next(self._weights)

    def _maxpool2d(self, x: Any, **window: Any) -> Any:
        return _pooled("MaxPool2d", x, **window)

    def _avgpool2d(self, x: Any, **window: Any) -> Any:
        return _pooled("AvgPool2d", x, **window)

    def _batchnorm2d(self, x: Any, num_features: int, eps: float, momentum: float) -> Any:
        scale, shift = next(self._weights), next(self._weights)
        mean, variance = average = next(self._averages)
        if self._key is not None:
            mean, variance = x.mean((0, 2, 3)), x.var((0, 2, 3))
            count = x.size // num_features
            seen = jnp.stack([mean, variance * (count / max(count - 1, 1))])
            self.moved.append(average + momentum * (lax.stop_gradient(seen) - average))
        factor = scale * lax.rsqrt(variance + eps)
        return (x - mean[:, None, None]) * factor[:, None, None] + shift[:, None, None]

    def _residual(self, x: Any, inner: Any, shortcut: Any, last: Any) -> Any:
        y = self.run(inner, x)
        return self.run(last, y + self.run(shortcut, x))

    def _dropout(self, x: Any, p: float) -> Any:
        if self._key is None:
            return x
        self._key, now = jax.random.split(self._key)
        kept = jax.random.bernoulli(now, 1 - p, x.shape)
        return jnp.where(kept, x / (1 - p), 0)


def first_averages(recipe: Any, dtype: Any) -> list[Any]:
    """The mean, 0, and the variance, 1, of every batch normalization before any training."""
    found = []
    for module, settings in recipe:
        if module == "BatchNorm2d":
            count = settings["num_features"]
            found.append(jnp.stack([jnp.zeros(count, dtype), jnp.ones(count, dtype)]))
        if module == "Residual":
            parts = (settings["inner"], settings["shortcut"], settings["last"])
            found += [one for part in parts for one in first_averages(part, dtype)]
    return found


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
            own, speeds, averages, key = state
            key, now = jax.random.split(key)

            def loss(own: Any) -> Any:
                passed = Pass(own, averages, now)
                found = passed.run(recipe, images)
                return loss_of(word, found, labels), passed.moved

            (lost, averages), gradients = jax.value_and_grad(loss, has_aux=True)(own)
            speeds = [momentum * v + g for v, g in zip(speeds, gradients, strict=True)]
            own = [w - rate * v for w, v in zip(own, speeds, strict=True)]
            return (own, speeds, averages, key), lost

        self._step = jax.jit(step, donate_argnums=0)  # the new state may take the old one's place
        self._around, self._recipe = partial(double, weights), recipe
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
            averages = first_averages(self._recipe, own[0].dtype)
            speeds = [jnp.zeros_like(array) for array in own]
            self._state = own, speeds, averages, jax.random.key(0)

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
        averages = first_averages(recipe, own[0].dtype)
    run = jax.jit(lambda own, averages, x: Pass(own, averages).run(recipe, x))

    def scored() -> Any:
        with double(weights):
            return run(own, averages, x).block_until_ready()

    return scored


def forget() -> None:
    """Forget what was compiled."""
    jax.clear_caches()


def ready(threads: int, compiled: bool = False) -> str:
    """Say nothing: JAX takes all cores by itself and needs nothing besides."""
    return ""
