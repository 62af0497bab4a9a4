"""The worst files, each made by hand: bombs, headers that lie, links that lead away.

All of them are refused within a fixed amount of memory, which `tracemalloc` measures, and which the
system enforces once in a process of its own.  Every mistake that a damaged file has ever brought to
light is here with its smallest example.
"""

from __future__ import annotations

import gzip
import io
import os
import re
import struct
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from test_fuzz import FORMATS, ROOT, Files, archive, attempt, chunk, guarded, idx, judge, npy, png

from Datasets import from_arrays, from_csv, from_folder, from_idx, from_npz, load
from glassbox.data.dataset import NORMALIZATIONS
from glassbox.data.readers import room

HUGE = (60_000, 1_300, 1_300)  # 100 GB of bytes
LABELS = np.arange(12) % 3
IMAGES = np.zeros((12, 4, 5), np.uint8)


def idx_header(*sizes: int, kind: int = 8) -> bytes:
    return bytes([0, 0, kind, len(sizes)]) + b"".join(n.to_bytes(4, "big") for n in sizes)


def idx_set(images: bytes, pack: Callable[[bytes], bytes] = bytes) -> Files:
    suffix = "" if pack is bytes else ".gz"
    return {f"images{suffix}": pack(images), f"labels{suffix}": pack(idx(LABELS))}


def npy_header(kind: str, shape: str) -> bytes:
    text = f"{{'descr': '{kind}', 'fortran_order': False, 'shape': {shape}, }}\n".encode()
    return b"\x93NUMPY\1\0" + struct.pack("<H", len(text)) + text


def npz_set(images: bytes, method: int = zipfile.ZIP_STORED, labels: bytes = b"") -> Files:
    members = {"images.npy": images, "labels.npy": labels or npy(LABELS)}
    return {"set.npz": archive(members, method)}


def patched(files: Files, old: bytes, new: bytes) -> Files:
    """Other bytes in every place of an archive where those stand."""
    content = files["set.npz"]
    assert old in content
    return {"set.npz": content.replace(old, new)}


