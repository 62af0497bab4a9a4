"""scikit-learn: a network as a classifier, for pipelines, cross-validation and grid searches."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.model_selection import train_test_split
from sklearn.utils import check_random_state
from sklearn.utils.class_weight import compute_sample_weight
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import _check_sample_weight, check_is_fitted, validate_data

from CNN import CNN
from Datasets import Augmentation, Dataset, Scaling
from Filters import Conv2D, MaxPool2D
from glassbox.data.readers import bytes_of
from glassbox.data.suspicions import check_pixels
from glassbox.engine.layer import Array, Layer
from glassbox.engine.optimizers import Optimizer
from glassbox.engine.parallel import VECTOR
from MLP import Adam, Dense, OneCycle

SMALLEST = 8  # pixels of height and width from which the default network has convolutions


class CNNClassifier(ClassifierMixin, BaseEstimator):
    """A convolutional network with scikit-learn's `fit`, `predict` and `predict_proba`.

    Parameters
    ----------
    layers : sequence of Layer, optional
        The layers of the network but the last, which is always Dense(classes) with softmax and
        cross-entropy.  By default two convolutions with pooling and a dense layer of 64 for images
        of at least 8 x 8 pixels, the dense layer alone for smaller ones.
    image_shape : tuple of int, optional
        (channels, height, width) of flat rows.  By default a row of n numbers is an image of
        1 x 1 x n, and images are taken as they are.
    epochs : int, default 20
        How long to train.
    batch_size : int, default 32
        Images per step.
    learning_rate : float, default 0.005
        The highest rate of a one-cycle schedule for Adam.
    optimizer : Optimizer, optional
        Used instead of that; `learning_rate` is then ignored.
    normalize : str, default "standard"
        One of `Datasets.NORMALIZATIONS`, fitted to the training images.
    augment : Augmentation, optional
        Such as `Datasets.Augmentation(shift=2)`.
    validation_fraction : float, default 0.0
        Fraction of the images, stratified, that chooses the best epoch; 0 for none.
    random_state : int or RandomState, optional
        None differs from fit to fit.
    threads, kernels : optional
        As for `CNN`.
    verbose : bool, default False
        Whether epochs are printed.
    class_weight : dict or "balanced", optional
        The weight of each label, those not named 1; "balanced" is samples / (classes x samples of
        the class).

    Attributes
    ----------
    network_ : CNN
        The trained network.
    history_ : History
        Its training run.
    classes_ : array
        The labels in their order.
    image_shape_ : tuple of int
        (channels, height, width).
    n_features_in_ : int
        Pixels of an image.
    scaling_ : Scaling
        What is done to pixels before the network sees them.

    Raises
    ------
    ValueError
        In `fit`, if images do not fit, hold NaN or infinity, or the labels are those of a
        regression.

    Examples
    --------
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
        class_weight: Any = None,
    ) -> None:
        # Kept as they are given: scikit-learn copies estimators by these, and `fit` checks them.
        self.layers, self.image_shape = layers, image_shape
        self.epochs, self.batch_size = epochs, batch_size
        self.learning_rate, self.optimizer = learning_rate, optimizer
        self.normalize, self.augment = normalize, augment
        self.validation_fraction, self.random_state = validation_fraction, random_state
        self.threads, self.kernels, self.verbose = threads, kernels, verbose
        self.class_weight = class_weight

    def fit(self, X: ArrayLike, y: ArrayLike, sample_weight: Any = None) -> CNNClassifier:
        """Train a new network on images and their labels.

        Parameters
        ----------
        X : array_like
            Flat rows (samples, pixels), gray images (samples, height, width) or images (samples,
            channels, height, width).
        y : array_like
            (samples,) labels of any kind.
        sample_weight : array_like, optional
            (samples,) numbers of 0 or more: how much each image counts, as if it were there so
            many times.

        Returns
        -------
        CNNClassifier
            The classifier itself.
        """
        shape, rows = _as_rows(X)
        rows, y = validate_data(self, rows, y, dtype="numeric")
        check_classification_targets(y)
        self.image_shape_ = self._shape_of(shape, rows.shape[1])
        self.classes_ = np.unique(y)
        seed = self._start(rows, OneCycle(self.learning_rate))
        return self._train(*self._parts(self._data(rows, y, sample_weight), seed), self.epochs)

    def partial_fit(
        self, X: ArrayLike, y: ArrayLike, classes: ArrayLike | None = None,
        sample_weight: Any = None,
    ) -> CNNClassifier:  # fmt: skip
        """Train one epoch on these images, going on from what was learnt before.

        The first call fits the scaling to its images; the learning rate stays `learning_rate`.

        Parameters
        ----------
        X, y, sample_weight : array_like
            As for `fit`.
        classes : array_like
            All labels that will ever come; needed in the first call.

        Returns
        -------
        CNNClassifier
            The classifier itself.
        """
        (shape, rows), first = _as_rows(X), not hasattr(self, "network_")
        rows, y = validate_data(self, rows, y, dtype="numeric", reset=first)
        check_classification_targets(y)
        if first:
            if classes is None:
                raise ValueError("classes: the first partial_fit needs all labels, got None")
            self.classes_ = np.unique(np.asarray(classes))
            self.image_shape_ = self._shape_of(shape, rows.shape[1])
        elif classes is not None and not np.array_equal(np.unique(classes), self.classes_):
            raise ValueError(f"classes: expected those of the first call, {self.classes_}")
        if not np.isin(y, self.classes_).all():
            raise ValueError(f"y: expected labels of {self.classes_}, got {np.unique(y)}")
        if first:
            self._start(rows, self.learning_rate)
        return self._train(self._data(rows, y, sample_weight), None, 1)

    def predict(self, X: ArrayLike) -> Array:
        """Return the most likely label of each image: (samples,)."""
        check_is_fitted(self)
        return self.classes_[self.predict_proba(X).argmax(axis=1)]

    def predict_proba(self, X: ArrayLike) -> Array:
        """Return the probability of each class, in the order of `classes_`: (samples, classes)."""
        check_is_fitted(self)
        shape, rows = _as_rows(X)
        rows = validate_data(self, rows, dtype="numeric", reset=False)
        if shape not in (None, self.image_shape_):
            raise ValueError(f"expected images of {self.image_shape_}, got {shape}")
        images = self._images(rows)
        check_pixels(images, self.scaling_, rows.dtype.kind)
        # A whole number of vectors: no image falls into a remainder, which other instructions
        # compute, so its probabilities are the same bits in whatever company and order it comes.
        images = np.concatenate([images, images[:1].repeat(-len(images) % VECTOR, axis=0)])
        labels = np.zeros(len(images), int)
        data = Dataset(images, labels, self.network_.classes, self.scaling_)
        return self.network_.predict_proba(data)[: len(rows)]

    def _start(self, rows: Array, rate: Any) -> int:
        """Fit the scaling and make a new network; returns its seed."""
        seed = int(check_random_state(self.random_state).randint(2**31))
        self.scaling_ = Scaling.fit(self.normalize, self._images(rows))
        self.network_ = CNN(
            *self._layers(), Dense(len(self.classes_), "softmax"),
            loss="cross_entropy", optimizer=self.optimizer or Adam(rate), seed=seed,
            threads=self.threads, kernels=self.kernels,
        )  # fmt: skip
        return seed

    def _train(self, train: Dataset, checks: Dataset | None, epochs: int) -> CNNClassifier:
        how: Any = {"augment": self.augment, "progress": self.verbose}
        self.history_ = self.network_.fit(train, checks, epochs, self.batch_size, **how)
        return self

    def _parts(self, data: Dataset, seed: int) -> tuple[Dataset, Dataset | None]:
        """Return the images to learn from, and those that choose the epoch."""
        if not self.validation_fraction:
            return data, None
        parts: Any = {"stratify": data.labels, "random_state": seed}
        chosen = train_test_split(range(len(data)), test_size=self.validation_fraction, **parts)
        train, validation = (data.subset(part) for part in chosen)
        return train, validation

    def _data(self, rows: Array, y: Any, sample_weight: Any) -> Dataset:
        """Rows and labels of `classes_` as a Dataset, with the weights of images and classes."""
        labels, names = np.searchsorted(self.classes_, y), tuple(map(str, self.classes_))
        data = Dataset(self._images(rows), labels, names, self.scaling_)
        if sample_weight is None and self.class_weight is None:
            return data
        weights = _check_sample_weight(sample_weight, rows, dtype=np.float64)
        return data.weighted(weights * compute_sample_weight(self.class_weight, y))

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
        """Return rows as images: whole numbers of 0..255 as uint8, all else as float32."""
        rows = bytes_of(rows)
        if rows.dtype != np.uint8:
            with np.errstate(over="ignore"):
                rows = rows.astype(np.float32)
            if not np.isfinite(rows).all():
                raise ValueError("X holds numbers too large for float32; scale it first")
        return rows.reshape(-1, *self.image_shape_)

    def _layers(self) -> list[Layer]:
        """Return new layers, so that every fit starts anew and those of the user stay as given."""
        if self.layers is not None:
            return [layer.clone_unbuilt() for layer in self.layers]
        dense: list[Layer] = [Dense(64, "leaky_relu")]
        if min(self.image_shape_[1:]) < SMALLEST:
            return dense
        return [Conv2D(8), MaxPool2D(2), Conv2D(16), MaxPool2D(2), *dense]


def _as_rows(X: Any) -> tuple[tuple[int, ...] | None, Any]:
    """Return (channels, height, width) and flat rows of images.

    Anything but images is returned as it is, with None, for scikit-learn to judge.
    """
    shape = tuple(map(int, getattr(X, "shape", ())))
    if len(shape) not in (3, 4):
        return None, X
    return (1, *shape[1:])[-3:], np.asarray(X).reshape(shape[0], -1)
