"""
What a server says stands in errors, but not at length, and with nothing that a terminal would obey.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from typing import Any

import grpc
import grpc.aio
import pytest

from fleetmesh.errors import StoreError
from fleetmesh.state.etcd import EtcdStore
from fleetmesh.state.etcd.rpc_pb2 import (
    LeaseGrantResponse,
    ResponseHeader,
    StatusResponse,
    WatchResponse,
)

pytestmark = pytest.mark.asyncio

EVIL = "\x1b[31mno\n\tmore" + "y" * 5_000
HEADER = ResponseHeader(cluster_id=1, revision=5)


class Server(grpc.GenericRpcHandler):  # type: ignore[type-arg]  # it is none when it runs
    """Answers as it is told, and refuses all else."""

    def __init__(self, code: grpc.StatusCode, said: str) -> None:
        self.code = code
        self.said = said

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> Any:
        method = handler_call_details.method
        if method.endswith("/Watch"):
            return grpc.stream_stream_rpc_method_handler(self.watch)
        answers: dict[str, Callable[[], Any]] = {
            "Status": lambda: StatusResponse(header=HEADER, version=self.said, leader=1),
            "LeaseGrant": lambda: LeaseGrantResponse(header=HEADER, error=self.said),
        }

        async def answer(_: bytes, context: Any) -> bytes:
            found = answers.get(method.rpartition("/")[2])
            if found is None:
                await context.abort(self.code, self.said)
            assert found is not None
            written: bytes = found().SerializeToString()
            return written

        return grpc.unary_unary_rpc_method_handler(answer)

    async def watch(self, requests: Any, _: Any) -> AsyncIterator[bytes]:
        refused = WatchResponse(header=HEADER, created=True, canceled=True, cancel_reason=self.said)
        yield refused.SerializeToString()


@pytest.mark.parametrize(
    ("code", "said"),
    [
        (grpc.StatusCode.UNAVAILABLE, EVIL),
        (grpc.StatusCode.INTERNAL, EVIL),
        (grpc.StatusCode.PERMISSION_DENIED, EVIL),
        (grpc.StatusCode.UNKNOWN, f"etcdserver: permission denied{EVIL}"),
        (grpc.StatusCode.UNIMPLEMENTED, EVIL),
    ],
)
async def test_what_a_server_says_is_made_legible(code: grpc.StatusCode, said: str) -> None:
    server = grpc.aio.server()
    server.add_generic_rpc_handlers([Server(code, said)])
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    store = EtcdStore([f"http://127.0.0.1:{port}"], timeout=2)
    for call in (store.get("a"), store.list("a"), anext(store.watch("a", 0)), store.grant(5)):
        with pytest.raises(StoreError, match=r"\\x1b\[31mno") as caught:
            await call
        assert str(caught.value).isprintable()
        assert len(str(caught.value)) < 700
    version = (await store.status()).version
    assert version.isprintable()
    assert len(version) < 700
    await store.aclose()
    await server.stop(None)


async def test_a_version_of_endless_numbers_ends_no_watch() -> None:
    """Python refuses to read a number of more than 4,300 digits."""
    said = "9" * 5_000

    class Watched(Server):
        async def watch(self, requests: Any, _: Any) -> AsyncIterator[bytes]:
            yield WatchResponse(header=HEADER, created=True).SerializeToString()
            async for _request in requests:
                asked.append(1)
                yield WatchResponse(header=HEADER).SerializeToString()

    asked: list[int] = []
    server = grpc.aio.server()
    server.add_generic_rpc_handlers([Watched(grpc.StatusCode.INTERNAL, said)])
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    store = EtcdStore([f"http://127.0.0.1:{port}"], timeout=2, progress_every=0.02)
    events = store.watch("a", 4)
    for _ in range(4):
        await anext(events)
    assert len(asked) >= 2
    await store.aclose()
    await server.stop(None)
