"""
Slices of endpoints (Cilium pkg/clustermesh/types/endpointslice, `ClusterEndpointSlice`, with its
internal/generated.proto and pkg/k8s/slim/k8s/api/discovery/v1/generated.proto).

The message is written byte for byte as Cilium writes it; the Zstandard frame around it is another encoder's.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import lru_cache
from sys import intern
from types import MappingProxyType
from typing import Any, TypeAlias

from fleetmesh.errors import WireError
from fleetmesh.records import EndpointsRecord
from fleetmesh.resources.model import EMPTY, Endpoint, EndpointPort
from fleetmesh.state.codecs import protobuf, zstd
from fleetmesh.state.codecs.addresses import canonical, why_not
from fleetmesh.state.codecs.exporter import Exporter
from fleetmesh.state.codecs.fields import check_cluster, check_cluster_id, check_key
from fleetmesh.state.codecs.protobuf import BYTES, VARINT, of_bytes, of_number, of_text
from fleetmesh.state.codecs.words import shown

_CLUSTER, _CLUSTER_ID, _NAMESPACE, _NAME, _LABELS, _ANNOTATIONS, _ADDRESS_TYPE, _ENDPOINTS, _PORTS = range(
    1, 10
)
_FIELDS = {
    _CLUSTER: "cluster",
    _CLUSTER_ID: "clusterID",
    _NAMESPACE: "namespace",
    _NAME: "name",
    _LABELS: "labels",
    _ANNOTATIONS: "annotations",
    _ADDRESS_TYPE: "addressType",
    _ENDPOINTS: "endpoints",
    _PORTS: "ports",
}
_ADDRESSES, _CONDITIONS, _HOSTNAME, _TOPOLOGY, _NODE_NAME, _ZONE, _HINTS = 1, 2, 3, 5, 6, 7, 8
_OF_ENDPOINT = frozenset((_ADDRESSES, _CONDITIONS, _HOSTNAME, _TOPOLOGY, _NODE_NAME, _ZONE, _HINTS))
_MOST_PARTS = 1 << 16
"""Kubernetes' own limits are 1,000 endpoints and 20,000 ports; two bytes would make an object of each."""

_FIRST_ADDRESS = bytes((_ADDRESSES << 3 | BYTES,))
_TWO_BYTES = b"\x80"
"""A length that needs more than one begins with it, or something above."""

_MOST_KEPT = 256
"""Bytes of an endpoint that are kept to be found again."""

_Rest: TypeAlias = tuple[
    tuple[bytes, ...], bool | None, bool | None, bool | None, str, str, str, tuple[str, ...]
]


def encode(record: EndpointsRecord) -> bytes:
    """The frame of `endpointslices/v1`."""
    return zstd.compress(write_message(record))


def decode(name: str, value: bytes, exporter: Exporter) -> EndpointsRecord:
    """
    Raises:
        WireError: It is no slice, or not that of the key, or one address in it is not of its family. Stricter
            than Cilium: an entry of a map that goes beyond its end, frames of more than 16 MiB together, and
            more parts than anybody writes.
    """
    return read_message(name, zstd.decompress(value), exporter)


def write_message(record: EndpointsRecord) -> bytes:
    """The message within the frame."""
    return b"".join(
        (
            of_text(_CLUSTER, record.cluster),
            of_number(_CLUSTER_ID, record.cluster_id),
            of_text(_NAMESPACE, record.namespace),
            of_text(_NAME, record.name),
            _write_map(_LABELS, record.labels),
            _write_map(_ANNOTATIONS, record.annotations),
            of_text(_ADDRESS_TYPE, record.address_type),
            *(of_bytes(_ENDPOINTS, _write_endpoint(endpoint)) for endpoint in record.endpoints),
            *(of_bytes(_PORTS, _write_port(port)) for port in record.ports),
        )
    )


