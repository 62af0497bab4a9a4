"""What the benchmarks rest on: their networks, their arithmetic, their twins elsewhere.

Nothing is timed here, and PyTorch and ONNX Runtime are not needed.
"""

from __future__ import annotations

import doctest
import json
import mmap
import os
import re
import subprocess
import sys
from argparse import Namespace
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pytest
from onnx.reference import ReferenceEvaluator

import main
from benchmarks import (
    accuracy,
    against_commit,
    against_peers,
    machine,
    memory,
    report,
    restricted,
    roofline,
    scaling,
)  # fmt: skip
from benchmarks.networks import NETWORKS, SHAPES, network, random_images, recipe, weights
from benchmarks.resident import STATUS, forget_peak, peak_megabytes, resident_megabytes
from CNN import CNN
from examples import (
    a_lab,
    b_keras_pipeline,
    c_resnet,
    c_two_convolutions,
    d_batch_of_one,
    e_fashion_cnn,
    e_mlps,
    records,
)  # fmt: skip
from Filters import AvgPool2D, Conv2D, GlobalAvgPool2D, MaxPool2D, Residual
from glassbox.bridges.onnx import INPUT, export
from glassbox.cli import Options
from glassbox.engine.capture.fused import parts_of
from MLP import SGD, BatchNorm, Dense, Dropout, LeakyReLU

ROOT = Path(__file__).parent.parent
COUNTS = {  # weights and biases, written out where they are not published
    "A": 20 + 57 + (75 * 32 + 32) + 330,
    "B": 1_199_882,
    "C": 20 + 18 + (1250 * 10 + 10),
    "D": 80 + 146 + (98 * 98 + 98) + 990,
    "D 8/16": 80 + 1168 + (784 * 72 + 72) + 730,
    "E CNN": 1_736_714,
    "E MLP": 109_386,
}

NORMALIZED = ["small", "residual", "color", "normalized"]


# --- the networks ----------------------------------------------------------------------------


def test_every_network_has_the_size_of_its_original():
    assert list(NETWORKS) == [*COUNTS, *NORMALIZED]
    for name, count in COUNTS.items():
        assert network(name).parameter_count == count
    published = COUNTS["A"] - 2 - 3  # its original has no biases in the convolutions
    assert published == 2834


ORIGINALS = {
    "A": a_lab.network,
    "B": lambda: b_keras_pipeline.network(SGD(0.1)),
    "C": c_two_convolutions.network,
    "D": d_batch_of_one.network,
    "D 8/16": lambda: main.network(Options()),
    "E CNN": e_fashion_cnn.network,
    "E MLP": e_mlps.network,
}


@pytest.mark.parametrize("name", NORMALIZED)
def test_networks_with_normalization_run_as_recorded(name):
    made = network(name, kernels=None)
    assert made.input_shape == SHAPES[name]
    assert not made.assembly.describe().count("as written")


@pytest.mark.parametrize(
    ("name", "original"),
    [("small", lambda: records.network("small")), ("residual", c_resnet.network)],
)
def test_two_of_them_are_those_of_the_examples(name, original):
    """Layer by layer, and those inside a block."""

    def told(made):
        parts = [part for layer in made.layers for part in parts_of(layer)]
        return [(type(part), part.output_shape, [*part.parameters]) for part in parts]

    assert told(network(name)) == told(original().build((1, 28, 28)))


@pytest.mark.parametrize("name", ORIGINALS)
def test_the_networks_are_those_of_the_examples_and_of_main_py(name):
    """But for A's biases, initializers and optimizers, which cost a step nothing."""

    def told(made):
        built = made if made.parameters else made.build((1, 28, 28))
        layers = [
            (
                type(layer), layer.input_shape, layer.output_shape, vars(layer).get("rate"),
                type(vars(layer).get("activation")), layer.parameters["weight"].shape
                if layer.parameters else getattr(layer, "stride", None),
            )
            for layer in built.layers
        ]  # fmt: skip
        return layers, type(built.loss), type(built.output_activation)

    assert told(network(name)) == told(ORIGINALS[name]())


def test_a_network_without_its_dropout():
    with_it, without = network("E CNN"), network("E CNN", dropout=False)
    words = [type(layer).__name__ for layer in with_it.layers]
    assert words.count("Dropout") == 3
    assert [type(layer).__name__ for layer in without.layers] == [
        word for word in words if word != "Dropout"
    ]
    assert without.parameter_count == with_it.parameter_count


