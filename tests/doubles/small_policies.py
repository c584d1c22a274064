"""
A few pods in clusters named east and west, policies on them, and what is told of these.
"""

from __future__ import annotations

import json
from typing import Any

import fleetmesh as fm

EAST, WEST = "east", "west"
CLUSTER = "io.cilium.k8s.policy.cluster"
NAMESPACE = "io.kubernetes.pod.namespace"

Document = dict[str, Any]


def pod(cluster: int, app: str, number: int, namespace: str = "shop", **spec: Any) -> Document:
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": app, "namespace": namespace, "labels": {"app": app}},
        "spec": {"containers": [{"name": "c"}], **spec},
        "status": {"podIP": f"10.{cluster}.0.{number}"},
    }


def apps(**labels: str) -> Document:
    return {"matchLabels": labels}


def cilium(spec: Document, name: str = "p", namespace: str = "shop") -> Document:
    """A policy of a namespace; of the whole cluster without one."""
    return {
        "apiVersion": "cilium.io/v2",
        "kind": "CiliumNetworkPolicy" if namespace else "CiliumClusterwideNetworkPolicy",
        "metadata": {"name": name, **({"namespace": namespace} if namespace else {})},
        "spec": spec,
    }


def to(app: str, name: str = "p", **lists: Any) -> Document:
    """A policy of CiliumNetworkPolicy for pods of one app of the namespace shop."""
    return cilium({"endpointSelector": apps(app=app), **lists}, name)


def apply(member: fm.Member, *documents: Document) -> None:
    member.apply("".join(f"---\n{json.dumps(each)}\n" for each in documents))


def two_clusters(**settings: Any) -> fm.Mesh:
    """East has cart and db, west has cart and web, all in the namespace shop."""
    mesh = fm.Mesh("shop")
    for number, (name, found) in enumerate(((EAST, ["cart", "db"]), (WEST, ["cart", "web"])), 1):
        member = mesh.join(
            name,
            cluster_id=number,
            pod_cidrs=[f"10.{number}.0.0/16"],
            settings=fm.ClusterSettings(**settings),
        )
        apply(member, *(pod(number, app, at) for at, app in enumerate(found, 10)))
    return mesh


def told(mesh: fm.Mesh, *but: str) -> dict[str, str]:
    """Code -> message, of all that is told about policies."""
    return {
        each.code: each.message
        for each in mesh.findings
        if each.code.startswith("policy-") and each.code not in but
    }
