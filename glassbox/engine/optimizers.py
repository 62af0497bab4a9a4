"""Optimizers: how gradients move weights, in plain NumPy.

An optimizer is a recipe and keeps no state: one object may serve many layers and networks.  The
network keeps the flat arrays that `state_names` lists, for each group, and passes them in.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from glassbox.engine.edits import Editable
from glassbox.engine.layer import Array
from glassbox.engine.parallel import Workers, tree_sum
from glassbox.engine.schedules import Progress, Schedule
from glassbox.errors import require_positive, require_share, short

State = dict[str, Any]  # arrays like the weights, and "steps"
PIECE = 2**17  # numbers moved at once: enough to be worth the calls, few enough for a cache
LONG = 500_000  # numbers from which several threads move them faster than one


class Optimizer(Editable):
    """What all optimizers share: the learning rate (a number or a Schedule) and weight decay.

    `weight_decay` adds decay * w to the gradient of every parameter, as PyTorch does (AdamW takes
    it off the weights instead).  L2 on weights alone is the network's or a layer's `l2`.
    """

    state_names: tuple[str, ...] = ()

    def __init__(self, learning_rate: float | Schedule, weight_decay: float = 0.0) -> None:
        if not isinstance(learning_rate, Schedule):
            require_positive("learning_rate", learning_rate)
        require_positive("weight_decay", weight_decay, zero=True)
        self.learning_rate, self.weight_decay = learning_rate, float(weight_decay)

    def new_state(self, weights: Array) -> State:
        """Zeros for every name in `state_names`, and the number of steps so far."""
        return {"steps": 0, **{name: np.zeros_like(weights) for name in self.state_names}}

    def rate_at(self, progress: Progress) -> float:
        """The learning rate at this point of the training run."""
        rate = self.learning_rate
        return rate.at(progress) if isinstance(rate, Schedule) else float(rate)

    def move(self, w: Array, g: Array, state: State, rate: float) -> None:
        """Move a stretch of the weights w in place by the gradient g, which serves as scratch."""
        if self.weight_decay:
            self.decay(w, g, rate)
        self.update(w, g, state, rate)

    def decay(self, w: Array, g: Array, rate: float) -> None:
        """g += weight_decay w."""
        g += w.dtype.type(self.weight_decay) * w

    def update(self, w: Array, g: Array, state: State, rate: float) -> None:
        """The optimizer's own formula; `state` has its arrays, and "steps" from 1."""
        raise TypeError(f"{type(self).__name__} must define update(w, g, state, rate)")

    def __repr__(self) -> str:
        rate, hidden = self.learning_rate, ("learning_rate", "state_names")
        words = [repr(rate) if isinstance(rate, Schedule) else f"{rate:g}"]
        words += [f"{k}={v!r}" for k, v in vars(self).items() if v and k not in hidden]
        return f"{type(self).__name__}({', '.join(words)})"


@dataclass
class ParameterGroup:
    """A stretch of the flat vector of parameters that one optimizer moves, and its state."""

    optimizer: Optimizer
    where: slice
    state: State

    def update(
        self, parameters: Any, gradients: Sequence[Array], progress: Progress, workers: Workers,
        move: Callable[[Array, Array, State, float], None] | None = None, size: int = 0,
    ) -> None:  # fmt: skip
        """Sum the shards' gradients and move the weights in place; uses the gradients up.

        Pieces of `size` numbers, so that their sum is in the cache when the optimizer wants it.
        `move`: the optimizer's own unless given.
        """
        self.state["steps"] += 1  # not progress.step: a second `fit` goes on with this state
        rate, move = self.optimizer.rate_at(progress), move or self.optimizer.move
        start, stop, size = self.where.start, self.where.stop, size or PIECE

        def move_piece(piece: slice) -> None:
            values = parameters.values[piece]
            gradient = tree_sum([vector[piece] for vector in gradients])
            if parameters.l2 is not None:
                gradient += parameters.l2[piece] * values
            own = slice(piece.start - start, piece.stop - start)
            state = {name: self.state[name][own] for name in self.optimizer.state_names}
            move(values, gradient, {"steps": self.state["steps"], **state}, rate)

        pieces = [slice(k, min(k + size, stop)) for k in range(start, stop, size)]
        if stop - start >= LONG:
            workers.map(move_piece, pieces)
        else:
            for piece in pieces:
                move_piece(piece)


class SGD(Optimizer):
    """v = momentum v + g; w -= lr v.  With Nesterov: w -= lr (g + momentum v).

    Raises ValueError for a rate of 0 or less, a momentum outside 0..1, Nesterov without momentum.

    Parameters
    ----------
    learning_rate : a number above 0, or a Schedule.
    momentum : share of the velocity v that a step keeps, from 0 (none) to below 1.
    nesterov : whether a step goes by g + momentum v instead of v; it needs momentum.
    weight_decay : factor of the weights in every gradient, biases included.

    Examples
    --------
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

    def update(self, w: Array, g: Array, state: State, rate: float) -> None:
        """v = momentum v + g; w -= rate v, or rate (g + momentum v) with Nesterov."""
        step = g
        if self.momentum:
            v, momentum = state["velocity"], w.dtype.type(self.momentum)
            v *= momentum
            v += g
            if self.nesterov:
                g += momentum * v
            else:
                step = v
        w -= np.multiply(step, w.dtype.type(rate), out=g)


class Adam(Optimizer):
    """m, v: running means of g and g^2; w -= lr m' / (sqrt(v') + epsilon) (Kingma, Ba 2015).

    m' = m / (1 - beta1^t), v' = v / (1 - beta2^t): epsilon comes after this correction, as in
    PyTorch.  Raises ValueError for a rate of 0 or less and betas outside 0..1.

    Parameters
    ----------
    learning_rate : a number above 0, or a Schedule.
    betas : shares of the means m and v that a step keeps, each from 0 to below 1.
    epsilon : added to the root, so that nothing is divided by 0; above 0.
    weight_decay : factor of the weights in every gradient, biases included.

    Examples
    --------
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
            raise TypeError(f"betas: expected a pair such as (0.9, 0.999), got {short(betas)}")
        for beta in betas:
            require_share("betas", beta)
        require_positive("epsilon", epsilon)
        self.betas, self.epsilon = (float(betas[0]), float(betas[1])), float(epsilon)

    def update(self, w: Array, g: Array, state: State, rate: float) -> None:
        """m = beta1 m + (1 - beta1) g, v = beta2 v + (1 - beta2) g^2; w by their quotient."""
        m, v, t = state["mean"], state["square"], state["steps"]
        (beta1, beta2), number = self.betas, w.dtype.type
        v *= number(beta2)
        v += g * g * number(1 - beta2)
        g *= number(1 - beta1)
        m *= number(beta1)
        m += g
        root = np.sqrt(v)
        root *= number((1 - beta2**t) ** -0.5)
        root += number(self.epsilon)
        np.divide(m, root, out=g)
        g *= number(rate / (1 - beta1**t))
        w -= g
