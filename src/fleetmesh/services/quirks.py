"""
Findings on what Cilium does to a global service that its owner may not expect.

Q1 to Q10 are the quirks seen in Cilium 1.20.2 itself; strict mode has another answer to most, and then
tells nothing. Sources: Cilium pkg/clustermesh/selectbackends.go, pkg/loadbalancer/writer/writer.go,
pkg/loadbalancer/reconciler/bpf_reconciler.go, operator/watchers/service_sync.go.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable

from fleetmesh.findings import Finding, finding
from fleetmesh.records import PROTOCOL_NAMES
from fleetmesh.services.service_facts import SHOWN, Judge, Row, ServiceFacts, Socket, bracketed, counted
from fleetmesh.services.words import FRONTEND_TYPES

_CLUSTER_IP = 0
_TERMINATING, _MAINTENANCE = 1, 4
_SAME_ZONE = 1


def duplicates(facts: ServiceFacts) -> Iterable[Finding]:
    """
    Q4 and Q5: a socket that several clusters claim.

    `duplicate-backend` if some viewer hears several exporters of it, `duplicate-local-backend` if one of
    them hears another (an error in strict mode). Sockets with the same claimants come together.
    """
    judge = facts.judge
    claimed: defaultdict[tuple[int, ...], list[str]] = defaultdict(list)
    for address, port, protocol, claimants in judge.snapshot.duplicates(facts.namespace, facts.name):
        claimed[tuple(claimants)].append(f"{bracketed(address)}:{port}/{PROTOCOL_NAMES[protocol]}")
    for clusters, sockets in claimed.items():
        exporting = facts.exporters & set(clusters)
        if any(len(facts.sources(c) & exporting) > 1 for c in facts.importers if c not in clusters):
            owner = "the lowest cluster id" if judge.strict else "the last to write the service"
            yield facts.report(
                "duplicate-backend",
                f"{judge.listed(exporting)} export the same {counted(sockets)}: others have one row of it, "
                f"which {owner} owns",
                sockets[:SHOWN],
            )
        owners = [c for c in clusters if facts.sources(c) & (exporting - {c})]
        if owners:
            message = (
                f"{counted(sockets)} of {judge.listed(owners)} also comes from other clusters: the local "
            )
            message += "row hides the remote one, even where a rule then drops the local one"
            others = f"claimed by {judge.listed(clusters)}"
            yield judge.graded(facts.report("duplicate-local-backend", message, [others, *sockets[:SHOWN]]))


def slice_overlap(facts: ServiceFacts) -> Iterable[Finding]:
    """
    Q6 and Q7: an address in several slices of one cluster. Which slice's ports, zone and host name are
    exported is random in Cilium, and after a change of one slice it may lose the backend at home.
    """
    for cluster, kinds in facts.kinds.items():
        several = len({kind.slice for kind in kinds}) > 1
        if not several and cluster not in facts.portless:
            continue
        rows = facts.rows(cluster)
        slices: dict[str, set[str]] = {}
        for row in rows:
            slices.setdefault(row.address, set()).add(row.slice)
        for address, winner in _overruled(facts, cluster, rows).items():
            slices[address].add(winner)
        addresses = sorted(address for address, names in slices.items() if len(names) > 1)
        if addresses:
            yield facts.report(
                "slice-overlap",
                f"{facts.judge.names[cluster]} has {counted(addresses)} in several EndpointSlices",
                [f"{address}: {', '.join(sorted(slices[address]))}" for address in addresses[:SHOWN]],
            )


def policy_local_remote(facts: ServiceFacts) -> Iterable[Finding]:
    """Q1: a traffic policy Local keeps other clusters' backends, because those have no node."""
    if facts.judge.strict:
        return
    kept: defaultdict[str, list[int]] = defaultdict(list)
    for viewer in facts.importers:
        spec = facts.specs[viewer]
        if spec.headless or not (spec.internal_local or spec.external_local) or not facts.sources(viewer):
            continue
        if spec.internal_local:
            kept["internalTrafficPolicy"].append(viewer)
        if spec.external_local and any(kind != _CLUSTER_IP for kind, *_ in spec.frontends):
            kept["externalTrafficPolicy"].append(viewer)
    for policy, viewers in kept.items():
        yield facts.report(
            "policy-local-remote",
            f"{policy} is Local in {facts.judge.listed(viewers)}, which drops the cluster's own endpoints on "
            "other nodes but keeps those of other clusters",
        )


