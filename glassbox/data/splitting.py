"""Which image goes into which part."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

Part = NDArray[np.intp] | slice  # a slice where the file's own order is kept: no copy is needed

DEFAULT_SHARES = (0.7, 0.15, 0.15)


def split(
    labels: NDArray[Any],
    sizes: Sequence[float] | None,
    official: int | None = None,
    stratify: bool | None = None,
    seed: int = 0,
) -> tuple[Part, Part, Part]:
    """Choose the samples of the training, the validation and the test part.

    Parameters
    ----------
    labels : (samples,) of the whole set; with an official division, training file first
    sizes : (train, validation, test) or (train, test), as counts or as shares of everything
    official : how many samples the training file has, when there is a test file as well
    stratify : keep the classes' proportions in every part, each within one sample;
        by default with shares, and not with counts
    seed : of the shuffling

    Counts respect an official division: training and validation come out of the training file,
    the test part is the beginning of the test file. Shares pool everything and shuffle it.
    Without ``stratify``, counts keep the order of the file.

    Raises ValueError when the sizes are negative, too large or too small.

    >>> train, validation, test = split(np.arange(10) % 2, (0.6, 0.2, 0.2))
    >>> len(train), len(validation), len(test)
    (6, 2, 2)
    """
    total = len(labels)
    if sizes is None:
        sizes = _default_sizes(total, official)
    sizes = _three(sizes)
    generator = np.random.default_rng(seed)
    shares = any(isinstance(size, float | np.floating) for size in sizes)
    stratify = shares if stratify is None else stratify
    if shares:
        counts, pool = _counts_of_shares(sizes, total), total
        official = None
    else:
        counts = _checked_counts(sizes, total, official)
        pool = total if official is None else official
        if not stratify:
            return _in_file_order(counts, official)
    order = _stratified(labels[:pool], generator) if stratify else generator.permutation(pool)
    if official is not None:
        test: Part = slice(official, official + counts[2])
        parts = _cut(order, counts[:2])
    else:
        *parts, test = _cut(order, counts)
        test = generator.permutation(test)
    train, validation = (generator.permutation(part) for part in parts)
    return train, validation, test


def _default_sizes(total: int, official: int | None) -> tuple[float, ...]:
    if official is None:
        return DEFAULT_SHARES
    held_back = official // 6  # 10,000 of MNIST's 60,000
    return (official - held_back, held_back, total - official)


def _three(sizes: Sequence[float]) -> tuple[float, float, float]:
    if isinstance(sizes, str) or not isinstance(sizes, Sequence) or len(sizes) not in (2, 3):
        raise ValueError(
            "sizes must be (train, validation, test) or (train, test), as counts or as shares, "
            f"got {sizes!r}"
        )
    for size in sizes:
        if isinstance(size, bool) or not isinstance(size, int | float | np.integer | np.floating):
            raise TypeError(f"sizes must be numbers, got {size!r} in {sizes!r}")
        if not size >= 0:
            raise ValueError(f"sizes must not be negative, got {size!r} in {sizes!r}")
    if len(sizes) == 2:
        return (sizes[0], type(sizes[0])(0), sizes[1])
    return (sizes[0], sizes[1], sizes[2])


def _counts_of_shares(shares: Sequence[float], total: int) -> list[int]:
    if max(shares) > 1:
        raise ValueError(
            f"sizes={tuple(shares)} mixes shares and counts: give either whole numbers of images "
            "or shares between 0 and 1"
        )
    if sum(shares) > 1 + 1e-9:
        raise ValueError(f"sizes={tuple(shares)}: shares must sum to 1 at most, got {sum(shares)}")
    # Rounding the running sum, not each share, lets shares of 1 in all use every image.
    ends = np.rint(np.cumsum(shares) * total).astype(int)
    counts = np.diff(ends, prepend=0).tolist()
    if counts[0] == 0:
        raise ValueError(f"sizes={tuple(shares)} of {total} images leaves none to train on")
    return counts


def _checked_counts(sizes: Sequence[float], total: int, official: int | None) -> list[int]:
    train, validation, test = (int(size) for size in sizes)
    given = f"sizes={(train, validation, test)}"
    if train == 0:
        raise ValueError(f"{given} leaves no image to train on")
    if official is None and train + validation + test > total:
        raise ValueError(
            f"{given} asks for {train + validation + test:,} images, but there are {total:,}"
        )
    if official is not None and train + validation > official:
        raise ValueError(
            f"{given} asks for {train:,} + {validation:,} images of the training file, "
            f"which has {official:,}; shares such as (0.8, 0.1, 0.1) pool both files"
        )
    if official is not None and test > total - official:
        raise ValueError(
            f"{given} asks for {test:,} images of the test file, which has "
            f"{total - official:,}; shares such as (0.8, 0.1, 0.1) pool both files"
        )
    return [train, validation, test]


def _in_file_order(counts: list[int], official: int | None) -> tuple[slice, slice, slice]:
    train, validation, test = counts
    begin = train + validation if official is None else official
    return slice(0, train), slice(train, train + validation), slice(begin, begin + test)


def _stratified(labels: NDArray[Any], generator: np.random.Generator) -> NDArray[np.intp]:
    """An order of all samples of which every stretch has the proportions of the whole.

    The shuffled members of a class are laid out evenly over 0..1, the i-th of m at (i + 1/2) / m;
    reading all classes together from left to right then meets each at its own steady rate.
    """
    order = generator.permutation(len(labels))
    _, kind, counts = np.unique(labels[order], return_inverse=True, return_counts=True)
    by_class = np.argsort(kind, kind="stable")
    rank = np.arange(len(labels)) - np.repeat(np.cumsum(counts) - counts, counts)
    place = np.empty(len(labels))
    place[by_class] = (rank + 0.5) / np.repeat(counts, counts)
    return order[np.argsort(place, kind="stable")]


def _cut(order: NDArray[np.intp], counts: Sequence[int]) -> list[NDArray[np.intp]]:
    ends = np.cumsum(counts)
    return [order[end - count : end] for end, count in zip(ends, counts, strict=True)]
