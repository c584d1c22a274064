"""
One remote cluster's keys, copied into the local store for agents of Cilium to read, as kvstoremesh does it
(Cilium pkg/clustermesh/kvstoremesh remote_cluster.go and reflector/).

Values are forwarded as they are, also those that nobody could read. Where the remote store can't be reached
the copy stays, but for services once `cache_ttl` is over.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from contextlib import aclosing
from types import MappingProxyType

import attrs

from fleetmesh.errors import WireError
from fleetmesh.findings import Finding, finding
from fleetmesh.state.clock import Clock
from fleetmesh.state.codecs import ClusterConfig, decode_config, encode_config
from fleetmesh.state.following import Update, follow
from fleetmesh.state.keys import KINDS, Kind, config_key, prefix, synced_key, synced_prefix
from fleetmesh.state.leases import LeasePool
from fleetmesh.state.publication import Publication
from fleetmesh.state.publication_status import PublicationStatus
from fleetmesh.state.store import Store

EXPIRING: tuple[Kind, ...] = ("services", "endpointslices", "serviceexports")
"""What goes when a cluster is silent for too long; the others stay so that flows that go on aren't broken."""


@attrs.frozen(kw_only=True)
class MirrorStatus:
    """
    What kvstoremesh tells of a remote cluster (api/v1/models, `RemoteCluster`).

    Attributes:
        ready: All that the cluster publishes is copied, and followed.
        connected: Whether its store is heard at the moment.
        config: What the cluster says of itself, `None` until it was heard.
        entries: Keys of each kind in the copy.
        synced: Kind -> whether all of it has been heard; kinds that the cluster does not publish are left
            out.
        failures: How often the connection was lost.
        last_failure: Seconds since 1970, `None` without.
        trouble: What is wrong with the connection, "" where nothing is.
        local: How far the copy is written.
    """

    cluster: str
    ready: bool
    connected: bool
    config: ClusterConfig | None
    entries: Mapping[Kind, int]
    synced: Mapping[Kind, bool]
    failures: int
    last_failure: float | None
    trouble: str
    local: PublicationStatus


class MirroredCluster:
    """
    Args:
        cache_ttl: Seconds without connection after which services, exports and EndpointSlices leave the
            copy; 0:
            never.
    """

    def __init__(
        self, local: Store, clock: Clock, leases: LeasePool, *, cluster: str, cache_ttl: float = 0.0
    ) -> None:
        self.cluster = cluster
        self.publication = Publication(local, clock, leases, cluster=cluster, cached=True, heartbeat=False)
        self._clock = clock
        self._cache_ttl = cache_ttl
        self._names: dict[Kind, set[str]] = {kind: set() for kind in KINDS}
        self._config: ClusterConfig | None = None
        self._marks: set[str] = set()
        self._synced: set[Kind] = set()
        self._connected = False
        self._silent_since: float | None = None
        self._expired = False
        self._changed = asyncio.Event()
        self._failures = 0
        self._last_failure: float | None = None
        self._trouble = "not connected yet"
        self._rejected: Finding | None = None

    @property
    def status(self) -> MirrorStatus:
        """How far it is."""
        enabled = self._enabled()
        synced: dict[Kind, bool] = {kind: kind in self._synced for kind in KINDS if kind in enabled}
        return MirrorStatus(
            cluster=self.cluster,
            ready=self._connected and self._config is not None and all(synced.values()),
            connected=self._connected,
            config=self._config,
            entries=MappingProxyType({kind: len(names) for kind, names in self._names.items()}),
            synced=MappingProxyType(synced),
            failures=self._failures,
            last_failure=self._last_failure,
            trouble=self._trouble,
            local=self.publication.status,
        )

    @property
    def findings(self) -> tuple[Finding, ...]:
        """What is worth telling now, of the remote cluster and of its copy."""
        found = list(self.publication.findings)
        subject = f"Cluster {self.cluster}"
        if self._rejected is not None:
            found.append(self._rejected)
        if self._expired:
            message = f"it has been silent for {self._cache_ttl:g} s; its services left the copy"
            found.append(finding("remote-cache-expired", subject, message))
        elif self._silent_since is not None:
            silence = self._clock.monotonic() - self._silent_since
            message = f"not heard for {silence:.0f} s: {self._trouble}; its copy stays"
            found.append(finding("remote-stale", subject, message))
        return tuple(found)

    async def hear(self, remote: Store) -> None:
        """
        Copy what is in the remote cluster's store, until cancelled. It may be heard again, in another store
        too.
        """
        following = _Following(self, remote)
        async with asyncio.TaskGroup() as tasks:
            following.tasks = tasks
            tasks.create_task(following.config())
            tasks.create_task(following.marks())
            tasks.create_task(self._expire(following))

    async def _expire(self, following: _Following) -> None:
        while True:
            if self._silent_since is None or self._expired or not self._cache_ttl:
                await self._changed.wait()
                self._changed.clear()
                continue
            left = self._silent_since + self._cache_ttl - self._clock.monotonic()
            if left > 0:
                await self._clock.sleep(left)
                continue
            self._expired = True
            for kind in EXPIRING:
                following.stop(kind)
                self._drop(kind, self._names[kind])

    def _enabled(self) -> frozenset[Kind]:
        """Kinds that the cluster publishes (reflector/cell.go)."""
        config = self._config
        if config is None:
            return frozenset()
        mode = config.endpoint_slices_export_mode
        without: set[Kind] = set()
        if mode == "endpointslices-only":
            without.add("services")
        if not mode:
            without.add("endpointslices")
        if config.service_exports_enabled is None:
            without.add("serviceexports")
        return frozenset(KINDS) - without

    def _key(self, kind: Kind, name: str) -> str:
        return prefix(kind, self.cluster, cached=True) + name

    def _put(self, kind: Kind, name: str, value: bytes) -> None:
        self._names[kind].add(name)
        self.publication.put(self._key(kind, name), value)

    def _drop(self, kind: Kind, names: set[str]) -> None:
        for name in sorted(names & self._names[kind]):
            self._names[kind].discard(name)
            self.publication.delete(self._key(kind, name))

    def _configure(self, value: bytes) -> bool:
        """Take over what the cluster says of itself; whether it says something else than before."""
        try:
            config = decode_config(value)
        except WireError as error:
            message = f"its configuration can't be read: {error}; what was valid before stays"
            self._rejected = finding("remote-config-rejected", f"Cluster {self.cluster}", message)
            return False
        self._rejected = None
        # A capability that isn't known here isn't one of the copy.
        copy = attrs.evolve(config, synced_canaries=True, cached=True, unknown={}, unknown_fields={})
        self.publication.configure(encode_config(copy))
        before, self._config = self._config, config
        return before != config

    def _note_connection(self, update: Update) -> None:
        if not update.connected:
            self._trouble = str(update.trouble)
        if update.connected == self._connected:
            return
        self._connected = update.connected
        self._changed.set()
        if update.connected:
            self._silent_since = None
            self._trouble = ""
            return
        self._failures += 1
        self._last_failure = self._clock.time()
        if self._config is not None:
            self._silent_since = self._clock.monotonic()


