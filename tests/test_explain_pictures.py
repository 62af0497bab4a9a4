"""What in an image a score or a filter depends on, against loops and finite differences."""

import itertools

import numpy as np
import pytest
from test_explain import RNG, blocks, state, trained
from test_explain_sums import drawn_networks, some_places
from test_properties import for_all

from CNN import CNN
from Datasets import Dataset, Digits, Scaling
from Filters import AvgPool2D, Conv2D, GlobalAvgPool2D, MaxPool2D, Residual
from glassbox.data.dataset import NORMALIZATIONS
from glassbox.engine.receptive_field import ReceptiveField
from glassbox.explain import (
    activations_with,
    fgsm,
    grad_cam,
    input_gradient,
    maximal_activation,
    measured_field,
    most_exciting,
    nodes,
    occlusion,
    receptive_field,
    saliency,
)
from glassbox.explain.passes import Pass
from MLP import BatchNorm, Dense, Flatten, Softmax


def smooth(last="softmax", **settings):
    """A network without kinks, in float64, and the same without the last activation."""
    made = []
    for activation in (last, None):
        layers = (
            Conv2D(3, 3, activation="tanh"), AvgPool2D(2), BatchNorm(),
            Residual(Conv2D(3, 3, activation="tanh"), activation="tanh"), Dense(4, activation),
        )  # fmt: skip
        network = CNN(*layers, dtype=np.float64, kernels="numpy", **settings).build((2, 6, 5))
        made.append(network)
    return made


def raw_images(count=2, seed=0):
    """Pixels that float32 holds exactly, no two of an image equal."""
    rng = RNG(seed)
    return np.stack([rng.permutation(60).reshape(2, 6, 5) * 4.0 for _ in range(count)])


def fitted(name, images):
    return Scaling.fit(name, images.astype(np.uint8))


# --- gradients of the input ----------------------------------------------------------------------


@pytest.mark.parametrize("last", ["softmax", "sigmoid"])
@pytest.mark.parametrize("name", NORMALIZATIONS)
def test_raw_gradients_agree_with_finite_differences(name, last):
    """Of the score before softmax or sigmoid, moved pixel by pixel."""
    network, bare = smooth(last)
    images = raw_images()
    network.scaling = bare.scaling = fitted(name, images)
    found = input_gradient(network, images.astype(np.float32), [1, 3], raw=True)
    h = 1 / 64
    for k, label in enumerate((1, 3)):
        for pixel in itertools.product(range(2), range(6), range(5)):
            pair = np.repeat(images[k : k + 1], 2, axis=0).astype(np.float32)
            pair[(0, *pixel)] += h
            pair[(1, *pixel)] -= h
            above, below = bare.scores(pair)[:, label]
            slope = (above - below) / (2 * h)
            assert slope == pytest.approx(found[(k, *pixel)], rel=1e-3, abs=1e-7)


def test_the_gradient_of_the_scaled_image():
    network, _ = smooth()
    images = raw_images()
    network.scaling = fitted("standard", images)
    raw, scaled = (input_gradient(network, images, 2, raw=raw) for raw in (True, False))
    factor = np.array(network.scaling.std)[:, None, None] * (
        network.scaling.high - network.scaling.low
    )
    assert np.allclose(scaled, raw * factor, rtol=1e-12)
    ready = network.scaling.apply(images, np.float32)
    again = input_gradient(network, ready, 2, scaled=True)
    assert np.allclose(again, scaled, rtol=1e-4, atol=1e-7)
    assert np.array_equal(saliency(network, images, 2), np.abs(scaled).max(axis=1))


def test_a_softmax_that_is_a_layer_is_left_out_too():
    layers = Conv2D(2), Dense(3, None)
    network = CNN(*layers, Softmax(), seed=1).build((1, 5, 5))
    image = RNG(0).random((1, 5, 5), np.float32)
    bare = CNN(Conv2D(2), Dense(3, None), seed=1).build((1, 5, 5))
    expected = input_gradient(bare, image, 2)
    assert np.array_equal(input_gradient(network, image, 2), expected)
    assert expected.any()


# --- occlusion -----------------------------------------------------------------------------------


