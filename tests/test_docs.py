"""The page docs/how-it-works.md keeps its word: names, quotes, examples, formulas, pictures."""

import ast
import doctest
import importlib.util
import re
import textwrap
from pathlib import Path

import pytest
from matplotlib.image import imread
from matplotlib.mathtext import MathTextParser

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "how-it-works.md"
TEXT = PAGE.read_text(encoding="utf-8")
FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.M | re.S)
BLOCKS = FENCE.findall(TEXT)
PROSE = FENCE.sub("", TEXT)
LINKS = re.findall(r"\[(.+?)\]\((.+?)\)", PROSE)
IS_NAME = re.compile(r"`(?!\w+\.py`)[\w.]+`")
NAMED = sorted({(name, to) for name, to in LINKS if IS_NAME.fullmatch(name) and to[-3:] == ".py"})
QUOTES = [body for language, body in BLOCKS if language == "python" and ">>>" not in body]
FORMULAS = [body.strip() for language, body in BLOCKS if language == "math"]
INLINE = re.findall(r"(?<![\w$])\$([^$\n]+)\$(?!\w)", re.sub(r"`[^`]*`", "", PROSE))
SECTIONS = re.findall(r"^## (.+)$", TEXT, re.M)
PICTURES = sorted({link for _, link in LINKS if link.endswith(".png")})

# Every formula section, and what must be named in it: a public function of a kernel or a class.
EXPECTED = {
    "Forward and backward": "Layer forward_chain backward_chain train_shard",
    "The batch-last layout": "to_batch_last to_batch_first",
    "Sizes: padding, stride, dilation": "extent output_length resolve_window",
    "The receptive field": "Sliding.reach",
    "Convolution": "Conv2D conv2d algorithm",
    "Unfolding: one matrix product": "unfold",
    "The three gradients of a convolution": "bias_gradient conv2d_weight_gradient "
    "conv2d_input_gradient _scatter _mirrored_window",
    "Max pooling": "ConvPool fuse MaxPool2D max_pool max_pool_gradient",
    "Average pooling": "AvgPool2D average_pool average_pool_gradient window_counts",
    "Global average pooling": "GlobalAvgPool2D global_average_pool global_average_pool_gradient",
    "Dense and flatten": "Dense Flatten dense dense_weight_gradient dense_input_gradient",
    "Activations": "LeakyReLU ReLU Sigmoid Tanh Softmax Identity leaky_relu_ sigmoid_ tanh_ "
    "softmax_ leaky_relu_gradient sigmoid_gradient tanh_gradient softmax_gradient",
    "Dropout": "Dropout Pass.draw drop",
    "Batch normalisation": "BatchNorm.forward_program BatchNorm.backward_program CoupledLayer",
    "Residual blocks": "Residual Residual.backward_program",
    "The running mean of the weights": "Average",
    "Initialisers": "draw_weights",
    "Losses": "MSE CrossEntropy one_hot Loss.targets",
    "L2 and weight decay": "Parameters.penalty AdamW",
    "Optimizers": "SGD Adam RMSprop Adadelta sgd_ adam_ rmsprop_ adadelta_",
    "Learning-rate schedules": "Constant StepDecay Exponential InverseTime Cosine OneCycle WarmUp",
    "Shards and the tree of sums": "shard_slices tree_sum Workers.run",
    "Gradient checking": "check_layer",
}


def definitions(path):
    """{name or Class.method: its source lines} of a file."""
    source = path.read_text(encoding="utf-8")
    lines, found = source.splitlines(), {}

    def visit(body, prefix):
        for node in body:
            if isinstance(node, ast.FunctionDef | ast.ClassDef):
                found[prefix + node.name] = lines[node.lineno - 1 : node.end_lineno]
            if isinstance(node, ast.ClassDef):
                visit(node.body, f"{prefix}{node.name}.")

    visit(ast.parse(source).body, "")
    return found


def section(title):
    return TEXT.split(f"\n## {title}\n", 1)[1].split("\n## ", 1)[0]


def anchor(title):
    """The address that GitHub gives a heading."""
    return "#" + re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-")


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


@pytest.mark.parametrize(("name", "link"), NAMED)
def test_every_name_is_defined_where_its_link_points(name, link):
    path = (PAGE.parent / link).resolve()
    assert name.strip("`") in definitions(path), f"{name} is not in {path.name}"


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


