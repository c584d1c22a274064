"""
What follows at once from a member's settings, ranges and objects.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from fleetmesh.services.annotations import namespace_is_global
from fleetmesh.services.frontends import family_of

if TYPE_CHECKING:
    from fleetmesh.mesh.member import Member
    from fleetmesh.mesh.viewpoint import MemberView
    from fleetmesh.resources.model import Family


def namespace_global(member: Member | MemberView, namespace: str) -> bool:
    """Whether a member publishes what is in a namespace."""
    declared = member._store.namespaces.get(namespace)
    return namespace_is_global(declared, member.settings.default_global_namespace)


def families_of(member: Member, cidrs: Iterable[str]) -> tuple[Family, ...]:
    """The families of ranges, in their order, without IPv6 where the cluster has none."""
    found = dict.fromkeys(family_of(cidr) for cidr in cidrs)
    return tuple(family for family in found if family == "IPv4" or member.settings.enable_ipv6)
