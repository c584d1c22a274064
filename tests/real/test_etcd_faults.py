"""
What breaks between `EtcdStore` and etcd, and what is known afterwards: what is there, nothing lost, nothing
told twice, and no moment in which less was known than was there.
"""

from __future__ import annotations

import asyncio
import shutil
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import grpc
import grpc.aio
import pytest

from doubles.follower import Follower
from doubles.tcp_proxy import TcpProxy
from fleetmesh.errors import (
    CompactedError,
    OtherStoreError,
    StoreClosedError,
    StoreDeniedError,
    StoreUnavailableError,
)
from fleetmesh.state.clock import SystemClock
from fleetmesh.state.etcd import EtcdStore
from fleetmesh.state.store import Delete, Put, Store
from real import servers
from real.etcd_server import Etcd, three_nodes

pytestmark = pytest.mark.real("etcd", "etcd-3.4", "etcdctl")

# A server that is asked often whether it is there, and lets itself be.
PATIENT_SERVER = ("--grpc-keepalive-min-time", "50ms")


class QuickClock(SystemClock):
    """Pauses between tries are a tenth of what they are."""

    async def sleep(self, seconds: float) -> None:
        await super().sleep(seconds / 10)


@pytest.fixture(params=["etcd", "etcd-3.4"])
def etcd(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Etcd]:
    server = Etcd(servers.binary(request.param), tmp_path / "etcd", *PATIENT_SERVER)
    server.start()
    yield server
    server.stop()


@pytest.fixture
def newest(tmp_path: Path) -> Iterator[Etcd]:
    server = Etcd(servers.binary("etcd"), tmp_path / "etcd", *PATIENT_SERVER)
    server.start()
    yield server
    server.stop()


@asynccontextmanager
async def opened(*urls: str) -> AsyncIterator[EtcdStore]:
    store = EtcdStore(urls, timeout=1.0, keepalive=0.2, keepalive_timeout=0.3, clock=QuickClock())
    try:
        yield store
    finally:
        await store.aclose()


@asynccontextmanager
async def following(store: Store, prefix: str = "in/") -> AsyncIterator[Follower]:
    async with Follower(store, prefix, QuickClock()) as follower:
        await follower.until(lambda: follower.listed == 1)
        yield follower


async def put(store: Store, *names: str, value: bytes = b"") -> int:
    """However often it takes."""
    while True:
        try:
            return await store.commit([Put(f"in/{name}", value) for name in names])
        except StoreUnavailableError:
            await asyncio.sleep(0.05)


def told(follower: Follower) -> int:
    return sum(len(update.puts) for update in follower.updates)


async def agrees(follower: Follower, store: Store, keys: int) -> None:
    """Return when the follower knows what is there, so many keys."""
    there = {entry.key: entry for entry in (await store.list("in/")).entries}
    assert len(there) == keys
    await follower.until(lambda: follower.there == there)


def test_connections_that_are_reset_lose_nothing_and_repeat_nothing(etcd: Etcd) -> None:
    async def run() -> None:
        async with opened(etcd.url) as direct, TcpProxy(etcd.port) as proxy, opened(proxy.url) as store:
            await put(direct, "first")
            async with following(store) as follower:
                for turn in range(5):
                    for number in range(40):
                        await put(direct, f"{turn}/{number}")
                        if number == 20:
                            proxy.reset()
                await agrees(follower, direct, 201)
                assert told(follower) == 201
                assert follower.deleted == []
                assert follower.troubles
                assert all(isinstance(each, StoreUnavailableError) for each in follower.troubles)

    asyncio.run(run())


def test_a_server_that_says_nothing_any_more_is_noticed_under_a_watch(newest: Etcd) -> None:
    async def run() -> None:
        async with (
            opened(newest.url) as direct,
            TcpProxy(newest.port) as proxy,
            opened(proxy.url) as store,
            following(store) as follower,
        ):
            proxy.stall()
            await put(direct, "meanwhile")
            await follower.until(lambda: not follower.connected)
            with pytest.raises(StoreUnavailableError):
                await store.get("in/meanwhile")
            proxy.heal()
            await agrees(follower, direct, 1)
            assert follower.connected
            assert told(follower) == 1

    asyncio.run(run())


