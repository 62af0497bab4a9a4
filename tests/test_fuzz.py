"""Files by the thousand, each damaged in its own way: read as valid data, or refused in our words.

Never another library's error, a hang, or more memory than the file's size accounts for.  The short
form tries some hundreds of cases; `make trust` tries more than 12,000.

A further format is one more line in `FORMATS`: how to make valid files, and how to open them.
"""

from __future__ import annotations

import contextlib
import dataclasses
import gzip
import io
import json
import shutil
import signal
import struct
import tempfile
import tracemalloc
import zipfile
import zlib
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from mutate import spoil
from PIL import Image
from safetensors.numpy import save as write_tensors

from CNN import CNN
from Datasets import Dataset, Scaling, Splits, from_csv, from_folder, from_idx, from_npz, load
from Filters import Conv2D, MaxPool2D, Residual
from glassbox.bridges.onnx import export, import_model
from glassbox.cli.arguments import Options, options_of
from glassbox.data.readers import FREE, RATIO
from glassbox.files import arrays_file
from MLP import Adam, BatchNorm, Dense, Dropout, OneCycle

ROOT = Path(__file__).resolve().parent.parent
# What a reader may take: three copies of what a file may unpack to (see `readers.room`).
FACTOR, ALLOWANCE = 3 * RATIO, 3 * FREE
PATIENCE = 60  # seconds after which a case counts as a hang; most take a hundredth of one

Inner = Callable[[bytes], bytes]  # spoils what lies inside a wrapping with a checksum of its own
Files = dict[str, bytes]


@dataclass(frozen=True)
class Format:
    """`make(rng, inner)` gives valid files by name, but for what `inner` does to their insides.

    `open(folder)` reads them, and `check(result)` raises where the result is not sound.
    """

    make: Callable[[np.random.Generator, Inner], Files]
    open: Callable[[Path], Any]
    check: Callable[[Any], None]


# --- valid files -----------------------------------------------------------------------------

COUNT, HEIGHT, WIDTH = 12, 4, 5


def pixels(rng: np.random.Generator) -> np.ndarray:
    return rng.integers(0, 256, (COUNT, HEIGHT, WIDTH), dtype=np.uint8)


def labels(rng: np.random.Generator) -> np.ndarray:
    return rng.permutation(np.arange(COUNT) % 3)


def idx(array: np.ndarray) -> bytes:
    sizes = b"".join(n.to_bytes(4, "big") for n in array.shape)
    return bytes([0, 0, 8, array.ndim]) + sizes + array.astype(np.uint8).tobytes()


def idx_files(names: tuple[str, str], pack: Inner = bytes) -> Callable[..., Files]:
    def make(rng: np.random.Generator, inner: Inner) -> Files:
        arrays = pixels(rng), labels(rng)
        return {k: pack(inner(idx(a))) for k, a in zip(names, arrays, strict=True)}

    return make


def npy(array: np.ndarray) -> bytes:
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


def archive(members: Files, method: int = zipfile.ZIP_STORED) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", method) as target:
        for name, content in members.items():
            target.writestr(zipfile.ZipInfo(name), content, method)  # a date that never changes
    return file.getvalue()


def npz_file(method: int, keras: bool) -> Callable[..., Files]:
    def make(rng: np.random.Generator, inner: Inner) -> Files:
        names = ("x_train", "y_train", "x_test", "y_test") if keras else ("images", "labels")
        arrays = [pixels(rng) if k % 2 == 0 else labels(rng) for k in range(len(names))]
        members = {
            f"{name}.npy": inner(npy(array)) for name, array in zip(names, arrays, strict=True)
        }
        return {"set.npz": archive(members, method)}

    return make


def csv_file(name: str, pack: Inner = bytes) -> Callable[..., Files]:
    def make(rng: np.random.Generator, inner: Inner) -> Files:
        rows = np.column_stack([labels(rng), pixels(rng)[:, :, :4].reshape(COUNT, -1)])
        head = "label," + ",".join(f"p{k}" for k in range(16)) + "\n" if rng.random() < 0.5 else ""
        text = head + "".join(",".join(map(str, row)) + "\n" for row in rows.tolist())
        return {name: pack(inner(text.encode()))}

    return make


