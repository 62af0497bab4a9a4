"""Reading folders: pictures in one subfolder for each class, or a set of IDX files."""

from __future__ import annotations

import io
import os
import warnings
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from glassbox.data.dataset import UNLABELED
from glassbox.data.readers import existing, room
from glassbox.data.suspicions import check_skipped
from glassbox.errors import short

PICTURES = {".png", ".jpg", ".jpeg"}
MOST_SIDE = 2**16  # pixels of a resized picture


def read_folder(
    path: str | Path, size: int | tuple[int, int] | None = None, gray: bool = True
) -> tuple[NDArray[np.uint8], NDArray[np.int64], tuple[str, ...]]:
    """Read images (samples, channels, height, width), labels, and classes named as the subfolders.

    path : a folder with one subfolder of PNG or JPEG files for each class, taken in sorted order;
        pictures in a folder without subfolders have no labels, and the classes are `UNLABELED`
    size : (height, width) or one number for both; pictures are resized to fit into it, and what is
        left of it gets the color of their border
    gray : one channel of gray, else three of red, green and blue

    A picture may unpack to its `room`; without `size` so may the whole folder.

    Raises FileNotFoundError, and ValueError for no or empty subfolders, for files that are not
    pictures or unpack to too much, for links that lead out of the folder, and for pictures of
    different sizes without a `size`.
    """
    path = existing(path, folder=True)
    folders = [p for p in sorted(path.iterdir()) if p.is_dir() and not p.name.startswith(".")]
    flat = not folders and any(p.suffix.lower() in PICTURES for p in path.iterdir())
    if not folders and not flat:
        raise ValueError(f"{str(path)!r}: expected one subfolder of pictures for each class")
    pair = (size, size) if isinstance(size, int) else size
    if pair is not None and not (
        isinstance(pair, tuple | list)
        and len(pair) == 2
        and all(isinstance(n, int) and 1 <= n <= MOST_SIDE for n in pair)
    ):
        raise ValueError(
            f"size must be (height, width) in whole pixels up to {MOST_SIDE}, got {short(size)}"
        )
    images: list[NDArray[np.uint8]] = []
    labels: list[int] = []
    first, packed, unpacked = path, 0, 0
    for label, file in _pictures(path, [path] if flat else folders):
        first = file if not images else first
        picture = read_picture(file, pair, gray)
        if images and picture.shape != images[0].shape:
            sides = ("{} x {}".format(*one.shape[1:]) for one in (picture, images[0]))
            here, there = (f"{side} pixels (height x width)" for side in sides)
            raise ValueError(
                f"{str(file)!r} has {here}, but {str(first)!r} has {there}; give "
                "size=(height, width), or --size on the command line, to resize them all"
            )
        packed, unpacked = packed + file.stat().st_size, unpacked + picture.nbytes
        if pair is None and unpacked > room(packed):
            raise ValueError(
                f"{str(path)!r}: {len(images) + 1:,} pictures unpack from {packed:,} to "
                f"{unpacked:,} bytes, which is too many; give size=(height, width)"
            )
        images.append(picture)
        labels.append(label)
    # Bytes of a name that are not UTF-8 become \\xe9, since no page can show them.
    names = (os.fsencode(each.name).decode("utf-8", "backslashreplace") for each in folders)
    return np.stack(images), np.array(labels), UNLABELED if flat else tuple(names)


def _pictures(root: Path, folders: list[Path]) -> Iterator[tuple[int, Path]]:
    """Yield the label and the path of every picture."""
    skipped: list[Path] = []
    for label, folder in enumerate(folders):
        stay_inside(folder, root)
        there = sorted(p for p in folder.iterdir() if not p.name.startswith("."))
        files = [p for p in there if p.suffix.lower() in PICTURES]
        skipped += [p for p in there if p.suffix.lower() not in PICTURES]
        if not files:
            raise ValueError(f"{str(folder)!r}: no PNG or JPEG files in this subfolder")
        yield from ((label, stay_inside(file, root)) for file in files)
    check_skipped(skipped, root)


