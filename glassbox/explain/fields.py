"""Which part of the image a number depends on: as the layers promise, and as measured."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from glassbox.engine.receptive_field import Region, region_before
from glassbox.explain.nodes import INPUT, Node, Place, Which, find, nodes, one_image, place_in
from glassbox.explain.passes import run


def receptive_field(network: Any, layer: Which, place: Any) -> Region:
    """Give the pixels of the image that one number of a layer's output can depend on.

    Backward from layer to layer: outputs i to j of a window meet the rows i s - p to
    j s - p + d (k - 1) of its input; padding is cut off.  A block sees what either of its paths
    does.  A layer of your own sees the same place of its input; say `sees_all = True` in it if it
    sees all.  Source: Araujo, Norris and Sim 2019.

    Parameters
    ----------
    network : CNN
        A built network.
    layer : int or str
        An index, an address or a name.
    place : tuple of int
        (channel, row, column) or (unit,) of its output.

    Returns
    -------
    tuple of int
        (top, bottom, left, right); the last row is bottom - 1, the last column right - 1.

    Raises
    ------
    ValueError
        If the network is not built, or if there is no such layer or place.

    See Also
    --------
    measured_field : what it does depend on, for one image.

    Examples
    --------
    >>> from glassbox import CNN, Conv2D, Dense, MaxPool2D
    >>> network = CNN(Conv2D(2, 3), MaxPool2D(2), Conv2D(2, 3), Dense(2)).build((1, 12, 12))
    >>> receptive_field(network, 2, (0, 0, 3)), receptive_field(network, 0, (0, 5, 5))
    ((0, 5, 3, 11), (4, 7, 4, 7))
    """
    known = nodes(network)
    node = find(known, layer)
    return region_of(network, known, node, place_in(node, place))


def region_of(network: Any, known: list[Node], node: Node, place: Place) -> Region:
    """The region of the image behind a place of a node's output."""
    row, column = place[1:] if len(place) == 3 else (place[0], 0)
    regions: dict[str, Region] = {node.address: (row, row + 1, column, column + 1)}
    for each in reversed(known):
        region = regions.get(each.address)
        if region is None:
            continue
        before = region if each.adds else region_before(each.layer, region)
        for source in each.adds or (each.source,):
            regions[source] = _both(regions[source], before) if source in regions else before
    return regions[INPUT]


def _both(one: Region, two: Region) -> Region:
    """The smallest region that holds both; empty ones do not count."""
    if 0 in (one[1], two[1]):
        return two if one[1] == 0 else one
    return min(one[0], two[0]), max(one[1], two[1]), min(one[2], two[2]), max(one[3], two[3])


def measured_field(
    network: Any, image: Any, layer: Which, place: Any, scaled: bool = False
) -> NDArray[Any]:
    """Give how one number of a layer's output changes with every number of the scaled image.

    |d y[place] / d x|: the pixels that count for this image, most of them near the middle of the
    receptive field, as Luo, Li, Urtasun and Zemel 2016 found ("Understanding the effective
    receptive field in deep convolutional neural networks").

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
    scaled : bool, default False
        The image is floats that are scaled already.

    Returns
    -------
    array
        (channels, height, width) numbers of 0 or more.

    Raises
    ------
    ValueError
        If the network is not built, or if there is no such layer or place.

    Examples
    --------
    >>> from glassbox import CNN, Conv2D, Dense
    >>> network = CNN(Conv2D(2, 3), Dense(2)).build((1, 9, 9))
    >>> field = measured_field(network, np.ones((1, 9, 9)), "conv1", (1, 4, 4))
    >>> np.argwhere(field[0].any(axis=1)).ravel().tolist()
    [3, 4, 5]
    """
    done = run(network, one_image(network, image, scaled))
    node = find(done.nodes, layer)
    dy = np.zeros((1, *node.layer.output_shape))
    dy[(0, *place_in(node, place))] = 1
    return np.abs(done.backward(node.address, dy)[0])