def chunk(kind: bytes, data: bytes) -> bytes:
    """A part of a PNG file, its checksum right."""
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(image: np.ndarray, inner: Inner = bytes, size: tuple[int, int] | None = None) -> bytes:
    """A gray picture; `size` is what its header says of height and width, the truth or not."""
    height, width = size or image.shape
    rows = b"".join(b"\0" + row.tobytes() for row in image)
    parts = {
        b"IHDR": struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0),
        b"IDAT": zlib.compress(rows),
        b"IEND": b"",
    }
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunk(k, inner(data)) for k, data in parts.items())


def jpeg(image: np.ndarray) -> bytes:
    file = io.BytesIO()
    Image.fromarray(image).save(file, "JPEG")
    return file.getvalue()


def png_files(rng: np.random.Generator, inner: Inner) -> Files:
    chosen = pixels(rng)[:6]
    return {f"{'ab'[k % 2]}/{k}.png": png(image, inner) for k, image in enumerate(chosen)}


def jpeg_files(rng: np.random.Generator, inner: Inner) -> Files:
    return {f"{'ab'[k % 2]}/{k}.jpg": jpeg(image) for k, image in enumerate(pixels(rng)[:6])}


# --- models, checkpoints, settings -----------------------------------------------------------

PIXELS = np.random.default_rng(0).integers(0, 256, (COUNT, 1, HEIGHT, WIDTH), dtype=np.uint8)
TRAIN = Dataset(PIXELS, np.arange(COUNT) % 3, ("a", "b", "c"), Scaling("unit"))


def network() -> CNN:
    """A small one with a little of everything."""
    return CNN(
        Conv2D(2, bias=False), BatchNorm(), Residual(Conv2D(2, activation=None)), MaxPool2D(2),
        Dropout(0.1), Dense(3, "softmax"),
        loss="cross_entropy", optimizer=Adam(OneCycle(0.01)), seed=1, kernels="numpy", threads=1,
    )  # fmt: skip


FIT = {"epochs": 2, "batch_size": 5, "progress": False}


@cache
def checkpoint() -> arrays_file.ModelState:
    """After the first step of the second epoch."""
    with tempfile.TemporaryDirectory() as folder:
        path, step, done = Path(folder) / "run", CNN.train_step, iter(range(5))
        with pytest.MonkeyPatch.context() as patch, contextlib.suppress(StopIteration):
            patch.setattr(CNN, "train_step", lambda *given: (next(done), step(*given))[1])
            network().fit(TRAIN, TRAIN, **FIT, checkpoint=path, checkpoint_every=1)
        return arrays_file.read(path)


def model_file(only: str | None) -> Callable[..., Files]:
    """A checkpoint, or the model in it, whose JSON is spoilt and whose hash is then made good."""

    def make(rng: np.random.Generator, inner: Inner) -> Files:
        whole = checkpoint()
        records = {k: v for k, v in whole.records.items() if only in (None, k)}
        arrays = {k: v for k, v in whole.arrays.items() if only is None or "/" not in k}
        texts = {name: json.dumps(record).encode() for name, record in records.items()}
        for name in 3 * list(texts):  # so that one is spoilt in most cases
            texts[name] = inner(texts[name])
        try:
            spoilt = {name: json.loads(text) for name, text in texts.items()}
            return {"m.safetensors": arrays_file.encode(arrays_file.ModelState(arrays, spoilt))}
        except (ValueError, RecursionError):  # no JSON: it stands in the metadata as it is
            text = b"".join(texts.values()).decode("latin-1")
            return {"m.safetensors": write_tensors(arrays, {arrays_file.KEY: text})}

    return make


def open_model(folder: Path) -> CNN:
    model = CNN.load(folder / "m.safetensors", kernels="numpy", threads=1)
    if model.input_shape == TRAIN.shape and model.output_shape == (3,):
        model.predict_proba(PIXELS)
    return model


def resume(folder: Path) -> CNN:
    model = network()
    model.fit(TRAIN, TRAIN, **FIT, resume=folder / "m.safetensors", checkpoint=folder / "next")
    return model


def take_weights(folder: Path) -> CNN:
    return network().build(TRAIN.shape).load_weights(folder / "m.safetensors")


def check_network(model: CNN) -> None:
    assert model.parameters is None or model.parameters.values.dtype in (np.float32, np.float64)


def settings_file(rng: np.random.Generator, inner: Inner) -> Files:
    options = dataclasses.asdict(Options(dataset="digits", seed=int(rng.integers(100))))
    return {"settings.json": inner(inner(json.dumps({"options": options}).encode()))}


