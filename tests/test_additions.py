"""One place to add a thing: each addition is made in a copy of the project, and it works there.

What a thing may touch is said in CONTRIBUTING.md; the files that differ from ours are compared with
that.  A program in a process of its own then uses the thing from end to end.
"""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
# What `python -m glassbox.engine.capture.shipped` writes after a change of hashed code.
HASHES = "glassbox/engine/capture/shipped.json"
COPIED = (
    "main.py",
    "CNN.py",
    "Datasets.py",
    "Filters.py",
    "MLP.py",
    "glassbox",
    "tests",
    "pyproject.toml",
)

# What every program begins with: images, and a network that is made, trained, checked and kept.
COMMON = """
import sys, tempfile
from functools import partial
from pathlib import Path
import numpy as np
import CNN as module
from CNN import CNN
from Filters import *
from MLP import *

assert Path(module.__file__).parent == Path.cwd(), "the copy is not what runs"
rng = np.random.default_rng(0)
DATA = rng.random((40, 1, 8, 8), np.float32), np.arange(40) % 4
FOLDER = Path(tempfile.mkdtemp(dir=".."))
load = partial(CNN.load, kernels="numpy")

def trained(make, **settings):
    network = make(**settings)
    for _ in range(4):
        network.train_step(DATA)
    return network

def learns(make):
    "The loss falls, captured and eager alike; gradients are right; a file gives the same network."
    network, eager = trained(make), trained(make, eager=True)
    assert (network.mode, eager.mode) == ("captured", "eager"), network.assembly.describe()
    np.testing.assert_allclose(
        network.parameters.values, eager.parameters.values, rtol=1e-3, atol=1e-4
    )
    assert network.evaluate(DATA).loss < make().build((1, 8, 8)).evaluate(DATA).loss
    assert network.gradient_check(DATA, quiet=True).passed
    again = load(network.save(FOLDER / "model.safetensors"))
    assert (again.scores(DATA[0]) == network.scores(DATA[0])).all()
    again.train_step(DATA)
    return network

def exports(network, operator):
    "The written file has the operator, and ONNX's own reference computes the same scores."
    from glassbox.bridges.onnx import export
    from onnx.reference import ReferenceEvaluator
    model = export(network)
    assert operator in [node.op_type for node in model.graph.node]
    (found,) = ReferenceEvaluator(model).run(None, {"images": DATA[0]})
    np.testing.assert_allclose(found, network.scores(DATA[0]), rtol=1e-4, atol=1e-5)
"""


# Text that is put at the end of a file.
LAYER = '''

class ChannelScale(Layer):
    """y[c] = weight[c] x[c]."""

    stem = "scale"

    def __init__(self, start: float = 1.0, name: str | None = None) -> None:
        super().__init__(name=name)
        self.start = start

    def _build(self, input_shape: Shape, context: BuildContext) -> Shape:
        self.expects_volume(input_shape)
        self.parameters = {"weight": np.full(input_shape[0], self.start, context.dtype)}
        return input_shape

    def forward(self, x: Array, context: Context) -> tuple[Array, Any]:
        """Each channel times its weight; keeps x."""
        return self.parameters["weight"][:, None, None, None] * x, x

    def backward(self, dy: Array, cache: Any) -> tuple[Array | None, Gradients]:
        """The gradient of a weight sums over all places of its channel."""
        dx = self.parameters["weight"][:, None, None, None] * dy
        return dx, {"weight": (dy * cache).sum(axis=(1, 2, 3))}

    def to_onnx(self, graph: Any, x: str, name: str) -> str:
        """A product with a constant."""
        weight = self.parameters["weight"].reshape(-1, 1, 1)
        return graph.add("Mul", [x, graph.keep(f"{name}.weight", weight)], name)
'''
OPTIMIZER = '''

class Sign(Optimizer):
    """m = beta m + (1 - beta) g; w -= lr sign(m)."""

    state_names = ("mean",)

    def __init__(self, learning_rate=1e-3, beta=0.9, weight_decay=0.0):
        super().__init__(learning_rate, weight_decay)
        self.beta = float(beta)

    def update(self, w, g, state, rate):
        state["mean"] *= w.dtype.type(self.beta)
        state["mean"] += w.dtype.type(1 - self.beta) * g
        w -= w.dtype.type(rate) * np.sign(state["mean"])
'''
LOSS = '''

class MAE(Loss):
    """The mean over the outputs of |y - t|."""

    word = "mae"

    def forward(self, outputs: Array, labels: Array) -> tuple[Array, Any]:
        """The mean of |y - t| over the outputs of each sample."""
        error = outputs - self.targets(labels, outputs.shape[0], outputs.dtype)
        return np.abs(error).mean(axis=0), error

    def backward(self, cache: Any, batch: int) -> Array:
        """The sign of y - t / (outputs x batch)."""
        return np.sign(cache) * cache.dtype.type(1.0 / (cache.shape[0] * batch))


'''
ACTIVATION = '''

class Softplus(Activation):
    """y = log(1 + exp z); derivative 1 - exp(-y)."""

    stem = word = "softplus"

    def apply(self, z: Array) -> Array:
        """log(1 + exp z)."""
        return np.logaddexp(z, 0, out=z)

    def gradient(self, dy: Array, y: Array) -> Array:
        """dy (1 - exp(-y))."""
        return dy * -np.expm1(-y)

    def to_onnx(self, graph: Any, x: str, name: str) -> str:
        """ONNX has it too."""
        return graph.add("Softplus", [x], name)


'''


