"""Writing a file so that it is there whole or not at all."""

from __future__ import annotations

import contextlib
import os
import re
import secrets
import zlib
from pathlib import Path


def write_atomically(path: str | os.PathLike[str], data: bytes) -> Path:
    """Write `data` beside `path`, flush it to the disk, and rename it into place.

    A reader, or a crash, sees the old file or the new one, never half of one.  What a killed
    process has left beside it goes.

    Raises OSError, naming the file and what is still complete, where it cannot be written.
    """
    path = Path(path)
    existed = path.exists()
    # Not tempfile: its files are closed to everybody else, and a rename would keep that.
    unique = f"{_host()}-{os.getpid()}-{secrets.token_hex(4)}"
    temporary = path.with_name(f".{path.name}.{unique}.part")
    try:
        _remove_leftovers(path)
        with open(temporary, "xb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException as error:
        with contextlib.suppress(OSError):
            temporary.unlink()
        if isinstance(error, OSError) and error.errno is not None:
            still = "the file of before is still complete" if existed else "nothing was written"
            reason = f"{os.strerror(error.errno)}, {still}"
            raise OSError(error.errno, reason, str(path)) from error
        raise
    return path


def _host() -> str:
    """Short name of this machine, for processes of others may write into the same folder."""
    name = os.uname().nodename if hasattr(os, "uname") else ""
    return f"{zlib.crc32(name.encode()):08x}"


def _remove_leftovers(path: Path) -> None:
    """Remove the temporary files for `path` whose processes have ended on this machine."""
    if os.name != "posix":  # elsewhere nobody can ask for a process without ending it
        return
    form = re.compile(rf"\.{re.escape(path.name)}\.{_host()}-(\d+)-[0-9a-f]{{8}}\.part")
    with contextlib.suppress(OSError), os.scandir(path.parent) as entries:
        for entry in entries:
            found = form.fullmatch(entry.name)
            if found and not _lives(int(found[1])):
                os.unlink(entry.path)


def _lives(process: int) -> bool:
    try:
        os.kill(process, 0)  # sends nothing
    except ProcessLookupError:
        return False
    except (OSError, OverflowError):
        pass
    return True