def check_options(options: Options) -> None:
    assert type(options.epochs) is int
    assert isinstance(options.dataset, str)


def onnx_file(rng: np.random.Generator, inner: Inner) -> Files:
    return {"m.onnx": export(network().build(TRAIN.shape)).SerializeToString(deterministic=True)}


def open_onnx(folder: Path) -> CNN:
    return import_model(folder / "m.onnx", kernels="numpy", threads=1)


def keras_file(rng: np.random.Generator, inner: Inner) -> Files:
    import h5py

    weights = io.BytesIO()
    with h5py.File(weights, "w") as file:
        file["layers/dense/vars/0"] = np.ones((4, 3), np.float32)
        file["layers/dense/vars/1"] = np.ones(3, np.float32)
    config = json.dumps({"config": {"layers": [{"class_name": "Dense", "config": {}}]}})
    parts = {"model.weights.h5": inner(weights.getvalue()), "config.json": inner(config.encode())}
    return {"m.keras": archive(parts)}


def take_keras_weights(folder: Path) -> CNN:
    return CNN(Dense(3), kernels="numpy").build((4,)).load_weights(folder / "m.keras")


# --- opening, and what a sound result is -----------------------------------------------------


def check_splits(data: Splits) -> None:
    """Shapes, labels and classes agree, and every number that a network would see is finite."""
    assert len(data.train) > 0
    for part in (data.train, data.validation, data.test):
        assert part.shape == data.shape
        assert part.images.dtype in (np.uint8, np.float32)
        x, marks = part.batch(np.arange(len(part)))
        assert x.shape == (len(part), *data.shape)
        assert np.isfinite(x).all()
        assert marks.shape == (len(part),)
        assert ((marks >= 0) & (marks < len(data.classes))).all()


def idx_pair(names: tuple[str, str], normalize: str) -> Callable[[Path], Splits]:
    return lambda folder: from_idx(folder / names[0], folder / names[1], normalize=normalize)


RAW, PACKED = ("images", "labels"), ("images.gz", "labels.gz")
KNOWN = ("some-images-idx3-ubyte", "some-labels-idx1-ubyte")
DEFLATED = zipfile.ZIP_DEFLATED
FORMATS: dict[str, Format] = {
    "idx": Format(idx_files(RAW), idx_pair(RAW, "standard"), check_splits),
    "idx.gz": Format(idx_files(PACKED, gzip.compress), idx_pair(PACKED, "center"), check_splits),
    "idx folder": Format(idx_files(KNOWN), load, check_splits),
    "npz": Format(
        npz_file(zipfile.ZIP_STORED, keras=False),
        lambda folder: from_npz(folder / "set.npz", normalize="per-image"),
        check_splits,
    ),
    "npz compressed": Format(
        npz_file(DEFLATED, keras=True), lambda folder: from_npz(folder / "set.npz"), check_splits
    ),
    "csv": Format(
        csv_file("t.csv"),
        lambda folder: from_csv(folder / "t.csv", normalize="standard"),
        check_splits,
    ),
    "csv.gz": Format(
        csv_file("t.csv.gz", gzip.compress),
        lambda folder: from_csv(folder / "t.csv.gz", normalize="min-max"),
        check_splits,
    ),
    "png": Format(png_files, from_folder, check_splits),
    "jpeg": Format(
        jpeg_files, lambda folder: from_folder(folder, size=6, gray=False), check_splits
    ),
    "model": Format(model_file("network"), open_model, check_network),
    "checkpoint": Format(model_file(None), resume, check_network),
    "weights": Format(model_file(""), take_weights, check_network),
    "settings": Format(settings_file, lambda folder: options_of(str(folder)), check_options),
    "onnx": Format(onnx_file, open_onnx, check_network),
}
if find_spec("h5py"):
    FORMATS["keras"] = Format(keras_file, take_keras_weights, check_network)


# --- one case --------------------------------------------------------------------------------


class Hang(BaseException):
    """A case ran out of patience; no Exception, so that nobody takes it for damage of the file."""


@contextlib.contextmanager
def guarded() -> Iterator[None]:
    """A net under what might never end (where the system has alarms)."""

    def ring(*_: object) -> None:
        raise Hang

    if not hasattr(signal, "setitimer"):
        yield
        return
    before = signal.signal(signal.SIGALRM, ring)
    signal.setitimer(signal.ITIMER_REAL, PATIENCE)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def keep(content: bytes) -> bytes:
    return content


