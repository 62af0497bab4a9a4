"""The examples in their quick form, and the README's table of results."""

import json

import pytest

from examples import (
    a_lab,
    b_keras_pipeline,
    c_resnet,
    c_two_convolutions,
    d_batch_of_one,
    e_fashion_cnn,
    e_mlps,
    records,
    table,
)
from examples.common import DONE, RESULTS, Claim, lines, write_line
from glassbox.report import evaluation, results
from glassbox.report.results import Results, encode

# What each reaches on the small digits must stay above this, in per cent; by chance it is 10.
FLOORS = [
    (a_lab, {"a-lab-70-30": 80, "a-lab-standard": 80}),
    (b_keras_pipeline, {"b-pipeline-625": 70, "b-pipeline-mnist": 85}),
    (c_two_convolutions, {"c-two-convolutions": 70}),
    (c_resnet, {"c-resnet": 85}),
    (d_batch_of_one, {"d-adam": 80, "d-sgd": 70}),
    (e_fashion_cnn, {"e-fashion-cnn": 85}),
    (
        e_mlps,
        {
            f"e-mlp-{name}-{kind}": 85
            for name in ("mnist", "fashion-mnist")
            for kind in ("plain", "dropout", "dropout-l2")
        },
    ),
    *((records, {f"record-{name}": 90}) for name in records.RECORDS),
]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("example", "floors"), FLOORS, ids=["-".join(floors) for _, floors in FLOORS]
)
def test_quick_form(example, floors, tmp_path, capsys, monkeypatch):
    """It learns, leaves its report and its line, and writes nowhere else.

    Its first preview and the pictures of its first run are drawn; the others, which take the same
    way, are only made.
    """

    def encode_preview(figure, dpi):
        is_first = not list(tmp_path.rglob("previews/*.png"))
        return encode(figure, dpi) if is_first else b"a picture"

    def encode_picture(figure):
        is_first = not list(tmp_path.rglob(DONE))
        return encode(figure) if is_first else b"a picture"

    monkeypatch.setattr(results, "encode", encode_preview)
    monkeypatch.setattr(evaluation, "encode", encode_picture)
    only = ["--only", *(name.removeprefix("record-") for name in floors)]
    words = only if example is records else []
    found = example.main(["--quick", "--output", str(tmp_path), *words])
    assert list(found) == list(floors)
    for name, floor in floors.items():
        assert found[name] > floor, name
        folder = tmp_path / "quick" / name
        line = json.loads((folder / DONE).read_text("utf-8"))
        assert line["ours"] == pytest.approx(found[name])
        assert line["our_seconds"] > 0
        for file in ("report.html", "metrics.json", "settings.json", "history.json"):
            assert (folder / file).stat().st_size > 100
        assert len(list(folder.glob("*.png"))) >= 9
    assert [path.name for path in tmp_path.iterdir()] == ["quick"]


def test_networks_have_the_published_sizes():
    """Parameters as SYSTEM A to E have them; the small record stays under its limit."""
    sizes = {
        a_lab.network: 2_834,
        b_keras_pipeline.network: 1_199_882,
        d_batch_of_one.network: 10_918,
        e_fashion_cnn.network: 1_736_714,
        e_mlps.network: 109_386,
    }
    for make, count in sizes.items():
        given = ["sgd"] if make is b_keras_pipeline.network else []
        assert make(*given).build((1, 28, 28)).parameter_count == count
    for name, count in (("fast", 105_866), ("small", 17_934), ("best", 140_458)):
        made = records.network(name).build((1, 28, 28))
        assert made.parameter_count == count
        assert f"{count:,}" in records.RECORDS[name][1].__doc__


# --- done or not -----------------------------------------------------------------------------

LINE = {
    "reports": 90.0, "target": 95.0, "part": "test", "seconds": "", "note": "",
    "ours": 96.0, "our_seconds": 12.34, "parameters": 10, "date": "2026-01-01",
    "machine": {"processor": "Some CPU", "cores": 2},
}  # fmt: skip


def test_what_is_done_is_not_run_again(tmp_path, capsys, monkeypatch):
    claim = Claim("c-resnet", "C", "a network", None, 99.0)
    (tmp_path / "c-resnet").mkdir()
    write_line(claim, Results(tmp_path / "c-resnet"), 99.1, 3.0, 10)
    monkeypatch.setattr(c_resnet, "network", lambda **_: pytest.fail("it ran again"))
    assert c_resnet.main(["--output", str(tmp_path)]) == {}
    assert "done already" in capsys.readouterr().out


