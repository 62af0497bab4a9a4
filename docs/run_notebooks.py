"""Run the tutorial's notebooks, and write what they show into them:  python docs/run_notebooks.py

    python docs/run_notebooks.py docs/tutorial/1_from_a_pixel_to_a_gradient.ipynb    # one of them

A cell that fails ends it, and its notebook stays as it was.  What changes from run to run (times,
widgets, the versions of whoever ran it) is left out, so that a difference means something.  They
take MNIST if it is on this computer; the outputs that are committed are of MNIST.
"""

from __future__ import annotations

import hashlib
import sys
import tempfile
from pathlib import Path
from typing import Any

import nbformat
from jupyter_client.kernelspec import KernelSpecManager
from jupyter_client.manager import AsyncKernelManager
from nbclient import NotebookClient

NOTEBOOKS = sorted((Path(__file__).parent / "tutorial").glob("*.ipynb"))
LIMIT = 120  # seconds that a cell may take
WIDGETS = "application/vnd.jupyter.widget"  # what only a running kernel can show begins so


class ThisPython(AsyncKernelManager):
    """Starts kernels of the Python that runs this, whatever others are registered."""

    def __init__(self, **named: Any) -> None:
        super().__init__(kernel_spec_manager=KernelSpecManager(kernel_dirs=[]), **named)


def run(notebook: nbformat.NotebookNode, folder: str) -> None:
    """Execute a notebook's cells in a folder, by this Python, and put in what they show."""
    NotebookClient(
        notebook, kernel_manager_class=ThisPython, resources={"metadata": {"path": folder}},
        timeout=LIMIT, record_timing=False, store_widget_state=False, coalesce_streams=True,
    ).execute()  # fmt: skip
    language = {"name": "python"}
    kernel = {"display_name": "Python 3", "language": "python", "name": "python3"}
    known = {"kernelspec": kernel, "language_info": language, "ran": code_hash(notebook)}
    notebook.metadata = nbformat.from_dict(known)
    for cell in notebook.cells:
        cell.metadata = nbformat.from_dict({})
        if cell.cell_type == "code":
            cell.outputs = [output for output in cell.outputs if not is_widget(output)]


def code_hash(notebook: nbformat.NotebookNode) -> str:
    """A hash of the code of all cells: the notebook keeps that of the code which ran."""
    code = [cell.source for cell in notebook.cells if cell.cell_type == "code"]
    return hashlib.sha256("\0".join(code).encode()).hexdigest()[:16]


def is_widget(output: nbformat.NotebookNode) -> bool:
    """Whether an output is shown by a running kernel alone."""
    return any(kind.startswith(WIDGETS) for kind in output.get("data", ()))


def main() -> None:
    """Run the notebooks that were named, or all."""
    for path in map(Path, sys.argv[1:] or NOTEBOOKS):
        notebook = nbformat.read(path, as_version=4)
        with tempfile.TemporaryDirectory() as folder:
            run(notebook, folder)
        nbformat.write(notebook, path)
        print(f"{path.name}: {len(notebook.cells)} cells, {path.stat().st_size / 1000:.0f} kB")


if __name__ == "__main__":
    main()
