"""
Leases of etcd, kept alive.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from fleetmesh.errors import LeaseLostError, OtherStoreError, StoreError
from fleetmesh.state.clock import Clock
from fleetmesh.state.etcd.connection import Connection, Method
from fleetmesh.state.etcd.rpc_pb2 import (
    LeaseKeepAliveRequest,
    LeaseKeepAliveResponse,
    LeaseRevokeRequest,
    LeaseRevokeResponse,
)

# The server's side of it is a stream, of which one question and its answer are a part: one stream for all
# leases would have to be opened anew after every failure, and found out about when it stalls.
_KEEP_ALIVE: Method[LeaseKeepAliveRequest, LeaseKeepAliveResponse] = Method(
    "/etcdserverpb.Lease/LeaseKeepAlive", LeaseKeepAliveResponse.FromString
)
_REVOKE: Method[LeaseRevokeRequest, LeaseRevokeResponse] = Method(
    "/etcdserverpb.Lease/LeaseRevoke", LeaseRevokeResponse.FromString
)
# Seconds until the next try when a sign of life did not get through; less for short leases.
_RETRY = 1.0


async def revoke(connection: Connection, lease: int) -> None:
    """End a lease, whoever holds it; none there is no error."""
    try:
        await connection.call(_REVOKE, LeaseRevokeRequest(ID=lease))
    except LeaseLostError:
        return


class EtcdLease:
    """
    See `Lease`. It is lost when the store says so: while no server answers nobody knows, and it may still be
    there, as a new leader gives every lease its whole time again.
    """

    def __init__(
        self,
        connection: Connection,
        clock: Clock,
        lease: int,
        ttl: float,
        *,
        ended: Callable[[EtcdLease], None],
    ) -> None:
        self._connection = connection
        self._clock = clock
        self._id = lease
        self._ttl = ttl
        self._ended = ended
        self._lost = asyncio.Event()
        self._task = asyncio.get_running_loop().create_task(self._keep_alive())

    def __repr__(self) -> str:
        return f"EtcdLease({self._id:x}, ttl={self._ttl})"

    @property
    def id(self) -> int:
        """See `Lease`."""
        return self._id

    @property
    def ttl(self) -> float:
        """See `Lease`."""
        return self._ttl

    async def lost(self) -> None:
        """See `Lease`."""
        await self._lost.wait()

    async def revoke(self) -> None:
        """See `Lease`."""
        await self.let_go()
        if not self._lost.is_set():
            await revoke(self._connection, self._id)

    def lose(self) -> None:
        """It is known to be gone."""
        self._lost.set()
        self._ended(self)

    async def let_go(self) -> None:
        """Give no more signs of life."""
        self._ended(self)
        self._task.cancel()
        await asyncio.wait([self._task])

    async def _keep_alive(self) -> None:
        pause = self._ttl / 3
        while not self._lost.is_set():
            await self._clock.sleep(pause)
            pause = self._ttl / 3
            try:
                answer = await self._connection.call(_KEEP_ALIVE, LeaseKeepAliveRequest(ID=self._id))
            except (LeaseLostError, OtherStoreError):
                self.lose()
            except StoreError:
                pause = min(_RETRY, self._ttl / 10)
            else:
                if answer.TTL <= 0:
                    self.lose()