def test_a_run_that_stops_halfway_is_not_done(tmp_path, monkeypatch):
    """The old line must not stand for the new, broken run."""
    (tmp_path / "c-resnet").mkdir()
    (tmp_path / "c-resnet" / DONE).write_text("{}")

    def stops(**_):
        raise KeyboardInterrupt

    monkeypatch.setattr(c_resnet, "network", stops)
    monkeypatch.setattr(c_resnet, "images", lambda *_, **__: None)
    with pytest.raises(KeyboardInterrupt):
        c_resnet.main(["--again", "--output", str(tmp_path)])
    assert not (tmp_path / "c-resnet" / DONE).exists()


# --- the table -------------------------------------------------------------------------------


NAMES = ("first", "second", "third")


def put_line(folder, name, **changes):
    (folder / name).mkdir()
    line = LINE | {"name": name, "system": "A", "what": name.title()} | changes
    (folder / name / DONE).write_text(json.dumps(line), "utf-8")


def test_the_table_has_a_line_for_each_result_and_none_besides(tmp_path):
    put_line(tmp_path, "second", system="B", ours=94.5, reports=None, our_seconds=75)
    put_line(tmp_path, "first", note="8 of 10", seconds="55 min", spread=0.123)
    put_line(tmp_path, "third", system="B", part="validation", target=None, remark="9 of 10;")
    put_line(
        tmp_path, "fourth", system="record", parameters=1234, test_time=[96.5, 97.0], ours=94.996
    )
    (tmp_path / "not-yet").mkdir()
    text = table.table(lines(tmp_path)).splitlines()
    cells = [[cell.strip() for cell in line.split("|")[1:-1]] for line in text[:6]]
    assert cells[0] == list(table.HEADS)
    first, second, third = (f"[{n.title()}](results/{n})" for n in NAMES)
    assert cells[2:] == [
        ["A", first, "8 of 10", "**96.00 %** ± 0.12", "55 min", "12.3 s"],
        ["B", second, "", "**94.50 %**, 0.50 short of 95", "", "1 min 15 s"],
        ["B", third, "90.00 %", "9 of 10; **96.00 %** (validation)", "", "12.3 s"],
        [
            "record", "[Fourth](results/fourth), 1,234 parameters", "90.00 %",
            "**95.00 %**, 0.004 short of 95; 96.75 % with test-time augmentation", "", "12.3 s",
        ],
    ]  # fmt: skip
    assert text[-1] == "Measured on Some CPU, 2 cores."
    assert len(text) == 8


def test_the_second_table_says_what_was_found():
    figures = {
        "kills": {"survived": 24, "of": 25},
        "fuzz": {"cases": 12345, "formats": 9, "escaped": 1, "refused": 12000, "accepted": 344},
        "properties": {"shapes": 100, "gradients": 1000, "machine": {}},
        "onnx_backend": {"collected": 205, "passed": 86, "excluded": 119},
        "sklearn_checks": {"classifiers": 3, "passed": 159, "failed": 2, "skipped": 6},
        "hostile_models": {
            "cases": 2400,
            "refused": 2001,
            "accepted": 399,
            "peak_megabytes": 68.6,
            "seconds_each": 20,
        },
        "hostile_onnx": {
            "cases": 2500,
            "accepted": 500,
            "refused": 2000,
            "peak_megabytes": 70.6,
            "seconds_each": 20,
        },
        "kernel_folder": {"damages": 64, "kinds": 16},
        "forks": {"ways": 15, "after_use": 30, "during_use": 240, "in_pools": 90},
        "environments": {"tried": 44, "same": 38, "sentence": 6},
    }
    text = table.trust_table({name: {**own, "date": "today"} for name, own in figures.items()})
    for words in ("at 25 random", "24 of 25 survived", "12,345 damaged files of 9", "1 escaped",
                  "12,000 refused", "1,100 examples", "205 official", "86 pass, 119 excluded",
                  "3 classifiers | 159 pass, 2 fail, 6 do", "2,400 whole model files",
                  "2,001 refused, 399 loaded; none took more than 69 MB or 20 sec",
                  "2,500 ONNX files", "2,000 refused, 500 opened; none took more than 71 MB",
                  "damaged 64 times in 16 ways", "after use (30) and during use (240)",
                  "in 44 odd", "38 gave the same numbers, 6 ended", "on today."):  # fmt: skip
        assert words in text
    ours = {"date": "today", "machine": LINE["machine"] | {"commit": "0123456789"}}
    text = table.trust_table({name: {**own, **ours} for name, own in figures.items()})
    assert text.endswith("on today: Some CPU, 2 cores; commit 0123456.\n")


def test_committed_results_are_small():
    for line in lines(RESULTS):
        for path in (RESULTS / line["name"]).rglob("*"):
            limit = 200_000 if path.suffix == ".png" else 3_000_000
            assert path.is_dir() or path.stat().st_size < limit, path
