"""ONNX: what is written against ONNX Runtime, what is read against its makers."""

import doctest
import json
import re
from pathlib import Path

import numpy as np
import onnx
import onnx.reference
import onnxruntime
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from CNN import CNN
from Datasets import Scaling
from Filters import AvgPool2D, Conv2D, GlobalAvgPool2D, MaxPool2D, Residual
from glassbox.bridges.onnx import export, import_model
from glassbox.bridges.onnx_decode import Budget, read_tensor
from glassbox.bridges.onnx_operators import OPERATORS
from glassbox.engine.layer import Layer
from MLP import (
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

HERE = Path(__file__).parent


def random(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def built(*layers, shape=(2, 7, 6), **given):
    """A network whose every number is drawn, so that none can be left out unseen."""
    network = CNN(*layers, **{"kernels": "numpy", **given}).build(shape)
    rng = np.random.default_rng(5)
    for layer in network.layers:
        for name, array in [*layer.parameters.items(), *layer.buffers.items()]:
            if not name.endswith("weight"):
                array[...] = rng.uniform(0.5, 1.5, array.shape)
    return network


def runtime(model, images):
    """What ONNX Runtime makes of images."""
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    return session.run(["scores"], {"images": images})[0]


def agree(network, samples=3, **given):
    """ONNX Runtime says what the network says; returns the model."""
    model = export(network, **given)
    onnx.shape_inference.infer_shapes(model, strict_mode=True, check_type=True, data_prop=True)
    for count in (1, samples):
        images = random(count, *network.input_shape)
        found, expected = runtime(model, images), network.scores(images)
        assert found.shape == expected.shape == (count, *network.output_shape)
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)
    return model


# --- written ---------------------------------------------------------------------------------

LAYERS = {
    "conv": lambda: Conv2D(3, (3, 2), activation=None),
    "conv, stride": lambda: Conv2D(3, (2, 3), stride=(2, 3), padding="valid"),
    "conv, dilation": lambda: Conv2D(3, (3, 2), dilation=(1, 2), padding=(1, 2), activation="tanh"),
    "conv, same": lambda: Conv2D(2, (2, 4), stride=(3, 2), padding="same", activation="relu"),
    "conv, borders": lambda: Conv2D(2, (2, 3), padding=((1, 0), (0, 3)), activation=LeakyReLU(0.3)),
    "conv, no bias": lambda: Conv2D(2, 3, bias=False, activation="sigmoid"),
    "conv, softmax": lambda: Conv2D(3, 3, activation="softmax"),
    "max pool": lambda: MaxPool2D((2, 3)),
    "max pool, padding": lambda: MaxPool2D((3, 2), stride=(2, 1), padding=1),
    "max pool, ceil": lambda: MaxPool2D((2, 4), stride=2, ceil_mode=True),
    "max pool, dilation": lambda: MaxPool2D((3, 2), stride=(1, 2), padding=1, dilation=(2, 3)),
    "max pool, borders": lambda: MaxPool2D(3, 2, padding=((0, 2), (1, 0)), ceil_mode=True),
    "mean pool": lambda: AvgPool2D((3, 2)),
    "mean pool, padding": lambda: AvgPool2D((3, 2), stride=2, padding=1),
    "mean pool, own pixels": lambda: AvgPool2D(3, stride=2, padding=1, count_include_pad=False),
    "mean pool, ceil": lambda: AvgPool2D((2, 4), 2, padding=(0, 1), ceil_mode=True),
    "mean pool, ceil, own pixels": lambda: AvgPool2D(
        (2, 4), 3, padding=1, ceil_mode=True, count_include_pad=False
    ),
    "mean pool, same": lambda: AvgPool2D((2, 4), 1, padding="same"),
    "global pool": lambda: GlobalAvgPool2D(),
    "flatten": lambda: Flatten(),
    "dense on images": lambda: Dense(4),
    "dropout": lambda: Dropout(0.3),
    "batch norm": lambda: BatchNorm(epsilon=0.01),
    "identity": lambda: Identity(),
    "leaky relu": lambda: LeakyReLU(0.2),
    "relu": lambda: ReLU(),
    "sigmoid": lambda: Sigmoid(),
    "tanh": lambda: Tanh(),
    "relu6": lambda: Conv2D(3, 3, activation="relu6"),
    "log softmax": lambda: Dense(4, "log_softmax"),
    "softmax": lambda: Softmax(),
    "residual": lambda: Residual(Conv2D(4, 3), Conv2D(2, 3, activation=None)),
    "residual, projected": lambda: Residual(
        Conv2D(4, 3, stride=(2, 3)), BatchNorm(), Conv2D(4, 3, activation=None), activation="tanh"
    ),
    "residual, one layer": lambda: Residual(Conv2D(3, (3, 1), activation=None), activation=None),
    "residual in residual": lambda: Residual(
        Residual(Conv2D(2, 3)), Dropout(0.1), Residual(Conv2D(3, 3, stride=2))
    ),
}


@pytest.mark.parametrize("make", LAYERS.values(), ids=LAYERS)
def test_every_layer_agrees_with_onnx_runtime(make):
    agree(built(make()))


@pytest.mark.parametrize("make", LAYERS.values(), ids=LAYERS)
def test_every_layer_comes_back(make, tmp_path):
    """Through a file and back: the same bits, from the same kinds of layers."""
    network, path, images = built(make()), tmp_path / "network.onnx", random(3, 2, 7, 6, seed=9)
    export(network, path)
    again = import_model(path, kernels="numpy", loss="mse")  # which leaves softmax where it is
    assert (again.scores(images) == network.scores(images)).all()
    if "dense" not in network.layers[0].name:  # its flatten comes back as a layer of its own
        assert [(type(n), n.name) for n in again.layers] == [
            (type(n), n.name) for n in network.layers
        ]


def test_rows(tmp_path):
    """Layers behind a row: dense, batch normalization, dropout, softmax."""
    network = built(
        Dense(6, "tanh"), BatchNorm(), Dropout(0.5), Dense(4, None, bias=False), Softmax(),
        shape=(5,),
    )  # fmt: skip
    model, x = export(network), random(3, 5)
    outputs = network.forward(x)[0]
    np.testing.assert_allclose(runtime(model, x), outputs, rtol=1e-5, atol=1e-6)
    assert (import_model(model, kernels="numpy", loss="mse").forward(x)[0] == outputs).all()


def small(last="softmax", **given):
    return built(
        Conv2D(3, 3), MaxPool2D(2), BatchNorm(), Residual(Conv2D(3, 3)), Dense(4, last), **given
    )


@pytest.mark.parametrize("last", ["softmax", None])
def test_the_softmax_that_the_loss_took_is_written(last):
    network = small(last, loss="cross_entropy")
    model = agree(network)
    assert model.graph.node[-1].op_type == "Softmax"
    again = import_model(model, kernels="numpy")
    assert again.loss.word == "cross_entropy"
    images = random(2, 2, 7, 6)
    assert (again.predict_proba(images) == network.predict_proba(images)).all()
    assert (again.forward(images)[0] == network.forward(images)[0]).all()  # logits


def test_a_softmax_layer_that_the_loss_took_is_written():
    agree(built(Dense(4, None), Softmax(), loss="cross_entropy"))


def test_double_precision_is_written_as_single():
    model = agree(small(dtype=np.float64))
    assert {weight.data_type for weight in model.graph.initializer} == {TensorProto.FLOAT}


def test_weights_have_pytorch_names():
    names = [weight.name for weight in export(small()).graph.initializer]
    norm = [f"norm1.{key}" for key in ("weight", "bias", "running_mean", "running_var")]
    pairs = [f"{layer}.{key}" for layer in ("residual1.conv1", "dense1") for key in PAIR]
    assert names == ["conv1.weight", "conv1.bias", *norm, *pairs]


PAIR = ("weight", "bias")


def test_names_that_would_clash_are_kept_apart():
    agree(built(Conv2D(2, 3, name="images"), ReLU(name="images.activation"), Tanh(name="scores")))


def test_the_same_network_gives_the_same_bytes(tmp_path):
    export(small(), tmp_path / "a.onnx")
    export(small(), tmp_path / "b.onnx")
    assert (tmp_path / "a.onnx").read_bytes() == (tmp_path / "b.onnx").read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.onnx", "b.onnx"]


def test_facts_travel_in_the_metadata():
    network = small()
    network.classes = ("Katze", "Hund", "Maus", "Bär")
    network.scaling = Scaling("standard", 0, 255, (0.4, 0.5), (0.25, 0.125))
    model = export(network)
    facts = {entry.key: json.loads(entry.value) for entry in model.metadata_props}
    assert facts["glassbox.classes"] == ["Katze", "Hund", "Maus", "Bär"]
    again = import_model(model, kernels="numpy")
    assert (again.classes, again.scaling) == (network.classes, network.scaling)
    pixels = np.random.default_rng(3).integers(0, 256, (2, 2, 7, 6), np.uint8)
    assert (again.scores(pixels) == network.scores(pixels)).all()


@pytest.mark.parametrize(
    "scaling",
    [
        None,
        Scaling("none", 0, 1),
        Scaling("unit", 16, 235),
        Scaling("center", 0, 255, (0.4, 0.5)),
        Scaling("standard", 8, 255, (0.4, 0.5), (0.25, 0.125)),
        Scaling("per-image", 0, 1),
        Scaling("min-max", 0, 1),
    ],
    ids=str,
)
def test_raw_pixels_are_scaled_in_the_graph(scaling):
    network = small(None)
    network.scaling = scaling
    if scaling is not None and scaling.name == "none":
        network.layers[0].parameters["weight"] /= 256  # so that the scores stay small
    pixels = np.random.default_rng(3).integers(0, 256, (3, 2, 7, 6), np.uint8)
    pixels[1] = 77  # an image without contrast
    model = export(network, raw=True)
    expected = network.scores(pixels)
    assert np.isfinite(expected).all()
    found = runtime(model, pixels.astype(np.float32))
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)
    if scaling is None or scaling.name != "none":
        scaled = export(network, raw=False)
        assert not np.allclose(runtime(scaled, pixels.astype(np.float32)), expected)
    if scaling is not None:  # by default as `predict` takes them
        assert export(network).SerializeToString(True) == model.SerializeToString(True)
        again = import_model(model, kernels="numpy", loss="mse")
        assert again.scaling == (network.scaling if scaling.name != "none" else scaling)
        assert (again.scores(pixels) == expected).all()


