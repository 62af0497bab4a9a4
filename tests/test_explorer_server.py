"""The explorer's session and page: right answers, and nothing but answers to its own page."""

import base64
import copy
import http.client
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from pages import Page as Documented
from uvicorn.protocols.http.h11_impl import H11Protocol

from CNN import CNN
from Datasets import Dataset, Digits
from Filters import AvgPool2D, Conv2D, GlobalAvgPool2D, MaxPool2D, Residual
from glassbox import explain, explorer
from glassbox.explain import nodes
from glassbox.explain.passes import Pass
from glassbox.explorer import __main__ as program
from glassbox.explorer.messages import array, told
from glassbox.explorer.page import FRONT, HEADERS, MOST_BYTES, Page
from glassbox.explorer.session import Held, Session
from MLP import BatchNorm, Dense, Dropout, Flatten, Layer, Tanh

TOKEN = "t" * 20
DATA = Digits()


@pytest.fixture(scope="module")
def network():
    """Every kind of layer, trained a little so that no two numbers are alike."""
    made = CNN(
        Conv2D(6, 3, stride=2, dilation=2), BatchNorm(), Conv2D(4, 2, padding="valid"),
        Residual(Conv2D(6, 3, activation=None), BatchNorm(), Tanh()),
        MaxPool2D(2, stride=1, padding=1), AvgPool2D(2, stride=1), Dropout(0.2), Flatten(),
        Dense(12), Dense(10, "softmax"), loss="cross_entropy", seed=2,
    )  # fmt: skip
    made.fit(DATA.train.take(300), epochs=2, progress=False)
    return made


@pytest.fixture(scope="module")
def small():
    """A network without its own way of switching filters off: zeros in its weights do it."""
    made = CNN(Conv2D(5, 3, activation="relu"), GlobalAvgPool2D(), Dense(10), seed=1)
    made.fit(DATA.train.take(300), epochs=2, progress=False)
    return made


@pytest.fixture(scope="module")
def session(network, small):
    return Session([Held("one", network), Held("two", small, 7)], DATA.test)


@pytest.fixture(scope="module")
def page(session):
    made = Page(session, token=TOKEN).start()
    yield made
    made.close()


def image_of(index=0):
    return array(DATA.test.images[index])


def array_in(given):
    """The front end's way of reading an array, written anew."""
    kind = {"float32": "<f4", "uint8": "u1"}[given["type"]]
    return np.frombuffer(base64.b64decode(given["data"]), kind).reshape(given["shape"])


def ask(session, word, **more):
    reply = session.answer({"id": 5, "ask": word, **more})
    assert reply.pop("id") == 5
    return json.loads(json.dumps(reply, allow_nan=False))


def bits(network):
    arrays = [each for layer in network.layers for each in layer.leaves()]
    own = [leaf.parameters[k].tobytes() for leaf in arrays for k in leaf.parameters]
    return own + [leaf.buffers[k].tobytes() for leaf in arrays for k in leaf.buffers]


# --- the session's answers -------------------------------------------------------------------


def test_the_description_has_every_layer(session, network):
    found = ask(session, "describe")
    assert [each["title"] for each in found["networks"]] == ["one", "two"]
    assert [each["epoch"] for each in found["networks"]] == [None, 7]
    layers = {each["address"]: each for each in found["layers"]}
    assert list(layers) == [node.address for node in nodes(network)]
    assert layers["3"]["adds"] == ["3.2", "3.shortcut"] and layers["3"]["parameters"] == {}
    assert layers["0"]["from"] == "input" and "adds" not in layers["0"]
    assert layers["0"]["parameters"] == {"weight": [6, 1, 3, 3], "bias": [6]}
    assert (found["input_shape"], found["classes"]) == ([1, 8, 8], list("0123456789"))
    assert (found["parameters"], found["samples"]) == (network.parameter_count, 270)
    assert found["range"] == [0, 16]
    assert {"look", "sum", "sample", "rescore", "disagree"} <= set(found["can"])
    assert "training" not in found and "training" not in found["can"]
    assert ask(session, "describe", network=1)["title"] == "two"


def test_a_sample_is_the_stored_image_with_its_label(session):
    found = ask(session, "sample", index=7)
    assert (array_in(found["image"]) == DATA.test.images[7]).all()
    assert (found["label"], found["index"]) == (DATA.test.labels[7], 7)


def test_without_labels_there_is_nothing_to_score(network):
    plain = Dataset(DATA.test.images, np.zeros(270, int), ("?",), DATA.test.scaling)
    asked = Session(network, plain)
    assert ask(asked, "sample", index=0)["label"] is None
    assert not {"rescore", "disagree"} & set(ask(asked, "describe")["can"])
    assert "sample" not in ask(Session(network), "describe")["can"]


def by_layers(network):
    """A copy that computes layer by layer, as a look does; captures round differently."""
    twin = copy.deepcopy(network)
    twin.eager = True
    return twin


