"""
Who may reach whom, the slow and obvious way: every rule of the subject is looked at for every packet.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from typing import Any

import attrs
import re2  # type: ignore[import-untyped]

from fleetmesh.policy import Reading, Refused, Rule, read_policy
from fleetmesh.policy.labels import (
    K8S,
    METADATA_NAME,
    Label,
    LabelSet,
    NamedPort,
    Network,
    cidr_label,
    named_ports,
    pod_labels,
    reserved,
    world_label,
)
from fleetmesh.policy.rule import (
    ANY_PROTOCOL,
    PROTOCOL_NUMBERS,
    TIERS,
    DnsRule,
    HttpRule,
    PortRange,
    PortRule,
    Source,
)
from fleetmesh.policy.selectors import (
    WILDCARD,
    CidrSelector,
    FqdnSelector,
    Selector,
    group_labels,
    reserved_selector,
)
from fleetmesh.resources import read_manifests
from fleetmesh.resources.model import Pod, PolicyObject, Resource, Service

PARSER_RANKS = {"http": 101, "tls": 116, "dns": 121, "crd": 126}
DENY, PASS, ALLOW = 255, 0, 1
AUTHENTICATION = {"disabled": 0, "required": 1, "test-always-fail": 2}
AUTHENTICATION_NAMES = ("disabled", "spire", "test-always-fail")
DNS_CHARACTERS = "[-a-zA-Z0-9_]"


@attrs.frozen
class Identity:
    """
    Attributes:
        scope: What it is counted among where no entry is its own: an aggregate's label, "" for reserved ones.
    """

    labels: LabelSet
    aggregate: str
    named_ports: Mapping[str, NamedPort] = attrs.field(factory=dict, eq=False)


@attrs.frozen
class Packet:
    protocol: int
    port: int


@attrs.frozen
class Side:
    """What one side decides."""

    verdict: str
    enforced: bool
    matched: bool
    l7: str | None = None
    auth: str | None = None
    l7_allow: bool | None = None
    spec_verdict: str | None = None


@attrs.define
class Config:
    policy_enforcement: str = "default"
    policy_default_local_cluster: bool = True
    allow_localhost: str = "always"
    enable_ipv6: bool = True
    enable_host_firewall: bool = False
    policy_cidr_match_mode: Sequence[str] = ()
    disable_non_default_deny: bool = False


@attrs.frozen
class Candidate:
    """A rule that speaks about a packet, by one of its peers and one of its ports."""

    rule: Rule
    port_rule: PortRule | None
    port: PortRange
    selector: Selector
    length: int  # how much of protocol and port it names, in bits
    specific: bool  # whether it names the identity
    aggregate: bool  # whether it names its aggregate

    @property
    def standing(self) -> tuple[float, float]:
        """The level, the higher of which decides."""
        return -self.level[0], -self.level[1]

    @property
    def level(self) -> tuple[int, float]:
        return TIERS.index(self.rule.tier), self.rule.priority

    @property
    def rank(self) -> int:
        """Among those of one level."""
        if self.rule.verdict != "allow":
            return DENY if self.rule.verdict == "deny" else PASS
        parser = self.parser
        if parser is None:
            return ALLOW
        listener = self.port_rule.listener[1] if self.port_rule else 0
        return 254 - (listener or PARSER_RANKS[parser])

    @property
    def parser(self) -> str | None:
        return self.port_rule.parser if self.port_rule else None


class Agent:
    """One cluster's policies."""

    def __init__(self, name: str, config: Config, resources: Sequence[Resource]) -> None:
        self.name, self.config = name, config
        services = [each for each in resources if isinstance(each, Service)]
        self.reading = Reading(
            name,
            config.policy_default_local_cluster,
            not config.disable_non_default_deny,
            services=services,
        )
        self.rules: list[Rule] = []
        self.refused: dict[str, Refused] = {}
        self.groups: list[tuple[Network, tuple[Label, ...]]] = []
        for each in resources:
            if not isinstance(each, PolicyObject):
                continue
            if each.kind == "CiliumCIDRGroup":
                labels = tuple(group_labels(each.name, each.labels))
                self.groups += [(ip_network(cidr), labels) for cidr in each.document["spec"]["externalCIDRs"]]
                continue
            try:
                self.rules += read_policy(each, self.reading)
            except Refused as refused:
                self.refused[each.subject] = refused
        self.cidrs = {
            network
            for rule in self.rules
            for peer in rule.peers or ()
            if isinstance(peer, CidrSelector)
            for network in peer.networks
        }
        node = next((each for each in resources if each.kind == "Node"), None)
        self.node_labels = dict(node.labels) if node is not None else {}

    # Identities

    def address(self, address: IPv4Address | IPv6Address, dns: Mapping[str, Sequence[str]]) -> Identity:
        """Of one that no pod has."""
        dual = self.config.enable_ipv6
        fqdn = [
            peer.label
            for rule in self.rules
            for peer in rule.peers or ()
            if isinstance(peer, FqdnSelector)
            and any(
                str(address) in map(str, map(ip_address, addresses)) and name_matches(peer, name)
                for name, addresses in dns.items()
            )
        ]
        inside = sorted((each for each in self.cidrs if address in each), key=lambda each: each.prefixlen)
        groups = [label for network, labels in self.groups if address in network for label in labels]
        if not inside and not groups and not fqdn:
            world = world_label(address.version, dual_stack=True) if dual else reserved("world")
            return Identity(LabelSet.of([world]), "")
        labels = [world_label(address.version, dual_stack=dual), *groups, *fqdn]
        if inside and inside[-1].prefixlen:
            labels.append(cidr_label(inside[-1]))
        alone = len(labels) == 1
        return Identity(LabelSet.of(labels), "" if alone else "aggregate-world")

    def selects(self, selector: Selector, identity: Identity) -> tuple[bool, bool]:
        """Whether it selects the identity itself, and whether its aggregate."""
        dual = self.config.enable_ipv6
        if isinstance(selector, CidrSelector):
            modes = self.config.policy_cidr_match_mode
            return selector.matches(identity.labels, dual_stack=dual, match_modes=modes), False
        if isinstance(selector, FqdnSelector):
            return selector.matches(identity.labels), False
        if selector.is_wildcard:
            return False, True
        aggregate = bool(identity.aggregate) and selector.matches(LabelSet.of([reserved(identity.aggregate)]))
        return selector.matches(identity.labels), aggregate

    # Decisions

    def decide(
        self,
        subject: Identity,
        peer: Identity,
        packet: Packet,
        direction: str,
        *,
        on_host: bool = False,
        http: Mapping[str, Any] | None = None,
        dns_query: str | None = None,
    ) -> Side:
        config = self.config
        if (on_host and not config.enable_host_firewall) or config.policy_enforcement == "never":
            return Side("allow", False, True)
        rules = [
            each
            for each in self.rules
            if each.direction == direction
            and each.on_host == on_host
            and each.subject.matches(subject.labels)
        ]
        always = config.policy_enforcement == "always" or subject.labels.has("reserved", "init")
        if not rules and not always:
            return Side("allow", False, True)
        isolated = always or any(each.default_deny for each in rules)
        if rules:
            rules += self._default_rules(rules, direction, isolated=isolated, on_host=on_host)
        found = [each for rule in rules for each in self._candidates(rule, subject, peer, packet)]
        winners = decisive(found)
        if not winners:
            return Side("deny", True, False)
        return self._side(winners, found, rules, subject, packet, http, dns_query, isolated=isolated)

    def _default_rules(
        self, rules: Sequence[Rule], direction: str, *, isolated: bool, on_host: bool
    ) -> Iterator[Rule]:
        def default(verdict: str, peer: Selector, priority: int = 0) -> Rule:
            said: Any = {"direction": direction, "verdict": verdict, "tier": "default", "priority": priority}
            source = Source("reserved", verdict)
            return Rule(**said, subject=WILDCARD, peers=(peer,), source=source, default_deny=False)

        if not isolated:
            yield default("allow", WILDCARD)
            return
        if direction == "ingress" and self.config.allow_localhost == "always" and not on_host:
            yield default("allow", reserved_selector("host"))
        if any(each.verdict == "pass" for each in rules):
            yield default("deny", WILDCARD, 1)

    def _candidates(
        self, rule: Rule, subject: Identity, peer: Identity, packet: Packet
    ) -> Iterator[Candidate]:
        if rule.peers is None or (not rule.peers and not rule.ports):
            return
        ports: list[tuple[PortRule | None, PortRange]] = [
            (each, port) for each in rule.ports for port in each.ports
        ]
        if not rule.ports:
            ports = [(None, PortRange(ANY_PROTOCOL))]
        for selector in rule.peers or (WILDCARD,):
            itself, aggregate = self.selects(selector, peer)
            if not itself and not aggregate:
                continue
            for port_rule, port in ports:
                named = (subject if rule.direction == "ingress" else peer).named_ports
                length = covers(port, packet, named)
                if length is not None:
                    yield Candidate(rule, port_rule, port, selector, length, itself, aggregate)

    def _side(
        self,
        winners: Sequence[Candidate],
        found: Sequence[Candidate],
        rules: Sequence[Rule],
        subject: Identity,
        packet: Packet,
        http: Mapping[str, Any] | None,
        dns_query: str | None,
        *,
        isolated: bool,
    ) -> Side:
        best = max(winners, key=lambda each: each.rank)
        normal = any(each.tier == "normal" and each.default_deny for each in rules)
        top = [each for each in winners if each.rank == best.rank]
        leak = normal and best.rank != DENY and all(each.rule.tier == "baseline" for each in top)
        spec = "deny" if leak else None
        if best.rank == DENY:
            return Side("deny", True, True)
        auth = authentication(found)
        if best.parser is None:
            return Side("allow", True, True, auth=auth, spec_verdict=spec)
        allowed = None
        if best.parser == "http" and http is not None:
            allowed = http_allowed(found, http, isolated=isolated)
        elif best.parser == "dns" and dns_query is not None:
            allowed = dns_allowed(found, packet, dns_query, isolated=isolated)
        return Side("redirect", True, True, best.parser, auth, allowed, spec)


