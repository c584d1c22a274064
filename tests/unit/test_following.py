"""
Following a prefix through whatever breaks, on a store in memory that fails when it is told to.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from functools import wraps
from random import Random

import attrs
import pytest

from doubles.clock import ManualClock
from doubles.flaky_store import FlakyStore
from doubles.follower import Follower
from fleetmesh.errors import (
    CompactedError,
    OtherStoreError,
    StoreDeniedError,
    StoreError,
    StoreUnavailableError,
)
from fleetmesh.state.following import LONGEST_PAUSE, Update, follow
from fleetmesh.state.memory import MemoryStore
from fleetmesh.state.store import Delete, Put

GONE = StoreUnavailableError("no server answers")


@attrs.define
class Scene:
    """Three keys under `in/`, one beside, and somebody who follows `in/`."""

    clock: ManualClock
    flaky: FlakyStore
    follower: Follower

    async def put(self, *names: str, value: bytes = b"") -> int:
        return await self.flaky.inner.commit([Put(name, value) for name in names])

    async def delete(self, *names: str) -> int:
        return await self.flaky.inner.commit([Delete(name) for name in names])

    @property
    def names(self) -> list[str]:
        return sorted(self.follower.there)


def scene(test: Callable[[Scene], Awaitable[None]]) -> Callable[[], None]:
    """The test gets a scene; nothing may be left of it at the end."""

    @wraps(test)
    def run() -> None:
        async def within() -> None:
            clock = ManualClock()
            store = MemoryStore(clock=clock)
            await store.commit([Put("in/a", b"1"), Put("in/b", b"1"), Put("in/c", b"1"), Put("out", b"1")])
            flaky = FlakyStore(store)
            async with Follower(flaky, "in/", clock) as follower:
                await clock.settle()
                await test(Scene(clock, flaky, follower))
            assert len(asyncio.all_tasks()) == 1
            await flaky.aclose()

        asyncio.run(within())

    del run.__wrapped__  # pytest would ask for the scene as a fixture
    return run


@scene
async def test_all_that_is_there_is_told_and_then_that_it_is_all(it: Scene) -> None:
    revision = (await it.flaky.inner.status()).revision
    assert it.names == ["in/a", "in/b", "in/c"]
    assert it.follower.updates[-1] == Update(listed=True, revision=revision)
    assert [update.listed for update in it.follower.updates] == [False, True]


@scene
async def test_what_happens_is_told(it: Scene) -> None:
    await it.put("in/d", "in/a", "out", value=b"2")
    await it.delete("in/b")
    await it.clock.settle()

    assert it.names == ["in/a", "in/c", "in/d"]
    assert it.follower.there["in/a"].value == b"2"
    assert it.follower.listed == 1


@scene
async def test_one_key_is_followed_without_those_that_begin_with_it(it: Scene) -> None:
    await it.put("in/ab")
    async with Follower(it.flaky, "in/a", it.clock, exact=True) as follower:
        await it.clock.settle()
        assert [*follower.there] == ["in/a"]
        await it.put("in/ab", "in/ac")
        await it.delete("in/a")
        await it.clock.settle()
        assert follower.there == {}
        it.flaky.break_watches(GONE)
        await it.put("in/ac", "in/a", value=b"2")
        await it.clock.run(1)
        assert {key: entry.value for key, entry in follower.there.items()} == {"in/a": b"2"}
        assert follower.deleted == ["in/a"]


@scene
async def test_what_comes_together_is_told_together(it: Scene) -> None:
    async with Follower(it.flaky.inner, "in/", it.clock) as follower:
        await it.clock.settle()
        before = len(follower.updates)
        data = it.flaky.inner._data
        data.commit([Put("in/a", b"2"), Put("in/new", b"")], ())
        data.commit([Put("in/a", b"3"), Delete("in/new"), Delete("in/b")], ())
        revision = data.commit([Put("in/b", b"4")], ())
        await it.clock.settle()

    assert len(follower.updates) == before + 1
    update = follower.updates[-1]
    assert [(each.key, each.value) for each in update.puts] == [("in/a", b"3"), ("in/b", b"4")]
    assert update.deletes == ()
    assert update.revision == revision


@scene
async def test_an_update_is_no_larger_than_a_thousand_and_a_transaction(it: Scene) -> None:
    async with Follower(it.flaky.inner, "in/", it.clock) as follower:
        await it.clock.settle()
        before = len(follower.updates)
        for begin in range(0, 5_000, 100):
            names = [f"in/{number:04}" for number in range(begin, begin + 100)]
            it.flaky.inner._data.commit([Put(name, b"") for name in names], ())
        await it.clock.settle()

    told = [len(update.puts) for update in follower.updates[before:]]
    assert sum(told) == 5_000
    assert max(told) <= 1_100
    assert len(told) <= 6


@scene
async def test_a_broken_connection_is_told_and_the_watch_goes_on_where_it_was(it: Scene) -> None:
    revision = await it.put("in/d")
    await it.clock.settle()
    it.flaky.fail(GONE)
    await it.clock.settle()
    assert it.follower.updates[-1] == Update(trouble=GONE, connected=False, revision=revision)
    await it.put("in/e", "in/a")
    await it.delete("in/b")
    await it.clock.run(60)
    assert it.names == ["in/a", "in/b", "in/c", "in/d"], "what was known stays"

    it.flaky.heal()
    await it.clock.run(LONGEST_PAUSE)

    assert it.follower.connected
    assert it.names == ["in/a", "in/c", "in/d", "in/e"]
    assert it.follower.listed == 1
    assert it.flaky.lists == 1
    assert it.flaky.watched_after[-1] == revision


@scene
async def test_a_connection_that_is_back_is_told_without_news(it: Scene) -> None:
    it.flaky.break_watches(GONE)
    await it.clock.run(0.2)
    assert [update.connected for update in it.follower.updates[-2:]] == [False, True]
    assert it.follower.updates[-1].trouble is None


@scene
async def test_pauses_grow_to_half_a_minute_and_are_spread(it: Scene) -> None:
    it.flaky.fail(GONE)
    await it.clock.settle()
    pauses: list[float] = []
    while len(pauses) < 20:
        pause = it.clock.next_wake
        assert pause is not None
        pauses.append(pause)
        await it.clock.run(pause)

    for number, pause in enumerate(pauses):
        most = min(0.2 * 2**number, LONGEST_PAUSE)
        assert most / 2 <= pause <= most
    assert len({round(pause, 6) for pause in pauses[-10:]}) == 10
    assert len(it.follower.troubles) == 21


@scene
async def test_a_watch_that_breaks_as_soon_as_it_stands_is_not_tried_without_end(it: Scene) -> None:
    for _ in range(8):
        it.flaky.break_watches(GONE)
        await it.clock.settle()
        await it.clock.run(it.clock.next_wake or 0.0)
    it.flaky.break_watches(GONE)
    await it.clock.settle()
    pause = it.clock.next_wake
    assert pause is not None
    assert pause > 10


@scene
async def test_a_watch_that_worked_is_tried_again_soon(it: Scene) -> None:
    it.flaky.fail(GONE)
    await it.clock.run(300)
    it.flaky.heal()
    await it.clock.run(30)
    await it.put("in/d")
    await it.clock.settle()
    it.flaky.fail(GONE)
    await it.clock.settle()
    pause = it.clock.next_wake
    assert pause is not None
    assert pause <= 0.2


@scene
async def test_after_a_compaction_only_what_differs_is_told(it: Scene) -> None:
    it.flaky.fail(GONE)
    await it.clock.settle()
    await it.put("in/a", "in/d")
    await it.delete("in/b")
    await it.flaky.inner.compact(await it.put("out"))
    before = len(it.follower.updates)
    it.flaky.heal()
    await it.clock.run(LONGEST_PAUSE)

    told = it.follower.updates[before:]
    assert [type(update.trouble) for update in told if update.trouble is not None] == [CompactedError]
    assert [entry.key for update in told for entry in update.puts] == ["in/a", "in/d"]
    assert [key for update in told for key in update.deletes] == ["in/b"]
    assert it.follower.listed == 1
    assert it.names == ["in/a", "in/c", "in/d"]


@scene
async def test_deletions_come_after_what_is_new(it: Scene) -> None:
    """So that whoever moved from one key to another is never gone."""
    it.flaky.fail(GONE)
    await it.clock.settle()
    await it.put("in/z")
    await it.delete("in/a")
    await it.flaky.inner.compact(await it.put("out"))
    it.flaky.heal()
    await it.clock.run(LONGEST_PAUSE)

    news = [update for update in it.follower.updates if update.puts or update.deletes][-2:]
    assert [bool(update.puts) for update in news] == [True, False]


@scene
async def test_another_store_is_told_and_listed_anew_and_its_revisions_mean_something_else(it: Scene) -> None:
    """Key `in/a` has the same revision in both, and another value."""
    other = MemoryStore(clock=it.clock)
    await other.commit([Put("in/a", b"other"), Put("in/c", b"1")])
    assert it.follower.there["in/a"].revision == 2
    old, it.flaky.inner = it.flaky.inner, other
    it.flaky.break_watches(GONE)
    await it.clock.run(2)

    assert [type(each) for each in it.follower.troubles] == [StoreUnavailableError, OtherStoreError]
    assert {key: entry.value for key, entry in it.follower.there.items()} == {"in/a": b"other", "in/c": b"1"}
    assert it.follower.deleted == ["in/b"]
    assert it.follower.listed == 1
    await old.aclose()


@scene
async def test_another_store_that_somebody_else_found_out_about_is_noticed(it: Scene) -> None:
    """Its answers don't raise any more, and its revisions are ahead of what was told."""
    other = MemoryStore(clock=it.clock)
    for _ in range(20):
        await other.commit([Put("in/a", b"other")])
    it.flaky.fail(GONE)
    await it.clock.settle()
    old, it.flaky.inner = it.flaky.inner, other
    it.flaky.heal()
    with pytest.raises(OtherStoreError):
        await it.flaky.get("in/a")
    await it.clock.run(2)

    assert [type(each) for each in it.follower.troubles] == [StoreUnavailableError, OtherStoreError]
    assert it.names == ["in/a"]
    assert it.follower.connected
    await old.aclose()


