"""The sum behind a number: it is the network's number, and its terms make it."""

import math

import naive
import numpy as np
import pytest
from hypothesis import strategies as st
from installed import BACKENDS
from test_explain import RNG, blocks, state, trained
from test_layers import CASES, every_layer
from test_properties import ANYWHERE, BLOCKS, CONVOLUTIONS, POOLS, SHAPES, borders, for_all

from CNN import CNN
from Filters import AvgPool2D, Conv2D, GlobalAvgPool2D, MaxPool2D
from glassbox.engine.layer import Layer
from glassbox.explain import activations_with, nodes, receptive_field, sum_behind
from MLP import Dense, Flatten

# What activations mean, in float64 and without the kernels.
MEANING = {
    "sigmoid": lambda z: 1 / (1 + math.exp(-z)),
    "tanh": math.tanh,
    "relu": lambda z: max(z, 0.0),
    "relu6": lambda z: min(max(z, 0.0), 6.0),
    "identity": lambda z: z,
    None: lambda z: z,
}
CLOSE = {np.dtype(np.float32): 2e-5, np.dtype(np.float64): 1e-12}


def alone(make, shape, **settings):
    """A network of one layer, behind a Flatten where it takes rows; its address; an image."""
    rows = len(shape) == 1
    network = CNN(*[Flatten()] * rows, make(), **settings).build((*shape, 1, 1) if rows else shape)
    return unlike(network), RNG(1).standard_normal(network.input_shape).astype(np.float32)


def unlike(network):
    """Biases of zero and scales of one hide mistakes."""
    rng = RNG(1)
    for node in nodes(network):
        if not node.adds:
            for array in node.layer.parameters.values():
                array += (array.ndim == 1) * rng.normal(0, 0.3, array.shape).astype(array.dtype)
            for array in node.layer.buffers.values():
                array += rng.random(array.shape).astype(array.dtype)
    return network


def some_places(shape, count=6, seed=2):
    rng = RNG(seed)
    return [tuple(int(rng.integers(n)) for n in shape) for _ in range(count)]


def meaning(layer, z, parts):
    """f(z), with the z of all channels where it takes those."""
    carried = layer if not hasattr(layer, "activation") else layer.activation
    word = carried.word
    if word == "leaky_relu":
        return z if z > 0 else carried.slope * z
    if word in ("softmax", "log_softmax"):
        largest = max(parts)
        share = math.exp(z - largest) / math.fsum(math.exp(each - largest) for each in parts)
        return math.log(share) if word == "log_softmax" else share
    return MEANING[word](z)


def check(network, node, place, maps, found):
    """What must hold for a sum that was not cut."""
    layer, dtype = node.layer, network.dtype
    assert found.result == maps[node.address][(0, *place)]
    values = maps[node.source][0][tuple(found.places.T)]
    if found.kind != "formula":
        assert np.array_equal(found.values, values)
    assert np.array_equal(found.products, found.weights * found.values)
    assert len({tuple(each) for each in found.places.tolist()}) == len(found.places)
    scale = math.fsum(np.abs(found.products).tolist()) + abs(found.before) + 1
    for part in found.parts:
        if part.place is not None and part.layer != node.address:
            assert part.value == maps[part.layer][(0, *part.place)]
    if found.kind == "winner":
        assert found.winner == tuple(found.places[found.weights.argmax()].tolist())
        assert found.weights.sum() == 1
        assert found.before == found.result == found.values.max()
        return
    if found.kind == "weighted":
        assert found.before == math.fsum([*found.products.tolist(), found.bias or 0.0])
    if node.adds:
        assert [part.layer for part in found.parts[:2]] == list(node.adds)
        scale += sum(abs(part.value) for part in found.parts[:2])
    if found.activation:
        beside = [part.value for part in found.parts if not node.adds or part.layer == node.address]
        expected = meaning(layer, found.before, beside)
        assert abs(expected - found.result) <= CLOSE[dtype] * scale
    else:
        assert abs(found.before - found.result) <= CLOSE[dtype] * scale * 10


def kind_of(layer):
    if isinstance(layer, Conv2D | Dense | AvgPool2D | GlobalAvgPool2D):
        return "weighted"
    return "winner" if isinstance(layer, MaxPool2D) else "formula"


@every_layer
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("backend", BACKENDS)
def test_every_layer(make, shape, backend, dtype):
    network, image = alone(make, shape, kernels=backend, dtype=dtype)
    maps = activations_with(network, image).maps | {"input": image[None].astype(dtype)}
    own = network.activations(image[None])
    assert np.array_equal(own[-1][1], maps[nodes(network)[-1].address])
    for node in nodes(network):
        for place in some_places(node.layer.output_shape):
            found = sum_behind(network, image, node.address, place)
            assert found.kind == kind_of(node.layer)
            assert "as written" not in found.formula
            check(network, node, place, maps, found)
            assert max(map(len, found.as_text().splitlines())) <= 60


