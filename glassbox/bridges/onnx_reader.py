"""ONNX import: a file becomes a network in three passes, with plain values between them.

`onnx_decode` checks the file and returns nodes and constants, `onnx_normalize` a list of steps,
`onnx_operators` a layer for each; they are put together here.
"""

from __future__ import annotations

import json
import math
import os
import re
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import onnx

from CNN import CNN
from Filters import Residual
from glassbox.bridges.onnx_decode import (
    ITEM_BYTES,
    Budget,
    Graph,
    Node,
    blame,
    decode,
    parse,
    read_beside,
)
from glassbox.bridges.onnx_normalize import Block, Context, Step, arrange, fold
from glassbox.bridges.onnx_operators import (
    OPERATORS,
    SLIDING,
    STATISTICS,
    Made,
    Op,
    View,
    changed,
    check_size,
    check_supported,
    normalization,
)
from glassbox.data.dataset import Scaling
from glassbox.engine.budget import AllocationBudget
from glassbox.engine.more_layers import Identity, LogSoftmax, Softmax
from glassbox.engine.names import loss_named
from glassbox.files import model_file
from glassbox.kernels.shapes import Shape
from glassbox.regular_file import read_file
from MLP import Flatten

# The nodes that scale each image by itself, as `export` writes them.
EACH = {
    "min-max": "ReduceMin ReduceMax Sub Equal Where Sub Div",
    "per-image": "ReduceMean Sub Mul ReduceMean Sqrt ReduceMin ReduceMax Sub Equal Where Sub Div",
}
BYTES = 0.2  # images that are multiplied by less are taken to be bytes


def import_model(
    source: str | os.PathLike[str] | onnx.ModelProto,
    shape: tuple[int, int, int] | None = None,
    **settings: Any,
) -> CNN:
    """Return the network in an ONNX file, ready for inference and further training.

    `network.scores` equals the output of the file.  To train logits further, pass
    loss="cross_entropy"; the scores are then their softmax.  Images are (samples, channels, height,
    width), even if the file begins with a Transpose from channels-last; floats are not scaled.

    Parameters
    ----------
    source : str, path or onnx.ModelProto
        A file, or a model that is open already.
    shape : tuple of int, optional
        (channels, height, width) of an image, if the file leaves them open (in the order of the
        file), or if it takes images as rows of numbers.
    **settings
        For `CNN`, such as optimizer or kernels.  Unless set, the loss is cross-entropy if the file
        ends with a softmax, else the mean squared error, and dtype is that of the file.

    Returns
    -------
    CNN
        The built network.

    Raises
    ------
    ValueError
        If something in the file cannot be imported; the message names the file and every problem.
    OSError
        If the file cannot be read.

    Examples
    --------
    >>> from MLP import Dense
    >>> from glassbox.bridges.onnx import export
    >>> import_model(export(CNN(Dense(3)).build((1, 2, 2)))).layers
    [<Flatten 'dense1.flatten': (1, 2, 2) -> (4,)>, <Dense 'dense1': (4,) -> (3,)>]
    """
    opened = source if isinstance(source, onnx.ModelProto) else None
    whose = f"{source if opened is None else 'the model'} cannot be imported"
    with blame(whose):
        model = parse(read_file(source)) if opened is None else opened
        budget = Budget(model.ByteSize())
        if opened is None:
            read_beside(model, Path(source).parent, budget)
        known = {entry.key: entry.value for entry in model.metadata_props}
        with blame("its metadata"):  # which `export` wrote
            names = ("glassbox.classes", "glassbox.scaling")
            classes, scaled = (json.loads(known.get(name, "null")) for name in names)
        graph = _without_scaling(fold(decode(model, budget)), scaled)
        check_supported(graph)
        entrance = _entrance(graph.dims[1:], shape)
        context = Context(graph)
        parts, images, end = translate(arrange(graph), entrance, context)
        if end.channels_last or end.order or end.border:
            what = "a border" if end.border else "channels last"
            raise ValueError(f"its output has {what}; end with a dense layer or a Transpose")
        scaling = _scaling(context, images.network)
        if isinstance(scaling, Made):
            parts.insert(0, scaling)
        parts = parts or [Made(Identity())]
        if len(end.file) < len(end.network):  # rows that stood for images until the end
            parts.append(Made(Flatten()))
        _give_unique_names(parts)
    last = parts[-1].layer
    carried = getattr(last, "activation", last)
    softmax = isinstance(carried, Softmax)
    if isinstance(carried, LogSoftmax) and loss_named(settings.get("loss", "mse")).on_logits:
        if carried is last:
            parts[-1] = Made(Softmax(name=last.name))
        else:
            last.activation = Softmax()  # that of the loss
    usual = {"dtype": graph.dtype, "loss": "cross_entropy" if softmax else "mse"}
    network = CNN(**{**usual, **settings})  # these errors are the caller's
    with blame(whose):
        network.layers += [part.layer for part in parts]
        network.build(images.network, AllocationBudget(budget.spent))
        where = f"as {network.dtype} (dtype='float64' takes larger numbers)"
        model_file.fill(network.layers, _arrays(parts), where)
        with blame("its metadata"):
            model_file.label(network, classes, scaled)
        if isinstance(scaling, Scaling) and not _same(scaling, network.scaling, images.network[0]):
            network.scaling = scaling  # what the file computes counts, whatever it says
    return network


