"""
Objects that decide who may reach whom, for random histories of a mesh of two clusters.
"""

from __future__ import annotations

import json
from functools import cache
from typing import Any

from hypothesis import strategies as st

import fleetmesh as fm
from fleetmesh.resources.model import PolicyObject

CLUSTERS = {"east": 1, "west": 2}
APPS = ("web", "db", "cache")
NAMES = ("api.example.com", "www.example.com")
OUTSIDE = ("192.0.2.1", "192.0.2.130", "198.51.100.1")


def pod(cluster: str, app: str, version: int, **spec: Any) -> dict[str, Any]:
    ports = [{"name": "http", "containerPort": 80 + version}]
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": app, "namespace": "shop", "labels": {"app": app, "version": str(version)}},
        "spec": {"containers": [{"name": "c", "ports": ports}], **spec},
        "status": {"podIP": f"10.{CLUSTERS[cluster]}.0.{APPS.index(app) + 10}"},
    }


def namespace(team: str) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "shop", "labels": {"team": team}}}


def node(cluster: str, last: int, zone: str) -> dict[str, Any]:
    address = f"172.16.{CLUSTERS[cluster]}.{last}"
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {"name": f"node-{last}", "labels": {"zone": zone}},
        "status": {"addresses": [{"type": "InternalIP", "address": address}]},
    }


def service(app: str) -> dict[str, Any]:
    """With a selector, or, of `cache`, one whose endpoints are written down."""
    selector = {} if app == "cache" else {"selector": {"app": app}}
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": app, "namespace": "shop"},
        "spec": {"ports": [{"port": 80}], **selector},
    }


def endpoints(address: str) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Endpoints",
        "metadata": {"name": "cache", "namespace": "shop"},
        "subsets": [{"addresses": [{"ip": address}], "ports": [{"port": 80}]}],
    }


def group(cidr: str, tier: str) -> dict[str, Any]:
    return {
        "apiVersion": "cilium.io/v2",
        "kind": "CiliumCIDRGroup",
        "metadata": {"name": "partners", "labels": {"tier": tier}},
        "spec": {"externalCIDRs": [cidr]},
    }


def cilium_policy(name: str, app: str, direction: str, rule: dict[str, Any], deny: bool) -> dict[str, Any]:
    named = name == "b" and not deny and not rule.keys() & {"toFQDNs", "toPorts"}
    ports = {"toPorts": [{"ports": [{"port": "http"}]}]} if named else {}
    field = direction + ("Deny" if deny and not rule.keys() & {"toServices", "toFQDNs", "toPorts"} else "")
    return {
        "apiVersion": "cilium.io/v2",
        "kind": "CiliumNetworkPolicy",
        "metadata": {"name": name, "namespace": "shop"},
        "spec": {"endpointSelector": {"matchLabels": {"app": app}}, field: [rule | ports]},
    }


def clusterwide(zone: str, peer: dict[str, Any]) -> dict[str, Any]:
    """About nodes, where they have a firewall."""
    return {
        "apiVersion": "cilium.io/v2",
        "kind": "CiliumClusterwideNetworkPolicy",
        "metadata": {"name": "nodes"},
        "spec": {
            "nodeSelector": {"matchLabels": {"zone": zone}},
            "ingress": [{"fromEndpoints": [peer]}],
        },
    }


def network_policy(name: str, app: str, peer: dict[str, Any], port: int) -> dict[str, Any]:
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": {"name": name, "namespace": "shop"},
        "spec": {
            "podSelector": {"matchLabels": {"app": app}},
            "policyTypes": ["Ingress", "Egress"],
            "ingress": [{"from": [{"podSelector": peer}], "ports": [{"port": port}]}],
            "egress": [{"to": [{"ipBlock": {"cidr": "192.0.2.0/24", "except": ["192.0.2.128/25"]}}]}],
        },
    }


def admin_policy(action: str, priority: int, app: str) -> dict[str, Any]:
    return {
        "apiVersion": "policy.networking.k8s.io/v1alpha2",
        "kind": "ClusterNetworkPolicy",
        "metadata": {"name": f"p{priority}"},
        "spec": {
            "tier": "Admin" if priority else "Baseline",
            "priority": priority,
            "subject": {"namespaces": {}},
            "ingress": [
                {
                    "action": action if priority or action != "Pass" else "Deny",
                    "from": [
                        {"pods": {"namespaceSelector": {}, "podSelector": {"matchLabels": {"app": app}}}}
                    ],
                }
            ],
        },
    }


PEERS = st.sampled_from(
    [
        {"matchLabels": {"app": "web"}},
        {"matchLabels": {"version": "1"}},
        {"matchLabels": {"io.cilium.k8s.policy.cluster": "west"}},
        {"matchLabels": {"io.cilium.k8s.namespace.labels.team": "a"}},
        {"matchExpressions": [{"key": "app", "operator": "NotIn", "values": ["db"]}]},
    ]
)
ASKING: list[dict[str, Any]] = [
    {"toEndpoints": [{}], "toPorts": [{"ports": [{"port": "80", "protocol": "TCP"}], "rules": rules}]}
    for rules in ({"http": [{"method": "GET"}]}, {"dns": [{"matchPattern": "*"}]})
]
"""Of these no two can be carried out for one endpoint."""

