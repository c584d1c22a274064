"""
Prefixes as etcd has them, and its entries as ours.
"""

from __future__ import annotations

from collections.abc import Iterable

from fleetmesh.state.etcd.rpc_pb2 import KeyValue
from fleetmesh.state.store import Entry


def raw(key: str) -> bytes:
    """A key as the bytes that it stands for."""
    return key.encode("utf-8", "surrogateescape")


def text(key: bytes) -> str:
    """The opposite of `raw`."""
    return key.decode("utf-8", "surrogateescape")


def range_of(prefix: str, *, exact: bool = False) -> tuple[bytes, bytes]:
    """
    The first key that begins with a prefix, and the first one behind all of them; zero where there is none.

    Args:
        exact: It is one key, whose range has no end: etcd allows it also to one who was granted that key
            alone (server/auth range_perm_cache.go).
    """
    begin = raw(prefix)
    if exact:
        return begin, b""
    kept = begin.rstrip(b"\xff")
    return begin or b"\0", kept[:-1] + bytes([kept[-1] + 1]) if kept else b"\0"


def entries_of(found: Iterable[KeyValue]) -> tuple[Entry, ...]:
    """
    As ours. It is what costs most of a list, so that nothing is done twice.
    """
    return tuple(
        [
            Entry(each.key.decode("utf-8", "surrogateescape"), each.value, each.mod_revision, each.lease)
            for each in found
        ]
    )