def read_message(name: str, message: bytes, exporter: Exporter) -> EndpointsRecord:
    """See `decode`; of the message alone."""
    texts = {_CLUSTER: "", _NAMESPACE: "", _NAME: "", _ADDRESS_TYPE: ""}
    maps: dict[int, dict[str, str]] = {_LABELS: {}, _ANNOTATIONS: {}}
    cluster_id = 0
    endpoints: list[bytes] = []
    ports: list[EndpointPort] = []
    for field, kind, value in protobuf.fields(message, ""):
        if field not in _FIELDS:
            continue
        where = _FIELDS[field]
        if kind != (VARINT if field == _CLUSTER_ID else BYTES):
            raise protobuf.wrong_type(where, kind)
        if field == _CLUSTER_ID:
            cluster_id = value & 0xFFFFFFFF
        elif len(endpoints) + len(ports) == _MOST_PARTS:
            raise WireError(where, f"more than {_MOST_PARTS} endpoints and ports")
        elif field == _ENDPOINTS:
            endpoints.append(value)
        elif field == _PORTS:
            ports.append(_read_port(value, f"ports[{len(ports)}]"))
        elif field in texts:
            texts[field] = protobuf.text(value)
        else:
            _read_entry(maps[field], value, where)
    family = texts[_ADDRESS_TYPE]
    check_cluster(texts[_CLUSTER], exporter)
    check_key(texts[_NAMESPACE], texts[_NAME], name)
    check_cluster_id(cluster_id, exporter)
    if family not in ("IPv4", "IPv6"):
        raise WireError("addressType", f"is {shown(family)}, expected IPv4 or IPv6")
    return EndpointsRecord(
        cluster=exporter.cluster,
        cluster_id=exporter.cluster_id,
        namespace=intern(texts[_NAMESPACE]),
        name=texts[_NAME],
        labels=_read_only(maps[_LABELS]),
        annotations=_read_only(maps[_ANNOTATIONS]),
        address_type=intern(family),
        endpoints=tuple(
            _read_endpoint(value, family, f"endpoints[{number}]") for number, value in enumerate(endpoints)
        ),
        ports=tuple(ports),
    )


def _write_map(field: int, mapping: Mapping[str, str]) -> bytes:
    return b"".join(of_bytes(field, of_text(1, key) + of_text(2, mapping[key])) for key in sorted(mapping))


def _write_endpoint(endpoint: Endpoint) -> bytes:
    return b"".join(of_text(_ADDRESSES, address) for address in endpoint.addresses) + _write_rest(
        (endpoint.ready, endpoint.serving, endpoint.terminating),
        endpoint.hostname,
        endpoint.node_name,
        endpoint.zone,
        endpoint.for_zones,
    )


@lru_cache(maxsize=4096)
def _write_rest(
    conditions: tuple[bool | None, ...], hostname: str, node_name: str, zone: str, for_zones: tuple[str, ...]
) -> bytes:
    """Of an endpoint, all behind its addresses, which many have in common."""
    held = (of_number(field, value) for field, value in enumerate(conditions, 1) if value is not None)
    written = of_bytes(_CONDITIONS, b"".join(held))
    for field, text in ((_HOSTNAME, hostname), (_NODE_NAME, node_name), (_ZONE, zone)):
        if text:
            written += of_text(field, text)
    if for_zones:
        written += of_bytes(_HINTS, b"".join(of_bytes(1, of_text(1, name)) for name in for_zones))
    return written


def _write_port(port: EndpointPort) -> bytes:
    written = of_text(1, port.name) + of_text(2, port.protocol)
    if port.port is not None:
        written += of_number(3, port.port)
    return written + (of_text(4, port.app_protocol) if port.app_protocol else b"")