@pytest.mark.parametrize("opset", [13, 17, 18, onnx.defs.onnx_opset_version()])
def test_the_version_of_the_operators_can_be_chosen(opset):
    """ONNX's own evaluator runs the newest, which ONNX Runtime may not know yet."""
    for scaling in (Scaling("per-image", 0, 1), Scaling("min-max", 0, 1), Scaling("unit")):
        network = built(
            Conv2D(3, 3, activation="relu6"), BatchNorm(), MaxPool2D(2), Residual(Conv2D(3, 3)),
            Dropout(0.1), Dense(4, "log_softmax"),
        )  # fmt: skip
        network.scaling = scaling
        model = export(network, opset=opset)
        assert model.opset_import[0].version == opset
        pixels = np.random.default_rng(3).integers(0, 256, (3, 2, 7, 6), np.uint8)
        images = pixels.astype(np.float32)
        if opset <= 18:
            found = runtime(model, images)
        else:
            (found,) = onnx.reference.ReferenceEvaluator(model).run(None, {"images": images})
        np.testing.assert_allclose(found, network.scores(pixels), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("opset", [12, 10_000, "18"])
def test_an_unknown_version_of_the_operators_is_refused(opset):
    with pytest.raises(ValueError, match=r"^opset: expected 13 to \d+, got"):
        export(small(), opset=opset)


class Own(Layer):
    stem = "own"


class OwnConv(Conv2D):
    pass


class Doubled(Layer):
    """A layer of the user's own that says what it is in ONNX."""

    stem = "doubled"

    def forward(self, x, context):
        return x + x, None

    def to_onnx(self, graph, x, name):
        return graph.add("Add", [x, x], name)


class Tripled(Doubled):
    """One derived from it, which computes something else."""

    def forward(self, x, context):
        return x + x + x, None


@pytest.mark.parametrize(
    ("network", "given", "message"),
    [
        (CNN(Dense(2)), {}, "the network is not built yet: call fit, or build"),
        (CNN(Own(), Dense(2)).build((1, 2, 2)), {}, "Own 'own1' has no counterpart in ONNX.*Dense"),
        (CNN(OwnConv(2)).build((1, 2, 2)), {}, "OwnConv 'conv1' has no counterpart"),
        (CNN(Tripled()).build((4,)), {}, "Tripled 'doubled1' has no counterpart.* to_onnx"),
        (CNN(Dense(2)).build((5,)), {"raw": True}, r"raw=True is for images.*rows \(5,\)"),
    ],
)  # fmt: skip
def test_what_cannot_be_written_is_named(network, given, message, tmp_path):
    with pytest.raises(ValueError, match=message):
        export(network, tmp_path / "network.onnx", **given)
    assert not list(tmp_path.iterdir())


def test_a_layer_of_the_users_own_writes_itself():
    """In a block, too; a class derived from it must say it again (above)."""
    network = CNN(Doubled(), Residual(Doubled(), activation=None), Flatten(), Dense(3))
    agree(network.build((2, 3, 4)))


# --- read ------------------------------------------------------------------------------------


def model_of(nodes, inputs=("n", 2, 5, 6), kind=TensorProto.FLOAT, opset=17, **constants):
    """A model of nodes, whose last output is the output, and arrays by name."""
    graph = helper.make_graph(
        nodes, "graph",
        [helper.make_tensor_value_info("x", kind, inputs)],
        [helper.make_tensor_value_info(nodes[-1].output[0], kind, None)],
        [numpy_helper.from_array(np.asarray(array), name) for name, array in constants.items()],
    )  # fmt: skip
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)
    model = onnx.shape_inference.infer_shapes(model)
    model.graph.output[0].type.tensor_type.shape.SetInParent()  # a model must say something
    return model


