"""Training and inference beside PyTorch, torch.compile, JAX and ONNX Runtime.

    python -m benchmarks.against_peers              # everything: about half an hour
    python -m benchmarks.against_peers --networks A "D 8/16" --modes train-128 --rounds 3
    python -m benchmarks.against_peers --processor avx2       # nobody uses AVX-512

In one run and in alternation, on the networks of the five systems: PyTorch, eager and by
torch.compile, both in both memory formats (the faster one counts), JAX by jit, ONNX Runtime where
it is inference, and both backends here.  A peer that is not installed is left out, which is said
and written down.  Before any timing all get the same weights, and loss, gradients, 20 steps of
training and outputs must agree with float64 (see `judge`).  Nothing is compiled while it is timed.

train-128, train-1: steps of SGD with momentum on batches of 128 images and of 1.  All go through
    the same 4,096 images.  Ours are bytes and are scaled in every step; the peers' are floats, laid
    out in batches beforehand, which is the easier task.
inference: class scores of 1,000 images.  All get floats in memory, samples first, and give the
    scores with their softmax (or sigmoid); ours also brings the images into its own order and looks
    for NaN among them, as `network.scores` always does.

All use all cores in every mode, which is the default of all.
Needs: pip install -r benchmarks/requirements.txt
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from importlib import import_module
from importlib.util import find_spec
from itertools import cycle
from statistics import median
from typing import Any, NamedTuple

import numpy as np

from benchmarks import restricted
from benchmarks.machine import Step, alternate, options, ratios, timed, write_json
from benchmarks.networks import NETWORKS, RATES, SHAPES, network, random_images, recipe, weights
from benchmarks.report import heading, means, row
from CNN import CNN
from Datasets import Dataset
from glassbox.bridges.onnx import INPUT, export
from glassbox.engine.machine import machine
from glassbox.kernels import BACKENDS

MODES = {"train-128": 128, "train-1": 1, "inference": 1000}  # and the images of one step
OPTIONS: dict[str, Any] = {
    "networks": list(NETWORKS), "modes": list(MODES), "rounds": 7, "seconds": 0.6,
    "processor": "own",
}  # fmt: skip


class Peer(NamedTuple):
    """What it needs, its twin of a network (a module here), and the ways in which it runs."""

    package: str
    twin: str
    ways: Mapping[str, Mapping[str, Any]]


FORMATS = ("contiguous_format", "channels_last")
PEERS = {
    "pytorch": Peer("torch", "torch_twin", {name: {"layout": name} for name in FORMATS}),
    "torch.compile": Peer("torch", "torch_twin", {
        f"compile {name}": {"layout": name, "compiled": True} for name in FORMATS
    }),
    "jax": Peer("jax", "jax_twin", {"jax": {}}),
    "onnxruntime": Peer("onnxruntime", "", {"onnxruntime": {}}),
}  # fmt: skip
TRAINED = [name for name, peer in PEERS.items() if peer.twin]  # the best of them is a rival, too
PACKAGES = tuple(dict.fromkeys(peer.package for peer in PEERS.values()))
Contestant = tuple[Step, Callable[[], Any]]  # what is repeated, and what is entered around it
Errors = dict[str, float]

IMAGES, STEPS, BATCH = 4096, 20, 128
# Gradients are compared on some small batches, and the median counts: where two pixels are all but
# equal, the last bit decides which of them a max-pooling takes, in anybody's float32.
BATCHES, FEW = 9, 8
# A difference is the largest of an array over the largest number of float64's.  Over 20 steps
# rounding adds up, and not smoothly, since ReLUs and max-poolings decide by the last bit; there the
# ways that the weights have gone are compared (they hardly move), by the length of the difference.
ROUNDING = {
    "gradients": 2e-5,  # the loss and every gradient of one batch
    "losses": 1e-3,  # the loss at each of the steps
    "paths": 5e-2,  # |ours - exact| / |exact|, the way that each array of weights has gone
    "outputs": 2e-5,  # what inference gives
}
ANOTHER = 0.1  # so far from float64 nobody is by rounding: it is not the same network


def judge(what: str, ours: Errors, peers: Mapping[str, Errors]) -> None:
    """SystemExit where our float32 is further from float64 than rounding and than every peer.

    ours, peers : the distances from float64, of each kind.

    Also where anybody computes something else altogether.
    """
    for who, found in {"ours": ours, **peers}.items():
        for kind, error in found.items():
            if not error < ANOTHER:
                raise SystemExit(
                    f"{what}: {kind} of {who} differ by {error:.1e} from float64, which is more "
                    f"than rounding ({ANOTHER:g}): not the same network; no timing"
                )
    for kind, error in ours.items():
        theirs = {who: found[kind] for who, found in peers.items() if kind in found}
        if error > max(ROUNDING[kind], *theirs.values()):
            beside = ", ".join(f"{who} by {other:.1e}" for who, other in theirs.items())
            raise SystemExit(
                f"{what}: {kind} differ by {error:.1e} from float64, more than "
                f"{ROUNDING[kind]:.0e} and than the peers ({beside}); no timing"
            )


def present() -> tuple[list[str], dict[str, str]]:
    """The peers that run here, and why the others do not: "not installed", for example."""
    left_out = {}
    for name, peer in PEERS.items():
        if find_spec(peer.package) is None:
            left_out[name] = f"{peer.package} is not installed"
        elif peer.twin:
            why = twin(name).ready(machine()["cores"], name == "torch.compile")
            left_out |= {name: why} if why else {}
    found = [name for name in PEERS if name not in left_out]
    if not set(TRAINED) & set(found):
        raise SystemExit(
            "neither PyTorch nor JAX is installed, expected at least one of them to compare "
            "with: pip install -r benchmarks/requirements.txt"
        )
    return found, left_out


def twin(peer: str) -> Any:
    """The module of a peer that is installed."""
    return import_module(f"benchmarks.{PEERS[peer].twin}")


class Numbers(NamedTuple):
    """What training and inference give, in float64 or by somebody in float32."""

    gradients: list[list[np.ndarray]]
    losses: list[float]
    paths: list[np.ndarray]
    outputs: np.ndarray

    def errors(self, exact: Numbers) -> Errors:
        """How far these are from the exact ones, of each kind."""
        batches = zip(self.gradients, exact.gradients, strict=True)
        return {
            "gradients": median(max(map(error, *batch)) for batch in batches),
            "losses": max(map(error, self.losses, exact.losses)),
            "paths": max(map(_apart, self.paths, exact.paths)),
            "outputs": error(self.outputs, exact.outputs),
        }


def error(found: Any, exact: Any) -> float:
    """The largest difference over the largest exact number; NaN where something is not finite."""
    return float(np.abs(found - exact).max() / max(float(np.abs(exact).max()), 1e-12))


def _apart(found: np.ndarray, exact: np.ndarray) -> float:
    """The length of the difference, over the exact length."""
    return float(np.linalg.norm(found - exact) / np.linalg.norm(exact))


def _batches(count: int, size: int, data: Dataset) -> list[np.ndarray]:
    return [(np.arange(size) + step * size) % len(data) for step in range(count)]


def numbers_of(peer: str, name: str, data: Dataset, dtype: Any = np.float32) -> Numbers:
    """A peer's, in the first of its ways.  Dropout is left out: its masks are drawn differently."""
    twin(peer).forget()
    settings = next(iter(PEERS[peer].ways.values()))
    ours = network(name, dropout=False, seed=5)
    start = [array.astype(dtype) for array in weights(ours)]
    trainer = twin(peer).Trainer(recipe(ours), ours.loss.word, RATES, start, **settings)

    def step(indices: np.ndarray) -> float:
        images, labels = data.batch(indices)
        return float(trainer.step(*trainer.place(images.astype(dtype), labels)).item())

    losses = [step(indices) for indices in _batches(STEPS, BATCH, data)]
    paths = [now - was for now, was in zip(trainer.weights(), start, strict=True)]
    gradients = []
    for indices in _batches(BATCHES, FEW, data):
        trainer.load(start)
        gradients.append([np.array(step(indices)), *trainer.gradients()])
    images = _images(BATCH, data).astype(dtype)
    scored = twin(peer).scores(recipe(ours, scores=True), start, images, **settings)
    return Numbers(gradients, losses, paths, np.asarray(scored()))


