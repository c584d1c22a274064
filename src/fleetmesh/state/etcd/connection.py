"""
Connections to the servers of one etcd: which of them is asked, as whom, and whether they are of one store.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, Generic, Protocol, TypeVar

import attrs
import grpc
import grpc.aio
from google.protobuf.message import DecodeError

from fleetmesh.errors import OtherStoreError, StoreClosedError, StoreUnavailableError
from fleetmesh.state.etcd import trouble
from fleetmesh.state.etcd.endpoints import Endpoint, Material, Security
from fleetmesh.state.etcd.rpc_pb2 import AuthenticateRequest, AuthenticateResponse, ResponseHeader

# Bytes of one answer. A page or a batch of events has many values, each of up to 1.5 MB by default.
MOST_BYTES = 256 << 20


class Request(Protocol):
    """A message that goes out."""

    def SerializeToString(self) -> bytes:  # noqa: N802  # protobuf's word
        """As bytes."""


class Response(Protocol):
    """A message that comes in; all of etcd's say which store they are from."""

    @property
    def header(self) -> ResponseHeader:
        """Which store answers."""


Q = TypeVar("Q", bound=Request)
R = TypeVar("R", bound=Response)

_DROPPED = "the connection was dropped, to be made anew"
_END: Any = vars(grpc.aio)["EOF"]  # which the stubs don't know


@attrs.frozen
class Method(Generic[Q, R]):
    """
    A call of etcd's API, such as `/etcdserverpb.KV/Range`.
    """

    path: str
    read: Callable[[bytes], R]


AUTHENTICATE: Method[AuthenticateRequest, AuthenticateResponse] = Method(
    "/etcdserverpb.Auth/Authenticate", AuthenticateResponse.FromString
)


@attrs.frozen
class Credentials:
    """A user of etcd and his password."""

    user: str
    password: str = attrs.field(repr=False)


@attrs.define(eq=False)
class Link:
    """
    A connection to one server.

    Attributes:
        material: With which it was made; "" is made anew when that changes.
        calls: What was called over it, by path.
        version: Of the server; "" before it was asked.
    """

    endpoint: Endpoint
    channel: grpc.aio.Channel
    material: Material
    calls: dict[str, Any] = attrs.field(factory=dict)
    version: str = ""


