"""Watching a training: what the page is told, pause and steps, and that no bit changes."""

import signal
import sys
import threading
import webbrowser

import numpy as np
import pytest

from CNN import CNN
from Filters import Conv2D, MaxPool2D
from glassbox import explorer
from glassbox.callbacks import RunRecord, StepRecord
from MLP import SGD, BatchNorm, Dense

pytest.importorskip("starlette", reason="the page's packages are not installed")
pytest.importorskip("uvicorn", reason="the page's packages are not installed")

LABELS = np.arange(40) % 2
IMAGES = np.random.default_rng(0).integers(0, 256, (40, 1, 6, 6), np.uint8)
DATA = IMAGES, LABELS


class Tab:
    """Stands for an open page: keeps the events; `at` is called with each."""

    def __init__(self, at=lambda event: None):
        self.events, self.at = [], at

    def put(self, event):
        if event["event"] == "training":
            self.events.append(event)
            self.at(event)


@pytest.fixture
def watched(monkeypatch):
    """A function that trains with a tab open that is told of every step."""
    module = pytest.importorskip("glassbox.explorer.watching")
    monkeypatch.setattr(module, "EVERY", 0)
    monkeypatch.setattr(module, "SHARE", float("inf"))
    tabs = []

    def train(at=lambda watch, event: None, *callbacks, **settings):
        net = CNN(Conv2D(2), MaxPool2D(2), Dense(2), optimizer=SGD(0.5))
        data = net.build((1, 6, 6)) and settings.pop("samples", None)
        watch = explorer.watch(net, data, browser=False)
        tab = Tab(lambda event: at(watch, event))
        watch.page.readers.append(tab)
        tabs.append((watch.page, tab))
        settings = {"epochs": 2, "batch_size": 10, "progress": False, **settings}
        history = net.fit(DATA, callbacks=[watch, *callbacks], **settings)
        return net, history, tab.events, watch

    yield train
    for page, tab in tabs:
        page.readers.remove(tab)
    close(*(page for page, _ in tabs))


def close(*pages):
    """Close all pages that are open, and wait until their threads are done."""
    for page in pages:
        page.close()
    for thread in threading.enumerate():
        if thread.name == "explorer page":
            thread.join()


def test_watching_changes_no_bit(watched):
    net, _, events, _ = watched()
    plain = CNN(Conv2D(2), MaxPool2D(2), Dense(2), optimizer=SGD(0.5))
    plain.fit(DATA, epochs=2, batch_size=10, progress=False)
    assert (net.parameters.values == plain.parameters.values).all()
    assert len(events) == 9


def test_the_page_is_told_of_the_run(watched):
    _, history, events, _ = watched(validation=DATA)
    assert [event["step"] for event in events] == [*range(1, 9), 8]
    assert [event["epoch"] for event in events] == [1] * 4 + [2] * 5
    assert {event["epochs"] for event in events} == {2}
    states = [event["state"] for event in events]
    assert states == ["running"] * 8 + ["ended: all 2 epochs done"]
    names = ("epoch", "loss", "accuracy", "validation_loss", "validation_accuracy")
    expected = [{name: record[name] for name in names} for record in history.records]
    assert [len(event["history"]) for event in events] == [0] * 4 + [1] * 4 + [2]
    assert events[-1]["history"] == expected
    assert [step for step, _ in events[-1]["recent"]] == list(range(1, 9))
    losses = [loss for _, loss in events[-1]["recent"]]
    assert losses == [event["loss"] for event in events[:-1]]


class Doubled(Dense):
    """A layer of one's own, which no file could name, times about two."""

    def _build(self, input_shape, context):
        self.factor = context.rng.normal(2)
        return super()._build(input_shape, context)

    def forward(self, x, context):
        y, cache = super().forward(x, context)
        return self.factor * y, cache

    def backward(self, dy, cache):
        return super().backward(self.factor * dy, cache)


def test_layers_of_ones_own_are_looked_at_too(watched):
    net = CNN(Conv2D(2), BatchNorm(), Doubled(2, activation=None), optimizer=SGD(0.01))
    watch = explorer.watch(net.build((1, 6, 6)), None, browser=False)
    net.fit(DATA, epochs=1, progress=False, callbacks=watch)
    close(watch.page)
    assert (watch.network().scores(IMAGES) == net.scores(IMAGES)).all()


def test_what_is_looked_at_are_the_weights_of_that_step(watched):
    """Not those of a step that is half done, nor those of later."""
    seen = []

    def look(watch, event):
        seen.append(watch.network().parameters.values.copy())
        assert watch.network() is watch.network()  # a new one for other weights alone

    net, _, _, watch = watched(look)
    for step in range(1, 9):
        plain = CNN(Conv2D(2), MaxPool2D(2), Dense(2), optimizer=SGD(0.5))
        plain.fit(
            DATA, epochs=2, batch_size=10, progress=False,
            callbacks=type("At", (), {"after_step": lambda self, r, n=step: r.step == n})(),
        )  # fmt: skip
        assert (seen[step - 1] == plain.parameters.values).all()
    assert (watch.network().parameters.values == net.parameters.values).all()


