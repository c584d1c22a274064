"""
What Cilium refuses is refused, with the field and why; removed fields say since when.
"""

from __future__ import annotations

from typing import Any

import pytest

from fleetmesh.policy import Reading, Refused, read_policy
from fleetmesh.resources.model import PolicyObject

SUBJECT: dict[str, Any] = {"endpointSelector": {}}
PORT = {"port": "80", "protocol": "TCP"}


def cilium(spec: object, *, clusterwide: bool = False, **more: object) -> PolicyObject:
    kind = "CiliumClusterwideNetworkPolicy" if clusterwide else "CiliumNetworkPolicy"
    namespace = "" if clusterwide else "prod"
    return PolicyObject(kind=kind, namespace=namespace, name="p", document={"spec": spec, **more})


def ingress(**rule: Any) -> dict[str, Any]:
    return {**SUBJECT, "ingress": [rule]}


def egress(**rule: Any) -> dict[str, Any]:
    return {**SUBJECT, "egress": [rule]}


def ports(**port: Any) -> dict[str, Any]:
    return ingress(toPorts=[{"ports": [port]}])


def why(policy: PolicyObject) -> Refused:
    with pytest.raises(Refused) as caught:
        read_policy(policy, Reading("east"))
    return caught.value


CASES: dict[str, tuple[Any, str, str]] = {
    "no rule": (SUBJECT, "spec", "has no rule"),
    "empty lists": ({**SUBJECT, "ingress": []}, "spec", "has no rule"),
    "no subject": ({"ingress": [{}]}, "spec", "neither of endpointSelector and nodeSelector"),
    "both subjects": (
        {"endpointSelector": {}, "nodeSelector": {}, "ingress": [{}]},
        "spec",
        "both of endpointSelector and nodeSelector",
    ),
    "node in CNP": (
        {"nodeSelector": {}, "ingress": [{}]},
        "spec.nodeSelector",
        "ClusterwideNetworkPolicy only",
    ),
    "unknown field": (ingress(fromMoon=[]), "spec.ingress[0].fromMoon", "no field that Cilium 1.20 reads"),
    "requires": (
        ingress(fromRequires=["x"]),
        "spec.ingress[0].fromRequires",
        "takes nothing since Cilium 1.19",
    ),
    "mixed": (
        ingress(fromEndpoints=[{}], fromCIDR=["10.0.0.0/8"]),
        "spec.ingress[0]",
        "combines fromEndpoints and fromCIDR",
    ),
    "entity": (
        ingress(fromEntities=["moon"]),
        "spec.ingress[0].fromEntities[0]",
        "is 'moon'; expected one of all",
    ),
    "cidr": (ingress(fromCIDR=["10.0.0.0/33"]), "spec.ingress[0].fromCIDR[0]", "at most 32 bits"),
    "no cidr": (ingress(fromCIDR=["x"]), "spec.ingress[0].fromCIDR[0]", "expected an address or a prefix"),
    "zone": (ingress(fromCIDR=["fe80::1%eth0"]), "spec.ingress[0].fromCIDR[0]", "an address with a zone"),
    "address in a set": (
        ingress(fromCIDRSet=[{"cidr": "10.0.0.1"}]),
        "spec.ingress[0].fromCIDRSet[0].cidr",
        "expected a prefix",
    ),
    "nothing in a set": (ingress(fromCIDRSet=[{}]), "spec.ingress[0].fromCIDRSet[0]", "has 0 of cidr"),
    "except": (
        ingress(fromCIDRSet=[{"cidr": "10.0.0.0/8", "except": ["11.0.0.0/16"]}]),
        "spec.ingress[0].fromCIDRSet[0].except[0]",
        "is 11.0.0.0/16, which is not within 10.0.0.0/8",
    ),
    "nodes": (ingress(fromNodes=[{}]), "spec.ingress[0].fromNodes[0]", "enable-node-selector-labels"),
    "groups": (ingress(fromGroups=[{}]), "spec.ingress[0].fromGroups[0]", "asks a cloud for addresses"),
    "no port": (ports(protocol="TCP"), "spec.ingress[0].toPorts[0].ports[0].port", "is missing"),
    "port": (ports(port="70000"), "spec.ingress[0].toPorts[0].ports[0].port", "number from 0 to 65535"),
    "port as number": (ports(port=80), "spec.ingress[0].toPorts[0].ports[0].port", "expected a string"),
    "protocol": (
        ports(port="80", protocol="X"),
        "spec.ingress[0].toPorts[0].ports[0].protocol",
        "expected one of TCP",
    ),
    "GRE": (ports(port="80", protocol="GRE"), "spec.ingress[0].toPorts[0].ports[0].port", "GRE has no ports"),
    "many ports": (
        ingress(toPorts=[{"ports": [PORT] * 41}]),
        "spec.ingress[0].toPorts[0].ports",
        "has 41 ports; at most 40",
    ),
    "icmp and ports": (
        ingress(toPorts=[{"ports": [PORT]}], icmps=[{"fields": [{"type": 8}]}]),
        "spec.ingress[0].icmps",
        "stands beside toPorts",
    ),
    "icmp family": (
        ingress(icmps=[{"fields": [{"type": 8, "family": "IPv5"}]}]),
        "spec.ingress[0].icmps[0].fields[0].family",
        "expected IPv4 or IPv6",
    ),
    "icmp type": (
        ingress(icmps=[{"fields": [{"type": "Nonsense"}]}]),
        "spec.ingress[0].icmps[0].fields[0].type",
        "no type of IPv4",
    ),
    "kafka": (
        ingress(toPorts=[{"ports": [PORT], "rules": {"kafka": [{}]}}]),
        "spec.ingress[0].toPorts[0].rules.kafka",
        "removed in Cilium",
    ),
    "l7proto": (
        ingress(toPorts=[{"ports": [PORT], "rules": {"l7proto": "x"}}]),
        "spec.ingress[0].toPorts[0].rules.l7proto",
        "removed in Cilium",
    ),
    "DNS at ingress": (
        ingress(toPorts=[{"ports": [{"port": "53"}], "rules": {"dns": [{"matchPattern": "*"}]}}]),
        "spec.ingress[0].toPorts[0].rules.dns",
        "for egress only",
    ),
    "HTTP on UDP": (
        ingress(toPorts=[{"ports": [{"port": "80", "protocol": "UDP"}], "rules": {"http": [{}]}}]),
        "spec.ingress[0].toPorts[0].ports[0].protocol",
        "HTTP rules need TCP",
    ),
    "L7 on port 0": (
        ingress(toPorts=[{"ports": [{"port": "0", "protocol": "TCP"}], "rules": {"http": [{}]}}]),
        "spec.ingress[0].toPorts[0].ports[0].port",
        "L7 rules need a port",
    ),
    "both of L7": (
        egress(toPorts=[{"ports": [PORT], "rules": {"http": [{}], "dns": [{"matchName": "a"}]}}]),
        "spec.egress[0].toPorts[0].rules",
        "of HTTP and of DNS",
    ),
    "regex": (
        ingress(toPorts=[{"ports": [PORT], "rules": {"http": [{"path": "("}]}}]),
        "spec.ingress[0].toPorts[0].rules.http[0].path",
        "no regular expression: missing ): (",
    ),
    "look-behind": (
        ingress(toPorts=[{"ports": [PORT], "rules": {"http": [{"path": "(?<=a)b"}]}}]),
        "spec.ingress[0].toPorts[0].rules.http[0].path",
        "no regular expression",
    ),
    "any byte": (
        ingress(toPorts=[{"ports": [PORT], "rules": {"http": [{"path": r"a\C"}]}}]),
        "spec.ingress[0].toPorts[0].rules.http[0].path",
        "have no \\C",
    ),
    "header": (
        ingress(toPorts=[{"ports": [PORT], "rules": {"http": [{"headerMatches": [{}]}]}}]),
        "spec.ingress[0].toPorts[0].rules.http[0].headerMatches[0].name",
        "is missing",
    ),
    "names beside rules": (
        ingress(toPorts=[{"ports": [PORT], "serverNames": ["a"], "rules": {"http": [{}]}}]),
        "spec.ingress[0].toPorts[0].serverNames",
        "needs terminatingTLS",
    ),
    "both FQDN": (
        egress(toFQDNs=[{"matchName": "a", "matchPattern": "b"}]),
        "spec.egress[0].toFQDNs[0]",
        "has both of matchName and matchPattern",
    ),
    "FQDN": (
        egress(toFQDNs=[{"matchName": "a b"}]),
        "spec.egress[0].toFQDNs[0].matchName",
        "expected letters",
    ),
    "authentication": (
        ingress(authentication={"mode": "maybe"}),
        "spec.ingress[0].authentication.mode",
        "is 'maybe'; expected one of disabled, required",
    ),
    "operator": (
        ingress(fromEndpoints=[{"matchExpressions": [{"key": "a", "operator": "Like"}]}]),
        "spec.ingress[0].fromEndpoints[0].matchExpressions[0].operator",
        "is 'Like'; expected one of In, NotIn, Exists, DoesNotExist",
    ),
    "no values": (
        ingress(fromEndpoints=[{"matchExpressions": [{"key": "a", "operator": "In"}]}]),
        "spec.ingress[0].fromEndpoints[0].matchExpressions[0].values",
        "In needs at least one value",
    ),
    "values": (
        ingress(fromEndpoints=[{"matchExpressions": [{"key": "a", "operator": "Exists", "values": ["b"]}]}]),
        "spec.ingress[0].fromEndpoints[0].matchExpressions[0].values",
        "Exists takes no values",
    ),
    "label": (
        ingress(fromEndpoints=[{"matchLabels": {"a b": "c"}}]),
        "spec.ingress[0].fromEndpoints[0].matchLabels.a b",
        "label key 'a b'",
    ),
    "a list for an object": (
        ingress(fromEndpoints=[["x"]]),
        "spec.ingress[0].fromEndpoints[0]",
        "expected an object",
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_a_policy_is_refused_with_the_field_and_why(name: str) -> None:
    spec, path, reason = CASES[name]

    refused = why(cilium(spec))

    assert refused.path == path
    assert reason in refused.reason


def test_a_policy_without_a_spec_is_refused() -> None:
    assert why(cilium(None)).reason.startswith("is missing")


def test_one_bad_spec_of_many_refuses_the_object() -> None:
    refused = why(cilium(None, specs=[ingress(), ingress(fromEntities=["moon"])]))

    assert refused.path == "specs[1].ingress[0].fromEntities[0]"


@pytest.mark.parametrize(
    ("spec", "path"),
    [
        ({"podSelector": {}, "policyTypes": ["Sideways"]}, "spec.policyTypes[0]"),
        (
            {"podSelector": {}, "ingress": [{"from": [{"ipBlock": {"cidr": "x"}}]}]},
            "spec.ingress[0].from[0].ipBlock.cidr",
        ),
        (
            {"podSelector": {}, "ingress": [{"ports": [{"protocol": "GRE"}]}]},
            "spec.ingress[0].ports[0].protocol",
        ),
        ({"podSelector": {}, "ingress": [{"ports": [{"port": 70000}]}]}, "spec.ingress[0].ports[0].port"),
    ],
)
def test_a_network_policy_is_refused_with_the_field(spec: Any, path: str) -> None:
    policy = PolicyObject(kind="NetworkPolicy", namespace="prod", name="p", document={"spec": spec})

    assert why(policy).path == path


CLUSTER = {"tier": "Admin", "priority": 1, "subject": {"namespaces": {}}}


@pytest.mark.parametrize(
    ("spec", "path"),
    [
        ({**CLUSTER, "tier": "Royal"}, "spec.tier"),
        ({**CLUSTER, "priority": 1001}, "spec.priority"),
        ({**CLUSTER, "subject": {}}, "spec.subject"),
        ({**CLUSTER, "ingress": [{"action": "Shrug"}]}, "spec.ingress[0].action"),
        (
            {**CLUSTER, "egress": [{"action": "Deny", "to": [{"domainNames": ["a.example"]}]}]},
            "spec.egress[0].to[0].domainNames",
        ),
        ({**CLUSTER, "egress": [{"action": "Deny", "to": [{"nodes": {}}]}]}, "spec.egress[0].to[0].nodes"),
        (
            {**CLUSTER, "ingress": [{"action": "Deny", "protocols": [{}]}]},
            "spec.ingress[0].protocols[0]",
        ),
    ],
)
def test_a_cluster_network_policy_is_refused_with_the_field(spec: Any, path: str) -> None:
    policy = PolicyObject(kind="ClusterNetworkPolicy", name="p", document={"spec": spec})

    assert why(policy).path == path