def chain(*nodes):
    """Nodes one behind the other: (operator, further inputs, attributes)."""
    made = []
    for k, (operator, inputs, attributes) in enumerate(nodes):
        before = made[-1].output[0] if made else "x"
        made.append(helper.make_node(operator, [before, *inputs], [f"v{k}"], **attributes))
    return made


def reads_as_onnx_runs(model, images, given=None, **settings):
    """The network of a model, which must say what ONNX Runtime says."""
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    (expected,) = session.run(None, {"x": images if given is None else given})
    network = import_model(model, kernels="numpy", **settings)
    found = network.scores(images)
    np.testing.assert_allclose(found, expected.reshape(found.shape), rtol=1e-5, atol=1e-6)
    return network


def test_a_network_from_pytorch():
    """A file that PyTorch wrote, and what PyTorch made of the same images."""
    network = import_model(HERE / "pytorch_cnn.onnx", kernels="numpy")
    places = np.arange(3 * 2 * 9 * 10)
    images = ((places * 7 % 33 - 16) / 16).astype(np.float32).reshape(3, 2, 9, 10)
    expected = json.loads((HERE / "pytorch_cnn.json").read_text("utf-8"))["outputs"]
    np.testing.assert_allclose(network.scores(images), expected, rtol=1e-5, atol=1e-6)
    assert network.predict(images).tolist() == np.argmax(expected, axis=1).tolist()
    names = [name for name, _ in network.activations(images)]
    assert names == ["conv1", "norm", "pool1", "residual1", "pool2", "flatten1", "fc1", "fc2"]
    assert "Residual Conv2D" in network.summary()


def test_what_was_read_trains_further():
    network = import_model(
        HERE / "pytorch_cnn.onnx", loss="cross_entropy", kernels="numpy", seed=1, optimizer="adam"
    )
    images, labels = random(24, 2, 9, 10), np.arange(24) % 3
    first = network.evaluate((images, labels)).loss
    network.fit((images, labels), epochs=5, batch_size=8, progress=False)
    assert network.evaluate((images, labels)).loss < first


