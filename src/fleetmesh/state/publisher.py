"""
One member's records, published into a store.

The order is that of Cilium's clustermesh-apiserver: the configuration of the cluster first, then each kind's
keys and behind them the mark that says that they are all there (clustermesh-apiserver/clustermesh
synchronizer.go, pkg/clustermesh/clustercfg, pkg/kvstore/store syncstore.go).
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable
from types import TracebackType
from typing import Self, TypeVar

import attrs

from fleetmesh.findings import Finding
from fleetmesh.records import Record
from fleetmesh.state.clock import Clock, SystemClock
from fleetmesh.state.codecs import ClusterConfig, encode_config
from fleetmesh.state.keys import KINDS, Kind, key_of, kind_of, prefix
from fleetmesh.state.leases import LeasePool
from fleetmesh.state.publication import Publication
from fleetmesh.state.publication_status import PublicationStatus
from fleetmesh.state.store import Store

T = TypeVar("T")

_ORDER: tuple[Kind, ...] = ("nodes", "identities", "ip", "services", "endpointslices", "serviceexports")
"""Of a whole publish. Cilium writes all kinds at once; here what others refer to comes first."""

AT_ONCE = 200
"""Records that are looked at before others get a turn."""


class Publisher:
    """
    Writes as long as it is entered. When it is left the records stay until their leases run out, 15 minutes,
    so that a restart interrupts nobody: the next publisher of the member takes them over as they are, and
    what is not wanted any more goes after its first `publish`.

    Of two publishers of one member the one that began last stays, and the other writes nothing more until no
    sign of it has been seen for three minutes; the finding `two-publishers` says so.

    Args:
        store: The member's own etcd, or with `cached` one that several members share. It stays open.
        config: What the member says of itself; its marks are always written, and it is `cached` as this is.
        clock: Of heartbeats, marks and pauses.
        leases: On which the keys hang; publishers of different members into one store may share them.
    """

    def __init__(
        self,
        store: Store,
        *,
        cluster: str,
        config: ClusterConfig,
        cached: bool = False,
        clock: Clock | None = None,
        leases: LeasePool | None = None,
    ) -> None:
        self.cluster = cluster
        self._cached = cached
        config = attrs.evolve(config, synced_canaries=True, cached=cached)
        self._leases = LeasePool(store) if leases is None else leases
        self._shared = leases is not None
        self._publication = Publication(
            store,
            clock or SystemClock(),
            self._leases,
            cluster=cluster,
            cached=cached,
            config=encode_config(config),
        )
        self._giving = asyncio.Lock()
        self._meanwhile: set[str] = set()

    async def __aenter__(self) -> Self:
        self._tasks = await asyncio.TaskGroup().__aenter__()
        self._work = self._tasks.create_task(self._publication.run())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._work.cancel()
        # An error of whoever entered goes on as it is; one of the work cancels him.
        cancelled = isinstance(error, asyncio.CancelledError)
        try:
            await self._tasks.__aexit__(*((kind, error, trace) if cancelled else (None, None, None)))
        finally:
            if not self._shared:
                await self._leases.close()

    def configure(self, config: ClusterConfig) -> None:
        """Say something else of the member."""
        self._publication.configure(
            encode_config(attrs.evolve(config, synced_canaries=True, cached=self._cached))
        )

    async def publish(self, records: Iterable[Record]) -> None:
        """
        Give all records of the member: what is not among them goes. Doing it again costs what has changed.

        They may be written later (`flushed`). What `update` says meanwhile is newer.

        Raises:
            ValueError: A record is of another cluster.
        """
        async with self._giving:
            self._meanwhile.clear()
            wanted: dict[Kind, dict[str, Record]] = {kind: {} for kind in KINDS}
            async for record in _with_pauses(records):
                wanted[kind_of(record)][self._key(record)] = record
            gone = [
                key
                async for key in _with_pauses(self._publication.keys())
                if not any(key in of_kind for of_kind in wanted.values()) and self._publication.wants(key)
            ]
            for kind in _ORDER:
                begin = prefix(kind, self.cluster, cached=self._cached)
                async for key, record in _with_pauses(wanted[kind].items()):
                    if key not in self._meanwhile:
                        self._publication.put(key, record)
                async for key in _with_pauses(gone):
                    if key.startswith(begin) and key not in self._meanwhile:
                        self._publication.delete(key)
                self._publication.complete(kind)

    def update(self, put: Iterable[Record] = (), withdrawn: Iterable[tuple[Kind, str]] = ()) -> None:
        """
        Give what is different from before, and return at once.

        Args:
            withdrawn: Kind and name (`keys.name_of`) of records that went.

        Raises:
            ValueError: A record is of another cluster.
        """
        for key, record in [(self._key(record), record) for record in put]:
            self._give(key, record)
        for kind, name in withdrawn:
            self._give(prefix(kind, self.cluster, cached=self._cached) + name, None)

    async def flushed(self) -> None:
        """Return when all that has been given so far is in the store; as late as that is."""
        await self._publication.flushed()

    async def withdraw(self) -> None:
        """
        Remove all that was published, for a member that leaves the mesh. Nothing is published after that.

        Raises:
            StoreError: The store could not be reached in six tries, or refused.
        """
        await self._publication.withdraw()
        if not self._shared:
            await self._leases.revoke()

    @property
    def status(self) -> PublicationStatus:
        """How far it is."""
        return self._publication.status

    @property
    def findings(self) -> tuple[Finding, ...]:
        """What is worth telling now."""
        return self._publication.findings

    def _give(self, key: str, record: Record | None) -> None:
        if self._giving.locked():
            self._meanwhile.add(key)
        if record is None:
            self._publication.delete(key)
        else:
            self._publication.put(key, record)

    def _key(self, record: Record) -> str:
        if record.cluster != self.cluster:
            raise ValueError(f"a record of {record.cluster!r}, given to the publisher of {self.cluster!r}")
        return key_of(record, cached=self._cached)


async def _with_pauses(values: Iterable[T]) -> AsyncIterator[T]:
    for number, value in enumerate(values, 1):
        yield value
        if not number % AT_ONCE:
            await asyncio.sleep(0)
