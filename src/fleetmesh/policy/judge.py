"""
One cluster's policies over the identities that it knows.
"""

from __future__ import annotations

from bisect import insort
from collections.abc import Collection, Hashable, Iterable, Iterator, Mapping, Sequence
from ipaddress import IPv4Address, IPv6Address, ip_network

import attrs

from fleetmesh import _core
from fleetmesh.policy.advice import to_allow, to_deny
from fleetmesh.policy.compile import Compiler
from fleetmesh.policy.decision import FlowVerdict, Side, Statement
from fleetmesh.policy.labels import (
    Label,
    LabelSet,
    NamedPort,
    Network,
    cidr_label,
    reserved,
    world_label,
)
from fleetmesh.policy.matching import Request, dns_matches, http_matches
from fleetmesh.policy.named import NamedAddresses
from fleetmesh.policy.registry import FIRST_OF_PODS, RESERVED, Identity, IdentityRegistry
from fleetmesh.policy.rule import (
    ANY_PROTOCOL,
    EVERYTHING,
    PROTOCOL_NUMBERS,
    Direction,
    DnsRule,
    HttpRule,
    PortRange,
    PortRule,
    Rule,
    Source,
)
from fleetmesh.policy.selectors import WILDCARD, CidrSelector, FqdnSelector, LabelSelector, Selector

_PARSER_BYTES = {254 - 101: "http", 254 - 116: "tls", 254 - 121: "dns"}
_AUTHENTICATION = ("disabled", "spire", "test-always-fail")
_ENFORCEMENTS = ("default", "always", "never")
_DENY, _ALLOW = 255, 1
_FAMILIES: tuple[Network, ...] = (ip_network("0.0.0.0/0"), ip_network("::/0"))
_PORT_BITS = 24


@attrs.frozen
class Options:
    """
    Attributes:
        enforcement: `default`, `always` or `never`.
        allow_host: Whether a node may reach its own pods, whatever isolates them.
        isolation_is_final: Whether tier Baseline leaves alone whom a rule before it isolates (mode `strict`).
        cluster_shift: Bits of an identity's number below its cluster's id: 16, or 15 in a mesh of 511.
    """

    cluster_id: int
    enforcement: str = "default"
    allow_host: bool = True
    host_firewall: bool = False
    dual_stack: bool = True
    cidr_match_modes: tuple[str, ...] = ()
    cluster_shift: int = 16
    isolation_is_final: bool = False


@attrs.frozen
class Flow:
    """
    Attributes:
        protocol: IANA's number.
        port: Of ICMP the type.
        http: The request, if one is asked about.
        dns_query: The name, if one is asked about.
    """

    protocol: int
    port: int
    http: Request | None = None
    dns_query: str | None = None


@attrs.frozen
class Conflict:
    """Two rules for the same ports and peers that can't both be carried out."""

    one: Source
    other: Source
    why: str

    @property
    def words(self) -> str:
        """What is wrong with them, after `rules that`."""
        ends = f"{self.one.path} of {self.one.subject} and {self.other.path} of {self.other.subject}"
        return f"can't both be carried out, {ends}: {self.why}"


@attrs.frozen
class _Match:
    """A rule that speaks about a flow, by one peer and one range of ports."""

    rule: Rule
    port_rule: PortRule | None
    port: PortRange
    selector: Selector

    @property
    def level(self) -> tuple[int, float]:
        return self.rule.level


