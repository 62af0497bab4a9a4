"""The three passes that read an ONNX file: what each refuses, and how much memory they take."""

import json
import tracemalloc

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import AttributeProto, TensorProto, helper, numpy_helper
from test_onnx_bridge import chain, model_of, random, reads_as_onnx_runs, refused

from CNN import CNN
from Datasets import Scaling
from Filters import AvgPool2D, Conv2D, GlobalAvgPool2D, Residual
from glassbox.bridges.onnx import import_model
from glassbox.bridges.onnx_decode import Budget, decode, read_tensor
from glassbox.bridges.onnx_normalize import Block, _between, arrange, fold
from glassbox.bridges.onnx_operators import OPERATORS, activated
from MLP import BatchNorm, Dense, Tanh

MEGABYTE = 10**6


def decoded(model):
    return decode(model, Budget(model.ByteSize()))


def peak(call):
    """What a call returned, and the most memory, in bytes, that was in use meanwhile."""
    tracemalloc.start()
    try:
        return call(), tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


# --- memory ----------------------------------------------------------------------------------


def test_many_average_pools_on_a_large_image_take_little_memory(tmp_path):
    """In 1,700 bytes of ONNX and in a model file: 2.7 GB, with a count for each pixel."""
    nodes = chain(*[("AveragePool", [], {"kernel_shape": [1, 1]})] * 20)
    model = model_of(nodes, ("n", 1, 4096, 4096))
    network, taken = peak(lambda: import_model(model))
    assert taken < 5 * MEGABYTE
    path = network.save(tmp_path / "m.safetensors")
    again, taken = peak(lambda: CNN.load(path))
    assert taken < 5 * MEGABYTE
    assert [type(layer) for layer in again.layers] == [AvgPool2D] * 20


def test_pixel_counts_are_charged_together():
    """Of an image of one line, which has a count for each pixel; two pools would fit."""
    pool = ("AveragePool", [], {"kernel_shape": [1, 1]})
    model = model_of(chain(*[pool] * 3), ("n", 1, 1, 4_000_000))
    text, taken = peak(lambda: refused(model, "AveragePool 'v2': the pixel counts of this pool"))
    assert "use smaller images" in text
    assert taken < 10 * MEGABYTE
    import_model(
        model_of(chain(*[("MaxPool", [], {"kernel_shape": [1, 1]})] * 9), ("n", 1, 4096, 4096))
    )


def test_a_constant_that_is_transposed_often_is_kept_once():
    """1.1 MB of file that once became 2.0 GB."""
    nodes = [helper.make_node("Transpose", ["w"], [f"t{k}"]) for k in range(2000)]
    nodes.append(helper.make_node("MatMul", ["x", "t1999"], ["y"]))
    weights = random(512, 512)
    network, taken = peak(lambda: import_model(model_of(nodes, ("n", 512), w=weights)))
    assert (network.layers[0].parameters["weight"] == weights).all()
    assert taken < 30 * MEGABYTE


def test_weights_are_charged_with_their_copies_in_the_network():
    """As many layers as the budget of a small file allows stay within it."""
    counts = range(10, 20)
    models = [
        model_of(chain(*[("MatMul", ["w"], {})] * n), ("n", 512), w=random(512, 512))
        for n in counts
    ]
    taken = []
    for model in models:
        try:
            taken.append(peak(lambda model=model: import_model(model))[1])
        except ValueError as error:
            assert "the weights 'w' would take memory to" in str(error)
    assert 0 < len(taken) < len(models)
    assert max(taken) < 100 * MEGABYTE


def test_weights_may_be_shared_by_four_layers_however_large():
    model = model_of(chain(*[("MatMul", ["w"], {})] * 4), ("n", 1800), w=random(1800, 1800))
    assert len(import_model(model).layers) == 4


def test_nodes_are_charged_before_they_are_made():
    model = model_of(chain(*[("Relu", [], {})] * 20_000), ("n", 4))
    refused(model, "the node 'Relu' would take memory to")


def test_long_attributes_are_charged():
    values = [1] * 2_000_000
    model = model_of(
        [helper.make_node("Constant", [], ["c"], value_ints=values), *chain(("Relu", [], {}))]
    )
    refused(model, "would take memory to")


@pytest.mark.parametrize(
    ("operators", "shape", "what"),
    [
        (("Relu", "Mul"), (2**24, 1, 1), "Mul 'v1': a factor for each channel"),
        (("Mul",), (2**24,), "a factor for each channel"),
        (("Sub",), (2**24, 1, 1), "a scaling for each channel"),
    ],
)
def test_one_number_for_all_channels_is_charged_for_each(operators, shape, what):
    """A few nodes of 70 bytes that took half a gigabyte each."""
    nodes = chain(*[(name, ["one"] * (name != "Relu"), {}) for name in operators])
    model = model_of(nodes, ("n", *shape), one=np.float32([2]))
    _, taken = peak(lambda: refused(model, f"{what} would take memory to"))
    assert taken < 10 * MEGABYTE


def test_two_scalings_are_compared_without_a_number_for_each_channel():
    model = model_of(chain(("Div", ["high"], {})), ("n", 2**24, 1, 1), high=np.float32([255]))
    helper.set_model_props(model, {"glassbox.scaling": json.dumps(Scaling("unit").to_json())})
    network, taken = peak(lambda: import_model(model))
    assert network.scaling == Scaling("unit")
    assert taken < 10 * MEGABYTE


def test_weights_are_charged_again_for_each_factor():
    """A node of 50 bytes that multiplies all of them: the time of a file grew with its square."""
    nodes = chain(("MatMul", ["w"], {}), *[("Mul", ["two"], {})] * 2000)
    model = model_of(nodes, ("n", 200), w=random(200, 200), two=np.float32([2]))
    refused(model, "the weights times a factor would take memory to")


