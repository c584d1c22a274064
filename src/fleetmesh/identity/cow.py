"""
Dictionaries that are copied in O(1) and afterwards cost what is changed in them.
"""

from __future__ import annotations

from collections.abc import Hashable, ItemsView, Iterable, Iterator, Mapping, ValuesView
from operator import itemgetter
from typing import Any, Generic, TypeVar, overload

K = TypeVar("K", bound=Hashable)
N = TypeVar("N", bound=Hashable)
V = TypeVar("V")
D = TypeVar("D")

_LARGEST = 256  # entries of a map that is one dictionary
_SHARDS = 256
_NONE_MINE = bytes(_SHARDS)

_position = itemgetter(0)


class CowMap(Mapping[K, V]):
    """
    A dictionary in order of insertion whose `copy()` shares everything until one side writes.

    A small map is one dictionary. The entries of a larger one are spread over 256 by their hash; a write
    after a copy copies the one that it touches, so that a change to a map of n entries costs n/256 at
    most, once, and nothing afterwards. Each entry has a number, so that the order hangs on no hash.

    A map that has been copied may be read by any thread, as long as nobody writes to it itself.
    """

    __slots__ = ("_count", "_mask", "_mine", "_next", "_shards")

    def __init__(self, items: Iterable[tuple[K, V]] = ()) -> None:
        self._shards: list[dict[K, tuple[int, V]]] = [{}]
        self._mask = 0  # of the bits of a hash that tell the shard
        # Which shards nobody else holds; `_NONE_MINE` while others hold the list of them too.
        self._mine: bytes | bytearray = bytearray(b"\1")
        self._count = 0
        self._next = 0
        for key, value in items:
            self[key] = value

    def copy(self) -> CowMap[K, V]:
        """Another map of the same content; both may be changed without the other seeing it."""
        other: CowMap[K, V] = CowMap.__new__(CowMap)
        other._shards, other._mask = self._shards, self._mask
        other._count, other._next = self._count, self._next
        self._mine = other._mine = _NONE_MINE
        return other

    # Reading

    def __getitem__(self, key: K) -> V:
        return self._shards[hash(key) & self._mask][key][1]

    @overload
    def get(self, key: K, /) -> V | None: ...
    @overload
    def get(self, key: K, /, default: V | D) -> V | D: ...
    def get(self, key: K, /, default: Any = None) -> Any:
        """The value, or what is given where the key is missing."""
        found = self._shards[hash(key) & self._mask].get(key)
        return default if found is None else found[1]

    def __contains__(self, key: object) -> bool:
        return key in self._shards[hash(key) & self._mask]

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[K]:
        if len(self._shards) == 1:
            return iter(self._shards[0])
        return iter([key for key, _ in self._pairs()])

    def items(self) -> ItemsView[K, V]:
        """Every key with its value, in order."""
        return _Items(self)

    def values(self) -> ValuesView[V]:
        """Every value, in order."""
        return _Values(self)

    def _pairs(self) -> list[tuple[K, V]]:
        if len(self._shards) == 1:
            return [(key, entry[1]) for key, entry in self._shards[0].items()]
        found = [(*entry, key) for shard in self._shards for key, entry in shard.items()]
        found.sort(key=_position)
        return [(key, value) for _, value, key in found]

    def __repr__(self) -> str:
        return f"{type(self).__name__}({dict(self.items())!r})"

    def differing(self, other: CowMap[K, V]) -> Iterator[K]:
        """
        Keys that only one of the two has, or whose values are not the same object. It costs little where one
        is a copy of the other and few entries were changed since.
        """
        if self._shards is other._shards:
            return
        ours, theirs = self._shards, other._shards
        if len(ours) != len(theirs):
            ours, theirs = [dict(self._entries())], [dict(other._entries())]
        for mine, its in zip(ours, theirs, strict=True):
            if mine is not its:
                for key in mine.keys() | its.keys():
                    one, two = mine.get(key), its.get(key)
                    if one is None or two is None or one[1] is not two[1]:
                        yield key

    def unordered(self) -> Iterator[tuple[K, V]]:
        """Every key with its value, in any order, which costs less."""
        return ((key, value) for key, (_, value) in self._entries())

    def _entries(self) -> Iterator[tuple[K, tuple[int, V]]]:
        for shard in self._shards:
            yield from shard.items()

    # Writing

    def __setitem__(self, key: K, value: V) -> None:
        """Set an entry; one that is there keeps its place."""
        number = hash(key) & self._mask
        shard = self._shards[number] if self._mine[number] else self._writable(number)
        old = shard.get(key)
        if old is not None:
            shard[key] = (old[0], value)
            return
        shard[key] = (self._next, value)
        self._next += 1
        self._count += 1
        if self._count > _LARGEST and len(self._shards) == 1:
            self._spread()

    def pop(self, key: K) -> V | None:
        """Take an entry out; `None` where it is missing."""
        if key not in self:
            return None
        self._count -= 1
        return self._writable(hash(key) & self._mask).pop(key)[1]

    def keep(self, key: K, value: V, *, present: bool) -> None:
        """Set an entry, or take it out."""
        if present:
            self[key] = value
        else:
            self.pop(key)

    def _writable(self, number: int) -> dict[K, tuple[int, V]]:
        if self._mine[number]:
            return self._shards[number]
        mine = self._mine
        if not isinstance(mine, bytearray):
            self._shards = list(self._shards)
            self._mine = mine = bytearray(len(self._shards))
        shard = self._shards[number] = dict(self._shards[number])
        mine[number] = 1
        return shard

    def _spread(self) -> None:
        shards: list[dict[K, tuple[int, V]]] = [{} for _ in range(_SHARDS)]
        self._mask = _SHARDS - 1
        for key, entry in self._shards[0].items():
            shards[hash(key) & self._mask][key] = entry
        self._shards, self._mine = shards, bytearray(b"\1") * _SHARDS


