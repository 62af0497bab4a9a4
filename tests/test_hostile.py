"""Hostile surroundings: pipes, devices, links, full disks, odd terminals and signals.

What may hang or eat memory runs in a process of its own, with a limit on both.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from CNN import CNN
from Datasets import from_folder
from glassbox.atomic import write_atomically
from glassbox.cli import start
from glassbox.cli.arguments import options_of, parse
from glassbox.cli.run import find_data
from glassbox.files import arrays_file
from glassbox.only_one import only_one
from glassbox.regular_file import read_file
from glassbox.report.results import Results
from MLP import SGD, Dense, WarmUp

ROOT = Path(__file__).parent.parent
needs_pipes = pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="pipes with a name")


def run_limited(program, *words, memory=2 * 2**30, **settings):
    """Run a Python program in a process of its own, within a minute and `memory` bytes."""
    limit = f"import resource; resource.setrlimit(resource.RLIMIT_AS, ({memory}, {memory}))\n"
    environment = {
        **os.environ, "PYTHONPATH": str(ROOT), "OPENBLAS_NUM_THREADS": "2",
        **settings.pop("env", {}),
    }  # fmt: skip
    return subprocess.run(
        [sys.executable, "-c", limit + program, *map(str, words)], timeout=60, check=False,
        capture_output=True, text=True, env=environment, **settings,
    )  # fmt: skip


# --- pipes and devices -----------------------------------------------------------------------

OPEN_ALL = """
import sys
import numpy as np
from CNN import CNN
from MLP import Dense
from glassbox.bridges.onnx import import_model
network = CNN(Dense(2), kernels="numpy")
data = np.zeros((4, 1, 2, 2), np.uint8), np.arange(4) % 2
readers = (
    lambda path: CNN.load(path, kernels="numpy"),
    lambda path: network.build((1, 2, 2)).load_weights(path),
    lambda path: network.fit(data, resume=path, progress=False),
    import_model,
)
for path in sys.argv[1:]:
    for reader in readers:
        try:
            reader(path)
        except ValueError as error:
            print(error)
"""


@needs_pipes
def test_models_checkpoints_and_onnx_files_are_no_pipes_or_devices(tmp_path):
    """A pipe would be waited for; /dev/zero never ends."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    done = run_limited(OPEN_ALL, pipe, "/dev/zero")
    assert done.stderr == ""
    said = done.stdout.splitlines()
    assert len(said) == 8
    assert all("a pipe or a device, expected a file" in line for line in said)
    assert [str(pipe) in line for line in said] == [True] * 4 + [False] * 4


@needs_pipes
def test_the_settings_of_a_run_are_no_pipe(tmp_path):
    os.mkfifo(tmp_path / "settings.json")
    program = "import sys; from glassbox.cli.arguments import parse; parse(sys.argv[1:])"
    done = run_limited(program, "--resume", tmp_path)
    assert done.returncode == 2
    assert "a pipe or a device" in done.stderr


def test_a_plain_file_is_read_and_a_folder_is_not(tmp_path):
    (tmp_path / "file").write_bytes(b"content")
    assert read_file(tmp_path / "file") == b"content"
    with pytest.raises(OSError, match="file"):
        read_file(tmp_path / "no such file")
    with pytest.raises(OSError, match=tmp_path.name):
        read_file(tmp_path)


# --- a run's folder that somebody else made --------------------------------------------------


@pytest.fixture
def strange_run(tmp_path):
    """A function that makes the folder of a run with the given options."""
    run = tmp_path / "run"
    run.mkdir()

    def made(**options):
        (run / "settings.json").write_text(json.dumps({"options": options}))
        return run

    return made


def test_a_resumed_run_does_not_follow_links_out_of_its_folder(strange_run, tmp_path, capsys):
    run, outside = strange_run(dataset="digits"), tmp_path / "outside"
    outside.mkdir()
    (run / "inside").mkdir()
    (run / "link").symlink_to(run / "inside", target_is_directory=True)
    assert options_of(str(run)).dataset == "digits"
    (run / "previews").symlink_to(outside, target_is_directory=True)
    with pytest.raises(SystemExit):
        parse(["--resume", str(run)])
    assert "previews is a link that leads out" in capsys.readouterr().err


