"""Reading files that others made: plain files only, and no links that lead out of a folder."""

from __future__ import annotations

import os
import stat
from pathlib import Path


def read_file(path: str | os.PathLike[str]) -> bytes:
    """Return the content of a plain file.

    A pipe would be waited for, and a device such as /dev/zero never ends: ValueError.
    Raises OSError where the file cannot be read.
    """

    def opened(name: str, flags: int) -> int:
        return os.open(name, flags | getattr(os, "O_NONBLOCK", 0))  # does not wait for a writer

    with open(path, "rb", buffering=0, opener=opened) as file:
        if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            raise ValueError(f"{path}: a pipe or a device, expected a file; copy it to a file")
        return file.readall()


def refuse_links_out(folder: str | os.PathLike[str]) -> None:
    """Raise ValueError where an entry of a folder is a link to a folder outside.

    What is written there would be written through the link.
    """
    root = Path(os.path.realpath(folder))
    for path in sorted(root.iterdir() if root.is_dir() else ()):
        outside = not Path(os.path.realpath(path)).is_relative_to(root)
        if path.is_symlink() and path.is_dir() and outside:
            raise ValueError(
                f"{path} is a link that leads out of {folder}; put a folder in its place"
            )
