"""What you read is what runs: edits of the real source take effect, captured as eager.

Besides edits of the files, everything that can be changed on built objects; and what happens where
a recorded layer does not compute what its code says.
"""

import json
import subprocess
import sys
import warnings
from functools import cache
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from installed import BACKENDS

from CNN import CNN
from Datasets import Dataset, Scaling
from Filters import AvgPool2D, Conv2D, GlobalAvgPool2D, MaxPool2D, Residual
from glassbox.engine.capture import shipped
from glassbox.engine.capture.captured import CaptureWarning
from glassbox.engine.losses import CrossEntropy
from glassbox.kernels import choose
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
    Tanh,
)

HERE = Path(__file__).resolve().parent
EDITS = {  # how many edits tests/edited_run.py makes in each module
    "Filters": 36, "MLP": 12, "glassbox.engine.blocks": 12, "glassbox.engine.synced": 12,
    "glassbox.engine.layer": 36, "glassbox.engine.more_layers": 96, "glassbox.engine.losses": 28,
    "glassbox.engine.optimizers": 12,
    "glassbox.engine.more_optimizers": 12,
}  # fmt: skip
COMPILED = pytest.mark.skipif(find_spec("numba") is None, reason="needs Numba")
ROUNDING = 3e-5  # between captured and eager, relative to the largest number; float32


