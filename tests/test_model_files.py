"""save, load, load_weights: the same network comes back, whole, or an error says why not."""

from __future__ import annotations

import ast
import copy
import doctest
import json
import math
import os
import pickle
import re
import resource
import subprocess
import sys
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from make_golden_model import CLASSES, images
from make_golden_model import network as golden_network
from safetensors.numpy import load as read_tensors
from safetensors.numpy import save as write_tensors
from test_layers import CASES

from CNN import CNN
from Datasets import Dataset, Digits, Scaling
from Filters import AvgPool2D, Conv2D, GlobalAvgPool2D, MaxPool2D, Residual
from glassbox.engine.layer import Activation, Layer
from glassbox.engine.losses import MSE, CrossEntropy, Loss
from glassbox.engine.more_optimizers import Frozen
from glassbox.engine.names import ACTIVATIONS, LOSSES, OPTIMIZERS
from glassbox.engine.optimizers import Optimizer
from glassbox.engine.schedules import Progress, Schedule
from glassbox.files import arrays_file, checkpoints, config, model_file
from MLP import (
    SGD,
    Adadelta,
    Adam,
    AdamW,
    BatchNorm,
    Constant,
    Cosine,
    Dense,
    Dropout,
    Exponential,
    Flatten,
    Identity,
    InverseTime,
    LeakyReLU,
    OneCycle,
    ReLU,
    RMSprop,
    Sigmoid,
    Softmax,
    StepDecay,
    Tanh,
    WarmUp,
)  # fmt: skip

ROOT = Path(__file__).parent.parent
GOLDEN = Path(__file__).with_name("golden") / "model_v1.safetensors"
REGISTRY = {kind.__name__: kind for kind in CNN.kinds}


def trained(backend=None):
    """The golden network after two steps, so that no array is what it began as."""
    made = golden_network()
    if backend is not None:
        made = CNN(
            *made.layers, loss="cross_entropy", optimizer=made.optimizer, seed=5, kernels=backend
        )
        made.classes, made.scaling = CLASSES, Scaling("per-image", 0.0, 1.0)
    data = Dataset(images(), np.arange(8) % 3, CLASSES, made.scaling)
    for _ in range(2):
        made.train_step(data)
    return made


def parts(data):
    """The header of a safetensors file, and its arrays' bytes."""
    size = int.from_bytes(data[:8], "little")
    return json.loads(data[8 : 8 + size]), data[8 + size :]


def put_together(header, rest):
    text = json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + rest


def with_record(path, change):
    """A file whose record `change` has had its way with, its hash made good again."""
    contents = arrays_file.read(path)
    change(contents.records["network"])
    path.write_bytes(arrays_file.encode(contents))


# --- the same network ----------------------------------------------------------------------------


def test_a_file_of_version_1_gives_the_network_it_always_gave():
    """The file was made once; the probabilities are those of that day."""
    model = CNN.load(GOLDEN)
    expected = np.load(GOLDEN.with_name("model_v1_probabilities.npy"))
    assert model.classes == CLASSES
    assert model.parameter_count == 605
    np.testing.assert_allclose(model.predict_proba(images()), expected, rtol=2e-5)


def test_a_loaded_network_predicts_on_raw_images_by_itself(tmp_path, backend):
    model = trained(backend)
    twin = CNN.load(model.save(tmp_path / "model.safetensors"), kernels=backend)
    assert (twin.predict_proba(images()) == model.predict_proba(images())).all()
    assert twin.scaling == model.scaling != Scaling("unit")
    assert twin.classes == CLASSES
    assert (twin.seed, twin.steps_done, twin.dtype) == (5, 2, model.dtype)


