"""The README's table of the published systems, made from what the runs left in results/.

    python -m examples.table             # writes it into README.md, between the two marks
    python -m examples.table --check     # fails where README.md says something else

Nothing is in the table that no run measured: a system without a folder under results/ has no line.
"""

from __future__ import annotations

import argparse
import statistics
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from examples.common import RESULTS, lines

README = Path(__file__).parent.parent / "README.md"
BEGIN, END = "<!-- table of results: begin -->", "<!-- table of results: end -->"
HEADS = ("system", "network and training", "they report", "ours", "their time", "our time")


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
    if short > 0:
        ours += f", {short:.2f} short of {line['target']:g}"
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
    machines = sorted({f"{m['processor']}, {m['cores']} cores" for m in _machines(found)})
    return f"{text}\n\nMeasured on {'; '.join(machines)}.\n"


def _machines(found: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    return [line["machine"] for line in found]


def put(readme: str, text: str) -> str:
    """README's text with the table between its marks; ValueError where they are missing."""
    before, mark, rest = readme.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not mark or not end:
        raise ValueError(f"README.md has no '{BEGIN}' and '{END}' to put the table between")
    return f"{before}{BEGIN}\n{text}{END}{after}"


def main(arguments: Sequence[str] | None = None) -> int:
    """Write or check; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--check", action="store_true", help="change nothing, only compare")
    options = parser.parse_args(arguments)
    found = lines(RESULTS)
    if not found:
        print("no results yet: run `make results` first", file=sys.stderr)
        return 1
    before = README.read_text("utf-8")
    after = put(before, table(found))
    if options.check and after != before:
        print("README.md's table is not that of results/: run `make table`", file=sys.stderr)
        return 1
    if not options.check:
        README.write_text(after, "utf-8")
        print(table(found))
    return 0


if __name__ == "__main__":
    sys.exit(main())
