"""A run that is stopped, in whatever way, and goes on: the same bits as one that never stopped."""

from __future__ import annotations

import os
import random
import select
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from killed_run import STEPS, network, settings

from CNN import CNN
from Datasets import Dataset, Digits
from Filters import Conv2D, MaxPool2D
from glassbox.errors import Diverged
from glassbox.files import arrays_file
from MLP import SGD, Adadelta, Adam, Constant, Dense, OneCycle

ROOT = Path(__file__).parent.parent
EVERY = 3  # steps between two checkpoints of a run that is killed


@pytest.fixture(scope="module")
def digits():
    return Digits()


@pytest.fixture(scope="module")
def whole(digits, tmp_path_factory):
    """The run without a stop, and the bytes of its model file."""
    model = network()
    model.fit(digits.train, digits.validation, **settings())
    return model, model.save(tmp_path_factory.mktemp("whole") / "model.safetensors").read_bytes()


def start(folder, *words):
    """The run as a process of its own, its steps to be read line by line."""
    return subprocess.Popen(
        [sys.executable, str(ROOT / "tests" / "killed_run.py"), str(folder), str(EVERY), *words],
        stdout=subprocess.PIPE, cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)},
    )  # fmt: skip


def kill_after(process, steps, chance):
    """SIGKILL after so many more steps, at any moment of the one that follows."""
    for _ in range(steps):
        if not process.stdout.readline():
            return False
    select.select([process.stdout], [], [], chance.uniform(0, 0.01))
    process.send_signal(signal.SIGKILL)
    process.stdout.close()
    return process.wait() == -signal.SIGKILL


class Stop(Exception):
    pass


def stopped(model, digits, after, monkeypatch, **more):
    """Fit, but for an exception at the step after so many."""
    step, done = CNN.train_step, [0]

    def counted(self, *arguments):
        if done[0] == after:
            raise Stop
        done[0] += 1
        return step(self, *arguments)

    with monkeypatch.context() as patch:
        patch.setattr(CNN, "train_step", counted)
        with pytest.raises(Stop):
            model.fit(digits.train, digits.validation, **{**settings(), **more})


def told(history):
    """The history without its seconds, which no two runs share."""
    records = [
        {key: value for key, value in record.items() if "second" not in key}
        for record in history.records
    ]
    return records, history.running, history.best_epoch, history.ended


# --- killed --------------------------------------------------------------------------------------


@pytest.mark.slow
def test_killed_at_random_moments_it_ends_with_the_same_bytes(tmp_path, whole, trust):
    wanted, chance, kills = trust.cases(3, 25), random.Random(8), 0
    most = STEPS // (wanted + 2)  # so that it cannot be done before it was killed often enough
    while kills < wanted:
        kills += kill_after(start(tmp_path, *()), chance.randint(1, most), chance)
        assert not (tmp_path / "model.safetensors").exists()
    last = start(tmp_path)
    last.communicate()
    assert last.returncode == 0
    assert (tmp_path / "model.safetensors").read_bytes() == whole[1]
    trust.record("kills", survived=kills, of=wanted)


@pytest.mark.slow
@pytest.mark.parametrize("where", ["open", "half", "flushed", "renamed"])
def test_killed_while_it_writes_a_checkpoint_the_one_before_or_the_new_one_is_whole(
    tmp_path, where
):
    process = start(tmp_path, where)
    process.communicate()
    assert process.returncode == -signal.SIGKILL
    contents = arrays_file.read(tmp_path / "checkpoint.safetensors")
    done = contents.records["network"]["steps_done"]
    assert done == (3 * EVERY if where == "renamed" else 2 * EVERY)


# --- stopped in other ways -----------------------------------------------------------------------


