"""
Policies of administrators: ClusterNetworkPolicy (policy.networking.k8s.io/v1alpha2; Cilium pkg/k8s
cluster_network_policy.go), and what came before it, AdminNetworkPolicy and BaselineAdminNetworkPolicy
(v1alpha1; KEP-2091), which Cilium does not read: they are taken as the tiers that became of them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

import attrs

from fleetmesh.policy.kubernetes import names_cluster, namespaces
from fleetmesh.policy.l7 import check_name, check_pattern
from fleetmesh.policy.labels import ANY, CLUSTER, K8S, LabelKey
from fleetmesh.policy.ports import port_range
from fleetmesh.policy.reading import Field, Refused, read_selector
from fleetmesh.policy.rule import (
    PROTOCOL_NUMBERS,
    WITH_PORTS,
    Direction,
    DnsRule,
    PortRange,
    PortRule,
    Rule,
    Source,
    Tier,
    Verdict,
)
from fleetmesh.policy.selectors import (
    WILDCARD,
    CidrSelector,
    FqdnSelector,
    LabelSelector,
    Selector,
    equals,
    parse_cidr,
)
from fleetmesh.policy.settings import Reading
from fleetmesh.resources.model import PolicyObject

_TIERS: Mapping[str, Tier] = {"Admin": "admin", "Baseline": "baseline"}
_PEERS: Mapping[Direction, str] = {"ingress": "from", "egress": "to"}
_DNS = tuple(PortRange(protocol, name=name) for name in ("dns", "dns-tcp") for protocol in WITH_PORTS)
_KUBE_DNS = LabelSelector((equals(LabelKey(ANY, "k8s-app"), "kube-dns"),))


@attrs.frozen
class _Dialect:
    """
    Where the versions of the API differ.

    Attributes:
        actions: What each is.
        ports: The field of a rule that has its ports, and how one of them is read.
    """

    actions: Mapping[str, Verdict]
    ports: str
    read_port: Callable[[Field], tuple[PortRange, ...]]


def read_cluster_policy(policy: PolicyObject, reading: Reading) -> tuple[Rule, ...]:
    """
    Raises:
        Refused: It has no effect then.
    """
    spec = Field("spec", policy.document.get("spec"))
    spec.object(("tier", "priority", "subject", "ingress", "egress"))
    tier = _TIERS.get(spec["tier"].text())
    if tier is None:
        raise spec["tier"].refuse(f"is {spec['tier'].value!r}; expected Admin or Baseline")
    return _rules(policy, reading, spec, tier, _priority(spec["priority"]), _V1ALPHA2)


def read_admin_policy(policy: PolicyObject, reading: Reading) -> tuple[Rule, ...]:
    """
    Raises:
        Refused: It has no effect then.
    """
    spec = Field("spec", policy.document.get("spec"))
    spec.object(("priority", "subject", "ingress", "egress"))
    return _rules(policy, reading, spec, "admin", _priority(spec["priority"]), _V1ALPHA1)


def read_baseline_policy(policy: PolicyObject, reading: Reading) -> tuple[Rule, ...]:
    """
    Raises:
        Refused: It has no effect then.
    """
    spec = Field("spec", policy.document.get("spec"))
    spec.object(("subject", "ingress", "egress"))
    if policy.name != "default":
        raise Refused(
            "metadata.name", f"is {policy.name!r}; there is one such object, and its name is default"
        )
    return _rules(policy, reading, spec, "baseline", 0, _V1ALPHA1_BASELINE)


def _priority(field: Field) -> int:
    priority = field.number(-1)
    if not 0 <= priority <= 1000:
        raise field.refuse(f"is {field.value!r}; expected 0 to 1000")
    return priority


def _rules(
    policy: PolicyObject, reading: Reading, spec: Field, tier: Tier, priority: int, dialect: _Dialect
) -> tuple[Rule, ...]:
    about = _About(policy, reading, tier, priority, _subject(spec["subject"]), dialect)
    return tuple(rule for direction in _PEERS for rule in about.rules(spec, direction))


def _subject(field: Field) -> LabelSelector:
    field.object(("namespaces", "pods"))
    if field["namespaces"].is_set == field["pods"].is_set:
        raise field.refuse("names neither or both of namespaces and pods; expected one")
    if field["namespaces"].is_set:
        return namespaces(field["namespaces"])
    return _pods(field["pods"], None)


def _pods(field: Field, cluster: str | None) -> LabelSelector:
    field.object(("namespaceSelector", "podSelector"))
    pods = read_selector(field["podSelector"], source=K8S, cilium_keys=False)
    both = LabelSelector((*namespaces(field["namespaceSelector"]).requirements, *pods.requirements))
    return both if cluster is None or names_cluster(pods) else both.require(LabelKey(K8S, CLUSTER), cluster)


@attrs.frozen
class _About:
    """What all rules of one object have in common."""

    policy: PolicyObject
    reading: Reading
    tier: Tier
    priority: int
    subject: LabelSelector
    dialect: _Dialect

    def rules(self, spec: Field, direction: Direction) -> Iterator[Rule]:
        for at, rule in enumerate(spec[direction].items()):
            name = _PEERS[direction]
            dialect = self.dialect
            rule.object(("name", "action", name, dialect.ports))
            verdict = dialect.actions.get(rule["action"].text())
            if verdict is None:
                known = ", ".join(dialect.actions)
                raise rule["action"].refuse(f"is {rule['action'].value!r}; expected one of {known}")
            ports = tuple(PortRule(dialect.read_port(each)) for each in rule[dialect.ports].items())
            plain = Rule(
                direction,
                verdict,
                self.subject,
                (WILDCARD,),
                Source(self.policy.subject, rule.path, self.policy.origin),
                self.tier,
                self.priority + at / 100,
                ports,
                default_deny=False,
            )
            peers = tuple(rule[name].items())
            if not peers:
                yield plain
            for peer in peers:
                yield from self._of_peer(peer, plain)

    def _of_peer(self, peer: Field, plain: Rule) -> Iterator[Rule]:
        egress = plain.direction == "egress"
        if peer["pods"].is_set:
            selectors: tuple[Selector, ...] = (_pods(peer["pods"], self.reading.peer_cluster),)
        elif peer["namespaces"].is_set:
            selectors = (namespaces(peer["namespaces"]),)
        elif egress and peer["nodes"].is_set:
            raise peer["nodes"].refuse(
                "needs the flag enable-node-selector-labels, which fleetmesh does not know"
            )
        elif egress and peer["networks"].is_set:
            selectors = tuple(
                CidrSelector(each.parsed(parse_cidr), of_pods=self.reading.of_pods)
                for each in peer["networks"].items()
            )
        elif egress and peer["domainNames"].is_set:
            if plain.verdict != "allow":
                raise peer["domainNames"].refuse("is for action Accept only")
            names = tuple(_domain(each) for each in peer["domainNames"].items())
            asked = tuple(DnsRule(each.name, each.pattern) for each in names)
            yield attrs.evolve(plain, peers=(_KUBE_DNS,), ports=(PortRule(_DNS, "dns", asked),))
            selectors = names
        elif plain.verdict == "allow":
            return  # of whom nothing is understood, nobody is accepted, and everybody is denied
        else:
            yield attrs.evolve(plain, verdict="deny", peers=(WILDCARD,))
            return
        yield attrs.evolve(plain, peers=selectors)


def _domain(field: Field) -> FqdnSelector:
    """`*.` stands for any number of labels here, which is `**.` to Cilium."""
    text = field.text()
    if not text.startswith("*"):
        return FqdnSelector(name=field.parsed(check_name))
    pattern = text if text.startswith("**") else f"*{text}"
    return FqdnSelector(pattern=Field(field.path, pattern).parsed(check_pattern))


def _ports(field: Field) -> tuple[PortRange, ...]:
    field.object(("tcp", "udp", "sctp", "destinationNamedPort"))
    for name in ("tcp", "udp", "sctp"):
        if not field[name].is_set:
            continue
        protocol = PROTOCOL_NUMBERS[name.upper()]
        port = field[name]["destinationPort"]
        port.object(("number", "range"))
        if not port.is_set:
            return (PortRange(protocol),)
        if port["range"].is_set:
            ends = port["range"]
            ends.object(("start", "end"))
            first, last = ends["start"].number(), ends["end"].number()
        else:
            first = last = port["number"].number()
        if not 0 <= first <= last <= 65535:
            raise port.refuse(f"is {first} to {last}; expected ports, the first not past the last")
        return (port_range(protocol, first, last),)
    named = field["destinationNamedPort"].text()
    if named:
        return tuple(PortRange(protocol, name=named.lower()) for protocol in WITH_PORTS)
    raise field.refuse("names no protocol; expected tcp, udp, sctp or destinationNamedPort")


def _admin_ports(field: Field) -> tuple[PortRange, ...]:
    field.object(("portNumber", "portRange", "namedPort"))
    for name, ends in (("portNumber", ("port", "port")), ("portRange", ("start", "end"))):
        port = field[name]
        if not port.is_set:
            continue
        port.object(("protocol", *dict.fromkeys(ends)))
        protocol = port["protocol"].text() or "TCP"
        if protocol not in _PROTOCOLS:
            raise port["protocol"].refuse(f"is {protocol!r}; expected one of {', '.join(_PROTOCOLS)}")
        first, last = (port[each].number() for each in ends)
        if not 0 < first <= last <= 65535:
            raise port.refuse(f"is {first} to {last}; expected ports, the first not past the last")
        return (port_range(PROTOCOL_NUMBERS[protocol], first, last),)
    named = field["namedPort"].text()
    if named:
        return tuple(PortRange(protocol, name=named.lower()) for protocol in WITH_PORTS)
    raise field.refuse("names no port; expected portNumber, portRange or namedPort")


_PROTOCOLS = ("TCP", "UDP", "SCTP")
_V1ALPHA2 = _Dialect({"Accept": "allow", "Deny": "deny", "Pass": "pass"}, "protocols", _ports)
_V1ALPHA1 = _Dialect({"Allow": "allow", "Deny": "deny", "Pass": "pass"}, "ports", _admin_ports)
_V1ALPHA1_BASELINE = _Dialect({"Allow": "allow", "Deny": "deny"}, "ports", _admin_ports)
