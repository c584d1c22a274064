"""
An object that has moved in its file, and is otherwise what it was, is told of at its new line.
"""

from __future__ import annotations

import attrs
import pytest

import fleetmesh as fm

NAMESPACE = "apiVersion: v1\nkind: Namespace\nmetadata: {name: shop}\n"
NODE = "apiVersion: v1\nkind: Node\nmetadata: {name: n1}\n"
SERVICE = """apiVersion: v1
kind: Service
metadata: {name: web, namespace: shop}
spec: {selector: {app: web}, ports: [{port: 80}]}
"""
MIRRORED = """apiVersion: v1
kind: Service
metadata: {name: legacy, namespace: shop}
spec: {ports: [{port: 80}]}
"""
ENDPOINTS = """apiVersion: v1
kind: Endpoints
metadata: {name: legacy, namespace: shop}
subsets: [{addresses: [{ip: 192.0.2.1}], ports: [{port: 80}]}]
"""
POD = """apiVersion: v1
kind: Pod
metadata: {name: own, namespace: shop, labels: {app: web}}
spec: {nodeSelector: {disk: fast}, containers: [{name: c, image: i}]}
"""
DEPLOYMENT = """apiVersion: apps/v1
kind: Deployment
metadata: {name: cart, namespace: shop}
spec:
  replicas: 3
  selector: {matchLabels: {app: cart}}
  template:
    metadata: {labels: {app: cart}}
    spec: {nodeSelector: {disk: fast}, containers: [{name: c, image: i}]}
"""
SLICE = """apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: db-1, namespace: shop, labels: {kubernetes.io/service-name: db}}
addressType: IPv4
endpoints: [{addresses: [192.0.2.9]}]
ports: [{port: 5432}]
"""
EXPORT = "apiVersion: multicluster.x-k8s.io/v1beta1\nkind: ServiceExport\n"
EXPORT += "metadata: {name: lacking, namespace: shop}\n"
POLICY = """apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: deny, namespace: shop}
spec: {podSelector: {}}
"""
OTHER = "apiVersion: v1\nkind: Secret\nmetadata: {name: key, namespace: shop}\n"

DOCUMENTS = [NAMESPACE, NODE, SERVICE, MIRRORED, ENDPOINTS, POD, DEPLOYMENT, SLICE, EXPORT, POLICY, OTHER]
ALL = "---\n".join(DOCUMENTS)
MOVED = "# a comment\n\n\n" + ALL


@pytest.fixture
def meshes() -> tuple[fm.Mesh, fm.Mesh]:
    """One in which the text has moved, and one that never had it elsewhere."""
    found = []
    for texts in ((ALL, MOVED), (MOVED,)):
        mesh = fm.Mesh("shop")
        mesh.join("west", cluster_id=2)
        # So few addresses that not everything gets one.
        east = mesh.join("east", cluster_id=1, pod_cidrs=["10.1.0.0/31"], service_cidrs=["10.96.0.0/32"])
        for text in texts:
            east.apply(text)
        found.append(mesh)
    return found[0], found[1]


def test_findings_name_the_new_line(meshes: tuple[fm.Mesh, fm.Mesh]) -> None:
    moved, fresh = meshes
    said = {each.code for each in fresh.findings if each.where is not None}

    assert {"range-exhausted", "invalid-export"} <= said
    assert moved.findings == fresh.findings


def test_everything_that_is_kept_has_the_new_line(meshes: tuple[fm.Mesh, fm.Mesh]) -> None:
    kept = []
    for mesh in meshes:
        store = mesh.members["east"]._store
        kept.append(
            {
                field.name: _origins(getattr(store, field.name))
                for field in attrs.fields(type(store))
                if field.name not in ("source_of", "sources")
            }
        )

    assert kept[0] == kept[1]
    for name in ("nodes", "in_force", "slices", "endpoints", "derived", "workloads", "running", "exports"):
        assert kept[1][name], name


def test_it_is_no_event(meshes: tuple[fm.Mesh, fm.Mesh]) -> None:
    moved, _ = meshes

    assert not moved.members["east"].apply("\n" + MOVED)


def _origins(value: object) -> object:
    if isinstance(value, fm.resources.Resource):
        return str(value.origin)
    if isinstance(value, dict):
        return {str(key): _origins(each) for key, each in value.items()}
    return str(value)