def test_what_the_checker_quotes_is_cut():
    """It names a node in full."""
    model = model_of(chain(("Relu", [], {})), ("n", 4))
    model.graph.node[0].op_type = "a" * 10_000
    with pytest.raises(ValueError, match="No Op registered for aaa") as caught:
        import_model(model)
    assert len(str(caught.value)) < 400


def test_constants_are_charged_as_they_are_decoded():
    """A number of 8 bytes takes one in the file."""
    tensor = helper.make_tensor("c", TensorProto.INT64, [5000], [1] * 5000)
    budget = Budget(0)
    assert read_tensor("c", tensor, budget).sum() == 5000
    assert budget.spent >= 40_000
    with pytest.raises(ValueError, match="the constant 'c' would take memory to"):
        budget.charge(Budget.ALLOWANCE - budget.spent, "the rest")
        read_tensor("c", tensor, budget)


# --- numbers ---------------------------------------------------------------------------------


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("name", ["conv.weight", "bias", "scale", "variance"])
def test_weights_that_are_not_finite_are_refused(name, value, tmp_path):
    constants = {"conv.weight": random(2, 2, 1, 1), "bias": random(2)}
    constants |= {key: random(2) ** 2 + 1 for key in ("scale", "shift", "mean", "variance")}
    nodes = chain(
        ("Conv", ["conv.weight", "bias"], {}),
        ("BatchNormalization", ["scale", "shift", "mean", "variance"], {}),
    )
    import_model(model_of(nodes, **constants))
    constants[name].flat[1] = value
    path = tmp_path / "model.onnx"
    path.write_bytes(model_of(nodes, **constants).SerializeToString())
    refused(path, str(path), f"{name!r} holds NaN or infinity; export a checkpoint with finite")


def test_weights_that_overflow_in_the_network_are_refused():
    """By a factor in the file, and by the precision that was asked for."""
    nodes = chain(("Flatten", [], {}), ("Gemm", ["w"], {"alpha": 1e30, "name": "fc"}))
    refused(
        model_of(nodes, w=random(60, 3) * 1e30), "as float32 (dtype='float64' takes", "fc.weight"
    )
    weights = np.full((60, 3), 1e60)
    model = model_of(
        chain(("Flatten", [], {}), ("MatMul", ["w"], {})), kind=TensorProto.DOUBLE, w=weights
    )
    assert import_model(model).dtype == np.float64
    refused(model, "as float32", "holds NaN, infinity or numbers beyond float32", dtype=np.float32)


@pytest.mark.parametrize(
    ("tensor", "kind"),
    [(random(2, 2, 1, 1).astype(np.float16), "FLOAT16"), (np.ones((2, 2, 1, 1), np.int8), "INT8")],
    ids=["float16", "int8"],
)
def test_constants_of_other_types_are_refused_where_they_are_used(tensor, kind):
    model = model_of(chain(("Conv", ["w"], {})), w=random(2, 2, 1, 1))
    model.graph.initializer[0].CopyFrom(numpy_helper.from_array(tensor, "w"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(onnx.checker, "check_model", lambda model: None)
        refused(model, "Conv 'v0': its input 'w' is not a constant of a type such as FLOAT")
    model = model_of(chain(("Relu", [], {})))
    model.graph.initializer.append(numpy_helper.from_array(tensor, "unused"))
    assert len(import_model(model).layers) == 1


def test_whole_numbers_are_not_weights():
    model = model_of(chain(("MatMul", ["w"], {})), ("n", 4), w=random(4, 4))
    model.graph.initializer[0].CopyFrom(numpy_helper.from_array(np.ones((4, 4), np.int32), "w"))
    refused(model, "MatMul 'v0': 'w' holds int32 numbers; expected FLOAT or DOUBLE")


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"value_float": 1.5}, np.float32(1.5)),
        ({"value_floats": [1.5, 2]}, np.float32([1.5, 2])),
        ({"value_int": 3}, np.int64(3)),
        ({"value_ints": [3, -4]}, np.int64([3, -4])),
    ],
    ids=["float", "floats", "int", "ints"],
)
def test_values_of_constant_nodes(given, expected):
    nodes = [helper.make_node("Constant", [], ["c"], **given), *chain(("Relu", [], {}))]
    graph = decoded(model_of(nodes))
    assert (graph.constants["c"] == expected).all()
    assert graph.constants["c"].dtype == expected.dtype
    assert graph.constants["c"].shape == expected.shape
    assert [node.operator for node in graph.nodes] == ["Relu"]


def test_every_type_of_tensor_is_decoded_raw_and_typed():
    for kind in ("float32", "float64", "int64", "int32", "bool"):
        array = np.array([[0, 1, 1]], kind)
        raw = numpy_helper.from_array(array, "c")
        typed = helper.make_tensor("c", raw.data_type, array.shape, array.ravel().tolist())
        assert raw.HasField("raw_data") and not typed.HasField("raw_data")
        for tensor in (raw, typed):
            found = read_tensor("c", tensor, Budget(0))
            assert found.dtype == kind
            assert (found == array).all()


def test_a_tensor_of_very_many_axes_is_refused():
    """Whose product takes very long."""
    tensor = TensorProto(name="w", data_type=TensorProto.FLOAT, dims=[2**62] * 200_000)
    with pytest.raises(ValueError, match=r"'w' has the shape .* but holds 0 numbers") as caught:
        read_tensor("w", tensor, Budget(0))
    assert len(str(caught.value)) < 300
    with pytest.raises(ValueError, match="'w' has the shape"):
        read_tensor("w", TensorProto(data_type=1, dims=[1] * 9, float_data=[1]), Budget(0))


# --- names and attributes --------------------------------------------------------------------


def named(*nodes, inputs=("x",), outputs=("y",), weights=("w",)):
    """A model in which nothing but names matters."""
    graph = helper.make_graph(
        [helper.make_node(operator, ins, outs) for operator, ins, outs in nodes],
        "graph",
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, ("n", 4)) for name in inputs],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, ("n", 4)) for name in outputs],
        [numpy_helper.from_array(random(4, 4), name) for name in weights],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


