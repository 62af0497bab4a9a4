"""Which code is as it was shipped: only such code is recorded or fused.

`shipped.json` holds a hash of every layer, activation and loss, of the eager step, and of what
scales images, over their syntax trees without comments and docstrings.  A test keeps it current:

    python -m glassbox.engine.capture.shipped    # after a change that is meant to be shipped
"""

from __future__ import annotations

import ast
import hashlib
import inspect
import json
import os
import sys
from functools import cache
from os.path import basename
from pathlib import Path
from types import FunctionType, ModuleType
from typing import Any

MODULES = (
    "Filters", "MLP", "glassbox.engine.blocks", "glassbox.engine.layer", "glassbox.engine.synced",
    "glassbox.engine.losses", "glassbox.engine.optimizers", "glassbox.engine.more_optimizers",
    "glassbox.engine.edits", "glassbox.engine.copies", "glassbox.engine.more_layers",
    "glassbox.engine.step",
    "glassbox.data.dataset",
)  # fmt: skip
MANIFEST = Path(__file__).with_name("shipped.json")
ROOT = Path(__file__).resolve().parents[3]
REST = ""  # what stands in a module outside its classes
UNIMPORTANT = ("kind", "type_comment", "type_params", "ctx")


def edited(kind: type) -> str:
    """Why the code of a class is not what was shipped; "" if it is.

    Its bases count, the functions of their modules, and what was assigned to the class at runtime.
    """
    for part in kind.__mro__[:-1]:
        known = _known(part.__module__)
        if part.__qualname__ not in known:
            return f"{part.__name__} is not a class of this library"
        module = sys.modules[part.__module__]
        code, functions = _code(module.__name__, _stamp(module))
        if code.get(part.__qualname__) != known[part.__qualname__]:
            return f"the source of {part.__name__} was edited"
        if code.get(REST) != known[REST]:
            return f"the functions of {module.__name__} were edited"
        for name, value in vars(part).items():
            if not _as_written(part, name, value, functions.get(f"{part.__qualname__}.{name}")):
                return f"{part.__name__}.{name} was replaced"
    return ""


def edited_module(name: str) -> str:
    """Why the functions of a module are not what was shipped; "" if they are."""
    module = sys.modules[name]
    code, lines = _code(name, _stamp(module))
    if code != _known(name):
        return f"{name} was edited"
    for function, line in lines.items():
        owner, _, method = function.rpartition(".")
        found = vars(getattr(module, owner) if owner else module).get(method)
        found = getattr(found, "fget", found)
        if not _stands_at(found, module, line):
            return f"{name}.{function} was replaced"
    return ""


def replaced(thing: Any) -> str:
    """Which method was replaced on the object itself, such as "forward"; "" if none was."""
    return next((name for name in vars(thing) if callable(getattr(type(thing), name, None))), "")


def _as_written(part: type, name: str, value: Any, line: int | None) -> bool:
    """Whether an attribute of a class is the function that stands in its source."""
    if isinstance(value, property):
        value = value.fget
    elif isinstance(value, staticmethod | classmethod):
        value = value.__func__
    if not isinstance(value, FunctionType):
        return line is None  # in the source it is a function
    if name.startswith("__") and line is None:
        return True  # made by @dataclass
    return _stands_at(value, sys.modules[part.__module__], line)


def _stands_at(function: Any, module: ModuleType, line: int | None) -> bool:
    """Whether a function begins in that line of a module's file."""
    code = getattr(inspect.unwrap(function), "__code__", None)
    if code is None or code.co_firstlineno != line:
        return False
    return basename(code.co_filename) == basename(str(module.__file__))


def _stamp(module: ModuleType) -> tuple[str, int]:
    path = str(module.__file__)
    try:
        return path, os.stat(path).st_mtime_ns
    except OSError:
        return path, 0


@cache
def _code(module: str, stamp: tuple[str, int]) -> tuple[dict[str, str], dict[str, int]]:
    """Hashes of a module's classes and of the rest; the line where each function begins."""
    try:
        source = Path(stamp[0]).read_bytes()
        tree = ast.parse(source)
    except (OSError, SyntaxError, ValueError):
        return {}, {}
    lines = {}
    for node in tree.body:
        inside = node.body if isinstance(node, ast.ClassDef) else [node]
        owner = f"{node.name}." if isinstance(node, ast.ClassDef) else ""
        for function in inside:
            if isinstance(function, ast.FunctionDef):
                first = min([function.lineno, *(d.lineno for d in function.decorator_list)])
                lines[owner + function.name] = first
    if hashlib.sha256(source).hexdigest() == _manifest().get(f"{module} file"):
        return _known(module), lines  # not one byte differs: no need to look closer
    return hashes(tree), lines


def hashes(tree: ast.Module) -> dict[str, str]:
    """A hash of each class of a module and, under "", of everything else in it."""
    found, rest = {}, []
    for node in _without_docstring(tree.body):
        if isinstance(node, ast.ClassDef):
            found[node.name] = _hash(_plain(node))
        else:
            rest.append(_plain(node))
    return {**found, REST: _hash(rest)}


def _hash(plain: Any) -> str:
    return hashlib.sha256(repr(plain).encode()).hexdigest()[:16]


def _plain(node: Any) -> Any:
    """A syntax tree as nested tuples, the same for every version of Python."""
    if isinstance(node, ast.Constant):
        return ("Constant", repr(node.value))
    if isinstance(node, list):
        return [_plain(item) for item in _without_docstring(node)]
    if not isinstance(node, ast.AST):
        return repr(node)
    fields = [
        (name, _plain(value))
        for name, value in ast.iter_fields(node)
        if name not in UNIMPORTANT and value not in (None, [])
    ]
    return (type(node).__name__, fields)


def _without_docstring(body: list[Any]) -> list[Any]:
    first = body[0] if body else None
    text = isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant)
    return body[1:] if text else body


@cache
def _manifest() -> dict[str, Any]:
    found: dict[str, Any] = json.loads(MANIFEST.read_text("utf-8"))
    return found


def _known(module: str) -> dict[str, str]:
    found: dict[str, str] = _manifest().get(module, {})
    return found


def current() -> dict[str, Any]:
    """What shipped.json must hold for the sources as they are."""
    found: dict[str, Any] = {}
    for module in MODULES:
        source = (ROOT / f"{module.replace('.', '/')}.py").read_bytes()
        found[module] = hashes(ast.parse(source))
        found[f"{module} file"] = hashlib.sha256(source).hexdigest()
    return found


if __name__ == "__main__":
    MANIFEST.write_text(json.dumps(current(), indent=1, sort_keys=True) + "\n", "utf-8")
