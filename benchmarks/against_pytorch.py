"""Training and inference beside PyTorch and ONNX Runtime, on the networks of the five systems.

    python -m benchmarks.against_pytorch            # everything: about a quarter of an hour
    python -m benchmarks.against_pytorch --networks A "D 8/16" --modes train-128 --rounds 3

In one run and in alternation: PyTorch in both memory formats (the better one counts), ONNX Runtime
where it is inference, then both backends here.  Before any timing all get the same weights, and
loss, gradients, 20 steps of training and outputs must agree.

train-128, train-1: steps of SGD with momentum on batches of 128 images and of 1.  All go through
    the same 4,096 images.  Ours are bytes and are scaled in every step; PyTorch's are floats, laid
    out in batches beforehand, which is the easier task.
inference: class scores of 1,000 images.  All get floats in memory, samples first, and give the
    scores with their softmax (or sigmoid); ours also brings the images into its own order and looks
    for NaN among them, as `network.scores` always does.

All use all cores in every mode, which is the default of all; PyTorch is eager, its default too.
Needs: pip install -r benchmarks/requirements.txt
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from contextlib import nullcontext
from itertools import cycle
from statistics import median
from typing import Any

import numpy as np

from benchmarks.machine import Step, alternate, options, ratios, timed, write_json
from benchmarks.networks import NETWORKS, RATES, network, random_images, recipe, weights
from benchmarks.report import heading, means, row
from CNN import CNN
from Datasets import Dataset
from glassbox.bridges.onnx import INPUT, export
from glassbox.engine.machine import machine
from glassbox.kernels import BACKENDS

MODES = {"train-128": 128, "train-1": 1, "inference": 1000}  # and the images of one step
OPTIONS: dict[str, Any] = {
    "networks": list(NETWORKS), "modes": list(MODES), "rounds": 7, "seconds": 1.0,
}  # fmt: skip

try:
    import onnxruntime
    import torch

    from benchmarks import torch_twin
except ModuleNotFoundError as error:
    if __name__ == "__main__":
        options(__doc__, **OPTIONS)  # --help helps without them
        sys.exit(f"{error.name} is missing: pip install -r benchmarks/requirements.txt")
    raise
FORMATS = {"contiguous": torch.contiguous_format, "channels_last": torch.channels_last}
PACKAGES = ("torch", "onnxruntime")
Contestant = tuple[Step, Callable[[], Any]]  # what is repeated, and what is entered around it

STEPS, BATCH = 20, 128
# Gradients are compared on fewer images: among more, some two pixels are so nearly equal that the
# last bit decides which of them a max-pooling takes, and that moves a gradient by 2e-4.
FEW = 32
# Over 20 steps rounding adds up, and not smoothly: where two pixels are all but equal, or a sum is
# all but zero, the last bit decides which way a max-pooling or a ReLU sends the gradient.  PyTorch
# in float32 strays from PyTorch in float64 just so, on E's network by 1.7 % of the way that the
# weights have gone, and ours from either by about as much.  So the paths of the weights, not the
# weights themselves (which hardly move in 20 steps), are compared, by their lengths.  Else a
# difference is the largest of an array over PyTorch's largest number: a millionth is usual.
TOLERANCE = {
    "gradients": 1e-4,  # the loss and every gradient of one batch
    "losses": 1e-3,  # the loss at each of the steps
    "paths": 5e-2,  # |ours - theirs| / |theirs|, the way that each array of weights has gone
    "outputs": 1e-4,  # what inference gives
}


def check_agreement(name: str, backend: str, data: Dataset) -> dict[str, float]:
    """The largest difference of each kind; SystemExit where one is above its tolerance.

    Dropout is left out: its masks are drawn differently.
    """
    found = {"gradients": _gradients(name, backend, data), **_steps(name, backend, data)}
    found["outputs"] = _outputs(name, backend, data)
    for kind, error in found.items():
        if not error < TOLERANCE[kind]:
            raise SystemExit(
                f"{name}, {backend}: {kind} differ by {error:.1e} relative, more than "
                f"{TOLERANCE[kind]:.0e}; no timing"
            )
    return found


def pair_of(name: str, scores: bool = False, **settings: Any) -> tuple[CNN, Any]:
    """Our network, and PyTorch's with the same weights."""
    ours = network(name, **settings)
    return ours, torch_twin.load(torch_twin.build(recipe(ours, scores)), weights(ours))


