"""
Several `fleetmesh up` form one mesh over real etcds, and keep what they know whatever goes away.
"""

from __future__ import annotations

import http.server
import json
import shutil
import signal
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from command_line import EXAMPLES, SHOP, answer, run
from fleetmesh.cli.stores import PASSWORD
from real import servers
from real.etcd_server import Certificates, Etcd
from running_up import Running, running

pytestmark = [pytest.mark.real("etcd", "etcdctl"), pytest.mark.timeout(240)]

MEMBERS = ("east", "west", "north")
LONGEST_END = 10  # seconds from a signal to the end, as promised


class Stores:
    """The etcd of each member, or one of all."""

    def __init__(self, folder: Path, *, shared: bool) -> None:
        names = ("all",) if shared else MEMBERS
        self.etcds = {name: Etcd(servers.binary("etcd"), folder / name) for name in names}
        for etcd in self.etcds.values():
            etcd.launch()
        for etcd in self.etcds.values():
            etcd.wait()
        self.shared = shared

    def of(self, member: str) -> Etcd:
        return self.etcds["all" if self.shared else member]

    @property
    def options(self) -> list[str]:
        if self.shared:
            return ["--store", self.etcds["all"].url]
        return [part for name in MEMBERS for part in ("--store", f"{name}={self.etcds[name].url}")]

    def stop(self) -> None:
        for etcd in self.etcds.values():
            etcd.stop()


@pytest.fixture(params=[True, False], ids=["one store", "a store each"])
def stores(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Stores]:
    found = Stores(tmp_path / "etcd", shared=request.param)
    yield found
    found.stop()


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    return Path(shutil.copytree(EXAMPLES / "shop", tmp_path / "shop"))


@pytest.fixture
def processes(stores: Stores, shop: Path) -> Iterator[dict[str, Running]]:
    """One for each member; each says its state once it has heard all others."""
    with ExitStack() as stack:
        yield {name: stack.enter_context(process(name, shop, stores)) for name in MEMBERS}


def process(name: str, shop: Path, stores: Stores) -> Any:
    return running(shop, "--only", name, *stores.options, "-o", "json", "--timeout", "60")


def seen(state: Any, viewer: str) -> Any:
    """What a state says of what one member sees and does."""
    views = {
        f"{service['namespace']}/{service['name']}": view
        for service in state["services"]
        for view in service["views"]
        if view["seen_from"] == viewer
    }
    return views, [each for each in state["traffic"] if each["viewer"] == viewer]


def backends_out(change: Any, viewer: str) -> set[str]:
    """The clusters whose backends a viewer does not use any more."""
    rows = [row for row in change["rows"] if row["viewer"] == viewer]
    return {each["cluster"] for row in rows for each in row["backends_out"]}


def states(processes: dict[str, Running]) -> dict[str, Any]:
    return {name: up.event() for name, up in processes.items()}


def test_processes_see_what_one_process_sees_and_keep_it_while_one_is_away(
    stores: Stores, shop: Path, processes: dict[str, Running]
) -> None:
    whole = json.loads(run("up", str(shop), "--once", "-o", "json").stdout)
    first = states(processes)

    for name in MEMBERS:
        assert seen(first[name], name) == seen(whole, name)
        assert {each["name"]: each["phase"] for each in first[name]["remotes"]} == {
            other: "ready" for other in MEMBERS if other != name
        }
        assert [(each["name"], each["phase"]) for each in first[name]["publications"]] == [(name, "written")]
        assert first[name]["store_findings"] == []

    processes["west"].process.kill()
    processes["west"].process.wait()
    status = answer("status", str(shop), *stores.options)
    with process("west", shop, stores) as again:
        assert seen(again.event(), "west") == seen(whole, "west")
        (shop / "west" / "checkout.yaml").write_text(
            (shop / "west" / "checkout.yaml").read_text().replace("replicas: 3", "replicas: 5")
        )
        moved = processes["east"].change(rows="checkout")

    assert [(each["phase"], each["services"]) for each in status["remotes"]] == [("ready", 4)] * 3
    # Of all that was told since west was killed, nothing took away what it had published.
    rows = {row["viewer"]: row for row in moved["rows"] if row["name"] == "checkout"}
    assert (len(rows["east"]["backends_in"]), rows["east"]["backends_out"]) == (2, [])