@pytest.mark.parametrize("index", [0, 11])
def test_a_look_shows_what_activations_and_predict_proba_give(session, network, index):
    raw, network = DATA.test.images[index : index + 1], by_layers(network)
    found = ask(session, "look", image=image_of(index))
    scaled = DATA.test.batch([index])[0][0]
    assert array_in(found["input"]).tobytes() == scaled.tobytes()
    assert np.float32(found["probabilities"]).tobytes() == network.predict_proba(raw)[0].tobytes()
    assert np.float32(found["scores"]).tobytes() == network.scores(raw)[0].tobytes()
    maps = dict(zip([node.address for node in nodes(network)], found["maps"], strict=True))
    for number, (_, expected) in enumerate(network.activations(raw)):
        assert array_in(maps[str(number)]).tobytes() == expected[0].tobytes()
    assert "gradients" not in found


def test_the_gradients_of_a_look_are_those_of_finite_differences(session, network):
    """Of the last block's bias, which moves every number of its channel alike."""
    label, raw = 3, DATA.test.images[:1]
    found = ask(session, "look", image=image_of(), label=label)
    addresses = [node.address for node in nodes(network)]
    gradient = array_in(found["gradients"][addresses.index("8")])
    twin = copy.deepcopy(network)

    def loss(step):
        twin.layers[9].parameters["bias"][...] = network.layers[9].parameters["bias"]
        twin.layers[9].parameters["bias"] += step * network.layers[9].parameters["weight"][:, 4]
        return -np.log(twin.predict_proba(raw)[0, label].astype(np.float64))

    assert found["loss"] == pytest.approx(loss(0), rel=1e-5)
    assert gradient[4] == pytest.approx((loss(1e-2) - loss(-1e-2)) / 2e-2, rel=1e-2)


def test_a_look_is_one_pass_forward_with_a_label_as_without(session, monkeypatch):
    """And shows the same of it."""
    passes, own = [], Pass.__init__

    def counted(self, *given, **named):
        passes.append(self)
        own(self, *given, **named)

    monkeypatch.setattr(Pass, "__init__", counted)
    for off in ({}, {"0": [1]}):
        without = ask(session, "look", image=image_of(), off=off)
        assert without.items() <= ask(session, "look", image=image_of(), off=off, label=3).items()
    assert len(passes) == 4


