"""
`EtcdStore`: the state of a mesh in etcd v3.

gRPC is loaded when one is made, so that naming the class needs nothing that isn't installed.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import TYPE_CHECKING

from fleetmesh.state.clock import Clock, SystemClock
from fleetmesh.state.etcd.endpoints import Pem, Security, read_endpoints
from fleetmesh.state.operations import checked_operations, checked_ttl
from fleetmesh.state.store import Entry, Events, Listing, Operation, StoreStatus, Unchanged

if TYPE_CHECKING:
    from fleetmesh.state.etcd.client import Client
    from fleetmesh.state.etcd.leases import EtcdLease


class EtcdStore:
    """
    See `Store`. It connects when it is first asked, and belongs to one event loop.

    All servers have to be of one etcd cluster. One is asked until it fails, then the next. What only reads is
    then asked again by itself; a transaction is not, when the first server may have carried it out.

    Args:
        endpoints: URLs of servers: `https://HOST:PORT`, verified, or `http://HOST:PORT`, in the clear.
        ca: Who signed the servers' certificates: a path, or PEM as bytes; left out, whom gRPC trusts.
        cert: Of this client, likewise, with `key`. Files are read anew when a connection fails.
        user: Of etcd's own users, with `password`.
        server_name: What the servers' certificates are for, where it isn't the host of their URLs.
        timeout: Seconds that a server has for an answer.
        keepalive: Seconds without a word until a server is asked whether it is there, while it has a watch.
        keepalive_timeout: Seconds that it has to answer that.
        page_size: Entries that a list asks for first; the next times it is more.
        progress_every: Seconds without a word until a watch asks how far the store is.
        clock: By which leases are kept alive.

    Raises:
        ValueError: Of endpoints or credentials, with what is wrong.
        ImportError: grpcio or protobuf is not installed.
        OSError: A file can't be read.
    """

    def __init__(
        self,
        endpoints: Sequence[str],
        ca: Pem | None = None,
        cert: Pem | None = None,
        key: Pem | None = None,
        *,
        user: str | None = None,
        password: str | None = None,
        server_name: str = "",
        timeout: float = 5.0,
        keepalive: float = 15.0,
        keepalive_timeout: float = 10.0,
        page_size: int = 256,
        progress_every: float = 60.0,
        clock: Clock | None = None,
    ) -> None:
        self._endpoints = read_endpoints(endpoints)
        security = Security(self._endpoints[0].tls, ca, cert, key, server_name)
        security.read()
        if (user is None) != (password is None):
            raise ValueError("a user needs a password, and only one of the two is given")
        try:
            from fleetmesh.state.etcd.client import Client  # noqa: PLC0415  # see above
            from fleetmesh.state.etcd.connection import Credentials  # noqa: PLC0415
        except ImportError as error:
            raise ImportError(
                f"EtcdStore needs more packages ({error}): pip install 'fleetmesh[etcd]'"
            ) from error
        self._client: Client = Client(
            self._endpoints,
            security,
            None if user is None or password is None else Credentials(user, password),
            clock or SystemClock(),
            timeout=timeout,
            keepalive=keepalive,
            keepalive_timeout=keepalive_timeout,
            page_size=page_size,
            progress_every=progress_every,
        )

    def __repr__(self) -> str:
        return f"EtcdStore(endpoints={[each.url for each in self._endpoints]})"

    async def get(self, key: str) -> Entry | None:
        """See `Store`."""
        return await self._client.get(key)

    def pages(self, prefix: str, *, exact: bool = False) -> AsyncIterator[Listing]:
        """See `Store`."""
        return self._client.pages(prefix, exact=exact)

    async def list(self, prefix: str) -> Listing:
        """See `Store`."""
        pages = [page async for page in self._client.pages(prefix)]
        return Listing(pages[0].revision, tuple(entry for page in pages for entry in page.entries))

    def watch(self, prefix: str, after: int, *, exact: bool = False) -> AsyncIterator[Events]:
        """See `Store`. The first mark says that it stands. Ends when the store is closed."""
        return self._client.watch(prefix, after, exact=exact)

    async def commit(self, operations: Sequence[Operation], *, only_if: Sequence[Unchanged] = ()) -> int:
        """
        See `Store`. What fails with `StoreUnavailableError` may have been done all the same, and so may the
        first that fails with `NoSpaceError`: etcd carries out what fills it.
        """
        checked_operations(operations)
        return await self._client.commit(operations, only_if)

    async def compact(self, revision: int) -> None:
        """
        Forget what happened before a revision; what is there stays.

        Raises:
            CompactedError: That was done already.
        """
        await self._client.compact(revision)

    async def grant(self, ttl: float) -> EtcdLease:
        """See `Store`. etcd counts in whole seconds."""
        checked_ttl(ttl)
        return await self._client.grant(ttl)

    async def revoke(self, lease: int) -> None:
        """Take a lease away from whoever holds it, with its keys; none there is no error."""
        await self._client.revoke(lease)

    async def status(self) -> StoreStatus:
        """See `Store`."""
        return await self._client.status()

    async def aclose(self) -> None:
        """See `Store`. Closing it twice is no error."""
        await self._client.aclose()
