"""
What a mesh refuses at its door, each limit by itself; the mesh is unchanged after every refusal.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from fleetmesh import errors
from fleetmesh.mesh import Mesh
from fleetmesh.resources.model import CiliumConfig, ClusterMeshSecret, Namespace, Service, ServicePort


@pytest.fixture
def mesh() -> Mesh:
    mesh = Mesh("shop")
    mesh.join("east", cluster_id=1, pod_cidrs=["10.1.0.0/16"])
    return mesh


def refuses(mesh: Mesh, error: type[Exception], act: Callable[[], Any]) -> str:
    """The message of the refusal, once it is clear that nothing has changed."""
    before = (mesh.generation, list(mesh.members), mesh.allocations, mesh.findings)

    with pytest.raises(error) as caught:
        act()

    assert (mesh.generation, list(mesh.members), mesh.allocations, mesh.findings) == before
    return str(caught.value)


@pytest.mark.parametrize("number", [0, -1, 256, 1000, True, 2.0, "2", None])
def test_a_cluster_id_that_is_no_whole_number_within_the_limit(mesh: Mesh, number: Any) -> None:
    message = refuses(mesh, errors.InvalidClusterIdError, lambda: mesh.join("west", cluster_id=number))

    assert repr(number) in message
    assert "1..255" in message


def test_a_mesh_for_511_members_takes_id_511_and_not_512() -> None:
    mesh = Mesh("large", max_connected_clusters=511)
    mesh.join("east", cluster_id=511)

    refuses(mesh, errors.InvalidClusterIdError, lambda: mesh.join("west", cluster_id=512))


@pytest.mark.parametrize("limit", [0, 254, 256, 512, True, "255"])
def test_a_mesh_is_for_255_or_511_members_only(limit: Any) -> None:
    with pytest.raises(ValueError, match="255 or 511"):
        Mesh("shop", max_connected_clusters=limit)


def test_a_mode_that_is_none() -> None:
    with pytest.raises(ValueError, match="cilium or strict"):
        Mesh("shop", mode="lenient")  # type: ignore[arg-type]


def test_an_id_that_another_member_has_names_a_free_one(mesh: Mesh) -> None:
    message = refuses(mesh, errors.ClusterIdTakenError, lambda: mesh.join("west", cluster_id=1))

    assert "'east'" in message
    assert "2 is free" in message


@pytest.mark.parametrize(
    "name", ["East", "a" * 33, "", "-east", "east-", "ea_st", "e.st", "default", "öst", "east\n"]
)
def test_a_name_that_cilium_refuses(mesh: Mesh, name: str) -> None:
    refuses(mesh, errors.InvalidClusterNameError, lambda: mesh.join(name, cluster_id=2))


@pytest.mark.parametrize("name", ["a", "7", "a" * 32, "eu-1-b"])
def test_a_name_at_the_edge_of_what_is_allowed(mesh: Mesh, name: str) -> None:
    assert mesh.join(name, cluster_id=2).name == name


def test_a_name_that_another_member_has(mesh: Mesh) -> None:
    refuses(mesh, errors.ClusterNameTakenError, lambda: mesh.join("east", cluster_id=2))


def test_the_256th_member() -> None:
    mesh = Mesh("full")
    for number in range(1, 256):
        mesh.join(f"c{number}", cluster_id=number)

    message = refuses(mesh, errors.TooManyMembersError, lambda: mesh.join("late", cluster_id=256))

    assert "255" in message
    assert "max_connected_clusters=511" in message
    pods = [mesh.members[f"c{number}"].ranges.pod_cidrs for number in range(1, 256)]
    assert len(set(pods)) == 255


@pytest.mark.parametrize("cidr", ["10.1.0.0/16", "10.1.2.0/24", "10.0.0.0/8"])
def test_pod_ranges_that_overlap_those_of_another_member(mesh: Mesh, cidr: str) -> None:
    message = refuses(
        mesh, errors.OverlappingPodRangesError, lambda: mesh.join("west", cluster_id=2, pod_cidrs=[cidr])
    )

    assert cidr in message
    assert "'east'" in message


def test_pod_ranges_of_one_member_that_overlap_each_other(mesh: Mesh) -> None:
    ranges = ["10.2.0.0/16", "10.2.3.0/24"]

    refuses(mesh, errors.OverlappingPodRangesError, lambda: mesh.join("west", cluster_id=2, pod_cidrs=ranges))


def test_service_ranges_may_be_the_same_since_each_is_used_at_home() -> None:
    mesh = Mesh("shop")
    for number, name in enumerate(("east", "west"), 1):
        mesh.join(name, cluster_id=number, service_cidrs=["10.96.0.0/12"])

    assert mesh.members["west"].ranges.service_cidrs == ("10.96.0.0/12",)
    assert mesh.findings == ()


@pytest.mark.parametrize(
    "cidr", ["10.2.0.1/16", "nonsense", "10.2.0.0", "10.2.0.0/33", 7, "::ffff:10.2.0.0/112", "::ffff:0:0/96"]
)
def test_a_range_that_is_none(mesh: Mesh, cidr: Any) -> None:
    refuses(mesh, errors.InvalidRangeError, lambda: mesh.join("west", cluster_id=2, pod_cidrs=[cidr]))
    refuses(mesh, errors.InvalidRangeError, lambda: mesh.join("west", cluster_id=2, service_cidrs=[cidr]))
    refuses(mesh, errors.InvalidRangeError, lambda: mesh.join("west", cluster_id=2, node_cidrs=[cidr]))


@pytest.mark.parametrize("kind", ["pod_cidrs", "service_cidrs", "node_cidrs"])
@pytest.mark.parametrize("cidrs", ["10.2.0.0/16", None, 7])
def test_something_else_in_the_place_of_a_list_of_ranges(mesh: Mesh, kind: str, cidrs: Any) -> None:
    message = refuses(
        mesh,
        errors.InvalidRangeError,
        lambda: mesh.join("west", cluster_id=2, **{kind: cidrs}),
    )

    assert "'west'" in message
    assert "a list" in message


@pytest.mark.parametrize(
    ("wrong", "expected"),
    [
        ({"settings": {"enable_ipv6": False}}, "a ClusterSettings"),
        ({"labels": [("env", "prod")]}, "a mapping"),
        ({"labels": {"env": 1}}, "texts"),
    ],
)
def test_settings_and_labels_of_another_kind(mesh: Mesh, wrong: dict[str, Any], expected: str) -> None:
    assert expected in refuses(mesh, TypeError, lambda: mesh.join("west", cluster_id=2, **wrong))
    left = mesh.leave("east")
    assert expected in refuses(mesh, TypeError, lambda: mesh.join(left, **wrong))


def test_a_topology_is_no_text() -> None:
    with pytest.raises(TypeError, match=r"Topology\.full\(\)"):
        Mesh("shop", topology="full")  # type: ignore[arg-type]


def test_a_member_of_a_mesh_joins_no_other_and_not_its_own_again(mesh: Mesh) -> None:
    other = Mesh("other")

    message = refuses(other, errors.AlreadyInMeshError, lambda: other.join(mesh.members["east"]))
    refuses(mesh, errors.AlreadyInMeshError, lambda: mesh.join(mesh.members["east"]))

    assert "'shop'" in message


def test_another_routing_domain(mesh: Mesh) -> None:
    message = refuses(
        mesh, errors.RoutingDomainError, lambda: mesh.join("west", cluster_id=2, routing_domain="vnet-b")
    )

    assert "'vnet-b'" in message


def test_all_members_of_one_routing_domain_are_welcome() -> None:
    mesh = Mesh("shop")
    mesh.join("east", cluster_id=1, routing_domain="vnet-a")
    mesh.join("west", cluster_id=2, routing_domain="vnet-a")

    refuses(mesh, errors.RoutingDomainError, lambda: mesh.join("north", cluster_id=3))


@pytest.mark.parametrize(
    "evidence",
    [
        CiliumConfig(namespace="kube-system", name="cilium-config", cluster_id="3", cluster_name="east"),
        ClusterMeshSecret(namespace="kube-system", name="cilium-clustermesh"),
    ],
)
def test_a_cluster_with_a_mesh_of_its_own_applies_nothing(mesh: Mesh, evidence: Any) -> None:
    service = Service(namespace="shop", name="web", ports=(ServicePort(port=80),))
    east = mesh.members["east"]

    refuses(mesh, errors.SelfManagedMeshError, lambda: east.apply([service, evidence]))
    refuses(mesh, errors.SelfManagedMeshError, lambda: east.replace([service, evidence], source="dir"))

    assert dict(east.resources) == {}


@pytest.mark.parametrize("number", ["", "0", " 0 "])
def test_a_cilium_config_without_a_cluster_id_is_no_mesh(mesh: Mesh, number: str) -> None:
    config = CiliumConfig(namespace="kube-system", name="cilium-config", cluster_id=number)

    mesh.members["east"].apply(config)

    assert config.key in mesh.members["east"].resources


def test_something_that_is_no_resource(mesh: Mesh) -> None:
    east = mesh.members["east"]

    refuses(mesh, TypeError, lambda: east.apply([Namespace(name="a"), {"kind": "Namespace"}]))  # type: ignore[list-item]


def test_a_member_that_has_left_changes_nothing_any_more(mesh: Mesh) -> None:
    east = mesh.leave("east")

    with pytest.raises(errors.MeshError, match="in no mesh"):
        east.apply(Namespace(name="a"))


@pytest.mark.parametrize("act", ["leave", "services"])
def test_a_member_that_is_not_there_is_called_by_its_nearest_name(mesh: Mesh, act: str) -> None:
    message = refuses(mesh, errors.NotFoundError, lambda: getattr(mesh, act)("eats"))

    assert "did you mean east?" in message


def test_a_failure_in_the_middle_of_a_change_leaves_everything_as_it_was(
    mesh: Mesh, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not a limit, but the same promise: a transaction is all or nothing."""
    east = mesh.members["east"]
    first = Service(namespace="shop", name="web", ports=(ServicePort(port=80),))
    east.apply(first)
    ranges = east.ranges

    def fail(*_: Any) -> None:
        raise RuntimeError("no more")

    monkeypatch.setattr("fleetmesh.mesh.change.Imports.run", lambda *_, **__: fail())
    more = [Service(namespace="shop", name="late", ports=(ServicePort(port=81),)), Namespace(name="shop")]
    refuses(mesh, RuntimeError, lambda: east.apply(more))
    refuses(mesh, RuntimeError, lambda: east.drain())
    refuses(mesh, RuntimeError, lambda: mesh.join("west", cluster_id=2, pod_cidrs=["10.0.0.0/17"]))
    refuses(mesh, RuntimeError, lambda: mesh.leave("east"))
    monkeypatch.undo()

    assert list(east.resources) == [first.key]
    assert east.ranges == ranges
    assert not east.drained
    assert mesh.services("east") == (("shop", "web"),)
    assert mesh.resolve("late.shop.svc.cluster.local", seen_from="east").code == "NXDOMAIN"
    assert mesh.join("west", cluster_id=2).name == "west"
