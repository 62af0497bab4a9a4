"""fit: order, history, the best weights, stopping early, Ctrl-C, previews, a floor of accuracy."""

from __future__ import annotations

import json
import os
import signal

import numpy as np
import pytest

from CNN import CNN
from Datasets import Augmentation, Digits
from Filters import Conv2D, MaxPool2D
from glassbox.engine.history import MovingMetrics
from glassbox.engine.trainer import batches
from glassbox.errors import Diverged
from MLP import SGD, Adam, Dense, Dropout, OneCycle


@pytest.fixture(scope="module")
def digits():
    return Digits()


def network(**settings):
    return CNN(
        Conv2D(8, 3), MaxPool2D(2), Dense(32), Dense(10),
        **{"optimizer": Adam(5e-3), "seed": 1, **settings},
    )  # fmt: skip


def test_a_short_run_learns_the_digits(digits):
    """The floor is far above chance (10 %) and far below what it reaches (about 96 %)."""
    net = network(optimizer=Adam(OneCycle(0.01)))
    history = net.fit(digits.train, digits.validation, epochs=12, batch_size=32, progress=False)
    assert net.evaluate(digits.test).accuracy > 0.92
    assert history.records[-1]["loss"] < history.records[0]["loss"] / 4
    assert history.ended == "all 12 epochs done"


def test_history_tells_every_epoch_and_what_was_between(digits):
    data = digits.train.take(100)
    history = network().fit(
        data, digits.validation.take(50), epochs=3, batch_size=32, progress=False
    )
    assert [record["epoch"] for record in history.records] == [1, 2, 3]
    assert all(record["images"] == 100 for record in history.records)
    keys = {"loss", "accuracy", "validation_loss", "validation_accuracy", "seconds",
            "learning_rate", "images_per_second"}  # fmt: skip
    assert keys <= set(history.records[0])
    # 4 steps an epoch, each of them noted: 32, 64, 96 and 100 images
    assert [point["images"] for point in history.running[:5]] == [32, 64, 96, 100, 132]
    json.dumps(history.to_json())


def test_running_means_forget_what_is_older_than_the_window():
    running = MovingMetrics(window=10)
    for _ in range(5):
        running.add(5, loss_sum=50.0, correct=0)
    for _ in range(2):
        running.add(5, loss_sum=5.0, correct=5)
    assert running.loss == 1.0
    assert running.accuracy == 1.0


def test_every_image_comes_once_an_epoch_in_an_order_of_its_own():
    first = np.concatenate(list(batches(0, 0, 103, 10, shuffle=True)))
    second = np.concatenate(list(batches(0, 1, 103, 10, shuffle=True)))
    assert sorted(first) == sorted(second) == list(range(103))
    assert (first != second).any()
    assert (first == np.concatenate(list(batches(0, 0, 103, 10, shuffle=True)))).all()
    assert (first != np.concatenate(list(batches(1, 0, 103, 10, shuffle=True)))).any()
    assert [len(batch) for batch in batches(0, 0, 103, 50, shuffle=False)] == [50, 50, 3]


def test_the_last_partial_batch_counts_as_much_per_image(digits):
    """One epoch of SGD over 5 images in batches of 3: the second step divides by 2, not by 3."""
    data = digits.train.take(5)
    whole = CNN(Dense(10), optimizer=SGD(0.1), seed=2)
    whole.fit(data, epochs=1, batch_size=3, shuffle=False, progress=False)
    by_hand = CNN(Dense(10), optimizer=SGD(0.1), seed=2).build(data.shape)
    for where in ([0, 1, 2], [3, 4]):
        x, labels = data.batch(where)
        y, memories = by_hand.forward(x, training=True)
        targets = np.eye(10, dtype=np.float32)[labels]
        gradients = by_hand.backward(2 * (y - targets) / (10 * len(where)), memories)["dense1"]
        for name, gradient in gradients.items():
            by_hand.layers[0].parameters[name] -= 0.1 * gradient
    np.testing.assert_allclose(whole.parameters.values, by_hand.parameters.values, rtol=1e-5)


def test_batches_of_one_train(digits):
    net = network(optimizer=Adam(3e-3))
    history = net.fit(digits.train.take(300), epochs=4, batch_size=1, progress=False)
    assert history.records[-1]["accuracy"] > 0.8


def test_the_same_seed_gives_the_same_bits_and_another_seed_does_not(digits):
    data = digits.train.take(200)

    def weights(seed):
        net = network(seed=seed)
        net.add(Dropout(0.2)).add(Dense(10))
        net.fit(data, epochs=2, augment=Augmentation(shift=1, rotation=10), progress=False)
        return net.parameters.values.tobytes()

    assert weights(1) == weights(1)
    assert weights(1) != weights(2)


