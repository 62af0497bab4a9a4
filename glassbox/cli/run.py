"""What `python main.py` does with a network: data, summary, training, test, results."""

from __future__ import annotations

import dataclasses
import io
import math
import os
import re
import shutil
import signal
import sys
import textwrap
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from CNN import CNN
from Datasets import Dataset, DataUnavailable, Digits, Splits, load
from Filters import Conv2D
from glassbox.callbacks import KeepEpochs
from glassbox.cli.arguments import Options, parse
from glassbox.cli.mistakes import told
from glassbox.engine.layer import Array
from glassbox.engine.machine import machine
from glassbox.engine.summary import summary_table
from glassbox.interrupt import CODE
from glassbox.only_one import LOCK, only_one
from glassbox.report.evaluation import Run, Scores, write_evaluation
from glassbox.report.figures import feature_maps, filters
from glassbox.report.results import Results

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Builder = Callable[[Options], CNN]
EXPLORER, LARGE = "explorer.html", 250_000  # parameters from which it has them in 16 bits
MODEL, CHECKPOINT, EPOCHS = "model.safetensors", "checkpoint.safetensors", "epochs"
IMAGES_AT_LEAST = 40_000  # a small data set is gone through more often, unless --epochs says


def start(network: Builder, arguments: Sequence[str] | None = None, **defaults: Any) -> None:
    """Run the experiment of a command line; see `glassbox.cli.mistakes` for how errors are told.

    network : from `Options` to an unbuilt CNN
    arguments : the command line's words; by default those the program was started with
    defaults : of `Options`: epochs, batch_size, learning_rate and the like
    """
    prepare_streams()
    options = parse(arguments, **defaults)
    try:
        with sigterm_as_ctrl_c():
            run(network, options)
    except KeyboardInterrupt:
        print("Stopped immediately.", file=sys.stderr)
        sys.exit(CODE)
    except Exception as error:
        print(told(error), file=sys.stderr)
        sys.exit(2)


def prepare_streams() -> None:
    """Open closed streams to nowhere; show escaped what stdout and stderr cannot show."""
    for name in ("stdin", "stdout", "stderr"):  # in this order, to fill their numbers
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, "r" if name == "stdin" else "w"))  # noqa: SIM115
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


@contextmanager
def sigterm_as_ctrl_c() -> Iterator[None]:
    """SIGTERM ends like Ctrl-C inside, unless something else is set up for it."""
    here = threading.current_thread() is threading.main_thread()
    if not here or signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL:
        yield
        return
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)


def run(network: Builder, options: Options) -> Results | None:
    """Train, test and write; return the folder (None for a sanity check, which writes nothing).

    Raises ValueError where another process is at work in the folder of the run.
    """
    with ExitStack() as held:
        return _run(network, options, held)


def _run(network: Builder, options: Options, held: ExitStack) -> Results | None:
    if options.resume is not None:
        held.enter_context(only_one(options.resume))
    begun = time.perf_counter()
    data = find_data(options)
    options = dataclasses.replace(options, classes=len(data.classes))
    _print_wrapped(str(data))
    model = network(options)
    model.summary(data.shape)
    print()
    if options.sanity_check:
        model.sanity_check(data.train)
        return None
    # Before any work that could be lost: a new folder, or that of the resumed run.
    stem = re.sub(r"[^a-z0-9]+", "-", Path(data.name).stem.lower()).strip("-") or "run"
    new = options.resume is None
    results = Results.create(options.output, stem=stem) if new else Results(str(options.resume))
    if new:
        held.enter_context(only_one(results.path))
    results.write_json("settings", settings(model, data, dataclasses.asdict(options)))
    try:
        _train(model, data, options, results)
    except BaseException as error:
        # A run that failed before it had anything to show but its settings leaves no folder.
        if {path.name for path in results.path.iterdir()} <= {"settings.json", LOCK}:
            (results.path / "settings.json").unlink(missing_ok=True)
            held.close()
            results.path.rmdir()
        if isinstance(error, KeyboardInterrupt):
            _print_how_to_resume(results)
        raise
    model.save(results.path / MODEL)
    report(model, data, dataclasses.asdict(options), results, begun)
    if model.history.ended.startswith("interrupted"):
        _print_how_to_resume(results)
    return results


def _print_wrapped(text: str) -> None:
    """Print a paragraph, 80 columns wide or as wide as a narrower terminal."""
    print(textwrap.fill(text, min(80, shutil.get_terminal_size().columns)), end="\n\n")


def _print_how_to_resume(results: Results) -> None:
    if (results.path / CHECKPOINT).exists():
        name = Path(sys.argv[0]).name
        program = "glassbox train" if name in ("glassbox", "__main__.py") else f"python {name}"
        print(f"Resume with: {program} --resume {results.path}")


def find_data(options: Options) -> Splits:
    """Load the chosen data set, or the digits where MNIST can neither be found nor fetched."""
    given = options.resume is None or options.data_dir is None or "data_dir" in options.changed
    try:  # what only a settings file names is read, but nothing is put there
        data = load(options.dataset, folder=options.data_dir, size=options.size, download=given)
    except DataUnavailable as error:
        if options.data_dir is not None:  # a folder was named: silence would hide the mistake
            raise
        instead = "Training on scikit-learn's 1,797 embedded 8 x 8 digits instead."
        print(f"NOTICE: {error}\n\n{instead}\n", file=sys.stderr, flush=True)
        return Digits()
    if not len(data.train):
        raise ValueError(
            f"--dataset: the pictures in {options.dataset!r} have no labels, because no folder "
            "inside it says of which class they are. A trained network predicts them: "
            'CNN.load("results/.../model.safetensors").predict(from_folder("..."'
            f"{', size=...' if options.size is None else f', size={options.size}'}).test)"
        )
    return data