def test_a_sum_ends_at_the_very_number_that_the_look_shows(session, network):
    """For every layer, those inside the block included, at places all over it."""
    maps = ask(session, "look", image=image_of(3))["maps"]
    for node, given in zip(nodes(network), maps, strict=True):
        shown = array_in(given)
        for flat in {0, shown.size // 2, shown.size - 1}:
            place = [int(k) for k in np.unravel_index(flat, shown.shape)]
            found = ask(session, "sum", image=image_of(3), layer=node.address, place=place)
            assert np.float32(found["result"]) == shown[tuple(place)], node.name
            assert len(found["field"]) == 4
            if found["kind"] == "winner":
                assert found["winner"] in found["candidates"]
                assert found["winner"]["value"] == max(c["value"] for c in found["candidates"])
            elif found["kind"] == "weighted":
                products = sum(each["product"] for each in found["terms"])
                total = products + found["left_out_sum"] + (found["bias"] or 0)
                assert total == pytest.approx(found["before"], rel=1e-5, abs=1e-6)
                source = found["from"]
                addresses = [each.address for each in nodes(network)]
                x = array_in(maps[addresses.index(source)]) if source != "input" else None
                for term in found["terms"] if x is not None else ():
                    assert np.float32(term["value"]) == x[tuple(term["place"])]
            else:
                assert found["formula"]
    kinds = {ask(session, "sum", image=image_of(), layer=a, place=p)["kind"] for a, p in
             [("0", [0, 0, 0]), ("1", [0, 0, 0]), ("4", [0, 0, 0])]}  # fmt: skip
    assert kinds == {"weighted", "formula", "winner"}


def test_rescoring_without_a_filter_is_the_accuracy_with_zeros_in_its_weights(session, small):
    twin = copy.deepcopy(small)
    twin.layers[0].parameters["weight"][[1, 3]] = 0
    twin.layers[0].parameters["bias"][[1, 3]] = 0
    before, after = (each.predict(DATA.test) for each in (small, twin))
    found = ask(session, "rescore", network=1, off={"0": [1, 3]})
    assert found["accuracy"] == pytest.approx((after == DATA.test.labels).mean())
    assert found["before"] == pytest.approx((before == DATA.test.labels).mean())
    assert found["accuracy"] != found["before"]
    assert (found["count"], found["changed"]) == (
        270,
        np.flatnonzero(before != after)[:50].tolist(),
    )
    off = ask(session, "look", network=1, image=image_of(), off={"0": [1, 3]})
    raw = DATA.test.images[:1]
    assert np.float32(off["scores"]) == pytest.approx(twin.scores(raw)[0], rel=1e-5)


def test_a_weight_changed_by_hand_counts_in_the_answer_alone(session, network):
    twin, before = by_layers(network), bits(network)
    twin.layers[3].layers[0].parameters["weight"][1, 2, 0, 1] = -3.25
    change = {"layer": "3.0", "parameter": "weight", "index": [1, 2, 0, 1], "value": -3.25}
    found = ask(session, "look", image=image_of(), weights=[change])
    raw = DATA.test.images[:1]
    assert np.float32(found["probabilities"]).tobytes() == twin.predict_proba(raw)[0].tobytes()
    scored = ask(session, "rescore", weights=[change])
    assert scored["accuracy"] == pytest.approx((twin.predict(DATA.test) == DATA.test.labels).mean())
    assert bits(network) == before


class Drawn(Layer):
    """A layer of one's own that no file can hold, with random numbers that are not trained."""

    def __init__(self, share):
        super().__init__()
        self.least = 1 - share

    def _build(self, input_shape, context):
        self.kept = (context.rng.random((*input_shape, 1)) > self.least).astype(context.dtype)
        return input_shape

    def forward(self, x, context):
        return x * self.kept, None

    def backward(self, dy, cache):
        return dy * self.kept, {}


def test_weights_are_changed_in_networks_with_layers_of_ones_own():
    """And with running statistics: a weight that becomes what it is changes no bit."""
    network = CNN(Conv2D(3), BatchNorm(), Drawn(0.5), Dense(10, "softmax"), loss="cross_entropy")
    network.fit(DATA.train.take(300), epochs=1, progress=False)
    session, before = Session(network, DATA.test), bits(network)
    change = {"layer": "0", "parameter": "bias", "index": [1]}
    value = float(network.layers[0].parameters["bias"][1])
    same, other = (
        ask(session, "look", image=image_of(), weights=[change | {"value": each}])
        for each in (value, value + 1)
    )
    assert same == ask(session, "look", image=image_of())
    assert other["scores"] != same["scores"]
    assert bits(network) == before


def test_two_networks_disagree_where_their_answers_differ(session, network, small):
    one, two = network.predict(DATA.test), small.predict(DATA.test)
    found = ask(session, "disagree", network=0, other=1)
    differ = np.flatnonzero(one != two)
    assert (found["count"], found["indices"]) == (len(differ), differ[:50].tolist())
    accuracies = [(each == DATA.test.labels).mean() for each in (one, two)]
    assert found["accuracies"] == pytest.approx(accuracies)


def test_a_gradient_and_a_weights_are_those_of_the_layers(session, network):
    """Against `CNN.backward` in inference mode, and terms that add up to it."""
    raw, label = DATA.test.images[2:3], 5
    scaled = DATA.test.batch([2])[0]
    outputs, caches = network.forward(scaled)
    _, cache = network.loss.forward(outputs.T.copy(), np.array([label]))
    expected = network.backward(network.loss.backward(cache, 1).T, caches)
    for layer, name, index in (("0", "conv1", [3, 0, 1, 2]), ("8", "dense1", [7, 20])):
        found = ask(session, "weight", image=array(raw[0]), label=label, layer=layer,
                    parameter="weight", index=index)  # fmt: skip
        assert found["value"] == network.layers[int(layer)].parameters["weight"][tuple(index)]
        assert found["gradient"] == pytest.approx(expected[name]["weight"][tuple(index)], rel=1e-5)
        total = sum(term["product"] for term in found["terms"]) + found["left_out_sum"]
        assert total == pytest.approx(found["gradient"], rel=1e-4, abs=1e-8)
        assert {"output", "input", "gradient", "value", "product"} == set(found["terms"][0])
    bare = ask(session, "weight", layer="0", parameter="bias", index=[2])
    assert bare == {"value": network.layers[0].parameters["bias"][2]}
    looked = ask(session, "look", image=array(raw[0]), label=label)
    for number, node in enumerate(nodes(network)):
        place = [0] * len(node.layer.output_shape)
        found = ask(session, "back", image=array(raw[0]), label=label, layer=node.address,
                    place=place)  # fmt: skip
        assert np.float32(found["result"]) == array_in(looked["gradients"][number])[tuple(place)]
        total = sum(term["product"] for term in found["terms"]) + found["left_out_sum"]
        assert not found["terms"] or total == pytest.approx(found["result"], rel=1e-4, abs=1e-7)
        assert found["text"] and (found["next"] or node.address == "9")


EXPLAINED = {
    "saliency": lambda network, image: explain.input_gradient(network, image, 4)[0],
    "occlusion": lambda network, image: explain.occlusion(network, image, 4, 2, 1),
    "grad_cam": lambda network, image: explain.grad_cam(network, image, 4, "conv1").map,
    "field": lambda network, image: explain.measured_field(network, image, "conv1", (1, 2, 1)),
    "fgsm": lambda network, image: (
        np.float32(explain.fgsm(network, image, 4, 3)) - np.float32(image)
    ),
}  # fmt: skip


@pytest.mark.parametrize("method", EXPLAINED)
def test_a_picture_is_that_of_the_function_for_programs(session, network, method):
    asked = {"method": method, "class": 4, "layer": "0", "place": [1, 2, 1], "epsilon": 3,
             "patch": 2, "stride": 1}  # fmt: skip
    found = ask(session, "explain", image=image_of(1), **asked)
    expected = EXPLAINED[method](network, DATA.test.images[1])
    assert array_in(found["map"]).tobytes() == expected.astype(np.float32).tobytes()
    assert found["text"]
    if method == "fgsm":
        moved = array_in(found["image"])[None]
        assert np.float32(found["probabilities"]) == pytest.approx(network.predict_proba(moved)[0])
    if method != "field":  # without a class, the answer is explained
        del asked["class"]
        answer = network.predict(DATA.test.images[1:2])[0]
        assert ask(session, "explain", image=image_of(1), **asked)["class"] == answer


def test_the_most_exciting_images_are_found_by_looking_at_all(session, network):
    found = ask(session, "explain", method="most_exciting", layer="2", filter=1)
    maps = dict(network.activations(DATA.test))["conv2"][:, 1].reshape(270, -1)
    best = np.argsort(-maps.max(axis=1), kind="stable")[:9]
    assert [each["index"] for each in found["images"]] == best.tolist()
    first = found["images"][0]
    assert (array_in(first["image"]) == DATA.test.images[best[0]]).all()
    assert np.float32(first["value"]) == maps[best[0]].max()
    assert tuple(first["field"]) == explain.receptive_field(network, "conv2", first["place"])
    assert "most_exciting" not in ask(Session(network), "describe")["explains"]


def drawn():
    """A one on paper."""
    picture = np.full((1, 60, 40), 255, np.uint8)
    picture[:, 10:50, 18:23] = 0
    return picture


def test_a_drawn_digit_is_prepared_for_the_range_of_the_network(session):
    found = ask(session, "prepare", image=array(drawn()))
    made = array_in(found["image"])
    assert (made.shape, made.dtype, made.max()) == ((1, 8, 8), np.uint8, 16)
    assert [step["name"] for step in found["steps"]][-1] == "centered"
    assert made[0, :, 3:5].mean() > made[0, :, :2].mean()  # light ink now
    block = np.zeros((1, 60, 60), np.uint8)
    block[:, 20:40, 20:40] = 255  # all of what is cropped is ink
    steps = {each["name"]: each["image"] for each in
             ask(session, "prepare", image=array(block))["steps"]}  # fmt: skip
    assert array_in(steps["cropped"]).mean() > 200
    paper = array(np.full((1, 9, 9), 255, np.uint8))
    assert "error" in ask(session, "prepare", image=paper)


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_for_other_classes_an_image_is_only_resized(channels):
    network = CNN(Conv2D(2), Dense(3)).build((3, 6, 5))
    picture = np.zeros((channels, 60, 50), np.uint8)
    picture[:3, :30] = 200
    picture[3:] = 255
    found = ask(Session(network), "prepare", image=array(picture))
    made = array_in(found["image"])
    assert made.shape == (3, 6, 5)
    assert (made[:, :3] == 200).all() and not made[:, 3:].any()
    two = array(np.zeros((2, 6, 5), np.uint8))
    assert "1, 3 or 4 channels" in ask(Session(network), "prepare", image=two)["error"]


class Trains:
    """Stands for a training."""

    def __init__(self):
        self.state, self.done = {"event": "training", "state": "running"}, []

    def do(self, word):
        self.done.append(word)
        self.state = self.state | {"state": word}


def test_a_training_is_told_what_to_do(network):
    training = Trains()
    asked = Session(network, training=training)
    assert ask(asked, "describe")["training"]["state"] == "running"
    assert ask(asked, "training", do="pause") == {"state": {"event": "training", "state": "pause"}}
    assert "did you mean 'stop'" in ask(asked, "training", do="stopp")["error"]
    assert training.done == ["pause"]


def test_a_diverged_network_is_shown_as_it_is(network):
    twin = copy.deepcopy(network)
    twin.layers[0].parameters["weight"][...] = np.nan
    found = ask(Session(twin), "look", image=image_of(), label=1)
    assert found["probabilities"] == [None] * 10 and found["loss"] is None
    assert np.isnan(array_in(found["maps"][0])).any()


# --- requests that make no sense -------------------------------------------------------------

ODD = [
    None, True, -1, 10**30, 0.5, 1e308, "", "0", "no such", "\ud800", [], [0], [[0]], [True], ["x"],
    [10**30], [-1, 0, 0], [0] * 500, {}, {"0": "x"}, {"0": [99]}, {"9.9": [0]}, {"0": [[0, 1]]},
    {"shape": [1, 8, 8]}, [{"layer": "0", "parameter": "weight", "index": [0], "value": 1}],
    {"shape": [1, 8, 8], "type": "uint8", "data": "AAAA"},
    {"shape": [1, 8, 8], "type": "uint8", "data": "no base64!"},
    {"shape": [1, 8, 8], "type": "object", "data": ""},
    {"shape": [2**40, 2**40], "type": "uint8", "data": ""},
    {"shape": ["8"], "type": "uint8", "data": ""}, {"shape": 8, "type": 8, "data": 8},
    {"shape": [1, 8, 8], "type": "float32", "data": base64.b64encode(b"\xff" * 256).decode()},
]  # fmt: skip
GOOD = {
    "network": 0, "index": 3, "image": image_of(), "label": 2, "off": {"0": [1]},
    "weights": None, "layer": "0", "place": [0, 1, 1], "other": 1, "method": "saliency", "class": 1,
    "parameter": "weight", "do": None,
}  # fmt: skip


@pytest.mark.slow
def test_no_request_is_answered_by_a_traceback_or_changes_the_network(session, network):
    before, refused = bits(network), 0
    changed = ["network", "image", "off", "weights"]
    read = {
        "describe": ["network"], "sample": ["index"], "look": [*changed, "label"],
        "sum": [*changed, "layer", "place"], "back": [*changed, "label", "layer", "place"],
        "weight": [*changed, "label", "layer", "parameter", "place"], "prepare": ["image"],
        "explain": [*changed, "method", "class"], "rescore": changed, "disagree": ["other"],
    }  # fmt: skip
    assert set(read) == set(session.words)
    for word, keys in {**read, "no such": [], None: [], 3: [], ("look",): []}.items():
        for key in [*keys, "id", "ask"]:
            for odd in ODD:
                reply = session.answer({"id": 1, "ask": word, **GOOD, key: odd})
                json.dumps(reply, allow_nan=False)
                error = reply.get("error", "fine")
                refused += error != "fine"
                assert 0 < len(error) <= 400 and "\n" not in error
                assert not re.match(r"\w+(Error|Exception)", error), (word, key, odd, error)
    assert refused > 500
    assert bits(network) == before
    good = {"layer": "0", "parameter": "bias", "index": [1], "value": 0.5}
    odd = [{key: value} for key in good for value in ("x", None, 7.5, 1e39, [99], {}, True)]
    for change in [3, {}, *(good | each for each in odd), good | {"layer": "3"}]:
        if change == good | {"value": 7.5}:
            continue
        assert "error" in session.answer({"id": 1, "ask": "look", **GOOD, "weights": [change]})


def test_an_image_of_nan_is_refused(session):
    image = array(np.full((1, 8, 8), np.nan, np.float32))
    assert "finite numbers" in ask(session, "look", image=image)["error"]


def test_an_error_that_nobody_meant_is_named():
    assert told(KeyError("conv9")) == "KeyError: 'conv9'"
    assert told(ValueError("a\n  b")) == "a b"
    assert len(told(ValueError("x" * 1000))) == 400


def test_many_threads_get_the_answers_of_one(session):
    requests = [
        {"id": k, "ask": word, "image": image_of(k), "network": k % 2, "label": 4, "layer": "0",
         "place": [1, 1, 1], "off": {"0": [k % 4]}}
        for k in range(12) for word in ("look", "sum", "rescore")
    ]  # fmt: skip
    expected = [session.answer(request) for request in requests]
    assert not any("error" in reply for reply in expected)
    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(session.answer, requests * 3)) == expected * 3


