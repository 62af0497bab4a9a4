"""Damage: ways to spoil the bytes of a file, decided by a random generator alone.

`spoil(content, rng)` returns the spoilt bytes and says in words what was done, so that a case that
fails can be told and repeated.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable

import numpy as np

Spoilt = tuple[bytes, str]

# What ends up where a size, a count or a place is expected.
NUMBERS = (0, 1, 2, 3, 0x7F, 0x80, 0xFF, 0x7FFF, 0xFFFF, 2**24, 2**31 - 1, 2**31, 2**32 - 1,
           2**33, 10**11, 2**63 - 1, 2**63, 2**64 - 1)  # fmt: skip
WORDS = (
    b"nan", b"-inf", b"1e400", b"1e39", b"-1", b"-0", b"0.5", b"70000", b"1_0", b"0x1F", b"True",
    b"\0", b'"', b"'", b",", b";", b"\n", b"\r", b"\r\n", b" ", b"#", b"\xff\xfe", b"\xef\xbb\xbf",
    "\u0967".encode(), b"9" * 5000, b"<html>", b"(((((", b"{" * 3000, b"\x1f\x8b", b"PK\3\4",
    b"\x93NUMPY", b"IHDR", b"null", b"[]",
)  # fmt: skip
# Words of the formats' own headers, and others in their place.
SWAPS = (
    (b"|u1", b"|O8"), (b"|u1", b"<f8"), (b"|u1", b"|b1"), (b"|u1", b"|S1"), (b"|u1", b"|V1"),
    (b"|u1", b"<U1"), (b"|u1", b"|S0"), (b"|u1", b"<M8"), (b"|u1", b"<c8"), (b"|u1", b"u1'"),
    (b"<i8", b"<f8"), (b"<i8", b"|O8"), (b"<i8", b">i8"), (b"<i8", b"<U2"), (b"<i8", b"|S8"),
    (b"<i8", b"<u8"), (b"False", b"True "), (b"'shape'", b"'shope'"), (b"(12,", b"(99999999999,"),
    (b"(12,", b"(-12,"), (b"(12,", b"(0,"), (b"(12,", b"(1, 12,"), (b"(12,", b"(6, 2,"),
    (b"4, 5)", b"5, 4)"), (b"4, 5)", b"20)"), (b"4, 5)", b"'a', 5)"), (b"{", b"["), (b"}", b" "),
    (b"label", b"7"), (b",", b";"), (b"\n", b"\r"), (b"\n", b""), (b"0", b"0.0"), (b"1", b"-1"),
)  # fmt: skip


def _place(content: bytes, rng: np.random.Generator) -> int:
    """Anywhere, but every other time among the first or the last bytes, where headers are."""
    if rng.random() < 0.5:
        return int(rng.integers(len(content) + 1))
    near = int(rng.integers(min(len(content), 120) + 1))
    return near if rng.random() < 0.7 else len(content) - near


def _stretch(content: bytes, rng: np.random.Generator) -> tuple[int, int]:
    start = _place(content, rng)
    return start, min(start + int(rng.integers(1, 60)), len(content))


def truncate(content: bytes, rng: np.random.Generator) -> Spoilt:
    place = _place(content, rng)
    return content[:place], f"cut at byte {place}"


def behead(content: bytes, rng: np.random.Generator) -> Spoilt:
    place = int(rng.integers(1, 20))
    return content[place:], f"the first {place} bytes gone"


def flip(content: bytes, rng: np.random.Generator) -> Spoilt:
    spoilt, places = bytearray(content), []
    for _ in range(int(rng.integers(1, 5)) if content else 0):
        place, bit = min(_place(content, rng), len(content) - 1), int(rng.integers(8))
        spoilt[place] ^= 1 << bit
        places.append(f"{place}.{bit}")
    return bytes(spoilt), f"bits {' '.join(places)} flipped"


def number(content: bytes, rng: np.random.Generator) -> Spoilt:
    value, width = NUMBERS[rng.integers(len(NUMBERS))], int(rng.choice([1, 2, 4, 8]))
    order = "big" if rng.random() < 0.5 else "little"
    place = _place(content, rng)
    raw = (value % 256**width).to_bytes(width, order)
    return content[:place] + raw + content[place + width :], f"{value} ({order}) at byte {place}"


def noise(content: bytes, rng: np.random.Generator) -> Spoilt:
    start, stop = _stretch(content, rng)
    return content[:start] + rng.bytes(stop - start) + content[stop:], f"noise at {start}:{stop}"


def append(content: bytes, rng: np.random.Generator) -> Spoilt:
    tail = bytes(40) if rng.random() < 0.3 else rng.bytes(int(rng.integers(1, 200)))
    return content + tail, f"{len(tail)} bytes appended"


def delete(content: bytes, rng: np.random.Generator) -> Spoilt:
    start, stop = _stretch(content, rng)
    return content[:start] + content[stop:], f"{start}:{stop} deleted"


def duplicate(content: bytes, rng: np.random.Generator) -> Spoilt:
    start, stop = _stretch(content, rng)
    return content[:stop] + content[start:], f"{start}:{stop} twice"


def twice(content: bytes, rng: np.random.Generator) -> Spoilt:
    return content + content, "the whole content twice"


def insert(content: bytes, rng: np.random.Generator) -> Spoilt:
    place, word = _place(content, rng), WORDS[rng.integers(len(WORDS))]
    return content[:place] + word + content[place:], f"{word[:12]!r} inserted at {place}"


def swap(content: bytes, rng: np.random.Generator) -> Spoilt:
    fitting = [pair for pair in SWAPS if pair[0] in content]
    if not fitting:
        return insert(content, rng)
    old, new = fitting[rng.integers(len(fitting))]
    return content.replace(old, new, int(rng.integers(1, 3))), f"{new!r} for {old!r}"


def blank(content: bytes, rng: np.random.Generator) -> Spoilt:
    start, stop = _stretch(content, rng)
    fill = b"\0" if rng.random() < 0.5 else b"\xff"
    return content[:start] + fill * (stop - start) + content[stop:], f"{fill!r} at {start}:{stop}"


WAYS: tuple[Callable[[bytes, np.random.Generator], Spoilt], ...] = (
    truncate, behead, flip, flip, number, number, noise, append, delete, duplicate, twice, insert,
    swap, swap, blank,
)  # fmt: skip


ODD = (None, True, -1, 0, 1, 3, 2.5, 1e308, 10**11, 2**63, "", "x", "same", "1", [], {}, [1, 2],
       [[]], {"kind": "Flatten"}, {"kind": "Adam"}, float("nan"), float("inf"))  # fmt: skip


def member(content: bytes, rng: np.random.Generator) -> Spoilt:
    """A value somewhere in a JSON object replaced, removed or put twice: it stays JSON."""
    record = json.loads(content)
    holder, key, path = record, None, ""
    while isinstance(holder, dict | list) and holder:
        keys = list(holder) if isinstance(holder, dict) else range(len(holder))
        key = keys[rng.integers(len(keys))]
        path += f".{key}"
        inside = holder[key]
        if not isinstance(inside, dict | list) or not inside or rng.random() < 0.15:
            break
        holder = inside
    how = rng.random()
    if key is None or how < 0.75:
        odd = ODD[rng.integers(len(ODD))]
        if key is not None:
            holder[key] = odd
        return json.dumps(record).encode(), f"{path} = {odd!r}"
    if how < 0.9:
        del holder[key]
        return json.dumps(record).encode(), f"{path} gone"
    if isinstance(holder, dict):
        holder[f"{key}2"] = holder[key]
    else:
        holder.append(holder[key])
    return json.dumps(record).encode(), f"{path} twice"


def spoil(content: bytes, rng: np.random.Generator) -> Spoilt:
    """The content after one to three kinds of damage, and these in words."""
    if content[:1] == b"{" and rng.random() < 0.8:
        with contextlib.suppress(ValueError, RecursionError):  # spoilt before: JSON no more
            return member(content, rng)
    done = []
    for _ in range(int(rng.integers(1, 4))):
        content, words = WAYS[rng.integers(len(WAYS))](content, rng)
        done.append(words)
    return content, "; ".join(done)
