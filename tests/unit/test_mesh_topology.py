"""
Who hears whom.
"""

from __future__ import annotations

from typing import Any

import pytest

from doubles.mesh_manifests import SERVED
from fleetmesh.errors import TopologyError
from fleetmesh.mesh import ClusterSettings, Mesh, Topology

NAMES = ("east", "north", "west")


def mesh_of(topology: Topology) -> Mesh:
    mesh = Mesh("shop", topology=topology)
    for number, name in enumerate(NAMES, 1):
        mesh.join(name, cluster_id=number).apply(SERVED)
    return mesh


def served_by(mesh: Mesh) -> dict[str, set[str]]:
    service = mesh.service("shop", "web")
    return {viewer: {backend.cluster for backend in service.backends(viewer)} for viewer in mesh.members}


def codes(mesh: Mesh) -> list[str]:
    return [each.code for each in mesh.findings]


def test_in_a_full_mesh_everybody_uses_everybody() -> None:
    mesh = mesh_of(Topology.full())

    assert served_by(mesh) == {name: set(NAMES) for name in NAMES}
    assert mesh.findings == ()


def test_the_hub_hears_all_and_tenants_hear_the_hub_only() -> None:
    mesh = mesh_of(Topology.hub("north"))

    assert served_by(mesh) == {
        "east": {"east", "north"},
        "north": set(NAMES),
        "west": {"north", "west"},
    }


def test_tenants_without_a_policy_are_told_that_they_can_be_reached() -> None:
    mesh = mesh_of(Topology.hub("north"))

    found = [each for each in mesh.findings if each.code == "tenants-reachable"]
    assert [each.subject for each in found] == ["Cluster east", "Cluster west"]
    assert "pods of west, which are world to it, can reach its pods" in found[0].message
    assert [each.code for each in mesh.members["north"].findings] == []


@pytest.mark.parametrize(
    ("policy", "quiet"),
    [
        ("NetworkPolicy networking.k8s.io/v1 {podSelector: {}}", True),
        ("NetworkPolicy networking.k8s.io/v1 {podSelector: {}, policyTypes: [Egress]}", False),
        ("CiliumNetworkPolicy cilium.io/v2 {endpointSelector: {}, ingress: [{}]}", True),
        ("CiliumNetworkPolicy cilium.io/v2 {endpointSelector: {}, egress: [{}]}", False),
    ],
)
def test_a_policy_on_ingress_settles_that(policy: str, quiet: bool) -> None:
    mesh = mesh_of(Topology.hub("north"))

    kind, version, spec = policy.split(" ", 2)
    mesh.members["east"].apply(
        f"kind: {kind}\napiVersion: {version}\nspec: {spec}\nmetadata: {{name: p, namespace: shop}}\n"
    )

    told = [each.subject for each in mesh.findings if each.code == "tenants-reachable"]
    assert ("Cluster east" not in told) == quiet
    assert "Cluster west" in told


def test_enforcement_of_policy_everywhere_settles_it_too() -> None:
    mesh = Mesh("shop", topology=Topology.hub("hub"))
    for number, name in enumerate(("hub", "a", "b"), 1):
        mesh.join(name, cluster_id=number, settings=ClusterSettings(policy_enforcement="always"))

    assert mesh.findings == ()


def test_only_the_clusters_of_a_pair_hear_each_other() -> None:
    mesh = mesh_of(Topology.pairs([("west", "east")]))

    assert served_by(mesh) == {"east": {"east", "west"}, "north": {"north"}, "west": {"east", "west"}}


def test_the_hub_may_join_later_and_is_missed_until_then() -> None:
    mesh = Mesh("shop", topology=Topology.hub("hub"))
    mesh.join("east", cluster_id=1).apply(SERVED)

    assert codes(mesh) == ["topology-unknown-member"]

    mesh.join("hub", cluster_id=2).apply(SERVED)

    assert codes(mesh) == []
    assert served_by(mesh) == {"east": {"east", "hub"}, "hub": {"east", "hub"}}


def test_pairs_that_name_clusters_that_never_came_are_told() -> None:
    mesh = mesh_of(Topology.pairs([("east", "south"), ("east", "west")]))

    (found,) = (each for each in mesh.findings if each.code == "topology-unknown-member")
    assert "'south'" in found.message


@pytest.mark.parametrize(
    "pairs", [[("a", "a")], [("a",)], ["ab"], [("a", "")], [("a", 1)], [("a", "b", "c")]]
)
def test_pairs_that_are_none(pairs: Any) -> None:
    with pytest.raises(TopologyError):
        Topology.pairs(pairs)


@pytest.mark.parametrize("name", ["", None, 3])
def test_a_hub_without_a_name(name: Any) -> None:
    with pytest.raises(TopologyError):
        Topology.hub(name)


def test_pairs_are_the_same_whichever_way_they_are_written() -> None:
    assert Topology.pairs([("b", "a"), ("a", "b")]) == Topology.pairs([("a", "b")])
    assert str(Topology.pairs([("b", "a")])) == "pairs a-b"


@pytest.mark.parametrize(
    ("value", "topology"),
    [
        ("full", Topology.full()),
        ({"hub": "shared"}, Topology.hub("shared")),
        ({"pairs": [["a", "b"]]}, Topology.pairs([("a", "b")])),
    ],
)
def test_a_topology_as_a_fleet_file_writes_it(value: Any, topology: Topology) -> None:
    assert Topology.parse(value) == topology


@pytest.mark.parametrize("value", ["ring", None, {}, {"hub": "a", "pairs": []}, {"pairs": "ab"}, ["full"]])
def test_what_is_no_topology(value: Any) -> None:
    with pytest.raises(TopologyError):
        Topology.parse(value)


def test_nobody_is_linked_with_itself() -> None:
    for topology in (Topology.full(), Topology.hub("a"), Topology.pairs([("a", "b")])):
        assert not topology.linked("a", "a")
        assert topology.linked("a", "b")
        assert topology.linked("b", "a")
