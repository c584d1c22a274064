"""
Findings about rules that decide nothing.
"""

from __future__ import annotations

from typing import Any

import pytest

import fleetmesh as fm
from doubles.small_policies import EAST, Document, apply, apps, cilium, pod, to, told, two_clusters

CART, DB = {"fromEndpoints": [apps(app="cart")]}, {"fromEndpoints": [apps(app="db")]}
EITHER = {
    "fromEndpoints": [{"matchExpressions": [{"key": "app", "operator": "In", "values": ["cart", "db"]}]}]
}
ANYBODY: Document = {"fromEndpoints": [{}]}
ALL = {"fromEntities": ["all"]}


def at(*ports: int | str, end: int = 0, protocol: str = "TCP", **more: Any) -> Document:
    ends = {"endPort": end} if end else {}
    return {
        "toPorts": [{"ports": [{"port": str(port), "protocol": protocol, **ends} for port in ports], **more}]
    }


def about(*documents: Document, **settings: Any) -> dict[str, str]:
    mesh = two_clusters(**settings)
    apply(mesh.members[EAST], *documents)
    return told(mesh, "policy-local-cluster", "policy-any-without-icmp", "policy-host-only")


@pytest.mark.parametrize(
    ("narrow", "wide"),
    [
        (CART, CART),
        (CART, EITHER),
        (CART, ANYBODY),
        (CART, ALL),
        (CART | at(80), CART),
        (CART | at(80), CART | at(80, 443)),
        (CART | at(80), CART | at(1, end=100)),
        (CART | at(80), ANYBODY | at(0)),
        (CART | at(80), CART | at(80, protocol="ANY")),
        ({"fromCIDR": ["192.0.2.1/32"]}, {"fromCIDR": ["192.0.2.0/24"]}),
        ({"fromCIDR": ["192.0.2.1/32"]}, {"fromEntities": ["world"]}),
        (
            {"fromCIDRSet": [{"cidr": "192.0.2.0/24", "except": ["192.0.2.0/28"]}]},
            {"fromCIDRSet": [{"cidr": "192.0.2.0/24", "except": ["192.0.2.0/30"]}]},
        ),
        ({"icmps": [{"fields": [{"type": 8}]}]} | CART, CART),
    ],
)
def test_an_allow_is_redundant_if_another_allows_all_of_it_and_not_the_other_way_round(
    narrow: Document, wide: Document
) -> None:
    found = about(to("db", ingress=[wide, narrow]))
    assert [*found] == ["policy-rule-redundant"]
    assert found["policy-rule-redundant"].startswith("spec.ingress[1] allows ")
    assert found["policy-rule-redundant"].endswith(": spec.ingress[0] allows that already")

    turned = about(to("db", ingress=[narrow, wide]))["policy-rule-redundant"]
    named = "spec.ingress[1] allows" if narrow == wide else "spec.ingress[0] allows"
    assert turned.startswith(named)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (CART, DB),
        (CART | at(80), CART | at(81)),
        (CART | at(80), EITHER | at(81, end=90)),
        (CART | at(0), CART | at(80, protocol="UDP")),
        (CART | at(0, protocol="ANY"), {"icmps": [{"fields": [{"type": 8}]}]} | CART),
        ({"fromCIDR": ["192.0.2.0/24"]}, {"fromCIDR": ["198.51.100.0/24"]}),
        ({"fromCIDR": ["0.0.0.0/0"]}, ANYBODY),
        (CART | {"authentication": {"mode": "required"}}, CART),
        (CART | at(80, rules={"http": [{"path": "/a"}]}), CART | at(80, rules={"http": [{"path": "/b"}]})),
    ],
)
def test_rules_of_which_each_allows_what_the_other_does_not_are_left_alone(
    one: Document, other: Document
) -> None:
    assert about(to("db", ingress=[one, other])) == {}


def test_a_rule_of_which_only_a_part_is_covered_is_left_alone() -> None:
    both = {"fromEndpoints": [apps(app="cart"), apps(app="db")]}
    assert about(to("db", ingress=[CART | at(80), both | at(80, 443)])) != {}
    assert about(to("db", ingress=[CART, both | at(80)])) == {}


def test_the_other_rule_may_be_of_another_policy_with_more_subjects() -> None:
    wide = cilium({"endpointSelector": {}, "ingress": [ANYBODY]}, "wide")
    found = about(wide, to("db", ingress=[CART]))
    assert found["policy-rule-redundant"].endswith(
        "k8s:io.cilium.k8s.policy.cluster=east: spec.ingress[0] of CiliumNetworkPolicy shop/wide allows that "
        "already"
    )

    other = to("cart", "wide", ingress=[ANYBODY])
    assert about(other, to("db", ingress=[CART])) == {}
    elsewhere = cilium({"endpointSelector": {}, "ingress": [ALL]}, "wide", "logs")
    assert "policy-rule-redundant" not in about(elsewhere, to("db", ingress=[CART]))


def test_labels_that_happen_to_be_together_make_no_rule_redundant() -> None:
    mesh = two_clusters()
    twice = pod(1, "db", 11)
    twice["metadata"]["labels"]["tier"] = "back"
    rules = [CART, {"fromEndpoints": [apps(tier="back")]}, DB]
    apply(mesh.members[EAST], twice, to("cart", ingress=rules))

    assert told(mesh, "policy-local-cluster") == {}


