"""
Who is at an address: the pods and nodes of a mesh.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import TYPE_CHECKING

import attrs

from fleetmesh import _core
from fleetmesh.policy.registry import RESERVED

if TYPE_CHECKING:
    from fleetmesh.mesh.viewpoint import MemberView
    from fleetmesh.resources.model import Pod

Address = IPv4Address | IPv6Address
PodName = tuple[str, str, str]
"""Cluster, namespace, name."""


@attrs.define(eq=False)
class Whereabouts:
    """
    Attributes:
        identity: The number of a pod that is there, and its cluster's id.
        book: For data paths: of each address the identity and cluster of its first pod by name, else of its
            first node, which to other clusters is `remote-node`.
        contested: Addresses of several pods: which of them is meant depends on whom one hears.
    """

    identity: Callable[[PodName], tuple[int, int]]
    book: _core.AddressBook = attrs.field(factory=_core.AddressBook, init=False)
    contested: set[str] = attrs.field(factory=set, init=False)
    _pods: dict[str, tuple[PodName, ...]] = attrs.field(factory=dict, init=False)
    _nodes: dict[str, Counter[tuple[str, int]]] = attrs.field(factory=dict, init=False)
    _nodes_of: dict[str, tuple[tuple[str, int], tuple[str, ...]]] = attrs.field(factory=dict, init=False)

    def pods_at(self, address: Address) -> Iterable[PodName]:
        """In the order of their names, whichever came first."""
        return self._pods.get(str(address), ())

    def node_at(self, address: Address) -> str | None:
        """The member whose node has that address."""
        found = self._nodes.get(str(address))
        return min(found)[0] if found else None

    def settle(self, member: MemberView, pod: Pod) -> None:
        """A pod has come; one on its node's network has the node's address."""
        for address in map(_canonical, pod.addresses):
            if pod.template.host_network:
                self._add_node(address, (member.name, member.cluster_id))
            else:
                name = (member.name, pod.namespace, pod.name)
                found = self._pods.get(address, ())
                self._pods[address] = tuple(sorted((*found, name))) if found else (name,)
                if found:
                    self.contested.add(address)
            self._note(address)

    def unsettle(self, member: MemberView, pod: Pod) -> None:
        """It has gone."""
        for address in map(_canonical, pod.addresses):
            if pod.template.host_network:
                self._remove_node(address, (member.name, member.cluster_id))
            else:
                left = list(self._pods.pop(address))
                left.remove((member.name, pod.namespace, pod.name))
                if len(left) < 2:
                    self.contested.discard(address)
                if left:
                    self._pods[address] = tuple(left)
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
        pods, nodes = self._pods.get(address), self._nodes.get(address)
        if pods:
            self.book.set(address, *self.identity(pods[0]))
        elif nodes:
            self.book.set(address, RESERVED["remote-node"], min(nodes)[1])
        else:
            self.book.remove(address)


def _canonical(address: str) -> str:
    """IPv4 has one way to be written."""
    return str(ip_address(address)) if ":" in address else address


def _parsed(text: str) -> str | None:
    """A node's address may be a name."""
    try:
        return str(ip_address(text))
    except ValueError:
        return None