NAMES = {
    "twice made": named(("Relu", ["x"], ["a"]), ("Tanh", ["a"], ["a"]), ("Relu", ["a"], ["y"])),
    "from itself": named(("Relu", ["y"], ["y"])),
    "in a loop": named(("Add", ["x", "b"], ["a"]), ("Relu", ["a"], ["b"]), ("Relu", ["b"], ["y"])),
    "out of order": named(("Relu", ["a"], ["y"]), ("Relu", ["x"], ["a"])),
    "weights twice": named(("MatMul", ["x", "w"], ["y"]), weights=("w", "w")),
    "weights and output": named(("Relu", ["x"], ["w"]), ("MatMul", ["w", "w"], ["y"])),
    "input and output": named(("Relu", ["x"], ["x"]), outputs=("x",)),
    "no output": named(("Relu", ["x"], ["y"]), ("Relu", ["x"], [])),
    "unnamed output": named(("Relu", ["x"], [""]), ("Relu", [""], ["y"])),
    "output never made": named(("Relu", ["x"], ["a"])),
    "output is a weight": named(outputs=("w",)),
    "two outputs": named(("Relu", ["x"], ["y"]), outputs=("y", "y")),
    "two inputs": named(("Relu", ["x"], ["y"]), inputs=("x", "z")),
    "no input": named(("Relu", ["w"], ["y"]), inputs=()),
}


@pytest.mark.parametrize("checked", [True, False], ids=["checked", "unchecked"])
@pytest.mark.parametrize("model", NAMES.values(), ids=NAMES)
def test_names_that_contradict_each_other_are_refused(model, checked, monkeypatch):
    """By ONNX's own checker, and without it too."""
    if not checked:
        monkeypatch.setattr(onnx.checker, "check_model", lambda model: None)
    refused(model, "the model cannot be imported: ")


@pytest.mark.parametrize(
    ("operator", "name", "kind"),
    [
        ("MaxPool", "kernel_shape", AttributeProto.FLOATS),
        ("MaxPool", "strides", AttributeProto.INT),
        ("MaxPool", "auto_pad", AttributeProto.INT),
        ("LeakyRelu", "alpha", AttributeProto.INT),
        ("Softmax", "axis", AttributeProto.STRING),
        ("Transpose", "perm", AttributeProto.TENSOR),
    ],
)
def test_attributes_of_the_wrong_type_are_refused(operator, name, kind, monkeypatch):
    model = model_of(chain((operator, [], {"kernel_shape": [2, 2]})))
    node = model.graph.node[0]
    kept = [given for given in node.attribute if given.name != name and operator == "MaxPool"]
    del node.attribute[:]
    node.attribute.extend([*kept, AttributeProto(name=name, type=kind)])
    monkeypatch.setattr(onnx.checker, "check_model", lambda model: None)
    refused(model, f"{operator} 'v0': attribute {name}=", "; expected a value like ")


def test_what_only_the_checker_of_onnx_knows_is_refused():
    model = model_of(chain(("Relu", [], {})))
    model.graph.node[0].attribute.append(helper.make_attribute("slope", 1.0))
    refused(model, "Unrecognized attribute: slope")


def test_an_input_of_very_many_axes_is_refused():
    refused(
        model_of(chain(("Relu", [], {})), ("n", *[1] * 8)), "the shape (0, 1, 1, 1, 1, 1, 1, 1, 1)"
    )
    refused(
        model_of(chain(("Relu", [], {})), ("n", *[2**40] * 1000)), "its input has the type FLOAT"
    )


def test_a_constant_of_another_domain_is_not_read():
    nodes = [helper.make_node("Constant", [], ["c"], value_int=1), *chain(("Relu", [], {}))]
    model = model_of(nodes)
    model.graph.node[0].domain = "own"
    model.opset_import.append(helper.make_opsetid("own", 1))
    refused(model, "own.Constant 'c': this operator is not supported")


def test_values_are_decoded_before_anything_is_folded():
    """The first pass hands on plain values: nothing of protobuf."""
    graph = decoded(model_of(chain(("Relu", [], {}), ("Softmax", [], {"axis": 1})), c=random(3)))
    assert (graph.opset, graph.input, graph.dims, graph.outputs) == (17, "x", (0, 2, 5, 6), ("v1",))
    assert (graph.dtype, list(graph.constants)) == (np.float32, ["c"])
    assert [(node.operator, node.inputs, node.outputs) for node in graph.nodes] == [
        ("Relu", ("x",), ("v0",)),
        ("Softmax", ("v0",), ("v1",)),
    ]
    assert dict(graph.nodes[1].attributes) == {"axis": 1}


# --- the list of steps -----------------------------------------------------------------------


def steps_of(*nodes):
    """The steps as operators, a block as (its steps, its shortcut)."""

    def told(steps):
        return [
            (told(step.inside), told(step.shortcut)) if isinstance(step, Block) else step.operator
            for step in steps
        ]

    made = [helper.make_node(operator, ins, [out]) for operator, ins, out in nodes]
    constants = {"w": random(2, 2, 1, 1), "bias": random(2, 1, 1), "wide": random(2, 2, 3, 3)}
    return told(arrange(fold(decoded(model_of(made, **constants)))))


def test_blocks_nest():
    assert steps_of(("Relu", ["x"], "a"), ("Identity", ["a"], "b"), ("Tanh", ["b"], "c")) == [
        "Relu",
        "Tanh",
    ]
    assert steps_of(("Relu", ["x"], "a"), ("Add", ["a", "x"], "y")) == [(["Relu"], [])]
    assert steps_of(("Relu", ["x"], "a"), ("Add", ["x", "a"], "y")) == [(["Relu"], [])]
    assert steps_of(
        ("Relu", ["x"], "a"),
        ("Add", ["a", "x"], "b"),
        ("Tanh", ["b"], "c"),
        ("Add", ["x", "c"], "y"),
    ) == [([(["Relu"], []), "Tanh"], [])]
    assert steps_of(
        ("Conv", ["x", "w"], "side"),
        ("Relu", ["x"], "a"),
        ("Add", ["side", "a"], "y"),
    ) == [(["Relu"], ["Conv"])]
    assert steps_of(
        ("Conv", ["x", "w"], "side"),
        ("Conv", ["x", "wide"], "a"),
        ("Add", ["side", "a"], "y"),
    ) == [(["Conv"], ["Conv"])]
    assert steps_of(("Conv", ["x", "w"], "a"), ("Add", ["bias", "a"], "y")) == ["Conv", "Add"]


