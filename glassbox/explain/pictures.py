"""What in an image a class score, or a filter, depends on; and images made to change it.

The score of a class is the last layer's number before its softmax or sigmoid: behind these, a score
can rise because others fall, and a saturated one has no gradient (Simonyan et al. 2013).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from glassbox.data.dataset import Dataset, Scaling
from glassbox.data.suspicions import OWN
from glassbox.errors import as_float, require_count, require_positive, short
from glassbox.explain.nodes import (
    Node,
    Place,
    Which,
    as_images,
    class_number,
    class_numbers,
    find,
    nodes,
    one_image,
    place_inside,
)
from glassbox.explain.passes import AT_ONCE, Pass, loss_pass, run
from glassbox.kernels.shapes import Pair, pair

Array = NDArray[Any]


def input_gradient(
    network: Any, images: Any, labels: Any, raw: bool = False, scaled: bool = False
) -> Array:
    """Give how the score of a class changes with every number of the images, with its sign.

    d score / d x, the score before softmax or sigmoid, x the scaled image.  Source: Simonyan,
    Vedaldi and Zisserman 2013, "Deep inside convolutional networks".

    Parameters
    ----------
    network : CNN
        A built network, which stays as it is.
    images : array or Dataset
        Raw images, or a single one.
    labels : int, str or sequence
        The number or name of the class, for each image or for all; not necessarily the right one.
    raw : bool, default False
        Give d score / d pixel instead: the chain goes on through the scaling.
    scaled : bool, default False
        The images are floats that are scaled already.

    Returns
    -------
    array
        (samples, channels, height, width).

    Raises
    ------
    ValueError
        If the network is not built, or if there is no such class.

    Examples
    --------
    >>> from glassbox import CNN, Dense
    >>> network = CNN(Dense(3)).build((1, 2, 2))
    >>> gradient = input_gradient(network, np.ones((1, 2, 2)), 1)
    >>> bool((gradient.ravel() == network.layers[0].parameters["weight"][1]).all())
    True
    """
    source = as_images(network, images, scaled)
    numbers = class_numbers(network, labels, len(source))
    done = run(network, source, before_activation=True)
    dx = done.backward(done.last, _one_each(done, numbers))
    return _to_pixels(source.scaling, source.images, dx) if raw else dx


def _one_each(done: Pass, numbers: Array) -> Array:
    """The gradient of each image's score of its class."""
    return np.eye(done.network.output_shape[0])[numbers]


def _to_pixels(scaling: Scaling, images: Array, dx: Array) -> Array:
    """The gradient of raw pixels from that of scaled ones."""
    constants = scaling.constants(images.shape[1], dx.dtype)
    if constants is not None:
        _, span, _, deviation = constants
        return np.asarray(dx / (span * deviation[:, None, None]))
    pixels = images.reshape(len(images), -1).astype(np.float64)
    rows, x = dx.reshape(pixels.shape), scaling.apply(images, np.float64).reshape(pixels.shape)
    if scaling.name == "per-image":
        deviation = pixels.std(axis=1, keepdims=True)
        rows = rows - rows.mean(axis=1, keepdims=True) - x * (rows * x).mean(axis=1, keepdims=True)
        rows /= np.where(deviation > 0, deviation, 1)
    else:  # min-max: the smallest and the largest pixel move all others
        spread = np.ptp(pixels, axis=1, keepdims=True)
        moved = np.arange(len(rows))
        at_ends = (rows * (1 - x)).sum(axis=1), (rows * x).sum(axis=1)
        rows = rows.astype(np.float64)
        rows[moved, pixels.argmin(axis=1)] -= at_ends[0]
        rows[moved, pixels.argmax(axis=1)] -= at_ends[1]
        rows /= np.where(spread > 0, spread, 1)
    return rows.reshape(dx.shape).astype(dx.dtype)


