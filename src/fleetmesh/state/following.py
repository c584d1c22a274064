"""
Following what begins with a prefix: list it, watch it, and go on after whatever breaks.

As Cilium's clients do (pkg/kvstore etcd.go `watch`, pkg/kvstore/store watchstore.go), with one difference:
after a broken connection the watch goes on where it was, and all is listed anew only when the store has
forgotten what happened since.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from random import Random
from sys import intern
from types import TracebackType
from typing import Self, TypeVar

import attrs

from fleetmesh.errors import (
    CompactedError,
    OtherStoreError,
    StoreClosedError,
    StoreDeniedError,
    StoreError,
    StoreUnavailableError,
)
from fleetmesh.state.clock import Clock
from fleetmesh.state.store import Delete, Entry, Events, Listing, Store

# After so many nothing is read ahead for an update.
MOST_CHANGES = 1_000
# Seconds between two tries: the first and the longest. The longest also when trying again helps only after
# somebody has done something.
FIRST_PAUSE = 0.2
LONGEST_PAUSE = 30.0

T = TypeVar("T")


@attrs.frozen
class Update:
    """
    What is new since the last one. A key is in `puts` or in `deletes`, or in neither.

    Attributes:
        puts: New entries, and those written since they were told last.
        deletes: Keys that were told and are gone.
        listed: Once, after the first list: all that was there has been told.
        trouble: What went wrong; what was told stays as it is, and another try follows by itself.
        connected: Whether the store is heard at the moment.
        revision: Of the store, as of which this is.
    """

    puts: tuple[Entry, ...] = ()
    deletes: tuple[str, ...] = ()
    listed: bool = False
    trouble: StoreError | None = None
    connected: bool = True
    revision: int = 0


async def follow(
    store: Store, prefix: str, *, clock: Clock, exact: bool = False, random: Random | None = None
) -> AsyncGenerator[Update, None]:
    """
    All that begins with a prefix, and then what happens to it, until the store is closed. Close the generator
    when done.

    Args:
        clock: Waits between tries.
        exact: It is not a prefix but one key; see `Store.pages`.
        random: Spreads them, so that many who lost a server don't come back at once.
    """
    spread = random or Random()  # noqa: S311  # spreads load, guards nothing
    following = _Following(store, prefix, clock, spread, exact=exact)
    while True:
        try:
            if following.list_anew:
                async with _closing(following.listing()) as updates:
                    async for update in updates:
                        yield update
            async with _closing(following.watching()) as updates:
                async for update in updates:
                    yield update
        except StoreClosedError:
            return
        except StoreError as error:
            yield following.fell(error)
            await clock.sleep(following.pause(error))
        else:
            return


class _Following:
    """
    What is known, and how far.

    Attributes:
        known: The revision that each key was told with, by its name behind the prefix, of which whoever has
            the record has the same object.
        revision: All up to it has been told.
        list_anew: Whether going on from `revision` would miss something.
        store_id: Of the store that the revisions are of; "" before it is known.
        tries: That failed, one after another.
        standing_since: When the present watch gave its first sign, by the monotonic clock.
        silent: Whether trouble was told, and nothing since.
    """

    def __init__(self, store: Store, prefix: str, clock: Clock, random: Random, *, exact: bool) -> None:
        self.store = store
        self.prefix = prefix
        self.exact = exact
        self.clock = clock
        self.random = random
        self.known: dict[str, int] = {}
        self.revision = 0
        self.list_anew = True
        self.listed = False
        self.store_id = ""
        self.tries = 0
        self.standing_since: float | None = None
        self.silent = False

    async def listing(self) -> AsyncGenerator[Update, None]:
        """Tell what differs from what is known, deletions last."""
        await self._same_store()
        unseen = set(self.known)
        revision = self.revision
        async with _closing(self.store.pages(self.prefix, exact=self.exact)) as pages:
            async for page in pages:
                revision = page.revision
                update = self._page(page, unseen)
                if update.puts:
                    yield update
        gone = [self.prefix + name for name in sorted(unseen)]
        for begin in range(0, len(gone), MOST_CHANGES):
            part = gone[begin : begin + MOST_CHANGES]
            for key in part:
                del self.known[key[len(self.prefix) :]]
            yield Update(deletes=tuple(part), revision=revision)
        self.revision = revision
        self.list_anew = False
        self.silent = False
        first, self.listed = not self.listed, True
        yield Update(listed=first, revision=revision)

    def _page(self, page: Listing, unseen: set[str]) -> Update:
        behind = len(self.prefix)
        if not unseen:  # a list has each key once, so that none of these is known
            self.known.update((intern(entry.key[behind:]), entry.revision) for entry in page.entries)
            return Update(puts=page.entries, revision=page.revision)
        puts: list[Entry] = []
        for entry in page.entries:
            name = intern(entry.key[behind:])
            unseen.discard(name)
            if self.known.get(name) != entry.revision:
                self.known[name] = entry.revision
                puts.append(entry)
        return Update(puts=tuple(puts), revision=page.revision)

    async def watching(self) -> AsyncGenerator[Update, None]:
        """Tell what happens. Ends with the store."""
        await self._same_store()
        async with _Reader(self.store.watch(self.prefix, self.revision, exact=self.exact)) as reader:
            while batch := await reader.take():
                if self.standing_since is None:
                    self.standing_since = self.clock.monotonic()
                update = self._digest(batch)
                if self.silent or update.puts or update.deletes:
                    self.silent = False
                    yield update

    async def _same_store(self) -> None:
        status = await self.store.status()
        if self.store_id and status.store_id != self.store_id:
            raise OtherStoreError(f"the store is another one: {status.store_id}, it was {self.store_id}")
        self.store_id = status.store_id

    def _digest(self, batch: list[Events]) -> Update:
        """One update of several events: of each key the last that happened."""
        behind = len(self.prefix)
        last: dict[str, Entry | Delete] = {}
        for events in batch:
            for change in events.changes:
                last[intern(change.key[behind:])] = change
        puts: list[Entry] = []
        deletes: list[str] = []
        for name, change in last.items():
            if isinstance(change, Entry):
                if self.known.get(name) != change.revision:
                    self.known[name] = change.revision
                    puts.append(change)
            elif self.known.pop(name, None) is not None:
                deletes.append(change.key)
        self.revision = max(self.revision, batch[-1].revision)
        if puts or deletes:
            self.tries = 0
        return Update(puts=tuple(puts), deletes=tuple(deletes), revision=self.revision)

    def fell(self, error: StoreError) -> Update:
        """Note what broke, and tell it."""
        since, self.standing_since = self.standing_since, None
        if since is not None and self.clock.monotonic() - since >= LONGEST_PAUSE:
            self.tries = 0
        if not isinstance(error, StoreUnavailableError | StoreDeniedError):
            self.list_anew = True
        if isinstance(error, OtherStoreError):
            # The same number means something else there, so nothing that is listed may pass for known.
            self.known = dict.fromkeys(self.known, -1)
            self.store_id = ""
        self.silent = True
        return Update(trouble=error, connected=isinstance(error, CompactedError), revision=self.revision)

    def pause(self, error: StoreError) -> float:
        """Seconds until the next try: twice as many each time, less up to a half by chance."""
        passing = isinstance(error, StoreUnavailableError | CompactedError | OtherStoreError)
        pause = min(FIRST_PAUSE * 2**self.tries, LONGEST_PAUSE) if passing else LONGEST_PAUSE
        self.tries = min(self.tries + 1, 16)
        return pause * (1 - self.random.random() / 2)


class _Reader:
    """
    Reads ahead, so that what has come meanwhile is taken in one go.
    """

    def __init__(self, source: AsyncIterator[Events]) -> None:
        self._source = source
        self._read: deque[Events] = deque()
        self._news = asyncio.Event()
        self._room = asyncio.Event()
        self._held = 0

    async def __aenter__(self) -> Self:
        self._task = asyncio.get_running_loop().create_task(self._run())
        self._task.add_done_callback(lambda _: self._news.set())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._task.cancel()
        await asyncio.wait([self._task])
        if not self._task.cancelled():
            self._task.exception()  # what broke after the last look is of no interest any more

    async def _run(self) -> None:
        async with _closing(self._source) as source:
            async for events in source:
                self._read.append(events)
                self._held += len(events.changes)
                self._news.set()
                if self._held >= MOST_CHANGES:
                    self._room.clear()
                    await self._room.wait()

    async def take(self) -> list[Events]:
        """What has come, at least one and few enough for an update; nothing when the source has ended."""
        while not self._read and not self._task.done():
            self._news.clear()
            await self._news.wait()
        if not self._read:
            self._task.result()  # raises what broke
            return []
        taken = list(self._read)
        self._read.clear()
        self._held = 0
        self._room.set()
        return taken


@asynccontextmanager
async def _closing(source: AsyncIterator[T]) -> AsyncIterator[AsyncIterator[T]]:
    """A generator that is left in its middle is closed at once, not when somebody collects it."""
    try:
        yield source
    finally:
        if isinstance(source, AsyncGenerator):
            await source.aclose()
