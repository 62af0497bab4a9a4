"""The sum behind a gradient: of one number of a layer's output, and of one weight."""

from __future__ import annotations

import math
import textwrap
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from Filters import Conv2D
from glassbox.engine.layer import Activation
from glassbox.engine.losses import MSE, CrossEntropy
from glassbox.engine.more_layers import Softmax
from glassbox.errors import require_count, unknown_name
from glassbox.explain.nodes import (
    INPUT,
    Node,
    Off,
    Place,
    Which,
    class_number,
    find,
    nodes,
    one_image,
    place_in,
    place_inside,
)
from glassbox.explain.passes import Pass, Recorder, loss_pass
from glassbox.explain.sums import MOST, WIDTH, agree, code_of, limited, table
from glassbox.explain.taps import grid, outputs_of
from MLP import BatchNorm, Dense

Array = NDArray[Any]


@dataclass(frozen=True, eq=False)
class Back:
    """Where the gradient of one number of a layer's output came from.

    Attributes
    ----------
    layer, name : str
        The layer's address and name.
    place : tuple of int
        The place in its output.
    next : str
        The address of the layer that takes it; "" for the last layer.
    layers : array of str
        For each term the address of the layer in whose output its place lies: `next`, and behind a
        shortcut the block or its projection.
    places : array of int
        A row for each term: the place in that output.
    weights, gradients, products : array
        How much the number counts there, the gradient there behind the derivative of the
        activation, and the product of both, in float64.
    left_out, left_out_sum : int, float
        How many terms of small products were left out, and their sum.
    formula : str
        How the gradient came about, in a line.
    result : float
        The gradient, as the layers as written hand it back.
    """

    layer: str
    name: str
    place: Place
    next: str
    layers: Array
    places: Array
    weights: Array
    gradients: Array
    products: Array
    formula: str
    result: float
    left_out: int = 0
    left_out_sum: float = 0.0

    def as_text(self) -> str:
        """Give the sum as lines of 60 columns, of the terms the twelve largest."""
        lines = [f"d loss / d {self.name} {list(self.place)} = {self.result:.6g}"]
        lines += textwrap.wrap(self.formula, WIDTH, initial_indent="= ", subsequent_indent="  ")
        if len(self.places):
            head = f"place in {' and '.join(dict.fromkeys(self.layers.tolist()))}"
            lines += table(
                head, self.places, self.left_out, self.left_out_sum, weight=self.weights,
                gradient=self.gradients, product=self.products,
            )  # fmt: skip
        return "\n".join(line[:WIDTH] for line in lines)


def back_behind(
    network: Any, image: Any, label: Any, layer: Which, place: Any, off: Off | None = None,
    scaled: bool = False, most: int = MOST,
) -> Back:  # fmt: skip
    """Give the sum that made the gradient of one number of a layer's output.

    d loss / d y[place] = sum over the numbers z that y[place] goes into of d loss / d z times its
    weight there; z are those of the next layer before its activation.  At the end of the network
    the loss says the gradient.  In inference mode, as `gradients_with`.

    Parameters
    ----------
    network : CNN
        A built network, which stays as it is.
    image : array
        One raw image.
    label : int or str
        The number or name of its class.
    layer : int or str
        An index, an address or a name; "input" for the scaled image.
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
    Back
        The terms, and the gradient that the layers as written hand back.

    Raises
    ------
    ValueError
        If the network is not built, or if there is no such class, layer, place or channel.

    Examples
    --------
    >>> from glassbox import CNN, Conv2D, Dense
    >>> network = CNN(Conv2D(2, 3), Conv2D(4, 3), Dense(2), seed=3).build((1, 9, 9))
    >>> found = back_behind(network, np.ones((1, 9, 9)), 1, "conv1", (1, 0, 4))
    >>> found.next, len(found.places), bool(np.isclose(found.products.sum(), found.result))
    ('1', 24, True)
    """
    require_count("most", most)
    done, _, dx = loss_pass(network, one_image(network, image, scaled), label, off)
    if layer == INPUT:
        address = name = INPUT
        where = place_inside(network.input_shape, place, "input: place")
        result = dx[(0, *where)]
    else:
        node = find(done.nodes, layer)
        address, name, where = node.address, node.name, place_in(node, place)
        result = done.recorders[address].dy[(*where, 0)]
    takers = [node for node in done.nodes if address in (node.adds or (node.source,))]
    columns = _terms(done, takers, where)
    formula = f"sum of {len(columns['products'])} products"
    if not takers:
        formula = _of_loss(done, class_number(network, label), where, result)
    elif not agree(math.fsum(columns["products"].tolist()), result, columns["products"].tolist()):
        columns = {key: column[:0] for key, column in columns.items()}
        formula = code_of(takers[0].layer, "backward")
    return Back(
        address, name, where, takers[0].address if takers else "", formula=formula,
        result=float(result), **limited(most, **columns),
    )  # fmt: skip


