"""
Who is at an address: the pods and nodes of a mesh.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import TYPE_CHECKING, TypeAlias

import attrs

from fleetmesh import _core
from fleetmesh.policy.registry import RESERVED

if TYPE_CHECKING:
    from fleetmesh.mesh.heard import Heard
    from fleetmesh.mesh.viewpoint import MemberView

Address = IPv4Address | IPv6Address
PodName = tuple[str, str, str]
"""Cluster, namespace, name."""

Whom: TypeAlias = tuple[int, int]
"""The number of an identity, and the id of its cluster."""


@attrs.define(eq=False)
class Whereabouts:
    """
    Attributes:
        identity: The number of a pod that is there, and its cluster's id.
        book: For data paths: of each address the identity and cluster of its first pod by name, else of its
            first node, which to other clusters is `remote-node`.
        _first: Of each address its first pod by name.
        _others: Of addresses that several pods have, the other ones, sorted.
    """

    identity: Callable[[PodName], Whom]
    book: _core.AddressBook = attrs.field(factory=_core.AddressBook, init=False)
    _first: dict[str, PodName] = attrs.field(factory=dict, init=False)
    _others: dict[str, tuple[PodName, ...]] = attrs.field(factory=dict, init=False)
    _nodes: dict[str, Counter[tuple[str, int]]] = attrs.field(factory=dict, init=False)
    _nodes_of: dict[str, tuple[tuple[str, int], tuple[str, ...]]] = attrs.field(factory=dict, init=False)

    @property
    def contested(self) -> Collection[str]:
        """Addresses of several pods: which of them is meant depends on whom one hears."""
        return self._others.keys()

    def pods_at(self, address: Address) -> tuple[PodName, ...]:
        """In the order of their names, whichever came first."""
        return self._pods_at(str(address))

    def _pods_at(self, address: str) -> tuple[PodName, ...]:
        first = self._first.get(address)
        return () if first is None else (first, *self._others.get(address, ()))

    def node_at(self, address: Address) -> str | None:
        """The member whose node has that address."""
        found = self._nodes.get(str(address))
        return min(found)[0] if found else None

    def settle_all(self, member: MemberView) -> None:
        """All pods and nodes of a member have come."""
        if member._store.heard is not None:
            self._settle_heard(member.name, member._store.heard)
        else:
            for namespace, pods in member._store.running.items():
                for pod in pods:
                    self.settle(member, namespace, pod)
        self.settle_nodes(member)

    def _settle_heard(self, member: str, heard: Heard) -> None:
        """All pods of a member that is heard, at once."""
        whom_of: dict[int, Whom] = {}  # what an identity is is worked out once
        found: dict[str, PodName] = {}
        whom: list[Whom] = []
        for (namespace, pod), records in heard.pods.unordered():
            name = (member, namespace, pod)
            number = records[0].identity
            if number not in whom_of:
                whom_of[number] = self.identity(name)
            for record in records:
                found[_canonical(record.address)] = name
                whom.append(whom_of[number])
        if len(found) == len(whom) and self._first.keys().isdisjoint(found):
            self._first.update(found)
            self.book.set_all(list(found), whom)
        else:
            for (namespace, pod), records in heard.pods.unordered():
                self._settle_at(map(_canonical, (each.address for each in records)), (member, namespace, pod))

    def settle(self, member: MemberView, namespace: str, pod: str) -> None:
        """A pod has come; one on its node's network has the node's address."""
        if _on_host(member, namespace, pod):
            for address in _addresses(member, namespace, pod):
                self._add_node(address, (member.name, member.cluster_id))
                self._note(address)
        else:
            self._settle_at(_addresses(member, namespace, pod), (member.name, namespace, pod))

    def _settle_at(self, addresses: Iterable[str], name: PodName) -> None:
        whom = self.identity(name)
        for address in addresses:
            self._settle(address, name, whom)

    def _settle(self, address: str, name: PodName, whom: Whom) -> None:
        if self._first.setdefault(address, name) is name:
            self.book.set(address, *whom)
        else:
            self._set_pods(address, sorted((*self._pods_at(address), name)))

    def unsettle(self, member: MemberView, namespace: str, pod: str) -> None:
        """It has gone."""
        on_host = _on_host(member, namespace, pod)
        for address in dict.fromkeys(_addresses(member, namespace, pod)):
            if on_host:
                self._remove_node(address, (member.name, member.cluster_id))
                self._note(address)
            else:
                self._leave(address, (member.name, namespace, pod))

    def _leave(self, address: str, name: PodName) -> None:
        if address in self._others or address in self._nodes:
            self._set_pods(address, [each for each in self._pods_at(address) if each != name])
        else:
            del self._first[address]
            self.book.remove(address)

    def move(self, before: MemberView, after: MemberView, namespace: str, pod: str) -> None:
        """A pod has come, has gone, or is another; in two states of its member."""
        if _on_host(before, namespace, pod) or _on_host(after, namespace, pod):
            self.unsettle(before, namespace, pod)
            self.settle(after, namespace, pod)
            return
        name = (after.name, namespace, pod)
        had = dict.fromkeys(_addresses(before, namespace, pod))
        has = dict.fromkeys(_addresses(after, namespace, pod))
        for address in had:
            if address not in has:
                self._leave(address, name)
        whom = self.identity(name)
        for address in has:
            if address not in had:
                self._settle(address, name, whom)
            elif self._first[address] == name:
                self.book.set(address, *whom)

    def _set_pods(self, address: str, pods: Sequence[PodName]) -> None:
        self._first.pop(address, None)
        self._others.pop(address, None)
        if pods:
            self._first[address] = pods[0]
        if len(pods) > 1:
            self._others[address] = tuple(pods[1:])
        self._note(address)

    def settle_nodes(self, member: MemberView) -> None:
        """The nodes of a member, in the place of those before."""
        self.unsettle_nodes(member.name)
        node = (member.name, member.cluster_id)
        addresses = tuple(
            address
            for each in member._store.nodes.values()
            for kind, text in each.addresses
            if kind in {"InternalIP", "ExternalIP"} and (address := _parsed(text)) is not None
        )
        self._nodes_of[member.name] = (node, addresses)
        for address in addresses:
            self._add_node(address, node)
            self._note(address)

    def unsettle_nodes(self, name: str) -> None:
        """A member's nodes have gone."""
        node, addresses = self._nodes_of.pop(name, (("", 0), ()))
        for address in addresses:
            self._remove_node(address, node)
            self._note(address)

    def _add_node(self, address: str, node: tuple[str, int]) -> None:
        self._nodes.setdefault(address, Counter())[node] += 1

    def _remove_node(self, address: str, node: tuple[str, int]) -> None:
        found = self._nodes[address]
        found[node] -= 1
        if not found[node]:
            del found[node]
        if not found:
            del self._nodes[address]

    def _note(self, address: str) -> None:
        first, nodes = self._first.get(address), self._nodes.get(address)
        if first is not None:
            self.book.set(address, *self.identity(first))
        elif nodes:
            self.book.set(address, RESERVED["remote-node"], min(nodes)[1])
        else:
            self.book.remove(address)


def _addresses(member: MemberView, namespace: str, pod: str) -> Iterator[str]:
    return map(_canonical, member._store.addresses_of(namespace, pod))


def _on_host(member: MemberView, namespace: str, pod: str) -> bool:
    """One that is heard never is: nobody publishes those."""
    found = member._store.running.group(namespace).get(pod)
    return found is not None and found.template.host_network


def _canonical(address: str) -> str:
    """IPv4 has one way to be written."""
    return str(ip_address(address)) if ":" in address else address


def _parsed(text: str) -> str | None:
    """A node's address may be a name."""
    try:
        return str(ip_address(text))
    except ValueError:
        return None
