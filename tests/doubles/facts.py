"""
What the members of a mesh declared, held in plain dicts, and what each publishes of it.

Nothing here is derived and kept but one thing: the revision at which a member's record of a service
last changed, because that cannot be told from the facts.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, TypeAlias

import attrs

Key: TypeAlias = tuple[str, str]  # namespace, name
Socket: TypeAlias = tuple[str, int, int]  # address, port, protocol
Endpoint: TypeAlias = tuple[tuple[str, ...], int, str, str, str, tuple[str, ...]]
Port: TypeAlias = tuple[str, int, int]  # name, protocol, port
FrontendSpec: TypeAlias = tuple[int, bool, str, int, int, str]
RecordEntry: TypeAlias = tuple[str, str, str, tuple[str, ...], list[Port]]

ACTIVE, TERMINATING, TERMINATING_NOT_SERVING, QUARANTINED, MAINTENANCE = range(5)
READY, SERVING, ENDING = 1, 2, 4
INGRESS_DUMMY = ("192.192.192.192", 9999)
LOADED = ""  # the slice that holds what `load` brought; no Kubernetes object has an empty name


def canonical(address: str) -> str | None:
    """The address as Go's `netip.Addr.String` writes it, `None` for what is none (or has a zone)."""
    if "%" in address:
        return None
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return None
    if isinstance(parsed, ipaddress.IPv6Address) and parsed.ipv4_mapped is not None:
        return f"::ffff:{parsed.ipv4_mapped}"
    return str(parsed)


def is_v6(address: str) -> bool:
    return ":" in address


def rank(address: str) -> tuple[bool, int]:
    """Sorts addresses as `netip.Addr.Compare` does: IPv4 first, then by number."""
    return (is_v6(address), int(ipaddress.ip_address(address)))


def names_or_everywhere(names: Sequence[str] | None) -> tuple[str, ...] | None:
    return None if names is None else tuple(names)


def pairs(given: Iterable[tuple[str, int]]) -> tuple[tuple[str, int], ...]:
    return tuple(given)


@attrs.frozen(kw_only=True)
class ServiceSpec:
    """What one member's Service says; the fields are those of `fleetmesh._core.ServiceSpec`."""

    is_global: bool = False
    shared: bool = True
    namespace_global: bool = True
    affinity: int = 0
    headless: bool = False
    external_name: bool = False
    record_valid: bool = True
    internal_local: bool = False
    external_local: bool = False
    distribution: int = 0
    session_affinity_seconds: int = 0
    frontends: Sequence[FrontendSpec] = attrs.field(default=(), converter=tuple)
    exposed_on: Sequence[str] | None = attrs.field(default=None, converter=names_or_everywhere)
    record_digest: int = 0
    created: str = ""
    prefer_clusters: Sequence[str] = attrs.field(default=(), converter=tuple)
    cluster_weights: Sequence[tuple[str, int]] = attrs.field(default=(), converter=pairs)
    min_local_backends: int = 1

    @property
    def exported(self) -> bool:
        return self.is_global and self.shared and self.namespace_global


@attrs.frozen
class Row:
    """
    One backend as one slice of one member gives it.

    Attributes:
        state: The state at home (pkg/loadbalancer/reflectors/conversions.go, convertEndpoints).
        exportable: Whether it is ready or serving (operator/watchers/service_sync.go).
        for_zones: The hints, empty without a zone.
    """

    slice: str
    address: str
    port: int
    protocol: int
    names: tuple[str, ...]
    state: int
    weight: int
    node: str
    hostname: str
    zone: str
    for_zones: tuple[str, ...]
    exportable: bool

    @property
    def socket(self) -> Socket:
        return (self.address, self.port, self.protocol)


@attrs.frozen
class Entry:
    """One address in one slice, with a row for each of its ports (none, if the slice has no port)."""

    slice: str
    address: str
    hostname: str
    zone: str
    for_zones: tuple[str, ...]
    exportable: bool
    rows: tuple[Row, ...]