def test_a_store_that_is_away_is_told_and_what_it_said_stays(
    stores: Stores, shop: Path, processes: dict[str, Running]
) -> None:
    states(processes)
    east = processes["east"]
    stores.of("west").kill()
    lost = east.phase("west", "stale")
    status = run("status", str(shop), *stores.options, "-o", "json")
    stores.of("west").start()
    back = east.phase("west", "ready")

    assert lost["rows"] == []
    assert "remote-stale" in [each["code"] for each in lost["new_findings"]]
    assert back["rows"] == []
    assert "remote-stale" in [each["code"] for each in back["settled_findings"]]
    (west,) = (each for each in lost["remotes"] if each["name"] == "west")
    assert (west["phase_before"], west["services"], west["endpoints"]) == ("ready", 4, 9)
    # Whoever begins while it is away knows nothing of it, and says so.
    assert status.exit_code == 1
    found = {each["name"]: each for each in json.loads(status.stdout)["remotes"]}
    assert found["west"]["phase"] == "connecting"
    assert found["west"]["failures"] >= 1


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_ends_in_time_while_all_its_stores_are_gone(
    stores: Stores, processes: dict[str, Running], number: signal.Signals
) -> None:
    states(processes)
    for etcd in stores.etcds.values():
        etcd.kill()
    processes["east"].phase("west", "stale")
    for up in processes.values():
        up.process.send_signal(number)

    for up in processes.values():
        assert up.process.wait(timeout=LONGEST_END) == 0
        assert up.process.stderr is not None
        assert up.process.stderr.read() == ""


def test_it_ends_in_time_before_any_store_has_answered(shop: Path) -> None:
    with running(shop, "--only", "east", "--store", "http://192.0.2.1:2379", "-o", "json") as up:
        state = up.event()
        up.process.terminate()

        assert up.process.wait(timeout=LONGEST_END) == 0
    assert [each["phase"] for each in state["remotes"]] == ["connecting", "connecting"]


def test_who_joins_and_leaves_by_the_fleet_file_is_heard_and_forgotten(
    stores: Stores, shop: Path, processes: dict[str, Running]
) -> None:
    states(processes)
    fleet = (shop / "fleet.yaml").read_text()
    (shop / "fleet.yaml").write_text(fleet[: fleet.index("- name: north")])
    gone = processes["east"].change(rows="checkout")
    processes["north"].process.terminate()
    (shop / "fleet.yaml").write_text(fleet)
    with process("north", shop, stores) as north:
        north.event()
        back = processes["east"].phase("north", "ready")

    assert gone["left"] == ["north"]
    assert backends_out(gone, "east") == {"north"}
    assert back["members"] == ["east", "west", "north"]


def test_another_topology_keeps_who_is_heard(
    stores: Stores, shop: Path, processes: dict[str, Running]
) -> None:
    states(processes)
    fleet = (shop / "fleet.yaml").read_text()
    (shop / "fleet.yaml").write_text(fleet.replace("topology: full", "topology: {hub: west}"))

    change = processes["east"].change(rows="checkout")

    assert backends_out(change, "east") == {"north"}
    assert not any(row["backends_in"] for row in change["rows"] if row["viewer"] == "east")


# A mesh of Cilium's, by its connection files


def test_a_mesh_is_observed_by_connection_files_as_they_come_and_go(shop: Path, tmp_path: Path) -> None:
    stores = Stores(tmp_path / "etcd", shared=False)
    config = tmp_path / "clustermesh-config"
    config.mkdir()
    for name in ("east", "west"):
        connection(config, name, stores)
    try:
        with ExitStack() as stack:
            states({name: stack.enter_context(process(name, shop, stores)) for name in MEMBERS})
            keys = {name: stores.of(name).ctl("get", "--prefix", "--keys-only", "cilium") for name in MEMBERS}
            up = stack.enter_context(
                running("--clustermesh-config", config, "-o", "json", "--no-traffic", "--timeout", "60")
            )
            state = up.event()
            connection(config, "north", stores)
            came = up.phase("north", "ready")
            (config / "west").unlink()
            went = up.change(rows="checkout")
            (config / "east").write_text("endpoints: 7\n")
            broken = up.change(new_findings="connection-file-problem")
            assert keys == {
                name: stores.of(name).ctl("get", "--prefix", "--keys-only", "cilium") for name in MEMBERS
            }
    finally:
        stores.stop()

    assert [(each["name"], each["id"]) for each in state["members"]] == [("east", 1), ("west", 2)]
    checkout = next(each for each in state["services"] if each["name"] == "checkout")
    assert [view["clusters"] for view in checkout["views"]] == [{"east": 3, "west": 3}] * 2
    assert came["members"] == ["east", "west", "north"]
    assert went["left"] == ["west"]
    assert backends_out(went, "east") == {"west"}
    assert broken["rows"] == []