def saliency(network: Any, images: Any, labels: Any, scaled: bool = False) -> Array:
    """Give how much the score of a class depends on each pixel, whatever the sign.

    max over c of |d score / d x[c, i, j]|, the score before softmax or sigmoid.  Source: Simonyan,
    Vedaldi and Zisserman 2013, "Deep inside convolutional networks".

    Parameters
    ----------
    network : CNN
        A built network, which stays as it is.
    images : array or Dataset
        Raw images, or a single one.
    labels : int, str or sequence
        The number or name of the class, for each image or for all.
    scaled : bool, default False
        The images are floats that are scaled already.

    Returns
    -------
    array
        (samples, height, width) numbers of 0 or more.

    See Also
    --------
    input_gradient : the same with signs, for each channel.

    Examples
    --------
    >>> from glassbox import CNN, Conv2D, Dense
    >>> network = CNN(Conv2D(2), Dense(3)).build((3, 6, 6))
    >>> saliency(network, np.ones((3, 6, 6)), 1).shape
    (1, 6, 6)
    """
    return np.asarray(np.abs(input_gradient(network, images, labels, False, scaled)).max(axis=1))


def occlusion(
    network: Any, image: Any, label: Any, patch: int | Pair = 4, stride: int | Pair = 2,
    fill: float | None = None, scaled: bool = False,
) -> Array:  # fmt: skip
    """Give how much the score of a class falls where a patch covers the image.

    map[i, j] = score - mean of the scores over all patches that cover pixel (i, j); below 0 where
    covering helps.  The score is the number before softmax or sigmoid.  Source: Zeiler and Fergus
    2014, "Visualizing and understanding convolutional networks".

    Parameters
    ----------
    network : CNN
        A built network, which stays as it is.
    image : array
        One raw image.
    label : int or str
        The number or name of the class.
    patch : int or pair, default 4
        Height and width of the patch in pixels.
    stride : int or pair, default 2
        How far it moves; one more patch ends at the border.  At most the patch, so that each pixel
        is covered.
    fill : float, optional
        The pixel value of the patch; by default each channel's mean of this image.
    scaled : bool, default False
        The image is floats that are scaled already.

    Returns
    -------
    array
        (height, width).

    Raises
    ------
    ValueError
        If the network is not built, there is no such class, or the patch does not fit.

    Examples
    --------
    >>> from glassbox import CNN, Dense
    >>> network = CNN(Dense(3)).build((1, 6, 6))
    >>> occlusion(network, np.zeros((1, 6, 6)), 1).any()  # nothing was there to cover
    np.False_
    """
    source, number = one_image(network, image, scaled), class_number(network, label)
    size, step = pair("patch", patch), pair("stride", stride)
    height, width = source.shape[1:]
    if size[0] > height or size[1] > width:
        raise ValueError(f"patch: expected at most {height} x {width} pixels, got {size}")
    if step[0] > size[0] or step[1] > size[1]:
        raise ValueError(f"stride: expected at most the patch {size}, got {step}")
    places = [
        (top, left)
        for top in _starts(height, size[0], step[0])
        for left in _starts(width, size[1], step[1])
    ]
    value = _fill(source.images[0], fill)
    before = _scores(network, source)[0, number]
    total, count = np.zeros((height, width)), np.zeros((height, width))
    for start in range(0, len(places), AT_ONCE):
        part = places[start : start + AT_ONCE]
        covered = np.repeat(source.images, len(part), axis=0)
        for copy, (top, left) in zip(covered, part, strict=True):
            copy[:, top : top + size[0], left : left + size[1]] = value
        batch = Dataset(covered, np.zeros(len(part), int), source.classes, source.scaling)
        drops = before - _scores(network, batch)[:, number]
        for drop, (top, left) in zip(drops, part, strict=True):
            total[top : top + size[0], left : left + size[1]] += drop
            count[top : top + size[0], left : left + size[1]] += 1
    return (total / count).astype(network.dtype)


def _starts(length: int, patch: int, stride: int) -> list[int]:
    return sorted({*range(0, length - patch + 1, stride), length - patch})