def _terms(done: Pass, takers: list[Node], place: Place) -> dict[str, Array]:
    """The numbers that one goes into, in all layers that take it."""
    axes = len(takers[0].layer.output_shape) if takers else 0
    found = [[np.array([], str)], [np.empty((0, axes), int)], [np.empty(0)], [np.empty(0)]]
    for node in takers:
        recorder = done.recorders[node.address]
        places, weights = outputs_of(node.layer, place, recorder.x[..., 0])
        gradients = behind_activation(recorder)[tuple(places.T)].astype(np.float64)
        own = (np.full(len(places), node.address), places, weights, gradients)
        for column, part in zip(found, own, strict=True):
            column.append(part)
    layers, places, weights, gradients = map(np.concatenate, found)
    return {
        "layers": layers, "places": places, "weights": weights, "gradients": gradients,
        "products": weights * gradients,
    }  # fmt: skip


def behind_activation(recorder: Recorder) -> Array:
    """The gradient of a layer's numbers before its activation, for the first image."""
    dy, layer = recorder.arrived(), recorder.layer
    carried = layer if isinstance(layer, Activation) else getattr(layer, "activation", None)
    dz: Array = dy if carried is None else carried.gradient(dy, recorder.y)
    return dz[..., 0]


def _of_loss(done: Pass, label: int, place: Place, made: Any) -> str:
    """The gradient of the loss in a line."""
    loss, outputs = done.network.loss, done.recorders[done.last].out.astype(np.float64)
    target = float(loss.targets(np.array([label]), len(outputs), np.float64)[(*place, 0)])
    if isinstance(loss, MSE):
        y = float(outputs[(*place, 0)])
        claimed = 2 * (y - target) / len(outputs)
        formula = f"2 (y - t) / outputs = 2 ({y:.6g} - {target:.6g}) / {len(outputs)}"
    elif isinstance(loss, CrossEntropy):
        p = float(Softmax().apply(outputs)[(*place, 0)])
        claimed, formula = p - target, f"softmax(y) - t = {p:.6g} - {target:.6g}"
    else:
        return code_of(loss, "backward")
    return formula if agree(claimed, made, [1.0]) else code_of(loss, "backward")


# --- of a weight -----------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class WeightGradient:
    """Where the gradient of one weight came from.

    Attributes
    ----------
    layer, name : str
        The layer's address and name.
    parameter : str
        Which of its arrays.
    index : tuple of int
        The place in it.
    value : float
        The number itself.
    gradient : float
        Its gradient, as the layer as written gives it; without the L2 penalty.
    outputs : array of int
        A row for each term: a place in the layer's output that the weight counts for.
    gradients : array
        The gradient there, behind the derivative of the activation.
    inputs : array of int
        The place in the layer's input that the weight meets for that output; without columns for a
        bias, which meets none.
    values : array
        The number there; 1 for a bias.
    products : array
        gradient x value of each term, in float64.
    left_out, left_out_sum : int, float
        How many terms of small products were left out, and their sum.
    formula : str
        How the gradient came about, in a line.
    """

    layer: str
    name: str
    parameter: str
    index: Place
    value: float
    gradient: float
    outputs: Array
    gradients: Array
    inputs: Array
    values: Array
    products: Array
    formula: str
    left_out: int = 0
    left_out_sum: float = 0.0

    def as_text(self) -> str:
        """Give the sum as lines of 60 columns, of the terms the twelve largest."""
        what = f"{self.name} {self.parameter} {list(self.index)}"
        lines = [f"{what} = {self.value:.6g}", f"d loss / d {self.parameter} = {self.gradient:.6g}"]
        lines += textwrap.wrap(self.formula, WIDTH, initial_indent="= ", subsequent_indent="  ")
        if len(self.outputs):
            lines += table(
                "output place", self.outputs, self.left_out, self.left_out_sum,
                gradient=self.gradients, value=self.values, product=self.products,
            )  # fmt: skip
        return "\n".join(line[:WIDTH] for line in lines)