def _without_scaling(graph: Graph, scaled: Any) -> Graph:
    """Return a graph without the nodes that `export` scales each image with by itself.

    They are those and no others where the operators are, and each computes from the input.
    """
    name = scaled.get("name") if isinstance(scaled, dict) else None
    front = [node for node in graph.nodes if node.outputs[0].startswith("scaling.")]
    if name not in EACH or [node.operator for node in front] != EACH[name].split():
        return graph
    made = {node.outputs[0] for node in front}
    last = front[-1].outputs[0]
    nodes = [
        replace(node, inputs=tuple(graph.input if part == last else part for part in node.inputs))
        for node in graph.nodes
        if node.outputs[0] not in made
    ]
    return replace(graph, nodes=tuple(nodes))


def _scaling(context: Context, shape: Shape) -> Scaling | Made | None:
    """Return what is done to the images in front of the first layer: a `Scaling`, or a layer."""
    if context.in_front is None:
        return None
    a, b = np.broadcast_arrays(*context.in_front)
    if len(shape) == 1:
        a, b = (np.broadcast_to(part.reshape(-1), shape) for part in (a, b))
        return normalization(a, b, context.budget, "scaling")
    if a.min() <= 0 or (a.size != 1 and a.shape != (shape[0], 1, 1)):
        raise ValueError("its images are not scaled by a positive number for each channel")
    high = 255.0 if a.max() < BYTES else 1.0
    if np.unique(a).size == 1 and not b.any():
        return Scaling("unit", 0.0, _short(1 / a.flat[0]))
    context.budget.charge(4 * ITEM_BYTES * shape[0], "a scaling for each channel")
    a, b = (np.broadcast_to(part.reshape(-1), shape[0]) for part in (a, b))
    mean, std = -b / (a * high), 1 / (a * high)
    return Scaling("standard", 0.0, high, tuple(map(_short, mean)), tuple(map(_short, std)))


def _short(number: float) -> float:
    """Return 0.5 for 0.49999997: six digits where single precision does not tell the difference."""
    rounded = float(f"{number:.6g}")
    return rounded if abs(rounded - number) <= 2e-7 * abs(number) else float(number)


def _same(scaling: Scaling, other: Scaling | None, channels: int) -> bool:
    """Return whether two scalings make nearly the same of every image."""
    if other is None or other.constants(1) is None or len(other.mean) not in (0, channels):
        return False
    apart = max(len(scaling.mean), len(other.mean), 1)  # channels
    ends = np.array([0.0, 255.0]).reshape(2, 1, 1, 1).repeat(apart, 1)
    ours, theirs = (one.apply(ends, np.float64) for one in (scaling, other))
    return bool(np.allclose(ours, theirs, rtol=1e-5, atol=1e-6))


def _entrance(file: Shape, asked: Sequence[int] | None) -> View:
    """Return the view of the input: the shape in the file (0: open), matched with the one given."""
    wanted = file if asked is None else tuple(int(n) for n in asked)
    rows = len(file) == 1 and file[0] in (0, math.prod(wanted))
    fits = len(file) == len(wanted) and all(n in (0, m) for n, m in zip(file, wanted, strict=True))
    if not fits and not rows:
        raise ValueError(f"it takes images {file} (0: open), but shape={wanted} was asked for")
    if min(wanted) < 1:
        raise ValueError(f"{file} leaves sizes open; pass shape=(channels, height, width)")
    check_size(wanted)
    return View((math.prod(wanted),) if rows else wanted, wanted)