@pytest.mark.slow
@pytest.mark.parametrize("module", EDITS)
def test_every_edit_of_the_source_takes_effect(module):
    """Each trains as the same edited source does eagerly, and not as the unedited one."""
    done = subprocess.run(
        [sys.executable, str(HERE / "edited_run.py"), module, *BACKENDS],
        capture_output=True, text=True, timeout=600, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    edits = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(edits) == EDITS[module] * len(BACKENDS)
    for edit in edits:
        assert edit["from_eager"] < ROUNDING or edit["warnings"], edit
        assert edit["from_plain"] > 10 * max(edit["from_eager"], 1e-7), edit
    if module == "glassbox.engine.layer":
        assert "seen LeakyReLU" in done.stderr


# --- the hashes of shipped code --------------------------------------------------------------


def test_the_hashes_are_those_of_the_sources():
    """After a change that is meant to be shipped: python -m glassbox.engine.capture.shipped"""
    assert json.loads(shipped.MANIFEST.read_text("utf-8")) == shipped.current()


def test_comments_and_docstrings_are_no_edits():
    first = shipped.hashes(shipped.ast.parse('class A:\n    """One."""\n    x = 1  # one\n'))
    second = shipped.hashes(shipped.ast.parse('class A:\n    """Two."""\n\n    x = 1\n'))
    other = shipped.hashes(shipped.ast.parse("class A:\n    x = 2\n"))
    assert first == second != other


@pytest.mark.parametrize("kind", [Conv2D, Dense, BatchNorm, Residual, CrossEntropy, LeakyReLU])
def test_shipped_classes_are_known_as_such(kind):
    assert shipped.edited(kind) == ""


def test_a_class_of_ones_own_is_told_from_shipped_ones():
    class Conv2D(Dense):
        pass

    assert shipped.edited(Conv2D) == "Conv2D is not a class of this library"


def test_a_method_replaced_on_a_class_is_seen(monkeypatch):
    forward = Dense.forward
    monkeypatch.setattr(Dense, "forward", lambda self, x, context: forward(self, x, context))
    assert shipped.edited(Dense) == "Dense.forward was replaced"


def test_an_edit_of_the_eager_step_is_seen(monkeypatch):
    """The captured step does not come through it, so the network must run eagerly then."""
    import glassbox.engine.step

    monkeypatch.setattr(glassbox.engine.step.Executor, "train_shard", lambda *a: None)
    network = CNN(Dense(4)).build((1, 3, 3))
    assert network.mode == "eager"
    assert "glassbox.engine.step.Executor.train_shard was replaced" in network.assembly.describe()


# --- changes of built networks ---------------------------------------------------------------


def images(count=48):
    random = np.random.default_rng(0)
    return random.random((count, 1, 8, 8), np.float32), np.arange(count) % 4


def network(eager, backend, **settings):
    return CNN(
        Conv2D(4), MaxPool2D(2), Dropout(0.2), Conv2D(3), AvgPool2D(2), Dense(6, "relu"), Dense(4),
        optimizer=SGD(0.5, momentum=0.9), kernels=backend, eager=eager, threads=1, seed=2,
        **settings,
    )  # fmt: skip


class Doubled(Conv2D):
    def forward(self, x, context):
        y, cache = super().forward(x, context)
        return 2 * y, cache


class Tripled(CrossEntropy):
    def backward(self, cache, batch):
        return 3 * super().backward(cache, batch)


def replace_forward(net):
    own = net.layers[0].forward
    net.layers[0].forward = lambda x, context: (lambda y, m: (y * np.float32(1.5), m))(
        *own(x, context)
    )


def replace_class_forward(net):
    own = MaxPool2D.forward
    MaxPool2D.forward = lambda self, x, context: (lambda y, m: (y * 0, m))(*own(self, x, context))


def replace_gradient(net):
    activation = net.layers[0].activation
    own = activation.gradient
    activation.gradient = lambda dy, y: 2 * own(dy, y)


def set_weights(net):
    weights = net.layers[0].parameters["weight"]
    net.layers[0].parameters["weight"] = np.full_like(weights, 0.1)


def set_parameters(net):
    net.layers[5].parameters = {
        name: np.full_like(array, 0.05) for name, array in net.layers[5].parameters.items()
    }


def swap_layer(net):
    net.layers[1] = AvgPool2D(2)


def swap_for_own(net):
    layer = net.layers[3] = Doubled(3)
    assert layer.output_shape == ()


CHANGES = {
    "activation": lambda net: setattr(net.layers[0], "activation", Sigmoid()),
    "activation by name": lambda net: setattr(net.layers[3], "activation", "tanh"),
    "slope": lambda net: setattr(net.layers[0].activation, "slope", 0.5),
    "rate of dropout": lambda net: setattr(net.layers[2], "rate", 0.6),
    "optimizer": lambda net: setattr(net, "optimizer", Adam(0.01)),
    "optimizer of a layer": lambda net: setattr(net.layers[0], "optimizer", SGD(0.01)),
    "l2": lambda net: setattr(net, "l2", 0.5),
    "l2 of a layer": lambda net: setattr(net.layers[5], "l2", 0.5),
    "loss": lambda net: setattr(net, "loss", Tripled()),
    "loss by name": lambda net: setattr(net, "loss", "cross_entropy"),
    "label smoothing": lambda net: setattr(net.loss, "label_smoothing", 0.3),
    "seed": lambda net: setattr(net, "seed", 5),
    "layer": swap_layer,
    "layer of one's own": swap_for_own,
    "weights": set_weights,
    "parameters": set_parameters,
    "forward": replace_forward,
    "gradient": replace_gradient,
    "forward of the class": replace_class_forward,
}


def course(eager, backend, change, way):
    """Weights and outputs after training, a change, and more training."""
    net = network(eager, backend)
    if "loss" in change and "smooth" not in change:
        net.layers[-1].activation = Identity()
    x, labels = images()
    change = CHANGES.get(change, lambda net: None)
    own = MaxPool2D.forward
    try:
        for part in range(2):
            if way == "fit":
                net.fit((x, labels), epochs=2, batch_size=20, progress=False)
            else:
                for step in range(5):
                    net.train_step((x, labels), np.arange(20) + 4 * step)
            if not part:
                change(net)
        return np.concatenate([net.parameters.values, net.scores(x[:5]).ravel()]), net
    finally:
        MaxPool2D.forward = own


@cache
def unchanged(backend, without_activation, way):
    """The course of a network that nobody changes."""
    return course(True, backend, "no loss" if without_activation else "", way)[0]


def apart(a, b):
    return float(np.abs(a - b).max() / np.abs(b).max())


@pytest.mark.filterwarnings("ignore::glassbox.engine.replacing.ReplacedWarning")
@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("way", ["fit", "train_step"])
def test_a_change_by_hand_takes_effect(change, way, backend):
    """In the very next step, and as it would eagerly."""
    fast, _ = course(False, backend, change, way)
    slow, _ = course(True, backend, change, way)
    plain = unchanged(backend, "loss" in change, way)
    assert apart(fast, slow) < ROUNDING
    assert apart(fast, plain) > 1e-3


def replace_inner_gradient(net):
    activation = net.layers[2].layers[1].activation
    own = activation.gradient
    activation.gradient = lambda dy, y: 2 * own(dy, y)


def set_inner_weights(net):
    weights = net.layers[2].parameters["conv1.weight"]
    net.layers[2].parameters["conv1.weight"] = np.full_like(weights, 0.1)


def replace_after_step(net):
    net.layers[1].after_step = lambda cache: None


INNER_CHANGES = {
    "momentum": lambda net: setattr(net.layers[1], "momentum", 0.9),
    "epsilon": lambda net: setattr(net.layers[1], "epsilon", 0.5),
    "epsilon in a block": lambda net: setattr(net.layers[2].layers[1].layers[1], "epsilon", 0.5),
    "running mean": lambda net: net.layers[1].buffers.update(running_mean=np.full(4, 0.3)),
    "frozen": lambda net: net.freeze(1, 2),
    "after step": replace_after_step,
    "activation of a block": lambda net: setattr(net.layers[2], "activation", "tanh"),
    "slope in a block": lambda net: setattr(net.layers[2].layers[1].activation, "slope", 0.5),
    "gradient in a block": replace_inner_gradient,
    "weights in a block": set_inner_weights,
    "order in a block": lambda net: net.layers[2].layers.reverse(),
    "layer of a block": lambda net: net.layers[2].layers.__setitem__(2, Identity()),
    "one layer less in a block": lambda net: net.layers[2].layers.pop(),
}


@pytest.mark.parametrize("change", INNER_CHANGES)
def test_a_change_of_normalization_or_of_a_block_takes_effect(change, backend):
    """In the very next step, and as it would eagerly: weights, running averages and outputs."""

    def numbers(eager, change):
        net = CNN(
            Conv2D(4), BatchNorm(),
            Residual(Conv2D(4), Residual(Conv2D(4), BatchNorm()), Tanh(), activation="relu"),
            GlobalAvgPool2D(), Dense(4), optimizer=SGD(0.5), kernels=backend, eager=eager, seed=2,
        )  # fmt: skip
        x, labels = images()
        for step in range(8):
            if step == 3:
                INNER_CHANGES.get(change, lambda net: None)(net)
            net.train_step((x, labels), np.arange(20) + 4 * (step % 6))
        return np.concatenate([a.ravel() for a in [*net.parameters.snapshot(), net.scores(x[:5])]])

    fast = numbers(False, change)
    assert apart(fast, numbers(True, change)) < ROUNDING
    assert apart(fast, numbers(True, "")) > 1e-4


def halved(self, x, context):
    return 0.5 * x.reshape(-1, x.shape[-1]), x.shape


def unlike_any(self, rows, shape, context):
    yield from ()
    return 0 * self.buffers["running_mean"] + 2, 0 * self.buffers["running_var"] + 9, 0


@pytest.mark.parametrize("use", ["fit", "train_step", "predict"])
@pytest.mark.parametrize(
    ("method", "other"), [(Flatten.forward, halved), (BatchNorm.statistics, unlike_any)]
)
def test_code_that_is_exchanged_in_place_takes_effect(use, backend, method, other):
    """As a notebook's autoreload does it: the function stays, and nothing is assigned to it."""
    data, own = images(), method.__code__
    found = []
    for eager in (True, False):
        layers = Conv2D(2, activation=None, bias=False), BatchNorm(), Flatten(), Dense(4)
        net = CNN(*layers, kernels=backend, eager=eager, threads=1)
        net.fit(data, epochs=5, batch_size=4, progress=False)  # until comparisons are rare
        before = net.scores(data[0])
        try:
            method.__code__ = other.__code__
            if use == "fit":
                net.fit(data, epochs=1, batch_size=4, progress=False)
            elif use == "train_step":
                net.train_step(data)
            found.append(np.concatenate([net.parameters.values, net.scores(data[0]).ravel()]))
            assert apart(net.scores(data[0]), before) > 1e-3
        finally:
            method.__code__ = own
    assert apart(*found) < ROUNDING


def blank(self, indices, dtype=np.float32):
    return np.zeros((len(indices), *self.shape), dtype), self.labels[indices]


def test_code_of_data_that_is_exchanged_in_place_takes_effect(backend):
    """In the next predictions, though a data set of the same class was judged before."""
    x, own, found = images()[0], Dataset.batch.__code__, []
    for eager in (True, False):
        net = CNN(Conv2D(2), Dense(4), kernels=backend, eager=eager, threads=1).build((1, 8, 8))
        net.scores(x)
        try:
            Dataset.batch.__code__ = blank.__code__
            found.append(net.scores(x))
        finally:
            Dataset.batch.__code__ = own
        assert np.ptp(found[-1], axis=0).max() == 0  # blank images are all alike
    assert apart(*found) < ROUNDING


def test_weights_set_by_name_are_those_that_train():
    """The memory stays the trained one; another shape and an unknown name are errors."""
    net = network(False, None).build((1, 8, 8))
    view = net.layers[0].parameters["weight"]
    net.layers[0].parameters["weight"] = np.ones(view.shape)
    assert net.layers[0].parameters["weight"] is view
    assert net.parameters.values[: view.size].tolist() == [1.0] * view.size
    with pytest.raises(ValueError, match=r"weight has the shape \(4, 1, 3, 3\), got \(2,\)"):
        net.layers[0].parameters["weight"] = np.ones(2)
    with pytest.raises(KeyError, match="has no 'weights'; it has weight, bias"):
        net.layers[0].parameters["weights"] = np.ones(2)
    net.layers[0].parameters.update(bias=np.full(4, 3))
    net.layers[0].parameters |= {"bias": np.full(4, 5)}
    assert net.parameters.values[view.size : view.size + 4].tolist() == [5.0] * 4
    for change in ("pop", "setdefault", "__delitem__"):
        with pytest.raises(TypeError, match="its arrays can be set, not added or removed"):
            getattr(net.layers[0].parameters, change)("bias")


def test_an_optimizer_that_stays_keeps_its_state():
    """A new optimizer for one layer must not make the others begin anew."""
    net = network(False, "numpy")
    net.train_step(images())
    groups = net.parameters.groups
    assert len(groups) == 1
    net.layers[-1].optimizer = SGD(0.1)
    before = groups[0].state
    net.l2 = 0.01
    net.train_step(images())
    assert len(net.parameters.groups) == 2
    assert net.parameters.groups[0].state is not before  # another stretch
    state = net.parameters.groups[0].state
    net.l2 = 0.02
    net.train_step(images())
    assert net.parameters.groups[0].state is state
    assert state["steps"] == 2


def test_a_layer_that_does_not_fit_where_it_is_put_is_an_error():
    net = network(False, None)
    net.train_step(images())
    net.layers[1] = MaxPool2D(4)
    with pytest.raises(ValueError, match=r"dropout1' was built for \(4, 4, 4\)"):
        net.train_step(images())


def test_a_change_that_is_refused_is_refused_again(backend):
    """And not taken for done, to go on with the old loss in silence."""
    net = network(False, backend)
    net.train_step(images())
    net.loss = CrossEntropy()
    for _ in range(2):
        with pytest.raises(ValueError, match="cross_entropy expects a last layer"):
            net.train_step(images())


def test_arrays_that_do_not_fit_change_nothing(backend):
    """Neither the others that were set with them, nor the optimizer that was set meanwhile."""
    net = network(False, backend)
    net.train_step(images())
    before = net.parameters.values.copy()
    net.layers[0].parameters = {"weight": np.ones((4, 1, 3, 3)), "bias": np.ones(4)}
    net.layers[5].parameters = {"weight": np.ones((2, 2)), "bias": np.ones(6)}
    net.optimizer = other = Adam(0.01)
    for _ in range(2):
        with pytest.raises(ValueError, match="weight has the shape"):
            net.train_step(images())
        assert np.array_equal(net.parameters.values, before)
    bound = net.parameters._bound[5][0]
    with pytest.raises(ValueError, match="weight has the shape"):
        bound.update(bias=np.ones(6), weight=np.ones(2))
    assert np.array_equal(net.parameters.values, before)
    net.layers[5].parameters = dict(bound)
    net.train_step(images())
    assert net.parameters.groups[0].optimizer is other


def test_a_layer_gets_no_attribute_from_being_captured(backend):
    """Its attributes are watched, and kept in copies."""
    net = CNN(Conv2D(4), BatchNorm(), MaxPool2D(2), Residual(Conv2D(4)), Dense(4), kernels=backend)
    net.build((1, 8, 8))
    before = [set(vars(layer)) for layer in net.layers]
    watch = net.assembly._watch
    for _ in range(4):
        net.train_step(images())
    assert [set(vars(layer)) for layer in net.layers] == before
    assert net.assembly._watch is watch


@pytest.mark.parametrize("patched", [(Dataset, "batch"), (Scaling, "apply")])
def test_images_are_asked_for_where_their_class_was_changed(patched, backend, monkeypatch):
    """Kernels fetch images only as long as the class of the data is the shipped one."""
    pixels = np.random.default_rng(1).integers(0, 256, (20, 1, 8, 8), np.uint8)
    data = Dataset(pixels, np.arange(20) % 4, tuple("abcd"), Scaling("unit"))
    nets = [network(eager, backend) for eager in (False, True)]
    for net in nets:
        net.train_step(data)
    own = getattr(*patched)

    def darker(self, *given, **named):
        found = own(self, *given, **named)
        return (found[0] / 2, found[1]) if patched[1] == "batch" else found / 2

    monkeypatch.setattr(*patched, darker)
    losses = [net.train_step(data)[0] for net in nets]
    monkeypatch.undo()
    plain = network(True, backend)
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)
    assert [plain.train_step(data)[0] for _ in range(2)][1] != pytest.approx(losses[1], rel=1e-5)
    assert apart(nets[0].parameters.values, nets[1].parameters.values) < ROUNDING