@scene
async def test_a_store_that_says_that_it_is_another_is_listed_anew(it: Scene) -> None:
    it.flaky.break_watches(OtherStoreError("restored"))
    await it.clock.run(2)
    assert it.flaky.lists == 2
    assert it.follower.connected
    assert len(it.follower.troubles) == 1
    assert it.follower.deleted == []


@pytest.mark.parametrize("trouble", [StoreDeniedError("not for you"), StoreError("something")])
def test_what_only_people_can_mend_is_told_and_tried_seldom(trouble: StoreError) -> None:
    @scene
    async def within(it: Scene) -> None:
        it.flaky.fail(trouble)
        await it.clock.settle()
        pause = it.clock.next_wake
        assert pause is not None
        assert pause >= LONGEST_PAUSE / 2
        await it.put("in/d")
        await it.clock.run(600)
        assert 20 <= len(it.follower.troubles) <= 40
        assert it.names == ["in/a", "in/b", "in/c"]
        it.flaky.heal()
        await it.clock.run(LONGEST_PAUSE)
        assert it.names == ["in/a", "in/b", "in/c", "in/d"]
        # What nobody knows the meaning of may be in the way of what comes next, such as an event too large.
        assert it.flaky.lists == (1 if isinstance(trouble, StoreDeniedError) else 2)

    within()