# --- the page ---------------------------------------------------------------------------------


def call(page, path=None, method="GET", body=None, host=None, **headers):
    """One request with exactly these headers; (status, headers, body)."""
    port = page.socket_address[1]
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    path = f"/{TOKEN}/" if path is None else path
    connection.putrequest(method, path, skip_host=True, skip_accept_encoding=True)
    for name, value in {"Host": f"127.0.0.1:{port}" if host is None else host, **headers}.items():
        for each in value if isinstance(value, list) else [value]:
            connection.putheader(name.replace("_", "-"), each)
    if body is not None and "Content_Length" not in headers:
        connection.putheader("Content-Length", str(len(body)))
    connection.endheaders(body)
    reply = connection.getresponse()
    found = reply.status, reply.headers, reply.read()
    connection.close()
    return found


def post(page, message, **more):
    body = message if isinstance(message, bytes) else json.dumps(message).encode()
    headers = {"Content_Type": "application/json", **more}
    return call(page, f"/{TOKEN}/ask", "POST", body, **headers)


def test_the_page_and_its_parts_are_the_files_of_the_front_end(page):
    assert call(page)[2] == (FRONT / "page.html").read_bytes()
    for path in FRONT.iterdir():
        status, headers, content = call(page, f"/{TOKEN}/{path.name}")
        assert (status, content) == (200, path.read_bytes())
        kind = {".js": "text/javascript", ".css": "text/css", ".html": "text/html"}
        assert headers["Content-Type"].startswith(kind.get(path.suffix, "image/svg+xml"))