class _Following:
    """
    The remote store, heard: which of its prefixes are followed at the moment.
    """

    tasks: asyncio.TaskGroup

    def __init__(self, cluster: MirroredCluster, remote: Store) -> None:
        self.cluster = cluster
        self.remote = remote
        self.running: dict[Kind, asyncio.Task[None]] = {}

    async def config(self) -> None:
        """Follow what the cluster says of itself, and whether its store is heard at all."""
        cluster = self.cluster
        key = config_key(cluster.cluster)
        async with aclosing(follow(self.remote, key, clock=cluster._clock, exact=True)) as updates:
            async for update in updates:
                cluster._note_connection(update)
                told = [entry.value for entry in update.puts]
                if told and cluster._configure(told[-1]):
                    self.begin_anew()
                elif cluster._expired and update.connected:
                    self.come_back()

    async def marks(self) -> None:
        """Follow which kinds have been written in whole: only then the absence of a key means something."""
        cluster = self.cluster
        begin = synced_prefix(cluster.cluster)
        async with aclosing(follow(self.remote, begin, clock=cluster._clock)) as updates:
            async for update in updates:
                cluster._marks.update(entry.key for entry in update.puts)
                self.begin()

    def begin_anew(self) -> None:
        """Whatever is followed is followed as the cluster says now."""
        for kind in KINDS:
            self.stop(kind)
        self.cluster._synced.clear()
        self.begin()

    def begin(self) -> None:
        """Follow what can be followed and isn't yet; what the cluster does not publish leaves the copy."""
        cluster, config = self.cluster, self.cluster._config
        if config is None:
            return
        enabled = cluster._enabled()
        for kind in KINDS:
            if kind not in enabled:
                cluster._drop(kind, cluster._names[kind])
                cluster.publication.complete(kind)
            elif kind in self.running or (cluster._expired and kind in EXPIRING):
                continue
            elif not config.synced_canaries or self._mark(kind, config) in cluster._marks:
                self.running[kind] = self.tasks.create_task(self.kind(kind, cached=config.cached))

    def _mark(self, kind: Kind, config: ClusterConfig) -> str:
        return synced_key(self.cluster.cluster, kind, cached=config.cached)

    def come_back(self) -> None:
        """What had expired is copied anew."""
        self.cluster._expired = False
        self.begin()

    def stop(self, kind: Kind) -> None:
        """Follow a kind no more; what was copied of it stays."""
        task = self.running.pop(kind, None)
        if task is not None:
            task.cancel()
        self.cluster._synced.discard(kind)

    async def kind(self, kind: Kind, *, cached: bool) -> None:
        """Copy the keys of a kind."""
        cluster = self.cluster
        begin = prefix(kind, cluster.cluster, cached=cached)
        unseen = set(cluster._names[kind])
        async with aclosing(follow(self.remote, begin, clock=cluster._clock)) as updates:
            async for update in updates:
                for entry in update.puts:
                    name = entry.key[len(begin) :]
                    unseen.discard(name)
                    cluster._put(kind, name, entry.value)
                cluster._drop(kind, {key[len(begin) :] for key in update.deletes})
                if update.listed:
                    cluster._drop(kind, unseen)
                    cluster._synced.add(kind)
                    cluster.publication.complete(kind)
