"""
One service in all members, read once from a snapshot for the rules that judge it.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from functools import cached_property
from typing import TYPE_CHECKING, NamedTuple

import attrs

from fleetmesh.findings import Finding, finding

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


Socket = tuple[str, int, int]
"""Address, port and protocol."""


@attrs.frozen(slots=False)
class ServiceFacts:
    """
    One service in all members.

    Attributes:
        specs: By cluster id, of the members that have the Service.
        rows: By cluster id, of the members that have endpoints of it.
        exported: By cluster id, of the members that export endpoints: the port names of each socket.
        unhinted: The exporters of which some address has no zone hints.
    """

    judge: Judge
    namespace: str
    name: str
    specs: Mapping[int, ServiceSpec]
    rows: Mapping[int, tuple[Row, ...]]
    exported: Mapping[int, Mapping[Socket, frozenset[str]]]
    unhinted: frozenset[int]

    @property
    def importers(self) -> tuple[int, ...]:
        """The members whose Service is global: those that use what others export."""
        return tuple(cluster for cluster, spec in self.specs.items() if spec.is_global)

    @cached_property
    def heard(self) -> Mapping[int, frozenset[int]]:
        """The exporters of endpoints that each member hears, whether it uses them or not."""
        return {viewer: hears.intersection(self.exported) for viewer, hears in self.judge.hears.items()}

    def sources(self, viewer: int) -> frozenset[int]:
        """The exporters whose endpoints a member may use."""
        spec = self.specs.get(viewer)
        return self.heard[viewer] if spec is not None and spec.is_global else frozenset()

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
    def used_exporters(self) -> tuple[int, ...]:
        """The exporters whose endpoints somebody may use, sorted."""
        used: set[int] = set()
        for viewer in self.importers:
            used |= self.heard[viewer]
        return tuple(sorted(used))

    def exported_rows(self, cluster: int) -> list[Row]:
        """The rows of an exporter that others get."""
        offered = self.exported[cluster]
        return [row for row in self.rows.get(cluster, ()) if (row.address, row.port, row.protocol) in offered]

    def report(self, code: str, message: str, evidence: Iterable[str] = ()) -> Finding:
        """A finding about the service."""
        return finding(code, f"Service {self.namespace}/{self.name}", message, evidence)


def read_facts(judge: Judge, namespace: str, name: str) -> ServiceFacts:
    """The facts of a service; costs as much as its endpoints are many."""
    snapshot = judge.snapshot
    specs: dict[int, ServiceSpec] = {}
    rows: dict[int, tuple[Row, ...]] = {}
    exported: dict[int, Mapping[Socket, frozenset[str]]] = {}
    unhinted: set[int] = set()
    exporters = frozenset(snapshot.exporters(namespace, name))
    for cluster in snapshot.holders(namespace, name):
        spec = snapshot.spec(cluster, namespace, name)
        if spec is not None:
            specs[cluster] = spec
        own = tuple(Row(*row) for row in snapshot.backends(cluster, namespace, name))
        if own:
            rows[cluster] = own
        record = snapshot.record(cluster, namespace, name) if cluster in exporters else None
        if record:
            offered: defaultdict[Socket, set[str]] = defaultdict(set)
            for address, _, _, hints, ports in record:
                for port_name, protocol, port in ports:
                    offered[address, port, protocol].add(port_name)
                if not hints:
                    unhinted.add(cluster)
            exported[cluster] = {socket: frozenset(names) for socket, names in offered.items()}
    return ServiceFacts(judge, namespace, name, specs, rows, exported, frozenset(unhinted))


def bracketed(address: str) -> str:
    """An address as it stands before a port."""
    return f"[{address}]" if ":" in address else address


def counted(addresses: Iterable[str]) -> str:
    """Some addresses for a sentence: the only one, or how many."""
    found = list(addresses)
    return f"address {found[0]}" if len(found) == 1 else f"{len(found)} addresses"
