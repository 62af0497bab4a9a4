"""Weights of images in the loss: as if an image were there so many times."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np


def weighted_shards(shards: Sequence[Any], dtype: Any) -> list[Any]:
    """The shards of a mini-batch with the weights of their images, made to average 1.

    So the mean over the images is the weighted mean, sum of w loss / sum of w.  Where all weights
    are 0 they stay 0, and nothing is learnt.
    """
    weights = [shard.data.weights[shard.indices] for shard in shards]
    total, count = float(np.concatenate(weights).sum()), sum(map(len, weights))
    scale = count / total if total else 0.0
    return [
        shard._replace(weights=(own * scale).astype(dtype))
        for shard, own in zip(shards, weights, strict=True)
    ]
