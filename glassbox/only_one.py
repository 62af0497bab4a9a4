"""One process at a time in a folder, by a lock of the system, which ends with the process."""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

LOCK = ".lock"  # on Windows, where a folder itself cannot be locked
TAKEN = (errno.EACCES, errno.EAGAIN, errno.EDEADLK)


@contextmanager
def only_one(folder: str | os.PathLike[str]) -> Iterator[None]:
    """Have a folder to oneself inside.

    Raises ValueError where another process has it.  Where the system or the disk knows no locks,
    nobody is kept out.
    """
    place = Path(folder) / LOCK if sys.platform == "win32" else Path(folder)
    number = os.open(place, os.O_RDWR | os.O_CREAT if sys.platform == "win32" else os.O_RDONLY)
    try:
        try:
            if sys.platform == "win32":
                import msvcrt

                msvcrt.locking(number, msvcrt.LK_NBLCK, 1)
            else:
                import fcntl

                fcntl.flock(number, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            if error.errno in TAKEN:
                raise ValueError(
                    f"another process is working in {str(folder)!r}; wait for its end, or stop it"
                ) from error
        yield
    finally:
        os.close(number)
        if sys.platform == "win32":
            with suppress(OSError):  # another process may have opened it since
                place.unlink()
