"""
What a change says to the core of a member: its Services and slices, and which addresses are taken.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from fleetmesh.errors import RangeExhaustedError
from fleetmesh.findings import finding
from fleetmesh.mesh.facts import families_of, namespace_global
from fleetmesh.services.addressing import address_services, key_of, missing_families
from fleetmesh.services.endpoints import slice_arguments
from fleetmesh.services.frontends import compile_service

if TYPE_CHECKING:
    from fleetmesh.identity import Holder, What
    from fleetmesh.mesh.change import Change
    from fleetmesh.mesh.member import Member
    from fleetmesh.mesh.store import Name
    from fleetmesh.resources.model import EndpointSlice, Pod


def send_service(change: Change, member: Member, namespace: str, name: str) -> None:
    """Give a Service what it lacks, and tell the core of it."""
    store = change.store(member)
    service = store.services[namespace][name]
    families = families_of(member, store.ranges.service_cidrs)
    if not missing_families(service, families):
        change.allocations.release(member.name, "service", [key_of(service)])
    try:
        (given,) = address_services([service], member.name, change.allocations, families)
        change.trouble(member, ("address", service.key), None)
    except RangeExhaustedError as error:
        given = service
        said = finding("range-exhausted", service.subject, str(error), where=service.origin)
        change.trouble(member, ("address", service.key), said)
    if store.service(namespace, name) != given:
        store.in_force.put(namespace, name, given)
    spec = compile_service(
        given,
        namespace_global=namespace_global(member, namespace),
        enable_ipv6=member.settings.enable_ipv6,
        nodes=store.nodes.values(),
    )
    change.core.set_service(member.cluster_id, namespace, name, spec.to_core())


def send_slice(change: Change, member: Member, piece: EndpointSlice) -> None:
    given = slice_arguments(piece)
    if given is not None and piece.service and not member._store.drained:
        change.core.set_slice(member.cluster_id, piece.namespace, piece.service, piece.name, *given)


def set_derived(change: Change, member: Member, name: Name, wanted: Iterable[EndpointSlice]) -> bool:
    """Make the slices that a service's controllers write these; whether that changed anything."""
    store = change.store(member)
    new = {piece.name: piece for piece in wanted}
    old = store.derived.group(name)
    if new == old:
        return False
    for piece in sorted(old.keys() - new.keys()):
        change.core.remove_slice(member.cluster_id, *name, piece)
    for key in sorted(new):
        given = slice_arguments(new[key])
        if new[key] != old.get(key) and given is not None:
            endpoints, ports, weight = given
            change.core.set_slice(member.cluster_id, *name, key, endpoints, ports, weight)
    store.derived.fill(name, new)
    return True


def drop_derived(change: Change, member: Member, name: Name) -> None:
    """Take away what a service's controllers wrote."""
    set_derived(change, member, name, ())


def declare(change: Change, member: Member, what: What, addresses: Iterable[str]) -> None:
    lose(change, change.allocations.declare(member.name, what, addresses))


def lose(change: Change, holders: Iterable[Holder]) -> None:
    """Who lost an address to a declared one gets another in this transaction."""
    for holder in holders:
        member = change.members.get(holder.member)
        if member is None:
            continue
        dirty = change.touch(member)
        if holder.what == "node":
            dirty.nodes = True
        elif holder.what == "pod":
            dirty.pods.add(_service_of(holder.key))
        elif holder.what == "identity":
            dirty.unnumbered.add(holder.key)
        else:
            dirty.readdressed.add(_service_of(holder.key))


def own_addresses(pod: Pod) -> tuple[str, ...]:
    """Of a pod on the host network they are the node's."""
    return () if pod.template.host_network else pod.addresses


def _service_of(key: str) -> Name:
    namespace, _, name = key.partition("/")
    return (namespace, name)