def gzip_bomb(megabytes: int, fill: bytes = b"\0") -> bytes:
    """A thousand times smaller than what it unpacks to: members of 16 MiB, one after another."""
    return gzip.compress(fill * 2**24, 9, mtime=0) * (megabytes // 16)


def zip_bomb() -> Files:
    return npz_set(npy_header("|u1", "(64, 1024, 1024)") + bytes(2**26), zipfile.ZIP_DEFLATED)


def lying_zip_bomb() -> Files:
    """It says that what unpacks to 64 MiB were 1,000 bytes, in both places where it says so."""
    files = zip_bomb()
    with zipfile.ZipFile(io.BytesIO(files["set.npz"])) as opened:
        size = opened.getinfo("images.npy").file_size
    return patched(files, struct.pack("<I", size), struct.pack("<I", 1000))


def with_type(kind: str, payload: bytes) -> bytes:
    return npy_header(kind, "(12, 4, 5)") + payload


class Bait:
    """Unpickled, it makes a file."""

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, ("bait-was-taken",)


def baited() -> bytes:
    file = io.BytesIO()
    np.save(file, np.array([Bait()] * 12, object), allow_pickle=True)
    return file.getvalue()


def broken_second_member() -> bytes:
    return gzip.compress(idx(IMAGES)) + gzip.compress(b"more")[:-3]


def blank_png(side: int) -> bytes:
    return png(np.zeros((side, side), np.uint8))


def png_part_of(length: int) -> bytes:
    """A PNG file with a remark that is said to be so long."""
    whole = png(IMAGES[0])
    return whole[:33] + struct.pack(">I", length) + b"tEXt" + whole[33:]


def of(content: bytes, *more: bytes) -> Files:
    return {f"a/{k}.png": each for k, each in enumerate([content, *more])}


def gif() -> bytes:
    file = io.BytesIO()
    Image.fromarray(IMAGES[0]).save(file, "GIF")
    return file.getvalue()


# format, files, what is said of them
WORST: dict[str, tuple[str, Callable[[], Files], str]] = {
    "idx of 100 GB": ("idx", lambda: idx_set(idx_header(*HUGE) + b"ab"), "but 2 follow"),
    "idx of nothing at all": (
        "idx", lambda: idx_set(idx_header(0, 2**32 - 1, 2**32 - 1, 2**32 - 1)), "nothing in it"),
    "idx of 255 axes": ("idx", lambda: idx_set(idx_header(*[1] * 255) + b"a"), "expected 1 to 8"),
    "idx of floats beyond float32": (
        "idx",
        lambda: idx_set(idx_header(12, 1, 1, kind=14) + np.full(12, 1e300, ">f8").tobytes()),
        "12 pixels are NaN, infinite or beyond 1e[+]15"),
    "gzip of 1 GiB": (
        "idx.gz", lambda: {"images.gz": gzip_bomb(1024), "labels.gz": gzip.compress(b"")},
        "unpacks to more than [0-9,]+ bytes"),
    "gzip broken in its second member": (
        "idx.gz",
        lambda: {"images.gz": broken_second_member(), "labels.gz": gzip.compress(idx(LABELS))},
        "truncated gzip"),
    "npz of 100 GB": (
        "npz", lambda: npz_set(npy_header("|u1", str(HUGE))), "101,400,000,000 bytes .* but 0"),
    "npz of 100 GB, packed": (
        "npz", lambda: npz_set(npy_header("<f8", str(HUGE)), zipfile.ZIP_DEFLATED), "but 0 follow"),
    "npz of texts without letters": (
        "npz", lambda: npz_set(npy_header("|S0", "(9223372036854775807,)")), "nor text"),
    "npz of a negative shape": (
        "npz", lambda: npz_set(npy_header("|u1", "(-12, 4, 5)")), "no order or shape"),
    "npz of a shape too large for anything": (
        "npz", lambda: npz_set(npy_header("|u1", f"({'9' * 150},)")), "gives the shape as"),
    "npz of a header of brackets": (
        "npz", lambda: npz_set(npy_header("|u1", "(" * 9000)), "no order or shape"),
    "npz of a header said to be long": (
        "npz", lambda: npz_set(b"\x93NUMPY\2\0\xff\xff\xff\xff"), "end at byte 4,294,967,307"),
    "npz of something else": ("npz", lambda: npz_set(b"no array"), "does not begin as a .npy"),
    "npz of records": (
        "npz", lambda: npz_set(npy(np.zeros(12, [("a", "u1"), ("b", "f4")]))), "nor text"),
    "npz of dates": ("npz", lambda: npz_set(npy(np.zeros(12, "M8[D]"))), "nor text"),
    "npz of complex numbers": ("npz", lambda: npz_set(npy(np.zeros(12, complex))), "nor text"),
    "npz of objects": (
        "npz", lambda: npz_set(npy(IMAGES), labels=baited()), "'labels' cannot be read"),
    "npz of characters there are none of": (
        "npz", lambda: npz_set(npy(IMAGES), labels=npy_header("<U1", "(12,)") + b"\xff" * 48),
        "not readable names"),
    "npz of names beyond ASCII": (
        "npz", lambda: npz_set(npy(IMAGES), labels=npy_header("|S2", "(12,)") + b"\xff" * 24),
        "not readable names"),
    "npz that unpacks a thousandfold": ("npz", zip_bomb, "which is too many"),
    "npz that lies about what it unpacks to": ("npz", lying_zip_bomb, "is damaged"),
    "npz packed by another method": (
        "npz", lambda: npz_set(npy(IMAGES), zipfile.ZIP_LZMA), "NumPy does not use"),
    "npz with a password": (
        "npz", lambda: {"set.npz": locked(npz_set(npy(IMAGES))["set.npz"])}, "is damaged"),
    "npz with names that lead away": (
        "npz", lambda: {"set.npz": archive({"../images.npy": npy(IMAGES), "/labels.npy": b""})},
        "holds [.][.]/images, /labels; expected"),
    "npz of many names": (
        "npz", lambda: {"set.npz": archive({str(k): b"" for k in range(500)})}, "and 490 more"),
    "csv of one endless line": (
        "csv.gz", lambda: {"t.csv.gz": gzip_bomb(256, b"7")}, "unpacks to more than"),
    "csv of one endless line of commas": (
        "csv.gz", lambda: {"t.csv.gz": gzip.compress(b"," * 200_000)}, "no images in this file"),
    "csv cut short": (
        "csv.gz", lambda: {"t.csv.gz": gzip.compress(b"1,2\n" * 99)[:-9]}, "truncated gzip"),
    "csv of a large label": (
        "csv", lambda: {"t.csv": b"1e15,2\n0,3\n"}, "line 1: the label"),
    "csv of a pixel beyond float32": (
        "csv", lambda: {"t.csv": b"1,2\n0,1e39\n"}, "line 2: value 2"),
    "csv of a long number": (
        "csv", lambda: {"t.csv": b"1,2\n0," + b"9" * 500_000 + b"\n"}, "line 2: value 2"),
    "csv of NUL": ("csv", lambda: {"t.csv": b"1,2\n0,\0\n"}, r"line 2: value 2 is '\\x00'"),
    "csv of labels alone": ("csv", lambda: {"t.csv": b"1\n0\n"}, "0 pixels a line"),
    "csv of a number in Python's style": ("csv", lambda: {"t.csv": b"1,1_0\n"}, "value 2 is '1_0'"),
    "csv saved as UTF-16": (
        "csv", lambda: {"t.csv": "1,2\n0,3\n".encode("utf-16")}, "t.csv"),
    "picture said to be 100,000 x 100,000": (
        "png", lambda: of(png(IMAGES[0], size=(100_000, 100_000))), "0.png' cannot be read"),
    "picture said to be 13,000 x 13,000": (
        "png", lambda: of(png(IMAGES[0], size=(13_000, 13_000))), "13,000 x 13,000 pixels in a"),
    "picture that unpacks a thousandfold": ("png", lambda: of(blank_png(4000)), "too many"),
    "picture with a part of 4 GB": ("png", lambda: of(png_part_of(2**32 - 1)), "cannot be read"),
    "picture of a header cut short": (
        "png", lambda: of(png(IMAGES[0]).replace(png(IMAGES[0])[8:33], chunk(b"IHDR", b"abc"))),
        "cannot be read"),
    "pictures that are too many together": (
        "png", lambda: of(*[blank_png(2800)] * 6), "5 pictures unpack from"),
    "picture of another kind": ("png", lambda: of(gif()), "begin as a PNG or JPEG"),
    "pictures of two sizes": ("png", lambda: of(png(IMAGES[0]), png(IMAGES[0].T)), "4 x 5 pixels"),
}  # fmt: skip


def locked(content: bytes) -> bytes:
    """The archive with every member marked as encrypted."""
    for start, place in ((b"PK\3\4", 6), (b"PK\1\2", 8)):
        content = re.sub(
            re.escape(start) + b".{%d}" % (place - 4) + b"\0",
            lambda found: found[0][:-1] + b"\1",
            content,
            flags=re.S,
        )
    return content


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=pytest.mark.slow if name == "gzip of 1 GiB" else ())
        for name in WORST
    ],
)
def test_the_worst_is_refused(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    kind, make, told = WORST[name]
    files, folder = make(), tmp_path / "data"
    verdict, _ = judge(FORMATS[kind], files, folder)
    assert verdict == "refused"
    with pytest.raises(ValueError, match=told):
        FORMATS[kind].open(folder)
    made = {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}
    assert made == set(files), "reading made files"
    assert [path.name for path in tmp_path.iterdir()] == ["data"]


def refuse_all(folder: Path, spare: int) -> None:
    """All of them within `spare` bytes more than this process has now; run in a process of its own.

    Pillow and zlib take memory that tracemalloc does not see, but the system does.
    """
    import resource

    Image.init()
    pages = int(Path("/proc/self/statm").read_text("ascii").split()[0])
    most = pages * resource.getpagesize() + spare
    resource.setrlimit(resource.RLIMIT_AS, (most, most))
    for number, name in enumerate(WORST):
        place = folder / str(number)
        names = [path.name for path in place.rglob("*")] + [place.name]
        verdict = attempt(FORMATS[WORST[name][0]], place, names)[0]
        print(verdict, name)


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="needs Linux's limits")
def test_the_worst_is_refused_within_a_limit_that_the_system_sets(tmp_path):
    """512 MiB: twice the `room` of the largest file, and what the other libraries want."""
    for number, (_, make, _) in enumerate(WORST.values()):
        for name, content in make().items():
            path = tmp_path / str(number) / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
            assert room(len(content)) < 2**28
    paths = [str(ROOT), str(ROOT / "tests")]
    code = (
        f"import sys; sys.path[:0] = {paths!r}; import pathlib, test_worst_files as worst; "
        f"worst.refuse_all(pathlib.Path({str(tmp_path)!r}), 2**29)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == [f"refused {name}" for name in WORST]


# --- links, pipes and odd names --------------------------------------------------------------


def folder_of_pictures(place: Path) -> Path:
    for k, name in enumerate("ab"):
        (place / name).mkdir(parents=True)
        (place / name / "1.png").write_bytes(png(IMAGES[0] + np.uint8(k)))
    return place


def test_a_link_that_leads_out_of_a_folder_is_refused(tmp_path):
    place, elsewhere = folder_of_pictures(tmp_path / "in"), folder_of_pictures(tmp_path / "out")
    (place / "b" / "2.png").symlink_to(elsewhere / "b" / "1.png")
    with pytest.raises(ValueError, match=r"2.png' is a link that leads out of .*in'"):
        from_folder(place)
    (place / "b" / "2.png").unlink()
    (place / "c").symlink_to(elsewhere / "b", target_is_directory=True)
    with pytest.raises(ValueError, match=r"c' is a link that leads out"):
        from_folder(place)


def test_a_link_within_a_folder_and_a_folder_behind_a_link_are_read(tmp_path):
    place = folder_of_pictures(tmp_path / "in")
    (place / "b" / "2.png").symlink_to(place / "a" / "1.png")
    (tmp_path / "link").symlink_to(place, target_is_directory=True)
    for path in (place, tmp_path / "link"):
        assert len(from_folder(path, sizes=(3, 0)).train) == 3


def test_links_that_lead_nowhere_or_round_are_told(tmp_path):
    place = folder_of_pictures(tmp_path)
    (place / "a" / "2.png").symlink_to(place / "gone")
    with pytest.raises(FileNotFoundError, match=r"2.png"):
        from_folder(place)
    (place / "a" / "2.png").unlink()
    (place / "a" / "2.png").symlink_to(place / "a" / "2.png")
    with guarded(), pytest.raises(FileNotFoundError, match=r"2.png"):
        from_folder(place)


def test_idx_files_behind_links_that_lead_out_are_refused(tmp_path):
    place, names = tmp_path / "in", ("x-images-idx3-ubyte", "x-labels-idx1-ubyte")
    place.mkdir()
    for name, array in zip(names, (IMAGES, LABELS), strict=True):
        (tmp_path / name).write_bytes(idx(array))
        (place / name).symlink_to(tmp_path / name)
    with pytest.raises(ValueError, match=r"images-idx3-ubyte' is a link that leads out"):
        load(place)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs pipes")
def test_a_pipe_is_refused_not_waited_for(tmp_path):
    place = folder_of_pictures(tmp_path)
    os.mkfifo(place / "a" / "2.png")
    pipe = place / "a" / "2.png"
    for read in (
        lambda: from_folder(place), lambda: from_npz(pipe), lambda: from_csv(pipe),
        lambda: from_idx(pipe, pipe),
    ):  # fmt: skip
        with guarded(), pytest.raises(ValueError, match=r"2.png' is a pipe or a device"):
            read()


def test_names_that_are_no_text_are_read_and_can_be_told(tmp_path):
    place = folder_of_pictures(tmp_path)
    name = os.fsdecode(b"\xff\xfe\n.png")
    try:
        (place / "a" / name).write_bytes(b"no picture")
    except OSError:
        pytest.skip("this file system takes text only")
    with pytest.raises(ValueError, match="cannot be read as a picture") as caught:
        from_folder(place)
    assert r"\udcff\udcfe\n.png" in str(caught.value)
    str(caught.value).encode()  # can be printed


# --- arrays ----------------------------------------------------------------------------------


@pytest.mark.parametrize("labels", [np.arange(50_000), np.arange(50_000).astype(str)])
def test_as_many_classes_as_images_take_no_time_to_speak_of(labels):
    """Both took time by the square of their number."""
    with guarded():
        data = from_arrays(np.zeros((50_000, 1, 1), np.uint8), labels)
    assert len(data.classes) == 50_000


def test_more_names_than_there_can_be_classes_are_refused():
    names = np.arange(70_000).astype(str)
    with pytest.raises(ValueError, match="70,000 different names among the labels"):
        from_arrays(np.zeros((70_000, 1, 1), np.uint8), names)


@pytest.mark.parametrize("name", NORMALIZATIONS)
@pytest.mark.parametrize("spread", [1e15, 1.0, 1e-18, 1e-30, 1e-44])
def test_every_normalization_stays_finite_however_little_or_much_the_pixels_differ(name, spread):
    images = np.zeros((10, 1, 4, 4), np.float32)
    images[::2, :, 1] = spread
    images[1::2] = -spread
    data = from_arrays(images, np.arange(10) % 2, normalize=name)
    for part in (data.train, data.validation, data.test):
        assert np.isfinite(part.batch(np.arange(len(part)))[0]).all()


@pytest.mark.parametrize("name", NORMALIZATIONS)
def test_a_part_without_images_gives_batches_of_none(name):
    data = from_arrays(IMAGES, LABELS, sizes=(12, 0), normalize=name)
    assert data.validation.batch([])[0].shape == (0, 1, 4, 5)


@pytest.mark.parametrize(
    ("labels", "told"),
    [([1e300, 0.0], "whole numbers"), ([1e12, 0.0], "got 1000000000000"), ([np.inf, 0.0], "whole")],
)
def test_labels_beyond_whole_numbers_are_refused(labels, told):
    with pytest.raises((ValueError, TypeError), match=told):
        from_arrays(np.zeros((2, 2, 2)), np.array(labels))


BOMB = """
import resource, sys, tracemalloc
from pathlib import Path
from Datasets import from_csv, from_idx, from_npz
resource.setrlimit(resource.RLIMIT_AS, (4 * 2**30, 4 * 2**30))
folder = Path(sys.argv[1])
for path in sorted(folder.iterdir()):
    tracemalloc.start()
    try:
        if path.suffix == ".npz":
            result = from_npz(path)
        elif path.suffix == ".csv":
            result = from_csv(path)
        elif path.name.startswith("images"):
            result = from_idx(path, folder / path.name.replace("images", "labels"))
        else:
            continue
    except ValueError as error:
        result = error
    print(path.name, tracemalloc.get_traced_memory()[1] // 10**6, str(result)[:300])
    tracemalloc.stop()
"""
LENGTH = 30_000_000  # bytes that 30 kB of gzip unpack to


@pytest.mark.slow
def test_thirty_kilobytes_take_no_more_memory_than_they_can_mean(tmp_path):
    """They took 0.3 to 2.1 GB: labels and orders of millions, floats made of bytes, long lines."""
    pytest.importorskip("resource")
    count = LENGTH // 100
    zeros, zip_of = bytes(LENGTH), {"method": zipfile.ZIP_DEFLATED}
    made = {
        "images1": gzip.compress(idx_header(LENGTH, 1, 1) + zeros),
        "labels1": gzip.compress(idx_header(LENGTH) + zeros),
        "images2": gzip.compress(idx_header(count, 10, 10, kind=9) + zeros),
        "labels2": gzip.compress(idx_header(count) + bytes(count)),
        "line.csv": gzip.compress(b",".join([b"10"] * (LENGTH // 3)) + b",x\n"),
        "lines.csv": gzip.compress(b"0,0\n" * (LENGTH // 4)),
        "empty.csv": gzip.compress(b"\r" * LENGTH),
        **{
            f"{kind[1:]}.npz": npz_set(
                npy_header(kind, f"({LENGTH // size}, 1, {size})") + zeros,
                labels=npy_header(f"|{letter}{size}", f"({LENGTH // size},)") + zeros,
                **zip_of,
            )["set.npz"]
            for kind, size, letter in (("|i1", 1, "u"), ("|b1", 1000, "S"))
        },
    }  # fmt: skip
    for name, content in made.items():
        assert len(content) < 150_000
        (tmp_path / name).write_bytes(content)
    done = subprocess.run(
        [sys.executable, "-c", BOMB, str(tmp_path)], cwd=ROOT, timeout=300,
        capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    lines = done.stdout.splitlines()
    assert len(lines) == 7
    for line in lines:
        name, megabytes, told = line.split(maxsplit=2)
        assert int(megabytes) < 150, line
        assert re.search(r"bytes of memory, which is too many for them|too many for [\d,]+ p|"
                         r"unpacks from .* too many", told), line  # fmt: skip
        assert name in told


def test_a_wrong_last_line_of_a_large_table_is_found_without_reading_all_line_by_line(
    tmp_path, monkeypatch
):
    from glassbox.data import tables

    asked = []
    line_by_line = tables._fault_of_line
    monkeypatch.setattr(
        tables, "_fault_of_line", lambda line, n: asked.append(line) or line_by_line(line, n)
    )
    lines = ["1," + ",".join(map(str, range(k % 7, k % 7 + 16))) for k in range(10_001)]
    lines[10_000] += ".x"
    (tmp_path / "t.csv").write_text("\n".join(["label,pixels", "", *lines]))
    with pytest.raises(ValueError, match=r"line 10003: value 17 is '\d+\.x', expected a number"):
        from_csv(tmp_path / "t.csv")
    assert len(asked) < 5_000
