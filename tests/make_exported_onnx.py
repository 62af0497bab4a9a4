"""Exports small networks with PyTorch, Keras, scikit-learn and TensorFlow, to test the import.

Everything is drawn with fixed seeds.  `python tests/make_exported_onnx.py` writes a few of them to
tests/onnx, each with images and the outputs of its maker, in an environment that has
tests/requirements-exporters.txt; `--all FOLDER` writes all of them to another folder.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib.util
import io
import os
import tempfile
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

HERE = Path(__file__).parent
SHAPE = (3, 8, 8)
Case = tuple[bytes, np.ndarray, np.ndarray]  # the file, images (samples first), their outputs


def images(*shape: int, count: int = 3) -> np.ndarray:
    """Random images, channels first."""
    return np.random.default_rng(1).random((count, *shape), np.float32) * 2 - 1


# --- PyTorch -------------------------------------------------------------------------------------


def torch_networks() -> dict[str, tuple[Any, tuple[int, ...]]]:
    """Return networks made of layers that are known here, with the shape of an image."""
    import torch
    from torch import nn
    from torch.nn import functional

    torch.manual_seed(0)

    class Apply(nn.Module):
        """A function as a module."""

        def __init__(self, function: Callable[[Any], Any]) -> None:
            super().__init__()
            self.function = function

        def forward(self, x: Any) -> Any:
            return self.function(x)

    class Block(nn.Module):
        """As torchvision's BasicBlock."""

        def __init__(self, inside: int, out: int, stride: int, norm: bool = True) -> None:
            super().__init__()
            make = nn.BatchNorm2d if norm else lambda n: nn.Identity()
            self.conv1 = nn.Conv2d(inside, out, 3, stride, 1, bias=not norm)
            self.bn1 = make(out)
            self.conv2 = nn.Conv2d(out, out, 3, 1, 1, bias=not norm)
            self.bn2 = make(out)
            self.downsample = None
            if stride != 1 or inside != out:
                self.downsample = nn.Sequential(
                    nn.Conv2d(inside, out, 1, stride, bias=False), make(out)
                )

        def forward(self, x: Any) -> Any:
            y = torch.relu(self.bn1(self.conv1(x)))
            y = self.bn2(self.conv2(y))
            return torch.relu(y + (x if self.downsample is None else self.downsample(x)))

    class Bottleneck(nn.Module):
        """As torchvision's."""

        def __init__(self, inside: int, width: int, stride: int) -> None:
            super().__init__()
            self.conv1 = nn.Conv2d(inside, width, 1, bias=False)
            self.bn1 = nn.BatchNorm2d(width)
            self.conv2 = nn.Conv2d(width, width, 3, stride, 1, bias=False)
            self.bn2 = nn.BatchNorm2d(width)
            self.conv3 = nn.Conv2d(width, 2 * width, 1, bias=False)
            self.bn3 = nn.BatchNorm2d(2 * width)
            self.downsample = nn.Sequential(
                nn.Conv2d(inside, 2 * width, 1, stride, bias=False), nn.BatchNorm2d(2 * width)
            )

        def forward(self, x: Any) -> Any:
            y = torch.relu(self.bn1(self.conv1(x)))
            y = torch.relu(self.bn2(self.conv2(y)))
            return torch.relu(self.bn3(self.conv3(y)) + self.downsample(x))

    class Mnist(nn.Module):
        """The network of pytorch/examples/mnist, narrower."""

        def __init__(self) -> None:
            super().__init__()
            self.conv1 = nn.Conv2d(1, 4, 3, 1)
            self.conv2 = nn.Conv2d(4, 6, 3, 1)
            self.dropout1 = nn.Dropout(0.25)
            self.dropout2 = nn.Dropout(0.5)
            self.fc1 = nn.Linear(6 * 5 * 5, 8)
            self.fc2 = nn.Linear(8, 10)

        def forward(self, x: Any) -> Any:
            x = functional.relu(self.conv1(x))
            x = functional.relu(self.conv2(x))
            x = self.dropout1(functional.max_pool2d(x, 2))
            x = functional.relu(self.fc1(torch.flatten(x, 1)))
            return functional.log_softmax(self.fc2(self.dropout2(x)), dim=1)

    class Normalize(nn.Module):
        """As torchvision's transform, in front of a network."""

        def __init__(self) -> None:
            super().__init__()
            self.register_buffer("mean", torch.tensor([0.4, 0.5, 0.3]).view(1, 3, 1, 1))
            self.register_buffer("std", torch.tensor([0.2, 0.25, 0.3]).view(1, 3, 1, 1))

        def forward(self, x: Any) -> Any:
            return (x - self.mean) / self.std

    def conv(*more: Any, inside: int = 3, out: int = 4, **given: Any) -> Any:
        return nn.Sequential(nn.Conv2d(inside, out, 3, padding=1, **given), *more)

    def head(*more: Any, features: int = 256) -> Any:
        return nn.Sequential(*more, nn.Flatten(), nn.Linear(features, 5))

    def small(activation: Any) -> Any:
        return head(conv(activation, nn.MaxPool2d(2)), features=64)

    relu = nn.ReLU
    networks: dict[str, Any] = {
        "lenet": nn.Sequential(
            nn.Conv2d(3, 4, 3), nn.Tanh(), nn.AvgPool2d(2), nn.Conv2d(4, 6, 2), nn.Tanh(),
            nn.Flatten(), nn.Linear(24, 8), nn.Tanh(), nn.Linear(8, 5),
        ),
        "relu": small(relu()),
        "leaky relu": small(nn.LeakyReLU(0.1)),
        "sigmoid": small(nn.Sigmoid()),
        "tanh": small(nn.Tanh()),
        "relu6": small(nn.ReLU6()),
        "softmax": head(conv(relu()), features=256).append(nn.Softmax(1)),
        "softmax last": head(conv(relu())).append(nn.Softmax(-1)),
        "log softmax": head(conv(relu())).append(nn.LogSoftmax(1)),
        "linear": head(features=192),
        "batch norm": head(conv(nn.BatchNorm2d(4), relu(), nn.MaxPool2d(2)), features=64),
        "batch norm behind relu": head(
            conv(relu(), nn.BatchNorm2d(4), nn.MaxPool2d(2)), features=64
        ),
        "batch norm first": head(nn.BatchNorm2d(3), conv(relu())),
        "batch norm rows": nn.Sequential(
            nn.Flatten(), nn.Linear(192, 8), nn.BatchNorm1d(8), relu(), nn.Linear(8, 5)
        ),
        "dropout": head(conv(relu(), nn.Dropout(0.3))),
        "dropout2d": head(conv(relu(), nn.Dropout2d(0.3))),
        "no bias": head(conv(relu(), bias=False)),
        "stride": head(nn.Conv2d(3, 4, 3, stride=2, padding=1), relu(), features=64),
        "stride pair": head(nn.Conv2d(3, 4, (3, 2), (1, 2), (1, 0)), relu(), features=128),
        "dilation": head(nn.Conv2d(3, 4, 3, padding=2, dilation=2), relu()),
        "same": head(nn.Conv2d(3, 4, 3, padding="same"), relu()),
        "same, even": head(nn.Conv2d(3, 4, 4, padding="same"), relu()),
        "max pool, padding": head(nn.MaxPool2d(3, 2, 1), features=48),
        "max pool, ceil": head(nn.MaxPool2d(3, 2, ceil_mode=True), features=48),
        "mean pool": head(conv(relu(), nn.AvgPool2d(2)), features=64),
        "mean pool, padding": head(nn.AvgPool2d(3, 2, 1), features=48),
        "mean pool, own pixels": head(
            nn.AvgPool2d(3, 2, 1, count_include_pad=False), features=48
        ),
        "mean pool, ceil": head(nn.AvgPool2d(3, 2, ceil_mode=True), features=48),
        "adaptive 1": head(conv(relu(), nn.AdaptiveAvgPool2d(1)), features=4),
        "adaptive 2": head(conv(relu(), nn.AdaptiveAvgPool2d(2)), features=16),
        "adaptive same": head(conv(relu(), nn.AdaptiveAvgPool2d(8)), features=256),
        "mean": nn.Sequential(
            conv(relu()), Apply(lambda x: x.mean((2, 3))), nn.Linear(4, 5)
        ),
        "mean last": nn.Sequential(
            conv(relu()), Apply(lambda x: x.mean((-2, -1))), nn.Linear(4, 5)
        ),
        "mean twice": nn.Sequential(
            conv(relu()), Apply(lambda x: x.mean(3).mean(2)), nn.Linear(4, 5)
        ),
        "mean kept": head(conv(relu()), Apply(lambda x: x.mean((2, 3), True)), features=4),
        "squeeze": nn.Sequential(
            conv(relu()), nn.AdaptiveAvgPool2d(1),
            Apply(lambda x: x.squeeze(-1).squeeze(-1)), nn.Linear(4, 5),
        ),
        "view": nn.Sequential(
            conv(relu()), Apply(lambda x: x.view(x.size(0), -1)), nn.Linear(256, 5)
        ),
        "view -1": nn.Sequential(conv(relu()), Apply(lambda x: x.view(-1, 256)), nn.Linear(256, 5)),
        "reshape": nn.Sequential(
            conv(relu()), Apply(lambda x: x.reshape(x.shape[0], 256)), nn.Linear(256, 5)
        ),
        "flatten 1": nn.Sequential(
            conv(relu()), Apply(lambda x: torch.flatten(x, 1)), nn.Linear(256, 5)
        ),
        "all convolutions": nn.Sequential(
            conv(relu()), conv(relu(), inside=4, out=6), nn.Conv2d(6, 5, 1),
            nn.AdaptiveAvgPool2d(1), nn.Flatten(),
        ),
        "whole window": head(conv(relu(), nn.MaxPool2d(8)), features=4),
        "vgg": head(
            conv(relu()), conv(relu(), nn.MaxPool2d(2), inside=4), conv(relu(), inside=4, out=6),
            conv(relu(), nn.MaxPool2d(2), inside=6, out=6), features=24,
        ),
        "vgg, norm": head(
            conv(nn.BatchNorm2d(4), relu()), conv(nn.BatchNorm2d(4), relu(), inside=4),
            nn.MaxPool2d(2), nn.Dropout(0.1), features=64,
        ),
        "residual": head(conv(relu()), Block(4, 4, 1, norm=False)),
        "residual, norm": head(conv(relu()), Block(4, 4, 1)),
        "residual, projected": head(conv(relu()), Block(4, 6, 2, norm=False), features=96),
        "resnet": head(
            conv(nn.BatchNorm2d(4), relu(), nn.MaxPool2d(3, 2, 1), bias=False), Block(4, 4, 1),
            Block(4, 6, 2), Block(6, 6, 1), nn.AdaptiveAvgPool2d(1), features=6,
        ),
        "resnet, bottleneck": head(
            conv(nn.BatchNorm2d(4), relu(), bias=False), Bottleneck(4, 3, 2),
            nn.AdaptiveAvgPool2d((1, 1)), features=6,
        ),
        "normalize": nn.Sequential(Normalize(), small(relu())),
        "over 255": nn.Sequential(Apply(lambda x: x / 255), small(relu())),
        "minus 0.5": nn.Sequential(Apply(lambda x: (x - 0.5) / 0.5), small(relu())),
        "times 2 minus 1": nn.Sequential(Apply(lambda x: x * 2 - 1), small(relu())),
        "over 255, normalize": nn.Sequential(Apply(lambda x: x / 255), Normalize(), small(relu())),
        "mnist": Mnist(),
        "gray, normalize": nn.Sequential(Apply(lambda x: (x - 0.1307) / 0.3081), Mnist()),
        "rows": nn.Sequential(nn.Linear(20, 8), relu(), nn.Linear(8, 5)),
        "rows, norm, dropout": nn.Sequential(
            nn.Linear(20, 8), nn.BatchNorm1d(8), nn.Sigmoid(), nn.Dropout(), nn.Linear(8, 5),
            nn.LogSoftmax(-1),
        ),
        "rows, no bias": nn.Sequential(nn.Linear(20, 8, bias=False), relu(), nn.Linear(8, 5)),
        "rows as images": nn.Sequential(
            Apply(lambda x: x.view(-1, 1, 4, 5)), nn.Conv2d(1, 2, 2), relu(), nn.Flatten(),
            nn.Linear(24, 5),
        ),
        "pad": head(nn.ZeroPad2d((1, 1, 1, 1)), nn.Conv2d(3, 4, 3), relu()),
        "activation twice": head(conv(relu(), nn.Tanh())),
        "linear twice": head(features=192).append(nn.Linear(5, 3)),
    }  # fmt: skip
    shapes = {"mnist": (1, 14, 14), "gray, normalize": (1, 14, 14)}
    found = {}
    for name, network in networks.items():
        shape = (20,) if name.startswith("rows") else shapes.get(name, SHAPE)
        with torch.no_grad():
            for module in network.modules():
                if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
                    for values in (module.weight, module.running_mean, module.running_var):
                        values.copy_(torch.rand(len(values)) + 0.5)
                    module.bias.copy_(torch.rand(len(module.bias)))
        found[name] = network.eval(), shape
    return found