@pytest.mark.parametrize(
    "attributes",
    [
        {"transB": 1}, {"transB": 0}, {"transB": 1, "alpha": 0.5}, {"transB": 0, "beta": 2.0},
        {"transB": 1, "alpha": -1.5, "beta": 0.25},
    ],
    ids=str,
)  # fmt: skip
@pytest.mark.parametrize("bias", [(4,), (1, 4), (1,), (), None], ids=str)
def test_gemm(attributes, bias):
    weights = random(4, 60, seed=1) if attributes["transB"] else random(60, 4, seed=1)
    constants = {"w": weights} | ({} if bias is None else {"b": random(*bias, seed=2)})
    nodes = chain(("Flatten", [], {}), ("Gemm", list(constants), attributes))
    reads_as_onnx_runs(model_of(nodes, **constants), random(3, 2, 5, 6))


def test_matmul_and_add_are_dense():
    nodes = chain(
        ("Reshape", ["to"], {}), ("MatMul", ["w"], {}), ("Add", ["b"], {}), ("Relu", [], {}),
        ("MatMul", ["v"], {}), ("Softmax", [], {"axis": -1}),
    )  # fmt: skip
    model = model_of(
        nodes, to=np.array([-1, 60]), w=random(60, 4), b=random(4), v=random(4, 3, seed=1)
    )
    network = reads_as_onnx_runs(model, random(3, 2, 5, 6))
    assert [type(layer) for layer in network.layers] == [Flatten, Dense, Dense]
    assert (network.layers[1].bias, network.layers[2].bias) == (True, False)
    assert network.loss.word == "cross_entropy"


@pytest.mark.parametrize("word", ["SAME_UPPER", "SAME_LOWER", "VALID"])
@pytest.mark.parametrize("operator", ["Conv", "MaxPool", "AveragePool"])
def test_borders_by_name(word, operator):
    given = {"auto_pad": word, "kernel_shape": [2, 4], "strides": [1, 3]}
    constants = {"w": random(3, 2, 2, 4)} if operator == "Conv" else {}
    model = model_of(chain((operator, list(constants), given)), **constants)
    reads_as_onnx_runs(model, random(2, 2, 5, 6))


@pytest.mark.parametrize(
    "given",
    [
        {"kernel_shape": [2, 3]},  # the stride is 1 there, not the size
        {"kernel_shape": [3, 2], "strides": [2, 3], "pads": [1, 0, 0, 1]},
        {"kernel_shape": [2, 2], "strides": [2, 2], "ceil_mode": 1},
    ],
    ids=str,
)
def test_pools(given):
    for operator in ("MaxPool", "AveragePool"):
        reads_as_onnx_runs(model_of(chain((operator, [], given))), random(2, 2, 5, 6))
    counted = given | {"count_include_pad": 1}
    reads_as_onnx_runs(model_of(chain(("AveragePool", [], counted))), random(2, 2, 5, 6))


def test_channels_last_in_front_and_behind():
    """As Keras' files are: turned at the input, turned back before it is flattened."""
    nodes = chain(
        ("Transpose", [], {"perm": [0, 3, 1, 2]}),
        ("Conv", ["w"], {"pads": [0, 0, 1, 1]}),
        ("Transpose", [], {"perm": [0, 2, 3, 1]}),
        ("Add", ["b"], {}),
        ("Relu", [], {}),
        ("Reshape", ["to"], {}),
        ("MatMul", ["v"], {}),
    )
    model = model_of(
        nodes, ("n", 5, 6, 2), w=random(3, 2, 2, 2), b=random(3), to=np.array([-1, 90]),
        v=random(90, 4),
    )  # fmt: skip
    images = random(3, 2, 5, 6)
    reads_as_onnx_runs(model, images, given=images.transpose(0, 2, 3, 1).copy())


def test_a_reshape_at_the_input_adds_the_channel():
    """As files are that were made from images (samples, height, width)."""
    nodes = chain(("Reshape", ["to"], {}), ("Conv", ["w"], {}))
    model = model_of(nodes, ("n", 5, 6), to=np.array([-1, 1, 5, 6]), w=random(3, 1, 2, 3))
    images = random(2, 1, 5, 6)
    assert reads_as_onnx_runs(model, images, given=images[:, 0]).input_shape == (1, 5, 6)


def test_a_mean_over_the_image_loses_its_axes():
    for behind in (("Flatten", [], {}), ("Squeeze", ["axes"], {})):
        nodes = chain(("GlobalAveragePool", [], {}), behind, ("Gemm", ["w"], {}))
        model = model_of(nodes, axes=np.array([2, 3]), w=random(2, 3))
        network = reads_as_onnx_runs(model, random(3, 2, 5, 6))
        assert [type(layer) for layer in network.layers] == [GlobalAvgPool2D, Dense]


def test_rows_that_stand_for_images():
    model = model_of(chain(("MatMul", ["w"], {}), ("Add", ["b"], {})), ("n", 60), w=random(60, 3),
                     b=random(1, 3))  # fmt: skip
    images = random(3, 2, 5, 6)
    rows = images.reshape(3, 60)
    network = reads_as_onnx_runs(model, images, given=rows, shape=(2, 5, 6))
    np.testing.assert_allclose(import_model(model).forward(rows)[0], network.scores(images), 1e-5)
    nodes = chain(("Reshape", ["to"], {}), ("Conv", ["w"], {}))
    model = model_of(nodes, ("n", 60), to=np.array([0, 2, 5, 6]), w=random(3, 2, 2, 3))
    reads_as_onnx_runs(model, images, given=rows, shape=(2, 5, 6))
    reads_as_onnx_runs(model, images, given=rows)


