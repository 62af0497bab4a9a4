"""The two ends of a training step: images into the network, and the loss behind it."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from glassbox.kernels.compiled.build import compiled
from glassbox.kernels.compiled.convolution import flat
from glassbox.kernels.compiled.vectors import lanes, turn_chosen
from glassbox.kernels.recorder import call

Array = np.ndarray


@compiled
def take_images(images, indices, low, span, mean, std, out):
    """out[c, i, j, n] = ((images[indices[n], c, i, j] - low) / span - mean[c]) / std[c].

    Samples from first to last: in squares, what is left at the edges one by one.
    The same operations in the same order as `Scaling.apply`, hence the same bits.
    """
    side, samples, pixels = lanes(out), len(indices), images.shape[1]
    for first in range(0, samples, side):
        last = min(first + side, samples)
        whole = pixels - pixels % side if last - first == side else 0
        for p in range(0, whole, side):
            place = p * samples + first
            turn_chosen(images, p, pixels, len(images), indices, first, out, place, samples)
        for n in range(first, last):
            image = images[indices[n]]
            for p in range(whole, pixels):
                out[p * samples + n] = image[p]
    plane = len(out) // len(mean)
    for c in range(len(mean)):
        numbers = out[c * plane : (c + 1) * plane]
        if low == 0 and span == 1 and mean[c] == 0 and std[c] == 1:
            continue  # divisions are slow, and these change nothing
        if mean[c] == 0 and std[c] == 1:
            for k in range(plane):
                numbers[k] = (numbers[k] - low) / span
        else:
            for k in range(plane):
                numbers[k] = ((numbers[k] - low) / span - mean[c]) / std[c]


# --- losses ----------------------------------------------------------------------------------


@compiled
def _squared_error(y, labels, on, off, classes, losses, difference):
    samples = len(labels)
    for n in range(samples):
        total = y[0] * 0
        for k in range(classes):
            error = y[k * samples + n] - (on if k == labels[n] else off)
            difference[k * samples + n] = error
            total += error * error
        losses[n] = total / classes


def squared_error(y: Array, labels: Array, on: float, off: float) -> tuple[Array, Array]:
    """Mean over the outputs of (y - t)^2 for each sample, and y - t; t is `on` at the label."""
    return _loss(_squared_error, y, labels, on, off)


@compiled
def _cross_entropy(z, labels, on, off, classes, losses, difference):
    samples = len(labels)
    for n in range(samples):
        largest = z[n]
        for k in range(1, classes):
            largest = max(largest, z[k * samples + n])
        total = z[0] * 0
        for k in range(classes):
            power = math.exp(z[k * samples + n] - largest)
            difference[k * samples + n] = power
            total += power
        shift, loss = largest + math.log(total), z[0] * 0
        for k in range(classes):
            target = on if k == labels[n] else off
            loss -= target * (z[k * samples + n] - shift)
            difference[k * samples + n] = difference[k * samples + n] / total - target
        losses[n] = loss


def cross_entropy(z: Array, labels: Array, on: float, off: float) -> tuple[Array, Array]:
    """-sum of t log softmax(z) for each sample, and softmax(z) - t; t is `on` at the label."""
    return _loss(_cross_entropy, z, labels, on, off)


def _loss(kernel: Any, y: Array, labels: Array, on: float, off: float) -> tuple[Array, Array]:
    kind, losses = y.dtype.type, np.empty(len(labels), y.dtype)
    difference = np.empty(y.shape, y.dtype)
    arguments = flat(y), labels, kind(on), kind(off), len(y), losses, difference.reshape(-1)
    call(kernel, *arguments)
    return losses, difference


@compiled
def _scaled(x, factor, y):
    for k in range(len(x)):
        y[k] = x[k] * factor


def scaled(x: Array, factor: float) -> Array:
    """x times a number."""
    y = np.empty(x.shape, x.dtype)
    call(_scaled, flat(x), x.dtype.type(factor), y.reshape(-1))
    return y


@compiled
def _count_right(y, labels, classes, right):
    samples = len(labels)
    right[0] = 0
    for n in range(samples):
        if not 0 <= labels[n] < classes:
            right[0] = -1
            return
        best = 0
        for k in range(1, classes):
            if y[k * samples + n] > y[best * samples + n]:
                best = k
        right[0] += best == labels[n]


def count_right(y: Array, labels: Array) -> Array:
    """How many columns have their largest entry at the label, as an array of one number.

    -1 where a label belongs to no row.
    """
    right = np.empty(1, np.int64)
    call(_count_right, flat(y), labels, len(y), right)
    return right
