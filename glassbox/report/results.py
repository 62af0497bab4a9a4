"""A run's folder: every file in it is whole or absent, and no run overwrites another."""

import contextlib
import csv
import dataclasses
import errno
import io
import itertools
import json
import math
import os
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from glassbox.atomic import write_atomically

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure, SubFigure

DPI = 110  # a 10-inch figure is then 1,100 pixels wide and its file mostly well under 200 kB
LARGEST = 200_000  # bytes of a picture; photographs may need fewer pixels to keep to it


class Results:
    """The folder of one run, at `path`; make one with `Results.create`.

    A file name may lack its ending and may lie in a subfolder ("previews/epoch_1"); writing the
    same name again replaces the file. Every `write_...` returns the path it wrote.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)

    @classmethod
    def create(
        cls, base: str | os.PathLike[str] = "results", name: str | None = None, stem: str = ""
    ) -> "Results":
        """Make a new folder `base/name` and prove that it can be written.

        base    the folder of all runs; made, with its parents, where it is missing
        name    the run's own folder; by default the local time and `stem`, as in
                "2026-11-21_14-03-22_mnist". A name already taken gets -2, -3, ... appended.
        stem    a word for the default name, such as the data set's

        Raises ValueError for a name that is not a plain folder name, and an OSError such as
        PermissionError where the folder cannot be written; no empty folder is left then. Call it
        before training, so that an hour's work has a place to go.
        """
        if name is None:
            name = datetime.now().strftime("%Y-%m-%d_%H-%M-%S") + (f"_{stem}" if stem else "")
        if name in ("", ".", "..") or any(sign in name for sign in "/\\\0"):
            raise ValueError(
                f"Results: got the run name {name!r}, expected a plain folder name without "
                "slashes; say where with base and what with name"
            )
        root = Path(base)
        made = [folder for folder in (root, *root.parents) if not folder.exists()]
        try:
            root.mkdir(parents=True, exist_ok=True)
            for number in itertools.count(1):
                run = root / (name if number == 1 else f"{name}-{number}")
                with contextlib.suppress(FileExistsError):
                    run.mkdir()  # fails where it exists, so two runs at once cannot share one
                    break
            made.insert(0, run)
            write_atomically(run / "probe", b"can this folder be written?")
            (run / "probe").unlink()
        except BaseException as error:
            for folder in made:
                with contextlib.suppress(OSError):  # never made, or another run moved in meanwhile
                    folder.rmdir()
            if isinstance(error, OSError):
                raise _explained(error, root) from error
            raise
        return cls(run)

    def write_json(self, name: str, object: Any) -> Path:
        """Write `object`, through `as_json`, indented by two and ending in a newline."""
        text = json.dumps(as_json(object), indent=2, ensure_ascii=False, allow_nan=False)
        return self.write_text(_ending(name, ".json"), text + "\n")

    def write_csv(self, name: str, records: Iterable[Mapping[str, Any]]) -> Path:
        """Write records as rows; the columns are all their keys, in the order of appearance.

        What a record lacks, None, NaN and infinity leave an empty cell; lists and dicts are
        written as JSON. No records make an empty file.
        """
        rows = [as_json(record) for record in records]
        columns = list(dict.fromkeys(key for row in rows for key in row))
        buffer = io.StringIO()
        writer = csv.DictWriter(buffer, columns, restval="", lineterminator="\n")
        if columns:
            writer.writeheader()
        for row in rows:
            nested = {k: json.dumps(v) for k, v in row.items() if isinstance(v, list | dict)}
            writer.writerow(row | nested)
        return self.write_text(_ending(name, ".csv"), buffer.getvalue())

    def write_text(self, name: str, text: str) -> Path:
        """Write `text` as UTF-8, exactly as given; ".txt" is added to a name without an ending."""
        path = self._inside(name if Path(name).suffix or not name else name + ".txt")
        # what a path has that is not UTF-8 becomes \udce9, which JSON reads back as it was
        return write_atomically(path, text.encode("utf-8", "backslashreplace"))

    def write_bytes(self, name: str, data: bytes) -> Path:
        """Write `data` exactly as given, under a name with its ending."""
        return write_atomically(self._inside(name), data)

    def _inside(self, name: str) -> Path:
        if not name or Path(name).is_absolute() or ".." in Path(name).parts:
            raise ValueError(
                f"Results: got the file name {name!r}, expected one inside {self.path}; "
                'use a relative name without ".."'
            )
        path = self.path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        return path


def save(figure: "Figure | SubFigure | Axes", path: str | os.PathLike[str], dpi: int = DPI) -> Path:
    """Write the picture that `encode` gives to a file, whole or not at all (then with OSError)."""
    return write_atomically(path, encode(figure, dpi))


def encode(figure: "Figure | SubFigure | Axes", dpi: float = DPI) -> bytes:
    """Draw a figure, or the figure that given axes belong to, and give the bytes of a PNG.

    A picture above 200 kB, such as one full of photographs, is kept in 256 colors; where that is
    not enough, with fewer pixels, though not with less than 50 to the inch: it must stay readable.
    """
    from glassbox.report.canvas import house_style  # slow to import, and loaded with the figure

    root: Any = figure
    while not hasattr(root, "savefig"):  # axes and subfigures know the figure they are part of
        root = root.figure
    while True:
        buffer = io.BytesIO()
        house_style(root.savefig)(buffer, format="png", dpi=dpi)
        if buffer.tell() > LARGEST:
            from PIL import Image  # matplotlib brings it along

            with Image.open(buffer) as picture:
                few = picture.convert("RGB").quantize(256, dither=Image.Dither.NONE)
            buffer = io.BytesIO()
            few.save(buffer, format="PNG", optimize=True)
        if buffer.tell() <= LARGEST or dpi <= 50:
            return buffer.getvalue()
        dpi = max(50, int(0.85 * dpi))


def as_json(object: Any) -> Any:
    """Turn NumPy values, tuples, paths and dataclasses into what JSON knows.

    NaN and infinity become None: JSON has no word for them, and the record of a run that diverged
    must be writable too. A float32 becomes the shortest decimal that reads back as the same
    float32. An object with a method `to_json` is asked for it.

    >>> as_json({"loss": np.float32(0.1), "worst": float("nan"), "shape": (1, np.int64(28))})
    {'loss': 0.1, 'worst': None, 'shape': [1, 28]}

    Raises TypeError for anything else, ValueError for keys that differ only in type (1 and "1").
    """
    if object is None or isinstance(object, str | bool | int):
        return object
    if isinstance(object, np.bool_ | np.integer):
        return object.item()
    if isinstance(object, float | np.floating):
        return float(str(object)) if math.isfinite(object) else None
    if hasattr(object, "to_json"):
        return as_json(object.to_json())
    if dataclasses.is_dataclass(object) and not isinstance(object, type):
        fields = dataclasses.fields(object)
        return {field.name: as_json(getattr(object, field.name)) for field in fields}
    if isinstance(object, Mapping):
        odd = [
            k for k in object if not isinstance(k, str | int | np.integer) or isinstance(k, bool)
        ]
        if odd:
            expected = "expected a string or an integer; use str(key)"
            raise TypeError(f"as_json: got the key {odd[0]!r}, {expected}")
        plain = {str(key): as_json(value) for key, value in object.items()}
        if len(plain) != len(object):
            raise ValueError(f"as_json: two keys of {list(object)} read the same; rename one")
        return plain
    if isinstance(object, np.ndarray):
        return as_json(object.item()) if object.ndim == 0 else [as_json(item) for item in object]
    if isinstance(object, Sequence) and not isinstance(object, bytes | bytearray):
        return [as_json(item) for item in object]
    if isinstance(object, os.PathLike):
        return os.fspath(object)
    raise TypeError(
        f"as_json: got {type(object).__name__}, expected numbers, strings, lists, dicts, arrays "
        "or dataclasses; convert it or give it a method to_json()"
    )


def _ending(name: str, ending: str) -> str:
    # Not Path.suffix: in "preview_0.25" the ending would be ".25".
    return name if name.endswith(ending) or not name else name + ending


def _explained(error: OSError, base: Path) -> OSError:
    code = error.errno or 0
    reason = os.strerror(code) if code else str(error)
    if isinstance(error, FileExistsError | NotADirectoryError):
        code, reason = errno.ENOTDIR, "a file is in the way"
    problem = f"cannot write results into {str(base)!r}: {reason}"
    advice = "expected a folder that can be written; choose another one (--output elsewhere)"
    return OSError(code, f"{problem}; {advice}")  # of the subclass that the number tells