def stay_inside(path: Path, root: Path) -> Path:
    """Give the path; ValueError for a link that leads out of the folder `root`.

    A folder may come from anywhere, and must not make files from outside part of the data.
    """
    real, outer = (Path(os.path.realpath(one)) for one in (path, root))
    if path.is_symlink() and not real.is_relative_to(outer):
        place = f"{str(path)!r} is a link that leads out of {str(root)!r}"
        raise ValueError(f"{place}; put a copy in its place")
    return path


def read_picture(
    path: Path, size: tuple[int, int] | None = None, gray: bool = True
) -> NDArray[np.uint8]:
    """Read one picture as (channels, height, width); transparent parts are laid on white.

    Raises FileNotFoundError, and ValueError for what is not a PNG or JPEG file, or unpacks to more
    than the `room` of its file.
    """
    path = existing(path)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of large and odd files; what matters is an error
            return _decoded(path.read_bytes(), size, gray)
    except Exception as error:  # Pillow lets through whatever its parsers trip over
        raise ValueError(f"{str(path)!r} cannot be read as a picture: {error}") from error


def _decoded(content: bytes, size: tuple[int, int] | None, gray: bool) -> NDArray[np.uint8]:
    from PIL import Image, ImageOps  # only those who read pictures wait for this import

    if not content.startswith((b"\x89PNG", b"\xff\xd8")):
        raise ValueError("it does not begin as a PNG or JPEG file does")
    # From memory: of a file, Pillow would make room for whatever length a part of it claims.
    with Image.open(io.BytesIO(content), formats=("PNG", "JPEG")) as file:
        if 4 * file.width * file.height > room(len(content)):
            raise ValueError(
                f"{file.width:,} x {file.height:,} pixels in a file of {len(content):,} bytes are "
                "too many; save it smaller"
            )
        picture = ImageOps.exif_transpose(file)
    if picture.mode.startswith("I"):  # 16 bits a pixel, of which Pillow would keep the lower 8
        deep = np.asarray(picture)
        seen = np.where(deep == picture.info.get("transparency", -1), 255, deep // 257)
        picture = Image.fromarray(seen.astype(np.uint8))
    if picture.has_transparency_data:
        picture = picture.convert("RGBA")
        picture = Image.alpha_composite(Image.new("RGBA", picture.size, "white"), picture)
    picture = picture.convert("L" if gray else "RGB")
    if size is not None:
        border = _border(np.asarray(picture))
        picture = ImageOps.pad(picture, size[::-1], Image.Resampling.BILINEAR, border)
    values = np.asarray(picture, dtype=np.uint8)
    return values[None] if gray else values.transpose(2, 0, 1)


def _border(values: NDArray[np.uint8]) -> tuple[int, ...]:
    """The median color of a picture's outermost pixels."""
    edges = (values[0], values[-1], values[:, 0], values[:, -1])
    flat = [edge.reshape(len(edge), -1) for edge in edges]
    return tuple(int(level) for level in np.median(np.concatenate(flat), axis=0))


def find_idx_files(path: str | Path) -> list[Path]:
    """Find the IDX files in a folder: [images, labels], and the test file's two; [] without any.

    Their names are those of MNIST and EMNIST: ``...images-idx3-ubyte`` and
    ``...labels-idx1-ubyte``, with ``t10k`` or ``test`` for the test file, each plain or ``.gz``.

    Raises ValueError when labels are missing, when several sets lie in one folder, and for a link
    that leads out of it.
    """
    path = existing(path, folder=True)
    images = [p for p in sorted(path.iterdir()) if "images-idx3" in p.name and p.is_file()]
    images = [p for p in images if p.suffix == ".gz" or p.with_name(p.name + ".gz") not in images]
    test = [p for p in images if "t10k" in p.name or "test" in p.name]
    train = [p for p in images if p not in test]
    if not images:
        return []
    if len(test) > 1 or len(train) > 1:
        names = ", ".join(p.name for p in images)
        raise ValueError(f"{str(path)!r} holds several sets ({names}); name the files by from_idx")
    files = []
    for file in train + test:
        name = file.name.replace("images-idx3", "labels-idx1").removesuffix(".gz")
        beside = [p for p in (path / f"{name}.gz", path / name) if p.is_file()]
        if not beside:
            raise ValueError(f"{str(file)!r} has no labels beside it: expected {name} or {name}.gz")
        files += [file, beside[0]]
    return [stay_inside(file, path) for file in files]
