"""
Members that come, go and come back while a mesh runs on stores, and what ends with it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import aclosing

import pytest

import fleetmesh as fm
from doubles.clock import ManualClock
from doubles.flaky_store import FlakyStore
from doubles.wire import write_cluster, write_records
from fleetmesh.errors import StoreUnavailableError
from fleetmesh.records import IpRecord, Record
from fleetmesh.state.clock import SystemClock
from fleetmesh.state.codecs import Exporter, decode, decode_config
from fleetmesh.state.keys import config_key
from fleetmesh.state.live import Live, run
from fleetmesh.state.memory import MemoryStore
from fleetmesh.state.store import Delete, Entry

pytestmark = pytest.mark.asyncio


POD = """
apiVersion: v1
kind: Pod
metadata: {name: p, namespace: shop, labels: {app: cart}}
spec: {containers: [{name: c, image: i}]}
status: {podIP: 10.1.0.9, podIPs: [{ip: 10.1.0.9}]}
"""


class QuickClock(SystemClock):
    """Pauses are a hundredth of what they are."""

    async def sleep(self, seconds: float) -> None:
        await super().sleep(seconds / 100)


def pods(count: int, *, cluster: str = "west", number: int = 2) -> list[Record]:
    return [
        IpRecord(
            cluster=cluster,
            cluster_id=number,
            address=f"10.{number}.0.{pod}",
            host="",
            identity=number << 16 | 300,
            namespace="shop",
            pod=f"p-{pod}",
        )
        for pod in range(1, count + 1)
    ]


async def until(true: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not true():  # noqa: ASYNC110  # many things at once make it true
            await asyncio.sleep(0.005)


def heard(mesh: fm.Mesh, name: str = "west") -> int:
    return len(mesh.members[name].heard_names("ip")) if name in mesh.members else 0


@pytest.mark.parametrize("shared", [True, False], ids=["one store", "a store each"])
@pytest.mark.parametrize("same", [True, False], ids=["the same member", "a new one of its name"])
@pytest.mark.parametrize("at_once", [True, False], ids=["at once", "later"])
async def test_a_member_that_leaves_and_joins_again_is_heard_again(
    shared: bool, same: bool, at_once: bool
) -> None:
    store = MemoryStore()
    await write_cluster(store, "west", 2, pods(3), cached=shared)
    mesh = fm.Mesh("m")
    mesh.join("west", cluster_id=2, outside=True)
    async with run(mesh, store=store if shared else {"west": store}, clock=QuickClock()) as live:
        await until(lambda: heard(mesh) == 3)
        left = mesh.leave("west")
        if not at_once:
            await until(lambda: "west" not in live.remotes)
            await write_records(store, pods(4), cached=shared)
        if same:
            mesh.join(left)
        else:
            mesh.join("west", cluster_id=2, outside=True)
        await write_records(store, pods(5), cached=shared)
        await until(lambda: heard(mesh) == 5)
        await until(lambda: live.remotes["west"].ready)


async def test_a_member_that_left_is_not_heard_and_does_not_come_back_by_itself() -> None:
    store = MemoryStore()
    await write_cluster(store, "west", 2, pods(3))
    mesh = fm.Mesh("m")
    async with run(mesh, store={"west": store}, clock=QuickClock()) as live:
        await until(lambda: heard(mesh) == 3)
        mesh.leave("west")
        await until(lambda: "west" not in live.remotes)
        await write_records(store, pods(4))
        await write_cluster(store, "west", 3, pods(4, number=3))
        for _ in range(50):
            await asyncio.sleep(0)
        assert "west" not in mesh.members


async def test_a_disconnected_cluster_is_forgotten_and_can_be_connected_again() -> None:
    store, one = MemoryStore(), FlakyStore(MemoryStore())
    await write_cluster(store, "west", 2, pods(3))
    await write_cluster(one, "north", 3, pods(1, cluster="north", number=3))
    mesh = fm.Mesh("m")
    async with run(mesh, store={"west": store, "north": one}, clock=QuickClock()) as live:
        await until(lambda: heard(mesh) == 3 and heard(mesh, "north") == 1)
        one.fail(StoreUnavailableError("gone"))
        await live.disconnect("north")
        await live.disconnect("west")
        assert list(mesh.members) == []
        assert list(live.remotes) == []
        live.connect("west", store)
        await until(lambda: heard(mesh) == 3)


async def test_a_member_that_joins_again_with_another_id_is_published_with_it() -> None:
    store = MemoryStore()
    mesh = fm.Mesh("m")
    mesh.join("east", cluster_id=1, pod_cidrs=["10.1.0.0/16"]).apply(fm.load_manifests(POD))
    async with run(mesh, store={"east": store}, clock=QuickClock()) as live:
        await live.synced()
        mesh.join(mesh.leave("east"), cluster_id=7)
        await live.synced()
        config, pod = (
            await store.get(config_key("east")),
            await store.get("cilium/state/ip/v1/default/10.1.0.9"),
        )
        assert config is not None
        assert decode_config(config.value).cluster_id == 7
        assert pod is not None
        assert decode("ip", "10.1.0.9", pod.value, Exporter("east", 7)).cluster == "east"


async def test_what_was_applied_a_moment_ago_is_waited_for() -> None:
    store = MemoryStore()
    mesh = fm.Mesh("m")
    east = mesh.join("east", cluster_id=1, pod_cidrs=["10.1.0.0/16"])
    async with run(mesh, store={"east": store}, clock=QuickClock()) as live:
        await live.synced()
        east.apply(fm.load_manifests(POD))
        await live.synced()
        assert await store.get("cilium/state/ip/v1/default/10.1.0.9") is not None


@pytest.mark.parametrize("what", ["joins", "leaves"])
async def test_what_changes_just_before_the_end_does_not_hold_it_up(what: str) -> None:
    store = FlakyStore(MemoryStore())
    mesh = fm.Mesh("m")
    mesh.join("east", cluster_id=1)
    async with asyncio.timeout(20):
        async with run(mesh, store=store) as live:
            await live.synced()
            store.fail(StoreUnavailableError("gone"))
            if what == "joins":
                mesh.join("late", cluster_id=9)
            else:
                mesh.leave("east")
    assert len(asyncio.all_tasks()) == 1


@pytest.mark.parametrize("turns", range(12))
async def test_it_is_listed_anew_at_the_moment_when_services_are_withdrawn_for_silence(turns: int) -> None:
    store = MemoryStore()
    await write_cluster(store, "west", 2, pods(3))
    mesh = fm.Mesh("m")
    async with run(mesh, store={"west": store}, clock=QuickClock()) as live:
        await until(lambda: "west" in live.remotes and live.remotes["west"].ready)
        remote, _ = live._remotes["west"]
        assert remote._config is not None
        beginning = asyncio.create_task(remote._begin(remote._config))
        for _ in range(turns):
            await asyncio.sleep(0)
        remote._revoke()
        await beginning
        await until(lambda: live.remotes["west"].ready and heard(mesh) == 3)
    assert len(asyncio.all_tasks()) == 1


async def test_an_error_of_whoever_runs_a_mesh_is_told_as_it_is() -> None:
    mesh = fm.Mesh("m")
    mesh.join("east", cluster_id=1)

    async def fails() -> None:
        async with run(mesh, store=MemoryStore()) as live:
            await live.synced()
            raise LookupError("mine")

    with pytest.raises(LookupError, match="mine"):
        await fails()
    assert len(asyncio.all_tasks()) == 1


@pytest.mark.parametrize("part", ["intake", "publisher"])
async def test_a_defect_of_its_own_ends_it_with_the_error(part: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        raise ZeroDivisionError

    name = {"intake": "intake.decode_all", "publisher": "publication.encode_time"}[part]
    monkeypatch.setattr(f"fleetmesh.state.{name}", broken)
    store = MemoryStore()
    await write_cluster(store, "west", 2, pods(3))
    mesh = fm.Mesh("m")
    mesh.join("east", cluster_id=1)

    async def waits() -> None:
        async with run(mesh, store={"west": store, "east": MemoryStore()}, clock=QuickClock()):
            await asyncio.Event().wait()

    with pytest.raises(ExceptionGroup) as caught:
        await waits()
    assert caught.group_contains(ZeroDivisionError)
    assert len(asyncio.all_tasks()) == 1


@pytest.mark.parametrize("shared", [True, False], ids=["one store", "a store each"])
async def test_a_member_that_is_back_before_it_is_removed_loses_no_key(shared: bool) -> None:
    clock = ManualClock()
    store = FlakyStore(MemoryStore(clock=clock))
    mesh = fm.Mesh("m")
    mesh.join("east", cluster_id=1, pod_cidrs=["10.1.0.0/16"]).apply(fm.load_manifests(POD))

    async def written(live: Live) -> None:
        while live.phases != (("east", "written"),):
            await asyncio.to_thread(lambda: None)
            await clock.run(0.01)

    async with run(mesh, store=store if shared else {"east": store}, clock=clock) as live:
        await written(live)
        revision = (await store.inner.status()).revision
        store.fail(StoreUnavailableError("gone"))
        left = mesh.leave("east")
        await clock.run(0.1)
        assert live.phases == ()
        mesh.join(left)
        await clock.run(0.1)
        store.heal()
        await written(live)
        await clock.run(120.0)
        changes: list[Entry | Delete] = []
        async with aclosing(store.inner.watch("cilium/", revision)) as events:  # type: ignore[type-var]
            async for each in events:
                changes += each.changes
                if each.revision >= (await store.inner.status()).revision:
                    break

        assert [each for each in changes if isinstance(each, Delete)] == []
        assert (await store.inner.get(config_key("east"))) is not None
        assert live.findings == ()
        # Both publishers' keys hang on the same leases, which know of those that are there.
        leases = {each.lease for each in (await store.inner.list("cilium/")).entries}
        assert live.publications["east"].leases == len(leases) == 1
