"""
`Mesh.tables`: what a viewer decides with.
"""

from __future__ import annotations

import numpy as np
import pytest

import fleetmesh as fm
from doubles.mesh_manifests import SERVED, deployment, service
from fleetmesh.errors import NotFoundError
from fleetmesh.maglev import Candidate, lookup_table

NAMES = ("east", "west", "north")
ONE_PORT = "{name: http, port: 80, targetPort: http}"
TWO_PORTS = service().replace(ONE_PORT, f"{ONE_PORT}, {{name: admin, port: 81, targetPort: 9090}}")


@pytest.fixture
def mesh() -> fm.Mesh:
    mesh = fm.Mesh("shop")
    for number, name in enumerate(NAMES, 1):
        mesh.join(name, cluster_id=number).apply(SERVED)
    return mesh


def test_a_table_is_cilium_s_of_the_backends_in_its_order(mesh: fm.Mesh) -> None:
    tables = mesh.tables("east")
    ranks = tables.lookup_table("shop", "web")
    backends = tables.backends("shop", "web")

    assert tables.services == (("shop", "web"),)
    assert (tables.viewer, tables.generation) == ("east", mesh.generation)
    assert (ranks.dtype.name, ranks.shape) == ("uint16", (16381,))
    assert sorted(backends, key=str) == sorted(mesh.service("shop", "web").backends("east"), key=str)
    candidates = [Candidate(id=i, address=each.address, port=each.port) for i, each in enumerate(backends)]
    assert np.array_equal(ranks, lookup_table(candidates))
    assert repr(tables) == f"<Tables of 'east', generation {mesh.generation}>"


def test_tables_of_several_services_are_made_at_once(mesh: fm.Mesh) -> None:
    mesh.members["east"].apply(service(name="other"))
    one_by_one = [mesh.tables("east").lookup_table("shop", name) for name in ("web", "other")]

    web, other = mesh.tables("east").lookup_tables([("shop", "web"), ("shop", "other")])

    assert np.shares_memory(web, one_by_one[0])
    assert other.size == one_by_one[1].size
    assert mesh.tables("east").lookup_tables([]) == ()
    with pytest.raises(NotFoundError, match="shop/wbe"):
        mesh.tables("east").lookup_tables([("shop", "web"), ("shop", "wbe")])
    mesh.members["east"].fail()
    with pytest.raises(NotFoundError, match="shop/web"):
        mesh.tables("east").lookup_tables([("shop", "web")])


def test_a_table_is_not_copied_and_cannot_be_written_to(mesh: fm.Mesh) -> None:
    ranks = mesh.tables("east").lookup_table("shop", "web")

    assert np.shares_memory(ranks, mesh.tables("west").lookup_table("shop", "web"))
    with pytest.raises(ValueError, match="read-only"):
        ranks[0] = 1
    before = ranks.copy()
    mesh.members["west"].drain()
    assert np.array_equal(ranks, before)


def test_tables_are_made_of_those_before_and_do_not_change(mesh: fm.Mesh) -> None:
    old = mesh.tables("east")
    assert mesh.tables("east") is old
    assert len(old.backends("shop", "web")) == 6

    mesh.members["west"].apply(deployment(replicas=1))
    new = mesh.tables("east")

    assert (len(old.backends("shop", "web")), len(new.backends("shop", "web"))) == (6, 5)
    assert new.changed_since(old) == old.changed_since(new) == (("shop", "web"),)
    assert new.changed_since(new) == ()
    mesh.members["north"].apply(service("other"))
    assert mesh.tables("east").changed_since(new) == ()


def test_a_service_without_backends_has_an_empty_table(mesh: fm.Mesh) -> None:
    for member in mesh.members.values():
        member.drain()

    assert mesh.tables("east").lookup_table("shop", "web").shape == (0,)
    assert mesh.tables("east").backends("shop", "web") == ()


def test_what_is_not_there_is_named(mesh: fm.Mesh) -> None:
    tables = mesh.tables("east/node-1")
    with pytest.raises(NotFoundError, match="shop/wbe"):
        tables.lookup_table("shop", "wbe")
    with pytest.raises(NotFoundError, match="south"):
        mesh.tables("south")
    (foreign,) = mesh.service("shop", "web").frontends("west")
    with pytest.raises(NotFoundError, match=r"ClusterIP .*:80/TCP"):
        tables.backends("shop", "web", foreign)


def test_who_has_failed_sees_nothing(mesh: fm.Mesh) -> None:
    old = mesh.tables("west")
    mesh.members["west"].fail()

    failed = mesh.tables("west")

    assert failed.services == ()
    assert failed.changed_since(old) == (("shop", "web"),)
    mesh.members["west"].restore()
    assert mesh.tables("west").services == (("shop", "web"),)
    assert mesh.tables("west").changed_since(old) == ()


