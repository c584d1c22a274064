"""
A member of this process, published as it changes.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import attrs

from fleetmesh.findings import Finding
from fleetmesh.mesh.publish import records_of
from fleetmesh.state.codecs import ClusterConfig
from fleetmesh.state.publisher import Publisher

if TYPE_CHECKING:
    from fleetmesh.mesh import Mesh
    from fleetmesh.mesh.viewpoint import MemberView
    from fleetmesh.state.clock import Clock
    from fleetmesh.state.leases import LeasePool
    from fleetmesh.state.publication_status import PublicationStatus
    from fleetmesh.state.store import Store

GATHERING = 0.002
"""Seconds that changes are gathered before they are looked at."""


@attrs.define(eq=False)
class Publishing:
    """Of one member; looks at all its records whenever something of the member has changed."""

    _mesh: Mesh
    _name: str
    _store: Store
    _clock: Clock
    _leases: LeasePool | None
    _cached: bool
    _publisher: Publisher = attrs.field(init=False)
    _news: asyncio.Event = attrs.field(factory=asyncio.Event, init=False)
    _last: MemberView | None = attrs.field(default=None, init=False)
    _current: asyncio.Event = attrs.field(factory=asyncio.Event, init=False)

    def __attrs_post_init__(self) -> None:
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
                records = await asyncio.to_thread(records_of, view, self._name, None)
                await self._publisher.publish(records)
                self._last = member
                self.look()
                if not self._news.is_set():
                    self._current.set()

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