def torch_cases(dynamo: bool, open_batch: bool) -> Iterator[tuple[str, Callable[[], Case]]]:
    """Yield what PyTorch's new or old exporter writes, for any number of samples or for three."""
    import torch

    def export(network: Any, x: Any) -> Case:
        given: dict[str, Any] = {"dynamo": dynamo}
        if open_batch and dynamo:
            given["dynamic_shapes"] = ({0: torch.export.Dim("batch")},)
        elif open_batch:
            given |= {"input_names": ["x"], "dynamic_axes": {"x": {0: "n"}}}
        with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
            warnings.simplefilter("ignore")
            path = Path(folder) / "model.onnx"
            extra = {"external_data": False, "verbose": False} if dynamo else {}
            with contextlib.redirect_stdout(io.StringIO()):
                torch.onnx.export(network, (x,), str(path), **given, **extra)
            return path.read_bytes(), x.numpy(), network(x).detach().numpy()

    for name, (network, shape) in torch_networks().items():
        x = torch.tensor(images(*shape))
        yield name, lambda network=network, x=x: export(network, x)


# --- scikit-learn --------------------------------------------------------------------------------


def sklearn_cases(zipmap: bool) -> Iterator[tuple[str, Callable[[], Case]]]:
    """Yield what skl2onnx writes of multi-layer perceptrons, with or without a map of scores."""
    from skl2onnx import to_onnx
    from sklearn.neural_network import MLPClassifier, MLPRegressor
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import MinMaxScaler, StandardScaler

    rng = np.random.default_rng(0)
    x = rng.random((60, 6), np.float32)
    labels = {
        "three": np.arange(60) % 3,
        "two": np.arange(60) % 2,
        "words": np.array(["cat", "dog", "cow"])[np.arange(60) % 3],
    }

    def export(model: Any, y: np.ndarray) -> Case:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            model.fit(x, y)
        classifier = hasattr(model, "predict_proba")
        options = {"options": {"zipmap": zipmap}} if classifier else {}
        expected = model.predict_proba(x) if classifier else model.predict(x)
        data = to_onnx(model, x[:1], **options).SerializeToString()
        return data, x, np.asarray(expected, np.float32).reshape(60, -1)

    for activation in ("relu", "tanh", "logistic", "identity"):
        for kind, y in labels.items():
            given = {"activation": activation, "max_iter": 20, "random_state": 0}
            model = MLPClassifier((8, 5), **given)
            yield f"{activation}, {kind}", lambda model=model, y=y: export(model, y)
        model = MLPRegressor(hidden_layer_sizes=(8,), **given)
        yield f"{activation}, number", lambda model=model: export(model, x.sum(1))
    for scaler in (StandardScaler(), MinMaxScaler()):
        model = make_pipeline(scaler, MLPClassifier((8,), max_iter=20, random_state=0))
        name = type(scaler).__name__
        yield name, lambda model=model: export(model, labels["three"])


