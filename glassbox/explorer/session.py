"""A session: the explorer's questions about a network, answered in Python.

`Session.answer` takes a request as the front end sends it, {"id": number, "ask": word, ...}, and
gives the reply, ready for JSON.  A request that does not make sense is answered by {"error":
sentence}.  Several threads may ask at the same time.  The networks are never changed.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from glassbox import explain
from glassbox.data.dataset import UNLABELED, Dataset, Scaling
from glassbox.data.suspicions import OWN
from glassbox.engine.copies import clone_built
from glassbox.engine.parallel import IGNORE_FP_WARNINGS
from glassbox.errors import as_float, short, unknown_name
from glassbox.explain import activations_with, gradients_with, nodes, predict_with
from glassbox.explain.nodes import find, place_inside
from glassbox.explorer.explanations import METHODS
from glassbox.explorer.messages import (
    Answer,
    Request,
    array,
    array_of,
    count_of,
    plain,
    rows,
    terms,
    told,
)
from glassbox.explorer.preparing import steps_to
from glassbox.kernels.shapes import Window

MOST_SAMPLES = 1000  # images that are scored again
MOST_LISTED = 50  # images named in an answer
MOST_CHANGES = 1000  # weights changed by hand in one request
KEPT = 8  # networks of files that are held


class Entry(Protocol):
    """A network that can be looked at.

    `network()` is called for every request.  Of a network that is being trained it gives a copy,
    a new one whenever the weights are others.
    """

    @property
    def title(self) -> str:
        """What to call it."""

    @property
    def epoch(self) -> int | None:
        """How many epochs it was trained, if it is one of several that a run kept."""

    def network(self) -> Any:
        """The network, built."""


@dataclass(frozen=True)
class Held:
    """A network in memory."""

    title: str
    held: Any = field(repr=False)
    epoch: int | None = None

    def network(self) -> Any:
        """The network itself."""
        return self.held


@dataclass(frozen=True)
class Stored:
    """A network in a file, which is read when it is first looked at."""

    title: str
    path: Path
    load: Callable[[Path], Any] = field(repr=False)  # `CNN.load`
    epoch: int | None = None

    def network(self) -> Any:
        """The network; of all files, the last few are held."""
        return _loaded(self.load, self.path)


@lru_cache(KEPT)
def _loaded(load: Callable[[Path], Any], path: Path) -> Any:
    return load(path)


class Training(Protocol):
    """A training that is under way."""

    state: dict[str, Any]

    def do(self, word: str) -> None:
        """Do as a person says: "pause", "go on", "step" (one, then pause) or "stop"."""


class Session:
    """Answers what the explorer asks about some networks.

    Parameters
    ----------
    networks : CNN or sequence of Entry
        A built network, or what can be looked at, the first of them by default.
    samples : Dataset, optional
        Images to look at and to score, with labels if possible.
    training : Training, optional
        What trains the first network.

    Examples
    --------
    >>> from glassbox import CNN, Dense, Digits
    >>> data = Digits()
    >>> session = Session(CNN(Dense(10)).build(data.shape), data.test)
    >>> session.answer({"id": 1, "ask": "describe"})["parameters"]
    650
    >>> session.answer({"id": 2, "ask": "sample", "index": 1000})
    {'id': 2, 'error': 'index: expected at most 269, got 1000'}
    """

    def __init__(
        self, networks: Any, samples: Dataset | None = None, training: Training | None = None
    ) -> None:
        if hasattr(networks, "layers"):
            networks.build(networks.input_shape)
            networks = [Held("network", networks)]
        self.networks: list[Entry] = list(networks)
        self.samples, self.training = samples, training
        self.seconds = 0.0  # of computing, that answers took so far
        labeled = samples is not None and samples.classes != UNLABELED
        self.scored = samples.take(min(len(samples), MOST_SAMPLES)) if labeled and samples else None

    @property
    def words(self) -> dict[str, Callable[[Request], Answer]]:
        """What this session answers."""
        found: dict[str, Callable[[Request], Answer]]
        found = {
            "describe": self.describe, "look": self.look, "sum": self.sum, "back": self.back,
            "weight": self.weight, "explain": self.explain, "prepare": self.prepare,
        }  # fmt: skip
        if self.samples is not None:
            found["sample"] = self.sample
        if self.scored is not None:
            found |= {"rescore": self.rescore, "disagree": self.disagree}
        if self.training is not None:
            found["training"] = self.train
        return found

    def answer(self, request: Request) -> Answer:
        """The reply to a request of the front end, with its id."""
        begun = time.thread_time()
        reply = {"id": request.get("id") if isinstance(request, dict) else None}
        try:
            word, words = request.get("ask"), self.words
            if not isinstance(word, str) or word not in words:
                raise unknown_name("ask", word, words)
            with np.errstate(**IGNORE_FP_WARNINGS):  # of a network that has diverged, too
                return reply | plain(words[word](request))
        except Exception as error:  # of a layer of one's own, too
            return reply | {"error": told(error)}
        finally:
            self.seconds += time.thread_time() - begun

    # --- the questions -----------------------------------------------------------------------

    def describe(self, request: Request) -> Answer:
        """The networks, and what one of them is made of."""
        entry = self._entry(request)
        network = entry.network()
        samples = self.samples
        count = network.output_shape[0]
        answer = {
            "networks": [{"title": each.title, "epoch": each.epoch} for each in self.networks],
            "title": entry.title,
            "input_shape": network.input_shape,
            "range": self._range(network),
            "classes": network.classes or [str(number) for number in range(count)],
            "parameters": network.parameter_count,
            "layers": [_layer(node) for node in nodes(network)],
            "samples": 0 if samples is None else len(samples),
            "can": list(self.words),
            "explains": [name for name in METHODS if samples or name != "most_exciting"],
        }
        return answer if self.training is None else answer | {"training": self.training.state}

    def sample(self, request: Request) -> Answer:
        """One of the images, as it is stored."""
        samples: Any = self.samples
        index = count_of(request, "index", len(samples) - 1)
        label = None if self.scored is None else int(samples.labels[index])
        return {"image": array(samples.images[index]), "label": label, "index": index}

    def prepare(self, request: Request) -> Answer:
        """A drawn or photographed image as the network takes it, and how it came about."""
        network, image = self._network(request), array_of(request.get("image"))
        if image.ndim != 3 or image.dtype != np.uint8:
            raise ValueError(f"image: expected uint8 (channels, height, width), got {short(image)}")
        steps = steps_to(image, network)
        low, high = self._range(network)
        pixels = np.asarray(low + np.float32(list(steps.values())[-1]) / 255 * (high - low))
        raw = np.rint(pixels).astype(np.uint8) if 1 < high <= 255 and low >= 0 else pixels
        named = [{"name": name, "image": array(step)} for name, step in steps.items()]
        return {"image": array(raw), "steps": named}

    def look(self, request: Request) -> Answer:
        """Every layer's output for an image; with a label, also their gradients."""
        network, off = changed(self._network(request), request), _off(request)
        image = self._image(request, network)
        label, back = request.get("label"), None
        if label is None:
            found = activations_with(network, image, off)
        else:
            back = gradients_with(network, image, label, off)
            found = back.activations
        answer = {
            "input": array(found.input[0]),
            "maps": [array(each[0]) for each in found.maps.values()],
            "scores": found.scores[0],
            "probabilities": found.probabilities[0],
        }
        if back is None:
            return answer
        maps = [array(back.maps[address][0]) for address in found.maps]
        return answer | {"loss": back.loss, "gradients": maps}

    def sum(self, request: Request) -> Answer:
        """What made one number of a layer's output."""
        network = changed(self._network(request), request)
        where = request.get("layer", ""), request.get("place")
        found = explain.sum_behind(network, self._image(request, network), *where, _off(request))
        names = ("kind", "formula", "before", "activation", "result", "field", "bias")
        answer = {name: getattr(found, name) for name in names}
        answer |= {"from": found.source, "parts": [_part(each) for each in found.parts]}
        if found.kind == "winner":
            candidates = rows(place=found.places, value=found.values)
            won = {"place": found.winner, "value": found.result}
            return answer | {"candidates": candidates, "winner": won}
        columns = {"place": "places", "weight": "weights", "value": "values", "product": "products"}
        return answer | terms(found, columns)

    def back(self, request: Request) -> Answer:
        """Where the gradient of one number of a layer's output came from."""
        network = changed(self._network(request), request)
        label, where = request.get("label"), (request.get("layer", ""), request.get("place"))
        image = self._image(request, network)
        found = explain.back_behind(network, image, label, *where, _off(request))
        names = {
            "layer": "layers", "place": "places", "weight": "weights", "gradient": "gradients",
            "product": "products",
        }  # fmt: skip
        answer = {"next": found.next, "result": found.result, "text": found.formula}
        return answer | terms(found, names)

    def weight(self, request: Request) -> Answer:
        """A weight, and with a label where its gradient came from."""
        network = changed(self._network(request), request)
        parameter, place = _parameter(nodes(network), request)
        if request.get("label") is None:
            return {"value": parameter[place]}
        found = explain.gradient_behind(
            network, self._image(request, network), request["label"], request["layer"],
            request["parameter"], place, _off(request),
        )  # fmt: skip
        names = {
            "output": "outputs", "gradient": "gradients", "input": "inputs", "value": "values",
            "product": "products",
        }  # fmt: skip
        answer = {"value": found.value, "gradient": found.gradient, "text": found.formula}
        return answer | terms(found, names)

    def explain(self, request: Request) -> Answer:
        """A picture of what something depends on."""
        method = request.get("method")
        if not isinstance(method, str) or method not in METHODS:
            raise unknown_name("method", method, METHODS)
        network = changed(self._network(request), request)
        if method == "most_exciting":
            asked = self.samples and replace(self.samples, scaling=self._scaling(network))
        else:
            asked = self._image(request, network)
        answer = METHODS[method](network, asked, request)
        if _off(request):
            answer["text"] += "; what is switched off counts here all the same"
        return answer

    def rescore(self, request: Request) -> Answer:
        """How many answers are right with something changed, and as it is."""
        scored: Any = self.scored
        network = self._network(request)
        before = self._predicted(network)
        after = self._predicted(changed(network, request), _off(request))
        other = np.flatnonzero(before != after)
        return {
            "accuracy": float(np.mean(after == scored.labels)),
            "before": float(np.mean(before == scored.labels)),
            "count": len(scored),
            "changed": other[:MOST_LISTED],
        }

    def disagree(self, request: Request) -> Answer:
        """The images on which two networks differ."""
        scored: Any = self.scored
        other = self.networks[count_of(request, "other", len(self.networks) - 1)].network()
        one, two = self._predicted(self._network(request)), self._predicted(other)
        differ = np.flatnonzero(one != two)
        accuracies = [float(np.mean(each == scored.labels)) for each in (one, two)]
        return {"indices": differ[:MOST_LISTED], "count": len(differ), "accuracies": accuracies}

    def train(self, request: Request) -> Answer:
        """Pause, go on, do a step, or stop."""
        training: Any = self.training
        word, known = request.get("do"), ("pause", "go on", "step", "stop")
        if word is not None and word not in known:
            raise unknown_name("do", word, known)
        if word is not None:
            training.do(word)
        return {"state": training.state}

    # --- what a request names ----------------------------------------------------------------

    def _entry(self, request: Request) -> Entry:
        return self.networks[count_of(request, "network", len(self.networks) - 1, 0)]

    def _network(self, request: Request) -> Any:
        return self._entry(request).network()

    def _image(self, request: Request, network: Any) -> Dataset:
        image = array_of(request.get("image"))
        if image.shape != network.input_shape:
            raise ValueError(f"image: expected the shape {network.input_shape}, got {image.shape}")
        return Dataset(image[None], np.array([0]), UNLABELED, self._scaling(network))

    def _predicted(self, network: Any, off: Any = None) -> NDArray[np.intp]:
        """The answers to all images that are scored."""
        scored: Any = self.scored
        return predict_with(network, replace(scored, scaling=self._scaling(network)), off)

    def _scaling(self, network: Any) -> Scaling:
        """That of the network, else that of the images."""
        return network.scaling or (self.samples.scaling if self.samples else Scaling())

    def _range(self, network: Any) -> tuple[float, float]:
        """The raw pixels of black and white."""
        scaling = self._scaling(network)
        if scaling.name not in OWN:
            return scaling.low, scaling.high
        images = None if self.samples is None else self.samples.images
        if images is None or images.dtype == np.uint8 or not images.size:
            return 0.0, 255.0
        return float(images.min()), float(images.max())


