"""What follows from the processor: the width of its vectors, and blocks that fit its registers.

| instructions | registers | bytes in each |
| --- | --- | --- |
| AVX-512 | 32 | 64 |
| AVX, AVX2 | 16 | 32 |
| SSE | 16 | 16 |
| NEON | 32 | 16 |

A block that does not fit its registers is kept in the first cache, and takes twice as long.  The
variable GLASSBOX_VECTOR_BYTES asks for narrower vectors than the processor has: the code is then
that of an older one, to the bit, with its blocks and its registers.
"""

from __future__ import annotations

import math
import os
from typing import Any, NamedTuple

import llvmlite.binding
import numba
from numba.core.codegen import get_host_cpu_features

from glassbox.kernels import VECTOR_VARIABLE

config: Any = numba.config
WITHOUT = {32: ",-avx512f", 16: ",-avx"}  # bytes -> what LLVM must not use: these and all on them


class Processor(NamedTuple):
    """The code that is made: everything here is part of the name under which it is kept."""

    vector_bytes: int
    registers: int
    fused: bool  # whether a product is added without being rounded before


def _processor() -> Processor:
    """What Numba compiles for; with the variable, it is told to compile for less."""
    told = config.CPU_FEATURES or get_host_cpu_features()
    has = told.split(",")
    x86 = llvmlite.binding.get_default_triple().startswith(("x86", "i686"))
    widest = 64 if "+avx512f" in has else 32 if "+avx" in has else 16
    allowed = [str(width) for width in (64, 32, 16) if width <= widest]
    wanted = os.environ.get(VECTOR_VARIABLE) or str(widest)
    if wanted not in allowed:
        raise ValueError(
            f"the variable {VECTOR_VARIABLE} is {wanted!r}, expected a width of vectors that this "
            f"processor has: {', '.join(allowed)}; or remove it"
        )
    width = int(wanted)
    if width < widest:
        config.CPU_FEATURES = told + WITHOUT[width]
    fused = not x86 or (width > 16 and "+fma" in has)
    return Processor(width, 16 if x86 and width < 64 else 32, fused)


PROCESSOR = _processor()

# Blocks of sums, rows x columns of vectors: with a row of the other factor and the number of the
# moment they fill the registers, and there are 8 sums or more, since that many multiply-adds are
# under way at a time.  Filters come in fours; dense layers have few columns, 32 samples or 64.
MANY_REGISTERS = PROCESSOR.registers == 32
ROWS, COLUMNS = (4, 4) if MANY_REGISTERS else (4, 3)  # of a convolution's block: 24 or 16 in use
DENSE_ROWS = 8 if MANY_REGISTERS else 6  # of two vectors: 19 or 15 in use
PAIR_ROWS = 8 if MANY_REGISTERS else 4  # of two vectors, where nothing is left over: 19 or 11

# A dense layer reads the columns of x where they are.  In large products narrow vectors then wait
# for memory, so rows of x are cut to half of the first cache and packed: from so many multiply-adds
# on, as measured with AVX2.  AVX-512 reads whole lines of the cache, and gains nothing.
FIRST_CACHE = 2**15  # bytes, on every processor
DEPTH = FIRST_CACHE // 2 // (2 * PROCESSOR.vector_bytes)
PACK_FROM = 2**23 if PROCESSOR.vector_bytes < 64 else math.inf
