"""Augmentation: what it does to a picture, and what it leaves alone."""

import numpy as np
import pytest

from Datasets import Augmentation


def pictures(n=6, channels=2, height=7, width=9, dtype=np.float32):
    random = np.random.default_rng(3)
    return random.standard_normal((n, channels, height, width)).astype(dtype)


def generator(seed=0):
    return np.random.default_rng(seed)


ALL = Augmentation(shift=2, rotation=15, zoom=0.1, flip=True, erase=0.5)
EVERY_WAY = [
    Augmentation(),
    Augmentation(shift=2),
    Augmentation(flip=True),
    Augmentation(rotation=15),
    Augmentation(zoom=0.2),
    Augmentation(erase=1.0),
    ALL,
]


@pytest.mark.parametrize("augment", EVERY_WAY)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_shape_type_layout_and_input_are_kept(augment, dtype):
    for x in (pictures(dtype=dtype), pictures(dtype=dtype).transpose(1, 2, 3, 0).copy()):
        if x.shape[-1] == 6:
            x = x.transpose(3, 0, 1, 2)  # batch-last memory, as Dataset.batch gives it
        before = x.copy()
        y = augment(x, generator())
        assert np.array_equal(x, before)
        assert not np.shares_memory(x, y)
        assert y.shape == x.shape and y.dtype == x.dtype
        assert y.transpose(1, 2, 3, 0).flags.c_contiguous


@pytest.mark.parametrize("augment", EVERY_WAY[1:])
def test_equal_generators_give_equal_images_and_others_do_not(augment):
    x = pictures()
    assert np.array_equal(augment(x, generator(5)), augment(x, generator(5)))
    assert not np.array_equal(augment(x, generator(5)), augment(x, generator(6)))


def test_memory_order_of_the_input_does_not_matter():
    x = pictures()
    last = np.ascontiguousarray(x.transpose(1, 2, 3, 0)).transpose(3, 0, 1, 2)
    assert np.array_equal(ALL(x, generator()), ALL(last, generator()))


def test_nothing_asked_changes_nothing():
    x = pictures()
    assert np.array_equal(Augmentation()(x, generator()), x)


def shifted(picture, down, right):
    """A naive reference: each output pixel looks for its input pixel, held at the border."""
    _, height, width = picture.shape
    out = np.empty_like(picture)
    for i in range(height):
        for j in range(width):
            row = min(max(i - down, 0), height - 1)
            column = min(max(j - right, 0), width - 1)
            out[:, i, j] = picture[:, row, column]
    return out


def test_shifts_are_whole_pixels_within_the_range_and_all_occur():
    x = pictures(n=200, height=5, width=6)
    y = Augmentation(shift=1)(x, generator())
    seen = set()
    for before, after in zip(x, y, strict=True):
        moves = [
            (down, right)
            for down in range(-2, 3)
            for right in range(-2, 3)
            if np.array_equal(shifted(before, down, right), after)
        ]
        assert len(moves) == 1
        seen.update(moves)
    assert seen == {(down, right) for down in (-1, 0, 1) for right in (-1, 0, 1)}


def test_flip_mirrors_about_half_of_the_images_left_to_right():
    x = pictures(n=400)
    y = Augmentation(flip=True)(x, generator())
    mirrored = [np.array_equal(a[:, :, ::-1], b) for a, b in zip(x, y, strict=True)]
    same = [np.array_equal(a, b) for a, b in zip(x, y, strict=True)]
    assert sum(mirrored) + sum(same) == 400
    assert 150 < sum(mirrored) < 250


def sampled(picture, row, column):
    """Bilinear sampling of (height, width) at one point, naively, held at the border."""
    height, width = picture.shape
    row, column = min(max(row, 0), height - 1), min(max(column, 0), width - 1)
    i, j = int(row), int(column)
    k, m = min(i + 1, height - 1), min(j + 1, width - 1)
    a, b = row - i, column - j
    upper = (1 - b) * picture[i, j] + b * picture[i, m]
    lower = (1 - b) * picture[k, j] + b * picture[k, m]
    return (1 - a) * upper + a * lower


