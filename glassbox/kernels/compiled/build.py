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
from numba.core.compiler_lock import global_compiler_lock

from glassbox.atomic import write_atomically
from glassbox.kernels.compiled.processor import PROCESSOR
from glassbox.regular_file import read_file

FOLDER_VARIABLE = "GLASSBOX_KERNELS"


def _places() -> list[Path]:
    """Where compiled code may be kept, best first: a folder for these sources and their blocks.

    Numba only looks at the file that a function stands in to see whether it has changed; here the
    text of all of them is in the folder's name, Numba's version, so that two environments do not
    keep undoing each other's work, and the processor's registers, which the blocks follow.
    """
    here = Path(__file__).parent
    text = hashlib.sha256(f"{numba.__version__} {PROCESSOR}".encode())
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
        self.said, self.damaged, self.lost = False, False, False

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

    def on_loss(self, error: OSError) -> None:
        """The first function that cannot be written to the disk."""
        if not self.lost:
            self.lost = True
            _say(
                f"Compiled code cannot be kept: {error.filename}: {os.strerror(error.errno or 0)}."
            )


def _say(sentence: str) -> None:
    if sys.stderr is not None:
        print(sentence, file=sys.stderr, flush=True)


FOLDER, PROBLEM = _folder()
NOTICE = _Notice()
event.register("numba:compile", NOTICE)


if hasattr(os, "register_at_fork"):
    # A thread that compiles is not in the fork: it would hold the lock there for ever.
    os.register_at_fork(
        before=global_compiler_lock.acquire,
        after_in_parent=global_compiler_lock.release,
        after_in_child=global_compiler_lock.release,
    )


class _CheckedFiles:
    """Machine code, a file for each function and types of arguments, with a hash, not read without.

    Damaged machine code would end the process, and a damaged pickle may do anything.  The hash is
    of the name, too, which tells what the code is of: no file stands for another.
    """

    def __init__(self, name: str) -> None:
        self._name = name

    def load(self, key: Any) -> Any:
        """The object that was saved; None where there is none, or not what was written."""
        path = self._path(key)
        try:
            content = read_file(path)
        except FileNotFoundError:
            return None
        except (OSError, ValueError):
            content = b""
        if content[:32] != _digest(path, content[32:]):
            NOTICE.damaged = True
            return None
        return caching.pickle.loads(content[32:])

    def save(self, key: Any, thing: Any) -> None:
        """Keep an object."""
        path, data = self._path(key), caching.dumps(thing)
        write_atomically(path, _digest(path, data) + data)

    def _path(self, key: Any) -> Path:
        return FOLDER / f"{self._name}.{hashlib.sha256(repr(key).encode()).hexdigest()[:16]}.nbc"


def _digest(path: Path, data: bytes) -> bytes:
    return hashlib.sha256(path.name.encode() + data).digest()


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
        self._cache_file = _CheckedFiles(self._impl.filename_base)

    def save_overload(self, sig: Any, data: Any) -> None:
        """Keep what was compiled."""
        try:
            super().save_overload(sig, data)
        except OSError as error:
            NOTICE.on_loss(error)


def compiled(function: Callable[..., Any]) -> Any:
    """`function` as machine code that runs without Python's lock.

    Nothing is reordered (no `fastmath`): the same arrays give the same bits.
    """
    made: Any = numba.njit(function, nogil=True, error_model="numpy")
    if not PROBLEM:
        made._cache = _Cache(function)
    return made
