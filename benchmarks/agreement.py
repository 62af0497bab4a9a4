"""Before anything is timed: that the contestants compute the same.

A difference of one batch is the largest one of an array over the largest number of PyTorch's
array.  Both sides compute in float32 and add in different orders: a millionth is usual.

Over 20 steps rounding adds up, and not smoothly: where two pixels are all but equal, or a sum is
all but zero, the last bit decides which way a max-pooling or a ReLU sends the gradient.  PyTorch in
float32 strays from PyTorch in float64 just so, on E's network by 1.7 % of the way that the weights
have gone, and ours from either by about as much.  So the paths of the weights, not the weights
themselves (which hardly move in 20 steps), are compared, by their lengths.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import onnxruntime
import torch

from benchmarks import torch_twin
from benchmarks.networks import LEARNING_RATE, MOMENTUM, network, recipe, weights
from CNN import CNN
from Datasets import Dataset
from glassbox.bridges.onnx import INPUT, export

STEPS, BATCH = 20, 128
# Gradients are compared on fewer images: among more, some two pixels are so nearly equal that the
# last bit decides which of them a max-pooling takes, and that moves a gradient by 2e-4.
FEW = 32
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
    start, optimizer = weights(ours), torch_twin.sgd(theirs, LEARNING_RATE, MOMENTUM)
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