def test_a_first_list_that_breaks_in_its_middle_is_done_again_and_told_once() -> None:
    async def within() -> None:
        clock = ManualClock()
        flaky = FlakyStore(MemoryStore(clock=clock))
        for begin in range(0, 1000, 100):
            await flaky.inner.commit([Put(f"{number:04}", b"") for number in range(begin, begin + 100)])
        flaky.break_list(GONE, after_pages=2)
        async with Follower(flaky, "", clock) as follower:
            await clock.settle()
            assert len(follower.there) == 512
            assert follower.listed == 0
            await flaky.inner.commit([Delete("0001")])
            await clock.run(1)
            assert len(follower.there) == 999
            assert follower.deleted == ["0001"]
            assert follower.listed == 1
            assert sum(len(update.puts) for update in follower.updates) == 1000
        await flaky.aclose()

    asyncio.run(within())


def test_many_deletions_are_told_in_parts() -> None:
    async def within() -> None:
        clock = ManualClock()
        flaky = FlakyStore(MemoryStore(clock=clock))
        for begin in range(0, 2500, 100):
            await flaky.inner.commit([Put(f"{number:04}", b"") for number in range(begin, begin + 100)])
        async with Follower(flaky, "", clock) as follower:
            await clock.settle()
            flaky.fail(GONE)
            for begin in range(0, 2500, 100):
                await flaky.inner.commit([Delete(f"{number:04}") for number in range(begin, begin + 100)])
            await flaky.inner.compact((await flaky.inner.status()).revision)
            flaky.heal()
            await clock.run(2)
            assert [len(update.deletes) for update in follower.updates if update.deletes] == [1000, 1000, 500]
            assert follower.there == {}
        await flaky.aclose()

    asyncio.run(within())


@scene
async def test_progress_marks_move_the_place_where_a_watch_goes_on(it: Scene) -> None:
    before = len(it.follower.updates)
    revision = await it.put("out")
    it.flaky.inner.mark()
    await it.clock.settle()
    assert len(it.follower.updates) == before, "a mark alone is no news"
    it.flaky.break_watches(GONE)
    await it.clock.run(1)
    assert it.flaky.watched_after[-1] == revision


@scene
async def test_it_ends_with_the_store(it: Scene) -> None:
    await it.flaky.inner.aclose()
    await it.clock.settle()
    assert it.follower.ended
    assert it.follower.troubles == []


@scene
async def test_it_ends_with_a_store_that_is_closed_between_two_tries(it: Scene) -> None:
    it.flaky.fail(GONE)
    await it.clock.settle()
    await it.flaky.inner.aclose()
    it.flaky.heal()
    await it.clock.run(1)
    assert it.follower.ended
    assert it.follower.troubles == [GONE]


def test_one_who_reads_slowly_holds_up_the_watch_and_misses_nothing() -> None:
    async def within() -> None:
        clock = ManualClock()
        store = MemoryStore(clock=clock)
        updates = follow(store, "", clock=clock, random=Random(0))
        assert (await anext(updates)).listed
        keys = 0
        for begin in range(0, 3000, 100):
            await store.commit([Put(f"{number:04}", b"") for number in range(begin, begin + 100)])
        while keys < 3000:
            keys += len((await anext(updates)).puts)
            await clock.settle()
        assert keys == 3000
        await updates.aclose()
        assert len(asyncio.all_tasks()) == 1
        await store.aclose()

    asyncio.run(within())
