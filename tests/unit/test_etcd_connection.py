"""
A connection to etcd's servers while what it is made of goes: files, links, and the store itself.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
import trustme

from doubles.clock import ManualClock
from fleetmesh.errors import StoreClosedError, StoreUnavailableError
from fleetmesh.state.etcd import EtcdStore
from fleetmesh.state.etcd.connection import Link
from fleetmesh.state.etcd.leases import EtcdLease

pytestmark = pytest.mark.asyncio

URL = "https://127.0.0.1:1"
NOBODY = r"failed to connect to all addresses"

Ask = Callable[[EtcdStore], Awaitable[object]]


async def a_read(store: EtcdStore) -> object:
    return await store.get("a")


async def a_watch(store: EtcdStore) -> object:
    return await anext(store.watch("a", 0))


async def a_list(store: EtcdStore) -> object:
    return await store.list("a")


asked = pytest.mark.parametrize("ask", [a_read, a_list, a_watch])


class Files:
    """A client's, in a folder."""

    def __init__(self, folder: Path) -> None:
        authority = trustme.CA()
        issued = authority.issue_cert("client.example")
        self.content = {
            "ca": authority.cert_pem.bytes(),
            "cert": b"".join(each.bytes() for each in issued.cert_chain_pems),
            "key": issued.private_key_pem.bytes(),
        }
        self.paths = {name: folder / f"{name}.pem" for name in self.content}
        for name in self.content:
            self.restore(name)

    def restore(self, name: str) -> None:
        self.paths[name].write_bytes(self.content[name])

    def store(self, *, clock: ManualClock | None = None) -> EtcdStore:
        ca, cert, key = self.paths.values()
        return EtcdStore([URL], ca, cert, key, timeout=1.0, clock=clock)


@asked
@pytest.mark.parametrize("name", ["ca", "cert", "key"])
async def test_a_file_that_is_away_for_a_moment_is_named_and_read_when_it_is_back(
    tmp_path: Path, name: str, ask: Ask
) -> None:
    files = Files(tmp_path)
    store = files.store()
    files.paths[name].unlink()
    with pytest.raises(StoreUnavailableError, match=rf"No such file .*{name}\.pem"):
        await ask(store)
    files.restore(name)
    with pytest.raises(StoreUnavailableError, match=NOBODY):
        await ask(store)
    await store.aclose()


def half(content: bytes) -> bytes:
    return content[: len(content) // 2]


def nonsense(content: bytes) -> bytes:
    first, last = content.splitlines()[0], content.splitlines()[-1]
    return first + b"\nAAAA\n" + last + b"\n"


def empty(_: bytes) -> bytes:
    return b""


def something_else(_: bytes) -> bytes:
    return b"\xff\xfe not PEM"


@pytest.mark.parametrize("name", ["ca", "cert", "key"])
@pytest.mark.parametrize("broken", [half, nonsense, empty, something_else])
async def test_a_file_that_is_not_whole_is_named_and_its_content_is_not(
    tmp_path: Path, name: str, broken: Callable[[bytes], bytes]
) -> None:
    """An empty certificate would end the process within gRPC."""
    files = Files(tmp_path)
    store = files.store()
    files.paths[name].write_bytes(broken(files.content[name]))
    with pytest.raises(StoreUnavailableError, match=rf"{name}\.pem has no .* that can be read") as caught:
        await store.get("a")
    assert "BEGIN" not in f"{caught.value!r} {caught.value.__cause__!r}"
    files.restore(name)
    with pytest.raises(StoreUnavailableError, match=NOBODY):
        await store.get("a")
    await store.aclose()


@pytest.mark.parametrize("name", ["ca", "cert"])
async def test_the_second_certificate_of_a_file_has_to_be_whole_too(tmp_path: Path, name: str) -> None:
    files = Files(tmp_path)
    files.paths[name].write_bytes(files.content[name] + half(files.content[name]))
    store = files.store()
    with pytest.raises(StoreUnavailableError, match=rf"{name}\.pem has no certificates"):
        await store.get("a")
    await store.aclose()


async def test_what_stands_around_certificates_and_keys_is_passed_over(tmp_path: Path) -> None:
    files = Files(tmp_path)
    for name, content in files.content.items():
        comment = "# Autorität für Prüfungen\n".encode()
        parameters = b"-----BEGIN EC PARAMETERS-----\nBggqhkjOPQMBBw==\n-----END EC PARAMETERS-----\n"
        around = parameters if name == "key" else comment
        files.paths[name].write_bytes(around + content.replace(b"\n", b"\r\n") + comment)
    store = files.store()
    with pytest.raises(StoreUnavailableError, match=NOBODY):
        await store.get("a")
    await store.aclose()


async def test_pem_that_was_given_itself_is_not_repeated() -> None:
    store = EtcdStore([URL], b"hunter1", b"hunter2", b"hunter3")
    with pytest.raises(StoreUnavailableError, match="the ca that was given has no certificates") as caught:
        await store.get("a")
    assert "hunter" not in str(caught.value)
    await store.aclose()


async def test_a_lease_is_not_given_up_while_the_files_are_away(tmp_path: Path) -> None:
    clock, files = ManualClock(), Files(tmp_path)
    store = files.store(clock=clock)
    lease = EtcdLease(store._client._connection, clock, 1, 30.0, ended=lambda _: None)
    for path in files.paths.values():
        path.unlink()
    await clock.run(60)
    assert not lease._task.done()
    await lease.let_go()
    await store.aclose()


@asked
async def test_a_store_that_is_closed_while_somebody_waits_to_be_authenticated_says_so(
    monkeypatch: pytest.MonkeyPatch, ask: Ask
) -> None:
    store = EtcdStore(["http://127.0.0.1:1"], user="reader", password="hunter2")

    async def token(_: Link) -> str:
        await store.aclose()
        return "token"

    monkeypatch.setattr(store._client._connection, "token", token)
    with pytest.raises(StoreClosedError):
        await ask(store)


@asked
async def test_a_link_that_is_dropped_while_somebody_waits_to_be_authenticated_is_not_used(
    monkeypatch: pytest.MonkeyPatch, ask: Ask
) -> None:
    """As when another call finds out meanwhile that another store answers."""
    store = EtcdStore(["http://127.0.0.1:1"], user="reader", password="hunter2")
    connection = store._client._connection

    async def token(link: Link) -> str:
        await connection._drop(link)
        return "token"

    monkeypatch.setattr(connection, "token", token)
    with pytest.raises(StoreUnavailableError, match="dropped, to be made anew"):
        await ask(store)
    await store.aclose()
