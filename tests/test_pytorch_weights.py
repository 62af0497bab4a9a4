"""A state dict that PyTorch wrote: the same outputs, loss and gradients as PyTorch had with it."""

from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

from CNN import CNN
from Filters import Conv2D, MaxPool2D
from MLP import BatchNorm, Dense, LeakyReLU

GOLDEN = Path(__file__).with_name("golden")  # made by make_state_dict.py
# PyTorch's modules with weights, and what they are called here.
MODULES = {"0": "conv1", "1": "norm1", "4": "conv2", "7": "dense1", "9": "dense2"}


@pytest.fixture(scope="module")
def numbers():
    return load_file(GOLDEN / "pytorch_numbers.safetensors")


def loaded(backend, dtype):
    network = CNN(
        Conv2D(4, (3, 5), stride=(2, 1), padding=(1, 2), activation=None, bias=False),
        BatchNorm(), LeakyReLU(), MaxPool2D(2),
        Conv2D(5, 2, padding="valid", activation="relu"),
        Dense(6), Dense(3, "softmax"),
        loss="cross_entropy", kernels=backend, dtype=dtype,
    )  # fmt: skip
    return network.build((2, 11, 6)).load_weights(GOLDEN / "pytorch_state.safetensors")


@pytest.mark.parametrize(("dtype", "error"), [(np.float64, 1e-12), (np.float32, 1e-5)])
def test_outputs_in_use_are_pytorchs(numbers, backend, dtype, error):
    network = loaded(backend, dtype)
    logits, _ = network.forward(numbers["images"])
    np.testing.assert_allclose(logits, numbers["in_use"], rtol=error, atol=error)
    shares = np.exp(numbers["in_use"]) / np.exp(numbers["in_use"]).sum(axis=1, keepdims=True)
    if dtype == np.float32:  # what `predict_proba` takes as scaled images
        found = network.predict_proba(numbers["images"].astype(dtype))
        np.testing.assert_allclose(found, shares, atol=error)


@pytest.mark.parametrize(("dtype", "error"), [(np.float64, 1e-11), (np.float32, 1e-4)])
def test_loss_and_gradients_in_training_are_pytorchs(numbers, backend, dtype, error):
    network = loaded(backend, dtype)
    outputs, memories = network.forward(numbers["images"], training=True)
    np.testing.assert_allclose(outputs, numbers["in_training"], rtol=error, atol=error)
    losses, memory = network.loss.forward(outputs.T.copy(), numbers["labels"])
    np.testing.assert_allclose(losses.mean(), numbers["loss"][0], rtol=error)
    gradients = network.backward(network.loss.backward(memory, 4).T, memories)
    expected = {name: value for name, value in numbers.items() if name.startswith("gradient.")}
    ours = {
        f"gradient.{module}.{key}": gradients[layer][key]
        for module, layer in MODULES.items()
        for key in gradients[layer]
    }
    assert ours.keys() == expected.keys()
    for name, value in expected.items():
        np.testing.assert_allclose(ours[name], value, rtol=error, atol=error, err_msg=name)
