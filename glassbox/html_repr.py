"""What a notebook shows of an object: a table and a picture, as HTML that needs nothing else.

Neither scripts, style sheets nor SVG elements: a notebook that is opened elsewhere is not trusted
and loses them.  Styles stand in their elements, curves are SVG inside an <img>, thumbnails are
PNG, bars are boxes.  Text has the notebook's own color, and the colors of pictures can be seen on
light and dark backgrounds alike.  Whatever an object holds, its HTML stays below 200 kB.
"""

from __future__ import annotations

import math
from base64 import b64encode
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from io import BytesIO
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
BLUE, ORANGE, GREEN, GRAY = "#2b8fd0", "#d55e00", "#009e73", "#808080"
LINE = "1px solid rgba(128,128,128,0.4)"
TILE = 32  # pixels of a thumbnail's longer side
THUMBNAILS = 16  # of a layer
BYTES = 100_000  # of the pictures of a network, and of the pixels of those of a data set
ROWS = 60  # of a table
CLASSES = 100  # whose images are shown
POINTS = 300  # of a curve
SIDES = {"l": "left", "r": "right"}
WIDE, HIGH, LEFT, BELOW = 310, 190, 52, 34  # of a panel of curves, and its margins


# --- markup ----------------------------------------------------------------------------------


class Html(str):
    """Markup.  Every other text is escaped where it is put into a `tag`."""


def tag(name: str, *inside: Any, **attributes: Any) -> Html:
    """Write an element of HTML or SVG; `font_size` is the attribute font-size.

    >>> tag("td", "a < b", title='"')
    '<td title="&quot;">a &lt; b</td>'
    """
    words = "".join(f' {key.replace("_", "-")}="{_text(v)}"' for key, v in attributes.items())
    if name == "img":
        return Html(f"<img{words}>")
    parts = (part if isinstance(part, Html) else _text(part) for part in inside)
    return Html(f"<{name}{words}>{''.join(parts)}</{name}>")


def _text(value: Any) -> str:
    """A text escaped; what UTF-8 cannot hold, as in names of files, is a question mark."""
    return escape(str(value).encode("utf-8", "replace").decode("utf-8"))


def cut(text: Any, most: int = 60) -> str:
    """A text of at most `most` characters."""
    words = str(text)
    return words if len(words) <= most else f"{words[: most - 1]}\u2026"


def frame(thing: Any, *parts: Html) -> str:
    """Put parts under the short words of an object."""
    words = repr(thing)
    words = words[1:-1] if words.startswith("<") and words.endswith(">") else words
    head = tag("div", cut(words, 200), style="font-weight:bold;margin-bottom:4px")
    look = "max-width:640px;font-family:sans-serif;font-size:13px;line-height:1.4"
    return tag("div", head, *parts, style=look)


def paragraph(text: str) -> Html:
    """A few lines of text."""
    return tag("div", cut(text, 400), style="margin:4px 0")


def table(heads: Sequence[str], rows: Iterable[Sequence[Any]], sides: str) -> Html:
    """Rows under heads, the columns aligned at sides such as "lr": at the left, at the right.

    A row of one cell is as wide as the table.
    """

    def line(kind: str, row: Sequence[Any], style: str) -> Html:
        wide = {"colspan": len(heads)} if len(row) == 1 < len(heads) else {}
        cells = (
            tag(kind, cell, **wide, style=f"text-align:{SIDES[side]};padding:2px 6px;{style}")
            for cell, side in zip(row, sides, strict=False)
        )
        return tag("tr", *cells, style="background:transparent")

    head = [line("th", heads, f"border-bottom:{LINE}")] if any(heads) else []
    body = (line("td", row, "") for row in rows)
    whole = tag("table", *head, *body, style="border-collapse:collapse;font-size:12px;margin:0")
    return tag("div", whole, style="overflow-x:auto")


def bar(share: float, color: str, title: str) -> Html:
    """A share of 1 as the filled part of a box."""
    filled = 100 * min(max(share, 0.0), 1.0) if math.isfinite(share) else 0.0
    inner = tag("div", style=f"width:{filled:.1f}%;height:10px;background-color:{color}")
    look = "width:160px;background-color:rgba(128,128,128,0.25)"
    return tag("div", inner, role="img", aria_label=title, title=title, style=look)


