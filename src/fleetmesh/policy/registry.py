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

FIRST_OF_PODS = 256
"""Below are the reserved ones, which every cluster has."""

FIRST_LOCAL = 1 << 24
"""Of addresses, which no other cluster knows by their numbers."""


def labels_of_reserved(name: str) -> LabelSet:
    """What has the API server is a node as well (pkg/identity reservedIdentityLabels)."""
    more = ("remote-node",) if name == "kube-apiserver" else ()
    return LabelSet.of(map(reserved, (name, *more)))


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
        _labelled: The number of an identity -> what it is with more labels.
        _lent: The numbers that those have -> the number of the identity.
    """

    statements: Statements = attrs.field(factory=Statements)
    core: _core.PolicyIdentities = attrs.field(factory=_core.PolicyIdentities)
    _made: dict[LabelSet, Identity] = attrs.field(factory=dict, init=False)
    _labelled: dict[int, dict[LabelSet, Identity]] = attrs.field(factory=dict, init=False)
    _lent: dict[int, int] = attrs.field(factory=dict, init=False)
    _known: dict[int, Identity] = attrs.field(factory=dict, init=False)

    def __attrs_post_init__(self) -> None:
        for name, number in RESERVED.items():
            self.know(Identity(number, labels_of_reserved(name)))

    def know(self, identity: Identity) -> None:
        """An identity that peers may have; in the place of another of that number."""
        lender = self._lent.pop(identity.number, None)
        if lender is not None:
            made = self._labelled[lender]
            self._labelled[lender] = {
                labels: each for labels, each in made.items() if each.number != identity.number
            }
        terms = self.statements.terms(identity.labels)
        ports = self.statements.named_ports(identity.named_ports)
        self._known[identity.number] = identity
        self.core.set(identity.number, terms, ports)

    def forget(self, number: int) -> None:
        """Nobody has it any more, nor with more labels."""
        self._known.pop(number, None)
        self.core.remove(number)
        for made in self._labelled.pop(number, {}).values():
            del self._lent[made.number]
            self.forget(made.number)

    def numbered(self, number: int) -> Identity | None:
        """The identity of that number, if there is one."""
        return self._known.get(number)

    @property
    def next_of_address(self) -> int:
        """The number that an address with labels that were never asked about would get."""
        return FIRST_LOCAL + len(self._made)

    def of_address(self, labels: LabelSet) -> Identity:
        """That of an address with these labels."""
        if labels not in self._made:
            self._made[labels] = Identity(self.next_of_address, labels)
            self.know(self._made[labels])
        return self._made[labels]

    def labelled(self, identity: Identity, labels: Sequence[Label], cluster_shift: int) -> Identity:
        """
        An identity of the mesh with more labels, which has a number of its own in the same cluster, as long
        as nobody is given that.
        """
        if not labels:
            return identity
        made = self._labelled.setdefault(identity.number, {})
        found = LabelSet.of([*identity.labels, *labels])
        if found not in made:
            last = identity.number | ((1 << cluster_shift) - 1)
            number = next(each for each in range(last, 0, -1) if each not in self._known)
            made[found] = Identity(number, found, identity.named_ports)
            self.know(made[found])
            self._lent[number] = identity.number
        return made[found]
