"""How near each layer comes to the machine's matrix product, which is about as fast as it can be.

    python -m benchmarks.roofline                      # wide networks and the MLP, compiled
    python -m benchmarks.roofline --processor avx2     # with the code of AVX2
    python -m benchmarks.roofline --networks D "D 8/16" --kernels numpy

The yardstick is NumPy's product of two float32 matrices of 1,024 x 1,024, on one core and on all,
measured in the same rounds.  Beside it, in GFLOP/s (2 for each multiply-add of a direct
convolution, however it is computed, so that a cleverer algorithm may pass 100 %):

- each convolution and dense layer by itself, its kernels called on one shard as training cuts it:
  on one thread, then on all cores at once, each thread with a shard of its own (there the shortest
  ones also wait for Python's lock, as they do in training);
- a whole training step of 128 images on one thread and on all, with all that is not a product
  (pooling, activations, loss, optimizer, Python) counted as time and not as work.

The milliseconds are those of one core for 128 images: a profile of the step.  Per cent, and how
much faster all threads are than one, are medians of the rounds' own ratios.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from statistics import median
from threading import Barrier
from typing import Any

import numpy as np
from threadpoolctl import threadpool_limits

from benchmarks import restricted
from benchmarks.machine import Step, alternate, options, rate, ratios, write_json
from benchmarks.networks import network, random_images
from CNN import CNN
from Filters import Conv2D, Residual
from glassbox.engine.layer import Layer
from glassbox.engine.machine import machine
from glassbox.engine.parallel import shard_slices
from glassbox.kernels import DEFAULT
from MLP import Dense

SIDE, BATCH = 1024, 128
FORWARD, INPUT, WEIGHT = "forward", "input gradient", "weight gradient"
STEP = "training step"
NAMES = ["D 8/16", "B", "E CNN", "E MLP", "residual", "color"]
ONE, ALL = "one core", "all cores"

Calls = dict[str, Step]


def learning(ours: CNN) -> dict[str, Layer]:
    """The layers that are timed by name, "residual1.conv1" within a block: those with products."""
    return _products_of("", ours.layers)


def _products_of(before: str, layers: Sequence[Any]) -> dict[str, Layer]:
    found: dict[str, Layer] = {}
    for layer in layers:
        name = f"{before}{layer.name}"
        if isinstance(layer, Conv2D | Dense):
            found[name] = layer
        elif isinstance(layer, Residual):
            inner = [*layer.layers, *([] if layer.shortcut is None else [layer.shortcut])]
            found |= _products_of(f"{name}.", inner)
    return found


def layer_flops(layer: Layer, samples: int) -> int:
    """Of one of the three products of a layer: 2 for each multiply-add."""
    return 2 * layer.multiply_adds() * samples


def products(layer: Layer) -> list[str]:
    """What a training step computes of it; the first layer needs no gradient of its input."""
    return [FORWARD, INPUT, WEIGHT] if layer.needs_input_gradient else [FORWARD, WEIGHT]


def parts(ours: CNN, samples: int) -> dict[str, int]:
    """The work of each product of a training step, and of the step: {"conv1 forward": ...}."""
    work = {
        f"{name} {kind}": layer_flops(layer, samples)
        for name, layer in learning(ours).items()
        for kind in products(layer)
    }
    return {**work, STEP: sum(work.values())}


def layer_calls(layer: Any, samples: int) -> Calls:
    """The layer's kernels with arrays of their own, as its forward and backward call them."""
    rng = np.random.default_rng(0)
    x = rng.standard_normal((*layer.input_shape, samples), np.float32)
    dz = rng.standard_normal((*layer.output_shape, samples), np.float32)
    kernels, weights, bias = layer.kernels, layer.parameters["weight"], layer.parameters.get("bias")
    fuses = hasattr(kernels, "ends") and hasattr(layer.activation, "slope")
    slope = (layer.activation.slope,) if fuses else ()
    family, window = ("conv2d", (layer.window,)) if isinstance(layer, Conv2D) else ("dense", ())
    shape = (x.shape,) if window else ()
    x = x if window else x.reshape(-1, samples)
    ends = ("", "_input_gradient", "_weight_gradient")
    forward, input_gradient, weight_gradient = (getattr(kernels, family + end) for end in ends)
    calls = {
        FORWARD: partial(forward, x, weights, bias, *window, *slope),
        INPUT: partial(input_gradient, dz, weights, *window, *shape),
        WEIGHT: partial(weight_gradient, x, dz, *window),
    }
    return {name: calls[name] for name in products(layer)}


def all_calls(ours: CNN, samples: int) -> Calls:
    """Those of all layers, named as in `parts`."""
    every = ((name, layer_calls(layer, samples)) for name, layer in learning(ours).items())
    return {f"{name} {kind}": call for name, own in every for kind, call in own.items()}


