"""Files of other programs, named by what is in them, with the way out; none is opened."""

from __future__ import annotations

import re

NAMES = re.compile(rb"PK\x01\x02.{42}(.{1,80})", re.S)  # in the directory of a zip archive
WAYS = {
    "a PyTorch pickle, which could run code": "in PyTorch, write "
    "safetensors.torch.save_model(model, 'model.safetensors'), then load_weights here",
    "a pickle, which could run code": "save its arrays as safetensors where it was made",
    "a Keras or HDF5 file": "build a network of the same layers and call load_weights, or in Keras "
    "write model.export('model.onnx', format='onnx') for glassbox.bridges.onnx.import_model",
    "an archive of NumPy arrays": "write safetensors.numpy.save_file(dict(numpy.load(path)), "
    "'model.safetensors'), then load_weights here",
    "an ONNX model": "open it with glassbox.bridges.onnx.import_model",
    "a safetensors file": "open it with CNN.load, or load_weights",
}


def kind_of(data: bytes) -> str:
    """Return what a file of another program is, and what to do with it; "" where it is unknown.

    >>> kind_of(bytes.fromhex("894844460d0a1a0a"))[:26]
    'it is a Keras or HDF5 file'
    """
    kind = ""
    if data[:4] == b"PK\x03\x04":
        names = b" ".join(match[1] for match in NAMES.finditer(data[-(2**16) :]))
        kinds = ((b"data.pkl", 0), (b".h5", 2), (b".npy", 3))
        kind = next((list(WAYS)[place] for word, place in kinds if word in names), "")
    elif data[:8] == b"\x89HDF\r\n\x1a\n":
        kind = "a Keras or HDF5 file"
    elif data[:1] == b"\x80" and data[1:2] in (b"\x02", b"\x03", b"\x04", b"\x05"):
        torch = b"\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19" in data[:64]  # a number of its old format
        kind = list(WAYS)[0 if torch or b"torch" in data[:4096] else 1]
    elif data[8:9] == b"{" and int.from_bytes(data[:8], "little") < len(data):
        kind = "a safetensors file"
    elif data[:1] == b"\x08" and data[2:3] in (b"\x12", b"\x3a", b"\x42"):  # IR version, next field
        kind = "an ONNX model"
    return f"it is {kind}; {WAYS[kind]}" if kind else ""
