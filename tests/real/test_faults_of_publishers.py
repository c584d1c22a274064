"""
What befalls those who publish into etcd: their leases, the time, and each other; see `test_faults`.
"""

from __future__ import annotations

import asyncio
from functools import partial
from pathlib import Path

import pytest

import fleetmesh as fm
from doubles.clock import ManualClock
from doubles.records import content
from doubles.running_fleet import CART, pod, running, until, whole_fleet
from doubles.split_mesh import only
from doubles.tcp_proxy import TcpProxy
from fleetmesh.state import live
from fleetmesh.state.codecs import decode_time
from fleetmesh.state.keys import HEARTBEAT
from fleetmesh.state.leases import LeasePool
from fleetmesh.state.live import run
from fleetmesh.state.store import Entry, Store
from real.fleet_faults import QUICK_ELECTIONS, change, open_store, started

pytestmark = [pytest.mark.real("etcd"), pytest.mark.asyncio]

YEAR = 365 * 24 * 3600.0


@pytest.mark.parametrize("in_time", [True, False], ids=["back in time", "back too late"])
async def test_a_lease_runs_out_only_when_its_holder_is_away_for_longer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, in_time: bool
) -> None:
    """
    The keys of a lease are deleted in one revision, and whoever hears them forgets them in one transaction,
    as agents of Cilium do: the lease is the word of the publisher that it lives. What comes back is heard as
    it is written.
    """
    monkeypatch.setattr(live, "LeasePool", partial(LeasePool, ttl=15 if in_time else 1))
    with started(tmp_path, *QUICK_ELECTIONS) as etcds:
        direct = open_store(etcds[""].url)
        async with TcpProxy(etcds[""].port) as proxy:

            def stores(name: str, _: object) -> Store:
                return open_store(proxy.url if name == "west" else etcds[""].url)

            async with running(whole_fleet("east", "west"), stores) as fleet:
                east, west = fleet["east"], fleet["west"]
                proxy.stall()
                change(fleet, 0)
                await fleet.until("west", {"remote-stale", "store-unavailable"})
                if not in_time:
                    await until(lambda: not east.mesh.members["west"].heard_names("ip"))
                    assert not [key for key in await content(direct) if "/west" in key]
                    assert east.mesh.service(*CART).clusters == ("east",)
                    assert all(each.ready for each in east.live.remotes.values())
                proxy.heal()

                await fleet.agrees()

                await fleet.equals_rebuilt(direct)
                if in_time:
                    fleet.nothing_was_emptied()
                    await fleet.has_nothing_to_tell()
                else:
                    assert {name for _, name in east.witness.emptied} == {"west"}
                    assert west.witness.emptied == [], "who was away keeps what was there last"
                    await fleet.until("west", {"lease-lost"})
        await direct.aclose()


async def test_the_time_of_day_jumps_by_a_year_and_nothing_is_older_for_it(tmp_path: Path) -> None:
    with started(tmp_path) as etcds:
        direct = open_store(etcds[""].url)
        async with running(
            whole_fleet(), lambda _, clock: open_store(etcds[""].url, clock=clock), speed=20
        ) as fleet:
            leases = {entry.lease for entry in (await direct.list("cilium/")).entries}
            for number, jump in enumerate((YEAR, -2 * YEAR, YEAR)):
                fleet.clock.jump(jump)
                before = await direct.get(HEARTBEAT)
                change(fleet, number)
                await fleet.agrees()
                # What was under way is of the old time; then signs of life are of the new one.
                await next_one_of_now(direct, before, fleet.clock)
                for process in fleet.processes.values():
                    assert process.codes() == set()
                    for each in process.live.remotes.values():
                        assert each.stale_for == 0
                        assert each.failures == 0
            await fleet.equals_rebuilt()
            fleet.nothing_was_emptied()
            assert {entry.lease for entry in (await direct.list("cilium/")).entries} == leases
        await direct.aclose()


async def next_one_of_now(store: Store, before: Entry | None, clock: ManualClock) -> None:
    async with asyncio.timeout(40):
        async for events in store.watch(HEARTBEAT, 0 if before is None else before.revision, exact=True):
            for entry in events.changes:
                if isinstance(entry, Entry) and abs(decode_time(entry.value) - clock.time()) < 600:
                    return
    raise AssertionError("the store was closed")


async def test_of_two_publishers_of_one_member_the_newest_writes_and_the_other_comes_back_after_it(
    tmp_path: Path,
) -> None:
    with started(tmp_path) as etcds:
        direct = open_store(etcds[""].url)
        async with running(
            whole_fleet(), lambda _, clock: open_store(etcds[""].url, clock=clock), speed=20
        ) as fleet:
            west, heard = fleet["west"], fleet["east"].mesh.members["west"]
            twin = only(fleet.whole, "west")
            twin.members["west"].apply(fm.load_manifests(pod("west", 50)))
            store = open_store(etcds[""].url, clock=fleet.clock)
            async with run(twin, store=store, clock=fleet.clock):
                await fleet.until("west", {"two-publishers"})
                assert west.live.publications["west"].phase == "replaced"
                await until(lambda: "10.2.0.51" in heard.heard_names("ip"))
                # What the other one wants is not written, and so nothing goes to and fro.
                fleet.apply("west", pod("west", 60))
                change(fleet, 0)
                await until(lambda: "10.1.0.11" in twin.members["east"].heard_names("ip"))
                await until(lambda: "10.1.0.11" in west.mesh.members["east"].heard_names("ip"))
                written = await content(direct, "cilium/cache/ip/v1/west/")
                assert not [key for key in written if key.endswith(("/10.2.0.61", "/10.2.0.11"))]
            await store.aclose()

            # Three minutes after the other's last sign of life.
            await fleet.agrees()

            await fleet.equals_rebuilt()
            fleet.nothing_was_emptied()
            await fleet.has_nothing_to_tell()
        await direct.aclose()
