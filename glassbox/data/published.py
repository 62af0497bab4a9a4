"""The files that MNIST and Fashion-MNIST consist of, and finding them on this computer.

A set lies in its own folder below the data folder, as in mnist/train-images-idx3-ubyte.gz
and three more, each plain or as .gz. Both sets use the same names, so a name proves nothing: the
unpacked content is hashed at each loading (a tenth of a second). Files right in the data folder are
taken too where the hash fits.
"""

from __future__ import annotations

import functools
import hashlib
import os
import tempfile
import warnings
from pathlib import Path

from glassbox.data.download import LARGEST, DataUnavailable, fetch_all
from glassbox.data.readers import unpack

FOLDER_VARIABLE = "GLASSBOX_DATA"
TITLES = {"mnist": "MNIST", "fashion-mnist": "Fashion-MNIST"}
TRAIN_IMAGES, TRAIN_LABELS = "train-images-idx3-ubyte", "train-labels-idx1-ubyte"
TEST_IMAGES, TEST_LABELS = "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"

# sha256 of the unpacked files
CONTENTS: dict[str, dict[str, str]] = {
    "mnist": {
        TRAIN_IMAGES: "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
        TRAIN_LABELS: "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
        TEST_IMAGES: "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
        TEST_LABELS: "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
    },
    "fashion-mnist": {
        TRAIN_IMAGES: "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888",
        TRAIN_LABELS: "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9",
        TEST_IMAGES: "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b",
        TEST_LABELS: "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34",
    },
}

MIRRORS: dict[str, tuple[str, ...]] = {
    "mnist": ("https://ossci-datasets.s3.amazonaws.com/mnist/",
              "https://storage.googleapis.com/cvdf-datasets/mnist/"),
    "fashion-mnist": (
        "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",  # the hash guards it
        "https://storage.googleapis.com/tensorflow/tf-keras-datasets/",
        "https://raw.githubusercontent.com/zalandoresearch/fashion-mnist/master/data/fashion/",
    ),
}  # fmt: skip


def cache_folder() -> Path:
    """Give the folder in the user's home where downloads go unless another is named."""
    import pooch  # a tenth of a second, spared those who name a folder

    return Path(pooch.os_cache("glassbox"))


def obtain(name: str, folder: str | Path | None = None, download: bool = True) -> dict[str, bytes]:
    """Give the unpacked content of each file of a set, from the data folder or the network.

    A damaged file in a folder that the user named is an error, since it is not ours to replace;
    in the cache folder it is downloaded again. A named folder that cannot be written to is left
    alone, with a warning, and the cache folder used instead.

    Raises ValueError for a damaged file, DataUnavailable when files are missing and cannot be
    downloaded or may not (``download=False``).
    """
    named = folder or os.environ.get(FOLDER_VARIABLE)
    place = Path(named).expanduser() if named else cache_folder()
    found = _look(name, place, replace_damaged=not named)
    if len(found) < len(CONTENTS[name]) and download and named and not _writable(place):
        unwritable, place = place, cache_folder()
        instead = f"using {str(place)!r} for the files of {TITLES[name]}"
        warnings.warn(
            f"the data folder {str(unwritable)!r} cannot be written to; {instead}", stacklevel=3
        )
        found = _look(name, place, replace_damaged=True) | found
    missing = [file for file in CONTENTS[name] if file not in found]
    if not missing:
        return found
    target = place / name
    were = "was" if len(missing) == 1 else "were"
    problem = f"{TITLES[name]}: {', '.join(missing)} {were} not found in {str(target)!r}"
    remedy = (
        f"Put the files into {str(target)!r} (unpacked, or packed as .gz), or name the folder "
        f"above it by folder=... or by the environment variable {FOLDER_VARIABLE}."
    )
    if not download:
        raise DataUnavailable(f"{problem}, and download=False forbids fetching. {remedy}")
    check = functools.partial(verify, name)
    return found | fetch_all(MIRRORS[name], missing, target, check, problem, remedy)


def verify(name: str, file: str, content: bytes, source: str = "what was sent") -> bytes:
    """Unpack the content and compare its hash; ValueError says what was found instead."""
    unpacked = unpack(content, source, limit=LARGEST)
    expected, found = CONTENTS[name][file], hashlib.sha256(unpacked).hexdigest()
    if found == expected:
        return unpacked
    names = {digest: (each, kind) for kind in CONTENTS for each, digest in CONTENTS[kind].items()}
    if found in names:
        other_file, other = names[found]
        raise ValueError(f"{source}: this is {other_file} of {TITLES[other]}")
    raise ValueError(
        f"{source}: the {len(unpacked):,} unpacked bytes have sha256 {found}, "
        f"expected {expected} for {file} of {TITLES[name]}"
    )


def _look(name: str, place: Path, replace_damaged: bool) -> dict[str, bytes]:
    """Give the verified contents that are there already."""
    found = {}
    for file in CONTENTS[name]:
        damage: ValueError | None = None
        own = [place / name / file, place / name / f"{file}.gz"]
        for path in (*own, place / file, place / f"{file}.gz"):
            if file in found or not path.is_file():
                continue
            try:
                found[file] = verify(name, file, path.read_bytes(), repr(str(path)))
            except ValueError as error:
                if path in own:  # a file right in the data folder very likely is of another set
                    damage = error
        if damage and file not in found and not replace_damaged:
            raise ValueError(
                f"{damage}. Delete this file and run again to download it."
            ) from damage
    return found


def _writable(place: Path) -> bool:
    """Whether files can be put into the folder, found out by doing so."""
    try:
        place.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=place):
            return True
    except OSError:
        return False
