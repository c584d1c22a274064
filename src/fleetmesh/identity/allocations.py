"""
Which addresses and identity numbers were handed out: history, kept so that every state can be rebuilt.
"""

from __future__ import annotations

import socket
from collections.abc import Iterable, Iterator, Sequence
from hashlib import blake2b
from typing import Literal, NamedTuple, TypeAlias

import attrs
import msgspec

from fleetmesh.errors import RangeExhaustedError
from fleetmesh.identity.cow import CowMap
from fleetmesh.identity.ranges import FAMILIES, WHATS, Family, Network, What, parse_networks

_VERSION = 1
_Kind: TypeAlias = What | Literal["identity"]
_Form: TypeAlias = Family | Literal["number"]
_FORMS: dict[str, tuple[_Form, ...]] = {**dict.fromkeys(WHATS, FAMILIES), "identity": ("number",)}
_MOST_BITS = 16  # of an identity below its cluster's id
FIRST_IDENTITY = 256
"""Below it are the reserved ones (pkg/identity MinimalAllocationIdentity)."""


class Holder(NamedTuple):
    """Who holds an address: `key` is `namespace/name` of a pod or service, or the name of a node."""

    member: str
    what: _Kind
    family: _Form
    key: str


class _PoolKey(NamedTuple):
    member: str
    what: _Kind
    family: _Form


@attrs.define
class _Pool:
    """
    What one member hands out of one kind and family.

    Attributes:
        slots: (first number, how many) of each range, without the numbers that are never handed out.
    """

    cidrs: tuple[str, ...] = ()
    slots: tuple[tuple[int, int], ...] = ()
    held: CowMap[str, int] = attrs.field(factory=CowMap[str, int])

    def copy(self) -> _Pool:
        return _Pool(self.cidrs, self.slots, self.held.copy())

    @property
    def size(self) -> int:
        return sum(count for _, count in self.slots)

    def holds(self, number: int) -> bool:
        return any(first <= number < first + count for first, count in self.slots)


@attrs.define
class _Space:
    """
    Numbers that have to differ: all pods and nodes of a mesh (the network is flat), or the cluster IPs
    of one member.
    """

    holders: CowMap[int, tuple[_PoolKey, str]] = attrs.field(factory=CowMap[int, tuple[_PoolKey, str]])
    declared: CowMap[int, int] = attrs.field(factory=CowMap[int, int])  # how often

    def copy(self) -> _Space:
        return _Space(self.holders.copy(), self.declared.copy())

    def taken(self, number: int) -> bool:
        return number in self.holders or number in self.declared


