"""The dialects of the kernels that can be had here: without Numba there are no compiled ones."""

from importlib.util import find_spec

import glassbox.kernels

DIALECTS = [name for name in glassbox.kernels.DIALECTS if name != "compiled" or find_spec("numba")]