def test_sizes_left_open_are_asked_for():
    model = model_of(chain(("Relu", [], {})), ("n", 2, "height", "width"))
    with pytest.raises(ValueError, match=r"\(2, 0, 0\) leaves sizes open; pass shape="):
        import_model(model)
    assert reads_as_onnx_runs(model, random(1, 2, 5, 6), shape=(2, 5, 6)).input_shape == (2, 5, 6)
    with pytest.raises(ValueError, match=r"images \(2, 0, 0\) .*shape=\(3, 5, 6\) was asked for"):
        import_model(model, shape=(3, 5, 6))


def test_double_precision_is_kept():
    model = model_of(chain(("Conv", ["w"], {})), kind=TensorProto.DOUBLE,
                     w=random(3, 2, 2, 2).astype(np.float64))  # fmt: skip
    assert import_model(model).dtype == np.float64


def test_settings_of_layers_are_what_was_written():
    """0.1 comes back as 0.1, though the file has only single precision."""
    network = built(Conv2D(2, 3, activation=LeakyReLU(0.1)), BatchNorm(0.2, 0.001), Dropout(0.3))
    conv, norm, dropout = import_model(export(network)).layers
    assert conv.activation.slope == 0.1
    assert (norm.momentum, norm.epsilon, dropout.rate) == (0.2, 0.001, 0.3)


def test_constants_in_nodes_and_turned_weights():
    value = numpy_helper.from_array(random(60, 3), "")
    nodes = [
        helper.make_node("Constant", [], ["w"], value=value),
        helper.make_node("Transpose", ["w"], ["turned"], perm=[1, 0]),
        helper.make_node("Identity", ["turned"], ["same"]),
        helper.make_node("Flatten", ["x"], ["rows"]),
        helper.make_node("Gemm", ["rows", "same"], ["y"], transB=1),
    ]
    reads_as_onnx_runs(model_of(nodes), random(2, 2, 5, 6))


def test_names_in_the_file_never_clash():
    nodes = chain(("Conv", ["w"], {}), ("Conv", ["conv1.weight"], {}), ("Conv", ["w2"], {}))
    constants = {name: random(2, 2, 1, 1) for name in ("w", "conv1.weight", "w2")}
    network = import_model(model_of(nodes, **constants))
    assert [layer.name for layer in network.layers] == ["conv2", "conv1", "conv3"]


def test_a_layer_in_a_block_cannot_take_the_projections_name():
    nodes = [
        helper.make_node("Conv", ["x", "shortcut.weight"], ["a"]),
        helper.make_node("Relu", ["a"], ["b"]),
        helper.make_node("Conv", ["x", "v"], ["c"]),
        helper.make_node("Add", ["b", "c"], ["y"]),
    ]
    constants = {"shortcut.weight": random(3, 2, 1, 1), "v": random(3, 2, 1, 1, seed=1)}
    network = reads_as_onnx_runs(model_of(nodes, **constants), random(2, 2, 5, 6))
    assert sorted(network.layers[0].parameters) == ["conv1.weight", "shortcut.weight"]


# --- refused ---------------------------------------------------------------------------------


def refused(model, *words, **given):
    with pytest.raises(ValueError) as caught:
        import_model(model, **given)
    text = str(caught.value)
    assert [word for word in words if word not in text] == [], text
    return text


def test_everything_unknown_is_named_at_once():
    nodes = chain(
        ("Elu", [], {"name": "first"}), ("Conv", ["w"], {"group": 2, "name": "second"}),
        ("Gemm", ["w"], {"transA": 1, "name": "third"}),
    )  # fmt: skip
    refused(
        model_of(nodes, w=random(2, 1, 1, 1)), "3 problem(s)",
        "Elu 'first': this operator is not supported; export the model without it",
        "Conv 'second': attribute group=2 asks for convolution in groups; train with one group",
        "Gemm 'third': attribute transA=1 asks for images as columns",
    )  # fmt: skip


def test_the_supported_operators_are_listed_once():
    text = refused(model_of(chain(*[("Elu", [], {})] * 30)), "30 problem(s)", "and 10 more")
    assert text.count("\n- Elu 'v") == 20
    assert text.endswith(f"\n- supported operators: {', '.join(sorted(OPERATORS))}")
    assert "supported operators" not in refused(model_of(chain(("Relu", [], {})), opset=5), "opset")


