"""Optimizers against 20 steps of PyTorch's, against arithmetic by hand, and their contract."""

import numpy as np
import pytest

from CNN import CNN
from glassbox.engine.capture.executor import FusedUpdate, fused_kernel
from glassbox.engine.names import OPTIMIZERS, optimizer_named
from glassbox.engine.optimizers import Optimizer
from glassbox.engine.schedules import Progress, StepDecay
from glassbox.kernels import choose
from MLP import SGD, Adadelta, Adam, AdamW, Dense, RMSprop

KINDS = {kind.__name__: kind for kind in OPTIMIZERS.values()}
OUR_WORDS = {"lr": "learning_rate", "eps": "epsilon", "alpha": "rho"}  # PyTorch's: ours


def moved(optimizer, weights, gradient, state, progress, kernels):
    """One step of an optimizer on a vector; returns the learning rate used."""
    state["steps"] += 1
    rate = optimizer.rate_at(progress)
    kernel = fused_kernel(optimizer, kernels)
    move = optimizer.move if kernel is None else FusedUpdate(optimizer, kernel)
    move(weights, gradient, state, rate)
    return rate


def descend(optimizer, case, steps, kernels, dtype=np.float64):
    """w after each step down the bowl whose gradient is matrix w - target."""
    w = case["start"].astype(dtype)
    matrix, target = case["matrix"].astype(dtype), case["target"].astype(dtype)
    state, path = optimizer.new_state(w), []
    for step in range(steps):
        moved(optimizer, w, matrix @ w - target, state, Progress(step, steps), kernels)
        path.append(w.copy())
    return path


@pytest.mark.parametrize("number", range(15))
def test_20_steps_equal_pytorch(pytorch, kernels, number):
    """With weight decay, momentum, Nesterov, other betas and epsilons: every argument counts."""
    case = pytorch["optimizers"]
    run = case["runs"][number]
    settings = {OUR_WORDS.get(key, key): value for key, value in run["settings"].items()}
    path = descend(KINDS[run["name"]](**settings), case, 20, kernels)
    for step, expected in run["after"].items():
        np.testing.assert_allclose(path[int(step) - 1], expected, rtol=1e-9, atol=1e-11)


def test_there_is_a_run_of_pytorch_for_every_optimizer_that_it_has(pytorch):
    runs = pytorch["optimizers"]["runs"]
    assert len(runs) == 15
    assert {run["name"] for run in runs} == {"SGD", "Adam", "AdamW", "RMSprop", "Adadelta"}


@pytest.mark.parametrize("kind", KINDS.values())
def test_float32_stays_float32(pytorch, kernels, kind):
    optimizer = kind(0.1, weight_decay=0.1)
    path = descend(optimizer, pytorch["optimizers"], 5, kernels, np.float32)
    assert path[-1].dtype == np.float32
    state = optimizer.new_state(path[-1])
    assert all(state[slot].dtype == np.float32 for slot in optimizer.state_names)
    exact = descend(optimizer, pytorch["optimizers"], 5, kernels)
    np.testing.assert_allclose(path[-1], exact[-1], rtol=1e-4)


# --- by hand ---------------------------------------------------------------------------------


def move(optimizer, steps=1, w=1.0, g=2.0):
    """One weight of 1 after some steps with a gradient of 2."""
    weights = np.array([w])
    state = optimizer.new_state(weights)
    for step in range(steps):
        moved(optimizer, weights, np.array([g]), state, Progress(step, steps), choose())
    return weights.item()