def test_random_images_are_bytes_of_ten_classes():
    data = random_images(20, (1, 14, 14))
    assert (data.images.dtype, data.shape, len(data)) == (np.uint8, (1, 14, 14), 20)
    assert data.labels.tolist() == [*range(10), *range(10)]
    x, _ = data.batch(np.arange(20))
    assert 0 <= x.min() < 0.1 < 0.9 < x.max() <= 1


# --- medians and means -----------------------------------------------------------------------


def test_spread_and_means():
    assert machine.spread([3.0, 1.0, 2.0, 10.0]) == "2.50 (1.00 to 10.00)"
    assert machine.geometric_mean([1.0, 8.0, 27.0]) == pytest.approx(6.0)
    assert machine.ratios([2.0, 3.0], [4.0, 1.0]) == [0.5, 3.0]


def test_contestants_take_turns_and_the_first_round_only_warms_up():
    order = []

    def contestant(name):
        def measure():
            order.append(name)
            return float(len(order))

        return measure

    found = machine.alternate({"a": contestant("a"), "b": contestant("b")}, rounds=3)
    assert "".join(order) == "abababab"
    assert found == {"a": [3.0, 5.0, 7.0], "b": [4.0, 6.0, 8.0]}


def test_rate_counts_what_a_step_handles():
    calls = []
    speed = machine.rate(lambda: calls.append(0), amount=5, seconds=0.01)
    assert 0 < speed <= 5 * len(calls) / 0.01


def test_the_machine_is_told_with_the_versions_of_packages():
    told = machine.describe("onnxruntime")
    assert f"NumPy {np.__version__}" in told
    assert f"ONNX Runtime {version('onnxruntime')}" in told
    assert "ONNX Runtime" not in machine.describe()


def test_a_benchmarks_json_goes_where_there_is_no_folder_yet_and_names_the_machine(tmp_path):
    path = tmp_path / "results" / "it.json"
    machine.write_json(str(path), {"seconds": [1.5]}, "onnxruntime")
    found = json.loads(path.read_text("utf-8"))
    where = found.pop("machine")
    assert found == {"seconds": [1.5]}
    assert where["onnxruntime"] == version("onnxruntime")
    assert where["numpy"] == np.__version__
    assert {"processor", "features", "cores", "system", "python", "numba", "commit"} <= set(where)
    machine.write_json("", {"seconds": [1.5]})  # nothing was asked for


def test_the_command_line_has_an_option_for_each_default(monkeypatch, capsys):
    def read(*words):
        monkeypatch.setattr(sys, "argv", ["benchmark", *words])
        return vars(machine.options("What.\n\nMore.", networks=["A"], first_runs=1, seconds=0.5))

    assert read() == {"networks": ["A"], "first_runs": 1, "seconds": 0.5, "json": ""}
    given = read("--networks", "B", "D 8/16", "--first-runs", "3", "--seconds", "2", "--json", "x")
    assert given == {"networks": ["B", "D 8/16"], "first_runs": 3, "seconds": 2.0, "json": "x"}
    for words, said in (
        (["--networks", "Z"], "invalid choice"),
        (["--first-runs", "0"], "--first-runs: got 0, expected at least 1"),
    ):
        with pytest.raises(SystemExit):
            read(*words)
        assert said in capsys.readouterr().err


def test_a_process_of_its_own_is_told_and_heard_and_its_failure_noticed():
    program = "import os, sys; print(os.environ['WORD'], sys.argv[1], sys.stdin.read())"
    said = machine.run_python("-c", program, "told", given="given", WORD="around")
    assert said.split() == ["around", "told", "given"]
    with pytest.raises(subprocess.CalledProcessError):
        machine.run_python("-c", "raise SystemExit(3)")


SPEEDS = {
    "contiguous_format": [1e6], "channels_last": [2e6], "jax": [2.5e6], "onnxruntime": [9e6],
    "compiled": [5e6], "numpy": [1e6],
}  # fmt: skip


def test_tables_fit_a_hundred_columns_and_stand_under_their_heading():
    found = against_peers.compared(SPEEDS)
    found["ratios"] = {kind: [12.34, 98.76] for kind in found["ratios"]}
    lines = [report.heading(), report.row("E CNN", found)]
    assert len(lines[0]) == len(lines[1]) <= 100
    assert report.means({"A": found, "B": found}) == pytest.approx(
        dict.fromkeys(found["ratios"], 55.55)
    )


# --- the peers -------------------------------------------------------------------------------


