"""CNN: a chain of layers that learns to classify images.

Images come in as (samples, channels, height, width); inside the network the samples are last.  A
data set is anything from `Datasets`, or a pair (images, labels).
"""

from __future__ import annotations

import os
from typing import Any

import numpy as np

import Filters
import MLP
from Datasets import Dataset, Scaling
from glassbox import checks, explorer
from glassbox.callbacks import as_callbacks, attached
from glassbox.data import given
from glassbox.engine import evaluation, freezing, replacing
from glassbox.engine.assembly import Assembly, Settings
from glassbox.engine.budget import AllocationBudget
from glassbox.engine.copies import clone_network
from glassbox.engine.edits import EditableType
from glassbox.engine.evaluation import Evaluation
from glassbox.engine.fit_settings import FitSettings
from glassbox.engine.history import History, continuing
from glassbox.engine.interrupt import StopSignal
from glassbox.engine.layer import Array, Context, Layer
from glassbox.engine.losses import Loss
from glassbox.engine.names import loss_named, optimizer_named
from glassbox.engine.optimizers import Optimizer
from glassbox.engine.parallel import Workers, exclusive
from glassbox.engine.parameters import Parameters
from glassbox.engine.schedules import Progress
from glassbox.engine.step import Augment, Executor, backward, forward, to_batch_first, to_batch_last
from glassbox.engine.summary import Printed, in_html, in_words, summary_table
from glassbox.engine.trainer import Trainer
from glassbox.errors import require_count, require_positive
from glassbox.files import checkpoints, model_file, saving
from glassbox.find_rate import find_rate
from glassbox.kernels import choose
from glassbox.kernels.shapes import MOST_PIXELS, Shape
from glassbox.previews import Previews, write_preview
from glassbox.spelling import Spelled, layers_of, missing_method, spelled_fit

AnyData = Any  # a Dataset, or a pair (images, labels)
AnyPath = str | os.PathLike[str]


