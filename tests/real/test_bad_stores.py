"""
A cluster whose configuration can't be taken, or whose store is none: told by itself, and the rest goes on.
"""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from random import Random

import pytest

import fleetmesh as fm
from doubles.clock import ManualClock
from doubles.running_fleet import IDS, going, until, whole_fleet
from doubles.split_mesh import known, only
from doubles.wire import write_cluster
from fleetmesh.state.codecs import encode_time
from fleetmesh.state.etcd import EtcdStore
from fleetmesh.state.keys import HEARTBEAT, config_key, key_of
from fleetmesh.state.live import Live, run
from fleetmesh.state.memory import MemoryStore
from fleetmesh.state.mirror import Mirror
from fleetmesh.state.remote_status import RemoteStatus
from fleetmesh.state.store import Delete, Put, Store
from real.etcd_server import Etcd
from real.fleet_faults import open_store, started
from real.listening_fleet import listening

pytestmark = [pytest.mark.real("etcd", "etcdctl"), pytest.mark.asyncio]

CONFIG = config_key("west")


def config(number: int = 2, **capabilities: object) -> bytes:
    known_ones = {"syncedCanaries": True, "maxConnectedClusters": 255, "serviceExportsEnabled": True}
    return json.dumps({"id": number, "capabilities": known_ones | capabilities}).encode()


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (config(0), "is 0, expected 1 to 255"),
        (config(300), "is 300, expected 1 to 255"),
        (config(endpointSlicesExportMode="everything"), "'everything'"),
        (b"{", "no JSON"),
        (b"\xff" * 1_000_000, "no JSON"),
        (b'{"id":"2"}', "id"),
        (config(1), "declared is 2"),
        (config(3), "declared is 2"),
    ],
    ids=["id 0", "id 300", "unknown export mode", "no JSON", "large", "a text", "our id", "another's id"],
)
async def test_a_configuration_that_can_not_be_taken_leaves_what_is_known(
    tmp_path: Path, value: bytes, reason: str
) -> None:
    """Also one whose id is declared otherwise."""
    async with listening(tmp_path) as at:
        before = await at.store.get(CONFIG)
        assert before is not None
        await at.put({CONFIG: value})
        conflict = value in (config(1), config(3))
        await until(lambda: at.west.phase == ("conflict" if conflict else "rejected"), lambda: at.west)
        (told,) = at.told("cluster-id-conflict" if conflict else "remote-config-rejected")
        assert reason in told.message
        assert len(told.message) < 300
        assert known(at.east.mesh, "west") == known(at.fleet.whole, "west")
        await at.the_rest_goes_on()
        await at.put({CONFIG: before.value})
        await at.all_is_well()


async def test_a_cluster_that_claims_our_own_id_later_keeps_what_is_known(tmp_path: Path) -> None:
    """One that was not declared, as its store says what it is."""
    whole = whole_fleet("east", "west")
    mesh = fm.Mesh("m")
    mesh.join("east", cluster_id=1)
    with started(tmp_path) as etcds:
        direct, clock = open_store(etcds[""].url), ManualClock()
        await write_cluster(direct, "west", 2, whole.members["west"].records())
        store = open_store(etcds[""].url, clock=clock)
        async with going(clock, 10), run(mesh, store={"west": store}, clock=clock) as live:
            await until(lambda: "west" in live.remotes and live.remotes["west"].ready)
            await direct.commit([Put(CONFIG, config(1))])
            await until(lambda: live.remotes["west"].phase == "conflict")
            (told,) = live.findings
            assert told.code == "cluster-id-conflict"
            assert "'east'" in told.message
            assert known(mesh, "west") == known(whole, "west")
            await direct.commit([Put(CONFIG, config(2))])
            await until(lambda: live.remotes["west"].ready and not live.findings)
            assert known(mesh, "west") == known(whole, "west")
        await store.aclose()
        await direct.aclose()


async def test_a_capability_that_nobody_knows_is_kept_and_told(tmp_path: Path) -> None:
    async with listening(tmp_path) as at:
        before = await at.store.get(CONFIG)
        assert before is not None
        await at.put({CONFIG: config(flyingCarpets={"a": [1, None, "\ud800"]}, wings=2)})
        await until(lambda: at.west.config is not None and bool(at.west.config.unknown))
        assert at.west.config is not None
        assert dict(at.west.config.unknown) == {"flyingCarpets": {"a": [1, None, "\ufffd"]}, "wings": 2}
        (told,) = at.told("unknown-capability")
        assert "flyingCarpets, wings" in told.message
        await at.the_rest_goes_on()
        await at.put({CONFIG: before.value})
        await at.all_is_well()


