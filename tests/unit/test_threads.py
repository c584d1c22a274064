"""
Readers of a mesh go on beside its writer; each sees one generation, never half of a change.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import fleetmesh as fm
from fleetmesh.mesh.imports import Imports

ADDRESSES = ("10.2.0.1", "10.2.0.2", "10.2.0.3")
SERVICE = """
apiVersion: v1
kind: Service
metadata: {name: echo, namespace: shop, annotations: {service.cilium.io/global: "true"}}
spec: {clusterIP: 10.100.0.1, ports: [{port: 80}]}
"""
WORKLOAD = """
apiVersion: apps/v1
kind: Deployment
metadata: {name: echo, namespace: shop}
spec:
  selector: {matchLabels: {app: echo}}
  template: {metadata: {labels: {app: echo}}, spec: {containers: [{name: c, image: i}]}}
"""
HEADLESS = """
apiVersion: v1
kind: Service
metadata: {name: echo, namespace: shop, annotations: {service.cilium.io/global: "true"}}
spec: {clusterIP: None, selector: {app: echo}, ports: [{port: 80}]}
"""
NODE = """
apiVersion: v1
kind: Node
metadata: {name: n1}
spec: {podCIDRs: [10.0.128.0/24]}
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


class Reader(threading.Thread):
    """Asks again and again what east has, until it is told to stop."""

    def __init__(self, mesh: fm.Mesh) -> None:
        super().__init__()
        self.mesh = mesh
        self.done = threading.Event()
        self.asked = threading.Event()
        self.seen: set[int] = set()

    def run(self) -> None:
        while not self.done.is_set():
            assert isinstance(self.mesh.findings, tuple)
            self.seen.add(len(self.mesh.service("shop", "echo").backends(seen_from="east")))
            self.asked.set()

    def wait(self) -> None:
        """Until a question was asked and answered after now: the second that ends is one."""
        for _ in range(2):
            self.asked.clear()
            assert self.asked.wait(timeout=60)


@pytest.mark.parametrize("changes", [20, pytest.param(200, marks=pytest.mark.sanitizer)], ids=["few", "many"])
def test_readers_see_whole_changes_only(changes: int) -> None:
    mesh = fm.Mesh("shop")
    east, west = mesh.join("east", cluster_id=1), mesh.join("west", cluster_id=2)
    for member in (east, west):
        member.apply(SERVICE)
    west.apply(endpoints(ADDRESSES))
    readers = [Reader(mesh) for _ in range(2)]
    for reader in readers:
        reader.start()
    for number in range(changes):
        west.apply(endpoints(ADDRESSES if number % 2 else ()))
        if number < 4:
            for reader in readers:
                reader.wait()
    for reader in readers:
        reader.done.set()
        reader.join()

    for reader in readers:
        assert reader.seen == {0, len(ADDRESSES)}


CANDIDATES = tuple(fm.maglev.Candidate(number, address, 80) for number, address in enumerate(ADDRESSES, 1))
PACKETS = 400


@pytest.mark.parametrize("changes", [20, pytest.param(200, marks=pytest.mark.sanitizer)], ids=["few", "many"])
def test_tables_and_data_paths_go_on_beside_a_writer(changes: int) -> None:
    mesh = fm.Mesh("shop")
    east, west = mesh.join("east", cluster_id=1), mesh.join("west", cluster_id=2)
    for member in (east, west):
        member.apply(SERVICE)
    west.apply(endpoints(ADDRESSES))
    done = threading.Event()
    looks: list[int] = []
    faults: list[str] = []

    def look(shards: int) -> None:
        path = mesh.datapath("east", shards=shards)
        ports = np.arange(PACKETS, dtype=np.uint16)
        ends = (np.full(PACKETS, 0x0A010009, np.uint32), np.full(PACKETS, 0x0A640001, np.uint32))
        packets = fm.datapath.Packets.v4(*ends, ports, 80, 6, 16)
        count = 0
        while not done.is_set() or not count:
            count += 1
            size = fm.maglev.lookup_table(CANDIDATES, size=251).size
            served = len(mesh.service("shop", "echo").backends(seen_from="east"))
            verdicts = path.process(packets).verdict
            if size != 251 or served not in {0, 3} or len(path.counters) > 2:
                faults.append(f"{size}, {served}, {path.counters}")
            if not (verdicts == verdicts[0]).all():
                faults.append("one call saw two generations")
        looks.append(count)

    readers = [threading.Thread(target=look, args=(shards,)) for shards in (1, 2)]
    for reader in readers:
        reader.start()
    for number in range(changes):
        west.apply(endpoints(ADDRESSES if number % 2 else ()))
    done.set()
    for reader in readers:
        reader.join()

    assert not faults
    assert len(looks) == len(readers)


