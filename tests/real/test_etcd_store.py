"""
`EtcdStore` keeps the contract of stores, on etcd 3.6 and on the oldest that is supported, 3.4.
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Iterator

import pytest

from doubles.store_contract import CHECKS, Check, Subject, watching
from fleetmesh.errors import NoSpaceError, StoreDeniedError, StoreError, StoreUnavailableError
from fleetmesh.state.etcd import EtcdStore
from fleetmesh.state.store import Delete, Events, Put
from real import servers
from real.etcd_server import Certificates, Etcd

pytestmark = pytest.mark.real("etcd", "etcd-3.4", "etcdctl")

VERSIONS = ["etcd", "etcd-3.4"]
PREFIXES = (f"check{number}/" for number in itertools.count())


@pytest.fixture(scope="module", params=VERSIONS)
def etcd(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Etcd]:
    server = Etcd(servers.binary(request.param), tmp_path_factory.mktemp("etcd"))
    server.start()
    yield server
    server.stop()


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_the_contract(etcd: Etcd, check: Check) -> None:
    async def run() -> None:
        stores = [EtcdStore([etcd.url])]

        def another() -> EtcdStore:
            stores.append(EtcdStore([etcd.url]))
            return stores[-1]

        async def let_pass(seconds: float) -> None:
            """It passes by itself, and what comes then is waited for."""

        await check(Subject(stores[0], another, next(PREFIXES), let_pass))
        for store in stores:
            await store.aclose()

    asyncio.run(run())


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("ask_clients", [False, True])
def test_tls_and_mutual_tls(
    version: str, ask_clients: bool, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("tls")
    files = Certificates.issue(folder / "certificates")
    others = Certificates.issue(folder / "others")
    etcd = Etcd(servers.binary(version), folder / "e", certificates=files, ask_clients=ask_clients)
    etcd.start()

    async def works(store: EtcdStore) -> bool:
        try:
            await store.commit([Put("a", b"1")])
            async with watching(store, "a", 1) as watched:
                await watched.changes(1)
        except StoreUnavailableError:
            return False
        finally:
            await store.aclose()
        return True

    async def run() -> None:
        url, cert, key = [etcd.url], files.client_cert, files.client_key
        assert await works(EtcdStore(url, files.ca, cert, key))
        assert await works(EtcdStore(url, files.ca.read_bytes(), cert.read_bytes(), key.read_bytes()))
        assert await works(EtcdStore(url, str(files.ca))) is not ask_clients
        assert await works(EtcdStore(url, files.ca, others.client_cert, others.client_key)) is not ask_clients
        assert not await works(EtcdStore(url, others.ca, cert, key)), "somebody else signed the server's"
        assert not await works(EtcdStore(url, files.ca, cert, key, server_name="other.example"))
        localhost = [etcd.url.replace("127.0.0.1", "localhost")]
        assert await works(EtcdStore(localhost, files.ca, cert, key))
        assert await works(EtcdStore(url, files.ca, cert, key, server_name="localhost"))
        assert not await works(EtcdStore([etcd.url.replace("https", "http")]))

    try:
        asyncio.run(run())
    finally:
        etcd.stop()


def test_renewed_certificates_are_taken_when_a_connection_fails(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    folder = tmp_path_factory.mktemp("renewed")
    old, new = Certificates.issue(folder / "old"), Certificates.issue(folder / "new")
    ca = folder / "ca.pem"
    ca.write_bytes(old.ca.read_bytes())
    etcd = Etcd(servers.binary("etcd"), folder / "e", certificates=old)
    etcd.start()

    async def run() -> None:
        store = EtcdStore([etcd.url], ca)
        await store.commit([Put("a", b"1")])
        await asyncio.to_thread(etcd.stop)
        etcd.certificates = new
        await asyncio.to_thread(etcd.start)
        with pytest.raises(StoreUnavailableError):
            await store.get("a")
        ca.write_bytes(new.ca.read_bytes())
        with pytest.raises(StoreUnavailableError):  # as it finds out
            await store.get("a")
        assert await store.get("a") is not None
        await store.aclose()

    try:
        asyncio.run(run())
    finally:
        etcd.stop()


@pytest.mark.parametrize("version", VERSIONS)
def test_users_may_do_what_their_roles_allow(version: str, tmp_path_factory: pytest.TempPathFactory) -> None:
    etcd = Etcd(servers.binary(version), tmp_path_factory.mktemp("users"), "--auth-token-ttl", "1")
    etcd.start()
    etcd.ctl("put", "open/a", "1")
    etcd.ctl("put", "secret/a", "1")

    async def run() -> None:
        early = EtcdStore([etcd.url], user="reader", password="reader")
        with pytest.raises(StoreDeniedError, match="authentication is not enabled"):
            await early.get("open/a")
        await early.aclose()
        await asyncio.to_thread(etcd.add_users, {"reader": ["open/*"]})

        nobody = EtcdStore([etcd.url])
        with pytest.raises(StoreDeniedError):
            await nobody.get("open/a")
        with pytest.raises(StoreDeniedError):
            await anext(nobody.watch("open/", 0))
        await nobody.aclose()

        wrong = EtcdStore([etcd.url], user="reader", password="hunter2")
        with pytest.raises(StoreDeniedError, match="authentication failed") as caught:
            await wrong.get("open/a")
        assert "hunter2" not in f"{caught.value!r} {wrong!r} {caught.value.__cause__!r}"
        await wrong.aclose()

        reader = EtcdStore([etcd.url], user="reader", password="reader")
        assert len((await reader.list("open/")).entries) == 1
        for denied in (reader.get("secret/a"), reader.list("open"), reader.commit([Put("open/a", b"")])):
            with pytest.raises(StoreDeniedError, match="permission denied"):
                await denied
        with pytest.raises(StoreDeniedError):
            await anext(reader.watch("secret/", 0))
        async with watching(reader, "open/", 0) as watched:
            await watched.changes(1)
        await reader.aclose()

    try:
        asyncio.run(run())
    finally:
        etcd.stop()


@pytest.mark.parametrize("version", VERSIONS)
def test_a_token_that_is_over_is_renewed(version: str, tmp_path_factory: pytest.TempPathFactory) -> None:
    """A server that starts again knows no token of before."""
    etcd = Etcd(servers.binary(version), tmp_path_factory.mktemp("token"))
    etcd.start()
    etcd.ctl("put", "open/a", "1")
    etcd.add_users({"reader": ["open/*"]})

    async def run() -> None:
        getting, beginning = (EtcdStore([etcd.url], user="reader", password="reader") for _ in range(2))
        for store in (getting, beginning):
            assert await store.get("open/a") is not None
        await asyncio.to_thread(etcd.kill)
        await asyncio.to_thread(etcd.start)
        assert await answer(getting) is not None
        # The first call over the new connection is the watch.
        while True:
            try:
                async with watching(beginning, "open/", 0) as watched:
                    await watched.changes(1)
                break
            except StoreUnavailableError:
                await asyncio.sleep(0.05)
        for store in (getting, beginning):
            await store.aclose()

    async def answer(store: EtcdStore) -> object:
        while True:
            try:
                return await store.get("open/a")
            except StoreUnavailableError:
                await asyncio.sleep(0.05)

    try:
        asyncio.run(run())
    finally:
        etcd.stop()


@pytest.mark.parametrize("version", VERSIONS)
def test_a_store_without_room_can_be_read_and_says_why_it_takes_nothing(
    version: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    quota = 4 << 20
    etcd = Etcd(servers.binary(version), tmp_path_factory.mktemp("full"), "--quota-backend-bytes", str(quota))
    etcd.start()

    async def run() -> None:
        store = EtcdStore([etcd.url])
        written = await fill(store)
        assert 0 < written < 100
        assert (await store.status()).alarms == ("NOSPACE",)
        # etcd carries out the transaction that fills it, and says all the same that there is no room
        # (server/etcdserver/apply/apply.go `quotaApplierV3`).
        there = len((await store.list("")).entries)
        assert there in {written, written + 1}
        with pytest.raises(NoSpaceError):
            await store.commit([Put("a", b"")])
        with pytest.raises(NoSpaceError):
            await store.grant(60)
        async with watching(store, "", 0) as watched:
            await watched.changes(there)
            revision = await store.commit([Delete(f"{number}") for number in range(there)])
            await watched.changes(there)

        await store.compact(revision)
        await asyncio.to_thread(etcd.ctl, "defrag")
        await asyncio.to_thread(etcd.ctl, "alarm", "disarm")
        await store.commit([Put("a", b"")])
        assert (await store.status()).alarms == ()
        await store.aclose()

    try:
        asyncio.run(run())
    finally:
        etcd.stop()


async def fill(store: EtcdStore) -> int:
    """How many go in."""
    for number in range(100):
        try:
            await store.commit([Put(f"{number}", b"x" * 500_000)])
        except NoSpaceError:
            return number
    return 100


def test_a_value_that_is_too_large_is_refused_and_nothing_else(etcd: Etcd) -> None:
    async def run() -> None:
        store = EtcdStore([etcd.url])
        for size in (1_800_000, 3_000_000):
            with pytest.raises(StoreError, match=r"too large|larger than max"):
                await store.commit([Put("large", b"x" * size)])
        assert await store.get("large") is None
        await store.aclose()

    asyncio.run(run())


def test_pages_of_values_of_ten_megabytes_are_read_in_smaller_parts(
    monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
) -> None:
    from fleetmesh.state.etcd import connection

    monkeypatch.setattr(connection, "MOST_BYTES", 25_000_000)
    etcd = Etcd(
        servers.binary("etcd"), tmp_path_factory.mktemp("large"), "--max-request-bytes", str(20 << 20)
    )
    etcd.start()

    async def run() -> None:
        store = EtcdStore([etcd.url])
        for number in range(5):
            await store.commit([Put(f"{number}", bytes([number]) * 10_000_000)])
        found = await store.list("")
        assert [each.value[-1] for each in found.entries] == [0, 1, 2, 3, 4]
        assert found.revision == 6
        await store.aclose()

    try:
        asyncio.run(run())
    finally:
        etcd.stop()


def test_marks_are_asked_for_only_where_they_can_be_trusted(etcd: Etcd) -> None:
    """A mark that overtakes events would lose them when the watch goes on (etcd issue 15220)."""

    async def run() -> None:
        store = EtcdStore([etcd.url], progress_every=0.05)
        before = (await store.status()).revision
        async with watching(store, "none/", before) as watched:
            revision = await store.commit([Put("other", b"")])
            mark = asyncio.create_task(watched.next())
            if (await store.status()).version.startswith("3.4."):
                done, _ = await asyncio.wait([mark], timeout=0.5)
                assert not done
                mark.cancel()
                await asyncio.wait([mark])
            else:
                assert await mark == Events(revision)
        await store.aclose()

    asyncio.run(run())