@pytest.mark.parametrize(
    ("optimizer", "steps", "expected"),
    [
        (SGD(0.1), 1, 1 - 0.1 * 2),
        (SGD(0.1, weight_decay=0.5), 1, 1 - 0.1 * (2 + 0.5 * 1)),
        # v = 2, then 0.5 * 2 + 2 = 3
        (SGD(0.1, momentum=0.5), 2, 1 - 0.1 * 2 - 0.1 * 3),
        # v = 2, moved by 2 + 0.5 * 2 = 3; v = 3, moved by 2 + 0.5 * 3 = 3.5
        (SGD(0.1, momentum=0.5, nesterov=True), 2, 1 - 0.1 * 3 - 0.1 * 3.5),
        # corrected means of a constant gradient are 2 and 4: each step is lr * 2 / (2 + epsilon)
        (Adam(0.1, epsilon=2.0), 3, 1 - 3 * 0.1 * 2 / (2 + 2)),
        # the weight shrinks by 1 - 0.1 * 0.5 first, and the gradient knows nothing of it
        (AdamW(0.1, epsilon=2.0, weight_decay=0.5), 1, 1 * (1 - 0.1 * 0.5) - 0.1 * 2 / 4),
        # s = 0.25 * 4 = 1
        (RMSprop(0.1, rho=0.75, epsilon=1.0), 1, 1 - 0.1 * 2 / (1 + 1)),
        # s = 0.25 * 4 = 1; the step is 2 sqrt(0 + 3) / sqrt(1 + 3)
        (Adadelta(0.1, rho=0.75, epsilon=3.0), 1, 1 - 0.1 * 2 * np.sqrt(3) / 2),
    ],
    ids=repr,
)
def test_step_by_hand(optimizer, steps, expected):
    assert move(optimizer, steps) == pytest.approx(expected, rel=1e-12)


def test_schedule_gives_the_rate():
    """Rates 0.1, 0.1, 0.01, 0.01: with a gradient of 2 the weight falls by twice their sum."""
    rates = []
    optimizer = SGD(StepDecay(0.1, step_size=2, unit="step"))
    weights = np.array([1.0])
    state = optimizer.new_state(weights)
    for step in range(4):
        rates.append(moved(optimizer, weights, np.array([2.0]), state, Progress(step, 4), choose()))
    assert rates == pytest.approx([0.1, 0.1, 0.01, 0.01])
    assert weights.item() == pytest.approx(1 - 2 * 0.22)


# --- the same of a fused kernel ---------------------------------------------------------------

EACH = [
    SGD(0.1), SGD(0.1, 0.9), SGD(0.1, 0.9, nesterov=True), Adam(), AdamW(), RMSprop(),
    RMSprop(momentum=0.9), Adadelta(),
]  # fmt: skip


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("optimizer", EACH, ids=repr)
def test_updates_work_in_place_on_a_view(kernels, optimizer, dtype):
    """Groups of parameters are stretches of one flat vector; states keep type and memory."""
    whole, gradient = np.ones(6, dtype), np.ones(3, dtype)
    state = optimizer.new_state(whole[2:5])
    arrays = {name: state[name] for name in optimizer.state_names}
    moved(optimizer, whole[2:5], gradient, state, Progress(), kernels)
    assert (whole[2:5] < 1).all()
    assert whole[[0, 1, 5]].tolist() == [1, 1, 1]
    for name, array in arrays.items():
        assert state[name] is array
        assert array.dtype == dtype
        assert array.any(), f"{name} forgets"


def test_a_fused_kernel_belongs_to_the_optimizer_as_shipped(kernels):
    """An optimizer of one's own, and one with a method replaced, run as written."""

    class Mine(Adam):
        def update(self, w, g, state, rate):
            w -= 1

    replaced = Adam()
    replaced.update = lambda w, g, state, rate: None
    assert fused_kernel(Mine(), kernels) is None
    assert fused_kernel(replaced, kernels) is None
    assert fused_kernel(AdamW(), kernels) is getattr(kernels, "adam_", None)


def test_a_wrong_fused_kernel_is_found_and_corrected():
    def wrong(optimizer, w, g, state, rate):
        w -= 2 * rate * g

    move, w = FusedUpdate(SGD(0.1), wrong), np.ones(3)
    move.checking = True
    move(w, np.ones(3), {"steps": 1}, 0.1)
    assert move.wrong
    assert w.tolist() == [0.9] * 3


# --- contract --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "optimizer",
    [SGD(0.05, momentum=0.9), Adam(0.01), AdamW(0.01), RMSprop(0.01, momentum=0.5), Adadelta()],
    ids=repr,
)
def test_one_optimizer_may_serve_two_networks(optimizer):
    """An optimizer keeps no state: a second network trained in between changes nothing."""
    random = np.random.default_rng(0)
    data = random.standard_normal((8, 1, 3, 3)).astype(np.float32), np.arange(8) % 2
    recipe = dict(vars(optimizer))

    def train(*networks):
        for _ in range(4):
            for network in networks:
                network.train_step(data)
        return networks[0].parameters.values

    def network(seed):
        return CNN(Dense(4), Dense(2), optimizer=optimizer, seed=seed).build((1, 3, 3))

    alone, shared = train(network(0)), train(network(0), network(1))
    assert np.array_equal(alone, shared)
    assert vars(optimizer) == recipe