@pytest.mark.parametrize(
    ("nodes", "words"),
    [
        ([("Relu", ["x"], "a"), ("Tanh", ["x"], "b"), ("Add", ["a", "b"], "y")], "does not end a"),
        ([("Relu", ["x"], "a"), ("Tanh", ["x"], "y")], "Relu 'a' is 0 times in the chain"),
        (
            [  # twice the same projection
                ("Conv", ["x", "w"], "p"),
                ("Relu", ["x"], "a"),
                ("Add", ["a", "p"], "b"),
                ("Tanh", ["b"], "c"),
                ("Add", ["c", "p"], "y"),
            ],
            "Conv 'p' is 2 times in the chain",
        ),
    ],
)
def test_other_graphs_are_refused(nodes, words):
    with pytest.raises(ValueError, match=words):
        steps_of(*nodes)


def nested(depth):
    """Blocks within blocks, all of which begin at the input."""
    nodes = [("Relu", ["x"], "v0")]
    nodes += [("Add", [f"v{k}", "x"], f"v{k + 1}") for k in range(depth)]
    return [helper.make_node(operator, ins, [out]) for operator, ins, out in nodes]


def test_a_way_is_sought_no_further_than_it_can_lead():
    """Of n blocks the second took one step, the last n: files of many took very long."""
    asked = []

    class Noted(dict):
        def __contains__(self, name):
            asked.append(name)
            return super().__contains__(name)

    steps = Noted({f"v{k + 1}": (f"v{k}", None) for k in range(100)})
    depths = {f"v{k}": k for k in range(101)}
    assert len(_between("v97", "v100", steps, depths)) == 3
    assert _between("v100", "v97", steps, depths) is None
    assert len(asked) < 10


def test_blocks_within_blocks_have_an_end():
    reads_as_onnx_runs(model_of(nested(8)), random(2, 2, 5, 6))
    refused(model_of(nested(9)), "its shortcuts are nested more than 8 deep")
    refused(model_of(nested(2000)), "its shortcuts are nested more than 8 deep")


def test_shape_arithmetic_has_an_end():
    def model(count):
        nodes = [helper.make_node("Shape", ["x"], ["s0"])]
        nodes += [helper.make_node("Cast", [f"s{k}"], [f"s{k + 1}"], to=7) for k in range(count)]
        return model_of([*nodes, helper.make_node("Reshape", ["x", f"s{count}"], ["y"])])

    assert import_model(model(60)).input_shape == (2, 5, 6)
    refused(model(70), "Reshape 'y': its shape takes too much to work out")
    refused(model(5000), "Reshape 'y': its shape takes too much to work out")


def test_gather_minds_its_axis():
    nodes = [
        helper.make_node("Gather", ["table", "place"], ["to"], axis=1),
        helper.make_node("Reshape", ["x", "to"], ["y"]),
    ]
    table = np.array([[7, -1, 7], [7, 60, 7]])
    model = model_of(nodes, table=table, place=np.array(1))
    reads_as_onnx_runs(model, random(2, 2, 5, 6))


def test_an_output_without_an_input_is_refused():
    refused(NAMES["output is a weight"], "its output does not depend on its input")


def test_constants_are_transposed_in_any_order():
    """Such as the weights of Keras, (height, width, channels, filters)."""
    nodes = [
        helper.make_node("Transpose", ["w"], ["turned"], perm=[3, 2, 0, 1]),
        helper.make_node("Conv", ["x", "turned"], ["y"]),
    ]
    reads_as_onnx_runs(model_of(nodes, w=random(2, 3, 2, 4)), random(2, 2, 5, 6))


# --- the table -------------------------------------------------------------------------------


def test_a_new_operator_is_one_function(monkeypatch):
    model = model_of(
        chain(("Flatten", [], {}), ("MatMul", ["w"], {}), ("Softsign", [], {})), w=random(60, 3)
    )
    refused(model, "Softsign 'v2': this operator is not supported")
    monkeypatch.setitem(OPERATORS, "Softsign", lambda op: activated(op, Tanh()))
    assert [type(layer.activation) for layer in import_model(model).layers[1:]] == [Tanh]


@pytest.mark.parametrize("allowzero", [0, 1])
def test_allowzero_matters_only_where_a_zero_stands(allowzero):
    nodes = chain(("Reshape", ["to"], {"allowzero": allowzero}), ("MatMul", ["w"], {}))
    model = model_of(nodes, to=np.array([-1, 60]), w=random(60, 3))
    reads_as_onnx_runs(model, random(2, 2, 5, 6))
    model = model_of(nodes, to=np.array([0, 60]), w=random(60, 3))
    if allowzero:
        refused(model, "Reshape 'v0': it makes [0, 60]; expected a shape without axes of length 0")
    else:
        reads_as_onnx_runs(model, random(2, 2, 5, 6))


TO_LAST, BACK = ("Transpose", [], {"perm": [0, 2, 3, 1]}), ("Transpose", [], {"perm": [0, 3, 1, 2]})


def test_what_comes_between_two_transposes():
    nodes = chain(
        ("Conv", ["w"], {}),
        TO_LAST,
        ("Relu", [], {}),
        ("Softmax", [], {"axis": -1}),
        BACK,
        ("Conv", ["v"], {}),
    )
    model = model_of(nodes, w=random(3, 2, 2, 2), v=random(1, 3, 2, 2, seed=1))
    reads_as_onnx_runs(model, random(2, 2, 5, 6))


