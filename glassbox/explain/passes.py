"""One pass through a network, of which everything is kept: each layer's output and gradient.

The layers run as written, in inference mode, and so do blocks: the layers of their copies note
what goes through.  The network itself is never changed.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from glassbox.data import given
from glassbox.engine.context import Context
from glassbox.engine.evaluation import check_labels, probabilities
from glassbox.engine.layer import Activation, Gradients
from glassbox.engine.more_layers import Identity
from glassbox.engine.step import forward, to_batch_first, to_batch_last
from glassbox.errors import require_count
from glassbox.explain.nodes import (
    INPUT,
    Node,
    Off,
    Place,
    as_images,
    class_numbers,
    nodes,
    switched_off,
)

Array = NDArray[Any]
AT_ONCE = 128  # images of a pass of which everything is kept


class Recorder:
    """A layer as it is, which notes what goes through it and can switch channels off.

    Attributes are batch-last: `x` and `y` its input and output, `out` the output with channels
    switched off, `dy` the gradient of that, `gradients` those of its parameters.
    """

    x: Array
    y: Array
    out: Array
    cache: Any
    dy: Array
    gradients: Gradients

    def __init__(self, node: Node, off: Array) -> None:
        self.name, self.parameters, self.off = node.layer.name, node.layer.parameters, off
        self.layer: Any = copy.copy(node.layer)
        vars(self.layer)["needs_input_gradient"] = True  # that of the first layer, too

    def forward(self, x: Array, context: Context) -> tuple[Array, Any]:
        """The layer's own, with channels set to 0."""
        self.x = x
        self.y, self.cache = self.layer.forward(x, context)
        self.out = self._without(self.y)
        return self.out, self.cache

    def backward(self, dy: Array, cache: Any) -> tuple[Array | None, Gradients]:
        """The layer's own; nothing goes back through what was set to 0."""
        self.dy = dy
        dx, self.gradients = self.layer.backward(self.arrived(), cache)
        return dx, self.gradients

    def arrived(self) -> Array:
        """The gradient of the layer's own output, with 0 for the channels that are off."""
        return self._without(self.dy)

    def _without(self, array: Array) -> Array:
        if self.off.size:
            array = array.copy()
            array[self.off] = 0
        return array


class Pass:
    """Scaled images on their way through a network.

    Parameters
    ----------
    network : CNN
        A built network.
    x : array
        (samples, channels, height, width), as the first layer takes them.
    off : mapping, optional
        The channels or units to set to 0, by layer.
    before_activation : bool, default False
        Whether the last layer goes without its activation.
    until : str, optional
        The address of the last layer that is needed.
    """

    def __init__(
        self, network: Any, x: Array, off: Off | None = None, before_activation: bool = False,
        until: str = "",
    ) -> None:  # fmt: skip
        self.network, self.nodes = network, nodes(network)
        self.by_address = {node.address: node for node in self.nodes}
        self.recorders: dict[str, Recorder] = {}
        zeros, none = switched_off(self.nodes, off), np.array([], np.intp)
        for node in self.nodes:
            recorder = Recorder(node, zeros.get(node.address, none))
            if node.adds:
                inner = [f"{node.address}.{k}" for k in range(len(recorder.layer.layers))]
                vars(recorder.layer)["layers"] = [self.recorders[each] for each in inner]
                projected = self.recorders.get(f"{node.address}.shortcut")
                vars(recorder.layer)["shortcut"] = projected
            self.recorders[node.address] = recorder
        self.last = until.split(".")[0] or self.nodes[-1].address
        self.chain = [self.recorders[each] for each in reversed([*self.way_back(self.last)])]
        if before_activation and isinstance(self.chain[-1].layer, Activation):
            self.last = self.entry(self.last)
        elif before_activation and hasattr(self.chain[-1].layer, "activation"):
            vars(self.chain[-1].layer)["activation"] = Identity()
        self.input = to_batch_last(x)
        with network.workers.serial_blas():
            forward(self.chain, self.input, Context(False))

    def entry(self, address: str) -> str:
        """Give the address of what comes before a layer, or before a whole block."""
        while self.by_address[address].adds:
            address = f"{address}.0"
        return self.by_address[address].source

    def way_back(self, address: str) -> Iterator[str]:
        """Give the layers from one back to the image, blocks before it as a whole."""
        while address != INPUT:
            yield address
            address = self.entry(address)

    def output(self, address: str) -> Array:
        """Give what a layer puts out, samples first."""
        batch_last = self.input if address == INPUT else self.recorders[address].out
        return to_batch_first(batch_last)

    def number(self, address: str, place: Place) -> float:
        """Give one number of what a layer puts out for the first image."""
        batch_last = self.input if address == INPUT else self.recorders[address].out
        return float(batch_last[(*place, 0)])

    def backward(self, address: str, dy: Array) -> Array:
        """Take the gradient of a layer's output back to the image, and give that; samples first.

        What lies on the way keeps its own gradient.
        """
        dx = to_batch_last(np.asarray(dy, self.network.dtype))
        with self.network.workers.serial_blas():
            for each in self.way_back(address):
                recorder = self.recorders[each]
                before = recorder.backward(dx, recorder.cache)[0]
                if before is None:
                    label = recorder.layer.label
                    raise ValueError(
                        f"{label}: its backward gives no gradient for its input; let it return dx "
                        "where self.needs_input_gradient is true"
                    )
                dx = before
        return to_batch_first(dx)