def decisive(found: Sequence[Candidate]) -> Sequence[Candidate]:
    """Those of the first level that decides."""
    passed: set[int] = set()
    for level in sorted({each.level for each in found}):
        if level[0] in passed:
            continue
        here = [each for each in found if each.level == level]
        if max(each.rank for each in here) != PASS:
            return here
        passed.add(level[0])
    return ()


def covers(port: PortRange, packet: Packet, named: Mapping[str, NamedPort]) -> int | None:
    """How many bits of protocol and port it names; `None` where it is not about the packet."""
    if port.protocol == ANY_PROTOCOL:
        return 0
    if port.protocol != packet.protocol:
        return None
    if port.name:
        known = named.get(port.name)
        same = known is not None and PROTOCOL_NUMBERS[known.protocol] == packet.protocol
        return 24 if same and known is not None and known.number == packet.port else None
    if not port.first:
        return 8
    if not port.first <= packet.port <= port.last:
        return None
    return 8 + next(length for length in range(17) if is_within(packet.port, length, port))


def is_within(number: int, length: int, port: PortRange) -> bool:
    """Whether the aligned prefix of that length around a number lies in the range."""
    size = 1 << (16 - length)
    start = number & ~(size - 1)
    return port.first <= start and start + size - 1 <= port.last


