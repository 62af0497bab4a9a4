"""What the benchmarks rest on: their networks, their arithmetic, their twin in ONNX.

Nothing is timed here, and PyTorch and ONNX Runtime are not needed.
"""

from __future__ import annotations

import doctest
import json
import mmap
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pytest
from onnx.reference import ReferenceEvaluator

from benchmarks import accuracy, machine, memory, roofline, scaling, tables
from benchmarks.networks import NETWORKS, network, random_images
from benchmarks.onnx_twin import INPUT, onnx_twin
from benchmarks.recipe import recipe, weights
from benchmarks.resident import STATUS, forget_peak, peak_megabytes, resident_megabytes
from CNN import CNN
from Filters import Conv2D, GlobalAvgPool2D, MaxPool2D
from MLP import Dense

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


# --- the networks ----------------------------------------------------------------------------


def test_every_network_has_the_size_of_its_original():
    assert list(NETWORKS) == list(COUNTS)
    for name, count in COUNTS.items():
        assert network(name).parameter_count == count
    published = COUNTS["A"] - 2 - 3  # its original has no biases in the convolutions
    assert published == 2834


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


def test_a_benchmarks_json_goes_where_there_is_no_folder_yet(tmp_path):
    machine.write_json(str(tmp_path / "results" / "it.json"), {"seconds": [1.5]})
    assert json.loads((tmp_path / "results" / "it.json").read_text("utf-8")) == {"seconds": [1.5]}
    machine.write_json(None, {"seconds": [1.5]})  # nothing was asked for


def test_tables_fit_a_hundred_columns_and_stand_under_their_heading():
    speeds = {key: [1_234_567.0] for key in ("contiguous", "onnxruntime", "compiled", "numpy")}
    kinds = [f"{ours} / {rival}" for ours in ("compiled", "numpy") for rival in
             ("pytorch", "onnxruntime")]  # fmt: skip
    result = {
        "images_per_second": speeds, "better_format": "contiguous",
        "ratios": {kind: [12.34, 98.76] for kind in kinds},
    }  # fmt: skip
    lines = [tables.heading("inference"), tables.row("E CNN", result)]
    assert len(lines[0]) == len(lines[1]) <= 100
    assert tables.means({"A": result, "B": result}) == pytest.approx(dict.fromkeys(kinds, 55.55))
    del speeds["onnxruntime"]
    lines = [tables.heading("train-1"), tables.row("E CNN", result)]
    assert len(lines[0]) == len(lines[1]) <= 100


# --- counting work ---------------------------------------------------------------------------


def test_flops_of_layers_counted_by_hand(backend):
    ours = CNN(Conv2D(3, 3, padding="valid"), MaxPool2D(2), Dense(10), kernels=backend)
    ours.build((2, 6, 8))
    conv, _, dense = ours.layers
    conv_flops = 2 * (3 * 4 * 6) * (2 * 3 * 3)  # outputs, times taps and channels of each
    dense_flops = 2 * 10 * (3 * 2 * 3)
    assert roofline.layer_flops(conv, samples=5) == 5 * conv_flops
    assert roofline.layer_flops(dense, samples=5) == 5 * dense_flops
    assert roofline.step_flops(ours, samples=7) == 7 * (2 * conv_flops + 3 * dense_flops)


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
    assert [operator["operator"] for operator in job["recipe"]] == [
        "conv", "leaky_relu", "conv", "leaky_relu", "max_pool", "dropout",
        "conv", "leaky_relu", "max_pool", "dropout",
        "flatten", "dense", "leaky_relu", "dropout", "dense",
    ]  # fmt: skip


# --- the twins -------------------------------------------------------------------------------


@pytest.mark.parametrize("name", NETWORKS)
def test_the_onnx_twin_gives_our_scores(name):
    """`onnx_twin` runs ONNX's own checker; ONNX's reference then computes it."""
    ours = network(name, seed=3)
    images = np.random.default_rng(0).random((2, 1, 28, 28), np.float32)
    (found,) = ReferenceEvaluator(onnx_twin(ours)).run(None, {INPUT: images})
    np.testing.assert_allclose(found, ours.scores(images), rtol=1e-4, atol=1e-6)


def test_the_onnx_twin_of_what_no_benchmark_has():
    """Strides, dilation, uneven padding, rows and columns that differ."""
    ours = CNN(
        Conv2D(3, (2, 4), padding="same"), Conv2D(4, (3, 2), stride=(2, 1), dilation=(1, 2)),
        MaxPool2D((2, 3), stride=(1, 2)), Dense(5, "softmax"), loss="cross_entropy", seed=1,
    ).build((2, 9, 13))  # fmt: skip
    images = np.random.default_rng(0).random((3, 2, 9, 13), np.float32)
    (found,) = ReferenceEvaluator(onnx_twin(ours)).run(None, {INPUT: images})
    np.testing.assert_allclose(found, ours.scores(images), rtol=1e-4, atol=1e-6)


def test_a_layer_without_twin_is_named():
    ours = CNN(Conv2D(2), GlobalAvgPool2D(), Dense(10)).build((1, 8, 8))
    with pytest.raises(TypeError, match="GlobalAvgPool2D 'pool1' has no counterpart"):
        recipe(ours)
    ours = CNN(Dense(10, "tanh")).build((1, 8, 8))
    with pytest.raises(TypeError, match="'tanh' has no counterpart"):
        recipe(ours)
    ours = CNN(MaxPool2D(2, padding=1), Dense(10)).build((1, 8, 8))
    with pytest.raises(TypeError, match="MaxPool2D 'pool1' has no counterpart"):
        recipe(ours)


def test_a_recipes_weights_are_copies():
    ours = network("A")
    taken = weights(ours)
    assert sum(matrix.size + bias.size for matrix, bias in taken) == ours.parameter_count
    taken[0][0][...] = 7
    assert ours.layers[0].parameters["weight"].max() < 7


def test_what_the_tests_import_needs_neither_pytorch_nor_onnx_runtime():
    modules = "accuracy machine memory networks onnx_twin recipe report roofline scaling startup "
    modules += "tables capture"
    program = "".join(f"import benchmarks.{name}\n" for name in modules.split())
    program += "import sys\nprint({'torch', 'onnxruntime'} & set(sys.modules))"
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "set()"


@pytest.mark.parametrize("module", [machine, scaling])
def test_the_examples_in_their_docstrings(module):
    """The folder as a whole is not searched for them: some of its files import PyTorch."""
    failed, tried = doctest.testmod(module)
    assert tried > 0 == failed
