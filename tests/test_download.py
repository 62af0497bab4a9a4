"""Finding and fetching the published sets, against a server on this computer and tiny sets."""

import gzip
import hashlib
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest

from Datasets import MNIST, DataUnavailable, FashionMNIST
from glassbox.data import download, published
from glassbox.data.readers import unpack


def idx(array):
    header = bytes([0, 0, 8, array.ndim])
    return header + b"".join(n.to_bytes(4, "big") for n in array.shape) + array.tobytes()


def tiny_set(seed):
    """Four files such as MNIST has, of 12 + 6 images of 3 x 4 pixels."""
    random = np.random.default_rng(seed)
    files = {}
    for part, n in (("train", 12), ("t10k", 6)):
        pixels = random.integers(0, 256, (n, 3, 4), dtype=np.uint8)
        files[f"{part}-images-idx3-ubyte"] = idx(pixels)
        files[f"{part}-labels-idx1-ubyte"] = idx((np.arange(n) % 10).astype(np.uint8))
    return files


SETS = {"mnist": tiny_set(1), "fashion-mnist": tiny_set(2)}
FILES = list(SETS["mnist"])
IMAGES = "train-images-idx3-ubyte"
SIZES = (8, 4, 6)
STALLING = pytest.param("stalling", marks=pytest.mark.slow)  # it is waited for