def test_a_loaded_network_trains_on_as_the_first_would_have(tmp_path):
    """Without momentum the weights are the whole state: steps, seed and L2 come with the file."""
    model = CNN(Conv2D(4), Dropout(0.3), Dense(10), optimizer=SGD(0.1), l2=1e-3, seed=4)
    data = Digits().train.take(60)
    model.train_step(data)
    twin = CNN.load(model.save(tmp_path / "model.safetensors"))
    for net in (model, twin):
        net.train_step(data)
    assert (twin.parameters.values == model.parameters.values).all()


def test_every_kind_comes_back_with_every_argument():
    """One of each, each argument unlike its default; of what was added since, those of its case."""
    things = [
        (Conv2D(3, (1, 2), (2, 1), 1, (1, 2), "tanh", False, "he_uniform", SGD(), 0.5, "a"), Layer),
        (MaxPool2D((2, 3), 1, 1, True, "b"), Layer),
        (AvgPool2D((2, 3), 1, 1, True, False, "c"), Layer),
        (GlobalAvgPool2D("d"), Layer),
        (Residual(Conv2D(3), activation="relu", optimizer=Adam(), l2=0.1, name="e"), Layer),
        (Dense(3, Softmax(), False, "xavier_uniform", RMSprop(1, 0.8, 0.7, 1, 0.1), 2, "f"), Layer),
        (Flatten("g"), Layer), (Dropout(0.1, "h"), Layer),
        (BatchNorm(0.2, 1e-3, SGD(0.1, 0.9, True, 0.1), "i"), Layer),
        (LeakyReLU(0.3, name="j"), Activation), (ReLU(), Activation), (Sigmoid(), Activation),
        (Tanh(), Activation), (Identity(name="k"), Layer),
        (Adam(0.1, (0.7, 0.8), 1e-3, 0.1), Optimizer),
        (AdamW(0.1, (0.7, 0.8), 1e-3, 0.2), Optimizer),
        (Adadelta(WarmUp(Cosine(0.1, 0.01), 7), 0.8, 1e-3, 0.1), Optimizer),
        (Constant(0.1, "step"), Schedule), (StepDecay(0.1, 3, 0.2, "step"), Schedule),
        (Exponential(0.1, 0.9, "step"), Schedule), (InverseTime(0.1, 0.2, "step"), Schedule),
        (Frozen(SGD(0.1)), Optimizer), (Frozen(), Optimizer),
        (OneCycle(0.1, 0.2, 3.0, 4.0), Schedule), (MSE(0.2), Loss), (CrossEntropy(0.2), Loss),
    ]  # fmt: skip
    things += [(make(), Layer) for make, _ in CASES]
    things += [(kind(), Activation) for kind in ACTIVATIONS.values()]
    things += [(kind(), Loss) for kind in LOSSES.values()]
    things += [(kind(), Optimizer) for kind in OPTIMIZERS.values()]
    seen = set()
    for thing, base in things:
        record = json.loads(json.dumps(config.to_config(thing)))
        again = config.from_config(record, REGISTRY, base, "here")
        assert type(again) is type(thing)
        assert config.to_config(again) == config.to_config(thing)
        seen |= set(json.dumps(record).replace('"', " ").split())
    assert set(REGISTRY) <= seen


def test_a_constant_rate_may_be_written_as_a_number_or_as_a_schedule():
    """Files of version 0.1 have the schedule; both are the same run."""
    number = {"kind": "Adam", "learning_rate": 0.25}
    schedule = {"kind": "Adam", "learning_rate": {"kind": "Constant", "rate": 0.25}}
    made = [config.from_config(one, REGISTRY, Optimizer, "here") for one in (number, schedule)]
    assert [optimizer.rate_at(Progress()) for optimizer in made] == [0.25, 0.25]
    assert checkpoints.differences(number, schedule) == []
    schedule["learning_rate"]["rate"] = 0.5
    change = {"what": "learning_rate", "was": 0.25, "now": 0.5}
    assert checkpoints.differences(number, schedule) == [change]


