"""Which numbers of a layer's input meet one of its output, and the other way round.

Both directions give (places, weights): an array of places, one a row, and how much each counts.
Where the layers add up, y = sum of weight x (+ bias).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from Filters import AvgPool2D, Conv2D, GlobalAvgPool2D, MaxPool2D, Residual
from glassbox.engine.layer import Activation
from glassbox.explain.nodes import Place
from glassbox.kernels.shapes import Shape
from MLP import BatchNorm, Dense, Dropout, Flatten

Array = NDArray[Any]
ONE_BY_ONE = (Residual, BatchNorm, Dropout, Activation)  # y[place] comes from x[place]


def grid(*axes: Any) -> Array:
    """Give all places of these channels, rows and columns, one a row, the last axis first.

    Examples
    --------
    >>> grid([2], [0, 1]).tolist()
    [[2, 0], [2, 1]]
    """
    return np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, len(axes))


def inputs_of(layer: Any, place: Place, x: Array) -> tuple[Array, Array]:
    """Give the numbers of the input x, without samples, that one of the output is made of.

    For max pooling the weight is 1 for the winner, the first of equal ones, else 0.  Nothing for
    layers that are none of `Filters` and `MLP`.
    """
    if isinstance(layer, Dense):
        weights = layer.parameters["weight"][place[0]]
        return grid(*map(np.arange, x.shape)), weights.astype(np.float64)
    if isinstance(layer, GlobalAvgPool2D):
        places = grid(place, *map(np.arange, x.shape[1:]))
        return places, np.full(len(places), 1 / len(places))
    if isinstance(layer, Conv2D):
        (a, rows), (b, columns) = _pixels(layer.window, place[1:], x.shape[1:])
        weights = layer.parameters["weight"][place[0]][:, a][:, :, b]
        return grid(np.arange(len(x)), rows, columns), weights.ravel().astype(np.float64)
    if isinstance(layer, AvgPool2D | MaxPool2D):
        (_, rows), (_, columns) = _pixels(layer.window, place[1:], x.shape[1:])
        places = grid(place[:1], rows, columns)
        if isinstance(layer, AvgPool2D):
            count = layer.counts[0][place[1]] * layer.counts[1][place[2]]
            return places, np.full(len(places), 1 / count)
        return places, (np.arange(len(places)) == x[tuple(places.T)].argmax()).astype(float)
    if isinstance(layer, Flatten):
        return np.array([np.unravel_index(place[0], x.shape)]), np.ones(1)
    if isinstance(layer, ONE_BY_ONE):
        return np.array([place]), np.ones(1)
    return np.empty((0, x.ndim), int), np.empty(0)


def _pixels(window: Any, place: Place, size: Shape) -> list[tuple[Array, Array]]:
    """The taps of the window at a place and the pixels they meet, down and across."""
    found = []
    for axis in (0, 1):
        taps = np.arange(window.kernel[axis])
        start = place[axis] * window.stride[axis] - window.padding[2 * axis]
        pixels = start + taps * window.dilation[axis]
        inside = (pixels >= 0) & (pixels < size[axis])
        found.append((taps[inside], pixels[inside]))
    return found


def outputs_of(layer: Any, place: Place, x: Array) -> tuple[Array, Array]:
    """Give the numbers of a layer's output that one of its input x goes into, before activation.

    The other way round than `inputs_of`.
    """
    if isinstance(layer, Dense):
        feature = np.ravel_multi_index(place, x.shape)
        weights = layer.parameters["weight"][:, feature]
        return grid(range(layer.units)), weights.astype(np.float64)
    if isinstance(layer, GlobalAvgPool2D):
        return np.array([place[:1]]), np.array([1 / (x.shape[1] * x.shape[2])])
    if isinstance(layer, Conv2D):
        (a, rows), (b, columns) = _windows(layer.window, place[1:])
        weights = layer.parameters["weight"][:, place[0]][:, a][:, :, b]
        return grid(range(layer.filters), rows, columns), weights.ravel().astype(np.float64)
    if isinstance(layer, AvgPool2D | MaxPool2D):
        (_, rows), (_, columns) = _windows(layer.window, place[1:])
        places = grid(place[:1], rows, columns)
        return places, np.array([_weight(layer, tuple(each), place, x) for each in places.tolist()])
    if isinstance(layer, Flatten):
        return np.array([[np.ravel_multi_index(place, x.shape)]]), np.ones(1)
    if isinstance(layer, BatchNorm):
        deviation = np.sqrt(np.float64(layer.buffers["running_var"][place[0]]) + layer.epsilon)
        return np.array([place]), np.array([layer.parameters["weight"][place[0]] / deviation])
    if isinstance(layer, ONE_BY_ONE):
        return np.array([place]), np.ones(1)
    return np.empty((0, len(layer.output_shape)), int), np.empty(0)


def _windows(window: Any, pixel: Place) -> list[tuple[Array, Array]]:
    """The taps by which windows meet a pixel, and the places of these, down and across."""
    found = []
    for axis in (0, 1):
        taps = np.arange(window.kernel[axis])[::-1]  # the last tap meets it from the first window
        starts = pixel[axis] + window.padding[2 * axis] - taps * window.dilation[axis]
        places = starts // window.stride[axis]
        inside = (places * window.stride[axis] == starts) & (places >= 0)
        inside &= places < window.output[axis]
        found.append((taps[inside], places[inside]))
    return found


def _weight(pool: Any, output: Place, place: Place, x: Array) -> float:
    """How much a pixel counts in one window of a pool."""
    places, weights = inputs_of(pool, output, x)
    return float(weights[(places == place).all(axis=1)][0])
