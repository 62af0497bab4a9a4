"""The generated tables of README.md and docs/performance.md: each is what its file gives."""

import json
import re
import sys

import pytest

from benchmarks import against_peers as against_peers_module
from benchmarks import capture, report, roofline
from benchmarks.networks import NETWORKS, network
from benchmarks.scaling import key, sweeps
from examples.common import RESULTS

MACHINE = {
    "processor": "Some CPU",
    "features": "AVX2",
    "cores": 2,
    "system": "Linux 6.1",
    "numpy": "2.4.6",
    "commit": "0123456789",
}
WHERE = "Some CPU (AVX2), 2 cores, Linux, NumPy 2.4.6; commit 0123456"
COMMITTED = sorted((RESULTS / "benchmarks").glob("*.json"))


def cells(text):
    """{first cell: the other cells} of every line of every table in a text."""
    rows = [re.split(r" *\| *", line)[1:-1] for line in text.splitlines() if line.startswith("|")]
    return {row[0]: row[1:] for row in rows}


# --- pages -----------------------------------------------------------------------------------


@pytest.mark.parametrize("region", report.REGIONS, ids=lambda r: f"{r.page}-{r.name}")
def test_a_page_says_what_the_committed_file_says(region):
    page = (report.ROOT / region.page).read_text("utf-8")
    renewed = region.renewed(page)
    if renewed is None:
        pytest.skip(f"no results/{region.source} is committed")
    assert renewed == page


@pytest.mark.parametrize(
    "name", [report.README, report.PERFORMANCE, report.MODELS, report.EXPLORER]
)
def test_every_region_has_its_marks_and_every_mark_its_region(name):
    page = (report.ROOT / name).read_text("utf-8")
    found = re.findall(r"<!-- table of (\w+): (begin|end) -->", page)
    names = [region.name for region in report.REGIONS if region.page == name]
    assert sorted(found) == sorted((name, mark) for name in names for mark in ("begin", "end"))
    assert [mark for _, mark in found] == ["begin", "end"] * len(names)


@pytest.mark.parametrize("path", COMMITTED, ids=lambda path: path.name)
def test_a_committed_measurement_can_be_traced(path):
    """To a commit without changes, and it belongs to a region."""
    found = json.loads(path.read_text("utf-8"))["machine"]
    assert re.fullmatch("[0-9a-f]{40}", found["commit"])
    assert {"processor", "features", "cores", "python", "numpy", "numba", "date"} <= set(found)
    assert f"benchmarks/{path.name}" in {region.source for region in report.REGIONS}


def test_make_measure_runs_every_benchmark_that_a_table_is_made_from():
    makefile = (report.ROOT / "Makefile").read_text("utf-8")
    names = re.search("^MEASURED := (.+)$", makefile, re.M)[1].split()
    names += re.findall(r"results/benchmarks/(\w+)\.json", makefile)
    sources = {region.source for region in report.REGIONS}
    measured = {source for source in sources if source.startswith("benchmarks/")}
    assert {f"benchmarks/{name}.json" for name in names} == measured


def test_a_text_goes_between_its_marks():
    begin, end = report.BEGIN.format("a"), report.END.format("a")
    text = f"before\n{begin}\nold\n{end}\nafter\n"
    new = report.put(text, "new\n", "a")
    assert new == f"before\n{begin}\nnew\n{end}\nafter\n"
    assert report.put(new, "new\n", "a") == new
    with pytest.raises(ValueError, match="to put the table between"):
        report.put(text, "new\n", "b")


@pytest.fixture
def project(tmp_path):
    """A folder with all pages, and no results but one measurement of the start."""
    for name in (report.README, report.PERFORMANCE, report.MODELS, report.EXPLORER):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text((report.ROOT / name).read_text("utf-8"), "utf-8")
    put_measurement(tmp_path, "startup", STARTUP)
    return tmp_path


def put_measurement(project, name, found):
    path = project / "results" / "benchmarks" / f"{name}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(found))


def test_every_measured_region_is_written_from_its_file(project, capsys):
    """Of made-up measurements, all in one `make table`; nothing of the old tables is left."""
    toys = made_up()
    measured = [region for region in report.REGIONS if region.source.startswith("benchmarks/")]
    assert {region.source for region in measured} == {f"benchmarks/{name}.json" for name in toys}
    for name, found in toys.items():
        put_measurement(project, name, found)
    assert report.main([], project) == 0
    pages = {name: (project / name).read_text("utf-8") for name in TABLES}
    for region in measured:
        begin, end = report.BEGIN.format(region.name), report.END.format(region.name)
        text = pages[region.page].split(begin)[1].split(end)[0]
        assert TABLES[region.page][region.name] in text
        assert "AMD EPYC" not in text
        if (region.page, region.name) != (report.README, "startup"):  # a sentence, not a table
            script = re.sub(r"_avx\d+", "", region.source.removesuffix(".json").replace("/", "."))
            script += " --processor avx2" * region.name.endswith("avx2")
            assert f"Measured by `python -m {script}` on {WHERE}.\n" in text
    assert report.main(["--check"], project) == 0
    capsys.readouterr()