def _read_endpoint(message: bytes, family: str, where: str) -> Endpoint:
    addresses: tuple[bytes, ...] = ()
    rest = message
    if message[:1] == _FIRST_ADDRESS and b"" < message[1:2] < _TWO_BYTES:
        end = message[1] + 2
        if end <= len(message):
            addresses, rest = (message[2:end],), message[end:]
    try:
        known = _known_rest(rest) if len(rest) <= _MOST_KEPT else _read_rest(rest)
    except WireError as problem:
        raise WireError(f"{where}.{problem.field}" if problem.field else where, problem.reason) from None
    more, ready, serving, terminating, hostname, node_name, zone, for_zones = known
    return Endpoint(
        addresses=tuple([_address(each, family, where) for each in addresses + more]),
        ready=ready,
        serving=serving,
        terminating=terminating,
        hostname=hostname,
        node_name=node_name,
        zone=zone,
        for_zones=for_zones,
    )


def _address(value: bytes, family: str, where: str) -> str:
    text = protobuf.text(value)
    address = canonical(text)
    if address is None:
        raise WireError(f"{where}.addresses", why_not(text))
    if (":" in address) != (family == "IPv6"):
        raise WireError(f"{where}.addresses", f"{address} is no {family} address")
    return address


def _read_rest(message: bytes) -> _Rest:
    """Of an endpoint, all behind its first address, and the other addresses."""
    addresses: list[bytes] = []
    # Two messages behind each other are the two made one.
    conditions: list[bytes] = []
    hints: list[bytes] = []
    texts: dict[int, str] = {}
    for field, kind, value in protobuf.fields(message, ""):
        if field not in _OF_ENDPOINT:
            continue
        if kind != BYTES:
            raise protobuf.wrong_type("", kind)
        if field == _ADDRESSES:
            addresses.append(value)
        elif field == _CONDITIONS:
            conditions.append(value)
        elif field == _HINTS:
            hints.append(value)
        elif field != _TOPOLOGY:
            texts[field] = protobuf.text(value)
    return (
        tuple(addresses),
        *_read_conditions(b"".join(conditions)),
        texts.get(_HOSTNAME, ""),
        intern(texts.get(_NODE_NAME, "")),
        intern(texts.get(_ZONE, "")),
        _read_hints(b"".join(hints)),
    )


_known_rest = lru_cache(maxsize=4096)(_read_rest)


def _read_conditions(message: bytes) -> tuple[bool | None, bool | None, bool | None]:
    found: dict[int, bool] = {}
    for field, kind, value in protobuf.fields(message, "conditions"):
        if field <= 3:
            if kind != VARINT:
                raise protobuf.wrong_type("conditions", kind)
            found[field] = bool(value)
    return found.get(1), found.get(2), found.get(3)


def _read_hints(message: bytes) -> tuple[str, ...]:
    zones = []
    for zone in _messages(message, 1, "hints.forZones"):
        name = ""
        for value in _messages(zone, 1, "hints.forZones.name"):
            name = protobuf.text(value)
        zones.append(intern(name))
    return tuple(zones)


def _messages(message: bytes, wanted: int, where: str) -> Iterable[bytes]:
    for field, kind, value in protobuf.fields(message, where):
        if field == wanted:
            if kind != BYTES:
                raise protobuf.wrong_type(where, kind)
            yield value


def _read_port(message: bytes, where: str) -> EndpointPort:
    found: dict[int, Any] = {}
    for field, kind, value in protobuf.fields(message, where):
        if field <= 4:
            if kind != (VARINT if field == 3 else BYTES):
                raise protobuf.wrong_type(where, kind)
            found[field] = protobuf.signed32(value) if kind == VARINT else protobuf.text(value)
    return EndpointPort(
        port=found.get(3),
        name=intern(found.get(1, "")),
        protocol=intern(found.get(2, "TCP")),
        app_protocol=found.get(4, ""),
    )


def _read_entry(into: dict[str, str], message: bytes, where: str) -> None:
    entry = {1: "", 2: ""}
    for field, kind, value in protobuf.fields(message, where):
        if field in entry:
            if kind != BYTES:
                raise protobuf.wrong_type(where, kind)
            entry[field] = protobuf.text(value)
    into[entry[1]] = entry[2]


def _read_only(mapping: dict[str, str]) -> Mapping[str, str]:
    return MappingProxyType(mapping) if mapping else EMPTY
