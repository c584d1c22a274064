"""
One transaction: objects come in, arrivals at the core go out, all or nothing.

Objects are taken one after the other, and what one says by itself goes to the core at once (see
`routing`), so that revisions follow the order given. What follows from several (pods of workloads,
slices of pods, imports) is worked out at the end, by `Controllers` and `Imports`, from what was touched.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import TYPE_CHECKING

import attrs

from fleetmesh.findings import Finding, finding
from fleetmesh.identity import Allocations, Ranges
from fleetmesh.identity.cow import CowGroups, CowMap
from fleetmesh.identity.ranges import WHATS
from fleetmesh.mesh import bulk, cilium_objects, membership
from fleetmesh.mesh.controllers import Controllers
from fleetmesh.mesh.dirty import Dirty
from fleetmesh.mesh.hearing import said_again, silenced
from fleetmesh.mesh.identities import identify
from fleetmesh.mesh.imports import Imports
from fleetmesh.mesh.limits import check_inside, check_self_managed
from fleetmesh.mesh.origins import renew
from fleetmesh.mesh.routing import export, route
from fleetmesh.mesh.sending import declare, lose, own_addresses, send_service, send_slice
from fleetmesh.mesh.store import key_in_store
from fleetmesh.mesh.validity import objection
from fleetmesh.resources.model import (
    CiliumNode,
    EndpointSlice,
    Namespace,
    Node,
    Resource,
    Service,
    ServiceExport,
    ServiceImport,
    UnknownKind,
)
from fleetmesh.services.addressing import (
    declared_cluster_ips,
    declared_node_addresses,
)
from fleetmesh.services.annotations import (
    ServiceAnnotations,
    namespace_findings,
    slice_weight,
)
from fleetmesh.services.mcs import declared_import
from fleetmesh.services.workloads import ZONE

if TYPE_CHECKING:
    from fleetmesh._core import Snapshot, Transaction
    from fleetmesh.mesh.member import Member
    from fleetmesh.mesh.store import Key, Name, Store
    from fleetmesh.mesh.topology import Topology
    from fleetmesh.mesh.viewpoint import Viewpoint
    from fleetmesh.policy.labels import LabelSet
    from fleetmesh.services.changes import ResourceChange


@attrs.define(eq=False, repr=False)
class Change:
    """
    A transaction under way.

    Attributes:
        members: Name -> member, of the whole mesh: an address that one declares may be taken from another.
            In order of cluster id; replaced, not changed, where one joins or leaves.
        topology: Who hears whom, of those that have not failed.
        snapshot: The state before.
        exporters: Namespace and name -> the members that have a ServiceExport of it.
        identity_bits: Of an identity's number below its cluster's id.
        strict: Whether the mesh is in mode `strict`.
        heard_anew: Whether it has changed who hears whom.
        left: The names of members that left.
        unexported: Names that lost their last exporter.
        nodes_moved: Whether the pod ranges that Nodes declare have changed.
        renumbered: (member, labels) of the identities that it may have given, taken or renumbered.
    """

    core: Transaction
    snapshot: Snapshot
    allocations: Allocations
    members: dict[str, Member]
    topology: Topology
    exporters: CowMap[Name, frozenset[str]]
    identity_bits: int
    strict: bool
    dirty: dict[str, Dirty] = attrs.field(factory=dict)
    heard_anew: bool = attrs.field(default=False, init=False)
    left: set[str] = attrs.field(factory=set, init=False)
    unexported: set[Name] = attrs.field(factory=set, init=False)
    nodes_moved: bool = attrs.field(default=False, init=False)
    renumbered: set[tuple[str, LabelSet]] = attrs.field(factory=set, init=False)
    _before: dict[str, tuple[Member, Store]] = attrs.field(factory=dict, init=False)
    _set: list[tuple[Member, str, object]] = attrs.field(factory=list, init=False)

    @classmethod
    def of(
        cls,
        core: Transaction,
        before: Viewpoint,
        allocations: Allocations,
        members: dict[str, Member],
        topology: Topology,
    ) -> Change:
        """One that begins at a state."""
        return cls(
            core=core,
            snapshot=before.snapshot,
            allocations=allocations.copy(),
            members=members,
            topology=topology,
            exporters=before.exporters.copy(),
            identity_bits=before.identity_bits,
            strict=before.strict,
        )

    # What users ask for

    def apply(self, member: Member, resources: Iterable[Resource], said: Iterable[Finding] = ()) -> None:
        """Upsert, in order. `said` are the findings of the source; those about an object go with it."""
        self._apply(member, tuple(resources), "", tuple(said))

    def delete(self, member: Member, resources: Iterable[Resource]) -> None:
        """Remove, in order."""
        check_inside(member)
        for resource in resources:
            self._remove(member, key_in_store(resource))

    def replace(
        self,
        member: Member,
        resources: Iterable[Resource],
        source: str,
        said: Iterable[Finding] = (),
        *,
        remove: bool,
    ) -> None:
        """Upsert what a source gives; with `remove`, what it gave before and doesn't any more goes."""
        check_inside(member)
        given = tuple(resources)
        keep = {key_in_store(resource) for resource in given}
        check_self_managed(member.name, given)
        for key in list(member._store.sources.group(source)):
            if remove and key not in keep:
                self._remove(member, key)
        self._apply(member, given, source, tuple(said))

    def drain(self, member: Member) -> None:
        """Take every endpoint out of the core."""
        store = self.store(member)
        if store.drained:
            return
        if store.heard is not None:
            silenced(self, member)
        for name, slices in store.slices.items():
            for piece in slices:
                self.core.remove_slice(member.cluster_id, *name, piece)
        for name, slices in list(store.derived.items()):
            for piece in slices:
                self.core.remove_slice(member.cluster_id, *name, piece)
            store.derived.drop(name)
            self.touch(member).exported.add(name)
        bulk.set_aside(self, member)
        store.drained = True

    def fail(self, member: Member) -> None:
        """Cut it off."""
        if not member._store.failed:
            self.store(member).failed = True
            membership.set_hearing(self, around=member.name)

    def restore(self, member: Member) -> None:
        """Undo `drain` and `fail`."""
        store = self.store(member)
        if store.failed:
            store.failed = False
            membership.set_hearing(self, around=member.name)
        if not store.drained:
            return
        store.drained = False
        for slices in store.slices.values():
            for piece in slices.values():
                send_slice(self, member, piece)
        bulk.bring_back(self, member)
        if store.heard is not None:
            said_again(self, member)
            return
        dirty = self.touch(member)
        dirty.slices.update(
            (namespace, name) for namespace, found in store.services.items() for name in found
        )
        dirty.exported.update(dirty.slices)

    def send_all(self, member: Member) -> None:
        """Say again to the core what a member that joins has, in the order in which it came."""
        store = self.store(member)
        if store.heard is not None:
            said_again(self, member)
            return
        for node in store.nodes.values():
            declare(self, member, "node", declared_node_addresses(node))
        for pods in store.declared_pods.values():
            for pod in pods.values():
                declare(self, member, "pod", own_addresses(pod))
        for namespace in store.services.values():
            for service in namespace.values():
                declare(self, member, "service", declared_cluster_ips(service))
        cilium_objects.say_again(self, member)
        dirty = self.touch(member)
        dirty.everything(store)
        for resource in list(store.resources.values()):
            match resource:
                case Node() | CiliumNode():
                    node = store.nodes[resource.name]
                    self.core.set_node(member.cluster_id, node.name, node.labels.get(ZONE, ""))
                case Service():
                    send_service(self, member, resource.namespace, resource.name)
                case EndpointSlice():
                    send_slice(self, member, resource)
                case ServiceExport():
                    export(self, member, (resource.namespace, resource.name), present=True)

    def take_back(self, member: Member) -> None:
        """Give back what a member that leaves was given; its objects stay with it."""
        store = self.store(member)
        if store.heard is not None:
            for name in store.heard.exports:
                export(self, member, name, present=False)
            self.dirty.pop(member.name, None)
            return
        for name in list(store.exports):
            export(self, member, name, present=False)
        for node in store.nodes.values():
            self.allocations.withdraw(member.name, "node", declared_node_addresses(node))
        for pods in store.declared_pods.values():
            for pod in pods.values():
                self.allocations.withdraw(member.name, "pod", own_addresses(pod))
        for services in store.services.values():
            for service in services.values():
                self.allocations.withdraw(member.name, "service", declared_cluster_ips(service))
        cilium_objects.take_back(self, member)
        for name in list(store.imports):
            Imports(self).forget(member, name)
        store.derived, store.running = CowGroups(), CowGroups()
        store.identified, store.identities, store.held = CowGroups(), CowMap(), CowMap()
        store.in_force, store.expanded = CowGroups(), CowMap()
        self.allocations.forget(member.name)
        self.dirty.pop(member.name, None)

    def carry_out(self, member: Member, proposed: ResourceChange) -> None:
        """
        Carry out a proposed change of one object; the object stays its source's.

        Raises:
            StaleChangeError: The object is not what the change was made from.
        """
        about = proposed.new if proposed.new is not None else proposed.old
        if about is None:
            return
        check_inside(member)
        key = key_in_store(about)
        proposed.check(member._store.resources.get(key))
        if proposed.new is None:
            self._remove(member, key)
            return
        check_self_managed(member.name, [proposed.new])
        source = self.store(member).source_of.get(key, "")
        self._upsert(member, proposed.new, source, ())

    def set_ranges(self, member: Member, ranges: Ranges) -> None:
        """Change a member's ranges; what was given out of others is given anew."""
        self.store(member).ranges = ranges
        for what in WHATS:
            lose(self, self.allocations.set_ranges(member.name, what, ranges.of(what)))
        # What found no address in the old ranges may find one now.
        if any(topic == "address" for topic, _ in member._store.trouble):
            self.touch(member).everything(member._store)

    def plan_imports(self) -> None:
        """Who hears whom has changed: plan every import at the end."""
        self.heard_anew = True

    def linked(self, viewer: str, publisher: str) -> bool:
        """Whether two members, by name, hear each other."""
        failed = any(self.members[name]._store.failed for name in (viewer, publisher))
        return not failed and self.topology.linked(viewer, publisher)

    def finish(self) -> None:
        """Work out what follows from all that was touched."""
        if self.nodes_moved:
            membership.set_ranges(self, None)
        Controllers(self).run()
        identify(self)
        Imports(self).run(everything=self.heard_anew)

    def drop(self) -> None:
        """Take everything back. The change is of no use afterwards."""
        for member, store in self._before.values():
            member._store = store
        while self._set:
            thing, attribute, value = self._set.pop()
            setattr(thing, attribute, value)
        # The core has one transaction at a time, and an exception's traceback keeps this object alive.
        del self.core

    # One object at a time

    def _apply(
        self, member: Member, resources: tuple[Resource, ...], source: str, said: tuple[Finding, ...]
    ) -> None:
        check_inside(member)
        check_self_managed(member.name, resources)
        store = self.store(member)
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
            store.source_findings[source] = rest
        else:
            store.source_findings.pop(source)

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
        store.source_of[key] = source
        store.sources.put(source, key, None)
        own = (*notes, *_findings_of(resource))
        self._note(member, key, own)
        if old is not None and old == resource:
            # The same again is no event; only where it was read may have changed.
            store.resources[key] = resource
            if old.origin != resource.origin:
                renew(self, member, resource)
            return
        route(self, member, old, resource)
        store.resources.pop(key)
        store.resources[key] = resource
        if old is None and resource.namespace:
            self._count_namespace(member, resource.namespace, 1)

    def _remove(self, member: Member, key: Key) -> None:
        store = self.store(member)
        old = store.resources.get(key)
        if old is None:
            return
        self._drop_source(member, key)
        store.source_of.pop(key)
        store.findings.pop(key)
        store.resources.pop(key)
        route(self, member, old, None)
        if old.namespace:
            self._count_namespace(member, old.namespace, -1)

    def _drop_source(self, member: Member, key: Key) -> None:
        store = member._store
        store.sources.pop(store.source_of.get(key, ""), key)

    def _note(self, member: Member, key: Key, found: tuple[Finding, ...]) -> None:
        if found:
            member._store.findings[key] = found
        else:
            member._store.findings.pop(key)

    def _count_namespace(self, member: Member, namespace: str, step: int) -> None:
        used = member._store.used_namespaces
        count = used.get(namespace, 0) + step
        if count:
            used[namespace] = count
        else:
            used.pop(namespace)
        if count == max(step, 0):  # the first came, or the last went
            self.touch(member).namespaces.add(namespace)

    # Bookkeeping

    def trouble(self, member: Member, topic: tuple[str, Key], found: Finding | None) -> None:
        """Set or clear what working something out had to say."""
        if found is not None:
            self.store(member).trouble[topic] = found
        elif topic in member._store.trouble:
            self.store(member).trouble.pop(topic)

    def touch(self, member: Member) -> Dirty:
        """What is to be worked out for a member."""
        return self.dirty.setdefault(member.name, Dirty())

    def store(self, member: Member) -> Store:
        """What a member holds, to be written to; readers have the state before until the commit."""
        if member.name not in self._before:
            self._before[member.name] = (member, member._store)
            member._store = member._store.copy()
        return member._store

    @property
    def written(self) -> Collection[str]:
        """The names of the members that were written to."""
        return self._before.keys()

    def set(self, member: Member, attribute: str, value: object) -> None:
        """Set an attribute of a member that is in no mesh yet."""
        self._set.append((member, attribute, getattr(member, attribute)))
        setattr(member, attribute, value)


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
        case ServiceImport():
            return (declared_import(resource),)
    return ()