def test_only_regions_with_a_file_are_written(project, capsys):
    before = {name: (project / name).read_text("utf-8") for name in (report.README,)}
    assert report.main([], project) == 0
    said = capsys.readouterr()
    assert "accuracy is left as it is, without results/benchmarks/accuracy.json" in said.out
    readme = (project / report.README).read_text("utf-8")
    assert "7.0 seconds from the command to the end" in readme
    mark = report.BEGIN.format("startup")
    assert readme.split(mark)[0] == before[report.README].split(mark)[0]
    assert "numpy | 0.50 (0.50 to 0.50)" in (project / report.PERFORMANCE).read_text("utf-8")
    assert report.main(["--check"], project) == 0


def test_check_changes_nothing_and_fails_where_a_page_is_off(project, capsys):
    before = (project / report.README).read_text("utf-8")
    assert report.main(["--check"], project) == 1
    assert "README.md: startup is not what its file says" in capsys.readouterr().err
    assert (project / report.README).read_text("utf-8") == before


# --- what each table says of made-up measurements ----------------------------------------------

# What only the made-up measurements say: page -> region -> a part of it.
TABLES = {
    report.README: {
        "accuracy": "| 98.77 % | 17.4 | 123 MB |",
        "against_peers_avx512": "| sigmoid and MSE, 8 and 2 filters (D) | 10.00 JAX | 10.00 JAX |",
        "against_peers_avx2": "| geometric mean beside ONNX Runtime |  |  | 4.32 |",
        "startup": "kernels: 7.0 seconds from the command to the end of the first step",
    },
    report.PERFORMANCE: {
        "roofline": "milliseconds; all cores make it 1.00 times as fast",
        "roofline_avx2": "Measured by `python -m benchmarks.roofline --processor avx2` on",
        "scaling": "| images in a batch: 512 | 512.00 |",
        "memory": "| `main.py`'s | 400 | 200 | 100 |",
        "capture": "| D | 5 | 3 | 2.00 (1.00 to 3.00) |",
        "startup": "| numpy | 0.50 (0.50 to 0.50) |",
        "against_peers_avx512": "| D | 900 | 800 | 1,000 | 3 | 10,000 | 2,000 |",
        "against_peers_avx2": "| D | 900 | 800 | 1,000 | 10,000 | 2,000 |",
        "shortfalls": "Nothing did.",
    },
    report.EXPLORER: {"explorer": "| stroke to all maps, single file, ms | 2 (at most 3) |"},
    report.MODELS: {"drawn_digits": "| printed, dark on light | 70 | 12.5 % | 75.0 % |"},
}


def made_up():
    """Measurements of every benchmark that a table is made from."""
    seen = roofline.contestants(network("D", kernels="numpy"), cores=2, seconds=0)
    speeds = {"machine": MACHINE, "kernels": "numpy", "D": {name: [100.0] for name in seen}}
    return {
        "accuracy": ACCURACY,
        "against_peers_avx512": against_peers(),
        "against_peers_avx2": against_peers() | {"restricted": {}},
        "memory": memory(),
        "roofline": speeds | {"processor": "own"},
        "roofline_avx2": speeds | {"processor": "avx2"},
        "scaling": scaling(),
        "startup": STARTUP,
        "capture": {"machine": MACHINE, "D": {"eager": [6.0, 4.0], "captured": [2.0, 4.0]}},
        "drawn_digits": DRAWN_DIGITS,
        "explorer": EXPLORER,
    }


EXPLORER = {
    "machine": MACHINE,
    "D 8/16": {
        "page": {"maps drawn": [10.0, 30.0, 20.0], "sum shown": [5.0]},
        "file": {"maps drawn": [1.0, 3.0, 2.0], "sum shown": [4.0]},
        "bytes of the file": 470_000,
        "seconds to rescore": [0.04],
        "seconds of two epochs": {"not watched": [2.0], "watched": [2.02]},
    },
}


DRAWN_DIGITS = {
    "machine": MACHINE,
    "half": "held-out",
    "mnist_test_accuracy": 0.9876,
    "kinds": {"printed, dark on light": {"pictures": 70, "resized": 0.125, "prepared": 0.75}},
    "confused": {"printed": [[1, 7, 5], [8, 6, 2]], "drawn": [[4, -1, 1]], "handwritten": []},
}


