"""
Addresses outside of a mesh, those together that a cluster's policies tell apart in neither of two states.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from ipaddress import ip_address, ip_network
from typing import TYPE_CHECKING

import attrs

from fleetmesh.mesh.impact.ends import Ends
from fleetmesh.policy.labels import LabelSet, Network

if TYPE_CHECKING:
    from fleetmesh.resources.model import Pod

_FAMILIES = (ip_network("0.0.0.0/0"), ip_network("::/0"))
_FIRST_TRIED = {4: int(ip_address("198.18.0.1")), 6: int(ip_address("2001:db8::1"))}
"""Of the world: benchmarking (RFC 2544) and documentation (RFC 3849), which are nobody's."""


@attrs.define(eq=False)
class Regions:
    """
    Attributes:
        networks: Cluster -> the networks that its policies name in either state.
        dual_stack: Cluster -> whether it has IPv6, in each state in which it is there.
        taken: Addresses of pods and nodes as numbers, sorted; they are no part of a region.
        telling: Networks that may tell pods from each other; `None` where no pod is told by its address.
    """

    networks: Mapping[str, Collection[Network]]
    dual_stack: Mapping[str, Collection[bool]]
    taken: Sequence[int]
    telling: Collection[Network] | None = None
    _by_length: dict[tuple[int, int], set[int]] = attrs.field(factory=dict, init=False)

    def __attrs_post_init__(self) -> None:
        for each in self.telling or ():
            shift = each.max_prefixlen - each.prefixlen
            found = self._by_length.setdefault((each.version, shift), set())
            found.add(int(each.network_address) >> shift)

    def of(self, cluster: str) -> Iterator[Ends]:
        """The world, and each network that a policy of the cluster names, but for narrower ones."""
        yield from self._worlds(cluster)
        for network in sorted(self.networks[cluster], key=lambda each: (each.version, each)):
            if network.prefixlen:
                found = self._address(network, self.networks[cluster])
                if found is not None:
                    yield _outside("network", str(network), f"ip:{found}")

    def around(self, pod: Pod) -> tuple[object, ...]:
        """The networks that a pod's addresses are in, if that may matter."""
        if self.telling is None:
            return ()
        found = []
        for text in pod.addresses:
            address = ip_address(text)
            inside = [
                (shift, int(address) >> shift)
                for (version, shift), known in self._by_length.items()
                if version == address.version and int(address) >> shift in known
            ]
            found.append((address.version, tuple(inside)))
        return tuple(found)

    def _worlds(self, cluster: str) -> Iterator[Ends]:
        stacks = set(self.dual_stack[cluster])
        if stacks == {True}:
            yield _outside("world", "world-ipv4", "entity:world-ipv4")
            yield _outside("world", "world-ipv6", "entity:world-ipv6")
        elif stacks == {False}:
            yield _outside("world", "world", "entity:world")
        else:  # what it is called differs, so that an address has to stand for it
            for family in _FAMILIES:
                found = self._address(family, self.networks[cluster])
                if found is not None:
                    yield _outside("world", f"world-ipv{family.version}", f"ip:{found}")

    def _address(self, network: Network, others: Collection[Network]) -> str | None:
        """One of a network that is in none of the others within it; `None` where they fill it."""
        holes = _holes(network, others, self.taken)
        first, last = int(network.network_address), int(network.broadcast_address)
        wanted = _FIRST_TRIED[network.version]
        tried = wanted if not network.prefixlen else min(first + 1, last)
        for start, end in (*_gaps(max(first, tried), last, holes), *_gaps(first, last, holes)):
            if start <= end:
                return str(network.network_address + (start - first))
        return None


def _outside(kind: str, name: str, end: str) -> Ends:
    return Ends("world" if kind == "world" else "network", "", "", name, LabelSet(()), (end,))


def _holes(network: Network, others: Iterable[Network], taken: Sequence[int]) -> list[tuple[int, int]]:
    first, last = int(network.network_address), int(network.broadcast_address)
    found = [
        (int(each.network_address), int(each.broadcast_address))
        for each in others
        if each.version == network.version
        and each.prefixlen > network.prefixlen
        and first <= int(each.network_address) <= last
    ]
    inside = taken[bisect_left(taken, first) : bisect_right(taken, last)]
    return sorted([*found, *((each, each) for each in inside)])


def _gaps(first: int, last: int, holes: Iterable[tuple[int, int]]) -> Iterator[tuple[int, int]]:
    at = first
    for start, end in holes:
        if start > at:
            yield at, min(start - 1, last)
        at = max(at, end + 1)
    yield at, last