class Connection:
    """
    One link a server, made when it is first needed. One is in use until it fails, then the next.

    Attributes:
        epoch: How often the servers have turned out to be of another store.
        store_id: etcd's cluster id; 0 before a server has answered.
        closed: Whether nothing may be asked any more.
    """

    def __init__(
        self,
        endpoints: tuple[Endpoint, ...],
        security: Security,
        credentials: Credentials | None,
        *,
        timeout: float,
        keepalive: float,
        keepalive_timeout: float,
        other_store: Callable[[], None],
    ) -> None:
        self.endpoints = endpoints
        self.timeout = timeout
        self.epoch = 0
        self.store_id = 0
        self.closed = False
        self._security = security
        self._credentials = credentials
        self._token = ""
        self._authenticating = asyncio.Lock()
        self._links: dict[Endpoint, Link] = {}
        self._current = 0
        self._other_store = other_store
        self._options: list[tuple[str, Any]] = [
            ("grpc.max_receive_message_length", MOST_BYTES),
            ("grpc.max_send_message_length", -1),
            ("grpc.keepalive_time_ms", int(keepalive * 1000)),
            ("grpc.keepalive_timeout_ms", int(keepalive_timeout * 1000)),
            # Pings that measure the bandwidth come first, and have a minute of their own by default: a
            # connection that goes while one is under way would be noticed that late.
            ("grpc.http2.ping_timeout_ms", int(keepalive_timeout * 1000)),
            # etcd takes pings without calls for an attack (embed/etcd.go, PermitWithoutStream).
            ("grpc.keepalive_permit_without_calls", 0),
            ("grpc.http2.max_pings_without_data", 0),
            ("grpc.initial_reconnect_backoff_ms", 100),
            ("grpc.min_reconnect_backoff_ms", int(timeout * 1000)),
            ("grpc.max_reconnect_backoff_ms", 5000),
            # Two stores with the same server have connections of their own.
            ("grpc.use_local_subchannel_pool", 1),
            # etcd's own clients don't take a proxy from the environment either.
            ("grpc.enable_http_proxy", 0),
            ("grpc.enable_retries", 0),
        ]
        if security.server_name:
            self._options.append(("grpc.ssl_target_name_override", security.server_name))
            self._options.append(("grpc.default_authority", security.server_name))

    # Calls with one answer.

    async def call(
        self,
        method: Method[Q, R],
        request: Q,
        *,
        epoch: int | None = None,
        asked: int = 0,
        repeatable: bool = True,
    ) -> R:
        """
        Ask one server after the other until one answers.

        Args:
            epoch: What is asked is about the store of that epoch; `None` for whichever it is.
            asked: The revision that the request is about, for the error's message.
            repeatable: Whether it does no harm when two servers do it.
        """
        answers: list[StoreUnavailableError] = []
        for _ in self.endpoints:
            self.check_epoch(epoch)
            link = self.link()
            try:
                response = await self.ask(link, method, request)
            except grpc.aio.AioRpcError as error:
                told = trouble.meaning(error, link.endpoint.url, asked=asked)
                if not isinstance(told, StoreUnavailableError):
                    raise told from error
                answers.append(told)
                await self.failed(link)
                if not repeatable and not trouble.never_sent(error):
                    raise told from error
            else:
                self.check_epoch(epoch)
                return response
        if len(answers) == 1:
            raise answers[0]
        raise StoreUnavailableError("no server answers; " + "; ".join(map(str, answers)))

    async def ask(self, link: Link, method: Method[Q, R], request: Q) -> R:
        """
        Ask this one.

        Raises:
            grpc.aio.AioRpcError: It doesn't answer, or with an error.
        """
        token = await self.token(link)
        try:
            response = await self._once(link, method, request, token)
        except grpc.aio.AioRpcError as error:
            if not token or not trouble.token_is_over(error.details() or ""):
                raise
            self.forget_token(token)
            response = await self._once(link, method, request, await self.token(link))
        await self.recognize(link, response)
        return response

    async def _once(self, link: Link, method: Method[Q, R], request: Q, token: str) -> R:
        self._check_in_force(link)
        call = link.calls.get(method.path)
        if call is None:
            call = link.channel.unary_unary(
                method.path,
                request_serializer=type(request).SerializeToString,
                response_deserializer=_reader(method.read),
            )
            link.calls[method.path] = call
        try:
            response: R = await call(request, timeout=self.timeout, metadata=_of_token(token))
        except asyncio.CancelledError:
            self.check_cancelled()
            raise
        return response

    # Who answers.

    async def recognize(self, link: Link, response: Response | None) -> None:
        """
        Compare the store with the one that answered first (Cilium pkg/clustermesh/common/interceptor.go).

        Raises:
            OtherStoreError: It is another one. All connections are dropped, and it is the store from now on.
            StoreUnavailableError: It names none, so that it can't be etcd.
        """
        found = 0 if response is None else response.header.cluster_id
        if not found:
            raise StoreUnavailableError(
                f"{link.endpoint.url} does not answer as etcd does: it names no cluster"
            )
        before, self.store_id = self.store_id or found, found
        if found == before:
            return
        self.epoch += 1
        self._token = ""
        self._other_store()
        await self._drop(*self._links.values())
        raise OtherStoreError(f"{link.endpoint.url} is of another store: {found:x}, it was {before:x}")

    def check_epoch(self, epoch: int | None) -> None:
        """
        Raises:
            OtherStoreError: The store is not the one of that epoch any more.
            StoreClosedError: It is closed.
        """
        if self.closed:
            raise StoreClosedError
        if epoch is not None and epoch != self.epoch:
            raise OtherStoreError("the servers have turned out to be of another store meanwhile")

    def check_cancelled(self) -> None:
        """
        Tell a task that is cancelled from a call that ended because its connection was dropped.

        Raises:
            StoreError: Nobody cancelled the task.
        """
        task = asyncio.current_task()
        if task is None or task.cancelling():
            return
        self.check_epoch(None)
        raise StoreUnavailableError(_DROPPED) from None

    def _check_in_force(self, link: Link) -> None:
        """
        A link may have been dropped while somebody who has it waited; gRPC takes its use for a mistake then.

        Raises:
            StoreError: It was.
        """
        self.check_epoch(None)
        if self._links.get(link.endpoint) is not link:
            raise StoreUnavailableError(_DROPPED)

    # As whom.

    async def token(self, link: Link) -> str:
        """What stands for the user and his password; "" without one."""
        known = self._credentials
        if known is None:
            return ""
        async with self._authenticating:
            if not self._token:
                request = AuthenticateRequest(name=known.user, password=known.password)
                response = await self._once(link, AUTHENTICATE, request, "")
                await self.recognize(link, response)
                self._token = response.token
            return self._token

    def forget_token(self, token: str) -> None:
        """It is not taken any more."""
        if self._token == token:
            self._token = ""

    # Which server.

    def link(self) -> Link:
        """
        The one in use.

        Raises:
            StoreUnavailableError: It can't be made now, as a file isn't there or not whole; which one.
        """
        endpoint = self.endpoints[self._current]
        link = self._links.get(endpoint)
        if link is None:
            link = self._links[endpoint] = self._connect(endpoint)
        return link

    def _connect(self, endpoint: Endpoint) -> Link:
        try:
            material = self._security.read()
            self._security.check(material)
        except (OSError, ValueError) as error:
            raise StoreUnavailableError(f"{endpoint.url}: {error}") from error
        if endpoint.tls:
            credentials = grpc.ssl_channel_credentials(material.ca, material.key, material.cert)
            channel = grpc.aio.secure_channel(endpoint.target, credentials, options=self._options)
        else:
            channel = grpc.aio.insecure_channel(endpoint.target, options=self._options)
        return Link(endpoint, channel, material)

    async def failed(self, link: Link) -> None:
        """
        The next one's turn. With renewed certificates the connection is made anew.
        """
        if self._links.get(link.endpoint) is not link:
            return
        if self.endpoints[self._current] == link.endpoint:
            self._current = (self._current + 1) % len(self.endpoints)
        try:
            renewed = self._security.read() != link.material
        except OSError:
            renewed = False  # somebody is about to replace them
        if renewed:
            await self._drop(link)

    async def _drop(self, *links: Link) -> None:
        for link in links:
            self._links.pop(link.endpoint, None)
        for link in links:
            await link.channel.close(None)

    async def aclose(self) -> None:
        """Drop all."""
        self.closed = True
        await self._drop(*self._links.values())

    # Calls both ways.

    def open(self, method: Method[Q, R], token: str, link: Link) -> Stream[Q, R]:
        """
        A call that the server ends once it has no leader (etcd api/v3 `MetadataRequireLeaderKey`).

        Raises:
            StoreError: The link isn't in force any more.
        """
        self._check_in_force(link)
        opened: Any = link.channel.stream_stream(
            method.path,
            request_serializer=lambda request: request.SerializeToString(),
            response_deserializer=_reader(method.read),
        )
        return Stream(self, link, opened(metadata=(("hasleader", "true"), *_of_token(token))))