REFUSED = {
    "channels": (
        chain(("Conv", ["w"], {"name": "here"})), {"w": random(3, 4, 2, 2)},
        ["Conv 'here': 'w' has the shape (3, 4, 2, 2); expected ('filters', 2, 'height', 'width')"],
    ),
    "kernel": (
        chain(("Conv", ["w"], {"kernel_shape": [2, 2]})), {"w": random(3, 2, 9, 9)},
        ["kernel_shape=(2, 2), but its weights are (9, 9)"],
    ),
    "too large": (
        chain(("Conv", ["w"], {})), {"w": random(3, 2, 9, 9)},
        ["the kernel spans (9, 9) pixels but its padded input has only (5, 6)"],
    ),
    "not flat": (
        chain(("Gemm", ["w"], {})), {"w": random(60, 3)},
        ["its weights are for rows of 60, it gets (2, 5, 6); flatten"],
    ),
    "dead end": (
        [helper.make_node("Relu", ["x"], ["a"]), helper.make_node("Tanh", ["x"], ["b"])], {},
        ["Relu 'a' is 0 times in the chain; only a chain from the input to the output"],
    ),
    "two inputs to add": (
        [helper.make_node("Add", ["x", "x"], ["a"])], {}, ["Add 'a' does not end a shortcut as in"],
    ),
    "slope": (chain(("LeakyRelu", [], {"alpha": 1.5})), {}, ["slope: expected 0 <= value < 1"]),
    "huge reshape": (
        chain(("Reshape", ["to"], {})), {"to": np.array([-1, 2**40, 2**20])},
        ["Reshape 'v0': it cannot make [-1, 1099511627776, 1048576] of (2, 5, 6)"],
    ),
    "huge border": (
        chain(("MaxPool", [], {"kernel_shape": [2, 2], "pads": [2**40] * 4})), {},
        ["padding: expected at most 2147483648, got 1099511627776"],
    ),
    "large border": (
        chain(("MaxPool", [], {"kernel_shape": [2, 2], "pads": [2**13] * 4})), {},
        ["an image becomes (2, 16389", "more than 16,777,216 numbers"],
    ),
    "huge pool": (
        chain(("AveragePool", [], {"kernel_shape": [2**30, 2**30], "pads": [2**30 - 1] * 4})), {},
        ["AveragePool 'v0': AveragePool: kernel_size (1073741824, 1073741824), dilation"],
    ),
    "axis": (chain(("Softmax", [], {"axis": 2})), {}, ["axis 2 of (samples, 2, 5, 6), not the"]),
    "add": (
        chain(("Relu", [], {}), ("Add", ["b"], {})), {"b": random(2, 5, 6)},
        ["its bias has the shape (2, 5, 6); expected (2,)"],
    ),
    "add in front": (
        chain(("Add", ["b"], {})), {"b": random(2, 5, 6)},
        ["Add 'v0': (2, 5, 6) numbers for (2, 5, 6); expected one for each channel"],
    ),
    "channels last": (
        chain(("Transpose", [], {"perm": [0, 2, 3, 1]})), {}, ["its output has channels last"],
    ),
    "rows with channels last": (
        chain(("Transpose", [], {"perm": [0, 2, 3, 1]}), ("Flatten", [], {})), {},
        ["its output has channels last"],
    ),
    "weights that are no constant": (
        chain(("Relu", [], {}), ("Conv", ["x"], {})), {}, ["its input 'x' is not a constant"],
    ),
}  # fmt: skip


@pytest.mark.parametrize(("nodes", "constants", "words"), REFUSED.values(), ids=REFUSED)
def test_what_cannot_be_read_is_named(nodes, constants, words):
    refused(model_of(nodes, **constants), *words)


def test_the_bias_of_a_shortcut_goes_into_the_last_layer():
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["a"], pads=[1, 1, 1, 1]),
        helper.make_node("Conv", ["x", "v", "b"], ["c"]),
        helper.make_node("Add", ["a", "c"], ["y"]),
    ]
    constants = {"w": random(3, 2, 3, 3), "v": random(3, 2, 1, 1), "b": random(3)}
    network = reads_as_onnx_runs(model_of(nodes, **constants), random(2, 2, 5, 6))
    assert list(network.layers[0].parameters) == ["conv1.weight", "conv1.bias", "shortcut.weight"]
    del nodes[1].input[2], constants["b"]
    network = reads_as_onnx_runs(model_of(nodes, **constants), random(2, 2, 5, 6))
    assert list(network.layers[0].parameters) == ["conv1.weight", "shortcut.weight"]


@pytest.mark.parametrize(("stride", "filters"), [([2, 4], 3), ([2, 3], 1)])
def test_a_shortcut_that_a_block_would_not_make_is_named(stride, filters):
    """The shapes fit, but the block's own projection has stride (2, 3) and three filters."""
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["a"], pads=[1, 1, 1, 1], strides=[2, 3]),
        helper.make_node("Conv", ["x", "v"], ["c"], strides=stride),
        helper.make_node("Add", ["a", "c"], ["y"]),
    ]
    constants = {"w": random(3, 2, 3, 3), "v": random(filters, 2, 1, 1)}
    words = "Add 'y': its shortcut does not lead from (2, 5, 6) to (3, 3, 2)"
    refused(model_of(nodes, **constants), words)


def test_numbers_in_other_files_are_refused(tmp_path):
    """Wherever the path leads, and whether or not it is there."""
    model = model_of(chain(("Conv", ["w"], {})), w=random(3, 2, 2, 2))
    weight = model.graph.initializer[0]
    weight.ClearField("raw_data")
    weight.data_location = TensorProto.EXTERNAL
    weight.external_data.add(key="location", value="../secret.bin")
    path = tmp_path / "inside" / "model.onnx"
    path.parent.mkdir()
    (tmp_path / "secret.bin").write_bytes(bytes(96))
    path.write_bytes(model.SerializeToString())
    words = "in '../secret.bin': no plain file of that name in the folder of the model"
    refused(path, str(path), words)
    refused(model, "the numbers of 'w' are in another file; pass the path of the model")


def outside(folder, location="weights.bin", held=96, **facts):
    """A model whose only weights, 96 bytes, are in a file that says so."""
    model = model_of(chain(("Conv", ["w"], {})), w=random(3, 2, 2, 2))
    weight = model.graph.initializer[0]
    data = b"12345678" + weight.raw_data
    (folder / "weights.bin").write_bytes(data[: 8 + held])
    weight.ClearField("raw_data")
    weight.data_location = TensorProto.EXTERNAL
    for key, value in {"location": location, "offset": 8, "length": 96, **facts}.items():
        weight.external_data.add(key=key, value=str(value))
    path = folder / "model.onnx"
    path.write_bytes(model.SerializeToString())
    return path


