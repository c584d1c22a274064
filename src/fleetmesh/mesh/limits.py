"""
What a mesh refuses at its door. Every check raises before anything is changed.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

from fleetmesh.errors import (
    ClusterIdTakenError,
    ClusterNameTakenError,
    InvalidClusterIdError,
    InvalidClusterNameError,
    MeshError,
    OverlappingPodRangesError,
    RoutingDomainError,
    SelfManagedMeshError,
    TooManyMembersError,
)
from fleetmesh.identity import overlap, parse_networks
from fleetmesh.resources.model import CiliumConfig, ClusterMeshSecret

if TYPE_CHECKING:
    from fleetmesh.mesh.member import Member
    from fleetmesh.resources.model import Resource

MEMBER_LIMITS = (255, 511)
DEFAULT_DOMAIN = "the default one"

_NAME = re.compile(r"([a-z0-9][-a-z0-9]*)?[a-z0-9]")
_LONGEST_NAME = 32


def check_name(name: object, taken: Iterable[str]) -> None:
    """
    Raises:
        InvalidClusterNameError: Not a name of Cilium's (pkg/clustermesh/types/types.go).
        ClusterNameTakenError: A member has it.
    """
    if (
        not isinstance(name, str)
        or len(name) > _LONGEST_NAME
        or _NAME.fullmatch(name) is None
        or name == "default"
    ):
        raise InvalidClusterNameError(name)
    if name in taken:
        raise ClusterNameTakenError(name)


def check_room(count: int, limit: int) -> None:
    """
    Raises:
        TooManyMembersError: There are as many members as there can be.
    """
    if count >= limit:
        raise TooManyMembersError(limit)


def check_id(cluster_id: object, limit: int, owners: Mapping[int, str]) -> int:
    """
    The id, if it is a whole number (no bool, no float, no text) that is free.

    Raises:
        InvalidClusterIdError: It is not within 1..limit.
        ClusterIdTakenError: Another member has it.
    """
    if not isinstance(cluster_id, int) or isinstance(cluster_id, bool) or not 1 <= cluster_id <= limit:
        raise InvalidClusterIdError(cluster_id, limit)
    if cluster_id in owners:
        free = next((number for number in range(1, limit + 1) if number not in owners), None)
        raise ClusterIdTakenError(cluster_id, owners[cluster_id], free)
    return cluster_id


def check_pod_ranges(name: str, cidrs: Iterable[str], others: Mapping[str, tuple[str, ...]]) -> None:
    """
    Args:
        others: The pod ranges that other members declare.

    Raises:
        InvalidRangeError: A range can't be read or has host bits.
        OverlappingPodRangesError: Two of them share an address.
    """
    mine = parse_networks(name, cidrs)
    for position, network in enumerate(mine):
        twice = overlap([network], mine[:position])
        if twice is not None:
            raise OverlappingPodRangesError(name, twice[0].text, name, twice[1].text)
    for owner, theirs in others.items():
        found = overlap(mine, parse_networks(owner, theirs))
        if found is not None:
            raise OverlappingPodRangesError(name, found[0].text, owner, found[1].text)


def check_domain(name: str, domain: str | None, members: Iterable[str | None]) -> None:
    """
    Args:
        domain: The newcomer's routing domain; `None` is one of its own, the default.
        members: The domains of those that are in.

    Raises:
        RoutingDomainError: They are in another one.
    """
    for expected in members:
        if domain != expected:
            raise RoutingDomainError(name, domain or DEFAULT_DOMAIN, expected or DEFAULT_DOMAIN)


def check_self_managed(name: str, resources: Iterable[Resource]) -> None:
    """
    Raises:
        SelfManagedMeshError: One of the resources tells that the cluster runs a mesh of its own.
    """
    for resource in resources:
        if isinstance(resource, ClusterMeshSecret):
            raise SelfManagedMeshError(name, f"it has the {resource.subject}")
        if isinstance(resource, CiliumConfig) and resource.cluster_id.strip() not in ("", "0"):
            raise SelfManagedMeshError(
                name, f"the {resource.subject} has cluster-id {resource.cluster_id.strip()}"
            )


def check_inside(member: Member) -> None:
    """
    Raises:
        MeshError: Another process runs the member: what it has is heard, and not given to it here.
    """
    if member._store.heard is not None:
        raise MeshError(
            f"{member.name!r} is run by another process, and heard only: change it there, or drain and fail "
            "it in a fork"
        )
