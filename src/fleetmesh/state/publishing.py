"""
A member of this process, published as it changes.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import TYPE_CHECKING

import attrs

from fleetmesh.findings import Finding
from fleetmesh.mesh.published_records import PublishedRecords
from fleetmesh.state.codecs import ClusterConfig
from fleetmesh.state.collector import Bulk
from fleetmesh.state.keys import name_of
from fleetmesh.state.publisher import AT_ONCE, Publisher

if TYPE_CHECKING:
    from fleetmesh.mesh import Mesh
    from fleetmesh.mesh.viewpoint import MemberView, Viewpoint
    from fleetmesh.records import Record
    from fleetmesh.state.clock import Clock
    from fleetmesh.state.leases import LeasePool
    from fleetmesh.state.publication_status import PublicationStatus
    from fleetmesh.state.store import Store

GATHERING = 0.002
"""Seconds that changes are gathered before they are looked at."""


@attrs.define(eq=False)
class Publishing:
    """
    Of one member. Whenever something of it has changed, what may differ of its records is looked at in a
    thread (`PublishedRecords`), and what does differ is given on.
    """

    _mesh: Mesh
    _name: str
    _store: Store
    _clock: Clock
    _leases: LeasePool | None
    _cached: bool
    _publisher: Publisher = attrs.field(init=False)
    _records: PublishedRecords = attrs.field(init=False)
    _published_as: int = attrs.field(default=0, init=False)
    _news: asyncio.Event = attrs.field(factory=asyncio.Event, init=False)
    _last: MemberView | None = attrs.field(default=None, init=False)
    _current: asyncio.Event = attrs.field(factory=asyncio.Event, init=False)

    def __attrs_post_init__(self) -> None:
        self._records = PublishedRecords(self._name)
        self._publisher = Publisher(
            self._store,
            cluster=self._name,
            config=self._config_of(self._mesh.members[self._name].cluster_id),
            cached=self._cached,
            clock=self._clock,
            leases=self._leases,
        )

    @property
    def status(self) -> PublicationStatus:
        """How far it is."""
        return self._publisher.status

    @property
    def findings(self) -> tuple[Finding, ...]:
        """What is worth telling about it."""
        return self._publisher.findings

    def look(self) -> None:
        """The mesh has changed; what isn't this member's costs nothing."""
        if self._mesh.viewpoint().members.get(self._name) is not self._last:
            self._current.clear()
            self._news.set()

    async def run(self, *, after: asyncio.Task[None] | None = None) -> None:
        """
        Publish until cancelled; what is published stays as long as its leases.

        Args:
            after: The end of whoever published the member before on the same leases: what he wrote or removes
                can't be told from what this one does.
        """
        if after is not None:
            await asyncio.wait([after])
        async with self._publisher:
            while True:
                await self._news.wait()
                await self._clock.sleep(GATHERING)
                self._news.clear()
                view = self._mesh.viewpoint()
                member = view.members.get(self._name)
                if member is None:
                    continue  # it has left, and is about to be withdrawn
                self._publisher.configure(self._config_of(member.cluster_id))
                if member.cluster_id == self._published_as:
                    await self._update(*await asyncio.to_thread(self._records.look, view))
                else:
                    await self._publish(view)
                    self._published_as = member.cluster_id
                self._last = member
                self.look()
                if not self._news.is_set():
                    self._current.set()

    async def _publish(self, view: Viewpoint) -> None:
        """All of it, which completes its kinds."""
        bulk = Bulk()
        bulk.note(0, behind=True, waiting=True)
        try:
            await asyncio.to_thread(self._records.look, view)
            await self._publisher.publish(self._records.records.values())
            bulk.note(len(self._records.records), behind=False, waiting=False)
        finally:
            bulk.end()

    async def _update(self, put: Sequence[Record], gone: Sequence[Record]) -> None:
        for first in range(0, max(len(put), len(gone)), AT_ONCE):
            after = first + AT_ONCE
            self._publisher.update(put[first:after], [name_of(record) for record in gone[first:after]])
            await asyncio.sleep(0)

    def _config_of(self, cluster_id: int) -> ClusterConfig:
        return ClusterConfig(
            cluster_id=cluster_id,
            max_connected_clusters=self._mesh.max_connected_clusters,
            service_exports_enabled=True,
            endpoint_slices_export_mode="services-and-endpointslices",
        )

    async def flushed(self) -> None:
        """Wait until what the member has now is in the store."""
        await self._current.wait()
        await self._publisher.flushed()

    async def withdraw(self) -> None:
        """Remove what was published, as the member has left."""
        await self._publisher.withdraw()
