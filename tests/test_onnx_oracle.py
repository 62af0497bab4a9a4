"""The official ONNX reference as a second oracle, written by people who never saw our loops."""

import numpy as np
import onnx
import pytest
from onnx import helper
from onnx.reference import ReferenceEvaluator

from Filters import AvgPool2D, Conv2D, GlobalAvgPool2D, MaxPool2D
from glassbox.engine.layer import BuildContext, Context
from glassbox.kernels import choose
from glassbox.kernels.shapes import resolve_window
from MLP import BatchNorm, Dense, LeakyReLU, ReLU, Sigmoid, Softmax, Tanh

OPSET = 22
RANKS = {"Flatten": 2}  # where the output has another rank than the input


def reference(operator, inputs, **attributes):
    """What ONNX says that `operator` makes of the inputs, its first output."""
    names = [f"in{k}" for k in range(len(inputs))]
    kind = helper.np_dtype_to_tensor_dtype(inputs[0].dtype)
    graph = helper.make_graph(
        [helper.make_node(operator, names, ["out"], **attributes)],
        operator,
        [
            helper.make_tensor_value_info(n, kind, a.shape)
            for n, a in zip(names, inputs, strict=True)
        ],
        [helper.make_tensor_value_info("out", kind, [None] * RANKS.get(operator, inputs[0].ndim))],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)])
    onnx.checker.check_model(model)
    return ReferenceEvaluator(model).run(None, dict(zip(names, inputs, strict=True)))[0]


def ours(layer, x, backend, **parameters):
    """The layer's output for images (samples, ...), in inference."""
    context = BuildContext(np.random.default_rng(0), x.dtype, choose(backend))
    promised = layer.build(x.shape[1:], context)
    for name, array in parameters.items():
        (layer.parameters if name in layer.parameters else layer.buffers)[name] = array
    y, _ = layer.forward(np.ascontiguousarray(np.moveaxis(x, 0, -1)), Context(False))
    assert y.shape == (*promised, len(x))
    return np.moveaxis(y, -1, 0)


def random(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape)


def close(found, expected):
    assert found.shape == expected.shape
    np.testing.assert_allclose(found, expected, rtol=1e-10, atol=1e-12)


CONVS = [  # x, filters, then the layer's arguments
    ((2, 3, 7, 6), 4, {"kernel_size": 3, "padding": "valid"}),
    ((1, 2, 6, 8), 3, {"kernel_size": (3, 5), "padding": "same"}),
    ((3, 2, 5, 6), 3, {"kernel_size": (2, 4), "padding": "same"}),  # asymmetric borders
    ((2, 2, 7, 8), 3, {"kernel_size": 3, "padding": "same", "stride": (2, 3)}),
    ((3, 2, 7, 6), 2, {"kernel_size": (3, 2), "padding": (2, 1), "stride": (3, 2)}),
    ((1, 3, 9, 8), 2, {"kernel_size": 3, "padding": "same", "dilation": (2, 3)}),
    ((2, 1, 8, 9), 5, {"kernel_size": (2, 3), "padding": 3, "dilation": 2, "stride": 2}),
    ((5, 4, 3, 4), 2, {"kernel_size": 1}),
    ((2, 2, 5, 6), 3, {"kernel_size": (2, 3), "padding": ((1, 0), (0, 4)), "stride": (2, 1)}),
]


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize(("shape", "filters", "given"), CONVS)
def test_conv(backend, shape, filters, given, bias):
    layer = Conv2D(filters, **given, activation=None, bias=bias)
    x, w, b = random(*shape), random(filters, shape[1], *layer.kernel_size, seed=1), random(filters)
    parameters = {"weight": w, "bias": b} if bias else {"weight": w}
    y = ours(layer, x, backend, **parameters)
    top, bottom, left, right = layer.window.padding
    expected = reference(
        "Conv", [x, *parameters.values()], kernel_shape=layer.kernel_size, strides=layer.stride,
        dilations=layer.dilation, pads=[top, left, bottom, right],
    )  # fmt: skip
    close(y, expected)


@pytest.mark.parametrize("shape", [(2, 3, 7, 6), (1, 2, 5, 8)])
@pytest.mark.parametrize(
    ("kernel", "stride"), [((3, 3), (2, 2)), ((2, 4), (1, 3)), ((1, 3), (1, 1))]
)
def test_same_means_what_onnx_calls_same_upper(backend, shape, kernel, stride):
    """Our "same" against ONNX's own way to find the borders (the odd pixel goes behind)."""
    layer = Conv2D(2, kernel, stride, padding="same", activation=None, bias=False)
    x, w = random(*shape), random(2, shape[1], *kernel, seed=1)
    expected = reference("Conv", [x, w], kernel_shape=kernel, strides=stride, auto_pad="SAME_UPPER")
    close(ours(layer, x, backend, weight=w), expected)