@attrs.define(eq=False)
class PolicyJudge:
    """
    Decides for the endpoints of one cluster, and follows the policies that it has.

    Attributes:
        registry: The identities of the mesh.
        dns: The names that were resolved, with their addresses.
        groups: Name of a CiliumCIDRGroup -> its networks, and the labels that they give.
    """

    registry: IdentityRegistry
    options: Options
    dns: Mapping[str, Sequence[IPv4Address | IPv6Address]] = attrs.field(factory=dict)
    groups: dict[str, tuple[Sequence[Network], Sequence[Label]]] = attrs.field(factory=dict, init=False)
    _groups_version: int = attrs.field(default=0, init=False)
    _world: tuple[object, object, Sequence[tuple[Network, Identity]]] | None = attrs.field(
        default=None, init=False
    )
    _compiler: Compiler = attrs.field(init=False)
    _repository: _core.PolicyRepository = attrs.field(init=False)
    _rules: dict[str, tuple[int, tuple[Rule, ...]]] = attrs.field(factory=dict, init=False)
    _order: list[str] = attrs.field(factory=list, init=False)
    _numbered: dict[int, Rule] = attrs.field(factory=dict, init=False)
    _named: NamedAddresses = attrs.field(init=False)
    _changes: int = attrs.field(default=0, init=False)
    _policies: dict[tuple[LabelSet, bool], tuple[int, _core.EndpointPolicy]] = attrs.field(
        factory=dict, init=False
    )

    def __attrs_post_init__(self) -> None:
        options = self.options
        self._compiler = Compiler(self.registry.statements, options.dual_stack, options.cidr_match_modes)
        self._repository = _core.PolicyRepository(
            self.registry.core,
            enforcement=_ENFORCEMENTS.index(options.enforcement),
            allow_host=options.allow_host,
            host_firewall=options.host_firewall,
            isolation_is_final=options.isolation_is_final,
            cluster=options.cluster_id,
            cluster_shift=options.cluster_shift,
        )
        self._named = NamedAddresses("pods" in options.cidr_match_modes)

    # Policies

    def set_rules(self, policy: str, rules: tuple[Rule, ...]) -> None:
        """
        The rules of a policy, in the place of those that it had; without any it is gone. Costs what it has.

        Args:
            policy: Whatever it is known by. Cilium takes rules in the order of these.
        """
        if not rules and policy not in self._rules:
            return
        self._changes += 1
        first, old = self._rules.pop(policy, (0, ()))
        self._named.remove(old)
        for number in range(first, first + len(old)):
            del self._numbered[number]
        if not rules:
            self._order.remove(policy)
            self._repository.remove_rules(policy)
            return
        if not old:
            insort(self._order, policy)
        first = self._repository.set_rules(policy, *self._compiler.rules(rules))
        self._rules[policy] = (first, rules)
        self._named.add(rules)
        self._numbered.update(enumerate(rules, first))

    def rules_of(self, policy: str) -> tuple[Rule, ...]:
        """Those that it has; none where it is not known."""
        return self._rules.get(policy, (0, ()))[1]

    @property
    def rules(self) -> Sequence[Rule]:
        """All of the cluster, in the order in which Cilium takes them."""
        return [rule for policy in self._order for rule in self._rules[policy][1]]

    def hear(self, clusters: Iterable[int]) -> None:
        """The ids of the other clusters whose identities it knows."""
        self._repository.hear(list(clusters))

    def of_address(self, address: IPv4Address | IPv6Address) -> Identity:
        """
        Whom this cluster takes an address for that is nobody's in the mesh: the world, or what the longest
        network that any policy names makes of it (pkg/ipcache).
        """
        names = [each.label for each in self._named.names if self._resolved(each, address)]
        return self._identity_within(address.version, self._around(address), names)

    def set_group(self, name: str, group: tuple[list[Network], list[Label]] | None) -> None:
        """What the networks of a CiliumCIDRGroup are, and the labels that it gives; `None`: it has gone."""
        self._groups_version += 1
        if group is None:
            self.groups.pop(name, None)
        else:
            self.groups[name] = group

    def networks_of_the_world(self) -> Sequence[tuple[Network, Identity]]:
        """
        What `of_address` says, by networks: of those here the longest that holds an address has its identity.
        The same object as long as neither networks nor names have changed.
        """
        version = (self._named.version, self._groups_version)
        if self._world is None or self._world[0] != version or self._world[1] is not self.dns:
            self._world = version, self.dns, tuple(self._networks_of_the_world())
        return self._world[2]

    def _networks_of_the_world(self) -> Iterator[tuple[Network, Identity]]:
        resolved: dict[Network, set[Label]] = {}
        for hostname, addresses in self.dns.items():
            labels = {each.label for each in self._named.names if _names(each, hostname)}
            for address in addresses if labels else ():
                resolved.setdefault(_single(address), set()).update(labels)
        by_group: dict[Network, set[Label]] = {}
        for networks, labels_of_group in self.groups.values():
            for network in networks:
                by_group.setdefault(network, set()).update(labels_of_group)
        wanted = {*_FAMILIES, *self._named.networks, *by_group, *resolved}
        around: list[Network] = []
        for network in sorted(wanted, key=lambda each: (each.version, each.network_address, each.prefixlen)):
            while around and network.network_address not in around[-1]:
                around.pop()
            around.append(network)
            groups = [label for each in around for label in by_group.get(each, ())]
            yield network, self._identity_of(network.version, around, groups, resolved.get(network, ()))

    def _told_networks(self) -> set[Network]:
        return {*self._named.networks, *(each for networks, _ in self.groups.values() for each in networks)}

    def _around(self, address: IPv4Address | IPv6Address) -> list[Network]:
        return [each for each in self._told_networks() if address in each]

    def _identity_within(
        self, version: int, around: Collection[Network], names: Collection[Label]
    ) -> Identity:
        """Of addresses that are in these networks and no others, and have these names."""
        return self._identity_of(version, around, self._labels_of_groups(around), names)

    def _identity_of(
        self,
        version: int,
        around: Collection[Network],
        groups: Collection[Label],
        names: Collection[Label],
    ) -> Identity:
        named = [each for each in around if each in self._named.networks]
        if not names and not groups and not named:
            return self.world(version)
        labels = [world_label(version, dual_stack=self.options.dual_stack), *groups, *names]
        if named:
            labels.append(cidr_label(max(named, key=lambda each: each.prefixlen)))
        found = LabelSet.of(labels)
        if len(found.labels) == 1:
            return Identity(RESERVED[found.labels[0].key], found)
        return self.registry.of_address(found)

    def spread(self, selector: LabelSelector) -> Mapping[int, int]:
        """Cluster id -> how many of its identities are selected, whether they are heard or not."""
        return self.registry.core.spread(self._compiler.selector(selector), self.options.cluster_shift)

    def forget(self, labels: LabelSet) -> None:
        """No endpoint has these labels any more."""
        self._policies.pop((labels, False), None)

    def _labels_of_groups(self, around: Collection[Network]) -> list[Label]:
        """Of the groups that have any of these networks; in one order, whichever came first."""
        return sorted(
            label
            for networks, labels in self.groups.values()
            if any(each in around for each in networks)
            for label in labels
        )

    @property
    def addresses_told_by(self) -> Hashable:
        """Judges for which that is equal make the same of addresses, nobody's and pods'."""
        options, named = self.options, self._named
        groups = frozenset((tuple(networks), tuple(labels)) for networks, labels in self.groups.values())
        told = (frozenset(each) for each in (named.networks, named.names, named.of_pods))
        return options.dual_stack, frozenset(options.cidr_match_modes), groups, named.asks_pods, *told

    @property
    def named_networks(self) -> frozenset[Network]:
        """What addresses are told apart by: networks of rules and groups, and the addresses of names."""
        learnt = {ip_network(each) for addresses in self.dns.values() for each in addresses}
        return frozenset(self._told_networks() | (learnt if self._named.names else set()))

    @property
    def selects_by_address(self) -> bool:
        """Whether any network selects pods."""
        return self._named.asks_pods

    def networks_of_pod(self, addresses: Iterable[IPv4Address | IPv6Address]) -> list[Label]:
        """
        What tells networks that select pods that these addresses are within them: the longest of those
        networks, else the whole family (pkg/endpoint computeCIDRLabelsRLocked). Nothing where none do.
        """
        if not self.selects_by_address:
            return []
        found: list[Label] = []
        for address in addresses:
            if self._named.everywhere:
                found += self._labels_of_groups(self._around(address))
            family = ip_network((0 if address.version == 4 else bytes(16), 0))
            inside = (each for each in self._named.of_pods if address in each)
            found.append(cidr_label(max(inside, key=lambda each: each.prefixlen, default=family)))
        return found

    def world(self, version: int) -> Identity:
        """All addresses of which nothing is known; without IPv6 there is one world."""
        world = world_label(version, dual_stack=True) if self.options.dual_stack else reserved("world")
        return Identity(RESERVED[world.key], LabelSet.of([world]))

    def _resolved(self, selector: FqdnSelector, address: IPv4Address | IPv6Address) -> bool:
        return any(_names(selector, name) for name, addresses in self.dns.items() if address in addresses)

    # Decisions

    def decide(
        self, subject: Identity, peer: Identity, flow: Flow, direction: Direction, *, on_host: bool = False
    ) -> Side:
        """
        One side of a flow.

        Args:
            on_host: Whether the subject is the node itself.
        """
        conflict = self.conflict(subject, on_host=on_host)
        if conflict is not None:
            advice = f"mend one of the rules that {conflict.words}"
            ends = (conflict.one, conflict.other)
            return Side(direction, "deny", True, False, rules=ends, advice=advice)
        policy = self.policy(subject, on_host=on_host)
        ingress = direction == "ingress"
        found, precedence, auth, explicit, _ = policy.lookup(ingress, peer.number, flow.protocol, flow.port)
        enforced = policy.enforced(ingress)
        byte = precedence & 255
        matches = list(self._matches(subject, peer, flow, direction, on_host=on_host)) if enforced else []
        statements = self._statements(matches)
        rules = tuple(dict.fromkeys(each.source for each in statements if each.decides))
        refused = not found or byte == _DENY
        if refused:
            nearby = self._nearby(subject, peer, flow, direction, on_host=on_host)
            isolating = self.isolating(subject, direction, on_host=on_host)
            isolated_by = list(dict.fromkeys(each.source.subject for each in isolating))
            advice = to_allow(statements, nearby, peer.labels, direction, isolated_by)
        else:
            advice = to_deny(statements, direction, enforced=enforced)
        if refused:
            return Side(direction, "deny", enforced, found, rules=rules, statements=statements, advice=advice)
        said = _AUTHENTICATION[auth] if explicit or auth else None
        if byte == _ALLOW:
            return Side(direction, "allow", enforced, True, None, said, None, rules, statements, advice)
        parser = _PARSER_BYTES.get(byte, "crd")
        allowed = self._request_allowed(matches, parser, flow, isolated=policy.isolated(ingress))
        return Side(direction, "redirect", enforced, True, parser, said, allowed, rules, statements, advice)

    def verdict(
        self, subject: Identity, peer: Identity, flow: Flow, direction: Direction, *, on_host: bool = False
    ) -> FlowVerdict:
        """What `decide` says of the connection, without the reason; requests are left aside."""
        policy = self.policy(subject, on_host=on_host)
        if policy.conflict is not None:
            return "deny"
        found, precedence, *_ = policy.lookup(direction == "ingress", peer.number, flow.protocol, flow.port)
        return _verdict(precedence & 255 if found else _DENY)

    def said(
        self, subject: Identity, peer: Identity, direction: Direction, *, on_host: bool = False
    ) -> Iterator[tuple[int, tuple[FlowVerdict, Source | None]]]:
        """
        The verdict at every port, with the first of the rules behind it; `None`: none is.

        Yields (protocol << 16 | port from which on it holds, (verdict, rule)), in ascending order from 0.
        """
        policy = self.policy(subject, on_host=on_host)
        if policy.conflict is not None:
            yield 0, ("deny", self._numbered[policy.conflict[0]].source)
            return
        for start, found, precedence, rule in policy.answers(direction == "ingress", peer.number):
            source = self._numbered[rule].source if found and rule in self._numbered else None
            yield start, (_verdict(precedence & 255 if found else _DENY), source)

    def conflict(self, subject: Identity, *, on_host: bool = False) -> Conflict | None:
        """Why an endpoint's policy can't be resolved, if it can't (pkg/policy mergePortProto)."""
        found = self.policy(subject, on_host=on_host).conflict
        if found is None:
            return None
        one, other, why = found
        return Conflict(self._numbered[one].source, self._numbered[other].source, why)

    def policy(self, subject: Identity, *, on_host: bool = False) -> _core.EndpointPolicy:
        """
        By what an endpoint is judged, which follows the identities that come and go. After a change of any
        policy a look, which finds the same rule sets where the same rules speak.
        """
        key = (subject.labels, on_host)
        changes, policy = self._policies.get(key, (0, None))
        if policy is None or changes != self._changes:
            policy = self._resolve(subject, on_host=on_host)
            self._policies[key] = (self._changes, policy)
        return policy

    def _resolve(self, subject: Identity, *, on_host: bool) -> _core.EndpointPolicy:
        # The core has the statements on the labels of pods already.
        known = self.registry.numbered(subject.number) if subject.number >= FIRST_OF_PODS else None
        if known is not None and known.labels == subject.labels:
            return self._repository.resolve_known(subject.number)
        return self._repository.resolve(
            self.registry.statements.terms(subject.labels),
            self.registry.statements.named_ports(subject.named_ports),
            on_host,
            subject.labels.has("reserved", "init"),
        )

    def _matches(
        self, subject: Identity, peer: Identity, flow: Flow, direction: Direction, *, on_host: bool
    ) -> Iterator[_Match]:
        named = (subject if direction == "ingress" else peer).named_ports
        for rule in self._speaking(subject, direction, on_host=on_host):
            if rule.peers is None or not (rule.peers or rule.ports):
                continue
            selector = next((each for each in rule.peers or (WILDCARD,) if self._selects(each, peer)), None)
            if selector is None:
                continue
            everything: Sequence[tuple[PortRule | None, PortRange]] = ((None, EVERYTHING),)
            ports = [(each, port) for each in rule.ports for port in each.ports] or everything
            for port_rule, port in ports:
                if covers(port, flow, named):
                    yield _Match(rule, port_rule, port, selector)

    def _speaking(self, subject: Identity, direction: Direction, *, on_host: bool) -> Iterator[Rule]:
        found = [
            rule
            for rule in self.rules
            if (rule.direction, rule.on_host) == (direction, on_host) and rule.subject.matches(subject.labels)
        ]
        final = self.options.isolation_is_final and any(rule.default_deny for rule in found)
        return (rule for rule in found if not (final and rule.tier == "baseline"))

    def _nearby(
        self, subject: Identity, peer: Identity, flow: Flow, direction: Direction, *, on_host: bool
    ) -> Iterator[tuple[Rule, LabelSelector]]:
        """Rules that would allow the flow, were it from another peer."""
        named = (subject if direction == "ingress" else peer).named_ports
        for rule in self._speaking(subject, direction, on_host=on_host):
            ports = [port for each in rule.ports for port in each.ports] or [EVERYTHING]
            if rule.verdict != "allow" or not any(covers(port, flow, named) for port in ports):
                continue
            for selector in rule.peers or ():
                if isinstance(selector, LabelSelector) and not selector.matches(peer.labels):
                    yield rule, selector

    def isolating(self, subject: Identity, direction: Direction, *, on_host: bool = False) -> list[Rule]:
        """The rules by which an endpoint refuses what none allows."""
        return [rule for rule in self._speaking(subject, direction, on_host=on_host) if rule.default_deny]

    def _selects(self, selector: Selector, peer: Identity) -> bool:
        if isinstance(selector, CidrSelector):
            options = self.options
            return selector.matches(
                peer.labels, dual_stack=options.dual_stack, match_modes=options.cidr_match_modes
            )
        if selector.matches(peer.labels):
            return True
        # What selects an aggregate selects all that it stands for.
        aggregate = self._repository.aggregate_of(peer.number)
        name = next((name for name, number in RESERVED.items() if number == aggregate), None)
        return (
            isinstance(selector, LabelSelector)
            and name is not None
            and selector.matches(LabelSet.of([reserved(name)]))
        )

    def _statements(self, matches: Sequence[_Match]) -> tuple[Statement, ...]:
        """In the order in which they are asked, with who decided."""
        found = []
        decided, passed = False, set[int]()
        by_level = sorted({each.level for each in matches})
        for level in by_level:
            here = [each for each in matches if each.level == level]
            verdict = next(
                (each for each in ("deny", "allow", "pass") if any(m.rule.verdict == each for m in here)), ""
            )
            skipped = level[0] in passed
            for each in here:
                because = ""
                if decided:
                    because = "a rule of an earlier tier or priority decides"
                elif skipped:
                    because = "an earlier rule passes the flow on to the next tier"
                elif each.rule.verdict != verdict:
                    because = f"a rule of the same level that says {verdict} comes first"
                found.append(
                    Statement(
                        each.rule.source,
                        each.rule.verdict,
                        each.rule.tier,
                        str(each.selector),
                        "" if each.port_rule is None else str(each.port),
                        not because and verdict != "pass",
                        because or ("it passes the flow on" if verdict == "pass" else ""),
                    )
                )
            if verdict == "pass" and not skipped:
                passed.add(level[0])
            elif verdict and not skipped:
                decided = True
        return tuple(sorted(found, key=lambda each: not each.decides))

    def _request_allowed(
        self, matches: Sequence[_Match], parser: str, flow: Flow, *, isolated: bool
    ) -> bool | None:
        allows = [each for each in matches if each.rule.verdict == "allow"]
        if parser == "http" and flow.http is not None:
            return True if not isolated else _http_allowed(allows, flow.http)
        if parser == "dns" and flow.dns_query is not None:
            return True if not isolated else _dns_allowed(allows, flow.dns_query)
        return None


