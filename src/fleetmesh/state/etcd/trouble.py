"""
What etcd's errors mean to whoever uses a store.

Its own are told by their text (api/v3rpc/rpctypes/error.go), as reasons of cancelled watches have no code.
"""

from __future__ import annotations

import grpc
import grpc.aio

from fleetmesh.errors import (
    CompactedError,
    LeaseLostError,
    NoSpaceError,
    OtherStoreError,
    StoreDeniedError,
    StoreError,
    StoreUnavailableError,
)

_MEANINGS: tuple[tuple[str, type[StoreError]], ...] = (
    ("etcdserver: permission denied", StoreDeniedError),
    ("etcdserver: authentication failed", StoreDeniedError),
    ("etcdserver: authentication is not enabled", StoreDeniedError),
    ("etcdserver: user name is empty", StoreDeniedError),
    ("etcdserver: user name not found", StoreDeniedError),
    ("etcdserver: invalid auth token", StoreDeniedError),
    ("etcdserver: revision of auth store is old", StoreDeniedError),
    ("etcdserver: mvcc: required revision is a future revision", OtherStoreError),
    ("etcdserver: mvcc: database space exceeded", NoSpaceError),
    ("etcdserver: requested lease not found", LeaseLostError),
    ("etcdserver: too many requests", StoreUnavailableError),
    ("etcdserver: no leader", StoreUnavailableError),
    ("etcdserver: not leader", StoreUnavailableError),
    ("etcdserver: server stopped", StoreUnavailableError),
    ("etcdserver: unhealthy cluster", StoreUnavailableError),
)
_COMPACTED = "etcdserver: mvcc: required revision has been compacted"
_UNAVAILABLE = frozenset({grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED})
_DENIED = frozenset({grpc.StatusCode.PERMISSION_DENIED, grpc.StatusCode.UNAUTHENTICATED})
# What gRPC says, with several codes, of a connection that goes while it is used.
_BROKEN = ("RST_STREAM", "Stream removed", "GOAWAY")
# What it says of a server that speaks something else.
_NOT_ETCD = ("http1.x", "HTTP/1", "http status", "HTTP status", "HTTP2 settings")
_NO_TOKEN = ("etcdserver: invalid auth token", "etcdserver: revision of auth store is old")
_TOO_LARGE = "CLIENT: Received message larger than max"  # a server says it with a small r, of what it got
_MOST_SAID = 500
_NEVER_SENT = ("failed to connect to all addresses", "DNS resolution failed")


class AnswerTooLargeError(StoreError):
    """Raised when this side refused to receive an answer of that size."""


def meaning(error: grpc.aio.AioRpcError, endpoint: str, *, asked: int = 0) -> StoreError:
    """
    The error of a store that an error of gRPC is.

    Args:
        asked: The revision that was asked for. etcd doesn't say how far it is compacted: further than that.
    """
    details, code = legible(error.details() or ""), error.code()
    if _COMPACTED in details:
        return CompactedError(asked, asked + 1)
    if _TOO_LARGE in details:
        return AnswerTooLargeError(f"{endpoint}: {details}")
    told = meaning_of_text(details, endpoint)
    if told is not None:
        return told
    if code is grpc.StatusCode.UNIMPLEMENTED or any(sign in details for sign in _NOT_ETCD):
        return StoreUnavailableError(f"{endpoint} does not answer as etcd does: {details}")
    if code is grpc.StatusCode.DEADLINE_EXCEEDED or "Deadline Exceeded" in details:
        return StoreUnavailableError(f"{endpoint} does not answer in time")
    if code in _UNAVAILABLE or any(sign in details for sign in _BROKEN):
        return StoreUnavailableError(f"{endpoint}: {details}")
    if code in _DENIED:
        return StoreDeniedError(f"{endpoint}: {details}")
    return StoreError(f"{endpoint}: {code.name}: {details}")


def meaning_of_text(text: str, endpoint: str) -> StoreError | None:
    """What one of etcd's texts means; `None` for a text that isn't known."""
    for part, kind in _MEANINGS:
        if part in text:
            return kind(f"{endpoint}: {legible(text)}")
    return None


def legible(text: str) -> str:
    """What a server said, not at length and with nothing that a terminal would obey."""
    if len(text) > _MOST_SAID:
        text = text[:_MOST_SAID] + "..."
    return text if text.isprintable() else repr(text)[1:-1]


def token_is_over(text: str) -> bool:
    """Whether it helps to authenticate again."""
    return any(part in text for part in _NO_TOKEN)


def never_sent(error: grpc.aio.AioRpcError) -> bool:
    """Whether the server can't have done anything, so that asking another one does nothing twice."""
    details = error.details() or ""
    return error.code() is grpc.StatusCode.UNAVAILABLE and any(part in details for part in _NEVER_SENT)