@COMPILED
def test_what_images_are_scaled_by_is_looked_at_anew_in_new_images(monkeypatch):
    """A class that was as shipped at one prediction need not be at the next."""
    net, pixels = network(False, "compiled"), images()[0]
    net.scaling = Scaling("unit")
    before = net.scores(pixels)
    own = Scaling._scale_all
    monkeypatch.setattr(Scaling, "_scale_all", lambda self, out: (own(self, out), out.fill(0.5)))
    assert not np.array_equal(net.scores(pixels), before)
    monkeypatch.undo()
    assert np.array_equal(net.scores(pixels), before)


@COMPILED
def test_attributes_that_change_in_every_step_are_followed():
    """After some changes the layer runs as written: recording it each time would be slower."""
    nets = [network(eager, "compiled") for eager in (False, True)]
    for step in range(20):
        for net in nets:
            net.layers[2].rate = 0.02 * step
            net.train_step(images())
    fast, slow = (net.parameters.values for net in nets)
    assert apart(fast, slow) < ROUNDING
    assert "dropout1 as written (its attributes change" in nets[0].assembly.describe()


# --- a recording that is wrong ---------------------------------------------------------------


def plain_line(monkeypatch, name, line):
    """A line of plain NumPy in a kernel, which a replay does not make."""
    kernels = choose("compiled")
    own = getattr(kernels, name)
    monkeypatch.setattr(kernels, name, lambda *given: line(own(*given)))


