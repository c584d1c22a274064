"""
One watch for many who follow parts of what it sees.

A store tells each watch by itself: a transaction over the keys of a hundred clusters is a hundred messages,
and a hundred clusters have several hundred watches. In a store that clusters share, those of a kind are one.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import aclosing

from fleetmesh.errors import OtherStoreError, StoreDeniedError
from fleetmesh.state.shared_watch import Part, SharedWatch
from fleetmesh.state.store import Entry, Events, Lease, Listing, Operation, Store, StoreStatus, Unchanged


class SharedWatches:
    """
    A store as it is, but that watches of what begins with a base, such as `cilium/cache/ip/v1/`, are one.

    Who may not read all that begins with a base, or is behind what is kept of it, has a watch of his own.
    """

    def __init__(self, store: Store, bases: Sequence[str]) -> None:
        self._store = store
        self._bases = tuple(bases)
        self._shared: dict[str, SharedWatch] = {}
        self._denied: set[str] = set()
        self._replaced = 0  # how often the store has turned out to be another one
        self._asked: asyncio.Task[StoreStatus] | None = None
        self._asking = 0  # how many wait for that

    def watch(self, prefix: str, after: int, *, exact: bool = False) -> AsyncIterator[Events]:
        """See `Store`."""
        base = next((each for each in self._bases if prefix.startswith(each)), None)
        if base is None:
            return self._store.watch(prefix, after, exact=exact)
        return self._watch(base, Part(prefix, exact), after, self._replaced)

    async def _watch(self, base: str, part: Part, after: int, replaced: int) -> AsyncGenerator[Events, None]:
        stands = False
        while True:
            if replaced != self._replaced:
                raise OtherStoreError("the store has turned out to be another one meanwhile")
            shared = self._join(base, after)
            async with aclosing(
                self._alone(part, after) if shared is None else shared.part(part, after)
            ) as told:
                async for events in told:
                    if events.changes or events.revision > after or not stands:
                        yield events
                    stands, after = True, max(after, events.revision)
                    if shared is None and self._may_join(base, after):
                        break
                else:
                    if shared is None or shared.closed:
                        return

    async def _alone(self, part: Part, after: int) -> AsyncGenerator[Events, None]:
        source = self._store.watch(part.prefix, after, exact=part.exact)
        try:
            async for events in source:
                yield events
        finally:
            if isinstance(source, AsyncGenerator):
                await source.aclose()

    def _join(self, base: str, after: int) -> SharedWatch | None:
        if not self._may_join(base, after):
            return None
        if base not in self._shared:
            self._shared[base] = SharedWatch(self._store, base, after, self._ended)
        return self._shared[base]

    def _may_join(self, base: str, after: int) -> bool:
        """Whether there is none yet, or one that knows what has happened since."""
        shared = self._shared.get(base)
        return base not in self._denied and (shared is None or after >= shared.since)

    def _ended(self, shared: SharedWatch, error: Exception | None) -> None:
        if self._shared.get(shared.base) is shared:
            del self._shared[shared.base]
        if isinstance(error, StoreDeniedError):
            self._denied.add(shared.base)
        elif isinstance(error, OtherStoreError):
            self._replaced += 1

    # All else

    async def get(self, key: str) -> Entry | None:
        """See `Store`."""
        return await self._store.get(key)

    def pages(self, prefix: str, *, exact: bool = False) -> AsyncIterator[Listing]:
        """See `Store`."""
        return self._store.pages(prefix, exact=exact)

    async def list(self, prefix: str) -> Listing:
        """See `Store`."""
        return await self._store.list(prefix)

    async def commit(self, operations: Sequence[Operation], *, only_if: Sequence[Unchanged] = ()) -> int:
        """See `Store`."""
        return await self._store.commit(operations, only_if=only_if)

    async def grant(self, ttl: float) -> Lease:
        """See `Store`."""
        return await self._store.grant(ttl)

    async def status(self) -> StoreStatus:
        """See `Store`. Those who ask at the same time have the same answer."""
        if self._asked is None or self._asked.done():
            self._asked = asyncio.get_running_loop().create_task(self._store.status())
            self._asking = 0
        asked = self._asked
        self._asking += 1
        try:
            return await asyncio.shield(asked)
        except asyncio.CancelledError:
            if asked is self._asked and self._asking == 1:
                asked.cancel()
                await asyncio.gather(asked, return_exceptions=True)
            raise
        finally:
            if asked is self._asked:
                self._asking -= 1

    async def aclose(self) -> None:
        """See `Store`."""
        await self._store.aclose()