def test_the_faster_way_of_each_peer_counts_and_the_best_of_those_that_train():
    found = against_peers.compared(SPEEDS)
    assert found["faster"] == {
        "pytorch": "channels_last", "jax": "jax", "onnxruntime": "onnxruntime"
    }  # fmt: skip
    assert found["best"] == "jax"
    assert found["ratios"]["compiled / best"] == [2.0]
    assert found["ratios"]["compiled / pytorch"] == [2.5]
    assert found["ratios"]["numpy / onnxruntime"] == [pytest.approx(1 / 9)]
    assert not any("torch.compile" in kind for kind in found["ratios"])


def test_peers_that_do_not_run_are_left_out_with_the_reason(monkeypatch):
    def only(*packages):
        monkeypatch.setattr(against_peers, "find_spec", lambda name: name in packages or None)

    def ready(threads, compiled):
        return "no C++ compiler" if compiled else ""

    monkeypatch.setattr(against_peers, "twin", lambda peer: Namespace(ready=ready))
    only("torch")
    assert against_peers.present() == (["pytorch"], {
        "torch.compile": "no C++ compiler",
        "jax": "jax is not installed", "onnxruntime": "onnxruntime is not installed",
    })  # fmt: skip
    only("jax", "onnxruntime")
    assert against_peers.present()[0] == ["jax", "onnxruntime"]
    only("onnxruntime")
    with pytest.raises(SystemExit, match="neither PyTorch nor JAX is installed"):
        against_peers.present()


def test_ours_may_be_as_far_from_float64_as_rounding_or_a_peer_and_no_further():
    def judge(ours, theirs, **others):
        peers = {"pytorch": {"gradients": theirs}, **others}
        against_peers.judge("E CNN, compiled", {"gradients": ours}, peers)

    judge(1.7e-6, 5.1e-4)  # PyTorch's float32 took the other pixel of a max-pooling
    judge(5.1e-4, 1.7e-6, jax={"gradients": 6e-4})  # so did ours, as JAX's
    judge(1.9e-5, 1e-7, onnxruntime={"outputs": 1e-7})
    with pytest.raises(SystemExit, match=r"gradients differ by 5.1e-04 .*pytorch by 1.7e-06"):
        judge(5.1e-4, 1.7e-6)


@pytest.mark.parametrize("wrong", [0.2, np.nan])
def test_another_network_is_no_excuse_and_is_not_timed(wrong):
    for ours, theirs, who in ((wrong, wrong, "ours"), (1e-6, wrong, "jax")):
        with pytest.raises(SystemExit, match=f"gradients of {who} differ .* not the same network"):
            against_peers.judge("A", {"gradients": ours}, {"jax": {"gradients": theirs}})


@pytest.mark.parametrize("name", ["A", "D"])
def test_our_float32_is_near_our_float64(name, monkeypatch, backend):
    """All kinds of numbers that are judged; another network's are far away."""
    data = random_images(512)
    found = against_peers.own_numbers(backend, name, data)

    def double(name, **settings):
        return network(name, dtype=np.float64, **settings)

    monkeypatch.setattr(against_peers, "network", double)
    exact = against_peers.own_numbers("numpy", name, data)
    errors = found.errors(exact)
    assert all(error < against_peers.ROUNDING[kind] for kind, error in errors.items())
    assert errors["gradients"] > 0
    tied = found._replace(gradients=[[1.001 * g for g in found.gradients[0]], *found.gradients[1:]])
    assert (
        tied.errors(exact)["gradients"] < against_peers.ROUNDING["gradients"]
    )  # one batch of five
    wrong = found._replace(gradients=[[-g for g in batch] for batch in found.gradients])
    assert wrong.errors(exact)["gradients"] == pytest.approx(2, rel=1e-3)


def test_a_restriction_that_a_library_does_not_tell_of_stops_everything(monkeypatch, capsys):
    said = iter([("more", 1.0), ("avx2", 1.5), ("more", 1.0), ("more", 1.0)])
    monkeypatch.setattr(restricted, "probe", lambda program, variables: next(said))
    with pytest.raises(SystemExit, match="NumPy's loops was to be restricted to avx2 and tells"):
        restricted.check("avx2", ["jax"])
    assert (
        "NumPy's products tells avx2; its job takes 1.50 times as long" in capsys.readouterr().out
    )


