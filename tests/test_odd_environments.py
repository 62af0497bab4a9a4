"""`python main.py` where something around it is odd: the same numbers, or one plain sentence.

The short form tries a few, `make trust` all.
"""

import json
import os
import signal
import subprocess
import sys

import pytest
from test_command_line import MADE, ROOT

resource = pytest.importorskip("resource")

WORDS = ["--dataset", "digits", "--epochs", "1", "--batch-size", "16", "--seed", "3"]
SECONDS = 120
LONGEST = 400  # characters of the sentence
SHORT = ("all streams closed", "NUMBA_NUM_THREADS=0", "MPLBACKEND=nonsense")


def closed(*numbers):
    """Close streams before the program begins."""
    return lambda: [os.close(number) for number in numbers]


def onto(path):
    """Let stdout be a file, or a pipe that nobody reads."""

    def change():
        reading, writing = os.pipe()
        os.dup2(os.open(path, os.O_WRONLY) if path else writing, 1)
        os.close(writing)
        os.close(reading)

    return change


def limited(what, number):
    return lambda: resource.setrlimit(what, (number, number))


def ignoring(*signals):
    return lambda: [signal.signal(each, signal.SIG_IGN) for each in signals]


def file_at(name, text=""):
    """Put a file into the folder."""
    return lambda folder: (folder / name).write_text(text)


