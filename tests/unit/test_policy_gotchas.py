"""
Findings about policies that run into what one has to know of Cilium.
"""

from __future__ import annotations

from typing import Any

import pytest

import fleetmesh as fm
from doubles.small_policies import (
    EAST,
    NAMESPACE,
    WEST,
    Document,
    apply,
    apps,
    cilium,
    pod,
    to,
    told,
    two_clusters,
)

CART = {"fromEndpoints": [apps(app="cart")]}
DNS_PORT = [{"port": "53", "protocol": "UDP"}]


def about(*documents: Document, mesh: fm.Mesh | None = None, **settings: Any) -> dict[str, str]:
    mesh = mesh or two_clusters(**settings)
    apply(mesh.members[EAST], *documents)
    return told(mesh, "policy-local-cluster")


def at(port: str, protocol: str = "TCP") -> list[Document]:
    return [{"ports": [{"port": port, "protocol": protocol}]}]


def with_ports(app: str, number: int, **ports: int) -> Document:
    declared = [{"name": name, "containerPort": port} for name, port in ports.items()]
    return pod(1, app, number, containers=[{"name": "c", "ports": declared}])


# What is left empty


def test_an_empty_list_of_peers_is_nobody() -> None:
    assert about(to("db", ingress=[{"fromEndpoints": []}])) == {
        "policy-empty-peers": "spec.ingress[0].fromEndpoints is an empty list: it allows nobody, and all "
        "that it does is to isolate its subject"
    }
    assert about(to("db", ingress=[{}])) == {}
    assert about(to("db", ingress=[{"toPorts": at("80")}])) == {}


@pytest.mark.parametrize("field", ["toServices", "toFQDNs"])
def test_an_empty_list_of_services_or_names_is_everybody(field: str) -> None:
    found = about(to("db", egress=[{field: [], "toPorts": at("80")}]))
    assert found["policy-peers-everybody"] == (
        f"spec.egress[0].{field} is an empty list, as if it were not there: it allows everybody on its ports"
    )

    assert "policy-peers-everybody" not in about(to("db", egress=[{field: []}]))


def test_services_are_not_resolved_where_they_are_denied() -> None:
    service = {"k8sService": {"serviceName": "db", "namespace": "shop"}}
    assert about(to("db", egressDeny=[{"toServices": [service], "toPorts": at("80")}])) == {
        "policy-peers-everybody": "spec.egressDeny[0].toServices is resolved in rules that allow only: it "
        "denies everybody on its ports"
    }
    assert about(to("db", egressDeny=[{"toServices": [service]}])) == {
        "policy-empty-peers": "spec.egressDeny[0].toServices is resolved in rules that allow only: it "
        "denies nobody"
    }


def test_an_empty_rule_beside_others_is_nobody() -> None:
    assert about(to("db", ingress=[CART, {}])) == {
        "policy-empty-rule": "spec.ingress[1] is empty: it allows nobody, not everybody"
    }
    assert about(to("db", ingressDeny=[{}])) == {
        "policy-empty-rule": "spec.ingressDeny[0] is empty: it denies nobody, not everybody"
    }
    assert about(to("db", ingress=[{}], egress=[{}])) == {}


def test_an_empty_direction_is_none() -> None:
    assert about(to("db", ingress=[CART], egress=[])) == {
        "policy-empty-direction": "spec.egress is an empty list, which is as if it were not there: it "
        "refuses no egress"
    }
    assert about(to("db", ingress=[CART], egress=[], egressDeny=[{"toEntities": ["world"]}])) == {}


def test_default_deny_of_a_direction_without_rules_does_nothing() -> None:
    assert about(to("db", ingress=[CART], enableDefaultDeny={"egress": True})) == {
        "policy-default-deny-idle": "spec.enableDefaultDeny.egress is true, but it has no rule of egress: it "
        "refuses no egress"
    }
    assert about(to("db", ingress=[CART], enableDefaultDeny={"ingress": True, "egress": False})) == {}


def test_no_default_deny_where_that_is_not_honoured_is_told() -> None:
    document = to("db", ingress=[CART], enableDefaultDeny={"ingress": False})
    assert about(document) == {}
    assert about(document, disable_non_default_deny=True) == {
        "policy-default-deny-idle": "spec.enableDefaultDeny.ingress is false, but disable_non_default_deny "
        "is on: ingress that nothing allows is refused"
    }


