"""The sum behind a number: what one output of a layer was made of."""

from __future__ import annotations

import copy
import math
import textwrap
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from Filters import AvgPool2D, Conv2D, GlobalAvgPool2D, MaxPool2D
from glassbox.engine.context import Context
from glassbox.engine.layer import Activation
from glassbox.engine.more_layers import Identity, LogSoftmax, Softmax
from glassbox.engine.receptive_field import Region
from glassbox.errors import require_count
from glassbox.explain.fields import region_of
from glassbox.explain.nodes import Node, Off, Place, Which, find, one_image, place_in
from glassbox.explain.passes import Pass, Recorder, run
from glassbox.explain.taps import inputs_of
from MLP import BatchNorm, Dense, Dropout, Flatten

Array = NDArray[Any]
MOST = 4000  # terms that are kept
WIDTH = 60  # columns of a text
SHOWN = 12  # terms of a text
STRONGEST = 20  # inputs named for a layer whose formula nobody knows


@dataclass(frozen=True)
class Part:
    """A number in a formula: its name, and where it comes from if it is one of an output."""

    name: str
    value: float
    place: Place | None = None
    layer: str | None = None


@dataclass(frozen=True, eq=False)
class Sum:
    """What one number of a layer's output was made of.

    Attributes
    ----------
    layer, name : str
        The layer's address and name.
    place : tuple of int
        The place in its output.
    kind : str
        "weighted" for a sum of products, "winner" for a maximum, "formula" for anything else.
    source : str
        The address of the layer, or "input", in whose output `places` lie.
    places : array of int
        A row for each term: the place of its value.
    weights, values, products : array
        Of each term, in float64; the weight of a maximum's winner is 1, of the others 0.
    left_out, left_out_sum : int, float
        How many terms of small products were left out, and their sum.
    winner : tuple of int or None
        The place of the winner of a maximum.
    formula : str
        How the number came about, in a line.
    parts : tuple of Part
        The numbers of the formula, with the places that they come from.
    bias : float or None
        What is added to the products.
    before : float
        The number before the activation: products and bias, each in float64, summed without
        rounding in between (`math.fsum`).
    activation : str or None
        The word of the layer's activation.
    result : float
        The number itself, as `CNN.activations` gives it.
    field : tuple of int
        (top, bottom, left, right) of the image that it can depend on.
    """

    layer: str
    name: str
    place: Place
    kind: str
    source: str
    places: Array
    weights: Array
    values: Array
    products: Array
    formula: str
    before: float
    result: float
    field: Region
    left_out: int = 0
    left_out_sum: float = 0.0
    winner: Place | None = None
    parts: tuple[Part, ...] = ()
    bias: float | None = None
    activation: str | None = None

    def as_text(self) -> str:
        """Give the sum as lines of 60 columns, of the terms the twelve largest."""
        lines = [f"{self.name} {list(self.place)} = {self.result:.6g}"]
        lines += textwrap.wrap(self.formula, WIDTH, initial_indent="= ", subsequent_indent="  ")
        if len(self.places):
            lines += table(
                f"place in {self.source}",
                self.places,
                self.left_out,
                self.left_out_sum,
                weight=self.weights,
                value=self.values,
                product=self.products,
            )
        for part in self.parts:
            at = f" of {part.layer} {list(part.place)}" if part.place is not None else ""
            lines.append(f"{part.name}{at} = {part.value:.6g}")
        top, bottom, left, right = self.field
        lines.append(f"It sees rows {top} to {bottom - 1}, columns {left} to {right - 1}.")
        return "\n".join(line[:WIDTH] for line in lines)


def table(
    head: str, places: Array, left_out: int, left_out_sum: float, **columns: Array
) -> list[str]:
    """Lines of terms under heads, the largest of the last column; how many more, and their sum."""
    *_, products = columns.values()
    shown = largest(products, SHOWN)
    width = WIDTH - 13 * len(columns)
    lines = [f"{head:<{width}.{width}}" + "".join(f"{name:>13}" for name in columns)]
    for k in shown:
        place = ", ".join(map(str, places[k].tolist()))
        lines.append(
            f"{place:<{width}}" + "".join(f"{column[k]:>13.6g}" for column in columns.values())
        )
    more = len(products) - len(shown) + left_out
    if more:
        rest = math.fsum(np.delete(products, shown).tolist()) + left_out_sum
        lines.append(f"and {more:,} more".ljust(WIDTH - 13) + f"{rest:>13.6g}")
    return lines


def largest(products: Array, most: int) -> Array:
    """The indices, in order, of the products that are largest without their sign."""
    order = np.argsort(-np.abs(products), kind="stable")
    return np.sort(order[:most])


def limited(most: int, **columns: Array) -> dict[str, Any]:
    """The terms of the largest products, how many were left out, and the sum of those."""
    products = columns["products"]
    kept = largest(products, most)
    rest = np.delete(products, kept)
    found = {name: column[kept] for name, column in columns.items()}
    return found | {"left_out": rest.size, "left_out_sum": math.fsum(rest.tolist())}


