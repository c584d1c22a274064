"""
What can be asked of a mesh that runs on stores.
"""

from __future__ import annotations

import asyncio

import pytest

import fleetmesh as fm
from doubles.clock import ManualClock
from doubles.flaky_store import FlakyStore
from doubles.wire import write_cluster
from fleetmesh.errors import StoreUnavailableError
from fleetmesh.resources import Node
from fleetmesh.state.changes import MOST_WAITING, Changes
from fleetmesh.state.live import run
from fleetmesh.state.memory import MemoryStore

pytestmark = pytest.mark.asyncio


async def test_phases_are_those_of_the_clusters_that_are_heard_and_published() -> None:
    mesh, west = fm.Mesh("m"), MemoryStore()
    mesh.join("east", cluster_id=1)
    mesh.join("west", cluster_id=2, outside=True)
    await write_cluster(west, "west", 2)
    async with run(mesh, store={"east": MemoryStore(), "west": west}) as live:
        begun = live.phases
        async with asyncio.timeout(20):
            await live.synced()

        assert begun == (("west", "connecting"), ("east", "waiting"))
        assert live.phases == (
            ("west", live.remotes["west"].phase),
            ("east", live.publications["east"].phase),
        )
        assert live.phases == (("west", "ready"), ("east", "written"))


async def test_a_member_of_another_process_that_has_no_store_is_told() -> None:
    mesh = fm.Mesh("m")
    async with run(mesh, store={"east": MemoryStore()}) as live:
        before = live.findings
        mesh.join("west", cluster_id=2, outside=True)
        (told,) = live.findings
        live.connect("west", MemoryStore())

        assert before == ()
        assert (told.code, told.severity, told.subject) == ("member-without-store", "error", "Cluster west")
        assert "member-without-store" not in [each.code for each in live.findings]


async def test_a_member_that_leaves_while_its_store_is_away_leaves_its_keys_behind_and_that_is_told() -> None:
    mesh, clock = fm.Mesh("m"), ManualClock()
    mesh.join("east", cluster_id=1)
    store = FlakyStore(MemoryStore())
    async with run(mesh, store={"east": store}, clock=clock) as live:
        while live.phases != (("east", "written"),):
            await asyncio.to_thread(lambda: None)
            await clock.run(0.01)
        store.fail(StoreUnavailableError("no server answers"))
        mesh.leave("east")
        while not live.findings:
            await clock.run(1)
        (told,) = live.findings
        store.heal()
        mesh.join("east", cluster_id=1)
        while live.phases != (("east", "written"),):
            await asyncio.to_thread(lambda: None)
            await clock.run(0.01)

        assert (told.code, told.subject) == ("withdrawal-failed", "Cluster east")
        assert "no server answers" in told.message
        assert live.findings == ()


async def test_every_transaction_since_it_was_asked_for_is_told_in_order() -> None:
    mesh = fm.Mesh("m")
    mesh.join("east", cluster_id=1)
    async with run(mesh, store=MemoryStore()) as live:
        changes = live.changes()
        for name in ("n1", "n2"):
            await asyncio.to_thread(mesh.members["east"].apply, Node(name=name))
        async with asyncio.timeout(20):
            told = [await anext(changes), await anext(changes)]
        await changes.aclose()
        await changes.aclose()
        mesh.members["east"].apply(Node(name="n3"))
        await asyncio.sleep(0)

        assert [each.new for each in told] == [mesh.generation - 2, mesh.generation - 1]
        assert [each async for each in changes] == []


async def test_who_reads_too_slowly_loses_the_oldest_and_sees_it() -> None:
    changes = Changes(lambda _: None)
    for generation in range(MOST_WAITING + 5):
        changes.tell(fm.Delta(generation, generation + 1))

    first = await anext(changes)

    assert (first.old, first.new) == (5, 6)


async def test_the_first_member_that_would_drop_what_is_lost_drops_it_for_all() -> None:
    mesh = fm.Mesh("m")
    mesh.join("east", cluster_id=1)
    mesh.join("west", cluster_id=2, outside=True)
    async with run(mesh, store=MemoryStore()) as live:
        before = live._remotes["west"][0].cache_ttl
        for number, ttl in ((3, 300), (4, 60)):
            mesh.join(f"south-{number}", cluster_id=number, settings=fm.ClusterSettings(cache_ttl=ttl))
        await asyncio.sleep(0.01)

        assert (before, live._remotes["west"][0].cache_ttl) == (0, 60)


async def test_nobody_waits_for_a_cluster_that_is_not_heard_any_more() -> None:
    mesh = fm.Mesh("m")
    async with run(mesh, store={"west": MemoryStore()}) as live, asyncio.timeout(20):
        waiting = asyncio.create_task(live.synced())
        await asyncio.sleep(0.01)
        await live.disconnect("west")
        await waiting
