"""The notebooks of docs/tutorial run anywhere without a network, and show what they say."""

import os
import re
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from importlib import import_module
from importlib.util import find_spec

import nbformat
import pytest
from matplotlib.mathtext import MathTextParser
from pages import ROOT, module_of

run_notebooks = module_of("run_notebooks.py")
NOTEBOOKS = pytest.mark.parametrize("path", run_notebooks.NOTEBOOKS, ids=lambda path: path.stem)
LARGEST = 400_000  # bytes
ABSOLUTE = re.compile(r"(?<![\w./:<])/\w[\w.-]*/|\b[A-Z]:\\")  # a path, of Windows in the end


def cells(path, kind):
    return [each for each in nbformat.read(path, 4).cells if each.cell_type == kind]


def texts(output):
    """What an output says, pictures left out."""
    kinds = output.get("data", {"text/plain": output.get("text", "")})
    return [text for kind, text in kinds.items() if kind.startswith("text/")]


# What ONNX Runtime asks for in the tests' own process, once other tests have loaded it.
TELEMETRY = "events.data.microsoft.com"


@pytest.fixture
def asked(monkeypatch):
    """The addresses that any process asks for: all requests come to a proxy which refuses them."""
    found = []

    class Refuse(BaseHTTPRequestHandler):
        def do_GET(self):
            if TELEMETRY not in self.path:
                found.append(self.path)
            self.send_error(403)

        do_CONNECT = do_POST = do_HEAD = do_GET  # noqa: N815

        def log_message(self, *_):
            pass

    with HTTPServer(("127.0.0.1", 0), Refuse) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        for name in ("HTTP_PROXY", "HTTPS_PROXY"):
            for word in (name, name.lower()):
                monkeypatch.setenv(word, f"http://127.0.0.1:{server.server_port}")
        for word in ("NO_PROXY", "no_proxy"):
            monkeypatch.delenv(word, raising=False)
        yield found
        server.shutdown()


@pytest.fixture
def bare(tmp_path, monkeypatch):
    """An account with nothing in it but the compiled kernels: no data, no settings."""
    for name in list(os.environ):
        if name.startswith(("GLASSBOX_", "XDG_", "JUPYTER", "IPYTHON")):
            monkeypatch.delenv(name)
    if find_spec("numba"):
        kernels = import_module("glassbox.kernels.compiled.build").FOLDER.parent
        monkeypatch.setenv("GLASSBOX_KERNELS", str(kernels))
    for name in ("HOME", "USERPROFILE", "LOCALAPPDATA"):
        monkeypatch.setenv(name, str(tmp_path))
    return tmp_path


@pytest.mark.slow
@NOTEBOOKS
def test_a_notebook_runs_without_data_and_network(path, bare, asked):
    """Its asserts hold; the data are those that need no download."""
    notebook = nbformat.read(path, 4)
    run_notebooks.run(notebook, str(bare))  # raises where a cell does
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", ())]
    assert not [output for output in outputs if output.output_type == "error"]
    assert asked == []
    if "MNIST(" in "".join(cell.source for cell in notebook.cells):
        assert any("Digits" in text for output in outputs for text in texts(output))
    assert not list(bare.rglob("*-ubyte*"))


@NOTEBOOKS
def test_every_cell_was_run_in_order_as_it_stands(path):
    code = cells(path, "code")
    assert [cell.execution_count for cell in code] == list(range(1, len(code) + 1))
    notebook = nbformat.read(path, 4)
    assert notebook.metadata.ran == run_notebooks.code_hash(notebook), "run make notebooks"


@NOTEBOOKS
def test_outputs_have_no_errors_warnings_or_widgets(path):
    outputs = [output for cell in cells(path, "code") for output in cell.outputs]
    assert outputs
    assert {output.output_type for output in outputs} <= {
        "stream",
        "display_data",
        "execute_result",
    }
    assert {output.name for output in outputs if output.output_type == "stream"} <= {"stdout"}
    assert not [output for output in outputs if run_notebooks.is_widget(output)]
    assert "widgets" not in nbformat.read(path, 4).metadata


@NOTEBOOKS
def test_a_notebook_is_small_and_names_no_place_on_a_disk(path):
    assert path.stat().st_size < LARGEST
    notebook = nbformat.read(path, 4)
    nbformat.validate(notebook)
    said = [text for cell in notebook.cells for o in cell.get("outputs", ()) for text in texts(o)]
    said += [cell.source for cell in notebook.cells]
    assert [found[0] for found in map(ABSOLUTE.search, said) if found] == []


@pytest.mark.parametrize("text", ["in /home/ann/data", "'/tmp/x/1.png'", "C:\\Users", "\n/a/b"])
def test_a_place_on_a_disk_is_noticed(text):
    assert ABSOLUTE.search(text)


@NOTEBOOKS
def test_its_links_lead_somewhere_and_its_formulas_can_be_set(path):
    words = "\n\n".join(cell.source for cell in cells(path, "markdown"))
    links = re.findall(r"\]\(([^)#]+)", words)
    assert links
    for link in links:
        assert (path.parent / link).exists(), link
    plain = re.sub(r"`[^`]*`", "", words)
    shown = re.findall(r"\$\$(.+?)\$\$", plain, re.S)
    inline = re.findall(r"\$([^$]+)\$", re.sub(r"\$\$.+?\$\$", "", plain, flags=re.S))
    for formula in shown + inline:
        MathTextParser("path").parse(f"${' '.join(formula.split())}$")


def test_the_pages_lead_to_every_notebook():
    readme = (ROOT / "README.md").read_text("utf-8")
    assert all(f"docs/tutorial/{path.name}" in readme for path in run_notebooks.NOTEBOOKS)
