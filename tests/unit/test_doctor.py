"""
What keeps a store from being heard: one check each, and what can't be seen any more after one that failed.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import trustme

from doubles.clock import ManualClock
from doubles.flaky_store import FlakyStore
from doubles.version_server import ETCD, serving
from doubles.wire import beat, config_of, write, write_cluster
from fleetmesh.errors import StoreDeniedError, StoreUnavailableError
from fleetmesh.state.codecs import encode_config
from fleetmesh.state.connection_file import EtcdConnection
from fleetmesh.state.doctor import KINDS, Check, Target, examine
from fleetmesh.state.keys import HEARTBEAT, config_key, synced_key
from fleetmesh.state.memory import MemoryStore
from fleetmesh.state.store import Delete, Entry, Put, Store, StoreStatus

AUTHORITY = trustme.CA()
DEEP = b'{"etcdserver": ' + b"[" * 20_000 + b"]" * 20_000 + b"}"


def looked_at(
    store: Store | Callable[[EtcdConnection], Store] | None = None,
    *urls: str,
    clock: ManualClock | None = None,
    answer: bytes = ETCD,
    **target: Any,
) -> dict[tuple[str, str], Check]:
    """All checks, of a server of the loopback if no others are named, with what the store holds behind it."""

    async def run(*endpoints: str) -> tuple[Check, ...]:
        connection = EtcdConnection(endpoints=endpoints)
        return await examine(
            Target(connection=connection, **target),
            clock or ManualClock(),
            open_store=lambda asked: (
                MemoryStore() if store is None else store(asked) if callable(store) else store
            ),
        )

    if urls:
        checks = asyncio.run(run(*urls))
    else:
        with serving(answer=answer) as port:
            checks = asyncio.run(run(f"http://127.0.0.1:{port}"))
    return {(each.name, each.subject): each for each in checks}


def outcomes(checks: dict[tuple[str, str], Check]) -> dict[str, str]:
    return {name: check.outcome for (name, _), check in checks.items()}


class Kept(FlakyStore):
    """Closing it does nothing, since the next one asks it too."""

    def __init__(self, denied: str = "") -> None:
        super().__init__(MemoryStore())
        self.denied = denied

    async def get(self, key: str) -> Entry | None:
        self._look(key)
        return await super().get(key)

    def pages(self, prefix: str, *, exact: bool = False) -> Any:
        self._look(prefix)
        return super().pages(prefix, exact=exact)

    async def commit(self, operations: Any, *, only_if: Any = ()) -> int:
        for each in operations if only_if else ():
            self._look(each.key)
        return await super().commit(operations, only_if=only_if)

    def _look(self, key: str) -> None:
        if self.denied and key.startswith(self.denied):
            raise StoreDeniedError("etcdserver: permission denied")

    async def aclose(self) -> None:
        """The test is not done with it."""


def filled(denied: str = "", *, cached: bool = False) -> Kept:
    store = Kept(denied)

    async def fill() -> None:
        await write_cluster(store, "west", 2, cached=cached)
        await beat(store, ManualClock().time() - 30)

    asyncio.run(fill())
    return store


def written(store: Kept, *operations: Put | Delete) -> Kept:
    asyncio.run(write(store, operations))
    return store


def test_a_good_store_is_good_all_through() -> None:
    checks = looked_at(filled(), clusters=("west",), published=frozenset(["west"]))

    assert outcomes(checks) == {
        "endpoint-name": "ok",
        "endpoint-tcp": "ok",
        "endpoint-version": "ok",
        "endpoint-etcd": "ok",
        "store-servers": "ok",
        "heartbeat": "ok",
        "cluster-config": "ok",
        "records-complete": "ok",
        "records-readable": "ok",
        "records-writable": "ok",
    }
    assert all(check.todo == "" for check in checks.values())
    assert checks["heartbeat", "Store"].seen == "it is 30 s old"
    assert checks["cluster-config", "Cluster west"].seen == "cluster id 2, in state form, up to 255 clusters"


def test_each_check_is_of_a_kind_that_says_what_to_do() -> None:
    assert list(KINDS) == [kind.name for kind in KINDS.values()]
    assert all(kind.shows and kind.todo for kind in KINDS.values())


def test_nothing_is_written() -> None:
    store = filled()
    before = asyncio.run(store.inner.list(""))
    looked_at(store, clusters=("west",), published=frozenset(["west"]))

    assert asyncio.run(store.inner.list("")) == before


# The way there


def test_a_host_without_address_ends_what_is_seen_of_it() -> None:
    checks = looked_at(None, "http://nobody.invalid:2379", clusters=("west",))

    assert outcomes(checks) == {
        "endpoint-name": "error",
        "endpoint-tcp": "skipped",
        "endpoint-version": "skipped",
        "endpoint-etcd": "skipped",
        "store-servers": "skipped",
        "heartbeat": "skipped",
        "cluster-config": "skipped",
        "records-complete": "skipped",
        "records-readable": "skipped",
    }
    assert checks["endpoint-name", "http://nobody.invalid:2379"].todo == KINDS["endpoint-name"].todo


def test_a_port_that_nobody_listens_on_is_told() -> None:
    checks = looked_at(None, "http://127.0.0.1:1")

    check = checks["endpoint-tcp", "http://127.0.0.1:1"]
    assert (check.outcome, check.seen) == ("error", "no connection to 127.0.0.1:1: connection refused")


def test_a_server_that_is_no_etcd_is_told() -> None:
    store = Kept()
    store.fail(StoreUnavailableError("it does not answer as etcd does"))

    checks = looked_at(store, answer=b"HTTP/1.1 404 Not Found\r\n\r\n{}")

    version, etcd = (
        next(check for (each, _), check in checks.items() if each == name)
        for name in ("endpoint-version", "endpoint-etcd")
    )
    assert (version.outcome, version.seen) == (
        "warning",
        "GET /version is not answered as by etcd: 'HTTP/1.1 404 Not Found'",
    )
    assert (etcd.outcome, etcd.seen) == ("error", "it does not answer as etcd does")


@pytest.mark.parametrize(
    "body",
    [b'{"etcdserver": "3.6\\u0007"}', b'{"etcdserver": 3}', b"[]", b"{" * 100_000, DEEP],
    ids=["control", "number", "list", "open", "deep"],
)
def test_a_version_that_is_none_is_not_shown(body: bytes) -> None:
    checks = looked_at(Kept(), answer=b"HTTP/1.1 200 OK\r\n\r\n" + body)

    assert outcomes(checks)["endpoint-version"] == "warning"


class Telling(Kept):
    """Says something else of itself."""

    def __init__(self, **told: Any) -> None:
        super().__init__()
        self.told = {"store_id": "a1", "version": "3.6.14", "revision": 7, "endpoint": "", **told}

    async def status(self) -> StoreStatus:
        return StoreStatus(**self.told)


@pytest.mark.parametrize(
    ("told", "seen"),
    [({"has_leader": False}, "it has no leader"), ({"alarms": ("NOSPACE",)}, "alarm NOSPACE")],
)
def test_a_server_that_can_not_write_is_told(told: dict[str, Any], seen: str) -> None:
    checks = looked_at(Telling(**told))

    ((_, etcd),) = ((key, check) for key, check in checks.items() if key[0] == "endpoint-etcd")
    assert etcd.outcome == "error"
    assert seen in etcd.seen


def test_servers_of_several_etcds_are_told() -> None:
    with serving() as one, serving() as other:
        urls = [f"http://127.0.0.1:{port}" for port in (one, other)]
        checks = looked_at(
            lambda asked: Telling(store_id="a1" if asked.endpoints[0] == urls[0] else "b2"), *urls
        )

    check = checks["store-servers", "Store"]
    assert check.outcome == "error"
    assert check.seen == f"they are of several etcds: {urls[0]} is of a1; {urls[1]} is of b2"


def test_of_several_servers_one_that_is_gone_is_a_warning_and_the_others_are_asked() -> None:
    with serving() as port:
        checks = looked_at(filled(), f"http://127.0.0.1:{port}", "http://127.0.0.1:1", clusters=("west",))

    assert checks["store-servers", "Store"].outcome == "warning"
    assert checks["cluster-config", "Cluster west"].outcome == "ok"


# TLS


def certified(tmp_path: Path, authority: trustme.CA, **fields: Any) -> EtcdConnection:
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    return EtcdConnection(ca=str(tmp_path / "ca.pem"), **fields)


def shaken(connection: EtcdConnection, *, asks: bool = False, **server: Any) -> dict[str, Check]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    AUTHORITY.issue_cert("127.0.0.1").configure_cert(context)
    if asks:
        context.verify_mode = ssl.CERT_REQUIRED
        AUTHORITY.configure_trust(context)
    for name, value in server.items():
        setattr(context, name, value)
    with serving(context) as port:
        host = connection.endpoints[0].format(port=port)
        target = Target(connection=EtcdConnection(**_fields(connection, host)))
        checks = asyncio.run(examine(target, ManualClock(), open_store=lambda asked: Kept()))
    return {each.name: each for each in checks}


def _fields(connection: EtcdConnection, url: str) -> dict[str, Any]:
    return {"endpoints": (url,), "ca": connection.ca, "cert": connection.cert, "key": connection.key}


def test_a_server_whose_certificate_is_trusted(tmp_path: Path) -> None:
    found = shaken(certified(tmp_path, AUTHORITY, endpoints=("https://127.0.0.1:{port}",)))

    assert found["endpoint-tls"].outcome in {"ok", "warning"}  # by a clock that is years ahead
    assert "its certificate is trusted" in found["endpoint-tls"].seen
    assert found["endpoint-tls"].certificates[0].names == ("127.0.0.1",)
    assert found["endpoint-client-auth"].outcome == "ok"
    assert found["endpoint-version"].seen == "etcd 3.6.14"


def test_a_server_of_another_authority_shows_its_certificate_all_the_same(tmp_path: Path) -> None:
    found = shaken(certified(tmp_path, trustme.CA(), endpoints=("https://127.0.0.1:{port}",)))

    check = found["endpoint-tls"]
    assert (check.outcome, check.seen) == (
        "error",
        "its certificate is not trusted: unable to get local issuer certificate",
    )
    assert check.certificates[0].names == ("127.0.0.1",)
    assert found["endpoint-etcd"].outcome == "skipped"


def test_a_certificate_for_another_host_is_told(tmp_path: Path) -> None:
    found = shaken(certified(tmp_path, AUTHORITY, endpoints=("https://localhost:{port}",)))

    assert found["endpoint-tls"].outcome == "error"
    assert "hostname mismatch" in found["endpoint-tls"].seen


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_a_server_that_wants_a_certificate_and_gets_none_is_told(
    tmp_path: Path, version: ssl.TLSVersion
) -> None:
    connection = certified(tmp_path, AUTHORITY, endpoints=("https://127.0.0.1:{port}",))

    found = shaken(connection, asks=True, minimum_version=version, maximum_version=version)

    assert found["endpoint-client-auth"].outcome == "error"
    assert "it refuses the client" in found["endpoint-client-auth"].seen
    assert found["endpoint-version"].outcome == "skipped"


@pytest.mark.parametrize(("asks", "outcome"), [(False, "ok"), (True, "warning")])
def test_a_server_that_says_nothing_may_refuse_the_client_if_it_asks_for_a_certificate(
    tmp_path: Path, asks: bool, outcome: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(connection: object) -> bytes:
        raise ConnectionResetError(104, "Connection reset by peer")

    monkeypatch.setattr("fleetmesh.state.doctor.endpoint._all_of", broken)
    connection = certified(tmp_path, AUTHORITY, endpoints=("https://127.0.0.1:{port}",))

    found = shaken(connection, asks=asks)

    assert found["endpoint-client-auth"].outcome == outcome
    assert found["endpoint-version"].seen == "no answer to GET /version: connection reset by peer"


def test_a_server_that_wants_a_certificate_and_gets_it(tmp_path: Path) -> None:
    leaf = AUTHORITY.issue_cert("remote")
    leaf.cert_chain_pems[0].write_to_path(str(tmp_path / "cert.pem"))
    leaf.private_key_pem.write_to_path(str(tmp_path / "key.pem"))
    connection = certified(
        tmp_path,
        AUTHORITY,
        endpoints=("https://127.0.0.1:{port}",),
        cert=str(tmp_path / "cert.pem"),
        key=str(tmp_path / "key.pem"),
    )

    found = shaken(connection, asks=True, maximum_version=ssl.TLSVersion.TLSv1_2)

    assert (found["endpoint-client-auth"].outcome, found["endpoint-client-auth"].seen) == (
        "ok",
        "it takes the client's certificate",
    )


def test_tls_where_the_server_speaks_in_the_clear_is_told() -> None:
    with serving() as port:
        checks = looked_at(None, f"https://127.0.0.1:{port}")

    assert outcomes(checks)["endpoint-tls"] == "error"


def test_a_host_may_be_at_an_address_that_the_file_gives() -> None:
    with serving() as port:
        connection = EtcdConnection(
            endpoints=(f"http://west.invalid:{port}",), host_aliases={"west.invalid": ("127.0.0.1",)}
        )
        target = Target(connection=connection)
        checks = asyncio.run(examine(target, ManualClock(), open_store=lambda asked: Kept()))

    assert checks[0].seen == "west.invalid is 127.0.0.1 by cilium-host-aliases"
    assert checks[1].outcome == "ok"


# What the store holds


def test_a_heartbeat_that_stopped_is_told() -> None:
    clock = ManualClock()
    store = filled()
    clock.jump(100)

    checks = looked_at(store, clock=clock, clusters=("west",))

    assert checks["heartbeat", "Store"].outcome == "error"
    assert checks["heartbeat", "Store"].seen == "it is 130 s old"


@pytest.mark.parametrize(
    ("value", "outcome", "seen"),
    [
        (None, "warning", "there is no cilium/.heartbeat; it is written a minute after a start"),
        (b"noon", "error", "cilium/.heartbeat: "),
        (b"2030-01-15T08:10:00Z", "warning", "clocks differ"),
    ],
)
def test_a_heartbeat_that_is_none_is_told(value: bytes | None, outcome: str, seen: str) -> None:
    store = written(filled(), Delete(HEARTBEAT) if value is None else Put(HEARTBEAT, value))

    check = looked_at(store, clusters=("west",))["heartbeat", "Store"]

    assert check.outcome == outcome
    assert seen in check.seen


def test_a_cluster_that_the_store_does_not_have_is_told_but_not_of_who_is_to_publish_it() -> None:
    heard = looked_at(filled(), clusters=("wst",))
    own = looked_at(filled(), clusters=("wst",), published=frozenset(["wst"]))

    assert heard["cluster-config", "Cluster wst"].outcome == "error"
    assert heard["cluster-config", "Cluster wst"].seen == "there is no cilium/cluster-config/wst"
    assert own["cluster-config", "Cluster wst"].outcome == "ok"
    assert heard["records-complete", "Cluster wst"].outcome == "skipped"


@pytest.mark.parametrize("value", [b"{", encode_config(config_of(600))])
def test_a_config_that_readers_refuse_is_told(value: bytes) -> None:
    store = written(filled(), Put(config_key("west"), value))

    assert looked_at(store, clusters=("west",))["cluster-config", "Cluster west"].outcome == "error"


def test_a_kind_that_is_not_marked_is_told() -> None:
    store = written(filled(), Delete(synced_key("west", "ip", cached=False)))

    check = looked_at(store, clusters=("west",))["records-complete", "Cluster west"]

    assert (check.outcome, check.seen) == ("warning", "not marked yet: ip")


@pytest.mark.parametrize("cached", [False, True])
def test_prefixes_that_may_not_be_read_are_named(cached: bool) -> None:
    prefix = "cilium/cache/services/v1/west/" if cached else "cilium/state/services/v1/west/"
    store = filled(prefix, cached=cached)

    check = looked_at(store, clusters=("west",))["records-readable", "Cluster west"]

    assert (check.outcome, check.seen) == ("error", "the user may not read 1 prefixes")
    assert check.details == (prefix,)


def test_who_may_not_write_is_told_only_if_he_has_to() -> None:
    store = filled("cilium/synced/")

    heard = looked_at(store, clusters=("west",))
    own = looked_at(store, clusters=("west",), published=frozenset(["west"]))

    assert ("records-writable", "Cluster west") not in heard
    assert own["records-writable", "Cluster west"].outcome == "error"


def test_without_names_the_clusters_of_the_store_are_looked_at() -> None:
    assert ("records-readable", "Cluster west") in looked_at(filled())
    assert looked_at(Kept())["cluster-config", "Store"].seen == "no cluster says what it is"