def _reader(read: Callable[[bytes], R]) -> Callable[[bytes], R | None]:
    """`None` for what can't be read, as gRPC has it too, which would log it besides."""

    def reader(data: bytes) -> R | None:
        try:
            return read(data)
        except DecodeError:
            return None

    return reader


def _of_token(token: str) -> tuple[tuple[str, str], ...]:
    return (("token", token),) if token else ()


class Stream(Generic[Q, R]):
    """
    A call both ways over a link.
    """

    def __init__(self, connection: Connection, link: Link, call: Any) -> None:
        self.link = link
        self._connection = connection
        self._call = call

    def end(self) -> None:
        """Nothing more is said or heard."""
        self._call.cancel()

    async def send(self, request: Q) -> None:
        """Say something. Where the call has broken, `receive` says why."""
        try:
            await self._call.write(request)
        except (grpc.aio.AioRpcError, asyncio.InvalidStateError):
            return
        except asyncio.CancelledError:
            self._connection.check_cancelled()
            raise

    async def receive(self) -> R:
        """
        Raises:
            StoreError: The call has ended; or what else went wrong.
        """
        try:
            response = await self._call.read()
        except grpc.aio.AioRpcError as error:
            told = trouble.meaning(error, self.link.endpoint.url)
            if isinstance(told, StoreUnavailableError):
                await self._connection.failed(self.link)
            raise told from error
        except asyncio.CancelledError:
            self._connection.check_cancelled()
            raise
        if response is _END:
            await self._connection.failed(self.link)
            raise StoreUnavailableError(f"{self.link.endpoint.url} ended the call")
        read: R = response
        await self._connection.recognize(self.link, read)
        return read
