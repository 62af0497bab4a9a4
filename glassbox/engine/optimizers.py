"""Optimizers: how gradients move weights.

An optimizer is a recipe and keeps no state: one object may serve many layers and networks.  The
network keeps the flat arrays that `state_names` lists, for each group, and passes them in.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from glassbox.engine.layer import Array
from glassbox.engine.schedules import Constant, Progress, Schedule, as_schedule
from glassbox.errors import require_positive, require_share, unknown_name
from glassbox.spelling import Spelled

State = dict[str, Any]  # arrays like the weights, and "steps"


class Optimizer(metaclass=Spelled):
    """What all optimizers share: the learning rate (a number or a Schedule) and weight decay.

    `weight_decay` adds decay * w to the gradient of every parameter, as PyTorch does (AdamW takes
    it off the weights instead).  L2 on weights alone is the network's or a layer's `l2`.
    """

    state_names: tuple[str, ...] = ()

    def __init__(self, learning_rate: float | Schedule, weight_decay: float = 0.0) -> None:
        self.schedule = as_schedule(learning_rate)
        if not 0 <= weight_decay < float("inf"):
            raise ValueError(f"weight_decay: expected a number of 0 or more, got {weight_decay!r}")
        self.weight_decay = float(weight_decay)

    def new_state(self, weights: Array) -> State:
        """Zeros for every slot, and the number of steps so far."""
        state = {slot: np.zeros_like(weights) for slot in self.state_names}
        return {"steps": 0, **state}

    def begin(self, state: State, progress: Progress) -> float:
        """Count the step; returns its learning rate."""
        state["steps"] += 1  # not the moment's: a second `fit` goes on with this state
        return self.schedule.at(progress)

    def move(
        self, weights: Array, gradient: Array, state: State, rate: float, kernels: Any
    ) -> None:
        """Move a stretch of the weights in place; the gradient's memory serves as scratch."""
        if self.weight_decay:
            gradient = self._decay(weights, gradient, rate)
        self._update(weights, gradient, state, rate, state["steps"], kernels)

    def _decay(self, weights: Array, gradient: Array, rate: float) -> Array:
        gradient += weights.dtype.type(self.weight_decay) * weights
        return gradient

    def _update(
        self, w: Array, g: Array, state: State, rate: float, step: int, kernels: Any
    ) -> None:
        raise TypeError(f"{type(self).__name__} must define its update")

    def __repr__(self) -> str:
        rate = self.schedule
        words = [f"{rate.rate:g}" if isinstance(rate, Constant) else repr(rate)]
        hidden = ("schedule", "state_names")
        words += [f"{k}={v!r}" for k, v in vars(self).items() if v and k not in hidden]
        return f"{type(self).__name__}({', '.join(words)})"


class SGD(Optimizer):
    """v = momentum v + g; w -= lr v.  With Nesterov: w -= lr (g + momentum v).

    Raises ValueError for a rate of 0 or less, a momentum outside 0..1, Nesterov without momentum.

    >>> SGD(0.01, momentum=0.9).state_names
    ('velocity',)
    """

    def __init__(
        self,
        learning_rate: float | Schedule = 0.01,
        momentum: float = 0.0,
        nesterov: bool = False,
        weight_decay: float = 0.0,
    ) -> None:
        super().__init__(learning_rate, weight_decay)
        require_share("momentum", momentum)
        if nesterov and not momentum:
            raise ValueError("SGD: nesterov needs momentum above 0, got 0; try momentum=0.9")
        self.momentum, self.nesterov = float(momentum), nesterov
        self.state_names = ("velocity",) if momentum else ()

    def _update(
        self, w: Array, g: Array, state: State, rate: float, step: int, kernels: Any
    ) -> None:
        kernels.sgd_(w, g, state.get("velocity"), rate, self.momentum, self.nesterov)


class Adam(Optimizer):
    """m, v: running means of g and g^2; w -= lr m' / (sqrt(v') + epsilon) (Kingma, Ba 2015).

    m' = m / (1 - beta1^t), v' = v / (1 - beta2^t): epsilon comes after this correction, as in
    PyTorch.

    >>> Adam(1e-3).state_names
    ('mean', 'square')
    """

    state_names = ("mean", "square")

    def __init__(
        self,
        learning_rate: float | Schedule = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        epsilon: float = 1e-8,
        weight_decay: float = 0.0,
    ) -> None:
        super().__init__(learning_rate, weight_decay)
        if not isinstance(betas, tuple | list) or len(betas) != 2:
            raise TypeError(f"betas: expected a pair such as (0.9, 0.999), got {betas!r}")
        for beta in betas:
            require_share("betas", beta)
        require_positive("epsilon", epsilon)
        self.betas, self.epsilon = (float(betas[0]), float(betas[1])), float(epsilon)

    def _update(
        self, w: Array, g: Array, state: State, rate: float, step: int, kernels: Any
    ) -> None:
        kernels.adam_(w, g, state["mean"], state["square"], rate, self.betas, self.epsilon, step)


class AdamW(Adam):
    """Adam with the decay taken off the weights: w -= lr decay w (Loshchilov, Hutter 2019).

    >>> AdamW(1e-3).weight_decay
    0.01
    """

    def __init__(
        self,
        learning_rate: float | Schedule = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        epsilon: float = 1e-8,
        weight_decay: float = 0.01,
    ) -> None:
        super().__init__(learning_rate, betas, epsilon, weight_decay)

    def _decay(self, weights: Array, gradient: Array, rate: float) -> Array:
        weights *= weights.dtype.type(1 - rate * self.weight_decay)
        return gradient


OPTIMIZERS: dict[str, Callable[[], Optimizer]] = {"sgd": SGD, "adam": Adam, "adamw": AdamW}


def optimizer_named(given: str | Optimizer) -> Optimizer:
    """The optimizer of a name ("adam", "sgd", ...) with its default rate, or the one given.

    >>> optimizer_named("adam").schedule.rate
    0.001
    """
    if isinstance(given, Optimizer):
        return given
    if not isinstance(given, str):
        raise TypeError(f"optimizer: expected a name or one such as Adam(1e-3), got {given!r}")
    if given.lower() not in OPTIMIZERS:
        raise unknown_name("optimizer", given, OPTIMIZERS)
    return OPTIMIZERS[given.lower()]()
