"""
One who follows a prefix, and holds what he is told against what may be told.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from random import Random
from types import TracebackType
from typing import Self

from fleetmesh.errors import OtherStoreError, StoreError
from fleetmesh.state.clock import Clock
from fleetmesh.state.following import Update, follow
from fleetmesh.state.store import Entry, Store


class Follower:
    """
    Attributes:
        there: What he knows, by key.
        updates: All that he was told.
        deleted: Keys that he was told are gone, in order.
    """

    def __init__(
        self, store: Store, prefix: str, clock: Clock, seed: int = 0, *, exact: bool = False
    ) -> None:
        self.there: dict[str, Entry] = {}
        self.updates: list[Update] = []
        self.deleted: list[str] = []
        self._source = follow(store, prefix, clock=clock, exact=exact, random=Random(seed))
        self._news = asyncio.Event()

    async def __aenter__(self) -> Self:
        self._task = asyncio.create_task(self._run())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._task.cancel()
        await asyncio.wait([self._task])
        await self._source.aclose()
        if not self._task.cancelled():
            self._task.result()

    async def _run(self) -> None:
        async for update in self._source:
            self.take(update)
            self._news.set()

    def take(self, update: Update) -> None:
        put = {entry.key: entry for entry in update.puts}
        assert len(put) == len(update.puts), "a key is put twice in one update"
        assert put.keys().isdisjoint(update.deletes)
        assert len(update.puts) + len(update.deletes) < 1_200
        for key in update.deletes:
            del self.there[key]  # raises for one that was not known
        if not any(isinstance(trouble, OtherStoreError) for trouble in self.troubles):
            assert not any(entry == self.there.get(key) for key, entry in put.items()), "nothing new"
        self.there |= put
        self.updates.append(update)
        self.deleted += update.deletes

    async def until(self, ready: Callable[[], bool]) -> None:
        """Return when `ready()` holds, which is asked after every update."""
        while not ready():
            assert not self._task.done()
            self._news.clear()
            await self._news.wait()

    @property
    def ended(self) -> bool:
        return self._task.done()

    @property
    def listed(self) -> int:
        return sum(update.listed for update in self.updates)

    @property
    def connected(self) -> bool:
        return self.updates[-1].connected

    @property
    def troubles(self) -> list[StoreError]:
        return [update.trouble for update in self.updates if update.trouble is not None]
