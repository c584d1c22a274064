"""
Findings about policies that select nobody, or others than one would think.
"""

from __future__ import annotations

from typing import Any

import pytest

import fleetmesh as fm
from doubles.small_policies import (
    CLUSTER,
    EAST,
    NAMESPACE,
    WEST,
    apply,
    apps,
    cilium,
    pod,
    told,
    two_clusters,
)


def policy(subject: dict[str, Any], *peers: dict[str, Any]) -> dict[str, Any]:
    return cilium({"endpointSelector": subject, "ingress": [{"fromEndpoints": list(peers)}]})


@pytest.fixture
def mesh() -> fm.Mesh:
    return two_clusters()


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


def test_where_peers_are_of_every_cluster_those_of_others_are_told_unless_a_cluster_is_named() -> None:
    mesh = two_clusters(policy_default_local_cluster=False)
    apply(mesh.members[EAST], policy(apps(app="db"), apps(app="cart")))
    assert told(mesh) == {
        "policy-every-cluster": "its peers are those of every cluster that east hears, as "
        "policy-default-local-cluster is off; were it on, those of west were none"
    }

    apply(mesh.members[EAST], policy(apps(app="db"), apps(app="cart", **{CLUSTER: EAST}), apps(app="db")))
    assert told(mesh) == {}


@pytest.mark.parametrize("local", [True, False])
def test_peers_by_namespace_are_of_every_cluster_whatever_the_setting(local: bool) -> None:
    mesh = two_clusters(policy_default_local_cluster=local)
    everywhere = {"namespaces": {"matchLabels": {"kubernetes.io/metadata.name": "shop"}}}
    document = {
        "apiVersion": "policy.networking.k8s.io/v1alpha2",
        "kind": "ClusterNetworkPolicy",
        "metadata": {"name": "p"},
        "spec": {
            "tier": "Admin",
            "priority": 1,
            "subject": everywhere,
            "ingress": [{"action": "Accept", "from": [everywhere]}],
        },
    }
    apply(mesh.members[EAST], document)

    assert told(mesh) == {}


@pytest.mark.parametrize("local", [True, False])
def test_a_network_policy_means_pods_of_its_cluster_by_default_too(local: bool) -> None:
    mesh = two_clusters(policy_default_local_cluster=local)
    document = {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": {"name": "p", "namespace": "shop"},
        "spec": {"podSelector": {}, "ingress": [{"from": [{"podSelector": apps(app="cart")}]}]},
    }
    apply(mesh.members[EAST], document)

    assert [*told(mesh)] == ["policy-local-cluster" if local else "policy-every-cluster"]


def test_peers_of_everywhere_and_reserved_ones_are_somebody() -> None:
    mesh = two_clusters(policy_default_local_cluster=False)
    peers: tuple[dict[str, Any], ...] = (apps(app="web"), {"matchLabels": {"reserved:host": ""}}, {})
    apply(mesh.members[EAST], policy(apps(app="cart"), *peers))

    assert [*told(mesh)] == ["policy-every-cluster"]
    assert mesh.members[EAST].findings == tuple(each for each in mesh.findings if "east" in str(each))


@pytest.mark.parametrize(
    ("labels", "hint"),
    [
        ({"ap": "cart"}, "; did you mean any:app? nobody has any:ap=cart"),
        ({"zzz": "cart"}, "; nobody has any:zzz=cart"),
        ({"app": "cart", "k8s:io.kubernetes.pod.namespac": "shop"}, f"; did you mean k8s:{NAMESPACE}? "),
        (
            {"io.cilium.k8s.namespace.label.team": "a"},
            "; did you mean any:io.cilium.k8s.namespace.labels.team? ",
        ),
        ({"kubernetes.io/metadata.name": "shop"}, f"; to select pods by their namespace name {NAMESPACE}"),
        ({"container:app": "cart"}, "; pods have app of source k8s, not container"),
        ({"team": "a"}, "; team is a label of namespaces: name io.cilium.k8s.namespace.labels.team"),
        (
            {"pod-template-hash": "x1"},
            "; pods have pod-template-hash, but Cilium leaves that label out of identities: ",
        ),
        ({"app": "log", f"k8s:{NAMESPACE}": "shopp"}, f"; did you mean k8s:{NAMESPACE}=shop?"),
        ({"app": "cart", f"k8s:{NAMESPACE}": "zzz"}, "; nobody is in namespace zzz"),
        ({"app": "log"}, f"; there are such pods in logs: name {NAMESPACE} in the selector"),
        ({"app": "cart", CLUSTER: "wst"}, f"; did you mean any:{CLUSTER}=west?"),
        ({"app": "cart", CLUSTER: "north"}, "; east does not hear north"),
        (
            {"app": "cart", "io.cilium.k8s.policy.serviceaccount": "defualt"},
            "; did you mean any:io.cilium.k8s.policy.serviceaccount=default?",
        ),
        (
            {"app": "proxy"},
            "; pods with these labels are on the networks of their nodes, and to policies they are these: ",
        ),
    ],
)
def test_what_a_peer_that_is_nobody_nearly_is(mesh: fm.Mesh, labels: dict[str, str], hint: str) -> None:
    east = mesh.members[EAST]
    hashed = pod(1, "hashed", 12)
    hashed["metadata"]["labels"]["pod-template-hash"] = "x1"
    apply(east, hashed, pod(1, "log", 13, "logs"), pod(1, "proxy", 14, hostNetwork=True))
    space = {"name": "shop", "labels": {"team": "a"}}
    apply(east, {"apiVersion": "v1", "kind": "Namespace", "metadata": space})
    mesh.join("north", cluster_id=3).fail()
    apply(east, policy(apps(app="db"), apps(**labels)))

    assert hint in told(mesh)["policy-peer-nobody"]


def test_a_subject_of_another_cluster_is_told_where_it_would_be_one(mesh: fm.Mesh) -> None:
    apply(mesh.members[EAST], policy(apps(app="cart", **{CLUSTER: WEST}), apps(app="db")))

    assert told(mesh)["policy-selects-nobody"].endswith(
        "; a policy is in force in its own cluster only: apply it in west"
    )


def test_a_cluster_that_is_no_member_is_told_where_somebody_is_selected_all_the_same(mesh: fm.Mesh) -> None:
    def peer(*clusters: str) -> dict[str, Any]:
        return {"matchExpressions": [{"key": CLUSTER, "operator": "NotIn", "values": list(clusters)}]}

    apply(mesh.members[EAST], policy(apps(app="db"), peer("wset")))
    assert told(mesh) == {
        "policy-unknown-cluster": "spec.ingress[0] names the cluster wset, which is no member of the mesh; "
        "did you mean west?"
    }

    apply(mesh.members[EAST], policy(apps(app="db"), peer("west")))
    assert told(mesh) == {}