@pytest.mark.slow
def test_stopped_again_and_again_it_ends_the_same(tmp_path, digits, whole, monkeypatch):
    """In the middle of epochs, at their ends, and right after a stop."""
    path = tmp_path / "checkpoint.safetensors"
    for after in (22, 21, 1, 40, 13):
        resume = path if path.exists() else None
        stopped(
            network(), digits, after, monkeypatch, checkpoint=path, checkpoint_every=4,
            resume=resume,
        )  # fmt: skip
    model = network()
    history = model.fit(digits.train, digits.validation, **settings(), resume=path)
    assert model.save(tmp_path / "model.safetensors").read_bytes() == whole[1]
    assert told(history) == told(whole[0].history)


def test_a_checkpoint_stays_whole_when_the_disk_is_full(tmp_path, digits, monkeypatch):
    path = tmp_path / "checkpoint.safetensors"
    stopped(network(), digits, 25, monkeypatch, checkpoint=path)
    before = path.read_bytes()
    fsync = os.fsync

    def full(number):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        network().fit(digits.train, digits.validation, **settings(), resume=path)
    monkeypatch.setattr(os, "fsync", fsync)
    assert path.read_bytes() == before
    assert [each.name for each in tmp_path.iterdir()] == [path.name]


def test_ctrl_c_once_keeps_a_checkpoint_that_the_run_goes_on_from(tmp_path, digits, whole):
    """The partial epoch is reported, but it is not part of the run that goes on."""
    path = tmp_path / "checkpoint.safetensors"
    step, done = CNN.train_step, [0]
    before = signal.signal(signal.SIGINT, signal.default_int_handler)

    def interrupted(self, *arguments):
        done[0] += 1
        if done[0] == 30:
            os.kill(os.getpid(), signal.SIGINT)
        return step(self, *arguments)

    model = network()
    try:
        CNN.train_step = interrupted
        history = model.fit(digits.train, digits.validation, **settings(), checkpoint=path)
    finally:
        CNN.train_step = step
        signal.signal(signal.SIGINT, before)
    assert history.ended == "interrupted in epoch 2"
    assert len(history.records) == 2 and history.records[1]["images"] == 9 * 60
    assert arrays_file.read(path).records["network"]["steps_done"] == 30
    again = network()
    again.fit(digits.train, digits.validation, **settings(), resume=path)
    assert again.save(tmp_path / "model.safetensors").read_bytes() == whole[1]


def test_a_run_that_is_done_stays_done(tmp_path, digits, whole):
    path = tmp_path / "checkpoint.safetensors"
    network().fit(digits.train, digits.validation, **settings(), checkpoint=path)
    again = network()
    history = again.fit(digits.train, digits.validation, **settings(), resume=path)
    assert history.ended == "all 9 epochs done"
    assert again.save(tmp_path / "model.safetensors").read_bytes() == whole[1]


def test_patience_that_ran_out_stays_out(tmp_path, digits):
    """No weight changes, so no epoch is better than the first."""
    path = tmp_path / "checkpoint.safetensors"
    still = {"epochs": 9, "patience": 2, "progress": False}
    for resume in (None, path):
        model = CNN(Dense(10), optimizer=SGD(1e-30), seed=1)
        history = model.fit(
            digits.train, digits.validation, **still, checkpoint=path, resume=resume
        )
        assert history.ended == "no better epoch for 2 epochs"
        assert len(history.records) == 3


def test_an_epoch_before_the_stop_may_stay_the_best(tmp_path, digits, monkeypatch):
    """No weight changes, so no later epoch is better than the first."""
    path = tmp_path / "checkpoint.safetensors"
    still = {"epochs": 4, "patience": None, "batch_size": 60, "ema_decay": 0.0, "augment": None}
    stopped(
        CNN(Dense(10), optimizer=SGD(1e-30), seed=1), digits, 50, monkeypatch, checkpoint=path,
        **still,
    )  # fmt: skip
    model = CNN(Dense(10), optimizer=SGD(1e-30), seed=1)
    history = model.fit(digits.train, digits.validation, **{**settings(), **still}, resume=path)
    assert len(history.records) == 4
    assert history.best_epoch == 1


