"""
What the nodes of a cluster look a packet up in, as people read it.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from typing import TYPE_CHECKING

import attrs

from fleetmesh.policy.decision import FlowVerdict
from fleetmesh.policy.rule import Direction

if TYPE_CHECKING:
    from fleetmesh._core import PolicyTables as CoreTables

_DIRECTIONS: tuple[Direction, ...] = ("egress", "ingress")
_PROTOCOL_BITS = 8
_ALLOW, _DENY = 1, 255


@attrs.frozen
class PolicyEntry:
    """
    One entry of Cilium's policy map (pkg/policy/types, `Key` and `MapStateEntry`).

    A packet is looked up twice: with its peer's identity, and with the aggregate that this is one of (0, or
    11 to 14). Each finds the longest prefix of its protocol and port; of the two the higher precedence
    decides.

    Attributes:
        identity: Of the peer, or an aggregate.
        protocol: IANA's number; 0 is any.
        first_port: Of ICMP the type; 0 to 65535 where every port is meant.
        precedence: 32 bits; the last eight are the verdict's rank.
        proxy_port: Of whoever takes the connection over; else 0.
        authentication: Cilium's type; 0 is none.
    """

    direction: Direction
    identity: int
    protocol: int
    first_port: int
    last_port: int
    verdict: FlowVerdict
    precedence: int
    proxy_port: int
    authentication: int


@attrs.frozen(slots=False, eq=False)
class PolicyTables:
    """Of one cluster at one state of a mesh."""

    _names: Mapping[int, str]
    _core: CoreTables

    def identity_of(self, address: str) -> tuple[int, str | None] | None:
        """
        Whom the cluster takes an address for: the number of an identity, and the member that has the address,
        if it hears of one. `None` where nobody knows.

        Raises:
            ValueError: It is no address.
        """
        found = self._core.find(address)
        return None if found is None else (found[0], self._names.get(found[1]))

    @property
    def identities(self) -> tuple[int, ...]:
        """Of the endpoints of the cluster: whom its policies may be about, sorted."""
        return tuple(sorted(self._endpoints))

    def enforced(self, identity: int) -> tuple[Direction, ...]:
        """
        In which directions an endpoint is judged; in the others all is allowed.

        Raises:
            KeyError: The cluster has no endpoint of that identity.
        """
        bits = self._endpoints[identity][1]
        return tuple(each for at, each in enumerate(_DIRECTIONS) if bits >> at & 1)

    def entries(self, identity: int) -> tuple[PolicyEntry, ...]:
        """
        Those of an endpoint, in no order; what none of them allows is refused, where it is judged.

        Raises:
            KeyError: The cluster has no endpoint of that identity.
        """
        return self._entries.get(self._endpoints[identity][0], ())

    @cached_property
    def _rows(self) -> tuple[list[tuple[int, ...]], list[tuple[int, ...]]]:
        return self._core.entries()  # type: ignore[return-value]

    @cached_property
    def _endpoints(self) -> dict[int, tuple[int, int]]:
        """Identity -> number of the endpoint, bits of directions."""
        return {row[0]: (row[1], row[4]) for row in self._rows[0]}

    @cached_property
    def _entries(self) -> dict[int, tuple[PolicyEntry, ...]]:
        found: dict[int, list[PolicyEntry]] = {}
        for row in self._rows[1]:
            found.setdefault(row[0], []).append(_entry(row))
        return {number: tuple(entries) for number, entries in found.items()}


def _entry(row: tuple[int, ...]) -> PolicyEntry:
    _, direction, identity, protocol, port, length, precedence, proxy_port, authentication, *_ = row
    rank = precedence & 255
    verdict: FlowVerdict = "deny" if rank == _DENY else "allow" if rank == _ALLOW else "redirect"
    last = port | 0xFFFF >> max(0, length - _PROTOCOL_BITS)
    return PolicyEntry(
        _DIRECTIONS[direction],
        identity,
        protocol,
        port,
        last,
        verdict,
        precedence,
        proxy_port,
        authentication,
    )
