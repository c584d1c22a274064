"""
A mesh that runs: its own members are published, and those of other processes heard, through stores.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from types import MappingProxyType
from typing import TYPE_CHECKING

import attrs

from fleetmesh.errors import StoreError
from fleetmesh.findings import Finding, finding
from fleetmesh.mesh.report import ordered
from fleetmesh.state.addresses import contested_addresses
from fleetmesh.state.changes import Changes
from fleetmesh.state.clock import Clock, SystemClock
from fleetmesh.state.codecs import zstd
from fleetmesh.state.intake import Intake
from fleetmesh.state.keys import bases
from fleetmesh.state.leases import LeasePool
from fleetmesh.state.publishing import Publishing
from fleetmesh.state.remote import RemoteCluster
from fleetmesh.state.seats import Seats
from fleetmesh.state.shared_watches import SharedWatches

if TYPE_CHECKING:
    from fleetmesh.mesh import Delta, Member, Mesh
    from fleetmesh.state.publication_status import Phase as PublicationPhase
    from fleetmesh.state.publication_status import PublicationStatus
    from fleetmesh.state.remote_status import Phase as RemotePhase
    from fleetmesh.state.remote_status import RemoteStatus
    from fleetmesh.state.store import Store


@asynccontextmanager
async def run(
    mesh: Mesh, *, store: Store | Mapping[str, Store], clock: Clock | None = None
) -> AsyncIterator[Live]:
    """
    Run a mesh on stores, as long as it is entered.

    Members that joined in the ordinary way belong to this process and are published; those that joined with
    `outside` are heard. When it is left, what was published stays for the 15 minutes of its leases, so that a
    restart interrupts nobody, and what was heard stays in the mesh.

    Args:
        store: One for all members, in Cilium's `cache` form, as kvstoremesh keeps it; or one for each
            member's name, in its `state` form, as clustermesh-apiserver does. A name that is no member is of
            a cluster that joins once its store says what it is. Stores stay open.
        clock: Of everything that waits; the machine's, if there is none.

    Raises:
        ValueError: A member of another process has no store.
        ImportError: In mode `strict`, which reads slices of endpoints, zstandard (extra `etcd`) is missing.
    """
    if mesh.mode == "strict" and not zstd.is_available():
        raise ImportError("mode strict reads slices of endpoints: pip install 'fleetmesh[etcd]'")
    if isinstance(store, Mapping):
        lacking = [name for name, member in mesh.members.items() if member.outside and name not in store]
        if lacking:
            raise ValueError(f"no store for {', '.join(lacking)}, which other processes run")
    declared = frozenset(name for name, member in mesh.members.items() if member.outside)
    clock = SystemClock() if clock is None else clock
    leases = None if isinstance(store, Mapping) else LeasePool(store)
    failure: Exception | None = None
    try:
        async with Intake(mesh, clock) as intake, asyncio.TaskGroup() as tasks:
            live = Live(mesh, store, leases, clock, intake, Seats(mesh, declared), tasks)
            mesh.listeners.add(live._told)
            try:
                live._begin()
                yield live
            except Exception as error:  # noqa: BLE001  # raised again, but not in a group
                failure = error
            finally:
                mesh.listeners.remove(live._told)
                live._stop()
    finally:
        if leases is not None:
            await leases.close()
    if failure is not None:
        raise failure


@attrs.define(eq=False)
class Live:
    """
    A mesh on its stores; see `run`.

    Attributes:
        mesh: It changes as others are heard; what is asked of it is answered from the newest state.
    """

    mesh: Mesh
    _store: Store | Mapping[str, Store]
    _leases: LeasePool | None
    _clock: Clock
    _intake: Intake
    _seats: Seats
    _tasks: asyncio.TaskGroup
    _loop: asyncio.AbstractEventLoop = attrs.field(factory=asyncio.get_running_loop, init=False)
    _remotes: dict[str, tuple[RemoteCluster, asyncio.Task[None]]] = attrs.field(factory=dict, init=False)
    _publishing: dict[str, tuple[Publishing, asyncio.Task[None]]] = attrs.field(factory=dict, init=False)
    _readers: list[Changes] = attrs.field(factory=list, init=False)
    _leaving: dict[str, asyncio.Task[None]] = attrs.field(factory=dict, init=False)
    _left_behind: dict[str, Finding] = attrs.field(factory=dict, init=False)
    _stores: dict[str, Store] = attrs.field(factory=dict, init=False)
    _members: dict[str, Member] = attrs.field(factory=dict, init=False)
    _outside: set[str] = attrs.field(factory=set, init=False)
    _shared: SharedWatches | None = attrs.field(default=None, init=False)
    _over: bool = attrs.field(default=False, init=False)

    # Asking

    @property
    def remotes(self) -> Mapping[str, RemoteStatus]:
        """The clusters that are heard, by name."""
        return MappingProxyType({name: self._remotes[name][0].status for name in sorted(self._remotes)})

    @property
    def publications(self) -> Mapping[str, PublicationStatus]:
        """How far the publishing of this process's members is, by name."""
        return MappingProxyType({name: self._publishing[name][0].status for name in sorted(self._publishing)})

    @property
    def phases(self) -> tuple[tuple[str, RemotePhase | PublicationPhase], ...]:
        """
        Of the clusters that are heard, then of the members that are published, by name: what of `remotes` and
        `publications` can be asked often.
        """
        heard = ((name, self._remotes[name][0].phase) for name in sorted(self._remotes))
        published = ((name, self._publishing[name][0].status.phase) for name in sorted(self._publishing))
        return (*heard, *published)

    @property
    def findings(self) -> tuple[Finding, ...]:
        """What is worth telling about the stores and those who are heard; those of the mesh are its own."""
        return ordered([*self.store_findings, *contested_addresses(self.mesh.viewpoint())])

    @property
    def store_findings(self) -> tuple[Finding, ...]:
        """Those of them that cost nothing that grows with what is published."""
        found = [each for remote, _ in self._remotes.values() for each in remote.status.findings]
        found += (each for publishing, _ in self._publishing.values() for each in publishing.findings)
        found += self._left_behind.values()
        found += (
            finding("member-without-store", f"Cluster {name}", "another process runs it, and it isn't heard")
            for name, member in self.mesh.members.items()
            if member.outside and name not in self._remotes
        )
        return ordered(found)

    def changes(self) -> Changes:
        """Every transaction of the mesh from now on, in order, whoever made it; close it when done."""
        changes = Changes(self._readers.remove)
        self._readers.append(changes)
        return changes

    async def synced(self) -> None:
        """
        Wait until all that the others had when they were listed is in force, and all that this process has is
        published. It can take for ever: others may not be there.
        """
        self._follow_members()  # it may have changed without having told yet
        for remote, _ in list(self._remotes.values()):
            await remote.synced()
        for publishing, _ in list(self._publishing.values()):
            await publishing.flushed()

    # Clusters that come and go

    def connect(self, name: str, store: Store) -> None:
        """
        Hear a cluster through a store of its own, or through another one than before. It joins the mesh once
        the store says what it is.
        """
        self._stop_hearing(name)
        self._stores[name] = store
        self._hear(name, store)

    async def disconnect(self, name: str) -> None:
        """Stop hearing a cluster, and forget all that is known of it. One that isn't heard is passed over."""
        self._stores.pop(name, None)
        known = self._remotes.get(name)
        if known is not None:
            remote, task = known
            task.cancel()
            await asyncio.wait([task])
            await remote.drain()
            if self._remotes.get(name) is known:  # until now nobody was to hear it anew
                del self._remotes[name]

    # Inside

    def _begin(self) -> None:
        if isinstance(self._store, Mapping):
            self._stores.update(self._store)
            for name, store in self._store.items():
                if name not in self.mesh.members or self.mesh.members[name].outside:
                    self._hear(name, store)
        else:
            self._shared = SharedWatches(self._store, bases())
        self._follow_members()

    def _stop(self) -> None:
        self._over = True
        for _, task in (*self._remotes.values(), *self._publishing.values()):
            task.cancel()
        for task in self._leaving.values():
            task.cancel()

    def _told(self, delta: Delta) -> None:
        """In the thread of whoever wrote."""
        self._loop.call_soon_threadsafe(self._note, delta, self._seats.lost())

    def _note(self, delta: Delta, lost: tuple[str, ...]) -> None:
        for reader in self._readers:
            reader.tell(delta)
        if self._over:
            return  # what is begun now nobody would end
        for name in lost:
            self._lost(name)
        self._follow_members()

    def _lost(self, name: str) -> None:
        """A cluster that is heard was let go of by whoever has the mesh; it may be back already."""
        member = self.mesh.members.get(name)
        if member is None or not member.outside:
            self._stop_hearing(name)
        elif name in self._remotes:
            self._remotes[name][0].begin_anew()

    def _stop_hearing(self, name: str) -> None:
        known = self._remotes.pop(name, None)
        if known is not None:
            known[1].cancel()

    def _follow_members(self) -> None:
        """After each transaction, most of which leave the members as they are."""
        members = self.mesh.members
        if dict(members) != self._members:
            self._members = dict(members)
            self._outside = {name for name, member in members.items() if member.outside}
            for remote, _ in self._remotes.values():
                remote.cache_ttl = self._cache_ttl
        for name in [name for name in self._publishing if name not in members]:
            publishing, task = self._publishing.pop(name)
            task.cancel()
            self._leaving[name] = self._tasks.create_task(self._withdraw(name, publishing))
        shared = None if isinstance(self._store, Mapping) else self._store
        for name in members:
            store = self._stores.get(name) if shared is None else shared
            if store is None:
                continue
            if name not in self._outside:
                self._publish(name, store)
            elif name not in self._remotes:
                self._hear(name, store)

    @property
    def _cache_ttl(self) -> float:
        """Records are facts of the whole mesh: the first of its members that would drop them does."""
        ttls = (each.settings.cache_ttl for name, each in self._members.items() if name not in self._outside)
        return min(filter(None, ttls), default=0)

    def _publish(self, name: str, store: Store) -> None:
        if name not in self._publishing:
            publishing = Publishing(
                self.mesh, name, store, self._clock, self._leases, cached=self._leases is not None
            )
            self._left_behind.pop(name, None)
            leaving = self._leaving.pop(name, None)
            if leaving is not None:
                leaving.cancel()  # what is there is taken over, and what isn't wanted any more goes then
            self._publishing[name] = (publishing, self._tasks.create_task(publishing.run(after=leaving)))
        self._publishing[name][0].look()

    async def _withdraw(self, name: str, publishing: Publishing) -> None:
        try:
            await publishing.withdraw()
        except StoreError as error:
            message = f"it has left, and its keys are still there: {error}"
            self._left_behind[name] = finding("withdrawal-failed", f"Cluster {name}", message)
        del self._leaving[name]

    def _hear(self, name: str, store: Store) -> None:
        if self._shared is not None and store is self._store:
            store = self._shared
        remote = RemoteCluster(
            name=name,
            cache_ttl=self._cache_ttl,
            store=store,
            seats=self._seats,
            intake=self._intake,
            clock=self._clock,
            strict=self.mesh.mode == "strict",
            max_connected_clusters=self.mesh.max_connected_clusters,
        )
        self._remotes[name] = (remote, self._tasks.create_task(remote.run()))