def home_state(conditions: int, weight: int) -> int:
    if weight == 0:
        return MAINTENANCE
    if conditions & READY:
        return ACTIVE
    if conditions & ENDING:
        return TERMINATING if conditions & SERVING else TERMINATING_NOT_SERVING
    return MAINTENANCE


@attrs.define
class Slice:
    endpoints: tuple[Endpoint, ...]
    ports: tuple[Port, ...]
    weight: int
    revision: int

    def entries(self, name: str) -> Iterator[Entry]:
        """One an address: a later endpoint of the slice replaces an earlier one whole."""
        last: dict[str, Endpoint] = {}
        for endpoint in self.endpoints:
            for text in endpoint[0]:
                address = canonical(text)
                if address is not None:
                    last[address] = endpoint
        sockets: dict[tuple[int, int], set[str]] = {}
        for port_name, protocol, port in self.ports:
            sockets.setdefault((port, protocol), set()).add(port_name)
        for address, (_, conditions, node, hostname, zone, hints) in last.items():
            for_zones = tuple(hints) if zone else ()
            rows = tuple(
                Row(
                    slice=name,
                    address=address,
                    port=port,
                    protocol=protocol,
                    names=tuple(sorted(names - {""})),
                    state=home_state(conditions, self.weight),
                    weight=self.weight,
                    node=node,
                    hostname=hostname,
                    zone=zone,
                    for_zones=for_zones,
                    exportable=bool(conditions & (READY | SERVING)),
                )
                for (port, protocol), names in sockets.items()
            )
            exportable = bool(conditions & (READY | SERVING))
            yield Entry(name, address, hostname, zone, for_zones, exportable, rows)

    def ports_of(self, port: int, protocol: int) -> list[str]:
        return [name for name, proto, number in self.ports if (number, proto) == (port, protocol)]


@attrs.define
class Loaded:
    """Single backends, without name, node, zone and weight of their own."""

    states: dict[Socket, int]
    revision: int

    def entries(self) -> Iterator[Entry]:
        """One a socket, as if each came from an endpoint of its own."""
        for (address, port, protocol), state in self.states.items():
            row = Row(
                slice=LOADED,
                address=address,
                port=port,
                protocol=protocol,
                names=(),
                state=state,
                weight=100,
                node="",
                hostname="",
                zone="",
                for_zones=(),
                exportable=state in (ACTIVE, TERMINATING),
            )
            yield Entry(LOADED, address, "", "", (), row.exportable, (row,))


@attrs.define
class Record:
    value: Any
    revision: int