def test_only_the_first_activation_is_carried():
    model = model_of(
        chain(("Conv", ["w"], {}), ("Relu", [], {}), ("Tanh", [], {})), w=random(3, 2, 2, 2)
    )
    network = reads_as_onnx_runs(model, random(2, 2, 5, 6))
    assert [type(layer).__name__ for layer in network.layers] == ["Conv2D", "Tanh"]


def test_a_border_by_name_counts_for_more_than_pads():
    given = {"auto_pad": "VALID", "pads": [1, 1, 1, 1], "kernel_shape": [2, 2]}
    (pool,) = import_model(model_of(chain(("MaxPool", [], given)))).layers
    assert pool.padding == (0, 0)


def test_no_random_numbers_are_drawn(monkeypatch):
    """Weights that the file replaces."""
    model = model_of(chain(("Conv", ["w"], {})), w=random(3, 2, 2, 2))
    monkeypatch.setattr(np.random, "default_rng", None)
    assert (import_model(model).layers[0].parameters["weight"] == random_of(model)).all()


def random_of(model):
    return numpy_helper.to_array(model.graph.initializer[0])


OTHERS = {
    "a bias of another length": (
        [("Flatten", [], {}), ("Gemm", ["fc", "b5"], {})],
        "its bias has the shape (5,); expected (3,)",
    ),
    "a bias of too many axes": (
        [("Conv", ["w"], {}), TO_LAST, ("Add", ["b11113"], {})],
        "its bias has the shape (1, 1, 1, 1, 3); expected (3,)",
    ),
    "pads of another number": (
        [("MaxPool", [], {"kernel_shape": [2, 2], "pads": [1, 1]})],
        "unknown border: pads=(1, 1), auto_pad=b'NOTSET'",
    ),
    "an unknown border": (
        [("MaxPool", [], {"kernel_shape": [2, 2], "auto_pad": "FULL"})],
        "unknown border: pads=(0, 0, 0, 0), auto_pad=b'FULL'",
    ),
    "two ratios": ([("Dropout", ["b2"], {})], "its ratio and training_mode should be one number"),
    "a softmax with channels last": ([TO_LAST, ("Softmax", [], {"axis": 1})], "over axis 1 of"),
    "a shape of two axes": ([("Reshape", ["i22"], {})], "shape should be a list of at most 64"),
    "a shape of many axes": ([("Reshape", ["i65"], {})], "shape should be a list of at most 64"),
    "other samples": ([("Reshape", ["i5_60"], {})], "it mixes the samples: [5, 60] of (2, 5, 6)"),
    "two lengths left out": ([("Reshape", ["i_1_1"], {})], "it cannot make [-1, -1] of (2, 5, 6)"),
    "negative lengths": ([("Reshape", ["i_1_2_30"], {})], "it cannot make [-1, -2, -30] of"),
    "a reshape of channels last": ([TO_LAST, ("Reshape", ["i256"], {})], "makes (2, 5, 6) of (5"),
    "a reshape behind a layer": (
        [("Relu", [], {}), ("Reshape", ["i2156"], {})],
        "behind the first layer, make only rows",
    ),
    "a transpose behind a layer": ([("Relu", [], {}), BACK], "perm=(0, 3, 1, 2); expected"),
    "a convolution of channels last": (
        [TO_LAST, ("Conv", ["w"], {})],
        "it gets (5, 6, 2), channels last; expected (channels, he",
    ),
    "too many filters": (
        [
            ("MaxPool", [], {"kernel_shape": [1, 1], "pads": [0, 0, 2700, 2700]}),
            ("Conv", ["w1"], {}),
        ],
        "Conv 'v1': an image becomes (3, 2705, 2706), more than 16,777,216 numbers",
    ),
}


@pytest.mark.parametrize(("nodes", "words"), OTHERS.values(), ids=OTHERS)
def test_what_an_operator_cannot_take_is_named(nodes, words):
    constants = {
        "w": random(3, 2, 2, 2),
        "w1": random(3, 2, 1, 1),
        "fc": random(60, 3),
        "b": random(3),
        "b2": random(2),
        "b5": random(5),
        "b11113": random(1, 1, 1, 1, 3),
        "i22": np.ones((2, 2), int),
        "i65": np.ones(65, int),
        "i5_60": [5, 60],
        "i_1_1": [-1, -1],
        "i_1_2_30": [-1, -2, -30],
        "i256": [-1, 2, 5, 6],
        "i2156": [-1, 2, 1, 5, 6],
    }
    used = {name for _, inputs, _ in nodes for name in inputs}
    refused(model_of(chain(*nodes), **{name: constants[name] for name in used}), words)


def test_cubes_show_nothing_of_their_order():
    """Where every axis has the same length, only the history of a value tells its order."""
    refused(model_of(chain(TO_LAST, TO_LAST), ("n", 4, 4, 4)), "perm=(0, 2, 3, 1); expected")
    nodes = [*chain(BACK, ("Relu", [], {})), helper.make_node("Add", ["v1", "x"], ["y"])]
    refused(model_of(nodes, ("n", 4, 4, 4)), "perm=(0, 3, 1, 2); expected")
    nodes = [*chain(TO_LAST, ("Relu", [], {})), helper.make_node("Add", ["v1", "v0"], ["y"])]
    refused(model_of(nodes, ("n", 4, 4, 4)), "its output has channels last")


def test_an_order_of_more_axes_than_there_are_is_refused(monkeypatch):
    monkeypatch.setattr(onnx.checker, "check_model", lambda model: None)
    nodes = chain(TO_LAST, ("Flatten", [], {}), ("MatMul", ["w"], {}))
    refused(model_of(nodes, ("n", 5, 6), w=random(30, 3)), "perm=(0, 2, 3, 1); expected")


