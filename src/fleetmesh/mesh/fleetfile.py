"""
`fleet.yaml`: which clusters a directory holds.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import attrs
import yaml

from fleetmesh.errors import TopologyError
from fleetmesh.findings import Finding, finding
from fleetmesh.mesh.limits import MEMBER_LIMITS
from fleetmesh.mesh.settings import ClusterSettings
from fleetmesh.mesh.topology import Topology
from fleetmesh.resources.model import Origin

FLEET_FILE = "fleet.yaml"
_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_RANGES = {"podCIDRs": "pod_cidrs", "serviceCIDRs": "service_cidrs", "nodeCIDRs": "node_cidrs"}


@attrs.frozen(kw_only=True)
class ClusterEntry:
    """
    One cluster of a fleet file; fields as the arguments of `Mesh.join`.

    Attributes:
        manifests: Paths relative to the file; `None` means the folder of the cluster's name.
    """

    name: Any
    cluster_id: Any
    manifests: tuple[str, ...] | None = None
    labels: Mapping[str, str] = attrs.field(factory=dict)
    settings: ClusterSettings = ClusterSettings()
    pod_cidrs: tuple[str, ...] = ()
    service_cidrs: tuple[str, ...] = ()
    node_cidrs: tuple[str, ...] = ()
    routing_domain: str | None = None
    origin: Origin | None = None


@attrs.frozen(kw_only=True)
class FleetFile:
    """
    What a fleet file says, and what is wrong with it: an entry that can't be understood is refused by
    name, and the rest is in force.

    Attributes:
        readable: False where the file holds nothing that could be a fleet.
    """

    name: str
    topology: Topology = attrs.field(factory=Topology.full)
    mode: str | None = None
    max_connected_clusters: int = 255
    common: tuple[str, ...] = ()
    clusters: tuple[ClusterEntry, ...] = ()
    findings: tuple[Finding, ...] = ()
    readable: bool = True


def read_fleet_file(path: Path) -> FleetFile:
    """
    Read a fleet file. No content raises.

    Raises:
        OSError: The file can't be read.
    """
    return _Reading(path).result()


class _Reading:
    """What has been found in a fleet file so far."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.findings: list[Finding] = []
        self.lines: dict[int, int] = {}  # number of a cluster -> the line on which it begins

    def refuse(self, place: str, message: str, line: int = 0) -> None:
        number = int(place[9 : place.index("]")]) if place.startswith("clusters[") else -1
        where = Origin(str(self.path), 1, line or self.lines.get(number, 1))
        self.findings.append(
            finding("fleet-file-problem", f"{self.path.name} {place}".strip(), message, (), where)
        )

    def result(self) -> FleetFile:
        default = self.path.parent.resolve().name or "mesh"
        content = self._content()
        if content is None:
            return FleetFile(name=default, findings=tuple(self.findings), readable=False)
        values: dict[str, Any] = {"name": default}
        for key, value in content.items():
            self._top(values, key, value)
        return FleetFile(findings=tuple(self.findings), **values)

    def _content(self) -> Mapping[str, Any] | None:
        loader = _LOADER(self.path.read_bytes())
        try:
            node = loader.get_single_node()
            content = None if node is None else loader.construct_document(node)
            self.lines = _lines_of_clusters(node)
        except yaml.YAMLError as error:
            mark = getattr(error, "problem_mark", None)
            self.refuse("", f"is not YAML: {getattr(error, 'problem', error)}", mark.line + 1 if mark else 0)
            return None
        except ValueError as error:
            self.refuse("", f"is not YAML: {error}")
            return None
        finally:
            loader.dispose()
        if not isinstance(content, dict):
            self.refuse("", "expected a mapping with the key clusters")
            return None
        return content

    def _top(self, values: dict[str, Any], key: object, value: Any) -> None:
        match key:
            case "name":
                good = isinstance(value, str) and bool(value)
                self._keep(values, "name", value, "name", good=good, expected="a text")
            case "topology":
                try:
                    values["topology"] = Topology.parse(value)
                except TopologyError as error:
                    self.refuse("topology", str(error))
            case "mode":
                good = value in ("cilium", "strict")
                self._keep(values, "mode", value, "mode", good=good, expected="cilium or strict")
            case "maxConnectedClusters":
                good = value in MEMBER_LIMITS and not isinstance(value, bool)
                self._keep(values, "max_connected_clusters", value, key, good=good, expected="255 or 511")
            case "common":
                self._keep_texts(values, "common", value, "common", "paths")
            case "clusters":
                if isinstance(value, list):
                    entries = (self._cluster(number, entry) for number, entry in enumerate(value))
                    values["clusters"] = tuple(entry for entry in entries if entry is not None)
                else:
                    self.refuse("clusters", f"is {value!r}; expected a list of clusters")
            case _:
                known = "name, topology, mode, maxConnectedClusters, common, clusters"
                self.refuse(str(key), f"unknown key {key!r}; there are {known}")

    def _cluster(self, number: int, entry: Any) -> ClusterEntry | None:
        place = f"clusters[{number}]"
        if not isinstance(entry, dict):
            self.refuse(place, f"is {entry!r}; expected a mapping with name and id")
            return None
        lacking = [key for key in ("name", "id") if key not in entry]
        for key in lacking:
            self.refuse(place, f"has no {key}; the cluster is left out")
        if lacking:
            return None
        values: dict[str, Any] = {"name": entry["name"], "cluster_id": entry["id"]}
        for key, value in entry.items():
            self._cluster_key(values, f"{place}.{key}", key, value)
        return ClusterEntry(origin=Origin(str(self.path), 1, self.lines.get(number, 1)), **values)

    def _cluster_key(self, values: dict[str, Any], place: str, key: object, value: Any) -> None:
        match key:
            case "name" | "id":
                pass  # judged by the mesh, which knows the others
            case "manifests":
                self._keep_texts(values, "manifests", value, place, "paths")
            case "labels":
                good = isinstance(value, dict) and all(
                    isinstance(part, str) for item in value.items() for part in item
                )
                self._keep(values, "labels", value, place, good=good, expected="a mapping of texts")
            case "podCIDRs" | "serviceCIDRs" | "nodeCIDRs":
                self._keep_texts(values, _RANGES[key], value, place, "CIDRs")
            case "routingDomain":
                good = isinstance(value, str)
                self._keep(values, "routing_domain", value, place, good=good, expected="a text")
            case "settings":
                if isinstance(value, dict):
                    values["settings"] = self._settings(place, value)
                else:
                    self.refuse(place, f"is {value!r}; expected a mapping")
            case _:
                known = (
                    "name, id, manifests, labels, podCIDRs, serviceCIDRs, nodeCIDRs, routingDomain, settings"
                )
                self.refuse(place, f"unknown key {key!r}; there are {known}")

    def _keep_texts(self, values: dict[str, Any], name: str, value: Any, place: str, what: str) -> None:
        texts = _texts(value)
        self._keep(values, name, texts, place, good=texts is not None, expected=f"a list of {what}")

    def _settings(self, place: str, given: Mapping[Any, Any]) -> ClusterSettings:
        good: dict[str, Any] = {}
        for key, value in given.items():
            try:
                ClusterSettings.from_mapping({str(key): value})
                good[str(key)] = value
            except ValueError as error:
                self.refuse(f"{place}.{key}", str(error))
        return ClusterSettings.from_mapping(good)

    def _keep(
        self, values: dict[str, Any], name: str, value: Any, place: str, *, good: bool, expected: str
    ) -> None:
        if good:
            values[name] = value
        else:
            self.refuse(place, f"is not understood; expected {expected}")


def _texts(value: Any) -> tuple[str, ...] | None:
    """A list of texts, or one text, as a tuple; `None` for anything else."""
    if isinstance(value, str):
        return (value,)
    if isinstance(value, list) and all(isinstance(each, str) for each in value):
        return tuple(value)
    return None


def _lines_of_clusters(node: yaml.Node | None) -> dict[int, int]:
    """Number of a cluster -> the line on which it begins, from 1."""
    if not isinstance(node, yaml.MappingNode):
        return {}
    for key, value in node.value:
        if key.value == "clusters" and isinstance(value, yaml.SequenceNode):
            return {number: each.start_mark.line + 1 for number, each in enumerate(value.value)}
    return {}