def terminating_remote(facts: ServiceFacts) -> Iterable[Finding]:
    """Endpoints that are exported though they end or aren't ready: other clusters take them as active."""
    if facts.judge.strict:
        return
    kinds = ((_TERMINATING, "terminating"), (_MAINTENANCE, "not ready (their slice leaves serving unset)"))
    for state, what in kinds:
        exporters = [
            cluster
            for cluster in facts.uneven_exporters
            if any(row.state == state and row.weight for row in facts.exported_rows(cluster))
        ]
        if exporters:
            yield facts.report(
                "terminating-remote",
                f"endpoints of {facts.judge.listed(exporters)} are {what} at home and count as active in the "
                "clusters that import them",
            )


def weight_not_carried(facts: ServiceFacts) -> Iterable[Finding]:
    """A slice's weight isn't exported. Strict mode carries it."""
    if facts.judge.strict:
        return
    for cluster in facts.uneven_exporters:
        weights = sorted({row.weight for row in facts.exported_rows(cluster)} - {100})
        if weights:
            drained = ": weight 0 drains them at home only" if 0 in weights else ""
            listed = ", ".join(map(str, weights))
            yield facts.report(
                "weight-not-carried",
                f"{facts.judge.names[cluster]} gives endpoints the weight {listed}, and "
                f"other clusters take them with 100{drained}",
            )


def zone_hints_defeated(facts: ServiceFacts) -> Iterable[Finding]:
    """
    Exported endpoints without hints switch off zone routing wherever they are heard, used or not.

    A viewer that exports endpoints without hints itself is not told of: it has done so at home.
    """
    affected: defaultdict[frozenset[int], list[int]] = defaultdict(list)
    for viewer, spec in facts.specs.items():
        if spec.distribution != _SAME_ZONE or viewer not in facts.judge.service_topology or spec.headless:
            continue
        foreign = facts.heard(viewer) & facts.unhinted
        if foreign and viewer not in facts.unhinted:
            affected[foreign].append(viewer)
    for exporters, viewers in affected.items():
        yield facts.report(
            "zone-hints-defeated",
            f"endpoints of {facts.judge.listed(exporters)} have no zone hints, which switches off zone "
            f"routing in {facts.judge.listed(viewers)}",
        )


def frontend_conflicts(
    judge: Judge, cluster_id: int, services: Iterable[tuple[str, str]]
) -> tuple[Finding, ...]:
    """
    Q10: services of one member that claim one address, port and protocol.

    `services` (namespace, name) are those that may: whoever has a LoadBalancer or ExternalIPs frontend.
    Cilium refuses the later one whole; strict mode refuses only the shared frontend.
    """
    claims: defaultdict[Socket, dict[tuple[str, str], str]] = defaultdict(dict)
    for namespace, name in services:
        spec = judge.snapshot.spec(cluster_id, namespace, name)
        if spec is None or spec.headless:
            continue
        for kind, _, address, port, protocol, _ in spec.frontends:
            claims[address, port, protocol][namespace, name] = FRONTEND_TYPES[kind]
    found = []
    for claim, claimants in sorted(claims.items()):
        for namespace, name in sorted(claimants):
            others = sorted(key for key in claimants if key != (namespace, name))
            if not others or _has(judge, cluster_id, namespace, name, claim):
                continue
            address, port, protocol = claim
            text = f"{bracketed(address)}:{port}/{PROTOCOL_NAMES[protocol]}"
            lost = "that frontend" if judge.strict else "the whole Service, its cluster IP too,"
            found.append(
                finding(
                    "frontend-conflict",
                    f"Service {namespace}/{name}",
                    f"{text} in {judge.names[cluster_id]} belongs to "
                    f"{', '.join('/'.join(key) for key in others)}: {lost} is refused",
                    [f"{'/'.join(key)}: {kind}" for key, kind in sorted(claimants.items())],
                )
            )
    return tuple(found)


def _has(judge: Judge, cluster_id: int, namespace: str, name: str, claim: Socket) -> bool:
    frontends = judge.snapshot.frontends(cluster_id, namespace, name)
    return any((address, port, protocol) == claim for _, _, address, port, protocol, *_ in frontends)


def _overruled(facts: ServiceFacts, cluster: int, rows: Iterable[Row]) -> dict[str, str]:
    """
    Addresses that another slice of the cluster keeps out of its record, and that slice.

    It may have no ports, and then has no row at home; only who hears the cluster has a verdict that names it.
    """
    if cluster not in facts.exporters:
        return {}
    offered = facts.offered(cluster)
    missing = {row.address for row in rows if (row.address, row.port, row.protocol) not in offered}
    viewer = next((c for c in facts.judge.names if cluster in facts.heard(c)), None) if missing else None
    if viewer is None:
        return {}
    candidates = facts.judge.snapshot.candidates(viewer, facts.namespace, facts.name)
    return {
        address: winner
        for _, (owner, address, *_), rule, winner in candidates
        if owner == cluster and address in missing and rule == "slice-overlap"
    }
