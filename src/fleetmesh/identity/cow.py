"""
A dictionary that is copied in O(1) and afterwards costs what is changed in it.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Generic, TypeVar
from zlib import crc32

K = TypeVar("K", int, str)
V = TypeVar("V")

_SHARDS = 256


class CowMap(Generic[K, V]):
    """
    A map whose `copy()` shares everything until one side writes.

    Entries are spread over 256 dictionaries; a write after a copy copies the one that it touches, so
    that a change to a map of n entries costs n/256 at most, once, and nothing afterwards. The order
    of iteration has no meaning: sort what must be deterministic.
    """

    __slots__ = ("_count", "_owned", "_shards", "_shared")

    def __init__(self) -> None:
        self._shards: dict[int, dict[K, V]] = {}
        self._owned: set[int] = set()  # which of the shards nobody else holds
        self._shared = False  # whether somebody else holds the outer dictionary
        self._count = 0

    def copy(self) -> CowMap[K, V]:
        """Another map of the same content; both may be changed without the other seeing it."""
        other: CowMap[K, V] = CowMap()
        other._shards = self._shards
        other._count = self._count
        self._shared = other._shared = True
        self._owned = set()
        return other

    def get(self, key: K) -> V | None:
        """The value, `None` where the key is missing."""
        shard = self._shards.get(_shard_of(key))
        return None if shard is None else shard.get(key)

    def __contains__(self, key: K) -> bool:
        shard = self._shards.get(_shard_of(key))
        return shard is not None and key in shard

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[K]:
        for shard in self._shards.values():
            yield from shard

    def items(self) -> Iterator[tuple[K, V]]:
        """Every key with its value."""
        for shard in self._shards.values():
            yield from shard.items()

    def __setitem__(self, key: K, value: V) -> None:
        shard = self._writable(_shard_of(key))
        self._count += key not in shard
        shard[key] = value

    def pop(self, key: K) -> V | None:
        """Take a key out; `None` where it is missing."""
        if key not in self:
            return None
        self._count -= 1
        return self._writable(_shard_of(key)).pop(key)

    def _writable(self, number: int) -> dict[K, V]:
        if number in self._owned:
            return self._shards[number]
        if self._shared:
            self._shards = dict(self._shards)
            self._shared = False
        shard = self._shards[number] = dict(self._shards.get(number, ()))
        self._owned.add(number)
        return shard


def _shard_of(key: int | str) -> int:
    # Python's hash of a string differs from run to run; addresses in a row spread by their last bits.
    return (key if isinstance(key, int) else crc32(key.encode())) % _SHARDS
