"""The assembly of a network: its layers built one on the other, their parameters, what runs them.

It also notices what a user changed by hand on a built network, and makes it take effect.
"""

from __future__ import annotations

import textwrap
import warnings
from dataclasses import dataclass, replace
from types import ModuleType
from typing import Any

import numpy as np

from glassbox.engine.blocks import give_names, with_inner
from glassbox.engine.budget import AllocationBudget
from glassbox.engine.capture import shipped
from glassbox.engine.capture.captured import CapturedNetwork
from glassbox.engine.capture.executor import CapturedExecutor, executor_for
from glassbox.engine.capture.watch import Watch
from glassbox.engine.layer import BuildContext, Layer
from glassbox.engine.losses import Loss
from glassbox.engine.more_layers import Identity, Softmax
from glassbox.engine.names import activation_named, loss_named, optimizer_named
from glassbox.engine.optimizers import Optimizer
from glassbox.engine.parallel import Workers
from glassbox.engine.parameters import Parameters
from glassbox.engine.replacing import arrays_of, is_built, keep, take_along, warn_of
from glassbox.engine.summary import WIDTH
from glassbox.kernels.shapes import Shape

# What a user may replace on a built layer, besides its methods and numbers.
REPLACEABLE = ("parameters", "buffers", "optimizer", "l2", "activation")


class UntrainedWarning(UserWarning):
    """Answers were asked of a network that has not been trained."""


@dataclass(frozen=True)
class Settings:
    """What a network is told once; a built one may be told anew."""

    loss: Loss
    optimizer: Optimizer
    l2: float
    seed: int
    eager: bool