@pytest.mark.parametrize("fill", [None, 7.0])
def test_occlusion_is_the_mean_drop_of_the_patches_over_a_pixel(fill):
    network, bare = smooth()
    image = raw_images(1)[0].astype(np.float32)
    network.scaling = bare.scaling = fitted("unit", raw_images())
    found = occlusion(network, image, 1, patch=(3, 2), stride=(2, 2), fill=fill)
    drops = {(i, j): [] for i in range(6) for j in range(5)}
    whole = bare.scores(image[None])[0, 1]
    for top, left in itertools.product((0, 2, 3), (0, 2, 3)):
        covered = image.copy()
        for channel in range(2):
            value = image[channel].mean() if fill is None else fill
            covered[channel, top : top + 3, left : left + 2] = value
        drop = whole - bare.scores(covered[None])[0, 1]
        for i, j in itertools.product(range(top, top + 3), range(left, left + 2)):
            drops[i, j].append(drop)
    expected = [[np.mean(drops[i, j]) for j in range(5)] for i in range(6)]
    np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-9)


def test_occlusion_of_bytes_and_more_patches_than_a_batch():
    network, images = trained(blocks(), (2, 13, 14))
    found = occlusion(network, images[0], 2, patch=1, stride=1, fill=255)
    assert found.shape == (13, 14)
    bright = np.where(images[0, :, 5, 6] == 255, 254, images[0, :, 5, 6])
    image = images[0].copy()
    image[:, 5, 6] = bright
    assert occlusion(network, image, 2, patch=1, stride=1, fill=255)[5, 6] != 0


# --- Grad-CAM ------------------------------------------------------------------------------------


def test_grad_cam_before_a_mean_and_a_dense_layer_is_the_map_of_its_weights():
    """There the gradient is W / pixels, so the map is what Zhou et al. 2016 call a CAM."""
    network = CNN(Conv2D(5, 3), GlobalAvgPool2D(), Dense(3, "sigmoid"), seed=2).build((1, 7, 6))
    image = RNG(0).random((1, 7, 6), np.float32)
    found = grad_cam(network, image, 1)
    assert (found.layer, found.name) == ("0", "conv1")
    maps = activations_with(network, image).maps["0"][0]
    weights = network.layers[2].parameters["weight"][1]
    np.testing.assert_allclose(found.weights, weights / 42, rtol=1e-6)
    np.testing.assert_allclose(found.map, np.einsum("k,kij->ij", weights / 42, maps), rtol=1e-4,
                               atol=1e-7)  # fmt: skip
    assert found.map.min() < 0 < found.map.max()
    assert np.array_equal(found.normalized, np.maximum(found.map, 0) / found.map.max())


def test_a_class_that_nothing_speaks_for_has_an_empty_map():
    network = CNN(Conv2D(2, 3, activation="relu"), GlobalAvgPool2D(), Dense(2)).build((1, 6, 6))
    network.layers[2].parameters["weight"][0] = -1
    network.layers[0].parameters["weight"][0] = 1
    found = grad_cam(network, np.ones((1, 6, 6)), 0)
    assert found.map.min() < 0
    assert not found.normalized.any()
    dead = grad_cam(network, np.zeros((1, 6, 6)), 0)
    assert not dead.map.any()
    assert not dead.normalized.any()


def test_which_layer_grad_cam_takes():
    network, images = trained(blocks())
    found = grad_cam(network, images[0], 1)
    shapes = {node.address: node.layer.output_shape for node in nodes(network)}
    assert (found.layer, shapes["5"]) == ("5", (6, 1, 1)) or found.map.size > 1
    assert found.map.size > 1
    order = list(shapes)
    behind = order[order.index(found.layer) + 1 :]
    assert all(len(shapes[each]) == 1 or shapes[each][1:] == (1, 1) for each in behind)
    inner = grad_cam(network, images[0], 1, "residual2.conv1")
    assert (inner.layer, inner.map.shape) == ("3.0", shapes["3.0"][1:])
    with pytest.raises(ValueError, match=r"dense1 gives \(5,\), expected one with channels"):
        grad_cam(network, images[0], 1, "dense1")
    rows = CNN(Flatten(), Dense(2)).build((1, 2, 2))
    with pytest.raises(ValueError, match="no layer of this network gives more than one pixel"):
        grad_cam(rows, np.zeros((1, 2, 2)), 1)


