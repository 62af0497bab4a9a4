"""Which layers a network has, those inside blocks included, and what people may say to name one."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from Filters import Residual
from glassbox.data import given
from glassbox.data.dataset import Dataset
from glassbox.engine.layer import Layer
from glassbox.errors import short, unknown_name
from glassbox.kernels.shapes import Shape

INPUT = "input"  # the address of the scaled image in front of the first layer

Which = int | str  # an index, an address or a name
Off = Mapping[Any, Any]  # {index, address or name of a layer: channels or units}
Place = tuple[int, ...]  # (channel, row, column) or (unit,)


@dataclass(frozen=True)
class Node:
    """A layer of a network, and where its input comes from.

    Attributes
    ----------
    address : str
        "0" is the first layer; "4.0" the first one inside a Residual block at index 4, and
        "4.shortcut" its projection.
    name : str
        The layer's name, with those of the blocks around it: "residual1.conv1".
    layer : Layer
        The layer itself.
    source : str
        The address of what it takes; "input" for the first layer, the end of the main path for a
        block.
    adds : tuple of str
        What a block adds up: the ends of its main path and of its shortcut; else nothing.
    """

    address: str
    name: str
    layer: Layer
    source: str
    adds: tuple[str, ...] = ()


def nodes(network: Any) -> list[Node]:
    """Give every layer of a built network in the order of computation, a block behind its layers.

    Parameters
    ----------
    network : CNN
        A built network.

    Returns
    -------
    list of Node
        The layers.

    Raises
    ------
    ValueError
        If the network is not built yet.

    Examples
    --------
    >>> from glassbox import CNN, Conv2D, Dense, Residual
    >>> network = CNN(Residual(Conv2D(2), Conv2D(2)), Dense(3)).build((1, 6, 6))
    >>> [(node.address, node.source) for node in nodes(network)]
    [('0.0', 'input'), ('0.1', '0.0'), ('0.shortcut', 'input'), ('0', '0.1'), ('1', '0')]
    """
    network.build(_input_shape(network))  # what was changed by hand takes effect
    return list(_walk(enumerate(network.layers), "", "", INPUT))


def _input_shape(network: Any) -> Shape:
    if network.assembly is None:
        raise ValueError("the network is not built yet: call fit, or build(data.shape), first")
    shape: Shape = network.input_shape
    return shape


def _walk(layers: Any, prefix: str, label: str, source: str) -> Iterator[Node]:
    for key, layer in layers:
        address, name = f"{prefix}{key}", f"{label}{layer.name}"
        adds: tuple[str, ...] = ()
        if isinstance(layer, Residual):
            straight = source
            inner = list(_walk(enumerate(layer.layers), f"{address}.", f"{name}.", source))
            yield from inner
            if layer.shortcut is not None:
                yield Node(f"{address}.shortcut", f"{name}.shortcut", layer.shortcut, source)
                straight = f"{address}.shortcut"
            source = inner[-1].address
            adds = source, straight
        yield Node(address, name, layer, source, adds)
        source = address


def find(known: list[Node], which: Which) -> Node:
    """Give the node of an index, an address or a name; ValueError lists those there are."""
    if isinstance(which, str):
        by_word = {node.name: node for node in known} | {node.address: node for node in known}
        if which in by_word:
            return by_word[which]
        raise unknown_name("layer", which, [node.name for node in known])
    if isinstance(which, bool) or not hasattr(which, "__index__"):
        raise TypeError(f"layer: expected an index, an address or a name, got {short(which)}")
    tops = [node for node in known if "." not in node.address]
    if not -len(tops) <= which < len(tops):
        raise ValueError(f"layer: expected an index of 0..{len(tops) - 1}, got {which}")
    return tops[which]


def place_in(node: Node, place: Any) -> Place:
    """Give a place of a layer's output as a tuple; ValueError unless it is inside."""
    return place_inside(node.layer.output_shape, place, f"{node.name}: place")


def place_inside(shape: Shape, place: Any, what: str) -> Place:
    """Give a place of an array as a tuple of whole numbers; ValueError unless it is inside."""
    found = tuple(np.atleast_1d(np.asarray(place)).tolist())
    inside = len(found) == len(shape) and all(
        type(at) is int and 0 <= at < length for at, length in zip(found, shape, strict=True)
    )
    if not inside:
        ranges = ", ".join(f"0..{length - 1}" for length in shape)
        raise ValueError(f"{what}: expected whole numbers of ({ranges}), got {short(place)}")
    return found


def switched_off(known: list[Node], off: Off | None) -> dict[str, NDArray[np.intp]]:
    """Give the channels to switch off by address; ValueError for one that a layer does not have."""
    found: dict[str, NDArray[np.intp]] = {}
    for which, channels in (off or {}).items():
        node = find(known, which)
        count = node.layer.output_shape[0]
        numbers = np.atleast_1d(np.asarray(channels))
        if numbers.size and (
            numbers.dtype.kind not in "iu" or numbers.min() < 0 or numbers.max() >= count
        ):
            raise ValueError(
                f"off: {node.name}: expected whole numbers of 0..{count - 1}, got {short(channels)}"
            )
        both = np.union1d(found.get(node.address, numbers), numbers)
        found[node.address] = both.astype(np.intp)
    return found


def class_number(network: Any, given_class: Any, what: str = "label") -> int:
    """Give the number of a class from its number or name; ValueError if there is none such."""
    if len(network.output_shape) != 1:
        raise ValueError(f"the last layer gives {network.output_shape}, expected (classes,)")
    count = network.output_shape[0]
    if isinstance(given_class, str):
        if given_class not in network.classes:
            raise unknown_name("class", given_class, network.classes or map(str, range(count)))
        return int(network.classes.index(given_class))
    if isinstance(given_class, bool) or not hasattr(given_class, "__index__"):
        raise TypeError(f"{what}: expected the number or name of a class, got {short(given_class)}")
    if not 0 <= given_class < count:
        raise ValueError(f"{what}: expected a class of 0..{count - 1}, got {given_class}")
    return int(given_class)


def class_numbers(network: Any, classes: Any, count: int, what: str = "labels") -> NDArray[np.intp]:
    """Give one class for each of `count` images; one alone counts for all."""
    many = isinstance(classes, list | tuple | np.ndarray) and np.ndim(classes) == 1
    found = [class_number(network, each, what) for each in (classes if many else [classes] * count)]
    if len(found) != count:
        raise ValueError(f"{what}: expected one for each of {count} images, got {len(found)}")
    return np.array(found, np.intp)


def as_images(network: Any, images: Any, scaled: bool = False) -> Dataset:
    """Give raw images as a Dataset; a single one may come without an axis of samples."""
    shape = _input_shape(network)
    if not isinstance(images, Dataset) and np.shape(images) in (shape, shape[shape[0] == 1 :]):
        images = np.asarray(images).reshape(1, *shape)
    source = given.as_images(images, network, scaled)
    given.at_least_one(source.images)
    network.build(source.shape)
    return source


def one_image(network: Any, image: Any, scaled: bool = False) -> Dataset:
    """Give one raw image as a Dataset of one; ValueError for several."""
    source = as_images(network, image, scaled)
    if len(source) != 1:
        raise ValueError(
            f"image: expected one image {network.input_shape}, got {len(source)}; pass images[0]"
        )
    return source
