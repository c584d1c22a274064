"""
The publish step: what a member lets others know of itself.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING

import attrs

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
    for name in view.snapshot.services(member.cluster_id):
        yield from service_of(view, member, name)


def service_of(view: Viewpoint, member: MemberView, name: Name) -> Iterator[Record]:
    """The record of a service, where it has one."""
    service = member._store.service(*name)
    exported = view.snapshot.record(member.cluster_id, *name)
    if service is not None and exported is not None:
        yield service_record(member.name, member.cluster_id, service, exported)


def _endpoints(view: Viewpoint, member: MemberView) -> Iterator[Record]:
    for name in view.snapshot.services(member.cluster_id):
        yield from endpoints_of(view, member, name)


def endpoints_of(view: Viewpoint, member: MemberView, name: Name) -> Iterator[Record]:
    """The records of the slices of a service; of two of one name the last counts."""
    if not member.drained and view.snapshot.record(member.cluster_id, *name) is not None:
        for piece in sorted(member._store.own_slices(name), key=lambda each: each.name):
            yield endpoints_record(member.name, member.cluster_id, piece)


@attrs.frozen
class PublishedPod:
    """
    What others may know of a pod.

    Attributes:
        number: Of its identity.
        labels: Of its identity, where it is published because of the pod.
        addresses: Its records.
    """

    number: int
    labels: LabelSet | None
    addresses: tuple[IpRecord, ...]


def pod_of(view: Viewpoint, member: MemberView, name: Name) -> PublishedPod | None:
    """
    A pod by name, if others may know of it. One whose labels no number is left for is nobody to others: a
    number that they don't know would not be better.
    """
    if member.drained or not namespace_global(member, name[0]):
        return None
    store = member._store
    claim = claim_of(store, name)
    if claim is not None:
        return PublishedPod(UNNUMBERED, None, tuple(claimed_ips(member, name, claim)))
    labels, pod = store.identity_of.group(name[0]).get(name[1]), store.pods.group(name[0]).get(name[1])
    if labels is None or pod is None or store.identities[labels].number == UNNUMBERED:
        return None
    number = member.cluster_id << view.identity_bits | store.identities[labels].number
    node = store.nodes.get(pod.template.node_name)
    hosts = () if node is None else (text for kind, text in node.addresses if kind == "InternalIP")
    addresses = ip_records(member.name, member.cluster_id, number, pod, next(iter(hosts), ""))
    return PublishedPod(number, labels if addresses else None, addresses)


def pods_of(view: Viewpoint, member: MemberView) -> Iterator[tuple[Name, PublishedPod]]:
    """All of them, by name."""
    store = member._store
    for namespace in sorted({*store.pods, *store.claims}):
        for name in sorted({*store.pods.group(namespace), *store.claims.group(namespace)}):
            pod = pod_of(view, member, (namespace, name))
            if pod is not None:
                yield (namespace, name), pod


def _identities(view: Viewpoint, member: MemberView) -> Iterator[Record]:
    texts = dict(published_identities(member))
    for _, pod in pods_of(view, member):
        if pod.labels is not None:
            texts[pod.number] = pod.labels
    for number in sorted(texts):
        yield identity_record(member.name, member.cluster_id, number, labels_text(texts[number]))


def _ips(view: Viewpoint, member: MemberView) -> Iterator[Record]:
    """Of an address that several pods claim, the first by name has it, as after a restart of Cilium."""
    found: dict[str, Record] = {}
    for _, pod in pods_of(view, member):
        for record in pod.addresses:
            found.setdefault(record.address, record)
    return (record for _, record in sorted(found.items()))


def _exports(_: Viewpoint, member: MemberView) -> Iterator[Record]:
    for name in sorted(member._store.exports):
        yield from export_of(member, name)


def export_of(member: MemberView, name: Name) -> Iterator[Record]:
    """The record of a ServiceExport, where it is valid."""
    export, service = member._store.exports.get(name), member._store.service(*name)
    if export is None or service is None:
        return
    gate = namespace_global(member, name[0])
    if not invalid_export(member.name, export, service, namespace_global=gate):
        yield export_record(member.name, service, export)


_KINDS: Mapping[str, Callable[[Viewpoint, MemberView], Iterator[Record]]] = {
    "node": _nodes,
    "service": _services,
    "endpoints": _endpoints,
    "identity": _identities,
    "ip": _ips,
    "export": _exports,
}
