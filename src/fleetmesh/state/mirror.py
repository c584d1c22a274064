"""
Remote clusters copied into the local store, so that agents of Cilium hear them there: what kvstoremesh is for
(Cilium pkg/clustermesh/kvstoremesh, pkg/clustermesh/common clustermesh.go).

kvstoremesh elects a leader by a lock in the store (`cilium/kvstoremesh-lock`). Here each copied cluster has
one writer at a time by its configuration (`Claim`), of which the newest wins.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from types import MappingProxyType, TracebackType
from typing import Self

import attrs

from fleetmesh.errors import StoreError
from fleetmesh.findings import Finding, finding
from fleetmesh.state.clock import Clock, SystemClock
from fleetmesh.state.leases import LeasePool
from fleetmesh.state.mirrored_cluster import MirroredCluster, MirrorStatus
from fleetmesh.state.store import Store

GRACE = 180.0
"""Seconds between the end of a cluster's configuration and that of its records (`drainGracePeriod`)."""


@attrs.define(eq=False)
class _Copied:
    """
    A cluster that is copied.

    Attributes:
        store: Where it is heard; another one makes it be heard there.
        work: Ends when it is cancelled.
    """

    cluster: MirroredCluster
    store: Store
    work: asyncio.Task[None] = attrs.field(init=False)
    moved: asyncio.Event = attrs.field(factory=asyncio.Event)

    async def run(self) -> None:
        """Hear and write."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self.cluster.publication.run())
            while True:
                store = self.store
                hearing = tasks.create_task(self.cluster.hear(store))
                await self.moved.wait()
                self.moved.clear()
                hearing.cancel()
                await asyncio.wait([hearing])
                await store.aclose()


class Mirror:
    """
    Copies while it is entered; when it is left the copies stay until their leases run out, so that a restart
    interrupts nobody.

    Args:
        local: Where the copies go. It stays open.
        cache_ttl: As for `MirroredCluster`.
    """

    def __init__(
        self,
        local: Store,
        *,
        clock: Clock | None = None,
        leases: LeasePool | None = None,
        cache_ttl: float = 0.0,
    ) -> None:
        self._local = local
        self._clock = clock or SystemClock()
        self._leases = LeasePool(local) if leases is None else leases
        self._shared = leases is not None
        self._cache_ttl = cache_ttl
        self._copied: dict[str, _Copied] = {}
        self._leaving: dict[str, asyncio.Task[None]] = {}
        self._coming_back: dict[str, Store] = {}
        self._left_behind: dict[str, Finding] = {}

    async def __aenter__(self) -> Self:
        self._tasks = await asyncio.TaskGroup().__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for task in (*(copied.work for copied in self._copied.values()), *self._leaving.values()):
            task.cancel()
        stores = [*(copied.store for copied in self._copied.values()), *self._coming_back.values()]
        try:
            await self._tasks.__aexit__(kind, error, trace)
        finally:
            for store in stores:
                await store.aclose()
            if not self._shared:
                await self._leases.close()

    async def add(self, cluster: str, store: Store) -> None:
        """
        Copy a cluster, from a store that the mirror closes when it is done with it. A cluster that is copied
        already is heard in the new store from now on; one whose copy is being removed comes back after that.
        """
        if cluster in self._leaving:
            await self._forget(cluster)
            self._coming_back[cluster] = store
        elif cluster in self._copied:
            copied = self._copied[cluster]
            copied.store = store
            copied.moved.set()
        else:
            self._begin(cluster, store)

    async def remove(self, cluster: str) -> None:
        """
        Remove a cluster's copy in the background: its configuration at once, the rest after `GRACE` seconds.
        One that isn't copied is passed over.
        """
        if cluster in self._leaving:
            await self._forget(cluster)
        elif cluster in self._copied:
            copied = self._copied.pop(cluster)
            self._leaving[cluster] = self._tasks.create_task(self._remove(copied))

    @property
    def status(self) -> Mapping[str, MirrorStatus]:
        """Of every cluster that is copied, by name."""
        return MappingProxyType({name: self._copied[name].cluster.status for name in sorted(self._copied)})

    @property
    def leaving(self) -> frozenset[str]:
        """Clusters whose copies are being removed."""
        return frozenset(self._leaving)

    @property
    def findings(self) -> tuple[Finding, ...]:
        """What is worth telling now."""
        told = (each for name in sorted(self._copied) for each in self._copied[name].cluster.findings)
        return (*told, *self._left_behind.values())

    def _begin(self, name: str, store: Store) -> None:
        self._left_behind.pop(name, None)
        cluster = MirroredCluster(
            self._local, self._clock, self._leases, cluster=name, cache_ttl=self._cache_ttl
        )
        copied = _Copied(cluster, store)
        copied.work = self._tasks.create_task(copied.run())
        self._copied[name] = copied

    async def _remove(self, copied: _Copied) -> None:
        cluster = copied.cluster
        copied.work.cancel()
        await asyncio.wait([copied.work])
        await copied.store.aclose()
        try:
            await cluster.publication.withdraw(grace=GRACE)
        except StoreError as error:
            message = f"its copy could not be removed: {error}"
            self._left_behind[cluster.cluster] = finding(
                "withdrawal-failed", f"Cluster {cluster.cluster}", message
            )
        del self._leaving[cluster.cluster]
        if (store := self._coming_back.pop(cluster.cluster, None)) is not None:
            self._begin(cluster.cluster, store)

    async def _forget(self, name: str) -> None:
        store = self._coming_back.pop(name, None)
        if store is not None:
            await store.aclose()
