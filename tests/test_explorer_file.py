"""The file host: the same questions, asked of Python and of the JavaScript in one HTML file."""

import re
import runpy
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from browser import empty_page
from test_edits import random_network
from test_explain import RNG
from test_layers import every_layer

from CNN import CNN
from Datasets import Dataset, Scaling
from examples import e_fashion_cnn
from Filters import Conv2D, MaxPool2D, Residual
from glassbox.data.dataset import UNLABELED
from glassbox.explain import nodes
from glassbox.explorer import single_file
from glassbox.explorer.messages import array, array_of
from glassbox.explorer.session import Held, Session
from MLP import Activation, BatchNorm, Dense, Dropout, Flatten, ReLU, Softmax

pytestmark = pytest.mark.slow  # a browser has to begin

ROOT = Path(__file__).parent.parent
TITLE = "a network"
NORMALIZATIONS = ["unit", "center", "standard", "per-image", "min-max", "none"]
ASK = """async ([saved, requests]) => {
    const model = host(saved);
    const answers = new Map();
    const waiting = new Map();
    model.on("msg:custom", (answer) => waiting.get(answer.id)(answer));
    return Promise.all(requests.map((request, id) => new Promise((done) => {
        waiting.set(id, done);
        model.send({ ...request, id });
    })));
}"""

TIME = """([saved, { image }]) => {
    const { describe, layers } = saved;
    const network = networkOf(saved);
    const pixels = Uint8Array.from(atob(image.data), (letter) => letter.charCodeAt(0));
    return Array.from({ length: 9 }, () => {
        const started = performance.now();
        network.run(pixels);
        return performance.now() - started;
    });
}"""


@pytest.fixture(scope="module")
def computing(browser):
    """A page that computes what the file does, but draws nothing."""
    start = "window.host = file.open; window.networkOf = file.networkOf;"
    with empty_page(browser) as page:
        page.set_content(single_file.page(TITLE, "", {}, ("forward", "file"), start))
        yield page


@pytest.fixture
def ask(computing):
    """A function that asks the JavaScript: (network, samples, requests) -> answers."""

    def asked(network, samples, requests, half=False):
        saved = single_file.record(network, TITLE, samples, half)
        answers = computing.evaluate(ASK, [saved, requests])
        assert not computing.complaints
        return answers

    return asked


def labeled(images, classes=4, seed=5, scaling=None):
    """Raw images as a Dataset."""
    labels = RNG(seed).integers(classes, size=len(images))
    names = tuple("abcdefghij"[:classes])
    return Dataset(images, labels, names, scaling or Scaling.fit("standard", images))


def session_of(network, samples=None):
    return Session([Held(TITLE, network)], samples)


def bytes_of(*shape, seed=3):
    return RNG(seed).integers(0, 256, shape).astype(np.uint8)


def stirred(network, seed=1):
    """The network with biases, scales and running statistics that are not all alike."""
    rng = RNG(seed)
    for node in nodes(network):
        if not node.adds:
            for name, each in node.layer.parameters.items():
                each += (name != "weight") * rng.normal(0, 0.3, each.shape).astype(each.dtype)
            for each in node.layer.buffers.values():
                each += rng.random(each.shape).astype(each.dtype)
    return network


def questions(network, image, seed=2, places=3, **changed):
    """A look at an image, and the sums behind some places of every layer."""
    rng, base = RNG(seed), {"image": array(image), **changed}
    found = [{"ask": "look", **base}]
    for node in nodes(network):
        for _ in range(places):
            place = [int(rng.integers(n)) for n in node.layer.output_shape]
            found.append({"ask": "sum", "layer": node.address, "place": place, **base})
    return found


