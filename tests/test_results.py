"""A run's folder: whole files or none, no run over another, errors that say how to go on."""

import csv
import dataclasses
import errno
import json
import os
import re
import threading
from pathlib import Path

import numpy as np
import pytest

from glassbox.atomic import write_atomically
from glassbox.report.results import Results, as_json, save


@pytest.fixture
def results(tmp_path):
    return Results.create(tmp_path / "results", "run")


def all_files(folder):
    return sorted(p.relative_to(folder).as_posix() for p in Path(folder).rglob("*") if p.is_file())


def test_create_makes_an_empty_folder_with_its_parents(tmp_path):
    results = Results.create(tmp_path / "deep" / "results", "run")
    assert results.path == tmp_path / "deep" / "results" / "run"
    assert results.path.is_dir() and not list(results.path.iterdir())


def test_default_name_is_the_time_and_the_stem(tmp_path):
    name = Results.create(tmp_path, stem="mnist").path.name
    assert re.fullmatch(r"\d{4}-\d\d-\d\d_\d\d-\d\d-\d\d_mnist", name)
    assert re.fullmatch(r"[-_\d]{19}", Results.create(tmp_path).path.name)


def test_a_taken_name_is_numbered_and_the_old_run_kept(tmp_path):
    first = Results.create(tmp_path, "run")
    first.write_text("note", "first")
    names = [Results.create(tmp_path, "run").path.name for _ in range(2)]
    assert names == ["run-2", "run-3"]
    assert (first.path / "note.txt").read_text() == "first"


def test_runs_created_at_once_never_share_a_folder(tmp_path):
    paths = []
    threads = [
        threading.Thread(target=lambda: paths.append(Results.create(tmp_path / "new", "run").path))
        for _ in range(12)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(paths) == len(set(paths)) == 12


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "../a", "a\\b"])
def test_a_run_name_must_be_a_plain_folder_name(tmp_path, name):
    with pytest.raises(ValueError, match="expected a plain folder name"):
        Results.create(tmp_path, name)


@pytest.mark.parametrize("below", ["", "deeper"])
def test_a_file_in_the_way_is_explained(tmp_path, below):
    (tmp_path / "taken").write_text("mine")
    with pytest.raises(NotADirectoryError, match=r"a file is in the way.*--output") as caught:
        Results.create(tmp_path / "taken" / below, "run")
    assert str(tmp_path / "taken") in str(caught.value)
    assert all_files(tmp_path) == ["taken"]


def refuse(code):
    def fail(*_arguments, **_options):
        raise OSError(code, os.strerror(code))

    return fail


@pytest.mark.parametrize(
    ("code", "kind", "reason"),
    [
        (errno.EACCES, PermissionError, "Permission denied"),
        (errno.EROFS, OSError, "Read-only file system"),
        (errno.ENOSPC, OSError, "No space left"),
    ],
)
@pytest.mark.parametrize("step", ["mkdir", "fsync"])
def test_an_unwritable_folder_is_explained_and_nothing_is_left(
    tmp_path, monkeypatch, code, kind, reason, step
):
    # Simulated: tests may run as root, whom no permission stops.
    if step == "mkdir":
        real = Path.mkdir

        def mkdir(path, *given, **named):
            return refuse(code)() if path.name == "run" else real(path, *given, **named)

        monkeypatch.setattr(Path, "mkdir", mkdir)
    else:
        monkeypatch.setattr(os, "fsync", refuse(code))
    with pytest.raises(kind, match=f"cannot write results into .*{reason}.*--output") as caught:
        Results.create(tmp_path / "new" / "results", "run")
    assert caught.value.errno == code
    assert not list(tmp_path.iterdir())


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write all")
def test_a_folder_without_write_permission_is_refused(tmp_path):
    tmp_path.chmod(0o500)
    try:
        with pytest.raises(PermissionError, match="--output"):
            Results.create(tmp_path / "results", "run")
    finally:
        tmp_path.chmod(0o700)


@dataclasses.dataclass
class Point:
    x: np.float32
    y: list[int]


class Speaking:
    def to_json(self):
        return {"said": np.int64(3)}


@pytest.mark.parametrize(
    ("value", "plain"),
    [
        (np.float32(0.1), 0.1),
        (np.float64(1) / 3, 1 / 3),
        (np.int8(-3), -3),
        (np.bool_(True), True),
        (np.array([[1, 2], [3, 4]], np.uint8), [[1, 2], [3, 4]]),
        (np.array(2.5), 2.5),
        (np.array([0.1, np.nan], np.float32), [0.1, None]),
        ([float("nan"), float("inf"), -np.inf, None], [None] * 4),
        ((1, "a", Path("b") / "c"), [1, "a", str(Path("b") / "c")]),
        ({1: 2, np.int64(3): {}}, {"1": 2, "3": {}}),
        (Point(np.float32(0.2), [1]), {"x": 0.2, "y": [1]}),
        (Speaking(), {"said": 3}),
    ],
)
def test_as_json_gives_plain_values(value, plain):
    given = as_json(value)
    assert given == plain
    assert json.loads(json.dumps(given, allow_nan=False)) == plain


