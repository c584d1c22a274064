"""
Findings on Services that don't fit each other: names, ports and annotations that cluster and cluster, or
Service and endpoints, have differently.

Viewers with the same named ports are judged once, and a finding names them all. Sources: Cilium
pkg/loadbalancer/writer/writer.go (port names), operator/watchers/service_sync.go (what is exported).
"""

from __future__ import annotations

from collections.abc import Iterable

import attrs

from fleetmesh.findings import Finding
from fleetmesh.services.lacking import Lack
from fleetmesh.services.mcs import is_derived
from fleetmesh.services.service_facts import SERVING, ServiceFacts


def external_name_global(facts: ServiceFacts) -> Iterable[Finding]:
    """A global Service of type ExternalName: receivers refuse its record (`ClusterService.validate`)."""
    marked = [cluster for cluster, spec in facts.specs.items() if spec.external_name and spec.is_global]
    if marked:
        yield facts.report(
            "external-name-global",
            f"it is of type ExternalName and marked global in {facts.judge.listed(marked)}: no other cluster "
            "imports anything of it",
        )


def preference_unknown_cluster(facts: ServiceFacts) -> Iterable[Finding]:
    """A cluster that is preferred and is no member of the mesh."""
    members = set(facts.judge.names.values())
    unknown: dict[str, list[int]] = {}
    for cluster, spec in facts.specs.items():
        for name in (*spec.prefer_clusters, *(name for name, _ in spec.cluster_weights)):
            if name not in members:
                unknown.setdefault(name, []).append(cluster)
    for name, clusters in sorted(unknown.items()):
        yield facts.report(
            "preference-unknown-cluster",
            f"{facts.judge.listed(clusters)} prefers cluster {name!r}, which is no member of the mesh: "
            "that has no effect",
        )


def service_without_match(facts: ServiceFacts) -> Iterable[Finding]:
    """
    A Service with a selector and no endpoint that serves, by what it lacks, and a global one without
    selector that nobody serves.

    Where backends of other clusters are in use instead, it is information only.
    """
    judge, name = facts.judge, (facts.namespace, facts.name)
    # Who has unready or drained endpoints has rows; they are no use.
    empty = [
        cluster
        for cluster, spec in facts.specs.items()
        if not spec.external_name and all(kind.state not in SERVING for kind in facts.kinds.get(cluster, ()))
    ]
    lacking: dict[tuple[Lack, bool], list[int]] = {}
    for cluster in empty:
        lack = judge.lack(cluster, *name)
        if lack is not None:
            lacking.setdefault((lack, facts.served_by_others(cluster)), []).append(cluster)
    for (lack, served), clusters in lacking.items():
        instead = (
            "; endpoints of other clusters serve it there"
            if served
            else ", and no other cluster's endpoints stand in"
        )
        said = facts.report("service-without-match", lack.said(judge.listed(clusters)) + instead)
        yield attrs.evolve(said, fix=lack.fix, severity="info" if served else said.severity)
    told = {cluster for clusters in lacking.values() for cluster in clusters}
    idle = [c for c in empty if c not in told and facts.specs[c].is_global and not facts.sources(c)]
    if idle and not facts.kinds:
        yield facts.report(
            "service-without-match",
            f"it is global in {judge.listed(idle)}, and no cluster has an endpoint of it",
        )


def port_name_unmatched(facts: ServiceFacts) -> Iterable[Finding]:
    """
    Q2: a named port of a Service that no endpoint of a cluster has by that name, whatever its number.

    Unnamed ports match every name and are `unnamed_remote_port`'s. An error in strict mode.
    """
    judge = facts.judge
    for ports, viewers in facts.named_ports.items():
        for protocol, name in sorted(ports):
            own = [c for c in viewers if c in facts.kinds and not _offered_at_home(facts, c, protocol, name)]
            if own:
                message = (
                    f"no endpoint in {judge.listed(own)} has a port named {name!r}, which the Service has"
                )
                yield judge.graded(facts.report("port-name-unmatched", message))
            others = _exporters_without(facts, protocol, name)
            affected = [c for c in viewers if facts.sources(c) & others.keys()] if others else []
            if affected:
                exporters = {e for c in affected for e in facts.sources(c) & others.keys()}
                yield judge.graded(
                    facts.report(
                        "port-name-unmatched",
                        f"port {name!r} of {judge.listed(affected)} never uses endpoints of "
                        f"{judge.listed(exporters)}: their ports have other names",
                        [
                            f"{judge.names[e]} offers {', '.join(sorted(others[e]))}"
                            for e in sorted(exporters)
                        ],
                    )
                )


