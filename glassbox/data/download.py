"""Fetching files through several mirrors, with bounded patience.

What may go wrong, and what is done about it:

- the network is down, or swallows everything: the waiting for first bytes, over all files and
  mirrors together, ends after ``PATIENCE`` seconds. Every transfer has a thread of its own,
  since neither a name look-up nor a host of many addresses keeps to a time limit by itself;
- a mirror does not answer: it is not asked again for the other files;
- a mirror sends a web page or other content: its bytes are refused, the next one is asked;
- a connection breaks off or stalls: the next mirror is asked, and this one once more at the end;
- a slow download that goes on arriving is never cut.

Nothing is written before it is whole and verified, and then under a temporary name first.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from glassbox.atomic import write_atomically

PATIENCE = 13.0  # seconds of fruitless waiting for first bytes, over all files and mirrors
FIRST_BYTE = 4.0  # seconds until a mirror must have begun to send
PAUSE = 10.0  # seconds without a byte after which a transfer that has begun is given up
CHUNK = 2**12  # bytes; the first byte is noticed when the first chunk is full
LARGEST = 64 * 2**20  # bytes; a server that sends more than this sends something else

Verify = Callable[[str, bytes], bytes]  # file name, bytes as sent -> content, or ValueError


class DataUnavailable(OSError):
    """Files of a data set are not on this computer and could not be downloaded."""


class Transfer:
    """One file on its way from one mirror, in a thread of its own.

    It plays both roles that pooch asks for: the file that is written to and the progress bar.
    """

    def __init__(self, url: str, title: str) -> None:
        from pooch import HTTPDownloader  # a tenth of a second, spared those who have the data

        self.url = url
        self.title = title
        self.total = 0  # bytes announced; pooch sets it
        self.begun = threading.Event()  # the first byte is here, or the transfer has failed
        self.failure: Exception | None = None
        self.given_up = False
        self._chunks: list[bytes] = []
        self._received = 0
        self._bar: Any = None
        self._response: Any = None
        self._fetch = HTTPDownloader(
            progressbar=self,
            chunk_size=CHUNK,
            timeout=(FIRST_BYTE, PAUSE),
            headers={"Accept-Encoding": "identity"},
            hooks={"response": self._answered},
        )
        self._thread = threading.Thread(target=self._run, daemon=True)

    @property
    def any_bytes(self) -> bool:
        return self._received > 0

    @property
    def accepted(self) -> bool:
        """Whether the server has agreed to send the file."""
        return self._response is not None and bool(self._response.ok)

    @property
    def refused(self) -> bool:
        """Whether the server has answered, but with a status such as 404."""
        return self._response is not None and not self._response.ok

    def start(self) -> None:
        self._thread.start()

    def result(self) -> bytes:
        """Wait for the end of a transfer that has begun; raises what went wrong in it."""
        while self._thread.is_alive():
            self._thread.join(1.0)  # in slices, so that Ctrl-C is heard on every system
        if self.failure is not None:
            raise self.failure
        return b"".join(self._chunks)

    def _run(self) -> None:
        try:
            self._fetch(self.url, self, None)
        except Exception as error:  # handed to the thread that waits, whatever it is
            self.failure = error
        finally:
            if self._response is not None:
                self._response.close()  # pooch leaves it open when reading fails
            if self._bar is not None:
                self._bar.close()
            self.begun.set()

    def _answered(self, response: Any, *args: Any, **options: Any) -> None:
        self._response = response

    def write(self, chunk: bytes) -> None:
        if self.given_up:
            raise ConnectionAbortedError("given up")
        if self._bar is None:
            from tqdm import tqdm

            # None: shown in a terminal only
            self._bar = tqdm(
                desc=self.title, total=self.total or None, unit="B", unit_scale=True, disable=None
            )
        self._received += len(chunk)
        if self._received > LARGEST:
            raise ConnectionAbortedError(f"sent more than {LARGEST:,} bytes")
        self._chunks.append(chunk)
        self._bar.update(len(chunk))
        self.begun.set()

    def flush(self) -> None:
        """Asked for by pooch; there is nothing to flush."""

    def update(self, size: int) -> None:
        """Asked for by pooch, whose sizes are rounded up; ``write`` counts the real ones."""

    reset = close = flush


class Mirrors:
    """The mirrors of one set, what each has failed at, and the patience that is left."""

    def __init__(self, addresses: Sequence[str]) -> None:
        self.alive = list(addresses)
        self.patience = PATIENCE
        self.failures: list[str] = []

    def fetch(self, file: str, verify: Verify) -> tuple[bytes, bytes] | None:
        """The file as sent and its verified content, or None when no mirror has it."""
        broken_off: list[str] = []
        for address in list(self.alive):
            packed = self._ask(address, file, verify, broken_off)
            if packed:
                return packed
        for address in broken_off:
            packed = self._ask(address, file, verify, [])
            if packed:
                return packed
        return None

    def _ask(
        self, address: str, file: str, verify: Verify, broken_off: list[str]
    ) -> tuple[bytes, bytes] | None:
        url = f"{address}{file}.gz"
        transfer = Transfer(url, file)
        try:
            sent = self._receive(transfer)
            return sent, verify(file, sent)
        except (OSError, ValueError) as error:
            self.failures.append(f"{url}: {reason(error)}")
            if transfer.accepted and isinstance(error, OSError):
                broken_off.append(address)
            elif not transfer.accepted and not transfer.refused:
                self.alive.remove(address)
        finally:
            transfer.given_up = True
        return None

    def _receive(self, transfer: Transfer) -> bytes:
        limit = min(FIRST_BYTE, self.patience)
        if limit <= 0:
            raise TimeoutError(f"not asked, after {PATIENCE:g} s of waiting for the others")
        begin = time.monotonic()
        transfer.start()
        begun = transfer.begun.wait(limit)
        if not transfer.any_bytes:
            self.patience -= time.monotonic() - begin
        if not begun:
            raise TimeoutError(f"no answer within {limit:.2g} s")
        return transfer.result()


def fetch_all(
    addresses: Sequence[str],
    files: Sequence[str],
    place: Path,
    verify: Verify,
    problem: str,
    remedy: str,
) -> dict[str, bytes]:
    """Download files into the folder ``place``; returns their contents.

    ``addresses`` are the mirrors, to which a file's name is added. ``verify`` unpacks and checks
    what a mirror sent, raising ValueError. ``problem`` and ``remedy`` begin and end the message of
    the DataUnavailable that is raised when a file cannot be had from any mirror, or not be saved.
    """
    mirrors = Mirrors(addresses)
    contents = {}
    for file in files:
        packed = mirrors.fetch(file, verify)
        if packed is None:
            tried = "\n  ".join(mirrors.failures) or "(no mirror is known)"
            raise DataUnavailable(f"{problem}, and could not be downloaded:\n  {tried}\n{remedy}")
        sent, contents[file] = packed
        suffix = "" if sent == contents[file] else ".gz"  # some servers unpack while sending
        try:
            place.mkdir(parents=True, exist_ok=True)
            write_atomically(place / (file + suffix), sent)
        except OSError as error:
            raise DataUnavailable(
                f"{problem}, and {file} was downloaded but cannot be saved: {error}\n{remedy}"
            ) from error
    return contents


def reason(error: BaseException) -> str:
    """What went wrong, in one line, without the layers that libraries wrap around it."""
    response = getattr(error, "response", None)
    if response is not None:
        return f"HTTP status {response.status_code}"
    while not isinstance(error, ValueError) and error.__context__ is not None:
        error = error.__context__  # down to the system's own error; a ValueError is one of ours
    return str(error) or type(error).__name__
