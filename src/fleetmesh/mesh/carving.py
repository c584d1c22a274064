"""
Which ranges members have: as `default_ranges` says, without asking it for everybody each time one comes.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from functools import lru_cache
from typing import TYPE_CHECKING

import attrs

from fleetmesh.errors import InvalidRangeError, RangeExhaustedError
from fleetmesh.identity import Network, RangeRequest, Ranges, apart, default_ranges, parse_networks
from fleetmesh.identity.ranges import WHATS

if TYPE_CHECKING:
    from fleetmesh.mesh.member import Member
    from fleetmesh.mesh.viewpoint import MemberView


@attrs.frozen
class Carved:
    """
    Attributes:
        ranges: Of the members whose ranges may have changed.
        evading: Whether the one that joined keeps clear of what is heard, and so isn't where it would be.
    """

    ranges: Mapping[str, Ranges]
    evading: bool = False


def carve(members: Collection[Member], joined: Member | None) -> Carved:
    """
    The ranges of those members whose ranges may have changed since one joined, or one left or the pod
    ranges of Nodes changed (`None`).

    If what the newcomer would get alone is apart from all that others have, it gets that, and nobody has
    to give way. If otherwise all have what they would get alone, and keep clear of each other's Nodes,
    nobody moves.

    What members of other processes say moves nobody: addresses of this process's pods would change with a
    word from elsewhere. A newcomer keeps clear of it where there is room, and from then on has those ranges
    as though it had declared them, as long as no member of this process needs them.

    Raises:
        RangeExhaustedError: Nothing is left for the newcomer beside what is declared.
    """
    heard = {member.name: _of_heard(member) for member in members if member._store.heard is not None}
    moved = {
        member.name: heard[member.name]
        for member in members
        if member.name in heard and (member is joined or member._store.ranges != heard[member.name])
    }
    if joined is not None and joined.name in heard:
        return Carved(moved)
    ours = [member for member in members if member.name not in heard]
    others = [member for member in ours if member is not joined]
    requests = {member.name: _request(member) for member in ours}
    requests |= {
        member.name: attrs.evolve(requests[member.name], declared=member._store.ranges)
        for member in others
        if member._store.evading and _is_free(member, requests.values())
    }
    if joined is None:
        try:
            return Carved({**_anew(ours, requests), **moved})
        except RangeExhaustedError:
            return Carved(moved)
    mine = requests[joined.name]
    alone = _alone(mine)
    taken = [each for member in others for each in _networks(member.name, member._store.ranges)]
    taken += [each for member in others for each in requests[member.name].used]
    defaults = [each for member in others for each in _defaults(member)]
    if apart(_networks(joined.name, alone), taken) and apart(defaults, mine.used):
        carved: Mapping[str, Ranges] = {joined.name: alone}
    else:
        carved = default_ranges(requests.values())
    theirs = [each for name, ranges in heard.items() for each in _networks(name, ranges)]
    theirs += [each for member in members if member.name in heard for each in used_by_nodes(member)]
    if apart(_chosen(joined, carved[joined.name]), theirs):
        return Carved(carved)
    try:
        around = attrs.evolve(mine, used=tuple(sorted({*mine.used, *taken, *theirs})))
        clear = default_ranges([around])[joined.name]
    except RangeExhaustedError:
        return Carved(carved)
    requests[joined.name] = attrs.evolve(mine, declared=clear)
    return Carved(default_ranges(requests.values()), evading=True)


def _anew(ours: Collection[Member], requests: Mapping[str, RangeRequest]) -> Mapping[str, Ranges]:
    defaults = [each for member in ours for each in _defaults(member)]
    used = [each for request in requests.values() for each in request.used]
    if all(member._store.ranges == _alone(requests[member.name]) for member in ours) and apart(
        defaults, used
    ):
        return {}
    return default_ranges(requests.values())


def _is_free(member: Member, requests: Iterable[RangeRequest]) -> bool:
    """Whether nobody declares or uses what a member was given."""
    taken = [each for request in requests for each in request.used]
    for request in requests:
        if request.name != member.name:
            taken += (
                each for what in WHATS for each in parse_networks(request.name, request.declared.of(what))
            )
    return apart(_defaults(member), taken)


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
    return _chosen(member, member._store.ranges)


def _chosen(member: Member, ranges: Ranges) -> tuple[Network, ...]:
    chosen = Ranges(
        **{f"{what}_cidrs": () if member.declared.of(what) else ranges.of(what) for what in WHATS}
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