@pytest.mark.parametrize("loss", ["mse", "cross_entropy"])
def test_loss_and_settings_come_back(tmp_path, loss):
    model = CNN(
        Dense(3, None), loss=loss, optimizer=Adam(Cosine(0.1)), l2=0.25, label_smoothing=0.125,
        seed=7, dtype=np.float64,
    ).build((2, 3, 4))  # fmt: skip
    twin = CNN.load(model.save(tmp_path / "m.safetensors"))
    assert (twin.loss.word, twin.loss.label_smoothing, twin.l2) == (loss, 0.125, 0.25)
    assert repr(twin.optimizer) == repr(model.optimizer)
    assert twin.dtype == np.float64
    assert twin.parameters.values.dtype == np.float64


def test_names_and_layout_are_those_of_pytorch(tmp_path):
    model = trained()
    arrays = read_tensors(model.save(tmp_path / "m.safetensors").read_bytes())
    assert arrays["conv1.weight"].shape == (4, 2, 3, 5)  # out, in, height, width
    assert arrays["dense2.weight"].shape == (3, 7)  # out, in
    assert {name for name in arrays if name.startswith("norm1.")} == {
        "norm1.weight", "norm1.bias", "norm1.running_mean", "norm1.running_var",
    }  # fmt: skip
    assert list(model_file.arrays_of([block_with_norm()])) == [
        "block.conv1.weight", "block.norm1.weight", "block.norm1.bias", "block.norm1.running_mean",
        "block.norm1.running_var", "block.shortcut.weight",
    ]  # fmt: skip


def block_with_norm():
    """A built block with a batch normalization inside."""
    block = Residual(Conv2D(3, bias=False), BatchNorm(), name="block")
    CNN(block).build((2, 4, 4))
    return block


def test_a_softmax_stands_in_the_record_where_the_user_put_it(tmp_path):
    for last, where in ((Dense(3, "softmax"), "activation"), (Softmax(), None)):
        model = CNN(Dense(3, None), last, loss="cross_entropy").build((1, 2, 2))
        contents = model_file.state_of(model)
        record = contents.records["network"]["layers"][-1]
        assert (record[where] if where else record)["kind"] == "Softmax"
        twin = CNN.load(model.save(tmp_path / "m.safetensors"))
        x = np.random.default_rng(0).random((3, 1, 2, 2), np.float32)
        assert (twin.scores(x) == model.scores(x)).all()


class Doubled(Layer):
    """A layer of the user's own."""

    stem = "doubled"

    def __init__(self, times: float, *, name: str | None = None) -> None:
        super().__init__(name=name)
        self.times = times

    def forward(self, x, context):
        return x * x.dtype.type(self.times), None

    def backward(self, dy, cache):
        return dy * dy.dtype.type(self.times), {}


class Forgetful(Doubled):
    def __init__(self, wanted: float) -> None:
        super().__init__(wanted)


def test_layers_of_the_users_own_are_named_by_the_file_and_brought_by_the_user(tmp_path):
    model = CNN(Doubled(3.0), Dense(2)).build((1, 2, 2))
    path = model.save(tmp_path / "m.safetensors")
    with pytest.raises(ValueError, match=r"unknown kind of layer .*'Doubled'"):
        CNN.load(path)
    x = np.ones((1, 1, 2, 2), np.float32)
    assert (CNN.load(path, own=(Doubled,)).scores(x) == model.scores(x)).all()


def test_a_layer_that_does_not_keep_its_arguments_cannot_be_saved(tmp_path):
    model = CNN(Forgetful(3.0), Dense(2)).build((1, 2, 2))
    with pytest.raises(TypeError, match=r"Forgetful cannot be saved.*self\.wanted"):
        model.save(tmp_path / "m.safetensors")
    assert list(tmp_path.iterdir()) == []


def test_a_network_that_is_not_built_cannot_be_saved(tmp_path):
    with pytest.raises(ValueError, match="not built yet"):
        CNN(Dense(2)).save(tmp_path / "m.safetensors")


class OwnAdam(Adam):
    """An optimizer of the user's own."""