def test_what_cannot_be_restricted_or_asked_is_written_down(monkeypatch):
    monkeypatch.setattr(restricted, "PROBES", {"JAX": ("jax", ""), "PyTorch": ("pytorch", "")})
    monkeypatch.setattr(restricted, "probe", lambda program, variables: (None, 1.0))
    found = restricted.check("avx2", ["jax", "onnxruntime"])
    assert found["JAX"] == {"tells": None, "slower": 1.0}
    assert found["ONNX Runtime"] == restricted.FREE
    assert "PyTorch" not in found


def test_torch_compile_finds_no_code_of_another_run(monkeypatch):
    """In a process started meanwhile either; what the environment said before, it says after."""
    ask = f"import os; print(len(os.listdir(os.environ['{restricted.CACHE}'])))"
    for before in (None, "/before"):
        monkeypatch.delenv(restricted.CACHE, raising=False)
        if before:
            monkeypatch.setenv(restricted.CACHE, before)
        with restricted.fresh_cache():
            assert machine.run_python("-c", ask).strip() == "0"
        assert os.environ.get(restricted.CACHE) == before


# --- counting work ---------------------------------------------------------------------------


def test_flops_of_layers_counted_by_hand(backend):
    ours = CNN(Conv2D(3, 3, padding="valid"), MaxPool2D(2), Dense(10), kernels=backend)
    ours.build((2, 6, 8))
    conv, _, dense = ours.layers
    conv_flops = 2 * (3 * 4 * 6) * (2 * 3 * 3)  # outputs, times taps and channels of each
    dense_flops = 2 * 10 * (3 * 2 * 3)
    assert roofline.layer_flops(conv, samples=5) == 5 * conv_flops
    assert roofline.layer_flops(dense, samples=5) == 5 * dense_flops
    assert roofline.parts(ours, samples=7)[roofline.STEP] == 7 * (2 * conv_flops + 3 * dense_flops)


def test_the_kernels_that_are_timed_are_those_of_the_layer(backend):
    ours = network("D", kernels=backend)
    for layer in ours.layers:
        if not isinstance(layer, Conv2D | Dense):
            continue
        calls = roofline.layer_calls(layer, samples=9)
        assert ("input gradient" in calls) == (layer is not ours.layers[0])
        assert calls["forward"]().shape == (*layer.output_shape, 9)
        assert calls["weight gradient"]().shape == layer.parameters["weight"].shape
        if "input gradient" in calls:
            assert calls["input gradient"]().size == 9 * np.prod(layer.input_shape)


def test_rates_of_threads_are_summed():
    calls = [[], []]
    steps = [lambda: calls[0].append(0), lambda: calls[1].append(0)]
    together = roofline.rate_together(steps, amount=3, seconds=0.01)
    assert 0 < together <= 3 * (len(calls[0]) + len(calls[1])) / 0.01
    assert all(calls)


def test_the_rooflines_table_gives_a_line_to_every_product():
    ours = network("D")
    found = {key: [10.0, 20.0] for key in roofline.contestants(ours, cores=2, seconds=0)}
    lines = roofline.table("D, compiled", ours, found, cores=2).splitlines()
    assert len(lines) == 3 + (2 + 3 + 3 + 3) + 2  # the step, and what threads gain
    assert all(line.rstrip().endswith("100%") for line in lines[3:-1])
    assert lines[-1] == "2 threads against one: 1.00 times the speed"
    assert max(map(len, lines)) <= 100


# --- scaling ---------------------------------------------------------------------------------


def test_every_sweep_moves_one_setting_and_passes_the_usual_one():
    usual = scaling.Setting(threads=6)
    for what, sweep in scaling.sweeps(cores=6).items():
        assert usual in sweep
        others = set(vars(usual)) - {what}
        assert all(getattr(s, k) == getattr(usual, k) for s in sweep for k in others)
    assert [s.threads for s in scaling.sweeps(cores=1)["threads"]] == [1]


def test_scalings_table_and_picture(tmp_path):
    pytest.importorskip("numba")
    points, backends = scaling.sweeps(cores=2), ["compiled", "numpy"]
    settings = {setting for sweep in points.values() for setting in sweep}
    found = {scaling.key(s, d): [1000.0] for s in settings for d in backends}
    lines = scaling.table("batch", points["batch"], backends, found).splitlines()
    assert len(lines) == 2 + len(points["batch"])
    assert max(map(len, lines)) <= 100
    assert "512.00    1000.0" in lines[-1]  # a batch of 512 at 1,000 images a second
    scaling.draw(points, backends, found, str(tmp_path / "scaling.png"))
    assert (tmp_path / "scaling.png").read_bytes().startswith(b"\x89PNG")


