"""
Manifests that other people wrote, as they are, in a mesh.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from fleetmesh.mesh import Mesh

REALWORLD = os.environ.get("FLEETMESH_REALWORLD", "")
pytestmark = pytest.mark.skipif(
    not REALWORLD, reason="FLEETMESH_REALWORLD is unset: the folder of other people's manifests to test with"
)


def served_by(mesh: Mesh, name: str, viewer: str) -> list[str]:
    return sorted({each.cluster for each in mesh.service("default", name).backends(viewer)})


def test_the_two_cluster_example_of_cilium() -> None:
    mesh = Mesh.from_directory(Path(REALWORLD) / "cilium-global-service")

    assert list(mesh.members) == ["cluster1", "cluster2"]
    for viewer in mesh.members:
        assert len(mesh.service("default", "rebel-base").backends(viewer)) == 4
        assert served_by(mesh, "rebel-base", viewer) == ["cluster1", "cluster2"]
        assert served_by(mesh, "rebel-base-mcsapi", viewer) == [viewer]
        assert len(mesh.resolve("rebel-base.default.svc.cluster.local", seen_from=viewer)) == 1
        assert len(mesh.resolve("rebel-base-headless.default.svc.cluster.local", seen_from=viewer)) == 2
        assert len(mesh.resolve("rebel-base-mcsapi.default.svc.clusterset.local", seen_from=viewer)) == 1
    assert {each.severity for each in mesh.findings} <= {"info"}
    fork = mesh.fork()
    fork.members["cluster2"].fail()
    assert served_by(fork, "rebel-base", "cluster1") == ["cluster1"]


def overlay(name: str, selector: str, port: str, **annotations: str) -> str:
    """A Service of the shop again, with annotations."""
    said = ", ".join(f'service.cilium.io/{key}: "{value}"' for key, value in annotations.items())
    return f"""---
apiVersion: v1
kind: Service
metadata: {{name: {name}, annotations: {{{said}}}}}
spec: {{selector: {{app: {selector}}}, ports: [{{name: grpc, port: {port}}}]}}
"""


def scaled_away(name: str) -> str:
    """A Deployment of the shop again, without pods."""
    return f"""---
apiVersion: apps/v1
kind: Deployment
metadata: {{name: {name}}}
spec:
  replicas: 0
  selector: {{matchLabels: {{app: {name}}}}}
  template: {{metadata: {{labels: {{app: {name}}}}}, spec: {{containers: [{{name: main, image: it}}]}}}}
"""


def test_a_shop_over_three_clusters(tmp_path: Path) -> None:
    """Catalogue everywhere, payment in one cluster only and shared, mail preferred at home."""
    shop = Path(REALWORLD) / "online-boutique"
    shutil.copy(shop / "base" / "kubernetes-manifests.yaml", tmp_path / "shop.yaml")
    shutil.copytree(shop / "network-policies", tmp_path / "policies")
    common = (
        overlay("productcatalogservice", "productcatalogservice", "3550", **{"global": "true"})
        + overlay("paymentservice", "paymentservice", "50051", **{"global": "true"})
        + overlay("emailservice", "emailservice", "5000", **{"global": "true"}, affinity="local")
    )
    (tmp_path / "overlay.yaml").write_text(common)
    for name in ("north", "west"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "scale.yaml").write_text(scaled_away("paymentservice"))
    (tmp_path / "fleet.yaml").write_text(
        "common: [shop.yaml, policies/, overlay.yaml]\n"
        "clusters: [{name: east, id: 1, manifests: []}, {name: north, id: 2}, {name: west, id: 3}]\n"
    )

    mesh = Mesh.from_directory(tmp_path)

    everybody = ["east", "north", "west"]
    for viewer in everybody:
        assert served_by(mesh, "productcatalogservice", viewer) == everybody
        assert served_by(mesh, "paymentservice", viewer) == ["east"]
        assert served_by(mesh, "emailservice", viewer) == [viewer]
        assert served_by(mesh, "cartservice", viewer) == [viewer]
    assert len(mesh.members["east"].pods) == 12
    assert {each.severity for each in mesh.findings if each.code != "duplicate-object"} <= {"info", "warning"}

    fork = mesh.fork()
    fork.members["east"].drain()
    moved = {(row.viewer, row.name): row for row in mesh.compare(fork)}

    assert dict(moved["west", "paymentservice"].share_after) == {}
    assert dict(moved["east", "emailservice"].share_after) == {"north": 0.5, "west": 0.5}
    assert ("west", "emailservice") not in moved
    assert ("west", "cartservice") not in moved