# --- pictures --------------------------------------------------------------------------------


def image(data: bytes, kind: str, title: str) -> Html:
    """A picture inside the page; `kind` is that of "image/kind"."""
    source = f"data:image/{kind};base64,{b64encode(data).decode('ascii')}"
    look = "max-width:100%;height:auto;margin:0;vertical-align:top"
    return tag("img", src=source, alt=title, title=title, style=look)


def png(pixels: NDArray[np.uint8]) -> bytes:
    """Encode pixels (height, width, 1 or 3), gray or RGB."""
    from PIL import Image  # matplotlib brings it along; only those who show pictures wait for it

    stream = BytesIO()
    gray = pixels.shape[2] == 1
    Image.fromarray(pixels[:, :, 0] if gray else pixels).save(stream, "png", optimize=True)
    return stream.getvalue()


def small(picture: Array, side: int) -> Array:
    """A picture (height, width, channels) as means of blocks, at most `side` pixels long."""
    height, width, channels = picture.shape
    step = -(-max(height, width) // side)
    down, right = min(step, height), min(step, width)
    rows, columns = height // down, width // right
    whole = picture[: rows * down, : columns * right]
    return whole.reshape(rows, down, columns, right, channels).mean(axis=(1, 3), dtype=np.float64)


def strip(tiles: NDArray[np.uint8]) -> bytes:
    """Lay tiles (n, height, width, channels) out in a row, in a gray frame, as a PNG."""
    height, width = tiles.shape[1:3]
    times = TILE // max(height, width)
    down, right = (max(times, -(-6 // size)) for size in (height, width))  # a line of pixels, too
    large = tiles.repeat(down, axis=1).repeat(right, axis=2)
    frames = np.pad(large, ((0, 0), (1, 1), (1, 1), (0, 0)), constant_values=128)
    return png(np.concatenate([*frames], axis=1))


def diverging(values: Array, end: float) -> NDArray[np.uint8]:
    """Color numbers: blue below zero, white at it, red above, black where one is not finite."""
    share = np.nan_to_num(values / end).clip(-1, 1)[..., None]
    ends = np.where(share > 0, (178, 24, 43), (33, 102, 172))
    colors = 255 + np.abs(share) * (ends - 255)
    return np.where(np.isfinite(values)[..., None], colors, 0).astype(np.uint8)


def gray_or_rgb(images: list[Array], plain: bool) -> list[NDArray[np.uint8]]:
    """Color images (height, width, channels) on one scale; `plain`: that of bytes, 0 to 255.

    Three channels are red, green and blue, of others the mean is gray.
    """
    kept = [each if each.shape[2] == 3 else each.mean(axis=2, keepdims=True) for each in images]
    numbers = np.concatenate([[], *map(np.ravel, kept)])
    numbers = numbers[np.isfinite(numbers)]
    low, high = (0.0, 255.0) if plain or not numbers.size else (numbers.min(), numbers.max())
    shares = ((each - low) / ((high - low) or 1.0) for each in kept)
    return [(255 * np.nan_to_num(share).clip(0, 1)).round().astype(np.uint8) for share in shares]


# --- a network -------------------------------------------------------------------------------


def network(
    thing: Any, heads: Sequence[str], rows: list[list[str]], total: list[str],
    kernels: Mapping[int, Array], notes: Sequence[str],
) -> str:  # fmt: skip
    """The table of the layers, the first filters of each below it.

    kernels : {row: (filters, channels, height, width)}.
    """
    shown: list[Sequence[Any]] = []
    room = BYTES
    for number, row in enumerate(rows[:ROWS]):
        shown.append([cut(cell) for cell in row])
        if number in kernels:
            pixels, title = filters(kernels[number])
            picture = image(pixels, "png", f"{cut(row[0])}: {title}")
            if len(picture) <= room:
                room -= len(picture)
                shown.append([picture])
    if len(rows) > ROWS:
        shown.append([f"and {len(rows) - ROWS:,} more layers"])
    grid = table(heads, [*shown, total] if total else shown, "llrrrrr")
    return frame(thing, grid, *map(paragraph, notes))


@np.errstate(all="ignore")  # weights may be anything
def filters(kernels: Array) -> tuple[bytes, str]:
    """The first filters as a PNG on one scale, each by its strongest input channel; and a title."""
    first = []
    for kernel in kernels[:THUMBNAILS]:
        strength = np.abs(np.nan_to_num(kernel, posinf=0, neginf=0)).max(axis=(1, 2))
        chosen = kernel[strength.argmax()].astype(np.float64)
        first.append(small(chosen[..., None], TILE)[..., 0])
    tiles = np.stack(first)
    end = float(np.abs(tiles[np.isfinite(tiles)]).max(initial=0.0)) or 1.0
    count = f"{len(first)} of {len(kernels):,}" if len(first) < len(kernels) else f"{len(first)}"
    which = ", each by the strongest of its input channels" if kernels.shape[1] > 1 else ""
    size = " x ".join(map(str, kernels.shape[2:]))
    title = f"weights of {count} outputs, {size} each{which}; red above 0, blue below, to {end:.2g}"
    return strip(diverging(tiles, end)), title


# --- a training run --------------------------------------------------------------------------


def history(thing: Any) -> str:
    """Loss and accuracy as curves, and the best and the last epoch in numbers."""
    records = thing.records
    if not records:
        return frame(thing)
    best = None if thing.best_epoch is None else records[thing.best_epoch - 1]
    kinds = {"training": ("", BLUE), "validation": ("validation_", ORANGE)}
    panels = [
        panel(
            key.capitalize(),
            [(word, color, _series(records, part + key)) for word, (part, color) in kinds.items()],
            np.array([record["epoch"] for record in records], np.float64),
            None if best is None else thing.best_epoch - 1,
        )
        for key in ("loss", "accuracy")
    ]
    right = tag("g", panels[1], transform=f"translate({WIDE} 0)")
    title = f"Loss and accuracy of {len(records):,} epochs"
    look: dict[str, Any] = {"xmlns": "http://www.w3.org/2000/svg", "role": "img"}
    look |= {"width": 2 * WIDE, "height": HIGH, "viewBox": f"0 0 {2 * WIDE} {HIGH}"}
    look |= {"font_family": "sans-serif", "font_size": 11, "fill": GRAY, "aria_label": title}
    picture = tag("svg", tag("title", title), panels[0], right, **look)
    names = ("epoch", "loss", "accuracy", "validation_loss", "validation_accuracy", "seconds")
    rows = {"last": records[-1]} if best is None else {"best": best, "last": records[-1]}
    numbers = ([word, *(_number(k, each.get(k)) for k in names)] for word, each in rows.items())
    heads = ["", *(name.replace("_", " ") for name in names)]
    return frame(
        thing, image(picture.encode("utf-8"), "svg+xml", title), table(heads, numbers, "lrrrrrr")
    )


def _number(name: str, value: Any) -> str:
    if value is None:
        return "-"
    if name == "epoch":
        return f"{value:,}"
    if name.endswith("accuracy"):
        return f"{value:.2%}"
    return f"{value:.1f}" if name == "seconds" else f"{value:.4g}"


def _series(records: Sequence[Mapping[str, Any]], key: str) -> Array:
    """The numbers of all records, NaN where one is missing or cannot be drawn."""
    found = (record.get(key) for record in records)
    numbers = np.array([math.nan if each is None else each for each in found], np.float64)
    return np.where(np.abs(numbers) < 1e300, numbers, math.nan)


def panel(
    title: str, series: list[tuple[str, str, Array]], epochs: Array, best: int | None
) -> Html:
    """Curves (name, color, values) against epochs, in SVG; the best one's place is ringed."""
    drawn = np.concatenate([values[np.isfinite(values)] for _, _, values in series])
    if not drawn.size:
        return tag("text", f"{title}: not one finite number", x=LEFT, y=14)
    percent = title == "Accuracy"
    logarithmic = bool(not percent and drawn.min() > 0 and drawn.max() > 100 * drawn.min())
    ends = np.log10(drawn) if logarithmic else drawn
    low, high = float(ends.min()), float(ends.max())
    low = low if percent or logarithmic else min(low, 0.0)
    room = 0.04 * (high - low if high - low > 1e-300 else 0.1)
    low, high = low - room * percent, high + room
    first, last = epochs[0] - 0.5, epochs[-1] + 0.5

    def x(epoch: Any) -> Any:
        return LEFT + (WIDE - LEFT - 16) * (epoch - first) / (last - first)

    def y(value: Any) -> Any:
        height = np.log10(value) if logarithmic else value
        return HIGH - BELOW - (HIGH - BELOW - 26) * (height - low) / (high - low)

    words = f"{title}, logarithmic" if logarithmic else title
    parts = [tag("text", words, x=LEFT, y=14, font_weight="bold")]
    for tick in ticks(low, high, logarithmic):
        value = 10.0**tick if logarithmic else tick
        at, word = f"{y(value):.1f}", f"{value:.4g}"
        word = f"{100 * value:.4g} %" if percent else word
        ends_at = {"x1": LEFT, "x2": WIDE - 16, "y1": at, "y2": at}
        parts.append(tag("line", **ends_at, stroke=GRAY, stroke_opacity=0.35))
        parts.append(tag("text", word, x=LEFT - 5, y=at, dy="0.35em", text_anchor="end"))
    for tick in ticks(first, last, True):
        at = f"{x(tick):.1f}"
        parts.append(tag("text", f"{tick:g}", x=at, y=HIGH - BELOW + 15, text_anchor="middle"))
    parts.append(tag("text", "epoch", x=(LEFT + WIDE - 16) // 2, y=HIGH - 4, text_anchor="middle"))
    edge = WIDE - 16
    for name, color, values in reversed(series):
        if not np.isfinite(values).any():
            continue
        parts.append(tag("text", name, x=edge, y=14, fill=color, text_anchor="end"))
        edge -= 6 * len(name) + 6
        kept = np.unique(np.linspace(0, len(values) - 1, min(len(values), POINTS)).round())
        parts += curve(x, y, epochs, values, kept.astype(int), color)
        if best is not None and math.isfinite(values[best]):
            ring = {"cx": f"{x(epochs[best]):.1f}", "cy": f"{y(values[best]):.1f}", "r": 5}
            parts.append(tag("circle", **ring, fill="none", stroke=color, stroke_width=1.5))
    return tag("g", *parts)


def curve(x: Any, y: Any, epochs: Array, values: Array, kept: Array, color: str) -> list[Html]:
    """A line through the points at `kept`, with gaps at NaN; dots where they are few."""
    path, pen, dots = "", "M", []
    for place in kept:
        if not math.isfinite(values[place]):
            pen = "M"
            continue
        across, down = f"{x(epochs[place]):.1f}", f"{y(values[place]):.1f}"
        path, pen = f"{path}{pen}{across} {down}", "L"
        if len(kept) <= 30:
            dots.append(tag("circle", cx=across, cy=down, r=2.2, fill=color))
    return [tag("path", d=path, fill="none", stroke=color, stroke_width=1.6), *dots]


def ticks(low: float, high: float, whole: bool) -> Array:
    """At most six round numbers from low to high.

    >>> ticks(0.07, 0.93, whole=False).round(9).tolist(), ticks(0.5, 3.5, whole=True).tolist()
    ([0.2, 0.4, 0.6, 0.8], [1.0, 2.0, 3.0])
    """
    power = 10.0 ** math.floor(math.log10((high - low) / 3))
    step = next(m * power for m in (1, 2, 5, 10) if high - low <= 5 * m * power)
    step = max(step, 1.0) if whole else step
    return np.arange(math.ceil(low / step), math.floor(high / step) + 1) * step


# --- results and checks ----------------------------------------------------------------------


def evaluation(thing: Any) -> str:
    """The share of right answers as a bar, and the numbers."""
    right = bar(thing.accuracy, GREEN, f"accuracy {thing.accuracy:.2%}")
    rows: list[list[Any]] = [["accuracy", f"{thing.accuracy:.2%}", right]]
    rows += [["loss", f"{thing.loss:.4f}", ""], ["images", f"{thing.images:,}", ""]]
    rows.append(["seconds", f"{thing.seconds:.2f}", ""])
    return frame(thing, table(["", "", ""], rows, "lrl"))


def sanity(thing: Any) -> str:
    """The losses of a sanity check beside that of chance, and the verdict."""
    losses = {
        "loss at chance": (thing.chance_loss, GRAY),
        "first loss": (thing.first_loss, GREEN if thing.starts_at_chance else ORANGE),
        "last loss": (thing.loss, GREEN if thing.overfits else ORANGE),
    }
    most = max((v for v, _ in losses.values() if math.isfinite(v)), default=1.0) or 1.0
    rows = [
        [name, f"{value:.4f}", bar(value / most, color, f"{name} {value:.4f}")]
        for name, (value, color) in losses.items()
    ]
    color, share = GREEN if thing.accuracy == 1.0 else ORANGE, f"{thing.accuracy:.1%}"
    rows.append(["accuracy", share, bar(thing.accuracy, color, f"accuracy {share}")])
    what = f"{thing.images} images, {thing.epochs} epochs.  Verdict: {thing.verdict}"
    return frame(thing, table(["", "", ""], rows, "lrl"), paragraph(what))


def gradients(thing: Any) -> str:
    """The relative error of each gradient, as a bar from 1e-16 to 1; those that are wrong first."""
    rows = []
    for each in sorted(thing.errors, key=lambda each: each.passed)[:ROWS]:
        error, color = max(each.error, each.measured), GREEN if each.passed else ORANGE
        share = 1 + math.log10(max(error, 1e-16)) / 16 if error < 1 else 1.0
        word = f"{error:.1e} {'ok' if each.passed else 'WRONG'}"
        rows.append([cut(each.layer), cut(each.array), word, bar(share, color, word)])
    verdict = str(thing).splitlines()[-1]
    left = len(thing.errors) - len(rows)
    notes = [f"and {left:,} more, all of them behind these in order"] if left else []
    grid = table(["layer", "gradient of", "relative error", "1e-16 to 1"], rows, "llrl")
    return frame(thing, grid, *map(paragraph, [*notes, verdict]))


# --- data ------------------------------------------------------------------------------------


def dataset(thing: Any) -> str:
    """The first images of every class."""
    return frame(thing, classes_of(thing, [thing]))


def splits(thing: Any) -> str:
    """How the images are divided, and the first training images of every class."""
    parts = {"train": thing.train, "validation": thing.validation, "test": thing.test}
    total = sum(map(len, parts.values())) or 1
    rows = [
        [name, f"{len(part):,}", bar(len(part) / total, BLUE, f"{len(part) / total:.1%} of all")]
        for name, part in parts.items()
    ]
    images = classes_of(thing.train, [*parts.values()])
    return frame(thing, table(["", "", ""], rows, "lrl"), images)


@np.errstate(all="ignore")  # and so may pixels
def classes_of(data: Any, parts: Sequence[Any]) -> Html:
    """The first images of each class of `data`, and how many there are in each of the parts."""
    names = data.classes[:CLASSES]
    counts = [np.bincount(part.labels, minlength=len(data.classes)) for part in parts]
    channels, kinds = 3 if data.shape[0] == 3 else 1, max(len(names), 1)
    full = BYTES // (kinds * channels * min(TILE, max(data.shape[1:])) ** 2)
    each = max(1, min(8, 80 // kinds, full))
    side = min(TILE, math.isqrt(BYTES // (kinds * each * channels)))
    found = [np.flatnonzero(data.labels == k)[:each] for k in range(len(names))]
    chosen = (data.images[k].transpose(1, 2, 0) for places in found for k in places)
    small_ones = [small(picture, side) for picture in chosen]
    tiles = iter(gray_or_rgb(small_ones, data.images.dtype == np.uint8))
    cells = []
    for name, places, own in zip(names, found, zip(*counts, strict=True), strict=False):
        there = " / ".join(f"{count:,}" for count in own)
        shown = np.stack([next(tiles) for _ in places]) if len(places) else None
        title = f"{len(places)} of {own[0]:,} images"
        picture = "" if shown is None else image(strip(shown), "png", title)
        words = tag("div", f"{cut(name, 24)}: {there}")
        look = "display:inline-block;vertical-align:top;margin:4px 10px 4px 0"
        cells.append(tag("div", picture, words, style=look))
    if len(data.classes) > CLASSES:
        cells.append(paragraph(f"and {len(data.classes) - CLASSES:,} more classes"))
    return tag("div", *cells, style="font-size:12px")
