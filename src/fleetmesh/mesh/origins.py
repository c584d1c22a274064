"""
Where an object was read, everywhere that it is kept: an equal object that has moved in its file is no
event to the mesh, yet what is told of it names its new line.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, TypeVar

import attrs

from fleetmesh.resources.model import (
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
    from fleetmesh.mesh.change import Change
    from fleetmesh.mesh.member import Member
    from fleetmesh.mesh.store import Key

K = TypeVar("K")
N = TypeVar("N")
R = TypeVar("R", bound=Resource)


def renew(change: Change, member: Member, resource: Resource) -> None:
    """Put an object in the place of an equal one, and its origin on what was made of that."""
    store, journal = member._store, change.journal
    namespace, name = resource.namespace, resource.name
    match resource:
        case Namespace():
            journal.put(store.namespaces, name, resource)
        case Node():
            journal.put(store.nodes, name, resource)
        case Pod():
            journal.put_in(store.declared_pods, namespace, name, resource)
            _move(change, store.pods, namespace, name, resource)
        case Workload():
            journal.put_in(store.workloads, namespace, f"{resource.kind}/{name}", resource)
            made = store.expanded.get(resource.key, ())
            for pod in made:
                _move(change, store.pods, namespace, pod, resource)
            _renew_trouble(change, member, (("Pod", namespace, pod) for pod in made), resource)
        case Service():
            journal.put_in(store.services, namespace, name, resource)
            _move(change, store.in_force, namespace, name, resource)
            if resource.selector:
                _renew_derived(change, member, resource)
        case EndpointSlice():
            journal.put_in(store.slices, (namespace, resource.service), name, resource)
        case Endpoints():
            journal.put(store.endpoints, (namespace, name), resource)
            service = store.service(namespace, name)
            if service is not None and not service.selector:
                _renew_derived(change, member, resource)
        case ServiceExport():
            journal.put(store.exports, (namespace, name), resource)
            change.touch(member).exported.add((namespace, name))
        case PolicyObject():
            journal.put(store.policies, resource.key, resource)
        case UnknownKind():
            kind = f"{resource.kind} {resource.api_version}"
            journal.put_in(store.unknown, kind, f"{namespace}/{name}", resource)
    _renew_trouble(change, member, [resource.key], resource)


def _move(change: Change, kept: dict[K, dict[N, R]], outer: K, name: N, source: Resource) -> None:
    """Give what is kept under a name the origin of what it was made of."""
    old = kept.get(outer, {}).get(name)
    if old is not None:
        change.journal.put_in(kept, outer, name, attrs.evolve(old, origin=source.origin))


def _renew_derived(change: Change, member: Member, source: Service | Endpoints) -> None:
    """The slices that were made of a Service and its pods, or of Endpoints."""
    derived, name = member._store.derived, (source.namespace, source.name)
    for piece in tuple(derived.get(name, ())):
        _move(change, derived, name, piece, source)


def _renew_trouble(change: Change, member: Member, keys: Iterable[Key], source: Resource) -> None:
    trouble = member._store.trouble
    for key in keys:
        for topic in ("address", "nodes"):
            said = trouble.get((topic, key))
            if said is not None:
                change.trouble(member, (topic, key), attrs.evolve(said, where=source.origin))
