"""
From the documents of a manifest to the arguments of the core, without the package under test.

After Cilium's pkg/loadbalancer/reflectors/conversions.go (frontends), pkg/k8s/endpoints.go (slices),
operator/watchers/service_sync.go (records) and pkg/annotation/clustermesh.go.
"""

from __future__ import annotations

import hashlib
import ipaddress
import json
from typing import Any, TypeAlias

from doubles.facts import ENDING, READY, SERVING, FrontendSpec, canonical

Document: TypeAlias = dict[str, Any]
Frontend: TypeAlias = FrontendSpec

PROTOCOLS = {"TCP": 6, "UDP": 17, "SCTP": 132}
CLUSTER_IP, NODE_PORT, LOAD_BALANCER, EXTERNAL_IPS = range(4)
ZONE = "topology.kubernetes.io/zone"


def labels(document: Document) -> dict[str, str]:
    return document["metadata"].get("labels") or {}


def notes(document: Document) -> dict[str, str]:
    return document["metadata"].get("annotations") or {}


def annotation(document: Document, *names: str) -> str | None:
    """The value under the first name that is there."""
    given = notes(document)
    return next((given[name] for name in names if name in given), None)


def is_true(value: str | None, default: bool) -> bool:
    return default if value is None else value.lower() == "true"


def is_headless(service: Document) -> bool:
    spec = service["spec"]
    return "service.kubernetes.io/headless" in labels(service) or spec.get("clusterIP", "").lower() == "none"


def cluster_ips(service: Document) -> list[str]:
    return service["spec"].get("clusterIPs") or [service["spec"].get("clusterIP", "")]


def ports(service: Document) -> list[tuple[str, int, int, int]]:
    """Name, protocol, port and node port (0: none)."""
    return [
        (
            port.get("name", ""),
            PROTOCOLS[port.get("protocol", "TCP")],
            port["port"],
            port.get("nodePort", 0),
        )
        for port in service["spec"].get("ports") or []
    ]


def families(service: Document) -> list[str]:
    given = service["spec"].get("ipFamilies")
    if given:
        return list(given)
    found = {ipaddress.ip_address(ip).version for ip in cluster_ips(service) if canonical(ip)}
    return [f"IPv{version}" for version in sorted(found)]


def scopes(service: Document) -> list[bool]:
    """Internal or not: a second scope exists when exactly one traffic policy is Local."""
    spec = service["spec"]
    internal_local = spec.get("internalTrafficPolicy") == "Local"
    external_local = spec.get("externalTrafficPolicy") == "Local"
    return [False] if internal_local == external_local else [False, True]


def at(type_: int, internal: bool, text: str, service: Document) -> list[Frontend]:
    """A frontend for each port at an address; none, if the address is none."""
    address = canonical(text)
    if address is None:
        return []
    return [(type_, internal, address, port, protocol, name) for name, protocol, port, _ in ports(service)]


def frontends(service: Document) -> list[Frontend]:
    spec, kind = service["spec"], service["spec"].get("type", "ClusterIP")
    only = annotation(service, "service.cilium.io/type")
    exposes = ["ClusterIP", "NodePort", "LoadBalancer"]
    if only in exposes:
        exposes = [only]
    out: list[Frontend] = []
    if "ClusterIP" in exposes:
        for ip in sorted(cluster_ips(service)):
            out += at(CLUSTER_IP, False, ip, service)
    if kind in ("NodePort", "LoadBalancer") and "NodePort" in exposes:
        out += [
            (NODE_PORT, internal, "0.0.0.0" if family == "IPv4" else "::", node_port, protocol, name)
            for internal in scopes(service)
            for family in families(service)
            for name, protocol, _, node_port in ports(service)
            if node_port
        ]
    if kind == "LoadBalancer" and "LoadBalancer" in exposes:
        for ingress in service.get("status", {}).get("loadBalancer", {}).get("ingress") or []:
            if ingress.get("ip") and ingress.get("ipMode", "VIP") == "VIP":
                for internal in scopes(service):
                    out += at(LOAD_BALANCER, internal, ingress["ip"], service)
    for ip in spec.get("externalIPs") or []:
        out += at(EXTERNAL_IPS, False, ip, service)
    return out


def distribution(service: Document) -> int:
    spec = service["spec"]
    if spec.get("internalTrafficPolicy") == "Local":
        return 0
    wanted = {"PreferSameZone": 1, "PreferClose": 1, "PreferSameNode": 2}.get(spec.get("trafficDistribution"))
    if wanted:
        return wanted
    hints = annotation(
        service, "service.kubernetes.io/topology-aware-hints", "service.kubernetes.io/topology-mode"
    )
    return 0 if hints in (None, "", "disabled", "Disabled") else 1