@attrs.define
class Member:
    """
    Attributes:
        joined: The revision at which it joined.
        specs: Every version of a Service since it appeared, oldest first, with revisions: who claimed an
            address first is told from them.
        hears: publisher -> the revision since which it is heard without a break.
    """

    name: str
    enable_ipv6: bool
    service_topology: bool
    joined: int
    nodes: dict[str, str] = attrs.field(factory=dict)
    specs: dict[Key, list[tuple[int, ServiceSpec]]] = attrs.field(factory=dict)
    slices: dict[Key, dict[str, Slice]] = attrs.field(factory=dict)
    loaded: dict[Key, Loaded] = attrs.field(factory=dict)
    hears: dict[int, int] = attrs.field(factory=dict)
    records: dict[Key, Record] = attrs.field(factory=dict)

    def spec(self, key: Key) -> ServiceSpec | None:
        versions = self.specs.get(key)
        return versions[-1][1] if versions else None

    def services(self) -> set[Key]:
        return set(self.specs) | set(self.slices) | set(self.loaded)

    def entries(self, key: Key, strict: bool) -> list[Entry]:
        """
        What all slices give; of two slices that give the same, the one that wins comes last: the one
        written last or, in strict mode, the lexically first.
        """
        found = [
            (part.revision, name, list(part.entries(name))) for name, part in self.slices.get(key, {}).items()
        ]
        if key in self.loaded:
            found.append((self.loaded[key].revision, LOADED, list(self.loaded[key].entries())))
        if strict:
            found.sort(key=lambda item: item[1], reverse=True)
        else:
            found.sort(key=lambda item: item[:2])
        return [entry for _, _, entries in found for entry in entries]

    def slice_rows(self, key: Key, strict: bool) -> list[Row]:
        return [row for entry in self.entries(key, strict) for row in entry.rows]

    def hidden_at_home(self, row: Row) -> str:
        """Why a row is not in the member's own backend table, "" if it is."""
        if is_v6(row.address) and not self.enable_ipv6:
            return "ipv6-disabled"
        if (row.address, row.port) == INGRESS_DUMMY:
            return "ingress-dummy"
        return ""

    def home_rows(self, key: Key, strict: bool) -> dict[Socket, Row]:
        """The member's own backends of a service: one row a socket."""
        rows = self.slice_rows(key, strict)
        return {row.socket: row for row in rows if not self.hidden_at_home(row)}

    def export_entries(self, key: Key, strict: bool) -> dict[str, list[Entry]]:
        """Address -> what the one slice says of it that the export takes this address from."""
        taken: dict[str, list[Entry]] = {}
        for entry in self.entries(key, strict):
            if not entry.exportable:
                continue
            if entry.address in taken and taken[entry.address][0].slice == entry.slice:
                taken[entry.address].append(entry)
            else:
                taken[entry.address] = [entry]
        return taken

    def export_rows(self, key: Key, strict: bool) -> dict[str, list[Row]]:
        return {
            address: [row for entry in entries for row in entry.rows]
            for address, entries in self.export_entries(key, strict).items()
        }

    def exports(self, key: Key) -> bool:
        spec = self.spec(key)
        return spec is not None and spec.exported

    def export_is_valid(self, key: Key) -> bool:
        spec = self.spec(key)
        return spec is not None and spec.exported and spec.record_valid

    def record(self, key: Key, strict: bool) -> list[RecordEntry] | None:
        """What the member publishes of a service, `None` if nothing."""
        if not self.exports(key):
            return None
        out: list[RecordEntry] = []
        found = self.export_entries(key, strict)
        for address in sorted(found, key=rank):
            ports = sorted(
                (name, row.protocol, row.port)
                for entry in found[address]
                for row in entry.rows
                for name in self._names_in_slice(key, row)
            )
            first = found[address][0]
            out.append((address, first.hostname, first.zone, first.for_zones, ports))
        return out

    def _names_in_slice(self, key: Key, row: Row) -> list[str]:
        """All names of the row's port as the slice has them: an unnamed one stays beside named ones."""
        if row.slice == LOADED:
            return [""]
        return self.slices[key][row.slice].ports_of(row.port, row.protocol)

    def refresh_record(self, key: Key, strict: bool, revision: int) -> None:
        """A record is written anew when what it says changed."""
        entries = self.record(key, strict)
        if entries is None:
            self.records.pop(key, None)
            return
        spec = self.spec(key)
        assert spec is not None
        value = (entries, spec.record_digest, spec.record_valid)
        old = self.records.get(key)
        if old is None or old.value != value:
            self.records[key] = Record(value, revision)


@attrs.define
class Facts:
    strict: bool
    capacity: int
    revision: int = 0
    generation: int = 0
    members: dict[int, Member] = attrs.field(factory=dict)

    def keys(self) -> set[Key]:
        return {key for member in self.members.values() for key in member.services()}

    def arrival(self, viewer: int, publisher: int, key: Key) -> tuple[int, int]:
        """When the publisher's record reached the viewer; of equal ones, the higher cluster id is later."""
        there, here = self.members[publisher], self.members[viewer]
        revision = max(there.records[key].revision, here.joined, there.joined, here.hears[publisher])
        return (revision, publisher)
