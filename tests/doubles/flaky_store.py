"""
A store that fails when a test says so, and whose place another one may take, as etcd's servers may be
replaced.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence

from fleetmesh.errors import OtherStoreError, StoreError
from fleetmesh.state.memory import MemoryLease, MemoryStore
from fleetmesh.state.store import Entry, Events, Listing, Operation, StoreStatus, Unchanged


class FlakyStore:
    """
    Passes everything on, until it is told to fail.

    Attributes:
        inner: The store behind it; another one can take its place, which the next answer finds out.
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
        self._known = inner
        self._epoch = 0
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

    def _check(self) -> MemoryStore:
        if self.trouble is not None:
            raise self.trouble
        return self.inner

    def _recognize(self, inner: MemoryStore, epoch: int | None = None) -> None:
        """As `EtcdStore` does with each answer: what began with one store does not go on with another."""
        if inner is not self._known:
            self._known = inner
            self._epoch += 1
            raise OtherStoreError("another store answers")
        if epoch is not None and epoch != self._epoch:
            raise OtherStoreError("another store answers since")

    async def get(self, key: str) -> Entry | None:
        inner = self._check()
        found = await inner.get(key)
        self._recognize(inner)
        return found

    def pages(self, prefix: str, *, exact: bool = False) -> AsyncIterator[Listing]:
        return self._pages(prefix, self._epoch, exact=exact)

    async def _pages(self, prefix: str, epoch: int, *, exact: bool) -> AsyncIterator[Listing]:
        inner = self._check()
        self.lists += 1
        async for page in inner.pages(prefix, exact=exact):
            self._check()
            self._recognize(inner, epoch)
            if self.pages_left is not None and self.broken_list is not None:
                if self.pages_left == 0:
                    self.pages_left = None
                    raise self.broken_list
                self.pages_left -= 1
            yield page

    async def list(self, prefix: str) -> Listing:
        inner = self._check()
        found = await inner.list(prefix)
        self._recognize(inner)
        return found

    def watch(self, prefix: str, after: int, *, exact: bool = False) -> AsyncIterator[Events]:
        return self._watch(prefix, after, self._epoch, exact=exact)

    async def _watch(self, prefix: str, after: int, epoch: int, *, exact: bool) -> AsyncIterator[Events]:
        inner = self._check()
        self.watched_after.append(after)
        source = inner.watch(prefix, after, exact=exact)
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
                self._recognize(inner, epoch)
                yield events
        finally:
            self._breaks.discard(broken)
            if step is not None:
                step.cancel()
                await asyncio.wait([step])
            close = getattr(source, "aclose")  # noqa: B009  # an iterator need not have it; this one has
            await close()

    async def commit(self, operations: Sequence[Operation], *, only_if: Sequence[Unchanged] = ()) -> int:
        inner = self._check()
        revision = await inner.commit(operations, only_if=only_if)
        self._recognize(inner)
        return revision

    async def grant(self, ttl: float) -> MemoryLease:
        return await self._check().grant(ttl)

    async def status(self) -> StoreStatus:
        inner = self._check()
        found = await inner.status()
        self._recognize(inner)
        return found

    async def aclose(self) -> None:
        await self.inner.aclose()


async def _next(source: AsyncIterator[Events]) -> Events | None:
    return await anext(source, None)