@attrs.frozen
class Asked:
    """
    What the rules for one length of protocol and port come to, of one identity or of its aggregate.

    Attributes:
        level: The higher one decides.
        rank: Within the level, likewise.
        auth: The number of what is asked for; `explicit` says that a rule says so.
    """

    level: tuple[float, float]
    rank: int
    auth: int
    explicit: bool
    length: int


def authentication(found: Sequence[Candidate]) -> str | None:
    """As `mapState.lookup` and `authPreferredInsert` have it, which is a matter of entries, not of rules."""
    own = asked([each for each in found if each.specific])
    all_of_them = asked([each for each in found if each.aggregate])
    if own is None or all_of_them is None:
        one = own or all_of_them
    elif (own.level, own.rank) != (all_of_them.level, all_of_them.rank):
        one = max(own, all_of_them, key=lambda each: (each.level, each.rank))
    else:
        one, other = (all_of_them, own) if own.length > all_of_them.length else (own, all_of_them)
        if not one.explicit and other.auth > one.auth:
            one = attrs.evolve(one, auth=other.auth)
    assert one is not None
    return AUTHENTICATION_NAMES[one.auth] if one.explicit or one.auth else None


def asked(found: Sequence[Candidate]) -> Asked | None:
    """What the longest of those that stay says."""
    merged: dict[int, Asked] = {}
    for length in {each.length for each in found}:
        here = [each for each in found if each.length == length]
        level, rank = max((each.standing, each.rank) for each in here)
        said = [
            AUTHENTICATION[each.rule.authentication]
            for each in here
            if each.rule.authentication and each.standing == level and rank != DENY
        ]
        merged[length] = Asked(level, rank, max(said, default=0), bool(said), length)
    for length in sorted(merged, reverse=True):
        stays = settled(
            merged[length], [merged[each] for each in sorted(merged, reverse=True) if each < length]
        )
        if stays is not None:
            return stays
    return None


