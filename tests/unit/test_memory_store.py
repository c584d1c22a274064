"""
The store in memory keeps the contract of stores, and what it says of itself.
"""

from __future__ import annotations

import asyncio
import itertools

import pytest

from doubles.clock import ManualClock
from doubles.store_contract import CHECKS, Check, Subject, shown, watching
from fleetmesh.errors import CompactedError, OtherStoreError
from fleetmesh.state import memory_data
from fleetmesh.state.memory import MemoryStore
from fleetmesh.state.sorted_keys import SortedKeys
from fleetmesh.state.store import Events, Put


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_the_contract(check: Check) -> None:
    async def run() -> None:
        clock = ManualClock()
        store = MemoryStore(clock=clock)
        others: list[MemoryStore] = []

        def another() -> MemoryStore:
            others.append(store.another())
            return others[-1]

        await check(Subject(store, another, "check/", clock.run))
        for each in (*others, store):
            await each.aclose()

    asyncio.run(run())


def test_keys_stay_sorted_whatever_comes_and_goes() -> None:
    """Against a sorted list, with more keys than fit a chunk."""
    keys, plain = SortedKeys(), set[bytes]()
    for number in itertools.chain(range(0, 9000, 2), range(8999, 0, -2)):
        key = b"%04d" % (number * 7919 % 9001)
        keys.add(key)
        plain.add(key)
    for number in range(0, 9000, 3):
        key = b"%04d" % (number * 7919 % 9001)
        keys.remove(key)
        plain.remove(key)

    for prefix in (b"", b"1", b"12", b"123", b"1234", b"5000", b"9", b"99", b":", b"/", b"12345"):
        expected = sorted(key for key in plain if key.startswith(prefix))
        assert list(keys.beginning_with(prefix)) == expected, prefix
    for key in sorted(plain):
        keys.remove(key)
    assert list(keys.beginning_with(b"")) == []
    keys.add(b"again")
    assert list(keys.beginning_with(b"a")) == [b"again"]


def test_leases_of_a_client_that_is_gone_run_out_one_after_the_other() -> None:
    async def run() -> None:
        clock = ManualClock()
        store = MemoryStore(clock=clock)
        slow, quick = store.another(), store.another()
        leases = [await slow.grant(30), await quick.grant(10)]
        await store.commit([Put("slow", b"", leases[0].id), Put("quick", b"", leases[1].id)])
        await slow.aclose()
        await quick.aclose()

        async with watching(store, "", 2) as watched:
            await clock.run(9.9)
            assert len((await store.list("")).entries) == 2
            await clock.run(0.1)
            assert shown(await watched.changes(1), "") == ["-quick"]
            await clock.run(19.8)
            assert len((await store.list("")).entries) == 1
            await clock.run(0.2)
            assert shown(await watched.changes(1), "") == ["-slow"]
        await store.aclose()
        assert clock.sleeping == 0

    asyncio.run(run())


def test_a_wall_clock_that_jumps_ends_no_lease() -> None:
    async def run() -> None:
        clock = ManualClock()
        store = MemoryStore(clock=clock)
        gone = store.another()
        lease = await gone.grant(10)
        await gone.commit([Put("a", b"", lease.id)])
        await gone.aclose()
        clock.jump(86_400)
        await clock.settle()
        assert await store.get("a") is not None
        await store.aclose()

    asyncio.run(run())


def test_watches_learn_now_and_then_how_far_the_store_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory_data, "MARK_EVERY", 10)

    async def run() -> None:
        store = MemoryStore()
        async with watching(store, "other/", 1) as watched:
            for _ in range(25):
                await store.commit([Put("a", b"")])
            assert [await watched.next(), await watched.next()] == [Events(10), Events(20)]
            store.mark()
            store.mark()
            assert await watched.next() == Events(26)
            await store.commit([Put("other/a", b"")])
            assert shown(await watched.changes(1), "") == ["+other/a"]
        await store.aclose()

    asyncio.run(run())


def test_it_forgets_the_oldest_when_it_holds_too_much(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory_data, "HISTORY", 10)

    async def run() -> None:
        store = MemoryStore()
        for number in range(20):
            await store.commit([Put(f"{number}", b"")])
        with pytest.raises(CompactedError):
            await anext(store.watch("", 5))
        async with watching(store, "", 11) as watched:
            assert len(await watched.changes(10)) == 10
        await store.aclose()

    asyncio.run(run())


def test_a_watch_that_nobody_reads_is_told_to_list_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory_data, "HISTORY", 10)

    async def run() -> None:
        store = MemoryStore()
        async with watching(store, "", 1) as watched:
            for number in range(11):
                await store.commit([Put(f"{number}", b"")])
            with pytest.raises(CompactedError):
                await watched.next()
        await store.aclose()

    asyncio.run(run())


def test_two_stores_are_two() -> None:
    async def run() -> None:
        first, second = MemoryStore(), MemoryStore()
        await first.commit([Put("a", b"")])
        assert (await first.status()).store_id != (await second.status()).store_id
        assert await second.get("a") is None
        with pytest.raises(OtherStoreError):
            await anext(second.watch("", 2))
        await first.aclose()
        await second.aclose()

    asyncio.run(run())
