"""What holds for every layer, whatever its settings: hypothesis draws these, and the shapes.

The short form tries some hundreds of layers and networks; `make trust` tries thousands.  A case
that fails is shrunk by hypothesis to a small one, which its message prints.
"""

from __future__ import annotations

import copy
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import naive
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from installed import BACKENDS

from CNN import CNN
from Filters import AvgPool2D, Conv2D, GlobalAvgPool2D, MaxPool2D, Residual
from glassbox.engine.gradient_check import check_layer
from glassbox.engine.layer import BuildContext, Context, Layer
from glassbox.engine.synced import SyncLayer
from glassbox.kernels import choose
from glassbox.kernels.shapes import Shape, ShardPolicy
from MLP import (
    SGD,
    Adam,
    BatchNorm,
    Dense,
    Dropout,
    Flatten,
    Identity,
    LeakyReLU,
    ReLU,
    Sigmoid,
    Softmax,
    Tanh,
)

# One image's sums are added in another order than those of a batch: equal but for rounding.
CLOSE = {np.dtype(np.float32): 2e-5, np.dtype(np.float64): 1e-12}
# A setting that cannot be is refused in the layer's own words, one of these.
REFUSALS = (
    "the kernel spans",
    "must be smaller than kernel_size",
    "but a strided shortcut makes",
)


# --- what is drawn ---------------------------------------------------------------------------

DTYPES = st.sampled_from([np.dtype(np.float32), np.dtype(np.float64)])
ACTIVATIONS = st.sampled_from(["leaky_relu", "relu", "sigmoid", "tanh", "softmax", None])


def either(numbers: st.SearchStrategy[int]) -> st.SearchStrategy[Any]:
    """One number for both directions, or a pair."""
    return numbers | st.tuples(numbers, numbers)


def some(least: int, most: int) -> st.SearchStrategy[Any]:
    return either(st.integers(least, most))


SHAPES = st.tuples(st.integers(1, 4), st.integers(1, 9), st.integers(1, 9))
ROWS = st.tuples(st.integers(1, 12))
PADDINGS = st.sampled_from(["same", "valid"]) | some(0, 2)

CONVOLUTIONS = st.builds(
    Conv2D, st.integers(1, 5), some(1, 4), stride=some(1, 3), padding=PADDINGS,
    dilation=some(1, 2), activation=ACTIVATIONS, bias=st.booleans(),
)  # fmt: skip
STRIDES = st.none() | some(1, 3)
POOLS = st.builds(
    MaxPool2D, some(1, 4), stride=STRIDES, padding=PADDINGS, ceil_mode=st.booleans()
) | st.builds(
    AvgPool2D, some(1, 4), stride=STRIDES, padding=PADDINGS, ceil_mode=st.booleans(),
    count_include_pad=st.booleans(),
)  # fmt: skip
RATES = st.sampled_from([0.0, 0.25, 0.5, 0.9])
ANYWHERE = st.one_of(
    st.builds(Dense, st.integers(1, 6), activation=ACTIVATIONS, bias=st.booleans()),
    st.builds(BatchNorm, momentum=RATES, epsilon=st.sampled_from([1e-5, 1e-2])),
    st.builds(Dropout, RATES),
    st.builds(LeakyReLU, st.sampled_from([0.0, 0.01, 0.5])),
    st.sampled_from([Flatten, Identity, ReLU, Sigmoid, Softmax, Tanh]).map(lambda kind: kind()),
)
INSIDE = st.one_of(
    st.builds(Conv2D, st.integers(1, 3), some(1, 3), stride=some(1, 2), activation=ACTIVATIONS),
    st.builds(BatchNorm),
    st.builds(Dropout, RATES),
)
BLOCKS = st.lists(INSIDE, min_size=1, max_size=3).flatmap(
    lambda layers: st.builds(Residual, *map(st.just, layers), activation=ACTIVATIONS)
)
FAMILIES = {
    "convolution": (SHAPES, CONVOLUTIONS),
    "sliding pool": (SHAPES, POOLS),
    "block": (SHAPES, BLOCKS),
    "on images": (SHAPES, ANYWHERE | st.builds(GlobalAvgPool2D)),
    "on rows": (ROWS, ANYWHERE),
}
every_family = pytest.mark.parametrize("family", FAMILIES)


@dataclass(frozen=True)
class Case:
    """A layer, built, and where it stands."""

    layer: Layer
    shape: Shape
    samples: int
    dtype: np.dtype
    seed: int

    def images(self) -> np.ndarray:
        rng = np.random.default_rng(self.seed)
        return rng.standard_normal((*self.shape, self.samples)).astype(self.dtype)

    def run(self, training: bool) -> Context:
        return Context(training, seed=self.seed, step=3, batch=self.samples)


