"""Kernels: stateless functions of arrays and numbers; a backend is one module of the same names.

The backend is chosen here and nowhere else; a layer calls the module that it was built with.
"""

from __future__ import annotations

from functools import cache
from importlib import import_module
from importlib.util import find_spec
from types import ModuleType

from glassbox.errors import unknown_name

# name -> module; loaded when it is chosen, since Numba takes half a second to import
BACKENDS = {"compiled": "glassbox.kernels.compiled", "numpy": "glassbox.kernels.pure_numpy"}
DEFAULT = "compiled" if find_spec("numba") else "numpy"
VECTOR_VARIABLE = "GLASSBOX_VECTOR_BYTES"  # of the environment: narrower vectors than there are


def backend_name(kernels: ModuleType) -> str:
    """The name that a kernel module was chosen by.

    Examples
    --------
    >>> backend_name(choose("numpy"))
    'numpy'
    """
    return next(name for name, module in BACKENDS.items() if module == kernels.__name__)


@cache
def choose(name: str | None = None) -> ModuleType:
    """The kernel module called `name`; None means the default: compiled where Numba is installed.

    Raises ValueError for another name, ImportError for "compiled" where Numba cannot be imported,
    and RuntimeError where its compiler is turned off.

    Examples
    --------
    >>> choose("numpy").__name__
    'glassbox.kernels.pure_numpy'
    """
    name = DEFAULT if name is None else name
    if name not in BACKENDS:
        raise unknown_name("kernels", name, BACKENDS)
    if name == "compiled":
        _require_numba()
    return import_module(BACKENDS[name])


def _require_numba() -> None:
    """Raise ImportError without Numba, RuntimeError where it is told not to compile."""
    instead = 'or use kernels="numpy" (--kernels numpy)'
    if not find_spec("numba"):
        raise ModuleNotFoundError(
            f'kernels "compiled" needs Numba, which is not installed; pip install numba, {instead}'
        )
    try:
        numba = import_module("numba")
    except Exception as error:  # too new a NumPy, a variable such as NUMBA_NUM_THREADS
        raise ImportError(
            f'kernels "compiled": Numba cannot be imported ({type(error).__name__}: {error}); mend '
            f"that, {instead}"
        ) from error
    if numba.config.DISABLE_JIT:
        raise RuntimeError(
            'kernels "compiled": the variable NUMBA_DISABLE_JIT turns the compiler off; remove it, '
            f"{instead}"
        )
