"""
A remote cluster, heard through a store: the states that it goes through.

As Cilium's agents do (pkg/clustermesh/common remote_cluster.go, pkg/clustermesh remote_cluster.go): what the
cluster says of itself is read first, then its id is reserved, then each kind of its records is listed and
watched as soon as the cluster has marked it as complete. Whatever breaks after that, what is known stays.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import aclosing
from functools import partial
from typing import TYPE_CHECKING

import attrs

from fleetmesh.errors import MeshError, StoreDeniedError, StoreError, WireError
from fleetmesh.findings import Finding, finding
from fleetmesh.state.codecs import ClusterConfig, Exporter, decode_config, validate_config
from fleetmesh.state.codecs.words import named
from fleetmesh.state.following import follow
from fleetmesh.state.intake import RECORD_KIND, Piece, Taken
from fleetmesh.state.keys import (
    CONFIG_PREFIX,
    HEARTBEAT,
    KINDS,
    config_key,
    prefix,
    synced_key,
    synced_prefix,
)
from fleetmesh.state.rejections import Rejections
from fleetmesh.state.remote_status import KindStatus, Phase, RemoteStatus

if TYPE_CHECKING:
    from fleetmesh.mesh import Member
    from fleetmesh.state.clock import Clock
    from fleetmesh.state.following import Update
    from fleetmesh.state.intake import Intake
    from fleetmesh.state.keys import Kind
    from fleetmesh.state.seats import Seats
    from fleetmesh.state.store import Store

# Seconds. After two missed signs of life nobody writes a store any more (pkg/kvstore etcd.go, statusChecker).
LONGEST_SILENCE = 120.0
LOOKING = 5.0
FIRST_PAUSE, LONGEST_PAUSE = 1.0, 30.0
MOST_SHOWN = 10
"""Names of other clusters whose store a cluster's may be by mistake."""

_ALWAYS: tuple[Kind, ...] = ("nodes", "identities", "ip")
_REVOKED: tuple[Kind, ...] = ("services", "serviceexports", "endpointslices")
"""What goes after a long silence; addresses stay, so that connections that are open stay whole."""