def _fill(image: Array, fill: float | None) -> Array:
    """The value of a patch for each channel, as the image's pixels are."""
    value = np.float64(image.mean(axis=(1, 2)) if fill is None else as_float("fill", fill))
    if image.dtype == np.uint8:
        value = np.rint(value)
        if np.min(value) < 0 or np.max(value) > 255:
            raise ValueError(f"fill: expected a pixel value of 0..255, got {short(fill)}")
    return np.broadcast_to(value.astype(image.dtype), len(image))[:, None, None]


def _scores(network: Any, source: Any) -> Array:
    """The scores before softmax or sigmoid: (samples, classes)."""
    done = run(network, source, before_activation=True)
    return done.output(done.last).astype(np.float64)


@dataclass(frozen=True, eq=False)
class ClassMap:
    """Where a layer speaks for a class.

    Attributes
    ----------
    layer, name : str
        The address and the name of the layer that was taken.
    map : array
        (height, width) of that layer's output: above 0 what speaks for the class, below 0 what
        speaks against it.
    normalized : array
        The part above 0, divided by its largest number; all 0 where nothing speaks for the class.
    weights : array
        How much each channel counts.
    """

    layer: str
    name: str
    map: Array
    normalized: Array
    weights: Array


def grad_cam(
    network: Any, image: Any, label: Any, layer: Which | None = None, scaled: bool = False
) -> ClassMap:
    """Give where in the image a layer speaks for a class.

    map[i, j] = sum over channels k of w[k] A[k, i, j], with w[k] the mean over i, j of
    d score / d A[k, i, j]; A is the layer's output, the score that before softmax or sigmoid.
    The paper keeps what is above 0 (`normalized`); the map has both signs.  Source: Selvaraju et
    al. 2017, "Grad-CAM".

    Parameters
    ----------
    network : CNN
        A built network, which stays as it is.
    image : array
        One raw image.
    label : int or str
        The number or name of the class.
    layer : int or str, optional
        An index, an address or a name; by default the last layer with more than one pixel.
    scaled : bool, default False
        The image is floats that are scaled already.

    Returns
    -------
    ClassMap
        The map, and which layer it is of.

    Raises
    ------
    ValueError
        If the network is not built, if there is no such class or layer, or if the layer's output
        has no height and width.

    Examples
    --------
    >>> from glassbox import CNN, Conv2D, Dense, MaxPool2D
    >>> network = CNN(Conv2D(2), MaxPool2D(2), Dense(3)).build((1, 6, 6))
    >>> found = grad_cam(network, np.ones((1, 6, 6)), 1)
    >>> found.name, found.map.shape
    ('pool1', (3, 3))
    """
    source, number = one_image(network, image, scaled), class_number(network, label)
    done = run(network, source, before_activation=True)
    node = _with_pixels(done.nodes) if layer is None else find(done.nodes, layer)
    if len(node.layer.output_shape) != 3:
        raise ValueError(
            f"layer: {node.name} gives {node.layer.output_shape}, expected one with channels, "
            "height and width, such as a Conv2D"
        )
    done.backward(done.last, _one_each(done, np.array([number])))
    recorder = done.recorders[node.address]
    weights = recorder.arrived()[..., 0].mean(axis=(1, 2))
    signed = np.tensordot(weights, recorder.out[..., 0], axes=1)
    above = np.maximum(signed, 0)
    return ClassMap(
        node.address, node.name, signed, above / above.max() if above.any() else above, weights
    )


def _with_pixels(known: list[Node]) -> Node:
    """The last layer with more than one pixel."""
    for node in reversed(known):
        shape = node.layer.output_shape
        if len(shape) == 3 and shape[1] * shape[2] > 1:
            return node
    raise ValueError(
        "layer: no layer of this network gives more than one pixel; grad_cam needs one"
    )


