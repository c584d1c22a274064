"""
Runs a fleet of the corpus through the public API, as a user would.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

import fleetmesh as fm
from doubles.fleet import Cluster, clusters_of, documents, key_of, text_of
from fleetmesh.records import ServiceRecord
from fleetmesh.state.codecs import encode


def as_cilium_writes(record: ServiceRecord) -> dict[str, Any]:
    """The value of a service, with the frontend of no address that fleetmesh leaves out."""
    value: dict[str, Any] = json.loads(encode(record))
    for name, (protocol, port) in record.frontends.get("", {}).items():
        value["frontends"].setdefault("", {})[name] = {"Protocol": protocol, "Port": port}
    if "" in record.frontends:
        value["frontends"].setdefault("", {})
    return value


def topology_of(given: Any) -> fm.Topology:
    if given in (None, "full"):
        return fm.Topology.full()
    if "hub" in given:
        return fm.Topology.hub(given["hub"])
    return fm.Topology.pairs([(a, b) for a, b in given["pairs"]])


class PublicRun:
    """One case on one mesh; `step` and `answer` are those of `FleetRun`."""

    def __init__(self, case: dict[str, Any]) -> None:
        self._mesh = fm.Mesh("fleet", topology=topology_of(case.get("topology")))
        self._clusters = clusters_of(case)
        self._join(
            cluster for cluster in self._clusters if not case["clusters"][cluster.name].get("joins_later")
        )
        for cluster in self._clusters:
            self._apply(cluster, case["clusters"][cluster.name]["manifests"])

    def step(self, step: dict[str, Any]) -> None:
        self._join(cluster for cluster in self._clusters if cluster.name in step.get("join", []))
        for cluster in self._clusters:
            if cluster.name in step.get("leave", []):
                cluster.joined = False
                self._leave(cluster)
        for cluster in self._clusters:
            if cluster.name in step.get("delete", {}):
                self._delete(cluster, step["delete"][cluster.name])
            if cluster.name in step.get("apply", {}):
                self._apply(cluster, step["apply"][cluster.name])

    def _join(self, clusters: Iterable[Cluster]) -> None:
        for cluster in clusters:
            given = {name: value for name, value in cluster.settings.items() if name != "node"}
            settings = fm.ClusterSettings(**given)
            member = self._mesh.join(cluster.name, cluster_id=cluster.id, settings=settings)
            cluster.joined = True
            for document in cluster.objects.values():
                member.apply(fm.load_manifests(text_of(document)))

    def _leave(self, cluster: Cluster) -> None:
        self._mesh.leave(cluster.name)

    def _own(self, cluster: Cluster) -> fm.Member:
        """Where the cluster's objects are given."""
        return self._mesh.members[cluster.name]

    def _apply(self, cluster: Cluster, text: str) -> None:
        for document in documents(text):
            cluster.objects.pop(key_of(document), None)
            cluster.objects[key_of(document)] = document
        if cluster.joined:
            self._own(cluster).apply(fm.load_manifests(text))

    def _delete(self, cluster: Cluster, text: str) -> None:
        for document in documents(text):
            del cluster.objects[key_of(document)]
        if cluster.joined:
            self._own(cluster).delete(fm.load_manifests(text))

    def exports(self) -> dict[str, Any]:
        return {cluster.name: exports_of(self._own(cluster)) for cluster in self._clusters if cluster.joined}

    def expect(self) -> dict[str, Any]:
        return {
            cluster.name: seen_from(self._own(cluster)._in_mesh(), cluster)
            for cluster in self._clusters
            if cluster.joined
        }

    def answer(self) -> dict[str, Any]:
        return {"exports": self.exports(), "expect": self.expect()}


def exports_of(member: fm.Member) -> dict[str, Any]:
    return {
        f"{record.namespace}/{record.name}": as_cilium_writes(record)
        for record in member.records("service")
        if isinstance(record, ServiceRecord)
    }


def seen_from(mesh: fm.Mesh, cluster: Cluster) -> list[dict[str, Any]]:
    return [
        frontend_of(f"{namespace}/{name}", frontend)
        for namespace, name in sorted(
            mesh.services(cluster.name), key=lambda service: f"{service[0]}/{service[1]} "
        )
        for frontend in mesh.service(namespace, name).frontends(seen_from=f"{cluster.name}/{cluster.node}")
    ]


def frontend_of(service: str, frontend: fm.Frontend) -> dict[str, Any]:
    return {
        "service": service,
        "type": frontend.type,
        **({"scope": "internal"} if frontend.scope == "internal" else {}),
        "address": frontend.address,
        "port": frontend.port,
        "protocol": frontend.protocol,
        "port_name": frontend.port_name,
        "in_use": frontend.in_use,
        "backends": [
            {
                "cluster": backend.cluster,
                "address": backend.address,
                "port": backend.port,
                "protocol": backend.protocol,
                "port_names": list(backend.port_names),
                "state": backend.state,
                "weight": backend.weight,
            }
            for backend in frontend.backends
        ],
    }
