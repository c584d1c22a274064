"""
Default ranges in a mesh: they are fleetmesh's own choice, and so give way to what Nodes declare.
"""

from __future__ import annotations

from ipaddress import ip_address, ip_network

from doubles.mesh_manifests import SERVED
from fleetmesh.mesh import Mesh


def node(*cidrs: str, name: str = "n1") -> str:
    return f"""
apiVersion: v1
kind: Node
metadata: {{name: {name}}}
spec: {{podCIDRs: [{", ".join(cidrs)}]}}
"""


def overlaps(mesh: Mesh) -> list[str]:
    return [f"{each.subject}: {each.message}" for each in mesh.findings if each.code == "range-overlap"]


def test_a_default_keeps_clear_of_the_nodes_that_are_there() -> None:
    mesh = Mesh("shop")
    mesh.join("west", cluster_id=2).apply(node("10.0.128.0/24"))

    east = mesh.join("east", cluster_id=1)

    assert not ip_network(east.ranges.pod_cidrs[0]).overlaps(ip_network("10.0.128.0/24"))
    assert overlaps(mesh) == []


def test_a_default_gives_way_to_a_node_that_comes_and_comes_back_when_it_goes() -> None:
    mesh = Mesh("shop")
    east = mesh.join("east", cluster_id=1)
    west = mesh.join("west", cluster_id=2)
    east.apply(SERVED)
    before = east.ranges
    taken = ip_network(before.pod_cidrs[0])

    west.apply(node(str(taken), before.service_cidrs[0], before.node_cidrs[0]))

    assert overlaps(mesh) == []
    assert all(ip_address(each.addresses[0]) not in taken for each in east.pods)
    assert len(mesh.service("shop", "web").backends("east")) == 2
    assert west.ranges == Mesh("other").join("west", cluster_id=2).ranges

    west.delete(node())

    assert east.ranges == before


def test_a_node_that_comes_back_with_its_member() -> None:
    mesh = Mesh("shop")
    west = mesh.join("west", cluster_id=2)
    west.apply(node("10.0.128.0/24"))
    mesh.leave("west")
    east = mesh.join("east", cluster_id=1)
    alone = east.ranges

    mesh.join(west)

    assert east.ranges != alone
    assert overlaps(mesh) == []
    mesh.leave("west")
    assert east.ranges == alone


def test_where_nodes_leave_no_room_the_finding_names_the_default() -> None:
    mesh = Mesh("shop")
    mesh.join("east", cluster_id=1)
    west = mesh.join("west", cluster_id=2, pod_cidrs=["10.2.0.0/16"])

    west.apply(node("0.0.0.0/0"))

    told = overlaps(mesh)
    assert any(
        "that of east is a default" in each and "let east join with pod_cidrs" in each for each in told
    )
    assert not any("let west join with pod_cidrs" in each for each in told)
    mesh.leave("west")
    assert overlaps(mesh) == []


def test_nodes_of_two_members_with_one_range_are_told_and_move_nothing() -> None:
    mesh = Mesh("shop")
    for number, name in enumerate(("east", "west"), 1):
        mesh.join(name, cluster_id=number).apply(node("10.244.0.0/24"))

    (told,) = overlaps(mesh)

    assert "node's pod range 10.244.0.0/24" in told
    assert "default" not in told


def test_a_range_of_a_node_that_can_not_be_read_holds_nothing() -> None:
    mesh = Mesh("shop")
    east = mesh.join("east", cluster_id=1)
    before = east.ranges

    east.apply(node("nonsense", "::ffff:10.0.0.0/104"))

    assert east.ranges == before