def test_weights_beside_the_model_are_read(tmp_path):
    """As PyTorch's exporter writes them."""
    network = import_model(outside(tmp_path), kernels="numpy")
    assert (network.layers[0].parameters["weight"] == random(3, 2, 2, 2)).all()


@pytest.mark.parametrize(
    ("facts", "words"),
    [
        ({"held": 95}, "96 bytes from 8 of 103"),
        ({"length": 92}, "92 bytes for FLOAT (3, 2, 2, 2)"),
        ({"offset": 2**62}, "bytes from 4,611,686,018,427,387,904 of 104"),
        ({"offset": -1}, "96 bytes from -1 of 104"),
        ({"length": -96}, "-96 bytes from 8 of 104"),
        ({"location": ""}, "no plain file of that name in the folder of the model"),
        ({"location": "."}, "no plain file of that name in the folder of the model"),
        ({"location": ".."}, "no plain file of that name in the folder of the model"),
        ({"location": "./weights.bin"}, "no plain file of that name in the folder of the model"),
        ({"location": "/etc/passwd"}, "no plain file of that name in the folder of the model"),
        ({"location": "link"}, "no plain file of that name in the folder of the model"),
        ({"location": "folder"}, "no plain file of that name in the folder of the model"),
        ({"location": "gone.bin"}, "no plain file of that name in the folder of the model"),
        ({"location": "a" * 500}, "no plain file of that name in the folder of the model"),
        ({"offset": "x"}, "invalid literal"),
    ],
    ids=str,
)
def test_weights_beside_the_model_that_are_not_what_it_says_are_refused(facts, words, tmp_path):
    (tmp_path / "folder").mkdir()
    (tmp_path / "link").symlink_to("weights.bin")
    refused(outside(tmp_path, **facts), str(tmp_path / "model.onnx"), words)


def test_weights_beside_the_model_are_charged(tmp_path):
    """One file of 8 MB that a thousand tensors read."""
    nodes = chain(*[("MatMul", [f"w{k}"], {}) for k in range(1000)])
    model = model_of(nodes, ("n", 4), **{f"w{k}": random(4, 4) for k in range(1000)})
    for weight in model.graph.initializer:
        weight.ClearField("raw_data")
        del weight.dims[:]
        weight.dims.extend([1000, 2000])
        weight.data_location = TensorProto.EXTERNAL
        weight.external_data.add(key="location", value="big.bin")
    (tmp_path / "big.bin").write_bytes(bytes(8_000_000))
    (tmp_path / "model.onnx").write_bytes(model.SerializeToString())
    refused(tmp_path / "model.onnx", "in 'big.bin' would take memory to")


@pytest.mark.parametrize(
    ("dims", "typed"),
    [([3, 2, 2, 3], True), ([3, 2, 2, 3], False), ([2**40, 2, 2, 2], False),
     ([-3, 2, 2, -2], False), ([3, 2, 2, 1], True)],
)  # fmt: skip
def test_a_tensor_that_promises_more_than_it_holds_is_refused(dims, typed, tmp_path):
    model = model_of(chain(("Conv", ["w"], {})), w=random(3, 2, 2, 2))
    weight = model.graph.initializer[0]
    if typed:
        weight.float_data.extend(np.frombuffer(weight.raw_data, np.float32).tolist())
        weight.ClearField("raw_data")
    del weight.dims[:]
    weight.dims.extend(dims)
    path = tmp_path / "model.onnx"
    path.write_bytes(model.SerializeToString())
    refused(path, str(path))
    # ONNX's checker sees most of them first; older ones of it see fewer
    with pytest.raises(ValueError, match=r"'w' has the shape .* but holds 24 numbers"):
        read_tensor("w", weight, Budget(0))


def test_weights_that_many_nodes_share_cannot_fill_the_memory():
    """A few kB of file that would become gigabytes of weights."""
    big = random(1024, 1024)
    nodes = chain(*[("MatMul", ["w"], {})] * 400)
    words = "the weights 'w' would take memory to", "share weights among fewer nodes"
    refused(model_of(nodes, ("n", 1024), w=big), *words)


def test_a_shape_that_takes_forever_is_refused():
    """Each of these doubles the work of the one before it."""
    nodes = [helper.make_node("Shape", ["x"], ["s0"], start=1, end=1)]
    nodes += [helper.make_node("Concat", [f"s{k}"] * 2, [f"s{k + 1}"], axis=0) for k in range(60)]
    nodes.append(helper.make_node("Reshape", ["x", "s60"], ["y"]))
    refused(model_of(nodes), "Reshape 'y': it makes []; expected a shape")
    nodes[0] = helper.make_node("Shape", ["x"], ["s0"])
    refused(model_of(nodes), "its shape takes too much to work out")


def test_the_number_of_samples_is_not_taken_for_a_size():
    """view(-1, x.size(0)) mixes the samples, however many there are."""
    nodes = [
        helper.make_node("Shape", ["x"], ["size"], start=0, end=1),
        helper.make_node("Concat", ["any", "size"], ["to"], axis=0),
        helper.make_node("Reshape", ["x", "to"], ["y"]),
    ]
    model = model_of(nodes, ("n", 60), any=np.array([-1]))
    refused(model, "Reshape 'y': it cannot make [-1, -4611686018427387904] of (60,)")


