"""The package: what is installed, from where it can be imported, and who may import whom."""

import ast
import os
import shutil
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from pathlib import Path

import pytest

import glassbox
import main
from glassbox.cli import command

ROOT = Path(__file__).resolve().parent.parent
TOP = ("CNN", "Datasets", "Filters", "MLP")
# From the ground up: a module imports from its own step and those below.
STAIRS = [
    ["glassbox._version", "glassbox.errors", "glassbox.atomic", "glassbox.spelling"],
    ["glassbox.kernels", "glassbox.html_repr"],
    ["glassbox.data", "glassbox.report", "glassbox.engine"],
    ["glassbox.files", "glassbox.callbacks"],
    [
        "Datasets", "Filters", "MLP", "glassbox.previews", "glassbox.checks", "glassbox.find_rate",
        "glassbox.explain", "glassbox.explorer",
    ],
    ["CNN"],
    [
        "glassbox.bridges", "glassbox.cli", "glassbox.explorer.__main__",
        "glassbox.explorer.make_networks",
    ],
    ["main", "glassbox.__main__", "glassbox"],
]  # fmt: skip


# --- the stairs ------------------------------------------------------------------------------


def step_of(module):
    """The step that a module stands on; None for those of others."""
    names = [part for step in STAIRS for part in step]
    fits = [name for name in names if module == name or module.startswith(f"{name}.")]
    if not fits or (module.startswith("glassbox") and max(fits, key=len) == "glassbox"):
        return len(STAIRS) - 1 if module == "glassbox" else None
    best = max(fits, key=len)
    return next(k for k, step in enumerate(STAIRS) if best in step)


def imports():
    """(importing module, imported module) of all library files."""
    files = [*ROOT.glob("glassbox/**/*.py"), *(ROOT / f"{name}.py" for name in (*TOP, "main"))]
    for path in files:
        module = ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.ImportFrom):
                yield from ((module, f"{node.module}.{name.name}") for name in node.names)
            elif isinstance(node, ast.Import):
                yield from ((module, name.name) for name in node.names)


def test_imports_run_downward_only():
    seen = 0
    for module, imported in imports():
        above, below = step_of(module), step_of(imported)
        if below is not None:
            seen += 1
            assert above is not None, f"{module} stands on no step"
            assert below <= above, f"{module} imports {imported}, which stands above it"
    assert seen > 150


def test_data_report_and_engine_do_not_know_each_other():
    side_by_side = ("glassbox.data", "glassbox.report", "glassbox.engine")
    for module, imported in imports():
        own = next((name for name in side_by_side if module.startswith(name)), None)
        other = next((name for name in side_by_side if imported.startswith(name)), None)
        assert not own or not other or own == other, f"{module} imports {imported}"


# --- names -----------------------------------------------------------------------------------


def test_every_public_name_can_be_imported_from_the_package():
    for module, names in glassbox.PUBLIC.items():
        for name in names:
            assert getattr(glassbox, name) is getattr(__import__(module), name)
            assert name in dir(glassbox)
    with pytest.raises(AttributeError, match="'glassbox' has no attribute 'Conv3D'"):
        _ = glassbox.Conv3D


def test_the_modules_public_names_are_all_there():
    for module in TOP:
        for name in set(getattr(__import__(module), "__all__", ())) - {"NORMALIZATIONS"}:
            assert getattr(glassbox, name) is getattr(__import__(module), name)


