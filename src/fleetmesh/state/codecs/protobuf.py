"""
Protocol buffers on the wire (https://protobuf.dev/programming-guides/encoding), as far as a message of texts,
numbers and other messages needs them. By hand, as it has to write what gogo/protobuf writes for Cilium, empty
texts included, and to refuse what its readers refuse.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from fleetmesh.errors import WireError

VARINT, FIXED64, BYTES, GROUP, END_GROUP, FIXED32 = range(6)
_MASK = (1 << 64) - 1


def varint(number: int) -> bytes:
    """A number of 64 bits; a negative one in two's complement."""
    number &= _MASK
    if number < 0x80:
        return _ONE_BYTE[number]
    written = bytearray()
    while number >= 0x80:
        written.append(number & 0x7F | 0x80)
        number >>= 7
    written.append(number)
    return bytes(written)


_ONE_BYTE = tuple(bytes((number,)) for number in range(0x80))


def of_bytes(field: int, value: bytes) -> bytes:
    """A field of bytes, below 16."""
    return _ONE_BYTE[field << 3 | BYTES] + varint(len(value)) + value


def of_text(field: int, value: str) -> bytes:
    """A field of text, below 16."""
    return of_bytes(field, value.encode("utf-8", "replace"))


def of_number(field: int, value: int) -> bytes:
    """A field of a number, below 16."""
    return _ONE_BYTE[field << 3 | VARINT] + varint(value)


def fields(message: bytes, where: str) -> Iterator[tuple[int, int, Any]]:
    """
    The fields of a message in order: number, wire type, and value: a number for `VARINT`, bytes for `BYTES`,
    None for what is of another type, and passed over.

    Raises:
        WireError: The message is cut off, or is none.
    """
    at, end = 0, len(message)
    while at < end:
        tag = message[at]
        at += 1
        if tag >= 0x80:
            tag, at = _varint(message, at - 1, where)
        number, kind = tag >> 3 & 0xFFFFFFFF, tag & 7
        if kind == END_GROUP or not 0 < number <= 0x7FFFFFFF:
            raise WireError(where, f"illegal tag {tag}")
        if kind == BYTES:
            if at < end and message[at] < 0x80:
                size, at = message[at], at + 1
            else:
                size, at = _varint(message, at, where)
            if size > end - at:
                raise _cut(where)
            yield number, kind, message[at : at + size]
            at += size
        elif kind == VARINT:
            value, at = _varint(message, at, where)
            yield number, kind, value
        else:
            at = _skip(message, at, kind, where)
            yield number, kind, None


def wrong_type(where: str, kind: int) -> WireError:
    """A known field has another wire type."""
    return WireError(where, f"has wire type {kind}")


def text(value: bytes) -> str:
    """Texts with bytes that are no UTF-8 have U+FFFD for them."""
    return value.decode("utf-8", "fleetmesh-go")


def signed32(value: int) -> int:
    """A number of 32 bits with a sign."""
    value &= 0xFFFFFFFF
    return value - (1 << 32) if value >= 1 << 31 else value


def _varint(message: bytes, at: int, where: str) -> tuple[int, int]:
    value = 0
    for shift in range(0, 70, 7):
        if at >= len(message):
            raise _cut(where)
        byte = message[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value & _MASK, at
    raise WireError(where, "a number of more than 64 bits")


def _skip(message: bytes, at: int, kind: int, where: str) -> int:
    """Behind a field that nobody knows; groups may stand in groups, without a limit and without recursion."""
    depth = 0
    while True:
        if kind == VARINT:
            _, at = _varint(message, at, where)
        elif kind == BYTES:
            size, at = _varint(message, at, where)
            at += size
        elif kind in (FIXED32, FIXED64):
            at += 4 if kind == FIXED32 else 8
        elif kind == GROUP:
            depth += 1
        elif kind == END_GROUP:
            depth -= 1
        else:
            raise WireError(where, f"illegal wire type {kind}")
        if at > len(message):
            raise _cut(where)
        if not depth:
            return at
        tag, at = _varint(message, at, where)
        kind = tag & 7


def _cut(where: str) -> WireError:
    return WireError(where, "is cut off")
