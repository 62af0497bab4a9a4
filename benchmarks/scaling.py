"""What a training step costs against the images' side, the channels, the batch and the threads.

    python -m benchmarks.scaling
    python -m benchmarks.scaling --picture scaling.png --json scaling.json

The network: two 3 x 3 convolutions, the second with twice the channels of the first, a max-pooling
behind each, dense layers of 64 and 10.  One setting moves at a time, the others stay at images of
28 x 28, 16 channels, batches of 128 and all cores.  All points take turns in every round.

Effective GFLOP/s (2 for each multiply-add of a direct convolution, forward and both gradients) stay
level where cost grows as the work does.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from statistics import median
from typing import Any

from benchmarks.machine import alternate, options, timed, write_json
from benchmarks.networks import random_images
from benchmarks.roofline import STEP, parts
from CNN import CNN
from Filters import Conv2D, MaxPool2D
from glassbox.engine.machine import machine
from glassbox.kernels import BACKENDS
from MLP import SGD, Dense


@dataclass(frozen=True)
class Setting:
    """A point at which a training step is timed."""

    side: int = 28
    channels: int = 16
    batch: int = 128
    threads: int = 1


WORDS = {
    "side": "side of the images, pixels",
    "channels": "channels of the first convolution",
    "batch": "images in a batch",
    "threads": "threads",
}
Sweeps = dict[str, list[Setting]]


def sweeps(cores: int) -> Sweeps:
    """The points of each sweep; the usual setting is one of every sweep.

    >>> [setting.threads for setting in sweeps(6)["threads"]]
    [1, 2, 4, 6]
    """
    usual = Setting(threads=cores)
    powers = [2**k for k in range(cores.bit_length()) if 2**k < cores]
    values = {
        "side": [14, 28, 56],
        "channels": [8, 16, 32, 64],
        "batch": [1, 2, 8, 32, 128, 512],
        "threads": [*powers, cores],
    }
    return {what: [replace(usual, **{what: one}) for one in ones] for what, ones in values.items()}


def network_of(setting: Setting, backend: str) -> CNN:
    """The network of a setting, built."""
    return CNN(
        Conv2D(setting.channels, 3), MaxPool2D(2),
        Conv2D(2 * setting.channels, 3), MaxPool2D(2), Dense(64, "relu"), Dense(10, "softmax"),
        loss="cross_entropy", optimizer=SGD(1e-3, momentum=0.9),
        threads=setting.threads, kernels=backend,
    ).build((1, setting.side, setting.side))  # fmt: skip


def images_per_second(setting: Setting, backend: str, seconds: float) -> Callable[[], float]:
    """What measures a point for so many seconds."""
    ours = network_of(setting, backend)
    data = random_images(setting.batch, (1, setting.side, setting.side))
    return timed(lambda: ours.train_step(data), setting.batch, seconds, ours.workers.training)


def key(setting: Setting, backend: str) -> str:
    """How a point is called in the JSON file: "compiled, side 28, channels 16, ..."."""
    return ", ".join([backend, *(f"{what} {value}" for what, value in asdict(setting).items())])


def table(what: str, points: list[Setting], backends: list[str], found: Any) -> str:
    """A sweep: milliseconds of a step, microseconds of an image and GFLOP/s of each backend."""
    lines = [
        f"{WORDS[what]:<36}" + "".join(f"{backend:>32}" for backend in backends),
        " " * 36 + "".join(f"{'ms/step':>12}{'us/image':>10}{'GFLOP/s':>10}" for _ in backends),
    ]
    for setting in points:
        work = parts(network_of(setting, backends[0]), setting.batch)[STEP]
        line = f"{getattr(setting, what):>12}{'':<24}"
        for backend in backends:
            speed = median(found[key(setting, backend)])
            step = setting.batch / speed
            line += f"{1e3 * step:12.2f}{1e6 / speed:10.1f}{work / step / 1e9:10.1f}"
        lines.append(line)
    return "\n".join(lines)


def draw(points: Sweeps, backends: list[str], found: dict[str, list[float]], path: str) -> None:
    """The four sweeps side by side: microseconds of an image, both axes logarithmic."""
    from matplotlib.ticker import LogLocator, NullFormatter, StrMethodFormatter

    from glassbox.report.results import save
    from glassbox.report.style import COLOR, SIZE, dress, new_figure

    figure = new_figure(11, 7)
    colors = COLOR["training"], COLOR["validation"]
    lines: dict[str, Any] = {}
    for axes, (what, sweep) in zip(figure.subplots(2, 2).flat, points.items(), strict=True):
        values = [getattr(setting, what) for setting in sweep]
        for backend, color in zip(backends, colors, strict=False):
            cost = [1e6 / median(found[key(setting, backend)]) for setting in sweep]
            look: dict[str, Any] = {"color": color, "linewidth": 1.8, "markersize": 4}
            lines[backend] = axes.plot(values, cost, "o-", **look)[0]
        axes.set_xscale("log", base=2)
        axes.set_yscale("log")
        axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.yaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
        axes.yaxis.set_minor_formatter(NullFormatter())
        dress(axes, WORDS[what], "", "microseconds an image", grid="y")
        axes.set_xticks(values, [str(value) for value in values])
    figure.legend(
        list(lines.values()), list(lines), loc="outside upper right", ncols=2, frameon=False,
        fontsize=SIZE["text"], labelcolor=COLOR["ink"],
    )  # fmt: skip
    save(figure, path)


def main() -> None:
    told = options(__doc__, kernels=list(BACKENDS), rounds=5, seconds=0.5, picture="")
    points = sweeps(machine()["cores"])
    settings = dict.fromkeys(setting for sweep in points.values() for setting in sweep)
    pairs = [(setting, backend) for setting in settings for backend in told.kernels]
    ways = {key(*pair): images_per_second(*pair, told.seconds) for pair in pairs}
    found = alternate(ways, told.rounds)  # a point of several sweeps is timed once
    for what, sweep in points.items():
        print("\n" + table(what, sweep, told.kernels, found))
    write_json(told.json, {"images_per_second": found})
    if told.picture:
        draw(points, told.kernels, found, told.picture)


if __name__ == "__main__":
    main()
