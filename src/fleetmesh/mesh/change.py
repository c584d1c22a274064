"""
One transaction: objects come in, arrivals at the core go out, all or nothing.

Objects are taken one after the other, and what one says by itself goes to the core at once, so that
revisions follow the order given. What follows from several (pods of workloads, slices of pods,
imports) is worked out at the end, by `Controllers` and `Imports`, from what was touched.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any, TypeVar

import attrs

from fleetmesh.errors import RangeExhaustedError
from fleetmesh.findings import Finding, finding
from fleetmesh.identity import Allocations, Holder, Ranges, What
from fleetmesh.identity.ranges import WHATS
from fleetmesh.mesh import bulk
from fleetmesh.mesh.controllers import Controllers
from fleetmesh.mesh.dirty import Dirty
from fleetmesh.mesh.facts import families_of, namespace_global
from fleetmesh.mesh.imports import Imports
from fleetmesh.mesh.journal import Journal
from fleetmesh.mesh.limits import check_self_managed
from fleetmesh.mesh.store import key_in_store
from fleetmesh.mesh.validity import objection
from fleetmesh.resources.model import (
    CiliumConfig,
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
from fleetmesh.services.addressing import (
    address_services,
    declared_cluster_ips,
    declared_node_addresses,
    key_of,
    missing_families,
)
from fleetmesh.services.annotations import (
    ServiceAnnotations,
    namespace_findings,
    slice_weight,
)
from fleetmesh.services.endpoints import slice_arguments
from fleetmesh.services.frontends import compile_service
from fleetmesh.services.workloads import ZONE

if TYPE_CHECKING:
    from fleetmesh._core import Snapshot, Transaction
    from fleetmesh.mesh.member import Member
    from fleetmesh.mesh.store import Key, Name


R = TypeVar("R", bound=Resource)


@attrs.define(eq=False, repr=False)
class Change:
    """
    A transaction under way.

    Attributes:
        members: Name -> member, of the whole mesh: an address that one declares may be taken from another.
        snapshot: The state before.
        linked: Whether two members, by name, hear each other.
        exporters: Namespace and name -> the members that have a ServiceExport of it.
    """

    core: Transaction
    snapshot: Snapshot
    allocations: Allocations
    members: Mapping[str, Member]
    linked: Callable[[str, str], bool]
    exporters: dict[Name, frozenset[str]]
    journal: Journal = attrs.field(factory=Journal)
    dirty: dict[str, Dirty] = attrs.field(factory=dict)
    _everything_heard: bool = attrs.field(default=False, init=False)

    # What users ask for

    def apply(self, member: Member, resources: Iterable[Resource], said: Iterable[Finding] = ()) -> None:
        """Upsert, in order. `said` are the findings of the source; those about an object go with it."""
        self._apply(member, tuple(resources), "", tuple(said))

    def delete(self, member: Member, resources: Iterable[Resource]) -> None:
        """Remove, in order."""
        for resource in resources:
            self._remove(member, key_in_store(resource))

    def replace(
        self, member: Member, resources: Iterable[Resource], source: str, said: Iterable[Finding] = ()
    ) -> None:
        """
        Upsert what a source gives, and remove what it gave and doesn't any more.

        Where a document could not be read nothing is removed: what it held before stays in force.
        """
        given, said = tuple(resources), tuple(said)
        unread = any(each.code == "manifest-problem" for each in said)
        keep = {key_in_store(resource) for resource in given}
        check_self_managed(member.name, given)
        for key in list(member._store.sources.get(source, ())):
            if key not in keep and not unread:
                self._remove(member, key)
        self._apply(member, given, source, said)

    def drain(self, member: Member) -> None:
        """Take every endpoint out of the core."""
        store = member._writable()
        if store.drained:
            return
        for name, slices in store.slices.items():
            for piece in slices:
                self.core.remove_slice(member.cluster_id, *name, piece)
        for name, slices in list(store.derived.items()):
            for piece in slices:
                self.core.remove_slice(member.cluster_id, *name, piece)
            self.journal.drop(store.derived, name)
            self._touch(member).exported.add(name)
        bulk.set_aside(self, member)
        self.journal.put(store.flags, "drained", True)

    def fail(self, member: Member) -> None:
        """Cut it off; whom everybody hears is set by the mesh."""
        self.journal.put(member._writable().flags, "failed", True)

    def restore(self, member: Member) -> None:
        """Bring back what `drain` took away; whom everybody hears is set by the mesh."""
        store = member._writable()
        self.journal.drop(store.flags, "failed")
        if not self.journal.drop(store.flags, "drained"):
            return
        for slices in store.slices.values():
            for piece in slices.values():
                self._send_slice(member, piece)
        bulk.bring_back(self, member)
        dirty = self._touch(member)
        dirty.slices.update(
            (namespace, name) for namespace, found in store.services.items() for name in found
        )
        dirty.exported.update(dirty.slices)

    def send_all(self, member: Member) -> None:
        """Say again to the core what a member that joins has, in the order in which it came."""
        store = member._writable()
        for node in store.nodes.values():
            self._declare(member, "node", declared_node_addresses(node))
        for pods in store.declared_pods.values():
            for pod in pods.values():
                self._declare(member, "pod", _own_addresses(pod))
        for namespace in store.services.values():
            for service in namespace.values():
                self._declare(member, "service", declared_cluster_ips(service))
        dirty = self._touch(member)
        dirty.everything(store)
        for resource in list(store.resources.values()):
            match resource:
                case Node():
                    self.core.set_node(member.cluster_id, resource.name, resource.labels.get(ZONE, ""))
                case Service():
                    self.send_service(member, resource.namespace, resource.name)
                case EndpointSlice():
                    self._send_slice(member, resource)
                case ServiceExport():
                    self._export(member, (resource.namespace, resource.name), present=True)

    def take_back(self, member: Member) -> None:
        """Give back what a member that leaves was given; its objects stay with it."""
        store = member._writable()
        for name in list(store.exports):
            self._export(member, name, present=False)
        for node in store.nodes.values():
            self.allocations.withdraw(member.name, "node", declared_node_addresses(node))
        for pods in store.declared_pods.values():
            for pod in pods.values():
                self.allocations.withdraw(member.name, "pod", _own_addresses(pod))
        for services in store.services.values():
            for service in services.values():
                self.allocations.withdraw(member.name, "service", declared_cluster_ips(service))
        for name in list(store.imports):
            Imports(self).forget(member, name)
        made: tuple[dict[Any, Any], ...] = (store.derived, store.pods, store.in_force, store.expanded)
        for kept in made:
            for key in list(kept):
                self.journal.drop(kept, key)
        self.allocations.forget(member.name)
        self.dirty.pop(member.name, None)

    def update(self, member: Member, resource: Resource) -> None:
        """Upsert one object; it stays its source's."""
        check_self_managed(member.name, [resource])
        member._writable()
        source = member._store.source_of.get(key_in_store(resource), "")
        self._upsert(member, resource, source, ())

    def set_ranges(self, member: Member, ranges: Ranges) -> None:
        """Change a member's ranges; what was given out of others is given anew."""
        self.journal.set(member, "ranges", ranges)
        for what in WHATS:
            self._lost(self.allocations.set_ranges(member.name, what, ranges.of(what)))
        # What found no address in the old ranges may find one now.
        if any(topic == "address" for topic, _ in member._store.trouble):
            self._touch(member).everything(member._store)

    def plan_imports(self) -> None:
        """Who hears whom has changed: plan every import at the end."""
        self._everything_heard = True

    def finish(self) -> None:
        """Work out what follows from all that was touched."""
        Controllers(self).run()
        Imports(self).run(everything=self._everything_heard)

    def drop(self) -> None:
        """Take everything back. The change is of no use afterwards."""
        self.journal.roll_back()
        # The core has one transaction at a time, and an exception's traceback keeps this object alive.
        del self.core

    # One object at a time

    def _apply(
        self, member: Member, resources: tuple[Resource, ...], source: str, said: tuple[Finding, ...]
    ) -> None:
        check_self_managed(member.name, resources)
        store = member._writable()
        about: dict[str, list[Finding]] = {}
        for each in said:
            about.setdefault(each.subject, []).append(each)
        seen: dict[Key, Resource] = {}
        for resource in resources:
            notes = about.pop(resource.subject, [])
            earlier = seen.get(resource.key)
            if earlier is not None and not isinstance(resource, UnknownKind):
                notes.append(_duplicate(earlier, resource))
            seen[resource.key] = resource
            self._upsert(member, resource, source, notes)
        rest = tuple(each for notes in about.values() for each in notes)
        if rest:
            self.journal.put(store.source_findings, source, rest)
        else:
            self.journal.drop(store.source_findings, source)

    def _upsert(self, member: Member, resource: Resource, source: str, notes: Iterable[Finding]) -> None:
        store, key = member._store, key_in_store(resource)
        old = store.resources.get(key)
        wrong = objection(resource)
        if wrong:
            message = f"it is not in force: {wrong}"
            said = finding("invalid-resource", resource.subject, message, where=resource.origin)
            self._note(member, key, (*notes, said))
            return
        self._drop_source(member, key)
        self.journal.put(store.source_of, key, source)
        self.journal.put_in(store.sources, source, key, None)
        own = (*notes, *_findings_of(resource))
        self._note(member, key, own)
        if old == resource:
            # The same again is no event; only where it was read may have changed.
            self.journal.put(store.resources, key, resource)
            return
        self._route(member, old, resource)
        self.journal.drop(store.resources, key)
        self.journal.put(store.resources, key, resource)
        if old is None and resource.namespace:
            self._count_namespace(member, resource.namespace, 1)

    def _remove(self, member: Member, key: Key) -> None:
        store = member._writable()
        old = store.resources.get(key)
        if old is None:
            return
        self._drop_source(member, key)
        self.journal.drop(store.source_of, key)
        self.journal.drop(store.findings, key)
        self.journal.drop(store.resources, key)
        self._route(member, old, None)
        if old.namespace:
            self._count_namespace(member, old.namespace, -1)

    def _drop_source(self, member: Member, key: Key) -> None:
        store = member._store
        self.journal.drop_in(store.sources, store.source_of.get(key, ""), key)

    def _note(self, member: Member, key: Key, found: tuple[Finding, ...]) -> None:
        if found:
            self.journal.put(member._store.findings, key, found)
        else:
            self.journal.drop(member._store.findings, key)

    def _count_namespace(self, member: Member, namespace: str, step: int) -> None:
        used = member._store.used_namespaces
        count = used.get(namespace, 0) + step
        if count:
            self.journal.put(used, namespace, count)
        else:
            self.journal.drop(used, namespace)
        if count == max(step, 0):  # the first came, or the last went
            self._touch(member).namespaces.add(namespace)

    def _route(self, member: Member, old: Resource | None, new: Resource | None) -> None:
        """To what the kind is for. One of the two is there, and both are of one class."""
        said = new if new is not None else old
        match said:
            case Namespace():
                self._namespace(member, said, present=new is not None)
            case Node():
                self._node(member, _as(Node, old), _as(Node, new))
            case Pod():
                self._pod(member, _as(Pod, old), _as(Pod, new))
            case Workload():
                self._workload(member, said, _as(Workload, new))
            case Service():
                self.service(member, _as(Service, old), _as(Service, new))
            case EndpointSlice():
                self.slice(member, _as(EndpointSlice, old), _as(EndpointSlice, new))
            case Endpoints():
                self._endpoints(member, said, present=new is not None)
            case ServiceExport():
                self._service_export(member, said, present=new is not None)
            case PolicyObject():
                self._keep(member._store.policies, said.key, said, present=new is not None)
            case UnknownKind():
                self._unknown(member, said, present=new is not None)
            case CiliumConfig() | ClusterMeshSecret():
                pass  # what they say about a mesh of their own was checked before

    def _namespace(self, member: Member, namespace: Namespace, *, present: bool) -> None:
        store = member._store
        self._keep(store.namespaces, namespace.name, namespace, present=present)
        for name in list(store.services.get(namespace.name, ())):
            self.send_service(member, namespace.name, name)
        self._touch(member).namespaces.add(namespace.name)

    def _node(self, member: Member, old: Node | None, new: Node | None) -> None:
        store = member._store
        if old is not None:
            self.allocations.withdraw(member.name, "node", declared_node_addresses(old))
        if new is None:
            assert old is not None
            self.journal.drop(store.nodes, old.name)
            self.core.remove_node(member.cluster_id, old.name)
            self.allocations.release(member.name, "node", [old.name])
        else:
            self.journal.put(store.nodes, new.name, new)
            self.core.set_node(member.cluster_id, new.name, new.labels.get(ZONE, ""))
            self._declare(member, "node", declared_node_addresses(new))
            if declared_node_addresses(new):
                self.allocations.release(member.name, "node", [new.name])
        self._touch(member).nodes = True

    def _pod(self, member: Member, old: Pod | None, new: Pod | None) -> None:
        store, dirty = member._store, self._touch(member)
        if old is not None:
            self.allocations.withdraw(member.name, "pod", _own_addresses(old))
            dirty.declared_pods.append(old)
        if new is None:
            assert old is not None
            self.journal.drop_in(store.declared_pods, old.namespace, old.name)
        else:
            self.journal.put_in(store.declared_pods, new.namespace, new.name, new)
            self._declare(member, "pod", _own_addresses(new))
            dirty.declared_pods.append(new)

    def _workload(self, member: Member, said: Workload, new: Workload | None) -> None:
        store, dirty = member._store, self._touch(member)
        name = f"{said.kind}/{said.name}"
        if new is None:
            self.journal.drop_in(store.workloads, said.namespace, name)
        else:
            self.journal.put_in(store.workloads, said.namespace, name, new)
        dirty.workloads.add(said.key)
        if said.kind == "ReplicaSet":
            dirty.workloads.update(
                each.key
                for each in store.workloads.get(said.namespace, {}).values()
                if each.kind == "Deployment"
            )

    def service(self, member: Member, old: Service | None, new: Service | None) -> None:
        """A Service, declared or derived of an import, comes, changes or goes."""
        store = member._store
        if old is not None:
            self.allocations.withdraw(member.name, "service", declared_cluster_ips(old))
        said = new if new is not None else old
        assert said is not None
        if new is None:
            self.journal.drop_in(store.services, said.namespace, said.name)
            self.journal.drop_in(store.in_force, said.namespace, said.name)
            self.allocations.release(member.name, "service", [key_of(said)])
            self._trouble(member, ("address", said.key), None)
            self.core.remove_service(member.cluster_id, said.namespace, said.name)
        else:
            self.journal.put_in(store.services, new.namespace, new.name, new)
            self._declare(member, "service", declared_cluster_ips(new))
            self.send_service(member, new.namespace, new.name)
        dirty = self._touch(member)
        dirty.slices.add((said.namespace, said.name))
        dirty.exported.add((said.namespace, said.name))

    def slice(self, member: Member, old: EndpointSlice | None, new: EndpointSlice | None) -> None:
        """A slice, declared or mirrored for an import, comes, changes or goes."""
        store = member._store
        for name in {(each.namespace, each.service) for each in (old, new) if each is not None}:
            # Before the first declared one arrives, what it replaces goes; after the last, it comes back.
            if new is not None and name in store.derived:
                self.drop_derived(member, name)
            self._touch(member).slices.add(name)
            self._touch(member).exported.add(name)
        if old is not None:
            name = (old.namespace, old.service)
            self.journal.drop_in(store.slices, name, old.name)
            gone = new is None or new.service != old.service or slice_arguments(new) is None
            if gone and old.service and not store.drained:
                self.core.remove_slice(member.cluster_id, *name, old.name)
        if new is not None:
            self.journal.put_in(store.slices, (new.namespace, new.service), new.name, new)
            self._send_slice(member, new)

    def _endpoints(self, member: Member, said: Endpoints, *, present: bool) -> None:
        name = (said.namespace, said.name)
        self._keep(member._store.endpoints, name, said, present=present)
        self._touch(member).slices.add(name)

    def _service_export(self, member: Member, said: ServiceExport, *, present: bool) -> None:
        name = (said.namespace, said.name)
        self._keep(member._store.exports, name, said, present=present)
        self._export(member, name, present=present)

    def _export(self, member: Member, name: Name, *, present: bool) -> None:
        known = self.exporters.get(name, frozenset())
        left = known | {member.name} if present else known - {member.name}
        self._keep(self.exporters, name, left, present=bool(left))
        self._touch(member).exported.add(name)

    def _unknown(self, member: Member, said: UnknownKind, *, present: bool) -> None:
        kind, name = f"{said.kind} {said.api_version}", f"{said.namespace}/{said.name}"
        if present:
            self.journal.put_in(member._store.unknown, kind, name, said)
        else:
            self.journal.drop_in(member._store.unknown, kind, name)

    # To the core

    def send_service(self, member: Member, namespace: str, name: str) -> None:
        """Give a Service what it lacks, and tell the core of it."""
        store = member._store
        service = store.services[namespace][name]
        families = families_of(member, member.ranges.service_cidrs)
        if not missing_families(service, families):
            self.allocations.release(member.name, "service", [key_of(service)])
        try:
            (given,) = address_services([service], member.name, self.allocations, families)
            self._trouble(member, ("address", service.key), None)
        except RangeExhaustedError as error:
            given = service
            said = finding("range-exhausted", service.subject, str(error), where=service.origin)
            self._trouble(member, ("address", service.key), said)
        if store.service(namespace, name) != given:
            self.journal.put_in(store.in_force, namespace, name, given)
        spec = compile_service(
            given,
            namespace_global=namespace_global(member, namespace),
            enable_ipv6=member.settings.enable_ipv6,
            nodes=store.nodes.values(),
        )
        self.core.set_service(member.cluster_id, namespace, name, spec.to_core())

    def _send_slice(self, member: Member, piece: EndpointSlice) -> None:
        given = slice_arguments(piece)
        if given is not None and piece.service and not member._store.drained:
            self.core.set_slice(member.cluster_id, piece.namespace, piece.service, piece.name, *given)

    def set_derived(self, member: Member, name: Name, wanted: Iterable[EndpointSlice]) -> bool:
        """Make the slices that a service's controllers write these; whether that changed anything."""
        store = member._store
        new = {piece.name: piece for piece in wanted}
        old = store.derived.get(name, {})
        if new == old:
            return False
        for piece in sorted(old.keys() - new.keys()):
            self.core.remove_slice(member.cluster_id, *name, piece)
        for key in sorted(new):
            given = slice_arguments(new[key])
            if new[key] != old.get(key) and given is not None:
                endpoints, ports, weight = given
                self.core.set_slice(member.cluster_id, *name, key, endpoints, ports, weight)
        self._keep(store.derived, name, new, present=bool(new))
        return True

    def drop_derived(self, member: Member, name: Name) -> None:
        """Take away what a service's controllers wrote."""
        self.set_derived(member, name, ())

    # Addresses

    def _declare(self, member: Member, what: What, addresses: Iterable[str]) -> None:
        self._lost(self.allocations.declare(member.name, what, addresses))

    def _lost(self, holders: Iterable[Holder]) -> None:
        """Who lost an address to a declared one gets another in this transaction."""
        for holder in holders:
            member = self.members.get(holder.member)
            if member is None:
                continue
            dirty = self._touch(member)
            if holder.what == "node":
                dirty.nodes = True
            elif holder.what == "pod":
                dirty.pods.add(_service_of(holder.key))
            else:
                dirty.readdressed.add(_service_of(holder.key))

    # Bookkeeping

    def trouble(self, member: Member, topic: tuple[str, Key], found: Finding | None) -> None:
        """Set or clear what working something out had to say."""
        self._trouble(member, topic, found)

    def _trouble(self, member: Member, topic: tuple[str, Key], found: Finding | None) -> None:
        if found is not None:
            self.journal.put(member._store.trouble, topic, found)
        elif topic in member._store.trouble:
            self.journal.drop(member._store.trouble, topic)

    def _keep(self, mapping: dict[Any, Any], key: object, value: object, *, present: bool) -> None:
        if present:
            self.journal.put(mapping, key, value)
        else:
            self.journal.drop(mapping, key)

    def _touch(self, member: Member) -> Dirty:
        """What is to be worked out for a member; its store is then one that may be written."""
        member._writable()
        return self.dirty.setdefault(member.name, Dirty())


def _own_addresses(pod: Pod) -> tuple[str, ...]:
    """Of a pod on the host network they are the node's."""
    return () if pod.template.host_network else pod.addresses


def _service_of(key: str) -> Name:
    namespace, _, name = key.partition("/")
    return (namespace, name)


def _as(kind: type[R], resource: Resource | None) -> R | None:
    assert resource is None or isinstance(resource, kind)
    return resource


def _duplicate(earlier: Resource, later: Resource) -> Finding:
    places = tuple(str(each.origin) for each in (earlier, later) if each.origin is not None)
    message = "declared twice in one source; the later one is in force"
    return finding("duplicate-object", later.subject, message, places, later.origin)


def _findings_of(resource: Resource) -> tuple[Finding, ...]:
    """What is to be said about an object by itself."""
    match resource:
        case Service():
            return ServiceAnnotations.of(resource).findings
        case Namespace():
            return namespace_findings(resource)
        case EndpointSlice():
            return slice_weight(resource)[1]
    return ()
