"""
Default ranges in a mesh: they are fleetmesh's own choice, and so give way to what Nodes declare.
"""

from __future__ import annotations

from ipaddress import ip_address, ip_network

from doubles.mesh_manifests import SERVED
from fleetmesh.mesh import Mesh
from fleetmesh.records import NodeRecord


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


def outside(mesh: Mesh, *cidrs: str) -> None:
    """What another process's members have for their Nodes."""
    if "west" not in mesh.members:
        mesh.join("west", cluster_id=2, outside=True)
    nodes = [
        NodeRecord(name=f"n{number}", cluster="west", cluster_id=2, ipv4_alloc_cidr=cidr)
        for number, cidr in enumerate(cidrs)
    ]
    member = mesh.members["west"]
    gone = [
        ("node", name) for name in member.heard_names("node") if name not in {each.name for each in nodes}
    ]
    member.hear(nodes, withdrawn=gone)


def test_what_is_heard_moves_no_default_and_the_finding_tells() -> None:
    mesh = Mesh("shop")
    east = mesh.join("east", cluster_id=1)
    east.apply(SERVED)
    before, pods = east.ranges, [each.addresses for each in east.pods]

    outside(mesh, "10.0.0.0/8", "100.64.0.0/10")

    assert east.ranges == before
    assert [each.addresses for each in east.pods] == pods
    told = overlaps(mesh)
    assert any(
        "that of east is a default" in each and "let east join with pod_cidrs" in each for each in told
    )
    assert not any("no room" in each for each in told)
    mesh.leave("west")
    assert east.ranges == before


def test_a_newcomer_keeps_clear_of_what_is_heard_and_stays_there_until_a_member_of_its_own_needs_it() -> None:
    mesh = Mesh("shop")
    outside(mesh, "10.0.0.0/8")
    north = mesh.join("north", cluster_id=41)
    clear = north.ranges
    south = mesh.join("south", cluster_id=42)
    assert overlaps(mesh) == []

    outside(mesh, clear.pod_cidrs[0])
    south.apply(node("10.77.0.0/24"))
    outside(mesh)
    mesh.leave("west")
    mesh.join("late", cluster_id=43)
    assert north.ranges == clear

    south.apply(node(clear.pod_cidrs[0]))
    assert not ip_network(north.ranges.pod_cidrs[0]).overlaps(ip_network(clear.pod_cidrs[0]))
    assert overlaps(mesh) == []


def test_a_newcomer_that_finds_no_room_beside_what_is_heard_joins_all_the_same() -> None:
    mesh = Mesh("shop")
    outside(mesh, "0.0.0.0/0")

    east = mesh.join("east", cluster_id=1)

    assert east.ranges == Mesh("other").join("east", cluster_id=1).ranges
    assert overlaps(mesh)


def test_what_is_heard_is_known_also_where_there_is_no_room_for_a_default() -> None:
    mesh = Mesh("shop")
    mesh.join("east", cluster_id=1).apply(node("0.0.0.0/0"))

    outside(mesh, "10.41.0.0/16")

    assert mesh.members["west"].ranges.pod_cidrs == ("10.41.0.0/16",)
