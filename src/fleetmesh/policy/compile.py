"""
Rules, selectors and labels as the core takes them: statements on labels are numbers.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import TypeAlias

import attrs

from fleetmesh.policy.labels import (
    ANY,
    RESERVED,
    SOURCES,
    Label,
    LabelKey,
    LabelSet,
    NamedPort,
    Network,
    network_label,
)
from fleetmesh.policy.proxies import proxy_port
from fleetmesh.policy.rule import PROTOCOL_NUMBERS, TIERS, Direction, PortRange, PortRule, Rule
from fleetmesh.policy.selectors import (
    WORLDS,
    CidrSelector,
    FqdnSelector,
    LabelSelector,
    Requirement,
    Selector,
    group_keys,
)

CoreRequirement: TypeAlias = tuple[bool, list[int]]
"""Whether it is negated; statements of which any is enough."""

CoreSelector: TypeAlias = list[CoreRequirement]
CorePort: TypeAlias = tuple[int, int, int, int]
CorePortRule: TypeAlias = tuple[list[CorePort], int, int, int, bool, int]
CoreRule: TypeAlias = tuple[int, int, int, float, int, bool, bool, bool, list[int], list[CorePortRule], int]

DIRECTIONS = ("egress", "ingress")
VERDICTS = ("allow", "deny", "pass")
PARSERS = (None, "http", "dns", "tls", "crd")
AUTHENTICATION = ("", "disabled", "required", "test-always-fail")
"""What an entry says of it is one less, which is Cilium's number."""


@attrs.define
class Numbers:
    """Gives each text a number, from 1, and the same one again."""

    _numbers: dict[str, int] = attrs.field(factory=dict)

    def of(self, text: str) -> int:
        return self._numbers.setdefault(text, len(self._numbers) + 1)


@attrs.define
class Statements:
    """Numbers what may be said of labels and ports, for all identities and selectors of a mesh alike."""

    _terms: Numbers = attrs.field(factory=Numbers)
    _names: Numbers = attrs.field(factory=Numbers)
    _of_labels: dict[Label, tuple[int, int]] = attrs.field(factory=dict)
    _requirements: dict[Requirement, CoreRequirement] = attrs.field(factory=dict)
    _listeners: Numbers = attrs.field(factory=Numbers)

    def term(self, text: str) -> int:
        return self._terms.of(text)

    def name(self, text: str) -> int:
        """Of a port; 0 for none."""
        return self._names.of(text) if text else 0

    def listener(self, text: str) -> int:
        """Of an Envoy listener; 0 for none."""
        return self._listeners.of(text) if text else 0

    def requirement(self, requirement: Requirement) -> CoreRequirement:
        """What it asks for; the policies of a fleet have mostly the same ones."""
        found = self._requirements.get(requirement)
        if found is None:
            terms = [self._terms.of(text) for text in _wanted(requirement)]
            found = self._requirements[requirement] = (_is_negated(requirement), terms)
        return found

    def terms(self, labels: LabelSet) -> list[int]:
        """Everything that a selector might ask of these labels."""
        found = [number for each in labels for number in self._of_labels.get(each) or self._of_label(each)]
        for network in labels.networks:
            lengths = range(network.prefixlen + 1)
            found += (self._terms.of(_within(network.supernet(new_prefix=length))) for length in lengths)
        return found

    def _of_label(self, label: Label) -> tuple[int, int]:
        """That there is such a key, and that it has that value; identities of a fleet share most labels."""
        name = f"{label.source}:{label.key}"
        numbers = self._of_labels[label] = (self._terms.of(name), self._terms.of(f"{name}={label.value}"))
        return numbers

    def named_ports(self, ports: Mapping[str, NamedPort]) -> list[tuple[int, int, int]]:
        """(name, protocol, port) each."""
        return [
            (self._names.of(name), PROTOCOL_NUMBERS[port.protocol], port.number)
            for name, port in ports.items()
        ]


