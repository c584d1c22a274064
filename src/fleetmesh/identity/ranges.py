"""
Address ranges of members: reading them, finding overlaps, and choosing them for members that have none.
"""

from __future__ import annotations

import ipaddress
from bisect import bisect_left, insort
from collections.abc import Iterable, Iterator, Sequence
from typing import Literal, NamedTuple

import attrs

from fleetmesh.errors import InvalidRangeError, RangeExhaustedError

Family = Literal["IPv4", "IPv6"]
What = Literal["pod", "service", "node"]
WHATS: tuple[What, ...] = ("pod", "service", "node")
FAMILIES: tuple[Family, ...] = ("IPv4", "IPv6")
_MAPPED = 0xFFFF  # the upper 96 bits of ::ffff:0:0/96 (RFC 4291, 2.5.5.2)


class Network(NamedTuple):
    """
    A CIDR as plain numbers: the first address, the one after the last, and the text it came from.
    """

    family: Family
    first: int
    end: int
    text: str


@attrs.frozen(kw_only=True)
class Ranges:
    """The CIDRs of one member, each kind in its order of preference; both families in one tuple."""

    pod_cidrs: tuple[str, ...] = ()
    service_cidrs: tuple[str, ...] = ()
    node_cidrs: tuple[str, ...] = ()

    def of(self, what: What) -> tuple[str, ...]:
        """The ranges of pods, services or nodes."""
        return {"pod": self.pod_cidrs, "service": self.service_cidrs, "node": self.node_cidrs}[what]


@attrs.frozen(kw_only=True)
class RangeRequest:
    """
    What one member declares: of each kind without a CIDR it needs a default one in both families.

    Attributes:
        used: What it has in use besides, such as the pod ranges of its Nodes; in order, without repetitions.
    """

    name: str
    cluster_id: int
    declared: Ranges = Ranges()
    used: tuple[Network, ...] = ()


def parse_networks(member: str, cidrs: Iterable[str]) -> tuple[Network, ...]:
    """
    Read CIDRs.

    Raises:
        InvalidRangeError: One can't be read, has host bits or a zone, or is IPv4 mapped to IPv6.
    """
    return tuple(_parse(member, cidr) for cidr in cidrs)


def _parse(member: str, cidr: str) -> Network:
    if not isinstance(cidr, str):
        raise InvalidRangeError(member, cidr, "expected a string such as 10.1.0.0/16")
    if "/" not in cidr:
        raise InvalidRangeError(member, cidr, "expected a prefix length, such as 10.1.0.0/16")
    try:
        network = ipaddress.ip_network(cidr)
    except ValueError as error:
        raise InvalidRangeError(member, cidr, str(error)) from None
    if "%" in cidr:
        raise InvalidRangeError(member, cidr, "a range has no zone")
    if not cidr.rpartition("/")[2].isdecimal():
        raise InvalidRangeError(member, cidr, "expected a prefix length, not a mask")
    first = int(network.network_address)
    if network.version == 6 and first >> 32 == _MAPPED:
        raise InvalidRangeError(member, cidr, "it is an IPv4 range mapped to IPv6; write it as IPv4")
    return Network(f"IPv{network.version}", first, first + network.num_addresses, cidr)  # type: ignore[arg-type]


def overlap(one: Iterable[Network], other: Iterable[Network]) -> tuple[Network, Network] | None:
    """The first pair of the same family that shares an address, in the order given; `None` if none does."""
    others = tuple(other)
    for mine in one:
        for theirs in others:
            if mine.family == theirs.family and mine.first < theirs.end and theirs.first < mine.end:
                return (mine, theirs)
    return None


def apart(ones: Iterable[Network], others: Iterable[Network]) -> bool:
    """Whether none of the ones shares an address with one of the others."""
    taken = {family: _Taken() for family in FAMILIES}
    for network in others:
        taken[network.family].add(network.first, network.end)
    return all(taken[network.family].free(network.first, network.end) for network in ones)


def default_ranges(requests: Iterable[RangeRequest]) -> dict[str, Ranges]:
    """
    The ranges of every member: what it declares, and defaults of its own for each kind it doesn't.

    The defaults of all members, of all three kinds, are apart from each other and from everything
    that any member declares or uses. The answer depends on the set of members only. A member has the block
    of its cluster id (10.0.0.0/8 in blocks of /17 for pods, 100.64.0.0/10 in /19 for services,
    172.16.0.0/12 in /21 for nodes; fd00:10::/32 in /48, fd00:20::/32 in /112, fd00:30::/32 in /64);
    if that is taken, the one 256 further; if that is too, the highest free block, and at last a smaller
    one of another private network. So a member's defaults seldom change when others come and go.

    Raises:
        InvalidRangeError: A declared CIDR can't be read or has host bits.
        RangeExhaustedError: Nothing is left beside what is declared.
    """
    members = sorted(requests, key=lambda request: (request.cluster_id, request.name))
    taken = {family: _Taken() for family in FAMILIES}
    for member in members:
        for what in WHATS:
            for network in parse_networks(member.name, member.declared.of(what)):
                taken[network.family].add(network.first, network.end)
        for network in member.used:
            taken[network.family].add(network.first, network.end)
    chosen: dict[tuple[str, What], dict[Family, str]] = {}
    for what in WHATS:
        needy = [member for member in members if not member.declared.of(what)]
        for family in FAMILIES:
            for name, cidr in _choose(needy, what, family, taken[family]):
                chosen.setdefault((name, what), {})[family] = cidr
    return {
        member.name: Ranges(
            **{
                f"{what}_cidrs": member.declared.of(what)
                or tuple(chosen[member.name, what][family] for family in FAMILIES)
                for what in WHATS
            }
        )
        for member in members
    }


