"""Whole model files that ask for too much are refused early: bounds on memory and on time hold.

The short form tries some, `make trust` 2,400 of each kind.  See hostile.py, hostile_models.py and
hostile_onnx.py.
"""

import sys

import hostile
import pytest

from CNN import CNN
from Filters import AvgPool2D
from glassbox.engine.budget import AllocationBudget
from glassbox.files import arrays_file, model_file
from glassbox.files.config import to_config
from MLP import Dense

FORKS = pytest.mark.skipif(sys.platform != "linux", reason="memory is measured as Linux does")


@FORKS
@pytest.mark.slow
def test_hostile_models_are_refused_within_bounds(trust):
    cases = trust.cases(99, 2400)
    found = hostile.found("hostile_models", cases)
    assert min(found["accepted"], found["refused"]) > cases / 20
    near = AllocationBudget.ALLOWANCE / trust.cases(4, 2)
    assert found["peak"] > near, "nothing came near the bound"
    trust.record("hostile_models", **told(found))


@FORKS
@pytest.mark.slow
def test_hostile_onnx_files_are_refused_within_bounds(trust):
    pytest.importorskip("onnx")
    cases = trust.cases(60, 2400)
    found = hostile.found("hostile_onnx", cases)
    assert min(found["accepted"], found["refused"]) > cases / 20
    trust.record("hostile_onnx", **told(found))


def told(found):
    """Figures for results/trust.json."""
    megabytes = {"peak_megabytes": round(found.pop("peak") / 1e6, 1)}
    return {"cases": found["accepted"] + found["refused"], **found, **megabytes,
            "seconds_each": hostile.SECONDS}  # fmt: skip


def file_of(layers, shape, dtype="float32", l2=0.0):
    record = model_file.state_of(CNN(Dense(3)))
    record = record.records["network"] | {
        "layers": [to_config(layer) for layer in layers], "input_shape": shape, "dtype": dtype,
        "l2": l2,
    }  # fmt: skip
    return arrays_file.encode(arrays_file.ModelState({}, {"network": record}))


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("Dense 'd'", file_of([Dense(100_000, name="d")], [1, 1, 150])),
        ("Dense 'd'", file_of([Dense(100_000, name="d")], [1, 1, 75], "float64", 0.1)),
        (
            "AvgPool2D 'p10'",
            file_of([AvgPool2D(1, 1, name=f"p{k}") for k in range(20)], [1, 1, 780_000]),
        ),
    ],
)
def test_parameters_are_counted_in_bytes_with_their_copies_and_so_are_counts(name, data):
    """Files of 600 bytes that took 229 to 549 MB."""
    with pytest.raises(ValueError, match=f"m: {name} asks for an array of"):
        model_file.network_of(arrays_file.decode(data, "m"), "m", CNN.kinds, CNN)


@pytest.mark.parametrize("dtype", [pytest.param("float32", marks=pytest.mark.slow), "float64"])
def test_a_large_honest_network_loads(dtype, tmp_path):
    """The allowance alone does not pay for all copies of 3.6 million numbers."""
    network = CNN(Dense(900), Dense(900), Dense(3), dtype=dtype, l2=0.1).build((4, 28, 28))
    again = CNN.load(network.save(tmp_path / "m.safetensors"))
    assert (again.parameters.values == network.parameters.values).all()
