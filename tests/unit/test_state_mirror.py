"""Remote clusters are copied into the local store as kvstoremesh copies them."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

import attrs
import pytest

from doubles.clock import ManualClock
from doubles.flaky_store import FlakyStore
from doubles.loops import in_loop
from doubles.recording_store import RecordingStore
from doubles.records import content
from fleetmesh.errors import StoreUnavailableError
from fleetmesh.state.codecs import ClusterConfig, decode_config, encode_config
from fleetmesh.state.keys import KINDS, config_key, synced_key
from fleetmesh.state.memory import MemoryStore
from fleetmesh.state.mirror import Mirror
from fleetmesh.state.mirrored_cluster import MirrorStatus
from fleetmesh.state.store import Delete, Put, Store

CONFIG = ClusterConfig(
    cluster_id=2,
    synced_canaries=True,
    max_connected_clusters=255,
    service_exports_enabled=True,
    endpoint_slices_export_mode="services-and-endpointslices",
)
STATE = {
    "cilium/state/nodes/v1/west/n1": b"node",
    "cilium/state/services/v1/west/shop/cart": b'{"unknown": "field"}',
    "cilium/state/endpointslices/v1/west/shop/cart-x": b"\xff\x00 no zstd",
    "cilium/state/serviceexports/v1/west/shop/cart": b"{}",
    "cilium/state/ip/v1/default/10.2.0.1": b"not even JSON",
    "cilium/state/identities/v1/id/131073": b"k8s:app=cart;",
}
COPY = {
    "cilium/cache/nodes/v1/west/n1": b"node",
    "cilium/cache/services/v1/west/shop/cart": b'{"unknown": "field"}',
    "cilium/cache/endpointslices/v1/west/shop/cart-x": b"\xff\x00 no zstd",
    "cilium/cache/serviceexports/v1/west/shop/cart": b"{}",
    "cilium/cache/ip/v1/west/10.2.0.1": b"not even JSON",
    "cilium/cache/identities/v1/west/id/131073": b"k8s:app=cart;",
}
NOT_COPIED = {
    "cilium/state/identities/v1/value/k8s:app=cart;/10.0.0.1": b"131073",
    "cilium/state/identities/v1/locks/x": b"",
    "cilium/state/nodes/v1/west2/n1": b"other",
    "cilium/state/nodes/v1/east/n1": b"other",
    "cilium/.heartbeat": b"2027-01-15T08:00:00Z",
    "cilium/cluster-config/west2": b"{}",
}
REMOTE_MARKS = {synced_key("west", kind, cached=False): b"then" for kind in KINDS}
MARKS = {synced_key("west", kind, cached=True) for kind in KINDS}
EXPIRING = {
    key for key in COPY if "/services/" in key or "/endpointslices/" in key or "/serviceexports/" in key
}


@attrs.define
class Place:
    """A remote store, the local one, and what copies from one to the other."""

    clock: ManualClock = attrs.field(factory=ManualClock)
    remote_data: MemoryStore = attrs.field(init=False)
    remote: FlakyStore = attrs.field(init=False)
    data: MemoryStore = attrs.field(init=False)
    local: RecordingStore = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self.remote_data = MemoryStore(clock=self.clock)
        self.remote = FlakyStore(self.remote_data.another())
        self.data = MemoryStore(clock=self.clock)
        self.local = RecordingStore(self.data)

    async def fill(self, *contents: Mapping[str, bytes], config: ClusterConfig | None = CONFIG) -> None:
        """Write into the remote store."""
        entries = {key: value for each in contents for key, value in each.items()}
        if config is not None:
            entries[config_key("west")] = encode_config(config)
        await self.remote_data.commit([Put(key, value) for key, value in entries.items()])

    def mirror(self, *, cache_ttl: float = 0.0, local: Store | None = None) -> Mirror:
        return Mirror(local or self.local, clock=self.clock, cache_ttl=cache_ttl)

    async def copy(self) -> dict[str, bytes]:
        """What the local store has of records."""
        return await content(self.data, "cilium/cache/")

    async def break_off(self) -> None:
        """Nobody answers any more; who looks on is told with the next change."""
        self.remote.fail(StoreUnavailableError("nobody answers"))
        await self.clock.settle()


def west(mirror: Mirror) -> MirrorStatus:
    return mirror.status["west"]


def codes(mirror: Mirror) -> list[str]:
    return [each.code for each in mirror.findings]


# What is copied


@in_loop
async def test_all_of_a_cluster_is_copied_byte_for_byte_into_the_cache_form() -> None:
    place = Place()
    await place.fill(STATE, NOT_COPIED, REMOTE_MARKS)
    async with place.mirror() as mirror:
        await mirror.add("west", place.remote)
        await place.clock.settle()
        found = await content(place.data)
        status = west(mirror)
        assert mirror.findings == ()

    assert await place.copy() == COPY
    assert found.keys() == COPY.keys() | MARKS | {config_key("west")}
    assert decode_config(found[config_key("west")]) == attrs.evolve(CONFIG, cached=True)
    assert all(entry.lease for entry in (await place.data.list("cilium/")).entries)
    assert (status.ready, status.connected, status.trouble) == (True, True, "")
    assert status.config == CONFIG
    assert status.entries == dict.fromkeys(KINDS, 1)
    assert status.synced == dict.fromkeys(KINDS, True)


@in_loop
async def test_a_copy_is_copied_too() -> None:
    place = Place()
    marks = dict.fromkeys(MARKS, b"then")
    await place.fill(COPY, marks, STATE, config=attrs.evolve(CONFIG, cached=True))
    other = {"cilium/cache/ip/v1/east/10.1.0.1": b"x", "cilium/cache/ip/v1/west/10.2.0.2": b"y"}
    await place.fill(other, config=None)
    async with place.mirror() as mirror:
        await mirror.add("west", place.remote)
        await place.clock.settle()
        assert west(mirror).ready

    assert await place.copy() == COPY | {"cilium/cache/ip/v1/west/10.2.0.2": b"y"}


@in_loop
async def test_what_changes_and_goes_there_changes_and_goes_here() -> None:
    place = Place()
    await place.fill(STATE, REMOTE_MARKS)
    async with place.mirror() as mirror:
        await mirror.add("west", place.remote)
        await place.clock.settle()
        place.local.commits.clear()
        node, service, *_ = STATE
        new = {"cilium/state/nodes/v1/west/n2": b"new"}
        await place.remote_data.commit([Put(node, b"other"), Delete(service), Put(*new.popitem())])
        await place.clock.settle()
        entries = west(mirror).entries

    expected = COPY | {"cilium/cache/nodes/v1/west/n1": b"other", "cilium/cache/nodes/v1/west/n2": b"new"}
    del expected["cilium/cache/services/v1/west/shop/cart"]
    assert await place.copy() == expected
    assert (entries["nodes"], entries["services"]) == (2, 0)
    assert sum(map(len, place.local.commits)) == 3


@in_loop
async def test_a_kind_is_followed_once_the_remote_cluster_has_marked_it() -> None:
    place = Place()
    await place.fill(STATE)
    async with place.mirror() as mirror:
        await mirror.add("west", place.remote)
        await place.clock.settle()
        assert await place.copy() == {}
        assert config_key("west") in await content(place.data)
        assert not west(mirror).ready

        mark = synced_key("west", "nodes", cached=False)
        await place.fill({mark: b"now"}, config=None)
        await place.clock.settle()
        found = await content(place.data)
        assert west(mirror).synced["nodes"]
        assert not west(mirror).ready

    assert await place.copy() == {"cilium/cache/nodes/v1/west/n1": b"node"}
    assert found.keys() & MARKS == {synced_key("west", "nodes", cached=True)}


@in_loop
async def test_a_cluster_that_writes_no_marks_is_followed_at_once_and_marked_here() -> None:
    place = Place()
    await place.fill(STATE, config=attrs.evolve(CONFIG, synced_canaries=False))
    async with place.mirror() as mirror:
        await mirror.add("west", place.remote)
        await place.clock.settle()
        assert west(mirror).ready

    assert await place.copy() == COPY
    assert (await content(place.data)).keys() >= MARKS
    assert decode_config((await content(place.data))[config_key("west")]).synced_canaries


@in_loop
async def test_each_mark_stands_behind_its_keys_and_the_configuration_before_all() -> None:
    place = Place()
    many = {f"cilium/state/ip/v1/default/10.2.{n // 200}.{n % 200}": b"x" for n in range(650)}
    for begin in range(0, 650, 90):
        await place.fill(dict(list(many.items())[begin : begin + 90]), config=None)
    await place.fill(STATE, REMOTE_MARKS)
    async with place.mirror() as mirror:
        await mirror.add("west", place.remote)
        await place.clock.settle()
    written = [each.key for commit in place.local.commits for each in commit]

    assert written[0] == config_key("west")
    for kind in KINDS:
        mark = written.index(synced_key("west", kind, cached=True))
        behind = [key for key in written[mark:] if key.startswith(f"cilium/cache/{kind}/")]
        assert behind == []
    assert len(await place.copy()) == 655


@pytest.mark.parametrize(
    ("change", "without"),
    [
        ({"endpoint_slices_export_mode": "endpointslices-only"}, "services"),
        ({"endpoint_slices_export_mode": ""}, "endpointslices"),
        ({"service_exports_enabled": None}, "serviceexports"),
    ],
)
@in_loop
async def test_a_kind_that_a_cluster_does_not_publish_is_marked_and_empty(
    change: dict[str, Any], without: str
) -> None:
    place = Place()
    await place.fill(STATE, REMOTE_MARKS)
    async with place.mirror() as mirror:
        await mirror.add("west", place.remote)
        await place.clock.settle()
        assert await place.copy() == COPY

        await place.fill(config=attrs.evolve(CONFIG, **change))
        await place.clock.settle()
        status = west(mirror)
        assert status.ready
        assert without not in status.synced

        assert await place.copy() == {key: value for key, value in COPY.items() if f"/{without}/" not in key}
        assert (await content(place.data)).keys() >= MARKS

        await place.fill()
        await place.clock.settle()
        assert await place.copy() == COPY


@in_loop
async def test_an_unknown_capability_is_not_claimed_of_the_copy() -> None:
    place = Place()
    await place.fill(STATE, REMOTE_MARKS, config=attrs.evolve(CONFIG, unknown={"warpDrive": True}))
    async with place.mirror() as mirror:
        await mirror.add("west", place.remote)
        await place.clock.settle()

    assert b"warpDrive" not in (await content(place.data))[config_key("west")]


@in_loop
async def test_a_configuration_that_can_not_be_read_leaves_what_was() -> None:
    place = Place()
    await place.fill(STATE, REMOTE_MARKS)
    async with place.mirror() as mirror:
        await mirror.add("west", place.remote)
        await place.clock.settle()
        await place.fill({config_key("west"): b"{"}, config=None)
        await place.clock.settle()

        assert codes(mirror) == ["remote-config-rejected"]
        assert await place.copy() == COPY
        assert west(mirror).config == CONFIG

        await place.fill()
        await place.clock.settle()
        assert mirror.findings == ()


@in_loop
async def test_the_configuration_is_enforced_within_minutes() -> None:
    place = Place()
    await place.fill(STATE, REMOTE_MARKS)
    async with place.mirror() as mirror:
        await mirror.add("west", place.remote)
        await place.clock.settle()
        there = (await content(place.data))[config_key("west")]
        await place.data.commit([Delete(config_key("west"))])
        await place.clock.run(300.0)

        assert (await content(place.data))[config_key("west")] == there
        assert west(mirror).local.phase == "written"


# A remote cluster that is silent


@in_loop
async def test_a_cluster_that_is_away_stays_in_the_copy_for_ever() -> None:
    place = Place()
    await place.fill(STATE, REMOTE_MARKS)
    async with place.mirror() as mirror:
        await mirror.add("west", place.remote)
        await place.clock.settle()
        await place.break_off()
        await place.clock.run(10 * 3600.0)
        status = west(mirror)

        assert (status.ready, status.connected) == (False, False)
        assert status.trouble == "nobody answers"
        assert (status.failures, status.last_failure) == (1, 1_800_000_000.0)
        assert codes(mirror) == ["remote-stale"]
        assert await place.copy() == COPY
        assert (await content(place.data)).keys() >= MARKS


@in_loop
async def test_what_happened_while_a_cluster_was_away_is_made_up_for() -> None:
    place = Place()
    await place.fill(STATE, REMOTE_MARKS)
    async with place.mirror() as mirror:
        await mirror.add("west", place.remote)
        await place.clock.settle()
        await place.break_off()
        node, service, *_ = STATE
        await place.remote_data.commit([Put(node, b"other"), Delete(service)])
        newest = (await place.remote_data.status()).revision
        await place.remote_data.compact(newest)
        place.remote.heal()
        await place.clock.run(31.0)

        assert west(mirror).ready
        assert mirror.findings == ()
        copy = COPY | {"cilium/cache/nodes/v1/west/n1": b"other"}
        del copy["cilium/cache/services/v1/west/shop/cart"]
        assert await place.copy() == copy


@in_loop
async def test_after_the_cache_ttl_services_go_and_all_else_stays() -> None:
    place = Place()
    await place.fill(STATE, REMOTE_MARKS)
    async with place.mirror(cache_ttl=600.0) as mirror:
        await mirror.add("west", place.remote)
        await place.clock.settle()
        await place.break_off()
        await place.clock.run(599.0)
        assert await place.copy() == COPY
        await place.clock.run(2.0)

        assert await place.copy() == {key: value for key, value in COPY.items() if key not in EXPIRING}
        assert (await content(place.data)).keys() >= MARKS
        assert codes(mirror) == ["remote-cache-expired"]

        place.remote.heal()
        await place.clock.run(31.0)
        assert await place.copy() == COPY
        assert west(mirror).ready
        assert mirror.findings == ()


@in_loop
async def test_the_cache_ttl_is_counted_from_the_last_time_that_the_cluster_was_heard() -> None:
    place = Place()
    await place.fill(STATE, REMOTE_MARKS)
    async with place.mirror(cache_ttl=600.0) as mirror:
        await mirror.add("west", place.remote)
        await place.clock.settle()
        for _ in range(3):
            await place.break_off()
            await place.clock.run(500.0)
            place.remote.heal()
            await place.clock.run(40.0)
            assert west(mirror).connected
        await place.clock.run(3600.0)

        assert await place.copy() == COPY
        assert west(mirror).failures == 3


@in_loop
async def test_a_cluster_that_was_never_heard_does_not_expire() -> None:
    place = Place()
    await place.fill(STATE, REMOTE_MARKS)
    async with place.mirror() as mirror:
        await mirror.add("west", place.remote)
        await place.clock.settle()

    away = FlakyStore(place.remote_data.another())
    away.fail(StoreUnavailableError("nobody answers"))
    async with place.mirror(cache_ttl=60.0, local=place.data.another()) as mirror:
        await mirror.add("west", away)
        await place.clock.run(2 * 3600.0)
        assert await place.copy() == COPY
        assert west(mirror).config is None
        assert not west(mirror).ready


# Restarts


@in_loop
async def test_after_a_restart_what_is_gone_goes_once_the_remote_list_is_complete() -> None:
    place = Place()
    await place.fill(STATE, REMOTE_MARKS)
    async with place.mirror() as mirror:
        await mirror.add("west", place.remote)
        await place.clock.settle()
    node, service, *_ = STATE
    await place.remote_data.commit([Delete(node), Delete(service), *(Delete(mark) for mark in REMOTE_MARKS)])

    async with place.mirror(local=place.data.another()) as mirror:
        await mirror.add("west", place.remote_data.another())
        await place.clock.run(60.0)
        assert await place.copy() == COPY
        await place.fill({synced_key("west", "services", cached=False): b"now"}, config=None)
        await place.clock.settle()

        without = dict(COPY)
        del without["cilium/cache/services/v1/west/shop/cart"]
        assert await place.copy() == without
        assert west(mirror).entries["services"] == 0


# Clusters that come and go


@in_loop
async def test_a_removed_cluster_loses_its_configuration_and_three_minutes_later_all_else() -> None:
    place = Place()
    await place.fill(STATE, REMOTE_MARKS)
    async with place.mirror() as mirror:
        await mirror.add("west", place.remote)
        await place.clock.settle()
        place.local.commits.clear()
        await mirror.remove("west")
        await place.clock.run(179.0)
        assert config_key("west") not in await content(place.data)
        assert await place.copy() == COPY
        assert mirror.status == {}
        assert mirror.leaving == {"west"}
        await place.clock.run(2.0)
        assert mirror.leaving == frozenset()

    assert await content(place.data) == {}
    removed = [each.key for commit in place.local.commits for each in commit]
    assert removed[0] == config_key("west")
    assert set(removed[1:7]) == MARKS


@in_loop
async def test_a_cluster_that_comes_back_while_it_is_removed_is_copied_after_that() -> None:
    place = Place()
    await place.fill(STATE, REMOTE_MARKS)
    async with place.mirror() as mirror:
        await mirror.add("west", place.remote)
        await place.clock.settle()
        await mirror.remove("west")
        await place.clock.run(10.0)
        await mirror.add("west", place.remote_data.another())
        await place.clock.run(160.0)
        assert mirror.status == {}
        await place.clock.run(20.0)

        assert west(mirror).ready
        assert await place.copy() == COPY


@in_loop
async def test_a_cluster_that_comes_back_and_goes_again_while_it_is_removed_stays_away() -> None:
    place = Place()
    await place.fill(STATE, REMOTE_MARKS)
    async with place.mirror() as mirror:
        await mirror.add("west", place.remote)
        await place.clock.settle()
        await mirror.remove("west")
        await mirror.add("west", place.remote_data.another())
        await mirror.remove("west")
        await place.clock.run(300.0)

        assert mirror.status == {}
        assert await content(place.data) == {}


@in_loop
async def test_a_copy_that_can_not_be_removed_is_told_of() -> None:
    place = Place()
    await place.fill(STATE, REMOTE_MARKS)
    async with place.mirror() as mirror:
        await mirror.add("west", place.remote)
        await place.clock.settle()
        place.local.fail(StoreUnavailableError("nobody answers"))
        await mirror.remove("west")
        await place.clock.run(70.0)

        assert codes(mirror) == ["withdrawal-failed"]
        assert mirror.leaving == frozenset()

        place.local.heal()
        await mirror.add("west", place.remote_data.another())
        await place.clock.settle()
        assert mirror.findings == ()


@in_loop
async def test_a_cluster_is_heard_in_another_store_without_losing_its_copy() -> None:
    place = Place()
    await place.fill(STATE, REMOTE_MARKS)
    elsewhere = MemoryStore(clock=place.clock)
    _, service, *rest = STATE
    entries = {key: STATE[key] for key in (service, *rest)} | REMOTE_MARKS
    entries[config_key("west")] = encode_config(CONFIG)
    await elsewhere.commit([Put(key, value) for key, value in entries.items()])
    async with place.mirror() as mirror:
        await mirror.add("west", place.remote)
        await place.clock.settle()
        place.local.commits.clear()
        await mirror.add("west", elsewhere)
        await place.clock.settle()

        assert await place.copy() == {key: value for key, value in COPY.items() if "/nodes/" not in key}
        assert west(mirror).ready
        written = [each for commit in place.local.commits for each in commit if "/cache/" in each.key]
        assert written == [Delete("cilium/cache/nodes/v1/west/n1")]


@in_loop
async def test_clusters_are_copied_beside_each_other() -> None:
    place = Place()
    await place.fill(STATE, REMOTE_MARKS)
    async with place.mirror() as mirror:
        await mirror.add("west", place.remote)
        silent = FlakyStore(MemoryStore(clock=place.clock))
        silent.fail(StoreUnavailableError("nobody answers"))
        await mirror.add("south", silent)
        await mirror.remove("north")
        await place.clock.run(5.0)

        assert list(mirror.status) == ["south", "west"]
        assert [each.ready for each in mirror.status.values()] == [False, True]
        assert mirror.status["south"].trouble == "nobody answers"
        assert await place.copy() == COPY


@in_loop
async def test_leaving_a_mirror_closes_the_remote_stores_and_keeps_the_copies() -> None:
    place = Place()
    await place.fill(STATE, REMOTE_MARKS)
    async with place.mirror() as mirror:
        await mirror.add("west", place.remote)
        await place.clock.settle()
        await mirror.remove("west")
        await mirror.add("west", back := place.remote_data.another())
        await place.clock.settle()

    assert (place.remote.inner._closed, back._closed) == (True, True)
    assert await place.copy() == COPY
    running = {task.get_coro().__qualname__.partition(".")[0] for task in asyncio.all_tasks()}  # type: ignore[union-attr]
    assert not running & {"LeasePool", "MirroredCluster", "Publication", "_Copied", "_Following"}
