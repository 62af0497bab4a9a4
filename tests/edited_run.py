"""Edit the real source of a class in many ways, train each time, and print what came of it.

    python edited_run.py Filters numpy compiled     # a module, backends; a line of JSON an edit

A program for test_edits.py: edits need modules that are imported anew, hence other processes.
Every edit is made in the syntax tree of the real file, written to a file of its own, and imported
in that file's place; nothing in the checkout is touched.
"""

from __future__ import annotations

import ast
import hashlib
import importlib
import importlib.util
import json
import sys
import tempfile
import warnings
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

# What an edit does to the first array that a method returns (`edited` is called on every return),
# or, in place, to the first array that it is given.
HELPERS = """

import sys as _sys
import numpy as _np


def _changed(result, change):
    if isinstance(result, tuple) and result[0] is None:  # nobody wants dx: the gradients then
        return None, {name: _changed(own, change) for name, own in result[1].items()}
    if isinstance(result, tuple):
        return _changed(result[0], change), *result[1:]
    return change(result).astype(result.dtype)


def _factor(self, result):
    return _changed(result, lambda y: y * 1.1)


def _statistic(self, result):
    return _changed(result, lambda y: y + 0.2 * _np.abs(y).mean())


def _state(self, result):
    self.calls = getattr(self, "calls", 0) + 1
    return _changed(result, lambda y: y * (1 + 0.02 * self.calls))


def _branch(self, result):
    return _changed(result, lambda y: y * (1.2 if y.mean() > 0.02 else 0.8))


def _printed(self, result):
    print("seen", type(self).__name__, file=_sys.stderr)
    return _changed(result, lambda y: y * 1.3)
"""
KINDS = ("factor", "statistic", "state", "branch", "printed", "in_place")
# An optimizer returns nothing: these come first in its update, and w is the weights.
UPDATES = {
    "factor": "w *= w.dtype.type(0.99)",
    "statistic": "w += w.dtype.type(0.02) * abs(w).mean()",
    "state": "self.calls = getattr(self, 'calls', 0) + 1; w *= w.dtype.type(1 - 0.01 * self.calls)",
    "branch": "w *= w.dtype.type(0.98 if abs(g).max() > 0.02 else 0.99)",
    "printed": "print('seen', file=__import__('sys').stderr); w *= w.dtype.type(0.995)",
    "in_place": "g += g.dtype.type(0.1) * w",
}
LAYER, PROGRAM = ("forward", "backward"), ("forward_program", "backward_program")
FUNCTION = ("apply", "gradient")
TARGETS = {
    "Filters": {
        "Conv2D": LAYER, "MaxPool2D": LAYER, "AvgPool2D": LAYER,
    },
    "glassbox.engine.blocks": {"Residual": PROGRAM},
    "MLP": {"Dense": LAYER},
    "glassbox.engine.synced": {"BatchNorm": PROGRAM},
    "glassbox.engine.layer": {
        "Activation": LAYER, "LeakyReLU": FUNCTION, "Sigmoid": FUNCTION,
    },
    "glassbox.engine.more_layers": {
        "GlobalAvgPool2D": LAYER, "Dropout": LAYER, "Flatten": LAYER, "Tanh": FUNCTION,
        "Identity": FUNCTION, "LogSoftmax": FUNCTION, "ReLU6": FUNCTION, "Softmax": FUNCTION,
    },
    "glassbox.engine.losses": {"Loss": ("targets",), "MSE": LAYER, "CrossEntropy": LAYER},
    "glassbox.engine.optimizers": {name: ("update",) for name in ("SGD", "Adam")},
    "glassbox.engine.more_optimizers": {name: ("update",) for name in ("RMSprop", "Adadelta")},
}  # fmt: skip
# Modules that hold compiled code, and those that it holds on to: they stay as they are.
OURS = ("CNN", "Datasets", "Filters", "MLP", "glassbox")
PACKAGES = ("glassbox", "glassbox.engine", "glassbox.engine.capture")
KEPT = (
    "glassbox.kernels",
    "glassbox.kernels.recorder",
    "glassbox.kernels.shapes",
    "glassbox.errors",
)


class Edit(ast.NodeTransformer):
    """Puts every `return value` of a method through a helper, or a statement before its body."""

    def __init__(self, owner, method, kind):
        self.owner, self.method, self.kind, self.done = owner, method, kind, 0

    def visit_ClassDef(self, node):
        if node.name == self.owner:
            for function in node.body:
                if isinstance(function, ast.FunctionDef) and function.name == self.method:
                    self.change(function)
        return node

    def change(self, function):
        self.done += 1
        first = 1 if ast.get_docstring(function) else 0
        given = function.args.args[1].arg
        if function.name == "update":
            function.body[first:first] = ast.parse(UPDATES[self.kind]).body
        elif self.kind == "in_place":
            function.body[first:first] = ast.parse(f"{given} *= {given}.dtype.type(0.9)").body
        else:
            for node in ast.walk(function):
                if isinstance(node, ast.Return):
                    helper = ast.parse(f"_{self.kind}(self, 0)").body[0].value
                    helper.args[1] = node.value
                    node.value = helper


