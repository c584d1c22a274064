"""
What is known of a member that another process runs: its records, as it published them last.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from functools import lru_cache
from typing import TYPE_CHECKING, TypeAlias

import attrs

from fleetmesh.identity.cow import CowGroups, CowMap
from fleetmesh.policy.labels import Label, LabelSet
from fleetmesh.policy.registry import FIRST_OF_PODS, RESERVED, labels_of_reserved

if TYPE_CHECKING:
    from fleetmesh.mesh.heard_pods import Records
    from fleetmesh.mesh.store import Name
    from fleetmesh.records import EndpointsRecord, ExportRecord, IpRecord, NodeRecord, ServiceRecord

RecordKey: TypeAlias = tuple[str, str]
"""
Kind as of `Member.records`, and name: of a node its name, of services, endpoints and exports
`namespace/name`, of an identity its number, of an ip its address.
"""

RECORD_KINDS = ("node", "service", "endpoints", "identity", "ip", "export")

UNHEARD = "unheard"
"""Source of the one label of an identity that nobody has told the labels of."""

_NAME_OF_RESERVED: Mapping[int, str] = {number: name for name, number in RESERVED.items()}


@attrs.define
class Heard:
    """
    Attributes:
        identities: Number -> labels.
        ips: Address -> its record; networks too, which are nobody's.
        pods: Namespace and name -> the records of its addresses.
        carriers: Number of an identity -> how many pods have it.
        numbers: Labels -> the numbers that they have, of those that pods have.
        endpoints: Service -> slice -> its record, in mode `strict`, which reads their conditions.
    """

    nodes: CowMap[str, NodeRecord] = attrs.field(factory=CowMap)
    services: CowMap[Name, ServiceRecord] = attrs.field(factory=CowMap)
    endpoints: CowGroups[Name, str, EndpointsRecord] = attrs.field(factory=CowGroups)
    service_of: CowMap[Name, str] = attrs.field(factory=CowMap)
    identities: CowMap[int, LabelSet] = attrs.field(factory=CowMap)
    ips: CowMap[str, IpRecord] = attrs.field(factory=CowMap)
    pods: CowMap[Name, Records] = attrs.field(factory=CowMap)
    carriers: CowMap[int, int] = attrs.field(factory=CowMap)
    numbers: CowMap[LabelSet, frozenset[int]] = attrs.field(factory=CowMap)
    exports: CowMap[Name, ExportRecord] = attrs.field(factory=CowMap)
    _by_namespace: Mapping[str, Collection[str]] | None = attrs.field(default=None, init=False)

    def copy(self) -> Heard:
        """The same, to be changed separately; costs nothing that grows with it."""
        other = Heard.__new__(Heard)
        for name in _MAPS:
            setattr(other, name, getattr(self, name).copy())
        other._by_namespace = self._by_namespace
        return other

    def set_pod(self, name: Name, records: Records) -> None:
        """What is known of a pod; nothing any more without records."""
        if not records or name not in self.pods:
            self._by_namespace = None
        self.pods.keep(name, records, present=bool(records))

    @property
    def pods_by_namespace(self) -> Mapping[str, Collection[str]]:
        """Namespace -> the names of its pods. Kept until one comes or goes."""
        if self._by_namespace is None:
            found: dict[str, list[str]] = {}
            for namespace, name in self.pods:
                found.setdefault(namespace, []).append(name)
            self._by_namespace = found
        return self._by_namespace

    def count(self, kind: str) -> int:
        """Of the records of a kind."""
        match kind:
            case "identity":
                return len(self.identities)
            case "service":
                return len(self.services)
            case "endpoints":
                return len(self.service_of)
            case "export":
                return len(self.exports)
        return len(self.names(kind))

    def names(self, kind: str) -> Collection[str]:
        """Of the records of a kind, as in their keys."""
        match kind:
            case "ip":
                return self.ips
            case "node":
                return self.nodes
            case "identity":
                return list(map(str, self.identities))
            case "service":
                return list(map("/".join, self.services))
            case "endpoints":
                return list(map("/".join, self.service_of))
            case "export":
                return list(map("/".join, self.exports))
        raise ValueError(f"record kind {kind!r}; expected {', '.join(RECORD_KINDS)}")

    def labels_of(self, number: int) -> LabelSet:
        """What an identity is known by."""
        if number < FIRST_OF_PODS:
            return reserved_labels(number)
        return self.identities.get(number) or unheard_labels(number)


_MAPS = tuple(field.name for field in attrs.fields(Heard) if field.init)


@lru_cache(maxsize=1 << 15)
def parse_labels(text: str) -> LabelSet:
    """Of an identity's record: `source:key=value;` each (pkg/labels, `NewLabelArrayFromSortedList`)."""
    return LabelSet.of(_label(each) for each in text.split(";") if each)


@lru_cache(maxsize=4096)
def labels_text(labels: LabelSet) -> str:
    """The labels of an identity by key, each with a semicolon (Cilium pkg/labels, `SortedList`)."""
    return "".join(
        f"{each.source}:{each.key}={each.value};" for each in sorted(labels, key=lambda each: each.key)
    )


@lru_cache(maxsize=1 << 16)
def _label(text: str) -> Label:
    name, _, value = text.partition("=")
    source, colon, key = name.partition(":")
    return Label(source, key, value) if colon else Label("unspec", name, value)


@lru_cache(maxsize=1 << 12)
def unheard_labels(number: int) -> LabelSet:
    """
    Of an identity of which only the number is known: no selector selects it, as in Cilium, where the cache of
    selectors doesn't have it.
    """
    return LabelSet.of([Label(UNHEARD, str(number), "")])


@lru_cache
def reserved_labels(number: int) -> LabelSet:
    """Of an identity that every cluster has; `unheard_labels` of those that users may reserve."""
    name = _NAME_OF_RESERVED.get(number)
    return unheard_labels(number) if name is None else labels_of_reserved(name)


def is_unheard(labels: LabelSet) -> bool:
    """Whether only the number of an identity is known."""
    return len(labels.labels) == 1 and labels.labels[0].source == UNHEARD
