"""
The identities of a mesh, as the core has them for the policies of all clusters.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import attrs

from fleetmesh import _core
from fleetmesh.policy.compile import Statements
from fleetmesh.policy.labels import Label, LabelSet, NamedPort, reserved

RESERVED: Mapping[str, int] = {
    "host": 1,
    "world": 2,
    "unmanaged": 3,
    "health": 4,
    "init": 5,
    "remote-node": 6,
    "kube-apiserver": 7,
    "ingress": 8,
    "world-ipv4": 9,
    "world-ipv6": 10,
    "aggregate-cluster": 11,
    "aggregate-cluster-mesh": 12,
    "aggregate-world": 13,
    "aggregate-remote-node": 14,
}
"""pkg/identity numericidentity.go."""

FIRST_LOCAL = 1 << 24
"""Of addresses, which no other cluster knows by their numbers."""


@attrs.frozen
class Identity:
    """What policies tell apart: a number, labels, and the named ports of those who have them."""

    number: int
    labels: LabelSet
    named_ports: Mapping[str, NamedPort] = attrs.field(factory=dict, eq=False)


@attrs.define(eq=False)
class IdentityRegistry:
    """
    Attributes:
        statements: What selectors ask of labels, by number.
        core: What repositories of policies are made with.
    """

    statements: Statements = attrs.field(factory=Statements)
    core: _core.PolicyIdentities = attrs.field(factory=_core.PolicyIdentities)
    _made: dict[tuple[int, LabelSet], Identity] = attrs.field(factory=dict, init=False)
    _taken: set[int] = attrs.field(factory=set, init=False)

    def __attrs_post_init__(self) -> None:
        for name, number in RESERVED.items():
            self.know(Identity(number, LabelSet.of([reserved(name)])))

    def know(self, identity: Identity) -> None:
        """An identity that peers may have; in the place of another of that number."""
        terms = self.statements.terms(identity.labels)
        ports = self.statements.named_ports(identity.named_ports)
        self._taken.add(identity.number)
        self.core.set(identity.number, terms, ports)

    def forget(self, number: int) -> None:
        """Nobody has it any more."""
        self._taken.discard(number)
        self.core.remove(number)

    def of_address(self, labels: LabelSet) -> Identity:
        """That of an address with these labels."""
        if (0, labels) not in self._made:
            self._make(0, Identity(FIRST_LOCAL + len(self._made), labels))
        return self._made[0, labels]

    def labelled(self, identity: Identity, labels: Sequence[Label], cluster_shift: int) -> Identity:
        """An identity of the mesh with more labels, which has a number of its own in the same cluster."""
        if not labels:
            return identity
        found = LabelSet.of([*identity.labels, *labels])
        cluster = identity.number >> cluster_shift
        if (cluster, found) not in self._made:
            number = identity.number | ((1 << cluster_shift) - 1)
            while number in self._taken:
                number -= 1
            self._make(cluster, Identity(number, found, identity.named_ports))
        return self._made[cluster, found]

    def _make(self, cluster: int, identity: Identity) -> None:
        self._made[cluster, identity.labels] = identity
        self.know(identity)
