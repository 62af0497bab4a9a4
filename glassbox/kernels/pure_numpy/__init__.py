"""The backend in plain NumPy: `essential` is all that main.py's network needs, `more` the rest.

A backend of your own begins with `from glassbox.kernels.pure_numpy import *`, and defines what it
does better.
"""

from glassbox.kernels.pure_numpy.essential import *
from glassbox.kernels.pure_numpy.more import *
from glassbox.kernels.shapes import ShardPolicy

# A shard's largest array should stay in cache and below the size from which the system clears
# fresh pages for it; very small shards only cost Python calls.  Measured: 32 samples are best for
# wide networks, 64 for D's, 128 for the thinnest and for dense ones.  Python hands its lock from
# thread to thread at every NumPy call: with less work in a shard one thread is faster than two.
SHARD_POLICY = ShardPolicy(cache_bytes=2**21, smallest=32, largest=128, least_work=4_000_000)