def test_an_operator_of_somebody_else_is_not_taken_for_onnx_own():
    """Nor before a constant, where ours would be looked through."""
    nodes = [
        helper.make_node("Identity", ["w"], ["same"]),
        helper.make_node("Conv", ["x", "same"], ["y"]),
    ]
    model = model_of(nodes, w=random(3, 2, 2, 2))
    import_model(model)
    model.graph.node[0].domain = "own"
    model.opset_import.append(helper.make_opsetid("own", 1))
    refused(model, "own.Identity 'same': this operator is not supported")


def test_old_meanings_of_operators():
    """Softmax went over all that follows its axis; normalizing was training unless it said so."""
    refused(model_of(chain(("Softmax", [], {})), opset=11), "axis 1 of (samples, 2, 5, 6), not")
    nodes = chain(("Flatten", [], {}), ("Softmax", [], {}))
    reads_as_onnx_runs(model_of(nodes, opset=11), random(2, 2, 5, 6))
    arrays = {name: random(2, seed=k) ** 2 + 1 for k, name in enumerate("abcd")}
    nodes = chain(("BatchNormalization", list(arrays), {}))
    refused(model_of(nodes, opset=6, **arrays), "attribute is_test=0 asks for statistics")
    nodes = chain(("BatchNormalization", list(arrays), {"is_test": 1}))
    images, (scale, shift, mean, variance) = random(2, 2, 5, 6), arrays.values()
    rows = (np.moveaxis(images, 1, -1) - mean) / np.sqrt(variance + 1e-5) * scale + shift
    network = import_model(model_of(nodes, opset=6, **arrays), kernels="numpy")
    np.testing.assert_allclose(network.scores(images), np.moveaxis(rows, -1, 1), rtol=1e-5)


def test_nodes_beside_the_way_are_named():
    nodes = [helper.make_node("Relu", ["w"], ["aside"]), helper.make_node("Tanh", ["x"], ["y"])]
    refused(model_of(nodes, w=random(2)), "Relu 'aside' does not take the images as first input")


def test_a_wrong_setting_is_not_the_files_fault():
    with pytest.raises(ValueError, match=r"^unknown loss 'hinge'"):
        import_model(HERE / "pytorch_cnn.onnx", loss="hinge")


def test_metadata_that_lies_is_refused():
    network = small()
    network.classes = ("a", "b")
    refused(export(network), "2 names of classes, but the last layer gives 4 outputs")
    lies = {"classes": ("{", "[1]", '"abcd"', "[" * 100_000), "scaling": ('"x"', "{}")}
    for key, value in [(key, value) for key, values in lies.items() for value in values]:
        model = export(small())
        helper.set_model_props(model, {f"glassbox.{key}": value})
        refused(model, "its metadata")


@pytest.mark.parametrize("data", [b"", b"no model", bytes(100), b"\xff" * 40], ids=repr)
def test_bytes_that_are_no_model_are_refused(data, tmp_path):
    path = tmp_path / "model.onnx"
    path.write_bytes(data)
    refused(path, str(path))


def test_a_file_that_is_not_there_says_so(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"gone\.onnx"):
        import_model(tmp_path / "gone.onnx")


WHOLE = (HERE / "pytorch_cnn.onnx").read_bytes()


@settings(max_examples=150, deadline=None, derandomize=True)
@given(st.integers(0, len(WHOLE) - 1), st.integers(0, 255), st.booleans())
def test_a_damaged_file_is_refused_or_read_but_never_crashes(tmp_path_factory, place, byte, cut):
    path = tmp_path_factory.getbasetemp() / "damaged.onnx"
    data = WHOLE[:place] if cut else WHOLE[:place] + bytes([byte]) + WHOLE[place + 1 :]
    path.write_bytes(data)
    try:
        network = import_model(path, kernels="numpy")
    except ValueError as error:
        assert str(path) in str(error)
    else:
        assert network.parameter_count < len(WHOLE)


def test_an_imported_network_can_be_kept(tmp_path):
    network = import_model(HERE / "pytorch_cnn.onnx", kernels="numpy")
    twin = CNN.load(network.save(tmp_path / "kept.safetensors"), kernels="numpy")
    images = np.random.default_rng(0).standard_normal((3, 2, 9, 10)).astype(np.float32)
    assert (twin.scores(images) == network.scores(images)).all()
    assert [layer.name for layer in twin.layers] == [layer.name for layer in network.layers]


# --- the page --------------------------------------------------------------------------------

PAGE = HERE.parent / "docs" / "bridges.md"


def test_the_pages_examples_give_what_they_say():
    pytest.importorskip("numba")  # a summary names the compiled kernels
    text = PAGE.read_text("utf-8")
    plain = re.sub(r"^```.*$", "", text, flags=re.M)
    test = doctest.DocTestParser().get_doctest(plain, {}, PAGE.name, str(PAGE), 0)
    assert len(test.examples) > 10
    said = []
    result = doctest.DocTestRunner().run(test, out=said.append)
    assert result.failed == 0, "".join(said)


def test_the_pages_table_has_every_operator_that_is_taken():
    rows = re.findall(r"^\| (`.+?) \|", PAGE.read_text("utf-8"), re.M)
    assert sorted(re.findall(r"`(\w+)`", " ".join(rows))) == sorted(OPERATORS)
