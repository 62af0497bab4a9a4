"""What the examples share: the command line, a folder that tells when it is done, a table line."""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from CNN import CNN
from Datasets import Digits, Splits, from_arrays, load
from glassbox.cli import report
from glassbox.engine.machine import machine
from glassbox.report.results import Results

RESULTS = Path(__file__).parent.parent / "results"
DONE = "result.json"  # written last: where it is, the run is over
SEEDS = (4, 3, 2, 1, 0)  # of figures that are means; the last is the one shown in pictures


@dataclass(frozen=True)
class Claim:
    """A line of the table: what a published system reports, and what ours is to reach."""

    name: str  # the folder under results/
    system: str  # its letter
    what: str  # the network and its training in a few words
    reports: float | None  # what they report, in per cent; `note` has what is not an accuracy
    target: float | None  # what ours is to reach, in per cent
    part: str = "test"  # which images count: "test" or "validation"
    seconds: str = ""  # their time in words
    note: str = ""


def parse(
    description: str | None, arguments: Sequence[str] | None = None, names: Sequence[str] = ()
) -> argparse.Namespace:
    """What every example can be told; `names` are those of its runs, where one can choose."""
    layout = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=description, formatter_class=layout)
    words = "a minute's version on small digits, not kept"
    parser.add_argument("--quick", action="store_true", help=words)
    if names:
        parser.add_argument("--only", nargs="+", choices=names, default=names, help="all otherwise")
    parser.add_argument("--again", action="store_true", help="run also what is done already")
    parser.add_argument("--data-dir", metavar="FOLDER", help="where the data set is")
    parser.add_argument("--threads", type=int, help="how many; all cores otherwise")
    parser.add_argument("--output", type=Path, default=RESULTS, help=argparse.SUPPRESS)
    return parser.parse_args(arguments)


def images(name: str, options: argparse.Namespace, **settings: Any) -> Splits:
    """A data set; in a quick run scikit-learn's digits, enlarged from 8 x 8 to 28 x 28 pixels."""
    if not options.quick:
        return load(name, folder=options.data_dir, **settings)
    small = Digits()
    parts = [small.train, small.validation, small.test]
    pixels = np.concatenate([part.images for part in parts]).repeat(3, axis=2).repeat(3, axis=3)
    return from_arrays(
        np.pad(pixels, ((0, 0), (0, 0), (2, 2), (2, 2))),
        np.concatenate([part.labels for part in parts]), sizes=tuple(map(len, parts)),
        normalize=settings.get("normalize", "center"), pixel_range=(0, 16), name="Digits, enlarged",
    )  # fmt: skip


def folder_of(claim: Claim, options: argparse.Namespace) -> Results | None:
    """Where this run writes; None where it is done already."""
    base = options.output / "quick" if options.quick else options.output
    path = base / claim.name
    if (path / DONE).exists() and not (options.again or options.quick):
        print(f"{claim.name}: done already ({path}); --again repeats it")
        return None
    path.mkdir(parents=True, exist_ok=True)
    (path / DONE).unlink(missing_ok=True)
    print(f"\n=== {claim.name}: {claim.what} ===\n", flush=True)
    machine()  # the commit that it names is that of now, also when the run ends hours later
    return Results(path)


def fit(model: CNN, data: Splits, recipe: Mapping[str, Any], results: Results) -> None:
    """Train as the recipe says; without validation images where there are none."""
    model.fit(data.train, data.validation if len(data.validation) else None, **recipe)


def attempt(
    claim: Claim, options: argparse.Namespace, data_of: Callable[[argparse.Namespace], Splits],
    network: Callable[..., CNN], several: bool = False, quick: Mapping[str, Any] | None = None,
    told: Mapping[str, Any] | None = None,
    train: Callable[[CNN, Splits, dict[str, Any], Results], None] = fit,
    after: Callable[[CNN, Splits], dict[str, Any]] | None = None, **recipe: Any,
) -> dict[str, float]:  # fmt: skip
    """Run a claim unless it is done; returns {its name: the accuracy in per cent that counts}.

    network : makes one, from a seed and settings of `CNN`; `several` takes the mean of five seeds.
    quick   : what a quick run changes in the recipe, which is the arguments of `fit`.
    told    : what else the settings of the run are to say.
    after   : called with each trained network; what it returns goes into the table's line.
    """
    results = folder_of(claim, options)
    if results is None:
        return {}
    data, accuracies = data_of(options), []
    more: dict[str, Any] = {}
    recipe |= (quick or {}) if options.quick else {}
    for seed in SEEDS if several and not options.quick else [0]:
        begun = time.perf_counter()
        model = network(seed=seed, threads=options.threads)
        train(model, data, recipe, results)
        if several:
            part = data.validation if claim.part == "validation" else data.test
            accuracies.append(100 * model.evaluate(part).accuracy)
            print(f"{claim.name}, seed {seed}: {accuracies[-1]:.2f} % {claim.part}", flush=True)
        more |= after(model, data) if after else {}
    if "augment" in recipe:
        recipe["augment"] = repr(recipe["augment"])
    settings = {**recipe, **(told or {}), "seed": model.seed}
    accuracy = 100 * report(model, data, settings, results, begun).metrics.accuracy
    if accuracies:
        accuracy = statistics.mean(accuracies)
        spread = statistics.stdev(accuracies) if len(accuracies) > 1 else 0.0
        more |= {"spread": spread, "of_each_seed": accuracies}
    write_line(claim, results, accuracy, model.history.seconds, model.parameter_count, **more)
    return {claim.name: accuracy}


def write_line(
    claim: Claim, results: Results, accuracy: float, seconds: float, parameters: int, **more: Any
) -> None:
    """The file that ends a run and from which the table is made."""
    line = {
        **asdict(claim), "ours": accuracy, "our_seconds": seconds, "parameters": parameters,
        "machine": machine(), "date": time.strftime("%Y-%m-%d"), **more,
    }  # fmt: skip
    results.write_json(Path(DONE).stem, line)
    compared = "" if claim.reports is None else f", they report {claim.reports:.2f} %"
    print(f"{claim.name}: {accuracy:.2f} % {claim.part}{compared}; {seconds:.1f} s of training")


def lines(folder: Path = RESULTS) -> list[dict[str, Any]]:
    """All lines that runs have left, in the order of systems and names."""
    found = [json.loads(path.read_text("utf-8")) for path in folder.glob(f"*/{DONE}")]
    return sorted(found, key=lambda line: (line["system"], line["name"]))
