"""
A watch of etcd: where it begins, what it tells, and how it says that it is up to date.

The revision in the header of an answer with events is that of the store, which may be ahead of what has been
told; only that of an answer without events, a progress mark, is a promise (etcd api/v3: WatchResponse).
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncGenerator, Iterator
from typing import TypeAlias

import attrs
import grpc
import grpc.aio

from fleetmesh.errors import (
    CompactedError,
    OtherStoreError,
    StoreDeniedError,
    StoreError,
    StoreUnavailableError,
)
from fleetmesh.state.clock import Clock
from fleetmesh.state.etcd import trouble
from fleetmesh.state.etcd.connection import Connection, Link, Method, Stream
from fleetmesh.state.etcd.ranges import text
from fleetmesh.state.etcd.rpc_pb2 import (
    Event,
    RangeRequest,
    RangeResponse,
    StatusRequest,
    StatusResponse,
    WatchCreateRequest,
    WatchProgressRequest,
    WatchRequest,
    WatchResponse,
)
from fleetmesh.state.store import Delete, Entry, Events

RANGE: Method[RangeRequest, RangeResponse] = Method("/etcdserverpb.KV/Range", RangeResponse.FromString)
STATUS: Method[StatusRequest, StatusResponse] = Method(
    "/etcdserverpb.Maintenance/Status", StatusResponse.FromString
)
_WATCH: Method[WatchRequest, WatchResponse] = Method("/etcdserverpb.Watch/Watch", WatchResponse.FromString)

_Stream: TypeAlias = Stream[WatchRequest, WatchResponse]

# Since then a progress mark that was asked for never overtakes events (etcd issue 15220).
_MARKS_IN_ORDER = {(3, 4): 25, (3, 5): 8}


@attrs.define(eq=False)
class Watch:
    """
    One watch, from beginning to end.

    Attributes:
        keys: The first one, and the first one behind; see `range_of`.
        told: All up to this revision has been told.
        heard: Whether the server said something since that was looked at last.
    """

    connection: Connection
    clock: Clock
    keys: tuple[bytes, bytes]
    told: int
    epoch: int
    progress_every: float
    heard: bool = False

    async def events(self) -> AsyncGenerator[Events, None]:
        """See `Store.watch`. Ends when the store is closed."""
        self.connection.check_epoch(self.epoch)
        stream, revision = await self._begin()
        asking = asyncio.get_running_loop().create_task(self._ask_for_marks(stream))
        try:
            if revision < self.told:
                await self._not_set_back()
            yield Events(self.told)
            while (response := await self._next(stream)) is not None:
                for events in self._read(response):
                    yield events
        finally:
            stream.end()
            asking.cancel()
            await asyncio.wait([asking])

    # How it begins.

    async def _begin(self) -> tuple[_Stream, int]:
        """The call, and the revision of the server that answers. A token that is over is renewed once."""
        link = self.connection.link()
        token = await self._token(link)
        try:
            return await self._create(link, token)
        except StoreDeniedError:
            # Before 3.6 etcd says no more of a token that is over (server/etcdserver/api/v3rpc/watch.go).
            if not token:
                raise
            self.connection.forget_token(token)
            return await self._create(link, await self._token(link))

    async def _token(self, link: Link) -> str:
        try:
            return await self.connection.token(link)
        except grpc.aio.AioRpcError as error:
            await self.connection.failed(link)
            raise trouble.meaning(error, link.endpoint.url) from error

    async def _create(self, link: Link, token: str) -> tuple[_Stream, int]:
        begin, end = self.keys
        create = WatchCreateRequest(
            key=begin, range_end=end, start_revision=self.told + 1, progress_notify=True
        )
        stream = self.connection.open(_WATCH, token, link)
        try:
            async with asyncio.timeout(self.connection.timeout):
                await stream.send(WatchRequest(create_request=create))
                response = await stream.receive()
            if response.canceled:
                raise self._cancelled(response, link)
            if not response.created:
                raise StoreUnavailableError(f"{link.endpoint.url} does not begin a watch as etcd does")
        except TimeoutError:
            stream.end()
            await self.connection.failed(link)
            raise StoreUnavailableError(f"{link.endpoint.url} does not answer in time") from None
        except BaseException:
            stream.end()
            raise
        return stream, response.header.revision

    async def _not_set_back(self) -> None:
        """
        A server may only be behind the others; ask all of them.

        Raises:
            OtherStoreError: The store is behind what was told of it: it was restored, or is a new one.
        """
        begin, end = self.keys
        request = RangeRequest(key=begin, range_end=end, limit=1)
        newest = (await self.connection.call(RANGE, request, epoch=self.epoch)).header.revision
        if newest < self.told:
            raise OtherStoreError(f"the store went back from revision {self.told} to {newest}")

    # How it goes on.

    async def _next(self, stream: _Stream) -> WatchResponse | None:
        """What comes next; `None` when the store is closed."""
        try:
            response = await stream.receive()
        except StoreError:
            if self.connection.closed:
                return None
            self.connection.check_epoch(self.epoch)
            raise
        self.heard = True
        if response.canceled or response.compact_revision:
            raise self._cancelled(response, stream.link)
        return response

    def _cancelled(self, response: WatchResponse, link: Link) -> StoreError:
        if response.compact_revision:
            return CompactedError(self.told + 1, response.compact_revision)
        reason = trouble.legible(response.cancel_reason)
        told = trouble.meaning_of_text(reason, link.endpoint.url)
        return told or StoreError(f"{link.endpoint.url} ends the watch: {reason or 'without a reason'}")

    def _read(self, response: WatchResponse) -> Iterator[Events]:
        """One a revision, which etcd never tells in two parts where it isn't asked to (`fragment`)."""
        if not response.events:
            if response.header.revision >= self.told:
                self.told = response.header.revision
                yield Events(self.told)
            return
        changes: list[Entry | Delete] = []
        revision = 0
        for event in response.events:
            found = event.kv
            if found.mod_revision != revision:
                if changes:
                    self.told = revision
                    yield Events(revision, tuple(changes))
                    changes = []
                revision = found.mod_revision
            if revision <= self.told:
                continue
            key = text(found.key)
            if event.type == Event.DELETE:
                changes.append(Delete(key))
            else:
                changes.append(Entry(key, found.value, revision, found.lease))
        if changes:
            self.told = revision
            yield Events(revision, tuple(changes))

    async def _ask_for_marks(self, stream: _Stream) -> None:
        """
        While nothing comes, so that one who resumes need not go back far. By itself etcd sends one every 10
        minutes.
        """
        while True:
            await self.clock.sleep(self.progress_every)
            if self.heard:
                self.heard = False
            elif await self._marks_are_in_order(stream.link):
                await stream.send(WatchRequest(progress_request=WatchProgressRequest()))

    async def _marks_are_in_order(self, link: Link) -> bool:
        if not link.version:
            try:
                link.version = (await self.connection.ask(link, STATUS, StatusRequest())).version
            except (StoreError, grpc.aio.AioRpcError):
                return False
        parts = [int(part) for part in re.findall(r"\d{1,9}", link.version)[:3]]
        return len(parts) == 3 and parts[2] >= _MARKS_IN_ORDER.get((parts[0], parts[1]), 0)