def test_each_of_several_specs_is_looked_at() -> None:
    document = to("db")
    document["specs"] = [document["spec"] | {"ingress": [CART, {}]}]
    del document["spec"]

    assert about(document)["policy-empty-rule"].startswith("specs[0].ingress[1] ")


# Subjects


@pytest.mark.parametrize(("named", "code"), [("logs", "policy-subject-namespace"), ("shop", "")])
def test_the_namespace_of_a_subject_is_its_policy_s(named: str, code: str) -> None:
    document = cilium(
        {"endpointSelector": apps(**{"app": "db", f"k8s:{NAMESPACE}": named}), "ingress": [CART]}
    )
    found = about(document)

    assert [*found] == ([code] if code else [])
    if code:
        assert found[code] == (
            "spec.endpointSelector.matchLabels names the namespace logs, in the place of which its own is "
            "taken: it is about pods of shop"
        )


# Networks


@pytest.mark.parametrize(
    ("network", "code"),
    [
        ("10.1.0.0/24", "policy-network-of-mesh"),
        ("10.2.0.11/32", "policy-network-of-mesh"),
        ("192.168.7.1/32", "policy-network-of-mesh"),
        ("10.0.0.0/8", ""),
        ("0.0.0.0/0", ""),
        ("192.0.2.0/24", ""),
    ],
)
def test_networks_of_pods_and_nodes_select_nobody(network: str, code: str) -> None:
    mesh = two_clusters()
    node = {"type": "InternalIP", "address": "192.168.7.1"}
    apply(
        mesh.members[WEST],
        {"apiVersion": "v1", "kind": "Node", "metadata": {"name": "n"}, "status": {"addresses": [node]}},
    )
    found = about(to("db", egress=[{"toCIDR": [network]}]), mesh=mesh)

    assert [*found] == ([code] if code else [])
    assert all(f"names {network}, where " in each for each in found.values())


@pytest.mark.parametrize("mode", ["pods", "nodes"])
def test_networks_select_whom_the_setting_says(mode: str) -> None:
    found = about(to("db", egress=[{"toCIDR": ["10.1.0.10/32"]}]), policy_cidr_match_mode=[mode])

    assert [*found] == ([] if mode == "pods" else ["policy-network-of-mesh"])


def test_an_exception_that_the_policy_allows_elsewhere_excepts_nothing() -> None:
    rule = {"toCIDRSet": [{"cidr": "192.0.2.0/24", "except": ["192.0.2.0/28"]}]}
    assert about(to("db", egress=[rule, {"toCIDR": ["192.0.2.0/25"]}])) == {
        "policy-except-idle": "spec.egress[0] names 192.0.2.0/24 except 192.0.2.0/28, which spec.egress[1] "
        "allows again: it excepts nothing"
    }
    assert "policy-except-idle" in about(to("db", egress=[rule, {"toEntities": ["world"]}]))

    assert about(to("db", egress=[rule, {"toCIDR": ["198.51.100.0/24"]}])) == {}
    assert about(to("db", egress=[rule, {"toCIDR": ["192.0.2.0/25"], "toPorts": at("80")}])) == {}
    assert about(to("db", egress=[rule], egressDeny=[{"toCIDR": ["192.0.2.0/28"]}])) == {}


def test_an_exception_that_is_not_within_its_network_excepts_nothing() -> None:
    def policy(hole: str) -> Document:
        block = {"ipBlock": {"cidr": "192.0.2.0/24", "except": [hole]}}
        return {
            "apiVersion": "networking.k8s.io/v1",
            "kind": "NetworkPolicy",
            "metadata": {"name": "p", "namespace": "shop"},
            "spec": {"podSelector": {}, "ingress": [{"from": [block]}]},
        }

    assert about(policy("198.51.100.0/24")) == {
        "policy-except-idle": "spec.ingress[0] names 192.0.2.0/24 except 198.51.100.0/24, which is not "
        "within it: it excepts nothing"
    }
    assert about(policy("192.0.2.0/28")) == {}


