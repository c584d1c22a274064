"""
Random fleets with policies, and flows to ask about, as hypothesis draws and shrinks them.

A case is one of golden/policy.json's schema, so that whatever reads that reads these.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from hypothesis import strategies as st

CLUSTERS = ("cluster1", "cluster2")
SPACES = {"prod": {"env": "prod"}, "dev": {"env": "dev", "team": "a"}}
PODS: tuple[tuple[str, str, dict[str, str], tuple[tuple[str, str, int], ...]], ...] = (
    ("prod", "web", {"app": "web", "tier": "front"}, (("http", "TCP", 80),)),
    ("prod", "api", {"app": "api", "version": "v1"}, (("http", "TCP", 8080), ("dns", "UDP", 53))),
    ("prod", "db", {"app": "db", "tier": "back"}, ()),
    ("dev", "web", {"app": "web"}, (("http", "TCP", 8081),)),
    ("dev", "client", {"app": "client"}, ()),
)
NAMESPACE = "io.kubernetes.pod.namespace"
NAMESPACE_LABELS = "io.cilium.k8s.namespace.labels"
CLUSTER = "io.cilium.k8s.policy.cluster"
DNS = {"api.example.com": ["203.0.113.7"], "www.example.org": ["198.51.100.7", "2001:db8::7"]}
CIDRS = (
    "203.0.113.0/24",
    "203.0.113.0/28",
    "198.51.100.7/32",
    "0.0.0.0/0",
    "10.0.0.0/8",
    "::/0",
    "2001:db8::/32",
)
GROUPS = {"office": (["203.0.113.128/25"], {"site": "emea"}), "lab": (["192.0.2.0/24"], {"site": "apac"})}
ADDRESSES = ("203.0.113.7", "203.0.113.200", "198.51.100.7", "192.0.2.1", "2001:db8::7", "2001:db9::1")
PORTS = (53, 80, 81, 443, 8080, 8081, 40000)


def _some(options: list[Any]) -> st.SearchStrategy[Any]:
    return st.sampled_from(options)


def _map(**values: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    return st.fixed_dictionaries({}, optional=values)


labels = _some(
    [
        {},
        {"app": "web"},
        {"app": "api"},
        {"app": "db"},
        {"app": "client"},
        {"tier": "front"},
        {"k8s:app": "web"},
    ]
)
expressions = _some(
    [
        {"key": "app", "operator": "In", "values": ["web", "api"]},
        {"key": "tier", "operator": "Exists"},
    ]
)
negative = _some(
    [
        {"key": "app", "operator": "NotIn", "values": ["web"]},
        {"key": "tier", "operator": "DoesNotExist"},
    ]
)
scopes = _some(
    [
        {},
        {},
        {f"k8s:{NAMESPACE}": "dev"},
        {f"k8s:{NAMESPACE}": "prod"},
        {f"{NAMESPACE_LABELS}.env": "dev"},
        {CLUSTER: "cluster2"},
        {CLUSTER: "cluster1", f"k8s:{NAMESPACE}": "dev"},
    ]
)


@st.composite
def peer_selectors(draw: st.DrawFn) -> dict[str, Any]:
    matched = {**draw(labels), **draw(scopes)}
    selector: dict[str, Any] = {"matchLabels": matched} if matched else {}
    asked = draw(st.lists(expressions, max_size=1))
    # Of negative requirements alone Cilium makes another thing (aggregates), which the oracle leaves out.
    if matched or asked:
        asked += draw(st.lists(negative, max_size=1))
    return {**selector, "matchExpressions": asked} if asked else selector


pod_selectors = st.one_of(
    labels.filter(lambda each: "k8s:app" not in each).map(lambda each: {"matchLabels": each} if each else {}),
    expressions.map(lambda each: {"matchExpressions": [each]}),
)
entities = _some(["all", "world", "cluster", "cluster-mesh", "host", "remote-node", "kube-apiserver"])


@st.composite
def cidr_rules(draw: st.DrawFn) -> dict[str, Any]:
    kind = draw(_some(["cidr", "except", "group", "selector"]))
    if kind == "group":
        return {"cidrGroupRef": draw(_some(["office", "lab", "missing"]))}
    if kind == "selector":
        return {"cidrGroupSelector": {"matchLabels": {"site": draw(_some(["emea", "apac"]))}}}
    if kind == "cidr":
        return {"cidr": draw(_some(list(CIDRS)))}
    return {"cidr": "203.0.113.0/24", "except": [draw(_some(["203.0.113.0/28", "203.0.113.200/32"]))]}


@st.composite
def port_entries(draw: st.DrawFn, *, only_tcp: bool = False) -> dict[str, Any]:
    protocol = "TCP" if only_tcp else draw(_some(["TCP", "TCP", "UDP", "ANY", "", "SCTP"]))
    ends = draw(
        _some(
            [
                ("80", 0),
                ("443", 0),
                ("53", 0),
                ("8080", 0),
                ("80", 90),
                ("1", 1023),
                ("8000", 9000),
                ("http", 0),
                ("dns", 0),
                ("0", 0),
            ]
        )
    )
    if only_tcp and ends[0] == "0":
        ends = ("80", 0)
    entry: dict[str, Any] = {"port": ends[0]}
    if protocol:
        entry["protocol"] = protocol
    if ends[1]:
        entry["endPort"] = ends[1]
    return entry


http_rules = _map(
    path=_some(["/public", "/public/.*", "/(a|b)", ""]),
    method=_some(["GET", "GET|POST", ""]),
    headers=_some([["X-Token: 1"], ["X-Any"]]),
)
dns_rules = st.one_of(
    _some(["api.example.com", "www.Example.org"]).map(lambda name: {"matchName": name}),
    _some(["*.example.com", "*", "**.example.org", "a*.example.com"]).map(
        lambda text: {"matchPattern": text}
    ),
)


@st.composite
def to_ports(draw: st.DrawFn, direction: str, *, deny: bool) -> list[dict[str, Any]]:
    rules = []
    for _ in range(draw(st.integers(1, 2))):
        kind = (
            "plain"
            if deny
            else draw(_some(["plain", "plain", "http", "dns" if direction == "egress" else "http"]))
        )
        if kind == "http":
            ports = [draw(port_entries(only_tcp=True))]
            rules.append(
                {"ports": ports, "rules": {"http": draw(st.lists(http_rules, min_size=1, max_size=2))}}
            )
        elif kind == "dns":
            port = {"port": "53", "protocol": draw(_some(["UDP", "ANY"]))}
            rules.append(
                {"ports": [port], "rules": {"dns": draw(st.lists(dns_rules, min_size=1, max_size=2))}}
            )
        else:
            rules.append({"ports": draw(st.lists(port_entries(), min_size=1, max_size=2))})
    return rules


@st.composite
def cilium_rules(draw: st.DrawFn, direction: str, *, deny: bool, auth: bool) -> dict[str, Any]:
    way = "from" if direction == "ingress" else "to"
    kinds = ["Endpoints", "Endpoints", "Endpoints", "Entities", "CIDR", "CIDRSet", ""]
    kind = draw(_some([*kinds, *(["FQDNs", "Services"] if direction == "egress" and not deny else [])]))
    made: dict[str, st.SearchStrategy[Any]] = {
        "Endpoints": peer_selectors(),
        "Entities": entities,
        "CIDR": _some(list(CIDRS)),
        "CIDRSet": cidr_rules(),
        "FQDNs": dns_rules.filter(lambda each: each != {"matchPattern": "*"}),
        "Services": _some(
            [{"k8sService": {"serviceName": name, "namespace": "prod"}} for name in ("api", "none")]
        ),
    }
    rule: dict[str, Any] = {}
    if kind:
        empty = kind in {"Endpoints", "CIDR"} and draw(_some([False] * 9 + [True]))
        rule[way + kind] = [] if empty else draw(st.lists(made[kind], min_size=1, max_size=2))
    ports = draw(_some(["none", "ports", "ports", "icmp"]))
    if ports == "ports":
        rule["toPorts"] = draw(to_ports(direction, deny=deny))
    elif ports == "icmp":
        rule["icmps"] = [{"fields": [{"type": draw(_some([8, 3])), "family": "IPv4"}]}]
    if auth and not deny and draw(st.integers(0, 4)) == 0:
        rule["authentication"] = {"mode": draw(_some(["required", "disabled", "test-always-fail"]))}
    return rule


@st.composite
def cilium_policies(draw: st.DrawFn, name: str, *, auth: bool) -> dict[str, Any]:
    clusterwide = draw(_some([False, False, True]))
    on_host = clusterwide and draw(_some([False, False, True]))
    spec: dict[str, Any] = {}
    subject = draw(pod_selectors)
    spec["nodeSelector" if on_host else "endpointSelector"] = {} if on_host else subject
    lists = draw(
        st.lists(
            _some(["ingress", "egress", "ingressDeny", "egressDeny"]), min_size=1, max_size=2, unique=True
        )
    )
    for each in lists:
        direction, deny = each.removesuffix("Deny"), each.endswith("Deny")
        rule = cilium_rules(direction, deny=deny, auth=auth)
        if on_host:
            rule = rule.filter(lambda each: "rules" not in json.dumps(each))
        spec[each] = draw(st.lists(rule, min_size=1, max_size=2))
    if draw(st.integers(0, 3)) == 0:
        spec["enableDefaultDeny"] = draw(_map(ingress=st.booleans(), egress=st.booleans()))
    metadata = {"name": name} | ({} if clusterwide else {"namespace": draw(_some(["prod", "dev"]))})
    kind = "CiliumClusterwideNetworkPolicy" if clusterwide else "CiliumNetworkPolicy"
    return {"apiVersion": "cilium.io/v2", "kind": kind, "metadata": metadata, "spec": spec}


knp_ports = st.lists(
    st.one_of(
        _map(port=_some([80, "http", 443]), protocol=_some(["TCP", "UDP"])),
        st.just({"port": 8000, "endPort": 9000, "protocol": "TCP"}),
    ),
    max_size=2,
)
namespace_selectors = _some([{}, {"matchLabels": {"env": "dev"}}, {"matchLabels": {"team": "a"}}])


@st.composite
def network_policies(draw: st.DrawFn, name: str) -> dict[str, Any]:
    peer = st.one_of(
        pod_selectors.map(lambda each: {"podSelector": each}),
        namespace_selectors.map(lambda each: {"namespaceSelector": each}),
        st.tuples(pod_selectors, namespace_selectors).map(
            lambda each: {"podSelector": each[0], "namespaceSelector": each[1]}
        ),
        _some(
            [
                {"ipBlock": {"cidr": "203.0.113.0/24", "except": ["203.0.113.0/28"]}},
                {"ipBlock": {"cidr": "0.0.0.0/0"}},
            ]
        ),
    )
    spec: dict[str, Any] = {"podSelector": draw(pod_selectors)}
    types = draw(_some([["Ingress"], ["Egress"], ["Ingress", "Egress"], None]))
    if types is not None:
        spec["policyTypes"] = types
    for direction, way in (("Ingress", "from"), ("Egress", "to")):
        if direction in (types or ["Ingress"]):
            rule = _map(**{way: st.lists(peer, max_size=2), "ports": knp_ports})
            spec[direction.lower()] = draw(st.lists(rule, max_size=2))
    metadata = {"name": name, "namespace": draw(_some(["prod", "dev"]))}
    return {"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy", "metadata": metadata, "spec": spec}


@st.composite
def cluster_policies(draw: st.DrawFn, name: str) -> dict[str, Any]:
    def peers(direction: str) -> st.SearchStrategy[dict[str, Any]]:
        pods = st.tuples(pod_selectors, namespace_selectors).map(
            lambda each: {"pods": {"podSelector": each[0], "namespaceSelector": each[1]}}
        )
        kinds = [pods, namespace_selectors.map(lambda each: {"namespaces": each})]
        if direction == "egress":
            kinds.append(_some([{"networks": ["203.0.113.0/24"]}, {"networks": ["0.0.0.0/0", "::/0"]}]))
        return st.one_of(kinds)

    protocols = _some(
        [
            {"tcp": {"destinationPort": {"number": 80}}},
            {"tcp": {"destinationPort": {"range": {"start": 80, "end": 8080}}}},
            {"udp": {"destinationPort": {"number": 53}}},
            {"tcp": {}},
            {"destinationNamedPort": "http"},
        ]
    )
    spec: dict[str, Any] = {
        "tier": draw(_some(["Admin", "Baseline"])),
        "priority": draw(st.integers(0, 3)),
        "subject": draw(
            _some(
                [
                    {"namespaces": {}},
                    {"namespaces": {"matchLabels": {"env": "prod"}}},
                    {"pods": {"namespaceSelector": {}, "podSelector": {"matchLabels": {"app": "web"}}}},
                ]
            )
        ),
    }
    for direction, way in (("ingress", "from"), ("egress", "to")):
        rules = []
        for _ in range(draw(st.integers(0, 2))):
            rule = {
                "action": draw(_some(["Accept", "Deny", "Pass"])),
                way: draw(st.lists(peers(direction), min_size=1, max_size=2)),
            }
            chosen = draw(st.lists(protocols, max_size=1))
            rules.append(rule | ({"protocols": chosen} if chosen else {}))
        spec[direction] = rules
    return {
        "apiVersion": "policy.networking.k8s.io/v1alpha2",
        "kind": "ClusterNetworkPolicy",
        "metadata": {"name": name},
        "spec": spec,
    }


def namespace(name: str, own: dict[str, str]) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": own}}


def node(own: dict[str, str]) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "Node", "metadata": {"name": "node-1", "labels": own}}


def pod(
    cluster: int, place: int, own: dict[str, str], ports: Sequence[tuple[str, str, int]]
) -> dict[str, Any]:
    """That of a place in `PODS`, which its addresses hang on."""
    space, name, _, _ = PODS[place]
    container = {
        "name": "c",
        "image": "i",
        "ports": [{"name": n, "protocol": p, "containerPort": c} for n, p, c in ports],
    }
    number = 10 + place
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "namespace": space, "labels": own},
        "spec": {"serviceAccountName": "default", "containers": [container]},
        "status": {"podIPs": [{"ip": f"10.{cluster}.0.{number}"}, {"ip": f"fd00:10:{cluster}::{number:x}"}]},
    }


def service(selector: dict[str, str]) -> dict[str, Any]:
    spec = {"selector": selector, "ports": [{"port": 80}]}
    metadata = {"name": "api", "namespace": "prod"}
    return {"apiVersion": "v1", "kind": "Service", "metadata": metadata, "spec": spec}


def group(name: str, cidrs: list[str], own: dict[str, str]) -> dict[str, Any]:
    return {
        "apiVersion": "cilium.io/v2",
        "kind": "CiliumCIDRGroup",
        "metadata": {"name": name, "labels": own},
        "spec": {"externalCIDRs": cidrs},
    }


def population(cluster: int) -> list[dict[str, Any]]:
    """What every cluster has besides policies."""
    return [
        *(namespace(name, own) for name, own in SPACES.items()),
        node({"role": "worker"}),
        *(pod(cluster, place, own, ports) for place, (_, _, own, ports) in enumerate(PODS)),
        service({"app": "api"}),
        *(group(name, cidrs, own) for name, (cidrs, own) in GROUPS.items()),
    ]


configs = _map(
    policy_enforcement=_some(["default", "default", "always", "never"]),
    policy_default_local_cluster=st.booleans(),
    allow_localhost=_some(["always", "policy"]),
    enable_ipv6=_some([True, True, False]),
    enable_host_firewall=st.booleans(),
    policy_cidr_match_mode=_some([[], [], ["nodes"], ["pods"], ["nodes", "pods"]]),
    disable_non_default_deny=_some([False, False, True]),
)
ends = [
    *(f"{cluster}/{space}/{name}" for cluster in CLUSTERS for space, name, _, _ in PODS),
    *(f"host:{cluster}" for cluster in CLUSTERS),
    *(f"ip:{address}" for address in ADDRESSES),
]


@st.composite
def flows(draw: st.DrawFn) -> dict[str, Any]:
    here = [each for each in ends if each.startswith("cluster")]
    source, to = draw(_some(ends)), draw(_some(here))
    if draw(st.booleans()):
        source, to = to, source
    protocol = draw(_some(["TCP", "TCP", "TCP", "UDP", "SCTP", "ICMP"]))
    port = draw(_some([8, 3, 5])) if protocol == "ICMP" else draw(_some(list(PORTS)))
    flow: dict[str, Any] = {"from": source, "to": to, "proto": protocol, "port": port}
    if protocol == "TCP":
        request = {
            "method": draw(_some(["GET", "POST", "DELETE"])),
            "path": draw(_some(["/public", "/public/x", "/a", "/"])),
            "host": "h",
        }
        if draw(st.booleans()):
            request["headers"] = {"x-token": "1"}
        flow["http"] = request
    elif port == 53:
        flow["dns_query"] = draw(
            _some(["api.example.com", "www.example.org", "a.b.example.org", "example.com"])
        )
    return flow


@st.composite
def cases(draw: st.DrawFn) -> dict[str, Any]:
    """A fleet, and flows."""
    # Cilium has no pass beside authentication.
    auth = draw(_some([False, True]))
    clusters = {}
    for number, name in enumerate(CLUSTERS, 1):
        policies = []
        for at in range(draw(st.integers(1, 3)) if number == 1 else draw(st.integers(0, 1))):
            kinds = [
                cilium_policies(f"p{at}", auth=auth),
                cilium_policies(f"p{at}", auth=auth),
                network_policies(f"p{at}"),
            ]
            if not auth:
                kinds.append(cluster_policies(f"p{at}"))
            policies.append(draw(st.one_of(kinds)))
        documents = [json.dumps(each) for each in (*population(number), *policies)]
        clusters[name] = {"id": number, "config": draw(configs), "manifests": "\n---\n".join(documents)}
    queries = draw(st.lists(flows(), min_size=10, max_size=40))
    for number, query in enumerate(queries):
        query["id"] = f"q{number}"
    return {"id": "random", "clusters": clusters, "dns": DNS, "queries": queries}
