"""The page docs/how-it-works.md keeps its word: quotes, formulas by section, sources, pictures.

What it has in common with other pages is in test_pages.py.
"""

import re
import textwrap

import pytest
from matplotlib.image import imread
from pages import HOW, ROOT, definitions, module_of

QUOTES = [body for language, body in HOW.blocks if language == "python" and ">>>" not in body]

# Every formula section, and what must be named in it: a public function of a kernel or a class.
EXPECTED = {
    "Forward and backward": "Layer forward backward Executor.train_shard",
    "The batch-last layout": "to_batch_last to_batch_first",
    "Sizes: padding, stride, dilation": "extent output_length resolve_window",
    "The receptive field": "ReceptiveField.behind",
    "Convolution": "Conv2D conv2d algorithm",
    "Unfolding: one matrix product": "unfold",
    "The three gradients of a convolution": "bias_gradient conv2d_weight_gradient "
    "conv2d_input_gradient _scatter mirrored_window",
    "Max pooling": "ConvPool fuse MaxPool2D max_pool max_pool_gradient",
    "Average pooling": "AvgPool2D average_pool average_pool_gradient window_counts",
    "Global average pooling": "GlobalAvgPool2D global_average_pool global_average_pool_gradient",
    "Dense and flatten": "Dense Flatten dense dense_weight_gradient dense_input_gradient",
    "Activations": "LeakyReLU ReLU Sigmoid Tanh Softmax Identity leaky_relu_ sigmoid_ tanh_ "
    "softmax_ leaky_relu_gradient sigmoid_gradient tanh_gradient softmax_gradient",
    "Dropout": "Dropout Context.draw drop",
    "Batch normalization": "BatchNorm.forward_program BatchNorm.backward_program SyncLayer",
    "Residual blocks": "Residual Residual.backward_program",
    "The running mean of the weights": "Average",
    "Initializers": "draw_weights",
    "Losses": "MSE CrossEntropy Loss.targets",
    "L2 and weight decay": "Parameters.penalty AdamW",
    "Optimizers": "SGD Adam RMSprop Adadelta sgd_ adam_ rmsprop_ adadelta_",
    "Learning-rate schedules": "Constant StepDecay Exponential InverseTime Cosine OneCycle WarmUp",
    "Shards and the tree of sums": "shard_slices tree_sum Workers.map",
    "Gradient checking": "check_layer",
}


def in_order(quoted, lines):
    """Whether the parts between `...` stand in `lines`, in order, each line by line."""
    for part in re.split(r"^ *\.\.\.\n", quoted, flags=re.M):
        wanted = textwrap.dedent(part).rstrip().splitlines()
        for start in range(len(lines) - len(wanted) + 1):
            piece = textwrap.dedent("\n".join(lines[start : start + len(wanted)])).splitlines()
            if piece == wanted:
                lines = lines[start + len(wanted) :]
                break
        else:
            return False
    return True


@pytest.mark.parametrize("quote", QUOTES, ids=lambda quote: quote.splitlines()[0])
def test_every_quote_stands_in_its_function(quote):
    head, body = quote.split("\n", 1)
    match = re.fullmatch(r"# (\S+\.py): ([\w.]+)", head)
    assert match, f"a quote must begin with '# file.py: function', got {head!r}"
    lines = definitions(ROOT / match[1])[match[2]]
    assert in_order(body, lines), f"{match[2]} in {match[1]} no longer reads so:\n{body}"


def test_a_quote_that_is_off_is_noticed():
    lines = ["    if a:", "        b = 1", "        c = 2"]
    assert in_order("b = 1\nc = 2\n", lines)
    assert in_order("if a:\n...\nc = 2\n", lines)
    assert not in_order("c = 2\n...\nb = 1\n", lines)
    assert not in_order("b = 1 \nc = 3\n", lines)
    assert not in_order("b = 1\n    c = 2\n", lines)


@pytest.mark.parametrize("title", EXPECTED)
def test_every_formula_section_is_there_and_names_its_functions(title):
    text = HOW.section(title)
    missing = [name for name in EXPECTED[title].split() if f"[`{name}`](" not in text]
    assert not missing
    assert "```math" in text or "$" in text or title == "The batch-last layout"


FOLDER = ROOT / "glassbox" / "kernels" / "pure_numpy"
KERNELS = definitions(FOLDER / "essential.py") | definitions(FOLDER / "more.py")


def test_every_kernel_is_explained():
    public = {
        name
        for name, lines in KERNELS.items()
        if lines[0].startswith("def ") and not name.startswith("_") and name not in ("pad", "copy")
    }
    assert "conv2d" in public
    assert public <= {name for name, _ in HOW.named}


def test_every_cited_work_is_in_the_sources():
    works = re.findall(r"^- (\w+).*? (\d{4})\.", HOW.section("Sources"), re.M)
    cited = re.findall(
        r"\b([A-Z]\w+)(?:(?:, [A-Z]\w+)* and [A-Z]\w+| et al\.)? ((?:19|20)\d\d)\b",
        " ".join(HOW.prose.split("## Sources\n")[0].split()),
    )
    assert set(cited) <= set(works)
    assert set(works) <= set(cited)


@pytest.mark.slow
def test_pictures_are_all_shown_and_all_drawn(tmp_path):
    module = module_of("draw_pictures.py")
    names = sorted(f"pictures/{name}.png" for name in module.PICTURES)
    assert names == HOW.pictures
    kept = sorted(f"pictures/{path.name}" for path in (HOW.path.parent / "pictures").iterdir())
    assert names == kept
    drawn = zip(*(module.pen.draw(module.PICTURES, tmp_path / name) for name in "ab"), strict=True)
    for path, again in drawn:
        assert path.read_bytes() == again.read_bytes()
        old = imread(HOW.path.parent / "pictures" / path.name)
        assert imread(path).shape == old.shape, f"run docs/draw_pictures.py again: {path.name}"
