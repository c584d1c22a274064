"""
Zstandard frames (RFC 8878), bounded: what a value unfolds to is counted before room is made for it.

Frames of two encoders differ, so that the bytes are not those that Cilium would write for the same message;
its reader takes them all the same.
"""

from __future__ import annotations

import importlib
import threading
from collections.abc import Iterator
from functools import lru_cache
from typing import Any

from fleetmesh.errors import WireError

LIMIT = 16 << 20
"""Bytes, of content and of window (Cilium pkg/clustermesh/types/endpointslice, `maxDecodeSize`)."""

_FRAME = b"\x28\xb5\x2f\xfd"
_SKIPPABLE = b"\x2a\x4d\x18"
_BIGGEST_BLOCK = 128 << 10
_MOST_PARTS = 1 << 16
"""Four times as many as content of `LIMIT` needs in the smallest window."""

_RAW, _RUN, _COMPRESSED = range(3)

_of_thread = threading.local()
_DICTIONARY_BYTES = (0, 1, 2, 4)


@lru_cache(maxsize=1)
def _zstandard() -> Any:
    """It comes with the extra `etcd`; whoever reads no slices of endpoints can do without."""
    try:
        return importlib.import_module("zstandard")
    except ImportError as missing:
        raise ImportError("slices of endpoints need zstandard: pip install 'fleetmesh[etcd]'") from missing


def _contexts() -> Any:
    """Those of zstandard are of one thread, and dear to make."""
    if not hasattr(_of_thread, "compressor"):
        _of_thread.compressor = _zstandard().ZstdCompressor(write_checksum=True)
        _of_thread.decompressor = _zstandard().ZstdDecompressor(max_window_size=LIMIT)
    return _of_thread


@lru_cache(maxsize=1)
def is_available() -> bool:
    """Whether frames can be read, and written small."""
    try:
        _zstandard()
    except ImportError:
        return False
    return True


def compress(content: bytes) -> bytes:
    """One frame with a checksum; where zstandard is not installed, one that stores the content as it is."""
    return bytes(_contexts().compressor.compress(content)) if is_available() else stored(content)


def stored(content: bytes) -> bytes:
    """One frame of raw blocks, which says how long it is (RFC 8878, sections 3.1.1.1 and 3.1.1.2)."""
    single_segment_with_eight_bytes_of_size = 0b1110_0000
    parts = [_FRAME, bytes([single_segment_with_eight_bytes_of_size]), len(content).to_bytes(8, "little")]
    blocks = [content[at : at + _BIGGEST_BLOCK] for at in range(0, len(content), _BIGGEST_BLOCK)] or [b""]
    for number, block in enumerate(blocks, 1):
        last = number == len(blocks)
        parts += ((len(block) << 3 | _RAW << 1 | last).to_bytes(3, "little"), block)
    return b"".join(parts)


def decompress(value: bytes) -> bytes:
    """
    The content of all frames. Not for the frames of dictionaries.

    Raises:
        WireError: It is no frame, is cut off, has something behind it, is damaged, is of more than 16 MiB, or
            of more blocks and frames than anybody writes.
    """
    found: list[bytes] = []
    room = LIMIT
    for start, end, said, most in _frames(value):
        if said is not None and said > room:
            raise _too_much()
        try:
            content = _contexts().decompressor.decompress(
                value[start:end], max_output_size=min(most, room) or 1
            )
        except _zstandard().ZstdError as problem:
            raise _too_much() if said is None and most > room else WireError("", f"zstd: {problem}") from None
        room -= len(content)
        found.append(content)
    return found[0] if len(found) == 1 else b"".join(found)


def _frames(value: bytes) -> Iterator[tuple[int, int, int | None, int]]:
    """Where each frame begins and ends, and how many bytes it says that it unfolds to, and can at most."""
    at, parts = 0, 0
    while at < len(value):
        if (parts := parts + 1) > _MOST_PARTS:
            raise _too_many()
        magic = value[at : at + 4]
        if magic[1:] == _SKIPPABLE and magic[0] & 0xF0 == 0x50:
            at = _behind(value, at + 8) + int.from_bytes(value[at + 4 : at + 8], "little")
            _behind(value, at)
        elif magic == _FRAME:
            start = at
            at, said, most, blocks = _frame(value, at)
            parts += blocks
            yield start, at, said, most
        else:
            raise WireError(
                "", "no zstd frame" if not at else "something that is no zstd frame behind a frame"
            )


def _frame(value: bytes, start: int) -> tuple[int, int | None, int, int]:
    """Where it ends, what it says that it unfolds to, what it can at most, and its number of blocks."""
    at = _behind(value, start + 5)
    descriptor = value[start + 4]
    single, checksum = descriptor & 0x20, descriptor & 0x04
    window = 0
    if descriptor & 0x08:
        raise WireError("", "zstd: a reserved bit is set")
    if not single:
        at = _behind(value, at + 1)
        exponent, mantissa = value[at - 1] >> 3, value[at - 1] & 7
        window = (1 << (10 + exponent)) // 8 * (8 + mantissa)
    id_size = _DICTIONARY_BYTES[descriptor & 3]
    at = _behind(value, at + id_size)
    if any(value[at - id_size : at]):
        raise WireError("", "zstd: needs a dictionary")
    size = 1 << (descriptor >> 6) if descriptor >> 6 else 1 if single else 0
    at = _behind(value, at + size)
    content = int.from_bytes(value[at - size : at], "little") + (256 if size == 2 else 0)
    if single:
        window = content
    if window > LIMIT or (size and content > LIMIT):
        raise _too_much()
    most, blocks, last = 0, 0, False
    while not last:
        if (blocks := blocks + 1) > _MOST_PARTS:
            raise _too_many()
        at = _behind(value, at + 3)
        header = int.from_bytes(value[at - 3 : at], "little")
        last, kind, block = bool(header & 1), header >> 1 & 3, header >> 3
        most += block if kind != _COMPRESSED else min(_BIGGEST_BLOCK, max(window, 1 << 10))
        at = _behind(value, at + (1 if kind == _RUN else block))
    return _behind(value, at + (4 if checksum else 0)), content if size else None, most, blocks


def _behind(value: bytes, at: int) -> int:
    if at > len(value):
        raise WireError("", "zstd: the frame is cut off")
    return at


def _too_much() -> WireError:
    return WireError("", f"unfolds to more than {LIMIT >> 20} MiB")


def _too_many() -> WireError:
    return WireError("", f"zstd: more than {_MOST_PARTS} blocks and frames")
