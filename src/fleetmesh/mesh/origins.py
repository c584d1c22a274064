"""
Where an object was read, everywhere that it is kept: an equal object that has moved in its file is no
event to the mesh, yet what is told of it names its new line.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable
from typing import TYPE_CHECKING, TypeVar

import attrs

from fleetmesh.resources.model import (
    CiliumNode,
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

if TYPE_CHECKING:
    from fleetmesh.identity.cow import CowGroups
    from fleetmesh.mesh.change import Change
    from fleetmesh.mesh.member import Member
    from fleetmesh.mesh.store import Key, Store

K = TypeVar("K", bound=Hashable)
N = TypeVar("N", bound=Hashable)
R = TypeVar("R", bound=Resource)


def renew(change: Change, member: Member, resource: Resource) -> None:
    """Put an object in the place of an equal one, and its origin on what was made of that."""
    store = change.store(member)
    namespace, name = resource.namespace, resource.name
    match resource:
        case Namespace():
            store.namespaces[name] = resource
        case Node() | CiliumNode():
            _renew_node(store, resource)
        case Pod():
            store.declared_pods.put(namespace, name, resource)
            _move(store.running, namespace, name, resource)
        case Workload():
            store.workloads.put(namespace, f"{resource.kind}/{name}", resource)
            made = store.expanded.get(resource.key, ())
            for pod in made:
                _move(store.running, namespace, pod, resource)
            _renew_trouble(change, member, (("Pod", namespace, pod) for pod in made), resource)
        case Service():
            store.services.put(namespace, name, resource)
            _move(store.in_force, namespace, name, resource)
            if resource.selector:
                _renew_derived(change, member, resource)
        case EndpointSlice():
            store.slices.put((namespace, resource.service), name, resource)
        case Endpoints():
            store.endpoints[(namespace, name)] = resource
            service = store.service(namespace, name)
            if service is not None and not service.selector:
                _renew_derived(change, member, resource)
        case ServiceExport():
            store.exports[(namespace, name)] = resource
            change.touch(member).exported.add((namespace, name))
        case PolicyObject():
            store.policies[resource.key] = resource
            change.touch(member).moved_policies.add(resource.key)
        case UnknownKind():
            kind = f"{resource.kind} {resource.api_version}"
            store.unknown.put(kind, f"{namespace}/{name}", resource)
    _renew_trouble(change, member, [resource.key], resource)


def _renew_node(store: Store, node: Node | CiliumNode) -> None:
    if isinstance(node, Node):
        store.nodes[node.name] = node
    else:
        store.cilium_nodes[node.name] = node
        if ("Node", "", node.name) not in store.resources:
            store.nodes[node.name] = attrs.evolve(store.nodes[node.name], origin=node.origin)


def _move(kept: CowGroups[K, N, R], outer: K, name: N, source: Resource) -> None:
    """Give what is kept under a name the origin of what it was made of."""
    old = kept.group(outer).get(name)
    if old is not None:
        kept.put(outer, name, attrs.evolve(old, origin=source.origin))


def _renew_derived(change: Change, member: Member, source: Service | Endpoints) -> None:
    """The slices that were made of a Service and its pods, or of Endpoints."""
    derived, name = change.store(member).derived, (source.namespace, source.name)
    for piece in tuple(derived.get(name, ())):
        _move(derived, name, piece, source)


def _renew_trouble(change: Change, member: Member, keys: Iterable[Key], source: Resource) -> None:
    trouble = change.store(member).trouble
    for key in keys:
        for topic in ("address", "nodes"):
            said = trouble.get((topic, key))
            if said is not None:
                change.trouble(member, (topic, key), attrs.evolve(said, where=source.origin))