def test_layer_with_its_own_optimizer():
    """SGD moves the layer that brings it, the network's Adam all the others."""
    random = np.random.default_rng(0)
    data = random.standard_normal((8, 1, 3, 3)).astype(np.float32), np.arange(8) % 2
    own = SGD(0.5)
    network = CNN(Dense(4, optimizer=own), Dense(3), Dense(2), optimizer=Adam(1e-3), seed=0)
    network.build((1, 3, 3))
    before = network.parameters.values.copy()
    outputs, memories = network.forward(data[0], training=True)
    _, memory = network.loss.forward(outputs.T, data[1])
    gradients = network.backward(network.loss.backward(memory, 8).T, memories)
    network.train_step(data)
    moved = network.parameters.values - before
    groups = network.parameters.groups
    assert [group.optimizer for group in groups] == [own, network.optimizer]  # two of three joined
    expected = -0.5 * gradients["dense1"]["weight"].reshape(-1)
    np.testing.assert_allclose(moved[: 4 * 9], expected, rtol=1e-3, atol=1e-7)
    rest = moved[4 * 9 + 4 :]
    assert np.abs(np.abs(rest) - 1e-3).max() < 2e-5  # Adam's first step has the length of its rate


def test_names():
    assert {name: type(optimizer_named(name)) for name in OPTIMIZERS} == OPTIMIZERS
    assert isinstance(optimizer_named("Adam"), Adam)
    given = SGD(0.3)
    assert optimizer_named(given) is given


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: SGD(0), ValueError, "learning_rate: expected a finite number above 0, got 0"),
        (lambda: Adam(-1e-3), ValueError, "learning_rate: expected a finite number above 0"),
        (lambda: Adam(float("nan")), ValueError, "learning_rate: expected a finite number"),
        (lambda: SGD("fast"), TypeError, "learning_rate: expected a number above 0, got 'fast'"),
        (lambda: SGD(0.1, momentum=1.0), ValueError, "momentum: expected 0 <= value < 1, got 1"),
        (lambda: SGD(0.1, momentum=-0.1), ValueError, "momentum: expected 0 <= value < 1"),
        (lambda: SGD(0.1, nesterov=True), ValueError, "nesterov needs momentum above 0"),
        (
            lambda: SGD(0.1, weight_decay=-1),
            ValueError,
            "weight_decay: expected a finite number of",
        ),
        (lambda: Adam(betas=(0.9, 1.0)), ValueError, r"betas: expected 0 <= value < 1, got 1\.0"),
        (lambda: Adam(epsilon=0), ValueError, "epsilon: expected a finite number above 0"),
        (lambda: RMSprop(rho=1), ValueError, "rho: expected 0 <= value < 1, got 1"),
        (lambda: RMSprop(momentum=2), ValueError, "momentum: expected 0 <= value < 1, got 2"),
        (lambda: RMSprop(epsilon=-1), ValueError, "epsilon: expected a finite number above 0"),
        (lambda: Adadelta(rho="a"), TypeError, "rho: expected a number from 0 to 1, got 'a'"),
        (lambda: Adadelta(epsilon=None), TypeError, "epsilon: expected a number above 0"),
        (lambda: optimizer_named("addam"), ValueError, "optimizer 'addam': did you mean 'adam'"),
        (lambda: optimizer_named(3), TypeError, "optimizer: expected a name or .*got 3"),
        (
            lambda: moved(
                Optimizer(0.1),
                np.ones(1),
                np.ones(1),
                Optimizer(0.1).new_state(np.ones(1)),
                Progress(),
                None,
            ),
            TypeError,
            r"Optimizer must define update\(w, g, state, rate\)",
        ),
    ],
)
def test_errors(make, error, message):
    with pytest.raises(error, match=message):
        make()