FAULTS = {
    "dense": (lambda y: np.add(y, y.mean(), out=y), "Dense 'dense1'.*output"),
    "max_pool": (lambda r: (np.multiply(r[0], 2, out=r[0]), r[1]), "Conv2D 'conv1' and MaxPool2D"),
    "conv2d_weight_gradient": (lambda dw: np.multiply(dw, 2, out=dw), "gradient of weight"),
    "dense_input_gradient": (lambda dx: np.multiply(dx, 2, out=dx), "gradient of the input"),
    "sigmoid_gradient": (lambda dz: np.multiply(dz, 2, out=dz), "Dense"),
    "moments": (lambda sums: np.multiply(sums, 2, out=sums), "BatchNorm.*sum over all shards"),
    "normalize_gradient": (lambda dx: np.multiply(dx, 2, out=dx), "BatchNorm.*gradient of the inp"),
    "add": (lambda y: np.multiply(y, 2, out=y), "Residual 'residual1'.*output"),
    "statistics": (lambda s: (s[0] + 1, s[1]), "BatchNorm 'norm1'.*recorded cache"),
}


@COMPILED
@pytest.mark.parametrize("name", FAULTS)
def test_a_wrong_replay_is_found_named_and_corrected(name, monkeypatch):
    """One warning, at the first step; the weights are those of the eager run from the start."""
    line, words = FAULTS[name]
    plain_line(monkeypatch, name, line)

    def net(eager):
        return CNN(
            Conv2D(4), MaxPool2D(2), BatchNorm(), Residual(Conv2D(4)), Dense(6), Dense(4),
            optimizer=SGD(0.5), kernels="compiled", eager=eager, threads=1,
        )  # fmt: skip

    fast, slow = net(False), net(True)
    with pytest.warns(CaptureWarning, match=words) as caught:
        fast.train_step(images())
    assert len(caught) == 1
    slow.train_step(images())
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for _ in range(5):
            fast.train_step(images())
            slow.train_step(images())
    assert apart(fast.parameters.values, slow.parameters.values) < ROUNDING
    assert "as written (its recorded" in fast.assembly.describe()


