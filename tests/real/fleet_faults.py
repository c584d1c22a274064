"""
What the tests of faults have in common: etcds that are quick to notice, a process's stores, and changes.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from doubles.clock import ManualClock
from doubles.running_fleet import Fleet, pod
from fleetmesh.state.etcd import EtcdStore
from fleetmesh.state.store import Store
from real import servers
from real.etcd_server import Etcd

# A server that is asked often whether it is there, and lets itself be.
PATIENT = ("--grpc-keepalive-min-time", "50ms")
# Leases may be as short as one second (server/etcdserver/server.go, `minTTL`).
QUICK_ELECTIONS = ("--heartbeat-interval", "30", "--election-timeout", "300")


def open_store(*urls: str, clock: ManualClock | None = None) -> EtcdStore:
    """A client that is quick to notice."""
    return EtcdStore(urls, timeout=1.0, keepalive=0.2, keepalive_timeout=0.3, clock=clock)


@contextmanager
def started(
    folder: Path, *arguments: str, version: str = "etcd", names: Iterable[str] = ("",)
) -> Iterator[dict[str, Etcd]]:
    """One that all share under the name "", or one a cluster."""
    program = servers.binary(version)
    found = {name: Etcd(program, folder / f"etcd{name}", *PATIENT, *arguments) for name in names}
    try:
        for each in found.values():
            each.launch()
        for each in found.values():
            each.wait()
        yield found
    finally:
        for each in found.values():
            each.stop()


async def start_again(etcds: Iterable[Etcd]) -> None:
    etcds = list(etcds)
    for each in etcds:
        each.launch()
    await asyncio.gather(*(asyncio.to_thread(each.wait) for each in etcds))


def stores_of(urls: Mapping[str, str], clock: ManualClock) -> Store | dict[str, Store]:
    """As a process has them: one, or one a cluster."""
    if "" in urls:
        return open_store(urls[""], clock=clock)
    return {name: open_store(url, clock=clock) for name, url in urls.items()}


def urls_of(etcds: Mapping[str, Etcd]) -> dict[str, str]:
    return {name: each.url for name, each in etcds.items()}


def change(fleet: Fleet, number: int) -> None:
    """Each cluster that is run changes: a pod comes, and the one of the change before goes."""
    for name in fleet.processes:
        fleet.apply(name, pod(name, 10 + number))
        fleet.delete(name, pod(name, 9 + number))
