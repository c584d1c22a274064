"""
Two states of a mesh: which connections policies allow in one of them only.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, suppress
from ipaddress import ip_address
from typing import TYPE_CHECKING

from fleetmesh.mesh.impact.changes import FlowChanges
from fleetmesh.mesh.impact.kinds import kinds_of
from fleetmesh.mesh.impact.networks import Regions
from fleetmesh.mesh.impact.report import report
from fleetmesh.mesh.impact.rows import Rows
from fleetmesh.mesh.impact.steady import Steadiness
from fleetmesh.mesh.impact.verdicts import Judgements, Lists
from fleetmesh.policy.labels import Network

if TYPE_CHECKING:
    from fleetmesh.mesh.deciding import Deciding
    from fleetmesh.mesh.mesh import Mesh
    from fleetmesh.mesh.viewpoint import Viewpoint


def compare_flows(before: Mesh, after: Mesh) -> FlowChanges:
    """See `Comparison.flows`. Where policies, pods and who hears whom are the same nobody is asked."""
    steadiness = Steadiness(before.viewpoint(), after.viewpoint(), before.dns.parsed(), after.dns.parsed())
    if before is after or steadiness.complete:
        return FlowChanges()
    with ExitStack() as stack:
        found: dict[int, Deciding] = {}
        for mesh in sorted((before, after), key=id):  # so that nobody waits for one who waits for him
            found[id(mesh)] = stack.enter_context(mesh._policies.at(mesh.viewpoint, mesh.dns))
        return _flows(found[id(before)], found[id(after)])


def _flows(before: Deciding, after: Deciding) -> FlowChanges:
    steadiness = Steadiness(before.view, after.view, before.dns, after.dns)
    kinds = list(kinds_of(before.view, after.view, _regions(before, after)))
    unsteady = [not steadiness.steady(each) for each in kinds]
    lists = Lists()
    rows = Rows(kinds, Judgements(before, lists), Judgements(after, lists))
    rows.look(unsteady)
    return report(rows, before, after)


def _regions(before: Deciding, after: Deciding) -> Regions:
    networks: dict[str, set[Network]] = {}
    stacks: dict[str, set[bool]] = {}
    by_address = False
    for deciding in (before, after):
        for name, member in deciding.view.members.items():
            judge = deciding.judge(name)
            networks.setdefault(name, set()).update(judge.named_networks)
            stacks.setdefault(name, set()).add(member.settings.enable_ipv6)
            by_address = by_address or judge.selects_by_address or not _hears_all(deciding.view, name)
    telling = set().union(*networks.values()) if by_address else None
    wanted = any(networks.values()) or any(len(each) > 1 for each in stacks.values())
    taken = {*_addresses(before.view), *_addresses(after.view)} if wanted else ()
    return Regions(networks, stacks, sorted(taken), telling)


def _hears_all(view: Viewpoint, name: str) -> bool:
    return all(each == name or view.hears(name, each) for each in view.members)


def _addresses(view: Viewpoint) -> Iterator[int]:
    """Of pods and nodes, as numbers."""
    for member in view.members.values():
        for pods in member._store.pods.values():
            for pod in pods.values():
                yield from (int(ip_address(each)) for each in pod.addresses)
        for node in member._store.nodes.values():
            for _, text in node.addresses:
                with suppress(ValueError):  # a host's name is one too
                    yield int(ip_address(text))
