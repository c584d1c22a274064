"""
The leases that keys hang on: each has at most a thousand keys, since etcd slows down with the keys of one
    lease (Cilium pkg/kvstore etcd_lease.go).
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from contextlib import suppress

import attrs

from fleetmesh.errors import StoreError
from fleetmesh.state.store import Lease, Store

TTL = 900.0
"""Seconds (Cilium pkg/defaults, `KVstoreLeaseTTL`)."""

MOST_KEYS = 1_000
"""On one lease (Cilium `etcdMaxKeysPerLease`)."""


@attrs.define(eq=False)
class _Held:
    """
    Attributes:
        watching: Waits for it to be lost.
    """

    lease: Lease
    watching: asyncio.Task[None]
    keys: set[str] = attrs.field(factory=set)


class LeasePool:
    """
    Leases of one store, handed out to keys; a key keeps its lease, and a new one is granted when all are
    full.

    It belongs to one event loop. Leases are kept alive as long as the store is open (`Store.grant`), also
    after `close`.

    Args:
        ttl: Seconds that keys stay when nobody keeps them alive.
        most_keys: On one lease.
    """

    def __init__(self, store: Store, *, ttl: float = TTL, most_keys: int = MOST_KEYS) -> None:
        self._store = store
        self._ttl = ttl
        self._most_keys = most_keys
        self._held: dict[int, _Held] = {}
        self._roomy: dict[int, None] = {}
        self._of: dict[str, int] = {}
        self._granting = asyncio.Lock()
        self._loss = asyncio.Event()
        self._dropped: dict[int, _Held] = {}
        self._behind: dict[str, set[int]] = {}
        self._ending: set[asyncio.Task[None]] = set()
        self._left: list[Lease] = []

    def __len__(self) -> int:
        return len(self._held)

    def has(self, lease: int) -> bool:
        """Whether a lease is one of these, and isn't known to be lost."""
        return lease in self._held

    async def lease_for(self, key: str) -> int:
        """
        The id of the lease that a key is to be written with.

        Raises:
            StoreError: A new one is needed, and the store does not grant it.
        """
        if (lease := self._at_hand(key)) is not None:
            return lease
        async with self._granting:
            if (lease := self._at_hand(key)) is None:
                granted = await self._store.grant(self._ttl)
                watching = asyncio.get_running_loop().create_task(self._watch(granted))
                self._held[granted.id] = _Held(granted, watching)
                self._roomy[granted.id] = None
                lease = self._take(key, granted.id)
            return lease

    def written(self, key: str) -> None:
        """A key has been written with the lease that it has now, and so hangs on no other."""
        for lease in self._behind.pop(key, ()):
            self._dropped[lease].keys.discard(key)
            self._end_unused(lease)

    def release(self, key: str) -> None:
        """A key is gone, and leaves room for another."""
        self.written(key)
        lease = self._of.pop(key, None)
        if lease is not None and lease in self._held:
            self._held[lease].keys.discard(key)
            self._roomy[lease] = None

    def drop(self, leases: Iterable[int]) -> None:
        """
        Hand these out no more: the store has said that one of them is lost. Those that live on are ended once
        their keys have been written with others.
        """
        for lease in leases:
            held = self._lose(lease)
            if held is not None:
                held.watching.cancel()
                self._dropped[lease] = held
                for key in held.keys:
                    self._behind.setdefault(key, set()).add(lease)
                self._end_unused(lease)

    def _end_unused(self, lease: int) -> None:
        if not self._dropped[lease].keys:
            task = asyncio.get_running_loop().create_task(_end(self._dropped.pop(lease).lease))
            self._ending.add(task)
            task.add_done_callback(self._ending.discard)

    def _lose(self, lease: int) -> _Held | None:
        held = self._held.pop(lease, None)
        if held is not None:
            self._roomy.pop(lease, None)
            for key in held.keys:
                del self._of[key]
            loss, self._loss = self._loss, asyncio.Event()
            loss.set()
        return held

    async def lost(self) -> None:
        """Return when the next lease is lost; its keys are gone, or will be."""
        await self._loss.wait()

    async def close(self) -> None:
        """
        Look no more after the leases, and hand none out. They stay, with their keys, unless they are revoked
        after all.
        """
        stopped = [*(held.watching for held in self._held.values()), *self._ending]
        self._left += (held.lease for held in (*self._held.values(), *self._dropped.values()))
        for each in (self._held, self._roomy, self._of, self._dropped, self._behind):
            each.clear()
        for task in stopped:
            task.cancel()
        if stopped:
            await asyncio.wait(stopped)

    async def revoke(self) -> None:
        """
        End all leases: their keys are deleted.

        Raises:
            StoreError: The store does not answer; the leases that are left run out by themselves.
        """
        await self.close()
        left, self._left = self._left, []
        for each in await asyncio.gather(*(lease.revoke() for lease in left), return_exceptions=True):
            if each is not None:
                raise each

    def _at_hand(self, key: str) -> int | None:
        if (lease := self._of.get(key)) is not None:
            return lease
        return self._take(key, next(iter(self._roomy))) if self._roomy else None

    def _take(self, key: str, lease: int) -> int:
        keys = self._held[lease].keys
        keys.add(key)
        self._of[key] = lease
        if len(keys) >= self._most_keys:
            del self._roomy[lease]
        return lease

    async def _watch(self, lease: Lease) -> None:
        await lease.lost()
        self._lose(lease.id)


async def _end(lease: Lease) -> None:
    """Of a lease that nobody needs; where the store doesn't answer it runs out, as nobody keeps it alive."""
    with suppress(StoreError):
        await lease.revoke()