def test_ipv6_networks_alone_are_nobody_without_ipv6() -> None:
    alone = to("db", egress=[{"toCIDR": ["2001:db8::/32"]}])
    assert about(alone) == {}
    assert about(alone, enable_ipv6=False) == {
        "policy-family-disabled": "spec.egress[0] is about 2001:db8::/32 only, and east has no IPv6: it "
        "selects nobody"
    }
    assert about(to("db", egress=[{"toCIDR": ["192.0.2.0/24", "::/0"]}]), enable_ipv6=False) == {}


# Ports


def test_a_named_port_at_ingress_is_the_subject_s() -> None:
    rule = to("db", ingress=[CART | {"toPorts": at("http")}])
    mesh = two_clusters()
    apply(mesh.members[EAST], with_ports("cart", 10, http=80), with_ports("db", 11, web=80, htt=81))
    assert about(rule, mesh=mesh) == {
        "policy-named-port-nobody": "spec.ingress[0] names the port http, which no pod of its subject has "
        "for that protocol; did you mean htt?"
    }

    apply(mesh.members[EAST], with_ports("db", 11, http=80))
    assert told(mesh, "policy-local-cluster") == {}


def test_a_named_port_at_egress_is_the_peer_s_with_its_protocol() -> None:
    mesh = two_clusters()
    apply(mesh.members[EAST], with_ports("db", 11, http=80))
    peers = {"toEndpoints": [apps(app="db"), apps(app="cart")]}
    assert about(to("cart", egress=[peers | {"toPorts": at("http")}]), mesh=mesh) == {}
    assert about(to("cart", egress=[peers | {"toPorts": at("http", "UDP")}]), mesh=mesh) == {
        "policy-named-port-nobody": "spec.egress[0] names the port http, which no pod of those that it is "
        "about has for that protocol; they have http/TCP"
    }
    assert about(to("cart", egress=[peers | {"toPorts": at("http", "ANY")}]), mesh=mesh) == {}


def test_addresses_have_no_named_ports() -> None:
    found = about(to("db", egress=[{"toCIDR": ["192.0.2.0/24"], "toPorts": at("http")}]))

    assert [*found] == ["policy-named-port-nobody"]


def test_every_port_is_not_every_protocol() -> None:
    every = CART | {"toPorts": at("0", "ANY")}
    assert about(to("db", ingress=[every])) == {
        "policy-any-without-icmp": "spec.ingress[0] allows every port of every protocol that has ports, "
        "which ICMP has not"
    }
    ping = {"icmps": [{"fields": [{"type": 8}]}]}
    assert about(to("db", ingress=[every, CART | ping])) == {}
    assert about(to("db", ingress=[CART | {"toPorts": at("0")}])) == {}


# Proxies


def http(*paths: str) -> Document:
    rules = [{"path": each} if each else {} for each in paths]
    return CART | {
        "toPorts": [{"ports": [{"port": "80", "protocol": "TCP"}], "rules": {"http": rules}}],
    }


@pytest.mark.parametrize(
    ("plain", "outcome"),
    [
        (CART | {"toPorts": at("80")}, "has the same peers and ports: together they refuse nothing"),
        (CART, "is wider: flows still go to the proxy, and it is the proxy's to say what it refuses"),
        ({"fromEntities": ["all"]}, "is wider: flows still go to the proxy, "),
    ],
)
def test_http_rules_beside_a_rule_without_are_told(plain: Document, outcome: str) -> None:
    found = about(to("db", ingress=[http("/public"), plain]))

    assert [*found] == ["policy-plain-beside-proxy"]
    assert found["policy-plain-beside-proxy"].startswith(
        f"spec.ingress[0] allows by L7 rules what spec.ingress[1] allows without; it {outcome}"
    )


@pytest.mark.parametrize(
    "rules",
    [
        [http("/public"), http("/other")],
        [http("/public"), CART | {"toPorts": at("443")}],
        [http("/public"), {"fromEndpoints": [apps(app="db")]}],
        [http(""), CART],
    ],
)
def test_http_rules_that_nothing_else_covers_are_left_alone(rules: list[Document]) -> None:
    assert about(to("db", ingress=rules)) == {}


