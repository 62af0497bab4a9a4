"""Which algorithm computes a convolution: decided here, from shapes alone.

direct     for few channels or filters, and for every kernel, stride and dilation
winograd   for 3 x 3 kernels that move by one pixel, with many channels and filters, outputs
           enough to fill its tiles of 4 x 4, and samples enough to fill a vector
"""

from __future__ import annotations

import math

import numpy as np

from glassbox.kernels.compiled import convolution, winograd
from glassbox.kernels.compiled.convolution import turned, vector_lanes
from glassbox.kernels.shapes import Shape, Window, mirrored_window

Array = np.ndarray

# Where Winograd's detour into another basis pays: from so many channels and filters on, and where
# so large a share of the places in its tiles are outputs.
MANY, SHARE = 12, 0.5


def algorithm(window: Window, channels: int, filters: int) -> str:
    """The name of the algorithm that a layer's batches are computed with, for summaries.

    Examples
    --------
    >>> algorithm(Window((3, 3), (1, 1), (1, 1), (0, 0, 0, 0), (24, 24)), 32, 64)
    'winograd'
    """
    plain = window.kernel == (3, 3) and window.stride == window.dilation == (1, 1)
    (oh, ow), filled = window.output, math.prod(-(-n // 4) * 4 for n in window.output)
    pays = min(channels, filters) >= MANY and oh * ow >= SHARE * filled
    return "winograd" if plain and pays else "direct"


def _by_winograd(window: Window, channels: int, filters: int, x: Array) -> bool:
    fills = x.shape[-1] >= vector_lanes(x.dtype)
    return fills and algorithm(window, channels, filters) == "winograd"


def conv2d(
    x: Array, weights: Array, bias: Array | None, window: Window, slope: float = 1.0
) -> Array:
    """y[o, i, j] = leaky(sum over c, a, b of w[o, c, a, b] x[c, i s + a d, j s + b d] + bias[o]).

    leaky(z) = z where z > 0, else slope z: 1 for none, 0 for ReLU.
    """
    way = winograd if _by_winograd(window, len(x), len(weights), x) else convolution
    return way.conv2d(x, weights, bias, window, slope)


def conv2d_input_gradient(dy: Array, weights: Array, window: Window, shape: Shape) -> Array:
    """dx: again a convolution, of dy with every kernel turned by 180 degrees."""
    mirrored = mirrored_window(window, (shape[1], shape[2]))
    if window.stride == (1, 1) and _by_winograd(mirrored, shape[0], len(dy), dy):
        return winograd.conv2d(dy, turned(weights), None, mirrored, 1.0)
    return convolution.conv2d_input_gradient(dy, weights, window, shape)


def conv2d_weight_gradient(x: Array, dy: Array, window: Window) -> Array:
    """dw[o, c, a, b] = sum over all outputs of dy[o, i, j] x[c, i s + a d, j s + b d]."""
    way = winograd if _by_winograd(window, len(x), len(dy), x) else convolution
    return way.conv2d_weight_gradient(x, dy, window)
