"""How well `main.py`'s network, trained on MNIST alone, reads digits that are printed and drawn.

    python -m benchmarks.drawn_digits                       # the held-out half, which is reported
    python -m benchmarks.drawn_digits --half development    # the half to improve preparation on

Draws digits as JPEG pictures of many sizes: in matplotlib's fonts, with a pen along lines made by
hand, and from MNIST's test images; turned, on paper of any color, dark on light and light on dark,
under uneven light, with shadows, specks and noise.  The network sees them resized as `from_folder`
does, and prepared by `prepare_digits`.  The halves share no font, line, MNIST digit or seed.
"""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter, ImageFont

import main as shipped
from benchmarks.machine import CHOICES, options, write_json
from CNN import CNN
from Datasets import MNIST, from_folder, prepare_digits
from glassbox.cli import Options

HALVES = CHOICES["half"]
STYLES = ("", "-Bold", "-Oblique", "-BoldOblique")
FONTS = {
    "development": (
        *(f"DejaVuSans{style}" for style in STYLES), "STIXGeneral", "cmr10", "cmss10",
    ),
    "held-out": (
        *(f"DejaVuSansMono{style}" for style in STYLES),
        *(f"DejaVuSerif{style.replace('Oblique', 'Italic')}" for style in STYLES),
        "STIXGeneralBol", "STIXGeneralItalic", "STIXGeneralBolIta", "cmb10", "cmti10", "cmtt10",
    ),
}  # fmt: skip
# The ways of a pen: a digit, then ways to write it between semicolons; strokes between bars; points
# of two figures, to the right and down.  A point that is given twice is a sharp corner.
WAYS = {
    "development": """
        0 30 10 03 06 19 39 58 66 63 50 30; 41 20 02 07 29 59 67 62 40 21
        0 30 21 14 17 29 38 45 41 30
        1 30 39; 41 29; 12 30 39
        2 02 10 40 62 43 09 69; 11 30 51 54 27 09 28 69; 12 30 51 44 18 07 38 69
        3 11 30 51 53 24 24 56 58 39 08; 10 60 34 34 66 58 29 07
        3 02 20 52 44 34 34 65 58 28 08
        4 10 05 65 | 50 59; 20 04 16 65 | 51 49; 59 50 50 06 06 66
        5 60 10 10 04 04 44 66 48 08; 10 04 34 66 58 29 08 | 10 60; 51 11 15 15 44 57 39 08
        6 50 21 05 08 39 67 55 25 06; 40 13 07 29 58 56 35 07; 30 14 18 49 66 35 17
        7 00 60 60 29; 01 61 43 39; 00 60 60 39 | 14 54
        8 51 20 02 24 56 58 29 07 15 43 51; 60 20 11 33 67 39 18 26 52 60
        8 30 11 12 34 53 51 30 | 34 06 08 39 68 66 34
        9 51 20 03 25 54 51 51 59; 50 20 03 24 53 50 46 29; 51 30 12 14 44 52 51 58 39 18""",
    "held-out": """
        0 40 11 05 18 39 57 65 52 40; 20 03 08 39 66 62 40 20 01
        0 30 00 04 09 39 69 64 60 30
        1 03 40 29; 13 30 39 | 19 59; 39 40
        2 03 11 40 52 34 09 09 59; 00 50 63 34 05 09 69; 13 31 52 36 08 28 46 69
        3 00 40 52 43 14 14 54 57 49 09; 12 30 50 52 34 56 58 39 18
        3 00 50 50 23 23 55 58 39 09
        4 00 04 04 64 | 50 59; 30 05 05 65 | 42 49; 49 40 40 15 06 66
        5 50 00 00 03 03 33 55 58 39 09; 62 21 14 14 53 66 48 18; 11 04 24 56 48 19 | 11 51
        6 60 32 05 08 29 58 56 36 07; 10 05 08 39 59 66 45 06; 51 31 14 17 39 57 46 16
        7 02 00 60 60 29; 00 50 61 35 29; 10 61 61 49 | 24 64
        8 30 11 13 34 45 67 58 39 18 07 25 34 53 51 30; 40 11 23 55 67 48 18 16 43 61 40
        8 30 01 03 34 63 61 30 | 34 05 08 39 68 65 34
        9 60 20 02 04 34 61 61 58 29 09; 40 11 13 34 53 51 40 | 51 59
        9 51 31 13 24 44 52 51 39""",
}
KINDS = ("printed", "drawn", "handwritten")  # the last are MNIST's test images
POSES, TURNS, DIGITS = 4, 16, 400  # pictures of a font's digit, of a way to write, of MNIST
Sample = tuple[str, str, int, Image.Image]  # kind, font or way, digit, ink from 0 to 255