def test_a_softmax_over_rows_that_are_images_is_refused():
    model = model_of(chain(("Softmax", [], {"axis": 1})), ("n", 60))
    refused(model, "it goes over axis 1 of (samples, 60,)", shape=(2, 5, 6))
    assert import_model(model).input_shape == (60,)


def test_rows_stay_rows_to_the_end():
    model, images = model_of(chain(("Relu", [], {})), ("n", 60)), random(3, 2, 5, 6)
    rows = images.reshape(3, 60)
    network = reads_as_onnx_runs(model, images, given=rows, shape=(2, 5, 6))
    assert (network.input_shape, network.output_shape) == ((2, 5, 6), (60,))


def test_constants_behind_a_layer_go_into_its_weights():
    """Multiplied, divided, added, subtracted; one number for each channel or one for all."""
    constants = {"w": random(3, 2, 2, 2), "b": random(3)}
    constants |= {f"c{k}": random(3, 1, 1, seed=k) for k in range(4)} | {"all": np.float32([1.5])}
    operators = ("Mul", "Add", "Sub", "Div")
    nodes = [(operator, [f"c{k}"], {}) for k, operator in enumerate(operators)]
    nodes += [(operator, ["all"], {}) for operator in operators]
    for bias in ([], ["b"]):
        model = model_of(chain(("Conv", ["w", *bias], {}), *nodes), **constants)
        network = reads_as_onnx_runs(model, random(2, 2, 5, 6))
        assert [type(layer) for layer in network.layers] == [Conv2D]
    model = model_of(chain(("Conv", ["w"], {}), ("Relu", [], {}), *nodes), **constants)
    network = reads_as_onnx_runs(model, random(2, 2, 5, 6))
    assert [type(layer) for layer in network.layers] == [Conv2D, BatchNorm]
    rows = chain(
        ("Flatten", [], {}), ("MatMul", ["fc"], {}), ("Mul", ["m"], {}), ("Add", ["b"], {})
    )
    constants |= {"fc": random(60, 3), "m": random(3, seed=5)}
    reads_as_onnx_runs(model_of(rows, **constants), random(2, 2, 5, 6))


@pytest.mark.parametrize("name", ["c", "v"])
def test_constants_that_are_not_finite_are_refused(name):
    nodes = chain(("Relu", [], {}), ("Add", ["c"], {}), ("Div", ["v"], {}))
    constants = {"c": random(1), "v": random(1)}
    constants[name][0] = np.nan if name == "c" else 0
    refused(model_of(nodes, **constants), "NaN or infinity")


def front_of(*nodes, shape=("n", 3, 4, 5), **constants):
    """The network behind nodes in front of a convolution, and its outputs with ONNX Runtime's."""
    model = model_of(chain(*nodes, ("Conv", ["w"], {})), shape, w=random(2, 3, 2, 2), **constants)
    images = (random(2, 3, 4, 5) * 100).astype(np.float32)
    last = shape[-1] == 3
    given = images.transpose(0, 2, 3, 1).copy() if last else images
    session = onnxruntime.InferenceSession(model.SerializeToString())
    (expected,) = session.run(None, {"x": given})
    network = import_model(model, kernels="numpy")
    found = network.forward(network.scaling.apply(images))[0]
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4)
    return network


def test_what_is_done_to_the_images_in_front_becomes_the_scaling():
    mean, std = np.float32([0.4, 0.5, 0.3]), np.float32([0.2, 0.25, 0.3])
    planes = {"mean": mean.reshape(3, 1, 1), "std": std.reshape(1, 3, 1, 1)}
    normalize = ("Sub", ["mean"], {}), ("Div", ["std"], {})
    unit, full = ("Div", ["full"], {}), {"full": np.float32(255)}
    assert front_of(unit, **full).scaling == Scaling("unit", 0, 255)
    expected = (0.4, 0.5, 0.3), (0.2, 0.25, 0.3)
    assert front_of(*normalize, **planes).scaling == Scaling("standard", 0, 1, *expected)
    network = front_of(unit, *normalize, **full, **planes)
    assert network.scaling == Scaling("standard", 0, 255, *expected)
    assert [type(layer) for layer in network.layers] == [Conv2D]
    rescaled = front_of(
        ("Mul", ["m"], {}), ("Add", ["a"], {}), m=np.float32(1 / 127.5), a=np.float32([-1])
    )
    assert rescaled.scaling == Scaling("standard", 0, 255, (0.5,) * 3, (0.5,) * 3)
    turned = {"perm": [0, 3, 1, 2]}
    network = front_of(
        *normalize, ("Transpose", [], turned), shape=("n", 4, 5, 3), mean=mean, std=std
    )
    assert network.scaling == Scaling("standard", 0, 1, *expected)


def test_what_is_done_to_rows_in_front_becomes_a_layer():
    """As scikit-learn's scalers do it."""
    scaler = {"offset": [0.5, -1, 2], "scale": [2.0, 3, 0.25], "domain": "ai.onnx.ml"}
    nodes = chain(("Scaler", [], scaler), ("MatMul", ["w"], {}))
    model = model_of(nodes[1:], ("n", 3), w=random(3, 2))
    model.graph.node.insert(0, nodes[0])
    model.graph.node[1].input[0] = "v0"
    model.opset_import.append(helper.make_opsetid("ai.onnx.ml", 1))
    network = import_model(model, kernels="numpy")
    rows = random(5, 3)
    expected = (rows - [0.5, -1, 2]) * [2, 3, 0.25] @ random(3, 2)
    np.testing.assert_allclose(network.forward(rows)[0], expected, rtol=1e-5, atol=1e-6)
    assert [type(layer) for layer in network.layers] == [BatchNorm, Dense]


