"""
A store within the process: the default of a mesh that lives in one, and the double of etcd in tests.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence

import attrs

from fleetmesh.errors import CompactedError, OtherStoreError, StoreClosedError
from fleetmesh.state.clock import Clock, SystemClock
from fleetmesh.state.memory_data import HeldLease, MemoryData, Watcher
from fleetmesh.state.operations import checked_operations, checked_ttl
from fleetmesh.state.store import Entry, Events, Listing, Operation, StoreStatus, Unchanged

PAGE = 256


@attrs.define(eq=False)
class MemoryLease:
    """
    See `Lease`. It is kept alive as long as its store is open.
    """

    _data: MemoryData
    _held: HeldLease

    @property
    def id(self) -> int:
        """See `Lease`."""
        return self._held.id

    @property
    def ttl(self) -> float:
        """See `Lease`."""
        return self._held.ttl

    async def lost(self) -> None:
        """See `Lease`."""
        await self._held.over.wait()
        if self._held.revoked:
            await asyncio.Event().wait()

    async def revoke(self) -> None:
        """See `Lease`."""
        self._held.revoked = True
        self._data.end(self._held)


class MemoryStore:
    """
    See `Store`. It belongs to one event loop, and forgets what happened more than 100,000 changes ago.

    `another()` gives a second client of the same data, as another process would be one of the same etcd.

    Args:
        clock: By which leases run out once their store is closed.
    """

    def __init__(self, *, clock: Clock | None = None) -> None:
        self._open(MemoryData(clock or SystemClock()))

    def _open(self, data: MemoryData) -> None:
        self._data = data
        self._data.clients += 1
        self._watchers: set[Watcher] = set()
        self._leases: list[HeldLease] = []
        self._closed = False

    def __repr__(self) -> str:
        return f"MemoryStore(revision={self._data.revision})"

    def another(self) -> MemoryStore:
        """Another client of the same data, with leases and watches of its own. Close each."""
        client = MemoryStore.__new__(MemoryStore)
        client._open(self._data)
        return client

    async def get(self, key: str) -> Entry | None:
        """See `Store`."""
        await self._turn()
        return self._data.get(key)

    async def pages(self, prefix: str, *, exact: bool = False) -> AsyncIterator[Listing]:
        """See `Store`. A page has up to 256 entries."""
        await self._turn()
        entries = self._data.at(prefix) if exact else self._data.beginning_with(prefix)
        revision = self._data.revision
        for begin in range(0, len(entries) or 1, PAGE):
            if begin:
                await self._turn()
            if revision < self._data.compacted:
                raise CompactedError(revision, self._data.compacted)
            yield Listing(revision, tuple(entries[begin : begin + PAGE]))

    async def list(self, prefix: str) -> Listing:
        """See `Store`."""
        await self._turn()
        entries = self._data.beginning_with(prefix)
        return Listing(self._data.revision, tuple(entries))

    async def watch(self, prefix: str, after: int, *, exact: bool = False) -> AsyncIterator[Events]:
        """
        See `Store`. Ends when the store is closed. The first mark says that it stands; more come
        every 1,000 revisions, and with `mark`.
        """
        await self._turn()
        if after > self._data.revision:
            raise OtherStoreError(f"revision {after} is still to come, the newest is {self._data.revision}")
        watcher = self._data.subscribe(prefix, after, exact=exact)
        self._watchers.add(watcher)
        try:
            while not watcher.closed:
                while (events := watcher.take()) is not None:
                    yield events
                if watcher.overrun:
                    raise CompactedError(watcher.after, self._data.revision)
                watcher.news.clear()
                if not watcher.closed:
                    await watcher.news.wait()
        finally:
            self._watchers.discard(watcher)
            self._data.unsubscribe(watcher)

    async def commit(self, operations: Sequence[Operation], *, only_if: Sequence[Unchanged] = ()) -> int:
        """See `Store`."""
        checked_operations(operations)
        await self._turn()
        return self._data.commit(operations, only_if)

    async def compact(self, revision: int) -> None:
        """
        Forget what happened before a revision; what is there stays.

        Raises:
            CompactedError: That was done already.
            ValueError: There is no such revision yet.
        """
        await self._turn()
        self._data.compact(revision)

    async def grant(self, ttl: float) -> MemoryLease:
        """See `Store`."""
        checked_ttl(ttl)
        await self._turn()
        held = self._data.grant(ttl)
        self._leases.append(held)
        return MemoryLease(self._data, held)

    async def revoke(self, lease: int) -> None:
        """Take a lease away from whoever holds it, with its keys; none there is no error."""
        await self._turn()
        held = self._data.leases.get(lease)
        if held is not None:
            self._data.end(held)

    def mark(self) -> None:
        """Tell all watches how far the store is, as etcd does now and then."""
        self._data.mark()

    async def status(self) -> StoreStatus:
        """See `Store`."""
        await self._turn()
        return StoreStatus(self._data.id, "memory", self._data.revision, "memory")

    async def aclose(self) -> None:
        """See `Store`. Closing it twice is no error."""
        if self._closed:
            return
        self._closed = True
        for watcher in self._watchers:
            watcher.close()
        self._data.clients -= 1
        if self._data.clients:
            self._data.forsake(self._leases)
        else:
            await self._data.stop()

    async def _turn(self) -> None:
        """Let others run, as a store over the network would."""
        if self._closed:
            raise StoreClosedError
        await asyncio.sleep(0)