@dataclass(frozen=True, eq=False)
class Activations:
    """What a network makes of images, layer by layer; samples come first.

    Attributes
    ----------
    input : array
        The scaled images.
    maps : dict of array
        Every layer's output by its address, in the order of `nodes`.
    scores, probabilities : array
        (samples, classes), as `CNN.scores` and `CNN.predict_proba` give them.
    """

    input: Array
    maps: dict[str, Array]
    scores: Array
    probabilities: Array


def activations_with(
    network: Any, images: Any, off: Off | None = None, scaled: bool = False
) -> Activations:
    """Give every layer's output, those inside blocks included, with some filters switched off.

    With nothing switched off the maps are those of `CNN.activations`, bit for bit.

    Parameters
    ----------
    network : CNN
        A built network, which stays as it is.
    images : array or Dataset
        Raw images, or a single one.
    off : dict, optional
        {index, address or name of a layer: channels or units}: set to 0 behind its activation.
    scaled : bool, default False
        The images are floats that are scaled already.

    Returns
    -------
    Activations
        Input, maps, scores and probabilities.

    Raises
    ------
    ValueError
        If the network is not built, or if there is no such layer or channel.

    Examples
    --------
    >>> from glassbox import CNN, Conv2D, Dense
    >>> network = CNN(Conv2D(2), Dense(3)).build((1, 6, 6))
    >>> found = activations_with(network, np.ones((1, 6, 6)), {"conv1": [1]})
    >>> found.maps["0"].shape, bool(found.maps["0"][0, 1].any())
    ((1, 2, 6, 6), False)
    """
    return _seen(run(network, as_images(network, images, scaled), off))


def run(network: Any, source: Any, off: Off | None = None, **how: Any) -> Pass:
    """Give the pass of all images of a Dataset."""
    return Pass(network, source.batch(np.arange(len(source)), network.dtype)[0], off, **how)


def _seen(done: Pass) -> Activations:
    network = done.network
    maps = {node.address: done.output(node.address) for node in done.nodes}
    scores = maps[done.last]
    if network.output_activation is not None:
        outputs = done.recorders[done.last].out.copy()
        scores = to_batch_first(network.output_activation.apply(outputs))
    last = network.output_activation or network.layers[-1]
    return Activations(done.output(INPUT), maps, scores, probabilities(scores, last))


@dataclass(frozen=True, eq=False)
class LossGradients:
    """How the loss changes with every number of a pass; samples come first.

    Attributes
    ----------
    loss : float
        The mean loss of the images, without the L2 penalty.
    maps : dict of array
        d loss / d output of every layer by its address, and of "input", the scaled images.
    parameters : dict
        {address: {parameter: gradient}}, without the L2 penalty.
    activations : Activations
        What the same pass made of the images on its way forward.
    """

    loss: float
    maps: dict[str, Array]
    parameters: dict[str, Gradients]
    activations: Activations


