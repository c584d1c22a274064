"""
Global services (Cilium pkg/clustermesh/store/store.go, `ClusterService`).
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from sys import intern
from types import MappingProxyType
from typing import Any, TypeAlias

import msgspec

from fleetmesh.errors import WireError
from fleetmesh.records import PortMap, ServiceRecord
from fleetmesh.resources.model import EMPTY
from fleetmesh.state.codecs import gojson
from fleetmesh.state.codecs.addresses import canonical, why_not
from fleetmesh.state.codecs.exporter import Exporter
from fleetmesh.state.codecs.fields import UInt16, UInt32, check_cluster, check_cluster_id, check_key, texts
from fleetmesh.state.codecs.words import shown

_MOST_KEPT = 512
"""Bytes of a map of ports, or a zone, that is kept to be found again; a longer one nobody else has."""

Zone: TypeAlias = tuple[str, tuple[str, ...]]
"""A zone, and the zones of its hints."""


class _Port(msgspec.Struct, rename="pascal", forbid_unknown_fields=True):
    protocol: str | None = None
    port: UInt16 | None = None


class _ForZone(msgspec.Struct, forbid_unknown_fields=True):
    name: str | None = None


class _Zone(msgspec.Struct, rename="camel", forbid_unknown_fields=True):
    zone: str | None = None
    for_zones: list[_ForZone | None] | None = None


class _Service(msgspec.Struct, rename="camel", forbid_unknown_fields=True):
    cluster: str | None = None
    namespace: str | None = None
    name: str | None = None
    frontends: dict[str, msgspec.Raw] | None = None
    backends: dict[str, msgspec.Raw] | None = None
    hostnames: dict[str, str | None] | None = None
    zones: dict[str, msgspec.Raw] | None = None
    labels: dict[str, str | None] | None = None
    selector: dict[str, str | None] | None = None
    include_external: bool | None = None
    shared: bool | None = None
    cluster_id: UInt32 | None = msgspec.field(default=None, name="clusterID")


class _Ports(msgspec.Struct, forbid_unknown_fields=True):
    ports: dict[str, _Port | None] | None = None


class _Zoned(msgspec.Struct, forbid_unknown_fields=True):
    zone: _Zone | None = None


_READER = gojson.Reader(_Service)
_PORTS = gojson.Reader(_Ports)
_ZONED = gojson.Reader(_Zoned)


def encode(record: ServiceRecord) -> bytes:
    """
    The JSON of `services/v1`. A frontend without an address, as Cilium writes for an ExternalName, is left
    out: its own readers would refuse the whole value.
    """
    value: dict[str, Any] = {
        "cluster": record.cluster,
        "namespace": record.namespace,
        "name": record.name,
        "frontends": _addressed({key: ports for key, ports in record.frontends.items() if key}),
        "backends": _addressed(record.backends),
    }
    if record.hostnames:
        value["hostnames"] = gojson.by_key(record.hostnames)
    if record.zones:
        value["zones"] = {
            address: {"zone": zone, "forZones": [{"name": name} for name in hints]}
            for address, (zone, hints) in sorted(record.zones.items())
        }
    value["labels"] = gojson.by_key(record.labels)
    value["selector"] = gojson.by_key(record.selector)
    value["includeExternal"] = record.include_external
    value["shared"] = record.shared
    value["clusterID"] = record.cluster_id
    return gojson.write(value)


def decode(name: str, value: bytes, exporter: Exporter) -> ServiceRecord:
    """
    Raises:
        WireError: It is no service, or not that of the key, or one address in it can't be read.
    """
    read = _READER.read(value)
    check_cluster(read.cluster or "", exporter)
    check_key(read.namespace or "", read.name or "", name)
    check_cluster_id(read.cluster_id or 0, exporter)
    backends = _ports_by_address(read.backends, "backends", null=False)
    return ServiceRecord(
        cluster=exporter.cluster,
        cluster_id=exporter.cluster_id,
        namespace=intern(read.namespace or ""),
        name=read.name or "",
        frontends=_ports_by_address(read.frontends, "frontends", null=True),
        backends=backends,
        hostnames=_of_addresses(texts(read.hostnames), backends) if read.hostnames else EMPTY,
        zones=_of_addresses(_zones(read.zones), backends) if read.zones else {},
        labels=texts(read.labels),
        selector=texts(read.selector),
        include_external=bool(read.include_external),
        shared=bool(read.shared),
    )


def _addressed(by_address: Mapping[str, PortMap]) -> dict[str, Any]:
    return {
        address: {
            name: {"Protocol": protocol, "Port": port} for name, (protocol, port) in sorted(ports.items())
        }
        for address, ports in sorted(by_address.items())
    }


def _ports_by_address(
    found: Mapping[str, msgspec.Raw] | None, field: str, *, null: bool
) -> Mapping[str, PortMap]:
    """`null`: whether a port may be null, as that of a frontend, which nobody looks at."""
    if not found:
        return MappingProxyType({})
    ports: dict[str, PortMap] = {}
    for text, raw in found.items():
        address = canonical(text)
        if address is None:
            raise WireError(f"{field}[{shown(text)}]", why_not(text))
        value = bytes(raw)
        try:
            ports[address] = (
                _known_ports(value, null) if len(value) <= _MOST_KEPT else _read_ports(value, null)
            )
        except WireError as problem:
            inside = problem.field.removeprefix("ports")
            raise WireError(f"{field}[{shown(text)}]{inside}", problem.reason) from None
    return MappingProxyType(ports)


def _read_ports(value: bytes, null: bool) -> PortMap:  # noqa: FBT001  a cache needs it so
    ports: dict[str, tuple[str, int]] = {}
    for name, port in (_PORTS.read(b'{"ports":' + value + b"}").ports or {}).items():
        if port is None and null:
            continue
        if port is None:
            raise WireError(f"[{shown(name)}]", "is null, where Cilium's agents would stop working")
        ports[intern(name)] = (intern(port.protocol or ""), port.port or 0)
    return MappingProxyType(ports)


_known_ports = lru_cache(maxsize=4096)(_read_ports)
"""The backends of a service, and mostly those of many, have the same."""


def _zones(found: Mapping[str, msgspec.Raw]) -> Mapping[str, Zone]:
    zones: dict[str, Zone] = {}
    for address, raw in found.items():
        value = bytes(raw)
        try:
            zone = _known_zone(value) if len(value) <= _MOST_KEPT else _read_zone(value)
        except WireError as problem:
            inside = problem.field.removeprefix("zone")
            raise WireError(f"zones[{shown(address)}]{inside}", problem.reason) from None
        zones[address] = zone
    return zones


def _read_zone(value: bytes) -> Zone:
    zone = _ZONED.read(b'{"zone":' + value + b"}").zone or _Zone()
    names = (each.name if each is not None else None for each in zone.for_zones or ())
    return intern(zone.zone or ""), tuple(intern(name or "") for name in names)


_known_zone = lru_cache(maxsize=4096)(_read_zone)
"""A cluster has a few zones, and all backends are in one of them."""


def _of_addresses(found: Mapping[str, Any], backends: Mapping[str, PortMap]) -> Mapping[str, Any]:
    """With the addresses as `backends` has them; what is none is of no backend, and stays as it is."""
    same = {address: found[address] for address in backends if address in found}
    if len(same) < len(found):
        same = {
            intern(text if text in backends else canonical(text) or text): value
            for text, value in found.items()
        }
    return MappingProxyType(same)
