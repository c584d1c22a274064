"""
One cluster's keys in one store: written where they differ from what is wanted, kept while this writer lives,
and removed when the cluster leaves.

What Cilium's SyncStore, its lease manager and the enforcer of cluster configurations do together
(pkg/kvstore/store syncstore.go, pkg/kvstore etcd_lease.go, pkg/clustermesh/clustercfg), with four
differences: keys of an earlier run go over to the new leases at once, so that none is missing meanwhile;
keys that somebody else changed or removed are written again; a kind that lost keys with a lease loses its
mark until they are back; and of two writers one gives way (`Claim`).
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from fleetmesh.errors import LeaseLostError, StoreConflictError, StoreError, WireError
from fleetmesh.findings import Finding
from fleetmesh.records import Record
from fleetmesh.state.change_queue import ChangeQueue, Waiting
from fleetmesh.state.claim import Claim
from fleetmesh.state.clock import Clock
from fleetmesh.state.codecs import decode_config, encode, encode_time
from fleetmesh.state.keys import HEARTBEAT, KINDS, Kind, prefix, synced_key, synced_prefix
from fleetmesh.state.leases import LeasePool
from fleetmesh.state.operations import MOST_OPERATIONS
from fleetmesh.state.publication_log import PublicationLog
from fleetmesh.state.publication_status import Mark, Phase, PublicationStatus, Wanted
from fleetmesh.state.store import Delete, Entry, Operation, Put, Store
from fleetmesh.state.withdrawal import withdraw_keys

MOST_BYTES = 512 * 1024
"""Of values in one transaction; etcd takes requests of 1.5 MiB (--max-request-bytes)."""

BEAT = 60.0
"""Seconds between two signs of life (pkg/kvstore, `HeartbeatWriteInterval`)."""

BEATS_A_REVIEW = 5
"""How often all keys are looked at again: as often as Cilium enforces its configuration (clustercfg.go)."""

FIRST_PAUSE = 0.2
LONGEST_PAUSE = 30.0


class Publication:
    """
    Args:
        cached: Whether the store holds several clusters: keys as kvstoremesh writes them.
        config: Value of the cluster's configuration. Without one the one in the store is kept, and without
            any
            nothing is written.
        heartbeat: Whether to keep the store's heartbeat going too.
    """

    def __init__(
        self,
        store: Store,
        clock: Clock,
        leases: LeasePool,
        *,
        cluster: str,
        cached: bool,
        config: bytes | None = None,
        heartbeat: bool = True,
    ) -> None:
        self.cluster = cluster
        self._store = store
        self._clock = clock
        self._leases = leases
        self._config = config
        self._heartbeat = heartbeat
        self._cached = cached
        self._used: set[int] = set()
        self._claim = Claim(store, clock, cluster, heartbeat=not cached, leases=self._used)
        self._log = PublicationLog(clock, cluster)
        self._prefixes = {kind: prefix(kind, cluster, cached=cached) for kind in KINDS}
        self._marks = {synced_key(cluster, kind, cached=cached): kind for kind in KINDS}
        self._queue = ChangeQueue[Wanted]()
        self._wake = self._queue.given
        self._wanted: dict[str, bytes] = {}
        self._held: dict[str, bytes | None] = {}  # None: there, but not on a lease of ours, or not as wanted
        self._adopted: set[str] = set()
        self._complete: set[Kind] = set()
        self._busy = asyncio.Lock()
        self._most = MOST_OPERATIONS
        self._newest = True
        self._stands = False
        self._reviewed = asyncio.Event()  # since it stands
        self._reviews = 0
        self._beat_due = False
        self._marks_due = False  # they go with the next configuration
        self._review_due = False
        self._look_due = False
        self._withdrawn = False

    # What is wanted

    def configure(self, config: bytes) -> None:
        """
        Give the value of the cluster's configuration. With another cluster id than before it takes away the
        marks, so that nobody takes the records of before for all of the new ones: every kind has to be
        completed anew.
        """
        if config != self._config:
            if self._config is not None and _id_of(config) != _id_of(self._config):
                self._complete.clear()
                for mark in self._marks:
                    self._queue.put(mark, None)
                self._marks_due = True
            self._config = config
            self._beat_due = True
            self._wake.set()

    def put(self, key: str, wanted: Record | bytes) -> None:
        """A key is wanted, with this value."""
        self._adopted.discard(key)
        self._queue.put(key, wanted)

    def delete(self, key: str) -> None:
        """A key isn't wanted any more."""
        self._adopted.discard(key)
        self._queue.put(key, None)

    def keys(self) -> list[str]:
        """All that were ever wanted and may still be (`wants`), those of an earlier run too."""
        return [*self._wanted, *self._queue]

    def wants(self, key: str) -> bool:
        """
        Whether a key of a record is wanted now; those of an earlier run are until their kind is complete.
        """
        if key in self._marks:
            return False
        if key in self._queue:
            return self._queue.wanted(key) is not None
        return key in self._wanted

    def complete(self, kind: Kind) -> None:
        """
        All that is wanted of a kind has been given: what else is there of an earlier run goes, and when all
        has been written the kind gets its mark. Only the first time has an effect.
        """
        if kind in self._complete:
            return
        self._complete.add(kind)
        begin = self._prefixes[kind]
        for key in sorted(key for key in self._adopted if key.startswith(begin)):
            self.delete(key)
        self._queue.put(self._mark_of(kind), Mark(), last=True)

    async def flushed(self) -> None:
        """
        Return when all that has been given so far is in the store, and what isn't wanted any more is not. It
        may take as long as the store is away.
        """
        reviews = -1
        while reviews != self._reviews or not self._reviewed.is_set():
            await self._reviewed.wait()
            reviews = self._reviews
            await self._queue.flushed()

    # What is known

    @property
    def status(self) -> PublicationStatus:
        """How far it is."""
        pending = len(self._queue)
        phase: Phase = "writing" if pending else "written"
        if self._withdrawn:
            phase = "withdrawn"
        elif self._claim.other:
            phase = "replaced"
        elif not self._stands:
            phase = "waiting"
        return PublicationStatus(
            phase=phase,
            keys=len(self._held),
            pending=pending,
            leases=len(self._leases),
            complete=frozenset(self._complete),
            writes=self._log.writes,
            errors=self._log.errors,
            last_error=self._log.last_error,
        )

    @property
    def findings(self) -> tuple[Finding, ...]:
        """What is worth telling now."""
        return self._log.findings

    # The work

    async def run(self) -> None:
        """Write until cancelled; the keys then stay until their leases run out."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._tick())
            tasks.create_task(self._watch_leases())
            tasks.create_task(self._work())

    async def _tick(self) -> None:
        beats = 0
        while True:
            await self._clock.sleep(BEAT)
            beats += 1
            self._beat_due = self._look_due = True
            self._review_due = self._review_due or beats % BEATS_A_REVIEW == 0
            self._wake.set()

    async def _watch_leases(self) -> None:
        while True:
            await self._leases.lost()
            self._log.lease_lost()
            self._fall()
            self._wake.set()

    async def _work(self) -> None:
        pause = FIRST_PAUSE
        while True:
            try:
                async with self._busy:
                    more = await self._step()
            except StoreError as error:
                self._log.failed(error)
                await self._clock.sleep(pause)
                pause = min(2 * pause, LONGEST_PAUSE)
                continue
            pause = FIRST_PAUSE
            if not more:
                await self._wake.wait()
                self._wake.clear()

    async def _step(self) -> bool:
        """One thing to do, the most urgent; false where there is nothing."""
        if self._withdrawn:
            return False
        try:
            if self._claim.other:
                return await self._look()
            if not self._stands:
                return await self._take_over()
            if self._beat_due:
                return await self._beat()
            if self._review_due:
                await self._review()
                return True
            return await self._write()
        except StoreConflictError:
            if not await self._claim.look():
                self._fall()
                self._give_way()
            return True

    async def _take_over(self) -> bool:
        """Become the writer of the keys, and find out what differs from what is wanted."""
        if not self._newest:
            await self._claim.look()
            if self._claim.other:
                self._give_way()
                return True
        there = await self._store.get(self._claim.key)
        if self._config is None:
            if there is None:
                return False
            self._config = there.value
        if there is not None and _id_of(there.value) != _id_of(self._config):
            self._marks_due = True
        lease = await self._lease_for(self._claim.key)
        marks = self._marks_that_go()
        try:
            await self._claim.take(self._config, lease, there, marks)
        except LeaseLostError:
            self._leases.drop([lease])
            raise
        self._forget(marks)
        self._newest = False
        self._stands = self._beat_due = True
        await self._review()
        return True

    def _fall(self) -> None:
        """What is in the store isn't known any more."""
        self._stands = False
        self._reviewed.clear()

    def _give_way(self) -> None:
        if self._claim.other:
            self._log.replaced()
            self._look_due = False
            self._held = {}

    async def _look(self) -> bool:
        """While somebody else writes the keys: whether he still does."""
        if not self._look_due:
            return False
        self._look_due = False
        if not await self._claim.is_over():
            return False
        self._claim.other = False
        self._newest = True
        self._fall()
        return True

    async def _review(self) -> None:
        """
        Compare what is in the store with what is wanted, and let wait what differs. Nobody else writes
        meanwhile.
        """
        self._review_due = True  # also if this one is broken off
        now: dict[str, bytes | None] = {}
        changed: list[str] = []
        marks = synced_prefix(self.cluster)
        for begin in (*self._prefixes.values(), marks):
            async for page in self._store.pages(begin):
                for entry in page.entries:
                    if begin != marks or entry.key in self._marks:
                        now[entry.key] = self._meet(entry, changed)
        missing = [key for key in self._wanted if key not in now]
        gone = [key for key in missing if self._held.get(key) is not None]
        await self._unmark({kind for key in gone if (kind := self._kind_of(key))}, now)
        self._log.reviewed(changed, gone)
        self._held = now
        self._review_due = False
        for key in missing:
            if key not in self._queue and key not in self._marks:
                self._queue.put(key, self._wanted[key])
        for mark, kind in self._marks.items():
            if kind in self._complete and (mark not in self._held or mark in self._queue):
                self._queue.put(mark, Mark(), last=True)
        self._reviews += 1
        if self._stands:
            self._reviewed.set()

    def _meet(self, entry: Entry, changed: list[str]) -> bytes | None:
        """One key that is there, and what is held of it."""
        key = entry.key
        before = self._held.get(key)
        if before is not None and (entry.value != before or entry.lease not in self._used):
            changed.append(key)
        wanted = self._wanted.get(key)
        if wanted == entry.value and self._leases.has(entry.lease):
            return wanted
        if key in self._queue:
            pass
        elif wanted is not None:
            self._queue.put(key, wanted)
        elif key not in self._marks and self._kind_of(key) in self._complete:
            self._queue.put(key, None)
        else:
            self._wanted[key] = entry.value
            self._adopted.add(key)
            self._queue.put(key, entry.value)
        return None

    async def _unmark(self, damaged: set[Kind], now: dict[str, bytes | None]) -> None:
        """Who comes now waits for the keys of these kinds, which aren't all there."""
        marks = [mark for mark, kind in self._marks.items() if kind in damaged and mark in now]
        if marks:
            await self._commit([Delete(mark) for mark in marks])
            for mark in marks:
                del now[mark]

    async def _beat(self) -> bool:
        """Give a sign of life: to readers the heartbeat, to other writers the configuration."""
        config = self._config
        if config is None:
            return False
        lease = await self._lease_for(self._claim.key)
        marks = self._marks_that_go()
        operations: list[Operation] = [Put(self._claim.key, config, lease), *marks]
        if self._heartbeat:
            now = encode_time(self._clock.time())
            operations.append(Put(HEARTBEAT, now, await self._lease_for(HEARTBEAT)))
        self._claim.wrote(await self._commit(operations))
        for each in operations:
            self._leases.written(each.key)
        self._beat_due = self._config != config
        self._forget(marks)
        return True

    def _marks_that_go(self) -> list[Delete]:
        return [Delete(mark) for mark in self._marks] if self._marks_due else []

    def _forget(self, marks: Sequence[Delete]) -> None:
        """These marks are gone."""
        for mark in marks:
            self._marks_due = False
            self._held.pop(mark.key, None)

    async def _write(self) -> bool:
        """Those that have waited longest, as many as go into one transaction."""
        taken: list[tuple[Waiting[Wanted], bytes | None]] = []
        operations: list[Operation] = []
        refused: list[Waiting[Wanted]] = []
        size = 0
        for waiting in self._queue.first(self._most):
            try:
                value = self._encode(waiting.wanted)
            except ValueError as error:
                self._log.refused(waiting.key, error)
                refused.append(waiting)
                continue
            size += len(value or b"")
            if operations and size > MOST_BYTES:
                break
            taken.append((waiting, value))
            if value is None:
                if waiting.key in self._held:
                    operations.append(Delete(waiting.key))
            elif self._held.get(waiting.key) != value:
                operations.append(Put(waiting.key, value, await self._lease_for(waiting.key)))
        if operations:
            # Whether an attempt that isn't answered was carried out stays unknown.
            self._held.update((each.key, None) for each in operations)
            try:
                await self._commit(operations)
            except StoreError as error:
                if type(error) is not StoreError:
                    raise
                await self._refuse(error, [waiting for waiting, _ in taken])
                return True
            self._log.wrote(len(operations))
        self._most = MOST_OPERATIONS
        for waiting, value in taken:
            self._note(waiting.key, value)
        self._queue.done([*refused, *(waiting for waiting, _ in taken)])
        return bool(taken or refused)

    async def _commit(self, operations: Sequence[Operation]) -> int:
        try:
            return await self._store.commit(operations, only_if=[self._claim.condition])
        except LeaseLostError:
            self._leases.drop({each.lease for each in operations if isinstance(each, Put)})
            raise

    async def _refuse(self, error: StoreError, taken: list[Waiting[Wanted]]) -> None:
        """The store takes a transaction never, such as one that is too large: find out whose fault it is."""
        if len(taken) > 1:
            self._most = len(taken) // 2
            return
        await self._store.get(self._claim.key)  # raises where the store takes nothing at all
        for waiting in taken:
            self._log.refused(waiting.key, error)
        self._queue.done(taken)

    def _encode(self, wanted: Wanted) -> bytes | None:
        if isinstance(wanted, Mark):
            return encode_time(self._clock.time())
        return wanted if wanted is None or isinstance(wanted, bytes) else encode(wanted)

    def _note(self, key: str, value: bytes | None) -> None:
        """A key is as it is wanted."""
        self._log.accepted(key)
        if value is not None:
            self._wanted[key] = self._held[key] = value
            self._leases.written(key)
            return
        self._wanted.pop(key, None)
        self._held.pop(key, None)
        self._leases.release(key)

    async def _lease_for(self, key: str) -> int:
        lease = await self._leases.lease_for(key)
        self._used.add(lease)
        return lease

    def _kind_of(self, key: str) -> Kind | None:
        return next((kind for kind, begin in self._prefixes.items() if key.startswith(begin)), None)

    def _mark_of(self, kind: Kind) -> str:
        return next(mark for mark, marked in self._marks.items() if marked == kind)

    # The end

    async def withdraw(self, *, grace: float = 0.0) -> None:
        """
        Remove all keys of the cluster, for ever (`withdraw_keys`); those that somebody else writes by now
        stay.

        Args:
            grace: Seconds to wait between the configuration and the rest, for readers to leave.

        Raises:
            StoreError: The store could not be reached in six tries, or refused.
        """
        self._withdrawn = True
        async with self._busy:
            leases = None if self._newest else self._used
            try:
                for error in await withdraw_keys(
                    self._store, self._clock, self.cluster, cached=self._cached, leases=leases, grace=grace
                ):
                    self._log.failed(error)
            except StoreConflictError:
                self._claim.other = True
                self._log.replaced()
            finally:  # also where it fails, or is broken off by who takes over the keys: he asks anew
                for key in (*self._held, self._claim.key):
                    self._leases.release(key)
                self._wanted.clear()
                self._held.clear()
                self._queue.clear()
                self._reviewed.set()


def _id_of(config: bytes) -> int | None:
    """The cluster id that a configuration tells of, `None` where it can't be read."""
    try:
        return decode_config(config).cluster_id
    except WireError:
        return None
