"""
Watches of a store that are one keep the contract of stores, each by itself.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio

from doubles.clock import ManualClock
from doubles.flaky_store import FlakyStore
from doubles.store_contract import CHECKS, Check, Subject, Watched, shown, watching
from fleetmesh.errors import CompactedError, OtherStoreError, StoreDeniedError, StoreUnavailableError
from fleetmesh.state import shared_watch
from fleetmesh.state.memory import MemoryStore
from fleetmesh.state.shared_watch import Part, SharedWatch
from fleetmesh.state.shared_watches import SharedWatches
from fleetmesh.state.store import Delete, Entry, Events, Put, StoreStatus

BASE = "base/"


class Shared(SharedWatches):
    """With what a store in memory has besides."""

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_the_contract(check: Check) -> None:
    async def run() -> None:
        clock = ManualClock()
        inner = MemoryStore(clock=clock)
        stores = [Shared(inner, ["check/"])]

        def another() -> Any:
            stores.append(Shared(inner.another(), ["check/"]))
            return stores[-1]

        store: Any = stores[0]
        await check(Subject(store, another, "check/", clock.run))
        for each in reversed(stores):
            await each.aclose()

    asyncio.run(run())


class Narrow(FlakyStore):
    """
    Attributes:
        denied: A prefix that nobody may watch as a whole.
        slow: Whether it never says how it is.
        asked: How often it was asked how it is.
    """

    denied: str | None = None
    slow = False
    asked = 0

    async def status(self) -> StoreStatus:
        self.asked += 1
        if self.slow:
            await asyncio.Event().wait()
        return await super().status()

    async def _watch(self, prefix: str, after: int, epoch: int, *, exact: bool) -> AsyncIterator[Events]:
        if prefix == self.denied:
            raise StoreDeniedError("not all of it")
        async for events in super()._watch(prefix, after, epoch, exact=exact):
            yield events


class Case:
    """A store in which somebody writes, with watches of all below `base/` that are one."""

    def __init__(self) -> None:
        self.inner = MemoryStore()
        self.flaky = Narrow(self.inner)
        self.store = SharedWatches(self.flaky, [BASE])

    async def put(self, *names: str) -> int:
        return await self.inner.commit([Put(BASE + name, b"") for name in names])

    async def delete(self, name: str) -> int:
        return await self.inner.commit([Delete(BASE + name)])

    async def entry(self, name: str) -> Entry:
        found = await self.inner.get(BASE + name)
        assert found is not None
        return found

    @property
    def begun(self) -> int:
        """How many watches the store has been asked for."""
        return len(self.flaky.watched_after)

    def watching(self, name: str, after: int) -> Watched:
        return Watched(self.store.watch(BASE + name, after))


@pytest_asyncio.fixture
async def case() -> AsyncIterator[Case]:
    yield (made := Case())
    await made.store.aclose()


@pytest.mark.asyncio
class TestManyWatchesOfOneStore:
    async def test_are_one_and_each_tells_its_own(self, case: Case) -> None:
        after = await case.put("a/0")
        async with (
            watching(case.store, f"{BASE}a/", after) as one,
            watching(case.store, f"{BASE}b/", after) as other,
            watching(case.store, f"{BASE}a/1", after, exact=True) as key,
        ):
            last = await case.put("a/1", "b/1", "a/10", "c/1")
            await case.delete("a/0")

            assert shown(await one.changes(3), BASE) == ["+a/1", "+a/10", "-a/0"]
            assert await other.next() == Events(last, (await case.entry("b/1"),))
            assert shown(await key.changes(1), BASE) == ["+a/1"]
            assert case.begun == 1

    async def test_what_has_come_meanwhile_is_told_at_once_up_to_a_bound(
        self, case: Case, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(shared_watch, "MOST_TOGETHER", 3)
        after = await case.put("a/0")
        async with (
            watching(case.store, f"{BASE}a/", after) as busy,
            watching(case.store, f"{BASE}b/", after) as other,
        ):
            revisions = [await case.put(f"a/{number}", f"a/{number}x", "b/0") for number in range(3)]
            last = await case.put("a/3", "b/1")
            await other.changes(4)

            told = [await busy.next() for _ in range(3)]

        assert [each.revision for each in told] == [*revisions[:2], last]
        assert [len(each.changes) for each in told] == [2, 2, 3]

    async def test_what_comes_after_a_waking_waits_for_the_next(
        self, case: Case, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(shared_watch, "GATHERING", 0.1)
        after = await case.put("a/0")
        async with (
            watching(case.store, f"{BASE}a/", after) as busy,
            watching(case.store, f"{BASE}b/", after) as other,
        ):
            last = [await case.put("b/0") for _ in range(2)]
            while (await other.next()).revision < last[0]:
                pass
            revisions = [await case.put("a/1"), await case.put("a/2"), await case.put("a/3")]
            told = [await busy.next()]
            while told[-1].revision < revisions[-1]:
                told.append(await busy.next())

        assert len(told) < len(revisions)

    async def test_end_with_the_last_and_begin_anew(self, case: Case) -> None:
        for round_ in range(1, 3):
            after = (await case.inner.list("")).revision
            async with watching(case.store, f"{BASE}a/", after) as one:
                async with watching(case.store, f"{BASE}b/", after):
                    pass
                await case.put("a/1")
                assert shown(await one.changes(1), BASE) == ["+a/1"]
            assert case.begun == round_
            assert not case.store._shared

    async def test_who_comes_later_is_told_what_is_kept(self, case: Case) -> None:
        after = await case.put("a/0")
        async with watching(case.store, f"{BASE}a/", after) as first:
            await case.put("a/1", "b/1")
            second = await case.put("a/2", "b/2")
            await first.changes(2)

            async with watching(case.store, f"{BASE}b/", after) as late:
                assert shown(await late.changes(2), BASE) == ["+b/1", "+b/2"]
            async with watching(case.store, f"{BASE}b/", second) as later:
                await case.put("b/3")
                assert shown(await later.changes(1), BASE) == ["+b/3"]
            assert case.begun == 1

    async def test_who_is_behind_what_is_kept_catches_up_alone(
        self, case: Case, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(shared_watch, "MOST_KEPT", 2)
        after = await case.put("a/0")
        async with watching(case.store, f"{BASE}a/", after) as first:
            for number in range(1, 5):
                await case.put(f"a/{number}", f"b/{number}")
            await first.changes(4)

            async with watching(case.store, f"{BASE}b/", after) as late:
                assert shown(await late.changes(4), BASE) == ["+b/1", "+b/2", "+b/3", "+b/4"]
                await case.put("b/5")
                assert shown(await late.changes(1), BASE) == ["+b/5"]
                await case.put("b/6")
                assert shown(await late.changes(1), BASE) == ["+b/6"]
            assert case.begun == 2

    async def test_who_may_not_read_all_watches_alone(self, case: Case) -> None:
        case.flaky.denied = BASE
        after = await case.put("a/0")

        async with (
            watching(case.store, f"{BASE}a/", after) as one,
            watching(case.store, f"{BASE}b/", after) as other,
        ):
            await case.put("a/1", "b/1")

            assert shown(await one.changes(1), BASE) == ["+a/1"]
            assert shown(await other.changes(1), BASE) == ["+b/1"]
            assert case.begun == 2

    async def test_what_breaks_is_told_to_all_after_what_came_before(self, case: Case) -> None:
        after = await case.put("a/0")
        async with (
            watching(case.store, f"{BASE}a/", after) as one,
            watching(case.store, f"{BASE}b/", after) as other,
        ):
            last = await case.put("a/1")
            assert shown(await one.changes(1), BASE) == ["+a/1"]
            case.flaky.break_watches(StoreUnavailableError("gone"))

            assert await other.next() == Events(last), "so that it goes on there, though nothing came"
            for each in (one, other):
                with pytest.raises(StoreUnavailableError, match="gone"):
                    await each.changes(1)
        async with watching(case.store, f"{BASE}a/", last) as again:
            await case.put("a/2")
            assert shown(await again.changes(1), BASE) == ["+a/2"]

    async def test_what_was_forgotten_hits_only_those_who_have_not_heard_it(self, case: Case) -> None:
        after = await case.put("a/0")
        later = await case.put("a/1")
        await case.inner.compact(later)
        early, ahead = case.watching("b/", after - 1), case.watching("a/", later)
        steps = [asyncio.create_task(each.next()) for each in (early, ahead)]
        await asyncio.wait(steps)

        assert isinstance(steps[0].exception(), CompactedError)
        assert steps[1].result() == Events(later)
        await case.put("a/2")
        assert shown(await ahead.changes(1), BASE) == ["+a/2"]
        await ahead.close()

    async def test_another_store_is_told_to_those_who_begin_too(self, case: Case) -> None:
        after = await case.put("a/0")
        async with watching(case.store, f"{BASE}a/", after) as one:
            late = case.watching("b/", after)
            case.flaky.inner = MemoryStore()
            with pytest.raises(OtherStoreError):
                await case.flaky.status()
            case.flaky.break_watches(OtherStoreError("another store answers"))
            with pytest.raises(OtherStoreError):
                await one.changes(1)

            with pytest.raises(OtherStoreError):
                await late.next()

    async def test_nothing_is_asked_for_while_readers_are_full_and_nobody_is_waited_for_for_ever(
        self, case: Case, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(shared_watch, "MOST_WAITING", 4)
        after = await case.put("a/0")
        async with (
            watching(case.store, f"{BASE}a/", after) as slow,
            watching(case.store, f"{BASE}b/", after) as quick,
        ):
            for number in range(1, 10):
                await case.put(f"a/{number}")
            await asyncio.sleep(0.01)
            held = case.store._shared[BASE].waiting
            assert held == 5

            monkeypatch.setattr(shared_watch, "PATIENCE", 0.0)
            await case.put("b/1")
            assert shown(await slow.changes(9), BASE) == [f"+a/{number}" for number in range(1, 10)]
            assert shown(await quick.changes(1), BASE) == ["+b/1"]

    async def test_keys_elsewhere_have_watches_of_their_own(self, case: Case) -> None:
        after = await case.put("a/0")
        async with watching(case.store, "other/", after) as elsewhere:
            await case.inner.commit([Put("other/1", b"")])
            assert shown(await elsewhere.changes(1), "") == ["+other/1"]
        assert not case.store._shared

    async def test_who_asks_how_it_is_at_the_same_time_has_one_answer(self, case: Case) -> None:
        first, second = (asyncio.create_task(case.store.status()) for _ in range(2))
        await asyncio.sleep(0)
        first.cancel()

        assert (await second).revision == (await case.inner.status()).revision
        assert case.flaky.asked == 1
        await case.put("a/0")
        assert (await case.store.status()).revision == (await case.inner.status()).revision
        assert case.flaky.asked == 2

    async def test_a_question_that_nobody_waits_for_any_more_is_not_asked(self, case: Case) -> None:
        case.flaky.slow = True
        askers = [asyncio.create_task(case.store.status()) for _ in range(2)]
        await asyncio.sleep(0)
        for each in askers:
            each.cancel()
        await asyncio.wait(askers)

        assert case.store._asked is not None
        assert case.store._asked.cancelled()


@pytest.mark.asyncio
async def test_whoever_has_taken_already_what_he_is_woken_for_waits_for_more(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    coming: asyncio.Queue[Events] = asyncio.Queue()
    woken = asyncio.Event()
    wake = SharedWatch._wake

    class Source(MemoryStore):
        async def watch(self, prefix: str, after: int, *, exact: bool = False) -> AsyncIterator[Events]:
            while True:
                yield await coming.get()

    def noted(watch: SharedWatch) -> None:
        wake(watch)
        woken.set()

    def change(revision: int) -> Events:
        return Events(revision, (Entry("a", b"", revision),))

    monkeypatch.setattr(SharedWatch, "_wake", noted)
    told = SharedWatch(Source(), "", 0, lambda *_: None).part(Part("a", exact=True), 0)
    coming.put_nowait(Events(0))
    assert await anext(told) == Events(0)
    coming.put_nowait(change(1))
    coming.put_nowait(change(2))
    assert await anext(told) == Events(2, (*change(1).changes, *change(2).changes))

    woken.clear()
    more = asyncio.ensure_future(anext(told))
    await woken.wait()
    coming.put_nowait(change(3))

    assert await more == change(3)
    await told.aclose()
