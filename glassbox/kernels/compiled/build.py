"""How a function is compiled: once for a kind of processor, kept on disk, free of Python's lock."""

from __future__ import annotations

import hashlib
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numba
from numba.core import event

FOLDER_VARIABLE = "GLASSBOX_KERNELS"


def _folder() -> Path:
    """Where compiled code is kept: a folder for every version of these sources.

    Numba only looks at the file that a function stands in to see whether it has changed; here the
    text of all of them is in the folder's name, and Numba's version, so that two environments do
    not keep undoing each other's work.
    """
    sources = sorted(Path(__file__).parent.glob("*.py"))
    text = hashlib.sha256(numba.__version__.encode())
    for source in sources:
        text.update(source.read_bytes())
    usual = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "glassbox"
    return Path(os.environ.get(FOLDER_VARIABLE) or usual) / f"kernels-{text.hexdigest()[:16]}"


class _Notice(event.Listener):
    """Says, once, that time is spent on compiling, and where the result is kept."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.said = folder, False

    def on_start(self, event: Any) -> None:
        """The first function that is not on disk yet."""
        if not self.said:
            self.said = True
            print(
                "Compiling the layers for this processor: some seconds, only this once "
                f"(kept in {self.folder}).",
                file=sys.stderr,
                flush=True,
            )

    def on_end(self, event: Any) -> None:
        """Nothing to say."""


FOLDER = _folder()
event.register("numba:compile", _Notice(FOLDER))


def compiled(function: Callable[..., Any]) -> Any:
    """`function` as machine code that runs without Python's lock.

    Nothing is reordered (no `fastmath`): the same arrays give the same bits.
    """
    config: Any = numba.config
    before = config.CACHE_DIR
    config.CACHE_DIR = str(FOLDER)  # read when `cache=True` is met
    try:
        return numba.njit(function, nogil=True, cache=True, error_model="numpy")
    finally:
        config.CACHE_DIR = before