def test_importing_the_package_loads_nothing_heavy():
    code = "import sys, glassbox; print([n for n in ('numpy', 'numba', 'CNN') if n in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_training_begins_without_what_writes_the_explorer():
    code = (
        "import sys, glassbox.cli.run; "
        "print([n for n in ('glassbox.explain', 'glassbox.explorer.session') if n in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_the_commands_network_is_that_of_main():
    """main.py is the user's to edit; the installed command has a copy as it was shipped."""

    def source(path):
        tree = ast.parse(path.read_text("utf-8"))
        found = [n for n in tree.body if isinstance(n, ast.FunctionDef) and n.name == "network"]
        found[0].body = found[0].body[1:]
        return ast.unparse(found[0])

    def defaults(path):
        calls = [n for n in ast.walk(ast.parse(path.read_text("utf-8"))) if isinstance(n, ast.Call)]
        starts = [n for n in calls if getattr(n.func, "id", "") == "start"]
        return {word.arg: ast.unparse(word.value) for word in starts[0].keywords}

    ours, theirs = Path(main.__file__), Path(command.__file__)
    assert source(ours) == source(theirs)
    assert defaults(ours) == defaults(theirs)


# --- wheel and sdist -------------------------------------------------------------------------


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """The folder of a wheel and an sdist, made from a copy without the network."""
    copy, out = tmp_path_factory.mktemp("source") / "copy", tmp_path_factory.mktemp("dist")
    ignored = shutil.ignore_patterns(
        ".git", ".venv", "results", "docs", "tests", "*cache*", "build", "*.egg-info"
    )
    shutil.copytree(ROOT, copy, ignore=ignored)
    for kind in ("sdist", "wheel"):
        code = f"import setuptools.build_meta as b, sys; b.build_{kind}(sys.argv[1])"
        done = subprocess.run(
            [sys.executable, "-c", code, str(out)], cwd=copy, capture_output=True, text=True,
            check=False, timeout=120,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr[-3000:]
    return out


def test_the_wheel_holds_the_library_and_nothing_else(built):
    (wheel,) = built.glob("glassbox_cnn-*.whl")
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
        metadata = archive.read(next(n for n in names if n.endswith("METADATA"))).decode()
    tops = {name.split("/")[0] for name in names}
    tops = {name for name in tops if not name.endswith(".dist-info")}
    assert tops == {"glassbox", *(f"{name}.py" for name in TOP)}
    sources = {str(path.relative_to(ROOT)) for path in ROOT.glob("glassbox/**/*.py")}
    assert sources <= set(names)
    assert {"glassbox/py.typed", "glassbox/engine/capture/shipped.json"} <= set(names)
    assert f"Version: {glassbox.__version__}" in metadata
    assert "License-Expression: MIT" in metadata
    assert any(name.endswith("licenses/LICENSE") for name in names)


def test_the_sdist_can_be_built_from(built):
    (sdist,) = built.glob("glassbox_cnn-*.tar.gz")
    with tarfile.open(sdist) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    assert {"pyproject.toml", "LICENSE", "README.md", "CNN.py", "glassbox/__init__.py"} <= names


DIGITS = """
import sys
from pathlib import Path
import CNN as top, glassbox
from glassbox import CNN, Adam, Conv2D, Dense, Digits, MaxPool2D
assert Path(glassbox.__file__).is_relative_to(sys.argv[1]), glassbox.__file__
assert Path(top.__file__).is_relative_to(sys.argv[1])
data = Digits()
network = CNN(
    Conv2D(4), MaxPool2D(2), Dense(10, "softmax"), loss="cross_entropy", optimizer=Adam(0.01),
    kernels="numpy", seed=0,
)
network.fit(data.train, epochs=8, progress=False)
assert network.mode == "captured" and not network.executor.captured.as_written
print(network.evaluate(data.test).accuracy)
"""


@pytest.mark.slow
def test_what_is_installed_works_from_another_folder(built, tmp_path):
    """Unpacked as pip would, and imported from there; the checkout is nowhere on the path."""
    (wheel,) = built.glob("*.whl")
    site, elsewhere = tmp_path / "site", tmp_path / "elsewhere"
    elsewhere.mkdir()
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(site)
    around = {**os.environ, "PYTHONPATH": str(site), "COLUMNS": "80"}

    def run(*words):
        return subprocess.run(
            [sys.executable, *words], cwd=elsewhere, env=around, capture_output=True, text=True,
            check=False, timeout=300,
        )  # fmt: skip

    done = run("-c", DIGITS, str(site))
    assert done.returncode == 0, done.stderr
    assert float(done.stdout) > 0.8
    assert "train" in run("-m", "glassbox", "--help").stdout
    assert run("-m", "glassbox", "--version").stdout == f"glassbox {glassbox.__version__}\n"
    assert run("-m", "glassbox").returncode == 2
    words = ("train", "--dataset", "digits", "--epochs", "1", "--kernels", "numpy")
    done = run("-m", "glassbox", *words)
    assert done.returncode == 0, done.stderr
    assert "test accuracy" in done.stdout
    assert list((elsewhere / "results").glob("*_digits/report.html"))
    parts = "from glassbox.explorer import __main__ as at, page; print(*at.SHIPPED, page.FRONT)"
    *networks, front = run("-c", parts).stdout.split()
    assert networks == ["digits", "fashion-mnist", "mnist"]
    ours = {path.name for path in (ROOT / "glassbox" / "explorer" / "front").iterdir()}
    assert {path.name for path in Path(front).iterdir()} == ours
    assert Path(front).is_relative_to(site)


def test_the_command_is_an_entry_point():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    module, _, function = project["scripts"]["glassbox"].partition(":")
    assert getattr(sys.modules[module], function) is command.main
    assert project["name"] == "glassbox-cnn"
