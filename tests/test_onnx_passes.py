"""The three passes that read an ONNX file: what each refuses, and how much memory they take."""

import tracemalloc

import numpy as np
import pytest
from onnx import TensorProto
from test_onnx_bridge import chain, model_of, random, reads_as_onnx_runs, refused

from bridges.onnx import import_model
from bridges.onnx_decode import Budget, decode

MEGABYTE = 10**6


def decoded(model):
    return decode(model, Budget(model.ByteSize()))


def peak(call):
    """The most memory, in bytes, that was in use during a call, and what it returned."""
    tracemalloc.start()
    try:
        return call(), tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


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


# --- the table -------------------------------------------------------------------------------


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