def test_nobody_looks_so_nothing_is_copied(monkeypatch, watched):
    net = CNN(Dense(2))
    watch = explorer.watch(net.build((1, 6, 6)), None, browser=False)
    copies = []
    real = net.parameters.snapshot
    monkeypatch.setattr(net.parameters, "snapshot", lambda: copies.append(None) or real())
    net.fit(DATA, epochs=2, batch_size=10, progress=False, callbacks=watch)
    close(watch.page)
    of_the_trainer, before_and_after = 3, 2  # and none for the eight steps
    assert len(copies) <= of_the_trainer + before_and_after


def test_answers_that_take_long_are_asked_for_less_often(watched, monkeypatch):
    """A second of computing, of which 1 % is allowed, is 100 seconds until the next message."""
    module = sys.modules["glassbox.explorer.watching"]
    monkeypatch.setattr(module, "SHARE", 0.01)

    def cost(watch, event):
        watch.page.session.seconds += 1.0

    _, _, events, _ = watched(cost)
    assert [event["step"] for event in events] == [1, 8]  # the first, and the end


def test_pause_step_and_go_on(watched):
    def act(watch, event):
        if event["state"] == "running" and event["step"] == 2:
            watch.do("pause")
        elif event["state"] == "paused":
            watch.do("step" if event["step"] < 5 else "go on")

    _, history, events, _ = watched(act)
    assert [(e["step"], e["state"]) for e in events[1:-1]] == [
        (2, "running"), (3, "paused"), (4, "paused"), (5, "paused"), (6, "running"),
        (7, "running"), (8, "running"),
    ]  # fmt: skip
    assert history.ended == "all 2 epochs done"


def test_a_step_that_is_pressed_while_one_runs_is_done_too(watched):
    """The third pause is one that Ctrl-C has to end, for nothing was pressed."""
    watch, waited = watched()[3], []
    watch.before_training(RunRecord(1, 9, False, stopping=lambda: waited.append(True) or True))
    for _ in range(2):
        watch.do("step")  # while the training is in a step
        watch.after_step(StepRecord(1, 1, 9, 9, 0.5, 0.5, 0.1))
        assert not waited
    watch.after_step(StepRecord(2, 1, 9, 9, 0.5, 0.5, 0.1))
    assert waited


def test_a_second_run_with_the_same_watch_begins_unpaused_on_the_same_page(watched):
    def act(watch, event):
        if event["state"] == "running" and event["step"] == 8:
            watch.do("step")  # too late for this run
        elif event["state"] == "paused":
            watch.do("go on")

    net, _, events, watch = watched(act)
    thread, first = watch.page.thread, len(events)
    net.fit(DATA, epochs=1, batch_size=10, progress=False, callbacks=watch)
    states = [event["state"] for event in events[first:]]
    assert states == ["running"] * 4 + ["ended: all 1 epochs done"]
    assert watch.page.thread is thread


def test_stop_ends_the_run_also_from_a_pause(watched):
    def act(watch, event):
        if event["step"] == 2:
            watch.do("pause")
        if event["state"] == "paused":
            watch.do("stop")

    _, history, events, _ = watched(act)
    assert history.ended == "stopped by Watch in epoch 1: the stop button of the explorer"
    assert events[-1]["state"] == f"ended: {history.ended}"
    assert events[-1]["step"] == 3


def test_ctrl_c_ends_a_pause(watched):
    def act(watch, event):
        if event["step"] == 2:
            watch.do("pause")
        if event["state"] == "paused":
            signal.raise_signal(signal.SIGINT)

    assert watched(act)[1].ended == "interrupted in epoch 1"


def test_the_session_answers_about_the_network_in_training(watched):
    answers = []

    def ask(watch, event):
        if event["step"] == 3:
            answers.append(watch.page.session.answer({"id": 1, "ask": "describe"}))
            request = {"id": 2, "ask": "training", "do": "stop"}
            answers.append(watch.page.session.answer(request))

    _, history, _, _ = watched(ask)
    assert answers[0]["training"]["state"] == "running"
    assert answers[0]["networks"] == [{"title": "in training", "epoch": None}]
    assert "training" in answers[0]["can"]
    assert "stop button" in history.ended


def test_a_resumed_run_shows_the_epochs_before(watched, tmp_path):
    file = tmp_path / "run.safetensors"
    _, first, _, _ = watched(lambda *_: None, lambda r: r.epoch == 1, checkpoint=file)
    _, _, events, _ = watched(resume=file)
    assert events[0]["history"][0]["loss"] == first.records[0]["loss"]
    assert events[0]["epoch"] == 2


def test_fit_opens_the_page(monkeypatch, capsys):
    opened, pages, real = [], [], explorer.watch
    monkeypatch.setattr(webbrowser, "open", opened.append)
    monkeypatch.setattr(explorer, "watch", lambda *given: pages.append(real(*given)) or pages[0])
    net = CNN(Dense(2))
    net.fit(DATA, epochs=1, progress=False, watch=True)
    close(pages[0].page)
    assert "The explorer is at http://127.0.0.1:" in capsys.readouterr().out


def test_without_its_packages_it_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "starlette", None)
    for name in [name for name in sys.modules if name.startswith(("starlette.", "glassbox.exp"))]:
        monkeypatch.delitem(sys.modules, name)
    net = CNN(Dense(2))
    with pytest.raises(ImportError, match=r"watch: .*pip install 'glassbox-cnn\[explorer\]'"):
        net.fit(DATA, epochs=1, progress=False, watch=True)
    assert net.steps_done == 0
