"""Preparing pictures of digits as MNIST's were: ink found, cropped, fitted, centered by mass."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from glassbox.data.folders import read_picture
from glassbox.errors import short

WORKING = 384  # pixels of the longer side on which ink is searched for: bounds time and memory
WINDOW = 0.35  # of the longer side: what is narrower is ink, what is wider is light and shadow
FAINT = 0.04  # of the range of pixels: what differs less from the paper is no ink
NOISE = 4.0  # standard deviations of the paper: the same
SPECK = 0.08  # of the ink of the largest piece: what has less is dirt
STROKES = (0.095, 0.22)  # widths of strokes on the box's longer side: those of nearly all of MNIST
INSIDE = 20 / 28  # of the side: MNIST's box of 20 pixels in pictures of 28
Gray = NDArray[np.floating[Any]]


def prepare_digits(images: Iterable[Any], size: int = 28) -> NDArray[np.uint8]:
    """Prepare photographed or drawn digits as those of MNIST were, for a network trained on these.

    Parameters
    ----------
    images : iterable of pictures
        One digit in each, of any size and shape, drawn in any color, dark on light or light on
        dark.  A picture is an array (height, width), (height, width, channels) or (channels,
        height, width) of one to four channels (gray, gray and opacity, RGB, RGB and opacity), a
        Pillow image, or the path of a PNG or JPEG file.
    size : int, default 28
        Side of the result in pixels, from 7 to 384; the digit fills 20 of 28.

    Returns
    -------
    ndarray of uint8
        (samples, 1, size, size), light ink on black as in MNIST, for `network.predict`.

    Raises
    ------
    TypeError, ValueError
        If something is not a picture, has a pixel that is not finite, or is blank; the message has
        its place.

    Examples
    --------
    >>> page = np.full((90, 60, 3), 200, np.uint8)
    >>> page[20:70, 10:16] = (20, 30, 120)
    >>> prepare_digits([page]).shape
    (1, 1, 28, 28)
    """
    _check_size(size)
    if isinstance(images, str | Path) or hasattr(images, "convert"):
        raise TypeError(f"images: expected a list of pictures, got one: {short(images)}")
    prepared = []
    for index, image in enumerate(images):
        try:
            prepared.append(digit_steps(image, size)["centered"])
        except (TypeError, ValueError) as error:
            raise type(error)(f"images[{index}]: {error}") from error
    return np.array(prepared, np.uint8).reshape(-1, 1, size, size)


def digit_steps(image: Any, size: int = 28) -> dict[str, NDArray[Any]]:
    """Prepare one picture as `prepare_digits` does, and return what each step makes of it.

    Parameters
    ----------
    image : array_like, Pillow image or path-like
        As one of those for `prepare_digits`.
    size : int, default 28
        Side of the result in pixels, from 7 to 384.

    Returns
    -------
    dict of str to ndarray
        "gray" (what the colors differ by most, at most 384 pixels wide), "even" (light ink on an
        even ground of 0), "ink" (the ink alone, 0 to 1, without dirt), "cropped" (to its box,
        strokes as thick as in MNIST), "fitted" (into 20 of 28 pixels), "centered" (the result, of
        uint8).

    Raises
    ------
    TypeError, ValueError
        As for `prepare_digits`.
    """
    _check_size(size)
    gray = _gray(_pixels(image))
    even = _even(gray)
    ink = _ink(even)
    cropped = _cropped(ink)
    fitted = _fitted(cropped, round(size * INSIDE))
    return {
        "gray": gray, "even": even, "ink": ink, "cropped": cropped, "fitted": fitted,
        "centered": _centered(fitted, size),
    }  # fmt: skip


def _check_size(size: int) -> None:
    if not isinstance(size, int | np.integer) or not 7 <= size <= WORKING:
        raise ValueError(f"size must be a whole number from 7 to {WORKING}, got {short(size)}")


def _pixels(image: Any) -> Gray:
    """Give a picture as (height, width, channels), 0 to 1 for all whole numbers, without opacity.

    Whole numbers up to 255 are taken for bytes, larger ones for 16 bits, whatever their type.  The
    longer side has `WORKING` pixels at most.  What is transparent becomes white, but black
    where what can be seen is light.
    """
    if isinstance(image, str | Path):
        return _smaller(read_picture(Path(image), gray=False).transpose(1, 2, 0) / np.float32(255))
    if hasattr(image, "convert"):  # a Pillow image, which may have a palette
        image = image.convert("RGBA")
    pixels = np.asarray(image)
    if pixels.dtype.kind not in "buif":
        raise TypeError(f"expected a picture as an array of numbers, got {short(image)}")
    if pixels.ndim == 2:
        pixels = pixels[:, :, None]
    elif pixels.ndim == 3 and pixels.shape[2] > 4 and pixels.shape[0] <= 4:
        pixels = pixels.transpose(1, 2, 0)
    if pixels.ndim != 3 or pixels.shape[2] > 4 or not pixels.size:
        raise ValueError(
            "expected a picture (height, width), (height, width, channels) or (channels, height, "
            f"width) of one to four channels, got shape {np.shape(image)}"
        )
    most = np.iinfo(np.min_scalar_type(pixels.max())).max if pixels.dtype.kind in "ui" else 1.0
    pixels = _smaller(pixels) / most
    if not np.isfinite(pixels).all():
        raise ValueError("pixels must be finite, but some are NaN, infinite or beyond float32")
    if pixels.shape[2] % 2:
        return pixels
    color, opacity = pixels[:, :, :-1], np.clip(pixels[:, :, -1:], 0, 1)
    seen = (color.mean(axis=2, keepdims=True) * opacity).sum() / max(opacity.sum(), 1e-6)
    return color * opacity + (1 - opacity) * (seen < 0.5)


def _smaller(pixels: NDArray[Any]) -> NDArray[np.float32]:
    """Average (height, width, channels) down to `WORKING` pixels of the longer side."""
    shrink = min(1.0, WORKING / max(pixels.shape[:2]))
    channels = [_resized(channel, shrink) for channel in np.moveaxis(pixels, 2, 0)]
    return np.stack(channels, axis=2)


def _resized(values: NDArray[Any], scale: float) -> NDArray[np.float32]:
    """Give an image `scale` times as large, each pixel the mean of those it covers."""
    from PIL import Image  # only those who prepare pictures wait for this import

    with np.errstate(over="ignore"):  # infinite pixels are answered afterwards
        plain = np.ascontiguousarray(values, dtype=np.float32)
    if scale == 1:
        return plain
    height, width = (max(1, round(scale * side)) for side in plain.shape)
    way = Image.Resampling.BOX if scale < 1 else Image.Resampling.BILINEAR
    return np.asarray(Image.fromarray(plain).resize((width, height), way))


def _gray(pixels: Gray) -> Gray:
    """Give the one mixture of the channels that differs most over the picture, light as light.

    Red ink on green paper of the same brightness then stands out as black on white does.
    """
    flat = pixels.reshape(-1, pixels.shape[2])
    apart = flat - flat.mean(axis=0)
    _, axes = np.linalg.eigh(apart.T @ apart)
    weights = axes[:, -1] * np.sign(axes[:, -1].sum() or 1)
    return pixels @ (weights / np.abs(weights).sum())


def _even(gray: Gray) -> Gray:
    """Give light ink on an even ground of 0, whatever the light and the color of the ink.

    A closing fills what is dark and narrower than the window, which leaves the paper with its
    shadows: dark ink is what the closing is lighter than the picture by.  Of light ink an opening
    does the same.  Which of the two the ink is shows in what is left: paper is the more even.
    """
    from scipy import ndimage  # as above

    longer = max(gray.shape)
    window = max(3, round(WINDOW * longer))
    calm = ndimage.gaussian_filter(np.pad(gray, window, "edge"), longer / 200)
    inside = (slice(window, -window),) * 2  # else a shadow at the border would be narrow
    calm, paper_of_dark, paper_of_light = (
        picture[inside]
        for picture in (
            calm,
            ndimage.grey_closing(calm, window),
            ndimage.grey_opening(calm, window),
        )
    )
    dark = paper_of_dark.std() <= paper_of_light.std()
    even = paper_of_dark - calm if dark else calm - paper_of_light
    ink, paper = _two_levels(even)
    if ink.mean() - paper.mean() < max(FAINT, NOISE * paper.std()):
        raise ValueError("it is blank: no ink stands out from the ground")
    return even


def _two_levels(values: Gray) -> tuple[Gray, Gray]:
    """Divide into high and low values such that both vary least (Otsu 1979)."""
    ordered = np.sort(values, axis=None).astype(np.float64)
    below, total = np.cumsum(ordered)[:-1], ordered.sum()
    count = np.arange(1, ordered.size)
    apart = below / count - (total - below) / (ordered.size - count)
    at = int(np.argmax(count * (ordered.size - count) * apart**2)) + 1 if ordered.size > 1 else 1
    return ordered[min(at, ordered.size - 1) :], ordered[:at]


def _ink(even: Gray) -> Gray:
    """Give the ink alone, 0 to 1: pieces as large as dirt or cut by the border are left out."""
    from scipy import ndimage

    longer = max(even.shape)
    near = ndimage.maximum_filter(even, max(3, round(WINDOW * longer)), mode="nearest")
    level = even / np.maximum(near, 0.5 * even.max())  # ink in a shadow differs from paper by less
    ink, paper = _two_levels(level)
    low, high = paper.mean(), ink.mean()
    level = np.clip((level - low) / (high - low), 0, 1)
    strokes = level > 0.5
    joined = ndimage.binary_dilation(strokes, np.ones((3, 3)), iterations=1 + longer // 100)
    labels, count = ndimage.label(joined, np.ones((3, 3)))
    amounts = np.bincount(labels[strokes], minlength=count + 1).astype(float)
    amounts[0] = 0
    edges = (strokes * labels)[[0, -1]].ravel(), (strokes * labels)[:, [0, -1]].ravel()
    cut = np.unique(np.concatenate(edges))
    main = int(np.argmax(amounts * np.where(np.isin(np.arange(count + 1), cut), 0.1, 1)))
    kept = amounts >= SPECK * amounts[main]
    kept[cut], kept[main], kept[0] = False, True, False
    return level * kept[labels]


def _cropped(ink: Gray) -> Gray:
    """Give the box around the ink, strokes made as thick as MNIST's where they are not."""
    from scipy import ndimage

    rows, columns = (np.flatnonzero((ink > 0.5).any(axis=axis)) for axis in (1, 0))
    box = ink[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    width = stroke_width(box > 0.5)
    wanted = np.clip(width, *(share * max(box.shape) for share in STROKES))
    grow = (wanted - width) / 2
    if grow > 0.5:
        margin = int(grow) + 1
        box = np.pad(box, margin)
        away = ndimage.distance_transform_edt(box <= 0.5)
        box = np.maximum(box, np.clip(grow + 1 - away, 0, 1)).astype(box.dtype)
    return box


def stroke_width(strokes: NDArray[np.bool_]) -> float:
    """Give the mean width of strokes in pixels.

    Across a stroke the distance to its edge has a mean of a quarter of the width.
    """
    from scipy import ndimage

    depth = ndimage.distance_transform_edt(np.pad(strokes, 1))
    return float(4 * depth[depth > 0].mean() - 2)


def _fitted(box: Gray, side: int) -> NDArray[np.float32]:
    """Fit into a square of `side` pixels, keeping the aspect."""
    return _resized(box, side / max(box.shape))


def _centered(fitted: Gray, size: int) -> NDArray[np.uint8]:
    """Lay in a square of `size` pixels, as near with the center of mass to its center as fits."""
    places = []
    for axis, side in enumerate(fitted.shape):
        mass = fitted.sum(axis=1 - axis)
        middle = (mass @ np.arange(side)) / mass.sum()
        start = int(np.clip(round(size / 2 - middle), 0, size - side))
        places.append(slice(start, start + side))
    square = np.zeros((size, size), np.uint8)
    square[tuple(places)] = np.clip(255 * fitted, 0, 255).round()
    return square