def test_a_watch_without_events_is_kept(newest: Etcd) -> None:
    """Signs of life are seen, and etcd does not take them for an attack."""

    async def run() -> None:
        async with TcpProxy(newest.port) as proxy, opened(proxy.url) as store, following(store) as follower:
            await asyncio.sleep(2)
            assert follower.troubles == []
            await put(store, "a")
            await agrees(follower, store, 1)
            assert proxy.accepted == 1

    asyncio.run(run())


def test_slow_connections_work(newest: Etcd) -> None:
    async def run() -> None:
        async with TcpProxy(newest.port) as proxy, opened(proxy.url) as store:
            proxy.delay = 0.05
            async with following(store) as follower:
                for number in range(5):
                    await put(store, f"{number}")
                await agrees(follower, store, 5)
                assert follower.troubles == []

    asyncio.run(run())


def test_the_next_server_is_asked_when_one_fails(newest: Etcd) -> None:
    async def run() -> None:
        async with (
            TcpProxy(newest.port) as first,
            TcpProxy(newest.port) as second,
            opened(newest.url) as direct,
            opened(nobody(), first.url, second.url) as store,
        ):
            await put(store, "a")
            assert (await store.status()).endpoint == first.url
            async with following(store) as follower:
                first.refuse()
                await put(direct, "b")
                await agrees(follower, direct, 2)
                assert (await store.status()).endpoint == second.url
                first.heal()
                second.stall()
                await put(direct, "c")
                await agrees(follower, direct, 3)
                assert (await store.status()).endpoint == first.url
                assert told(follower) == 3

    asyncio.run(run())


def test_a_transaction_that_one_server_may_have_carried_out_is_not_given_to_the_next(newest: Etcd) -> None:
    async def run() -> None:
        async with TcpProxy(newest.port) as first, opened(first.url, newest.url) as store:
            revision = await put(store, "a")
            first.stall()
            with pytest.raises(StoreUnavailableError):
                await store.commit([Put("in/a", b"")])
            # The second was not asked, but is next.
            assert (await store.status()).revision == revision
            first.refuse()

    asyncio.run(run())


def nobody() -> str:
    """Where nothing listens."""
    with socket.create_server(("127.0.0.1", 0)) as held:
        return f"http://127.0.0.1:{held.getsockname()[1]}"


def test_no_server_at_all_names_each(newest: Etcd) -> None:
    async def run() -> None:
        urls = [nobody(), nobody()]
        async with opened(*urls) as store:
            with pytest.raises(StoreUnavailableError) as caught:
                await store.get("a")
        assert all(url in str(caught.value) for url in urls)

    asyncio.run(run())


def test_a_compaction_while_disconnected_tells_only_what_differs(etcd: Etcd) -> None:
    async def run() -> None:
        async with opened(etcd.url) as direct, TcpProxy(etcd.port) as proxy, opened(proxy.url) as store:
            await put(direct, *[f"{number:02}" for number in range(50)])
            async with following(store) as follower:
                proxy.refuse()
                await follower.until(lambda: not follower.connected)
                before = told(follower)
                await put(direct, "00", "new", value=b"new")
                await direct.commit([Delete("in/49")])
                await direct.compact(await put(direct, "01", value=b"new"))
                proxy.heal()
                await agrees(follower, direct, 50)
                await follower.until(lambda: follower.connected)
                assert told(follower) == before + 3
                assert follower.deleted == ["in/49"]
                assert any(isinstance(each, CompactedError) for each in follower.troubles)

    asyncio.run(run())


def test_ten_thousand_changes_while_disconnected_are_told(etcd: Etcd) -> None:
    async def run() -> None:
        async with opened(etcd.url) as direct, TcpProxy(etcd.port) as proxy, opened(proxy.url) as store:
            await put(direct, "gone", "stays")
            async with following(store) as follower:
                proxy.refuse()
                for begin in range(0, 10_000, 100):
                    await put(direct, *[f"{number:05}" for number in range(begin, begin + 100)])
                await direct.commit([Delete("in/gone")])
                proxy.heal()
                await agrees(follower, direct, 10_001)
                assert told(follower) == 10_002
                assert follower.deleted == ["in/gone"]

    asyncio.run(run())


