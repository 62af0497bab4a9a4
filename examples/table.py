"""The README's tables of results and of trust, made from what the runs left in results/.

    python -m examples.table             # writes them into README.md, each between its two marks
    python -m examples.table --check     # fails where README.md says something else

Nothing is in a table that no run measured: a system without a folder under results/ has no line.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from engine.machine import in_words
from examples.common import RESULTS, lines

README = Path(__file__).parent.parent / "README.md"
BEGIN, END = "<!-- table of {}: begin -->", "<!-- table of {}: end -->"
TRUST = RESULTS / "trust.json"  # written by `make trust`
HEADS = ("system", "network and training", "they report", "ours", "their time", "our time")

# name in trust.json -> what was tried, what was found
TRIED = {
    "kills": (
        "a training run killed (SIGKILL) at {of} random moments and resumed",
        "{survived} of {of} survived: weights, settings and statistics the same bytes at the end",
    ),
    "fuzz": (
        "{cases:,} damaged files of {formats} kinds: cut, bits flipped, sizes made up",
        "{escaped} escaped; {refused:,} refused in clear words, {accepted:,} read as sound data",
    ),
    "properties": (
        "layers and networks drawn at random: shapes, gradients, batches, threads",
        "{examples:,} examples, none that breaks a promise",
    ),
    "onnx_backend": (
        "{collected} official ONNX tests of the operators that are imported",
        "{passed} pass, {excluded} excluded with a reason each, and refused by name",
    ),
    "sklearn_checks": (
        "scikit-learn's checks for estimators, {classifiers} classifiers",
        "{passed} pass, {failed} fail, {skipped} do not apply",
    ),
}  # fmt: skip


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
    ours = f"**{line['ours']:.2f} %**"
    if line.get("remark"):
        ours = f"{line['remark']} {ours}"
    if line.get("spread"):
        ours += f" ± {line['spread']:.2f}"
    short = (line["target"] or 0) - line["ours"]
    if short > 1e-9:  # not what adding up has rounded
        ours += f", {short:.{2 if short >= 0.005 else 3}f} short of {line['target']:g}"
    if line.get("test_time"):
        ours += f"; {statistics.mean(line['test_time']):.2f} % with test-time augmentation"
    theirs = "" if line["reports"] is None else f"{line['reports']:.2f} %"
    if line["note"]:
        theirs = line["note"]
    what = f"[{line['what']}](results/{line['name']})"
    if line["system"] == "record":
        what += f", {line['parameters']:,} parameters"
    if line["part"] != "test":
        ours += f" ({line['part']})"
    return line["system"], what, theirs, ours, line["seconds"], duration(line["our_seconds"])


def table(found: Sequence[dict[str, Any]]) -> str:
    """The lines as a Markdown table, and on which machines they were measured."""
    rows = [HEADS, ("---",) * len(HEADS), *(row(line) for line in found)]
    text = "\n".join("| " + " | ".join(cells) + " |" for cells in rows)
    return f"{text}\n\nMeasured on {in_words([line['machine'] for line in found])}.\n"


def trust_table(figures: dict[str, dict[str, Any]]) -> str:
    """What `make trust` found, as a Markdown table."""
    rows = [("tried", "found"), ("---", "---")]
    for name, (what, found) in TRIED.items():
        own = figures[name]
        examples = sum(value for value in own.values() if isinstance(value, int))
        words = {"examples": examples, **own}
        rows.append((what.format(**words), found.format(**words)))
    text = "\n".join("| " + " | ".join(cells) + " |" for cells in rows)
    days = sorted({own["date"] for own in figures.values()})
    return f"{text}\n\nBy `make trust` on {' and '.join(days)}.\n"


def put(readme: str, text: str, name: str) -> str:
    """README's text with a table between its marks; ValueError where they are missing."""
    begin, end = BEGIN.format(name), END.format(name)
    before, mark, rest = readme.partition(begin)
    _, found, after = rest.partition(end)
    if not mark or not found:
        raise ValueError(f"README.md has no '{begin}' and '{end}' to put the table between")
    return f"{before}{begin}\n{text}{end}{after}"


def renewed(readme: str) -> str:
    """README's text with the tables of today."""
    figures = json.loads(TRUST.read_text("utf-8"))
    return put(put(readme, table(lines(RESULTS)), "results"), trust_table(figures), "trust")


def main(arguments: Sequence[str] | None = None) -> int:
    """Write or check; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--check", action="store_true", help="change nothing, only compare")
    options = parser.parse_args(arguments)
    before = README.read_text("utf-8")
    after = renewed(before)
    if options.check and after != before:
        print("README.md's tables are not those of results/: run `make table`", file=sys.stderr)
        return 1
    if not options.check:
        README.write_text(after, "utf-8")
        print(table(lines(RESULTS)), trust_table(json.loads(TRUST.read_text("utf-8"))), sep="\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
