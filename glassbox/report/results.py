"""A run's folder: every file in it is whole or absent, and no run overwrites another."""

import csv
import dataclasses
import errno
import io
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

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as base:
    ...     results = Results.create(base, "demo")
    ...     path = results.write_csv("history", [{"epoch": 1, "loss": 0.5}])
    ...     print(path.name, path.read_text().split())
    history.csv ['epoch,loss', '1,0.5']
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)

    def __repr__(self) -> str:
        return f"Results({str(self.path)!r})"

    @classmethod
    def create(
        cls, base: str | os.PathLike[str] = "results", name: str | None = None, stem: str = ""
    ) -> "Results":
        """Make a new folder `base/name` and prove that it can be written.

        base    the folder of all runs; made, with its parents, where it is missing
        name    the run's own folder; by default the local time and `stem`, as in
                "2026-11-21_14-03-22_mnist". A name already taken gets -2, -3, ... appended.
        stem    a word for the default name, such as the data set's

        Raises ValueError for a name that is not a plain folder name, and PermissionError,
        NotADirectoryError or another OSError where the folder cannot be written; nothing
        half-made is left then. Call it before training, so that an hour's work has a place to go.
        """
        if name is None:
            name = datetime.now().strftime("%Y-%m-%d_%H-%M-%S") + (f"_{stem}" if stem else "")
        if name in ("", ".", "..") or any(sign in name for sign in "/\\\0"):
            raise ValueError(
                f"Results: got the run name {name!r}, expected a plain folder name without "
                "slashes; say where with base and what with name"
            )
        made: list[Path] = []
        try:
            _make_folders(Path(base), made)
            run = _make_free_folder(Path(base), name, made)
            write_atomically(run / "probe", b"can this folder be written?")
            (run / "probe").unlink()
        except BaseException as error:
            for folder in reversed(made):
                try:
                    folder.rmdir()
                except OSError:  # another run moved in meanwhile: the folder is its now
                    break
            if isinstance(error, OSError):
                raise _explained(error, Path(base)) from error
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
            writer.writerow(
                {k: json.dumps(v) if isinstance(v, list | dict) else v for k, v in row.items()}
            )
        return self.write_text(_ending(name, ".csv"), buffer.getvalue())

    def write_text(self, name: str, text: str) -> Path:
        """Write `text` as UTF-8, exactly as given; ".txt" is added to a name without an ending."""
        path = self._inside(name if Path(name).suffix or not name else name + ".txt")
        return write_atomically(path, text.encode("utf-8"))

    def write_figure(self, name: str, figure: "Figure | SubFigure | Axes") -> Path:
        """Write a figure, or the figure that given axes belong to, as PNG."""
        return self.write_bytes(_ending(name, ".png"), encode(figure))

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
    """Write a figure, or the figure that given axes belong to, as a PNG file, whole or not at all.

    It is the picture that `encode` gives. Raises OSError where the file cannot be written; what
    stood there before is then untouched.
    """
    return write_atomically(path, encode(figure, dpi))


def encode(figure: "Figure | SubFigure | Axes", dpi: float = DPI) -> bytes:
    """Draw a figure, or the figure that given axes belong to, and give the bytes of a PNG.

    A picture above 200 kB, such as one full of photographs, is kept in 256 colors; where that is
    not enough, with fewer pixels, though not with less than 50 to the inch: it must stay readable.
    """
    root: Any = figure
    while not hasattr(root, "savefig"):  # axes and subfigures know the figure they are part of
        root = root.figure
    while True:
        buffer = io.BytesIO()
        root.savefig(buffer, format="png", dpi=dpi)
        data = buffer.getvalue()
        if len(data) > LARGEST:
            data = _in_few_colors(data)
        if len(data) <= LARGEST or dpi <= 50:
            return data
        dpi = max(50, int(0.85 * dpi))


def _in_few_colors(png: bytes) -> bytes:
    from PIL import Image  # matplotlib brings it along

    with Image.open(io.BytesIO(png)) as picture:
        few = picture.convert("RGB").quantize(256, dither=Image.Dither.NONE)
    buffer = io.BytesIO()
    few.save(buffer, format="PNG", optimize=True)
    return buffer.getvalue()


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
        return _json_object(object)
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


def _json_object(mapping: Mapping[Any, Any]) -> dict[str, Any]:
    for key in mapping:
        if not isinstance(key, str | int | np.integer) or isinstance(key, bool):
            raise TypeError(
                f"as_json: got the key {key!r}, expected a string or an integer; use str(key)"
            )
    plain = {str(key): as_json(value) for key, value in mapping.items()}
    if len(plain) != len(mapping):
        raise ValueError(f"as_json: two keys of {list(mapping)} read the same; rename one")
    return plain


def _ending(name: str, ending: str) -> str:
    # Not Path.suffix: in "preview_0.25" the ending would be ".25".
    return name if name.endswith(ending) or not name else name + ending


def _make_folders(folder: Path, made: list[Path]) -> None:
    if folder.is_dir():
        return
    if folder.parent != folder:
        _make_folders(folder.parent, made)
    try:
        folder.mkdir()
    except FileExistsError:
        if not folder.is_dir():  # else another run was a moment faster
            raise
    else:
        made.append(folder)


def _make_free_folder(base: Path, name: str, made: list[Path]) -> Path:
    number = 1
    while True:
        run = base / (name if number == 1 else f"{name}-{number}")
        try:
            run.mkdir()  # fails where it exists, so two runs at once cannot share one
        except FileExistsError:
            number += 1
        else:
            made.append(run)
            return run


def _explained(error: OSError, base: Path) -> OSError:
    code = error.errno or 0
    reason = os.strerror(code) if code else str(error)
    if isinstance(error, FileExistsError | NotADirectoryError):
        code, reason = errno.ENOTDIR, "a file is in the way"
    # OSError picks the subclass (PermissionError, ...) from the number.
    return OSError(
        code,
        f"cannot write results into {str(base)!r}: {reason}; expected a folder that can be "
        "written; free it or choose another one (--output elsewhere)",
    )
