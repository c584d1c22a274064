"""
Publishers and mirrors on real etcd: restarts, leases that end, servers that end, no space, values too large.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import attrs
import pytest

from doubles.loops import in_loop
from doubles.records import address, as_keys, content, identity, node, records_in, service
from fleetmesh.errors import NoSpaceError
from fleetmesh.records import Record
from fleetmesh.state.clock import SystemClock
from fleetmesh.state.codecs import ClusterConfig
from fleetmesh.state.etcd import EtcdStore
from fleetmesh.state.keys import KINDS, key_of, synced_key
from fleetmesh.state.leases import LeasePool
from fleetmesh.state.mirror import Mirror
from fleetmesh.state.mirrored_cluster import MirrorStatus
from fleetmesh.state.publisher import Publisher
from fleetmesh.state.store import Delete, Put
from real import servers
from real.etcd_server import Etcd

pytestmark = pytest.mark.real("etcd", "etcd-3.4", "etcdctl")

CONFIG = ClusterConfig(cluster_id=1, service_exports_enabled=True)
MANY: list[Record] = [node("n1"), service("cart"), *map(identity, range(300)), *map(address, range(1_500))]


class QuickClock(SystemClock):
    """Pauses between tries are a twentieth of what they are."""

    async def sleep(self, seconds: float) -> None:
        await super().sleep(seconds / 20)


@pytest.fixture(params=["etcd", "etcd-3.4"])
def etcd(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Etcd]:
    server = Etcd(servers.binary(request.param), tmp_path / "etcd")
    server.start()
    yield server
    server.stop()


@asynccontextmanager
async def opened(etcd: Etcd) -> AsyncIterator[EtcdStore]:
    store = EtcdStore([etcd.url], timeout=2.0, clock=QuickClock())
    try:
        yield store
    finally:
        await store.aclose()


@asynccontextmanager
async def publisher(etcd: Etcd, *, ttl: float = 900.0) -> AsyncIterator[Publisher]:
    """One process that publishes; its connection ends with it."""
    async with opened(etcd) as store:
        leases = LeasePool(store, ttl=ttl)
        async with Publisher(store, cluster="east", config=CONFIG, clock=QuickClock(), leases=leases) as made:
            yield made
        await leases.close()


async def fill(store: EtcdStore) -> None:
    """Write one key until there is no room."""
    for number in range(30):
        await store.commit([Put("filler", b"x" * 1_000_000 + str(number).encode())])


async def until(what: Callable[[], bool]) -> None:
    """Return when something is so."""
    while not what():  # noqa: ASYNC110  # a status can't be awaited
        await asyncio.sleep(0.01)


async def told(publisher: Publisher, code: str) -> str:
    """Wait for a finding."""
    await until(lambda: code in {each.code for each in publisher.findings})
    return next(each.message for each in publisher.findings if each.code == code)


@in_loop
async def test_a_restart_is_not_seen_by_readers_and_what_is_not_wanted_goes(etcd: Etcd) -> None:
    async with opened(etcd) as reader:
        async with publisher(etcd) as first:
            await first.publish(MANY)
            await first.flushed()
            assert first.status.leases == 2
        assert await records_in(reader) == as_keys(MANY)
        before = await reader.list("cilium/")
        wanted = [*MANY[:-10], node("n2")]
        async with publisher(etcd) as second:
            await second.publish(wanted)
            await second.flushed()
            after = await reader.list("cilium/")
            assert await records_in(reader) == as_keys(wanted)

        deleted: set[str] = set()
        async for events in reader.watch("cilium/", before.revision):
            deleted |= {each.key for each in events.changes if isinstance(each, Delete)}
            if events.revision >= after.revision:
                break

    assert deleted == as_keys(MANY[-10:]).keys()
    assert not {each.lease for each in before.entries} & {each.lease for each in after.entries}


@in_loop
async def test_a_lease_that_is_taken_away_costs_its_keys_for_a_moment(etcd: Etcd) -> None:
    async with opened(etcd) as reader, publisher(etcd, ttl=60.0) as made:
        await made.publish(MANY)
        await made.flushed()
        entry = await reader.get(key_of(MANY[-1], cached=False))
        assert entry is not None

        await asyncio.to_thread(etcd.ctl, "lease", "revoke", f"{entry.lease:x}")
        message = await told(made, "lease-lost")
        await made.flushed()

        assert message.startswith(("8", "10"))
        assert await records_in(reader) == as_keys(MANY)
        marks = {synced_key("east", kind, cached=False) for kind in KINDS}
        assert (await content(reader, "cilium/synced/east/")).keys() == marks


@in_loop
async def test_a_server_that_is_killed_gets_what_changed_meanwhile(etcd: Etcd) -> None:
    async with publisher(etcd) as made:
        await made.publish(MANY)
        await made.flushed()
        etcd.kill()
        for number in range(100):
            made.update(put=[address(0, identity=70_000 + number)])
        made.update(put=[address(9_000)], withdrawn=[("ip", "10.1.0.1")])
        await told(made, "store-unavailable")
        assert made.status.pending == 3

        await asyncio.to_thread(etcd.start)
        await made.flushed()

        assert made.findings == ()
        wanted = [record for record in MANY if record not in (address(0), address(1))]
        async with opened(etcd) as reader:
            assert await records_in(reader) == as_keys([*wanted, address(0, identity=70_099), address(9_000)])


@in_loop
async def test_of_two_publishers_one_gives_way(etcd: Etcd) -> None:
    async with opened(etcd) as reader, publisher(etcd) as old:
        await old.publish(MANY)
        await old.flushed()
        async with publisher(etcd) as new:
            await new.publish([node("n2")])
            await new.flushed()
            old.update(put=[address(9_000)])
            await told(old, "two-publishers")

            assert old.status.phase == "replaced"
            assert await records_in(reader) == as_keys([node("n2")])


@in_loop
async def test_a_value_that_is_too_large_for_etcd_holds_up_nothing_else(etcd: Etcd) -> None:
    large = attrs.evolve(identity(5_000), labels="x" * 2_000_000)
    async with opened(etcd) as reader, publisher(etcd) as made:
        await made.publish([large, *MANY])
        await made.flushed()

        assert key_of(large, cached=False) in await told(made, "record-not-published")
        assert await records_in(reader) == as_keys(MANY)


@in_loop
async def test_a_store_without_space_is_told_of_and_written_when_it_has_some(tmp_path: Path) -> None:
    quota = "--quota-backend-bytes", str(16 << 20)
    etcd = Etcd(servers.binary("etcd"), tmp_path / "etcd", *quota)
    etcd.start()
    try:
        async with opened(etcd) as reader, publisher(etcd) as made:
            await made.publish(MANY)
            await made.flushed()
            with pytest.raises(NoSpaceError):
                await fill(reader)
            assert (await reader.status()).alarms == ("NOSPACE",)

            made.update(put=[address(9_000)])
            await told(made, "store-no-space")
            assert await records_in(reader) == as_keys(MANY)

            found = json.loads(await asyncio.to_thread(etcd.ctl, "get", "filler", "-w", "json"))
            await asyncio.to_thread(etcd.ctl, "compact", str(found["header"]["revision"]))
            await asyncio.to_thread(etcd.ctl, "defrag")
            await asyncio.to_thread(etcd.ctl, "alarm", "disarm")
            await made.flushed()

            assert made.findings == ()
            assert await records_in(reader) == as_keys([*MANY, address(9_000)])
    finally:
        etcd.stop()


@in_loop
async def test_a_member_that_leaves_leaves_nothing_behind(etcd: Etcd) -> None:
    async with opened(etcd) as reader, publisher(etcd) as made:
        await made.publish(MANY)
        await made.flushed()
        await made.withdraw()

        assert await content(reader) == {}


@in_loop
async def test_a_cluster_is_mirrored_from_one_etcd_into_another(etcd: Etcd, tmp_path: Path) -> None:
    local = Etcd(servers.binary("etcd"), tmp_path / "local")
    local.start()
    try:
        async with publisher(etcd) as made, opened(local) as store, opened(local) as reader:
            await made.publish(MANY)
            await made.flushed()
            leases = LeasePool(store)
            async with Mirror(store, clock=QuickClock(), leases=leases) as mirror:

                def mirrored() -> MirrorStatus:
                    return mirror.status["east"]

                await mirror.add("east", EtcdStore([etcd.url], timeout=2.0, clock=QuickClock()))
                await until(lambda: mirrored().ready and mirrored().local.phase == "written")
                assert await records_in(reader, cached=True) == as_keys(MANY, cached=True)

                etcd.kill()
                await until(lambda: not mirrored().connected)
                assert await records_in(reader, cached=True) == as_keys(MANY, cached=True)

                await asyncio.to_thread(etcd.start)
                made.update(put=[node("n2")])
                await until(lambda: mirrored().entries["nodes"] == 2)
            await leases.close()
    finally:
        local.stop()
