"""
A mesh of two clusters with a few services, for tests of the data path.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

import fleetmesh as fm
from fleetmesh.resources import Endpoint, EndpointPort, EndpointSlice, Service, ServicePort

EAST, WEST = "east", "west"
IDS = {EAST: 1, WEST: 2}
SPACE = "shop"
NUMBERS = {"web": 1, "alt": 2, "sticky": 3, "scoped": 4}
PORTS = (("http", "TCP", 80, 8080), ("dns", "UDP", 53, 5353), ("signal", "SCTP", 90, 9090))
CONDITIONS = {"ready": (True, True, False), "terminating": (False, True, True)}  # ready, serving, terminating


def new_mesh(**flags: object) -> fm.Mesh:
    """Two clusters that hear each other, without services, with the smallest tables."""
    mesh = fm.Mesh("m")
    for name, number in IDS.items():
        mesh.join(
            name,
            cluster_id=number,
            settings=fm.ClusterSettings(maglev_table_size=251, **flags),  # type: ignore[arg-type]
            pod_cidrs=(f"10.{number}.0.0/16", f"fd00:{number}::/64"),
            service_cidrs=(f"10.10{number}.0.0/16", f"fd00:10{number}::/108"),
            node_cidrs=(f"192.168.{number}.0/24", f"fd00:20{number}::/64"),
        )
    return mesh


def vip(cluster: str, name: str, *, v6: bool = False, external: bool = False) -> str:
    """An address of a service."""
    number, own = IDS[cluster], NUMBERS[name]
    if external:
        return f"2001:db8::{own}" if v6 else f"198.51.100.{own}"
    return f"fd00:10{number}::{own}" if v6 else f"10.10{number}.0.{own}"


def pod(cluster: str, number: int, *, v6: bool = False) -> str:
    """An address in a cluster's pod range."""
    return f"fd00:{IDS[cluster]}::{number:x}" if v6 else f"10.{IDS[cluster]}.0.{number}"


def manifest(kind: str, name: str, **rest: Any) -> str:
    """One object, as text."""
    version = "cilium.io/v2" if kind == "CiliumNetworkPolicy" else "v1"
    head = {"apiVersion": version, "kind": kind, "metadata": {"name": name, "namespace": SPACE}}
    head["metadata"] |= rest.pop("metadata", {})
    return f"---\n{json.dumps(head | rest)}\n"


def pod_manifest(cluster: str, number: int, *, app: str) -> str:
    """A pod with the addresses of `pod`, named by its number."""
    addresses = [pod(cluster, number, v6=v6) for v6 in (False, True)]
    return manifest(
        "Pod",
        f"p{number}",
        metadata={"labels": {"app": app}},
        spec={
            "containers": [{"name": "c", "image": "i", "ports": [{"name": "http", "containerPort": 8080}]}]
        },
        status={"podIP": addresses[0], "podIPs": [{"ip": each} for each in addresses]},
    )


def service(cluster: str, name: str, *, affinity: int = 0) -> Service:
    """
    All are global and have three ports, in both families; `web` has a second address, and `scoped` one that
    means another thing within the cluster.
    """
    own = tuple(vip(cluster, name, v6=v6) for v6 in (False, True))
    outside = tuple(vip(cluster, name, v6=v6, external=True) for v6 in (False, True))
    scoped = name == "scoped"
    return Service(
        namespace=SPACE,
        name=name,
        annotations={"service.cilium.io/global": "true"},
        type="LoadBalancer" if scoped else "ClusterIP",
        cluster_ip=own[0],
        cluster_ips=own,
        ip_families=("IPv4", "IPv6"),
        ip_family_policy="RequireDualStack",
        ports=tuple(
            ServicePort(port=port, name=text, protocol=protocol, target_port=target)  # type: ignore[arg-type]
            for text, protocol, port, target in PORTS
        ),
        external_ips=outside if name == "web" else (),
        ingress=tuple((address, "VIP") for address in outside) if scoped else (),
        internal_traffic_policy="Cluster",
        external_traffic_policy="Local" if scoped else "Cluster",
        session_affinity_seconds=affinity,
    )


def slices(cluster: str, name: str, states: Mapping[int, str]) -> Iterable[EndpointSlice]:
    """Endpoints of a service, by the number of their pod: one slice for each family."""
    for v6 in (False, True):
        yield EndpointSlice(
            namespace=SPACE,
            name=f"{name}-{'v6' if v6 else 'v4'}",
            labels={"kubernetes.io/service-name": name},
            address_type="IPv6" if v6 else "IPv4",
            endpoints=tuple(
                _endpoint(pod(cluster, number, v6=v6), *CONDITIONS[state])
                for number, state in states.items()
                if state != "gone"
            ),
            ports=tuple(
                EndpointPort(port=target, name=text, protocol=protocol) for text, protocol, _, target in PORTS
            ),
        )


def _endpoint(address: str, ready: bool, serving: bool, terminating: bool) -> Endpoint:
    return Endpoint(
        addresses=(address,), node_name="n1", ready=ready, serving=serving, terminating=terminating
    )
