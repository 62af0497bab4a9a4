"""Callbacks: what they are told, how they stop a run, and what wrong ones are told."""

import csv
import dataclasses
import signal
import sys
import types

import numpy as np
import pytest

from CNN import CNN
from examples.tensorboard_log import TensorBoardLog
from Filters import Conv2D, MaxPool2D
from glassbox.callbacks import CSVLog, EarlyStopping, EpochRecord, KeepEpochs, RunRecord, StepRecord
from MLP import SGD, Dense

LABELS = np.arange(30) % 3
IMAGES = np.random.default_rng(0).integers(0, 256, (30, 1, 6, 6), np.uint8)
DATA = IMAGES, LABELS


class Listening:
    """Keeps what it is told; stops at a step or an epoch."""

    def __init__(self, at_step=None, at_epoch=None, verdict=True):
        self.steps, self.epochs = [], []
        self.at_step, self.at_epoch, self.verdict = at_step, at_epoch, verdict

    def after_step(self, record):
        self.steps.append(record)
        return self.verdict if record.step == self.at_step else None

    def after_epoch(self, record):
        self.epochs.append(record)
        return self.verdict if record.epoch == self.at_epoch else None


def network(**settings):
    return CNN(Conv2D(2), MaxPool2D(2), Dense(3), optimizer=SGD(0.5), **settings)


def fit(net, *callbacks, **settings):
    settings = {"epochs": 3, "batch_size": 8, "progress": False, **settings}
    return net.fit(DATA, callbacks=callbacks, **settings)


@pytest.mark.parametrize("eager", [False, True])
def test_records_are_those_of_the_history_and_of_train_step(eager):
    listening, net = Listening(), network(eager=eager)
    history = fit(net, listening, validation=DATA)
    assert [dataclasses.asdict(record) for record in listening.epochs] == history.records
    assert [record.step for record in listening.steps] == list(range(1, 13))
    assert [record.epoch for record in listening.steps] == [1] * 4 + [2] * 4 + [3] * 4
    assert [record.seen for record in listening.steps[:4]] == [8, 16, 24, 30]
    assert {record.images for record in listening.steps} == {30}
    assert {record.learning_rate for record in listening.steps} == {0.5}
    sizes = np.array([8, 8, 8, 6])
    means = [record.loss for record in listening.steps[4:8]]
    assert sizes @ means / 30 == pytest.approx(history.records[1]["loss"], rel=1e-12)
    right = [record.accuracy for record in listening.steps[4:8]]
    assert sizes @ right / 30 == pytest.approx(history.records[1]["accuracy"], rel=1e-12)


def test_listening_changes_no_bit():
    alone, heard = network(), network()
    fit(alone)
    fit(heard, Listening(), lambda record: None)
    assert alone.parameters.values.tobytes() == heard.parameters.values.tobytes()


def test_records_are_frozen():
    for kind in (StepRecord, EpochRecord):
        record = kind(*range(7))
        with pytest.raises(dataclasses.FrozenInstanceError):
            record.loss = 0.0


def test_a_step_stops_the_run_there():
    listening, net = Listening(at_step=6, verdict="enough"), network()
    history = fit(net, listening)
    assert history.ended == "stopped by Listening in epoch 2: enough"
    assert net.steps_done == len(listening.steps) == 6
    assert [record["images"] for record in history.records] == [30, 16]
    assert len(listening.epochs) == 1  # the second was not done


def test_an_epoch_stops_the_run_there_with_the_best_weights():
    def enough(record):
        return record.epoch == 2

    history = fit(network(), enough, Listening(at_epoch=2), validation=DATA)
    assert history.ended == "stopped by enough in epoch 2"  # the first that says so
    assert len(history.records) == 2
    assert history.best_epoch in (1, 2)


def test_the_last_step_of_an_epoch_may_stop_too():
    listening = Listening(at_step=4)
    history = fit(network(), listening)
    assert history.ended == "stopped by Listening in epoch 1"
    assert len(history.records) == len(listening.epochs) == 1


