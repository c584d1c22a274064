"""
What would happen: forks, drained and failed members, proposed changes, and two states side by side.
"""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import attrs
import numpy as np
import pytest

from doubles.mesh_manifests import SERVED, deployment, service
from fleetmesh.errors import NotFoundError, StaleChangeError
from fleetmesh.mesh import ClusterSettings, Mesh
from fleetmesh.resources import Service, ServicePort
from fleetmesh.services.changes import ResourceChanges

NAMES = ("east", "west", "north")


@pytest.fixture
def mesh() -> Mesh:
    mesh = Mesh("shop")
    for number, name in enumerate(NAMES, 1):
        mesh.join(name, cluster_id=number).apply(SERVED)
    return mesh


def clusters(mesh: Mesh, viewer: str) -> list[str]:
    return sorted({each.cluster for each in mesh.service("shop", "web").backends(viewer)})


def test_a_fork_changes_nothing_of_its_origin(mesh: Mesh) -> None:
    fork = mesh.fork()

    fork.members["west"].apply(deployment(replicas=0))
    fork.join("south", cluster_id=4)

    assert clusters(fork, "east") == ["east", "north"]
    assert clusters(mesh, "east") == ["east", "north", "west"]
    assert list(mesh.members) == list(NAMES)
    assert fork.members["west"] is not mesh.members["west"]
    assert (mesh.generation, fork.generation) == (6, 8)


def test_a_drained_member_serves_nobody_and_is_served(mesh: Mesh) -> None:
    mesh.members["west"].drain()

    assert clusters(mesh, "west") == ["east", "north"]
    assert clusters(mesh, "east") == ["east", "north"]
    assert mesh.members["west"].pods == ()
    assert mesh.members["west"].records("ip") == ()

    mesh.members["west"].apply(deployment(replicas=5))

    assert clusters(mesh, "east") == ["east", "north"]

    mesh.members["west"].restore()

    assert clusters(mesh, "east") == ["east", "north", "west"]
    assert len(mesh.members["west"].pods) == 5


def test_a_failed_member_is_heard_by_nobody_and_sees_nothing(mesh: Mesh) -> None:
    mesh.members["west"].fail()

    assert clusters(mesh, "east") == ["east", "north"]
    assert mesh.service("shop", "web").frontends("west") == ()
    assert mesh.service("shop", "web").clusters == ("east", "north")
    (found,) = mesh.findings
    assert (found.code, found.subject) == ("cluster-failed-kept", "Cluster west")
    assert found.evidence == ("east: cache_ttl 0", "north: cache_ttl 0")

    mesh.members["west"].restore()

    assert clusters(mesh, "west") == ["east", "north", "west"]
    assert mesh.findings == ()


def test_where_a_ttl_is_set_nothing_is_kept_for_ever() -> None:
    mesh = Mesh("shop")
    for number, name in enumerate(NAMES, 1):
        mesh.join(name, cluster_id=number, settings=ClusterSettings(cache_ttl=900))

    mesh.members["west"].fail()

    assert mesh.findings == ()


def test_a_comparison_says_for_each_viewer_what_moves(mesh: Mesh) -> None:
    fork = mesh.fork()
    fork.members["west"].drain()

    comparison = mesh.compare(fork)

    assert [(row.viewer, row.status) for row in comparison] == [(name, "changed") for name in NAMES]
    row = comparison.rows[0]
    assert (row.namespace, row.name) == ("shop", "web")
    assert [each.cluster for each in row.backends_out] == ["west", "west"]
    assert row.backends_in == ()
    assert dict(row.share_before) == pytest.approx({"east": 1 / 3, "north": 1 / 3, "west": 1 / 3})
    assert dict(row.share_after) == pytest.approx({"east": 0.5, "north": 0.5})
    assert row.moved == pytest.approx(1 / 3)
    assert "west 33% -> east 50%" in str(comparison)
    assert repr(comparison) == "<Comparison: 3 rows, 1 services, 3 viewers>"


def test_services_that_appear_and_disappear_are_told(mesh: Mesh) -> None:
    fork = mesh.fork()
    fork.members["east"].apply(service("new"))
    fork.members["west"].delete(service())

    told = {(row.viewer, row.name): row.status for row in mesh.compare(fork)}

    assert told["east", "new"] == "appeared"
    assert told["west", "web"] == "disappeared"
    assert told["north", "web"] == "changed"