async def test_a_configuration_that_goes_to_and_fro_empties_nothing(tmp_path: Path) -> None:
    """From the state form to the cache form and back, with and without marks, at any moment."""
    async with listening(tmp_path) as at:
        before = await at.store.get(CONFIG)
        assert before is not None
        await write_cluster(
            at.store, "west", IDS["west"], at.fleet.whole.members["west"].records(), cached=True
        )
        drawn = Random(5)
        for _ in range(40):
            value = config(
                cached=drawn.random() < 0.5,
                syncedCanaries=drawn.random() < 0.7,
                endpointSlicesExportMode=drawn.choice(["", "services-and-endpointslices"]),
            )
            await at.put({CONFIG: value})
            await asyncio.sleep(drawn.random() * 0.05)  # anywhere in what the last one began
        await at.put({CONFIG: before.value})
        await at.fleet.agrees()
        await at.the_rest_goes_on()


async def test_a_cluster_that_is_called_something_else_in_its_store_is_told(tmp_path: Path) -> None:
    whole = whole_fleet("east", "west")
    with started(tmp_path) as etcds:
        direct = open_store(etcds[""].url)
        await direct.commit([Put(config_key("wset"), config())])
        async with hearing(whole, lambda clock: open_store(etcds[""].url, clock=clock)) as live:
            await until(lambda: live.remotes["west"].phase == "waiting")
            (told,) = live.findings
            assert told.code == "remote-config-missing"
            assert "wset" in told.message
            await direct.commit([Delete(config_key("wset"))])
            await write_cluster(direct, "west", 2, whole.members["west"].records())
            await until(lambda: live.remotes["west"].ready and not live.findings)
            assert known(live.mesh, "west") == known(whole, "west")
        await direct.aclose()


async def test_an_etcd_that_is_not_of_cilium(tmp_path: Path) -> None:
    whole = whole_fleet("east", "west")
    with started(tmp_path) as etcds:
        direct = open_store(etcds[""].url)
        await direct.commit([Put("/registry/pods/a/b", b"k8s\0"), Put("ciliumx", b"")])
        async with hearing(whole, lambda clock: open_store(etcds[""].url, clock=clock)) as live:
            await until(lambda: live.remotes["west"].phase == "waiting")
            assert [each.code for each in live.findings] == ["store-not-cilium"]
            assert live.remotes["west"].connected
            await write_cluster(direct, "west", 2, whole.members["west"].records())
            await until(lambda: live.remotes["west"].ready and not live.findings)
        await direct.aclose()


@asynccontextmanager
async def hearing(whole: fm.Mesh, through: Callable[[ManualClock], Store]) -> AsyncIterator[Live]:
    """The east's process, that hears the west through a store that it has from `through`."""
    clock = ManualClock()
    own, west = MemoryStore(clock=clock), through(clock)
    try:
        async with (
            going(clock, 10),
            run(only(whole, "east"), store={"east": own, "west": west}, clock=clock) as live,
        ):
            yield live
    finally:
        await west.aclose()
        await own.aclose()


Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