def changed(network: Any, request: Request) -> Any:
    """The network; where weights are changed by hand, a copy of it."""
    changes = request.get("weights") or []
    if not isinstance(changes, list) or len(changes) > MOST_CHANGES:
        expected = f"expected a list of at most {MOST_CHANGES:,}"
        raise ValueError(f"weights: {expected}, got {short(changes)}")
    if not changes:
        return network
    twin = clone_built(network, network.dtype, network.parameters.snapshot())
    known = nodes(twin)
    for change in changes:
        parameter, place = _parameter(known, change)
        value = as_float("weights: value", change.get("value"))
        if not abs(value) <= np.finfo(parameter.dtype).max:
            raise ValueError(f"weights: value: expected a finite number, got {value}")
        parameter[place] = value
    return twin


def _off(request: Request) -> Any:
    off = request.get("off") or {}
    if not isinstance(off, dict):
        raise TypeError(f"off: expected {{layer's address: [channels]}}, got {short(off)}")
    return off


def _parameter(known: list[explain.Node], request: Any) -> tuple[NDArray[Any], tuple[int, ...]]:
    """The array of {"layer", "parameter", "index"}, and the place in it."""
    if not isinstance(request, dict):
        raise TypeError(
            f'weights: expected {{"layer", "parameter", "index"}}, got {short(request)}'
        )
    node = find(known, request.get("layer", ""))
    name = request.get("parameter")
    if name not in _parameters(node):
        raise unknown_name(f"parameter of {node.name}", name, _parameters(node))
    found: NDArray[Any] = node.layer.parameters[name]
    return found, place_inside(found.shape, request.get("index"), f"{node.name} {name}: index")


def _parameters(node: explain.Node) -> dict[str, tuple[int, ...]]:
    """Names and shapes; a block has none of its own."""
    if node.adds:
        return {}
    return {name: found.shape for name, found in node.layer.parameters.items()}


def _layer(node: explain.Node) -> Answer:
    layer = node.layer
    answer = {
        "address": node.address, "name": node.name, "kind": type(layer).__name__,
        "text": layer.describe(), "output_shape": layer.output_shape, "from": node.source,
        "filters": layer.output_shape[0], "parameters": _parameters(node),
    }  # fmt: skip
    window = getattr(layer, "window", None)
    if isinstance(window, Window):
        answer["window"] = window._asdict()
    return answer | {"adds": node.adds} if node.adds else answer


def _part(part: Any) -> Answer:
    answer = {"name": part.name, "value": part.value}
    return answer if part.place is None else answer | {"place": part.place, "from": part.layer}
