"""`CNN.save`, `CNN.load` and `CNN.load_weights`, and how a network is copied."""

from __future__ import annotations

import os
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

from glassbox.atomic import write_atomically
from glassbox.files import arrays_file, checkpoints, model_file

AnyPath = str | os.PathLike[str]


def save(network: Any, path: AnyPath) -> Path:
    """Write weights, layers, settings, scaling and class names to a safetensors file.

    Weights have PyTorch's names and layout, such as conv1.weight (out, in, kh, kw).  The file is
    written completely or not at all.

    Raises ValueError for a network that is not built, TypeError for a layer that does not keep its
    arguments, OSError where the file cannot be written.
    """
    network._built()
    return write_atomically(path, arrays_file.encode(model_file.state_of(network)))


def load(
    cls: Any,
    path: AnyPath,
    *,
    threads: int | None = None,
    kernels: str | None = None,
    eager: bool = False,
    own: tuple[type, ...] = (),
) -> Any:
    """The network of a file that `save` or `fit(checkpoint=...)` wrote.

    Parameters
    ----------
    path : the file.
    threads, kernels, eager : as for a new network.
    own : classes of your own that the network is made of.  The file only names classes; nothing
        in it is ever executed.

    Raises ValueError, naming the file, for anything but such a file, OSError where it cannot be
    read.

    >>> import tempfile
    >>> import numpy as np
    >>> from CNN import CNN
    >>> from MLP import Dense
    >>> network = CNN(Dense(3)).build((1, 4, 4))
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     twin = CNN.load(network.save(f"{folder}/model.safetensors"))
    >>> images = np.zeros((2, 1, 4, 4), np.uint8)
    >>> bool((twin.predict_proba(images) == network.predict_proba(images)).all())
    True
    """
    make = partial(cls, threads=threads, kernels=kernels, eager=eager)
    return model_file.network_of(arrays_file.read(path), str(path), [*cls.kinds, *own], make)


def load_weights(network: Any, path: AnyPath, names: Mapping[str, str] | None = None) -> Any:
    """Load weights from a safetensors file, such as a PyTorch model's `state_dict()`, or of Keras.

    Parameters
    ----------
    path : the file; of Keras 3, `.weights.h5` or `.keras` (needs the package h5py).
    names : {layer's name here: module's name there} where they differ; numbers as in PyTorch's
        `Sequential` are understood, and Keras's dense, dense_1, ...

    Raises ValueError where names or shapes do not fit; the network is then unchanged.
    """
    network._built()
    model_file.load_weights(network.layers, path, names)
    return network


def reduced(network: Any) -> tuple[Any, ...]:
    """A network for `copy.deepcopy`, and for pickling what holds one: as a file would hold it."""
    return checkpoints.unpacked, checkpoints.packed(network, type(network).kinds)
