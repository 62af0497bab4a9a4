"""scikit-learn: a network as a classifier, for pipelines, cross-validation and grid searches."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.model_selection import train_test_split
from sklearn.utils import check_random_state
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted, validate_data

from CNN import CNN
from Datasets import Augmentation, Dataset, Scaling
from Filters import Conv2D, MaxPool2D
from glassbox.engine.layer import Array, Layer
from glassbox.engine.optimizers import Optimizer
from glassbox.engine.parallel import VECTOR
from MLP import Adam, Dense, OneCycle

SMALLEST = 8  # pixels of height and width from which the default network has convolutions


class CNNClassifier(ClassifierMixin, BaseEstimator):
    """A convolutional network with scikit-learn's `fit`, `predict` and `predict_proba`.

    Parameters
    ----------
    layers : the network's layers but the last, which is always Dense(classes) with softmax and
        cross-entropy.  None takes two convolutions with pooling and a dense layer of 64 for images
        of at least 8 x 8 pixels, the dense layer alone for anything smaller.
    image_shape : (channels, height, width) of flat rows; None takes a row of n numbers as an image
        of 1 x 1 x n, and images as they are.
    epochs, batch_size : how long to train, and images to a step.
    learning_rate : the highest of a one-cycle schedule for Adam.
    optimizer : an Optimizer instead of that; `learning_rate` then counts for nothing.
    normalize : one of `Datasets.NORMALIZATIONS`, fitted to the training images.
    augment : such as `Datasets.Augmentation(shift=2)`.
    validation_fraction : share of the images, stratified, that chooses the best epoch; 0 for none.
    random_state : a whole number, a RandomState or None, which differs from fit to fit.
    threads, kernels : as for `CNN`.
    verbose : whether epochs are printed.

    Attributes
    ----------
    network_ : the trained `CNN`; `history_` its course, `classes_` the labels in their order,
    `image_shape_` (channels, height, width), `n_features_in_` pixels of an image, `scaling_` what
    is done to them before the network sees them.

    X : flat rows (samples, pixels), gray images (samples, height, width) or images (samples,
    channels, height, width); y: labels of any kind.

    Raises ValueError for images that do not fit, NaN or infinity, and labels of a regression.

    >>> from sklearn.datasets import load_digits
    >>> X, y = load_digits(return_X_y=True)
    >>> model = CNNClassifier(image_shape=(1, 8, 8), epochs=5, random_state=0)
    >>> bool(model.fit(X[:1000], y[:1000]).score(X[1000:], y[1000:]) > 0.9)
    True
    """

    def __init__(
        self,
        layers: Sequence[Layer] | None = None,
        *,
        image_shape: tuple[int, int, int] | None = None,
        epochs: int = 20,
        batch_size: int = 32,
        learning_rate: float = 0.005,
        optimizer: Optimizer | None = None,
        normalize: str = "standard",
        augment: Augmentation | None = None,
        validation_fraction: float = 0.0,
        random_state: Any = None,
        threads: int | None = None,
        kernels: str | None = None,
        verbose: bool = False,
    ) -> None:
        # Kept as they come: scikit-learn copies estimators by these, and checks them in `fit`.
        self.layers = layers
        self.image_shape = image_shape
        self.epochs = epochs
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.optimizer = optimizer
        self.normalize = normalize
        self.augment = augment
        self.validation_fraction = validation_fraction
        self.random_state = random_state
        self.threads = threads
        self.kernels = kernels
        self.verbose = verbose

    def fit(self, X: ArrayLike, y: ArrayLike) -> CNNClassifier:
        """Train a new network on images and their labels; returns the classifier."""
        shape = _picture_shape(X)
        rows, y = validate_data(self, _rows(X), y, dtype="numeric")
        check_classification_targets(y)
        self.image_shape_ = self._shape_of(shape, rows.shape[1])
        self.classes_, labels = np.unique(y, return_inverse=True)
        seed = int(check_random_state(self.random_state).randint(2**31))
        images = self._images(rows)
        self.scaling_ = Scaling.fit(self.normalize, images)
        data = Dataset(images, labels, tuple(map(str, self.classes_)), self.scaling_)
        train, validation = self._parts(data, seed)
        self.network_ = CNN(
            *self._layers(), Dense(len(self.classes_), "softmax"),
            loss="cross_entropy", optimizer=self.optimizer or Adam(OneCycle(self.learning_rate)),
            seed=seed, threads=self.threads, kernels=self.kernels,
        )  # fmt: skip
        self.history_ = self.network_.fit(
            train, validation, self.epochs, self.batch_size, augment=self.augment,
            progress=self.verbose,
        )  # fmt: skip
        return self

    def predict(self, X: ArrayLike) -> Array:
        """The most likely label of each image: (samples,)."""
        check_is_fitted(self)
        return self.classes_[self.predict_proba(X).argmax(axis=1)]

    def predict_proba(self, X: ArrayLike) -> Array:
        """The share of belief in each class, in the order of `classes_`: (samples, classes)."""
        check_is_fitted(self)
        shape = _picture_shape(X)
        rows = validate_data(self, _rows(X), dtype="numeric", reset=False)
        if shape not in (None, self.image_shape_):
            raise ValueError(f"expected images of {self.image_shape_}, got {shape}")
        images = self._images(rows)
        # A whole number of vectors: no image falls into a remainder, which other instructions
        # compute, so its probabilities are the same bits in whatever company and order it comes.
        images = np.concatenate([images, images[:1].repeat(-len(images) % VECTOR, axis=0)])
        labels = np.zeros(len(images), int)
        data = Dataset(images, labels, self.network_.classes, self.scaling_)
        return self.network_.predict_proba(data)[: len(rows)]

    def _shape_of(self, given: tuple[int, ...] | None, pixels: int) -> tuple[int, ...]:
        """(channels, height, width) of the images to train on."""
        wanted = self.image_shape
        if wanted is None:
            return given or (1, 1, pixels)
        if len(wanted) != 3 or np.prod(wanted) != pixels or given not in (None, tuple(wanted)):
            raise ValueError(
                f"image_shape={wanted} (channels, height, width) does not fit images of "
                f"{given or pixels} pixels"
            )
        return tuple(wanted)

    def _images(self, rows: Array) -> Array:
        """Rows as images, bytes as they are and all else as float32."""
        if rows.dtype != np.uint8:
            with np.errstate(over="ignore"):
                rows = rows.astype(np.float32)
            if not np.isfinite(rows).all():
                raise ValueError("X holds numbers too large for float32; scale it first")
        return rows.reshape(-1, *self.image_shape_)

    def _layers(self) -> list[Layer]:
        """Fresh layers: those of the user stay as they are, so that every fit is a new start."""
        if self.layers is not None:
            return [layer.clone_unbuilt() for layer in self.layers]
        dense: list[Layer] = [Dense(64, "leaky_relu")]
        if min(self.image_shape_[1:]) < SMALLEST:
            return dense
        return [Conv2D(8), MaxPool2D(2), Conv2D(16), MaxPool2D(2), *dense]

    def _parts(self, data: Dataset, seed: int) -> tuple[Dataset, Dataset | None]:
        """The images to learn from, and those that choose the epoch."""
        if not self.validation_fraction:
            return data, None
        train, validation = train_test_split(
            np.arange(len(data)), test_size=self.validation_fraction, stratify=data.labels,
            random_state=seed,
        )  # fmt: skip
        return data.subset(train), data.subset(validation)


def _picture_shape(X: Any) -> tuple[int, ...] | None:
    """(channels, height, width) where images are given, None for flat rows and anything else."""
    shape = getattr(X, "shape", ())
    if len(shape) == 3:
        return (1, *map(int, shape[1:]))
    return tuple(map(int, shape[1:])) if len(shape) == 4 else None


def _rows(X: Any) -> Any:
    """Images as flat rows; all else as it is, for scikit-learn to judge."""
    if len(getattr(X, "shape", ())) in (3, 4):
        array = np.asarray(X)
        return array.reshape(len(array), -1)
    return X
