"""Kernels: stateless functions of arrays and numbers; a dialect is one module of the same names.

The dialect is chosen here and nowhere else; a layer calls the module that it was built with.
"""

from __future__ import annotations

from types import ModuleType

from engine.errors import unknown_name
from engine.kernels import pure_numpy

DIALECTS: dict[str, ModuleType] = {"numpy": pure_numpy}
DEFAULT = "numpy"


def choose(name: str | None = None) -> ModuleType:
    """The kernel module called `name`; None means the default.

    >>> choose("numpy").__name__
    'engine.kernels.pure_numpy'
    """
    name = DEFAULT if name is None else name
    if name not in DIALECTS:
        raise unknown_name("kernels", name, DIALECTS)
    return DIALECTS[name]