class Fixed(np.random.Generator):
    """A generator whose uniform draws are given, so that a map can be computed by hand."""

    def __init__(self, moves, *uniform):
        super().__init__(np.random.PCG64(0))
        self.moves, self.queue = moves, list(uniform)

    def integers(self, *args, size, **options):
        return np.broadcast_to(np.array(self.moves)[:, None], size)

    def random(self, n):
        return np.zeros(n)  # below every probability: each image is mirrored where flip is on

    def uniform(self, low, high, n):
        return np.full(n, self.queue.pop(0))


@pytest.mark.parametrize("flip", [False, True])
@pytest.mark.parametrize(
    ("moves", "degrees", "zoom"),
    [((0, 0), 20.0, 1.0), ((0, 0), 0.0, 1.25), ((1, -2), -35.0, 0.8), ((2, 1), 90.0, 1.0)],
)
def test_affine_map_agrees_with_a_naive_one(moves, degrees, zoom, flip):
    x = pictures(n=3, dtype=np.float64)
    angle = np.deg2rad(degrees)
    augment = Augmentation(shift=2, rotation=90, zoom=0.5, flip=flip)
    y = augment(x, Fixed(moves, degrees, zoom))
    x = x[..., ::-1] if flip else x  # mirrored first, then moved
    height, width = x.shape[2:]
    for i in range(height):
        for j in range(width):
            # into the output's own frame, then turned and scaled back
            v, u = i - (height - 1) / 2 - moves[0], j - (width - 1) / 2 - moves[1]
            row = (np.cos(angle) * v + np.sin(angle) * u) / zoom + (height - 1) / 2
            column = (-np.sin(angle) * v + np.cos(angle) * u) / zoom + (width - 1) / 2
            for n in range(3):
                for channel in range(2):
                    expected = sampled(x[n, channel], row, column)
                    assert y[n, channel, i, j] == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize("shape", [(3, 1, 1, 5), (3, 1, 5, 1), (3, 1, 1, 1), (0, 1, 4, 4)])
def test_narrow_and_empty_batches_work(shape):
    y = ALL(np.ones(shape, np.float32), generator())
    assert y.shape == shape
    assert np.allclose(y, 1)


def test_background_comes_in_from_the_border_whatever_its_value():
    x = np.full((20, 1, 8, 8), -0.13, np.float32)
    assert np.allclose(Augmentation(3, 30, 0.3, flip=True)(x, generator()), -0.13)


def test_erased_share_probability_and_filling():
    x = pictures(n=600, channels=2, height=20, width=20)
    y = Augmentation(erase=0.3, erase_share=(0.1, 0.3))(x, generator())
    changed = (x != y).any(axis=1)
    share = changed.mean(axis=(1, 2))
    touched = share > 0
    assert 0.22 < touched.mean() < 0.38
    assert share[touched].min() > 0.07 and share[touched].max() < 0.33
    n = np.flatnonzero(touched)[0]
    rows, columns = np.nonzero(changed[n])
    patch = y[n, :, rows.min() : rows.max() + 1, columns.min() : columns.max() + 1]
    assert np.allclose(patch, x[n].mean(axis=(1, 2), keepdims=True), atol=1e-6)
    assert len(rows) == patch[0].size  # a full rectangle


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ({"shift": -1}, "shift must lie in 0"),
        ({"shift": 1.5}, "whole pixels"),
        ({"rotation": -5}, "rotation must lie in 0..180"),
        ({"zoom": 1.0}, "zoom must lie in 0..0.99"),
        ({"zoom": float("nan")}, "zoom"),
        ({"erase": 1.5}, "erase must lie in 0..1"),
        ({"erase_share": (0.3, 0.1)}, "erase_share"),
        ({"erase_share": (0.0, 0.1)}, "erase_share"),
    ],
)
def test_arguments_outside_their_range_are_refused(arguments, told):
    with pytest.raises(ValueError, match=told):
        Augmentation(**arguments)


def test_wrong_types_are_refused():
    with pytest.raises(TypeError, match="rotation must be a number"):
        Augmentation(rotation="10")
    with pytest.raises(TypeError, match="images of floats, got uint8"):
        ALL(np.zeros((1, 1, 4, 4), np.uint8), generator())
    with pytest.raises(TypeError, match=r"numpy.random.Generator"):
        ALL(pictures(), 0)
    with pytest.raises(ValueError, match=r"got shape \(4, 4\)"):
        ALL(np.zeros((4, 4)), generator())
