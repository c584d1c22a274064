"""
The hash that picks the slot of a new connection, as Cilium's bpf/lib/hash.h and bpf/lib/jhash.h have it.

All words are little-endian loads of the bytes on the wire. The address of the service is not hashed.
"""

from __future__ import annotations

import base64
from ipaddress import IPv4Address, IPv6Address
from typing import TypeAlias

Address: TypeAlias = IPv4Address | IPv6Address

_MASK = 2**32 - 1
_INITIAL = 0xDEADBEEF


def seeds(maglev_seed: str) -> tuple[int, int]:
    """Those of IPv4 and IPv6, out of the 12 bytes that also seed the tables."""
    seed = base64.b64decode(maglev_seed)
    return int.from_bytes(seed[4:8], "big"), int.from_bytes(seed[8:12], "big")


def packet_hash(
    source: Address, source_port: int, destination_port: int, protocol: int, *, maglev_seed: str
) -> int:
    """With session affinity, `source_port` is given as 0."""
    seed4, seed6 = seeds(maglev_seed)
    words = [int.from_bytes(source.packed[at : at + 4], "little") for at in range(0, len(source.packed), 4)]
    ports = _on_the_wire(destination_port) << 16 | _on_the_wire(source_port)
    if source.version == 4:
        return _three_words(words[0], ports, protocol, seed4)
    a, b, c = _mix(words[0], words[1], words[2])
    a, b, c = _mix(_sum(a, words[3]), _sum(b, ports), _sum(c, protocol))
    return _final(_sum(a, seed6), b, c)


def _on_the_wire(port: int) -> int:
    return int.from_bytes(port.to_bytes(2, "big"), "little")


def _sum(*words: int) -> int:
    return sum(words) & _MASK


def _rotate(word: int, by: int) -> int:
    return (word << by | word >> (32 - by)) & _MASK


def _three_words(a: int, b: int, c: int, seed: int) -> int:
    start = _sum(seed, _INITIAL, 3 << 2)
    return _final(_sum(a, start), _sum(b, start), _sum(c, start))


def _mix(a: int, b: int, c: int) -> tuple[int, int, int]:
    """Bob Jenkins' lookup3, `mix`."""
    for by in (4, 6, 8, 16, 19, 4):
        a = ((a - c) & _MASK) ^ _rotate(c, by)
        c = _sum(c, b)
        a, b, c = b, c, a
    return a, b, c


def _final(a: int, b: int, c: int) -> int:
    """Bob Jenkins' lookup3, `final`: c."""
    for by in (14, 11, 25, 16, 4, 14, 24):
        c = ((c ^ b) - _rotate(b, by)) & _MASK
        a, b, c = b, c, a
    return b