def test_a_request_is_answered_as_by_the_session(page, session):
    message = {"id": 9, "ask": "look", "image": image_of(), "label": 2}
    status, _, body = post(page, message)
    assert (status, json.loads(body)) == (200, session.answer(message))
    assert "unknown ask" in json.loads(post(page, {"id": 1, "ask": "rm"})[2])["error"]
    assert "error" in json.loads(post(page, b'{"id": 1, "ask": "\\ud800"}')[2])
    assert "error" in session.answer(["describe"])


def test_a_small_answer_does_not_wait_for_a_full_packet(page, monkeypatch):
    accepted, made = [], H11Protocol.connection_made

    def note(protocol, transport):
        plain = transport.get_extra_info("socket")
        accepted.append(plain.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY))
        made(protocol, transport)

    monkeypatch.setattr(H11Protocol, "connection_made", note)
    assert call(page)[0] == 200
    assert accepted and all(accepted)


@pytest.mark.parametrize("path", [None, f"/{TOKEN}/page.js", "/", f"/{TOKEN}/ask"])
def test_every_answer_has_the_headers_that_keep_a_page_at_home(page, path):
    for name, value in HEADERS.items():
        assert call(page, path)[1][name] == value
    assert "default-src 'self'" in HEADERS["Content-Security-Policy"]