def test_every_example_gives_what_it_says():
    # One after the other in one namespace, as a reader would type them.  All else is blanked, so
    # that doctest can say in which line of the page an example failed.
    quiet = FENCE.sub(lambda m: m[0] if ">>>" in m[2] else re.sub(r"[^\n]+", "", m[0]), TEXT)
    plain = "\n".join("" if line.startswith("```") else line for line in quiet.splitlines())
    test = doctest.DocTestParser().get_doctest(plain + "\n", {}, PAGE.name, str(PAGE), 0)
    assert len(test.examples) > 60
    said = []
    result = doctest.DocTestRunner().run(test, out=said.append)
    assert result.failed == 0, "".join(said)


@pytest.mark.parametrize("formula", sorted({*FORMULAS, *INLINE}))
def test_every_formula_can_be_set(formula):
    MathTextParser("path").parse(f"${formula}$")


def test_no_dollar_sign_is_left_over():
    # GitHub sets $...$ where a blank or punctuation stands outside and none inside.
    prose = re.sub(r"`[^`]*`", "", PROSE)
    rest = re.sub(r"(?<![\w$])\$(?! )([^$\n]+)(?<! )\$(?!\w)", "", prose)
    assert "$" not in rest
    # Between single dollars GitHub still reads Markdown, which swallows the backslash of \\, or \\;
    assert not [formula for formula in INLINE if re.search(r"\\[^A-Za-z]|[*|]", formula)]


@pytest.mark.parametrize("title", EXPECTED)
def test_every_formula_section_is_there_and_names_its_functions(title):
    text = section(title)
    missing = [name for name in EXPECTED[title].split() if f"[`{name}`](" not in text]
    assert not missing
    assert "```math" in text or "$" in text or title == "The batch-last layout"


def test_every_kernel_is_explained():
    public = {
        name
        for name in definitions(ROOT / "glassbox" / "kernels" / "pure_numpy.py")
        if not name.startswith("_") and name not in ("pad", "copy")
    }
    assert public <= {name.strip("`") for name, _ in NAMED}


def test_the_table_of_contents_is_complete():
    entries = re.findall(r"^\d+\. \[(.+)\]\((#.+)\)$", TEXT, re.M)
    assert entries == [(title, anchor(title)) for title in SECTIONS if title != "Contents"]


def test_every_link_leads_somewhere():
    anchors = {anchor(title) for title in SECTIONS}
    for words, link in LINKS:
        if link.startswith("https://arxiv.org/abs/"):
            assert words == f"arXiv:{link.rsplit('/', 1)[1]}"
        elif link.startswith("#"):
            assert link in anchors, link
        else:
            assert (PAGE.parent / link).exists(), link


def test_every_cited_work_is_in_the_sources():
    works = re.findall(r"^- (\w+).*? (\d{4})\.", section("Sources"), re.M)
    cited = re.findall(
        r"\b([A-Z]\w+)(?:(?:, [A-Z]\w+)* and [A-Z]\w+| et al\.)? ((?:19|20)\d\d)\b",
        " ".join(PROSE.split("## Sources\n")[0].split()),
    )
    assert set(cited) <= set(works)
    assert set(works) <= set(cited)


def drawing():
    """The module docs/draw_pictures.py (docs is no package)."""
    path = ROOT / "docs" / "draw_pictures.py"
    spec = importlib.util.spec_from_file_location("draw_pictures", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_pictures_are_all_shown_and_all_drawn(tmp_path):
    module = drawing()
    names = sorted(f"pictures/{name}.png" for name in module.PICTURES)
    assert names == PICTURES
    kept = sorted(f"pictures/{path.name}" for path in (PAGE.parent / "pictures").iterdir())
    assert names == kept
    drawn = zip(module.draw(tmp_path / "a"), module.draw(tmp_path / "b"), strict=True)
    for path, again in drawn:
        assert path.read_bytes() == again.read_bytes()
        old = imread(PAGE.parent / "pictures" / path.name)
        assert imread(path).shape == old.shape, f"run docs/draw_pictures.py again: {path.name}"


@pytest.mark.parametrize("link", PICTURES)
def test_pictures_are_small_and_wide_enough(link):
    path = PAGE.parent / link
    assert path.stat().st_size < 100_000
    pixels = imread(path)
    assert pixels.shape[1] >= 800
    assert (pixels[0, 0, :3] == 1).all()  # white


def test_every_picture_says_in_words_what_it_shows():
    for words, _ in re.findall(r"!\[(.*?)\]\((.+?)\)", TEXT):
        assert len(words) > 30