# --- Keras ---------------------------------------------------------------------------------------


def keras_networks() -> dict[str, Any]:
    """Return Keras networks made of layers that are known here; channels come last."""
    import keras
    from keras import layers as kl

    keras.utils.set_random_seed(0)
    shape = (SHAPE[1], SHAPE[2], SHAPE[0])

    def chain(*layers: Any, shape: tuple[int, ...] = shape) -> Any:
        return keras.Sequential([keras.Input(shape), *layers])

    def residual(stride: int) -> Any:
        x = keras.Input(shape)
        a = kl.Conv2D(4, 3, padding="same", activation="relu")(x)
        b = kl.Conv2D(4, 3, strides=stride, padding="same", use_bias=False)(a)
        b = kl.ReLU()(kl.BatchNormalization()(b))
        b = kl.BatchNormalization()(kl.Conv2D(4, 3, padding="same", use_bias=False)(b))
        if stride > 1:
            a = kl.BatchNormalization()(kl.Conv2D(4, 1, strides=stride, use_bias=False)(a))
        y = kl.ReLU()(kl.Add()([a, b]))
        return keras.Model(x, kl.Dense(5, activation="softmax")(kl.GlobalAveragePooling2D()(y)))

    networks = {
        "mnist": chain(
            kl.Conv2D(4, 3, activation="relu"), kl.MaxPooling2D(2),
            kl.Conv2D(6, 2, activation="relu"), kl.Flatten(), kl.Dropout(0.5),
            kl.Dense(5, activation="softmax"),
        ),
        "logits": chain(kl.Conv2D(4, 3, activation="relu"), kl.Flatten(), kl.Dense(5)),
        "batch norm": chain(
            kl.Conv2D(4, 3, padding="same"), kl.BatchNormalization(), kl.ReLU(),
            kl.AveragePooling2D(2), kl.Flatten(), kl.Dense(5),
        ),
        "global pool": chain(
            kl.Conv2D(4, 3, padding="same", activation="tanh"), kl.GlobalAveragePooling2D(),
            kl.Dense(5, activation="softmax"),
        ),
        "stride": chain(
            kl.Conv2D(4, 3, strides=2, padding="same", activation="relu"), kl.Flatten(), kl.Dense(5)
        ),
        "same pool": chain(
            kl.Conv2D(4, 3, activation="relu"), kl.MaxPooling2D(3, 2, padding="same"), kl.Flatten(),
            kl.Dense(5),
        ),
        "same mean pool": chain(
            kl.Conv2D(4, 3), kl.AveragePooling2D(3, 2, padding="same"), kl.Flatten(), kl.Dense(5)
        ),
        "leaky relu": chain(
            kl.Conv2D(4, 3), kl.LeakyReLU(negative_slope=0.2), kl.Flatten(),
            kl.Dense(8, activation="sigmoid"), kl.Dense(5),
        ),
        "rescaling": chain(
            kl.Rescaling(1 / 255), kl.Conv2D(4, 3, activation="relu"), kl.Flatten(), kl.Dense(5)
        ),
        "rescaling to -1..1": chain(
            kl.Rescaling(1 / 127.5, offset=-1), kl.Conv2D(4, 3, activation="relu"), kl.Flatten(),
            kl.Dense(5),
        ),
        "normalization": chain(
            kl.Normalization(mean=[0.4, 0.5, 0.3], variance=[0.04, 0.05, 0.06]),
            kl.Conv2D(4, 3, activation="relu"), kl.Flatten(), kl.Dense(5),
        ),
        "rows": chain(kl.Dense(8, activation="relu"), kl.Dense(5, activation="softmax"),
                      shape=(20,)),
        "rows, norm": chain(kl.Dense(8), kl.BatchNormalization(), kl.ReLU(), kl.Dropout(0.2),
                            kl.Dense(5), shape=(20,)),
        "flat mlp": chain(kl.Flatten(), kl.Dense(8, activation="relu"), kl.Dense(5)),
        "residual": residual(1),
        "residual, projected": residual(2),
    }  # fmt: skip
    rng = np.random.default_rng(0)
    for network in networks.values():
        for layer in network.layers:
            if isinstance(layer, kl.BatchNormalization):
                layer.set_weights([rng.random(w.shape) + 0.5 for w in layer.get_weights()])
    return networks


