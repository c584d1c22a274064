"""
What a transaction may have changed of who may reach whom: told by what it touched, without deciding anything.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from typing import TYPE_CHECKING

from fleetmesh.mesh.delta import AddressDelta, PolicyDelta, ServiceDelta

if TYPE_CHECKING:
    from fleetmesh.mesh.change import Change
    from fleetmesh.mesh.dirty import Dirty
    from fleetmesh.mesh.store import Key, Store
    from fleetmesh.mesh.viewpoint import Viewpoint


def changed_addresses(change: Change, before: Viewpoint) -> tuple[AddressDelta, ...]:
    """
    Of pods that came, changed, went or are of another identity, of Nodes that did, and all of members that
    came or went or are heard by others than before.
    """
    names = before.members.keys() | change.members.keys() if change.heard_anew else change.dirty.keys()
    found: list[AddressDelta] = []
    for name in sorted(names):
        old, new = before.members.get(name), change.members.get(name)
        stores = [each._store for each in (old, new) if each is not None]
        if old is None or new is None or old.failed != new._store.failed:
            prefixes = set(_all_of(stores))
        elif name in change.dirty:
            prefixes = set(_touched(change.dirty[name], stores))
        else:
            continue
        found += (AddressDelta(name, prefix) for prefix in sorted(prefixes))
    return tuple(found)


def changed_policies(change: Change, services: Iterable[ServiceDelta]) -> tuple[PolicyDelta, ...]:
    """
    Policies, groups of networks and Nodes that came, changed or went, and policies that hang on services
    where services changed.
    """
    hanging = {name for name, each in change.members.items() if len(each._store.on_services)}
    if hanging:
        hanging &= {viewer for each in services for viewer in each.viewers} | {
            name for name, dirty in change.dirty.items() if dirty.exported
        }
    found: list[PolicyDelta] = []
    for name in sorted(hanging | change.dirty.keys()):
        dirty = change.dirty.get(name)
        keys: set[Key] = set()
        if dirty is not None:
            keys = dirty.policy_objects | {("Node", "", host) for host in dirty.hosts}
        if name in hanging:
            keys = keys | set(change.members[name]._store.on_services)
        found += (PolicyDelta(name, f"{key[0]} {key[1]}/{key[2]}") for key in sorted(keys))
    return tuple(found)


def _touched(dirty: Dirty, stores: list[Store]) -> Iterator[str]:
    """Before and after."""
    yield from map(_prefix, dirty.heard_addresses)
    for store in stores:
        # Those that are heard come and go by their addresses.
        for namespace, name in dirty.identified if store.heard else dirty.running_pods | dirty.identified:
            yield from map(_prefix, store.addresses_of(namespace, name))
        for host in dirty.hosts:
            yield from map(_prefix, _addresses_of_node(store, host))


def _all_of(stores: list[Store]) -> Iterator[str]:
    """The ranges of pods and nodes, and what has been declared outside of them."""
    for store in stores:
        ranges = [*store.ranges.pod_cidrs, *store.ranges.node_cidrs]
        yield from ranges
        networks = [ip_network(each, strict=False) for each in ranges]
        declared = [pod.addresses for pods in store.declared_pods.values() for pod in pods.values()]
        declared += (claims[0][1].addresses for pods in store.claims.values() for claims in pods.values())
        declared += (_addresses_of_node(store, node) for node in store.nodes)
        for text in (each for texts in declared for each in texts):
            address = _address(text)
            if address is not None and not any(address in each for each in networks):
                yield _prefix(text)


def _addresses_of_node(store: Store, name: str) -> tuple[str, ...]:
    node = store.nodes.get(name)
    texts = () if node is None else (text for _, text in node.addresses)
    return tuple(text for text in texts if _address(text) is not None)


def _prefix(address: str) -> str:
    if "/" in address:
        return address
    return f"{address}/{128 if ':' in address else 32}"


def _address(text: str) -> IPv4Address | IPv6Address | None:
    try:
        return ip_address(text)
    except ValueError:
        return None
