"""All trainable numbers of a network in one flat vector; each layer's arrays are views of it.

One vector means one optimizer call for the whole network, one copy for the best weights, one tree
for the gradients: what makes batches of one image fast.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from glassbox.engine.layer import Array, Gradients, Layer
from glassbox.engine.optimizers import Optimizer, ParameterGroup
from glassbox.engine.parallel import IGNORE_FP_WARNINGS


class BoundArrays(dict[str, Array]):
    """The arrays of a built layer, by name; setting one copies numbers into its memory.

    So `layer.parameters["weight"] = w` changes the weights that are trained.  Raises ValueError
    for another shape, KeyError for a name that the layer does not have, TypeError for whatever
    would add or remove an array.
    """

    def __init__(self, owner: str, arrays: Mapping[str, Array]) -> None:
        super().__init__(arrays)
        self._owner = owner

    def check(self, name: str, value: Any) -> None:
        """Raise unless there is an array of this name and of the value's shape."""
        if name not in self:
            raise KeyError(f"{self._owner} has no {name!r}; it has {', '.join(self)}")
        if np.shape(value) != self[name].shape:
            raise ValueError(
                f"{self._owner}: {name} has the shape {self[name].shape}, got {np.shape(value)}"
            )

    def __setitem__(self, name: str, value: Any) -> None:
        self.check(name, value)
        if value is not self[name]:
            self[name][...] = value

    def update(self, *others: Any, **named: Any) -> None:
        """Set several arrays: all of them, or none and an error."""
        given = dict(*others, **named)
        for name, value in given.items():
            self.check(name, value)
        for name, value in given.items():
            self[name] = value

    def __ior__(self, other: Any) -> BoundArrays:  # type: ignore[override, misc]
        self.update(other)
        return self

    def _refuse(self, *given: Any) -> Any:
        raise TypeError(f"{self._owner} is built: its arrays can be set, not added or removed")

    __delitem__ = pop = popitem = clear = setdefault = _refuse

    def __deepcopy__(self, memo: Any) -> dict[str, Array]:
        return {name: array.copy() for name, array in self.items()}

    def __reduce__(self) -> Any:
        return dict, (dict(self),)


class Parameters:
    """The flat vector `values` of the trainable numbers of `layers`, in their order.

    `default` is the optimizer of layers without their own; `l2` the factor of layers without
    theirs (it acts on the weights of convolutions and dense layers alone).
    """

    def __init__(self, layers: Sequence[Layer], default: Optimizer, l2: float, dtype: Any) -> None:
        self.layers = list(layers)
        self._leaves = [leaf for layer in self.layers for leaf in layer.leaves()]
        sizes = [array.size for leaf in self._leaves for array in leaf.parameters.values()]
        self.values = np.empty(sum(sizes), dtype)
        start = 0
        for leaf in self._leaves:
            views = {}
            for name, array in leaf.parameters.items():
                views[name] = self.values[start : start + array.size].reshape(array.shape)
                views[name][...] = array
                start += array.size
            leaf.parameters = BoundArrays(leaf.label, views)
            leaf.buffers = BoundArrays(leaf.label, leaf.buffers)
        self._bound: list[tuple[Any, Any]] = [
            (leaf.parameters, leaf.buffers) for leaf in self._leaves
        ]
        # what training fills but no gradient moves (running statistics)
        self.buffers = [array for leaf in self._leaves for array in leaf.buffers.values()]
        self.groups: list[ParameterGroup] = []
        self.configure(default, l2)

    def configure(self, default: Optimizer, l2: float) -> None:
        """Decide anew which optimizer moves what, and the L2 factors.

        An optimizer that moves the same stretch as before keeps its state.
        """
        self.optimizer = default
        self.l2: Array | None = None
        decay = np.zeros(len(self.values), self.values.dtype)
        before, self.groups = self.groups, []
        start = 0
        for layer in self.layers:
            for name, array in layer.parameters.items():
                where = slice(start, start + array.size)
                optimizer, own_l2 = layer.settings_of(name)
                if not isinstance(optimizer, Optimizer | None):
                    raise TypeError(
                        f"{layer.label}: optimizer: expected one such as Adam(), got {optimizer!r}"
                    )
                if name.endswith("weight") and array.ndim > 1:  # not those of a normalization
                    with np.errstate(**IGNORE_FP_WARNINGS):
                        decay[where] = l2 if own_l2 is None else own_l2
                self._place(optimizer or default, where)
                start += array.size
        if decay.any():
            self.l2 = decay
        for group in self.groups:
            for old in before:
                if old.optimizer is group.optimizer and old.where == group.where:
                    group.state = old.state

    def rebind(self) -> None:
        """Take over arrays that were put in the place of a layer's `parameters` or `buffers`.

        All of them, or none and a ValueError.
        """
        taken: list[tuple[BoundArrays, str, Any]] = []
        for leaf, (parameters, buffers) in zip(self._leaves, self._bound, strict=True):
            for bound, given in ((parameters, leaf.parameters), (buffers, leaf.buffers)):
                if given is not bound:
                    if set(given) != set(bound):
                        raise ValueError(
                            f"{leaf.label}: expected the arrays {sorted(bound)}, got "
                            f"{sorted(given)}"
                        )
                    taken += [(bound, name, array) for name, array in given.items()]
        for bound, name, array in taken:
            bound.check(name, array)
        for bound, name, array in taken:
            bound[name] = array
        for leaf, (parameters, buffers) in zip(self._leaves, self._bound, strict=True):
            leaf.parameters, leaf.buffers = parameters, buffers

    def _place(self, optimizer: Optimizer, where: slice) -> None:
        """Join the last group where it has the same optimizer, else open a new one."""
        if self.groups and self.groups[-1].optimizer is optimizer:
            last = self.groups[-1]
            where = slice(last.where.start, where.stop)
            self.groups.pop()
        self.groups.append(
            ParameterGroup(optimizer, where, optimizer.new_state(self.values[where]))
        )

    def __len__(self) -> int:
        return len(self.values)

    def split(self, flat: Array) -> list[Gradients]:
        """A vector like `values` as the arrays of each layer: views."""
        found, start = [], 0
        for layer in self.layers:
            own = {}
            for name, value in layer.parameters.items():
                own[name] = flat[start : start + value.size].reshape(value.shape)
                start += value.size
            found.append(own)
        return found

    def penalty(self) -> float:
        """The L2 term of the loss: sum of l2 w^2 / 2."""
        if self.l2 is None:
            return 0.0
        with np.errstate(**IGNORE_FP_WARNINGS):
            return 0.5 * float(np.dot(self.l2 * self.values, self.values))

    def reset_state(self) -> None:
        """Let every optimizer begin anew: no momentum, no means, no steps."""
        for group in self.groups:
            group.state = group.optimizer.new_state(self.values[group.where])

    def snapshot(self) -> list[Array]:
        """A copy of everything that makes the network's answers."""
        return [self.values.copy(), *(buffer.copy() for buffer in self.buffers)]

    def restore(self, snapshot: list[Array]) -> None:
        """Put a snapshot back."""
        for target, source in zip([self.values, *self.buffers], snapshot, strict=True):
            target[...] = source