class CNN(metaclass=Spelled):
    """A convolutional network: layers in a row, a loss, an optimizer.

    Parameters
    ----------
    layers : the layers in order; `add` appends more.
    loss : "mse", "cross_entropy" (on a last layer with softmax, or with no activation) or a Loss.
    optimizer : a name or an Optimizer, for every layer without its own.
    l2 : factor of the L2 penalty l2 / 2 sum of w^2 on all weights (not biases).
    label_smoothing : fraction of each target spread evenly over all classes.
    seed : determines initial weights, shuffling, dropout and augmentation, bit for bit.
    threads : how many compute shards, one per core by default.  Never changes a result.
    kernels : the backend, "compiled" or "numpy"; by default the fastest that is installed.
    dtype : float32 to train, float64 to check.
    eager : run every layer as written, in every step.  By default the kernel calls of shipped
        layers are recorded, replayed, and compared with the layers again and again; edited layers
        and your own run as written between them.  `summary` tells which.

    Examples
    --------
    >>> from Filters import Conv2D, MaxPool2D
    >>> from MLP import Dense
    >>> from Datasets import Digits
    >>> data = Digits()
    >>> network = CNN(Conv2D(4, 3), MaxPool2D(2), Dense(10), seed=0)
    >>> history = network.fit(data.train, data.validation, epochs=2, progress=False)
    >>> len(history.records), network.predict(data.test).shape
    (2, (270,))
    """

    kinds = model_file.kinds_of(Filters, MLP)  # the classes that a file may name

    def __init__(
        self,
        *layers: Layer,
        loss: str | Loss = "mse",
        optimizer: str | Optimizer = "adam",
        l2: float = 0.0,
        label_smoothing: float = 0.0,
        seed: int = 0,
        threads: int | None = None,
        kernels: str | None = None,
        dtype: Any = np.float32,
        eager: bool = False,
    ) -> None:
        self.layers: list[Layer] = []
        self.loss = loss_named(loss, label_smoothing)
        self.optimizer = optimizer_named(optimizer)
        require_positive("l2", l2, zero=True)
        require_count("seed", seed, least=0)
        self.l2, self.seed = float(l2), int(seed)
        self.workers = Workers(threads)
        self.kernels = choose(kernels)
        self.dtype = np.dtype(dtype)
        if self.dtype not in (np.float32, np.float64):
            raise ValueError(f"dtype: expected float32 or float64, got {self.dtype}")
        self.eager = bool(eager)
        self.assembly: Assembly | None = None
        self._seen: tuple[Any, ...] = ()
        self._ids: set[int] = set()  # of the layers
        self.classes: tuple[str, ...] = ()
        self.scaling: Scaling | None = None
        self.history = History()
        self.input_shape: Shape = ()
        self.steps_done = 0
        for layer in layers_of(layers):
            self.add(layer)

    __repr__, _repr_html_ = in_words, in_html

    def __getattr__(self, name: str) -> Any:
        raise missing_method(type(self).__name__, name)  # what other libraries call it is answered

    # --- building ----------------------------------------------------------------------------

    def add(self, layer: Layer) -> CNN:
        """Append a layer to a network that is not built yet; returns the network.

        Raises TypeError for what is not a layer, ValueError for one that is in it already.
        """
        if not isinstance(layer, Layer):
            raise TypeError(f"add: expected a layer such as Conv2D(8) or Dense(10), got {layer!r}")
        if id(layer) in self._ids and any(layer is other for other in self.layers):
            raise ValueError(f"add: {layer.label} is in the network already; make a second one")
        if self.assembly is not None:
            raise ValueError("add: the network is built already; add all layers before that")
        self.layers.append(layer)
        self._ids.add(id(layer))
        return self

    replace, freeze, unfreeze = replacing.replace, freezing.freeze, freezing.unfreeze

    def build(self, input_shape: Shape, budget: AllocationBudget | None = None) -> CNN:
        """Create the parameters for images of (channels, height, width); once is enough.

        `budget`: limits the memory where the layers come from a file.
        Raises ValueError where a layer does not fit the output of the one before it.
        """
        shape = tuple(input_shape)
        if self.assembly is not None:  # every step asks
            if shape != self.input_shape:
                raise ValueError(
                    f"the network was built for images {self.input_shape}, got {shape}; "
                    "make a new network for another size"
                )
            self._refresh()
            return self
        if not self.layers:
            raise ValueError("the network has no layers; add some, the last being Dense(classes)")
        for number in shape:
            require_count("input_shape", number, most=MOST_PIXELS)
        if not shape:
            raise ValueError(f"expected a shape (channels, height, width), got {input_shape}")
        self.input_shape = tuple(int(n) for n in shape)
        self.assembly = Assembly(
            self.layers, Settings(*self._settings()), self.input_shape, self.dtype, self.kernels,
            self.workers, budget,
        )  # fmt: skip
        self._refresh()
        return self

    def _built(self) -> Assembly:
        if self.assembly is None:
            raise ValueError("the network is not built yet: call fit, or build(data.shape), first")
        return self.assembly

    def _settings(self) -> tuple[Any, ...]:
        return self.loss, self.optimizer, self.l2, self.seed, self.eager

    def _refresh(self) -> Assembly:
        """Make what was changed by hand take effect; returns the built layers."""
        assembly, now = self._built(), (EditableType.edits, *self._settings(), *self.layers)
        if now != self._seen:  # something was edited, perhaps in this network
            self.loss, self.optimizer = assembly.refresh(Settings(*self._settings()))
            self._seen = (EditableType.edits, *self._settings(), *self.layers)
        return assembly

    @property
    def executor(self) -> Executor:
        """What runs the built layers."""
        return self._built().executor

    @property
    def parameters(self) -> Parameters | None:
        """All trained numbers in one vector; None before the network is built."""
        return None if self.assembly is None else self.assembly.parameters

    @property
    def output_shape(self) -> Shape:
        """The shape of the outputs, samples left out: (classes,)."""
        return self.layers[-1].output_shape

    @property
    def parameter_count(self) -> int:
        """How many numbers are trained."""
        return len(self._built().parameters)

    @property
    def mode(self) -> str:
        """How steps run, "captured" or "eager"; `summary` tells more."""
        return self._refresh().mode

    def summary(self, input_shape: Shape | None = None) -> str:
        """Print and return a table of the layers, and how steps run.

        `input_shape` (channels, height, width) builds the network if it is not built yet.
        """
        assembly = self._refresh() if input_shape is None else self.build(input_shape)._built()
        layers = summary_table(self.layers, self.dtype.itemsize)
        table = Printed(f"{layers}\n{assembly.announced()}")
        print(table)
        return table

    # --- the two passes ----------------------------------------------------------------------

    def forward(self, images: Array, training: bool = False) -> tuple[Array, Any]:
        """The outputs (samples, classes) of scaled images, and the caches for `backward`.

        `training` turns dropout and batch statistics on.
        """
        x = given.scaled_images(images, self)
        self.build(x.shape[1:])
        context = Context(training, self.seed, self.steps_done, 0, len(x))
        with self.workers.serial_blas():
            y, caches = forward(self.layers, to_batch_last(x), context)
        return to_batch_first(y), caches

    def backward(self, dy: Array, caches: Any) -> dict[str, dict[str, Array]]:
        """The gradients {layer: {parameter: gradient}} from that of the outputs."""
        dy = to_batch_last(np.asarray(dy, self.dtype))
        with self.workers.serial_blas():
            _, gradients = backward(self.layers, dy, caches)
        return {layer.name: own for layer, own in zip(self.layers, gradients, strict=True) if own}

    # --- training ----------------------------------------------------------------------------

    @spelled_fit
    @exclusive
    def fit(
        self,
        train: AnyData,
        validation: AnyData | None = None,
        epochs: int = 5,
        batch_size: int = 64,
        *,
        augment: Augment | None = None,
        shuffle: bool = True,
        patience: int | None = None,
        ema_decay: float = 0.0,
        preview: float | None = None,
        preview_folder: AnyPath = "results/preview",
        checkpoint: AnyPath | None = None,
        checkpoint_every: int | None = None,
        resume: AnyPath | None = None,
        allow_changes: bool = False,
        progress: bool = True,
        sample_weight: AnyData | None = None,
        class_weight: AnyData | None = None,
        callbacks: Any = (),
        watch: bool = False,
    ) -> History:
        """Train on shuffled mini-batches; the weights of the best epoch come back at the end.

        Returns the history of this training; `network.history` goes on from that of earlier ones.
        Ctrl-C once finishes the step and keeps what was learnt.  Raises Diverged, with step and
        layer, where a number is no longer finite, after restoring the best weights so far and
        resetting the optimizers; ValueError or TypeError for arguments that do not fit.

        Parameters
        ----------
        train, validation : a Dataset, a pair (raw images, labels) or (images, labels, weights); all
            of a Splits as `train` has both.  The first pair fits the network's scaling.  The best
            epoch is the one with the highest validation accuracy, then the lowest loss.
        epochs, batch_size : whole numbers; a batch of 1 is classic stochastic descent.
        augment : (images, generator) -> images, such as `Datasets.Augmentation(shift=2)`.
        shuffle : whether each epoch has its own order.
        patience : stop after so many epochs without a better one.
        ema_decay : above 0, validate and end with a running mean of the weights that keeps this
            fraction of itself in every step (0.999: about the last 1,000 steps).
        preview : write a picture of feature maps and class scores to `preview_folder` whenever
            this fraction of an epoch is done (0.25: four times an epoch).
        checkpoint : a file with all that it takes to resume: written after every epoch, after every
            `checkpoint_every` steps, and at Ctrl-C; always complete.
        resume : such a file, to go on from: the end is the same, bit for bit, as without a stop.
            It is also `checkpoint` by default.
        allow_changes : resume with other settings than the run began with; `history.changes`
            records them.
        progress : whether to print a bar, and a line for each epoch.
        sample_weight, class_weight : how much each training image, and each class, counts; see
            `Dataset.weighted`.  {-1: 0} ignores images labelled -1.
        callbacks : functions of an `EpochRecord`, called after each epoch, or objects with methods
            of `callbacks.HOOKS`, such as `callbacks.EarlyStopping()`; they stop the run by
            returning True or a reason, which `history.ended` then tells.
        watch : open the explorer on the training: see it learn, pause it, do a step at a time.
        """
        data, checks = given.training_data(train, validation, self, sample_weight, class_weight)
        called = as_callbacks(callbacks)
        settings = FitSettings(
            epochs, batch_size, augment, shuffle, patience, ema_decay, preview, checkpoint_every,
            progress,
        ).check(has_validation=checks is not None, has_file=bool(checkpoint or resume))  # fmt: skip
        for part in (data, checks):  # all of it now, not after an epoch of work
            if part is not None:
                evaluation.check_labels(part, self.build(part.shape).output_shape)
                given.check_finite(part.images)
        trainer = Trainer(self, data, checks, settings)
        self.classes, self.scaling = data.classes, data.scaling
        if checkpoint is not None or resume is not None:
            checkpoints.attach(trainer, self, checkpoint, resume, allow_changes)
        if preview:
            called.append(Previews(self, checks or data, preview, preview_folder))
        if watch:
            called.append(explorer.watch(self, checks or data))
        if progress:
            self._built().announce()
        with continuing(self, trainer), attached(trainer, called), StopSignal() as stop_signal:
            return trainer.run(stop_signal)

    @exclusive
    def train_step(
        self,
        data: AnyData,
        indices: Array | None = None,
        progress: Progress | None = None,
        augment: Augment | None = None,
        sample_weight: AnyData | None = None,
    ) -> tuple[float, int]:
        """Train one step on the images at `indices` (all by default); `fit` calls this.

        Returns the sum of their losses and how many were right, before the step.  Raises Diverged
        where the loss is not finite (the weights are then unchanged), and where the step has made
        a number of the network infinite or NaN.
        """
        known = isinstance(data, Dataset) and sample_weight is None  # as `fit` has it
        how: Any = {"fitting": True, "sample_weight": sample_weight}
        source = data if known else given.as_dataset(data, self, **how)
        self.scaling = self.scaling or source.scaling
        where = np.arange(len(source)) if indices is None and len(source) else given.places(indices)
        self.build(source.shape)
        progress = progress or Progress(self.steps_done, self.steps_done + 1)
        loss, right = self.executor.train_step(source, where, progress, self.steps_done, augment)
        self.steps_done += 1
        return loss, right

    # --- using it ----------------------------------------------------------------------------

    # Arrays are raw images, which are scaled here; with `scaled`, floats that are scaled already.

    def evaluate(
        self, data: AnyData, batch_size: int = 1024, sample_weight: AnyData | None = None,
        scaled: bool = False,
    ) -> Evaluation:  # fmt: skip
        """Mean loss and share of right answers on a data set, weighted where it has weights."""
        source = given.as_dataset(data, self, scaled=scaled, sample_weight=sample_weight)
        self.build(source.shape)
        return evaluation.evaluate(self.executor, source, batch_size)

    def predict(self, images: AnyData, batch_size: int = 1024, scaled: bool = False) -> Array:
        """The most likely class of each image: (samples,) integers."""
        return self.predict_proba(images, batch_size, scaled).argmax(axis=1)

    def predict_proba(self, images: AnyData, batch_size: int = 1024, scaled: bool = False) -> Array:
        """The probability of each class: (samples, classes), rows sum to 1.

        Sigmoid outputs are divided by their sum; others than softmax go through softmax.
        """
        scores = self.scores(images, batch_size, scaled)
        return evaluation.probabilities(scores, self.output_activation or self.layers[-1])

    def scores(self, images: AnyData, batch_size: int = 1024, scaled: bool = False) -> Array:
        """The outputs, (samples, classes): behind sigmoid or softmax where the network has one."""
        source = given.as_images(images, self, scaled)
        self.build(source.shape)._built().warn_if_untrained()
        return evaluation.class_scores(self.executor, source, batch_size, self.output_activation)

    @property
    def output_activation(self) -> Any:
        """The softmax that the loss takes over and predictions apply; else None."""
        return self._built().output_activation

    def activations(self, images: AnyData, scaled: bool = False) -> list[tuple[str, Array]]:
        """Every layer's output for some images: [(name, (samples, channels, height, width))].

        Dense layers give (samples, units); the last output is what the loss sees.
        """
        source = given.as_images(images, self, scaled)
        self.build(source.shape)
        y = to_batch_last(given.at_least_one(source.batch(np.arange(len(source)), self.dtype)[0]))
        found = []
        with self.workers.serial_blas():
            for layer in self.layers:
                y, _ = layer.forward(y, Context(False))
                found.append((layer.name, to_batch_first(y)))
        return found

    # --- checks ------------------------------------------------------------------------------

    sanity_check, gradient_check = checks.sanity_check, checks.gradient_check
    preview, find_rate, explore = write_preview, find_rate, explorer.explore

    # --- files and copies --------------------------------------------------------------------

    save, load_weights, clone_unbuilt = saving.save, saving.load_weights, clone_network
    load = classmethod(saving.load)
    __reduce__ = saving.reduced  # for copies