def test_drawn_digits():
    text = report.drawn_digits_text(DRAWN_DIGITS)
    assert cells(text)["printed, dark on light"] == ["70", "12.5 %", "75.0 %"]
    assert "Of MNIST's own test images 98.76 % are right." in text
    assert "Mistaken most often: a printed 1 for a 7 (5), a drawn 4 for blank (1). " in text


def test_the_page_reports_digits_that_nothing_was_improved_on():
    path = report.RESULTS / "benchmarks" / "drawn_digits.json"
    assert json.loads(path.read_text("utf-8"))["half"] == "held-out"


STARTUP = {
    "machine": MACHINE,
    "seconds": {
        "compiled, first run": [7.0],
        "compiled, later runs": [1.0, 0.9, 1.2],
        "numpy": [0.5],
    },
}


def test_start():
    rows = cells(report.startup_text(STARTUP))
    assert rows["compiled, later runs"] == ["1.00 (0.90 to 1.20)"]
    words = " ".join(report.startup_words(STARTUP).split())
    assert "Later runs need 1.00 seconds, those with NumPy alone 0.50." in words


def test_every_table_names_machine_versions_commit_and_script():
    text = report.startup_text(STARTUP)
    assert text.endswith(f"\n\nMeasured by `python -m benchmarks.startup` on {WHERE}.\n")


ACCURACY = {
    "machine": MACHINE,
    "main.py": {"test_accuracy": 0.98765, "seconds": 17.44, "peak_megabytes": 123.4},
    "one image at a time": {
        "seeds": [{"test_accuracy": share, "seconds": 7.25} for share in (0.97, 0.98, 0.96)],
        "peak_megabytes": 200.0,
    },
}


def test_accuracy():
    rows = cells(report.accuracy_text(ACCURACY))
    (first, second) = list(rows.values())[2:]
    assert first == ["98.77 %", "17.4", "123 MB"]
    assert second == ["97.00 % (mean of 3 seeds: 96.00 to 98.00)", "7.2", "200 MB"]
    assert WHERE in report.accuracy_text(ACCURACY)


SPEEDS = {
    "contiguous_format": [700.0], "channels_last": [900.0], "compile contiguous_format": [800.0],
    "compile channels_last": [500.0], "jax": [1000.0], "numpy": [2000.0],
}  # fmt: skip


def against_peers(**changed):
    """All networks ten times as fast as every peer, but for those named, in every mode."""
    found = {"machine": MACHINE, "rounds": 3, "left_out": {}}
    for mode in report.CAPTIONS:
        networks = {}
        for name in NETWORKS:
            times = changed.get(f"{name} {mode}", 10.0)
            speeds = SPEEDS | {"compiled": [1000 * times]}
            speeds |= {"onnxruntime": [3.0]} if mode == "inference" else {}
            own = against_peers_module.compared(speeds)
            for kind in own["ratios"]:
                if kind.startswith("compiled"):
                    own["ratios"][kind] = [times, times - 0.5, times + 1]
            networks[name] = own
        means = dict.fromkeys(own["ratios"], 4.321)
        found[mode] = {"networks": networks, "geometric_mean": means}
    return found


def test_beside_the_best_peer():
    text = report.peers_text(against_peers(**{"A train-128": 0.5}))
    rows = cells(text)
    assert rows["network"] == ["batches of 128", "one image", "1,000 class scores"]
    assert rows["lab, 2 and 3 filters (A)"] == ["0.50 JAX", "10.00 JAX", "10.00 JAX"]
    assert rows["geometric mean beside the best"] == ["4.32"] * 3
    assert rows["geometric mean beside ONNX Runtime"] == ["", "", "4.32"]
    assert len(rows) == 2 + len(NETWORKS) + 5
    ran = "`python -m benchmarks.against_peers`"
    assert text.endswith(f"Medians of 3 rounds. Measured by {ran} on {WHERE}.\n")


def test_everything_beside_the_peers():
    found = against_peers()
    tables = re.split(r"\n\n(?=\|)", report.all_peers_text(found))[1:]
    assert len(tables) == 6
    speeds, beside = cells(tables[4]), cells(tables[5])
    assert speeds["images per second"] == [
        *("PyTorch", "torch.compile", "JAX", "ONNX Runtime", "compiled", "numpy")
    ]
    assert speeds["D"] == ["900", "800", "1,000", "3", "10,000", "2,000"]
    assert beside["ratio"][:2] == ["compiled / best", "compiled / PyTorch"]
    assert beside["D"][0] == "10.00 (9.50 to 11.00)"
    assert beside["D"][-1] == "2.00 (2.00 to 2.00)"  # numpy beside JAX


