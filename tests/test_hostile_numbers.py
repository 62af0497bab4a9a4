"""Hostile numbers in every numeric argument: refused by name, or they work; nothing else.

The arguments are found by the signatures of all public names, so that a new one is tested, too.
"""

from __future__ import annotations

import copy
import inspect
import json
import re
from dataclasses import fields
from decimal import Decimal
from fractions import Fraction
from functools import partial

import numpy as np
import pytest
from PIL import Image

import glassbox
from CNN import CNN
from Datasets import Augmentation, Dataset, Scaling, from_arrays, from_csv, from_folder
from Filters import Conv2D
from glassbox.cli.arguments import Options, options_of, parse
from glassbox.engine.fit_settings import FitSettings
from glassbox.engine.layer import Layer
from glassbox.engine.losses import Loss
from glassbox.engine.optimizers import Optimizer
from glassbox.engine.schedules import Progress, Schedule
from glassbox.errors import Diverged, short
from glassbox.files import arrays_file
from MLP import SGD, BatchNorm, Dense, Dropout, OneCycle

INFINITE = float("inf")
HOSTILE = [
    INFINITE, -INFINITE, float("nan"), 1e308, -1e308, 5e-324, 0.5, 0, -1, True, 10**30, -(10**30),
    2**62, 2**63, 2**64, -(2**63), 10**400, -(10**400), 10**5000, np.float32("nan"),
    np.float64("inf"), np.uint64(2**64 - 1), np.int64(-(2**63)), Fraction(10**400, 3),
    Fraction(1, 10**400), Decimal("1e999"), 1j, "1e400",
]  # fmt: skip
IMAGES, LABELS = np.zeros((12, 2, 6, 6), np.uint8), np.arange(12) % 3
# What a call needs besides the argument under test.
NEEDED = {
    "Conv2D": {"filters": 2}, "Dense": {"units": 3}, "Constant": {"rate": 0.1},
    "Cosine": {"rate": 0.1}, "Exponential": {"rate": 0.1, "gamma": 0.5},
    "InverseTime": {"rate": 0.1, "decay": 0.1}, "OneCycle": {"rate": 0.1},
    "StepDecay": {"rate": 0.1, "step_size": 2}, "WarmUp": {"then": 0.1, "steps": 2},
    "from_arrays": {"images": IMAGES, "labels": LABELS},
    "FitSettings": {"epochs": 1, "batch_size": 1},
    "prepare_digits": {"images": [np.eye(24)]}, "digit_steps": {"image": np.eye(24)},
}  # fmt: skip
OTHER_WORDS = {"then": "learning_rate", "mean": "fitted", "std": "fitted"}
NUMBER = re.compile(r"\b(int|float|Pair|Sizes)\b")
ELSEWHERE = {
    "Activation", "DataUnavailable", "Dataset", "Digits", "Evaluation", "FashionMNIST", "MNIST",
    "Splits", "from_csv", "from_folder", "from_idx", "from_npz", "load",
}  # fmt: skip


def subjects():
    """Every public class and function, and the settings of `fit`."""
    for name in [*(n for names in glassbox.PUBLIC.values() for n in names), "FitSettings"]:
        if name not in ELSEWHERE:
            yield name, FitSettings if name == "FitSettings" else getattr(glassbox, name)


def cases():
    for name, call in subjects():
        for argument in inspect.signature(call).parameters.values():
            words = str(argument.annotation)
            if NUMBER.search(words) or argument.name in ("sizes", "seed"):
                yield pytest.param(name, call, argument.name, id=f"{name}-{argument.name}")


def use(made):
    """Have what was made do what it is for, a little."""
    if isinstance(made, Layer):
        CNN(made, Dense(3), kernels="numpy", threads=1).build((2, 6, 6)).predict(IMAGES[:2])
    elif isinstance(made, Schedule):
        for step in (0, 1, 999):
            made.at(Progress(step, 1000, 100))
    elif isinstance(made, Optimizer):
        weights = np.ones(3, np.float32)
        made.move(weights, weights.copy(), made.new_state(weights) | {"steps": 1}, 0.1)
    elif isinstance(made, Loss):
        made.forward(np.ones((3, 2)), np.arange(2))
    elif isinstance(made, Augmentation):
        made(IMAGES.astype(np.float32), np.random.default_rng(0))
    elif isinstance(made, Scaling):
        made.apply(IMAGES), made.constants(2)
    elif isinstance(made, FitSettings):
        made.check(has_validation=True, has_file=True)
    elif isinstance(made, CNN):
        made.build((2, 6, 6)).train_step(Dataset(IMAGES, LABELS, ("a", "b", "c"), Scaling()))


def attempt(call, argument, value):
    """Call, and use what comes; a refusal must be short and name the argument."""
    try:
        with np.errstate(all="ignore"):
            use(call())
    except Diverged:
        return
    except (ValueError, TypeError) as error:
        words = str(error)
        assert argument in words or OTHER_WORDS.get(argument, "?") in words, words
        assert len(words) < 600, words[:100]
    except Exception as error:
        pytest.fail(f"{argument}={type(value)!s}: {error!r:.200}")


