"""How an error is told: one sentence if this library raised it on purpose, else where it happened.

An error of a user's own code, be it a ValueError, is shown with the calls that led to it, from the
user's file on.
"""

from __future__ import annotations

import dis
import sysconfig
import traceback
from pathlib import Path
from types import TracebackType

from glassbox.engine.failing import frames, name_layer

ROOT = Path(__file__).resolve().parents[2]
OURS = {ROOT / f"{name}.py" for name in ("CNN", "Filters", "MLP", "Datasets")}
PACKAGE = ROOT / "glassbox"
OTHERS = {Path(path).resolve() for path in sysconfig.get_paths().values()}


def told(error: Exception) -> str:
    """What to print of an error that ended a run.

    Raised by a `raise` in this library, or by the operating system while the library read or wrote
    a file: "error: " and its message, with the user's file and line if it came through one.
    Otherwise: the traceback, starting at the user's file, with the layer that was being run.
    """
    name_layer(error)
    links = list(frames(error))[1:]  # the first one is that of whoever asks
    own = [link for link in links if _is_the_users(link)]
    if not links or _is_on_purpose(error, links):
        where = f" ({Path(_file(own[-1])).name}, line {own[-1].tb_lineno})" if own else ""
        notes = "".join(f"\n{note}" for note in getattr(error, "__notes__", ()))
        return f"error: {error}{where}{notes}"
    start = own[0] if own else links[0]
    return "".join(traceback.format_exception(type(error), error, start)).rstrip()


def _is_on_purpose(error: Exception, links: list[TracebackType]) -> bool:
    last = links[-1]
    if isinstance(error, OSError):
        last = next((link for link in reversed(links) if not _is_of(link, OTHERS)), last)
        return _is_ours(last)
    code = last.tb_frame.f_code.co_code
    return _is_ours(last) and dis.opname[code[last.tb_lasti]] == "RAISE_VARARGS"


def _file(link: TracebackType) -> str:
    return link.tb_frame.f_code.co_filename


def _is_ours(link: TracebackType) -> bool:
    path = Path(_file(link)).resolve()
    return path in OURS or path.is_relative_to(PACKAGE)


def _is_of(link: TracebackType, folders: set[Path]) -> bool:
    name, path = _file(link), Path(_file(link)).resolve()
    return name.startswith("<frozen") or any(path.is_relative_to(folder) for folder in folders)


def _is_the_users(link: TracebackType) -> bool:
    return not _is_ours(link) and not _is_of(link, OTHERS)