def tensors(data: Dataset, indices: Any) -> tuple[Any, Any]:
    """Scaled images and labels for PyTorch."""
    x, labels = data.batch(indices)
    return torch.from_numpy(np.ascontiguousarray(x)), torch.from_numpy(labels.copy())


def _error(ours: Any, theirs: Any) -> float:
    return float(np.abs(ours - theirs).max() / max(float(np.abs(theirs).max()), 1e-12))


def _apart(ours: np.ndarray, theirs: np.ndarray) -> float:
    """The length of the difference, over PyTorch's length."""
    return float(np.linalg.norm(ours - theirs) / np.linalg.norm(theirs))


def _gradients(name: str, backend: str, data: Dataset) -> float:
    ours, theirs = pair_of(name, dropout=False, seed=5, kernels=backend)
    indices = np.arange(FEW)
    x, labels = data.batch(indices)
    outputs, memories = ours.forward(x)
    losses, memory = ours.loss.forward(np.ascontiguousarray(outputs.T), labels)
    gradients = ours.backward(ours.loss.backward(memory, len(x)).T, memories)
    images, truth = tensors(data, indices)
    loss = torch_twin.loss_of(ours.loss.word, theirs(images), truth)
    loss.backward()
    own = [layer[key] for layer in gradients.values() for key in ("weight", "bias")]
    pairs = zip(own, theirs.parameters(), strict=True)
    errors = [_error(gradient, parameter.grad.numpy()) for gradient, parameter in pairs]
    return max(_error(losses.mean(), loss.item()), *errors)


def _steps(name: str, backend: str, data: Dataset) -> dict[str, float]:
    """Both train on the same batches, ours in shards and threads as it is timed."""
    ours, theirs = pair_of(name, dropout=False, seed=5, kernels=backend)
    start, optimizer = weights(ours), torch_twin.sgd(theirs, *RATES)
    losses = []
    for step in range(STEPS):
        indices = (np.arange(BATCH) + step * BATCH) % len(data)
        own, _ = ours.train_step(data, indices)
        loss = torch_twin.step(theirs, optimizer, ours.loss.word, *tensors(data, indices))
        losses.append(_error(own / BATCH, loss.item()))
    paths = [
        _apart(now - was, their.detach().numpy() - was)
        for was, now, their in zip(start, weights(ours), theirs.parameters(), strict=True)
    ]
    return {"losses": max(losses), "paths": max(paths)}


def _outputs(name: str, backend: str, data: Dataset) -> float:
    """Ours beside PyTorch's and ONNX Runtime's."""
    ours, theirs = pair_of(name, scores=True, seed=5, kernels=backend)
    images, _ = tensors(data, np.arange(BATCH))
    with torch.inference_mode():
        expected = theirs.eval()(images).numpy()
    found = ours.scores(images.numpy())
    runtime = runtime_of(ours, threads=1).run(None, {INPUT: images.numpy()})[0]
    return max(_error(found, expected), _error(found, runtime))


