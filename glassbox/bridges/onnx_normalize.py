"""ONNX import, pass 2: constants are folded, and the nodes are put in a list, shortcuts as blocks.

In the list each node takes the images as its first input and hands its output to the next one.
Nothing here depends on the shape of an image; `Context` works out what does, during pass 3.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import numpy as np

from glassbox.bridges.onnx_decode import ITEM_BYTES, KINDS, TYPES, Graph, Node, blame
from glassbox.engine.layer import Array
from glassbox.errors import short
from glassbox.kernels.shapes import Shape

SAMPLES = -(2**62)  # stands for the number of samples, which is open, in the shape of a value
DEEPEST_BLOCK = 8  # blocks within blocks
MOST_ARITHMETIC = 64  # numbers in a shape, and steps to work it out
LABELING = (
    "ArgMax",
    "ArrayFeatureExtractor",
    "Cast",
    "Identity",
    "Reshape",
)  # from scores to labels
# What may stand behind the convolution of a shortcut.
SCALES = ("Add", "BatchNormalization", "Mul", "Sub", "Transpose")
MOST_SCALES = 5
TOO_MUCH = "its shape takes too much to work out; give it as a constant"
ONLY = "only a chain from the input to the output, with shortcuts as in Residual, can be imported"


def _cast(node: Node, values: Array) -> Array:
    """Return the numbers in another type; whole numbers stay as they are."""
    to = KINDS.get(node.get("to", 0), "")
    whole = values.dtype.kind in "bi" and to in ("INT64", "INT32", "BOOL")
    return values if whole or to not in TYPES else values.astype(TYPES[to])


def _slice(node: Node, values: Array, *given: Array | None) -> Array:
    """Return a part: its starts, ends, axes and steps are inputs, in old files attributes."""
    names = ("starts", "ends", "axes", "steps")
    kept = [part.tolist() for part in given if part is not None] or [
        list(node.get(name, ())) for name in names[:3] if name in node.attributes
    ]
    starts, ends, axes, steps = [*kept, *[()] * 4][:4]
    places = [slice(None)] * values.ndim
    for k, (start, end) in enumerate(zip(starts, ends, strict=True)):
        places[axes[k] if axes else k] = slice(start, end, steps[k] if steps else 1)
    return values[tuple(places)]


def _axes(node: Node, given: tuple[Array, ...]) -> tuple[int, ...]:
    """Return axes, which are an attribute in old files and an input in new ones."""
    return tuple(given[0].reshape(-1).tolist()) if given else node.get("axes", ())


def _computed(function: Callable[..., Array]) -> Callable[..., Array]:
    """Return a function on numbers, which refuses the number of samples."""

    def run(node: Node, *parts: Array) -> Array:
        if any(part.dtype.kind == "i" and (part <= SAMPLES).any() for part in parts):
            raise ValueError("it computes with the number of samples")
        return function(*parts)

    return run


def _filled(node: Node, shape: Array) -> Array:
    """Return an array of one number, 0 unless set."""
    if shape.ndim != 1 or math.prod(shape.tolist()) > MOST_ARITHMETIC:
        raise ValueError(f"it makes an array of {short(shape.tolist())}")
    return np.full(shape.tolist(), node.get("value", np.zeros(1, np.float32)).item())


# What exporters do with constants and with the shape of a value: (node, its inputs) -> its output.
COMPUTED = {
    "Add": _computed(np.add),
    "Div": _computed(lambda a, b: a // b if a.dtype.kind == b.dtype.kind == "i" else a / b),
    "Mul": _computed(np.multiply),
    "Neg": _computed(np.negative),
    "Reciprocal": _computed(np.reciprocal),
    "Sqrt": _computed(np.sqrt),
    "Sub": _computed(np.subtract),
}
RESHAPED: dict[str, Callable[..., Array]] = {
    "Cast": _cast,
    "Reshape": lambda node, values, shape: values.reshape(
        [values.shape[k] if n == 0 else n for k, n in enumerate(shape.tolist())]
    ),
    "Squeeze": lambda node, values, *axes: np.squeeze(values, _axes(node, axes) or None),
    "Transpose": lambda node, values: np.transpose(values, node.get("perm", ()) or None),
    "Unsqueeze": lambda node, values, *axes: np.expand_dims(values, _axes(node, axes)),
}
FREE = ("Squeeze", "Transpose", "Unsqueeze")  # views, which take no memory
OF_CONSTANTS = COMPUTED | RESHAPED  # however large
ARITHMETIC: dict[str, Callable[..., Array]] = {
    **OF_CONSTANTS,
    "Gather": lambda node, values, places: np.take(values, places, node.get("axis", 0)),
    "Concat": lambda node, *parts: np.concatenate([part.reshape(-1) for part in parts]),
    "ConstantOfShape": _filled,
    "Slice": _slice,
}


@dataclass(frozen=True)
class Block:
    """Steps with a shortcut around them: a 1 x 1 convolution, or none for the value itself."""

    inside: list[Step]
    shortcut: list[Step]
    add: Node  # of what both make


Step = Node | Block
Steps = dict[str, tuple[str, Step]]  # {the value that a step makes: (the one it takes, the step)}
Depths = dict[str, int]  # {a value: how many steps it is from the input}


def fold(graph: Graph) -> Graph:
    """Evaluate what depends on no image, and set apart what depends only on its shape."""
    graph = _scores_alone(graph)
    constants, arithmetic = dict(graph.constants), dict[str, Node]()
    same: dict[str, str] = {}  # the output of an Identity is its input
    nodes = []
    for node in graph.nodes:
        node = replace(node, inputs=tuple(same.get(name, name) for name in node.inputs))
        output = node.outputs[0]
        given = [constants[name] for name in node.inputs if name in constants]
        known = all(name in constants or name in arithmetic for name in node.inputs if name)
        to = KINDS.get(node.get("to", 0)) if node.operator == "Cast" else None
        if node.operator == "Identity" or (to in ("FLOAT", "DOUBLE") and not known):
            same[output] = node.inputs[0]
        elif node.operator in OF_CONSTANTS and len(given) == len(node.inputs) > 0:
            with blame(node.label), np.errstate(all="ignore"):
                constants[output] = _evaluate(node, given, graph)
        elif node.operator == "Shape" or (node.operator in ARITHMETIC and known):
            arithmetic[output] = node
        else:
            nodes.append(node)
    outputs = tuple(same.get(name, name) for name in graph.outputs)
    return replace(
        graph, nodes=tuple(nodes), outputs=outputs, constants=constants, arithmetic=arithmetic
    )


def _evaluate(node: Node, parts: list[Array], graph: Graph) -> Array:
    """Return what a node makes of constants, once its memory is charged."""
    shapes = [part.shape for part in (parts if node.operator in COMPUTED else parts[:1])]
    size = 0 if node.operator in FREE else 8 * math.prod(np.broadcast_shapes(*shapes))
    graph.budget.charge(ITEM_BYTES + size, "its output")
    return OF_CONSTANTS[node.operator](node, *parts)


def _scores_alone(graph: Graph) -> Graph:
    """Return a classifier of ONNX-ML, which gives labels and scores, with its scores alone.

    Where these are 1 - p and p, of two classes, one `Concat` of p alone stands for both.
    """
    made = {output: node for node in graph.nodes for output in node.outputs}
    outputs, changed = graph.outputs, dict[str, Node | None]()  # by their first output
    if len(outputs) == 2:
        scores, label, aside = outputs[1], made.get(outputs[0]), dict[str, None]()
        if (last := made.get(scores)) and last.operator == "ZipMap":
            aside[scores] = None
            scores = last.inputs[0]
        while label and label.operator in LABELING and label.outputs[0] not in aside:
            aside[label.outputs[0]] = None
            if label.operator == "ArgMax" and label.inputs[0] == scores:
                outputs, changed = (scores,), {**aside}
            label = made.get(label.inputs[label.operator == "ArrayFeatureExtractor"])
    for node in graph.nodes:
        minus = made.get(node.inputs[0]) if node.operator == "Concat" else None
        if minus and minus.operator == "Sub" and minus.inputs[1:] == node.inputs[1:]:
            one = graph.constants.get(minus.inputs[0])
            if one is not None and one.size == 1 and one.item() == 1 and node.get("axis", 0) == 1:
                changed[node.outputs[0]] = replace(node, inputs=node.inputs[1:])
                changed[minus.outputs[0]] = None
    nodes = (changed.get(node.outputs[0], node) for node in graph.nodes)
    return replace(graph, nodes=tuple(node for node in nodes if node), outputs=outputs)


def arrange(graph: Graph) -> list[Step]:
    """Return the steps from the input to the output; ValueError where they are not a chain."""
    steps: Steps = {}
    depths: Depths = {graph.input: 0}
    for node in graph.nodes:
        flowing = [name for name in node.inputs if name in steps or name == graph.input]
        if node.operator == "Add" and len(flowing) == 2:
            steps[node.outputs[0]] = _block(node, steps, depths, graph)
        elif node.operator in ("Add", "Mul") and flowing == [node.inputs[1]]:
            steps[node.outputs[0]] = flowing[0], replace(node, inputs=node.inputs[::-1])
        elif flowing and flowing[0] == node.inputs[0]:
            steps[node.outputs[0]] = flowing[0], node
        else:
            raise ValueError(f"{node.label} does not take the images as first input; {ONLY}")
        depths[node.outputs[0]] = depths[steps[node.outputs[0]][0]] + 1
    chain = _between(graph.input, graph.outputs[0], steps, depths)
    times = Counter(_nodes(chain or []))
    for node in graph.nodes:
        if times[node.outputs[0]] != 1:
            raise ValueError(f"{node.label} is {times[node.outputs[0]]} times in the chain; {ONLY}")
    if chain is None:
        raise ValueError(f"its output does not depend on its input; {ONLY}")
    return chain


def _between(start: str, end: str, steps: Steps, depths: Depths) -> list[Step] | None:
    """Return the steps from one value to another, or None where none lead there."""
    found = []
    while end != start:
        if end not in steps or depths[end] <= depths[start]:
            return None
        end, step = steps[end]
        found.append(step)
    return found[::-1]


def _block(add: Node, steps: Steps, depths: Depths, graph: Graph) -> tuple[str, Block]:
    """Return the value where a block begins, and the block that an Add of two values ends."""
    for end, side in (add.inputs, add.inputs[::-1]):
        shortcuts: list[tuple[str, list[Step]]] = [(side, [])]
        step = steps.get(side)
        behind: list[Step] = []
        while step and isinstance(step[1], Node) and step[1].operator in SCALES:
            behind.insert(0, step[1])
            step = steps.get(step[0]) if len(behind) < MOST_SCALES else None
        if step and isinstance(step[1], Node) and step[1].operator == "Conv":
            weights = graph.constants.get(step[1].inputs[1])
            if weights is not None and weights.shape[2:] == (1, 1):
                shortcuts.append((step[0], [step[1], *behind]))
                before = steps.get(step[0])
                if before and isinstance(before[1], Node) and before[1].operator == "Transpose":
                    shortcuts.append((before[0], [before[1], step[1], *behind]))
        for start, shortcut in shortcuts:
            inside = _between(start, end, steps, depths)
            if inside:
                return start, Block(inside, shortcut, add)
    raise ValueError(
        f"{add.label} does not end a shortcut as in Residual: a value, or a 1 x 1 convolution of "
        "it, perhaps normalized, added to what its layers make"
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

    def __init__(self, graph: Graph) -> None:
        self.graph, self.budget, self._arrays = graph, graph.budget, dict(graph.constants)
        self.shapes: dict[str, Shape] = {}  # of the values that the images have reached
        # Images times `factor` plus `shift` come to the first layer; None: as they are.
        self.in_front: tuple[Array, Array] | None = None

    def array(self, name: str, steps: int = 0) -> Array:
        """Return a constant, evaluated if need be; ValueError where that takes too much."""
        if name in self._arrays:
            return self._arrays[name]
        if name not in self.graph.arithmetic:
            raise ValueError(f"its input {short(name)} is not a constant of a type such as FLOAT")
        node = self.graph.arithmetic[name]
        if steps > MOST_ARITHMETIC:
            raise ValueError(TOO_MUCH)
        if node.operator == "Shape":
            value = node.inputs[0]
            if value in self._arrays or value in self.graph.arithmetic:
                dims = np.array(self.array(value, steps + 1).shape, np.int64)
            elif value in self.shapes:
                dims = np.array([SAMPLES, *self.shapes[value]], np.int64)
            else:
                raise ValueError("its shape follows from a value that comes later")
            found = dims[node.get("start", 0) : node.get("end", len(dims))]
        else:
            parts = [self.array(part, steps + 1) if part else None for part in node.inputs]
            if sum(part.size for part in parts if part is not None) > MOST_ARITHMETIC:
                raise ValueError(TOO_MUCH)
            if node.operator != "Slice" and any(part is None for part in parts):
                raise ValueError(f"{node.label} lacks an input")
            found = ARITHMETIC[node.operator](node, *parts)
        self._arrays[name] = found  # worked out once, however many ask
        return found
