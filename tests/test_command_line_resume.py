"""main.py stopped and resumed, as a user does it: Ctrl-C, a kill, --resume."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys

import numpy as np
import pytest
from test_command_line import MADE, ROOT, type_in

import main
from CNN import CNN
from Datasets import Digits
from glassbox.cli import start

RUN = ["--dataset", "digits", "--epochs", "60", "--batch-size", "8", "--kernels", "numpy"]
SHORT = ["--dataset", "digits", "--epochs", "4", "--kernels", "numpy"]


def begin(folder, *words):
    """`python main.py words...`, left running once its first epoch is printed."""
    process = subprocess.Popen(
        [sys.executable, str(ROOT / "main.py"), *words], cwd=folder, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        env={**os.environ, **MADE, "PYTHONUNBUFFERED": "1"},
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )  # fmt: skip
    for line in process.stdout:
        if line.startswith("epoch"):
            return process
    raise AssertionError(process.stderr.read())


def only_run(folder):
    (run,) = (folder / "results").iterdir()
    return run


def read(path):
    return json.loads(path.read_text())


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    """A short run without a stop."""
    folder = tmp_path_factory.mktemp("done")
    finished = type_in(*SHORT, folder=folder)
    assert finished.returncode == 0, finished.stderr
    return only_run(folder)


@pytest.mark.slow
def test_the_model_a_run_leaves_predicts_by_itself(done):
    model = CNN.load(done / "model.safetensors")
    test = Digits().test
    right = float(np.mean(model.predict(test.images) == test.labels))
    assert right == pytest.approx(read(done / "metrics.json")["test"]["accuracy"])


by_both = pytest.mark.parametrize("stop", [signal.SIGINT, signal.SIGTERM])


@pytest.mark.slow
@by_both
def test_ctrl_c_keeps_reports_and_says_how_to_resume(tmp_path, stop):
    process = begin(tmp_path, *RUN)
    process.send_signal(stop)
    out, error = process.communicate(timeout=120)
    assert process.returncode == 0, error
    run = only_run(tmp_path)
    assert "Stopped: interrupted in epoch" in error
    assert f"Resume with: python main.py --resume results/{run.name}" in out
    assert {"report.html", "model.safetensors", "checkpoint.safetensors"} <= set(os.listdir(run))
    assert 1 <= len(read(run / "history.json")["epochs"]) < 60


@by_both
def test_ctrl_c_twice_stops_at_once_and_the_checkpoint_stays(tmp_path, monkeypatch, capsys, stop):
    """In this process, so that both come within one step."""
    step, done = CNN.train_step, [0]

    def interrupted(self, *arguments):
        done[0] += 1
        if done[0] == 45:  # in the second epoch
            os.kill(os.getpid(), stop)
            os.kill(os.getpid(), stop)
        return step(self, *arguments)

    monkeypatch.setattr(CNN, "train_step", interrupted)
    monkeypatch.chdir(tmp_path)
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
    try:
        with pytest.raises(SystemExit, match="130"):
            start(main.network, SHORT, batch_size=32, learning_rate=0.004)
    finally:
        signal.signal(signal.SIGINT, before)
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
    run = only_run(tmp_path)
    assert done[0] == 45
    assert set(os.listdir(run)) == {"settings.json", "checkpoint.safetensors"}
    said = capsys.readouterr()
    assert f"--resume results/{run.name}" in said.out
    assert "Stopped immediately." in said.err


@pytest.mark.slow
def test_a_killed_run_goes_on_with_its_own_settings_to_the_same_end(tmp_path, done):
    """It was asked for four epochs, a seed of 0 and so on: the command line need not repeat it."""
    process = begin(tmp_path, *SHORT, "--checkpoint-every", "5")
    process.kill()
    process.communicate()
    run = only_run(tmp_path)
    resumed = type_in("--resume", f"results/{run.name}", folder=tmp_path)
    assert resumed.returncode == 0, resumed.stderr
    for name in ("model.safetensors", "confusion.png"):
        assert (run / name).read_bytes() == (done / name).read_bytes()
    assert only_run(tmp_path) == run  # no second folder
    losses = [[epoch["loss"] for epoch in read(folder / "history.json")["epochs"]]
              for folder in (run, done)]  # fmt: skip
    assert losses[0] == losses[1]


@pytest.mark.slow
def test_what_is_said_beside_resume_changes_the_run_and_is_recorded(tmp_path, main_here, done):
    folder = tmp_path / "results"
    folder.mkdir()
    run = folder / "mine"
    run.mkdir()
    for name in ("settings.json", "checkpoint.safetensors"):
        (run / name).write_bytes((done / name).read_bytes())
    words = ["--resume", "results/mine", "--learning-rate", "0.001", "--epochs", "6"]
    resumed = main_here(*words)
    assert resumed.returncode == 0, resumed.stderr
    assert "learning_rate.rate 0.004 -> 0.001" in resumed.stdout
    changes = {change["what"]: change["now"] for change in read(run / "history.json")["changes"]}
    assert changes == {"optimizer.network.learning_rate.rate": 0.001, "epochs": 6}
    assert len(read(run / "history.json")["epochs"]) == 6
    assert read(run / "settings.json")["options"]["changed"] == ["learning_rate", "epochs"]
    again = main_here("--resume", "results/mine")
    assert again.returncode == 0, again.stderr  # now these are its own settings


@pytest.mark.slow
def test_a_settings_file_cannot_say_where_to_write(tmp_path, main_here, done):
    """Its output and resume are not believed: the run stays in the folder that was named."""
    run = tmp_path / "deep" / "mine"
    run.mkdir(parents=True)
    (run / "checkpoint.safetensors").write_bytes((done / "checkpoint.safetensors").read_bytes())
    settings = read(done / "settings.json")
    settings["options"] |= {"output": "../elsewhere", "resume": "../other"}
    (run / "settings.json").write_text(json.dumps(settings))
    resumed = main_here("--resume", "deep/mine")
    assert resumed.returncode == 0, resumed.stderr
    assert (run / "report.html").exists()
    assert {path.name for path in tmp_path.iterdir()} == {"deep"}
    assert {path.name for path in (tmp_path / "deep").iterdir()} == {"mine"}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, "there is no run in 'run'"),
        ("not json", "run/settings.json holds no options of a run"),
        ("[1, 2]", "run/settings.json holds no options of a run"),
        ('{"options": {"epochs": "many"}}', "run/settings.json: epochs is 'many', expected int"),
        ('{"options": {"epochs": true}}', "run/settings.json: epochs is True, expected int"),
        ('{"options": {"seed": null}}', "run/settings.json: seed is None, expected int"),
        ('{"options": {"dataset": "digits"}}', "checkpoint.safetensors"),
    ],
)
def test_a_folder_that_holds_no_run_is_refused_in_a_sentence(tmp_path, main_here, text, message):
    run = tmp_path / "run"
    run.mkdir()
    if text is not None:
        (run / "settings.json").write_text(text)
    refused = main_here("--resume", "run")
    assert refused.returncode == 2
    assert message in refused.stderr
    assert "Traceback" not in refused.stderr


@pytest.mark.slow
def test_another_network_in_main_py_is_told_apart(tmp_path, main_here, done):
    program = tmp_path / "main.py"
    text = (ROOT / "main.py").read_text().replace("Conv2D(16", "Conv2D(12")
    program.write_text(text)
    refused = main_here("--resume", str(done), program=program)
    assert refused.returncode == 2
    assert "layers.conv2.filters was 16 and is 12" in refused.stderr
