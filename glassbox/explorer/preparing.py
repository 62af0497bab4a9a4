"""Drawn and photographed images made into those of a network."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from glassbox.data.prepare import digit_steps

Steps = dict[str, NDArray[np.uint8]]


def steps_to(image: NDArray[np.uint8], network: Any) -> Steps:
    """What each step of the preparation makes, as images (channels, height, width); the last fits.

    Digits are prepared as MNIST's were; for networks of other classes images are only resized.

    Raises ValueError for an image that is blank or of another number of channels than 1, 3 or 4.
    """
    channels, height, width = network.input_shape
    digits = network.classes[:10] == tuple("0123456789")
    if digits and channels == 1 and height == width >= 7:
        steps = digit_steps(np.moveaxis(image, 0, 2), height)
        return {name: _as_bytes(step) for name, step in steps.items()}
    modes = {1: "L", 3: "RGB", 4: "RGBA"}
    if len(image) not in modes or channels not in (1, 3):
        raise ValueError(
            f"image: expected 1, 3 or 4 channels for a network of 1 or 3, got {len(image)} for "
            f"{channels}"
        )
    pixels = image[0] if len(image) == 1 else np.ascontiguousarray(np.moveaxis(image, 0, 2))
    picture = Image.fromarray(pixels)
    if picture.mode == "RGBA":
        picture = Image.alpha_composite(Image.new("RGBA", picture.size, "white"), picture)
    fitted = ImageOps.fit(picture.convert(modes[channels]), (width, height), Image.Resampling.BOX)
    return {"resized": np.atleast_3d(np.asarray(fitted)).transpose(2, 0, 1)}


def _as_bytes(step: NDArray[Any]) -> NDArray[np.uint8]:
    """A picture (height, width) of numbers of about 0 to 1 as bytes."""
    if step.dtype == np.uint8:
        return step[None]
    low, high = min(step.min(), 0), max(step.max(), 1)
    return np.rint(255 * (step - low) / (high - low)).astype(np.uint8)[None]