def translate(
    steps: Sequence[Step], view: View, context: Context, inside: bool = False
) -> tuple[list[Made], View, View]:
    """Run pass 3: return the layers of some steps, and the views before and behind them."""
    parts, start = list[Made](), view
    context.shapes.setdefault(context.graph.input, view.file)
    for step in steps:
        node = step.add if isinstance(step, Block) else step
        # what overflows is refused when the network is filled
        with blame(node.label), np.errstate(all="ignore"):
            if view.border and node.operator not in SLIDING:
                raise ValueError("it gets a border; pad straight before a convolution or a pool")
            if isinstance(step, Block):
                made = _residual(step, view, context)
            else:
                before, first = parts[-1] if parts else Made(), not parts and not inside
                made = OPERATORS[step.operator](Op(step, view, before, first, context))
            view = made.view or view
            check_size(view.file)
        context.shapes[node.outputs[0]] = view.file
        if made.layer is not None:
            made.layer.name = _name(node, inside, bool(made.arrays))
            parts.append(made)
        elif parts:
            parts[-1].arrays.update(made.arrays)
        start = start if parts else view  # up to the first layer, it is the images that change
    return parts, start, view


def _residual(block: Block, view: View, context: Context) -> Made:
    """Make the `Residual` that a block becomes."""
    shortcut, _, _ = translate(block.shortcut, view, context, inside=True)
    inside, _, out = translate(block.inside, view, context, inside=True)
    last = view.channels_last and out.channels_last
    start, end = (view.network, out.network) if last else (view.agreed(), out.agreed())
    strides = tuple(-(-n // m) for n, m in zip(start[1:], end[1:], strict=False))
    usual = [(strides, end[0], (0, 0))] if start != end else []  # as Residual makes it
    if shortcut:
        shortcut = [_with_scales(shortcut, context.budget)]
    found = [(part.layer.stride, part.layer.filters, part.layer.padding) for part in shortcut]
    if found != usual:
        kind = f"a convolution with stride {strides}" if usual else "the value itself"
        raise ValueError(f"its shortcut does not lead from {start} to {end}; expected {kind}")
    for part in shortcut:
        part.layer.name = "shortcut"
        _move_shift(part, inside, context.budget)
    _give_unique_names(inside)
    layer = Residual(*(part.layer for part in inside), activation=None)
    return Made(layer, _arrays([*inside, *shortcut]), out)


def _with_scales(parts: Sequence[Made], budget: Budget) -> Made:
    """Return the convolution of a shortcut, with the normalization behind it in its weights."""
    conv, *norms = parts
    for norm in norms:
        weight, bias, mean, variance = (np.float64(norm.arrays[key]) for key in STATISTICS)
        factor = weight / np.sqrt(variance + norm.layer.epsilon)
        conv.arrays.update(changed(conv, factor, bias - mean * factor, budget) or {})
    return conv


def _move_shift(shortcut: Made, inside: list[Made], budget: Budget) -> None:
    """Add the bias of a shortcut, for which `Residual` has none, to the last layer inside."""
    shift, shortcut.layer.bias = shortcut.arrays.pop("bias", None), False
    if shift is None or not shift.any():
        return
    one = np.ones_like(shift)
    arrays = changed(inside[-1], one, shift, budget)
    if arrays is not None:
        inside[-1].arrays.update(arrays)
    else:
        inside.append(normalization(one, shift, budget))


def _arrays(parts: Sequence[Made]) -> dict[str, Any]:
    """Return the arrays of named layers, each under "layer.array"."""
    arrays = {f"{p.layer.name}.{key}": array for p in parts for key, array in p.arrays.items()}
    return {name: array for name, array in arrays.items() if array is not None}


def _name(node: Node, inside: bool, has_weights: bool) -> str:
    """Return a layer's name: that of its weights, else of its node; "" if unsuitable."""
    weight = node.inputs[1] if has_weights else ""
    name = weight.removesuffix(".weight") if weight.endswith(".weight") else node.name
    name = name.rpartition(".")[2] if inside else name
    plain = re.fullmatch(r"[A-Za-z_]([\w.]{0,58}\w)?", name)
    return name if plain and not (inside and name == "shortcut") else ""


def _give_unique_names(parts: Sequence[Made]) -> None:
    """Give every layer a unique name, preferring the one from the file."""
    taken, numbers = {""}, defaultdict[str, Any](lambda: count(1))
    for layer in (part.layer for part in parts):
        layer.name = "" if layer.name in taken else layer.name
        taken.add(layer.name)
    for layer in (part.layer for part in parts if not part.layer.name):
        names = (f"{layer.stem}{number}" for number in numbers[layer.stem])
        layer.name = next(name for name in names if name not in taken)
