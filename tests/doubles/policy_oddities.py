"""
What fleets with policies may have that neither the oracle nor `doubles.policy` knows.
"""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from doubles.policy_fleets import PODS, pod

Document = dict[str, Any]

LOCAL = ("10.1.0.0/24", "10.2.0.11/32", "10.0.0.0/8", "192.168.0.0/16", "192.168.1.1/32", "fd00:10:1::/64")
"""Networks in which pods and nodes have their addresses."""


def on_host(number: int, place: int) -> Document:
    """A pod on its node's network."""
    _, _, own, ports = PODS[place]
    made = pod(number, place, own, ports)
    made["spec"]["hostNetwork"] = True
    return made


def elsewhere(number: int, place: int) -> Document:
    """A pod at another address than usual."""
    _, _, own, ports = PODS[place]
    made = pod(number, place, own, ports)
    made["status"] = {"podIPs": [{"ip": f"10.{number}.1.{place + 10}"}]}
    return made


def addressed_node(number: int, at: int) -> Document:
    address = {"type": "InternalIP", "address": f"192.168.{number}.{at}"}
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {"name": f"node-{at}", "labels": {"role": f"r{at}"}},
        "status": {"addresses": [address]},
    }


def deployment(replicas: int, app: str) -> Document:
    template = {
        "metadata": {"labels": {"app": app}},
        "spec": {"containers": [{"name": "c", "image": "i"}]},
    }
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "more", "namespace": "prod"},
        "spec": {"replicas": replicas, "selector": {"matchLabels": {"app": app}}, "template": template},
    }


def manual_service(shared: str) -> Document:
    """Without a selector: to `toServices` it is its addresses."""
    annotations = {"service.cilium.io/global": shared}
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "api", "namespace": "prod", "annotations": annotations},
        "spec": {"ports": [{"port": 80}]},
    }


def endpoint_slice(addresses: list[str]) -> Document:
    labels = {"kubernetes.io/service-name": "api"}
    return {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {"name": "api-1", "namespace": "prod", "labels": labels},
        "addressType": "IPv4",
        "ports": [{"port": 80}],
        "endpoints": [{"addresses": [each]} for each in addresses],
    }


def odd_objects(number: int) -> st.SearchStrategy[Document]:
    places = st.integers(0, len(PODS) - 1)
    addresses = st.sampled_from(["203.0.113.7", "198.51.100.7", "192.0.2.1"])
    return st.one_of(
        st.builds(on_host, st.just(number), places),
        st.builds(elsewhere, st.just(number), places),
        st.builds(addressed_node, st.just(number), st.integers(1, 2)),
        st.builds(deployment, st.integers(0, 3), st.sampled_from(["web", "more"])),
        st.builds(manual_service, st.sampled_from(["true", "false"])),
        st.builds(endpoint_slice, st.lists(addresses, min_size=1, max_size=2, unique=True)),
    )


def _cilium(name: str, direction: str, rule: Document, *, denies: bool) -> Document:
    key = direction + ("Deny" if denies else "")
    return {
        "apiVersion": "cilium.io/v2",
        "kind": "CiliumNetworkPolicy",
        "metadata": {"name": name, "namespace": "prod"},
        "spec": {"endpointSelector": {}, key: [rule]},
    }


def _peers(direction: str, kind: str, value: Any) -> Document:
    return {("from" if direction == "ingress" else "to") + kind: [value]}


def _network_policy(name: str, cidr: str, hole: str) -> Document:
    block = {"cidr": cidr, "except": [hole]}
    spec = {"podSelector": {}, "policyTypes": ["Egress"], "egress": [{"to": [{"ipBlock": block}]}]}
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": {"name": name, "namespace": "prod"},
        "spec": spec,
    }


def _admin(kind: str, action: str, peer: Document) -> Document:
    spec: Document = {"subject": {"namespaces": {}}, "ingress": [{"action": action, "from": [peer]}]}
    if kind == "AdminNetworkPolicy":
        spec["priority"] = 1
    return {
        "apiVersion": "policy.networking.k8s.io/v1alpha1",
        "kind": kind,
        "metadata": {"name": "default"},
        "spec": spec,
    }


def _names(name: str, domain: str) -> Document:
    rule = {"action": "Accept", "to": [{"domainNames": [domain]}]}
    return {
        "apiVersion": "policy.networking.k8s.io/v1alpha2",
        "kind": "ClusterNetworkPolicy",
        "metadata": {"name": name},
        "spec": {"tier": "Admin", "priority": 1, "subject": {"namespaces": {}}, "egress": [rule]},
    }


NEGATIVE = (
    {"matchExpressions": [{"key": "app", "operator": "NotIn", "values": ["web"]}]},
    {"matchExpressions": [{"key": "io.cilium.k8s.policy.cluster", "operator": "NotIn", "values": ["x"]}]},
    {"matchExpressions": [{"key": "io.kubernetes.pod.namespace", "operator": "DoesNotExist"}]},
)


def odd_policies(name: str) -> st.SearchStrategy[Document]:
    directions = st.sampled_from(["ingress", "egress"])
    spaces = {"namespaces": {"matchExpressions": [{"key": "env", "operator": "NotIn", "values": ["dev"]}]}}
    peers: st.SearchStrategy[tuple[str, str, Any]] = st.one_of(
        st.tuples(directions, st.just("CIDR"), st.sampled_from(LOCAL)),
        st.tuples(directions, st.just("Endpoints"), st.sampled_from(NEGATIVE)),
        st.just(("egress", "Services", {"k8sServiceSelector": {"selector": {}}})),
        st.just(("egress", "FQDNs", {"matchPattern": "*.example.com"})),
        # Refused: no direction has such peers.
        st.just(("ingress", "Nobody", {})),
    )

    def made(drawn: tuple[str, str, Any], *, denies: bool) -> Document:
        direction, kind, value = drawn
        denies = denies and kind != "FQDNs"
        return _cilium(name, direction, _peers(direction, kind, value), denies=denies)

    admin = st.builds(
        _admin,
        st.sampled_from(["AdminNetworkPolicy", "BaselineAdminNetworkPolicy"]),
        st.sampled_from(["Allow", "Deny"]),
        st.sampled_from([{"namespaces": {}}, spaces]),
    )
    block = st.builds(
        _network_policy,
        st.just(name),
        st.sampled_from(["10.0.0.0/8", "0.0.0.0/0"]),
        st.sampled_from(LOCAL[:2]),
    )
    names = st.builds(_names, st.just(name), st.sampled_from(["api.example.com", "*.example.org"]))
    return st.one_of(
        st.booleans().flatmap(lambda denies: peers.map(lambda drawn: made(drawn, denies=denies))),
        st.one_of(admin, block, names),
    )
