"""Glassbox: a convolutional network framework in NumPy that you can see through.

    from glassbox import CNN, Adam, Conv2D, Dense, Digits, MaxPool2D

Every public name of CNN.py, Filters.py, MLP.py and Datasets.py can be imported from here; the
modules themselves are loaded when a name is first asked for.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

from glassbox._version import __version__

PUBLIC = {
    "CNN": ("CNN", "Evaluation"),
    "Filters": ("AvgPool2D", "Conv2D", "GlobalAvgPool2D", "MaxPool2D", "Residual"),
    "MLP": (
        "SGD", "Activation", "Adadelta", "Adam", "AdamW", "BatchNorm", "Constant", "Cosine",
        "Dense", "Dropout", "Exponential", "Flatten", "Identity", "InverseTime", "LeakyReLU",
        "OneCycle", "RMSprop", "ReLU", "Sigmoid", "Softmax", "StepDecay", "Tanh", "WarmUp",
    ),
    "Datasets": (
        "Augmentation", "Dataset", "DataUnavailable", "Digits", "FashionMNIST", "MNIST",
        "Scaling", "Splits", "digit_steps", "from_arrays", "from_csv", "from_folder", "from_idx",
        "from_npz", "load", "prepare_digits",
    ),
}  # fmt: skip
_MODULES = {name: module for module, names in PUBLIC.items() for name in names}

__all__ = ["__version__", *_MODULES]


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return getattr(import_module(_MODULES[name]), name)
    for module in map(import_module, () if name.startswith("__") else ("Filters", "MLP")):
        if name in module.__all__:  # added there since
            return getattr(module, name)
    from glassbox.spelling import missing_name

    raise missing_name("glassbox", name)


def __dir__() -> list[str]:
    return sorted(__all__)
