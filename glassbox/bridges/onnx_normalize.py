"""ONNX import, pass 2: constants are folded, and the nodes are put in a list, shortcuts as blocks.

In the list each node takes the images as its first input and hands its output to the next one.
Nothing here depends on the shape of an image; `Context` works out what does, during pass 3.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import numpy as np

from glassbox.bridges.onnx_decode import Budget, Graph, Node, blame
from glassbox.engine.layer import Array
from glassbox.errors import short
from glassbox.kernels.shapes import Shape

SAMPLES = -(2**62)  # stands for the number of samples, which is open, in the shape of a value
DEEPEST_BLOCK = 8  # blocks within blocks
MOST_ARITHMETIC = 64  # numbers in a shape, and steps to work it out
ONLY = "only a chain from the input to the output, with shortcuts as in Residual, can be imported"

# What exporters do with the shape of a value: (node, its inputs) -> its output.
ARITHMETIC: dict[str, Callable[..., Array]] = {
    "Gather": lambda node, values, places: np.take(values, places, node.get("axis", 0)),
    "Unsqueeze": lambda node, values, *axes: values.reshape(-1),
    "Concat": lambda node, *parts: np.concatenate([part.reshape(-1) for part in parts]),
    "Cast": lambda node, values: values,  # from one kind of whole number to another
}


@dataclass(frozen=True)
class Block:
    """Steps with a shortcut around them: one convolution, or none for the value itself."""

    inside: list[Step]
    shortcut: list[Step]
    add: Node  # of what both make


Step = Node | Block
Steps = dict[str, tuple[str, Step]]  # {the value that a step makes: (the one it takes, the step)}


def fold(graph: Graph) -> Graph:
    """Evaluate what depends on no image, and set apart what depends only on its shape."""
    constants, arithmetic = dict(graph.constants), dict[str, Node]()
    same: dict[str, str] = {}  # the output of an Identity is its input
    nodes = []
    for node in graph.nodes:
        node = replace(node, inputs=tuple(same.get(name, name) for name in node.inputs))
        output = node.outputs[0]
        known = all(name in constants or name in arithmetic for name in node.inputs)
        if node.operator == "Identity":
            same[output] = node.inputs[0]
        elif node.operator == "Transpose" and node.inputs[0] in constants:
            with blame(node.label):
                array, axes = constants[node.inputs[0]], node.get("perm", ())
                constants[output] = np.transpose(array, axes or None)
        elif node.operator == "Shape" or (node.operator in ARITHMETIC and known):
            arithmetic[output] = node
        else:
            nodes.append(node)
    outputs = tuple(same.get(name, name) for name in graph.outputs)
    return replace(
        graph, nodes=tuple(nodes), outputs=outputs, constants=constants, arithmetic=arithmetic
    )


def arrange(graph: Graph) -> list[Step]:
    """Return the steps from the input to the output; ValueError where they are not a chain."""
    steps: Steps = {}
    for node in graph.nodes:
        flowing = [name for name in node.inputs if name in steps or name == graph.input]
        if node.operator == "Add" and len(flowing) == 2:
            steps[node.outputs[0]] = _block(node, steps, graph)
        elif node.operator == "Add" and flowing == [node.inputs[1]]:
            steps[node.outputs[0]] = flowing[0], replace(node, inputs=node.inputs[::-1])
        elif flowing and flowing[0] == node.inputs[0]:
            steps[node.outputs[0]] = flowing[0], node
        else:
            raise ValueError(f"{node.label} does not take the images as first input; {ONLY}")
    chain = _between(graph.input, graph.outputs[0], steps)
    times = Counter(_nodes(chain or []))
    for node in graph.nodes:
        if times[node.outputs[0]] != 1:
            raise ValueError(f"{node.label} is {times[node.outputs[0]]} times in the chain; {ONLY}")
    if chain is None:
        raise ValueError(f"its output does not depend on its input; {ONLY}")
    return chain


def _between(start: str, end: str, steps: Steps) -> list[Step] | None:
    """Return the steps from one value to another, or None where none lead there."""
    found = []
    while end != start:
        if end not in steps:
            return None
        end, step = steps[end]
        found.append(step)
    return found[::-1]


def _block(add: Node, steps: Steps, graph: Graph) -> tuple[str, Block]:
    """Return the value where a block begins, and the block that an Add of two values ends."""
    for end, side in (add.inputs, add.inputs[::-1]):
        shortcuts: list[tuple[str, list[Step]]] = [(side, [])]
        origin, step = steps.get(side, (side, None))
        if isinstance(step, Node) and step.operator == "Conv" and len(step.inputs) == 2:
            weights = graph.constants.get(step.inputs[1])
            if weights is not None and weights.shape[2:] == (1, 1):
                shortcuts.append((origin, [step]))
        for start, shortcut in shortcuts:
            inside = _between(start, end, steps)
            if inside:
                return start, Block(inside, shortcut, add)
    raise ValueError(
        f"{add.label} does not end a shortcut as in Residual: a value, or a 1 x 1 convolution of "
        "it without bias, added to what its layers make"
    )


def _nodes(steps: list[Step], depth: int = 0) -> Iterator[str]:
    """Yield the output of each node of some steps; ValueError where blocks are nested too deep."""
    if depth > DEEPEST_BLOCK:
        raise ValueError(f"its shortcuts are nested more than {DEEPEST_BLOCK} deep")
    for step in steps:
        if isinstance(step, Block):
            yield from _nodes([*step.inside, *step.shortcut, step.add], depth + 1)
        else:
            yield step.outputs[0]


class Context:
    """What pass 3 may ask for: the graph, memory, and constants or what follows from a shape."""

    def __init__(self, graph: Graph, budget: Budget) -> None:
        self.graph, self.budget, self._arrays = graph, budget, dict(graph.constants)
        self.shapes: dict[str, Shape] = {}  # of the values that the images have reached

    def array(self, name: str, steps: int = 0) -> Array:
        """Return a constant, evaluated if need be; ValueError where that takes too much."""
        if name in self._arrays:
            return self._arrays[name]
        if name not in self.graph.arithmetic:
            raise ValueError(f"its input {short(name)} is not a constant of a type such as FLOAT")
        node = self.graph.arithmetic[name]
        if node.operator == "Shape":
            if node.inputs[0] not in self.shapes:
                raise ValueError("its shape follows from a value that comes later")
            dims = np.array([SAMPLES, *self.shapes[node.inputs[0]]], np.int64)
            found = dims[node.get("start", 0) : node.get("end", len(dims))]
        else:
            inputs = node.inputs if steps < MOST_ARITHMETIC else ()
            parts = [self.array(part, steps + 1) for part in inputs]
            if not parts or sum(part.size for part in parts) > MOST_ARITHMETIC:
                raise ValueError("its shape takes too much to work out; give it as a constant")
            found = ARITHMETIC[node.operator](node, *parts)
        self._arrays[name] = found  # worked out once, however many ask
        return found
