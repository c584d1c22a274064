"""
The findings of a mesh and of its members: collected when asked for, judged anew only where something changed.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING

import attrs

from fleetmesh.findings import Finding, finding
from fleetmesh.identity import parse_networks
from fleetmesh.identity.ranges import WHATS
from fleetmesh.mesh.carving import used_by_nodes
from fleetmesh.mesh.ends import Ends
from fleetmesh.mesh.facts import namespace_global
from fleetmesh.mesh.lint import policy_findings
from fleetmesh.mesh.names import View
from fleetmesh.mesh.policies import conflicts, read_policies
from fleetmesh.resources.manifests import unknown_kind_findings
from fleetmesh.resources.model import PolicyObject
from fleetmesh.services.addressing import declared_cluster_ips
from fleetmesh.services.dns import CLUSTER_ZONE, resolve
from fleetmesh.services.judge import Judge, frontend_conflicts, judge_service
from fleetmesh.services.lacking import Lack, lack_of
from fleetmesh.services.mcs import unimported

if TYPE_CHECKING:
    from fleetmesh.mesh.deciding import Deciding
    from fleetmesh.mesh.store import Name
    from fleetmesh.mesh.viewpoint import MemberView, Viewpoint

_SEVERITIES = ("error", "warning", "info")
_HOLLOW = "service-without-match"
_ADMISSION = frozenset({"NetworkPolicy", "CiliumNetworkPolicy", "CiliumClusterwideNetworkPolicy"})
_LAYERED = frozenset({"ClusterNetworkPolicy", "AdminNetworkPolicy", "BaselineAdminNetworkPolicy"})


@attrs.frozen(eq=False)
class Report:
    """
    The findings of one state of a mesh.

    Attributes:
        view: The state.
        judged: Service -> its findings; services without any are left out.
        findings: All, the worst first.
    """

    view: Viewpoint
    judged: Mapping[Name, tuple[Finding, ...]]
    findings: tuple[Finding, ...]


def report_of(view: Viewpoint, last: Report | None, deciding: Deciding | None) -> Report:
    """
    Find what is to be said. What has not changed since the last report, of an older state of the same
    mesh or of one that it is a fork of, is taken from there.

    Args:
        deciding: What decides at that state; may be left out where no member has policies.
    """
    if last is not None and last.view is view:
        return last
    judged = _judged(view, last)
    found = [*view.read_findings, *_about_services(view, judged), *_about_mesh(view)]
    ends = Ends(view)
    for member in view.members.values():
        found.extend(_about_member(view, member, deciding, ends))
    return Report(view, judged, ordered(found))


def _judged(view: Viewpoint, last: Report | None) -> dict[Name, tuple[Finding, ...]]:
    snapshot, judge = view.snapshot, judge_of(view)
    names: Iterable[Name]
    touched = None if last is None else view.touched.after(last.view.snapshot.generation)
    if last is None or touched is None:
        judged: dict[Name, tuple[Finding, ...]] = {}
        names = {name for number in view.names for name in snapshot.services(number)}
    else:
        judged = dict(last.judged)
        # Why a Service has no endpoint hangs on pods, of which the core knows nothing then.
        hollow = (name for name, told in judged.items() if any(each.code == _HOLLOW for each in told))
        names = touched.union(snapshot.changed_since(last.view.snapshot), hollow)
    for name in names:
        found = judge_service(judge, *name)
        if found:
            judged[name] = found
        else:
            judged.pop(name, None)
    return judged


def _about_services(view: Viewpoint, judged: Mapping[Name, tuple[Finding, ...]]) -> Iterator[Finding]:
    judge = judge_of(view)
    for name in sorted(judged):
        yield from judged[name]
    for member in view.members.values():
        # As written: an address that was given to a Service is nobody else's.
        services = [
            (service, declared_cluster_ips(service))
            for by_name in member._store.services.values()
            for service in by_name.values()
        ]
        holders = Counter(address for _, addresses in services for address in addresses)
        claiming = sorted(
            (service.namespace, service.name)
            for service, addresses in services
            if service.type == "LoadBalancer"
            or service.external_ips
            or any(holders[address] > 1 for address in addresses)
        )
        if claiming:
            yield from frontend_conflicts(judge, member.cluster_id, claiming)


def judge_of(view: Viewpoint) -> Judge:
    """How the rules see the mesh."""
    members = {member.cluster_id: member for member in view.members.values()}

    def lack(number: int, namespace: str, name: str) -> Lack | None:
        store = members[number]._store
        service = store.service(namespace, name)
        if service is None:
            return None
        pods, slices = store.pods.group(namespace), store.slices.group((namespace, name))
        return lack_of(service, pods.values(), slices.values(), drained=store.drained)

    def synced(number: int, namespace: str, name: str) -> bool:
        asked = View(view, members[number]), f"{name}.{namespace}.svc.{CLUSTER_ZONE}"
        return any(resolve(*asked, kind) for kind in ("A", "AAAA"))

    topology = frozenset(number for number, each in members.items() if each.settings.service_topology)
    return Judge(view.snapshot, view.names, view.strict, topology, lack, synced)


def ordered(found: Iterable[Finding]) -> tuple[Finding, ...]:
    """Without repetitions, the worst first."""
    return tuple(
        sorted(
            dict.fromkeys(found),
            key=lambda each: (_SEVERITIES.index(each.severity), each.code, each.subject, each.message),
        )
    )


def member_findings(view: Viewpoint, name: str, deciding: Deciding | None) -> tuple[Finding, ...]:
    """What is to be said about a member and its objects, the worst first."""
    return ordered(_about_member(view, view.members[name], deciding, Ends(view)))


def _about_member(
    view: Viewpoint, member: MemberView, deciding: Deciding | None, ends: Ends
) -> Iterator[Finding]:
    store = member._store
    for found in store.findings.values():
        yield from found
    for found in store.source_findings.values():
        yield from found
    yield from store.trouble.values()
    read = read_policies(view, member)
    yield from conflicts(view, member)
    yield from policy_findings(view, member, read, deciding, ends)
    for policy, why in read.refused:
        yield finding(
            "policy-rejected", policy.subject, f"{why}, so that it has no effect", where=policy.origin
        )
    for plan in store.imports.values():
        yield from plan.findings
    for kinds in store.unknown.values():
        yield from unknown_kind_findings(kinds.values())
    if member.failed:
        yield from _failed(view, member)
    if view.topology.tenant(member.name):
        yield from _reachable(view, member)


def _failed(view: Viewpoint, member: MemberView) -> Iterator[Finding]:
    keepers = [
        other.name
        for other in view.members.values()
        if not other.failed
        and other.settings.cache_ttl == 0
        and view.topology.linked(member.name, other.name)
    ]
    if keepers:
        yield finding(
            "cluster-failed-kept",
            f"Cluster {member.name}",
            f"{_listed(keepers)} would keep using its backends for ever, since cache_ttl is 0 there; what is "
            "shown is the state after they were withdrawn",
            [f"{name}: cache_ttl 0" for name in keepers],
        )


def _reachable(view: Viewpoint, member: MemberView) -> Iterator[Finding]:
    others = [name for name in view.members if name != member.name and view.topology.tenant(name)]
    if not others or member.settings.policy_enforcement == "always":
        return
    if not any(judges_ingress(policy) for policy in member._store.policies.values()):
        yield finding(
            "tenants-reachable",
            f"Cluster {member.name}",
            f"it has no policy object that judges ingress, so that pods of {_listed(others)}, which are "
            "world to it, can reach its pods: the hub topology hides services, it doesn't block routing",
        )


def judges_ingress(policy: PolicyObject) -> bool:
    """
    Whether a policy has any rule on ingress. Which pods it selects, and whether it denies what comes
    from other clusters, is not judged here.
    """
    document = policy.document
    if policy.kind in _ADMISSION:
        specs = [document.get("spec"), *(document.get("specs") or ())]
    elif policy.kind in _LAYERED:
        specs = [document.get("spec")]
    else:
        return False
    for spec in specs:
        if not spec:
            continue
        if policy.kind == "NetworkPolicy":
            if "Ingress" in (spec.get("policyTypes") or ["Ingress"]):
                return True
        elif "ingress" in spec or "ingressDeny" in spec:
            return True
    return False


def _about_mesh(view: Viewpoint) -> Iterator[Finding]:
    for name in view.topology.named:
        if name not in view.members:
            yield finding(
                "topology-unknown-member",
                f"Topology {view.topology.kind}",
                f"it names {name!r}, which is no member",
            )
    yield from _overlaps(view)
    for namespace, name in sorted(view.exporters):
        exporters = view.exporters[namespace, name]
        valid = [
            each
            for each in sorted(exporters)
            if namespace_global(view.members[each], namespace)
            and view.members[each]._store.service(namespace, name) is not None
        ]
        lacking = [
            member.name
            for member in view.members.values()
            if not member._store.has_namespace(namespace)
            and any(view.hears(member.name, exporter) for exporter in valid)
        ]
        said = unimported(namespace, name, valid, lacking)
        if said is not None:
            yield said


def _overlaps(view: Viewpoint) -> Iterator[Finding]:
    """
    Ranges of pods, nodes and services that share addresses. Pod ranges that members declare never do;
    service ranges of two members may, since each is used at home only.
    """
    found: list[tuple[str, int, int, str, str, str]] = []  # family, first, end, member, what, text
    for member in view.members.values():
        own = [(what, each) for what in WHATS for each in parse_networks(member.name, member.ranges.of(what))]
        for what, network in (*own, *(("node's pod", each) for each in used_by_nodes(member))):
            found.append((network.family, network.first, network.end, member.name, what, network.text))
    found.sort()
    chosen = {
        (member.name, what)
        for member in view.members.values()
        for what in WHATS
        if not member.declared.of(what)
    }
    open_ranges: list[tuple[str, int, int, str, str, str]] = []
    for each in found:
        open_ranges = [other for other in open_ranges if other[0] == each[0] and other[2] > each[1]]
        for other in open_ranges:
            if _clash(each[3:5], other[3:5]):
                heard = view.members[each[3]].outside or view.members[other[3]].outside
                why = (
                    "and gives way to nothing that is heard"
                    if heard
                    else "for which there is no room elsewhere"
                )
                yield finding(
                    "range-overlap",
                    f"Cluster {each[3]}",
                    f"its {each[4]} range {each[5]} overlaps the {other[4]} range {other[5]} of {other[3]}"
                    + "".join(
                        f"; that of {name} is a default, {why}: let {name} join with {what}_cidrs of its own"
                        for name, what in dict.fromkeys((each[3:5], other[3:5]))
                        if (name, what) in chosen
                    ),
                )
        open_ranges.append(each)


def _clash(one: tuple[str, str], other: tuple[str, str]) -> bool:
    kinds = {one[1], other[1]}
    if one[0] == other[0]:
        return kinds not in ({"pod", "node's pod"}, {"node's pod"}, {"pod"}, {"node"}, {"service"})
    return kinds != {"service"}


def _listed(names: list[str]) -> str:
    return ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
