"""The kernels as machine code, compiled by Numba for the processor at hand.

The same names with the same meaning as in `glassbox.kernels.pure_numpy`.  Each module tells its
idea in its first lines: `choice` (which algorithm when), `convolution`, `winograd`,
`fully_connected`, `pooling`, `pointwise`; below them `vectors` (what Numba is taught) and `build`
(where compiled code is kept).
"""

from __future__ import annotations

from glassbox.kernels.compiled import ends
from glassbox.kernels.compiled.choice import (
    algorithm,
    conv2d,
    conv2d_input_gradient,
    conv2d_weight_gradient,
)
from glassbox.kernels.compiled.fully_connected import (
    bias_gradient,
    dense,
    dense_input_gradient,
    dense_weight_gradient,
    row_products,
)
from glassbox.kernels.compiled.pointwise import (
    adadelta_,
    adam_,
    copy,
    drop,
    leaky_relu_,
    leaky_relu_gradient,
    normalize_,
    normalize_gradient,
    rmsprop_,
    sgd_,
    sigmoid_,
    sigmoid_gradient,
    softmax_,
    softmax_gradient,
    tanh_,
    tanh_gradient,
)
from glassbox.kernels.compiled.pooling import (
    average_pool,
    average_pool_gradient,
    global_average_pool,
    global_average_pool_gradient,
    max_pool,
    max_pool_gradient,
)
from glassbox.kernels.shapes import ShardPolicy

# A shard's largest array should stay in a core's cache.  Measured: 32 samples are best for wide
# networks and D's, 64 for the thinnest and for dense ones; with 128 a usual batch would be one
# shard, and leave the other cores idle.  Waking a thread takes some 50 microseconds.
SHARD_POLICY = ShardPolicy(cache_bytes=2**20, smallest=32, largest=64, least_work=1_000_000)

__all__ = [
    "SHARD_POLICY",
    "adadelta_", "adam_", "algorithm", "average_pool", "average_pool_gradient", "bias_gradient",
    "conv2d", "conv2d_input_gradient", "conv2d_weight_gradient", "copy", "dense",
    "dense_input_gradient", "dense_weight_gradient", "drop", "ends", "global_average_pool",
    "global_average_pool_gradient", "leaky_relu_", "leaky_relu_gradient", "max_pool",
    "max_pool_gradient", "normalize_", "normalize_gradient", "rmsprop_", "row_products", "sgd_",
    "sigmoid_", "sigmoid_gradient", "softmax_",
    "softmax_gradient", "tanh_", "tanh_gradient",
]  # fmt: skip
