"""Makes pytorch_cnn.onnx, a small network as PyTorch exports it, and pytorch_cnn.json: its outputs.

The files in the repository were made with PyTorch 2.13 on a CPU.  To make them again:
`python tests/make_onnx_file.py` in an environment that has torch, onnx and numpy.
"""

from __future__ import annotations

import json
import warnings
from pathlib import Path

import numpy as np
import torch
from torch import nn

HERE = Path(__file__).parent


class Network(nn.Module):
    """Most of what can be taken, with a shortcut and a flatten by `view`, in odd sizes."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(2, 4, (3, 2), stride=(1, 2), padding=(1, 0), dilation=(2, 1))
        self.norm = nn.BatchNorm2d(4)
        self.pool = nn.MaxPool2d(3, stride=2, padding=1, ceil_mode=True)
        self.conv2 = nn.Conv2d(4, 4, 3, padding=1)
        self.average = nn.AvgPool2d((2, 1), count_include_pad=False)
        self.drop = nn.Dropout(0.25)
        self.fc1 = nn.Linear(4 * 2 * 3, 5)
        self.fc2 = nn.Linear(5, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """The logits."""
        x = nn.functional.leaky_relu(self.conv1(x), 0.1)
        x = self.pool(self.norm(x))
        x = torch.relu(self.conv2(x) + x)
        x = self.drop(self.average(x))
        x = x.view(x.size(0), -1)
        return self.fc2(torch.tanh(self.fc1(x)))


def images(count: int) -> np.ndarray:
    """Multiples of 1/16 between -1 and 1; the test makes the same ones."""
    places = np.arange(count * 2 * 9 * 10, dtype=np.int64)
    return ((places * 7 % 33 - 16) / 16).astype(np.float32).reshape(count, 2, 9, 10)


def main() -> None:
    """Write both files beside this one."""
    torch.manual_seed(0)
    network = Network()
    with torch.no_grad():  # statistics and scales that are not 0 and 1
        for values in (network.norm.weight, network.norm.running_mean, network.norm.running_var):
            values.copy_(torch.rand(4) + 0.5)
        network.norm.bias.copy_(torch.rand(4))
    network.eval()
    x = torch.tensor(images(3))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # this exporter is the old one; it needs no more packages
        torch.onnx.export(
            network, (x,), str(HERE / "pytorch_cnn.onnx"), dynamo=False, opset_version=17,
            input_names=["x"], dynamic_axes={"x": {0: "n"}},
        )  # fmt: skip
    outputs = network(x).detach().numpy()
    text = json.dumps({"torch": torch.__version__.split("+")[0], "outputs": outputs.tolist()})
    (HERE / "pytorch_cnn.json").write_text(text + "\n", "utf-8")


if __name__ == "__main__":
    main()
