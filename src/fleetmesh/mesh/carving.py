"""
Which ranges members have: as `default_ranges` says, without asking it for everybody each time one comes.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from functools import lru_cache
from typing import TYPE_CHECKING

import attrs

from fleetmesh.errors import InvalidRangeError
from fleetmesh.identity import Network, RangeRequest, Ranges, apart, default_ranges, parse_networks
from fleetmesh.identity.ranges import WHATS

if TYPE_CHECKING:
    from fleetmesh.mesh.member import Member
    from fleetmesh.mesh.viewpoint import MemberView


def carve(members: Collection[Member], joined: Member | None) -> Mapping[str, Ranges]:
    """
    The ranges of those members whose ranges may have changed since one joined, or one left or the pod
    ranges of Nodes changed (`None`).

    If what the newcomer would get alone is apart from all that others have, it gets that, and nobody has
    to give way. If otherwise all have what they would get alone, and keep clear of each other's Nodes,
    nobody moves.

    Raises:
        RangeExhaustedError: Nothing is left beside what is declared.
    """
    requests = {member.name: _request(member) for member in members}
    heard = {member.name: _of_heard(member) for member in members if member._store.heard is not None}
    moved = {
        member.name: heard[member.name]
        for member in members
        if member.name in heard and (member is joined or member._store.ranges != heard[member.name])
    }
    if joined is None:
        defaults = [each for member in members for each in _defaults(member)]
        used = [each for request in requests.values() for each in request.used]
        ours = (member for member in members if member.name not in heard)
        if all(member._store.ranges == _alone(requests[member.name]) for member in ours) and apart(
            defaults, used
        ):
            return moved
    elif joined.name in heard:
        theirs = _networks(joined.name, heard[joined.name])
        if apart(theirs, [each for member in members if member is not joined for each in _defaults(member)]):
            return moved
    else:
        mine = requests[joined.name]
        alone = _alone(mine)
        others = [member for member in members if member is not joined]
        taken = [each for member in others for each in _networks(member.name, member._store.ranges)]
        taken += [each for member in others for each in requests[member.name].used]
        defaults = [each for member in others for each in _defaults(member)]
        if apart(_networks(joined.name, alone), taken) and apart(defaults, mine.used):
            return {joined.name: alone}
    return {**default_ranges(requests.values()), **heard}


def _of_heard(member: Member) -> Ranges:
    """What a member of another process says of itself, and nothing that is made up."""
    declared = member.declared
    if declared.pod_cidrs:
        return declared
    return attrs.evolve(declared, pod_cidrs=tuple(each.text for each in used_by_nodes(member)))


def used_by_nodes(member: Member | MemberView) -> tuple[Network, ...]:
    """The pod ranges that the Nodes of a member declare, as far as they can be read."""
    return _readable(
        tuple(dict.fromkeys(cidr for each in member._store.nodes.values() for cidr in each.pod_cidrs))
    )


def _request(member: Member) -> RangeRequest:
    return RangeRequest(
        name=member.name, cluster_id=member.cluster_id, declared=member.declared, used=used_by_nodes(member)
    )


def _defaults(member: Member) -> tuple[Network, ...]:
    """The ranges of a member that it didn't declare, and was given."""
    if member._store.heard is not None:
        return ()
    chosen = Ranges(
        **{
            f"{what}_cidrs": () if member.declared.of(what) else member._store.ranges.of(what)
            for what in WHATS
        }
    )
    return _networks(member.name, chosen)


@lru_cache(maxsize=1024)
def _alone(request: RangeRequest) -> Ranges:
    return default_ranges([request])[request.name]


@lru_cache(maxsize=1024)
def _networks(name: str, ranges: Ranges) -> tuple[Network, ...]:
    return tuple(network for what in WHATS for network in parse_networks(name, ranges.of(what)))


@lru_cache(maxsize=1024)
def _readable(cidrs: tuple[str, ...]) -> tuple[Network, ...]:
    found: list[Network] = []
    for cidr in cidrs:
        try:
            found.extend(parse_networks("", [cidr]))
        except InvalidRangeError:
            continue  # it holds no address
    return tuple(sorted(found))
