"""CNN: a chain of layers that learns to name images.

Images come in as (samples, channels, height, width), as everywhere else; inside the samples are
last.  A data set is anything from `Datasets`, or a pair (images, labels).
"""

from __future__ import annotations

import math
import os
import textwrap
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

import Filters
import MLP
from Datasets import Dataset, Scaling
from glassbox.atomic import write_atomically
from glassbox.data.given import as_dataset, as_images, check_finite
from glassbox.engine.activations import Identity, Sigmoid, Softmax, activation_named
from glassbox.engine.capture.watch import Watch
from glassbox.engine.course import Course
from glassbox.engine.executor import Executor
from glassbox.engine.gradient_check import GradientReport, check_layers
from glassbox.engine.history import History
from glassbox.engine.interrupt import Interruption
from glassbox.engine.layer import (
    Array,
    Layer,
    Pass,
    Room,
    Setup,
    alone,
    backward_chain,
    forward_chain,
    give_names,
)
from glassbox.engine.losses import LOSSES, Loss, loss_named
from glassbox.engine.optimizers import Optimizer, optimizer_named
from glassbox.engine.parallel import LOUD_ENOUGH, Workers
from glassbox.engine.parameters import Parameters
from glassbox.engine.previews import Previews
from glassbox.engine.sanity import SanityReport, overfit, spread
from glassbox.engine.schedules import Moment
from glassbox.engine.step import Augment, count_right, to_batch_first, to_batch_last
from glassbox.engine.summary import summary_table
from glassbox.errors import Diverged, require_count, require_positive, require_share
from glassbox.files import arrays_file, checkpoints, model_file
from glassbox.kernels import DIALECTS, choose
from glassbox.kernels.shapes import Shape
from glassbox.report.results import save

AnyData = Any  # a Dataset, or a pair (images, labels)
AnyPath = str | os.PathLike[str]
# What a model file may name: all that there is to build with, but the base class of activations.
KINDS = [
    *(getattr(module, name) for module in (Filters, MLP) for name in module.__all__),
    *LOSSES.values(),
]
KINDS.remove(MLP.Activation)


@dataclass(frozen=True)
class Evaluation:
    """How a network does on a data set: mean loss, share of right answers, images, seconds."""

    loss: float
    accuracy: float
    images: int
    seconds: float

    def __str__(self) -> str:
        return f"accuracy {self.accuracy:.2%}, loss {self.loss:.4f} ({self.images:,} images)"


