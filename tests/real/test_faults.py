"""
What befalls etcd while several processes run one mesh on it.

After each fault the answers of all are those of one mesh that nothing befell, and of one that is made anew
from what the store has; nothing was lost, no table was emptied meanwhile, and a finding says what happened.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from pathlib import Path

import pytest

from doubles.running_fleet import IDS, running, until, whole_fleet
from doubles.wire import write_cluster
from fleetmesh.errors import NoSpaceError
from fleetmesh.state.store import Delete, Put, Store
from real import servers
from real.etcd_server import Etcd, three_nodes
from real.fleet_faults import (
    PATIENT,
    QUICK_ELECTIONS,
    change,
    open_store,
    start_again,
    started,
    stores_of,
    urls_of,
)

pytestmark = [pytest.mark.real("etcd", "etcd-3.4", "etcdctl"), pytest.mark.asyncio]


@pytest.mark.parametrize("version", ["etcd", "etcd-3.4"])
@pytest.mark.parametrize("shared", [True, False], ids=["one etcd", "an etcd each"])
async def test_etcd_is_killed_and_starts_again(tmp_path: Path, version: str, shared: bool) -> None:
    names = ("east", "west", "north") if shared else ("east", "west")
    with started(tmp_path, version=version, names=("",) if shared else names) as etcds:
        urls = urls_of(etcds)
        async with running(whole_fleet(*names), lambda _, clock: stores_of(urls, clock)) as fleet:
            for each in etcds.values():
                each.kill()
            change(fleet, 0)
            for name in names:
                await fleet.until(name, {"remote-stale", "store-unavailable"})
                assert all(each.stale_for > 0 for each in fleet[name].live.remotes.values())
            change(fleet, 1)
            await start_again(etcds.values())

            await fleet.agrees()

            await fleet.equals_rebuilt()
            fleet.nothing_was_emptied()
            await fleet.has_nothing_to_tell()


async def test_the_leader_goes_and_then_there_is_none(tmp_path: Path) -> None:
    nodes = three_nodes(servers.binary("etcd"), tmp_path, *PATIENT, *QUICK_ELECTIONS)
    urls = [node.url for node in nodes]
    try:
        whole = whole_fleet("east", "west")
        async with running(whole, lambda _, clock: open_store(*urls, clock=clock)) as fleet:
            first = await asyncio.to_thread(leader, nodes)
            first.kill()
            change(fleet, 0)
            await fleet.agrees()

            second = await asyncio.to_thread(leader, [node for node in nodes if node is not first])
            second.kill()
            for name in fleet.processes:
                await fleet.until(name, {"remote-stale"})
            change(fleet, 1)
            for name in fleet.processes:
                await fleet.until(name, {"store-unavailable"})
            await start_again([first, second])

            await fleet.agrees()

            await fleet.equals_rebuilt()
            fleet.nothing_was_emptied()
            await fleet.has_nothing_to_tell()
    finally:
        for node in nodes:
            node.stop()


def leader(nodes: Sequence[Etcd]) -> Etcd:
    """Once there is one."""
    while True:
        for node in nodes:
            (told,) = json.loads(node.ctl("endpoint", "status", "-w", "json"))
            if told["Status"]["header"]["member_id"] == told["Status"].get("leader"):
                return node


async def test_a_store_without_room_is_read_and_is_written_again_once_there_is_some(tmp_path: Path) -> None:
    """The north is written by somebody else."""
    gone = "cilium/cache/ip/v1/north/10.3.0.1"
    whole = whole_fleet()
    with started(tmp_path, "--quota-backend-bytes", str(8 << 20)) as etcds:
        etcd = etcds[""]
        direct = open_store(etcd.url)
        await write_cluster(direct, "north", IDS["north"], whole.members["north"].records(), cached=True)
        async with running(
            whole, lambda _, clock: open_store(etcd.url, clock=clock), names=["east", "west"]
        ) as fleet:
            await fill(direct)
            change(fleet, 0)
            for name in fleet.processes:
                await fleet.until(name, {"store-no-space"})
                assert fleet[name].live.publications[name].phase == "writing"
            # What only goes needs no room, and is heard.
            entry = await direct.get(gone)
            assert entry is not None
            await direct.commit([Delete(gone)])
            for process in fleet.processes.values():
                north = process.mesh.members["north"]
                await until(lambda north=north: "10.3.0.1" not in north.heard_names("ip"))  # type: ignore[misc]
                assert all(each.connected for each in process.live.remotes.values())

            for each in (await direct.list("filler/")).entries:
                await direct.commit([Delete(each.key)])
            await direct.compact((await direct.status()).revision)
            await asyncio.to_thread(etcd.ctl, "defrag")
            await asyncio.to_thread(etcd.ctl, "alarm", "disarm")
            await direct.commit([Put(gone, entry.value)])

            await fleet.agrees()

            await fleet.equals_rebuilt(direct)
            fleet.nothing_was_emptied()
            await fleet.has_nothing_to_tell()
        await direct.aclose()


async def fill(store: Store) -> None:
    for number in range(100):
        try:
            await store.commit([Put(f"filler/{number}", b"x" * 500_000)])
        except NoSpaceError:
            return
    raise AssertionError("there is room without end")
