"""The file host: one HTML file with the explorer, a network and some images inside.

It opens from the disk, without Python, a server or a network connection.  Its forward pass is
`front/forward.js`, so it takes layers of this library alone, as they were shipped.
"""

from __future__ import annotations

import base64
import hashlib
import html
import json
import os
import re
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from Filters import AvgPool2D, Conv2D, GlobalAvgPool2D, MaxPool2D, Residual
from glassbox.atomic import write_atomically
from glassbox.data.dataset import Dataset, Scaling
from glassbox.engine.capture.shipped import edited, replaced
from glassbox.engine.layer import Activation
from glassbox.engine.more_layers import LogSoftmax, ReLU6
from glassbox.explain import nodes
from glassbox.explorer.messages import array
from glassbox.explorer.session import Held, Session
from MLP import (
    BatchNorm,
    Dense,
    Dropout,
    Flatten,
    Identity,
    LeakyReLU,
    ReLU,
    Sigmoid,
    Softmax,
    Tanh,
)

# What front/forward.js computes.
COMPUTED = (
    Conv2D, MaxPool2D, AvgPool2D, GlobalAvgPool2D, Residual, Dense, Flatten, Dropout, BatchNorm,
    Identity, LeakyReLU, ReLU, ReLU6, Sigmoid, Tanh, Softmax, LogSoftmax, Scaling,
)  # fmt: skip
FRONT = Path(__file__).parent / "front"
MOST_SAMPLES = 20

