"""Records of a member come into a store, stay there, and leave it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import attrs
import pytest

from doubles.clock import ManualClock
from doubles.faults import FaultyStore
from doubles.loops import in_loop
from doubles.recording_store import RecordingStore
from doubles.records import address, as_keys, content, identity, node, records_in, service
from fleetmesh.errors import NoSpaceError, StoreDeniedError, StoreError, StoreUnavailableError
from fleetmesh.records import Record
from fleetmesh.state.codecs import ClusterConfig, decode_config, encode, encode_config
from fleetmesh.state.keys import HEARTBEAT, KINDS, config_key, key_of, synced_key
from fleetmesh.state.leases import LeasePool
from fleetmesh.state.memory import MemoryStore
from fleetmesh.state.publisher import Publisher
from fleetmesh.state.store import Delete, Listing, Operation, Put, Store

CONFIG = ClusterConfig(cluster_id=1, max_connected_clusters=255, service_exports_enabled=False)
CONFIG_KEY = config_key("east")
MARKS = {kind: synced_key("east", kind, cached=False) for kind in KINDS}
SMALL: list[Record] = [
    node("n1"),
    identity(1),
    address(1),
    address(2),
    service("cart", backends=["10.1.0.1"]),
]


@attrs.define
class Place:
    """A store with a clock, and publishers that write into it."""

    clock: ManualClock = attrs.field(factory=ManualClock)
    data: MemoryStore = attrs.field(init=False)
    store: RecordingStore = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self.data = MemoryStore(clock=self.clock)
        self.store = RecordingStore(self.data)

    def publisher(
        self, store: Store | None = None, *, cached: bool = False, most_keys: int = 1000
    ) -> Publisher:
        store = store or self.store
        leases = LeasePool(store, most_keys=most_keys)
        return Publisher(store, cluster="east", config=CONFIG, cached=cached, clock=self.clock, leases=leases)

    @asynccontextmanager
    async def published(self, *records: Record) -> AsyncIterator[Publisher]:
        async with self.publisher() as publisher:
            await publisher.publish(records)
            await self.clock.settle()
            self.store.commits.clear()
            yield publisher

    def operations(self) -> list[Operation]:
        """All that was written, but for signs of life."""
        signs = {CONFIG_KEY, HEARTBEAT}
        return [each for commit in self.store.commits for each in commit if each.key not in signs]

    async def leases(self) -> dict[str, int]:
        return {entry.key: entry.lease for entry in (await self.data.list("cilium/")).entries}


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


# A store that is away


@in_loop
async def test_what_changes_often_while_the_store_is_away_is_written_once() -> None:
    place = Place()
    async with place.published(*SMALL) as publisher:
        place.store.fail(StoreUnavailableError("nobody answers"))
        for number in range(50):
            publisher.update(put=[address(1, identity=70_100 + number)])
            publisher.update(put=[address(5)])
            publisher.update(withdrawn=[("ip", "10.1.0.5")])
            await place.clock.settle()
        await place.clock.run(100.0)
        status = publisher.status
        (told,) = publisher.findings
        place.store.heal()
        await place.clock.run(31.0)
        await publisher.flushed()
        assert publisher.findings == ()

    assert (status.phase, status.pending) == ("writing", 2)
    assert status.last_error == "nobody answers"
    assert status.errors > 3
    assert told.code == "store-unavailable"
    last = address(1, identity=70_149)
    assert [each.key for each in place.operations()] == [key_of(last, cached=False)]
    assert await records_in(place.data) == as_keys([*SMALL, last])


@in_loop
async def test_tries_become_rarer_up_to_twice_a_minute() -> None:
    place = Place()
    async with place.published() as publisher:
        place.store.fail(StoreUnavailableError("nobody answers"))
        publisher.update(put=[address(1)])
        await place.clock.run(60.0)
        first = publisher.status.errors
        await place.clock.run(600.0)

    assert 7 <= first <= 10
    assert publisher.status.errors - first == 20


@in_loop
async def test_a_lost_answer_costs_nothing_but_another_try() -> None:
    place = Place()
    async with place.published(*SMALL) as publisher:
        place.store.swallow = 1
        publisher.update(put=[address(3)], withdrawn=[("ip", "10.1.0.1")])
        await place.clock.run(5.0)
        await publisher.flushed()

        place.store.swallow = 1  # of a sign of life, after which the own revision isn't known
        await place.clock.run(70.0)
        publisher.update(put=[address(4)])
        await publisher.flushed()
        assert publisher.findings == ()
        assert publisher.status.phase == "written"

    assert await records_in(place.data) == as_keys([*SMALL[:2], *SMALL[3:], address(3), address(4)])


@in_loop
async def test_what_was_written_without_an_answer_is_removed_when_it_is_not_wanted_any_more() -> None:
    place = Place()
    async with place.published(*SMALL) as publisher:
        place.store.swallow = 1
        publisher.update(put=[address(3)])
        await place.clock.settle()
        publisher.update(withdrawn=[("ip", "10.1.0.3")])
        await place.clock.run(5.0)
        await publisher.flushed()

    assert await records_in(place.data) == as_keys(SMALL)


@pytest.mark.parametrize(
    ("error", "code"),
    [(NoSpaceError("database space exceeded"), "store-no-space"), (StoreDeniedError("no"), "store-denied")],
)
@in_loop
async def test_a_store_that_takes_no_writes_is_told_of_until_it_does(error: StoreError, code: str) -> None:
    place = Place()
    async with place.published(*SMALL) as publisher:
        place.store.refuse = lambda _: error
        publisher.update(put=[address(3)])
        await place.clock.run(70.0)
        assert [each.code for each in publisher.findings] == [code]
        assert str(error) in publisher.findings[0].message

        place.store.refuse = lambda _: None
        await place.clock.run(31.0)
        assert publisher.findings == ()

    assert await records_in(place.data) == as_keys([*SMALL, address(3)])


@in_loop
async def test_a_value_that_the_store_never_takes_holds_up_nothing_else() -> None:
    place = Place()
    large = key_of(address(13), cached=False)

    def refuse(operations: object) -> StoreError | None:
        assert isinstance(operations, list)
        too_large = any(each.key == large and isinstance(each, Put) for each in operations)
        return StoreError("etcdserver: request is too large") if too_large else None

    place.store.refuse = refuse
    async with place.published(*(address(number) for number in range(30))) as publisher:
        await publisher.flushed()
        (told,) = publisher.findings

    assert await records_in(place.data) == as_keys(address(number) for number in range(30) if number != 13)
    assert MARKS["ip"] in await content(place.data)
    assert told.code == "record-not-published"
    assert large in told.message


# Restarts


@in_loop
async def test_after_a_restart_all_goes_over_to_new_leases_and_nothing_is_missing_meanwhile() -> None:
    place = Place()
    async with place.published(*SMALL):
        pass
    before = await place.leases()
    wanted = [*SMALL[:3], address(8)]
    gone = key_of(SMALL[3], cached=False), key_of(SMALL[4], cached=False)

    async with place.publisher(place.data.another()) as publisher:
        await place.clock.settle()
        assert await records_in(place.data) == as_keys(SMALL)
        after = await place.leases()
        assert not set(after.values()) & set(before.values())
        await publisher.publish(wanted)
        await publisher.flushed()

    history = [each async for each in _history(place.data)]
    assert await records_in(place.data) == as_keys(wanted)
    deleted = [change.key for changes in history for change in changes if isinstance(change, Delete)]
    assert sorted(deleted) == sorted(gone)


@in_loop
async def test_who_waits_for_the_first_publish_waits_for_what_goes_too() -> None:
    place = Place()
    async with place.published(*SMALL, *(address(number) for number in range(100, 350))):
        pass
    async with place.publisher(place.data.another()) as publisher:
        await publisher.publish([node("n2")])
        await publisher.flushed()
        assert await records_in(place.data) == as_keys([node("n2")])


@in_loop
async def test_who_waits_while_a_lease_is_lost_waits_for_its_keys_too() -> None:
    place = Place()
    many = [address(number) for number in range(350)]
    async with place.published(*many) as publisher:
        place.store.fail(StoreUnavailableError("nobody answers"))
        publisher.update(put=[address(1, identity=70_001)])
        flushed = asyncio.ensure_future(publisher.flushed())
        await place.clock.run(1.0)
        for lease in set((await place.leases()).values()):
            await place.data.revoke(lease)
        await place.clock.run(1.0)
        place.store.heal()
        place.clock.advance(31.0)
        await flushed
        assert await records_in(place.data) == as_keys([*many, address(1, identity=70_001)])
        assert (await content(place.data)).keys() >= set(MARKS.values())


@in_loop
async def test_a_review_that_breaks_off_is_done_again() -> None:
    place = Place()
    async with place.published(*SMALL):
        pass
    before = set((await place.leases()).values())
    other = RecordingStore(place.data.another())
    pages, asked = other.pages, 0

    def breaking(prefix: str) -> AsyncIterator[Listing]:
        nonlocal asked
        asked += 1
        return pages(prefix) if asked != 4 else FaultyStore.pages(broken, prefix)

    broken = RecordingStore(place.data)
    broken.fail(StoreUnavailableError("it breaks off"))
    other.pages = breaking  # type: ignore[method-assign]
    async with place.publisher(other) as publisher:
        await publisher.publish([SMALL[0], SMALL[4]])
        await place.clock.run(1.0)
        await publisher.flushed()
        assert publisher.status.errors == 1

    assert await records_in(place.data) == as_keys([SMALL[0], SMALL[4]])
    assert not before & set((await place.leases()).values())


@in_loop
async def test_what_was_published_before_the_store_was_reached_counts() -> None:
    place = Place()
    async with place.published(*SMALL):
        pass
    other = RecordingStore(place.data.another())
    other.fail(StoreUnavailableError("nobody answers"))
    async with place.publisher(other) as publisher:
        await publisher.publish([node("n2")])
        await place.clock.run(1.0)
        assert publisher.status.phase == "waiting"
        other.heal()
        await place.clock.run(31.0)
        await publisher.flushed()

    assert await records_in(place.data) == as_keys([node("n2")])
    operations = [each.key for commit in other.commits for each in commit]
    for kind in KINDS:
        last = [at for at, key in enumerate(operations) if key.startswith(f"cilium/state/{kind}/")]
        assert operations.index(MARKS[kind]) > max(last, default=-1)


@in_loop
async def test_keys_of_others_are_left_alone() -> None:
    place = Place()
    theirs = {
        "cilium/state/nodes/v1/west/n1": b"w",
        "cilium/state/nodes/v1/east2/n1": b"w",
        "cilium/state/identities/v1/value/k8s:app=x;/10.0.0.1": b"70000",
        "cilium/cluster-config/east2": b"{}",
        "cilium/synced/west/cilium/state/nodes/v1": b"w",
        "cilium/synced/east/something/else": b"w",
        "/registry/pods/x": b"w",
    }
    await place.data.commit([Put(key, value) for key, value in theirs.items()])
    async with place.published(*SMALL) as publisher:
        await publisher.publish([])
        await publisher.flushed()

    assert theirs.items() <= (await content(place.data, "")).items()


@in_loop
async def test_without_a_whole_publish_nothing_old_is_removed_and_nothing_new_is_marked() -> None:
    place = Place()
    async with place.published(*SMALL):
        pass
    await place.data.commit([Delete(MARKS["nodes"])])
    async with place.publisher(place.data.another()) as publisher:
        publisher.update(put=[address(9)])
        await publisher.flushed()
        await place.clock.run(700.0)
        assert publisher.status.complete == frozenset()

    assert await records_in(place.data) == as_keys([*SMALL, address(9)])
    assert MARKS["nodes"] not in await content(place.data)
    assert MARKS["ip"] in await content(place.data)


# Leases that are lost


@in_loop
async def test_the_keys_of_a_lost_lease_are_written_again_before_their_marks() -> None:
    place = Place()
    many = [address(number) for number in range(25)]
    async with place.publisher(most_keys=10) as publisher:
        await publisher.publish([*SMALL[:2], *many])
        await publisher.flushed()
        everything = await content(place.data)
        lease = (await place.leases())[key_of(many[3], cached=False)]
        place.store.commits.clear()

        await place.data.revoke(lease)
        lost = everything.keys() - (await content(place.data)).keys() - {CONFIG_KEY, HEARTBEAT}
        await place.clock.settle()
        await publisher.flushed()

        assert (await content(place.data)).keys() == everything.keys()
        assert (await records_in(place.data)) == as_keys([*SMALL[:2], *many])
        (told,) = publisher.findings
        assert told.code == "lease-lost"
        assert told.message.startswith(f"{len(lost)} keys were gone")

        await place.clock.run(901.0)
        assert publisher.findings == ()

    written = [(type(each), each.key) for commit in place.store.commits for each in commit]
    mark = MARKS["ip"]
    back = written.index((Put, mark))
    assert (Delete, mark) in written[:back] or mark in lost
    assert all(written.index((Put, key)) < back for key in lost if "/ip/" in key and key != mark)


@in_loop
async def test_a_lease_that_is_lost_while_the_store_is_away_is_noticed_by_its_refusal() -> None:
    place = Place()
    async with place.published(*SMALL) as publisher:
        leases = publisher._leases
        leases.lost = asyncio.Event().wait  # type: ignore[method-assign, assignment]
        for lease in set((await place.leases()).values()):
            leases._held[lease].watching.cancel()
            await place.data.revoke(lease)
        assert await content(place.data) == {}

        publisher.update(put=[address(3)])
        await place.clock.run(5.0)
        await publisher.flushed()

        assert await records_in(place.data) == as_keys([*SMALL, address(3)])
        assert CONFIG_KEY in await content(place.data)


@in_loop
async def test_one_lease_of_several_that_the_store_does_not_know_any_more_is_replaced() -> None:
    place = Place()
    many = [address(number) for number in range(20)]
    async with place.publisher(most_keys=10) as publisher:
        await publisher.publish(many)
        await publisher.flushed()
        leases = await place.leases()
        lease = leases[key_of(many[-1], cached=False)]
        assert lease != leases[CONFIG_KEY]
        publisher._leases._held[lease].watching.cancel()
        await place.data.revoke(lease)

        publisher.update(put=[address(19, identity=70_001)])
        await place.clock.run(5.0)
        await publisher.flushed()

        assert await records_in(place.data) == as_keys([*many[:-1], address(19, identity=70_001)])


# Somebody else


@in_loop
async def test_of_two_publishers_the_newest_stays_and_the_other_writes_nothing_more() -> None:
    place = Place()
    async with place.published(*SMALL) as old, place.publisher(place.data.another()) as new:
        await new.publish([node("n2"), address(1, identity=70_009)])
        await new.flushed()
        old.update(put=[address(77)])
        await place.clock.run(600.0)

        assert old.status.phase == "replaced"
        assert [each.code for each in old.findings] == ["two-publishers"]
        assert new.status.phase == "written"
        assert new.findings == ()
        assert await records_in(place.data) == as_keys([node("n2"), address(1, identity=70_009)])


@in_loop
async def test_who_gave_way_takes_over_when_the_other_is_silent_and_no_key_is_missing_meanwhile() -> None:
    place = Place()
    async with place.published(*SMALL) as old:
        async with place.publisher(place.data.another()) as new:
            await new.publish([*SMALL, address(50)])
            await new.flushed()
            old.update(put=[address(51)])
            await place.clock.run(120.0)
        await place.clock.run(100.0)
        still = old.status.phase
        await place.clock.run(200.0)
        await old.flushed()

        assert (still, old.status.phase) == ("replaced", "written")
        assert old.findings == ()
        assert await records_in(place.data) == as_keys([*SMALL, address(51)])
        deleted = [
            each.key async for changes in _history(place.data) for each in changes if isinstance(each, Delete)
        ]
        assert deleted == [key_of(address(50), cached=False)]


@in_loop
async def test_two_that_begin_at_the_same_moment_settle_on_one() -> None:
    place = Place()
    stores = [place.data.another() for _ in range(2)]
    wanted: list[list[Record]] = [[node("n1"), address(1)], [node("n2"), address(2)]]
    async with place.publisher(stores[0]) as first, place.publisher(stores[1]) as second:
        await asyncio.gather(first.publish(wanted[0]), second.publish(wanted[1]))
        await place.clock.run(3600.0)
        phases = [first.status.phase, second.status.phase]
        assert sorted(phases) == ["replaced", "written"]
        assert await records_in(place.data) == as_keys(wanted[phases.index("written")])


@in_loop
async def test_what_somebody_else_changes_and_removes_is_written_again_at_the_next_review() -> None:
    place = Place()
    async with place.published(*SMALL) as publisher:
        changed, removed = (key_of(record, cached=False) for record in SMALL[2:4])
        strange = "cilium/state/ip/v1/default/10.1.9.9"
        unleased = key_of(SMALL[0], cached=False)
        await place.data.commit(
            [
                Put(changed, b"{}"),
                Delete(removed),
                Put(strange, b"{}"),
                Delete(MARKS["nodes"]),
                Put(unleased, encode(SMALL[0])),
            ]
        )
        await place.clock.run(301.0)
        await publisher.flushed()

        assert await records_in(place.data) == as_keys(SMALL)
        assert MARKS["nodes"] in await content(place.data)
        (told,) = publisher.findings
        assert told.code == "keys-changed"
        assert set(told.evidence) == {changed, removed, MARKS["nodes"], unleased}
        assert 0 not in (await place.leases()).values()


@in_loop
async def test_a_store_that_was_emptied_is_filled_again() -> None:
    place = Place()
    async with place.published(*SMALL) as publisher:
        everything = (await content(place.data)).keys()
        await place.data.commit([Delete(key) for key in everything])
        publisher.update(put=[address(3)])
        await place.clock.run(1.0)
        await publisher.flushed()

        assert (await content(place.data)).keys() == everything | as_keys([address(3)]).keys()
        assert await records_in(place.data) == as_keys([*SMALL, address(3)])


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


async def _history(store: MemoryStore) -> AsyncIterator[tuple[object, ...]]:
    """All that ever happened in a store."""
    newest = (await store.status()).revision
    async for events in store.watch("", 0):
        if events.changes:
            yield events.changes
        if events.revision >= newest:
            return