def matches(selector: str, given: dict[str, str]) -> bool:
    """A label selector in string form; only `key`, `!key`, `key=value` and `key!=value`."""
    for term in selector.split(","):
        if "!=" in term:
            key, _, value = term.partition("!=")
            met = given.get(key.strip()) != value.strip()
        elif "=" in term:
            key, _, value = term.replace("==", "=").partition("=")
            met = given.get(key.strip()) == value.strip()
        else:
            met = (term.strip().lstrip("!") in given) != term.strip().startswith("!")
        if not met:
            return False
    return True


def exposed_on(service: Document, nodes: dict[str, dict[str, str]]) -> list[str] | None:
    """Nodes (with their labels) that the service is installed on, `None` for all."""
    selector = annotation(service, "service.cilium.io/node-selector")
    if selector is not None:
        return [name for name, given in nodes.items() if matches(selector, given)]
    wanted = annotation(service, "service.cilium.io/node")
    if wanted is None:
        return None
    return [name for name, given in nodes.items() if given.get("service.cilium.io/node") == wanted]


def distinct(found: list[Frontend], enable_ipv6: bool) -> list[Frontend]:
    """Of two frontends of one address the later stays; families that the cluster lacks are left out."""
    by_address = {
        (address, port, protocol, internal): (type_, internal, address, port, protocol, name)
        for type_, internal, address, port, protocol, name in found
        if enable_ipv6 or ":" not in address
    }
    return list(by_address.values())


def record_head(service: Document) -> dict[str, Any]:
    """What the exported value says beside the backends."""
    spec = service["spec"]
    by_name = {
        name: {"Protocol": port.get("protocol", "TCP"), "Port": port["port"]}
        for port in spec.get("ports") or []
        for name in [port.get("name", "")]
    }
    return {
        "frontends": {} if is_headless(service) else dict.fromkeys(cluster_ips(service), by_name),
        "labels": labels(service),
        "selector": spec.get("selector") or {},
        "includeExternal": True,
        "shared": True,
    }


def service_arguments(
    service: Document, namespace_global: bool, enable_ipv6: bool, nodes: dict[str, dict[str, str]]
) -> dict[str, Any]:
    """The keyword arguments of `ServiceSpec`."""
    spec, head = service["spec"], record_head(service)
    digest = hashlib.sha256(json.dumps(head, sort_keys=True).encode()).digest()
    affinity = (annotation(service, "service.cilium.io/affinity", "io.cilium/service-affinity") or "").lower()
    seconds = 0
    if spec.get("sessionAffinity") == "ClientIP":
        client = (spec.get("sessionAffinityConfig") or {}).get("clientIP") or {}
        seconds = client.get("timeoutSeconds") or 10800
    return {
        "is_global": is_true(
            annotation(service, "service.cilium.io/global", "io.cilium/global-service"), default=False
        ),
        "shared": is_true(
            annotation(service, "service.cilium.io/shared", "io.cilium/shared-service"), default=True
        ),
        "namespace_global": namespace_global,
        "affinity": {"local": 1, "remote": 2}.get(affinity, 0),
        "headless": is_headless(service),
        "external_name": spec.get("type") == "ExternalName",
        "record_valid": all(canonical(address) for address in head["frontends"]),
        "internal_local": spec.get("internalTrafficPolicy") == "Local",
        "external_local": spec.get("externalTrafficPolicy") == "Local",
        "distribution": distribution(service),
        "session_affinity_seconds": seconds,
        "frontends": distinct(frontends(service), enable_ipv6),
        "exposed_on": exposed_on(service, nodes),
        "record_digest": int.from_bytes(digest[:8], "big"),
        "created": str(service["metadata"].get("creationTimestamp", "")),
    }


def conditions(endpoint: Document) -> int:
    given = endpoint.get("conditions") or {}
    bits = READY if given.get("ready") in (None, True) else 0
    bits |= SERVING if given.get("serving") in (None, True) else 0
    return bits | (ENDING if given.get("terminating") else 0)


def slice_arguments(document: Document) -> dict[str, Any]:
    """The arguments `endpoints`, `ports` and `weight` of `set_slice`."""
    known = document.get("addressType") in ("IPv4", "IPv6")
    endpoints = []
    for endpoint in (document.get("endpoints") or []) if known else []:
        old = endpoint.get("deprecatedTopology") or {}
        hints = (endpoint.get("hints") or {}).get("forZones") or []
        endpoints.append(
            (
                endpoint["addresses"],
                conditions(endpoint),
                endpoint.get("nodeName") or old.get("kubernetes.io/hostname", ""),
                endpoint.get("hostname", ""),
                endpoint.get("zone") or old.get(ZONE, ""),
                [hint["name"] for hint in hints],
            )
        )
    found = [
        (port.get("name") or "", PROTOCOLS[port.get("protocol", "TCP")], port["port"])
        for port in document.get("ports") or []
        if port.get("port") is not None and port.get("protocol", "TCP") in PROTOCOLS
    ]
    return {"endpoints": endpoints, "ports": found, "weight": weight(document)}


def weight(document: Document) -> int:
    given = annotation(document, "service.cilium.io/weight")
    if given is not None and given.isascii() and given.isdigit() and int(given) < 65536:
        return int(given)
    return 100
