"""
The publish step: what a member lets others know of itself.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING

from fleetmesh.mesh.cilium_objects import claim_of, claimed_ips, node_records, published_identities
from fleetmesh.mesh.facts import namespace_global
from fleetmesh.mesh.heard import labels_text
from fleetmesh.mesh.heard_records import heard_records
from fleetmesh.mesh.identities import UNNUMBERED
from fleetmesh.records import (
    IpRecord,
    Record,
    endpoints_record,
    export_record,
    identity_record,
    ip_records,
    node_record,
    service_record,
)
from fleetmesh.services.mcs import invalid_export

if TYPE_CHECKING:
    from fleetmesh.mesh.store import Name
    from fleetmesh.mesh.viewpoint import MemberView, Viewpoint
    from fleetmesh.policy.labels import LabelSet

__all__ = ["Record", "labels_text", "records_of"]


def records_of(view: Viewpoint, name: str, kind: str | None) -> tuple[Record, ...]:
    """
    The records of a member, of one kind or all.

    Raises:
        ValueError: There is no such kind.
    """
    member = view.members[name]
    if member._store.heard is not None:
        return heard_records(member._store.heard, member, kind)
    if kind is None:
        return tuple(record for publish in _KINDS.values() for record in publish(view, member))
    if kind not in _KINDS:
        raise ValueError(f"record kind {kind!r}; expected one of {', '.join(_KINDS)}")
    return tuple(_KINDS[kind](view, member))


def _nodes(_: Viewpoint, member: MemberView) -> Iterator[Record]:
    if len(member._store.cilium_nodes):
        yield from node_records(member)
        return
    for _name, node in sorted(member._store.nodes.items()):
        yield node_record(member.name, member.cluster_id, node)


def _services(view: Viewpoint, member: MemberView) -> Iterator[Record]:
    for namespace, name in view.snapshot.services(member.cluster_id):
        service = member._store.service(namespace, name)
        exported = view.snapshot.record(member.cluster_id, namespace, name)
        if service is not None and exported is not None:
            yield service_record(member.name, member.cluster_id, service, exported)


def _endpoints(view: Viewpoint, member: MemberView) -> Iterator[Record]:
    if member.drained:
        return
    for namespace, name in view.snapshot.services(member.cluster_id):
        if view.snapshot.record(member.cluster_id, namespace, name) is not None:
            for piece in sorted(member._store.own_slices((namespace, name)), key=lambda each: each.name):
                yield endpoints_record(member.name, member.cluster_id, piece)


def _published_pods(member: MemberView) -> Iterator[tuple[Name, int, LabelSet | None]]:
    """
    The pods of which others may know, by name, with the number of their identity within the cluster and its
    labels; without, where Cilium's objects say it. One whose labels no number is left for is nobody to
    others: a number that they don't know would not be better.
    """
    if member.drained:
        return
    store = member._store
    for namespace in sorted({*store.pods, *store.claims}):
        if not namespace_global(member, namespace):
            continue
        of_pods, claims = store.identity_of.group(namespace), store.claims.group(namespace)
        for name in sorted({*store.pods.group(namespace), *claims}):
            labels = of_pods.get(name)
            if name in claims:
                yield (namespace, name), UNNUMBERED, None
            elif labels is not None and store.identities[labels].number != UNNUMBERED:
                yield (namespace, name), store.identities[labels].number, labels


def _identities(view: Viewpoint, member: MemberView) -> Iterator[Record]:
    start = member.cluster_id << view.identity_bits
    texts = dict(published_identities(member))
    for (namespace, name), number, labels in _published_pods(member):
        pod = member._store.pods.group(namespace).get(name)
        if labels is not None and pod is not None and ip_records(member.name, member.cluster_id, number, pod):
            texts[start | number] = labels
    for number in sorted(texts):
        yield identity_record(member.name, member.cluster_id, number, labels_text(texts[number]))


def _ips(view: Viewpoint, member: MemberView) -> Iterator[Record]:
    """Of an address that several pods claim, the first by name has it, as after a restart of Cilium."""
    taken: set[str] = set()
    for record in _ips_of_all(view, member):
        if record.address not in taken:
            taken.add(record.address)
            yield record


def _ips_of_all(view: Viewpoint, member: MemberView) -> Iterator[IpRecord]:
    start, store = member.cluster_id << view.identity_bits, member._store
    for name, number, _ in _published_pods(member):
        claim = claim_of(store, name)
        if claim is not None:
            yield from claimed_ips(member, name, claim)
            continue
        pod = store.pods[name[0]][name[1]]
        node = store.nodes.get(pod.template.node_name)
        hosts = () if node is None else (text for kind, text in node.addresses if kind == "InternalIP")
        yield from ip_records(member.name, member.cluster_id, start | number, pod, next(iter(hosts), ""))


def _exports(_: Viewpoint, member: MemberView) -> Iterator[Record]:
    store = member._store
    for (namespace, name), export in sorted(store.exports.items()):
        service, gate = store.service(namespace, name), namespace_global(member, namespace)
        if service is not None and not invalid_export(member.name, export, service, namespace_global=gate):
            yield export_record(member.name, service, export)


_KINDS: Mapping[str, Callable[[Viewpoint, MemberView], Iterator[Record]]] = {
    "node": _nodes,
    "service": _services,
    "endpoints": _endpoints,
    "identity": _identities,
    "ip": _ips,
    "export": _exports,
}