def connection(folder: Path, name: str, stores: Stores) -> None:
    (folder / name).write_text(f"endpoints:\n- {stores.of(name).url}\n")


# What keeps a store from being heard


def checks(*arguments: str, code: int, env: dict[str, str | None] | None = None) -> dict[str, Any]:
    result = run("doctor", *arguments, "-o", "json", env=env)
    assert result.exit_code == code, result.output
    (store,) = json.loads(result.stdout)["stores"]
    return {each["name"]: each for each in store["checks"]}


def test_doctor_on_a_good_etcd_with_tls_and_on_what_is_wrong_with_it(tmp_path: Path) -> None:
    files, others = Certificates.issue(tmp_path / "c"), Certificates.issue(tmp_path / "o")
    etcd = Etcd(servers.binary("etcd"), tmp_path / "etcd", certificates=files, ask_clients=True)
    etcd.start()
    pair = ("--cert", str(files.client_cert), "--key", str(files.client_key))
    store = ("--store", f"east={etcd.url}")
    try:
        up = run(
            "up", SHOP, "--once", "--no-traffic", *store, "--ca", str(files.ca), *pair, "--timeout", "60"
        )
        good = checks(*store, "--ca", str(files.ca), *pair, code=0)
        wrong_ca = checks(*store, "--ca", str(others.ca), *pair, code=1)
        no_certificate = checks(*store, "--ca", str(files.ca), code=1)
        plain = checks("--store", f"east={etcd.url.replace('https', 'http')}", code=1)
    finally:
        etcd.stop()

    assert up.exit_code == 0, up.output
    assert {each["outcome"] for each in good.values()} <= {"ok", "warning"}
    assert good["endpoint-tls"]["certificates"][0]["names"] == ["127.0.0.1", "localhost"]
    assert good["client-certificate"]["seen"] == "it belongs to its key and is of the CA"
    assert good["endpoint-version"]["seen"].startswith("etcd 3.6")
    assert wrong_ca["endpoint-tls"]["outcome"] == "error"
    assert wrong_ca["endpoint-tls"]["certificates"]
    assert no_certificate["endpoint-client-auth"]["outcome"] == "error"
    assert no_certificate["endpoint-client-auth"]["details"][0].startswith("acceptable CA: ")
    assert plain["endpoint-etcd"]["outcome"] == "error"


def test_doctor_on_a_wrong_port_and_on_a_server_that_is_no_etcd() -> None:
    class Silent(http.server.BaseHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            """Nobody reads it."""

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Silent) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        no_etcd = checks("--store", f"http://127.0.0.1:{server.server_address[1]}", code=1)
        server.shutdown()
        thread.join()
    nobody = checks("--store", "http://127.0.0.1:1", code=1)

    assert no_etcd["endpoint-tcp"]["outcome"] == "ok"
    assert no_etcd["endpoint-version"]["outcome"] == "warning"
    assert no_etcd["endpoint-etcd"]["outcome"] == "error"
    assert nobody["endpoint-tcp"]["outcome"] == "error"
    assert nobody["endpoint-etcd"]["outcome"] == "skipped"


def test_doctor_tells_what_a_user_may_not(tmp_path: Path) -> None:
    etcd = Etcd(servers.binary("etcd"), tmp_path / "etcd")
    etcd.start()
    try:
        run("up", SHOP, "--once", "--no-traffic", "--store", f"east={etcd.url}", "--timeout", "60")
        # The first has the role of Cilium's `remote` users, the other lacks most of it.
        read = ["cilium/.heartbeat*", "cilium/state/*", "cilium/cluster-config/east", "cilium/synced/east/*"]
        etcd.add_users({"remote": read, "stranger": read[:1]})
        store = ("--store", f"east={etcd.url}")
        remote = checks(*store, "--user", "remote", code=0, env={PASSWORD: "remote"})
        own = checks(SHOP, "--only", "east", *store, "--user", "remote", code=1, env={PASSWORD: "remote"})
        stranger = checks(*store, "--user", "stranger", code=1, env={PASSWORD: "stranger"})
        wrong = checks(*store, "--user", "remote", code=1, env={PASSWORD: "other"})
    finally:
        etcd.stop()

    assert remote["records-readable"]["outcome"] == "ok"
    assert own["records-writable"]["outcome"] == "error"
    assert stranger["cluster-config"]["outcome"] == "error"
    assert stranger["records-readable"]["seen"] == "the user may not read 6 prefixes"
    assert wrong["endpoint-etcd"]["outcome"] == "error"
