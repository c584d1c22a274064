"""
Coming and going: what a member joins with, and what its joining or leaving means to the others.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

import attrs

from fleetmesh.errors import AlreadyInMeshError, InvalidRangeError
from fleetmesh.identity import Ranges, parse_networks
from fleetmesh.identity.ranges import WHATS
from fleetmesh.mesh import limits
from fleetmesh.mesh.carving import carve
from fleetmesh.mesh.heard import Heard
from fleetmesh.mesh.member import Member
from fleetmesh.mesh.settings import ClusterSettings
from fleetmesh.mesh.store import Store

if TYPE_CHECKING:
    from fleetmesh.mesh.change import Change


@attrs.frozen(kw_only=True)
class Terms:
    """What a member joins with; `None` where a member that comes back keeps what it had."""

    cluster_id: int | None
    settings: ClusterSettings | None
    labels: Mapping[str, str] | None
    ranges: Ranges
    routing_domain: str | None
    outside: bool

    @classmethod
    def given(
        cls,
        name: object,
        *,
        cluster_id: int | None,
        settings: ClusterSettings | None,
        labels: Mapping[str, str] | None,
        routing_domain: str | None,
        outside: bool,
        **ranges: Iterable[str],
    ) -> Terms:
        """
        Terms as a caller gives them.

        Raises:
            TypeError: The settings or labels are of another kind.
            InvalidRangeError: Ranges are no list.
        """
        if settings is not None and not isinstance(settings, ClusterSettings):
            raise TypeError(f"settings of {name!r} are {settings!r}; expected a ClusterSettings")
        if labels is not None and not _are_labels(labels):
            raise TypeError(f"labels of {name!r} are {labels!r}; expected a mapping of texts to texts")
        return cls(
            cluster_id=cluster_id,
            settings=settings,
            labels=labels,
            ranges=Ranges(**{kind: _list_of(name, cidrs) for kind, cidrs in ranges.items()}),
            routing_domain=routing_domain,
            outside=outside,
        )


def join(change: Change, name: str | Member, terms: Terms, limit: int) -> Member:
    """
    Let a member in.

    Raises:
        MeshError: As `Mesh.join` says; nothing has been changed.
    """
    members = change.members
    old = name if isinstance(name, Member) else None
    if old is not None and old._mesh is not None:
        raise AlreadyInMeshError(old.name, old._mesh.name)
    limits.check_room(len(members), limit)
    limits.check_name(name if old is None else old.name, members)
    number = limits.check_id(
        old.cluster_id if old is not None and terms.cluster_id is None else terms.cluster_id,
        limit,
        {each.cluster_id: each.name for each in members.values()},
    )
    if old is None:
        assert isinstance(name, str)
        member = Member(name, number, store=Store(heard=Heard() if terms.outside else None))
    else:
        member = old
    declared = Ranges(
        **{f"{what}_cidrs": terms.ranges.of(what) or member.declared.of(what) for what in WHATS}
    )
    for what in WHATS:
        parse_networks(member.name, declared.of(what))
    others = {each.name: each.declared.pod_cidrs for each in members.values()}
    limits.check_pod_ranges(member.name, declared.pod_cidrs, others)
    domain = member.routing_domain if terms.routing_domain is None else terms.routing_domain
    limits.check_domain(member.name, domain, (each.routing_domain for each in members.values()))
    limits.check_self_managed(member.name, member._store.resources.values())
    new = {"cluster_id": number, "declared": declared, "routing_domain": domain}
    new |= {} if terms.settings is None else {"settings": terms.settings}
    new |= {} if terms.labels is None else {"labels": terms.labels}
    for attribute, value in new.items():
        change.set(member, attribute, value)
    _enter(change, member)
    return member


def _enter(change: Change, member: Member) -> None:
    everybody = {**change.members, member.name: member}
    change.members = dict(sorted(everybody.items(), key=lambda item: item[1].cluster_id))
    settings = member.settings
    change.core.join(
        member.cluster_id,
        member.name,
        enable_ipv6=settings.enable_ipv6,
        service_topology=settings.service_topology,
    )
    set_ranges(change, member)
    set_hearing(change, around=member.name)
    change.send_all(member)


def leave(change: Change, member: Member) -> None:
    """Let a member go; its objects stay with it."""
    change.members = {name: each for name, each in change.members.items() if each is not member}
    change.take_back(member)
    change.core.leave(member.cluster_id)
    change.left.add(member.name)
    set_ranges(change, None)
    change.plan_imports()


def set_hearing(change: Change, around: str) -> None:
    """Tell the core whom a member hears, and those whom it is linked with."""
    topology = change.topology
    numbers = {each.name: each.cluster_id for each in change.members.values() if not each._store.failed}
    everybody = sorted(numbers.values()) if topology.kind == "full" else None
    for name, member in change.members.items():
        if name != around and not topology.linked(name, around):
            continue
        if member._store.failed:
            heard: list[int] = []
        else:
            heard = everybody if everybody is not None else topology.heard(name, numbers)
        change.core.hear(member.cluster_id, heard)
    change.plan_imports()


def set_ranges(change: Change, joined: Member | None) -> None:
    """
    Defaults are carved around what members of this process declare, so that they may move when those come
    and go, and when Nodes of theirs come or go (`joined` is `None`). Where there is no room for them beside
    Nodes they stay as they are, which findings tell.

    Raises:
        RangeExhaustedError: There is no room for somebody who joins.
    """
    carved = carve(change.members.values(), joined)
    if joined is not None:
        change.store(joined).evading = carved.evading
    for name, ranges in carved.ranges.items():
        member = change.members[name]
        if ranges != member._store.ranges or member is joined:
            change.set_ranges(member, ranges)


def _list_of(name: object, cidrs: Iterable[str]) -> tuple[str, ...]:
    if isinstance(cidrs, str) or not isinstance(cidrs, Iterable):
        raise InvalidRangeError(str(name), cidrs, "expected a list of ranges")
    return tuple(cidrs)


def _are_labels(labels: object) -> bool:
    return isinstance(labels, Mapping) and all(
        isinstance(text, str) for pair in labels.items() for text in pair
    )
