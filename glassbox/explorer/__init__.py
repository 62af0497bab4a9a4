"""The explorer: see any network think, in a browser, a notebook or a single file.

One front end (`front/explorer.js`) draws a network's layers for an image, and asks what it wants to
know of a host: the page (`page.py`) and the notebook (`notebook.py`) answer by `session.py`, a
single file (`single_file.py`) computes by itself.

    network.explore()                     # a page, or in a notebook what is below the cell
    network.explore("digits.html")        # one file that needs no Python
    python -m glassbox.explorer           # a network that comes with it, or your own file or run
"""

from __future__ import annotations

import os
import sys
import threading
import webbrowser
from contextlib import suppress
from importlib import import_module
from typing import Any

NEEDED = "it needs packages that are not installed: pip install 'glassbox-cnn[{}]'"


def explore(
    network: Any, target: str | os.PathLike[str] | None = None, samples: Any = None,
    browser: bool = True,
) -> Any:  # fmt: skip
    """See the network think: every layer, every number, and the sum behind it.

    In a notebook it appears below the cell.  In an interactive session a page opens and stays while
    the session does; in a script the page stays until Ctrl-C.  Nothing leaves the machine.

    Parameters
    ----------
    target : a file such as "digits.html": the explorer with the network inside, which opens without
        Python and without a server.
    samples : a Dataset of images to look at, such as data.test.
    browser : whether the page is opened; its address is printed in any case.

    Returns the widget, the page, None after a script's page, or the path of the file.
    Raises ValueError for a network that is not built, ImportError where packages are missing.
    """
    if target is not None:
        return import_module("glassbox.explorer.single_file").write(network, target, samples)
    network._built()
    host = "notebook" if in_notebook() else "page"
    try:
        made = import_module(f"glassbox.explorer.{host}")
    except ModuleNotFoundError as error:
        extra = "notebook" if host == "notebook" else "explorer"
        raise ImportError(f"explore: {NEEDED.format(extra)}") from error
    session = import_module("glassbox.explorer.session").Session(network, samples)
    if host == "notebook":
        return made.widget(session)
    page = show(made.Page(session), browser)
    if hasattr(sys, "ps1") or sys.flags.interactive:
        return page.start()
    print("Ctrl-C ends it.", flush=True)
    with suppress(KeyboardInterrupt):
        page.run()
    return None


def in_notebook() -> bool:
    """Whether this is a notebook that shows widgets: Jupyter's kernel, or marimo."""
    shell = getattr(sys.modules.get("IPython"), "get_ipython", lambda: None)()
    marimo = getattr(sys.modules.get("marimo"), "running_in_notebook", lambda: False)
    return hasattr(shell, "kernel") or bool(marimo())


def show(page: Any, browser: bool) -> Any:
    """Print a page's address, and open it from a thread, for some browsers keep the caller waiting.

    Returns the page.
    """
    print(f"The explorer is at {page.url}", flush=True)
    if browser:
        threading.Thread(target=webbrowser.open, args=[page.url], daemon=True).start()
    return page
