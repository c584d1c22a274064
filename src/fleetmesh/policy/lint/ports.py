"""
Ports that nobody has, and all ports that are not all protocols.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from difflib import get_close_matches

import attrs

from fleetmesh.findings import Finding, finding
from fleetmesh.policy.labels import GENERATED, NAMED_PORTS, Label, LabelKey, LabelSet, ports_of
from fleetmesh.policy.lint.containment import peers
from fleetmesh.policy.lint.containment import ports as ranges
from fleetmesh.policy.lint.known import Known
from fleetmesh.policy.rule import PROTOCOL_NUMBERS, WITH_PORTS, Direction, PortRange, Rule
from fleetmesh.policy.selectors import LabelSelector, Requirement

_ICMP = (PROTOCOL_NUMBERS["ICMP"], PROTOCOL_NUMBERS["ICMPV6"])
_Port = tuple[str, int]  # name, protocol


def unmatched_ports(rules: Sequence[Rule], known: Known) -> Iterator[Finding]:
    """Rules on ports by name, and rules on every port of every protocol that has ports."""
    yield from _by_name(rules, known)
    yield from _without_icmp(rules)


def _by_name(rules: Sequence[Rule], known: Known) -> Iterator[Finding]:
    """
    A name means the ports of the pods that are reached: at ingress those of the subject, at egress those of
    each peer (pkg/policy l4.go, named ports).
    """
    by_name = [rule for rule in rules if any(each.name for each in ranges(rule))]
    named = _Named.of(known) if by_name else _Named(known, {})
    for rule in by_name:
        names = dict.fromkeys(each.name for each in ranges(rule) if each.name)
        reached, clusters = _reached(rule, known)
        if reached is None:
            continue
        for name in names:
            protocols = [each.protocol for each in ranges(rule) if each.name == name]
            if any(
                named.is_somebody(each, (name, number), clusters) for each in reached for number in protocols
            ):
                continue
            whose = "of its subject" if rule.direction == "ingress" else "of those that it is about"
            yield finding(
                "policy-named-port-nobody",
                rule.source.subject,
                f"{rule.source.path} names the port {name}, which no pod {whose} has for that protocol"
                + _hint(name, named.had(reached, clusters)),
                where=rule.source.origin,
            )


def _reached(rule: Rule, known: Known) -> tuple[list[LabelSelector] | None, Sequence[str]]:
    """Whose ports are meant, and in which clusters; `None` where it is nobody, or only nodes."""
    direction: Direction = rule.direction
    if direction == "ingress":
        clusters: Sequence[str] = [known.cluster]
        somebody = not rule.on_host and known.is_somebody(rule.subject, clusters)
        return ([rule.subject] if somebody else None), clusters
    selectors = [each for each in peers(rule) if isinstance(each, LabelSelector)]
    if len(selectors) < len(peers(rule)) and not selectors:
        return [], known.everywhere
    there = [each for each in selectors if known.is_somebody(each)]
    return (there or None), known.everywhere


@attrs.frozen
class _Named:
    """Named ports are part of identities, as labels that several ports share."""

    known: Known
    labels: Mapping[_Port, Sequence[Label]]

    @classmethod
    def of(cls, known: Known) -> _Named:
        found: dict[_Port, list[Label]] = {}
        for key in known.label_keys():
            for value in known.values(key) if key.startswith(NAMED_PORTS) else ():
                label = Label(GENERATED, key, value)
                for name, port in ports_of(LabelSet((label,))).items():
                    found.setdefault((name, PROTOCOL_NUMBERS[port.protocol]), []).append(label)
        return cls(known, found)

    def is_somebody(self, selector: LabelSelector, port: _Port, clusters: Iterable[str]) -> bool:
        """Whether any pod that is selected has that port."""
        by_key: dict[str, set[str]] = {}
        for label in self.labels.get(port, ()):
            by_key.setdefault(label.key, set()).add(label.value)
        clusters = list(clusters)
        return any(
            self.known.is_somebody(
                LabelSelector(
                    (*selector.requirements, Requirement(LabelKey(GENERATED, key), "In", frozenset(values)))
                ),
                clusters,
            )
            for key, values in by_key.items()
        )

    def had(self, selectors: Sequence[LabelSelector], clusters: Sequence[str]) -> list[_Port]:
        """The ports that those who are selected have."""
        return sorted(
            port for port in self.labels if any(self.is_somebody(each, port, clusters) for each in selectors)
        )


def _hint(name: str, had: Sequence[_Port]) -> str:
    of_name = [str(PortRange(protocol, name=each)) for each, protocol in had if each == name]
    if of_name:
        return f"; they have {', '.join(of_name)}"
    names = list(dict.fromkeys(each for each, _ in had))
    close = get_close_matches(name, names, n=1)
    if close:
        return f"; did you mean {close[0]}?"
    return f"; they have {', '.join(names)}" if names else ""


def _without_icmp(rules: Sequence[Rule]) -> Iterator[Finding]:
    """Of policies that say nothing about ICMP themselves."""
    aware = {
        (rule.source.subject, rule.direction)
        for rule in rules
        if not rule.ports or any(each.protocol in _ICMP for each in ranges(rule))
    }
    for rule in rules:
        whole = {each.protocol for each in ranges(rule) if not each.first and not each.name}
        if whole >= set(WITH_PORTS) and (rule.source.subject, rule.direction) not in aware:
            verb = "allows" if rule.verdict == "allow" else "denies"
            yield finding(
                "policy-any-without-icmp",
                rule.source.subject,
                f"{rule.source.path} {verb} every port of every protocol that has ports, which ICMP has not",
                where=rule.source.origin,
            )
