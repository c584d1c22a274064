"""
What each kind of object is for: what one says by itself goes to the core, and what follows from it is
marked to be worked out.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from fleetmesh.mesh import cilium_objects
from fleetmesh.mesh.policies import hangs_on_services, may_conflict
from fleetmesh.mesh.sending import (
    declare,
    drop_derived,
    own_addresses,
    send_service,
    send_slice,
)
from fleetmesh.resources.model import (
    CiliumConfig,
    CiliumEndpoint,
    CiliumEndpointSlice,
    CiliumIdentity,
    CiliumNode,
    ClusterMeshSecret,
    Endpoints,
    EndpointSlice,
    Namespace,
    Node,
    Pod,
    PolicyObject,
    Resource,
    Service,
    ServiceExport,
    UnknownKind,
    Workload,
)
from fleetmesh.services.addressing import declared_cluster_ips, declared_node_addresses, key_of
from fleetmesh.services.endpoints import slice_arguments
from fleetmesh.services.workloads import ZONE

if TYPE_CHECKING:
    from fleetmesh.mesh.change import Change
    from fleetmesh.mesh.member import Member
    from fleetmesh.mesh.store import Name

R = TypeVar("R", bound=Resource)


def route(change: Change, member: Member, old: Resource | None, new: Resource | None) -> None:
    """To what the kind is for. One of the two is there, and both are of one class."""
    said = new if new is not None else old
    match said:
        case Namespace():
            _namespace(change, member, said, present=new is not None)
        case Node() | CiliumNode():
            _some_node(change, member, said, present=new is not None)
        case CiliumIdentity() | CiliumEndpoint() | CiliumEndpointSlice():
            cilium_objects.take(change, member, said, present=new is not None)
        case Pod():
            _pod(change, member, _as(Pod, old), _as(Pod, new))
        case Workload():
            _workload(change, member, said, _as(Workload, new))
        case Service():
            set_service(change, member, _as(Service, old), _as(Service, new))
        case EndpointSlice():
            set_slice(change, member, _as(EndpointSlice, old), _as(EndpointSlice, new))
        case Endpoints():
            _endpoints(change, member, said, present=new is not None)
        case ServiceExport():
            _service_export(change, member, said, present=new is not None)
        case PolicyObject():
            store = change.store(member)
            store.policies.keep(said.key, said, present=new is not None)
            store.asking.keep(said.key, None, present=new is not None and may_conflict(said))
            store.on_services.keep(said.key, None, present=new is not None and hangs_on_services(said))
            change.touch(member).policies = True
            change.touch(member).policy_objects.add(said.key)
        case UnknownKind():
            _unknown(change, member, said, present=new is not None)
        case CiliumConfig() | ClusterMeshSecret():
            pass  # what they say about a mesh of their own was checked before


def _namespace(change: Change, member: Member, namespace: Namespace, *, present: bool) -> None:
    store = change.store(member)
    store.namespaces.keep(namespace.name, namespace, present=present)
    for name in list(store.services.group(namespace.name)):
        send_service(change, member, namespace.name, name)
    change.touch(member).namespaces.add(namespace.name)


def _some_node(change: Change, member: Member, said: Node | CiliumNode, *, present: bool) -> None:
    if isinstance(said, Node):
        _node(change, member, said.name, said if present else None)
        return
    store = change.store(member)
    store.cilium_nodes.keep(said.name, said, present=present)
    if ("Node", "", said.name) not in store.resources:
        _node(change, member, said.name, None)


def _node(change: Change, member: Member, name: str, declared: Node | None) -> None:
    """A Node comes, changes or goes; without one, what its CiliumNode says stands in its place."""
    store = change.store(member)
    old = store.nodes.get(name)
    new = declared if declared is not None else cilium_objects.stand_in_node(store, name)
    if old is not None:
        change.allocations.withdraw(member.name, "node", declared_node_addresses(old))
    if new is None:
        store.nodes.pop(name)
        change.core.remove_node(member.cluster_id, name)
        change.allocations.release(member.name, "node", [name])
    else:
        store.nodes[new.name] = new
        change.core.set_node(member.cluster_id, new.name, new.labels.get(ZONE, ""))
        declare(change, member, "node", declared_node_addresses(new))
        if declared_node_addresses(new):
            change.allocations.release(member.name, "node", [new.name])
    if (() if old is None else old.pod_cidrs) != (() if new is None else new.pod_cidrs):
        change.nodes_moved = True
    dirty = change.touch(member)
    dirty.nodes = True
    dirty.hosts.add(name)


def _pod(change: Change, member: Member, old: Pod | None, new: Pod | None) -> None:
    store, dirty = change.store(member), change.touch(member)
    if old is not None:
        change.allocations.withdraw(member.name, "pod", own_addresses(old))
        dirty.declared_pods.append(old)
    if new is None:
        assert old is not None
        store.declared_pods.pop(old.namespace, old.name)
    else:
        store.declared_pods.put(new.namespace, new.name, new)
        declare(change, member, "pod", own_addresses(new))
        dirty.declared_pods.append(new)


def _workload(change: Change, member: Member, said: Workload, new: Workload | None) -> None:
    store, dirty = change.store(member), change.touch(member)
    name = f"{said.kind}/{said.name}"
    if new is None:
        store.workloads.pop(said.namespace, name)
    else:
        store.workloads.put(said.namespace, name, new)
    dirty.workloads.add(said.key)
    if said.kind == "ReplicaSet":
        dirty.workloads.update(
            each.key for each in store.workloads.group(said.namespace).values() if each.kind == "Deployment"
        )


def set_service(change: Change, member: Member, old: Service | None, new: Service | None) -> None:
    """A Service, declared or derived of an import, comes, changes or goes."""
    store = change.store(member)
    if old is not None:
        change.allocations.withdraw(member.name, "service", declared_cluster_ips(old))
    said = new if new is not None else old
    assert said is not None
    if new is None:
        store.services.pop(said.namespace, said.name)
        store.in_force.pop(said.namespace, said.name)
        change.allocations.release(member.name, "service", [key_of(said)])
        change.trouble(member, ("address", said.key), None)
        change.core.remove_service(member.cluster_id, said.namespace, said.name)
    else:
        store.services.put(new.namespace, new.name, new)
        declare(change, member, "service", declared_cluster_ips(new))
        send_service(change, member, new.namespace, new.name)
    dirty = change.touch(member)
    dirty.slices.add((said.namespace, said.name))
    dirty.exported.add((said.namespace, said.name))


def set_slice(change: Change, member: Member, old: EndpointSlice | None, new: EndpointSlice | None) -> None:
    """A slice, declared or mirrored for an import, comes, changes or goes."""
    store = change.store(member)
    for name in {(each.namespace, each.service) for each in (old, new) if each is not None}:
        # Before the first declared one arrives, what it replaces goes; after the last, it comes back.
        if new is not None and name in store.derived:
            drop_derived(change, member, name)
        change.touch(member).slices.add(name)
        change.touch(member).exported.add(name)
    if old is not None:
        name = (old.namespace, old.service)
        store.slices.pop(name, old.name)
        gone = new is None or new.service != old.service or slice_arguments(new) is None
        if gone and old.service and not store.drained:
            change.core.remove_slice(member.cluster_id, *name, old.name)
    if new is not None:
        store.slices.put((new.namespace, new.service), new.name, new)
        send_slice(change, member, new)


def _endpoints(change: Change, member: Member, said: Endpoints, *, present: bool) -> None:
    name = (said.namespace, said.name)
    change.store(member).endpoints.keep(name, said, present=present)
    change.touch(member).slices.add(name)


def _service_export(change: Change, member: Member, said: ServiceExport, *, present: bool) -> None:
    name = (said.namespace, said.name)
    change.store(member).exports.keep(name, said, present=present)
    export(change, member, name, present=present)


def export(change: Change, member: Member, name: Name, *, present: bool) -> None:
    known = change.exporters.get(name, frozenset())
    left = known | {member.name} if present else known - {member.name}
    change.exporters.keep(name, left, present=bool(left))
    if not left:
        change.unexported.add(name)
    change.touch(member).exported.add(name)


def _unknown(change: Change, member: Member, said: UnknownKind, *, present: bool) -> None:
    kind, name = f"{said.kind} {said.api_version}", f"{said.namespace}/{said.name}"
    if present:
        change.store(member).unknown.put(kind, name, said)
    else:
        change.store(member).unknown.pop(kind, name)


def _as(kind: type[R], resource: Resource | None) -> R | None:
    assert resource is None or isinstance(resource, kind)
    return resource