class OwnTanh(Tanh):
    """An activation of the user's own."""


def test_a_network_can_be_copied_with_the_optimizers_state():
    """Classes of the user's own need not be named, wherever in the network they are."""
    data = Digits().train.take(60)
    block = Residual(Conv2D(4, activation=OwnTanh()), Doubled(1.5))
    model = CNN(Conv2D(4), block, Dense(10), optimizer=OwnAdam(0.01), seed=4, threads=1)
    model.train_step(data)
    for twin in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        assert twin is not model and twin.workers.threads == 1
        assert not np.shares_memory(twin.parameters.values, model.parameters.values)
        assert (twin.parameters.values == model.parameters.values).all()
        once = copy.deepcopy(model)
        for net in (once, twin):
            net.train_step(data)
        assert (twin.parameters.values == once.parameters.values).all()
    assert copy.deepcopy(CNN(Dense(3))).parameters is None


# --- weights alone -------------------------------------------------------------------------------


def small(seed=0):
    return CNN(Conv2D(2), BatchNorm(), Dense(3), seed=seed).build((1, 4, 4))


def theirs(*modules):
    """A state dict as PyTorch names it, for `small`, its modules called `modules`."""
    arrays = model_file.arrays_of(small(1).layers)
    names = dict(zip(("conv1", "norm1", "dense1"), modules, strict=True))
    found = {names[name.split(".")[0]] + "." + name.split(".")[1]: a for name, a in arrays.items()}
    found[f"{modules[1]}.num_batches_tracked"] = np.array(7, np.int64)
    return found


@pytest.mark.parametrize(
    ("modules", "names"),
    [
        (("conv1", "norm1", "dense1"), None),
        (("2", "3", "10"), None),  # by number: as text, "10" would come before "2"
        (("0.0", "0.1", "3"), None),
        (("stem", "bn", "fc"), {"conv1": "stem", "norm1": "bn", "dense1": "fc"}),
        (("conv1", "bn", "dense1"), {"norm1": "bn"}),
    ],
)
def test_weights_of_others_find_their_place(tmp_path, modules, names):
    path = tmp_path / "state.safetensors"
    path.write_bytes(write_tensors(theirs(*modules)))
    model = small().load_weights(path, names)
    assert (model.parameters.values == small(1).parameters.values).all()


@pytest.mark.parametrize(
    ("change", "names", "message"),
    [
        (lambda a: a.pop("conv1.bias"), None, "1 missing, such as 'conv1.bias'"),
        (lambda a: a.update(odd=np.zeros(2)), None, "1 not in the network, such as 'odd'"),
        (
            lambda a: a.update({"dense1.weight": np.zeros((32, 3))}), None,
            r"dense1.weight has the shape \(32, 3\), the network has \(3, 32\)",
        ),
        (lambda a: a, {"norm1": "bn"}, "names gives 'bn', but the file has no such module"),
        (lambda a: a, {"norm1": "conv1"}, "by names, two of its arrays are 'norm1.bias'"),
        (lambda a: a, {"norm1": "x", "conv1": "x"}, "names gives one module to several layers"),
        (
            lambda a: a.update({"conv1.bias": np.array([1, np.nan])}), None,
            "conv1.bias holds NaN, infinity or numbers beyond float32",
        ),
        (
            lambda a: a.update({"conv1.bias": np.array([1, 1e39])}), None,
            "conv1.bias holds NaN, infinity or numbers beyond float32",
        ),
    ],
)  # fmt: skip
def test_weights_that_do_not_fit_are_refused_and_nothing_is_changed(
    tmp_path, change, names, message
):
    arrays = theirs("conv1", "norm1", "dense1")
    change(arrays)
    path = tmp_path / "state.safetensors"
    path.write_bytes(write_tensors(arrays))
    model = small()
    with pytest.raises(ValueError, match=message):
        model.load_weights(path, names)
    assert (model.parameters.values == small().parameters.values).all()


