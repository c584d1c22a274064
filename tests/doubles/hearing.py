"""
Meshes that hear each other: each cluster in one of its own, where others are known by their records alone.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import attrs

import fleetmesh as fm
from doubles.fleet import Cluster, text_of
from doubles.public import PublicRun, topology_of
from fleetmesh.records import (
    EndpointsRecord,
    ExportRecord,
    IdentityRecord,
    IpRecord,
    NodeRecord,
    Record,
    ServiceRecord,
)


def key_of_record(record: Record) -> tuple[str, str]:
    match record:
        case NodeRecord():
            return ("node", record.name)
        case ServiceRecord():
            return ("service", f"{record.namespace}/{record.name}")
        case EndpointsRecord():
            return ("endpoints", f"{record.namespace}/{record.name}")
        case ExportRecord():
            return ("export", f"{record.namespace}/{record.name}")
        case IdentityRecord():
            return ("identity", str(record.number))
        case IpRecord():
            return ("ip", record.address)


@attrs.define
class Listener:
    """Tells one mesh what a member of another publishes, only what is different from the last time."""

    there: fm.Member
    here: fm.Member
    told: dict[tuple[str, str], Record] = attrs.field(factory=dict)

    def listen(self) -> None:
        now = {key_of_record(record): record for record in self.there.records()}
        self.here.hear(
            [record for key, record in now.items() if self.told.get(key) != record],
            [key for key in self.told if key not in now],
        )
        self.told = now


class HeardRun(PublicRun):
    """One case of merge.json, in as many meshes as it has clusters."""

    def __init__(self, case: dict[str, Any]) -> None:
        self._topology = topology_of(case.get("topology"))
        self._meshes: dict[str, fm.Mesh] = {}
        self._listeners: list[Listener] = []
        super().__init__(case)

    def _own(self, cluster: Cluster) -> fm.Member:
        return self._meshes[cluster.name].members[cluster.name]

    def _join(self, clusters: Iterable[Cluster]) -> None:
        for cluster in clusters:
            mesh = fm.Mesh("fleet", topology=self._topology)
            given = {name: value for name, value in cluster.settings.items() if name != "node"}
            own = mesh.join(cluster.name, cluster_id=cluster.id, settings=fm.ClusterSettings(**given))
            cluster.joined = True
            for document in cluster.objects.values():
                own.apply(fm.load_manifests(text_of(document)))
            for other in self._clusters:
                if other.name in self._meshes:
                    there = self._meshes[other.name]
                    self._hear(there.members[other.name], mesh, other)
                    self._hear(own, there, cluster)
            self._meshes[cluster.name] = mesh
            self._listen()

    def _hear(self, there: fm.Member, mesh: fm.Mesh, cluster: Cluster) -> None:
        here = mesh.join(cluster.name, cluster_id=cluster.id, outside=True)
        self._listeners.append(Listener(there, here))

    def _leave(self, cluster: Cluster) -> None:
        gone = self._meshes.pop(cluster.name)
        self._listeners = [
            each
            for each in self._listeners
            if each.there.name != cluster.name
            and each.here.name in self._meshes
            and each.here._mesh is not gone
        ]
        for mesh in self._meshes.values():
            mesh.leave(cluster.name)

    def _listen(self) -> None:
        for each in self._listeners:
            each.listen()

    def _apply(self, cluster: Cluster, text: str) -> None:
        super()._apply(cluster, text)
        self._listen()

    def _delete(self, cluster: Cluster, text: str) -> None:
        super()._delete(cluster, text)
        self._listen()
