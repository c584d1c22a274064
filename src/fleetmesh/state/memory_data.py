"""
What is in a store within the process: keys, what happened to them, who looks on, and leases.

Nothing here waits. The rules are etcd's (server/storage/mvcc, server/lease).
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from itertools import count

import attrs

from fleetmesh.errors import CompactedError, LeaseLostError, StoreConflictError
from fleetmesh.state.clock import Clock
from fleetmesh.state.sorted_keys import SortedKeys
from fleetmesh.state.store import Delete, Entry, Events, Operation, Put, Unchanged

_STORES = count(1)

# How many changes are kept for those who come back, and how many one who looks on may leave unread.
HISTORY = 100_000
# Who looks on learns at least every so many revisions how far the store is.
MARK_EVERY = 1_000


def raw(key: str) -> bytes:
    """A key as the bytes that it stands for."""
    return key.encode("utf-8", "surrogateescape")


@attrs.define(eq=False)
class HeldLease:
    """
    Attributes:
        over: Set when it is gone.
        revoked: Whether its own holder ended it.
    """

    id: int
    ttl: float
    keys: set[bytes] = attrs.field(factory=set)
    over: asyncio.Event = attrs.field(factory=asyncio.Event)
    revoked: bool = False


@attrs.define(eq=False)
class Watcher:
    """
    Attributes:
        prefix: Of the keys that it is told of.
        exact: Whether that is the one key that it is told of.
        after: Nothing up to this revision is told.
        unread: What has not been taken yet.
        held: The changes in it.
        news: Set whenever there is something to look at.
        overrun: Whether so much was left unread that it was dropped.
        closed: Whether nothing will come any more.
    """

    prefix: bytes
    exact: bool
    after: int
    unread: deque[Events] = attrs.field(factory=deque)
    held: int = 0
    news: asyncio.Event = attrs.field(factory=asyncio.Event)
    overrun: bool = False
    closed: bool = False

    def hears(self, key: bytes) -> bool:
        """Whether it is told of what happens to a key."""
        return key == self.prefix if self.exact else key.startswith(self.prefix)

    def tell(self, events: Events) -> None:
        """Put in what is to be read."""
        if self.overrun or events.revision <= self.after:
            return
        self.after = events.revision
        self.held += len(events.changes)
        if self.held > HISTORY:
            self.overrun = True
            self.unread.clear()
        else:
            self.unread.append(events)
        self.news.set()

    def take(self) -> Events | None:
        """The next, if there is one."""
        if not self.unread:
            return None
        events = self.unread.popleft()
        self.held -= len(events.changes)
        return events

    def close(self) -> None:
        """Nothing will come any more."""
        self.closed = True
        self.news.set()


class MemoryData:
    """
    One store, which several `MemoryStore` may share.
    """

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.id = f"{next(_STORES):x}"
        self.revision = 1
        self.compacted = 0
        self.clients = 0
        self.leases: dict[int, HeldLease] = {}
        self._last_lease = 0
        self._forsaken: dict[
            int, tuple[HeldLease, float]
        ] = {}  # and when they run out, by the monotonic clock
        self._entries: dict[bytes, Entry] = {}
        self._keys = SortedKeys()
        self._history: deque[tuple[int, tuple[tuple[bytes, Entry | Delete], ...]]] = deque()
        self._held = 0
        self._watchers: dict[bytes, set[Watcher]] = {}
        self._running_out: asyncio.Task[None] | None = None

    # Reading.

    def get(self, key: str) -> Entry | None:
        """What is at a key."""
        self.expire()
        return self._entries.get(raw(key))

    def beginning_with(self, prefix: str) -> list[Entry]:
        """All entries of a prefix, sorted by the bytes of their keys."""
        self.expire()
        return [self._entries[key] for key in self._keys.beginning_with(raw(prefix))]

    def at(self, key: str) -> list[Entry]:
        """The entry of one key, none where there is none."""
        entry = self.get(key)
        return [] if entry is None else [entry]

    def subscribe(self, prefix: str, after: int, *, exact: bool = False) -> Watcher:
        """
        Somebody who is told from now on, and at once what happened since a revision.

        Raises:
            CompactedError: Not all of that is known any more.
        """
        self.expire()
        if after + 1 < self.compacted:
            raise CompactedError(after + 1, self.compacted)
        watcher = Watcher(raw(prefix), exact, after, deque([Events(after)]))
        for revision, changes in self._history:
            if revision > after:
                told = tuple(change for key, change in changes if watcher.hears(key))
                if told:
                    watcher.tell(Events(revision, told))
        self._watchers.setdefault(watcher.prefix, set()).add(watcher)
        return watcher

    def unsubscribe(self, watcher: Watcher) -> None:
        """The opposite of `subscribe`."""
        alike = self._watchers[watcher.prefix]
        alike.discard(watcher)
        if not alike:
            del self._watchers[watcher.prefix]

    def mark(self) -> None:
        """Tell all who look on how far the store is."""
        for watcher in self._all_watchers():
            watcher.tell(Events(self.revision))

    # Writing.

    def commit(self, operations: Sequence[Operation], only_if: Sequence[Unchanged]) -> int:
        """See `Store.commit`."""
        self.expire()
        for condition in only_if:
            entry = self._entries.get(raw(condition.key))
            found = 0 if entry is None else entry.revision
            if found != condition.revision:
                raise StoreConflictError(
                    f"{condition.key!r} was written at revision {found}, not at {condition.revision}"
                )
        for each in operations:
            if isinstance(each, Put) and each.lease and each.lease not in self.leases:
                raise LeaseLostError(f"the lease {each.lease:x} of {each.key!r} is gone")
        effective = [each for each in operations if isinstance(each, Put) or raw(each.key) in self._entries]
        if effective:
            self._carry_out(effective)
        return self.revision

    def compact(self, revision: int) -> None:
        """
        Forget what happened before a revision; what is there stays.

        Raises:
            CompactedError: That was done already.
            ValueError: There is no such revision yet.
        """
        if revision <= self.compacted:
            raise CompactedError(revision, self.compacted)
        if revision > self.revision:
            raise ValueError(f"revision {revision} is still to come, the newest is {self.revision}")
        self.compacted = revision
        while self._history and self._history[0][0] < revision:
            self._held -= len(self._history.popleft()[1])

    # Leases.

    def grant(self, ttl: float) -> HeldLease:
        """A new one, held from now on."""
        self._last_lease += 1
        lease = self.leases[self._last_lease] = HeldLease(self._last_lease, ttl)
        return lease

    def end(self, lease: HeldLease) -> None:
        """Delete a lease and its keys, in one revision."""
        if self.leases.pop(lease.id, None) is None:
            return
        self._forsaken.pop(lease.id, None)
        if lease.keys:
            self._carry_out([Delete(_text(key)) for key in sorted(lease.keys)])
        lease.over.set()

    def expire(self) -> None:
        """End the leases whose time is over."""
        now = self.clock.monotonic()
        for lease in [each for each, deadline in self._forsaken.values() if deadline <= now]:
            self.end(lease)

    def forsake(self, leases: Iterable[HeldLease]) -> None:
        """Their holder gives no sign of life any more: they run out by themselves."""
        now = self.clock.monotonic()
        self._forsaken |= {lease.id: (lease, now + lease.ttl) for lease in leases if lease.id in self.leases}
        if self._running_out is not None:
            self._running_out.cancel()  # a lease that comes earlier may have been added
        if self._forsaken:
            self._running_out = asyncio.get_running_loop().create_task(self._run_out())

    async def stop(self) -> None:
        """When nobody is left."""
        if self._running_out is not None:
            self._running_out.cancel()
            await asyncio.gather(self._running_out, return_exceptions=True)

    async def _run_out(self) -> None:
        while self._forsaken:
            next_ = min(deadline for _, deadline in self._forsaken.values())
            await self.clock.sleep(next_ - self.clock.monotonic())
            self.expire()

    # Within.

    def _carry_out(self, operations: Sequence[Operation]) -> None:
        """All of them have an effect."""
        self.revision += 1
        changes = [(key := raw(each.key), self._apply(key, each)) for each in operations]
        self._history.append((self.revision, tuple(changes)))
        self._held += len(changes)
        while self._held > HISTORY and len(self._history) > 1:
            self.compact(self._history[0][0] + 1)
        self._tell(changes)

    def _apply(self, key: bytes, operation: Operation) -> Entry | Delete:
        if isinstance(operation, Put):
            return self._put(key, operation)
        self._unlease(self._entries.pop(key))
        self._keys.remove(key)
        return operation

    def _put(self, key: bytes, operation: Put) -> Entry:
        old = self._entries.get(key)
        if old is None:
            self._keys.add(key)
        else:
            self._unlease(old)
        if operation.lease:
            self.leases[operation.lease].keys.add(key)
        entry = Entry(operation.key, operation.value, self.revision, operation.lease)
        self._entries[key] = entry
        return entry

    def _unlease(self, entry: Entry) -> None:
        if entry.lease in self.leases:
            self.leases[entry.lease].keys.discard(raw(entry.key))

    def _tell(self, changes: Sequence[tuple[bytes, Entry | Delete]]) -> None:
        lengths = sorted({len(prefix) for prefix in self._watchers})
        told: dict[bytes, list[Entry | Delete]] = {}
        for key, change in changes:
            for length in lengths:
                if key[:length] in self._watchers and length <= len(key):
                    told.setdefault(key[:length], []).append(change)
        for prefix, seen in told.items():
            for watcher in self._watchers[prefix]:
                heard = [each for each in seen if watcher.hears(raw(each.key))] if watcher.exact else seen
                if heard:
                    watcher.tell(Events(self.revision, tuple(heard)))
        if self.revision % MARK_EVERY == 0:
            self.mark()

    def _all_watchers(self) -> Iterator[Watcher]:
        for alike in self._watchers.values():
            yield from alike


def _text(key: bytes) -> str:
    return key.decode("utf-8", "surrogateescape")