def same(ours, theirs, where="answer", close=1e-5):
    """Assert that two answers say the same, their numbers up to rounding."""
    if isinstance(ours, dict) and "data" in ours:
        ours, theirs = array_of(ours), array_of(theirs)
        assert ours.shape == theirs.shape, where
        apart = np.abs(ours.astype(np.float64) - theirs).max(initial=0)
        assert apart <= close * max(np.abs(ours).max(initial=0), 0.01), where
    elif isinstance(ours, dict):
        assert ours.keys() == theirs.keys(), where
        for key in ours.keys() - {"id"}:
            same(ours[key], theirs[key], f"{where}.{key}", close)
    elif isinstance(ours, list):
        assert len(ours) == len(theirs), where
        for number, pair in enumerate(zip(ours, theirs, strict=True)):
            same(*pair, f"{where}[{number}]", close)
    elif isinstance(ours, float):
        assert theirs == pytest.approx(ours, rel=close, abs=close), where
    elif isinstance(ours, str):  # numbers in a formula are rounded to six digits
        number = r"-?\d+(\.\d+)?(e[-+]?\d+)?"
        assert re.sub(number, "#", theirs) == re.sub(number, "#", ours), where
    else:
        assert ours == theirs, where


def agree(ask, network, samples, requests, close=1e-5):
    """Assert that Python and JavaScript answer alike."""
    session = session_of(network, samples)
    for number, (request, theirs) in enumerate(
        zip(requests, ask(network, samples, requests), strict=True)
    ):
        ours = session.answer({**request, "id": number})
        assert "error" not in ours | theirs, (ours.get("error"), theirs.get("error"))
        if ours.get("kind") == "formula":  # Python says in so many words that it has no terms
            ours = {
                key: value for key, value in ours.items() if value or "t_" not in key != "terms"
            }
        what = [request["ask"], request.get("layer"), request.get("place")]
        same(ours, theirs, f"{what}", close)


# --- the numbers --------------------------------------------------------------------------------


@every_layer
def test_every_layer(make, shape, ask):
    rows = len(shape) == 1
    network = CNN(*[Flatten()] * rows, make(), Flatten())
    network = stirred(network.build((*shape, 1, 1) if rows else shape))
    if type(make()) not in single_file.COMPUTED:  # a new one
        with pytest.raises(ValueError, match=r"has no forward pass in front/forward\.js"):
            single_file.record(network, TITLE, None, half=False)
        return
    image = RNG(4).standard_normal(network.input_shape).astype(np.float32)
    samples = labeled(image[None], 1, scaling=Scaling("none"))
    agree(ask, network, samples, questions(network, image))


@pytest.mark.parametrize("part", range(5))
def test_random_networks(part, ask):
    for number in range(10 * part, 10 * part + 10):
        network = stirred(random_network(number, np.float32, "numpy")[1].build((1, 8, 8)), number)
        images = bytes_of(3, 1, 8, 8, seed=number)
        agree(ask, network, labeled(images), questions(network, images[0], number))


def nested():
    """Blocks in blocks, normalized, with and without projections."""
    inner = Residual(Conv2D(4, activation="relu"), BatchNorm(), activation="tanh")
    block = Residual(Conv2D(4, stride=2), inner, Dropout(0.2))
    layers = Conv2D(3), block, Residual(Conv2D(4), ReLU()), MaxPool2D(2), Dense(4, "softmax")
    return stirred(CNN(*layers, loss="cross_entropy").build((3, 9, 8)))


@pytest.mark.parametrize("name", NORMALIZATIONS)
@pytest.mark.parametrize("floats", [False, True], ids=["bytes", "floats"])
def test_scaling(name, floats, ask):
    images = bytes_of(6, 3, 9, 8) // (64 if name == "none" else 1)
    images = (images / 3 - 20).astype(np.float32) if floats else images
    network = nested()
    network.scaling = Scaling.fit(name, images)
    requests = [{"ask": "look", "image": array(image)} for image in images]
    agree(ask, network, None, requests)


def test_an_image_of_one_color_is_scaled_to_nothing(ask):
    for name in ("per-image", "min-max"):
        network = nested()
        network.scaling = Scaling(name, 0, 1)
        image = np.full((3, 9, 8), 7, np.uint8)
        agree(ask, network, None, [{"ask": "look", "image": array(image)}])