def test_two_arrays_of_one_name_are_not_saved_over_each_other(tmp_path):
    """A layer called as if it stood in the block before it."""
    block = Residual(Conv2D(2, bias=False), name="a")
    model = CNN(block, Conv2D(2, bias=False, name="a.conv1"), Dense(2)).build((2, 4, 4))
    with pytest.raises(ValueError, match=r"two arrays would be called 'a\.conv1\.weight'"):
        model.save(tmp_path / "m.safetensors")


def test_names_that_tell_no_order_are_not_guessed(tmp_path):
    path = tmp_path / "state.safetensors"
    path.write_bytes(write_tensors(theirs("stem", "bn", "fc")))
    with pytest.raises(ValueError, match=r"pass names=\{'conv1'"):
        small().load_weights(path)


def test_more_modules_than_layers_are_refused(tmp_path):
    arrays = theirs("0", "1", "2") | {"3.weight": np.zeros((2, 2), np.float32)}
    path = tmp_path / "state.safetensors"
    path.write_bytes(write_tensors(arrays))
    with pytest.raises(ValueError, match="4 modules with arrays, but the network has 3"):
        small().load_weights(path)


def test_weights_alone_are_no_network(tmp_path):
    path = tmp_path / "state.safetensors"
    path.write_bytes(write_tensors(theirs("0", "1", "2")))
    with pytest.raises(ValueError, match=r"holds arrays but no network.*load_weights"):
        CNN.load(path)


# --- files that are not what they should be ------------------------------------------------------


def test_every_flipped_bit_is_noticed(tmp_path):
    """In the numbers and in the settings alike: the hash is over both."""
    data = bytearray(GOLDEN.read_bytes())
    path = tmp_path / "m.safetensors"
    for place in range(0, len(data), 37):
        data[place] ^= 4
        path.write_bytes(data)
        with pytest.raises(ValueError, match=r"m\.safetensors"):
            CNN.load(path)
        data[place] ^= 4


