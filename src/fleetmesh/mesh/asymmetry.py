"""
Flows between clusters that the policies of one end allow by name, and those of the other refuse.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from itertools import islice, product
from typing import TYPE_CHECKING

import attrs

from fleetmesh.findings import Finding, finding
from fleetmesh.mesh.ends import Ends
from fleetmesh.policy.judge import Flow
from fleetmesh.policy.labels import LabelSet, ports_of
from fleetmesh.policy.lint.containment import ports
from fleetmesh.policy.registry import Identity
from fleetmesh.policy.rule import ANY_PROTOCOL, PROTOCOL_NUMBERS, Direction, PortRange, Rule
from fleetmesh.policy.selectors import LabelSelector

if TYPE_CHECKING:
    from fleetmesh.mesh.deciding import Deciding
    from fleetmesh.mesh.viewpoint import MemberView, Viewpoint

MOST_QUESTIONS = 2_000
"""Flows that are tried for the rules of one cluster; what would come after is not looked at."""

_MOST_KINDS = 16
_MOST_PORTS = 16
_OTHER: dict[Direction, Direction] = {"egress": "ingress", "ingress": "egress"}


def asymmetries(
    view: Viewpoint, member: MemberView, rules: Sequence[Rule], deciding: Deciding, ends: Ends
) -> Iterator[Finding]:
    """
    Allows of a cluster that name pods of others, which refuse every one of these flows. One finding for a
    rule, with the clusters that refuse.

    A rule about everybody, or about all pods of the mesh, names nobody. What is let through in part is not
    told: a wide rule at one end and a narrow one at the other are good practice.
    """
    search = _Search(view, member, deciding, ends)
    for rule in rules:
        if rule.verdict != "allow" or rule.on_host:
            continue
        refusing: dict[str, tuple[str, str, Flow]] = {}
        for peer in rule.peers or ():
            if not isinstance(peer, LabelSelector) or not _names_somebody(peer):
                continue
            for other in search.clusters(peer):
                witness = None if other in refusing else search.refused(rule, peer, other)
                if witness is not None:
                    refusing[other] = witness
        if refusing:
            yield search.finding(rule, refusing)


@attrs.define(eq=False)
class _Search:
    view: Viewpoint
    member: MemberView
    deciding: Deciding
    ends: Ends
    _left: int = attrs.field(default=MOST_QUESTIONS, init=False)
    _others: set[str] = attrs.field(factory=set, init=False)
    _subjects: dict[LabelSelector, list[tuple[LabelSet, str]]] = attrs.field(factory=dict, init=False)
    _identities: dict[str, Identity] = attrs.field(factory=dict, init=False)
    _ports: dict[tuple[str, Direction], Mapping[PortRange, None]] = attrs.field(factory=dict, init=False)

    def __attrs_post_init__(self) -> None:
        for name in self.view.members:
            if name != self.member.name and self.view.hears(self.member.name, name):
                judge = self.deciding.judge(name)
                if judge.rules or judge.options.enforcement == "always":
                    self._others.add(name)

    def clusters(self, peer: LabelSelector) -> list[str]:
        """Those of the others that have pods of whom a rule speaks, and may refuse."""
        spread = self.deciding.spread(self.member.name, peer) if self._others else {}
        found = (self.view.names[number] for number in spread if number)
        return [name for name in found if name in self._others]

    def refused(self, rule: Rule, peer: LabelSelector, other: str) -> tuple[str, str, Flow] | None:
        """The first flow that this end allows and the other refuses, if it refuses all of them."""
        witness = None
        if rule.subject not in self._subjects:
            here = self.ends.selected(self.member.name, rule.subject)
            self._subjects[rule.subject] = list(islice(here, _MOST_KINDS))
        there = islice(self.ends.selected(other, peer), _MOST_KINDS)
        for (own, near), (who, far) in product(self._subjects[rule.subject], there):
            for flow in self._flows(rule, other, own if rule.direction == "ingress" else who):
                if self._left <= 0:
                    return None
                self._left -= 1
                if self._denied(self.member.name, near, far, flow, rule.direction):
                    continue
                if not self._denied(other, far, near, flow, _OTHER[rule.direction]):
                    return None
                witness = witness or (near, far, flow)
        return witness

    def _denied(self, cluster: str, own: str, other: str, flow: Flow, direction: Direction) -> bool:
        """Asked by identities; only where that is refused, or addresses matter, by the pods themselves."""
        judge = self.deciding.judge(cluster)
        ends = self._identity(own), self._identity(other)
        if not judge.selects_by_address and judge.verdict(*ends, flow, direction) != "deny":
            return False
        return self.deciding.verdict(own, other, flow, direction) == "deny"

    def _identity(self, end: str) -> Identity:
        if end not in self._identities:
            home = end.partition("/")[0]
            self._identities[end] = self.deciding.peer(end, home, self.deciding.judge(home))[0]
        return self._identities[end]

    def _flows(self, rule: Rule, other: str, server: LabelSet) -> list[Flow]:
        found: dict[Flow, None] = {}
        for each in ports(rule):
            found |= dict.fromkeys(self._of_range(each, rule.direction, other, server))
        return list(found)

    def _of_range(self, port: PortRange, direction: Direction, other: str, server: LabelSet) -> list[Flow]:
        """Of many ports those at which the rules of the other end begin to say something else."""
        if port.name:
            named = ports_of(server).get(port.name)
            same = named is not None and PROTOCOL_NUMBERS[named.protocol] == port.protocol
            return [Flow(port.protocol, named.number)] if named is not None and same else []
        if port.first and port.first == port.last:
            return [Flow(port.protocol, port.first)]
        protocol = port.protocol or PROTOCOL_NUMBERS["TCP"]
        found = {Flow(protocol, port.first or 1): None}
        for each in self._ports_of(other, _OTHER[direction]):
            number = each.first
            if each.name:
                known = ports_of(server).get(each.name)
                number = 0 if known is None else known.number
            if port.protocol not in {ANY_PROTOCOL, each.protocol} or not each.protocol:
                continue
            if not port.first or port.first <= number <= port.last:
                found[Flow(each.protocol, number or port.first or 1)] = None
            if len(found) >= _MOST_PORTS:
                break
        return list(found)

    def _ports_of(self, cluster: str, direction: Direction) -> Collection[PortRange]:
        """All that the rules of a cluster that allow something name."""
        key = cluster, direction
        if key not in self._ports:
            self._ports[key] = {
                each: None
                for rule in self.deciding.judge(cluster).rules
                if (rule.direction, rule.verdict) == (direction, "allow")
                for each in ports(rule)
            }
        return self._ports[key]

    def finding(self, rule: Rule, refusing: Mapping[str, tuple[str, str, Flow]]) -> Finding:
        """What is told of the first witness, and who else refuses."""
        other, (near, far, flow) = next(iter(refusing.items()))
        more = f"; so do {len(refusing) - 1} more clusters" if len(refusing) > 1 else ""
        egress = rule.direction == "egress"
        source, destination = (near, far) if egress else (far, near)
        decision = self.deciding.decide(source, destination, flow)
        side = decision.ingress if egress else decision.egress
        assert side is not None, "both ends are pods"
        deniers = ", ".join(f"{each.path} of {each.subject}" for each in side.rules)
        why = f"{deniers} of {other} denies it" if deniers else f"no rule of {other} allows it"
        return finding(
            "policy-one-sided",
            rule.source.subject,
            f"{rule.source.path} lets pods of {other} {'be reached' if egress else 'in'}, but {other} "
            f"refuses that: {source} to {destination} at {_words(flow)}: {why}{more}",
            [
                f"{self.member.name} allows it by {rule.source.path} of {rule.source.subject}",
                f"in {other}: {side.advice}",
                *(f"{each} refuses it too" for each in list(refusing)[1:]),
            ],
            where=rule.source.origin,
        )


def _names_somebody(peer: LabelSelector) -> bool:
    return any(
        each.operator in {"Equals", "In"} and each.key.source != "reserved" for each in peer.requirements
    )


def _words(flow: Flow) -> str:
    protocol = next(name for name, number in PROTOCOL_NUMBERS.items() if number == flow.protocol)
    return f"{flow.port}/{protocol}"
