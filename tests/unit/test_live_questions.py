"""
What can be asked of a mesh that runs on stores.
"""

from __future__ import annotations

import asyncio

import pytest

import fleetmesh as fm
from doubles.clock import ManualClock
from doubles.faults import FaultyStore
from doubles.wire import write_cluster
from fleetmesh.errors import StoreUnavailableError
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
    store = FaultyStore(MemoryStore())
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
