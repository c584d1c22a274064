"""A store with a clock, and publishers of a small member that write into it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import attrs

from doubles.clock import ManualClock
from doubles.recording_store import RecordingStore
from doubles.records import address, identity, node, service
from fleetmesh.records import Record
from fleetmesh.state.codecs import ClusterConfig
from fleetmesh.state.keys import HEARTBEAT, KINDS, config_key, synced_key
from fleetmesh.state.leases import LeasePool
from fleetmesh.state.memory import MemoryStore
from fleetmesh.state.publisher import Publisher
from fleetmesh.state.store import Operation, Store

CONFIG = ClusterConfig(cluster_id=1, max_connected_clusters=255, service_exports_enabled=False)
CONFIG_KEY = config_key("east")
MARKS = {kind: synced_key("east", kind, cached=False) for kind in KINDS}
SMALL: list[Record] = [
    node("n1"),
    identity(1),
    address(1),
    address(2),
    service("cart", backends=["10.1.0.1"]),
]


@attrs.define
class Place:
    """A store with a clock, and publishers that write into it."""

    clock: ManualClock = attrs.field(factory=ManualClock)
    data: MemoryStore = attrs.field(init=False)
    store: RecordingStore = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self.data = MemoryStore(clock=self.clock)
        self.store = RecordingStore(self.data)

    def publisher(
        self, store: Store | None = None, *, cached: bool = False, most_keys: int = 1000
    ) -> Publisher:
        store = store or self.store
        leases = LeasePool(store, most_keys=most_keys)
        return Publisher(store, cluster="east", config=CONFIG, cached=cached, clock=self.clock, leases=leases)

    @asynccontextmanager
    async def published(self, *records: Record) -> AsyncIterator[Publisher]:
        async with self.publisher() as publisher:
            await publisher.publish(records)
            await self.clock.settle()
            self.store.commits.clear()
            yield publisher

    def operations(self) -> list[Operation]:
        """All that was written, but for signs of life."""
        signs = {CONFIG_KEY, HEARTBEAT}
        return [each for commit in self.store.commits for each in commit if each.key not in signs]

    async def leases(self) -> dict[str, int]:
        return {entry.key: entry.lease for entry in (await self.data.list("cilium/")).entries}


async def history(store: MemoryStore) -> AsyncIterator[tuple[object, ...]]:
    """All that ever happened in a store."""
    newest = (await store.status()).revision
    async for events in store.watch("", 0):
        if events.changes:
            yield events.changes
        if events.revision >= newest:
            return