def test_what_isolates_alone_is_told_to() -> None:
    wide = to("db", "wide", ingress=[ANYBODY], enableDefaultDeny={"ingress": False})
    found = about(wide, to("db", ingress=[CART]))["policy-rule-redundant"]
    assert found.endswith(" allows that already; but nothing else isolates its subject")

    assert not about(to("db", "wide", ingress=[ANYBODY]), to("db", ingress=[CART]))[
        "policy-rule-redundant"
    ].endswith("isolates its subject")


def test_a_rule_that_is_denied_is_shadowed() -> None:
    found = about(to("db", ingress=[CART, DB], ingressDeny=[CART]))
    assert found == {
        "policy-rule-shadowed": "spec.ingress[0] allows any:app=cart, k8s:io.kubernetes.pod.namespace=shop, "
        "k8s:io.cilium.k8s.policy.cluster=east: spec.ingressDeny[0] denies all of that before it"
    }

    assert about(to("db", ingress=[CART, DB], ingressDeny=[CART | at(80)])) == {}


def test_a_rule_is_shadowed_too_if_it_is_so_as_labels_are_now() -> None:
    tiers: dict[str, Any] = {"ingress": [CART], "ingressDeny": [{"fromEndpoints": [apps(tier="front")]}]}
    mesh = two_clusters()
    fronted = pod(1, "cart", 10)
    fronted["metadata"]["labels"]["tier"] = "front"
    apply(mesh.members[EAST], fronted, to("db", **tiers))
    found = told(mesh, "policy-local-cluster")
    assert found["policy-rule-shadowed"].endswith("denies all of that before it, as labels are now")

    other = pod(1, "cart", 12)
    other["metadata"]["name"] = "cart-2"
    apply(mesh.members[EAST], other)
    assert told(mesh, "policy-local-cluster") == {}


def cluster_policy(name: str, action: str, priority: int, tier: str = "Admin", app: str = "cart") -> Document:
    pods = {"namespaceSelector": {}, "podSelector": {"matchLabels": {"app": app}}}
    return {
        "apiVersion": "policy.networking.k8s.io/v1alpha2",
        "kind": "ClusterNetworkPolicy",
        "metadata": {"name": name},
        "spec": {
            "tier": tier,
            "priority": priority,
            "subject": {"namespaces": {}},
            "ingress": [{"action": action, "from": [{"pods": pods}]}],
        },
    }


@pytest.mark.parametrize(
    ("first", "second", "code"),
    [
        (("Deny", 1, "Admin"), ("Accept", 2, "Admin"), "policy-rule-shadowed"),
        (("Accept", 1, "Admin"), ("Deny", 2, "Admin"), "policy-rule-shadowed"),
        (("Pass", 1, "Admin"), ("Deny", 2, "Admin"), "policy-rule-shadowed"),
        (("Deny", 1, "Admin"), ("Deny", 2, "Admin"), "policy-rule-redundant"),
        (("Deny", 1, "Admin"), ("Accept", 1, "Baseline"), "policy-rule-shadowed"),
        (("Pass", 1, "Admin"), ("Deny", 1, "Baseline"), ""),
    ],
)
def test_an_earlier_tier_or_priority_shadows(
    first: tuple[str, int, str], second: tuple[str, int, str], code: str
) -> None:
    one, other = (
        cluster_policy(name, action, priority, tier)
        for name, (action, priority, tier) in (("one", first), ("other", second))
    )
    found = about(one, other)
    assert [*found] == ([code] if code else [])
    assert all("of ClusterNetworkPolicy /one " in each for each in found.values())


def test_a_pass_before_it_may_keep_an_earlier_tier_from_deciding() -> None:
    documents = [cluster_policy("deny", "Deny", 2), to("db", ingress=[CART])]
    assert [*about(*documents)] == ["policy-rule-shadowed"]
    assert about(*documents, cluster_policy("pass", "Pass", 1, app="db")) == {}


def test_where_nothing_is_enforced_nothing_decides() -> None:
    assert about(to("db", ingress=[CART, CART]), policy_enforcement="never") == {}


def test_each_of_three_alike_but_one_is_told() -> None:
    mesh = two_clusters()
    apply(mesh.members[EAST], to("db", ingress=[CART, CART, CART]))
    found = [each for each in mesh.findings if each.code == "policy-rule-redundant"]

    assert [each.message.partition(" ")[0] for each in found] == ["spec.ingress[1]", "spec.ingress[2]"]
    assert found[0].evidence[0].startswith("allows any:app=cart, ")
    assert found[0].where is not None
    assert found[0].fix


def test_one_of_its_own_peers_may_make_another_needless() -> None:
    document = {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": {"name": "p", "namespace": "shop"},
        "spec": {
            "podSelector": apps(app="db"),
            "ingress": [{"from": [{"podSelector": {}}, {"podSelector": apps(app="cart")}]}],
        },
    }
    message = about(document)["policy-rule-redundant"]
    assert message.startswith("spec.ingress[0] allows k8s:app=cart, ")
    assert "another of its peers, " in message


def test_mode_strict_has_isolation_that_is_final() -> None:
    mesh = fm.Mesh("shop", mode="strict")
    member = mesh.join(EAST, cluster_id=1)
    apply(member, pod(1, "cart", 10), pod(1, "db", 11))
    apply(member, to("db", ingress=[DB]), cluster_policy("base", "Accept", 1, "Baseline"))

    assert told(mesh) == {}
