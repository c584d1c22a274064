"""
Records as values of a store, and back: byte for byte what Cilium 1.20 writes, and what its readers take.

Readers know more than is written: what cluster a value has to be of, and at which key it stands. Fields that
they don't know they pass over, as Cilium's do; so whoever forwards a value forwards its bytes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import cast

from fleetmesh import _core
from fleetmesh.errors import WireError
from fleetmesh.records import (
    EndpointsRecord,
    ExportRecord,
    IdentityRecord,
    IpRecord,
    NodeRecord,
    Record,
    ServiceRecord,
)
from fleetmesh.resources.model import EMPTY
from fleetmesh.state.codecs import endpointslices, identities, ip, nodes, serviceexports, services
from fleetmesh.state.codecs.cluster_config import (
    EXPORT_MODES,
    ClusterConfig,
    decode_config,
    encode_config,
    validate_config,
)
from fleetmesh.state.codecs.exporter import Exporter
from fleetmesh.state.codecs.times import decode_time, encode_time
from fleetmesh.state.keys import Kind

__all__ = [
    "EXPORT_MODES",
    "MOST_BYTES",
    "ClusterConfig",
    "Exporter",
    "decode",
    "decode_all",
    "decode_config",
    "decode_time",
    "encode",
    "encode_config",
    "encode_time",
    "validate_config",
]

MOST_BYTES = 16 << 20
"""Of a value that is looked at."""

_DECODERS: Mapping[Kind, Callable[[str, bytes, Exporter], Record]] = MappingProxyType(
    {
        "nodes": nodes.decode,
        "services": services.decode,
        "endpointslices": endpointslices.decode,
        "serviceexports": serviceexports.decode,
        "ip": ip.decode,
        "identities": identities.decode,
    }
)

_CORE = _core.WireReader(IpRecord, ServiceRecord, EMPTY, MOST_BYTES)


def encode(record: Record) -> bytes:
    """The value of a record, the same in the state form and in the cache form."""
    match record:
        case IpRecord():
            return ip.encode(record)
        case ServiceRecord():
            return services.encode(record)
        case EndpointsRecord():
            return endpointslices.encode(record)
        case IdentityRecord():
            return identities.encode(record)
        case NodeRecord():
            return nodes.encode(record)
        case ExportRecord():
            return serviceexports.encode(record)


def decode(kind: Kind, name: str, value: bytes, exporter: Exporter) -> Record:
    """
    The record that a value stands for.

    Args:
        name: What the key has behind its prefix (`keys.prefix`).

    Raises:
        WireError: Cilium's readers would not take it either, or it is one of the few that are refused here
            alone, as the decoder of each kind says.
    """
    if len(value) > MOST_BYTES:
        raise WireError("", f"is of {len(value)} bytes, expected {MOST_BYTES} at most")
    return _DECODERS[kind](name, value, exporter)


def decode_all(
    kind: Kind, names: list[str], values: list[bytes], exporter: Exporter
) -> list[Record | WireError]:
    """
    What `decode` gives for each name and its value, or raises.

    Of the kinds that a cluster has many of, the core reads what is in the very form in which Cilium writes
    it.
    """
    found: list[Record | None]
    match kind:
        case "ip":
            numbers = exporter.identities
            ips = _CORE.ips(names, values, exporter.cluster, exporter.cluster_id, numbers.start, numbers.stop)
            found = cast("list[Record | None]", ips)
        case "services":
            read = _CORE.services(names, values, exporter.cluster, exporter.cluster_id)
            found = cast("list[Record | None]", read)
        case _:
            found = [None] * len(names)
    return [
        _decode(kind, name, value, exporter) if record is None else record
        for record, name, value in zip(found, names, values, strict=True)
    ]


def _decode(kind: Kind, name: str, value: bytes, exporter: Exporter) -> Record | WireError:
    try:
        return decode(kind, name, value, exporter)
    except WireError as error:
        return error