POOLS = [
    ((2, 3, 6, 8), {"kernel_size": 2}),
    ((1, 2, 7, 5), {"kernel_size": 2}),  # a row and a column left over
    ((1, 2, 7, 5), {"kernel_size": 2, "ceil_mode": True}),
    ((3, 2, 7, 8), {"kernel_size": (3, 2), "stride": (2, 3)}),
    ((2, 2, 7, 9), {"kernel_size": (3, 4), "stride": (2, 3), "ceil_mode": True}),
    ((2, 2, 6, 5), {"kernel_size": 3, "stride": 1, "padding": 1}),
    ((2, 2, 7, 6), {"kernel_size": 3, "stride": 2, "padding": (1, 0)}),
    ((1, 2, 6, 6), {"kernel_size": 3, "stride": 2, "padding": 1, "ceil_mode": True}),
    ((1, 2, 5, 5), {"kernel_size": 2, "stride": 2, "padding": 1, "ceil_mode": True}),
    (
        (2, 2, 5, 7),
        {"kernel_size": (3, 2), "stride": 2, "padding": ((0, 2), (1, 0)), "ceil_mode": True},
    ),
]


def pool_attributes(layer, shape):
    """ONNX wants the borders that were asked for, and adds what ceil needs by itself."""
    geometry = (shape[1:], layer.kernel_size, layer.stride, layer.padding)
    asked = resolve_window("pool", *geometry).padding
    top, bottom, left, right = asked
    return {
        "kernel_shape": layer.kernel_size, "strides": layer.stride,
        "pads": [top, left, bottom, right], "ceil_mode": int(layer.ceil_mode),
    }  # fmt: skip


@pytest.mark.parametrize(("shape", "given"), POOLS)
def test_max_pool(backend, shape, given):
    layer, x = MaxPool2D(**given), random(*shape)
    y = ours(layer, x, backend)
    close(y, reference("MaxPool", [x], **pool_attributes(layer, shape)))


@pytest.mark.parametrize("count_include_pad", [True, False])
@pytest.mark.parametrize(("shape", "given"), POOLS)
def test_average_pool(backend, shape, given, count_include_pad):
    layer, x = AvgPool2D(**given, count_include_pad=count_include_pad), random(*shape)
    y = ours(layer, x, backend)
    attributes = pool_attributes(layer, shape)
    close(y, reference("AveragePool", [x], **attributes, count_include_pad=int(count_include_pad)))


def test_global_average_pool(backend):
    x = random(3, 4, 5, 7)
    expected = reference("GlobalAveragePool", [x])
    assert expected.shape == (3, 4, 1, 1)
    close(ours(GlobalAvgPool2D(), x, backend), expected[:, :, 0, 0])


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize(("n", "features", "units"), [(1, 5, 3), (4, 3, 6)])
def test_gemm(backend, n, features, units, bias):
    x, w, b = random(n, features), random(units, features, seed=1), random(units, seed=2)
    parameters = {"weight": w, "bias": b} if bias else {"weight": w}
    y = ours(Dense(units, activation=None, bias=bias), x, backend, **parameters)
    close(y, reference("Gemm", [x, *parameters.values()], transB=1))


def test_dense_flattens_in_the_order_of_onnx(backend):
    """Channel, row, column: so that weights can be exchanged with the rest of the world."""
    x, w = random(2, 3, 4, 5), random(6, 60, seed=1)
    y = ours(Dense(6, activation=None, bias=False), x, backend, weight=w)
    close(y, reference("Gemm", [reference("Flatten", [x], axis=1), w], transB=1))


@pytest.mark.parametrize(
    ("layer", "operator", "attributes"),
    [
        (LeakyReLU(0.01), "LeakyRelu", {"alpha": 0.01}),
        (LeakyReLU(0.3), "LeakyRelu", {"alpha": 0.3}),
        (ReLU(), "Relu", {}),
        (Sigmoid(), "Sigmoid", {}),
        (Tanh(), "Tanh", {}),
        (Softmax(), "Softmax", {"axis": 1}),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
@pytest.mark.parametrize("shape", [(3, 5), (2, 4, 3, 5)])
def test_activations(backend, layer, operator, attributes, shape):
    x = 3 * random(*shape)
    # ONNX keeps alpha in float32, so 0.3 is not quite ours
    found, expected = ours(layer, x, backend), reference(operator, [x], **attributes)
    np.testing.assert_allclose(found, expected, rtol=1e-7 if attributes else 1e-10, atol=1e-12)


@pytest.mark.parametrize("shape", [(3, 4, 2, 5), (3, 4)])
def test_batch_norm_in_use(backend, shape):
    x, scale, shift, mean = random(*shape), *(random(4, seed=k) for k in (1, 2, 3))
    variance = random(4, seed=4) ** 2 + 0.1
    epsilon = 2.0**-7  # exact in ONNX's float32 attribute
    y = ours(
        BatchNorm(epsilon=epsilon), x, backend, weight=scale, bias=shift,
        running_mean=mean, running_var=variance,
    )  # fmt: skip
    expected = reference("BatchNormalization", [x, scale, shift, mean, variance], epsilon=epsilon)
    close(y, expected)