def forms(words, value):
    """The value as the argument takes it: alone, in pairs, and in triples."""
    if not re.search(r"Pair|tuple|Sizes|Sequence|sizes", words):
        return [value]
    return [value, (value, 1), (1, value), (0.1, value), (value, 1, 1), (0.5, 0.2, value)]


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@pytest.mark.parametrize(("name", "call", "argument"), list(cases()))
def test_a_hostile_number_is_refused_by_name_or_works(name, call, argument):
    needed = NEEDED.get(name) or {}
    first = {"CNN": [Dense(3)], "Residual": [Conv2D(2)]}.get(name, [])
    more = {"threads": 1, "kernels": "numpy"} if name == "CNN" else {}
    words = f"{argument} {inspect.signature(call).parameters[argument].annotation}"
    for value in HOSTILE:
        for form in forms(words, value):
            given = {**more, **needed, argument: form}
            attempt(lambda given=given: call(*copy.deepcopy(first), **given), argument, value)


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@pytest.mark.parametrize("value", HOSTILE, ids=short)
def test_hostile_numbers_in_methods(value, tmp_path):
    """In `fit`, what predicts, and what reads tables and pictures; epochs are with FitSettings."""
    network = CNN(Dense(3), threads=1, kernels="numpy").build((2, 6, 6))
    (tmp_path / "t.csv").write_text("".join(f"{k % 3}," + "7," * 15 + "7\n" for k in range(9)))
    (tmp_path / "p").mkdir()
    Image.fromarray(IMAGES[0, 0]).save(tmp_path / "p" / "a.png")
    pair = (IMAGES, LABELS)
    fit = partial(network.fit, pair, epochs=1, progress=False)
    weights = {"class_weight": {0: value}}, {"sample_weight": [value] * 12}
    for name, call in {
        "batch_size": lambda: fit(batch_size=value),
        "weight": lambda: [fit(**weight) for weight in weights],
        "patience": lambda: fit(validation=pair, patience=value),
        "ema_decay": lambda: fit(ema_decay=value),
        "batch_size ": lambda: network.evaluate(pair, batch_size=value),
        "batch_size  ": lambda: network.predict(IMAGES, batch_size=value),
        "images": lambda: network.gradient_check(pair, images=value, quiet=True),
        "shape": lambda: from_csv(tmp_path / "t.csv", shape=(value, 4)),
        "shape ": lambda: from_csv(tmp_path / "t.csv", shape=value),
        "size": lambda: from_folder(tmp_path / "p", size=value),
        "size ": lambda: from_folder(tmp_path / "p", size=(2, value)),
        "take": lambda: from_arrays(*pair).train.take(value),
        "input_shape": lambda: CNN(Dense(3), kernels="numpy").build((value, 6, 6)),
    }.items():
        attempt(call, name.strip(), value)


@pytest.mark.parametrize(
    "option", [f"--{f.name.replace('_', '-')}" for f in fields(Options) if f.metadata.get("type")]
)
def test_hostile_numbers_on_the_command_line(option, capsys):
    for word in ("1e400", "-1e400", "nan", "inf", "9" * 40, "9" * 5000, "1e400%", "0", "", "1_0"):
        try:
            parse([f"{option}={word}"])
        except SystemExit as error:
            assert error.code == 2
            assert f"argument {option}" in capsys.readouterr().err


# --- in files --------------------------------------------------------------------------------

IN_FILES = [INFINITE, float("nan"), 1e308, 0, -1, 10**30, 2**63, 2**64, 10**400, -(10**400)]


def numbers_in(value, path=()):
    """The places of all numbers in a JSON record."""
    if isinstance(value, dict | list):
        for key, inner in value.items() if isinstance(value, dict) else enumerate(value):
            yield from numbers_in(inner, (*path, key))
    elif isinstance(value, int | float) and not isinstance(value, bool):
        yield path


def changed(record, path, value):
    twin = json.loads(json.dumps(record))
    inner = twin
    for key in path[:-1]:
        inner = inner[key]
    inner[path[-1]] = value
    return twin


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_hostile_numbers_in_a_checkpoint_and_in_a_model_file(tmp_path):
    """Every number in it, one at a time: a ValueError that names the file, or a network."""
    data = from_arrays(IMAGES, LABELS, normalize="standard")
    layers = Conv2D(2, 3, stride=2, padding=1), BatchNorm(), Dropout(0.1), Dense(3)
    rate = OneCycle(0.01, pct_start=0.25)
    path = tmp_path / "run.safetensors"

    def network():
        made = CNN(*(one.clone_unbuilt() for one in layers), optimizer=SGD(rate, 0.9), threads=1,
                   kernels="numpy", l2=0.001)  # fmt: skip
        return made.build((2, 6, 6))

    network().fit(data.train, data.validation, 2, 4, progress=False, checkpoint=path)
    saved = arrays_file.read(path)
    places = list(numbers_in(saved.records))
    assert len(places) > 60
    for place in places:
        for value in IN_FILES:
            records = changed(saved.records, place, value)
            path.write_bytes(arrays_file.encode(arrays_file.ModelState(saved.arrays, records)))
            for read in (
                lambda: CNN.load(path, kernels="numpy"),
                lambda: network().fit(
                    data.train, data.validation, 2, 4, progress=False, resume=path
                ),
            ):
                try:
                    read()
                except Diverged:
                    continue
                except ValueError as error:
                    assert str(path) in str(error), (place, str(error)[:300])
                except Exception as error:
                    pytest.fail(f"{place} = {value:.3g}: {error!r:.300}")


def test_hostile_numbers_in_the_settings_of_a_run(tmp_path):
    names = [f.name for f in fields(Options) if f.metadata.get("type")]
    for name in names:
        for value in IN_FILES:
            (tmp_path / "settings.json").write_text(json.dumps({"options": {name: value}}))
            try:
                options_of(str(tmp_path))
            except ValueError as error:
                assert name in str(error)
