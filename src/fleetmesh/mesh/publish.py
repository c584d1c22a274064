"""
The publish step: what a member lets others know of itself.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, TypeAlias

from fleetmesh.mesh.facts import namespace_global
from fleetmesh.records import (
    EndpointsRecord,
    ExportRecord,
    IdentityRecord,
    IpRecord,
    NodeRecord,
    ServiceRecord,
    endpoints_record,
    export_record,
    identity_labels,
    identity_record,
    ip_records,
    node_record,
    service_record,
)
from fleetmesh.resources.model import Pod
from fleetmesh.services.mcs import invalid_export

if TYPE_CHECKING:
    from fleetmesh._core import Snapshot
    from fleetmesh.mesh.viewpoint import MemberView, Viewpoint

Record: TypeAlias = NodeRecord | ServiceRecord | EndpointsRecord | IdentityRecord | IpRecord | ExportRecord


def records_of(view: Viewpoint, name: str, kind: str | None) -> tuple[Record, ...]:
    """
    The records of a member, of one kind or all.

    Raises:
        ValueError: There is no such kind.
    """
    snapshot, member = view.snapshot, view.members[name]
    if kind is None:
        return tuple(record for publish in _KINDS.values() for record in publish(snapshot, member))
    if kind not in _KINDS:
        raise ValueError(f"record kind {kind!r}; expected one of {', '.join(_KINDS)}")
    return tuple(_KINDS[kind](snapshot, member))


def _nodes(_: Snapshot, member: MemberView) -> Iterator[Record]:
    for _name, node in sorted(member._store.nodes.items()):
        yield node_record(member.name, member.cluster_id, node)


def _services(snapshot: Snapshot, member: MemberView) -> Iterator[Record]:
    for namespace, name in snapshot.services(member.cluster_id):
        service = member._store.service(namespace, name)
        exported = snapshot.record(member.cluster_id, namespace, name)
        if service is not None and exported is not None:
            yield service_record(member.name, member.cluster_id, service, exported)


def _endpoints(snapshot: Snapshot, member: MemberView) -> Iterator[Record]:
    if member.drained:
        return
    for namespace, name in snapshot.services(member.cluster_id):
        if snapshot.record(member.cluster_id, namespace, name) is not None:
            for piece in sorted(member._store.own_slices((namespace, name)), key=lambda each: each.name):
                yield endpoints_record(member.name, member.cluster_id, piece)


def _published_pods(member: MemberView) -> Iterator[Pod]:
    if member.drained:
        return
    for namespace, pods in sorted(member._store.pods.items()):
        if namespace_global(member, namespace):
            yield from (pods[name] for name in sorted(pods))


def _identities(_: Snapshot, member: MemberView) -> Iterator[Record]:
    namespaces = member._store.namespaces
    keys = {
        identity_labels(member.name, pod, namespaces.get(pod.namespace))
        for pod in _published_pods(member)
        if ip_records(member.name, member.cluster_id, pod, namespaces.get(pod.namespace))
    }
    for labels in sorted(keys):
        yield identity_record(member.name, member.cluster_id, labels)


def _ips(_: Snapshot, member: MemberView) -> Iterator[Record]:
    for pod in _published_pods(member):
        yield from ip_records(
            member.name, member.cluster_id, pod, member._store.namespaces.get(pod.namespace)
        )


def _exports(_: Snapshot, member: MemberView) -> Iterator[Record]:
    store = member._store
    for (namespace, name), export in sorted(store.exports.items()):
        service, gate = store.service(namespace, name), namespace_global(member, namespace)
        if service is not None and not invalid_export(member.name, export, service, namespace_global=gate):
            yield export_record(member.name, service, export)


_KINDS: Mapping[str, Callable[[Snapshot, MemberView], Iterator[Record]]] = {
    "node": _nodes,
    "service": _services,
    "endpoints": _endpoints,
    "identity": _identities,
    "ip": _ips,
    "export": _exports,
}