@pytest.mark.parametrize(
    ("constant", "words"),
    [
        (random(4, 1), "its images are not scaled by a positive number for each channel"),
        (np.float32(-1), "its images are not scaled by a positive number for each channel"),
        (random(3, 4, 1), "(3, 4, 1) numbers for (3, 4, 5); expected one for each channel"),
        (np.float32([0, 1, 1]).reshape(3, 1, 1), "not scaled by a positive number"),
    ],
    ids=["rows", "negative", "two axes", "zero"],
)
def test_other_arithmetic_in_front_is_refused(constant, words):
    refused(model_of(chain(("Mul", ["c"], {})), ("n", 3, 4, 5), c=constant), words)


def test_a_border_goes_to_the_window_behind_it():
    pads = np.array([0, 0, 1, 0, 0, 0, 0, 2])
    pooled = {"kernel_shape": [2, 3]}
    low = np.float32(-np.inf)
    images = random(2, 2, 5, 6)
    for pads_of, further in (("Conv", ["w"]), ("AveragePool", []), ("MaxPool", [])):
        value = ["low"] if pads_of == "MaxPool" else []
        nodes = chain(("Pad", ["pads", *value], {}), (pads_of, further, pooled))
        constants = {"pads": pads, "low": low, "w": random(3, 2, 2, 3)}
        reads_as_onnx_runs(model_of(nodes, **constants), images)
    edge = {"mode": "edge"}
    nodes = chain(("Pad", ["pads"], edge), ("MaxPool", [], pooled))
    reads_as_onnx_runs(model_of(nodes, pads=pads), images)
    nodes = chain(("Pad", ["pads"], edge), ("AveragePool", [], pooled))
    refused(model_of(nodes, pads=pads), "AveragePool 'v1': it gets a border of its edge repeated")
    between = chain(("Pad", ["pads"], {}), ("Sigmoid", [], {}), ("Conv", ["w"], {}))
    refused(model_of(between, pads=pads, w=random(3, 2, 2, 3)), "Sigmoid 'v1': it gets a border")
    wrong = chain(("Pad", ["pads"], {}), ("MaxPool", [], pooled))
    refused(model_of(wrong, pads=pads), "MaxPool 'v1': it gets a border of 0; pad in the layer")


def test_a_mean_over_height_and_width_is_a_pool():
    for axes, keep in (([2, 3], 0), ([-1, -2], 1), ([3, 2], 0)):
        squeeze = [("Squeeze", ["three"], {}), ("Squeeze", ["two"], {})] if keep else []
        nodes = chain(("ReduceMean", ["axes"], {"keepdims": keep}), *squeeze, ("MatMul", ["w"], {}))
        constants = {"axes": np.array(axes), "w": random(2, 3)}
        constants |= {"three": np.array([3]), "two": np.array([2])}
        model = model_of(nodes, opset=18, **constants)
        network = reads_as_onnx_runs(model, random(2, 2, 5, 6))
        assert [type(layer) for layer in network.layers] == [GlobalAvgPool2D, Dense]
    nodes = chain(("Relu", [], {}), ("ReduceMean", [], {"axes": [1]}))
    refused(model_of(nodes), "ReduceMean 'v1': it is over the axes [1]; expected height and width")


def test_weights_are_computed_from_constants():
    """Reshaped, cast, scaled; each step is charged before it is made."""
    nodes = [
        helper.make_node("Cast", ["v"], ["w0"], to=TensorProto.FLOAT),
        helper.make_node("Reshape", ["w0", "to"], ["w1"]),
        helper.make_node("Sqrt", ["var"], ["s"]),
        helper.make_node("Div", ["w1", "s"], ["w2"]),
        helper.make_node("Flatten", ["x"], ["rows"]),
        helper.make_node("MatMul", ["rows", "w2"], ["y"]),
    ]
    constants = {"v": random(2, 30, 3).astype(np.float64), "to": np.array([-1, 3])}
    model = model_of(nodes, var=random(3) ** 2, **constants)
    reads_as_onnx_runs(model, random(2, 2, 5, 6))
    big = random(1024, 1024)
    many = [helper.make_node("Mul", ["w", "w"], [f"m{k}"]) for k in range(100)]
    many.append(helper.make_node("MatMul", ["x", "m99"], ["y"]))
    _, taken = peak(
        lambda: refused(model_of(many, ("n", 1024), w=big), "its output would take memory to")
    )
    assert taken < 300 * MEGABYTE


def test_constants_that_grow_by_broadcasting_are_charged():
    """Two vectors of 8 kB whose sum takes 8 TB."""
    nodes = [
        helper.make_node("Reshape", ["v", "column"], ["u"]),
        helper.make_node("Add", ["u", "v"], ["m"]),
        helper.make_node("MatMul", ["x", "m"], ["y"]),
    ]
    model = model_of(nodes, ("n", 10_000), v=random(10_000), column=np.array([-1, 1]))
    _, taken = peak(lambda: refused(model, "Add 'm': its output would take memory to"))
    assert taken < 10 * MEGABYTE


def test_shapes_may_be_computed_but_not_from_the_number_of_samples():
    def model(operator):
        nodes = [
            helper.make_node("Shape", ["x"], ["all"]),
            helper.make_node("Slice", ["all", "one", "four"], ["sizes"]),
            helper.make_node("Slice", ["all", "zero", "one"], ["samples"]),
            helper.make_node("Cast", ["samples"], ["small"], to=TensorProto.INT32),
            helper.make_node(operator, ["samples", "four"], ["other"]),
            helper.make_node("Concat", ["small", "sixty"], ["to"], axis=0),
            helper.make_node("Cast", ["to"], ["large"], to=TensorProto.INT64),
            helper.make_node("Concat", ["other", "sixty"], ["to_other"], axis=0),
            helper.make_node("Reshape", ["x", "to_other" if operator != "Add" else "large"], ["y"]),
        ]
        numbers = {"zero": 0, "one": 1, "four": 4, "sixty": 60}
        return model_of(nodes, **{name: np.array([n]) for name, n in numbers.items()})

    assert import_model(model("Add")).output_shape == (60,)
    refused(model("Mul"), "Reshape 'y': it computes with the number of samples")


