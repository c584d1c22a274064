"""
Where in a store a cluster's records stand (Cilium pkg/kvstore kvstore.go, `BaseKeyPrefix` and beside it).

A cluster writes its own state below `cilium/state`; copies of other clusters' state, as kvstoremesh keeps
them, stand below `cilium/cache` (pkg/clustermesh/kvstoremesh/reflector). Irregular, and so for ever, are `ip`
and `identities`: in their state form the cluster has no name, and their marks of being complete leave out the
end of the prefix.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Literal, get_args

from fleetmesh.records import (
    EndpointsRecord,
    ExportRecord,
    IdentityRecord,
    IpRecord,
    NodeRecord,
    Record,
    ServiceRecord,
)

Kind = Literal["nodes", "services", "endpointslices", "serviceexports", "ip", "identities"]

KINDS: tuple[Kind, ...] = get_args(Kind)
"""All there are."""

HEARTBEAT = "cilium/.heartbeat"
"""The time, written anew each minute by whoever has the store for its own (pkg/kvstore/heartbeat)."""

CONFIG_PREFIX = "cilium/cluster-config/"
_SYNCED_PREFIX = "cilium/synced/"

_KIND_OF: Mapping[type[Record], Kind] = MappingProxyType(
    {
        NodeRecord: "nodes",
        ServiceRecord: "services",
        EndpointsRecord: "endpointslices",
        ExportRecord: "serviceexports",
        IpRecord: "ip",
        IdentityRecord: "identities",
    }
)


def config_key(cluster: str) -> str:
    """Where a cluster says what it is (pkg/clustermesh/utils, `SetClusterConfig`)."""
    return CONFIG_PREFIX + cluster


def synced_prefix(cluster: str) -> str:
    """Below which a cluster marks what it has written in whole (pkg/kvstore/store syncstore.go)."""
    return f"{_SYNCED_PREFIX}{cluster}/"


def synced_key(cluster: str, kind: Kind, *, cached: bool) -> str:
    """The mark that all records of a kind have been written once."""
    return f"{synced_prefix(cluster)}{_base(kind, cached=cached)}"


def prefix(kind: Kind, cluster: str, *, cached: bool) -> str:
    """What the keys of a cluster's records of a kind begin with, the slash at the end included."""
    base = _base(kind, cached=cached)
    if kind == "ip":
        return f"{base}/{cluster}/" if cached else f"{base}/default/"
    if kind == "identities":
        return f"{base}/{cluster}/id/" if cached else f"{base}/id/"
    return f"{base}/{cluster}/"


def bases() -> tuple[str, ...]:
    """What the keys of all clusters begin with in a store that they share, of each kind apart."""
    kinds = (f"{_base(kind, cached=True)}/" for kind in KINDS)
    return (HEARTBEAT, CONFIG_PREFIX, _SYNCED_PREFIX, *kinds)


def kind_of(record: Record) -> Kind:
    """Which kind a record is of."""
    return _KIND_OF[type(record)]


def name_of(record: Record) -> tuple[Kind, str]:
    """
    Its kind, and the part of its key behind the prefix.

    Of nodes the name, of identities the number, of addresses the address (with its length where it is a
    network's), of all others `namespace/name`.
    """
    match record:
        case IpRecord():
            return "ip", record.address
        case IdentityRecord():
            return "identities", str(record.number)
        case NodeRecord():
            return "nodes", record.name
        case _:
            return kind_of(record), f"{record.namespace}/{record.name}"


def key_of(record: Record, *, cached: bool) -> str:
    """The whole key of a record of its cluster."""
    kind, name = name_of(record)
    return prefix(kind, record.cluster, cached=cached) + name


def _base(kind: Kind, *, cached: bool) -> str:
    return f"cilium/{'cache' if cached else 'state'}/{kind}/v1"