class _Items(ItemsView[K, V]):
    _mapping: CowMap[K, V]

    def __iter__(self) -> Iterator[tuple[K, V]]:
        return iter(self._mapping._pairs())


class _Values(ValuesView[V]):
    _mapping: CowMap[Any, V]

    def __iter__(self) -> Iterator[V]:
        return iter([value for _, value in self._mapping._pairs()])


class CowGroups(Mapping[K, CowMap[N, V]], Generic[K, N, V]):
    """
    A dictionary of dictionaries, copied likewise. A group is there as long as it has an entry; what reads
    one must not write to it.
    """

    __slots__ = ("_groups", "_mine")

    def __init__(self) -> None:
        self._groups: CowMap[K, CowMap[N, V]] = CowMap()
        self._mine: set[K] = set()  # the groups that nobody else holds

    def copy(self) -> CowGroups[K, N, V]:
        """Another of the same content; both may be changed without the other seeing it."""
        other: CowGroups[K, N, V] = CowGroups.__new__(CowGroups)
        other._groups = self._groups.copy()
        self._mine, other._mine = set(), set()
        return other

    # Reading

    def __getitem__(self, key: K) -> CowMap[N, V]:
        return self._groups[key]

    @overload
    def get(self, key: K, /) -> CowMap[N, V] | None: ...
    @overload
    def get(self, key: K, /, default: CowMap[N, V] | D) -> CowMap[N, V] | D: ...
    def get(self, key: K, /, default: Any = None) -> Any:
        """The group, or what is given where there is none."""
        return self._groups.get(key, default)

    def group(self, key: K) -> Mapping[N, V]:
        """The group, empty where there is none."""
        found = self._groups.get(key)
        return {} if found is None else found

    def items(self) -> ItemsView[K, CowMap[N, V]]:
        """Every key with its group, in order."""
        return self._groups.items()

    def values(self) -> ValuesView[CowMap[N, V]]:
        """Every group, in order."""
        return self._groups.values()

    def differing(self, other: CowGroups[K, N, V]) -> Iterator[tuple[K, N]]:
        """As of a map, with the group of each key."""
        for key in self._groups.differing(other._groups):
            ours, theirs = self._groups.get(key), other._groups.get(key)
            for name in (CowMap[N, V]() if ours is None else ours).differing(
                CowMap[N, V]() if theirs is None else theirs
            ):
                yield key, name

    def __contains__(self, key: object) -> bool:
        return key in self._groups

    def __len__(self) -> int:
        return len(self._groups)

    def __iter__(self) -> Iterator[K]:
        return iter(self._groups)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({dict(self.items())!r})"

    # Writing

    def put(self, key: K, name: N, value: V) -> None:
        """Set an entry of a group."""
        self._writable(key)[name] = value

    def pop(self, key: K, name: N) -> V | None:
        """Take an entry out of a group, and with the last one the group; `None` where it is missing."""
        if name not in self.group(key):
            return None
        group = self._writable(key)
        value = group.pop(name)
        if not group:
            self.drop(key)
        return value

    def fill(self, key: K, entries: Mapping[N, V]) -> None:
        """Set a whole group."""
        if entries:
            self._groups[key] = CowMap(entries.items())
            self._mine.add(key)
        else:
            self.drop(key)

    def drop(self, key: K) -> None:
        """Take a group out."""
        self._groups.pop(key)
        self._mine.discard(key)

    def _writable(self, key: K) -> CowMap[N, V]:
        old = self._groups.get(key)
        if old is not None and key in self._mine:
            return old
        new = CowMap[N, V]() if old is None else old.copy()
        self._groups[key] = new
        self._mine.add(key)
        return new