def test_every_truncation_is_noticed(tmp_path):
    data = GOLDEN.read_bytes()
    path = tmp_path / "m.safetensors"
    for length in [0, 1, 7, 8, 9, 100, len(data) // 2, len(data) - 1]:
        path.write_bytes(data[:length])
        with pytest.raises(ValueError, match=r"m\.safetensors: not a complete safetensors file"):
            CNN.load(path)


def test_a_header_that_promises_100_gb_is_not_believed(tmp_path):
    header, rest = parts(GOLDEN.read_bytes())
    header["conv1.weight"]["shape"] = [25_000_000_000]
    path = tmp_path / "m.safetensors"
    for data in (
        put_together(header, rest),
        (10**11).to_bytes(8, "little") + GOLDEN.read_bytes()[8:],
    ):
        path.write_bytes(data)
        with pytest.raises(ValueError, match="not a complete safetensors file"):
            CNN.load(path)


def test_a_later_version_is_refused_by_name(tmp_path):
    header, rest = parts(GOLDEN.read_bytes())
    record = json.loads(header["__metadata__"]["glassbox"])
    header["__metadata__"]["glassbox"] = json.dumps({**record, "version": 2})
    path = tmp_path / "m.safetensors"
    path.write_bytes(put_together(header, rest))
    with pytest.raises(ValueError, match="version 2 of the format, this program reads up to 1"):
        CNN.load(path)


def test_numbers_of_another_type_are_refused(tmp_path):
    path = tmp_path / "m.safetensors"
    path.write_bytes(write_tensors({"conv1.weight": np.zeros(3, np.int32)}))
    with pytest.raises(ValueError, match=r"conv1\.weight is of type I32, expected one of"):
        small().load_weights(path)


def set_layer(key, value):
    return lambda record: record["layers"][0].__setitem__(key, value)


def deep(levels):
    """Blocks within blocks."""
    layer = {"kind": "Flatten"}
    for _ in range(levels):
        layer = {"kind": "Residual", "layers": [layer]}
    return layer


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (set_layer("kind", "os.system"), "unknown kind of layer"),
        (set_layer("kind", "Optimizer"), "unknown kind of layer"),
        (set_layer("kind", "Adam"), "unknown kind of layer"),  # a kind, but none of a layer
        (set_layer("kind", 3), "expected an object with a kind"),
        (set_layer("filters", "many"), "expected a whole number"),
        (set_layer("filters", -1), "expected at least 1"),
        (set_layer("filters", {"kind": "Dense"}), "must be a number or a word"),
        (set_layer("activation", 3), "activation: expected a name or an Activation, got 3"),
        (set_layer("activation", {"kind": "SGD"}), "unknown kind of activation"),
        (set_layer("activation", {"kind": "Activation"}), "unknown kind of activation"),
        (set_layer("optimizer", {"kind": "Tanh"}), "conv1.*: optimizer: expected one such as Adam"),
        (set_layer("bias", {"kind": "Tanh"}), "bias must be a number or a word"),
        (set_layer("color", "red"), r"got also \['color'\]"),
        (lambda r: r.pop("seed"), "the record has the keys .* expected .*'seed'"),
        (lambda r: r.update(extra=1), "the record has the keys .*'extra'"),
        (lambda r: r.update(layers={}), "layers is {}, expected a list"),
        (lambda r: r.update(layers=[]), "arrays are not those of the network|no layers"),
        (lambda r: r.update(layers=[deep(400)]), "m.safetensors"),
        (lambda r: r.update(seed=-1), "seed"),
        (lambda r: r.update(seed=True), "seed is True"),
        (lambda r: r.update(dtype="object"), "expected float32 or float64"),
        (lambda r: r.update(dtype="no such type"), "m.safetensors"),
        (lambda r: r.update(l2=-0.5), "l2"),
        (lambda r: r.update(l2=math.nan), "l2"),
        (lambda r: r.update(input_shape=[1, 2]), "expected \\(channels, height, width\\)"),
        (lambda r: r.update(input_shape=[2, 11, 0]), "expected \\(channels, height, width\\)"),
        (lambda r: r.update(input_shape=[2, 11, -9]), "input_shape.2 is -9, expected a whole"),
        (lambda r: r.update(input_shape=["2", 11, 9]), "input_shape.0 is '2', expected a whole"),
        (lambda r: r.update(steps_done=2**62 + 1), "more than can be counted"),
        (lambda r: r["classes"].pop(), "2 names of classes, but the last layer gives 3 outputs"),
        (set_layer("name", 7), "name: expected a word without a slash, got 7"),
        (set_layer("name", "a/b"), "name: expected a word without a slash, got 'a/b'"),
        (lambda r: r["scaling"].update(name="magic"), "unknown"),
        (lambda r: r["scaling"].update(std=[-1.0]), "std must be positive"),
        (lambda r: r["loss"].update(kind="Tanh"), "unknown kind of loss"),
        (lambda r: r["optimizer"].update(betas=[2, 3]), "betas"),
        (lambda r: r["optimizer"]["learning_rate"].pop("start_divisor"), "'div_factor'"),
        (lambda r: r["optimizer"]["learning_rate"].update(start_divisor=0), "zero"),
    ],
)  # fmt: skip
def test_settings_that_make_no_network_are_refused(tmp_path, change, message):
    path = tmp_path / "m.safetensors"
    path.write_bytes(GOLDEN.read_bytes())
    with_record(path, change)
    with pytest.raises(ValueError, match=message) as caught:
        CNN.load(path)
    assert "m.safetensors" in str(caught.value)


