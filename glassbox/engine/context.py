"""What a layer may know: when it is built, and in each pass."""

from __future__ import annotations

import math
from dataclasses import dataclass
from types import ModuleType

import numpy as np

from glassbox.engine.budget import AllocationBudget
from glassbox.kernels.shapes import Shape

Array = np.ndarray
MOST_NUMBERS = 2**36  # in an array of weights


@dataclass(slots=True)
class Context:
    """What a layer may know of the pass it is in: training or not, and the key of its randomness.

    `batch` is the number of samples of the whole mini-batch (not of this shard).
    """

    training: bool = False
    seed: int = 0
    step: int = 0
    shard: int = 0
    batch: int = 0

    def generator(self, stream: int) -> np.random.Generator:
        """Random numbers that depend on (seed, step, shard, stream) alone, never on who draws them.

        Philox is a counter-based generator (Salmon et al. 2011), so starting one at a given place
        costs nothing and no state is shared between threads.
        """
        key = (self.seed % 2**64, 0)
        counter = (0, stream, self.shard, self.step)
        bits = np.random.Philox(key=np.array(key, np.uint64), counter=np.array(counter, np.uint64))
        return np.random.Generator(bits)

    def draw(self, stream: int, shape: Shape) -> Array:
        """An array of 16-bit whole numbers, each equally likely, from `generator(stream)`."""
        count = math.prod(shape)
        words = self.generator(stream).integers(0, 2**64, -(-count // 4), np.uint64)
        return words.view(np.uint16)[:count].reshape(shape)


@dataclass(frozen=True, slots=True)
class BuildContext:
    """What a layer needs to come to life: random numbers, the dtype, and the kernels to call.

    Where the weights come from a file there are no random numbers, and memory is claimed first.
    """

    rng: np.random.Generator | None
    dtype: np.dtype
    kernels: ModuleType
    budget: AllocationBudget | None = None

    def reserve(self, who: str, shape: Shape, each: int | None = None) -> None:
        """Raise ValueError for more memory than a file can need, or than any computer has."""
        if self.budget is not None:
            self.budget.reserve(who, shape, each)
        if math.prod(shape) > MOST_NUMBERS:
            raise ValueError(
                f"{who}: an array of {' x '.join(map(str, shape))} numbers fits no memory; use "
                "fewer units or filters, or smaller images"
            )
