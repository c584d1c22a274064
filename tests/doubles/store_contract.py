"""
What every store keeps: one list of checks, which the tests of each store run.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import attrs
import pytest

from fleetmesh.errors import (
    CompactedError,
    LeaseLostError,
    OtherStoreError,
    StoreClosedError,
    StoreConflictError,
)
from fleetmesh.state.etcd import EtcdStore
from fleetmesh.state.memory import MemoryStore
from fleetmesh.state.store import Delete, Entry, Events, Listing, Operation, Put, Store, Unchanged


@attrs.frozen
class Subject:
    """
    The store of a check, where other checks may have left keys of other prefixes.

    Attributes:
        another: Makes another client of the same data.
        prefix: That nobody else has keys of.
        let_pass: Lets seconds go by; for a store with a clock of its own, at once.
    """

    store: MemoryStore | EtcdStore
    another: Callable[[], MemoryStore | EtcdStore]
    prefix: str
    let_pass: Callable[[float], Awaitable[None]]

    def key(self, name: str) -> str:
        return self.prefix + name

    async def put(self, *names: str, value: bytes = b"") -> int:
        return await self.store.commit([Put(self.key(name), value) for name in names])

    async def names(self) -> list[str]:
        found = await self.store.list(self.prefix)
        return [each.key.removeprefix(self.prefix) for each in found.entries]

    async def revision(self) -> int:
        return (await self.store.list(self.prefix)).revision


Check = Callable[[Subject], Awaitable[None]]
CHECKS: list[Check] = []


def check(function: Check) -> Check:
    CHECKS.append(function)
    return function


@asynccontextmanager
async def watching(store: Store, prefix: str, after: int, *, exact: bool = False) -> AsyncIterator[Watched]:
    """A watch that stands."""
    watched = Watched(store.watch(prefix, after, exact=exact))
    mark = await watched.next()
    assert mark == Events(after), "a watch says first that it stands"
    try:
        yield watched
    finally:
        await watched.close()


class Watched:
    """What a watch tells, step by step."""

    def __init__(self, source: AsyncIterator[Events]) -> None:
        self.source = source
        self.revisions: list[int] = []

    async def next(self) -> Events:
        events = await anext(self.source)
        self.revisions.append(events.revision)
        return events

    async def changes(self, count: int) -> list[Entry | Delete]:
        """The next ones, marks left out."""
        found: list[Entry | Delete] = []
        while len(found) < count:
            found += (await self.next()).changes
        return found

    async def close(self) -> None:
        assert self.revisions == sorted(self.revisions)
        close = getattr(self.source, "aclose")  # noqa: B009  # an iterator need not have it; these have
        await close()


def shown(changes: list[Entry | Delete], prefix: str) -> list[str]:
    """`+name` for what was written, `-name` for what was deleted."""
    return [("+" if isinstance(each, Entry) else "-") + each.key.removeprefix(prefix) for each in changes]


# Reading and writing.


@check
async def what_was_written_is_there_with_its_revision(subject: Subject) -> None:
    key = subject.key("a")
    assert await subject.store.get(key) is None

    first = await subject.put("a", value=b"1")
    second = await subject.put("a", value=b"2")

    assert second == first + 1
    assert await subject.store.get(key) == Entry(key, b"2", second)


@check
async def values_are_any_bytes(subject: Subject) -> None:
    values = {"empty": b"", "binary": bytes(range(256)), "large": b"x" * 1_000_000}
    for name, value in values.items():
        await subject.put(name, value=value)

    for name, value in values.items():
        entry = await subject.store.get(subject.key(name))
        assert entry is not None
        assert entry.value == value


@check
async def keys_that_are_no_utf_8_come_back_as_they_were(subject: Subject) -> None:
    names = ["é", "\udcff", "a\udc80b", "\uffff"]
    await subject.put(*names)

    # By their bytes: 61.., c3a9, efbfbf, ff.
    assert await subject.names() == ["a\udc80b", "é", "\uffff", "\udcff"]
    assert await subject.store.get(subject.key("\udcff")) is not None


@check
async def a_transaction_is_one_revision(subject: Subject) -> None:
    before = await subject.put("old")

    revision = await subject.store.commit(
        [Put(subject.key("b"), b""), Delete(subject.key("old")), Put(subject.key("a"), b"")]
    )

    assert revision == before + 1
    listing = await subject.store.list(subject.prefix)
    assert [(each.key, each.revision) for each in listing.entries] == [
        (subject.key("a"), revision),
        (subject.key("b"), revision),
    ]


@check
async def deleting_what_is_not_there_changes_nothing(subject: Subject) -> None:
    before = await subject.put("a")

    assert await subject.store.commit([Delete(subject.key("none"))]) == before
    assert await subject.store.commit([]) == before
    assert await subject.names() == ["a"]


@check
async def a_condition_that_holds_lets_a_transaction_through(subject: Subject) -> None:
    revision = await subject.put("there")
    conditions = [Unchanged(subject.key("there"), revision), Unchanged(subject.key("none"), 0)]

    await subject.store.commit([Put(subject.key("new"), b"")], only_if=conditions)

    assert await subject.names() == ["new", "there"]


@check
async def a_condition_that_does_not_hold_stops_all_of_it(subject: Subject) -> None:
    old = await subject.put("there")
    await subject.put("there")
    operations: list[Operation] = [Put(subject.key("new"), b""), Delete(subject.key("there"))]

    for wrong in (Unchanged(subject.key("there"), old), Unchanged(subject.key("there"), 0)):
        with pytest.raises(StoreConflictError, match="there"):
            await subject.store.commit(operations, only_if=[Unchanged(subject.key("none"), 0), wrong])
    with pytest.raises(StoreConflictError):
        await subject.store.commit(operations, only_if=[Unchanged(subject.key("none"), old)])

    assert await subject.names() == ["there"]


@check
async def a_transaction_of_a_hundred_goes_and_a_larger_one_is_refused(subject: Subject) -> None:
    await subject.put(*[f"{number:03}" for number in range(100)])
    assert len(await subject.names()) == 100

    with pytest.raises(ValueError, match="101 operations"):
        await subject.put(*[f"{number:03}" for number in range(101)])


@check
async def a_key_twice_or_empty_in_a_transaction_is_refused(subject: Subject) -> None:
    key = subject.key("a")
    with pytest.raises(ValueError, match="stands twice"):
        await subject.store.commit([Put(key, b""), Delete(key)])
    with pytest.raises(ValueError, match="empty"):
        await subject.store.commit([Put("", b"")])

    assert await subject.names() == []


# Listing.


@check
async def a_list_has_all_of_a_prefix_and_nothing_beside_it(subject: Subject) -> None:
    inside = [f"in/{number:04}" for number in range(40)]
    await subject.put("in", "in.", "in0", *inside)

    found = await subject.store.list(subject.key("in/"))

    assert [each.key for each in found.entries] == [subject.key(name) for name in inside]
    assert len(await subject.names()) == 43


@check
async def an_empty_prefix_still_has_a_page_with_a_revision(subject: Subject) -> None:
    revision = await subject.put("a")

    pages = [page async for page in subject.store.pages(subject.key("none/"))]

    assert pages == [Listing(revision, ())]


@check
async def all_pages_are_of_the_revision_of_the_first(subject: Subject) -> None:
    names = [f"{number:04}" for number in range(1500)]
    for begin in range(0, len(names), 100):
        await subject.put(*names[begin : begin + 100])
    revision = await subject.revision()
    found: list[str] = []
    pages = 0

    async for page in subject.store.pages(subject.prefix):
        assert page.revision == revision
        pages += 1
        found += (each.key.removeprefix(subject.prefix) for each in page.entries)
        await subject.store.commit(
            [
                Put(subject.key(f"1499-{pages}"), b""),
                Delete(subject.key("1490")),
                Put(subject.key("1491"), b""),
            ]
        )

    assert found == names
    assert pages > 1
    assert "1490" not in await subject.names()


@check
async def the_pages_of_one_key_are_one_with_it_alone(subject: Subject) -> None:
    await subject.put("a", "ab", "a/b", "b")
    revision = await subject.put("a", value=b"1")

    for name, there in (("a", (Entry(subject.key("a"), b"1", revision),)), ("none", ())):
        pages = [page async for page in subject.store.pages(subject.key(name), exact=True)]
        assert pages == [Listing(revision, there)]


@check
async def pages_of_a_revision_that_is_compacted_meanwhile_say_so(subject: Subject) -> None:
    for begin in range(0, 1500, 100):
        await subject.put(*[f"{number:04}" for number in range(begin, begin + 100)])
    pages = subject.store.pages(subject.prefix)
    await anext(pages)
    await subject.put("0000")
    await subject.store.compact(await subject.put("0000"))

    with pytest.raises(CompactedError):
        async for _ in pages:
            pass


# Watching.


@check
async def a_watch_of_one_key_tells_of_no_other_that_begins_with_it(subject: Subject) -> None:
    before = await subject.put("a")
    await subject.put("ab", "a/b", "b")
    written = await subject.put("a", "ab", value=b"1")

    async with watching(subject.store, subject.key("a"), before, exact=True) as watched:
        assert await watched.changes(1) == [Entry(subject.key("a"), b"1", written)]
        await subject.put("ab")
        await subject.store.commit([Delete(subject.key("a")), Delete(subject.key("ab"))])
        assert await watched.changes(1) == [Delete(subject.key("a"))]


@check
async def a_watch_tells_what_happened_and_what_happens(subject: Subject) -> None:
    before = await subject.put("before")
    await subject.put("a", value=b"1")
    await subject.store.commit([Delete(subject.key("before"))])

    async with watching(subject.store, subject.prefix, before) as watched:
        revision = await subject.put("b", value=b"2")
        changes = await watched.changes(3)

    assert shown(changes, subject.prefix) == ["+a", "-before", "+b"]
    assert changes[0] == Entry(subject.key("a"), b"1", before + 1)
    assert changes[2] == Entry(subject.key("b"), b"2", revision)


@check
async def a_revision_is_told_in_one_piece_and_in_order(subject: Subject) -> None:
    before = await subject.put("old")
    async with watching(subject.store, subject.prefix, before) as watched:
        revision = await subject.store.commit(
            [Put(subject.key("b"), b""), Delete(subject.key("old")), Put(subject.key("a"), b"")]
        )
        events = await watched.next()

    assert events.revision == revision
    assert shown(list(events.changes), subject.prefix) == ["+b", "-old", "+a"]


@check
async def a_revision_of_the_past_is_told_in_one_piece_too(subject: Subject) -> None:
    before = await subject.revision()
    revisions = [await subject.put("a", "b"), await subject.put("b", "c")]

    async with watching(subject.store, subject.prefix, before) as watched:
        told = [await watched.next()]
        while told[-1].revision < revisions[-1]:
            told.append(await watched.next())

    changes = [each for events in told for each in events.changes]
    assert shown(changes, subject.prefix) == ["+a", "+b", "+b", "+c"]
    assert [each.revision for each in told] in ([revisions[1]], revisions)


@check
async def a_watch_tells_only_of_its_prefix(subject: Subject) -> None:
    before = await subject.revision()
    async with watching(subject.store, subject.key("in/"), before) as watched:
        await subject.put("in", "in/a", "in0", "other/in/b")
        await subject.put("out")
        await subject.put("in/b")
        changes = await watched.changes(2)

    assert shown(changes, subject.prefix) == ["+in/a", "+in/b"]


@check
async def the_same_value_again_is_a_change(subject: Subject) -> None:
    before = await subject.put("a", value=b"same")
    async with watching(subject.store, subject.prefix, before) as watched:
        revision = await subject.put("a", value=b"same")
        assert await watched.changes(1) == [Entry(subject.key("a"), b"same", revision)]


@check
async def many_watches_hear_many_writers_in_the_order_of_revisions(subject: Subject) -> None:
    before = await subject.revision()
    async with (
        watching(subject.store, subject.prefix, before) as first,
        watching(subject.another(), subject.prefix, before) as second,
    ):
        await asyncio.gather(*(subject.put(f"{number:02}") for number in range(50)))
        told = [await watched.changes(50) for watched in (first, second)]

    assert told[0] == told[1]
    revisions = [each.revision for each in told[0] if isinstance(each, Entry)]
    assert revisions == sorted(set(revisions))
    assert len(revisions) == 50


@check
async def a_watch_that_goes_on_leaves_nothing_out_and_tells_nothing_twice(subject: Subject) -> None:
    told: list[Entry | Delete] = []
    revision = await subject.revision()
    for number in range(5):
        async with watching(subject.store, subject.prefix, revision) as watched:
            await subject.put(f"{number}a", f"{number}b")
            told += await watched.changes(2 if number == 0 else 4)
            revision = watched.revisions[-1]
        await subject.put(f"{number}c", f"{number}d")

    names = [f"+{number}{letter}" for number in range(5) for letter in "abcd"]
    assert shown(told, subject.prefix) == names[:-2]


@check
async def a_watch_from_before_a_compaction_says_so(subject: Subject) -> None:
    old = await subject.put("a")
    await subject.put("a")
    compacted = await subject.put("a")
    await subject.store.compact(compacted)

    with pytest.raises(CompactedError) as caught:
        async with watching(subject.store, subject.prefix, old) as watched:
            await watched.next()

    assert caught.value.compacted == compacted


@check
async def a_compaction_does_not_touch_a_watch_that_is_up_to_date(subject: Subject) -> None:
    before = await subject.revision()
    async with watching(subject.store, subject.prefix, before) as watched:
        await subject.put("a")
        await watched.changes(1)
        await subject.store.compact(await subject.put("b"))
        assert shown(await watched.changes(1), subject.prefix) == ["+b"]
    assert await subject.names() == ["a", "b"]


@check
async def compacting_twice_is_told(subject: Subject) -> None:
    revision = await subject.put("a")
    await subject.store.compact(revision)
    with pytest.raises(CompactedError):
        await subject.store.compact(revision)


@check
async def a_revision_that_is_still_to_come_is_of_another_store(subject: Subject) -> None:
    revision = await subject.revision()
    with pytest.raises(OtherStoreError, match=str(revision)):
        async with watching(subject.store, subject.prefix, revision + 1000):
            pass


@check
async def a_watch_that_is_left_leaves_no_task(subject: Subject) -> None:
    await subject.put("a")
    before = asyncio.all_tasks()
    async with watching(subject.store, subject.prefix, 0):
        pass
    waiting = asyncio.create_task(_first_change(subject.store, subject.key("none/")))
    await asyncio.sleep(0.05)
    waiting.cancel()
    await asyncio.wait([waiting])

    assert waiting.cancelled()
    assert asyncio.all_tasks() <= before
    assert await subject.names() == ["a"]


async def _first_change(store: Store, prefix: str) -> Events:
    after = (await store.status()).revision
    async with watching(store, prefix, after) as watched:
        while not (events := await watched.next()).changes:
            pass
        return events


# Leases.


@check
async def a_key_with_a_lease_names_it(subject: Subject) -> None:
    lease = await subject.store.grant(60)
    await subject.store.commit([Put(subject.key("a"), b"", lease.id)])

    entry = await subject.store.get(subject.key("a"))

    assert entry is not None
    assert entry.lease == lease.id != 0
    assert lease.ttl >= 60
    await lease.revoke()


@check
async def a_lease_that_is_revoked_takes_its_keys_along_in_one_revision(subject: Subject) -> None:
    lease, other = await subject.store.grant(60), await subject.store.grant(60)
    await subject.store.commit(
        [
            Put(subject.key("b"), b"", lease.id),
            Put(subject.key("a"), b"", lease.id),
            Put(subject.key("c"), b""),
        ]
    )
    before = await subject.store.commit([Put(subject.key("d"), b"", other.id)])

    async with watching(subject.store, subject.prefix, before) as watched:
        await lease.revoke()
        events = await watched.next()

    assert events.revision == before + 1
    assert sorted(shown(list(events.changes), subject.prefix)) == ["-a", "-b"]
    assert await subject.names() == ["c", "d"]
    await lease.revoke()
    await other.revoke()


@check
async def a_key_goes_with_the_lease_that_it_was_written_with_last(subject: Subject) -> None:
    first, second = await subject.store.grant(60), await subject.store.grant(60)
    names = ["kept", "moved", "stays"]
    await subject.store.commit([Put(subject.key(name), b"", first.id) for name in names])
    await subject.store.commit([Put(subject.key("kept"), b""), Put(subject.key("moved"), b"", second.id)])

    await first.revoke()
    assert await subject.names() == ["kept", "moved"]
    await second.revoke()
    assert await subject.names() == ["kept"]


@check
async def a_lease_that_is_not_there_stops_all_of_a_transaction(subject: Subject) -> None:
    lease = await subject.store.grant(60)
    await lease.revoke()

    with pytest.raises(LeaseLostError):
        await subject.store.commit([Put(subject.key("a"), b""), Put(subject.key("b"), b"", lease.id)])

    assert await subject.names() == []


@check
async def a_lease_of_no_time_is_refused(subject: Subject) -> None:
    for ttl in (0.0, -1.0, float("nan")):
        with pytest.raises(ValueError, match="above zero"):
            await subject.store.grant(ttl)


@check
async def a_lease_that_somebody_takes_away_is_lost(subject: Subject) -> None:
    lease = await subject.store.grant(2)
    await subject.store.commit([Put(subject.key("a"), b"", lease.id)])
    lost = asyncio.create_task(lease.lost())

    await subject.another().revoke(lease.id)
    await subject.let_pass(2)
    await lost

    assert await subject.names() == []
    await lease.revoke()


@check
async def a_lease_that_its_holder_ends_is_not_lost(subject: Subject) -> None:
    lease = await subject.store.grant(2)
    lost = asyncio.create_task(lease.lost())
    await lease.revoke()
    await asyncio.sleep(0)
    await asyncio.sleep(0)

    assert not lost.done()
    lost.cancel()


@check
async def a_lease_lives_as_long_as_its_store_is_open_and_its_time_longer(subject: Subject) -> None:
    gone = subject.another()
    kept, left = await subject.store.grant(2), await gone.grant(2)
    await subject.store.commit([Put(subject.key("kept"), b"", kept.id)])
    before = await gone.commit([Put(subject.key("left"), b"", left.id)])

    async with watching(subject.store, subject.prefix, before) as watched:
        await gone.aclose()
        assert await subject.names() == ["kept", "left"]
        await subject.let_pass(left.ttl)
        # Both were granted together: what keeps one is that somebody is there.
        assert shown(await watched.changes(1), subject.prefix) == ["-left"]

    assert await subject.names() == ["kept"]
    await kept.revoke()


# The store.


@check
async def its_status_says_which_it_is_and_how_far(subject: Subject) -> None:
    revision = await subject.put("a")

    status, other = await subject.store.status(), await subject.another().status()

    assert status.revision == revision
    assert status.store_id == other.store_id != ""
    assert status.version
    assert status.has_leader
    assert status.alarms == ()


@check
async def one_that_is_closed_ends_its_watches_and_does_nothing_more(subject: Subject) -> None:
    store = subject.another()
    before = await subject.put("a")
    watch = store.watch(subject.prefix, before)
    assert await anext(watch) == Events(before)
    rest = asyncio.create_task(_all(watch))
    await asyncio.sleep(0)

    await store.aclose()
    await store.aclose()

    assert await rest == []

    async def pages() -> None:
        await anext(store.pages(subject.prefix))

    async def watch_again() -> None:
        await anext(store.watch(subject.prefix, before))

    for asked in (
        store.get("a"),
        store.list(subject.prefix),
        pages(),
        watch_again(),
        store.commit([]),
        store.grant(60),
        store.status(),
    ):
        with pytest.raises(StoreClosedError, match="closed"):
            await asked
    assert await subject.names() == ["a"]


async def _all(watch: AsyncIterator[Events]) -> list[Events]:
    return [events async for events in watch if events.changes]


@check
async def a_call_that_is_cancelled_leaves_no_task_and_a_store_that_works(subject: Subject) -> None:
    before = asyncio.all_tasks()
    for _ in range(5):
        call = asyncio.create_task(subject.store.get(subject.key("a")))
        await asyncio.sleep(0)
        call.cancel()
        await asyncio.wait([call])
        assert call.cancelled()

    assert asyncio.all_tasks() <= before
    await subject.put("a")
    assert await subject.names() == ["a"]