class Allocations:
    """
    The addresses that fleetmesh handed out where manifests declare none, and the numbers of identities.

    A key gets the first free slot from its hash (BLAKE2b) on, the keys of one call in sorted order,
    and keeps it until it is released, its range goes, or an object declares the same address:
    declared addresses always win. Two pods or nodes of a mesh never have one address, nor two
    services of a cluster. What is saved is what was handed out; ranges and declared addresses
    are facts and have to be given again after `from_json`.

    `copy()` costs nothing that grows with the content, and a change after it what is changed.
    """

    def __init__(self) -> None:
        self._pools: dict[_PoolKey, _Pool] = {}
        self._spaces: dict[tuple[str, str], _Space] = {}
        self._owned: set[object] = set()  # keys of the pools and spaces that no copy shares
        self._shared = False

    def copy(self) -> Allocations:
        """The same history, to go on with separately."""
        other = Allocations()
        other._pools, other._spaces = self._pools, self._spaces
        self._shared = other._shared = True
        self._owned = set()
        return other

    # Ranges

    def set_ranges(self, member: str, what: What, cidrs: Iterable[str]) -> tuple[Holder, ...]:
        """
        Say where new addresses of a member come from, of both families at once.

        Returns:
            Who lost an address because it is in none of the ranges, sorted; they get another one
            when they are next asked for.

        Raises:
            InvalidRangeError: A CIDR can't be read or has host bits; nothing is changed.
        """
        networks = parse_networks(member, cidrs)
        lost: list[Holder] = []
        for family in FAMILIES:
            mine = [network for network in networks if network.family == family]
            key = _PoolKey(member, what, family)
            slots = tuple(_usable(network) for network in mine)
            old = self._pools.get(key)
            if old is not None and old.slots == slots:
                continue
            pool = self._pool(key)
            pool.cidrs, pool.slots = tuple(network.text for network in mine), slots
            for name, number in sorted(pool.held.items()):
                if not pool.holds(number):
                    self._drop(key, name)
                    lost.append(Holder(member, what, family, name))
        return tuple(sorted(lost))

    def ranges(self, member: str, what: What) -> tuple[str, ...]:
        """The CIDRs that were set, IPv4 first."""
        pools = (self._pools.get(_PoolKey(member, what, family)) for family in FAMILIES)
        return tuple(cidr for pool in pools if pool is not None for cidr in pool.cidrs)

    # Declared addresses

    def declare(self, member: str, what: What, addresses: Iterable[str]) -> tuple[Holder, ...]:
        """
        Say that objects of a member have these addresses. Several may say so of one address; what is
        no address is passed over.

        Returns:
            Who lost the same address to them, sorted; they get another one when next asked for.
        """
        numbers = _numbers(addresses)
        return tuple(
            sorted(
                holder
                for family, number in numbers
                for holder in self._declare(_PoolKey(member, what, family), number)
            )
        )

    def withdraw(self, member: str, what: What, addresses: Iterable[str]) -> None:
        """The opposite of `declare`, once for each time that an address was declared."""
        for family, number in _numbers(addresses):
            self._withdraw(_PoolKey(member, what, family), number)

    def declare_identity(self, member: str, number: int) -> tuple[Holder, ...]:
        """As `declare`, of a number of an identity within its cluster."""
        return self._declare(_PoolKey(member, "identity", "number"), number)

    def withdraw_identity(self, member: str, number: int) -> None:
        """The opposite of `declare_identity`."""
        self._withdraw(_PoolKey(member, "identity", "number"), number)

    # Handing out

    def addresses(self, member: str, what: What, family: Family, keys: Iterable[str]) -> dict[str, str]:
        """
        The address of each key; those that have none get one now.

        Raises:
            RangeExhaustedError: There are fewer free addresses than new keys; nothing is changed.
        """
        numbers = self._allocate(_PoolKey(member, what, family), keys)
        if family == "IPv4":
            return {key: _text_v4(number) for key, number in numbers.items()}
        return {
            key: socket.inet_ntop(socket.AF_INET6, number.to_bytes(16, "big"))
            for key, number in numbers.items()
        }

    def identities(self, member: str, labels: Iterable[str], bits: int) -> dict[str, int]:
        """
        The number of each set of labels, within its cluster; those that have none get one now.

        Args:
            bits: Of a number below its cluster's id (pkg/identity/key, `GetClusterIDShift`).

        Raises:
            RangeExhaustedError: There are fewer free numbers than new sets; nothing is changed.
        """
        key = _PoolKey(member, "identity", "number")
        slots = ((FIRST_IDENTITY, (1 << bits) - FIRST_IDENTITY),)
        if key not in self._pools or self._pools[key].slots != slots:
            pool = self._pool(key)
            pool.cidrs, pool.slots = (f"{FIRST_IDENTITY} to {(1 << bits) - 1}",), slots
        return self._allocate(key, labels)

    # Taking back

    def release_identities(self, member: str, labels: Iterable[str]) -> None:
        """Take back the numbers of these labels."""
        for each in labels:
            self._drop(_PoolKey(member, "identity", "number"), each)

    def release(self, member: str, what: What, keys: Iterable[str]) -> None:
        """Take back what the keys have in both families. A key that has nothing is passed over."""
        for key in keys:
            for family in FAMILIES:
                self._drop(_PoolKey(member, what, family), key)

    def forget(self, member: str) -> None:
        """Take back everything of a member, ranges included. What it declared is withdrawn by the caller."""
        for key in [key for key in self._pools if key.member == member]:
            for name in list(self._pools[key].held):
                self._drop(key, name)
            self._unshare()
            del self._pools[key]

    # Saving

    def to_json(self) -> bytes:
        """What was handed out, as JSON; equal histories give equal bytes."""
        members: dict[str, dict[str, dict[str, dict[str, str]]]] = {}
        for key, pool in sorted(self._pools.items()):
            if not len(pool.held):
                continue
            held = {name: _text(key, number) for name, number in sorted(pool.held.items())}
            members.setdefault(key.member, {}).setdefault(key.what, {})[key.family] = held
        return msgspec.json.format(msgspec.json.encode({"version": _VERSION, "members": members}), indent=1)

    @classmethod
    def from_json(cls, data: bytes | str) -> Allocations:
        """
        Read what `to_json` wrote.

        Raises:
            ValueError: It is no JSON, of another version, or contradicts itself; the message names the
                place.
        """
        try:
            saved = msgspec.json.decode(data, type=_Saved)
        except msgspec.MsgspecError as error:
            raise ValueError(f"allocations: {error}") from None
        if saved.version != _VERSION:
            raise ValueError(f"allocations: version {saved.version}, expected {_VERSION}")
        allocations = cls()
        for key, name, value, path in saved.entries():
            allocations._restore(key, name, _number(key, value, path), path)
        return allocations

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Allocations) and self.to_json() == other.to_json()

    __hash__ = None  # type: ignore[assignment]

    # Inside

    def _declare(self, key: _PoolKey, number: int) -> tuple[Holder, ...]:
        space = self._space(*key)
        space.declared[number] = (space.declared.get(number) or 0) + 1
        holder = space.holders.get(number)
        if holder is None:
            return ()
        self._drop(*holder)
        return (Holder(*holder[0], holder[1]),)

    def _withdraw(self, key: _PoolKey, number: int) -> None:
        space = self._space(*key)
        count = space.declared.pop(number) or 0
        if count > 1:
            space.declared[number] = count - 1

    def _restore(self, key: _PoolKey, name: str, number: int, path: str) -> None:
        space = self._space(*key)
        other = space.holders.get(number)
        if other is not None:
            whose = f"{other[0].member} {other[0].what} {other[1]}"
            raise ValueError(f"allocations: {path}: {_text(key, number)} belongs to {whose} too")
        space.holders[number] = (key, name)
        self._pool(key).held[name] = number

    def _allocate(self, key: _PoolKey, keys: Iterable[str]) -> dict[str, int]:
        wanted = list(keys)
        pool = self._pools.get(key)
        held = CowMap[str, int]() if pool is None else pool.held
        numbers = {name: number for name in wanted if (number := held.get(name)) is not None}
        new = sorted({name for name in wanted if name not in numbers})
        if not new:
            return numbers
        pool, space = self._pool(key), self._space(*key)
        got: list[tuple[str, int]] = []
        for name in new:
            number = _first_free(pool, space, f"{key.what} {name}")
            if number is None:
                for undone, back in got:
                    pool.held.pop(undone)
                    space.holders.pop(back)
                raise RangeExhaustedError(key.member, f"{key.what} {key.family}", pool.cidrs)
            pool.held[name] = number
            space.holders[number] = (key, name)
            got.append((name, number))
        numbers.update(got)
        return {name: numbers[name] for name in wanted}

    def _drop(self, key: _PoolKey, name: str) -> None:
        number = self._pools[key].held.get(name) if key in self._pools else None
        if number is not None:
            self._pool(key).held.pop(name)
            self._space(*key).holders.pop(number)

    def _unshare(self) -> None:
        if self._shared:
            self._pools, self._spaces = dict(self._pools), dict(self._spaces)
            self._shared = False

    def _pool(self, key: _PoolKey) -> _Pool:
        """The pool, for writing."""
        if key not in self._owned or key not in self._pools:
            self._unshare()
            old = self._pools.get(key)
            self._pools[key] = _Pool() if old is None else old.copy()
            self._owned.add(key)
        return self._pools[key]

    def _space(self, member: str, what: str, family: str) -> _Space:
        """The space, for writing."""
        key = ("", family) if what in ("pod", "node") else (f"{what} {member}", family)
        if key not in self._owned or key not in self._spaces:
            self._unshare()
            old = self._spaces.get(key)
            self._spaces[key] = _Space() if old is None else old.copy()
            self._owned.add(key)
        return self._spaces[key]


