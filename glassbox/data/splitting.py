"""Which image goes into which part."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from glassbox.errors import MOST, require_count, short

Part = NDArray[np.intp] | slice  # a slice where the file's own order is kept: no copy is needed


def split(
    labels: NDArray[Any], sizes: Sequence[float] | None, official: int | None = None,
    stratify: bool | None = None, seed: int = 0,
) -> tuple[Part, Part, Part]:  # fmt: skip
    """Choose the samples of the training, the validation and the test part.

    labels : (samples,) of the whole set; with an official division, training file first
    sizes : (train, validation, test) or (train, test). Counts respect an official division: the
        test part is the beginning of the test file. Shares pool everything and shuffle it.
    official : how many samples the training file has, when there is a test file as well
    stratify : keep the classes' proportions in every part, each within one sample; by default
        with shares. Counts without it keep the order of the file.
    seed : of the shuffling

    Raises ValueError when the sizes are negative, too large or too small.

    >>> train, validation, test = split(np.arange(10) % 2, (0.6, 0.2, 0.2))
    >>> len(train), len(validation), len(test)
    (6, 2, 2)
    """
    total = len(labels)
    if sizes is None and official is None:
        sizes = (0.7, 0.15, 0.15)
    elif sizes is None:
        held_back = (official or 0) // 6  # 10,000 of MNIST's 60,000
        sizes = ((official or 0) - held_back, held_back, total - (official or 0))
    sizes = _three(sizes)
    require_count("seed", seed, least=0)
    generator = np.random.default_rng(seed)
    shares = any(isinstance(size, float | np.floating) for size in sizes)
    stratify = shares if stratify is None else stratify
    counts = _counts_of_shares(sizes, total) if shares else _checked_counts(sizes, total, official)
    pool = total if shares or official is None else official
    n, held, last = counts
    if not shares and not stratify:
        begin = n + held if official is None else official
        return slice(0, n), slice(n, n + held), slice(begin, begin + last)
    order = _stratified(labels[:pool], generator) if stratify else generator.permutation(pool)
    test: Part = slice(pool, pool + last)
    if shares or official is None:
        test = generator.permutation(order[n + held : n + held + last])
    return generator.permutation(order[:n]), generator.permutation(order[n : n + held]), test


def _three(sizes: Sequence[float]) -> tuple[float, float, float]:
    if isinstance(sizes, str) or not isinstance(sizes, Sequence) or len(sizes) not in (2, 3):
        raise ValueError(
            "sizes must be (train, validation, test) or (train, test), as counts or as shares, "
            f"got {short(sizes)}"
        )
    for size in sizes:
        if isinstance(size, bool) or not isinstance(size, int | float | np.integer | np.floating):
            raise TypeError(f"sizes must be numbers, got {short(size)} in {short(sizes)}")
        if not 0 <= size <= MOST:
            wrong = "too large" if size > 0 else "negative"
            raise ValueError(f"sizes must not be {wrong}, got {short(size)} in {short(sizes)}")
    return sizes[0], sizes[1] if len(sizes) == 3 else type(sizes[0])(0), sizes[-1]


def _counts_of_shares(shares: Sequence[float], total: int) -> list[int]:
    given = f"sizes={tuple(shares)}"
    if max(shares) > 1:
        raise ValueError(
            f"{given} mixes shares and counts: give either whole numbers of images "
            "or shares between 0 and 1"
        )
    if sum(shares) > 1 + 1e-9:
        raise ValueError(f"{given}: shares must sum to 1 at most, got {sum(shares)}")
    # Rounding the running sum, not each share, lets shares of 1 in all use every image.
    counts = np.diff(np.rint(np.cumsum(shares) * total).astype(int), prepend=0).tolist()
    if counts[0] == 0:
        raise ValueError(f"{given} of {total} images leaves none to train on")
    return counts


def _checked_counts(sizes: Sequence[float], total: int, official: int | None) -> list[int]:
    train, validation, test = (int(size) for size in sizes)
    given, pool = f"sizes={(train, validation, test)}", "shares such as (0.8, 0.1, 0.1) pool both"
    if train == 0:
        raise ValueError(f"{given} leaves no image to train on")
    if official is None and train + validation + test > total:
        raise ValueError(
            f"{given} asks for {train + validation + test:,} images, but there are {total:,}"
        )
    if official is not None and train + validation > official:
        raise ValueError(
            f"{given} asks for {train:,} + {validation:,} images of the training file, "
            f"which has {official:,}; {pool} files"
        )
    if official is not None and test > total - official:
        raise ValueError(
            f"{given} asks for {test:,} images of the test file, which has {total - official:,}; "
            f"{pool} files"
        )
    return [train, validation, test]


def _stratified(labels: NDArray[Any], generator: np.random.Generator) -> NDArray[np.intp]:
    """Give an order of all samples of which every stretch has the proportions of the whole.

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