def test_as_json_keeps_every_bit_of_a_float32():
    values = np.random.default_rng(0).normal(size=200).astype(np.float32)
    assert np.array_equal(np.array(as_json(values), np.float32), values)


@pytest.mark.parametrize("value", [{1, 2}, b"raw", 1j, object(), {(1, 2): 3}, {True: 1}])
def test_as_json_refuses_what_json_has_no_word_for(value):
    with pytest.raises(TypeError, match=r"as_json: got .*expected"):
        as_json(value)


def test_as_json_refuses_keys_that_would_swallow_each_other():
    with pytest.raises(ValueError, match="read the same"):
        as_json({1: "a", "1": "b"})


def test_write_json_is_indented_and_ends_in_a_newline(results):
    path = results.write_json("metrics", {"accuracy": np.float32(0.5), "loss": np.nan, "name": "é"})
    assert path.name == "metrics.json"
    expected = '{\n  "accuracy": 0.5,\n  "loss": null,\n  "name": "é"\n}\n'
    assert path.read_text(encoding="utf-8") == expected


def test_write_csv_has_all_keys_in_order_of_appearance(results):
    records = [
        {"epoch": 1, "loss": np.float32(0.1)},
        {"epoch": 2, "loss": np.nan, "note": 'a, "b"', "shape": (1, 2)},
    ]
    path = results.write_csv("history.csv", iter(records))
    assert path.read_bytes().startswith(b"epoch,loss,note,shape\n1,0.1,,\n2,,")
    with open(path, newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert rows[1]["note"] == 'a, "b"' and json.loads(rows[1]["shape"]) == [1, 2]


def test_write_csv_of_nothing_is_an_empty_file(results):
    assert results.write_csv("history", []).read_bytes() == b""


def test_names_get_their_ending_once_and_may_lie_in_subfolders(results):
    results.write_text("note", "a")
    results.write_text("summary.md", "b")
    results.write_json("previews/epoch_0.25", {})
    assert all_files(results.path) == ["note.txt", "previews/epoch_0.25.json", "summary.md"]


@pytest.mark.parametrize("write", ["write_text", "write_json"])
@pytest.mark.parametrize("name", ["", "../outside", "a/../../b", os.path.abspath("outside")])
def test_files_stay_inside_the_run(results, write, name):
    with pytest.raises(ValueError, match="expected one inside"):
        getattr(results, write)(name, "x")


@pytest.mark.parametrize("step", ["fsync", "replace"])
def test_an_interrupted_write_leaves_the_old_file_and_no_rubbish(tmp_path, monkeypatch, step):
    path = write_atomically(tmp_path / "file", b"old")
    monkeypatch.setattr(os, step, refuse(errno.ENOSPC))
    with pytest.raises(OSError, match="No space left"):
        write_atomically(path, b"new")
    assert path.read_bytes() == b"old"
    assert all_files(tmp_path) == ["file"]


def test_data_is_on_the_disk_before_the_rename(tmp_path, monkeypatch):
    steps = []
    for step in ("fsync", "replace"):
        real = getattr(os, step)
        monkeypatch.setattr(os, step, lambda *a, s=step, r=real: (steps.append(s), r(*a)))
    write_atomically(tmp_path / "file", b"data")
    assert steps == ["fsync", "replace"]


def test_files_are_as_readable_as_any_other(tmp_path):
    (tmp_path / "usual").write_text("")
    path = write_atomically(tmp_path / "file", b"")
    assert path.stat().st_mode == (tmp_path / "usual").stat().st_mode


class Drawing:
    """Stands for a figure: the folder needs no matplotlib, only something with savefig."""

    def savefig(self, file, format, dpi):
        file.write(f"{format} {dpi}".encode())


class Panel:
    figure = Drawing()


def test_save_takes_figures_and_their_parts(tmp_path):
    for number, drawing in enumerate((Drawing(), Panel())):
        assert save(drawing, tmp_path / f"{number}.png").read_bytes() == b"png 110"


def test_save_passes_the_resolution_on(tmp_path):
    assert save(Panel(), tmp_path / "x.png", dpi=50).read_bytes() == b"png 50"
