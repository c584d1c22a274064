"""
One service in all members, read once from a snapshot for the rules that judge it.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from operator import itemgetter
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

import attrs

from fleetmesh.findings import Finding, finding
from fleetmesh.services.annotations import DEFAULT_WEIGHT

if TYPE_CHECKING:
    from fleetmesh._core import ServiceSpec, Snapshot
    from fleetmesh.services.lacking import Lack

SHOWN = 8
"""How many names or addresses a sentence lists; the rest is counted."""

SERVING = frozenset({0, 1})
"""The states, active and terminating, of a backend that may take connections."""


def _nothing(cluster_id: int, namespace: str, name: str) -> None:  # noqa: ARG001 (the shape of `lack`)
    return None


def _never(cluster_id: int, namespace: str, name: str) -> bool:  # noqa: ARG001 (the shape of `synced`)
    return False


@attrs.frozen(slots=False)
class Judge:
    """
    One snapshot, with what its facts don't tell.

    Attributes:
        names: The name of each member by its cluster id.
        strict: Whether the mesh is in strict mode, which doesn't reproduce most quirks.
        service_topology: The members that have the setting of that name on.
        lack: Why a member's Service (cluster id, namespace, name) has no endpoint of its own; None for one
            that ought to have none, as one that is filled by hand or by an import.
        synced: Whether clients of a member's headless Service find endpoints of other clusters by its name.
    """

    snapshot: Snapshot
    names: Mapping[int, str]
    strict: bool = False
    service_topology: frozenset[int] = frozenset()
    lack: Callable[[int, str, str], Lack | None] = _nothing
    synced: Callable[[int, str, str], bool] = _never

    @cached_property
    def hears(self) -> Mapping[int, frozenset[int]]:
        """Whom each member hears; asked once for all services."""
        return {cluster: frozenset(self.snapshot.hears(cluster)) for cluster in self.names}

    def listed(self, clusters: Iterable[int]) -> str:
        """The names of clusters for a sentence."""
        found = [self.names[cluster] for cluster in sorted(clusters)]
        more = f" and {len(found) - SHOWN} more" if len(found) > SHOWN else ""
        return ", ".join(found[:SHOWN]) + more

    def graded(self, found: Finding) -> Finding:
        """A finding that is as bad as its code says in strict mode only, and else a warning."""
        return found if self.strict else attrs.evolve(found, severity="warning")


class Row(NamedTuple):
    """A backend as its own cluster has it; protocol and state are the core's numbers."""

    slice: str
    address: str
    port: int
    protocol: int
    names: tuple[str, ...]
    state: int
    weight: int
    node: str
    zone: str
    hostname: str


class Kind(NamedTuple):
    """What rows that differ by nothing else have in common: few, however many endpoints there are."""

    slice: str
    protocol: int
    names: tuple[str, ...]
    state: int
    weight: int


Socket = tuple[str, int, int]
"""Address, port and protocol."""

Port = tuple[int, str]
"""Protocol number and port name."""

Offer = tuple[int, frozenset[str]]
"""The protocol of a port and the names that it has in a record."""

CoreRow: TypeAlias = tuple[str, str, int, int, tuple[str, ...], int, int, str, str, str]
CorePort: TypeAlias = tuple[str, int, int]
CoreEntry: TypeAlias = tuple[str, str, str, tuple[str, ...], list[CorePort]]

_KIND = itemgetter(0, 3, 4, 5, 6)  # of a CoreRow: the fields of its Kind
_PORTS = itemgetter(4)  # of a CoreEntry


