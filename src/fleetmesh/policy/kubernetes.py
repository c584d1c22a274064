"""
NetworkPolicy (Cilium pkg/k8s network_policy.go; networking.k8s.io/v1).
"""

from __future__ import annotations

from collections.abc import Iterator

from fleetmesh.policy.labels import CLUSTER, K8S, NAMESPACE, NAMESPACE_LABELS, LabelKey, is_service_name
from fleetmesh.policy.ports import port_range
from fleetmesh.policy.reading import Field, read_selector
from fleetmesh.policy.rule import PROTOCOL_NUMBERS, Direction, PortRange, PortRule, Rule, Source
from fleetmesh.policy.selectors import WILDCARD, CidrSelector, LabelSelector, Selector, parse_prefix
from fleetmesh.policy.settings import Reading
from fleetmesh.resources.model import PolicyObject

_PEERS: dict[Direction, str] = {"ingress": "from", "egress": "to"}
_TYPES: dict[Direction, str] = {"ingress": "Ingress", "egress": "Egress"}
_PROTOCOLS = ("TCP", "UDP", "SCTP")


def read_network_policy(policy: PolicyObject, reading: Reading) -> tuple[Rule, ...]:
    """
    Raises:
        Refused: It has no effect then.
    """
    spec = Field("spec", policy.document.get("spec"))
    spec.object(("podSelector", "policyTypes", "ingress", "egress"))
    subject = read_selector(spec["podSelector"], source=K8S, cilium_keys=False).require(
        LabelKey(K8S, NAMESPACE), policy.namespace
    )
    types = [each.text() for each in spec["policyTypes"].items()]
    for each in spec["policyTypes"].items():
        if each.value not in _TYPES.values():
            raise each.refuse(f"is {each.value!r}; expected Ingress or Egress")

    found: list[Rule] = []
    for direction in _PEERS:
        rules = tuple(spec[direction].items())
        for rule in rules:
            found += _rules(policy, rule, direction, subject, reading)
        # Without policyTypes a policy is about ingress (API server's default).
        isolates = _TYPES[direction] in types or (direction == "ingress" and "Egress" not in types)
        if not rules and isolates:
            found.append(
                Rule(direction, "allow", subject, None, Source(policy.subject, spec.path, policy.origin))
            )
    return tuple(found)


def _rules(
    policy: PolicyObject, rule: Field, direction: Direction, subject: LabelSelector, reading: Reading
) -> Iterator[Rule]:
    """One for each peer."""
    name = _PEERS[direction]
    rule.object((name, "ports"))
    ports = tuple(PortRule((_port(each),)) for each in rule["ports"].items())
    source = Source(policy.subject, rule.path, policy.origin)
    peers = tuple(rule[name].items())
    if not peers:
        yield Rule(direction, "allow", subject, (WILDCARD,), source, ports=ports)
    for peer in peers:
        selector = _peer(peer, policy.namespace, reading)
        yield Rule(direction, "allow", subject, (selector,), source, ports=ports)


def _peer(field: Field, namespace: str, reading: Reading) -> Selector:
    field.object(("podSelector", "namespaceSelector", "ipBlock"))
    if field["ipBlock"].is_set:
        return _block(field["ipBlock"], of_pods=reading.of_pods)
    pods = read_selector(field["podSelector"], source=K8S, cilium_keys=False)
    if reading.peer_cluster is not None and not names_cluster(pods):
        pods = pods.require(LabelKey(K8S, CLUSTER), reading.peer_cluster)
    if not field["namespaceSelector"].is_set:
        return pods.require(LabelKey(K8S, NAMESPACE), namespace)
    return LabelSelector((*namespaces(field["namespaceSelector"]).requirements, *pods.requirements))


def namespaces(field: Field) -> LabelSelector:
    """Pods by the labels of their namespace; an empty selector is every namespace's."""
    found = read_selector(field, source=K8S, prefix=NAMESPACE_LABELS, cilium_keys=False)
    return found.require_key(LabelKey(K8S, NAMESPACE)) if found.is_wildcard else found


def names_cluster(pods: LabelSelector) -> bool:
    """Whether it says which clusters' pods are meant."""
    return any(
        each.key.key == CLUSTER and (each.operator != "Equals" or each.values != {""})
        for each in pods.requirements
    )


def _block(field: Field, *, of_pods: bool) -> CidrSelector:
    field.object(("cidr", "except"))
    return CidrSelector(
        field["cidr"].parsed(parse_prefix),
        excepted=tuple(each.parsed(parse_prefix) for each in field["except"].items()),
        of_pods=of_pods,
    )


def _port(field: Field) -> PortRange:
    field.object(("port", "endPort", "protocol"))
    name = (field["protocol"].text() or "TCP").upper()
    if name not in _PROTOCOLS:
        raise field["protocol"].refuse(f"is {name!r}; expected one of {', '.join(_PROTOCOLS)}")
    protocol = PROTOCOL_NUMBERS[name]
    given = field["port"].value
    if isinstance(given, str) and is_service_name(given):
        return PortRange(protocol, name=given.lower())
    if isinstance(given, str) and given.isdecimal():
        given = int(given)
    first = 0 if given is None else given
    if not isinstance(first, int) or not 0 <= first <= 65535:
        raise field["port"].refuse(f"is {given!r}; expected a port's number or name")
    return port_range(protocol, first, field["endPort"].number())