def test_a_peer_that_was_left_out_is_said_and_has_no_column():
    found = against_peers()
    found["left_out"] = {"torch.compile": "no compiler"}
    for mode in report.CAPTIONS:
        for own in found[mode]["networks"].values():
            del own["faster"]["torch.compile"]
        for backend in ("compiled", "numpy"):
            del found[mode]["geometric_mean"][f"{backend} / torch.compile"]
    for text in (report.peers_text(found), report.all_peers_text(found)):
        assert "Medians of 3 rounds. torch.compile is left out. Measured" in text
        assert text.count("torch.compile") == 1


def test_what_falls_short_is_listed_with_its_aim():
    slow = {"E MLP inference": 1.4, "B train-1": 1.4, "A train-128": 1.9, "C train-128": 2.0}
    rows = cells(report.shortfalls_text(against_peers(**slow, **{"E MLP train-128": 1.6})))
    assert list(rows.items())[2:] == [
        ("A, training, batches of 128", ["1.90 (1.40 to 2.90)", "2"]),
        ("B, training, one image at a time", ["1.40 (0.90 to 2.40)", "1.5"]),
        ("E's MLP, inference", ["1.40 (0.90 to 2.40)", "1.5"]),
    ]
    found = against_peers()
    found["train-1"]["geometric_mean"]["compiled / best"] = 2.9
    rows = cells(report.shortfalls_text(found))
    assert rows["geometric mean, training, one image at a time"] == ["2.90", "3"]
    assert report.shortfalls_text(against_peers()).startswith("Nothing did.\n")


def memory():
    sizes = {"pytorch": 400.0, "compiled": 200.0, "numpy": 100.0}
    own = {who: {"total": [size], "training": [size / 4]} for who, size in sizes.items()}
    return {"machine": MACHINE, "megabytes": {"D 8/16": own}}


def test_memory():
    rows = cells(report.memory_text(memory()))
    assert rows["`main.py`'s"] == [
        *("400", "200", "100", "0.50 (0.50 to 0.50)", "0.25 (0.25 to 0.25)", "0.50 (0.50 to 0.50)")
    ]


def scaling():
    settings = {setting for sweep in sweeps(cores=2).values() for setting in sweep}
    found = {key(setting, "compiled"): [1000.0] for setting in settings}
    return {"machine": MACHINE, "images_per_second": found}


def test_scaling():
    rows = cells(report.scaling_text(scaling()))
    assert rows["a step of the thin network, milliseconds"] == ["compiled"]
    assert rows["images in a batch: 512"] == ["512.00"]
    assert rows["threads: 1"] == ["128.00"]
    assert len(rows) == 2 + sum(map(len, sweeps(cores=2).values()))


def run(module, path, monkeypatch, *words):
    """What a benchmark writes if it is run from the command line, as short as can be."""
    given = ["--rounds", "1", "--seconds", "0.001", "--json", str(path), *words]
    monkeypatch.setattr(sys, "argv", ["benchmark", *given])
    module.main()
    found = json.loads(path.read_text("utf-8"))
    assert {"processor", "features", "cores", "python", "numpy", "commit"} <= set(found["machine"])
    return found


def test_captures_from_a_real_run(tmp_path, monkeypatch, capsys):
    pytest.importorskip("numba")
    found = run(capture, tmp_path / "capture.json", monkeypatch, "--networks", "D")
    found["machine"] = MACHINE
    found["D"] = {way: [speed, 4.0] for way, speed in zip(found["D"], (6.0, 2.0), strict=True)}
    rows = cells(report.capture_text(found))
    assert rows["D"] == ["5", "3", "2.00 (1.00 to 3.00)"]


def test_roofline_from_a_real_run(tmp_path, monkeypatch, capsys):
    """Its own speeds, then made-up ones: 100 GFLOP/s of all on one core, 300 of the step on two."""
    words = ("--networks", "D", "--kernels", "numpy")
    found = run(roofline, tmp_path / "roofline.json", monkeypatch, *words)
    for name in found["D"]:
        found["D"][name] = [100.0]
    found["D"]["all cores: training step"] = [300.0]
    found["D"]["all cores: product"] = [200.0]
    found["machine"] = MACHINE
    text = report.roofline_text(found)
    rows = cells(text)
    assert len(rows) == 2 + 4 + 1
    flops = 2 * 128 * (8 * 28 * 28) * 9  # conv1
    own = f"{flops / 100e9 * 1e3:.2f}, 100 %"
    assert rows["D: conv1, 1 x 28 x 28 to 8 x 28 x 28"] == [own, "", own]
    assert rows["D: dense2, 98 to 10"][1] == rows["D: dense2, 98 to 10"][0]
    whole = rows["D: all of the step"][0].split(",")[0]
    assert f"add up to {float(whole):.1f} of the step's {float(whole):.1f} milliseconds" in text
    assert "all cores make it 3.00 times as fast, 150 % of their matrix product's 200" in text