class _Saved(msgspec.Struct, forbid_unknown_fields=True):
    version: int
    members: dict[str, dict[str, dict[str, dict[str, str]]]]

    def entries(self) -> Iterator[tuple[_PoolKey, str, str, str]]:
        """Pool, key, value and the place in the document of each entry."""
        for member, kinds in self.members.items():
            for what, families in kinds.items():
                if what not in _FORMS:
                    raise ValueError(f"allocations: members.{member}: {what!r} is not handed out")
                for family, held in families.items():
                    if family not in _FORMS[what]:
                        raise ValueError(f"allocations: members.{member}.{what}: no family {family!r}")
                    key = _PoolKey(member, what, family)  # type: ignore[arg-type]
                    for name, value in held.items():
                        yield key, name, value, f"members.{member}.{what}.{family}.{name}"


def _usable(network: Network) -> tuple[int, int]:
    """
    First number and count of what a range hands out. Of a range of 8 addresses or more the first
    two (network; router, or for services that of the API server) and the last (broadcast) are left out.
    """
    count = network.end - network.first
    return (network.first + 2, count - 3) if count >= 8 else (network.first, count)


def _first_free(pool: _Pool, space: _Space, key: str) -> int | None:
    size = pool.size
    if not size:
        return None
    start = int.from_bytes(blake2b(key.encode(), digest_size=16).digest(), "big") % size
    for slots in (_walk(pool.slots, start, size), _walk(pool.slots, 0, start)):
        for number in slots:
            if not space.taken(number):
                return number
    return None