def test_what_is_switched_off_or_changed(ask):
    network, images = nested(), bytes_of(7, 3, 9, 8)
    off = {"0": [1], "1.0": [0, 3], "1": [2], "1.shortcut": [1], "4": [3]}
    weights = [
        {"layer": "0", "parameter": "weight", "index": [1, 2, 0, 1], "value": 0.75},
        {"layer": "1.1.1", "parameter": "bias", "index": [3], "value": -2.0},
        {"layer": "4", "parameter": "weight", "index": [2, 13], "value": 0.5},
    ]
    requests = [
        *questions(network, images[0], off=off), *questions(network, images[1], weights=weights),
        *questions(network, images[2], off=off, weights=weights), *questions(network, images[0]),
        {"ask": "rescore", "off": off, "weights": weights}, {"ask": "rescore", "off": {"4": [0]}},
        {"ask": "sample", "index": 6}, questions(network, images[0], off=None, weights=None)[0],
    ]  # fmt: skip
    samples = labeled(images)
    samples = samples.subset(single_file._some_of_each(samples.labels))
    agree(ask, network, samples, requests)
    (described,) = ask(network, samples, [{"ask": "describe"}])
    ours = session_of(network, samples).answer({"ask": "describe"})
    words = {"describe", "look", "sum", "prepare", "explain", "sample", "rescore"}
    assert set(described.pop("can")) == words
    assert described.pop("explains") == ["occlusion"]
    for key in ("can", "explains", "id"):
        ours.pop(key), described.pop(key, None)
    assert described == ours


def test_terms_beyond_4000_are_counted(ask):
    network = stirred(CNN(Dense(2)).build((1, 70, 70)))
    image = bytes_of(1, 70, 70)
    agree(ask, network, labeled(image[None], 2), questions(network, image, places=1))


def test_of_equal_numbers_the_first_wins(ask):
    network = CNN(MaxPool2D(2), Dense(2)).build((1, 4, 4))
    image = np.ones((1, 4, 4), np.uint8)
    agree(ask, network, None, questions(network, image))


def test_half_the_size_for_three_digits(ask):
    network, images = nested(), bytes_of(4, 3, 9, 8)
    whole, half = (
        ask(network, labeled(images), [{"ask": "look", "image": array(images[0])}], half=half)[0]
        for half in (False, True)
    )
    assert whole["scores"] != half["scores"]
    same(whole["scores"], half["scores"], close=2e-3)
    network.layers[-1].parameters["bias"][:] = 1e5
    with pytest.raises(ValueError, match=r"half: dense1 bias holds numbers beyond 65,504"):
        single_file.record(network, TITLE, None, half=True)


def test_numbers_of_16_bits(ask):
    network = CNN(Dense(2)).build((1, 32, 32))
    finite = np.arange(2**16, dtype=np.uint16).view(np.float16)
    finite = finite[np.isfinite(finite)][::31]  # 2,048 of 63,488, the smallest among them
    network.layers[0].parameters["weight"][:] = finite.reshape(2, 1024)
    image = {"image": array(np.ones((1, 32, 32), np.uint8))}
    requests = [{"ask": "sum", "layer": "0", "place": [unit], **image} for unit in (0, 1)]
    answers = ask(network, None, requests, half=True)
    weights = [term["weight"] for answer in answers for term in answer["terms"]]
    assert np.array_equal(weights, finite)


@pytest.mark.parametrize("request_, expected", [
    ({"ask": "dance"}, "ask: expected one of describe, look, sum"),
    ({"ask": "look"}, "image: expected the shape 3 x 9 x 8, got undefined"),
    ({"ask": "sum", "layer": "9", "place": [0]}, "layer: there is none at 9; expected"),
    ({"ask": "sum", "layer": "0", "place": [0, 9, 0]}, "place: expected one inside 3 x 9 x 8"),
    ({"ask": "sum", "layer": "input", "place": [0, 0, 0]}, "place: expected one inside"),
    ({"ask": "sample", "index": 4}, "index: expected a number from 0 to 3, got 4"),
    ({"ask": "explain", "method": "tea"}, "method: a file answers occlusion, got tea"),
    ({"ask": "look", "off": {"12": [0]}}, "layer: there is none at 12"),
    ({"ask": "look", "weights": [{"layer": "0", "parameter": "bias", "index": [3], "value": 1}]},
     "weights: conv1 has no number bias [3]"),
    ({"ask": "look", "weights": [{"layer": "0", "parameter": "bias", "index": [0], "value": 1e39}]},
     "weights: conv1 has no number bias [0] that 1e+39 could replace"),
    ({"ask": "look", "off": {"0": [3]}}, "off: conv1 has the channels 0 to 2, got 3"),
])  # fmt: skip
def test_errors_are_sentences(request_, expected, ask):
    images = bytes_of(4, 3, 9, 8)
    image = {"image": array(images[0])} if len(request_) > 1 else {}
    (answer,) = ask(nested(), labeled(images), [image | request_])
    assert expected in answer["error"]


