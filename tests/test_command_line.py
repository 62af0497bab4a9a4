"""main.py as a user types it: a process of its own, its output, its folder, its exit status."""

from __future__ import annotations

import base64
import csv
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import matplotlib
import numpy as np
import pytest

ROOT = Path(__file__).parent.parent
CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
# What is made once and takes seconds: compiled kernels, and Matplotlib's list of fonts.
MADE = {
    "GLASSBOX_KERNELS": os.environ.get("GLASSBOX_KERNELS", str(CACHE / "glassbox")),
    "MPLCONFIGDIR": matplotlib.get_cachedir(),
}
DIGITS = ["--dataset", "digits", "--epochs", "8", "--learning-rate", "0.015", "--seed", "3"]
DIGITS += ["--batch-size", "16"]


def type_in(*words, folder, data=None, program=ROOT / "main.py"):
    """Run `python main.py words...` in `folder`; no data folder and no network unless given."""
    surroundings = {
        **os.environ, **MADE, "HOME": str(folder), "XDG_CACHE_HOME": str(folder / "cache"),
        "COLUMNS": "80", "PYTHONPATH": str(ROOT),
        # a proxy that refuses at once stands for a machine without network
        "http_proxy": "http://127.0.0.1:9", "https_proxy": "http://127.0.0.1:9",
    }  # fmt: skip
    surroundings.pop("GLASSBOX_DATA", None)
    if data is not None:
        surroundings["GLASSBOX_DATA"] = str(data)
    return subprocess.run(
        [sys.executable, str(program), *words],
        cwd=folder, env=surroundings, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip


@pytest.fixture(scope="module")
def digits_run(tmp_path_factory):
    """One run on the embedded digits, looked at by several tests."""
    folder = tmp_path_factory.mktemp("run")
    done = type_in(*DIGITS, "--preview", "1", "--threads", "2", folder=folder)
    assert done.returncode == 0, done.stderr
    (run,) = (folder / "results").iterdir()
    return done, run


@pytest.mark.slow
def test_a_run_prints_summary_epochs_and_test(digits_run):
    done, run = digits_run
    assert "conv1" in done.stdout
    assert "multiply-adds" in done.stdout
    assert re.search(r"^epoch 1/8  loss 0\.\d+  train", done.stdout, re.M)
    assert re.search(r"^test accuracy 9\d\.\d\d%", done.stdout, re.M)
    assert f"Results: results/{run.name}" in done.stdout
    assert max(map(len, done.stdout.splitlines())) <= 80
    assert "\r" not in done.stdout + done.stderr  # no bar where output goes to a file


@pytest.mark.slow
def test_a_run_leaves_figures_and_numbers(digits_run):
    done, run = digits_run
    assert run.name.endswith("_digits")
    metrics = json.loads((run / "metrics.json").read_text())
    accuracy = metrics["test"]["accuracy"]
    assert 0.9 < accuracy <= 1
    assert f"test accuracy {accuracy:.2%}" in done.stdout
    matrix = np.array(metrics["test"]["confusion"])
    assert np.trace(matrix) / matrix.sum() == pytest.approx(accuracy)
    assert metrics["seconds"]["total"] > metrics["seconds"]["training"] > 0

    history = json.loads((run / "history.json").read_text())
    with (run / "history.csv").open() as file:
        table = list(csv.DictReader(file))
    assert len(table) == len(history["epochs"]) == 8
    assert float(table[-1]["loss"]) == history["epochs"][-1]["loss"]
    best = history["epochs"][history["best_epoch"] - 1]
    assert metrics["validation"]["accuracy"] == best["validation_accuracy"]

    settings = json.loads((run / "settings.json").read_text())
    assert settings["options"]["seed"] == 3
    assert settings["layers"][0]["kind"] == "Conv2D"
    assert settings["machine"]["cores"] >= 1


@pytest.mark.slow
def test_a_run_leaves_pictures(digits_run):
    _, run = digits_run
    names = {path.name for path in run.glob("*.png")}
    assert names == {
        "curves.png", "running.png", "confusion.png", "feature_maps.png", "mistakes.png",
        "filters_conv1.png", "filters_conv2.png", "confusion_shares.png", "roc.png",
        "reliability.png", "embedding.png", "confused.png",
    }  # fmt: skip
    previews = sorted(path.name for path in (run / "previews").iterdir())
    assert previews == [f"epoch_{epoch:02d}_100_percent.png" for epoch in range(1, 9)]
    for path in [*run.glob("*.png"), *run.glob("previews/*.png")]:
        assert path.read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"
        assert path.stat().st_size < 200_000


@pytest.mark.slow
def test_a_run_leaves_a_page_with_every_picture(digits_run):
    done, run = digits_run
    text = (run / "report.html").read_text(encoding="utf-8")
    embedded = {base64.b64decode(data) for data in re.findall(r'base64,([^"]+)"', text)}
    assert embedded == {path.read_bytes() for path in run.glob("*.png")}
    assert "multiply-adds" in text  # the summary
    assert "report.html" in done.stdout


@pytest.mark.slow
def test_without_data_and_network_the_digits_serve_with_a_notice(tmp_path):
    done = type_in("--epochs", "1", folder=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "NOTICE" in done.stderr
    assert "train-images-idx3-ubyte" in done.stderr  # which files, and where to put them
    assert "Training on scikit-learn's 1,797 embedded 8 x 8 digits instead" in done.stderr
    assert done.stdout.startswith("Digits")
    assert len(re.findall("^epoch", done.stdout, re.M)) == 1  # as many as were asked for
    (run,) = (tmp_path / "results").iterdir()
    assert run.name.endswith("_digits")


def test_a_named_folder_without_the_files_is_a_mistake(tmp_path):
    (tmp_path / "empty").mkdir()
    done = type_in("--data-dir", "empty", folder=tmp_path)
    assert done.returncode == 2
    assert done.stderr.startswith("error: ")
    assert "t10k-labels-idx1-ubyte" in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "results").exists()


@pytest.mark.slow
def test_the_sanity_check_ends_with_a_verdict_and_writes_nothing(tmp_path):
    done = type_in("--dataset", "digits", "--sanity-check", folder=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "Verdict: passed." in done.stdout
    assert not (tmp_path / "results").exists()


@pytest.mark.slow
def test_the_same_seed_gives_the_same_losses_on_any_number_of_threads(digits_run, tmp_path):
    _, two = digits_run
    done = type_in(*DIGITS, "--threads", "1", folder=tmp_path)
    assert done.returncode == 0, done.stderr
    (one,) = (tmp_path / "results").iterdir()
    epochs = [json.loads((run / "history.json").read_text())["epochs"] for run in (one, two)]
    losses = [[record["loss"] for record in each] for each in epochs]
    assert len(losses[0]) == 8
    assert losses[0] == losses[1]


def test_help_lists_every_option(main_here):
    done = main_here("--help")
    assert done.returncode == 0
    for option in ("dataset", "data-dir", "epochs", "batch-size", "learning-rate", "seed",
                   "threads", "kernels", "sanity-check", "preview", "output", "resume",
                   "checkpoint-every"):  # fmt: skip
        assert f"--{option}" in done.stdout
    assert max(map(len, done.stdout.splitlines())) <= 80


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--dataset", "mnits"], "did you mean 'mnist'"),
        (["--learning-rate", "-0.1"], "argument --learning-rate: expected a number above 0"),
        (["--learning-rate", "fast"], "argument --learning-rate: invalid number value: 'fast'"),
        (["--epochs", "0"], "argument --epochs: expected a whole number of at least 1"),
        (["--epochs", "many"], "argument --epochs: invalid whole number value: 'many'"),
        (["--threads", "0"], "argument --threads: expected a whole number of at least 1"),
        (["--seed", "-1"], "argument --seed: expected a whole number of at least 0"),
        (["--preview", "150"], "argument --preview: expected a share above 0 and up to 1, got 150"),
        (["--preview", "25"], "got 25; for 25 per cent write 0.25"),
        (["--preview", "50%"], "got 50%; for 50 per cent write 0.5"),
        (["--preview", "often"], "argument --preview: invalid share value: 'often'"),
        (["--kernels", "cuda"], "argument --kernels: invalid choice: 'cuda'"),
        (["--batch"], "unrecognized arguments: --batch"),
    ],
)
def test_mistakes_are_answered_in_a_sentence(tmp_path, main_here, words, message):
    done = main_here(*words)
    assert done.returncode == 2
    assert message in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "results").exists()


