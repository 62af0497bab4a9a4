"""What `python main.py` does with a network: data, summary, training, test, results."""

from __future__ import annotations

import dataclasses
import math
import re
import sys
import textwrap
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from CNN import CNN, Evaluation
from Datasets import DataUnavailable, Digits, Splits, load
from engine.errors import Diverged
from engine.machine import machine
from experiment.arguments import Options, parse
from Filters import Conv2D
from insight.figures import confusion, curves, feature_maps, filters, mistakes, running
from insight.metrics import Metrics, evaluate_predictions
from insight.results import Results

Builder = Callable[[Options], CNN]
IMAGES_AT_LEAST = 40_000  # a small data set is gone through more often, unless --epochs says


def start(network: Builder, arguments: Sequence[str] | None = None, **defaults: Any) -> None:
    """Run the experiment of a command line; mistakes end it with a sentence, not a traceback.

    network : from `Options` to an unbuilt CNN.
    arguments : the command line's words; None takes those the program was started with.
    defaults : of `Options`: epochs, batch_size, learning_rate and the like.
    """
    options = parse(arguments, **defaults)
    try:
        run(network, options)
    except KeyboardInterrupt:
        sys.exit("Stopped at once: nothing more was written.")
    except (ValueError, TypeError, OSError, Diverged) as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)


def run(network: Builder, options: Options) -> Results | None:
    """Train, test and write; returns the folder (None for a sanity check, which writes nothing)."""
    begun = time.perf_counter()
    data = find_data(options)
    options = dataclasses.replace(options, classes=len(data.classes))
    print(textwrap.fill(str(data), 80), end="\n\n")
    model = network(options)
    model.summary(data.shape)
    print()
    if options.sanity_check:
        model.sanity_check(data.train)
        return None
    results = Results.create(options.output, stem=_stem(data))  # before any work that could be lost
    try:
        _train(model, data, options, results)
    except BaseException:
        _remove_if_empty(results)
        raise
    report(model, data, options, results, begun)
    return results


def find_data(options: Options) -> Splits:
    """The data set asked for; where MNIST can neither be found nor fetched, the embedded digits."""
    try:
        return load(options.dataset, folder=options.data_dir)
    except DataUnavailable as error:
        if options.data_dir is not None:  # a folder was named: silence would hide the mistake
            raise
        print(
            f"NOTICE: {error}\n\nTraining on scikit-learn's 1,797 embedded 8 x 8 digits instead.\n",
            file=sys.stderr,
            flush=True,
        )
        return Digits()


def _stem(data: Splits) -> str:
    return re.sub(r"[^a-z0-9]+", "-", Path(data.name).stem.lower()).strip("-") or "run"


def _remove_if_empty(results: Results | None) -> None:
    """No empty folder stays behind a run that failed before it had anything to show."""
    if results is not None and results.path.is_dir() and not any(results.path.iterdir()):
        results.path.rmdir()


def _train(model: CNN, data: Splits, options: Options, results: Results) -> None:
    epochs = options.epochs
    enough = math.ceil(IMAGES_AT_LEAST / len(data.train))
    if not options.epochs_given and enough > epochs:
        epochs = enough
        print(f"{len(data.train):,} images are few: {epochs} epochs, not {options.epochs}.\n")
    model.fit(
        data.train,
        data.validation,
        epochs,
        options.batch_size,
        preview=options.preview,
        preview_folder=results.path / "previews",
    )


def report(model: CNN, data: Splits, options: Options, results: Results, begun: float) -> None:
    """Test the network and write everything a person wants to see to the results folder."""
    part, name = (data.test, "test") if len(data.test) else (data.train, "train")
    proba = model.predict_proba(part)
    predicted = proba.argmax(axis=1)
    metrics = evaluate_predictions(part.labels, predicted, data.classes)
    tested = model.evaluate(part)

    history = model.history
    results.write_json("history", history.to_json())
    results.write_csv("history", history.records)
    results.write_json("settings", settings(model, data, options))
    _write_pictures(model, data, results, metrics)
    gallery = mistakes(part.images, part.labels, predicted, proba.max(axis=1), data.classes)
    results.write_figure("mistakes", gallery)
    seconds = time.perf_counter() - begun
    results.write_json("metrics", _figures(metrics, tested, name, model, seconds))
    print(f"\n{metrics.table()}\n")
    print(f"{name} {tested}")
    print(f"{seconds:.1f} s in all, {history.seconds:.1f} s of them training and validating")
    print(f"Results: {results.path}")


def _write_pictures(model: CNN, data: Splits, results: Results, metrics: Metrics) -> None:
    results.write_figure("curves", curves(model.history.records))
    points = model.history.running
    columns = ([p[key] for p in points] for key in ("images", "loss", "accuracy"))
    results.write_figure("running", running(*columns))
    results.write_figure("confusion", confusion(metrics.confusion, data.classes))
    one = (data.test if len(data.test) else data.train).take(1)
    maps = [(name, array[0]) for name, array in model.activations(one)]
    results.write_figure("feature_maps", feature_maps(one.batch([0])[0][0], maps))
    for layer in model.layers:
        if isinstance(layer, Conv2D):
            drawn = filters(layer.parameters["weights"], layer.name)
            results.write_figure(f"filters_{layer.name}", drawn)


def _figures(
    metrics: Metrics, tested: Evaluation, name: str, model: CNN, seconds: float
) -> dict[str, Any]:
    """The content of metrics.json; accuracies are shares of 1."""
    last = model.history.records[(model.history.best_epoch or 0) - 1]
    return {
        name: {"accuracy": tested.accuracy, "loss": tested.loss, **metrics.to_json()},
        "validation": {
            "accuracy": last.get("validation_accuracy"),
            "loss": last.get("validation_loss"),
        },
        "parameters": model.parameter_count,
        "seconds": {"total": seconds, "training": model.history.seconds},
    }


def settings(model: CNN, data: Splits, options: Options) -> dict[str, Any]:
    """Everything that decides the run, and the machine it ran on."""
    return {
        "options": dataclasses.asdict(options),
        "layers": [
            {"name": layer.name, "kind": type(layer).__name__, "output": layer.output_shape}
            for layer in model.layers
        ],
        "loss": model.loss.word,
        "optimizer": repr(model.optimizer),
        "data": repr(data),
        "machine": machine() | {"threads": model.workers.threads},
    }
