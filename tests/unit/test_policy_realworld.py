"""
Policies that other people wrote: read, or refused for Cilium's reason; and whom a shop's let in.
"""

from __future__ import annotations

import os
import shutil
from itertools import product
from pathlib import Path

import pytest

import fleetmesh as fm
from fleetmesh.policy import KINDS, Reading, Refused, read_policy
from fleetmesh.resources import PolicyObject, read_manifests

FOLDER = os.environ.get("FLEETMESH_REALWORLD", "")

pytestmark = pytest.mark.skipif(
    not FOLDER, reason="FLEETMESH_REALWORLD is unset: set it to a folder of manifests of others"
)

REFUSED = {
    "l3-egress-rule": "spec.egress[0].auth: is no field that Cilium 1.20 reads",
    "allow-extended-egress-worker-node": "spec.egress[0].toPorts[0].ports[5].port: is missing",
    "to-prod-from-control-plane-nodes": "spec.ingress[0].fromNodes[0]: needs the flag enable-node-selector",
    "requires-rule": "specs[0].ingress[0].fromRequires: takes nothing since Cilium 1.19",
}
ANYBODY = None
SHOP: dict[str, tuple[int, set[str] | None]] = {
    "adservice": (9555, {"frontend"}),
    "cartservice": (7070, {"frontend", "checkoutservice"}),
    "checkoutservice": (5050, {"frontend"}),
    "currencyservice": (7000, {"frontend", "checkoutservice"}),
    "emailservice": (8080, {"checkoutservice"}),
    "frontend": (8080, ANYBODY),
    "loadgenerator": (80, set()),
    "paymentservice": (50051, {"checkoutservice"}),
    "productcatalogservice": (3550, {"frontend", "checkoutservice", "recommendationservice"}),
    "recommendationservice": (8080, {"frontend"}),
    "redis-cart": (6379, {"cartservice"}),
    "shippingservice": (50051, {"frontend", "checkoutservice"}),
}
CLUSTERS = ("east", "north", "west")


def test_every_policy_is_read_or_refused_for_cilium_s_reason() -> None:
    files = sorted(path for path in (Path(FOLDER) / "cilium-policies").rglob("*") if path.is_file())
    assert len(files) == 56
    refused, taken = {}, 0
    for path in files:
        for each in read_manifests(path).resources:
            if isinstance(each, PolicyObject) and each.kind in KINDS:
                try:
                    taken += bool(read_policy(each, Reading("east")))
                except Refused as why:
                    refused[each.name] = str(why)

    assert taken == 51
    assert refused.keys() == REFUSED.keys()
    assert all(refused[name].startswith(why) for name, why in REFUSED.items())


def shop(folder: Path, *, default_local: bool) -> fm.Mesh:
    boutique = Path(FOLDER) / "online-boutique"
    for cluster in CLUSTERS:
        shutil.copytree(boutique / "network-policies", folder / cluster)
        shutil.copy(boutique / "base" / "kubernetes-manifests.yaml", folder / cluster)
    settings = f"{{policy_default_local_cluster: {str(default_local).lower()}}}"
    clusters = ", ".join(
        f"{{name: {name}, id: {number}, settings: {settings}}}" for number, name in enumerate(CLUSTERS, 1)
    )
    (folder / "fleet.yaml").write_text(f"clusters: [{clusters}]\n")
    return fm.Mesh.from_directory(folder)


@pytest.mark.parametrize("default_local", [True, False], ids=["peers at home", "peers everywhere"])
def test_who_may_reach_whom_in_a_shop_over_three_clusters(
    tmp_path: Path,
    *,
    default_local: bool,
) -> None:
    """Where peers that name no cluster are those at home, only the frontend is reached from elsewhere."""
    mesh = shop(tmp_path, default_local=default_local)
    pods = {
        (cluster, pod.template.labels["app"]): f"{cluster}/{pod.namespace}/{pod.name}"
        for cluster in CLUSTERS
        for pod in mesh.members[cluster].pods
    }
    assert len(pods) == len(CLUSTERS) * len(SHOP)

    wrong = []
    for (home, client), (there, server) in product(pods, pods):
        if (home, client) == (there, server):
            continue
        port, callers = SHOP[server]
        near = home == there or not default_local
        expected = callers is ANYBODY or (near and client in callers)
        decision = mesh.decide(pods[home, client], pods[there, server], port=port)
        if (decision.verdict == "allow") != expected:
            wrong.append((home, client, there, server, decision.verdict))
    assert not wrong
    assert mesh.decide(pods["east", "frontend"], pods["east", "cartservice"], port=7071).verdict == "deny"
    assert mesh.decide("ip:198.51.100.9", pods["west", "frontend"], port=8080).verdict == "allow"
    assert mesh.decide("ip:198.51.100.9", pods["west", "cartservice"], port=7070).verdict == "deny"