def test_a_checkpoint_after_every_step_of_a_run_that_diverges_leaves_a_sound_one(tmp_path, digits):
    path = tmp_path / "checkpoint.safetensors"
    model = CNN(Dense(10, None), optimizer=SGD(1e20), seed=1)
    with pytest.raises(Diverged):
        model.fit(digits.train, epochs=1, checkpoint=path, checkpoint_every=1, progress=False)
    assert arrays_file.read(path).records["training"]["position"]["step"] >= 1


# --- what may change, and what not ---------------------------------------------------------------


@pytest.fixture(scope="module")
def begun(digits, tmp_path_factory):
    """A checkpoint after 25 steps."""
    path = tmp_path_factory.mktemp("begun") / "checkpoint.safetensors"
    with pytest.MonkeyPatch.context() as patch:
        stopped(network(), digits, 25, patch, checkpoint=path, checkpoint_every=5)
    return path


def with_rate(rate):
    model = network()
    model.optimizer = Adam(rate)
    return model


def test_another_learning_rate_must_be_said_and_is_recorded(begun, digits, tmp_path):
    path = tmp_path / "checkpoint.safetensors"
    with pytest.raises(ValueError, match=r"optimizer\.network\.learning_rate\.rate was 0\.01 and"):
        with_rate(OneCycle(0.002)).fit(
            digits.train, digits.validation, **settings(), resume=begun, checkpoint=path
        )
    model = with_rate(OneCycle(0.002))
    history = model.fit(
        digits.train, digits.validation, **settings(), resume=begun, checkpoint=path,
        allow_changes=True,
    )  # fmt: skip
    change = {
        "epoch": 2, "step": 4, "what": "optimizer.network.learning_rate.rate", "was": 0.01,
        "now": 0.002,
    }  # fmt: skip
    assert history.changes == [change]
    assert history.to_json()["changes"] == [change]
    assert history.records[0]["learning_rate"] > 0.002  # before the change
    assert max(record["learning_rate"] for record in history.records[1:]) <= 0.002
    assert arrays_file.read(path).records["training"]["history"]["changes"] == [change]


def test_more_epochs_may_be_asked_for(begun, digits, tmp_path):
    more = {**settings(), "epochs": 10}
    with pytest.raises(ValueError, match="epochs was 9 and is 10"):
        network().fit(digits.train, digits.validation, **more, resume=begun)
    history = network().fit(
        digits.train, digits.validation, **more, resume=begun,
        checkpoint=tmp_path / "new.safetensors", allow_changes=True,
    )  # fmt: skip
    assert history.ended == "all 10 epochs done"
    assert [change["what"] for change in history.changes] == ["epochs"]


def other_seed():
    model = network()
    model.seed = 7
    return model


def other_layer():
    model = network()
    model.layers[0].filters = 4
    return model


@pytest.mark.parametrize(
    ("make", "more", "message"),
    [
        (other_seed, {}, "seed was 6 and is 7"),
        (other_layer, {}, r"layers\.conv1\.filters was 3 and is 4"),
        (network, {"batch_size": 50}, "batch_size was 60 and is 50"),
        (network, {"shuffle": False}, "shuffle was True and is False"),
    ],
)
def test_what_would_make_it_another_run_is_refused_even_so(begun, digits, make, more, message):
    with pytest.raises(ValueError, match=f"belongs to another run, where {message}"):
        make().fit(
            digits.train, digits.validation, **{**settings(), **more}, resume=begun,
            allow_changes=True,
        )  # fmt: skip


def test_other_images_are_noticed(begun, digits):
    images = digits.train.images.copy()
    images[0, 0, 0, 0] += 1
    other = Dataset(images, digits.train.labels, digits.train.classes, digits.train.scaling)
    with pytest.raises(ValueError, match="another run, where images was '1258 images"):
        network().fit(other, digits.validation, **settings(), resume=begun)


