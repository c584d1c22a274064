"""
What decides is kept from question to question: what it must not keep.
"""

from __future__ import annotations

import json
from typing import Any

import fleetmesh as fm
from fleetmesh.policy.labels import Label, LabelSet
from fleetmesh.policy.registry import Identity, IdentityRegistry


def pod(name: str, address: str, **labels: str) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "namespace": "shop", "labels": labels},
        "spec": {"containers": [{"name": "c", "image": "i"}]},
        "status": {"podIP": address},
    }


def policy(name: str = "db", **rule: Any) -> dict[str, Any]:
    """Lets in by one rule."""
    return {
        "apiVersion": "cilium.io/v2",
        "kind": "CiliumNetworkPolicy",
        "metadata": {"name": name, "namespace": "shop"},
        "spec": {"endpointSelector": {"matchLabels": {"app": "db"}}, "ingress": [rule]},
    }


def apply(member: fm.Member, *documents: dict[str, Any]) -> None:
    member.apply("".join(f"---\n{json.dumps(each)}\n" for each in documents))


def test_a_number_passes_from_some_labels_to_others_between_two_questions() -> None:
    mesh = fm.Mesh("shop")
    east = mesh.join("east", cluster_id=1)
    apply(east, pod("db", "10.1.0.10", app="db"))
    apply(east, policy(fromEndpoints=[{"matchLabels": {"v": v}} for v in ("25", "285")]))
    numbers = set()
    # Both sets of labels have the same first slot, so that the second is given what the first had.
    for version in ("25", "285", "25", "285"):
        apply(east, pod("web", "10.1.0.11", v=version))
        decision = mesh.decide("east/shop/web", "east/shop/db", port=80)
        assert decision.verdict == "allow", version
        numbers.add(decision.source.identity)

    assert len(numbers) == 1, "labels with the same first slot"


def test_two_sets_of_labels_swap_their_numbers_between_two_questions() -> None:
    mesh = fm.Mesh("shop")
    east = mesh.join("east", cluster_id=1)
    apply(east, pod("db", "10.1.0.10", app="db"))
    apply(east, policy(fromEndpoints=[{"matchLabels": {"v": v}} for v in ("25", "285")]))
    pods = [pod("one", "10.1.0.11", v="25"), pod("other", "10.1.0.12", v="285")]
    numbers = []
    for first, second in (pods, pods[::-1], pods):
        east.delete(fm.load_manifests("".join(f"---\n{json.dumps(each)}\n" for each in pods)))
        apply(east, first)
        apply(east, second)
        found = [mesh.decide(f"east/shop/{name}", "east/shop/db", port=80) for name in ("one", "other")]
        assert [each.verdict for each in found] == ["allow", "allow"]
        numbers.append([each.source.identity for each in found])

    assert numbers == [numbers[0], numbers[0][::-1], numbers[0]]


def test_another_member_of_the_same_name_has_nothing_of_the_first() -> None:
    mesh = fm.Mesh("shop")
    east = mesh.join("east", cluster_id=1)
    apply(east, pod("db", "10.1.0.10", app="db"), pod("web", "10.1.0.11", app="web"))
    assert mesh.decide("ip:10.1.0.11", "east/shop/db", port=80).source.labels.has("k8s", "app")

    mesh.leave("east")
    east = mesh.join("east", cluster_id=1)
    apply(east, pod("db", "10.1.0.10", app="db"))
    mesh.decide("ip:10.1.0.11", "east/shop/db", port=80)
    apply(east, pod("web", "10.1.0.12", app="web"))

    assert str(mesh.decide("ip:10.1.0.11", "east/shop/db", port=80).source.labels) == "reserved:world-ipv4"
    assert mesh.decide("ip:10.1.0.12", "east/shop/db", port=80).source.labels.has("k8s", "app")


def test_pods_that_networks_select_come_back_under_another_cluster_id() -> None:
    mesh = fm.Mesh("shop")
    settings = fm.ClusterSettings(policy_cidr_match_mode=["pods"])
    east, west = (
        mesh.join(name, cluster_id=number, settings=settings)
        for number, name in enumerate(("east", "west"), 1)
    )
    apply(east, pod("db", "10.1.0.10", app="db"), policy(fromCIDR=["10.2.0.0/16"]))
    apply(west, pod("web", "10.2.0.11", app="web"), policy(fromCIDR=["10.2.0.0/16"]))
    assert mesh.decide("west/shop/web", "east/shop/db", port=80).verdict == "allow"

    mesh.join(mesh.leave("west"), cluster_id=7)
    decision = mesh.decide("west/shop/web", "east/shop/db", port=80)

    assert decision.source.identity >> 16 == 7
    assert decision.verdict == "allow"
    # Whom subjects select is counted by members: none of those counted is of the id that is nobody's now.
    subjects = {each.subject for each in mesh.findings if each.code == "policy-selects-nobody"}
    assert subjects == {"CiliumNetworkPolicy shop/db"}


def test_an_identity_with_more_labels_gives_way_to_one_that_is_given_its_number() -> None:
    registry = IdentityRegistry()
    pods = Identity(1 << 16 | 256, LabelSet.of([Label("k8s", "app", "web")]))
    network = [Label("cidr", "10.1.0.0/16")]
    lent = registry.labelled(pods, network, 16)
    assert registry.labelled(pods, network, 16) == lent

    registry.know(Identity(lent.number, LabelSet.of([Label("k8s", "app", "db")])))
    other = registry.labelled(pods, network, 16)

    assert other.labels == lent.labels
    assert other.number != lent.number
