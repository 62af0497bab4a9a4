"""What a run or a figure was measured on: machine, versions of the packages, commit."""

from __future__ import annotations

import os
import platform
import subprocess
import time
from collections.abc import Mapping, Sequence
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from glassbox.engine.parallel import Workers
from glassbox.kernels import VECTOR_VARIABLE

PACKAGES = ("numpy", "numba", "scikit-learn", "matplotlib")
CPUINFO = Path("/proc/cpuinfo")  # Linux
UNKNOWN = "unknown"
PATIENCE = 5.0  # seconds that another program may take to answer

# What a system calls an instruction set -> its usual name; of these the first that is there counts.
VECTORS = {
    "avx512f": "AVX-512", "avx2": "AVX2", "avx": "AVX", "avx1.0": "AVX", "sse4_2": "SSE4.2",
    "sse4.2": "SSE4.2", "sse2": "SSE2", "sve": "SVE", "asimd": "NEON", "neon": "NEON",
}  # fmt: skip
# Variables by which git is told of another repository; its hooks are started with them.
ELSEWHERE = ("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE")
# The versions that matter for a figure, and how these packages write themselves.
NAMES = {
    "python": "Python", "numpy": "NumPy", "numba": "Numba", "torch": "PyTorch",
    "onnxruntime": "ONNX Runtime",
}  # fmt: skip


def machine(*packages: str) -> dict[str, Any]:
    """Describe the machine, the versions of packages, the commit and the day.

    packages : those to name besides PACKAGES. One that is not installed has the version "none".

    `commit` is that of the first call in this process, since that code is the one which runs:
    "-dirty" is appended where a file differs from it, and it is None outside a git checkout.

    Examples
    --------
    >>> sorted(machine("torch"))  # doctest: +NORMALIZE_WHITESPACE
    ['commit', 'cores', 'date', 'features', 'matplotlib', 'numba', 'numpy', 'processor', 'python',
     'scikit-learn', 'system', 'torch']
    """
    return {
        "processor": _processor(),
        "features": _features(),
        "cores": Workers().threads,
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        **{package: _version(package) for package in PACKAGES + packages},
        "commit": _own_commit(),
        "date": time.strftime("%Y-%m-%d"),
    }


def in_words(machines: Sequence[Mapping[str, Any]]) -> str:
    """Name the machines, versions and commits of some records; keys that they lack are left out.

    Examples
    --------
    >>> one = {"processor": "Some CPU", "features": "AVX2", "cores": 2, "numpy": "2.4.6"}
    >>> in_words([one | {"commit": "1234567890"}, one | {"commit": "abcdef0123-dirty"}])
    'Some CPU (AVX2), 2 cores, NumPy 2.4.6; commits 1234567 and abcdef0-dirty'
    """
    commits: dict[str, set[str]] = {}
    for found in machines:
        own = commits.setdefault(_machine_in_words(found), set())
        if found.get("commit"):
            own.add(short_commit(found["commit"]))
    return "; ".join(
        words + (f"; commit{'s' * (len(own) > 1)} {' and '.join(sorted(own))}" if own else "")
        for words, own in sorted(commits.items())
    )


def short_commit(commit: str) -> str:
    """Shorten a commit's name to seven digits, keeping the mark of changes.

    Examples
    --------
    >>> short_commit("0123456789abcdef-dirty")
    '0123456-dirty'
    """
    name, mark, rest = commit.partition("-")
    return name[:7] + mark + rest


def commit_of(file: Path) -> str | None:
    """Give the commit that a file's repository stands at, with "-dirty" where something differs.

    What runs leave in results/ does not count as a difference, nor do files that git does not
    know. None where there is no git, no repository, or one that does not contain the file, such as
    the repository around an environment into which this was installed.
    """
    if _ask("git", "ls-files", "--error-unmatch", file.name, folder=file.parent) is None:
        return None
    head = _ask("git", "rev-parse", "HEAD", folder=file.parent)
    status = "git --no-optional-locks status --porcelain --untracked-files=no --"
    changed = _ask(*status.split(), ":(top,exclude)results", folder=file.parent)
    if head is None or changed is None:
        return None
    return head + ("-dirty" if changed else "")


@cache
def _own_commit() -> str | None:
    return commit_of(Path(__file__).resolve())


def _machine_in_words(found: Mapping[str, Any]) -> str:
    features = found.get("features", UNKNOWN)
    words = [found["processor"] + ("" if features == UNKNOWN else f" ({features})")]
    words.append(f"{found['cores']} cores")
    if "system" in found:
        words.append(found["system"].split()[0])
    versions = {name: found.get(key, "none") for key, name in NAMES.items()}
    words += [f"{name} {number}" for name, number in versions.items() if number != "none"]
    return ", ".join(words)


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "none"


def _processor() -> str:
    """Give the processor's own name where the system tells it."""
    return (
        _of_cpuinfo("model name")
        or _ask_sysctl("machdep.cpu.brand_string")
        or platform.processor()
        or platform.machine()
    )


def _features() -> str:
    """Name the widest vectors that the processor has, those asked for, and a virtual one."""
    told = _of_cpuinfo("flags") or _of_cpuinfo("Features") or _features_of_a_mac()
    flags = told.lower().split()
    known = [name for flag, name in VECTORS.items() if flag in flags][:1]
    if "hypervisor" in flags:
        known.append("virtual")
    if os.environ.get(VECTOR_VARIABLE):
        known.append(f"vectors of {os.environ[VECTOR_VARIABLE]} bytes")
    return ", ".join(known) or UNKNOWN


def _features_of_a_mac() -> str:
    intel = ("machdep.cpu.features", "machdep.cpu.leaf7_features")
    told = " ".join(_ask_sysctl(name) for name in intel)
    return told + (" neon" if _ask_sysctl("hw.optional.neon") == "1" else "")


def _of_cpuinfo(field: str) -> str:
    """Give a field of Linux's list of processors, that of the first one; "" where it has none."""
    try:
        lines = CPUINFO.read_text("utf-8", "replace").splitlines()
    except OSError:
        return ""
    for line in lines:
        name, _, value = line.partition(":")
        if name.strip() == field:
            return value.strip()
    return ""


def _ask_sysctl(name: str) -> str:
    """Give a fact that macOS knows; "" on every other system."""
    return (platform.system() == "Darwin" and _ask("sysctl", "-n", name)) or ""


def _ask(*command: str, folder: Path | None = None) -> str | None:
    """Give what a program prints; None where it is missing, fails or takes too long."""
    around = {key: value for key, value in os.environ.items() if key not in ELSEWHERE}
    try:
        done = subprocess.run(
            command, cwd=folder, env=around, check=True, timeout=PATIENCE,
            stdin=subprocess.DEVNULL, capture_output=True, encoding="utf-8", errors="replace",
        )  # fmt: skip
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()
