"""Pictures: what they say, what they mark, how large they are, and that they disturb nobody."""

import os
import subprocess
import sys
import threading
import warnings
from io import BytesIO
from pathlib import Path

import matplotlib
import matplotlib.style
import numpy as np
import pytest
from matplotlib.colors import to_hex, to_rgb
from matplotlib.image import imread

import glassbox.report.score_charts
import glassbox.report.style
from glassbox.report import figures
from glassbox.report.results import encode
from glassbox.report.scores import calibration, roc
from glassbox.report.style import COLOR, diverging, mosaic, paint, photograph

CLASSES = ["T-shirt/top", "Trouser", "Pullover", "Ankle boot"]
RNG = np.random.default_rng(0)
IMAGE = RNG.random((1, 12, 10))
MAPS = [
    ("conv1", RNG.normal(size=(3, 10, 8))),
    ("conv2", RNG.normal(size=(64, 5, 4))),
    ("dense1", RNG.normal(size=24)),
    ("flatten", RNG.normal(size=1300)),
]
RUNNING = ([10, 20, 30], [2.0, 1.5, 1.2], [0.1, 0.4, 0.5])
IMAGES = RNG.random((30, 1, 6, 6))
LABELS = np.arange(30) % 4
TABLE = RNG.dirichlet(np.ones(4), 30)
PLACES = RNG.normal(size=(30, 2))


def record(epoch, loss, accuracy, *validation):
    row = {"epoch": epoch, "loss": loss, "accuracy": accuracy, "seconds": 1.0}
    return row | dict(zip(("validation_loss", "validation_accuracy"), validation, strict=False))


HISTORY = [
    record(1, 1.0, 0.5, 1.1, 0.4),
    record(2, 0.5, 0.8, 0.7, 0.9),
    record(3, 0.2, 0.9, 0.8, 0.7),
]

