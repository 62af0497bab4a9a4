"""Files of other programs: named for what they are, and the weights that can be read."""

import io
import json
import pickle
import re
import zipfile
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from CNN import CNN
from Filters import Conv2D
from glassbox.bridges.onnx import export, import_model
from MLP import Dense


def archive(*names):
    """A zip archive of empty files."""
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w") as zipped:
        for name in names:
            zipped.writestr(name, b"\0" * 100)
    return made.getvalue()


def network():
    return CNN(Conv2D(2, 3), Dense(3), kernels="numpy").build((1, 4, 4))


OLD_TORCH = pickle.dumps(0x1950A86A20F9469CFC6C, protocol=2)
FILES = {
    "torch.pth": (archive("archive/data.pkl", "archive/data/0"), "a PyTorch pickle, which could"),
    "old.pt": (OLD_TORCH + bytes(50), "a PyTorch pickle, which could run code; in PyTorch, write"),
    "forest.pkl": (pickle.dumps({"a": 1}), "a pickle, which could run code; save its arrays"),
    "model.keras": (archive("config.json", "model.weights.h5"), "a Keras or HDF5 file; build a"),
    "model.h5": (b"\x89HDF\r\n\x1a\n" + bytes(100), "a Keras or HDF5 file; build a net"),
    "arrays.npz": (archive("w.npy", "b.npy"), "an archive of NumPy arrays; write safetensors"),
}


@pytest.mark.parametrize("name", FILES)
def test_a_file_of_another_program_is_named_with_the_way_out(name, tmp_path):
    data, words = FILES[name]
    path = tmp_path / name
    path.write_bytes(data)
    takes_weights = () if "Keras" in words else (network().load_weights,)  # it reads Keras files
    for opened in (CNN.load, import_model, *takes_weights):
        with pytest.raises(ValueError, match=re.escape(f"it is {words}")) as caught:
            opened(path)
        assert str(path) in str(caught.value)


def test_our_own_two_formats_are_told_apart(tmp_path):
    made = network()
    export(made, tmp_path / "model.onnx")
    made.save(tmp_path / "model.safetensors")
    with pytest.raises(ValueError, match=r"it is an ONNX model; open it with glassbox\.bridges"):
        CNN.load(tmp_path / "model.onnx")
    with pytest.raises(ValueError, match=r"it is a safetensors file; open it with CNN\.load"):
        import_model(tmp_path / "model.safetensors")
    for path in [*(Path(__file__).parent / "onnx").glob("*.onnx")]:
        with pytest.raises(ValueError, match="it is an ONNX model"):
            CNN.load(path)


def weights_of(made):
    return {
        f"{layer.name}.{key}": array.copy()
        for layer in made.layers
        for key, array in layer.parameters.items()
    }


def test_bfloat16_weights_are_read(tmp_path):
    """Which are the upper halves of float32 numbers; beside others of single precision."""
    made, path = network(), tmp_path / "model.safetensors"
    expected = {name: array.view(np.uint32) >> 16 for name, array in weights_of(made).items()}
    halves = {name: bits.astype(np.uint16) for name, bits in expected.items() if "bias" not in name}
    save_file(halves | {n: a for n, a in weights_of(made).items() if "bias" in n}, path)
    data = path.read_bytes()
    size = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + size])
    for name in halves:
        header[name]["dtype"] = "BF16"
    text = json.dumps(header).encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text + data[8 + size :])
    other = CNN(Conv2D(2, 3), Dense(3), kernels="numpy", seed=7).build((1, 4, 4))
    other.load_weights(path)
    for name, array in weights_of(other).items():
        bits = expected[name] << 16 if name in halves else weights_of(made)[name].view(np.uint32)
        assert (array.view(np.uint32) == bits).all(), name


@pytest.mark.parametrize(
    "prefix", ["module.", "_orig_mod.", "module._orig_mod.", "_orig_mod.module."]
)
def test_what_pytorch_puts_in_front_of_names_is_taken_off(prefix, tmp_path):
    made, path = network(), tmp_path / "model.safetensors"
    arrays = {f"{prefix}{name}": array for name, array in weights_of(made).items()}
    save_file(arrays, path)
    other = CNN(Conv2D(2, 3), Dense(3), kernels="numpy", seed=7).build((1, 4, 4))
    other.load_weights(path)
    for name, array in weights_of(other).items():
        assert (array == weights_of(made)[name]).all(), name
    renamed = {name.replace("conv1", "features.0"): array for name, array in arrays.items()}
    save_file(renamed, path)
    for given in ("features.0", f"{prefix}features.0"):
        other = CNN(Conv2D(2, 3), Dense(3), kernels="numpy", seed=7).build((1, 4, 4))
        other.load_weights(path, {"conv1": given})
        assert (weights_of(other)["conv1.weight"] == weights_of(made)["conv1.weight"]).all()


def test_a_layer_of_that_name_keeps_it(tmp_path):
    """Where the network has such names itself."""
    made = CNN(Dense(3, name="module"), kernels="numpy").build((4,))
    made.save(tmp_path / "model.safetensors")
    other = CNN(Dense(3, name="module"), kernels="numpy", seed=7).build((4,))
    other.load_weights(tmp_path / "model.safetensors")
    assert (weights_of(other)["module.weight"] == weights_of(made)["module.weight"]).all()
