"""
Packets through a data path from Python.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import fleetmesh as fm

PACKETS = 1 << 17
TCP, SYN, ACK = 6, 2, 16
SERVICE = """
apiVersion: v1
kind: Service
metadata: {name: echo, namespace: shop, annotations: {service.cilium.io/global: "true"}}
spec: {clusterIP: 10.100.0.1, ports: [{port: 80}]}
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: echo-1, namespace: shop, labels: {kubernetes.io/service-name: echo}}
addressType: IPv4
endpoints: [{addresses: [10.1.0.1]}, {addresses: [10.1.0.2]}]
ports: [{port: 8080}]
"""


def shop() -> fm.Mesh:
    mesh = fm.Mesh("shop")
    mesh.join("east", cluster_id=1, pod_cidrs=["10.1.0.0/16"]).apply(SERVICE)
    return mesh


def packets(flows: int, flags: int) -> fm.Packets:
    chosen = np.random.default_rng(1).integers(flows, size=PACKETS, dtype=np.uint32)
    source = (0x0A018000 + chosen % 8192).astype(np.uint32)
    destination = np.full(PACKETS, 0x0A640001, np.uint32)
    return fm.Packets.v4(source, destination, (1024 + chosen // 8192).astype(np.uint16), 80, TCP, flags)


@pytest.mark.parametrize("shards", [1, 2])
@pytest.mark.parametrize("flows", [1, 20_000])
def test_established_connections(benchmark: Any, flows: int, shards: int) -> None:
    path = shop().datapath("east", shards=shards)
    path.process(packets(flows, SYN))
    established = packets(flows, ACK)
    path.process(established)

    decisions = benchmark(path.process, established)

    assert (decisions.state == fm.datapath.ConnectionState.ESTABLISHED).all()


def test_new_connections(benchmark: Any) -> None:
    mesh = shop()
    opening = packets(PACKETS * 64, SYN)

    def fresh() -> tuple[tuple[fm.datapath.Datapath], dict[str, Any]]:
        return (mesh.datapath("east"),), {}

    decisions = benchmark.pedantic(lambda path: path.process(opening), setup=fresh, rounds=5, warmup_rounds=1)

    assert (decisions.state == fm.datapath.ConnectionState.NEW).mean() > 0.9


def test_through_both_ends(benchmark: Any) -> None:
    mesh = shop()
    established = packets(1000, ACK)

    assert (benchmark(mesh.process, established).verdict == fm.datapath.Verdict.ALLOW).all()