def sum_behind(
    network: Any, image: Any, layer: Which, place: Any, off: Off | None = None,
    scaled: bool = False, most: int = MOST,
) -> Sum:  # fmt: skip
    """Give the whole sum that made one number of one layer's output.

    y[place] = f(bias + sum of weight x value)

    For a convolution, a dense layer and the mean pools; for max pooling the numbers it chose from;
    for all other layers their formula with the numbers filled in.  A layer whose code was edited,
    so that these are no longer its terms, is shown by its result and what it depends on.

    Parameters
    ----------
    network : CNN
        A built network, which stays as it is.
    image : array
        One raw image.
    layer : int or str
        An index, an address or a name.
    place : tuple of int
        (channel, row, column) or (unit,) of its output.
    off : dict, optional
        {index, address or name of a layer: channels or units}: set to 0 behind its activation.
    scaled : bool, default False
        The image is floats that are scaled already.
    most : int, default 4000
        How many terms are kept, the largest by |product|, in order of place.

    Returns
    -------
    Sum
        Its `result` is the number that `CNN.activations` gives, bit for bit.

    Raises
    ------
    ValueError
        If the network is not built, or if there is no such layer, place or channel.

    Examples
    --------
    >>> from glassbox import CNN, Conv2D, Dense
    >>> network = CNN(Conv2D(2, 3), Dense(2), seed=3).build((1, 9, 9))
    >>> found = sum_behind(network, np.ones((1, 9, 9)), "conv1", (1, 0, 4))
    >>> found.kind, len(found.places), found.field
    ('weighted', 6, (0, 2, 3, 6))
    >>> print(found.as_text())
    conv1 [1, 0, 4] = -0.0101436
    = leaky_relu(sum of 6 products -1.01436 + bias 0)
    place in input              weight        value      product
    0, 0, 3                  -0.132594            1    -0.132594
    0, 0, 4                  -0.314904            1    -0.314904
    0, 0, 5                  -0.497378            1    -0.497378
    0, 1, 3                  -0.184216            1    -0.184216
    0, 1, 4                    0.22718            1      0.22718
    0, 1, 5                   -0.11245            1     -0.11245
    It sees rows 0 to 1, columns 3 to 5.
    """
    require_count("most", most)
    done = run(network, one_image(network, image, scaled), off)
    node = find(done.nodes, layer)
    where = place_in(node, place)
    found = _sum(done, node, where)
    if where[0] in done.recorders[node.address].off:
        found = replace(found, formula=f"0, for it is switched off (else {found.formula})")
    terms = {name: getattr(found, name) for name in ("places", "weights", "values", "products")}
    return replace(found, **limited(most, **terms))


def _sum(done: Pass, node: Node, place: Place) -> Sum:
    """The sum behind a place of a node's output, with all terms."""
    recorder, layer = done.recorders[node.address], node.layer
    made, result = recorder.y[(*place, 0)], float(recorder.out[(*place, 0)])
    field = region_of(done.network, done.nodes, node, place)
    no_places, none = np.empty((0, recorder.x.ndim - 1), int), np.empty(0)
    bare = Sum(
        node.address, node.name, place, "formula", node.source, no_places, none, none, none, "",
        float(made), result, field, activation=_word(getattr(layer, "activation", None)),
    )  # fmt: skip
    found = _as_promised(done, node, place, bare)
    if found is not None and _checked(recorder, place, found):
        return found
    parts = tuple(_strongest(recorder, node, place))
    return replace(bare, formula=code_of(layer, "forward"), parts=parts)


def _as_promised(done: Pass, node: Node, place: Place, bare: Sum) -> Sum | None:
    """The sum of a layer that does what its class says; None for layers of other people."""
    if node.adds:
        return _added(done, node, place, bare)
    recorder, layer = done.recorders[node.address], node.layer
    x = recorder.x[..., 0]
    places, weights = inputs_of(layer, place, x)
    values = x[tuple(places.T)].astype(np.float64)
    terms: dict[str, Any] = {
        "places": places,
        "weights": weights,
        "values": values,
        "products": weights * values,
    }
    if isinstance(layer, Conv2D | Dense | AvgPool2D | GlobalAvgPool2D):
        bias = layer.parameters["bias"][place[0]] if getattr(layer, "bias", False) else None
        products = [*terms["products"].tolist(), *([] if bias is None else [float(bias)])]
        before = math.fsum(products)
        formula = f"sum of {len(values)} products"
        if bias is not None:
            formula = f"{formula} {before - float(bias):.6g} + bias {bias:.6g}"
        if bare.activation is not None:
            formula = f"{bare.activation}({formula})"
        return replace(
            bare, kind="weighted", before=before, bias=None if bias is None else float(bias),
            formula=formula, parts=_beside(recorder, node, place), **terms,
        )  # fmt: skip
    if isinstance(layer, MaxPool2D):
        won = tuple(places[weights.argmax()].tolist())
        return replace(
            bare, kind="winner", winner=won, before=float(values.max()),
            formula=f"the largest of {len(values)} numbers, at {list(won)}", **terms,
        )  # fmt: skip
    if not isinstance(layer, BatchNorm | Dropout | Flatten | Activation):
        return None
    value, at = float(values[0]), tuple(places[0].tolist())
    own = Part("x", value, at, node.source)
    if isinstance(layer, BatchNorm):
        return _normalized(layer, own, place[0], bare)
    if isinstance(layer, Activation):
        mixes = isinstance(layer, Softmax | LogSoftmax)
        all_of_it = [(k, *place[1:]) for k in range(len(x))] if mixes else [at]
        formula = f"{layer.word}(x), x = {value:.6g}"
        if isinstance(layer, Softmax):
            formula = f"exp(x) / sum of {len(x)} exp, x = {value:.6g}"
        parts = tuple(Part("x", float(x[each]), each, node.source) for each in all_of_it)
        return replace(bare, before=value, formula=formula, activation=layer.word, parts=parts)
    why = "the same number in a row" if isinstance(layer, Flatten) else "x, unchanged in use"
    return replace(bare, before=value, formula=f"{why}, x = {value:.6g}", parts=(own,))