EGRESS = st.one_of(
    PEERS.map(lambda peer: {"toEndpoints": [peer]}),
    st.sampled_from(
        [
            {"toCIDR": ["192.0.2.0/24"]},
            {"toCIDRSet": [{"cidrGroupRef": "partners"}]},
            {"toCIDRSet": [{"cidrGroupSelector": {"matchLabels": {"tier": "a"}}}]},
            {"toFQDNs": [{"matchName": NAMES[0]}]},
            {"toFQDNs": [{"matchPattern": "*.example.com"}]},
            {"toServices": [{"k8sService": {"serviceName": "db", "namespace": "shop"}}]},
            {"toServices": [{"k8sService": {"serviceName": "cache", "namespace": "shop"}}]},
            {"toEntities": ["cluster-mesh"]},
            *ASKING,
        ]
    ),
)
APP = st.sampled_from(APPS)


@cache
def documents(cluster: str) -> st.SearchStrategy[dict[str, Any]]:
    policies = st.one_of(
        st.builds(cilium_policy, st.sampled_from("abc"), APP, st.just("egress"), EGRESS, st.booleans()),
        st.builds(
            cilium_policy,
            st.sampled_from("abc"),
            APP,
            st.just("ingress"),
            PEERS.map(lambda peer: {"fromEndpoints": [peer]}),
            st.booleans(),
        ),
        st.builds(clusterwide, st.sampled_from("ab"), PEERS),
        st.builds(
            network_policy,
            st.sampled_from("ab"),
            APP,
            st.sampled_from([{}, {"matchLabels": {"app": "web"}}]),
            st.sampled_from([80, 81]),
        ),
        st.builds(admin_policy, st.sampled_from(["Accept", "Deny", "Pass"]), st.sampled_from([0, 1, 2]), APP),
    )
    others = st.one_of(
        st.builds(pod, st.just(cluster), APP, st.integers(0, 1)),
        st.builds(namespace, st.sampled_from("ab")),
        st.builds(node, st.just(cluster), st.sampled_from([1, 2]), st.sampled_from("ab")),
        st.builds(service, APP),
        st.builds(endpoints, st.sampled_from(OUTSIDE)),
        st.builds(group, st.sampled_from(["192.0.2.0/25", "198.51.100.0/24"]), st.sampled_from("ab")),
    )
    return st.one_of(policies, policies, others)


_ASKING_POLICIES = st.builds(
    cilium_policy,
    st.sampled_from("ac"),
    st.just("web"),
    st.just("egress"),
    st.sampled_from([*ASKING, {"toEndpoints": [{}]}]),
    st.just(False),
)
CONFLICTING = st.one_of(
    *[_ASKING_POLICIES] * 4,
    st.builds(pod, st.just("east"), st.sampled_from(APPS[:2]), st.integers(0, 1)),
    st.builds(namespace, st.sampled_from("ab")),
)
"""Policies that are often in conflict, and whom they are about."""


SETTINGS = st.builds(
    fm.ClusterSettings,
    policy_default_local_cluster=st.booleans(),
    enable_host_firewall=st.booleans(),
    policy_cidr_match_mode=st.sampled_from([(), ("pods",), ("nodes",)]),
)
STEPS = st.tuples(
    st.sampled_from(["apply", "apply", "apply", "apply", "delete", "delete", "leave", "fail", "learn"]),
    st.sampled_from(list(CLUSTERS)),
)


def step(mesh: fm.Mesh, data: st.DataObject) -> str:
    """One random change; says what it was."""
    kind, name = data.draw(STEPS)
    if name not in mesh.members:
        number = CLUSTERS[name]
        terms = data.draw(SETTINGS, "settings")
        member = mesh.join(name, cluster_id=number, pod_cidrs=[f"10.{number}.0.0/16"], settings=terms)
        for app in APPS[:2]:
            member.apply(text_of(pod(name, app, 0)))
    member = mesh.members[name]
    if kind == "leave":
        mesh.leave(name)
        if data.draw(st.booleans(), "back"):
            number = CLUSTERS[name] + data.draw(st.sampled_from([0, 2]), "another id")
            mesh.join(member, cluster_id=number, settings=data.draw(SETTINGS, "settings"))
    elif kind == "learn":
        mesh.dns[data.draw(st.sampled_from(NAMES))] = [data.draw(st.sampled_from(OUTSIDE))]
    elif kind == "fail":
        (member.restore if member.failed else member.fail)()
    elif kind == "apply":
        member.apply(text_of(data.draw(documents(name))))
    elif kind == "delete" and member.resources:
        there = list(member.resources.values())
        policies = [each for each in there if isinstance(each, PolicyObject)]
        member.delete([data.draw(st.sampled_from(policies or there))])
    return kind


def text_of(document: dict[str, Any]) -> str:
    return f"---\n{json.dumps(document)}\n"


def ends(mesh: fm.Mesh) -> list[str]:
    """All pods, hosts, and some addresses."""
    view = mesh.viewpoint()
    pods = [
        f"{name}/shop/{pod}"
        for name, member in view.members.items()
        for pod in member._store.pods.group("shop")
    ]
    hosts = [f"host:{name}" for name in view.members]
    inside = ["10.1.0.10", "172.16.1.1"]
    return [*pods, *hosts, *(f"ip:{address}" for address in (*inside, *OUTSIDE[:2]))]
