"""What several test files share."""

import json
from pathlib import Path

import numpy as np
import pytest

from engine.kernels import DIALECTS, choose

collect_ignore = ["make_pytorch_numbers.py"]  # needs PyTorch, which the tests do without


@pytest.fixture(params=list(DIALECTS))
def kernels(request):
    """Each dialect in turn: every kernel must mean the same in all of them."""
    return choose(request.param)


@pytest.fixture(params=list(DIALECTS))
def dialect(request):
    """The name of each dialect in turn, to build networks with."""
    return request.param


@pytest.fixture(scope="session")
def pytorch():
    """Numbers that PyTorch computed once (make_pytorch_numbers.py), as float64 arrays by name."""
    text = Path(__file__).with_name("pytorch_numbers.json").read_text("utf-8")

    def arrays(value):
        if isinstance(value, dict):
            return {
                key: inner if key == "settings" else arrays(inner) for key, inner in value.items()
            }
        if isinstance(value, list):
            records = value and isinstance(value[0], dict)
            return [arrays(inner) for inner in value] if records else np.array(value, np.float64)
        return value

    return arrays(json.loads(text))