def test_a_resumed_run_makes_no_folder_that_only_its_settings_name(strange_run, tmp_path):
    """The data folder in the settings may be read; on the command line it may be filled."""
    named = tmp_path / "named by the file"
    options = parse(["--resume", str(strange_run(dataset="mnist", data_dir=str(named)))])
    with pytest.raises(OSError, match="not found"):
        find_data(options)
    assert not named.exists()


# --- two processes in one folder -------------------------------------------------------------


def contents(folder):
    return {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in folder.rglob("*")}


def test_a_second_resume_says_that_another_process_is_at_work_and_touches_nothing(
    strange_run, capsys
):
    folder = strange_run(dataset="digits")
    before = contents(folder)
    with only_one(folder), pytest.raises(SystemExit) as ended:
        start(lambda options: pytest.fail("a network was made"), ["--resume", str(folder)])
    said = capsys.readouterr()
    assert ended.value.code == 2
    assert said.out == ""
    assert said.err == (
        f"error: another process is working in {str(folder)!r}; wait for its end, or stop it\n"
    )
    assert contents(folder) == before


@pytest.mark.slow
def test_a_run_keeps_its_folder_to_itself_while_it_trains(tmp_path):
    """A second process would write the same checkpoint."""
    seen = []

    class Nosy(Dense):
        def forward(self, x, context):
            (folder,) = (tmp_path / "results").iterdir()
            with pytest.raises(ValueError, match="another process is working in"), only_one(folder):
                pass
            seen.append(folder)
            return super().forward(x, context)

    words = ["--dataset", "digits", "--epochs", "1", "--output", str(tmp_path / "results")]
    start(lambda options: CNN(Nosy(10), kernels="numpy", threads=1), words)
    with only_one(seen[0]):
        pass  # it has let go


HOLDS = """
import sys
from glassbox.only_one import only_one
with only_one(sys.argv[1]):
    print("held", flush=True)
    sys.stdin.read()
"""


def test_a_killed_process_lets_go_of_its_folder(tmp_path):
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLDS, str(tmp_path)], stdin=subprocess.PIPE,
        stdout=subprocess.PIPE, text=True, env={**os.environ, "PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    with holder:
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(ValueError, match="another process"), only_one(tmp_path):
            pass
        holder.kill()
    with only_one(tmp_path):
        assert not list(tmp_path.iterdir()) or os.name == "nt"


# --- names that are not UTF-8, and streams that are closed -----------------------------------


@pytest.fixture
def latin_folder(tmp_path):
    """Pictures in a folder, and in subfolders, with names in Latin-1; "th\u00e9" is in UTF-8."""
    root = tmp_path / os.fsdecode(b"d\xe9ta")
    random = np.random.default_rng(0)
    for name in (b"caf\xe9", "th\u00e9".encode(), b"plain"):
        try:
            (root / os.fsdecode(name)).mkdir(parents=True)
        except (OSError, UnicodeError):
            pytest.skip("this file system takes names in UTF-8 only")
        for number in range(12):
            picture = Image.fromarray(random.integers(0, 256, (8, 8), np.uint8))
            picture.save(root / os.fsdecode(name) / f"{number}.png")
    return root


def test_class_folders_whose_names_are_not_utf8_are_shown_escaped(latin_folder):
    assert from_folder(latin_folder).classes == ("caf\\xe9", "plain", "th\u00e9")


def test_a_path_that_is_not_utf8_is_kept_in_json(tmp_path):
    path = os.fsdecode(b"/d\xe9ta")
    written = Results(tmp_path).write_json("settings", {"dataset": path})
    assert json.loads(written.read_text("utf-8")) == {"dataset": path}


@pytest.mark.slow
def test_a_run_of_them_leaves_its_report_even_with_closed_streams(latin_folder, tmp_path):
    """Without stdin, stdout and stderr, as a daemon may be started."""
    run_limited(
        "import runpy, sys; sys.argv = sys.argv[1:]; runpy.run_path(sys.argv[0], None, '__main__')",
        ROOT / "main.py", "--dataset", latin_folder, "--epochs", "1", "--kernels", "numpy",
        cwd=tmp_path, preexec_fn=lambda: [os.close(number) for number in (0, 1, 2)],
    )  # fmt: skip
    (run,) = (tmp_path / "results").iterdir()
    assert "caf\\xe9" in (run / "report.html").read_text("utf-8")
    assert options_of(str(run)).dataset == str(latin_folder)


# --- Ctrl-C while libraries are loaded -------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize(
    ("library", "words", "told"),
    [
        ("numpy", [ROOT / "main.py"], ""),
        ("numpy", ["-m", "glassbox"], ""),
        ("matplotlib", [ROOT / "main.py"], ""),
        ("matplotlib", ["-m", "glassbox"], ""),
        ("sklearn", [ROOT / "main.py", "--dataset", "digits"], "Stopped immediately.\n"),
    ],
)
def test_ctrl_c_during_imports_ends_without_a_traceback(library, words, told, tmp_path):
    """A stand-in for the library presses it."""
    (tmp_path / f"{library}.py").write_text("import signal; signal.raise_signal(signal.SIGINT)")
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), str(ROOT)])}
    done = subprocess.run(
        [sys.executable, *words], env=environment, timeout=60, cwd=tmp_path,
        capture_output=True, text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )  # fmt: skip
    assert (done.returncode, done.stdout, done.stderr) == (130, "", told)