def test_a_run_that_was_stopped_goes_on_to_the_same_bits(tmp_path):
    whole, stopped, file = network(), network(), tmp_path / "run.safetensors"
    fit(whole)
    fit(stopped, Listening(at_step=6), checkpoint=file)
    again = network()
    history = fit(again, resume=file)
    assert again.parameters.values.tobytes() == whole.parameters.values.tobytes()
    assert history.ended == "all 3 epochs done"
    assert len(history.records) == 3


def test_what_a_callback_changes_takes_effect():
    net = network()

    def halve(record):
        net.optimizer.learning_rate /= 2

    history = fit(net, halve)
    assert [record["learning_rate"] for record in history.records] == [0.5, 0.25, 0.125]


def test_an_error_in_a_callback_comes_through_and_names_it():
    def wrong(record):
        raise KeyError("mine")

    with pytest.raises(KeyError, match="mine") as caught:
        fit(network(), wrong)
    assert caught.value.__notes__ == ["in the callback wrong, epoch 1"]


def test_an_answer_that_is_no_verdict_is_refused():
    with pytest.raises(TypeError, match=r"callback <lambda>: .*True or a reason to stop, got 0\.5"):
        fit(network(), lambda record: 0.5)


@pytest.mark.parametrize(
    ("given", "told"),
    [
        (EarlyStopping, r"write EarlyStopping\(\)"),
        (3, "got 3"),
        ("stop", "got 'stop'"),
        (types.SimpleNamespace(after_epoch=3), "got namespace"),
    ],
)
def test_what_is_no_callback_is_refused_before_the_first_step(given, told):
    net = network()
    with pytest.raises(TypeError, match=f"callbacks: expected functions.*{told}"):
        net.fit(DATA, callbacks=given, progress=False)
    assert net.steps_done == 0


@pytest.mark.parametrize("hook", ["before_training", "after_step", "after_training"])
def test_an_object_with_one_of_the_methods_is_no_function(hook):
    """It may be callable for reasons of its own, as a mock or a metric is."""
    called = []
    methods = {hook: lambda self, told: None, "__call__": lambda self, *told: called.append(told)}
    fit(network(), type("Metric", (), methods)())
    assert called == []


def test_one_callback_needs_no_list():
    listening = Listening()
    network().fit(DATA, epochs=2, callbacks=listening, progress=False)
    assert len(listening.epochs) == 2


def test_early_stopping_by_accuracy_wants_higher_and_by_loss_lower():
    def said(monitor, values, **settings):
        stop = EarlyStopping(monitor, **settings)
        record = EpochRecord(1, 9, 0.0, 0.0, 0.1, 1.0, 1.0)
        records = [dataclasses.replace(record, **{monitor: value}) for value in values]
        return [stop.after_epoch(one) is not None for one in records]

    assert said("accuracy", [0.5, 0.6, 0.6, 0.7, 0.7, 0.6], patience=2) == [False] * 5 + [True]
    assert said("loss", [0.5, 0.4, 0.4, 0.3], patience=1) == [False, False, True, False]
    assert said("loss", [0.5, 0.45, 0.35], patience=1, least=0.1) == [False, True, False]


def test_early_stopping_in_a_run():
    history = fit(network(), EarlyStopping("loss", patience=1, least=10.0), epochs=9)
    assert history.ended.startswith("stopped by EarlyStopping in epoch 2: loss was not better")


def test_early_stopping_says_what_it_lacks():
    with pytest.raises(
        ValueError, match=r"monitor: expected one of images, loss, .* got 'val_loss'"
    ):
        EarlyStopping("val_loss")
    net = network()
    with pytest.raises(ValueError, match="watches validation_loss: pass validation="):
        fit(net, EarlyStopping())
    assert net.steps_done == 0


def test_early_stopping_needs_its_number_where_it_was_not_told_before():
    stop = EarlyStopping()
    with pytest.raises(ValueError, match="watches validation_loss: pass validation="):
        stop.after_epoch(EpochRecord(1, 9, 0.5, 0.5, 0.1, 1.0, 1.0))


def test_early_stopping_counts_the_epochs_before_that_have_its_number():
    without = EpochRecord(1, 9, 0.5, 0.5, 0.1, 1.0, 1.0)
    validated = dataclasses.replace(without, validation_loss=0.5)
    stop = EarlyStopping(patience=2)
    stop.before_training(RunRecord(9, 30, True, (without, without, validated, validated)))
    assert stop.after_epoch(validated)


