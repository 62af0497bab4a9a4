"""The explorer's pictures: what a score, or a number inside, depends on."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from glassbox import explain
from glassbox.data.dataset import Dataset
from glassbox.errors import require_count
from glassbox.explain.nodes import class_number
from glassbox.explorer.messages import Answer, Request, array

MOST_IMAGES = 1000  # among which the most exciting are looked for
MOST_SHOWN = 9  # of these
MOST_PATCHES = 5000  # put on an image


def saliency(network: Any, image: Dataset, request: Request) -> Answer:
    """How a class score changes with each pixel, with its sign."""
    number, name = _class(network, image, request)
    found = explain.input_gradient(network, image, number)[0]
    text = f"how the score of {name!r}, before softmax or sigmoid, changes with each pixel"
    return {"map": array(found), "class": number, "text": text}


def occlusion(network: Any, image: Dataset, request: Request) -> Answer:
    """How a class score falls where a patch covers the image."""
    number, name = _class(network, image, request)
    height, width = image.shape[1:]
    patch = request.get("patch", max(1, min(height, width) // 7))
    require_count("patch", patch)
    stride = request.get("stride", max(1, patch // 2))
    require_count("stride", stride)
    if (height // stride + 1) * (width // stride + 1) > MOST_PATCHES:
        raise ValueError(f"stride: expected one that leads to {MOST_PATCHES:,} patches at most")
    found = explain.occlusion(network, image, number, patch, stride)
    text = (
        f"how much the score of {name!r} falls where a patch of {patch} x {patch} covers the image"
    )
    return {"map": array(found), "class": number, "text": text}


def grad_cam(network: Any, image: Dataset, request: Request) -> Answer:
    """Where a layer speaks for a class, and where against it."""
    number, name = _class(network, image, request)
    found = explain.grad_cam(network, image, number, request.get("layer"))
    text = f"where {found.name} speaks for {name!r} (above 0) and against it"
    maps = {"map": array(found.map), "normalized": array(found.normalized)}
    return {**maps, "class": number, "layer": found.layer, "text": text}


def most_exciting(network: Any, samples: Dataset | None, request: Request) -> Answer:
    """The images on which a filter answers most."""
    if samples is None:
        raise ValueError("most_exciting: there are no images to look for it in")
    layer, channel = request.get("layer", ""), request.get("filter", -1)
    seen = samples.take(min(len(samples), MOST_IMAGES))
    found = explain.most_exciting(network, layer, channel, seen, MOST_SHOWN)
    images = [
        {
            "index": index, "value": value, "place": place, "image": array(seen.images[index]),
            "field": explain.receptive_field(network, found.layer, place),
        }
        for index, value, place in zip(found.indices, found.values, found.places, strict=True)
    ]  # fmt: skip
    text = f"the images, of {len(seen):,}, on which filter {channel} of {found.name} answers most"
    return {"images": images, "layer": found.layer, "text": text}


def fgsm(network: Any, image: Dataset, request: Request) -> Answer:
    """The image, each pixel moved a little to raise the loss."""
    number, name = _class(network, image, request, ("label", "class"))
    moved = explain.fgsm(network, image, number, request.get("epsilon", 8))
    after = Dataset(moved[None], image.labels, image.classes, image.scaling)
    difference = moved.astype(np.float32) - image.images[0]
    text = f"each pixel moved by at most epsilon, in the direction that raises the loss of {name!r}"
    return {
        "image": array(moved), "map": array(difference), "class": number, "text": text,
        "probabilities": explain.activations_with(network, after).probabilities[0],
    }  # fmt: skip


def field(network: Any, image: Dataset, request: Request) -> Answer:
    """How a number inside changes with each pixel."""
    layer, place = request.get("layer", ""), request.get("place")
    found = explain.measured_field(network, image, layer, place)
    text = "how much that number changes with each pixel of the scaled image"
    return {"map": array(found), "layer": layer, "text": text}


METHODS: dict[str, Callable[[Any, Any, Request], Answer]] = {
    each.__name__: each for each in (saliency, occlusion, grad_cam, most_exciting, fgsm, field)
}


def _class(
    network: Any, image: Dataset, request: Request, keys: tuple[str, ...] = ("class", "label")
) -> tuple[int, str]:
    """The number and name of the class that a request is about: the answer, if it says none."""
    given = next((request[key] for key in keys if request.get(key) is not None), None)
    if given is None:
        given = explain.predict_with(network, image)[0]
    number = class_number(network, given, "class")
    return number, network.classes[number] if network.classes else str(number)