def keras_cases(writer: str) -> Iterator[tuple[str, Callable[[], Case]]]:
    """Yield what Keras's own export writes (on its backend), or tf2onnx."""

    def export(network: Any) -> Case:
        shape = network.input_shape[1:]
        x = images(*shape[2:], *shape[:2]) if len(shape) == 3 else images(*shape)
        given = x.transpose(0, 2, 3, 1).copy() if len(shape) == 3 else x
        expected = np.asarray(network.predict(given, verbose=0))
        if writer == "tf2onnx":
            import tensorflow as tf
            import tf2onnx

            spec = [tf.TensorSpec((None, *shape), tf.float32, name="x")]
            run = tf.function(lambda x: network(x, training=False))
            model, _ = tf2onnx.convert.from_function(run, input_signature=spec)
            return model.SerializeToString(), x, expected
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "model.onnx"
            with contextlib.redirect_stdout(io.StringIO()):
                network.export(path, format="onnx", verbose=False)
            return path.read_bytes(), x, expected

    for name, network in keras_networks().items():
        yield name, lambda network=network: export(network)


def exporters() -> dict[str, Callable[[], Iterator[tuple[str, Callable[[], Case]]]]]:
    """Return the exporters that are installed here."""
    found: dict[str, Any] = {}
    has = {
        name: importlib.util.find_spec(name) is not None
        for name in ("torch", "onnxscript", "skl2onnx", "keras", "tf2onnx", "tensorflow")
    }
    for batch in (True, False) if has["torch"] else ():
        words = "any batch" if batch else "fixed batch"
        if has["onnxscript"]:
            found[f"torch dynamo, {words}"] = lambda batch=batch: torch_cases(True, batch)
        found[f"torch legacy, {words}"] = lambda batch=batch: torch_cases(False, batch)
    for zipmap in (True, False) if has["skl2onnx"] else ():
        words = "map" if zipmap else "array"
        found[f"skl2onnx, {words}"] = lambda zipmap=zipmap: sklearn_cases(zipmap)
    backend = os.environ.get("KERAS_BACKEND", "tensorflow")
    if has["keras"]:
        found[f"keras on {backend}"] = lambda: keras_cases("keras")
    if has["keras"] and has["tf2onnx"] and has["tensorflow"] and backend == "tensorflow":
        found["tf2onnx"] = lambda: keras_cases("tf2onnx")
    return found


