"""
A mesh at the size of the issue: 255 clusters x 2,000 global services x 8 backends, loaded from columns.

    python benchmarks/scale.py [none|local] [--clusters N] [--services N] [--batches N]

Prints the seconds and megabytes of loading, of 255 viewers reading 1 % of the services each, and the
rate of single backends that come and go in batches of 1,000, deltas read. Then it rebuilds the mesh from
the final rows and compares a sample of the answers. CPU seconds stand beside wall-clock seconds.
"""

from __future__ import annotations

import argparse
import time
from typing import Any

import numpy as np
from measuring import timed
from numpy.typing import NDArray

import fleetmesh as fm
from fleetmesh.resources import Service, ServicePort

BACKENDS = 8
BATCH = 1000
PORT = 8080
FIRST = 0x0A000000  # the address of which all others count on
WARM_UP = 20  # batches, after which the classes of all services are known


def all_rows(clusters: int, services: int) -> dict[str, NDArray[Any]]:
    cluster = np.repeat(np.arange(1, clusters + 1, dtype=np.uint16), services * BACKENDS)
    service = np.tile(np.repeat(np.arange(services, dtype=np.uint32), BACKENDS), clusters)
    number = np.tile(np.arange(BACKENDS, dtype=np.uint32), clusters * services)
    return {"cluster": cluster, "service": service, "address": address(cluster, service, number, services)}


def address(
    cluster: NDArray[np.uint16], service: NDArray[np.uint32], number: NDArray[np.uint32], services: int
) -> NDArray[np.uint32]:
    place = (cluster.astype(np.uint32) * np.uint32(services) + service) * np.uint32(BACKENDS) + number
    return (np.uint32(FIRST) + place).astype(np.uint32)


def declared(services: int, affinity: str) -> list[Service]:
    marks = {"service.cilium.io/global": "true", "service.cilium.io/affinity": affinity}
    return [
        Service(
            namespace=f"team-{i % 20}",
            name=f"service-{i}",
            annotations=marks,
            cluster_ip=f"172.20.{i // 250}.{i % 250 + 1}",
            ports=(ServicePort(port=80),),
        )
        for i in range(services)
    ]


def joined(clusters: int) -> fm.Mesh:
    mesh = fm.Mesh("scale")
    for number in range(1, clusters + 1):
        mesh.join(f"c{number}", cluster_id=number)
    return mesh


def load(mesh: fm.Mesh, services: list[Service], rows: dict[str, NDArray[Any]]) -> None:
    mesh.load(services, port=np.full(len(rows["cluster"]), PORT, np.uint16), **rows)


def read(mesh: fm.Mesh, services: list[Service], clusters: int, random: np.random.Generator) -> int:
    found = 0
    for number in range(1, clusters + 1):
        for at in random.choice(len(services), max(1, len(services) // 100), replace=False):
            service = mesh.service(services[at].namespace, services[at].name)
            found += len(service.backends(seen_from=f"c{number}"))
    return found


def change(
    mesh: fm.Mesh,
    names: list[tuple[str, str]],
    clusters: int,
    random: np.random.Generator,
    present: NDArray[np.bool_],
) -> tuple[float, int]:
    """
    One batch: random backends go if they are there, and come if they are not.

    Returns the CPU seconds of the public method with its delta, and how many (service, class) pairs that has.
    """
    service = random.integers(0, len(names), BATCH, dtype=np.uint32)
    cluster = random.integers(1, clusters + 1, BATCH).astype(np.uint16)
    number = random.integers(0, BACKENDS, BATCH, dtype=np.uint32)
    places = address(cluster, service, number, len(names))
    at = places - np.uint32(FIRST)
    remove = present[at]
    port = np.full(BATCH, PORT, np.uint16)
    began = time.process_time()
    delta = mesh.load(names, service=service, cluster=cluster, address=places, port=port, remove=remove)
    concerned = len(delta.services)
    spent = time.process_time() - began
    present[at] = ~remove
    return spent, concerned


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("affinity", nargs="?", default="none", choices=("none", "local"))
    parser.add_argument("--clusters", type=int, default=255)
    parser.add_argument("--services", type=int, default=2000)
    parser.add_argument("--batches", type=int, default=100)
    options = parser.parse_args()
    random = np.random.default_rng(1)
    rows = all_rows(options.clusters, options.services)
    services = declared(options.services, options.affinity)
    print(f"affinity {options.affinity}, {len(rows['cluster']):,} backends")

    with timed("all of it"):
        with timed("join"):
            mesh = joined(options.clusters)
        with timed("load"):
            load(mesh, services, rows)
        with timed("read 1 % of the services from each cluster"):
            found = read(mesh, services, options.clusters, random)
    print(f"{found:,} backends read")
    with timed("fork"):
        fork = mesh.fork()

    names = [(each.namespace, each.name) for each in services]
    present = np.zeros(int(rows["address"].max()) - FIRST + 1, np.bool_)
    present[rows["address"] - np.uint32(FIRST)] = True
    for _ in range(WARM_UP):
        change(mesh, names, options.clusters, random, present)
    spent, concerned = 0.0, 0
    with timed(f"{options.batches} batches of {BATCH:,} changes"):
        for _ in range(options.batches):
            seconds, pairs = change(mesh, names, options.clusters, random, present)
            spent, concerned = spent + seconds, concerned + pairs
    print(f"{options.batches * BATCH / spent:,.0f} changes a CPU second, {concerned:,} pairs in their deltas")

    left = present[rows["address"] - np.uint32(FIRST)]
    rebuilt = joined(options.clusters)
    load(rebuilt, services, {name: column[left] for name, column in rows.items()})
    for at in random.choice(options.services, 20, replace=False):
        for number in random.integers(1, options.clusters + 1, 3):
            seen_from = f"c{number}"
            ours = mesh.service(*names[at]).backends(seen_from)
            assert ours == rebuilt.service(*names[at]).backends(seen_from), (names[at], seen_from)
    assert len(fork.service(*names[0]).backends("c1")) in (BACKENDS, BACKENDS * options.clusters)
    print("the changed mesh equals the rebuilt one")


if __name__ == "__main__":
    main()
