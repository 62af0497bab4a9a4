"""Make the API reference from the docstrings: python docs/make_reference.py FOLDER."""

from __future__ import annotations

import sys
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy.typing
import pdoc

# The pages shall say NDArray, and not all that it stands for.
for word in ("ArrayLike", "DTypeLike", "NDArray"):
    plain = {"__module__": "builtins", "__class_getitem__": lambda cls, kind: cls}
    setattr(numpy.typing, word, type(word, (), plain))

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

# A package stands for its modules, too; !... leaves them out again.
MODULES = (
    *("glassbox", "!glassbox[.].+", "CNN", "Filters", "MLP", "Datasets"),
    *(f"glassbox.engine.{name}" for name in ("layer", "losses", "optimizers", "schedules")),
    *(f"glassbox.engine.{name}" for name in ("history", "sanity", "gradient_check")),
    *(f"glassbox.data.{name}" for name in ("dataset", "augment")),
    *("glassbox.bridges.onnx", "glassbox.bridges.sklearn", "glassbox.report"),
    *("glassbox.callbacks", "glassbox.explain", "glassbox.find_rate"),
    *("glassbox.explorer", "!glassbox.explorer[.].+"),
    *(f"glassbox.explorer.{name}" for name in ("session", "page")),
)


def make(folder: Path) -> None:
    """Write all pages into a folder, the first of them index.html."""
    import glassbox  # now that NDArray is a word
    from glassbox.spelling import Spelled

    module: Any
    for name, public in glassbox.PUBLIC.items():
        module = import_module(name)
        module.__all__ = [*public, *(n for n in ("Sliding", "Pooling") if hasattr(module, n))]
    module = glassbox
    module.__all__ = []
    call: Any = Spelled.__call__
    call.__doc__ = None  # else pdoc takes its arguments for those of every class
    pdoc.render.configure(
        docformat="numpy",
        template_directory=Path(__file__).parent / "reference",
        footer_text=f"Glassbox {glassbox.__version__}",
    )
    pdoc.pdoc(*MODULES, output_directory=folder)


if __name__ == "__main__":
    make(Path(sys.argv[1]))
