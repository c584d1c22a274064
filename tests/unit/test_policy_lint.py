"""
Findings about policies that select nobody, or others than one would think.
"""

from __future__ import annotations

import json
from typing import Any

import pytest

import fleetmesh as fm

EAST, WEST = "east", "west"


def pod(cluster: int, app: str, number: int) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": app, "namespace": "shop", "labels": {"app": app}},
        "spec": {"containers": [{"name": "c"}]},
        "status": {"podIP": f"10.{cluster}.0.{number}"},
    }


def policy(subject: dict[str, Any], *peers: dict[str, Any]) -> dict[str, Any]:
    return {
        "apiVersion": "cilium.io/v2",
        "kind": "CiliumNetworkPolicy",
        "metadata": {"name": "p", "namespace": "shop"},
        "spec": {"endpointSelector": subject, "ingress": [{"fromEndpoints": list(peers)}]},
    }


def apps(**labels: str) -> dict[str, Any]:
    return {"matchLabels": labels}


def apply(member: fm.Member, *documents: dict[str, Any]) -> None:
    member.apply("".join(f"---\n{json.dumps(each)}\n" for each in documents))


@pytest.fixture
def mesh() -> fm.Mesh:
    mesh = fm.Mesh("shop")
    for number, (name, found) in enumerate(((EAST, ["cart", "db"]), (WEST, ["cart", "web"])), 1):
        member = mesh.join(name, cluster_id=number, pod_cidrs=[f"10.{number}.0.0/16"])
        apply(member, *(pod(number, app, at) for at, app in enumerate(found, 10)))
    return mesh


def told(mesh: fm.Mesh) -> dict[str, str]:
    return {each.code: each.message for each in mesh.findings if each.code.startswith("policy-")}


def test_a_policy_that_selects_whom_it_means_is_not_told_of(mesh: fm.Mesh) -> None:
    apply(mesh.members[EAST], policy(apps(app="db"), apps(app="db")))

    assert told(mesh) == {}


@pytest.mark.parametrize(
    ("label", "hint"), [("crt", "; did you mean any:app=cart?"), ("zzzz", "; nobody has any:app=zzzz")]
)
def test_a_subject_that_is_nobody_is_told_with_what_is_near(mesh: fm.Mesh, label: str, hint: str) -> None:
    apply(mesh.members[EAST], policy(apps(app=label), apps(app="db")))

    message = told(mesh)["policy-selects-nobody"]
    assert message.startswith(f"its subject, any:app={label}, ")
    assert message.endswith(f"selects no pod of east{hint}")
    apply(mesh.members[EAST], pod(1, label, 20))
    assert told(mesh) == {}


def test_a_peer_that_is_nobody_is_told(mesh: fm.Mesh) -> None:
    apply(mesh.members[EAST], policy(apps(app="db"), apps(app="crt")))

    message = told(mesh)["policy-peer-nobody"]
    assert message.startswith("spec.ingress[0] is about any:app=crt, ")
    assert message.endswith("which is no pod that east hears of; did you mean any:app=cart?")


def test_a_peer_that_is_in_other_clusters_only_is_told_with_the_clusters(mesh: fm.Mesh) -> None:
    apply(mesh.members[EAST], policy(apps(app="db"), apps(app="web")))

    assert told(mesh)["policy-peer-nobody"].endswith(
        "; west has such pods: name io.cilium.k8s.policy.cluster in the selector"
    )
    mesh.members[WEST].fail()
    assert told(mesh)["policy-peer-nobody"].endswith("nobody has any:app=web")


def test_peers_that_are_in_other_clusters_too_are_told_unless_a_cluster_is_named(mesh: fm.Mesh) -> None:
    apply(mesh.members[EAST], policy(apps(app="db"), apps(app="cart")))
    assert told(mesh) == {
        "policy-local-cluster": "its peers are those of east only, as policy-default-local-cluster is on; "
        "west has pods with these labels too"
    }

    named = apps(**{"app": "cart", "io.cilium.k8s.policy.cluster": "east"})
    apply(mesh.members[EAST], policy(apps(app="db"), named))
    assert told(mesh) == {}


def test_peers_of_everywhere_and_reserved_ones_are_somebody() -> None:
    mesh = fm.Mesh("shop")
    settings = fm.ClusterSettings(policy_default_local_cluster=False)
    for number, name in enumerate((EAST, WEST), 1):
        member = mesh.join(name, cluster_id=number, pod_cidrs=[f"10.{number}.0.0/16"], settings=settings)
        apply(member, pod(number, "cart", 10), pod(number, f"db-{name}", 11))
    peers: tuple[dict[str, Any], ...] = (
        apps(app="cart"),
        apps(app="db-west"),
        {"matchLabels": {"reserved:host": ""}},
        {},
    )
    apply(mesh.members[EAST], policy(apps(app="cart"), *peers))

    assert told(mesh) == {}
    assert mesh.members[EAST].findings == tuple(each for each in mesh.findings if "east" in each.subject)
