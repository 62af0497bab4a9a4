"""Many numbers to an image become two: t-SNE lays similar vectors beside each other."""

import numpy as np
from numpy.typing import ArrayLike, NDArray

SAMPLE = 1000  # images that a map takes: enough to see the classes, and seconds to compute
DIRECTIONS = 50  # principal components that t-SNE starts from
ROUNDS = 500  # of gradient descent; after so many the picture no longer changes much
PERPLEXITY = 30.0  # about how many neighbours each point minds


def sample_places(count: int, limit: int = SAMPLE) -> NDArray[np.int64]:
    """Choose at most `limit` of `count` places, always the same ones, in rising order.

    At random, since every tenth image of a set sorted 0, 1, ..., 9, 0, ... would be of one class.

    >>> sample_places(5).tolist(), len(sample_places(70000))
    ([0, 1, 2, 3, 4], 1000)
    """
    if count <= limit:
        return np.arange(count)
    return np.sort(np.random.default_rng(0).choice(count, limit, replace=False))


def tsne(vectors: ArrayLike, seed: int = 0) -> NDArray[np.float64]:
    """Lay vectors out in the plane so that neighbours stay neighbours; gives (samples, 2).

    vectors    (samples, ...); everything behind the first axis is one vector, reduced to its 50
               main directions. Samples all alike, or fewer than four, are laid on one line.

    Distances between far points mean nothing, nor do the axes. One thread computes, so that the
    same vectors give the same map.

    >>> two_heaps = np.repeat([[0.0, 0, 0], [9, 9, 9]], 20, axis=0) + np.eye(40, 3)
    >>> tsne(two_heaps).shape
    (40, 2)

    Raises ValueError for vectors that are none or not finite. The layout is scikit-learn's TSNE
    (van der Maaten and Hinton 2008, Visualizing data using t-SNE).
    """
    table = np.asarray(vectors)
    if table.ndim < 2 or not table.size:
        raise ValueError(
            f"tsne: got shape {table.shape}, expected (samples, ...), one row per image"
        )
    table = table.reshape(len(table), -1).astype(np.float32)
    if not np.isfinite(table).all():
        raise ValueError(
            "tsne: got vectors that are not finite, expected numbers; the network has diverged: "
            "train with a smaller learning rate"
        )
    table -= table.mean(axis=0)
    spread = np.abs(table).max()
    if len(table) < 4 or not spread > 0:
        return np.stack([np.arange(len(table), dtype=np.float64), np.zeros(len(table))], axis=1)
    table /= spread
    # Only who asks for a map waits until scikit-learn is loaded.
    from sklearn.decomposition import PCA
    from sklearn.manifold import TSNE
    from threadpoolctl import threadpool_limits

    with threadpool_limits(1):
        directions = min(DIRECTIONS, *table.shape)
        table = PCA(directions, random_state=seed).fit_transform(table)
        if table.shape[1] < 2:
            table = np.pad(table, ((0, 0), (0, 1)))
        perplexity = min(PERPLEXITY, (len(table) - 1) / 3)
        start = table[:, :2] / max(np.abs(table[:, 0]).max(), 1e-12) * 1e-4
        layout = TSNE(init=start, perplexity=perplexity, max_iter=ROUNDS, random_state=seed)
        return layout.fit_transform(table).astype(np.float64)
