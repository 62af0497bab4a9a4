"""ONNX import: a file becomes a network in three passes, with plain values between them.

`onnx_decode` checks the file and makes nodes and constants of it, `onnx_normalize` makes a list of
steps of these, `onnx_operators` makes a layer of each; they are put together here.
"""

from __future__ import annotations

import json
import math
import re
from collections import defaultdict
from collections.abc import Sequence
from itertools import count
from pathlib import Path
from typing import Any

import onnx

from CNN import CNN
from Filters import Residual
from glassbox.bridges.onnx_decode import Budget, Node, blame, decode, parse
from glassbox.bridges.onnx_normalize import Block, Context, Step, arrange, fold
from glassbox.bridges.onnx_operators import (
    OPERATORS,
    Made,
    Op,
    View,
    check_size,
    refuse_unsupported,
)
from glassbox.data.scaling import Scaling
from glassbox.engine.budget import AllocationBudget
from glassbox.engine.more_layers import Identity, Softmax
from glassbox.errors import short
from glassbox.files import model_file
from glassbox.kernels.shapes import Shape
from MLP import Flatten


def open_model(source: Any, shape: Sequence[int] | None, settings: dict[str, Any]) -> CNN:
    """See `glassbox.bridges.onnx.import_model`."""
    opened = source if isinstance(source, onnx.ModelProto) else None
    whose = f"{source if opened is None else 'the model'} cannot be imported"
    with blame(whose):
        model = parse(Path(source).read_bytes()) if opened is None else opened
        budget = Budget(model.ByteSize())
        graph = fold(decode(model, budget))
        refuse_unsupported(graph)
        entrance = _entrance(graph.dims[1:], shape)
        parts, images, end = translate(arrange(graph), entrance, Context(graph, budget))
        _finish(parts, end)
    last = parts[-1].layer
    softmax = isinstance(getattr(last, "activation", last), Softmax)
    usual = {"dtype": graph.dtype, "loss": "cross_entropy" if softmax else "mse"}
    network = CNN(**{**usual, **settings})  # these errors are the caller's
    with blame(whose):
        for part in parts:
            network.add(part.layer)
        network.build(images.network, AllocationBudget(budget.spent))
        where = f"as {network.dtype} (dtype='float64' takes larger numbers)"
        model_file.fill(network.layers, _arrays(parts), where)
        _recall(network, {entry.key: entry.value for entry in model.metadata_props})
    return network


def _entrance(file: Shape, asked: Sequence[int] | None) -> View:
    """The view of the input: the shape in the file (0: open), compared with the one asked for."""
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
    """Pass 3: the layers of some steps (`inside` a block), and the views before and behind them."""
    parts, start = list[Made](), view
    context.shapes.setdefault(context.graph.input, view.file)
    for step in steps:
        node = step.add if isinstance(step, Block) else step
        with blame(node.label):
            if isinstance(step, Block):
                made = _residual(step, view, context)
            else:
                before, first = parts[-1].layer if parts else None, not parts and not inside
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
    """The `Residual` that a block becomes."""
    shortcut, _, _ = translate(block.shortcut, view, context, inside=True)
    inside, _, out = translate(block.inside, view, context, inside=True)
    start, end = view.agreed(), out.agreed()
    strides = tuple(-(-n // m) for n, m in zip(start[1:], end[1:], strict=False))
    usual = [(strides, end[0], (0, 0))] if start != end else []  # as Residual makes it
    found = [(part.layer.stride, part.layer.filters, part.layer.padding) for part in shortcut]
    if found != usual:
        kind = f"a convolution with stride {strides}" if usual else "the value itself"
        raise ValueError(f"its shortcut does not lead from {start} to {end}; expected {kind}")
    for part in shortcut:
        part.layer.name = "shortcut"
    _give_unique_names(inside)
    layer = Residual(*(part.layer for part in inside), activation=None)
    return Made(layer, _arrays([*inside, *shortcut]), out)


def _finish(parts: list[Made], view: View) -> None:
    """Append the last layers, for which the file has no node."""
    if view.channels_last or view.order:
        raise ValueError("its output has channels last; end with a dense layer or a Transpose")
    if not parts:
        parts.append(Made(Identity()))
    if len(view.file) < len(view.network):  # rows that stood for images until the end
        parts.append(Made(Flatten()))
    _give_unique_names(parts)


def _arrays(parts: Sequence[Made]) -> dict[str, Any]:
    """The arrays of layers that have names, each under "layer.array"."""
    arrays = {f"{p.layer.name}.{key}": array for p in parts for key, array in p.arrays.items()}
    return {name: array for name, array in arrays.items() if array is not None}


def _name(node: Node, inside: bool, has_weights: bool) -> str:
    """The name of a layer: that of its weights in the file, else of its node; "" if unsuitable."""
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


def _recall(network: CNN, metadata: dict[str, str]) -> None:
    """Class names and scaling, if `export` left them in the file."""
    try:
        classes = json.loads(metadata.get("glassbox.classes", "[]"))
        scaling = json.loads(metadata.get("glassbox.scaling", "null"))
        network.scaling = None if scaling is None else Scaling.from_json(scaling)
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise ValueError(f"its metadata cannot be read: {short(str(error))}") from error
    if not isinstance(classes, list) or not all(isinstance(name, str) for name in classes):
        raise ValueError(f"its metadata should list class names, got {short(classes)}")
    if classes and network.output_shape != (len(classes),):
        raise ValueError(f"it names {len(classes)} classes for outputs {network.output_shape}")
    network.classes = tuple(classes)