def test_a_server_that_is_killed_and_starts_again_loses_nothing(etcd: Etcd) -> None:
    async def run() -> None:
        async with opened(etcd.url) as store:
            lease = await store.grant(60)
            await store.commit([Put("in/leased", b"", lease.id)])
            async with following(store) as follower:
                for turn in range(3):
                    writing = asyncio.create_task(write(store, turn))
                    await asyncio.sleep(0.1)
                    await asyncio.to_thread(etcd.kill)
                    await asyncio.to_thread(etcd.start)
                    await writing
                await agrees(follower, store, 1 + 3 * 100)
                await follower.until(lambda: follower.connected)
                assert follower.deleted == []
            await lease.revoke()
            assert await store.get("in/leased") is None

    asyncio.run(run())


async def write(store: Store, turn: int) -> None:
    for number in range(100):
        await put(store, f"{turn}/{number}")


def test_a_lease_that_nobody_could_keep_alive_is_lost(newest: Etcd) -> None:
    async def run() -> None:
        async with opened(newest.url) as direct, TcpProxy(newest.port) as proxy, opened(proxy.url) as store:
            lease = await store.grant(2)
            await store.commit([Put("in/a", b"", lease.id), Put("in/b", b"")])
            async with following(direct) as follower:
                await agrees(follower, direct, 2)
                proxy.refuse()
                await follower.until(lambda: follower.deleted == ["in/a"])
                proxy.heal()
                await lease.lost()
            await lease.revoke()

    asyncio.run(run())


def test_three_servers_lose_their_leader_and_nothing_else(tmp_path: Path) -> None:
    nodes = three_nodes(servers.binary("etcd"), tmp_path, *PATIENT_SERVER)

    async def leader() -> Etcd:
        for node in nodes:
            told = await asyncio.to_thread(node.ctl, "endpoint", "status", "--write-out=fields")
            fields = dict(line.split(" : ", 1) for line in told.splitlines() if " : " in line)
            if fields['"MemberID"'] == fields['"Leader"']:
                return node
        raise AssertionError("no leader")

    async def run() -> None:
        async with opened(*[node.url for node in nodes]) as store:
            lease = await store.grant(60)
            await store.commit([Put("in/leased", b"", lease.id)])
            async with following(store) as follower:
                for turn in range(2):
                    writing = asyncio.create_task(write(store, turn))
                    await asyncio.sleep(0.1)
                    lost = await leader()
                    await asyncio.to_thread(lost.kill)
                    await writing
                    await asyncio.to_thread(lost.start)
                await agrees(follower, store, 1 + 2 * 100)
                assert follower.deleted == []
            await lease.revoke()

    try:
        asyncio.run(run())
    finally:
        for node in nodes:
            node.stop()


def test_a_server_without_a_leader_is_left(tmp_path: Path) -> None:
    """It would go on to answer, and never hear of a change again."""
    nodes = three_nodes(servers.binary("etcd"), tmp_path, *PATIENT_SERVER)

    async def run() -> None:
        async with opened(nodes[0].url) as store:
            await put(store, "a")
            async with following(store) as follower:
                for node in nodes[1:]:
                    await asyncio.to_thread(node.kill)
                await follower.until(lambda: not follower.connected)
                assert len(follower.there) == 1
                for node in nodes[1:]:
                    node.launch()
                for node in nodes[1:]:
                    await asyncio.to_thread(node.wait)
                await put(store, "b")
                await agrees(follower, store, 2)
                await follower.until(lambda: follower.connected)
                assert told(follower) == 2

    try:
        asyncio.run(run())
    finally:
        for node in nodes:
            node.stop()


def test_another_store_at_the_same_address_is_told_and_listed(newest: Etcd, tmp_path: Path) -> None:
    other = Etcd(servers.binary("etcd"), tmp_path / "other")
    other.start()

    async def run() -> None:
        async with (
            opened(newest.url) as direct,
            opened(other.url) as second,
            TcpProxy(newest.port) as proxy,
            opened(proxy.url) as store,
        ):
            await put(direct, "both", "old", value=b"old")
            # Further on than the first, so that going on with its revisions would find nothing amiss.
            for _ in range(10):
                await put(second, "both", value=b"new")
            lease = await store.grant(60)
            async with following(store) as follower:
                await agrees(follower, direct, 2)
                proxy.target = ("127.0.0.1", other.port)
                proxy.reset()
                await agrees(follower, second, 1)
                await follower.until(lambda: follower.connected)
                assert any(isinstance(each, OtherStoreError) for each in follower.troubles)
                assert follower.deleted == ["in/old"]
                assert follower.listed == 1
                await lease.lost()
            assert (await store.status()).store_id == (await second.status()).store_id

    try:
        asyncio.run(run())
    finally:
        other.stop()


