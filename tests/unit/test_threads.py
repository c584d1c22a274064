"""
Readers of a mesh go on beside its writer; each sees one generation, never half of a change.
"""

from __future__ import annotations

import threading

import pytest

import fleetmesh as fm

ADDRESSES = ("10.2.0.1", "10.2.0.2", "10.2.0.3")
SERVICE = """
apiVersion: v1
kind: Service
metadata: {name: echo, namespace: shop, annotations: {service.cilium.io/global: "true"}}
spec: {clusterIP: 10.100.0.1, ports: [{port: 80}]}
"""


def endpoints(addresses: tuple[str, ...]) -> str:
    listed = "".join(f"\n- addresses: [{address}]" for address in addresses) or " []"
    return f"""
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {{name: echo-1, namespace: shop, labels: {{kubernetes.io/service-name: echo}}}}
addressType: IPv4
endpoints:{listed}
ports: [{{port: 8080}}]
"""


def read_until(done: threading.Event, mesh: fm.Mesh, seen: set[int]) -> None:
    while not done.is_set():
        seen.add(len(mesh.service("shop", "echo").backends(seen_from="east")))


@pytest.mark.parametrize("changes", [40, pytest.param(400, marks=pytest.mark.sanitizer)], ids=["few", "many"])
def test_readers_see_whole_changes_only(changes: int) -> None:
    mesh = fm.Mesh("shop")
    east, west = mesh.join("east", cluster_id=1), mesh.join("west", cluster_id=2)
    for member in (east, west):
        member.apply(SERVICE)
    west.apply(endpoints(ADDRESSES))
    done = threading.Event()
    seen: list[set[int]] = [set(), set()]
    readers = [threading.Thread(target=read_until, args=(done, mesh, each)) for each in seen]
    for reader in readers:
        reader.start()
    for number in range(changes):
        west.apply(endpoints(ADDRESSES if number % 2 else ()))
    done.set()
    for reader in readers:
        reader.join()

    assert seen[0] | seen[1] <= {0, len(ADDRESSES)}