@COMPILED
def test_a_wrong_replay_of_a_prediction_is_found_too(monkeypatch):
    plain_line(monkeypatch, "dense", lambda y: np.add(y, y.mean(), out=y))
    fast, slow = (CNN(Dense(4), kernels="compiled", eager=eager) for eager in (False, True))
    x = images()[0]
    with pytest.warns(CaptureWarning, match="dense1"):
        found = fast.scores(x)
    assert apart(found, slow.scores(x)) < ROUNDING
    assert apart(fast.scores(x), slow.scores(x)) < ROUNDING


@COMPILED
def test_a_loss_that_is_recorded_wrong_is_found(monkeypatch):
    ends = choose("compiled").ends
    own = ends.squared_error
    monkeypatch.setattr(ends, "squared_error", lambda y, labels, on, off: own(y, labels, 0.5, off))
    fast, slow = (CNN(Dense(4), kernels="compiled", eager=eager) for eager in (False, True))
    with pytest.warns(CaptureWarning, match="MSE"):
        found = fast.train_step(images())
    assert found[0] == pytest.approx(slow.train_step(images())[0], rel=1e-5)
    assert apart(fast.parameters.values, slow.parameters.values) < ROUNDING


@COMPILED
def test_what_goes_stale_later_is_found_at_a_later_comparison(monkeypatch):
    """Weights that a kernel copied while it was recorded are right in the first step alone."""
    kernels = choose("compiled")
    own = kernels.dense
    monkeypatch.setattr(kernels, "dense", lambda x, w, b, *slope: own(x, w.copy(), b, *slope))
    net = CNN(Dense(4), kernels="compiled", optimizer=SGD(5.0), threads=1)
    net.train_step(images())
    with pytest.warns(CaptureWarning, match="dense1"):
        net.train_step(images())