@pytest.mark.parametrize(
    "change",
    [
        set_layer("filters", 10**9),
        set_layer("kernel_size", [10**5, 10**5]),
        set_layer(
            "padding", [10**6, 10**6]
        ),  # the average pool behind it would count 10^12 windows
        lambda r: r.update(input_shape=[10**9, 1, 1], layers=[{"kind": "BatchNorm"}]),
        lambda r: r["layers"].insert(0, {"kind": "Dense", "units": 10**10}),
    ],
    ids=["filters", "kernel", "padding", "channels", "units"],
)
def test_a_small_file_gets_little_memory_whatever_its_settings_say(tmp_path, change):
    path = tmp_path / "m.safetensors"
    path.write_bytes(GOLDEN.read_bytes())
    with_record(path, change)
    tracemalloc.start()
    try:
        with pytest.raises(ValueError, match=r"m\.safetensors: .*(far more than|kernel[_ ]s)"):
            CNN.load(path)
        assert tracemalloc.get_traced_memory()[1] < 80e6
    finally:
        tracemalloc.stop()


def test_a_file_that_is_not_there_is_an_oserror(tmp_path):
    with pytest.raises(FileNotFoundError):
        CNN.load(tmp_path / "nothing.safetensors")


NEVER_IMPORTED = {"pickle", "marshal", "shelve", "dill", "cloudpickle", "joblib"}


def forbidden(tree):
    """What a source does that opening data must never do, as text."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import | ast.ImportFrom):
            names = [name.name for name in node.names] + [getattr(node, "module", "") or ""]
            yield from (name for name in names if name.split(".")[0] in NEVER_IMPORTED)
        elif isinstance(node, ast.Call):
            called = ast.unparse(node.func)
            if called in ("eval", "exec", "__import__", "os.system", "os.popen"):
                yield called
            for word in node.keywords:
                if word.arg in ("allow_pickle", "shell") and ast.unparse(word.value) != "False":
                    yield word.arg


def test_nothing_in_the_library_opens_pickle_or_runs_text():
    """`__reduce__` only answers those who pickle."""
    rooms = [path.parent for path in ROOT.glob("*/__init__.py")]
    files = [*ROOT.glob("*.py"), *(path for budget in rooms for path in budget.rglob("*.py"))]
    assert len(files) > 80
    for path in files:
        assert not list(forbidden(ast.parse(path.read_text("utf-8")))), path
    bad = "import pickle\nx=eval('1')\nnp.load(f, allow_pickle=True)\nrun(c, shell=True)"
    assert list(forbidden(ast.parse(bad))) == ["pickle", "eval", "allow_pickle", "shell"]


# --- writing -------------------------------------------------------------------------------------


def test_a_full_disk_leaves_the_file_before(tmp_path):
    """A real limit of the system on the size of files stops the writing in the middle."""
    path = tmp_path / "m.safetensors"
    before = small().save(path).read_bytes()
    program = (
        "import sys, resource, signal\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "from CNN import CNN\nfrom MLP import Dense\n"
        "net = CNN(Dense(300), kernels='numpy').build((1, 8, 8))\n"
        f"resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, {resource.RLIM_INFINITY}))\n"
        "try:\n    net.save(sys.argv[1])\n"
        "except OSError as error:\n    print('OSError', error)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, str(path)], cwd=ROOT, capture_output=True, text=True,
        check=True, env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"},
    )  # fmt: skip
    assert done.stdout.startswith("OSError")
    assert "the file of before is still complete" in done.stdout
    assert str(path) in done.stdout
    assert path.read_bytes() == before
    assert [each.name for each in tmp_path.iterdir()] == ["m.safetensors"]


# --- the page ------------------------------------------------------------------------------------


def test_the_pages_examples_give_what_they_say():
    page = ROOT / "docs" / "models.md"
    plain = re.sub(r"^```.*$", "", page.read_text("utf-8"), flags=re.M)
    test = doctest.DocTestParser().get_doctest(plain, {}, page.name, str(page), 0)
    assert len(test.examples) > 20
    said = []
    result = doctest.DocTestRunner().run(test, out=said.append)
    assert result.failed == 0, "".join(said)
