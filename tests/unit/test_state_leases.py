"""Leases are handed out to keys: few enough keys on each, and a lost one is replaced."""

from __future__ import annotations

import asyncio

import pytest

from doubles.clock import ManualClock, settle
from doubles.loops import in_loop
from fleetmesh.errors import StoreError
from fleetmesh.state.leases import TTL, LeasePool
from fleetmesh.state.memory import MemoryStore
from fleetmesh.state.store import Delete, Put


def pool(store: MemoryStore, most_keys: int = 2) -> LeasePool:
    return LeasePool(store, most_keys=most_keys)


@in_loop
async def test_a_key_keeps_its_lease_and_a_full_lease_gets_no_more_keys() -> None:
    leases = pool(MemoryStore(clock=ManualClock()))

    first = [await leases.lease_for(key) for key in ("a", "b", "a")]
    second = await leases.lease_for("c")

    assert len(set(first)) == 1
    assert second not in first
    assert len(leases) == 2
    assert leases.has(second)


@in_loop
async def test_many_who_ask_at_once_share_what_is_granted() -> None:
    leases = pool(MemoryStore(clock=ManualClock()), most_keys=10)

    given = await asyncio.gather(*(leases.lease_for(f"key {number}") for number in range(10)))

    assert len(set(given)) == 1
    assert len(leases) == 1


@in_loop
async def test_a_key_that_is_gone_leaves_room_for_another() -> None:
    leases = pool(MemoryStore(clock=ManualClock()))
    lease = await leases.lease_for("a")
    await leases.lease_for("b")

    leases.release("a")
    leases.release("nobody's")

    assert await leases.lease_for("c") == lease
    assert len(leases) == 1


@in_loop
async def test_leases_last_as_long_as_those_of_cilium() -> None:
    store = MemoryStore(clock=ManualClock())
    granted: list[float] = []
    grant = store.grant

    async def noted(ttl: float) -> object:
        granted.append(ttl)
        return await grant(ttl)

    store.grant = noted  # type: ignore[assignment, method-assign]
    await LeasePool(store).lease_for("a")

    assert granted == [TTL] == [900.0]


@in_loop
async def test_a_lost_lease_is_told_of_and_replaced() -> None:
    store = MemoryStore(clock=ManualClock())
    leases = pool(store)
    lease = await leases.lease_for("a")
    lost = asyncio.ensure_future(leases.lost())
    await settle()
    assert not lost.done()

    await store.revoke(lease)
    await lost

    assert not leases.has(lease)
    assert len(leases) == 0
    assert await leases.lease_for("a") != lease


@in_loop
async def test_a_lease_that_the_store_does_not_know_any_more_can_be_dropped() -> None:
    leases = pool(MemoryStore(clock=ManualClock()))
    lease = await leases.lease_for("a")
    lost = asyncio.ensure_future(leases.lost())
    await settle()

    leases.drop([lease, 12345])
    await lost

    assert not leases.has(lease)
    assert await leases.lease_for("a") != lease


@in_loop
async def test_leases_that_are_dropped_with_a_lost_one_end_when_their_keys_hang_on_others() -> None:
    store = MemoryStore(clock=ManualClock())
    leases = pool(store, most_keys=1)
    dropped = {key: await leases.lease_for(key) for key in ("a", "b", "c", "d")}
    for key in ("a", "b", "c"):
        await store.commit([Put(key, b"", dropped[key])])
    leases.release("d")

    leases.drop(dropped.values())
    await settle()
    assert store._data.leases.keys() == {dropped[key] for key in ("a", "b", "c")}

    await store.commit([Put("a", b"", await leases.lease_for("a"))])
    leases.written("a")
    await store.commit([Delete("b")])
    leases.release("b")
    await settle()
    assert [entry.key for entry in (await store.list("")).entries] == ["a", "c"]
    assert store._data.leases.keys() == {dropped["c"], await leases.lease_for("a")}

    await leases.revoke()
    assert store._data.leases == {}


@in_loop
async def test_leases_of_a_pool_that_was_closed_can_be_revoked() -> None:
    store = MemoryStore(clock=ManualClock())
    leases = pool(store)
    await store.commit([Put("a", b"", await leases.lease_for("a"))])

    await leases.close()
    await leases.revoke()

    assert (await store.list("")).entries == ()


@in_loop
async def test_revoking_takes_the_keys_with_it_and_tells_of_no_loss() -> None:
    store = MemoryStore(clock=ManualClock())
    leases = pool(store)
    for key in ("a", "b", "c"):
        await store.commit([Put(key, b"", await leases.lease_for(key))])
    lost = asyncio.ensure_future(leases.lost())

    await leases.revoke()
    await settle()

    assert (await store.list("")).entries == ()
    assert len(leases) == 0
    assert not lost.done()
    lost.cancel()


@in_loop
async def test_closing_leaves_the_leases_and_their_keys_and_nothing_that_runs() -> None:
    store = MemoryStore(clock=ManualClock())
    leases = pool(store)
    for key in ("a", "b", "c"):
        await store.commit([Put(key, b"", await leases.lease_for(key))])
    before = asyncio.all_tasks()

    await leases.close()

    assert len(before - asyncio.all_tasks()) == 2
    assert [entry.lease for entry in (await store.list("")).entries] == [1, 1, 2]
    assert len(leases) == 0


@in_loop
async def test_what_the_store_does_not_grant_is_raised_and_asked_for_again_later() -> None:
    store = MemoryStore(clock=ManualClock())
    leases = pool(store)
    other = store.another()
    await store.aclose()
    with pytest.raises(StoreError):
        await leases.lease_for("a")

    assert len(leases) == 0
    await other.aclose()