def test_a_frontend_that_comes_is_a_difference_though_the_backends_stay(mesh: Mesh) -> None:
    fork = mesh.fork()
    given = service(spec="type: NodePort").replace("port: 80,", "port: 80, nodePort: 30080,")
    fork.members["east"].apply(given)

    (row,) = mesh.compare(fork)

    assert [place[3] for place in row.frontends_in] == ["NodePort"]
    assert row.frontends_out == ()
    assert (row.backends_in, row.backends_out, row.moved) == ((), (), 0)


def test_a_cluster_that_leaves_is_a_viewer_that_goes(mesh: Mesh) -> None:
    fork = mesh.fork()
    fork.leave("north")

    told = {row.viewer: row.status for row in mesh.compare(fork)}

    assert told == {"east": "changed", "west": "changed", "north": "disappeared"}


def test_states_of_different_modes_are_not_compared(mesh: Mesh) -> None:
    with pytest.raises(ValueError, match="mode"):
        mesh.compare(Mesh("other", mode="strict"))


def test_equal_states_have_no_difference(mesh: Mesh) -> None:
    comparison = mesh.compare(mesh.fork())

    assert not comparison
    assert str(comparison) == "nothing changes"


def test_sharing_is_proposed_and_then_applied(mesh: Mesh) -> None:
    web = mesh.service("shop", "web")

    changes = web.unshare(in_=["west"])

    assert clusters(mesh, "east") == ["east", "north", "west"]
    assert [str(each) for each in changes] == [
        "west: Service shop/web: service.cilium.io/shared: None -> 'false'"
    ]

    mesh.apply(changes)

    assert clusters(mesh, "east") == ["east", "north"]
    assert clusters(mesh, "west") == ["east", "north", "west"]

    mesh.apply(web.share(in_=["west"]))

    assert clusters(mesh, "east") == ["east", "north", "west"]
    assert not web.share()


def test_affinity_is_set_in_the_clusters_named(mesh: Mesh) -> None:
    changes = mesh.service("shop", "web").set_affinity("local", in_=["east", "north"])

    assert changes.members == ("east", "north")
    mesh.apply(changes)
    assert [clusters(mesh, name) for name in NAMES] == [["east"], sorted(NAMES), ["north"]]
    with pytest.raises(ValueError, match="local, remote or none"):
        mesh.service("shop", "web").set_affinity("near")  # type: ignore[arg-type]


def test_a_change_in_memory_leaves_an_object_with_its_source() -> None:
    mesh = Mesh("shop")
    east = mesh.join("east", cluster_id=1)
    east.replace(SERVED, source="files")

    mesh.apply(mesh.service("shop", "web").set_affinity("local"))
    east.replace("---\n", source="files")

    assert mesh.services("east") == ()


def test_a_change_of_what_has_been_edited_meanwhile_is_refused(mesh: Mesh) -> None:
    changes = mesh.service("shop", "web").unshare()
    edited = service(**{"global": "true", "affinity": "local"})
    mesh.members["west"].apply(edited)
    generation = mesh.generation

    with pytest.raises(StaleChangeError) as caught:
        mesh.apply(changes)

    assert str(caught.value) == (
        "Service shop/web in 'west' has changed since the change was proposed: "
        "service.cilium.io/affinity: None -> 'local'; read the service again and repeat"
    )
    assert mesh.generation == generation
    assert clusters(mesh, "east") == ["east", "north", "west"]
    mesh.apply(mesh.service("shop", "web").unshare())
    assert clusters(mesh, "west") == ["west"]


def test_a_change_of_what_is_gone_is_refused_and_so_is_making_what_is_there(mesh: Mesh) -> None:
    changes = mesh.service("shop", "web").unshare(in_=["west"])
    (change,) = changes
    made = ResourceChanges((attrs.evolve(change, old=None),))
    removed = ResourceChanges((attrs.evolve(change, new=None),))

    with pytest.raises(StaleChangeError, match="it is there already"):
        mesh.apply(made)
    mesh.apply(removed)
    for each in (changes, removed):
        with pytest.raises(StaleChangeError, match="it is gone"):
            mesh.apply(each)
    mesh.apply(made)

    assert clusters(mesh, "west") == ["east", "north", "west"]
    assert clusters(mesh, "east") == ["east", "north"]


def test_what_keeps_a_change_from_its_effect_is_noted() -> None:
    mesh = Mesh("shop")
    mesh.join("east", cluster_id=1, settings=ClusterSettings.aks()).apply(service(**{"global": "false"}))
    web = mesh.service("shop", "web")

    assert web.share().notes == ("east: namespace shop is not global, so nothing of it is published",)
    assert str(web.share()).splitlines() == [
        "east: Service shop/web: service.cilium.io/global: 'false' -> 'true'",
        "note: east: namespace shop is not global, so nothing of it is published",
    ]
    assert "is not global" in web.set_affinity("local").notes[0]
    assert "is not global" in web.unshare().notes[0]