class Handler(BaseHTTPRequestHandler):
    """/<behavior>/<file>.gz: what a good or a bad mirror does."""

    def do_GET(self):
        behavior, file = self.path.strip("/").split("/")
        self.server.asked.append((behavior, file))
        good = gzip.compress(SETS["mnist"][file.removesuffix(".gz")])
        getattr(self, behavior.replace("-", "_"))(good)

    def send(self, body, announced=None, status=200):
        self.send_response(status)
        self.send_header("Content-Length", str(announced or len(body)))
        self.end_headers()
        self.wfile.write(body)

    def good(self, body):
        self.send(body)

    def plain(self, body):
        self.send(gzip.decompress(body))

    def page(self, body):
        self.send(b"<!DOCTYPE html><html>Please log in to the network</html>")

    def other(self, body):
        self.send(gzip.compress(b"something else"))

    def bomb(self, body):
        self.send(gzip.compress(bytes(200_000)))

    def fashion(self, body):
        self.send(gzip.compress(SETS["fashion-mnist"][IMAGES]))

    def cut(self, body):
        self.send(body[: len(body) // 2], announced=len(body))

    def cut_once(self, body):
        first = sum(behavior == "cut-once" for behavior, _ in self.server.asked) == 1
        self.cut(body) if first else self.send(body)

    def missing(self, body):
        self.send(b"no such thing", status=404)

    def lacking(self, body):
        self.missing(body) if "train-images" in self.path else self.send(body)

    def silent(self, body):
        self.server.end.wait(30)

    def stalling(self, body):
        self.send_response(200)
        self.send_header("Content-Length", "1000000")
        self.end_headers()
        self.wfile.write(bytes(2 * download.CHUNK))
        self.wfile.flush()
        self.server.end.wait(30)

    def endless(self, body):
        self.send_response(200)
        self.end_headers()
        try:
            while not self.server.end.is_set():
                self.wfile.write(bytes(4096))
        except OSError:
            pass  # the other side has hung up, as it should

    def log_message(self, *args):
        pass


@pytest.fixture
def server():
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = False  # so that server_close waits for the handlers
    server.asked, server.end = [], threading.Event()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield server
    server.end.set()
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture(autouse=True)
def tiny_world(monkeypatch, tmp_path):
    """Tiny sets, short patience, no mirrors, a cache of the test's own, no proxy."""
    hashes = {
        name: {file: hashlib.sha256(content).hexdigest() for file, content in files.items()}
        for name, files in SETS.items()
    }
    monkeypatch.setattr(published, "CONTENTS", hashes)
    monkeypatch.setattr(published, "MIRRORS", {"mnist": (), "fashion-mnist": ()})
    monkeypatch.setattr(published, "cache_folder", lambda: tmp_path / "cache")
    monkeypatch.setattr(download, "FIRST_BYTE", 1.0)
    monkeypatch.setattr(download, "PAUSE", 1.0)
    monkeypatch.delenv(published.FOLDER_VARIABLE, raising=False)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")


@pytest.fixture
def use(monkeypatch, server):
    """use("page", "good"): let these behaviors be the mirrors of MNIST, in this order."""

    def set_mirrors(*behaviors):
        addresses = tuple(
            f"http://127.0.0.1:{server.server_address[1]}/{behavior}/" for behavior in behaviors
        )
        monkeypatch.setattr(published, "MIRRORS", {"mnist": addresses})
        if "silent" in behaviors:  # on a busy machine either limit could be reached first
            monkeypatch.setattr(download, "PAUSE", 30.0)

    return set_mirrors


def put(folder, name, packed=True, files=FILES, of=None):
    folder.mkdir(parents=True, exist_ok=True)
    for file in files:
        content = SETS[of or name][file]
        path = folder / (file + ".gz" if packed else file)
        path.write_bytes(gzip.compress(content, 1) if packed else content)


def files_below(folder):
    return sorted(p.name for p in folder.rglob("*") if p.is_file())


# finding ------------------------------------------------------------------------------------


@pytest.mark.parametrize("packed", [True, False])
def test_files_in_the_folder_of_their_set_are_found(tmp_path, packed):
    put(tmp_path / "mnist", "mnist", packed)
    data = MNIST(tmp_path, SIZES, normalize="none", download=False)
    expected = np.frombuffer(SETS["mnist"][IMAGES], np.uint8, offset=16).reshape(12, 1, 3, 4)
    assert np.array_equal(data.train.images, expected[:8])
    assert np.array_equal(data.validation.images, expected[8:])
    assert len(data.test) == 6


def test_the_environment_variable_names_the_folder(tmp_path, monkeypatch):
    put(tmp_path / "here" / "mnist", "mnist")
    monkeypatch.setenv("GLASSBOX_DATA", str(tmp_path / "here"))
    assert len(MNIST(sizes=SIZES, download=False).train) == 8


def test_the_argument_goes_before_the_environment_variable(tmp_path, monkeypatch):
    put(tmp_path / "here" / "mnist", "mnist")
    monkeypatch.setenv("GLASSBOX_DATA", str(tmp_path / "elsewhere"))
    assert len(MNIST(tmp_path / "here", SIZES, download=False).train) == 8


@pytest.mark.parametrize("packed", [True, False])
def test_files_right_in_the_data_folder_count_only_by_their_content(tmp_path, packed):
    put(tmp_path, "fashion-mnist", packed)
    assert len(FashionMNIST(tmp_path, SIZES, download=False).test) == 6
    with pytest.raises(DataUnavailable):
        MNIST(tmp_path, SIZES, download=False)


def test_forbidden_download_names_files_and_place(tmp_path, use, server):
    use("good")
    put(tmp_path / "mnist", "mnist", files=FILES[:3])
    with pytest.raises(DataUnavailable) as caught:
        MNIST(tmp_path, download=False)
    message = str(caught.value)
    assert FILES[3] in message and FILES[0] not in message
    assert str(tmp_path / "mnist") in message and "GLASSBOX_DATA" in message
    assert server.asked == []


def test_damaged_file_in_a_named_folder_is_an_error_and_stays(tmp_path, use, server):
    use("good")
    put(tmp_path / "mnist", "mnist")
    damaged = tmp_path / "mnist" / f"{IMAGES}.gz"
    damaged.write_bytes(damaged.read_bytes()[:60])
    with pytest.raises(ValueError, match=r"train-images-idx3-ubyte.gz.*truncated.*Delete"):
        MNIST(tmp_path)
    assert damaged.stat().st_size == 60
    assert server.asked == []


def test_damaged_file_in_the_cache_is_replaced(tmp_path, use, server):
    use("good")
    put(tmp_path / "cache" / "mnist", "mnist")
    (tmp_path / "cache" / "mnist" / f"{IMAGES}.gz").write_bytes(b"rubbish")
    assert len(MNIST(sizes=SIZES).train) == 8
    assert server.asked == [("good", f"{IMAGES}.gz")]


def test_file_of_the_other_set_is_called_by_its_name(tmp_path):
    put(tmp_path / "mnist", "mnist")
    put(tmp_path / "mnist", "mnist", files=[IMAGES], of="fashion-mnist")
    with pytest.raises(ValueError, match="this is train-images-idx3-ubyte of Fashion-MNIST"):
        MNIST(tmp_path)


def test_other_content_is_told_by_both_hashes(tmp_path):
    put(tmp_path / "mnist", "mnist", packed=False)
    (tmp_path / "mnist" / IMAGES).write_bytes(b"other")
    found, expected = hashlib.sha256(b"other").hexdigest(), published.CONTENTS["mnist"][IMAGES]
    with pytest.raises(ValueError, match=f"{found}, expected {expected}"):
        MNIST(tmp_path)


# fetching -----------------------------------------------------------------------------------


def test_download_goes_into_the_cache_and_is_used_again(tmp_path, use, server):
    use("good")
    first = MNIST(sizes=SIZES)
    assert files_below(tmp_path / "cache" / "mnist") == sorted(f"{file}.gz" for file in FILES)
    again = MNIST(sizes=SIZES)
    assert len(server.asked) == 4
    assert np.array_equal(first.test.images, again.test.images)


def test_download_goes_into_the_named_folder(tmp_path, use):
    use("good")
    MNIST(tmp_path / "mine", SIZES)
    assert len(files_below(tmp_path / "mine" / "mnist")) == 4
    assert not (tmp_path / "cache").exists()


def test_only_missing_files_are_fetched(tmp_path, use, server):
    use("good")
    put(tmp_path / "mnist", "mnist", files=FILES[1:])
    MNIST(tmp_path, SIZES)
    assert server.asked == [("good", f"{FILES[0]}.gz")]


def test_file_that_a_server_unpacked_is_kept_without_the_suffix(tmp_path, use):
    use("plain")
    MNIST(tmp_path, SIZES)
    assert files_below(tmp_path) == sorted(FILES)
    assert len(MNIST(tmp_path, SIZES, download=False).train) == 8


@pytest.mark.parametrize("bad", ["page", "other", "fashion", "cut", "missing", STALLING])
def test_next_mirror_makes_up_for_a_bad_one(tmp_path, use, server, bad):
    use(bad, "good")
    put(tmp_path / "mnist", "mnist", files=FILES[1:])
    assert len(MNIST(tmp_path, SIZES).train) == 8
    assert server.asked == [(bad, f"{IMAGES}.gz"), ("good", f"{IMAGES}.gz")]
    assert files_below(tmp_path) == sorted(f"{file}.gz" for file in FILES)


@pytest.mark.slow
def test_silent_mirror_is_asked_once_in_all(tmp_path, use, server):
    use("silent", "good")
    assert len(MNIST(tmp_path, SIZES).train) == 8
    assert [behavior for behavior, _ in server.asked].count("silent") == 1


def test_mirror_that_lacks_one_file_is_asked_for_the_others(tmp_path, use, server):
    use("lacking", "good")
    MNIST(tmp_path, SIZES)
    assert [behavior for behavior, _ in server.asked] == ["lacking", "good", *["lacking"] * 3]


def test_broken_connection_is_tried_again(tmp_path, use, server):
    use("cut-once")
    assert len(MNIST(tmp_path, SIZES).train) == 8
    assert len(server.asked) == 5


@pytest.mark.parametrize(
    ("bad", "told"),
    [
        ("page", "HTML page"),
        ("other", "sha256"),
        ("fashion", "of Fashion-MNIST"),
        ("cut", "bytes read"),
        ("missing", "HTTP status 404"),
        pytest.param("silent", "no answer within 1 s", marks=pytest.mark.slow),
        pytest.param("stalling", "timed out", marks=pytest.mark.slow),
    ],
)
def test_error_tells_files_mirrors_reasons_and_remedy(tmp_path, use, server, bad, told):
    use(bad)
    with pytest.raises(DataUnavailable) as caught:
        MNIST(tmp_path, SIZES)
    message = str(caught.value)
    for file in FILES:
        assert file in message
    assert f"http://127.0.0.1:{server.server_address[1]}/{bad}/{IMAGES}.gz: " in message
    assert told in message
    assert str(tmp_path / "mnist") in message
    assert files_below(tmp_path) == []


def test_server_that_sends_without_end_is_cut(tmp_path, use, monkeypatch):
    monkeypatch.setattr(download, "LARGEST", 100_000)
    use("endless")
    with pytest.raises(DataUnavailable, match="more than 100,000 bytes"):
        MNIST(tmp_path, SIZES)


def test_content_that_unpacks_to_too_much_is_refused(tmp_path, use, monkeypatch):
    monkeypatch.setattr(published, "LARGEST", 100_000)
    use("bomb")
    with pytest.raises(DataUnavailable, match="unpacks to more than 100,000 bytes"):
        MNIST(tmp_path, SIZES)


@pytest.mark.slow
def test_patience_is_shared_by_all_mirrors(tmp_path, use, server, monkeypatch):
    monkeypatch.setattr(download, "PATIENCE", 1.2)
    use("silent", "silent", "silent", "silent")
    with pytest.raises(DataUnavailable, match=r"not asked, after 1.2 s"):
        MNIST(tmp_path, SIZES)
    assert len(server.asked) == 2


def test_default_patience_ends_within_15_seconds():
    assert download.PATIENCE + 1 < 15  # FIRST_BYTE is cut to what is left of it


def test_refused_connection_names_the_mirror(tmp_path, monkeypatch, server):
    closed = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    address = f"http://127.0.0.1:{closed.server_address[1]}/"
    closed.server_close()
    monkeypatch.setattr(published, "MIRRORS", {"mnist": (address,)})
    with pytest.raises(DataUnavailable, match=f"{address}{IMAGES}.gz: .*refused") as caught:
        MNIST(tmp_path, SIZES)
    assert "Pool" not in str(caught.value)  # the cause itself, not the wrapping of the libraries


def test_unwritable_folder_is_passed_over_for_the_cache(tmp_path, use, server):
    use("good")
    (tmp_path / "file").write_text("a file, so no folder can be made here")
    with pytest.warns(UserWarning, match=r"cannot be written to.*cache"):
        MNIST(tmp_path / "file", SIZES)
    assert len(files_below(tmp_path / "cache" / "mnist")) == 4
    with pytest.warns(UserWarning, match="cannot be written to"):
        MNIST(tmp_path / "file", SIZES)
    assert len(server.asked) == 4


def test_failure_to_save_leaves_nothing_behind(tmp_path, use, monkeypatch):
    use("good")

    def full(*args):
        raise OSError("disk full")

    monkeypatch.setattr("glassbox.atomic.os.replace", full)
    with pytest.raises(DataUnavailable, match="cannot be saved: disk full"):
        MNIST(tmp_path, SIZES)
    assert files_below(tmp_path) == []


def test_packed_content_from_strangers_is_bounded():
    with pytest.raises(ValueError, match="more than 1,000 bytes"):
        unpack(gzip.compress(bytes(10_000)), "bomb", limit=1000)


def test_tables_name_the_same_four_files(monkeypatch):
    monkeypatch.undo()
    for name in ("mnist", "fashion-mnist"):
        assert set(published.CONTENTS[name]) == set(FILES)
        assert all(len(digest) == 64 for digest in published.CONTENTS[name].values())
        assert len(published.MIRRORS[name]) >= 2
        assert all(address.endswith("/") for address in published.MIRRORS[name])