def test_a_results_folder_that_cannot_be_written(tmp_path, main_here):
    (tmp_path / "taken").write_text("a file, not a folder")
    done = main_here("--dataset", "digits", "--output", "taken")
    assert done.returncode == 2
    assert "taken" in done.stderr
    assert "Traceback" not in done.stderr
    assert "epoch" not in done.stdout  # said before any training


def test_a_network_edited_wrongly_names_the_layer(tmp_path, main_here):
    """A copy of main.py as a user might edit it: a kernel that is too large for the digits."""
    for name in ("main.py",):
        shutil.copy(ROOT / name, tmp_path / name)
    program = tmp_path / "main.py"
    text = program.read_text().replace("Conv2D(16, kernel_size=3, padding=\"same\")",
                                       "Conv2D(16, kernel_size=9, padding=\"valid\")")  # fmt: skip
    assert "kernel_size=9" in text
    program.write_text(text)
    done = main_here("--dataset", "digits", program=program)
    assert done.returncode == 2
    assert "error: Conv2D 'conv2': the kernel spans (9, 9) pixels" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.slow
def test_a_set_of_ones_own(tmp_path):
    """A .npz of three classes: the last layer follows the data."""
    rng = np.random.default_rng(0)
    labels = np.arange(240) % 3
    images = rng.integers(0, 60, size=(240, 12, 12)).astype(np.uint8)
    for label in range(3):
        images[labels == label, 4 * label : 4 * label + 4] += 150
    np.savez(tmp_path / "bars.npz", images=images, labels=labels)
    done = type_in("--dataset", "bars.npz", folder=tmp_path)
    assert done.returncode == 0, done.stderr
    said = " ".join(done.stdout.split())
    assert "Small data set (168 images): training 239 epochs instead of 6. Set --epochs to" in said
    assert max(map(len, done.stdout.splitlines())) <= 80
    (run,) = (tmp_path / "results").iterdir()
    metrics = json.loads((run / "metrics.json").read_text())
    assert metrics["test"]["accuracy"] == 1
    assert len(metrics["test"]["confusion"]) == 3