async def silent(reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> None:
    while await reader.read(1 << 16):
        pass


async def web_server(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.read(1 << 16)
    writer.write(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 5\r\n\r\nno\x1b[2")
    await writer.drain()


async def noise(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(Random(1).randbytes(100_000))
    await writer.drain()


async def mail_server(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(b"220 mail.example.com ESMTP\r\n")
    await writer.drain()
    await reader.read(1 << 16)


async def half_of_http2(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """An empty SETTINGS frame, and then nothing."""
    writer.write(b"\0\0\0\4\0\0\0\0\0")
    await writer.drain()
    while await reader.read(1 << 16):
        pass


@asynccontextmanager
async def port_of(serve: Serve | None) -> AsyncIterator[int]:
    """A port where somebody serves, or nobody listens."""
    if serve is None:
        with socket.create_server(("127.0.0.1", 0)) as held:
            port: int = held.getsockname()[1]
        yield port
        return

    async def once(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await serve(reader, writer)
        except OSError:
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(once, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        await server.wait_closed()


@pytest.mark.parametrize("serve", [None, silent, web_server, noise, mail_server, half_of_http2])
async def test_a_port_that_speaks_no_etcd(serve: Serve | None) -> None:
    """Whether it is read or written: the rest goes on, and all ends when it is to end."""
    whole = whole_fleet("east", "west", "north")
    north = MemoryStore()
    await write_cluster(north, "north", IDS["north"], whole.members["north"].records())
    async with port_of(serve) as port:
        clock, url = ManualClock(), f"http://127.0.0.1:{port}"
        stores: dict[str, Store] = {name: open_store(url, clock=clock) for name in ("east", "west")}
        mesh = only(whole, "east")
        async with going(clock, 10), run(mesh, store=stores | {"north": north}, clock=clock) as live:
            await until(
                lambda: {"remote-stale", "store-unavailable"} <= {each.code for each in live.findings},
                lambda: live.findings,
            )
            await until(lambda: live.remotes["north"].ready)
            assert known(mesh, "north") == known(whole, "north")
            west = live.remotes["west"]
            assert (west.phase, west.connected) == ("connecting", False)
            assert "nothing of it is known" in "".join(each.message for each in west.findings)
            assert all(each.message.isprintable() and len(each.message) < 500 for each in live.findings)
        for store in (*stores.values(), north):
            await store.aclose()


REMOTE = ("cilium/.heartbeat*", "cilium/state/*", CONFIG, "cilium/synced/west/*")
"""What Cilium's user `remote` may read (pkg/kvstore/etcdinit/init.go, `rangesForRemoteRole`)."""

LOCAL = ("cilium/.heartbeat*", "cilium/cache/*", "cilium/cluster-config/*", "cilium/synced/*")
"""What its users `local` may read (`rangesForLocalRole`)."""


def as_user(name: str, password: str = "") -> Callable[[Etcd, ManualClock], Store]:
    def opened(etcd: Etcd, clock: ManualClock) -> Store:
        return EtcdStore([etcd.url], user=name, password=password or name, timeout=1.0, clock=clock)

    return opened


@asynccontextmanager
async def guarded(
    folder: Path,
    roles: dict[str, Sequence[str]],
    opened: Callable[[Etcd, ManualClock], Store],
    *,
    cached: bool = False,
) -> AsyncIterator[tuple[fm.Mesh, Etcd, Live]]:
    """The east's process, that hears the west as a user of its etcd."""
    whole = whole_fleet("east", "west")
    with started(folder) as etcds:
        etcd = etcds[""]
        direct = open_store(etcd.url)
        await write_cluster(direct, "west", 2, whole.members["west"].records(), cached=cached)
        await direct.aclose()
        await asyncio.to_thread(etcd.add_users, roles)
        async with hearing(whole, lambda clock: opened(etcd, clock)) as live:
            yield whole, etcd, live


@pytest.mark.parametrize(
    ("readable", "cached"), [(REMOTE, False), (LOCAL, True)], ids=["remote, of the state", "local, of a copy"]
)
async def test_what_ciliums_users_may_read_is_enough(
    tmp_path: Path, readable: Sequence[str], cached: bool
) -> None:
    """To hear a cluster, what it says of itself later and its heartbeats included."""
    opened = as_user("reader")
    async with guarded(tmp_path, {"reader": readable}, opened, cached=cached) as (whole, etcd, live):
        await until(lambda: live.remotes["west"].ready, lambda: live.remotes)
        assert known(live.mesh, "west") == known(whole, "west")
        assert live.findings == ()
        root = as_user("root")(etcd, ManualClock())
        await root.commit([Put(CONFIG, config(cached=cached)), Put(HEARTBEAT, encode_time(0))])
        await root.aclose()
        await until(lambda: live.remotes["west"].last_heartbeat_age is not None)

        def without_slices() -> bool:
            told = live.remotes["west"].config
            return told is not None and not told.endpoint_slices_export_mode

        await until(lambda: without_slices() and live.remotes["west"].ready, lambda: live.remotes)
        assert live.findings == ()


@pytest.mark.parametrize(
    ("readable", "cached"), [(REMOTE, False), (LOCAL, True)], ids=["remote, of the state", "local, of a copy"]
)
async def test_what_ciliums_users_may_read_is_enough_to_mirror(
    tmp_path: Path, readable: Sequence[str], cached: bool
) -> None:
    records = whole_fleet("east", "west").members["west"].records()
    with started(tmp_path) as etcds:
        etcd = etcds[""]
        direct, clock = open_store(etcd.url), ManualClock()
        await write_cluster(direct, "west", 2, records, cached=cached)
        await direct.aclose()
        await asyncio.to_thread(etcd.add_users, {"reader": readable})
        local = MemoryStore(clock=clock)
        async with going(clock, 10), Mirror(local, clock=clock) as mirror:
            await mirror.add("west", as_user("reader")(etcd, clock))
            await until(lambda: mirror.status["west"].ready, lambda: mirror.status)
            await until(lambda: mirror.status["west"].local.phase == "written", lambda: mirror.status)
            assert mirror.findings == ()
            copy = await local.list("cilium/cache/")
            assert {each.key for each in copy.entries} == {key_of(each, cached=True) for each in records}
        await local.aclose()


async def test_a_user_who_may_not_read_one_kind_hears_the_others(tmp_path: Path) -> None:
    some = tuple(f"cilium/state/{kind}/*" for kind in ("nodes", "identities", "services", "serviceexports"))
    roles: dict[str, Sequence[str]] = {"remote": (*REMOTE[:1], *REMOTE[2:], *some)}
    async with guarded(tmp_path, roles, as_user("remote")) as (whole, etcd, live):

        def synced(status: RemoteStatus) -> set[str]:
            return {kind for kind, each in status.kinds.items() if each.synced}

        await until(
            lambda: synced(live.remotes["west"]) == {"nodes", "identities", "services", "serviceexports"},
            lambda: live.remotes,
        )
        await until(lambda: [each.code for each in live.findings] == ["store-denied"], lambda: live.findings)
        (told,) = live.findings
        assert told.message.startswith("ip: ")
        assert live.remotes["west"].phase == "syncing"
        assert {each for each in known(live.mesh, "west") if "/ip/" not in each[0]} == {
            each for each in known(whole, "west") if "/ip/" not in each[0]
        }
        # Once he may, he hears it without being told.
        await asyncio.to_thread(etcd.allow, "remote", "read", "cilium/state/ip/*", user="root")
        await until(lambda: live.remotes["west"].ready, lambda: live.remotes)
        assert known(live.mesh, "west") == known(whole, "west")
        await until(lambda: not live.findings)


@pytest.mark.parametrize(
    ("opened", "reason"),
    [
        (as_user("nobody"), "permission denied"),
        (as_user("stranger"), "authentication failed"),
        (as_user("remote", "hunter2"), "authentication failed"),
        (lambda etcd, clock: open_store(etcd.url, clock=clock), "user name is empty"),
    ],
    ids=["without a role", "unknown", "wrong password", "no user"],
)
async def test_credentials_that_may_not_read(
    tmp_path: Path, opened: Callable[[Etcd, ManualClock], Store], reason: str
) -> None:
    async with guarded(tmp_path, {"remote": REMOTE, "nobody": ()}, opened) as (_, _, live):
        await until(lambda: any(each.code == "store-denied" for each in live.findings), lambda: live.findings)
        told = [each for each in live.findings if each.code == "store-denied"]
        assert any(reason in each.message for each in told)
        assert "hunter2" not in repr((live.findings, live.remotes))
        assert not live.remotes["west"].connected
        assert {each.code for each in live.findings} == {"store-denied"}


async def test_credentials_that_may_not_write_leave_the_member_unpublished(tmp_path: Path) -> None:
    whole = whole_fleet("east", "west")
    with started(tmp_path) as etcds:
        etcd = etcds[""]
        await asyncio.to_thread(etcd.add_users, {"reader": ["cilium/*"]})
        clock = ManualClock()
        store = as_user("reader")(etcd, clock)
        async with going(clock, 10), run(only(whole, "east"), store=store, clock=clock) as live:
            await until(
                lambda: any("publishing" in each.message for each in live.findings), lambda: live.findings
            )
            assert live.publications["east"].phase == "waiting"
            await asyncio.to_thread(etcd.allow, "reader", "readwrite", "cilium/*", user="root")
            await until(lambda: live.publications["east"].phase == "written", lambda: live.publications)
        await store.aclose()