def own_numbers(backend: str, name: str, data: Dataset) -> Numbers:
    """Ours: gradients by the layers, steps in shards and threads as they are timed."""
    gradients = []
    for indices in _batches(BATCHES, FEW, data):
        ours = network(name, dropout=False, seed=5, kernels=backend)
        x, labels = data.batch(indices)
        y, memories = ours.forward(x, training=True)
        losses, memory = ours.loss.forward(np.ascontiguousarray(y.T), labels)
        found = ours.backward(ours.loss.backward(memory, len(x)).T, memories)
        own = [found[layer.name][key] for layer in ours.layers for key in layer.parameters]
        gradients.append([np.array(losses.mean()), *own])
    start = weights(ours)
    scored = ours.scores(_images(BATCH, data))
    trained = [ours.train_step(data, i)[0] / BATCH for i in _batches(STEPS, BATCH, data)]
    paths = [now - was for now, was in zip(weights(ours), start, strict=True)]
    return Numbers(gradients, trained, paths, scored)


def _images(count: int, data: Dataset) -> np.ndarray:
    return np.ascontiguousarray(data.batch(np.arange(count))[0])


def check_agreement(name: str, peers: Sequence[str]) -> dict[str, Errors]:
    """The distances from float64 of every peer and backend, judged.

    float64 is that of a peer: what is wrong here would be wrong in our own.
    """
    data = random_images(IMAGES, SHAPES[name])
    trained = [peer for peer in TRAINED if peer in peers]
    eager = next(peer for peer in trained if peer != "torch.compile")
    exact = numbers_of(eager, name, data, np.float64)
    found = {peer: numbers_of(peer, name, data).errors(exact) for peer in trained}
    if "onnxruntime" in peers:
        session = runtime_of(network(name, dropout=False, seed=5), threads=1)
        outputs = session.run(None, {INPUT: _images(BATCH, data)})[0]
        found["onnxruntime"] = {"outputs": error(outputs, exact.outputs)}
    own = {backend: own_numbers(backend, name, data).errors(exact) for backend in BACKENDS}
    for backend, errors in own.items():
        judge(f"{name}, {backend}", errors, found)
    return found | own


