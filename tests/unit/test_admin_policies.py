"""
AdminNetworkPolicy and BaselineAdminNetworkPolicy are the tiers that became of them.
"""

from __future__ import annotations

from typing import Any

import pytest

from fleetmesh.policy import Reading, Refused, Rule, read_policy
from fleetmesh.resources.model import PolicyObject

PODS = {"namespaceSelector": {}, "podSelector": {"matchLabels": {"app": "db"}}}


def read(kind: str, name: str = "default", **spec: Any) -> tuple[Rule, ...]:
    return read_policy(PolicyObject(kind=kind, name=name, document={"spec": spec}), Reading("east"))


def test_an_admin_policy_says_what_a_cluster_policy_of_tier_admin_says() -> None:
    rules: dict[str, Any] = {"from": [{"pods": PODS}, {"namespaces": {}}]}
    old = read(
        "AdminNetworkPolicy",
        priority=7,
        subject={"pods": PODS},
        ingress=[{"action": "Allow", **rules}, {"action": "Pass", **rules}],
    )
    new = read(
        "ClusterNetworkPolicy",
        tier="Admin",
        priority=7,
        subject={"pods": PODS},
        ingress=[{"action": "Accept", **rules}, {"action": "Pass", **rules}],
    )

    assert [(r.verdict, r.tier, r.priority, r.subject, r.peers) for r in old] == [
        (r.verdict, r.tier, r.priority, r.subject, r.peers) for r in new
    ]
    assert not any(rule.default_deny for rule in old)


def test_a_baseline_policy_is_of_the_tier_after_all_others() -> None:
    (rule,) = read(
        "BaselineAdminNetworkPolicy",
        subject={"namespaces": {}},
        egress=[{"action": "Deny", "to": [{"networks": ["10.0.0.0/8"]}]}],
    )

    assert (rule.direction, rule.verdict, rule.tier) == ("egress", "deny", "baseline")


@pytest.mark.parametrize(
    ("port", "found"),
    [
        ({"portNumber": {"protocol": "UDP", "port": 53}}, [(17, 53, 53, "")]),
        ({"portNumber": {"port": 80}}, [(6, 80, 80, "")]),
        ({"portRange": {"protocol": "TCP", "start": 8000, "end": 9000}}, [(6, 8000, 9000, "")]),
        ({"namedPort": "HTTP"}, [(6, 0, 0, "http"), (17, 0, 0, "http"), (132, 0, 0, "http")]),
    ],
)
def test_ports_have_their_own_form(port: Any, found: Any) -> None:
    rules = [{"action": "Deny", "ports": [port]}]
    (rule,) = read("AdminNetworkPolicy", priority=1, subject={"namespaces": {}}, ingress=rules)

    ports = [(each.protocol, each.first, each.last, each.name) for each in rule.ports[0].ports]
    assert ports == found


@pytest.mark.parametrize(
    ("kind", "name", "spec", "path"),
    [
        ("BaselineAdminNetworkPolicy", "mine", {}, "metadata.name"),
        (
            "BaselineAdminNetworkPolicy",
            "default",
            {"ingress": [{"action": "Pass"}]},
            "spec.ingress[0].action",
        ),
        ("AdminNetworkPolicy", "a", {}, "spec.priority"),
        (
            "AdminNetworkPolicy",
            "a",
            {"priority": 1, "ingress": [{"action": "Accept"}]},
            "spec.ingress[0].action",
        ),
        (
            "AdminNetworkPolicy",
            "a",
            {"priority": 1, "ingress": [{"action": "Deny", "ports": [{}]}]},
            "spec.ingress[0].ports[0]",
        ),
        (
            "AdminNetworkPolicy",
            "a",
            {"priority": 1, "ingress": [{"action": "Deny", "ports": [{"portNumber": {"port": 0}}]}]},
            "spec.ingress[0].ports[0].portNumber",
        ),
    ],
)
def test_what_is_wrong_is_refused_with_the_field(kind: str, name: str, spec: Any, path: str) -> None:
    with pytest.raises(Refused) as caught:
        read(kind, name, subject={"namespaces": {}}, **spec)

    assert caught.value.path == path