@attrs.define(eq=False)
class RemoteCluster:
    """
    Attributes:
        cache_ttl: Seconds of silence after which its services are withdrawn, 0 for never
            (`--clustermesh-cache-ttl`).
    """

    name: str
    cache_ttl: float
    _store: Store
    _seats: Seats
    _intake: Intake
    _clock: Clock
    _strict: bool
    _max_connected_clusters: int
    _member: Member | None = attrs.field(default=None, init=False)
    _config: ClusterConfig | None = attrs.field(default=None, init=False)
    _refused: WireError | None = attrs.field(default=None, init=False)
    _conflict: MeshError | None = attrs.field(default=None, init=False)
    _missing: bool = attrs.field(default=False, init=False)
    _foreign: bool = attrs.field(default=False, init=False)
    _other_names: tuple[str, ...] = attrs.field(default=(), init=False)
    _drained: bool = attrs.field(default=False, init=False)
    _store_id: str = attrs.field(default="", init=False)
    _broken: dict[str, StoreError] = attrs.field(factory=dict, init=False)
    _was_heard: bool = attrs.field(default=False, init=False)
    _last_heard: float = attrs.field(default=0.0, init=False)
    _last_beat: float | None = attrs.field(default=None, init=False)
    _failures: int = attrs.field(default=0, init=False)
    _last_failure: float = attrs.field(default=0.0, init=False)
    _last_error: str = attrs.field(default="", init=False)
    _revocations: int = attrs.field(default=0, init=False)
    _revoked: bool = attrs.field(default=False, init=False)
    _rejections: Rejections = attrs.field(init=False)
    _synced: set[Kind] = attrs.field(factory=set, init=False)
    _tasks: asyncio.TaskGroup | None = attrs.field(default=None, init=False)
    _session: asyncio.Task[None] | None = attrs.field(default=None, init=False)
    _sessions: int = attrs.field(default=0, init=False)
    _revoking: set[Kind] = attrs.field(factory=set, init=False)
    _listeners: dict[Kind, asyncio.Task[None]] = attrs.field(factory=dict, init=False)
    _changed: asyncio.Event = attrs.field(factory=asyncio.Event, init=False)

    def __attrs_post_init__(self) -> None:
        self._rejections = Rejections(self.name)

    async def run(self) -> None:
        """Hear it until cancelled. What is known of it stays then, as when an agent stops."""
        self._last_heard = self._clock.monotonic()
        try:
            async with asyncio.TaskGroup() as tasks:
                self._tasks = tasks
                tasks.create_task(self._hear_heartbeats())
                tasks.create_task(self._hear_config())
                tasks.create_task(self._look_at_its_age())
                try:
                    await asyncio.Event().wait()
                finally:
                    self._tasks = None  # nothing is begun any more
        finally:
            self._last_heard = self._clock.monotonic()
            self._last_error = "nobody listens to it any more"
            self._broken["listening"] = StoreError(self._last_error)

    async def drain(self) -> None:
        """Forget all that is known of it; after `run` was cancelled."""
        await self._intake.call(lambda: self._seats.leave(self.name))
        self._member, self._config, self._drained = None, None, True
        self._synced.clear()
        self._rejections.forget()
        self._tell()

    def begin_anew(self) -> None:
        """Take a seat again and list all that it has, as the member that it was has left the mesh."""
        if self._config is not None and self._tasks is not None:
            self._member = None
            self._tasks.create_task(self._begin(self._config))
            self._tell()

    async def synced(self) -> None:
        """Wait until all that it had when it was listed is in force, or nothing of it is wanted any more."""
        while not self._is_synced() and not self._drained:
            self._changed.clear()
            await self._changed.wait()

    # Listening

    async def _hear_heartbeats(self) -> None:
        async with aclosing(follow(self._store, HEARTBEAT, clock=self._clock, exact=True)) as updates:
            async for update in updates:
                self._note("heartbeat", update)
                if update.puts:
                    self._last_beat = self._clock.monotonic()
                if update.trouble is None:
                    await self._identify_store()

    async def _identify_store(self) -> None:
        if not self._store_id:
            try:
                self._store_id = (await self._store.status()).store_id
            except StoreError:
                return  # whoever follows it tells; only a number is missing here

    async def _hear_config(self) -> None:
        key = config_key(self.name)
        async with aclosing(follow(self._store, key, clock=self._clock, exact=True)) as updates:
            async for update in updates:
                self._note("config", update)
                for entry in update.puts:
                    self._missing = self._foreign = False
                    await self._configure(entry.value)
                if key in update.deletes:
                    # What it said stays in force: agents read it once, when they connect.
                    self._refused, self._missing = None, True
                    self._tell()
                if update.listed and self._config is None and self._refused is None:
                    self._foreign = await self._first_keys("cilium/") == []
                    self._other_names = tuple(await self._first_keys(CONFIG_PREFIX) or ())
                    self._missing = True
                    self._tell()

    async def _first_keys(self, begin: str) -> list[str] | None:
        """Behind a prefix; None where that can't be told now."""
        try:
            async with aclosing(self._store.pages(begin)) as pages:  # type: ignore[type-var]
                async for page in pages:
                    return [entry.key.removeprefix(begin) for entry in page.entries[:MOST_SHOWN]]
        except StoreError:
            return None
        return None

    async def _configure(self, value: bytes) -> None:
        try:
            config = decode_config(value)
            validate_config(config, max_connected_clusters=self._max_connected_clusters)
        except WireError as error:
            # What is known stays, as after any other value that is refused.
            self._refused = error
            self._tell()
            return
        self._refused = None
        if config != self._config:
            self._config = config
            await self._begin(config)
        self._tell()

    async def _begin(self, config: ClusterConfig) -> None:
        self._sessions += 1
        session = self._sessions
        if self._session is not None:
            self._session.cancel()
            await asyncio.wait([self._session])
        if self._tasks is None or session != self._sessions:
            return
        self._synced.clear()
        self._listeners.clear()
        self._revoking.clear()
        self._rejections.forget()
        self._session = self._tasks.create_task(self._hear(config))

    async def _hear(self, config: ClusterConfig) -> None:
        """All records, by one configuration."""
        member = await self._reserve(config)
        exporter = Exporter(self.name, config.cluster_id, self._max_connected_clusters)
        wanted = self._wanted(config)
        async with asyncio.TaskGroup() as tasks:
            for kind in [each for each in KINDS if each not in wanted]:
                await self._intake.give(Piece(member, kind, exporter, config.cached, names=frozenset()))
            start = partial(self._start, tasks, member, exporter, cached=config.cached)
            if not config.synced_canaries:
                for kind in wanted:
                    start(kind)
                return
            marks = {synced_key(self.name, kind, cached=config.cached): kind for kind in wanted}
            async with aclosing(follow(self._store, synced_prefix(self.name), clock=self._clock)) as updates:
                async for update in updates:
                    self._note("synced", update)
                    for entry in update.puts:
                        marked = marks.get(entry.key)
                        if marked is not None and marked not in self._listeners:
                            start(marked)

    async def _reserve(self, config: ClusterConfig) -> Member:
        pause = FIRST_PAUSE
        loop, session = asyncio.get_running_loop(), self._sessions

        def evicted() -> None:
            loop.call_soon_threadsafe(self._evicted, session)

        while True:
            try:
                member = await self._intake.call(
                    lambda: self._seats.take(self.name, config.cluster_id, evicted)
                )
            except MeshError as error:
                self._conflict, self._member = error, None
                self._tell()
                await self._clock.sleep(pause)
                pause = min(2 * pause, LONGEST_PAUSE)
            else:
                self._conflict, self._member = None, member
                self._tell()
                return member

    def _evicted(self, session: int) -> None:
        """Another cluster has taken its seat: it begins anew, and waits for the seat."""
        if session == self._sessions:
            self._conflict = MeshError("another cluster has taken its id")
            self.begin_anew()

    def _wanted(self, config: ClusterConfig) -> list[Kind]:
        wanted = list(_ALWAYS)
        if config.endpoint_slices_export_mode != "endpointslices-only":
            wanted.append("services")
        if config.service_exports_enabled is not None:
            wanted.append("serviceexports")
        if self._strict and config.endpoint_slices_export_mode:
            wanted.append("endpointslices")
        return wanted

    def _start(
        self, tasks: asyncio.TaskGroup, member: Member, exporter: Exporter, kind: Kind, *, cached: bool
    ) -> None:
        self._listeners[kind] = tasks.create_task(self._listen(tasks, member, exporter, kind, cached=cached))

    async def _listen(
        self, tasks: asyncio.TaskGroup, member: Member, exporter: Exporter, kind: Kind, *, cached: bool
    ) -> None:
        """Carry one kind of records into the mesh."""
        try:
            await self._carry(member, exporter, kind, cached=cached)
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if kind not in self._revoking or (task is not None and task.cancelling() > 1):
                raise
            self._revoking.discard(kind)
            # Its services were withdrawn: what it has when it comes back is listed anew.
            await self._intake.give(Piece(member, kind, exporter, cached, names=frozenset()))
            self._start(tasks, member, exporter, kind, cached=cached)

    async def _carry(self, member: Member, exporter: Exporter, kind: Kind, *, cached: bool) -> None:
        behind = len(prefix(kind, self.name, cached=cached))
        names: set[str] | None = set()
        source = follow(self._store, prefix(kind, self.name, cached=cached), clock=self._clock)
        async with aclosing(source) as updates:
            async for update in updates:
                self._note(kind, update)
                whole = None
                if names is not None:
                    names.update(entry.key[behind:] for entry in update.puts)
                    names.difference_update(key[behind:] for key in update.deletes)
                    if update.listed:
                        whole, names = frozenset(names), None
                if update.puts or update.deletes or whole is not None:
                    piece = Piece(member, kind, exporter, cached, update.puts, update.deletes, whole)
                    done = await self._intake.give(piece)
                    done.add_done_callback(partial(self._taken, kind, self._sessions, whole))

    def _taken(
        self, kind: Kind, session: int, whole: frozenset[str] | None, done: asyncio.Future[Taken]
    ) -> None:
        if done.cancelled() or done.exception() is not None:
            return  # the mesh has ended; whoever runs it raises
        if session != self._sessions:
            return
        self._rejections.note(kind, done.result(), whole)
        if whole is not None:
            self._synced.add(kind)
            self._tell()

    # Silence

    def _note(self, who: str, update: Update) -> None:
        """Who listens to what has heard something, or is in trouble."""
        now = self._clock.monotonic()
        if update.trouble is not None and not update.connected:
            if not self._broken:
                self._failures += 1
                self._last_failure = self._clock.time()
                self._last_heard = now
            self._last_error = str(update.trouble)
            self._broken[who] = update.trouble
            self._tell()
            return
        self._was_heard = True
        if self._broken.pop(who, None) is not None and not self._broken:
            self._revoked = False
            self._tell()
        if not self._broken:
            self._last_heard = now

    async def _look_at_its_age(self) -> None:
        while True:
            await self._clock.sleep(LOOKING)
            if not self._broken:
                self._revoked = False
            elif self._was_heard and not self._revoked and 0 < self.cache_ttl <= self._lost_for():
                self._revoke()

    def _revoke(self) -> None:
        self._revoked = True
        self._revocations += 1
        for kind in _REVOKED:
            if kind in self._listeners:
                self._synced.discard(kind)
                self._revoking.add(kind)
                self._listeners[kind].cancel()
        self._tell()

    def _stale_for(self) -> float:
        beat = self._beat_age() or 0.0
        return max(self._lost_for(), beat if beat > LONGEST_SILENCE else 0.0)

    def _lost_for(self) -> float:
        """Seconds since the connection broke: what `cache_ttl` counts."""
        return max(self._clock.monotonic() - self._last_heard, 1e-9) if self._broken else 0.0

    def _beat_age(self) -> float | None:
        return None if self._last_beat is None else self._clock.monotonic() - self._last_beat

    # Telling

    def _tell(self) -> None:
        self._changed.set()

    def _is_synced(self) -> bool:
        return (
            self._config is not None
            and self._member is not None
            and self._synced.issuperset(self._wanted(self._config))
        )

    @property
    def phase(self) -> Phase:
        """See `RemoteStatus`."""
        if self._drained:
            return "drained"
        if self._refused is not None and not (self._config is not None and self._stale_for()):
            return "rejected"
        if self._conflict is not None:
            return "conflict"
        if self._is_synced() or self._revoked:
            return "stale" if self._stale_for() else "ready"
        if self._config is not None:
            return "syncing"
        return "waiting" if self._missing and not self._broken else "connecting"

    @property
    def status(self) -> RemoteStatus:
        """As it is now."""
        member, config, stale = self._member, self._config, self._stale_for()
        kinds = () if config is None else self._wanted(config)
        return RemoteStatus(
            name=self.name,
            cluster_id=0 if config is None else config.cluster_id,
            phase=self.phase,
            connected=self._was_heard and not self._broken,
            ready=self.phase == "ready",
            store_id=self._store_id,
            config=config,
            kinds={
                kind: KindStatus(
                    records=0 if member is None else member.heard_count(RECORD_KIND[kind]),
                    synced=kind in self._synced,
                )
                for kind in kinds
            },
            failures=self._failures,
            last_failure=self._last_failure,
            last_error=self._last_error,
            last_heartbeat_age=self._beat_age(),
            stale_for=stale,
            revocations=self._revocations,
            rejected=self._rejections.count,
            findings=tuple(self._findings()),
        )

    def _findings(self) -> Iterator[Finding]:
        subject = f"Cluster {self.name}"
        if self._refused is not None:
            yield finding("remote-config-rejected", subject, f"its cluster-config: {self._refused}")
        if self._conflict is not None:
            yield finding("cluster-id-conflict", subject, f"{self._conflict}; it is tried again")
        if self._foreign:
            yield finding("store-not-cilium", subject, "its store has no key that begins with cilium/")
        elif self._missing:
            others = ", ".join(map(named, self._other_names))
            message = f"its store has no key {config_key(self.name)}"
            message += f", but says what these are: {others}" if others else ""
            message += " any more; what it said is in force" if self._config is not None else ""
            yield finding("remote-config-missing", subject, message)
        if self._config is not None and (self._config.unknown or self._config.unknown_fields):
            names = ", ".join(map(named, sorted({*self._config.unknown, *self._config.unknown_fields})))
            yield finding("unknown-capability", subject, f"its cluster-config has {names}")
        if self._config is not None and self._config.endpoint_slices_export_mode == "endpointslices-only":
            yield finding("services-not-exported", subject, "none of its backends is used")
        yield from self._findings_of_silence(subject)
        yield from self._rejections.findings()

    def _findings_of_silence(self, subject: str) -> Iterator[Finding]:
        denied = {who: error for who, error in self._broken.items() if isinstance(error, StoreDeniedError)}
        for who, error in sorted(denied.items()):
            yield finding("store-denied", subject, f"{who}: {error}")
        silence = self._stale_for()
        if not silence or len(denied) == len(self._broken) > 0:
            return
        why = self._last_error if self._broken else "nobody writes its heartbeat"
        if self._revoked:
            yield finding(
                "remote-cache-expired",
                subject,
                f"silent for {silence:.0f} s, more than cache_ttl {self.cache_ttl:.0f} s: {why}",
            )
        else:
            what = "what it published last is in force" if self._member else "nothing of it is known"
            yield finding("remote-stale", subject, f"not heard for {silence:.0f} s: {why}; {what}")