EVERY = {
    "curves": lambda: figures.curves(HISTORY),
    "running": lambda: figures.running(*RUNNING),
    "confusion": lambda: figures.confusion(np.arange(16).reshape(4, 4), CLASSES),
    "class_scores": lambda: figures.class_scores([0.1, 0.2, 0.6, 0.1], CLASSES, 1),
    "feature_maps": lambda: figures.feature_maps(IMAGE, MAPS),
    "filters": lambda: figures.filters(MAPS[1][1].reshape(8, 8, 5, 4), "conv2"),
    "preview": lambda: figures.preview(
        IMAGE, MAPS, [0.1, 0.2, 0.6, 0.1], CLASSES, 1, RUNNING, "epoch 1, 25 % of the data"
    ),
    "mistakes": lambda: figures.mistakes(IMAGES, LABELS, (LABELS + 1) % 4, LABELS / 4, CLASSES),
    "confused": lambda: figures.confused(IMAGES, LABELS, (LABELS + 1) % 4, LABELS / 4, CLASSES),
    "roc": lambda: figures.roc(roc(LABELS, TABLE, CLASSES)),
    "reliability": lambda: figures.reliability(calibration(LABELS, TABLE)),
    "embedding": lambda: figures.embedding(
        [("pixels", PLACES), ("hidden", -PLACES)], LABELS, (LABELS + LABELS // 3) % 4, CLASSES
    ),
}


def png(figure):
    buffer = BytesIO()
    while not hasattr(figure, "savefig"):
        figure = figure.figure
    figure.savefig(buffer, format="png", dpi=60)
    return buffer.getvalue()


def title(axes):
    return axes.get_title(loc="left")


def words(figure):
    """Every text in a figure or axes, joined."""
    texts = figure.findobj(matplotlib.text.Text)
    # The multiplication sign as a letter, so that shapes can be typed here.
    said = " | ".join(text.get_text() for text in texts if text.get_text())
    return said.replace("\u00d7", "x")


# What holds for every picture


def test_every_public_figure_is_under_test():
    assert set(EVERY) == set(figures.__all__) - {"save"}


@pytest.mark.parametrize("name", EVERY)
def test_saved_without_warnings_as_a_small_png(tmp_path, name):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        path = figures.save(EVERY[name](), tmp_path / f"{name}.png")
    assert path.stat().st_size < 200_000
    picture = imread(path)
    assert 400 <= picture.shape[1] <= 1700
    assert picture.std() > 0.01


@pytest.mark.parametrize("name", ["curves", "confusion", "class_scores", "feature_maps"])
def test_a_users_own_style_is_neither_followed_nor_changed(name):
    usual = png(EVERY[name]())
    with matplotlib.rc_context():
        matplotlib.style.use("dark_background")
        before = dict(matplotlib.rcParams)
        dark = png(EVERY[name]())
        assert dict(matplotlib.rcParams) == before
    assert dark == usual


HOSTILE_RC = """
axes.facecolor: black
axes.prop_cycle: cycler(color=["r"])
backend: no such backend
figure.autolayout: True
figure.dpi: 17
font.family: No Such Font
font.size: 31
image.interpolation: bicubic
lines.linewidth: 9
path.simplify_threshold: 1.0
savefig.bbox: tight
savefig.facecolor: red
savefig.transparent: True
text.color: green
text.usetex: True
xtick.minor.visible: True
"""
DRAWN = """
import hashlib, sys
sys.path.insert(0, sys.argv[1])
import glassbox.report.figures  # before the tests import matplotlib
from test_figures import EVERY
from glassbox.report.results import encode
for name in ("confusion", "preview", "roc"):
    print(name, hashlib.sha256(encode(EVERY[name]())).hexdigest())
"""


@pytest.mark.slow
def test_files_are_the_same_bytes_whatever_a_matplotlibrc_and_mplbackend_say(tmp_path):
    (tmp_path / "matplotlibrc").write_text(HOSTILE_RC)
    usual = {k: v for k, v in os.environ.items() if k not in ("MPLBACKEND", "MATPLOTLIBRC")}
    usual["PYTHONPATH"] = str(Path(__file__).parent.parent)
    hostile = usual | {"MPLBACKEND": "nonsense", "MATPLOTLIBRC": str(tmp_path / "matplotlibrc")}
    said = [
        subprocess.run(
            [sys.executable, "-c", DRAWN, str(Path(__file__).parent)],
            env=env, cwd=tmp_path.parent, capture_output=True, text=True,
        )
        for env in (usual, hostile)
    ]  # fmt: skip
    assert [done.returncode for done in said] == [0, 0], said[1].stderr[-500:]
    assert len(said[0].stdout.splitlines()) == 3
    assert said[1].stdout == said[0].stdout
    assert "No Such Font" not in said[1].stderr


@pytest.mark.slow
def test_pictures_drawn_in_threads_equal_those_drawn_alone():
    names = ("curves", "confusion", "filters", "preview")
    alone = {name: png(EVERY[name]()) for name in names}
    drawn = {}
    threads = [
        threading.Thread(target=lambda n=name: drawn.update({n: png(EVERY[n]())})) for name in names
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert drawn == alone


def test_pyplot_is_never_loaded_nor_anything_of_the_project():
    code = (
        "import sys; before = set(sys.modules); "
        "import glassbox.report.figures, glassbox.report.metrics; "
        "new = {'.'.join(name.split('.')[:2]) for name in set(sys.modules) - before}; "
        "print('matplotlib.pyplot' in sys.modules, sorted(name for name in new if name in "
        "('CNN', 'Filters', 'MLP', 'Datasets', 'sklearn') or name.startswith('glassbox.')))"
    )
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert said.stdout.strip() == (
        "False ['glassbox._version', 'glassbox.atomic', 'glassbox.report']"
    )


def test_dollar_signs_in_names_are_not_read_as_mathematics():
    axes = figures.class_scores([0.1, 0.9], ["costs $5", "or $6 _{"])
    png(axes)
    assert axes.get_yticklabels()[0].get_text() == r"costs \$5"


# Curves


def test_curves_ring_the_best_epoch_of_the_validation():
    loss, accuracy = figures.curves(HISTORY).axes
    assert title(loss) == "Loss: lowest on validation 0.7 in epoch 2"
    assert title(accuracy) == "Accuracy: best on validation 90.00 % in epoch 2"
    ring = loss.lines[-1]
    assert (ring.get_xdata()[0], ring.get_ydata()[0]) == (2, 0.7)
    assert ring.get_markeredgecolor() == COLOR["validation"]


def test_of_equal_epochs_the_ring_is_round_that_of_the_lowest_loss():
    """The one whose weights `fit` gives back."""
    losses = (0.6, 0.4, 0.5)
    history = [record(k + 1, 0.3, 0.9, loss, 0.8) for k, loss in enumerate(losses)]
    _, accuracy = figures.curves(history).axes
    assert title(accuracy) == "Accuracy: best on validation 80.00 % in epoch 2"


def test_curves_ring_the_training_where_nothing_was_validated():
    figure = figures.curves([record(1, 0.5, 0.8), record(2, 0.6, 0.7)])
    assert [title(axes) for axes in figure.axes] == [
        "Loss: lowest 0.5 in epoch 1",
        "Accuracy: best 80.00 % in epoch 1",
    ]
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["training"]


def test_curves_of_one_epoch_show_points_within_the_axes_and_one_tick():
    for axes in figures.curves(HISTORY[:1]).axes:
        axes.figure.draw_without_rendering()
        assert [tick for tick in axes.get_xticks() if 0.5 <= tick <= 1.5] == [1]
        assert axes.get_xlim() == (0.5, 1.5)  # the point is in the middle
        low, high = axes.get_ylim()
        for line in axes.lines:
            assert line.get_marker() == "o"
            assert low < line.get_ydata()[0] < high


@pytest.mark.parametrize("epochs", [2, 5, 30, 100])
def test_curves_have_whole_epochs_on_their_ticks(epochs):
    axes = figures.curves([record(i + 1, 1.0, 0.5) for i in range(epochs)]).axes[0]
    assert all(tick == round(tick) for tick in axes.get_xticks())


@pytest.mark.parametrize(("last", "scale"), [(0.02, "linear"), (0.001, "log")])
def test_losses_over_several_magnitudes_get_a_logarithmic_axis(last, scale):
    figure = figures.curves([record(1, 1.0, 0.1), record(2, last, 0.2)])
    assert figure.axes[0].get_yscale() == scale
    assert figure.axes[1].get_yscale() == "linear"


def test_curves_of_a_diverged_run_skip_what_is_not_a_number():
    history = [record(1, 2.0, 0.2), record(2, np.nan, 0.1), record(3, np.inf, 0.1)]
    figure = figures.curves(history)
    assert title(figure.axes[0]) == "Loss: lowest 2 in epoch 1"
    png(figure)
    assert title(figures.curves(history[1:]).axes[0]) == "Loss: not one finite value"


def test_curves_take_validations_that_were_made_only_now_and_then():
    history = [record(1, 1.0, 0.5), record(2, 0.9, 0.6, 0.8, 0.7), record(3, 0.8, 0.7, None, None)]
    validation = figures.curves(history).axes[0].lines[1]
    assert validation.get_xdata().tolist() == [2]


def test_curves_need_a_history():
    with pytest.raises(ValueError, match="got an empty history, expected one record per epoch"):
        figures.curves([])


def test_running_shows_its_points_and_says_where_it_stands():
    loss, accuracy = figures.running(*RUNNING).axes
    assert loss.lines[0].get_ydata().tolist() == RUNNING[1]
    assert accuracy.lines[0].get_xdata().tolist() == RUNNING[0]
    assert title(loss) == "Running loss: now 1.2"
    assert title(accuracy) == "Running accuracy: now 50.00 %"


def test_running_may_have_nothing_to_show_yet():
    figure = figures.running([], [], [])
    assert "nothing yet" in title(figure.axes[0])
    png(figure)


def test_running_needs_three_of_one_length():
    with pytest.raises(ValueError, match=r"got shapes \(2,\), \(1,\) and \(2,\)"):
        figures.running([1, 2], [1], [1, 2])


# Confusion and scores

ERRORS = np.array([[90, 1, 9, 0], [0, 1000, 2, 0], [30, 0, 70, 0], [0, 0, 0, 0]])


def cell(axes, row, column):
    return next(t for t in axes.texts if t.get_position() == (column, row))


def test_confusion_writes_counts_or_shares_and_the_recall():
    counts = figures.confusion(ERRORS, CLASSES)
    shares = figures.confusion(ERRORS, CLASSES, normalized=True)
    assert cell(counts, 1, 1).get_text() == "1000" and cell(shares, 1, 1).get_text() == "99.8"
    assert cell(counts, 2, 0).get_text() == "30" and cell(shares, 2, 0).get_text() == "30.0"
    said = [text.get_text() for text in counts.texts[-4:]]
    assert said == ["90.0 %", "99.8 %", "70.0 %", "none"]
    assert title(counts) == "1,160 of 1,202 right (96.5 %)"


def test_confusion_colors_the_errors_by_size_and_the_diagonal_apart():
    colors = figures.confusion(ERRORS, CLASSES).images[0].get_array()
    light = np.asarray(colors).mean(axis=2)
    assert light[2, 0] < light[0, 2] < light[1, 2] < light[0, 3] == 1  # 30, 9, 2 and no errors
    assert all(np.allclose(colors[i, i], to_rgb(COLOR["diagonal"])) for i in range(4))


@pytest.mark.parametrize("normalized", [False, True])
def test_numbers_in_cells_are_readable_on_their_ground(normalized):
    def luminance(color):
        color = np.asarray(color)  # the web's definition of contrast
        bright = ((color + 0.055) / 1.055) ** 2.4
        return np.where(color <= 0.04045, color / 12.92, bright) @ [0.2126, 0.7152, 0.0722]

    matrix = np.arange(1, 101).reshape(10, 10)
    axes = figures.confusion(matrix, list("abcdefghij"), normalized)
    ground = np.asarray(axes.images[0].get_array())
    for row, column in np.ndindex(10, 10):
        ink = luminance(to_rgb(cell(axes, row, column).get_color()))
        paper = luminance(ground[row, column])
        contrast = (max(ink, paper) + 0.05) / (min(ink, paper) + 0.05)
        assert contrast > 3.5, (row, column, contrast)


def test_confusion_names_classes_on_both_axes_truth_in_rows():
    axes = figures.confusion(ERRORS, CLASSES)
    assert [label.get_text() for label in axes.get_xticklabels()] == CLASSES
    assert [label.get_text() for label in axes.get_yticklabels()] == CLASSES
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("predicted", "truth")


def test_confusion_of_many_classes_leaves_the_numbers_out():
    axes = figures.confusion(np.eye(40, dtype=int), [str(i) for i in range(40)])
    assert len(axes.texts) == 41  # the recalls and their heading


@pytest.mark.parametrize("matrix", [np.ones((3, 3)), np.ones((4, 3)), np.ones(4)])
def test_confusion_must_match_its_classes(matrix):
    with pytest.raises(ValueError, match=r"confusion: got .*expected"):
        figures.confusion(matrix, CLASSES)


def bars(axes):
    return [to_hex(bar.get_facecolor()).upper() for bar in axes.patches]


def test_a_wrong_prediction_and_the_truth_are_marked_by_color_and_words():
    axes = figures.class_scores([0.1, 0.2, 0.6, 0.1], CLASSES, truth=1)
    assert title(axes) == "Predicted Pullover, but it is Trouser"
    other = COLOR["other"]
    assert bars(axes) == [other, COLOR["truth"], COLOR["wrong"], other]
    assert [t.get_text().split("  ")[1] for t in axes.texts] == ["", "the truth", "predicted", ""]


def test_a_right_prediction_is_marked_as_such():
    axes = figures.class_scores([0.1, 0.2, 0.6, 0.1], CLASSES, truth=2)
    assert title(axes) == "Predicted Pullover, which is right"
    assert bars(axes)[2] == COLOR["right"]
    assert axes.texts[2].get_text() == "0.60  predicted, and true"


def test_scores_without_a_truth_claim_none():
    axes = figures.class_scores([-3.0, 2.0, 1.0, -1.0], CLASSES)
    assert title(axes) == "Predicted Trouser"
    assert "truth" not in words(axes) and axes.get_xlim()[0] < -3


def test_of_many_classes_the_highest_and_the_truth_are_drawn():
    names = [f"class {i}" for i in range(50)]
    axes = figures.class_scores(np.arange(50) / 50, names, truth=3, limit=5)
    drawn = [label.get_text() for label in axes.get_yticklabels()]
    assert drawn == [f"class {i}" for i in (45, 46, 47, 48, 49, 3)]
    assert axes.get_xlabel() == "score, 6 of 50 classes"


def test_scores_of_a_diverged_network_are_drawn_and_named():
    axes = figures.class_scores([np.nan, 0.2, np.nan, 0.1], CLASSES, truth=0)
    png(axes)
    assert title(axes).startswith("Predicted Trouser")
    assert axes.texts[0].get_text().startswith("nan")


@pytest.mark.parametrize(("scores", "truth"), [([0.5, 0.5], 0), ([1, 0, 0, 0], 4)])
def test_scores_must_fit_the_classes(scores, truth):
    with pytest.raises(ValueError, match=r"class_scores: got .* for 4 classes"):
        figures.class_scores(scores, CLASSES, truth)


# Feature maps, filters, galleries


def test_feature_maps_name_every_layer_its_shape_and_what_was_cut():
    said = words(figures.feature_maps(IMAGE, MAPS, "A digit"))
    for text in (
        "A digit", "input", "1 x 12 x 10", "conv1", "3 x 10 x 8", "64 x 5 x 4", "16 of 64 maps",
        "24 features", "1,024 of 1,300 features",
    ):  # fmt: skip
        assert text in said
    assert "of 3 maps" not in said
    assert "4 of 64 maps" in words(figures.feature_maps(IMAGE, MAPS, limit=4))


def test_the_scale_of_a_layer_is_symmetric_and_that_of_all_its_maps():
    maps = np.zeros((20, 2, 2))
    maps[19] = -8.0  # among those that are not drawn
    assert "scale ±8" in words(figures.feature_maps(IMAGE, [("conv", maps)]))
    assert diverging(np.array([-3.0, 1.0, np.nan, np.inf])).get_clim() == (-3.0, 3.0)


def test_zero_is_pale_above_red_below_blue_and_nan_black():
    values = np.array([0.0, 2.0, -2.0, np.nan, np.inf])
    zero, above, below, *wild = paint(values, diverging(values))
    assert zero.min() > 0.95
    assert above[0] > above[2] + 0.2 and below[2] > below[0] + 0.2
    assert not np.any(wild)


def test_maps_of_one_pixel_are_drawn_as_a_vector():
    figure = figures.feature_maps(IMAGE, [("pool", np.ones((6, 1, 1)))])
    assert "6 features" in words(figure)
    assert len(figure.axes[-1].patches) == 6


def test_bars_show_the_values_of_a_vector_and_their_sign():
    axes = figures.feature_maps(IMAGE, [("dense", np.array([1.0, -0.5, 0.0]))]).axes[-1]
    assert [bar.get_height() for bar in axes.patches] == [1.0, -0.5, 0.0]
    assert bars(axes)[:2] == [COLOR["above"], COLOR["below"]]


def test_dead_and_diverged_layers_are_drawn():
    layers = [("dead", np.zeros((2, 3, 3))), ("nan", np.full((2, 3, 3), np.nan))]
    png(figures.feature_maps(IMAGE, [*layers, ("vector", np.full(5, np.nan))]))


@pytest.mark.parametrize(
    ("image", "activations", "message"),
    [
        (IMAGE[0], MAPS, r"image: got an array of shape \(12, 10\), expected \(channels"),
        (IMAGE, [("conv9", np.ones((1, 2, 3, 4)))], r"layer 'conv9': got .*\(1, 2, 3, 4\)"),
        (IMAGE, [("none", np.ones((0, 3, 3)))], r"layer 'none': got .*\(0, 3, 3\)"),
    ],
)
def test_feature_maps_say_which_array_has_the_wrong_shape(image, activations, message):
    with pytest.raises(ValueError, match=message):
        figures.feature_maps(image, activations)


def test_mosaic_puts_tile_i_into_row_and_column():
    tiles = np.zeros((5, 2, 3, 3)) + np.arange(5)[:, None, None, None] / 10
    sheet = mosaic(tiles, columns=3, sharp=1)
    height, width = 2 + 3, 3 + 3  # tiles and gaps
    for i in range(5):
        top, left = i // 3 * height + 1, i % 3 * width + 1
        assert np.all(sheet[top : top + 2, left : left + 3] == i / 10)
    assert np.all(sheet[height + 1 :, 2 * width + 1 :] == 1)  # the sixth place stays empty


@pytest.mark.parametrize("shape", [(1, 4, 6), (3, 4, 6), (2, 4, 6)])
def test_images_of_any_range_and_channels_become_rgb(shape):
    image = RNG.normal(5, 100, shape)
    picture = photograph(image)
    assert picture.shape == (4, 6, 3)
    assert picture.min() == 0 and picture.max() == 1
    if shape[0] == 3:
        assert np.argmax(picture[..., 1]) == np.argmax(image[1])
    else:
        assert np.argmax(picture[..., 0]) == np.argmax(image.mean(0))


def test_filters_say_how_many_there_are_and_what_was_cut():
    said = words(figures.filters(np.ones((64, 32, 3, 5)), "conv2"))
    assert "conv2: 16 of 64 filters of 3 x 5" in said and "16 of 32 input channels" in said
    said = words(figures.filters(np.ones((8, 1, 3, 3)), "conv1"))
    assert "conv1: 8 filters of 3 x 3" in said and "channel" not in said


def test_filters_share_one_scale_about_zero():
    weights = np.zeros((2, 1, 2, 2))
    weights[1, 0, 0, 0] = -4.0
    axes, bar = figures.filters(weights, "conv").axes
    assert bar.get_ylim() == (-4.0, 4.0)
    sheet = np.asarray(axes.images[0].get_array())
    assert sheet[sheet.shape[0] // 4, sheet.shape[1] // 4].min() > 0.95  # zeros stay pale


def test_filters_need_four_dimensions():
    with pytest.raises(ValueError, match=r"filters: got .*\(3, 3\), expected \(out, in"):
        figures.filters(np.ones((3, 3)), "conv")


def test_preview_shows_all_it_was_given():
    said = words(EVERY["preview"]())
    for text in ("epoch 1, 25 % of the data", "conv1", "8 of 64 maps", "Pullover, but it is",
                 "Running loss: now 1.2", "Running accuracy: now 50.00 %"):  # fmt: skip
        assert text in said


def test_mistakes_are_sorted_by_confidence_and_only_mistakes():
    truth, predicted = np.array([0, 1, 2, 3]), np.array([0, 2, 3, 0])
    sure = np.array([0.99, 0.5, 0.9, 0.7])
    shown = figures.mistakes(IMAGES[:4], truth, predicted, sure, CLASSES)
    axes = [axes for axes in shown.axes if axes.get_visible()]
    assert [a.get_title() for a in axes] == [
        "Ankle boot (0.90)", "T-shirt/top (0.70)", "Pullover (0.50)",
    ]  # fmt: skip
    assert [a.get_xlabel() for a in axes] == [
        "is Pullover\nno. 2", "is Ankle boot\nno. 3", "is Trouser\nno. 1",
    ]  # fmt: skip
    assert np.array_equal(axes[0].images[0].get_array(), photograph(IMAGES[2]))


def test_mistakes_say_how_many_were_left_out_or_that_there_are_none():
    said = words(figures.mistakes(IMAGES, LABELS, (LABELS + 1) % 4, LABELS, CLASSES, limit=5))
    assert "5 of 30 mistakes" in said
    none = figures.mistakes(IMAGES, LABELS, LABELS, LABELS, CLASSES)
    assert "No mistakes among 30 images" in words(none)
    png(none)


@pytest.mark.parametrize(
    "draw",
    [
        lambda: figures.confused(IMAGES, LABELS, LABELS[:5], LABELS, CLASSES),
        lambda: figures.mistakes(IMAGES, LABELS, LABELS, LABELS[:5], CLASSES),
    ],
)
def test_galleries_need_one_entry_per_image(draw):
    with pytest.raises(ValueError, match=r"got an array of shape \(5,\) for 30 images"):
        draw()


def test_confused_pairs_stand_in_rows_by_size_with_the_surest_example_first():
    truth, said = np.array([0, 0, 0, 1, 2, 3]), np.array([1, 1, 0, 0, 2, 3])
    sure = np.array([0.6, 0.9, 0.9, 0.8, 0.9, 0.9])
    images = np.zeros((6, 1, 4, 4))
    images[:, 0, 0, 0] = 1
    images[1, 0, 0, :2] = 1  # the surest of the first pair
    axes = figures.confused(images, truth, said, sure, CLASSES, each=3).axes[0]
    assert [label.get_text() for label in axes.get_yticklabels()] == [
        "T-shirt/top,\ntaken for Trouser:\n2 of 3 (66.7 %)",
        "Trouser,\ntaken for T-shirt/top:\n1 of 1 (100.0 %)",
    ]
    sheet = np.asarray(axes.images[0].get_array())[..., 0]
    assert sheet[1, 1:3].tolist() == [1, 1] and sheet[1, 8:10].tolist() == [1, 0]
    none = figures.confused(images, truth, truth, sure, CLASSES)
    assert "No mistakes among 6 images" in words(none)
    png(none)


# Scores


def test_roc_is_drawn_twice_and_the_corner_has_room():
    truth = np.arange(400) % 2
    sure = np.where(truth, 0.9, 0.1) + RNG.normal(size=400) * 0.02
    sure[0] = 0.99  # one false alarm
    curves = roc(truth, np.stack([1 - sure, sure], axis=1), ["cat", "dog"])
    whole, corner = figures.roc(curves).axes
    assert (whole.get_xscale(), corner.get_xscale()) == ("linear", "log")
    assert np.array_equal(whole.lines[1].get_ydata(), curves.curves[1][1])
    left = corner.get_xlim()[0]
    assert 0 < left < 1 / 200  # a single false alarm among 200 can be seen
    assert all((line.get_xdata() > left).all() for line in corner.lines)  # no zero is lost


def test_roc_says_where_an_area_is_undefined():
    said = words(figures.roc(roc([0, 1, 0], np.eye(3)[[0, 1, 0]], ["a", "b", "absent"])))
    assert "1.0000  a" in said and "undefined  absent" in said and "mean area 1.0000" in said
    nothing = figures.roc(roc([0, 0], np.eye(2), ["a", "b"]))
    assert "no class has a curve" in words(nothing)
    png(nothing)


def test_roc_of_many_classes_draws_the_smallest_areas():
    truth = np.arange(300) % 30
    table = np.eye(30)[truth]
    table[truth == 17] = 1 / 30
    said = words(figures.roc(roc(truth, table, [f"class {k}" for k in range(30)])))
    assert "the 20 smallest of 30 areas" in said and "class 17" in said


def test_reliability_shows_each_bin_that_has_images():
    given = calibration([0, 0, 1, 1], [[0.9, 0.1], [0.9, 0.1], [0.9, 0.1], [0.45, 0.55]])
    above, below = figures.reliability(given).axes
    assert above.lines[1].get_xdata() == pytest.approx([0.55, 0.9])
    assert above.lines[1].get_ydata() == pytest.approx([1, 2 / 3])
    assert [bar.get_height() for bar in below.patches] == given.images.tolist()
    assert [text.get_text() for text in below.texts] == ["1", "3"]


def test_embedding_colors_by_the_truth_and_rings_mistakes():
    axes = figures.embedding([("p", PLACES[:3])], [0, 1, 2], [0, 1, 3], CLASSES).axes[0]
    points, rings = axes.collections
    colors = [to_hex(color) for color in points.get_facecolors()]
    assert colors == [hue.lower() for hue in glassbox.report.style.CLASS_HUES[:3]]
    assert np.array_equal(rings.get_offsets(), PLACES[2:3])
    assert [to_hex(color) for color in rings.get_facecolors()] == colors[2:]
    assert to_hex(rings.get_edgecolors()[0]) == COLOR["ink"].lower()


@pytest.mark.parametrize("classes", [1, 10, 20, 21, 100])
def test_embedding_of_any_number_of_classes(classes):
    labels = np.arange(30) % classes
    names = [f"class {k}" for k in range(classes)]
    figure = figures.embedding([("p", PLACES)], labels, labels, names)
    assert ("class 0" in words(figure)) == (classes <= 20)
    png(figure)


@pytest.mark.parametrize("panels", [1, 2])
def test_the_legend_of_an_embedding_fits_into_the_picture(panels):
    labels = np.arange(30) % 14
    names = [f"a long class name {k}" for k in range(14)]
    figure = figures.embedding([("p", PLACES)] * panels, labels, labels, names)
    figure.draw_without_rendering()
    box = figure.legends[0].get_window_extent()
    assert 0 <= box.x0 < box.x1 <= figure.bbox.width and box.y0 >= 0
    assert len(set(glassbox.report.score_charts.class_colors(14))) == 14


def test_embedding_needs_a_place_for_each_image():
    with pytest.raises(ValueError, match=r"places of shape \(30, 2\) for 5 true and 5 predicted"):
        figures.embedding([("p", PLACES)], LABELS[:5], LABELS[:5], CLASSES)


@pytest.mark.slow
def test_a_picture_of_photographs_gets_few_colors_and_fewer_pixels_until_it_is_small():
    noise = np.random.default_rng(0).random((24, 3, 120, 120))
    truth = np.zeros(24, int)
    figure = figures.mistakes(noise, truth, truth + 1, truth, CLASSES)
    wide = round(110 * figure.get_size_inches()[0])
    data = encode(figure)
    assert len(data) < 200_000
    assert 0.6 * wide < imread(BytesIO(data)).shape[1] < wide
