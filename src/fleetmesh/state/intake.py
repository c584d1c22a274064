"""
From what stores tell to transactions of a mesh: decoded, gathered and taken in by a thread of its own.

The event loop only carries entries to and fro. What arrives within 2 ms, or while the last batch is taken in
and for as long after it, 0.1 s at most, is one transaction: that of a record of each of a hundred members
costs little less than that of ten. Where more are waiting, it is of 2,000 records at most.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from sys import intern
from types import MappingProxyType, TracebackType
from typing import TYPE_CHECKING, Self, TypeVar

import attrs

from fleetmesh.errors import WireError
from fleetmesh.mesh.hearing import hear_all
from fleetmesh.state.codecs import decode_all
from fleetmesh.state.collector import Bulk
from fleetmesh.state.keys import prefix

if TYPE_CHECKING:
    from fleetmesh.mesh import Member, Mesh
    from fleetmesh.mesh.heard import RecordKey
    from fleetmesh.records import Record
    from fleetmesh.state.clock import Clock
    from fleetmesh.state.codecs import Exporter
    from fleetmesh.state.keys import Kind
    from fleetmesh.state.store import Entry

MOST_RECORDS = 2_000
GATHERING, LONGEST_GATHERING = 0.002, 0.1  # seconds
MOST_WAITING = 2 * MOST_RECORDS

RECORD_KIND: Mapping[Kind, str] = MappingProxyType(
    {
        "nodes": "node",
        "services": "service",
        "endpointslices": "endpoints",
        "serviceexports": "export",
        "ip": "ip",
        "identities": "identity",
    }
)
"""What a mesh calls the records of a kind of keys."""

R = TypeVar("R")


@attrs.frozen(eq=False)
class Piece:
    """
    What a store told of one kind of a cluster's records.

    Attributes:
        names: If not None, the list is whole: what is known under other names has gone meanwhile.
    """

    member: Member
    kind: Kind
    exporter: Exporter
    cached: bool
    puts: tuple[Entry, ...] = ()
    deletes: tuple[str, ...] = ()
    names: frozenset[str] | None = None
    _behind: int = attrs.field(init=False)

    @_behind.default
    def _prefix_length(self) -> int:
        return len(prefix(self.kind, self.exporter.cluster, cached=self.cached))

    @property
    def size(self) -> int:
        """How many records it is about."""
        return len(self.puts) + len(self.deletes)

    def name(self, key: str) -> str:
        """The part of a key behind the prefix; addresses stand in many places, and once in memory."""
        return intern(key[self._behind :])


@attrs.frozen
class Taken:
    """
    What became of a piece.

    Attributes:
        accepted: Names of values that are in force now.
        rejected: Name -> why its value is not.
        withdrawn: Names that are not there any more.
    """

    accepted: tuple[str, ...]
    rejected: Mapping[str, WireError]
    withdrawn: tuple[str, ...]


@attrs.define(eq=False)
class Intake:
    """Of one mesh. Pieces are taken in in the order in which they are given."""

    _mesh: Mesh
    _clock: Clock
    _waiting: deque[tuple[Piece, asyncio.Future[Taken]]] = attrs.field(factory=deque, init=False)
    _count: int = attrs.field(default=0, init=False)
    _news: asyncio.Event = attrs.field(factory=asyncio.Event, init=False)
    _room: asyncio.Event = attrs.field(factory=asyncio.Event, init=False)
    _thread: ThreadPoolExecutor = attrs.field(init=False)
    _tasks: asyncio.TaskGroup = attrs.field(factory=asyncio.TaskGroup, init=False)
    _task: asyncio.Task[None] = attrs.field(init=False)
    _bulk: Bulk = attrs.field(factory=Bulk, init=False)

    async def __aenter__(self) -> Self:
        self._room.set()
        self._thread = ThreadPoolExecutor(1, "fleetmesh-intake")
        await self._tasks.__aenter__()
        self._task = self._tasks.create_task(self._run())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._task.cancel()
        # An error of whoever entered goes on as it is; that of the task that takes in cancels him.
        cancelled = isinstance(error, asyncio.CancelledError)
        try:
            await self._tasks.__aexit__(*((kind, error, trace) if cancelled else (None, None, None)))
        finally:
            for _, done in self._waiting:
                done.cancel()
            self._thread.shutdown()
            self._bulk.end()

    async def give(self, piece: Piece) -> asyncio.Future[Taken]:
        """
        Hand over a piece; waits for room, so that a fast store can't fill the memory.

        Returns:
            What becomes of it, once it is in force.
        """
        while self._count >= MOST_WAITING:  # all who wait wake at once
            await self._room.wait()
        done: asyncio.Future[Taken] = asyncio.get_running_loop().create_future()
        self._waiting.append((piece, done))
        self._count += piece.size
        if self._count >= MOST_WAITING:
            self._room.clear()
        self._news.set()
        return done

    async def call(self, work: Callable[[], R]) -> R:
        """Do something with the mesh in the thread that writes to it, after what is being taken in now."""
        return await asyncio.get_running_loop().run_in_executor(self._thread, work)

    async def _run(self) -> None:
        rested = 0.0
        while True:
            await self._news.wait()
            if self._count < MOST_RECORDS:
                rest = rested - self._clock.monotonic() if self._may_grow() else 0.0
                await self._clock.sleep(max(GATHERING, rest))
            batch = self._next()
            began = self._clock.monotonic()
            try:
                taken = await self.call(lambda: _take(self._mesh, [piece for piece, _ in batch]))  # noqa: B023
            except BaseException as error:
                for _, done in batch:
                    if not done.done():
                        done.set_exception(error) if isinstance(error, Exception) else done.cancel()
                raise
            ended = self._clock.monotonic()
            rested = ended + min(ended - began, LONGEST_GATHERING)
            size = sum(piece.size for piece, _ in batch)
            self._bulk.note(size, behind=self._count >= MOST_RECORDS, waiting=bool(self._waiting))
            for (_, done), each in zip(batch, taken, strict=True):
                if not done.done():
                    done.set_result(each)

    def _may_grow(self) -> bool:
        """Whether what comes now could go with what waits."""
        return all(piece.names is None for piece, _ in list(self._waiting)[1:])

    def _next(self) -> list[tuple[Piece, asyncio.Future[Taken]]]:
        batch: list[tuple[Piece, asyncio.Future[Taken]]] = []
        size = 0
        while self._waiting and (not batch or self._fits(self._waiting[0][0], size)):
            batch.append(self._waiting.popleft())
            size += batch[-1][0].size
        self._count -= size
        if self._count < MOST_WAITING:
            self._room.set()
        if not self._waiting:
            self._news.clear()
        return batch

    @staticmethod
    def _fits(piece: Piece, size: int) -> bool:
        """What a whole list lacks is known once all that was told before is in force."""
        return piece.names is None and size + piece.size <= MOST_RECORDS


@attrs.frozen
class _Read:
    """
    A piece that is decoded.

    Attributes:
        records: By their names.
        gone: What is to be forgotten.
    """

    member: Member
    records: dict[str, Record]
    rejected: dict[str, WireError]
    gone: list[RecordKey]

    @property
    def taken(self) -> Taken:
        return Taken(
            tuple(name for name in self.records if name not in self.rejected),
            self.rejected,
            tuple(name for _, name in self.gone),
        )


def _take(mesh: Mesh, pieces: list[Piece]) -> list[Taken]:
    read = [_read(piece) for piece in pieces]
    try:
        hear_all(mesh, [(each.member, each.records.values(), each.gone) for each in read])
    except ValueError:
        # The mesh is as it was. All but what it refuses is taken in, in the same order.
        for each in read:
            each.rejected.update(_take_parts(mesh, each.member, list(each.records.items())))
            hear_all(mesh, [(each.member, (), each.gone)])
    return [each.taken for each in read]


def _take_parts(mesh: Mesh, member: Member, records: list[tuple[str, Record]]) -> dict[str, WireError]:
    """Take in records of which a mesh may refuse some; those, and why."""
    try:
        hear_all(mesh, [(member, [record for _, record in records], ())])
    except ValueError as error:
        if len(records) == 1:
            return {records[0][0]: WireError("", str(error))}
        half = len(records) // 2
        return _take_parts(mesh, member, records[:half]) | _take_parts(mesh, member, records[half:])
    return {}


def _read(piece: Piece) -> _Read:
    kind = RECORD_KIND[piece.kind]
    gone = [piece.name(key) for key in piece.deletes]
    if piece.names is not None:
        gone += [name for name in piece.member.heard_names(kind) if name not in piece.names]
    read = _Read(piece.member, {}, {}, [(kind, name) for name in gone])
    names = [piece.name(entry.key) for entry in piece.puts]
    values = [entry.value for entry in piece.puts]
    for name, found in zip(names, decode_all(piece.kind, names, values, piece.exporter), strict=True):
        if isinstance(found, WireError):
            read.rejected[name] = found
        else:
            read.records[name] = found
    return read