@pytest.mark.parametrize("floats", [False, True], ids=["bytes", "floats"])
@pytest.mark.parametrize("end", ["softmax", "sigmoid", None])
def test_covering_parts_of_the_image(end, floats, ask):
    network = stirred(CNN(Conv2D(3), MaxPool2D(5), Dense(4, end)).build((2, 30, 29)))
    images = bytes_of(4, 2, 30, 29)
    images = (images / 3 - 20).astype(np.float32) if floats else images
    network.scaling = Scaling.fit("standard", images)
    request = {"ask": "explain", "method": "occlusion", "image": array(images[0])}
    agree(ask, network, labeled(images), [request | {"class": 0}, request | {"label": 2}, request])


# --- preparation --------------------------------------------------------------------------------

DIGITS = tuple("0123456789")


def drawn(height=60, width=90):
    """A seven in light ink, a byte per pixel."""
    picture = np.zeros((height, width), np.uint8)
    picture[10:16, 30:60] = 255
    for row in range(16, 50):
        picture[row, 54 - row // 2 : 61 - row // 2] = 255
    return picture


def digits_network(scaling=None):
    network = CNN(Dense(10)).build((1, 28, 28))
    network.classes, network.scaling = DIGITS, scaling or Scaling("unit")
    return network


def prepared(ask, network, pictures):
    requests = [{"ask": "prepare", "image": array(picture)} for picture in pictures]
    return zip(requests, ask(network, None, requests), strict=True)


def test_a_drawn_digit_is_prepared_as_in_python(ask):
    """Size, place, light or dark ink and color do not matter."""
    seven, paper = drawn(), np.zeros((3, 60, 90), np.uint8)
    moved = np.zeros((200, 150), np.uint8)
    moved[100:160, 40:130] = seven
    pictures = [seven[None], 255 - seven[None], moved[None], paper + 60 + seven // 2]
    pictures += [np.stack([220 - seven // 2, 210 - seven // 4, 200 - seven // 2])]
    network = digits_network()
    seen = []
    for request, theirs in prepared(ask, network, pictures):
        ours = session_of(network).answer(request)
        names = ["gray", "ink", "cropped", "fitted", "centered"]
        assert [step["name"] for step in theirs["steps"]] == names
        one, two = (array_of(each["image"]).astype(float)[0] for each in (ours, theirs))
        assert np.corrcoef(one.ravel(), two.ravel())[0, 1] > 0.95
        assert two.max() > 250 and np.count_nonzero(two.any(axis=1)) == 20
        mass = two.sum()
        middle = [float(two.sum(axis=1 - axis) @ np.arange(28) / mass) for axis in (0, 1)]
        assert middle == pytest.approx([14, 14], abs=0.5)
        seen.append(two)
    for each in seen[1:]:
        assert np.abs(each - seen[0]).max() <= 4


def test_a_blank_picture_is_an_error(ask):
    for _, answer in prepared(ask, digits_network(), [np.full((1, 9, 9), 200, np.uint8)]):
        assert "the picture is blank" in answer["error"]


@pytest.mark.parametrize("shape", [(3, 9, 8), (1, 9, 8)])
def test_other_images_are_resized_as_in_python(shape, ask):
    network = CNN(Dense(2)).build(shape)
    for size in ((45, 40), (18, 90), (40, 16)):
        picture = bytes_of(3, *size)
        for request, theirs in prepared(ask, network, [picture]):
            ours = session_of(network).answer(request)
            assert [step["name"] for step in theirs["steps"]] == ["resized"]
            one, two = (array_of(each["image"]).astype(float) for each in (ours, theirs))
            assert np.abs(one - two).max() <= 2, size


@pytest.mark.parametrize("low, high", [(0, 1), (-1, 1), (0, 16)])
def test_prepared_images_have_the_range_of_the_networks(low, high, ask):
    network = digits_network(Scaling("unit", low, high))
    for request, theirs in prepared(ask, network, [drawn()[None]]):
        ours = array_of(session_of(network).answer(request)["image"])
        found = array_of(theirs["image"])
        assert found.dtype == ours.dtype
        assert (found.min(), found.max()) == (low, high)


# --- the file -----------------------------------------------------------------------------------


def network_of_main(classes=DIGITS):
    """The network of main.py."""
    make = runpy.run_path(str(ROOT / "main.py"))["network"]
    options = SimpleNamespace(
        classes=10, learning_rate=0.004, seed=0, threads=1, kernels="numpy", eager=True
    )
    network = make(options).build((1, 28, 28))
    network.classes, network.scaling = tuple(classes), Scaling("unit")
    return network


def opened(page, path):
    """The page of a file, once it has drawn the network."""
    page.goto(path.as_uri())
    page.locator("canvas:visible").first.wait_for()
    assert not page.complaints
    return page


def test_it_opens_from_the_disk_and_asks_for_nothing_else(page, tmp_path):
    network = network_of_main()
    data = labeled(bytes_of(200, 1, 28, 28), 10)
    path = single_file.write(network, tmp_path / "digits.html", data)
    assert path == tmp_path / "digits.html"
    assert path.stat().st_size < 500_000
    opened(page, path)
    assert page.title() == "digits"
    assert page.requests == [path.as_uri()]
    for layer in network.layers:
        assert page.get_by_text(layer.name, exact=True).count()
    half = single_file.write(network, tmp_path / "half.html", data, half=True)
    assert half.stat().st_size < path.stat().st_size - 150_000
    opened(page, half)


def test_it_may_not_ask_for_anything(page, tmp_path):
    opened(page, single_file.write(network_of_main(), tmp_path / "digits.html"))
    page.evaluate("""() => {
        window.refused = [];
        const note = (event) => refused.push(event.effectiveDirective);
        document.addEventListener("securitypolicyviolation", note);
        fetch("http://localhost/").catch(() => {});
        new Image().src = "http://localhost/dot.png";
        const script = document.createElement("script");
        script.textContent = "window.ran = true";
        document.body.append(script);
    }""")
    page.wait_for_function("() => refused.length === 3")
    assert sorted(page.evaluate("refused")) == ["connect-src", "img-src", "script-src-elem"]
    assert page.evaluate("window.ran === undefined")


def test_a_network_that_has_diverged_is_shown_as_not_finite(page, tmp_path):
    network = network_of_main()
    network.layers[-1].parameters["bias"][:] = np.nan
    page.goto(single_file.write(network, tmp_path / "digits.html").as_uri())
    page.locator(".verdict", has_text="not finite").wait_for()
    assert "NaN" not in page.locator(".scores").inner_text()
    assert page.complaints == []


def test_names_are_text(page, tmp_path):
    evil = "</script><script>window.ran = true</script><!-- <img src=x onerror='window.ran = 1'>"
    network = network_of_main([f"{evil}{number}" for number in range(10)])
    network.layers[0].name = "<b>conv</b>"
    path = single_file.write(
        network, tmp_path / "<i>&amp; title.html", labeled(bytes_of(3, 1, 28, 28), 10)
    )
    opened(page, path)
    assert page.title() == "<i>&amp; title"
    assert page.get_by_text(f"{evil}7").count()
    assert page.get_by_text("<b>conv</b>", exact=True).count()
    assert page.evaluate("window.ran === undefined")
    assert page.requests == [path.as_uri()]


def test_twenty_images_of_all_classes_are_taken():
    data = labeled(bytes_of(500, 1, 28, 28), 10)
    saved = single_file.record(network_of_main(), TITLE, data, half=False)
    assert np.bincount([each["label"] for each in saved["samples"]]).tolist() == [2] * 10
    first = int(np.flatnonzero(data.labels == 0)[0])
    assert np.array_equal(array_of(saved["samples"][0]["image"]), data.images[first])
    unlabeled = Dataset(data.images[:3], np.zeros(3, int), UNLABELED, Scaling("unit"))
    saved = single_file.record(network_of_main(), TITLE, unlabeled, half=False)
    assert [each["label"] for each in saved["samples"]] == [None] * 3


class Doubled(Dense):
    """A layer of one's own."""

    def forward(self, x, context):
        y, cache = super().forward(x, context)
        return 2 * y, cache


class Cubed(Activation):
    word = "cubed"

    def apply(self, z):
        return z**3


def test_what_the_browser_cannot_compute_is_refused(tmp_path, monkeypatch):
    with pytest.raises(ValueError, match="not built"):
        single_file.write(CNN(Dense(2)), tmp_path / "x.html")
    layers = Residual(Conv2D(2, activation=Cubed())), Doubled(3), Dense(2)
    network = CNN(*layers).build((1, 4, 4))
    network.layers[2].forward = lambda x, context: (x, None)
    with pytest.raises(ValueError) as caught:
        single_file.write(network, tmp_path / "x.html")
    for part in (
        "network.explore() without a file", "residual1.conv1: Cubed is not a class of this library",
        "dense1: Doubled is not a class of this library", "dense2: forward was replaced",
    ):  # fmt: skip
        assert part in str(caught.value)
    for shape, layer in (((4,), Dense(2)), ((1, 4, 4), Conv2D(2))):
        with pytest.raises(ValueError, match="end it with Dense or Flatten"):
            single_file.write(CNN(layer).build(shape), tmp_path / "x.html")
    with pytest.raises(ValueError, match=r"samples: expected images \(1, 28, 28\)"):
        data = labeled(bytes_of(3, 1, 8, 8))
        single_file.write(network_of_main(), tmp_path / "x.html", data)
    monkeypatch.setattr(single_file, "COMPUTED", (MaxPool2D, Dense))  # as if the others were new
    layers = MaxPool2D(2), Dense(3, "tanh")
    with pytest.raises(ValueError, match=r"dense1: Tanh has no forward pass in front/forward\.js"):
        single_file.write(CNN(*layers).build((1, 4, 4)), tmp_path / "x.html")
    assert not list(tmp_path.iterdir())


class Darker(Scaling):
    """A scaling of one's own."""

    def apply(self, images, dtype=np.float32):
        return super().apply(images, dtype) / 2


def classifier(scaling=None):
    """A network whose softmax is the loss's."""
    network = CNN(Dense(3, "softmax"), loss="cross_entropy").build((1, 4, 4))
    network.scaling = scaling
    return network


@pytest.mark.parametrize("owner", ["network", "samples"])
def test_a_scaling_of_ones_own_is_refused(owner):
    network = classifier(Darker() if owner == "network" else None)
    samples = labeled(bytes_of(3, 1, 4, 4), scaling=Darker() if owner == "samples" else Scaling())
    with pytest.raises(ValueError, match=r"scaling: Darker is not a class of this library"):
        single_file.record(network, TITLE, samples, half=False)


@pytest.mark.parametrize("kind, what", [(Softmax, "class scores"), (Scaling, "scaling")])
def test_an_edited_softmax_behind_the_loss_or_an_edited_scaling_is_refused(kind, what, monkeypatch):
    single_file.record(classifier(), TITLE, None, half=False)
    monkeypatch.setattr(kind, "apply", lambda self, z, dtype=np.float32: z)
    with pytest.raises(ValueError, match=rf"\({what}: {kind.__name__}.apply was replaced\)"):
        single_file.record(classifier(), TITLE, None, half=False)


def test_speed(ask, computing, capsys):
    """Printed, not asserted: machines differ."""
    for what, network in {
        "main.py": network_of_main(),
        "E's CNN": e_fashion_cnn.network(kernels="numpy", eager=True).build((1, 28, 28)),
    }.items():
        network.scaling = Scaling("unit")
        image = bytes_of(1, 28, 28)
        request = {"ask": "look", "image": array(image)}
        agree(ask, network, None, [request])
        saved = single_file.record(network, TITLE, None, half=False)
        times = computing.evaluate(TIME, [saved, request])
        with capsys.disabled():
            print(f"{what}: a pass takes {min(times):.1f} ms in the browser")