def test_a_last_log_softmax():
    model = model_of(
        chain(("Flatten", [], {}), ("MatMul", ["w"], {}), ("LogSoftmax", [], {"axis": 1})),
        w=random(60, 3),
    )
    images = random(4, 2, 5, 6)
    network = reads_as_onnx_runs(model, images)
    assert network.loss.word == "mse"
    np.testing.assert_allclose(network.predict_proba(images), np.exp(network.scores(images)), 1e-5)
    further = import_model(model, kernels="numpy", loss="cross_entropy")
    np.testing.assert_allclose(further.scores(images), network.predict_proba(images), 1e-5)


def test_numbers_that_are_kept_between_two_ends():
    images = random(2, 2, 5, 6) * 9
    for given, constants in (
        (["zero", "six"], {}), (["zero"], {}), ([], {"min": 0.0, "max": 6.0})
    ):  # fmt: skip
        model = model_of(
            chain(("Conv", ["w"], {}), ("Clip", given, constants)), opset=6 if constants else 17,
            w=random(2, 2, 1, 1), zero=np.float32(0), six=np.float32(6),
        )  # fmt: skip
        network = reads_as_onnx_runs(model, images)
        assert network.layers[0].activation.word == ("relu" if given == ["zero"] else "relu6")
    refused(model_of(chain(("Clip", ["c"], {})), c=np.float32(1)), "from 1 to inf; expected 0 to 6")


def test_a_cast_that_rounds_is_refused():
    import_model(model_of(chain(("Cast", [], {"to": TensorProto.FLOAT}), ("Relu", [], {}))))
    model = model_of(chain(("Cast", [], {"to": TensorProto.FLOAT16})))
    refused(model, "Cast 'v0': it makes FLOAT16 of the images; expected FLOAT or DOUBLE")


def test_a_negative_variance_is_refused():
    """As in a safetensors file."""
    constants = {name: np.float32([1, 1]) for name in ("scale", "shift", "mean", "variance")}
    constants["variance"][1] = -0.5
    model = model_of(chain(("BatchNormalization", list(constants), {})), **constants)
    refused(model, "its variance 'variance' is negative")


def test_a_classifier_gives_its_scores():
    """As skl2onnx writes it: labels and scores, of two classes from one sigmoid."""
    made = helper.make_node
    nodes = [
        made("MatMul", ["x", "w"], ["z"]), made("Sigmoid", ["z"], ["p"]),
        made("Sub", ["one", "p"], ["q"]), made("Concat", ["q", "p"], ["both"], axis=1),
        made("ArgMax", ["both"], ["place"], axis=1),
        made("ArrayFeatureExtractor", ["classes", "place"], ["names"], domain="ai.onnx.ml"),
        made("Cast", ["names"], ["label"], to=TensorProto.INT64),
    ]  # fmt: skip
    constants = {"w": random(4, 1), "one": np.float32(1), "classes": np.array([3, 7])}
    model = model_of(nodes[:5], ("n", 4), **constants)
    model.opset_import.append(helper.make_opsetid("ai.onnx.ml", 1))
    model.graph.node.extend(nodes[5:])
    model.graph.output[0].name = "label"
    scores = helper.make_tensor_value_info("both", TensorProto.FLOAT, ("n", 2))
    model.graph.output.append(scores)
    model.graph.output[0].type.tensor_type.elem_type = TensorProto.INT64
    rows = random(5, 4)
    expected = 1 / (1 + np.exp(-rows @ constants["w"]))
    network = import_model(model, kernels="numpy")
    found = np.exp(network.forward(rows)[0])
    found /= found.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(found, np.hstack([1 - expected, expected]), rtol=1e-5)
    assert network.output_shape == (2,)
    del model.graph.output[1]
    refused(model, "ArgMax 'place': this operator is not supported")


def test_further_outputs_are_refused_where_they_are_used():
    nodes = [
        helper.make_node("Dropout", ["x"], ["a", "mask"]),
        helper.make_node("Relu", ["mask"], ["b"]),
        helper.make_node("Tanh", ["a"], ["y"]),
    ]
    refused(model_of(nodes), "Dropout 'a': its further output 'mask' is used; only the first one")
    del nodes[1]
    model = model_of(nodes)
    assert len(import_model(model).layers) == 2
    model.graph.output.append(
        helper.make_tensor_value_info("mask", TensorProto.BOOL, ("n", 2, 5, 6))
    )
    refused(model, "2 outputs", "its further output 'mask' is used")


def test_a_huge_image_is_refused_without_a_layer():
    model = model_of(chain(("Identity", [], {})), ("n", 2**20, 2**10, 2**10))
    refused(model, "an image becomes (1048576, 1024, 1024)")


def test_a_layer_is_not_called_after_a_shape():
    nodes = chain(("Reshape", ["to.weight"], {"name": "rows"}), ("MatMul", ["fc.weight"], {}))
    model = model_of(nodes, **{"to.weight": np.array([-1, 60]), "fc.weight": random(60, 3)})
    assert [layer.name for layer in import_model(model).layers] == ["rows", "fc"]


def test_a_shortcut_keeps_its_weights_and_the_layers_their_names():
    nodes = [
        helper.make_node("Conv", ["x", "block.conv.weight"], ["a"], pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["a"], ["b"]),
        helper.make_node("Conv", ["x", "block.side.weight"], ["c"]),
        helper.make_node("Add", ["b", "c"], ["d"], name="block"),
        helper.make_node("Relu", ["d"], ["y"]),
    ]
    weights = {
        "block.conv.weight": random(3, 2, 3, 3),
        "block.side.weight": random(3, 2, 1, 1, seed=1),
    }
    network = reads_as_onnx_runs(model_of(nodes, **weights), random(2, 2, 5, 6))
    (block,) = network.layers
    assert (type(block), block.name, block.activation.word) == (Residual, "block", "relu")
    assert list(block.parameters) == ["conv.weight", "shortcut.weight"]
    assert (block.parameters["shortcut.weight"] == weights["block.side.weight"]).all()
