"""Write every generated table of README.md and of the pages in docs/ from committed JSON files.

    python -m benchmarks.report             # rewrite what has its JSON
    python -m benchmarks.report --check     # change nothing; fail where a page says something else

A generated region of a page stands between two marks, `<!-- table of NAME: begin -->` and
`<!-- table of NAME: end -->`, and is made from a file under results/.  What the benchmarks measured
lies in results/benchmarks/:

    python -m benchmarks.capture --json results/benchmarks/capture.json

A region whose file is not there is left as it is.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import mean, median
from typing import Any

from benchmarks import roofline
from benchmarks.core import core_text
from benchmarks.machine import ROOT, geometric_mean, ratios, spread
from benchmarks.networks import NETWORKS, network
from benchmarks.roofline import ALL, BATCH, ONE, STEP
from benchmarks.scaling import WORDS, key, sweeps
from examples.common import RESULTS, lines
from examples.table import markdown, table, trust_table
from glassbox.engine.machine import in_words
from glassbox.kernels import BACKENDS

BEGIN, END = "<!-- table of {}: begin -->", "<!-- table of {}: end -->"
README, PERFORMANCE, MODELS = "README.md", "docs/performance.md", "docs/models.md"
EXPLORER = "docs/explorer.md"
Found = Mapping[str, Any]

# How a network of benchmarks.networks is called in a sentence; the others by their letter.
LABELS = {
    "D 8/16": "`main.py`'s", "E CNN": "E's CNN", "E MLP": "E's MLP",
    "normalized": "`main.py`'s, normalized",
}  # fmt: skip
CAPTIONS = {
    "train-128": "Training, batches of 128, images per second:",
    "train-1": "The same, one image at a time:",
    "inference": "Class scores of 1,000 images, images per second:",
}
SHORT = {"train-128": "batches of 128", "train-1": "one image", "inference": "1,000 class scores"}
NAMES = {
    "pytorch": "PyTorch", "torch.compile": "torch.compile", "jax": "JAX",
    "onnxruntime": "ONNX Runtime",
}  # fmt: skip
# What was aimed at: of what in which mode, in words, of each network and of the geometric mean.
Aim = tuple[str, str, str, float, float]
AIMS: list[Aim] = [
    ("train-128", "compiled / best", "training, batches of 128", 2, 3),
    ("train-1", "compiled / best", "training, one image at a time", 1.5, 3),
    ("inference", "compiled / best", "inference", 1.5, 0),
    ("inference", "compiled / onnxruntime", "inference beside ONNX Runtime", 1, 1.5),
    ("train-128", "numpy / pytorch", "training, batches of 128, NumPy kernels", 1, 0),
]
# Almost all of a step of the MLP is matrix products, at which nobody can be twice as fast.
LESS = {("E MLP", "train-128", "compiled / best"): 1.5}


def accuracy_text(found: Found) -> str:
    """Render what `benchmarks.accuracy` found."""
    shipped, seeds = found["main.py"], found["one image at a time"]["seeds"]
    tested = [100 * one["test_accuracy"] for one in seeds]
    several = f" (mean of {len(tested)} seeds: {min(tested):.2f} to {max(tested):.2f})"
    name = "a net of 8 and 2 filters, one epoch of batches of one image"
    share = f"{mean(tested):.2f} %" + (several if len(tested) > 1 else "")
    seconds = median(one["seconds"] for one in seeds)
    rows = [
        (what, accuracy, f"{seconds:.1f}", f"{part['peak_megabytes']:.0f} MB")
        for what, accuracy, seconds, part in (
            ("`python main.py` as shipped, everything included",
             f"{100 * shipped['test_accuracy']:.2f} %", shipped["seconds"], shipped),
            (name, share, seconds, found["one image at a time"]),
        )
    ]  # fmt: skip
    heads = ("what", "test accuracy", "seconds", "peak memory")
    return told("accuracy", found, markdown(heads, rows))


def peers_text(found: Found) -> str:
    """Render the short table of what `benchmarks.against_peers` found: compiled beside the best."""
    modes = [mode for mode in CAPTIONS if mode in found]
    rows = []
    for name in found[modes[0]]["networks"]:
        own = [found[mode]["networks"][name] for mode in modes]
        cells = [
            f"{median(one['ratios']['compiled / best']):.2f} {NAMES[one['best']]}" for one in own
        ]
        rows.append([in_full(name), *cells])
    for peer, word in {"best": "the best", **NAMES}.items():
        means = [found[mode]["geometric_mean"].get(f"compiled / {peer}") for mode in modes]
        if any(means):
            cells = [f"{mean:.2f}" if mean else "" for mean in means]
            rows.append([f"geometric mean beside {word}", *cells])
    text = markdown(["network", *(SHORT[mode] for mode in modes)], rows)
    return told(command(found), found, text, found_in(found))


def all_peers_text(found: Found) -> str:
    """Render everything that `benchmarks.against_peers` found: two tables for each mode."""
    parts = []
    for mode in (mode for mode in CAPTIONS if mode in found):
        parts += [f"{CAPTIONS[mode]}", speeds_table(found[mode]), ratios_table(found[mode])]
    return told(command(found), found, "\n\n".join(parts), found_in(found))


def speeds_table(found: Found) -> str:
    """List images per second: of every peer in its faster way, and of both backends."""
    own = found["networks"].values()
    peers = [peer for peer in NAMES if all(peer in one["faster"] for one in own)]
    rows = []
    for name, one in found["networks"].items():
        ways = [*(one["faster"][peer] for peer in peers), *BACKENDS]
        rows.append(
            [label(name), *(f"{median(one['images_per_second'][way]):,.0f}" for way in ways)]
        )
    return markdown(["images per second", *(NAMES[peer] for peer in peers), *BACKENDS], rows)


def ratios_table(found: Found) -> str:
    """List the ratios of compiled to every peer, those of numpy to the best, and their means."""
    kinds = [kind for kind in found["geometric_mean"] if kind.startswith("compiled")]
    kinds.append("numpy / best")
    rows = [
        [label(name), *(spread(one["ratios"][kind]) for kind in kinds)]
        for name, one in found["networks"].items()
    ]
    rows.append(["geometric mean", *(f"{found['geometric_mean'][kind]:.2f}" for kind in kinds)])
    heads = [" / ".join(NAMES.get(word, word) for word in kind.split(" / ")) for kind in kinds]
    return markdown(["ratio", *heads], rows)


def command(found: Found) -> str:
    """Give the benchmark beside the peers with what was asked of it."""
    return "against_peers --processor avx2" if "restricted" in found else "against_peers"


def found_in(found: Found) -> str:
    """Say how often each was timed, and who was left out."""
    left_out = "".join(f"{NAMES[peer]} is left out. " for peer in found["left_out"])
    return f"Medians of {found['rounds']} rounds. {left_out}"


def in_full(name: str) -> str:
    """Name a network with what it is: "lab, 2 and 3 filters (A)"."""
    what = NETWORKS[name][0].removeprefix("main.py's, ")
    return f"{what} ({label(name)})"


def heading() -> str:
    """Give the columns of the table that `benchmarks.against_peers` prints of a mode."""
    words = f"{'network':<9}{'best peer':<24}{'compiled':>10}{'numpy':>10}"
    return f"{words}{'compiled / best':>23}{'numpy / best':>23}"


def row(name: str, result: dict[str, Any]) -> str:
    """Give medians, and ratios with their spread: at most 99 characters."""
    speeds = {key: f"{median(every):,.0f}" for key, every in result["images_per_second"].items()}
    best = f"{result['best']} {speeds[result['faster'][result['best']]]}"
    beside = "".join(
        f"{spread(result['ratios'][f'{own} / best']):>23}" for own in ("compiled", "numpy")
    )
    return f"{name:<9}{best:<24}{speeds['compiled']:>10}{speeds['numpy']:>10}{beside}"


def means(results: dict[str, dict[str, Any]]) -> dict[str, float]:
    """Give the geometric mean, over the networks, of the median ratios."""
    every = [result["ratios"] for result in results.values()]
    return {kind: geometric_mean([median(own[kind]) for own in every]) for kind in every[0]}


def shortfalls_text(found: Found) -> str:
    """List what did not reach its aim beside the peers."""
    rows = []
    for mode, kind, words, each_aim, mean_aim in AIMS:
        each = {
            name: own["ratios"][kind]
            for name, own in found[mode]["networks"].items()
            if kind in own["ratios"]
        }
        for name, own in each.items():
            aim = LESS.get((name, mode, kind), each_aim)
            if median(own) < aim:
                rows.append((f"{label(name)}, {words}", spread(own), f"{aim:g}"))
        mean = found[mode]["geometric_mean"].get(kind, mean_aim)
        if mean < mean_aim:
            rows.append((f"geometric mean, {words}", f"{mean:.2f}", f"{mean_aim:g}"))
    text = markdown(("what", "times the peer", "aim"), rows) if rows else "Nothing did."
    return told(command(found), found, text)


def startup_words(found: Found) -> str:
    """Tell what `benchmarks.startup` found in a sentence."""
    first, later, plain = (median(times) for times in found["seconds"].values())
    return (
        f"The first run compiles the kernels: {first:.1f} seconds from the command to the end of "
        f"the first step. Later\nruns need {later:.2f} seconds, those with NumPy alone "
        f"{plain:.2f}.\n"
    )


def startup_text(found: Found) -> str:
    """Render what `benchmarks.startup` found."""
    rows = [(kind, spread(times)) for kind, times in found["seconds"].items()]
    heads = ("from the command to the end of the first step", "seconds")
    return told("startup", found, markdown(heads, rows))


def memory_text(found: Found) -> str:
    """Render what `benchmarks.memory` found: PyTorch and each backend."""
    heads = [
        "peak memory of training, MB", "PyTorch", *BACKENDS, *(f"{d} / PyTorch" for d in BACKENDS),
        "on top of imports and data: compiled / PyTorch",
    ]  # fmt: skip
    rows = []
    for name, own in found["megabytes"].items():
        peaks = [median(own[who]["total"]) for who in ("pytorch", *BACKENDS)]
        pairs = [*((backend, "total") for backend in BACKENDS), ("compiled", "training")]
        beside = [spread(ratios(own[who][kind], own["pytorch"][kind])) for who, kind in pairs]
        rows.append([label(name), *(f"{peak:,.0f}" for peak in peaks), *beside])
    return told("memory", found, markdown(heads, rows))


def capture_text(found: Found) -> str:
    """Render what `benchmarks.capture` found: microseconds of a step of one image."""
    rows = []
    for name, own in found.items():
        if name != "machine":
            eager, captured = own.values()
            cells = [f"{median(times):.0f}" for times in (eager, captured)]
            rows.append((label(name), *cells, spread(ratios(eager, captured))))
    heads = ("a step of one image, microseconds", "eager", "captured", "ratio")
    return told("capture", found, markdown(heads, rows))


def scaling_text(found: Found) -> str:
    """Render what `benchmarks.scaling` found: one setting moves at a time."""
    speeds = found["images_per_second"]
    backends = [name for name in BACKENDS if any(word.startswith(name) for word in speeds)]
    rows = []
    for what, points in sweeps(found["machine"]["cores"]).items():
        for point in points:
            speed = (median(speeds[key(point, backend)]) for backend in backends)
            cells = [f"{1e3 * point.batch / each:.2f}" for each in speed]
            rows.append([f"{WORDS[what]}: {getattr(point, what)}", *cells])
    heads = ["a step of the thin network, milliseconds", *backends]
    return told("scaling", found, markdown(heads, rows))


def explorer_text(found: Found) -> str:
    """Render what `benchmarks.explorer` found: how long a person waits, and what watching costs."""
    own = {name: each for name, each in found.items() if name != "machine"}
    rows = []
    for what, words in (("maps drawn", "stroke to all maps"), ("sum shown", "click to its sum")):
        for host, where in (("page", "page"), ("file", "single file")):
            cells = [_milliseconds(each[host][what]) for each in own.values()]
            rows.append((f"{words}, {where}, ms", *cells))
    rescored = [spread(each["seconds to rescore"]) for each in own.values()]
    rows.append(("1,000 images scored again, s", *rescored))
    size = [f"{each['bytes of the file'] / 1000:,.0f}" for each in own.values()]
    rows.append(("the single file with 20 images, kB", *size))
    slower = [spread(ratios(*reversed(each["seconds of two epochs"].values()))) for each in
              own.values()]  # fmt: skip
    rows.append(("training watched / not watched", *slower))
    return told("explorer", found, markdown(("", *map(label, own)), rows))


def _milliseconds(times: Sequence[float]) -> str:
    """Give the median and the longest: "14 (at most 22)"."""
    return f"{median(times):.0f} (at most {max(times):.0f})"


def roofline_text(found: Found) -> str:
    """Render what `benchmarks.roofline` found: where a step of 128 goes, on one core and on all."""
    rows: list[Sequence[str]] = []
    sentences = ""
    for name in (name for name in found if name in NETWORKS):
        own, ours, together = found[name], network(name, kernels="numpy"), 0.0
        work = roofline.parts(ours, BATCH)
        for learner, layer in roofline.learning(ours).items():
            keys = [key for key in work if key.startswith(f"{learner} ")]
            pairs = [_of_one_core(own, key, work[key]) for key in keys]
            cells = [cell for _, cell in pairs]
            cells[1:1] = [""] * (3 - len(cells))  # no gradient of the images
            shapes = (" x ".join(map(str, s)) for s in (layer.input_shape, layer.output_shape))
            rows.append((f"{label(name)}: {learner}, {' to '.join(shapes)}", *cells))
            together += sum(milliseconds for milliseconds, _ in pairs)
        whole, cell = _of_one_core(own, STEP, work[STEP])
        rows.append((f"{label(name)}: all of the step", cell, "", ""))
        step, product = f"{ALL}: {STEP}", f"{ALL}: product"
        sentences += (
            f"{label(name)}: the products add up to {together:.1f} of the step's {whole:.1f} "
            f"milliseconds; all cores make it {_times(own, step, f'{ONE}: {STEP}'):.2f} times as "
            f"fast, {100 * _times(own, step, product):.0f} % of their matrix product's "
            f"{median(own[product]):.0f} GFLOP/s.\n"
        )
    heads = ("layer", "forward", "input gradient", "weight gradient")
    restriction = "" if found["processor"] == "own" else f" --processor {found['processor']}"
    return told(f"roofline{restriction}", found, markdown(heads, rows), sentences)


def _times(own: Found, over: str, under: str) -> float:
    """Give the median of the ratios of the rounds."""
    return median(ratios(own[over], own[under]))


def _of_one_core(own: Found, key: str, flops: int) -> tuple[float, str]:
    """Give milliseconds, and with them the share of the matrix product's speed: "0.59, 84 %"."""
    milliseconds = flops / median(own[f"{ONE}: {key}"]) / 1e6
    share = _times(own, f"{ONE}: {key}", f"{ONE}: product")
    return milliseconds, f"{milliseconds:.2f}, {100 * share:.0f} %"