SLIDING = [case for case in CASES if isinstance(case[0](), Conv2D | AvgPool2D | MaxPool2D)]


@pytest.mark.parametrize(("make", "shape"), SLIDING)
def test_terms_are_those_of_the_loops(make, shape):
    """tests/naive.py walks over the pixels; no tap may be missing, none be padding."""
    network, image = alone(make, shape, dtype=np.float64)
    layer, met = network.layers[0], {}
    listed = np.ravel(layer.padding).tolist()  # ((top, bottom), (left, right)), or another form
    around = listed if len(listed) == 4 else borders(layer, shape[1:])
    how = layer.kernel_size, layer.stride, around, layer.dilation, layer.ceil_mode
    for i, j, *tap in naive.meetings(shape[1:], *how):
        met.setdefault((i, j), []).append(tap)
    for place in some_places(layer.output_shape, 12):
        found = sum_behind(network, image, 0, place)
        taps = met.get(place[1:], [])
        if not isinstance(layer, Conv2D):
            assert found.places.tolist() == [[place[0], *pixel] for _, _, *pixel in taps]
            continue
        weights = layer.parameters["weight"][place[0]]
        expected = {(c, *pixel): weights[c, a, b] for c in range(shape[0]) for a, b, *pixel in taps}
        terms = zip(map(tuple, found.places.tolist()), found.weights, strict=True)
        assert dict(terms) == expected


def drawn_networks():
    """One to four layers of any kind that fit each other, and an image."""
    kinds = CONVOLUTIONS | POOLS | BLOCKS | ANYWHERE | st.builds(GlobalAvgPool2D)

    @st.composite
    def networks(draw):
        shape, seed = draw(SHAPES), draw(st.integers(0, 2**16))
        layers = draw(st.lists(kinds, min_size=1, max_size=4))
        network = CNN(*layers, seed=seed, kernels=draw(st.sampled_from(list(BACKENDS))))
        try:
            network.build(shape)
        except ValueError:
            return None
        return network, RNG(seed).random(shape, np.float32), seed

    return networks().filter(lambda found: found is not None)


def test_random_networks():
    kinds = set()

    def sums(case):
        network, image, seed = case
        maps = activations_with(network, image).maps | {"input": image[None]}
        before = state(network)
        for node in nodes(network):
            (place,) = some_places(node.layer.output_shape, 1, seed)
            found = sum_behind(network, image, node.address, place)
            check(network, node, place, maps, found)
            kinds.add(found.kind)
            for at in found.places[:5].tolist():
                if node.source != "input":
                    inner = receptive_field(network, node.source, at)
                    assert inside(inner, found.field)
        assert state(network) == before

    for_all(60, drawn_networks(), sums)
    assert kinds == {"weighted", "winner", "formula"}


def inside(inner, outer):
    top, bottom, left, right = inner
    return top == bottom == 0 or (
        outer[0] <= top and bottom <= outer[1] and outer[2] <= left and right <= outer[3]
    )


def test_a_sum_may_be_cut():
    network, image = alone(lambda: Dense(3), (2, 5, 5))
    whole, cut = (sum_behind(network, image, 0, 1, most=most) for most in (4000, 7))
    assert (len(whole.products), whole.left_out, whole.left_out_sum) == (50, 0, 0.0)
    assert (len(cut.products), cut.left_out) == (7, 43)
    order = np.argsort(np.abs(whole.products))
    kept = np.sort(order[-7:])
    assert np.array_equal(cut.products, whole.products[kept])
    assert np.array_equal(cut.places, whole.places[kept])
    rest = math.fsum(np.delete(whole.products, kept).tolist())
    assert cut.left_out_sum == pytest.approx(rest, abs=1e-12)
    assert cut.before == whole.before
    text = whole.as_text().splitlines()
    assert len([line for line in text if line[:1].isdigit()]) == 12
    shown = np.sort(order[-12:])
    more = math.fsum(np.delete(whole.products, shown).tolist())
    assert text[-2].split() == ["and", "38", "more", f"{more:.6g}"]


