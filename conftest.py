"""Which files pytest leaves out: without Numba, those that are compiled by it."""

from importlib.util import find_spec

collect_ignore_glob = [] if find_spec("numba") else ["*/kernels/compiled/*"]