def drawn_digits_text(found: Found) -> str:
    """Render what `benchmarks.drawn_digits` found, and what is mistaken most often."""
    rows = [
        (
            kind,
            f"{own['pictures']}",
            f"{100 * own['resized']:.1f} %",
            f"{100 * own['prepared']:.1f} %",
        )
        for kind, own in found["kinds"].items()
    ]
    heads = ("digits", "pictures", "right, resized to 28 x 28", "right, prepared")
    first = {kind: pairs[0] for kind, pairs in found["confused"].items() if pairs}
    mistakes = ", ".join(
        f"a {kind} {digit} for {'blank' if answer < 0 else f'a {answer}'} ({count})"
        for kind, (digit, answer, count) in first.items()
    )
    more = f"Of MNIST's own test images {100 * found['mnist_test_accuracy']:.2f} % are right. "
    more += f"Mistaken most often: {mistakes}. " if mistakes else ""
    return told("drawn_digits", found, markdown(heads, rows), more)


def label(name: str) -> str:
    """Name a network as a page calls it."""
    return LABELS.get(name, name)


def told(benchmark: str, found: Found, text: str, more: str = "") -> str:
    """Append to a text on what machine, with which versions and commit a benchmark ran."""
    where = f"Measured by `python -m benchmarks.{benchmark}` on {in_words([found['machine']])}."
    return f"{text}\n\n{more}{where}\n"