class TestBestWeights:
    def test_they_come_back_at_the_end(self, digits):
        """The rate jumps up after two epochs, so that the later ones are worse."""

        class Jump(OneCycle):
            def at(self, moment):
                return 5e-3 if moment.count("epoch") < 3 else 3.0

        net = network(optimizer=Adam(Jump(0.1)))
        checks = digits.validation
        history = net.fit(digits.train, checks, epochs=6, batch_size=64, progress=False)
        found = [record["validation_accuracy"] for record in history.records]
        assert history.best_epoch == 3
        assert found[5] < found[2] - 0.2
        assert net.evaluate(checks).accuracy == found[2]

    def test_they_come_back_when_the_loss_diverges(self, digits):
        class Explode(OneCycle):
            def at(self, moment):
                return 5e-3 if moment.count("epoch") < 2 else 1e36

        net = CNN(Dense(10, None), optimizer=SGD(Explode(0.1)))
        with pytest.raises(Diverged):
            net.fit(digits.train, digits.validation, epochs=6, progress=False)
        found = [record["validation_accuracy"] for record in net.history.records]
        assert net.evaluate(digits.validation).accuracy == max(found)

    def test_running_statistics_come_back_too(self, digits):
        from MLP import BatchNorm

        net = CNN(Dense(20, None), BatchNorm(), Dense(10), optimizer=Adam(0.01))
        history = net.fit(digits.train, digits.validation, epochs=5, progress=False)
        best = history.records[history.best_epoch - 1]
        assert net.evaluate(digits.validation).loss == best["validation_loss"]


def test_patience_stops_a_run_that_gets_no_better(digits):
    net = network(optimizer=SGD(1e-12))
    history = net.fit(digits.train, digits.validation, epochs=50, patience=3, progress=False)
    assert len(history.records) == 4  # the first is the best, three more are waited for
    assert history.ended == "no better epoch for 3 epochs"


class TestControlC:
    @pytest.fixture(autouse=True)
    def listening(self):
        """A program started in the background ignores Ctrl-C, and so would a test."""
        before = signal.signal(signal.SIGINT, signal.default_int_handler)
        yield
        signal.signal(signal.SIGINT, before)

    def press_at(self, step):
        """An augmentation that presses Ctrl-C at one step, and counts them."""
        seen = []

        def augment(x, generator):
            seen.append(1)
            if len(seen) == step:
                os.kill(os.getpid(), signal.SIGINT)
            return x

        return augment, seen

    def test_once_keeps_what_was_learnt(self, digits):
        augment, seen = self.press_at(15)
        net = network(threads=1)
        history = net.fit(digits.train, digits.validation, 9, 64, augment=augment, progress=False)
        assert len(seen) == 15  # that step is finished, no other begun
        assert history.ended == "interrupted in epoch 1"
        assert history.records[0]["images"] == 15 * 64
        assert history.records[0]["validation_accuracy"] == net.evaluate(digits.validation).accuracy
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler

    def test_twice_stops_at_once(self, digits):
        def augment(x, generator):
            for _ in range(2):
                os.kill(os.getpid(), signal.SIGINT)
            return x

        with pytest.raises(KeyboardInterrupt):
            network(threads=1).fit(digits.train, epochs=9, augment=augment, progress=False)


def test_a_second_fit_goes_on_where_the_first_ended(digits):
    """Adam's step count is part of its state: two fits of one epoch equal one fit of two."""
    data = digits.train.take(64)
    once, twice = (CNN(Dense(10), optimizer=Adam(0.01), seed=1) for _ in range(2))
    once.fit(data, epochs=2, batch_size=64, shuffle=False, progress=False)
    for _ in range(2):
        twice.fit(data, epochs=1, batch_size=64, shuffle=False, progress=False)
    assert once.parameters.values.tobytes() == twice.parameters.values.tobytes()


@pytest.mark.slow
def test_previews_are_drawn_every_share_of_the_data(digits, tmp_path):
    net = network()
    folder = tmp_path / "pictures"
    net.fit(digits.train.take(128), epochs=2, batch_size=32, preview=0.5, preview_folder=folder,
            progress=False)  # fmt: skip
    names = sorted(path.name for path in folder.iterdir())
    assert names == [
        "epoch_01_050_percent.png", "epoch_01_100_percent.png",
        "epoch_02_050_percent.png", "epoch_02_100_percent.png",
    ]  # fmt: skip
    assert (folder / names[0]).read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"


def test_progress_in_a_file_is_one_line_an_epoch(digits, capsys):
    network().fit(digits.train.take(64), digits.validation.take(32), epochs=2)
    out, err = capsys.readouterr()
    lines = out.splitlines()
    assert len(lines) == 3
    assert lines[0].startswith(("captured: ", "eager: "))
    assert lines[1].startswith("epoch 1/2  loss 0.")
    assert "validation" in lines[2]
    assert "\r" not in out + err
    assert err == ""


def test_evaluate_is_the_mean_over_all_images(digits):
    net = network().build(digits.shape)
    whole, parts = net.evaluate(digits.test), []
    for start in range(0, len(digits.test), 100):
        part = digits.test.subset(slice(start, start + 100))
        result = net.evaluate(part)
        parts.append((result.loss * len(part), result.accuracy * len(part)))
    loss, right = np.sum(parts, axis=0) / len(digits.test)
    assert whole.loss == pytest.approx(loss, rel=1e-6)
    assert whole.accuracy == pytest.approx(right)
    assert str(whole).startswith("accuracy ")