# --- memory ----------------------------------------------------------------------------------


@pytest.mark.skipif(not STATUS.exists(), reason="only Linux tells what a process holds now")
def test_memory_that_is_touched_is_counted():
    forget_peak()
    before = resident_megabytes()
    fresh = mmap.mmap(-1, 40_000_000)  # from the system itself, not from what the process kept
    np.frombuffer(fresh, np.uint8)[:] = 1
    assert resident_megabytes() - before > 30
    fresh.close()
    assert peak_megabytes() - before > 30


def test_a_script_tells_its_own_peak_and_not_that_of_this_process(tmp_path):
    (tmp_path / "large.py").write_text("import sys\nb'x' * int(sys.argv[1])\nprint('said')\n")
    peaks = [accuracy.run_alone(tmp_path / "large.py", size)[1] for size in ("90000000", "1")]
    assert peaks[0] - peaks[1] > 60
    assert peaks[0] < 120
    (tmp_path / "bad.py").write_text("raise SystemExit(3)\n")
    with pytest.raises(subprocess.CalledProcessError):
        accuracy.run_alone(tmp_path / "bad.py")


def test_a_process_tells_the_memory_of_its_training():
    job = memory.jobs("A", steps=2, batch=8)["numpy"]
    found = memory.measure_in_child(job)
    assert 0 < found["training"] < found["total"]


def test_pytorchs_process_can_be_told_everything():
    """Through JSON, since that process does not import this framework."""
    job = memory.jobs("E CNN", steps=2, batch=8)["pytorch"]
    assert json.loads(json.dumps(job)) == job
    assert job["loss"] == "cross_entropy"
    assert [module for module, _ in job["recipe"]] == [
        "Conv2d", "LeakyReLU", "Conv2d", "LeakyReLU", "MaxPool2d", "Dropout",
        "Conv2d", "LeakyReLU", "MaxPool2d", "Dropout",
        "Flatten", "Linear", "LeakyReLU", "Dropout", "Linear",
    ]  # fmt: skip


# --- the twins -------------------------------------------------------------------------------


@pytest.mark.parametrize("name", NETWORKS)
def test_what_onnx_runtime_is_given_makes_our_scores(name):
    """`export` runs ONNX's own checker; ONNX's reference then computes it."""
    ours = network(name, seed=3)
    images = np.random.default_rng(0).random((2, *SHAPES[name]), np.float32)
    (found,) = ReferenceEvaluator(export(ours)).run(None, {INPUT: images})
    np.testing.assert_allclose(found, ours.scores(images), rtol=1e-4, atol=1e-6)


def test_a_recipe_has_pytorchs_own_words():
    """Each is the name of a module in torch.nn, with the names of its arguments."""
    ours = CNN(
        Conv2D(4, (3, 2), stride=(2, 1), dilation=(1, 2), padding=(1, 0), activation="relu"),
        AvgPool2D((2, 3), stride=(1, 2)), Conv2D(5, 3, activation=None), MaxPool2D(2), Dropout(0.3),
        Dense(7, "leaky_relu"), Dense(6), Dense(3, "softmax"), loss="cross_entropy",
    ).build((2, 9, 13))  # fmt: skip
    convolution = {
        "in_channels": 2, "out_channels": 4, "kernel_size": [3, 2], "stride": [2, 1],
        "padding": [1, 0], "dilation": [1, 2], "bias": True,
    }  # fmt: skip
    plain = {
        "in_channels": 4, "out_channels": 5, "kernel_size": [3, 3], "stride": [1, 1],
        "padding": [1, 1], "dilation": [1, 1], "bias": True,
    }  # fmt: skip
    modules = [
        ["Conv2d", convolution],
        ["ReLU", {}],
        ["AvgPool2d", {"kernel_size": [2, 3], "stride": [1, 2]}],
        ["Conv2d", plain],
        ["MaxPool2d", {"kernel_size": [2, 2], "stride": [2, 2]}],
        ["Dropout", {"p": 0.3}],
        ["Flatten", {}],
        ["Linear", {"in_features": 5 * 2 * 2, "out_features": 7}],
        ["LeakyReLU", {"negative_slope": 0.01}],
        ["Linear", {"in_features": 7, "out_features": 6}],
        ["Sigmoid", {}],
        ["Linear", {"in_features": 6, "out_features": 3}],
    ]
    assert recipe(ours) == modules
    assert recipe(ours, scores=True) == [*modules, ["Softmax", {"dim": 1}]]