@dataclass(frozen=True)
class Region:
    """A part of a page that is made from a file."""

    page: str  # from the root of the project
    name: str  # in its marks
    source: str  # from results/; with a star, the lines of all results; "": the sources
    text: Callable[[Any], str]  # what is written, ending in a newline, from what the file holds

    def renewed(self, page: str, results: Path = RESULTS) -> str | None:
        """Give the page with this region as its file has it; None where there is no file."""
        path = results / self.source
        if "*" in self.source:
            found: Any = lines(results)
        else:  # without a source it is made from the sources
            found = json.loads(path.read_text("utf-8")) if path.is_file() else not self.source
        return put(page, self.text(found), self.name) if found else None


REGIONS = (
    Region(README, "core", "", core_text),
    Region(README, "results", "*/result.json", table),
    Region(README, "accuracy", "benchmarks/accuracy.json", accuracy_text),
    Region(README, "against_peers_avx512", "benchmarks/against_peers_avx512.json", peers_text),
    Region(README, "against_peers_avx2", "benchmarks/against_peers_avx2.json", peers_text),
    Region(README, "startup", "benchmarks/startup.json", startup_words),
    Region(README, "trust", "trust.json", trust_table),
    Region(PERFORMANCE, "roofline", "benchmarks/roofline.json", roofline_text),
    Region(PERFORMANCE, "roofline_avx2", "benchmarks/roofline_avx2.json", roofline_text),
    Region(PERFORMANCE, "scaling", "benchmarks/scaling.json", scaling_text),
    Region(PERFORMANCE, "memory", "benchmarks/memory.json", memory_text),
    Region(PERFORMANCE, "capture", "benchmarks/capture.json", capture_text),
    Region(PERFORMANCE, "startup", "benchmarks/startup.json", startup_text),
    Region(EXPLORER, "explorer", "benchmarks/explorer.json", explorer_text),
    Region(
        PERFORMANCE, "against_peers_avx512", "benchmarks/against_peers_avx512.json", all_peers_text
    ),
    Region(PERFORMANCE, "against_peers_avx2", "benchmarks/against_peers_avx2.json", all_peers_text),
    Region(PERFORMANCE, "shortfalls", "benchmarks/against_peers_avx512.json", shortfalls_text),
    Region(MODELS, "drawn_digits", "benchmarks/drawn_digits.json", drawn_digits_text),
)


