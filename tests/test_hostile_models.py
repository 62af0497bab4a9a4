"""Whole model files that ask for too much are refused early: bounds on memory and on time hold.

The short form tries a hundred, `make trust` 2,400.  See hostile_models.py.
"""

import json
import subprocess
import sys
from pathlib import Path

import hostile_models
import numpy as np
import pytest

from CNN import CNN
from Filters import AvgPool2D
from glassbox.engine.budget import AllocationBudget
from glassbox.files import arrays_file, model_file
from glassbox.files.config import to_config
from MLP import Dense

SCRIPT = Path(__file__).with_name("hostile_models.py")
PART = 600  # cases in a process


def test_hostile_models_are_refused_within_bounds(trust):
    pytest.importorskip("resource")
    cases = trust.cases(99, 2400)
    found = {"accepted": 0, "refused": 0, "peak": 0}
    for first in range(0, cases, PART):
        words = [sys.executable, str(SCRIPT), str(first), str(min(PART, cases - first))]
        done = subprocess.run(words, capture_output=True, text=True, timeout=540)
        last = done.stderr.strip().splitlines()[-1:]
        assert done.returncode == 0, f"ended by {done.returncode} in case {last}"
        part = json.loads(done.stdout)
        assert not part["failures"], "\n".join(part["failures"])
        for verdict in ("accepted", "refused"):
            found[verdict] += part.get(verdict, 0)
        found["peak"] = max(found["peak"], part["peak"])
    assert found["accepted"] + found["refused"] == cases
    assert min(found["accepted"], found["refused"]) > cases / 20
    near = AllocationBudget.ALLOWANCE / trust.cases(4, 2)
    assert found["peak"] > near, "nothing came near the bound"
    trust.record(
        "hostile_models", cases=cases, accepted=found["accepted"], refused=found["refused"],
        seconds_each=hostile_models.SECONDS, peak_megabytes=round(found["peak"] / 1e6, 1),
    )  # fmt: skip


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


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_large_honest_network_loads(dtype, tmp_path):
    """The allowance alone does not pay for all copies of 3.6 million numbers."""
    network = CNN(Dense(900), Dense(900), Dense(3), dtype=dtype, l2=0.1).build((4, 28, 28))
    again = CNN.load(network.save(tmp_path / "m.safetensors"))
    assert (again.parameters.values == network.parameters.values).all()