def runtime_of(ours: CNN, threads: int) -> Any:
    """ONNX Runtime, on the processor, with our network as `export` writes it."""
    onnxruntime: Any = import_module("onnxruntime")
    settings = onnxruntime.SessionOptions()
    settings.intra_op_num_threads = threads
    return onnxruntime.InferenceSession(
        export(ours).SerializeToString(), settings, providers=["CPUExecutionProvider"]
    )


def train_ours(name: str, backend: str, data: Dataset, batch: int) -> Contestant:
    """`train_step` as `fit` calls it."""
    ours = network(name, kernels=backend)
    batches = cycle(np.arange(len(data)).reshape(-1, batch))
    return lambda: ours.train_step(data, next(batches)), ours.workers.training


def train_theirs(name: str, peer: str, way: str, data: Dataset, batch: int) -> Contestant:
    """A training step of a peer."""
    ours = network(name)
    more = recipe(ours), ours.loss.word, RATES, weights(ours)
    trainer = twin(peer).Trainer(*more, **PEERS[peer].ways[way])
    parts = np.arange(len(data)).reshape(-1, batch)
    batches = cycle([trainer.place(*data.batch(part)) for part in parts])
    return lambda: trainer.step(*next(batches)), nullcontext


def use_ours(name: str, backend: str, images: np.ndarray) -> Contestant:
    """`network.scores` of float images."""
    ours = network(name, kernels=backend)
    return lambda: ours.scores(images), ours.workers.serial_blas


def use_theirs(name: str, peer: str, way: str, images: np.ndarray) -> Contestant:
    """The scores by a peer."""
    ours = network(name)
    if peer == "onnxruntime":
        session = runtime_of(ours, machine()["cores"])
        return lambda: session.run(None, {INPUT: images}), nullcontext
    more = recipe(ours, scores=True), weights(ours), images
    return twin(peer).scores(*more, **PEERS[peer].ways[way]), nullcontext