def put(page: str, text: str, name: str) -> str:
    """Give a page with a text between its marks; ValueError where they are missing."""
    begin, end = BEGIN.format(name), END.format(name)
    before, mark, rest = page.partition(begin)
    _, found, after = rest.partition(end)
    if not mark or not found:
        raise ValueError(f"the page has no '{begin}' and '{end}' to put the table between")
    return f"{before}{begin}\n{text}{end}{after}"


def main(arguments: Sequence[str] | None = None, root: Path = ROOT) -> int:
    """Write or check; return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--check", action="store_true", help="change nothing, only compare")
    options = parser.parse_args(arguments)
    status = 0
    for name in dict.fromkeys(region.page for region in REGIONS):
        page = before = (root / name).read_text("utf-8")
        for region in (region for region in REGIONS if region.page == name):
            after = region.renewed(page, root / "results")
            if after is None:
                print(f"{name}: {region.name} is left as it is, without results/{region.source}")
            elif after != page:
                off = "is not what its file says: run `make table`"
                print(
                    f"{name}: {region.name} {off if options.check else 'written'}", file=sys.stderr
                )
                page = after
        if page != before and options.check:
            status = 1
        elif page != before:
            (root / name).write_text(page, "utf-8")
    return status


if __name__ == "__main__":
    sys.exit(main())