def rate_together(steps: Sequence[Step], amount: float, seconds: float) -> float:
    """The rates of several steps summed, each repeated on a thread of its own, all at once."""
    if len(steps) == 1:
        return rate(steps[0], amount, seconds)
    start = Barrier(len(steps))

    def run(step: Step) -> float:
        start.wait()
        return rate(step, amount, seconds)

    with ThreadPoolExecutor(len(steps)) as pool:
        return sum(pool.map(run, steps))


def product_rate(blas_threads: int, seconds: float) -> float:
    """GFLOP/s of the matrix product on so many threads."""
    a, b = np.random.default_rng(0).standard_normal((2, SIDE, SIDE), np.float32)
    out = np.empty_like(a)
    with threadpool_limits(blas_threads, "blas"):
        return rate(lambda: np.matmul(a, b, out=out), 2 * SIDE**3 / 1e9, seconds)


def kernel_rate(ours: CNN, *told: Any) -> float:
    """The same of a kernel, under training's conditions."""
    # BLAS on one thread in each, freed memory kept for the next call
    with ours.workers.serial_blas():
        return rate_together(*told)


def step_rate(ours: CNN, threads: int, seconds: float) -> float:
    """GFLOP/s of whole training steps."""
    ours.workers.threads = threads
    data = random_images(BATCH, ours.input_shape)
    with ours.workers.serial_blas():
        ours.train_step(data)
        return rate(lambda: ours.train_step(data), parts(ours, BATCH)[STEP] / 1e9, seconds)


def contestants(ours: CNN, cores: int, seconds: float) -> dict[str, Callable[[], float]]:
    """Everything that is timed for a network, by name; alternated with the matrix product."""
    found: dict[str, Callable[[], float]] = {}
    cut = shard_slices(BATCH, ours.executor.sample_bytes, ours.kernels.SHARD_POLICY)[0]
    samples = cut.stop - cut.start  # in one shard
    work = parts(ours, samples)
    for where, threads in ((ONE, 1), (ALL, cores)):
        found[f"{where}: product"] = partial(product_rate, threads, seconds)
        shards = [all_calls(ours, samples) for _ in range(threads)]
        for key in shards[0]:
            told = [shard[key] for shard in shards], work[key] / 1e9, seconds
            found[f"{where}: {key}"] = partial(kernel_rate, ours, *told)
        found[f"{where}: {STEP}"] = partial(step_rate, ours, threads, 2 * seconds)
    return found


def table(title: str, ours: CNN, found: Mapping[str, Sequence[float]], cores: int) -> str:
    """GFLOP/s and per cent of the product, each layer's products and the whole step."""
    one, every = (median(found[f"{where}: product"]) for where in (ONE, ALL))
    lines = [
        f"{title}: the product gives {one:.0f} GFLOP/s on one core, {every:.0f} on {cores}",
        f"{'':<36}{'one core':>28}{f'{cores} cores':>22}",
        f"{'':<36}{'ms':>8}{'GFLOP/s':>10}{'product':>10}{'GFLOP/s':>12}{'product':>10}",
    ]
    for key, flops in parts(ours, BATCH).items():
        layer, kind = key.split(" ", 1)
        words = f"{STEP} of {BATCH}" if key == STEP else f"{layer:<20}{kind}"
        cells = f"{flops / median(found[f'{ONE}: {key}']) / 1e6:8.2f}"
        for where, width in ((ONE, 10), (ALL, 12)):
            speeds = found[f"{where}: {key}"]
            share = median(ratios(speeds, found[f"{where}: product"]))
            cells += f"{median(speeds):{width}.1f}{share:10.0%}"
        lines.append(f"{words:<36}{cells}")
    faster = ratios(found[f"{ALL}: {STEP}"], found[f"{ONE}: {STEP}"])
    lines.append(f"{cores} threads against one: {median(faster):.2f} times the speed")
    return "\n".join(lines)


def main() -> None:
    told = options(__doc__, networks=NAMES, kernels=DEFAULT, rounds=7, seconds=0.2, processor="own")
    if told.processor != "own":
        restricted.enter(told.processor)
    cores = machine()["cores"]
    everything: dict[str, Any] = {"kernels": told.kernels, "processor": told.processor}
    for name in told.networks:
        ours = network(name, kernels=told.kernels)
        found = everything[name] = alternate(contestants(ours, cores, told.seconds), told.rounds)
        print("\n" + table(f"{name}, {told.kernels}", ours, found, cores), flush=True)
    write_json(told.json, everything)


if __name__ == "__main__":
    main()