def _walk(ranges: Sequence[tuple[int, int]], start: int, stop: int) -> Iterator[int]:
    """The numbers of the slots from start up to stop, counted over all ranges."""
    for first, count in ranges:
        yield from range(first + max(0, start), first + min(count, stop))
        start -= count
        stop -= count


def _numbers(addresses: Iterable[str]) -> Iterator[tuple[Family, int]]:
    for address in addresses:
        try:
            if ":" in address:
                yield "IPv6", int.from_bytes(socket.inet_pton(socket.AF_INET6, address), "big")
            else:
                yield "IPv4", int.from_bytes(socket.inet_pton(socket.AF_INET, address), "big")
        except (OSError, ValueError):
            continue


def _text_v4(number: int) -> str:
    return f"{number >> 24}.{number >> 16 & 255}.{number >> 8 & 255}.{number & 255}"


def _text(key: _PoolKey, number: int) -> str:
    if key.family == "number":
        return str(number)
    if key.family == "IPv4":
        return _text_v4(number)
    return socket.inet_ntop(socket.AF_INET6, number.to_bytes(16, "big"))


def _number(key: _PoolKey, value: str, path: str) -> int:
    if key.family == "number":
        if value.isascii() and value.isdecimal() and FIRST_IDENTITY <= int(value) < 1 << _MOST_BITS:
            return int(value)
        raise ValueError(f"allocations: {path}: {value!r} is no identity's number")
    for family, number in _numbers((value,)):
        if family == key.family:
            return number
    raise ValueError(f"allocations: {path}: {value!r} is not an {key.family} address")
