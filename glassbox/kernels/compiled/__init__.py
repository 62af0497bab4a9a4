"""The kernels as machine code, compiled by Numba for the processor at hand.

The same names with the same meaning as in `glassbox.kernels.pure_numpy`.  Each module tells its
idea in its first lines: `choice` (which algorithm when), `convolution`, `winograd`,
`fully_connected`, `pooling`, `normalization`, `pointwise`; below them `vectors` (what Numba is
taught) and `build` (where compiled code is kept).
"""

from __future__ import annotations

from glassbox.kernels.compiled import ends, team
from glassbox.kernels.compiled.choice import *
from glassbox.kernels.compiled.fully_connected import *
from glassbox.kernels.compiled.normalization import *
from glassbox.kernels.compiled.pointwise import *
from glassbox.kernels.compiled.pooling import *
from glassbox.kernels.shapes import ShardPolicy

# A shard's largest array should stay in a core's cache.  Measured: 32 samples are best for wide
# networks and D's, 64 for the thinnest; with 128 a usual batch would be one shard, and leave the
# other cores idle.  Not so where all layers give rows, whose products threads divide (`team`).
# Waking a thread takes some 50 microseconds.
SHARD_POLICY = ShardPolicy(
    cache_bytes=2**20, smallest=32, largest=64, least_work=1_000_000, largest_of_rows=128
)