def test_early_stopping_begins_anew_with_every_run():
    stop = EarlyStopping("loss", patience=2, least=10.0)
    assert len(fit(network(), stop, epochs=9).records) == 3  # the first is better than nothing
    assert len(fit(network(), stop, epochs=9).records) == 3


def test_a_resumed_run_tells_what_was_done(tmp_path):
    """Early stopping counts, and the table holds, the epochs before the run was stopped."""
    file, told = tmp_path / "run.safetensors", []

    class Told:
        def before_training(self, run):
            told.append(run)

    stop = Listening(at_epoch=2)
    fit(network(), stop, Told(), epochs=9, checkpoint=file, validation=DATA)
    log, early = CSVLog(tmp_path / "log.csv"), EarlyStopping("loss", patience=2, least=10.0)
    history = fit(network(), log, early, Told(), epochs=9, resume=file, validation=DATA)
    assert [dataclasses.astuple(run)[:3] for run in told] == [(9, 30, True)] * 2
    assert [run.done for run in told] == [(), tuple(stop.epochs)]
    assert not told[0].stopping()
    assert len(history.records) == 3
    lines = (tmp_path / "log.csv").read_text("utf-8").splitlines()
    assert [line.split(",")[0] for line in lines] == ["epoch", "1", "2", "3"]


def test_csv_log_holds_every_epoch(tmp_path):
    path = tmp_path / "log.csv"
    seen = []
    history = fit(network(), CSVLog(path), lambda record: seen.append(path.read_text("utf-8")))
    rows = list(csv.DictReader(seen[-1].splitlines()))
    assert [len(text.splitlines()) for text in seen] == [2, 3, 4]  # whole after every epoch
    assert [float(row["loss"]) for row in rows] == [record["loss"] for record in history.records]
    assert rows[0]["validation_loss"] == ""


def test_keep_epochs_saves_the_network_of_every_epoch(tmp_path):
    net, weights = network(), []
    keep = KeepEpochs(net, tmp_path / "epochs")
    fit(net, keep, lambda record: weights.append(net.parameters.values.copy()))
    files = sorted((tmp_path / "epochs").iterdir())
    assert [file.name for file in files] == [f"{k:03d}.safetensors" for k in (1, 2, 3)]
    for file, values in zip(files, weights, strict=True):
        assert (CNN.load(file).parameters.values == values).all()


def test_a_callback_that_waits_learns_of_ctrl_c():
    class Waiting:
        def before_training(self, run):
            self.run = run

        def after_step(self, record):
            if record.step == 2:
                signal.raise_signal(signal.SIGINT)
                assert self.run.stopping()

    assert fit(network(), Waiting()).ended == "interrupted in epoch 1"


@pytest.mark.parametrize("fails", [False, True])
def test_after_training_is_told_how_it_ended_also_by_an_error(fails):
    told = []

    class Told:
        def after_step(self, record):
            if fails:
                raise RuntimeError("out of paper")

        def after_training(self, ended):
            told.append(ended)

    try:
        fit(network(), Told())
    except RuntimeError:
        assert fails
    assert told == ["" if fails else "all 3 epochs done"]


def test_the_example_logs_to_tensorboard(monkeypatch, tmp_path):
    """With a stand-in for the writer, which is not installed where the tests run."""
    points, closed = [], []

    class SummaryWriter:
        def __init__(self, folder):
            self.folder = folder

        def add_scalar(self, name, value, step):
            points.append((name, value, step))

        def close(self):
            closed.append(self.folder)

    module = types.ModuleType("tensorboardX")
    module.SummaryWriter = SummaryWriter
    monkeypatch.setitem(sys.modules, "tensorboardX", module)
    history = fit(network(), TensorBoardLog("runs/x"), validation=DATA)
    record = history.records[1]
    for name in ("loss", "accuracy", "validation_loss", "validation_accuracy"):
        assert (f"epoch/{name}", record[name], 2) in points
    assert [step for name, _, step in points if name == "step/loss"] == list(range(1, 13))
    assert closed == ["runs/x"]
    monkeypatch.setitem(sys.modules, "tensorboardX", None)
    with pytest.raises(ImportError, match="pip install tensorboardX"):
        TensorBoardLog("runs/x")