def test_names_that_are_not_there_are_called_by_the_nearest(mesh: Mesh) -> None:
    web = mesh.service("shop", "web")
    asked: list[tuple[Any, str]] = [
        (lambda: web.share(in_=["wets"]), "west"),
        (lambda: web.backends("eastt"), "east"),
        (lambda: web.explain("nort"), "north"),
        (lambda: mesh.service("shop", "webb"), "shop/web"),
        (lambda: mesh.resolve("a.b.svc.cluster.local", seen_from="est"), "east"),
    ]
    for ask, nearest in asked:
        with pytest.raises(NotFoundError, match=f"did you mean .*{nearest}"):
            ask()
    with pytest.raises(ValueError, match="CLUSTER/NODE"):
        web.backends("east/")


def test_a_service_is_not_shared_where_it_is_not(mesh: Mesh) -> None:
    mesh.members["west"].delete(service())

    with pytest.raises(NotFoundError, match="there is no Service 'shop/web' in 'west'"):
        mesh.service("shop", "web").share(in_=["west"])


def test_a_node_that_nobody_declared_may_look(mesh: Mesh) -> None:
    assert mesh.service("shop", "web").backends("east/anywhere") == mesh.service("shop", "web").backends(
        "east"
    )


def test_rows_loaded_in_bulk_merge_with_the_rest_and_are_drained_with_it() -> None:
    mesh = Mesh("large")
    for number, name in enumerate(("east", "west"), 1):
        mesh.join(name, cluster_id=number)
    services = [
        Service(
            namespace="shop",
            name=name,
            annotations={"service.cilium.io/global": "true"},
            cluster_ip=f"100.64.0.{number}",
            ports=(ServicePort(port=80),),
        )
        for number, name in enumerate("ab")
    ]
    index, ids = np.array([0, 0, 1], np.uint32), np.array([1, 2, 2], np.uint16)
    addresses = np.array([0x0A010001, 0x0A020001, 0x0A020002], np.uint32)
    ports = np.full(3, 8080, np.uint16)

    delta = mesh.load(services, service=index, cluster=ids, address=addresses, port=ports)

    def used(each: Mesh, name: str, viewer: str) -> list[str]:
        return [backend.address for backend in each.service("shop", name).backends(viewer)]

    assert {(each.namespace, each.name) for each in delta.services} == {("shop", "a"), ("shop", "b")}
    assert used(mesh, "a", "east") == ["10.1.0.1", "10.2.0.1"]
    assert used(mesh, "b", "west") == ["10.2.0.2"]
    fork = mesh.fork()
    fork.members["west"].drain()
    assert used(fork, "a", "east") == ["10.1.0.1"]
    assert used(fork, "b", "west") == []
    with pytest.raises(ValueError, match="'west' is drained"):
        fork.load(services, service=index, cluster=ids, address=addresses, port=ports)
    fork.members["west"].restore()
    assert not mesh.compare(fork)
    with pytest.raises(ValueError, match="9"):
        mesh.load(services, service=index, cluster=ids + np.uint16(8), address=addresses, port=ports)


def test_readers_see_whole_states_while_a_writer_writes(mesh: Mesh) -> None:
    """Each apply scales two workloads at once; nobody sees one scaled and the other not."""
    web = mesh.service("shop", "web")
    mesh.members["east"].apply(service("twin") + deployment("twin"))
    twin = mesh.service("shop", "twin")
    stop, seen = threading.Event(), []

    def read() -> None:
        while not stop.is_set():
            view = mesh.viewpoint()
            seen.append(
                tuple(len(view.snapshot.frontends(1, "shop", name)[0][6]) for name in ("web", "twin"))
            )

    reader = threading.Thread(target=read)
    reader.start()
    for replicas in (1, 4, 2, 5, 3) * 4:
        mesh.members["east"].apply(deployment(replicas=replicas) + deployment("twin", replicas=replicas))
    stop.set()
    reader.join()

    assert len(twin.backends("east")) == 3
    assert len(web.backends("east")) == 7
    assert {whole - part for whole, part in seen} == {4}


def test_a_failed_viewer_uses_nothing_and_explain_says_why() -> None:
    mesh = Mesh.from_directory(Path(__file__).parents[2] / "examples" / "shop")
    mesh.members["west"].fail()
    cart = mesh.service("shop", "cart")

    assert cart.backends("west") == ()
    rules = {verdict.rule for each in cart.explain("west").candidates for verdict in each.verdicts}
    assert rules == {"cluster-failed"}
