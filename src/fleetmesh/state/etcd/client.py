"""
What `EtcdStore` does, with gRPC loaded.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import ExitStack, aclosing, asynccontextmanager
from math import ceil

from fleetmesh.errors import StoreConflictError, StoreError
from fleetmesh.state.clock import Clock
from fleetmesh.state.etcd.connection import Connection, Credentials, Method
from fleetmesh.state.etcd.endpoints import Endpoint, Security
from fleetmesh.state.etcd.leases import EtcdLease, revoke
from fleetmesh.state.etcd.ranges import entries_of, range_of, raw
from fleetmesh.state.etcd.rpc_pb2 import (
    CompactionRequest,
    CompactionResponse,
    Compare,
    DeleteRangeRequest,
    LeaseGrantRequest,
    LeaseGrantResponse,
    PutRequest,
    RangeRequest,
    RequestOp,
    StatusRequest,
    TxnRequest,
    TxnResponse,
)
from fleetmesh.state.etcd.trouble import AnswerTooLargeError, legible
from fleetmesh.state.etcd.watching import RANGE, STATUS, Watch
from fleetmesh.state.store import Entry, Events, Listing, Operation, Put, StoreStatus, Unchanged

_TXN: Method[TxnRequest, TxnResponse] = Method("/etcdserverpb.KV/Txn", TxnResponse.FromString)
_COMPACT: Method[CompactionRequest, CompactionResponse] = Method(
    "/etcdserverpb.KV/Compact", CompactionResponse.FromString
)
_GRANT: Method[LeaseGrantRequest, LeaseGrantResponse] = Method(
    "/etcdserverpb.Lease/LeaseGrant", LeaseGrantResponse.FromString
)
# Entries that are asked for at once, at most, and bytes with which that grows no further.
_MOST_AT_ONCE = 16_384
_ENOUGH_BYTES = 4 << 20
# Entries that become ours at once: whoever else waits in the loop waits for as long as that takes.
_MOST_A_PAGE = 1_024
# Lists of a store that are under way at once, of each of which the server and this process hold a page; and
# seconds after which one is not counted any more.
_LISTS_AT_ONCE = 4
_LONGEST_TURN = 5.0
_ALARM = re.compile(r"alarm:(\w+)")


class Client:
    """
    See `EtcdStore`, which has the words.
    """

    def __init__(
        self,
        endpoints: tuple[Endpoint, ...],
        security: Security,
        credentials: Credentials | None,
        clock: Clock,
        *,
        timeout: float,
        keepalive: float,
        keepalive_timeout: float,
        page_size: int,
        progress_every: float,
    ) -> None:
        self._clock = clock
        self._page_size = page_size
        self._progress_every = progress_every
        self._leases: set[EtcdLease] = set()
        self._turns = asyncio.Semaphore(_LISTS_AT_ONCE)
        self._connection = Connection(
            endpoints,
            security,
            credentials,
            timeout=timeout,
            keepalive=keepalive,
            keepalive_timeout=keepalive_timeout,
            other_store=self._lose_leases,
        )

    async def get(self, key: str) -> Entry | None:
        """See `Store`."""
        response = await self._connection.call(RANGE, RangeRequest(key=raw(key)))
        found = entries_of(response.kvs)
        return found[0] if found else None

    def pages(self, prefix: str, *, exact: bool = False) -> AsyncGenerator[Listing, None]:
        """See `Store`."""
        return self._pages(range_of(prefix, exact=exact), self._connection.epoch)

    async def _pages(self, keys: tuple[bytes, bytes], epoch: int) -> AsyncGenerator[Listing, None]:
        async with self._turn(), aclosing(self._pages_in_turn(keys, epoch)) as pages:
            async for page in pages:
                yield page

    @asynccontextmanager
    async def _turn(self) -> AsyncIterator[None]:
        """
        A place among the lists that are under way. Who reads slowly, or waits for another list, keeps it only
        for a time, so that nobody waits for ever.
        """
        await self._turns.acquire()
        with ExitStack() as place:
            place.callback(self._turns.release)
            expiry = asyncio.get_running_loop().call_later(_LONGEST_TURN, place.close)
            place.callback(expiry.cancel)
            yield

    async def _pages_in_turn(self, keys: tuple[bytes, bytes], epoch: int) -> AsyncGenerator[Listing, None]:
        """
        What is asked for at once grows: for each answer etcd counts all keys that are left
        (storage/mvcc/index.go `Revisions`), so that a list in small parts takes a time that grows with the
        square of what is listed.
        """
        begin, end = keys
        revision, size, most, more = 0, self._page_size, _MOST_AT_ONCE, True
        while more:
            request = RangeRequest(key=begin, range_end=end, limit=size, revision=revision)
            try:
                response = await self._connection.call(RANGE, request, epoch=epoch, asked=revision)
            except AnswerTooLargeError:
                if size == 1:
                    raise
                most = size = size // 2
                continue
            revision = revision or response.header.revision
            found = response.kvs
            more = response.more and bool(found)
            if more:
                begin = found[-1].key + b"\0"
            if size * 2 <= most and response.ByteSize() < _ENOUGH_BYTES:
                size *= 2
            for at in range(0, len(found) or 1, _MOST_A_PAGE):
                await asyncio.sleep(0)
                yield Listing(revision, entries_of(found[at : at + _MOST_A_PAGE]))

    def watch(self, prefix: str, after: int, *, exact: bool = False) -> AsyncGenerator[Events, None]:
        """See `Store`."""
        connection, keys = self._connection, range_of(prefix, exact=exact)
        return Watch(connection, self._clock, keys, after, connection.epoch, self._progress_every).events()

    async def commit(self, operations: Sequence[Operation], only_if: Sequence[Unchanged]) -> int:
        """See `Store`."""
        request = TxnRequest(
            compare=[
                Compare(target=Compare.MOD, key=raw(each.key), mod_revision=each.revision) for each in only_if
            ],
            success=[_operation(each) for each in operations],
        )
        response = await self._connection.call(_TXN, request, repeatable=False)
        if not response.succeeded:
            raise StoreConflictError(
                "one of these was written meanwhile: "
                + ", ".join(f"{each.key!r} at revision {each.revision}" for each in only_if)
            )
        revision: int = response.header.revision
        return revision

    async def compact(self, revision: int) -> None:
        """See `EtcdStore`."""
        await self._connection.call(_COMPACT, CompactionRequest(revision=revision), asked=revision)

    async def grant(self, ttl: float) -> EtcdLease:
        """See `Store`."""
        response = await self._connection.call(_GRANT, LeaseGrantRequest(TTL=ceil(ttl)))
        if response.error:
            raise StoreError(f"no lease of {ttl} s: {legible(response.error)}")
        lease = EtcdLease(
            self._connection, self._clock, response.ID, float(response.TTL), ended=self._leases.discard
        )
        self._leases.add(lease)
        return lease

    async def revoke(self, lease: int) -> None:
        """See `EtcdStore`."""
        await revoke(self._connection, lease)

    async def status(self) -> StoreStatus:
        """See `Store`."""
        connection = self._connection
        response = await connection.call(STATUS, StatusRequest())
        return StoreStatus(
            store_id=f"{connection.store_id:x}",
            version=legible(response.version),
            revision=response.header.revision,
            endpoint=connection.link().endpoint.url,
            has_leader=response.leader != 0,
            alarms=tuple(found for text in response.errors for found in _ALARM.findall(text)),
        )

    async def aclose(self) -> None:
        """See `Store`."""
        for lease in tuple(self._leases):
            await lease.let_go()
        await self._connection.aclose()

    def _lose_leases(self) -> None:
        for lease in tuple(self._leases):
            lease.lose()


def _operation(operation: Operation) -> RequestOp:
    if isinstance(operation, Put):
        put = PutRequest(key=raw(operation.key), value=operation.value, lease=operation.lease)
        return RequestOp(request_put=put)
    return RequestOp(request_delete_range=DeleteRangeRequest(key=raw(operation.key)))
