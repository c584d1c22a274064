"""Records of a member come into a store, stay there, and leave it."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack

import attrs
import pytest

from doubles.clock import ManualClock
from doubles.loops import in_loop
from doubles.publishers import CONFIG, CONFIG_KEY, MARKS, SMALL, Place
from doubles.recording_store import RecordingStore
from doubles.records import address, as_keys, content, identity, node, records_in
from fleetmesh.errors import StoreUnavailableError
from fleetmesh.records import Record
from fleetmesh.state.codecs import decode_config, encode, encode_config
from fleetmesh.state.keys import HEARTBEAT, config_key, key_of
from fleetmesh.state.memory import MemoryStore
from fleetmesh.state.publisher import Publisher
from fleetmesh.state.store import Delete, Put

# What is written


@in_loop
async def test_records_become_the_keys_and_values_of_cilium() -> None:
    place = Place()
    async with place.published(*SMALL) as publisher:
        await publisher.flushed()
        found = await content(place.data)

    assert {key: value for key, value in found.items() if key.startswith("cilium/state/")} == as_keys(SMALL)
    assert found.keys() - as_keys(SMALL) == {CONFIG_KEY, HEARTBEAT, *MARKS.values()}
    config = decode_config(found[CONFIG_KEY])
    assert config == attrs.evolve(CONFIG, synced_canaries=True)
    assert found[HEARTBEAT] == found[MARKS["ip"]] == b"2027-01-15T08:00:00Z"


@in_loop
async def test_several_members_share_a_store_in_the_cache_form() -> None:
    clock = ManualClock()
    store = MemoryStore(clock=clock)
    west: list[Record] = [address(1, cluster="west", cluster_id=2), identity(1, cluster="west", cluster_id=2)]
    async with (
        Publisher(store, cluster="east", config=CONFIG, cached=True, clock=clock) as first,
        Publisher(
            store, cluster="west", config=attrs.evolve(CONFIG, cluster_id=2), cached=True, clock=clock
        ) as other,
    ):
        await first.publish(SMALL)
        await other.publish(west)
        await first.flushed()
        await other.flushed()

        assert await records_in(store, cached=True) == as_keys([*SMALL, *west], cached=True)
        assert decode_config((await content(store))[config_key("west")]).cached

        await first.withdraw()

    assert await records_in(store, cached=True) == as_keys(west, cached=True)
    assert config_key("west") in await content(store)


@in_loop
async def test_the_configuration_comes_first_and_each_mark_behind_its_keys() -> None:
    place = Place()
    many = [address(number) for number in range(250)]
    async with place.publisher() as publisher:
        await publisher.publish([*SMALL, *many])
        await publisher.flushed()
    written = [each.key for commit in place.store.commits for each in commit]

    assert written[0] == CONFIG_KEY
    for kind, mark in MARKS.items():
        begin = f"cilium/state/{kind}/"
        assert all(written.index(mark) > at for at, key in enumerate(written) if key.startswith(begin)), kind
        assert written.count(mark) == 1
    assert max(map(len, place.store.commits)) <= 100


@in_loop
async def test_transactions_are_kept_small_in_bytes_too() -> None:
    place = Place()
    labels = "x" * 200_000
    many = [attrs.evolve(identity(number), labels=labels) for number in range(7)]
    async with place.published(*many):
        pass

    assert await records_in(place.data) == as_keys(many)
    async with place.publisher() as again:
        await again.publish(many)
        await again.flushed()
    sizes = [
        sum(len(each.value) for each in commit if isinstance(each, Put)) for commit in place.store.commits
    ]
    assert max(sizes) <= 512 * 1024


@in_loop
async def test_only_what_changed_is_written() -> None:
    place = Place()
    async with place.published(*SMALL) as publisher:
        await publisher.publish(SMALL)
        await publisher.flushed()
        assert place.operations() == []

        changed = address(2, identity=70_001)
        await publisher.publish([*SMALL[:3], changed])
        await publisher.flushed()

    lease = (await place.leases())[key_of(changed, cached=False)]
    gone = key_of(SMALL[4], cached=False)
    assert place.operations() == [
        Put(key_of(changed, cached=False), encode(changed), lease),
        Delete(gone),
    ]


@in_loop
async def test_an_update_gives_differences_and_returns_at_once() -> None:
    place = Place()
    async with place.published(*SMALL) as publisher:
        publisher.update(put=[address(3)], withdrawn=[("ip", "10.1.0.1"), ("services", "shop/cart")])
        before = publisher.status
        await publisher.flushed()
        after = publisher.status

    assert (before.pending, before.phase) == (3, "writing")
    assert (after.pending, after.phase) == (0, "written")

    assert await records_in(place.data) == as_keys([*SMALL[:2], address(2), address(3)])


@in_loop
async def test_an_update_during_a_publish_is_newer() -> None:
    place = Place()
    many = [address(number) for number in range(1500)]
    async with place.publisher() as publisher:
        giving = asyncio.ensure_future(publisher.publish(many))
        await asyncio.sleep(0)
        assert not giving.done()
        publisher.update(put=[address(1400, identity=70_002), address(2000)], withdrawn=[("ip", "10.1.0.7")])
        await giving
        await publisher.flushed()

    newer = [address(1400, identity=70_002), address(2000)]
    assert await records_in(place.data) == as_keys([*many[:7], *many[8:], *newer])


@in_loop
async def test_a_record_of_another_cluster_is_refused_and_nothing_of_its_update_given() -> None:
    place = Place()
    async with place.published(*SMALL) as publisher:
        with pytest.raises(ValueError, match="a record of 'west'"):
            publisher.update(put=[address(9), address(1, cluster="west", cluster_id=2)])
        await place.clock.settle()

    assert place.operations() == []


@in_loop
async def test_another_configuration_is_written_at_once() -> None:
    place = Place()
    async with place.published(*SMALL) as publisher:
        publisher.configure(attrs.evolve(CONFIG, service_exports_enabled=True))
        await place.clock.settle()

    found = (await content(place.data))[CONFIG_KEY]
    assert found == encode_config(attrs.evolve(CONFIG, service_exports_enabled=True, synced_canaries=True))


@in_loop
async def test_a_record_that_can_not_be_encoded_is_told_of_and_stops_nothing() -> None:
    place = Place()
    broken = attrs.evolve(address(3), host="nowhere", address="10.1.0.3/99")
    async with place.published(broken, *SMALL) as publisher:
        await publisher.flushed()
        found = await content(place.data)
        (told,) = publisher.findings
        publisher.update(withdrawn=[("ip", "10.1.0.3/99")])
        await publisher.flushed()
        assert publisher.findings == ()

    assert MARKS["ip"] in found
    assert told.code == "record-not-published"
    assert "cilium/state/ip/v1/default/10.1.0.3/99" in told.message
    assert await records_in(place.data) == as_keys(SMALL)


@in_loop
async def test_keys_that_can_not_be_written_are_told_one_by_one_up_to_a_hundred() -> None:
    place = Place()
    broken = [attrs.evolve(address(1), host="nowhere", address=f"10.1.0.{n}/99") for n in range(150)]
    async with place.published(*broken) as publisher:
        await publisher.flushed()
        many = publisher.findings
        publisher.update(withdrawn=[("ip", each.address) for each in broken[:60]])
        await publisher.flushed()
        publisher.update(put=[broken[149]])
        await publisher.flushed()
        fewer = publisher.findings
        publisher.update(withdrawn=[("ip", each.address) for each in broken[60:]])
        await publisher.flushed()

        assert publisher.findings == ()
    assert len(many) == 101
    assert "50 more keys" in many[-1].message
    assert len(fewer) == 42
    assert "49 more keys" in fewer[-1].message
    assert any("10.1.0.149/99" in each.message for each in fewer)


# Another cluster id


@pytest.mark.parametrize("restarted", [False, True])
@in_loop
async def test_with_another_id_the_marks_go_with_the_configuration_and_come_behind_the_keys(
    restarted: bool,
) -> None:
    place = Place()
    old, new = address(1), address(1, cluster_id=7, identity=7 << 16 | 1)
    config = attrs.evolve(CONFIG, cluster_id=7)
    async with AsyncExitStack() as stack:
        publisher = await stack.enter_async_context(place.published(old))
        await publisher.flushed()
        if restarted:
            await stack.aclose()
            publisher = await stack.enter_async_context(
                Publisher(place.store, cluster="east", config=config, clock=place.clock)
            )
        else:
            publisher.configure(config)
        await place.clock.settle()
        between = await content(place.data)
        await publisher.publish([new])
        await publisher.flushed()
        assert publisher.findings == ()
    after = await content(place.data)
    written = [commit for commit in place.store.commits if Delete(MARKS["ip"]) in commit]

    assert decode_config(between[CONFIG_KEY]).cluster_id == 7
    assert between[key_of(old, cached=False)] == encode(old)
    assert not between.keys() & set(MARKS.values())
    assert next(each.key for each in written[0] if isinstance(each, Put)) == CONFIG_KEY
    assert after.keys() >= set(MARKS.values())
    assert after[key_of(new, cached=False)] == encode(new)
    keys = [each.key for commit in place.store.commits for each in commit if isinstance(each, Put)]
    assert keys.index(key_of(new, cached=False)) < keys.index(MARKS["ip"])


# Signs of life


@in_loop
async def test_the_heartbeat_is_written_each_minute_on_a_lease() -> None:
    place = Place()
    async with place.published():
        await place.clock.run(120.0)
        found = await content(place.data)

    assert found[HEARTBEAT] == b"2027-01-15T08:02:00Z"
    assert found[MARKS["ip"]] == b"2027-01-15T08:00:00Z"
    assert (await place.leases())[HEARTBEAT] != 0


@in_loop
async def test_every_key_has_a_lease_of_at_most_so_many_keys() -> None:
    place = Place()
    async with place.publisher(most_keys=10) as publisher:
        await publisher.publish([address(number) for number in range(25)])
        await publisher.flushed()
        assert publisher.status.leases == 4  # 25 addresses, 6 marks, the configuration and the heartbeat
    leases = await place.leases()

    assert 0 not in leases.values()
    assert max(list(leases.values()).count(lease) for lease in leases.values()) <= 10


# The end


@in_loop
async def test_closing_leaves_the_keys_to_their_leases() -> None:
    place = Place()
    place.store.inner = place.data.another()
    async with place.published(*SMALL):
        everything = await content(place.data)
    await place.store.aclose()

    await place.clock.run(890.0)
    assert await content(place.data) == everything
    await place.clock.run(20.0)
    assert await content(place.data) == {}


@in_loop
async def test_withdrawing_removes_all_keys_the_configuration_first() -> None:
    place = Place()
    store = RecordingStore(place.data.another())
    publisher = Publisher(store, cluster="east", config=CONFIG, clock=place.clock)
    async with publisher:
        await publisher.publish([*SMALL, *(address(number) for number in range(300))])
        await publisher.flushed()
        store.commits.clear()
        publisher.update(put=[address(999)])
        await publisher.withdraw()
        await place.clock.run(400.0)
        assert publisher.status.phase == "withdrawn"
        await publisher.flushed()

    assert await content(place.data) == {}
    removed = [each.key for commit in store.commits for each in commit if isinstance(each, Delete)]
    assert removed[0] == CONFIG_KEY
    assert set(removed[1:7]) == set(MARKS.values())


@in_loop
async def test_withdrawing_tries_six_times_ever_more_slowly() -> None:
    place = Place()
    async with place.published(*SMALL) as publisher:
        place.store.fail(StoreUnavailableError("nobody answers"))
        began = place.clock.monotonic()
        leaving = asyncio.ensure_future(publisher.withdraw())
        await place.clock.run(61.9)
        assert not leaving.done()
        await place.clock.run(0.2)
        with pytest.raises(StoreUnavailableError):
            await leaving
        assert place.clock.monotonic() - began < 62.2


@in_loop
async def test_withdrawing_goes_on_after_a_short_failure() -> None:
    place = Place()
    async with place.published(*SMALL) as publisher:
        place.store.fail(StoreUnavailableError("nobody answers"))
        leaving = asyncio.ensure_future(publisher.withdraw())
        await place.clock.run(1.0)
        place.store.heal()
        await place.clock.run(2.0)
        await leaving
        assert publisher.status.last_error == "nobody answers"

    assert await records_in(place.data) == {}
    assert CONFIG_KEY not in await content(place.data)


@in_loop
async def test_withdrawing_leaves_alone_what_another_publisher_writes_by_now() -> None:
    place = Place()
    async with place.published(*SMALL) as old, place.publisher(place.data.another()) as new:
        await new.publish([node("n2")])
        await new.flushed()

        await old.withdraw()

        assert await records_in(place.data) == as_keys([node("n2")])
        assert [each.code for each in old.findings] == ["two-publishers"]
