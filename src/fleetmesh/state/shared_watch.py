"""
A watch that many read, each a part of it.
"""

from __future__ import annotations

import asyncio
from collections import Counter, deque
from collections.abc import AsyncGenerator, Callable, Iterator

import attrs

from fleetmesh.errors import CompactedError, StoreDeniedError
from fleetmesh.state.store import Delete, Entry, Events, Store

MOST_KEPT = 5_000
"""Changes that are kept for those who come a little later than the first."""

MOST_WAITING = 10_000
"""Changes that wait for readers; then nothing more is asked of the store until they have read on."""

GATHERING, LONGEST_GATHERING = 0.002, 0.25
"""
Seconds for each change that readers were woken for, and at most, that they are not woken again: where more
than 500 changes a second come, what comes meanwhile costs little more than the first of it.
"""

MOST_TOGETHER = 1_000
"""Changes that a reader is told at once, but where one transaction had more."""

PATIENCE = 5.0
"""Seconds that nobody reads on, until the one for whom most is waiting is not waited for any more."""


@attrs.frozen
class Part:
    """What begins with a prefix, or a key alone."""

    prefix: str
    exact: bool

    def has(self, key: str) -> bool:
        """Whether a key belongs to it."""
        return key == self.prefix if self.exact else key.startswith(self.prefix)


class SharedWatch:
    """
    It begins with its first reader, and ends with its last one or when it breaks.

    Args:
        after: The revision after which it begins.
        ended: Is called once it has ended, before the readers know, with what broke it.

    Attributes:
        since: Whoever has been told all up to that revision, or a later one, can join.
        closed: Whether it has ended because the store was closed.
        waiting: How many changes wait for readers.
        room: Whether there is room for more.
    """

    def __init__(
        self, store: Store, base: str, after: int, ended: Callable[[SharedWatch, Exception | None], None]
    ) -> None:
        self.base = base
        self.since = after
        self.closed = False
        self.waiting = 0
        self.room = asyncio.Event()
        self._told = after
        self._stands = False
        self._over = False
        self._ended = ended
        self._kept: deque[Events] = deque()
        self._kept_changes = 0
        self._of_keys: dict[str, list[Reader]] = {}
        self._of_prefixes: dict[str, list[Reader]] = {}
        self._lengths: Counter[int] = Counter()  # of prefixes
        self._loop = asyncio.get_running_loop()
        self._asleep: set[Reader] = set()  # for whom something waits
        self._changes = 0  # since they were woken
        self._next_waking = 0.0
        self._waking: asyncio.TimerHandle | None = None
        self._task = self._loop.create_task(self._run(store))

    async def part(self, part: Part, after: int) -> AsyncGenerator[Events, None]:
        """
        As `Store.watch`, but that it also ends when it has to be begun anew after what was told last: the
        reader was not waited for, or may not read all of this, or this has broken where he goes on unharmed.
        """
        reader = Reader(self, after)
        self._add(part, reader)
        try:
            while (events := await reader.next()) is not None:
                yield events
        finally:
            reader.end(None)
            reader.forget()
            self._remove(part, reader)
            if not self._of_keys and not self._of_prefixes and not self._over:
                self._over = True
                self._ended(self, None)
                self._task.cancel()
                await asyncio.wait([self._task])

    def _add(self, part: Part, reader: Reader) -> None:
        readers = self._of_keys if part.exact else self._of_prefixes
        readers.setdefault(part.prefix, []).append(reader)
        if not part.exact:
            self._lengths[len(part.prefix)] += 1
        if self._stands:
            reader.put(Events(reader.after))
            for events in self._kept:
                changes = tuple(each for each in events.changes if part.has(each.key))
                if changes and events.revision > reader.after:
                    reader.put(Events(events.revision, changes))
            reader.wake()

    def _remove(self, part: Part, reader: Reader) -> None:
        readers = self._of_keys if part.exact else self._of_prefixes
        readers[part.prefix].remove(reader)
        if not readers[part.prefix]:
            del readers[part.prefix]
        if not part.exact:
            self._lengths[len(part.prefix)] -= 1
            self._lengths = +self._lengths

    # What comes

    async def _run(self, store: Store) -> None:
        source = store.watch(self.base, self.since)
        try:
            async for events in source:
                self._take(events)
                self._wake_soon()
                while self.waiting > MOST_WAITING:
                    await self._wait_for_room()
            self._end(None)
        except Exception as error:  # noqa: BLE001  # the readers raise it
            self._end(error)
        finally:
            if self._waking is not None:
                self._waking.cancel()
            if isinstance(source, AsyncGenerator):
                await source.aclose()

    async def _wait_for_room(self) -> None:
        self.room.clear()
        try:
            async with asyncio.timeout(PATIENCE):
                await self.room.wait()
        except TimeoutError:
            slowest = max(self._everybody(), key=lambda reader: reader.waiting)
            slowest.forget()
            slowest.end(None)

    def _take(self, events: Events) -> None:
        if not self._stands:
            self._stands = True
            for reader in self._everybody():
                self._put(reader, Events(reader.after))
        self._told = max(self._told, events.revision)
        if events.changes:
            self._keep(events)
            self._hand_on(events)
        else:
            for reader in self._everybody():
                if events.revision > reader.after:
                    self._put(reader, events)

    def _put(self, reader: Reader, events: Events) -> None:
        reader.put(events)
        self._asleep.add(reader)
        self._changes += len(events.changes)

    def let_sleep(self, reader: Reader) -> None:
        """He has taken all that he is to be woken for."""
        self._asleep.discard(reader)

    def _wake_soon(self) -> None:
        if self._waking is None:
            wait = self._next_waking - self._loop.time()
            if wait > 0:
                self._waking = self._loop.call_later(wait, self._wake)
            else:
                self._wake()

    def _wake(self) -> None:
        self._waking = None
        self._next_waking = self._loop.time() + min(self._changes * GATHERING, LONGEST_GATHERING)
        self._changes = 0
        for reader in self._asleep:
            reader.wake()
        self._asleep.clear()

    def _keep(self, events: Events) -> None:
        self._kept.append(events)
        self._kept_changes += len(events.changes)
        while self._kept_changes > MOST_KEPT:
            dropped = self._kept.popleft()
            self._kept_changes -= len(dropped.changes)
            self.since = dropped.revision

    def _hand_on(self, events: Events) -> None:
        found: dict[Reader, list[Entry | Delete]] = {}
        for change in events.changes:
            key = change.key
            for reader in self._of_keys.get(key, ()):
                found.setdefault(reader, []).append(change)
            for length in self._lengths:
                for reader in self._of_prefixes.get(key[:length], ()):
                    found.setdefault(reader, []).append(change)
        for reader, changes in found.items():
            if events.revision > reader.after:
                self._put(reader, Events(events.revision, tuple(changes)))

    def _end(self, error: Exception | None) -> None:
        if self._over:
            return
        self._over, self.closed = True, error is None
        self._ended(self, error)
        for reader in self._everybody():
            told = max(reader.after, self._told)
            if self._stands:
                reader.put(Events(told))
            if isinstance(error, CompactedError):
                lost = told + 1 < error.compacted
                reader.end(CompactedError(told + 1, error.compacted) if lost else None)
            else:
                reader.end(None if isinstance(error, StoreDeniedError) else error)

    def _everybody(self) -> Iterator[Reader]:
        every = (*self._of_keys.values(), *self._of_prefixes.values())
        return (reader for readers in every for reader in readers)