def gradient_behind(
    network: Any, image: Any, label: Any, layer: Which, parameter: str, index: Any,
    off: Off | None = None, scaled: bool = False, most: int = MOST,
) -> WeightGradient:  # fmt: skip
    """Give the sum that made the gradient of one weight.

    d loss / d w = sum over the places where w is used of d loss / d z times the number that it
    meets there, z the layer's numbers before its activation.  In inference mode and without the L2
    penalty, as `gradients_with`.

    Parameters
    ----------
    network : CNN
        A built network, which stays as it is.
    image : array
        One raw image.
    label : int or str
        The number or name of its class.
    layer : int or str
        An index, an address or a name.
    parameter : str
        "weight" or "bias", or what the layer has.
    index : tuple of int
        The place in that array: (filter, channel, row, column) of a convolution.
    off : dict, optional
        {index, address or name of a layer: channels or units}: set to 0 behind its activation.
    scaled : bool, default False
        The image is floats that are scaled already.
    most : int, default 4000
        How many terms are kept, the largest by |product|, in order of place.

    Returns
    -------
    WeightGradient
        The terms, and the gradient that the layer as written gives.

    Raises
    ------
    ValueError
        If the network is not built, or if there is no such class, layer, parameter or index.

    Examples
    --------
    >>> from glassbox import CNN, Conv2D, Dense
    >>> network = CNN(Conv2D(2, 3), Dense(2), seed=3).build((1, 9, 9))
    >>> found = gradient_behind(network, np.ones((1, 9, 9)), 1, "conv1", "weight", (1, 0, 0, 0))
    >>> len(found.products), bool(np.isclose(found.products.sum(), found.gradient))
    (64, True)
    """
    require_count("most", most)
    source = one_image(network, image, scaled)
    known = nodes(network)
    node = find(known, layer)
    if node.adds:
        inner = [each.name for each in known if each.address.startswith(f"{node.address}.")]
        raise ValueError(f"{node.name} is a block; name one of its layers: {', '.join(inner)}")
    if parameter not in node.layer.parameters:
        raise unknown_name(f"parameter of {node.name}", parameter, node.layer.parameters)
    array = node.layer.parameters[parameter]
    where = place_inside(array.shape, index, f"{node.name}: {parameter}: index")
    recorder = loss_pass(network, source, label, off)[0].recorders[node.address]
    gradient = recorder.gradients[parameter][where]
    columns = _uses(recorder, parameter, where)
    products = columns["products"].tolist()
    formula = f"sum of {len(products)} products"
    if not agree(math.fsum(products), gradient, products):
        columns = {key: column[:0] for key, column in columns.items()}
        formula = code_of(node.layer, "backward")
    return WeightGradient(
        node.address, node.name, parameter, where, float(array[where]), float(gradient),
        formula=formula, **limited(most, **columns),
    )  # fmt: skip


def _uses(recorder: Recorder, parameter: str, index: Place) -> dict[str, Array]:
    """Every place where a weight is used: the output there, and the input that it meets."""
    layer, x, dz = recorder.layer, recorder.x[..., 0], behind_activation(recorder)
    outputs, inputs = grid(index[:1], *map(range, dz.shape[1:])), np.empty((0, 0), int)
    if not isinstance(layer, Conv2D | Dense | BatchNorm):
        outputs = outputs[:0]
    elif parameter == "bias":
        inputs = np.empty((len(outputs), 0), int)
    elif isinstance(layer, Conv2D):
        rows, columns = (
            np.arange(layer.window.output[axis]) * layer.window.stride[axis]
            - layer.window.padding[2 * axis]
            + index[2 + axis] * layer.window.dilation[axis]
            for axis in (0, 1)
        )
        inputs = grid(index[1:2], rows, columns)
        met = ((inputs[:, 1:] >= 0) & (inputs[:, 1:] < x.shape[1:])).all(axis=1)
        outputs, inputs = outputs[met], inputs[met]
    elif isinstance(layer, Dense):
        inputs = np.array([np.unravel_index(index[1], x.shape)])
    else:
        inputs = outputs
    values = x[tuple(inputs.T)].astype(np.float64) if inputs.size else np.ones(len(outputs))
    if isinstance(layer, BatchNorm) and parameter == "weight":
        mean, variance = (layer.buffers[f"running_{name}"][index] for name in ("mean", "var"))
        values = (values - mean) / math.sqrt(variance + layer.epsilon)
    gradients = dz[tuple(outputs.T)].astype(np.float64)
    return {
        "outputs": outputs, "gradients": gradients, "inputs": inputs, "values": values,
        "products": gradients * values,
    }  # fmt: skip
