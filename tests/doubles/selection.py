"""
What a viewer makes of the facts: its backend table, its frontends, and which backends each takes.

Written from Cilium's pkg/loadbalancer/writer/writer.go, pkg/loadbalancer/reconciler/bpf_reconciler.go
and pkg/clustermesh/{service_merger,selectbackends}.go; what strict mode does otherwise says so.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TypeAlias

import attrs

from doubles.facts import (
    ACTIVE,
    MAINTENANCE,
    TERMINATING,
    Facts,
    FrontendSpec,
    Key,
    Member,
    Row,
    ServiceSpec,
    Socket,
    is_v6,
    rank,
)
from doubles.preference import outranked

Claim: TypeAlias = tuple[str, int, int, bool]  # address, port, protocol, internal scope

LOCAL, REMOTE = 1, 2
SAME_ZONE, SAME_NODE = 1, 2
TYPE_NAMES = ("ClusterIP", "NodePort", "LoadBalancer", "ExternalIPs")
PROTOCOL_NAMES = {6: "TCP", 17: "UDP", 132: "SCTP"}
CLUSTER_IP = 0


@attrs.frozen
class TableRow:
    """One backend in a viewer's table."""

    cluster: int
    address: str
    port: int
    protocol: int
    names: tuple[str, ...]
    state: int
    weight: int
    node: str
    for_zones: tuple[str, ...]
    remote: bool

    @property
    def socket(self) -> Socket:
        return (self.address, self.port, self.protocol)


def local_row(cluster: int, row: Row) -> TableRow:
    return TableRow(
        cluster,
        row.address,
        row.port,
        row.protocol,
        row.names,
        row.state,
        row.weight,
        row.node,
        row.for_zones,
        remote=False,
    )


def remote_row(cluster: int, row: Row, strict: bool) -> TableRow:
    """The wire carries neither state nor weight; strict keeps what drains a backend."""
    state, weight = ACTIVE, 100
    if strict:
        weight = row.weight
        if row.weight == 0:
            state = MAINTENANCE
        elif row.state == TERMINATING:
            state = TERMINATING
    return TableRow(
        cluster, row.address, row.port, row.protocol, row.names, state, weight, "", row.for_zones, remote=True
    )


def heard_publishers(facts: Facts, viewer: int, key: Key) -> list[int]:
    """Those whose valid record the viewer has; of two that export one socket, the owner comes last."""
    found = [
        other
        for other in facts.members[viewer].hears
        if other in facts.members and facts.members[other].export_is_valid(key)
    ]
    if facts.strict:
        return sorted(found, reverse=True)
    return sorted(found, key=lambda other: facts.arrival(viewer, other, key))


def record_rows(member: Member, cluster: int, key: Key, strict: bool) -> list[TableRow]:
    return [
        remote_row(cluster, row, strict) for rows in member.export_rows(key, strict).values() for row in rows
    ]


def remote_table(facts: Facts, viewer: int, key: Key) -> dict[Socket, TableRow]:
    table: dict[Socket, TableRow] = {}
    for publisher in heard_publishers(facts, viewer, key):
        for row in record_rows(facts.members[publisher], publisher, key, facts.strict):
            table[row.socket] = row
    return table


def local_table(facts: Facts, viewer: int, key: Key) -> dict[Socket, TableRow]:
    rows = facts.members[viewer].home_rows(key, facts.strict)
    return {socket: local_row(viewer, row) for socket, row in rows.items()}


def backend_table(facts: Facts, viewer: int, key: Key) -> list[TableRow]:
    """A row of the own cluster hides a remote one of the same socket (PreferredBackendsByAddress)."""
    return list({**remote_table(facts, viewer, key), **local_table(facts, viewer, key)}.values())


# ---- frontends


def claim_of(frontend: FrontendSpec) -> Claim:
    _, internal, address, port, protocol, _ = frontend
    return (address, port, protocol, internal)


def exposed(spec: ServiceSpec, node: str) -> bool:
    return spec.exposed_on is None or node in spec.exposed_on


def claims(spec: ServiceSpec) -> set[Claim]:
    return set() if spec.headless else {claim_of(frontend) for frontend in spec.frontends}


def claims_on(spec: ServiceSpec, node: str) -> set[Claim]:
    return claims(spec) if exposed(spec, node) else set()


def claimed_since(member: Member, key: Key, claim: Claim) -> int:
    """The revision at which the service began to claim the address and did not stop since."""
    since = 0
    for revision, spec in reversed(member.specs[key]):
        if claim not in claims(spec):
            break
        since = revision
    return since


def contested(member: Member, node: str) -> dict[Claim, list[Key]]:
    claimants: dict[Claim, list[Key]] = {}
    for key in sorted(member.specs):
        for claim in claims_on(member.specs[key][-1][1], node):
            claimants.setdefault(claim, []).append(key)
    return {claim: keys for claim, keys in claimants.items() if len(keys) > 1}


def refused_claims(member: Member, node: str, strict: bool) -> dict[Key, dict[Claim, Key]]:
    """Service -> address it claims in vain -> the service that has it."""
    disputes = contested(member, node)
    refused: dict[Key, dict[Claim, Key]] = {}
    if strict:
        for claim, keys in disputes.items():
            owner = min(keys, key=lambda key: seniority(member, key))
            for key in keys:
                if key != owner:
                    refused.setdefault(key, {})[claim] = owner
        return refused
    newest: dict[Key, int] = {}
    for claim, keys in disputes.items():
        for key in keys:
            newest[key] = max(newest.get(key, 0), claimed_since(member, key, claim))
    owners: dict[Claim, Key] = {}
    for key in sorted(newest, key=lambda key: (newest[key], key)):
        wanted = claims(member.specs[key][-1][1])
        lost = {claim: owners[claim] for claim in wanted if claim in owners}
        if lost:
            refused[key] = lost
        else:
            owners.update(dict.fromkeys(wanted, key))
    return refused