class Assembly:
    """Built layers, their parameters and their executor.

    Raises ValueError where a layer does not fit the output of the one before it.

    Parameters
    ----------
    layers : the network's list, which it may change later.
    input_shape : of one image.
    budget : for weights that come from a file; they are 0 until it fills them.

    Attributes
    ----------
    output_activation : what turns outputs into class scores where the loss takes logits, else None.
    softmax_in_loss : whether the last layer had a softmax before the loss took it.
    """

    def __init__(
        self, layers: list[Layer], settings: Settings, input_shape: Shape, dtype: np.dtype,
        kernels: ModuleType, workers: Workers, budget: AllocationBudget | None = None,
    ) -> None:  # fmt: skip
        self.layers, self.settings, self.input_shape = layers, settings, input_shape
        self.dtype, self.kernels, self.workers = dtype, kernels, workers
        self.output_activation: Softmax | None = None
        self._said = ""
        self.softmax_in_loss = False
        brought = any(map(is_built, layers))
        try:
            self._build(budget, ())
        except BaseException:
            for layer in layers:
                for leaf in layer.leaves():
                    leaf.input_shape = ()  # what it drew is nothing to keep
            raise
        self._drawn = b"" if budget or brought else self._sample()

    def _build(self, budget: AllocationBudget | None, built: list[Layer] | tuple[()]) -> None:
        """Build the layers, but those in `built`, and what runs them."""
        self.layers[:] = [each if each in built else take_along(each) for each in self.layers]
        give_names(self.layers)
        shape = self.input_shape
        for number, layer in enumerate(self.layers):
            layer.number = number
            if layer not in built:
                rng = None if budget else np.random.default_rng([self.settings.seed, number])
                arrays = arrays_of(layer)
                layer.build(shape, BuildContext(rng, self.dtype, self.kernels, budget))
                keep(layer, arrays)
            elif shape != layer.input_shape:
                raise ValueError(
                    f"{layer.label} was built for {layer.input_shape} and would now get {shape}; "
                    "make a new network for other shapes"
                )
            shape = layer.output_shape
        learns = False
        for layer in self.layers:  # up to the first one that learns, nobody needs dx
            layer.needs_input_gradient = learns
            learns = learns or bool(layer.parameters)
        self._move_softmax_into_loss()
        settings = self.settings
        self.parameters = Parameters(self.layers, settings.optimizer, settings.l2, self.dtype)
        self._make_executor()

    def _move_softmax_into_loss(self) -> None:
        """Leave a softmax at the end to cross-entropy, which takes logits, and to predictions."""
        last: Any = self.layers[-1]
        carried, loss = getattr(last, "activation", last), self.settings.loss
        self.output_activation = None
        if not loss.on_logits:
            if self.softmax_in_loss and carried is not last:  # another loss was set since
                last.activation = Softmax().use(self.kernels)
            self.softmax_in_loss = False
            return
        if not isinstance(carried, (Softmax, Identity)) and hasattr(carried, "apply"):
            raise ValueError(
                f"{loss.word} expects a last layer with activation 'softmax' or None, got "
                f"{carried.word!r} in {last.label}; write activation='softmax', or loss='mse'"
            )
        own = type(carried) is not Softmax or shipped.replaced(carried)
        if isinstance(carried, Softmax) and own:
            raise ValueError(
                f"{loss.word} computes the softmax itself, so that {type(carried).__name__} in "
                f"{last.label} would be left out; write activation='softmax', or loss='mse'"
            )
        self.output_activation = Softmax()
        self.output_activation.use(self.kernels)
        self.softmax_in_loss = self.softmax_in_loss or isinstance(carried, Softmax)
        if carried is last and isinstance(last, Softmax):
            self.layers[-1] = Identity(name=last.name)
            rng = np.random.default_rng(self.settings.seed)  # an identity draws nothing from it
            self.layers[-1].build(last.input_shape, BuildContext(rng, self.dtype, self.kernels))
        elif isinstance(carried, Softmax):
            last.activation = Identity().use(self.kernels)

    def _make_executor(self) -> None:
        settings = self.settings
        self.executor, self._why_eager = executor_for(
            settings.eager, self.layers, settings.loss, self.parameters, self.input_shape,
            self.workers, settings.seed,
        )  # fmt: skip
        self.workers.replaying = self.captured is not None
        self._known, self._parts = list(self.layers), self._replaceable()
        self._watch_again()

    @property
    def captured(self) -> CapturedNetwork | None:
        """The recorded layers; None where steps run eagerly."""
        return getattr(self.executor, "captured", None)

    @property
    def mode(self) -> str:
        """How steps run: "captured", or "eager", layer by layer as written."""
        return "captured" if self.captured else "eager"

    @property
    def execution(self) -> str:
        """What decides the last bits of a step: the mode, and the layers as written."""
        slow = [layer.name for layer in self.captured.as_written] if self.captured else []
        return f"{self.mode}, as written: {', '.join(slow)}" if slow else self.mode

    def describe(self) -> str:
        """How steps run, in words."""
        if self.captured:
            return self.captured.describe()
        return f"eager: layer by layer ({self._why_eager})"

    def announced(self) -> str:
        """How steps run, 60 columns wide; `announce` does not say it again."""
        self._said = self.describe()
        return textwrap.fill(self._said, WIDTH)

    def announce(self) -> None:
        """Print how steps run, unless the summary said so just before."""
        if self._said != self.describe():
            print(self.announced())

    def _sample(self) -> bytes:
        """Some of the weights, by which it is seen that they changed."""
        values = self.parameters.values
        return values[:: max(1, len(values) // 4096)].tobytes()

    def warn_if_untrained(self) -> None:
        """Warn, once, of answers that come from weights as they were drawn."""
        if self._drawn and self._drawn == self._sample():
            warnings.warn(
                "the network is not trained yet: its answers are those of random weights. Call fit "
                "first, or load a trained one",
                UntrainedWarning,
                stacklevel=4,
            )
        self._drawn = b""

    # --- changes by hand ---------------------------------------------------------------------

    def _every(self) -> list[Layer]:
        """The layers, and those inside them."""
        inside = (each for layer in self.layers for each in (*with_inner(layer), *layer.leaves()))
        return [*self.layers, *inside]

    def _replaceable(self) -> list[Any]:
        return [getattr(layer, name, None) for layer in self._every() for name in REPLACEABLE]

    def _watch_again(self) -> None:
        carried = [getattr(layer, "activation", None) for layer in self._every()]
        held = [activation for activation in carried if activation is not None]
        movers = [group.optimizer for group in self.parameters.groups]
        self._watch = Watch([*self._every(), *held, *movers, self.settings.loss])

    def changed(self, given: Settings) -> bool:
        """Whether anything was changed by hand since the last `refresh`."""
        return given != self.settings or self.layers != self._known or self._watch.changed()

    def refresh(self, given: Settings) -> tuple[Loss, Optimizer]:
        """Make what was changed by hand since the last call take effect.

        Returns the loss and the optimizer, which may be given by name.  A layer that was swapped is
        built for its place, and the optimizers begin anew; else they keep their state.
        """
        now = self.settings
        if not self.changed(given):
            return now.loss, now.optimizer
        self.settings = replace(
            given, loss=loss_named(given.loss), optimizer=optimizer_named(given.optimizer)
        )
        try:
            self._take_over(given == now)
        except BaseException:
            self.settings = now  # else the next call would think that it was done
            raise
        return self.settings.loss, self.settings.optimizer

    def _take_over(self, same: bool) -> None:
        """Make the changes take effect; `same`: those of the settings are none."""
        for layer in self._every():
            if hasattr(layer, "activation"):
                layer.activation = activation_named(layer.activation).use(self.kernels)
        self.parameters.rebind()
        if self.layers != self._known:
            known = self._known
            self._build(None, known)
            warn_of([layer for layer in self.layers if layer not in known])
        elif not same or list(map(id, self._parts)) != list(map(id, self._replaceable())):
            self._move_softmax_into_loss()
            self.parameters.configure(self.settings.optimizer, self.settings.l2)
            self._make_executor()
        else:
            if isinstance(self.executor, CapturedExecutor):
                self.executor.refresh()
            self._watch_again()