def _http_allowed(allows: Sequence[_Match], request: Request) -> bool | None:
    """`None` where a plain rule covers what HTTP rules refuse: then Envoy alone knows."""
    plain = [each for each in allows if each.port_rule is None or each.port_rule.parser != "http"]
    for each in allows:
        if each.port_rule is None or each.port_rule.parser != "http":
            continue
        if any(isinstance(rule, HttpRule) and http_matches(rule, request) for rule in each.port_rule.l7):
            return True
        # Rules for the same ports and peers are one: one without L7 opens it.
        if any((each.port, each.selector) == (other.port, other.selector) for other in plain):
            return True
    return None if plain else False


def _dns_allowed(allows: Sequence[_Match], name: str) -> bool:
    exact = [
        each for each in allows if (each.port.first and each.port.first == each.port.last) or each.port.name
    ]
    return any(
        each.port_rule is None
        or each.port_rule.parser != "dns"
        or any(isinstance(rule, DnsRule) and dns_matches(rule, name) for rule in each.port_rule.l7)
        for each in exact
    )


def _verdict(byte: int) -> FlowVerdict:
    if byte == _DENY:
        return "deny"
    return "allow" if byte == _ALLOW else "redirect"


def covers(port: PortRange, flow: Flow, named: Mapping[str, NamedPort]) -> bool:
    """Whether ports of a rule are those of a flow; `named` are the ports of the destination."""
    if port.protocol == ANY_PROTOCOL:
        return True
    if port.protocol != flow.protocol:
        return False
    if port.name:
        known = named.get(port.name)
        if known is None:
            return False
        return (PROTOCOL_NUMBERS[known.protocol], known.number) == (flow.protocol, flow.port)
    return not port.first or port.first <= flow.port <= port.last


def _names(selector: FqdnSelector, name: str) -> bool:
    return dns_matches(DnsRule(selector.name, selector.pattern), name)


def _single(address: IPv4Address | IPv6Address) -> Network:
    return ip_network((address.packed, address.max_prefixlen))