def unnamed_remote_port(facts: ServiceFacts) -> Iterable[Finding]:
    """
    Q3: an exporter's port has no name, and so serves every named port of its protocol.

    In strict mode it does so for a Service of one port only, and the others are told of.
    """
    judge = facts.judge
    if not facts.named_ports:
        return
    unnamed = {e for e, offers in facts.offers.items() if any(names == {""} for _, names in offers)}
    named = [
        viewer
        for ports, viewers in facts.named_ports.items()
        if not judge.strict or len({name for _, name in ports}) > 1
        for viewer in viewers
        if unnamed and facts.sources(viewer) & unnamed
    ]
    if named:
        exporters = {e for viewer in named for e in facts.sources(viewer) & unnamed}
        effect = "is used for none" if judge.strict else "is used, whatever its number, for each"
        yield facts.report(
            "unnamed-remote-port",
            f"the unnamed port of {judge.listed(exporters)} {effect} of the named ports of "
            f"{judge.listed(named)}",
        )


def unresolvable_name(facts: ServiceFacts) -> Iterable[Finding]:
    """A service that a member hears of but doesn't have: its name is unknown there."""
    lacking = [c for c in facts.judge.names if c not in facts.specs and facts.heard(c)]
    if lacking and not is_derived(facts.name):
        yield facts.report(
            "unresolvable-name",
            f"{facts.name}.{facts.namespace}.svc.cluster.local doesn't resolve in "
            f"{facts.judge.listed(lacking)}: there is no Service of that name",
            [f"exported by {facts.judge.listed(facts.exporters)}"],
        )


def one_sided_global(facts: ServiceFacts) -> Iterable[Finding]:
    """A service that a member hears of and has, but has not marked global."""
    apart = [
        c
        for c, spec in facts.specs.items()
        if not spec.is_global and not spec.external_name and facts.heard(c)
    ]
    if apart:
        yield facts.report(
            "one-sided-global",
            f"it is exported by {facts.judge.listed(facts.exporters)} but not global in "
            f"{facts.judge.listed(apart)}: these use only their own endpoints",
        )


def namespace_not_global(facts: ServiceFacts) -> Iterable[Finding]:
    """A global Service that is kept at home by its namespace (pkg/clustermesh/namespace/namespace.go)."""
    kept = [
        cluster
        for cluster, spec in facts.specs.items()
        if spec.is_global and spec.shared and not spec.namespace_global and not spec.external_name
    ]
    if kept:
        yield facts.report(
            "namespace-not-global",
            f"it is marked global, but its namespace {facts.namespace} is not in "
            f"{facts.judge.listed(kept)}: nothing of it is exported there",
        )


def _offered_at_home(facts: ServiceFacts, cluster: int, protocol: int, name: str) -> bool:
    kinds = facts.kinds[cluster]
    return any(kind.protocol == protocol and (not kind.names or name in kind.names) for kind in kinds)


def _exporters_without(facts: ServiceFacts, protocol: int, name: str) -> dict[int, frozenset[str]]:
    """The exporters that have named ports, but none of this name; with the names that they have."""
    found: dict[int, frozenset[str]] = {}
    for cluster, offers in facts.offers.items():
        if not any(of == protocol and (name in names or names == {""}) for of, names in offers):
            found[cluster] = frozenset(one or "unnamed" for _, names in offers for one in names)
    return found