def samples(half: str, mnist: MNIST, rng: np.random.Generator) -> Iterator[Sample]:
    """Yield the digits of a half as ink, of height 200 or so in an image of 400 x 400."""
    for font in FONTS[half]:
        path = Path(matplotlib.get_data_path()) / "fonts" / "ttf" / f"{font}.ttf"
        letters = ImageFont.truetype(str(path), 270)
        for digit in range(10):
            page = Image.new("L", (400, 400))
            ImageDraw.Draw(page).text((200, 200), str(digit), 255, letters, anchor="mm")
            yield from [("printed", font, digit, page)] * POSES
    for row in WAYS[half].strip().split("\n"):
        written, ways = row.split(maxsplit=1)
        for way in ways.split(";"):
            for _ in range(TURNS):
                yield "drawn", way.strip(), int(written), drawn(way, rng.uniform(4, 28), rng)
    first = HALVES.index(half) * DIGITS
    for image, label in zip(
        mnist.test.images[first:][:DIGITS, 0], mnist.test.labels[first:], strict=False
    ):
        enlarged = Image.fromarray(image).resize((280, 280), Image.Resampling.BICUBIC)
        page = Image.new("L", (400, 400))
        page.paste(enlarged, (60, 60))
        yield "handwritten", "MNIST", int(label), page


def drawn(way: str, pen: float, rng: np.random.Generator) -> Image.Image:
    """Draw with a pen of this width along a way whose points are moved a little."""
    page = Image.new("L", (400, 400))
    draw, stretch = ImageDraw.Draw(page), rng.uniform(0.75, 1.2)
    for stroke in way.split("|"):
        moved: dict[str, Any] = {}
        points = []
        for point in stroke.split():  # a corner's two points are moved alike
            where = np.array([int(point[0]), int(point[1])])
            points.append(moved.setdefault(point, where + rng.normal(0, 0.2, 2)))
        for _ in range(3):  # corners are cut: the polygon becomes a curve (Chaikin 1974)
            inner = [
                share * a + (1 - share) * b for a, b in pairwise(points) for share in (0.75, 0.25)
            ]
            points = [points[0], *inner, points[-1]]
        path = [(100 + 22 * stretch * x, 100 + 22 * y) for x, y in points]
        draw.line(path, 255, round(pen))
        for x, y in path:
            draw.ellipse((x - pen / 2, y - pen / 2, x + pen / 2, y + pen / 2), 255)
    return page


def photographed(ink: Image.Image, dark: bool, rng: np.random.Generator) -> Image.Image:
    """Lay turned ink somewhere on paper of some size and color, and light it unevenly."""
    turned = ink.rotate(rng.uniform(-12, 12), Image.Resampling.BICUBIC)
    digit = turned.crop(turned.getbbox())
    scale = rng.uniform(24, 300) / max(digit.size)
    digit = digit.resize([max(1, round(scale * side)) for side in digit.size])
    width, height = (side + round(max(digit.size) * rng.uniform(0.3, 1.5)) for side in digit.size)
    page = Image.new("L", (width, height))
    margin = max(digit.size) // 8
    left, top = (
        int(rng.integers(margin, room - side - margin + 1))
        for room, side in zip((width, height), digit.size, strict=True)
    )
    page.paste(digit, (left, top))
    specks = ImageDraw.Draw(page)
    for _ in range(rng.integers(0, 5)):
        x, y, radius = rng.uniform(0, width), rng.uniform(0, height), max(digit.size) / 80
        specks.ellipse((x - radius, y - radius, x + radius, y + radius), 200)
    coverage = np.asarray(
        page.filter(ImageFilter.GaussianBlur(rng.uniform(0, max(digit.size) / 80)))
    )
    light, deep = rng.uniform(150, 250, 3), rng.uniform(10, 90, 3)
    paper, color = (light, deep) if dark else (deep, light)
    colors = paper + (coverage[:, :, None] / 255) * (color - paper)
    y, x = np.mgrid[0 : 1 : height * 1j, 0 : 1 : width * 1j]
    angle = rng.uniform(0, 2 * np.pi)
    along = (x - 0.5) * np.cos(angle) + (y - 0.5) * np.sin(angle)
    shine = 1 - rng.uniform(0, 0.5) * (along + 0.5)
    edge = 1 / (1 + np.exp((along - rng.uniform(-0.4, 0.4)) / rng.uniform(0.005, 0.1)))
    shine *= 1 - rng.choice([0, rng.uniform(0.1, 0.45)]) * edge  # half of them have a shadow
    noisy = colors * shine[:, :, None] + rng.normal(0, rng.uniform(0, 8), (height, width, 1))
    return Image.fromarray(np.clip(noisy, 0, 255).astype(np.uint8))


