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
from itertools import count
from typing import Any

import onnx

from CNN import CNN
from Filters import Residual
from glassbox.bridges.onnx_decode import Budget, Node, blame, decode, parse
from glassbox.bridges.onnx_normalize import Block, Context, Step, arrange, fold
from glassbox.bridges.onnx_operators import OPERATORS, Made, Op, View, check_size, check_supported
from glassbox.engine.budget import AllocationBudget
from glassbox.engine.more_layers import Identity, Softmax
from glassbox.files import model_file
from glassbox.kernels.shapes import Shape
from glassbox.regular_file import read_file
from MLP import Flatten


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
    source : a file, or a model that is open already.
    shape : (channels, height, width) of an image, if the file leaves them open (in the order of
        the file), or if it takes images as rows of numbers.
    settings : for `CNN`, such as optimizer or kernels.  Unless set, the loss is cross-entropy if
        the file ends with a softmax, else the mean squared error, and dtype is that of the file.

    Raises ValueError if something in the file cannot be imported (the message names the file and
    every problem), OSError if the file cannot be read.

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
        graph = fold(decode(model, budget))
        check_supported(graph)
        entrance = _entrance(graph.dims[1:], shape)
        parts, images, end = translate(arrange(graph), entrance, Context(graph, budget))
        if end.channels_last or end.order:
            raise ValueError("its output has channels last; end with a dense layer or a Transpose")
        parts = parts or [Made(Identity())]
        if len(end.file) < len(end.network):  # rows that stood for images until the end
            parts.append(Made(Flatten()))
        _give_unique_names(parts)
    last = parts[-1].layer
    softmax = isinstance(getattr(last, "activation", last), Softmax)
    usual = {"dtype": graph.dtype, "loss": "cross_entropy" if softmax else "mse"}
    network = CNN(**{**usual, **settings})  # these errors are the caller's
    with blame(whose):
        network.layers += [part.layer for part in parts]
        network.build(images.network, AllocationBudget(budget.spent))
        where = f"as {network.dtype} (dtype='float64' takes larger numbers)"
        model_file.fill(network.layers, _arrays(parts), where)
        known = {entry.key: entry.value for entry in model.metadata_props}
        with blame("its metadata"):  # which `export` wrote
            names = ("glassbox.classes", "glassbox.scaling")
            model_file.label(network, *(json.loads(known.get(name, "null")) for name in names))
    return network


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
    """Make the `Residual` that a block becomes."""
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