def settings_of(layer: Layer) -> str:
    hidden = ("kernels", "parameters", "buffers", "window", "counts", "optimizer", "number")
    words = (f"{k}={v!r}" for k, v in vars(layer).items() if k not in hidden)
    return f"{type(layer).__name__}({', '.join(words)})"


def built(layer: Layer, shape: Shape, context: BuildContext) -> bool:
    """Whether the layer takes such images; if not, its own words must have said why."""
    layer.number = 1
    try:
        layer.build(shape, context)
    except ValueError as refusal:
        assert any(words in str(refusal) for words in REFUSALS), refusal
        assert layer.label in str(refusal) or "'" in str(refusal), refusal
        return False
    return True


@st.composite
def cases(draw: Any, family: str, dtype: np.dtype | None = None, least: int = 1) -> Case:
    """A layer that takes its input; it is drawn anew until it does."""
    shapes, layers = FAMILIES[family]
    shape = draw(shapes)
    kind = dtype or draw(DTYPES)
    seed = draw(st.integers(0, 2**16))
    kernels = choose(draw(st.sampled_from(list(BACKENDS))))
    context = BuildContext(np.random.default_rng(seed), kind, kernels)
    layer = draw(layers.filter(lambda each: built(each, shape, context)))
    rng = np.random.default_rng(seed + 1)
    for name, array in layer.parameters.items():
        if not name.endswith("weight"):  # biases of zero and scales of one hide mistakes
            array += rng.normal(0, 0.3, array.shape).astype(kind)
    for name, array in layer.buffers.items():
        array += (0.3 if name.endswith("mean") else 0.7) * rng.random(array.shape).astype(kind)
    samples = draw(st.integers(least, 5) | st.sampled_from([16, 17, 33]))
    return Case(layer, shape, samples, kind, seed)


def for_all(examples: int, strategy: st.SearchStrategy[Any], check: Callable[[Any], None]) -> None:
    """Try `check` on so many examples, always the same ones."""
    # a layer that does not fit is drawn anew, which counts as filtering
    allowed = [HealthCheck.filter_too_much, HealthCheck.too_slow, HealthCheck.data_too_large]
    tries = settings(
        max_examples=examples, deadline=None, derandomize=True, database=None,
        suppress_health_check=allowed, print_blob=False,
    )  # fmt: skip
    tries(given(strategy)(check))()


@pytest.fixture(scope="module")
def tally() -> Counter[str]:
    return Counter()


@pytest.fixture
def trust_in(trust, tally):
    """trust_in(strategy, check, short, long): `for_all` of so many examples, and their record."""

    def run(strategy, check, short, long):
        count = trust.cases(short, long)
        for_all(count, strategy, check)
        tally[check.__name__] += count
        trust.record("properties", **tally)

    return run


def close(found: np.ndarray, expected: np.ndarray, dtype: np.dtype) -> None:
    scale = max(float(np.abs(expected).max(initial=0.0)), 1.0)
    np.testing.assert_allclose(found, expected, rtol=CLOSE[dtype], atol=CLOSE[dtype] * scale)


def takes_a_single_one(case: Case) -> bool:
    """Batch normalization in training needs two numbers in a channel."""
    return case.samples > 1 or not isinstance(case.layer, SyncLayer)


# --- one layer -------------------------------------------------------------------------------


@every_family
def test_the_output_has_the_shape_that_build_promised(trust_in, family):
    def shapes_types_and_inputs(case: Case) -> None:
        layer, x = case.layer, case.images()
        kept = x.copy()
        before = copy.deepcopy([*layer.parameters.values(), *layer.buffers.values()])
        for training in (True, False) if takes_a_single_one(case) else (False,):
            y, cache = layer.forward(x, case.run(training))
            told = settings_of(layer)
            assert y.shape == (*layer.output_shape, case.samples), told
            assert y.dtype == case.dtype, told
            assert y.flags.c_contiguous, told
            dy = np.random.default_rng(1).standard_normal(y.shape).astype(case.dtype)
            dy_kept = dy.copy()
            dx, gradients = layer.backward(dy, cache)
            assert dx.shape == x.shape and dx.dtype == case.dtype, told
            assert list(gradients) == list(layer.parameters), told
            for name, array in layer.parameters.items():
                assert gradients[name].shape == array.shape, told
                assert gradients[name].dtype == case.dtype, told
            assert np.array_equal(dy, dy_kept), f"dy was changed by {told}"
            assert np.array_equal(x, kept), f"the input was changed by {told}"
        after = [*layer.parameters.values(), *layer.buffers.values()]
        for one, two in zip(before, after, strict=True):
            assert np.array_equal(one, two), f"a pass changed {told}"

    trust_in(cases(family), shapes_types_and_inputs, 40, 1000)