def seniority(member: Member, key: Key) -> tuple[bool, str, Key]:
    created = member.specs[key][-1][1].created
    return (created == "", created, key)


def frontends_on(member: Member, key: Key, node: str, strict: bool) -> list[FrontendSpec]:
    """The frontends that exist on a node."""
    spec = member.spec(key)
    if spec is None or spec.headless or not exposed(spec, node):
        return []
    lost = refused_claims(member, node, strict).get(key, {})
    if lost and not strict:
        return []
    kept = [frontend for frontend in spec.frontends if claim_of(frontend) not in lost]
    return sorted(kept, key=frontend_order)


def frontend_order(frontend: FrontendSpec) -> tuple[str, str, int, str, bool]:
    type_, internal, address, port, protocol, _ = frontend
    return (TYPE_NAMES[type_], address, port, PROTOCOL_NAMES[protocol], internal)


# ---- selection


def mismatch(row: TableRow, frontend: FrontendSpec, spec: ServiceSpec, strict: bool) -> str:
    _, _, address, _, protocol, name = frontend
    if is_v6(row.address) != is_v6(address):
        return "family"
    if row.protocol != protocol:
        return "protocol"
    if not name:
        return ""
    if row.names:
        return "" if name in row.names else "port-name"
    if strict and row.remote and len({(at[4], at[5]) for at in spec.frontends}) > 1:
        return "port-name"
    return ""


def wants_local(frontend: FrontendSpec, spec: ServiceSpec) -> bool:
    type_, internal, *_ = frontend
    if internal or type_ == CLUSTER_IP:
        return spec.internal_local
    return spec.external_local


def judge(
    table: Sequence[TableRow],
    frontend: FrontendSpec,
    spec: ServiceSpec,
    member: Member,
    node: str,
    strict: bool,
    names: Mapping[int, str],
) -> dict[TableRow, str]:
    """Row -> the rule that keeps it out, "" where it is selected."""
    rule = {row: mismatch(row, frontend, spec, strict) for row in table}

    def left() -> list[TableRow]:
        return [row for row in table if not rule[row]]

    def drop(rows: Iterable[TableRow], why: str) -> None:
        rule.update(dict.fromkeys(rows, why))

    distribution = spec.distribution if member.service_topology else 0
    near = {row for row in left() if row.node == node and row.state == ACTIVE}
    if distribution == SAME_NODE and near:
        drop([row for row in left() if row not in near], "same-node")
    else:
        if wants_local(frontend, spec):
            allowed = {node} if strict else {node, ""}
            drop([row for row in left() if row.node not in allowed], "traffic-policy")
        zone = member.nodes.get(node, "")
        asked = [row for row in left() if row.state == ACTIVE]
        if (
            distribution == SAME_ZONE
            and zone
            and all(row.for_zones for row in asked)
            and any(zone in row.for_zones for row in asked)
        ):
            drop([row for row in left() if zone not in row.for_zones], "zone-hints")
    if not spec.is_global:
        drop([row for row in left() if row.remote], "viewer-not-global")
    elif spec.affinity:
        use_local, use_remote = affinity(left(), spec.affinity, strict, spec.min_local_backends)
        if not use_remote:
            near_enough = healthy_own(left()) >= spec.min_local_backends > 1
            why = "min-local-backends" if near_enough else "affinity-local"
            drop([row for row in left() if row.remote], why)
        if not use_local:
            drop([row for row in left() if not row.remote], "affinity-remote")
    gone, why, _ = outranked(left(), spec, names)
    drop(gone, why)
    return rule


def healthy_own(rows: Iterable[TableRow]) -> int:
    return sum(row.state == ACTIVE and not row.remote for row in rows)


def affinity(rows: Sequence[TableRow], wanted: int, strict: bool, least: int = 1) -> tuple[bool, bool]:
    """
    Whether local and whether remote backends are used (selectbackends.go).

    Cilium's remote backends are all active. Where a mode knows terminating ones (strict), they must not
    keep active local ones out: the rule for `remote` is then the mirror of that for `local`.
    `least` is how many healthy local ones keep the remote ones out (fleetmesh's own).
    """
    usable = [row for row in rows if row.state in (ACTIVE, TERMINATING)]
    near = [row for row in usable if not row.remote]
    far = [row for row in usable if row.remote]
    if wanted == LOCAL:
        return True, bool(far) and healthy_own(rows) < max(1, least)
    kept_out = any(row.state == ACTIVE for row in far) if strict else bool(far)
    return not kept_out and bool(near), True


def slots(selected: Iterable[TableRow]) -> tuple[list[TableRow], int]:
    """The order of Cilium's service map and how many take new connections (KEP-1669)."""
    ordered = sorted(selected, key=lambda row: (row.state, rank(row.address), row.port))
    active = sum(row.state == ACTIVE for row in ordered)
    return ordered, active or sum(row.state == TERMINATING for row in ordered)


def viewer_nodes(facts: Facts, viewer: int, key: Key) -> list[str]:
    """The nodes over which the answer of a cluster is the union."""
    member = facts.members[viewer]
    rows = member.slice_rows(key, facts.strict)
    return sorted(set(member.nodes) | {row.node for row in rows if row.node}) or ["node-1"]