# --- filters ---------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Exciting:
    """The images of a data set on which a filter answers most, the strongest first.

    Attributes
    ----------
    layer, name : str
        The layer's address and name.
    indices : array of int
        Which images of the data set.
    values : array
        The filter's largest number on each.
    places : list of tuple of int
        Where in the layer's output that is: (filter, row, column), or (unit,).
    """

    layer: str
    name: str
    indices: NDArray[np.intp]
    values: Array
    places: list[Place]


def most_exciting(
    network: Any, layer: Which, filter: int, data: Any, count: int = 9, scaled: bool = False
) -> Exciting:
    """Find the images of a data set on which a filter's largest number is largest.

    `receptive_field` tells which part of such an image the filter saw.  Source: Zeiler and Fergus
    2014, "Visualizing and understanding convolutional networks".

    Parameters
    ----------
    network : CNN
        A built network, which stays as it is.
    layer : int or str
        An index, an address or a name.
    filter : int
        Which channel or unit of its output.
    data : Dataset or array
        Images; raw ones, if they are an array.
    count : int, default 9
        How many to give at most.
    scaled : bool, default False
        The images are floats that are scaled already.

    Returns
    -------
    Exciting
        The images, the strongest first, and where the filter answers.

    Raises
    ------
    ValueError
        If the network is not built, or if there is no such layer or filter.

    Examples
    --------
    >>> from glassbox import CNN, Conv2D, Dense, Digits
    >>> network = CNN(Conv2D(2), Dense(10), seed=1).build((1, 8, 8))
    >>> found = most_exciting(network, "conv1", 0, Digits().test, count=3)
    >>> found.indices.shape, bool(found.values[0] >= found.values[-1])
    ((3,), True)
    """
    require_count("count", count)
    source = as_images(network, data, scaled)
    node, channel = _filter(network, layer, filter)
    values, flat = [], []
    for start in range(0, len(source), AT_ONCE):
        part = np.arange(start, min(start + AT_ONCE, len(source)))
        done = Pass(network, source.batch(part, network.dtype)[0], until=node.address)
        made = done.output(node.address)[:, channel].reshape(len(part), -1)
        values.append(made.max(axis=1))
        flat.append(made.argmax(axis=1))
    strongest, where = np.concatenate(values), np.concatenate(flat)
    best = np.argsort(-strongest, kind="stable")[:count]
    shape = node.layer.output_shape[1:]
    places = [(channel, *map(int, np.unravel_index(where[k], shape))) for k in best]
    return Exciting(node.address, node.name, best, strongest[best], places)


def _filter(network: Any, layer: Which, filter: Any) -> tuple[Node, int]:
    node = find(nodes(network), layer)
    return node, place_inside(node.layer.output_shape[:1], filter, f"{node.name}: filter")[0]


@dataclass(frozen=True, eq=False)
class Maximal:
    """An image made to excite a filter.

    Attributes
    ----------
    image : array
        (channels, height, width) raw pixels, floats.
    values : tuple of float
        The filter's mean number before each step, and on the image.
    """

    image: Array
    values: tuple[float, ...]