HOSTS = [
    "evil.example", "127.0.0.1.evil.example", "", "0.0.0.0", "127.0.0.2", "localhost.", "[::2]",
    "127.0.0.1:x", "localhost:80@evil.example", "127.1", "::1", "user@localhost",
]  # fmt: skip


@pytest.mark.parametrize("host", HOSTS)
@pytest.mark.parametrize("port", ["", ":1234"])
def test_another_host_is_refused(page, host, port):
    assert call(page, host=host + port)[0] == 400
    message = {"id": 1, "ask": "describe"}
    assert post(page, message, host=host + port)[0] == 400


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "[::1]", "localhost:99", "[::1]:99"])
def test_the_names_of_this_machine_are_taken(page, host):
    assert call(page, host=host)[0] == 200


def test_a_post_from_another_origin_is_refused(page):
    message, port = {"id": 1, "ask": "describe"}, page.socket_address[1]
    home = f"http://127.0.0.1:{port}"
    assert post(page, message, Origin=home)[0] == post(page, message)[0] == 200
    for origin in ("null", "http://evil.example", f"{home}.evil.example", "", f"https{home[4:]}",
                   "http://127.0.0.1", f"http://localhost:{port}"):  # fmt: skip
        assert post(page, message, Origin=origin)[0] == 403


def test_a_form_of_another_page_cannot_ask(page):
    """What a browser sends without asking first is not JSON by its type."""
    message = {"id": 1, "ask": "describe"}
    for kind in ("text/plain", "application/x-www-form-urlencoded", "multipart/form-data", ""):
        assert post(page, message, Content_Type=kind)[0] == 415