def settled(one: Asked, covers: Sequence[Asked]) -> Asked | None:
    """Under those that cover it, the most specific first."""
    result, derived, raised = one, one.explicit or one.rank == DENY, False
    for each in covers:
        if (each.level, each.rank) > (one.level, one.rank):
            if DENY in {each.rank, one.rank} or not one.explicit:
                return None
            if not raised:
                result, raised = attrs.evolve(result, level=each.level, rank=each.rank), True
        if not derived and each.explicit and each.level >= one.level:
            result, derived = attrs.evolve(result, auth=each.auth), True
    return result


def http_allowed(found: Sequence[Candidate], request: Mapping[str, Any], *, isolated: bool) -> bool | None:
    """`None` where Envoy alone would know: a plain rule covers what an HTTP rule refuses."""
    if not isolated:
        return True
    rules = [each for each in found if each.rule.verdict == "allow"]
    plain = [each for each in rules if each.parser != "http"]
    for each in rules:
        assert each.port_rule is not None or each.parser is None
        if each.parser != "http" or each.port_rule is None:
            continue
        if any(isinstance(rule, HttpRule) and http_matches(rule, request) for rule in each.port_rule.l7):
            return True
        if any(same_filter(each, other) for other in plain):
            return True
    return None if plain else False


def same_filter(one: Candidate, other: Candidate) -> bool:
    return one.port == other.port and one.selector == other.selector


def http_matches(rule: HttpRule, request: Mapping[str, Any]) -> bool:
    pairs = ((rule.path, "path"), (rule.method, "method"), (rule.host, "host"))
    if any(pattern and not re2.fullmatch(pattern, request.get(name) or "") for pattern, name in pairs):
        return False
    headers = {name.lower(): value for name, value in (request.get("headers") or {}).items()}
    return all(
        not each.refuses
        or each.secret
        or (each.name.lower() in headers and each.value in {None, headers[each.name.lower()]})
        for each in rule.headers
    )


def dns_allowed(found: Sequence[Candidate], packet: Packet, query: str, *, isolated: bool) -> bool:
    name = query.rstrip(".").lower() + "."
    exact = [each for each in found if each.rule.verdict == "allow" and each.length == 24]
    if not isolated:
        return True
    return any(
        not each.port_rule
        or each.parser != "dns"
        or any(isinstance(rule, DnsRule) and dns_matches(rule, name) for rule in each.port_rule.l7)
        for each in exact
    )


def name_matches(selector: FqdnSelector, name: str) -> bool:
    return dns_matches(DnsRule(selector.name, selector.pattern), name.rstrip(".").lower() + ".")


def dns_matches(rule: DnsRule, name: str) -> bool:
    matched = bool(rule.name) and name == rule.name.rstrip(".").lower() + "."
    return matched or (bool(rule.pattern) and re.fullmatch(dns_pattern(rule.pattern), name) is not None)