def test_another_kind_of_optimizer_finds_no_state_and_changes_nothing(begun, digits):
    model = with_rate(Constant(0.01))
    model.optimizer = SGD(0.1)
    for layer in model.layers:
        layer.optimizer = None
    fresh = network().build(digits.shape).parameters.values.copy()
    with pytest.raises(ValueError, match="was begun with other settings"):
        model.fit(digits.train, digits.validation, **settings(), resume=begun)
    assert (model.parameters.values == fresh).all()
    other = network()
    other.optimizer = Adadelta()  # wants an array that neither Adam nor SGD keeps
    with pytest.raises(ValueError, match="has no step_square of Adadelta"):
        other.fit(digits.train, digits.validation, **settings(), resume=begun, allow_changes=True)
    assert (other.parameters.values == fresh).all()


def test_a_model_file_is_no_checkpoint_but_a_checkpoint_is_a_model_file(
    begun, digits, whole, tmp_path
):
    path = whole[0].save(tmp_path / "model.safetensors")
    with pytest.raises(ValueError, match="not a checkpoint"):
        network().fit(digits.train, digits.validation, **settings(), resume=path)
    model = CNN.load(begun)
    assert model.steps_done == 25
    assert model.predict(digits.test.images).shape == (270,)


def test_steps_between_checkpoints_need_a_file(digits):
    with pytest.raises(ValueError, match="checkpoint_every needs a file"):
        network().fit(digits.train, checkpoint_every=5, progress=False)
    with pytest.raises(ValueError, match="checkpoint_every: expected at least 1"):
        network().fit(digits.train, checkpoint="x", checkpoint_every=0, progress=False)


def test_a_mended_record_is_refused_in_words(begun, digits, tmp_path):
    """A record that lacks something, under a hash that fits it."""
    path = tmp_path / "checkpoint.safetensors"
    for key in ("fit", "optimizer_steps", "position", "running", "history"):
        contents = arrays_file.read(begun)
        del contents.records["training"][key]
        path.write_bytes(arrays_file.encode(contents))
        with pytest.raises(ValueError, match="incomplete checkpoint"):
            network().fit(digits.train, digits.validation, **settings(), resume=path)


def test_checkpoints_cost_no_random_numbers(tmp_path, digits, whole):
    """With and without: the same weights."""
    model = network()
    path = tmp_path / "checkpoint.safetensors"
    model.fit(digits.train, digits.validation, **settings(), checkpoint=path, checkpoint_every=10)
    assert (model.parameters.values == whole[0].parameters.values).all()
    assert np.isfinite(model.parameters.values).all()


def pooled(eager=False):
    """A network that can be captured in every backend."""
    return CNN(Conv2D(3), MaxPool2D(2), Dense(10), eager=eager, seed=6)


@pytest.fixture(scope="module")
def captured(digits, tmp_path_factory):
    """A checkpoint of a captured run."""
    path = tmp_path_factory.mktemp("captured") / "checkpoint.safetensors"
    with pytest.MonkeyPatch.context() as patch:
        stopped(pooled(), digits, 25, patch, checkpoint=path, checkpoint_every=5)
    return path


def test_going_on_in_the_other_mode_must_be_said(captured, digits, tmp_path):
    """Captured and eager differ by rounding, so the end would not be the same bits."""
    with pytest.raises(ValueError, match="execution was 'captured' and is 'eager'"):
        pooled(True).fit(digits.train, digits.validation, **settings(), resume=captured)
    history = pooled(True).fit(
        digits.train, digits.validation, **settings(), resume=captured, allow_changes=True,
        checkpoint=tmp_path / "checkpoint.safetensors",
    )  # fmt: skip
    assert [change["what"] for change in history.changes] == ["execution"]


def test_a_checkpoint_that_does_not_say_the_mode_goes_on_in_any(captured, digits, tmp_path):
    """Those of version 0.1 did not record it."""
    contents = arrays_file.read(captured)
    assert contents.records["training"]["fit"].pop("execution") == "captured"
    old = tmp_path / "old.safetensors"
    old.write_bytes(arrays_file.encode(contents))
    history = pooled().fit(digits.train, digits.validation, **settings(), resume=old)
    assert history.ended == "all 9 epochs done"
