"""How a function is compiled: once for a kind of processor, kept on disk, free of Python's lock."""

from __future__ import annotations

import hashlib
import os
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numba
from numba.core import caching, event

FOLDER_VARIABLE = "GLASSBOX_KERNELS"


def _places() -> list[Path]:
    """Where compiled code may be kept, best first: a folder for every version of these sources.

    Numba only looks at the file that a function stands in to see whether it has changed; here the
    text of all of them is in the folder's name, and Numba's version, so that two environments do
    not keep undoing each other's work.
    """
    here = Path(__file__).parent
    text = hashlib.sha256(numba.__version__.encode())
    for source in sorted(here.glob("*.py")):
        text.update(source.read_bytes())
    name = f"kernels-{text.hexdigest()[:16]}"
    if os.environ.get(FOLDER_VARIABLE):
        return [Path(os.environ[FOLDER_VARIABLE]) / name]
    beside = here / "__pycache__" / name
    try:
        usual = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "glassbox"
    except RuntimeError:  # a user without a home, as in some containers
        return [beside]
    return [usual / name, beside]


def _folder() -> tuple[Path, str]:
    """The first of these places that can be written to, or why the first one cannot."""
    problems = []
    for place in _places():
        try:
            place.mkdir(parents=True, exist_ok=True)
            tempfile.TemporaryFile(dir=place).close()
        except OSError as error:
            problems.append((place, error.strerror or type(error).__name__))
        else:
            return place, ""
    return problems[0]


class _Notice(event.Listener):
    """Says, once, that time is spent on compiling, and where the result is kept."""

    def __init__(self) -> None:
        self.said, self.damaged = False, False

    def on_start(self, event: Any) -> None:
        """The first function that is not on disk yet."""
        if not self.said:
            self.said = True
            why = ", since what was kept is damaged" if self.damaged else ""
            how = f"some seconds, only this once (kept in {FOLDER})"
            if PROBLEM:
                how = (
                    f"some seconds in every run, for it cannot be kept in {FOLDER} ({PROBLEM}); "
                    f"{FOLDER_VARIABLE} may name another folder"
                )
            _say(f"Compiling the layers for this processor{why}: {how}.")

    def on_end(self, event: Any) -> None:
        """Nothing to say."""


def _say(sentence: str) -> None:
    if sys.stderr is not None:
        print(sentence, file=sys.stderr, flush=True)


FOLDER, PROBLEM = _folder()
NOTICE = _Notice()
event.register("numba:compile", NOTICE)


class _CheckedFile(caching.IndexDataCacheFile):
    """Numba's index and machine code, each with a hash before it, and not read without.

    Damaged machine code would end the process, and a damaged pickle may do anything.
    """

    def _load_index(self) -> Any:
        version, stamp, overloads = self._load(self._index_path) or (None, None, {})
        return overloads if (version, stamp) == (self._version, self._source_stamp) else {}

    def _save_index(self, overloads: Any) -> None:
        self._save(self._index_path, (self._version, self._source_stamp, overloads))

    def _load_data(self, name: str) -> Any:
        return self._load(self._data_path(name))

    def _save_data(self, name: str, data: Any) -> None:
        self._save(self._data_path(name), data)

    def _load(self, path: str) -> Any:
        """The object in a file; None where there is none, or not what was written."""
        try:
            with open(path, "rb") as file:
                digest, data = file.read(32), file.read()
        except FileNotFoundError:
            return None
        except OSError:
            digest, data = b"", b""
        if hashlib.sha256(data).digest() != digest:
            NOTICE.damaged = True
            return None
        return caching.pickle.loads(data)

    def _save(self, path: str, thing: Any) -> None:
        data = self._dump(thing)
        with self._open_for_write(path) as file:
            file.write(hashlib.sha256(data).digest() + data)


class _Locator(caching.UserProvidedCacheLocator):
    """Where a function of these modules is kept."""

    def get_cache_path(self) -> str:
        """Return the folder."""
        return str(FOLDER)

    @classmethod
    def from_function(cls, function: Any, file: str) -> _Locator:
        """Return the place of a function."""
        return cls(function, file)


class _Files(caching.CompileResultCacheImpl):
    """How compiled code becomes bytes, and where these are kept."""


_Files._locator_classes = [_Locator]


class _Cache(caching.FunctionCache):
    """Numba's cache with checked files; a fault while writing only costs the next run its time."""

    _impl_class = _Files

    def __init__(self, function: Any) -> None:
        super().__init__(function)
        files = self._impl
        self._cache_file = _CheckedFile(
            str(FOLDER), files.filename_base, files.locator.get_source_stamp()
        )

    def save_overload(self, sig: Any, data: Any) -> None:
        """Keep what was compiled."""
        try:
            super().save_overload(sig, data)
        except OSError as error:
            _say(f"Compiled code cannot be kept in {FOLDER} ({error.strerror}).")


def compiled(function: Callable[..., Any]) -> Any:
    """`function` as machine code that runs without Python's lock.

    Nothing is reordered (no `fastmath`): the same arrays give the same bits.
    """
    made: Any = numba.njit(function, nogil=True, error_model="numpy")
    if not PROBLEM:
        made._cache = _Cache(function)
    return made
