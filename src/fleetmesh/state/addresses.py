"""
Addresses that several clusters publish.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from fleetmesh.findings import Finding, finding
from fleetmesh.records import is_address

if TYPE_CHECKING:
    from fleetmesh.mesh.viewpoint import MemberView, Viewpoint

MOST_TOLD = 100


def contested_addresses(view: Viewpoint) -> Iterator[Finding]:
    """
    One finding for each address that pods of several members have, of which at least one is heard through a
    store. Cilium doesn't look (any cluster can announce any address, and the last source wins), so that who
    answers there is left to chance.
    """
    if not any(member.outside for member in view.members.values()):
        return
    owner: dict[str, str] = {}
    contested: dict[str, list[str]] = {}
    for member in view.members.values():
        for address in _addresses(member):
            first = owner.setdefault(address, member.name)
            if first != member.name:
                contested.setdefault(address, [first]).append(member.name)
    told = sorted(contested)[:MOST_TOLD]
    for address in told:
        yield finding(
            "address-of-two-clusters", f"Address {address}", f"{' and '.join(contested[address])} publish it"
        )
    if len(contested) > len(told):
        yield finding(
            "address-of-two-clusters",
            "Mesh",
            f"{len(contested) - len(told)} more addresses are published twice",
        )


def _addresses(member: MemberView) -> Iterable[str]:
    heard = member._store.heard
    if heard is not None:
        return heard.ips
    pods = (pod for found in member._store.pods.values() for pod in found.values())
    return {
        address
        for pod in pods
        if not pod.template.host_network
        for address in pod.addresses
        if is_address(address)
    }
