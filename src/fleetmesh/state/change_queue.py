"""
What waits for being written: each key once, with what was wanted of it last, the oldest first.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Generic, TypeVar

import attrs

T = TypeVar("T")


@attrs.frozen(eq=False)
class Waiting(Generic[T]):
    """
    One key that waits.

    Attributes:
        since: How many changes had been given when it began to wait, itself included.
        wanted: What was given last.
    """

    key: str
    since: int
    wanted: T


class ChangeQueue(Generic[T]):
    """
    A key that changes again while it waits keeps its place and is written once; one that changes while it is
    being written goes to the end. So whoever stands behind a key is written after it.
    """

    def __init__(self) -> None:
        self._waiting: OrderedDict[str, Waiting[T]] = OrderedDict()
        self._given = 0
        self._flushes: list[tuple[int, asyncio.Future[None]]] = []
        self.given = asyncio.Event()

    def __len__(self) -> int:
        return len(self._waiting)

    def __contains__(self, key: str) -> bool:
        return key in self._waiting

    def put(self, key: str, wanted: T, *, last: bool = False) -> None:
        """
        Let a key wait.

        Args:
            last: Behind all others, even if it waits already.
        """
        self._given += 1
        there = None if last else self._waiting.get(key)
        if last:
            self._waiting.pop(key, None)
        self._waiting[key] = Waiting(key, self._given if there is None else there.since, wanted)
        self.given.set()

    def __iter__(self) -> Iterator[str]:
        return iter(self._waiting)

    def wanted(self, key: str) -> T:
        """What is wanted now of a key that waits."""
        return self._waiting[key].wanted

    def first(self, count: int) -> list[Waiting[T]]:
        """Those that have waited longest; they go on waiting until they are `done`."""
        return list(islice(self._waiting.values(), count))

    def done(self, written: Sequence[Waiting[T]]) -> None:
        """They have been written; those that changed meanwhile begin to wait anew."""
        for each in written:
            now = self._waiting.pop(each.key, None)
            if now is not None and now is not each:
                self._given += 1
                self._waiting[each.key] = Waiting(each.key, self._given, now.wanted)
        self._tell()

    def clear(self) -> None:
        """Nothing waits any more."""
        self._waiting.clear()
        self._tell()

    async def flushed(self) -> None:
        """Return when all that has been given so far has been written, or been replaced by what was."""
        if not self._waiting:
            return
        written: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._flushes.append((self._given, written))
        await written

    def _tell(self) -> None:
        oldest = next(iter(self._waiting.values())).since if self._waiting else self._given + 1
        ready = [written for given, written in self._flushes if given < oldest]
        self._flushes = [each for each in self._flushes if each[0] >= oldest]
        for written in ready:
            if not written.done():
                written.set_result(None)
