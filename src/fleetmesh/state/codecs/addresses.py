"""
Addresses as Go reads and prints them (its net/netip `ParseAddr` and net `ParseIP`).
"""

from __future__ import annotations

from functools import lru_cache
from socket import AF_INET, AF_INET6, inet_ntop, inet_pton

from fleetmesh.state.codecs.words import shown

_MAPPED = "::ffff:"
_LOW = bytes(12)
_LONGEST = 45
"""Characters of an address: of IPv6 with IPv4 in it."""


def canonical(text: str) -> str | None:
    """
    As net/netip prints an address; None where it is none, or has a zone, which no value of a store may have.

    Of IPv4 there is one spelling only.
    """
    try:
        if ":" not in text:
            inet_pton(AF_INET, text)
            return text
        packed = inet_pton(AF_INET6, text)
    except (OSError, ValueError):
        return None
    if packed.startswith(_LOW):
        # The C library prints these as if they had an IPv4 address in them.
        high, low = int.from_bytes(packed[12:14]), int.from_bytes(packed[14:])
        return f"::{high:x}:{low:x}" if high else f"::{low:x}" if low else "::"
    return inet_ntop(AF_INET6, packed)


def canonical_ip(text: str) -> str | None:
    """As Go's older net.IP prints it: an IPv4 address within IPv6 is the IPv4 address."""
    found = canonical(text)
    if found is not None and found.startswith(_MAPPED) and "." in found:
        return found.removeprefix(_MAPPED)
    return found


def canonical_host(text: str) -> str | None:
    """`canonical_ip` of what many values name."""
    return _known_ip(text) if len(text) <= _LONGEST else canonical_ip(text)


_known_ip = lru_cache(maxsize=1 << 16)(canonical_ip)


def why_not(text: str) -> str:
    """What is wrong with a text that is no address."""
    if canonical(text.partition("%")[0]) is not None:
        return f"unsupported IPv6 zone in address {shown(text)}"
    return f"{shown(text)} is no IP address"


@lru_cache(maxsize=256)
def mask_of(length: int, bits: int) -> bytes:
    """The mask of a prefix length, of 32 or 128 bits."""
    return ((1 << bits) - (1 << (bits - length))).to_bytes(bits // 8)


@lru_cache(maxsize=1024)
def length_of(mask: bytes) -> int | None:
    """The prefix length of a mask; None where its ones don't stand at the front."""
    ones = int.from_bytes(mask).bit_count()
    return ones if mask == mask_of(ones, len(mask) * 8) else None


def bits_of(address: str) -> int:
    """32 or 128."""
    return 128 if ":" in address else 32
