"""Fetching files through several mirrors, with bounded patience.

- The waiting for first bytes, over all files and mirrors together, ends after `PATIENCE` seconds,
  whatever the network does: every transfer has its own thread, since neither a name look-up nor a
  host of many addresses keeps to a time limit by itself.
- A mirror that does not answer is not asked again for the other files; after other content (a web
  page, say) the next one is asked; a connection that breaks off or stalls is tried once more at
  the end. A slow download that goes on arriving is never cut.
- Nothing is written before it is complete and verified, and then under a temporary name first.
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


class Transfer(threading.Thread):
    """One file on its way from one mirror, in its own thread."""

    def __init__(self, url: str, title: str) -> None:
        super().__init__(daemon=True)
        self.url, self.title = url, title
        self.begun = threading.Event()  # the first byte is here, or the transfer has failed
        self.accepted: bool | None = None  # whether the server agreed to send (not 404, say)
        self.failure: Exception | None = None
        self.given_up = False
        self.received = 0  # bytes
        self.chunks: list[bytes] = []

    def run(self) -> None:
        """Receive the file; what goes wrong is handed to the thread that waits."""
        headers, wait, bar = {"Accept-Encoding": "identity"}, (FIRST_BYTE, PAUSE), None
        try:
            import requests  # a tenth of a second, spared those who have the data
            from tqdm import tqdm

            with requests.get(self.url, stream=True, timeout=wait, headers=headers) as response:
                self.accepted = response.ok
                response.raise_for_status()
                total = int(response.headers.get("content-length", 0)) or None
                look: dict[str, Any] = {"total": total, "unit": "B", "unit_scale": True}
                for chunk in response.iter_content(CHUNK):
                    if self.given_up:
                        raise ConnectionAbortedError("given up")
                    if bar is None:  # disable=None: shown in a terminal only
                        bar = tqdm(desc=self.title, disable=None, **look)
                    self.received += len(chunk)
                    if self.received > LARGEST:
                        raise ConnectionAbortedError(f"sent more than {LARGEST:,} bytes")
                    self.chunks.append(chunk)
                    bar.update(len(chunk))
                    self.begun.set()
        except Exception as error:
            self.failure = error
        finally:
            if bar is not None:
                bar.close()
            self.begun.set()

    def result(self) -> bytes:
        """Wait for the end of a transfer that has begun; raise what went wrong in it."""
        while self.is_alive():
            self.join(1.0)  # in slices, so that Ctrl-C is heard on every system
        if self.failure is not None:
            raise self.failure
        return b"".join(self.chunks)


class Mirrors:
    """The mirrors of one set, what each has failed at, and the patience that is left."""

    def __init__(self, addresses: Sequence[str]) -> None:
        self.alive = list(addresses)
        self.patience = PATIENCE
        self.failures: list[str] = []

    def fetch(self, file: str, verify: Verify) -> tuple[bytes, bytes] | None:
        """Give the file as sent and its verified content, or None when no mirror has it."""
        asked = list(self.alive)
        again = len(asked)  # from here on those whose connection broke off are asked once more
        for number, address in enumerate(asked):
            packed = self._ask(address, file, verify, asked if number < again else [])
            if packed:
                return packed
        return None

    def _ask(
        self, address: str, file: str, verify: Verify, broken_off: list[str]
    ) -> tuple[bytes, bytes] | None:
        transfer = Transfer(f"{address}{file}.gz", file)
        limit, begin = min(FIRST_BYTE, self.patience), time.monotonic()
        try:
            if limit <= 0:
                raise TimeoutError(f"not asked, after {PATIENCE:g} s of waiting for the others")
            transfer.start()
            begun = transfer.begun.wait(limit)
            if not transfer.received:
                self.patience -= time.monotonic() - begin
            if not begun:
                raise TimeoutError(f"no answer within {limit:.2g} s")
            sent = transfer.result()
            return sent, verify(file, sent)
        except (OSError, ValueError) as error:
            self.failures.append(f"{transfer.url}: {reason(error)}")
            if transfer.accepted and isinstance(error, OSError):
                broken_off.append(address)
            elif transfer.accepted is None:
                self.alive.remove(address)
        finally:
            transfer.given_up = True
        return None


def fetch_all(
    addresses: Sequence[str], files: Sequence[str], place: Path, verify: Verify, problem: str,
    remedy: str,
) -> dict[str, bytes]:  # fmt: skip
    """Download files into the folder `place`; returns their contents.

    addresses : the mirrors, to which a file's name is added
    verify : unpacks and checks what a mirror sent, raising ValueError
    problem, remedy : begin and end the message of the DataUnavailable that is raised when a file
        cannot be had from any mirror, or not be saved
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
    """Say what went wrong in one line, without the layers that libraries wrap around it."""
    response = getattr(error, "response", None)
    if response is not None:
        return f"HTTP status {response.status_code}"
    while not isinstance(error, ValueError) and error.__context__ is not None:
        error = error.__context__  # down to the system's own error; a ValueError is one of ours
    return str(error) or type(error).__name__