@pytest.fixture
def project(tmp_path):
    """A copy of what runs and what tests it."""
    copy = tmp_path / "project"
    copy.mkdir()
    for name in COPIED:
        if (ROOT / name).is_dir():
            ignored = shutil.ignore_patterns("__pycache__")
            shutil.copytree(ROOT / name, copy / name, ignore=ignored)
        else:
            shutil.copy(ROOT / name, copy)
    return copy


def insert(path, before, text):
    """Put `text` in front of the only place that reads `before`."""
    source = path.read_text("utf-8")
    assert source.count(before) == 1, f"{path.name} has no single {before!r}"
    path.write_text(source.replace(before, text + before), "utf-8")


def append(path, text):
    """Put `text` at the end of a file, which is made where there is none."""
    with open(path, "a", encoding="utf-8") as file:
        file.write(text)


def run(project, *words):
    """Run Python in the copy."""
    done = subprocess.run(
        [sys.executable, "-B", *words], cwd=project, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def touched(project):
    """The files that differ from ours."""
    files = (path.relative_to(project) for path in project.rglob("*") if path.is_file())
    return {
        path.as_posix()
        for path in files
        if not (ROOT / path).exists() or (ROOT / path).read_bytes() != (project / path).read_bytes()
    }


def test_a_layer(project):
    """Its class, with ONNX export beside it."""
    insert(project / "Filters.py", '"AvgPool2D", "Conv2D"', '"ChannelScale", ')
    insert(project / "Filters.py", "from glassbox.engine.blocks", "import numpy as np\n\n")
    append(project / "Filters.py", LAYER)
    run(project, "-m", "glassbox.engine.capture.shipped")
    assert touched(project) == {"Filters.py", HASHES}
    program = """
network = learns(lambda **settings: CNN(
    Conv2D(4), MaxPool2D(2), Residual(ChannelScale(0.5)), ChannelScale(), Dense(4),
    optimizer=SGD(0.1), kernels="numpy", **settings,
))
exports(network, "Mul")
from glassbox import ChannelScale
print(network.assembly.describe())
"""
    said = run(project, "-c", COMMON + program)
    assert "scale1 as written" in said and "conv1" not in said


@pytest.mark.parametrize("own", [False, True], ids=["shipped", "a file of the user's"])
def test_an_optimizer(project, own):
    """Its class in plain NumPy; what is to be had by name is entered beside it."""
    where = "mine.py" if own else "glassbox/engine/more_optimizers.py"
    head = "from glassbox.engine.optimizers import Optimizer\n" if own else ""
    append(project / where, f"\n{head}import numpy as np\n{OPTIMIZER}")
    assert touched(project) == {where}
    program = f"""
from {where.removesuffix(".py").replace("/", ".")} import Sign

def make(given=None, **settings):
    given = given or Sign(Cosine(0.02), beta=0.5)
    return CNN(Conv2D(4), MaxPool2D(2), Dense(4), optimizer=given, kernels="numpy", **settings)

if {own}:
    load = partial(load, own=(Sign,))
else:
    assert trained(partial(make, "sign")).optimizer.beta == 0.9
learns(make)

fit = {{"epochs": 3, "batch_size": 10, "progress": False}}
whole, stopped, path = make(), make(), FOLDER / "run"
whole.fit(DATA, **fit)
step = CNN.train_step
def failing(network, *given):
    if network.steps_done == 6:
        raise InterruptedError
    return step(network, *given)
CNN.train_step = failing
try:
    stopped.fit(DATA, **fit, checkpoint=path, checkpoint_every=1)
except InterruptedError:
    CNN.train_step = step
resumed = make()
assert len(resumed.fit(DATA, **fit, resume=path).records) == 3
assert resumed.steps_done == whole.steps_done == 12
assert (resumed.parameters.values == whole.parameters.values).all()
print(load(path).optimizer)
"""
    assert "beta=0.5" in run(project, "-c", COMMON + program)


def test_a_loss(project):
    """Its class, and its word beside it."""
    append(project / "glassbox" / "engine" / "losses.py", LOSS)
    run(project, "-m", "glassbox.engine.capture.shipped")
    assert touched(project) == {"glassbox/engine/losses.py", HASHES}
    program = """
network = learns(lambda **settings: CNN(
    Conv2D(4), MaxPool2D(2), Dense(4), loss="mae", label_smoothing=0.1, optimizer=SGD(0.5),
    kernels="numpy", **settings,
))
assert network.executor.loss is network.loss
print(type(load(FOLDER / "model.safetensors").loss).__name__)
"""
    assert run(project, "-c", COMMON + program) == "MAE\n"


def test_an_activation(project):
    """Its class, with ONNX export beside it, and its word."""
    append(project / "glassbox" / "engine" / "layer.py", ACTIVATION)
    run(project, "-m", "glassbox.engine.capture.shipped")
    assert touched(project) == {"glassbox/engine/layer.py", HASHES}
    program = """
network = learns(lambda **settings: CNN(
    Conv2D(4), MaxPool2D(2), Conv2D(4, activation="softplus"), Dense(4), optimizer=SGD(0.1),
    kernels="numpy", **settings,
))
exports(network, "Softplus")
print(type(load(FOLDER / "model.safetensors").layers[2].activation).__name__)
"""
    assert run(project, "-c", COMMON + program) == "Softplus\n"


def test_an_onnx_operator(project):
    """Its function, and a line in the table."""
    table = project / "glassbox" / "bridges" / "onnx_operators.py"
    operator = '''def global_max_pool(op: Op) -> Made:
    """A `MaxPool2D` as large as the image."""
    channels, *size = op.view.agreed(3)
    return Made(MaxPool2D(tuple(size)), view=View.plain(channels, 1, 1))


'''
    insert(table, "OPERATORS: dict[", operator)
    insert(table, '    "Identity": ', '    "GlobalMaxPool": global_max_pool,\n')
    assert touched(project) == {"glassbox/bridges/onnx_operators.py"}
    program = """
from onnx import TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator
from glassbox.bridges.onnx import import_model
nodes = [
    helper.make_node("GlobalMaxPool", ["x"], ["a"]),
    helper.make_node("Flatten", ["a"], ["b"]),
    helper.make_node("Gemm", ["b", "w"], ["y"], transB=1),
]
w = numpy_helper.from_array(rng.random((3, 2), np.float32), "w")
ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)
        for name, shape in (("x", ["n", 2, 5, 7]), ("y", ["n", 3]))]
model = helper.make_model(
    helper.make_graph(nodes, "graph", ends[:1], ends[1:], [w]),
    opset_imports=[helper.make_opsetid("", 18)], ir_version=8,
)
network, images = import_model(model, kernels="numpy"), rng.random((4, 2, 5, 7), np.float32)
(expected,) = ReferenceEvaluator(model).run(None, {"x": images})
np.testing.assert_allclose(network.scores(images), expected, rtol=1e-5)
print(network.layers[0].kernel_size)
"""
    assert run(project, "-c", COMMON + program) == "(5, 7)\n"


def test_a_backend(project):
    """A module that overrides what it does better, and a line in the list of backends."""
    backend = '''"""The reference, but for the dense layer."""

from glassbox.kernels import pure_numpy
from glassbox.kernels.pure_numpy import *

CALLS = []


def dense(*given):
    """See `pure_numpy.dense`."""
    CALLS.append("dense")
    return pure_numpy.dense(*given)
'''
    append(project / "glassbox" / "kernels" / "mine.py", backend)
    insert(
        project / "glassbox" / "kernels" / "__init__.py", '"numpy": "glassbox.kernels.pure_numpy"',
        '"mine": "glassbox.kernels.mine", ',
    )  # fmt: skip
    assert touched(project) == {"glassbox/kernels/mine.py", "glassbox/kernels/__init__.py"}
    program = """
make = lambda **settings: CNN(
    Conv2D(4), MaxPool2D(2), BatchNorm(), Dropout(0.1), Dense(4), optimizer=SGD(0.1),
    **{"kernels": "mine", **settings},
)
network, same = learns(make), trained(partial(make, kernels="numpy"))
assert (network.parameters.values == same.parameters.values).all()
from glassbox.kernels.mine import CALLS
CALLS.clear()
CNN.load(FOLDER / "model.safetensors", kernels="mine").predict(DATA[0])
print(*set(CALLS))
"""
    assert run(project, "-c", COMMON + program) == "dense\n"


@pytest.mark.slow
def test_the_contract_tests_take_in_what_was_added(project):
    """Of the tests' lists, a layer needs one line in one of them, and the others none."""
    insert(project / "Filters.py", '"AvgPool2D", "Conv2D"', '"ChannelScale", ')
    append(project / "Filters.py", LAYER)
    tests = project / "tests" / "test_layers.py"
    case = "    (lambda: Filters.ChannelScale(2.0), (3, 4, 5)),\n"
    insert(tests, "    (lambda: Dropout(0.4), ", case)
    engine = project / "glassbox" / "engine"
    append(engine / "more_optimizers.py", f"\nimport numpy as np\n{OPTIMIZER}")
    append(engine / "losses.py", LOSS)
    append(engine / "layer.py", ACTIVATION)
    run(project, "-m", "glassbox.engine.capture.shipped")
    files = ("layers", "gradients", "losses", "optimizers", "model_files", "package", "edits")
    added = "ChannelScale or Softplus or Sign or MAE"
    lists = "every_layer_class or every_kind_comes or public_names or the_hashes or run_of_pytorch"
    chosen = f"({added} or {lists}) and not compiled"
    said = run(
        project, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-m", "not slow", "-k", chosen,
        *(f"tests/test_{name}.py" for name in files),
    )  # fmt: skip
    assert int(said.split(" passed")[0].split()[-1]) >= 40
