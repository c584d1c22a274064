"""
What befalls the way to etcd while several processes run one mesh on it; see `test_faults`.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from functools import partial
from pathlib import Path
from random import Random

import pytest

from doubles.clock import ManualClock
from doubles.running_fleet import IDS, running, until, whole_fleet
from doubles.tcp_proxy import TcpProxy
from doubles.wire import write_cluster
from fleetmesh.mesh import Mesh
from fleetmesh.records import IpRecord
from fleetmesh.state.codecs import encode
from fleetmesh.state.etcd import EtcdStore
from fleetmesh.state.keys import key_of
from fleetmesh.state.store import Delete, Listing, Operation, Put, Store
from real.fleet_faults import change, open_store, started, stores_of, urls_of

pytestmark = [pytest.mark.real("etcd", "etcdctl"), pytest.mark.asyncio]


class Counting(EtcdStore):
    """
    Attributes:
        lists: How often something was listed.
    """

    lists = 0

    def pages(self, prefix: str, *, exact: bool = False) -> AsyncIterator[Listing]:
        self.lists += 1
        return super().pages(prefix, exact=exact)


@pytest.mark.parametrize("forgotten", [False, True], ids=["history is kept", "history is compacted"])
async def test_ten_thousand_changes_while_it_hears_nothing(tmp_path: Path, forgotten: bool) -> None:
    """Two clusters are written by somebody else; one process hears both, and misses all of it at first."""
    whole, others = whole_fleet(), ("west", "north")
    with started(tmp_path) as etcds:
        direct = open_store(etcds[""].url)
        for name in others:
            await write_cluster(direct, name, IDS[name], whole.members[name].records(), cached=True)
        async with TcpProxy(etcds[""].port) as proxy:
            store = Counting([proxy.url], timeout=1.0)
            async with running(whole, lambda *_: store, names=["east"]) as fleet:
                east = fleet["east"]
                proxy.refuse()
                await fleet.until("east", {"remote-stale"})
                lists = store.lists
                there = await ten_thousand_changes(direct)
                if forgotten:
                    await direct.compact((await direct.status()).revision)
                proxy.heal()

                for name in others:
                    wanted = {address for cluster, address in there if cluster == name}
                    wanted |= {pod.addresses[0] for pod in whole.members[name].pods}
                    await until(partial(knows, east.mesh, name, wanted))
                await fleet.has_nothing_to_tell()
                await fleet.equals_rebuilt(direct)
                fleet.nothing_was_emptied()
                assert (store.lists > lists) == forgotten
        await direct.aclose()


def knows(mesh: Mesh, name: str, addresses: set[str]) -> bool:
    return set(mesh.members[name].heard_names("ip")) == addresses


async def ten_thousand_changes(store: Store) -> set[tuple[str, str]]:
    """Pods of two clusters come, change and go; those that are left, as cluster and address."""
    drawn = Random(7)
    there: set[tuple[str, str]] = set()
    for _ in range(100):
        operations: dict[str, Operation] = {}
        while len(operations) < 100:
            name = drawn.choice(("west", "north"))
            record = of_pod(drawn.randrange(3_000), name, drawn.randrange(300, 400))
            key = key_of(record, cached=True)
            if drawn.random() < 0.3:
                there.discard((name, record.address))
                operations[key] = Delete(key)
            else:
                there.add((name, record.address))
                operations[key] = Put(key, encode(record))
        await store.commit(list(operations.values()))
    return there


def of_pod(number: int, cluster: str, identity: int) -> IpRecord:
    """In a part of the range where no other pods are."""
    return IpRecord(
        cluster=cluster,
        cluster_id=IDS[cluster],
        address=f"10.{IDS[cluster]}.{100 + number // 250}.{number % 250}",
        host="",
        identity=IDS[cluster] << 16 | identity,
        namespace="shop",
        pod=f"p-{number}",
    )


@pytest.mark.parametrize("way", ["stalled", "refused", "reset"])
@pytest.mark.parametrize("shared", [True, False], ids=["one etcd", "an etcd each"])
async def test_a_process_is_cut_off_and_both_sides_change(tmp_path: Path, way: str, shared: bool) -> None:
    names = ("east", "west", "north") if shared else ("east", "west")
    async with AsyncExitStack() as stack:
        etcds = stack.enter_context(started(tmp_path, names=("",) if shared else names))
        proxies = {name: await stack.enter_async_context(TcpProxy(each.port)) for name, each in etcds.items()}

        def stores(process: str, clock: ManualClock) -> Store | dict[str, Store]:
            cut_off = {name: each.url for name, each in proxies.items()}
            return stores_of(cut_off if process == "east" else urls_of(etcds), clock)

        async with running(whole_fleet(*names), stores) as fleet:
            for proxy in proxies.values():
                {"stalled": proxy.stall, "refused": proxy.refuse, "reset": proxy.reset}[way]()
            change(fleet, 0)
            if way != "reset":
                await fleet.until("east", {"remote-stale", "store-unavailable"})
            change(fleet, 1)
            if shared:
                # The others go on among themselves.
                await until(lambda: "10.3.0.12" in fleet["west"].mesh.members["north"].heard_names("ip"))
                assert (
                    "10.1.0.12" not in fleet["west"].mesh.members["east"].heard_names("ip") or way == "reset"
                )
            assert fleet["west"].codes() == set()
            for proxy in proxies.values():
                proxy.heal()

            await fleet.agrees()

            await fleet.equals_rebuilt()
            fleet.nothing_was_emptied()
            await fleet.has_nothing_to_tell()


async def test_a_slow_way_is_no_fault(tmp_path: Path) -> None:
    async with AsyncExitStack() as stack:
        etcds = stack.enter_context(started(tmp_path))
        proxy = await stack.enter_async_context(TcpProxy(etcds[""].port))
        async with running(
            whole_fleet("east", "west"), lambda _, clock: EtcdStore([proxy.url], clock=clock)
        ) as fleet:
            proxy.delay = 0.15
            for number in range(3):
                change(fleet, number)
                await fleet.agrees()
            assert not any(process.codes() for process in fleet.processes.values())
            assert not any(
                each.failures
                for process in fleet.processes.values()
                for each in process.live.remotes.values()
            )
            await fleet.equals_rebuilt()
            fleet.nothing_was_emptied()