@attrs.frozen(slots=False)
class ServiceFacts:
    """
    One service in all members. What most services have no need of is worked out when it is asked for.

    Attributes:
        specs: By cluster id, of the members that have the Service.
        kinds: By cluster id, of the members that have endpoints of it: the kinds of their rows.
    """

    judge: Judge
    namespace: str
    name: str
    specs: Mapping[int, ServiceSpec]
    kinds: Mapping[int, frozenset[Kind]]
    _rows: Mapping[int, Sequence[CoreRow]]
    _records: Mapping[int, Sequence[CoreEntry]]
    _offered: dict[int, frozenset[Socket]] = attrs.field(factory=dict, init=False)

    @property
    def importers(self) -> tuple[int, ...]:
        """The members whose Service is global: those that use what others export."""
        return tuple(cluster for cluster, spec in self.specs.items() if spec.is_global)

    @cached_property
    def exporters(self) -> frozenset[int]:
        """The members that export endpoints."""
        return frozenset(self._records)

    @cached_property
    def named_ports(self) -> Mapping[frozenset[Port], list[int]]:
        """The members that have frontends with named ports, by these."""
        alike: defaultdict[frozenset[Port], list[int]] = defaultdict(list)
        for cluster, spec in self.specs.items():
            ports = frozenset((protocol, name) for *_, protocol, name in spec.frontends if name)
            if ports and not spec.headless:
                alike[ports].append(cluster)
        return alike

    @cached_property
    def _port_lists(self) -> Mapping[int, frozenset[tuple[CorePort, ...]]]:
        """Of each exporter the ports of its addresses, which mostly have the same."""
        return {
            cluster: frozenset(map(tuple, map(_PORTS, record))) for cluster, record in self._records.items()
        }

    @cached_property
    def offers(self) -> Mapping[int, frozenset[Offer]]:
        """The ports of each exporter."""
        return {
            cluster: frozenset(offer for ports in lists for offer in _by_number(ports))
            for cluster, lists in self._port_lists.items()
        }

    @cached_property
    def unhinted(self) -> frozenset[int]:
        """The exporters of which some address has no zone hints."""
        return frozenset(
            cluster
            for cluster, record in self._records.items()
            if any(not hints for _, _, _, hints, _ in record)
        )

    @cached_property
    def portless(self) -> frozenset[int]:
        """The exporters of which some address has no port."""
        return frozenset(cluster for cluster, lists in self._port_lists.items() if () in lists)

    def rows(self, cluster: int) -> list[Row]:
        """The rows of a member."""
        return [Row._make(row) for row in self._rows.get(cluster, ())]

    def offered(self, cluster: int) -> frozenset[Socket]:
        """What the record of an exporter lists."""
        if cluster not in self._offered:
            self._offered[cluster] = frozenset(
                (address, port, protocol)
                for address, *_, ports in self._records[cluster]
                for _, protocol, port in ports
            )
        return self._offered[cluster]

    def exported_rows(self, cluster: int) -> list[Row]:
        """The rows of an exporter that others get."""
        offered = self.offered(cluster)
        return [row for row in self.rows(cluster) if (row.address, row.port, row.protocol) in offered]

    def heard(self, viewer: int) -> frozenset[int]:
        """The exporters of endpoints that a member hears, whether it uses them or not."""
        return self.judge.hears[viewer] & self.exporters

    def sources(self, viewer: int) -> frozenset[int]:
        """The exporters whose endpoints a member may use."""
        spec = self.specs.get(viewer)
        return self.heard(viewer) if spec is not None and spec.is_global else frozenset()

    def served_by_others(self, viewer: int) -> bool:
        """Whether a member has backends of other clusters in use."""
        if not self.sources(viewer):
            return False
        if self.specs[viewer].headless:
            return self.judge.synced(viewer, self.namespace, self.name)
        frontends = self.judge.snapshot.frontends(viewer, self.namespace, self.name)
        return any(
            backend[0] != viewer for *_, backends, in_use in frontends for backend in backends[:in_use]
        )

    @cached_property
    def uneven_exporters(self) -> tuple[int, ...]:
        """
        The exporters whose endpoints somebody may use and are not all active and of the usual weight, sorted.
        """
        uneven = {
            cluster
            for cluster in self.exporters
            if any(kind.state or kind.weight != DEFAULT_WEIGHT for kind in self.kinds.get(cluster, ()))
        }
        return tuple(
            sorted(e for e in uneven if any(e in self.judge.hears[viewer] for viewer in self.importers))
        )

    def report(self, code: str, message: str, evidence: Iterable[str] = ()) -> Finding:
        """A finding about the service."""
        return finding(code, f"Service {self.namespace}/{self.name}", message, evidence)


def read_facts(judge: Judge, namespace: str, name: str) -> ServiceFacts:
    """The facts of a service; costs as much as its endpoints are many."""
    snapshot = judge.snapshot
    specs: dict[int, ServiceSpec] = {}
    rows: dict[int, Sequence[CoreRow]] = {}
    kinds: dict[int, frozenset[Kind]] = {}
    records: dict[int, Sequence[CoreEntry]] = {}
    exporters = frozenset(snapshot.exporters(namespace, name))
    for cluster in snapshot.holders(namespace, name):
        spec = snapshot.spec(cluster, namespace, name)
        if spec is not None:
            specs[cluster] = spec
        own = snapshot.backends(cluster, namespace, name)
        if own:
            rows[cluster] = own
            kinds[cluster] = frozenset(map(Kind._make, frozenset(map(_KIND, own))))
        record = snapshot.record(cluster, namespace, name) if cluster in exporters else None
        if record:
            records[cluster] = record
    return ServiceFacts(judge, namespace, name, specs, kinds, rows, records)


def _by_number(ports: Iterable[CorePort]) -> Iterator[Offer]:
    """The ports of one address, each with all its names."""
    names: defaultdict[tuple[int, int], set[str]] = defaultdict(set)
    for name, protocol, port in ports:
        names[protocol, port].add(name)
    for (protocol, _), found in names.items():
        yield protocol, frozenset(found)


def bracketed(address: str) -> str:
    """An address as it stands before a port."""
    return f"[{address}]" if ":" in address else address


def counted(addresses: Iterable[str]) -> str:
    """Some addresses for a sentence: the only one, or how many."""
    found = list(addresses)
    return f"address {found[0]}" if len(found) == 1 else f"{len(found)} addresses"