# What is odd: variables (None: not there), what the process does first, what is in its folder.
ENVIRONMENTS = {
    "no home": ({"HOME": None, "XDG_CACHE_HOME": None}, None, None),
    "a home that is a file": ({"HOME": "file", "XDG_CACHE_HOME": None}, None, file_at("file")),
    "a home that is not there": ({"HOME": "/nowhere", "XDG_CACHE_HOME": None}, None, None),
    "nothing can be kept": (
        {"HOME": "/dev/null", "XDG_CACHE_HOME": "/dev/null", "MPLCONFIGDIR": "/dev/null/a",
         "GLASSBOX_KERNELS": "/dev/null/b"}, None, None),
    "LC_ALL=C": ({"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}, None, None),
    "LANG=nonsense": ({"LANG": "xx_YY.nonsense", "LC_ALL": "xx_YY.nonsense"}, None, None),
    "output in ASCII": ({"PYTHONIOENCODING": "ascii:strict"}, None, None),
    "output in UTF-16": ({"PYTHONIOENCODING": "utf-16"}, None, None),
    "PYTHONOPTIMIZE=2": ({"PYTHONOPTIMIZE": "2"}, None, None),
    "stdin closed": ({}, closed(0), None),
    "stdout closed": ({}, closed(1), None),
    "stderr closed": ({}, closed(2), None),
    "all streams closed": ({}, closed(0, 1, 2), None),
    "a full disk behind stdout": ({}, onto("/dev/full"), None),
    "nobody who reads stdout": ({}, onto(None), None),
    "TMPDIR that is not there": ({"TMPDIR": "/nowhere"}, None, None),
    "TMPDIR that is a file": ({"TMPDIR": "file"}, None, file_at("file")),
    "a matplotlibrc": (
        {}, None, file_at("matplotlibrc", "text.usetex: True\nbackend: TkAgg\nfigure.dpi: 7\n")),
    "a damaged matplotlibrc": ({}, None, file_at("matplotlibrc", "axes.grid: perhaps\n\0:\n")),
    "MPLBACKEND=nonsense": ({"MPLBACKEND": "nonsense"}, None, None),
    "OMP_NUM_THREADS=-1": ({"OMP_NUM_THREADS": "-1", "OPENBLAS_NUM_THREADS": "many"}, None, None),
    "OMP_NUM_THREADS=1000": ({"OMP_NUM_THREADS": "1000", "MKL_NUM_THREADS": "0"}, None, None),
    "NUMBA_NUM_THREADS=0": ({"NUMBA_NUM_THREADS": "0"}, None, None),
    "NUMBA_NUM_THREADS=1000": ({"NUMBA_NUM_THREADS": "1000"}, None, None),
    "NUMBA_DISABLE_JIT=1": ({"NUMBA_DISABLE_JIT": "1"}, None, None),
    "NUMBA_CACHE_DIR": ({"NUMBA_CACHE_DIR": "/dev/null/a"}, None, None),
    "PYTHONWARNINGS=error": ({"PYTHONWARNINGS": "error"}, None, None),
    "PYTHONDEVMODE=1": ({"PYTHONDEVMODE": "1"}, None, None),
    "PYTHONMALLOC=debug": ({"PYTHONMALLOC": "debug"}, None, None),
    "PYTHONHASHSEED=7": ({"PYTHONHASHSEED": "7"}, None, None),
    "PYTHONSAFEPATH=1": ({"PYTHONSAFEPATH": "1"}, None, None),
    "an odd PYTHONPATH": ({"PYTHONPATH": f"{ROOT}::/nowhere:/dev/null:é"}, None, None),
    "10 open files": ({}, limited(resource.RLIMIT_NOFILE, 10), None),
    "files of 100 kB": ({}, limited(resource.RLIMIT_FSIZE, 100_000), None),
    "a small stack": ({}, limited(resource.RLIMIT_STACK, 2**19), None),
    "4 GB of addresses": ({}, limited(resource.RLIMIT_AS, 2**32), None),
    "one processor": ({}, lambda: os.sched_setaffinity(0, {min(os.sched_getaffinity(0))}), None),
    "signals ignored": ({}, ignoring(signal.SIGINT, signal.SIGTERM, signal.SIGCHLD), None),
    "a folder that is gone": ({}, lambda: os.rmdir(os.getcwd()), None),
    "TZ=nonsense": ({"TZ": "Moon/Tranquility"}, None, None),
    "COLUMNS=1": ({"COLUMNS": "1", "LINES": "1"}, None, None),
    "COLUMNS=-7": ({"COLUMNS": "-7", "LINES": "x"}, None, None),
    "TERM=dumb": ({"TERM": "dumb", "NO_COLOR": "1"}, None, None),
    "no environment": (dict.fromkeys(os.environ), None, None),
}  # fmt: skip


def run(folder, variables, before=None, prepare=None):
    """Run it in a folder; returns what was said on stderr, and the numbers (None without any)."""
    folder.mkdir()
    if prepare is not None:
        prepare(folder)
    around = {**os.environ, **MADE, "HOME": str(folder), "PYTHONPATH": str(ROOT), **variables}
    around = {key: value for key, value in around.items() if value is not None}
    process = subprocess.Popen(
        [sys.executable, str(ROOT / "main.py"), *WORDS], cwd=folder, env=around, preexec_fn=before,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    try:
        _, said = process.communicate(timeout=SECONDS)
    finally:
        process.kill()
    found = list(folder.glob("results/*/metrics.json"))
    numbers = json.loads(found[0].read_text("utf-8"))["test"] if found else None
    assert process.returncode == (0 if found else 2), said.decode()
    return said.decode(), numbers and (numbers["confusion"], numbers["loss"])


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="files and limits of Linux")
def test_a_run_in_an_odd_environment_gives_the_same_numbers_or_a_sentence(tmp_path, trust):
    """Some messages of libraries about a variable that they cannot take come before."""
    _, usual = run(tmp_path / "usual", {})
    assert usual
    names, same = [*ENVIRONMENTS] if trust.long else SHORT, 0
    for number, name in enumerate(names):
        said, numbers = run(tmp_path / str(number), *ENVIRONMENTS[name])
        assert "Traceback" not in said, (name, said)
        if numbers is None:
            last = said.splitlines()[-1]
            assert last.startswith("error: ") and len(last) < LONGEST, (name, said)
        else:
            assert numbers == usual, name
            same += 1
    assert same > len(names) / 2
    trust.record("environments", tried=len(names), same=same, sentence=len(names) - same)