@pytest.mark.parametrize("method", ["PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "QUERY"])
@pytest.mark.parametrize("path", ["", "ask", "events", "page.js"])
def test_other_methods_are_refused(page, method, path):
    assert call(page, f"/{TOKEN}/{path}", method)[0] == 405


def test_a_page_is_read_and_a_question_posted(page):
    assert call(page, f"/{TOKEN}/ask")[0] == 404
    for path in ("", "events", "page.js"):
        assert (
            call(page, f"/{TOKEN}/{path}", "POST", b"{}", Content_Type="application/json")[0] == 405
        )


def paths():
    """Ways to a file outside the list, to other tokens, and noise."""
    climbs = ["../session.py", "..%2fsession.py", "%2e%2e/session.py", "....//session.py",
              "..\\session.py", "/etc/passwd", "%2fetc%2fpasswd", "page.js/", "page.js%00",
              "./../../__init__.py", "front/page.js", "ask/", "ask/x", "events/", "PAGE.JS",
              "file:///etc/passwd", "networks/mnist.safetensors"]  # fmt: skip
    yield from (f"/{TOKEN}/{climb}" for climb in climbs)
    yield from ("/", "//", f"/{TOKEN}", f"//{TOKEN}/", f"/{TOKEN}x/", f"/{TOKEN[1:]}/", "/page.js",
                f"/{TOKEN.upper()}/", f"/x/../{TOKEN}/", f"/./{TOKEN}/")  # fmt: skip
    rng = np.random.default_rng(0)
    letters = [*"abt./%2f\\~:;=&+-_<>", "%00", "%ff", "%2e", "..", TOKEN]
    for _ in range(150):
        noise = "".join(rng.choice(letters, rng.integers(1, 12)))
        yield f"/{TOKEN}/x{noise}"
        yield f"/x{noise}"


def test_no_path_leads_to_anything_outside_the_list(page):
    for path in paths():
        status, _, body = call(page, path)
        assert 400 <= status < 500, path
        assert b"import" not in body and b"root:" not in body


BODIES = [
    b"", b"{", b"[]", b"3", b"null", b'"describe"', b"\xff\xfe{}", b"{}", b'{"ask": "describe"}',
    b'{"id": "1", "ask": "describe"}', b'{"id": true, "ask": "describe"}', b'{"id": 1.0}',
    b'{"id": NaN}', b'{"id": 1, "ask": "describe", "network": Infinity}',
    b'{"id": ' + b"9" * 5000 + b"}", b"[" * 200_000, b'{"id":' * 100_000, b'{"a":1}' * 2,
]  # fmt: skip


@pytest.mark.parametrize("body", BODIES, ids=lambda body: body[:12].decode("latin-1"))
def test_a_body_that_is_no_request_is_refused(page, body):
    status, _, told = post(page, body)
    assert status == 400
    assert "expected a JSON object" in json.loads(told)["error"]


def test_a_body_that_is_too_large_is_refused(page):
    body = json.dumps({"id": 1, "ask": "describe", "more": ""}).encode()
    fits = body[:-2] + b"x" * (MOST_BYTES - len(body)) + body[-2:]
    assert post(page, fits)[0] == 200
    for size in (str(MOST_BYTES + 1), "9" * 15):  # nothing has to be sent to be refused
        assert post(page, b"", Content_Length=size)[0] == 413
    chunks = b"%x\r\n%s\r\n0\r\n\r\n" % (len(fits) + 1, fits + b" ")
    headers = {"Content_Length": [], "Transfer_Encoding": "chunked"}
    assert post(page, chunks, **headers)[0] == 413


def test_clients_side_by_side_get_the_answers_of_one(page, session):
    requests = [
        {"id": k, "ask": word, "image": image_of(k % 9), "layer": "3", "place": [1, 1, 1]}
        for k in range(10) for word in ("look", "sum", "rescore")
    ]  # fmt: skip
    expected = [json.loads(json.dumps(session.answer(request))) for request in requests]
    with ThreadPoolExecutor(10) as pool:
        replies = list(pool.map(lambda request: post(page, request), requests))
    assert [json.loads(body) for _, _, body in replies] == expected


# --- events -----------------------------------------------------------------------------------


class Tab:
    """Listens to a page's events."""

    def __init__(self, page):
        self.connection = http.client.HTTPConnection(*page.socket_address[:2], timeout=60)
        self.connection.request("GET", f"/{TOKEN}/events")
        self.reply = self.connection.getresponse()
        assert self.reply.headers["Content-Type"].startswith("text/event-stream")
        assert self.line() == ": here"

    def line(self):
        """The next line that is not empty; None at the end."""
        for line in self.reply:
            if line.strip():
                return line.decode().strip()
        return None

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        self.reply.close()
        self.connection.close()

    def event(self):
        return json.loads(self.line().removeprefix("data: "))


def test_every_tab_hears_of_events_and_the_latest_of_each_kind_counts(page):
    page.send({"event": "networks"})  # nobody is there yet
    tabs = [Tab(page), Tab(page)]
    senders = [
        threading.Thread(target=page.send, args=[{"event": "training", "step": step}])
        for step in range(5)
    ]
    for thread in senders:
        thread.start()
    for thread in senders:
        thread.join()
    page.send({"event": "training", "step": np.int64(99), "loss": float("nan")})
    page.send({"event": "networks"})
    for tab in tabs:
        seen = []
        while {"event": "networks"} not in seen:
            seen.append(tab.event())
        assert {"event": "training", "step": 99, "loss": None} in seen
        tab.close()


def test_events_that_nobody_reads_are_dropped(page):
    tab = Tab(page)
    reader = page.readers[-1]
    reader.wake.set = lambda: None  # it never gets to read
    for step in range(10_000):
        page.send({"event": "training", "step": step})
    assert reader.waiting == {"training": {"event": "training", "step": 9_999}}
    tab.close()


def test_a_page_that_ends_leaves_no_connection_open(session, monkeypatch):
    """Not even one that arrives while it ends, and so misses what the others are told."""
    monkeypatch.setattr(H11Protocol, "shutdown", lambda _: None)
    made = Page(session, token=TOKEN).start()
    with Tab(made):
        (connection,) = made.server.server_state.connections
        client = http.client.HTTPConnection(*made.socket_address[:2], timeout=60)
        client.request("GET", f"/{TOKEN}/")
        assert client.getresponse().read()
        both = list(made.server.server_state.connections)
        made.close()
        client.close()
    assert connection in both and made.readers == []
    assert [each.transport.get_extra_info("socket").fileno() for each in both] == [-1, -1]


# --- the program ------------------------------------------------------------------------------


@pytest.mark.slow
def test_ctrl_c_ends_the_program_with_a_tab_open(tmp_path):
    words = ["digits", "--no-browser", "--token", TOKEN]
    process = subprocess.Popen(
        [sys.executable, "-m", "glassbox.explorer", *words], stdout=subprocess.PIPE, text=True,
        stderr=subprocess.PIPE, cwd=Path(explorer.__file__).parents[2],
    )  # fmt: skip
    try:
        found = re.search(r"http://127\.0\.0\.1:(\d+)/", process.stdout.readline())
        page = type("There", (), {"socket_address": ("127.0.0.1", int(found[1]))})
        assert json.loads(post(page, {"id": 1, "ask": "describe"})[2])["title"] == "digits"
        tab = Tab(page)
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=60)
        tab.close()
    finally:
        process.kill()
    assert (process.returncode, err) == (0, "")


def session_of(*words):
    page = program.make_page(program._parser().parse_args(list(words)))
    page.close()  # it is not to serve
    return page.session


def test_without_mnist_at_hand_the_digits_open(tmp_path, capsys):
    asked = session_of("--data-dir", str(tmp_path))
    assert asked.networks[0].title == "digits"
    assert len(asked.samples) == 270
    asked = session_of("mnist", "--data-dir", str(tmp_path))
    assert asked.samples is None
    assert "draw some" in capsys.readouterr().out
    assert asked.networks[0].network().input_shape == (1, 28, 28)
    assert list(tmp_path.iterdir()) == []


def test_a_run_is_listed_with_the_epochs_that_it_kept(tmp_path, small):
    run = tmp_path / "2026-01-02_digits"
    (run / "epochs").mkdir(parents=True)
    small.save(run / "model.safetensors")
    for number in (2, 10, 1):
        small.save(run / "epochs" / f"{number:03d}.safetensors")
    (run / "epochs" / "004.safetensors").write_bytes(b"damaged")
    (run / "epochs" / "best.safetensors").write_bytes(b"not an epoch")
    asked = session_of(str(run), "fashion-mnist")
    listed = ask(asked, "describe")["networks"]
    assert [each["epoch"] for each in listed] == [None, 1, 2, 4, 10, None]
    assert listed[0]["title"] == run.name and listed[5]["title"] == "fashion-mnist"
    assert ask(asked, "look", network=2, image=image_of()) == ask(asked, "look", image=image_of())
    assert "004.safetensors" in ask(asked, "describe", network=3)["error"]
    assert asked.networks[1].network() is asked.networks[1].network()  # read once
    assert "expected the shape" in ask(asked, "look", network=5, image=image_of())["error"]


@pytest.mark.parametrize(
    ("words", "said"),
    [(["no/such.safetensors"], "no/such.safetensors"), (["--port", "70000"], "0..65535"),
     (["--token", "short"], "16 to 100"), (["--host", "203.0.113.7"], "address"),
     (["--host", "0.0.0.0"], "one address")],
)  # fmt: skip
def test_mistakes_end_with_a_sentence(words, said, capsys, tmp_path):
    with pytest.raises(SystemExit) as end:
        program.main([*words, "--no-browser", "--data-dir", str(tmp_path)])
    assert end.value.code == 2
    err = capsys.readouterr().err
    assert said in err and "Traceback" not in err
    (tmp_path / "empty").mkdir()
    with pytest.raises(SystemExit):
        program.main([str(tmp_path / "empty"), "--no-browser"])
    assert "a run's folder" in capsys.readouterr().err


def test_the_command_opens_the_explorer(monkeypatch):
    from glassbox.cli import command

    given = []
    monkeypatch.setattr(program, "main", given.append)
    command.main(["explore", "digits", "--port", "80"])
    assert given == [["digits", "--port", "80"]]


SHIPPED = json.loads((Path(explorer.__file__).parent / "networks" / "networks.json").read_text())


@pytest.mark.parametrize("name", sorted(program.SHIPPED))
def test_the_networks_that_come_with_it_are_small(name):
    path, said = program.SHIPPED[name], SHIPPED[name]
    assert path.stat().st_size == said["bytes"] < 100_000
    assert CNN.load(path).parameter_count == said["parameters"]


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(program.SHIPPED))
def test_the_networks_that_come_with_it_are_as_good_as_said(name):
    network, said = CNN.load(program.SHIPPED[name]), SHIPPED[name]
    data = program.samples_for(network, os.environ.get("GLASSBOX_DATA"))
    if data is None:
        pytest.skip(f"{said['data']} is not on this machine")
    assert network.evaluate(data).accuracy == pytest.approx(said["test_accuracy"], abs=2e-4)