def files_of(name: str, seed: int) -> tuple[Files, str]:
    """The files of a case and what was done to them: they follow from name and seed alone."""
    rng = np.random.default_rng([list(FORMATS).index(name), seed])
    done: list[str] = []
    victim = int(rng.integers(3)) if rng.random() < 0.6 else -1  # the inside that is spoilt
    seen = iter(range(1000))

    def inner(content: bytes) -> bytes:
        if next(seen) != victim:
            return content
        content, words = spoil(content, rng)
        done.append(f"inside {victim}: {words}")
        return content

    files = FORMATS[name].make(rng, inner)
    if not done or rng.random() < 0.2:
        chosen = list(files)[rng.integers(len(files))]
        files[chosen], words = spoil(files[chosen], rng)
        done.append(f"{chosen}: {words}")
    return files, "; ".join(done)


def lay(files: Files, folder: Path) -> Path:
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return folder


def is_our_own(error: BaseException, names: list[str]) -> bool:
    """An error of the library's kinds, raised by its own code, in words that say where."""
    if type(error) not in (ValueError, TypeError, FileNotFoundError):
        return False
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    place = Path(trace.tb_frame.f_code.co_filename).resolve() if trace else Path()
    told = any(name in str(error) for name in names) or str(error).startswith("sizes=")
    return told and ROOT in place.parents and "tests" not in place.parts


def attempt(form: Format, folder: Path, names: list[str]) -> tuple[str, int]:
    """("accepted", "refused" or what is wrong, the most memory that was in use)."""
    tracemalloc.start()
    try:
        with guarded():
            result = form.open(folder)
            form.check(result)
        verdict = "accepted"
    except Exception as error:
        verdict = "refused" if is_our_own(error, names) else f"escaped: {error!r}"
    except Hang:
        verdict = "hangs"
    finally:
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    return verdict, peak


def bound(files: Files) -> int:
    return ALLOWANCE + FACTOR * sum(map(len, files.values()))


def judge(form: Format, files: Files, folder: Path) -> tuple[str, int]:
    """The verdict of `attempt`, or that it took too much memory, and the peak."""
    names = [Path(name).name for name in files] + [folder.name]
    verdict, peak = attempt(form, lay(files, folder), names)
    if peak > bound(files):
        verdict = f"{verdict}, but took {peak:,} bytes for {bound(files):,}"
    return verdict, peak


# --- by the thousand -------------------------------------------------------------------------


@pytest.fixture(scope="module")
def tally() -> Counter[str]:
    return Counter()


@pytest.mark.parametrize("name", FORMATS)
def test_undamaged_files_are_read(name, tmp_path):
    """So that what follows damages something that was sound."""
    files = FORMATS[name].make(np.random.default_rng(0), keep)
    assert judge(FORMATS[name], files, tmp_path)[0] == "accepted"


@pytest.mark.parametrize("first", [0, pytest.param(9, marks=pytest.mark.slow)])
@pytest.mark.parametrize("name", FORMATS)
def test_damaged_files_are_read_or_refused(name, first, trust, tally, tmp_path):
    verdicts: Counter[str] = Counter()
    failures = []
    for seed in range(first, trust.cases(45, 1400) if first else 9):
        files, done = files_of(name, seed)
        folder = tmp_path / f"case{seed}"
        verdict, peak = judge(FORMATS[name], files, folder)
        shutil.rmtree(folder)
        verdicts[verdict] += 1
        tally["peak"] = max(tally["peak"], peak)
        if verdict not in ("accepted", "refused"):
            failures.append(f"files_of({name!r}, {seed}): {done}\n    {verdict}")
    assert not failures, f"{len(failures)} cases:\n" + "\n".join(failures[:20])
    assert verdicts["refused"] > verdicts.total() / 5, "hardly anything was damaged"
    tally.update(verdicts)
    tally["formats"] += not first
    trust.record(
        "fuzz", cases=tally["accepted"] + tally["refused"], accepted=tally["accepted"],
        refused=tally["refused"], escaped=0, formats=tally["formats"],
        peak_megabytes=round(tally["peak"] / 1e6, 1),
    )  # fmt: skip