@attrs.define(eq=False)
class Reader:
    """
    Attributes:
        after: He knows all up to that revision already.
        waiting: How many changes wait for him.
    """

    _of: SharedWatch
    after: int
    waiting: int = attrs.field(default=0, init=False)
    _events: deque[Events] = attrs.field(factory=deque, init=False)
    _ended: bool = attrs.field(default=False, init=False)
    _error: Exception | None = attrs.field(default=None, init=False)
    _news: asyncio.Event = attrs.field(factory=asyncio.Event, init=False)

    def put(self, events: Events) -> None:
        """It waits for him, unless there is an end; he has to be woken."""
        if not self._ended:
            self._events.append(events)
            self._wait(len(events.changes))

    def wake(self) -> None:
        """Have him look."""
        self._news.set()

    def end(self, error: Exception | None) -> None:
        """Nothing comes after what waits but that error, if it is one."""
        if not self._ended:
            self._ended, self._error = True, error
            self.wake()

    def forget(self) -> None:
        """What waits."""
        self._events.clear()
        self._wait(-self.waiting)

    async def next(self) -> Events | None:
        """What comes next; `None` at the end."""
        await self._news.wait()  # what has come since he was woken waits for what is yet to come
        while not self._events and not self._ended:
            self._news.clear()
            await self._news.wait()
        if self._events:
            return self._take()
        if self._error is not None:
            raise self._error.with_traceback(None)
        return None

    def _take(self) -> Events:
        """A mark, or the changes that wait, as if they were one: each time costs more than a change."""
        events = self._events.popleft()
        changes = list(events.changes)
        while changes and self._events and len(changes) + len(self._events[0].changes) <= MOST_TOGETHER:
            events = self._events.popleft()
            changes += events.changes
        self._wait(-len(changes))
        self._sleep()
        return Events(events.revision, tuple(changes))

    def _sleep(self) -> None:
        """Until he is woken again; not while anything is left of that for which he was."""
        if not self._events and not self._ended:
            self._news.clear()
            self._of.let_sleep(self)

    def _wait(self, more: int) -> None:
        self.waiting += more
        self._of.waiting += more
        if self._of.waiting <= MOST_WAITING:
            self._of.room.set()