def test_loading_the_command_line_leaves_ctrl_c_as_it_was():
    done = run_limited(
        "import signal, main; print(signal.getsignal(signal.SIGINT).__name__)",
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )
    assert done.stdout == "default_int_handler\n"


# --- what a killed process leaves ------------------------------------------------------------

KILLED = """
import os, signal, sys
from glassbox.atomic import write_atomically
os.fsync = lambda number: os.kill(os.getpid(), signal.SIGKILL)
write_atomically(sys.argv[1], b"half")
"""


@pytest.mark.skipif(os.name != "posix", reason="processes can be asked for on POSIX only")
def test_the_next_writing_removes_what_a_killed_one_left(tmp_path, monkeypatch):
    """But not what a living process is writing, nor files for another name."""
    for name in ("model", "other"):
        assert run_limited(KILLED, tmp_path / name).returncode == -9
    assert len(list(tmp_path.iterdir())) == 2
    inside, fsync = [], os.fsync

    def another_at_once(number):
        fsync(number)
        if not inside:
            inside.append(number)
            write_atomically(tmp_path / "model", b"of the other")

    monkeypatch.setattr(os, "fsync", another_at_once)
    write_atomically(tmp_path / "model", b"whole")
    assert (tmp_path / "model").read_bytes() == b"whole"
    left = sorted(path.name for path in tmp_path.iterdir())
    assert [name.startswith(".other.") for name in left] == [True, False]
    assert left[1] == "model"


def test_what_cannot_be_written_is_named_with_what_is_still_there(tmp_path):
    with pytest.raises(OSError, match=r"nothing was written: .*no folder/model"):
        write_atomically(tmp_path / "no folder" / "model", b"")


# --- settings in a file ----------------------------------------------------------------------


def test_schedules_within_schedules_without_end_are_refused(tmp_path):
    """In JSON that can be read, and with a hash that fits."""
    path = (
        CNN(Dense(2), optimizer=SGD(WarmUp(0.1, steps=1))).build((1, 2, 2)).save(tmp_path / "deep")
    )
    contents = arrays_file.read(path)
    optimizer = contents.records["network"]["optimizer"]
    schedule = optimizer["learning_rate"]
    for _ in range(480):
        schedule = {**optimizer["learning_rate"], "then": schedule}
    optimizer["learning_rate"] = schedule
    path.write_bytes(arrays_file.encode(contents))
    with pytest.raises(ValueError, match=r"deep: blocks or schedules are nested too deep"):
        CNN.load(path)
