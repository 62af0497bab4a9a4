"""How the NumPy kernels cut a convolution into matrix products that stay in a core's cache."""

from __future__ import annotations

from functools import lru_cache

from glassbox.kernels.shapes import Window

# A matrix product of at most this many multiply-adds runs in OpenBLAS without packing its operands:
# measured 95 against 35 to 65 GFLOP/s for a 16 x 72 filter bank.  So an image's rows are cut
# into products below that size, and NumPy's matmul runs the stack in one call.
SMALL_PRODUCT = 1_000_000
LEAST_COLUMNS = 128  # smaller products are not worth their call
# Unfolded pixels are made block by block, so many numbers each: a block stays in a core's cache.
BLOCK_ENTRIES = 2**18


@lru_cache(maxsize=4096)
def plan_products(
    filters: int, taps: int, window: Window, samples: int
) -> tuple[int, tuple[slice, ...]]:
    """Columns in one matrix product (0: all of a block's), and the output rows of each block.

    Examples
    --------
    >>> plan_products(8, 9, Window((3, 3), (1, 1), (1, 1), (1, 1, 1, 1), (28, 28)), 32)
    (12544, (slice(0, 28, None),))
    """
    columns, rows_in_block = _sizes(filters, taps, window, samples)
    starts = range(0, window.output[0], rows_in_block)
    ends = (min(start + rows_in_block, window.output[0]) for start in starts)
    return columns, tuple(slice(*edges) for edges in zip(starts, ends, strict=True))


def _sizes(filters: int, taps: int, window: Window, samples: int) -> tuple[int, int]:
    """Columns in one matrix product, and output rows in one block of unfolded pixels."""
    (rows, width), row = window.output, window.output[1] * samples
    block = min(max(1, BLOCK_ENTRIES // (taps * row)), rows)
    small = SMALL_PRODUCT // (filters * taps)
    if small >= row:  # whole rows, as many as divide the image evenly
        product = max(r for r in range(1, min(small // row, rows) + 1) if rows % r == 0)
        return product * row, min(max(block // product, 1) * product, rows)
    part = max(
        k for k in range(1, width + 1) if width % k == 0 and (k == 1 or k * samples <= small)
    )
    if LEAST_COLUMNS <= part * samples <= small:  # even parts of one row
        return part * samples, block
    return 0, block  # too large a filter bank: one product for the whole block
