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
_APART = "no cluster hears another"
_EMPTY = "no cluster joins"
_OUT = "the cluster is left out"
_LONGEST = 60  # letters of a value that is shown
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


@attrs.frozen
class FleetProblem:
    """
    One thing in a fleet file that can't be understood.

    Attributes:
        effect: What is so until it is mended, such as `no cluster hears another`; "" where only the entry
            itself is missing.
    """

    message: str
    line: int
    effect: str = ""


@attrs.frozen(kw_only=True)
class FleetFile:
    """
    What a fleet file says, and what is wrong with it: an entry that can't be understood is refused by
    name, and the rest is in force.

    What stands at the top could change every answer. Where some of it can't be understood nobody hears
    anybody, so that no cluster is shown to another that was to be kept apart.

    Attributes:
        readable: False where the file holds nothing that could be a fleet.
    """

    name: str
    path: Path | None = None
    topology: Topology = attrs.field(factory=Topology.full)
    mode: str | None = None
    max_connected_clusters: int = 255
    common: tuple[str, ...] = ()
    clusters: tuple[ClusterEntry, ...] = ()
    problems: tuple[FleetProblem, ...] = ()
    readable: bool = True

    def findings(self, *, refused: bool = False) -> tuple[Finding, ...]:
        """
        Its problems. `refused` tells that nothing of the file is in force, but what it said before.
        """
        found = []
        for each in self.problems:
            effect = f"; {each.effect} until this is mended" if each.effect else ""
            if refused:
                effect = "; what the file said before is in force"
            where = Origin(str(self.path), 1, each.line)
            message = f"{each.message}{effect}"
            found.append(finding("fleet-file-problem", str(self.path), message, where=where))
        return tuple(found)


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
        self.problems: list[FleetProblem] = []
        self.lines: dict[str, int] = {}  # place of a key or an item, as `clusters[0].id` -> its line, from 1

    def refuse(self, place: str, message: str, effect: str = "", line: int = 0) -> None:
        number = line or self.lines.get(place) or self.lines.get(place.partition(".")[0], 1)
        self.problems.append(FleetProblem(message, number, effect))

    def result(self) -> FleetFile:
        default = self.path.parent.resolve().name or "mesh"
        content = self._content()
        if content is None:
            problems = tuple(self.problems)
            return FleetFile(name=default, path=self.path, problems=problems, readable=False)
        values: dict[str, Any] = {"name": default}
        for key, value in content.items():
            self._top(values, key, value)
        if any(each.effect == _APART for each in self.problems):
            values["topology"] = Topology.pairs([])
        return FleetFile(path=self.path, problems=tuple(self.problems), **values)

    def _content(self) -> Mapping[str, Any] | None:
        loader = _LOADER(self.path.read_bytes())
        try:
            node = loader.get_single_node()
            # Before merge keys are carried out: afterwards what they override looks as if it was given twice.
            self._note_places(node, "", set())
            content = None if node is None else loader.construct_document(node)
        except yaml.YAMLError as error:
            mark = getattr(error, "problem_mark", None)
            message = f"it is not YAML: {getattr(error, 'problem', error)}"
            self.refuse("", message, _EMPTY, mark.line + 1 if mark else 0)
            return None
        except ValueError as error:
            self.refuse("", f"it is not YAML: {error}", _EMPTY)
            return None
        finally:
            loader.dispose()
        if not isinstance(content, dict):
            self.refuse("", f"it is {_shown(content)}; expected a mapping with the key clusters", _EMPTY)
            return None
        return content

    def _note_places(self, node: yaml.Node | None, place: str, seen: set[int]) -> None:
        """Where everything stands; what a mapping says twice is refused, since one of the two is lost."""
        if node is None or id(node) in seen:
            return  # an alias may even hold itself
        seen.add(id(node))
        if isinstance(node, yaml.SequenceNode):
            for number, item in enumerate(node.value):
                here = f"{place}[{number}]"
                self.lines[here] = item.start_mark.line + 1
                self._note_places(item, here, seen)
        elif isinstance(node, yaml.MappingNode):
            given: set[str] = set()
            for key, value in node.value:
                here = f"{place}.{key.value}" if place else str(key.value)
                line = self.lines[here] = key.start_mark.line + 1
                if here in given:
                    effect = _APART if not place and here != "name" else ""
                    self.refuse(here, f"{here} is given twice; the later one counts", effect, line)
                given.add(here)
                self._note_places(value, here, seen)

    def _top(self, values: dict[str, Any], key: object, value: Any) -> None:
        match key:
            case "name":
                good = isinstance(value, str) and bool(value)
                self._keep(values, "name", value, "name", good=good, expected="a text")
            case "topology":
                try:
                    values["topology"] = Topology.parse(value)
                except TopologyError as error:
                    self.refuse("topology", str(error), _APART)
            case "mode":
                good = value in ("cilium", "strict")
                self._keep(values, "mode", value, key, good=good, expected="cilium or strict", effect=_APART)
            case "maxConnectedClusters":
                good = value in MEMBER_LIMITS and not isinstance(value, bool)
                name, expected = "max_connected_clusters", "255 or 511"
                self._keep(values, name, value, key, good=good, expected=expected, effect=_APART)
            case "common":
                self._keep_texts(values, "common", value, "common", "paths", _APART)
            case "clusters":
                if isinstance(value, list):
                    entries = (self._cluster(number, entry) for number, entry in enumerate(value))
                    values["clusters"] = tuple(entry for entry in entries if entry is not None)
                else:
                    self.refuse(
                        "clusters", f"clusters is {_shown(value)}; expected a list of clusters", _EMPTY
                    )
            case _:
                known = "name, topology, mode, maxConnectedClusters, common, clusters"
                self.refuse(str(key), f"unknown key {key!r}; there are {known}", _APART)

    def _cluster(self, number: int, entry: Any) -> ClusterEntry | None:
        place = f"clusters[{number}]"
        if not isinstance(entry, dict):
            self.refuse(place, f"{place} is {_shown(entry)}; expected a mapping with name and id", _OUT)
            return None
        lacking = [key for key in ("name", "id") if key not in entry]
        for key in lacking:
            self.refuse(place, f"{place} has no {key}", _OUT)
        if lacking:
            return None
        values: dict[str, Any] = {"name": entry["name"], "cluster_id": entry["id"]}
        for key, value in entry.items():
            self._cluster_key(values, f"{place}.{key}", key, value)
        return ClusterEntry(origin=Origin(str(self.path), 1, self.lines.get(place, 1)), **values)

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
                    self.refuse(place, f"{place} is {_shown(value)}; expected a mapping")
            case _:
                known = (
                    "name, id, manifests, labels, podCIDRs, serviceCIDRs, nodeCIDRs, routingDomain, settings"
                )
                entry = place.removesuffix(f".{key}")
                self.refuse(place, f"{entry} has the unknown key {key!r}; there are {known}")

    def _settings(self, place: str, given: Mapping[Any, Any]) -> ClusterSettings:
        good: dict[str, Any] = {}
        for key, value in given.items():
            try:
                ClusterSettings.from_mapping({str(key): value})
                good[str(key)] = value
            except ValueError as error:
                self.refuse(f"{place}.{key}", f"{place}: {error}")
        return ClusterSettings.from_mapping(good)

    def _keep_texts(
        self, values: dict[str, Any], name: str, value: Any, place: str, what: str, effect: str = ""
    ) -> None:
        """A list of texts, or one text."""
        texts = [value] if isinstance(value, str) else value
        if isinstance(texts, list) and all(isinstance(each, str) for each in texts):
            values[name] = tuple(texts)
        else:
            self.refuse(place, f"{place} is {_shown(value)}; expected a list of {what}", effect)

    def _keep(
        self,
        values: dict[str, Any],
        name: str,
        value: Any,
        place: str,
        *,
        good: bool,
        expected: str,
        effect: str = "",
    ) -> None:
        if good:
            values[name] = value
        else:
            self.refuse(place, f"{place} is {_shown(value)}; expected {expected}", effect)


def _shown(value: Any) -> str:
    """What was found, as a text of a line's length at most."""
    if value is None:
        return "empty"
    text = repr(value)
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 3]}..."
