"""Whatever befalls a publisher or its store, the store ends up with what was given last."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from functools import partial

import pytest

from doubles.flaky_store import FlakyStore
from doubles.loops import in_loop
from doubles.publishers import CONFIG_KEY, MARKS, SMALL, Place, history
from doubles.recording_store import RecordingStore
from doubles.records import address, as_keys, content, node, records_in
from fleetmesh.errors import NoSpaceError, StoreDeniedError, StoreError, StoreUnavailableError
from fleetmesh.records import Record
from fleetmesh.state.codecs import encode
from fleetmesh.state.keys import HEARTBEAT, KINDS, key_of
from fleetmesh.state.store import Delete, Listing, Put

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

    changes = [change async for each in history(place.data) for change in each]
    assert await records_in(place.data) == as_keys(wanted)
    deleted = [change.key for change in changes if isinstance(change, Delete)]
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

    def breaking(prefix: str, *, exact: bool = False) -> AsyncIterator[Listing]:
        nonlocal asked
        asked += 1
        return (pages if asked != 4 else partial(FlakyStore.pages, broken))(prefix, exact=exact)

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


@in_loop
async def test_leases_that_were_in_doubt_with_a_lost_one_are_not_kept_alive_for_ever() -> None:
    place = Place()
    many = [address(number) for number in range(20)]
    async with place.publisher(most_keys=4) as publisher:
        await publisher.publish(many)
        await publisher.flushed()
        lease = (await place.leases())[key_of(many[-1], cached=False)]
        publisher._leases._held[lease].watching.cancel()
        await place.data.revoke(lease)

        publisher.update(put=[address(number, identity=70_001) for number in range(20)])
        await place.clock.run(5.0)
        await publisher.flushed()
        await place.clock.run(65.0)

        assert place.data._data.leases.keys() == set((await place.leases()).values())
        assert publisher.status.leases == len(place.data._data.leases)


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
            each.key async for changes in history(place.data) for each in changes if isinstance(each, Delete)
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
