"""The README's tables of results and of trust, made from what the runs left in results/.

Nothing is in a table that no run measured: a system without a folder under results/ has no line.
`python -m benchmarks.report` writes them into the README.
"""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from typing import Any

from glassbox.engine.machine import in_words

HEADS = ("system", "network and training", "they report", "ours", "their time", "our time")

# name in trust.json, which `make trust` writes -> what was tried, what was found
TRIED = {
    "kills": (
        "a training run killed (SIGKILL) at {of} random moments and resumed",
        "{survived} of {of} survived: weights, settings and statistics the same bytes at the end"),
    "fuzz": (
        "{cases:,} damaged files of {formats} kinds: cut, bits flipped, sizes made up",
        "{escaped} escaped; {refused:,} refused in clear words, {accepted:,} read as sound data"),
    "properties": (
        "layers and networks drawn at random: shapes, gradients, batches, threads",
        "{examples:,} examples, none that breaks a promise"),
    "onnx_backend": (
        "{collected} official ONNX tests of the operators that are imported",
        "{passed} pass, {excluded} excluded with a reason each, and refused by name"),
    "sklearn_checks": (
        "scikit-learn's checks for estimators, {classifiers} classifiers",
        "{passed} pass, {failed} fail, {skipped} do not apply"),
    "hostile_models": (
        "{cases:,} whole model files that ask for too much: layers and sizes drawn at random",
        "{refused:,} refused, {accepted:,} loaded; none took more than {peak_megabytes:.0f} MB or "
        "{seconds_each} seconds"),
    "hostile_onnx": (
        "{cases:,} ONNX files of valid protobuf: long chains on large images, odd shapes, types "
        "and names, weights in other files",
        "{refused:,} refused, {accepted:,} opened; none took more than {peak_megabytes:.0f} MB or "
        "{seconds_each} seconds"),
    "kernel_folder": (
        "the folder of compiled kernels damaged {damages} times in {kinds} ways, two runs after "
        "each",
        "every run had the right numbers; what was damaged was compiled again, with a sentence"),
    "forks": (
        "{ways} ways into a network, in a process forked after use ({after_use}) and during use "
        "({during_use}), and in pools of processes ({in_pools})",
        "all gave the same bits as their parent; none hung"),
    "environments": (
        "`python main.py` in {tried} odd environments: closed streams, full disks, limits, "
        "variables",
        "{same} gave the same numbers, {sentence} ended with one sentence that says why"),
}  # fmt: skip


def markdown(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Write cells as a Markdown table.

    >>> print(markdown(("what", "found"), [("a", "1")]))
    | what | found |
    | --- | --- |
    | a | 1 |
    """
    every = [heads, ("---",) * len(heads), *rows]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in every)


def duration(seconds: float) -> str:
    """Seconds as people say them.

    >>> duration(8.04), duration(75), duration(3600)
    ('8.0 s', '1 min 15 s', '60 min')
    """
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if rest else f"{minutes} min"


def row(line: dict[str, Any]) -> tuple[str, ...]:
    """A line's cells.  What is short of its target says by how much."""
    ours = f"{line.get('remark') or ''} **{line['ours']:.2f} %**".lstrip()
    if line.get("spread"):
        ours += f" ± {line['spread']:.2f}"
    short = (line["target"] or 0) - line["ours"]
    if short > 1e-9:  # not what adding up has rounded
        ours += f", {short:.{2 if short >= 0.005 else 3}f} short of {line['target']:g}"
    if line.get("test_time"):
        ours += f"; {statistics.mean(line['test_time']):.2f} % with test-time augmentation"
    theirs = line["note"] or ("" if line["reports"] is None else f"{line['reports']:.2f} %")
    what = f"[{line['what']}](results/{line['name']})"
    if line["system"] == "record":
        what += f", {line['parameters']:,} parameters"
    if line["part"] != "test":
        ours += f" ({line['part']})"
    return line["system"], what, theirs, ours, line["seconds"], duration(line["our_seconds"])


def table(found: Sequence[dict[str, Any]]) -> str:
    """The lines as a Markdown table, and on which machines they were measured."""
    text = markdown(HEADS, [row(line) for line in found])
    return f"{text}\n\nMeasured on {in_words([line['machine'] for line in found])}.\n"


def trust_table(figures: dict[str, dict[str, Any]]) -> str:
    """What `make trust` found, as a Markdown table."""
    rows = []
    for name, (what, found) in TRIED.items():
        own = figures[name]
        examples = sum(value for value in own.values() if isinstance(value, int))
        words = {"examples": examples, **own}
        rows.append((what.format(**words), found.format(**words)))
    text = markdown(("tried", "found"), rows)
    days = sorted({own["date"] for own in figures.values()})
    machines = [own["machine"] for own in figures.values() if own.get("machine")]
    where = f": {in_words(machines)}" if machines else ""
    return f"{text}\n\nBy `make trust` on {' and '.join(days)}{where}.\n"
