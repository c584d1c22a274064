"""What waits for being written: order, coalescing, and whoever waits for it."""

from __future__ import annotations

import asyncio

from doubles.loops import in_loop
from fleetmesh.state.change_queue import ChangeQueue


def order(queue: ChangeQueue[int]) -> list[tuple[str, int]]:
    return [(each.key, each.wanted) for each in queue.first(100)]


def test_the_oldest_comes_first_and_a_key_stands_there_once_with_its_last_value() -> None:
    queue = ChangeQueue[int]()
    queue.put("a", 1)
    queue.put("b", 2)
    queue.put("a", 3)

    assert order(queue) == [("a", 3), ("b", 2)]
    assert len(queue) == 2
    assert [each.key for each in queue.first(1)] == ["a"]


def test_a_key_that_is_put_last_stands_behind_all_others() -> None:
    queue = ChangeQueue[int]()
    queue.put("mark", 0)
    queue.put("a", 1)
    queue.put("mark", 2, last=True)

    assert order(queue) == [("a", 1), ("mark", 2)]


def test_a_key_that_changes_while_it_is_written_is_written_again_behind_the_others() -> None:
    queue = ChangeQueue[int]()
    queue.put("a", 1)
    queue.put("b", 2)
    taken = queue.first(1)
    queue.put("a", 3)

    queue.done(taken)

    assert order(queue) == [("b", 2), ("a", 3)]


def test_what_is_done_waits_no_more() -> None:
    queue = ChangeQueue[int]()
    queue.put("a", 1)

    queue.done(queue.first(1))

    assert len(queue) == 0
    assert "a" not in queue


@in_loop
async def test_a_flush_waits_for_what_was_given_before_it_and_for_no_more() -> None:
    queue = ChangeQueue[int]()
    queue.put("a", 1)
    queue.put("b", 2)
    flush = asyncio.ensure_future(queue.flushed())
    await asyncio.sleep(0)
    queue.put("c", 3)

    queue.done(queue.first(1))
    await asyncio.sleep(0)
    assert not flush.done()
    queue.done(queue.first(1))
    await asyncio.sleep(0)

    assert flush.done()
    assert order(queue) == [("c", 3)]


@in_loop
async def test_a_key_that_never_stops_changing_does_not_hold_up_a_flush() -> None:
    queue = ChangeQueue[int]()
    queue.put("a", 1)
    flush = asyncio.ensure_future(queue.flushed())
    await asyncio.sleep(0)
    taken = queue.first(1)
    queue.put("a", 2)

    queue.done(taken)
    await asyncio.sleep(0)

    assert flush.done()
    assert order(queue) == [("a", 2)]


@in_loop
async def test_a_flush_of_nothing_returns_at_once_and_clearing_ends_it() -> None:
    queue = ChangeQueue[int]()
    await queue.flushed()
    queue.put("a", 1)
    flush = asyncio.ensure_future(queue.flushed())
    await asyncio.sleep(0)

    queue.clear()
    await flush

    assert order(queue) == []


@in_loop
async def test_a_flush_that_nobody_waits_for_any_more_is_forgotten() -> None:
    queue = ChangeQueue[int]()
    queue.put("a", 1)
    flush = asyncio.ensure_future(queue.flushed())
    await asyncio.sleep(0)
    flush.cancel()
    await asyncio.wait([flush])

    queue.done(queue.first(1))

    assert flush.cancelled()
