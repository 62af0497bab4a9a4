"""Files made to take memory or time, each opened in a process of its own, which is measured.

    python tests/hostile.py hostile_onnx FIRST COUNT

prints a line of JSON for what was found in the cases FIRST to FIRST + COUNT - 1 of a module.  It
gives `case(seed)`, a file's bytes and how many bytes of memory it may take, and `open_file(data)`,
which raises a ValueError or an OSError where it refuses.
"""

from __future__ import annotations

import importlib
import json
import os
import signal
import subprocess
import sys
import warnings
from collections import Counter
from pathlib import Path
from typing import Any

LIMIT = 3 * 2**30  # bytes of address space of the whole process
SECONDS = 20  # a case that takes longer counts as a hang; most take a hundredth of one
SLACK = 16_000_000  # bytes: the layers themselves and the text of the file
PART = 600  # cases in a process
LINES, LONGEST = 25, 600  # of a message, and characters in each
SIZES = (0, 1, 2, 3, 5, 8, 64, 1000, 4096, 2**16, 2**20, 2**31, 2**40, 2**62, 2**70)


def found(name: str, cases: int) -> dict[str, Any]:
    """What the cases of a module came to, "accepted", "refused" and "peak": asked by its test."""
    sums: dict[str, Any] = {"accepted": 0, "refused": 0, "peak": 0}
    for first in range(0, cases, PART):
        words = [sys.executable, __file__, name, str(first), str(min(PART, cases - first))]
        done = subprocess.run(words, capture_output=True, text=True, timeout=1200)
        assert done.returncode == 0, done.stderr[-2000:]
        part = json.loads(done.stdout)
        assert not part["failures"], "\n".join(part["failures"])
        for verdict in ("accepted", "refused"):
            sums[verdict] += part.get(verdict, 0)
        sums["peak"] = max(sums["peak"], part["peak"])
    assert sums["accepted"] + sums["refused"] == cases
    return sums


def peak() -> int:
    """The most memory that this process has held so far."""
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def verdict_of(module: Any, data: bytes) -> str:
    """ "accepted", "refused" or what is wrong."""
    try:
        module.open_file(data)
    except (ValueError, OSError) as error:
        text = str(error)
        lines = [len(line) for line in text.splitlines()]
        told = module.NAME in text and len(lines) < LINES and max(lines) < LONGEST
        return "refused" if told else f"says {text[:300]} (lines of {max(lines)})"
    except BaseException as error:
        return f"escaped: {error!r}"[:300]
    return "accepted"


def attempt(module: Any, seed: int) -> tuple[str, int]:
    """The verdict on a case, and by how much the memory of a fork that opened it grew."""
    data, bound = module.case(seed)
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            signal.alarm(SECONDS)  # ends the fork
            before = peak()
            said = verdict_of(module, data)
            os.write(writing, json.dumps([said, peak() - before]).encode())
        finally:
            os._exit(0)
    os.close(writing)
    with open(reading, "rb") as pipe:
        said = pipe.read()
    _, status = os.waitpid(child, 0)
    if status or not said:
        return f"ended by signal {os.WTERMSIG(status)} ({len(data):,} bytes)", 0
    verdict, grown = json.loads(said)
    if grown > bound + SLACK:
        verdict = f"{verdict}, but a file of {len(data):,} bytes took {grown:,}"
    return verdict, grown


def main(name: str, first: int, count: int) -> None:
    import resource

    module = importlib.import_module(name)
    warnings.simplefilter("error")  # a refusal is an error, not a warning from inside NumPy
    resource.setrlimit(resource.RLIMIT_AS, (LIMIT, LIMIT))
    verdicts: Counter[str] = Counter()
    failures, most = [], 0
    for seed in range(first, first + count):
        verdict, grown = attempt(module, seed)
        most = max(most, grown)
        verdicts[verdict if verdict in ("accepted", "refused") else "wrong"] += 1
        if verdict not in ("accepted", "refused"):
            failures.append(f"{name}.case({seed}): {verdict}")
    print(json.dumps({**verdicts, "peak": most, "failures": failures[:20]}))


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parent.parent))
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