def maximal_activation(
    network: Any, layer: Which, filter: int, steps: int = 50, rate: float = 0.05, seed: int = 0
) -> Maximal:
    """Make an image on which a filter's mean number is large, by steps along its gradient.

    p <- clip(p + rate (high - low) g / rms(g)), with g = d mean / d p and p the raw pixels, from
    grey with a little noise on.  The same seed gives the same image.  Source: Erhan, Bengio,
    Courville and Vincent 2009, "Visualizing higher-layer features of a deep network".

    Parameters
    ----------
    network : CNN
        A built network, which stays as it is.
    layer : int or str
        An index, an address or a name.
    filter : int
        Which channel or unit of its output.
    steps : int, default 50
        How many steps.
    rate : float, default 0.05
        How far a step goes, as a share of the range of pixels.
    seed : int, default 0
        Of the noise.

    Returns
    -------
    Maximal
        The image, and how the filter's number rose.

    Raises
    ------
    ValueError
        If the network is not built, or if there is no such layer or filter.

    Examples
    --------
    >>> from glassbox import CNN, Conv2D, Dense
    >>> network = CNN(Conv2D(2), Dense(3), seed=1).build((1, 8, 8))
    >>> found = maximal_activation(network, "conv1", 1, steps=10)
    >>> found.image.shape, found.values[-1] > found.values[0]
    ((1, 8, 8), True)
    """
    require_count("steps", steps)
    require_positive("rate", rate)
    require_count("seed", seed, least=0)
    node, channel = _filter(network, layer, filter)
    scaling = network.scaling or Scaling("none", 0.0, 1.0)
    low, span = scaling.low, scaling.high - scaling.low
    noise = np.random.default_rng(seed).uniform(0.45, 0.55, (1, *network.input_shape))
    image, values = (low + span * noise).astype(np.float32), []
    for step in range(steps + 1):
        done = Pass(network, scaling.apply(image, network.dtype), until=node.address)
        values.append(float(done.output(node.address)[0, channel].mean()))
        if step == steps:
            break
        dy = np.zeros((1, *node.layer.output_shape))
        dy[0, channel] = 1 / dy[0, channel].size
        gradient = _to_pixels(scaling, image, done.backward(node.address, dy))
        length = np.sqrt(np.square(gradient, dtype=np.float64).mean()) or 1.0
        moved = image + rate * span * gradient / length
        image = np.clip(moved, low, low + span).astype(np.float32)
    return Maximal(image[0], tuple(values))


# --- adversarial images ----------------------------------------------------------------------


def fgsm(network: Any, image: Any, label: Any, epsilon: float, scaled: bool = False) -> Array:
    """Move every pixel by epsilon in the direction that raises the loss.

    The fast gradient sign method: p + epsilon sign(d loss / d p), clipped to the range of pixels.
    That is 0..255 for bytes, else that of the network's scaling, or of the image itself where the
    scaling knows none.  Source: Goodfellow, Shlens and Szegedy 2015, "Explaining and harnessing
    adversarial examples".

    Parameters
    ----------
    network : CNN
        A built network, which stays as it is.
    image : array
        One raw image.
    label : int or str
        The number or name of its right class.
    epsilon : float
        How far pixels move, in raw units; a whole number for bytes.
    scaled : bool, default False
        The image is floats that are scaled already, and so is epsilon.

    Returns
    -------
    array
        (channels, height, width) pixels of the same kind.

    Raises
    ------
    ValueError
        If the network is not built, there is no such class, or epsilon is below 0 or not whole.

    Examples
    --------
    >>> from glassbox import CNN, Dense
    >>> network = CNN(Dense(3), seed=1).build((1, 6, 6))
    >>> image = np.full((1, 6, 6), 128, np.uint8)
    >>> moved = fgsm(network, image, 2, 8)
    >>> moved.dtype, sorted(set(moved.ravel().tolist()))
    (dtype('uint8'), [120, 136])
    """
    require_positive("epsilon", epsilon, zero=True)
    source = one_image(network, image, scaled)
    pixels = source.images
    if pixels.dtype == np.uint8 and epsilon != int(epsilon):
        raise ValueError(
            f"epsilon: expected a whole number for an image of bytes, got {epsilon}; give floats "
            "for finer steps"
        )
    dx = loss_pass(network, source, label)[2]
    moved = pixels + epsilon * np.sign(_to_pixels(source.scaling, pixels, dx)).astype(np.float64)
    return np.clip(moved, *_range(source)).astype(pixels.dtype)[0]


def _range(source: Any) -> tuple[float, float]:
    """The smallest and the largest pixel that an image may have."""
    if source.images.dtype == np.uint8:
        return 0.0, 255.0
    low, high = float(source.images.min()), float(source.images.max())
    if source.scaling.name in OWN:
        return low, high
    return min(low, source.scaling.low), max(high, source.scaling.high)