class _Pool(NamedTuple):
    """A network cut into blocks of one size."""

    cidr: str
    first: int
    prefix: int
    block: int  # prefix length of a block
    width: int  # bits of an address

    @classmethod
    def of(cls, cidr: str, block: int) -> _Pool:
        network = ipaddress.ip_network(cidr)
        return cls(cidr, int(network.network_address), network.prefixlen, block, network.max_prefixlen)

    @property
    def size(self) -> int:
        """The number of addresses of a block."""
        return int(2 ** (self.width - self.block))

    @property
    def blocks(self) -> int:
        """The number of blocks."""
        return int(2 ** (self.block - self.prefix))

    def text(self, first: int) -> str:
        address = ipaddress.IPv4Address(first) if self.width == 32 else ipaddress.IPv6Address(first)
        return f"{address}/{self.block}"


# The first pool of each line is where defaults normally come from. The others are for what declared
# ranges make impossible: smaller blocks first, then another network. All are private or shared address
# space, or for benchmarks (RFC 1918, 6598, 2544, 4193): addresses that a host takes, and nobody else has.
_POOLS: dict[tuple[What, Family], tuple[_Pool, ...]] = {
    ("pod", "IPv4"): (
        _Pool.of("10.0.0.0/8", 17),
        _Pool.of("10.0.0.0/8", 20),
        _Pool.of("172.16.0.0/12", 21),
        _Pool.of("100.64.0.0/10", 21),
        _Pool.of("192.168.0.0/16", 25),
    ),
    ("service", "IPv4"): (
        _Pool.of("100.64.0.0/10", 19),
        _Pool.of("100.64.0.0/10", 22),
        _Pool.of("10.0.0.0/8", 20),
        _Pool.of("198.18.0.0/15", 25),
    ),
    ("node", "IPv4"): (
        _Pool.of("172.16.0.0/12", 21),
        _Pool.of("172.16.0.0/12", 24),
        _Pool.of("192.168.0.0/16", 25),
        _Pool.of("198.18.0.0/15", 25),
    ),
    ("pod", "IPv6"): (_Pool.of("fd00:10::/32", 48), _Pool.of("fd80::/10", 48)),
    ("service", "IPv6"): (_Pool.of("fd00:20::/32", 112), _Pool.of("fdc0::/11", 112)),
    ("node", "IPv6"): (_Pool.of("fd00:30::/32", 64), _Pool.of("fde0::/11", 64)),
}


def _choose(
    members: Sequence[RangeRequest], what: What, family: Family, taken: _Taken
) -> Iterator[tuple[str, str]]:
    pools = _POOLS[what, family]
    left = list(members)
    # Block by id first and for all: which block a member gets so doesn't hang on who else is looking.
    for shift in (0, 256):
        late = []
        for member in left:
            pool = pools[0]
            first = pool.first + (member.cluster_id + shift) % 512 * pool.size
            if taken.free(first, first + pool.size):
                taken.add(first, first + pool.size)
                yield member.name, pool.text(first)
            else:
                late.append(member)
        left = late
    for member in left:
        for pool in pools:
            highest = taken.highest(pool)
            if highest is not None:
                taken.add(highest, highest + pool.size)
                yield member.name, pool.text(highest)
                break
        else:
            networks = dict.fromkeys(pool.cidr for pool in pools)
            raise RangeExhaustedError(member.name, f"default {what} {family}", networks)


class _Taken:
    """Disjoint intervals [first, end) of addresses that are spoken for, sorted."""

    def __init__(self) -> None:
        self.intervals: list[tuple[int, int]] = []

    def add(self, first: int, end: int) -> None:
        at = bisect_left(self.intervals, (first, 0))
        if at and self.intervals[at - 1][1] >= first:
            at -= 1
        stop = at
        while stop < len(self.intervals) and self.intervals[stop][0] <= end:
            first = min(first, self.intervals[stop][0])
            end = max(end, self.intervals[stop][1])
            stop += 1
        del self.intervals[at:stop]
        insort(self.intervals, (first, end))

    def free(self, first: int, end: int) -> bool:
        # Intervals are disjoint, so only the last one that begins before the end can reach in.
        at = bisect_left(self.intervals, (end, 0))
        return not at or self.intervals[at - 1][1] <= first

    def highest(self, pool: _Pool) -> int | None:
        """The first address of the highest free block of a pool."""
        end = pool.first + pool.blocks * pool.size
        for first, stop in reversed(self.intervals):
            if first >= end:
                continue
            if stop <= end - pool.size:
                break
            # The block below the one in which this interval begins.
            end = pool.first + (first - pool.first) // pool.size * pool.size
            if end <= pool.first:
                return None
        return end - pool.size
