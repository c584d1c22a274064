"""
A store that fails when a test says so.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence

from fleetmesh.errors import StoreError
from fleetmesh.state.memory import MemoryLease, MemoryStore
from fleetmesh.state.store import Entry, Events, Listing, Operation, StoreStatus, Unchanged


class FlakyStore:
    """
    Passes everything on, until it is told to fail.

    Attributes:
        inner: The store behind it; another one can take its place.
        trouble: What every call raises, and every watch within it; `None`: nothing.
        pages_left: How many more pages there are until a list breaks with `broken_list`.
        watched_after: The revision of each watch that began.
        lists: How many lists began.
    """

    def __init__(self, inner: MemoryStore) -> None:
        self.inner = inner
        self.trouble: StoreError | None = None
        self.pages_left: int | None = None
        self.broken_list: StoreError | None = None
        self.watched_after: list[int] = []
        self.lists = 0
        self._breaks: set[asyncio.Future[StoreError]] = set()

    def fail(self, trouble: StoreError) -> None:
        """From now on, until `heal`."""
        self.trouble = trouble
        self.break_watches(trouble)

    def heal(self) -> None:
        self.trouble = None

    def break_watches(self, trouble: StoreError) -> None:
        """Those that there are; new ones may begin."""
        for each in self._breaks:
            if not each.done():
                each.set_result(trouble)

    def break_list(self, trouble: StoreError, after_pages: int) -> None:
        """The next one, once."""
        self.pages_left, self.broken_list = after_pages, trouble

    def _check(self) -> None:
        if self.trouble is not None:
            raise self.trouble

    async def get(self, key: str) -> Entry | None:
        self._check()
        return await self.inner.get(key)

    async def pages(self, prefix: str) -> AsyncIterator[Listing]:
        self._check()
        self.lists += 1
        async for page in self.inner.pages(prefix):
            self._check()
            if self.pages_left is not None and self.broken_list is not None:
                if self.pages_left == 0:
                    self.pages_left = None
                    raise self.broken_list
                self.pages_left -= 1
            yield page

    async def list(self, prefix: str) -> Listing:
        self._check()
        return await self.inner.list(prefix)

    async def watch(self, prefix: str, after: int) -> AsyncIterator[Events]:
        self._check()
        self.watched_after.append(after)
        source = self.inner.watch(prefix, after)
        broken: asyncio.Future[StoreError] = asyncio.get_running_loop().create_future()
        self._breaks.add(broken)
        step: asyncio.Task[Events | None] | None = None
        try:
            while True:
                step = asyncio.create_task(_next(source))
                await asyncio.wait((step, broken), return_when=asyncio.FIRST_COMPLETED)
                if broken.done():
                    raise broken.result()
                events = step.result()
                if events is None:
                    return
                yield events
        finally:
            self._breaks.discard(broken)
            if step is not None:
                step.cancel()
                await asyncio.wait([step])
            close = getattr(source, "aclose")  # noqa: B009  # an iterator need not have it; this one has
            await close()

    async def commit(self, operations: Sequence[Operation], *, only_if: Sequence[Unchanged] = ()) -> int:
        self._check()
        return await self.inner.commit(operations, only_if=only_if)

    async def grant(self, ttl: float) -> MemoryLease:
        self._check()
        return await self.inner.grant(ttl)

    async def status(self) -> StoreStatus:
        self._check()
        return await self.inner.status()

    async def aclose(self) -> None:
        await self.inner.aclose()


async def _next(source: AsyncIterator[Events]) -> Events | None:
    return await anext(source, None)
