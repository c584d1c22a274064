"""
Runs a fleet of the corpus (clusters, topology, manifests, steps) on a core, fast or slow, from the manifests.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import attrs
import yaml

from doubles import manifests
from doubles.manifests import ZONE, Document
from doubles.selection import PROTOCOL_NAMES, TYPE_NAMES

STATE_NAMES = ("active", "terminating", "terminating-not-serving", "quarantined", "maintenance")
Key = tuple[str, str, str]  # kind, namespace, name


def documents(text: str) -> list[Document]:
    return [document for document in yaml.safe_load_all(text) if document]


def key_of(document: Document) -> Key:
    metadata = document["metadata"]
    return (document["kind"], metadata.get("namespace", ""), metadata["name"])


def heard(topology: Any, a: str, b: str) -> bool:
    """Whether two clusters are linked, by the topology of a case."""
    if topology in (None, "full"):
        return True
    if "hub" in topology:
        return topology["hub"] in (a, b)
    return [a, b] in topology["pairs"] or [b, a] in topology["pairs"]


@attrs.define
class Cluster:
    """
    Attributes:
        node: The node that the viewer's agent runs on.
        objects: What is applied, in the order of the last write.
    """

    name: str
    id: int
    settings: dict[str, Any]
    node: str
    joined: bool = False
    objects: dict[Key, Document] = attrs.field(factory=dict)

    def of_kind(self, kind: str) -> dict[str, Document]:
        return {key[2]: document for key, document in self.objects.items() if key[0] == kind}


def text_of(document: Document) -> str:
    return yaml.safe_dump(document, sort_keys=False)


def clusters_of(case: dict[str, Any]) -> list[Cluster]:
    """The clusters of a case in ascending id, with nothing applied yet."""
    found = []
    for name, given in case["clusters"].items():
        declared = [
            document["metadata"]["name"]
            for document in documents(given["manifests"])
            if document["kind"] == "Node"
        ]
        settings = given.get("settings") or {}
        node = settings.get("node") or (declared or ["node-1"])[0]
        found.append(Cluster(name, given["id"], settings, node))
    return sorted(found, key=lambda cluster: cluster.id)


class FleetRun:
    """One case on one core: `core` an empty core, `spec` the class of its service specs."""

    def __init__(self, case: dict[str, Any], core: Any, spec: Callable[..., Any]) -> None:
        self._core, self._spec, self._topology = core, spec, case.get("topology")
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
                transaction = self._core.begin()
                transaction.leave(cluster.id)
                transaction.commit()
        for cluster in self._clusters:
            if cluster.name in step.get("delete", {}):
                self._delete(cluster, step["delete"][cluster.name])
            if cluster.name in step.get("apply", {}):
                self._apply(cluster, step["apply"][cluster.name])

    # ---- changes

    def _join(self, clusters: Iterable[Cluster]) -> None:
        transaction = self._core.begin()
        for cluster in clusters:
            cluster.joined = True
            transaction.join(
                cluster.id,
                cluster.name,
                enable_ipv6=cluster.settings.get("enable_ipv6", True),
                service_topology=cluster.settings.get("service_topology", False),
            )
            members = [other for other in self._clusters if other.joined]
            for viewer in members:
                linked = [
                    other.id
                    for other in members
                    if other is not viewer and heard(self._topology, viewer.name, other.name)
                ]
                transaction.hear(viewer.id, linked)
            for document in cluster.objects.values():
                self._put(transaction, cluster, document)
        transaction.commit()

    def _apply(self, cluster: Cluster, text: str) -> None:
        for document in documents(text):
            transaction = self._core.begin()
            old = cluster.objects.pop(key_of(document), None)
            cluster.objects[key_of(document)] = document
            if cluster.joined:
                if old is not None and old["kind"] == "EndpointSlice" and owner(old) != owner(document):
                    transaction.remove_slice(cluster.id, *owner(old), old["metadata"]["name"])
                self._put(transaction, cluster, document)
            transaction.commit()

    def _delete(self, cluster: Cluster, text: str) -> None:
        for document in documents(text):
            transaction = self._core.begin()
            old = cluster.objects.pop(key_of(document))
            if cluster.joined:
                self._remove(transaction, cluster, old)
            transaction.commit()

    def _put(self, transaction: Any, cluster: Cluster, document: Document) -> None:
        kind, _namespace, name = key_of(document)
        if kind == "Node":
            transaction.set_node(cluster.id, name, manifests.labels(document).get(ZONE, ""))
            self._set_services(transaction, cluster, None)
        elif kind == "Namespace":
            self._set_services(transaction, cluster, name)
        elif kind == "Service":
            self._set_service(transaction, cluster, document)
        elif kind == "EndpointSlice" and owner(document)[1]:
            transaction.set_slice(cluster.id, *owner(document), name, **manifests.slice_arguments(document))

    def _remove(self, transaction: Any, cluster: Cluster, document: Document) -> None:
        kind, namespace, name = key_of(document)
        if kind == "Node":
            transaction.remove_node(cluster.id, name)
            self._set_services(transaction, cluster, None)
        elif kind == "Namespace":
            self._set_services(transaction, cluster, name)
        elif kind == "Service":
            transaction.remove_service(cluster.id, namespace, name)
        elif kind == "EndpointSlice" and owner(document)[1]:
            transaction.remove_slice(cluster.id, *owner(document), name)

    def _set_services(self, transaction: Any, cluster: Cluster, namespace: str | None) -> None:
        for (kind, where, _), document in cluster.objects.items():
            if kind == "Service" and namespace in (None, where):
                self._set_service(transaction, cluster, document)

    def _set_service(self, transaction: Any, cluster: Cluster, document: Document) -> None:
        _, namespace, name = key_of(document)
        declared = cluster.objects.get(("Namespace", "", namespace))
        marked = manifests.annotation(declared, "clustermesh.cilium.io/global") if declared else None
        default = cluster.settings.get("default_global_namespace", True)
        nodes = {node: manifests.labels(found) for node, found in cluster.of_kind("Node").items()}
        nodes.setdefault(cluster.node, {})  # an agent's node that no document declares has no labels
        arguments = manifests.service_arguments(
            document, manifests.is_true(marked, default), cluster.settings.get("enable_ipv6", True), nodes
        )
        transaction.set_service(cluster.id, namespace, name, self._spec(**arguments))

    # ---- answers

    def exports(self) -> dict[str, Any]:
        snapshot = self._core.snapshot()
        out: dict[str, Any] = {}
        for cluster in self._clusters:
            if not cluster.joined:
                continue
            values = out[cluster.name] = {}
            for namespace, name in snapshot.services(cluster.id):
                entries = snapshot.record(cluster.id, namespace, name)
                if entries is not None:
                    service = cluster.objects[("Service", namespace, name)]
                    values[f"{namespace}/{name}"] = export(cluster, namespace, name, service, entries)
        return out

    def expect(self) -> dict[str, Any]:
        snapshot = self._core.snapshot()
        names = {cluster.id: cluster.name for cluster in self._clusters}
        return {
            cluster.name: [
                frontend_of(f"{namespace}/{name}", found, names)
                for namespace, name in sorted(
                    snapshot.services(cluster.id), key=lambda service: f"{service[0]}/{service[1]} "
                )
                for found in snapshot.frontends(cluster.id, namespace, name, cluster.node)
            ]
            for cluster in self._clusters
            if cluster.joined
        }

    def answer(self) -> dict[str, Any]:
        return {"exports": self.exports(), "expect": self.expect()}


def owner(document: Document) -> tuple[str, str]:
    """Namespace and name of the service that a slice belongs to."""
    named = manifests.labels(document).get("kubernetes.io/service-name", "")
    return (document["metadata"].get("namespace", ""), named)


def export(
    cluster: Cluster, namespace: str, name: str, service: Document, entries: list[Any]
) -> dict[str, Any]:
    value: dict[str, Any] = {
        "cluster": cluster.name,
        "namespace": namespace,
        "name": name,
        "clusterID": cluster.id,
        "backends": {},
        **manifests.record_head(service),
    }
    hostnames, zones = {}, {}
    for address, hostname, zone, for_zones, ports in entries:
        value["backends"][address] = {
            port_name: {"Protocol": PROTOCOL_NAMES[protocol], "Port": port}
            for port_name, protocol, port in ports
        }
        if hostname:
            hostnames[address] = hostname
        if zone:
            zones[address] = {"zone": zone, "forZones": [{"name": hint} for hint in for_zones]}
    if hostnames:
        value["hostnames"] = hostnames
    if zones:
        value["zones"] = zones
    return value


def frontend_of(service: str, found: Any, names: dict[int, str]) -> dict[str, Any]:
    type_, internal, address, port, protocol, port_name, backends, in_use = found
    return {
        "service": service,
        "type": TYPE_NAMES[type_],
        **({"scope": "internal"} if internal else {}),
        "address": address,
        "port": port,
        "protocol": PROTOCOL_NAMES[protocol],
        "port_name": port_name,
        "in_use": in_use,
        "backends": [
            {
                "cluster": names[cluster],
                "address": at,
                "port": number,
                "protocol": PROTOCOL_NAMES[proto],
                "port_names": list(port_names),
                "state": STATE_NAMES[state],
                "weight": weight,
            }
            for cluster, at, number, proto, port_names, state, weight, _ in backends
        ],
    }
