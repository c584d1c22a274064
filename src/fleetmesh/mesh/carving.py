"""
Which ranges members have: as `default_ranges` says, without asking it for everybody each time one comes.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from functools import lru_cache
from typing import TYPE_CHECKING

from fleetmesh.identity import Network, RangeRequest, Ranges, default_ranges, parse_networks
from fleetmesh.identity.ranges import WHATS

if TYPE_CHECKING:
    from fleetmesh.mesh.member import Member


def carve(members: Collection[Member], joined: Member | None) -> Mapping[str, Ranges]:
    """
    The ranges of those members whose ranges may have changed since one joined, or one left (`None`).

    If what the newcomer would get alone is apart from all that others have, it gets that, and nobody has
    to give way. If after one has left all others have what they would get alone, nobody moves back.

    Raises:
        RangeExhaustedError: Nothing is left beside what is declared.
    """
    if joined is None:
        if all(member.ranges == _alone(_request(member)) for member in members):
            return {}
    else:
        alone = _alone(_request(joined))
        mine = _networks(joined.name, alone)
        if not any(
            one[0] == other[0] and one[1] < other[2] and other[1] < one[2]
            for member in members
            if member is not joined
            for other in _networks(member.name, member.ranges)
            for one in mine
        ):
            return {joined.name: alone}
    return default_ranges([_request(member) for member in members])


def _request(member: Member) -> RangeRequest:
    return RangeRequest(name=member.name, cluster_id=member.cluster_id, declared=member.declared)


@lru_cache(maxsize=1024)
def _alone(request: RangeRequest) -> Ranges:
    return default_ranges([request])[request.name]


@lru_cache(maxsize=1024)
def _networks(name: str, ranges: Ranges) -> tuple[Network, ...]:
    return tuple(network for what in WHATS for network in parse_networks(name, ranges.of(what)))