def runtime_of(ours: CNN, threads: int) -> Any:
    """ONNX Runtime, on the processor, with our network as `export` writes it."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    return onnxruntime.InferenceSession(
        export(ours).SerializeToString(), options, providers=["CPUExecutionProvider"]
    )


def train_ours(name: str, backend: str, data: Dataset, batch: int) -> Contestant:
    """`train_step` as `fit` calls it."""
    ours = network(name, kernels=backend)
    batches = cycle(np.arange(len(data)).reshape(-1, batch))
    return lambda: ours.train_step(data, next(batches)), ours.workers.training


def train_theirs(name: str, layout: Any, data: Dataset, batch: int) -> Contestant:
    """A training step of PyTorch."""
    ours, theirs = pair_of(name)
    theirs = theirs.to(memory_format=layout).train()
    images, labels = tensors(data, np.arange(len(data)))
    pieces = images.to(memory_format=layout).split(batch)
    batches = cycle(list(zip(pieces, labels.split(batch), strict=True)))
    more = theirs, torch_twin.sgd(theirs, *RATES), ours.loss.word
    return lambda: torch_twin.step(*more, *next(batches)), nullcontext


def use_ours(name: str, backend: str, images: np.ndarray) -> Contestant:
    """`network.scores` of float images."""
    ours = network(name, kernels=backend)
    return lambda: ours.scores(images), ours.workers.serial_blas


def use_theirs(name: str, layout: Any, images: np.ndarray) -> Contestant:
    """PyTorch in inference mode."""
    theirs = pair_of(name, scores=True)[1].to(memory_format=layout).eval()
    batch = torch.from_numpy(images).to(memory_format=layout)
    return lambda: theirs(batch), torch.inference_mode


def use_runtime(name: str, images: np.ndarray) -> Contestant:
    """ONNX Runtime on all cores."""
    session = runtime_of(network(name), machine()["cores"])
    return lambda: session.run(None, {INPUT: images}), nullcontext


def contestants(name: str, mode: str, data: Dataset) -> dict[str, Contestant]:
    """All of a mode, in the order in which they are timed."""
    count = MODES[mode]
    if mode == "inference":
        images = np.ascontiguousarray(data.batch(np.arange(count))[0])
        theirs = {key: use_theirs(name, layout, images) for key, layout in FORMATS.items()}
        ours = {backend: use_ours(name, backend, images) for backend in BACKENDS}
        return {**theirs, "onnxruntime": use_runtime(name, images), **ours}
    theirs = {key: train_theirs(name, layout, data, count) for key, layout in FORMATS.items()}
    return theirs | {backend: train_ours(name, backend, data, count) for backend in BACKENDS}


def measure(name: str, mode: str, data: Dataset, rounds: int, seconds: float) -> dict[str, Any]:
    """Images per second of all contestants in alternation, and the ratios of every round."""
    every = contestants(name, mode, data).items()
    ways = {key: timed(step, MODES[mode], seconds, around) for key, (step, around) in every}
    found = alternate(ways, rounds)
    better = max(FORMATS, key=lambda key: median(found[key]))
    rivals = {"pytorch": found[better]}
    if mode == "inference":
        rivals["onnxruntime"] = found["onnxruntime"]
    beside = {
        f"{backend} / {rival}": ratios(found[backend], theirs)
        for rival, theirs in rivals.items()
        for backend in BACKENDS
    }
    return {"images_per_second": found, "better_format": better, "ratios": beside}


def check_all(names: list[str], data: Dataset) -> dict[str, dict[str, float]]:
    """Agreement of every network in every backend; prints the largest differences."""
    pairs = [(name, backend) for name in names for backend in BACKENDS]
    found = {", ".join(pair): check_agreement(*pair, data) for pair in pairs}
    kinds = next(iter(found.values()))
    worst = {kind: max(errors[kind] for errors in found.values()) for kind in kinds}
    print("agree to: " + ", ".join(f"{kind} {error:.0e}" for kind, error in worst.items()))
    return found


def main() -> None:
    told = options(__doc__, *PACKAGES, **OPTIONS)
    torch.set_num_threads(machine()["cores"])
    data = random_images(4096)
    everything: dict[str, Any] = {"rounds": told.rounds, "seconds": told.seconds}
    everything["agreement"] = check_all(told.networks, data)
    for mode in told.modes:
        print(f"\n{mode}: images per second, median of {told.rounds} alternations")
        print(heading(mode), flush=True)
        results: dict[str, dict[str, Any]] = {}
        for name in told.networks:
            results[name] = measure(name, mode, data, told.rounds, told.seconds)
            print(row(name, results[name]), flush=True)
        summary = means(results)
        for kind, value in summary.items():
            print(f"geometric mean of {kind}: {value:.2f}")
        everything[mode] = {"networks": results, "geometric_mean": summary}
        write_json(told.json, everything, *PACKAGES)  # after each mode: what is measured is kept


if __name__ == "__main__":
    main()
