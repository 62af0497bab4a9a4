"""Keep freed memory for the next step instead of giving it back to the system.

A training step allocates the same arrays again and again.  The C library hands large ones back at
once, and the system must then clear fresh pages for each: measured 9,000 page faults and a tenth
of the time of a step of a wide network, and threads wait for each other in it.
"""

from __future__ import annotations

import ctypes
import sys
from functools import cache

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # <malloc.h> of the GNU C library
KEEP = 2**30  # bytes of free memory at the end of the heap that are not handed back
LARGEST = 2**25  # bytes: the largest threshold that the library takes


@cache
def keep_freed_memory() -> bool:
    """Tell the C library so, once; False where it is not the GNU one, which changes nothing else.

    Examples
    --------
    >>> keep_freed_memory() in (True, False)
    True
    """
    if not sys.platform.startswith("linux"):
        return False
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):
        return False
    return bool(mallopt(M_MMAP_THRESHOLD, LARGEST) and mallopt(M_TRIM_THRESHOLD, KEEP))