def gradients_with(
    network: Any, images: Any, labels: Any, off: Off | None = None, scaled: bool = False
) -> LossGradients:
    """Give the gradient of the loss for every layer's output, and for every parameter.

    In inference mode, where dropout passes everything on and batch normalization takes its running
    statistics: the same numbers at every call.

    Parameters
    ----------
    network : CNN
        A built network, which stays as it is.
    images : array or Dataset
        Raw images, or a single one.
    labels : int, str or sequence
        The number or name of the right class, for each image or for all.
    off : dict, optional
        {index, address or name of a layer: channels or units}: set to 0 behind its activation.
    scaled : bool, default False
        The images are floats that are scaled already.

    Returns
    -------
    LossGradients
        Loss, and its gradients.

    Raises
    ------
    ValueError
        If the network is not built, or if there is no such layer, channel or class.

    Examples
    --------
    >>> from glassbox import CNN, Conv2D, Dense
    >>> network = CNN(Conv2D(2), Dense(3)).build((1, 6, 6))
    >>> found = gradients_with(network, np.ones((1, 6, 6)), 2)
    >>> list(found.maps), found.parameters["1"]["bias"].shape
    (['input', '0', '1'], (3,))
    """
    done, loss, dx = loss_pass(network, as_images(network, images, scaled), labels, off)
    recorders = done.recorders.items()
    maps = {INPUT: dx} | {address: to_batch_first(each.dy) for address, each in recorders}
    own = {address: each.gradients for address, each in recorders if each.gradients}
    return LossGradients(loss, maps, own, _seen(done))


def loss_pass(
    network: Any, source: Any, labels: Any, off: Off | None = None
) -> tuple[Pass, float, Array]:
    """Give a pass forward and backward, its mean loss, and the gradient of the scaled images."""
    numbers = class_numbers(network, labels, len(source))
    done = run(network, source, off)
    losses, cache = network.loss.forward(done.recorders[done.last].out, numbers)
    dy = network.loss.backward(cache, len(source))
    return done, float(losses.mean(dtype=np.float64)), done.backward(done.last, to_batch_first(dy))


# --- answers without some filters ------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Accuracies:
    """How a network answers without some of its filters.

    Attributes
    ----------
    accuracy, before : float
        The share of right answers without these filters, and with all.
    images : int
        How many were asked.
    changed : array of int
        The images whose answer is another one.
    """

    accuracy: float
    before: float
    images: int
    changed: NDArray[np.intp]


def predict_with(
    network: Any, images: Any, off: Off | None = None, batch_size: int = AT_ONCE,
    scaled: bool = False,
) -> NDArray[np.intp]:  # fmt: skip
    """Give the most likely class of each image with some filters switched off.

    Parameters
    ----------
    network : CNN
        A built network, which stays as it is.
    images : array or Dataset
        Raw images.
    off : dict, optional
        {index, address or name of a layer: channels or units}: set to 0 behind its activation.
    batch_size : int, default 128
        How many images are computed at once.
    scaled : bool, default False
        The images are floats that are scaled already.

    Returns
    -------
    array of int
        (samples,) classes.

    Examples
    --------
    >>> from glassbox import CNN, Dense, Digits
    >>> data = Digits()
    >>> network = CNN(Dense(10)).build(data.shape)
    >>> predict_with(network, data.test, {0: range(10)}).max()  # all scores are 0
    np.int64(0)
    """
    source = as_images(network, images, scaled)
    require_count("batch_size", batch_size)
    answers = []
    for start in range(0, len(source), batch_size):
        places = np.arange(start, min(start + batch_size, len(source)))
        done = Pass(network, source.batch(places, network.dtype)[0], off)
        answers.append(done.recorders[done.last].out.argmax(axis=0))
    return np.concatenate(answers)


def accuracy_without(network: Any, data: Any, off: Off) -> Accuracies:
    """Tell how many answers are right with some filters switched off, and which answers change.

    Parameters
    ----------
    network : CNN
        A built network, which stays as it is.
    data : Dataset or pair
        Images with labels; weights of a data set count.
    off : dict
        {index, address or name of a layer: channels or units}: set to 0 behind its activation.

    Returns
    -------
    Accuracies
        The share of right answers without the filters and with them, and the images whose answer
        changed.

    Examples
    --------
    >>> from glassbox import CNN, Dense, Digits
    >>> data = Digits()
    >>> network = CNN(Dense(10), seed=1)
    >>> history = network.fit(data.train, epochs=9, progress=False)
    >>> found = accuracy_without(network, data.test, {"dense1": [0]})
    >>> found.before > found.accuracy, found.images
    (True, 270)
    """
    source = given.as_dataset(data, network)
    check_labels(source, network.build(source.shape).output_shape)
    without, before = predict_with(network, source, off), predict_with(network, source)
    accuracy, usual = (
        float(np.average(answers == source.labels, weights=source.weights))
        for answers in (without, before)
    )
    return Accuracies(accuracy, usual, len(source), np.flatnonzero(without != before))