def trained(mnist: MNIST) -> CNN:
    """Train the network of `main.py` as `python main.py` does."""
    recipe = Options()
    network = shipped.network(recipe)
    network.fit(
        mnist.train, mnist.validation, epochs=recipe.epochs, batch_size=recipe.batch_size,
        progress=False,
    )  # fmt: skip
    return network


def read(network: CNN, path: Path) -> int:
    """Give the digit that the network takes a picture for, -1 where it is taken for blank."""
    try:
        return int(network.predict(prepare_digits([path]))[0])
    except ValueError:
        return -1


def measured(half: str, network: CNN, mnist: MNIST, folder: Path) -> dict[str, Any]:
    """Write the pictures of a half into a folder; give the network's accuracy by kind."""
    rng = np.random.default_rng(HALVES.index(half))
    every = []
    for number, (kind, source, digit, ink) in enumerate(samples(half, mnist, rng)):
        every.append((kind, source, digit, dark := bool(rng.integers(2))))
        picture = photographed(ink, dark, rng)
        picture.save(folder / f"{number:05}.jpg", quality=int(rng.integers(40, 95)))
    kinds, sources, digits, darks = (np.array(column) for column in zip(*every, strict=True))
    plain = network.predict(from_folder(folder, size=28).test) == digits
    answers = np.array([read(network, path) for path in sorted(folder.iterdir())])
    right = answers == digits

    def shares(chosen: NDArray[np.bool_]) -> dict[str, float]:
        return {
            "pictures": int(chosen.sum()), "resized": float(plain[chosen].mean()),
            "prepared": float(right[chosen].mean()), "blank": int((answers[chosen] < 0).sum()),
        }  # fmt: skip

    found: dict[str, Any] = {"kinds": {}, "sources": {}, "confused": {}}
    for kind in KINDS:
        for dark, words in ((True, "dark on light"), (False, "light on dark")):
            found["kinds"][f"{kind}, {words}"] = shares((kinds == kind) & (darks == dark))
        wrong = (kinds == kind) & ~right
        pairs = Counter(zip(digits[wrong].tolist(), answers[wrong].tolist(), strict=True))
        found["confused"][kind] = [[*pair, count] for pair, count in pairs.most_common(5)]
    for source in dict.fromkeys(sources[kinds != "handwritten"].tolist()):
        found["sources"][source] = shares(sources == source)
    return found


def main() -> None:
    told = options(__doc__, half=HALVES[0])
    mnist = MNIST()
    network = trained(mnist)
    with tempfile.TemporaryDirectory() as folder:
        found = measured(told.half, network, mnist, Path(folder))
    for kind, shares in found["kinds"].items():
        both = " ".join(f"{way} {shares[way]:7.2%}" for way in ("resized", "prepared"))
        print(f"{kind:28}{shares['pictures']:6,} {both}")
    accuracy = network.evaluate(mnist.test).accuracy
    print(f"MNIST's own test images: {accuracy:.2%}")
    write_json(told.json, {"half": told.half, "mnist_test_accuracy": accuracy, **found})


if __name__ == "__main__":
    main()
