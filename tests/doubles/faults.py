"""
A store that fails when a test says so.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import aclosing

from fleetmesh.errors import StoreError
from fleetmesh.state.memory import MemoryStore
from fleetmesh.state.store import Entry, Events, Lease, Listing, Operation, StoreStatus, Unchanged


class FaultyStore:
    """What is behind it goes on; who asks, or watches, gets the error."""

    def __init__(self, inner: MemoryStore) -> None:
        self.inner = inner
        self._error: StoreError | None = None
        self._failed = asyncio.Event()

    def fail(self, error: StoreError) -> None:
        self._error = error
        self._failed.set()

    def heal(self) -> None:
        self._error = None
        self._failed = asyncio.Event()

    def _check(self) -> None:
        if self._error is not None:
            raise self._error

    async def get(self, key: str) -> Entry | None:
        self._check()
        return await self.inner.get(key)

    async def pages(self, prefix: str, *, exact: bool = False) -> AsyncIterator[Listing]:
        self._check()
        async for page in self.inner.pages(prefix, exact=exact):
            yield page
            self._check()

    async def list(self, prefix: str) -> Listing:
        self._check()
        return await self.inner.list(prefix)

    async def watch(self, prefix: str, after: int, *, exact: bool = False) -> AsyncIterator[Events]:
        self._check()
        failed = asyncio.ensure_future(self._failed.wait())
        watch = self.inner.watch(prefix, after, exact=exact)
        async with aclosing(watch) as events:  # type: ignore[type-var]
            while True:
                following = asyncio.ensure_future(anext(events))
                try:
                    await asyncio.wait([following, failed], return_when=asyncio.FIRST_COMPLETED)
                    self._check()
                    yield await following
                finally:
                    if not following.done():
                        following.cancel()
                        await asyncio.wait([following])

    async def commit(self, operations: Sequence[Operation], *, only_if: Sequence[Unchanged] = ()) -> int:
        self._check()
        return await self.inner.commit(operations, only_if=only_if)

    async def grant(self, ttl: float) -> Lease:
        self._check()
        return await self.inner.grant(ttl)

    async def status(self) -> StoreStatus:
        self._check()
        return await self.inner.status()

    async def aclose(self) -> None:
        await self.inner.aclose()
