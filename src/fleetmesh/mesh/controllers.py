"""
What a cluster's own controllers make of what a transaction touched: pods of workloads, their nodes and
addresses, and the slices of services.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

import attrs

from fleetmesh.errors import RangeExhaustedError
from fleetmesh.findings import finding
from fleetmesh.mesh.cilium_objects import as_claimed, stand_in
from fleetmesh.mesh.facts import families_of
from fleetmesh.mesh.sending import send_service, set_derived
from fleetmesh.resources.model import EndpointSlice, Pod, Service, Workload
from fleetmesh.services.addressing import address_nodes, address_pods, key_of, needs_address
from fleetmesh.services.annotations import EXPOSED_NODE, EXPOSED_NODES
from fleetmesh.services.endpoints import derive_slices, mirror_endpoints
from fleetmesh.services.workloads import belongs, expand, schedule, superseded, zones

if TYPE_CHECKING:
    from fleetmesh.mesh.change import Change
    from fleetmesh.mesh.dirty import Dirty
    from fleetmesh.mesh.member import Member
    from fleetmesh.mesh.store import Key, Name, Store


@attrs.define(eq=False)
class Controllers:
    """Works through the dirty sets of a change until nothing is left: an address given may take another."""

    change: Change

    def run(self) -> None:
        """Bring pods and derived slices of every member up to date, members in order of cluster id."""
        change = self.change
        done: set[str] = set()
        while waiting := [change.members[name] for name in change.dirty if self._waits(name)]:
            for member in sorted(waiting, key=lambda each: each.cluster_id):
                self._member(member, change.dirty[member.name])
                done.add(member.name)

    def _waits(self, name: str) -> bool:
        dirty = self.change.dirty[name]
        return bool(
            dirty.nodes
            or dirty.workloads
            or dirty.declared_pods
            or dirty.claimed
            or dirty.pods
            or dirty.readdressed
            or dirty.slices
        )

    def _member(self, member: Member, dirty: Dirty) -> None:
        store = self.change.store(member)
        if dirty.nodes:
            dirty.workloads.update(each.key for found in store.workloads.values() for each in found.values())
            dirty.declared_pods.extend(
                pod for found in store.declared_pods.values() for pod in found.values()
            )
        wanted, gone = self._wanted_pods(member, dirty)
        touched = self._set_pods(member, wanted, gone)
        dirty.running_pods.update((pod.namespace, pod.name) for pod in touched)
        dirty.running_pods |= dirty.claimed
        services = dirty.slices | self._selecting(member, touched)
        if dirty.nodes:
            services |= self._of_nodes(member)
        readdressed = dirty.readdressed
        dirty.nodes, dirty.declared_pods = False, []
        dirty.workloads, dirty.pods, dirty.slices, dirty.readdressed = set(), set(), set(), set()
        dirty.claimed = set()
        for name in sorted(readdressed):
            if name[1] in store.services.group(name[0]):
                send_service(self.change, member, *name)
                services.add(name)
                dirty.exported.add(name)
        zone_of_node = zones(store.nodes.values()) if services else {}
        for name in sorted(services):
            if self._slices(member, name, zone_of_node):
                dirty.exported.add(name)

    # Pods

    def _wanted_pods(self, member: Member, dirty: Dirty) -> tuple[dict[Name, Pod], set[Name]]:
        """The pods to set, without addresses, and those that go; by namespace and name."""
        store = member._store
        wanted: dict[Name, Pod] = {}
        gone: set[Name] = set(dirty.claimed)
        for pod in dirty.declared_pods:
            gone.add((pod.namespace, pod.name))
        dirty.workloads.update(owner.key for owner in self._owners(member, dirty.declared_pods))
        dirty.workloads.update(_makers(store, gone))
        for key in sorted(dirty.workloads):
            kind, namespace, name = key
            workload = store.workloads.group(namespace).get(f"{kind}/{name}")
            pods = self._pods_of(member, workload) if workload is not None else ()
            if workload is None:
                self.change.trouble(member, ("nodes", key), None)
            gone.update((namespace, old) for old in store.expanded.get(key, ()))
            wanted.update(((pod.namespace, pod.name), as_claimed(store, pod)) for pod in pods)
            if pods:
                store.expanded[key] = tuple(pod.name for pod in pods)
            else:
                store.expanded.pop(key)
        for namespace, name in gone | dirty.pods:
            declared = store.declared_pods.group(namespace).get(name)
            if declared is not None:
                placed = schedule(declared, store.nodes.values())
                self.change.trouble(member, ("nodes", declared.key), next(iter(placed.findings), None))
                wanted[namespace, name] = as_claimed(store, placed.pods[0])
            elif (namespace, name) not in wanted:
                self.change.trouble(member, ("nodes", ("Pod", namespace, name)), None)
                known = stand_in(store, (namespace, name))
                running = store.running.group(namespace).get(name)
                if known is not None:
                    wanted[namespace, name] = known
                elif (
                    (namespace, name) in dirty.pods and running is not None and (namespace, name) not in gone
                ):
                    # It lost its address, and is otherwise what it was.
                    wanted[namespace, name] = attrs.evolve(running, addresses=(), host_address="")
        return wanted, gone - wanted.keys()

    def _owners(self, member: Member, pods: Iterable[Pod]) -> list[Workload]:
        """The workloads that a declared pod that came or went is one of."""
        by_namespace: dict[str, list[Pod]] = {}
        for pod in pods:
            by_namespace.setdefault(pod.namespace, []).append(pod)
        return [
            workload
            for namespace, found in by_namespace.items()
            for workload in member._store.workloads.group(namespace).values()
            if any(belongs(pod, workload) for pod in found)
        ]

    def _pods_of(self, member: Member, workload: Workload) -> tuple[Pod, ...]:
        """What is made for a workload: nothing where the manifests have its pods."""
        store = member._store
        declared = store.declared_pods.group(workload.namespace)
        if superseded(workload, store.workloads[workload.namespace].values()) or any(
            belongs(pod, workload) for pod in declared.values()
        ):
            self.change.trouble(member, ("nodes", workload.key), None)
            return ()
        made = expand(workload, store.nodes.values())
        self.change.trouble(member, ("nodes", workload.key), next(iter(made.findings), None))
        return tuple(pod for pod in made.pods if pod.name not in declared)

    def _set_pods(self, member: Member, wanted: dict[Name, Pod], gone: set[Name]) -> list[Pod]:
        """Give them addresses and set them. Returns the pods that changed, as they were and as they are."""
        store, change = member._store, self.change
        touched: list[Pod] = []
        for namespace, name in sorted(gone):
            old = store.running.pop(namespace, name)
            if old is not None:
                touched.append(old)
            change.allocations.release(member.name, "pod", [f"{namespace}/{name}"])
            change.trouble(member, ("address", ("Pod", namespace, name)), None)
        batch = [wanted[name] for name in sorted(wanted)]
        change.allocations.release(
            member.name, "pod", [key_of(pod) for pod in batch if not needs_address(pod)]
        )
        for pod in self._addressed(member, batch):
            old = store.running.group(pod.namespace).get(pod.name)
            if old != pod:
                store.running.put(pod.namespace, pod.name, pod)
                touched += [pod] if old is None else [old, pod]
        return touched

    def _addressed(self, member: Member, pods: list[Pod]) -> list[Pod]:
        """With addresses, as far as there are any."""
        if not pods:
            return []
        store, allocations = member._store, self.change.allocations
        names = sorted({pod.template.node_name for pod in pods})
        nodes = [store.nodes[name] for name in names if name in store.nodes]
        families = families_of(member, member._store.ranges.pod_cidrs)
        node_families = families_of(member, member._store.ranges.node_cidrs)
        try:
            hosts = address_nodes(nodes, member.name, allocations, node_families)
            done = address_pods(pods, member.name, allocations, families, hosts)
        except RangeExhaustedError:
            return [self._addressed_alone(member, pod) for pod in pods]
        for pod in done:
            self.change.trouble(member, ("address", pod.key), None)
        return list(done)

    def _addressed_alone(self, member: Member, pod: Pod) -> Pod:
        """One at a time, so that those for whom there is an address get it."""
        store, allocations = member._store, self.change.allocations
        node = store.nodes.get(pod.template.node_name)
        families = families_of(member, member._store.ranges.pod_cidrs)
        topic = ("address", pod.key)
        try:
            hosts = address_nodes(
                [] if node is None else [node],
                member.name,
                allocations,
                families_of(member, member._store.ranges.node_cidrs),
            )
            (done,) = address_pods([pod], member.name, allocations, families, hosts)
        except RangeExhaustedError as error:
            self.change.trouble(
                member, topic, finding("range-exhausted", pod.subject, str(error), where=pod.origin)
            )
            return pod
        self.change.trouble(member, topic, None)
        return done

    # Services

    def _selecting(self, member: Member, pods: list[Pod]) -> set[Name]:
        """The services whose selector matches one of the pods."""
        store = member._store
        kinds = {(pod.namespace, tuple(sorted(pod.labels.items()))): pod for pod in pods}
        return {
            (pod.namespace, name)
            for pod in kinds.values()
            for name, service in store.services.group(pod.namespace).items()
            if service.selector and service.selector.items() <= pod.labels.items()
        }

    def _of_nodes(self, member: Member) -> set[Name]:
        """The services whose endpoints' zones may have changed; what chooses its nodes is compiled anew."""
        found: set[Name] = set()
        for namespace, services in member._store.services.items():
            for name, service in services.items():
                if service.selector:
                    found.add((namespace, name))
                if EXPOSED_NODE in service.annotations or EXPOSED_NODES in service.annotations:
                    send_service(self.change, member, namespace, name)
        return found

    def _slices(self, member: Member, name: Name, zone_of_node: dict[str, str]) -> bool:
        """Bring the slices up to date that a service's controllers write; whether anything changed."""
        store = member._store
        if store.drained:
            return False
        service = store.service(*name)
        if service is None or store.slices.get(name):
            return set_derived(self.change, member, name, ())
        return set_derived(self.change, member, name, self._derived(member, service, zone_of_node))

    def _derived(
        self, member: Member, service: Service, zone_of_node: dict[str, str]
    ) -> tuple[EndpointSlice, ...]:
        store = member._store
        if service.selector:
            wanted = service.selector.items()
            found = store.running.group(service.namespace)
            pods = [found[name] for name in sorted(found) if wanted <= found[name].labels.items()]
            return derive_slices(service, pods, zone_of_node)
        endpoints = store.endpoints.get((service.namespace, service.name))
        return () if endpoints is None else mirror_endpoints(endpoints, service)


def _makers(store: Store, pods: Iterable[Name]) -> Iterator[Key]:
    """The StatefulSets that would make pods of these names, were there not others of the name."""
    for namespace, name in pods:
        stem, _, ordinal = name.rpartition("-")
        if ordinal.isdecimal() and f"StatefulSet/{stem}" in store.workloads.group(namespace):
            yield ("StatefulSet", namespace, stem)
