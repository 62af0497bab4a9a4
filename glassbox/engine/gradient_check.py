"""Gradients against central differences, layer by layer, in double precision.

Each layer is checked on its own: with a fixed random R, the scalar sum(R * forward(x)) has the
gradients that backward(R) claims.  (f(w + h d) - f(w - h d)) / 2h must equal gradient . d, along a
random direction d (which sees every entry at once) and for some single entries (which say where).
A step that crosses a kink (leaky ReLU, max-pooling) proves nothing; a second, smaller step tells.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from glassbox.engine.copies import clone_built
from glassbox.engine.layer import Array, Context, Layer
from glassbox.engine.step import to_batch_last
from glassbox.errors import require_count

TOLERANCE = 1e-5
STEPS = (1e-4, 1e-6)
JITTER = 0.01


@dataclass(frozen=True)
class GradientError:
    """The worst relative difference found for one array of one layer.

    `error` leaves out what rounding alone can make; `measured` is the whole difference.
    """

    layer: str
    array: str
    error: float
    measured: float = 0.0

    @property
    def passed(self) -> bool:
        """Whether it is below the tolerance."""
        return self.error <= TOLERANCE


@dataclass(repr=False)
class GradientReport:
    """What a gradient check found; `passed` says whether everything agreed."""

    errors: list[GradientError] = field(default_factory=list)

    @property
    def passed(self) -> bool:
        """Whether every array of every layer agreed."""
        return all(error.passed for error in self.errors)

    def __repr__(self) -> str:
        return f"<GradientReport: {'passed' if self.passed else 'failed'}>"

    def _repr_html_(self) -> str:
        from glassbox import html_repr

        return html_repr.gradients(self)

    def __str__(self) -> str:
        width = max((len(e.layer) for e in self.errors), default=5)
        lines = [f"{'layer':<{width}}  {'gradient of':<12}  relative error"]
        for e in self.errors:
            verdict = "ok" if e.passed else "WRONG"
            lines.append(
                f"{e.layer:<{width}}  {e.array:<12}  {max(e.error, e.measured):14.1e}  {verdict}"
            )
        wrong = [f"{e.layer} {e.array}" for e in self.errors if not e.passed]
        lines.append(
            f"Off by more than {TOLERANCE:g}: {', '.join(wrong)}."
            if wrong
            else f"All gradients agree with central differences to {TOLERANCE:g}."
        )
        return "\n".join(lines)


def _relative(
    value: Callable[[], float], scale: float, array: Array, direction: Array, claimed: float
) -> tuple[float, float]:
    """The smaller disagreement of the two step lengths (the other may have crossed a kink).

    Returns it without what rounding can make, and as it was measured.

    `scale` is the size of the numbers that `value` adds up, and so of its rounding.
    """
    kept = array.copy()
    found = []
    for h in STEPS:
        array[...] = kept + h * direction
        above = value()
        array[...] = kept - h * direction
        below = value()
        array[...] = kept
        slope = (above - below) / (2 * h)
        # what rounding alone can make (2e-16 of the scale, and some to spare) counts as equal
        floor = 1e-14 * scale / h + 1e-12
        apart, size = abs(slope - claimed), max(abs(slope), abs(claimed), 1e-8)
        # a gradient of almost 0 is compared with the least that the rounding leaves to be seen
        found.append((max(apart - floor, 0) / size, apart / max(size, floor / TOLERANCE)))
    return min(found)


def _directions(
    array: Array, gradient: Array, entries: int, rng: np.random.Generator
) -> list[Array]:
    """A random direction, and single entries: the largest of the gradient, others by chance."""
    directions = [rng.standard_normal(array.shape)]
    flat = [int(np.abs(gradient).argmax()), *rng.integers(array.size, size=entries - 1)]
    for place in flat:
        one = np.zeros(array.size)
        one[place] = 1.0
        directions.append(one.reshape(array.shape))
    return directions


def check_layer(
    layer: Layer, x: Array, context: Context, rng: np.random.Generator, entries: int = 4
) -> tuple[list[GradientError], Array]:
    """The errors of one float64 layer at input x (batch-last), and its output there."""
    # Real images have equal neighbours, and a maximum of equal numbers has no derivative.
    x = x + JITTER * rng.standard_normal(x.shape)
    y, cache = layer.forward(x, context)
    weight = rng.standard_normal(y.shape)
    dx, gradients = layer.backward(weight.copy(), cache)
    arrays = {"its input": x, **layer.parameters}
    claims = {"its input": dx, **gradients}
    scale = float(np.abs(y * weight).sum())

    def value() -> float:
        return float((layer.forward(x, context)[0] * weight).sum())

    errors = []
    for name, array in arrays.items():
        claimed = claims.get(name)
        if claimed is None or claimed.shape != array.shape:
            errors.append(GradientError(layer.name, name, float("inf")))
            continue
        worst = max(
            _relative(value, scale, array, d, float((claimed * d).sum()))
            for d in _directions(array, claimed, entries, rng)
        )
        errors.append(GradientError(layer.name, name, *worst))
    return errors, y


def check_layers(layers: Sequence[Layer], x: Array, context: Context, seed: int) -> GradientReport:
    """Every layer in turn, each at the input that the ones before it make of x."""
    rng = np.random.default_rng(seed)
    report = GradientReport()
    for layer in layers:
        errors, x = check_layer(layer, x, context, rng)
        report.errors += errors
    return report


def gradient_check(network: Any, data: Any, images: int, quiet: bool) -> GradientReport:
    """Check a float64 copy of a built network on some images; see `CNN.gradient_check`."""
    require_count("images", images)
    clone = clone_built(network, np.float64, network.parameters.snapshot())
    for layer in clone.layers:
        layer.needs_input_gradient = True
    x = data.batch(np.arange(min(images, len(data))), np.float64)[0]
    if not len(x):
        raise ValueError("images: expected at least one image, got none")
    context = Context(True, network.seed, 0, 0, len(x))
    report = check_layers(clone.layers, to_batch_last(x), context, network.seed)
    if not quiet:
        print(report)
    return report