KEPT = {  # the committed files
    "torch dynamo, any batch": ["view", "squeeze", "mean", "relu6", "resnet, bottleneck", "mnist"],
    "torch dynamo, fixed batch": ["over 255, normalize", "adaptive 1", "log softmax"],
    "torch legacy, any batch": [
        "view", "mean kept", "squeeze", "pad", "resnet", "residual", "gray, normalize",
        "times 2 minus 1", "rows, norm, dropout",
    ],
    "skl2onnx, map": ["relu, two", "tanh, words", "StandardScaler"],
    "skl2onnx, array": ["logistic, three", "identity, number", "MinMaxScaler"],
    "keras on tensorflow": [
        "mnist", "batch norm", "rescaling", "residual, projected", "rows, norm"
    ],
    "keras on torch": ["stride", "global pool", "residual, projected"],
    "tf2onnx": ["same pool", "rescaling to -1..1"],
}  # fmt: skip


def without_traces(data: bytes) -> bytes:
    """Return a model without what an exporter notes about the machine: paths and source lines."""
    import onnx

    model = onnx.load_model_from_string(data)
    for thing in (
        model.graph,
        *model.graph.node,
        *model.graph.value_info,
        *model.graph.initializer,
    ):
        del thing.metadata_props[:]
        thing.ClearField("doc_string")
    return model.SerializeToString(deterministic=True)


def main() -> None:
    """Write the files."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--all", metavar="FOLDER", help="write every file there")
    given = parser.parse_args()
    folder = Path(given.all or HERE / "onnx")
    for exporter, cases in exporters().items():
        for name, make in cases() if given.all or exporter in KEPT else ():
            if given.all is None and name not in KEPT.get(exporter, ()):
                continue
            stem = f"{exporter}, {name}".replace(", ", "-").replace(" ", "_")
            try:
                data, x, expected = make()
            except Exception as error:  # the exporter's own fault
                print(f"{exporter}: {name}: not written ({str(error)[:200]})")
                continue
            (folder / f"{stem}.onnx").write_bytes(data if given.all else without_traces(data))
            np.savez_compressed(folder / f"{stem}.npz", images=x[:4], outputs=expected[:4])


if __name__ == "__main__":
    main()
