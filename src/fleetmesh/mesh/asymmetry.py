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
from fleetmesh.policy.rule import ANY_PROTOCOL, PROTOCOL_NUMBERS, Direction, PortRange, Rule
from fleetmesh.policy.selectors import LabelSelector

if TYPE_CHECKING:
    from fleetmesh.mesh.deciding import Deciding
    from fleetmesh.mesh.viewpoint import MemberView, Viewpoint

MOST_QUESTIONS = 20_000
"""Flows that are tried for the rules of one cluster; what would come after is not looked at."""

_MOST_KINDS = 16
_MOST_PORTS = 16
_OTHER: dict[Direction, Direction] = {"egress": "ingress", "ingress": "egress"}


def asymmetries(
    view: Viewpoint, member: MemberView, rules: Sequence[Rule], deciding: Deciding, ends: Ends
) -> Iterator[Finding]:
    """
    Allows of a cluster that name pods of another one, which refuses every one of these flows. One finding
    for a rule and a cluster.

    A rule about everybody, or about all pods of the mesh, names nobody. What is let through in part is not
    told: a wide rule at one end and a narrow one at the other are good practice.
    """
    search = _Search(view, member, deciding, ends)
    told = set[tuple[str, str, str]]()
    for rule in rules:
        if rule.verdict != "allow" or rule.on_host:
            continue
        for peer in rule.peers or ():
            if not isinstance(peer, LabelSelector) or not _names_somebody(peer):
                continue
            for other in search.clusters(peer):
                key = (rule.source.subject, rule.source.path, other)
                if key in told:
                    continue
                witness = search.refused(rule, peer, other)
                if witness is not None:
                    told.add(key)
                    yield search.finding(rule, other, *witness)


@attrs.define(eq=False)
class _Search:
    view: Viewpoint
    member: MemberView
    deciding: Deciding
    ends: Ends
    _left: int = attrs.field(default=MOST_QUESTIONS, init=False)
    _ports: dict[tuple[str, Direction], Mapping[PortRange, None]] = attrs.field(factory=dict, init=False)

    def clusters(self, peer: LabelSelector) -> list[str]:
        """Those of the others that have pods of whom a rule speaks, and may refuse."""
        spread = self.deciding.judge(self.member.name).spread(peer)
        found = (self.view.names[number] for number in spread if number)
        return [
            name
            for name in found
            if name != self.member.name and self.view.hears(self.member.name, name) and self._may_refuse(name)
        ]

    def _may_refuse(self, cluster: str) -> bool:
        judge = self.deciding.judge(cluster)
        return bool(judge.rules) or judge.options.enforcement == "always"

    def refused(self, rule: Rule, peer: LabelSelector, other: str) -> tuple[str, str, Flow] | None:
        """The first flow that this end allows and the other refuses, if it refuses all of them."""
        witness = None
        own, there = self.ends.of(self.member.name), self.ends.of(other)
        kinds = product(
            islice(self.ends.selected(self.member.name, rule.subject), _MOST_KINDS),
            islice(self.ends.selected(other, peer), _MOST_KINDS),
        )
        for subject, who in kinds:
            server = subject if rule.direction == "ingress" else who
            for flow in self._flows(rule, other, server):
                if self._left <= 0:
                    return None
                self._left -= 1
                near, far = own[subject], there[who]
                if self.deciding.verdict(near, far, flow, rule.direction) == "deny":
                    continue
                if self.deciding.verdict(far, near, flow, _OTHER[rule.direction]) != "deny":
                    return None
                witness = witness or (near, far, flow)
        return witness

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

    def finding(self, rule: Rule, other: str, near: str, far: str, flow: Flow) -> Finding:
        """What is told of a witness, with who refuses it."""
        egress = rule.direction == "egress"
        source, destination = (near, far) if egress else (far, near)
        decision = self.deciding.decide(source, destination, flow)
        side = decision.ingress if egress else decision.egress
        assert side is not None, "both ends are pods"
        refusing = ", ".join(f"{each.path} of {each.subject}" for each in side.rules)
        why = f"{refusing} of {other} denies it" if refusing else f"no rule of {other} allows it"
        return finding(
            "policy-one-sided",
            rule.source.subject,
            f"{rule.source.path} lets pods of {other} {'be reached' if egress else 'in'}, but {other} "
            f"refuses that: {source} to {destination} at {_words(flow)}: {why}",
            [
                f"{self.member.name} allows it by {rule.source.path} of {rule.source.subject}",
                f"in {other}: {side.advice}",
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