def reset_state():
    """Forget the project's modules, so that they are imported anew."""
    for name in list(sys.modules):
        if name.split(".")[0] not in OURS or name.startswith(KEPT) or name in PACKAGES:
            continue
        del sys.modules[name]
        parent, _, child = name.rpartition(".")
        if parent in sys.modules and hasattr(sys.modules[parent], child):
            delattr(sys.modules[parent], child)


def put_in_place(module, source, folder):
    """Import `source` as the module of that name."""
    path = Path(folder) / f"{hashlib.sha256(source.encode()).hexdigest()[:12]}.py"
    path.write_text(source, "utf-8")
    spec = importlib.util.spec_from_file_location(module, path)
    made = importlib.util.module_from_spec(spec)
    sys.modules[module] = made
    spec.loader.exec_module(made)
    parent, _, child = module.rpartition(".")
    if parent:
        setattr(importlib.import_module(parent), child, made)


def networks(backend, eager):
    """Small networks that together hold every layer, activation, loss and most optimizers."""
    from CNN import CNN
    from Filters import AvgPool2D, Conv2D, GlobalAvgPool2D, MaxPool2D, Residual
    from MLP import (
        SGD,
        Adadelta,
        Adam,
        BatchNorm,
        Dense,
        Dropout,
        Flatten,
        Identity,
        LeakyReLU,
        RMSprop,
        Softmax,
    )  # fmt: skip

    common = {"kernels": backend, "eager": eager, "threads": 1, "seed": 3}
    yield CNN(
        Conv2D(4), MaxPool2D(2), Conv2D(3, activation="tanh"), AvgPool2D(2), Dropout(0.2),
        Dense(12, optimizer=RMSprop(0.01, epsilon=1e-2)), Dense(10),
        optimizer=Adam(0.01, epsilon=1e-3), **common,
    )  # fmt: skip
    yield CNN(
        Conv2D(4, activation="relu"), BatchNorm(), Residual(Residual(Conv2D(4), BatchNorm())),
        GlobalAvgPool2D(),
        Dense(12, "leaky_relu"), Dense(10, "softmax", optimizer=Adadelta()),
        loss="cross_entropy", optimizer=SGD(0.05, momentum=0.9), **common,
    )  # fmt: skip
    yield CNN(
        Conv2D(3, 5, activation="relu6"), Flatten(), Dense(12, None), LeakyReLU(0.2), Identity(),
        Dense(12, "softmax"), Dense(12, "log_softmax"),
        Dense(10, None), Softmax(), optimizer=SGD(2.0), **common,
    )  # fmt: skip


def trained(backend, eager):
    """(losses, weights and outputs of all networks after some steps, the texts of the warnings)."""
    images = np.random.default_rng(0).random((48, 1, 8, 8), np.float32)
    labels = np.arange(48) % 10
    weights = []
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for network in networks(backend, eager):
            for step in range(6):
                where = np.arange(12) + 7 * step % 36
                where = where if step != 3 else where[:5]
                weights.append(np.array(network.train_step((images, labels), where)))
            weights.append(network.parameters.values.astype(np.float64))
            weights.append(network.scores(images[:3]).astype(np.float64).ravel())
    return np.concatenate(weights), [str(warning.message) for warning in caught]


def difference(a, b):
    """The largest difference, relative to the largest number."""
    return float(np.abs(a - b).max() / np.abs(b).max())


def main(module, backends):
    source = (ROOT / f"{module.replace('.', '/')}.py").read_text("utf-8")
    reset_state()
    plain = {backend: trained(backend, True)[0] for backend in backends}
    with tempfile.TemporaryDirectory() as folder:
        # modules are imported for every edit: the untouched ones are compiled once, whatever is set
        sys.dont_write_bytecode, sys.pycache_prefix = False, folder
        for owner, methods in TARGETS[module].items():
            for method in methods:
                for kind in KINDS:
                    if kind == "in_place" and owner == "CrossEntropy" and method == "backward":
                        continue  # it is handed a pair
                    if kind == "in_place" and method == "targets":
                        continue  # and this one whole numbers
                    edit = Edit(owner, method, kind)
                    tree = ast.parse(source)
                    for node in tree.body:
                        edit.visit(node)
                    assert edit.done == 1, (owner, method)
                    text = ast.unparse(ast.fix_missing_locations(tree)) + HELPERS
                    for backend in backends:
                        reset_state()
                        put_in_place(module, text, folder)
                        fast, said = trained(backend, False)
                        slow, _ = trained(backend, True)
                        print(json.dumps({
                            "edit": f"{owner}.{method} {kind}", "backend": backend,
                            "from_eager": difference(fast, slow),
                            "from_plain": difference(fast, plain[backend]), "warnings": said,
                        }), flush=True)  # fmt: skip


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2:])