@attrs.define
class Compiler:
    """
    What a cluster's policies are compiled with.

    Attributes:
        dual_stack: Whether the cluster has IPv6, which decides what the world is called.
        cidr_match_modes: Of `nodes` and `pods`, whom networks select besides the world
            (`policy-cidr-match-mode`).
    """

    statements: Statements
    dual_stack: bool = True
    cidr_match_modes: Collection[str] = ()

    # Rules

    def rules(self, rules: Sequence[Rule]) -> tuple[list[CoreSelector], list[CoreRule]]:
        """Selectors, each once, and rules, which refer to them by their places."""
        places: dict[Selector, int] = {}
        for rule in rules:
            for selector in (rule.subject, *(rule.peers or ())):
                places.setdefault(selector, len(places))
        return [self.selector(each) for each in places], [self._rule(each, places) for each in rules]

    def _rule(self, rule: Rule, places: Mapping[Selector, int]) -> CoreRule:
        return (
            DIRECTIONS.index(rule.direction),
            VERDICTS.index(rule.verdict),
            TIERS.index(rule.tier),
            rule.priority,
            places[rule.subject],
            rule.on_host,
            rule.default_deny,
            rule.peers is None,
            [places[each] for each in rule.peers or ()],
            [self._port_rule(each, rule.direction) for each in rule.ports],
            AUTHENTICATION.index(rule.authentication),
        )

    def _port_rule(self, rule: PortRule, direction: Direction) -> CorePortRule:
        name, priority = rule.listener
        listener = self.statements.listener(name)
        return (
            [self._port(each) for each in rule.ports],
            PARSERS.index(rule.parser),
            listener,
            priority,
            bool(rule.server_names) and not rule.terminates_tls,
            0 if rule.parser is None else proxy_port(rule.parser, direction, listener),
        )

    def _port(self, port: PortRange) -> CorePort:
        return port.protocol, port.first, port.last, self.statements.name(port.name)

    # Selectors

    def selector(self, selector: Selector) -> CoreSelector:
        match selector:
            case LabelSelector():
                return [self.statements.requirement(each) for each in selector.requirements]
            case FqdnSelector():
                return [self._any_of([f"{selector.label.source}:{selector.label.key}"])]
            case CidrSelector():
                return list(self._cidr(selector))

    def _cidr(self, selector: CidrSelector) -> Iterator[CoreRequirement]:
        modes = selector.modes(self.cidr_match_modes)
        yield from self._has_address(modes)
        if selector.network is not None:
            wanted = [self._inside(selector.network)]
            if not selector.network.prefixlen and "pods" in modes:
                wanted.append(_within(selector.network))
            yield self._any_of(wanted)
        for group in selector.groups:
            wanted = [text for each in group_keys(group) for text in _of_any_source(each, "")]
            yield self._any_of(wanted, negated=_is_negated(group))
        for hole in selector.excepted:
            yield self._any_of([self._inside(hole)], negated=True)

    def _inside(self, network: Network) -> str:
        """Of a whole family its world."""
        if network.prefixlen:
            return _within(network)
        return str(network_label(network, dual_stack=self.dual_stack))

    def _has_address(self, modes: Collection[str]) -> Iterator[CoreRequirement]:
        """Whom networks select at all (CIDRSelector.Matches)."""
        worlds = [f"{RESERVED}:{world}" for world in WORLDS]
        nodes = [f"{RESERVED}:{node}" for node in ("host", "remote-node")]
        if "pods" not in modes:
            yield self._any_of([*worlds, *(nodes if "nodes" in modes else ())])
        elif "nodes" not in modes:
            yield self._any_of(nodes, negated=True)

    def _any_of(self, statements: Iterable[str], *, negated: bool = False) -> CoreRequirement:
        return negated, [self.statements.term(text) for text in statements]


def _wanted(requirement: Requirement) -> Iterator[str]:
    """The statements of which any is enough."""
    key = requirement.key
    if key.network is not None:
        yield _within(key.network)
    elif requirement.operator in {"Exists", "DoesNotExist"}:
        yield from _of_any_source(key, "")
    else:
        for value in sorted(requirement.values):
            yield from _of_any_source(key, f"={value}")


def _is_negated(requirement: Requirement) -> bool:
    return requirement.operator in {"NotIn", "DoesNotExist"}


def _of_any_source(key: LabelKey, rest: str) -> Iterator[str]:
    """An identity has a key of one source only; of source `any` a selector means whichever that is."""
    for source in SOURCES if key.source == ANY else (key.source,):
        yield f"{source}:{key.key}{rest}"


def _within(network: object) -> str:
    return f"within {network}"
