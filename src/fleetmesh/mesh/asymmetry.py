"""
Flows between clusters that the policies of one end allow by name, and those of the other refuse.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import chain, islice, product
from typing import TYPE_CHECKING

import attrs

from fleetmesh.findings import Finding, finding
from fleetmesh.mesh.policies import read_policies
from fleetmesh.policy.judge import Flow
from fleetmesh.policy.labels import LabelSet, ports_of
from fleetmesh.policy.lint.containment import ports
from fleetmesh.policy.rule import ANY_PROTOCOL, PROTOCOL_NUMBERS, Direction, PortRange, Rule
from fleetmesh.policy.selectors import LabelSelector

if TYPE_CHECKING:
    from fleetmesh.mesh.deciding import Deciding
    from fleetmesh.mesh.viewpoint import MemberView, Viewpoint

MOST_KINDS = 16
"""Kinds of pods of each end that are tried for a rule."""

MOST_QUESTIONS = 20_000
"""Flows that are tried for the rules of one cluster; what would come after is not looked at."""

_MOST_PORTS = 16
_OTHER: dict[Direction, Direction] = {"egress": "ingress", "ingress": "egress"}


@attrs.define(eq=False)
class Ends:
    """
    The pods of a mesh, one of each kind: those of a cluster with the same labels.
    """

    view: Viewpoint
    _ends: dict[str, dict[LabelSet, str]] = attrs.field(factory=dict, init=False)
    _by_label: dict[str, dict[tuple[str, str], list[LabelSet]]] = attrs.field(factory=dict, init=False)

    def of(self, cluster: str) -> dict[LabelSet, str]:
        """The labels of an identity -> a pod that has it, as an end."""
        if cluster not in self._ends:
            found: dict[LabelSet, str] = {}
            for namespace, pods in self.view.members[cluster]._store.identity_of.items():
                for name, labels in pods.items():
                    found.setdefault(labels, f"{cluster}/{namespace}/{name}")
            self._ends[cluster] = found
            index = self._by_label.setdefault(cluster, {})
            for labels in found:
                for each in labels:
                    index.setdefault((each.key, each.value), []).append(labels)
        return self._ends[cluster]

    def selected(self, cluster: str, selector: LabelSelector) -> list[LabelSet]:
        """The kinds of a cluster that a selector selects, the first `MOST_KINDS` of them."""
        known = list(self.of(cluster))
        index = self._by_label[cluster]
        for each in selector.requirements:
            if each.operator in {"Equals", "In"}:
                having = [index.get((each.key.key, value), []) for value in each.values]
                known = min(known, list(chain.from_iterable(having)), key=len)
        return list(islice((labels for labels in known if selector.matches(labels)), MOST_KINDS))


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
    _rules: dict[str, Sequence[Rule]] = attrs.field(factory=dict, init=False)

    def clusters(self, peer: LabelSelector) -> list[str]:
        """Those of the others that have pods of whom a rule speaks, and may refuse."""
        spread = self.deciding.judge(self.member.name).spread(peer)
        found = (self.view.names[number] for number in spread if number)
        return [
            name
            for name in found
            if name != self.member.name
            and self.view.hears(self.member.name, name)
            and (self.rules_of(name) or self.view.members[name].settings.policy_enforcement == "always")
        ]

    def rules_of(self, cluster: str) -> Sequence[Rule]:
        if cluster not in self._rules:
            self._rules[cluster] = read_policies(self.view, self.view.members[cluster]).rules
        return self._rules[cluster]

    def refused(self, rule: Rule, peer: LabelSelector, other: str) -> tuple[str, str, Flow] | None:
        """The first flow that this end allows and the other refuses, if it refuses all of them."""
        witness = None
        own, there = self.ends.of(self.member.name), self.ends.of(other)
        kinds = product(self.ends.selected(self.member.name, rule.subject), self.ends.selected(other, peer))
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
        theirs = (
            each
            for rule in self.rules_of(other)
            if (rule.direction, rule.verdict) == (_OTHER[direction], "allow")
            for each in ports(rule)
        )
        protocol = port.protocol or PROTOCOL_NUMBERS["TCP"]
        found = {Flow(protocol, port.first or 1): None}
        for each in theirs:
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
            f"refuses that: {source} to {destination} at {_words(flow)}, for {why}",
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
