"""How layers are copied."""

from __future__ import annotations

import copy
from importlib import import_module
from types import ModuleType
from typing import Any

import numpy as np

from glassbox.engine.edits import Editable
from glassbox.engine.history import History


class Copyable(Editable):
    """Objects that hold the module of their kernels, which Python cannot copy, as `kernels`."""

    kernels: Any

    def clone_unbuilt(self) -> Any:
        """A copy to build anew, which shares nothing that a build or a pass changes."""
        twin = copy.copy(self)
        twin.__dict__["input_shape"] = ()  # what a layer has that was built
        carried = getattr(self, "activation", None)
        if carried is not None:
            twin.__dict__["activation"] = copy.copy(carried)
        return twin

    def __getstate__(self) -> dict[str, Any]:
        """What a copy takes over: the kernels' module by its name, for modules cannot be copied."""
        state = vars(self).copy()
        if isinstance(self.kernels, ModuleType):
            state["kernels"] = self.kernels.__name__
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        if isinstance(self.kernels, str):
            self.kernels = import_module(self.kernels)


def clone_network(network: Any, dtype: Any) -> Any:
    """An unbuilt network of the same layers and settings."""
    clone = object.__new__(type(network))
    vars(clone).update(vars(network))
    clone.dtype, clone.assembly, clone.history = np.dtype(dtype), None, History()
    clone.workers, clone.steps_done = type(network.workers)(network.workers.threads), 0
    clone.layers = [layer.clone_unbuilt() for layer in network.layers]
    return clone


def clone_built(network: Any, dtype: Any, snapshot: list[Any]) -> Any:
    """A network of the same layers and settings with the numbers of a snapshot, to be asked.

    It runs as written, for recording takes longer than the few answers that a copy gives.
    """
    clone = clone_network(network, dtype)
    clone.eager = True
    clone.build(network.input_shape).parameters.restore(snapshot)
    return clone