def test_the_examples_of_the_page_give_what_they_say():
    count, said = Documented("docs/explorer.md").examples()
    assert count > 5 and not said, said


# --- network.explore ----------------------------------------------------------------------------


def test_in_a_session_the_page_opens_and_stays(small, monkeypatch, capsys):
    opened = []
    monkeypatch.setattr(sys, "ps1", ">>> ", raising=False)
    monkeypatch.setattr(explorer.webbrowser, "open", opened.append)
    page = small.explore(samples=DATA.test)
    assert page.url in capsys.readouterr().out
    connection = http.client.HTTPConnection(*page.socket_address[:2], timeout=60)
    connection.request("GET", f"/{page.token}/")
    assert connection.getresponse().status == 200
    connection.close()
    page.close()


def test_in_a_script_the_page_stays_until_ctrl_c(small, monkeypatch, capsys):
    ran = []

    def run(page):
        page.close()
        ran.append(page.url)
        raise KeyboardInterrupt

    monkeypatch.delattr(sys, "ps1", raising=False)
    monkeypatch.setattr(Page, "run", run)
    assert small.explore(browser=False) is None
    out = capsys.readouterr().out
    assert ran[0] in out and "Ctrl-C" in out


def test_a_file_is_written_by_the_host_of_files(small, monkeypatch, tmp_path):
    wrote = ModuleType("glassbox.explorer.single_file")
    wrote.write = lambda *given: given
    monkeypatch.setitem(sys.modules, wrote.__name__, wrote)
    target = tmp_path / "small.html"
    assert small.explore(target, DATA.test) == (small, target, DATA.test)


def test_what_cannot_be_explored_is_said(monkeypatch):
    with pytest.raises(ValueError, match="not built yet"):
        CNN(Dense(3)).explore()
    built = CNN(Dense(3)).build((1, 2, 2))
    monkeypatch.setitem(sys.modules, "glassbox.explorer.page", None)
    with pytest.raises(ImportError, match=r"glassbox-cnn\[explorer\]"):
        built.explore()


def test_a_cell_of_a_notebook_asks_the_session(network, monkeypatch):
    pytest.importorskip("anywidget", reason="anywidget is not installed")
    monkeypatch.setattr(explorer, "in_notebook", lambda: True)
    widget = network.explore(samples=DATA.test)
    sent = []
    monkeypatch.setattr(widget, "send", lambda message, *_: sent.append(message))
    message = {"id": 3, "ask": "look", "image": image_of()}
    widget._handle_custom_msg(message, [])
    assert sent == [Session(network, DATA.test).answer(message)]
    assert "render" in widget._esm