# --- which mode -----------------------------------------------------------------------------


def test_eager_is_eager(capsys):
    net = network(True, None)
    net.summary((1, 8, 8))
    assert "eager: layer by layer (as asked)" in capsys.readouterr().out
    assert net.mode == "eager"
    net.eager = False
    net.summary()
    assert "captured" in capsys.readouterr().out
    assert net.mode == "captured"


def test_fit_says_which_runs(capsys):
    network(False, "numpy").fit(images(), epochs=1)
    assert "captured: fused, not recorded" in capsys.readouterr().out
    network(True, "numpy").fit(images(), epochs=1, progress=False)
    assert capsys.readouterr().out == ""


# --- random networks ------------------------------------------------------------------------

LAST = ["mse", "cross_entropy"]


def random_network(number, dtype, backend):
    """Two equal networks, one of them eager, of layers drawn at random."""
    random = np.random.default_rng(number)
    functions = ["leaky_relu", "relu", "sigmoid", "tanh", None, "softmax", "relu6", "log_softmax"]

    def drawn():
        draw = np.random.default_rng(number)
        layers, size = [], 8
        for _ in range(draw.integers(0, 4)):
            stride = int(draw.choice([1, 1, 2]))
            size = -(-size // stride)
            layers.append(
                Conv2D(
                    int(draw.choice([2, 3, 5, 16])), int(draw.choice([1, 2, 3])),
                    stride=stride, activation=draw.choice(functions),
                    bias=bool(draw.integers(2)),
                )
            )  # fmt: skip
            kind = draw.choice(
                ["max", "max 3", "mean", "norm", "drop", "tanh", "block", "more", ""]
            )
            if kind in ("max", "max 3", "mean"):
                kind = kind if size > 3 else ""
                size = -(-size // 2)
            layers += {
                "max": [MaxPool2D(2, ceil_mode=True)], "max 3": [MaxPool2D(3, 2, padding=1)],
                "mean": [AvgPool2D(2, ceil_mode=True)], "norm": [BatchNorm()],
                "drop": [Dropout(0.3)], "tanh": [Tanh()], "block": [Residual(Conv2D(3))], "": [],
                "more": [
                    Residual(
                        Conv2D(4, activation=None), BatchNorm(), Tanh(),
                        Residual(Conv2D(4, activation="relu6"), Dropout(0.2), activation=None),
                        activation=draw.choice(functions),
                    ),
                    BatchNorm(),
                ],
            }[str(kind)]  # fmt: skip
        layers += [[Flatten()], [GlobalAvgPool2D()], []][draw.integers(3)]
        for _ in range(draw.integers(0, 3)):
            layers.append(Dense(int(draw.choice([2, 9, 20])), draw.choice(functions[:-2])))
            layers += [[LeakyReLU(0.2)], [ReLU()], [BatchNorm()], [], []][draw.integers(5)]
        return layers

    loss, l2 = LAST[random.integers(2)], float(random.choice([0, 0.01]))
    return [
        CNN(
            *drawn(), Dense(4, None if loss == "cross_entropy" else "sigmoid"), loss=loss,
            optimizer=SGD(0.05), l2=l2,
            kernels=backend, dtype=dtype, eager=eager, threads=1, seed=number,
        )
        for eager in (False, True)
    ]  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("dtype, close", [(np.float64, 1e-12), (np.float32, 1e-4)])
@pytest.mark.parametrize("part", range(10))
def test_captured_agrees_with_eager_on_random_networks(part, dtype, close, trust):
    """Losses, weights and outputs after three steps of several shards' sizes; 500 networks."""
    x, labels = images(40)
    for number in range(25 * part, 25 * part + 25):
        for backend in BACKENDS:
            fast, slow = random_network(number, dtype, backend)
            for size in (20, 7, 20):
                one = fast.train_step((x, labels), np.arange(size))
                two = slow.train_step((x, labels), np.arange(size))
                assert one[0] == pytest.approx(two[0], rel=close), number
            assert apart(fast.parameters.values, slow.parameters.values) < close, number
            assert apart(fast.scores(x), slow.scores(x)) < close, number
