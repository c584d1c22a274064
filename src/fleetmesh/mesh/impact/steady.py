"""
What is the same for policies in two states of a mesh, so that nobody has to look at it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from ipaddress import IPv4Address, IPv6Address
from typing import TYPE_CHECKING

import attrs

from fleetmesh.mesh.policies import options_of, read_policies
from fleetmesh.policy.labels import K8S, Label, LabelSet, reserved
from fleetmesh.policy.rule import Rule
from fleetmesh.policy.selectors import CidrSelector, FqdnSelector

if TYPE_CHECKING:
    from fleetmesh.mesh.impact.kinds import Kind
    from fleetmesh.mesh.viewpoint import MemberView, Viewpoint

Learnt = Mapping[str, Sequence[IPv4Address | IPv6Address]]


@attrs.frozen
class Moved:
    """
    What is another of the policies of a cluster.

    Attributes:
        everything: Whether all of its ends may get other verdicts.
        rules: Else those that are in one state only.
        held: The labels of pods for which other rules are kept in force.
        addresses: Whether addresses may be told apart otherwise.
        node: Whether its node may get other verdicts.
    """

    everything: bool = False
    rules: tuple[Rule, ...] = ()
    held: frozenset[LabelSet] = frozenset()
    addresses: bool = False
    node: bool = False


_NOTHING = Moved()
_ALL = Moved(everything=True, addresses=True, node=True)


@attrs.define(eq=False)
class Steadiness:
    """
    Two ends that are both steady get the verdicts that they got. None are left out which would not; some
    that are not steady get the same verdicts all the same.
    """

    before: Viewpoint
    after: Viewpoint
    dns_before: Learnt
    dns_after: Learnt
    _moved: dict[str, Moved] = attrs.field(factory=dict, init=False)
    _rehearing: frozenset[str] = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self._rehearing = frozenset(_cover(self._heard_otherwise()))

    @property
    def complete(self) -> bool:
        """Whether nothing at all is another."""
        if self.before.members.keys() != self.after.members.keys() or self._rehearing:
            return False
        return all(self._same_pods(name) and self.moved(name) == _NOTHING for name in self.before.members)

    def steady(self, kind: Kind) -> bool:
        """Whether a kind of ends is the same, and all that speaks about it."""
        moved = self.moved(kind.cluster)
        if kind.outside:
            return not moved.addresses
        if kind.before is None or kind.before != kind.after or moved.everything:
            return False
        if kind.cluster in self._rehearing:
            return False
        labels = kind.before.labels
        if labels is None:
            return not moved.node
        return labels not in moved.held and not any(
            not each.on_host and each.subject.matches(labels) for each in moved.rules
        )

    def moved(self, name: str) -> Moved:
        """What is another of a cluster's policies."""
        if name not in self._moved:
            self._moved[name] = self._look(name)
        return self._moved[name]

    def _look(self, name: str) -> Moved:
        before, after = self.before.members.get(name), self.after.members.get(name)
        if before is None or after is None:
            return _ALL
        learnt_otherwise = self.dns_before != self.dns_after
        if before is after and self.before.strict == self.after.strict and not learnt_otherwise:
            return _NOTHING
        options = [
            attrs.evolve(options_of(view, member), cluster_id=0, cluster_shift=0)
            for view, member in ((self.before, before), (self.after, after))
        ]
        if options[0] != options[1] or _groups(before) != _groups(after):
            return _ALL
        rules = [
            read_policies(self.before, before).rules,
            read_policies(self.after, after).rules,
        ]
        found = () if rules[0] == rules[1] else tuple(_apart(*rules))
        if found and any(_by_address(each, options[0].cidr_match_modes) for each in rules):
            return _ALL  # its policies say which networks others take its pods for
        learns = learnt_otherwise and any(
            isinstance(peer, FqdnSelector) for rule in rules[1] for peer in rule.peers or ()
        )
        if learns and not self._hears_all(name):
            return _ALL  # a pod that is not heard is told by its address
        held_before, held_after = dict(before._store.held.items()), dict(after._store.held.items())
        held = frozenset(
            labels
            for labels in {**held_before, **held_after}
            if held_before.get(labels) != held_after.get(labels)
        )
        node = any(each.on_host for each in found) or node_labels(before) != node_labels(after)
        return Moved(False, found, held, bool(found) or learns, node)

    def _same_pods(self, name: str) -> bool:
        before, after = self.before.members[name], self.after.members[name]
        return before is after or (
            before._store.identity_of == after._store.identity_of
            and before._store.pods == after._store.pods
            and _unnumbered(before) == _unnumbered(after)
        )

    def _hears_all(self, name: str) -> bool:
        return all(
            view.hears(name, each)
            for view in (self.before, self.after)
            for each in view.members
            if each != name
        )

    def _heard_otherwise(self) -> Iterator[tuple[str, str]]:
        """Pairs of members, there in both states, that hear each other in one."""
        names = [name for name in self.before.members if name in self.after.members]
        failed = [{name for name in names if view.members[name].failed} for view in (self.before, self.after)]
        if self.before.topology == self.after.topology and failed[0] == failed[1]:
            return
        for at, one in enumerate(names):
            for other in names[:at]:
                if self.before.hears(one, other) != self.after.hears(one, other):
                    yield one, other


def seen_labels(member: MemberView, labels: LabelSet) -> LabelSet:
    """Those of the identity that pods with these labels have: with no number left, `reserved:init`."""
    return _INIT if labels in _unnumbered(member) else labels


def node_labels(member: MemberView) -> tuple[Label, ...]:
    """Those by which policies select the node of a member."""
    node = next(iter(member._store.nodes.values()), None)
    return () if node is None else tuple(sorted(Label(K8S, *each) for each in node.labels.items()))


_INIT = LabelSet.of([reserved("init")])


def _unnumbered(member: MemberView) -> frozenset[LabelSet]:
    if ("identity", ("Cluster", "", member.name)) not in member._store.trouble:
        return frozenset()
    return frozenset(labels for labels, each in member._store.identities.items() if not each.number)


def _by_address(rules: Sequence[Rule], modes: Sequence[str]) -> bool:
    return "pods" in modes or any(
        isinstance(peer, CidrSelector) and peer.of_pods for rule in rules for peer in rule.peers or ()
    )


def _groups(member: MemberView) -> dict[str, tuple[object, object]]:
    return {
        each.name: (each.labels, each.document.get("spec"))
        for each in member._store.policies.values()
        if each.kind == "CiliumCIDRGroup"
    }


def _apart(one: Sequence[Rule], other: Sequence[Rule]) -> Iterator[Rule]:
    """Rules of which one state has more than the other."""
    counts = Counter(one)
    counts.subtract(Counter(other))
    return (rule for rule, count in counts.items() if count)


def _cover(pairs: Iterator[tuple[str, str]]) -> Iterator[str]:
    """Names of which every pair has one, and not many more than are needed."""
    linked: dict[str, set[str]] = {}
    for one, other in pairs:
        linked.setdefault(one, set()).add(other)
        linked.setdefault(other, set()).add(one)
    while linked:
        name = max(linked, key=lambda each: len(linked[each]))
        for other in linked.pop(name):
            linked[other].discard(name)
            if not linked[other]:
                del linked[other]
        yield name