def everything(mesh: fm.Mesh) -> dict[str, Any]:
    """Every question to a mesh and its members."""
    west = mesh.members["west"]
    service = mesh.service("shop", "echo")
    return {
        "generation": mesh.generation,
        "members": list(mesh.members),
        "allocations": mesh.allocations,
        "findings": mesh.findings,
        "services": mesh.services("west"),
        "answer": mesh.resolve("echo.shop.svc.cluster.local", seen_from="west"),
        "backends": [service.backends(name) for name in ("east", "west")],
        "explanation": service.explain("east"),
        "proposed": service.unshare(),
        "records": west.records(),
        "pods": west.pods,
        "resources": list(west.resources.items()),
        "told": west.findings,
        "state": (west.drained, west.failed, west.ranges),
        "differs": len(mesh.compare(mesh)),
    }


def deploy(mesh: fm.Mesh) -> None:
    mesh.members["west"].apply(WORKLOAD + "---" + HEADLESS + "---" + NODE)


def cut_off(mesh: fm.Mesh) -> None:
    mesh.members["west"].fail()


def let_in(mesh: fm.Mesh) -> None:
    # Its range is west's default, which gives way.
    mesh.join("north", cluster_id=3, pod_cidrs=[mesh.members["west"].ranges.pod_cidrs[0]])


def let_go(mesh: fm.Mesh) -> None:
    mesh.leave("east")


@pytest.mark.parametrize("act", [deploy, cut_off, let_in, let_go])
def test_nobody_waits_for_a_change_under_way_or_sees_a_part_of_it(
    act: Callable[[fm.Mesh], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    mesh = fm.Mesh("shop")
    for number, name in enumerate(("east", "west"), 1):
        mesh.join(name, cluster_id=number).apply(SERVICE)
    mesh.members["west"].apply(WORKLOAD)
    before = everything(mesh)
    reached, go_on = threading.Event(), threading.Event()
    carry_out = Imports.run

    def pause(imports: Imports, **more: Any) -> None:
        carry_out(imports, **more)
        reached.set()
        assert go_on.wait(timeout=60)

    monkeypatch.setattr("fleetmesh.mesh.change.Imports.run", pause)
    writer = threading.Thread(target=act, args=(mesh,))
    writer.start()
    assert reached.wait(timeout=60)
    answers: list[dict[str, Any]] = []
    reader = threading.Thread(target=lambda: answers.append(everything(mesh)))
    reader.start()
    reader.join(timeout=60)
    waited = reader.is_alive()
    go_on.set()
    writer.join()
    reader.join()

    assert not waited
    assert answers == [before]
    assert mesh.generation == before["generation"] + 1


def test_a_state_that_is_looked_at_does_not_change() -> None:
    mesh = fm.Mesh("shop")
    west = mesh.join("west", cluster_id=1)
    west.apply(SERVICE)
    resources, fork = west.resources, mesh.fork()

    west.apply(WORKLOAD)
    fork.members["west"].delete(SERVICE)

    assert [kind for kind, _, _ in resources] == ["Service"]
    assert [kind for kind, _, _ in west.resources] == ["Service", "Deployment"]
    assert list(fork.members["west"].resources) == []