class CNN:
    """A convolutional network: layers in a row, a loss, an optimizer.

    Parameters
    ----------
    layers : the layers in order; `add` appends more.
    loss : "mse", "cross_entropy" (on a last layer with softmax, or with no activation) or a Loss.
    optimizer : a name or an Optimizer, for every layer that brings none of its own.
    l2 : factor of the L2 penalty l2 / 2 sum of w^2 on all weights (not biases).
    label_smoothing : share of each target spread evenly over all classes.
    seed : decides first weights, shuffling, dropout and augmentation: the same seed, the same bits.
    threads : how many compute shards; None takes one per core.  Never changes a result.
    kernels : the kernel dialect; None takes the default.
    dtype : float32 to train, float64 to check.
    eager : every layer runs as written, in every step.  Otherwise the kernel calls of shipped
        layers are recorded and replayed, which is compared with the layers again and again; what
        was edited, and what is your own, runs as written between them.  `summary` says which.

    >>> from Filters import Conv2D, MaxPool2D
    >>> from MLP import Dense
    >>> from Datasets import Digits
    >>> data = Digits()
    >>> network = CNN(Conv2D(4, 3), MaxPool2D(2), Dense(10), seed=0)
    >>> history = network.fit(data.train, data.validation, epochs=2, progress=False)
    >>> len(history.records), network.predict(data.test).shape
    (2, (270,))
    """

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
        if not 0 <= l2 < math.inf:
            raise ValueError(f"l2: expected a number of 0 or more, got {l2!r}")
        require_count("seed", seed, least=0)
        self.l2, self.seed = float(l2), int(seed)
        self.workers = Workers(threads)
        self.kernels = choose(kernels)
        self.dtype = np.dtype(dtype)
        if self.dtype not in (np.float32, np.float64):
            raise ValueError(f"dtype: expected float32 or float64, got {self.dtype}")
        self.eager = bool(eager)
        self.parameters: Parameters | None = None
        self.classes: tuple[str, ...] = ()
        self.scaling: Scaling | None = None
        self.history = History()
        self.input_shape: Shape = ()
        self.handed_softmax = False  # whether the last layer had one before the loss took it
        self.steps_done = 0
        for layer in layers:
            self.add(layer)

    # --- building ----------------------------------------------------------------------------

    def add(self, layer: Layer) -> CNN:
        """Append a layer; returns the network, so that calls can be chained.

        Raises TypeError for what is no layer, ValueError for a layer that is in it already or for
        a network that is already built.
        """
        if not isinstance(layer, Layer):
            raise TypeError(f"add: expected a layer such as Conv2D(8) or Dense(10), got {layer!r}")
        if any(layer is other for other in self.layers):
            raise ValueError(f"add: {layer.label} is in the network already; make a second one")
        if self.parameters is not None:
            raise ValueError("add: the network is built already; add all layers before that")
        self.layers.append(layer)
        return self

    def build(self, input_shape: Shape, room: Room | None = None) -> CNN:
        """Create the parameters for images of (channels, height, width); once is enough.

        `room`: for weights that come from a file; they are 0 until it fills them.
        Raises ValueError where a layer does not fit the output of the one before it.
        """
        shape = tuple(input_shape)
        if self.parameters is not None:  # every step asks
            if shape != self.input_shape:
                raise ValueError(
                    f"the network was built for images {self.input_shape}, got {shape}; "
                    "make a new network for another size"
                )
            self._take_changes()
            return self
        if not self.layers:
            raise ValueError("the network has no layers; add some, the last being Dense(classes)")
        if not shape or min(shape) < 1:
            raise ValueError(f"expected a shape (channels, height, width), got {input_shape}")
        self.input_shape = tuple(int(n) for n in shape)
        self._assemble(room)
        return self

    def _assemble(self, room: Room | None = None, built: Sequence[Layer] = ()) -> None:
        """Build the layers, but those in `built`, and what runs them."""
        give_names(self.layers)
        shape = self.input_shape
        for number, layer in enumerate(self.layers):
            layer.number = number
            if layer not in built:
                rng = None if room else np.random.default_rng([self.seed, number])
                shape = layer.build(shape, Setup(rng, self.dtype, self.kernels, room))
            elif shape != layer.input_shape:
                raise ValueError(
                    f"{layer.label} was built for {layer.input_shape} and would now get {shape}; "
                    "make a new network for other shapes"
                )
            shape = layer.output_shape
        learns = False
        for layer in self.layers:  # up to the first one that learns, nobody needs dx
            layer.needs_input_gradient = learns
            learns = learns or bool(layer.parameters)
        self._hand_softmax_to_loss()
        self.parameters = Parameters(self.layers, self.optimizer, self.l2, self.dtype)
        self._make_executor()

    def _make_executor(self) -> None:
        """What runs the layers, and the state from which changes by hand are told."""
        self._hand_softmax_to_loss()
        self.executor = Executor(
            self.layers, self.loss, self._built(), self.input_shape, self.workers, self.seed,
            self.eager,
        )  # fmt: skip
        self._settings, self._assembled = self._current_settings(), self._current_parts()
        self._watch = self._new_watch()

    def _current_settings(self) -> list[Any]:
        return [self.loss, self.optimizer, self.l2, self.eager, self.seed, *self.layers]

    def _current_parts(self) -> list[Any]:
        """The parts of the layers that a user may replace by hand."""
        every = [*self.layers, *(leaf for layer in self.layers for leaf in layer.leaves())]
        names = ("parameters", "buffers", "optimizer", "l2", "activation")
        return [getattr(layer, name, None) for layer in every for name in names]

    def _new_watch(self) -> Watch:
        leaves = [leaf for layer in self.layers for leaf in layer.leaves()]
        carried = [getattr(layer, "activation", None) for layer in [*self.layers, *leaves]]
        held = [activation for activation in carried if activation is not None]
        return Watch([*self.layers, *leaves, *held, self.loss])

    def _take_changes(self) -> None:
        """Make what was changed by hand since the last step take effect in the next one."""
        same = [self.loss, self.optimizer, self.l2, self.eager, self.seed, *self.layers]
        if self._settings == same and not self._watch.changed():  # every step asks
            return
        self.loss, self.optimizer = loss_named(self.loss), optimizer_named(self.optimizer)
        for layer in self.layers:
            for leaf in [layer, *layer.leaves()]:
                if hasattr(leaf, "activation"):
                    leaf.activation = activation_named(leaf.activation).use(self.kernels)
        parameters = self._built()
        parameters.rebind()
        if self.layers != parameters.layers:  # the optimizers begin anew
            self._assemble(built=parameters.layers)
        elif self._settings != self._current_settings() or any(
            a is not b for a, b in zip(self._assembled, self._current_parts(), strict=True)
        ):
            parameters.configure(self.optimizer, self.l2)
            self._make_executor()
        else:
            self.executor.refresh()
            self._watch = self._new_watch()

    def _hand_softmax_to_loss(self) -> None:
        """Cross-entropy takes logits, so a softmax at the end is left to it (and to predictions).

        What turns the outputs into class scores is kept in `self.head`.
        """
        last: Any = self.layers[-1]
        carried = getattr(last, "activation", last)
        self.head: Any = None
        if not self.loss.on_logits:
            if self.handed_softmax and carried is not last:  # another loss was set since
                last.activation = Softmax().use(self.kernels)
            self.handed_softmax = False
            return
        if not isinstance(carried, (Softmax, Identity)) and hasattr(carried, "apply"):
            raise ValueError(
                f"{self.loss.word} expects a last layer with activation 'softmax' or None, got "
                f"{carried.word!r} in {last.label}; write activation='softmax', or loss='mse'"
            )
        self.head = Softmax().use(self.kernels)
        self.handed_softmax = self.handed_softmax or isinstance(carried, Softmax)
        if carried is last and isinstance(last, Softmax):
            self.layers[-1] = Identity(name=last.name)
            rng = np.random.default_rng(self.seed)  # an identity draws nothing from it
            self.layers[-1].build(last.input_shape, Setup(rng, self.dtype, self.kernels))
        elif isinstance(carried, Softmax):
            last.activation = Identity()

    @property
    def output_shape(self) -> Shape:
        """The shape of the outputs, samples left out: (classes,)."""
        return self.layers[-1].output_shape

    @property
    def parameter_count(self) -> int:
        """How many numbers are trained."""
        return len(self._built())

    @property
    def mode(self) -> str:
        """How steps run: "captured", or "eager" (layer by layer as written); see `summary`."""
        self._built()
        self._take_changes()
        return self.executor.mode

    def _built(self) -> Parameters:
        if self.parameters is None:
            raise ValueError("the network is not built yet: call fit, or build(data.shape), first")
        return self.parameters

    def summary(self, input_shape: Shape | None = None) -> str:
        """Print and return a table: output, parameters, multiply-adds, receptive field, memory.

        Below it stands whether steps are captured or eager, and which layers run as written.

        `input_shape` (channels, height, width) builds the network if it is not built yet.
        """
        if input_shape is not None:
            self.build(input_shape)
        self._built()
        self._take_changes()
        table = summary_table(self.layers, self.dtype.itemsize)
        table = f"{table}\n{self.executor.describe()}"
        print(table)
        return table

    # --- the two passes ----------------------------------------------------------------------

    def forward(self, images: Array, training: bool = False) -> tuple[Array, Any]:
        """The outputs (samples, classes) of scaled images, and what `backward` needs.

        `training` turns dropout and batch statistics on.
        """
        x = self._checked_images(images)
        run = Pass(training, self.seed, self.steps_done, 0, len(x))
        with self.workers.ready():
            y, memories = alone(forward_chain(self.layers, to_batch_last(x), run))
        return to_batch_first(y), memories

    def backward(self, dy: Array, memories: Any) -> dict[str, dict[str, Array]]:
        """From the gradient of the outputs (samples, classes) to that of every parameter.

        Returns {layer name: {parameter name: gradient}}.
        """
        dy = to_batch_last(np.asarray(dy, self.dtype))
        with self.workers.ready():
            _, gradients = alone(backward_chain(self.layers, dy, memories))
        return {layer.name: own for layer, own in zip(self.layers, gradients, strict=True) if own}

    # --- training ----------------------------------------------------------------------------

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
        average: float = 0.0,
        preview: float | None = None,
        preview_folder: AnyPath = "results/preview",
        checkpoint: AnyPath | None = None,
        checkpoint_every: int | None = None,
        resume: AnyPath | None = None,
        allow_changes: bool = False,
        progress: bool = True,
    ) -> History:
        """Train on shuffled mini-batches; the weights of the best epoch come back at the end.

        Parameters
        ----------
        train, validation : a Dataset, or a pair (images, labels).  With validation, the epoch
            with the highest validation accuracy (then the lowest loss) is the best one, and its
            weights come back however the run ends.
        epochs, batch_size : whole numbers; a batch of 1 is classic stochastic descent.
        augment : (images, generator) -> images, such as `Datasets.Augmentation(shift=2)`.
        shuffle : whether each epoch has its own order.
        patience : stop after so many epochs without a better one; None never stops early.
        average : above 0, validation and the weights that come back are those of a running mean
            that keeps this share of itself in every step (0.999: about the last 1,000 steps).  The
            running statistics of a BatchNorm stay the last ones, so that validation wavers while
            the learning rate is high.
        preview : every such share of an epoch (0.25: four times) a picture of the feature maps
            and class scores is written to `preview_folder`.
        checkpoint : a file for all that it takes to go on: written after every epoch, after every
            `checkpoint_every` steps, and at Ctrl-C; always whole, whatever happens meanwhile.
        resume : such a file, to go on from: the end is the same, bit for bit, as without a stop.
            `checkpoint` is the same file unless told otherwise.
        allow_changes : go on with another optimizer setting, number of epochs or the like than the
            run was begun with; what changed is recorded in `history.changes`.
        progress : whether a bar and a line for each epoch are printed.

        Ctrl-C once finishes the step and keeps what was learnt.  Raises Diverged, with the step
        and the layer, where the loss, a weight or a running statistic is no longer finite; the best
        weights come back first (without validation those behind the epoch of the lowest loss, or
        the first ones), and the optimizers begin anew.  Raises ValueError or TypeError for
        arguments that do not fit.
        """
        data = self._as_data(train)
        checks = None if validation is None else self._as_data(validation)
        checks = checks if checks is not None and len(checks) else None
        require_count("epochs", epochs)
        require_count("batch_size", batch_size)
        if patience is not None:
            require_count("patience", patience)
            if checks is None:
                raise ValueError("patience needs validation data to judge by; pass validation=...")
        require_share("average", average)
        if checkpoint_every is not None:
            require_count("checkpoint_every", checkpoint_every)
            if checkpoint is None and resume is None:
                raise ValueError("checkpoint_every needs a file; pass checkpoint=...")
        if preview is not None:
            require_positive("preview", preview)
            require_share("preview", preview, closed=True)
        self.build(data.shape)
        self._check_labels(data)
        if checks is not None:  # said now, not after an epoch of work
            self.build(checks.shape)
            self._check_labels(checks)
        for part in (data, checks):
            if part is not None and part.images.dtype != np.uint8:
                check_finite(part.images)
        self.classes, self.scaling = data.classes, data.scaling
        course = Course(
            self, self._built(), data, checks, epochs, batch_size, augment=augment,
            shuffle=shuffle, patience=patience, average=average, keep_every=checkpoint_every,
            progress=progress,
        )  # fmt: skip
        if checkpoint is not None or resume is not None:
            self._keep_checkpoints(course, checkpoint, resume, allow_changes)
        if preview:
            done = course.at.epoch + course.at.seen / len(data)
            course.after_step = Previews(self, checks or data, preview, preview_folder, done)
        self.history = course.history
        if progress:
            print(textwrap.fill(self.executor.describe(), 80))
        with self.workers.ready(), Interruption() as interruption:
            return course.run(interruption)

    def _keep_checkpoints(
        self, course: Course, target: AnyPath | None, resume: AnyPath | None, allow_changes: bool
    ) -> None:
        """Have a course write checkpoints to `target`, and be where `resume` was left."""
        record = model_file.contents_of(self).records["network"]
        fit = checkpoints.fit_record(course, self._dialect(), self.executor.execution)
        if resume is not None:
            saved = arrays_file.read(resume)
            now = checkpoints.decisions(record, fit)
            checkpoints.go_on(course, saved, now, allow_changes, str(resume))
            self.steps_done = saved.records["network"]["steps_done"]
        path = Path(target if target is not None else resume or "")

        def keep(course: Course) -> None:
            now = fit | {"execution": self.executor.execution}
            whole = checkpoints.contents(course, model_file.contents_of(self), now)
            write_atomically(path, arrays_file.encode(whole))

        course.keep = keep

    def train_step(
        self,
        data: AnyData,
        indices: Array | None = None,
        moment: Moment | None = None,
        augment: Augment | None = None,
    ) -> tuple[float, int]:
        """One step on the images at `indices` (all of them by default).

        Returns the sum of their losses and how many were right, before the step.  `fit` calls this;
        call it yourself for a training loop of your own.

        Raises Diverged where the loss is not finite (nothing has changed then), and where the step
        has made a number of the network infinite or NaN (`fit` puts sound ones back).
        """
        source = self._as_data(data)
        self.build(source.shape)
        where = np.arange(len(source)) if indices is None else _places(indices)
        moment = moment or Moment(self.steps_done, self.steps_done + 1)
        with self.workers.ready():
            loss, right = self.executor.train_step(
                source, where, moment, self.steps_done, augment,
                lambda what: self._diverged(source, where, what),
            )  # fmt: skip
        self.steps_done += 1
        return loss, right

    def _diverged(
        self, data: Dataset, indices: Array, what: str, training: bool = True
    ) -> Diverged:
        """The error for numbers that are not finite: which layer they first show in, and advice."""
        step = self.steps_done + 1
        x, _ = data.batch(indices, self.dtype)
        where = "the images" if not np.isfinite(x).all() else "the loss"
        run = Pass(training, self.seed, self.steps_done, 0, len(indices))
        y = to_batch_last(x)
        with np.errstate(all="ignore"):
            for layer in self.layers if where == "the loss" else []:
                arrays = {**layer.parameters, **layer.buffers}
                wrong = [k for k, array in arrays.items() if not np.isfinite(array).all()]
                y, _ = layer.forward(y, run)
                if wrong or not np.isfinite(y).all():
                    part = f"the {wrong[0]}" if wrong else "the output"
                    where = f"{part} of {layer.label}"
                    break
        return Diverged(
            f"step {step}: {what}; it first shows in {where}. "
            f"Try a learning rate ten times smaller (now {self.optimizer!r}), images scaled to "
            "about -1..1, and gradient_check()"
        )

    def check_validation(self, data: Dataset, loss: float) -> None:
        """Raise Diverged unless the loss on validation data is finite."""
        if math.isfinite(loss):
            return
        parts = self.executor.outputs(data, 1024)
        first = next((where for where, y in parts if not np.isfinite(y).all()), np.arange(1))
        raise self._diverged(data, first, "the validation loss is not a finite number", False)

    # --- using it ----------------------------------------------------------------------------

    def evaluate(self, data: AnyData, batch_size: int = 1024) -> Evaluation:
        """Mean loss and share of right answers on a data set."""
        source = self._as_data(data)
        self.build(source.shape)
        self._check_labels(source)
        if not len(source):
            raise ValueError("evaluate: the data set is empty")
        start, loss, correct = time.perf_counter(), 0.0, 0
        with np.errstate(**LOUD_ENOUGH):
            for indices, outputs in self.executor.outputs(source, batch_size):
                labels = source.labels[indices]
                loss += float(self.loss.forward(outputs, labels)[0].sum(dtype=np.float64))
                correct += count_right(outputs, labels)
            penalty = self._built().penalty()
        count = len(source)
        seconds = time.perf_counter() - start
        return Evaluation(loss / count + penalty, correct / count, count, seconds)

    def predict(self, images: AnyData, batch_size: int = 1024) -> Array:
        """The most likely class of each image: (samples,) integers."""
        return self.predict_proba(images, batch_size).argmax(axis=1)

    def predict_proba(self, images: AnyData, batch_size: int = 1024) -> Array:
        """The share of belief in each class: (samples, classes), rows sum to 1.

        Softmax of the logits behind cross-entropy.  Sigmoid scores are divided by their sum (they
        are trained one by one and need not sum to 1); other outputs go through softmax.
        """
        scores = self.scores(images, batch_size)
        if self.head is None and isinstance(self._last_activation(), Sigmoid):
            least = np.finfo(scores.dtype).tiny
            return scores / np.maximum(scores.sum(axis=1, keepdims=True), least)
        if self.head is None and not isinstance(self._last_activation(), Softmax):
            return np.ascontiguousarray(self.kernels.softmax_(scores.T.copy()).T)
        return scores

    def scores(self, images: AnyData, batch_size: int = 1024) -> Array:
        """What the last layer says, (samples, classes): sigmoid or softmax outputs as they are."""
        source = as_images(images, self.scaling)
        self.build(source.shape)
        batches = self.executor.outputs(source, batch_size)
        parts = [to_batch_first(self._headed(y)) for _, y in batches]
        return np.concatenate(parts) if parts else np.empty((0, *self.output_shape), self.dtype)

    def _headed(self, outputs: Array) -> Array:
        return outputs if self.head is None else self.head.apply(outputs)

    def _last_activation(self) -> Any:
        return getattr(self.layers[-1], "activation", self.layers[-1])

    def activations(self, images: AnyData) -> list[tuple[str, Array]]:
        """What every layer makes of some images: (name, (samples, channels, height, width)).

        The last one is what the loss sees; dense layers give (samples, units).
        """
        source = as_images(images, self.scaling)
        self.build(source.shape)
        y = to_batch_last(source.batch(np.arange(len(source)), self.dtype)[0])
        found = []
        with self.workers.ready():
            for layer in self.layers:
                y, _ = layer.forward(y, Pass(False))
                found.append((layer.name, to_batch_first(y)))
        return found

    # --- checks ------------------------------------------------------------------------------

    def sanity_check(
        self, data: AnyData, images: int = 30, epochs: int = 300, quiet: bool = False
    ) -> SanityReport:
        """Overfit a few images with a fresh copy of this network: can it learn at all?

        Takes `images` (20 to 50) spread over the classes, trains up to `epochs` on them in batches
        of a tenth, and stops when the loss is near zero and all are right.  The first loss is
        compared with what chance gives.  This network is not changed.  Prints and returns
        the report.
        """
        require_count("epochs", epochs)
        require_count("images", images)
        if not 20 <= images <= 50:
            raise ValueError(f"images: a sanity check takes 20 to 50, got {images}")
        source = self._as_data(data)
        few = source.subset(spread(source.labels, images))
        twin = self._twin(self.dtype).build(source.shape)
        twin._check_labels(source)
        _, outputs = next(twin.executor.outputs(few, len(few)))
        report = overfit(twin, few, self.loss.at_chance(outputs), epochs, quiet)
        if not quiet:
            print(report)
        return report

    def gradient_check(self, data: AnyData, images: int = 4, quiet: bool = False) -> GradientReport:
        """Compare every layer's gradients with central differences, in float64.

        Works on a copy with the same weights.  Prints and returns the report, which tells the
        layer and the parameter that is off.  `data`: a Dataset, a pair, or images alone.
        """
        source = self._as_data(data) if isinstance(data, tuple) else as_images(data, self.scaling)
        self.build(source.shape)
        twin = self._twin(np.float64)
        x = source.batch(np.arange(min(images, len(source))), np.float64)[0]
        twin.build(source.shape)._built().restore(self._built().snapshot())
        for layer in twin.layers:
            layer.needs_input_gradient = True
        run = Pass(True, self.seed, 0, 0, len(x))
        report = check_layers(twin.layers, to_batch_last(x), run, self.seed)
        if not quiet:
            print(report)
        return report

    def preview(
        self,
        image: AnyData,
        path: str | os.PathLike[str],
        truth: int | None = None,
        title: str = "",
    ) -> None:
        """Write a picture of what one image becomes: feature maps by layer, class scores as bars.

        `image`: (channels, height, width), or a Dataset of one.
        """
        # Only who asks for a picture waits for matplotlib to load.
        from glassbox.report.figures import preview as preview_figure

        one = image if isinstance(image, Dataset) else np.asarray(image)[None]
        source = as_images(one, self.scaling)
        steps = [point["images"] for point in self.history.running]
        running = (
            steps,
            [point["loss"] for point in self.history.running],
            [point["accuracy"] for point in self.history.running],
        )
        figure = preview_figure(
            source.batch([0])[0][0],
            [(name, maps[0]) for name, maps in self.activations(source)],
            self.scores(source)[0],
            self.classes or [str(k) for k in range(self.output_shape[0])],
            truth,
            running,
            title,
        )
        save(figure, path)

    def _twin(self, dtype: Any) -> CNN:
        """An unbuilt network of the same layers and settings."""
        twin = object.__new__(type(self))
        vars(twin).update(vars(self))
        twin.dtype, twin.parameters, twin.history = np.dtype(dtype), None, History()
        twin.steps_done = 0
        twin.layers = [layer.fresh() for layer in self.layers]
        return twin

    # --- files -------------------------------------------------------------------------------

    def save(self, path: AnyPath) -> Path:
        """Write the network to a safetensors file: weights, layers, settings, scaling, class names.

        `CNN.load` makes the same network of it, which predicts on raw images by itself.  The
        weights have PyTorch's names and layout, such as conv1.weight (out, in, kh, kw).  The file
        is written whole or not at all.  Raises ValueError for a network that is not built yet,
        TypeError for a layer that does not keep its arguments, OSError where it cannot be written.
        """
        self._built()
        return write_atomically(path, arrays_file.encode(model_file.contents_of(self)))

    @classmethod
    def load(
        cls,
        path: AnyPath,
        *,
        threads: int | None = None,
        kernels: str | None = None,
        eager: bool = False,
        own: tuple[type, ...] = (),
    ) -> CNN:
        """The network that `save` wrote; of a checkpoint, with the weights of its last step.

        own : classes of your own (layers, losses) that the network is made of.  The file only
            names classes; nothing in it is ever executed.
        threads, kernels, eager : as for a new network: not the model's business.

        Raises ValueError, naming the file, for anything that is not such a file whole, and OSError
        where it cannot be read.

        >>> import tempfile
        >>> network = CNN(MLP.Dense(3)).build((1, 4, 4))
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     twin = CNN.load(network.save(f"{folder}/model.safetensors"))
        >>> images = np.zeros((2, 1, 4, 4), np.uint8)
        >>> bool((twin.predict_proba(images) == network.predict_proba(images)).all())
        True
        """
        saved = arrays_file.read(path)
        if "network" not in saved.records:
            raise ValueError(
                f"{path}: holds arrays but no network; make one of the same layers, build it, and "
                "call load_weights"
            )
        make = partial(cls, threads=threads, kernels=kernels, eager=eager)
        return model_file.network_of(saved, str(path), _named([*KINDS, *own]), make)

    def load_weights(self, path: AnyPath, names: Mapping[str, str] | None = None) -> CNN:
        """Take the weights of a safetensors file, such as a PyTorch model's `state_dict()`.

        names : {layer's name here: module's name there} where they differ.  Without it the names
            must be the same, or numbers as in PyTorch's `Sequential`, in the order of the layers.

        Raises ValueError where names or shapes do not fit; the network is then as before.
        """
        self._built()
        where = str(path)
        arrays = model_file.own_arrays(arrays_file.read(path))
        if names:
            arrays = model_file.renamed(arrays, names, where)
        elif arrays.keys().isdisjoint(model_file.arrays_of(self.layers)):
            arrays = model_file.in_order(self.layers, arrays, where)
        model_file.fill(self.layers, arrays, where)
        return self

    def _dialect(self) -> str:
        """The name that `kernels` was chosen by."""
        return next(name for name, module in DIALECTS.items() if module == self.kernels.__name__)

    def __reduce__(self) -> tuple[Any, ...]:
        """For `copy.deepcopy` and for those who keep a network in an object of theirs.

        Copied as a file would hold it, with the optimizers' state.
        """
        contents = model_file.contents_of(self)
        if self.parameters is not None:
            arrays, steps = checkpoints.optimizer_state(self.parameters)
            contents.arrays |= arrays
            contents.records["optimizer_steps"] = steps
        own = tuple(kind for kind in map(type, [*self.layers, self.loss]) if kind not in KINDS)
        settings = {
            "threads": self.workers.threads, "kernels": self._dialect(), "eager": self.eager,
        }  # fmt: skip
        return _revive, (type(self), arrays_file.encode(contents), settings, own, self.history)

    # --- data --------------------------------------------------------------------------------

    def _as_data(self, data: AnyData) -> Dataset:
        if isinstance(data, Dataset):  # every step asks
            return data
        return as_dataset(data, self._class_names(), self.scaling)

    def _class_names(self) -> tuple[str, ...]:
        """The classes' names if known, else the numbers of the last layer's units, else none."""
        last = self.layers[-1] if self.layers else None
        units = int(getattr(last, "units", 0))
        return self.classes or tuple(str(k) for k in range(units))

    def _checked_images(self, images: Any) -> Array:
        """Scaled images of the network's own dtype and shape."""
        array = np.asarray(images, self.dtype)
        if array.ndim == 3:
            array = array[:, None]
        self.build(array.shape[1:])
        return array

    def _check_labels(self, data: Dataset) -> None:
        """Raise unless there is an output for every class."""
        outputs = self.output_shape
        if len(outputs) != 1:
            raise ValueError(
                f"the last layer gives {outputs}, expected (classes,); end with Dense or Flatten"
            )
        if len(data.classes) != outputs[0]:
            raise ValueError(
                f"the data has {len(data.classes)} classes but the last layer gives {outputs[0]} "
                f"outputs; end the network with Dense({len(data.classes)})"
            )


def _revive(
    kind: type[CNN], data: bytes, settings: dict[str, Any], own: tuple[type, ...], history: History
) -> CNN:
    """The network that `__reduce__` took apart."""
    saved = arrays_file.decode(data, "a copied network")
    make = partial(kind, **settings)
    network = model_file.network_of(saved, "a copied network", _named([*KINDS, *own]), make)
    if network.parameters is not None:
        steps = saved.records["optimizer_steps"]
        checkpoints.restore_optimizer(network.parameters, saved.arrays, steps, "a copied network")
    network.history = history
    return network


def _named(kinds: Iterable[type]) -> dict[str, type]:
    return {kind.__name__: kind for kind in kinds}


def _places(indices: Any) -> Array:
    """Indices as kernels take them, whatever kind of whole numbers or mask they are."""
    places = np.asarray(indices)
    if places.dtype == bool:
        return np.flatnonzero(places)
    return places.astype(np.int64) if places.dtype.kind in "iu" else places