def contestants(name: str, mode: str, peers: Sequence[str], data: Dataset) -> dict[str, Contestant]:
    """All of a mode, in the order in which they are timed."""
    count = MODES[mode]
    for peer in set(TRAINED) & set(peers):
        twin(peer).forget()
    ways = [(peer, way) for peer in peers for way in PEERS[peer].ways]
    if mode == "inference":
        images = _images(count, data)
        theirs = {way: use_theirs(name, peer, way, images) for peer, way in ways}
        return theirs | {backend: use_ours(name, backend, images) for backend in BACKENDS}
    theirs = {
        way: train_theirs(name, peer, way, data, count) for peer, way in ways if peer in TRAINED
    }
    return theirs | {backend: train_ours(name, backend, data, count) for backend in BACKENDS}


def measure(
    name: str, mode: str, peers: Sequence[str], rounds: int, seconds: float
) -> dict[str, Any]:
    """Images per second of all contestants in alternation, and the ratios of every round."""
    every = contestants(name, mode, peers, random_images(IMAGES, SHAPES[name]))
    for step, around in every.values():
        with around():
            for _ in range(3):  # what is compiled is then compiled
                step()
    ways = {key: timed(step, MODES[mode], seconds, around) for key, (step, around) in every.items()}
    return compared(alternate(ways, rounds))


def compared(found: dict[str, list[float]]) -> dict[str, Any]:
    """Images per second with the faster way of every peer, the best peer, and our ratios to each.

    The best is that of the peers that train; ONNX Runtime does not.
    """
    faster = {
        name: max((way for way in peer.ways if way in found), key=lambda way: median(found[way]))
        for name, peer in PEERS.items()
        if any(way in found for way in peer.ways)
    }
    best = max(
        (peer for peer in faster if peer in TRAINED), key=lambda peer: median(found[faster[peer]])
    )
    rivals = {"best": faster[best], **faster}
    beside = {
        f"{backend} / {rival}": ratios(found[backend], found[way])
        for rival, way in rivals.items()
        for backend in BACKENDS
    }
    return {"images_per_second": found, "faster": faster, "best": best, "ratios": beside}


def check_all(names: list[str], peers: Sequence[str]) -> dict[str, Any]:
    """Agreement of every network in every backend; prints the largest distances from float64."""
    found = {name: check_agreement(name, peers) for name in names}
    for who, kinds in found[names[0]].items():
        worst = {kind: max(errors[who][kind] for errors in found.values()) for kind in kinds}
        told = ", ".join(f"{kind} {error:.0e}" for kind, error in worst.items())
        print(f"{who}, largest distance from float64: {told}", flush=True)
    return found


def main() -> None:
    told = options(__doc__, *PACKAGES, **OPTIONS)
    if told.processor != "own":
        restricted.enter(told.processor)
    with restricted.fresh_cache():
        run(told)


def run(told: Any) -> None:
    """Check and measure what the command line asks for."""
    everything: dict[str, Any] = {
        "machine": machine(*PACKAGES), "rounds": told.rounds, "seconds": told.seconds
    }  # fmt: skip
    peers, everything["left_out"] = present()
    for name, why in everything["left_out"].items():
        print(f"{name} is left out: {why}")
    if told.processor != "own":
        everything["restricted"] = restricted.check(told.processor, peers)
        everything["machine"]["features"] += f"; {restricted.words(told.processor)}"
    everything["agreement"] = check_all(told.networks, peers)
    for mode in told.modes:
        print(f"\n{mode}: images per second, median of {told.rounds} alternations")
        print(heading(), flush=True)
        results: dict[str, dict[str, Any]] = {}
        for name in told.networks:
            results[name] = measure(name, mode, peers, told.rounds, told.seconds)
            print(row(name, results[name]), flush=True)
        summary = means(results)
        for kind, value in summary.items():
            print(f"geometric mean of {kind}: {value:.2f}")
        everything[mode] = {"networks": results, "geometric_mean": summary}
        write_json(told.json, everything)  # after each mode: what is measured is kept


if __name__ == "__main__":
    main()