def test_a_recipe_of_a_block():
    """What is around it, and the border that a convolution of PyTorch cannot make by itself."""
    ours = CNN(
        Residual(Conv2D(4, 2, stride=2, activation="tanh"), BatchNorm(), activation="relu"),
        GlobalAvgPool2D(), Dense(3, None), BatchNorm(0.2, 0.5), LeakyReLU(0.3),
    ).build((2, 7, 8))  # fmt: skip
    shared = {"in_channels": 2, "out_channels": 4, "stride": [2, 2], "dilation": [1, 1]}
    first = {**shared, "kernel_size": [2, 2], "padding": [0, 0], "bias": True}
    around = {**shared, "kernel_size": [1, 1], "padding": [0, 0], "bias": False}
    (name, block), *rest = recipe(ours)
    assert name == "Residual"
    assert block == {
        "inner": [
            ["ZeroPad2d", {"padding": [0, 0, 0, 1]}], ["Conv2d", first], ["Tanh", {}],
            ["BatchNorm2d", {"num_features": 4, "eps": 1e-5, "momentum": 0.1}],
        ],
        "shortcut": [["Conv2d", around]], "last": [["ReLU", {}]],
    }  # fmt: skip
    assert rest == [
        ["AdaptiveAvgPool2d", {"output_size": 1}], ["Flatten", {}],
        ["Linear", {"in_features": 4, "out_features": 3}],
        ["BatchNorm1d", {"num_features": 3, "eps": 0.5, "momentum": 0.2}],
        ["LeakyReLU", {"negative_slope": 0.3}],
    ]  # fmt: skip
    shapes = [(4, 2, 2, 2), (4,), (4,), (4,), (4, 2, 1, 1), (3, 4), (3,), (3,), (3,)]
    assert [array.shape for array in weights(ours)] == shapes


def test_a_layer_without_twin_is_named():
    ours = CNN(Dense(10, "log_softmax")).build((1, 8, 8))
    with pytest.raises(TypeError, match="'log_softmax' has no counterpart"):
        recipe(ours)
    ours = CNN(MaxPool2D(2, padding=1), Dense(10)).build((1, 8, 8))
    with pytest.raises(TypeError, match="MaxPool2D 'pool1' has no counterpart"):
        recipe(ours)


def test_a_recipes_weights_are_copies():
    ours = network("A")
    taken = weights(ours)
    assert sum(array.size for array in taken) == ours.parameter_count
    taken[0][...] = 7
    assert ours.layers[0].parameters["weight"].max() < 7


def test_what_the_tests_import_needs_neither_pytorch_nor_onnx_runtime():
    modules = "accuracy against_peers machine memory networks report restricted roofline scaling "
    modules += "startup capture"
    program = "".join(f"import benchmarks.{name}\n" for name in modules.split())
    program += "import sys\nprint({'torch', 'jax', 'onnxruntime'} & set(sys.modules))"
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "set()"


@pytest.mark.parametrize("module", [machine, scaling])
def test_the_examples_in_their_docstrings(module):
    """The folder as a whole is not searched for them: some of its files import PyTorch."""
    failed, tried = doctest.testmod(module)
    assert tried > 0 == failed


def test_another_commit_is_measured_by_its_own_code():
    """The steps of each network are timed by the code in the folder, which need not be this one."""
    told = Namespace(networks=["C", "A"], kernels="numpy", seconds=0.01)
    times = against_commit.step_times(str(ROOT), told)
    assert list(times) == ["C, 1", "C, 128", "A, 1", "A, 128"]
    assert min(step for step, _ in times.values()) > 0


PROGRAMS = sorted(
    f"{path.parent.name}.{path.stem}"
    for folder in ("benchmarks", "examples")
    for path in (ROOT / folder).glob("*.py")
    if '__name__ == "__main__"' in path.read_text("utf-8")
)


@pytest.mark.slow
@pytest.mark.parametrize("module", PROGRAMS)
def test_help_helps_and_runs_nothing(module, tmp_path):
    """As `python -m module --help`, also where PyTorch is not installed."""
    done = subprocess.run(
        [sys.executable, "-m", module, "--help"],
        cwd=tmp_path, env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True, text=True, timeout=60, check=False, input="",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert not list(tmp_path.iterdir())
    if module != "benchmarks.memory_child":  # which is spoken to through its input
        assert done.stdout.startswith("usage: ")
        assert not re.search(r"^(AMD|Intel|\|)", done.stdout, re.M)  # the machine; a table