def test_where_frontends_select_different_backends_one_has_to_be_named(mesh: fm.Mesh) -> None:
    mesh.members["east"].apply(TWO_PORTS)
    first, second = mesh.service("shop", "web").frontends("east")
    tables = mesh.tables("east")

    with pytest.raises(ValueError, match=r"name one of ClusterIP .*:80/TCP, ClusterIP .*:81/TCP"):
        tables.lookup_table("shop", "web")
    assert len(tables.lookup_table("shop", "web", first)) == 16381
    for frontend in (first, second):
        found = tables.backends("shop", "web", frontend)
        assert sorted(found, key=str) == sorted(frontend.backends[: frontend.in_use], key=str)


def test_size_and_seed_are_those_of_the_viewer(mesh: fm.Mesh) -> None:
    settings = fm.ClusterSettings(maglev_table_size=251, maglev_hash_seed="AAAAAAAAAAAAAAAB")
    mesh.join("south", cluster_id=4, settings=settings).apply(SERVED)

    backends = mesh.tables("south").backends("shop", "web")
    candidates = [Candidate(id=i, address=each.address, port=each.port) for i, each in enumerate(backends)]

    assert np.array_equal(
        mesh.tables("south").lookup_table("shop", "web"), lookup_table(candidates, 251, "AAAAAAAAAAAAAAAB")
    )
    assert len(mesh.tables("east").lookup_table("shop", "web")) == 16381
    with pytest.raises(ValueError, match="same mesh, viewer and options"):
        mesh.tables("south").changed_since(mesh.tables("east"))


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"maglev_table_size": 1000}, "maglev_table_size is 1000; expected one of 251, 509"),
        ({"maglev_hash_seed": "AAAA"}, "maglev_hash_seed is 'AAAA'; expected the base64 of 12 bytes"),
        ({"maglev_hash_seed": "AAAAAAAA AAAAAAAB"}, "maglev_hash_seed is .*; expected the base64 of 12"),
        ({"maglev_hash_seed": "é"}, "maglev_hash_seed is .*; expected the base64 of 12"),
    ],
)
def test_sizes_and_seeds_that_cilium_refuses_are_refused_by_name(
    changed: dict[str, object], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        fm.ClusterSettings(**changed)  # type: ignore[arg-type]


def test_a_comparison_tells_what_moves_of_the_table(mesh: fm.Mesh) -> None:
    fork = mesh.fork()
    fork.members["west"].drain()
    row = mesh.compare(fork).rows[0]

    before, after = mesh.tables("east"), fork.tables("east")
    was = np.array([str(each) for each in before.backends("shop", "web")])[before.lookup_table("shop", "web")]
    now = np.array([str(each) for each in after.backends("shop", "web")])[after.lookup_table("shop", "web")]
    gone = np.mean(["cluster='west'" in each for each in was])
    assert row.table_moved == pytest.approx(np.mean(was != now))
    assert row.table_excess == pytest.approx(np.mean(was != now) - gone, abs=1e-3)
    assert row.table_excess is not None
    assert 0 <= row.table_excess < 0.02


def test_a_table_that_goes_moves_as_a_whole_and_one_that_comes_does_not(mesh: fm.Mesh) -> None:
    fork = mesh.fork()
    for member in fork.members.values():
        member.drain()
    fork.members["east"].apply(service("new"))

    parts = {(row.viewer, row.name): (row.table_moved, row.table_excess) for row in mesh.compare(fork)}

    assert parts["east", "web"] == (1.0, 0.0)
    assert parts["east", "new"] == (0.0, 0.0)
    assert {row.table_moved for row in fork.compare(mesh) if row.name == "web"} == {0.0}


def test_of_several_frontends_the_one_that_moves_most_is_told(mesh: fm.Mesh) -> None:
    mesh.members["east"].apply(TWO_PORTS)
    fork = mesh.fork()
    fork.members["east"].drain()  # the only one that has the second port

    (row,) = (row for row in mesh.compare(fork) if row.viewer == "east")

    assert (row.table_moved, row.table_excess) == (1.0, 0.0)


def test_tables_of_different_sizes_cannot_be_compared(mesh: fm.Mesh) -> None:
    other = fm.Mesh("shop")
    for number, name in enumerate(NAMES, 1):
        other.join(name, cluster_id=number, settings=fm.ClusterSettings(maglev_table_size=251)).apply(SERVED)
    other.members["west"].drain()

    row = mesh.compare(other).rows[0]

    assert (row.table_moved, row.table_excess) == (None, None)