# --- filters -------------------------------------------------------------------------------------


@pytest.mark.parametrize("address", ["0", "2.1", "3.0", "7"])
def test_the_most_exciting_images_are_those_of_the_largest_number(address):
    network, _ = trained(blocks())
    images = RNG(3).integers(0, 256, (150, 2, 13, 11), np.uint8)
    images[140] = images[20]  # equal ones: the first
    found = most_exciting(network, address, 2, images, count=5)
    maps = activations_with(network, images).maps[address][:, 2].reshape(150, -1)
    order = sorted(range(150), key=lambda k: (-float(maps[k].max()), k))[:5]
    close = np.allclose(found.values, [maps[k].max() for k in order], rtol=1e-5)
    assert close
    assert found.indices.tolist() == order
    for k, place in zip(found.indices, found.places, strict=True):
        whole = activations_with(network, images[k]).maps[address][0]
        assert whole[place] == whole[2].max()
    assert len(most_exciting(network, address, 2, images[:3], count=5).indices) == 3


def test_an_image_made_for_a_filter_excites_it_and_is_always_the_same():
    network, _ = trained(blocks())
    before = state(network)
    found = maximal_activation(network, "3.0", 1, steps=20)
    assert found.values[-1] > max(found.values[0], 0)
    assert found.image.shape == (2, 13, 11)
    assert 0 <= found.image.min() < found.image.max() <= 255
    again = maximal_activation(network, "3.0", 1, steps=20)
    assert np.array_equal(found.image, again.image)
    other = maximal_activation(network, "3.0", 1, steps=20, seed=1)
    assert not np.array_equal(found.image, other.image)
    assert state(network) == before
    start = 255 * RNG(0).uniform(0.45, 0.55, (2, 13, 11))
    step = maximal_activation(network, "3.0", 1, steps=1, rate=0.02).image - start
    assert np.sqrt(np.mean(step**2)) == pytest.approx(0.02 * 255, rel=1e-3)
    exact = activations_with(network, found.image).maps["3.0"][0, 1].mean()
    assert found.values[-1] == pytest.approx(float(exact), rel=1e-4)


# --- adversarial images --------------------------------------------------------------------------


@pytest.mark.parametrize("name", NORMALIZATIONS)
def test_fgsm_goes_where_the_loss_rises(name):
    network, _ = smooth()
    images = raw_images()
    network.scaling = fitted(name, images)
    image = images[0].astype(np.float32)
    moved = fgsm(network, image, 1, 1 / 64)
    differences = moved - image

    def loss(pixels):
        outputs = network.activations(pixels[None].astype(np.float32))[-1][1]
        return float(network.loss.forward(outputs.T.copy(), np.array([1]))[0][0])

    for pixel in itertools.product(range(2), range(6), range(5)):
        step = np.zeros_like(image)
        step[pixel] = 1 / 16
        slope = loss(image + step) - loss(image - step)
        at_end = image[pixel] in (image.min(), image.max())
        if abs(slope) > 1e-9 and not at_end:
            assert np.sign(differences[pixel]) == np.sign(slope), pixel
            assert abs(differences[pixel]) == 1 / 64


def test_fgsm_fools_a_trained_network_and_stays_within_the_pixels():
    data = Digits()
    network = CNN(Conv2D(8), MaxPool2D(2), Dense(10, "softmax"), loss="cross_entropy", seed=1)
    network.fit(data.train, epochs=8, progress=False)
    high = network.scaling.high
    right = np.flatnonzero(network.predict(data.test) == data.test.labels)[:40]
    fooled = 0
    for k in right:
        image, label = data.test.images[k], int(data.test.labels[k])
        moved = fgsm(network, image, label, 3)
        assert moved.dtype == image.dtype
        assert np.abs(moved.astype(float) - image).max() <= 3
        assert moved.min() >= 0
        assert moved.max() <= (255 if image.dtype == np.uint8 else high)
        fooled += int(network.predict(moved[None])[0] != label)
    assert fooled > 20


