"""How everybody is kept from instructions that a processor has, and whether it took effect.

Each library is asked what it uses, where it can tell; where it cannot, the time of a small job is
all there is, and on a processor whose wide vectors are two halves that need not change.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from tempfile import TemporaryDirectory
from typing import Any

from benchmarks.machine import run_python

# What the environment of the process that measures has to say.
VARIABLES = {
    "avx2": {
        "GLASSBOX_VECTOR_BYTES": "32",
        "OPENBLAS_CORETYPE": "Haswell",
        "NPY_DISABLE_CPU_FEATURES": "X86_V4 AVX512_ICL AVX512_SPR",
        "ATEN_CPU_CAPABILITY": "avx2",
        "ONEDNN_MAX_CPU_ISA": "AVX2",
        "MKL_ENABLE_INSTRUCTIONS": "AVX2",
        "XLA_FLAGS": "--xla_cpu_max_isa=AVX2",
    }
}
CACHE = "TORCHINDUCTOR_CACHE_DIR"
FREE = "ONNX Runtime cannot be restricted: it uses what the processor has"
# Of whom -> the peer that it is needed for, what sets `told` (a word, or None) and the job `step`.
PROBES = {
    "NumPy's products": ("", """
from threadpoolctl import threadpool_info
told = {"Haswell": "avx2"}.get(threadpool_info()[0]["architecture"], "more")
step = lambda: a @ a"""),
    "NumPy's loops": ("", """
from numpy._core._multiarray_umath import __cpu_features__
told = "more" if __cpu_features__["X86_V4"] else "avx2"
step = lambda: np.exp(a)"""),
    "compiled": ("", """
from benchmarks.networks import network
from numba.core.codegen import get_host_cpu_features
from numba.core.config import CPU_FEATURES
ours = network("B")
features = CPU_FEATURES or get_host_cpu_features()
told = "more" if "+avx512f" in features and "-avx512f" not in features else "avx2"
images = np.random.default_rng(0).random((16, 1, 28, 28), np.float32)
ours.scaling = None
step = lambda: ours.forward(images)"""),
    "PyTorch": ("pytorch", """
import torch
told = "avx2" if torch.backends.cpu.get_cpu_capability() == "AVX2" else "more"
convolution, images = torch.nn.Conv2d(32, 64, 3), torch.rand(8, 32, 26, 26)
step = lambda: convolution(images)"""),
    "torch.compile": ("torch.compile", """
import torch
from torch._inductor.cpu_vec_isa import pick_vec_isa
told = "avx2" if str(pick_vec_isa()) == "avx2" else "more"
t = torch.from_numpy(a)
run = torch.compile(lambda x: (x.sigmoid() * x).tanh())
step = lambda: run(t)"""),
    "JAX": ("jax", """
import jax
told = None
x = jax.numpy.array(a)
run = jax.jit(lambda x: jax.nn.sigmoid(x @ x))
step = lambda: run(x).block_until_ready()"""),
}  # fmt: skip
HEAD = """
import json, time, warnings
import numpy as np
warnings.simplefilter("ignore")
a = np.random.default_rng(0).random((512, 512), np.float32)
"""
TAIL = """
times = []
for _ in range(30):
    begun = time.perf_counter()
    step()
    times.append(time.perf_counter() - begun)
print(json.dumps([told, min(times)]))
"""


def enter(processor: str) -> None:
    """Start this program again, if need be, in a process whose environment says so."""
    wanted = VARIABLES[processor]
    if any(os.environ.get(name) != value for name, value in wanted.items()):
        sys.stdout.flush()
        os.execve(sys.executable, [sys.executable, *sys.orig_argv[1:]], os.environ | wanted)


@contextmanager
def fresh_cache() -> Iterator[None]:
    """Let torch.compile keep its code in an empty folder, here and in processes started here.

    Its own folder does not tell instruction sets apart: code for AVX-512 is taken for AVX2's, and
    the numbers are wrong.  Nor does it notice what a killed run has left half written.
    """
    before = os.environ.get(CACHE)
    with TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        os.environ[CACHE] = folder
        try:
            yield
        finally:
            os.environ.pop(CACHE)
            os.environ |= {CACHE: before} if before else {}


def words(processor: str) -> str:
    """How a table says it."""
    return f"nobody but ONNX Runtime uses more than {processor.upper()}"


def probe(program: str, variables: dict[str, str]) -> tuple[str | None, float]:
    """What is told by a program in a process of its own, and the seconds of its job."""
    with fresh_cache():
        said, seconds = json.loads(run_python("-c", HEAD + program + TAIL, **variables))
    return said, seconds


def check(processor: str, peers: Sequence[str]) -> dict[str, Any]:
    """What everybody tells and how much slower they are; SystemExit where one is not restricted."""
    wanted = VARIABLES[processor]
    found: dict[str, Any] = {"variables": wanted}
    for who, (peer, program) in PROBES.items():
        if peer and peer not in peers:
            continue
        _, before = probe(program, dict.fromkeys(wanted, ""))
        said, after = probe(program, {})
        found[who] = {"tells": said, "slower": after / before}
        how = "cannot tell" if said is None else f"tells {said}"
        print(f"{who} {how}; its job takes {after / before:.2f} times as long", flush=True)
        if said not in (None, processor):
            raise SystemExit(
                f"{who} was to be restricted to {processor} and tells {said!r}; no timing. Is one "
                f"of the variables not understood by its version? {wanted}"
            )
    if "onnxruntime" in peers:
        found["ONNX Runtime"] = FREE
        print(FREE)
    return found