def _added(done: Pass, node: Node, place: Place, bare: Sum) -> Sum:
    """The sum of a block: what its main path and its shortcut give."""
    main, shortcut = (
        Part(name, done.number(address, place), place, address)
        for name, address in zip(("main path", "shortcut"), node.adds, strict=True)
    )
    formula = f"{main.value:.6g} + {shortcut.value:.6g}"
    if bare.activation is not None:
        formula = f"{bare.activation}({formula})"
    parts = main, shortcut, *_beside(done.recorders[node.address], node, place)
    return replace(bare, before=main.value + shortcut.value, formula=formula, parts=parts)


def _normalized(layer: BatchNorm, x: Part, channel: int, bare: Sum) -> Sum:
    """The formula of batch normalization in use."""
    arrays = {
        "mean": layer.buffers["running_mean"], "variance": layer.buffers["running_var"],
        "weight": layer.parameters["weight"], "bias": layer.parameters["bias"],
    }  # fmt: skip
    mean, variance, weight, bias = (float(array[channel]) for array in arrays.values())
    parts = [Part(name, float(array[channel])) for name, array in arrays.items()]
    return replace(
        bare, before=(x.value - mean) / math.sqrt(variance + layer.epsilon) * weight + bias,
        formula=f"({x.value:.6g} - mean) / sqrt(variance + {layer.epsilon:g}) * weight + bias",
        parts=(x, *parts),
    )  # fmt: skip


def _beside(recorder: Recorder, node: Node, place: Place) -> tuple[Part, ...]:
    """What a softmax at the end of a layer divides by: the sums of all channels there."""
    if not isinstance(getattr(recorder.layer, "activation", None), Softmax | LogSoftmax):
        return ()
    z = before_activation(recorder)[..., 0]
    places = [(k, *place[1:]) for k in range(len(z))]
    return tuple(Part("before", float(z[each]), each, node.address) for each in places)


# --- whether a layer does what its class says ------------------------------------------------


def before_activation(recorder: Recorder) -> Array:
    """What a layer as written makes of its input where it goes without its activation."""
    bare = copy.copy(recorder.layer)
    vars(bare)["activation"] = Identity()
    made: Array = bare.forward(recorder.x, Context(False))[0]
    return made


def _checked(recorder: Recorder, place: Place, found: Sum) -> bool:
    """Whether a layer as written makes the number that the sum says, up to rounding."""
    if isinstance(recorder.layer, Activation):
        return True
    made = before_activation(recorder) if found.activation else recorder.y
    parts = [*found.products.tolist(), found.bias or 0.0, *(part.value for part in found.parts)]
    return agree(found.before, made[(*place, 0)], parts)


def agree(computed: float, made: Any, parts: Sequence[float]) -> bool:
    """Whether two sums of the same parts differ by no more than rounding can make."""
    scale = math.fsum(map(abs, parts))
    return bool(abs(computed - float(made)) <= scale * math.sqrt(np.finfo(made.dtype).eps))


def code_of(layer: Any, method: str) -> str:
    """The name of the code that a layer runs."""
    return f"{type(layer).__name__}.{method} as written"


def _word(activation: Any) -> str | None:
    """How a user names an activation; None for none."""
    return None if activation is None or isinstance(activation, Identity) else activation.word


def _strongest(recorder: Recorder, node: Node, place: Place) -> Iterator[Part]:
    """The inputs that a number depends on most, by its layer's own backward."""
    dy = np.zeros_like(recorder.y)
    dy[(*place, 0)] = 1
    dx = recorder.layer.backward(dy, recorder.cache)[0]
    if dx is not None:
        for k in largest(dx.ravel(), STRONGEST):
            if dx.ravel()[k]:
                at = tuple(map(int, np.unravel_index(k, dx.shape)[:-1]))
                yield Part("x", float(recorder.x[(*at, 0)]), at, node.source)
