"""More optimizers: AdamW, RMSprop and Adadelta; and Frozen, which moves nothing."""

from __future__ import annotations

import numpy as np

from glassbox.engine.layer import Array
from glassbox.engine.optimizers import Adam, Optimizer, State
from glassbox.engine.schedules import Schedule
from glassbox.errors import require_positive, require_share, short


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

    def decay(self, w: Array, g: Array, rate: float) -> None:
        """w -= rate weight_decay w."""
        w *= w.dtype.type(1 - rate * self.weight_decay)


class RMSprop(Optimizer):
    """s = rho s + (1 - rho) g^2; w -= lr g / (sqrt(s) + epsilon); optionally through momentum.

    Tieleman and Hinton 2012; defaults as in PyTorch.

    >>> RMSprop(1e-3).state_names
    ('square',)
    """

    def __init__(
        self,
        learning_rate: float | Schedule = 0.01,
        rho: float = 0.99,
        momentum: float = 0.0,
        epsilon: float = 1e-8,
        weight_decay: float = 0.0,
    ) -> None:
        super().__init__(learning_rate, weight_decay)
        require_share("rho", rho)
        require_share("momentum", momentum)
        require_positive("epsilon", epsilon)
        self.rho, self.momentum, self.epsilon = float(rho), float(momentum), float(epsilon)
        self.state_names = ("square", "velocity") if momentum else ("square",)

    def update(self, w: Array, g: Array, state: State, rate: float) -> None:
        """s = rho s + (1 - rho) g^2; w -= rate g / (sqrt(s) + epsilon), or through momentum."""
        s, number = state["square"], w.dtype.type
        s *= number(self.rho)
        s += number(1 - self.rho) * g * g
        root = np.sqrt(s)
        root += number(self.epsilon)
        g /= root
        if self.momentum:
            v = state["velocity"]
            v *= number(self.momentum)
            v += g
            np.copyto(g, v)
        g *= number(rate)
        w -= g


class Adadelta(Optimizer):
    """step = g sqrt(u + epsilon) / sqrt(s + epsilon); w -= lr step (Zeiler 2012).

    s and u are running means of g^2 and step^2; u before this step's own.  Defaults as in PyTorch.

    >>> Adadelta().state_names
    ('square', 'step_square')
    """

    state_names = ("square", "step_square")

    def __init__(
        self,
        learning_rate: float | Schedule = 1.0,
        rho: float = 0.9,
        epsilon: float = 1e-6,
        weight_decay: float = 0.0,
    ) -> None:
        super().__init__(learning_rate, weight_decay)
        require_share("rho", rho)
        require_positive("epsilon", epsilon)
        self.rho, self.epsilon = float(rho), float(epsilon)

    def update(self, w: Array, g: Array, state: State, rate: float) -> None:
        """step = g sqrt(u + epsilon) / sqrt(s + epsilon); w -= rate step."""
        s, u = state["square"], state["step_square"]
        number, epsilon = w.dtype.type, w.dtype.type(self.epsilon)
        s *= number(self.rho)
        s += number(1 - self.rho) * g * g
        g *= np.sqrt((u + epsilon) / (s + epsilon))
        u *= number(self.rho)
        u += number(1 - self.rho) * g * g
        g *= number(rate)
        w -= g


class Frozen(Optimizer):
    """Moves nothing: the optimizer of layers that keep their weights (see `CNN.freeze`).

    Parameters
    ----------
    former : the layer's optimizer before, which `CNN.unfreeze` gives back; None: the network's.

    Examples
    --------
    >>> Frozen(Adam(0.01)).former.learning_rate
    0.01
    """

    def __init__(self, former: Optimizer | None = None) -> None:
        if not isinstance(former, Optimizer | None):
            raise TypeError(f"Frozen: expected an optimizer such as Adam(), got {short(former)}")
        super().__init__(1.0)
        self.former = former

    def update(self, w: Array, g: Array, state: State, rate: float) -> None:
        """Leave w as it is."""

    def __repr__(self) -> str:
        return f"Frozen({self.former or ''})"