def dns_pattern(pattern: str) -> str:
    pattern = pattern.strip().lower()
    if re.fullmatch(r"\*+\.?", pattern):
        return rf"({DNS_CHARACTERS}+[.])+|[.]"
    pattern = pattern.rstrip(".") + "."
    rest, prefix = pattern, ""
    if found := re.match(r"\*{2,}\.", pattern):
        rest, prefix = pattern[found.end() :], rf"({DNS_CHARACTERS}+([.]{DNS_CHARACTERS}+)*)[.]"
    parts = re.findall(r"\*+|[^*]+", rest)
    body = "".join(f"{DNS_CHARACTERS}*" if part[0] == "*" else re.escape(part) for part in parts)
    return prefix + body


class World:
    """A fleet, and what names have resolved to."""

    def __init__(
        self, clusters: Mapping[str, tuple[Config, Sequence[Resource]]], dns: Mapping[str, Sequence[str]]
    ) -> None:
        self.agents = {name: Agent(name, *each) for name, each in clusters.items()}
        self.dns = dns
        self.pods: dict[str, tuple[str, LabelSet, Mapping[str, NamedPort]]] = {}
        self.addresses: dict[IPv4Address | IPv6Address, str] = {}
        for cluster, (_, resources) in clusters.items():
            spaces = {each.name: each.labels for each in resources if each.kind == "Namespace"}
            for pod in resources:
                if isinstance(pod, Pod):
                    labels = {**spaces.get(pod.namespace, {}), METADATA_NAME: pod.namespace}
                    key = f"{cluster}/{pod.namespace}/{pod.name}"
                    found = pod_labels(pod.template, pod.namespace, labels, cluster)
                    self.pods[key] = cluster, found, named_ports(pod.template)
                    self.addresses.update((ip_address(each), key) for each in pod.addresses)

    def peer(self, agent: Agent, end: str) -> Identity:
        """An end as a cluster's nodes see it."""
        kind, _, rest = end.partition(":")
        if kind == "ip":
            address = ip_address(rest)
            pod = self.addresses.get(address)
            return agent.address(address, self.dns) if pod is None else self.peer(agent, pod)
        if kind == "host":
            return Identity(LabelSet.of([reserved("host" if rest == agent.name else "remote-node")]), "")
        if kind == "entity":
            more = ["remote-node"] if rest == "kube-apiserver" else []
            return Identity(LabelSet.of(map(reserved, [rest, *more])), "")
        cluster, labels, named = self.pods[end]
        return Identity(
            labels, "aggregate-cluster" if cluster == agent.name else "aggregate-cluster-mesh", named
        )

    def subject(self, end: str) -> tuple[Agent, Identity, bool] | None:
        kind, _, rest = end.partition(":")
        if kind == "host":
            agent = self.agents[rest]
            labels = [Label(K8S, *each) for each in agent.node_labels.items()]
            return agent, Identity(LabelSet.of([*labels, reserved("host")]), ""), True
        if end in self.pods:
            agent = self.agents[self.pods[end][0]]
            return agent, self.peer(agent, end), False
        return None

    def decide(self, source: str, to: str, protocol: str, port: int, **l7: Any) -> dict[str, Side | None]:
        packet = Packet(PROTOCOL_NUMBERS[protocol.upper()], port)
        sides: dict[str, Side | None] = {}
        for direction, own, other in (("egress", source, to), ("ingress", to, source)):
            found = self.subject(own)
            if found is None or own == other:
                sides[direction] = None
                continue
            agent, subject, on_host = found
            peer = self.peer(agent, other)
            sides[direction] = agent.decide(subject, peer, packet, direction, on_host=on_host, **l7)
        return sides


def world_of(case: Mapping[str, Any]) -> World:
    """Of a case as golden/policy.json has them."""
    clusters = {
        name: (Config(**cluster.get("config") or {}), read_manifests(cluster["manifests"]).resources)
        for name, cluster in case["clusters"].items()
    }
    return World(clusters, case.get("dns") or {})


def verdict_of(sides: Mapping[str, Side | None]) -> str:
    verdicts = {each.verdict for each in sides.values() if each is not None}
    return next((each for each in ("deny", "redirect") if each in verdicts), "allow")
