"""
Findings about rules that name pods of another cluster, which refuses them.
"""

from __future__ import annotations

from typing import Any

import pytest

import fleetmesh as fm
from doubles.small_policies import CLUSTER, EAST, WEST, Document, apply, apps, pod, to, two_clusters

CODE = "policy-one-sided"


def in_cluster(cluster: str, app: str) -> list[Document]:
    return [apps(app=app, **{CLUSTER: cluster})]


def at(port: int | str, **more: Any) -> list[Document]:
    return [{"ports": [{"port": str(port), "protocol": "TCP", **more}]}]


def found(mesh: fm.Mesh) -> list[str]:
    return [each.message for each in mesh.findings if each.code == CODE]


@pytest.fixture
def mesh() -> fm.Mesh:
    """East's cart may reach west's web."""
    mesh = two_clusters()
    apply(mesh.members[EAST], to("cart", egress=[{"toEndpoints": in_cluster(WEST, "web")}]))
    return mesh


def test_what_the_other_cluster_says_nothing_about_is_let_in(mesh: fm.Mesh) -> None:
    assert found(mesh) == []
    apply(mesh.members[WEST], to("cart", ingress=[{}]))
    assert found(mesh) == []


def test_what_no_rule_of_the_other_cluster_allows_is_told_with_what_would(mesh: fm.Mesh) -> None:
    apply(mesh.members[WEST], to("web", ingress=[{"fromEndpoints": [apps(app="cart")]}]))

    assert found(mesh) == [
        (
            "spec.egress[0] lets pods of west be reached, but west refuses that: east/shop/cart to "
            "west/shop/web at 1/TCP: no rule of west allows it"
        )
    ]
    told = next(each for each in mesh.findings if each.code == CODE)
    assert told.subject == "CiliumNetworkPolicy shop/p"
    assert told.evidence == (
        "east allows it by spec.egress[0] of CiliumNetworkPolicy shop/p",
        (
            "in west: spec.ingress[0] of CiliumNetworkPolicy shop/p allows it but for one thing: its peers "
            f"are those of cluster west; name {CLUSTER}: east in the selector"
        ),
    )

    apply(mesh.members[WEST], to("web", ingress=[{"fromEndpoints": in_cluster(EAST, "cart")}]))
    assert found(mesh) == []


def test_what_a_rule_of_the_other_cluster_denies_is_told_with_the_rule(mesh: fm.Mesh) -> None:
    denied = {"fromEndpoints": in_cluster(EAST, "cart")}
    apply(mesh.members[WEST], to("web", ingress=[{"fromEntities": ["all"]}], ingressDeny=[denied]))

    assert found(mesh)[0].endswith(": spec.ingressDeny[0] of CiliumNetworkPolicy shop/p of west denies it")


def test_it_is_one_sided_the_other_way_round_too() -> None:
    mesh = two_clusters()
    apply(mesh.members[WEST], to("web", ingress=[{"fromEndpoints": in_cluster(EAST, "cart")}]))
    assert found(mesh) == []
    apply(mesh.members[EAST], to("cart", egress=[{"toEndpoints": [apps(app="db")]}]))

    assert found(mesh) == [
        (
            "spec.ingress[0] lets pods of east in, but east refuses that: east/shop/cart to west/shop/web at "
            "1/TCP: no rule of east allows it"
        )
    ]


@pytest.mark.parametrize(
    ("port", "there", "refused"),
    [
        (None, at(80), False),
        (at(80), at(80), False),
        (at(80), at(443), True),
        (at(1, endPort=1000), at(443), False),
        (at(1, endPort=1000), at(8080), True),
        (at(1, endPort=1000), at(500, endPort=9000), False),
        (at(0), at(443), False),
        (at("http"), at(8080), False),
        (at("http"), at(80), True),
    ],
)
def test_of_many_ports_one_that_is_let_in_is_enough(
    port: list[Document] | None, there: list[Document], refused: bool
) -> None:
    mesh = two_clusters()
    some = {} if port is None else {"toPorts": port}
    apply(mesh.members[EAST], to("cart", egress=[{"toEndpoints": in_cluster(WEST, "web"), **some}]))
    allowed = {"fromEndpoints": in_cluster(EAST, "cart"), "toPorts": there}
    ports = [{"name": "http", "containerPort": 8080}]
    named: dict[str, Any] = {"containers": [{"name": "c", "ports": ports}]}
    apply(mesh.members[WEST], pod(2, "web", 11, **named), to("web", ingress=[allowed]))

    assert bool(found(mesh)) == refused


def test_a_wide_rule_at_one_end_and_a_narrow_one_at_the_other_are_no_finding() -> None:
    mesh = two_clusters()
    everybody = {"matchLabels": {CLUSTER: WEST}}
    apply(mesh.members[EAST], to("cart", egress=[{"toEndpoints": [everybody]}]))
    apply(mesh.members[WEST], to("web", ingress=[{}]))
    assert found(mesh) == []

    apply(mesh.members[WEST], to("cart", "q", ingress=[{}]))
    assert len(found(mesh)) == 1


@pytest.mark.parametrize("entity", ["all", "cluster-mesh", "world"])
def test_entities_name_nobody(entity: str) -> None:
    mesh = two_clusters()
    apply(mesh.members[EAST], to("cart", egress=[{"toEntities": [entity]}]))
    apply(mesh.members[WEST], to("web", ingress=[{}]), to("cart", "q", ingress=[{}]))

    assert found(mesh) == []


def test_what_is_refused_at_home_is_not_the_other_cluster_s_doing(mesh: fm.Mesh) -> None:
    apply(mesh.members[WEST], to("web", ingress=[{}]))
    assert len(found(mesh)) == 1
    apply(mesh.members[EAST], to("cart", "q", egressDeny=[{"toEntities": ["all"]}]))

    assert found(mesh) == []


def test_a_cluster_that_is_not_heard_is_not_asked(mesh: fm.Mesh) -> None:
    apply(mesh.members[WEST], to("web", ingress=[{}]))
    mesh.members[WEST].fail()

    assert found(mesh) == []
