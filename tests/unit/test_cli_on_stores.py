"""
`status`, `doctor` and `up` of meshes on stores in memory.
"""

from __future__ import annotations

import asyncio
import json
import shutil
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest

import fleetmesh as fm
from command_line import EXAMPLES, SHOP, run
from doubles.flaky_store import FlakyStore
from doubles.wire import beat, config_of, write, write_cluster
from fleetmesh.cli import up_on_stores
from fleetmesh.errors import StoreUnavailableError
from fleetmesh.state.codecs import encode_config
from fleetmesh.state.connection_file import EtcdConnection
from fleetmesh.state.keys import config_key, prefix
from fleetmesh.state.live import Live
from fleetmesh.state.memory import MemoryStore
from fleetmesh.state.store import Delete, Put

MEMBERS = ("east", "west", "north")
ALL = "http://all:2379"


class World:
    """The stores that there are, by the URLs at which they are reached; from others there is no answer."""

    def __init__(self) -> None:
        self.stores: dict[str, MemoryStore] = {}
        self.opened: list[FlakyStore] = []
        self._loop: asyncio.AbstractEventLoop | None = None

    def do(self, act: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Something that is done where the stores are used, while a command runs in another thread."""
        assert self._loop is not None
        asyncio.run_coroutine_threadsafe(act(), self._loop).result(20)

    def open(self, connection: EtcdConnection) -> FlakyStore:
        self._loop = asyncio.get_running_loop()
        store = self.stores.get(connection.endpoints[0])
        opened = FlakyStore((store or MemoryStore()).another())
        if store is None:
            opened.fail(StoreUnavailableError("no server answers"))
        self.opened.append(opened)
        return opened

    def write(self, name: str, number: int, *, at: str = "", cached: bool = False) -> None:
        """What a process that runs a member of the shop would have published."""
        store = self.stores.setdefault(at or f"http://{name}:2379", MemoryStore())
        whole = fm.Mesh.from_directory(SHOP)

        async def fill() -> None:
            await write_cluster(store, name, number, whole.members[name].records(), cached=cached)
            await beat(store)

        asyncio.run(fill())

    def put(self, name: str, *operations: Put | Delete) -> None:
        asyncio.run(write(self.stores[f"http://{name}:2379"], operations))


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> World:
    world = World()
    monkeypatch.setattr("fleetmesh.cli.stores.open_store", world.open)
    return world


@pytest.fixture
def written(world: World) -> World:
    for number, name in enumerate(MEMBERS, 1):
        world.write(name, number)
    return world


SEPARATE = [part for name in MEMBERS for part in ("--store", f"{name}=http://{name}:2379")]


def told(*arguments: str | Path, code: int = 0) -> Any:
    result = run(*map(str, arguments), "-o", "json")
    assert result.exit_code == code, result.output
    return json.loads(result.stdout)


# status


def test_status_tells_of_each_cluster_what_cilium_tells(written: World) -> None:
    found = told("status", SHOP, *SEPARATE)

    assert [each["name"] for each in found["remotes"]] == ["east", "north", "west"]
    west = found["remotes"][2]
    assert west.pop("heartbeat_age") >= 0
    assert len(west["etcd"].pop("cluster_id")) > 0
    assert west == {
        "name": "west",
        "id": 2,
        "phase": "ready",
        "ready": True,
        "connected": True,
        "stale_for": 0,
        "nodes": 0,
        "endpoints": 9,
        "identities": 4,
        "services": 4,
        "endpoint_slices": None,
        "service_exports": 0,
        "synced": dict.fromkeys(("nodes", "identities", "endpoints", "services", "service_exports"), True),
        "etcd": {"endpoints": ["http://west:2379"]},
        "config": {
            "id": 2,
            "kvstoremesh": False,
            "sync_canaries": True,
            "service_exports": True,
            "endpoint_slice_export_mode": "services-and-endpointslices",
            "max_connected_clusters": 255,
        },
        "failures": 0,
        "last_failure": None,
        "last_error": "",
        "revocations": 0,
        "rejected": 0,
    }
    assert found["connectivity"] == {
        "global_services": {"min": 0, "avg": 0.0, "max": 0},
        "connected": {"min": 3, "avg": 3.0, "max": 3},
        "clusters": {name: {"configured": 1, "connected": 1} for name in ("east", "north", "west")},
        "total": 1,
        "not_ready": 0,
        "errors": {},
    }
    assert (found["published"], found["stale_services"], found["store_findings"]) == ([], [], [])


def test_status_in_words(written: World) -> None:
    result = run("status", SHOP, *SEPARATE, env={"COLUMNS": "200"})

    assert "Remote clusters: 3 of 3 ready" in result.stdout
    assert "west: ready, 0 reconnections (never)" in result.stdout
    assert (
        "configuration: expected, retrieved, cluster-id 2, kvstoremesh no, sync-canaries yes, "
        "service-exports enabled, endpoint-slice-export-mode services-and-endpointslices" in result.stdout
    )
    assert "synchronized: nodes yes, identities yes, endpoints yes, services yes, service-exports yes" in (
        result.stdout
    )


def test_status_does_not_wait_for_a_store_that_does_not_answer(written: World) -> None:
    del written.stores["http://west:2379"]

    found = told("status", SHOP, *SEPARATE, "--timeout", "3600", code=1)

    assert {each["name"]: each["phase"] for each in found["remotes"]} == {
        "east": "ready",
        "north": "ready",
        "west": "connecting",
    }
    assert [each["code"] for each in found["store_findings"]] == ["remote-stale"]
    assert found["connectivity"]["not_ready"] == 1
    assert found["connectivity"]["clusters"]["west"] == {"configured": 1, "connected": 0}
    assert list(found["connectivity"]["errors"]) == ["west"]


def test_status_ends_after_its_time_while_a_cluster_is_incomplete(written: World) -> None:
    written.put("west", *(Delete(f"cilium/synced/west/cilium/state/{kind}/v1") for kind in ("ip",)))

    found = told("status", SHOP, *SEPARATE, "--timeout", "0.5", code=1)

    assert {each["name"]: each["phase"] for each in found["remotes"]}["west"] == "syncing"


def test_status_writes_nothing(written: World) -> None:
    before = {url: asyncio.run(store.list("")) for url, store in written.stores.items()}
    told("status", SHOP, *SEPARATE, "--only", "east")

    assert {url: asyncio.run(store.list("")) for url, store in written.stores.items()} == before


def test_status_compares_what_its_members_have_with_what_is_published(written: World) -> None:
    key = prefix("services", "east", cached=False) + "shop/cart"
    written.put(
        "east",
        Put(key, b"{}"),
        Put(key + "2", b"{}"),
        Delete(prefix("services", "east", cached=False) + "shop/catalog"),
    )

    found = told("status", SHOP, *SEPARATE, "--only", "east")
    words = run("status", SHOP, *SEPARATE, "--only", "east", env={"COLUMNS": "200"}).stdout

    assert [each["name"] for each in found["remotes"]] == ["north", "west"]
    (east,) = found["published"]
    assert (east["name"], east["id"], east["complete"]) == ("east", 1, False)
    assert east["kinds"]["services"] == {"same": 2, "different": 1, "missing": 1, "surplus": 1}
    assert east["kinds"]["endpoints"] == {"same": 11, "different": 0, "missing": 0, "surplus": 0}
    assert "1 different, 1 missing, 1 surplus" in words


def test_status_says_of_a_member_that_nobody_publishes_so(written: World) -> None:
    written.stores["http://east:2379"] = MemoryStore()

    found = told("status", SHOP, *SEPARATE, "--only", "east")

    assert found["published"][0]["id"] is None
    assert found["published"][0]["kinds"]["services"]["missing"] == 4


def test_status_of_one_store_for_all(world: World) -> None:
    for number, name in enumerate(MEMBERS, 1):
        world.write(name, number, at=ALL, cached=True)

    found = told("status", SHOP, "--store", ALL)

    assert [(each["phase"], each["config"]["kvstoremesh"]) for each in found["remotes"]] == [
        ("ready", True)
    ] * 3
    assert len(world.opened) == 1


def test_status_of_a_mesh_of_cilium_needs_no_manifests(written: World, tmp_path: Path) -> None:
    for name in ("east", "west"):
        (tmp_path / name).write_text(f"endpoints:\n- http://{name}:2379\n")
    (tmp_path / "north").write_text("endpoints: 7\n")

    found = told("status", "--clustermesh-config", tmp_path, code=1)

    assert [(each["name"], each["services"]) for each in found["members"]] == [("east", 4), ("west", 4)]
    assert [each["name"] for each in found["remotes"]] == ["east", "west"]
    assert [each["code"] for each in found["store_findings"]] == ["connection-file-problem"]


def test_two_clusters_with_one_id_are_told(written: World, tmp_path: Path) -> None:
    written.put("west", Put(config_key("west"), encode_config(config_of(1))))
    for name in ("east", "west"):
        (tmp_path / name).write_text(f"endpoints:\n- http://{name}:2379\n")

    found = told("status", "--clustermesh-config", tmp_path, code=1)

    assert sorted(each["phase"] for each in found["remotes"]) == ["conflict", "ready"]
    assert [each["code"] for each in found["store_findings"]] == ["cluster-id-conflict"]


# doctor


def test_doctor_looks_at_every_store_that_is_named(world: World, tmp_path: Path) -> None:
    (tmp_path / "north").write_text("endpoints:\n- http://127.0.0.1:1\n")
    (tmp_path / "west").write_text("endpoints: 7\n")

    found = told("doctor", "--store", "east=http://127.0.0.1:1", "--clustermesh-config", tmp_path, code=1)

    assert [each["clusters"] for each in found["stores"]] == [["north"], ["east"]]
    assert found["counts"] == {"ok": 2, "warning": 0, "error": 2, "skipped": 14}
    assert [each["code"] for each in found["findings"]] == ["connection-file-problem"]


def test_doctor_in_words_says_what_to_do(world: World) -> None:
    result = run("doctor", SHOP, "--only", "east", "--store", "http://127.0.0.1:1")

    assert result.exit_code == 1
    assert "east, west, north: http://127.0.0.1:1" in result.stdout
    assert "error    endpoint-tcp: no connection to 127.0.0.1:1: connection refused" in result.stdout
    assert "do: Check host and port" in result.stdout
    assert "skipped  records-writable: no server answers" in result.stdout


# up


def test_up_once_publishes_hears_prints_and_ends(written: World) -> None:
    written.stores["http://east:2379"] = MemoryStore()

    state = told("up", SHOP, "--only", "east", *SEPARATE, "--once")

    whole = told("up", SHOP, "--once")
    assert [each["clusters"] for each in views(state, "east")] == [
        each["clusters"] for each in views(whole, "east")
    ]
    assert [(each["name"], each["phase"]) for each in state["publications"]] == [("east", "written")]
    assert [(each["name"], each["phase"]) for each in state["remotes"]] == [
        ("north", "ready"),
        ("west", "ready"),
    ]
    keys = [
        entry.key for entry in asyncio.run(written.stores["http://east:2379"].list("cilium/state/")).entries
    ]
    assert sum(key.startswith("cilium/state/ip/v1/default/") for key in keys) == 11


def views(state: Any, viewer: str) -> list[Any]:
    return [view for service in state["services"] for view in service["views"] if view["seen_from"] == viewer]


def test_up_once_that_can_not_hear_all_says_so_after_its_time(written: World) -> None:
    del written.stores["http://west:2379"]

    result = run("up", SHOP, "--only", "east", *SEPARATE, "--once", "--timeout", "0.5", "-o", "json")

    assert result.exit_code == 1
    assert "fleetmesh: not all is heard and published: west is connecting" in result.stderr
    state = json.loads(result.stdout)
    assert [each["code"] for each in state["store_findings"]] == ["remote-stale"]


def test_up_in_words(written: World) -> None:
    result = run("up", SHOP, "--only", "east", *SEPARATE, "--once", "--no-traffic")

    assert "Remote clusters: 2 of 2 ready" in result.stdout
    assert "Published east: written, 30 keys" in result.stdout


class Reader:
    """
    Who reads what `up` prints. Once there was an event like that of the next step he does what it says, and
    after the last he goes away.
    """

    def __init__(self, *steps: tuple[Callable[[Any], bool], Callable[[], object]]) -> None:
        self.steps = list(steps)
        self.events: list[Any] = []

    def __call__(self, form: str, data: Any, draw: object, *, stream: bool) -> bool:
        assert stream
        self.events.append(json.loads(json.dumps(data)))
        if self.steps and self.steps[0][0](self.events[-1]):
            self.steps.pop(0)[1]()
        return bool(self.steps)


def at_first(event: Any) -> bool:
    return bool(event["event"] == "state")


def comes(name: str, phase: str) -> Callable[[Any], bool]:
    """A remote cluster comes into a phase."""
    return lambda event: (name, phase) in [(each["name"], each["phase"]) for each in event["remotes"]]


def nothing() -> None:
    """As it is."""


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    return Path(shutil.copytree(EXAMPLES / "shop", tmp_path / "shop"))


def follow(monkeypatch: pytest.MonkeyPatch, reader: Reader, *arguments: str | Path) -> list[Any]:
    monkeypatch.setattr(up_on_stores, "emit", reader)
    result = run("up", *map(str, arguments), "--no-traffic", "-o", "json", "--timeout", "20")
    assert result.exit_code == 0, result.output
    return reader.events


def test_up_tells_what_others_move(written: World, shop: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def change() -> None:
        key = prefix("services", "west", cached=False) + "shop/checkout"
        await written.stores["http://west:2379"].commit([Delete(key)])

    def moves(event: Any) -> bool:
        return bool(event.get("rows"))

    reader = Reader((at_first, lambda: written.do(change)), (moves, nothing))
    state, moved = follow(monkeypatch, reader, shop, "--only", "east", *SEPARATE)

    assert state["event"] == "state"
    assert [(row["viewer"], row["name"]) for row in moved["rows"]] == [
        ("east", "checkout"),
        ("west", "checkout"),
        ("north", "checkout"),
    ]
    assert (moved["remotes"], moved["publications"], moved["files"]) == ([], [], [])


def test_up_tells_a_store_that_goes_away_once(
    written: World, shop: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def lose() -> None:
        known = written.stores["http://west:2379"]._data
        west = next(store for store in written.opened if store.inner._data is known)
        west.fail(StoreUnavailableError("no server answers"))

    def edit() -> None:
        file = shop / "east" / "checkout.yaml"
        file.write_text(file.read_text().replace("replicas: 3", "replicas: 4"))

    monkeypatch.setattr(up_on_stores, "LOOKING", 0.1)
    reader = Reader(
        (at_first, lambda: written.do(lose)),
        (comes("west", "stale"), edit),
        (lambda event: bool(event["files"]), nothing),
    )
    _, lost, edited = follow(monkeypatch, reader, shop, "--only", "east", *SEPARATE)

    assert [(each["name"], each["phase_before"], each["phase"]) for each in lost["remotes"]] == [
        ("west", "ready", "stale")
    ]
    assert [each["code"] for each in lost["new_findings"]] == ["remote-stale"]
    assert lost["rows"] == []
    # Its age has grown by then, which is nothing to tell.
    assert (edited["remotes"], edited["new_findings"], edited["settled_findings"]) == ([], [], [])


def test_up_follows_connection_files(written: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = tmp_path / "config"
    config.mkdir()

    def connect(name: str, at: str = "") -> None:
        (config / name).write_text(f"endpoints:\n- http://{at or name}:2379\n")

    connect("east")
    connect("west", at="nowhere")

    async def awhile(live: Live, patience: float) -> bool:
        while dict(live.phases)["east"] != "ready":  # noqa: ASYNC110 - nobody tells of one cluster
            await asyncio.sleep(0.01)
        return False

    monkeypatch.setattr(up_on_stores, "_synced", awhile)
    reader = Reader(
        (at_first, lambda: connect("west")),
        (comes("west", "ready"), lambda: connect("north")),
        (comes("north", "ready"), (config / "east").unlink),
        (lambda event: "east" in event["left"], lambda: (config / "east").write_text("endpoints: 7")),
        (lambda event: bool(event["new_findings"]), nothing),
    )
    before = asyncio.run(written.stores["http://west:2379"].list(""))
    events = follow(monkeypatch, reader, "--clustermesh-config", config)

    assert {each["name"]: each["phase"] for each in events[0]["remotes"]} == {
        "east": "ready",
        "west": "connecting",
    }
    assert [each["code"] for each in events[-1]["new_findings"]] == ["connection-file-problem"]
    assert events[-1]["members"] == ["west", "north"]
    assert asyncio.run(written.stores["http://west:2379"].list("")) == before


def test_up_begins_anew_on_another_mesh_and_keeps_what_it_has_heard(
    written: World, shop: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fleet = shop / "fleet.yaml"

    def rewire() -> None:
        fleet.write_text(fleet.read_text().replace("topology: full", "topology: {hub: west}"))

    reader = Reader((at_first, rewire), (lambda event: bool(event["rows"]), nothing))
    _, rewired = follow(monkeypatch, reader, shop, "--only", "east", *SEPARATE)

    rows = {row["name"]: row for row in rewired["rows"] if row["viewer"] == "east"}
    assert {each["cluster"] for each in rows["checkout"]["backends_out"]} == {"north"}
    assert rewired["remotes"] == []


def test_a_member_that_leaves_while_its_store_is_away_ends_nothing(
    written: World, shop: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fleet = (shop / "fleet.yaml").read_text()
    east, west = fleet.index("- name: east"), fleet.index("- name: west")

    async def lose() -> None:
        for store in written.opened:
            store.fail(StoreUnavailableError("no server answers"))

    def leave() -> None:
        (shop / "fleet.yaml").write_text(fleet[:east] + fleet[west:])

    monkeypatch.setattr("fleetmesh.state.withdrawal.FIRST_PAUSE", 0.001)
    reader = Reader(
        (at_first, lambda: written.do(lose)),
        (comes("west", "stale"), leave),
        (lambda event: event["left"] == ["east"], lambda: (shop / "fleet.yaml").write_text(fleet)),
        (lambda event: "east" in event["joined"], nothing),
    )
    events = follow(monkeypatch, reader, shop, "--only", "east", *SEPARATE)

    assert events[-1]["members"] == ["east", "west", "north"]


def test_an_error_of_what_runs_beside_is_told_as_itself(
    written: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def broken(live: object, patience: float) -> bool:
        raise ExceptionGroup("several", [ExceptionGroup("more", [OSError(28, "No space left on device")])])

    monkeypatch.setattr(up_on_stores, "_synced", broken)

    result = run("up", SHOP, *SEPARATE, "--once")

    assert (result.exit_code, result.stderr) == (3, "fleetmesh: no space left on device\n")
