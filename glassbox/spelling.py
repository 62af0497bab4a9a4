"""Names that people bring from Keras, PyTorch and scikit-learn, answered with those used here."""

from __future__ import annotations

import inspect
from collections.abc import Iterable
from functools import wraps
from typing import Any, cast

# What an argument is called elsewhere -> what it may be called here.
ARGUMENTS = {
    "strides": ("stride",), "kernel_initializer": ("initializer",),
    "initialiser": ("initializer",), "normalise": ("normalize",), "kernel_regularizer": ("l2",),
    "dilation_rate": ("dilation",), "use_bias": ("bias",), "pool_size": ("kernel_size",),
    "size": ("kernel_size",), "kernel": ("kernel_size",), "out_channels": ("filters",),
    "out_features": ("units",), "p": ("rate",), "eps": ("epsilon",), "lr": ("learning_rate",),
    "beta_1": ("betas",), "beta_2": ("betas",), "negative_slope": ("slope",),
    "alpha": ("slope", "rho"), "count_padding": ("count_include_pad",), "criterion": ("loss",),
    "optim": ("optimizer",), "random_state": ("seed",), "n_jobs": ("threads",),
    "validation_data": ("validation",), "verbose": ("progress",), "x": ("train",),
}  # fmt: skip
# What is told of an argument that has no counterpart.
ADVICE = {
    "in_features": "leave it out: the size of the input follows by itself",
    "in_channels": "leave it out: the channels of the input follow by themselves",
    "input_shape": "leave it out: sizes follow from the data, or from network.build(shape)",
    "metrics": "leave it out: loss and accuracy are always measured",
    "epochs": "say it to fit: network.fit(train, epochs=...)",
    "batch_size": "say it to fit: network.fit(train, batch_size=...)",
    "validation_split": "split before: from_arrays(images, labels, sizes=(0.8, 0.2, 0)) has train "
    "and validation parts, and fit takes both",
    "y": "labels go with their images: fit((images, labels))",
}
# What a class or function is called elsewhere -> what to write here.
NAMES = {
    "Conv2d": "Conv2D", "Convolution2D": "Conv2D", "MaxPool2d": "MaxPool2D",
    "MaxPooling2D": "MaxPool2D", "AvgPool2d": "AvgPool2D", "AveragePooling2D": "AvgPool2D",
    "GlobalAveragePooling2D": "GlobalAvgPool2D", "AdaptiveAvgPool2d": "GlobalAvgPool2D",
    "Linear": "Dense", "BatchNorm2d": "BatchNorm", "BatchNorm1d": "BatchNorm",
    "BatchNormalization": "BatchNorm", "Dropout2d": "Dropout", "LeakyRelu": "LeakyReLU",
    "Relu": "ReLU", "RMSProp": "RMSprop", "AdaDelta": "Adadelta", "Sequential": "CNN",
    "Model": "CNN", "MSELoss": 'loss="mse"', "CrossEntropyLoss": 'loss="cross_entropy"',
}  # fmt: skip
LOSSES = {
    "categorical_crossentropy": "cross_entropy", "sparse_categorical_crossentropy": "cross_entropy",
    "crossentropy": "cross_entropy", "cross-entropy": "cross_entropy",
    "mean_squared_error": "mse", "squared_error": "mse",
}  # fmt: skip
METHODS = {
    "compile": "say loss and optimizer to CNN(..., loss='mse', optimizer=Adam(1e-3))",
    "train": "it is called fit, or train_step for a single step",
    "eval": "nothing is to be switched: evaluate and predict never use dropout",
    "score": "it is called evaluate(data).accuracy",
    "state_dict": "save and load keep it, under PyTorch's names; see network.layers[0].parameters",
    "load_state_dict": "it is called load_weights",
    "predict_classes": "it is called predict; predict_proba gives the shares",
    "transform": "it is called activations",
}
# What assigning False to an attribute of a layer means elsewhere; here it would do nothing.
SWITCHES = ("trainable", "requires_grad")


def argument_hint(given: str, known: Iterable[str]) -> str:
    """What to write for an argument that is called otherwise elsewhere; "" where nobody knows.

    >>> argument_hint("strides", ["filters", "stride"])
    'it is called stride here'
    """
    known = list(known)
    for name in ARGUMENTS.get(given, ()):
        if name in known:
            return f"it is called {name} here"
    return ADVICE.get(given, "")


class Spelled(type):
    """The type of classes whose constructor answers arguments that are called otherwise here."""

    @property
    def __signature__(cls) -> inspect.Signature:
        """That of the constructor, which `__call__` would hide."""
        signature = inspect.signature(cast(Any, cls).__init__)
        return signature.replace(parameters=list(signature.parameters.values())[1:])

    def __call__(cls, *arguments: Any, **named: Any) -> Any:
        """Make an instance; TypeError names the argument and its spelling here."""
        if named:
            known = cls.__signature__.parameters
            if not any(each.kind is each.VAR_KEYWORD for each in known.values()):
                refuse_unknown(cls.__name__, named, list(known))
        return super().__call__(*arguments, **named)


def layers_of(given: tuple[Any, ...]) -> tuple[Any, ...]:
    """The layers that a network was given one by one, or as a list."""
    if len(given) == 1 and isinstance(given[0], list | tuple):
        return tuple(given[0])
    return given


def spelled_fit(method: Any) -> Any:
    """Have `fit(images, labels, ...)` mean `fit((images, labels), ...)`; else as `spelled`."""
    answered = spelled(method)

    @wraps(method)
    def paired(network: Any, *given: Any, **named: Any) -> Any:
        if "y" in named and ("x" in named or given):
            given = (named.pop("x"), *given) if "x" in named else given
            given = given[0], named.pop("y"), *given[1:]
        if len(given) > 1 and hasattr(given[0], "__array__"):  # alone it could not be trained on
            given = (given[0], given[1]), *given[2:]
        return answered(network, *given, **named)

    return paired


def spelled(method: Any) -> Any:
    """Have a method answer arguments that are called otherwise here."""
    known = [name for name in inspect.signature(method).parameters if name != "self"]

    @wraps(method)
    def answered(*arguments: Any, **named: Any) -> Any:
        refuse_unknown(method.__name__, named, known)
        return method(*arguments, **named)

    return answered


def refuse_unknown(who: str, named: Iterable[str], known: list[str]) -> None:
    """Raise TypeError where an argument is none of the known ones."""
    for name in named:
        if name not in known:
            hint = argument_hint(name, known) or f"it takes {', '.join(known)}"
            raise TypeError(f"{who} has no argument {name!r}; {hint}")


def unknown_switch(who: str, name: str) -> AttributeError:
    """The error for one of SWITCHES."""
    return AttributeError(
        f"{who} has no {name}; to keep a layer's weights write network.freeze(index or name)"
    )


def missing_name(module: str, name: str) -> AttributeError:
    """The error for a name that a module does not have."""
    ours = NAMES.get(name)
    hint = f"; write {ours} here" if ours else ""
    return AttributeError(f"module {module!r} has no attribute {name!r}{hint}")


def missing_method(who: str, name: str) -> AttributeError:
    """The error for a method that a class does not have."""
    hint = f"; {METHODS[name]}" if name in METHODS else ""
    return AttributeError(f"{who!r} object has no attribute {name!r}{hint}")