def test_a_store_that_lost_its_disk_is_another_one_under_the_same_name(etcd: Etcd) -> None:
    """Etcd makes its cluster id of its settings, so that a new one has the old one's."""

    async def run() -> None:
        async with opened(etcd.url) as store:
            for _ in range(10):
                await put(store, "a", "b")
            before = await store.status()
            async with following(store) as follower:
                await asyncio.to_thread(etcd.stop)
                shutil.rmtree(etcd.folder / "data")
                await asyncio.to_thread(etcd.start)
                await put(store, "a")
                await agrees(follower, store, 1)
                assert (await store.status()).store_id == before.store_id
                assert follower.deleted == ["in/b"]
                assert any(isinstance(each, OtherStoreError) for each in follower.troubles)

    asyncio.run(run())


def test_who_may_not_read_is_told_and_reads_once_he_may(newest: Etcd) -> None:
    newest.ctl("put", "in/a", "1")
    newest.add_users({"reader": ["out/*"]})

    async def run() -> None:
        store = EtcdStore([newest.url], user="reader", password="reader", clock=QuickClock())
        async with Follower(store, "in/", QuickClock()) as follower:
            await follower.until(lambda: bool(follower.troubles))
            assert isinstance(follower.troubles[0], StoreDeniedError)
            assert not follower.connected
            grant = ["role", "grant-permission", "reader", "--prefix=true", "read", "in/"]
            await asyncio.to_thread(newest.ctl, "--user", "root:root", *grant)
            await follower.until(lambda: follower.listed == 1)
            assert list(follower.there) == ["in/a"]
        await store.aclose()

    asyncio.run(run())


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n",
        b"SSH-2.0-OpenSSH_9.2\r\n",
        bytes(range(256)) * 100,
        b"",
    ],
    ids=["http", "ssh", "garbage", "silence"],
)
def test_a_server_that_is_no_etcd_is_named(answer: bytes) -> None:
    async def reply(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(100)
        writer.write(answer)
        await writer.drain()
        writer.close()

    async def run() -> None:
        server = await asyncio.start_server(reply, "127.0.0.1", 0)
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        async with server, opened(url) as store:
            for ask in (store.get, store.list, watch_once(store)):
                with pytest.raises(StoreUnavailableError, match=url):
                    await ask("a")

    asyncio.run(run())


def watch_once(store: Store) -> Callable[[str], Awaitable[object]]:
    async def ask(prefix: str) -> object:
        return await anext(store.watch(prefix, 0))

    return ask


def test_a_server_of_grpc_that_is_no_etcd_is_named() -> None:
    """One that does not know etcd's calls, and one that answers them with what is no answer."""

    class Garbage(grpc.GenericRpcHandler):  # type: ignore[type-arg]  # generic in the stubs only
        def __init__(self, answer: bytes) -> None:
            self.answer = answer

        def service(self, details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler[bytes, bytes]:
            async def reply(request: bytes, context: object) -> bytes:
                return self.answer

            return grpc.unary_unary_rpc_method_handler(reply)

    async def serve(*handlers: Garbage) -> None:
        server = grpc.aio.server(handlers=handlers)
        port = server.add_insecure_port("127.0.0.1:0")
        await server.start()
        async with opened(f"http://127.0.0.1:{port}") as store:
            for ask in (store.get, store.list, watch_once(store)):
                with pytest.raises(StoreUnavailableError, match=r"does not (answer|begin a watch) as etcd"):
                    await ask("a")
        await server.stop(None)

    async def run() -> None:
        await serve()
        await serve(Garbage(b""))
        await serve(Garbage(b"\xff\xff\xff"))

    asyncio.run(run())


def test_closing_while_nobody_answers_takes_no_time(newest: Etcd) -> None:
    async def run() -> None:
        async with TcpProxy(newest.port) as proxy:
            store = EtcdStore([proxy.url], timeout=1000.0)
            await store.get("a")
            lease = await store.grant(60)
            watch = store.watch("a", 0)
            await anext(watch)
            proxy.stall()
            waiting = [asyncio.create_task(store.get("a")), asyncio.create_task(lease.revoke())]
            await asyncio.sleep(0.1)
            await store.aclose()
            for task in waiting:
                with pytest.raises(StoreClosedError):
                    await task
            assert [events async for events in watch] == []
            proxy.refuse()

    asyncio.run(run())