def test_bytes_end_at_255():
    network, images = trained(blocks())
    image = np.where(images[0] < 128, 0, 255).astype(np.uint8)
    moved = fgsm(network, image, 1, 40)
    assert moved.dtype == np.uint8
    assert set(moved[image == 0].tolist()) == {0, 40}
    assert set(moved[image == 255].tolist()) == {215, 255}
    assert np.array_equal(fgsm(network, image, 1, 0), image)


# --- receptive fields ----------------------------------------------------------------------------


def hull(pixels):
    if not pixels.any():
        return 0, 0, 0, 0
    rows, columns = np.flatnonzero(pixels.any(axis=1)), np.flatnonzero(pixels.any(axis=0))
    return int(rows[0]), int(rows[-1]) + 1, int(columns[0]), int(columns[-1]) + 1


def test_receptive_fields_are_what_a_pixel_that_is_no_number_reaches():
    """NaN spreads wherever a number is used, whatever the weights."""
    exact = 0

    def fields(case):
        nonlocal exact
        network, image, seed = case
        network = CNN(*(layer.clone_unbuilt() for layer in network.layers), kernels="numpy").build(
            network.input_shape
        )
        height, width = image.shape[1:]
        poisoned = np.repeat(image[None], height * width, axis=0)
        for k in range(height * width):
            poisoned[k, :, k // width, k % width] = np.nan
        with np.errstate(all="ignore"):
            done = Pass(network, poisoned)
        for node in nodes(network):
            for place in some_places(node.layer.output_shape, 3, seed):
                reached = np.isnan(done.recorders[node.address].out[place]).reshape(height, width)
                found, measured = receptive_field(network, node.address, place), hull(reached)
                assert reached.sum() == 0 or contains(found, measured)
                exact += found == measured
                dilated = any(
                    max(getattr(each.layer, "dilation", (1, 1))) > 1 for each in nodes(network)
                )
                assert found == measured or dilated, (found, measured)

    for_all(60, drawn_networks(), fields)
    assert exact > 300


def test_a_block_sees_what_its_shortcut_sees():
    """At the border both taps of this kernel miss the pixel that the shortcut hands on."""
    network = CNN(Residual(Conv2D(1, 2, padding=1, dilation=2))).build((1, 5, 5))
    assert receptive_field(network, "0.0", (0, 0, 4)) == (1, 2, 3, 4)
    assert receptive_field(network, "0", (0, 0, 4)) == (0, 2, 3, 5)


def test_rows_see_where_they_come_from_and_a_softmax_sees_all_of_them():
    network = CNN(Flatten(), BatchNorm(), Softmax()).build((2, 3, 4))
    for layer in (0, 1):
        assert receptive_field(network, layer, 12 + 6) == (1, 2, 2, 3)
    assert receptive_field(network, 2, 18) == (0, 3, 0, 4)


def contains(outer, inner):
    return (
        outer[0] <= inner[0] and inner[1] <= outer[1] and outer[2] <= inner[2]
        and inner[3] <= outer[3]
    )  # fmt: skip


def test_away_from_borders_it_is_as_large_as_the_summary_says():
    layers = (
        Conv2D(2, 3), MaxPool2D(2), Conv2D(2, (3, 5), dilation=2),
        Residual(Conv2D(2, 3), Conv2D(2, 3)),
    )  # fmt: skip
    network = CNN(*layers).build((1, 64, 64))
    field = ReceptiveField()
    for address, layer in enumerate(layers):
        field = field.behind(layer)
        middle = tuple(n // 2 for n in layer.output_shape[1:])
        top, bottom, left, right = receptive_field(network, address, (0, *middle))
        assert (bottom - top, right - left) == field.size


def test_the_measured_field_lies_in_the_receptive_field_and_is_the_slope():
    network, _ = smooth()
    image = raw_images(1)[0].astype(np.float32) / 256
    for address, place in (("0", (1, 0, 2)), ("3.0", (2, 1, 1)), ("3", (0, 2, 0)), ("4", (2,))):
        found = measured_field(network, image, address, place)
        top, bottom, left, right = receptive_field(network, address, place)
        outside = np.ones((6, 5), bool)
        outside[top:bottom, left:right] = False
        assert not found[:, outside].any()
        assert found[:, ~outside].all()
        for pixel in ((0, top, left), (1, bottom - 1, right - 1)):
            pair = np.repeat(image[None], 2, axis=0)
            pair[(0, *pixel)] += 1 / 1024
            pair[(1, *pixel)] -= 1 / 1024
            above, below = activations_with(network, pair).maps[address][(slice(None), *place)]
            assert found[pixel] == pytest.approx(abs(above - below) * 512, rel=1e-3)


# --- nothing changes, and what cannot be ---------------------------------------------------------


def test_the_network_stays_as_it_is():
    network, images = trained(blocks())
    before = state(network)
    input_gradient(network, images, 1, raw=True)
    occlusion(network, images[0], 1, patch=6, stride=6)
    grad_cam(network, images[0], 1)
    most_exciting(network, 0, 1, images)
    fgsm(network, images[0], 1, 3)
    measured_field(network, images[0], "3.0", (0, 0, 0))
    assert state(network) == before


@pytest.mark.parametrize(
    ("call", "told"),
    [
        (lambda n, x: input_gradient(n, x, 5), r"labels: expected a class of 0..4, got 5"),
        (lambda n, x: input_gradient(n, x, [0, 1]), "expected one for each of 12 images, got 2"),
        (lambda n, x: occlusion(n, x[0], 0, patch=14), "patch: expected at most 13 x 11 pixels"),
        (lambda n, x: occlusion(n, x[0], 0, stride=5), r"stride: expected at most the patch \(4"),
        (lambda n, x: occlusion(n, x[0], 0, fill=256), "fill: expected a pixel value of 0..255"),
        (lambda n, x: occlusion(n, x, 0), "expected one image"),
        (lambda n, x: most_exciting(n, 0, 4, x), r"conv1: filter: expected whole numbers of \(0"),
        (lambda n, x: most_exciting(n, 0, 0, x, count=0), "count: expected at least 1"),
        (lambda n, x: fgsm(n, x[0], 0, -1), "epsilon: expected"),
        (lambda n, x: fgsm(n, x[0], 0, 0.5), "expected a whole number for an image of bytes"),
        (lambda n, x: maximal_activation(n, 0, 9), "conv1: filter"),
        (lambda n, x: receptive_field(n, 0, (0, 0, 6)), "conv1: place"),
    ],
)
def test_what_cannot_be(call, told):
    network, images = trained(blocks())
    with pytest.raises(ValueError, match=told):
        call(network, images)


def test_a_network_that_gives_no_classes():
    network = CNN(Conv2D(2)).build((1, 4, 4))
    with pytest.raises(ValueError, match=r"layer gives \(2, 4, 4\), expected \(classes,\)"):
        input_gradient(network, np.ones((1, 4, 4)), 0)


def test_scaled_images_are_said_to_be():
    network, images = trained(blocks())
    ready = network.scaling.apply(images)
    data = Dataset(np.ascontiguousarray(ready), np.zeros(12, int), ("?",) * 5, Scaling("none"))
    expected = input_gradient(network, images, 1)
    assert np.allclose(input_gradient(network, data, 1), expected, rtol=1e-5)
    assert np.allclose(input_gradient(network, ready, 1, scaled=True), expected, rtol=1e-5)


def test_classes_have_names():
    images = RNG(0).integers(0, 256, (20, 1, 6, 6), np.uint8)
    network = CNN(Conv2D(2), Dense(2), seed=0)
    network.fit((images, np.array(["cat", "dog"])[np.arange(20) % 2]), epochs=1, progress=False)
    by_number = input_gradient(network, images[:2], [1, 0])
    assert np.array_equal(input_gradient(network, images[:2], ["dog", "cat"]), by_number)
    assert np.array_equal(fgsm(network, images[0], "dog", 4), fgsm(network, images[0], 1, 4))
    with pytest.raises(ValueError, match="unknown class 'dgo': did you mean 'dog'"):
        grad_cam(network, images[0], "dgo")