def _train(model: CNN, data: Splits, options: Options, results: Results) -> None:
    epochs, images = options.epochs, len(data.train)
    enough = math.ceil(IMAGES_AT_LEAST / images)
    if not options.epochs_given and enough > epochs:
        instead = f"training {enough} epochs instead of {epochs}. Set --epochs to override."
        _print_wrapped(f"Small data set ({images:,} images): {instead}")
        epochs = enough
    checkpoint = results.path / CHECKPOINT
    model.fit(
        data.train, data.validation, epochs, options.batch_size,
        preview=options.preview, preview_folder=results.path / "previews",
        checkpoint=checkpoint, checkpoint_every=options.checkpoint_every,
        resume=checkpoint if options.resume is not None else None,
        allow_changes=bool(options.changed),
        callbacks=[KeepEpochs(model, results.path / EPOCHS)] if options.keep_epochs else [],
        watch=options.watch,
    )  # fmt: skip
    for change in model.history.changes:
        print("Changed after {step} steps of epoch {epoch}: {what} {was} -> {now}".format(**change))


def report(
    model: CNN, data: Splits, options: Mapping[str, Any], results: Results, begun: float
) -> Scores:
    """Test a trained network and write everything a person wants to see to the results folder.

    options : whatever decided the run; kept in settings.json and shown in report.html
    begun : time.perf_counter() at the start of the run
    """
    part, name = (data.test, "test") if len(data.test) else (data.train, "train")
    history = model.history
    decided = settings(model, data, options)
    results.write_json("history", history.to_json())
    results.write_csv("history", history.records)
    results.write_json("settings", decided)
    tested = model.evaluate(part)
    hidden = hidden_layer(model)
    best = history.records[(history.best_epoch or 0) - 1]
    validation = {key: best.get(f"validation_{key}") for key in ("accuracy", "loss")}
    run = Run(
        part.images, part.labels, model.predict_proba(part), data.classes,
        title=f"{data.name}: what the network learned", part=name,
        hidden=partial(activations_of, model, hidden, part) if hidden else None,
        hidden_name=f"Layer {hidden}", loss=tested.loss,
        history=history.records, running=history.running,
        settings={key: value for key, value in decided.items() if key not in ("layers", "machine")},
        summary=summary_table(model.layers, model.dtype.itemsize), machine=decided["machine"],
        seconds={"training": history.seconds}, begun=begun,
        numbers={"validation": validation, "parameters": model.parameter_count},
        figures=_figures(model, part), explorer=_explorer(model, part, results, data.name),
    )  # fmt: skip
    scores = write_evaluation(results, run)
    print(f"\n{scores.metrics.table()}\n\n{name} {tested}")
    seconds = time.perf_counter() - begun
    print(f"{seconds:.1f} s in total, {history.seconds:.1f} s for training and validation")
    print(f"Results: {results.path}\nOpen report.html there to see everything on one page.")
    return scores


def _explorer(model: CNN, part: Dataset, results: Results, title: str) -> str:
    """Write the explorer with the network inside; give the file's name, "" where there is none.

    There is none of layers of your own, which no browser could compute.
    """
    from glassbox.explorer import single_file  # training begins without what it imports

    try:
        written = single_file.write(
            model, results.path / EXPLORER, part, model.parameter_count > LARGE, title
        )
    except ValueError:
        return ""
    return written.name


def hidden_layer(model: CNN) -> str | None:
    """Give the name of the last layer before the class scores; None without one."""
    weighted = [k for k, layer in enumerate(model.layers) if "weight" in layer.parameters]
    return model.layers[weighted[-1] - 1].name if weighted and weighted[-1] else None


def activations_of(
    model: CNN, layer: str, data: Dataset, places: Array, batch_size: int = 100
) -> Array:
    """Compute the output of one layer for some images, (places, ...), in batches to save memory."""
    batches = (places[start : start + batch_size] for start in range(0, len(places), batch_size))
    return np.concatenate([dict(model.activations(data.subset(b)))[layer] for b in batches])


def _figures(model: CNN, part: Dataset) -> dict[str, tuple[str, Figure]]:
    """Draw the pictures that only the network itself can give: file name -> (title, figure)."""
    one = part.take(1)
    maps = [(name, array[0]) for name, array in model.activations(one)]
    drawn = feature_maps(one.batch([0])[0][0], maps)
    found = {"feature_maps": ("What every layer makes of one image", drawn)}
    for layer in model.layers:
        if isinstance(layer, Conv2D):
            drawn = filters(layer.parameters["weight"], layer.name)
            found[f"filters_{layer.name}"] = (f"The filters of {layer.name}", drawn)
    return found


def settings(model: CNN, data: Splits, options: Mapping[str, Any]) -> dict[str, Any]:
    """Give everything that decides the run, and the machine it ran on."""
    return {
        "options": dict(options),
        "layers": [
            {"name": layer.name, "kind": type(layer).__name__, "output": layer.output_shape}
            for layer in model.layers
        ],
        "loss": model.loss.word,
        "optimizer": repr(model.optimizer),
        "data": repr(data),
        "machine": machine() | {"threads": model.workers.threads},
    }
