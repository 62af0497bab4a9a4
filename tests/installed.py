"""The backends of the kernels that can be had here: without Numba there are no compiled ones."""

from importlib.util import find_spec

import glassbox.kernels

BACKENDS = [name for name in glassbox.kernels.BACKENDS if name != "compiled" or find_spec("numba")]