def test_http_rules_are_not_asked_where_an_earlier_tier_decides() -> None:
    accept = {
        "apiVersion": "policy.networking.k8s.io/v1alpha2",
        "kind": "ClusterNetworkPolicy",
        "metadata": {"name": "all"},
        "spec": {
            "tier": "Admin",
            "priority": 1,
            "subject": {"namespaces": {}},
            "ingress": [{"action": "Accept", "from": [{"namespaces": {}}]}],
        },
    }
    found = about(to("db", ingress=[http("/public")]), accept)
    assert found["policy-plain-beside-proxy"].endswith(
        "what spec.ingress[0] of ClusterNetworkPolicy /all allows without; it decides before: what they say "
        "is not asked"
    )


# Names


def look_up(*names: str) -> Document:
    rules = [{"matchPattern": name} for name in names]
    return {"toEntities": ["cluster"], "toPorts": [{"ports": DNS_PORT, "rules": {"dns": rules}}]}


@pytest.mark.parametrize(
    ("beside", "why"),
    [
        ([], "no rule of its subject with DNS rules allows look-ups"),
        (
            [{"toEntities": ["cluster"], "toPorts": [{"ports": DNS_PORT}]}],
            "no rule of its subject with DNS rules allows look-ups",
        ),
        ([look_up("*.example.org")], "the DNS rules of its subject allow no look-up of it"),
        ([look_up("*.example.com")], ""),
        ([look_up("*")], ""),
    ],
)
def test_names_are_learnt_from_look_ups_that_are_seen(beside: list[Document], why: str) -> None:
    found = about(to("db", egress=[{"toFQDNs": [{"matchName": "api.example.com"}]}, *beside]))

    assert found == (
        {
            "policy-fqdn-without-dns": f"spec.egress[0] is about names api.example.com, but {why}, so that "
            "no address is ever learnt"
        }
        if why
        else {}
    )


def test_look_ups_may_be_allowed_by_a_policy_for_more_subjects() -> None:
    names = to("db", "names", egress=[{"toFQDNs": [{"matchPattern": "*.example.com"}]}])
    assert about(names, cilium({"endpointSelector": {}, "egress": [look_up("**.com")]})) == {}
    assert "policy-fqdn-without-dns" in about(names, to("cart", egress=[look_up("*")]))


# Nodes


def test_the_host_is_a_pod_s_own_node() -> None:
    host = to("db", ingress=[{"fromEntities": ["host"]}])
    assert about(host) == {
        "policy-host-only": "spec.ingress[0] allows the host, which is a pod's own node and may reach it "
        "anyway; other nodes, of east and west, are remote-node"
    }
    assert about(host, allow_localhost="policy") == {}
    assert about(to("db", ingress=[{"fromEntities": ["host", "remote-node"]}])) == {}


@pytest.mark.parametrize("firewall", [False, True])
def test_policies_on_nodes_need_the_host_firewall(firewall: bool) -> None:
    document = cilium({"nodeSelector": {}, "ingress": [{"fromEntities": ["cluster"]}]}, namespace="")
    found = about(document, enable_host_firewall=firewall)

    assert [*found] == ([] if firewall else ["policy-host-firewall-off"])


# All of them


def test_policies_that_are_written_well_are_not_told_of() -> None:
    mesh = two_clusters()
    apply(mesh.members[EAST], with_ports("db", 11, sql=5432), pod(1, "kube-dns", 12, "kube-system"))
    dns = {
        "toEndpoints": [apps(**{f"k8s:{NAMESPACE}": "kube-system", "app": "kube-dns"})],
        "toPorts": [{"ports": DNS_PORT, "rules": {"dns": [{"matchPattern": "*"}]}}],
    }
    everybody = cilium({"endpointSelector": {}, "ingress": [{}], "egress": [dns]}, "default")
    cart = to(
        "cart",
        "cart",
        ingress=[{"fromEntities": ["cluster"]}],
        egress=[
            {"toEndpoints": [apps(app="db")], "toPorts": at("sql")},
            {"toFQDNs": [{"matchName": "api.example.com"}], "toPorts": at("443")},
            {"toCIDRSet": [{"cidr": "0.0.0.0/0", "except": ["10.0.0.0/8"]}]},
        ],
    )
    db = to("db", "db", ingress=[http("/public"), CART | {"toPorts": at("5432")}])

    assert about(everybody, cart, db, mesh=mesh) == {}