def test_the_text_of_a_block_leads_to_its_parts():
    network, images = trained(blocks())
    found = sum_behind(network, images[0], "residual2", (1, 2, 1))
    lines = found.as_text().splitlines()
    assert lines[0] == f"residual2 [1, 2, 1] = {found.result:.6g}"
    assert lines[2].startswith("main path of 3.2 [1, 2, 1] = ")
    assert lines[3].startswith("shortcut of 3.shortcut [1, 2, 1] = ")
    inner = sum_behind(network, images[0], found.parts[1].layer, found.parts[1].place)
    assert (inner.source, inner.kind, inner.result) == ("2", "weighted", found.parts[1].value)


def test_what_is_off():
    network, images = trained(blocks())
    off = {"conv1": [0], "3.0": [1]}
    maps = activations_with(network, images[0], off).maps
    found = sum_behind(network, images[0], "conv1", (0, 2, 2), off)
    assert found.result == 0
    assert found.before == sum_behind(network, images[0], "conv1", (0, 2, 2)).before != 0
    assert found.formula.startswith("0, for it is switched off")
    behind = sum_behind(network, images[0], "3.2", (4, 1, 1), off)
    assert behind.result == maps["3.2"][0, 4, 1, 1]
    assert behind.values[1] == 0
    assert behind.values[0] != 0


# --- edited layers -------------------------------------------------------------------------------


def test_an_edited_layer_is_not_explained_by_what_it_no_longer_does(monkeypatch):
    network, images = trained(blocks())
    own = Conv2D.forward

    def shifted(self, x, context):
        y, cache = own(self, x, context)
        return y + np.float32(0.5), cache

    monkeypatch.setattr(Conv2D, "forward", shifted)
    found = sum_behind(network, images[0], "conv1", (1, 2, 2))
    assert found.result == network.activations(images[:1])[0][1][0, 1, 2, 2]
    assert (found.kind, found.formula) == ("formula", "Conv2D.forward as written")
    strongest = sum_behind(network, images[0], "conv1", (1, 2, 2), most=20)
    monkeypatch.undo()
    usual = sum_behind(network, images[0], "conv1", (1, 2, 2))
    largest = np.argsort(-np.abs(usual.weights))[:20]
    expected = {tuple(usual.places[k].tolist()) for k in largest}
    assert {part.place for part in strongest.parts} <= {tuple(p) for p in usual.places.tolist()}
    assert len(expected & {part.place for part in strongest.parts}) >= len(strongest.parts) - 1


def test_an_edit_that_changes_no_sum_leaves_the_terms(monkeypatch):
    own = Dense.forward

    def watched(self, x, context):
        seen.append(x.shape)
        return own(self, x, context)

    seen = []
    network, image = alone(lambda: Dense(3, "softmax"), (6,))
    monkeypatch.setattr(Dense, "forward", watched)
    assert sum_behind(network, image, 1, 2).kind == "weighted"
    assert seen


class Halved(Layer):
    """A layer of one's own: half of each number, plus its neighbour."""

    def forward(self, x, context):
        return 0.5 * x + np.roll(x, 1, axis=2), None

    def backward(self, dy, cache):
        return 0.5 * dy + np.roll(dy, -1, axis=2), {}


def test_a_layer_of_ones_own_tells_what_it_depends_on():
    network, image = alone(Halved, (2, 4, 5))
    found = sum_behind(network, image, 0, (1, 2, 3))
    assert found.formula == "Halved.forward as written"
    assert {part.place for part in found.parts} == {(1, 2, 3), (1, 2, 2)}
    assert found.result == network.activations(image[None])[0][1][0, 1, 2, 3]


# --- what cannot be ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("layer", "place", "told"),
    [
        ("conv1", (4, 0, 0), r"conv1: place: expected whole numbers of \(0..3, 0..6, 0..5\), got"),
        ("conv1", (0, 0), "conv1: place"),
        ("conv1", (0, -1, 0), "conv1: place"),
        ("conv1", (0, 1.0, 0), "conv1: place"),
        ("dense1", 5, r"dense1: place: expected whole numbers of \(0..4\), got 5"),
        ("3.9", (0, 0, 0), "unknown layer '3.9'"),
    ],
)
def test_places_that_are_not_there(layer, place, told):
    network = blocks().build((2, 13, 11))
    with pytest.raises(ValueError, match=told):
        sum_behind(network, np.zeros((2, 13, 11), np.uint8), layer, place)


def test_several_images_and_unbuilt_networks():
    with pytest.raises(ValueError, match="not built yet"):
        sum_behind(blocks(), np.zeros((2, 13, 11), np.uint8), 0, (0, 0, 0))
    network, images = trained(blocks())
    with pytest.raises(ValueError, match=r"expected one image \(2, 13, 11\), got 12"):
        sum_behind(network, images, 0, (0, 0, 0))