MODULES = ("forward", "file", "explorer")  # each may import those before it
START = """
const saved = JSON.parse(document.getElementById("network").textContent);
explorer.render({ model: file.open(saved), el: document.getElementById("explorer") });
"""
PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; \
script-src 'sha256-{hash}'; style-src 'unsafe-inline'; img-src data: blob:; \
base-uri 'none'; form-action 'none'">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>
{style}</style>
</head>
<body>
<main id="explorer"></main>
<noscript>This page needs JavaScript. Nothing leaves this machine.</noscript>
<script type="application/json" id="network">{saved}</script>
<script type="module">{script}</script>
</body>
</html>
"""


def write(
    network: Any, path: str | os.PathLike[str], samples: Dataset | None = None, half: bool = False,
    title: str = "",
) -> Path:  # fmt: skip
    """Write the explorer with a network inside as one HTML file.

    Parameters
    ----------
    network : CNN
        A built network.
    path : path
        The file, such as "digits.html".
    samples : Dataset, optional
        Images to look at.  Of more than 20, the first ones of each class are taken.
    half : bool, default False
        Whether weights are stored in 16 bits instead of 32: the file is half as large, and the
        scores differ from the network's in the third digit or so.
    title : str, optional
        Of the page; else the file's name without its ending.

    Returns
    -------
    Path
        The file.

    Raises
    ------
    ValueError
        If the network is not built, does not take such images and give scores, has parts that
        are not this library's, or weights that `half` cannot hold.
    OSError
        If the file cannot be written.
    """
    path = Path(path)
    title = title or path.stem
    saved = record(network, title, samples, half)
    style = "".join((FRONT / name).read_text("utf-8") for name in ("style.css", "page.css"))
    return write_atomically(path, page(title, style, saved, MODULES, START).encode())


def page(title: str, style: str, saved: Any, modules: tuple[str, ...], start: str) -> str:
    """Give the HTML of a page that holds some modules of `front`, and runs `start` behind them."""
    script = "".join(map(_inlined, modules)) + start
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    content = json.dumps(saved, separators=(",", ":")).replace("<", "\\u003c")
    return PAGE.format(
        hash=digest, title=html.escape(title), style=style, saved=content, script=script
    )


def _inlined(name: str) -> str:
    """A module as a constant of its name, for a page on the disk may load no other files.

    Its one `export default` comes last; what it imports is such a constant already.
    """
    code = (FRONT / f"{name}.js").read_text("utf-8")
    code = re.sub(r"^import \w+ from .*\n", "", code, flags=re.MULTILINE)
    return f"const {name} = (() => {{\n{code.replace('export default ', 'return ')}}})();\n"


def record(network: Any, title: str, samples: Dataset | None, half: bool) -> dict[str, Any]:
    """Give what the page holds of a network and images; see `open` in front/file.js."""
    known = nodes(network)
    scaling = network.scaling or (samples.scaling if samples else Scaling())
    parts = [*((node.name, node.layer) for node in known), ("scaling", scaling)]
    if network.output_activation is not None:
        parts.append(("class scores", network.output_activation))
    odd = [f"{name}: {why}" for name, part in parts if (why := _why_not(part))]
    if odd:
        raise ValueError(
            "a file computes in the browser, where it knows this library's parts alone; use "
            f"network.explore() without a file ({'; '.join(odd)})"
        )
    if len(network.input_shape) != 3 or len(network.output_shape) != 1:
        shapes = f"{network.input_shape} and gives {network.output_shape}"
        raise ValueError(
            f"expected a network that takes (channels, height, width) and gives (classes,), but it "
            f"takes {shapes}; end it with Dense or Flatten"
        )
    if samples is not None and samples.shape != network.input_shape:
        raise ValueError(
            f"samples: expected images {network.input_shape}, as the network takes, got "
            f"{samples.shape}"
        )
    chosen = None if samples is None else samples.subset(_some_of_each(samples.labels))
    session = Session([Held(title, network)], chosen)
    described = session.answer({"ask": "describe"})
    del described["id"]
    last: Any = network.output_activation or network.layers[-1]
    activation = getattr(last, "activation", last)
    ways = {Softmax: "as they are", Sigmoid: "shares"}
    return {
        "describe": described,
        "samples": [session.sample({"index": k}) for k in range(described["samples"])],
        "scaling": scaling.to_json(),
        "softmax": network.output_activation is not None,
        "probabilities": ways.get(type(activation), "softmax"),
        "layers": [_numbers(node.layer, node.name, half) for node in known],
    }


def _why_not(part: Any) -> str:
    """Why the browser cannot compute a layer, an activation or a scaling; "" if it can."""
    for thing in (part, getattr(part, "activation", part)):
        if why := edited(type(thing)):
            return why
        if type(thing) not in COMPUTED:
            return f"{type(thing).__name__} has no forward pass in front/forward.js"
        if method := replaced(thing):
            return f"{method} was replaced"
    return ""


def _some_of_each(labels: NDArray[Any]) -> NDArray[np.intp]:
    """The first images of each class, class by class; at most 20."""
    nth = np.empty(len(labels), int)  # how many of its class come before
    for label in np.unique(labels):
        nth[labels == label] = np.arange(np.count_nonzero(labels == label))
    return np.lexsort((labels, nth))[:MOST_SAMPLES]


def _numbers(layer: Any, name: str, half: bool) -> dict[str, Any]:
    """What a layer computes with."""
    activation = layer if isinstance(layer, Activation) else getattr(layer, "activation", None)
    found: dict[str, Any] = {"arrays": {}}
    if not hasattr(layer, "layers"):  # those of a block are its layers'
        arrays = {**layer.parameters, **layer.buffers}
        found["arrays"] = {key: _array(each, f"{name} {key}", half) for key, each in arrays.items()}
    if activation is not None:
        found["activation"] = {"word": activation.word, "slope": getattr(activation, "slope", 0.0)}
    if hasattr(layer, "counts"):
        found["counts"] = [each.tolist() for each in layer.counts]
    if hasattr(layer, "epsilon"):
        found["epsilon"] = layer.epsilon
    return found


def _array(numbers: NDArray[Any], what: str, half: bool) -> dict[str, Any]:
    if not half:
        return array(numbers)
    with np.errstate(over="ignore"):
        short = numbers.astype("<f2")
    if not np.isfinite(short).all():
        raise ValueError(f"half: {what} holds numbers beyond 65,504; write the file without half")
    content = base64.b64encode(short.tobytes()).decode()
    return {"shape": list(numbers.shape), "type": "float16", "data": content}