def borders(layer: Any, size: tuple[int, int]) -> tuple[int, int, int, int]:
    """(top, bottom, left, right) of what was asked for as padding."""
    if layer.padding == "valid":
        return 0, 0, 0, 0
    if layer.padding != "same":
        down, across = layer.padding if isinstance(layer.padding, tuple) else [layer.padding] * 2
        return down, down, across, across
    found = []
    for n, k, s, d in zip(size, layer.kernel_size, layer.stride, layer.dilation, strict=True):
        lacking = max((-(-n // s) - 1) * s + d * (k - 1) + 1 - n, 0)
        found += [lacking // 2, lacking - lacking // 2]
    return found[0], found[1], found[2], found[3]


def by_loops(layer: Any, x: np.ndarray) -> np.ndarray:
    """What a layer that slides makes of images (samples first), pixel by pixel."""
    around, ceil = borders(layer, x.shape[2:]), layer.ceil_mode
    if isinstance(layer, Conv2D):
        weights, bias = layer.parameters["weight"], layer.parameters.get("bias")
        return naive.conv2d(x, weights, bias, layer.stride, around, layer.dilation)
    if isinstance(layer, MaxPool2D):
        return naive.max_pool(x, None, layer.kernel_size, layer.stride, around, ceil)[0]
    return naive.average_pool(
        x, None, layer.kernel_size, layer.stride, around, ceil, layer.count_include_pad
    )[0]  # fmt: skip


@pytest.mark.parametrize("family", ["convolution", "sliding pool"])
def test_what_slides_does_what_the_loops_do(trust_in, family):
    def loops(case: Case) -> None:
        layer, x = case.layer, case.images()
        y, _ = layer.forward(x, case.run(False))
        expected = np.moveaxis(by_loops(layer, np.moveaxis(x, -1, 0)), 0, -1).copy()
        if isinstance(layer, Conv2D):
            expected = layer.activation.apply(expected)
        assert y.shape == expected.shape, settings_of(layer)
        np.testing.assert_allclose(y, expected, rtol=1e-9, atol=1e-9)

    trust_in(cases(family, np.dtype(np.float64)), loops, 25, 500)


@every_family
def test_a_batch_is_its_images_one_by_one(trust_in, family):
    """In use no image knows of another."""

    def batches_and_single_images(case: Case) -> None:
        layer, x = case.layer, case.images()
        together, _ = layer.forward(x, case.run(False))
        for k in range(case.samples):
            alone, _ = layer.forward(np.ascontiguousarray(x[..., k : k + 1]), case.run(False))
            close(together[..., k], alone[..., 0], case.dtype)

    trust_in(cases(family, least=2), batches_and_single_images, 25, 500)


@every_family
def test_both_dialects_mean_the_same(trust_in, family):
    if len(BACKENDS) == 1:
        pytest.skip("Numba is not installed")

    def backends(case: Case) -> None:
        layer, x = case.layer, case.images()
        results = []
        for name in BACKENDS:
            twin = layer.clone_unbuilt()
            twin.build(case.shape, BuildContext(np.random.default_rng(0), case.dtype, choose(name)))
            for theirs, ours in (
                (twin.parameters, layer.parameters),
                (twin.buffers, layer.buffers),
            ):
                for key in ours:
                    theirs[key][...] = ours[key]
            training = takes_a_single_one(case)
            y, cache = twin.forward(x, case.run(training))
            dy = np.random.default_rng(1).standard_normal(y.shape).astype(case.dtype)
            dx, gradients = twin.backward(dy, cache)
            results.append([y, dx, *gradients.values()])
        for one, two in zip(*results, strict=True):
            scale = max(np.abs(two).max(initial=0.0), 1.0)
            np.testing.assert_allclose(one, two, rtol=1e-9, atol=1e-9 * scale)

    trust_in(cases(family, np.dtype(np.float64)), backends, 20, 400)


@every_family
def test_gradients_hold(trust_in, family):
    """Against central differences in float64: along a random direction, and for single numbers.

    `check_layer` takes two lengths of step, of which the one that crosses no kink counts.  Where
    both may have crossed one, another point decides: a wrong gradient is wrong there, too.
    """

    def gradients(case: Case) -> None:
        if not takes_a_single_one(case):
            return
        for training in (True, False):
            for seed in (case.seed, case.seed + 1):
                errors, _ = check_layer(
                    case.layer, case.images(), case.run(training), np.random.default_rng(seed)
                )
                if all(error.passed for error in errors):
                    break
            else:
                pytest.fail(f"{settings_of(case.layer)}: {errors}")

    trust_in(cases(family, np.dtype(np.float64)), gradients, 20, 400)


# --- whole networks --------------------------------------------------------------------------


@dataclass(frozen=True)
class Net:
    """How to make a network, and what it is shown."""

    make: Callable[..., list[Layer]]
    shape: Shape
    backend: str
    dtype: np.dtype
    optimizer: Any
    loss: str
    seed: int
    batch: int

    def network(self, threads: int) -> CNN:
        return CNN(
            *self.make(), threads=threads, kernels=self.backend, dtype=self.dtype, seed=self.seed,
            optimizer=self.optimizer, loss=self.loss,
        )  # fmt: skip

    def data(self) -> tuple[np.ndarray, np.ndarray]:
        rng = np.random.default_rng(self.seed)
        return rng.random((self.batch, *self.shape), np.float32), rng.integers(0, 3, self.batch)


def layers_of(
    filters: int, kernel: int, stride: int, pool: str, norm: bool, rate: float, block: bool
):
    """A plain network: a convolution, then what was drawn, then three classes."""
    pools = {"max": MaxPool2D, "average": AvgPool2D}
    layers: list[Layer] = [Conv2D(filters, kernel, stride=stride)]
    layers += [pools[pool](2, ceil_mode=True)] if pool in pools else []
    layers += [Residual(Conv2D(filters), BatchNorm() if norm else Tanh())] if block else []
    layers += [BatchNorm()] if norm else []
    layers += [Dropout(rate)] if rate else []
    layers += [GlobalAvgPool2D()] if pool == "global" else []
    return [*layers, Dense(3, None)]


@st.composite
def nets(draw: Any) -> Net:
    chosen = (
        draw(st.integers(1, 5)), draw(st.integers(1, 3)), draw(st.integers(1, 2)),
        draw(st.sampled_from(["max", "average", "global", "none"])), draw(st.booleans()),
        draw(st.sampled_from([0.0, 0.3])), draw(st.booleans()),
    )  # fmt: skip
    return Net(
        lambda: layers_of(*chosen),
        draw(st.tuples(st.integers(1, 3), st.integers(4, 9), st.integers(4, 9))),
        draw(st.sampled_from(list(BACKENDS))),
        draw(DTYPES),
        draw(st.sampled_from([SGD(0.1, momentum=0.9), Adam(0.01)])),
        draw(st.sampled_from(["cross_entropy", "mse"])),
        draw(st.integers(0, 2**16)),
        draw(st.integers(9, 40)),
    )


@pytest.fixture
def busy(monkeypatch):
    """Shards of few images that go to threads however little work they are."""
    for name in BACKENDS:
        monkeypatch.setattr(choose(name), "SHARD_POLICY", ShardPolicy(2**20, 4, 4, 0))


@pytest.mark.slow
def test_threads_change_no_bit(trust_in, busy):
    """Three steps and the use of what they taught, with one, two and three threads."""

    def threads(net: Net) -> None:
        results = set()
        images, labels = net.data()
        kept = images.copy()
        for count in (1, 2, 3):
            network = net.network(count)
            losses = [network.train_step((images, labels))[0] for _ in range(3)]
            learnt = [array.tobytes() for array in network.parameters.snapshot()]
            results.add((*losses, *learnt, network.scores(images, batch_size=13).tobytes()))
        assert len(results) == 1, f"{net} differs between threads"
        assert np.array_equal(images, kept)

    trust_in(nets(), threads, 25, 400)


def test_a_network_in_use_takes_images_one_by_one_or_together(trust_in, busy):
    def networks_on_single_images(net: Net) -> None:
        network, (images, labels) = net.network(2), net.data()
        network.train_step((images, labels))
        together = network.scores(images)
        assert together.shape == (len(images), 3) and together.dtype == net.dtype
        alone = np.concatenate([network.scores(images[k : k + 1]) for k in range(len(images))])
        close(together, alone, net.dtype)

    trust_in(nets(), networks_on_single_images, 15, 250)


# --- what cannot be --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("layer", "shape", "words"),
    [
        (lambda: Conv2D(2, 5, padding="valid"), (1, 4, 9), REFUSALS[0]),
        (lambda: MaxPool2D(2, padding=2), (1, 4, 4), REFUSALS[1]),
        (lambda: Residual(Conv2D(2, 3, padding="valid")), (1, 6, 6), REFUSALS[2]),
    ],
)
def test_each_refusal_is_met(layer, shape, words):
    """So that none of the words above has gone out of use."""
    context = BuildContext(np.random.default_rng(0), np.dtype(np.float32), choose())
    with pytest.raises(ValueError, match=words):
        layer().build(shape, context)
